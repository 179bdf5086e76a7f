/* SPDX-License-Identifier: Apache-2.0 */

/* What the watcher says of processes that were killed for want of memory. */

#include "hook/watch/oom.h"

#include "base/arena.h"
#include "base/str.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <string.h>

TestSuite(watch_oom, .timeout = 60);

#define FIRST_US 5000000
#define PAUSE    (unsigned long long)OOM_PAUSE_US
#define SETTLE   (unsigned long long)OOM_SETTLE_US

/* When a look is, what the kernel says, and what is said of it. */
struct look_row {
    unsigned long long now;
    struct cg_oom seen;
    bool last;
    uint64_t kills; /* 0: nothing is said */
    enum oom_cause cause;
};

/* One look after the other. */
static void expect_looks(const struct look_row *rows, size_t count)
{
    struct oom o = OOM_INIT;

    for (size_t i = 0; i < count; i++) {
        struct oom_news news = {0};

        o.seen = rows[i].seen;
        cr_expect_eq(oom_decide(&o, rows[i].now, rows[i].last, &news), rows[i].kills > 0, "row %zu",
                     i);
        cr_expect_eq(news.kills, rows[i].kills, "row %zu: %ju", i, (uintmax_t)news.kills);
        if (rows[i].kills > 0)
            cr_expect_eq(news.cause, rows[i].cause, "row %zu: %d", i, (int)news.cause);
    }
}

Test(watch_oom, decide)
{
    static const struct look_row rows[] = {
        /* what was before */
        {FIRST_US, {7, 2}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 1, {7, 2}, true, 0, OOM_UNKNOWN},
        /* at once, and once */
        {FIRST_US + 2, {9, 3}, false, 2, OOM_OWN_LIMIT},
        {FIRST_US + 3, {9, 3}, true, 0, OOM_UNKNOWN},
        /* what follows too soon is told together */
        {FIRST_US + 4, {10, 4}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 1 + PAUSE, {12, 4}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 + PAUSE, {12, 4}, false, 3, OOM_OWN_LIMIT},
        /* or with the last look */
        {FIRST_US + 3 + PAUSE, {13, 4}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 4 + PAUSE, {13, 4}, true, 1, OOM_ELSEWHERE},
        {FIRST_US + 4 + 3 * PAUSE, {14, CG_UNKNOWN}, false, 1, OOM_UNKNOWN},
        /* no kernel counts down */
        {FIRST_US + 4 + 5 * PAUSE, {3, CG_UNKNOWN}, true, 0, OOM_UNKNOWN},
    };

    expect_looks(rows, ARRAY_SIZE(rows));
}

/* What was out of memory at its own limit, and lost nobody for it, may lose somebody later for the host. */
Test(watch_oom, limits_without_a_kill)
{
    static const struct look_row rows[] = {
        {FIRST_US, {7, 2}, false, 0, OOM_UNKNOWN},
        {FIRST_US + SETTLE, {7, 3}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 * SETTLE, {7, 3}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 * SETTLE + 1, {8, 3}, false, 1, OOM_ELSEWHERE},
        /* the limit is reached before the kill, and looks may come between both */
        {FIRST_US + PAUSE + 4 * SETTLE, {8, 4}, false, 0, OOM_UNKNOWN},
        {FIRST_US + PAUSE + 4 * SETTLE + 1, {8, 4}, false, 0, OOM_UNKNOWN},
        {FIRST_US + PAUSE + 5 * SETTLE - 1, {8, 4}, false, 0, OOM_UNKNOWN},
        {FIRST_US + PAUSE + 5 * SETTLE, {9, 4}, false, 1, OOM_OWN_LIMIT},
        /* it was reached again, and only the first time is too long ago */
        {FIRST_US + 2 * PAUSE + 6 * SETTLE, {9, 5}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 * PAUSE + 7 * SETTLE, {9, 6}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 * PAUSE + 7 * SETTLE + 1, {10, 6}, false, 1, OOM_OWN_LIMIT},
        /* of a kill that is put off the limit counts however long that takes */
        {FIRST_US + 2 * PAUSE + 7 * SETTLE + 2, {11, 7}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 * PAUSE + 9 * SETTLE, {11, 7}, false, 0, OOM_UNKNOWN},
        {FIRST_US + 2 * PAUSE + 11 * SETTLE, {11, 7}, true, 1, OOM_OWN_LIMIT},
        /* what was told is past, however soon */
        {FIRST_US + 2 * PAUSE + 11 * SETTLE + 1, {12, 7}, true, 1, OOM_ELSEWHERE},
    };

    expect_looks(rows, ARRAY_SIZE(rows));
}

