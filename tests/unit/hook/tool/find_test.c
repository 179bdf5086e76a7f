/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/find.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/record_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>

/* Sandbox, word, whether it is a name. */
static struct find_word some[] = {
    {"a1b2", "a1b2", "web", false}, {"web", "a1b2", "web", true}, {"pod", "a1b2", "web", true},
    {"a1c3", "a1c3", "", false},    {"webb", "a1c3", "", true},   {"pod", "a1c3", "", true},
    {"d4", "d4", "", false},        {"a1", "d4", "", true},       {"c77", "d4", "", false},
    {"c78", "d4", "", false},
};
static const struct find_words words = {some, ARRAY_SIZE(some)};

Test(find, match)
{
    static const struct {
        const char *wanted, *ids;
    } rows[] = {
        {"web", "a1b2"}, {"we", ""},   {"pod", "a1b2 a1c3"}, {"a1b", "a1b2"}, {"a", "a1b2 a1c3"},
        {"a1", "d4"},    {"c7", "d4"}, {"a1b2", "a1b2"},     {"a1b23", ""},   {"d", "d4"},
        {"x", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        autosbuf got = SBUF_INIT;
        struct find_word *found;
        size_t count = find_match(&words, rows[i].wanted, &a, &found);

        for (size_t k = 0; k < count; k++)
            sbuf_addf(&got, "%s%s", k > 0 ? " " : "", found[k].sandbox_id);
        cr_expect_str_eq(sbuf_text(&got), rows[i].ids, "%s: %s", rows[i].wanted, sbuf_text(&got));
    }
}

#define LONG "0123456789012345678901234567890123456789012345678901234567890123"

Test(find, nearest)
{
    static struct find_word longer = {LONG "4", "s", "", false};
    static const struct find_words one = {&longer, 1};
    static const struct {
        const char *wanted, *nearest;
    } rows[] = {
        {"wen", "web"},   {"wbeb", "web"}, {"webbb", "webb"}, {"bwe", NULL},
        {"d5", NULL},     {"po", NULL},    {"xyz", NULL},     {"", NULL},
        {"a1b3", "a1b2"}, {"ebb", "webb"}, {"pdo", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect(str_eq_null(find_nearest(&words, rows[i].wanted), rows[i].nearest), "%s: %s",
                  rows[i].wanted, find_nearest(&words, rows[i].wanted));
    cr_expect_null(find_nearest(&one, LONG), "what is too long is nobody's neighbour");
    cr_expect_null(find_nearest(&words, LONG "4"));
}

static void record_one(const struct kit_state *f, const char *id, const char *name, const char *pod)
{
    autoarena a = ARENA_INIT;
    struct state_lock lock = kit_lock(f, id, true);
    struct err e = ERR_INIT;
    struct record r = {
        .sandbox_id = arena_strdup(&a, id),
        .sandbox_cgroup_only = {true, true},
        .manager = arena_strdup(&a, "cgroupfs"),
        .mode = arena_strdup(&a, "v2"),
        .parent_path = arena_strdup(&a, "/p"),
        .sandbox_path = arena_strdup(&a, "/p/c"),
        .vcpu_path = arena_strdup(&a, "/p/c"),
    };

    JSON_APPEND(&a, r.containers, struct record_container) = (struct record_container){
        .id = arena_printf(&a, "of-%s", id),
        .name = arena_strdup(&a, name),
        .pod = pod ? arena_strdup(&a, pod) : NULL,
        .init = record_process_new(&a, &(struct proc_id){0}),
    };
    cr_assert_eq(record_write(&lock, &a, &r, &e), 0, "%s", e.text);
    state_unlock(&lock);
}

static void expect(const struct kit_state *f, const char *wanted, int want_r, const char *want)
{
    autoarena a = ARENA_INIT;
    struct err e = ERR_INIT;
    const char *id = "";
    int r = find_sandbox(&f->state, wanted, "/run/x", &a, &id, &e);

    cr_expect_eq(r, want_r, "%s: %d, %s", wanted, r, e.text);
    cr_expect(r == 0 ? str_eq(id, want) : strstr(e.text, want) != NULL, "%s: %s%s", wanted, id,
              e.text);
}

Test(find, of_records)
{
    FIXTURE f;
    struct state_lock lock;

    kit_begin_state(&f);
    record_one(&f, "a1b2", "web", "p");
    record_one(&f, "a1c3", "d\xc3\xa4", "p");
    lock = kit_lock(&f, "unborn", true); /* without a record */
    state_unlock(&lock);
    expect(&f, "web", 0, "a1b2");
    expect(&f, "a1b", 0, "a1b2");
    expect(&f, "of-a1c", 0, "a1c3");
    expect(&f, "unb", 0, "unborn");
    expect(&f, "p", -ENOTUNIQ, "(p/web)");
    expect(&f, "p", -ENOTUNIQ, "a1c3 (p/d\\xc3\\xa4)");
    expect(&f, "a\n", -ENOENT, "\"a\\x0a\" under /run/x; `list`");
    expect(&f, "wxb", -ENOENT, "is \"web\" meant? `list`");
}

/* What cannot be read may be meant. */
Test(find, damaged)
{
    FIXTURE f;
    struct state_lock lock;
    int fd;

    kit_begin_state(&f);
    record_one(&f, "a1b2", "web", NULL);
    lock = kit_lock(&f, "broken", true);
    fd = openat(lock.dirfd, RECORD_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, "{", 1) == 1);
    close(fd);
    state_unlock(&lock);
    expect(&f, "web", -EPROTO, "sandbox broken: record.json");
}

Test(find, many)
{
    FIXTURE f;
    char id[] = "id0";

    kit_begin_state(&f);
    for (id[2] = '0'; id[2] < '7'; id[2]++)
        record_one(&f, id, "same", NULL);
    expect(&f, "same", -ENOTUNIQ, " and 2 more");
    expect(&f, "id6", 0, "id6");
}
