/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_TEXT_KIT_H
#define TESTS_UNIT_KIT_TEXT_KIT_H

/* Rows of tests are text; this makes of it what the modules take, and text of what they give. */

#include "cgroup/limits/limits.h"
#include "oci/resources.h"

/* JSON of the rows has ' for the double quote. */
char *kit_json(struct arena *a, const char *text);
void kit_read_row(struct arena *a, const char *text, const struct json_table *table, void *dest);
struct oci_resources *kit_resources(struct arena *a, const char *text);
/* JSON on one line, with the parts that are empty; "nothing" for NULL. */
const char *kit_resources_text(struct arena *a, const struct oci_resources *r);

/* "cpu.shares=1024; pids.max=5", '|' for a newline; and back, newlines as they are. */
struct cg_files kit_files(struct arena *a, const char *text, bool v2);
const char *kit_files_text(struct arena *a, const struct cg_files *files);

/* For messages. */
const char *kit_or_null(const char *text);

#endif
