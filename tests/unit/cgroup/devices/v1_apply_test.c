/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/v1.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/devices.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct cg_dev_exceptions make_v1(struct arena *a, const char *text)
{
    struct cg_dev_rules rules = dev_make_rules(a, text);
    struct cg_dev_table table = dev_compile(a, &rules);
    struct cg_dev_exceptions v1 = {0};
    struct err e = ERR_INIT;

    cr_assert_eq(cg_dev_exceptions_make(&table, a, &v1, &e), 0, "%s", e.text);
    return v1;
}

/* A directory of our own with the three files, which take down what is written. */
static int fake_cgroup(const char *list)
{
    static const char *const names[] = {"devices.list", "devices.allow", "devices.deny"};
    char path[] = "/tmp/osc-devtest-XXXXXX";
    int dir;

    cr_assert(mkdtemp(path), "%m");
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir, 0, "%m");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int fd = openat(dir, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        cr_assert_geq(fd, 0, "%m");
        if (i == 0)
            cr_assert_eq(write(fd, list, strlen(list)), (ssize_t)strlen(list));
        close(fd);
    }
    return dir;
}

static void remove_fake(int dir)
{
    static const char *const names[] = {"devices.list", "devices.allow", "devices.deny"};
    char link[64], path[PATH_MAX];
    ssize_t n;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unlinkat(dir, names[i], 0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    n = readlink(link, path, sizeof path - 1);
    cr_assert_gt(n, 0);
    path[n] = '\0';
    rmdir(path);
    close(dir);
}

Test(v1_apply, writes)
{
    static const struct {
        const char *list, *rules, *allow, *deny;
    } cases[] = {
        /* From allow-all: empty, then add. */
        {"a *:* rwm\n", "+c 1:3 rwm, +b 8:0 r", "b 8:0 r\nc 1:3 rwm\n", "a\n"},
        {"a *:* rwm\n", "", "", "a\n"},
        /* In force already. */
        {"c 1:3 rwm\nb 8:0 r\n", "+c 1:3 rwm, +b 8:0 r", "", ""},
        {"", "", "", ""},
        {"b *:* rwm\nc *:* rwm\n", "+a *:* rwm", "", ""},
        /* Only the differences. */
        {"", "+c 1:3 rwm", "c 1:3 rwm\n", ""},
        {"c 1:3 rwm\n", "", "", "c 1:3 rwm\n"},
        {"c 1:3 r\n", "+c 1:3 rw", "c 1:3 rw\n", ""},
        {"c 1:3 rwm\n", "+c 1:3 r", "", "c 1:3 wm\n"},
        {"c 1:3 rm\n", "+c 1:3 rw", "c 1:3 rw\n", "c 1:3 m\n"},
        {"c 1:5 rwm\nc 1:3 rwm\nc *:* m\n", "+c 1:3 rwm, +c 1:* r", "c 1:* r\n",
         "c 1:5 rwm\nc *:* m\n"},
        {"c 1:3 rwm\n", "+b 1:3 rwm", "b 1:3 rwm\n", "c 1:3 rwm\n"},
        {"c 10:3 rwm\nc 9:3 rwm\n", "+c 9:3 rwm, +c 10:3 rwm, +c *:3 m", "c *:3 m\n", ""},
        /* Allow-all hides its exceptions: always reset. */
        {"a *:* rwm\n", "+a *:* rwm, -c 1:3 w", "a\n", "c 1:3 w\n"},
        {"c 1:3 rwm\n", "+a *:* rwm, -c 1:3 w", "a\n", "c 1:3 w\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, cases[i].rules);
        int dir = fake_cgroup(cases[i].list);
        struct err e = ERR_INIT;
        int r = cg_dev_v1_apply(dir, &v1, &e);
        char *allow = NULL, *deny = NULL;

        cr_expect_eq(r, 0, "\"%s\" on \"%s\": %s", cases[i].rules, cases[i].list, e.text);
        cr_assert_geq(io_read_all_at(dir, "devices.allow", 4096, &allow), 0);
        cr_assert_geq(io_read_all_at(dir, "devices.deny", 4096, &deny), 0);
        cr_expect(str_eq(allow, cases[i].allow) && str_eq(deny, cases[i].deny),
                  "\"%s\" on \"%s\": expected allow \"%s\", deny \"%s\"; got \"%s\", \"%s\"",
                  cases[i].rules, cases[i].list, cases[i].allow, cases[i].deny, allow, deny);
        free(allow);
        free(deny);
        remove_fake(dir);
    }
}

Test(v1_apply, bad_list)
{
    static const char *const lists[] = {
        "c 1:3\n",     "c 1:3 \n",   "c 1 rwm\n",    "c :3 rwm\n", "c 1: rwm\n",
        "x 1:3 rwm\n", "1:3 rwm\n",  "c 1:3 rwx\n",  "c\n",        "c 1:3 rwm extra\n",
        " c 1:3 r\n",  "c -1:3 r\n", "cc 1:3 rwm\n", "a\n",        "c 4294967296:3 r\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, "+c 1:3 rwm");
        int dir = fake_cgroup(lists[i]);
        struct err e = ERR_INIT;
        int r = cg_dev_v1_apply(dir, &v1, &e);
        struct stat allow, deny;

        cr_expect(r == -EPROTO && strstr(e.text, "devices.list"),
                  "\"%s\": expected -EPROTO naming devices.list, got %d \"%s\"", lists[i], r,
                  e.text);
        cr_assert(fstatat(dir, "devices.allow", &allow, 0) == 0 &&
                  fstatat(dir, "devices.deny", &deny, 0) == 0);
        cr_expect(allow.st_size == 0 && deny.st_size == 0, "\"%s\": was written to", lists[i]);
        remove_fake(dir);
    }
}

Test(v1_apply, missing_files)
{
    static const struct {
        const char *missing, *list, *want;
    } cases[] = {
        {"devices.list", "", "reading devices.list: ENOENT"},
        {"devices.allow", "", "opening devices.allow: ENOENT"},
        {"devices.deny", "a *:* rwm\n", "opening devices.deny: ENOENT"},
        {"devices.deny", "c 1:3 rwm\nc 1:5 r\n", "opening devices.deny: ENOENT"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, "+c 1:3 rwm");
        int dir = fake_cgroup(cases[i].list);
        struct err e = ERR_INIT;
        int r;

        unlinkat(dir, cases[i].missing, 0);
        r = cg_dev_v1_apply(dir, &v1, &e);
        cr_expect(r == -ENOENT && strstr(e.text, cases[i].want),
                  "without %s: expected \"%s\", got %d \"%s\"", cases[i].missing, cases[i].want, r,
                  e.text);
        remove_fake(dir);
    }
}

/* --- the kernel's v1 controller --- */

/* Lists that v1 can express; the last ones are "allow all but". */
static const char *const kernel_lists[] = {
    "",
    "+c 1:3 rwm",
    "+c 1:3 r, +c 1:5 w, +c 1:8 m, +b 240:0 rw",
    "-a *:* rwm, +c *:* m, +b *:* m, +c 1:3 rwm, +c 240:* rw",
    "+c *:1 r, +c 240:* w",
    "+a *:* rwm",
    "+a 241:1 rw, +c 240:0 rwm, -c 240:0 w",
    "+c 240:0 r, +c 240:* r, +b *:5 rwm, +c *:* w",
    "+a *:* rwm, -c 240:1 w",
    "+a *:* rwm, -c 240:* rw, -b *:1 m, -c 1:5 w",
    "+c *:* m, -c 240:0 m",
};

/* What devices.list must show. */
static char *expected_list(struct arena *a, const struct cg_dev_exceptions *v1)
{
    return v1->allow_all ? arena_strdup(a, "a *:* rwm")
                         : dev_entries_text(a, v1->exceptions, v1->count);
}

/* devices.list, one line after the other, in the order of @v1's exceptions. */
static char *shown_list(struct arena *a, int cgroup, const struct cg_dev_exceptions *v1)
{
    char *text = NULL, *got = arena_strdup(a, ""), *rest;
    size_t lines = 0;

    cr_assert_geq(io_read_all_at(cgroup, "devices.list", 1 << 20, &text), 0);
    rest = arena_printf(a, "\n%s", text);
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    for (size_t i = 0; !v1->allow_all && i < v1->count; i++) {
        const char *one = dev_entries_text(a, &v1->exceptions[i], 1);

        if (strstr(rest, arena_printf(a, "\n%s\n", one)))
            got = arena_printf(a, "%s%s%s", got, *got ? ", " : "", one);
    }
    /* Anything else in it shows as it is. */
    if (v1->allow_all || lines != v1->count)
        got = arena_strndup(a, text, strcspn(text, "\n"));
    free(text);
    return got;
}

Test(v1_apply, kernel_v1_verdicts, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);

    dev_make_nodes();
    for (size_t i = 0; i < ARRAY_SIZE(kernel_lists); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, kernel_lists[i]);
        struct err e = ERR_INIT;

        cr_assert_eq(cg_dev_v1_apply(cgroup, &v1, &e), 0, "\"%s\": %s", kernel_lists[i], e.text);
        dev_check_kernel_verdicts(cgroup, kernel_lists[i]);
    }
}

