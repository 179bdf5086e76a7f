/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_USAGE_H
#define HOOK_TOOL_USAGE_H

/*
 * What a sandbox has used, the part of its vCPUs and its overhead apart, whatever the layout.
 *
 * Where the two are split, the kernel counts them in cgroups of their own. Otherwise CPU time of the vCPUs
 * is that of their threads, as far as these live, and the overhead is the rest. Memory, tasks and I/O
 * are the whole sandbox's: the kernel counts them for processes, and a VMM's memory is mostly its
 * guest's.
 */

#include "cgroup/controller.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/placement.h"

enum usage_source {
    USAGE_UNKNOWN, /* no vCPU is known, or its CPU time cannot be read */
    USAGE_CGROUP,
    USAGE_THREADS,
};

/* "cgroup", "threads"; NULL for USAGE_UNKNOWN. */
const char *usage_source_name(enum usage_source source);

/* A member is CG_UNKNOWN where nobody counts it. */
struct usage_cpu {
    uint64_t us;
    uint64_t periods, throttled_periods, throttled_us; /* of the quota that it has for itself */
    uint64_t limit_us; /* by that, of a second; CG_UNKNOWN: none, too */
};

struct usage {
    struct usage_cpu all, vcpus, overhead;
    enum usage_source source; /* of the vCPUs' CPU time */
    uint64_t vcpu_count;
    struct cg_stat whole; /* for what is not CPU time */
};

/* What it is made from. */
struct usage_facts {
    bool
        v2; /* the vCPUs' cgroup is inside of the sandbox's; else it is the sandbox's, the overhead's beside it */
    bool split; /* vCPUs are apart */
    struct cg_stat home, vcpu, overhead;
    uint64_t vcpu_count;
    uint64_t thread_us; /* CPU time of the vCPUs' threads; CG_UNKNOWN */
};

/* Pure. */
void usage_divide(const struct usage_facts *facts, struct usage *ret);

/* @s is loaded; @report says which threads are vCPUs. Never fails: what cannot be read is unknown. */
void usage_read(const struct sandbox *s, const struct record *r,
                const struct placement_report *report, struct usage *ret);

/* What was used between two readings; clamped at 0, and unknown where one of them is. The parts are unknown, too, where
 * they are told by threads and one has ended. Memory, tasks and limits are the later ones. */
struct usage usage_between(const struct usage *before, const struct usage *after);

#endif
