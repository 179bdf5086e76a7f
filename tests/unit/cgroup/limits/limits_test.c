/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/table.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <inttypes.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(limits, .fini = drop_arena);

/* --- the table itself --- */

Test(limits, rows_are_consistent)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    cr_assert_gt(count, 15);
    for (size_t i = 0; i < count; i++) {
        const struct cg_limit_row *row = &rows[i];

        const char *name = row->name ? row->name : row->v2_file ? row->v2_file : row->v1_file;

        cr_assert(name && strchr("chimbnpr", name[0]), "row %zu: name", i);
        cr_expect(row->v1_file || row->v2_file, "%s: a file for some version", name);
        cr_expect(row->emit || row->min <= row->max, "%s: min and max", name);
        cr_expect(!row->name || row->emit || row->max != 0, "%s: a number needs a range", name);
        cr_expect(row->name || (!row->emit && !row->is_set), "%s: no member sets it", name);
        cr_expect_eq(row->property_form == CG_NO_PROPERTY, !row->v1_property && !row->v2_property,
                     "%s: a property and how it is made", name);
        for (int v2 = 0; v2 < 2; v2++) {
            const char *file = v2 ? row->v2_file : row->v1_file;

            if (!file)
                continue;
            cr_expect_eq(cg_ctl_of_file(file, v2), row->ctl, "%s: %s is of controller %s", name,
                         file, cg_ctl_name(row->ctl, v2));
            for (size_t k = 0; k < i; k++) {
                const char *other = v2 ? rows[k].v2_file : rows[k].v1_file;

                cr_expect(!other || !str_eq(other, file), "rows %zu and %zu share %s", i, k, file);
            }
        }
    }
}

/* A row that is one number, at its bounds and one beyond, for both versions. */
Test(limits, rows_bounds)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < count; i++) {
        const struct cg_limit_row *row = &rows[i];
        const struct {
            int64_t value;
            bool fits;
        } values[] = {
            {row->min, true},
            {row->max, true},
            {row->min - 1, false},
            {row->max < INT64_MAX ? row->max + 1 : INT64_MIN, false},
        };

        if (!row->name || row->emit || row->is_set)
            continue;
        for (size_t k = 0; k < ARRAY_SIZE(values) * 2; k++) {
            bool v2 = k >= ARRAY_SIZE(values), fits = values[k % ARRAY_SIZE(values)].fits;
            const char *file = v2 ? row->v2_file : row->v1_file, **warnings = NULL;
            struct cg_value value = {true, values[k % ARRAY_SIZE(values)].value};
            struct cg_limits limits = {0};
            struct cg_files files;
            struct err e = ERR_INIT;
            size_t warning_count = 0;
            const char *want, *got;
            int r;

            memcpy((char *)&limits + row->offset, &value, sizeof value);
            cr_assert_eq(cg_limit_value(&limits, row->offset)->value, value.value);
            r = cg_limits_files(&limits, v2, &arena, &files, &warnings, &warning_count, &e);
            if (!file) {
                cr_expect(r == 0 && files.count == 0 && warning_count == 1 &&
                              strstr(warnings[0], row->name),
                          "%s has no v%d file: expected one warning that names it, got %d, %zu "
                          "files, %zu warnings",
                          row->name, v2 + 1, r, files.count, warning_count);
                continue;
            }
            cr_expect_eq(warning_count, 0, "%s on v%d", row->name, v2 + 1);
            if (!fits) {
                cr_expect(r == -EINVAL && e.bad_input &&
                              strstr(e.text, arena_printf(&arena, "linux.resources.%s", row->name)),
                          "%s = %" PRId64 " on v%d: expected -EINVAL, got %d \"%s\"", row->name,
                          value.value, v2 + 1, r, e.text);
                continue;
            }
            want = value.value == CG_UNLIMITED ? (v2 ? "max" : "-1")
                                               : arena_printf(&arena, "%" PRId64, value.value);
            got = cg_files_get(&files, file);
            cr_expect(r == 0 && got && str_eq(got, want),
                      "%s = %" PRId64 " on v%d: expected %s=%s, got %d %s %s", row->name,
                      value.value, v2 + 1, file, want, r, got ? got : "nothing", e.text);
        }
    }
}

/* --- limits as files --- */

/*
 * "file=text flags" of each file, joined by " ; ", newlines as '|'. Flags: l lines, o optional,
 * e either, r retry, b bounded. Warnings follow as " ~NAME", an error is "!text".
 */
