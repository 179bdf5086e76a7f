/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

/* --- paths --- */

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

static void expect_place(const struct kit_given *g, const char *const *want)
{
    static const char *const what[] = {"sandbox_path", "vcpu_path",    "overhead_path",
                                       "parent_path",  "sandbox_unit", "overhead_unit"};
    MADE m, place;

    kit_make(&m, g);
    kit_prepare(&place, g);
    place.r = plan_place(&place.in, &place.arena, &place.plan, &place.e);
    cr_expect(m.r == 0 && place.r == 0 && m.e.code == 0,
              "input:    %s\nexpected: a plan\ngot:      "
              "%d, %s",
              kit_show(&m, g), m.r, m.e.text);
    for (int only_place = 0; only_place <= 1 && m.r == 0 && place.r == 0; only_place++) {
        const struct plan *p = only_place ? &place.plan : &m.plan;
        const char *const got[] = {p->sandbox_path, p->vcpu_path,    p->overhead_path,
                                   p->parent_path,  p->sandbox_unit, p->overhead_unit};

        for (size_t i = 0; i < ARRAY_SIZE(got); i++)
            cr_expect(str_eq_null(got[i], want[i]),
                      "input:    %s\nexpected: %s %s\ngot:      %s (plan_place %d)",
                      kit_show(&m, g), what[i], kit_or_null(want[i]), kit_or_null(got[i]),
                      only_place);
        cr_expect_eq(p->systemd, want[4] != NULL, "input:    %s\nsystemd %d", kit_show(&m, g),
                     p->systemd);
        cr_expect_eq(p->sandbox_cgroup_only, g->argument.set);
        cr_expect_eq(p->mode, g->mode);
        cr_expect_eq(p->layout, LAYOUT_SIBLING);
        /* the quota of the cgroup around the vCPUs becomes theirs */
        cr_expect_eq(p->lifted_count, g->mode == CG_MODE_V2 && !g->argument.set);
        for (size_t i = 0; i < p->lifted_count; i++)
            cr_expect_str_eq(p->lifted_paths[i], want[0]);
    }
}

