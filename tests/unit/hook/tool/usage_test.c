/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/usage.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#define X         CG_UNKNOWN
#define TIME      CG_CTL_BIT(CG_CTL_CPUACCT)
#define QUOTA     CG_CTL_BIT(CG_CTL_CPU)
#define TEXT_SIZE 160

/* A cgroup with that CPU time, and a quota that throttled it in one more period than it says. */
#define HAS(bits, us, n)                                                                           \
    {                                                                                              \
        .has = (bits), .cpu_usage_us = (us), .periods = (n) + 1, .throttled_periods = (n),         \
        .throttled_us = (n)*10, .cpu_limit_us = (n)*100                                            \
    }

static void add_number(char *text, uint64_t n)
{
    size_t len = strlen(text);

    if (n == CG_UNKNOWN)
        snprintf(text + len, TEXT_SIZE - len, " -");
    else
        snprintf(text + len, TEXT_SIZE - len, " %" PRIu64, n);
}

static void add_cpu(char *text, const char *name, const struct usage_cpu *cpu)
{
    size_t len = strlen(text);

    snprintf(text + len, TEXT_SIZE - len, "%s%s", len > 0 ? ", " : "", name);
    add_number(text, cpu->us);
    add_number(text, cpu->periods);
    add_number(text, cpu->throttled_periods);
    add_number(text, cpu->throttled_us);
    /* of the same quota */
    if (cpu->limit_us != (cpu->periods == X ? X : cpu->throttled_periods * 100))
        snprintf(text + strlen(text), TEXT_SIZE - strlen(text), " limit %" PRIu64, cpu->limit_us);
}

static const char *usage_text(const struct usage *u, char text[static TEXT_SIZE])
{
    const char *source = usage_source_name(u->source);

    text[0] = '\0';
    add_cpu(text, "all", &u->all);
    add_cpu(text, "vcpus", &u->vcpus);
    add_cpu(text, "rest", &u->overhead);
    snprintf(text + strlen(text), TEXT_SIZE - strlen(text), ", %s", source ? source : "unknown");
    return text;
}

