/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/table.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/limits/properties.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <fnmatch.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(resets, .fini = drop_arena);

/* --- files as text --- */

/* Files whose lines limits.c marks. */
static unsigned flags_of(const char *file, bool v2)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < count; i++) {
        const char *pattern = v2 ? rows[i].v2_file : rows[i].v1_file;

        if (pattern && fnmatch(pattern, file, 0) == 0)
            return rows[i].flags;
    }
    return CG_FILE_LINES; /* of unified, or for devices */
}

/* As kit_files(), with the flags of each. */
static struct cg_files make_files(const char *text, bool v2)
{
    struct cg_files files = kit_files(&arena, text, v2);

    for (size_t i = 0; i < files.count; i++)
        files.items[i].flags = flags_of(files.items[i].file, v2);
    return files;
}

/* "pids.max=max r; " with the flags: r a reset, i inherited. */
static const char *files_text(const struct cg_files *files)
{
    char *text = arena_strdup(&arena, "");

    for (size_t i = 0; i < files->count; i++) {
        const struct cg_file *f = &files->items[i];

        text = arena_printf(&arena, "%s%s%s=%s%s%s%s", text, i ? "; " : "", f->file, f->text,
                            f->flags & (CG_FILE_RESET | CG_FILE_INHERIT) ? " " : "",
                            f->flags & CG_FILE_RESET ? "r" : "",
                            f->flags & CG_FILE_INHERIT ? "i" : "");
    }
    for (char *p = text; *p; p++)
        *p = *p == '\n' ? '|' : *p;
    return text;
}

/* --- the decision --- */

