/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/overhead.h"

#include "base/arena.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>

#define X   CG_UNKNOWN
#define MIB (1ull << 20)

static void expect_figures(const char *what, const struct overhead_figures *got, uint64_t mean,
                           uint64_t p50, uint64_t p95, uint64_t max)
{
    cr_expect(got->mean == mean && got->p50 == p50 && got->p95 == p95 && got->max == max,
              "%s: expected %lld %lld %lld %lld, got %lld %lld %lld %lld", what, (long long)mean,
              (long long)p50, (long long)p95, (long long)max, (long long)got->mean,
              (long long)got->p50, (long long)got->p95, (long long)got->max);
}

/* 1, 2, ... @count in some order, and two that are not known. */
static struct overhead_figures figures_of(size_t count)
{
    uint64_t values[128] = {X, X};

    for (size_t i = 0; i < count; i++)
        values[i + 2] = (i * 7919) % count + 1;
    return overhead_figures(values, count + 2);
}

Test(overhead_tool, percentiles)
{
    static const struct {
        size_t count;
        uint64_t p50, p95, max;
    } rows[] = {
        {1, 1, 1, 1},     {2, 1, 2, 2},       {3, 2, 3, 3},
        {10, 5, 10, 10},  {20, 10, 19, 20},   {21, 11, 20, 21},
        {40, 20, 38, 40}, {100, 50, 95, 100}, {101, 51, 96, 101},
    };
    struct overhead_figures got;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char what[32];

        snprintf(what, sizeof what, "of %zu", rows[i].count);
        got = figures_of(rows[i].count);
        expect_figures(what, &got, X, rows[i].p50, rows[i].p95, rows[i].max);
    }
    got = figures_of(0);
    expect_figures("of none that is known", &got, X, X, X, X);
    got = overhead_figures(NULL, 0);
    expect_figures("of none", &got, X, X, X, X);
}

Test(overhead_tool, held)
{
    static const struct {
        unsigned has;
        uint64_t memory, file, shmem, want;
    } rows[] = {
        {CG_CTL_BIT(CG_CTL_MEMORY), 100, 30, 10, 80},
        {CG_CTL_BIT(CG_CTL_MEMORY), 100, 30, 30, 100},
        {CG_CTL_BIT(CG_CTL_MEMORY), 100, 30, 31, 100},
        {CG_CTL_BIT(CG_CTL_MEMORY), 20, 30, 5, 0},
        {CG_CTL_BIT(CG_CTL_MEMORY), 100, X, 10, 100},
        {CG_CTL_BIT(CG_CTL_MEMORY), 100, 30, X, 100},
        {CG_CTL_BIT(CG_CTL_MEMORY), X, 30, 10, X},
        {0, 100, 30, 10, X},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct cg_stat st = {.has = rows[i].has,
                                   .memory_bytes = rows[i].memory,
                                   .file_bytes = rows[i].file,
                                   .shmem_bytes = rows[i].shmem};

        cr_expect_eq(overhead_held(&st), rows[i].want, "row %zu: %lld", i,
                     (long long)overhead_held(&st));
    }
}

/* Which has used so much CPU time so far. */
static struct sample sample(unsigned long long now_us, uint64_t overhead_us)
{
    return (struct sample){
        .now_us = now_us,
        .age_us = 10 * now_us,
        .split = true,
        .usage =
            {
                .source = overhead_us == X ? USAGE_UNKNOWN : USAGE_CGROUP,
                .all = {X, X, X, X, X},
                .vcpus = {now_us / 2, now_us / 100000, now_us / 200000, X, X},
                .overhead = {overhead_us, X, X, X, X},
                .whole = {.has = CG_CTL_BIT(CG_CTL_MEMORY),
                          .memory_bytes = 100 * MIB + now_us,
                          .memory_peak_bytes = 200 * MIB,
                          .file_bytes = 50 * MIB,
                          .shmem_bytes = 0},
            },
    };
}

/* A second of 10 %, two of 40 %, one that is not known. */
static struct overhead_sandbox read_three(struct arena *a)
{
    static const struct {
        unsigned long long now_us;
        uint64_t us;
    } rows[] = {{1000000, 0}, {2000000, 100000}, {4000000, 900000}, {5000000, X}};
    struct overhead_sandbox s = {.id = "s"};

    for (size_t i = 1; i < ARRAY_SIZE(rows); i++) {
        struct sample before = sample(rows[i - 1].now_us, rows[i - 1].us);
        struct sample after = sample(rows[i].now_us, rows[i].us);

        overhead_add(&s, rows[i].now_us - 1000000, &before, &after, a);
    }
    return s;
}

Test(overhead_tool, add)
{
    static const struct overhead_point want[] = {
        {1000000, 5000, 1000, 5000, 50 * MIB + 2000000},
        {3000000, 5000, 4000, 5000, 50 * MIB + 4000000},
        {4000000, X, X, X, 50 * MIB + 5000000},
    };
    autoarena a = ARENA_INIT;
    struct overhead_sandbox s = read_three(&a);

    cr_assert_eq(s.count, ARRAY_SIZE(want));
    for (size_t i = 0; i < s.count; i++) {
        const struct overhead_point *p = &s.points[i];

        cr_expect(memcmp(p, &want[i], sizeof *p) == 0, "row %zu: %lld %lld %lld %lld %lld", i,
                  (long long)p->at_us, (long long)p->vcpu, (long long)p->overhead,
                  (long long)p->throttled, (long long)p->held);
    }
    cr_expect(s.us == 900000 && s.took_us == 3000000 && s.source == USAGE_CGROUP);
}

