/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/explain.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>

#define ONLY_NAME         "io.katacontainers.config.runtime.sandbox_cgroup_only"
#define PIN_NAME          "io.katacontainers.config.runtime.enable_vcpus_pinning"
#define QUOTA_NAME        "oci-sandbox-cgroup.io/overhead-cpu-quota"
#define NOTE(name, value) "'annotations':{'" name "':'" value "'}"

#define V1 .mode = CG_MODE_V1
#define V2 .mode = CG_MODE_V2

/* What a plan is made of, and one row of its explanation; a reason is a part of it. */
struct row {
    struct kit_given given;
    struct explain_row want; /* value NULL: there is no such row */
};

static const struct explain_row *explained(const struct explain *all, const char *decision)
{
    for (size_t i = 0; i < all->count; i++) {
        if (str_eq(all->rows[i].decision, decision))
            return &all->rows[i];
    }
    return NULL;
}

static bool is_as(const struct explain_row *got, const struct explain_row *want)
{
    return got && str_eq(got->value, want->value) && strstr(got->reason, want->reason) &&
           str_eq(got->source, want->source);
}

static void expect(struct kit_made *m, const struct explain_row *want, const char *input)
{
    struct explain all;
    const struct explain_row *got;

    m->r = kit_plan(m, &m->plan);
    cr_assert_eq(m->r, 0, "%s: %s", input, m->e.text);
    explain_plan(&m->in, &m->plan, &m->arena, &all);
    got = explained(&all, want->decision);
    cr_expect(want->value ? is_as(got, want) : !got,
              "input:    %s\nexpected: %s = %s, %s, %s\ngot:      %s, %s, %s", input,
              want->decision, want->value, want->reason, want->source, got ? got->value : "no row",
              got ? got->reason : "", got ? got->source : "");
}

static void expect_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        MADE m;

        kit_prepare(&m, &row->given);
        expect(&m, &row->want, kit_show(&m, &row->given));
    }
}

/* --- which sandbox, and which policy --- */

