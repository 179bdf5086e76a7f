/* SPDX-License-Identifier: Apache-2.0 */

/* Layout nested: setup touches nothing of a runtime's, and leaves the rest to the watcher. */

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/bus_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/stat.h>

TestSuite(nested_stages, .init = kit_ignore_sigpipe, .timeout = 120);

#define C1     "{'linux':{'cgroupsPath':'/p/c1','resources':{'cpu':{'quota':50000,'period':100000}}}}"
#define NESTED "'layout':'nested'"
#define ONLY   NESTED ",'sandbox_cgroup_only':true"

static const struct {
    const char *name;
    enum cg_mode mode;
    const char *settings, *process, *fence;
    bool watched;
} rows[] = {
    {"v1", CG_MODE_V1, NESTED, "/p/c1", "", true},
    {"hybrid", CG_MODE_HYBRID, NESTED, "/p/c1", "", true},
    {"v2", CG_MODE_V2, NESTED, "/p/c1", "/p/c1 ", true},
    /* crun's, in a scope of its own */
    {"v2, deeper", CG_MODE_V2, NESTED, "/p/c1/container", "/p/c1/container /p/c1 ", true},
    {"v1 in one", CG_MODE_V1, ONLY, "/p/c1", "", false},
    {"v2 in one", CG_MODE_V2, ONLY, "/p/c1", "", false},
    {"v2 in one, pinned", CG_MODE_V2, ONLY ",'enable_vcpus_pinning':true", "/p/c1", "", true},
};

static const char *fence_of(struct kit_stage *f, const struct record *r)
{
    const char *text = "";

    for (size_t i = 0; i < r->fence.count; i++) {
        const struct record_fence *file = &JSON_AT(r->fence, struct record_fence, i);

        cr_expect_null(file->cpu_max, "nobody has looked yet");
        text = arena_printf(&f->a, "%s%s ", text, file->path);
    }
    return text;
}

static void expect_recorded(struct kit_stage *f, size_t i)
{
    struct record r;

    cr_assert_eq(kit_record(f, "c1", &r), RECORD_VALID, "%s", rows[i].name);
    cr_expect(record_is_nested(&r), "%s", rows[i].name);
    cr_expect_str_eq(fence_of(f, &r), rows[i].fence, "%s", rows[i].name);
    cr_expect_eq(record_process_id(r.watcher).pid > 0, rows[i].watched, "%s", rows[i].name);
    cr_expect_null(r.placeholder);
    cr_expect_not(r.cpu_enabled.set);
    cr_expect(r.sandbox_files.count == 0, "%s: %s", rows[i].name,
              kit_recorded(f, &r.sandbox_files));
}

Test(nested_stages, touch_nothing)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, rows[i].mode);
        kit_set_settings(&f, rows[i].settings);
        pid = kit_start_in(rows[i].process, "c1");
        kit_note_tree(&f);
        kit_tree_fail(0, 0);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        expect_recorded(&f, i);
        kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
        kit_expect_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1);
        expect_recorded(&f, i);
        cr_expect_eq(kit_tree_steps(), 0, "%s", rows[i].name);
        kit_expect_changes(&f, "", rows[i].name);
        kit_tree_fail(0, 0);
        for (int times = 0; times < 2; times++) {
            kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
            cr_expect(times > 0 || kit_tree_looks() == 0, "%s: for nothing", rows[i].name);
            kit_expect_changes(&f, "", rows[i].name);
            cr_expect_str_eq(kit_state_names(&f), "", "%s: %s", rows[i].name, kit_state_names(&f));
        }
    }
}

static void rewrite(struct kit_stage *f, struct record *r)
{
    struct state_lock lock;

    cr_assert_eq(state_lock(&f->state, "c1", false, 0, &lock, NULL), 0);
    cr_assert_eq(record_write(&lock, &f->a, r, NULL), 0);
    state_unlock(&lock);
}

/* What a sandbox may have in hierarchies is looked for: after a split, and as long as a process of ours may be in
 * its runtime's cgroup. */
Test(nested_stages, look_for_what_is_left)
{
    for (int split = 0; split < 2; split++) {
        struct record r;
        pid_t pid;
        STAGE f;

        kit_begin_stage(&f, CG_MODE_V1);
        kit_set_settings(&f, ONLY);
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        if (split)
            r.cpu_enabled = (struct json_bool){true, false};
        else
            JSON_AT(r.containers, struct record_container, 0).placeholder =
                record_process_new(&f.a, &(struct proc_id){pid, 1});
        rewrite(&f, &r);
        kit_tree_fail(0, 0);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cr_expect_eq(kit_tree_looks(), 1, "split %d: %u", split, kit_tree_looks());
        cr_expect_str_eq(kit_state_names(&f), "");
    }
}

