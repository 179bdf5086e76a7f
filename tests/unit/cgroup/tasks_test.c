/* SPDX-License-Identifier: Apache-2.0 */

/* Processes and threads that are put into cgroups, listed, moved and killed. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(tasks, .init = kit_start, .fini = kit_finish, .timeout = 120);

/* --- tasks --- */

Test(tasks, add_process)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    pid_t tids[KIT_THREADS], pid, gone;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    pid = kit_start_threads(tids);
    cr_expect_eq(cg_holds(&c, pid), 0, "not yet");
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    for (int i = 0; i < 2; i++) {
        kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
        kit_expect_where(&kit_host, pid, c.path, "process");
        for (int k = 0; k < KIT_THREADS; k++) {
            kit_expect_where(&kit_host, tids[k], c.path, "its threads go along");
            cr_expect_eq(cg_holds(&c, tids[k]), 1);
        }
        cr_expect_eq(cg_holds(&c, pid), 1);
    }
    cr_expect_eq(cg_is_empty(&c, NULL), 0);
    gone = kit_start_child();
    kit_end_child(gone);
    cr_expect_eq(cg_add_process(&c, kit_who(gone), &e), -ESRCH);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "process or thread %d has ended", gone)),
              "\"%s\"", e.text);
    cr_expect_eq(cg_holds(&c, gone), -ESRCH);
    kit_end_child(pid);
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    kit_delete_ok(&c);
}

/* A list that cannot be read is not an empty one; nor is one of cgroups below. */
Test(tasks, unknown)
{
    const struct cg_hierarchy *h;
    struct err e = ERR_INIT, below = ERR_INIT;
    struct cg_controller c;
    struct cg_pids pids;
    int empty, listed;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    h = &kit_host.hierarchies[0];
    kit_make_cgroup(h, kit_sub("a/b"));
    kit_blind();
    empty = cg_is_empty(&c, &e);
    listed = cg_processes(&c, &kit_arena, &pids, &below);
    kit_see();
    cr_expect_eq(empty, -EMFILE, "got %d", empty);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s%s/cgroup.procs", h->mount_point, c.path)),
              "\"%s\"", e.text);
    cr_expect_eq(listed, -EMFILE, "got %d", listed);
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    cr_expect_eq(cg_processes(&c, &kit_arena, &pids, &below), 0);
    kit_remove_cgroup(h, kit_sub("a/b"));
    kit_delete_ok(&c);
    cr_expect_eq(cg_is_empty(&c, NULL), 1, "nobody is in what is not there");
}

/* The caller is written to where it is already. */
Test(tasks, keep_warm)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    pid_t self = getpid();
    struct cg_origin origin;
    autofd own = FD_NONE;
    char link[64], opened[PATH_MAX] = "";

    kit_need_v1();
    kit_expect_ok(cg_origin_read(&kit_host, self, &kit_arena, &origin, &e), &e, "origin");
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    kit_expect_ok(cg_add_process(&c, kit_who(self), &e), &e, "add");
    own = cg_open_own(&kit_host);
    cr_assert_geq(own, 0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", own);
    cr_assert_gt(readlink(link, opened, sizeof opened - 1), 0);
    cr_expect_str_eq(opened, arena_printf(&kit_arena, "%s%s/cgroup.procs",
                                          kit_host.hierarchies[0].mount_point, c.path));
    for (int i = 0; i < 2; i++)
        cg_keep_warm(own);
    kit_expect_where(&kit_host, self, c.path, "keeping moves fast moves nothing");
    /* whatever that cgroup is: it is the writer that is moved, and nobody else */
    kit_expect_ok(cg_origin_enter(&kit_host, kit_who(self), &origin, &e), &e, "back");
    cg_keep_warm(own);
    cr_expect_str_eq(kit_where(&kit_host.hierarchies[0], self),
                     kit_seen_as(&kit_host.hierarchies[0], c.path));
    kit_expect_ok(cg_origin_enter(&kit_host, kit_who(self), &origin, &e), &e, "back");
    cg_keep_warm(FD_NONE);
    kit_delete_ok(&c);
}

/* Where it cannot be told there is nothing to keep warm. */
Test(tasks, open_own_of_nothing)
{
    const struct cg_host nothing = {.count = 0};

    cr_expect_eq(cg_open_own(&nothing), FD_NONE);
    kit_need_v2();
    cr_expect_eq(cg_open_own(&kit_v2_host), FD_NONE, "we are outside of the mounted part");
}

