/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

TestSuite(teardown, .init = kit_ignore_sigpipe, .timeout = 300);

#define POD(type)                                                                                  \
    "'io.kubernetes.cri.container-type':'" type "','io.kubernetes.cri.sandbox-id':'s1'"
#define PAUSE     POD("sandbox")
#define CONTAINER POD("container")

/* Each has limits that the other one does not have. */
#define S1                                                                                         \
    "{'linux':{'cgroupsPath':'/pod/s1','resources':{'cpu':{'shares':200,'cpus':'0'},"              \
    "'memory':{'limit':1048576},'pids':{'limit':5},'blockIO':{"                                    \
    "'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':4096}]}}}}"
#define C2                                                                                         \
    "{'linux':{'cgroupsPath':'/pod/c2','resources':{'cpu':{'shares':300,'quota':30000,"            \
    "'period':100000,'cpus':'2'},'memory':{'limit':2097152},'pids':{'limit':7},"                   \
    "'devices':[{'allow':true,'type':'b','major':8,'minor':0,'access':'rw'}]}}}"

#define SANDBOX_CGROUP "/pod/kata_s1"

static const struct {
    const char *name;
    enum cg_mode mode;
    const char *settings;
    const char *taken; /* where a process that stays gets */
} cases[] = {
    {"v1", CG_MODE_V1, "'overhead_limits':{'cpu':{'shares':100}}", "/pod"},
    {"hybrid", CG_MODE_HYBRID, "", "/pod"},
    {"v2", CG_MODE_V2, "'overhead_limits':{'cpu':{'quota':1000}}", "/"},
    {"v1 in one", CG_MODE_V1, "'sandbox_cgroup_only':true", "/pod"},
    {"v2 in one", CG_MODE_V2, "'sandbox_cgroup_only':true", "/"},
};

/* One ends, and its placeholder with it. */
static void end_container(struct kit_stage *f, const char *id, pid_t pid)
{
    const struct record_container *c;
    struct record r;

    cr_assert_eq(kit_record(f, "s1", &r), RECORD_VALID);
    c = record_find(&r, id);
    cr_assert(c && c->placeholder);
    kit_end_child(pid);
    kit_wait_status(record_process_id(c->placeholder).pid);
}

/* A pod that was begun with s1, before that: what is noted. */
static pid_t begin(struct kit_stage *f, size_t i)
{
    pid_t pid;

    kit_begin_stage(f, cases[i].mode);
    kit_set_settings(f, cases[i].settings);
    kit_tree_make("/pod/s1");
    kit_tree_make("/pod/c2");
    kit_note_tree(f);
    pid = kit_start_in("/pod/s1", "s1");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "s1", pid, PAUSE, S1);
    return pid;
}

/* ... and c2, without which it is as it is noted then. */
static void join(struct kit_stage *f, pid_t *ret_pid)
{
    struct record r;

    kit_note_tree(f);
    *ret_pid = kit_start_in("/pod/c2", "c2");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "c2", *ret_pid, CONTAINER, C2);
    cr_assert(kit_record(f, "s1", &r) == RECORD_VALID && r.containers.count == 2);
    cr_assert(strstr(kit_tree_text(&f->a), "=30000"), "%s", kit_tree_text(&f->a));
}

static void expect_gone(struct kit_stage *f, const char *changes, const char *what)
{
    kit_expect_changes(f, changes, what);
    cr_expect_str_eq(kit_state_names(f), "", "%s: left %s", what, kit_state_names(f));
}

/* As if it had never been there; a second time nothing is left to do. */
Test(teardown, leaves)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct record alone, both, after;
        pid_t pid;
        STAGE f;

        begin(&f, i);
        cr_assert_eq(kit_record(&f, "s1", &alone), RECORD_VALID);
        join(&f, &pid);
        kit_record(&f, "s1", &both);
        cr_expect_str_neq(kit_recorded(&f, &both.sandbox_files),
                          kit_recorded(&f, &alone.sandbox_files));
        kit_end_child(pid);
        for (int times = 0; times < 2; times++) {
            kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
            kit_expect_changes(&f, "", cases[i].name);
            cr_assert_eq(kit_record(&f, "s1", &after), RECORD_VALID);
            cr_expect(after.containers.count == 1 && record_find(&after, "s1"), "%s",
                      cases[i].name);
            cr_expect_str_eq(kit_recorded(&f, &after.sandbox_files),
                             kit_recorded(&f, &alone.sandbox_files));
            cr_expect_null(strstr(kit_state_names(&f), "containers/c2"), "%s", cases[i].name);
        }
    }
}

