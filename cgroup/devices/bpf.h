/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DEVICES_BPF_H
#define CGROUP_DEVICES_BPF_H

/*
 * cgroup v2 has no device files: a BPF_PROG_TYPE_CGROUP_DEVICE program attached to the cgroup gives
 * the verdict (kernel admin-guide/cgroup-v2.rst "Device controller"). The programs of all ancestors
 * are ANDed, so a child can only narrow.
 *
 * The program is a binary search over the compiled table: 10,000 rules cost a verdict about 14 more
 * comparisons than one rule does. It uses no helper and no instruction that is newer than the
 * program type itself (Linux 4.15).
 */

#include "cgroup/devices/devices.h"

#include <linux/bpf.h>

struct arena;
struct err;

/* The kernel's name for each program of ours, by which it is found again. */
#define CG_BPF_DEVICE_NAME "osc_device"

struct cg_bpf_program {
    struct bpf_insn *insns; /* in an arena */
    size_t count;
};

/* Generate. Pure. 0; -E2BIG beyond the kernel's million instructions. */
int cg_bpf_device_program(const struct cg_dev_table *t, struct arena *a, struct cg_bpf_program *ret,
                          struct err *e);

/*
 * Put the program into force on a cgroup of ours. A program of ours that is attached already is
 * replaced atomically (BPF_F_REPLACE, Linux 5.6; before that: attach, then detach the old one), so
 * there is no instant without one; one with the same instructions, by the kernel's tag, is kept.
 * Programs of others on the same cgroup stay. Idempotent.
 * @dirfd  the cgroup. bpf(2) wants a readable descriptor; an O_PATH one is reopened here.
 * 0; -EPERM no CAP_BPF/CAP_SYS_ADMIN or CAP_NET_ADMIN; -EOPNOTSUPP a kernel without
 * CONFIG_CGROUP_BPF; other -errno.
 */
int cg_bpf_device_attach(int dirfd, const struct cg_bpf_program *p, struct err *e);

/* 0 when this kernel and process can load a device program: a trivial one is loaded and dropped. */
int cg_bpf_device_probe(void);

#endif
