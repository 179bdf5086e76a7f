/* SPDX-License-Identifier: Apache-2.0 */

/* What no plan is made for, and what contradicts itself. */

#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "tests/unit/kit/plan_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#define LONG_64    "0123456789012345678901234567890123456789012345678901234567890123"
#define LONG_235   LONG_64 LONG_64 LONG_64 "0123456789012345678901234567890123456789012"
#define LONG_236   LONG_235 "x"
#define DOLLARS_30 "$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$"
#define DOLLARS_60 DOLLARS_30 DOLLARS_30
#define LONG_251                                                                                   \
    LONG_64 LONG_64 LONG_64 "01234567890123456789012345678901234567890123456789012345678"

static const struct {
    struct kit_given given;
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
    /* too long when it is escaped for systemd, and with what is put before it */
    {{.config = CGROUPS_PATH("a.slice:" DOLLARS_60 "abc:n")},
     {"linux.cgroupsPath, as a unit", "256"}},
    {{.mode = CG_MODE_V1, .id = LONG_236, .config = CGROUPS_PATH("a.slice:p:n")},
     {"the sandbox's id, as a unit", "256"}},
    /* devices */
    {{.config = DEVICES("{'allow':true,'access':'rwm'},{'allow':true,'type':'x','access':'rwm'}")},
     {"linux.resources.devices[1].type", "\"x\""}},
    {{.config = DEVICES("{'allow':true,'type':'cb','access':'rwm'}")},
     {"linux.resources.devices[0].type", "\"cb\""}},
    {{.config = DEVICES("{'allow':true,'type':'c','access':'rx'}")},
     {"linux.resources.devices[0].access", "\"rx\""}},
    {{.config = DEVICES("{'allow':true,'type':'c','access':'rr'}")},
     {"linux.resources.devices[0].access", "\"rr\""}},
    /* limits */
    {{.config = RESOURCES("{'cpu':{'cpus':'0-'}}")}, {"linux.resources.cpu.cpus", "\"0-\""}},
    {{.config = RESOURCES("{'cpu':{'mems':'x'}}")}, {"linux.resources.cpu.mems", "\"x\""}},
    {{.config = RESOURCES("{'cpu':{'idle':2}}")}, {"linux.resources.cpu.idle", "2"}},
    {{.config = RESOURCES("{'memory':{'limit':100,'swap':50}}")},
     {"linux.resources.memory.swap", "50"}},
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
    /* of the runtime's scope, with a period that makes a number out of it which none can hold */
    {{.mode = CG_MODE_V2,
      .config = "{'annotations':{'org.systemd.property.CPUQuotaPerSecUSec':'uint64 "
                "9000000000000000000'},'linux':{'cgroupsPath':'a.slice:p:n','resources':{'cpu':{"
                "'period':9000000000000000000}}}}"},
     {"CPUQuotaPerSecUSec", "9223372036854775807"}},
    {{.settings = "{'overhead_limits':{'cpu':{'idle':2}}}"}, {"overhead_limits", "cpu.idle"}},
    {{.mode = CG_MODE_V1, .settings = "{'overhead_limits':{'unified':{'cpu.max':'1'}}}"},
     {"overhead_limits", "unified"}},
    {{.mode = CG_MODE_V1, .settings = "{'overhead_limits':{'cpu':{'quota':999}}}"},
     {"overhead_limits: cpu.quota", "999"}},
    {{.mode = CG_MODE_HYBRID,
      .config = CGROUPS_PATH("a.slice:p:n"),
      .settings = "{'overhead_limits':{'cpu':{'quota':999}}}"},
     {"overhead_limits: cpu.quota", "999"}},
    {{.mode = CG_MODE_V1,
      .settings = "{'layout':'nested','overhead_limits':{'cpu':{'quota':9000,'period':999}}}"},
     {"overhead_limits: cpu.period", "999"}},
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
    {{.others = {"{'devices':[{'allow':true,'type':'q','access':'rwm'}]}"}},
     {"linux.resources.devices[0].type", "\"q\""}},
};

Test(plan_refused, refused)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        MADE m;

        kit_make(&m, &refused[i].given);
        cr_expect(m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, refused[i].words[0]) &&
                      strstr(m.e.text, refused[i].words[1]),
                  "input:    %s\nexpected: refused with %s and %s\ngot:      %d, %s",
                  kit_show(&m, &refused[i].given), refused[i].words[0], refused[i].words[1], m.r,
                  m.e.text);
    }
}

