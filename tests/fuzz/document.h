/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_DOCUMENT_H
#define TESTS_FUZZ_DOCUMENT_H

/*
 * Documents as the product's own tables describe them: members, kinds and ranges are those of
 * struct json_table, and what a number of linux.resources may be is in the table of limits. So a new
 * member is drawn without a change here, and nearly all that is drawn is accepted.
 */

#include "oci/json.h"
#include "tests/fuzz/draw.h"

/* @unified  whether linux.resources.unified may have members: cgroup v1 refuses it. */
char *document_draw(struct draw *d, const struct json_table *table, bool unified, struct arena *a);

/* A list of CPUs such as "0-3,8". */
char *document_cpus(struct draw *d, struct arena *a);

#endif
