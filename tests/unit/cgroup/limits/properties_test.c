/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/properties.h"
#include "cgroup/limits/table.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(properties, .fini = drop_arena);

/* --- files and properties as text --- */

/* "CPUShares=t 1024; TasksMax=t infinity" */
static const char *properties_text(const struct cg_properties *properties)
{
    static const char *const types[] = {[CG_PROPERTY_NUMBER] = "t",
                                        [CG_PROPERTY_STRING] = "s",
                                        [CG_PROPERTY_BYTES] = "ay",
                                        [CG_PROPERTY_DEVICES] = "a(ss)"};
    char *text = arena_strdup(&arena, "");

    for (size_t i = 0; i < properties->count; i++) {
        const struct cg_property *p = &properties->items[i];

        text = arena_printf(&arena, "%s%s%s=%s %s", text, i ? "; " : "", p->name, types[p->kind],
                            cg_property_text(p, &arena));
    }
    return text;
}

/* The properties, or "!" and the message. */
static const char *outcome(const struct cg_files *files, bool v2)
{
    struct cg_properties properties = {0};
    struct err e = ERR_INIT;
    int r = cg_properties_limits(files, v2, &arena, &properties, &e);

    if (r < 0)
        return arena_printf(&arena, "!%s%s", r == -EINVAL && e.bad_input ? "" : "(code) ", e.text);
    cr_expect_eq(e.code, 0);
    return properties_text(&properties);
}

/* @want without the TasksMax at the end; one that starts with '!' lists parts of the message,
 * separated by '&'. */
static void expect_outcome(const char *files_text, bool v2, const char *want)
{
    struct cg_files files = kit_files(&arena, files_text, v2);
    const char *got = outcome(&files, v2);
    bool same;

    if (want[0] == '!') {
        char *cursor = arena_strdup(&arena, want + 1), *part;

        same = got[0] == '!' && !str_starts(got, "!(code)");
        while ((part = str_next(&cursor, '&')))
            same = same && strstr(got, part);
    } else {
        if (!strstr(want, "TasksMax="))
            want = arena_printf(&arena, "%s%sTasksMax=t infinity", want, *want ? "; " : "");
        same = str_eq(got, want);
    }
    cr_expect(same, "\"%s\", v%d:\nexpected \"%s\"\ngot      \"%s\"", files_text, v2 + 1, want,
              got);
}

/* --- the rows --- */

Test(properties, every_row)
{
    static const struct {
        const char *file;
        bool v2;
        const char *property;
    } known[] = {
        {"cpu.shares", false, "CPUShares"},
        {"cpu.weight", true, "CPUWeight"},
        {"cpu.cfs_quota_us", false, "CPUQuotaPerSecUSec"},
        {"cpu.max", true, "CPUQuotaPerSecUSec"},
        {"cpuset.cpus", true, "AllowedCPUs"},
        {"cpuset.mems", true, "AllowedMemoryNodes"},
        {"memory.limit_in_bytes", false, "MemoryLimit"},
        {"memory.max", true, "MemoryMax"},
        {"memory.swap.max", true, "MemorySwapMax"},
        {"memory.low", true, "MemoryLow"},
        {"pids.max", false, "TasksMax"},
        {"pids.max", true, "TasksMax"},
        {"io.weight", true, "IOWeight"},
        {"cpu.cfs_period_us", false, "CPUQuotaPerSecUSec"},
        {"memory.high", true, "MemoryHigh"},
        {"memory.min", true, "MemoryMin"},
    };
    size_t count, found = 0;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < 2 * count; i++) {
        const struct cg_limit_row *row = &rows[i / 2];
        bool v2 = i % 2;
        const char *file = v2 ? row->v2_file : row->v1_file;
        const char *got = v2 ? row->v2_property : row->v1_property, *want = NULL;

        for (size_t k = 0; file && k < ARRAY_SIZE(known); k++) {
            if (known[k].v2 == v2 && str_eq(known[k].file, file)) {
                want = known[k].property;
                found++;
            }
        }
        cr_expect(str_eq_null(got, want), "%s on v%d: expected %s, got %s", file, v2 + 1,
                  want ? want : "none", got ? got : "none");
        cr_expect(!got || row->property_form != CG_NO_PROPERTY, "%s: no form", file);
        if (!file || strchr(file, '*'))
            continue;
        /* 2000 is a good text for each of these files. */
        const struct cg_files files = kit_files(&arena, arena_printf(&arena, "%s=2000", file), v2);
        struct cg_properties properties = {0};
        struct err e = ERR_INIT;

        cr_expect_eq(cg_properties_limits(&files, v2, &arena, &properties, &e), 0, "%s", e.text);
        cr_expect(str_eq(properties.items[0].name, want ? want : "TasksMax"), "%s: %s", file,
                  properties_text(&properties));
    }
    cr_expect_eq(found, ARRAY_SIZE(known));
}

