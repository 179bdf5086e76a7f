/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_WATCHER_H
#define HOOK_WATCH_WATCHER_H

/*
 * hook/watch/ places vCPU threads while a VM runs. This is the watcher of a sandbox: a detached
 * process, in the cgroup of whoever started the hook, that does so as they appear.
 *
 * Placement cannot be left to poststart: runc runs it inside `create`, before the VMM exists, and
 * waits for it. So setup forks the watcher early, writes its identity into the record, makes the
 * cgroups, and only then lets it go; a watcher whose setup dies before that ends by itself.
 *
 * It ends on SIGTERM (teardown sends it), when the sandbox's record is gone or names another watcher, and when
 * the last container has died and no teardown has come: then it tears the sandbox down itself.
 */

#include "hook/plan/settings.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/record.h"

/* Whether a sandbox needs one: for the split, to keep threads on CPUs, or, with layout sibling, because
 * what the runtime does to its own cgroup reaches the VMM by no other way. */
bool watcher_is_wanted(const struct record *r, const struct settings *settings);

/* Fork a watcher that waits to be let go. As child_fork(); the arguments are copied with it. */
int watcher_fork(const char *state_dir, const char *sandbox_id, const struct settings *settings,
                 struct child *ret, struct err *e);

#endif
