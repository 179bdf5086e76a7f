/* SPDX-License-Identifier: Apache-2.0 */

/* What is printed of a plan. */

#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hook/plan/explain.h"
#include "tests/unit/kit/plan_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

static char *print_why(struct arena *a, const struct plan *p, const struct explain *why, bool json)
{
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    char *text = arena_alloc(a, 65536);

    cr_assert(file && saved >= 0);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    plan_print(p, why, json);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    cr_assert_lt(fread(text, 1, 65535, file), 65535);
    fclose(file);
    return text;
}

static char *print(struct arena *a, const struct plan *p, bool json)
{
    return print_why(a, p, NULL, json);
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
                                                   sizeof(struct device_out), true, false};

struct plan_out {
    struct json_i64 version;
    char *stage, *sandbox_id, *container_id, *role, *policy_source, *cgroup_mode, *manager, *layout;
    char *layout_reason, *runtime, *runtime_version;
    struct json_bool only, pinning;
    char *sandbox_path, *vcpu_path, *overhead_path, *sandbox_unit, *overhead_unit;
    struct json_list lifted, devices, sandbox_files, overhead_files;
    struct json_list sandbox_resets;
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
    JSON_F_STRING("layout_reason", struct plan_out, layout_reason),
    JSON_F_STRING("runtime", struct plan_out, runtime),
    JSON_F_STRING("runtime_version", struct plan_out, runtime_version),
    JSON_F_STRING("sandbox_path", struct plan_out, sandbox_path),
    JSON_F_STRING("vcpu_path", struct plan_out, vcpu_path),
    JSON_F_STRING("overhead_path", struct plan_out, overhead_path),
    JSON_F_STRING("sandbox_unit", struct plan_out, sandbox_unit),
    JSON_F_STRING("overhead_unit", struct plan_out, overhead_unit),
    JSON_F_STRING_LIST("lifted_paths", struct plan_out, lifted),
    JSON_F_OBJECT_LIST("devices", struct plan_out, devices, &device_out_table),
    JSON_F_STRING_MAP("sandbox_files", struct plan_out, sandbox_files),
    JSON_F_STRING_MAP("overhead_files", struct plan_out, overhead_files),
    JSON_F_STRING_MAP("sandbox_resets", struct plan_out, sandbox_resets),
    JSON_F_STRING_MAP("sandbox_properties", struct plan_out, sandbox_properties),
    JSON_F_STRING_MAP("overhead_properties", struct plan_out, overhead_properties),
    JSON_F_BOOL("enable_vcpus_pinning", struct plan_out, pinning),
    JSON_F_STRING_LIST("warnings", struct plan_out, warnings),
};
static const struct json_table plan_out_table = {plan_out_fields, ARRAY_SIZE(plan_out_fields),
                                                 sizeof(struct plan_out), true, false};

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

#define NO_RESETS     "'sandbox_resets':{},"
#define NO_PROPERTIES NO_RESETS "'sandbox_properties':{},'overhead_properties':{},"

/* The rules of WILD_JSON as DeviceAllow. */
#define WILD_ALLOW "m block-*, rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*"

#define WILD_JSON                                                                                  \
    "{'allow':true,'type':'c','major':null,'minor':null,'access':'m'},"                            \
    "{'allow':true,'type':'b','major':null,'minor':null,'access':'m'},"                            \
    "{'allow':true,'type':'c','major':136,'minor':null,'access':'rwm'},"                           \
    "{'allow':true,'type':'c','major':10,'minor':200,'access':'rwm'},"                             \
    "{'allow':true,'type':'c','major':5,'minor':2,'access':'rwm'}"

