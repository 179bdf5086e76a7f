/* SPDX-License-Identifier: Apache-2.0 */

/* prestart, createRuntime, poststart: a container comes, with the first its sandbox. See run.h. */

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/prune.h"
#include "hook/sandbox/runtime.h"
#include "hook/stages/placeholder.h"
#include "hook/stages/run.h"
#include "hook/watch/orders.h"
#include "hook/watch/watcher.h"

#include <errno.h>
#include <unistd.h>

/* How long a setup that failed waits for what it made to be empty. */
#define UNDO_PATIENCE_MS 500

struct setup {
    struct proc_id init;
    struct cg_origin origin;
    struct record record; /* as it will be */
    struct sandbox sandbox;
    struct plan_basis basis; /* of its limits and devices */
    struct child watcher;
    /* For the cgroup that init leaves; see needs_placeholder(). */
    struct child runtime_placeholder;
    struct child overhead_placeholder; /* for a scope that would have no process */
    bool placed;                       /* init is where it belongs, since an earlier stage */
    bool begun; /* the plan was accepted: from here on there may be something to undo */
    bool wrote_record, changed_limits, attached;
};

/* The same id again is a retry or a successor; but not while the first one lives. */
static int check_conflicts(const struct run *run, const struct proc_id *init, struct err *e)
{
    const struct record_container *same = record_find(&run->before, run->input->state.id);
    struct proc_id old = record_process_id(same ? same->init : NULL);
    const struct plan *p = &run->plan;
    int alive = same && old.pid != init->pid ? proc_alive(&old) : 0;

    if (alive < 0)
        return err_sys(e, alive, "cannot tell whether process %d of container %s lives",
                       (int)old.pid, p->container_id);
    if (alive)
        return err_set(e, -EEXIST,
                       "container %s already runs in sandbox %s with process %d; stop it "
                       "first, or give each runtime its own --state-dir",
                       p->container_id, p->sandbox_id, (int)old.pid);
    if (run->found == RECORD_VALID &&
        run->before.sandbox_cgroup_only.value != p->sandbox_cgroup_only)
        return err_input(e,
                         "sandbox %s runs with sandbox_cgroup_only=%s, container %s wants %s; "
                         "all containers of a sandbox need the same policy, that of the first",
                         p->sandbox_id, run->before.sandbox_cgroup_only.value ? "true" : "false",
                         p->container_id, p->sandbox_cgroup_only ? "true" : "false");
    if (run->found == RECORD_VALID && run->before.layout &&
        !str_eq(run->before.layout, layout_name(p->layout)))
        return err_set(e, -EINVAL,
                       "sandbox %s was made with layout %s, and the configuration says %s by now",
                       p->sandbox_id, run->before.layout, layout_name(p->layout));
    if (run->found == RECORD_VALID && !str_eq(run->before.manager, plan_manager_name(p)))
        return err_input(e,
                         "sandbox %s has its cgroups by %s, and the cgroupsPath of container %s is "
                         "one for %s; all containers of a sandbox need the same manager",
                         p->sandbox_id, run->before.manager, p->container_id, plan_manager_name(p));
    if (run->found == RECORD_VALID && !str_eq(run->before.parent_path, p->parent_path))
        return err_input(e,
                         "sandbox %s is in %s, and container %s in %s: an annotation makes no "
                         "container part of a sandbox that is not in the same parent cgroup",
                         p->sandbox_id, run->before.parent_path, p->container_id, p->parent_path);
    return 0;
}

/* Everything stays where the runtime has put it. */
static bool is_nested(const struct run *run)
{
    return run->plan.layout == LAYOUT_NESTED;
}

static bool shares_pids(const struct run *run)
{
    return !oci_config_has_pid_namespace(&run->input->config);
}

static char *mounts_of(const struct proc_id *init, struct arena *a)
{
    char text[ORDERS_MOUNTS_SIZE];

    orders_mounts(init->pid, text);
    return arena_strdup(a, text);
}

