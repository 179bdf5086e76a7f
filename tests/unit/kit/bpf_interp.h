/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_BPF_INTERP_H
#define TESTS_UNIT_KIT_BPF_INTERP_H

/*
 * Runs device programs without a kernel, and is stricter than one: it knows only the instructions
 * that the generator has a use for, and refuses, as the oldest kernels with device programs do, a
 * jump backwards, code that nothing reaches and unused fields that are not zero.
 */

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

struct bpf_verdict {
    uint32_t value;      /* what the program returned */
    unsigned long steps; /* instructions executed */
    char error[128];     /* "" or what is wrong with the program */
};

/* The whole program, every instruction of it. 0; -1 with @error (of @size) filled in. */
int bpf_interp_check(const struct bpf_insn *insns, size_t count, char *error, size_t size);

/*
 * One run, of a program that bpf_interp_check() has passed or not. 0; -1 with ret->error filled in:
 * an unknown instruction, a jump out of the program or backwards, a register that was never
 * written, a load that is not from the context, the end of the program without an exit.
 */
int bpf_interp_run(const struct bpf_insn *insns, size_t count, const struct bpf_cgroup_dev_ctx *ctx,
                   struct bpf_verdict *ret);

#endif
