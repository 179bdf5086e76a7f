/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/scope_limits.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Resources as text: memory's limit and swap, pids, quota and period; "-" is not there. */
static const struct {
    enum oci_scope_limit which;
    const char *text, *own, *want; /* without @want there is a warning, and they stay as they are */
} rows[] = {
    {OCI_SCOPE_MEMORY_MAX, "100", "- - - - -", "100 - - - -"},
    {OCI_SCOPE_MEMORY_LIMIT, "uint64 100", "-1 - - - -", "100 - - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "0 - - - -", "100 - - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "99 200 - - -", "99 200 - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "100 200 - - -", "100 200 - - -"},
    /* swap alone stays what it was: 50, none, unlimited, not named */
    {OCI_SCOPE_MEMORY_MAX, "100", "150 200 - - -", "100 150 - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "150 150 - - -", "100 100 - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "150 -1 - - -", "100 -1 - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "150 - - - -", "100 - - - -"},
    {OCI_SCOPE_MEMORY_MAX, "100", "-1 200 - - -", "100 200 - - -"},

    {OCI_SCOPE_TASKS_MAX, "@t 10", "- - - - -", "- - 10 - -"},
    {OCI_SCOPE_TASKS_MAX, "10", "- - 0 - -", "- - 10 - -"},
    {OCI_SCOPE_TASKS_MAX, "10", "- - -1 - -", "- - 10 - -"},
    {OCI_SCOPE_TASKS_MAX, "10", "- - 1 - -", "- - 1 - -"},
    {OCI_SCOPE_TASKS_MAX, "10", "- - 10 - -", "- - 10 - -"},
    {OCI_SCOPE_TASKS_MAX, "10", "- - 11 - -", "- - 10 - -"},

    /* CPU time of a second becomes that of the container's own period */
    {OCI_SCOPE_CPU_QUOTA_USEC, "uint64 500000", "- - - - -", "- - - 50000 -"},
    {OCI_SCOPE_CPU_QUOTA_USEC, "500000", "- - - -1 20000", "- - - 10000 20000"},
    {OCI_SCOPE_CPU_QUOTA_USEC, "500000", "- - - 0 0", "- - - 50000 0"},
    {OCI_SCOPE_CPU_QUOTA_USEC, "500000", "- - - 9999 20000", "- - - 9999 20000"},
    {OCI_SCOPE_CPU_QUOTA_USEC, "500000", "- - - 10001 20000", "- - - 10000 20000"},
    {OCI_SCOPE_CPU_QUOTA_USEC, "500000", "- - - 49999 -", "- - - 49999 -"},
    {OCI_SCOPE_CPU_QUOTA_USEC, "500000", "- - - 50001 -", "- - - 50000 -"},
    {OCI_SCOPE_CPU_QUOTA_SEC, "2", "- - - - -", "- - - 200000 -"},
    {OCI_SCOPE_CPU_QUOTA_SEC, "9223372036854", "- - - 1 -", "- - - 1 -"},
    {OCI_SCOPE_CPU_QUOTA_SEC, "9223372036854", "- - - - -", "- - - 922337203685400064 -"},
    {OCI_SCOPE_CPU_QUOTA_SEC, "9223372036855", "- - - - -", "- - - - -"},

    /* unlimited */
    {OCI_SCOPE_MEMORY_MAX, "uint64 18446744073709551615", "- - - - -", "- - - - -"},
    {OCI_SCOPE_MEMORY_MAX, "9223372036854775807", "5 - - - -", "5 - - - -"},
    {OCI_SCOPE_TASKS_MAX, "18446744073709551615", "- - 5 - -", "- - 5 - -"},

    /* what is no number above 0, and what is no limit of ours */
    {OCI_SCOPE_MEMORY_MAX, "0", "- - - - -", NULL},
    {OCI_SCOPE_TASKS_MAX, "-1", "- - 5 - -", NULL},
    {OCI_SCOPE_TASKS_MAX, "", "- - 5 - -", NULL},
    {OCI_SCOPE_TASKS_MAX, "uint64", "- - 5 - -", NULL},
    {OCI_SCOPE_TASKS_MAX, "[1, 2]", "- - 5 - -", NULL},
    {OCI_SCOPE_CPU_QUOTA_USEC, "1s", "- - - 5 -", NULL},
    {OCI_SCOPE_OTHERS, "1", "- - 5 - -", NULL},
};

static void read_number(const char *word, bool *set, int64_t *value)
{
    *set = !str_eq(word, "-");
    *value = *set ? strtoll(word, NULL, 10) : 0;
}

/* @bare  a section of which nothing is said is not there at all. */
static void read_resources(const char *text, bool bare, struct arena *a, struct oci_resources *r)
{
    char words[5][32];
    int64_t period;

    r->memory = arena_alloc(a, sizeof *r->memory);
    r->pids = arena_alloc(a, sizeof *r->pids);
    r->cpu = arena_alloc(a, sizeof *r->cpu);
    cr_assert_eq(
        sscanf(text, "%31s %31s %31s %31s %31s", words[0], words[1], words[2], words[3], words[4]),
        5, "%s", text);
    read_number(words[0], &r->memory->limit.set, &r->memory->limit.value);
    read_number(words[1], &r->memory->swap.set, &r->memory->swap.value);
    read_number(words[2], &r->pids->limit.set, &r->pids->limit.value);
    read_number(words[3], &r->cpu->quota.set, &r->cpu->quota.value);
    read_number(words[4], &r->cpu->period.set, &period);
    r->cpu->period.value = (uint64_t)period;
    if (bare && !r->memory->limit.set && !r->memory->swap.set)
        r->memory = NULL;
    if (bare && !r->pids->limit.set)
        r->pids = NULL;
    if (bare && !r->cpu->quota.set && !r->cpu->period.set)
        r->cpu = NULL;
}

static const char *number_text(bool set, int64_t value, struct arena *a)
{
    return set ? arena_printf(a, "%" PRId64, value) : "-";
}

static const char *text_of(const struct oci_resources *r, struct arena *a)
{
    static const struct oci_memory no_memory;
    static const struct oci_pids no_pids;
    static const struct oci_cpu no_cpu;
    const struct oci_memory *memory = r->memory ? r->memory : &no_memory;
    const struct oci_pids *pids = r->pids ? r->pids : &no_pids;
    const struct oci_cpu *cpu = r->cpu ? r->cpu : &no_cpu;

    return arena_printf(a, "%s %s %s %s %s", number_text(memory->limit.set, memory->limit.value, a),
                        number_text(memory->swap.set, memory->swap.value, a),
                        number_text(pids->limit.set, pids->limit.value, a),
                        number_text(cpu->quota.set, cpu->quota.value, a),
                        number_text(cpu->period.set, (int64_t)cpu->period.value, a));
}

static void try_row(size_t i, bool bare)
{
    autoarena a = {0};
    struct oci_resources r = {0};
    struct oci_annotations annotations = {0};
    struct plan_warnings warnings = {0};
    const char *got, *want = rows[i].want ? rows[i].want : rows[i].own;

    read_resources(rows[i].own, bare, &a, &r);
    annotations.scope[rows[i].which] = arena_printf(&a, "%s", rows[i].text);
    got = text_of(scope_limits_take(&annotations, &r, &a, &warnings), &a);
    cr_expect(str_eq(got, want), "input:    \"%s\", %s\nexpected: %s\ngot:      %s", rows[i].text,
              rows[i].own, want, got);
    cr_expect(warnings.count == !rows[i].want, "\"%s\", %s: %zu warnings", rows[i].text,
              rows[i].own, warnings.count);
    cr_expect(str_eq(text_of(&r, &a), rows[i].own), "\"%s\": what was given has become %s",
              rows[i].text, text_of(&r, &a));
}

Test(scope_limits, each)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        try_row(i, false);
        try_row(i, true);
    }
}
