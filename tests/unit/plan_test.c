/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

/* --- a decision from text --- */

/* JSON of the rows has ' for the double quote. */
static char *make_json(struct arena *a, const char *text)
{
    char *json = arena_strdup(a, text);

    for (char *p = json; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    return json;
}

static void read_row(struct arena *a, const char *text, const struct json_table *table, void *dest)
{
    const struct json_doc doc = {.table = table, .dest = dest};
    char *json = make_json(a, text);
    struct err e = ERR_INIT;

    cr_assert_eq(json_read_text(json, strlen(json), &doc, 1, 0, "row", a, &e), 1, "%s: %s", json,
                 e.text);
}

static void read_hook(struct arena *a, const char *text, struct settings *ret)
{
    autofd fd = memfd_create("config.json", MFD_CLOEXEC);
    char *json = make_json(a, text), path[64];
    struct err e = ERR_INIT;

    cr_assert(fd >= 0 && write(fd, json, strlen(json)) == (ssize_t)strlen(json));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cr_assert_eq(settings_read(path, true, a, ret, &e), 0, "%s: %s", text, e.text);
}

/* A host with everything but /dev/mshv and /dev/iommu. */
static struct device_node usual_nodes[] = {
    {"/dev/null", true, 'c', 1, 3},
    {"/dev/random", true, 'c', 1, 8},
    {"/dev/full", true, 'c', 1, 7},
    {"/dev/tty", true, 'c', 5, 0},
    {"/dev/zero", true, 'c', 1, 5},
    {"/dev/urandom", true, 'c', 1, 9},
    {"/dev/console", true, 'c', 5, 1},
    {"/dev/loop-control", true, 'c', 10, 237},
    {"/dev/kvm", true, 'c', 10, 232},
    {"/dev/mshv", false, 0, 0, 0},
    {"/dev/vhost-net", true, 'c', 10, 238},
    {"/dev/vfio/vfio", true, 'c', 10, 196},
    {"/dev/vhost-vsock", true, 'c', 10, 241},
    {"/dev/sda", true, 'b', 8, 0},
    {"/dev/gone", false, 0, 0, 0},
};

/* One without virtualisation, and without most of the rest. */
static struct device_node few_nodes[] = {
    {"/dev/null", true, 'c', 1, 3},
    {"/dev/tty", false, 'c', 5, 0},
    {"/dev/kvm", false, 'c', 10, 232},
};

static struct device_node mshv_nodes[] = {
    {"/dev/kvm", false, 'c', 10, 232},
    {"/dev/mshv", true, 'c', 10, 120},
    {"/dev/iommu", true, 'c', 10, 121},
};

static struct device_node kvm_node[] = {{"/dev/kvm", true, 'c', 10, 232}};

enum nodes { USUAL, FEW, MSHV, KVM_ALONE, NO_NODES };

struct given {
    enum stage stage; /* STAGE_NONE: prestart */
    enum cg_mode mode;
    const char *state;    /* members of the state beside its id; NULL: none */
    const char *id;       /* NULL: c1 */
    const char *config;   /* NULL: {} */
    const char *settings; /* NULL: {} */
    struct json_bool argument;
    enum nodes nodes;
    bool no_config;
    const char *others[2]; /* resources */
};

struct made {
    struct arena arena;
    struct oci_state state;
    struct oci_config config;
    struct settings settings;
    struct facts facts;
    const struct oci_resources *others[2];
    struct plan_input in;
    struct plan plan;
    struct err e;
    int r;
};

static void made_free(struct made *m)
{
    arena_free(&m->arena);
}

#define MADE __attribute__((cleanup(made_free))) struct made

static struct facts facts_of(enum cg_mode mode, enum nodes nodes)
{
    static const struct {
        struct device_node *items;
        size_t count;
    } lists[] = {
        [USUAL] = {usual_nodes, ARRAY_SIZE(usual_nodes)},
        [FEW] = {few_nodes, ARRAY_SIZE(few_nodes)},
        [MSHV] = {mshv_nodes, ARRAY_SIZE(mshv_nodes)},
        [KVM_ALONE] = {kvm_node, ARRAY_SIZE(kvm_node)},
        [NO_NODES] = {NULL, 0},
    };

    return (struct facts){
        .mode = mode, .nodes = lists[nodes].items, .node_count = lists[nodes].count};
}

static void prepare(struct made *m, const struct given *g)
{
    struct arena *a = &m->arena;

    *m = (struct made){.facts = facts_of(g->mode, g->nodes)};
    read_row(a, arena_printf(a, "{%s}", g->state ? g->state : ""), &oci_state_table, &m->state);
    m->state.id = arena_strdup(a, g->id ? g->id : "c1");
    read_row(a, g->config ? g->config : "{}", &oci_config_table, &m->config);
    read_hook(a, g->settings ? g->settings : "{}", &m->settings);
    m->in = (struct plan_input){
        .stage = g->stage == STAGE_NONE ? STAGE_PRESTART : g->stage,
        .state = &m->state,
        .config = g->no_config ? NULL : &m->config,
        .settings = &m->settings,
        .only_argument = g->argument,
        .facts = &m->facts,
        .others = m->others,
    };
    for (; m->in.other_count < 2 && g->others[m->in.other_count]; m->in.other_count++) {
        struct oci_resources *r = arena_alloc(a, sizeof *r);

        read_row(a, g->others[m->in.other_count], &oci_resources_table, r);
        m->others[m->in.other_count] = r;
    }
    memset(&m->plan, 0x5a, sizeof m->plan);
}

static void make(struct made *m, const struct given *g)
{
    prepare(m, g);
    m->r = plan_make(&m->in, &m->arena, &m->plan, &m->e);
}

static const char *show(struct made *m, const struct given *g)
{
    return arena_printf(&m->arena, "%s %s, state {%s}, config %s, hook %s, argument %s",
                        cg_mode_name(g->mode), stage_name(m->in.stage), g->state ? g->state : "",
                        g->config ? g->config : "{}", g->settings ? g->settings : "{}",
                        !g->argument.set    ? "none"
                        : g->argument.value ? "true"
                                            : "false");
}

static const char *or_null(const char *text)
{
    return text ? text : "NULL";
}

#define ONLY ((struct json_bool){true, true})

#define NESTED "{'layout':'nested'}"

/* --- paths --- */

#define CRI(type)                                                                                  \
    "'annotations':{'io.kubernetes.cri.container-type':'" type                                     \
    "','io.kubernetes.cri.sandbox-id':'s1'}"

#define SINGLE    NULL
#define SANDBOX   CRI("sandbox")
#define CONTAINER CRI("container")

#define CGROUPS_PATH(path) "{'linux':{'cgroupsPath':'" path "'}}"

/* Whatever the mode: where the sandbox is. On v1, without only: where the overhead is. */
static const struct {
    const char *state, *config, *settings;
    const char *sandbox, *parent, *unit;
    const char *v1_overhead, *v1_overhead_unit;
} places[] = {
    /* absolute */
    {SINGLE, CGROUPS_PATH("/kubepods/pod1/c1"), NULL, "/kubepods/pod1/kata_c1", "/kubepods/pod1",
     NULL, "/kata_overhead/c1", NULL},
    {SANDBOX, CGROUPS_PATH("/kubepods/pod1/c1"), NULL, "/kubepods/pod1/kata_s1", "/kubepods/pod1",
     NULL, "/kata_overhead/s1", NULL},
    {CONTAINER, CGROUPS_PATH("/kubepods/pod1/c1"), NULL, "/kubepods/pod1/kata_s1", "/kubepods/pod1",
     NULL, "/kata_overhead/s1", NULL},
    {SINGLE, CGROUPS_PATH("/x"), NULL, "/kata_x", "/", NULL, "/kata_overhead/c1", NULL},
    {CONTAINER, CGROUPS_PATH("/x"), NULL, "/kata_s1", "/", NULL, "/kata_overhead/s1", NULL},
    {SINGLE, CGROUPS_PATH("//a/./b/"), NULL, "/a/kata_b", "/a", NULL, "/kata_overhead/c1", NULL},
    {SINGLE, CGROUPS_PATH("/a:b:c"), NULL, "/kata_a:b:c", "/", NULL, "/kata_overhead/c1", NULL},
    /* relative */
    {SINGLE, CGROUPS_PATH("b"), NULL, "/vc/kata_b", "/vc", NULL, "/kata_overhead/c1", NULL},
    {SINGLE, CGROUPS_PATH("a/b"), NULL, "/vc/a/kata_b", "/vc/a", NULL, "/kata_overhead/c1", NULL},
    {SANDBOX, CGROUPS_PATH("a/b"), NULL, "/vc/a/kata_s1", "/vc/a", NULL, "/kata_overhead/s1", NULL},
    {CONTAINER, CGROUPS_PATH("a/b"), NULL, "/vc/a/kata_s1", "/vc/a", NULL, "/kata_overhead/s1",
     NULL},
    {SINGLE, CGROUPS_PATH("no:slice:here"), NULL, "/vc/kata_no:slice:here", "/vc", NULL,
     "/kata_overhead/c1", NULL},
    /* empty and missing: never one shared name */
    {SINGLE, CGROUPS_PATH(""), NULL, "/vc/kata_c1", "/vc", NULL, "/kata_overhead/c1", NULL},
    {SINGLE, "{'linux':{}}", NULL, "/vc/kata_c1", "/vc", NULL, "/kata_overhead/c1", NULL},
    {SINGLE, "{}", NULL, "/vc/kata_c1", "/vc", NULL, "/kata_overhead/c1", NULL},
    {SANDBOX, CGROUPS_PATH(""), NULL, "/vc/kata_s1", "/vc", NULL, "/kata_overhead/s1", NULL},
    {CONTAINER, "{}", NULL, "/vc/kata_s1", "/vc", NULL, "/kata_overhead/s1", NULL},
    /* systemd */
    {SINGLE, CGROUPS_PATH("a-b.slice:pre:nm"), NULL, "/a.slice/a-b.slice/pre-kata_nm.scope",
     "/a.slice/a-b.slice", "pre-kata_nm.scope",
     "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope", "kata-overhead-c1.scope"},
    {SANDBOX, CGROUPS_PATH("a-b.slice:pre:nm"), NULL, "/a.slice/a-b.slice/pre-kata_s1.scope",
     "/a.slice/a-b.slice", "pre-kata_s1.scope",
     "/kata.slice/kata-overhead.slice/kata-overhead-s1.scope", "kata-overhead-s1.scope"},
    {CONTAINER, CGROUPS_PATH("a-b.slice:pre:nm"), NULL, "/a.slice/a-b.slice/pre-kata_s1.scope",
     "/a.slice/a-b.slice", "pre-kata_s1.scope",
     "/kata.slice/kata-overhead.slice/kata-overhead-s1.scope", "kata-overhead-s1.scope"},
    {SINGLE, CGROUPS_PATH(":pre:nm"), NULL, "/system.slice/pre-kata_nm.scope", "/system.slice",
     "pre-kata_nm.scope", "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope",
     "kata-overhead-c1.scope"},
    {SINGLE, CGROUPS_PATH("x.slice::nm"), NULL, "/x.slice/kata_nm.scope", "/x.slice",
     "kata_nm.scope", "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope",
     "kata-overhead-c1.scope"},
    {SINGLE, CGROUPS_PATH("-.slice:p:n"), NULL, "/p-kata_n.scope", "/", "p-kata_n.scope",
     "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope", "kata-overhead-c1.scope"},
    {SINGLE, CGROUPS_PATH("x.slice:p q:n@m"), NULL, "/x.slice/p\\x20q-kata_n\\x40m.scope",
     "/x.slice", "p\\x20q-kata_n\\x40m.scope",
     "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope", "kata-overhead-c1.scope"},
    /* configured names */
    {SINGLE, CGROUPS_PATH("/k/c"), "{'prefix':'p-','overhead_parent':'/x/y'}", "/k/p-c", "/k", NULL,
     "/x/y/c1", NULL},
    {CONTAINER, CGROUPS_PATH("/k/c"), "{'prefix':'p-','overhead_parent':'/x/y'}", "/k/p-s1", "/k",
     NULL, "/x/y/s1", NULL},
    {SINGLE, CGROUPS_PATH("x.slice:p:n"), "{'prefix':'p-','overhead_parent':'/x/y'}",
     "/x.slice/p-p-n.scope", "/x.slice", "p-p-n.scope",
     "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope", "kata-overhead-c1.scope"},
};

static void expect_place(const struct given *g, const char *const *want)
{
    static const char *const what[] = {"sandbox_path", "vcpu_path",    "overhead_path",
                                       "parent_path",  "sandbox_unit", "overhead_unit"};
    MADE m, place;

    make(&m, g);
    prepare(&place, g);
    place.r = plan_place(&place.in, &place.arena, &place.plan, &place.e);
    cr_expect(m.r == 0 && place.r == 0 && m.e.code == 0,
              "input:    %s\nexpected: a plan\ngot:      "
              "%d, %s",
              show(&m, g), m.r, m.e.text);
    for (int only_place = 0; only_place <= 1 && m.r == 0 && place.r == 0; only_place++) {
        const struct plan *p = only_place ? &place.plan : &m.plan;
        const char *const got[] = {p->sandbox_path, p->vcpu_path,    p->overhead_path,
                                   p->parent_path,  p->sandbox_unit, p->overhead_unit};

        for (size_t i = 0; i < ARRAY_SIZE(got); i++)
            cr_expect(str_eq_null(got[i], want[i]),
                      "input:    %s\nexpected: %s %s\ngot:      %s (plan_place %d)", show(&m, g),
                      what[i], or_null(want[i]), or_null(got[i]), only_place);
        cr_expect_eq(p->systemd, want[4] != NULL, "input:    %s\nsystemd %d", show(&m, g),
                     p->systemd);
        cr_expect_eq(p->sandbox_cgroup_only, g->argument.set);
        cr_expect_eq(p->mode, g->mode);
        cr_expect_eq(p->layout, LAYOUT_SIBLING);
    }
}

Test(plan, places)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(modes); k++) {
            autoarena a = ARENA_INIT;
            const char *sandbox = places[i].sandbox;
            const char *threads =
                places[i].unit ? arena_printf(&a, "%s/threads", sandbox) : sandbox;
            struct given g = {.mode = modes[k],
                              .state = places[i].state,
                              .config = places[i].config,
                              .settings = places[i].settings,
                              .argument = ONLY};
            const char *const only[] = {sandbox,          sandbox,        NULL,
                                        places[i].parent, places[i].unit, NULL};
            const char *const split_v1[] = {
                sandbox,          sandbox,        places[i].v1_overhead,
                places[i].parent, places[i].unit, places[i].v1_overhead_unit};
            const char *const split_v2[] = {sandbox,
                                            arena_printf(&a, "%s/sandbox", threads),
                                            arena_printf(&a, "%s/overhead", threads),
                                            places[i].parent,
                                            places[i].unit,
                                            NULL};

            expect_place(&g, only);
            g.argument = (struct json_bool){0};
            expect_place(&g, g.mode == CG_MODE_V2 ? split_v2 : split_v1);
        }
    }
}

