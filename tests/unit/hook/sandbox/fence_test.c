/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Quotas lifted and given back: in a tree of the test's own, and, for what the kernel does with a
 * cgroup that is removed, in one of this host.
 */

#include "hook/sandbox/fence.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/record.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/* As crun has them below systemd. */
#define C "/slice/scope/container"
#define S "/slice/scope"

static struct fixture {
    struct arena arena;
    struct cg_host host;
    struct fence fence;
    struct fence_look look;
    struct err err;
    int events;
} f;

static const char *cpu_max(const char *path)
{
    return arena_strdup(&f.arena, kit_tree_read("unified", path, "cpu.max"));
}

/* As a runtime does. */
static void set(const char *path, const char *text)
{
    kit_tree_put("unified", path, "cpu.max", text);
}

static const char *file_of(const char *path, const char *file)
{
    return arena_printf(&f.arena, "%s/unified%s/%s", kit_tree_dir, path, file);
}

/* What cannot be read, whoever asks. */
static void make_unreadable(const char *path, const char *file)
{
    cr_assert_eq(unlink(file_of(path, file)), 0);
    cr_assert_eq(mkdir(file_of(path, file), 0700), 0);
}

static void make_readable(const char *path, const char *file, const char *text)
{
    cr_assert_eq(rmdir(file_of(path, file)), 0);
    kit_tree_put("unified", path, file, text);
}

static void begin(void)
{
    f = (struct fixture){.events = FD_NONE, .fence = {.events = FD_NONE}};
    kit_tree_begin(CG_MODE_V2);
    kit_tree_make(C);
    set(C, "50000 100000");
    cr_assert_eq(cg_host_open(&f.arena, &f.host, NULL), 0);
}

static void end(void)
{
    fence_close(&f.fence);
    fd_close(&f.events);
    cg_host_close(&f.host);
    kit_tree_end();
    arena_free(&f.arena);
}

TestSuite(fence, .init = begin, .fini = end);

static struct json_list list_of(const struct record_fence *files, size_t count)
{
    struct json_list list = {0};

    for (size_t i = 0; i < count; i++)
        JSON_APPEND(&f.arena, list, struct record_fence) = files[i];
    return list;
}

static void open_fence(const struct record_fence *files, size_t count)
{
    struct json_list list = list_of(files, count);

    fence_close(&f.fence);
    cr_assert_eq(fence_open(&f.fence, &f.host, &list, f.events, &f.err), 0, "%s", f.err.text);
}

#define OPEN(...)                                                                                  \
    open_fence((const struct record_fence[]){__VA_ARGS__},                                         \
               ARRAY_SIZE(((const struct record_fence[]){__VA_ARGS__})))

#define OPEN_BOTH() OPEN({.path = (char[]){C}}, {.path = (char[]){S}})

/* "new bound gone", of those that are so. */
static const char *looked(void)
{
    err_reset(&f.err);
    if (fence_read(&f.fence, &f.look, &f.err) < 0)
        return arena_printf(&f.arena, "error %d", f.err.code);
    return arena_printf(&f.arena, "%s%s%s", f.look.is_new ? "new " : "",
                        f.look.is_bound ? "bound " : "", f.look.is_gone ? "gone " : "");
}

static const char *least(void)
{
    struct quota q;
    char buf[QUOTA_TEXT_SIZE];

    return fence_least(&f.fence, &q) ? arena_strdup(&f.arena, quota_format(&q, buf)) : "unknown";
}

static int lift(const struct quota *overhead)
{
    err_reset(&f.err);
    return fence_lift(&f.fence, overhead, &f.err);
}

static int restore(void)
{
    err_reset(&f.err);
    return fence_restore(&f.fence, &f.err);
}

#define EXPECT(got, want)                                                                          \
    do {                                                                                           \
        const char *is = got;                                                                      \
                                                                                                   \
        cr_expect_str_eq(is, want, "expected: %s\ngot:      %s %s", want, is, f.err.text);         \
    } while (0)

/* --- a word, lifted and given back --- */

