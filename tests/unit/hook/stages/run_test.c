/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/run.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "hook/sandbox/links.h"
#include "oci/state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#define POD "pod"

static char top[] = "/tmp/osc-unit-run-XXXXXX";
static struct arena arena;
static struct oci_input input;
static struct run run;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void set_up(void)
{
    struct err e = ERR_INIT;

    cr_assert(mkdtemp(top));
    input = (struct oci_input){0};
    run = (struct run){
        .input = &input, .a = &arena, .state = STATE_DIR_INIT, .lock = STATE_LOCK_INIT};
    cr_assert_eq(state_dir_open(top, true, &run.state, &e), 0, "%s", e.text);
}

static void tear_down(void)
{
    state_unlock(&run.lock);
    state_dir_close(&run.state);
    nftw(top, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    arena_free(&arena);
}

TestSuite(run, .init = set_up, .fini = tear_down);

/* "a b- a-": the containers by id, "-" for those that are dead. */
static struct json_list make_containers(const char *text)
{
    char *cursor = arena_strdup(&arena, text), *id;
    struct json_list list = {0};

    while ((id = str_next(&cursor, ' '))) {
        struct record_container *c = arena_push(&arena, &list.items, &list.count, sizeof *c);
        char *dead = strchr(id, '-');
        struct proc_id self;

        cr_assert_eq(proc_identify(getpid(), &self), 0);
        /* Another process has had the number. */
        self.start_time -= dead ? 1 : 0;
        if (dead)
            *dead = '\0';
        *c = (struct record_container){.id = id, .init = record_process_new(&arena, &self)};
    }
    return list;
}

static const char *ids_of(const struct json_list *list)
{
    char *text = arena_strdup(&arena, "");

    for (size_t i = 0; i < list->count; i++)
        text = arena_printf(&arena, "%s%s%s", text, i ? " " : "",
                            JSON_AT(*list, struct record_container, i).id);
    return text;
}

static void write_record(const char *containers)
{
    struct record r = {
        .sandbox_id = (char[]){POD},
        .sandbox_cgroup_only = {true, true},
        .sandbox_path = (char[]){"/s"},
        .vcpu_path = (char[]){"/s"},
        .parent_path = (char[]){"/"},
        .mode = (char[]){"v1"},
        .manager = (char[]){"cgroupfs"},
        .containers = make_containers(containers),
    };
    struct state_lock lock;
    struct err e = ERR_INIT;

    cr_assert_eq(state_lock(&run.state, POD, true, RUN_LOCK_TIMEOUT_MS, &lock, &e), 0, "%s",
                 e.text);
    cr_assert_eq(record_write(&lock, &arena, &r, &e), 0, "%s", e.text);
    state_unlock(&lock);
}

static const struct {
    const char *id, *record, *others, *alive;
} rows[] = {
    {"a", "b", "b", "b"},
    {"a", "b c", "b c", "b c"},
    /* this one again */
    {"a", "a", "", ""},
    {"a", "a b", "b", "b"},
    /* dead without a poststop: not forgotten, but it does not count */
    {"a", "b- c", "b c", "c"},
    {"a", "b-", "b", ""},
    /* the predecessor of the same id, alone and behind this one */
    {"a", "a- b", "a b", "b"},
    {"a", "a a- b", "a b", "b"},
};

Test(run, others)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err e = ERR_INIT;

        write_record(rows[i].record);
        input.state.id = arena_strdup(&arena, rows[i].id);
        cr_assert_eq(run_lock(&run, POD, false, &e), 0, "%s", e.text);
        cr_expect_eq(run.found, RECORD_VALID);
        cr_expect_str_eq(ids_of(&run.others), rows[i].others,
                         "%s, record \"%s\", others:\nexpected: %s\ngot:      %s", rows[i].id,
                         rows[i].record, rows[i].others, ids_of(&run.others));
        cr_expect_str_eq(ids_of(&run.alive), rows[i].alive,
                         "%s, record \"%s\", alive:\nexpected: %s\ngot:      %s", rows[i].id,
                         rows[i].record, rows[i].alive, ids_of(&run.alive));
        state_unlock(&run.lock);
    }
}

