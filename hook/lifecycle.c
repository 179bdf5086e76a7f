/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/lifecycle.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/placeholder.h"
#include "hook/prune.h"
#include "hook/sandbox.h"
#include "hook/scan.h"
#include "hook/vcpu.h"
#include "hook/watcher.h"

#include <errno.h>

/* Shorter than any hook timeout that makes sense, longer than any stage takes. */
#define LOCK_TIMEOUT_MS 10000

/* One run of a stage. */
struct run {
    const struct request *request;
    const struct oci_input *input;
    enum stage stage;
    struct arena *a;
    struct cg_host host;
    struct state_dir state;
    struct facts facts;
    struct record_lock lock;
    struct record before; /* the record as it was found */
    enum record_state found;
    const char *process_path; /* for plan_input */
    struct plan plan;
};

int lifecycle_read(int fd, enum stage *stage, struct arena *a, struct oci_input *ret, struct err *e)
{
    const struct oci_state *state = &ret->state;
    struct err config_error = ERR_INIT;
    int r = oci_input_read(fd, a, ret, e);

    if (r == 0 && *stage == STAGE_NONE)
        r = stage_from_state(state, stage, e);
    if (r < 0 || ret->has_config)
        return r;
    if (!str_empty(state->bundle) && state->bundle[0] == '/')
        r = oci_config_read_bundle(state->bundle, a, &ret->config, &config_error);
    else
        r = err_input(&config_error,
                      "state.bundle: missing or not an absolute path, and there is no "
                      "config document behind the state on standard input");
    if (r == 0) {
        ret->has_config = true;
        return 0;
    }
    /* The bundle may be gone by then, or be "/" (a crun defect): the record is enough. */
    if (stage_action(*stage) == ACTION_TEARDOWN)
        return 0;
    if (e)
        *e = config_error;
    return r;
}

static struct plan_input plan_input(const struct run *run)
{
    return (struct plan_input){
        .stage = run->stage,
        .state = &run->input->state,
        .config = run->input->has_config ? &run->input->config : NULL,
        .hook = run->request->hook,
        .only_argument = run->request->only_argument,
        .facts = &run->facts,
        .process_path = run->process_path,
    };
}

static int lock_sandbox(struct run *run, const char *sandbox_id, bool make, struct err *e)
{
    int r = record_lock(&run->state, sandbox_id, make, LOCK_TIMEOUT_MS, &run->lock, e);

    return r < 0 ? r : record_read(&run->lock, run->a, &run->before, &run->found, e);
}

/* ---- setup ---- */

struct setup {
    struct proc_id init;
    struct cg_origin origin;
    struct record record; /* as it will be */
    struct sandbox sandbox;
    struct child watcher;
    struct child runtime_placeholder; /* for the scope that init leaves */
    struct child sandbox_placeholder; /* for a scope that would have no process */
    bool placed;                      /* init is where it belongs, since an earlier stage */
    bool begun; /* the plan was accepted: from here on there may be something to undo */
    bool wrote_record, attached;
};

/* The record's containers other than this one. */
static void other_containers(const struct run *run, struct json_list *ret)
{
    *ret = (struct json_list){0};
    for (size_t i = 0; run->found == RECORD_VALID && i < run->before.containers.count; i++) {
        const struct record_container *c =
            &JSON_AT(run->before.containers, struct record_container, i);

        if (!str_eq(c->id, run->input->state.id))
            *(struct record_container *)arena_push(run->a, &ret->items, &ret->count, sizeof *c) =
                *c;
    }
}

static const struct oci_resources *const *resources_of(const struct run *run,
                                                       const struct json_list *containers)
{
    const struct oci_resources **all =
        arena_alloc(run->a, (containers->count + 1) * sizeof(const struct oci_resources *));

    for (size_t i = 0; i < containers->count; i++)
        all[i] = JSON_AT(*containers, struct record_container, i).resources;
    return all;
}

