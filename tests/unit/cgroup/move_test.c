/* SPDX-License-Identifier: Apache-2.0 */

/* What cannot be moved, as a real-time task where a v1 cgroup has no time for it, stands in no other's way. */

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOME "/p/home"
#define FROM "/p/from"

static struct fixture {
    struct arena arena;
    struct cg_host host;
    struct cg_controller from, home;
    struct err err;
} f;

static void begin(enum cg_mode mode)
{
    f = (struct fixture){.arena = ARENA_INIT};
    kit_tree_begin(mode);
    cr_assert_eq(cg_host_open(&f.arena, &f.host, NULL), 0);
    kit_tree_make(HOME);
    kit_tree_make(FROM);
    cg_init(&f.home, &f.host, NULL, HOME, NULL);
    cg_init(&f.from, &f.host, NULL, FROM, NULL);
    cr_assert_eq(cg_load(&f.home, NULL), 0);
    cr_assert_eq(cg_load(&f.from, NULL), 0);
}

static void end(void)
{
    cg_close(&f.home);
    cg_close(&f.from);
    cg_host_close(&f.host);
    kit_end_children();
    kit_tree_end();
    arena_free(&f.arena);
}

static void expect_refused(int got, const char *what, pid_t id)
{
    cr_expect_eq(got, -EINVAL, "%s: %d", what, got);
    cr_expect(
        f.err.code == -EINVAL &&
            strstr(f.err.text, arena_printf(&f.arena, "cannot move %s %d to ", what, (int)id)) &&
            !strchr(f.err.text, '\n'),
        "%s: %s", what, f.err.text);
}

Test(move, goes_on_with_the_other_processes)
{
    const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t pids[3];
        unsigned moved = 0;

        begin(modes[i]);
        for (size_t k = 0; k < ARRAY_SIZE(pids); k++)
            kit_tree_enter(pids[k] = kit_start_child(), FROM, "one");
        kit_tree_stick(pids[0]);
        expect_refused(cg_move_to(&f.from, HOME, &moved, NULL, &f.arena, &f.err), "process",
                       pids[0]);
        cr_expect_eq(cg_holds(&f.from, pids[0]), 1);
        for (size_t k = 1; k < ARRAY_SIZE(pids); k++)
            cr_expect_eq(cg_holds(&f.home, pids[k]), 1, "in every hierarchy");
        end();
    }
}

Test(move, goes_on_with_the_other_threads)
{
    const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        pid_t tids[KIT_THREADS], pid;
        struct cg_controller leaf;
        struct cg_change none = {0};

        begin(modes[i]);
        pid = kit_start_threads(tids);
        kit_tree_enter(pid, HOME, "one");
        cg_init(&leaf, &f.host, NULL, modes[i] == CG_MODE_V2 ? HOME : FROM,
                modes[i] == CG_MODE_V2 ? "leaf" : NULL);
        kit_expect_ok(cg_create(&leaf, &none, &f.err), &f.err, "leaf");
        for (size_t k = 0; k < KIT_THREADS; k++)
            kit_expect_ok(cg_add_thread(&leaf, kit_who(tids[k]), &f.err), &f.err, "in");
        kit_tree_hold(tids[0]);
        expect_refused(cg_move_threads(&leaf, &f.home, &f.err), "thread", tids[0]);
        cr_expect_eq(cg_holds(&leaf, tids[0]), 1);
        for (size_t k = 1; k < KIT_THREADS; k++)
            cr_expect_eq(cg_holds(&f.home, tids[k]), 1);
        cg_close(&leaf);
        end();
    }
}

TestSuite(move_host, .init = kit_start, .fini = kit_finish, .timeout = 120);

/* A kernel that has CONFIG_RT_GROUP_SCHED. */
Test(move_host, real_time)
{
    const struct sched_param fifo = {.sched_priority = 1};
    const struct cg_hierarchy *cpu = kit_need_v1_ctl(CG_CTL_CPU);
    struct cg_controller from, home;
    struct err e = ERR_INIT;
    pid_t pids[3];

    from = kit_create(&kit_host, NULL, kit_sub("from"), NULL, &kit_no_limits);
    home = kit_create(&kit_host, NULL, kit_sub("home"), NULL, &kit_no_limits);
    if (kit_write_value(cpu, kit_base, "cpu.rt_runtime_us", "2000") < 0 ||
        kit_write_value(cpu, from.path, "cpu.rt_runtime_us", "1000") < 0)
        cr_skip_test("this kernel has no real time for cgroups, or none is left");
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
        pids[i] = kit_start_child();
        kit_expect_ok(cg_add_process(&from, kit_who(pids[i]), &e), &e, "add");
    }
    cr_assert_eq(sched_setscheduler(pids[0], SCHED_FIFO, &fifo), 0);
    cr_expect_eq(cg_move_to(&from, home.path, NULL, NULL, &kit_arena, &e), -EINVAL);
    cr_expect(strstr(e.text, "/cgroup.procs: EINVAL"), "%s", e.text);
    cr_expect_str_eq(kit_where(cpu, pids[0]), kit_seen_as(cpu, from.path));
    for (size_t i = 1; i < ARRAY_SIZE(pids); i++)
        kit_expect_where(&kit_host, pids[i], home.path, "another");
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        kit_end_child(pids[i]);
    kit_delete_ok(&from);
    kit_delete_ok(&home);
}