#define IN_A_SCOPE "{'linux':{'cgroupsPath':'p.slice:runc:c1'}}"

/* A scope that is removed while systemd takes it for stopped already is forgotten by systemd when poststop has said
 * so; one that is there is its own affair, and what was not split is ended in the usual way. */
Test(nested_stages, have_a_scope_forgotten)
{
    static const struct {
        enum cg_mode mode;
        bool split, gone, stays;
    } cases[] = {
        {CG_MODE_V2, true, true, false},    {CG_MODE_V2, true, false, true},
        {CG_MODE_V2, false, true, true},    {CG_MODE_V1, true, true, true},
        {CG_MODE_HYBRID, true, true, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct record r;
        pid_t pid;
        STAGE f;

        kit_begin_stage(&f, cases[i].mode);
        kit_bus_begin();
        kit_bus_start("runc-c1.scope", "p");
        kit_set_settings(&f, NESTED);
        pid = kit_start_in("/p/runc-c1.scope", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_A_SCOPE);
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        r.cpu_enabled = (struct json_bool){cases[i].split, false};
        rewrite(&f, &r);
        kit_end_child(pid);
        if (cases[i].gone)
            kit_bus_end("runc-c1.scope");
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cr_expect_eq(kit_bus_has("runc-c1.scope"), cases[i].stays, "case %zu", i);
        cr_expect_eq(kit_bus_calls(NULL) > 0, !cases[i].stays, "case %zu: asked for nothing", i);
        cr_expect_str_eq(kit_state_names(&f), "", "case %zu: %s", i, kit_state_names(&f));
    }
}

/* A watcher that has seen the end has left no record. */
Test(nested_stages, have_a_scope_forgotten_without_a_record)
{
    pid_t pid;
    STAGE f;

    kit_begin_stage(&f, CG_MODE_V2);
    kit_bus_begin();
    kit_bus_start("runc-c1.scope", "p.slice");
    kit_set_settings(&f, NESTED);
    pid = kit_start_in("/p.slice/runc-c1.scope", "c1");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_A_SCOPE);
    kit_end_child(pid);
    kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
    cr_assert(kit_bus_has("runc-c1.scope") && !*kit_state_names(&f), "%s", kit_state_names(&f));
    kit_bus_end("runc-c1.scope");
    kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, IN_A_SCOPE);
    cr_expect_not(kit_bus_has("runc-c1.scope"));
    cr_expect_str_eq(kit_state_names(&f), "");
}

/* Once there is a watcher there is no second one. */
Test(nested_stages, have_one_watcher)
{
    STAGE f;
    struct record first, second;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_V2);
    kit_set_settings(&f, NESTED);
    pid = kit_start_in("/p/c1", "c1");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
    kit_record(&f, "c1", &first);
    kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
    kit_record(&f, "c1", &second);
    cr_expect_eq(first.watcher->pid.value, second.watcher->pid.value);
    cr_expect_eq(second.containers.count, 1);
    kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
}

/* Without a record there is nothing that would have to be undone. */
Test(nested_stages, fail_without_a_record)
{
    STAGE f;
    const char *blocker;
    struct record r;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_V2);
    kit_set_settings(&f, NESTED);
    pid = kit_start_in("/p/c1", "c1");
    kit_note_tree(&f);
    blocker = arena_printf(&f.a, "%s/sandboxes/c1", f.state_dir);
    cr_assert_eq(mkdir(blocker, 0700), 0);
    blocker = arena_printf(&f.a, "%s/record.json.tmp", blocker);
    cr_assert_eq(mkdir(blocker, 0700), 0);
    cr_assert_eq(mkdir(arena_printf(&f.a, "%s/x", blocker), 0700), 0);
    cr_expect_lt(kit_run_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1), 0);
    cr_expect(strstr(f.e.text, "record.json"), "%s", f.e.text);
    cr_expect_eq(kit_record(&f, "c1", &r), RECORD_NONE);
    cr_expect_null(strstr(kit_state_names(&f), "containers/"), "%s", kit_state_names(&f));
    cr_expect_null(strstr(kit_state_names(&f), "paths/"), "%s", kit_state_names(&f));
    kit_expect_changes(&f, "", "failed");
    rmdir(arena_printf(&f.a, "%s/x", blocker));
    rmdir(blocker);
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
    kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
    cr_expect_str_eq(kit_state_names(&f), "");
}
