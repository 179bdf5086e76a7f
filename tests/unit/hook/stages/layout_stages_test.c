/* SPDX-License-Identifier: Apache-2.0 */

/* The layout of a container through its stages: auto decides once. */

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

#define C1   "{'linux':{'cgroupsPath':'/p/c1'}}"
#define ONLY "'sandbox_cgroup_only':true"
#define AUTO ONLY ",'layout':'auto'"

TestSuite(layout_stages, .init = kit_ignore_sigpipe, .timeout = 120);

static const char *layout_of(struct kit_stage *f)
{
    struct record record;

    return kit_record(f, "c1", &record) == RECORD_VALID ? record.layout : "none";
}

Test(layout_stages, auto_is_bound_by_the_record)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, modes[i]);
        kit_set_settings(&f, ONLY ",'layout':'sibling'");
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        kit_note_tree(&f);
        kit_set_settings(&f, AUTO);
        kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
        kit_expect_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1);
        kit_expect_changes(&f, "", cg_mode_name(modes[i]));
        cr_expect_str_eq(layout_of(&f), "sibling");
        /* who names a layout is told */
        kit_set_settings(&f, ONLY ",'layout':'nested'");
        cr_expect_eq(kit_run_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1), -EINVAL);
        cr_expect(strstr(f.e.text, "was made with layout sibling"), "%s", f.e.text);
    }
}

Test(layout_stages, auto_without_a_record)
{
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_HYBRID);
    kit_set_settings(&f, AUTO);
    pid = kit_start_in("/p/c1", "c1");
    kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
    cr_expect_str_eq(layout_of(&f), "nested");
    kit_expect_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1);
    kit_end_child(pid);
    kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, C1);
    cr_expect_str_eq(layout_of(&f), "none");
}

/* A predecessor of the same id that is dead has no say. */
Test(layout_stages, auto_after_a_dead_one)
{
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_HYBRID);
    kit_set_settings(&f, ONLY ",'layout':'sibling'");
    pid = kit_start_in("/p/c1", "c1");
    kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
    cr_expect_str_eq(layout_of(&f), "sibling");
    kit_end_child(pid);
    kit_set_settings(&f, AUTO);
    pid = kit_start_in("/p/c1", "c1");
    kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
    cr_expect_str_eq(layout_of(&f), "nested");
}

/* What cannot be read does not decide anything; but it keeps no teardown from what it can do. */
Test(layout_stages, auto_with_an_unreadable_record)
{
    STAGE f;
    pid_t pid;

    kit_need_sight();
    kit_begin_stage(&f, CG_MODE_HYBRID);
    kit_set_settings(&f, ONLY ",'layout':'sibling'");
    pid = kit_start_in("/p/c1", "c1");
    kit_note_tree(&f);
    kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
    kit_write_file(arena_printf(&f.a, "%s/sandboxes/c1/record.json", f.state_dir), "{");
    kit_set_settings(&f, AUTO);
    cr_expect_eq(kit_run_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1), -EPROTO);
    cr_expect(strstr(f.e.text, "record"), "%s", f.e.text);
    cr_expect_eq(kit_run_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, C1), 0, "%s", f.e.text);
}

Test(layout_stages, record_layout)
{
    enum layout_word got = LAYOUT_SAY_AUTO;
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_HYBRID);
    cr_expect_eq(record_layout("/nonexistent/dir", "c1", &f.a, &got, &f.e), 0);
    cr_expect(got == LAYOUT_UNSAID && f.e.code == 0);
    got = LAYOUT_SAY_AUTO;
    cr_expect_eq(record_layout(f.state_dir, "c1", &f.a, &got, &f.e), 0);
    cr_expect(got == LAYOUT_UNSAID && f.e.code == 0);
    cr_expect_eq(record_layout(f.state_dir, "../sandboxes", &f.a, &got, &f.e), -EINVAL);
    cr_expect(f.e.bad_input && strstr(f.e.text, "state.id"), "%s", f.e.text);
    /* by the sandbox of a pod that it is in */
    pid = kit_start_in("/p/c1", "c1");
    kit_expect_stage(&f, STAGE_PRESTART, "c1", pid,
                     "'io.kubernetes.cri.container-type':'container',"
                     "'io.kubernetes.cri.sandbox-id':'s1'",
                     C1);
    cr_expect_eq(record_layout(f.state_dir, "c1", &f.a, &got, &f.e), 0);
    cr_expect_eq(got, LAYOUT_SAY_SIBLING);
    /* whose id is not that of a container */
    cr_expect_eq(record_layout(f.state_dir, "s1", &f.a, &got, &f.e), 0);
    cr_expect_eq(got, LAYOUT_UNSAID);
    kit_end_child(pid);
    cr_expect_eq(record_layout(f.state_dir, "c1", &f.a, &got, &f.e), 0);
    cr_expect_eq(got, LAYOUT_UNSAID);
}
