/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/bpf_interp.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGISTERS 11

/* What an instruction uses, by its opcode. */
struct form {
    uint8_t code;
    bool reads_dst, reads_src, writes_dst, jumps, has_imm;
};

static const struct form forms[] = {
    {.code = BPF_LDX | BPF_MEM | BPF_W, .reads_src = true, .writes_dst = true},
    {.code = BPF_ALU | BPF_MOV | BPF_K, .writes_dst = true, .has_imm = true},
    {.code = BPF_ALU | BPF_MOV | BPF_X, .reads_src = true, .writes_dst = true},
    {.code = BPF_ALU | BPF_AND | BPF_K, .reads_dst = true, .writes_dst = true, .has_imm = true},
    {.code = BPF_ALU | BPF_RSH | BPF_K, .reads_dst = true, .writes_dst = true, .has_imm = true},
    {.code = BPF_JMP | BPF_JA, .jumps = true},
    {.code = BPF_JMP | BPF_JNE | BPF_K, .reads_dst = true, .jumps = true, .has_imm = true},
    {.code = BPF_JMP | BPF_JGE | BPF_K, .reads_dst = true, .jumps = true, .has_imm = true},
    {.code = BPF_JMP | BPF_JGT | BPF_K, .reads_dst = true, .jumps = true, .has_imm = true},
    {.code = BPF_JMP | BPF_JLT | BPF_K, .reads_dst = true, .jumps = true, .has_imm = true},
    {.code = BPF_JMP | BPF_JSET | BPF_K, .reads_dst = true, .jumps = true, .has_imm = true},
    {.code = BPF_JMP | BPF_JNE | BPF_X, .reads_dst = true, .reads_src = true, .jumps = true},
    {.code = BPF_JMP | BPF_JGE | BPF_X, .reads_dst = true, .reads_src = true, .jumps = true},
    {.code = BPF_JMP | BPF_JGT | BPF_X, .reads_dst = true, .reads_src = true, .jumps = true},
    {.code = BPF_JMP | BPF_JLT | BPF_X, .reads_dst = true, .reads_src = true, .jumps = true},
    {.code = BPF_JMP | BPF_EXIT},
};

static const struct form *form_of(const struct bpf_insn *insn)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (forms[i].code == insn->code)
            return &forms[i];
    }
    return NULL;
}