/* Not a parent, not a child, not a neighbour whose name begins alike. */
Test(tasks, holds_exactly)
{
    static const char *const others[] = {"a", "a/b/c", "a/bb", "a/b-"};
    struct cg_controller c, other;
    struct err e = ERR_INIT;
    pid_t pid;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a/b"), NULL, &kit_no_limits);
    pid = kit_start_child();
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        other = kit_create(&kit_host, NULL, kit_sub(others[i]), NULL, &kit_no_limits);
        kit_expect_ok(cg_add_process(&other, kit_who(pid), &e), &e, "add");
        cr_expect_eq(cg_holds(&c, pid), 0, "%s is not %s", other.path, c.path);
        cr_expect_eq(cg_holds(&other, pid), 1);
        cg_close(&other);
    }
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    cr_expect_eq(cg_holds(&c, pid), 1);
    /* in every hierarchy but one */
    for (size_t i = 0; i < kit_host.count; i++) {
        const struct cg_hierarchy *h = &kit_host.hierarchies[i];

        cr_assert_eq(kit_write_pid(h, "/", "cgroup.procs", pid), 0);
        /* a cgroup2 mount beside v1 places whole processes: no matter here */
        cr_expect_eq(cg_holds(&c, pid), h->v2 ? 1 : 0, "elsewhere in %s", h->name);
        cr_assert_eq(kit_write_pid(h, c.path, "cgroup.procs", pid), 0);
    }
    cr_expect_eq(cg_holds(&c, pid), 1);
    kit_end_child(pid);
    cg_close(&c);
}

/* A process may be in the one cgroup here and in the other one there, but nowhere else. */
Test(tasks, holds_process)
{
    struct cg_controller one, two;
    const struct cg_controller *both[] = {&one, &two};
    struct err e = ERR_INIT;
    pid_t pid;

    kit_need_v1();
    one = kit_create(&kit_host, NULL, kit_sub("one"), NULL, &kit_no_limits);
    two = kit_create(&kit_host, NULL, kit_sub("two"), NULL, &kit_no_limits);
    pid = kit_start_child();
    cr_expect_eq(cg_hold_process(both, 2, pid), 0, "not yet");
    kit_expect_ok(cg_add_process(&one, kit_who(pid), &e), &e, "add");
    cr_expect_eq(cg_hold_process(both, 1, pid), 1);
    for (size_t i = 0; i < kit_host.count; i++) {
        const struct cg_hierarchy *h = &kit_host.hierarchies[i];

        cr_assert_eq(kit_write_pid(h, two.path, "cgroup.procs", pid), 0);
        cr_expect_eq(cg_hold_process(both, 2, pid), 1, "in the other one in %s", h->name);
        cr_expect_eq(cg_hold_process(both, 1, pid), 0, "not in the first in %s", h->name);
        cr_assert_eq(kit_write_pid(h, "/", "cgroup.procs", pid), 0);
        cr_expect_eq(cg_hold_process(both, 2, pid), 0, "in neither in %s", h->name);
        cr_assert_eq(kit_write_pid(h, one.path, "cgroup.procs", pid), 0);
    }
    cr_expect_eq(cg_hold_process(both, 2, pid), 1);
    kit_end_child(pid);
    cr_expect_eq(cg_hold_process(both, 2, pid), -ESRCH);
    cg_close(&one);
    cg_close(&two);
}

