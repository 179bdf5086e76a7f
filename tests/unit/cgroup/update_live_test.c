/* SPDX-License-Identifier: Apache-2.0 */

/* How limits are written to cgroups of this host; update_test.c does the same on plain files. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

TestSuite(update_live, .init = kit_start, .fini = kit_finish, .timeout = 120);

Test(update_live, writes_each_file)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file, *text, *want;
    } cases[] = {
        {CG_CTL_CPU, "cpu.shares", "512", "512"},
        {CG_CTL_CPU, "cpu.cfs_quota_us", "50000", "50000"},
        {CG_CTL_CPU, "cpu.cfs_quota_us", "-1", "-1"},
        {CG_CTL_PIDS, "pids.max", "77", "77"},
        {CG_CTL_PIDS, "pids.max", "max", "max"},
        {CG_CTL_MEMORY, "memory.limit_in_bytes", "67108864", "67108864"},
        {CG_CTL_MEMORY, "memory.soft_limit_in_bytes", "33554432", "33554432"},
    };
    struct cg_controller c;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct cg_hierarchy *h = cg_host_find(&kit_host, cases[i].ctl);
        struct cg_file file = {.ctl = cases[i].ctl, .file = cases[i].file, .text = cases[i].text};
        struct cg_files files = {.items = &file, .count = 1};
        struct err e = ERR_INIT;

        if (!h || h->v2)
            continue;
        for (int k = 0; k < 2; k++) {
            int r = kit_put(&c, &files, &e);

            cr_expect_eq(r, 0, "%s=%s: %s", cases[i].file, cases[i].text, e.text);
            cr_expect_str_eq(kit_read_value(h, c.path, cases[i].file), cases[i].want);
        }
    }
    kit_delete_ok(&c);
}

/* Made-up lists show what each flag is for. */
Test(update_live, flags)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPU);
    enum { OPT = CG_FILE_OPTIONAL, EITHER = CG_FILE_EITHER, RETRY = CG_FILE_RETRY };
    static const struct {
        const char *name;
        struct cg_file files[4];
        int result;
        const char *shares; /* afterwards; it starts as 1000 */
        const char *error;
    } cases[] = {
        {"missing", {{CG_CTL_CPU, "cpu.none", "1", 0}}, -ENOENT, "1000", "cpu.none"},
        {"missing says why", {{CG_CTL_CPU, "cpu.none", "1", 0}}, -ENOENT, "1000", "cpu controller"},
        {"missing, before others",
         {{CG_CTL_CPU, "cpu.none", "1", 0}, {CG_CTL_CPU, "cpu.shares", "5", 0}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"written before the failing one stays",
         {{CG_CTL_CPU, "cpu.shares", "5", 0}, {CG_CTL_CPU, "cpu.none", "1", 0}},
         -ENOENT,
         "5",
         "cpu.none"},
        {"optional",
         {{CG_CTL_CPU, "cpu.none", "1", OPT}, {CG_CTL_CPU, "cpu.shares", "6", 0}},
         0,
         "6",
         NULL},
        {"optional forgives nothing else",
         {{CG_CTL_CPU, "cpu.shares", "x", OPT}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"either: first",
         {{CG_CTL_CPU, "cpu.shares", "7", EITHER}, {CG_CTL_CPU, "cpu.none", "1", EITHER}},
         0,
         "7",
         NULL},
        {"either: second",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}, {CG_CTL_CPU, "cpu.shares", "8", EITHER}},
         0,
         "8",
         NULL},
        {"either: both are written",
         {{CG_CTL_CPU, "cpu.shares", "9", EITHER}, {CG_CTL_CPU, "cpu.shares", "10", EITHER}},
         0,
         "10",
         NULL},
        {"either: none",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}, {CG_CTL_CPU, "cpu.none2", "1", EITHER}},
         -ENOENT,
         "1000",
         "cpu.none2"},
        {"either: only one listed",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"either: an error is one",
         {{CG_CTL_CPU, "cpu.shares", "x", EITHER}, {CG_CTL_CPU, "cpu.shares", "8", EITHER}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"either ends where the flag ends",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}, {CG_CTL_CPU, "cpu.shares", "8", 0}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"a list is one write without the flag",
         {{CG_CTL_CPU, "cpu.shares", "11\n12", 0}},
         -EINVAL,
         "1000",
         "11\\x0a12"},
        {"lines", {{CG_CTL_CPU, "cpu.shares", "11\n12", CG_FILE_LINES}}, 0, "12", NULL},
        {"lines: one", {{CG_CTL_CPU, "cpu.shares", "13", CG_FILE_LINES}}, 0, "13", NULL},
        {"lines: the first failing one ends it",
         {{CG_CTL_CPU, "cpu.shares", "14\nx\n15", CG_FILE_LINES}},
         -EINVAL,
         "14",
         "cpu.shares"},
        {"retry: still refused",
         {{CG_CTL_CPU, "cpu.shares", "x", RETRY}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"retry: missing is no matter of order",
         {{CG_CTL_CPU, "cpu.none", "1", RETRY}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"retry goes on with the others",
         {{CG_CTL_CPU, "cpu.shares", "x", RETRY}, {CG_CTL_CPU, "cpu.shares", "16", 0}},
         -EINVAL,
         "16",
         "\"x\""},
        {"retry with an optional one that is missing",
         {{CG_CTL_CPU, "cpu.none", "1", RETRY | OPT}, {CG_CTL_CPU, "cpu.shares", "17", RETRY}},
         0,
         "17",
         NULL},
        {"retry: a missing optional one is fine the second time, too",
         {{CG_CTL_CPU, "cpu.none", "1", RETRY | OPT}, {CG_CTL_CPU, "cpu.shares", "x", RETRY}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"retry: optional forgives nothing else",
         {{CG_CTL_CPU, "cpu.shares", "x", RETRY | OPT}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"no controller",
         {{CG_CTL_COUNT - 1, "misc.max", "1", 0}},
         -ENOENT,
         "1000",
         "misc controller"},
        {"nothing", {{0}}, 0, "1000", NULL},
    };
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_file list[4];
        struct cg_files files = {.items = list};
        struct err e = ERR_INIT;
        const char *shares;
        int r;

        memcpy(list, cases[i].files, sizeof list);
        while (files.count < ARRAY_SIZE(list) && list[files.count].file)
            files.count++;
        cr_assert_eq(kit_write_value(h, c.path, "cpu.shares", "1000"), 0);
        r = kit_put(&c, &files, &e);
        shares = kit_read_value(h, c.path, "cpu.shares");
        cr_expect(r == cases[i].result && str_eq(shares, cases[i].shares),
                  "%s: expected %d, shares %s; got %d, shares %s \"%s\"", cases[i].name,
                  cases[i].result, cases[i].shares, r, shares, e.text);
        if (cases[i].error)
            cr_expect(strstr(e.text, cases[i].error), "%s: expected \"%s\" in \"%s\"",
                      cases[i].name, cases[i].error, e.text);
        else
            cr_expect_str_eq(e.text, "", "%s: \"%s\"", cases[i].name, e.text);
    }
    kit_delete_ok(&c);
}

/* The parent's quota forbids the new period with the old quota: the quota must go first. */
Test(update_live, quota_and_period)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPU);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    static const struct {
        int64_t quota, period;
    } steps[] = {{50000, 100000}, {5000, 10000}, {50000, 100000}, {500000, 1000000}, {1000, 2000}};

    cr_assert_eq(kit_write_value(h, kit_base, "cpu.cfs_quota_us", "50000"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct cg_limits limits = {.cpu_quota_us = {true, steps[i].quota},
                                         .cpu_period_us = {true, steps[i].period}};
        const struct cg_files files = kit_files_of(&limits, false);
        struct err e = ERR_INIT;
        int r = kit_put(&c, &files, &e);
        const char *got =
            arena_printf(&kit_arena, "%s %s", kit_read_value(h, c.path, "cpu.cfs_quota_us"),
                         kit_read_value(h, c.path, "cpu.cfs_period_us"));
        const char *want =
            arena_printf(&kit_arena, "%" PRId64 " %" PRId64, steps[i].quota, steps[i].period);

        cr_expect(r == 0 && str_eq(got, want), "step %zu: expected %s, got %d %s %s", i, want, r,
                  got, e.text);
    }
    kit_delete_ok(&c);
}

