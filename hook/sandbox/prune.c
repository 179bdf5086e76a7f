/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/prune.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/sandbox.h"
#include "hook/sandbox/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* Sandboxes that one setup looks at. */
#define SOME 2
/* How long it waits for one: it is not its own. */
#define SOME_PATIENCE_MS 50
/* For children of a stage that was killed to end, when nobody is in a hurry. */
#define STAGE_PATIENCE_MS 1000

enum how { LOOK, REMOVE, IN_PASSING };

/* Its watcher is about to remove it. */
static bool has_watcher(const struct record *r)
{
    struct proc_id watcher = record_process_id(r->watcher);

    return proc_alive(&watcher);
}

static enum prune_result prune(const struct state_dir *state, const struct cg_host *host,
                               const struct settings *settings, const char *sandbox_id,
                               enum how how, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct state_lock lock;
    struct record record;
    enum record_state st;
    enum prune_result result = PRUNE_DEAD;
    /* So may children of a stage that was killed, until they are scheduled and end. */
    int r =
        state_lock(state, sandbox_id, false, how == REMOVE ? STAGE_PATIENCE_MS : 0, &lock, NULL);

    /* A stage was killed before it made the lock. */
    if (r == -ENOENT)
        return how == LOOK || unlinkat(state->sandboxes, sandbox_id, AT_REMOVEDIR) == 0
                   ? PRUNE_DEAD
                   : PRUNE_ALIVE;
    /* Whoever holds the lock is at work on it. */
    if (r < 0)
        return PRUNE_ALIVE;
    if (record_read(&lock, &a, &record, &st, e) < 0)
        result = PRUNE_FAILED;
    else if (st == RECORD_VALID &&
             (record_is_alive(&record) || !str_eq(record.mode, cg_mode_name(host->mode)) ||
              (how == IN_PASSING && has_watcher(&record))))
        result = PRUNE_ALIVE; /* another mode: made in a mount namespace that sees other cgroups */
    else if (how == LOOK)
        result = PRUNE_DEAD;
    else if (st != RECORD_VALID)
        state_remove(state, sandbox_id, record.sandbox_path, &lock);
    else if (sandbox_destroy(state, host, &record, settings,
                             how == IN_PASSING ? SOME_PATIENCE_MS : SANDBOX_PATIENCE_MS, &lock,
                             e) < 0)
        result = PRUNE_FAILED;
    state_unlock(&lock);
    return result;
}

enum prune_result prune_one(const struct state_dir *state, const struct cg_host *host,
                            const struct settings *settings, const char *sandbox_id, bool dry_run,
                            struct err *e)
{
    return prune(state, host, settings, sandbox_id, dry_run ? LOOK : REMOVE, e);
}

void prune_some(const struct state_dir *state, const struct cg_host *host,
                const struct settings *settings, const char *except)
{
    char ids[SOME][NAME_MAX + 1];
    size_t count = state_sample(state, SOME, ids);

    for (size_t i = 0; i < count; i++) {
        if (!str_eq(ids[i], except))
            prune(state, host, settings, ids[i], IN_PASSING, NULL);
    }
}

void prune_rest(const struct state_dir *state, const struct cg_host *host)
{
    struct cg_parents parents = state->parents;

    links_sweep_dead(state);
    cg_parents_sweep(&parents, host);
}
