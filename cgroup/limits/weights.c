/* SPDX-License-Identifier: Apache-2.0 */

/* Weights of cgroup v1 as those of cgroup v2: the arithmetic of limits.h. */

#include "cgroup/limits/limits.h"

/*
 * 10^x for x in [-1, 4] and log2 of an integer, to about 1e-15, without the maths library: loading
 * it would cost every hook run more than the rest of the program's start. The unit test compares
 * the result with libm's for every value of shares.
 */
static double log2_of(uint64_t n)
{
    int exponent = 63 - __builtin_clzll(n);
    double x = (double)n / (double)(UINT64_C(1) << exponent); /* 1 <= x < 2 */
    double y = (x - 1) / (x + 1), square = y * y, term = y, sum = 0;

    /* ln x = 2 (y + y^3/3 + y^5/5 + ...), |y| < 1/3 */
    for (int k = 1; k < 40; k += 2) {
        sum += term / k;
        term *= square;
    }
    return exponent + 2 * sum * 1.4426950408889634074; /* 1 / ln 2 */
}

static double pow10_of(double x)
{
    double z = x * 2.3025850929940456840 / 64, term = 1, sum = 1; /* ln 10 */

    for (int k = 1; k < 20; k++) {
        term *= z / k;
        sum += term;
    }
    for (int i = 0; i < 6; i++)
        sum *= sum;
    return sum;
}

uint64_t cg_shares_to_weight(uint64_t shares)
{
    double l, power;
    uint64_t weight;

    if (shares <= 2)
        return 1;
    if (shares >= 262144)
        return 10000;
    l = log2_of(shares);
    power = pow10_of((l * l + 125 * l) / 612 - 7.0 / 34);
    weight = (uint64_t)power;
    /* 1024 shares are exactly 100; a rounding error must not make it 101. */
    return (double)weight + 1e-9 < power ? weight + 1 : weight;
}

uint64_t cg_weight_to_shares(uint64_t weight)
{
    uint64_t low = 2, high = 262144;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (cg_shares_to_weight(middle) >= weight)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint64_t cg_blkio_to_io_weight(uint64_t weight)
{
    return 1 + (weight - 10) * 9999 / 990;
}
