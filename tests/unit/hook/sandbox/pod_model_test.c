/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A pod whose containers come, go, die and whose stages are killed in the middle, at random: after
 * each stage that was not killed the cgroup must be as a new one would be with the limits of the
 * containers that live. The cgroup is a model: what its files say, what they say when it is new,
 * and what the kernel refuses.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/change.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>

/* --- the model of a cgroup --- */

/* What the kernel's files say in a new cgroup; "*" is the parent's. All others are empty. */
static const struct {
    const char *file, *text;
} fresh[] = {
    {"cpu.shares", "1024"},
    {"cpu.cfs_quota_us", "-1"},
    {"cpu.cfs_period_us", "100000"},
    {"cpu.cfs_burst_us", "0"},
    {"cpu.rt_runtime_us", "0"},
    {"cpu.rt_period_us", "1000000"},
    {"cpu.idle", "0"},
    {"cpuset.cpus", "*"},
    {"cpuset.mems", "*"},
    {"memory.limit_in_bytes", "-1"},
    {"memory.memsw.limit_in_bytes", "-1"},
    {"memory.soft_limit_in_bytes", "-1"},
    {"memory.swappiness", "*"},
    {"memory.oom_control", "0"},
    {"net_cls.classid", "*"},
    {"net_prio.ifpriomap", "*"},
    {"blkio.weight", "500"},
    {"blkio.bfq.weight", "100"},
    {"cpu.weight", "100"},
    {"cpu.max", "max 100000"},
    {"cpu.max.burst", "0"},
    {"memory.max", "max"},
    {"memory.swap.max", "max"},
    {"memory.low", "0"},
    {"memory.high", "max"},
    {"io.weight", "100"},
    {"io.bfq.weight", "100"},
    {"pids.max", "max"},
    {"hugetlb.2MB.limit_in_bytes", "-1"},
    {"hugetlb.2MB.rsvd.limit_in_bytes", "-1"},
    {"hugetlb.2MB.max", "max"},
    {"hugetlb.2MB.rsvd.max", "max"},
};

struct value {
    const char *file, *key; /* key: "" or a device, with one of its settings on v2 */
    const char *text;
};

struct model {
    struct arena *a;
    struct value *items;
    size_t count;
};

static const char *fresh_text(const char *file, const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(fresh) && !*key; i++) {
        if (str_eq(fresh[i].file, file))
            return fresh[i].text;
    }
    return "";
}

static const char *model_get(const struct model *m, const char *file, const char *key)
{
    for (size_t i = 0; i < m->count; i++) {
        if (str_eq(m->items[i].file, file) && str_eq(m->items[i].key, key))
            return m->items[i].text;
    }
    return fresh_text(file, key);
}

static void model_set(struct model *m, const char *file, const char *key, const char *text)
{
    for (size_t i = 0; i < m->count; i++) {
        if (str_eq(m->items[i].file, file) && str_eq(m->items[i].key, key)) {
            m->items[i].text = text;
            return;
        }
    }
    *(struct value *)arena_push(m->a, &m->items, &m->count, sizeof(struct value)) =
        (struct value){file, key, text};
}

/* "8:0 100", "8:0 rbps=1 wbps=2" */
static void write_device(struct model *m, const char *file, char *line)
{
    char *cursor = line, *device = str_next(&cursor, ' '), *field;

    while ((field = str_next(&cursor, ' '))) {
        char *equals = strchr(field, '=');
        const char *key = device, *text = field;

        if (equals) {
            key = arena_printf(m->a, "%s %.*s", device, (int)(equals - field), field);
            text = equals + 1;
        }
        /* How the kernel is told to forget one. */
        if (str_eq(text, "max") || str_eq(text, "default") || str_eq(text, "0"))
            text = "";
        model_set(m, file, key, text);
    }
}

static bool is_share(const char *file)
{
    return str_eq(file, "cpu.shares") || str_eq(file, "cpu.weight");
}

/* sched_group_set_shares(): an idle group has none, and gets none. */
static bool model_refuses(const struct model *m, const struct cg_file *f)
{
    return is_share(f->file) && str_eq(model_get(m, "cpu.idle", ""), "1");
}

/* sched_group_set_idle(): it begins anew. */
static void drop_shares(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (is_share(m->items[i].file))
            m->items[i].text = fresh_text(m->items[i].file, "");
    }
}

static void model_write(struct model *m, const struct cg_file *f)
{
    char *cursor = arena_strdup(m->a, f->text), *line;

    if (model_refuses(m, f))
        return;
    if (str_eq(f->file, "cpu.idle") && !str_eq(f->text, model_get(m, f->file, "")))
        drop_shares(m);

    if (f->flags & CG_FILE_INHERIT) {
        model_set(m, f->file, "", "*");
        return;
    }
    while ((line = str_next(&cursor, '\n'))) {
        char *space = strchr(line, ' ');

        if (f->flags & CG_FILE_LINES && space && strchr(line, ':') && strchr(line, ':') < space)
            write_device(m, f->file, line);
        else if (str_eq(line, "9223372036854775807")) /* more than there can be: no limit */
            model_set(m, f->file, "", fresh_text(f->file, ""));
        else
            model_set(m, f->file, "", line);
    }
}

