/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/change.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(change, .fini = drop_arena);

/* --- containers and files as text --- */

#define MAX_CONTAINERS 3

static struct record make_record(const char *const *texts)
{
    struct record r = {.schema = {true, RECORD_SCHEMA}, .sandbox_id = arena_strdup(&arena, "s")};

    for (size_t i = 0; i < MAX_CONTAINERS && texts[i]; i++) {
        struct record_container *c =
            arena_push(&arena, &r.containers.items, &r.containers.count, sizeof *c);

        c->id = arena_printf(&arena, "c%zu", i);
        c->resources = kit_resources(&arena, texts[i]);
    }
    return r;
}

/* --- changes --- */

struct row {
    const char *name;
    enum cg_mode mode;
    bool systemd, kata;
    int64_t memory_overhead;
    /* of the record, and as they will be; the first NULL ends each */
    const char *before[MAX_CONTAINERS], *after[MAX_CONTAINERS];
    /* What is written, and to go back; @files_1 where a record of schema 1 makes it more. */
    const char *files, *files_back, *files_1;
};

#define QUOTA(n)  "{'cpu':{'quota':" #n "}}"
#define PIDS(n)   "{'pids':{'limit':" #n "}}"
#define CPUS(l)   "{'cpu':{'cpus':'" l "'}}"
#define BLKIO     "{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':28}]}}"
#define MEMORY(n) "{'memory':{'limit':" #n "}}"
#define IDLE      "{'cpu':{'idle':1,'shares':512}}"

static const struct row rows[] = {
    {.name = "the first one",
     .after = {PIDS(5)},
     .files = "pids.max=5",
     .files_back = "pids.max=max"},
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
     .files = "pids.max=7",
     .files_1 = "blkio.throttle.read_bps_device=8:0 0; pids.max=7",
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
    {.name = "systemd rounds neither",
     .mode = CG_MODE_V2,
     .systemd = true,
     .before = {QUOTA(5001)},
     .after = {QUOTA(5001), QUOTA(5001)},
     .files = "cpu.max=10002 100000",
     .files_back = "cpu.max=5001 100000"},
    {.name = "resources = kata, which it may not have been when they came",
     .kata = true,
     .before = {PIDS(5)},
     .after = {PIDS(5), "{}"},
     .files = "",
     .files_1 = "pids.max=max",
     .files_back = ""},
    {.name = "resources = kata keeps the cpuset",
     .kata = true,
     .before = {"{'cpu':{'cpus':'0'},'memory':{'limit':100}}", CPUS("1")},
     .after = {CPUS("1")},
     .files = "cpuset.cpus=1",
     .files_1 = "memory.limit_in_bytes=-1; memory.memsw.limit_in_bytes=-1; cpuset.cpus=1",
     .files_back = "cpuset.cpus=0-1"},
    /* an idle container's shares are set only beside others */
    {.name = "idle with shares: one joins",
     .before = {IDLE},
     .after = {IDLE, "{}"},
     .files = "cpu.idle=0; cpu.shares=1536",
     .files_back = "cpu.idle=0; cpu.shares=1024; cpu.idle=1"},
    {.name = "idle with shares: it leaves",
     .before = {IDLE, "{}"},
     .after = {IDLE},
     .files = "cpu.shares=1024; cpu.idle=1",
     .files_1 = "cpu.idle=0; cpu.shares=1024; cpu.idle=1",
     .files_back = "cpu.idle=0; cpu.shares=1536"},
    {.name = "idle with shares leaves",
     .mode = CG_MODE_V2,
     .before = {IDLE, "{}"},
     .after = {"{}"},
     .files = "cpu.weight=100",
     .files_1 = "cpu.idle=0; cpu.weight=100",
     .files_back = "cpu.weight=138"},
    {.name = "limits of the record that cannot be derived",
     .before = {CPUS("x"), PIDS(5)},
     .after = {PIDS(5), PIDS(6)},
     .files = "pids.max=11",
     .files_back = NULL},
    {.name = "neither those of all nor those of one",
     .before = {CPUS("x"), PIDS(5)},
     .after = {QUOTA(9000)},
     .files = "cpu.cfs_quota_us=9000",
     .files_1 = "pids.max=max; cpu.cfs_quota_us=9000",
     .files_back = NULL},
};

/* The limits of a record's containers. */
static struct plan_limits limits_of(const struct plan_basis *basis, const struct record *r,
                                    struct plan_warnings *warnings)
{
    struct plan_limits limits;
    struct err e = ERR_INIT;

    cr_assert_eq(plan_limits(basis, change_members(&r->containers, r->sandbox_id, &arena),
                             r->containers.count, &arena, &limits, warnings, &e),
                 0, "%s", e.text);
    return limits;
}

