/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_SPLIT_H
#define HOOK_WATCH_SPLIT_H

/*
 * When vCPUs are there, the cgroup that holds everything is split, and when they are gone it is one
 * again. What is split where: hook/sandbox/sandbox.h; the quotas: hook/sandbox/fence.h.
 *
 * At every step a kill leaves the vCPUs under the quota: on v2 their cgroup gets it before they get
 * there, and only then, with the words of who gave it in the record, is it lifted above them; on v1
 * they never leave it.
 */

#include "hook/plan/settings.h"
#include "hook/sandbox/fence.h"
#include "hook/watch/scan.h"

struct record;
struct state_lock;

#define SPLIT_WHY_SIZE    200
#define SPLIT_SHARES_SIZE 32

struct split {
    struct fence fence; /* v2 */
    int events;         /* inotify, of the fence; below zero: none */
    bool is_v2;
    bool has_fence;
    bool is_whole;  /* sandbox_cgroup_only: never split */
    bool on;        /* vCPUs are apart */
    bool woken;     /* the fence was written, or has to be looked at */
    size_t weighed; /* vCPUs that their cgroup's weight is for */
    char shares
        [SPLIT_SHARES_SIZE]; /* v1: those of the vCPUs' cgroup that the overhead has; "": its own */
    char why[SPLIT_WHY_SIZE]; /* why there is no split although there are vCPUs; "" */
    struct cg_files overhead; /* overhead_files(); in `a` */
    struct arena *a;
};

/*
 * Begin with a sandbox that was just loaded, split or not. @scan holds from here
 * on until there is a split. 0; -errno: quotas cannot be watched or told, so it stays unsplit.
 */
int split_init(struct split *s, const struct cg_host *host, const struct settings *settings,
               const struct record *r, struct scan *scan, struct arena *a, struct err *e);

/* After a pass: whether there is something to do. @thorough: look also where no event came. */
bool split_is_due(struct split *s, const struct scan *scan, const struct scan_result *pass,
                  bool thorough);

/* Whether, with threads that are where they were, nothing can be due: what else counts tells by events. */
bool split_is_calm(const struct split *s, size_t vcpus);

/*
 * Do it, with the sandbox locked, its record just read and its cgroups loaded. The record is written
 * before what it describes.
 * @pass  becomes that of the last pass that was made.
 * 0, also where there can be no split (`why` says so); -errno: the same is due with the next pass.
 */
int split_do(struct split *s, struct scan *scan, struct scan_result *pass,
             const struct state_lock *lock, struct record *r, struct arena *record_arena,
             struct err *e);

/* What was made has vanished: it is made again with the next pass. */
void split_again(struct split *s, struct scan *scan);

#endif