Test(fence, lifts_and_gives_back)
{
    OPEN({.path = (char[]){C}});
    EXPECT(least(), "unknown");
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "50000 100000");
    cr_expect_eq(lift(NULL), 0, "%s", f.err.text);
    EXPECT(cpu_max(C), "max 99999");
    EXPECT(looked(), "");
    EXPECT(least(), "50000 100000");
    cr_expect_eq(restore(), 0, "%s", f.err.text);
    EXPECT(cpu_max(C), "50000 100000");
    EXPECT(looked(), "bound ");
}

/* What was done is not done again, and nothing else is touched. */
Test(fence, writes_each_once)
{
    const char *before = kit_tree_text(&f.arena);

    OPEN_BOTH();
    looked();
    kit_tree_fail(0, 0);
    cr_expect_eq(lift(NULL), 0);
    cr_expect_eq(kit_tree_steps(), 2);
    cr_expect_eq(lift(NULL), 0);
    cr_expect_eq(kit_tree_steps(), 2);
    EXPECT(kit_tree_changes(&f.arena, before),
           "-/slice/scope: cgroup.subtree_control=cpuset cpu io memory pids\n"
           "-/slice/scope/container: cpu.max=50000 100000\n"
           "/slice/scope: cgroup.subtree_control=cpuset cpu io memory pids; cpu.max=max 99999\n"
           "/slice/scope/container: cpu.max=max 99999\n");
    cr_expect_eq(restore(), 0);
    cr_expect_eq(kit_tree_steps(), 4);
    cr_expect_eq(restore(), 0);
    cr_expect_eq(kit_tree_steps(), 4);
    EXPECT(kit_tree_changes(&f.arena, before), "");
}

Test(fence, least_of_all_words)
{
    static const struct {
        const char *c, *s, *want;
    } rows[] = {
        {"50000 100000", "max 100000", "50000 100000"},
        {"50000 100000", "40000 100000", "40000 100000"},
        {"50000 100000", "60000 200000", "60000 200000"},
        {"max 100000", "40000 100000", "40000 100000"},
        {"max 100000", "max 100000", "max 100000"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        set(C, rows[i].c);
        set(S, rows[i].s);
        OPEN_BOTH();
        EXPECT(looked(), "new bound ");
        EXPECT(least(), rows[i].want);
        cr_expect_eq(lift(NULL), 0);
        EXPECT(cpu_max(C), "max 99999");
        EXPECT(cpu_max(S), "max 99999");
        cr_expect_eq(restore(), 0);
        EXPECT(cpu_max(C), rows[i].c);
        EXPECT(cpu_max(S), rows[i].s);
    }
}

/* crun's `update` writes C; a later one of the memory makes systemd write the scope's old quota. */
Test(fence, an_old_word_does_not_widen)
{
    set(C, "53000 100000");
    set(S, "53000 100000");
    OPEN_BOTH();
    looked();
    lift(NULL);
    set(C, "30000 100000");
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "30000 100000");
    cr_expect_eq(lift(NULL), 0);
    set(S, "53000 100000");
    /* the same word again: nothing to record, but to lift */
    EXPECT(looked(), "bound ");
    EXPECT(least(), "30000 100000");
    cr_expect_eq(lift(NULL), 0);
    EXPECT(cpu_max(S), "max 99999");
    set(S, "20000 100000");
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "20000 100000");
}

/* `update --cpu-quota -1` is told from what we wrote. */
Test(fence, a_limit_taken_away)
{
    OPEN({.path = (char[]){C}});
    looked();
    lift(NULL);
    set(C, "max 100000");
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "max 100000");
    cr_expect_eq(lift(NULL), 0);
    EXPECT(cpu_max(C), "max 99999");
    cr_expect_eq(restore(), 0);
    EXPECT(cpu_max(C), "max 100000");
}

/* Whoever reads a new word and fails with what follows finds it new again. */
Test(fence, new_until_it_is_lifted)
{
    OPEN_BOTH();
    EXPECT(looked(), "new bound ");
    EXPECT(looked(), "new bound ");
    kit_tree_fail(1, EIO);
    cr_expect_eq(lift(NULL), -EIO);
    cr_expect(strstr(f.err.text, C "/cpu.max"), "%s", f.err.text);
    EXPECT(cpu_max(S), "max 99999");
    EXPECT(looked(), "new bound ");
    cr_expect_eq(lift(NULL), 0);
    EXPECT(looked(), "");
}

