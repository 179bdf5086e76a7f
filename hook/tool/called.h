/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_CALLED_H
#define HOOK_TOOL_CALLED_H

/* What people call a sandbox. podman gives no annotation that says it, so for its containers conmon is asked, which
 * is there for as long as they run. */

#include "hook/plan/names.h"
#include "hook/sandbox/record.h"

struct err;

/* Those of one container; whatever lives as long as @a, or as the record. 0; -errno: conmon cannot be asked, and no
 * name is not none. */
int called_container(const struct record_container *c, struct arena *a, struct names *ret,
                     struct err *e);

/* Those of a sandbox. Several containers of a pod have its names alone. 0; -errno as above, and @ret has what is
 * known. */
int called_sandbox(const struct record *r, struct arena *a, struct names *ret, struct err *e);

/* For a line of a list: escaped, and cut to the size of @buf; "-" for none. Returns @buf. */
const char *called_text(const struct names *names, char *buf, size_t size);

/* For a table: escaped, in @a; what it is called, else its id. */
const char *called_or_id(const struct names *names, const char *id, struct arena *a);

/* As members `container`, `pod` and `namespace` of an object; null for none. */
void called_write_json(struct json_writer *w, const struct names *names);

/* Pure: what the arguments of a conmon call its container, each with a NUL behind it. NULL: nothing. */
const char *called_by_conmon(const char *arguments, size_t len);

#endif
