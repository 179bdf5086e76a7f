/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/run.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/systemd.h"
#include "hook/log/log.h"
#include "hook/plan/input.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/runtime.h"

#include <unistd.h>

int run_see_host(struct run *run, struct err *e)
{
    int r = run->host.count > 0 ? 0 : cg_host_look(run->a, &run->host, e);

    run->facts.mode = run->host.mode;
    return r;
}

bool run_see_config(struct run *run)
{
    if (!run->has_asked && !run->input->has_config) {
        run->completed = *run->input;
        input_complete(run->a, &run->completed);
        run->input = &run->completed;
    }
    run->has_asked = true;
    return run->input->has_config;
}

struct plan_input run_plan_input(const struct run *run)
{
    return (struct plan_input){
        .stage = run->stage,
        .state = &run->input->state,
        .config = run->input->has_config ? &run->input->config : NULL,
        .settings = run->request->settings,
        .only_argument = run->request->only_argument,
        .layout_argument = run->request->layout_argument,
        .facts = &run->facts,
        .process_path = run->process_path,
        .recorded_layout = run->recorded_layout,
        .runtime = run->runtime,
    };
}

/*
 * The path in the hierarchy of the cpu controller, where a process may have been set apart since, by the path in
 * another one, which has the name that its runtime has given. The parents may be others: those of a runtime that is in
 * different cgroups itself, and is told no cgroupsPath.
 */
static const char *unsplit(const struct run *run, const char *path, const char *elsewhere)
{
    const char *prefix = run->request->settings->prefix;
    const char *name = strrchr(path, '/') + 1, *given = strrchr(elsewhere, '/') + 1;

    if (str_eq(name, given))
        return path;
    if (str_starts(name, prefix) && str_eq(name + strlen(prefix), given))
        return arena_printf(run->a, "%.*s%s", (int)(name - path), path, given);
    return elsewhere;
}

/* crun makes a cgroup of its own in a scope, and that is what its `update` changes. */
const char *run_origin_path(const struct run *run, const struct cg_origin *origin)
{
    const struct cg_hierarchy *cpu = cg_host_find(&run->host, CG_CTL_CPU);
    const char *path = origin->paths[cpu ? cpu - run->host.hierarchies : 0];

    for (size_t i = 0; i < run->host.count; i++) {
        const struct cg_hierarchy *h = &run->host.hierarchies[i];

        if (h != cpu && h->controllers && !h->v2 && origin->paths[i])
            return path ? unsplit(run, path, origin->paths[i]) : origin->paths[i];
    }
    return path;
}

/* What the layout depends on, if it depends on anything. In a teardown the record has said it, and
 * where there is none the runtime is what is left. */
static int look_for_layout(struct run *run, struct err *e)
{
    const bool down = stage_action(run->stage) == ACTION_TEARDOWN;
    struct plan_input in = run_plan_input(run);
    struct layout_input layout = plan_layout_input(&in);
    struct runtime *runtime;
    int r = 0;

    if (layout_is_auto(&layout) && !down)
        r = record_layout(run->state_dir, in.state->id, run->a, &run->recorded_layout, e);
    layout.recorded = run->recorded_layout;
    if (r < 0 || !layout_asks(&layout))
        return r;
    runtime = arena_alloc(run->a, sizeof *runtime);
    runtime_look(getppid(), run->state_dir, !down, run->a, runtime);
    run->runtime = runtime;
    return 0;
}

int run_need_systemd(const struct run *run, const char *unit, struct err *e)
{
    const struct request *request = run->request;

    return !unit || cg_systemd_is_here() ? 0 : request->become_other(request->become_arg, e);
}

int run_place(struct run *run, struct err *e)
{
    if (!run->has_place) {
        (void)run_see_config(run);
        run->place_result = run_see_host(run, e);
        /* Who asks again looks again. */
        if (run->place_result < 0)
            return run->place_result;
        run->place_result = look_for_layout(run, e);
        if (run->place_result == 0) {
            const struct plan_input in = run_plan_input(run);

            run->place_result = plan_place(&in, run->a, &run->plan, e);
        }
        if (run->place_result == 0)
            run->place_result = run_need_systemd(run, run->plan.sandbox_unit, e);
    }
    run->has_place = true;
    return run->place_result;
}