/* --- who it is and which policy --- */

Test(plan, identity)
{
    static const struct {
        struct given given;
        const char *want;
    } rows[] = {
        {{.mode = CG_MODE_V1}, "c1 c1 single prestart false default"},
        {{.stage = STAGE_POSTSTART, .state = SANDBOX}, "s1 c1 sandbox poststart false default"},
        {{.stage = STAGE_CREATE_RUNTIME, .state = CONTAINER},
         "s1 c1 container createRuntime false default"},
        {{.stage = STAGE_POSTSTOP, .state = CONTAINER, .no_config = true},
         "s1 c1 container poststop false default"},
        /* annotations of either document */
        {{.config = "{" CONTAINER "}"}, "s1 c1 container prestart false default"},
        {{.state = CONTAINER, .config = "{" CONTAINER "}"},
         "s1 c1 container prestart false default"},
        {{.state = "'annotations':{'io.kubernetes.cri.sandbox-id':'s9'}",
          .config = "{'annotations':{'io.kubernetes.cri.container-type':'container'}}"},
         "s9 c1 container prestart false default"},
        {{.settings = "{'sandbox_cgroup_only':true}"}, "c1 c1 single prestart true config"},
        {{.settings = "{'sandbox_cgroup_only':true}", .argument = {true, false}},
         "c1 c1 single prestart false argument"},
        {{.config = "{'annotations':{'io.katacontainers.config.runtime.sandbox_cgroup_only':"
                    "'true'}}"},
         "c1 c1 single prestart true annotation"},
        {{.state = "'annotations':{'io.katacontainers.config.runtime.sandbox_cgroup_only':'1'}",
          .no_config = true},
         "c1 c1 single prestart true annotation"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;
        const char *got;

        make(&m, &rows[i].given);
        got = m.r < 0 ? m.e.text
                      : arena_printf(&m.arena, "%s %s %s %s %s %s", m.plan.sandbox_id,
                                     m.plan.container_id, role_name(m.plan.role),
                                     stage_name(m.plan.stage),
                                     m.plan.sandbox_cgroup_only ? "true" : "false",
                                     policy_source_name(m.plan.policy_source));
        cr_expect_str_eq(got, rows[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                         show(&m, &rows[i].given), rows[i].want, got);
    }
}

/* --- devices --- */

static const char *rules_text(struct arena *a, const struct cg_dev_rules *rules)
{
    const char *all = "";

    for (size_t i = 0; i < rules->count; i++) {
        char one[48];

        all = arena_printf(a, "%s%s%c%s", all, i ? ", " : "", rules->items[i].allow ? '+' : '-',
                           cg_dev_rule_text(&rules->items[i], one));
    }
    return all;
}

#define DEFAULTS                                                                                   \
    "+c 1:3 rwm, +c 1:8 rwm, +c 1:7 rwm, +c 5:0 rwm, +c 1:5 rwm, +c 1:9 rwm, +c 5:1 rwm"
#define DEFAULTS_BUT_NULL "+c 1:8 rwm, +c 1:7 rwm, +c 5:0 rwm, +c 1:5 rwm, +c 1:9 rwm, +c 5:1 rwm"
#define VIRT              "+c 10:232 rwm, +c 10:238 rwm, +c 10:196 rwm, +c 10:241 rwm"
#define WILD              "+c *:* m, +b *:* m, +c 136:* rwm, +c 10:200 rwm, +c 5:2 rwm"
#define LOOP              "+c 10:237 rwm, +b 7:* rwm"

#define DEVICES(list) "{'linux':{'resources':{'devices':[" list "]}}}"

static const struct {
    struct given given;
    const char *want;
} device_lists[] = {
    {{.nodes = USUAL}, DEFAULTS ", " VIRT ", " WILD},
    {{.nodes = USUAL, .argument = ONLY}, DEFAULTS ", " VIRT ", " WILD ", " LOOP},
    {{.nodes = USUAL, .settings = "{'virtualization_devices':false}"}, DEFAULTS ", " WILD},
    {{.nodes = USUAL, .settings = "{'virtualization_devices':false}", .argument = ONLY},
     DEFAULTS ", " WILD ", " LOOP},
    /* missing nodes are left out */
    {{.nodes = FEW}, "+c 1:3 rwm, " WILD},
    {{.nodes = FEW, .argument = ONLY}, "+c 1:3 rwm, " WILD ", +b 7:* rwm"},
    {{.nodes = NO_NODES}, WILD},
    {{.nodes = MSHV}, "+c 10:120 rwm, +c 10:121 rwm, " WILD},
    /* the spec's rules and nodes come first, as they are */
    {{.nodes = NO_NODES,
      .config = DEVICES("{'allow':false,'access':'rwm'},"
                        "{'allow':true,'type':'c','major':4,'minor':-1,'access':'r'},"
                        "{'allow':true,'type':'b','access':'w'},"
                        "{'allow':true,'type':'a','major':9,'minor':1,'access':'mr'},"
                        "{'allow':true,'type':'','major':9,'access':''}")},
     "-a *:* rwm, +c 4:* r, +b *:* w, +a 9:1 rm, +a 9:* rwm, " WILD},
    {{.nodes = NO_NODES,
      .config = "{'linux':{'resources':{'devices':[{'allow':false}]},"
                "'devices':[{'path':'/dev/vfio/7','type':'c','major':511,'minor':7},"
                "{'path':'/dev/u','type':'u','major':9,'minor':8},"
                "{'path':'/dev/f','type':'p'},{'path':'/dev/b','type':'b','major':9,'minor':9}]}}"},
     "-a *:* rwm, +c 511:7 rwm, +c 9:8 rwm, +b 9:9 rwm, " WILD},
    /* extra devices come last, in the order of the file; block devices too */
    {{.nodes = USUAL,
      .settings = "{'virtualization_devices':false,'extra_devices':['/dev/sda','/dev/gone',"
                  "'/dev/kvm']}",
      .argument = ONLY},
     DEFAULTS ", " WILD ", " LOOP ", +b 8:0 rwm, +c 10:232 rwm"},
    /* nothing twice */
    {{.nodes = USUAL,
      .settings = "{'extra_devices':['/dev/sda','/dev/sda','/dev/null','/dev/kvm']}"},
     DEFAULTS ", " VIRT ", " WILD ", +b 8:0 rwm"},
    {{.nodes = USUAL,
      .config = DEVICES("{'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'},"
                        "{'allow':true,'type':'c','major':1,'minor':3,'access':'mwr'}")},
     "+c 1:3 rwm, " DEFAULTS_BUT_NULL ", " VIRT ", " WILD},
    {{.nodes = USUAL,
      .config = "{'linux':{'devices':[{'path':'/dev/null','type':'c','major':1,'minor':3}]}}"},
     "+c 1:3 rwm, " DEFAULTS_BUT_NULL ", " VIRT ", " WILD},
    /* the same device with other access, and behind a denial, is another rule */
    {{.nodes = USUAL,
      .config = DEVICES("{'allow':true,'type':'c','major':1,'minor':3,'access':'r'}")},
     "+c 1:3 r, " DEFAULTS ", " VIRT ", " WILD},
    {{.nodes = USUAL,
      .config = DEVICES("{'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'},"
                        "{'allow':false}")},
     "+c 1:3 rwm, -a *:* rwm, " DEFAULTS ", " VIRT ", " WILD},
};

Test(plan, devices)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(device_lists); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(modes); k++) {
            struct given g = device_lists[i].given;
            const char *got;
            MADE m;

            g.mode = modes[k];
            make(&m, &g);
            got = m.r < 0 ? m.e.text : rules_text(&m.arena, &m.plan.devices);
            cr_expect_str_eq(got, device_lists[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                             show(&m, &g), device_lists[i].want, got);
        }
    }
}

/* The sandbox allows what any of its containers does; the list that is shown is one's own. */
Test(plan, devices_of_other_containers)
{
    static const struct given g = {
        .mode = CG_MODE_V2,
        .config = DEVICES("{'allow':false},{'allow':true,'type':'c','major':200,'minor':1}"),
        .others = {"{'devices':[{'allow':false},{'allow':true,'type':'c','major':201,'minor':1,"
                   "'access':'r'}]}",
                   "{'devices':[{'allow':false},{'allow':true,'type':'b','major':202}]}"}};
    static const struct {
        char type;
        unsigned major, minor;
        uint8_t access;
        bool want;
    } rows[] = {
        {'c', 200, 1, CG_DEV_RWM, true}, {'c', 201, 1, CG_DEV_R, true},
        {'c', 201, 1, CG_DEV_W, false},  {'b', 202, 5, CG_DEV_RWM, true},
        {'b', 203, 5, CG_DEV_R, false},  {'c', 203, 1, CG_DEV_R, false},
        {'c', 203, 1, CG_DEV_M, true},   {'c', 1, 3, CG_DEV_RWM, true},
        {'b', 7, 0, CG_DEV_R, false},
    };
    MADE m;

    make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(cg_dev_table_allow(&m.plan.device_table, rows[i].type, rows[i].major,
                                        rows[i].minor, rows[i].access),
                     rows[i].want, "%c %u:%u %d: expected %d", rows[i].type, rows[i].major,
                     rows[i].minor, rows[i].access, rows[i].want);
    cr_expect_str_eq(rules_text(&m.arena, &m.plan.devices),
                     "-a *:* rwm, +c 200:1 rwm, " DEFAULTS ", " VIRT ", " WILD);
}

/* --- limits --- */

static const char *files_text(struct arena *a, const struct cg_files *files)
{
    const char *all = "";

    for (size_t i = 0; i < files->count; i++)
        all = arena_printf(a, "%s%s=%s; ", all, files->items[i].file, files->items[i].text);
    return all;
}

