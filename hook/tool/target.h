/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_TARGET_H
#define HOOK_TOOL_TARGET_H

/* What a verb works on that changes one sandbox, and how it says where. */

#include "hook/sandbox/sandbox.h"
#include "hook/tool/view.h"

/* A sandbox that is locked, with its cgroups open. */
struct target {
    struct view v;
    struct sandbox s;
};

/* That of o->id, whose cgroups are not open yet. target_close() also after a failure. 0; -errno as
 * view_open_sandbox(). */
int target_find(const struct options *o, struct arena *a, struct target *t, struct err *e);

/* Open its cgroups. 0; -ENOENT they are gone; other -errno. */
int target_load(struct target *t, struct err *e);

/* Both. target_close() also after a failure. */
int target_open(const struct options *o, struct arena *a, struct target *t, struct err *e);
void target_close(struct target *t);

/* The members that every answer in JSON begins with; the object stays open. */
struct json_writer *target_answer(const struct target *t);

/* The end of a line for people: where it was done, and that this is the runtime's own cgroup. */
void target_print(const struct target *t);

#endif
