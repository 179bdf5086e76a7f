/* SPDX-License-Identifier: Apache-2.0 */

/* poststop: a container goes, and with the last one its sandbox. See run.h. */

#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/log/log.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/claim.h"
#include "hook/stages/run.h"

#include <errno.h>
#include <unistd.h>

static void remove_empty(struct run *run)
{
    struct record r = run_planned_record(&run->plan, run->a);
    struct sandbox s;

    sandbox_init(&s, &run->host, &run->state.parents, &r);
    if (sandbox_load(&s, NULL) == 0) {
        if (s.has_overhead && cg_is_empty(&s.overhead))
            cg_delete(&s.overhead, 0, NULL);
        if (cg_is_empty(&s.vcpu))
            cg_delete(&s.vcpu, 0, NULL);
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
    struct plan_input in = run_plan_input(run);
    const char *id;
    int r;

    record_unlock(&run->lock);
    if (!run->input->has_config || plan_place(&in, run->a, &run->plan, NULL) < 0)
        return 0;
    id = run->plan.sandbox_id;
    r = run->state.sandboxes < 0 ? state_dir_open(run->request->state_dir, true, &run->state, e)
                                 : 0;
    if (r == 0)
        r = run_lock(run, id, true, e);
    if (r < 0)
        return r;
    if (run->found != RECORD_VALID && !claim_is_foreign(&run->state, id, run->plan.sandbox_path))
        remove_empty(run);
    if (run->found != RECORD_VALID)
        record_remove(&run->state, id, run->plan.sandbox_path, &run->lock);
    return 0;
}

/*
 * There is a record, but not one that we can read: of another version of this program, or damaged.
 * The plan names the cgroups again; a watcher is told by its program file, as nothing else says who
 * it is.
 */
static int destroy_planned(struct run *run, const char *sandbox_id, struct err *e)
{
    struct plan_input in = run_plan_input(run);
    struct record r;

    if (!run->input->has_config || plan_place(&in, run->a, &run->plan, NULL) < 0 ||
        !str_eq(run->plan.sandbox_id, sandbox_id))
        return e->code;
    err_reset(e);
    r = run_planned_record(&run->plan, run->a);
    sandbox_end_children(&run->host, &r);
    record_unlink(&run->state, run->input->state.id, sandbox_id);
    return sandbox_destroy(&run->state, &run->host, &r, run->request->hook, SANDBOX_PATIENCE_MS,
                           &run->lock, e);
}

/*
 * What the limits and the device list are without this container. A list that was fine for more of
 * them may be none that the host can express for fewer: then it stays, and the limits follow.
 */
static int plan_rest(struct run *run, const struct record *after, struct plan *plan, struct err *e)
{
    const struct oci_resources *const *all = run_resources(run, &after->containers);
    struct err why = ERR_INIT;
    int r = plan_limits(all, after->containers.count, run->request->hook, &run->facts,
                        plan->sandbox_cgroup_only, run->a, plan, e);

    if (r < 0)
        return r;
    r = plan_devices(all, after->containers.count, run->request->hook, &run->facts,
                     plan->sandbox_cgroup_only, run->a, &plan->device_table, &why);
    if (r < 0) {
        log_msg(LEVEL_WARNING, CHANGE_KEPT_DEVICES, why.text);
        return -ENOTSUP;
    }
    return 0;
}

/* Bring the sandbox to the limits of the containers that stay. */
static int rederive(struct run *run, struct record *after, struct err *e)
{
    struct plan plan = {
        .mode = run->host.mode,
        .systemd = after->sandbox_unit != NULL,
        .sandbox_cgroup_only = after->sandbox_cgroup_only.value,
    };
    struct sandbox s;
    struct change change;
    int r;

    facts_gather(run->host.mode, run->request->hook, run->a, &run->facts);
    r = plan_rest(run, after, &plan, e);
    if (r < 0 && r != -ENOTSUP)
        return r;
    change = run_change(run, &plan);
    change.keeps_devices = r == -ENOTSUP;
    sandbox_init(&s, &run->host, &run->state.parents, after);
    r = sandbox_load(&s, e);
    if (r == 0) {
        r = change_apply(&change, &s, e);
        if (r < 0)
            change_revert(&change, &s);
    }
    /* The sandbox died meanwhile: nothing is left to limit. */
    if (r < 0 && sandbox_load(&s, NULL) == -ENOENT) {
        err_reset(e);
        r = 0;
    }
    sandbox_close(&s);
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
    struct proc_id placeholder =
        record_process_id(record_find(&run->before, run->input->state.id)->placeholder);
    int r;

    (void)child_stop(&placeholder, NULL); /* its container's init is dead, so it ends anyway */
    after.containers = run->alive;
    r = rederive(run, &after, e);
    if (r < 0) {
        err_hint(e, "; the sandbox keeps the limits that it had");
        return r;
    }
    r = record_write(&run->lock, run->a, &after, e);
    if (r == 0)
        run_unlink_dropped(run, &after);
    return r;
}

static int find_sandbox(struct run *run, const char **ret)
{
    struct plan_input in = run_plan_input(run);
    struct plan plan;

    if (record_lookup(&run->state, run->input->state.id, run->a, ret) == 0)
        return 0;
    if (plan_place(&in, run->a, &plan, NULL) < 0)
        return -ENOENT;
    *ret = plan.sandbox_id;
    return faccessat(run->state.sandboxes, *ret, F_OK, 0) < 0 ? -ENOENT : 0;
}

int run_tear_down(struct run *run, struct err *e)
{
    const char *id = run->input->state.id, *sandbox_id;
    int r = cg_name_check(id, "state.id", e);

    if (r < 0)
        return r;
    r = state_dir_open(run->request->state_dir, false, &run->state, e);
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
        record_unlink(&run->state, id, NULL);
        return remove_planned(run, e);
    }
    if (r != 0)
        return r;
    if (run->found != RECORD_VALID) {
        record_unlink(&run->state, id, sandbox_id);
        record_remove(&run->state, sandbox_id, run->before.sandbox_path, &run->lock);
        return remove_planned(run, e);
    }
    if (run->before.containers.count > 0 && !record_find(&run->before, id)) {
        /* A stopped sandbox whose id is another container's; it is not ours to remove. */
        record_unlink(&run->state, id, sandbox_id);
        return 0;
    }
    if (run->alive.count > 0)
        return shrink(run, e);
    return sandbox_destroy(&run->state, &run->host, &run->before, run->request->hook,
                           SANDBOX_PATIENCE_MS, &run->lock, e);
}
