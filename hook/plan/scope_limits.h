/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_SCOPE_LIMITS_H
#define HOOK_PLAN_SCOPE_LIMITS_H

/*
 * The annotations org.systemd.property.NAME: the runtime sets them of its own scope, which the
 * container leaves for ours. Pure.
 */

#include "hook/plan/plan.h"
#include "oci/annotations.h"

/*
 * What of them limits memory, tasks and CPU time becomes part of the resources, where it is less
 * than what is there. Other limits, and values that are no plain number, are named in a warning.
 * @resources  not changed.
 * Those to count with, a copy in @a.
 */
struct oci_resources *scope_limits_take(const struct oci_annotations *annotations,
                                        const struct oci_resources *resources, struct arena *a,
                                        struct plan_warnings *warnings);

#endif