Test(tasks, add_thread)
{
    struct cg_controller one, two;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[KIT_THREADS], pid;

    kit_need_v1();
    one = kit_create(&kit_host, NULL, kit_sub("one"), NULL, &kit_no_limits);
    two = kit_create(&kit_host, NULL, kit_sub("two"), NULL, &kit_no_limits);
    pid = kit_start_threads(tids);
    kit_expect_ok(cg_add_process(&two, kit_who(pid), &e), &e, "add");
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_add_thread(&one, kit_who(tids[1]), &e), &e, "add thread");
    for (size_t i = 0; i < kit_host.count; i++) {
        const struct cg_hierarchy *h = &kit_host.hierarchies[i];

        cr_expect_str_eq(kit_where(h, pid), two.path);
        cr_expect_str_eq(kit_where(h, tids[0]), two.path);
        cr_expect_str_eq(kit_where(h, tids[1]), h->v2 ? two.path : one.path);
    }
    cr_expect_eq(cg_holds(&one, tids[1]), 1);
    cr_expect_eq(cg_holds(&two, tids[1]), 0);
    cr_expect_eq(cg_holds(&one, tids[0]), 0);
    cr_expect_eq(cg_holds(&two, tids[0]), 1);
    cr_expect_eq(cg_holds(&two, pid), 1);

    /* both have the process, each has its threads */
    kit_expect_ok(cg_processes(&one, &kit_arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 1 && pids.items[0] == pid, "got %zu processes", pids.count);
    kit_expect_ok(cg_processes(&two, &kit_arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 1 && pids.items[0] == pid, "got %zu processes", pids.count);
    kit_expect_ok(cg_threads(&one, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && pids.items[0] == tids[1], "got %zu threads", pids.count);
    kit_expect_ok(cg_threads(&two, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == KIT_THREADS && kit_in_list(&pids, pid) && kit_in_list(&pids, tids[0]) &&
                  kit_in_list(&pids, tids[2]) && !kit_in_list(&pids, tids[1]),
              "got %zu threads", pids.count);
    cr_expect_eq(cg_is_empty(&one, NULL), 0);

    /* and back */
    kit_expect_ok(cg_add_thread(&two, kit_who(tids[1]), &e), &e, "back");
    cr_expect_eq(cg_holds(&two, tids[1]), 1);
    cr_expect_eq(cg_is_empty(&one, NULL), 1);
    kit_end_child(pid);
    cr_expect_eq(cg_add_thread(&one, kit_who(tids[1]), &e), -ESRCH);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "process or thread %d has ended", tids[1])),
              "\"%s\"", e.text);
    cr_expect_eq(cg_holds(&one, tids[1]), -ESRCH);
    kit_delete_ok(&one);
    kit_delete_ok(&two);
}

Test(tasks, processes)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    const struct cg_hierarchy *h;
    pid_t plain, inside, one_hierarchy, outside;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    kit_expect_ok(cg_processes(&c, &kit_arena, &pids, &e), &e, "none");
    cr_expect_eq(pids.count, 0);
    kit_expect_ok(cg_threads(&c, &kit_arena, &pids, &e), &e, "none");
    cr_expect_eq(pids.count, 0);
    plain = kit_start_child();
    inside = kit_start_child();
    one_hierarchy = kit_start_child();
    outside = kit_start_child();
    kit_expect_ok(cg_add_process(&c, kit_who(plain), &e), &e, "add");
    /* in the last hierarchy only; in a cgroup that a payload made, two levels down */
    cr_assert_eq(kit_write_pid(&kit_host.hierarchies[kit_host.count - 1], c.path, "cgroup.procs",
                               one_hierarchy),
                 0);
    h = cg_host_find(&kit_host, CG_CTL_CPUSET) == &kit_host.hierarchies[0]
            ? &kit_host.hierarchies[1]
            : &kit_host.hierarchies[0];
    kit_make_cgroup(h, kit_sub("a/.x"));
    kit_make_cgroup(h, kit_sub("a/.x/y"));
    cr_assert_eq(kit_write_pid(h, kit_sub("a/.x/y"), "cgroup.procs", inside), 0);
    kit_expect_ok(cg_processes(&c, &kit_arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 3 && kit_in_list(&pids, plain) && kit_in_list(&pids, inside) &&
                  kit_in_list(&pids, one_hierarchy) && !kit_in_list(&pids, outside),
              "expected three, got %zu", pids.count);
    for (size_t i = 1; i < pids.count; i++)
        cr_expect_lt(pids.items[i - 1], pids.items[i], "sorted");
    kit_end_child(plain);
    cr_expect_eq(cg_is_empty(&c, NULL), 0, "one is left in the last hierarchy");
    kit_end_child(one_hierarchy);
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    kit_end_child(inside);
    kit_delete_ok(&c);
    cr_expect_eq(kit_count_existing(&kit_host, kit_sub("a/.x")), 0);
}

