/* SPDX-License-Identifier: Apache-2.0 */

/* Cgroups of v2 without a threaded split, and how controllers are passed down to them. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "cgroup/parents.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

TestSuite(v2, .init = kit_start, .fini = kit_finish, .timeout = 120);

/* --- v2: one cgroup --- */

Test(v2, plain)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_controller c = kit_create(&kit_v2_host, NULL, "/a/b", NULL, &kit_no_limits), again;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[KIT_THREADS], pid = kit_start_threads(tids), other = kit_start_child();
    char buf[32];

    cr_expect(kit_exists(h, "/a/b") && c.made == 1, "made %#x", c.made);
    cr_expect_str_eq(cg_type(&c, buf), "domain");
    cr_expect_str_eq(cg_id(&c, &kit_arena), "/a/b");
    cr_expect_str_eq(cg_parent(&c, &kit_arena), "/a");
    again = kit_create(&kit_v2_host, NULL, "/a/b", NULL, &kit_no_limits);
    cr_expect_eq(again.made, 0);
    cg_undo_create(&again);
    cr_expect(kit_exists(h, "/a/b"));

    cr_expect_eq(cg_holds(&c, pid), 0);
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    kit_expect_where(&kit_v2_host, pid, "/a/b", "process");
    kit_expect_where(&kit_v2_host, tids[2], "/a/b", "thread");
    cr_expect(cg_holds(&c, pid) == 1 && cg_holds(&c, tids[0]) == 1 && cg_holds(&c, other) == 0);
    kit_expect_ok(cg_processes(&c, &kit_arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid));
    kit_expect_ok(cg_threads(&c, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == KIT_THREADS + 1 && kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    cr_expect_eq(cg_is_empty(&c, NULL), 0);
    cr_expect_eq(cg_delete(&c, 30, &e), -EBUSY);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s/a/b: EBUSY", h->mount_point)), "\"%s\"",
              e.text);
    err_reset(&e);
    kit_expect_ok(cg_load(&c, &e), &e, "load");
    kit_end_child(pid);
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    cr_expect_eq(cg_add_process(&c, kit_who(pid), NULL), -ESRCH);
    kit_delete_ok(&c);
    cr_expect_not(kit_exists(h, "/a/b"));
    kit_delete_ok(&c);
    cr_expect_eq(cg_load(&c, &e), -ENOENT);
}

Test(v2, undo)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    struct cg_controller c = kit_create(&kit_v2_host, &p, "/p/a", NULL, &kit_no_limits);

    cr_expect_eq(kit_count_markers(), 1);
    cg_undo_create(&c);
    cr_expect_not(kit_exists(h, "/p"));
    cr_expect_eq(kit_count_markers(), 0);
    cg_undo_create(&c);
    kit_close_markers(&p);
}

Test(v2, kill_and_delete)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_controller c = kit_create(&kit_v2_host, NULL, "/a", NULL, &kit_no_limits);
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child(), inside = kit_start_child(), outside = kit_start_child();
    int status;

    kit_expect_ok(cg_kill(&c, SIGKILL, &e), &e, "nobody");
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    kit_make_cgroup(h, "/a/x");
    cr_assert_eq(kit_write_pid(h, "/a/x", "cgroup.procs", inside), 0);
    kit_expect_ok(cg_kill(&c, SIGTERM, &e), &e, "SIGTERM");
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "got %#x", (unsigned)status);
    cr_assert_eq(waitpid(inside, &status, 0), inside);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "got %#x", (unsigned)status);

    pid = kit_start_child();
    inside = kit_start_child();
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    cr_assert_eq(kit_write_pid(h, "/a/x", "cgroup.procs", inside), 0);
    kit_expect_ok(cg_kill(&c, SIGKILL, &e), &e, "SIGKILL");
    /* nobody waits for them but cg_delete(), here by the kernel's event */
    kit_expect_ok(cg_delete(&c, 30000, &e), &e, "delete");
    cr_expect_not(kit_exists(h, "/a"));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "got %#x", (unsigned)status);
    cr_assert_eq(waitpid(inside, &status, 0), inside);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "got %#x", (unsigned)status);
    cr_expect_eq(waitpid(outside, &status, WNOHANG), 0, "others live");
}

Test(v2, stat)
{
    kit_need_v2();
    struct cg_controller c = kit_create(&kit_v2_host, NULL, "/a", NULL, &kit_no_limits);
    struct kit_worker w = kit_start_worker();
    struct err e = ERR_INIT;
    struct cg_stat st;

    kit_expect_ok(cg_add_process(&c, kit_who(w.pid), &e), &e, "add");
    cr_expect_eq(kit_ask(&w, 'c'), 0);
    cg_stat(&c, &st);
    cr_expect(st.has & CG_CTL_BIT(CG_CTL_CPUACCT) && st.cpu_usage_us > 0, "has %#x, %" PRIu64 " us",
              st.has, st.cpu_usage_us);
    kit_end_child(w.pid);
    kit_delete_ok(&c);
}

