/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_VIEW_H
#define HOOK_TOOL_VIEW_H

/* What verbs about recorded sandboxes work with: the host, the state directory, one sandbox that is locked. */

#include "cgroup/host.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "hook/tool/options.h"

/* How long a verb waits for a stage, or for another verb, that works on the same sandbox. */
#define VIEW_LOCK_TIMEOUT_MS 10000

struct view {
    struct cg_host host;
    struct state_dir state;
    struct state_lock lock; /* of @record, or not held */
    struct record record;
    enum record_state found;
};

#define VIEW_INIT                                                                                  \
    {                                                                                              \
        .state = STATE_DIR_INIT, .lock = STATE_LOCK_INIT                                           \
    }

/* Also of one that was not opened, or half. */
void view_close(struct view *v);

/* The ids of all sandboxes, in the arena; none where there is no state directory. 0; -errno. */
int view_open_all(const struct options *o, struct arena *a, struct view *v, const char ***ids,
                  size_t *count, struct err *e);

/*
 * The sandbox that o->id names, locked, its record read: its own id or that of one of its containers, else the name
 * of a container or a pod, else a beginning of an id (find.h).
 * 0; -EINVAL this is no name of one; -ENOENT there is none, or its record is not valid; -ENOTUNIQ it names several;
 * other -errno.
 */
int view_open_sandbox(const struct options *o, struct arena *a, struct view *v, struct err *e);

/* The same without the lock, for who only reads: stages are not held up. It may be gone at any time after. */
int view_look_sandbox(const struct options *o, struct arena *a, struct view *v, struct err *e);

/* "running", "dead", "unknown" with the reason in @e. */
const char *view_liveness(const struct record *r, struct err *e);

/* Say what could not be looked at of sandbox @id, and go on: the first is the verb's result, in @e, and @first 0 as long as
 * there is none. Returns the next @first. */
int view_note_failure(int first, const char *id, const struct err *why, struct err *e);

/* Its text to stdout; @w is freed. */
void view_print(struct json_writer *w);

#endif