#define RESOURCES(r) "{'linux':{'resources':" r "}}"
#define FULL                                                                                       \
    "{'cpu':{'shares':1024,'quota':50000,'period':100000,'cpus':'0-1','mems':'0'},"                \
    "'memory':{'limit':1048576,'swap':3145728},'pids':{'limit':10},"                               \
    "'hugepageLimits':[{'pageSize':'2MB','limit':4194304}]}"

static const struct {
    struct given given;
    const char *v1, *v2; /* sandbox_files; v1 is hybrid, too */
} sandbox_limits[] = {
    {{.config = "{}"}, "", ""},
    {{.no_config = true}, "", ""},
    {{.config = RESOURCES(FULL)},
     "cpu.shares=1024; cpu.cfs_period_us=100000; cpu.cfs_quota_us=50000; cpuset.cpus=0-1; "
     "cpuset.mems=0; memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=3145728; "
     "pids.max=10; hugetlb.2MB.limit_in_bytes=4194304; hugetlb.2MB.rsvd.limit_in_bytes=4194304; ",
     "cpu.weight=100; cpu.max=50000 100000; cpuset.cpus=0-1; cpuset.mems=0; memory.max=1048576; "
     "memory.swap.max=2097152; pids.max=10; hugetlb.2MB.max=4194304; "
     "hugetlb.2MB.rsvd.max=4194304; "},
    {{.config = RESOURCES(FULL), .argument = ONLY},
     "cpu.shares=1024; cpu.cfs_period_us=100000; cpu.cfs_quota_us=50000; cpuset.cpus=0-1; "
     "cpuset.mems=0; memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=3145728; "
     "pids.max=10; hugetlb.2MB.limit_in_bytes=4194304; hugetlb.2MB.rsvd.limit_in_bytes=4194304; ",
     "cpu.weight=100; cpu.max=50000 100000; cpuset.cpus=0-1; cpuset.mems=0; memory.max=1048576; "
     "memory.swap.max=2097152; pids.max=10; hugetlb.2MB.max=4194304; "
     "hugetlb.2MB.rsvd.max=4194304; "},
    {{.config = RESOURCES(FULL), .settings = "{'resources':'kata'}"},
     "cpuset.cpus=0-1; cpuset.mems=0; ",
     "cpuset.cpus=0-1; cpuset.mems=0; "},
    {{.config = RESOURCES("{'memory':{'limit':1048576,'swap':2097152}}"),
      .settings = "{'memory_overhead_bytes':1000}"},
     "memory.limit_in_bytes=1049576; memory.memsw.limit_in_bytes=2098152; ",
     "memory.max=1049576; memory.swap.max=1048576; "},
    /* with others */
    {{.config = RESOURCES("{'cpu':{'quota':50000,'cpus':'0'},'memory':{'limit':100},"
                          "'pids':{'limit':1}}"),
      .settings = "{'memory_overhead_bytes':7}",
      .others = {"{'cpu':{'quota':20000,'period':50000,'cpus':'2'},'memory':{'limit':50},"
                 "'pids':{'limit':2}}",
                 "{'cpu':{'quota':1000,'cpus':'1'},'memory':{'limit':5},'pids':{'limit':3}}"}},
     "cpu.cfs_period_us=100000; cpu.cfs_quota_us=91000; cpuset.cpus=0-2; "
     "memory.limit_in_bytes=162; pids.max=6; ",
     "cpu.max=91000 100000; cpuset.cpus=0-2; memory.max=162; pids.max=6; "},
    {{.config = RESOURCES("{'cpu':{'quota':50000,'cpus':'0'},'pids':{'limit':1}}"),
      .others = {"{'cpu':{'cpus':'1'}}"}},
     "cpu.cfs_period_us=100000; cpu.cfs_quota_us=-1; cpuset.cpus=0-1; pids.max=max; ",
     "cpu.max=max 100000; cpuset.cpus=0-1; pids.max=max; "},
    {{.config = RESOURCES("{'cpu':{'quota':50000,'cpus':'0'},'pids':{'limit':1}}"),
      .settings = "{'resources':'kata'}",
      .others = {"{'cpu':{'cpus':'1'}}"}},
     "cpuset.cpus=0-1; ",
     "cpuset.cpus=0-1; "},
};

static void expect_files(const struct given *row, enum cg_mode mode, bool overhead,
                         const char *want)
{
    struct given g = *row;
    const char *got;
    MADE m;

    g.mode = mode;
    make(&m, &g);
    got = m.r < 0 ? m.e.text
                  : files_text(&m.arena, overhead ? &m.plan.overhead_files : &m.plan.sandbox_files);
    cr_expect_str_eq(got, want, "input:    %s\nexpected: %s\ngot:      %s", show(&m, &g), want,
                     got);
}

Test(plan, sandbox_files)
{
    for (size_t i = 0; i < ARRAY_SIZE(sandbox_limits); i++) {
        expect_files(&sandbox_limits[i].given, CG_MODE_V1, false, sandbox_limits[i].v1);
        expect_files(&sandbox_limits[i].given, CG_MODE_HYBRID, false, sandbox_limits[i].v1);
        expect_files(&sandbox_limits[i].given, CG_MODE_V2, false, sandbox_limits[i].v2);
    }
}

/* Raw v2 files of a lone container; `kata` has dropped them before v1 could refuse them. */
Test(plan, unified)
{
    static const struct given given = {.config = RESOURCES("{'unified':{'memory.high':'9'}}")};
    static const struct given kata = {.config = RESOURCES("{'unified':{'memory.high':'9'}}"),
                                      .settings = "{'resources':'kata'}"};

    expect_files(&given, CG_MODE_V2, false, "memory.high=9; ");
    expect_files(&kata, CG_MODE_V1, false, "");
}

#define OVERHEAD_LIMITS                                                                            \
    "{'overhead_limits':{'cpu':{'quota':20000,'cpus':'3'},'memory':{'limit':100},"                 \
    "'pids':{'limit':5},'hugepageLimits':[{'pageSize':'2MB','limit':6}],"                          \
    "'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':7}]}}}"

static const struct {
    struct given given;
    const char *v1, *v2;
} overhead_limits[] = {
    {{.settings = "{}", .config = RESOURCES(FULL)}, "", ""},
    {{.settings = OVERHEAD_LIMITS},
     "cpu.cfs_quota_us=20000; cpuset.cpus=3; memory.limit_in_bytes=100; pids.max=5; "
     "hugetlb.2MB.limit_in_bytes=6; hugetlb.2MB.rsvd.limit_in_bytes=6; "
     "blkio.throttle.read_bps_device=8:0 7; ",
     "cpu.max=20000 100000; cpuset.cpus=3; pids.max=5; "},
    /* no overhead cgroup, no limits of it */
    {{.settings = OVERHEAD_LIMITS, .argument = ONLY}, "", ""},
};

Test(plan, overhead_files)
{
    for (size_t i = 0; i < ARRAY_SIZE(overhead_limits); i++) {
        expect_files(&overhead_limits[i].given, CG_MODE_V1, true, overhead_limits[i].v1);
        expect_files(&overhead_limits[i].given, CG_MODE_HYBRID, true, overhead_limits[i].v1);
        expect_files(&overhead_limits[i].given, CG_MODE_V2, true, overhead_limits[i].v2);
    }
}

/* --- what systemd is told --- */

static const char *properties_text(struct arena *a, const struct cg_properties *properties)
{
    const char *all = "";

    for (size_t i = 0; i < properties->count; i++)
        all = arena_printf(a, "%s%s=%s; ", all, properties->items[i].name,
                           cg_property_text(&properties->items[i], a));
    return all;
}

/* A container under systemd with these resources, which allow every device. */
#define SCOPE(r)                                                                                   \
    "{'linux':{'cgroupsPath':'a.slice:p:n','resources':{'devices':[{'allow':true}]" r "}}}"
#define ALL_DEVICES "DeviceAllow=; DevicePolicy=auto; "
#define UNEVEN      ",'cpu':{'shares':1024,'quota':33333,'period':100000,'cpus':'0-1','mems':'0'}"
#define UNEVEN_FULL                                                                                \
    UNEVEN ",'memory':{'limit':1048576,'swap':3145728},'pids':{'limit':10},"                       \
           "'hugepageLimits':[{'pageSize':'2MB','limit':4194304}]"
#define V1_CPU_FILES(quota)                                                                        \
    "cpu.shares=1024; cpu.cfs_period_us=100000; cpu.cfs_quota_us=" quota "; "                      \
    "cpuset.cpus=0-1; cpuset.mems=0; "
#define V1_OTHER_FILES                                                                             \
    "memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=3145728; pids.max=10; "            \
    "hugetlb.2MB.limit_in_bytes=4194304; hugetlb.2MB.rsvd.limit_in_bytes=4194304; "
#define V2_CPU_FILES(quota)                                                                        \
    "cpu.weight=100; cpu.max=" quota " 100000; cpuset.cpus=0-1; cpuset.mems=0; "
#define V2_OTHER_FILES                                                                             \
    "memory.max=1048576; memory.swap.max=2097152; pids.max=10; hugetlb.2MB.max=4194304; "          \
    "hugetlb.2MB.rsvd.max=4194304; "
#define V1_ALL                                                                                     \
    "CPUShares=1024; CPUQuotaPerSecUSec=340000; CPUQuotaPeriodUSec=100000; MemoryLimit=1048576; "  \
    "TasksMax=10; " ALL_DEVICES
#define UNEVEN_OVERHEAD                                                                            \
    "{'overhead_limits':{'cpu':{'shares':512,'quota':20001,'cpus':'3'},'memory':{'limit':100},"    \
    "'pids':{'limit':5}}}"

struct told {
    const char *sandbox_files, *sandbox, *overhead_files, *overhead;
};