/* With the last one everything goes. */
Test(teardown, removes)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), second;
        const char *nothing = f.begin;

        join(&f, &second);
        f.begin = nothing;
        kit_end_child(second);
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        expect_gone(&f, "", cases[i].name);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
        expect_gone(&f, "", "a second one");
    }
}

static char *record_path(struct kit_stage *f)
{
    return arena_printf(&f->a, "%s/sandboxes/s1/" RECORD_FILE, f->state_dir);
}

/* Replace what is between two texts of the record, without them. */
static void edit(struct kit_stage *f, const char *from, const char *to, const char *with)
{
    autofree char *text = NULL;
    char *begin, *end;

    cr_assert_geq(io_read_all_at(AT_FDCWD, record_path(f), 1 << 20, &text), 0);
    begin = strstr(text, from);
    cr_assert(begin, "%s is not in %s", from, text);
    begin += strlen(from);
    end = strstr(begin, to);
    cr_assert(end, "%s is not in %s", to, text);
    kit_write_file(record_path(f),
                   arena_printf(&f->a, "%.*s%s%s", (int)(begin - text), text, with, end));
}

/* As if it had a PID namespace of its own, which would have ended what is in there with init. */
static void own_pids(struct kit_stage *f)
{
    edit(f, "\"mounts\":", "}", "null");
}

/* Processes that are no part of a container any more. */
Test(teardown, moves_leftovers)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), stray = kit_start_child();

        own_pids(&f);
        kit_tree_enter(stray, SANDBOX_CGROUP, "a stray");
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        expect_gone(&f, arena_printf(&f.a, "a stray in %s\n", cases[i].taken), cases[i].name);
        cr_expect(kit_is_running(stray), "%s", cases[i].name);
    }
}

/* Where the runtime's own cgroup is still there they get into that, under the same limits. */
Test(teardown, moves_leftovers_to_the_runtimes_cgroup)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), stray = kit_start_child(), other = kit_start_child();

        own_pids(&f);
        kit_tree_enter(stray, SANDBOX_CGROUP, "a stray");
        kit_tree_enter(other, "/pod/s1", "another");
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        cr_expect(strstr(kit_tree_text(&f.a), "a stray in /pod/s1\n"), "%s: %s", cases[i].name,
                  kit_tree_text(&f.a));
        cr_expect_str_eq(kit_state_names(&f), "", "%s", cases[i].name);
    }
}

/* The runtime has said that it is dead: it does not live on without the limits. */
Test(teardown, kills_init)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), second;
        struct record r;

        join(&f, &second);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
        cr_expect(kit_was_killed(kit_wait_status(second), SIGKILL), "%s", cases[i].name);
        cr_expect(kit_is_running(pid), "%s: another container's", cases[i].name);
        cr_expect(kit_record(&f, "s1", &r) == RECORD_VALID && r.containers.count == 1, "%s",
                  cases[i].name);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        cr_expect(kit_was_killed(kit_wait_status(pid), SIGKILL), "%s", cases[i].name);
        cr_expect_str_eq(kit_state_names(&f), "", "%s", cases[i].name);
    }
}

/* What is left of a container without a PID namespace of its own the runtime would have killed. */
Test(teardown, kills_what_the_runtime_would)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), stray = kit_start_child();
        struct record r;

        cr_assert(kit_record(&f, "s1", &r) == RECORD_VALID && record_find(&r, "s1")->mounts);
        kit_tree_enter(stray, SANDBOX_CGROUP, "a stray");
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        expect_gone(&f, "", cases[i].name);
        cr_expect(kit_was_killed(kit_wait_status(stray), SIGKILL), "%s", cases[i].name);
    }
}