Test(fence, a_word_between_read_and_lift)
{
    OPEN_BOTH();
    looked();
    set(C, "30000 100000");
    cr_expect_eq(lift(NULL), -EAGAIN);
    cr_expect_str_empty(f.err.text);
    EXPECT(cpu_max(C), "30000 100000");
    EXPECT(cpu_max(S), "max 99999");
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "30000 100000");
    cr_expect_eq(lift(NULL), 0);
    EXPECT(cpu_max(C), "max 99999");
}

/* An error says more than that somebody has to come again, in either order. */
Test(fence, errors_before_again)
{
    OPEN_BOTH();
    looked();
    set(C, "30000 100000");
    kit_tree_fail(1, EIO);
    cr_expect_eq(lift(NULL), -EIO);
    looked();
    set(S, "30000 100000");
    kit_tree_fail(1, EIO);
    cr_expect_eq(lift(NULL), -EIO);
    EXPECT(cpu_max(C), "30000 100000");
    EXPECT(cpu_max(S), "30000 100000");
}

Test(fence, first_error_of_several)
{
    OPEN_BOTH();
    looked();
    kit_tree_fail(1, EIO);
    make_unreadable(S, "cpu.max");
    cr_expect_eq(lift(NULL), -EIO);
    make_readable(S, "cpu.max", "max 100000");
    lift(NULL);
    kit_tree_fail(1, EIO);
    cr_expect_eq(restore(), -EIO);
    /* the other one was given back all the same */
    EXPECT(cpu_max(C), "max 99999");
    EXPECT(cpu_max(S), "max 100000");
    cr_expect_eq(restore(), 0);
    EXPECT(cpu_max(C), "50000 100000");
}

/* --- with an overhead --- */

Test(fence, overhead)
{
    static const struct quota overhead = {25000, 100000}, more = {50000, 100000};

    set(S, "80000 100000");
    OPEN_BOTH();
    looked();
    cr_expect_eq(lift(&overhead), 0, "%s", f.err.text);
    EXPECT(cpu_max(C), "75000 99999");
    EXPECT(cpu_max(S), "75000 99999");
    EXPECT(looked(), "");
    EXPECT(least(), "50000 100000");
    /* what was lifted follows */
    cr_expect_eq(lift(&more), 0);
    EXPECT(cpu_max(C), "100000 99999");
    set(C, "30000 100000");
    EXPECT(looked(), "new bound ");
    cr_expect_eq(lift(&overhead), 0);
    EXPECT(cpu_max(C), "55000 99999");
    EXPECT(cpu_max(S), "55000 99999");
    cr_expect_eq(restore(), 0);
    EXPECT(cpu_max(C), "30000 100000");
    EXPECT(cpu_max(S), "80000 100000");
}

/* The smallest quota plus the overhead may be below a burst that C has: the kernel refuses it, and
 * C keeps the word that it has. */
Test(fence, overhead_below_a_burst)
{
    static const struct quota overhead = {2000, 100000};

    kit_tree_put("unified", C, "cpu.max.burst", "50000");
    set(S, "20000 100000");
    OPEN_BOTH();
    looked();
    cr_expect_eq(lift(&overhead), -EINVAL);
    cr_expect(strstr(f.err.text, C "/cpu.max"), "%s", f.err.text);
    EXPECT(cpu_max(C), "50000 100000");
    EXPECT(cpu_max(S), "22000 99999");
    EXPECT(kit_tree_read("unified", C, "cpu.max.burst"), "50000");
}

/* --- from the record and to it --- */

static const char *recorded(void)
{
    struct json_list list = fence_record(&f.fence, &f.arena);
    autosbuf text = SBUF_INIT;

    for (size_t i = 0; i < list.count; i++) {
        const struct record_fence *file = &JSON_AT(list, struct record_fence, i);

        sbuf_addf(&text, "%s=%s;", file->path, file->cpu_max ? file->cpu_max : "NULL");
    }
    return arena_strdup(&f.arena, sbuf_text(&text));
}