static const char *written(const struct plan_limits *limits)
{
    const struct cg_change change = plan_change(&limits->sandbox, &arena);

    return kit_files_text(&arena, &change.files);
}

/* What `update` has set is in force whoever comes, and gone back to with what it was before. */
Test(change, updated)
{
    static const char *const two[MAX_CONTAINERS] = {PIDS(5), MEMORY(100)};
    static const char *const alone[MAX_CONTAINERS] = {MEMORY(100)};
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    struct record before = make_record(two), after = make_record(alone);
    struct plan_warnings warnings = {0};
    struct plan_limits limits, back;
    struct plan_basis basis;

    before.updated = kit_resources(&arena, PIDS(9));
    basis = change_basis(&settings, &facts, false, true, &before, &arena);
    limits = limits_of(&basis, &before, &warnings);
    cr_expect_str_eq(written(&limits), "memory.max=max; memory.swap.max=max; pids.max=9");
    change_note(&basis, &limits, &arena, &before);
    basis = change_basis(&settings, &facts, false, true, &before, &arena);
    limits = limits_of(&basis, &after, &warnings);
    cr_expect_str_eq(written(&limits), "memory.swap.max=max; memory.max=100; pids.max=9");
    basis.updated = kit_resources(&arena, PIDS(11));
    limits = limits_of(&basis, &after, &warnings);
    cr_expect_str_eq(written(&limits), "memory.swap.max=max; memory.max=100; pids.max=11");
    cr_assert(change_back(&basis, &limits, &before, &arena, &back));
    cr_expect_str_eq(written(&back), "memory.max=max; memory.swap.max=max; pids.max=9");
}

/* Of each limit the last word counts. */
Test(change, take)
{
    static const char *const lone[MAX_CONTAINERS] = {PIDS(5)};
    const struct oci_resources *now = kit_resources(&arena, "{'pids':{'limit':6}}");
    struct record r = make_record(lone);
    struct record_container *c = &JSON_AT(r.containers, struct record_container, 0);

    change_take(&r, c, now, 1, &arena);
    cr_expect_null(r.updated);
    cr_expect_eq(c->resources->pids->limit.value, 6);
    r.updated = kit_resources(&arena, "{'pids':{'limit':9},'cpu':{'cpus':'0'}}");
    change_take(&r, c, c->resources, 1, &arena);
    cr_expect_eq(r.updated->pids->limit.value, 9);
    change_take(&r, c, kit_resources(&arena, PIDS(7)), 1, &arena);
    cr_expect_eq(c->resources->pids->limit.value, 7);
    cr_expect_not(r.updated->pids->limit.set);
    cr_expect_str_eq(r.updated->cpu->cpus, "0");
}

/* What was said before `update`, and is seen later, is no later word. */
Test(change, take_late)
{
    static const char *const lone[MAX_CONTAINERS] = {PIDS(5)};
    struct record r = make_record(lone);
    struct record_container *c = &JSON_AT(r.containers, struct record_container, 0);

    r.updated = kit_resources(&arena, PIDS(9));
    c->runtime_print = (struct json_u64){true, 2};
    change_take(&r, c, kit_resources(&arena, PIDS(6)), 2, &arena);
    cr_expect_eq(c->resources->pids->limit.value, 6);
    cr_assert(r.updated);
    cr_expect_eq(r.updated->pids->limit.value, 9);
    change_take(&r, c, kit_resources(&arena, PIDS(7)), 3, &arena);
    cr_expect_eq(c->resources->pids->limit.value, 7);
    cr_expect_null(r.updated);
    /* A container that has come since, of which nothing was seen. */
    r.updated = kit_resources(&arena, PIDS(9));
    c->runtime_print = (struct json_u64){false, 2};
    change_take(&r, c, kit_resources(&arena, PIDS(8)), 2, &arena);
    cr_expect_null(r.updated);
}