static const struct {
    struct kit_given given;
    const char *want;
} printed[] = {
    {{.mode = CG_MODE_V1,
      .nodes = NO_NODES,
      .state = CONTAINER,
      .config = "{'linux':{'cgroupsPath':'/kubepods/pod1/c1','resources':{"
                "'devices':[{'allow':false,'access':'rwm'},{'allow':true,'type':'c','major':1,"
                "'minor':3,'access':'rwm'}],'memory':{'limit':4096}}}}",
      .settings = "{'virtualization_devices':false,'overhead_limits':{'cpu':{'shares':9},"
                  "'pids':{'limit':5}}}"},
     "{'version':1,'stage':'prestart','sandbox_id':'s1','container_id':'c1','role':'container',"
     "'sandbox_cgroup_only':false,'policy_source':'default','cgroup_mode':'v1',"
     "'manager':'cgroupfs','layout':'sibling','sandbox_path':'/kubepods/pod1/kata_s1',"
     "'vcpu_path':'/kubepods/pod1/kata_s1','overhead_path':'/kata_overhead/s1',"
     "'sandbox_unit':null,'overhead_unit':null,"
     "'lifted_paths':[],'devices':[{'allow':false,'type':'a','major':null,'minor':null,'access':'"
     "rwm'},"
     "{'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'}," WILD_JSON "],"
     "'sandbox_files':{'memory.limit_in_bytes':'4096'},'overhead_files':{'cpu.shares':'9'}"
     "," NO_PROPERTIES "'enable_vcpus_pinning':false,'warnings':['overhead_limits: pids.max is not "
     "set, because the overhead shares the sandbox\"s pids']}"},
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
     "'sandbox_unit':null,'overhead_unit':null,'lifted_paths':[],'devices':[" WILD_JSON
     "],'sandbox_files':{'cpu.max':'50000 100000'},'overhead_files':{}," NO_PROPERTIES
     "'enable_vcpus_pinning':false,'warnings':[]}"},
    {{.mode = CG_MODE_V2,
      .nodes = NO_NODES,
      .config = RESOURCES("{'cpu':{'quota':50000}}"),
      .settings = "{'virtualization_devices':false,'sandbox_cgroup_only':true,'layout':'nested'}"},
     "{'version':1,'stage':'prestart','sandbox_id':'c1','container_id':'c1','role':'single',"
     "'sandbox_cgroup_only':true,'policy_source':'config','cgroup_mode':'v2',"
     "'manager':'cgroupfs','layout':'nested','sandbox_path':'/vc/c1',"
     "'vcpu_path':'/vc/c1','overhead_path':null,"
     "'sandbox_unit':null,'overhead_unit':null,'lifted_paths':[],'devices':[],"
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
     "'vcpu_path':'/a.slice/a-b.slice/pre-kata_nm.scope/kata_vcpu',"
     "'overhead_path':'/a.slice/a-b.slice/pre-kata_nm.scope',"
     "'sandbox_unit':'pre-kata_nm.scope','overhead_unit':null,"
     "'lifted_paths':['/a.slice/a-b.slice/pre-kata_nm.scope'],'devices':[" WILD_JSON "],"
     "'sandbox_files':{},'overhead_files':{}," NO_RESETS
     "'sandbox_properties':{'TasksMax':'infinity',"
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
     "'lifted_paths':[],'devices':[" WILD_JSON "],'sandbox_files':{},'overhead_files':{}," NO_RESETS
     "'sandbox_properties':{'TasksMax':'infinity','DeviceAllow':'" WILD_ALLOW "',"
     "'DevicePolicy':'strict'},"
     "'overhead_properties':{'TasksMax':'infinity'},'enable_vcpus_pinning':false,'warnings':[]}"},
    /* nothing but the empty DeviceAllow, which is the only one then */
    {{.mode = CG_MODE_V1,
      .nodes = NO_NODES,
      .config = "{'linux':{'cgroupsPath':'a.slice:pre:nm','resources':{"
                "'lifted_paths':[],'devices':[{'allow':true,'access':'rwm'}],'memory':{'limit':"
                "4096},'cpu':{'cpus'"
                ":'0'}}}}",
      .settings = "{'virtualization_devices':false,'overhead_limits':{'cpu':{'shares':9}}}",
      .argument = {true, false}},
     "{'version':1,'stage':'prestart','sandbox_id':'c1','container_id':'c1','role':'single',"
     "'sandbox_cgroup_only':false,'policy_source':'argument','cgroup_mode':'v1',"
     "'manager':'systemd','layout':'sibling','sandbox_path':'/a.slice/pre-kata_nm.scope',"
     "'vcpu_path':'/a.slice/pre-kata_nm.scope',"
     "'overhead_path':'/kata.slice/kata-overhead.slice/kata-overhead-c1.scope',"
     "'sandbox_unit':'pre-kata_nm.scope','overhead_unit':'kata-overhead-c1.scope',"
     "'lifted_paths':[],'devices':[{'allow':true,'type':'a','major':null,'minor':null,'access':'"
     "rwm'}," WILD_JSON "],'sandbox_files':{'cpuset.cpus':'0','memory.limit_in_bytes':'4096'},"
     "'overhead_files':{'cpu.shares':'9'}," NO_RESETS
     "'sandbox_properties':{'MemoryLimit':'4096','TasksMax':'infinity','DeviceAllow':'',"
     "'DevicePolicy':'auto'},"
     "'overhead_properties':{'CPUShares':'9','TasksMax':'infinity'},"
     "'enable_vcpus_pinning':false,'warnings':[]}"},
};

/* A text with more behind the first place where @behind stands. */
static char *with_more(struct arena *a, const char *text, const char *behind, const char *more)
{
    const char *at = strstr(text, behind);
    int len;

    cr_assert(at, "\"%s\" in: %s", behind, text);
    len = (int)(at - text) + (int)strlen(behind);
    return arena_printf(a, "%.*s%s%s", len, text, more, text + len);
}

