/* SPDX-License-Identifier: Apache-2.0 */

/* What a runtime does to its own cgroup, and what the watcher makes of it. On trees of a test's own. */

#include "hook/watch/orders.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(orders, .init = kit_ignore_sigpipe, .timeout = 300);

#define CONFIG "{'linux':{'cgroupsPath':'/p/c1'}}"
#define POD(type)                                                                                  \
    "'io.kubernetes.cri.container-type':'" type "','io.kubernetes.cri.sandbox-id':'c1'"

static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

/* Whether a child of ours has ended; it is waited for. */
static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void wait_ended(pid_t pid, const char *what)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    while (!has_ended(pid)) {
        cr_assert_lt(io_now_us(), deadline, "%s lives", what);
        io_sleep_ms(5);
    }
}

static void wait_gone(struct proc_id id, const char *what)
{
    cr_assert_eq(proc_wait_gone(&id, KIT_PATIENCE_MS), 0, "%s lives", what);
}

static struct proc_id placeholder_of(struct kit_stage *f, const char *sandbox, const char *id)
{
    struct record r;

    cr_assert_eq(kit_record(f, sandbox, &r), RECORD_VALID);
    return record_process_id(record_find(&r, id)->placeholder);
}

/* The watcher has to have seen it alive: it has, when it has told of the sandbox. */
static void wait_watched(struct kit_stage *f, const char *sandbox)
{
    const char *report =
        arena_printf(&f->a, "%s/sandboxes/%s/placement.json", f->state_dir, sandbox);
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    while (access(report, F_OK) < 0) {
        cr_assert_lt(io_now_us(), deadline, "nobody looks");
        io_sleep_ms(5);
    }
}

/* c1 with its init, and another process of its in the sandbox. */
static pid_t begin(struct kit_stage *f, enum cg_mode mode, pid_t *ret_other)
{
    pid_t init;

    kit_begin_stage(f, mode);
    init = kit_start_in("/p/c1", "c1");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "c1", init, NULL, CONFIG);
    *ret_other = kit_start_in("/p/kata_c1", "other");
    wait_watched(f, "c1");
    return init;
}

Test(orders, a_killed_placeholder_kills_all)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct proc_id placeholder;
        pid_t init, other;
        STAGE f;

        init = begin(&f, modes[i], &other);
        placeholder = placeholder_of(&f, "c1", "c1");
        /* what a payload may handle is no order */
        cr_assert_eq(proc_signal(&placeholder, SIGHUP), 0);
        io_sleep_ms(100);
        cr_expect(proc_alive(&placeholder));
        cr_expect(!has_ended(init) && !has_ended(other));
        cr_assert_eq(proc_signal(&placeholder, SIGKILL), 0);
        wait_ended(init, "init");
        wait_ended(other, "the other one");
    }
}

/* The ordinary end of a container. */
Test(orders, a_killed_init_kills_nobody)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct proc_id placeholder;
        pid_t init, other;
        STAGE f;

        init = begin(&f, modes[i], &other);
        placeholder = placeholder_of(&f, "c1", "c1");
        kit_end_child(init);
        wait_gone(placeholder, "the placeholder");
        io_sleep_ms(200);
        cr_expect_not(has_ended(other));
    }
}

/* A stage ends placeholders, too: then the record is another one, or nobody's. */
Test(orders, the_record_tells)
{
    struct json_list none = {0};
    struct orders o = {0};
    struct record r;
    struct proc_id placeholder;
    pid_t init, other;
    STAGE f;

    init = begin(&f, CG_MODE_V1, &other);
    (void)init;
    cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
    kit_end_child(record_process_id(r.watcher).pid);
    orders_set(&o, &r);
    cr_expect_not(orders_kill_is_due(&o), "it lives");
    placeholder = placeholder_of(&f, "c1", "c1");
    cr_assert_eq(proc_signal(&placeholder, SIGKILL), 0);
    wait_gone(placeholder, "the placeholder");
    cr_expect(orders_kill_is_due(&o));
    orders_set(&o, &r);
    cr_expect(orders_kill_is_due(&o), "nothing has changed");
    r.containers = none;
    orders_set(&o, &r);
    cr_expect_not(orders_kill_is_due(&o), "the container was forgotten");
    orders_free(&o);
}

/* --- a pod --- */

