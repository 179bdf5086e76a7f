/* SPDX-License-Identifier: Apache-2.0 */

/* A scope, without asking the systemd of this host. */

#include "cgroup/systemd.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "cgroup/controller.h"
#include "cgroup/ops.h"
#include "tests/unit/kit/bus_kit.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
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

    kit_expect_ok(cg_add_process(c, kit_who(pid), &e), &e, "add");
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

/* --- a connection that breaks, a manager that goes away --- */

#define SCOPE    "p-kata_a.scope"
#define NO_REPLY "org.freedesktop.DBus.Error.NoReply"

static const struct cg_properties no_properties;

static struct cg_unit new_unit(void)
{
    return (struct cg_unit){.name = SCOPE, .slice = "a.slice", .first = 1};
}

TestSuite(bus, .timeout = 120);

/* As often as it has to, and a start that was heard all the same is not taken for a stranger's. */
Test(bus, asks_again)
{
    static const char *const errors[] = {NO_REPLY, ""};

    for (unsigned i = 0; i < 16; i++) {
        bool heard = i & 1;
        unsigned n = 1 + i / 4;
        const char *error = errors[i / 2 % 2];
        struct cg_unit u = new_unit();
        struct err e = ERR_INIT;
        int r;

        kit_tree_begin(CG_MODE_V2);
        kit_bus_begin();
        kit_bus_fail(n, 2, error, heard);
        r = cg_unit_start(&u, &no_properties, &e);
        cr_expect(r == 0 && u.started && kit_bus_has(SCOPE), "call %u, \"%s\": %d %s", n, error, r,
                  e.text);
        cr_expect_eq(strlen(u.invocation), 32u, "call %u: \"%s\"", n, u.invocation);
        kit_bus_fail(n, 2, error, heard);
        r = cg_unit_set(&u, &no_properties, &e);
        cr_expect_eq(r, 0, "set, call %u, \"%s\": %d %s", n, error, r, e.text);
        kit_bus_fail(n, 2, error, heard);
        r = cg_unit_stop(&u, &e);
        cr_expect(r == 0 && !kit_bus_has(SCOPE), "stop, call %u, \"%s\": %d %s", n, error, r,
                  e.text);
        kit_tree_end();
    }
}

/* Files are written behind it, and systemd writes its own idea of them when it has sent its answer. */
Test(bus, set_has_been_carried_out)
{
    struct cg_unit u = new_unit();
    struct err e = ERR_INIT;

    kit_tree_begin(CG_MODE_V2);
    kit_bus_begin();
    kit_bus_start(SCOPE, "a.slice");
    cr_assert_eq(cg_unit_set(&u, &no_properties, &e), 0, "%s", e.text);
    cr_expect_eq(kit_bus_calls("SetUnitProperties"), 1);
    cr_expect_str_eq(kit_bus_last_call(), "GetUnit");
    kit_tree_end();
}

/* The answer is lost, and so was the call: who has the name is another. */
Test(bus, not_ours_after_all)
{
    struct cg_unit u = new_unit();
    struct err e = ERR_INIT;

    kit_tree_begin(CG_MODE_V2);
    kit_bus_begin();
    kit_bus_start(SCOPE, "a.slice");
    kit_bus_fail(2, 1, NO_REPLY, false);
    cr_expect_eq(cg_unit_start(&u, &no_properties, &e), -EEXIST, "%s", e.text);
    cr_expect(!u.started && u.invocation[0] == '\0' && kit_bus_has(SCOPE));
    kit_tree_end();
}

/* What somebody answers is an answer. */
Test(bus, refused)
{
    struct cg_unit u = new_unit();
    struct err e = ERR_INIT;

    kit_tree_begin(CG_MODE_V2);
    kit_bus_begin();
    kit_bus_fail(2, 100, "org.freedesktop.DBus.Error.AccessDenied", false);
    cr_expect_lt(cg_unit_start(&u, &no_properties, &e), 0);
    cr_expect(strstr(e.text, "AccessDenied") && strstr(e.text, SCOPE), "%s", e.text);
    cr_expect_eq(kit_bus_calls("StartTransientUnit"), 1);
    kit_tree_end();
}

/* Another start of the same name is another scope, and not stopped. */
Test(bus, another_start)
{
    struct cg_unit u = new_unit();
    struct err e = ERR_INIT;

    kit_tree_begin(CG_MODE_V2);
    kit_bus_begin();
    cr_assert_eq(cg_unit_start(&u, &no_properties, &e), 0, "%s", e.text);
    cr_expect_eq(cg_unit_is_ours(&u, &e), 1);
    kit_bus_collect(SCOPE);
    cr_expect_eq(cg_unit_is_ours(&u, &e), 0);
    cr_expect_eq(cg_unit_stop(&u, &e), 0);
    kit_bus_start(SCOPE, "a.slice");
    cr_expect_eq(cg_unit_is_ours(&u, &e), -EEXIST);
    cr_expect_eq(cg_unit_stop(&u, &e), -EEXIST);
    cr_expect(kit_bus_has(SCOPE));
    kit_tree_end();
}

/* One that has ended goes, however often systemd has to be asked; one that has not stays. */
Test(bus, collect, .timeout = 300)
{
    static const char *const errors[] = {NO_REPLY, ""};

    for (unsigned i = 0; i < 16; i++) {
        unsigned n = i / 4;
        const char *error = errors[i / 2 % 2];
        struct err e = ERR_INIT;
        int r;

        kit_tree_begin(CG_MODE_V2);
        kit_bus_begin();
        kit_bus_start(SCOPE, "a.slice");
        r = cg_unit_collect(SCOPE, &e);
        cr_expect(r == 0 && kit_bus_has(SCOPE), "one that runs: %d %s", r, e.text);
        cr_expect_eq(kit_bus_calls("Ref"), 0);
        kit_bus_end(SCOPE);
        kit_bus_fail(n, n > 0, error, i & 1);
        r = cg_unit_collect(SCOPE, &e);
        cr_expect(r == 0 && !kit_bus_has(SCOPE), "call %u, \"%s\": %d %s", n, error, r, e.text);
        cr_expect_eq(kit_bus_calls("Subscribe"), 0, "it would be told of the unit first");
        r = cg_unit_collect(SCOPE, &e);
        cr_expect_eq(r, 0, "there is none: %d %s", r, e.text);
        kit_tree_end();
    }
}