/* The kernel refuses more than an ancestor has. What it refuses for other reasons stays refused. */
Test(update_live, quota_beyond_an_ancestor)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPU);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a/b/c"), NULL, &kit_no_limits);
    static const struct {
        int64_t quota, period;
        int result;
        const char *want;
    } steps[] = {
        {50000, 100000, 0, "50000"}, /* as much as the nearest ancestor with a quota */
        {50001, 100000, 0, "-1"},     {40000, 100000, 0, "40000"},
        {90000, 100000, 0, "-1"},     {20000, 40000, 0, "20000"},
        {20001, 40000, 0, "-1"},      {500000, 1000000, 0, "500000"},
        {500, 100000, -EINVAL, NULL}, /* less than there may be */
        {40000, 100000, 0, "40000"},  {INT64_C(1) << 44, 1000000, 0, "-1"},
    };

    /* of one CPU: the topmost two, one half, none, ours */
    cr_assert_eq(kit_write_value(h, kit_base, "cpu.cfs_quota_us", "200000"), 0);
    cr_assert_eq(kit_write_value(h, kit_sub("a"), "cpu.cfs_period_us", "50000"), 0);
    cr_assert_eq(kit_write_value(h, kit_sub("a"), "cpu.cfs_quota_us", "25000"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct cg_limits limits = {.cpu_quota_us = {true, steps[i].quota},
                                         .cpu_period_us = {true, steps[i].period}};
        const struct cg_files files = kit_files_of(&limits, false);
        struct err e = ERR_INIT;
        int r = kit_put(&c, &files, &e);
        const char *got = kit_read_value(h, c.path, "cpu.cfs_quota_us");

        cr_expect(r == steps[i].result && (r < 0 || str_eq(got, steps[i].want)),
                  "step %zu: expected %d %s, got %d %s %s", i, steps[i].result, steps[i].want, r,
                  got, e.text);
        if (r < 0)
            cr_expect(strstr(e.text, "cpu.cfs_"), "\"%s\"", e.text);
    }
    kit_delete_ok(&c);
}