static const struct row who[] = {
    {{V1}, {"layout", "sibling", "nobody names", "default"}},
    {{V1, .settings = NESTED}, {"layout", "nested", "configuration", "configuration: layout"}},
    {{V1, .settings = "{'layout':'auto'}"},
     {"layout", "nested", "cgroups are v1", "configuration: layout"}},
    {{V1}, {"role", "single", "no annotation", "default"}},
    {{V1, .state = SANDBOX},
     {"role", "sandbox", "the annotation", "annotation io.kubernetes.cri.container-type"}},
    {{V1, .state = CONTAINER},
     {"sandbox id", "s1", "names the pod's sandbox", "annotation io.kubernetes.cri.sandbox-id"}},
    {{V1, .state = NOTE("io.kubernetes.cri.container-type", "sandbox")},
     {"sandbox id", "c1", "begins a pod", "state: id"}},
    {{V1, .state = "'annotations':{'io.katacontainers.pkg.oci.container_type':'pod_container','io."
                   "kubernetes.sandbox.id':'s1'}"},
     {"sandbox id", "s1", "names", "annotation io.kubernetes.sandbox.id"}},
    {{V1, .state = NOTE("io.kubernetes.cri-o.SandboxID", "s1")},
     {"role", "container", "the annotation", "annotation io.kubernetes.cri-o.SandboxID"}},
    {{V1}, {"sandbox id", "c1", "of its own", "state: id"}},
    {{V1, .state = CONTAINER, .settings = NESTED},
     {"sandbox id", "c1", "layout nested", "state: id"}},

    {{V1}, {"sandbox_cgroup_only", "false", "nobody", "default"}},
    {{V1, .settings = "{'sandbox_cgroup_only':true}"},
     {"sandbox_cgroup_only", "true", "configuration", "configuration: sandbox_cgroup_only"}},
    {{V1, .argument = ONLY},
     {"sandbox_cgroup_only", "true", "command line", "--sandbox-cgroup-only"}},
    {{V1, .state = NOTE(ONLY_NAME, "true")},
     {"sandbox_cgroup_only", "true", "always ask", "annotation " ONLY_NAME}},
    {{V1, .state = NOTE(ONLY_NAME, "true")},
     {"annotation " ONLY_NAME, "allowed", "always ask", "default"}},
    {{V1, .state = NOTE(ONLY_NAME, "false")},
     {"annotation " ONLY_NAME, "allowed", "holds without it", "default"}},
    {{V1}, {"annotation " ONLY_NAME, NULL, NULL, NULL}},
    {{V1, .argument = ONLY, .state = NOTE(ONLY_NAME, "false")},
     {"sandbox_cgroup_only", "true", "command line", "--sandbox-cgroup-only"}},
    {{V1, .argument = ONLY, .state = NOTE(ONLY_NAME, "false")},
     {"annotation " ONLY_NAME, "refused", "is refused", "configuration: allowed_annotations"}},
    {{V1, .argument = ONLY, .state = NOTE(ONLY_NAME, "false"),
      .settings = "{'allowed_annotations':['" ONLY_NAME "']}"},
     {"annotation " ONLY_NAME, "allowed", "lists", "configuration: allowed_annotations"}},

    {{V1}, {"enable_vcpus_pinning", "false", "nobody", "default"}},
    {{V1, .settings = "{'enable_vcpus_pinning':true}"},
     {"enable_vcpus_pinning", "true", "configuration", "configuration: enable_vcpus_pinning"}},
    {{V1, .settings = "{'enable_vcpus_pinning':true}", .state = NOTE(PIN_NAME, "false")},
     {"enable_vcpus_pinning", "false", "author", "annotation " PIN_NAME}},
    {{V1, .state = NOTE(QUOTA_NAME, "5000")},
     {"annotation " QUOTA_NAME, "ignored", "no effect", "layout"}},
    {{V1, .settings = NESTED, .state = NOTE(QUOTA_NAME, "5000")},
     {"annotation " QUOTA_NAME, "refused", "does not list", "configuration: allowed_annotations"}},
    {{V1, .settings = "{'layout':'nested','allowed_annotations':['" QUOTA_NAME "']}",
      .state = NOTE(QUOTA_NAME, "5000")},
     {"annotation " QUOTA_NAME, "allowed", "lists", "configuration: allowed_annotations"}},

    {{V1}, {"vcpu_evidence", "kernel", "auto: the host has a", "default"}},
    {{V1, .nodes = MSHV}, {"vcpu_evidence", "kernel", "auto: the host has a", "default"}},
    {{V1, .nodes = NO_NODES}, {"vcpu_evidence", "name", "no hypervisor", "default"}},
    {{V1, .settings = "{'vcpu_evidence':'auto'}"},
     {"vcpu_evidence", "kernel", "auto", "configuration: vcpu_evidence"}},
    {{V1, .settings = "{'vcpu_evidence':'name'}"},
     {"vcpu_evidence", "name", "configuration", "configuration: vcpu_evidence"}},
};

Test(explain, who)
{
    expect_all(who, ARRAY_SIZE(who));
}

/* --- where, and whether it is split --- */

#define SLICE CGROUPS_PATH("a.slice:p:n")
#define QUOTA "{'linux':{'cgroupsPath':'/k/c','resources':{'cpu':{'quota':50000}}}}"

