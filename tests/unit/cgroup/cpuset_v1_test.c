/* SPDX-License-Identifier: Apache-2.0 */

/* How cpusets of v1 are filled and limited, on this host. */

#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>

TestSuite(cpuset_v1, .init = kit_start, .fini = kit_finish, .timeout = 120);

Test(cpuset_v1, is_filled_top_down)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPUSET);
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    const char *levels[] = {kit_base, kit_sub("a"), kit_sub("a/b")};
    struct cg_controller c = kit_create(&kit_host, NULL, levels[2], NULL, &kit_no_limits);
    pid_t pid = kit_start_child();
    struct err e = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *want = kit_read_value(h, "/", files[i]);

        cr_expect_str_neq(want, "");
        for (size_t k = 0; k < ARRAY_SIZE(levels); k++)
            cr_expect_str_eq(kit_read_value(h, levels[k], files[i]), want);
    }
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "it takes tasks");
    kit_end_child(pid);
    kit_delete_ok(&c);
}

/* The last CPU of the root's list. */
static const char *last_cpu(const struct cg_hierarchy *h)
{
    const char *cpus = kit_read_value(h, "/", "cpuset.cpus");
    size_t len = strlen(cpus);

    while (len > 0 && cpus[len - 1] != ',' && cpus[len - 1] != '-')
        len--;
    if (len == 0)
        cr_skip_test("one CPU only: a value cannot differ from its parent's");
    return cpus + len;
}

Test(cpuset_v1, from_nearest_configured_ancestor)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPUSET);
    const char *one = last_cpu(h), *all = kit_read_value(h, "/", "cpuset.cpus");
    const char *mems = kit_read_value(h, "/", "cpuset.mems");
    struct cg_controller c;

    /* base is configured, a exists and is not, b is missing */
    kit_make_cgroup(h, kit_base);
    cr_assert_eq(kit_write_value(h, kit_base, "cpuset.cpus", one), 0);
    kit_make_cgroup(h, kit_sub("a"));
    c = kit_create(&kit_host, NULL, kit_sub("a/b/c"), NULL, &kit_no_limits);
    cr_expect_str_eq(kit_read_value(h, kit_base, "cpuset.cpus"), one);
    cr_expect_str_eq(kit_read_value(h, kit_base, "cpuset.mems"), mems,
                     "the other file is its own matter");
    cr_expect_str_eq(kit_read_value(h, kit_sub("a"), "cpuset.cpus"), one);
    cr_expect_str_eq(kit_read_value(h, kit_sub("a/b"), "cpuset.cpus"), one);
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), one);
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.mems"), mems);

    /* what is configured is left alone, even when its parent has more */
    cr_assert_eq(kit_write_value(h, kit_base, "cpuset.cpus", all), 0);
    cg_close(&c);
    c = kit_create(&kit_host, NULL, kit_sub("a/b/c"), NULL, &kit_no_limits);
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), one);
    kit_delete_ok(&c);
}

Test(cpuset_v1, limit)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPUSET);
    const char *one = last_cpu(h), *all = kit_read_value(h, "/", "cpuset.cpus");
    const char *mems = kit_read_value(h, "/", "cpuset.mems");
    const struct cg_limits limits = {.cpuset_cpus = one};
    const struct cg_files files = kit_files_of(&limits, false);
    struct cg_controller c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &files);
    struct err e = ERR_INIT;

    cr_expect_str_eq(kit_read_value(h, kit_base, "cpuset.cpus"), all, "a parent is not limited");
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), one);
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.mems"), mems);

    /* later changes */
    kit_expect_ok(cg_update_cpuset(&c, all, NULL, &e), &e, "cpus");
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), all);
    kit_expect_ok(cg_update_cpuset(&c, one, "", &e), &e, "cpus, empty mems");
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), one);
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.mems"), mems);
    kit_expect_ok(cg_update_cpuset(&c, "", mems, &e), &e, "mems");
    kit_expect_ok(cg_update_cpuset(&c, all, mems, &e), &e, "both");
    kit_expect_ok(cg_update_cpuset(&c, all, mems, &e), &e, "both again");
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), all);
    kit_expect_ok(cg_update_cpuset(&c, NULL, NULL, &e), &e, "neither");
    cr_expect_str_eq(kit_read_value(h, c.path, "cpuset.cpus"), all);
    cr_expect_lt(cg_update_cpuset(&c, "8191", NULL, &e), 0, "no such CPU");
    cr_expect(strstr(e.text, "\"8191\"") && strstr(e.text, "cpuset.cpus"), "\"%s\"", e.text);
    kit_delete_ok(&c);
}

Test(cpuset_v1, update_cpuset_without_controller)
{
    struct cg_controller c;
    struct cg_host host;
    struct err e = ERR_INIT;

    kit_need_v1();
    /* the same host without its cpuset hierarchy */
    host = kit_host;
    host.count = 0;
    for (size_t i = 0; i < kit_host.count; i++) {
        if (!(kit_host.hierarchies[i].controllers & CG_CTL_BIT(CG_CTL_CPUSET)))
            host.hierarchies[host.count++] = kit_host.hierarchies[i];
    }
    c = kit_create(&host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    cr_expect_eq(cg_update_cpuset(&c, "0", NULL, &e), -ENOENT);
    cr_expect(strstr(e.text, "cpuset"), "\"%s\"", e.text);
    cr_expect_eq(cg_update_cpuset(&c, NULL, NULL, NULL), 0, "nothing to set");
    kit_delete_ok(&c);
}