int run_lock(struct run *run, const char *sandbox_id, bool make, struct err *e)
{
    int r = state_lock(&run->state, sandbox_id, make, RUN_LOCK_TIMEOUT_MS, &run->lock, e);

    if (r == 0)
        r = record_read(&run->lock, run->a, &run->before, &run->found, e);
    run->others = run->alive = (struct json_list){0};
    if (r == 0 && run->found == RECORD_VALID) {
        r = run_need_systemd(run, run->before.sandbox_unit, e);
        if (r < 0)
            return r;
        r = record_others(&run->before, run->input->state.id, run->a, &run->others, &run->alive);
    }
    if (r < 0)
        err_sys(e, r, "cannot tell which containers of sandbox %s live", sandbox_id);
    return r;
}

const struct record_container *run_recorded(const struct run *run, const struct proc_id *init)
{
    const struct record_container *own =
        run->found == RECORD_VALID ? record_find(&run->before, run->input->state.id) : NULL;
    const struct proc_id then = own ? record_process_id(own->init) : (struct proc_id){0};

    return own && then.pid == init->pid && then.start_time == init->start_time ? own : NULL;
}

int run_read_devices(const struct run *run, const struct proc_id *init,
                     const struct cg_origin *origin, const struct cg_dev_exceptions **ret,
                     struct err *e)
{
    const struct record_container *own = run_recorded(run, init);
    const struct cg_hierarchy *h = cg_host_find(&run->host, CG_CTL_DEVICES);
    const char *path = h ? origin->paths[h - run->host.hierarchies] : NULL;
    struct cg_dev_exceptions *list = arena_alloc(run->a, sizeof *list);
    int r;

    if (own)
        path = own->runtime_path;
    r = path ? cg_devices_read(&run->host, path, run->a, list, e) : 0;
    *ret = r > 0 ? list : NULL;
    return r < 0 ? r : 0;
}

struct plan_basis run_basis(const struct run *run)
{
    return change_basis(run->request->settings, &run->facts, run->plan.systemd,
                        run->plan.sandbox_cgroup_only,
                        run->found == RECORD_VALID ? &run->before : NULL, run->a);
}

void run_unlink_dropped(const struct run *run, const struct record *now)
{
    for (size_t i = 0; i < run->before.containers.count; i++) {
        const char *id = JSON_AT(run->before.containers, struct record_container, i).id;

        if (!record_find(now, id))
            links_drop_container(&run->state, id, run->before.sandbox_id);
    }
}

void run_tell_set_up(const struct run *run)
{
    const struct plan *p = &run->plan;

    if (run->found == RECORD_VALID && record_find(&run->before, p->container_id))
        return;
    log_event(EVENT_SET_UP, "sandbox %s: container %s is set up, layout %s, sandbox_cgroup_only %s",
              p->sandbox_id, p->container_id, layout_name(p->layout),
              p->sandbox_cgroup_only ? "true" : "false");
}

static char *copy(struct arena *a, const char *text)
{
    return text ? arena_strdup(a, text) : NULL;
}

static struct json_list planned_fence(const struct plan *p, struct arena *a)
{
    struct json_list list = {0};

    for (size_t i = 0; i < p->lifted_count; i++)
        JSON_APPEND(a, list, struct record_fence) =
            (struct record_fence){.path = copy(a, p->lifted_paths[i])};
    return list;
}

struct record run_planned_record(const struct plan *p, struct arena *a)
{
    return (struct record){
        .sandbox_id = copy(a, p->sandbox_id),
        .sandbox_cgroup_only = {true, p->sandbox_cgroup_only},
        .policy_source = copy(a, policy_source_name(p->policy_source)),
        .manager = copy(a, plan_manager_name(p)),
        .mode = copy(a, cg_mode_name(p->mode)),
        .layout = copy(a, layout_name(p->layout)),
        .layout_warning = copy(a, p->layout_warning),
        .enable_vcpus_pinning = {true, p->pinning},
        .overhead_quota = copy(a, p->overhead_quota),
        .parent_path = copy(a, p->parent_path),
        .sandbox_path = copy(a, p->sandbox_path),
        .vcpu_path = copy(a, p->vcpu_path),
        .overhead_path = copy(a, p->overhead_path),
        .slice = copy(a, p->slice),
        .sandbox_unit = copy(a, p->sandbox_unit),
        .overhead_unit = copy(a, p->overhead_unit),
        .fence = planned_fence(p, a),
    };
}
