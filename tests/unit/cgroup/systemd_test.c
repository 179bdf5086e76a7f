/* SPDX-License-Identifier: Apache-2.0 */

/* A scope, without asking systemd. */

#include "cgroup/systemd.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "cgroup/controller.h"
#include "cgroup/ops.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>

TestSuite(systemd, .init = kit_start, .fini = kit_finish, .timeout = 120);

/* The process that started the scope makes way for its controllers; one that was there stays. */
Test(systemd, v2_unit_first_process)
{
    const struct cg_hierarchy *h = kit_need_v2();

    for (int started = 0; started <= 1; started++) {
        pid_t pid = kit_start_child();
        struct cg_unit unit = {.name = "osc-unit.scope", .first = pid, .started = started};
        struct cg_controller c;
        struct err e = ERR_INIT;

        kit_make_cgroup(h, "/d");
        cr_assert_eq(kit_write_pid(h, "/d", "cgroup.procs", pid), 0);
        cg_init(&c, &kit_v2_host, NULL, "/d", "threads/sandbox", true);
        c.unit = &unit;
        kit_expect_ok(c.ops->make(&c, &kit_no_limits, &e), &e, "make");
        cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, started ? "/d/threads/sandbox" : "/d"),
                         "started %d: got %s", started, kit_where(h, pid));
        cr_expect_str_eq(kit_read_value(h, "/d", "cgroup.type"), "domain");
        kit_end_child(pid);
        c.unit = NULL;
        kit_delete_ok(&c);
    }
}

/* The number of tasks is the scope's, where systemd sets it; without one it is the leaf's. */
Test(systemd, v2_unit_files)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file, *with, *without;
    } cases[] = {
        {CG_CTL_PIDS, "pids.none", "/d/pids.none", "/d/threads/sandbox/pids.none"},
        {CG_CTL_CPU, "cpu.none", "/d/threads/sandbox/cpu.none", "/d/threads/sandbox/cpu.none"},
        {CG_CTL_MEMORY, "memory.none", "/d/memory.none", "/d/memory.none"},
    };
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_deep(NULL, "/d");
    struct cg_unit unit = {.name = "osc-unit.scope"};

    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        struct cg_file file = {.ctl = cases[i / 2].ctl, .file = cases[i / 2].file, .text = "1"};
        const struct cg_change change = {.files = {.items = &file, .count = 1}};
        const char *want = i % 2 ? cases[i / 2].with : cases[i / 2].without;
        struct err e = ERR_INIT;
        int r;

        /* no property is changed, so systemd is not asked; nothing is enabled */
        s.sandbox.unit = i % 2 ? &unit : NULL;
        r = cg_revert(&s.sandbox, &change, &e);
        cr_expect(
            r == -ENOENT && strstr(e.text, arena_printf(&kit_arena, "%s%s:", h->mount_point, want)),
            "%s, with a scope %zu: expected %s, got %d \"%s\"", file.file, i % 2, want, r, e.text);
    }
    s.sandbox.unit = NULL;

    /* the overhead is no scope, and a scope without a leaf has one directory only */
    for (int plain = 0; plain <= 1; plain++) {
        struct cg_file file = {.ctl = CG_CTL_PIDS, .file = "pids.none", .text = "1"};
        const struct cg_change change = {.files = {.items = &file, .count = 1}};
        const char *want = plain ? "/only/pids.none" : "/d/threads/overhead/pids.none";
        struct cg_controller only =
            kit_create(&kit_v2_host, NULL, "/only", NULL, true, &kit_no_limits);
        struct err e = ERR_INIT;
        int r;

        only.unit = &unit;
        r = cg_revert(plain ? &only : &s.overhead, &change, &e);
        cr_expect(r == -ENOENT &&
                      strstr(e.text, arena_printf(&kit_arena, "%s%s:", h->mount_point, want)),
                  "expected %s, got %d \"%s\"", want, r, e.text);
        only.unit = NULL;
        kit_delete_ok(&only);
    }
    kit_delete_ok(&s.overhead);
    kit_delete_ok(&s.sandbox);
}

static void check_busy_unit(struct cg_controller *c, const char *path)
{
    struct cg_unit unit = {.name = "osc-unit.scope"};
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child();
    unsigned long long start;
    int r;

    kit_expect_ok(cg_add_process(c, pid, &e), &e, "add");
    c->unit = &unit;
    start = io_now_us();
    r = cg_delete(c, 50, &e);
    cr_expect(r == -EBUSY && strstr(e.text, "osc-unit.scope") && strstr(e.text, "processes"),
              "expected %d with the unit, got %d \"%s\"", -EBUSY, r, e.text);
    cr_expect_geq(io_now_us() - start, 50000ull, "it did not wait");
    cr_expect_str_eq(kit_where(&c->host->hierarchies[0], pid),
                     kit_seen_as(&c->host->hierarchies[0], path), "it lives where it was");
    cr_expect_eq(waitpid(pid, NULL, WNOHANG), 0, "it was killed");
    kit_end_child(pid);
    c->unit = NULL;
    err_reset(&e);
    kit_expect_ok(cg_load(c, &e), &e, "load");
    kit_delete_ok(c);
}

/* Stopping a scope kills what is in it, so one that holds somebody is not stopped. */
Test(systemd, busy_unit)
{
    kit_need_v1();
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, false, &kit_no_limits);

    check_busy_unit(&c, kit_sub("a"));
}

Test(systemd, v2_busy_unit)
{
    kit_need_v2();
    struct cg_controller c =
        kit_create(&kit_v2_host, NULL, "/d", "threads/sandbox", true, &kit_no_limits);

    check_busy_unit(&c, "/d/threads/sandbox");
}
