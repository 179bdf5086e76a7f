/* SPDX-License-Identifier: Apache-2.0 */

/* poststop: a container goes, and with the last one its sandbox. See run.h. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"
#include "hook/log/log.h"
#include "hook/sandbox/links.h"
#include "hook/stages/run.h"
#include "hook/watch/orders.h"
#include "hook/watch/scan.h"

#include <errno.h>
#include <unistd.h>

/* Whether no name of it is another sandbox's. 1 yes; 0 no; -errno: it is not known. */
static int is_free(const struct run *run, const char *path, const char *unit)
{
    const char *id = run->plan.sandbox_id;
    int r = path ? links_is_foreign(&run->state, id, path) : 0;

    if (r == 0 && unit)
        r = links_is_foreign(&run->state, id, arena_printf(run->a, "//%s", unit));
    return r < 0 ? r : !r;
}

static int remove_one_empty(const struct run *run, struct cg_controller *c, const char *path,
                            const char *unit, struct err *e)
{
    int r = is_free(run, path, unit), taken = 0;

    if (r < 0)
        return err_sys(e, r, "cannot read whose cgroup %s is", path);
    if (r > 0)
        r = cg_is_empty(c, e);
    if (r > 0 && path)
        taken = record_path_is_runtimes(&run->state, path, run->a, e);
    if (r > 0 && taken == 0)
        cg_delete(c, 0, NULL);
    return r < 0 ? r : taken < 0 ? taken : 0;
}

static int remove_empty(struct run *run, struct err *e)
{
    struct record record = run_planned_record(&run->plan, run->a);
    struct sandbox s;
    int r;

    sandbox_init(&s, &run->host, &run->state.parents, &record);
    r = sandbox_load(&s, e);
    if (r == 0) {
        int second;

        r = remove_one_empty(run, &s.overhead, record.overhead_path, record.overhead_unit, e);
        second = remove_one_empty(run, &s.home, record.sandbox_path, record.sandbox_unit, e);
        r = r < 0 ? r : second;
    } else if (r == -ENOENT) {
        err_reset(e);
        r = 0;
    }
    sandbox_close(&s);
    return r;
}

/*
 * The scope that a runtime's cgroup was or was in, which has gone, while systemd has not forgotten it: a container of
 * the same id could not be started then. systemd (252 and 262) cannot list who is in a threaded cgroup, takes a
 * scope with one in it for stopped at once, and hears that it is empty later, unless the runtime removes it before.
 * NULL: there is none, or nobody here can tell systemd. Where the other program can, that one goes on from the start.
 */
static const char *kept_scope(const struct run *run, const char *path)
{
    const char *scope = cg_path_scope(run->a, path);
    const char *name = scope ? cg_path_base(scope) : NULL;
    const struct cg_hierarchy *h = cg_host_find(&run->host, CG_CTL_CPU);
    struct err e = ERR_INIT;
    autofd fd = FD_NONE;

    if (!name || !h || !h->v2 || cg_unit_is_known(name) <= 0)
        return NULL;
    fd = cg_hierarchy_open(h, scope);
    if (fd != -ENOENT)
        return NULL;
    if (run_need_systemd(run, name, &e) == 0)
        return name;
    log_msg(LEVEL_WARNING, "%s stays known to systemd: %s", name, e.text);
    return NULL;
}

/* Nothing of ours depends on it. */
static void collect(const char *scope)
{
    struct err e = ERR_INIT;

    if (scope && cg_unit_collect(scope, &e) < 0)
        log_msg(LEVEL_WARNING, "%s may stay known to systemd (`systemctl daemon-reload`): %s",
                scope, e.text);
}

/*
 * No record: nothing was set up, or it was removed. What the plan would have named goes if it is
 * empty, and neither another sandbox's nor that of this one, which another container of its pod may
 * have begun anew meanwhile: an empty sandbox cgroup is not an unused one.
 */