/* A container's init in a mount namespace of its own, with a child that has left it. */
static pid_t start_container(const char *path, const char *name, pid_t *ret_child)
{
    int fds[2];
    pid_t pid;

    cr_assert_eq(pipe(fds), 0);
    pid = kit_fork();
    if (pid == 0) {
        pid_t child;

        if (unshare(CLONE_NEWNS) < 0)
            _exit(1);
        child = fork();
        if (child < 0)
            _exit(1);
        if (child == 0) {
            child = getpid();
            /* It has left when it is heard of. */
            if (unshare(CLONE_NEWNS) < 0 || write(fds[1], &child, sizeof child) != sizeof child)
                _exit(1);
        }
        for (;;)
            pause();
    }
    close(fds[1]);
    cr_assert_eq(io_read_full(fds[0], (char *)ret_child, sizeof *ret_child),
                 (ssize_t)sizeof *ret_child);
    close(fds[0]);
    kit_tree_enter(pid, path, name);
    return pid;
}

/* c1 and c2, each with a child in the sandbox. */
static void begin_pod(struct kit_stage *f, enum cg_mode mode, pid_t ret_pids[2],
                      pid_t ret_children[2])
{
    kit_begin_stage(f, mode);
    for (size_t k = 0; k < 2; k++) {
        const char *id = k ? "c2" : "c1";

        ret_pids[k] = start_container(arena_printf(&f->a, "/p/%s", id), id, &ret_children[k]);
        kit_expect_stage(f, STAGE_CREATE_RUNTIME, id, ret_pids[k],
                         k ? POD("container") : POD("sandbox"),
                         arena_printf(&f->a, "{'linux':{'cgroupsPath':'/p/%s'}}", id));
        kit_tree_enter(ret_children[k], "/p/kata_c1", "child");
    }
}

/* A child of ours in the mount namespace of another. */
static pid_t join_mounts(struct kit_stage *f, pid_t of)
{
    pid_t pid;
    int fd = open(arena_printf(&f->a, "/proc/%d/ns/mnt", (int)of), O_RDONLY | O_CLOEXEC), fds[2];
    char byte;

    cr_assert(fd >= 0 && pipe(fds) == 0);
    pid = kit_fork();
    if (pid == 0) {
        if (setns(fd, CLONE_NEWNS) < 0 || write(fds[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    cr_assert_eq(io_read_full(fds[0], &byte, 1), 1);
    close(fds[0]);
    close(fd);
    return pid;
}

Test(orders, of_a_pod_one_container_is_meant)
{
    if (geteuid() != 0)
        cr_skip_test("mount namespaces need root");
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct proc_id placeholder, child, other_child;
        pid_t pids[2], children[2], joined;
        STAGE f;

        begin_pod(&f, modes[i], pids, children);
        joined = kit_start_in("/p/kata_c1", "joined"); /* in nobody's namespace */
        cr_assert_eq(proc_identify(children[0], &other_child), 0);
        cr_assert_eq(proc_identify(children[1], &child), 0);
        wait_watched(&f, "c1");
        io_sleep_ms(300); /* and the second one, too */
        placeholder = placeholder_of(&f, "c1", "c2");
        cr_assert_eq(proc_signal(&placeholder, SIGKILL), 0);
        wait_ended(pids[1], "c2");
        wait_gone(child, "its child");
        cr_expect(!has_ended(pids[0]) && !has_ended(joined) && proc_alive(&other_child));
        cr_expect_eq(proc_signal(&other_child, SIGKILL), 0);
    }
}

/* Its runtime would have killed what is left of a container without a PID namespace of its own. */
Test(orders, of_a_pod_one_container_ends_whole)
{
    if (geteuid() != 0)
        cr_skip_test("mount namespaces need root");
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct proc_id child, other_child;
        pid_t pids[2], children[2], left, joined;
        STAGE f;

        begin_pod(&f, modes[i], pids, children);
        left = join_mounts(&f, pids[1]);
        kit_tree_enter(left, "/p/kata_c1", "left");
        joined = kit_start_in("/p/kata_c1", "joined"); /* in nobody's namespace */
        cr_assert_eq(proc_identify(children[0], &other_child), 0);
        cr_assert_eq(proc_identify(children[1], &child), 0);
        kit_end_child(pids[1]);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c2", 0, POD("container"), NULL);
        wait_ended(left, "what is left of c2");
        cr_expect(!has_ended(pids[0]) && !has_ended(joined) && proc_alive(&other_child));
        cr_expect(proc_alive(&child), "in a namespace of its own, and nobody's child: not known");
        kit_end_child(pids[0]);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, POD("sandbox"), NULL);
        wait_ended(joined, "with the last one everything goes");
        wait_gone(child, "of c2");
        wait_gone(other_child, "of c1");
    }
}

/* --- freeze --- */

static void wish(enum cg_mode mode, const char *path, bool frozen)
{
    if (mode == CG_MODE_V2)
        kit_tree_put("unified", path, "cgroup.freeze", frozen ? "1" : "0");
    else
        kit_tree_put("freezer", path, "freezer.self_freezing", frozen ? "1" : "0");
}

static bool is_frozen(enum cg_mode mode, const char *path)
{
    return mode == CG_MODE_V2 ? str_eq(kit_tree_read("unified", path, "cgroup.freeze"), "1")
                              : str_eq(kit_tree_read("freezer", path, "freezer.state"), "FROZEN");
}

static void wait_frozen(enum cg_mode mode, bool want)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    while (is_frozen(mode, "/p/kata_c1") != want) {
        cr_assert_lt(io_now_us(), deadline, "%s: frozen: %d", cg_mode_name(mode), !want);
        io_sleep_ms(5);
    }
}

