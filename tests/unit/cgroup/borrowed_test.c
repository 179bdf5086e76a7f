/* SPDX-License-Identifier: Apache-2.0 */

/* A leaf of ours in somebody else's cgroup, and a cgroup that is not ours at all. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HOME "/p/c"
#define LEAF "/p/c/kata_vcpu"

static struct fixture {
    struct arena arena;
    struct cg_host host;
    struct cg_controller c;
    struct err err;
    pid_t pid;
    const char *begin;
} f;

/* The runtime's cgroup with a process in it. */
static void begin_with(enum cg_mode mode)
{
    f = (struct fixture){.arena = ARENA_INIT};
    kit_tree_begin(mode);
    f.pid = kit_start_child();
    kit_tree_enter(f.pid, HOME, "init");
    cr_assert_eq(cg_host_open(&f.arena, &f.host, NULL), 0);
    cg_init(&f.c, &f.host, NULL, HOME, NULL);
    f.begin = kit_tree_text(&f.arena);
}

static void begin(void)
{
    begin_with(CG_MODE_V2);
}

static void end(void)
{
    cg_close(&f.c);
    cg_host_close(&f.host);
    kit_end_children();
    kit_tree_end();
    arena_free(&f.arena);
}

TestSuite(borrowed, .init = begin, .fini = end);

static void borrow(const char *path, const char *leaf)
{
    cg_close(&f.c);
    cg_init(&f.c, &f.host, NULL, path, leaf);
    f.c.borrowed = true;
}

static int create(void)
{
    struct cg_change want = {0};

    err_reset(&f.err);
    cg_files_add(&f.arena, &want.files, "cpu.max", "50000 100000", true);
    return cg_create(&f.c, &want, &f.err);
}

static void expect_changes(const char *want, const char *what)
{
    const char *got = kit_tree_changes(&f.arena, f.begin);

    cr_expect(str_eq(got, want), "%s: expected\n%s\ngot\n%s", what, want, got);
}

#define SPLIT                                                                                      \
    "-" HOME ":\n" HOME ": cgroup.subtree_control=cpu; cgroup.type=domain threaded\n" LEAF         \
    ": cgroup.type=threaded; cpu.max=50000 100000\n"

/* Only the leaf, and only what is right above it gives it its controller. */
Test(borrowed, create)
{
    borrow(HOME, "kata_vcpu");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    expect_changes(SPLIT, "made");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    expect_changes(SPLIT, "a second time");
}

/* What is missing above is the owner's to enable. */
Test(borrowed, create_enables_nothing_above)
{
    kit_tree_put("unified", "/p", "cgroup.subtree_control", "");
    kit_tree_put("unified", HOME, "cgroup.controllers", "");
    f.begin = kit_tree_text(&f.arena);
    borrow(HOME, "kata_vcpu");
    cr_expect_eq(create(), -ENOENT);
    cr_expect_str_eq(kit_tree_read("unified", "/p", "cgroup.subtree_control"), "");
    cr_expect(strstr(f.err.text, "cpu controller is not available in "), "%s", f.err.text);
    cg_undo_create(&f.c);
    expect_changes("", "undone");
}

Test(borrowed, create_of_nothing)
{
    static const char *const leaves[] = {"kata_vcpu", NULL};

    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
        borrow("/p/gone", leaves[i]);
        cr_expect_eq(create(), -ENOENT);
        cr_expect(strstr(f.err.text, "/p/gone"), "%s", f.err.text);
        expect_changes("", "nothing is made");
        cg_undo_create(&f.c);
        expect_changes("", "nor anything undone");
    }
}

/* Without a leaf it is opened, and its limits can be written; its directory is not ours. */
Test(borrowed, create_without_leaf)
{
    borrow(HOME, NULL);
    cr_assert_eq(create(), 0, "%s", f.err.text);
    expect_changes("-" HOME ":\n" HOME ": cpu.max=50000 100000\n", "opened");
    cr_expect_eq(f.c.made, 0);
    kit_end_children();
    cg_undo_create(&f.c);
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cpu.max"), "50000 100000");
}

/* As v1 makes what is missing of a cgroup that is ours: it is not to be taken for it. */
Test(borrowed, undo_leaves_what_is_borrowed)
{
    borrow(HOME, NULL);
    cr_assert_eq(create(), 0, "%s", f.err.text);
    f.c.made = 1;
    kit_end_children();
    cg_undo_create(&f.c);
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cgroup.type"), "domain", "it is still there");
}