/* A limit whose controller our cgroup does not get from above. */
Test(v2, missing_controller)
{
    static const struct {
        struct cg_limits limits;
        enum cg_ctl ctl;
    } cases[] = {
        {{.memory_limit = {true, 64 << 20}}, CG_CTL_MEMORY}, {{.pids = {true, 5}}, CG_CTL_PIDS},
        {{.cpu_shares = {true, 512}}, CG_CTL_CPU},           {{.cpuset_cpus = "0"}, CG_CTL_CPUSET},
        {{.blkio_weight = {true, 100}}, CG_CTL_BLKIO},
    };
    const struct cg_hierarchy *h = kit_need_v2();
    unsigned tested = 0;

    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        size_t k = i / 2;
        const char *leaf = i % 2 ? "vcpu" : NULL;
        const char *name = cg_ctl_name(cases[k].ctl, true);
        const struct cg_files files = kit_files_of(&cases[k].limits, true);
        /* a leaf's are its domain's to enable */
        const char *want =
            arena_printf(&kit_arena, "the %s controller is not available in %s%s:", name,
                         h->mount_point, leaf ? "/x/d" : "");
        struct cg_controller c, domain;
        struct err e = ERR_INIT;
        int r;

        if (h->controllers & CG_CTL_BIT(cases[k].ctl) ||
            (leaf && !(CG_CTL_THREADED & CG_CTL_BIT(cases[k].ctl))))
            continue;
        tested++;
        if (leaf)
            domain = kit_create(&kit_v2_host, NULL, "/x/d", NULL, &kit_no_limits);
        cg_init(&c, &kit_v2_host, NULL, "/x/d", leaf);
        r = kit_put_new(&c, &files, NULL, &e);
        cr_expect_eq(r, -ENOENT, "%s: expected %d, got %d", name, -ENOENT, r);
        cr_expect(strstr(e.text, want), "%s: \"%s\"", name, e.text);
        cg_undo_create(&c);
        cr_expect_not(kit_exists(h, leaf ? "/x/d/vcpu" : "/x/d"), "%s: undone", name);

        /* an existing cgroup says it, too; and where, when it is not to be enabled */
        c = kit_create(&kit_v2_host, NULL, "/x/d", leaf, &kit_no_limits);
        err_reset(&e);
        r = kit_put(&c, &files, &e);
        cr_expect_eq(r, -ENOENT, "%s: expected %d, got %d", name, -ENOENT, r);
        cr_expect(strstr(e.text, want), "%s: \"%s\"", name, e.text);
        err_reset(&e);
        r = kit_put_back(&c, &files, &e);
        cr_expect_eq(r, -ENOENT, "%s: expected %d, got %d", name, -ENOENT, r);
        cr_expect(
            strstr(e.text, arena_printf(&kit_arena, "%s/x/d", h->mount_point)) &&
                strstr(e.text, arena_printf(&kit_arena, "the %s controller is not enabled", name)),
            "%s: \"%s\"", name, e.text);
        /* there is nothing to take away */
        err_reset(&e);
        for (size_t n = 0; n < files.count; n++)
            files.items[n].flags |= CG_FILE_RESET;
        cr_expect_eq(kit_put(&c, &files, &e), 0, "%s: \"%s\"", name, e.text);
        kit_delete_ok(&c);
        if (leaf)
            kit_delete_ok(&domain);
    }
    if (tested == 0)
        cr_skip_test("every controller is available");
}

/* Files of a leaf are in the leaf, and what the domain decides for all threads it has no say over. */
Test(v2, file_of_domain_and_leaf)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file;
    } cases[] = {
        {CG_CTL_MEMORY, "memory.none"},   {CG_CTL_BLKIO, "io.none"},
        {CG_CTL_HUGETLB, "hugetlb.none"}, {CG_CTL_CPU, "cpu.none"},
        {CG_CTL_CPUSET, "cpuset.none"},   {CG_CTL_PIDS, "pids.none"},
    };
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");

    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        struct cg_file file = {.ctl = cases[i / 2].ctl, .file = cases[i / 2].file, .text = "1"};
        struct cg_files files = {.items = &file, .count = 1};
        bool leaf = i % 2, theirs = leaf && !(CG_CTL_THREADED & CG_CTL_BIT(file.ctl));
        struct err e = ERR_INIT;
        /* which enables nothing before */
        int r = kit_put_back(leaf ? &s.leaf : &s.domain, &files, &e);
        const char *where =
            arena_printf(&kit_arena, "%s/d/%s%s:", h->mount_point, leaf ? "vcpu/" : "", file.file);

        cr_expect_eq(r, theirs ? -EOPNOTSUPP : -ENOENT, "%s: got %d \"%s\"", file.file, r, e.text);
        if (theirs)
            cr_expect(strstr(e.text, cg_ctl_name(file.ctl, true)) && strstr(e.text, "/d/vcpu"),
                      "\"%s\"", e.text);
        else
            cr_expect(strstr(e.text, where), "expected %s, got \"%s\"", where, e.text);
    }
    kit_delete_ok(&s.leaf);
    kit_delete_ok(&s.domain);
}