/* The same id again is a retry or a successor; but not while the first one lives. */
static int check_conflicts(const struct run *run, const struct proc_id *init, struct err *e)
{
    const struct record_container *same = record_find(&run->before, run->input->state.id);
    struct proc_id old = record_process_id(same ? same->init : NULL);
    const struct plan *p = &run->plan;

    if (same && old.pid != init->pid && proc_alive(&old))
        return err_set(e, -EEXIST,
                       "container %s already runs in sandbox %s with process %d; stop it "
                       "first, or give each runtime its own --state-dir",
                       p->container_id, p->sandbox_id, (int)old.pid);
    if (run->found == RECORD_VALID &&
        run->before.sandbox_cgroup_only.value != p->sandbox_cgroup_only)
        return err_set(e, -EINVAL,
                       "sandbox %s runs with sandbox_cgroup_only=%s, container %s wants %s; "
                       "all containers of a sandbox need the same policy",
                       p->sandbox_id, run->before.sandbox_cgroup_only.value ? "true" : "false",
                       p->container_id, p->sandbox_cgroup_only ? "true" : "false");
    if (run->found == RECORD_VALID && run->before.layout &&
        !str_eq(run->before.layout, layout_name(p->layout)))
        return err_set(e, -EINVAL,
                       "sandbox %s was made with layout %s, and the configuration says %s by now",
                       p->sandbox_id, run->before.layout, layout_name(p->layout));
    return 0;
}

static char *copy(struct arena *a, const char *text)
{
    return text ? arena_strdup(a, text) : NULL;
}

/* What a plan says of a sandbox that has no record yet, or none that can be read. */
static struct record planned_record(const struct plan *p, struct arena *a)
{
    return (struct record){
        .sandbox_id = copy(a, p->sandbox_id),
        .sandbox_cgroup_only = {true, p->sandbox_cgroup_only},
        .policy_source = copy(a, policy_source_name(p->policy_source)),
        .manager = copy(a, plan_manager_name(p)),
        .mode = copy(a, cg_mode_name(p->mode)),
        .layout = copy(a, layout_name(p->layout)),
        .enable_vcpus_pinning = {true, p->pinning},
        .parent_path = copy(a, p->parent_path),
        .sandbox_path = copy(a, p->sandbox_path),
        .vcpu_path = copy(a, p->vcpu_path),
        .overhead_path = copy(a, p->overhead_path),
        .slice = copy(a, p->slice),
        .sandbox_unit = copy(a, p->sandbox_unit),
        .overhead_unit = copy(a, p->overhead_unit),
    };
}

static void build_record(const struct run *run, struct setup *s)
{
    const struct plan *p = &run->plan;
    struct record_container *mine, *before = record_find(&run->before, p->container_id);
    struct record *r = &s->record;

    /* The sandbox was placed by its first container; its cgroup stays where it is. */
    *r = run->found == RECORD_VALID ? run->before : planned_record(p, run->a);
    other_containers(run, &r->containers);
    mine = arena_push(run->a, &r->containers.items, &r->containers.count, sizeof *mine);
    *mine = (struct record_container){
        .id = arena_strdup(run->a, p->container_id),
        .bundle = run->input->state.bundle,
        .init = record_process_new(run->a, &s->init),
        .placeholder = before ? before->placeholder : NULL,
        .runtime_path = before ? before->runtime_path : copy(run->a, p->runtime_path),
        .resources = p->resources,
    };
}

static bool is_running(const struct record_process *p)
{
    struct proc_id id = record_process_id(p);

    return proc_alive(&id);
}

/* One watcher per sandbox: the recorded one if it lives. */
static int ensure_watcher(struct run *run, struct setup *s, struct err *e)
{
    int r;

    if (!s->sandbox.has_overhead || is_running(s->record.watcher))
        return 0;
    r = watcher_fork(run->request->state_dir, s->record.sandbox_id, run->request->hook, &s->watcher,
                     e);
    if (r == 0)
        s->record.watcher = record_process_new(run->a, &s->watcher.id);
    return r;
}

static int ensure_placeholder(struct run *run, const struct proc_id *follow, struct child *child,
                              struct record_process **recorded, struct err *e)
{
    int r;

    if (is_running(*recorded))
        return 0;
    r = placeholder_fork(follow, child, e);
    if (r == 0)
        *recorded = record_process_new(run->a, &child->id);
    return r;
}

/* Processes of ours, all forked before the record is written, so that it names them. */
static int ensure_children(struct run *run, struct setup *s, struct err *e)
{
    struct record_container *mine = record_find(&s->record, run->plan.container_id);
    int r = ensure_watcher(run, s, e);

    if (r == 0 && run->plan.systemd && !s->placed)
        r = ensure_placeholder(run, &s->init, &s->runtime_placeholder, &mine->placeholder, e);
    /* On v2 the watcher is in the same scope. */
    if (r == 0 && s->record.overhead_unit)
        r = ensure_placeholder(run, NULL, &s->sandbox_placeholder, &s->record.placeholder, e);
    return r;
}