Test(orders, a_frozen_container_is_a_frozen_sandbox)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t other;
        STAGE f;

        (void)begin(&f, modes[i], &other);
        cr_expect_not(is_frozen(modes[i], "/p/kata_c1"));
        wish(modes[i], "/p/c1", true);
        wait_frozen(modes[i], true);
        wish(modes[i], "/p/c1", false);
        wait_frozen(modes[i], false);
        /* An operator's own word is not undone. */
        if (modes[i] == CG_MODE_V2)
            kit_tree_put("unified", "/p/kata_c1", "cgroup.freeze", "1");
        else
            kit_tree_put("freezer", "/p/kata_c1", "freezer.state", "FROZEN");
        io_sleep_ms(200);
        cr_expect(is_frozen(modes[i], "/p/kata_c1"), "%s", cg_mode_name(modes[i]));
    }
}

/* What cannot be seen is no wish, and one of several containers is not all. */
Test(orders, all_containers_and_nothing_less)
{
    struct record_container list[2] = {{.id = (char[]){"c1"}, .runtime_path = (char[]){"/p/c1"}},
                                       {.id = (char[]){"c2"}, .runtime_path = (char[]){"/p/c2"}}};
    struct record r = {.sandbox_path = (char[]){"/p/kata_c1"},
                       .sandbox_cgroup_only = {true, true},
                       .containers = {list, 2}};
    struct arena a = ARENA_INIT;
    struct cg_host host;
    struct sandbox s;
    struct scan scan = {.sandbox = &s};
    struct orders o = {.host = &host};
    STAGE f;

    kit_begin_stage(&f, CG_MODE_V2);
    for (size_t i = 0; i < 2; i++) {
        struct proc_id id;

        cr_assert_eq(proc_identify(kit_start_in(list[i].runtime_path, list[i].id), &id), 0);
        list[i].init = record_process_new(&a, &id);
    }
    kit_tree_make("/p/kata_c1");
    cr_assert_eq(cg_host_open(&a, &host, &f.e), 0);
    sandbox_init(&s, &host, NULL, &r);
    cr_assert_eq(sandbox_load(&s, &f.e), 0, "%s", f.e.text);
    orders_set(&o, &r);
    wish(CG_MODE_V2, "/p/c1", true);
    cr_expect_eq(orders_freeze(&o, &scan, &f.e), 0);
    cr_expect_not(is_frozen(CG_MODE_V2, "/p/kata_c1"), "one of two");
    wish(CG_MODE_V2, "/p/c2", true);
    cr_expect_eq(orders_freeze(&o, &scan, &f.e), 0);
    cr_expect(is_frozen(CG_MODE_V2, "/p/kata_c1"), "both");
    /* One that has died does not count. */
    wish(CG_MODE_V2, "/p/c2", false);
    kit_end_child(record_process_id(list[1].init).pid);
    cr_expect_eq(orders_freeze(&o, &scan, &f.e), 0);
    cr_expect(is_frozen(CG_MODE_V2, "/p/kata_c1"), "the one that lives");
    wish(CG_MODE_V2, "/p/c1", false);
    cr_expect_eq(orders_freeze(&o, &scan, &f.e), 0);
    cr_expect_not(is_frozen(CG_MODE_V2, "/p/kata_c1"), "none");
    orders_free(&o);
    sandbox_close(&s);
    cg_host_close(&host);
    arena_free(&a);
}
