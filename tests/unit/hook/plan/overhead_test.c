/* SPDX-License-Identifier: Apache-2.0 */

/* What the overhead has of its own, in each layout. */

#include "hook/plan/overhead.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

#define LIMITS(r) "{'overhead_limits':" r "}"
#define EVERYTHING                                                                                 \
    LIMITS("{'cpu':{'shares':9,'quota':5000,'period':50000,'cpus':'1'},'memory':{'limit':4096},"   \
           "'pids':{'limit':5}}")

/* Each warning, "; " behind it. */
static const char *warnings_text(struct arena *a, const struct plan_warnings *w)
{
    char *text = arena_strdup(a, "");

    for (size_t i = 0; i < w->count; i++)
        text = arena_printf(a, "%s%s; ", text, w->items[i]);
    return text;
}

#define NOT_SET(file, ctl)                                                                         \
    "overhead_limits: " file " is not set, because the overhead shares the sandbox's " ctl "; "

/* CPU time alone is the overhead's own; what else there is of the settings is named. */
Test(overhead, files)
{
    static const struct {
        const char *settings, *quota;
        bool v2;
        const char *want, *warnings;
    } rows[] = {
        {"{}", NULL, false, "", ""},
        {"{}", NULL, true, "", ""},
        {EVERYTHING, NULL, false, "cpu.shares=9; cpu.cfs_period_us=50000; cpu.cfs_quota_us=5000; ",
         NOT_SET("cpuset.cpus", "cpuset") NOT_SET("memory.limit_in_bytes", "memory")
             NOT_SET("pids.max", "pids")},
        {EVERYTHING, NULL, true, "cpu.max=5000 50000; ",
         NOT_SET("cpu.weight", "cpu") NOT_SET("cpuset.cpus", "cpuset")
             NOT_SET("memory.max", "memory") NOT_SET("pids.max", "pids")},
        {LIMITS("{'blockIO':{'weight':100}}"), NULL, true, "",
         NOT_SET("io.bfq.weight", "io") NOT_SET("io.weight", "io")},
        /* the container's own in place of it, beside the shares */
        {EVERYTHING, "30000 60000", false,
         "cpu.shares=9; cpu.cfs_period_us=60000; cpu.cfs_quota_us=30000; ",
         NOT_SET("cpuset.cpus", "cpuset") NOT_SET("memory.limit_in_bytes", "memory")
             NOT_SET("pids.max", "pids")},
        {"{}", "30000 60000", false, "cpu.cfs_period_us=60000; cpu.cfs_quota_us=30000; ", ""},
        {"{}", "30000 60000", true, "cpu.max=30000 60000; ", ""},
        {LIMITS("{'cpu':{'quota':5000}}"), "30000 60000", true, "cpu.max=30000 60000; ", ""},
        /* what is no quota is none */
        {LIMITS("{'cpu':{'quota':5000}}"), "rubbish", true, "cpu.max=5000 100000; ", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        struct plan_warnings warnings = {0};
        struct settings settings;
        struct cg_files files;
        struct err e = ERR_INIT;

        kit_read_hook(&a, rows[i].settings, &settings);
        cr_assert_eq(
            overhead_files(&settings, rows[i].quota, rows[i].v2, &a, &files, &warnings, &e), 0,
            "row %zu: %s", i, e.text);
        cr_expect_str_eq(kit_plan_files(&a, &files), rows[i].want, "row %zu: got %s", i,
                         kit_plan_files(&a, &files));
        cr_expect_str_eq(warnings_text(&a, &warnings), rows[i].warnings, "row %zu: got %s", i,
                         warnings_text(&a, &warnings));
    }
}

Test(overhead, files_that_cannot_be)
{
    autoarena a = ARENA_INIT;
    struct plan_warnings warnings = {0};
    struct settings settings;
    struct cg_files files;
    struct err e = ERR_INIT;

    kit_read_hook(&a, LIMITS("{'unified':{'memory.high':'9'}}"), &settings);
    cr_expect_eq(overhead_files(&settings, NULL, false, &a, &files, &warnings, &e), -EINVAL);
    cr_expect(e.bad_input && str_starts(e.text, "overhead_limits: "), "%s", e.text);
}

#define CPU(members) LIMITS("{'cpu':{" members "}}")

/* What the kernel takes where it is written as it is. */
Test(overhead, bandwidth)
{
    static const struct {
        const char *settings, *refused; /* on v1; NULL: it is not */
    } rows[] = {
        {CPU("'quota':1000"), NULL},
        {CPU("'quota':999"), "cpu.quota: the kernel does not take 999 microseconds"},
        {CPU("'quota':1"), "from 1000 to 17592186044415, or -1"},
        {CPU("'quota':17592186044415"), NULL},
        {CPU("'quota':17592186044416"), "cpu.quota"},
        {CPU("'quota':0"), NULL},
        {CPU("'quota':-1"), NULL},
        {CPU("'quota':-999"), NULL},
        {CPU("'quota':5000,'period':1000"), NULL},
        {CPU("'quota':5000,'period':999"), "cpu.period: the kernel does not take 999 microseconds"},
        {CPU("'quota':5000,'period':1000000"), NULL},
        {CPU("'quota':5000,'period':1000001"), "from 1000 to 1000000"},
        {CPU("'quota':5000,'period':0"), NULL},
        {CPU("'period':5"), "cpu.period"},
        {CPU("'shares':5"), NULL},
    };

    for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const char *refused = i % 2 ? NULL : rows[i / 2].refused;
        struct plan_warnings warnings = {0};
        struct settings settings;
        struct cg_files files;
        struct err e = ERR_INIT;
        int r;

        kit_read_hook(&a, rows[i / 2].settings, &settings);
        r = overhead_files(&settings, NULL, i % 2, &a, &files, &warnings, &e);
        cr_expect(refused ? r == -EINVAL && e.bad_input && strstr(e.text, refused) &&
                                str_starts(e.text, "overhead_limits: cpu.") && !strchr(e.text, '\n')
                          : r == 0,
                  "%s on v%zu: %d %s", rows[i / 2].settings, i % 2 + 1, r, e.text);
    }
}

