/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/ctl.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "cgroup/host.h"

#include <criterion/criterion.h>
#include <linux/magic.h>
#include <sys/vfs.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(ctl, .fini = drop_arena);

Test(ctl, mode_names)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};
    static const char *const names[] = {"v1", "hybrid", "v2"};
    static const char *const bad[] = {"", "v3", "V1", "v1 ", "unified"};
    enum cg_mode mode;

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        cr_expect_str_eq(cg_mode_name(modes[i]), names[i]);
        mode = modes[(i + 1) % ARRAY_SIZE(modes)];
        cr_expect(cg_mode_parse(names[i], &mode) == 0 && mode == modes[i], "\"%s\": got %d",
                  names[i], mode);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        mode = CG_MODE_HYBRID;
        cr_expect(cg_mode_parse(bad[i], &mode) == -EINVAL && mode == CG_MODE_HYBRID,
                  "\"%s\" is no mode", bad[i]);
    }
}

#define BIT(x) CG_CTL_BIT(CG_CTL_##x)

Test(ctl, names_and_files)
{
    for (int v2 = 0; v2 < 2; v2++) {
        for (unsigned i = 0; i < CG_CTL_COUNT; i++) {
            const char *name = cg_ctl_name((enum cg_ctl)i, v2);
            char *file = arena_printf(&arena, "%s.max", name);

            cr_expect_eq(cg_ctl_parse_list(name, ',', v2), CG_CTL_BIT(i), "%s, v%d", name, v2 + 1);
            cr_expect_eq(cg_ctl_of_file(file, v2), (enum cg_ctl)i, "%s, v%d", file, v2 + 1);
            for (unsigned k = 0; k < i; k++)
                cr_expect_str_neq(cg_ctl_name((enum cg_ctl)k, v2), name);
        }
    }
    cr_expect_str_eq(cg_ctl_name(CG_CTL_BLKIO, false), "blkio");
    cr_expect_str_eq(cg_ctl_name(CG_CTL_BLKIO, true), "io");
}

Test(ctl, of_file)
{
    static const struct {
        const char *file;
        bool v2;
        enum cg_ctl want;
    } cases[] = {
        {"memory.max", true, CG_CTL_MEMORY},
        {"memory.memsw.limit_in_bytes", false, CG_CTL_MEMORY},
        {"hugetlb.2MB.rsvd.max", true, CG_CTL_HUGETLB},
        {"cpu.weight", true, CG_CTL_CPU},
        {"cpuset.cpus", true, CG_CTL_CPUSET},
        {"cpuacct.usage", false, CG_CTL_CPUACCT},
        {"io.max", true, CG_CTL_BLKIO},
        {"io.max", false, CG_CTL_COUNT},
        {"blkio.weight", false, CG_CTL_BLKIO},
        {"blkio.weight", true, CG_CTL_COUNT},
        {"cgroup.procs", true, CG_CTL_COUNT},
        {"tasks", false, CG_CTL_COUNT},
        {"memoryx.max", true, CG_CTL_COUNT},
        {"memor.max", true, CG_CTL_COUNT},
        {".max", true, CG_CTL_COUNT},
        {"", true, CG_CTL_COUNT},
        {"Memory.max", true, CG_CTL_COUNT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum cg_ctl got = cg_ctl_of_file(cases[i].file, cases[i].v2);

        cr_expect_eq(got, cases[i].want, "\"%s\" on v%d: expected %d, got %d", cases[i].file,
                     cases[i].v2 + 1, cases[i].want, got);
    }
}

Test(ctl, lists)
{
    static const struct {
        const char *list;
        char separator;
        bool v2;
        unsigned want;
    } cases[] = {
        {"", ',', false, 0},
        {"cpu,cpuacct", ',', false, BIT(CPU) | BIT(CPUACCT)},
        {"cpuset io memory", ' ', true, BIT(CPUSET) | BIT(BLKIO) | BIT(MEMORY)},
        {"cpuset blkio memory", ' ', true, BIT(CPUSET) | BIT(MEMORY)},
        {"io", ',', false, 0},
        {"rw,blkio,xattr", ',', false, BIT(BLKIO)},
        {"name=systemd", ',', false, 0},
        {"cpu", ' ', true, BIT(CPU)},
        {"cpu ", ' ', true, BIT(CPU)},
        {" cpu  pids", ' ', true, BIT(CPU) | BIT(PIDS)},
        {"cpu cpuset", ',', true, 0}, /* the other separator separates nothing */
        {"dmem misc", ' ', true, BIT(MISC)},
        {"net_cls,net_prio,perf_event,rdma,hugetlb,freezer,devices,pids", ',', false,
         BIT(NET_CLS) | BIT(NET_PRIO) | BIT(PERF_EVENT) | BIT(RDMA) | BIT(HUGETLB) | BIT(FREEZER) |
             BIT(DEVICES) | BIT(PIDS)},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned got = cg_ctl_parse_list(cases[i].list, cases[i].separator, cases[i].v2);

        cr_expect_eq(got, cases[i].want, "\"%s\": expected %#x, got %#x", cases[i].list,
                     cases[i].want, got);
    }
}

/* cgroup-v2.rst "Threads": exactly these. */
Test(ctl, threaded)
{
    cr_expect_eq(CG_CTL_THREADED, BIT(CPU) | BIT(CPUSET) | BIT(PIDS) | BIT(PERF_EVENT));
}