static void build_record(const struct run *run, struct setup *s)
{
    const struct plan *p = &run->plan;
    /* A predecessor's placeholder is in a scope that goes with it. */
    const struct record_container *before = run_recorded(run, &s->init);
    const struct record_container mine = {
        .id = arena_strdup(run->a, p->container_id),
        .bundle = run->input->state.bundle,
        .name = p->names.container,
        .pod = p->names.pod,
        .pod_namespace = p->names.pod_namespace,
        .init = record_process_new(run->a, &s->init),
        .placeholder = before ? before->placeholder : NULL,
        .runtime_path = before            ? before->runtime_path
                        : p->runtime_path ? arena_strdup(run->a, p->runtime_path)
                                          : NULL,
        .resources = p->resources,
        .mounts = shares_pids(run) ? mounts_of(&s->init, run->a) : NULL,
    };

    /* The sandbox was placed by its first container; its cgroup stays where it is. */
    s->record = run->found == RECORD_VALID ? run->before : run_planned_record(p, run->a);
    s->record.containers = record_with_container(&run->others, &mine, run->a);
    if (!is_nested(run)) /* where nothing is written before there are vCPUs */
        change_note(&s->basis, &p->limits, run->a, &s->record);
}

/* 1; 0; -errno: it is not known. */
static int is_running(const struct record_process *p, struct err *e)
{
    struct proc_id id = record_process_id(p);
    int r = child_works(&id);

    return r < 0 ? err_sys(e, r, "cannot tell whether process %d of ours lives", (int)id.pid) : r;
}

/* One watcher per sandbox: the recorded one if it lives. It stays in the cgroup of who started us: in no
 * budget of the payload's, and in no runtime's way. */
static int ensure_watcher(struct run *run, struct setup *s, struct err *e)
{
    int r = watcher_is_wanted(&s->record, run->request->settings) ? is_running(s->record.watcher, e)
                                                                  : 1;

    if (r != 0)
        return r < 0 ? r : 0;
    r = watcher_fork(run->state_dir, s->record.sandbox_id, run->request->settings, &s->watcher, e);
    if (r == 0)
        s->record.watcher = record_process_new(run->a, &s->watcher.id);
    return r;
}

static int ensure_placeholder(struct run *run, const struct proc_id *follow, struct child *child,
                              struct record_process **recorded, struct err *e)
{
    int r = is_running(*recorded, e);

    if (r != 0)
        return r < 0 ? r : 0;
    r = placeholder_fork(follow, child, e);
    if (r == 0)
        *recorded = record_process_new(run->a, &child->id);
    return r;
}

/*
 * Whether somebody takes an empty cgroup of the runtime's for the end of the container: systemd, which
 * removes its scope, and a containerd that is restarted. Others do not look there, and where one of
 * ours is in it their runtime warns when it removes it. And whether there has to be somebody to kill: a
 * runtime reaches a container without a PID namespace of its own by its cgroup alone, see orders.h.
 */
static bool needs_placeholder(const struct run *run, const struct setup *s)
{
    /* Who has started us is looked at last: that is a look at each process above us. */
    return !s->placed &&
           (run->plan.systemd || shares_pids(run) || runtime_engine(getpid()) != ENGINE_OTHER);
}

/* Processes of ours, all forked before the record is written, so that it names them. */
static int ensure_children(struct run *run, struct setup *s, struct err *e)
{
    struct record_container *mine = record_find(&s->record, run->plan.container_id);
    int r = ensure_watcher(run, s, e);

    if (r == 0 && needs_placeholder(run, s))
        r = ensure_placeholder(run, &s->init, &s->runtime_placeholder, &mine->placeholder, e);
    if (r == 0 && s->record.overhead_unit)
        r = ensure_placeholder(run, NULL, &s->overhead_placeholder, &s->record.placeholder, e);
    return r;
}

/* A scope starts with a process: that of the overhead takes no thread of the VMM's before vCPUs are set
 * apart. */
static void choose_first(const struct run *run, struct setup *s)
{
    s->sandbox.sandbox_unit.first = s->init.pid;
    s->sandbox.overhead_unit.first = record_process_id(s->record.placeholder).pid;
    s->sandbox.sandbox_unit.expected = run->found == RECORD_VALID;
    s->sandbox.overhead_unit.expected = run->found == RECORD_VALID;
}

/* Already where setup puts it: by an earlier call, also if the watcher has placed threads since. Not if that
 * was killed when it was in its place in some hierarchies only. 1; 0; -errno: it is not known. */
