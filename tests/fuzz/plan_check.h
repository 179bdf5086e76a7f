/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_PLAN_CHECK_H
#define TESTS_FUZZ_PLAN_CHECK_H

#include "hook/plan/plan.h"

/* A host that has these of the devices that the hook looks for. */
struct facts plan_facts(enum cg_mode mode, unsigned devices, struct arena *a);

/* All of it that a table of ours knows, as JSON. */
const char *config_written(const struct oci_config *config, struct arena *a);

/* Plan, and assert what holds of each plan. Returns whether there is one. */
bool plan_check(struct plan_input *in, struct arena *a);

#endif