Test(teardown, kills_leftovers)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), stray = kit_start_child();
        struct proc_id id;

        cr_assert_eq(proc_identify(stray, &id), 0);
        kit_set_settings(&f, "'leftovers':'kill'");
        kit_tree_enter(stray, SANDBOX_CGROUP, "a stray");
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        expect_gone(&f, "", cases[i].name);
        cr_assert_eq(proc_wait_gone(&id, 1000), 0, "%s: it lives", cases[i].name);
        cr_expect(kit_was_killed(kit_wait_status(stray), SIGKILL), "%s", cases[i].name);
    }
}

/* --- each step fails once: the limits stay those of both, and the record says so --- */

static unsigned count_steps(size_t i)
{
    pid_t pid;
    STAGE f;

    begin(&f, i);
    join(&f, &pid);
    kit_end_child(pid);
    kit_tree_fail(0, 0);
    kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
    return kit_tree_steps();
}

static void expect_kept(size_t i, unsigned n)
{
    const char *alone, *what;
    struct record r;
    pid_t pid;
    STAGE f;
    int failed;

    begin(&f, i);
    join(&f, &pid);
    what = arena_printf(&f.a, "%s, step %u", cases[i].name, n);
    alone = f.begin;
    end_container(&f, "c2", pid);
    kit_note_tree(&f);
    kit_tree_fail(n, EIO);
    failed = kit_run_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
    cr_expect_eq(failed, -EIO, "%s: %d %s", what, failed, f.e.text);
    kit_expect_changes(&f, "", what);
    cr_expect(kit_record(&f, "s1", &r) == RECORD_VALID && r.containers.count == 2, "%s", what);
    kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
    f.begin = alone;
    kit_expect_changes(&f, "", what);
}

Test(teardown, keeps_limits_when_it_fails)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned steps = count_steps(i);

        cr_expect_geq(steps, 5, "%s: %u steps", cases[i].name, steps);
        for (unsigned n = 1; n <= steps; n++)
            expect_kept(i, n);
    }
}

/* Also what another hook, such as a vendor's, has allowed since the first container came. */
Test(teardown, keeps_what_others_allow_when_it_fails)
{
    unsigned n = 0;
    int r = -EIO;

    while (r < 0 && n < 50) {
        const char *list;
        pid_t pid;
        STAGE f;

        begin(&f, 0);
        list = kit_tree_read("devices", SANDBOX_CGROUP, "devices.list");
        kit_tree_put("devices", SANDBOX_CGROUP, "devices.list",
                     arena_printf(&f.a, "%s\nc 195:0 rw", list));
        join(&f, &pid);
        end_container(&f, "c2", pid);
        kit_note_tree(&f);
        kit_tree_fail(++n, EIO);
        r = kit_run_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
        kit_tree_fail(0, 0);
        if (r < 0)
            kit_expect_changes(&f, "", arena_printf(&f.a, "step %u", n));
        list = kit_tree_read("devices", SANDBOX_CGROUP, "devices.list");
        cr_expect(strstr(list, "195:0 rw"), "step %u: %s", n, list);
    }
    cr_expect(n > 5 && n < 50, "%u steps", n);
}

/* --- records that are no help --- */

/* A sandbox whose container and watcher have ended. */
static void end_all(struct kit_stage *f, pid_t pid)
{
    struct proc_id watcher;
    struct record r;

    cr_assert_eq(kit_record(f, "s1", &r), RECORD_VALID);
    watcher = record_process_id(r.watcher);
    if (watcher.pid > 0) {
        proc_signal(&watcher, SIGKILL);
        kit_wait_status(watcher.pid);
    }
    end_container(f, "s1", pid);
}

/* What the plan names goes while it is empty. */
Test(teardown, without_record)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), stray = kit_start_child();
        const char *nothing = f.begin;

        end_all(&f, pid);
        kit_remove_tree(arena_printf(&f.a, "%s/sandboxes/s1", f.state_dir));
        kit_tree_enter(stray, SANDBOX_CGROUP, "a stray");
        kit_note_tree(&f);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        kit_expect_changes(&f, "", "without config.json nothing is known");
        kit_end_child(stray);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        f.begin = nothing;
        expect_gone(&f, "", cases[i].name);
    }
}

