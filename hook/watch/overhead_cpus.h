/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_OVERHEAD_CPUS_H
#define HOOK_WATCH_OVERHEAD_CPUS_H

/*
 * overhead_cpus: while there are vCPUs, the other threads are kept on these CPUs, by affinity.
 *
 * A thread that is on them already, or on some of them by its own choice, is left alone; any other
 * gets what the cpuset has of them. Threads inherit the affinity of the one that starts them: a new
 * vCPU that has just that is let out of it again, and so are all when the last vCPU has gone.
 */

#include "cgroup/limits/cpulist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct err;

enum overhead_step {
    OVERHEAD_LEAVE,
    OVERHEAD_KEEP,    /* on the CPUs of the list */
    OVERHEAD_RELEASE, /* to the whole cpuset */
};

/*
 * What to do with one thread. Pure.
 * @keep  it is to be on the list; else it is not, and had nothing of its own before.
 * Where the cpuset has nothing of the list the thread is left alone.
 */
enum overhead_step overhead_cpus_decide(const struct cg_cpulist *affinity,
                                        const struct cg_cpulist *cpuset,
                                        const struct cg_cpulist *list, bool keep);

/* A cpuset without the list, for vCPUs that are pinned. Pure. @list NULL, or no valid text: @cpus. */
const char *overhead_cpus_rest(const struct cg_cpulist *list, const char *cpus, struct arena *a);

struct overhead_thread {
    pid_t tid;
    uint64_t start_time;
    bool is_vcpu;
};

/* Zeroed, with the list set, before the first update. */
struct overhead_cpus {
    const struct cg_cpulist *list; /* NULL: nothing is ever touched */
    /* the state; overhead_cpus_free() */
    struct overhead_thread *vcpus; /* of the last update: what they have since is their own */
    size_t vcpu_count;
    bool on; /* threads are kept */
};

/*
 * Bring a VM's threads to where they belong, after vCPUs were pinned. The kernel is asked for each
 * thread's affinity, so it may be called after any change.
 * @cpus  the cpuset of the threads as a list; NULL: not known, the kernel takes what it allows.
 * 1 something was changed; 0 nothing; -ENXIO the cpuset has nothing of the list: nothing is done;
 * -EINVAL @cpus is no list, or the kernel refused one thread; other -errno of
 * sched_setaffinity(2). After an error the other threads are done all the same.
 */
int overhead_cpus_update(struct overhead_cpus *o, const char *cpus,
                         const struct overhead_thread *threads, size_t count, struct err *e);

/* Forget all and leave the threads as they are. The struct can be used again. */
void overhead_cpus_free(struct overhead_cpus *o);

#endif