/* What @a has set is the same in @b. */
static bool covers(const struct model *a, const struct model *b, const struct value **ret_bad)
{
    for (size_t i = 0; i < a->count; i++) {
        *ret_bad = &a->items[i];
        if (!str_eq(a->items[i].text, model_get(b, a->items[i].file, a->items[i].key)))
            return false;
    }
    return true;
}

/* --- the pod --- */

static const char *const pool[] = {
    "{}",
    "{}",
    "{'pids':{'limit':10}}",
    "{'cpu':{'quota':20000},'pids':{'limit':5}}",
    "{'cpu':{'quota':20000,'period':50000,'shares':512}}",
    "{'cpu':{'shares':2048,'cpus':'0-1'}}",
    "{'cpu':{'cpus':'1','mems':'0'},'memory':{'limit':4096}}",
    "{'memory':{'limit':8192,'swap':16384,'reservation':4096}}",
    "{'memory':{'limit':8192,'swap':8192},'pids':{'limit':4194304}}",
    "{'memory':{'limit':0,'reservation':0}}",
    "{'cpu':{'idle':1,'burst':5,'quota':10000}}",
    "{'cpu':{'idle':1,'shares':512}}",
    "{'blockIO':{'weight':200,'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':5}]}}",
    ("{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':16,'rate':6}],"
     "'throttleWriteIOPSDevice':[{'major':8,'minor':0,'rate':7}]}}"),
    "{'blockIO':{'weight':300,'weightDevice':[{'major':8,'minor':0,'weight':400}]}}",
    "{'hugepageLimits':[{'pageSize':'2MB','limit':4194304}],'cpu':{'shares':4}}",
};
static const char *const v1_pool[] = {
    "{'memory':{'swappiness':10,'disableOOMKiller':true},'network':{'classID':7}}",
    "{'cpu':{'realtimeRuntime':900,'realtimePeriod':5000}}",
};
static const char *const v2_pool[] = {
    "{'unified':{'memory.high':'5','io.max':'8:0 rbps=9 wiops=3'}}",
    "{'unified':{'cpu.max':'7000 100000'},'pids':{'limit':3}}",
};

struct pod {
    struct arena *a;
    bool v2;
    struct model cgroup;
    struct record record; /* its containers and files; the pod is begun with "0" */
    const char *story;
};

#define CONTAINER(list, i) JSON_AT(list, struct record_container, i)

/* There are no processes here; this stands for one that has ended. */
static bool is_dead(const struct record_container *c)
{
    return c->bundle != NULL;
}

static void die(struct pod *p, char id)
{
    for (size_t i = 0; i < p->record.containers.count; i++) {
        if (CONTAINER(p->record.containers, i).id[0] == id)
            CONTAINER(p->record.containers, i).bundle = CONTAINER(p->record.containers, i).id;
    }
}

static struct oci_resources *random_resources(const struct pod *p)
{
    const char *const *more = p->v2 ? v2_pool : v1_pool;
    uint32_t n = dev_random_below(ARRAY_SIZE(pool) + 2);
    char *json = arena_strdup(p->a, n < ARRAY_SIZE(pool) ? pool[n] : more[n - ARRAY_SIZE(pool)]);
    struct oci_resources *r = arena_alloc(p->a, sizeof *r);
    const struct json_doc doc = {.table = &oci_resources_table, .dest = r};
    struct err e = ERR_INIT;

    for (char *q = json; *q; q++) {
        if (*q == '\'')
            *q = '"';
    }
    cr_assert_eq(json_read_text(json, strlen(json), &doc, 1, 0, "pool", p->a, &e), 1, "%s", e.text);
    return r;
}

static void push(const struct pod *p, struct json_list *list, struct record_container c)
{
    *(struct record_container *)arena_push(p->a, &list->items, &list->count, sizeof c) = c;
}

/* Those of the record but @id, and dead predecessors of it; @alive: only those that live. */
static struct json_list others(const struct pod *p, char id, bool alive)
{
    struct json_list list = {0};

    for (size_t i = 0; i < p->record.containers.count; i++) {
        const struct record_container *c = &CONTAINER(p->record.containers, i);

        if (is_dead(c) ? !alive : c->id[0] != id)
            push(p, &list, *c);
    }
    return list;
}

static void expect_as_new(const struct pod *p, const struct cg_files *files)
{
    struct model want = {.a = p->a};
    const struct value *bad;

    for (size_t i = 0; i < files->count; i++)
        model_write(&want, &files->items[i]);
    cr_assert(covers(&p->cgroup, &want, &bad), "%s\n%s %s is \"%s\", expected \"%s\"", p->story,
              bad->file, bad->key, bad->text, model_get(&want, bad->file, bad->key));
    cr_assert(covers(&want, &p->cgroup, &bad), "%s\n%s %s is \"%s\", expected \"%s\"", p->story,
              bad->file, bad->key, model_get(&p->cgroup, bad->file, bad->key), bad->text);
}