Test(plan, places)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(modes); k++) {
            autoarena a = ARENA_INIT;
            const char *sandbox = places[i].sandbox;
            struct kit_given g = {.mode = modes[k],
                                  .state = places[i].state,
                                  .config = places[i].config,
                                  .settings = places[i].settings,
                                  .argument = ONLY};
            const char *const only[] = {sandbox,          sandbox,        NULL,
                                        places[i].parent, places[i].unit, NULL};
            const char *const split_v1[] = {
                sandbox,          sandbox,        places[i].v1_overhead,
                places[i].parent, places[i].unit, places[i].v1_overhead_unit};
            const char *const split_v2[] = {
                sandbox,
                arena_printf(&a, "%s/%svcpu", sandbox, strstr(sandbox, "kata_") ? "kata_" : "p-"),
                sandbox,
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
        struct kit_given given;
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

        kit_make(&m, &rows[i].given);
        got = m.r < 0 ? m.e.text
                      : arena_printf(&m.arena, "%s %s %s %s %s %s", m.plan.sandbox_id,
                                     m.plan.container_id, role_name(m.plan.role),
                                     stage_name(m.plan.stage),
                                     m.plan.sandbox_cgroup_only ? "true" : "false",
                                     policy_source_name(m.plan.policy_source));
        cr_expect_str_eq(got, rows[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                         kit_show(&m, &rows[i].given), rows[i].want, got);
    }
}

/* --- devices --- */

#define DEFAULTS                                                                                   \
    "+c 1:3 rwm, +c 1:8 rwm, +c 1:7 rwm, +c 5:0 rwm, +c 1:5 rwm, +c 1:9 rwm, +c 5:1 rwm"
#define DEFAULTS_BUT_NULL "+c 1:8 rwm, +c 1:7 rwm, +c 5:0 rwm, +c 1:5 rwm, +c 1:9 rwm, +c 5:1 rwm"
#define VIRT              "+c 10:232 rwm, +c 10:238 rwm, +c 10:196 rwm, +c 10:241 rwm"
#define WILD              "+c *:* m, +b *:* m, +c 136:* rwm, +c 10:200 rwm, +c 5:2 rwm"

static const struct {
    struct kit_given given;
    const char *want;
} device_lists[] = {
    {{.nodes = USUAL}, DEFAULTS ", " VIRT ", " WILD},
    /* the policy changes nothing: an annotation may turn it on */
    {{.nodes = USUAL, .argument = ONLY}, DEFAULTS ", " VIRT ", " WILD},
    {{.nodes = USUAL,
      .config = "{'annotations':{'io.katacontainers.config.runtime.sandbox_cgroup_only':'true'}}"},
     DEFAULTS ", " VIRT ", " WILD},
    {{.nodes = USUAL, .settings = "{'virtualization_devices':false}"}, DEFAULTS ", " WILD},
    /* missing nodes are left out */
    {{.nodes = FEW}, "+c 1:3 rwm, " WILD},
    {{.nodes = NO_NODES}, WILD},
    {{.nodes = MSHV}, "+c 10:120 rwm, +c 10:121 rwm, " WILD},
    /* the spec's rules come first, as they are; its nodes are no permissions */
    {{.nodes = NO_NODES,
      .config = DEVICES("{'allow':false,'access':'rwm'},"
                        "{'allow':true,'type':'c','major':4,'minor':-1,'access':'r'},"
                        "{'allow':true,'type':'b','access':'w'},"
                        "{'allow':true,'type':'a','major':9,'minor':1,'access':'mr'},"
                        "{'allow':true,'type':'','major':9,'access':''}")},
     "-a *:* rwm, +c 4:* r, +b *:* w, +a 9:1 rm, " WILD},
    {{.nodes = NO_NODES,
      .config = "{'linux':{'resources':{'devices':[{'allow':false,'access':'rwm'}]},"
                "'devices':[{'path':'/dev/vfio/7','type':'c','major':511,'minor':7},"
                "{'path':'/dev/u','type':'u','major':9,'minor':8},"
                "{'path':'/dev/f','type':'p'},{'path':'/dev/b','type':'b','major':9,'minor':9}]}}"},
     "-a *:* rwm, " WILD},
    /* extra devices come last, in the order of the file; block devices too */
    {{.nodes = USUAL,
      .settings = "{'virtualization_devices':false,'extra_devices':['/dev/sda','/dev/gone',"
                  "'/dev/kvm']}",
      .argument = ONLY},
     DEFAULTS ", " WILD ", +b 8:0 rwm, +c 10:232 rwm"},
    {{.nodes = USUAL, .settings = "{'extra_devices':['/dev/loop-control','b 7:* rw','/dev/sda']}"},
     DEFAULTS ", " VIRT ", " WILD ", +c 10:237 rwm, +b 7:* rw, +b 8:0 rwm"},
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
     DEFAULTS ", " VIRT ", " WILD},
    /* the same device with other access, and behind a denial, is another rule */
    {{.nodes = USUAL,
      .config = DEVICES("{'allow':true,'type':'c','major':1,'minor':3,'access':'r'}")},
     "+c 1:3 r, " DEFAULTS ", " VIRT ", " WILD},
    {{.nodes = USUAL,
      .config = DEVICES("{'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'},"
                        "{'allow':false,'access':'rwm'}")},
     "+c 1:3 rwm, -a *:* rwm, " DEFAULTS ", " VIRT ", " WILD},
};

Test(plan, devices)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(device_lists); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(modes); k++) {
            struct kit_given g = device_lists[i].given;
            const char *got;
            MADE m;

            g.mode = modes[k];
            kit_make(&m, &g);
            got = m.r < 0 ? m.e.text : dev_rules_text(&m.arena, &m.plan.devices);
            cr_expect_str_eq(got, device_lists[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                             kit_show(&m, &g), device_lists[i].want, got);
        }
    }
}