static const char *outcome(const struct cg_limits *limits, bool v2)
{
    const char **warnings = NULL;
    size_t warning_count = 0;
    struct cg_files files;
    struct err e = ERR_INIT;
    int r = cg_limits_files(limits, v2, &arena, &files, &warnings, &warning_count, &e);
    char *text = arena_strdup(&arena, "");

    if (r < 0)
        return arena_printf(&arena, "!%s%s", r == -EINVAL && e.bad_input ? "" : "(code) ", e.text);
    for (size_t i = 0; i < files.count; i++) {
        const struct cg_file *f = &files.items[i];

        cr_expect_eq(f->ctl, cg_ctl_of_file(f->file, v2), "%s belongs to %s", f->file,
                     cg_ctl_name(f->ctl, v2));
        text = arena_printf(
            &arena, "%s%s%s=%s%s%s%s%s%s%s", text, i ? " ; " : "", f->file, f->text,
            f->flags ? " " : "", f->flags & CG_FILE_LINES ? "l" : "",
            f->flags & CG_FILE_OPTIONAL ? "o" : "", f->flags & CG_FILE_EITHER ? "e" : "",
            f->flags & CG_FILE_RETRY ? "r" : "", f->flags & CG_FILE_BOUNDED ? "b" : "");
    }
    for (size_t i = 0; i < warning_count; i++) {
        char *name = arena_strdup(&arena, warnings[i]), *end = strchr(name, ' ');

        cr_expect(end && str_starts(name, "linux.resources.") && strstr(end, v2 ? "v2" : "v1"),
                  "warning: \"%s\"", warnings[i]);
        *end = '\0';
        text = arena_printf(&arena, "%s%s~%s", text, *text ? " " : "",
                            name + strlen("linux.resources."));
    }
    for (char *p = text; *p; p++)
        *p = *p == '\n' ? '|' : *p;
    return text;
}

/* @want that starts with '!' lists parts of the message, separated by '&'. */
static void expect_outcome(const char *name, const struct cg_limits *limits, bool v2,
                           const char *want)
{
    const char *got = outcome(limits, v2);
    bool same = str_eq(got, want);

    if (want[0] == '!') {
        char *cursor = arena_strdup(&arena, want + 1), *part;

        same = got[0] == '!';
        while ((part = str_next(&cursor, '&')))
            same = same && strstr(got, part);
    }
    cr_expect(same, "%s, v%d:\nexpected \"%s\"\ngot      \"%s\"", name, v2 + 1, want, got);
}

