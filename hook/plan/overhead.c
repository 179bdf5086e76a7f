/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/overhead.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/quota.h"

#include <inttypes.h>

/* Those files of a list that have one of these names. */
static struct cg_files pick(const struct cg_files *files, const char *const *names, struct arena *a)
{
    struct cg_files picked = {0};

    for (size_t i = 0; i < files->count; i++) {
        for (const char *const *name = names; *name; name++) {
            if (str_eq(files->items[i].file, *name))
                ARENA_APPEND(a, picked.items, picked.count) = files->items[i];
        }
    }
    return picked;
}

static const char *const *own_files(bool v2)
{
    static const char *const v1_names[] = {"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us",
                                           NULL};
    static const char *const v2_names[] = {"cpu.max", NULL};

    return v2 ? v2_names : v1_names;
}

/* A quota that was given as text of cpu.max, in place of that of the settings. */
static struct cg_files with_quota(const struct cg_files *others, const struct quota *quota, bool v2,
                                  struct arena *a)
{
    static const char *const shares[] = {"cpu.shares", NULL};
    struct cg_files files = pick(others, shares, a);
    char text[QUOTA_TEXT_SIZE];

    if (v2) {
        cg_files_add(a, &files, "cpu.max", arena_strdup(a, quota_format(quota, text)), true);
    } else {
        cg_files_add(a, &files, "cpu.cfs_period_us", arena_printf(a, "%" PRIu64, quota->period_us),
                     false);
        cg_files_add(a, &files, "cpu.cfs_quota_us", arena_printf(a, "%" PRId64, quota->us), false);
    }
    return files;
}

/*
 * v1: the kernel takes them as they are or not at all, and it is asked when vCPUs have come and nobody is there to be
 * told. On v2 they are a part of a sum, which is always within its bounds.
 */
static int check_bandwidth(const struct cg_limits *l, struct err *e)
{
    const struct cg_value *quota = &l->cpu_quota_us, *period = &l->cpu_period_us;

    if (quota->set && quota->value > 0 &&
        (quota->value < QUOTA_MIN_US || quota->value > QUOTA_MAX_US))
        return err_input(e,
                         "cpu.quota: the kernel does not take %" PRId64 " microseconds; it has to "
                         "be from %" PRId64 " to %" PRId64 ", or -1 for no limit",
                         quota->value, QUOTA_MIN_US, QUOTA_MAX_US);
    if (period->set && period->value != 0 &&
        (period->value < (int64_t)QUOTA_MIN_PERIOD_US ||
         period->value > (int64_t)QUOTA_MAX_PERIOD_US))
        return err_input(e,
                         "cpu.period: the kernel does not take %" PRId64 " microseconds; it has to "
                         "be from %" PRIu64 " to %" PRIu64,
                         period->value, QUOTA_MIN_PERIOD_US, QUOTA_MAX_PERIOD_US);
    return 0;
}

int overhead_files(const struct settings *settings, const char *quota, bool v2, struct arena *a,
                   struct cg_files *ret, struct plan_warnings *warnings, struct err *e)
{
    struct quota given;
    struct cg_limits limits;
    struct cg_files all;
    int r;

    aggregate_container(settings->overhead_limits, a, &limits);
    r = v2 ? 0 : check_bandwidth(&limits, e);
    if (r == 0)
        r = cg_limits_files(&limits, v2, a, &all, &warnings->items, &warnings->count, e);
    if (r < 0) {
        err_wrap(e, "overhead_limits");
        return r;
    }
    *ret = pick(&all, own_files(v2), a);
    for (size_t i = 0; i < all.count; i++) {
        if (!cg_files_get(ret, all.items[i].file))
            plan_warn(
                warnings, a,
                arena_printf(a,
                             "overhead_limits: %s is not set, because the overhead shares the "
                             "sandbox's %s",
                             all.items[i].file, cg_ctl_name(all.items[i].ctl, v2)));
    }
    if (quota && quota_parse(quota, &given))
        *ret = with_quota(ret, &given, v2, a);
    return 0;
}

struct cg_files overhead_quota_of(const struct cg_files *own, struct arena *a)
{
    static const char *const names[] = {"cpu.max", "cpu.max.burst", NULL};
    const char *text = cg_files_get(own, "cpu.max");
    struct quota quota;

    if (!text || !quota_parse(text, &quota) || quota.us < 0)
        return (struct cg_files){0};
    return pick(own, names, a);
}

/* The quota moves from the cgroup around them to that of the vCPUs. */
static struct cg_files lifted_files(const struct cg_files *own, const struct cg_files *extra,
                                    struct arena *a)
{
    const struct cg_files mine = overhead_quota_of(own, a);
    const char *text = cg_files_get(extra, "cpu.max");
    struct quota quota, more, lifted;
    struct cg_files files = {0};
    char buf[QUOTA_TEXT_SIZE];

    if (mine.count == 0 || !quota_parse(cg_files_get(&mine, "cpu.max"), &quota))
        return files;
    lifted = quota_sum_lifted(&quota, text && quota_parse(text, &more) ? &more : NULL);
    cg_files_add(a, &files, "cpu.max", arena_strdup(a, quota_format(&lifted, buf)), true);
    return files;
}

/* The overhead competes for CPU time as the whole did, if it is not told otherwise. */
static struct cg_files own_shares(const struct cg_files *own, const struct cg_files *extra,
                                  struct arena *a)
{
    static const char *const names[] = {"cpu.shares", NULL};
    struct cg_files files = {0};

    if (!cg_files_get(extra, "cpu.shares"))
        files = pick(own, names, a);
    cg_files_append(a, &files, extra);
    return files;
}

int overhead_fill(const struct plan_input *in, const struct cg_files *own, struct arena *a,
                  struct plan *p, struct err *e)
{
    bool v2 = p->mode == CG_MODE_V2;
    struct cg_files extra;
    int r = overhead_files(in->settings, p->overhead_quota, v2, a, &extra, &p->warnings, e);

    if (r < 0)
        return r;
    p->why.overhead_quota = p->overhead_quota ? POLICY_ANNOTATION
                            : cg_files_get(&extra, v2 ? "cpu.max" : "cpu.cfs_quota_us")
                                ? POLICY_CONFIG
                                : POLICY_DEFAULT;
    p->why.overhead_shares_own = !cg_files_get(&extra, "cpu.shares");
    p->overhead.files = v2 ? lifted_files(own, &extra, a) : own_shares(own, &extra, a);
    if (!p->overhead_unit)
        return 0;
    r = cg_properties_limits(&p->overhead.files, v2, a, &p->overhead.properties, e);
    if (r < 0 && e)
        e->bad_input = true;
    return r;
}