Test(watch_oom, words)
{
    static const struct {
        struct oom_news news;
        bool nested;
        const char *path, *words;
    } rows[] = {
        {{1, OOM_OWN_LIMIT},
         false,
         "/p/kata_c",
         "the kernel has killed 1 process of the sandbox's cgroup /p/kata_c for want of memory, at "
         "its memory limit; "
         "raise the memory limit of its containers, or memory_overhead_bytes"},
        {{2, OOM_OWN_LIMIT},
         true,
         "/p/c",
         "the kernel has killed 2 processes of the runtime's cgroup /p/c for want of memory, at "
         "its memory limit; "
         "raise the container's memory limit"},
        {{2, OOM_UNKNOWN},
         false,
         "/p/kata_c",
         "the kernel has killed 2 processes of the sandbox's cgroup /p/kata_c for want of memory; "
         "raise the memory "
         "limit of its containers, or memory_overhead_bytes, unless the host is short of it"},
        {{1, OOM_UNKNOWN},
         true,
         "/p/c",
         "the kernel has killed 1 process of the runtime's cgroup /p/c for want of memory; raise "
         "the container's "
         "memory limit, unless the host is short of it"},
        {{UINT64_MAX, OOM_ELSEWHERE},
         false,
         "/p\n/c",
         "the kernel has killed 18446744073709551615 processes of the sandbox's cgroup /p\\x0a/c "
         "for want of memory, "
         "but not at its own limit: the host, or a cgroup above it, is short of it"},
    };
    char words[OOM_WORDS_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        oom_words(&rows[i].news, rows[i].nested, rows[i].path, words);
        cr_expect_str_eq(words, rows[i].words, "row %zu: %s", i, words);
    }
}