/* Whatever is NULL is empty. */
static const struct {
    struct given given;
    struct told v1, v2; /* v1 is hybrid, too */
} scopes[] = {
    /* without limits: systemd would have a default for the number of tasks */
    {{.config = SCOPE("")},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES, .overhead = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    {{.config = SCOPE(""), .argument = ONLY},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    /* below a split v2 scope CPUs are the leaf's: nothing to tell, nothing to round */
    {{.config = SCOPE(UNEVEN_FULL)},
     {.sandbox_files = V1_CPU_FILES("34000") V1_OTHER_FILES,
      .sandbox = V1_ALL,
      .overhead = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox_files = V2_CPU_FILES("33333") V2_OTHER_FILES,
      .sandbox = "MemoryMax=1048576; MemorySwapMax=2097152; TasksMax=10; " ALL_DEVICES}},
    {{.config = SCOPE(UNEVEN_FULL), .argument = ONLY},
     {.sandbox_files = V1_CPU_FILES("34000") V1_OTHER_FILES, .sandbox = V1_ALL},
     {.sandbox_files = V2_CPU_FILES("34000") V2_OTHER_FILES,
      .sandbox = "CPUWeight=100; CPUQuotaPerSecUSec=340000; CPUQuotaPeriodUSec=100000; "
                 "AllowedCPUs=0-1; AllowedMemoryNodes=0; MemoryMax=1048576; "
                 "MemorySwapMax=2097152; TasksMax=10; " ALL_DEVICES}},
    /* without systemd nothing is told or rounded */
    {{.config = RESOURCES("{'devices':[{'allow':true}]" UNEVEN "}"), .settings = UNEVEN_OVERHEAD},
     {.sandbox_files = V1_CPU_FILES("33333"),
      .overhead_files = "cpu.shares=512; cpu.cfs_quota_us=20001; cpuset.cpus=3; "
                        "memory.limit_in_bytes=100; pids.max=5; "},
     {.sandbox_files = V2_CPU_FILES("33333"),
      .overhead_files = "cpu.weight=59; cpu.max=20001 100000; cpuset.cpus=3; pids.max=5; "}},
    {{.config = RESOURCES("{'devices':[{'allow':true}]" UNEVEN "}"), .argument = ONLY},
     {.sandbox_files = V1_CPU_FILES("33333")},
     {.sandbox_files = V2_CPU_FILES("33333")}},
    /* the overhead is a scope of its own on v1, and a leaf on v2 */
    {{.config = SCOPE(""), .settings = UNEVEN_OVERHEAD},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES,
      .overhead_files = "cpu.shares=512; cpu.cfs_quota_us=21000; cpuset.cpus=3; "
                        "memory.limit_in_bytes=100; pids.max=5; ",
      .overhead = "CPUShares=512; CPUQuotaPerSecUSec=210000; CPUQuotaPeriodUSec=100000; "
                  "MemoryLimit=100; TasksMax=5; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES,
      .overhead_files = "cpu.weight=59; cpu.max=20001 100000; cpuset.cpus=3; pids.max=5; "}},
    {{.config = SCOPE(""), .settings = UNEVEN_OVERHEAD, .argument = ONLY},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    /* the sum of a sandbox is rounded, not each of its parts */
    {{.config = SCOPE(",'cpu':{'quota':10001,'period':100000}"),
      .others = {"{'devices':[{'allow':true}],'cpu':{'quota':10001,'period':100000}}"},
      .argument = ONLY},
     {.sandbox_files = "cpu.cfs_period_us=100000; cpu.cfs_quota_us=21000; ",
      .sandbox = "CPUQuotaPerSecUSec=210000; CPUQuotaPeriodUSec=100000; "
                 "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox_files = "cpu.max=21000 100000; ",
      .sandbox = "CPUQuotaPerSecUSec=210000; CPUQuotaPeriodUSec=100000; "
                 "TasksMax=infinity; " ALL_DEVICES}},
    /* what `resources` leaves out is not told either */
    {{.config = SCOPE(UNEVEN_FULL), .settings = "{'resources':'kata'}", .argument = ONLY},
     {.sandbox_files = "cpuset.cpus=0-1; cpuset.mems=0; ",
      .sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox_files = "cpuset.cpus=0-1; cpuset.mems=0; ",
      .sandbox = "AllowedCPUs=0-1; AllowedMemoryNodes=0; TasksMax=infinity; " ALL_DEVICES}},
    /* a device list: the empty one takes back what was there before */
    {{.nodes = NO_NODES,
      .config = "{'linux':{'cgroupsPath':'a.slice:p:n','resources':{'devices':[{'allow':false},"
                "{'allow':true,'type':'b','major':8,'minor':1,'access':'r'}]}}}"},
     {.sandbox = "TasksMax=infinity; DeviceAllow=; DeviceAllow=rm /dev/block/8:1, m block-*, "
                 "rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*; "
                 "DevicePolicy=strict; ",
      .overhead = "TasksMax=infinity; DeviceAllow=; DeviceAllow=rm /dev/block/8:1, m block-*, "
                  "rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*; "
                  "DevicePolicy=strict; "},
     {.sandbox = "TasksMax=infinity; DeviceAllow=; DeviceAllow=rm /dev/block/8:1, m block-*, "
                 "rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*; "
                 "DevicePolicy=strict; "}},
};

static void expect_told(const struct given *row, enum cg_mode mode, const struct told *want)
{
    static const char *const what[] = {"sandbox_files", "sandbox_properties", "overhead_files",
                                       "overhead_properties"};
    const char *const wanted[] = {want->sandbox_files, want->sandbox, want->overhead_files,
                                  want->overhead};
    struct given g = *row;
    MADE m;

    g.mode = mode;
    make(&m, &g);
    cr_expect_eq(m.r, 0, "input:    %s\nexpected: a plan\ngot:      %d, %s", show(&m, &g), m.r,
                 m.e.text);
    for (size_t i = 0; i < ARRAY_SIZE(what) && m.r == 0; i++) {
        const char *text = wanted[i] ? wanted[i] : "";
        const char *got = i == 0   ? files_text(&m.arena, &m.plan.sandbox_files)
                          : i == 1 ? properties_text(&m.arena, &m.plan.sandbox_properties)
                          : i == 2 ? files_text(&m.arena, &m.plan.overhead_files)
                                   : properties_text(&m.arena, &m.plan.overhead_properties);

        cr_expect_str_eq(got, text, "input:    %s\nexpected: %s %s\ngot:      %s", show(&m, &g),
                         what[i], text, got);
    }
}

Test(plan, properties)
{
    for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
        expect_told(&scopes[i].given, CG_MODE_V1, &scopes[i].v1);
        expect_told(&scopes[i].given, CG_MODE_HYBRID, &scopes[i].v1);
        expect_told(&scopes[i].given, CG_MODE_V2, &scopes[i].v2);
    }
}

/* The slice of the sandbox's scope, and none without systemd. */
Test(plan, slices)
{
    static const struct {
        const char *config, *want;
    } rows[] = {
        {CGROUPS_PATH("a-b.slice:p:n"), "a-b.slice"},
        {CGROUPS_PATH(":p:n"), "system.slice"},
        {CGROUPS_PATH("-.slice:p:n"), "-.slice"},
        {CGROUPS_PATH("/a.slice/x"), NULL},
        {CGROUPS_PATH("a/b"), NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows) * 4; i++) {
        const struct given g = {.mode = i & 1 ? CG_MODE_V2 : CG_MODE_V1,
                                .argument = {i & 2, true},
                                .config = rows[i / 4].config};
        MADE m;

        make(&m, &g);
        cr_expect(m.r == 0 && str_eq_null(m.plan.slice, rows[i / 4].want),
                  "input:    %s\nexpected: %s\ngot:      %s", show(&m, &g),
                  or_null(rows[i / 4].want), m.r < 0 ? m.e.text : or_null(m.plan.slice));
    }
}

/* --- warnings --- */

#define LOOSEN "{'annotations':{'io.katacontainers.config.runtime.sandbox_cgroup_only':'false'}}"
#define PINNING(value)                                                                             \
    "'annotations':{'io.katacontainers.config.runtime.enable_vcpus_pinning':'" value "'}"
#define MEMORY RESOURCES("{'memory':{'limit':1048576}}")

static const struct {
    struct given given;
    const char *want[8]; /* what each warning must have */
} warned[] = {
    {{.mode = CG_MODE_V1}, {NULL}},
    {{.mode = CG_MODE_V2, .config = RESOURCES(FULL)}, {NULL}},
    /* the policy */
    {{.config = LOOSEN, .argument = ONLY}, {"allowed_annotations"}},
    {{.config = LOOSEN, .settings = "{'sandbox_cgroup_only':true}"}, {"sandbox_cgroup_only=false"}},
    {{.config = LOOSEN}, {NULL}},
    /* limits without a counterpart */
    {{.mode = CG_MODE_V2,
      .config = RESOURCES("{'cpu':{'realtimeRuntime':1,'realtimePeriod':1000},"
                          "'network':{'classID':1}}")},
     {"cpu.realtimePeriod has no counterpart on cgroup v2",
      "cpu.realtimeRuntime has no counterpart on cgroup v2",
      "network.classID has no counterpart on cgroup v2"}},
    {{.mode = CG_MODE_V1,
      .config = RESOURCES("{'cpu':{'realtimeRuntime':1,'realtimePeriod':1000},"
                          "'network':{'classID':1}}")},
     {NULL}},
    /* limits of the overhead */
    {{.mode = CG_MODE_V2, .settings = OVERHEAD_LIMITS},
     {"overhead_limits: memory.max is not set, because on cgroup v2 the overhead shares the "
      "sandbox's memory",
      "overhead_limits: hugetlb.2MB.max is not set, because on cgroup v2 the overhead shares the "
      "sandbox's hugetlb",
      "overhead_limits: hugetlb.2MB.rsvd.max is not set",
      "overhead_limits: io.max is not set, because on cgroup v2 the overhead shares the "
      "sandbox's io"}},
    {{.mode = CG_MODE_V2, .settings = OVERHEAD_LIMITS, .argument = ONLY}, {NULL}},
    {{.mode = CG_MODE_V1, .settings = OVERHEAD_LIMITS}, {NULL}},
    {{.mode = CG_MODE_V2, .settings = "{'overhead_limits':{'pids':{'limit':5}}}"}, {NULL}},
    /* a hypervisor's device */
    {{.nodes = FEW}, {"neither /dev/kvm nor /dev/mshv"}},
    {{.nodes = NO_NODES}, {"neither /dev/kvm nor /dev/mshv"}},
    {{.nodes = MSHV}, {NULL}},
    {{.nodes = NO_NODES, .settings = "{'virtualization_devices':false}"}, {NULL}},
    /* extra devices */
    {{.settings = "{'extra_devices':['/dev/sda','/dev/gone','/dev/unasked']}"},
     {"extra_devices: /dev/gone does not exist", "extra_devices: /dev/unasked does not exist"}},
    {{.settings = "{'extra_devices':['/dev/sda']}"}, {NULL}},
    /* where v1 charges a VM's memory */
    {{.mode = CG_MODE_V1, .config = MEMORY},
     {"memory.limit_in_bytes of the sandbox will not hold"}},
    {{.mode = CG_MODE_HYBRID, .config = MEMORY}, {"memory.limit_in_bytes"}},
    {{.mode = CG_MODE_V2, .config = MEMORY}, {NULL}},
    {{.mode = CG_MODE_V1, .config = MEMORY, .argument = ONLY}, {NULL}},
    {{.mode = CG_MODE_V1, .config = MEMORY, .settings = "{'resources':'kata'}"}, {NULL}},
    {{.mode = CG_MODE_V1, .config = RESOURCES("{'pids':{'limit':1}}")}, {NULL}},
    /* pinning is the watcher's, and that is not there with sandbox_cgroup_only */
    {{.settings = "{'enable_vcpus_pinning':true}"}, {NULL}},
    {{.settings = "{'enable_vcpus_pinning':true}", .argument = ONLY}, {"enable_vcpus_pinning"}},
    {{.settings = "{'enable_vcpus_pinning':false}", .argument = ONLY}, {NULL}},
    {{.state = PINNING("true"), .argument = ONLY}, {"enable_vcpus_pinning"}},
    {{.config = "{" PINNING("true") "}", .argument = ONLY}, {"enable_vcpus_pinning"}},
    {{.config = "{" PINNING("false") "}",
      .settings = "{'enable_vcpus_pinning':true}",
      .argument = ONLY},
     {NULL}},
    /* the runtime's own device rules, with layout nested */
    {{.settings = NESTED, .argument = ONLY, .config = RESOURCES("{'devices':[{'allow':true}]}")},
     {NULL}},
    {{.settings = NESTED, .argument = ONLY},
     {"not allow /dev/kvm (c 10:232 rw)", "/dev/vhost-net", "/dev/vfio/vfio", "/dev/vhost-vsock"}},
    {{.settings = NESTED, .argument = ONLY, .nodes = MSHV}, {"/dev/mshv", "/dev/iommu"}},
    {{.settings = "{'layout':'nested','virtualization_devices':false,'extra_devices':['/dev/sda']}",
      .argument = ONLY},
     {"/dev/sda (b 8:0 rw)"}},
    {{.settings = NESTED,
      .argument = ONLY,
      .nodes = KVM_ALONE,
      .config = "{'linux':{'devices':[{'type':'c','path':'/dev/kvm','major':10,'minor':232}]}}"},
     {NULL}},
    {{.settings = "{'layout':'nested','virtualization_devices':false,'memory_overhead_bytes':4096}",
      .argument = ONLY},
     {"memory_overhead_bytes"}},
    /* several at once */
    {{.mode = CG_MODE_V1,
      .nodes = NO_NODES,
      .config = MEMORY,
      .settings = "{'enable_vcpus_pinning':true,'extra_devices':['/dev/x']}"},
     {"neither", "/dev/x", "memory.limit_in_bytes"}},
};

static bool all_warnings(const struct plan *p, const char *const *want, size_t count)
{
    if (p->warning_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!strstr(p->warnings[i], want[i]))
            return false;
    }
    return true;
}

Test(plan, warnings)
{
    for (size_t i = 0; i < ARRAY_SIZE(warned); i++) {
        const char *want = "", *got = "";
        size_t count = 0;
        MADE m;

        make(&m, &warned[i].given);
        cr_assert_eq(m.r, 0, "%s: %s", show(&m, &warned[i].given), m.e.text);
        for (; warned[i].want[count]; count++)
            want = arena_printf(&m.arena, "%s\n  %s", want, warned[i].want[count]);
        for (size_t k = 0; k < m.plan.warning_count; k++)
            got = arena_printf(&m.arena, "%s\n  %s", got, m.plan.warnings[k]);
        cr_expect(all_warnings(&m.plan, warned[i].want, count),
                  "input:    %s\nexpected: %s\ngot:      %s", show(&m, &warned[i].given), want,
                  got);
    }
}

/* --- layout nested --- */