static const struct row where[] = {
    {{V1, .config = CGROUPS_PATH("/k/c")}, {"manager", "cgroupfs", "no unit", "linux.cgroupsPath"}},
    {{V1, .config = SLICE}, {"manager", "systemd", "SLICE:PREFIX:NAME", "linux.cgroupsPath"}},
    {{V1, .config = SLICE, .settings = NESTED}, {"manager", "cgroupfs", "layout nested", "layout"}},
    {{V1, .config = SLICE}, {"sandbox unit", "p-kata_n.scope", "a.slice", "linux.cgroupsPath"}},
    {{V1, .config = CGROUPS_PATH("/k/c")}, {"sandbox unit", NULL, NULL, NULL}},
    {{V1, .config = CGROUPS_PATH("/k/c")},
     {"sandbox path", "/k/kata_c", "beside the runtime's cgroup of the container, /k/c",
      "linux.cgroupsPath"}},
    {{V1}, {"sandbox path", "/vc/kata_c1", "for which /vc stands", "default"}},
    {{V1, .config = CGROUPS_PATH("b")},
     {"sandbox path", "/vc/kata_b", "for which /vc stands", "default"}},
    {{V1, .config = CGROUPS_PATH("/k/c"), .settings = NESTED},
     {"sandbox path", "/k/c", "where vCPU threads stay", "linux.cgroupsPath"}},
    {{V2, .config = CGROUPS_PATH("/k/c"), .settings = NESTED},
     {"sandbox path", "/k/c/kata_vcpu", "threaded child", "linux.cgroupsPath"}},
    {{V2, .config = CGROUPS_PATH("/k/c"), .settings = NESTED, .argument = ONLY},
     {"sandbox path", "/k/c", "nothing is made", "linux.cgroupsPath"}},
    {{V1, .argument = ONLY},
     {"overhead path", "none", "sandbox_cgroup_only", "sandbox_cgroup_only"}},
    {{V1}, {"overhead path", "/kata_overhead/c1", "below overhead_parent", "default"}},
    {{V1, .settings = "{'overhead_parent':'/x'}"},
     {"overhead path", "/x/c1", "below overhead_parent", "configuration: overhead_parent"}},
    {{V1, .config = SLICE},
     {"overhead path", "/kata.slice/kata-overhead.slice/kata-overhead-c1.scope", "a scope",
      "linux.cgroupsPath"}},
    {{V1, .config = CGROUPS_PATH("/k/c"), .settings = NESTED},
     {"overhead path", "/k/kata_c", "beside", "default"}},
    {{V1, .config = CGROUPS_PATH("/k/c"), .settings = "{'layout':'nested','prefix':'p-'}"},
     {"overhead path", "/k/p-c", "beside", "configuration: prefix"}},
    {{V2, .config = CGROUPS_PATH("/k/c")},
     {"overhead path", "/k/kata_c", "stay around", "cgroup mode"}},
    {{V2, .config = CGROUPS_PATH("/k/c")},
     {"vCPU path", "/k/kata_c/kata_vcpu", "threaded child", "default"}},
    {{V1, .config = CGROUPS_PATH("/k/c")}, {"vCPU path", NULL, NULL, NULL}},
    {{V2, .argument = ONLY}, {"vCPU path", NULL, NULL, NULL}},

    {{V1}, {"split", "yes", "leave the cpu hierarchy's", "sandbox_cgroup_only"}},
    {{V2}, {"split", "no", "no CPU quota", "linux.resources.cpu.quota"}},
    {{V2, .config = QUOTA}, {"split", "yes", "vCPUs get the CPU quota", "sandbox_cgroup_only"}},
    {{V2, .config = QUOTA, .settings = NESTED},
     {"split", "yes", "vCPUs get the CPU quota", "sandbox_cgroup_only"}},
    {{V2, .config = QUOTA, .argument = ONLY},
     {"split", "no", "one set of limits", "sandbox_cgroup_only"}},
};

Test(explain, where)
{
    expect_all(where, ARRAY_SIZE(where));
}

/* --- limits --- */

#define ALL         RESOURCES(FULL)
#define IN_SLICE(r) "{'linux':{'cgroupsPath':'a.slice:p:n','resources':" r "}}"
#define IDLE        RESOURCES("{'cpu':{'idle':1},'memory':{'swappiness':5}}")