/* A scope starts with one of our own processes where there is one: init must not be in a cgroup
 * whose limits are not all in force. */
static void choose_first(const struct run *run, struct setup *s)
{
    pid_t watcher = record_process_id(s->record.watcher).pid;
    pid_t placeholder = record_process_id(s->record.placeholder).pid;

    s->sandbox.sandbox_unit.first = placeholder ? placeholder : watcher ? watcher : s->init.pid;
    s->sandbox.overhead_unit.first = watcher;
    s->sandbox.sandbox_unit.expected = run->found == RECORD_VALID;
    s->sandbox.overhead_unit.expected = run->found == RECORD_VALID;
}

/* Already where setup puts it: a second call of setup, or one after the watcher has placed threads.
 */
static bool is_placed(struct setup *s)
{
    return cg_holds(&s->sandbox.vcpu, s->init.pid) == 1 ||
           (s->sandbox.has_overhead && cg_holds(&s->sandbox.overhead, s->init.pid) == 1);
}

static int make_cgroups(struct run *run, struct setup *s, struct err *e)
{
    bool nested = run->plan.layout == LAYOUT_NESTED;
    int r = cg_create(&s->sandbox.vcpu, &run->plan.sandbox_files,
                      nested ? NULL : &run->plan.device_table, e);

    if (r == 0 && s->sandbox.has_overhead)
        r = cg_create(&s->sandbox.overhead, &run->plan.overhead_files,
                      run->plan.mode == CG_MODE_V2 ? NULL : &run->plan.device_table, e);
    return r;
}

/* All attaching back to back: only the first write to a cgroup.procs waits for the kernel. systemd
 * has been told of some of these processes, but only we know when they are in their place. */
static int attach(struct run *run, struct setup *s, struct err *e)
{
    struct cg_controller *home = s->sandbox.has_overhead ? &s->sandbox.overhead : &s->sandbox.vcpu;
    int r = 0;

    if (s->sandbox_placeholder.id.pid > 0)
        r = cg_add_process(&s->sandbox.vcpu, s->sandbox_placeholder.id.pid, e);
    if (r == 0 && s->watcher.id.pid > 0)
        r = cg_add_process(&s->sandbox.overhead, s->watcher.id.pid, e);
    if (r < 0 || s->placed)
        return r;
    r = cg_add_process(home, s->init.pid, e);
    if (r == 0 && !proc_alive(&s->init))
        r = err_set(e, -ESRCH, "process %d of container %s has ended", (int)s->init.pid,
                    run->plan.container_id);
    return r;
}

/* Give the sandbox back the limits of the containers that stay. */
static void restore_limits(struct run *run, struct setup *s, const struct json_list *others)
{
    struct plan old = {.mode = run->plan.mode, .systemd = s->record.sandbox_unit != NULL};

    if (plan_sandbox(resources_of(run, others), others->count, run->request->hook, &run->facts,
                     s->record.sandbox_cgroup_only.value, run->a, &old, NULL) < 0)
        return;
    cg_update(&s->sandbox.vcpu, &old.sandbox_files, NULL);
    cg_set_devices(&s->sandbox.vcpu, &old.device_table, NULL);
    if (s->sandbox.has_overhead && run->facts.mode != CG_MODE_V2)
        cg_set_devices(&s->sandbox.overhead, &old.device_table, NULL);
}

/* Undo everything that this stage did; and what an earlier stage did for the same container,
 * because the runtime stops it now, and not every runtime calls poststop then. */
