/* SPDX-License-Identifier: Apache-2.0 */

/* The threaded split of v2. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "cgroup/parents.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

TestSuite(v2_threaded, .init = kit_start, .fini = kit_finish, .timeout = 120);

Test(v2_threaded, split)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[KIT_THREADS], pid = kit_start_threads(tids), stranger = kit_start_child();
    char buf[32];
    int r;

    cr_expect_str_eq(kit_read_value(h, "/d", "cgroup.type"), "domain threaded");
    cr_expect_str_eq(kit_read_value(h, "/d/sandbox", "cgroup.type"), "threaded");
    cr_expect_str_eq(kit_read_value(h, "/d/overhead", "cgroup.type"), "threaded");
    cr_expect_str_eq(cg_type(&s.sandbox, buf), "threaded");
    cr_expect_str_eq(cg_type(&s.overhead, buf), "threaded");
    cr_expect_str_eq(cg_id(&s.sandbox, &kit_arena), "/d/sandbox");
    cr_expect_str_eq(cg_id(&s.overhead, &kit_arena), "/d/overhead");
    cr_expect_str_eq(cg_parent(&s.sandbox, &kit_arena), "/", "the domain is its own, too");
    cr_expect_str_eq(cg_parent(&s.overhead, &kit_arena), "/d");

    /* the process to the overhead, one thread to the sandbox */
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add process");
    cr_expect_str_eq(kit_where(h, tids[0]), kit_seen_as(h, "/d/overhead"));
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_add_thread(&s.sandbox, tids[1], &e), &e, "add thread");
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/d/overhead"));
    cr_expect_str_eq(kit_where(h, tids[0]), kit_seen_as(h, "/d/overhead"));
    cr_expect_str_eq(kit_where(h, tids[1]), kit_seen_as(h, "/d/sandbox"));
    cr_expect(cg_holds(&s.sandbox, tids[1]) == 1 && cg_holds(&s.overhead, tids[1]) == 0 &&
              cg_holds(&s.sandbox, pid) == 0 && cg_holds(&s.overhead, pid) == 1 &&
              cg_holds(&s.sandbox, stranger) == 0);
    kit_expect_ok(cg_threads(&s.sandbox, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    kit_expect_ok(cg_threads(&s.overhead, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == KIT_THREADS && !kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    kit_expect_ok(cg_processes(&s.sandbox, &kit_arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    kit_expect_ok(cg_processes(&s.overhead, &kit_arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    cr_expect(!cg_is_empty(&s.sandbox) && !cg_is_empty(&s.overhead));

    /* a thread of a process that lives in another domain cannot come alone */
    r = cg_add_thread(&s.sandbox, stranger, &e);
    cr_expect_eq(r, -EOPNOTSUPP, "expected %d, got %d", -EOPNOTSUPP, r);
    cr_expect(
        strstr(e.text, arena_printf(&kit_arena, "%s/d/sandbox/cgroup.threads", h->mount_point)),
        "\"%s\"", e.text);
    err_reset(&e);

    /* loaded by somebody else */
    struct cg_controller loaded;

    cg_init(&loaded, &kit_v2_host, NULL, "/d", "sandbox", true);
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_load(&loaded, &e), &e, "load");
    cr_expect(cg_holds(&loaded, tids[1]) == 1 && loaded.domain_fd >= 0);
    cg_close(&loaded);

    kit_expect_ok(cg_kill(&s.overhead, SIGKILL, &e), &e, "kill the domain");
    waitpid(pid, NULL, 0);
    cr_expect(cg_is_empty(&s.sandbox));
    kit_delete_ok(&s.overhead);
    cr_expect(!kit_exists(h, "/d/overhead") && kit_exists(h, "/d/sandbox"),
              "the domain is not its own");
    kit_delete_ok(&s.sandbox);
    cr_expect_not(kit_exists(h, "/d"));
    kit_delete_ok(&s.overhead);
    kit_delete_ok(&s.sandbox);
}

/* A child that somebody made meanwhile, as yet no threaded one. */
Test(v2_threaded, split_converts_existing)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s;

    kit_make_cgroup(h, "/d");
    kit_make_cgroup(h, "/d/sandbox");
    s = kit_create_split(NULL, "/d");
    cr_expect_str_eq(kit_read_value(h, "/d/sandbox", "cgroup.type"), "threaded");
    cr_expect(!s.sandbox.made && !s.sandbox.made_domain && s.overhead.made == 1 &&
              !s.overhead.made_domain);
    cg_undo_create(&s.sandbox);
    cr_expect(kit_exists(h, "/d/sandbox"), "not made by us");
    cg_undo_create(&s.overhead);
    cr_expect_not(kit_exists(h, "/d/overhead"));
    cr_expect(kit_exists(h, "/d"));
}

Test(v2_threaded, split_undo)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    struct kit_split s = kit_create_split(&p, "/p/d");

    cr_expect(s.sandbox.made == 1 && s.sandbox.made_domain && s.overhead.made == 1 &&
                  !s.overhead.made_domain,
              "made: sandbox %#x, domain %d; overhead %#x, domain %d", s.sandbox.made,
              s.sandbox.made_domain, s.overhead.made, s.overhead.made_domain);
    cr_expect_eq(kit_count_markers(), 1);
    cg_undo_create(&s.overhead);
    cr_expect(!kit_exists(h, "/p/d/overhead") && kit_exists(h, "/p/d/sandbox"));
    cg_undo_create(&s.sandbox);
    cr_expect(!kit_exists(h, "/p") && kit_count_markers() == 0, "with the parent and its marker");
    cg_undo_create(&s.sandbox);
    cg_undo_create(&s.overhead);

    /* the owner first: the domain is busy with the other leaf and stays */
    s = kit_create_split(&p, "/p/d");
    cg_undo_create(&s.sandbox);
    cr_expect(!kit_exists(h, "/p/d/sandbox") && kit_exists(h, "/p/d/overhead"));
    cg_undo_create(&s.overhead);
    cr_expect(!kit_exists(h, "/p/d/overhead"));
    unlinkat(h->fd, "p/d", AT_REMOVEDIR);
    kit_close_markers(&p);
}

Test(v2_threaded, split_delete_order)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child();
    int r;

    /* the owner takes the domain along, but not somebody who lives there */
    kit_expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
    r = cg_delete(&s.sandbox, 30, &e);
    cr_expect_eq(r, -EBUSY, "expected %d, got %d", -EBUSY, r);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s/d: EBUSY", h->mount_point)), "\"%s\"",
              e.text);
    err_reset(&e);
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/d/overhead"));
    cr_expect_not(kit_exists(h, "/d/sandbox"), "the leaf was empty");
    kit_end_child(pid);
    kit_expect_ok(cg_load(&s.sandbox, &e), &e, "the domain is there, its leaf is not");
    kit_expect_ok(cg_delete(&s.sandbox, 10000, &e), &e, "delete");
    cr_expect_not(kit_exists(h, "/d"), "with the empty other leaf");
    kit_expect_ok(cg_delete(&s.overhead, 0, &e), &e, "there is nothing left");

    s = kit_create_split(NULL, "/d");
    r = cg_delete(&s.sandbox, 0, &e);
    cr_expect(r == 0 && !kit_exists(h, "/d"),
              "timeout 0, the other leaf is empty: expected 0 and nothing left; got %d \"%s\"", r,
              e.text);
    cg_close(&s.overhead);
}

Test(v2_threaded, split_load)
{
    struct cg_controller c;
    struct err e = ERR_INIT;

    const struct cg_hierarchy *h = kit_need_v2();
    cg_init(&c, &kit_v2_host, NULL, "/d", "overhead", false);
    cr_expect_eq(cg_load(&c, &e), -ENOENT);
    cr_expect(strstr(e.text, "/d/overhead does not exist"), "\"%s\"", e.text);
    err_reset(&e);
    kit_make_cgroup(h, "/d");
    cr_expect_eq(cg_load(&c, &e), -ENOENT, "the domain alone is not ours");
    cg_close(&c);
    cg_init(&c, &kit_v2_host, NULL, "/d", "sandbox", true);
    err_reset(&e);
    kit_expect_ok(cg_load(&c, &e), &e, "the domain alone is the owner's");
    cr_expect(c.domain_fd >= 0 && c.fds[0] == FD_NONE);
    kit_delete_ok(&c);
    cr_expect_not(kit_exists(h, "/d"));
}

Test(v2_threaded, split_stat)
{
    kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct kit_worker w = kit_start_worker();
    struct cg_stat sandbox, overhead;
    struct err e = ERR_INIT;

    kit_expect_ok(cg_add_process(&s.sandbox, w.pid, &e), &e, "add");
    cr_expect_eq(kit_ask(&w, 'c'), 0);
    cg_stat(&s.sandbox, &sandbox, &e);
    cg_stat(&s.overhead, &overhead, &e);
    cr_expect(sandbox.has & overhead.has & CG_CTL_BIT(CG_CTL_CPUACCT));
    cr_expect(sandbox.cpu_usage_us > 0 && overhead.cpu_usage_us == 0,
              "each leaf its own: got %" PRIu64 " and %" PRIu64, sandbox.cpu_usage_us,
              overhead.cpu_usage_us);
    kit_end_child(w.pid);
    kit_delete_ok(&s.sandbox);
}

/* --- v2: the threaded tree below a scope, which stays a plain domain --- */

Test(v2_threaded, deep)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_deep(NULL, "/d");
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[KIT_THREADS], pid = kit_start_threads(tids), stranger = kit_start_child();
    char buf[32];

    cr_expect_str_eq(kit_read_value(h, "/d", "cgroup.type"), "domain");
    cr_expect_str_eq(kit_read_value(h, "/d/threads", "cgroup.type"), "domain threaded");
    cr_expect_str_eq(kit_read_value(h, "/d/threads/sandbox", "cgroup.type"), "threaded");
    cr_expect_str_eq(kit_read_value(h, "/d/threads/overhead", "cgroup.type"), "threaded");
    cr_expect(s.sandbox.made == 1 && s.sandbox.made_domain && s.overhead.made == 1 &&
                  !s.overhead.made_domain,
              "made: sandbox %#x, domain %d; overhead %#x, domain %d", s.sandbox.made,
              s.sandbox.made_domain, s.overhead.made, s.overhead.made_domain);
    cr_expect_str_eq(cg_type(&s.sandbox, buf), "threaded");
    cr_expect_str_eq(cg_id(&s.sandbox, &kit_arena), "/d/threads/sandbox");
    cr_expect_str_eq(cg_id(&s.overhead, &kit_arena), "/d/threads/overhead");
    cr_expect_str_eq(cg_parent(&s.sandbox, &kit_arena), "/");
    cr_expect_str_eq(cg_parent(&s.overhead, &kit_arena), "/d/threads");
    cr_expect(cg_is_empty(&s.sandbox) && cg_is_empty(&s.overhead));

    /* the process to the overhead, one thread to the sandbox */
    kit_expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add process");
    kit_expect_ok(cg_add_thread(&s.sandbox, tids[1], &e), &e, "add thread");
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/d/threads/overhead"));
    cr_expect_str_eq(kit_where(h, tids[1]), kit_seen_as(h, "/d/threads/sandbox"));
    cr_expect(cg_holds(&s.sandbox, tids[1]) == 1 && cg_holds(&s.overhead, tids[1]) == 0 &&
              cg_holds(&s.sandbox, pid) == 0 && cg_holds(&s.overhead, pid) == 1 &&
              cg_holds(&s.sandbox, stranger) == 0);
    kit_expect_ok(cg_threads(&s.sandbox, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    kit_expect_ok(cg_threads(&s.overhead, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == KIT_THREADS && !kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    kit_expect_ok(cg_processes(&s.sandbox, &kit_arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    kit_expect_ok(cg_processes(&s.overhead, &kit_arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    cr_expect_str_eq(kit_read_value(h, "/d", "cgroup.procs"), "", "nobody is in the scope itself");
    cr_expect(!cg_is_empty(&s.sandbox) && !cg_is_empty(&s.overhead), "though it is not empty");

    kit_expect_ok(cg_kill(&s.sandbox, SIGKILL, &e), &e, "kill the domain");
    waitpid(pid, NULL, 0);
    cr_expect(cg_is_empty(&s.sandbox) && cg_is_empty(&s.overhead));
    kit_delete_ok(&s.overhead);
    cr_expect(!kit_exists(h, "/d/threads/overhead") && kit_exists(h, "/d/threads/sandbox"));
    kit_delete_ok(&s.sandbox);
    cr_expect_not(kit_exists(h, "/d"));
    kit_delete_ok(&s.overhead);
    kit_delete_ok(&s.sandbox);
}

/* Made once, found again: as it is for the next container of a pod. */
Test(v2_threaded, deep_again)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_deep(NULL, "/d"), again = kit_create_deep(NULL, "/d");
    struct cg_controller loaded;
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child();

    cr_expect(!again.sandbox.made && !again.sandbox.made_domain && !again.overhead.made);
    cg_undo_create(&again.overhead);
    cg_undo_create(&again.sandbox);
    cr_expect(kit_exists(h, "/d/threads/sandbox") && kit_exists(h, "/d/threads/overhead"),
              "not made by this run");
    kit_expect_ok(cg_add_process(&s.sandbox, pid, &e), &e, "add");
    cg_init(&loaded, &kit_v2_host, NULL, "/d", "threads/sandbox", true);
    kit_expect_ok(cg_load(&loaded, &e), &e, "load");
    cr_expect(cg_holds(&loaded, pid) == 1 && loaded.domain_fd >= 0);
    kit_end_child(pid);
    cg_close(&s.sandbox);
    cg_close(&s.overhead);
    kit_delete_ok(&loaded);
    cr_expect_not(kit_exists(h, "/d"), "with everything that is in it");
}

Test(v2_threaded, deep_load)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_controller c;
    struct err e = ERR_INIT;

    kit_make_cgroup(h, "/d");
    kit_make_cgroup(h, "/d/threads");
    cg_init(&c, &kit_v2_host, NULL, "/d", "threads/overhead", false);
    cr_expect_eq(cg_load(&c, &e), -ENOENT, "what is above it is not ours");
    cr_expect(strstr(e.text, "/d/threads/overhead does not exist"), "\"%s\"", e.text);
    cg_close(&c);
    err_reset(&e);
    cg_init(&c, &kit_v2_host, NULL, "/d", "threads/sandbox", true);
    kit_expect_ok(cg_load(&c, &e), &e, "the domain alone is the owner's");
    cr_expect(c.domain_fd >= 0 && c.fds[0] == FD_NONE);
    kit_delete_ok(&c);
    cr_expect_not(kit_exists(h, "/d"));
}

Test(v2_threaded, deep_undo)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    struct kit_split s = kit_create_deep(&p, "/p/d");
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child();

    cr_expect_eq(kit_count_markers(), 1);
    cg_undo_create(&s.overhead);
    cr_expect(!kit_exists(h, "/p/d/threads/overhead") && kit_exists(h, "/p/d/threads/sandbox"));
    cg_undo_create(&s.sandbox);
    cr_expect(!kit_exists(h, "/p") && kit_count_markers() == 0, "with the parent and its marker");
    cg_undo_create(&s.sandbox);
    cg_undo_create(&s.overhead);

    /* somebody lives in the other leaf, and stays where it is */
    s = kit_create_deep(&p, "/p/d");
    kit_expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
    cg_undo_create(&s.sandbox);
    cr_expect(!kit_exists(h, "/p/d/threads/sandbox") && kit_exists(h, "/p/d/threads/overhead"));
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/p/d/threads/overhead"));
    kit_end_child(pid);
    cg_undo_create(&s.overhead);
    cr_expect(kit_exists(h, "/p/d") && !kit_exists(h, "/p/d/threads"),
              "the last leaf takes what is between it and the domain");
    unlinkat(h->fd, "p/d", AT_REMOVEDIR);
    kit_close_markers(&p);
}

/* The domain was there before, as a scope is: undo leaves it, and what somebody else made. */
Test(v2_threaded, deep_undo_leaves_the_scope)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_controller c;

    kit_make_cgroup(h, "/d");
    c = kit_create(&kit_v2_host, NULL, "/d", "threads/sandbox", true, &kit_no_limits);
    cr_expect(c.made == 1 && !c.made_domain);
    cg_undo_create(&c);
    cr_expect(kit_exists(h, "/d") && !kit_exists(h, "/d/threads"));

    kit_make_cgroup(h, "/d/threads");
    kit_make_cgroup(h, "/d/threads/other");
    c = kit_create(&kit_v2_host, NULL, "/d", "threads/sandbox", true, &kit_no_limits);
    cg_undo_create(&c);
    cr_expect(!kit_exists(h, "/d/threads/sandbox") && kit_exists(h, "/d/threads/other"));
}

Test(v2_threaded, deep_delete_order)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_deep(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child();
    int r;

    kit_expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
    r = cg_delete(&s.sandbox, 30, &e);
    cr_expect(r == -EBUSY &&
                  strstr(e.text, arena_printf(&kit_arena, "%s/d: EBUSY", h->mount_point)),
              "expected %d, got %d \"%s\"", -EBUSY, r, e.text);
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/d/threads/overhead"));
    cr_expect_not(kit_exists(h, "/d/threads/sandbox"), "the leaf was empty");
    err_reset(&e);
    r = cg_delete(&s.overhead, 30, &e);
    cr_expect(r == -EBUSY && strstr(e.text, arena_printf(&kit_arena, "%s/d/threads/overhead: EBUSY",
                                                         h->mount_point)),
              "expected %d, got %d \"%s\"", -EBUSY, r, e.text);
    err_reset(&e);
    kit_end_child(pid);
    kit_expect_ok(cg_load(&s.sandbox, &e), &e, "the domain is there, its leaf is not");
    kit_expect_ok(cg_delete(&s.sandbox, 10000, &e), &e, "delete");
    cr_expect_not(kit_exists(h, "/d"));
}

/* Something in the way of the leaf, or of what is above it. */
Test(v2_threaded, deep_failed)
{
    static const struct {
        const char *leaf, *shown;
    } cases[] = {
        {"cgroup.procs/sandbox", "/d/cgroup.procs/sandbox"},
        {"threads/cgroup.procs", "/d/threads/cgroup.procs"},
    };
    const struct cg_hierarchy *h = kit_need_v2();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_controller c;
        struct err e = ERR_INIT;
        int r;

        cg_init(&c, &kit_v2_host, NULL, "/d", cases[i].leaf, true);
        r = kit_put_new(&c, &kit_no_limits, NULL, &e);
        cr_expect(r == -ENOTDIR && strstr(e.text, arena_printf(&kit_arena, "%s%s: ENOTDIR",
                                                               h->mount_point, cases[i].shown)),
                  "%s: expected %d with %s, got %d \"%s\"", cases[i].leaf, -ENOTDIR, cases[i].shown,
                  r, e.text);
        cg_undo_create(&c);
        kit_remove_cgroup(h, "/d");
    }
}
