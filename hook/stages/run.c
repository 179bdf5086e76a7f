/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/run.h"

#include "base/arena.h"
#include "base/err.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/runtime.h"

#include <unistd.h>

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

int run_place(struct run *run, struct err *e)
{
    if (!run->has_place) {
        run->place_result = look_for_layout(run, e);
        if (run->place_result == 0) {
            const struct plan_input in = run_plan_input(run);

            run->place_result = plan_place(&in, run->a, &run->plan, e);
        }
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
    if (r == 0 && run->found == RECORD_VALID)
        record_others(&run->before, run->input->state.id, run->a, &run->others, &run->alive);
    return r;
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
