/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_OVERRIDE_H
#define HOOK_PLAN_OVERRIDE_H

/*
 * What an operator has set for a whole sandbox, by `update`: it holds in place of what its containers
 * add up to, limit by limit, whoever joins or leaves, until a runtime changes that limit of one of them:
 * the last word counts. Pure.
 *
 * It is kept as an oci_resources with the members of override_rows alone; one that is not set, 0 (but where that
 * means something) or "" is not said.
 */

#include "cgroup/limits/limits.h"
#include "hook/plan/aggregate.h"
#include "oci/resources.h"

enum override_part { OVERRIDE_CPU, OVERRIDE_MEMORY, OVERRIDE_PIDS };
enum override_kind { OVERRIDE_NUMBER, OVERRIDE_TEXT };

struct override_row {
    enum override_part part;
    enum override_kind kind;
    size_t offset; /* in the part's struct */
    unsigned pair; /* of those with the same number no one counts without the other; 0: alone */
    bool zero_is_value; /* else as runc has it: 0 leaves a limit as it is */
};

#define OVERRIDE_ROWS 11
extern const struct override_row override_rows[OVERRIDE_ROWS];

/* Whether @r, which may be NULL, says this one; and whether any. */
bool override_says(const struct oci_resources *r, const struct override_row *row);
bool override_says_any(const struct oci_resources *r);

/* What @more says, and else @before; each may be NULL. A copy in @a with all parts. */
struct oci_resources *override_merge(const struct oci_resources *before,
                                     const struct oci_resources *more, struct arena *a);

/*
 * What is left of @set when the resources of a container, as its runtime has them, go from @before to @now: what
 * was changed there is the runtime's again. NULL: nothing; otherwise a copy in @a.
 */
struct oci_resources *override_yield(const struct oci_resources *set,
                                     const struct oci_resources *before,
                                     const struct oci_resources *now, struct arena *a);

/* Let the limits be what @set, which may be NULL, says of them, and @notes say so. Texts are borrowed from it. */
void override_apply(const struct oci_resources *set, bool v2, struct arena *a,
                    struct cg_limits *limits, struct aggregate_notes *notes);

#endif