static int is_placed(struct setup *s, struct err *e)
{
    const struct cg_controller *all[] = {&s->sandbox.home, &s->sandbox.vcpu, &s->sandbox.overhead};
    int r = sandbox_load(&s->sandbox, e);

    if (r == 0) {
        r = cg_hold_process(all, s->sandbox.has_overhead ? ARRAY_SIZE(all) : 1, s->init.pid);
        if (r < 0 && r != -ESRCH)
            err_sys(e, r, "cannot look where process %d is", (int)s->init.pid);
    }
    if (r != -ENOENT && r != -ESRCH)
        return r;
    err_reset(e);
    return 0;
}

static int make_cgroups(struct run *run, struct setup *s, struct err *e)
{
    const struct cg_change sandbox = plan_change(&run->plan.limits.sandbox, run->a);
    const struct cg_change overhead = plan_change(&run->plan.overhead, run->a);
    int r;

    s->changed_limits = true;
    r = cg_create(&s->sandbox.home, &sandbox, e);
    /* One without a scope is made when there is something to put into it. */
    return r == 0 && s->sandbox.overhead.unit ? cg_create(&s->sandbox.overhead, &overhead, e) : r;
}

/* All attaching back to back: only the first write to a cgroup.procs waits for the kernel. systemd
 * has been told of some of these processes, but only we know when they are in their place. */
static int attach(struct run *run, struct setup *s, struct err *e)
{
    int r = 0;

    if (s->overhead_placeholder.id.pid > 0)
        r = cg_add_process(&s->sandbox.overhead, &s->overhead_placeholder.id, e);
    if (r < 0 || s->placed)
        return r;
    /* The runtime holds its number, but may be killed itself. */
    r = cg_add_process(&s->sandbox.home, &s->init, e);
    if (r != -ESRCH)
        return r;
    err_reset(e);
    return err_set(e, r, "process %d of container %s has ended", (int)s->init.pid,
                   run->plan.container_id);
}

/* Which scopes were started, so that no others of their names are ever stopped. */
static bool note_scopes(const struct run *run, struct setup *s)
{
    const struct cg_unit *sandbox = &s->sandbox.sandbox_unit, *overhead = &s->sandbox.overhead_unit;

    if (sandbox->started)
        s->record.sandbox_invocation = arena_strdup(run->a, sandbox->invocation);
    if (overhead->started)
        s->record.overhead_invocation = arena_strdup(run->a, overhead->invocation);
    return sandbox->started || overhead->started;
}

/* Undo everything that this stage did; and what an earlier stage did for the same container,
 * because the runtime stops it now, and not every runtime calls poststop then. */
static void roll_back(struct run *run, struct setup *s, struct err *e)
{
    /* A stage that comes to a container which runs, as poststart does, ends nothing. */
    const struct record_container *same = record_find(&run->before, run->plan.container_id);
    bool lives = run->alive.count > 0 ||
                 (run->found == RECORD_VALID && same && stage_action(run->stage) == ACTION_UPDATE &&
                  record_container_is_alive(same) != 0);
    struct err left = ERR_INIT;
    bool as_before = true;

    if (!s->begun)
        return;
    if (s->attached)
        (void)cg_origin_enter(&run->host, &s->init, &s->origin, NULL);
    child_abort(&s->watcher);
    child_abort(&s->runtime_placeholder);
    child_abort(&s->overhead_placeholder);
    if (lives && s->changed_limits)
        as_before = change_revert(&s->basis, &run->plan.limits, &run->before, &s->sandbox);
    cg_undo_create(&s->sandbox.overhead);
    cg_undo_create(&s->sandbox.home);
    if (!s->wrote_record)
        return;
    (void)note_scopes(run, s);
    if (lives) {
        /* A watcher of this run is gone: the next stage starts another. What could not be taken
         * away again stays named. */
        if (!as_before)
            change_note(&s->basis, &run->plan.limits, run->a, &run->before);
        record_write(&run->lock, run->a, &run->before, NULL);
        if (!record_find(&run->before, run->plan.container_id))
            links_drop_container(&run->state, run->plan.container_id, run->plan.sandbox_id);
    } else if (run->found == RECORD_VALID) {
        sandbox_destroy(&run->state, &run->host, &run->before, run->request->settings,
                        SANDBOX_PATIENCE_MS, &run->lock, NULL);
    } else if (is_nested(run)) {
        links_drop_container(&run->state, run->plan.container_id, run->plan.sandbox_id);
        (void)state_remove(&run->state, run->plan.sandbox_id, &s->record, &run->lock, NULL);
    } else if (sandbox_destroy(&run->state, &run->host, &s->record, run->request->settings,
                               UNDO_PATIENCE_MS, &run->lock, &left) < 0) {
        /* Something could not be undone: the record stays, so that teardown or prune finds it. */
        (void)record_write(&run->lock, run->a, &s->record, NULL);
        err_hint(e, "; what was made for it is left, and `prune` removes it later: %s", left.text);
    }
}