/* The sandbox allows what any of its containers does; the list that is shown is one's own. */
Test(plan, devices_of_other_containers)
{
    static const struct kit_given g = {
        .mode = CG_MODE_V2,
        .config = DEVICES("{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':200,'"
                          "minor':1,'access':'rwm'}"),
        .others = {"{'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':"
                   "201,'minor':1,"
                   "'access':'r'}]}",
                   "{'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'b','major':"
                   "202,'access':'rwm'}]}"}};
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

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(dev_table_allows(&m.plan.limits.sandbox.devices, rows[i].type, rows[i].major,
                                      rows[i].minor, rows[i].access),
                     rows[i].want, "%c %u:%u %d: expected %d", rows[i].type, rows[i].major,
                     rows[i].minor, rows[i].access, rows[i].want);
    cr_expect_str_eq(dev_rules_text(&m.arena, &m.plan.devices),
                     "-a *:* rwm, +c 200:1 rwm, " DEFAULTS ", " VIRT ", " WILD);
}

/* --- limits --- */

#define NO_PIDS          "{'pids':{'limit':0}}"
#define OF_SPEC(version) "'ociVersion':'" version "'"

static const struct {
    struct kit_given given;
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
    /* no process is none at all, but for a runtime of runtime-spec 1.3 */
    {{.config = RESOURCES(NO_PIDS)}, "pids.max=max; ", "pids.max=max; "},
    {{.config = RESOURCES(NO_PIDS), .state = OF_SPEC("1.2.1")}, "pids.max=max; ", "pids.max=max; "},
    {{.config = RESOURCES(NO_PIDS), .state = OF_SPEC("0.9.0")}, "pids.max=max; ", "pids.max=max; "},
    {{.config = RESOURCES(NO_PIDS), .state = OF_SPEC("1.3.0-dev")}, "pids.max=1; ", "pids.max=1; "},
    {{.config = RESOURCES(NO_PIDS), .state = OF_SPEC("1.10.0")}, "pids.max=1; ", "pids.max=1; "},
    {{.config = RESOURCES(NO_PIDS), .state = OF_SPEC("2.0.0")}, "pids.max=1; ", "pids.max=1; "},
    {{.config = RESOURCES(NO_PIDS), .state = OF_SPEC("new")}, "pids.max=max; ", "pids.max=max; "},
    {{.config = RESOURCES("{'pids':{'limit':5}}"), .state = OF_SPEC("1.3.0")},
     "pids.max=5; ",
     "pids.max=5; "},
    {{.config = RESOURCES("{'pids':{'limit':-1},'cpu':{'shares':2}}"), .state = OF_SPEC("1.3.0")},
     "cpu.shares=2; pids.max=max; ",
     "cpu.weight=1; pids.max=max; "},
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

static void expect_files(const struct kit_given *row, enum cg_mode mode, bool overhead,
                         const char *want)
{
    struct kit_given g = *row;
    const char *got;
    MADE m;

    g.mode = mode;
    kit_make(&m, &g);
    got = m.r < 0 ? m.e.text
                  : kit_plan_files(&m.arena, overhead ? &m.plan.overhead.files
                                                      : &m.plan.limits.sandbox.files);
    cr_expect_str_eq(got, want, "input:    %s\nexpected: %s\ngot:      %s", kit_show(&m, &g), want,
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
    static const struct kit_given given = {.config = RESOURCES("{'unified':{'memory.high':'9'}}")};
    static const struct kit_given kata = {.config = RESOURCES("{'unified':{'memory.high':'9'}}"),
                                          .settings = "{'resources':'kata'}"};

    expect_files(&given, CG_MODE_V2, false, "memory.high=9; ");
    expect_files(&kata, CG_MODE_V1, false, "");
}

#define OVERHEAD_LIMITS                                                                            \
    "{'overhead_limits':{'cpu':{'quota':20000,'cpus':'3'},'memory':{'limit':100},"                 \
    "'pids':{'limit':5},'hugepageLimits':[{'pageSize':'2MB','limit':6}],"                          \
    "'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':7}]}}}"

static const struct {
    struct kit_given given;
    const char *v1, *v2;
} overhead_limits[] = {
    /* on v2 the quota of all becomes the vCPUs', and is lifted; on v1 the overhead competes as all did */
    {{.settings = "{}", .config = RESOURCES(FULL)}, "cpu.shares=1024; ", "cpu.max=max 99999; "},
    {{.settings = "{}", .config = RESOURCES(FULL), .argument = ONLY}, "", ""},
    {{.settings = "{}", .config = MEMORY}, "", ""},
    /* Q + O */
    {{.settings = OVERHEAD_LIMITS, .config = RESOURCES(FULL)},
     "cpu.shares=1024; cpu.cfs_quota_us=20000; ",
     "cpu.max=70000 99999; "},
    {{.settings = OVERHEAD_LIMITS}, "cpu.cfs_quota_us=20000; ", ""},
    {{.settings = "{'overhead_limits':{'cpu':{'shares':7}}}", .config = RESOURCES(FULL)},
     "cpu.shares=7; ",
     "cpu.max=max 99999; "},
    /* no overhead cgroup, no limits of it */
    {{.settings = OVERHEAD_LIMITS, .config = RESOURCES(FULL), .argument = ONLY}, "", ""},
    /* the whole sandbox's */
    {{.settings = OVERHEAD_LIMITS,
      .config = RESOURCES("{'cpu':{'quota':50000,'shares':1024}}"),
      .others = {"{'cpu':{'quota':10000,'shares':1024}}"}},
     "cpu.shares=2048; cpu.cfs_quota_us=20000; ",
     "cpu.max=80000 99999; "},
    /* what `resources` leaves out is not set apart either */
    {{.settings = "{'resources':'kata'}", .config = RESOURCES(FULL)}, "", ""},
};

Test(plan, overhead_files)
{
    for (size_t i = 0; i < ARRAY_SIZE(overhead_limits); i++) {
        expect_files(&overhead_limits[i].given, CG_MODE_V1, true, overhead_limits[i].v1);
        expect_files(&overhead_limits[i].given, CG_MODE_HYBRID, true, overhead_limits[i].v1);
        expect_files(&overhead_limits[i].given, CG_MODE_V2, true, overhead_limits[i].v2);
    }
}

/* --- warnings --- */

#define PINNING(value)                                                                             \
    "'annotations':{'io.katacontainers.config.runtime.enable_vcpus_pinning':'" value "'}"

#define OTHER_HOOK(stage)                                                                          \
    "{'hooks':{'" stage "':[{'path':'/usr/bin/oci-sandbox-cgroup'},{'path':'/usr/bin/other'}]}}"

static const struct {
    struct kit_given given;
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
    {{.config = RESOURCES("{'rdma':{'mlx5_1':{'hcaHandles':3,'hcaObjects':10000}}}")},
     {"linux.resources.rdma is not carried over"}},
    {{.settings = "{'layout':'nested','virtualization_devices':false}",
      .config = RESOURCES("{'rdma':{'mlx5_1':{'hcaHandles':3}}}"),
      .argument = ONLY},
     {NULL}},
    /* limits of the overhead */
    {{.mode = CG_MODE_V2, .settings = OVERHEAD_LIMITS},
     {"overhead_limits: cpuset.cpus is not set, because the overhead shares the sandbox's cpuset",
      "overhead_limits: memory.max is not set, because the overhead shares the sandbox's memory",
      "overhead_limits: pids.max is not set", "overhead_limits: hugetlb.2MB.max is not set",
      "overhead_limits: hugetlb.2MB.rsvd.max is not set",
      "overhead_limits: io.max is not set, because the overhead shares the sandbox's io"}},
    {{.mode = CG_MODE_V2, .settings = OVERHEAD_LIMITS, .argument = ONLY}, {NULL}},
    {{.mode = CG_MODE_V1, .settings = "{'overhead_limits':{'cpu':{'quota':5000}}}"}, {NULL}},
    {{.mode = CG_MODE_V2, .settings = "{'overhead_limits':{'cpu':{'quota':5000}}}"}, {NULL}},
    /* a key of versions before */
    {{.settings = "{'no_vcpu':'constrain'}"}, {"no_vcpu has no effect any more"}},
    {{.settings = "{'no_vcpu':'keep'}", .argument = ONLY}, {"no_vcpu has no effect any more"}},
    /* a hypervisor's device */
    {{.nodes = FEW}, {"neither /dev/kvm nor /dev/mshv"}},
    {{.nodes = NO_NODES}, {"neither /dev/kvm nor /dev/mshv"}},
    {{.nodes = MSHV}, {NULL}},
    {{.nodes = NO_NODES, .settings = "{'virtualization_devices':false}"}, {NULL}},
    /* extra devices */
    {{.settings = "{'extra_devices':['/dev/sda','/dev/gone','/dev/unasked']}"},
     {"extra_devices: /dev/gone does not exist", "extra_devices: /dev/unasked does not exist"}},
    {{.settings = "{'extra_devices':['/dev/sda','b 7:* rwm']}"}, {NULL}},
    {{.settings = "{'layout':'nested','virtualization_devices':false,'extra_devices':['b 7:* r']}",
      .argument = ONLY},
     {"extra_devices: \"b 7:* r\" has no effect with layout nested"}},
    /* where v1 charges a VM's memory is where its limit is */
    {{.mode = CG_MODE_V1, .config = MEMORY}, {NULL}},
    {{.mode = CG_MODE_HYBRID, .config = MEMORY}, {NULL}},
    /* the watcher pins with both policies */
    {{.settings = "{'enable_vcpus_pinning':true}"}, {NULL}},
    {{.settings = "{'enable_vcpus_pinning':true,'overhead_cpus':'0'}", .argument = ONLY}, {NULL}},
    {{.settings = "{'overhead_cpus':'0'}"}, {NULL}},
    {{.state = PINNING("true"), .argument = ONLY}, {NULL}},
    /* the runtime's own device rules, with layout nested */
    {{.settings = NESTED,
      .argument = ONLY,
      .config = RESOURCES("{'devices':[{'allow':true,'access':'rwm'}]}")},
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
      .config = DEVICES("{'allow':true,'type':'c','major':10,'minor':232,'access':'rw'}")},
     {NULL}},
    {{.settings = NESTED,
      .argument = ONLY,
      .nodes = KVM_ALONE,
      .config = "{'linux':{'devices':[{'type':'c','path':'/dev/kvm','major':10,'minor':232}]}}"},
     {"not allow /dev/kvm (c 10:232 rw)"}},
    {{.settings = "{'layout':'nested','virtualization_devices':false,'memory_overhead_bytes':4096}",
      .argument = ONLY},
     {"memory_overhead_bytes"}},
    /* other hooks, which may set device rules where nobody can read them */
    {{.mode = CG_MODE_V2, .config = OTHER_HOOK("prestart")}, {"there are other hooks"}},
    {{.mode = CG_MODE_V2, .config = OTHER_HOOK("createRuntime"), .argument = ONLY},
     {"there are other hooks"}},
    {{.mode = CG_MODE_V2, .config = OTHER_HOOK("createContainer")}, {"there are other hooks"}},
    {{.mode = CG_MODE_V2, .config = OTHER_HOOK("poststart")}, {NULL}},
    {{.mode = CG_MODE_V2,
      .config = "{'hooks':{'prestart':[{'path':'/x/oci-sandbox-cgroup'}],'createRuntime':[]}}"},
     {NULL}},
    {{.mode = CG_MODE_V1, .config = OTHER_HOOK("prestart")}, {NULL}},
    {{.mode = CG_MODE_V2,
      .settings = "{'layout':'nested','virtualization_devices':false}",
      .config = OTHER_HOOK("prestart"),
      .argument = ONLY},
     {NULL}},
    /* several at once */
    {{.mode = CG_MODE_V1,
      .nodes = NO_NODES,
      .config = MEMORY,
      .settings = "{'no_vcpu':'keep','extra_devices':['/dev/x']}"},
     {"neither", "/dev/x", "no_vcpu"}},
};

static bool all_warnings(const struct plan *p, const char *const *want, size_t count)
{
    if (p->warnings.count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!strstr(p->warnings.items[i], want[i]))
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

        kit_make(&m, &warned[i].given);
        cr_assert_eq(m.r, 0, "%s: %s", kit_show(&m, &warned[i].given), m.e.text);
        for (; warned[i].want[count]; count++)
            want = arena_printf(&m.arena, "%s\n  %s", want, warned[i].want[count]);
        for (size_t k = 0; k < m.plan.warnings.count; k++)
            got = arena_printf(&m.arena, "%s\n  %s", got, m.plan.warnings.items[k]);
        cr_expect(all_warnings(&m.plan, warned[i].want, count),
                  "input:    %s\nexpected: %s\ngot:      %s", kit_show(&m, &warned[i].given), want,
                  got);
    }
}