/* What moves to the vCPUs: the quota, with what it may save up; nothing where there is none. */
Test(overhead, quota_of)
{
    static const struct {
        const char *own, *want;
    } rows[] = {
        {"", ""},
        {"memory.max=5", ""},
        {"cpu.weight=5; cpu.max=50000 100000; memory.max=5", "cpu.max=50000 100000; "},
        {"cpu.max=50000 100000; cpu.max.burst=7", "cpu.max=50000 100000; cpu.max.burst=7; "},
        {"cpu.max=max 100000; cpu.max.burst=7", ""},
        {"cpu.max.burst=7", ""},
        {"cpu.max=rubbish", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct cg_files own = kit_files(&a, rows[i].own, true);
        const struct cg_files got = overhead_quota_of(&own, &a);

        cr_expect_str_eq(kit_plan_files(&a, &got), rows[i].want, "%s: got %s", rows[i].own,
                         kit_plan_files(&a, &got));
    }
}

static const char *properties_text(struct arena *a, const struct cg_properties *properties)
{
    char *all = arena_strdup(a, "");

    for (size_t i = 0; i < properties->count; i++)
        all = arena_printf(a, "%s%s=%s; ", all, properties->items[i].name,
                           cg_property_text(&properties->items[i], a));
    return all;
}

/* With a scope its quota is rounded to what systemd makes of it, and systemd is told. */
Test(overhead, fill)
{
    static const struct {
        enum cg_mode mode;
        const char *settings, *own, *unit, *quota;
        const char *files, *properties;
    } rows[] = {
        {CG_MODE_V2, "{}", "cpu.max=50000 100000; cpu.weight=3", NULL, NULL, "cpu.max=max 99999; ",
         ""},
        {CG_MODE_V2, LIMITS("{'cpu':{'quota':25000}}"), "cpu.max=50000 100000", NULL, NULL,
         "cpu.max=75000 99999; ", ""},
        {CG_MODE_V2, LIMITS("{'cpu':{'quota':25000}}"), "cpu.max=50000 100000", NULL,
         "10000 100000", "cpu.max=60000 99999; ", ""},
        /* nothing is lifted where there is no quota */
        {CG_MODE_V2, LIMITS("{'cpu':{'quota':25000}}"), "cpu.max=max 100000", NULL, NULL, "", ""},
        {CG_MODE_V2, LIMITS("{'cpu':{'quota':25000}}"), "", NULL, NULL, "", ""},
        {CG_MODE_V1, "{}", "cpu.shares=700; cpu.cfs_quota_us=50000; memory.limit_in_bytes=5", NULL,
         NULL, "cpu.shares=700; ", ""},
        {CG_MODE_HYBRID, LIMITS("{'cpu':{'quota':25001}}"), "cpu.shares=700", NULL, NULL,
         "cpu.shares=700; cpu.cfs_quota_us=25001; ", ""},
        {CG_MODE_V1, LIMITS("{'cpu':{'shares':9}}"), "cpu.shares=700", NULL, NULL, "cpu.shares=9; ",
         ""},
        {CG_MODE_V1, LIMITS("{'cpu':{'quota':25001}}"), "cpu.shares=700", "o.scope", NULL,
         "cpu.shares=700; cpu.cfs_quota_us=25001; ",
         "CPUShares=700; CPUQuotaPerSecUSec=260000; CPUQuotaPeriodUSec=100000; "
         "TasksMax=infinity; "},
        {CG_MODE_V1, "{}", "", "o.scope", NULL, "", "TasksMax=infinity; "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct cg_files own = kit_files(&a, rows[i].own, rows[i].mode == CG_MODE_V2);
        struct plan p = {
            .mode = rows[i].mode, .overhead_unit = rows[i].unit, .overhead_quota = rows[i].quota};
        struct settings settings;
        const struct plan_input in = {.settings = &settings};
        struct err e = ERR_INIT;

        kit_read_hook(&a, rows[i].settings, &settings);
        cr_assert_eq(overhead_fill(&in, &own, &a, &p, &e), 0, "row %zu: %s", i, e.text);
        cr_expect_str_eq(kit_plan_files(&a, &p.overhead.files), rows[i].files, "row %zu: got %s", i,
                         kit_plan_files(&a, &p.overhead.files));
        cr_expect_str_eq(properties_text(&a, &p.overhead.properties), rows[i].properties,
                         "row %zu: got %s", i, properties_text(&a, &p.overhead.properties));
        cr_expect(!p.overhead.has_devices && p.overhead.resets.count == 0);
    }
}

/* Warnings are the plan's, and bad limits the caller's fault. */
Test(overhead, fill_warns_and_fails)
{
    autoarena a = ARENA_INIT;
    const struct cg_files none = {0};
    struct plan p = {.mode = CG_MODE_V1, .overhead_unit = "o.scope"};
    struct settings settings;
    const struct plan_input in = {.settings = &settings};
    struct err e = ERR_INIT;

    kit_read_hook(&a, LIMITS("{'pids':{'limit':5}}"), &settings);
    cr_assert_eq(overhead_fill(&in, &none, &a, &p, &e), 0, "%s", e.text);
    cr_expect_str_eq(warnings_text(&a, &p.warnings), NOT_SET("pids.max", "pids"));
    kit_read_hook(&a, LIMITS("{'unified':{'memory.high':'9'}}"), &settings);
    cr_expect_eq(overhead_fill(&in, &none, &a, &p, &e), -EINVAL);
    cr_expect(e.bad_input);
}