static void check_row(const struct row *row, int64_t schema)
{
    const struct settings settings = {
        .memory_overhead_bytes = row->memory_overhead,
        .resources = row->kata ? RESOURCES_KATA : RESOURCES_AGGREGATE,
    };
    const struct facts facts = {.mode = row->mode};
    struct record before = make_record(row->before), after = make_record(row->after);
    struct plan_basis basis = change_basis(&settings, &facts, row->systemd, true, NULL, &arena);
    struct plan_warnings warnings = {0};
    struct plan_limits limits, back;
    const char *want;
    bool can_go_back;

    before.schema.value = schema;
    if (schema == RECORD_SCHEMA && row->files_back) {
        const struct plan_limits was = limits_of(&basis, &before, &warnings);

        change_note(&basis, &was, &arena, &before);
    }
    basis = change_basis(&settings, &facts, row->systemd, true, &before, &arena);
    limits = limits_of(&basis, &after, &warnings);
    want = schema == 1 && row->files_1 ? row->files_1 : row->files;
    cr_expect_str_eq(written(&limits), want, "%s, schema %d:\nexpected %s\ngot      %s", row->name,
                     (int)schema, want, written(&limits));
    can_go_back = change_back(&basis, &limits, &before, &arena, &back);
    cr_expect_eq(can_go_back, row->files_back != NULL, "%s", row->name);
    if (can_go_back && schema != 1)
        cr_expect_str_eq(written(&back), row->files_back, "%s, back:\nexpected %s\ngot      %s",
                         row->name, row->files_back, written(&back));
}

Test(change, files)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i], RECORD_SCHEMA);
}

/* Which names no files: what may be set follows from its containers. */
Test(change, files_of_schema_1)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i], 1);
}

/* The device list to go back to is that of the containers that were there. */
Test(change, devices)
{
    static const char *const alone[MAX_CONTAINERS] = {
        "{'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':200,'minor':1,"
        "'access':'rwm'}]}"};
    static const char *const two[MAX_CONTAINERS] = {
        "{'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':200,'minor':1,"
        "'access':'rwm'}]}",
        "{'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':201,'minor':1,"
        "'access':'rwm'}]}"};
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    const struct record before = make_record(alone), after = make_record(two);
    const struct plan_basis basis = change_basis(&settings, &facts, false, true, &before, &arena);
    struct plan_warnings warnings = {0};
    const struct plan_limits limits = limits_of(&basis, &after, &warnings);
    struct plan_limits back, untouched = limits;

    cr_assert(change_back(&basis, &limits, &before, &arena, &back));
    cr_expect(dev_table_allows(&limits.sandbox.devices, 'c', 201, 1, CG_DEV_R));
    cr_expect(back.sandbox.has_devices);
    cr_expect_not(dev_table_allows(&back.sandbox.devices, 'c', 201, 1, CG_DEV_R));
    cr_expect(dev_table_allows(&back.sandbox.devices, 'c', 200, 1, CG_DEV_R));
    /* One that was not to change may have more in it than anybody asks for, and stays. */
    untouched.sandbox.has_devices = false;
    cr_assert(change_back(&basis, &untouched, &before, &arena, &back));
    cr_expect_not(back.sandbox.has_devices);
}

/* "NAME=VALUE; " for each. */
static const char *told(const struct plan_limits *limits)
{
    const struct cg_change change = plan_change(&limits->sandbox, &arena);
    const char *all = "";

    for (size_t i = 0; i < change.properties.count; i++)
        all = arena_printf(&arena, "%s%s=%s; ", all, change.properties.items[i].name,
                           cg_property_text(&change.properties.items[i], &arena));
    return all;
}

/* A list that is left alone is none that systemd is told: it would write what it is told into the cgroup. */
Test(change, devices_that_systemd_is_told)
{
    static const char *const alone[MAX_CONTAINERS] = {
        "{'pids':{'limit':5},'devices':[{'allow':true,'access':'rwm'}]}"};
    const char *const two[MAX_CONTAINERS] = {alone[0], alone[0]};
    const struct settings settings = {0};

    for (enum cg_mode mode = CG_MODE_V1; mode <= CG_MODE_V2; mode++) {
        const struct facts facts = {.mode = mode};
        const struct record before = make_record(alone), after = make_record(two);
        const struct plan_basis basis =
            change_basis(&settings, &facts, true, true, &before, &arena);
        struct plan_warnings warnings = {0};
        struct plan_limits limits = limits_of(&basis, &after, &warnings), back;

        cr_assert(change_back(&basis, &limits, &before, &arena, &back));
        cr_expect_str_eq(told(&limits), "TasksMax=10; DeviceAllow=; DevicePolicy=auto; ");
        cr_expect_str_eq(told(&back), "TasksMax=5; DeviceAllow=; DevicePolicy=auto; ");
        plan_leave_devices(&limits, &arena);
        cr_expect_not(limits.sandbox.has_devices);
        cr_expect_str_eq(told(&limits), "TasksMax=10; ");
        cr_expect_str_eq(written(&limits), "pids.max=10");
        cr_assert(change_back(&basis, &limits, &before, &arena, &back));
        cr_expect_not(back.sandbox.has_devices);
        cr_expect_str_eq(told(&back), "TasksMax=5; ");
    }
}