/* A device that is not there has no limit to be taken away. */
Test(update_live, resets_of_a_missing_device)
{
    kit_need_v1_ctl(CG_CTL_BLKIO);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    struct cg_file file = {.ctl = CG_CTL_BLKIO,
                           .file = "blkio.throttle.read_bps_device",
                           .text = "4095:1048575 0",
                           .flags = CG_FILE_LINES};
    struct cg_files files = {.items = &file, .count = 1};
    struct err e = ERR_INIT;

    cr_expect_eq(kit_put(&c, &files, &e), -ENODEV, "\"%s\"", e.text);
    err_reset(&e);
    file.flags |= CG_FILE_RESET;
    cr_expect_eq(kit_put(&c, &files, &e), 0, "\"%s\"", e.text);
    cr_expect_eq(kit_put_back(&c, &files, &e), 0, "\"%s\"", e.text);
    kit_delete_ok(&c);
}

/* The kernel keeps memory <= memory + swap at each moment: raising and lowering need different
 * orders. */
Test(update_live, memory_and_swap)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_MEMORY);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    static const struct {
        int64_t limit, swap;
    } steps[] = {{64, 64}, {128, 192}, {256, 256}, {32, 48}, {32, 32}, {512, 512}};

    if (str_eq(kit_read_value(h, c.path, "memory.memsw.limit_in_bytes"), "(none)")) {
        kit_delete_ok(&c);
        cr_skip_test("no swap accounting");
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct cg_limits limits = {.memory_limit = {true, steps[i].limit << 20},
                                         .memory_swap = {true, steps[i].swap << 20}};
        const struct cg_files files = kit_files_of(&limits, false);
        struct err e = ERR_INIT;
        int r = kit_put(&c, &files, &e);
        const char *got =
            arena_printf(&kit_arena, "%s %s", kit_read_value(h, c.path, "memory.limit_in_bytes"),
                         kit_read_value(h, c.path, "memory.memsw.limit_in_bytes"));
        const char *want = arena_printf(&kit_arena, "%" PRId64 " %" PRId64, steps[i].limit << 20,
                                        steps[i].swap << 20);

        cr_expect(r == 0 && str_eq(got, want), "step %zu: expected %s, got %d %s %s", i, want, r,
                  got, e.text);
    }
    /* "no limit" frees both although swap is not named */
    const struct cg_limits limits = {.memory_limit = {true, CG_UNLIMITED}};
    const struct cg_files files = kit_files_of(&limits, false);
    struct err e = ERR_INIT;

    kit_expect_ok(kit_put(&c, &files, &e), &e, "unlimited");
    cr_expect_str_eq(kit_read_value(h, c.path, "memory.limit_in_bytes"),
                     kit_read_value(h, "/", "memory.limit_in_bytes"));
    cr_expect_str_eq(kit_read_value(h, c.path, "memory.memsw.limit_in_bytes"),
                     kit_read_value(h, "/", "memory.memsw.limit_in_bytes"));
    kit_delete_ok(&c);
}

Test(update_live, missing_v1_controller)
{
    static const enum cg_ctl ctls[] = {CG_CTL_MISC, CG_CTL_RDMA, CG_CTL_HUGETLB};
    struct cg_controller c;

    kit_need_v1();
    for (size_t i = 0; i < ARRAY_SIZE(ctls); i++) {
        const struct cg_hierarchy *h = cg_host_find(&kit_host, ctls[i]);
        const char *name = cg_ctl_name(ctls[i], false);
        struct cg_file file = {.ctl = ctls[i], .file = "x.max", .text = "1"};
        struct cg_files files = {.items = &file, .count = 1};
        struct err e = ERR_INIT;

        /* one of the cgroup2 mount does not help: v1 limits are written to v1 files */
        if (h && !h->v2)
            continue;
        cg_init(&c, &kit_host, NULL, kit_sub("a"), NULL);
        cr_expect_eq(kit_put_new(&c, &files, NULL, &e), -ENOENT);
        cr_expect(strstr(e.text, name) && strstr(e.text, "v1"), "%s: \"%s\"", name, e.text);
        cg_undo_create(&c);
    }
}
