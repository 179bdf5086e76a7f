/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/override.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <inttypes.h>
#include <string.h>

enum { ALONE, BANDWIDTH, MEMORY_AND_SWAP };

#define ROW(part, kind, type, member, pair, zero)                                                  \
    {                                                                                              \
        part, kind, offsetof(struct type, member), pair, zero                                      \
    }
#define CPU(member, pair, zero) ROW(OVERRIDE_CPU, OVERRIDE_NUMBER, oci_cpu, member, pair, zero)
#define MEMORY(member, pair)    ROW(OVERRIDE_MEMORY, OVERRIDE_NUMBER, oci_memory, member, pair, false)

const struct override_row override_rows[OVERRIDE_ROWS] = {
    CPU(shares, ALONE, false),
    CPU(quota, BANDWIDTH, false),
    CPU(period, BANDWIDTH, false),
    CPU(burst, ALONE, true),
    CPU(idle, ALONE, true),
    ROW(OVERRIDE_CPU, OVERRIDE_TEXT, oci_cpu, cpus, ALONE, false),
    ROW(OVERRIDE_CPU, OVERRIDE_TEXT, oci_cpu, mems, ALONE, false),
    MEMORY(limit, MEMORY_AND_SWAP),
    MEMORY(swap, MEMORY_AND_SWAP),
    MEMORY(reservation, ALONE),
    ROW(OVERRIDE_PIDS, OVERRIDE_NUMBER, oci_pids, limit, ALONE, false),
};

/* Signed and unsigned numbers are compared and copied, and nothing else. */
_Static_assert(sizeof(struct json_i64) == sizeof(struct json_u64) &&
                   offsetof(struct json_i64, value) == offsetof(struct json_u64, value),
               "oci/json.h");

/* ---- members ---- */

static const char *member_of(const struct oci_resources *r, const struct override_row *row)
{
    const void *part = !r                             ? NULL
                       : row->part == OVERRIDE_CPU    ? (const void *)r->cpu
                       : row->part == OVERRIDE_MEMORY ? (const void *)r->memory
                                                      : (const void *)r->pids;

    return part ? (const char *)part + row->offset : NULL;
}

/* Of a copy of ours, which has all parts. */
static char *own_member(struct oci_resources *r, const struct override_row *row)
{
    return (row->part == OVERRIDE_CPU      ? (char *)r->cpu
            : row->part == OVERRIDE_MEMORY ? (char *)r->memory
                                           : (char *)r->pids) +
           row->offset;
}

static size_t size_of(const struct override_row *row)
{
    return row->kind == OVERRIDE_TEXT ? sizeof(char *) : sizeof(struct json_u64);
}

static struct json_u64 number_of(const struct oci_resources *r, const struct override_row *row)
{
    const char *member = member_of(r, row);
    struct json_u64 number = {0};

    if (member)
        memcpy(&number, member, sizeof number);
    return number;
}

static const char *text_of(const struct oci_resources *r, const struct override_row *row)
{
    const char *member = member_of(r, row), *text = NULL;

    if (member)
        memcpy(&text, member, sizeof text);
    return text ? text : "";
}

bool override_says(const struct oci_resources *r, const struct override_row *row)
{
    struct json_u64 number;

    if (row->kind == OVERRIDE_TEXT)
        return !str_empty(text_of(r, row));
    number = number_of(r, row);
    return number.set && (row->zero_is_value || number.value != 0);
}

bool override_says_any(const struct oci_resources *r)
{
    for (size_t i = 0; i < OVERRIDE_ROWS; i++) {
        if (override_says(r, &override_rows[i]))
            return true;
    }
    return false;
}

static bool is_same(const struct oci_resources *x, const struct oci_resources *y,
                    const struct override_row *row)
{
    struct json_u64 a, b;

    if (row->kind == OVERRIDE_TEXT)
        return str_eq(text_of(x, row), text_of(y, row));
    a = number_of(x, row);
    b = number_of(y, row);
    return a.set == b.set && (!a.set || a.value == b.value);
}

/* ---- what is set ---- */

static void take_over(const struct oci_resources *from, struct oci_resources *to)
{
    for (size_t i = 0; i < OVERRIDE_ROWS; i++) {
        const struct override_row *row = &override_rows[i];

        if (override_says(from, row))
            memcpy(own_member(to, row), member_of(from, row), size_of(row));
    }
}

struct oci_resources *override_merge(const struct oci_resources *before,
                                     const struct oci_resources *more, struct arena *a)
{
    struct oci_resources *r = arena_alloc(a, sizeof *r);

    r->cpu = arena_alloc(a, sizeof *r->cpu);
    r->memory = arena_alloc(a, sizeof *r->memory);
    r->pids = arena_alloc(a, sizeof *r->pids);
    take_over(before, r);
    take_over(more, r);
    return r;
}

static void drop(struct oci_resources *set, const struct override_row *changed)
{
    for (size_t i = 0; i < OVERRIDE_ROWS; i++) {
        const struct override_row *row = &override_rows[i];

        if (row == changed || (changed->pair != ALONE && row->pair == changed->pair))
            memset(own_member(set, row), 0, size_of(row));
    }
}