static const struct row limits[] = {
    {{V1}, {"resources", "aggregate", "nobody", "default"}},
    {{V1, .settings = "{'resources':'aggregate'}"},
     {"resources", "aggregate", "configuration", "configuration: resources"}},
    {{V1, .settings = "{'resources':'kata'}"},
     {"resources", "kata", "configuration", "configuration: resources"}},
    {{V1, .settings = NESTED}, {"resources", "none", "not added up", "layout"}},

    {{V2, .config = ALL},
     {"limit pids.max", "10", "container's own", "linux.resources.pids.limit of c1"}},
    {{V2, .config = ALL},
     {"limit memory.max", "1048576", "container's own", "linux.resources.memory.limit of c1"}},
    {{V2, .config = ALL, .settings = "{'memory_overhead_bytes':4096}"},
     {"limit memory.max", "1052672", "and memory_overhead_bytes",
      "linux.resources.memory.limit of c1"}},
    {{V1, .config = ALL},
     {"limit cpu.cfs_period_us", "100000", "container's own", "linux.resources.cpu.period"}},
    {{V2, .config = RESOURCES("{'unified':{'memory.high':'4096'}}")},
     {"limit memory.high", "4096", "container's own", "linux.resources.unified"}},
    {{V2, .config = RESOURCES("{'unified':{'pids.max':'4'}}")},
     {"limit pids.max", "4", "container's own", "linux.resources.unified"}},
    {{V2, .config = RESOURCES("{'pids':{'limit':3},'unified':{'pids.max':'4'}}")},
     {"limit pids.max", "4", "container's own", "linux.resources.unified"}},
    {{V2, .config = IN_SLICE("{'pids':{'limit':3},'unified':{'pids.max':'4'}}")},
     {"limit pids.max", "3", "container's own, which leaves less than unified's",
      "linux.resources.pids.limit of c1"}},
    {{V2, .config = IN_SLICE("{'pids':{'limit':5},'unified':{'pids.max':'4'}}")},
     {"limit pids.max", "4", "container's own", "linux.resources.unified"}},
    {{V2, .config = SLICE, .state = NOTE("org.systemd.property.TasksMax", "uint64 7")},
     {"limit pids.max", "7", "org.systemd.property", "linux.resources.pids.limit of c1"}},
    {{V2, .config = SLICE, .state = NOTE("org.systemd.property.MemoryMax", "uint64 8192")},
     {"limit memory.max", "8192", "org.systemd.property", "linux.resources.memory.limit of c1"}},
    {{V2, .config = SLICE,
      .state = NOTE("org.systemd.property.CPUQuotaPerSecUSec", "uint64 500000")},
     {"limit cpu.max", "50000 100000", "org.systemd.property", "linux.resources.cpu.quota of c1"}},
    {{V2, .config = RESOURCES("{'pids':{'limit':0}}"), .state = "'ociVersion':'1.3.0'"},
     {"limit pids.max", "1", "0 is a limit", "linux.resources.pids.limit of c1"}},

    {{V2, .config = ALL, .others = {FULL}},
     {"limit pids.max", "20", "the sum of 2",
      "linux.resources.pids.limit of another container, c1"}},
    {{V2, .config = ALL, .others = {"{'pids':{'limit':5}}"}},
     {"limit cpuset.cpus", NULL, NULL, NULL}},
    {{V2, .config = ALL, .others = {"{'cpu':{'cpus':'3'},'pids':{'limit':5}}"}},
     {"limit cpuset.cpus", "0-1,3", "the union of 2",
      "linux.resources.cpu.cpus of another container, c1"}},
    {{V2, .config = ALL, .others = {"{'pids':{'limit':5}}"}},
     {"limit cpu.cpus", "left out", "container another has none",
      "linux.resources.cpu.cpus of c1"}},
    {{V2, .config = ALL, .others = {"{'cpu':{}}"}},
     {"limit memory.max", "max", "container another has none",
      "linux.resources.memory.limit of c1"}},
    {{V2, .config = RESOURCES("{'pids':{'limit':-1}}"), .others = {"{'pids':{'limit':5}}"},
      .state = CONTAINER, .id = "x"},
     {"limit pids.max", "max", "container x has none",
      "linux.resources.pids.limit of another container, x"}},
    {{V2, .config = RESOURCES("{'pids':{'limit':4194304}}"), .others = {"{'pids':{'limit':5}}"}},
     {"limit pids.max", "max", "more than the kernel",
      "linux.resources.pids.limit of another container, c1"}},
    {{V2, .config = IDLE},
     {"limit cpu.idle", "1", "container's own", "linux.resources.cpu.idle of c1"}},
    {{V2, .config = IDLE, .others = {"{}"}},
     {"limit cpu.idle", "left out", "cannot be added up", "linux.resources.cpu.idle of c1"}},
    {{V2, .config = IDLE},
     {"limit memory.swappiness", "left out", "cgroups of v2",
      "linux.resources.memory.swappiness of c1"}},
    {{V1, .config = IDLE},
     {"limit memory.swappiness", "5", "container's own",
      "linux.resources.memory.swappiness of c1"}},
    {{V2, .config = ALL, .settings = "{'resources':'kata'}"},
     {"limit pids.limit", "left out", "resources is kata", "linux.resources.pids.limit of c1"}},
    {{V2, .config = ALL, .settings = "{'resources':'kata'}"},
     {"limit cpuset.cpus", "0-1", "container's own", "linux.resources.cpu.cpus of c1"}},
    {{V2, .config = ALL}, {"limit pids.limit", NULL, NULL, NULL}},
    {{V2, .config = ALL, .settings = NESTED},
     {"limits", "the runtime's own", "keeps its limits", "layout"}},
    {{V2, .config = ALL, .settings = NESTED},
     {"limit cpu.max", "50000 100000", "set apart", "linux.resources.cpu.quota"}},
    {{V2, .config = ALL}, {"limits", NULL, NULL, NULL}},

    /* the overhead's */
    {{V1, .argument = ONLY},
     {"overhead_limits", "none", "under the sandbox's limits", "sandbox_cgroup_only"}},
    {{V1}, {"overhead_limits", "none", "nobody limits", "default"}},
    {{V2}, {"overhead_limits", "none", "nothing is split", "default"}},
    {{V2, .settings = "{'overhead_limits':{'cpu':{'quota':2000}}}"},
     {"overhead_limits", "none", "nothing is split", "configuration: overhead_limits"}},
    {{V2, .config = QUOTA}, {"overhead limit cpu.max", "max 99999", "lifted", "default"}},
    {{V2, .config = QUOTA, .settings = "{'overhead_limits':{'cpu':{'quota':2000}}}"},
     {"overhead limit cpu.max", "52000 99999", "together", "configuration: overhead_limits"}},
    {{V1, .settings = "{'overhead_limits':{'cpu':{'quota':2000}}}"},
     {"overhead limit cpu.cfs_quota_us", "2000", "own quota", "configuration: overhead_limits"}},
    {{V1, .config = ALL}, {"overhead limit cpu.shares", "1024", "as the sandbox does", "default"}},
    {{V1, .config = ALL, .settings = "{'overhead_limits':{'cpu':{'shares':20}}}"},
     {"overhead limit cpu.shares", "20", "of its own", "configuration: overhead_limits"}},
    {{V1, .settings = "{'layout':'nested','allowed_annotations':['" QUOTA_NAME "']}",
      .state = NOTE(QUOTA_NAME, "5000")},
     {"overhead limit cpu.cfs_quota_us", "5000", "own quota", "annotation " QUOTA_NAME}},
    {{V1, .config = ALL, .settings = "{'overhead_limits':{'pids':{'limit':20}}}"},
     {"overhead_limits", "left out", "pids.max is not set", "configuration: overhead_limits"}},
};