/* Where the process is decides, not what config.json says of the runtime's cgroup. */
Test(plan, nested_places)
{
    static const struct {
        const char *config, *process, *sandbox, *parent;
    } rows[] = {
        {CGROUPS_PATH("/k/c"), NULL, "/k/c/kata_c", "/k/c"},
        {NULL, NULL, "/vc/c1/kata_c1", "/vc/c1"},
        {CGROUPS_PATH("a-b.slice:pre:nm"), NULL, "/a.slice/a-b.slice/pre-nm.scope/kata_nm",
         "/a.slice/a-b.slice/pre-nm.scope"},
        {CGROUPS_PATH("/k/c"), "/k/c", "/k/c/kata_c", "/k/c"},
        {CGROUPS_PATH("/k/c"), "/else/where", "/else/where/kata_c", "/else/where"},
        {CGROUPS_PATH("s.slice:pre:nm"), "/s.slice/pre-nm.scope/container",
         "/s.slice/pre-nm.scope/container/kata_nm", "/s.slice/pre-nm.scope/container"},
        /* it has been moved there by an earlier stage */
        {CGROUPS_PATH("/k/c"), "/k/c/kata_c", "/k/c/kata_c", "/k/c"},
        {CGROUPS_PATH("/k/c"), "/k/xkata_c", "/k/xkata_c/kata_c", "/k/xkata_c"},
        {CGROUPS_PATH("/k/c"), "/kata_c", "/kata_c/kata_c", "/kata_c"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct given g = {.config = rows[i].config, .settings = NESTED, .argument = ONLY};
        MADE m;

        prepare(&m, &g);
        m.in.process_path = rows[i].process;
        m.r = plan_make(&m.in, &m.arena, &m.plan, &m.e);
        cr_assert_eq(m.r, 0, "%s: %s", show(&m, &g), m.e.text);
        cr_expect(str_eq(m.plan.sandbox_path, rows[i].sandbox) &&
                      str_eq(m.plan.vcpu_path, rows[i].sandbox) &&
                      str_eq(m.plan.parent_path, rows[i].parent) && !m.plan.overhead_path &&
                      !m.plan.sandbox_unit && !m.plan.systemd,
                  "input:    %s, process %s\nexpected: %s in %s\ngot:      %s in %s", show(&m, &g),
                  or_null(rows[i].process), rows[i].sandbox, rows[i].parent, m.plan.sandbox_path,
                  m.plan.parent_path);
    }
}

Test(plan, nested_writes_nothing)
{
    static const struct given g = {
        .settings = NESTED,
        .argument = ONLY,
        .config = RESOURCES("{'memory':{'limit':4096},'devices':[{'allow':true}]}"),
    };
    MADE m;

    make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    cr_expect_eq(m.plan.sandbox_files.count, 0);
    cr_expect_eq(m.plan.devices.count, 0);
    cr_expect_eq(m.plan.layout, LAYOUT_NESTED);
}

Test(plan, nested_refused)
{
    static const struct {
        struct given given;
        const char *want;
    } rows[] = {
        {{.settings = NESTED},
         "layout nested needs sandbox_cgroup_only, which is false by default"},
        {{.settings = NESTED, .argument = {true, false}}, "which is false by argument"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;

        make(&m, &rows[i].given);
        cr_expect(m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, rows[i].want),
                  "input:    %s\nexpected: \"%s\"\ngot:      %d, %s", show(&m, &rows[i].given),
                  rows[i].want, m.r, m.e.text);
    }
}

Test(plan, foreign)
{
    static const struct given g = {0};
    MADE m;

    prepare(&m, &g);
    m.facts.foreign = true;
    m.r = plan_make(&m.in, &m.arena, &m.plan, &m.e);
    cr_assert(m.r == 0 && m.plan.warning_count == 1, "%s", m.e.text);
    cr_expect_str_eq(m.plan.warnings[0], PLAN_FOREIGN);
}

/* The refused annotation's warning is marked, so that the log can tell it from advice. */
Test(plan, refused_annotation)
{
    static const struct given refused = {.config = LOOSEN, .argument = ONLY};
    static const struct given nothing = {.config = LOOSEN, .nodes = NO_NODES};
    MADE m, n;

    make(&m, &refused);
    cr_assert(m.r == 0 && m.plan.warning_count == 1, "%s", m.e.text);
    cr_expect_eq(m.plan.refused, m.plan.warnings[0]);
    cr_expect(m.plan.sandbox_cgroup_only);
    make(&n, &nothing);
    cr_assert(n.r == 0 && n.plan.warning_count == 1, "%s", n.e.text);
    cr_expect_null(n.plan.refused);
}

/* --- refusals --- */

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"
#define LONG_251                                                                                   \
    LONG_64 LONG_64 LONG_64 "01234567890123456789012345678901234567890123456789012345678"

static const struct {
    struct given given;
    const char *words[2];
} refused[] = {
    /* ids */
    {{.id = "a/b"}, {"state.id", "a/b"}},
    {{.id = ".."}, {"state.id", "\"..\""}},
    {{.id = "."}, {"state.id", "\".\""}},
    {{.id = ""}, {"state.id", "empty"}},
    {{.id = "a\nb"}, {"state.id", "a\\x0ab"}},
    {{.id = "/"}, {"state.id", "\"/\""}},
    {{.id = LONG_251 "01234"}, {"state.id", "256"}},
    {{.state = "'annotations':{'io.kubernetes.cri.container-type':'container',"
               "'io.kubernetes.cri.sandbox-id':'a/b'}"},
     {"io.kubernetes.cri.sandbox-id", "a/b"}},
    {{.state = "'annotations':{'io.kubernetes.cri.container-type':'container',"
               "'io.kubernetes.cri.sandbox-id':'..'}"},
     {"io.kubernetes.cri.sandbox-id", "\"..\""}},
    {{.state = "'annotations':{'io.kubernetes.cri.container-type':'pause'}"},
     {"io.kubernetes.cri.container-type", "\"pause\""}},
    {{.config = "{'annotations':{'io.katacontainers.config.runtime.sandbox_cgroup_only':'maybe'}}"},
     {"io.katacontainers.config.runtime.sandbox_cgroup_only", "\"maybe\""}},
    /* paths */
    {{.config = CGROUPS_PATH("/a/../b")}, {"linux.cgroupsPath", "/a/../b"}},
    {{.config = CGROUPS_PATH("..")}, {"linux.cgroupsPath", ".."}},
    {{.config = CGROUPS_PATH("../x")}, {"linux.cgroupsPath", "../x"}},
    {{.config = CGROUPS_PATH("/")}, {"linux.cgroupsPath", "\"/\""}},
    {{.config = CGROUPS_PATH("/vc")}, {"linux.cgroupsPath", "\"/vc\""}},
    {{.config = CGROUPS_PATH("/a\\nb")}, {"linux.cgroupsPath", "a\\x0ab"}},
    {{.config = CGROUPS_PATH("/" LONG_64 LONG_64 LONG_64 LONG_64)}, {"linux.cgroupsPath", "256"}},
    {{.config = CGROUPS_PATH("a--b.slice:p:n")}, {"linux.cgroupsPath", "a--b.slice"}},
    {{.config = CGROUPS_PATH("a.slice:p:")}, {"linux.cgroupsPath", "name"}},
    /* too long with the prefix only */
    {{.config = CGROUPS_PATH("/" LONG_251)}, {"linux.cgroupsPath", "256"}},
    /* devices */
    {{.config = DEVICES("{'allow':true},{'allow':true,'type':'x'}")},
     {"linux.resources.devices[1].type", "\"x\""}},
    {{.config = DEVICES("{'allow':true,'type':'cb'}")},
     {"linux.resources.devices[0].type", "\"cb\""}},
    {{.config = DEVICES("{'allow':true,'type':'c','access':'rx'}")},
     {"linux.resources.devices[0].access", "\"rx\""}},
    {{.config = DEVICES("{'allow':true,'type':'c','access':'rr'}")},
     {"linux.resources.devices[0].access", "\"rr\""}},
    {{.config = "{'linux':{'devices':[{'path':'/dev/x','type':'z','major':1,'minor':2}]}}"},
     {"type", "\"z\""}},
    /* limits */
    {{.config = RESOURCES("{'cpu':{'cpus':'0-'}}")}, {"linux.resources.cpu.cpus", "\"0-\""}},
    {{.config = RESOURCES("{'cpu':{'mems':'x'}}")}, {"linux.resources.cpu.mems", "\"x\""}},
    {{.config = RESOURCES("{'cpu':{'idle':2}}")}, {"linux.resources.cpu.idle", "2"}},
    {{.config = RESOURCES("{'memory':{'limit':100,'swap':50}}")},
     {"linux.resources.memory.swap", "50"}},
    {{.mode = CG_MODE_V2, .config = RESOURCES("{'memory':{'swap':50}}")},
     {"linux.resources.memory.swap", "memory.limit"}},
    {{.config = RESOURCES("{'hugepageLimits':[{'pageSize':'2','limit':1}]}")},
     {"linux.resources.hugepageLimits", "\"2\""}},
    {{.mode = CG_MODE_V1, .config = RESOURCES("{'unified':{'memory.high':'1'}}")},
     {"linux.resources.unified", "cgroup v1"}},
    {{.mode = CG_MODE_HYBRID, .config = RESOURCES("{'unified':{'memory.high':'1'}}")},
     {"linux.resources.unified", "cgroup v1"}},
    {{.mode = CG_MODE_V2, .config = RESOURCES("{'unified':{'cgroup.procs':'1'}}")},
     {"linux.resources.unified", "\"cgroup.procs\""}},
    {{.mode = CG_MODE_V2, .config = RESOURCES("{'unified':{'../cpu.max':'1'}}")},
     {"linux.resources.unified", "../cpu.max"}},
    {{.settings = "{'overhead_limits':{'cpu':{'idle':2}}}"}, {"overhead_limits", "cpu.idle"}},
    {{.mode = CG_MODE_V1, .settings = "{'overhead_limits':{'unified':{'cpu.max':'1'}}}"},
     {"overhead_limits", "unified"}},
    /* limits that would be lost in a sum, but one day it may be alone */
    {{.others = {"{}"}, .config = RESOURCES("{'cpu':{'idle':2}}")},
     {"linux.resources.cpu.idle", "2"}},
    {{.others = {"{'memory':{'limit':100,'swap':200}}"},
      .config = RESOURCES("{'memory':{'limit':100,'swap':50}}")},
     {"linux.resources.memory.swap", "50"}},
    {{.mode = CG_MODE_V1,
      .others = {"{}", "{}"},
      .config = RESOURCES("{'unified':{'memory.high':'1'}}")},
     {"linux.resources.unified", "cgroup v1"}},
    /* of another container of the sandbox */
    {{.others = {"{'cpu':{'cpus':'0'}}", "{'cpu':{'cpus':'y'}}"},
      .config = RESOURCES("{'cpu':{'cpus':'0'}}")},
     {"linux.resources.cpu.cpus", "\"y\""}},
    {{.others = {"{'devices':[{'allow':true,'type':'q'}]}"}},
     {"linux.resources.devices[0].type", "\"q\""}},
};

Test(plan, refused)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        MADE m;

        make(&m, &refused[i].given);
        cr_expect(m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, refused[i].words[0]) &&
                      strstr(m.e.text, refused[i].words[1]),
                  "input:    %s\nexpected: refused with %s and %s\ngot:      %d, %s",
                  show(&m, &refused[i].given), refused[i].words[0], refused[i].words[1], m.r,
                  m.e.text);
    }
}