#define N(x)                                                                                       \
    {                                                                                              \
        true, (x)                                                                                  \
    }
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const struct row {
    const char *name;
    struct cg_limits limits;
    const char *v1, *v2;
} numbers[] = {
    {"nothing", {.cpuset_cpus = NULL}, "", ""},

    {"shares", {.cpu_shares = N(1024)}, "cpu.shares=1024", "cpu.weight=100"},
    {"shares 2", {.cpu_shares = N(2)}, "cpu.shares=2", "cpu.weight=1"},
    {"shares 1", {.cpu_shares = N(1)}, "cpu.shares=1", "cpu.weight=1"},
    {"shares 0 is not set", {.cpu_shares = N(0)}, "", ""},
    {"shares 262144", {.cpu_shares = N(262144)}, "cpu.shares=262144", "cpu.weight=10000"},
    {"shares 300000", {.cpu_shares = N(300000)}, "cpu.shares=300000", "cpu.weight=10000"},

    {"quota and period",
     {.cpu_quota_us = N(50000), .cpu_period_us = N(200000)},
     "cpu.cfs_period_us=200000 r ; cpu.cfs_quota_us=50000 rb",
     "cpu.max=50000 200000 r"},
    {"quota alone",
     {.cpu_quota_us = N(50000)},
     "cpu.cfs_quota_us=50000 rb",
     "cpu.max=50000 100000 r"},
    {"period alone",
     {.cpu_period_us = N(50000)},
     "cpu.cfs_period_us=50000 r",
     "cpu.max=max 50000 r"},
    {"quota -1", {.cpu_quota_us = N(-1)}, "cpu.cfs_quota_us=-1 rb", "cpu.max=max 100000 r"},
    {"quota -7: any negative one is none",
     {.cpu_quota_us = N(-7)},
     "cpu.cfs_quota_us=-1 rb",
     "cpu.max=max 100000 r"},
    {"quota -1, period",
     {.cpu_quota_us = N(-1), .cpu_period_us = N(50000)},
     "cpu.cfs_period_us=50000 r ; cpu.cfs_quota_us=-1 rb",
     "cpu.max=max 50000 r"},
    {"quota 0 is not set", {.cpu_quota_us = N(0)}, "", ""},
    {"quota 0, period 0", {.cpu_quota_us = N(0), .cpu_period_us = N(0)}, "", ""},
    {"period 0 is not set", {.cpu_period_us = N(0)}, "", ""},
    {"quota, period 0",
     {.cpu_quota_us = N(25000), .cpu_period_us = N(0)},
     "cpu.cfs_quota_us=25000 rb",
     "cpu.max=25000 100000 r"},
    {"quota 0, period",
     {.cpu_quota_us = N(0), .cpu_period_us = N(50000)},
     "cpu.cfs_period_us=50000 r",
     "cpu.max=max 50000 r"},
    {"quota that is not set counts for nothing", {.cpu_quota_us = {false, 5000}}, "", ""},

    {"burst", {.cpu_burst_us = N(2000)}, "cpu.cfs_burst_us=2000 r", "cpu.max.burst=2000 r"},
    {"burst 0", {.cpu_burst_us = N(0)}, "cpu.cfs_burst_us=0 r", "cpu.max.burst=0 r"},
    {"burst -1",
     {.cpu_burst_us = N(-1)},
     "!linux.resources.cpu.burst&-1",
     "!linux.resources.cpu.burst"},
    {"quota before burst",
     {.cpu_quota_us = N(5000), .cpu_burst_us = N(1000)},
     "cpu.cfs_quota_us=5000 rb ; cpu.cfs_burst_us=1000 r",
     "cpu.max=5000 100000 r ; cpu.max.burst=1000 r"},
    {"real-time: period first; v1 only",
     {.cpu_rt_runtime_us = N(950000), .cpu_rt_period_us = N(1000000)},
     "cpu.rt_period_us=1000000 r ; cpu.rt_runtime_us=950000 r",
     "~cpu.realtimePeriod ~cpu.realtimeRuntime"},
    {"real-time runtime -1",
     {.cpu_rt_runtime_us = N(-1)},
     "cpu.rt_runtime_us=-1 r",
     "~cpu.realtimeRuntime"},
    {"real-time runtime -2",
     {.cpu_rt_runtime_us = N(-2)},
     "!linux.resources.cpu.realtimeRuntime",
     "~cpu.realtimeRuntime"},
    {"real-time period 0",
     {.cpu_rt_period_us = N(0)},
     "!linux.resources.cpu.realtimePeriod",
     "~cpu.realtimePeriod"},
    {"idle", {.cpu_idle = N(1)}, "cpu.idle=1", "cpu.idle=1"},
    {"idle and shares", {.cpu_idle = N(1), .cpu_shares = N(512)}, "cpu.idle=1", "cpu.idle=1"},
    {"not idle and shares",
     {.cpu_idle = N(0), .cpu_shares = N(1024)},
     "cpu.shares=1024 ; cpu.idle=0",
     "cpu.weight=100 ; cpu.idle=0"},
    {"idle 0", {.cpu_idle = N(0)}, "cpu.idle=0", "cpu.idle=0"},
    {"idle 2", {.cpu_idle = N(2)}, "!linux.resources.cpu.idle&2&0..1", "!linux.resources.cpu.idle"},

    {"cpuset",
     {.cpuset_cpus = "0-3,8", .cpuset_mems = "0"},
     "cpuset.cpus=0-3,8 ; cpuset.mems=0",
     "cpuset.cpus=0-3,8 ; cpuset.mems=0"},
    {"cpus alone", {.cpuset_cpus = "1"}, "cpuset.cpus=1", "cpuset.cpus=1"},
    {"mems alone", {.cpuset_mems = "1"}, "cpuset.mems=1", "cpuset.mems=1"},
    {"empty lists are not set", {.cpuset_cpus = "", .cpuset_mems = ""}, "", ""},

    {"pids", {.pids = N(100)}, "pids.max=100", "pids.max=100"},
    {"pids 1", {.pids = N(1)}, "pids.max=1", "pids.max=1"},
    {"pids 0", {.pids = N(0)}, "pids.max=max", "pids.max=max"},
    {"pids -1", {.pids = N(-1)}, "pids.max=max", "pids.max=max"},
    {"pids -5", {.pids = N(-5)}, "pids.max=max", "pids.max=max"},

    {"reservation",
     {.memory_reservation = N(MIB)},
     "memory.soft_limit_in_bytes=1048576",
     "memory.low=1048576"},
    {"reservation -1",
     {.memory_reservation = N(-1)},
     "memory.soft_limit_in_bytes=-1",
     "memory.low=max"},
    {"reservation -2",
     {.memory_reservation = N(-2)},
     "!linux.resources.memory.reservation",
     "!linux.resources.memory.reservation"},
    {"kernelTCP",
     {.memory_kernel_tcp = N(4096)},
     "memory.kmem.tcp.limit_in_bytes=4096",
     "~memory.kernelTCP"},
    {"swappiness", {.memory_swappiness = N(60)}, "memory.swappiness=60", "~memory.swappiness"},
    {"swappiness 0", {.memory_swappiness = N(0)}, "memory.swappiness=0", "~memory.swappiness"},
    {"swappiness 101",
     {.memory_swappiness = N(101)},
     "!linux.resources.memory.swappiness&101&0..100",
     "~memory.swappiness"},
    {"disableOOMKiller",
     {.memory_no_oom_kill = N(1)},
     "memory.oom_control=1",
     "~memory.disableOOMKiller"},
    {"disableOOMKiller false", {.memory_no_oom_kill = N(0)}, "", ""},

    {"classID", {.net_class_id = N(0x100001)}, "net_cls.classid=1048577", "~network.classID"},
    {"classID 4294967295",
     {.net_class_id = N(UINT32_MAX)},
     "net_cls.classid=4294967295",
     "~network.classID"},
    {"classID too large",
     {.net_class_id = N(INT64_C(4294967296))},
     "!linux.resources.network.classID",
     "~network.classID"},
};

