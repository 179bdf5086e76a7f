/* SPDX-License-Identifier: Apache-2.0 */

/* What is not ours is not taken, changed or removed: names, cgroups, scopes. */

#include "base/cleanup.h"
#include "base/str.h"
#include "hook/sandbox/prune.h"
#include "tests/unit/kit/bus_kit.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(owners, .init = kit_ignore_sigpipe, .timeout = 120);

#define AT(path)   "{'linux':{'cgroupsPath':'" path "','resources':{'cpu':{'shares':512}}}}"
#define SCOPE      "crun-kata_c1.scope"
#define SCOPE_PATH "/a.slice/" SCOPE
#define IN_SCOPE   AT("a.slice:crun:c1")

static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

/* One that runs another program, so that nothing says that it is ours. */
static pid_t start_stranger(const char *path)
{
    pid_t pid = kit_fork();

    if (pid == 0) {
        execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(127);
    }
    kit_wait_for_name(pid, "sleep");
    kit_tree_enter(pid, path, "stranger");
    return pid;
}

static void expect_place(struct kit_stage *f, const char *name, const char *path)
{
    const char *line = arena_printf(&f->a, "%s in %s\n", name, path);

    cr_expect(strstr(kit_tree_text(&f->a), line), "expected %sgot\n%s", line, kit_tree_text(&f->a));
}

static void change_record(struct kit_stage *f, void (*change)(struct record *r))
{
    struct state_lock lock;
    struct record r;

    cr_assert_eq(kit_record(f, "c1", &r), RECORD_VALID);
    change(&r);
    cr_assert_eq(state_lock(&f->state, "c1", false, 1000, &lock, NULL), 0);
    cr_assert_eq(record_write(&lock, &f->a, &r, NULL), 0);
    state_unlock(&lock);
}

/* As a kill before anything was made leaves it. */
static void forget_made(struct record *r)
{
    r->made = (struct json_bool){0};
    r->sandbox_invocation = r->overhead_invocation = NULL;
}

/* --- names --- */

Test(owners, overhead_of_one_is_the_sandbox_of_another)
{
    STAGE f;
    pid_t pid, second;

    kit_begin_stage(&f, CG_MODE_V1);
    pid = kit_start_in("/p/kata_x", "one");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "kata_x", pid, NULL, AT("/p/kata_x"));
    kit_note_tree(&f);
    second = kit_start_in("/kata_overhead/x", "two");
    kit_note_tree(&f);
    cr_expect_eq(kit_run_stage(&f, STAGE_CREATE_RUNTIME, "x", second, NULL, AT("/kata_overhead/x")),
                 -EEXIST, "%s", f.e.text);
    cr_expect(strstr(f.e.text, "/kata_overhead/kata_x") && strstr(f.e.text, "sandbox kata_x"), "%s",
              f.e.text);
    kit_expect_changes(&f, "", "refused");
    cr_expect_null(strstr(kit_state_names(&f), "sandboxes/x"), "%s", kit_state_names(&f));
    /* Dead, it is no longer in the way, and all of its names are free again. */
    kit_end_child(pid);
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "x", second, NULL, AT("/kata_overhead/x"));
    kit_end_child(second);
    kit_expect_stage(&f, STAGE_POSTSTOP, "x", 0, NULL, NULL);
    cr_expect_null(strstr(kit_state_names(&f), "paths/"), "%s", kit_state_names(&f));
}

/* A scope's name is one for the whole host. */
Test(owners, scope_in_another_slice)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        STAGE f;
        pid_t pid, second;
        unsigned first;

        kit_begin_stage(&f, modes[i]);
        kit_bus_begin();
        pid = kit_start_in("/a.slice/crun-c1.scope", "one");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_SCOPE);
        expect_place(&f, "one", SCOPE_PATH);
        first = kit_bus_invocation(SCOPE);
        second = kit_start_in("/b.slice/crun-c1.scope", "two");
        kit_bus_fail(0, 0, "", false);
        cr_expect_eq(
            kit_run_stage(&f, STAGE_CREATE_RUNTIME, "c2", second, NULL, AT("b.slice:crun:c1")),
            -EEXIST, "%s", f.e.text);
        cr_expect(strstr(f.e.text, SCOPE) && strstr(f.e.text, "sandbox c1"), "%s", f.e.text);
        cr_expect_eq(kit_bus_calls(NULL), 0, "systemd is not asked");
        kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, NULL, AT("b.slice:crun:c1"));
        cr_expect_eq(kit_bus_invocation(SCOPE), first);
        expect_place(&f, "one", SCOPE_PATH);
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cr_expect(!kit_bus_has(SCOPE) && !kit_bus_has("kata-overhead-c1.scope"));
        cr_expect_str_eq(kit_state_names(&f), "");
    }
}