/* What the others would be alone was asked when they came; and it need not be what is wanted. */
Test(plan, not_refused)
{
    static const struct given rows[] = {
        {.others = {"{'cpu':{'idle':2}}"}, .config = RESOURCES("{'pids':{'limit':1}}")},
        {.others = {"{}"},
         .settings = "{'resources':'kata'}",
         .config = RESOURCES("{'cpu':{'idle':2}}")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;

        make(&m, &rows[i]);
        cr_expect_eq(m.r, 0, "input:    %s\ngot:      %d, %s", show(&m, &rows[i]), m.r, m.e.text);
    }
}

/* The longest name that still fits, for the row of `refused` that does not. */
Test(plan, longest_name)
{
    static const struct given g = {.config = CGROUPS_PATH("/" LONG_64 LONG_64 LONG_64
                                                          "01234567890123456789012345678901234567"
                                                          "89012345678901234567")};
    MADE m;

    make(&m, &g);
    cr_expect_eq(m.r, 0, "%s", m.e.text);
    cr_expect_eq(m.r < 0 ? 0 : strlen(cg_path_base(m.plan.sandbox_path)), 255);
}

/* What v1 files cannot say is refused before anything is touched; v2 can say it. */
Test(plan, devices_that_v1_cannot_express)
{
    struct given g = {.config = DEVICES("{'allow':false},"
                                        "{'allow':true,'type':'c','major':210,'access':'rwm'},"
                                        "{'allow':false,'type':'c','major':210,'minor':5,"
                                        "'access':'rw'}")};
    static const struct {
        enum cg_mode mode;
        int want;
    } rows[] = {{CG_MODE_V1, -ENOTSUP}, {CG_MODE_HYBRID, -ENOTSUP}, {CG_MODE_V2, 0}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;

        g.mode = rows[i].mode;
        make(&m, &g);
        cr_expect(m.r == rows[i].want && m.e.bad_input == (rows[i].want < 0) &&
                      (m.r == 0 || strstr(m.e.text, "210")),
                  "input:    %s\nexpected: %d\ngot:      %d, %s", show(&m, &g), rows[i].want, m.r,
                  m.e.text);
    }
}

#define OWN_DEVICES(path, list)                                                                    \
    "{'linux':{'cgroupsPath':'" path "','resources':{'devices':[" list "]}}}"
#define ANY(path) OWN_DEVICES(path, "{'allow':true}")
#define HOLE_IN_ALL(path)                                                                          \
    OWN_DEVICES(path, "{'allow':true},{'allow':false,'type':'c','major':210,'minor':5}")
#define HOLE_IN_MAJOR(path)                                                                        \
    OWN_DEVICES(path, "{'allow':false},{'allow':true,'type':'c','major':210},"                     \
                      "{'allow':false,'type':'c','major':210,'minor':5,'access':'rw'}")
#define MINOR_OF_ANY(path)                                                                         \
    OWN_DEVICES(path, "{'allow':false},{'allow':true,'type':'c','major':-1,'minor':210,"           \
                      "'access':'rw'}")
#define FILES  "/k/c"
#define SCOPED "a.slice:p:n"

/* A scope's device list can only add devices, and one minor of any major is no entry of it. */
Test(plan, devices_that_systemd_cannot_express)
{
    static const struct {
        const char *config;
        bool v1, v2; /* whether it can be expressed */
    } rows[] = {
        {ANY(FILES), true, true},
        {ANY(SCOPED), true, true},
        {HOLE_IN_ALL(FILES), true, true},
        {HOLE_IN_ALL(SCOPED), false, false},
        {HOLE_IN_MAJOR(FILES), false, true},
        {HOLE_IN_MAJOR(SCOPED), false, false},
        {MINOR_OF_ANY(FILES), true, true},
        {MINOR_OF_ANY(SCOPED), false, false},
    };
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(modes) * 2; i++) {
        const size_t k = i / 2 / ARRAY_SIZE(modes);
        const struct given g = {.mode = modes[i / 2 % ARRAY_SIZE(modes)],
                                .argument = {i % 2, true},
                                .nodes = NO_NODES,
                                .config = rows[k].config};
        int want = (g.mode == CG_MODE_V2 ? rows[k].v2 : rows[k].v1) ? 0 : -ENOTSUP;
        MADE m;

        make(&m, &g);
        cr_expect(m.r == want && m.e.bad_input == (want < 0) &&
                      (want == 0 || strstr(m.e.text, "210")),
                  "input:    %s\nexpected: %d\ngot:      %d, bad input %d, %s", show(&m, &g), want,
                  m.r, m.e.bad_input, m.e.text);
    }
}

/* A container that is fine alone, beside one that is not. */
Test(plan, devices_of_others_that_systemd_cannot_express)
{
    struct given g = {.mode = CG_MODE_V2,
                      .nodes = NO_NODES,
                      .config = OWN_DEVICES(SCOPED, "{'allow':false}"),
                      .others = {"{'devices':[{'allow':false},{'allow':true,'type':'c','major':-1,"
                                 "'minor':210,'access':'rw'}]}"}};
    MADE scope, files;

    make(&scope, &g);
    cr_expect(scope.r == -ENOTSUP && scope.e.bad_input && strstr(scope.e.text, "c *:210"), "%d, %s",
              scope.r, scope.e.text);
    g.config = OWN_DEVICES(FILES, "{'allow':false}");
    make(&files, &g);
    cr_expect_eq(files.r, 0, "%s", files.e.text);
}

#define UNIFIED(path, file, text)                                                                  \
    "{'linux':{'cgroupsPath':'" path "','resources':{'unified':{'" file "':'" text "'}}}}"

/* Texts that the kernel takes. What is the leaf's systemd does not get to see. */
Test(plan, limits_that_systemd_cannot_express)
{
    static const struct {
        struct given given;
        const char *word; /* NULL: accepted */
    } rows[] = {
        {{.config = UNIFIED(SCOPED, "memory.high", "0")}, "memory.high: \"0\""},
        {{.config = UNIFIED(SCOPED, "memory.high", "0"), .argument = ONLY}, "MemoryHigh"},
        {{.config = UNIFIED(FILES, "memory.high", "0")}, NULL},
        {{.config = UNIFIED(SCOPED, "memory.high", "1")}, NULL},
        {{.config = UNIFIED(SCOPED, "cpu.max", "500 100000"), .argument = ONLY},
         "cpu.max: \"500 100000\""},
        {{.config = UNIFIED(SCOPED, "cpu.max", "500 100000")}, NULL},
        {{.config = UNIFIED(FILES, "cpu.max", "500 100000"), .argument = ONLY}, NULL},
        {{.config = UNIFIED(SCOPED, "cpu.max", "1000 100000"), .argument = ONLY}, NULL},
        {{.config = UNIFIED(SCOPED, "cpuset.cpus", "x"), .argument = ONLY}, "cpuset.cpus: \"x\""},
        {{.config = UNIFIED(SCOPED, "cpuset.cpus", "x")}, NULL},
        {{.config = UNIFIED(SCOPED, "pids.max", "0x10")}, "pids.max: \"0x10\""},
        {{.config = UNIFIED(FILES, "pids.max", "0x10")}, NULL},
        {{.mode = CG_MODE_V1,
          .config = CGROUPS_PATH(SCOPED),
          .settings = "{'overhead_limits':{'cpu':{'quota':500}}}"},
         "cpu.cfs_quota_us: \"500\""},
        {{.mode = CG_MODE_V1,
          .config = CGROUPS_PATH(FILES),
          .settings = "{'overhead_limits':{'cpu':{'quota':500}}}"},
         NULL},
        {{.mode = CG_MODE_V1,
          .config = CGROUPS_PATH(SCOPED),
          .settings = "{'overhead_limits':{'cpu':{'quota':500}}}",
          .argument = ONLY},
         NULL},
        {{.mode = CG_MODE_V2,
          .config = CGROUPS_PATH(SCOPED),
          .settings = "{'overhead_limits':{'cpu':{'quota':500}}}"},
         NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct given g = rows[i].given;
        const char *word = rows[i].word;
        MADE m;

        g.nodes = NO_NODES;
        g.mode = strstr(g.config, "unified") ? CG_MODE_V2 : g.mode;
        make(&m, &g);
        cr_expect(word ? m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, word) &&
                             strstr(m.e.text, "systemd")
                       : m.r == 0,
                  "input:    %s\nexpected: %s\ngot:      %d, bad input %d, %s", show(&m, &g),
                  word ? word : "a plan", m.r, m.e.bad_input, m.e.text);
    }
}

/* --- contradictions --- */

static const char *const annotation_keys[] = {
    "io.kubernetes.cri.container-type",
    "io.kubernetes.cri.sandbox-id",
    "io.kubernetes.cri-o.ContainerType",
    "io.kubernetes.cri-o.SandboxID",
    "io.kubernetes.docker.type",
    "io.kubernetes.sandbox.id",
    "io.katacontainers.pkg.oci.container_type",
    "io.katacontainers.config.runtime.sandbox_cgroup_only",
    "io.katacontainers.config.runtime.enable_vcpus_pinning",
};

Test(plan, contradictions_at_setup)
{
    static const enum stage stages[] = {STAGE_PRESTART, STAGE_CREATE_RUNTIME, STAGE_POSTSTART};

    for (size_t i = 0; i < ARRAY_SIZE(annotation_keys); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(stages); k++) {
            autoarena a = ARENA_INIT;
            const char *key = annotation_keys[i];
            const struct given g = {.stage = stages[k],
                                    .state = arena_printf(&a, "'annotations':{'%s':'one'}", key),
                                    .config =
                                        arena_printf(&a, "{'annotations':{'%s':'other'}}", key)};
            MADE m;

            make(&m, &g);
            cr_expect(m.r == -EINVAL && m.e.bad_input &&
                          strstr(m.e.text, arena_printf(&a, "annotation %s:", key)) &&
                          strstr(m.e.text, "\"one\"") && strstr(m.e.text, "\"other\""),
                      "input:    %s\nexpected: refused with %s and both values\ngot:      %d, %s",
                      show(&m, &g), key, m.r, m.e.text);
        }
    }
}

/* At teardown nothing can be done about one: config.json's stand. */
Test(plan, contradictions_at_teardown)
{
    static const struct given g = {
        .stage = STAGE_POSTSTOP,
        .state = "'annotations':{'io.kubernetes.cri.container-type':'container',"
                 "'io.kubernetes.cri.sandbox-id':'s2'}",
        .config = "{'annotations':{'io.kubernetes.cri.container-type':'container',"
                  "'io.kubernetes.cri.sandbox-id':'s1'}}"};
    MADE m;

    make(&m, &g);
    cr_expect(m.r == 0 && m.e.code == 0, "expected: a plan\ngot:      %d, %s", m.r, m.e.text);
    cr_expect_str_eq(m.r == 0 ? m.plan.sandbox_id : "", "s1");
}

/* What is not ours may contradict itself. */
Test(plan, unused_annotations)
{
    static const struct given g = {.state = "'annotations':{'io.x':'one'}",
                                   .config = "{'annotations':{'io.x':'other'}}"};
    MADE m;

    make(&m, &g);
    cr_expect_eq(m.r, 0, "%s", m.e.text);
}

/* --- a sandbox that shrinks --- */

Test(plan, sandbox_of_no_containers)
{
    autoarena a = ARENA_INIT;
    const struct facts facts = facts_of(CG_MODE_V2, USUAL);
    struct plan p = {0};
    struct err e = ERR_INIT;
    struct settings settings;

    read_hook(&a, "{}", &settings);
    cr_assert_eq(plan_sandbox(NULL, 0, &settings, &facts, false, &a, &p, &e), 0, "%s", e.text);
    cr_expect_eq(p.sandbox_files.count, 0);
    cr_expect_not(cg_dev_table_allow(&p.device_table, 'c', 1, 3, CG_DEV_R));
}

/* Its result is the part of plan_make() that is about the sandbox. */
Test(plan, sandbox_as_planned)
{
    static const struct given g = {.mode = CG_MODE_V2,
                                   .config =
                                       RESOURCES("{'cpu':{'quota':50000},'pids':{'limit':1}}"),
                                   .others = {"{'cpu':{'quota':10000},'pids':{'limit':2}}"}};
    const struct oci_resources *both[2];
    struct plan p = {0};
    MADE m;

    make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    both[0] = m.plan.resources;
    both[1] = m.others[0];
    cr_assert_eq(plan_sandbox(both, 2, &m.settings, &m.facts, false, &m.arena, &p, &m.e), 0);
    cr_expect_str_eq(files_text(&m.arena, &p.sandbox_files), "cpu.max=60000 100000; pids.max=3; ");
    cr_expect_str_eq(files_text(&m.arena, &p.sandbox_files),
                     files_text(&m.arena, &m.plan.sandbox_files));
    cr_expect_eq(p.device_table.count, m.plan.device_table.count);
}