/* A failure in one hierarchy leaves the process moved in the others; the origin puts it back. */
Test(tasks, origin_and_restore)
{
    const struct cg_hierarchy *cpuset = kit_need_v1_ctl(CG_CTL_CPUSET);
    struct cg_controller home = kit_create(&kit_host, NULL, kit_sub("home"), NULL, &kit_no_limits);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    struct cg_origin origin;
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child(), gone;
    int r;

    kit_expect_ok(cg_add_process(&home, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_origin_read(&kit_host, pid, &kit_arena, &origin, &e), &e, "origin");
    for (size_t i = 0; i < CG_MAX_HIERARCHIES; i++)
        cr_expect(i < kit_host.count ? origin.paths[i] && str_eq(origin.paths[i], home.path)
                                     : !origin.paths[i],
                  "hierarchy %zu: \"%s\"", i, origin.paths[i] ? origin.paths[i] : "(null)");
    cr_assert_eq(kit_write_value(cpuset, c.path, "cpuset.cpus", "\n"), 0);
    r = cg_add_process(&c, kit_who(pid), &e);
    cr_expect_eq(r, -ENOSPC, "an empty cpuset: expected %d, got %d", -ENOSPC, r);
    cr_expect(
        strstr(e.text, arena_printf(&kit_arena, "%s%s/cgroup.procs", cpuset->mount_point, c.path)),
        "\"%s\"", e.text);
    cr_expect_eq(cg_is_empty(&c, NULL), 0);
    for (int i = 0; i < 2; i++) {
        cg_origin_enter(&kit_host, kit_who(pid), &origin, NULL);
        kit_expect_where(&kit_host, pid, home.path, "restored");
    }
    cr_expect_eq(cg_is_empty(&c, NULL), 1);

    /* gone cgroups and unknown places are left alone */
    kit_expect_ok(cg_origin_read(&kit_host, getpid(), &kit_arena, &origin, NULL), &e, "own");
    kit_expect_ok(cg_origin_read(&kit_host, pid, &kit_arena, &origin, NULL), &e, "origin");
    origin.paths[0] = kit_sub("never");
    origin.paths[1] = NULL;
    cr_assert_eq(kit_write_pid(&kit_host.hierarchies[0], "/", "cgroup.procs", pid), 0);
    cr_assert_eq(kit_write_pid(&kit_host.hierarchies[1], "/", "cgroup.procs", pid), 0);
    cg_origin_enter(&kit_host, kit_who(pid), &origin, NULL);
    cr_expect_str_eq(kit_where(&kit_host.hierarchies[0], pid),
                     kit_seen_as(&kit_host.hierarchies[0], "/"));
    cr_expect_str_eq(kit_where(&kit_host.hierarchies[1], pid),
                     kit_seen_as(&kit_host.hierarchies[1], "/"));

    gone = kit_start_child();
    kit_end_child(gone);
    cg_origin_enter(&kit_host, kit_who(gone), &origin, NULL);
    err_reset(&e);
    cr_expect_eq(cg_origin_read(&kit_host, gone, &kit_arena, &origin, &e), -ESRCH);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%d", gone)), "\"%s\"", e.text);
    cr_expect_null(origin.paths[0]);
    kit_end_child(pid);
    cg_close(&c);
    cg_close(&home);
}

/* --- move and kill --- */

Test(tasks, move_to)
{
    struct cg_controller c, target;
    struct err e = ERR_INIT;
    const struct cg_hierarchy *h;
    const char *to = "untouched";
    unsigned moved = 99;
    pid_t pids[3], tids[KIT_THREADS];

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    target = kit_create(&kit_host, NULL, kit_sub("target"), NULL, &kit_no_limits);
    kit_expect_ok(cg_move_to(&c, target.path, &moved, &to, &kit_arena, &e), &e, "none");
    cr_expect(moved == 0 && str_eq(to, "untouched"), "nobody: got %u, \"%s\"", moved, to);

    pids[0] = kit_start_child();
    pids[1] = kit_start_child();
    pids[2] = kit_start_threads(tids);
    kit_expect_ok(cg_add_process(&c, kit_who(pids[0]), &e), &e, "add");
    kit_expect_ok(cg_add_process(&c, kit_who(pids[1]), &e), &e, "add");
    /* one thread makes its whole process move */
    kit_expect_ok(cg_add_thread(&c, kit_who(tids[0]), &e), &e, "add");
    /* and one is in a cgroup that it made itself */
    h = cg_host_find(&kit_host, CG_CTL_CPUSET) == &kit_host.hierarchies[0]
            ? &kit_host.hierarchies[1]
            : &kit_host.hierarchies[0];
    kit_make_cgroup(h, kit_sub("a/x"));
    cr_assert_eq(kit_write_pid(h, kit_sub("a/x"), "cgroup.procs", pids[1]), 0);
    kit_expect_ok(cg_move_to(&c, target.path, &moved, &to, &kit_arena, &e), &e, "move");
    cr_expect(moved == 3 && str_eq(to, target.path), "expected 3 to %s, got %u to %s", target.path,
              moved, to);
    kit_expect_where(&kit_host, pids[0], target.path, "moved");
    kit_expect_where(&kit_host, pids[1], target.path, "moved");
    for (size_t i = 0; i < kit_host.count; i++) {
        if (kit_host.hierarchies[i].v2) /* the threaded one was never in there */
            continue;
        for (int k = 0; k < KIT_THREADS; k++)
            cr_expect_str_eq(kit_where(&kit_host.hierarchies[i], tids[k]), target.path);
    }
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    kit_expect_ok(cg_move_to(&c, target.path, NULL, NULL, &kit_arena, &e), &e,
                  "again, no answers wanted");
    kit_delete_ok(&c);
    for (int i = 0; i < 3; i++)
        kit_end_child(pids[i]);
    kit_delete_ok(&target);
}

