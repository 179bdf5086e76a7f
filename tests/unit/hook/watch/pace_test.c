/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/pace.h"

#include <criterion/criterion.h>

#define MS     1000ULL
#define SECOND (1000 * MS)
/* Not zero, as times since boot are not. */
#define START (1000 * SECOND)

/* Step until it is settled. Returns how long that took; at most an hour. */
static unsigned long long settle(struct pace *p, bool found, bool vcpus, unsigned *ret_slowest_ms)
{
    unsigned long long now = START;

    pace_init(p, 1000, now);
    *ret_slowest_ms = 0;
    while (now < START + 3600 * SECOND && pace_step(p, found, vcpus, now) != PACE_SETTLED) {
        if (p->interval_ms > *ret_slowest_ms)
            *ret_slowest_ms = p->interval_ms;
        now += p->interval_ms * MS;
    }
    return now - START;
}

Test(pace, settles)
{
    struct pace p;
    unsigned slowest;
    unsigned long long took = settle(&p, true, true, &slowest);

    cr_expect(took >= 2 * SECOND && took < 3 * SECOND, "found: after %llu us", took);
    cr_expect(p.settled && p.interval_ms == 1000);
    cr_expect_eq(slowest, 50, "%u ms", slowest);
    took = settle(&p, false, true, &slowest);
    cr_expect(took >= 60 * SECOND && took < 61 * SECOND, "some missing: after %llu us", took);
    took = settle(&p, false, false, &slowest);
    cr_expect(took >= 60 * SECOND && took < 61 * SECOND, "none found: after %llu us", took);
}

/* A vCPU that is awaited runs unlimited for 5 ms at most. */
Test(pace, awaited_vcpus)
{
    unsigned long long now = START;
    struct pace p;

    pace_init(&p, 1000, now);
    cr_expect_eq(p.interval_ms, 1);
    while (now < START + 9990 * MS) {
        cr_assert_eq(pace_step(&p, false, false, now), PACE_MOVING);
        cr_assert(p.interval_ms <= PACE_AWAIT_MS, "%u ms after %llu us", p.interval_ms,
                  now - START);
        cr_assert(pace_is_eager(&p));
        now += p.interval_ms * MS;
    }
    /* A VMM that takes longer than 10 s is looked at less often. */
    for (; now < START + 12 * SECOND; now += p.interval_ms * MS)
        pace_step(&p, false, false, now);
    cr_expect_eq(p.interval_ms, 50);
    cr_expect_not(pace_is_eager(&p));
    pace_restart(&p, now);
    cr_expect(p.interval_ms == 1 && pace_is_eager(&p) && !p.settled);
}

Test(pace, when_nobody_has_to_look_again)
{
    struct pace p;

    pace_init(&p, 0, START);
    cr_expect_eq(pace_step(&p, true, true, START + 1999 * MS), PACE_MOVING);
    cr_expect_eq(pace_step(&p, true, true, START + 2000 * MS), PACE_DONE);
    cr_expect_not(p.settled);
    /* Without a vCPU there is no such point. */
    cr_expect_eq(pace_step(&p, true, false, START + 2000 * MS), PACE_SETTLED);
    cr_expect_eq(p.interval_ms, 10000);
}

Test(pace, hurry)
{
    struct pace p = {.interval_ms = 50};

    pace_hurry(&p, 100);
    cr_expect_eq(p.interval_ms, 50);
    pace_hurry(&p, 1);
    cr_expect_eq(p.interval_ms, 1);
    cr_expect_not(pace_is_hurried(&p), "it is not settled");
}

/* One look is sooner, and the next one is not. */
Test(pace, hurries_when_settled)
{
    struct pace p = {.hotplug_ms = 1000, .changed_us = START - 2 * SECOND};

    cr_assert_eq(pace_step(&p, true, true, START), PACE_SETTLED);
    cr_expect_not(pace_is_hurried(&p));
    pace_hurry(&p, 100);
    cr_expect(pace_is_hurried(&p));
    cr_assert_eq(pace_step(&p, true, true, START), PACE_SETTLED);
    cr_expect_not(pace_is_hurried(&p));
}

/* What was put off for a sandbox that was settled is not, once something has changed. */
Test(pace, changes_after_a_long_rest)
{
    struct pace p = {.hotplug_ms = 1000, .changed_us = START - 2 * SECOND};

    cr_assert_eq(pace_step(&p, true, true, START), PACE_SETTLED);
    pace_looked(&p, 3600 * SECOND, START);
    cr_expect_eq(p.next_all_us, START + 10 * SECOND);
    pace_restart(&p, START + SECOND);
    cr_expect_eq(p.next_all_us, START + 5 * SECOND);
    pace_restart(&p, START + 4 * SECOND);
    cr_expect_eq(p.next_all_us, START + 5 * SECOND, "only of one that was settled");
}