static void roll_back(struct run *run, struct setup *s, struct err *e)
{
    struct json_list others;

    if (!s->begun)
        return;
    other_containers(run, &others);
    if (s->attached)
        cg_restore(&run->host, s->init.pid, &s->origin);
    child_abort(&s->watcher);
    child_abort(&s->runtime_placeholder);
    child_abort(&s->sandbox_placeholder);
    cg_undo_create(&s->sandbox.overhead);
    if (others.count > 0)
        restore_limits(run, s, &others);
    cg_undo_create(&s->sandbox.vcpu);
    if (!s->wrote_record)
        return;
    if (others.count > 0) {
        /* A watcher of this run is gone: the next stage starts another. */
        record_write(&run->lock, run->a, &run->before, NULL);
        if (!record_find(&run->before, run->plan.container_id))
            record_unlink(&run->state, run->plan.container_id);
    } else if (run->found == RECORD_VALID) {
        sandbox_destroy(&run->state, &run->host, &run->before, run->request->hook, &run->lock,
                        NULL);
    } else if (sandbox_load(&s->sandbox, NULL) == -ENOENT) {
        record_unlink(&run->state, run->plan.container_id);
        record_remove(&run->state, run->plan.sandbox_id, &run->lock);
    } else {
        /* Something could not be undone: the record stays, so that teardown or prune finds it. */
        err_hint(e, "; a cgroup made for it is still busy, `prune` removes it later");
    }
}

/* Where the runtime has put the process. crun makes a cgroup of its own in a scope, and that is
 * what its `update` changes. */
static const char *origin_path(const struct run *run, const struct cg_origin *origin)
{
    const struct cg_hierarchy *h = cg_host_find(&run->host, CG_CTL_CPU);

    return origin->paths[h ? h - run->host.hierarchies : 0];
}

static int find_origin(struct run *run, struct setup *s, struct err *e)
{
    struct record_container *mine = record_find(&s->record, run->plan.container_id);
    int r = cg_origin_read(&run->host, s->init.pid, run->a, &s->origin, e);

    if (r == 0 && origin_path(run, &s->origin))
        mine->runtime_path = copy(run->a, origin_path(run, &s->origin));
    return r;
}

static int setup_locked(struct run *run, struct setup *s, struct err *e)
{
    struct plan_input in = plan_input(run);
    struct json_list others;
    int r;

    other_containers(run, &others);
    in.others = resources_of(run, &others);
    in.other_count = others.count;
    r = plan_make(&in, run->a, &run->plan, e);
    if (r == 0)
        r = check_conflicts(run, &s->init, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < run->plan.warning_count; i++)
        log_msg(run->plan.warnings[i] == run->plan.refused ? LEVEL_WARNING : LEVEL_INFO, "%s",
                run->plan.warnings[i]);
    s->begun = true;
    build_record(run, s);
    sandbox_init(&s->sandbox, &run->host, &run->state.parents, &s->record);
    if (run->found == RECORD_VALID)
        s->placed = sandbox_load(&s->sandbox, NULL) == 0 && is_placed(s);
    if (!s->placed)
        r = find_origin(run, s, e);
    if (r == 0)
        r = ensure_children(run, s, e);
    choose_first(run, s);
    /* From here on teardown and prune know of everything that may exist. */
    if (r == 0) {
        s->wrote_record = true;
        r = record_link(&run->state, run->plan.container_id, s->record.sandbox_id, e);
    }
    if (r == 0)
        r = record_write(&run->lock, run->a, &s->record, e);
    s->attached = !s->placed;
    /* Before init leaves the runtime's scope, or systemd might find that empty in between. */
    if (r == 0 && s->runtime_placeholder.id.pid > 0)
        r = cg_origin_enter(&run->host, s->runtime_placeholder.id.pid, &s->origin, e);
    if (r == 0)
        r = make_cgroups(run, s, e);
    if (r == 0)
        r = attach(run, s, e);
    if (r < 0)
        return r;
    child_go(&s->runtime_placeholder);
    child_go(&s->sandbox_placeholder);
    child_go(&s->watcher);
    return 0;
}

/* What poststart is for: place what is there now. The watcher goes on from there. */
static int place_now(struct run *run, struct setup *s, struct err *e)
{
    autofd kvm = vcpu_kvm_open();
    struct scan scan = {
        .sandbox = &s->sandbox,
        .config = run->request->hook,
        .cautious = true,
        .kvm_dirfd = kvm,
        .own = {record_process_id(s->record.watcher).pid,
                record_process_id(s->record.placeholder).pid},
    };
    struct scan_result result;
    int r = s->sandbox.has_overhead ? scan_pass(&scan, SCAN_ALL, &result, e) : 0;

    scan_free(&scan);
    return r;
}

