/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_PRUNE_H
#define HOOK_SANDBOX_PRUNE_H

/* Removing what dead sandboxes left: the last line of defence against leaks. */

#include "cgroup/host.h"
#include "hook/sandbox/state_dir.h"

struct settings;

enum prune_result {
    PRUNE_ALIVE,  /* a container of it lives: not touched */
    PRUNE_DEAD,   /* removed, or with dry_run: would be */
    PRUNE_FAILED, /* dead, but something could not be removed; or it is not known */
    PRUNE_BUSY,   /* a stage is at work on it */
};

/*
 * Look at one sandbox and remove it if it is dead: all its containers' init processes have ended,
 * or its record is from another boot, or there is no record in its directory.
 * @e  why it failed or is busy.
 */
enum prune_result prune_one(const struct state_dir *state, const struct cg_host *host,
                            const struct settings *settings, const char *sandbox_id, bool dry_run,
                            struct err *e);

/*
 * What each setup does: look at a few of the other sandboxes, so that what was left behind goes
 * soon while the cost stays the same however many sandboxes there are. One with a living watcher is
 * left to that, and a busy one to a later setup: nobody is made to wait. Says nothing, never fails.
 */
void prune_some(const struct state_dir *state, const struct cg_host *host,
                const struct settings *settings, const char *except);

/* Links of containers and claims whose sandbox is gone, and parent cgroups that nobody needs. 0; -errno: some
 * could not be looked at. */
int prune_rest(const struct state_dir *state, const struct cg_host *host, struct err *e);

#endif