Test(pace, quiet)
{
    struct pace p;

    pace_init(&p, 1000, START);
    cr_expect_not(pace_is_quiet(&p, START + 20 * MS - 1));
    cr_expect(pace_is_quiet(&p, START + 20 * MS));
}

/* The longest time between two looks at everything of a settled sandbox, each at that cost. */
static unsigned long long longest_gap(unsigned hotplug_ms, unsigned long long cost_us)
{
    struct pace p = {.hotplug_ms = hotplug_ms, .changed_us = START - 2 * SECOND};
    unsigned long long now = START, last = START, longest = 0;

    for (unsigned i = 0; i < 100000; i++, now += p.interval_ms * MS) {
        cr_assert_eq(pace_step(&p, true, true, now), PACE_SETTLED);
        if (pace_depth(&p, now) == SCAN_ALL) {
            longest = now - last > longest ? now - last : longest;
            last = now;
            pace_looked(&p, cost_us, now);
        } else {
            cr_assert_eq(pace_depth(&p, now), SCAN_QUICK);
        }
    }
    return longest;
}

/* However dear it is, a settled sandbox is looked at as a whole at least every 10 s. */
Test(pace, all_of_a_settled_sandbox)
{
    static const struct {
        unsigned hotplug_ms;
        unsigned long long cost_us, want;
    } rows[] = {
        {1000, 0, 10 * SECOND},
        {1000, 10001, 10 * SECOND},
        {1000, 3600 * SECOND, 10 * SECOND},
        {500, 0, 10 * SECOND},
        {500, 3600 * SECOND, 10 * SECOND},
        {1, 100, 10 * SECOND},
        {1, 3600 * SECOND, 10 * SECOND},
        {2500, 3600 * SECOND, 10 * SECOND},
        /* The administrator wants it less often. */
        {5000, 0, 20 * SECOND},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned long long got = longest_gap(rows[i].hotplug_ms, rows[i].cost_us);

        cr_expect_eq(got, rows[i].want, "interval %u ms, cost %llu us: expected %llu us, got %llu",
                     rows[i].hotplug_ms, rows[i].cost_us, rows[i].want, got);
    }
}

/* The first time after four intervals, then after the double of what it was. */
Test(pace, all_of_it_ever_less_often)
{
    static const struct {
        unsigned hotplug_ms;
        unsigned long long cost_us, want[4];
    } rows[] = {
        {1000, 0, {4 * SECOND, 8 * SECOND, 10 * SECOND, 10 * SECOND}},
        {1000, 4000, {4 * SECOND, 8 * SECOND, 10 * SECOND, 10 * SECOND}},
        {1000, 5000, {5 * SECOND, 8 * SECOND, 10 * SECOND, 10 * SECOND}}, /* a thousandth */
        {1000, 9000, {9 * SECOND, 9 * SECOND, 10 * SECOND, 10 * SECOND}},
        {1000, 3600 * SECOND, {10 * SECOND, 10 * SECOND, 10 * SECOND, 10 * SECOND}},
        {50, 0, {200 * MS, 400 * MS, 800 * MS, 1600 * MS}},
        {5000, 0, {20 * SECOND, 20 * SECOND, 20 * SECOND, 20 * SECOND}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pace p = {.hotplug_ms = rows[i].hotplug_ms, .changed_us = START - 2 * SECOND};
        unsigned long long now = START;

        for (unsigned again = 0; again < 2; again++) {
            cr_assert_eq(pace_step(&p, true, true, now), PACE_SETTLED);
            for (unsigned k = 0; k < 4; k++) {
                pace_looked(&p, rows[i].cost_us, now);
                cr_expect_eq(p.next_all_us - now, rows[i].want[k], "row %zu, %u: %llu us", i, k,
                             p.next_all_us - now);
                now = p.next_all_us;
            }
            pace_restart(&p, now); /* then from the beginning */
            now += 2 * SECOND;
        }
    }
}

/* While vCPUs are awaited the VMs of the host are read, at most at a twentieth of a CPU. */
Test(pace, all_vms_of_the_host)
{
    static const struct {
        unsigned long long cost_us, want;
    } rows[] = {
        {0, 100 * MS},
        {5000, 100 * MS},
        {10000, 200 * MS},
        {3600 * SECOND, 10 * SECOND},
    };
    struct pace p;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pace_init(&p, 1000, START);
        cr_expect(pace_every_vm(&p, false, START), "at once");
        cr_expect_not(pace_every_vm(&p, true, START), "all are in their place");
        pace_looked(&p, rows[i].cost_us, START);
        cr_expect_not(pace_every_vm(&p, false, START + rows[i].want - 1), "cost %llu us",
                      rows[i].cost_us);
        cr_expect(pace_every_vm(&p, false, START + rows[i].want), "cost %llu us", rows[i].cost_us);
        cr_expect_eq(pace_depth(&p, START + rows[i].want), SCAN_CHANGES);
        p.settled = true;
        cr_expect_not(pace_every_vm(&p, false, START + rows[i].want), "settled");
    }
}