static const struct {
    bool v2;
    const char *before, *after, *want;
} changes[] = {
    {false, "", "", ""},
    {false, "", "cpu.shares=512; pids.max=3", "cpu.shares=512; pids.max=3"},
    /* the same again, or another value: nothing besides */
    {false, "cpu.shares=512; pids.max=3", "cpu.shares=512; pids.max=3",
     "cpu.shares=512; pids.max=3"},
    {false, "pids.max=4", "pids.max=3", "pids.max=3"},
    {true, "io.max=8:0 rbps=1", "io.max=8:0 rbps=1", "io.max=8:0 rbps=1"},
    /* a limit that is gone; what is gone comes first */
    {false, "pids.max=4", "", "pids.max=max r"},
    {false, "pids.max=4", "cpu.shares=2", "pids.max=max r; cpu.shares=2"},
    {false, "cpu.shares=512; cpu.cfs_period_us=50000; cpu.cfs_quota_us=5; cpu.cfs_burst_us=6", "",
     "cpu.shares=1024 r; cpu.cfs_period_us=100000 r; cpu.cfs_quota_us=-1 r; cpu.cfs_burst_us=0 r"},
    {true, "cpu.weight=59; cpu.max=5 50000; cpu.max.burst=6; cpu.idle=1", "",
     "cpu.idle=0 r; cpu.weight=100 r; cpu.max=max 100000 r; cpu.max.burst=0 r"},
    {false, "cpu.rt_period_us=5; cpu.rt_runtime_us=4; cpu.idle=1", "",
     "cpu.rt_period_us=1000000 r; cpu.rt_runtime_us=0 r; cpu.idle=0 r"},
    /* what the parent has */
    {false, "cpuset.cpus=0; cpuset.mems=0", "", "cpuset.cpus= ri; cpuset.mems= ri"},
    {true, "cpuset.cpus=0; cpuset.mems=0", "cpuset.mems=1", "cpuset.cpus= ri; cpuset.mems=1"},
    {false, "memory.swappiness=5; net_cls.classid=6; net_prio.ifpriomap=lo 1|eth0 2", "",
     "memory.swappiness= ri; net_cls.classid= ri; net_prio.ifpriomap= ri"},
    /* memory */
    {false,
     "memory.limit_in_bytes=1; memory.memsw.limit_in_bytes=2; memory.soft_limit_in_bytes=3; "
     "memory.kmem.tcp.limit_in_bytes=4; memory.oom_control=1",
     "",
     "memory.limit_in_bytes=-1 r; memory.memsw.limit_in_bytes=-1 r; "
     "memory.soft_limit_in_bytes=-1 r; memory.kmem.tcp.limit_in_bytes=-1 r; memory.oom_control=0 "
     "r"},
    {true, "memory.max=1; memory.swap.max=2; memory.low=3", "",
     "memory.max=max r; memory.swap.max=max r; memory.low=0 r"},
    /* hugetlb, per size */
    {false, "hugetlb.2MB.limit_in_bytes=1; hugetlb.2MB.rsvd.limit_in_bytes=1",
     "hugetlb.1GB.limit_in_bytes=2",
     "hugetlb.2MB.limit_in_bytes=-1 r; hugetlb.2MB.rsvd.limit_in_bytes=-1 r; "
     "hugetlb.1GB.limit_in_bytes=2"},
    {true, "hugetlb.2MB.max=1; hugetlb.2MB.rsvd.max=1", "",
     "hugetlb.2MB.max=max r; hugetlb.2MB.rsvd.max=max r"},
    /* lines: those that are gone */
    {false, "blkio.throttle.read_bps_device=8:0 100|8:16 200",
     "blkio.throttle.read_bps_device=8:16 200",
     "blkio.throttle.read_bps_device=8:0 0 r; blkio.throttle.read_bps_device=8:16 200"},
    {false, "blkio.throttle.write_iops_device=8:0 100|8:16 200", "",
     "blkio.throttle.write_iops_device=8:0 0|8:16 0 r"},
    {true, "io.max=8:0 rbps=1 wiops=2|8:16 riops=3", "io.max=8:0 rbps=1 wiops=2",
     "io.max=8:16 riops=max r; io.max=8:0 rbps=1 wiops=2"},
    /* a key that is gone does not stay beside one that is not */
    {true, "io.max=8:0 rbps=1 wiops=2", "io.max=8:0 wiops=2",
     "io.max=8:0 rbps=max wiops=max r; io.max=8:0 wiops=2"},
    {true, "io.max=8:0 rbps=1", "io.max=8:0 rbps=10", "io.max=8:0 rbps=max r; io.max=8:0 rbps=10"},
    /* weights: the cgroup's own and those of devices */
    {false, "blkio.bfq.weight=50; blkio.bfq.weight_device=8:0 60; blkio.weight=50", "",
     "blkio.bfq.weight=100 r; blkio.bfq.weight_device=8:0 default r; blkio.weight=500 r"},
    {false, "blkio.weight_device=8:0 60; blkio.leaf_weight=7; blkio.leaf_weight_device=8:0 8", "",
     "blkio.weight_device=8:0 default r; blkio.leaf_weight=500 r; blkio.leaf_weight_device=8:0 "
     "default r"},
    {true, "io.bfq.weight=50; io.weight=400|8:0 500", "io.weight=8:0 500",
     "io.bfq.weight=100 r; io.weight=100 r; io.weight=8:0 500"},
    {true, "io.weight=default 400|8:0 500", "", "io.weight=100|8:0 default r"},
    /* unified */
    {true, "memory.high=1; memory.min=2; memory.oom.group=1; memory.swap.high=3", "",
     "memory.high=max r; memory.min=0 r; memory.oom.group=0 r; memory.swap.high=max r"},
    {true, "cpu.uclamp.min=5; cpu.uclamp.max=6; cpu.weight.nice=7", "",
     "cpu.uclamp.min=0 r; cpu.uclamp.max=max r; cpu.weight.nice=0 r"},
    {true, "rdma.max=mlx4_0 hca_handle=2 hca_object=2000", "",
     "rdma.max=mlx4_0 hca_handle=max hca_object=max r"},
    {true, "misc.max=sev 5|tdx 6", "misc.max=tdx 6", "misc.max=sev max r; misc.max=tdx 6"},
    {true, "io.latency=8:0 target=5", "", "io.latency=8:0 target=max r"},
    /* shares are nothing for an idle cgroup: it must be none meanwhile */
    {true, "cpu.weight=59; cpu.idle=1", "cpu.idle=1", "cpu.idle=0 r; cpu.weight=100 r; cpu.idle=1"},
    {false, "cpu.shares=2; cpu.idle=1", "cpu.shares=3", "cpu.idle=0 r; cpu.shares=3"},
    {false, "cpu.idle=1", "cpu.idle=1", "cpu.idle=1"},
};

/* All that is written: what takes limits away, and the limits. */
static void change_files(const struct cg_files *before, const struct cg_files *after, bool v2,
                         struct arena *a, struct cg_files *ret, const char ***warnings,
                         size_t *warning_count)
{
    cg_files_resets(before, after, v2, a, ret, warnings, warning_count);
    cg_files_append(a, ret, after);
}