Test(tasks, move_to_climbs)
{
    const struct cg_hierarchy *cpuset = kit_need_v1_ctl(CG_CTL_CPUSET);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    struct err e = ERR_INIT;
    const char *to = NULL;
    unsigned moved = 0;
    pid_t pid = kit_start_child();

    /* a place that is not there: the nearest one that is */
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_move_to(&c, kit_sub("gone/deeper"), &moved, &to, &kit_arena, &e), &e, "move");
    cr_expect(moved == 1 && str_eq(to, kit_base), "expected 1 to %s, got %u to %s", kit_base, moved,
              to);
    kit_expect_where(&kit_host, pid, kit_base, "nearest ancestor");

    /* a cpuset without CPUs takes nobody; the other hierarchies need not climb */
    for (size_t i = 0; i < kit_host.count; i++)
        kit_make_cgroup(&kit_host.hierarchies[i], kit_sub("bare"));
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_move_to(&c, kit_sub("bare"), &moved, &to, &kit_arena, &e), &e, "move");
    cr_expect_str_eq(to, kit_base, "the highest of all hierarchies, not that of the last one");
    for (size_t i = 0; i < kit_host.count; i++) {
        const struct cg_hierarchy *h = &kit_host.hierarchies[i];

        cr_expect(str_eq(kit_where(h, pid), h == cpuset ? kit_base : kit_sub("bare")), "%s: %s",
                  h->name, kit_where(h, pid));
    }
    /* as far as the root */
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_move_to(&c, "/osc-unit-nowhere/x/y", &moved, &to, &kit_arena, &e), &e, "move");
    cr_expect_str_eq(to, "/");
    kit_expect_where(&kit_host, pid, "/", "root");
    kit_end_child(pid);
    kit_delete_ok(&c);
}

Test(tasks, kill)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    const struct cg_hierarchy *h;
    pid_t a, b, outside;
    int status;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    kit_expect_ok(cg_kill(&c, SIGKILL, &e), &e, "nobody");
    kit_expect_ok(cg_kill(&c, SIGTERM, &e), &e, "nobody");
    a = kit_start_child();
    b = kit_start_child();
    outside = kit_start_child();
    kit_expect_ok(cg_add_process(&c, kit_who(a), &e), &e, "add");
    kit_expect_ok(cg_kill(&c, SIGTERM, &e), &e, "SIGTERM");
    cr_assert_eq(waitpid(a, &status, 0), a);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "got %#x", (unsigned)status);

    a = kit_start_child();
    kit_expect_ok(cg_add_process(&c, kit_who(a), &e), &e, "add");
    h = cg_host_find(&kit_host, CG_CTL_CPUSET) == &kit_host.hierarchies[0]
            ? &kit_host.hierarchies[1]
            : &kit_host.hierarchies[0];
    kit_make_cgroup(h, kit_sub("a/x"));
    cr_assert_eq(kit_write_pid(h, kit_sub("a/x"), "cgroup.procs", b), 0);
    kill(a, SIGSTOP);
    kit_expect_ok(cg_kill(&c, 0, &e), &e, "signal 0");
    cr_expect_eq(cg_is_empty(&c, NULL), 0, "signal 0 kills nobody");
    kit_expect_ok(cg_kill(&c, SIGKILL, &e), &e, "SIGKILL");
    cr_expect_eq(cg_is_empty(&c, NULL), 1, "until none is left");
    cr_assert_eq(waitpid(a, &status, 0), a);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "got %#x", (unsigned)status);
    cr_assert_eq(waitpid(b, &status, 0), b);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "child cgroup: got %#x",
              (unsigned)status);
    cr_expect_eq(waitpid(outside, &status, WNOHANG), 0, "others live");
    kit_end_child(outside);
    kit_delete_ok(&c);
}