Test(usage, divide)
{
    static const struct {
        const char *what;
        struct usage_facts facts;
        const char *want;
    } rows[] = {
        {"v2, split: the rest is the difference; each has its own quota",
         {.v2 = true,
          .split = true,
          .vcpu_count = 2,
          .thread_us = 5,
          .home = HAS(TIME | QUOTA, 100, 1),
          .vcpu = HAS(TIME | QUOTA, 70, 2),
          .overhead = HAS(TIME | QUOTA, 100, 1)},
         "all 100 2 1 10, vcpus 70 3 2 20, rest 30 - - -, cgroup"},
        {"v2, split: read a moment later",
         {.v2 = true,
          .split = true,
          .vcpu_count = 2,
          .thread_us = X,
          .home = HAS(TIME, 69, 1),
          .vcpu = HAS(TIME, 70, 2)},
         "all 69 - - -, vcpus 70 - - -, rest 0 - - -, cgroup"},
        {"v2, split: the vCPUs' cgroup has gone",
         {.v2 = true,
          .split = true,
          .vcpu_count = 2,
          .thread_us = 5,
          .home = HAS(TIME | QUOTA, 100, 1)},
         "all 100 2 1 10, vcpus - - - -, rest - - - -, unknown"},
        {"v2, together: the threads tell",
         {.v2 = true, .vcpu_count = 1, .thread_us = 60, .home = HAS(TIME | QUOTA, 100, 1)},
         "all 100 2 1 10, vcpus 60 - - -, rest 40 - - -, threads"},
        {"v2, together: nobody is a vCPU",
         {.v2 = true, .vcpu_count = 0, .thread_us = 0, .home = HAS(TIME | QUOTA, 100, 1)},
         "all 100 2 1 10, vcpus - - - -, rest - - - -, unknown"},
        {"v2, together: the threads' time is not counted",
         {.v2 = true, .vcpu_count = 1, .thread_us = X, .home = HAS(TIME, 100, 1)},
         "all 100 - - -, vcpus - - - -, rest - - - -, unknown"},
        {"v1, split, beside each other",
         {.split = true,
          .vcpu_count = 2,
          .thread_us = 5,
          .home = HAS(TIME | QUOTA, 70, 2),
          .vcpu = HAS(QUOTA, 0, 2),
          .overhead = HAS(TIME | QUOTA, 30, 4)},
         "all 100 - - -, vcpus 70 3 2 20, rest 30 5 4 40, cgroup"},
        {"v1, split, CPU time counted together",
         {.split = true,
          .vcpu_count = 2,
          .thread_us = 60,
          .home = HAS(TIME | QUOTA, 100, 2),
          .vcpu = HAS(QUOTA, 0, 2),
          .overhead = HAS(QUOTA, 0, 4)},
         "all 100 - - -, vcpus 60 3 2 20, rest 40 5 4 40, threads"},
        {"v1, split, the sandbox's own CPU time cannot be read",
         {.split = true,
          .vcpu_count = 2,
          .thread_us = 60,
          .home = HAS(QUOTA, 0, 2),
          .overhead = HAS(TIME, 30, 4)},
         "all - - - -, vcpus - 3 2 20, rest 30 - - -, unknown"},
        {"v1, together",
         {.vcpu_count = 1, .thread_us = 160, .home = HAS(TIME | QUOTA, 100, 1)},
         "all 100 2 1 10, vcpus 160 - - -, rest 0 - - -, threads"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[TEXT_SIZE];
        struct usage u;

        usage_divide(&rows[i].facts, &u);
        cr_expect(str_eq(usage_text(&u, text), rows[i].want), "%s\nexpected: %s\ngot:      %s",
                  rows[i].what, rows[i].want, text);
        cr_expect_eq(u.vcpu_count, rows[i].facts.vcpu_count);
        cr_expect_eq(u.whole.cpu_usage_us, rows[i].facts.home.cpu_usage_us);
    }
}

Test(usage, between)
{
    static const struct usage before = {
        {100, 10, 5, 50, 9}, {70, 6, 3, 30, 9}, {30, X, X, X, 9}, USAGE_CGROUP, 2, {0}};
    struct usage after = {
        {150, 12, 5, 50, 0}, {60, 9, 4, 31, 100}, {90, X, 1, X, X}, USAGE_CGROUP, 3, {0}};
    struct usage first = before, got;
    char text[TEXT_SIZE];

    first.whole = (struct cg_stat){.io_read_bytes = 10, .io_write_bytes = 5, .pids = 9};
    after.whole = (struct cg_stat){.io_read_bytes = 17, .io_write_bytes = 5, .pids = 8};
    got = usage_between(&first, &after);
    cr_expect_str_eq(usage_text(&got, text), "all 50 2 0 0, vcpus 0 3 1 1, rest 60 - - -, cgroup");
    cr_expect_eq(got.vcpu_count, 3);
    cr_expect_eq(got.whole.io_read_bytes, 7);
    cr_expect_eq(got.whole.io_write_bytes, 0);
    cr_expect_eq(got.whole.pids, 8);
    /* it was split meanwhile */
    first.source = USAGE_THREADS;
    got = usage_between(&first, &after);
    cr_expect_str_eq(usage_text(&got, text), "all 50 2 0 0, vcpus - - - -, rest - - - -, unknown");
}

/* By threads, of which one may have ended: then its time looks like the overhead's. */
Test(usage, between_by_threads)
{
    static const struct {
        uint64_t us, count;
        const char *want;
    } rows[] = {
        {70, 2, "all 50 0 0 0, vcpus 0 - - -, rest 50 - - -, threads"},
        {90, 3, "all 50 0 0 0, vcpus 20 - - -, rest 30 - - -, threads"},
        {69, 2, "all 50 0 0 0, vcpus - - - -, rest - - - -, unknown"},
        {90, 1, "all 50 0 0 0, vcpus - - - -, rest - - - -, unknown"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct usage before = {
            {100, 0, 0, 0, 0}, {70, X, X, X, X}, {30, X, X, X, X}, USAGE_THREADS, 2, {0}};
        struct usage after = before, got;
        char text[TEXT_SIZE];

        after.all.us = 150;
        after.vcpus.us = rows[i].us;
        after.overhead.us = 150 - rows[i].us;
        after.vcpu_count = rows[i].count;
        got = usage_between(&before, &after);
        cr_expect_str_eq(usage_text(&got, text), rows[i].want, "row %zu: %s", i, text);
    }
}
