/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_OVERHEAD_H
#define HOOK_TOOL_OVERHEAD_H

/*
 * What the overhead of sandboxes takes, and the `overhead.podFixed` of a RuntimeClass that follows from it. Pure.
 *
 * Its CPU time is known apart, see usage.h. Its memory is not: the kernel counts memory for processes, and
 * the guest's is memory of the VMM. So the overhead's is what the sandbox holds less as much as the guest was told
 * to have, which is right once the guest has touched all of that; before, the overhead is more. Page cache, which
 * the kernel gives back when somebody else needs the memory, is not held. Numbers are CG_UNKNOWN where nobody knows.
 */

#include "hook/tool/sample.h"

/* Who asks for more waits for days, or has more readings than memory is for. */
#define OVERHEAD_READINGS_MAX 100000
#define OVERHEAD_MARGIN       10 /* per cent */

/* What was asked for. */
struct overhead_terms {
    uint64_t interval_ms;        /* between readings; 0: what has accumulated, there are none */
    uint64_t margin;             /* per cent on top of what was seen */
    struct json_u64 guest_bytes; /* memory of each guest; not set: nobody has said it */
};

/* An interval, and its end. CPU is in tenths of a thousandth of one, as units_share() has it. */
struct overhead_point {
    uint64_t at_us; /* since the first reading */
    uint64_t vcpu, overhead;
    uint64_t throttled; /* the guest, in hundredths of a per cent of its periods */
    uint64_t held;      /* memory of the whole sandbox */
};

struct overhead_figures {
    uint64_t mean, p50, p95, max;
};

struct overhead_sandbox {
    const char *id;
    struct names names;
    enum usage_source source; /* by what its CPU time is told apart */
    struct overhead_point *points;
    size_t count;
    uint64_t us,
        took_us; /* the overhead's CPU time in those intervals where it is known, and their length */
    bool ended;  /* before the last reading was due */
    struct overhead_figures cpu;    /* of the overhead, as in a point */
    struct overhead_figures held;   /* of the whole sandbox, in bytes; it has no mean */
    struct overhead_figures memory; /* of the overhead */
};

struct overhead {
    struct overhead_terms terms;
    struct overhead_sandbox *items;
    size_t count;
    /* What follows for all of them: */
    uint64_t cpu_millis, memory_mib; /* with the margin, rounded up, at least 1 */
    const struct overhead_sandbox *cpu_of,
        *memory_of;                     /* who needs that; NULL: it is not known of any */
    size_t cpu_unknown, memory_unknown; /* of so many sandboxes */
};

/* Memory that a sandbox holds, of what its cgroup counts. */
uint64_t overhead_held(const struct cg_stat *st);

/* Of that what is not the guest's; CG_UNKNOWN, too, as long as it is less than the guest's. */
uint64_t overhead_less(uint64_t held, const struct json_u64 *guest);

/* Of numbers without those that are not known: each percentile is the least number that so many are not above. The mean
 * is not known. @values is sorted. */
struct overhead_figures overhead_figures(uint64_t *values, size_t count);

/* The interval between two samples of it is over. */
void overhead_add(struct overhead_sandbox *s, uint64_t at_us, const struct sample *before,
                  const struct sample *after, struct arena *a);

/* What it has used since it began, without readings: of CPU a mean, of memory the peak, with page cache, or, where the
 * kernel keeps none, what it holds now. */
void overhead_accumulate(struct overhead_sandbox *s, const struct sample *now);

/* When all is read: the figures of each, and what follows for all. */
void overhead_conclude(struct overhead *o);

#endif
