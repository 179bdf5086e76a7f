/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/links.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/osc-unit-claim-XXXXXX";
static struct state_dir state;
static struct arena arena;

static void begin(void)
{
    struct err e = ERR_INIT;

    kit_make_dir(top);
    cr_assert_eq(state_dir_open(top, true, &state, &e), 0, "%s", e.text);
}

static void end(void)
{
    state_dir_close(&state);
    arena_free(&arena);
    kit_remove_tree(top);
}

TestSuite(claim, .init = begin, .fini = end);

/* Expect this answer, and with -EEXIST this owner. */
static void take(const char *id, const char *path, int want, const char *want_owner)
{
    const char *owner = "";
    struct err e = ERR_INIT;
    int r = links_claim(&state, id, path, &arena, &owner, &e);

    cr_expect(r == want && str_eq(owner, want_owner),
              "%s takes %s: expected %d \"%s\", got %d \"%s\" %s", id, path, want, want_owner, r,
              owner, e.text);
}

Test(claim, owner_is_told)
{
    const char *owner = NULL;

    take("a", "/x/kata_c", 0, "");
    cr_expect_eq(links_owner(&state, "/x", &arena, &owner), 0);
    cr_expect_null(owner);
    cr_expect_eq(links_owner(&state, "/x/kata_c", &arena, &owner), 1);
    cr_expect_str_eq(owner, "a");
}

Test(claim, first_one_has_it)
{
    take("a", "/x/kata_c", 0, "");
    take("a", "/x/kata_c", 0, "");
    take("b", "/x/kata_c", -EEXIST, "a");
    take("b", "/x/kata_d", 0, "");
    cr_expect(links_is_foreign(&state, "b", "/x/kata_c"));
    cr_expect_not(links_is_foreign(&state, "a", "/x/kata_c"));
    cr_expect_not(links_is_foreign(&state, "a", "/x/kata_e"));
}

Test(claim, released)
{
    take("a", "/x", 0, "");
    cr_expect_eq(links_release(&state, "b", "/x"), 0); /* it is not b's to release */
    take("b", "/x", -EEXIST, "a");
    cr_expect_eq(links_release(&state, "a", "/x"), 0);
    cr_expect_eq(links_release(&state, "a", "/x"), 0);
    take("b", "/x", 0, "");
}

/* A claim that cannot be looked at stays, and whoever ends the sandbox is told. */
Test(claim, released_blindly)
{
    const struct state_dir blind = {.sandboxes = state.sandboxes, .top = FD_NONE};

    take("a", "/x", 0, "");
    cr_expect_eq(links_release(&blind, "a", "/x"), -EBADF);
    take("b", "/x", -EEXIST, "a");
}

/* The name of one path's claim with another path in it. */
Test(claim, same_hash)
{
    char name[32];

    snprintf(name, sizeof name, "paths/%016llx", (unsigned long long)str_hash("/x"));
    cr_assert_eq(symlinkat("a/y", state.top, name), 0);
    take("b", "/x", 0, "");
    cr_expect_not(links_is_foreign(&state, "b", "/x"));
    links_release(&state, "a", "/x");
    cr_expect_eq(faccessat(state.top, name, F_OK, AT_SYMLINK_NOFOLLOW), 0, "another path's claim");
}

Test(claim, sweep)
{
    take("alive", "/x", 0, "");
    take("gone", "/y", 0, "");
    cr_assert_eq(mkdirat(state.sandboxes, "alive", 0700), 0);
    links_sweep_dead(&state);
    take("b", "/x", -EEXIST, "alive");
    take("b", "/y", 0, "");
}

Test(claim, names)
{
    const char **names;
    size_t count;

    take("a", "/x", 0, "");
    take("ab", "/y", 0, "");
    take("a", "//u.scope", 0, "");
    cr_assert_eq(links_names(&state, "a", &arena, &names, &count), 0);
    cr_assert_eq(count, 2);
    cr_expect(str_eq(names[0], "/x") != str_eq(names[1], "/x"));
    cr_expect(str_eq(names[0], "//u.scope") != str_eq(names[1], "//u.scope"));
    cr_assert_eq(links_names(&state, "b", &arena, &names, &count), 0);
    cr_expect_eq(count, 0);
}

Test(claim, fails)
{
    const struct state_dir none = STATE_DIR_INIT;
    const char *owner, **names;
    size_t count;
    struct err e = ERR_INIT;

    cr_expect_eq(links_claim(&none, "a", "/x", &arena, &owner, &e), -EBADF);
    cr_expect(strstr(e.text, "/x") && strstr(e.text, "sandbox a"), "%s", e.text);
    cr_expect_eq(links_names(&none, "a", &arena, &names, &count), -EBADF);
}

/* An id that is too long for a name is not taken for another one that begins alike. */
Test(claim, long_id)
{
    char id[NAME_MAX + 50];
    const char *found;

    memset(id, 'a', sizeof id);
    id[NAME_MAX] = '\0';
    cr_assert_eq(links_add_container(&state, id, "s1", NULL), 0);
    cr_expect_eq(links_find_container(&state, id, &arena, &found), 0);
    id[NAME_MAX] = 'a';
    id[sizeof id - 1] = '\0';
    cr_expect_eq(links_find_container(&state, id, &arena, &found), -ENAMETOOLONG);
    cr_expect_eq(links_add_container(&state, id, "s2", NULL), -ENAMETOOLONG);
    links_drop_container(&state, id, NULL);
    id[NAME_MAX + 1] = '\0';
    cr_expect_eq(links_find_container(&state, id, &arena, &found), -ENAMETOOLONG);
    id[NAME_MAX] = '\0';
    cr_expect_eq(links_find_container(&state, id, &arena, &found), 0);
    cr_expect_str_eq(found, "s1");
}

/* A table that cannot be read has not nothing in it. */
Test(claim, unknown)
{
    struct state_dir blind = state;
    struct err e = ERR_INIT;
    const char *id;

    cr_assert_eq(links_add_container(&state, "c1", "s1", &e), 0, "%s", e.text);
    blind.top = FD_NONE;
    cr_expect_eq(links_find_container(&blind, "c1", &arena, &id), -EBADF);
    cr_expect_eq(state_lookup(&blind, "c1", &arena, &id), -EBADF);
    cr_expect_eq(links_is_foreign(&blind, "s1", "/a"), -EBADF);
    cr_expect_eq(links_sweep_dead(&blind), -EBADF);
    cr_expect_eq(links_find_container(&state, "c1", &arena, &id), 0);
    cr_expect_str_eq(id, "s1");
    cr_expect_eq(links_find_container(&state, "c2", &arena, &id), -ENOENT);
    cr_expect_eq(links_is_foreign(&state, "s1", "/a"), 0);
    cr_expect_eq(links_sweep_dead(&state), 0);
    cr_expect_eq(links_find_container(&state, "c1", &arena, &id), -ENOENT, "s1 has no directory");
}
