/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_KTHREADS_H
#define HOOK_WATCH_KTHREADS_H

/*
 * Kernel threads that work for a VM. They are children of kthreadd (process 2), not threads of the
 * VMM, and tell whom they belong to by their names only:
 *
 *   kvm-pit/N                  the emulated timer (arch/x86/kvm/i8254.c). Born in the root cgroup
 *                              and left there: it has to be moved. N is the VMM's process id in the
 *                              VMM's own pid namespace: in a container it is 1 as often as not, for
 *                              every container. Where VMMs of others have the number, too, nothing
 *                              tells whose timer it is: it stays where it is.
 *   vhost-N                    before Linux 6.4, and in late 6.x if the VMM asks for it
 *                              (drivers/vhost/vhost.c). N is the thread that made the device, in
 *                              the initial pid namespace.
 *   kvm-nx-lpage-recovery-N    up to Linux 6.12 (virt/kvm/kvm_main.c). N is the thread that made
 *                              the VM, in the initial pid namespace.
 *
 * The last two enter the cgroups of the thread that makes them by themselves, but only those of v1
 * where the kernel leaves out the default hierarchy in cgroup_attach_task_all(), as it did up to
 * 2021: on v2 they are then in the root cgroup as well. And that thread may be a vCPU. In later
 * kernels both are threads of the VMM, which scan.h deals with.
 *
 * Names are longer than the 15 bytes of a thread name. Since Linux 5.17 the kernel shows up to 63
 * of a kernel thread's in /proc/PID/stat and comm; before, "kvm-nx-lpage-re" is all there is, and
 * such a thread cannot be told from another VM's: it stays where it is. The other names are never
 * cut, because a process id has at most 7 digits.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct cg_controller;
struct cg_pids;
struct err;

enum kthread_kind {
    KTHREAD_OTHER,
    KTHREAD_PIT,
    KTHREAD_VHOST,
    KTHREAD_NX_RECOVERY,
    KTHREAD_UNKNOWN, /* cut off, or not yet named: kthreadd's own name */
};

/* Pure. @ret_id  the number in the name; 0 for KTHREAD_OTHER and KTHREAD_UNKNOWN. */
enum kthread_kind kthread_parse(const char *name, pid_t *ret_id);

/* A helper of some VM of the host. */
struct kthread {
    pid_t pid;
    enum kthread_kind kind;
    pid_t id;            /* the number in its name */
    uint64_t start_time; /* clock ticks since boot */
    pid_t owner;         /* one of the caller's VMMs, 0: none of them */
    bool judged;         /* owner is what it is; not for timers */
    bool unsure;         /* owner has its number, and so have VMMs that are not the caller's */
    unsigned long long refused_us; /* when the kernel has refused to move it first; 0: it has not */
    bool refused;                  /* and did so until it was given up */
};

/* What was seen last: 4 bytes for each kernel thread of the host, 32 for each helper. */
struct kthreads {
    /* set by the caller */
    int proc_fd;   /* O_PATH of /proc, borrowed */
    int kvm_dirfd; /* vcpu_kvm_open(), borrowed; below zero: all processes are searched for VMs */
    /* the state; kthreads_free() */
    bool asked, absent; /* whether process 2 is kthreadd: not in a pid namespace of our own */
    pid_t *others;      /* listed, and no helpers; sorted */
    size_t other_count;
    struct kthread *helpers; /* sorted by pid */
    size_t helper_count;
    pid_t *vmms; /* for whom owners were found, as they were given */
    size_t vmm_count;
};

/*
 * The helper threads of VMMs.
 *
 * Costs one list of the host's kernel threads (/proc/2/task/2/children; without
 * CONFIG_PROC_CHILDREN, of all processes), and a look at those that are new. That grows with the
 * number of VMs of the host, so it is not for every pass: callers do it when vCPUs or processes of
 * the sandbox have come, and in their deep passes.
 *
 * @vmms        ids of processes, in our pid namespace, in an order that is the same in each call.
 *              Those that are no VMM do no harm.
 * @ret         sorted, in @a.
 * @ret_unsure  likewise: timers of theirs or of other VMMs.
 * 0, also when no kernel thread can be seen from here; -errno /proc cannot be read.
 */
int kthreads_find(struct kthreads *k, const pid_t *vmms, size_t count, struct arena *a,
                  struct cg_pids *ret, struct cg_pids *ret_unsure, struct err *e);

#define KTHREADS_REFUSED_US 5000000

/*
 * Put them into the cgroup @home, where they are neither there nor in @overhead. Idempotent.
 * The number of threads moved; -errno of the first that the kernel refused (EINVAL: a thread that
 * is bound to its CPUs). Until it has run for the first time the kernel moves none, so a thread is
 * tried again and again for KTHREADS_REFUSED_US, and an error is returned once, after that; callers
 * log it and go on.
 */
int kthreads_place(struct kthreads *k, struct cg_controller *home,
                   const struct cg_controller *overhead, const pid_t *vmms, size_t count,
                   struct err *e);

/* Forget all. The struct can be used again. */
void kthreads_free(struct kthreads *k);

#endif
