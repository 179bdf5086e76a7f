/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_PINNING_H
#define HOOK_WATCH_PINNING_H

/*
 * enable_vcpus_pinning: each vCPU on a CPU of its own.
 *
 * When a sandbox has as many vCPUs as its cpuset has CPUs, the vCPUs in the order of their numbers
 * get the CPUs in the order of theirs. With the operator's map (vcpu_numa_nodes) a vCPU prefers a
 * CPU of its node. In any other case no vCPU is pinned, and those that were may use the whole
 * cpuset again. (Kata: src/runtime/virtcontainers/sandbox.go, checkVCPUsPinning.)
 *
 * An affinity is the thread's own, within what its cpuset allows (sched_setaffinity(2)). The kernel
 * sets it back to the cpuset when the cpuset is written (always before Linux 6.2, since then if
 * nothing is left of it) and when the thread changes cpusets.
 */

#include "cgroup/limits/cpulist.h"
#include "oci/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct cg_controller;
struct err;

#define PINNING_NODES_DIR "/sys/devices/system/node"

/* The CPUs of each node of the host. */
struct pinning_node {
    uint64_t node;
    struct cg_cpulist cpus; /* may be empty: a node of memory only */
};
struct pinning_nodes {
    struct pinning_node *items; /* in an arena */
    size_t count;
};

/*
 * Read @dir/node<N>/cpulist. Nodes that cannot be read are left out.
 * 0; -ENOENT no such directory: a kernel without NUMA (callers go on without nodes); other -errno.
 * Kernel: Documentation/ABI/stable/sysfs-devices-node.
 */
int pinning_nodes_read(const char *dir, struct arena *a, struct pinning_nodes *ret);

/*
 * Decide. Pure.
 * @indexes  the vCPUs' numbers, ascending. One below zero (VCPU_NO_INDEX) or a repeated one (a
 *           second VM) is a mismatch.
 * @map      int64_t: element n is the node of vCPU number n; -1, a node that the host has not, and
 *           a vCPU behind its end prefer nothing.
 * @ret_cpus @count CPU numbers. First the vCPUs with a node, in their order, get its lowest free
 *           CPU; then the others, and those whose node has none left, the lowest free ones.
 * False: a mismatch; @ret_cpus is undefined.
 */
bool pinning_decide(const int *indexes, size_t count, const struct cg_cpulist *cpus,
                    const struct json_list *map, const struct pinning_nodes *nodes,
                    unsigned *ret_cpus);

struct pinning_vcpu {
    pid_t tid;
    uint64_t start_time; /* as proc_stat has it: tells the thread from a successor of its tid */
    int index;           /* or VCPU_NO_INDEX */
};

struct pinning_thread {
    struct pinning_vcpu vcpu;
    unsigned cpu;
};

/* What was done last. Zeroed, with the caller's part set, before the first update. */
struct pinning {
    /* set by the caller */
    const struct json_list *map; /* struct settings.vcpu_numa_nodes; NULL: none */
    const char *nodes_dir;       /* NULL: PINNING_NODES_DIR */
    /* the state; pinning_free() */
    char *cpus;                    /* the cpuset of the last decision */
    struct pinning_vcpu *vcpus;    /* what it was made for, */
    size_t vcpu_count;             /* in the order in which they were given */
    struct pinning_thread *pinned; /* sorted by vCPU number */
    size_t pinned_count;           /* 0: there was a mismatch */
    bool settled;                  /* all of it was done */
};

/*
 * Bring the vCPU threads to where they belong. Cheap when nothing has changed: the arguments are
 * compared with those of the last call.
 * @cpus    the sandbox's cpuset as a list, see pinning_cpuset_read(); NULL or "" is a mismatch.
 * @vcpus   the vCPU threads, in any order that is the same in each call.
 * @verify  also ask the kernel for every affinity, and set right what differs: after moves of
 *          threads, and now and then, because a cpuset may be written with the text it had.
 * Threads that have ended are no error. Idempotent.
 * 1 something was changed; 0 nothing; -EINVAL @cpus is no list, or the kernel refused a CPU because
 * it left the cpuset or went offline meanwhile; other -errno of sched_setaffinity(2). After an
 * error the other threads are done all the same, and the next call tries again; the caller reports
 * it once.
 */
int pinning_update(struct pinning *p, const char *cpus, const struct pinning_vcpu *vcpus,
                   size_t count, bool verify, struct err *e);

/* Forget all and leave the threads as they are. The struct can be used again. */
void pinning_free(struct pinning *p);

/*
 * The CPUs that a loaded cgroup's threads may use now: those of its cpuset that are online, and of
 * its ancestors where it has no list of its own.
 * The length; -ENOENT the cgroup has no cpuset controller: callers pass NULL to pinning_update();
 * -EFBIG; other -errno.
 */
ssize_t pinning_cpuset_read(const struct cg_controller *c, char *buf, size_t size);

#endif