/* The limits in force are without those that have died by now, and those taken away are gone. If
 * that cannot be written, the next stage does it all again. */
static void settle(struct run *run, struct setup *s)
{
    const struct record_container *mine = record_find(&s->record, run->plan.container_id);
    bool changed = change_settle(&run->plan.limits, run->a, &s->record);

    changed = note_scopes(run, s) || !s->record.made.value || changed;
    /* From here on what has the names is ours. */
    s->record.made = (struct json_bool){true, true};
    if (run->alive.count == run->others.count && !changed)
        return;
    s->record.containers = record_with_container(&run->alive, mine, run->a);
    if (record_write(&run->lock, run->a, &s->record, NULL) == 0)
        run_unlink_dropped(run, &s->record);
}

/* The watcher last: it is the one that acts. */
static int let_go(struct setup *s, struct err *e)
{
    int r = child_go(&s->runtime_placeholder, e);

    if (r == 0)
        r = child_go(&s->overhead_placeholder, e);
    return r < 0 ? r : child_go(&s->watcher, e);
}

/* The others are advice for who asks for it. */
static bool is_urgent(const struct plan *p, const char *warning)
{
    return warning == p->refused || warning == p->refused_quota || warning == p->layout_warning ||
           plan_warns_of_loss(warning);
}

/* Limits and devices, now that the other containers are known. */
static int plan_all(struct run *run, struct setup *s, struct err *e)
{
    struct plan_input in = run_plan_input(run);
    const struct plan_warnings *warnings = &run->plan.warnings;
    int r =
        is_nested(run) ? 0 : run_read_devices(run, &s->init, &s->origin, &in.runtime_devices, e);

    if (r < 0)
        return r;
    s->basis = run_basis(run);
    in.recorded = s->basis.recorded;
    in.asked = s->basis.asked;
    in.updated = s->basis.updated;
    in.others = change_members(&run->alive, run->plan.sandbox_id, run->a);
    in.other_count = run->alive.count;
    r = plan_fill(&in, run->a, &run->plan, e);
    if (r == 0 && run->found == RECORD_VALID)
        r = change_adopt(&s->basis, &run->before, &run->host, run->a, &run->plan.limits, e);
    for (size_t i = 0; r == 0 && i < warnings->count; i++)
        log_msg(is_urgent(&run->plan, warnings->items[i]) ? LEVEL_WARNING : LEVEL_INFO, "%s",
                warnings->items[i]);
    return r;
}

static int setup_locked(struct run *run, struct setup *s, struct err *e)
{
    int r = check_conflicts(run, &s->init, e);

    if (r == 0)
        r = plan_all(run, s, e);
    if (r < 0)
        return r;
    s->begun = true;
    build_record(run, s);
    sandbox_init(&s->sandbox, &run->host, &run->state.parents, &s->record);
    if (is_nested(run))
        s->placed = true;
    else if (run->found == RECORD_VALID)
        r = is_placed(s, e);
    if (r < 0)
        return r;
    s->placed = s->placed || r > 0;
    r = 0;
    /* A setup that was killed while it moved init has recorded where init was, which may be in the sandbox in some
     * hierarchies by now. */
    if (!s->placed && run->process_path && !run_recorded(run, &s->init))
        record_find(&s->record, run->plan.container_id)->runtime_path =
            arena_strdup(run->a, run->process_path);
    if (run->found != RECORD_VALID)
        r = run_claim(run, is_nested(run) ? NULL : &s->record, e);
    if (r == 0 && run->found != RECORD_VALID && !is_nested(run))
        r = run_check_free(run, &s->sandbox.home, e);
    if (r < 0)
        return r;
    r = ensure_children(run, s, e);
    choose_first(run, s);
    /* From here on teardown and prune know of everything that may exist. */
    if (r == 0) {
        s->wrote_record = true;
        r = links_add_container(&run->state, run->plan.container_id, s->record.sandbox_id, e);
    }
    if (r == 0)
        r = record_write(&run->lock, run->a, &s->record, e);
    s->attached = !s->placed;
    /* Before init leaves the runtime's cgroup, or systemd might find its scope empty in between. */
    if (r == 0 && s->runtime_placeholder.id.pid > 0)
        r = cg_origin_enter(&run->host, &s->runtime_placeholder.id, &s->origin, e);
    if (r == 0 && !is_nested(run)) {
        r = make_cgroups(run, s, e);
        if (r == 0)
            r = attach(run, s, e);
        if (r == 0)
            settle(run, s);
    }
    return r < 0 ? r : let_go(s, e);
}