/* As make_json(), with " for an apostrophe; and with why the layout is that of the row. */
static char *wanted_json(struct arena *a, const char *row, const char *reason)
{
    char *json = with_more(
        a, row, strstr(row, "'layout':'nested',") ? "'layout':'nested'," : "'layout':'sibling',",
        arena_printf(a,
                     "'layout_reason':'%s','runtime':null,"
                     "'runtime_version':null,",
                     reason));

    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p == '"' ? '\'' : *p;
    return json;
}

Test(plan_print, json)
{
    for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
        const char *want, *got;
        MADE m;

        kit_make(&m, &printed[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        want = wanted_json(&m.arena, printed[i].want, m.plan.layout_reason);
        got = compact(&m.arena, print(&m.arena, &m.plan, true));
        cr_expect_str_eq(got, want, "input:    %s\nexpected: %s\ngot:      %s",
                         kit_show(&m, &printed[i].given), want, got);
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
Test(plan_print, json_members)
{
    for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
        struct plan_out out = {0};
        struct json_doc doc = {.table = &plan_out_table, .dest = &out};
        const char *at;
        char *json;
        MADE m;

        kit_make(&m, &printed[i].given);
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
        cr_expect_eq(out.sandbox_files.count, m.plan.limits.sandbox.files.count);
        cr_expect_eq(out.overhead_files.count, m.plan.overhead.files.count);
        cr_expect_eq(out.sandbox_properties.count, count_names(&m.plan.limits.sandbox.properties));
        cr_expect_eq(out.overhead_properties.count, count_names(&m.plan.overhead.properties));
        cr_expect_eq(out.warnings.count, m.plan.warnings.count);
        for (size_t k = 0; k < out.warnings.count; k++)
            cr_expect_str_eq(JSON_AT(out.warnings, char *, k), m.plan.warnings.items[k]);
    }
}

/* One key per file: a program that reads the object must not lose one of two values. */
Test(plan_print, json_files_once)
{
    static const struct kit_given g = {
        .mode = CG_MODE_V2,
        .config = RESOURCES("{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}"),
        .others = {"{'hugepageLimits':[{'pageSize':'2MB','limit':4}]}", "{}"}};
    const char *json, *first;
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    json = print(&m.arena, &m.plan, true);
    first = strstr(json, "\"hugetlb.2MB.max\"");
    cr_expect(first && !strstr(first + 1, "\"hugetlb.2MB.max\""), "hugetlb.2MB.max once in: %s",
              json);
}

/* Nor one of two lists: the empty DeviceAllow is sent, but it is the last that counts. */
Test(plan_print, json_properties_once)
{
    static const struct kit_given g = {.mode = CG_MODE_V1, .config = CGROUPS_PATH("a.slice:p:n")};
    const char *json, *text, *first;
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    cr_assert_eq(count_names(&m.plan.limits.sandbox.properties) + 1,
                 m.plan.limits.sandbox.properties.count);
    json = print(&m.arena, &m.plan, true);
    first = strstr(json, "\"DeviceAllow\"");
    cr_expect(first && first < strstr(json, "\"overhead_properties\"") &&
                  !strstr(first + 1, "\"DeviceAllow\""),
              "once: %s", json);
    text = print(&m.arena, &m.plan, false);
    first = strstr(text, "DeviceAllow=");
    cr_expect(first && !strstr(first + 1, "DeviceAllow="), "once: %s", text);
}

/* Text that is not ours arrives escaped, in the JSON and on the terminal. */
Test(plan_print, escapes)
{
    static const struct kit_given g = {.mode = CG_MODE_V2,
                                       .nodes = NO_NODES,
                                       .settings =
                                           "{'virtualization_devices':false,'extra_devices':"
                                           "['/dev/a\\u001b\\u0022b']}"};
    const char *json, *text;
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    json = print(&m.arena, &m.plan, true);
    text = print(&m.arena, &m.plan, false);
    cr_expect(strstr(json, "/dev/a\\u001B\\\"b does not exist"), "%s", json);
    cr_expect(strstr(text, "/dev/a\\x1b\"b does not exist"), "%s", text);
    cr_expect_not(strchr(json, '\033') || strchr(text, '\033'));
}

Test(plan_print, text)
{
    static const struct {
        struct kit_given given;
        const char *want;
    } rows[] = {
        {{.mode = CG_MODE_V1,
          .nodes = FEW,
          .state = CONTAINER,
          .config = "{'linux':{'cgroupsPath':'/k/"
                    "c1','resources':{'lifted_paths':[],'devices':[{'allow':false,'access':'rwm'}],"
                    "'cpu':{'quota':50000,'period':100000}}}}",
          .settings = "{'overhead_limits':{'cpu':{'shares':9}}}"},
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
         "overhead files        cpu.shares = 9\n"
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
         "overhead properties   TasksMax=infinity\n"},
        /* files first, then what is told besides */
        {{.mode = CG_MODE_V2,
          .nodes = NO_NODES,
          .config = "{'linux':{'cgroupsPath':'a.slice:p:n','resources':{"
                    "'lifted_paths':[],'devices':[{'allow':true,'access':'rwm'}],'cpu':{'shares':"
                    "1024}}}}",
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
         "                      allow c 5:2 rwm\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *got, *want;
        MADE m;

        kit_make(&m, &rows[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        got = print(&m.arena, &m.plan, false);
        want = with_more(
            &m.arena, rows[i].want, m.plan.layout == LAYOUT_NESTED ? ", nested\n" : ", sibling\n",
            arena_printf(&m.arena, "layout reason         %s\n", m.plan.layout_reason));
        cr_expect_str_eq(got, want, "input:    %s\nexpected: %s\ngot:      %s",
                         kit_show(&m, &rows[i].given), want, got);
    }
}

/* Who runs the container is said where it was looked for. */
Test(plan_print, runtime)
{
    static const struct {
        struct runtime runtime;
        const char *json, *text;
    } rows[] = {
        {{0},
         "\"runtime\":null,\"runtime_version\":null,",
         "runtime               not known here\nsandbox path"},
        {{ENGINE_OTHER, NULL, "/usr/bin/crun", NULL},
         "\"runtime\":\"/usr/bin/crun\",\"runtime_version\":null,",
         "runtime               /usr/bin/crun\nsandbox path"},
        {{ENGINE_CONTAINERD, NULL, "/s/runc", "1.3.6"},
         "\"runtime\":\"/s/runc\",\"runtime_version\":\"1.3.6\",",
         "runtime               /s/runc\nruntime version       1.3.6\nsandbox path"},
    };
    static const struct kit_given g = {.mode = CG_MODE_V2, .argument = ONLY};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *json, *text;
        MADE m;

        kit_prepare(&m, &g);
        m.in.layout_argument = LAYOUT_SAY_AUTO;
        m.in.runtime = &rows[i].runtime;
        cr_assert_eq(kit_plan(&m, &m.plan), 0, "%s", m.e.text);
        json = compact(&m.arena, print(&m.arena, &m.plan, true));
        text = print(&m.arena, &m.plan, false);
        cr_expect(strstr(json, rows[i].json), "expected: %s\ngot:      %s", rows[i].json, json);
        cr_expect(strstr(text, rows[i].text), "expected: %s\ngot:      %s", rows[i].text, text);
    }
}

/* The same input gives the same plan, as often as it is asked, and stays as it is. */
Test(plan_print, pure)
{
    for (size_t i = 0; i < ARRAY_SIZE(printed); i++) {
        const char *first, *again, *fresh;
        struct plan second;
        MADE m, n;

        kit_make(&m, &printed[i].given);
        kit_make(&n, &printed[i].given);
        cr_assert(m.r == 0 && n.r == 0, "%s%s", m.e.text, n.e.text);
        first = print(&m.arena, &m.plan, true);
        memset(&second, 0xa5, sizeof second);
        cr_assert_eq(kit_plan(&m, &second), 0, "%s", m.e.text);
        again = print(&m.arena, &second, true);
        fresh = print(&m.arena, &n.plan, true);
        cr_expect_str_eq(again, first, "the same input twice:\n%s\n%s", first, again);
        cr_expect_str_eq(fresh, first, "an equal input:\n%s\n%s", first, fresh);
    }
}

/* Reasons come behind all else, with what a terminal must not see escaped; without them nothing is said. */
Test(plan_print, reasons)
{
    static struct explain_row row = {"a", "b\033", "\"c\"", "d"};
    const struct explain why = {&row, 1}, none = {0};
    const struct kit_given g = {.mode = CG_MODE_V2};
    const char *json, *text;
    MADE m;

    kit_make(&m, &g);
    json = compact(&m.arena, print_why(&m.arena, &m.plan, &why, true));
    cr_expect(strstr(json, "],\"explain\":[{\"decision\":\"a\",\"value\":\"b\\u001B\",\"reason\":"
                           "\"\\\"c\\\"\",\"source\":\"d\"}]}"),
              "%s", json);
    text = print_why(&m.arena, &m.plan, &why, false);
    cr_expect(strstr(text, "\n\na = b\\x1b\n    \"c\"\n    from: d\n"), "%s", text);
    json = compact(&m.arena, print_why(&m.arena, &m.plan, &none, true));
    cr_expect(strstr(json, "],\"explain\":[]}"), "%s", json);
    cr_expect_null(strstr(print(&m.arena, &m.plan, true), "explain"));
    cr_expect_null(strstr(print(&m.arena, &m.plan, false), "from:"));
}
