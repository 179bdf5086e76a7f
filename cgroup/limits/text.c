/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/text.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"

#include <errno.h>
#include <math.h>

struct cg_text cg_text_trim(const char *text)
{
    const char *blanks = " \t\r\n\v\f";
    struct cg_text t = {.s = text + strspn(text, blanks)};

    t.len = strlen(t.s);
    while (t.len > 0 && strchr(blanks, t.s[t.len - 1]))
        t.len--;
    return t;
}

struct cg_text cg_text_field(struct cg_text *rest)
{
    struct cg_text field = *rest;

    field.len = 0;
    while (field.len < rest->len && !strchr(" \t", field.s[field.len]))
        field.len++;
    rest->s += field.len;
    rest->len -= field.len;
    while (rest->len > 0 && strchr(" \t", rest->s[0])) {
        rest->s++;
        rest->len--;
    }
    return field;
}

static bool span_is(struct cg_text t, const char *word)
{
    return t.len == strlen(word) && strncmp(t.s, word, t.len) == 0;
}

bool cg_text_is_unlimited(struct cg_text t, bool v2)
{
    return span_is(t, "max") || (!v2 && span_is(t, "-1"));
}

int cg_text_number(struct cg_text t, uint64_t *ret)
{
    if (t.len > 1 && t.s[0] == '0')
        return -EINVAL;
    return str_to_u64(t.s, t.len, ret);
}

int cg_text_bytes(struct cg_text t, uint64_t *ret)
{
    static const char units[] = "KMGTPE";
    const char *unit = t.len > 0 ? strchr(units, t.s[t.len - 1] & ~0x20) : NULL;
    uint64_t factor = 1;
    int r;

    if (unit && *unit) {
        factor = UINT64_C(1) << 10 * (unit - units + 1);
        t.len--;
    }
    r = cg_text_number(t, ret);
    if (r < 0)
        return r;
    return __builtin_mul_overflow(*ret, factor, ret) ? -ERANGE : 0;
}

/* --- which of two is less --- */

/* "max", "1000" or "1000 5000" as a share of a CPU. */
static int read_share(struct cg_text t, double *ret)
{
    struct cg_text quota = cg_text_field(&t);
    uint64_t n, period = CG_DEFAULT_PERIOD_US;

    *ret = HUGE_VAL;
    if (t.len > 0 && (cg_text_number(t, &period) < 0 || period == 0))
        return -EINVAL;
    if (cg_text_is_unlimited(quota, true))
        return 0;
    if (cg_text_number(quota, &n) < 0)
        return -EINVAL;
    *ret = (double)n / (double)period;
    return 0;
}

static int read_limit(const struct cg_limit_row *row, const char *text, double *ret)
{
    struct cg_text t = cg_text_trim(text);
    uint64_t n;
    int r;

    if (row->property_form == CG_AS_BANDWIDTH)
        return read_share(t, ret);
    *ret = HUGE_VAL;
    if (cg_text_is_unlimited(t, true))
        return 0;
    r = row->ctl == CG_CTL_MEMORY ? cg_text_bytes(t, &n) : cg_text_number(t, &n);
    *ret = r < 0 ? *ret : (double)n;
    return r;
}

static int read_set(const char *text, struct arena *a, struct cg_cpulist *ret)
{
    struct cg_text t = cg_text_trim(text);

    return cg_cpulist_parse(arena_strndup(a, t.s, t.len), ret);
}

static const char *common(const char *above, const char *beneath, struct arena *a)
{
    autosbuf text = SBUF_INIT;
    struct cg_cpulist set = {0}, other = {0};

    if (read_set(above, a, &set) < 0 || read_set(beneath, a, &other) < 0)
        return beneath;
    if (cg_cpulist_count(&other) == 0)
        return above;
    cg_cpulist_intersect(&set, &other);
    if (cg_cpulist_count(&set) == 0)
        return beneath;
    cg_cpulist_format(&set, &text);
    return arena_strdup(a, sbuf_text(&text));
}

const char *cg_text_least(const struct cg_limit_row *row, const char *above, const char *beneath,
                          struct arena *a)
{
    double high, low;

    switch (row->property_form) {
    case CG_AS_SET:
        return common(above, beneath, a);
    case CG_AS_CPU_WEIGHT:
    case CG_AS_LIMIT:
    case CG_AS_BANDWIDTH:
        if (read_limit(row, above, &high) < 0 || read_limit(row, beneath, &low) < 0)
            return beneath;
        return high < low ? above : beneath;
    default:
        return beneath;
    }
}
