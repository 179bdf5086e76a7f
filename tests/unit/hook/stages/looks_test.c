/* SPDX-License-Identifier: Apache-2.0 */

/* What stages, and prune, do where they cannot see whether somebody lives: nothing is destroyed, nothing is
 * left out, and the reason is told. */

#include "base/str.h"
#include "hook/sandbox/prune.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(looks, .init = kit_ignore_sigpipe, .timeout = 120);

#define POD(type)                                                                                  \
    "'io.kubernetes.cri.container-type':'" type "','io.kubernetes.cri.sandbox-id':'s1'"
#define PAUSE     POD("sandbox")
#define CONTAINER POD("container")
#define S1        "{'linux':{'cgroupsPath':'/pod/s1','resources':{'pids':{'limit':5}}}}"
#define C2        "{'linux':{'cgroupsPath':'/pod/c2','resources':{'pids':{'limit':7}}}}"

static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_V2};

/* A pod that s1 is in; c2 is not. What is noted has both processes. */
static void begin(struct kit_stage *f, enum cg_mode mode, pid_t *s1, pid_t *c2)
{
    kit_begin_stage(f, mode);
    kit_set_settings(f, "");
    kit_tree_make("/pod/s1");
    kit_tree_make("/pod/c2");
    *s1 = kit_start_in("/pod/s1", "s1");
    *c2 = kit_start_in("/pod/c2", "c2");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "s1", *s1, PAUSE, S1);
    kit_note_tree(f);
}

static const char *stat_of(struct kit_stage *f, pid_t pid)
{
    return arena_printf(&f->a, "/%d/stat", (int)pid);
}

/* It fails, says so, and changes nothing. */
static void expect_refused(struct kit_stage *f, int r, const char *words, const char *what)
{
    kit_tree_hide(NULL, 0);
    cr_expect_eq(r, -EMFILE, "%s: got %d", what, r);
    cr_expect(strstr(f->e.text, words) && strstr(f->e.text, "EMFILE"), "%s: expected \"%s\": %s",
              what, words, f->e.text);
    cr_expect_not(f->e.bad_input, "%s", what);
    kit_expect_changes(f, "", what);
}

static size_t members(struct kit_stage *f)
{
    struct record r;

    return kit_record(f, "s1", &r) == RECORD_VALID ? r.containers.count : 0;
}

/* Nobody knows whether s1 lives. */
Test(looks, setup_beside_one)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t s1, c2;
        STAGE f;
        int r;

        begin(&f, modes[i], &s1, &c2);
        kit_tree_hide(stat_of(&f, s1), EMFILE);
        r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "c2", c2, CONTAINER, C2);
        expect_refused(&f, r, "cannot tell which containers of sandbox s1 live", "c2 joins");
        cr_expect_eq(members(&f), 1);
    }
}

Test(looks, teardown_beside_one)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t s1, c2;
        STAGE f;
        int r;

        begin(&f, modes[i], &s1, &c2);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c2", c2, CONTAINER, C2);
        kit_end_child(c2);
        kit_note_tree(&f);
        kit_tree_hide(stat_of(&f, s1), EMFILE);
        r = kit_run_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, C2);
        expect_refused(&f, r, "cannot tell which containers of sandbox s1 live", "c2 leaves");
        cr_expect_eq(members(&f), 2, "nobody is forgotten");
        kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, C2);
        cr_expect_eq(members(&f), 1);
    }
}

/* A successor of the same id, and a container of another sandbox for the same cgroup. */
Test(looks, setup_in_its_place)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t s1, c2;
        STAGE f;
        int r;

        begin(&f, modes[i], &s1, &c2);
        kit_tree_hide(stat_of(&f, s1), EMFILE);
        r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "s1", c2, PAUSE, S1);
        expect_refused(&f, r, "cannot tell which containers", "the same id");
        kit_tree_hide(stat_of(&f, s1), EMFILE);
        r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "x", c2, NULL, S1);
        expect_refused(&f, r, "cannot tell whether sandbox s1", "the same cgroup");
        cr_expect_eq(members(&f), 1);
    }
}

Test(looks, prune)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct arena a = ARENA_INIT;
        struct cg_host host;
        pid_t s1, c2;
        STAGE f;

        begin(&f, modes[i], &s1, &c2);
        cr_assert_eq(cg_host_open(&a, &host, NULL), 0);
        f.e = (struct err)ERR_INIT;
        kit_tree_hide(stat_of(&f, s1), EMFILE);
        cr_expect_eq(prune_one(&f.state, &host, &f.settings, "s1", false, &f.e), PRUNE_FAILED);
        prune_some(&f.state, &host, &f.settings, "another");
        expect_refused(&f, f.e.code, "cannot tell whether its containers live", "prune");
        cr_expect_eq(members(&f), 1);
        cg_host_close(&host);
        arena_free(&a);
    }
}

/* Its own process is seen when it is asked for, and not when it has been moved. */
static void hide_when_moved(const char *path, const char *file, const char *text, void *arg)
{
    (void)text;
    if (str_eq(path, "/pod/kata_s1") && str_eq(file, "cgroup.procs"))
        kit_tree_hide(arg, EMFILE);
}

Test(looks, setup_of_one_that_may_have_ended)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        char name[32];
        pid_t s1;
        STAGE f;
        int r;

        kit_begin_stage(&f, modes[i]);
        kit_set_settings(&f, "");
        kit_tree_make("/pod/s1");
        s1 = kit_start_in("/pod/s1", "s1");
        kit_note_tree(&f);
        snprintf(name, sizeof name, "/%d/stat", (int)s1);
        kit_tree_watch(hide_when_moved, name);
        r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "s1", s1, PAUSE, S1);
        kit_tree_watch(NULL, NULL);
        expect_refused(&f, r, "cannot tell whether process", "s1");
        /* Nor whether its runtime's cgroup is to stay: who can see it finds the record. */
        cr_expect(strstr(f.e.text, "`prune` removes it later"), "%s", f.e.text);
        kit_end_child(s1);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        cr_expect_str_eq(kit_state_names(&f), "", "left %s", kit_state_names(&f));
    }
}

/* Nobody knows whether a cgroup holds processes. */
Test(looks, cgroup_of_nobody)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t s1;
        STAGE f;
        int r;

        kit_begin_stage(&f, modes[i]);
        kit_set_settings(&f, "");
        kit_tree_make("/pod/s1");
        kit_tree_make("/pod/kata_s1");
        s1 = kit_start_in("/pod/s1", "s1");
        kit_note_tree(&f);
        kit_tree_hide("cgroup.procs", EMFILE);
        r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "s1", s1, PAUSE, S1);
        expect_refused(&f, r, "/pod/kata_s1/cgroup.procs", "setup");
        kit_tree_hide("cgroup.procs", EMFILE);
        r = kit_run_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        expect_refused(&f, r, "/pod/kata_s1/cgroup.procs", "poststop");
    }
}

/* An error of reading is not a damaged record, which the plan stands in for. */
Test(looks, record)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t s1, c2;
        STAGE f;
        int r;

        begin(&f, modes[i], &s1, &c2);
        kit_end_child(s1);
        kit_tree_hide(RECORD_FILE, EMFILE);
        r = kit_run_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        kit_tree_hide(NULL, 0);
        cr_expect_eq(r, -EMFILE);
        cr_expect_eq(members(&f), 1, "it is not forgotten");
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        cr_expect_str_eq(kit_state_names(&f), "", "left %s", kit_state_names(&f));
    }
}
