/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/change.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(change, .fini = drop_arena);

/* --- containers and files as text --- */

/* Rows are JSON with ' for the double quote. */
static struct oci_resources *make_resources(const char *text)
{
    struct oci_resources *r = arena_alloc(&arena, sizeof *r);
    const struct json_doc doc = {.table = &oci_resources_table, .dest = r};
    char *json = arena_strdup(&arena, text);
    struct err e = ERR_INIT;

    for (char *p = json; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    cr_assert_eq(json_read_text(json, strlen(json), &doc, 1, 0, "row", &arena, &e), 1, "%s: %s",
                 json, e.text);
    return r;
}

#define MAX_CONTAINERS 3

static struct json_list make_list(const char *const *texts)
{
    struct json_list list = {0};

    for (size_t i = 0; i < MAX_CONTAINERS && texts[i]; i++) {
        struct record_container *c = arena_push(&arena, &list.items, &list.count, sizeof *c);

        c->resources = make_resources(texts[i]);
    }
    return list;
}

static const char *files_text(const struct cg_files *files)
{
    char *text = arena_strdup(&arena, "");

    for (size_t i = 0; i < files->count; i++)
        text = arena_printf(&arena, "%s%s%s=%s", text, i ? "; " : "", files->items[i].file,
                            files->items[i].text);
    return text;
}

/* --- changes --- */

struct row {
    const char *name;
    enum cg_mode mode;
    bool systemd, kata;
    int64_t memory_overhead;
    /* of the record, and as they will be; the first NULL ends each */
    const char *before[MAX_CONTAINERS], *after[MAX_CONTAINERS];
    const char *files, *files_back;
};

#define QUOTA(n)  "{'cpu':{'quota':" #n "}}"
#define PIDS(n)   "{'pids':{'limit':" #n "}}"
#define CPUS(l)   "{'cpu':{'cpus':'" l "'}}"
#define BLKIO     "{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':28}]}}"
#define MEMORY(n) "{'memory':{'limit':" #n "}}"
#define IDLE      "{'cpu':{'idle':1,'shares':512}}"

static const struct row rows[] = {
    {.name = "the first one", .after = {PIDS(5)}, .files = "pids.max=5"},
    {.name = "the same stage again",
     .before = {PIDS(5)},
     .after = {PIDS(5)},
     .files = "pids.max=5",
     .files_back = "pids.max=5"},
    {.name = "one with a limit joins",
     .before = {PIDS(5)},
     .after = {PIDS(5), PIDS(6)},
     .files = "pids.max=11",
     .files_back = "pids.max=5"},
    {.name = "one without a limit joins",
     .before = {PIDS(5)},
     .after = {PIDS(5), "{}"},
     .files = "pids.max=max",
     .files_back = "pids.max=5"},
    {.name = "one with a limit joins one without",
     .before = {"{}"},
     .after = {"{}", QUOTA(5000)},
     .files = "cpu.cfs_period_us=100000; cpu.cfs_quota_us=-1",
     .files_back = "cpu.cfs_period_us=100000; cpu.cfs_quota_us=-1"},
    {.name = "a lone one's limits are nobody's",
     .before = {BLKIO},
     .after = {BLKIO, "{}"},
     .files = "blkio.throttle.read_bps_device=8:0 0",
     .files_back = "blkio.throttle.read_bps_device=8:0 28"},
    {.name = "they are somebody's again",
     .before = {BLKIO, "{}"},
     .after = {BLKIO},
     .files = "blkio.throttle.read_bps_device=8:0 28",
     .files_back = "blkio.throttle.read_bps_device=8:0 0"},
    {.name = "cpuset: one without",
     .before = {CPUS("0")},
     .after = {CPUS("0"), "{}"},
     .files = "cpuset.cpus=",
     .files_back = "cpuset.cpus=0"},
    {.name = "cpuset: it leaves",
     .mode = CG_MODE_V2,
     .before = {CPUS("0"), "{}"},
     .after = {CPUS("0")},
     .files = "cpuset.cpus=0",
     .files_back = "cpuset.cpus="},
    {.name = "the one with the limit leaves",
     .before = {PIDS(5), "{}"},
     .after = {"{}"},
     .files = "pids.max=max",
     .files_back = "pids.max=max"},
    {.name = "shares are subtracted",
     .before = {"{'cpu':{'shares':512}}", "{}"},
     .after = {"{}"},
     .files = "cpu.shares=1024",
     .files_back = "cpu.shares=1536"},
    {.name = "a killed stage: one is in the record whose limits are not in force",
     .before = {BLKIO, PIDS(7)},
     .after = {PIDS(7)},
     .files = "blkio.throttle.read_bps_device=8:0 0; pids.max=7",
     .files_back = "pids.max=max"},
    {.name = "a successor of the same id with other limits",
     .before = {PIDS(5), QUOTA(9000)},
     .after = {QUOTA(9000), QUOTA(1000)},
     .files = "pids.max=max; cpu.cfs_period_us=100000; cpu.cfs_quota_us=10000",
     .files_back = "cpu.cfs_period_us=100000; cpu.cfs_quota_us=-1; pids.max=max"},
    {.name = "memory with what the VMM needs, and without",
     .mode = CG_MODE_V2,
     .memory_overhead = 10,
     .before = {MEMORY(100)},
     .after = {MEMORY(100), MEMORY(200)},
     .files = "memory.max=310",
     .files_back = "memory.max=110"},
    {.name = "memory: one without a limit",
     .mode = CG_MODE_V2,
     .memory_overhead = 10,
     .before = {MEMORY(100), MEMORY(200)},
     .after = {MEMORY(100), MEMORY(200), "{}"},
     .files = "memory.max=max; memory.swap.max=max",
     .files_back = "memory.swap.max=max; memory.max=310"},
    {.name = "unified of a lone one",
     .mode = CG_MODE_V2,
     .before = {"{'unified':{'memory.high':'7'}}"},
     .after = {"{'unified':{'memory.high':'7'}}", "{}"},
     .files = "memory.high=max",
     .files_back = "memory.high=7"},
    {.name = "systemd rounds both",
     .mode = CG_MODE_V2,
     .systemd = true,
     .before = {QUOTA(5001)},
     .after = {QUOTA(5001), QUOTA(5001)},
     .files = "cpu.max=11000 100000",
     .files_back = "cpu.max=6000 100000"},
    {.name = "resources = kata, which it may not have been when they came",
     .kata = true,
     .before = {PIDS(5)},
     .after = {PIDS(5), "{}"},
     .files = "pids.max=max",
     .files_back = ""},
    {.name = "resources = kata keeps the cpuset",
     .kata = true,
     .before = {"{'cpu':{'cpus':'0'},'memory':{'limit':100}}", CPUS("1")},
     .after = {CPUS("1")},
     .files = "memory.limit_in_bytes=-1; cpuset.cpus=1",
     .files_back = "cpuset.cpus=0-1"},
    /* an idle container's shares are set only beside others */
    {.name = "idle with shares: one joins",
     .before = {IDLE},
     .after = {IDLE, "{}"},
     .files = "cpu.idle=0; cpu.shares=1536",
     .files_back = "cpu.shares=1024; cpu.idle=1"},
    {.name = "idle with shares: it leaves",
     .before = {IDLE, "{}"},
     .after = {IDLE},
     .files = "cpu.idle=0; cpu.shares=1024; cpu.idle=1",
     .files_back = "cpu.idle=0; cpu.shares=1536"},
    {.name = "idle with shares leaves",
     .mode = CG_MODE_V2,
     .before = {IDLE, "{}"},
     .after = {"{}"},
     .files = "cpu.idle=0; cpu.weight=100",
     .files_back = "cpu.weight=138"},
    {.name = "limits of the record that cannot be derived",
     .before = {CPUS("x"), PIDS(5)},
     .after = {PIDS(5), PIDS(6)},
     .files = "pids.max=11",
     .files_back = NULL},
    {.name = "neither those of all nor those of one",
     .before = {CPUS("x"), PIDS(5)},
     .after = {QUOTA(9000)},
     .files = "pids.max=max; cpu.cfs_quota_us=9000",
     .files_back = NULL},
};

static void check_row(const struct row *row)
{
    const struct settings settings = {
        .memory_overhead_bytes = row->memory_overhead,
        .resources = row->kata ? RESOURCES_KATA : RESOURCES_AGGREGATE,
    };
    const struct facts facts = {.mode = row->mode};
    const struct json_list before = make_list(row->before), after = make_list(row->after);
    const struct change_input in = {
        .settings = &settings,
        .facts = &facts,
        .systemd = row->systemd,
        .sandbox_cgroup_only = true,
        .before = &before,
    };
    const struct oci_resources *all[MAX_CONTAINERS];
    struct plan plan = {.mode = row->mode, .systemd = row->systemd};
    struct err e = ERR_INIT;
    struct change change;

    for (size_t i = 0; i < after.count; i++)
        all[i] = JSON_AT(after, struct record_container, i).resources;
    cr_assert_eq(plan_sandbox(all, after.count, &settings, &facts, true, &arena, &plan, &e), 0,
                 "%s", e.text);
    change_make(&in, &plan, &arena, &change);
    cr_expect_str_eq(files_text(&change.files), row->files, "%s:\nexpected %s\ngot      %s",
                     row->name, row->files, files_text(&change.files));
    cr_expect_eq(change.can_go_back, row->files_back != NULL, "%s", row->name);
    cr_expect_eq(change.devices_can_go_back, before.count > 0, "%s", row->name);
    if (row->files_back)
        cr_expect_str_eq(files_text(&change.files_back), row->files_back,
                         "%s, back:\nexpected %s\ngot      %s", row->name, row->files_back,
                         files_text(&change.files_back));
    cr_expect_eq(change.devices.count, plan.device_table.count);
}

Test(change, files)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
}