/* Lock the sandbox; what a dead one of the same id left goes first. */
static int lock_fresh(struct run *run, struct err *e)
{
    int r = lock_sandbox(run, run->plan.sandbox_id, true, e);

    if (r < 0 || run->found != RECORD_VALID || record_is_alive(&run->before))
        return r;
    r = sandbox_destroy(&run->state, &run->host, &run->before, run->request->hook, &run->lock, e);
    return r < 0 ? r : lock_sandbox(run, run->plan.sandbox_id, true, e);
}

/* Place again, now that the process is known: layout nested goes by where it really is. */
static int place_at_process(struct run *run, const struct proc_id *init, struct err *e)
{
    struct plan_input in;
    struct cg_origin origin;
    int r = cg_origin_read(&run->host, init->pid, run->a, &origin, e);

    if (r < 0)
        return r;
    run->process_path = origin_path(run, &origin);
    in = plan_input(run);
    return plan_place(&in, run->a, &run->plan, e);
}

static int set_up(struct run *run, struct err *e)
{
    const struct oci_state *state = &run->input->state;
    struct setup s = {
        .watcher = CHILD_INIT,
        .runtime_placeholder = CHILD_INIT,
        .sandbox_placeholder = CHILD_INIT,
    };
    struct plan_input in = plan_input(run);
    int r;

    if (state->pid.value <= 0)
        return err_input(e, "state.pid: missing or 0, but %s needs the container's process",
                         stage_name(run->stage));
    r = plan_place(&in, run->a, &run->plan, e);
    if (r < 0)
        return r;
    r = proc_identify((pid_t)state->pid.value, &s.init);
    if (r == -ESRCH)
        return err_input(e, "state.pid: there is no process %lld", (long long)state->pid.value);
    if (r < 0)
        return err_sys(e, r, "cannot read /proc/%lld/stat", (long long)state->pid.value);
    if (run->plan.layout == LAYOUT_NESTED)
        r = place_at_process(run, &s.init, e);
    if (r < 0)
        return r;
    log_about.sandbox_id = run->plan.sandbox_id;
    log_about.cgroup = run->plan.sandbox_path;
    r = state_dir_open(run->request->state_dir, true, &run->state, e);
    if (r < 0)
        return r;
    prune_some(&run->state, &run->host, run->request->hook, run->plan.sandbox_id);
    r = lock_fresh(run, e);
    if (r < 0) {
        record_abandon(&run->state, run->plan.sandbox_id, &run->lock);
        return r;
    }
    sandbox_init(&s.sandbox, &run->host, &run->state.parents, &s.record);
    r = setup_locked(run, &s, e);
    if (r < 0)
        roll_back(run, &s, e);
    else if (stage_action(run->stage) == ACTION_UPDATE)
        r = place_now(run, &s, e);
    if (r < 0)
        record_abandon(&run->state, run->plan.sandbox_id, &run->lock);
    sandbox_close(&s.sandbox);
    return r;
}

/* ---- teardown ---- */

/* No record: nothing was set up, or it was removed. What the plan would have named goes if it is
 * empty. */
static int remove_planned(struct run *run, struct err *e)
{
    struct plan_input in = plan_input(run);
    struct record r;
    struct sandbox s;

    if (!run->input->has_config || plan_place(&in, run->a, &run->plan, NULL) < 0)
        return 0;
    r = planned_record(&run->plan, run->a);
    sandbox_init(&s, &run->host, &run->state.parents, &r);
    if (sandbox_load(&s, e) == 0) {
        if (s.has_overhead && cg_is_empty(&s.overhead))
            cg_delete(&s.overhead, 0, NULL);
        if (cg_is_empty(&s.vcpu))
            cg_delete(&s.vcpu, 0, NULL);
    }
    err_reset(e);
    sandbox_close(&s);
    return 0;
}

/*
 * There is a record, but not one that we can read: of another version of this program, or damaged.
 * The plan names the cgroups again; a watcher is told by its program file, as nothing else says who
 * it is.
 */
static int destroy_planned(struct run *run, const char *sandbox_id, struct err *e)
{
    struct plan_input in = plan_input(run);
    struct record r;

    if (!run->input->has_config || plan_place(&in, run->a, &run->plan, NULL) < 0 ||
        !str_eq(run->plan.sandbox_id, sandbox_id))
        return e->code;
    err_reset(e);
    r = planned_record(&run->plan, run->a);
    sandbox_end_children(&run->host, &r);
    record_unlink(&run->state, run->input->state.id);
    return sandbox_destroy(&run->state, &run->host, &r, run->request->hook, &run->lock, e);
}

