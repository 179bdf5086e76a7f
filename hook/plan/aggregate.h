/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_AGGREGATE_H
#define HOOK_PLAN_AGGREGATE_H

/* From linux.resources of containers to the limits of their sandbox. Pure. */

#include "cgroup/limits/limits.h"
#include "hook/plan/settings.h"

/*
 * One container's limits. Nothing is judged that the kernel or limits.c judges; values beyond what
 * signed 64 bits hold are the largest there is. NULL means no limits.
 * Lists live in @a, texts are borrowed from @r.
 */
void aggregate_container(const struct oci_resources *r, struct arena *a, struct cg_limits *ret);

/* A container, as its sandbox counts it. */
struct aggregate_member {
    const struct oci_resources *resources; /* NULL: it has no limits */
    /* The pod was begun with it: its id is the sandbox's. It often only holds namespaces (pause,
     * infra), so in a sum a limit that it does not have does not count as "no limit". */
    bool begins_pod;
};

/*
 * The sandbox's limits: one container's as they are; of several the sum of CPU bandwidth, shares,
 * memory, memory and swap, pids and hugetlb, where a container without a limit makes it unlimited
 * for all, and the union of cpusets. What cannot be summed (block I/O, network, unified, real time)
 * is kept for a lone container only.
 * @memory_overhead_bytes  is added to a memory limit, and to memory and swap.
 * 0; -EINVAL a cpuset list that cannot be read, with the member in @e.
 */
int aggregate_limits(const struct aggregate_member *members, size_t count,
                     int64_t memory_overhead_bytes, struct arena *a, struct cg_limits *ret,
                     struct err *e);

/* What `resources = kata` leaves of the limits: the cpuset. */
void aggregate_keep_cpuset(struct cg_limits *limits);

#endif
