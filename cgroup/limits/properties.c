/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/properties.h"
#include "cgroup/devices/exceptions.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"
#include "cgroup/limits/table.h"
#include "cgroup/limits/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define INFINITE UINT64_MAX

/* cpu.shares (kernel/sched/sched.h) */
#define SHARES_MIN 2
#define SHARES_MAX 262144

/* --- CPU bandwidth --- */

#define PERIOD_MIN_US 1000
#define PERIOD_MAX_US 1000000
#define QUOTA_MIN_US  1000
#define QUOTA_MAX_US  ((UINT64_C(1) << 44) - 1)
#define SECOND_US     1000000
#define PERCENT_US    10000 /* of a second */

/*
 * The bounds are the kernel's (kernel/sched/core.c tg_set_cfs_bandwidth()). Inside of them systemd
 * takes a period as it is and no product of its own or ours exceeds 64 bits.
 */
struct bandwidth {
    uint64_t quota_us; /* INFINITE: none */
    uint64_t period_us;
    uint64_t per_second_us; /* whole percents of a CPU, at least the quota; INFINITE: none */
};

/* What systemd writes into the quota file: cgroup_apply_unified_cpu_quota() and its v1 sibling. */
static uint64_t quota_by_systemd(const struct bandwidth *b)
{
    return b->per_second_us * b->period_us / SECOND_US;
}

static int parse_quota(struct cg_text t, bool v2, uint64_t *ret)
{
    *ret = INFINITE;
    if (cg_text_is_unlimited(t, v2))
        return 0;
    if (cg_text_number(t, ret) < 0 || *ret < QUOTA_MIN_US || *ret > QUOTA_MAX_US)
        return -EINVAL;
    return 0;
}

static int parse_period(struct cg_text t, uint64_t *ret)
{
    if (cg_text_number(t, ret) < 0 || *ret < PERIOD_MIN_US || *ret > PERIOD_MAX_US)
        return -EINVAL;
    return 0;
}

/*
 * From one file on v2, from two on v1, each of which may be missing.
 * 0; -EINVAL with the file that is at fault in @ret_file.
 */
static int read_bandwidth(const struct cg_files *files, bool v2, struct bandwidth *ret,
                          const char **ret_file)
{
    const char *quota_file = v2 ? "cpu.max" : "cpu.cfs_quota_us";
    const char *quota_text = cg_files_get(files, quota_file);
    const char *period_text = v2 ? NULL : cg_files_get(files, "cpu.cfs_period_us");
    struct cg_text quota = cg_text_trim(quota_text ? quota_text : "max");
    struct cg_text period = cg_text_trim(period_text ? period_text : "");
    uint64_t unit;

    *ret = (struct bandwidth){.period_us = CG_DEFAULT_PERIOD_US, .per_second_us = INFINITE};
    *ret_file = quota_file;
    if (v2) {
        period = quota;
        quota = cg_text_field(&period);
    }
    if (parse_quota(quota, v2, &ret->quota_us) < 0)
        return -EINVAL;
    if (!v2)
        *ret_file = "cpu.cfs_period_us";
    if ((period_text || period.len > 0) && parse_period(period, &ret->period_us) < 0)
        return -EINVAL;
    if (ret->quota_us == INFINITE)
        return 0;
    unit = ret->period_us * PERCENT_US;
    ret->per_second_us = (ret->quota_us * SECOND_US + unit - 1) / unit * PERCENT_US;
    *ret_file = quota_file;
    return quota_by_systemd(ret) <= QUOTA_MAX_US ? 0 : -EINVAL;
}

/* --- limits --- */

struct job {
    const struct cg_files *files;
    bool v2;
    struct arena *a;
    struct cg_properties *ret;
    struct err *e;
};

static const char *property_of(const struct cg_limit_row *row, bool v2)
{
    return v2 ? row->v2_property : row->v1_property;
}

