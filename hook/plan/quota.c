/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/quota.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>

/* cgroup-v2.rst, "CPU Interface Files". */
#define WEIGHT_OF_THREAD 100
#define WEIGHT_MAX       10000

/* Any product of a quota and a period. */
__extension__ typedef unsigned __int128 wide;

bool quota_parse(const char *text, struct quota *ret)
{
    size_t len = strlen(text), width = strcspn(text, " ");
    struct quota q = {.us = -1};

    if (width == len)
        return false;
    if (text[len - 1] == '\n')
        len--;
    if (!(width == 3 && str_starts(text, "max")) &&
        (str_to_i64(text, width, &q.us) < 0 || q.us <= 0))
        return false;
    if (str_to_u64(text + width + 1, len - width - 1, &q.period_us) < 0 || q.period_us == 0)
        return false;
    *ret = q;
    return true;
}

bool quota_parse_given(const char *text, struct quota *ret)
{
    size_t width = strcspn(text, " ");
    struct quota q = {.period_us = QUOTA_DEFAULT_PERIOD_US};

    if (str_to_i64(text, width, &q.us) < 0 || q.us < QUOTA_MIN_US || q.us > QUOTA_MAX_US)
        return false;
    if (text[width] && str_to_u64(text + width + 1, strlen(text + width + 1), &q.period_us) < 0)
        return false;
    if (q.period_us < QUOTA_MIN_PERIOD_US || q.period_us > QUOTA_MAX_PERIOD_US)
        return false;
    *ret = q;
    return true;
}

const char *quota_format(const struct quota *q, char buf[static QUOTA_TEXT_SIZE])
{
    if (q->us < 0)
        snprintf(buf, QUOTA_TEXT_SIZE, "max %" PRIu64, q->period_us);
    else
        snprintf(buf, QUOTA_TEXT_SIZE, "%" PRId64 " %" PRIu64, q->us, q->period_us);
    return buf;
}

bool quota_is_lifted(const struct quota *q)
{
    return q->period_us == QUOTA_LIFTED_PERIOD_US;
}

int quota_compare(const struct quota *a, const struct quota *b)
{
    wide x, y;

    if (a->us < 0 || b->us < 0)
        return (a->us < 0) - (b->us < 0);
    x = (wide)a->us * b->period_us;
    y = (wide)b->us * a->period_us;
    return (x > y) - (x < y);
}

struct quota quota_least(const struct quota *items, size_t count)
{
    struct quota least = {.us = -1, .period_us = QUOTA_DEFAULT_PERIOD_US};

    for (size_t i = 0; i < count; i++) {
        if (quota_compare(&items[i], &least) < 0)
            least = items[i];
    }
    return least;
}

/* The same share of a CPU with the odd period. */
static wide lifted_us(const struct quota *q)
{
    return ((wide)q->us * QUOTA_LIFTED_PERIOD_US + q->period_us - 1) / q->period_us;
}

struct quota quota_sum_lifted(const struct quota *least, const struct quota *overhead)
{
    struct quota sum = {.us = -1, .period_us = QUOTA_LIFTED_PERIOD_US};
    wide us;

    if (least->us < 0 || !overhead || overhead->us < 0)
        return sum;
    us = lifted_us(least) + lifted_us(overhead);
    if (us < QUOTA_MIN_US)
        us = QUOTA_MIN_US;
    if (us > (wide)QUOTA_MAX_US)
        us = QUOTA_MAX_US;
    sum.us = (int64_t)us;
    return sum;
}

unsigned quota_vcpu_weight(size_t vcpus)
{
    if (vcpus == 0)
        return WEIGHT_OF_THREAD;
    return vcpus < WEIGHT_MAX / WEIGHT_OF_THREAD ? (unsigned)vcpus * WEIGHT_OF_THREAD : WEIGHT_MAX;
}