Test(overhead_tool, accumulate)
{
    struct sample now = sample(1000000, 100000);
    struct overhead_sandbox s = {.id = "s"};

    overhead_accumulate(&s, &now);
    expect_figures("CPU", &s.cpu, 100, X, X, X);
    expect_figures("memory", &s.held, X, X, X, 200 * MIB);
    cr_expect_eq(s.source, USAGE_CGROUP);
    now.usage.whole.memory_peak_bytes = X;
    overhead_accumulate(&s, &now);
    expect_figures("memory without a peak", &s.held, X, X, X, 50 * MIB + 1000000);
    now.age_us = X;
    now.usage.whole.has = 0;
    now.usage.whole.memory_peak_bytes = 1;
    overhead_accumulate(&s, &now);
    expect_figures("CPU without an age", &s.cpu, X, X, X, X);
    expect_figures("memory without a controller", &s.held, X, X, X, X);
}

Test(overhead_tool, conclude)
{
    autoarena a = ARENA_INIT;
    struct overhead_sandbox s = read_three(&a);
    struct overhead o = {.terms = {1000, 10, {true, 50 * MIB + 3000000}}, .items = &s, .count = 1};

    overhead_conclude(&o);
    expect_figures("CPU", &s.cpu, 3000, 1000, 4000, 4000);
    expect_figures("held", &s.held, X, 50 * MIB + 4000000, 50 * MIB + 5000000, 50 * MIB + 5000000);
    expect_figures("overhead", &s.memory, X, 1000000, 2000000, 2000000);
    cr_expect(o.cpu_of == &s && o.memory_of == &s && o.cpu_unknown == 0 && o.memory_unknown == 0);
    cr_expect_eq(o.cpu_millis, 440);
    cr_expect_eq(o.memory_mib, 3);
    o.terms.guest_bytes.value = 50 * MIB + 4500000;
    overhead_conclude(&o);
    expect_figures("less than the guest's at first", &s.memory, X, X, 500000, 500000);
    o.terms.guest_bytes.set = false;
    overhead_conclude(&o);
    expect_figures("nobody has said", &s.memory, X, X, X, X);
    cr_expect(!o.memory_of && o.memory_mib == X && o.memory_unknown == 1);
}

/* Without readings, CPU time in tenths of thousandths, memory in bytes: what is asked for, by which. */
static void expect_fixed(uint64_t margin, const uint64_t cpu[2], const uint64_t memory[2],
                         uint64_t millis, int cpu_of, uint64_t mib, int memory_of)
{
    struct overhead_sandbox items[2] = {{.id = "0"}, {.id = "1"}};
    struct overhead o = {.terms = {0, margin, {true, 0}}, .items = items, .count = 2};

    for (size_t i = 0; i < 2; i++) {
        items[i].cpu.mean = cpu[i];
        items[i].held.max = memory[i];
    }
    overhead_conclude(&o);
    cr_expect(o.cpu_millis == millis && o.memory_mib == mib &&
                  o.cpu_of == (cpu_of < 0 ? NULL : &items[cpu_of]) &&
                  o.memory_of == (memory_of < 0 ? NULL : &items[memory_of]),
              "expected %lld %d %lld %d, got %lld %d %lld %d", (long long)millis, cpu_of,
              (long long)mib, memory_of, (long long)o.cpu_millis,
              o.cpu_of ? (int)(o.cpu_of - items) : -1, (long long)o.memory_mib,
              o.memory_of ? (int)(o.memory_of - items) : -1);
    cr_expect_eq(o.cpu_unknown, (size_t)((cpu[0] == X) + (cpu[1] == X)));
    cr_expect_eq(o.memory_unknown, (size_t)((memory[0] == X) + (memory[1] == X)));
}

Test(overhead_tool, fixed)
{
#define PAIR(a, b) ((const uint64_t[2]){(a), (b)})
    expect_fixed(10, PAIR(100, 200), PAIR(30 * MIB, 20 * MIB), 22, 1, 33, 0);
    expect_fixed(0, PAIR(100, 100), PAIR(30 * MIB, 30 * MIB), 10, 0, 30, 0);
    expect_fixed(10, PAIR(101, X), PAIR(X, 20 * MIB + 1), 12, 0, 23, 1);
    expect_fixed(0, PAIR(X, 101), PAIR(20 * MIB + 1, X), 11, 1, 21, 0);
    expect_fixed(1000, PAIR(10, X), PAIR(MIB, 0), 11, 0, 11, 0);
    expect_fixed(0, PAIR(0, X), PAIR(0, X), 1, 0, 1, 0);
    expect_fixed(1, PAIR(1000, X), PAIR(100 * MIB, X), 101, 0, 101, 0);
    expect_fixed(50, PAIR(3, X), PAIR(1ull << 40, X), 1, 0, 3 << 19, 0);
    expect_fixed(10, PAIR(X, X), PAIR(X, X), X, -1, X, -1);
}
