/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/watch.h"

#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* A record that is known is not read again so many times. */
#define REUSE_MAX 64

volatile sig_atomic_t watch_terminated;

/* Wait for the lock, but not for a teardown that holds it and waits for us. */
static int lock_or_end(struct watch *w, struct state_lock *lock)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    for (;;) {
        int r = state_lock(&w->state, w->sandbox_id, false, 0, lock, NULL);

        if (r != -ETIMEDOUT)
            return r;
        ppoll(NULL, 0, &pause, &w->unblocked);
        if (watch_terminated)
            return -ECANCELED;
    }
}

int watch_reload(struct watch *w, struct state_lock *lock)
{
    struct arena a = ARENA_INIT;
    struct record record;
    enum record_state state;
    int r = lock_or_end(w, lock);
    bool known = r == 0 && w->is_current && w->reused < REUSE_MAX &&
                 record_is_marked(&w->mark, lock->dirfd, RECORD_FILE) == 1;

    w->is_current = false; /* whoever has the lock may do to it what he likes */
    w->reused = known ? w->reused + 1 : 0;
    if (r < 0 || known)
        return r < 0 ? r : 1;
    r = record_read(lock, &a, &record, &state, NULL);
    if (r == 0 && (state != RECORD_VALID || record_process_id(record.watcher).pid != getpid()))
        r = -ENOENT;
    if (r < 0) {
        arena_free(&a);
        state_unlock(lock);
        return r;
    }
    sandbox_close(&w->sandbox);
    arena_free(&w->record_arena);
    w->record_arena = a;
    w->record = record;
    w->scan.own[1] = record_process_id(record.placeholder).pid;
    sandbox_init(&w->sandbox, &w->host, &w->state.parents, &w->record);
    return 0;
}

bool watch_is_over(int r)
{
    return r == -ENOENT || r == -ECANCELED;
}

static void follow_init(struct watch *w)
{
    fd_close(&w->init_pidfd);
    for (size_t i = 0; i < w->record.containers.count && w->init_pidfd < 0; i++) {
        struct proc_id init =
            record_process_id(JSON_AT(w->record.containers, struct record_container, i).init);

        w->init_pidfd = proc_open(&init);
    }
}

int watch_adopt(struct watch *w, struct state_lock *lock)
{
    int r = sandbox_load(&w->sandbox, NULL);

    record_mark(&w->mark, lock->dirfd);
    state_unlock(lock);
    if (r < 0)
        return r;
    follow_init(w);
    drift_follow(&w->drift, &w->record);
    orders_set(&w->orders, &w->record);
    return 0;
}

int watch_load(struct watch *w)
{
    struct state_lock lock;
    int r = watch_reload(w, &lock);

    if (r >= 0)
        w->is_current = watch_adopt(w, &lock) == 0;
    return r;
}

bool watch_notice_record(struct watch *w)
{
    char name[NAME_MAX + sizeof RECORD_FILE + 2];
    int r;

    snprintf(name, sizeof name, "%s/" RECORD_FILE, w->sandbox_id);
    r = record_is_marked(&w->mark, w->state.sandboxes, name);
    if (r == 1 || (r < 0 && r != -ENOENT))
        return false;
    return watch_is_over(watch_load(w));
}
