/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_NAMES_H
#define HOOK_PLAN_NAMES_H

/* What an engine calls a container. It is for people and labels alone: nothing is decided by it. */

#include "hook/plan/policy.h"
#include "oci/annotations.h"

#include <stdbool.h>

/* Of a Kubernetes name there are as many bytes at most. */
#define NAMES_MAX 253

struct names {
    char *container, *pod, *pod_namespace; /* NULL: it has none */
};

/* Whether it is taken for a name: one that is too long, empty, or has characters that a terminal must not see
 * is not. So what names add to a record is bounded. */
bool names_is_one(const char *text);

/* Those that the annotations give; copies in @a. The infrastructure container of a pod has no name of its own. */
void names_take(const struct oci_annotations *annotations, enum role role, struct arena *a,
                struct names *ret);

/* "namespace/pod/container", of what there is; "" for none. Not escaped; in @a. */
const char *names_text(const struct names *names, struct arena *a);

#endif