Test(explain, limits)
{
    expect_all(limits, ARRAY_SIZE(limits));
}

/* --- devices --- */

#define RANDOM "{'allow':true,'type':'b','major':9,'minor':9,'access':'r'}"

static const struct row devices[] = {
    {{V1, .config = DEVICES(RANDOM)},
     {"device b 9:9 r", "allow", "config.json", "linux.resources.devices"}},
    {{V1, .config = DEVICES("{'allow':false,'type':'b','major':9,'minor':9,'access':'r'}")},
     {"device b 9:9 r", "deny", "config.json", "linux.resources.devices"}},
    {{V1}, {"device c 1:3 rwm", "allow", "by default", "default"}},
    {{V1}, {"device c 10:232 rwm", "allow", "VMM", "default"}},
    {{V1, .settings = "{'virtualization_devices':true}"},
     {"device c 10:238 rwm", "allow", "VMM", "configuration: virtualization_devices"}},
    {{V1, .settings = "{'virtualization_devices':false}"},
     {"device c 10:232 rwm", NULL, NULL, NULL}},
    {{V1, .settings = "{'virtualization_devices':false}"},
     {"virtualization devices", "left out", "false", "configuration: virtualization_devices"}},
    {{V1}, {"virtualization devices", NULL, NULL, NULL}},
    {{V1}, {"device c 136:* rwm", "allow", "a class", "default"}},
    {{V1, .settings = "{'extra_devices':['b 7:* rwm']}"},
     {"device b 7:* rwm", "allow", "administrator", "configuration: extra_devices"}},
    {{V1}, {"device list", NULL, NULL, NULL}},
    {{V1, .others = {"{}"}}, {"device list", "united", "any of 2", "the sandbox's containers"}},
    {{V1, .settings = NESTED}, {"device list", "the runtime's own", "no rule is added", "layout"}},
    {{V1, .settings = NESTED}, {"device c 1:3 rwm", NULL, NULL, NULL}},
};