/* Memory and swap. OCI and v1 count both together, v2 counts swap alone. */
static const struct row swaps[] = {
    {"limit",
     {.memory_limit = N(64 * MIB)},
     "memory.limit_in_bytes=67108864 r",
     "memory.max=67108864 r"},
    {"limit -1 frees swap, too, where there is such a file",
     {.memory_limit = N(-1)},
     "memory.limit_in_bytes=-1 r ; memory.memsw.limit_in_bytes=-1 or",
     "memory.max=max r ; memory.swap.max=max or"},
    {"limit -2",
     {.memory_limit = N(-2)},
     "!linux.resources.memory.limit",
     "!linux.resources.memory.limit"},
    {"limit and swap",
     {.memory_limit = N(64 * MIB), .memory_swap = N(96 * MIB)},
     "memory.limit_in_bytes=67108864 r ; memory.memsw.limit_in_bytes=100663296 r",
     "memory.max=67108864 r ; memory.swap.max=33554432 r"},
    {"no swap at all",
     {.memory_limit = N(64 * MIB), .memory_swap = N(64 * MIB)},
     "memory.limit_in_bytes=67108864 r ; memory.memsw.limit_in_bytes=67108864 r",
     "memory.max=67108864 r ; memory.swap.max=0 or"},
    {"swap one byte below the limit",
     {.memory_limit = N(64 * MIB), .memory_swap = N(64 * MIB - 1)},
     "!linux.resources.memory.swap&67108863&67108864",
     "!linux.resources.memory.swap&67108863&67108864"},
    {"swap -1",
     {.memory_limit = N(64 * MIB), .memory_swap = N(-1)},
     "memory.limit_in_bytes=67108864 r ; memory.memsw.limit_in_bytes=-1 or",
     "memory.max=67108864 r ; memory.swap.max=max or"},
    {"swap 0 is not set",
     {.memory_limit = N(64 * MIB), .memory_swap = N(0)},
     "memory.limit_in_bytes=67108864 r",
     "memory.max=67108864 r"},
    {"swap -1 without a limit",
     {.memory_swap = N(-1)},
     "memory.memsw.limit_in_bytes=-1 or",
     "memory.swap.max=max or"},
    {"both -1",
     {.memory_limit = N(-1), .memory_swap = N(-1)},
     "memory.limit_in_bytes=-1 r ; memory.memsw.limit_in_bytes=-1 or",
     "memory.max=max r ; memory.swap.max=max or"},
    {"limit -1, swap 0",
     {.memory_limit = N(-1), .memory_swap = N(0)},
     "memory.limit_in_bytes=-1 r ; memory.memsw.limit_in_bytes=-1 or",
     "memory.max=max r ; memory.swap.max=max or"},
    {"swap without a limit",
     {.memory_swap = N(GIB)},
     "memory.memsw.limit_in_bytes=1073741824 r",
     "memory.swap.max=1073741824 r"},
    {"swap, limit -1",
     {.memory_limit = N(-1), .memory_swap = N(GIB)},
     "memory.limit_in_bytes=-1 r ; memory.memsw.limit_in_bytes=1073741824 r",
     "memory.max=max r ; memory.swap.max=1073741824 r"},
    {"swap -2 alone",
     {.memory_swap = N(-2)},
     "!linux.resources.memory.swap&-2",
     "!linux.resources.memory.swap"},
    {"swap -2 with a limit",
     {.memory_limit = N(MIB), .memory_swap = N(-2)},
     "!linux.resources.memory.swap&-2",
     "!linux.resources.memory.swap&-2"},
    {"limit 0 is none to subtract from",
     {.memory_limit = N(0), .memory_swap = N(MIB)},
     "memory.limit_in_bytes=0 r ; memory.memsw.limit_in_bytes=1048576 r",
     "memory.max=0 r ; memory.swap.max=1048576 r"},
    {"what is not set counts for nothing",
     {.memory_limit = {false, -1}, .memory_swap = {false, MIB}},
     "",
     ""},
    {"swap that is not set counts for nothing",
     {.memory_limit = N(MIB), .memory_swap = {false, 5}},
     "memory.limit_in_bytes=1048576 r",
     "memory.max=1048576 r"},
    {"the largest",
     {.memory_limit = N(1), .memory_swap = N(INT64_MAX)},
     "memory.limit_in_bytes=1 r ; memory.memsw.limit_in_bytes=9223372036854775807 r",
     "memory.max=1 r ; memory.swap.max=9223372036854775806 r"},
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect_outcome(rows[i].name, &rows[i].limits, false, rows[i].v1);
        expect_outcome(rows[i].name, &rows[i].limits, true, rows[i].v2);
    }
}

Test(limits, numbers)
{
    check_rows(numbers, ARRAY_SIZE(numbers));
}

Test(limits, swap)
{
    check_rows(swaps, ARRAY_SIZE(swaps));
}