/* The device list to go back to is that of the containers that were there. */
Test(change, devices)
{
    static const char *const alone[MAX_CONTAINERS] = {
        "{'devices':[{'allow':false},{'allow':true,'type':'c','major':200,'minor':1}]}"};
    static const char *const two[MAX_CONTAINERS] = {
        "{'devices':[{'allow':false},{'allow':true,'type':'c','major':200,'minor':1}]}",
        "{'devices':[{'allow':false},{'allow':true,'type':'c','major':201,'minor':1}]}"};
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    const struct json_list before = make_list(alone), after = make_list(two);
    const struct change_input in = {.settings = &settings, .facts = &facts, .before = &before};
    const struct oci_resources *all[] = {JSON_AT(after, struct record_container, 0).resources,
                                         JSON_AT(after, struct record_container, 1).resources};
    struct plan plan = {.mode = CG_MODE_V2};
    struct err e = ERR_INIT;
    struct change change;

    cr_assert_eq(plan_sandbox(all, 2, &settings, &facts, false, &arena, &plan, &e), 0, "%s",
                 e.text);
    change_make(&in, &plan, &arena, &change);
    cr_assert(change.devices_can_go_back);
    cr_expect(cg_dev_table_allow(&change.devices, 'c', 201, 1, CG_DEV_R));
    cr_expect_not(cg_dev_table_allow(&change.devices_back, 'c', 201, 1, CG_DEV_R));
    cr_expect(cg_dev_table_allow(&change.devices_back, 'c', 200, 1, CG_DEV_R));
}

