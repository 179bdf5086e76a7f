/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/draw.h"

static uint8_t next_byte(struct draw *d)
{
    if (d->len == 0)
        return 0;
    d->len--;
    return *d->data++;
}

uint64_t draw_below(struct draw *d, uint64_t count)
{
    uint64_t value = 0;

    /* No more bytes than it takes, so that what comes behind stays where it is. */
    for (uint64_t most = count - 1; most > 0; most >>= 8)
        value = value << 8 | next_byte(d);
    return value % count;
}

bool draw_one_in(struct draw *d, unsigned count)
{
    return draw_below(d, 256) % count == count - 1;
}

static int64_t bounded(uint64_t value, int64_t min, int64_t max)
{
    uint64_t width = (uint64_t)max - (uint64_t)min;

    return (int64_t)((uint64_t)min + (width == UINT64_MAX ? value : value % (width + 1)));
}

int64_t draw_i64(struct draw *d, int64_t min, int64_t max)
{
    uint64_t kind = draw_below(d, 8);

    if (kind == 0)
        return min;
    if (kind == 1)
        return max;
    if (kind < 4)
        return bounded(draw_below(d, 256), min, max);
    if (kind < 6)
        return bounded(UINT64_C(1) << draw_below(d, 63), min, max);
    return bounded(draw_below(d, UINT64_MAX), min, max);
}

const char *draw_text(struct draw *d, const char *const *texts, size_t count)
{
    return texts[draw_below(d, count)];
}