/* Nobody runs yet, and config.json does not say where. */
Test(plan, no_place)
{
    static const struct {
        const char *path, *process;
        bool want;
    } rows[] = {
        {NULL, NULL, true},      {"'x/y'", NULL, true}, {"'/x'", NULL, false},
        {"':p:n'", NULL, false}, {NULL, "/x", false},   {"'x'", "/x", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct kit_given g = {
            .config = rows[i].path ? arena_printf(&a, "{'linux':{'cgroupsPath':%s}}", rows[i].path)
                                   : NULL};
        MADE m;

        kit_prepare(&m, &g);
        m.in.process_path = rows[i].process;
        cr_expect_eq(plan_has_no_place(&m.in), rows[i].want, "%s in %s", rows[i].path,
                     rows[i].process);
    }
}

Test(plan, foreign)
{
    static const struct kit_given g = {0};
    MADE m;

    kit_prepare(&m, &g);
    m.facts.foreign = true;
    m.r = kit_plan(&m, &m.plan);
    cr_assert(m.r == 0 && m.plan.warnings.count == 1, "%s", m.e.text);
    cr_expect_str_eq(m.plan.warnings.items[0], PLAN_FOREIGN);
}

/* The rest is done. systemd is told what it is to do, as it is by runtimes. */
Test(plan, no_device_rules)
{
    static const struct {
        const char *config;
        bool want;
    } rows[] = {
        {"{'linux':{'cgroupsPath':'/a/b','resources':{'pids':{'limit':7}}}}", false},
        {"{'linux':{'cgroupsPath':'a.slice:p:n','resources':{'pids':{'limit':7}}}}", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows) * 2; i++) {
        const struct kit_given g = {.mode = i & 1 ? CG_MODE_V2 : CG_MODE_V1,
                                    .config = rows[i / 2].config};
        bool warns = false;
        MADE m;

        kit_prepare(&m, &g);
        m.facts.no_device_rules = true;
        m.r = kit_plan(&m, &m.plan);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        for (size_t k = 0; k < m.plan.warnings.count; k++)
            warns = warns || str_eq(m.plan.warnings.items[k], PLAN_NO_DEVICE_RULES);
        cr_expect_eq(m.plan.limits.sandbox.has_devices, rows[i / 2].want);
        cr_expect_neq(warns, rows[i / 2].want);
        cr_expect(plan_warns_of_loss(PLAN_NO_DEVICE_RULES));
        cr_expect(plan_warns_of_loss(PLAN_OTHER_HOOKS));
        cr_expect_not(plan_warns_of_loss(PLAN_FOREIGN));
        cr_expect_eq(plan_change(&m.plan.limits.sandbox, &m.arena).devices != NULL,
                     rows[i / 2].want);
        cr_expect_str_eq(kit_plan_files(&m.arena, &m.plan.limits.sandbox.files), "pids.max=7; ");
    }
}

/* The refused annotation's warning is marked, so that the log can tell it from advice. */
Test(plan, refused_annotation)
{
    static const struct kit_given refused = {.config = LOOSEN, .argument = ONLY};
    static const struct kit_given nothing = {.config = LOOSEN, .nodes = NO_NODES};
    MADE m, n;

    kit_make(&m, &refused);
    cr_assert(m.r == 0 && m.plan.warnings.count == 1, "%s", m.e.text);
    cr_expect_eq(m.plan.refused, m.plan.warnings.items[0]);
    cr_expect(m.plan.sandbox_cgroup_only);
    kit_make(&n, &nothing);
    cr_assert(n.r == 0 && n.plan.warnings.count == 1, "%s", n.e.text);
    cr_expect_null(n.plan.refused);
}

/* --- what containers add up to --- */

Test(plan, limits_of_no_containers)
{
    autoarena a = ARENA_INIT;
    const struct facts facts = kit_facts_of(CG_MODE_V2, USUAL);
    struct settings settings;
    const struct plan_basis basis = {.settings = &settings, .facts = &facts};
    struct plan_warnings warnings = {0};
    struct plan_limits limits;
    struct err e = ERR_INIT;

    kit_read_hook(&a, "{}", &settings);
    cr_assert_eq(plan_limits(&basis, NULL, 0, &a, &limits, &warnings, &e), 0, "%s", e.text);
    cr_expect_eq(limits.sandbox.files.count, 0);
    cr_expect(limits.sandbox.has_devices);
    cr_expect_not(dev_table_allows(&limits.sandbox.devices, 'c', 1, 3, CG_DEV_R));
}

/* The same as plan_fill() has. */
Test(plan, limits_as_planned)
{
    static const struct kit_given g = {.mode = CG_MODE_V2,
                                       .config =
                                           RESOURCES("{'cpu':{'quota':50000},'pids':{'limit':1}}"),
                                       .others = {"{'cpu':{'quota':10000},'pids':{'limit':2}}"}};
    struct aggregate_member both[2];
    struct plan_warnings warnings = {0};
    struct plan_limits limits;
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    const struct plan_basis basis = {.settings = &m.settings, .facts = &m.facts};

    both[0] = (struct aggregate_member){NULL, m.plan.resources, true};
    both[1] = m.others[0];
    cr_assert_eq(plan_limits(&basis, both, 2, &m.arena, &limits, &warnings, &m.e), 0);
    cr_expect_str_eq(kit_plan_files(&m.arena, &limits.sandbox.files),
                     "cpu.max=60000 100000; pids.max=3; ");
    cr_expect_str_eq(kit_plan_files(&m.arena, &limits.sandbox.files),
                     kit_plan_files(&m.arena, &m.plan.limits.sandbox.files));
    cr_expect_eq(limits.sandbox.devices.count, m.plan.limits.sandbox.devices.count);
}

/* Of a container that joins, too. */
Test(plan, devices_by_hand)
{
    static const struct kit_given g = {
        .mode = CG_MODE_V2,
        .config = DEVICES("{'allow':true,'type':'c','major':200,'minor':1,'access':'rwm'}")};
    MADE m;

    kit_prepare(&m, &g);
    m.in.asked = dev_make_rules(&m.arena, "-c 200:1 w, +c 202:1 r");
    cr_assert_eq(kit_plan(&m, &m.plan), 0, "%s", m.e.text);
    cr_expect(dev_table_allows(&m.plan.limits.sandbox.devices, 'c', 202, 1, CG_DEV_R));
    cr_expect(dev_table_allows(&m.plan.limits.sandbox.devices, 'c', 200, 1, CG_DEV_R));
    cr_expect_not(dev_table_allows(&m.plan.limits.sandbox.devices, 'c', 200, 1, CG_DEV_W));
}

/* What is recorded and not planned is taken away, and systemd is told. */
Test(plan, resets)
{
    static const struct {
        enum cg_mode mode;
        const char *want;
    } rows[] = {
        {CG_MODE_V1, "memory.limit_in_bytes=-1; "},
        {CG_MODE_V2, "memory.max=max; "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool v2 = rows[i].mode == CG_MODE_V2;
        const struct kit_given g = {
            .mode = rows[i].mode,
            .nodes = NO_NODES,
            .config = "{'linux':{'cgroupsPath':':runc:c1','resources':{'pids':{'limit':1}}}}",
        };
        const struct cg_property *told = NULL;
        MADE m;

        kit_prepare(&m, &g);
        cg_files_add(&m.arena, &m.in.recorded, v2 ? "memory.max" : "memory.limit_in_bytes", "4096",
                     v2);
        cg_files_add(&m.arena, &m.in.recorded, "pids.max", "9", v2);
        cr_assert_eq(kit_plan(&m, &m.plan), 0, "%s", m.e.text);
        cr_expect_str_eq(kit_plan_files(&m.arena, &m.plan.limits.sandbox.resets), rows[i].want);
        cr_expect_eq(m.plan.overhead.resets.count, 0);
        for (size_t k = 0; k < m.plan.limits.sandbox.properties.count; k++) {
            if (str_starts(m.plan.limits.sandbox.properties.items[k].name, "Memory"))
                told = &m.plan.limits.sandbox.properties.items[k];
        }
        cr_assert(told);
        cr_expect_str_eq(cg_property_text(told, &m.arena), "infinity");
    }
}

/* A list that this host cannot express: refused, or the one in force is kept. */
Test(plan, kept_devices)
{
    static const struct kit_given g = {
        .mode = CG_MODE_V1,
        .nodes = NO_NODES,
        .config = RESOURCES("{'devices':[{'allow':true,'type':'c','major':1,'access':'rw'},"
                            "{'allow':false,'type':'c','major':1,'minor':3,'access':'w'}]}"),
    };
    struct plan_warnings warnings = {0};
    struct plan_limits limits;
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, -ENOTSUP);
    cr_expect(m.e.bad_input);
    struct plan_basis basis = {.settings = &m.settings, .facts = &m.facts};
    const struct aggregate_member member = {NULL, m.plan.resources, true};

    cr_expect_eq(plan_limits(&basis, &member, 1, &m.arena, &limits, &warnings, NULL), -ENOTSUP);
    basis.may_keep_devices = true;
    cr_assert_eq(plan_limits(&basis, &member, 1, &m.arena, &limits, &warnings, NULL), 0);
    cr_expect_not(limits.sandbox.has_devices);
    cr_assert_eq(warnings.count, 1);
    cr_expect_eq(warnings.items[0], limits.kept_devices);
    cr_expect(strstr(limits.kept_devices, "keeps its device list"), "%s", limits.kept_devices);
}

/* systemd's own idea of a scope's quota is in whole per cents; the file's is exact, and the policy is no matter. */
Test(plan, limits_under_systemd)
{
    static const struct {
        enum cg_mode mode;
        bool systemd, only;
        const char *want;
    } rows[] = {
        {CG_MODE_V1, true, false, "cpu.cfs_quota_us=60001; "},
        {CG_MODE_V1, true, true, "cpu.cfs_quota_us=60001; "},
        {CG_MODE_HYBRID, true, false, "cpu.cfs_quota_us=60001; "},
        {CG_MODE_V1, false, false, "cpu.cfs_quota_us=60001; "},
        {CG_MODE_V2, true, false, "cpu.max=60001 100000; "},
        {CG_MODE_V2, true, true, "cpu.max=60001 100000; "},
        {CG_MODE_V2, false, true, "cpu.max=60001 100000; "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct facts facts = kit_facts_of(rows[i].mode, NO_NODES);
        struct settings settings;
        const struct plan_basis basis = {.settings = &settings,
                                         .facts = &facts,
                                         .systemd = rows[i].systemd,
                                         .sandbox_cgroup_only = rows[i].only};
        struct oci_resources r = {0};
        const struct aggregate_member member = {NULL, &r, true};
        struct plan_warnings warnings = {0};
        struct plan_limits limits;
        struct err e = ERR_INIT;
        const char *got;

        kit_read_hook(&a, "{}", &settings);
        kit_read_row(&a, "{'cpu':{'quota':60001}}", &oci_resources_table, &r);
        cr_assert_eq(plan_limits(&basis, &member, 1, &a, &limits, &warnings, &e), 0, "%s", e.text);
        got = kit_plan_files(&a, &limits.sandbox.files);
        cr_expect_str_eq(got, rows[i].want, "%s, systemd %d, only %d:\nexpected: %s\ngot:      %s",
                         cg_mode_name(rows[i].mode), rows[i].systemd, rows[i].only, rows[i].want,
                         got);
    }
}