/* A domain controller that our own cgroup has and can pass on; CG_CTL_COUNT if none. */
static enum cg_ctl available_controller(const struct cg_hierarchy *h)
{
    static const enum cg_ctl ctls[] = {CG_CTL_MEMORY, CG_CTL_BLKIO, CG_CTL_HUGETLB};

    for (size_t i = 0; i < ARRAY_SIZE(ctls); i++) {
        if (h->controllers & CG_CTL_BIT(ctls[i]))
            return ctls[i];
    }
    return CG_CTL_COUNT;
}

Test(v2, controllers_are_passed_down)
{
    const struct cg_hierarchy *h = kit_need_v2();
    enum cg_ctl ctl = available_controller(h);
    /* what is written is no matter here */
    struct cg_file file = {.ctl = ctl, .file = "none", .text = "1", .flags = CG_FILE_OPTIONAL};
    struct cg_files files = {.items = &file, .count = 1};
    struct cg_controller c;
    struct err e = ERR_INIT;
    const char *name;
    pid_t pid;
    int r;

    if (ctl == CG_CTL_COUNT)
        cr_skip_test("the root of the cgroup2 mount passes no controller on");
    name = cg_ctl_name(ctl, true);
    for (int i = 0; i < 2; i++) {
        c = kit_create(&kit_v2_host, NULL, "/x/y", NULL, &files);
        cr_expect_str_eq(kit_read_value(h, "/", "cgroup.subtree_control"), name);
        cr_expect_str_eq(kit_read_value(h, "/x", "cgroup.subtree_control"), name);
        cr_expect_str_eq(kit_read_value(h, "/x/y", "cgroup.subtree_control"), "", "no further");
        cg_close(&c);
    }

    /* for a limit that comes later, too */
    c = kit_create(&kit_v2_host, NULL, "/u/y", NULL, &kit_no_limits);
    cr_expect_str_eq(kit_read_value(h, "/u", "cgroup.subtree_control"), "");
    kit_expect_ok(kit_put(&c, &files, &e), &e, "update");
    cr_expect_str_eq(kit_read_value(h, "/u", "cgroup.subtree_control"), name);
    kit_delete_ok(&c);

    /* a parent that holds processes cannot */
    kit_make_cgroup(h, "/z");
    pid = kit_start_child();
    cr_assert_eq(kit_write_pid(h, "/z", "cgroup.procs", pid), 0);
    cg_init(&c, &kit_v2_host, NULL, "/z/y", NULL);
    r = kit_put_new(&c, &files, NULL, &e);
    cr_expect_eq(r, -EBUSY, "expected %d, got %d", -EBUSY, r);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s/z holds processes", h->mount_point)) &&
                  strstr(e.text, name),
              "\"%s\"", e.text);
    cg_undo_create(&c);
    cr_expect_not(kit_exists(h, "/z/y"));
    kit_end_child(pid);
}

/* Limits of threads are passed on to the leaf by the domain, and by it alone. */
Test(v2, leaf_controllers)
{
    static const enum cg_ctl threaded[] = {CG_CTL_PIDS, CG_CTL_CPU, CG_CTL_CPUSET};
    const struct cg_hierarchy *h = kit_need_v2();
    unsigned tested = 0;

    for (size_t i = 0; i < ARRAY_SIZE(threaded); i++) {
        struct cg_file file = {
            .ctl = threaded[i], .file = "none", .text = "1", .flags = CG_FILE_OPTIONAL};
        const struct cg_files files = {.items = &file, .count = 1};
        const char *name = cg_ctl_name(threaded[i], true);
        struct cg_controller domain, c;

        if (!(h->controllers & CG_CTL_BIT(threaded[i])))
            continue;
        tested++;
        domain = kit_create(&kit_v2_host, NULL, "/x/d", NULL, &files);
        cr_expect_str_eq(kit_read_value(h, "/x/d", "cgroup.subtree_control"), "");
        c = kit_create(&kit_v2_host, NULL, "/x/d", "vcpu", &files);
        cr_expect_str_eq(kit_read_value(h, "/x/d", "cgroup.subtree_control"), name);
        cr_expect_str_eq(kit_read_value(h, "/x/d/vcpu", "cgroup.subtree_control"), "");
        kit_delete_ok(&c);
        kit_delete_ok(&domain);
        kit_remove_cgroup(h, "/x");
    }
    if (tested == 0)
        cr_skip_test("the root of the cgroup2 mount passes no controller on");
}