/* However long the path is, what to do is said. */
Test(watch_oom, words_of_a_long_path)
{
    static const struct oom_news news = {UINT64_MAX, OOM_UNKNOWN};
    char words[OOM_WORDS_SIZE], path[4096];

    memset(path, '\n', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    oom_words(&news, false, path, words);
    cr_expect(str_ends(words,
                       "... for want of memory; raise the memory limit of its containers, or "
                       "memory_overhead_bytes, unless the host is short of it"),
              "%s", words);
}

static struct sandbox sandbox_in(const struct cg_host *host, const char *home, bool nested)
{
    struct sandbox s = {.is_nested = nested};

    cg_init(&s.home, host, NULL, home, NULL);
    return s;
}

static struct json_list fence_of(struct arena *a, const char *const *paths, size_t count)
{
    struct json_list list = {0};

    for (size_t i = 0; i < count; i++)
        JSON_APPEND(a, list, struct record_fence) =
            (struct record_fence){.path = arena_strdup(a, paths[i])};
    return list;
}

Test(watch_oom, path)
{
    static const char *const fence[] = {"/p/c.scope/container", "/p/c.scope"};
    static const struct cg_host host = {.mode = CG_MODE_V2};
    autoarena a = ARENA_INIT;
    struct sandbox nested = sandbox_in(&host, fence[0], true),
                   sibling = sandbox_in(&host, "/p/kata_c", false);
    struct record r = {.fence = fence_of(&a, fence, 2)};

    cr_expect_str_eq(oom_path(&nested, &r), "/p/c.scope");
    cr_expect_str_eq(oom_path(&sibling, &r), "/p/kata_c");
    r.fence = fence_of(&a, fence, 1);
    cr_expect_str_eq(oom_path(&nested, &r), "/p/c.scope/container");
    r.fence = (struct json_list){0};
    cr_expect_str_eq(oom_path(&nested, &r), "/p/c.scope/container");
}

#define LINE(text) "oci-sandbox-cgroup: warning: sandbox s1: the kernel has killed " text "\n"

/* On cgroups of this host: what was put off is told of one that is removed, and of another one of its name nothing
 * that was before. */
Test(watch_oom, removed, .init = kit_start, .fini = kit_finish)
{
    const struct record r = {0};
    const struct cg_hierarchy *h;
    struct oom o = OOM_INIT;
    struct sandbox s;

    kit_need_host();
    h = cg_host_find(&kit_host, CG_CTL_MEMORY);
    if (!h)
        cr_skip_test("no hierarchy of this host has the memory controller");
    log_about.sandbox_id = "s1";
    cr_redirect_stderr();
    s = sandbox_in(&kit_host, kit_sub("a"), false);
    kit_make_cgroup(h, kit_base);
    kit_make_cgroup(h, s.home.path);
    oom_look(&o, &s, &r, 1, false);
    cr_assert(o.is_known);
    /* as if the kernel had said so */
    o.seen.kills = 5;
    cr_assert(kit_remove_cgroup(h, s.home.path));
    o.told_us = 1;
    oom_look(&o, &s, &r, 2, false);
    cr_expect_eq(o.told.kills, 5);
    cr_expect_lt(o.fd, 0);
    oom_look(&o, &s, &r, 3, true);
    cr_expect_lt(o.fd, 0);
    kit_make_cgroup(h, s.home.path);
    oom_look(&o, &s, &r, 4, true);
    cr_expect_geq(o.fd, 0);
    cr_expect_eq(o.told.kills, 0);
    oom_close(&o);
    fflush(stderr);
    cr_expect_stderr_neq_str("");
}

/* A sandbox of the tree, and the file that counts. */
struct counted {
    enum cg_mode mode;
    const char *hierarchy, *file;
    bool nested;
    const char *fence; /* NULL: none */
};

/* Looks at a sandbox that is counted first so and then so. */
static void look(const struct counted *c, const char *before, const char *then)
{
    struct oom o = OOM_INIT, second = OOM_INIT;
    autoarena a = ARENA_INIT;
    struct record r = {.fence = fence_of(&a, &c->fence, c->fence ? 1 : 0)};
    struct sandbox s;
    struct cg_host host;

    kit_tree_begin(c->mode);
    cr_assert_eq(cg_host_open(&a, &host, NULL), 0);
    s = sandbox_in(&host, "/p/kata_c", c->nested);
    /* it is not there yet, and nothing is known */
    oom_look(&o, &s, &r, 1, false);
    cr_expect_lt(o.fd, 0);
    kit_tree_make("/p/kata_c");
    kit_tree_put(c->hierarchy, "/p/kata_c", c->file, before);
    oom_look(&o, &s, &r, 2, false);
    cr_expect_geq(o.fd, 0);
    kit_tree_put(c->hierarchy, "/p/kata_c", c->file, then);
    oom_look(&o, &s, &r, 3, false);
    oom_look(&o, &s, &r, 4, true);
    cr_expect_null(log_about.cgroup, "other messages are not about it");
    /* another watcher */
    oom_look(&second, &s, &r, 5, false);
    oom_look(&second, &s, &r, 6, true);
    oom_close(&o);
    oom_close(&second);
    cg_host_close(&host);
    kit_tree_end();
}

#define V1       CG_MODE_V1, "memory", "memory.oom_control"
#define V2       CG_MODE_V2, "unified", "memory.events"
#define SANDBOX  "of the sandbox's cgroup /p/kata_c for want of memory"
#define RUNTIMES "of the runtime's cgroup /p/kata_c for want of memory"
#define RAISE    "raise the memory limit of its containers, or memory_overhead_bytes"

Test(watch_oom, look_v1)
{
    static const struct counted c = {V1, false, NULL};

    log_about.sandbox_id = "s1";
    cr_redirect_stderr();
    look(&c, "under_oom 0\noom_kill 1\n", "under_oom 1\noom_kill 4\n");
    cr_expect_stderr_eq_str(
        LINE("3 processes " SANDBOX "; " RAISE ", unless the host is short of it"));
}

Test(watch_oom, look_v2)
{
    static const struct counted c = {V2, false, NULL};

    log_about.sandbox_id = "s1";
    cr_redirect_stderr();
    look(&c, "max 9\noom 1\noom_kill 1\n", "max 9\noom 2\noom_kill 4\n");
    look(&c, "max 9\noom 2\noom_kill 4\n", "max 9\noom 2\noom_kill 5\n");
    cr_expect_stderr_eq_str(LINE("3 processes " SANDBOX ", at its memory limit; " RAISE) LINE(
        "1 process " SANDBOX
        ", but not at its own limit: the host, or a cgroup above it, is short of it"));
}

/* Where nothing is recorded of the cgroups around, the limit may be that of one of them. */
Test(watch_oom, look_v2_nested)
{
    static const struct counted split = {V2, true, "/p/kata_c"}, whole = {V2, true, NULL};

    log_about.sandbox_id = "s1";
    cr_redirect_stderr();
    look(&split, "oom 2\noom_kill 4\n", "oom 2\noom_kill 5\n");
    look(&whole, "oom 2\noom_kill 4\n", "oom 2\noom_kill 5\n");
    look(&whole, "oom 2\noom_kill 5\n", "oom 3\noom_kill 6\n");
    cr_expect_stderr_eq_str(
        LINE("1 process " RUNTIMES
             ", but not at its own limit: the host, or a cgroup above it, is short of it")
            LINE("1 process " RUNTIMES
                 "; raise the container's memory limit, unless the host is short of it")
                LINE("1 process " RUNTIMES
                     ", at its memory limit; raise the container's memory limit"));
}

/* In the hierarchy of memory a container may be elsewhere than the record says: where its process is, unless that
 * is a cgroup of others, too. */
Test(watch_oom, look_of_two_parents)
{
    static const struct {
        const char *recorded, *counted; /* NULL: nothing */
        bool nested, alive;
    } rows[] = {
        {"/p/c", "/q/c", true, true}, {"/q/c", "/q/c", true, true},   {"/p/c", NULL, false, true},
        {"/p/c", NULL, true, false},  {"/p/other", NULL, true, true},
    };
    autoarena a = ARENA_INIT;
    struct sandbox s;
    struct cg_host host;
    struct proc_id id;
    pid_t pid = kit_start_child();

    cr_assert_eq(proc_identify(pid, &id), 0);
    kit_tree_begin(CG_MODE_HYBRID);
    cr_assert_eq(cg_host_open(&a, &host, NULL), 0);
    kit_tree_enter(pid, "/q/c", "init");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct proc_id init = {id.pid, id.start_time + !rows[i].alive};
        struct record r = {0};
        struct oom o = OOM_INIT;

        JSON_APPEND(&a, r.containers, struct record_container) =
            (struct record_container){.init = record_process_new(&a, &init)};
        s = sandbox_in(&host, rows[i].recorded, rows[i].nested);
        oom_look(&o, &s, &r, 1, false);
        cr_expect_eq(o.fd >= 0, rows[i].counted != NULL, "row %zu", i);
        if (rows[i].counted)
            cr_expect_str_eq(o.path, rows[i].counted, "row %zu", i);
        oom_close(&o);
    }
    cg_host_close(&host);
    kit_tree_end();
    kit_end_child(pid);
}

/* It is no error. */
Test(watch_oom, errors_alone)
{
    static const struct counted c = {CG_MODE_HYBRID, "memory", "memory.oom_control", false, NULL};

    log_about.sandbox_id = "s1";
    log_set_level(LEVEL_ERROR);
    cr_redirect_stderr();
    look(&c, "under_oom 0\noom_kill 1\n", "under_oom 1\noom_kill 4\n");
    cr_expect_stderr_eq_str("");
}
