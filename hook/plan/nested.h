/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_NESTED_H
#define HOOK_PLAN_NESTED_H

/*
 * Layout nested: the VMM stays in the cgroup that its runtime made, and one kind of thread is set
 * apart in it. Pure.
 *
 * C is the runtime's cgroup of the container, where its init is.
 *
 *   v2            vCPU threads in C/kata_vcpu, threaded, with C's CPU quota. Everything else stays in
 *                 C, whose own quota is lifted once they are placed; so is that of a cgroup between C
 *                 and what config.json names, as crun's scope is (`lifted_paths`, C first).
 *   v1, hybrid    vCPU threads stay in C. Everything else is in PARENT/kata_NAME, in the hierarchy of
 *                 the cpu controller alone. (A child of C with the quota would make the runtime's
 *                 `update` to a smaller one fail.)
 *   sandbox_cgroup_only   C is the sandbox cgroup; nothing is made or moved.
 *
 * None of it is done before a vCPU is there: until then everything is under the runtime's limits.
 */

#include "hook/plan/plan.h"

/* Decide the paths of a plan whose runtime_path is that of config.json.
 * 0; -EINVAL the container has no cgroup of its own. */
int nested_place(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e);

/*
 * Decide the rest: which files will be written once there are vCPUs, as far as config.json tells; and
 * what a VMM will miss, as the devices are the runtime's. 0; errors as plan_fill().
 */
int nested_fill(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e);

#endif