/* Lock the sandbox; what a dead one of the same id left goes first. */
static int lock_fresh(struct run *run, struct err *e)
{
    int r = run_lock(run, run->plan.sandbox_id, true, e);

    if (r < 0 || run->found != RECORD_VALID)
        return r;
    r = record_is_alive(&run->before);
    if (r != 0)
        return r < 0 ? err_sys(e, r, "cannot tell whether sandbox %s lives", run->plan.sandbox_id)
                     : 0;
    r = sandbox_destroy(&run->state, &run->host, &run->before, run->request->settings,
                        SANDBOX_PATIENCE_MS, &run->lock, e);
    return r < 0 ? r : run_lock(run, run->plan.sandbox_id, true, e);
}

/* Who is to be placed, and where it is now. 1: nobody any more, and that is fine. */
static int find_process(struct run *run, struct setup *s, struct err *e)
{
    long long pid = run->input->state.pid.value;
    int r;

    if (pid <= 0)
        return err_input(e, "state.pid: missing or 0, but %s needs the container's process",
                         stage_name(run->stage));
    if (pid == 1 || pid == getpid() || pid == getppid())
        return err_input(e, "state.pid: %lld is no container's process, but %s", pid,
                         pid == 1          ? "that of the whole host or PID namespace"
                         : pid == getpid() ? "this hook"
                                           : "who has started this hook");
    r = proc_identify((pid_t)pid, &s->init);
    if (r < 0 && r != -ESRCH)
        return err_sys(e, r, "cannot read /proc/%lld/stat", pid);
    if (r == 0)
        r = cg_origin_read(&run->host, s->init.pid, run->a, &s->origin, e);
    if (r == 0)
        run->process_path = run_origin_path(run, &s->origin);
    if (r != -ESRCH)
        return r;
    err_reset(e);
    /* It was short-lived: nothing is left to place. */
    if (stage_action(run->stage) == ACTION_UPDATE)
        return 1;
    return err_input(e, "state.pid: there is no process %lld", pid);
}

/* Of devices a nested sandbox has advice alone, of which nobody is told below this level. */
static bool asks_for_devices(const struct run *run)
{
    return !is_nested(run) || run->request->settings->log_level >= LEVEL_INFO;
}

bool run_can_be_nested(const struct run *run)
{
    struct run look = *run;
    struct setup s = {0};

    return find_process(&look, &s, NULL) == 0 && run_place(&look, NULL) == 0 && is_nested(&look);
}

int run_set_up(struct run *run, struct err *e)
{
    struct setup s = {
        .watcher = CHILD_INIT,
        .runtime_placeholder = CHILD_INIT,
        .overhead_placeholder = CHILD_INIT,
    };
    int r = find_process(run, &s, e);

    if (r == 0)
        r = run_place(run, e);
    if (r != 0)
        return r < 0 ? r : 0;
    if (asks_for_devices(run))
        facts_gather(run->host.mode, run->request->settings, !is_nested(run), run->a, &run->facts);
    facts_add_host(&run->facts, &run->host);
    log_about.sandbox_id = run->plan.sandbox_id;
    log_about.cgroup = run->plan.sandbox_path;
    r = state_dir_open(run->state_dir, true, &run->state, e);
    if (r < 0)
        return r;
    prune_some(&run->state, &run->host, run->request->settings, run->plan.sandbox_id);
    r = lock_fresh(run, e);
    if (r < 0) {
        state_abandon(&run->state, run->plan.sandbox_id, NULL, &run->lock);
        return r;
    }
    sandbox_init(&s.sandbox, &run->host, &run->state.parents, &s.record);
    r = setup_locked(run, &s, e);
    if (r < 0) {
        roll_back(run, &s, e);
        state_abandon(&run->state, run->plan.sandbox_id, &s.record, &run->lock);
    } else {
        run_tell_set_up(run);
    }
    sandbox_close(&s.sandbox);
    return r;
}