Test(resets, change)
{
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        const struct cg_files before = make_files(changes[i].before, changes[i].v2);
        const struct cg_files after = make_files(changes[i].after, changes[i].v2);
        const char **warnings = NULL, *got;
        size_t warning_count = 0;
        struct cg_files change;

        change_files(&before, &after, changes[i].v2, &arena, &change, &warnings, &warning_count);
        got = files_text(&change);
        cr_expect(str_eq(got, changes[i].want) && warning_count == 0,
                  "v%d, from \"%s\" to \"%s\":\nexpected \"%s\"\ngot      \"%s\", %zu warnings",
                  changes[i].v2 + 1, changes[i].before, changes[i].after, changes[i].want, got,
                  warning_count);
    }
}

Test(resets, keeps_the_order_flags)
{
    const struct cg_files before = make_files("memory.limit_in_bytes=1; pids.max=1", false);
    const struct cg_files after = {0};
    const char **warnings = NULL;
    size_t warning_count = 0;
    struct cg_files change;

    change_files(&before, &after, false, &arena, &change, &warnings, &warning_count);
    cr_assert_eq(change.count, 2);
    cr_expect_eq(change.items[0].ctl, CG_CTL_MEMORY);
    cr_expect_eq(change.items[0].flags, CG_FILE_RETRY | CG_FILE_RESET);
    cr_expect_eq(change.items[1].ctl, CG_CTL_PIDS);
    cr_expect_eq(change.items[1].flags, CG_FILE_RESET);
}

/* A file of a kernel that we do not know yet. */
Test(resets, unknown_file)
{
    const struct cg_files before = make_files("memory.future=1; pids.max=1", true);
    const struct cg_files still = make_files("memory.future=2", true), none = {0};
    const char **warnings = NULL;
    size_t warning_count = 0;
    struct cg_files change;

    change_files(&before, &none, true, &arena, &change, &warnings, &warning_count);
    cr_expect_str_eq(files_text(&change), "pids.max=max r");
    cr_assert_eq(warning_count, 1);
    cr_expect(strstr(warnings[0], "memory.future"), "%s", warnings[0]);
    change_files(&before, &still, true, &arena, &change, &warnings, &warning_count);
    cr_expect_str_eq(files_text(&change), "pids.max=max r; memory.future=2");
    cr_expect_eq(warning_count, 1);
}

/* --- what may be set in between --- */