static int remove_planned(struct run *run, struct err *e)
{
    struct record planned;
    const char *id, *scope;
    int r;

    state_unlock(&run->lock);
    if (!run_see_config(run))
        return 0;
    r = run_see_host(run, e);
    if (r < 0)
        return r;
    if (run_place(run, NULL) < 0)
        return 0;
    id = run->plan.sandbox_id;
    scope = run->plan.layout == LAYOUT_NESTED ? kept_scope(run, run->plan.sandbox_path) : NULL;
    r = run->state.sandboxes < 0 ? state_dir_open(run->state_dir, true, &run->state, e) : 0;
    if (r == 0)
        r = run_lock(run, id, true, e);
    if (r < 0)
        return r;
    if (run->found == RECORD_VALID)
        return 0;
    planned = run_planned_record(&run->plan, run->a);
    r = remove_empty(run, e);
    if (r < 0) {
        (void)state_remove(&run->state, id, &planned, &run->lock, NULL);
        return r;
    }
    r = state_remove(&run->state, id, &planned, &run->lock, e);
    if (r == 0)
        collect(scope);
    return r;
}

/* Where config.json leaves the place to the runtime, the plan does not know it any more. */
static int has_claimed(const struct run *run, const struct record *planned, struct err *e)
{
    const char **names;
    size_t count;
    int r = links_names(&run->state, planned->sandbox_id, run->a, &names, &count);

    if (r < 0)
        return err_sys(e, r, "cannot look for what sandbox %s has", planned->sandbox_id);
    for (size_t i = 0; i < count; i++) {
        if (str_eq(names[i], planned->sandbox_path))
            return 0;
    }
    return record_is_nested(planned) ? 0 : err_set(e, -ENOENT, "what it has is not known");
}

/*
 * There is a record, but not one that we can read: of another version of this program, or damaged.
 * The plan names the cgroups again. Who is in them may be another container of the sandbox, which lives, so
 * then they stay, with the record and whatever tends them. A watcher in there is told by its program file, as
 * nothing else says who it is; one elsewhere ends when it sees that its record is gone, and writes nothing meanwhile.
 */
static int destroy_planned(struct run *run, const char *sandbox_id, struct err *e)
{
    struct err look = ERR_INIT;
    struct record r;
    int in_use;

    if (!run_see_config(run) || run_place(run, NULL) < 0 ||
        !str_eq(run->plan.sandbox_id, sandbox_id))
        return e->code;
    r = run_planned_record(&run->plan, run->a);
    in_use = has_claimed(run, &r, &look);
    if (in_use == 0)
        in_use = sandbox_is_in_use(&run->host, &r, &look);
    if (in_use != 0) {
        err_hint(e, "; %s%s, so nothing is removed", in_use < 0 ? "" : "processes are in ",
                 in_use < 0 ? look.text : r.sandbox_path);
        return e->code;
    }
    err_reset(e);
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
    int r = change_plan(run->request->settings, &run->host, &run->before, &run->alive, run->a,
                        basis, limits, e);

    if (r == 0)
        r = change_adopt(basis, &run->before, &run->host, run->a, limits, e);
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
    if (r < 0)
        return r;
    run_unlink_dropped(run, &after);
    log_event(EVENT_REMOVED, "sandbox %s: container %s has left, %zu stay", after.sandbox_id,
              run->input->state.id, after.containers.count);
    return 0;
}

static bool is_split(const struct record *r)
{
    return record_is_nested(r) && r->cpu_enabled.set;
}

/* Of a nested sandbox nothing was made or moved before there were vCPUs: then nobody asks where hierarchies are. */
static bool is_untouched(const struct record *r)
{
    bool untouched = record_is_nested(r) && !is_split(r);

    for (size_t i = 0; i < r->containers.count; i++)
        untouched = untouched && !JSON_AT(r->containers, struct record_container, i).placeholder;
    return untouched;
}

static int find_sandbox(struct run *run, const char **ret, struct err *e)
{
    const char *id = run->input->state.id;
    int r = state_lookup(&run->state, id, run->a, ret);

    if (r == -ENOENT && run_place(run, NULL) == 0) {
        *ret = run->plan.sandbox_id;
        r = faccessat(run->state.sandboxes, *ret, F_OK, 0) < 0 ? -errno : 0;
    }
    return r < 0 && r != -ENOENT ? err_sys(e, r, "cannot look which sandbox container %s is in", id)
                                 : r;
}

/*
 * Two runtimes may come with the same id, and setup has refused the second. Its poststop is not the end of the
 * first, which lives and has another bundle. ("/" is a defect of crun's, see input.c.) 1; 0; -errno: it is not
 * known.
 */