struct oci_resources *override_yield(const struct oci_resources *set,
                                     const struct oci_resources *before,
                                     const struct oci_resources *now, struct arena *a)
{
    struct oci_resources *left = override_merge(set, NULL, a);

    for (size_t i = 0; i < OVERRIDE_ROWS; i++) {
        if (!is_same(before, now, &override_rows[i]))
            drop(left, &override_rows[i]);
    }
    return override_says_any(left) ? left : NULL;
}

/* ---- what follows ---- */

static void note(struct aggregate_notes *notes, enum aggregate_kind kind)
{
    notes->kinds[kind] = (struct aggregate_note){.fate = AGGREGATE_UPDATED};
    notes->has_overhead[kind] = false;
}

static void set_value(struct cg_value *limit, const struct cg_value *set, enum aggregate_kind kind,
                      struct aggregate_notes *notes)
{
    if (!set->set)
        return;
    *limit = *set;
    note(notes, kind);
}

static void set_list(const char **limit, const char *set, enum aggregate_kind kind,
                     struct aggregate_notes *notes)
{
    if (str_empty(set))
        return;
    *limit = set;
    note(notes, kind);
}

/* To a group that is idle the kernel gives no other weight. */
static bool replaces(const struct cg_limits *set, const struct cg_files *files, const char *name)
{
    bool is_weight = str_eq(name, "cpu.weight") || str_eq(name, "cpu.weight.nice");

    return cg_files_get(files, name) ||
           (is_weight &&
            (cg_files_get(files, "cpu.weight") || (set->cpu_idle.set && set->cpu_idle.value == 1)));
}

/* The kernel refuses a burst above the quota (cgroup-v2.rst, cpu.max.burst), and of the two either may be another's. */
static bool exceeds(const struct cg_value *quota, int64_t burst)
{
    return quota->set && quota->value > 0 && burst > quota->value;
}

static struct cg_unified fit_file(const struct cg_limits *set, const struct cg_unified *u,
                                  struct arena *a)
{
    struct cg_unified fit = *u;
    int64_t burst;

    if (str_eq(u->file, "cpu.max.burst") && str_to_i64(u->text, strlen(u->text), &burst) == 0 &&
        exceeds(&set->cpu_quota_us, burst))
        fit.text = arena_printf(a, "%" PRId64, set->cpu_quota_us.value);
    return fit;
}

/* v2: a lone container's words for files are written last, and would be in force in its place. */
static void drop_unified(const struct cg_limits *set, struct arena *a, struct cg_limits *limits)
{
    struct cg_unified *kept = NULL;
    size_t count = 0, warning_count = 0;
    const char **warnings = NULL;
    struct cg_files files = {0};

    (void)cg_limits_files(set, true, a, &files, &warnings, &warning_count, NULL);
    for (size_t i = 0; i < limits->unified_count; i++) {
        if (!replaces(set, &files, limits->unified[i].file))
            ARENA_APPEND(a, kept, count) = fit_file(set, &limits->unified[i], a);
    }
    limits->unified = kept;
    limits->unified_count = count;
}

/* What neither of them is by `update` is for the kernel to judge. */
static void fit_burst(const struct cg_limits *set, struct cg_limits *limits,
                      struct aggregate_notes *notes)
{
    if (!(set->cpu_quota_us.set || set->cpu_burst_us.set) || !limits->cpu_burst_us.set ||
        !exceeds(&limits->cpu_quota_us, limits->cpu_burst_us.value))
        return;
    limits->cpu_burst_us.value = limits->cpu_quota_us.value;
    note(notes, AGGREGATE_BURST);
}

void override_apply(const struct oci_resources *set, bool v2, struct arena *a,
                    struct cg_limits *limits, struct aggregate_notes *notes)
{
    struct cg_limits own;

    if (!set)
        return;
    aggregate_container(set, a, &own);
    if (v2 && limits->unified_count > 0)
        drop_unified(&own, a, limits);
    set_value(&limits->cpu_shares, &own.cpu_shares, AGGREGATE_SHARES, notes);
    set_value(&limits->cpu_quota_us, &own.cpu_quota_us, AGGREGATE_BANDWIDTH, notes);
    set_value(&limits->cpu_period_us, &own.cpu_period_us, AGGREGATE_BANDWIDTH, notes);
    set_value(&limits->cpu_burst_us, &own.cpu_burst_us, AGGREGATE_BURST, notes);
    set_value(&limits->cpu_idle, &own.cpu_idle, AGGREGATE_IDLE, notes);
    set_value(&limits->memory_limit, &own.memory_limit, AGGREGATE_MEMORY, notes);
    set_value(&limits->memory_swap, &own.memory_swap, AGGREGATE_SWAP, notes);
    set_value(&limits->memory_reservation, &own.memory_reservation, AGGREGATE_RESERVATION, notes);
    set_value(&limits->pids, &own.pids, AGGREGATE_PIDS, notes);
    set_list(&limits->cpuset_cpus, own.cpuset_cpus, AGGREGATE_CPUS, notes);
    set_list(&limits->cpuset_mems, own.cpuset_mems, AGGREGATE_MEMS, notes);
    fit_burst(&own, limits, notes);
}