Test(limits, hugetlb)
{
    static struct cg_hugetlb_limit two[] = {{"2MB", 4 * MIB}, {"1GB", 0}}, kib[] = {{"64KB", KIB}},
                                   again[] = {{"2MB", 1}, {"1GB", 0}, {"2MB", 2}};
    const struct row rows[] = {
        {"two sizes",
         {.hugetlb = two, .hugetlb_count = 2},
         "hugetlb.2MB.limit_in_bytes=4194304 ; hugetlb.2MB.rsvd.limit_in_bytes=4194304 o ; "
         "hugetlb.1GB.limit_in_bytes=0 ; hugetlb.1GB.rsvd.limit_in_bytes=0 o",
         "hugetlb.2MB.max=4194304 ; hugetlb.2MB.rsvd.max=4194304 o ; hugetlb.1GB.max=0 ; "
         "hugetlb.1GB.rsvd.max=0 o"},
        {"one size",
         {.hugetlb = kib, .hugetlb_count = 1},
         "hugetlb.64KB.limit_in_bytes=1024 ; hugetlb.64KB.rsvd.limit_in_bytes=1024 o",
         "hugetlb.64KB.max=1024 ; hugetlb.64KB.rsvd.max=1024 o"},
        {"a size twice: the last one, once",
         {.hugetlb = again, .hugetlb_count = 3},
         "hugetlb.1GB.limit_in_bytes=0 ; hugetlb.1GB.rsvd.limit_in_bytes=0 o ; "
         "hugetlb.2MB.limit_in_bytes=2 ; hugetlb.2MB.rsvd.limit_in_bytes=2 o",
         "hugetlb.1GB.max=0 ; hugetlb.1GB.rsvd.max=0 o ; hugetlb.2MB.max=2 ; "
         "hugetlb.2MB.rsvd.max=2 o"},
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

Test(limits, hugetlb_page_size)
{
    static const struct {
        const char *size;
        bool fine;
    } cases[] = {
        {"2MB", true},    {"1GB", true},   {"64KB", true},   {"16MB", true},    {"", false},
        {"2", false},     {"2M", false},   {"MB", false},    {"2mb", false},    {"2Mb", false},
        {"2MiB", false},  {"2TB", false},  {"2B", false},    {"-2MB", false},   {" 2MB", false},
        {"2 MB", false},  {"2MB ", false}, {"2MB/", false},  {"../2MB", false}, {"2MB.rsvd", false},
        {"2MB\n", false}, {"2MBB", false}, {"0x2MB", false}, {"2KMB", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_hugetlb_limit limit = {cases[i].size, 1};
        struct cg_limits limits = {.hugetlb = &limit, .hugetlb_count = 1};

        for (int v2 = 0; v2 < 2; v2++) {
            const char *got = outcome(&limits, v2);

            if (cases[i].fine)
                cr_expect(str_starts(got, arena_printf(&arena, "hugetlb.%s.", cases[i].size)),
                          "\"%s\": got \"%s\"", cases[i].size, got);
            else
                cr_expect(str_starts(got, "!linux.resources.hugepageLimits: page size"),
                          "\"%s\": expected an error, got \"%s\"", cases[i].size, got);
        }
    }
}

Test(limits, number_of_page_sizes)
{
    struct cg_hugetlb_limit sizes[CG_HUGETLB_MAX + 1];
    struct cg_limits limits = {.hugetlb = sizes, .hugetlb_count = CG_HUGETLB_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        sizes[i] = (struct cg_hugetlb_limit){arena_printf(&arena, "%zuKB", i + 1), 1};
    cr_expect(strstr(outcome(&limits, true), "hugetlb.64KB.max"));
    limits.hugetlb_count++;
    cr_expect(strstr(outcome(&limits, true), "hugepageLimits: there are more than 64 page sizes"));
}

static struct cg_blkio_weight weights[] = {
    {8, 0, N(10), {0}},
    {8, 16, N(1000), N(300)},
    {253, 1, {0}, N(20)},
};
static struct cg_blkio_weight leaf_only[] = {{8, 0, {0}, N(20)}};
static struct cg_blkio_weight bad_low[] = {{8, 0, N(9), {0}}}, bad_high[] = {{8, 0, N(1001), {0}}};
static struct cg_blkio_weight bad_zero[] = {{8, 0, N(0), {0}}};

static const struct row weight_rows[] = {
    {"weight",
     {.blkio_weight = N(500)},
     "blkio.bfq.weight=500 le ; blkio.weight=500 le",
     "io.bfq.weight=500 le ; io.weight=4950 le"},
    {"weight 10",
     {.blkio_weight = N(10)},
     "blkio.bfq.weight=10 le ; blkio.weight=10 le",
     "io.bfq.weight=10 le ; io.weight=1 le"},
    {"weight 1000",
     {.blkio_weight = N(1000)},
     "blkio.bfq.weight=1000 le ; blkio.weight=1000 le",
     "io.bfq.weight=1000 le ; io.weight=10000 le"},
    {"weight 0 is not set", {.blkio_weight = N(0)}, "", ""},
    {"weight 9",
     {.blkio_weight = N(9)},
     "!linux.resources.blockIO&9&10..1000",
     "!linux.resources.blockIO&9"},
    {"weight 1001",
     {.blkio_weight = N(1001)},
     "!linux.resources.blockIO&1001",
     "!linux.resources.blockIO"},
    {"weight -1",
     {.blkio_weight = N(-1)},
     "!linux.resources.blockIO&-1",
     "!linux.resources.blockIO"},
    {"devices",
     {.blkio_weights = weights, .blkio_weight_count = 2},
     "blkio.bfq.weight_device=8:0 10|8:16 1000 le ; blkio.weight_device=8:0 10|8:16 1000 le ; "
     "blkio.leaf_weight_device=8:16 300 l",
     "io.bfq.weight=8:0 10|8:16 1000 le ; io.weight=8:0 1|8:16 10000 le ~blockIO.leafWeight"},
    {"weight and devices",
     {.blkio_weight = N(100), .blkio_weights = weights, .blkio_weight_count = 3},
     "blkio.bfq.weight=100 le ; blkio.bfq.weight_device=8:0 10|8:16 1000 le ; "
     "blkio.weight=100 le ; blkio.weight_device=8:0 10|8:16 1000 le ; "
     "blkio.leaf_weight_device=8:16 300|253:1 20 l",
     "io.bfq.weight=100|8:0 10|8:16 1000 le ; io.weight=910|8:0 1|8:16 10000 le "
     "~blockIO.leafWeight"},
    {"weights that are not set count for nothing",
     {.blkio_weight = {false, 500}, .blkio_leaf_weight = {false, 500}},
     "",
     ""},
    {"devices, and weights that are not set",
     {.blkio_weight = {false, 500},
      .blkio_leaf_weight = {false, 500},
      .blkio_weights = weights,
      .blkio_weight_count = 2},
     "blkio.bfq.weight_device=8:0 10|8:16 1000 le ; blkio.weight_device=8:0 10|8:16 1000 le ; "
     "blkio.leaf_weight_device=8:16 300 l",
     "io.bfq.weight=8:0 10|8:16 1000 le ; io.weight=8:0 1|8:16 10000 le ~blockIO.leafWeight"},
    {"devices with leaf weights only",
     {.blkio_weights = leaf_only, .blkio_weight_count = 1},
     "blkio.leaf_weight_device=8:0 20 l",
     "~blockIO.leafWeight"},
    {"leaf weight",
     {.blkio_leaf_weight = N(300)},
     "blkio.leaf_weight=300 l",
     "~blockIO.leafWeight"},
    {"leaf weight 0 is not set", {.blkio_leaf_weight = N(0)}, "", ""},
    {"leaf weight 9",
     {.blkio_leaf_weight = N(9)},
     "!linux.resources.blockIO&9&10..1000",
     "~blockIO.leafWeight"},
    {"leaf weight 1001",
     {.blkio_leaf_weight = N(1001)},
     "!linux.resources.blockIO&1001",
     "~blockIO.leafWeight"},
    {"device weight 9",
     {.blkio_weights = bad_low, .blkio_weight_count = 1},
     "!linux.resources.blockIO&9",
     "!linux.resources.blockIO&9"},
    {"device weight 1001",
     {.blkio_weights = bad_high, .blkio_weight_count = 1},
     "!linux.resources.blockIO&1001",
     "!linux.resources.blockIO"},
    {"device weight 0",
     {.blkio_weights = bad_zero, .blkio_weight_count = 1},
     "!linux.resources.blockIO",
     "!linux.resources.blockIO"},
};

Test(limits, blkio_weights)
{
    check_rows(weight_rows, ARRAY_SIZE(weight_rows));
}

Test(limits, blkio_throttles)
{
    static struct cg_blkio_throttle all[] = {
        {CG_WRITE_IOPS, 8, 0, 4},          {CG_READ_BPS, 8, 0, 1},
        {CG_READ_IOPS, 8, 0, 3},           {CG_WRITE_BPS, 8, 0, 2},
        {CG_READ_BPS, 253, 7, UINT64_MAX},
    };
    static struct cg_blkio_throttle one[] = {{CG_WRITE_BPS, 8, 16, 0}};
    const struct row rows[] = {
        {"all kinds, two devices",
         {.throttles = all, .throttle_count = ARRAY_SIZE(all)},
         "blkio.throttle.read_bps_device=8:0 1|253:7 18446744073709551615 l ; "
         "blkio.throttle.write_bps_device=8:0 2 l ; blkio.throttle.read_iops_device=8:0 3 l ; "
         "blkio.throttle.write_iops_device=8:0 4 l",
         "io.max=8:0 rbps=1|253:7 rbps=18446744073709551615|8:0 wbps=2|8:0 riops=3|8:0 wiops=4 l"},
        {"one",
         {.throttles = one, .throttle_count = 1},
         "blkio.throttle.write_bps_device=8:16 0 l",
         "io.max=8:16 wbps=0 l"},
        {"none", {.throttles = one, .throttle_count = 0}, "", ""},
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

Test(limits, net_priorities)
{
    static struct cg_net_priority two[] = {{"lo", 1}, {"eth0", UINT32_MAX}};
    const struct row rows[] = {
        {"two",
         {.net_priorities = two, .net_priority_count = 2},
         "net_prio.ifpriomap=lo 1|eth0 4294967295 l",
         "~network.priorities"},
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

/* Of which the line would be another's, or that of an interface "(null)". */
Test(limits, net_priorities_without_a_name)
{
    static const char *const names[] = {NULL, "", "a b", "a\nlo", "a\tb", "a\r"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct cg_net_priority two[] = {{"lo", 1}, {names[i], 2}};
        struct cg_limits limits = {.net_priorities = two, .net_priority_count = 2};
        const char *got = outcome(&limits, false);

        cr_expect(str_starts(got, "!linux.resources.network.priorities[1].name: "), "%zu: %s", i,
                  got);
    }
}

Test(limits, order_of_writing)
{
    const struct row rows[] = {
        {"everything usual",
         {.cpu_shares = N(2048),
          .cpu_quota_us = N(200000),
          .cpu_period_us = N(100000),
          .cpuset_cpus = "0-1",
          .memory_limit = N(GIB),
          .memory_swap = N(2 * GIB),
          .pids = N(64)},
         "cpu.shares=2048 ; cpu.cfs_period_us=100000 r ; cpu.cfs_quota_us=200000 rb ; "
         "cpuset.cpus=0-1 ; memory.limit_in_bytes=1073741824 r ; "
         "memory.memsw.limit_in_bytes=2147483648 r ; pids.max=64",
         "cpu.weight=174 ; cpu.max=200000 100000 r ; cpuset.cpus=0-1 ; memory.max=1073741824 r ; "
         "memory.swap.max=1073741824 r ; pids.max=64"},
    };

    check_rows(rows, ARRAY_SIZE(rows));
}

/* An error stops the list: nothing of it is written then, whatever stood before. */
Test(limits, error_after_good_ones)
{
    struct cg_limits limits = {.cpu_shares = N(100), .memory_swappiness = N(500), .pids = N(1)};

    expect_outcome("swappiness", &limits, false, "!linux.resources.memory.swappiness");
}

/* --- unified --- */

static void check_unified(const char *file, const char *text, struct cg_limits limits, bool v2,
                          const char *want)
{
    struct cg_unified unified = {file, text};

    limits.unified = &unified;
    limits.unified_count = 1;
    expect_outcome(arena_printf(&arena, "unified \"%s\"", file), &limits, v2, want);
}

Test(limits, number_of_unified_files)
{
    static struct cg_unified files[1025];
    struct cg_limits limits = {.unified = files, .unified_count = ARRAY_SIZE(files) - 1};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        files[i] = (struct cg_unified){arena_printf(&arena, "memory.x%zu", i), "1"};
    for (; limits.unified_count <= ARRAY_SIZE(files); limits.unified_count++) {
        const char **warnings = NULL;
        size_t warning_count = 0;
        struct cg_files ret;
        struct err e = ERR_INIT;
        int r = cg_limits_files(&limits, true, &arena, &ret, &warnings, &warning_count, &e);

        if (limits.unified_count < ARRAY_SIZE(files)) {
            cr_expect_eq(r, 0, "%s", e.text);
            cr_expect_eq(ret.count, limits.unified_count);
        } else {
            cr_expect_eq(r, -EINVAL);
            cr_expect_str_eq(e.text, "linux.resources.unified: 1025 files, expected at most 1024");
        }
    }
}

Test(limits, unified)
{
    static const struct {
        const char *file, *text, *want;
    } cases[] = {
        {"memory.high", "1000", "memory.high=1000 l"},
        {"io.latency", "8:0 target=10|8:16 target=20", "io.latency=8:0 target=10|8:16 target=20 l"},
        {"hugetlb.2MB.max", "0", "hugetlb.2MB.max=0 l"},
        {"pids.max", "max", "pids.max=max l"},
        {"misc.max", "res_a 1", "misc.max=res_a 1 l"},
        {"rdma.max", "mlx5_0 hca_handle=2", "rdma.max=mlx5_0 hca_handle=2 l"},
        {"memory.max", "", "memory.max= l"},
        {"cgroup.procs", "1", "!unified&\"cgroup.procs\""},
        {"cgroup.kill", "1", "!unified&\"cgroup.kill\""},
        {"cgroup.subtree_control", "+cpu", "!unified&cgroup.subtree_control"},
        {"memory", "1", "!unified&\"memory\""},
        {"memory/max", "1", "!unified&\"memory/max\""},
        {"memory.x/../../cgroup.procs", "1", "!unified&memory.x/../../cgroup.procs"},
        {"../memory.max", "1", "!unified&../memory.max"},
        {"", "1", "!unified&\"\""},
        {".", "1", "!unified"},
        {"..", "1", "!unified"},
        {"/memory.max", "1", "!unified"},
        {"blkio.weight", "1", "!unified&blkio.weight"},
        {"foo.max", "1", "!unified&foo.max"},
        {"foo\n.max", "1", "!unified&foo\\x0a.max"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_unified(cases[i].file, cases[i].text, (struct cg_limits){0}, true, cases[i].want);
        check_unified(cases[i].file, cases[i].text, (struct cg_limits){0}, false,
                      "!linux.resources.unified&v1&needs cgroup v2");
    }
}

Test(limits, unified_duplicates)
{
    struct cg_unified twice[] = {{"memory.high", "1"}, {"memory.low", "1"}, {"memory.high", "2"}};
    struct cg_limits limits = {.unified = twice, .unified_count = 2};

    /* in the order given, behind the others */
    limits.pids = (struct cg_value)N(5);
    expect_outcome("two", &limits, true, "pids.max=5 ; memory.high=1 l ; memory.low=1 l");
    limits.unified_count = 3;
    expect_outcome("the same file twice", &limits, true,
                   "pids.max=5 ; memory.high=2 l ; memory.low=1 l");
    /* it wins over another member, in its place; and is no longer optional */
    check_unified("memory.max", "1",
                  (struct cg_limits){.memory_limit = N(5), .memory_reservation = N(5)}, true,
                  "memory.max=1 lr ; memory.low=5");
    check_unified("cpu.max", "1 1", (struct cg_limits){.cpu_period_us = N(5000)}, true,
                  "cpu.max=1 1 lr");
    check_unified("memory.swap.max", "1", (struct cg_limits){.memory_limit = N(-1)}, true,
                  "memory.max=max r ; memory.swap.max=1 lr");
    check_unified("io.weight", "1", (struct cg_limits){.blkio_weight = N(10)}, true,
                  "io.bfq.weight=10 le ; io.weight=1 le");
    check_unified("memory.max", "1", (struct cg_limits){.memory_reservation = N(5)}, true,
                  "memory.low=5 ; memory.max=1 l");
}

/* crun and systemd: what the other members say holds in the scope, `unified` in a cgroup beneath. */
Test(limits, unified_beneath)
{
    static const struct cg_limits pids = {.pids = N(29)}, no_pids = {.pids = N(-1)}, none,
                                  memory = {.memory_limit = N(1 << 20)},
                                  swap = {.memory_limit = N(5), .memory_swap = N(15)},
                                  half = {.cpu_quota_us = N(50000)},
                                  period = {.cpu_period_us = N(5000)}, set = {.cpuset_cpus = "0-3"},
                                  burst = {.cpu_quota_us = N(50000), .cpu_burst_us = N(80000)},
                                  shares = {.cpu_shares = N(1024)};
    static const struct {
        const struct cg_limits *limits;
        const char *file, *text, *want;
    } cases[] = {
        {&pids, "pids.max", "54", "pids.max=29 l"},
        {&pids, "pids.max", "max", "pids.max=29 l"},
        {&pids, "pids.max", " 28\n", "pids.max= 28| l"},
        {&no_pids, "pids.max", "54", "pids.max=54 l"},
        {&none, "pids.max", "54", "pids.max=54 l"},
        {&memory, "memory.max", "2M", "memory.max=1048576 lr"},
        {&memory, "memory.max", "1023k", "memory.max=1023k lr"},
        {&swap, "memory.swap.max", "max", "memory.max=5 r ; memory.swap.max=10 lr"},
        {&half, "cpu.max", "max", "cpu.max=50000 100000 lr"},
        {&half, "cpu.max", "50001", "cpu.max=50000 100000 lr"},
        {&half, "cpu.max", "49999", "cpu.max=49999 lr"},
        {&half, "cpu.max", "30000 50000", "cpu.max=50000 100000 lr"},
        {&half, "cpu.max", "20000 50000", "cpu.max=20000 50000 lr"},
        {&period, "cpu.max", "1 1", "cpu.max=1 1 lr"},
        {&set, "cpuset.cpus", "2-5", "cpuset.cpus=2-3 l"},
        {&set, "cpuset.cpus", " 3-7\n", "cpuset.cpus=3 l"},
        {&set, "cpuset.cpus", "\n", "cpuset.cpus=0-3 l"},
        {&shares, "cpu.weight", "99", "cpu.weight=99 l"},
        {&shares, "cpu.weight", "10000", "cpu.weight=100 l"},
        /* a burst is no more than the quota that holds */
        {&burst, "cpu.max", "100000 100000", "cpu.max=50000 100000 lr ; cpu.max.burst=50000 r"},
        {&burst, "cpu.max", "40000 100000", "cpu.max=40000 100000 lr ; cpu.max.burst=80000 r"},
        /* in neither */
        {&set, "cpuset.cpus", "4", "cpuset.cpus=4 l"},
        /* the kernel says what is wrong with it */
        {&pids, "pids.max", "1K", "pids.max=1K l"},
        {&memory, "memory.max", "02m", "memory.max=02m lr"},
        {&half, "cpu.max", "max 0", "cpu.max=max 0 lr"},
        {&half, "cpu.max", "x", "cpu.max=x lr"},
        {&set, "cpuset.cpus", "x", "cpuset.cpus=x l"},
        {&shares, "cpu.weight", "x", "cpu.weight=x l"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_limits limits = *cases[i].limits;

        limits.unified_beneath = true;
        check_unified(cases[i].file, cases[i].text, limits, true, cases[i].want);
    }
}

/* --- lists of files --- */

Test(limits, files_lookup)
{
    struct cg_limits limits = {.cpu_shares = N(1024), .memory_limit = N(5), .pids = N(1)};
    const char **warnings = NULL;
    size_t count = 0;
    struct cg_files files, none = {0};

    cr_assert_eq(cg_limits_files(&limits, false, &arena, &files, &warnings, &count, NULL), 0);
    cr_expect_eq(cg_files_controllers(&files),
                 CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_PIDS));
    cr_expect_str_eq(cg_files_get(&files, "cpu.shares"), "1024");
    cr_expect_str_eq(cg_files_get(&files, "pids.max"), "1");
    cr_expect_null(cg_files_get(&files, "cpu.share"));
    cr_expect_null(cg_files_get(&files, "cpu.weight"));
    cr_expect_null(cg_files_get(&none, "cpu.shares"));
    cr_expect_eq(cg_files_controllers(&none), 0);
    /* to take one away */
    files.items[1].flags |= CG_FILE_RESET;
    cr_expect_eq(cg_files_controllers(&files), CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_PIDS));
}

Test(limits, warnings_say_why)
{
    struct cg_limits limits = {.memory_swappiness = N(60)};
    const char **warnings = NULL;
    size_t count = 0;
    struct cg_files files;

    cr_assert_eq(cg_limits_files(&limits, true, &arena, &files, &warnings, &count, NULL), 0);
    cr_assert_eq(count, 1);
    cr_expect_str_eq(warnings[0], "linux.resources.memory.swappiness has no counterpart on cgroup "
                                  "v2 and is not set");
    /* the caller's list is added to */
    cr_assert_eq(cg_limits_files(&limits, true, &arena, &files, &warnings, &count, NULL), 0);
    cr_expect_eq(count, 2);
}
