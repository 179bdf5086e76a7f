/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/facts.h"

#include "base/cleanup.h"
#include "cgroup/host.h"

#include <criterion/criterion.h>

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
