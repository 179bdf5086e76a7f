/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_OVERHEAD_H
#define HOOK_PLAN_OVERHEAD_H

/*
 * What the overhead has once vCPUs are set apart, in each layout: on v2 the cgroup around them, whose
 * quota becomes theirs and is lifted; on v1 a cgroup of its own, in the hierarchy of the cpu
 * controller. CPU time alone is shared out anew; of everything else all threads have the sandbox's.
 * Pure.
 */

#include "hook/plan/plan.h"

/*
 * What of overhead_limits is in force: the CPU quota, which on v2 is what the vCPUs' quota is exceeded
 * by where it was lifted; and on v1 the shares. Warnings name what has no meaning.
 * @quota  in place of the quota: the container's own, as cpu.max has it; NULL: none.
 * 0; -EINVAL.
 */
int overhead_files(const struct settings *settings, const char *quota, bool v2, struct arena *a,
                   struct cg_files *ret, struct plan_warnings *warnings, struct err *e);

/* The quota and burst that the vCPUs get out of all the files of a sandbox of v2; none if it has no
 * quota. */
struct cg_files overhead_quota_of(const struct cg_files *own, struct arena *a);

/*
 * The overhead's part of a plan, as far as config.json tells: the files that will be written once there
 * are vCPUs, and what its scope is told.
 * @own  the files of the sandbox. 0; errors as plan_fill().
 */
int overhead_fill(const struct plan_input *in, const struct cg_files *own, struct arena *a,
                  struct plan *p, struct err *e);

#endif
