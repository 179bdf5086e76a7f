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

/*
 * Every thread is in `home`, the sandbox cgroup of layout sibling or the runtime's own of layout nested,
 * until there are vCPUs. Then CPU time is split: on v2 vCPU threads go into a threaded child of it, on v1
 * the others into a cgroup beside it, in the hierarchy of the cpu controller (with sibling cpuacct's, too).
 */
struct sandbox {
    struct cg_controller home; /* in every hierarchy */
    struct cg_controller
        vcpu; /* where vCPU threads are; home as far as threads are split, or its child */
    struct cg_controller
        overhead; /* where the others are, likewise; with sandbox_cgroup_only home */
    bool has_overhead;
    bool is_nested;                             /* home is the runtime's */
    struct cg_unit sandbox_unit, overhead_unit; /* used where the record names units */
    struct cg_host split;                       /* v1: the hierarchies that threads are split in */
};

/* Set up the controllers for a record; touches nothing. Strings are borrowed from @r. */
void sandbox_init(struct sandbox *s, const struct cg_host *host, struct cg_parents *parents,
                  const struct record *r);

/* cg_load() all of them. 0; -ENOENT none exists; other -errno. */
int sandbox_load(struct sandbox *s, struct err *e);

/* Whether every hierarchy that the sandbox's living containers are in it by is open, so that whoever looks sees all
 * of their threads. 0; -EAGAIN: one could not be opened, and may be later. */
int sandbox_check_cover(const struct sandbox *s, const struct record *r, struct err *e);
void sandbox_close(struct sandbox *s);

/*
 * The placeholder of a container whose runtime has declared it dead; and the runtime's own cgroup, if it is
 * there and empty; but not a scope on v2 that systemd knows: that one goes by systemd. A runtime removes it when
 * the main thread of init has ended, and the placeholder is in its way as long as the others have not: which takes
 * until somebody has waited for every process that was started in the container's PID namespace.
 */
int sandbox_release(const struct cg_host *host, const struct record_container *c, struct err *e);

/*
 * A container that its runtime has declared dead: kill its init if that lives, also where it is frozen, and
 * wait for the end of it. Else it would be moved out, and live on without the limits.
 * @is_last  no other container of the sandbox lives: meanwhile its CPU quotas are lifted, or threads that
 *           have used theirs up end when they get some again.
 * 0; -ETIMEDOUT; other -errno.
 */
int sandbox_end_init(const struct cg_host *host, const struct record *r,
                     const struct record_container *c, bool is_last, struct err *e);

/*
 * Whether somebody but our own processes is in the sandbox's cgroups, or in one that is named: the living
 * members of a sandbox whose record says nothing. 1, 0; -errno it is not known.
 */
int sandbox_is_in_use(const struct cg_host *host, const struct record *r, struct err *e);
int sandbox_path_is_in_use(const struct cg_host *host, const char *path, struct err *e);

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
