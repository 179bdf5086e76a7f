/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/cpulist.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>

static int parse_number(const char **p, unsigned *ret)
{
    size_t len = strspn(*p, "0123456789");
    uint64_t value;
    int r = str_to_u64(*p, len, &value);

    if (r < 0)
        return r;
    if (value >= CG_CPULIST_MAX)
        return -ERANGE;
    *p += len;
    *ret = (unsigned)value;
    return 0;
}

/* Word by word: a long text may name everything a million times. */
static void add_range(struct cg_cpulist *set, unsigned first, unsigned last)
{
    for (unsigned word = first / 64; word <= last / 64; word++) {
        uint64_t bits = UINT64_MAX;

        if (word == first / 64)
            bits &= UINT64_MAX << first % 64;
        if (word == last / 64)
            bits &= UINT64_MAX >> (63 - last % 64);
        set->bits[word] |= bits;
    }
}

int cg_cpulist_parse(const char *text, struct cg_cpulist *set)
{
    const char *p = text;

    while (*p) {
        unsigned first, last;
        int r = parse_number(&p, &first);

        if (r < 0)
            return r;
        last = first;
        if (*p == '-') {
            p++;
            r = parse_number(&p, &last);
            if (r < 0)
                return r;
            if (last < first)
                return -ERANGE;
        }
        add_range(set, first, last);
        if (*p == '\0')
            break;
        /* A comma must be followed by another number, perhaps after blanks. */
        if (*p != ',')
            return -EINVAL;
        p++;
        p += strspn(p, " ");
        if (*p == '\0')
            return -EINVAL;
    }
    return 0;
}

bool cg_cpulist_has(const struct cg_cpulist *set, unsigned number)
{
    return number < CG_CPULIST_MAX && (set->bits[number / 64] >> number % 64 & 1);
}

bool cg_cpulist_is_list(const char *text)
{
    struct cg_cpulist set = {0};

    return *text && cg_cpulist_parse(text, &set) == 0;
}

void cg_cpulist_format(const struct cg_cpulist *set, struct sbuf *out)
{
    const char *comma = "";

    for (unsigned first = 0; first < CG_CPULIST_MAX; first++) {
        unsigned last = first;

        if (!cg_cpulist_has(set, first))
            continue;
        while (cg_cpulist_has(set, last + 1))
            last++;
        if (last == first)
            sbuf_addf(out, "%s%u", comma, first);
        else
            sbuf_addf(out, "%s%u-%u", comma, first, last);
        comma = ",";
        first = last;
    }
}

void cg_cpulist_add(struct cg_cpulist *set, const struct cg_cpulist *other)
{
    for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
        set->bits[i] |= other->bits[i];
}

void cg_cpulist_remove(struct cg_cpulist *set, const struct cg_cpulist *other)
{
    for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
        set->bits[i] &= ~other->bits[i];
}

void cg_cpulist_intersect(struct cg_cpulist *set, const struct cg_cpulist *other)
{
    for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
        set->bits[i] &= other->bits[i];
}

unsigned cg_cpulist_count(const struct cg_cpulist *set)
{
    unsigned count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(set->bits); i++)
        count += (unsigned)__builtin_popcountll(set->bits[i]);
    return count;
}
