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

/* A scope has one directory, and each limit is a file of it. */
Test(systemd, v2_unit_files)
{
    static const enum cg_ctl ctls[] = {CG_CTL_PIDS, CG_CTL_CPU, CG_CTL_MEMORY};
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct cg_unit unit = {.name = "osc-unit.scope"};

    for (size_t i = 0; i < ARRAY_SIZE(ctls); i++) {
        const char *name = arena_printf(&kit_arena, "%s.none", cg_ctl_name(ctls[i], true));
        struct cg_file file = {.ctl = ctls[i], .file = name, .text = "1"};
        const struct cg_change change = {.files = {.items = &file, .count = 1}};
        struct err e = ERR_INIT;
        int r;

        /* no property is changed, so systemd is not asked; nothing is enabled */
        s.domain.unit = &unit;
        r = cg_revert(&s.domain, &change, &e);
        cr_expect(r == -ENOENT &&
                      strstr(e.text, arena_printf(&kit_arena, "%s/d/%s:", h->mount_point, name)),
                  "%s: got %d \"%s\"", name, r, e.text);
    }
    s.domain.unit = NULL;
    kit_delete_ok(&s.leaf);
    kit_delete_ok(&s.domain);
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
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);

    check_busy_unit(&c, kit_sub("a"));
}

Test(systemd, v2_busy_unit)
{
    kit_need_v2();
    struct cg_controller c = kit_create(&kit_v2_host, NULL, "/d", NULL, &kit_no_limits);

    check_busy_unit(&c, "/d");
}
