/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/run.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/links.h"

#include <errno.h>

struct plan_input run_plan_input(const struct run *run)
{
    return (struct plan_input){
        .stage = run->stage,
        .state = &run->input->state,
        .config = run->input->has_config ? &run->input->config : NULL,
        .settings = run->request->settings,
        .only_argument = run->request->only_argument,
        .facts = &run->facts,
        .process_path = run->process_path,
    };
}

static void push_container(struct arena *a, struct json_list *list,
                           const struct record_container *c)
{
    *(struct record_container *)arena_push(a, &list->items, &list->count, sizeof *c) = *c;
}

static void find_others(struct run *run)
{
    run->others = run->alive = (struct json_list){0};
    for (size_t i = 0; run->found == RECORD_VALID && i < run->before.containers.count; i++) {
        const struct record_container *c =
            &JSON_AT(run->before.containers, struct record_container, i);
        bool is_alive = record_container_is_alive(c);

        /* A dead one of the same id is another: the predecessor of this one. */
        if (is_alive && str_eq(c->id, run->input->state.id))
            continue;
        push_container(run->a, &run->others, c);
        if (is_alive)
            push_container(run->a, &run->alive, c);
    }
}

int run_lock(struct run *run, const char *sandbox_id, bool make, struct err *e)
{
    int r = state_lock(&run->state, sandbox_id, make, RUN_LOCK_TIMEOUT_MS, &run->lock, e);

    if (r == 0)
        r = record_read(&run->lock, run->a, &run->before, &run->found, e);
    if (r == 0)
        find_others(run);
    return r;
}

const struct oci_resources *const *run_resources(const struct run *run,
                                                 const struct json_list *containers)
{
    const struct oci_resources **all =
        arena_alloc(run->a, (containers->count + 1) * sizeof(const struct oci_resources *));

    for (size_t i = 0; i < containers->count; i++)
        all[i] = JSON_AT(*containers, struct record_container, i).resources;
    return all;
}

struct json_list run_with_container(const struct run *run, const struct json_list *containers,
                                    const struct record_container *c)
{
    struct json_list list = {0};

    /* The new one first: record_find() is to find it, and not a predecessor. */
    push_container(run->a, &list, c);
    for (size_t i = 0; i < containers->count; i++)
        push_container(run->a, &list, &JSON_AT(*containers, struct record_container, i));
    return list;
}

struct change run_change(const struct run *run, struct plan *plan)
{
    const struct json_list none = {0};
    const struct change_input in = {
        .settings = run->request->settings,
        .facts = &run->facts,
        .systemd = plan->systemd,
        .sandbox_cgroup_only = plan->sandbox_cgroup_only,
        .before = run->found == RECORD_VALID ? &run->before.containers : &none,
    };
    struct change change;

    change_make(&in, plan, run->a, &change);
    return change;
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

struct record run_planned_record(const struct plan *p, struct arena *a)
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
