/* SPDX-License-Identifier: Apache-2.0 */

/* `plan`: what a stage would do, decided as that would decide it, and printed. */

#include "hook/tool/verbs.h"

#include "base/arena.h"
#include "base/err.h"
#include "cgroup/path.h"
#include "hook/plan/explain.h"
#include "hook/plan/input.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/change.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/runtime.h"
#include "hook/sandbox/state_dir.h"
#include "hook/stages/run.h"

#include <errno.h>
#include <unistd.h>

/*
 * What a setup would find of the sandbox: its other containers, and what may be set. A record that
 * cannot be looked at is said; the plan is that of a new sandbox then.
 */
static void look_at_sandbox(const struct options *o, const struct plan *place, struct arena *a,
                            struct plan_input *in, struct plan_warnings *warnings)
{
    struct err e = ERR_INIT;
    struct state_dir state = STATE_DIR_INIT;
    struct state_lock look = STATE_LOCK_INIT;
    struct record record;
    struct plan_basis basis;
    enum record_state found = RECORD_NONE;
    int r = state_dir_open(o->state_dir, false, &state, &e);

    if (r == 0)
        r = state_look(&state, place->sandbox_id, &look, &e);
    if (r == 0)
        r = record_read(&look, a, &record, &found, &e);
    if (r == 0 && found == RECORD_VALID) {
        struct json_list others, alive;

        r = record_others(&record, place->container_id, a, &others, &alive);
        if (r < 0)
            err_sys(&e, r, "it cannot be told which of its containers live");
        in->others = change_members(&alive, record.sandbox_id, a);
        in->other_count = alive.count;
        basis = change_basis(in->settings, in->facts, place->systemd, place->sandbox_cgroup_only,
                             &record, a);
        in->recorded = basis.recorded;
        in->asked = basis.asked;
        in->updated = basis.updated;
    }
    if (r < 0 && r != -ENOENT)
        plan_warn(
            warnings, a,
            arena_printf(a, "planned as a new sandbox, because it is not known what there is: %s",
                         e.text));
    state_unlock(&look);
    state_dir_close(&state);
}

/* Where a setup would not have the container. What cannot be read refuses nobody here, as whoever plans need not be
 * root. */
static void look_around(const struct options *o, struct arena *a, struct plan *p)
{
    struct err e = ERR_INIT;
    struct state_dir state = STATE_DIR_INIT;
    int r = state_dir_open(o->state_dir, false, &state, &e);

    if (r == 0)
        r = run_check_around(&state, p, a, &e);
    if (r == -EEXIST)
        plan_warn(&p->warnings, a, arena_printf(a, "it would be refused: %s", e.text));
    state_dir_close(&state);
}

/* As a stage would, see look_for_layout() in hook/stages/run.c, but nothing is remembered.
 * @here  the record is of the host that is planned for. */
static int look_for_layout(const struct options *o, bool here, struct arena *a,
                           struct plan_input *in, struct runtime *runtime, struct err *e)
{
    struct layout_input layout = plan_layout_input(in);
    int r = 0;

    if (here && layout_is_auto(&layout) && stage_action(in->stage) != ACTION_TEARDOWN)
        r = record_layout(o->state_dir, in->state->id, a, &in->recorded_layout, e);
    layout.recorded = in->recorded_layout;
    if (!layout_asks(&layout))
        return r;
    runtime_look(getppid(), o->state_dir, false, a, runtime);
    runtime_doubt(runtime);
    in->runtime = runtime;
    return r;
}

static int read_input(const struct options *o, enum stage *stage, struct arena *a,
                      struct oci_input *ret, struct err *e)
{
    const char *path = o->bundle ? o->bundle : o->id;
    enum stage named;

    if (!path) {
        int r = input_read(STDIN_FILENO, stage, NULL, a, ret, e);

        if (r == 0)
            input_complete(a, ret);
        return r;
    }
    if (path == o->id && stage_parse(path, &named) == 0)
        return err_input(e, "of another stage than that of the state: plan --stage %s", path);
    return input_make(path, stage, a, ret, e);
}

int verb_plan(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct oci_input input = {0};
    enum stage stage = o->stage;
    enum cg_mode mode = o->mode;
    struct facts facts;
    struct plan plan;
    struct explain why;
    struct cg_host host = {0};
    struct err unknown = ERR_INIT;
    struct runtime runtime;
    bool here;
    int r = read_input(o, &stage, a, &input, e);

    if (r == 0 && !o->has_mode) {
        r = cg_host_open(a, &host, e);
        mode = host.mode;
    }
    if (r < 0)
        return r;
    facts_gather(mode, settings, true, a, &facts);
    r = o->has_mode ? 0 : cg_host_is_foreign(&host, e);
    facts.foreign = r > 0;
    facts_add_host(&facts, &host);
    cg_host_close(&host);
    if (r < 0)
        return r;
    struct plan_input in = {
        .stage = stage,
        .state = &input.state,
        .config = input.has_config ? &input.config : NULL,
        .settings = settings,
        .only_argument = o->only,
        .layout_argument = o->layout,
        .facts = &facts,
    };
    /* What is recorded here means nothing on a host of another mode. */
    here = !o->has_mode && !facts.foreign;
    (void)look_for_layout(o, here, a, &in, &runtime, &unknown);
    r = plan_place(&in, a, &plan, e);
    if (r == 0 && plan_has_no_place(&in))
        plan_warn(
            &plan.warnings, a,
            "linux.cgroupsPath is missing or relative: the sandbox is made beside the cgroup that "
            "the runtime makes for the container, wherever that is; /vc stands for it here");
    if (r == 0 && here && plan.layout != LAYOUT_NESTED)
        look_at_sandbox(o, &plan, a, &in, &plan.warnings);
    else if (r == 0 && unknown.code < 0)
        plan_warn(&plan.warnings, a,
                  arena_printf(a, "it is not known what layout the sandbox has: %s", unknown.text));
    if (r == 0 && here && stage_action(stage) != ACTION_TEARDOWN)
        look_around(o, a, &plan);
    if (r == 0)
        r = plan_fill(&in, a, &plan, e);
    if (r == 0 && o->explain)
        explain_plan(&in, &plan, a, &why);
    if (r == 0)
        plan_print(&plan, o->explain ? &why : NULL, o->json);
    return r;
}