enum fate { DONE, KILLED, FAILED };

/* From what the record names to @after; killed or failing after so many files. @before is the
 * record to go back to. */
static enum fate change(struct pod *p, const struct record *before, const struct json_list *after)
{
    const struct settings settings = {0};
    const struct facts facts = {.mode = p->v2 ? CG_MODE_V2 : CG_MODE_V1};
    const struct plan_basis basis = change_basis(&settings, &facts, false, true, before, p->a);
    enum fate fate = dev_random_below(4) ? DONE : dev_random_below(2) ? KILLED : FAILED;
    struct plan_warnings warnings = {0};
    struct plan_limits limits, old;
    struct err e = ERR_INIT;
    struct cg_files files;
    size_t n;

    cr_assert_eq(plan_limits(&basis, change_members(after, "0", p->a), after->count, p->a, &limits,
                             &warnings, &e),
                 0, "%s\n%s", p->story, e.text);
    change_note(&basis, &limits, p->a, &p->record);
    if (fate == FAILED && !change_back(&basis, &limits, before, p->a, &old))
        fate = DONE;
    files = plan_change(&limits.sandbox, p->a).files;
    n = fate == DONE ? files.count : dev_random_below((uint32_t)files.count + 1);
    for (size_t i = 0; i < n; i++) {
        cr_assert_not(model_refuses(&p->cgroup, &files.items[i]), "%s\n%s is refused", p->story,
                      files.items[i].file);
        model_write(&p->cgroup, &files.items[i]);
    }
    if (fate == FAILED)
        files = plan_change(&old.sandbox, p->a).files;
    for (size_t i = 0; fate == FAILED && i < files.count; i++)
        model_write(&p->cgroup, &files.items[i]);
    p->story = arena_printf(p->a, "%s%s", p->story,
                            fate == KILLED   ? "(killed)"
                            : fate == FAILED ? "(failed)"
                                             : "");
    if (fate == DONE) {
        expect_as_new(p, &limits.sandbox.files);
        p->record.containers = *after;
        change_settle(&limits, p->a, &p->record);
    }
    return fate;
}

static void destroy(struct pod *p)
{
    p->record =
        (struct record){.schema = {true, RECORD_SCHEMA}, .sandbox_id = p->record.sandbox_id};
    p->cgroup = (struct model){.a = p->a};
}

/* What setup does with the record. */
static void join(struct pod *p, char id)
{
    struct record_container mine = {.resources = random_resources(p)};
    struct json_list live = others(p, id, true), rest, all = {0}, alive = {0};
    struct record before;

    if (live.count == 0)
        destroy(p);
    mine.id = arena_printf(p->a, "%c", id);
    before = p->record;
    rest = others(p, id, false);
    push(p, &all, mine);
    push(p, &alive, mine);
    for (size_t i = 0; i < rest.count; i++)
        push(p, &all, CONTAINER(rest, i));
    for (size_t i = 0; i < live.count; i++)
        push(p, &alive, CONTAINER(live, i));
    p->record.containers = all;
    if (change(p, &before, &alive) == FAILED)
        p->record.containers = before.containers;
}

static void leave(struct pod *p, char id)
{
    const struct json_list alive = others(p, id, true);
    struct record before;

    die(p, id);
    before = p->record;
    if (alive.count == 0)
        destroy(p);
    else
        change(p, &before, &alive);
}

static void step(struct pod *p)
{
    char id = (char)('0' + dev_random_below(5));
    bool member = false;

    for (size_t i = 0; i < p->record.containers.count; i++)
        member = member || (CONTAINER(p->record.containers, i).id[0] == id &&
                            !is_dead(&CONTAINER(p->record.containers, i)));
    if (!member) {
        p->story = arena_printf(p->a, "%s +%c", p->story, id);
        join(p, id);
    } else if (dev_random_below(3)) {
        p->story = arena_printf(p->a, "%s -%c", p->story, id);
        leave(p, id);
    } else {
        p->story = arena_printf(p->a, "%s x%c", p->story, id);
        die(p, id);
    }
}

static void check_pods(bool v2)
{
    for (uint32_t seed = 1; seed <= 1500; seed++) {
        autoarena a = ARENA_INIT;
        struct pod p = {.a = &a, .v2 = v2, .record = {.sandbox_id = arena_strdup(&a, "0")}};

        destroy(&p);
        p.story = arena_printf(&a, "seed %u:", seed);
        dev_random_state = seed * 2654435761u + 1;
        for (int i = 0; i < 8; i++)
            (void)dev_random_below(2);
        for (int i = 0; i < 25; i++)
            step(&p);
    }
}

Test(pod_model, v1)
{
    check_pods(false);
}

Test(pod_model, v2)
{
    check_pods(true);
}