/* What a record of another boot names has gone with that. */
Test(run, record_of_another_boot)
{
    static const struct settings settings = {0};
    const struct request request = {.settings = &settings};
    struct err e = ERR_INIT;

    write_record("b");
    input.state.id = arena_strdup(&arena, "a");
    run.request = &request;
    cr_assert_eq(run_lock(&run, POD, false, &e), 0, "%s", e.text);
    cr_expect(run_basis(&run).may_keep_devices, "the sandbox is there");
    run.found = RECORD_OTHER_BOOT;
    cr_expect_not(run_basis(&run).may_keep_devices, "there is no such sandbox any more");
}

Test(run, no_record)
{
    struct err e = ERR_INIT;

    cr_expect_eq(run_lock(&run, POD, false, &e), -ENOENT);
    run.others.count = run.alive.count = 7;
    cr_expect_eq(run_lock(&run, POD, true, &e), 0, "%s", e.text);
    cr_expect_eq(run.found, RECORD_NONE);
    cr_expect(run.others.count == 0 && run.alive.count == 0);
}

static const char *found(const char *id)
{
    const char *sandbox_id;
    int r = links_find_container(&run.state, id, &arena, &sandbox_id);

    return r == 0 ? sandbox_id : r == -ENOENT ? "none" : "unknown";
}

/* Where to look for a container is forgotten with the container, and not before. */
Test(run, unlinks_dropped)
{
    static const char *const ids[] = {"stays", "goes", "foreign"};
    struct record now = {.containers = make_containers("stays")};
    struct err e = ERR_INIT;

    run.before = (struct record){.sandbox_id = (char[]){POD},
                                 .containers = make_containers("stays goes foreign")};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        cr_assert_eq(links_add_container(&run.state, ids[i], i < 2 ? POD : "other", &e), 0, "%s",
                     e.text);
    run_unlink_dropped(&run, &now);
    cr_expect_str_eq(found("stays"), POD);
    cr_expect_str_eq(found("goes"), "none");
    cr_expect_str_eq(found("foreign"), "other", "it is a container of another pod by now");
}

/* What a watcher that is started later has to know. */
Test(run, planned_record_has_the_quota)
{
    char quota[] = "30000 50000";
    struct plan plan = {.mode = CG_MODE_V2, .layout = LAYOUT_NESTED, .overhead_quota = quota};
    struct record record = run_planned_record(&plan, &arena);

    quota[0] = '4';
    cr_expect(str_eq_null(record.overhead_quota, "30000 50000"));
    plan.overhead_quota = NULL;
    record = run_planned_record(&plan, &arena);
    cr_expect_null(record.overhead_quota);
}

Test(run, where_a_runtime_has_put_it)
{
    static const struct {
        const char *cpu, *memory, *want;
    } places[] = {
        {"/p/c1", "/p/c1", "/p/c1"},
        /* set apart with layout nested */
        {"/p/kata_c1", "/p/c1", "/p/c1"},
        /* a runtime in two cgroups, and what it starts */
        {"/a/c1", "/b/c1", "/a/c1"},
        {"/a/kata_c1", "/b/c1", "/a/c1"},
        {"/c1", "/b/c1", "/c1"},
        /* with layout sibling, and set apart there */
        {"/p/kata_c1", "/p/kata_c1", "/p/kata_c1"},
        {"/kata_overhead/c1", "/p/kata_c1", "/p/kata_c1"},
        {"/", "/p/c1", "/p/c1"},
        {NULL, "/p/c1", "/p/c1"},
        {"/p/c1", NULL, "/p/c1"},
    };
    const struct settings settings = {.prefix = arena_strdup(&arena, "kata_")};
    const struct request request = {.settings = &settings};

    run.request = &request;
    run.host = (struct cg_host){.mode = CG_MODE_V1, .count = 2};
    run.host.hierarchies[0].controllers = CG_CTL_BIT(CG_CTL_CPU);
    run.host.hierarchies[1].controllers = CG_CTL_BIT(CG_CTL_MEMORY);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        const struct cg_origin origin = {.paths = {places[i].cpu, places[i].memory}};

        cr_expect_str_eq(run_origin_path(&run, &origin), places[i].want, "%s, %s", places[i].cpu,
                         places[i].memory);
    }
}