Test(borrowed, undo)
{
    borrow(HOME, "kata_vcpu");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    cg_undo_create(&f.c);
    expect_changes("-" HOME ":\n" HOME
                   ": cgroup.subtree_control=cpu; cgroup.type=domain threaded\n",
                   "the leaf alone");
    /* one that was found stays */
    cr_assert_eq(create(), 0, "%s", f.err.text);
    cg_close(&f.c);
    borrow(HOME, "kata_vcpu");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    cg_undo_create(&f.c);
    expect_changes(SPLIT, "not made now");
}

Test(borrowed, remove_leaf)
{
    borrow(HOME, "kata_vcpu");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    cr_expect_eq(cg_delete(&f.c, 0, &f.err), 0, "%s", f.err.text);
    expect_changes("-" HOME ":\n" HOME
                   ": cgroup.subtree_control=cpu; cgroup.type=domain threaded\n",
                   "the leaf alone");
    kit_end_children();
    borrow(HOME, "kata_vcpu");
    cr_expect_eq(cg_load(&f.c, NULL), -ENOENT);
    cr_expect_eq(cg_delete(&f.c, 0, &f.err), 0, "%s", f.err.text);
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cpu.max"), "max 100000", "it is still there");
}

static void expect_not_removed(enum cg_mode mode)
{
    end();
    begin_with(mode);
    kit_end_children();
    f.begin = kit_tree_text(&f.arena);
    borrow(HOME, NULL);
    cr_expect_eq(cg_load(&f.c, NULL), 0);
    cr_expect_eq(cg_delete(&f.c, 0, &f.err), 0, "%s", f.err.text);
    expect_changes("", "empty as it is");
    cr_expect(f.c.fds[0] < 0, "closed");
    f.c.borrowed = false;
    cr_expect_eq(cg_delete(&f.c, 0, &f.err), 0, "%s", f.err.text);
    cr_expect_str_neq(kit_tree_changes(&f.arena, f.begin), "", "what is not borrowed goes");
}

Test(borrowed, removes_nothing_else)
{
    expect_not_removed(CG_MODE_V1);
    expect_not_removed(CG_MODE_HYBRID);
    expect_not_removed(CG_MODE_V2);
}

/* --- what a cgroup passes on --- */

Test(borrowed, passes_on)
{
    borrow(HOME, "kata_vcpu");
    cr_expect_eq(cg_load(&f.c, NULL), -ENOENT);
    cr_expect_eq(cg_passes_on(&f.c, CG_CTL_CPU, &f.err), 0, "%s", f.err.text);
    cr_assert_eq(create(), 0, "%s", f.err.text);
    cr_expect_eq(cg_passes_on(&f.c, CG_CTL_CPU, &f.err), 1, "%s", f.err.text);
    cr_expect_eq(cg_passes_on(&f.c, CG_CTL_PIDS, &f.err), 0, "%s", f.err.text);
    cr_expect_eq(
        unlinkat(AT_FDCWD,
                 arena_printf(&f.arena, "%s/unified" HOME "/cgroup.subtree_control", kit_tree_dir),
                 0),
        0);
    cr_expect_eq(cg_passes_on(&f.c, CG_CTL_CPU, &f.err), -ENOENT, "an error of looking");
    cr_expect(strstr(f.err.text, HOME "/cgroup.subtree_control"), "%s", f.err.text);
}

/* It is a domain as before. */
Test(borrowed, hold_back)
{
    borrow(HOME, "kata_vcpu");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    cr_assert_eq(cg_delete(&f.c, 0, &f.err), 0, "%s", f.err.text);
    cr_assert_eq(cg_load(&f.c, NULL), -ENOENT);
    for (int times = 0; times < 2; times++) {
        cr_expect_eq(cg_hold_back(&f.c, CG_CTL_CPU, &f.err), 0, "%s", f.err.text);
        expect_changes("", "as before");
    }
}

Test(borrowed, hold_back_what_is_used)
{
    borrow(HOME, "kata_vcpu");
    cr_assert_eq(create(), 0, "%s", f.err.text);
    kit_tree_put("unified", LEAF, "cgroup.subtree_control", "cpu");
    cr_expect_eq(cg_hold_back(&f.c, CG_CTL_CPU, &f.err), -EBUSY);
    cr_expect(strstr(f.err.text, "\"-cpu\" to ") &&
                  strstr(f.err.text, HOME "/cgroup.subtree_control"),
              "%s", f.err.text);
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cgroup.subtree_control"), "cpu");
}