static struct cg_property *add(const struct job *job, const char *name, enum cg_property_kind kind)
{
    struct cg_property *p = &ARENA_APPEND(job->a, job->ret->items, job->ret->count);

    *p = (struct cg_property){.name = name, .kind = kind};
    return p;
}

static int add_number(const struct job *job, const char *name, uint64_t number)
{
    add(job, name, CG_PROPERTY_NUMBER)->number = number;
    return 0;
}

static int refuse(const struct job *job, const struct cg_limit_row *row, const char *file,
                  const char *takes)
{
    char shown[128];

    str_escape(cg_files_get(job->files, file), shown, sizeof shown);
    return err_input(job->e, "%s: \"%s\" cannot be set through systemd, whose %s takes %s", file,
                     shown, property_of(row, job->v2), takes);
}

static int convert_weight(const struct job *job, const struct cg_limit_row *row,
                          const struct cg_file *f)
{
    char takes[64];
    uint64_t n;

    snprintf(takes, sizeof takes, "a number in %" PRIu64 "..%" PRIu64, row->property_min,
             row->property_max);
    if (cg_text_number(cg_text_trim(f->text), &n) < 0 || n < row->property_min ||
        n > row->property_max)
        return refuse(job, row, f->file, takes);
    return add_number(job, property_of(row, job->v2), n);
}

/* v1: the kernel takes any number of shares and moves it into its range. */
static int convert_cpu_weight(const struct job *job, const struct cg_limit_row *row,
                              const struct cg_file *f)
{
    uint64_t n;

    if (job->v2)
        return convert_weight(job, row, f);
    if (cg_text_number(cg_text_trim(f->text), &n) < 0)
        return refuse(job, row, f->file, "a number");
    return add_number(job, row->v1_property,
                      n < SHARES_MIN   ? SHARES_MIN
                      : n > SHARES_MAX ? SHARES_MAX
                                       : n);
}

/* "default 100" and lines for devices are for us to write. */
static int convert_io_weight(const struct job *job, const struct cg_limit_row *row,
                             const struct cg_file *f)
{
    uint64_t n;

    return cg_text_number(cg_text_trim(f->text), &n) == -EINVAL ? 0 : convert_weight(job, row, f);
}

static int convert_limit(const struct job *job, const struct cg_limit_row *row,
                         const struct cg_file *f)
{
    struct cg_text t = cg_text_trim(f->text);
    bool is_memory = f->ctl == CG_CTL_MEMORY;
    char takes[64];
    uint64_t n;

    snprintf(takes, sizeof takes, "a number%s%s, or %s", is_memory ? " of bytes" : "",
             row->property_min > 0 ? " above 0" : "", is_memory && !job->v2 ? "-1" : "max");
    if (cg_text_is_unlimited(t, job->v2))
        return add_number(job, property_of(row, job->v2), INFINITE);
    if ((is_memory ? cg_text_bytes(t, &n) : cg_text_number(t, &n)) < 0 || n < row->property_min)
        return refuse(job, row, f->file, takes);
    return add_number(job, property_of(row, job->v2), n);
}

static int convert_set(const struct job *job, const struct cg_limit_row *row,
                       const struct cg_file *f)
{
    struct cg_text t = cg_text_trim(f->text);
    struct cg_cpulist set = {0};
    struct cg_property *p;
    uint8_t *bytes;

    if (cg_cpulist_parse(arena_strndup(job->a, t.s, t.len), &set) < 0)
        return refuse(job, row, f->file, "a list like 0-3,8");
    p = add(job, property_of(row, job->v2), CG_PROPERTY_BYTES);
    bytes = arena_alloc(job->a, CG_CPULIST_MAX / 8);
    for (unsigned i = 0; i < CG_CPULIST_MAX; i++) {
        if (!cg_cpulist_has(&set, i))
            continue;
        bytes[i / 8] |= (uint8_t)(1 << i % 8);
        p->count = i / 8 + 1;
    }
    p->bytes = bytes;
    return 0;
}

