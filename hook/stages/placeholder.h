/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_STAGES_PLACEHOLDER_H
#define HOOK_STAGES_PLACEHOLDER_H

/*
 * A process that does nothing but be in a scope, because systemd removes one that is empty:
 *   - The runtime's own scope, whose processes we have moved out, must live as long as its
 *     container: exec and probes fail without it. This placeholder ends the moment the container's
 *     init does, because runc skips poststop when it cannot remove its own cgroup. When it ends before
 *     that, somebody has killed it, and means the container: hook/watch/orders.h.
 *   - On v1 and hybrid the sandbox scope has no whole process of its own, only vCPU threads, and
 *     none before they start. This placeholder ends when teardown says so.
 */

#include "hook/sandbox/child.h"

#define PLACEHOLDER_NAME "osc-hold"

/* Fork one that follows @init, or waits for SIGTERM if @init is NULL. As child_fork(). */
int placeholder_fork(const struct proc_id *init, struct child *ret, struct err *e);

#endif
