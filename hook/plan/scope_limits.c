/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/scope_limits.h"

#include "base/arena.h"
#include "base/str.h"

#include <string.h>

#define USEC_PER_SEC   1000000
#define DEFAULT_PERIOD 100000

/*
 * A number as runtimes read it, in D-Bus's text form, with or without its type: "uint64 1024",
 * "@t 1024", "1024". "Infinity" is the largest one, which is no limit.
 */
static bool read_number(const char *text, int64_t *ret)
{
    static const char *const types[] = {"uint64 ", "@t ", "int64 ", "@x ",
                                        "uint32 ", "@u ", "int32 ", "@i "};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (str_starts(text, types[i])) {
            text += strlen(types[i]);
            break;
        }
    }
    if (str_eq(text, "18446744073709551615")) {
        *ret = INT64_MAX;
        return true;
    }
    return str_to_i64(text, strlen(text), ret) == 0 && *ret >= 0;
}

/* Memory and swap together are less by as much, so that swap alone is what it was. */
static void take_memory(int64_t most, struct oci_resources *r, struct arena *a)
{
    struct oci_memory *own = arena_alloc(a, sizeof *own);
    bool limited = r->memory && r->memory->limit.set && r->memory->limit.value > 0;

    if (r->memory)
        *own = *r->memory;
    if (limited && own->limit.value <= most)
        return;
    if (limited && own->swap.set && own->swap.value >= own->limit.value)
        own->swap.value -= own->limit.value - most;
    own->limit = (struct json_i64){true, most};
    r->memory = own;
}

static void take_tasks(int64_t most, struct oci_resources *r, struct arena *a)
{
    struct oci_pids *own = arena_alloc(a, sizeof *own);

    if (r->pids && r->pids->limit.set && r->pids->limit.value > 0 && r->pids->limit.value <= most)
        return;
    if (r->pids)
        *own = *r->pids;
    own->limit = (struct json_i64){true, most};
    r->pids = own;
}

/* @usec  of CPU time in each second */
static void take_cpu(int64_t usec, struct oci_resources *r, struct arena *a)
{
    struct oci_cpu *own = arena_alloc(a, sizeof *own);
    double period, quota;

    if (r->cpu)
        *own = *r->cpu;
    period = own->period.set && own->period.value > 0 ? (double)own->period.value : DEFAULT_PERIOD;
    if (own->quota.set && own->quota.value > 0 &&
        (double)own->quota.value / period <= (double)usec / USEC_PER_SEC)
        return;
    /* No kernel takes a period with which it is more. */
    quota = (double)usec * period / USEC_PER_SEC;
    own->quota = (struct json_i64){true, quota < (double)INT64_MAX ? (int64_t)quota : INT64_MAX};
    r->cpu = own;
}

/* Whether it was understood. Of 0 systemd makes none of the first two, and no quota. */
static bool take(enum oci_scope_limit which, const char *text, struct oci_resources *r,
                 struct arena *a)
{
    int64_t n;

    if (which >= OCI_SCOPE_OTHERS || !read_number(text, &n) || n == 0)
        return false;
    if (n == INT64_MAX)
        return true;
    switch (which) {
    case OCI_SCOPE_MEMORY_MAX:
    case OCI_SCOPE_MEMORY_LIMIT:
        take_memory(n, r, a);
        break;
    case OCI_SCOPE_TASKS_MAX:
        take_tasks(n, r, a);
        break;
    case OCI_SCOPE_CPU_QUOTA_SEC:
        if (n > INT64_MAX / USEC_PER_SEC)
            return true;
        n *= USEC_PER_SEC;
        __attribute__((fallthrough));
    default:
        take_cpu(n, r, a);
    }
    return true;
}

struct oci_resources *scope_limits_take(const struct oci_annotations *annotations,
                                        const struct oci_resources *resources, struct arena *a,
                                        struct plan_warnings *warnings)
{
    struct oci_resources *own = arena_alloc(a, sizeof *own);

    *own = *resources;
    for (unsigned i = 0; i < OCI_SCOPE_COUNT; i++) {
        const char *text = annotations->scope[i];

        if (text && !take(i, text, own, a))
            plan_warn(warnings, a,
                      arena_printf(a, "annotation %s is not carried over to the sandbox's scope",
                                   oci_scope_limits[i]));
    }
    return own;
}