static int convert_bandwidth(const struct job *job, const struct cg_limit_row *row,
                             const struct cg_file *f)
{
    const char *at_fault;
    struct bandwidth b;

    /* On v1 the quota's file speaks for both. */
    if (str_eq(f->file, "cpu.cfs_period_us") && cg_files_get(job->files, "cpu.cfs_quota_us"))
        return 0;
    if (read_bandwidth(job->files, job->v2, &b, &at_fault) < 0)
        return refuse(
            job, row, at_fault,
            "a quota of 1000..17592186044415 us, or max, with a period of 1000..1000000 us");
    add_number(job, property_of(row, job->v2), b.per_second_us);
    return add_number(job, "CPUQuotaPeriodUSec", b.period_us);
}

static int convert(const struct job *job, const struct cg_file *f)
{
    static int (*const forms[])(const struct job *, const struct cg_limit_row *,
                                const struct cg_file *) = {
        [CG_AS_CPU_WEIGHT] = convert_cpu_weight, [CG_AS_IO_WEIGHT] = convert_io_weight,
        [CG_AS_LIMIT] = convert_limit,           [CG_AS_SET] = convert_set,
        [CG_AS_BANDWIDTH] = convert_bandwidth,
    };
    const struct cg_limit_row *row = cg_limit_row_of(f->file, job->v2);

    return row && property_of(row, job->v2) ? forms[row->property_form](job, row, f) : 0;
}

int cg_properties_limits(const struct cg_files *files, bool v2, struct arena *a,
                         struct cg_properties *ret, struct err *e)
{
    const struct job job = {.files = files, .v2 = v2, .a = a, .ret = ret, .e = e};

    for (size_t i = 0; i < files->count; i++) {
        int r = convert(&job, &files->items[i]);

        if (r < 0)
            return r;
    }
    if (!cg_files_get(files, "pids.max"))
        add_number(&job, "TasksMax", INFINITE);
    return 0;
}

/* --- devices --- */

/*
 * A dev_t has 12 bits of major and 20 of minor. An entry beyond is about no device, and systemd
 * would not take its name.
 */
static bool can_exist(const struct cg_dev_entry *entry)
{
    return entry->major < 1 << 12 && entry->minor < 1 << 20;
}

static struct cg_dev_table existing(const struct cg_dev_table *table, struct arena *a)
{
    struct cg_dev_table out = {0};

    for (size_t i = 0; i < table->count; i++) {
        if (can_exist(&table->items[i]))
            ARENA_APPEND(a, out.items, out.count) = table->items[i];
    }
    return out;
}

static bool is_class(const struct cg_dev_entry *entry)
{
    return entry->major == CG_DEV_ANY && entry->minor == CG_DEV_ANY;
}

/* A denial: the first exception for less than a whole type, which could be left out as well. */
static int refuse_denial(const struct cg_dev_exceptions *form, struct err *e)
{
    size_t i = 0;
    char shown[48];

    while (i + 1 < form->count && is_class(&form->exceptions[i]))
        i++;
    return err_set(e, -ENOTSUP,
                   "systemd's DeviceAllow cannot express this device list: it denies \"%s\", "
                   "which a wider rule allows, and DeviceAllow can only add devices; use the "
                   "cgroupfs manager or drop the rule",
                   cg_dev_entry_text(&form->exceptions[i], form->exceptions[i].access, shown));
}

static const char *node_of(const struct cg_dev_entry *entry, struct arena *a)
{
    const char *type = entry->type == 'b' ? "block" : "char";

    if (is_class(entry))
        return arena_printf(a, "%s-*", type);
    if (entry->minor == CG_DEV_ANY)
        return arena_printf(a, "%s-%" PRId64, type, entry->major);
    return arena_printf(a, "/dev/%s/%" PRId64 ":%" PRId64, type, entry->major, entry->minor);
}