/* As above, for a scope: the manager is the caller's to say, and the split is no business of v1. */
Test(plan, sandbox_under_systemd)
{
    static const struct {
        enum cg_mode mode;
        bool systemd, only;
        const char *want;
    } rows[] = {
        {CG_MODE_V1, true, false, "cpu.cfs_quota_us=61000; "},
        {CG_MODE_V1, true, true, "cpu.cfs_quota_us=61000; "},
        {CG_MODE_HYBRID, true, false, "cpu.cfs_quota_us=61000; "},
        {CG_MODE_V1, false, false, "cpu.cfs_quota_us=60001; "},
        {CG_MODE_V2, true, false, "cpu.max=60001 100000; "},
        {CG_MODE_V2, true, true, "cpu.max=61000 100000; "},
        {CG_MODE_V2, false, true, "cpu.max=60001 100000; "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct facts facts = facts_of(rows[i].mode, NO_NODES);
        struct plan p = {.mode = rows[i].mode, .systemd = rows[i].systemd};
        struct oci_resources r = {0};
        const struct oci_resources *const containers[] = {&r};
        struct settings settings;
        struct err e = ERR_INIT;
        const char *got;

        read_hook(&a, "{}", &settings);
        read_row(&a, "{'cpu':{'quota':60001}}", &oci_resources_table, &r);
        cr_assert_eq(plan_sandbox(containers, 1, &settings, &facts, rows[i].only, &a, &p, &e), 0,
                     "%s", e.text);
        got = files_text(&a, &p.sandbox_files);
        cr_expect_str_eq(got, rows[i].want, "%s, systemd %d, only %d:\nexpected: %s\ngot:      %s",
                         cg_mode_name(rows[i].mode), rows[i].systemd, rows[i].only, rows[i].want,
                         got);
    }
}

/* --- what is printed --- */

static char *print(struct arena *a, const struct plan *p, bool json)
{
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    char *text = arena_alloc(a, 65536);

    cr_assert(file && saved >= 0);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    plan_print(p, json);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    cr_assert_lt(fread(text, 1, 65535, file), 65535);
    fclose(file);
    return text;
}

struct device_out {
    struct json_bool allow;
    char *type, *access;
    struct json_i64 major, minor;
};

static const struct json_field device_out_fields[] = {
    JSON_F_BOOL("allow", struct device_out, allow),
    JSON_F_STRING("type", struct device_out, type),
    JSON_F_I64("major", struct device_out, major, 0, UINT32_MAX),
    JSON_F_I64("minor", struct device_out, minor, 0, UINT32_MAX),
    JSON_F_STRING("access", struct device_out, access),
};
static const struct json_table device_out_table = {device_out_fields, ARRAY_SIZE(device_out_fields),
                                                   sizeof(struct device_out), true};

struct plan_out {
    struct json_i64 version;
    char *stage, *sandbox_id, *container_id, *role, *policy_source, *cgroup_mode, *manager, *layout;
    struct json_bool only, pinning;
    char *sandbox_path, *vcpu_path, *overhead_path, *sandbox_unit, *overhead_unit;
    struct json_list devices, sandbox_files, overhead_files;
    struct json_list sandbox_properties, overhead_properties, warnings;
};

/* In the documented order. */
static const struct json_field plan_out_fields[] = {
    JSON_F_I64("version", struct plan_out, version, 1, 1),
    JSON_F_STRING("stage", struct plan_out, stage),
    JSON_F_STRING("sandbox_id", struct plan_out, sandbox_id),
    JSON_F_STRING("container_id", struct plan_out, container_id),
    JSON_F_STRING("role", struct plan_out, role),
    JSON_F_BOOL("sandbox_cgroup_only", struct plan_out, only),
    JSON_F_STRING("policy_source", struct plan_out, policy_source),
    JSON_F_STRING("cgroup_mode", struct plan_out, cgroup_mode),
    JSON_F_STRING("manager", struct plan_out, manager),
    JSON_F_STRING("layout", struct plan_out, layout),
    JSON_F_STRING("sandbox_path", struct plan_out, sandbox_path),
    JSON_F_STRING("vcpu_path", struct plan_out, vcpu_path),
    JSON_F_STRING("overhead_path", struct plan_out, overhead_path),
    JSON_F_STRING("sandbox_unit", struct plan_out, sandbox_unit),
    JSON_F_STRING("overhead_unit", struct plan_out, overhead_unit),
    JSON_F_OBJECT_LIST("devices", struct plan_out, devices, &device_out_table),
    JSON_F_STRING_MAP("sandbox_files", struct plan_out, sandbox_files),
    JSON_F_STRING_MAP("overhead_files", struct plan_out, overhead_files),
    JSON_F_STRING_MAP("sandbox_properties", struct plan_out, sandbox_properties),
    JSON_F_STRING_MAP("overhead_properties", struct plan_out, overhead_properties),
    JSON_F_BOOL("enable_vcpus_pinning", struct plan_out, pinning),
    JSON_F_STRING_LIST("warnings", struct plan_out, warnings),
};
static const struct json_table plan_out_table = {plan_out_fields, ARRAY_SIZE(plan_out_fields),
                                                 sizeof(struct plan_out), true};

/* Blanks outside of strings removed: one line to compare with. */
static char *compact(struct arena *a, const char *json)
{
    char *out = arena_strdup(a, json), *end = out;
    bool quoted = false;

    for (const char *p = json; *p; p++) {
        if (*p == '"' && (p == json || p[-1] != '\\'))
            quoted = !quoted;
        if (quoted || !strchr(" \n\t", *p))
            *end++ = *p;
    }
    *end = '\0';
    return out;
}

#define NO_PROPERTIES "'sandbox_properties':{},'overhead_properties':{},"

/* The rules of WILD_JSON as DeviceAllow. */
#define WILD_ALLOW "m block-*, rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*"

#define WILD_JSON                                                                                  \
    "{'allow':true,'type':'c','major':null,'minor':null,'access':'m'},"                            \
    "{'allow':true,'type':'b','major':null,'minor':null,'access':'m'},"                            \
    "{'allow':true,'type':'c','major':136,'minor':null,'access':'rwm'},"                           \
    "{'allow':true,'type':'c','major':10,'minor':200,'access':'rwm'},"                             \
    "{'allow':true,'type':'c','major':5,'minor':2,'access':'rwm'}"

static const struct {
    struct given given;
    const char *want;
} printed[] = {
    {{.mode = CG_MODE_V1,
      .nodes = NO_NODES,
      .state = CONTAINER,
      .config = "{'linux':{'cgroupsPath':'/kubepods/pod1/c1','resources':{"
                "'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':1,"
                "'minor':3,'access':'rwm'}],'memory':{'limit':4096}}}}",
      .settings = "{'virtualization_devices':false,'overhead_limits':{'pids':{'limit':9}}}"},
     "{'version':1,'stage':'prestart','sandbox_id':'s1','container_id':'c1','role':'container',"
     "'sandbox_cgroup_only':false,'policy_source':'default','cgroup_mode':'v1',"
     "'manager':'cgroupfs','layout':'sibling','sandbox_path':'/kubepods/pod1/kata_s1',"
     "'vcpu_path':'/kubepods/pod1/kata_s1','overhead_path':'/kata_overhead/s1',"
     "'sandbox_unit':null,'overhead_unit':null,"
     "'devices':[{'allow':false,'type':'a','major':null,'minor':null,'access':'rwm'},"
     "{'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'}," WILD_JSON "],"
     "'sandbox_files':{'memory.limit_in_bytes':'4096'},'overhead_files':{'pids.max':'9'}"
     "," NO_PROPERTIES "'enable_vcpus_pinning':false,'warnings':['cgroup v1 charges a VM\"s memory "
     "to its main thread, which is in the overhead "
     "cgroup: memory.limit_in_bytes of the sandbox will not hold it; use sandbox_cgroup_only or "
     "overhead_limits']}"},
    {{.mode = CG_MODE_V2,
      .nodes = NO_NODES,
      .stage = STAGE_POSTSTART,
      .state = SANDBOX,
      .config = RESOURCES("{'cpu':{'quota':50000}}"),
      .settings = "{'virtualization_devices':false,'sandbox_cgroup_only':true}"},
     "{'version':1,'stage':'poststart','sandbox_id':'s1','container_id':'c1','role':'sandbox',"
     "'sandbox_cgroup_only':true,'policy_source':'config','cgroup_mode':'v2',"
     "'manager':'cgroupfs','layout':'sibling','sandbox_path':'/vc/kata_s1',"
     "'vcpu_path':'/vc/kata_s1','overhead_path':null,"
     "'sandbox_unit':null,'overhead_unit':null,'devices':[" WILD_JSON
     ",{'allow':true,'type':'b','major':7,'minor':null,'access':'rwm'}],"
     "'sandbox_files':{'cpu.max':'50000 100000'},'overhead_files':{}," NO_PROPERTIES
     "'enable_vcpus_pinning':false,'warnings':[]}"},
    {{.mode = CG_MODE_V2,
      .nodes = NO_NODES,
      .config = RESOURCES("{'cpu':{'quota':50000}}"),
      .settings = "{'virtualization_devices':false,'sandbox_cgroup_only':true,'layout':'nested'}"},
     "{'version':1,'stage':'prestart','sandbox_id':'c1','container_id':'c1','role':'single',"
     "'sandbox_cgroup_only':true,'policy_source':'config','cgroup_mode':'v2',"
     "'manager':'cgroupfs','layout':'nested','sandbox_path':'/vc/c1/kata_c1',"
     "'vcpu_path':'/vc/c1/kata_c1','overhead_path':null,"
     "'sandbox_unit':null,'overhead_unit':null,'devices':[],"
     "'sandbox_files':{},'overhead_files':{}," NO_PROPERTIES
     "'enable_vcpus_pinning':false,'warnings':[]}"},
    {{.mode = CG_MODE_V2,
      .nodes = NO_NODES,
      .stage = STAGE_POSTSTOP,
      .config = CGROUPS_PATH("a-b.slice:pre:nm"),
      .settings = "{'virtualization_devices':false}",
      .argument = {true, false}},
     "{'version':1,'stage':'poststop','sandbox_id':'c1','container_id':'c1','role':'single',"
     "'sandbox_cgroup_only':false,'policy_source':'argument','cgroup_mode':'v2',"
     "'manager':'systemd','layout':'sibling',"
     "'sandbox_path':'/a.slice/a-b.slice/pre-kata_nm.scope',"
     "'vcpu_path':'/a.slice/a-b.slice/pre-kata_nm.scope/threads/sandbox',"
     "'overhead_path':'/a.slice/a-b.slice/pre-kata_nm.scope/threads/overhead',"
     "'sandbox_unit':'pre-kata_nm.scope','overhead_unit':null,'devices':[" WILD_JSON "],"
     "'sandbox_files':{},'overhead_files':{},'sandbox_properties':{'TasksMax':'infinity',"
     "'DeviceAllow':'" WILD_ALLOW "','DevicePolicy':'strict'},'overhead_properties':{},"
     "'enable_vcpus_pinning':false,'warnings':[]}"},
    {{.mode = CG_MODE_HYBRID,
      .nodes = NO_NODES,
      .stage = STAGE_CREATE_RUNTIME,
      .config = CGROUPS_PATH("a.slice:pre:nm"),
      .settings = "{'virtualization_devices':false}"},
     "{'version':1,'stage':'createRuntime','sandbox_id':'c1','container_id':'c1',"
     "'role':'single','sandbox_cgroup_only':false,'policy_source':'default',"
     "'cgroup_mode':'hybrid','manager':'systemd','layout':'sibling',"
     "'sandbox_path':'/a.slice/pre-kata_nm.scope','vcpu_path':'/a.slice/pre-kata_nm.scope',"
     "'overhead_path':'/kata.slice/kata-overhead.slice/kata-overhead-c1.scope',"
     "'sandbox_unit':'pre-kata_nm.scope','overhead_unit':'kata-overhead-c1.scope',"
     "'devices':[" WILD_JSON "],'sandbox_files':{},'overhead_files':{},"
     "'sandbox_properties':{'TasksMax':'infinity','DeviceAllow':'" WILD_ALLOW "',"
     "'DevicePolicy':'strict'},"
     "'overhead_properties':{'TasksMax':'infinity','DeviceAllow':'" WILD_ALLOW "',"
     "'DevicePolicy':'strict'},'enable_vcpus_pinning':false,'warnings':[]}"},
    /* nothing but the empty DeviceAllow, which is the only one then */
    {{.mode = CG_MODE_V1,
      .nodes = NO_NODES,
      .config = "{'linux':{'cgroupsPath':'a.slice:pre:nm','resources':{"
                "'devices':[{'allow':true}],'memory':{'limit':4096},'cpu':{'cpus':'0'}}}}",
      .settings = "{'virtualization_devices':false,'overhead_limits':{'pids':{'limit':9}}}",
      .argument = {true, false}},
     "{'version':1,'stage':'prestart','sandbox_id':'c1','container_id':'c1','role':'single',"
     "'sandbox_cgroup_only':false,'policy_source':'argument','cgroup_mode':'v1',"
     "'manager':'systemd','layout':'sibling','sandbox_path':'/a.slice/pre-kata_nm.scope',"
     "'vcpu_path':'/a.slice/pre-kata_nm.scope',"
     "'overhead_path':'/kata.slice/kata-overhead.slice/kata-overhead-c1.scope',"
     "'sandbox_unit':'pre-kata_nm.scope','overhead_unit':'kata-overhead-c1.scope',"
     "'devices':[{'allow':true,'type':'a','major':null,'minor':null,'access':'rwm'}," WILD_JSON
     "],'sandbox_files':{'cpuset.cpus':'0','memory.limit_in_bytes':'4096'},"
     "'overhead_files':{'pids.max':'9'},"
     "'sandbox_properties':{'MemoryLimit':'4096','TasksMax':'infinity','DeviceAllow':'',"
     "'DevicePolicy':'auto'},"
     "'overhead_properties':{'TasksMax':'9','DeviceAllow':'','DevicePolicy':'auto'},"
     "'enable_vcpus_pinning':false,'warnings':['cgroup v1 charges a VM\"s memory to its main "
     "thread, which is in the overhead "
     "cgroup: memory.limit_in_bytes of the sandbox will not hold it; use sandbox_cgroup_only or "
     "overhead_limits']}"},
};

/* As make_json(), with " for an apostrophe. */
static char *wanted_json(struct arena *a, const char *text)
{
    char *json = arena_strdup(a, text);

    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p == '"' ? '\'' : *p;
    return json;
}

Test(plan, json)
{
    for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
        const char *want, *got;
        MADE m;

        make(&m, &printed[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        want = wanted_json(&m.arena, printed[i].want);
        got = compact(&m.arena, print(&m.arena, &m.plan, true));
        cr_expect_str_eq(got, want, "input:    %s\nexpected: %s\ngot:      %s",
                         show(&m, &printed[i].given), want, got);
    }
}

static size_t count_names(const struct cg_properties *properties)
{
    size_t names = 0;

    for (size_t i = 0; i < properties->count; i++) {
        size_t k = 0;

        while (!str_eq(properties->items[k].name, properties->items[i].name))
            k++;
        names += k == i;
    }
    return names;
}

/* Other programs' view: every member is there in its place, and nothing else. */
Test(plan, json_members)
{
    for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
        struct plan_out out = {0};
        struct json_doc doc = {.table = &plan_out_table, .dest = &out};
        const char *at;
        char *json;
        MADE m;

        make(&m, &printed[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        json = print(&m.arena, &m.plan, true);
        cr_assert_eq(json_read_text(json, strlen(json), &doc, 1, 0, "plan", &m.arena, &m.e), 1,
                     "%s\n%s", m.e.text, json);
        at = json;
        for (size_t k = 0; k < ARRAY_SIZE(plan_out_fields) && at; k++) {
            const char *next =
                strstr(at, arena_printf(&m.arena, "\n  \"%s\":", plan_out_fields[k].key));

            cr_expect(next, "member %s is not in its place in: %s", plan_out_fields[k].key, json);
            at = next ? next + 1 : NULL;
        }
        cr_expect_eq(out.only.value, m.plan.sandbox_cgroup_only);
        cr_expect(str_eq_null(out.overhead_path, m.plan.overhead_path));
        cr_expect(str_eq_null(out.sandbox_unit, m.plan.sandbox_unit));
        cr_expect(str_eq_null(out.overhead_unit, m.plan.overhead_unit));
        cr_expect_eq(out.devices.count, m.plan.devices.count);
        cr_expect_eq(out.sandbox_files.count, m.plan.sandbox_files.count);
        cr_expect_eq(out.overhead_files.count, m.plan.overhead_files.count);
        cr_expect_eq(out.sandbox_properties.count, count_names(&m.plan.sandbox_properties));
        cr_expect_eq(out.overhead_properties.count, count_names(&m.plan.overhead_properties));
        cr_expect_eq(out.warnings.count, m.plan.warning_count);
        for (size_t k = 0; k < out.warnings.count; k++)
            cr_expect_str_eq(JSON_AT(out.warnings, char *, k), m.plan.warnings[k]);
    }
}

/* One key per file: a program that reads the object must not lose one of two values. */
Test(plan, json_files_once)
{
    static const struct given g = {
        .mode = CG_MODE_V2,
        .config = RESOURCES("{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}"),
        .others = {"{'hugepageLimits':[{'pageSize':'2MB','limit':4}]}", "{}"}};
    const char *json, *first;
    MADE m;

    make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    json = print(&m.arena, &m.plan, true);
    first = strstr(json, "\"hugetlb.2MB.max\"");
    cr_expect(first && !strstr(first + 1, "\"hugetlb.2MB.max\""), "hugetlb.2MB.max once in: %s",
              json);
}

/* Nor one of two lists: the empty DeviceAllow is sent, but it is the last that counts. */
Test(plan, json_properties_once)
{
    static const struct given g = {.mode = CG_MODE_V1, .config = CGROUPS_PATH("a.slice:p:n")};
    const char *json, *text, *first, *second;
    MADE m;

    make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    cr_assert_eq(count_names(&m.plan.sandbox_properties) + 1, m.plan.sandbox_properties.count);
    json = print(&m.arena, &m.plan, true);
    first = strstr(json, "\"DeviceAllow\"");
    second = first ? strstr(first + 1, "\"DeviceAllow\"") : NULL;
    cr_expect(second && first < strstr(json, "\"overhead_properties\"") &&
                  second > strstr(json, "\"overhead_properties\"") &&
                  !strstr(second + 1, "\"DeviceAllow\""),
              "once in each object: %s", json);
    text = print(&m.arena, &m.plan, false);
    first = strstr(text, "DeviceAllow=");
    second = first ? strstr(first + 1, "DeviceAllow=") : NULL;
    cr_expect(second && !strstr(second + 1, "DeviceAllow="), "once for each scope: %s", text);
}

/* Text that is not ours arrives escaped, in the JSON and on the terminal. */
Test(plan, print_escapes)
{
    static const struct given g = {.mode = CG_MODE_V2,
                                   .nodes = NO_NODES,
                                   .settings = "{'virtualization_devices':false,'extra_devices':"
                                               "['/dev/a\\u001b\\u0022b']}"};
    const char *json, *text;
    MADE m;

    make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    json = print(&m.arena, &m.plan, true);
    text = print(&m.arena, &m.plan, false);
    cr_expect(strstr(json, "/dev/a\\u001B\\\"b does not exist"), "%s", json);
    cr_expect(strstr(text, "/dev/a\\x1b\"b does not exist"), "%s", text);
    cr_expect_not(strchr(json, '\033') || strchr(text, '\033'));
}

Test(plan, text)
{
    static const struct {
        struct given given;
        const char *want;
    } rows[] = {
        {{.mode = CG_MODE_V1,
          .nodes = FEW,
          .state = CONTAINER,
          .config = "{'linux':{'cgroupsPath':'/k/c1','resources':{'devices':[{'allow':false}],"
                    "'cpu':{'quota':50000,'period':100000}}}}",
          .settings = "{'overhead_limits':{'pids':{'limit':9}}}"},
         "stage                 prestart\n"
         "sandbox               s1\n"
         "container             c1\n"
         "role                  container\n"
         "sandbox_cgroup_only   false (default)\n"
         "cgroups               v1, cgroupfs, sibling\n"
         "sandbox path          /k/kata_s1\n"
         "vCPU path             /k/kata_s1\n"
         "overhead path         /kata_overhead/s1\n"
         "devices               deny  a *:* rwm\n"
         "                      allow c 1:3 rwm\n"
         "                      allow c *:* m\n"
         "                      allow b *:* m\n"
         "                      allow c 136:* rwm\n"
         "                      allow c 10:200 rwm\n"
         "                      allow c 5:2 rwm\n"
         "sandbox files         cpu.cfs_period_us = 100000\n"
         "                      cpu.cfs_quota_us = 50000\n"
         "overhead files        pids.max = 9\n"
         "warning               neither /dev/kvm nor /dev/mshv exists on this host: guests run "
         "without hardware virtualisation\n"},
        {{.mode = CG_MODE_HYBRID,
          .nodes = NO_NODES,
          .config = CGROUPS_PATH("a.slice:p:n"),
          .settings = "{'virtualization_devices':false}"},
         "stage                 prestart\n"
         "sandbox               c1\n"
         "container             c1\n"
         "role                  single\n"
         "sandbox_cgroup_only   false (default)\n"
         "cgroups               hybrid, systemd, sibling\n"
         "sandbox path          /a.slice/p-kata_n.scope\n"
         "vCPU path             /a.slice/p-kata_n.scope\n"
         "overhead path         /kata.slice/kata-overhead.slice/kata-overhead-c1.scope\n"
         "sandbox unit          p-kata_n.scope\n"
         "overhead unit         kata-overhead-c1.scope\n"
         "devices               allow c *:* m\n"
         "                      allow b *:* m\n"
         "                      allow c 136:* rwm\n"
         "                      allow c 10:200 rwm\n"
         "                      allow c 5:2 rwm\n"
         "sandbox properties    TasksMax=infinity\n"
         "                      DeviceAllow=" WILD_ALLOW "\n"
         "                      DevicePolicy=strict\n"
         "overhead properties   TasksMax=infinity\n"
         "                      DeviceAllow=" WILD_ALLOW "\n"
         "                      DevicePolicy=strict\n"},
        /* files first, then what is told besides */
        {{.mode = CG_MODE_V2,
          .nodes = NO_NODES,
          .config = "{'linux':{'cgroupsPath':'a.slice:p:n','resources':{"
                    "'devices':[{'allow':true}],'cpu':{'shares':1024}}}}",
          .settings = "{'virtualization_devices':false}",
          .argument = ONLY},
         "stage                 prestart\n"
         "sandbox               c1\n"
         "container             c1\n"
         "role                  single\n"
         "sandbox_cgroup_only   true (argument)\n"
         "cgroups               v2, systemd, sibling\n"
         "sandbox path          /a.slice/p-kata_n.scope\n"
         "vCPU path             /a.slice/p-kata_n.scope\n"
         "sandbox unit          p-kata_n.scope\n"
         "devices               allow a *:* rwm\n"
         "                      allow c *:* m\n"
         "                      allow b *:* m\n"
         "                      allow c 136:* rwm\n"
         "                      allow c 10:200 rwm\n"
         "                      allow c 5:2 rwm\n"
         "                      allow b 7:* rwm\n"
         "sandbox files         cpu.weight = 100\n"
         "sandbox properties    CPUWeight=100\n"
         "                      TasksMax=infinity\n"
         "                      DeviceAllow=\n"
         "                      DevicePolicy=auto\n"},
        {{.mode = CG_MODE_V2,
          .nodes = NO_NODES,
          .settings = "{'virtualization_devices':false}",
          .argument = ONLY},
         "stage                 prestart\n"
         "sandbox               c1\n"
         "container             c1\n"
         "role                  single\n"
         "sandbox_cgroup_only   true (argument)\n"
         "cgroups               v2, cgroupfs, sibling\n"
         "sandbox path          /vc/kata_c1\n"
         "vCPU path             /vc/kata_c1\n"
         "devices               allow c *:* m\n"
         "                      allow b *:* m\n"
         "                      allow c 136:* rwm\n"
         "                      allow c 10:200 rwm\n"
         "                      allow c 5:2 rwm\n"
         "                      allow b 7:* rwm\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *got;
        MADE m;

        make(&m, &rows[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        got = print(&m.arena, &m.plan, false);
        cr_expect_str_eq(got, rows[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                         show(&m, &rows[i].given), rows[i].want, got);
    }
}

/* --- purity --- */

/* The same input gives the same plan, as often as it is asked, and stays as it is. */
Test(plan, pure)
{
    for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
        const char *first, *again, *fresh;
        struct plan second;
        MADE m, n;

        make(&m, &printed[i].given);
        make(&n, &printed[i].given);
        cr_assert(m.r == 0 && n.r == 0, "%s%s", m.e.text, n.e.text);
        first = print(&m.arena, &m.plan, true);
        memset(&second, 0xa5, sizeof second);
        cr_assert_eq(plan_make(&m.in, &m.arena, &second, &m.e), 0, "%s", m.e.text);
        again = print(&m.arena, &second, true);
        fresh = print(&m.arena, &n.plan, true);
        cr_expect_str_eq(again, first, "the same input twice:\n%s\n%s", first, again);
        cr_expect_str_eq(fresh, first, "an equal input:\n%s\n%s", first, fresh);
    }
}