/* --- v2: leftovers --- */

/* Leftovers go up to the nearest place that takes processes. */
Test(tasks, v2_move_to_climbs)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t tids[KIT_THREADS], pid = kit_start_threads(tids), inside = kit_start_child();
    static const struct {
        const char *target, *want;
    } cases[] = {
        {"/", "/"},
        {"/plain", "/plain"},
        {"/gone/deeper", "/"},
        {"/plain/gone", "/plain"},
        /* a threaded domain takes processes, a child of it that is not threaded does not */
        {"/mixed/invalid", "/mixed"},
        {"/mixed/invalid/below", "/mixed"},
    };

    kit_make_cgroup(h, "/plain");
    kit_make_cgroup(h, "/mixed");
    kit_make_cgroup(h, "/mixed/threaded");
    cr_assert_eq(kit_write_value(h, "/mixed/threaded", "cgroup.type", "threaded"), 0);
    kit_make_cgroup(h, "/mixed/invalid");
    kit_make_cgroup(h, "/mixed/invalid/below");
    cr_assert_str_eq(kit_read_value(h, "/mixed/invalid", "cgroup.type"), "domain invalid");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *to = NULL;
        unsigned moved = 0;
        int r;

        kit_expect_ok(cg_add_process(&s.domain, kit_who(pid), &e), &e, "add");
        kit_expect_ok(cg_add_thread(&s.leaf, kit_who(tids[0]), &e), &e, "add");
        /* a payload's own cgroup inside a leaf */
        kit_make_cgroup(h, "/d/vcpu/x");
        cr_assert_eq(kit_write_value(h, "/d/vcpu/x", "cgroup.type", "threaded"), 0);
        cr_assert_eq(kit_write_pid(h, "/d/vcpu/x", "cgroup.procs", inside), 0);
        r = cg_move_to(&s.domain, cases[i].target, &moved, &to, &kit_arena, &e);
        cr_expect(r == 0 && moved == 2 && to && str_eq(to, cases[i].want),
                  "%s: expected 2 to %s; got %d, %u to %s, %s", cases[i].target, cases[i].want, r,
                  moved, to ? to : "nowhere", e.text);
        kit_expect_where(&kit_v2_host, pid, cases[i].want, cases[i].target);
        kit_expect_where(&kit_v2_host, tids[0], cases[i].want, cases[i].target);
        kit_expect_where(&kit_v2_host, inside, cases[i].want, cases[i].target);
        cr_expect_eq(cg_is_empty(&s.domain, NULL), 1);
    }
    kit_delete_ok(&s.leaf);
    kit_delete_ok(&s.domain);
    kit_end_child(pid);
    kit_end_child(inside);
}

Test(tasks, v2_origin)
{
    struct cg_origin origin;
    struct err e = ERR_INIT;
    pid_t pid;

    kit_need_v2();
    struct cg_controller home = kit_create(&kit_v2_host, NULL, "/home", NULL, &kit_no_limits);
    struct cg_controller c = kit_create(&kit_v2_host, NULL, "/a", NULL, &kit_no_limits);

    pid = kit_start_child();
    kit_expect_ok(cg_origin_read(&kit_v2_host, pid, &kit_arena, &origin, &e), &e, "outside");
    cr_expect_null(origin.paths[0], "outside of the mounted part");
    kit_expect_ok(cg_add_process(&home, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_origin_read(&kit_v2_host, pid, &kit_arena, &origin, &e), &e, "origin");
    cr_expect_str_eq(origin.paths[0], "/home");
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    cg_origin_enter(&kit_v2_host, kit_who(pid), &origin, NULL);
    kit_expect_where(&kit_v2_host, pid, "/home", "restored");
    kit_end_child(pid);
    kit_delete_ok(&home);
    kit_delete_ok(&c);
}