Test(explain, devices)
{
    expect_all(devices, ARRAY_SIZE(devices));
}

/* --- what a stage alone knows --- */

static void expect_runtime(const struct runtime *runtime, enum layout_word recorded,
                           const struct explain_row *want)
{
    const struct kit_given given = {V2};
    MADE m;

    kit_prepare(&m, &given);
    m.in.layout_argument = LAYOUT_SAY_AUTO;
    m.in.recorded_layout = recorded;
    m.in.runtime = runtime;
    expect(&m, want, runtime ? runtime_text(runtime, &m.arena) : "no runtime");
}

Test(explain, runtimes)
{
    const struct runtime old = {ENGINE_CONTAINERD, NULL, "/bin/runc", "1.1.5"};
    const struct runtime new = {ENGINE_CONTAINERD, NULL, "/bin/runc", "1.2.0"};
    const struct runtime other = {ENGINE_OTHER, NULL, "/bin/crun", NULL};
    const struct runtime unknown = {ENGINE_UNKNOWN, "/proc cannot be read", NULL, NULL};
    const struct {
        const struct runtime *runtime;
        enum layout_word recorded;
        struct explain_row want;
    } rows[] = {
        {&old, LAYOUT_UNSAID, {"layout", "sibling", "runc 1.1.5", "--layout"}},
        {&old,
         LAYOUT_UNSAID,
         {"runtime", "runc 1.1.5 (/bin/runc)", "containerd or Docker is",
          "the process that calls the hook"}},
        {&new, LAYOUT_UNSAID, {"layout", "nested", "runc 1.2.0", "--layout"}},
        {&other, LAYOUT_UNSAID, {"layout", "nested", "neither containerd nor Docker", "--layout"}},
        {&other,
         LAYOUT_UNSAID,
         {"runtime", "/bin/crun", "neither containerd", "the process that calls the hook"}},
        {&unknown, LAYOUT_UNSAID, {"layout", "sibling", "/proc cannot be read", "--layout"}},
        {&unknown,
         LAYOUT_UNSAID,
         {"runtime", "a program that is not known", "/proc cannot be read",
          "the process that calls the hook"}},
        {NULL, LAYOUT_SAY_NESTED, {"layout", "nested", "was made with it", "--layout"}},
        {NULL, LAYOUT_SAY_SIBLING, {"layout", "sibling", "was made with it", "--layout"}},
        {NULL, LAYOUT_UNSAID, {"runtime", NULL, NULL, NULL}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect_runtime(rows[i].runtime, rows[i].recorded, &rows[i].want);
}

Test(explain, place_of_the_process)
{
    const struct kit_given given = {V1};
    const struct explain_row want = {"sandbox path", "/there/kata_c1", "container, /there/c1",
                                     "the cgroup of the container's process"};
    MADE m;

    kit_prepare(&m, &given);
    m.in.process_path = "/there/c1";
    expect(&m, &want, "process");
}

/* An unprivileged user namespace, and one that has cgroups but no device rules. */
Test(explain, user_namespaces)
{
    static const struct {
        enum cg_mode mode;
        const char *settings;
        bool foreign, no_device_rules;
        struct explain_row want;
    } rows[] = {
        {CG_MODE_V1, NULL, true, false, {"split", "no", "rootless", "user namespace"}},
        {CG_MODE_V1, NESTED, true, false, {"split", "no", "rootless", "user namespace"}},
        {CG_MODE_V1, NULL, false, false, {"split", "yes", "", "sandbox_cgroup_only"}},
        {CG_MODE_V2,
         NESTED,
         true,
         false,
         {"split", "no", "no CPU quota", "linux.resources.cpu.quota"}},
        {CG_MODE_V1,
         NULL,
         false,
         true,
         {"device list", "left out", "device rules are left out", "user namespace"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kit_given given = {.mode = rows[i].mode, .settings = rows[i].settings};
        MADE m;

        kit_prepare(&m, &given);
        m.facts.foreign = rows[i].foreign;
        m.facts.no_device_rules = rows[i].no_device_rules;
        expect(&m, &rows[i].want, kit_show(&m, &given));
    }
}

/* A row for each rule, and none besides. */
Test(explain, every_device_once)
{
    const struct kit_given given = {V1, .config = DEVICES(RANDOM)};
    struct explain all;
    size_t rows = 0;
    MADE m;

    kit_prepare(&m, &given);
    m.r = kit_plan(&m, &m.plan);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    explain_plan(&m.in, &m.plan, &m.arena, &all);
    for (size_t i = 0; i < all.count; i++)
        rows += str_starts(all.rows[i].decision, "device ") &&
                !str_eq(all.rows[i].decision, "device list");
    cr_expect_gt(rows, 1);
    cr_expect_eq(rows, m.plan.devices.count, "%zu rows of %zu rules", rows, m.plan.devices.count);
}

Test(explain, what_another_hook_allows)
{
    struct cg_dev_entry entry = {.type = 'c', .major = 9, .minor = 9, .access = CG_DEV_R};
    const struct cg_dev_exceptions in_force = {.exceptions = &entry, .count = 1};
    const struct cg_dev_exceptions all = {.allow_all = true};
    const struct explain_row want = {"device c 9:9 r", "allow", "another hook",
                                     "the runtime's cgroup"};
    const struct explain_row own = {"device b 9:9 r", "allow", "config.json",
                                    "linux.resources.devices"};
    const struct kit_given given = {V1, .config = DEVICES(RANDOM)};
    MADE m;

    kit_prepare(&m, &given);
    m.in.runtime_devices = &in_force;
    expect(&m, &want, "in force");
    m.in.runtime_devices = &all;
    expect(&m, &own, "all allowed");
}

Test(explain, limits_that_are_no_more)
{
    struct cg_file file = {.file = "pids.max", .text = "5", .ctl = CG_CTL_PIDS};
    const struct kit_given given = {V2};
    const struct explain_row want = {"limit pids.max", "max", "set before", "record"};
    MADE m;

    kit_prepare(&m, &given);
    m.in.recorded = (struct cg_files){&file, 1};
    expect(&m, &want, "recorded");
}

/* Others are named by their ids. */
Test(explain, names_of_containers)
{
    const struct kit_given given = {V2, .config = RESOURCES("{'pids':{'limit':5}}"),
                                    .others = {"{'pids':{'limit':5}}", "{'cpu':{'shares':2}}"}};
    const struct explain_row want = {"limit pids.max", "max", "container b has none",
                                     "linux.resources.pids.limit of a, c1"};
    MADE m;

    kit_prepare(&m, &given);
    m.others[0].id = "a";
    m.others[1].id = "b";
    expect(&m, &want, "ids");
}

Test(explain, containers_that_limit_nothing)
{
    const struct kit_given given = {V2, .id = "s1", .state = SANDBOX,
                                    .config = RESOURCES("{'memory':{'limit':-1}}"),
                                    .others = {"{'memory':{'limit':-1}}"}};
    const struct explain_row want = {"limit memory.max", "max", "say that there is no limit",
                                     "linux.resources.memory.limit of another container, s1"};
    MADE m;

    kit_prepare(&m, &given);
    m.others[0].begins_pod = true;
    expect(&m, &want, "none");
}

/* What an operator has set is nobody else's word. */
Test(explain, what_update_has_set)
{
#define IN_PLACE(r, settings_)                                                                     \
    {                                                                                              \
        V2, .config = RESOURCES(r), .settings = (settings_), .others = { r }                       \
    }
#define BY_HAND "set by `update`", "record"
    static const char all[] =
        "{'cpu':{'shares':512,'quota':7000,'period':50000,'burst':10,'idle':0,'cpus':'1','mems':'0'"
        "},"
        "'memory':{'limit':4096,'swap':8192,'reservation':5},'pids':{'limit':7}}";
    static const struct {
        struct kit_given given;
        struct explain_row want;
    } rows[] = {
        {IN_PLACE(FULL, NULL), {"limit cpu.weight", "59", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit cpu.max", "7000 50000", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit cpu.max.burst", "10", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit cpu.idle", "0", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit cpuset.cpus", "1", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit cpuset.mems", "0", BY_HAND}},
        {IN_PLACE(FULL, "{'memory_overhead_bytes':4096}"), {"limit memory.max", "4096", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit memory.swap.max", "4096", BY_HAND}},
        {IN_PLACE(FULL, NULL), {"limit memory.low", "5", BY_HAND}},
        {IN_PLACE("{}", NULL), {"limit pids.max", "7", BY_HAND}},
        {{V1, .config = RESOURCES(FULL)}, {"limit cpu.cfs_period_us", "50000", BY_HAND}},
        {{V1, .config = RESOURCES(FULL)}, {"limit pids.max", "7", BY_HAND}},
        {{V2, .config = RESOURCES("{'unified':{'pids.max':'4'}}")},
         {"limit pids.max", "7", BY_HAND}},
        /* nor is it all of it */
        {IN_PLACE(FULL, NULL),
         {"limit hugetlb.2MB.max", "8388608", "the sum of 2",
          "linux.resources.hugepageLimits of another container, c1"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oci_resources *set;
        MADE m;

        kit_prepare(&m, &rows[i].given);
        set = arena_alloc(&m.arena, sizeof *set);
        kit_read_row(&m.arena, all, &oci_resources_table, set);
        m.in.updated = set;
        expect(&m, &rows[i].want, kit_show(&m, &rows[i].given));
    }
}

Test(explain, what_add_device_has_said)
{
    const struct kit_given given = {V2, .config = DEVICES(RANDOM)};
    const struct kit_given nested = {V2, .settings = NESTED};
    const struct explain_row wants[] = {
        {"device c 202:1 r", "allow", "by `add-device`", "record"},
        {"device c 203:* rwm", "deny", "by `remove-device`", "record"},
        {"device b 9:9 r", "allow", "config.json", "linux.resources.devices"},
    };
    const struct explain_row none = {wants[0].decision, NULL, NULL, NULL};

    for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
        MADE m;

        kit_prepare(&m, &given);
        m.in.asked = dev_make_rules(&m.arena, "+c 202:1 r, -c 203:* rwm");
        expect(&m, &wants[i], "asked");
    }
    MADE m;

    kit_prepare(&m, &nested);
    m.in.asked = dev_make_rules(&m.arena, "+c 202:1 r");
    expect(&m, &none, "nested");
}