/* What add-device and remove-device have said holds whatever the containers are, and is gone back to, too. */
Test(change, devices_by_hand)
{
    static const char *const alone[MAX_CONTAINERS] = {
        "{'devices':[{'allow':true,'type':'c','major':200,'minor':1,'access':'rwm'}]}"};
    const char *const two[MAX_CONTAINERS] = {
        alone[0], "{'devices':[{'allow':true,'type':'c','major':201,'access':'rwm'}]}"};
    const struct cg_dev_rules asked =
        dev_make_rules(&arena, "+c 202:1 r, -c 200:1 w, -c 201:3 rwm");
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    struct record before = make_record(alone), after = make_record(two);
    struct plan_basis basis;
    struct plan_warnings warnings = {0};
    struct plan_limits limits, back;

    before.devices = device_list_words(&asked, &arena);
    basis = change_basis(&settings, &facts, false, true, &before, &arena);
    cr_expect_str_eq(dev_rules_text(&arena, &basis.asked), dev_rules_text(&arena, &asked));
    limits = limits_of(&basis, &after, &warnings);
    cr_expect(dev_table_allows(&limits.sandbox.devices, 'c', 202, 1, CG_DEV_R));
    cr_expect(dev_table_allows(&limits.sandbox.devices, 'c', 200, 1, CG_DEV_R));
    cr_expect_not(dev_table_allows(&limits.sandbox.devices, 'c', 200, 1, CG_DEV_W));
    cr_expect(dev_table_allows(&limits.sandbox.devices, 'c', 201, 4, CG_DEV_RWM));
    cr_expect_not(dev_table_allows(&limits.sandbox.devices, 'c', 201, 3, CG_DEV_R));
    cr_assert(change_back(&basis, &limits, &before, &arena, &back));
    cr_expect(dev_table_allows(&back.sandbox.devices, 'c', 202, 1, CG_DEV_R));
    cr_expect_not(dev_table_allows(&back.sandbox.devices, 'c', 200, 1, CG_DEV_W));
    cr_expect_not(dev_table_allows(&back.sandbox.devices, 'c', 201, 4, CG_DEV_R));
}

/* On v1 a container may ask for more than what is denied can be said beside. */
Test(change, devices_by_hand_beside_a_wider_rule)
{
    static const char *const wide[MAX_CONTAINERS] = {
        "{'devices':[{'allow':true,'type':'c','major':201,'access':'rwm'}]}"};
    const struct cg_dev_rules asked = dev_make_rules(&arena, "-c 201:3 rwm");
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V1};
    struct record r = make_record(wide);
    struct plan_basis basis;
    struct plan_warnings warnings = {0};
    struct plan_limits limits;
    struct err e = ERR_INIT;

    r.devices = device_list_words(&asked, &arena);
    basis = change_basis(&settings, &facts, false, true, &r, &arena);
    limits = limits_of(&basis, &r, &warnings);
    cr_expect_not(limits.sandbox.has_devices);
    cr_assert(limits.kept_devices);
    basis.may_keep_devices = false;
    cr_expect_eq(plan_limits(&basis, change_members(&r.containers, r.sandbox_id, &arena), 1, &arena,
                             &limits, &warnings, &e),
                 -ENOTSUP);
    cr_expect(strstr(e.text,
                     "; or take back what was said of this sandbox, by add-device \"c 201:3 rwm\""),
              "%s", e.text);
    cr_expect(e.bad_input && !strchr(e.text, '\n'), "%s", e.text);
    basis.asked.count = 0;
    cr_expect_eq(plan_limits(&basis, change_members(&r.containers, r.sandbox_id, &arena), 1, &arena,
                             &limits, &warnings, NULL),
                 0);
}

/* Which rule it is that is to be taken back; where there is none, nobody is sent to take one back. */
Test(change, what_to_take_back)
{
    static const struct {
        const char *devices, *asked, *want; /* NULL: none */
    } cases[] = {
        {"{'allow':true,'type':'c','major':201,'access':'rw'}",
         "+c 202:1 r, -c 201:3 rw, +c 203:1 r", "by add-device \"c 201:3 rw\""},
        {"{'allow':true,'access':'rwm'},{'allow':false,'type':'c','major':50,'access':'rwm'}",
         "+c 50:5 r", "by remove-device \"c 50:5 r\""},
        {"{'allow':true,'type':'c','major':201,'access':'rw'},"
         "{'allow':false,'type':'c','major':201,'minor':4,'access':'w'}",
         "+c 202:1 r, -c 201:3 rw", NULL},
    };
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V1};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *const lone[MAX_CONTAINERS] = {
            arena_printf(&arena, "{'devices':[%s]}", cases[i].devices)};
        struct record r = make_record(lone);
        struct plan_basis basis;
        struct plan_warnings warnings = {0};
        struct plan_limits limits;
        struct err e = ERR_INIT;
        const struct cg_dev_rules asked = dev_make_rules(&arena, cases[i].asked);

        r.devices = device_list_words(&asked, &arena);
        basis = change_basis(&settings, &facts, false, true, &r, &arena);
        basis.may_keep_devices = false;
        cr_expect_eq(plan_limits(&basis, change_members(&r.containers, r.sandbox_id, &arena), 1,
                                 &arena, &limits, &warnings, &e),
                     -ENOTSUP);
        cr_expect(cases[i].want ? strstr(e.text, cases[i].want) != NULL
                                : strstr(e.text, "take back") == NULL,
                  "row %zu: %s", i, e.text);
    }
}