Test(properties, from_members)
{
#define N(x)                                                                                       \
    {                                                                                              \
        true, (x)                                                                                  \
    }
    struct cg_net_priority priority = {"eth0", 1};
    struct cg_hugetlb_limit page = {"2MB", 4096};
    struct cg_blkio_throttle throttle = {CG_READ_BPS, 8, 0, 1000};
    const struct cg_limits limits = {
        .cpu_shares = N(1024),
        .cpu_quota_us = N(12345),
        .cpu_period_us = N(50000),
        .cpu_burst_us = N(1000),
        .cpu_rt_runtime_us = N(1000),
        .cpu_rt_period_us = N(1000),
        .cpu_idle = N(0),
        .cpuset_cpus = "0-3,8",
        .cpuset_mems = "0",
        .memory_limit = N(1 << 30),
        .memory_reservation = N(1 << 20),
        .memory_swap = N((1 << 30) + 4096),
        .memory_kernel_tcp = N(4096),
        .memory_swappiness = N(10),
        .memory_no_oom_kill = N(1),
        .pids = N(100),
        .hugetlb = &page,
        .hugetlb_count = 1,
        .blkio_weight = N(100),
        .throttles = &throttle,
        .throttle_count = 1,
        .net_class_id = N(1),
        .net_priorities = &priority,
        .net_priority_count = 1,
    };
    static const char *const want[] = {
        "CPUShares=t 1024; CPUQuotaPerSecUSec=t 250000; CPUQuotaPeriodUSec=t 50000; "
        "MemoryLimit=t 1073741824; TasksMax=t 100",
        "CPUWeight=t 100; CPUQuotaPerSecUSec=t 250000; CPUQuotaPeriodUSec=t 50000; "
        "AllowedCPUs=ay 0-3,8; AllowedMemoryNodes=ay 0; MemoryMax=t 1073741824; "
        "MemorySwapMax=t 4096; MemoryLow=t 1048576; TasksMax=t 100; IOWeight=t 910",
    };

    for (int v2 = 0; v2 < 2; v2++) {
        const char **warnings = NULL, *got;
        size_t warning_count = 0;
        struct cg_files files;
        struct err e = ERR_INIT;

        cr_assert_eq(cg_limits_files(&limits, v2, &arena, &files, &warnings, &warning_count, &e), 0,
                     "%s", e.text);
        got = outcome(&files, v2);
        cr_expect(str_eq(got, want[v2]), "v%d:\nexpected \"%s\"\ngot      \"%s\"", v2 + 1, want[v2],
                  got);
    }
#undef N
}

/* --- texts --- */