Test(fence, record)
{
    struct json_list list;

    OPEN_BOTH();
    EXPECT(recorded(), C "=NULL;" S "=NULL;");
    looked();
    EXPECT(recorded(), C "=50000 100000;" S "=max 100000;");
    lift(NULL);
    EXPECT(recorded(), C "=50000 100000;" S "=max 100000;");
    /* another process, after a kill of this one */
    list = fence_record(&f.fence, &f.arena);
    fence_close(&f.fence);
    cr_assert_eq(fence_open(&f.fence, &f.host, &list, FD_NONE, NULL), 0);
    EXPECT(least(), "50000 100000");
    EXPECT(looked(), "");
    EXPECT(recorded(), C "=50000 100000;" S "=max 100000;");
    cr_expect_eq(restore(), 0);
    EXPECT(cpu_max(C), "50000 100000");
    EXPECT(cpu_max(S), "max 100000");
}

/* A runtime's newer word stays, and needs no reading before. */
Test(fence, restores_what_is_lifted_only)
{
    set(C, "max 99999");
    set(S, "30000 100000");
    OPEN({.path = (char[]){C}, .cpu_max = (char[]){"50000 100000"}},
         {.path = (char[]){S}, .cpu_max = (char[]){"40000 100000"}});
    cr_expect_eq(restore(), 0);
    EXPECT(cpu_max(C), "50000 100000");
    EXPECT(cpu_max(S), "30000 100000");
}

/* A word that could only be ours, or is none, is not known. */
Test(fence, recorded_words)
{
    static const struct {
        const char *cpu_max, *want;
    } rows[] = {
        {NULL, "unknown"},
        {"", "unknown"},
        {"garbage", "unknown"},
        {"max 99999", "unknown"},
        {"70000 99999", "unknown"},
        {"max 100000", "max 100000"},
        {"70000 100000", "70000 100000"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *word = rows[i].cpu_max ? arena_strdup(&f.arena, rows[i].cpu_max) : NULL;

        OPEN({.path = (char[]){C}, .cpu_max = word});
        EXPECT(least(), rows[i].want);
    }
}

/* What somebody else has lifted. */
Test(fence, lifted_without_a_word)
{
    set(C, "max 99999");
    OPEN_BOTH();
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "unknown");
    kit_tree_fail(0, 0);
    cr_expect_eq(lift(NULL), -ENODATA);
    cr_expect(strstr(f.err.text, C), "%s", f.err.text);
    cr_expect_eq(restore(), 0);
    cr_expect_eq(kit_tree_steps(), 0);
    set(C, "30000 100000");
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "30000 100000");
    cr_expect_eq(lift(NULL), 0);
}

Test(fence, of_nothing)
{
    struct json_list none = {0};

    cr_assert_eq(fence_open(&f.fence, &f.host, &none, FD_NONE, NULL), 0);
    EXPECT(looked(), "");
    EXPECT(least(), "unknown");
    cr_expect_eq(lift(NULL), -ENODATA);
    cr_expect_eq(restore(), 0);
    EXPECT(recorded(), "");
}

Test(fence, v2_only)
{
    struct record_fence given = {.path = (char[]){C}};
    struct json_list list = list_of(&given, 1);

    for (int mode = CG_MODE_V1; mode <= CG_MODE_HYBRID; mode++) {
        f.host.mode = (enum cg_mode)mode;
        err_reset(&f.err);
        cr_expect_eq(fence_open(&f.fence, &f.host, &list, FD_NONE, &f.err), -EOPNOTSUPP);
        cr_expect_eq(f.err.code, -EOPNOTSUPP);
        cr_expect_eq(f.fence.count, 0);
        fence_close(&f.fence);
    }
    f.host.mode = CG_MODE_V2;
}

/* --- an error of looking is not a fact --- */

