/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/facts.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/host.h"
#include "hook/plan/plan.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define CPU     CG_CTL_BIT(CG_CTL_CPU)
#define CPUACCT CG_CTL_BIT(CG_CTL_CPUACCT)
#define MEMORY  CG_CTL_BIT(CG_CTL_MEMORY)

static const struct {
    const char *name;
    struct cg_hierarchy hierarchies[3];
    bool want;
} hosts[] = {
    {"in one", {{.controllers = MEMORY}, {.controllers = CPU | CPUACCT}}, true},
    {"apart", {{.controllers = CPUACCT}, {.controllers = CPU}}, false},
    {"without", {{.controllers = CPU}}, false},
    {"no cpu", {{.controllers = CPUACCT}}, false},
    /* the CPU time of a v2 cgroup is that of all its descendants */
    {"v2", {{.v2 = true, .controllers = CPU | CPUACCT | MEMORY}}, false},
    {"nothing", {{.controllers = 0}}, false},
};

Test(facts, add_host)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct cg_host host = {.count = ARRAY_SIZE(hosts[i].hierarchies)};

        for (size_t h = 0; h < host.count; h++)
            host.hierarchies[h] = hosts[i].hierarchies[h];
        for (int before = 0; before <= 1; before++) {
            struct facts facts = {.mode = CG_MODE_HYBRID, .cpuacct_with_cpu = before};

            facts_add_host(&facts, &host);
            cr_expect_eq(facts.cpuacct_with_cpu, hosts[i].want, "%s", hosts[i].name);
            cr_expect_eq(facts.mode, CG_MODE_HYBRID);
        }
    }
}

/* One bit for each mode that takes no device rules from us; 255: there are no user namespaces. */
static int refused_in_child(bool in_namespace)
{
    int status;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        static const struct settings settings;
        struct arena a = ARENA_INIT;
        struct facts facts;
        int all = 0;

        if (in_namespace && unshare(CLONE_NEWUSER) < 0)
            _exit(255);
        for (unsigned mode = CG_MODE_V1; mode <= CG_MODE_V2; mode++) {
            facts_gather(mode, &settings, true, &a, &facts);
            all |= facts.no_device_rules << mode;
        }
        _exit(all);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Root of a namespace of its own may not, whatever it may do with its cgroups. */
Test(facts, refuse_devices)
{
    int got = refused_in_child(true);

    cr_expect_eq(refused_in_child(false), 0);
    if (got == 255)
        cr_skip_test("no user namespaces here");
    cr_expect_eq(got, 1 << CG_MODE_V1 | 1 << CG_MODE_HYBRID | 1 << CG_MODE_V2);
}

Test(facts, look)
{
    struct device_node node = {.exists = true};

    cr_expect_eq(facts_look("/", &node), -ENODEV);
    cr_expect_not(node.exists);
    cr_expect_eq(facts_look("/dev/null/none", &node), -ENOTDIR);
    cr_expect_not(node.exists);
    cr_expect_eq(facts_look("/dev/null", &node), 0);
    cr_expect(node.exists && node.type == 'c' && node.major == 1 && node.minor == 3);
}

/* A device that could not be looked at is not missing: without it nothing is planned. */
Test(facts, unseen)
{
    const struct facts facts = {.unseen = "/dev/kvm", .unseen_error = -EIO};
    const struct plan_basis basis = {.facts = &facts};
    struct plan_warnings warnings = {0};
    autoarena a = ARENA_INIT;
    struct plan_limits limits;
    struct err e = ERR_INIT;

    cr_expect_eq(plan_limits(&basis, NULL, 0, &a, &limits, &warnings, &e), -EIO);
    cr_expect(strstr(e.text, "/dev/kvm") && strstr(e.text, "EIO"), "\"%s\"", e.text);
}

/* What is there, what is missing, and what leads nowhere are all looked at. */
Test(facts, all_seen)
{
    char null[] = "/dev/null", none[] = "/dev/null/none";
    char *paths[] = {null, none};
    struct settings settings = {.extra_devices = {.items = paths, .count = 2}};
    autoarena a = ARENA_INIT;
    struct facts facts;

    facts_gather(CG_MODE_V1, &settings, false, &a, &facts);
    cr_expect_null(facts.unseen);
    cr_expect_not_null(facts_device(&facts, null));
    cr_expect_null(facts_device(&facts, none));
}

/* Where the device rules are the runtime's own the nodes that everybody has say nothing. */
Test(facts, own)
{
    static const struct settings settings;
    autoarena a = ARENA_INIT;
    struct facts facts;

    facts_gather(CG_MODE_V1, &settings, true, &a, &facts);
    cr_expect_eq(facts.node_count, facts_default_device_count);
    cr_expect_not_null(facts_device(&facts, "/dev/null"));
    facts_gather(CG_MODE_V1, &settings, false, &a, &facts);
    cr_expect_eq(facts.node_count, 0);
}