/* Others stay: forget this container, and let the limits follow. */
static int shrink(struct run *run, struct err *e)
{
    struct record after = run->before;
    struct plan plan = {.mode = run->host.mode, .systemd = after.sandbox_unit != NULL};
    struct proc_id placeholder =
        record_process_id(record_find(&run->before, run->input->state.id)->placeholder);
    struct sandbox s;
    int r;

    (void)child_stop(&placeholder, NULL); /* its container's init is dead, so it ends anyway */
    other_containers(run, &after.containers);
    r = record_write(&run->lock, run->a, &after, e);
    if (r < 0)
        return r;
    record_unlink(&run->state, run->input->state.id);
    facts_gather(run->host.mode, run->request->hook, run->a, &run->facts);
    r = plan_sandbox(resources_of(run, &after.containers), after.containers.count,
                     run->request->hook, &run->facts, after.sandbox_cgroup_only.value, run->a,
                     &plan, e);
    if (r < 0)
        return r;
    sandbox_init(&s, &run->host, &run->state.parents, &after);
    r = sandbox_load(&s, e);
    if (r == 0)
        r = cg_update(&s.vcpu, &plan.sandbox_files, e);
    if (r == 0)
        r = cg_set_devices(&s.vcpu, &plan.device_table, e);
    if (r == 0 && s.has_overhead && run->host.mode != CG_MODE_V2)
        r = cg_set_devices(&s.overhead, &plan.device_table, e);
    sandbox_close(&s);
    /* The sandbox died meanwhile: nothing is left to limit. */
    if (r == -ENOENT || r == -ENODEV) {
        err_reset(e);
        r = 0;
    }
    return r;
}

static int find_sandbox(struct run *run, const char **ret)
{
    struct plan_input in = plan_input(run);
    struct plan plan;

    if (record_lookup(&run->state, run->input->state.id, run->a, ret) == 0)
        return 0;
    if (plan_place(&in, run->a, &plan, NULL) < 0)
        return -ENOENT;
    *ret = plan.sandbox_id;
    return faccessat(run->state.sandboxes, *ret, F_OK, 0) < 0 ? -ENOENT : 0;
}

static int tear_down(struct run *run, struct err *e)
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
        r = lock_sandbox(run, sandbox_id, false, e);
    }
    if (r == -ENOENT) {
        err_reset(e);
        return remove_planned(run, e);
    }
    if (r == -EPROTO && e)
        return destroy_planned(run, sandbox_id, e);
    if (r < 0)
        return r;
    if (run->found != RECORD_VALID) {
        record_remove(&run->state, sandbox_id, &run->lock);
        return remove_planned(run, e);
    }
    if (run->before.containers.count > 0 && !record_find(&run->before, id)) {
        /* A stopped sandbox whose id is another container's; it is not ours to remove. */
        record_unlink(&run->state, id);
        return 0;
    }
    if (run->before.containers.count > 1)
        return shrink(run, e);
    return sandbox_destroy(&run->state, &run->host, &run->before, run->request->hook, &run->lock,
                           e);
}

int lifecycle_run(const struct request *request, const struct oci_input *input, struct arena *a,
                  struct err *e)
{
    struct run run = {
        .request = request,
        .input = input,
        .stage = request->stage,
        .a = a,
        .state = STATE_DIR_INIT,
        .lock = RECORD_LOCK_INIT,
    };
    int r = cg_host_open(a, &run.host, e);

    run.facts.foreign = r == 0 && cg_host_is_foreign(&run.host);
    if (run.facts.foreign) {
        /* Once in the life of a container. */
        if (stage_action(run.stage) != ACTION_TEARDOWN)
            log_msg(LEVEL_WARNING, "%s", PLAN_FOREIGN);
    } else if (r == 0) {
        if (stage_action(run.stage) == ACTION_TEARDOWN) {
            run.facts.mode = run.host.mode;
            r = tear_down(&run, e);
        } else {
            facts_gather(run.host.mode, request->hook, a, &run.facts);
            r = set_up(&run, e);
        }
    }
    record_unlock(&run.lock);
    state_dir_close(&run.state);
    cg_host_close(&run.host);
    return r;
}
