/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/runtime.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>

#define LONG "1.1.5+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* What is printed, the version in it ("": none), and whether it reads a threaded cgroup. */
static const struct {
    const char *output, *version;
    bool reads;
} rows[] = {
    {"runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n", "1.1.5+ds1", false},
    {"runc version 1.1.15\n", "1.1.15", false},
    {"runc version 1.3.6", "1.3.6", true},
    {"runc version 1.3.6\ngo: go1.23\n", "1.3.6", true},
    {"runc version 1.2.0\n", "1.2.0", true},
    {"runc version 1.2.0+ds1\n", "1.2.0+ds1", true},
    {"runc version 1.2.0-rc.1\n", "1.2.0-rc.1", false},
    {"runc version 1.2.0~rc1+ds\n", "1.2.0~rc1+ds", false},
    {"runc version 1.2.1-0ubuntu1~24.04.1\n", "1.2.1-0ubuntu1~24.04.1", true},
    {"runc version 1.3.0-rc.1\n", "1.3.0-rc.1", true},
    {"runc version 1.10.0\n", "1.10.0", true},
    {"runc version 1.0.3\n", "1.0.3", false},
    {"runc version 0.9.9\n", "0.9.9", false},
    {"runc version 0.3.9\n", "0.3.9", false},
    {"runc version 2.0.0\n", "2.0.0", true},
    {"runc version 2.2.0-rc.1\n", "2.2.0-rc.1", true},
    {"runc version 0.2.1\n", "0.2.1", false},
    {"runc version " LONG "\n", LONG, false},
    /* none */
    {"runc version " LONG "a\n", "", false},
    {"", "", false},
    {"\n", "", false},
    {"runc version ", "", false},
    {"runc version \n", "", false},
    {"runc version 1.3\n", "", false},
    {"runc version 1.3.\n", "", false},
    {"runc version 1..3\n", "", false},
    {"runc version .1.3\n", "", false},
    {"runc version 1-3-6\n", "", false},
    {"runc version 1.3.6.1\n", "", false},
    {"runc version 1.3.6 of somebody\n", "", false},
    {"runc version 1.3.6+a b\n", "", false},
    {"runc version 1.3.6-\033[31m\n", "", false},
    {"runc version 1.3.99999\n", "", false},
    {"runc version 99999999999999999999.3.6\n", "", false},
    {"runc version -1.3.6\n", "", false},
    {"runc version spec: 1.0.0\n", "", false},
    {"runc version unknown\n", "", false},
    {"Runc version 1.3.6\n", "", false},
    {" runc version 1.3.6\n", "", false},
    {"crun version 1.8.1\n", "", false},
    {"hello\nrunc version 1.3.6\n", "", false},
};

Test(runtime, versions)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct runtime_version v = {.text = "before"};
        int r = runtime_version_find(rows[i].output, &v);
        struct runtime runtime = {.version = r == 0 ? v.text : NULL};

        cr_expect_str_eq(r == 0 ? v.text : "", rows[i].version, "%s: got %d, %s", rows[i].output, r,
                         v.text);
        cr_expect(r == 0 || str_eq(v.text, "before"), "%s: written", rows[i].output);
        cr_expect_eq(runtime_reads_threaded(&runtime), rows[i].reads, "%s", rows[i].output);
    }
}

/* What was remembered of it may be anything. */
Test(runtime, version_that_is_none)
{
    cr_expect_not(runtime_reads_threaded(&(struct runtime){.version = "yes"}));
    cr_expect_not(runtime_reads_threaded(&(struct runtime){.version = ""}));
}

Test(runtime, text)
{
    autoarena a = ARENA_INIT;

    cr_expect_str_eq(runtime_text(&(struct runtime){0}, &a), "a program that is not known");
    cr_expect_str_eq(runtime_text(&(struct runtime){.path = "/usr/bin/crun"}, &a), "/usr/bin/crun");
    cr_expect_str_eq(runtime_text(&(struct runtime){.path = "/s/runc", .version = "1.3.6"}, &a),
                     "runc 1.3.6 (/s/runc)");
}

/* The shell of a person is none. */
Test(runtime, doubt)
{
    static const struct {
        struct runtime runtime;
        bool kept;
    } cases[] = {
        {{ENGINE_OTHER, NULL, "/usr/bin/crun", NULL}, true},
        {{ENGINE_UNKNOWN, "x", "/s/runc", "1.3.6"}, true},
        {{ENGINE_OTHER, NULL, "/usr/bin/youki", NULL}, true},
        {{ENGINE_CONTAINERD, NULL, "/bin/sh", NULL}, true},
        {{ENGINE_OTHER, NULL, "/bin/bash", NULL}, false},
        {{ENGINE_UNKNOWN, "x", "/crun/bash", NULL}, false},
        {{ENGINE_OTHER, NULL, "/s/xcrun", NULL}, false},
        {{ENGINE_OTHER, NULL, NULL, NULL}, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct runtime r = cases[i].runtime;

        runtime_doubt(&r);
        cr_expect_eq(r.path != NULL, cases[i].kept, "row %zu", i);
        cr_expect_eq(r.version != NULL, cases[i].kept && cases[i].runtime.version, "row %zu", i);
        cr_expect_eq(r.engine, cases[i].runtime.engine, "row %zu", i);
    }
}
