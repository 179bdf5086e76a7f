/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/limits.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>

/* The formula of runc 1.3.2 and crun 1.23, with libm. */
static uint64_t weight_by_libm(uint64_t shares)
{
    double l, power;

    if (shares <= 2)
        return 1;
    if (shares >= 262144)
        return 10000;
    l = log2((double)shares);
    power = pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0);
    return (uint64_t)ceil(power);
}

Test(weights, shares_to_weight_every_value)
{
    unsigned wrong = 0;
    uint64_t before = 0;

    for (uint64_t shares = 0; shares <= 262200; shares++) {
        uint64_t want = weight_by_libm(shares), got = cg_shares_to_weight(shares);

        if (got != want && wrong++ < 10)
            cr_expect_eq(got, want, "%" PRIu64 " shares: expected %" PRIu64 ", got %" PRIu64,
                         shares, want, got);
        cr_assert(got >= before && got >= 1 && got <= 10000,
                  "%" PRIu64 " shares: %" PRIu64 " after %" PRIu64, shares, got, before);
        before = got;
    }
    cr_expect_eq(wrong, 0, "%u values differ from libm", wrong);
}

Test(weights, weight_to_shares)
{
    for (uint64_t weight = 1; weight <= 10000; weight++) {
        uint64_t shares = cg_weight_to_shares(weight);

        cr_assert_geq(cg_shares_to_weight(shares), weight);
        cr_assert(shares == 2 || cg_shares_to_weight(shares - 1) < weight, "%d", (int)weight);
    }
}

Test(weights, shares_to_weight_known)
{
    /* worked out by hand, and the ends */
    static const struct {
        uint64_t shares, weight;
    } cases[] = {
        {0, 1},          {1, 1},          {2, 1},          {3, 2},
        {512, 59},       {1024, 100},     {2048, 174},     {4096, 303},
        {262143, 10000}, {262144, 10000}, {262145, 10000}, {UINT64_MAX, 10000},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t got = cg_shares_to_weight(cases[i].shares);

        cr_expect_eq(got, cases[i].weight, "%" PRIu64 " shares: expected %" PRIu64 ", got %" PRIu64,
                     cases[i].shares, cases[i].weight, got);
    }
}

Test(weights, blkio_to_io_weight)
{
    static const struct {
        uint64_t blkio, io;
    } cases[] = {{10, 1}, {11, 11}, {100, 910}, {500, 4950}, {999, 9989}, {1000, 10000}};
    uint64_t before = 0;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t got = cg_blkio_to_io_weight(cases[i].blkio);

        cr_expect_eq(got, cases[i].io, "%" PRIu64 ": expected %" PRIu64 ", got %" PRIu64,
                     cases[i].blkio, cases[i].io, got);
    }
    for (uint64_t w = 10; w <= 1000; w++) {
        uint64_t got = cg_blkio_to_io_weight(w);

        cr_assert(got > before && got <= 10000, "%" PRIu64 ": %" PRIu64, w, got);
        before = got;
    }
}
