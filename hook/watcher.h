/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCHER_H
#define HOOK_WATCHER_H

/*
 * The watcher of a sandbox without sandbox_cgroup_only: a detached process, living in the overhead
 * cgroup, that places vCPU threads in the sandbox cgroup as they appear.
 *
 * Placement cannot be left to poststart: runc runs it inside `create`, before the VMM exists, and
 * waits for it. So setup forks the watcher early, writes its identity into the record, makes the
 * cgroups, and only then lets it go; a watcher whose setup dies before that ends by itself.
 *
 * It ends on SIGTERM (teardown sends it), when the sandbox's cgroups are gone, and when the last
 * container has died and no teardown has come: then it tears the sandbox down itself.
 */

#include "hook/child.h"
#include "hook/config.h"
#include "hook/record.h"

/*
 * Fork a watcher that waits to be let go. @state_dir, @sandbox_id, @config are copied with the
 * process. As child_fork().
 */
int watcher_fork(const char *state_dir, const char *sandbox_id, const struct hook_config *config,
                 struct child *ret, struct err *e);

struct sandbox;

/* One pass over the sandbox's threads. */
struct watch_pass {
    size_t threads;          /* in both cgroups, the watcher left out */
    size_t overhead_threads; /* of them in the overhead cgroup when the pass began */
    size_t placed;           /* vCPU threads that are in the sandbox cgroup now */
    size_t vcpus;            /* vCPU threads seen */
    uint64_t print;          /* changes when threads come, go or are renamed */
};

struct watch_scan {
    struct sandbox *sandbox;
    const struct hook_config *config;
    int kvm_dirfd;
    pid_t own[2];     /* processes of ours that stay where they are; 0: none */
    bool constrained; /* no vCPU appeared in time: everything was moved into the sandbox cgroup */
};

/*
 * Place every vCPU thread in the sandbox cgroup and every other thread in the overhead cgroup.
 * Threads that end meanwhile are no error. Idempotent. 0; -errno of a move that the kernel refused.
 */
int watch_scan(struct watch_scan *scan, struct watch_pass *ret, struct err *e);

#endif
