/* SPDX-License-Identifier: Apache-2.0 */

/* Whose the cgroups and scopes of a new sandbox are. See run.h. */

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/sandbox/links.h"
#include "hook/stages/run.h"

#include <errno.h>
#include <string.h>

/*
 * A name is another sandbox's. One that is dead is removed; only what its own stages hold is waited
 * for, and they never wait for us, as they have what we want.
 */
static int evict(struct run *run, const char *owner, const char *name, struct err *e)
{
    /* Of a unit without the slashes that tell it from a path. */
    const char *shown = name + strspn(name, "/") - (name[1] != '/');
    struct state_lock lock;
    struct record record;
    enum record_state st;
    int alive, r = state_lock(&run->state, owner, true, RUN_LOCK_TIMEOUT_MS, &lock, e);

    if (r < 0)
        return r;
    r = record_read(&lock, run->a, &record, &st, e);
    if (r == 0 && st == RECORD_VALID)
        r = run_need_systemd(run, record.sandbox_unit, e);
    alive = r == 0 && st == RECORD_VALID ? record_is_alive(&record) : 0;
    if (alive < 0)
        r = err_sys(e, alive, "cannot tell whether sandbox %s, which %s is that of, lives", owner,
                    shown);
    else if (alive > 0)
        r = err_set(e, -EEXIST,
                    "%s is that of sandbox %s, which is running; give each container a "
                    "cgroupsPath of its own",
                    shown, owner);
    else if (r == 0 && st == RECORD_VALID)
        r = sandbox_destroy(&run->state, &run->host, &record, run->request->settings,
                            SANDBOX_PATIENCE_MS, &lock, e);
    else if (r == 0) {
        (void)links_release(&run->state, owner,
                            name); /* which the next try to claim it finds out */
        r = state_remove(&run->state, owner, &record, &lock, e);
    }
    state_unlock(&lock);
    return r;
}

static int claim_one(struct run *run, const char *name, struct err *e)
{
    const char *owner;
    int r;

    do {
        r = links_claim(&run->state, run->plan.sandbox_id, name, run->a, &owner, e);
        if (r != -EEXIST)
            return r;
        r = evict(run, owner, name, e);
    } while (r == 0);
    return r;
}

/* 1; 0 a killed stage has left a claim and no record; -errno. */
static int has_record(const struct state_dir *state, const char *sandbox_id, struct arena *a,
                      struct err *e)
{
    struct state_lock look;
    struct record record;
    enum record_state st = RECORD_NONE;
    int r = state_look(state, sandbox_id, &look, e);

    if (r == 0)
        r = record_read(&look, a, &record, &st, e);
    state_unlock(&look);
    if (r == -ENOENT) {
        err_reset(e);
        r = 0;
    }
    return r < 0 ? r : st == RECORD_VALID;
}

int run_check_around(const struct state_dir *state, const struct plan *p, struct arena *a,
                     struct err *e)
{
    const char *path = p->runtime_path, *owner;
    int r = 0;

    while (r == 0 && !str_eq(path = cg_path_parent(a, path), "/")) {
        r = links_owner(state, path, a, &owner);
        if (r < 0)
            return err_sys(e, r, "cannot read which sandbox %s is that of", path);
        r = r > 0 && !str_eq(owner, p->sandbox_id) ? has_record(state, owner, a, e) : 0;
    }
    return r <= 0 ? r
                  : err_set(e, -EEXIST,
                            "%s is inside of %s, which is that of sandbox %s; give the container "
                            "a cgroupsPath outside of it",
                            p->runtime_path, path, owner);
}

int run_claim(struct run *run, const struct record *planned, struct err *e)
{
    const char *names[RECORD_NAMES_MAX];
    size_t count = planned ? record_names(planned, run->a, names) : 0;
    int r = run_check_around(&run->state, &run->plan, run->a, e);

    for (size_t i = 0; r == 0 && i < count; i++)
        r = claim_one(run, names[i], e);
    return r;
}

int run_check_free(const struct run *run, struct cg_controller *home, struct err *e)
{
    int r = cg_load(home, e);
    bool there = r == 0;

    if (there)
        r = cg_is_empty(home, e);
    if (there && r == 0)
        r = err_set(e, -EEXIST,
                    "cgroup %s is there already and holds processes, and nothing says that it is "
                    "ours; end them, or give the container another cgroupsPath",
                    run->plan.sandbox_path);
    else if (there && r > 0) {
        int taken = record_path_is_runtimes(&run->state, run->plan.sandbox_path, run->a, e);

        if (taken != 0)
            r = taken < 0 ? taken
                          : err_set(e, -EEXIST,
                                    "cgroup %s is that of a container which runs in another "
                                    "sandbox; give each container a cgroupsPath of its own",
                                    run->plan.sandbox_path);
    }
    if (r == -ENOENT)
        err_reset(e);
    cg_close(home);
    return r > 0 || r == -ENOENT ? 0 : r;
}