/* --- cgroups and scopes of strangers --- */

/* Refused at setup, and nothing remembers that it was asked for. */
Test(owners, strangers_scope)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        STAGE f;
        pid_t pid, other;

        kit_begin_stage(&f, modes[i]);
        kit_bus_begin();
        kit_bus_start(SCOPE, "c.slice");
        other = start_stranger("/c.slice/" SCOPE);
        pid = kit_start_in("/a.slice/crun-c1.scope", "one");
        cr_expect_eq(kit_run_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_SCOPE), -EEXIST,
                     "%s", f.e.text);
        cr_expect_str_eq(kit_state_names(&f), "", "%s", kit_state_names(&f));
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, IN_SCOPE);
        cr_expect(kit_bus_has(SCOPE) && kit_is_running(other));
        expect_place(&f, "stranger", "/c.slice/" SCOPE);
    }
}

/* The record was written, nothing was made, and somebody else has the name by now. */
Test(owners, killed_before_it_was_made)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(modes); i++) {
        bool scope = i % 2, pruned = i >= ARRAY_SIZE(modes);
        const char *path = scope ? SCOPE_PATH : "/p/kata_c1";
        const char *config = scope ? IN_SCOPE : AT("/p/c1");
        struct cg_host host;
        STAGE f;
        pid_t pid, other;

        kit_begin_stage(&f, modes[i / 2]);
        kit_bus_begin();
        pid = kit_start_in(scope ? "/a.slice/crun-c1.scope" : "/p/c1", "one");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, config);
        change_record(&f, forget_made);
        kit_end_child(pid);
        other = start_stranger(path);
        cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
        if (pruned)
            cr_expect_eq(prune_one(&f.state, &host, &f.settings, "c1", false, &f.e), PRUNE_DEAD,
                         "%s", f.e.text);
        else
            kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cg_host_close(&host);
        cr_expect(kit_is_running(other));
        expect_place(&f, "stranger", path);
        cr_expect(!scope || kit_bus_has(SCOPE));
        cr_expect_null(strstr(kit_state_names(&f), "sandboxes/c1"), "%s", kit_state_names(&f));
    }
}

/* ... but what the stage had put there by then, and what that has started, is removed. */
Test(owners, killed_when_it_was_made)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(modes); i++) {
        bool scope = i % 2;
        const char *path = scope ? SCOPE_PATH : "/p/kata_c1";
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, modes[i / 2]);
        kit_bus_begin();
        pid = start_stranger(scope ? "/a.slice/crun-c1.scope" : "/p/c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, scope ? IN_SCOPE : AT("/p/c1"));
        expect_place(&f, "stranger", path);
        change_record(&f, forget_made);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cr_expect(kit_was_killed(kit_wait_status(pid), SIGKILL));
        cr_expect_str_eq(kit_state_names(&f), "", "%s", kit_state_names(&f));
        cr_expect_not(kit_bus_has(SCOPE));
    }
}

/* Ours has ended, and the scope of that name is a later one. */
Test(owners, another_start_of_the_scope)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct record r;
        STAGE f;
        pid_t pid, other;
        unsigned later;

        kit_begin_stage(&f, modes[i]);
        kit_bus_begin();
        pid = kit_start_in("/a.slice/crun-c1.scope", "one");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_SCOPE);
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        cr_expect_str_eq(r.sandbox_invocation,
                         arena_printf(&f.a, "%032x", kit_bus_invocation(SCOPE)));
        kit_end_child(pid);
        kit_bus_collect(SCOPE);
        kit_bus_start(SCOPE, "a.slice");
        later = kit_bus_invocation(SCOPE);
        other = start_stranger(SCOPE_PATH);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cr_expect_eq(kit_bus_invocation(SCOPE), later, "it was stopped");
        cr_expect(kit_is_running(other));
        expect_place(&f, "stranger", SCOPE_PATH);
        cr_expect_str_eq(kit_state_names(&f), "", "%s", kit_state_names(&f));
    }
}

