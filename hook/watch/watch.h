/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_WATCH_H
#define HOOK_WATCH_WATCH_H

/*
 * What a watcher has and knows, for watcher.c, which says what it does, and watch_record.c, which is about its
 * record. Internal to hook/watch.
 */

#include "base/arena.h"
#include "cgroup/host.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/sandbox/state_dir.h"
#include "hook/watch/drift.h"
#include "hook/watch/events.h"
#include "hook/watch/oom.h"
#include "hook/watch/orders.h"
#include "hook/watch/pace.h"
#include "hook/watch/placement.h"
#include "hook/watch/scan.h"
#include "hook/watch/split.h"
#include "hook/watch/tend.h"

#include <signal.h>

struct watch {
    const char *state_dir;
    const char *sandbox_id;
    const struct settings *settings;
    struct cg_host host;
    struct state_dir state;
    struct record record;
    struct sandbox sandbox;
    struct scan scan;
    struct placement placement;
    struct tend tend;
    struct drift drift; /* layout sibling */
    struct orders orders;
    struct events events; /* opened before we were confined */
    struct oom oom;
    struct split split;
    struct record_mark mark; /* which file it was read from */
    bool is_current;         /* what we know of the record is what is in there */
    unsigned reused; /* so often since it was read, and with it the memory of what was changed */
    struct arena host_arena, record_arena, split_arena;
    sigset_t unblocked; /* the signal mask while sleeping */
    int init_pidfd;     /* of a container that lives, to wake up when it does not any more */
    int own_fd;         /* cgroup.procs of where we are, for cg_keep_warm() */
    struct pace pace;
    unsigned long long started_us, empty_since_us;
    uint64_t print;
    bool timed_out, skipped;
    bool was_same;  /* the last look was no pass, and there is no memory to be given back */
    bool awaits;    /* vCPUs: else there is one cgroup for all, and no CPUs to keep threads on */
    bool tend_due;  /* threads have changed since helpers and CPUs were seen to */
    bool split_due; /* what split_do() does could not be begun */
    bool carry_due; /* limits have changed and are not in the record yet */
    int last_error, last_limit_error, last_split_error, last_order_error;
};

/* SIGTERM has come. */
extern volatile sig_atomic_t watch_terminated;

/*
 * Read the record again, with the sandbox locked from then on. 0; 1 it is the one that we know, whose cgroups are
 * open. Not locked: -ENOENT the sandbox is gone or another watcher's; -ECANCELED we are to end; other -errno for now,
 * what we know of it is as it was.
 */
int watch_reload(struct watch *w, struct state_lock *lock);

/* The cgroups and processes of a record that was just read. Releases the lock. 0; -errno they are not open. */
int watch_adopt(struct watch *w, struct state_lock *lock);

/* Both. As watch_reload(), not locked any more. */
int watch_load(struct watch *w);

/* Whether, by what watch_reload() says, the sandbox is no more ours to watch. */
bool watch_is_over(int r);

/* A stage has written the record again: containers came or went. Or it has removed it, as one does that could not
 * read who is to be told to end. Returns true when the watcher is to leave. */
bool watch_notice_record(struct watch *w);

#endif
