/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_AFFINITY_H
#define HOOK_WATCH_AFFINITY_H

/* A thread's own CPUs, within what its cpuset allows: sched_setaffinity(2). */

#include "cgroup/limits/cpulist.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * @start_time  as proc_stat has it: tells the thread from a successor of its tid.
 * @cpus        the kernel takes of it what the cpuset allows; NULL: all that it allows, now and
 *              later.
 * 1; 0 the thread has ended; -EINVAL the cpuset has none of @cpus; other -errno.
 */
int affinity_set(pid_t tid, uint64_t start_time, const struct cg_cpulist *cpus);

/* 1; 0 the thread has ended; -errno. */
int affinity_get(pid_t tid, struct cg_cpulist *ret);

#endif