Test(properties, texts)
{
    static const struct {
        bool v2;
        const char *files, *want;
    } cases[] = {
        {true, "", ""},

        {false, "cpu.shares=2", "CPUShares=t 2"},
        {false, "cpu.shares=262144", "CPUShares=t 262144"},
        /* as the kernel moves them */
        {false, "cpu.shares=0", "CPUShares=t 2"},
        {false, "cpu.shares=1", "CPUShares=t 2"},
        {false, "cpu.shares=262145", "CPUShares=t 262144"},
        {false, "cpu.shares=-5", "!cpu.shares: \"-5\"&CPUShares"},

        {true, "cpu.weight=1", "CPUWeight=t 1"},
        {true, "cpu.weight= 10000|", "CPUWeight=t 10000"},
        {true, "cpu.weight=0", "!cpu.weight: \"0\"&CPUWeight&1..10000"},
        {true, "cpu.weight=10001", "!cpu.weight: \"10001\""},
        {true, "cpu.weight=idle", "!cpu.weight: \"idle\"&CPUWeight"},
        {true, "cpu.weight=max", "!cpu.weight: \"max\""},
        {true, "cpu.weight=", "!cpu.weight: \"\""},
        {true, "cpu.weight=0100", "!cpu.weight: \"0100\""},
        {true, "cpu.weight=0x10", "!cpu.weight: \"0x10\""},
        {true, "cpu.weight=100 200", "!cpu.weight: \"100 200\""},
        {true, "cpu.weight=100|200", "!cpu.weight: \"100\\x0a200\""},
        {true, "cpu.weight=18446744073709551615", "!cpu.weight"},
        {true, "cpu.weight=18446744073709551616", "!cpu.weight"},

        {true, "cpu.max=max", "CPUQuotaPerSecUSec=t infinity; CPUQuotaPeriodUSec=t 100000"},
        {true, "cpu.max=max 50000", "CPUQuotaPerSecUSec=t infinity; CPUQuotaPeriodUSec=t 50000"},
        {true, "cpu.max=50000", "CPUQuotaPerSecUSec=t 500000; CPUQuotaPeriodUSec=t 100000"},
        {true, "cpu.max=50000 200000", "CPUQuotaPerSecUSec=t 250000; CPUQuotaPeriodUSec=t 200000"},
        {true, "cpu.max= \t50000 \t 100000 |",
         "CPUQuotaPerSecUSec=t 500000; CPUQuotaPeriodUSec=t 100000"},
        {true, "cpu.max=1000 1000", "CPUQuotaPerSecUSec=t 1000000; CPUQuotaPeriodUSec=t 1000"},
        {true, "cpu.max=1000 1000000", "CPUQuotaPerSecUSec=t 10000; CPUQuotaPeriodUSec=t 1000000"},
        {true, "cpu.max=1001", "CPUQuotaPerSecUSec=t 20000; CPUQuotaPeriodUSec=t 100000"},
        {true, "cpu.max=17592186044000 1000",
         "CPUQuotaPerSecUSec=t 17592186044000000; CPUQuotaPeriodUSec=t 1000"},
        /* what would be written is over the bound, and systemd would only log that */
        {true, "cpu.max=17592186044415 1000000", "!cpu.max: \"17592186044415 1000000\""},
        {true, "cpu.max=17592186044416", "!cpu.max"},
        {true, "cpu.max=18446744073709551615", "!cpu.max"},
        {true, "cpu.max=999", "!cpu.max: \"999\"&CPUQuotaPerSecUSec&1000.."},
        {true, "cpu.max=0", "!cpu.max"},
        {true, "cpu.max=", "!cpu.max: \"\""},
        {true, "cpu.max=-1", "!cpu.max: \"-1\""},
        {true, "cpu.max=50000 max", "!cpu.max: \"50000 max\""},
        {true, "cpu.max=50000 999", "!cpu.max"},
        {true, "cpu.max=max 999", "!cpu.max"},
        {true, "cpu.max=50000 1000001", "!cpu.max"},
        {true, "cpu.max=50000 100000 1", "!cpu.max"},
        {true, "cpu.max=50000|100000", "!cpu.max"},
        {true, "cpu.max=half", "!cpu.max: \"half\""},
        {true, "cpu.max.burst=1000", ""},
        {true, "cpu.idle=1", ""},

        {false, "cpu.cfs_quota_us=-1",
         "CPUQuotaPerSecUSec=t infinity; CPUQuotaPeriodUSec=t 100000"},
        {false, "cpu.cfs_quota_us=50000",
         "CPUQuotaPerSecUSec=t 500000; CPUQuotaPeriodUSec=t 100000"},
        {false, "cpu.cfs_period_us=50000",
         "CPUQuotaPerSecUSec=t infinity; CPUQuotaPeriodUSec=t 50000"},
        {false, "cpu.cfs_period_us=50000; cpu.cfs_quota_us=-1",
         "CPUQuotaPerSecUSec=t infinity; CPUQuotaPeriodUSec=t 50000"},
        {false, "cpu.cfs_period_us=50000; cpu.shares=5; cpu.cfs_quota_us=75000",
         "CPUShares=t 5; CPUQuotaPerSecUSec=t 1500000; CPUQuotaPeriodUSec=t 50000"},
        {false, "cpu.cfs_quota_us=75000; cpu.cfs_period_us=50000",
         "CPUQuotaPerSecUSec=t 1500000; CPUQuotaPeriodUSec=t 50000"},
        {false, "cpu.cfs_period_us=10; cpu.cfs_quota_us=75000", "!cpu.cfs_period_us: \"10\""},
        {false, "cpu.cfs_period_us=10", "!cpu.cfs_period_us: \"10\""},
        {false, "cpu.cfs_period_us=50000; cpu.cfs_quota_us=10", "!cpu.cfs_quota_us: \"10\""},
        {false, "cpu.cfs_period_us=; cpu.cfs_quota_us=5000", "!cpu.cfs_period_us: \"\""},
        {false, "cpu.cfs_period_us=1000000; cpu.cfs_quota_us=17592186044415",
         "!cpu.cfs_quota_us: \"17592186044415\""},

        {true, "cpuset.cpus=0-3,8", "AllowedCPUs=ay 0-3,8"},
        {true, "cpuset.mems= 1|", "AllowedMemoryNodes=ay 1"},
        {true, "cpuset.cpus=", "AllowedCPUs=ay "},
        {true, "cpuset.cpus=8191", "AllowedCPUs=ay 8191"},
        {true, "cpuset.cpus=8192", "!cpuset.cpus: \"8192\"&AllowedCPUs"},
        {true, "cpuset.cpus=all", "!cpuset.cpus: \"all\""},
        {true, "cpuset.mems=0-7:1/2", "!cpuset.mems: \"0-7:1/2\"&AllowedMemoryNodes"},
        {true, "cpuset.cpus.partition=root", ""},
        {false, "cpuset.cpus=0-3; cpuset.mems=0", ""},

        {true, "memory.max=max", "MemoryMax=t infinity"},
        {true, "memory.max=1", "MemoryMax=t 1"},
        {true, "memory.max=512M", "MemoryMax=t 536870912"},
        {true, "memory.max=1g|", "MemoryMax=t 1073741824"},
        {true, "memory.max=3k", "MemoryMax=t 3072"},
        {true, "memory.max=2T", "MemoryMax=t 2199023255552"},
        {true, "memory.max=1P", "MemoryMax=t 1125899906842624"},
        {true, "memory.max=1e", "MemoryMax=t 1152921504606846976"},
        {true, "memory.max=16E", "!memory.max: \"16E\""},
        {true, "memory.max=0", "!memory.max: \"0\"&MemoryMax&above 0"},
        {true, "memory.max=0K", "!memory.max: \"0K\""},
        {true, "memory.max=M", "!memory.max: \"M\""},
        {true, "memory.max=1MB", "!memory.max: \"1MB\""},
        {true, "memory.max=1 M", "!memory.max: \"1 M\""},
        {true, "memory.max=010", "!memory.max: \"010\""},
        {true, "memory.max=-1", "!memory.max: \"-1\""},
        {true, "memory.max=", "!memory.max: \"\""},
        {true, "memory.max=9223372036854775807", "MemoryMax=t 9223372036854775807"},
        {true, "memory.high=1M; memory.min=2M; memory.low=3M; memory.swap.max=4M",
         "MemoryHigh=t 1048576; MemoryMin=t 2097152; MemoryLow=t 3145728; MemorySwapMax=t 4194304"},
        {true, "memory.high=max; memory.min=max; memory.low=max; memory.swap.max=max",
         "MemoryHigh=t infinity; MemoryMin=t infinity; MemoryLow=t infinity; MemorySwapMax=t "
         "infinity"},
        {true, "memory.min=0; memory.low=0; memory.swap.max=0",
         "MemoryMin=t 0; MemoryLow=t 0; MemorySwapMax=t 0"},
        {true, "memory.high=0", "!memory.high: \"0\"&MemoryHigh"},
        {true, "memory.min=x", "!memory.min: \"x\"&MemoryMin"},
        {true, "memory.oom.group=1; memory.swap.high=5", ""},
        {false, "memory.limit_in_bytes=-1", "MemoryLimit=t infinity"},
        {false, "memory.limit_in_bytes=0", "!memory.limit_in_bytes: \"0\"&MemoryLimit"},
        {false, "memory.memsw.limit_in_bytes=4096; memory.soft_limit_in_bytes=5", ""},

        {true, "pids.max=max", "TasksMax=t infinity"},
        {true, "pids.max=1", "TasksMax=t 1"},
        {false, "pids.max=max", "TasksMax=t infinity"},
        {true, "pids.max=0", "!pids.max: \"0\"&TasksMax"},
        {true, "pids.max=1K", "!pids.max: \"1K\""},

        {true, "io.weight=1", "IOWeight=t 1"},
        {true, "io.weight=10000|", "IOWeight=t 10000"},
        {true, "io.weight=0", "!io.weight: \"0\"&IOWeight"},
        {true, "io.weight=10001", "!io.weight: \"10001\""},
        {true, "io.weight=99999999999999999999", "!io.weight"},
        {true, "io.weight=default 100", ""},
        {true, "io.weight=100|8:0 200", ""},
        {true, "io.weight=8:0 200", ""},
        {true, "io.bfq.weight=100; io.max=8:0 rbps=5", ""},
        {false, "blkio.weight=100; blkio.bfq.weight=100", ""},
        {true, "hugetlb.2MB.max=4096", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect_outcome(cases[i].files, cases[i].v2, cases[i].want);
}

/* All that a scope of v2 has, threads below it or not. */
Test(properties, all_of_v2)
{
    expect_outcome("cpu.weight=5; cpu.max=50000; cpuset.cpus=1; cpuset.mems=0; memory.max=5; "
                   "pids.max=7; io.weight=9",
                   true,
                   "CPUWeight=t 5; CPUQuotaPerSecUSec=t 500000; CPUQuotaPeriodUSec=t 100000; "
                   "AllowedCPUs=ay 1; AllowedMemoryNodes=ay 0; MemoryMax=t 5; TasksMax=t 7; "
                   "IOWeight=t 9");
}

Test(properties, appended)
{
    struct cg_files files = kit_files(&arena, "memory.max=5", true);
    struct cg_dev_table table = {0};
    struct cg_properties properties = {0};
    const char *got;

    cr_assert_eq(cg_properties_limits(&files, true, &arena, &properties, NULL), 0);
    cr_assert_eq(cg_properties_devices(&table, &arena, &properties, NULL), 0);
    cr_assert_eq(cg_properties_limits(&files, true, &arena, &properties, NULL), 0);
    got = properties_text(&properties);
    cr_expect(str_eq(got, "MemoryMax=t 5; TasksMax=t infinity; DeviceAllow=a(ss) ; "
                          "DevicePolicy=s strict; MemoryMax=t 5; TasksMax=t infinity"),
              "got \"%s\"", got);
}

Test(properties, bits)
{
    static const struct {
        const char *list;
        size_t bytes;
        struct {
            size_t byte;
            uint8_t value;
        } set[4]; /* all others are 0 */
    } cases[] = {
        {"", 0, {{0, 0}}},
        {"0", 1, {{0, 1}}},
        {"7", 1, {{0, 0x80}}},
        {"8", 2, {{1, 1}}},
        {"63", 8, {{7, 0x80}}},
        {"64", 9, {{8, 1}}},
        {"1023", 128, {{127, 0x80}}},
        {"8191", 1024, {{1023, 0x80}}},
        {"6-9", 2, {{0, 0xc0}, {1, 0x03}}},
        {"0-2,17,60-65", 9, {{0, 7}, {2, 2}, {7, 0xf0}, {8, 3}}},
    };

    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        const char *list = cases[i / 2].list, *file = i % 2 ? "cpuset.mems" : "cpuset.cpus", *text;
        struct cg_files files = kit_files(&arena, arena_printf(&arena, "%s=%s", file, list), true);
        struct cg_properties properties = {0};
        const struct cg_property *p;

        cr_assert_eq(cg_properties_limits(&files, true, &arena, &properties, NULL), 0);
        p = &properties.items[0];
        cr_expect_eq(p->kind, CG_PROPERTY_BYTES);
        cr_assert_eq(p->count, cases[i / 2].bytes, "\"%s\": expected %zu bytes, got %zu", list,
                     cases[i / 2].bytes, p->count);
        for (size_t k = 0; k < p->count; k++) {
            uint8_t want = 0;

            for (size_t n = 0; n < ARRAY_SIZE(cases[0].set); n++)
                want |= cases[i / 2].set[n].byte == k ? cases[i / 2].set[n].value : 0;
            cr_expect_eq(p->bytes[k], want, "\"%s\", byte %zu: expected %#x, got %#x", list, k,
                         want, p->bytes[k]);
        }
        text = cg_property_text(p, &arena);
        cr_expect(str_eq(text, list), "\"%s\" became \"%s\"", list, text);
    }
}

Test(properties, text)
{
    static const uint8_t bytes[] = {0x0f, 0x01};
    static const struct cg_property_device devices[] = {
        {"/dev/char/1:3", "rwm"}, {"char-136", "rw"}, {"block-*", "m"}};
    static const struct {
        struct cg_property property;
        const char *want;
    } cases[] = {
        {{.kind = CG_PROPERTY_NUMBER, .number = 0}, "0"},
        {{.kind = CG_PROPERTY_NUMBER, .number = UINT64_MAX - 1}, "18446744073709551614"},
        {{.kind = CG_PROPERTY_NUMBER, .number = UINT64_MAX}, "infinity"},
        {{.kind = CG_PROPERTY_STRING, .text = "strict"}, "strict"},
        {{.kind = CG_PROPERTY_BYTES, .bytes = bytes, .count = 2}, "0-3,8"},
        {{.kind = CG_PROPERTY_BYTES, .bytes = bytes, .count = 1}, "0-3"},
        {{.kind = CG_PROPERTY_BYTES}, ""},
        {{.kind = CG_PROPERTY_DEVICES}, ""},
        {{.kind = CG_PROPERTY_DEVICES, .devices = devices, .count = 1}, "rwm /dev/char/1:3"},
        {{.kind = CG_PROPERTY_DEVICES, .devices = devices, .count = 3},
         "rwm /dev/char/1:3, rw char-136, m block-*"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = cg_property_text(&cases[i].property, &arena);

        cr_expect(str_eq(got, cases[i].want), "expected \"%s\", got \"%s\"", cases[i].want, got);
    }
}

/* --- rounding of quotas --- */

/* What systemd puts into the files: cgroup_cpu_adjust_period() and cgroup_apply_*_cpu_quota(). */
static void systemd_writes(uint64_t per_second, uint64_t *period, uint64_t *quota)
{
    uint64_t least = UINT64_C(1000) * 1000000 / per_second;

    if (*period < 1000)
        *period = 1000;
    if (*period < least)
        *period = least;
    if (*period > 1000000)
        *period = 1000000;
    *quota = per_second * *period / 1000000;
    if (*quota < 1000)
        *quota = 1000;
}

/* systemd keeps no finer quota than whole per cents: its own is the next one up. */
static void check_rounding(uint64_t asked, uint64_t period, bool v2)
{
    struct cg_files files = kit_files(
        &arena,
        v2 ? arena_printf(&arena, "cpu.max=%" PRIu64 " %" PRIu64, asked, period)
           : arena_printf(&arena, "cpu.cfs_period_us=%" PRIu64 "; cpu.cfs_quota_us=%" PRIu64,
                          period, asked),
        v2);
    const char *text = kit_files_text(&arena, &files);
    struct cg_properties p = {0};
    uint64_t per_second, written = period, quota;
    struct err e = ERR_INIT;

    cr_assert_eq(cg_properties_limits(&files, v2, &arena, &p, &e), 0, "%s", e.text);
    cr_assert_str_eq(kit_files_text(&arena, &files), text, "the file has what was asked for");
    cr_assert(str_eq(p.items[0].name, "CPUQuotaPerSecUSec") &&
              str_eq(p.items[1].name, "CPUQuotaPeriodUSec"));
    per_second = p.items[0].number;
    cr_assert_eq(per_second % 10000, 0, "%s: %" PRIu64, text, per_second);
    /* enough, and one percent less would not be */
    cr_assert((unsigned __int128)per_second * period >= (unsigned __int128)asked * 1000000 &&
                  (unsigned __int128)(per_second - 10000) * period <
                      (unsigned __int128)asked * 1000000,
              "%s: %" PRIu64, text, per_second);
    systemd_writes(per_second, &written, &quota);
    cr_assert(p.items[1].number == period && written == period,
              "%s: period %" PRIu64 ", written %" PRIu64, text, p.items[1].number, written);
    cr_assert(quota >= asked && (quota - asked) * 100 < period, "%s: %" PRIu64 " is written", text,
              quota);
}

Test(properties, random_quotas)
{
    static const uint32_t periods[] = {1000,  1001,   2050,   9999,   50000,
                                       99999, 100000, 999999, 1000000};

    dev_random_state = 362436069u;
    for (int round = 0; round < 30000; round++) {
        uint64_t asked = 1000, period = 1000 + dev_random_below(999001);

        if (round % 4 == 0)
            period = periods[dev_random_below(ARRAY_SIZE(periods))];
        switch (round % 3) {
        case 0:
            asked += dev_random_below(100000);
            break;
        case 1:
            asked += dev_random_below(UINT32_MAX);
            break;
        default: /* up to the bound, less than the rounding of the longest period */
            asked += ((uint64_t)dev_random_below(1 << 12) << 32) + dev_random_below(UINT32_MAX);
            asked -= asked > (UINT64_C(1) << 44) - 20000 ? 20000 : 0;
        }
        check_rounding(asked, period, round % 2);
        if (round % 100 == 99)
            arena_free(&arena);
    }
}

/* --- devices --- */

Test(properties, devices)
{
#define STRICT "; DevicePolicy=s strict"
    static const struct {
        const char *rules;
        const char
            *want; /* without the empty DeviceAllow at the start; "!part&part" of the error */
    } cases[] = {
        {"", "DevicePolicy=s strict"},
        {"-a *:* rwm", "DevicePolicy=s strict"},
        {"+a *:* rwm", "DevicePolicy=s auto"},
        {"+b *:* rwm, +c *:* rwm", "DevicePolicy=s auto"},
        {"+c *:* rwm", "DeviceAllow=a(ss) rwm char-*" STRICT},
        {"+a *:* rw", "DeviceAllow=a(ss) rw block-*, rw char-*" STRICT},
        {"+c *:* rwm, +b *:* rw", "DeviceAllow=a(ss) rw block-*, rwm char-*" STRICT},
        {"+b *:* rwm, +c *:* rm", "DeviceAllow=a(ss) rwm block-*, rm char-*" STRICT},
        {"+b *:* rwm, +c 1:3 rwm", "DeviceAllow=a(ss) rwm block-*, rwm /dev/char/1:3" STRICT},
        {"+b 8:* rwm, +c 5:* rwm", "DeviceAllow=a(ss) rwm block-8, rwm char-5" STRICT},
        {"+c 1:3 rwm", "DeviceAllow=a(ss) rwm /dev/char/1:3" STRICT},
        {"+c 136:* rw, +b 8:0 r, +c 136:5 m, +c 1:3 w",
         "DeviceAllow=a(ss) r /dev/block/8:0, w /dev/char/1:3, rwm /dev/char/136:5, rw "
         "char-136" STRICT},
        {"+c *:* m, +b *:* m, +c 1:3 rw",
         "DeviceAllow=a(ss) m block-*, rwm /dev/char/1:3, m char-*" STRICT},
        {"+c 1:3 mwr, -c 1:3 w, -c 1:5 r", "DeviceAllow=a(ss) rm /dev/char/1:3" STRICT},
        /* No device has such a number. */
        {"+c 4095:1048575 r, +c 4096:0 r, +c 4096:* r, +c 0:1048576 r",
         "DeviceAllow=a(ss) r /dev/char/4095:1048575" STRICT},
        {"+c *:1048576 r, +c 1:3 r", "DeviceAllow=a(ss) r /dev/char/1:3" STRICT},
        {"+a *:* rwm, -c 4096:* r, -b 1:4294967295 w", "DevicePolicy=s auto"},
        /* Denials. */
        {"+a *:* rwm, -c 1:3 w", "!DeviceAllow&\"c 1:3 w\"&cgroupfs&drop"},
        {"+a *:* rwm, -c 1:* rwm", "!DeviceAllow&\"c 1:* rwm\"&cgroupfs&drop"},
        {"+a *:* rwm, -b *:3 r", "!DeviceAllow&\"b *:3 r\"&cgroupfs"},
        {"+c *:* m, -c 1:3 m", "!DeviceAllow&\"c 1:3 rwm\"&cgroupfs"},
        /* One minor of any major. */
        {"+c *:3 rw", "!DeviceAllow&\"c *:3 rw\"&any major&cgroupfs&drop"},
        {"+c 1:3 rw, +b 1:* r, +b *:5 m", "!DeviceAllow&\"b *:5 m\"&cgroupfs"},
        {"+c *:* r, +c *:3 w", "!DeviceAllow&\"c *:3 rw\"&cgroupfs"},
        /* Neither of the forms. */
        {"+c 1:* rw, -c 1:3 w", "!DeviceAllow&c 1:3 is allowed r&\"c 1:* rw\"&cgroupfs"},
    };
#undef STRICT

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_dev_rules rules = dev_make_rules(&arena, cases[i].rules);
        struct cg_dev_table table = dev_compile(&arena, &rules);
        struct cg_properties properties = {0};
        struct err e = ERR_INIT;
        int r = cg_properties_devices(&table, &arena, &properties, &e);
        const char *want = cases[i].want, *got = r < 0 ? e.text : properties_text(&properties);
        bool same = r == 0;

        if (want[0] == '!') {
            char *cursor = arena_strdup(&arena, want + 1), *part;

            same = r == -ENOTSUP && properties.count == 0;
            while ((part = str_next(&cursor, '&')))
                same = same && strstr(got, part);
        } else {
            want = arena_printf(&arena, "DeviceAllow=a(ss) ; %s", want);
            same = same && str_eq(got, want);
        }
        cr_expect(same, "\"%s\":\nexpected \"%s\"\ngot   %d \"%s\"", cases[i].rules, want, r, got);
    }
}

/* The unit as systemd has it after SetUnitProperties(): bus_cgroup_set_property(). */
struct unit {
    const char *policy;
    struct cg_property_device list[64];
    size_t count;
};

static void set_property(struct unit *u, const struct cg_property *p)
{
    if (p->kind == CG_PROPERTY_STRING) {
        cr_assert(str_eq(p->name, "DevicePolicy"));
        u->policy = p->text;
        return;
    }
    cr_assert(p->kind == CG_PROPERTY_DEVICES && str_eq(p->name, "DeviceAllow"));
    if (p->count == 0)
        u->count = 0;
    for (size_t i = 0; i < p->count; i++) {
        size_t k = 0;

        while (k < u->count && !str_eq(u->list[k].node, p->devices[i].node))
            k++;
        cr_assert_lt(k, ARRAY_SIZE(u->list));
        u->list[k] = p->devices[i];
        u->count = k == u->count ? k + 1 : u->count;
    }
}

/* bpf_devices_allow_list_device(), ..._major() */
static bool entry_matches(const char *node, char type, unsigned major, unsigned minor)
{
    const char *word = type == 'b' ? "block" : "char";
    const char *whole = arena_printf(&arena, "%s-*", word);
    const char *row = arena_printf(&arena, "%s-%u", word, major);
    const char *one = arena_printf(&arena, "/dev/%s/%u:%u", word, major, minor);

    return str_eq(node, whole) || str_eq(node, row) || str_eq(node, one);
}

static bool unit_allows(const struct unit *u, char type, unsigned major, unsigned minor,
                        uint8_t access)
{
    if (str_eq(u->policy, "auto") && u->count == 0)
        return true;
    cr_assert(str_eq(u->policy, "strict"), "policy %s with %zu entries", u->policy, u->count);
    for (size_t i = 0; i < u->count; i++) {
        uint8_t allowed;

        cr_assert_eq(cg_dev_access_parse(u->list[i].access, &allowed), 0);
        if ((access & ~allowed) == 0 && entry_matches(u->list[i].node, type, major, minor))
            return true;
    }
    return false;
}

#define NUMBERS 4 /* 0 to 2 are in rules, 3 stands for all others */

/* Whether each device that matches has these bits. */
static bool all_have(const struct cg_dev_rules *rules, char type, int64_t major, int64_t minor,
                     uint8_t bits)
{
    for (uint32_t n = 0; n < NUMBERS * NUMBERS; n++) {
        uint32_t ma = n / NUMBERS, mi = n % NUMBERS;

        if ((major == CG_DEV_ANY || major == ma) && (minor == CG_DEV_ANY || minor == mi) &&
            bits & ~dev_bits_of(rules, type, ma, mi))
            return false;
    }
    return true;
}

/* By trying: each device needs an entry that says all of its bits and no bit too many. */
static bool can_be_said(const struct cg_dev_rules *rules)
{
    for (uint32_t n = 0; n < 2 * NUMBERS * NUMBERS; n++) {
        char type = n % 2 ? 'b' : 'c';
        uint32_t major = n / 2 / NUMBERS, minor = n / 2 % NUMBERS;
        uint8_t bits = dev_bits_of(rules, type, major, minor);
        bool major_known = major < NUMBERS - 1, minor_known = minor < NUMBERS - 1;

        if (bits != 0 && !(major_known && minor_known) &&
            !(major_known && all_have(rules, type, major, CG_DEV_ANY, bits)) &&
            !all_have(rules, type, CG_DEV_ANY, CG_DEV_ANY, bits))
            return false;
    }
    return true;
}

static struct cg_dev_rules random_rules(struct arena *a, int round)
{
    struct cg_dev_rules rules = {0};

    for (uint32_t n = dev_random_below(round % 3 ? 7 : 4); n > 0; n--) {
        struct cg_dev_rule *rule = arena_push(a, &rules.items, &rules.count, sizeof *rule);

        *rule = (struct cg_dev_rule){
            .allow = round % 2 || dev_random_below(3) > 0,
            .type = "abc"[dev_random_below(3)],
            .major = (int64_t)dev_random_below(NUMBERS) - 1,
            .minor = (int64_t)dev_random_below(NUMBERS) - 1,
            .access = (uint8_t)(1 + dev_random_below(7)),
        };
        /* Mostly whole majors: one minor of any major is refused. */
        if (rule->major == CG_DEV_ANY && dev_random_below(4) > 0)
            rule->minor = CG_DEV_ANY;
        if (round % 5 == 0)
            rule->access = CG_DEV_RWM;
    }
    return rules;
}

static void check_verdicts(const struct cg_dev_rules *rules, const struct cg_dev_table *table,
                           const struct unit *u)
{
    for (unsigned n = 0; n < 2 * NUMBERS * NUMBERS * CG_DEV_RWM; n++) {
        char type = n % 2 ? 'b' : 'c';
        unsigned major = n / 2 % NUMBERS, minor = n / 2 / NUMBERS % NUMBERS;
        uint8_t access = (uint8_t)(1 + n / 2 / NUMBERS / NUMBERS);
        bool want = cg_dev_rules_allow(rules, type, major, minor, access);
        bool got = unit_allows(u, type, major, minor, access);

        cr_assert(got == want && dev_table_allows(table, type, major, minor, access) == want,
                  "\"%s\", request %c %u:%u %u: expected %d, got %d", dev_rules_text(&arena, rules),
                  type, major, minor, access, want, got);
    }
}

Test(properties, random_devices)
{
    unsigned strict = 0, automatic = 0, refused = 0;

    dev_random_state = 521288629u;
    for (int round = 0; round < 6000; round++) {
        struct cg_dev_rules rules = random_rules(&arena, round);
        struct cg_dev_table table = dev_compile(&arena, &rules);
        struct unit u = {.policy = "closed", .list = {{"/dev/char/9:9", "rwm"}}, .count = 1};
        struct cg_properties properties = {0};
        struct err e = ERR_INIT;
        bool fits = can_be_said(&rules);
        int r = cg_properties_devices(&table, &arena, &properties, &e);

        cr_assert_eq(r, fits ? 0 : -ENOTSUP, "\"%s\": expected %d, got %d \"%s\"",
                     dev_rules_text(&arena, &rules), fits ? 0 : -ENOTSUP, r, e.text);
        if (r < 0) {
            refused++;
            cr_assert(strstr(e.text, "DeviceAllow") && strstr(e.text, "cgroupfs manager") &&
                          (strstr(e.text, "c ") || strstr(e.text, "b ")) && strchr(e.text, ':'),
                      "\"%s\": \"%s\"", dev_rules_text(&arena, &rules), e.text);
        } else {
            for (size_t i = 0; i < properties.count; i++)
                set_property(&u, &properties.items[i]);
            strict += str_eq(u.policy, "strict");
            automatic += str_eq(u.policy, "auto");
            check_verdicts(&rules, &table, &u);
        }
        arena_free(&arena);
    }
    cr_assert(strict > 1000 && automatic > 100 && refused > 500,
              "too few of one kind: strict %u, auto %u, refused %u", strict, automatic, refused);
}