Test(fence, unreadable)
{
    OPEN_BOTH();
    make_unreadable(C, "cpu.max");
    EXPECT(looked(), arena_printf(&f.arena, "error %d", -EISDIR));
    cr_expect(strstr(f.err.text, C "/cpu.max"), "%s", f.err.text);
    cr_expect(f.look.is_new && f.look.is_bound && !f.look.is_gone);
    EXPECT(least(), "unknown");
    cr_expect_eq(lift(NULL), -ENODATA);
    make_readable(C, "cpu.max", "50000 100000");
    EXPECT(looked(), "new bound ");
    lift(NULL);
    make_unreadable(C, "cpu.max");
    EXPECT(looked(), arena_printf(&f.arena, "error %d", -EISDIR));
    cr_expect(!f.look.is_new && !f.look.is_bound && !f.look.is_gone);
    EXPECT(least(), "50000 100000");
    cr_expect_eq(lift(NULL), -EISDIR);
    cr_expect_eq(restore(), -EISDIR);
    EXPECT(recorded(), C "=50000 100000;" S "=max 100000;");
    /* the other one was not kept from it */
    EXPECT(cpu_max(S), "max 100000");
    make_readable(C, "cpu.max", "max 99999");
    cr_expect_eq(restore(), 0);
    EXPECT(cpu_max(C), "50000 100000");
}

Test(fence, garbage)
{
    OPEN_BOTH();
    looked();
    set(C, "\x1b[31m");
    EXPECT(looked(), arena_printf(&f.arena, "error %d", -EPROTO));
    cr_expect(strstr(f.err.text, C "/cpu.max") && strstr(f.err.text, "\\x1b[31m"), "%s",
              f.err.text);
    EXPECT(least(), "50000 100000");
    cr_expect_eq(lift(NULL), -EPROTO);
    cr_expect_eq(restore(), -EPROTO);
    EXPECT(cpu_max(C), "\x1b[31m");
}

/* The controller went, the cgroup did not. */
Test(fence, no_such_file)
{
    OPEN_BOTH();
    looked();
    lift(NULL);
    cr_assert_eq(unlink(file_of(C, "cpu.max")), 0);
    EXPECT(looked(), arena_printf(&f.arena, "error %d", -ENOENT));
    cr_expect_not(f.look.is_gone);
    cr_expect_eq(lift(NULL), -ENOENT);
    cr_expect_eq(restore(), -ENOENT);
    set(C, "50000 100000");
    EXPECT(looked(), "bound ");
}

/* A cgroup that cannot be opened is tried again, the other one works. */
Test(fence, unopenable)
{
    struct record_fence given[] = {{.path = (char[]){C}}, {.path = (char[]){S}}};
    struct json_list list = list_of(given, 2);
    const char *dir = file_of(C, ""), *aside = file_of(S, "aside");

    dir = arena_strndup(&f.arena, dir, strlen(dir) - 1);
    cr_assert_eq(rename(dir, aside), 0);
    cr_assert_eq(symlink("aside", dir), 0);
    cr_expect_eq(fence_open(&f.fence, &f.host, &list, FD_NONE, &f.err), -ELOOP);
    cr_expect(strstr(f.err.text, C), "%s", f.err.text);
    EXPECT(looked(), arena_printf(&f.arena, "error %d", -ELOOP));
    cr_expect(f.look.is_new && f.look.is_bound && !f.look.is_gone);
    cr_expect_eq(restore(), -ELOOP);
    cr_assert_eq(unlink(dir), 0);
    cr_assert_eq(rename(aside, dir), 0);
    EXPECT(looked(), "new bound ");
    EXPECT(least(), "50000 100000");
}

/* --- gone --- */

static void remove_c(void)
{
    const char *dir = file_of(C, "");

    kit_remove_tree(arena_strndup(&f.arena, dir, strlen(dir) - 1));
}

Test(fence, gone_before)
{
    remove_c();
    OPEN_BOTH();
    EXPECT(looked(), "new bound gone ");
    EXPECT(least(), "max 100000");
    cr_expect_eq(lift(NULL), 0, "%s", f.err.text);
    EXPECT(looked(), "gone ");
    cr_expect_eq(restore(), 0, "%s", f.err.text);
    cr_expect_eq(fence_companions(&f.fence, &f.arena, &(struct cg_files){0}, &f.err), -ENODEV);
    /* another one of this name is another one */
    kit_tree_make(C);
    set(C, "10000 100000");
    EXPECT(looked(), "bound gone ");
    EXPECT(least(), "max 100000");
}