/* What the others would be alone was asked when they came; and it need not be what is wanted. */
Test(plan_refused, not_refused)
{
    static const struct kit_given rows[] = {
        {.others = {"{'cpu':{'idle':2}}"}, .config = RESOURCES("{'pids':{'limit':1}}")},
        {.others = {"{}"},
         .settings = "{'resources':'kata'}",
         .config = RESOURCES("{'cpu':{'idle':2}}")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;

        kit_make(&m, &rows[i]);
        cr_expect_eq(m.r, 0, "input:    %s\ngot:      %d, %s", kit_show(&m, &rows[i]), m.r,
                     m.e.text);
    }
}

/* The longest units that still fit, for the rows of `refused` that do not. */
Test(plan_refused, longest_units)
{
    static const struct kit_given rows[] = {
        {.config = CGROUPS_PATH("a.slice:" DOLLARS_60 "ab:n")},
        {.mode = CG_MODE_V1, .id = LONG_235, .config = CGROUPS_PATH("a.slice:p:n")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;

        kit_make(&m, &rows[i]);
        cr_expect_eq(m.r, 0, "%s", m.e.text);
        cr_expect_eq(strlen(i == 0 ? m.plan.sandbox_unit : m.plan.overhead_unit), 255);
    }
}

/* The longest name that still fits, for the row of `refused` that does not. */
Test(plan_refused, longest_name)
{
    static const struct kit_given g = {
        .config = CGROUPS_PATH("/" LONG_64 LONG_64 LONG_64 "01234567890123456789012345678901234567"
                               "89012345678901234567")};
    MADE m;

    kit_make(&m, &g);
    cr_expect_eq(m.r, 0, "%s", m.e.text);
    cr_expect_eq(m.r < 0 ? 0 : strlen(cg_path_base(m.plan.sandbox_path)), 255);
}

/* What v1 files cannot say is refused before anything is touched; v2 can say it. */
Test(plan_refused, devices_that_v1_cannot_express)
{
    struct kit_given g = {.config = DEVICES("{'allow':false,'access':'rwm'},"
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
        kit_make(&m, &g);
        cr_expect(m.r == rows[i].want && m.e.bad_input == (rows[i].want < 0) &&
                      (m.r == 0 || strstr(m.e.text, "210")),
                  "input:    %s\nexpected: %d\ngot:      %d, %s", kit_show(&m, &g), rows[i].want,
                  m.r, m.e.text);
    }
}

#define OWN_DEVICES(path, list)                                                                    \
    "{'linux':{'cgroupsPath':'" path "','resources':{'devices':[" list "]}}}"
#define ANY(path) OWN_DEVICES(path, "{'allow':true,'access':'rwm'}")
#define HOLE_IN_ALL(path)                                                                          \
    OWN_DEVICES(path, "{'allow':true,'access':'rwm'},{'allow':false,'type':'c','major':210,'"      \
                      "minor':5,'access':'rwm'}")
#define HOLE_IN_MAJOR(path)                                                                        \
    OWN_DEVICES(                                                                                   \
        path,                                                                                      \
        "{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':210,'access':'rwm'},"     \
        "{'allow':false,'type':'c','major':210,'minor':5,'access':'rw'}")
#define MINOR_OF_ANY(path)                                                                         \
    OWN_DEVICES(path,                                                                              \
                "{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':-1,'minor':210,"  \
                "'access':'rw'}")
#define FILES  "/k/c"
#define SCOPED "a.slice:p:n"

/* A scope's device list can only add devices, and one minor of any major is no entry of it. */
Test(plan_refused, devices_that_systemd_cannot_express)
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
        const struct kit_given g = {.mode = modes[i / 2 % ARRAY_SIZE(modes)],
                                    .argument = {i % 2, true},
                                    .nodes = NO_NODES,
                                    .config = rows[k].config};
        int want = (g.mode == CG_MODE_V2 ? rows[k].v2 : rows[k].v1) ? 0 : -ENOTSUP;
        MADE m;

        kit_make(&m, &g);
        cr_expect(m.r == want && m.e.bad_input == (want < 0) &&
                      (want == 0 || strstr(m.e.text, "210")),
                  "input:    %s\nexpected: %d\ngot:      %d, bad input %d, %s", kit_show(&m, &g),
                  want, m.r, m.e.bad_input, m.e.text);
    }
}

/* A container that is fine alone, beside one that is not. */
Test(plan_refused, devices_of_others_that_systemd_cannot_express)
{
    struct kit_given g = {
        .mode = CG_MODE_V2,
        .nodes = NO_NODES,
        .config = OWN_DEVICES(SCOPED, "{'allow':false,'access':'rwm'}"),
        .others = {"{'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':-1,"
                   "'minor':210,'access':'rw'}]}"}};
    MADE scope, files;

    kit_make(&scope, &g);
    cr_expect(scope.r == -ENOTSUP && scope.e.bad_input && strstr(scope.e.text, "c *:210"), "%d, %s",
              scope.r, scope.e.text);
    g.config = OWN_DEVICES(FILES, "{'allow':false,'access':'rwm'}");
    kit_make(&files, &g);
    cr_expect_eq(files.r, 0, "%s", files.e.text);
}

#define UNIFIED(path, file, text)                                                                  \
    "{'linux':{'cgroupsPath':'" path "','resources':{'unified':{'" file "':'" text "'}}}}"

/* Texts that the kernel takes. What is the leaf's systemd does not get to see. */
Test(plan_refused, limits_that_systemd_cannot_express)
{
    static const struct {
        struct kit_given given;
        const char *word; /* NULL: accepted */
    } rows[] = {
        {{.config = UNIFIED(SCOPED, "memory.high", "0")}, "memory.high: \"0\""},
        {{.config = UNIFIED(SCOPED, "memory.high", "0"), .argument = ONLY}, "MemoryHigh"},
        {{.config = UNIFIED(FILES, "memory.high", "0")}, NULL},
        {{.config = UNIFIED(SCOPED, "memory.high", "1")}, NULL},
        {{.config = UNIFIED(SCOPED, "cpu.max", "500 100000"), .argument = ONLY},
         "cpu.max: \"500 100000\""},
        {{.config = UNIFIED(SCOPED, "cpu.max", "500 100000")}, "cpu.max: \"500 100000\""},
        {{.config = UNIFIED(FILES, "cpu.max", "500 100000"), .argument = ONLY}, NULL},
        {{.config = UNIFIED(SCOPED, "cpu.max", "1000 100000"), .argument = ONLY}, NULL},
        {{.config = UNIFIED(SCOPED, "cpuset.cpus", "x"), .argument = ONLY}, "cpuset.cpus: \"x\""},
        {{.config = UNIFIED(SCOPED, "cpuset.cpus", "x")}, "cpuset.cpus: \"x\""},
        {{.config = UNIFIED(FILES, "cpuset.cpus", "x")}, NULL},
        {{.config = UNIFIED(SCOPED, "pids.max", "0x10")}, "pids.max: \"0x10\""},
        {{.config = UNIFIED(FILES, "pids.max", "0x10")}, NULL},
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
        struct kit_given g = rows[i].given;
        const char *word = rows[i].word;
        MADE m;

        g.nodes = NO_NODES;
        g.mode = strstr(g.config, "unified") ? CG_MODE_V2 : g.mode;
        kit_make(&m, &g);
        cr_expect(word ? m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, word) &&
                             strstr(m.e.text, "systemd")
                       : m.r == 0,
                  "input:    %s\nexpected: %s\ngot:      %d, bad input %d, %s", kit_show(&m, &g),
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
    "oci-sandbox-cgroup.io/overhead-cpu-quota",
};

Test(plan_refused, contradictions_at_setup)
{
    static const enum stage stages[] = {STAGE_PRESTART, STAGE_CREATE_RUNTIME, STAGE_POSTSTART};

    for (size_t i = 0; i < ARRAY_SIZE(annotation_keys); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(stages); k++) {
            autoarena a = ARENA_INIT;
            const char *key = annotation_keys[i];
            const struct kit_given g = {
                .stage = stages[k],
                .state = arena_printf(&a, "'annotations':{'%s':'one'}", key),
                .config = arena_printf(&a, "{'annotations':{'%s':'other'}}", key)};
            MADE m;

            kit_make(&m, &g);
            cr_expect(m.r == -EINVAL && m.e.bad_input &&
                          strstr(m.e.text, arena_printf(&a, "annotation %s:", key)) &&
                          strstr(m.e.text, "\"one\"") && strstr(m.e.text, "\"other\""),
                      "input:    %s\nexpected: refused with %s and both values\ngot:      %d, %s",
                      kit_show(&m, &g), key, m.r, m.e.text);
        }
    }
}

/* At teardown nothing can be done about one: config.json's stand. */
Test(plan_refused, contradictions_at_teardown)
{
    static const struct kit_given g = {
        .stage = STAGE_POSTSTOP,
        .state = "'annotations':{'io.kubernetes.cri.container-type':'container',"
                 "'io.kubernetes.cri.sandbox-id':'s2'}",
        .config = "{'annotations':{'io.kubernetes.cri.container-type':'container',"
                  "'io.kubernetes.cri.sandbox-id':'s1'}}"};
    MADE m;

    kit_make(&m, &g);
    cr_expect(m.r == 0 && m.e.code == 0, "expected: a plan\ngot:      %d, %s", m.r, m.e.text);
    cr_expect_str_eq(m.r == 0 ? m.plan.sandbox_id : "", "s1");
}

/* What is not ours may contradict itself. */
Test(plan_refused, unused_annotations)
{
    static const struct kit_given g = {.state = "'annotations':{'io.x':'one'}",
                                       .config = "{'annotations':{'io.x':'other'}}"};
    MADE m;

    kit_make(&m, &g);
    cr_expect_eq(m.r, 0, "%s", m.e.text);
}
