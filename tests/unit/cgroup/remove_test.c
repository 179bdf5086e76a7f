/* SPDX-License-Identifier: Apache-2.0 */

/* How cgroups are removed. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

TestSuite(remove, .init = kit_start, .fini = kit_finish, .timeout = 120);

Test(remove, again_and_never_made)
{
    struct cg_controller c;
    struct err e = ERR_INIT;

    kit_need_v1();
    cg_init(&c, &kit_host, NULL, kit_sub("a"), NULL);
    kit_expect_ok(cg_delete(&c, 0, &e), &e, "there was none");
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    kit_expect_ok(cg_delete(&c, 0, &e), &e, "delete");
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 0);
    cr_expect_eq(c.fds[0], FD_NONE);
    kit_expect_ok(cg_delete(&c, 0, &e), &e, "again");
    /* not loaded */
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    cg_close(&c);
    kit_expect_ok(cg_delete(&c, 0, &e), &e, "delete what was not loaded");
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 0);
}

Test(remove, goes_on_after_busy)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    const struct cg_hierarchy *h;
    pid_t pid;
    int r;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    h = &kit_host.hierarchies[0];
    pid = kit_start_child();
    cr_assert_eq(kit_write_pid(h, c.path, "cgroup.procs", pid), 0);
    r = cg_delete(&c, 30, &e);
    cr_expect_eq(r, -EBUSY, "expected %d, got %d", -EBUSY, r);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s%s: EBUSY", h->mount_point, c.path)),
              "\"%s\"", e.text);
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 1, "the others are gone");
    cr_expect_str_eq(kit_where(h, pid), c.path, "the process is left alone");
    kit_end_child(pid);
    kit_expect_ok(cg_load(&c, NULL), &e, "load");
    err_reset(&e);
    kit_expect_ok(cg_delete(&c, 10000, &e), &e, "delete");
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 0);
}

/* A killed process takes a while to leave its cgroup: nobody waits for it but cg_delete(). */
Test(remove, waits_for_the_ending)
{
    kit_need_v1();
    for (int i = 0; i < 5; i++) {
        struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
        struct kit_worker w = kit_start_worker();
        struct err e = ERR_INIT;

        kit_expect_ok(cg_add_process(&c, kit_who(w.pid), &e), &e, "add");
        cr_expect_eq(kit_ask(&w, 'm'), 0);
        kill(w.pid, SIGKILL);
        kit_expect_ok(cg_delete(&c, 30000, &e), &e, "delete");
        cr_expect_eq(kit_count_existing(&kit_host, c.path), 0);
        close(w.fd);
    }
}

Test(remove, removes_payload_children)
{
    static const char *const made[] = {"a/x", "a/x/y", "a/x/y/z", "a/.w"};
    struct cg_controller c;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    for (size_t i = 0; i < kit_host.count; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(made); k++)
            kit_make_cgroup(&kit_host.hierarchies[i], kit_sub(made[k]));
    }
    kit_delete_ok(&c);
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 0);
}

/* Somebody else removed it while we had it open: nobody is in there, nothing is left to do. */
static void check_removed_meanwhile(const struct cg_host *host, const char *path)
{
    struct cg_controller c = kit_create(host, NULL, path, NULL, &kit_no_limits);
    struct err e = ERR_INIT;
    struct cg_pids pids;
    struct cg_stat st;
    unsigned moved = 99;
    pid_t pid = kit_start_child();

    for (size_t i = 0; i < host->count; i++)
        cr_assert_eq(unlinkat(host->hierarchies[i].fd, path + 1, AT_REMOVEDIR), 0);
    kit_expect_ok(cg_processes(&c, &kit_arena, &pids, &e), &e, "processes");
    cr_expect_eq(pids.count, 0);
    kit_expect_ok(cg_threads(&c, &kit_arena, &pids, &e), &e, "threads");
    cr_expect_eq(pids.count, 0);
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    kit_expect_ok(cg_kill(&c, SIGKILL, &e), &e, "kill");
    kit_expect_ok(cg_move_to(&c, "/", &moved, NULL, &kit_arena, &e), &e, "move");
    cr_expect_eq(moved, 0);
    cg_stat(&c, &st);
    cr_expect_eq(cg_holds(&c, pid), 0);
    cr_expect_lt(cg_add_process(&c, kit_who(pid), NULL), 0, "nobody can be put there");
    kit_expect_ok(cg_delete(&c, 0, &e), &e, "delete");
    cr_expect_eq(cg_load(&c, NULL), -ENOENT);
    cg_undo_create(&c);
    kit_end_child(pid);
}

Test(remove, removed_meanwhile)
{
    kit_need_v1();
    check_removed_meanwhile(&kit_host, kit_sub("a"));
}

Test(remove, v2_removed_meanwhile)
{
    kit_need_v2();
    check_removed_meanwhile(&kit_v2_host, "/a");
}

/* Waiting is for tasks: without time to wait, empty children go all the same, and so do we. */
Test(remove, removes_payload_children_at_once)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    kit_make_cgroup(&kit_host.hierarchies[0], kit_sub("a/x"));
    r = cg_delete(&c, 0, &e);
    cr_expect(r == 0 && kit_count_existing(&kit_host, c.path) == 0,
              "timeout 0: expected 0 and nothing left; got %d, %u left, \"%s\"", r,
              kit_count_existing(&kit_host, c.path), e.text);
}