/* From every list to every other, and once more to the same. */
Test(v1_apply, kernel_v1_transitions, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);

    for (size_t n = 0; n < ARRAY_SIZE(kernel_lists) * ARRAY_SIZE(kernel_lists); n++) {
        const char *texts[] = {kernel_lists[n / ARRAY_SIZE(kernel_lists)],
                               kernel_lists[n % ARRAY_SIZE(kernel_lists)]};
        autoarena a = ARENA_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
            struct cg_dev_exceptions v1 = make_v1(&a, texts[i]);
            const char *want = expected_list(&a, &v1), *got;
            struct err e = ERR_INIT;

            cr_assert_eq(cg_dev_v1_apply(cgroup, &v1, &e), 0, "\"%s\": %s", texts[i], e.text);
            got = shown_list(&a, cgroup, &v1);
            cr_expect(str_eq(got, want), "\"%s\": expected \"%s\", got \"%s\"", texts[i], want,
                      got);
        }
    }
}

/* Stale denials of "allow all but" must not survive, though devices.list does not show them. */
Test(v1_apply, kernel_v1_hidden_denials, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);
    static const char *const lists[] = {"+a *:* rwm, -c 240:1 w, -c 1:5 r",
                                        "+a *:* rwm, -c 240:0 rwm", "+a *:* rwm, -b 240:0 m"};

    dev_make_nodes();
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, lists[i]);

        cr_assert(v1.allow_all, "\"%s\"", lists[i]);
        for (int twice = 0; twice < 2; twice++) {
            cr_assert_eq(cg_dev_v1_apply(cgroup, &v1, NULL), 0);
            dev_check_kernel_verdicts(cgroup, lists[i]);
        }
    }
}