Test(fence, gone_meanwhile)
{
    OPEN_BOTH();
    looked();
    remove_c();
    cr_expect_eq(lift(NULL), 0, "%s", f.err.text);
    EXPECT(looked(), "gone ");
    EXPECT(least(), "50000 100000");
    EXPECT(recorded(), C "=50000 100000;" S "=max 100000;");
    cr_expect_eq(restore(), 0, "%s", f.err.text);
    EXPECT(cpu_max(S), "max 100000");
}

/* Each function is the first to find out. */
Test(fence, gone_at_restore)
{
    OPEN_BOTH();
    looked();
    lift(NULL);
    remove_c();
    cr_expect_eq(restore(), 0, "%s", f.err.text);
    EXPECT(cpu_max(S), "max 100000");
}

Test(fence, gone_without_a_known_word)
{
    OPEN({.path = (char[]){C}});
    remove_c();
    EXPECT(looked(), "gone ");
    EXPECT(least(), "unknown");
    cr_expect_eq(lift(NULL), -ENODATA);
}

/* Right before it is written. */
static void remove_at_write(const char *path, const char *file, const char *text, void *arg)
{
    (void)text;
    (void)arg;
    if (str_eq(path, C) && str_eq(file, "cpu.max"))
        remove_c();
}

Test(fence, gone_while_it_is_lifted)
{
    OPEN_BOTH();
    looked();
    kit_tree_watch(remove_at_write, NULL);
    cr_expect_eq(lift(NULL), 0, "%s", f.err.text);
    cr_expect_str_empty(f.err.text);
    kit_tree_watch(NULL, NULL);
    EXPECT(looked(), "gone ");
}

/* What the kernel makes of it, without a cpu controller. */
Test(fence_host, removed, .init = kit_start, .fini = kit_finish)
{
    struct cg_hierarchy *h = kit_need_v2();
    struct record_fence given = {.path = (char[]){"/c"}, .cpu_max = (char[]){"50000 100000"}};
    struct json_list list = {0};
    struct err e = ERR_INIT;
    struct fence fence;
    struct fence_look look;
    bool has_file;

    JSON_APPEND(&kit_arena, list, struct record_fence) = given;
    kit_make_cgroup(h, given.path);
    has_file = !str_eq(kit_read_value(h, given.path, "cpu.max"), "(none)");
    cr_assert_eq(fence_open(&fence, &kit_v2_host, &list, FD_NONE, &e), 0, "%s", e.text);
    cr_expect_eq(fence_read(&fence, &look, &e), has_file ? 0 : -ENOENT, "%s", e.text);
    cr_expect_not(look.is_gone);
    cr_assert(kit_remove_cgroup(h, given.path));
    err_reset(&e);
    cr_expect_eq(fence_restore(&fence, &e), 0, "%s", e.text);
    cr_expect_eq(fence_read(&fence, &look, &e), 0, "%s", e.text);
    cr_expect(look.is_gone);
    fence_close(&fence);
}

/* --- what K needs besides --- */

static const char *companions(void)
{
    struct cg_files files = {0};
    autosbuf text = SBUF_INIT;
    int r;

    err_reset(&f.err);
    r = fence_companions(&f.fence, &f.arena, &files, &f.err);
    if (r < 0)
        return arena_printf(&f.arena, "error %d", r);
    for (size_t i = 0; i < files.count; i++)
        sbuf_addf(&text, "%s=%s;", files.items[i].file, files.items[i].text);
    return arena_strdup(&f.arena, sbuf_text(&text));
}

