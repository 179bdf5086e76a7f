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
    const char *id;                        /* for who is told of it; NULL: not known */
    const struct oci_resources *resources; /* NULL: it has no limits */
    /* The pod was begun with it: its id is the sandbox's. It often only holds namespaces (pause,
     * infra), so in a sum a limit that it does not have does not count as "no limit". */
    bool begins_pod;
};

/* What is added up, each in its way, and behind that what is a lone container's, but where `update` sets it. */
enum aggregate_kind {
    AGGREGATE_BANDWIDTH,
    AGGREGATE_SHARES,
    AGGREGATE_MEMORY,
    AGGREGATE_SWAP,
    AGGREGATE_PIDS,
    AGGREGATE_HUGETLB,
    AGGREGATE_CPUS,
    AGGREGATE_MEMS,
    AGGREGATE_LONE,
    AGGREGATE_BURST = AGGREGATE_LONE,
    AGGREGATE_IDLE,
    AGGREGATE_RESERVATION,
    AGGREGATE_KINDS
};

/* What has become of it. */
enum aggregate_fate {
    AGGREGATE_UNSET,     /* none of the containers has it */
    AGGREGATE_SUM,       /* or, of a cpuset, the union */
    AGGREGATE_LACKING,   /* one of the containers has no limit, and so the sandbox has none */
    AGGREGATE_UNLIMITED, /* they say that there is none */
    AGGREGATE_TOO_MUCH,  /* the sum is more than the kernel takes */
    AGGREGATE_UPDATED,   /* `update` has set it in place of all that, see override.h */
};

/* Why the limits are as they are, for who asks; nothing is decided by it. */
struct aggregate_notes {
    bool alone;                         /* one container's, as they are */
    bool cpuset_only;                   /* aggregate_keep_cpuset() */
    bool has_overhead[AGGREGATE_KINDS]; /* memory_overhead_bytes was added */
    struct aggregate_note {
        enum aggregate_fate fate;
        const struct aggregate_member *lacking; /* the first of those */
    } kinds[AGGREGATE_KINDS];
};

/*
 * The sandbox's limits: one container's as they are; of several the sum of CPU bandwidth, shares,
 * memory, memory and swap, pids and hugetlb, where a container without a limit makes it unlimited
 * for all, and the union of cpusets. What cannot be summed (block I/O, network, unified, real time)
 * is kept for a lone container only.
 * @memory_overhead_bytes  is added to a memory limit, and to memory and swap.
 * @notes  NULL: who asks does not want to know.
 * 0; -EINVAL a cpuset list that cannot be read, with the member in @e.
 */
int aggregate_limits(const struct aggregate_member *members, size_t count,
                     int64_t memory_overhead_bytes, struct arena *a, struct cg_limits *ret,
                     struct aggregate_notes *notes, struct err *e);

/* What `resources = kata` leaves of the limits: the cpuset. */
void aggregate_keep_cpuset(struct cg_limits *limits);

#endif