/* A process that uses a device which both lists allow, by different rules, never sees EPERM. */
Test(v1_apply, kernel_v1_additions_first, .fini = dev_remove_made)
{
    struct {
        volatile bool ready, stop;
        volatile unsigned long opened, denied;
    } *shared = dev_share(sizeof *shared);
    autofd cgroup = dev_make_cgroup(false);
    autoarena a = ARENA_INIT;
    struct cg_dev_exceptions lists[] = {make_v1(&a, "+c 1:3 rwm, +c 240:1 rwm"),
                                        make_v1(&a, "+c *:3 rw, +b 240:1 rwm"),
                                        make_v1(&a, "+c 1:* rw, +c 1:9 m")};
    pid_t child;

    dev_make_nodes();
    cr_assert_eq(cg_dev_v1_apply(cgroup, &lists[0], NULL), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dev_enter(cgroup);
        shared->ready = true;
        while (!shared->stop) {
            shared->denied += dev_probe_one(0, CG_DEV_R | CG_DEV_W) == EPERM;
            shared->opened++;
        }
        _exit(0);
    }
    while (!shared->ready && waitpid(child, NULL, WNOHANG) == 0)
        io_sleep_ms(1);
    for (int round = 0; round < 2000; round++) {
        struct err e = ERR_INIT;

        if (cg_dev_v1_apply(cgroup, &lists[round % 3], &e) < 0)
            cr_expect_fail("round %d: %s", round, e.text);
    }
    shared->stop = true;
    waitpid(child, NULL, 0);
    cr_expect(shared->opened > 0 && shared->denied == 0, "opened %lu times, denied %lu times",
              shared->opened, shared->denied);
}

/* The parent decides what a child may have; children keep their parent from changing sides. */
Test(v1_apply, kernel_v1_parent, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);
    autofd child = FD_NONE;
    autoarena a = ARENA_INIT;
    struct cg_dev_exceptions some = make_v1(&a, "+c 1:3 r, +c 1:5 rwm");
    struct cg_dev_exceptions less = make_v1(&a, "+c 1:5 r"), more = make_v1(&a, "+c 1:3 rw");
    struct cg_dev_exceptions all = make_v1(&a, "+a *:* rwm, -c 1:3 r");
    struct err e = ERR_INIT;

    cr_assert_eq(cg_dev_v1_apply(cgroup, &some, NULL), 0);
    cr_assert_eq(mkdirat(cgroup, "child", 0755), 0, "%m");
    child = openat(cgroup, "child", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_expect(str_eq(shown_list(&a, child, &some), "c 1:3 r, c 1:5 rwm"),
              "a new cgroup has its parent's list, got \"%s\"", shown_list(&a, child, &some));

    cr_expect_eq(cg_dev_v1_apply(child, &less, &e), 0, "%s", e.text);
    cr_expect(str_eq(shown_list(&a, child, &less), "c 1:5 r"), "got \"%s\"",
              shown_list(&a, child, &less));

    cr_expect_eq(cg_dev_v1_apply(child, &more, &e), -EPERM);
    cr_expect(strstr(e.text, "writing \"c 1:3 rw\" to devices.allow: EPERM") &&
                  strstr(e.text, "parent"),
              "got \"%s\"", e.text);
    err_reset(&e);
    cr_expect_eq(cg_dev_v1_apply(child, &all, &e), -EPERM);
    cr_expect(strstr(e.text, "writing \"a\" to devices.allow: EPERM"), "got \"%s\"", e.text);
    err_reset(&e);
    cr_expect_eq(cg_dev_v1_apply(cgroup, &all, &e), -EINVAL);
    cr_expect(strstr(e.text, "remove the child cgroups first"), "got \"%s\"", e.text);
    /* The list itself can still change, and narrows the child. */
    cr_expect_eq(cg_dev_v1_apply(cgroup, &more, NULL), 0);
    cr_expect(str_eq(shown_list(&a, child, &more), ""), "got \"%s\"", shown_list(&a, child, &more));
    cr_expect_eq(unlinkat(cgroup, "child", AT_REMOVEDIR), 0, "%m");
}