Test(fence, companions)
{
    set(S, "30000 100000");
    kit_tree_put("unified", S, "cpu.max.burst", "7");
    OPEN_BOTH();
    EXPECT(companions(), arena_printf(&f.arena, "error %d", -ENODATA));
    looked();
    EXPECT(companions(), "cpu.max.burst=0;");
    kit_tree_put("unified", C, "cpu.uclamp.min", "10.00");
    kit_tree_put("unified", C, "cpu.uclamp.max", "max");
    kit_tree_put("unified", C, "cpu.max.burst", "30000");
    EXPECT(companions(), "cpu.max.burst=30000;cpu.uclamp.min=10.00;cpu.uclamp.max=max;");
    /* not above the smallest quota */
    kit_tree_put("unified", C, "cpu.max.burst", "30001");
    EXPECT(companions(), "cpu.max.burst=30000;cpu.uclamp.min=10.00;cpu.uclamp.max=max;");
    set(S, "max 100000");
    set(C, "max 100000");
    looked();
    EXPECT(companions(), "cpu.max.burst=30001;cpu.uclamp.min=10.00;cpu.uclamp.max=max;");
    make_unreadable(C, "cpu.uclamp.min");
    EXPECT(companions(), arena_printf(&f.arena, "error %d", -EISDIR));
    cr_expect(strstr(f.err.text, C "/cpu.uclamp.min"), "%s", f.err.text);
}

/* Either may have to be first. */
Test(fence, companions_are_tried_twice)
{
    struct cg_files files = {0};

    OPEN_BOTH();
    looked();
    cr_assert_eq(fence_companions(&f.fence, &f.arena, &files, NULL), 0);
    cr_assert_eq(files.count, 1);
    cr_expect_eq(files.items[0].ctl, CG_CTL_CPU);
    cr_expect(files.items[0].flags & CG_FILE_RETRY);
}

/* --- a burst that came while there was no quota --- */

Test(fence, restores_below_a_burst)
{
    static const struct {
        const char *burst, *want;
        unsigned steps;
    } rows[] = {
        {"50000", "50000", 1},
        {"50001", "50000", 2},
        {"0", "0", 1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        OPEN({.path = (char[]){C}});
        looked();
        lift(NULL);
        kit_tree_put("unified", C, "cpu.max.burst", rows[i].burst);
        kit_tree_fail(0, 0);
        cr_expect_eq(restore(), 0, "%s", f.err.text);
        EXPECT(cpu_max(C), "50000 100000");
        EXPECT(kit_tree_read("unified", C, "cpu.max.burst"), rows[i].want);
        cr_expect_eq(kit_tree_steps(), rows[i].steps);
    }
}

Test(fence, restores_no_limit_with_a_burst)
{
    set(C, "max 100000");
    OPEN({.path = (char[]){C}});
    looked();
    lift(NULL);
    kit_tree_put("unified", C, "cpu.max.burst", "70000");
    kit_tree_fail(0, 0);
    cr_expect_eq(restore(), 0, "%s", f.err.text);
    EXPECT(kit_tree_read("unified", C, "cpu.max.burst"), "70000");
    cr_expect_eq(kit_tree_steps(), 1);
}

/* --- events --- */

static bool has_event(void)
{
    struct pollfd pfd = {.fd = f.events, .events = POLLIN};

    return poll(&pfd, 1, 0) == 1;
}

Test(fence, events)
{
    OPEN_BOTH();
    cr_expect_not(fence_is_watched(&f.fence));
    f.events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    cr_assert_geq(f.events, 0);
    OPEN_BOTH();
    cr_expect(fence_is_watched(&f.fence));
    looked();
    cr_expect_not(has_event());
    set(C, "40000 100000");
    cr_expect(has_event());
    looked();
    cr_expect_not(has_event(), "it was not read empty");
    set(S, "30000 100000");
    cr_expect(has_event());
    fence_close(&f.fence);
    while (has_event()) { /* with that of the watches' ends */
        char rest[4096];

        cr_assert_gt(read(f.events, rest, sizeof rest), 0);
    }
    set(C, "20000 100000");
    cr_expect_not(has_event(), "still watched");
}

/* A file that was not there yet is watched once it is; a cgroup that is gone is not missed. */
Test(fence, watches_later)
{
    f.events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    cr_assert_eq(unlink(file_of(C, "cpu.max")), 0);
    OPEN_BOTH();
    cr_expect_not(fence_is_watched(&f.fence));
    set(C, "50000 100000");
    looked();
    cr_expect(fence_is_watched(&f.fence));
    set(C, "40000 100000");
    cr_expect(has_event());
    cr_assert_eq(unlink(file_of(C, "cpu.max")), 0);
    fence_close(&f.fence);
    remove_c();
    OPEN_BOTH();
    cr_expect(fence_is_watched(&f.fence));
}
