/* SPDX-License-Identifier: Apache-2.0 */

/* Layout nested: where things are and what will be written. What is done: tests/integration. */

#include "hook/plan/nested.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

static const char *paths(struct kit_made *m)
{
    const struct plan *p = &m->plan;
    char *text = arena_printf(&m->arena, "runtime %s, parent %s, sandbox %s, vCPUs %s, overhead %s",
                              p->runtime_path, p->parent_path, p->sandbox_path, p->vcpu_path,
                              kit_or_null(p->overhead_path));

    for (size_t i = 0; i < p->lifted_count; i++)
        text = arena_printf(&m->arena, "%s, lifted %s", text, p->lifted_paths[i]);
    return text;
}

#define SYSTEMD_PATH CGROUPS_PATH("a-b.slice:pre:nm")
#define SCOPE        "/a.slice/a-b.slice/pre-nm.scope"

/* Where the process is decides, not what config.json says of the runtime's cgroup. */
Test(nested, places)
{
    static const struct {
        enum cg_mode mode;
        struct json_bool only;
        const char *config, *process, *want;
    } rows[] = {
        {CG_MODE_V1, ONLY, CGROUPS_PATH("/k/c"), NULL,
         "runtime /k/c, parent /k, sandbox /k/c, vCPUs /k/c, overhead NULL"},
        {CG_MODE_V2, ONLY, CGROUPS_PATH("/k/c"), "/k/c",
         "runtime /k/c, parent /k, sandbox /k/c, vCPUs /k/c, overhead NULL"},
        {CG_MODE_V2, ONLY, SYSTEMD_PATH, SCOPE "/container",
         "runtime " SCOPE "/container, parent " SCOPE ", sandbox " SCOPE "/container, vCPUs " SCOPE
         "/container, overhead NULL"},
        {CG_MODE_V1,
         {0},
         CGROUPS_PATH("/k/c"),
         "/k/c",
         "runtime /k/c, parent /k, sandbox /k/c, vCPUs /k/c, overhead /k/kata_c"},
        {CG_MODE_HYBRID,
         {0},
         CGROUPS_PATH("/c"),
         NULL,
         "runtime /c, parent /, sandbox /c, vCPUs /c, overhead /kata_c"},
        {CG_MODE_V1,
         {0},
         SYSTEMD_PATH,
         SCOPE,
         "runtime " SCOPE ", parent /a.slice/a-b.slice, sandbox " SCOPE ", vCPUs " SCOPE
         ", overhead /a.slice/a-b.slice/kata_pre-nm.scope"},
        {CG_MODE_V2,
         {0},
         CGROUPS_PATH("/k/c"),
         "/k/c",
         "runtime /k/c, parent /k, sandbox /k/c/kata_vcpu, vCPUs /k/c/kata_vcpu, overhead /k/c, "
         "lifted /k/c"},
        {CG_MODE_V2,
         {0},
         NULL,
         "/user/x-c1.scope/container",
         "runtime /user/x-c1.scope/container, parent /user/x-c1.scope, "
         "sandbox /user/x-c1.scope/container/kata_vcpu, vCPUs "
         "/user/x-c1.scope/container/kata_vcpu, overhead /user/x-c1.scope/container, "
         "lifted /user/x-c1.scope/container, lifted /user/x-c1.scope"},
        /* crun's quota is in its scope, too */
        {CG_MODE_V2,
         {0},
         SYSTEMD_PATH,
         SCOPE "/container",
         "runtime " SCOPE "/container, parent " SCOPE ", sandbox " SCOPE "/container/kata_vcpu, "
         "vCPUs " SCOPE "/container/kata_vcpu, overhead " SCOPE "/container, lifted " SCOPE
         "/container, lifted " SCOPE},
        /* the same with a user's systemd, whose slices are below others */
        {CG_MODE_V2,
         {0},
         CGROUPS_PATH("user.slice:libpod:c1"),
         "/user.slice/user@1.service/user.slice/libpod-c1.scope/container",
         "runtime /user.slice/user@1.service/user.slice/libpod-c1.scope/container, "
         "parent /user.slice/user@1.service/user.slice/libpod-c1.scope, "
         "sandbox /user.slice/user@1.service/user.slice/libpod-c1.scope/container/kata_vcpu, "
         "vCPUs /user.slice/user@1.service/user.slice/libpod-c1.scope/container/kata_vcpu, "
         "overhead /user.slice/user@1.service/user.slice/libpod-c1.scope/container, "
         "lifted /user.slice/user@1.service/user.slice/libpod-c1.scope/container, "
         "lifted /user.slice/user@1.service/user.slice/libpod-c1.scope"},
        /* a scope that the container is in with others is not its own, also where its id is in the name */
        {CG_MODE_V2,
         {0},
         CGROUPS_PATH("user.slice:libpod:c1"),
         "/user.slice/session-c1.scope/c1",
         "runtime /user.slice/session-c1.scope/c1, parent /user.slice/session-c1.scope, sandbox "
         "/user.slice/session-c1.scope/c1/kata_vcpu, vCPUs "
         "/user.slice/session-c1.scope/c1/kata_vcpu, overhead /user.slice/session-c1.scope/c1, "
         "lifted /user.slice/session-c1.scope/c1"},
        {CG_MODE_V2,
         {0},
         CGROUPS_PATH("user.slice:libpod:c1"),
         "/user.slice/other.scope/c1",
         "runtime /user.slice/other.scope/c1, parent /user.slice/other.scope, "
         "sandbox /user.slice/other.scope/c1/kata_vcpu, vCPUs "
         "/user.slice/other.scope/c1/kata_vcpu, overhead /user.slice/other.scope/c1, "
         "lifted /user.slice/other.scope/c1"},
        {CG_MODE_V2,
         {0},
         SYSTEMD_PATH,
         SCOPE,
         "runtime " SCOPE ", parent /a.slice/a-b.slice, sandbox " SCOPE "/kata_vcpu, vCPUs " SCOPE
         "/kata_vcpu, overhead " SCOPE ", lifted " SCOPE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kit_given g = {.mode = rows[i].mode,
                                    .config = rows[i].config,
                                    .settings = NESTED,
                                    .argument = rows[i].only};
        MADE m;

        kit_prepare(&m, &g);
        m.in.process_path = rows[i].process;
        m.r = kit_plan(&m, &m.plan);
        cr_assert_eq(m.r, 0, "%s: %s", kit_show(&m, &g), m.e.text);
        cr_expect_str_eq(paths(&m), rows[i].want);
        cr_expect(!m.plan.sandbox_unit && !m.plan.overhead_unit && !m.plan.slice &&
                  !m.plan.systemd);
    }
}

/* Each container is a sandbox of its own, whatever pod it belongs to. */
Test(nested, sandbox_is_the_container)
{
    static const struct kit_given g = {.state = CONTAINER, .settings = NESTED};
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    cr_expect_str_eq(m.plan.sandbox_id, "c1");
}

/* In a cgroup with others nothing may be lifted. */
Test(nested, refuses_a_foreign_cgroup)
{
    static const struct {
        const char *config, *process;
        int want;
    } rows[] = {
        {CGROUPS_PATH("/k/c"), "/user.slice/session-1.scope", -EINVAL},
        {CGROUPS_PATH("/k/c"), "/k", -EINVAL},
        {CGROUPS_PATH("/k/c"), "/", -EINVAL},
        {CGROUPS_PATH("/k/c"), "/k/cc", -EINVAL},
        {NULL, "/vc/c2", -EINVAL},
        {CGROUPS_PATH("/k/c"), "/k/c/init", 0},
        {CGROUPS_PATH("/k/c"), "/elsewhere/c1", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kit_given g = {.config = rows[i].config, .settings = NESTED};
        MADE m;

        kit_prepare(&m, &g);
        m.in.process_path = rows[i].process;
        m.r = kit_plan(&m, &m.plan);
        cr_expect(m.r == rows[i].want && m.e.bad_input == (m.r < 0), "%s: %d, %s", rows[i].process,
                  m.r, m.e.text);
        cr_expect(m.r == 0 || (strstr(m.e.text, rows[i].process) && strstr(m.e.text, "c1")), "%s",
                  m.e.text);
    }
}

#define QUOTA                                                                                      \
    RESOURCES("{'cpu':{'quota':50000,'shares':700,'burst':20000},'memory':{'limit':4096}}")
#define OVERHEAD(cpu) "{'layout':'nested','overhead_limits':{'cpu':" cpu "}}"

Test(nested, files)
{
    static const struct {
        struct kit_given given;
        const char *sandbox, *overhead;
    } rows[] = {
        {{.mode = CG_MODE_V2, .settings = NESTED, .config = QUOTA},
         "cpu.max=50000 100000; cpu.max.burst=20000; ",
         "cpu.max=max 99999; "},
        {{.mode = CG_MODE_V2, .settings = NESTED, .config = MEMORY}, "", ""},
        {{.mode = CG_MODE_V2, .settings = NESTED, .config = RESOURCES("{'cpu':{'quota':-1}}")},
         "",
         ""},
        {{.mode = CG_MODE_V2, .settings = NESTED, .argument = ONLY, .config = QUOTA}, "", ""},
        /* Q + O: 50 and 25 ms of each 100 */
        {{.mode = CG_MODE_V2,
          .settings = OVERHEAD("{'quota':25000,'period':100000}"),
          .config = QUOTA},
         "cpu.max=50000 100000; cpu.max.burst=20000; ",
         "cpu.max=75000 99999; "},
        {{.mode = CG_MODE_V1, .settings = NESTED, .config = QUOTA}, "", "cpu.shares=700; "},
        {{.mode = CG_MODE_V1, .settings = NESTED, .argument = ONLY, .config = QUOTA}, "", ""},
        {{.mode = CG_MODE_HYBRID,
          .settings = OVERHEAD("{'quota':25000,'period':50000}"),
          .config = MEMORY},
         "",
         "cpu.cfs_period_us=50000; cpu.cfs_quota_us=25000; "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        MADE m;

        kit_make(&m, &rows[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        cr_expect_str_eq(kit_plan_files(&m.arena, &m.plan.limits.sandbox.files), rows[i].sandbox,
                         "%s", kit_show(&m, &rows[i].given));
        cr_expect_str_eq(kit_plan_files(&m.arena, &m.plan.overhead.files), rows[i].overhead, "%s",
                         kit_show(&m, &rows[i].given));
        cr_expect_eq(m.plan.devices.count, 0);
        cr_expect(!m.plan.limits.sandbox.has_devices);
    }
}

/* Whether a warning has both texts. */
static bool warned(const struct plan *p, const char *a, const char *b)
{
    for (size_t i = 0; i < p->warnings.count; i++) {
        if (strstr(p->warnings.items[i], a) && strstr(p->warnings.items[i], b))
            return true;
    }
    return false;
}

#define QUOTA_KEY "oci-sandbox-cgroup.io/overhead-cpu-quota"
#define OWN       "'annotations':{'" QUOTA_KEY "':'30000 50000'}"
#define LISTED    "'allowed_annotations':['" QUOTA_KEY "']"
#define LIMITED   "'overhead_limits':{'cpu':{'quota':25000,'period':100000}}"

/* O of one container: in place of the administrator's, by his leave. */
Test(nested, quota_by_annotation)
{
    static const struct {
        struct kit_given given;
        const char *quota, *overhead, *warning;
    } rows[] = {
        {{.mode = CG_MODE_V2,
          .state = OWN,
          .settings = "{'layout':'nested'," LIMITED "," LISTED "}",
          .config = QUOTA},
         "30000 50000",
         "cpu.max=110000 99999; ",
         NULL},
        {{.mode = CG_MODE_V1,
          .state = OWN,
          .settings = "{'layout':'nested'," LIMITED "," LISTED "}",
          .config = QUOTA},
         "30000 50000",
         "cpu.shares=700; cpu.cfs_period_us=50000; cpu.cfs_quota_us=30000; ",
         NULL},
        {{.mode = CG_MODE_V1, .config = "{" OWN "}", .settings = "{'layout':'nested'," LISTED "}"},
         "30000 50000",
         "cpu.cfs_period_us=50000; cpu.cfs_quota_us=30000; ",
         NULL},
        {{.mode = CG_MODE_V2,
          .state = OWN,
          .settings = "{'layout':'nested'," LIMITED "}",
          .config = QUOTA},
         NULL,
         "cpu.max=75000 99999; ",
         "is refused"},
        {{.mode = CG_MODE_V1, .state = OWN, .settings = NESTED, .config = QUOTA},
         NULL,
         "cpu.shares=700; ",
         "is refused"},
        {{.mode = CG_MODE_V2,
          .state = OWN,
          .argument = ONLY,
          .settings = "{'layout':'nested'," LISTED "}",
          .config = QUOTA},
         NULL,
         "",
         "has no effect"},
        {{.mode = CG_MODE_V2,
          .state = OWN,
          .settings = "{'layout':'sibling'," LIMITED "," LISTED "}",
          .config = QUOTA},
         NULL,
         "cpu.max=75000 99999; ",
         "has no effect"},
        {{.mode = CG_MODE_V2, .state = OWN}, NULL, "", "has no effect"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *warning = rows[i].warning ? rows[i].warning : "";
        MADE m;

        kit_make(&m, &rows[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        cr_expect(str_eq_null(m.plan.overhead_quota, rows[i].quota), "row %zu: %s", i,
                  m.plan.overhead_quota);
        cr_expect_str_eq(kit_plan_files(&m.arena, &m.plan.overhead.files), rows[i].overhead, "%s",
                         kit_show(&m, &rows[i].given));
        cr_expect_eq(warned(&m.plan, QUOTA_KEY, warning), rows[i].warning != NULL, "row %zu", i);
        cr_expect_eq(m.plan.refused_quota != NULL, str_eq(warning, "is refused"), "row %zu", i);
        cr_expect_null(m.plan.refused);
        cr_expect(!m.plan.refused_quota || warned(&m.plan, m.plan.refused_quota, ""));
    }
}

Test(nested, quota_by_annotation_that_is_none)
{
    static const struct kit_given g = {.config = "{'annotations':{'" QUOTA_KEY "':'max'}}"};
    MADE m;

    kit_make(&m, &g);
    cr_expect(m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, QUOTA_KEY), "%d, %s", m.r,
              m.e.text);
}

Test(nested, warns_of_one_hierarchy_for_cpu_time)
{
    for (int together = 0; together < 2; together++) {
        static const struct kit_given g = {.mode = CG_MODE_V1, .settings = NESTED};
        MADE m;

        kit_prepare(&m, &g);
        m.facts.cpuacct_with_cpu = together;
        m.r = kit_plan(&m, &m.plan);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        cr_expect_eq(warned(&m.plan, "cpuacct", "is missing"), together);
    }
}

#define DENY_ALL "{'allow':false,'access':'rwm'}"
#define KVM      "{'allow':true,'type':'c','major':10,'minor':232,'access':'rw'}"

static size_t count_warnings(const struct plan *p, const char *text)
{
    size_t count = 0;

    for (size_t i = 0; i < p->warnings.count; i++)
        count += strstr(p->warnings.items[i], text) != NULL;
    return count;
}

/* Nothing is added to the runtime's device rules, so what a VMM will miss is worth a word. */
Test(nested, warns_of_devices)
{
    static const struct {
        struct kit_given given;
        size_t denied;
        const char *about; /* NULL: none */
    } rows[] = {
        {{.settings = NESTED, .config = DEVICES(DENY_ALL)}, 4, "/dev/kvm (c 10:232 rw)"},
        {{.settings = NESTED, .config = DEVICES(DENY_ALL), .argument = ONLY}, 4, "/dev/vhost-net"},
        {{.settings = NESTED, .config = DEVICES(DENY_ALL "," KVM)}, 3, "/dev/vfio/vfio"},
        {{.settings = NESTED, .config = DEVICES(KVM "," DENY_ALL)}, 4, "/dev/kvm"},
        {{.settings = NESTED, .config = DEVICES("{'allow':true,'access':'rwm'}")}, 0, NULL},
        {{.settings = NESTED, .config = DEVICES("{'allow':true,'access':'r'}")}, 4, "/dev/kvm"},
        {{.settings = NESTED, .config = DEVICES(DENY_ALL), .nodes = FEW}, 0, NULL},
        {{.settings = "{'layout':'nested','virtualization_devices':false}",
          .config = DEVICES(DENY_ALL)},
         0,
         NULL},
        {{.settings = "{'layout':'nested','virtualization_devices':false,"
                      "'extra_devices':['/dev/sda','/dev/gone']}",
          .config = DEVICES(DENY_ALL)},
         1,
         "/dev/sda (b 8:0 rw)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *about = rows[i].about;
        MADE m;

        kit_make(&m, &rows[i].given);
        cr_assert_eq(m.r, 0, "%s", m.e.text);
        cr_expect_eq(count_warnings(&m.plan, "so the VMM cannot open it"), rows[i].denied,
                     "row %zu: %zu", i, count_warnings(&m.plan, "so the VMM cannot open it"));
        cr_expect(!about || count_warnings(&m.plan, about) == 1, "row %zu: %s", i, about);
    }
}

/* What cannot have an effect here. */
Test(nested, warns_of_settings)
{
    static const struct kit_given g = {
        .settings = "{'layout':'nested','extra_devices':['b 7:* rwm'],'memory_overhead_bytes':1}",
        .config = DEVICES(DENY_ALL)};
    static const struct kit_given none = {.settings = NESTED, .config = DEVICES(DENY_ALL)};
    MADE m;
    MADE without;

    kit_make(&m, &g);
    kit_make(&without, &none);
    cr_assert(m.r == 0 && without.r == 0, "%s%s", m.e.text, without.e.text);
    cr_expect(warned(&m.plan, "\"b 7:* rwm\"", "has no effect"));
    cr_expect(warned(&m.plan, "memory_overhead_bytes", "has no effect"));
    cr_expect_eq(count_warnings(&without.plan, "has no effect"), 0);
}

Test(nested, refuses_bad_device_rules)
{
    static const struct kit_given g = {.settings = NESTED, .config = DEVICES("{'type':'x'}")};
    MADE m;

    kit_make(&m, &g);
    cr_expect(m.r == -EINVAL && m.e.bad_input && strstr(m.e.text, "devices[0].type"), "%d, %s", m.r,
              m.e.text);
}