/* Rules on this many majors, or minors, alone; more of both than can be said. */
static const char *many_devices(bool majors)
{
    char *text = arena_strdup(&arena, "{'devices':[{'allow':false,'access':'rwm'}");

    for (int n = 0; n < 300; n++)
        text = arena_printf(&arena, "%s,{'allow':true,'type':'c','%s':%d,'access':'rwm'}", text,
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
    const struct record before = make_record(two), after = make_record(alone);
    const struct plan_basis basis = change_basis(&settings, &facts, false, true, &before, &arena);
    struct plan_warnings warnings = {0};
    const struct plan_limits limits = limits_of(&basis, &after, &warnings);
    struct plan_limits back;

    cr_assert(change_back(&basis, &limits, &before, &arena, &back));
    cr_expect(limits.sandbox.has_devices);
    cr_expect_not(back.sandbox.has_devices);
    cr_expect_str_eq(written(&limits), "pids.max=5");
    cr_expect_str_eq(written(&back), "pids.max=11");
}

/* A limit that cannot be taken away is said, once. */
Test(change, warns)
{
    static const char *const before_texts[MAX_CONTAINERS] = {"{'unified':{'memory.future':'7'}}"};
    static const char *const nobody[MAX_CONTAINERS] = {NULL};
    const struct settings settings = {0};
    const struct facts facts = {.mode = CG_MODE_V2};
    struct record before = make_record(before_texts), after = make_record(nobody);
    struct plan_warnings warnings = {0};
    struct plan_limits limits;

    before.schema.value = 1;
    const struct plan_basis basis = change_basis(&settings, &facts, false, true, &before, &arena);

    limits = limits_of(&basis, &after, &warnings);
    cr_assert_eq(warnings.count, 1);
    cr_expect(strstr(warnings.items[0], "memory.future"), "%s", warnings.items[0]);
    cr_expect_str_eq(written(&limits), "");
}

static const char *recorded(const struct json_list *files)
{
    const char *all = "";

    for (size_t i = 0; i < files->count; i++)
        all = arena_printf(&arena, "%s%s=%s; ", all, JSON_AT(*files, struct json_pair, i).key,
                           JSON_AT(*files, struct json_pair, i).value);
    return all;
}

/* Files that are to be taken away stay in the record until they are. */
Test(change, note_and_settle)
{
    static const char *const lone[MAX_CONTAINERS] = {BLKIO};
    static const char *const two[MAX_CONTAINERS] = {BLKIO, PIDS(5)};
    const struct oci_resources *overhead = kit_resources(&arena, QUOTA(7000));
    const struct settings settings = {.overhead_limits = overhead};
    const struct facts facts = {.mode = CG_MODE_V1};
    const struct record first = make_record(lone), both = make_record(two);
    struct plan_basis basis = change_basis(&settings, &facts, false, false, NULL, &arena);
    struct plan_warnings warnings = {0};
    struct record r = first;
    struct plan_limits limits = limits_of(&basis, &first, &warnings);

    change_note(&basis, &limits, &arena, &r);
    cr_expect_str_eq(recorded(&r.sandbox_files), "blkio.throttle.read_bps_device=8:0 28; ",
                     "and nothing of the overhead's");
    cr_expect_not(change_settle(&limits, &arena, &r));
    basis = change_basis(&settings, &facts, false, false, &r, &arena);
    limits = limits_of(&basis, &both, &warnings);
    change_note(&basis, &limits, &arena, &r);
    cr_expect_str_eq(recorded(&r.sandbox_files),
                     "pids.max=max; blkio.throttle.read_bps_device=8:0 28; ");
    cr_expect(change_settle(&limits, &arena, &r));
    cr_expect_str_eq(recorded(&r.sandbox_files), "pids.max=max; ");
}
