/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_SANDBOX_H
#define HOOK_SANDBOX_SANDBOX_H

/*
 * hook/sandbox/ is what outlives a stage: the record, the state directory, processes of ours.
 * This is a recorded sandbox with its two cgroups, which setup, teardown, watcher and verbs share.
 */

#include "cgroup/controller.h"
#include "cgroup/systemd.h"
#include "hook/plan/settings.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"

/* How long the removal of a sandbox waits for its cgroups. */
#define SANDBOX_PATIENCE_MS 5000

struct sandbox {
    struct cg_controller vcpu;     /* the sandbox cgroup; on v2 its leaf for vCPU threads */
    struct cg_controller overhead; /* not set up with sandbox_cgroup_only */
    bool has_overhead;
    bool is_nested; /* one of the two, or with sandbox_cgroup_only the first, is the runtime's */
    struct cg_controller home; /* layout nested: the runtime's cgroup, in every hierarchy */
    struct cg_unit sandbox_unit, overhead_unit; /* used where the record names units */
    struct cg_host split; /* layout nested on v1: the hierarchy that threads are split in */
};

/* Set up the controllers for a record; touches nothing. Strings are borrowed from @r. */
void sandbox_init(struct sandbox *s, const struct cg_host *host, struct cg_parents *parents,
                  const struct record *r);

/* cg_load() all of them. 0; -ENOENT neither the sandbox cgroup nor the overhead's exists; other
 * -errno. */
int sandbox_load(struct sandbox *s, struct err *e);
void sandbox_close(struct sandbox *s);

/* End every process in the cgroups that runs this very program: watchers and placeholders that no
 * record names. */
void sandbox_end_children(const struct cg_host *host, const struct record *r);

/*
 * The whole removal of a locked sandbox: its processes of ours, cgroups, links, record. On failure
 * the record stays, so that prune can go on. The lock is released when the record is gone.
 * @timeout_ms is how long a busy directory is waited for.
 */
int sandbox_destroy(const struct state_dir *state, const struct cg_host *host,
                    const struct record *r, const struct settings *settings, int timeout_ms,
                    struct state_lock *lock, struct err *e);

#endif
