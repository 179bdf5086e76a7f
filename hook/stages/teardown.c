/* SPDX-License-Identifier: Apache-2.0 */

/* poststop: a container goes, and with the last one its sandbox. See run.h. */

#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/log/log.h"
#include "hook/sandbox/links.h"
#include "hook/stages/run.h"

#include <errno.h>
#include <unistd.h>

static void remove_empty(struct run *run)
{
    struct record r = run_planned_record(&run->plan, run->a);
    struct sandbox s;

    sandbox_init(&s, &run->host, &run->state.parents, &r);
    if (sandbox_load(&s, NULL) == 0) {
        if (cg_is_empty(&s.overhead))
            cg_delete(&s.overhead, 0, NULL);
        if (cg_is_empty(&s.home))
            cg_delete(&s.home, 0, NULL);
    }
    sandbox_close(&s);
}

/*
 * No record: nothing was set up, or it was removed. What the plan would have named goes if it is
 * empty, and neither another sandbox's nor that of this one, which another container of its pod may
 * have begun anew meanwhile: an empty sandbox cgroup is not an unused one.
 */
static int remove_planned(struct run *run, struct err *e)
{
    const char *id;
    int r;

    state_unlock(&run->lock);
    if (!run->input->has_config || run_place(run, NULL) < 0)
        return 0;
    id = run->plan.sandbox_id;
    r = run->state.sandboxes < 0 ? state_dir_open(run->state_dir, true, &run->state, e) : 0;
    if (r == 0)
        r = run_lock(run, id, true, e);
    if (r < 0)
        return r;
    if (run->found != RECORD_VALID && !links_is_foreign(&run->state, id, run->plan.sandbox_path))
        remove_empty(run);
    if (run->found != RECORD_VALID)
        state_remove(&run->state, id, run->plan.sandbox_path, &run->lock);
    return 0;
}

/*
 * There is a record, but not one that we can read: of another version of this program, or damaged.
 * The plan names the cgroups again; a watcher is told by its program file, as nothing else says who
 * it is.
 */
static int destroy_planned(struct run *run, const char *sandbox_id, struct err *e)
{
    struct record r;

    if (!run->input->has_config || run_place(run, NULL) < 0 ||
        !str_eq(run->plan.sandbox_id, sandbox_id))
        return e->code;
    err_reset(e);
    r = run_planned_record(&run->plan, run->a);
    sandbox_end_children(&run->host, &r);
    links_drop_container(&run->state, run->input->state.id, sandbox_id);
    return sandbox_destroy(&run->state, &run->host, &r, run->request->settings, SANDBOX_PATIENCE_MS,
                           &run->lock, e);
}

/* Bring the sandbox to the limits of the containers that stay. */
static int rederive(struct run *run, const struct plan_basis *basis,
                    const struct plan_limits *limits, struct record *after, struct err *e)
{
    struct sandbox s;
    int r;

    sandbox_init(&s, &run->host, &run->state.parents, after);
    r = sandbox_load(&s, e);
    if (r == 0) {
        r = change_apply(limits, &s, e);
        if (r < 0 && change_revert(basis, limits, &run->before, &s))
            record_write(&run->lock, run->a, &run->before, NULL);
    }
    /* The sandbox died meanwhile: nothing is left to limit. */
    if (r < 0 && sandbox_load(&s, NULL) == -ENOENT) {
        err_reset(e);
        r = 0;
    }
    sandbox_close(&s);
    return r;
}

/* What the limits are without this container. */
static int plan_rest(struct run *run, struct plan_basis *basis, struct plan_limits *limits,
                     struct err *e)
{
    struct plan_warnings warnings = {0};
    int r;

    facts_gather(run->host.mode, run->request->settings, run->a, &run->facts);
    *basis = change_basis(run->request->settings, &run->facts, run->before.sandbox_unit != NULL,
                          run->before.sandbox_cgroup_only.value, &run->before, run->a);
    r = plan_limits(basis, change_members(&run->alive, run->before.sandbox_id, run->a),
                    run->alive.count, run->a, limits, &warnings, e);
    if (r == 0 && limits->kept_devices)
        log_msg(LEVEL_WARNING, "%s", limits->kept_devices);
    return r;
}

/*
 * Others stay: let the limits follow, then forget this container, and those that have died without
 * a poststop. If the limits cannot follow, they stay those of all of them, as the record does: the
 * next stage tries again.
 */
static int shrink(struct run *run, struct err *e)
{
    struct record after = run->before;
    struct plan_basis basis;
    struct plan_limits limits;
    int r;

    (void)sandbox_release(&run->host, record_find(&run->before, run->input->state.id), NULL);
    r = plan_rest(run, &basis, &limits, e);
    if (r == 0) {
        change_note(&basis, &limits, run->a, &after);
        r = record_write(&run->lock, run->a, &after, e);
    }
    if (r == 0)
        r = rederive(run, &basis, &limits, &after, e);
    if (r < 0) {
        err_hint(e, "; the sandbox keeps the limits that it had");
        return r;
    }
    after.containers = run->alive;
    change_settle(&limits, run->a, &after);
    r = record_write(&run->lock, run->a, &after, e);
    if (r == 0)
        run_unlink_dropped(run, &after);
    return r;
}

static int find_sandbox(struct run *run, const char **ret)
{
    if (state_lookup(&run->state, run->input->state.id, run->a, ret) == 0)
        return 0;
    if (run_place(run, NULL) < 0)
        return -ENOENT;
    *ret = run->plan.sandbox_id;
    return faccessat(run->state.sandboxes, *ret, F_OK, 0) < 0 ? -ENOENT : 0;
}

int run_tear_down(struct run *run, struct err *e)
{
    const char *id = run->input->state.id, *sandbox_id;
    int r = cg_name_check(id, "state.id", e);

    if (r < 0)
        return r;
    r = state_dir_open(run->state_dir, false, &run->state, e);
    if (r == 0)
        r = find_sandbox(run, &sandbox_id);
    if (r == 0) {
        log_about.sandbox_id = sandbox_id;
        r = run_lock(run, sandbox_id, false, e);
        if (r == -EPROTO && e)
            return destroy_planned(run, sandbox_id, e);
    }
    if (r == -ENOENT) {
        err_reset(e);
        /* A setup that was killed before it wrote a record has left no more. */
        links_drop_container(&run->state, id, NULL);
        return remove_planned(run, e);
    }
    if (r != 0)
        return r;
    if (run->found != RECORD_VALID) {
        links_drop_container(&run->state, id, sandbox_id);
        state_remove(&run->state, sandbox_id, run->before.sandbox_path, &run->lock);
        return remove_planned(run, e);
    }
    if (run->before.containers.count > 0 && !record_find(&run->before, id)) {
        /* A stopped sandbox whose id is another container's; it is not ours to remove. */
        links_drop_container(&run->state, id, sandbox_id);
        return 0;
    }
    if (run->alive.count > 0)
        return shrink(run, e);
    return sandbox_destroy(&run->state, &run->host, &run->before, run->request->settings,
                           SANDBOX_PATIENCE_MS, &run->lock, e);
}
