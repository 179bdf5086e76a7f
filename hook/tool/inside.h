/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_INSIDE_H
#define HOOK_TOOL_INSIDE_H

/* Which threads of a sandbox are vCPUs: by a look at all of them, and by what its watcher knows. */

#include "hook/sandbox/sandbox.h"
#include "hook/tool/view.h"
#include "hook/watch/placement.h"
#include "hook/watch/scan.h"

struct inside {
    struct scan scan;
    int kvm_dirfd;
    bool known;                     /* the look has worked */
    struct placement_report report; /* in the arena; empty if it is not known */
};

/* @s is loaded, and its record is @v's; both and @settings are borrowed until inside_free().
 * 0; -errno: it is not known, the rest of @ret is as without vCPUs. */
int inside_look(const struct view *v, struct sandbox *s, const struct settings *settings,
                struct arena *a, struct inside *ret, struct err *e);
void inside_free(struct inside *in);

#endif