/* The compiled form of "allow everything", as "deny all but". */
static bool is_everything(const struct cg_dev_exceptions *form)
{
    return form->count == 2 && is_class(&form->exceptions[0]) && is_class(&form->exceptions[1]) &&
           form->exceptions[0].access == CG_DEV_RWM && form->exceptions[1].access == CG_DEV_RWM;
}

int cg_properties_devices(const struct cg_dev_table *table, struct arena *a,
                          struct cg_properties *ret, struct err *e)
{
    const struct cg_dev_table devices = existing(table, a);
    const struct job job = {.a = a, .ret = ret, .e = e};
    struct cg_property_device *list = NULL;
    struct cg_property *p;
    struct err why = ERR_INIT;
    struct cg_dev_exceptions form;
    size_t count = 0;
    bool everything;
    int r = cg_dev_exceptions_make(&devices, a, &form, &why);

    if (r < 0)
        return err_set(e, r,
                       "systemd's DeviceAllow is as limited as the device lists of cgroup v1: %s; "
                       "on cgroup v2 the cgroupfs manager can be used instead",
                       why.text);
    if (form.allow_all)
        return refuse_denial(&form, e);
    everything = is_everything(&form);
    for (size_t i = 0; i < form.count && !everything; i++) {
        const struct cg_dev_entry *entry = &form.exceptions[i];
        struct cg_property_device *device;
        char shown[48], access[4];

        if (entry->major == CG_DEV_ANY && entry->minor != CG_DEV_ANY)
            return err_set(e, -ENOTSUP,
                           "systemd's DeviceAllow cannot express \"%s\", one minor of any major; "
                           "use the cgroupfs manager or drop the rule",
                           cg_dev_entry_text(entry, entry->access, shown));
        device = &ARENA_APPEND(a, list, count);
        device->node = node_of(entry, a);
        device->access = arena_strdup(a, cg_dev_access_text(entry->access, access));
    }
    add(&job, "DeviceAllow", CG_PROPERTY_DEVICES);
    if (count > 0) {
        p = add(&job, "DeviceAllow", CG_PROPERTY_DEVICES);
        p->devices = list;
        p->count = count;
    }
    add(&job, "DevicePolicy", CG_PROPERTY_STRING)->text = everything ? "auto" : "strict";
    return 0;
}

struct cg_properties cg_properties_without_devices(const struct cg_properties *p, struct arena *a)
{
    struct cg_properties rest = {0};

    for (size_t i = 0; i < p->count; i++) {
        if (!str_starts(p->items[i].name, "Device"))
            ARENA_APPEND(a, rest.items, rest.count) = p->items[i];
    }
    return rest;
}

/* --- showing --- */

static const char *set_text(const struct cg_property *p, struct arena *a)
{
    struct cg_cpulist set = {0};
    autosbuf text = SBUF_INIT;

    for (size_t i = 0; i < p->count; i++)
        set.bits[i / 8] |= (uint64_t)p->bytes[i] << i % 8 * 8;
    cg_cpulist_format(&set, &text);
    return arena_strdup(a, sbuf_text(&text));
}

static const char *devices_text(const struct cg_property *p, struct arena *a)
{
    autosbuf text = SBUF_INIT;

    for (size_t i = 0; i < p->count; i++)
        sbuf_addf(&text, "%s%s %s", i ? ", " : "", p->devices[i].access, p->devices[i].node);
    return arena_strdup(a, sbuf_text(&text));
}

const char *cg_property_text(const struct cg_property *p, struct arena *a)
{
    switch (p->kind) {
    case CG_PROPERTY_NUMBER:
        return p->number == INFINITE ? "infinity" : arena_printf(a, "%" PRIu64, p->number);
    case CG_PROPERTY_STRING:
        return p->text;
    case CG_PROPERTY_BYTES:
        return set_text(p, a);
    case CG_PROPERTY_DEVICES:
        break;
    }
    return devices_text(p, a);
}