static int is_namesakes(const struct run *run, const struct record_container *own, struct err *e)
{
    const char *bundle = run->input->state.bundle;
    char shown[256];
    int r;

    if (!own || str_empty(own->bundle) || str_empty(bundle) || str_eq(bundle, "/") ||
        str_eq(own->bundle, bundle))
        return 0;
    r = record_container_is_alive(own);
    if (r < 0)
        return err_sys(e, r, "cannot tell whether container %s lives, which has bundle %s", own->id,
                       own->bundle);
    if (r > 0)
        log_msg(LEVEL_WARNING,
                "container %s of bundle %s runs on: this is the end of another of that id", own->id,
                str_escape(own->bundle, shown, sizeof shown));
    return r;
}

/* Before anything is ended: a hierarchy that cannot be opened is no reason to end up without a watcher. */
static int see_what_is_touched(struct run *run, struct err *e)
{
    int r;

    if (run->alive.count == 0 && is_untouched(&run->before))
        return 0;
    r = run_see_host(run, e);
    return r < 0 ? r : cg_host_open_rest(&run->host, e);
}

/*
 * What is left of a container without a PID namespace of its own its runtime kills, when it deletes the container: all
 * that is in the container's cgroup. Of what is in ours it knows nothing.
 */
static bool dies_with_runtime(const struct record *r)
{
    for (size_t i = 0; !record_is_nested(r) && i < r->containers.count; i++) {
        if (JSON_AT(r->containers, struct record_container, i).mounts)
            return true;
    }
    return false;
}

/* The last container has gone. Whether what has the names of this sandbox is its own is seen on the way. */
static int destroy(struct run *run, struct err *e)
{
    struct settings settings = *run->request->settings;

    if (dies_with_runtime(&run->before))
        settings.leftovers = LEFTOVERS_KILL;
    return sandbox_destroy(&run->state, &run->host, &run->before, &settings, SANDBOX_PATIENCE_MS,
                           &run->lock, e);
}

/* One of several has gone; the others are in the sandbox, so it is this one's. */
static void end_rest(struct run *run, const struct record_container *own)
{
    const struct record *r = &run->before;
    struct orders orders = {.host = &run->host, .own_fd = FD_NONE};
    struct scan scan = {
        .own = {record_process_id(r->watcher).pid, record_process_id(r->placeholder).pid}};
    struct err e = ERR_INIT;
    struct sandbox s;
    int ret;

    sandbox_init(&s, &run->host, NULL, r);
    scan.sandbox = &s;
    orders_set(&orders, r);
    ret = sandbox_load(&s, &e);
    if (ret == 0)
        ret = orders_end(&orders, own->id, &scan, &e);
    if (ret < 0 && ret != -ENOENT)
        log_msg(LEVEL_WARNING, "what is left of container %s may live on: %s", own->id, e.text);
    orders_free(&orders);
    sandbox_close(&s);
}

int run_tear_down(struct run *run, struct err *e)
{
    const char *id = run->input->state.id, *sandbox_id;
    const struct record_container *own;
    const char *scope;
    int r = cg_name_check(id, "state.id", e);

    if (r < 0)
        return r;
    r = state_dir_open(run->state_dir, false, &run->state, e);
    if (r == 0)
        r = find_sandbox(run, &sandbox_id, e);
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
        r = state_remove(&run->state, sandbox_id, &run->before, &run->lock, e);
        return r < 0 ? r : remove_planned(run, e);
    }
    own = record_find(&run->before, id);
    if (run->before.containers.count > 0 && !own) {
        /* A stopped sandbox whose id is another container's; it is not ours to remove. */
        links_drop_container(&run->state, id, sandbox_id);
        return 0;
    }
    r = is_namesakes(run, own, e);
    if (r != 0)
        return r < 0 ? r : 0;
    r = see_what_is_touched(run, e);
    if (r < 0)
        return r;
    scope = is_split(&run->before) ? kept_scope(run, run->before.sandbox_path) : NULL;
    /* With layout nested it stays in the cgroup, and under the limits, of its runtime. */
    if (own && !record_is_nested(&run->before))
        r = sandbox_end_init(&run->host, &run->before, own, run->alive.count == 0, e);
    if (r < 0)
        return r;
    if (run->alive.count > 0) {
        if (own && own->mounts && run->before.made.value && !record_is_nested(&run->before))
            end_rest(run, own);
        return shrink(run, e);
    }
    r = destroy(run, e);
    if (r == 0)
        collect(scope);
    return r;
}