static int fail(char *error, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(char *error, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(error, size, fmt, ap);
    va_end(ap);
    return -1;
}

/* What can be said of one instruction without running it. */
static int check_insn(const struct bpf_insn *insns, size_t count, size_t at, char *error,
                      size_t size)
{
    const struct bpf_insn *insn = &insns[at];
    const struct form *f = form_of(insn);

    if (!f)
        return fail(error, size, "insn %zu: unknown opcode 0x%02x", at, insn->code);
    if (insn->dst_reg >= REGISTERS || insn->src_reg >= REGISTERS)
        return fail(error, size, "insn %zu: no such register", at);
    if ((!f->reads_dst && !f->writes_dst && insn->dst_reg) || (!f->reads_src && insn->src_reg) ||
        (!f->has_imm && insn->imm) || (!f->jumps && BPF_CLASS(f->code) != BPF_LDX && insn->off))
        return fail(error, size, "insn %zu: unused field is not zero", at);
    if (f->writes_dst && insn->dst_reg == BPF_REG_10)
        return fail(error, size, "insn %zu: writes the frame pointer", at);
    if (f->code == (BPF_ALU | BPF_RSH | BPF_K) && (insn->imm < 0 || insn->imm > 31))
        return fail(error, size, "insn %zu: shift by %d", at, insn->imm);
    if (f->jumps && insn->off < 0)
        return fail(error, size, "insn %zu: jumps backwards by %d", at, insn->off);
    if (f->jumps && at + 1 + (size_t)insn->off >= count)
        return fail(error, size, "insn %zu: jumps to %zu of %zu", at, at + 1 + (size_t)insn->off,
                    count);
    return 0;
}

static bool falls_through(const struct bpf_insn *insn)
{
    return insn->code != (BPF_JMP | BPF_EXIT) && insn->code != (BPF_JMP | BPF_JA);
}

int bpf_interp_check(const struct bpf_insn *insns, size_t count, char *error, size_t size)
{
    bool *reached = calloc(count + 1, sizeof *reached);
    int r = 0;

    if (!reached)
        return fail(error, size, "out of memory");
    reached[0] = true;
    /* All jumps go forward, so one pass sees everything that can be reached. */
    for (size_t i = 0; i < count && r == 0; i++) {
        const struct form *f = form_of(&insns[i]);

        r = check_insn(insns, count, i, error, size);
        if (r == 0 && !reached[i])
            r = fail(error, size, "insn %zu: nothing leads here", i);
        if (r == 0 && f && f->jumps)
            reached[i + 1 + (size_t)insns[i].off] = true;
        if (r == 0 && falls_through(&insns[i]))
            reached[i + 1] = true;
    }
    if (r == 0 && reached[count])
        r = fail(error, size, "no exit at the end");
    free(reached);
    return r;
}

/* The value of a comparison, or of JA. */
static bool jump_taken(const struct bpf_insn *insn, uint64_t left, uint64_t right)
{
    switch (BPF_OP(insn->code)) {
    case BPF_JNE:
        return left != right;
    case BPF_JGE:
        return left >= right;
    case BPF_JGT:
        return left > right;
    case BPF_JLT:
        return left < right;
    case BPF_JSET:
        return (left & right) != 0;
    default:
        return true;
    }
}

/* 32-bit operations clear the upper half. */
static uint64_t alu(const struct bpf_insn *insn, uint64_t left, uint64_t right)
{
    uint32_t a = (uint32_t)left, b = (uint32_t)right;

    switch (BPF_OP(insn->code)) {
    case BPF_AND:
        return a & b;
    case BPF_RSH:
        return a >> b;
    default:
        return b;
    }
}

int bpf_interp_run(const struct bpf_insn *insns, size_t count, const struct bpf_cgroup_dev_ctx *ctx,
                   struct bpf_verdict *ret)
{
    /* R1 is the context; its value is never looked at, only that it is still there. */
    uint64_t reg[REGISTERS] = {0};
    unsigned written = 1u << BPF_REG_1;
    bool is_context = true;

    *ret = (struct bpf_verdict){0};
    for (size_t at = 0; at < count; at++) {
        const struct bpf_insn *insn = &insns[at];
        const struct form *f = form_of(insn);
        uint64_t right;

        if (check_insn(insns, count, at, ret->error, sizeof ret->error) < 0 || !f)
            return -1;
        ret->steps++;
        if ((f->reads_dst && !(written & 1u << insn->dst_reg)) ||
            (f->reads_src && !(written & 1u << insn->src_reg)))
            return fail(ret->error, sizeof ret->error, "insn %zu: reads a register never written",
                        at);
        /* Immediates are sign-extended to 64 bits. */
        right = f->reads_src ? reg[insn->src_reg] : (uint64_t)(int64_t)insn->imm;

        if (insn->code == (BPF_JMP | BPF_EXIT)) {
            if (!(written & 1u << BPF_REG_0))
                return fail(ret->error, sizeof ret->error, "insn %zu: exit without a verdict", at);
            ret->value = (uint32_t)reg[BPF_REG_0];
            return 0;
        }
        if (is_context && BPF_CLASS(insn->code) != BPF_LDX &&
            ((f->reads_dst && insn->dst_reg == BPF_REG_1) ||
             (f->reads_src && insn->src_reg == BPF_REG_1)))
            return fail(ret->error, sizeof ret->error, "insn %zu: computes with a pointer", at);
        if (f->jumps) {
            if (jump_taken(insn, reg[insn->dst_reg], right))
                at += (size_t)insn->off;
            continue;
        }
        if (insn->code == (BPF_LDX | BPF_MEM | BPF_W)) {
            uint32_t word;

            if (!is_context || insn->src_reg != BPF_REG_1 || insn->off < 0 || insn->off % 4 ||
                (size_t)insn->off + sizeof word > sizeof *ctx)
                return fail(ret->error, sizeof ret->error, "insn %zu: loads from outside", at);
            memcpy(&word, (const char *)ctx + insn->off, sizeof word);
            reg[insn->dst_reg] = word;
        } else {
            reg[insn->dst_reg] = alu(insn, reg[insn->dst_reg], right);
        }
        written |= 1u << insn->dst_reg;
        if (insn->dst_reg == BPF_REG_1)
            is_context = false;
    }
    return fail(ret->error, sizeof ret->error, "runs past the end");
}