Test(resets, unite)
{
    static const struct {
        bool v2;
        const char *before, *after, *want;
    } cases[] = {
        {true, "", "pids.max=5", "pids.max=5"},
        {true, "pids.max=5", "", "pids.max=5"},
        {true, "pids.max=5; cpu.weight=9", "pids.max=6", "pids.max=6; cpu.weight=9"},
        {true, "io.max=8:0 rbps=1", "io.max=8:0 rbps=2", "io.max=8:0 rbps=2|8:0 rbps=1"},
        {true, "io.max=8:0 rbps=1|8:16 rbps=3", "io.max=8:16 rbps=3",
         "io.max=8:16 rbps=3|8:0 rbps=1"},
        {true, "memory.future=1", "memory.future=2", "memory.future=2"},
        {false, "blkio.weight_device=8:0 7", "blkio.weight_device=8:0 8",
         "blkio.weight_device=8:0 8|8:0 7"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct cg_files before = make_files(cases[i].before, cases[i].v2);
        const struct cg_files after = make_files(cases[i].after, cases[i].v2);
        const struct cg_files all = cg_files_unite(&before, &after, cases[i].v2, &arena);

        cr_expect_str_eq(files_text(&all), cases[i].want, "\"%s\" and \"%s\": %s", cases[i].before,
                         cases[i].after, files_text(&all));
    }
}

/* A name for each pattern of the table. */
static const char *example_of(const char *pattern)
{
    return str_eq(pattern, "blkio.throttle.*") ? "blkio.throttle.read_bps_device"
           : str_starts(pattern, "hugetlb.*")  ? arena_printf(&arena, "hugetlb.2MB%s", pattern + 9)
                                               : pattern;
}

/* Controller and flags of a file that was read from a record. */
Test(resets, add_by_name)
{
    struct cg_files files = {0};

    cg_files_add(&arena, &files, "memory.max", "5", true);
    cg_files_add(&arena, &files, "io.max", "8:0 rbps=1", true);
    cg_files_add(&arena, &files, "memory.future", "6", true);
    cr_assert_eq(files.count, 3);
    cr_expect(files.items[0].ctl == CG_CTL_MEMORY && files.items[0].flags == CG_FILE_RETRY);
    cr_expect(files.items[1].ctl == CG_CTL_BLKIO && files.items[1].flags == CG_FILE_LINES);
    cr_expect(files.items[2].ctl == CG_CTL_MEMORY && files.items[2].flags == CG_FILE_LINES);
}

/* Every row says how its file is without the limit, and systemd takes what it says. */
Test(resets, every_row)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < 2 * count; i++) {
        const struct cg_limit_row *row = &rows[i / 2];
        bool v2 = i % 2;
        const char *file = v2 ? row->v2_file : row->v1_file, **warnings = NULL;
        const char *property = v2 ? row->v2_property : row->v1_property;
        struct cg_properties properties = {0};
        struct cg_files before, after = {0}, change;
        size_t warning_count = 0;
        struct err e = ERR_INIT;

        if (!file)
            continue;
        cr_expect((v2 ? row->v2_reset : row->v1_reset) || row->device_reset, "%s on v%d: no reset",
                  row->name, v2 + 1);
        file = example_of(file);
        before =
            make_files(arena_printf(&arena, "%s=%s", file, row->device_reset ? "8:0 7" : "7"), v2);
        change_files(&before, &after, v2, &arena, &change, &warnings, &warning_count);
        cr_assert_eq(change.count, 1, "%s", file);
        cr_expect_str_eq(change.items[0].file, file);
        cr_expect(change.items[0].flags & CG_FILE_RESET, "%s", file);
        cr_expect_eq(cg_properties_limits(&change, v2, &arena, &properties, &e), 0, "%s", e.text);
        if (property && !row->device_reset)
            cr_expect(properties.count > 0 && str_eq(properties.items[0].name, property),
                      "%s: expected %s", file, property);
    }
}

/* What systemd is told when a limit is gone. */
Test(resets, properties)
{
    static const struct {
        bool v2;
        const char *before, *want;
    } cases[] = {
        {false, "cpu.shares=512", "CPUShares=1024"},
        {true, "cpu.weight=59", "CPUWeight=100"},
        {false, "cpu.cfs_period_us=50000; cpu.cfs_quota_us=5000",
         "CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=100000"},
        {true, "cpu.max=5000 50000", "CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=100000"},
        {true, "cpuset.cpus=0-3; cpuset.mems=1", "AllowedCPUs= AllowedMemoryNodes="},
        {false, "memory.limit_in_bytes=4096", "MemoryLimit=infinity"},
        {true, "memory.max=4096; memory.swap.max=1; memory.low=2",
         "MemoryMax=infinity MemorySwapMax=infinity MemoryLow=0"},
        {true, "memory.high=1; memory.min=2", "MemoryHigh=infinity MemoryMin=0"},
        {true, "pids.max=5", "TasksMax=infinity"},
        {true, "io.weight=400", "IOWeight=100"},
        {true, "io.weight=8:0 400", ""}, /* never was a property */
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct cg_files before = make_files(cases[i].before, cases[i].v2);
        const struct cg_files after = make_files("pids.max=5", cases[i].v2), none = {0};
        bool tasks = str_starts(cases[i].before, "pids");
        struct cg_properties properties = {0};
        const char **warnings = NULL;
        size_t warning_count = 0;
        autosbuf got = SBUF_INIT;
        struct err e = ERR_INIT;
        struct cg_files change;

        change_files(&before, tasks ? &none : &after, cases[i].v2, &arena, &change, &warnings,
                     &warning_count);
        cr_assert_eq(cg_properties_limits(&change, cases[i].v2, &arena, &properties, &e), 0,
                     "%s: %s", cases[i].before, e.text);
        for (size_t k = 0; k < properties.count - !tasks; k++)
            sbuf_addf(&got, "%s%s=%s", k ? " " : "", properties.items[k].name,
                      cg_property_text(&properties.items[k], &arena));
        cr_expect_str_eq(sbuf_text(&got), cases[i].want, "%s:\nexpected: %s\ngot:      %s",
                         cases[i].before, cases[i].want, sbuf_text(&got));
    }
}
