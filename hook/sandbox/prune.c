/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/prune.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "cgroup/systemd.h"
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

/* Its watcher is about to remove it, or may be. */
static bool may_have_watcher(const struct record *r)
{
    struct proc_id watcher = record_process_id(r->watcher);

    return proc_alive(&watcher) != 0;
}

/* Of a name that is a unit systemd itself removes what is empty. */
static bool is_path(const char *name)
{
    return name[1] != '/' && !str_ends(name, ".scope");
}

static void remove_empty(const struct state_dir *state, const struct cg_host *host,
                         const char *path)
{
    struct cg_parents parents = state->parents;
    struct cg_controller c;

    cg_init(&c, host, &parents, path, NULL);
    if (cg_load(&c, NULL) == 0)
        (void)cg_delete(&c, 0, NULL);
    cg_close(&c);
}

/*
 * The record cannot be read. What the sandbox has claimed says where its members would be: if nobody is
 * there it is dead. A sandbox without claims, as with layout nested, may live. Only for who asks for it: a
 * setup in another mount namespace may see other cgroups.
 */
static enum prune_result prune_damaged(const struct state_dir *state, const struct cg_host *host,
                                       const char *sandbox_id, enum how how,
                                       struct state_lock *lock, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct err look = ERR_INIT;
    const char **names;
    size_t count;
    int r = how == IN_PASSING ? -EBUSY : links_names(state, sandbox_id, &a, &names, &count);

    if (r < 0 || count == 0) {
        err_hint(e, "; what it has is not known, so nothing is removed");
        return PRUNE_FAILED;
    }
    for (size_t i = 0; i < count; i++) {
        if (names[i][1] == '/')
            continue;
        r = sandbox_path_is_in_use(host, names[i], &look);
        if (r != 0) {
            err_hint(e, "; %s%s, so nothing is removed", r < 0 ? "" : "processes are in ",
                     r < 0 ? look.text : names[i]);
            return PRUNE_FAILED;
        }
    }
    err_reset(e);
    if (how == LOOK)
        return PRUNE_DEAD;
    for (size_t i = 0; i < count; i++) {
        if (is_path(names[i]))
            remove_empty(state, host, names[i]);
        (void)links_release(state, sandbox_id,
                            names[i]); /* its directory goes, so what stays is swept */
    }
    return state_remove(state, sandbox_id, NULL, lock, e) < 0 ? PRUNE_FAILED : PRUNE_DEAD;
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
    int alive;
    /* So may children of a stage that was killed, until they are scheduled and end. */
    int r =
        state_lock(state, sandbox_id, false, how == IN_PASSING ? 0 : STAGE_PATIENCE_MS, &lock, e);

    /* A stage was killed before it made the lock. */
    if (r == -ENOENT) {
        err_reset(e);
        return how == LOOK || unlinkat(state->sandboxes, sandbox_id, AT_REMOVEDIR) == 0
                   ? PRUNE_DEAD
                   : PRUNE_ALIVE;
    }
    if (r < 0)
        return r == -ETIMEDOUT ? PRUNE_BUSY : PRUNE_FAILED;
    r = record_read(&lock, &a, &record, &st, e);
    if (r == -EPROTO)
        result = prune_damaged(state, host, sandbox_id, how, &lock, e);
    else if (r < 0)
        result = PRUNE_FAILED;
    else if (st == RECORD_VALID && (alive = record_is_alive(&record)) < 0) {
        err_sys(e, alive, "cannot tell whether its containers live");
        result = PRUNE_FAILED;
    } else if (st == RECORD_VALID && how == IN_PASSING && record.sandbox_unit &&
               !cg_systemd_is_here())
        result = PRUNE_ALIVE; /* for who can talk to systemd */
    else if (st == RECORD_VALID && (alive || !str_eq(record.mode, cg_mode_name(host->mode)) ||
                                    (how == IN_PASSING && may_have_watcher(&record))))
        result = PRUNE_ALIVE; /* another mode: made in a mount namespace that sees other cgroups */
    else if (how == LOOK)
        result = PRUNE_DEAD;
    else if (st != RECORD_VALID)
        result = state_remove(state, sandbox_id, &record, &lock, e) < 0 ? PRUNE_FAILED : PRUNE_DEAD;
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

int prune_rest(const struct state_dir *state, const struct cg_host *host, struct err *e)
{
    struct cg_parents parents = state->parents;
    int first = links_sweep_dead(state);
    int second = cg_parents_sweep(&parents, host);

    first = first < 0 ? first : second;
    return first < 0 ? err_sys(e, first, "cannot look at all tables of the state directory") : 0;
}