/* --- a systemd that does not do it --- */

/* What it did not stop is remembered, by whatever stage comes next. */
Test(owners, scope_that_stays)
{
    enum { BY_SETUP, BY_POSTSTOP, BY_PRUNE };

    for (size_t i = 0; i < 3 * ARRAY_SIZE(modes); i++) {
        struct cg_host host;
        STAGE f;
        pid_t pid;
        unsigned first;

        kit_begin_stage(&f, modes[i / 3]);
        kit_bus_begin();
        pid = kit_start_in("/a.slice/crun-c1.scope", "one");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_SCOPE);
        first = kit_bus_invocation(SCOPE);
        kit_end_child(pid);
        kit_bus_fail(1, 1000, "org.freedesktop.DBus.Error.LimitsExceeded", false);
        cr_expect_lt(kit_run_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL), 0);
        cr_expect_eq(kit_bus_invocation(SCOPE), first);
        cr_expect(strstr(kit_state_names(&f), "sandboxes/c1"), "%s", kit_state_names(&f));
        kit_bus_fail(0, 0, "", false);
        cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
        if (i % 3 == BY_SETUP) {
            pid = kit_start_in("/a.slice/crun-c1.scope", "two");
            kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, IN_SCOPE);
            cr_expect_gt(kit_bus_invocation(SCOPE), first);
            kit_end_child(pid);
        }
        if (i % 3 == BY_PRUNE)
            cr_expect_eq(prune_one(&f.state, &host, &f.settings, "c1", false, &f.e), PRUNE_DEAD,
                         "%s", f.e.text);
        else
            kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, NULL);
        cg_host_close(&host);
        cr_expect_not(kit_bus_has(SCOPE));
        cr_expect_str_eq(kit_state_names(&f), "", "%s", kit_state_names(&f));
    }
}

/* --- records that cannot be read --- */

#define POD(type)                                                                                  \
    "'io.kubernetes.cri.container-type':'" type "','io.kubernetes.cri.sandbox-id':'s1'"
#define PAUSE     POD("sandbox")
#define CONTAINER POD("container")

/* Another container of the sandbox lives, which nothing says any more. */
static pid_t begin_pod(struct kit_stage *f, size_t i)
{
    pid_t pause, pid;

    kit_begin_stage(f, modes[i % ARRAY_SIZE(modes)]);
    pause = kit_start_in("/pod/s1", "pause");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "s1", pause, PAUSE, AT("/pod/s1"));
    pid = start_stranger("/pod/c2");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, AT("/pod/c2"));
    kit_end_child(pause);
    expect_place(f, "stranger", "/pod/kata_s1");
    return pid;
}

static char *record_file(struct kit_stage *f)
{
    return arena_printf(&f->a, "%s/sandboxes/s1/" RECORD_FILE, f->state_dir);
}

static enum prune_result prune(struct kit_stage *f, bool dry_run)
{
    struct cg_host host;
    enum prune_result result;

    f->e = (struct err)ERR_INIT;
    cr_assert_eq(cg_host_open(&f->a, &host, NULL), 0);
    result = prune_one(&f->state, &host, &f->settings, "s1", dry_run, &f->e);
    cg_host_close(&host);
    return result;
}

