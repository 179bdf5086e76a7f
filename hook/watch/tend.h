/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_TEND_H
#define HOOK_WATCH_TEND_H

/*
 * What the watcher does for a VM besides placing its threads: the kernel's helper threads go into
 * the overhead cgroup, and vCPUs and other threads get CPUs of their own where that is asked for.
 *
 * Dearer than a pass, so it is done when threads have changed and are quiet again, and rarely else.
 */

#include "hook/plan/settings.h"
#include "hook/watch/kthreads.h"
#include "hook/watch/overhead_cpus.h"
#include "hook/watch/pinning.h"

struct arena;
struct cg_pids;
struct err;
struct record;
struct sandbox;
struct scan;

struct tend {
    struct kthreads kthreads;
    struct pinning pinning;
    struct overhead_cpus overhead;
    char *cpuset; /* layout nested: what they were done for; NULL: not known */
    int proc_fd;  /* of /proc, the struct's own */
    int kthread_error, pinning_error, overhead_error; /* what was reported last */
};

/* @settings is borrowed. Ends with the process. */
void tend_init(struct tend *t, const struct settings *settings);

/* Layout nested, where nothing else tells of it: another cpuset, so that affinities are due. */
bool tend_is_due(const struct tend *t, const struct scan *scan, const struct record *r);

/*
 * After a pass of @scan, whose sandbox is loaded. What fails is logged once and tried again.
 * @verify: also undo what others have done meanwhile.
 */
void tend_vm(struct tend *t, const struct scan *scan, const struct record *r, bool verify);

/* For whoever is not the watcher: the kernel's threads that are outside of the overhead cgroup
 * because nothing tells whether they are of this VM, see kthreads.h. @ret in @a. 0; -errno. */
int tend_unsure(const struct scan *scan, struct arena *a, struct cg_pids *ret, struct err *e);

#endif