/* Also an overhead that an interrupted split has left; but nobody is moved out of it. */
Test(teardown, without_record_and_an_overhead)
{
    for (int busy = 0; busy <= 1; busy++) {
        STAGE f;
        pid_t pid = begin(&f, 0);

        end_all(&f, pid);
        kit_remove_tree(arena_printf(&f.a, "%s/sandboxes/s1", f.state_dir));
        kit_tree_make("/kata_overhead/s1");
        if (busy)
            kit_tree_enter(kit_start_child(), "/kata_overhead/s1", "a stray");
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        cr_expect_eq(str_eq(kit_tree_read("cpu,cpuacct", "/kata_overhead/s1", "tasks"), "(none)"),
                     !busy, "busy %d", busy);
        cr_expect_eq(strstr(kit_tree_text(&f.a), "a stray in /kata_overhead/s1\n") != NULL, busy);
    }
}

Test(teardown, without_record_but_in_use)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), stray = kit_start_child();

        end_all(&f, pid);
        kit_remove_tree(arena_printf(&f.a, "%s/sandboxes/s1", f.state_dir));
        kit_tree_enter(stray, SANDBOX_CGROUP, "a stray");
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        cr_expect(
            strstr(kit_tree_text(&f.a), arena_printf(&f.a, "a stray in %s\n", SANDBOX_CGROUP)),
            "%s", kit_tree_text(&f.a));
    }
}

/* Nothing that it describes can exist, but what is there is removed as without one. */
Test(teardown, of_another_boot)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i);

        end_all(&f, pid);
        edit(&f, "\"boot_id\":\"", "\"", "12345678-1234-1234-1234-123456789012");
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        expect_gone(&f, "", cases[i].name);
    }
}

/* Its pid is somebody else's by now, who is a leftover as others are. */
Test(teardown, of_a_pid_that_came_back)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i);

        own_pids(&f);
        edit(&f, "\"init\":{", "}", arena_printf(&f.a, "\"pid\":%d,\"start_time\":1", (int)pid));
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        cr_expect(kit_is_running(pid), "%s", cases[i].name);
        cr_expect_str_eq(kit_state_names(&f), "", "%s", cases[i].name);
    }
}

/* With layout nested it is where its runtime has put it, and is that runtime's affair. */
Test(teardown, leaves_init_nested)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, modes[i]);
        kit_set_settings(&f, "'layout':'nested'");
        kit_tree_make("/pod/s1");
        pid = kit_start_in("/pod/s1", "s1");
        kit_note_tree(&f);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "s1", pid, NULL, S1);
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, NULL, NULL);
        cr_expect(kit_is_running(pid));
        kit_expect_changes(&f, "", "it is where it was");
    }
}

/* It names no files: what its containers would have set goes when they do. */
Test(teardown, of_schema_1)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid = begin(&f, i), second;
        const char *nothing = f.begin;

        join(&f, &second);
        edit(&f, "\"sandbox_files\":{", "}", "");
        edit(&f, "\"schema\":", ",", "1");
        kit_end_child(second);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, NULL);
        kit_expect_changes(&f, "", cases[i].name);
        kit_end_child(pid);
        edit(&f, "\"schema\":", ",", "1");
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        f.begin = nothing;
        expect_gone(&f, "", cases[i].name);
    }
}

/* Nobody can say who the watcher is, which sees by itself that its record is gone. */
Test(teardown, of_a_damaged_record)
{
    static const char *const damaged[] = {"{", "{\"schema\":99}"};

    for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(damaged); i++) {
        const char *text = damaged[i % ARRAY_SIZE(damaged)];
        size_t k = i / ARRAY_SIZE(damaged);
        STAGE f;
        pid_t pid = begin(&f, k);
        const char *nothing = f.begin;
        struct record record;
        pid_t watcher;
        int r;

        cr_assert_eq(kit_record(&f, "s1", &record), RECORD_VALID);
        watcher = record_process_id(record.watcher).pid;
        end_container(&f, "s1", pid);
        kit_write_file(record_path(&f), text);
        kit_note_tree(&f);
        r = kit_run_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, NULL);
        cr_expect_lt(r, 0, "%s: %d %s", cases[k].name, r, f.e.text);
        kit_expect_changes(&f, "", "without config.json nothing is known");
        kit_expect_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, S1);
        f.begin = nothing;
        expect_gone(&f, "", cases[k].name);
        if (watcher > 0)
            kit_wait_status(watcher);
    }
}
