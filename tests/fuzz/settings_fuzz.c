/* SPDX-License-Identifier: Apache-2.0 */

/* The administrator's configuration. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/device_list.h"
#include "hook/plan/settings.h"
#include "hook/vcpu/vcpu.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static int read_settings(const void *data, size_t len, struct arena *a, struct settings *ret,
                         struct err *e)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fuzz_file(data, len));
    return settings_read(path, true, a, ret, e);
}

static void expect_lists(const struct settings *s)
{
    struct cg_dev_rule rule;

    for (size_t i = 0; i < s->extra_devices.count; i++) {
        const char *device = JSON_AT(s->extra_devices, char *, i);

        FUZZ_CHECK(device[0] == '/' || device_list_parse_extra(device, &rule) == 0, "%s", device);
        FUZZ_CHECK(device[0] == '/' ||
                       (rule.allow && rule.access != 0 && rule.major >= CG_DEV_ANY &&
                        rule.minor >= CG_DEV_ANY && strchr("bc", rule.type)),
                   "%s", device);
    }
    for (size_t i = 0; i < s->vcpu_thread_patterns.count; i++)
        FUZZ_CHECK(vcpu_pattern_valid(JSON_AT(s->vcpu_thread_patterns, char *, i)), "%zu", i);
    for (size_t i = 0; i < s->vcpu_numa_nodes.count; i++)
        FUZZ_CHECK(JSON_AT(s->vcpu_numa_nodes, int64_t, i) >= -1, "%zu", i);
}

static void expect_usable(const struct settings *s, struct arena *a)
{
    struct err e = ERR_INIT;
    char *clean = NULL;

    FUZZ_CHECK(cg_name_check(s->prefix, "prefix", &e) == 0, "%s", e.text);
    FUZZ_CHECK(cg_path_clean(s->overhead_parent, "overhead_parent", a, &clean, &e) == 0, "%s",
               e.text);
    FUZZ_CHECK(str_eq(clean, s->overhead_parent) && !str_eq(clean, "/"), "%s", clean);
    FUZZ_CHECK(!s->overhead_cpus || cg_cpulist_count(s->overhead_cpus) > 0, "no overhead_cpus");
    FUZZ_CHECK(s->memory_overhead_bytes >= 0, "%lld", (long long)s->memory_overhead_bytes);
    expect_lists(s);
}

bool fuzz_settings(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    struct settings settings, again;
    struct err e = ERR_INIT, e2 = ERR_INIT;
    int r = read_settings(data, len, &a, &settings, &e);

    fuzz_check_result(r, &e);
    if (r == 0)
        expect_usable(&settings, &a);
    /* A blank behind it changes nothing. */
    FUZZ_CHECK(read_settings(arena_printf(&a, "%s\n", fuzz_text(&a, data, len)),
                             strlen(fuzz_text(&a, data, len)) + 1, &a, &again, &e2) == r ||
                   memchr(data, 0, len),
               "%d: %s; with a blank: %s", r, e.text, e2.text);
    return r == 0;
}
