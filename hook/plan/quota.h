/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_QUOTA_H
#define HOOK_PLAN_QUOTA_H

/*
 * CPU quotas as cpu.max of cgroup v2 says them: so many microseconds of CPU time in each period.
 *
 * Where vCPU threads are set apart, their cgroup has the quota that the runtime gave to its own
 * cgroup, and that of the runtime's is lifted. An odd period marks what we wrote: runtimes, systemd
 * and the kubelet always write a period of their own. Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The period of what we write where a quota is lifted. */
#define QUOTA_LIFTED_PERIOD_US UINT64_C(99999)

/* That of a new cgroup. */
#define QUOTA_DEFAULT_PERIOD_US UINT64_C(100000)

/* What the kernel takes (kernel/sched/core.c): a quota of 1 ms at least and of 2^44 - 1 us at most,
 * a period of 1 ms to 1 s. */
#define QUOTA_MIN_US        INT64_C(1000)
#define QUOTA_MAX_US        ((INT64_C(1) << 44) - 1)
#define QUOTA_MIN_PERIOD_US UINT64_C(1000)
#define QUOTA_MAX_PERIOD_US UINT64_C(1000000)

struct quota {
    int64_t us;         /* per period; -1: no limit */
    uint64_t period_us; /* never 0 */
};

/* Any text of quota_format(), and any that quota_parse() takes. */
#define QUOTA_TEXT_SIZE 48

/*
 * Read the text of cpu.max: "50000 100000", "max 100000", with or without a newline at its end.
 * False for anything else, also for a quota or period of 0; @ret is written on success only.
 */
bool quota_parse(const char *text, struct quota *ret);

/*
 * Read what a person gives: "QUOTA", of each 100,000 us, or "QUOTA PERIOD", two numbers that the
 * kernel takes. False for anything else, also for "max"; @ret is written on success only.
 */
bool quota_parse_given(const char *text, struct quota *ret);

/* The text for cpu.max, in @buf. Returns @buf. */
const char *quota_format(const struct quota *q, char buf[static QUOTA_TEXT_SIZE]);

/* Whether we have written it to lift a quota. One with the odd period and a number is Q + O of
 * quota_sum_lifted(), or of somebody who wrote a number alone, for which the kernel keeps the
 * period: it binds what is in the cgroup all the same. */
bool quota_is_lifted(const struct quota *q);

/* By the ratio of quota and period, without overflow: below 0, 0, above 0 as in qsort(3). No limit
 * is the largest. */
int quota_compare(const struct quota *a, const struct quota *b);

/* The one with the smallest ratio, of several the first. No limit, with the default period, where
 * none has a limit or there are none. */
struct quota quota_least(const struct quota *items, size_t count);

/*
 * What is written to lift a quota.
 * @least     Q, what the vCPUs' cgroup has.
 * @overhead  O, what the other threads may use besides; NULL or no limit: they are not limited.
 * No limit with the odd period; or Q + O with it, where both are limits: each rounded up, not below
 * and not above what the kernel takes.
 */
struct quota quota_sum_lifted(const struct quota *least, const struct quota *overhead);

/*
 * cpu.weight for a cgroup with so many vCPU threads beside other threads that are in its parent
 * itself: there each thread of nice 0 counts as 100 (sched_prio_to_weight), so this is what they
 * would have without a cgroup of their own. 100 for none; never above 10,000, the kernel's maximum.
 */
unsigned quota_vcpu_weight(size_t vcpus);

#endif
