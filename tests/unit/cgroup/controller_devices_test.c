/* SPDX-License-Identifier: Apache-2.0 */

/* Device lists of a controller on v1 and v2: the same steps on both. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "cgroup/devices/bpf.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>

TestSuite(controller_devices, .init = kit_start, .fini = kit_finish, .timeout = 120);

static const struct cg_dev_rule full = {true, 'c', 1, 7, CG_DEV_RWM};
static const struct cg_dev_rule null_device = {true, 'c', 1, 3, CG_DEV_RWM};

/* The same steps on any backend; @w is in the cgroup. */
static void check_devices(struct cg_controller *c, const struct kit_worker *w)
{
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct err e = ERR_INIT;

    cg_dev_rules_add(&kit_arena, &rules, null_device);
    table = dev_compile(&kit_arena, &rules);
    for (int i = 0; i < 2; i++) {
        kit_expect_ok(kit_put_devices(c, &table, &e), &e, "set");
        cr_expect(kit_ask(w, 'n') == 0 && kit_ask(w, 'f') == EPERM, "null only");
    }
    for (int i = 0; i < 2; i++) {
        kit_expect_ok(cg_add_device(c, &rules, full, &kit_arena, &e), &e, "add");
        cr_expect(kit_ask(w, 'n') == 0 && kit_ask(w, 'f') == 0, "null and full");
    }
    for (int i = 0; i < 2; i++) {
        kit_expect_ok(cg_remove_device(c, &rules, null_device, &kit_arena, &e), &e, "remove");
        cr_expect(kit_ask(w, 'n') == EPERM && kit_ask(w, 'f') == 0, "full only");
    }
    kit_expect_ok(cg_remove_device(c, &rules, full, &kit_arena, &e), &e, "remove");
    cr_expect(kit_ask(w, 'n') == EPERM && kit_ask(w, 'f') == EPERM, "none");
    kit_expect_ok(cg_add_device(c, &rules, null_device, &kit_arena, &e), &e, "add");
    cr_expect(kit_ask(w, 'n') == 0 && kit_ask(w, 'f') == EPERM, "null again");
}

Test(controller_devices, devices)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_DEVICES);
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct cg_controller c;
    struct err e = ERR_INIT;
    struct kit_worker w = kit_start_worker();

    /* with the cgroup, from the start */
    cg_dev_rules_add(&kit_arena, &rules, full);
    table = dev_compile(&kit_arena, &rules);
    cg_init(&c, &kit_host, NULL, kit_sub("a"), NULL);
    kit_expect_ok(kit_put_new(&c, &kit_no_limits, &table, &e), &e, "create");
    cr_expect_str_eq(kit_read_value(h, c.path, "devices.list"), "c 1:7 rwm");
    kit_expect_ok(cg_add_process(&c, kit_who(w.pid), &e), &e, "add");
    cr_expect(kit_ask(&w, 'n') == EPERM && kit_ask(&w, 'f') == 0, "full only");
    check_devices(&c, &w);
    /* created without a table: the rules are left alone */
    cg_close(&c);
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    cr_expect_str_eq(kit_read_value(h, c.path, "devices.list"), "c 1:3 rwm");
    kit_end_child(w.pid);
    kit_delete_ok(&c);
}

Test(controller_devices, devices_beyond_the_parent)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_DEVICES);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct err e = ERR_INIT;
    int r;

    cg_dev_rules_add(&kit_arena, &rules, full);
    table = dev_compile(&kit_arena, &rules);
    cg_dev_rules_add(&kit_arena, &rules, null_device);
    kit_expect_ok(kit_put_devices(&c, &table, &e), &e, "full only");
    cr_assert_eq(kit_write_value(h, kit_base, "devices.deny", "c 1:3 rwm"), 0);
    table = dev_compile(&kit_arena, &rules);
    r = kit_put_devices(&c, &table, &e);
    cr_expect_eq(r, -EPERM, "expected %d, got %d", -EPERM, r);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s%s", h->mount_point, c.path)),
              "directory: \"%s\"", e.text);
    kit_delete_ok(&c);
}

static int count_programs(const struct cg_hierarchy *h, const char *path)
{
    autofd fd = openat(h->fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint32_t ids[DEV_ATTACHED_MAX];
    size_t ours, all = dev_attached(fd, ids, &ours);

    cr_expect_eq(all, ours, "%s: nobody else's", path);
    return (int)ours;
}

Test(controller_devices, v2_devices)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct cg_controller leaf, plain;
    struct err e = ERR_INIT;
    struct kit_worker w = kit_start_worker();

    if (cg_bpf_device_probe() < 0)
        cr_skip_test("no device programs on this kernel");
    cg_dev_rules_add(&kit_arena, &rules, full);
    table = dev_compile(&kit_arena, &rules);
    cg_init(&plain, &kit_v2_host, NULL, "/a", NULL);
    kit_expect_ok(kit_put_new(&plain, &kit_no_limits, &table, &e), &e, "create");
    leaf = kit_create(&kit_v2_host, NULL, "/a", "vcpu", &kit_no_limits);
    cr_expect_eq(count_programs(h, "/a"), 1);
    cr_expect_eq(count_programs(h, "/a/vcpu"), 0, "not on a leaf");
    kit_expect_ok(cg_add_process(&plain, kit_who(w.pid), &e), &e, "add");
    kit_expect_ok(cg_add_thread(&leaf, kit_who(w.pid), &e), &e, "add");
    cr_expect(kit_ask(&w, 'n') == EPERM && kit_ask(&w, 'f') == 0, "full only, in the leaf, too");
    check_devices(&plain, &w);
    cr_expect_eq(count_programs(h, "/a"), 1, "one program, however often it was set");
    kit_end_child(w.pid);
    kit_delete_ok(&leaf);
    kit_delete_ok(&plain);
}