/* Rules on this many majors, or minors, alone; more of both than can be said. */
static const char *many_devices(bool majors)
{
    char *text = arena_strdup(&arena, "{'devices':[{'allow':false}");

    for (int n = 0; n < 300; n++)
        text = arena_printf(&arena, "%s,{'allow':true,'type':'c','%s':%d}", text,
                            majors ? "major" : "minor", n);
    return arena_printf(&arena, "%s],'pids':{'limit':%d}}", text, majors ? 5 : 6);
}

/* The list that is in force may be none of theirs: it had to stay when another one left. */
Test(change, limits_go_back_without_devices)
{
    const char *const two[MAX_CONTAINERS] = {many_devices(true), many_devices(false)};
    const char *const alone[MAX_CONTAINERS] = {two[0]};
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    const struct json_list before = make_list(two), after = make_list(alone);
    const struct change_input in = {.settings = &settings, .facts = &facts, .before = &before};
    const struct oci_resources *all[] = {JSON_AT(after, struct record_container, 0).resources};
    struct plan plan = {.mode = CG_MODE_V2};
    struct err e = ERR_INIT;
    struct change change;

    cr_assert_eq(plan_sandbox(all, 1, &settings, &facts, false, &arena, &plan, &e), 0, "%s",
                 e.text);
    change_make(&in, &plan, &arena, &change);
    cr_expect(change.can_go_back);
    cr_expect_not(change.devices_can_go_back);
    cr_expect_str_eq(files_text(&change.files), "pids.max=5");
    cr_expect_str_eq(files_text(&change.files_back), "pids.max=11");
}

/* A limit that cannot be taken away is said, once. */
Test(change, warns)
{
    static const char *const before_texts[MAX_CONTAINERS] = {"{'unified':{'memory.future':'7'}}"};
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    const struct json_list before = make_list(before_texts);
    const struct change_input in = {.settings = &settings, .facts = &facts, .before = &before};
    struct plan plan = {.mode = CG_MODE_V2};
    struct change change;

    change_make(&in, &plan, &arena, &change);
    cr_assert_eq(plan.warning_count, 1);
    cr_expect(strstr(plan.warnings[0], "memory.future"), "%s", plan.warnings[0]);
    cr_expect_eq(change.files.count, 0);
}
