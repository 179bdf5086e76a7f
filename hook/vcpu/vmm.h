/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_VCPU_VMM_H
#define HOOK_VCPU_VMM_H

/*
 * How many vCPUs a VMM has, by its open KVM descriptors: /proc/PID/fd names each
 * "anon_inode:kvm-vcpu:<id>", and a VM "anon_inode:kvm-vm". The kernel writes these names, so a
 * process cannot fake one; it can only have more or fewer than it runs threads for. Which thread
 * runs which vCPU is not told: see vcpu.h and qmp.h.
 *
 * What the count means:
 *   - A VMM that emulates (QEMU's TCG) has none of them.
 *   - QEMU keeps the descriptor of an unplugged vCPU for the next one that is plugged.
 *   - <id> is KVM's: on x86 the APIC id, which is not dense when the numbers of cores or threads
 *     are no powers of two. KVM's debugfs counts the same way, QEMU's thread names and QMP do not.
 *   - Two VMs in one process are one set of ids here.
 *
 * Needs what reading /proc/PID/fd needs: PTRACE_MODE_READ_FSCREDS on the process (proc(5)).
 * Kernel: virt/kvm/kvm_main.c, create_vcpu_fd() and kvm_dev_ioctl_create_vm().
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct arena;

/* Of one process no more descriptors are looked at: reading takes about 1 us each. */
#define VMM_FDS_MAX 65536

enum vmm_fd {
    VMM_FD_OTHER,
    VMM_FD_VM,
    VMM_FD_VCPU,         /* with its id */
    VMM_FD_VCPU_WITHOUT, /* "anon_inode:kvm-vcpu" alone, from kernels that do not write the id */
};

/*
 * What an entry of /proc/PID/fd links to. Pure.
 * @ret_id  the vCPU's id; written for VMM_FD_VCPU only.
 */
enum vmm_fd vmm_fd_classify(const char *link, int *ret_id);

struct vmm_fds {
    int *ids; /* KVM's vCPU ids, ascending, each once; in the arena; NULL when there is none */
    size_t id_count;
    size_t count;  /* vCPUs: the ids, and each descriptor without an id */
    bool has_vm;   /* a VM is open */
    bool has_more; /* VMM_FDS_MAX was reached, the rest is unknown */
};

/*
 * Read the descriptors of one process.
 * @pid  as we see it; any thread of it will do.
 * @a    where ret->ids is kept.
 * Returns 0, also with nothing in @ret, when the process has gone or is a zombie, and when
 * descriptors are closed meanwhile; -EACCES we may not look: the caller takes the count for
 * unknown; other -errno from /proc: likewise. @ret is always written.
 */
int vmm_fds_read(pid_t pid, struct arena *a, struct vmm_fds *ret);

#endif