Test(owners, damaged_record_of_the_living)
{
    static const char *const damaged[] = {"{", "{\"schema\":99}"};

    for (size_t i = 0; i < ARRAY_SIZE(damaged) * ARRAY_SIZE(modes); i++) {
        STAGE f;
        pid_t pid = begin_pod(&f, i);
        int r;

        kit_write_file(record_file(&f), damaged[i / ARRAY_SIZE(modes)]);
        kit_note_tree(&f);
        r = kit_run_stage(&f, STAGE_POSTSTOP, "s1", 0, PAUSE, AT("/pod/s1"));
        cr_expect(r < 0 && strstr(f.e.text, "record.json") &&
                      strstr(f.e.text, "processes are in /pod/kata_s1, so nothing is removed"),
                  "%d %s", r, f.e.text);
        cr_expect_eq(prune(&f, false), PRUNE_FAILED);
        cr_expect(strstr(f.e.text, "record.json") &&
                      strstr(f.e.text, "processes are in /pod/kata_s1, so nothing is removed"),
                  "%s", f.e.text);
        kit_expect_changes(&f, "", "it lives");
        cr_expect(kit_is_running(pid));
        /* Its end is seen without the record. */
        kit_end_child(pid);
        cr_expect_eq(prune(&f, true), PRUNE_DEAD);
        cr_expect(strstr(kit_state_names(&f), "sandboxes/s1"));
        cr_expect_eq(prune(&f, false), PRUNE_DEAD, "%s", f.e.text);
        cr_expect_null(strstr(kit_tree_text(&f.a), "kata_s1"), "%s", kit_tree_text(&f.a));
        cr_expect_null(strstr(kit_state_names(&f), "paths/"), "%s", kit_state_names(&f));
    }
}

/* ... nor where config.json leaves the place to the runtime: what would be planned now is another. */
Test(owners, damaged_record_of_a_place_by_the_runtime)
{
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_V2);
    pid = start_stranger("/service/c1");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, "{'linux':{}}");
    expect_place(&f, "stranger", "/service/kata_c1");
    kit_write_file(arena_printf(&f.a, "%s/sandboxes/c1/" RECORD_FILE, f.state_dir), "{");
    cr_expect_lt(kit_run_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, "{'linux':{}}"), 0);
    cr_expect(strstr(f.e.text, "not known"), "%s", f.e.text);
    cr_expect(strstr(kit_state_names(&f), "sandboxes/c1"));
    expect_place(&f, "stranger", "/service/kata_c1");
}

/* With layout nested nothing else says where its members are. */
Test(owners, damaged_record_nested)
{
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_V2);
    kit_set_settings(&f, "'layout':'nested'");
    pid = start_stranger("/pod/s1");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "s1", pid, NULL, AT("/pod/s1"));
    kit_write_file(record_file(&f), "{");
    cr_expect_eq(prune(&f, false), PRUNE_FAILED);
    cr_expect(strstr(f.e.text, "not known"), "%s", f.e.text);
    cr_expect(strstr(kit_state_names(&f), "sandboxes/s1"));
}

/* An error of reading says nothing of what is in there. */
Test(owners, record_that_cannot_be_read)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        STAGE f;
        pid_t pid = begin_pod(&f, i);

        kit_end_child(pid);
        cr_assert_eq(unlink(record_file(&f)), 0);
        cr_assert_eq(mkdir(record_file(&f), 0700), 0);
        kit_note_tree(&f);
        cr_expect_eq(kit_run_stage(&f, STAGE_POSTSTOP, "c2", 0, CONTAINER, AT("/pod/c2")), -EISDIR,
                     "%s", f.e.text);
        cr_expect_eq(prune(&f, false), PRUNE_FAILED);
        cr_expect(strstr(f.e.text, "EISDIR"), "%s", f.e.text);
        kit_expect_changes(&f, "", "not known");
        cr_expect(strstr(kit_state_names(&f), "sandboxes/s1"));
    }
}

/* Whoever holds the lock is at work on it, or was stopped: prune says that it has not looked. */
Test(owners, locked_by_another)
{
    struct state_lock lock;
    STAGE f;
    pid_t pid = begin_pod(&f, 0);

    kit_end_child(pid);
    cr_assert_eq(state_lock(&f.state, "s1", false, 0, &lock, NULL), 0);
    for (int dry = 0; dry <= 1; dry++) {
        cr_expect_eq(prune(&f, dry), PRUNE_BUSY);
        cr_expect(strstr(f.e.text, "cannot lock sandbox s1"), "%s", f.e.text);
    }
    state_unlock(&lock);
    cr_expect_eq(prune(&f, false), PRUNE_DEAD, "%s", f.e.text);
}
