/* SPDX-License-Identifier: Apache-2.0 */

/* What systemd is told of a plan. */

#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

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
    "{'linux':{'cgroupsPath':'a.slice:p:n','resources':{'devices':[{'allow':true,'access':'rwm'}"  \
    "]" r "}}}"
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
#define V2_ALL                                                                                     \
    "CPUWeight=100; CPUQuotaPerSecUSec=340000; CPUQuotaPeriodUSec=100000; AllowedCPUs=0-1; "       \
    "AllowedMemoryNodes=0; MemoryMax=1048576; MemorySwapMax=2097152; TasksMax=10; " ALL_DEVICES
#define UNEVEN_OVERHEAD                                                                            \
    "{'overhead_limits':{'cpu':{'shares':512,'quota':20001,'cpus':'3'},'memory':{'limit':100},"    \
    "'pids':{'limit':5}}}"

/* The same with properties that the runtime sets of its scope. */
#define ANNOTATED(r, annotations)                                                                  \
    "{'annotations':{" annotations "},'linux':{'cgroupsPath':'a.slice:p:n','resources':{"          \
    "'devices':[{'allow':true,'access':'rwm'}]" r "}}}"
#define SET(name, value) "'org.systemd.property." name "':'" value "'"

struct told {
    const char *sandbox_files, *sandbox, *overhead_files, *overhead;
};

/* Whatever is NULL is empty. */
static const struct {
    struct kit_given given;
    struct told v1, v2; /* v1 is hybrid, too */
} scopes[] = {
    /* without limits: systemd would have a default for the number of tasks */
    {{.config = SCOPE("")},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES, .overhead = "TasksMax=infinity; "},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    {{.config = SCOPE(""), .argument = ONLY},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    /* the same with both policies: all limits are the scope's, until there are vCPUs */
    {{.config = SCOPE(UNEVEN_FULL)},
     {.sandbox_files = V1_CPU_FILES("33333") V1_OTHER_FILES,
      .sandbox = V1_ALL,
      .overhead_files = "cpu.shares=1024; ",
      .overhead = "CPUShares=1024; TasksMax=infinity; "},
     {.sandbox_files = V2_CPU_FILES("33333") V2_OTHER_FILES,
      .sandbox = V2_ALL,
      .overhead_files = "cpu.max=max 99999; "}},
    {{.config = SCOPE(UNEVEN_FULL), .argument = ONLY},
     {.sandbox_files = V1_CPU_FILES("33333") V1_OTHER_FILES, .sandbox = V1_ALL},
     {.sandbox_files = V2_CPU_FILES("33333") V2_OTHER_FILES, .sandbox = V2_ALL}},
    /* without systemd nothing is told or rounded */
    {{.config = RESOURCES("{'devices':[{'allow':true,'access':'rwm'}]" UNEVEN "}"),
      .settings = UNEVEN_OVERHEAD},
     {.sandbox_files = V1_CPU_FILES("33333"),
      .overhead_files = "cpu.shares=512; cpu.cfs_quota_us=20001; "},
     {.sandbox_files = V2_CPU_FILES("33333"), .overhead_files = "cpu.max=53334 99999; "}},
    {{.config = RESOURCES("{'devices':[{'allow':true,'access':'rwm'}]" UNEVEN "}"),
      .argument = ONLY},
     {.sandbox_files = V1_CPU_FILES("33333")},
     {.sandbox_files = V2_CPU_FILES("33333")}},
    /* the overhead is a scope of its own on v1, whose quota is rounded as systemd does; on v2 it is
     * no scope, so nothing of it is told or rounded */
    {{.config = SCOPE(UNEVEN), .settings = UNEVEN_OVERHEAD},
     {.sandbox_files = V1_CPU_FILES("33333"),
      .sandbox = "CPUShares=1024; CPUQuotaPerSecUSec=340000; CPUQuotaPeriodUSec=100000; "
                 "TasksMax=infinity; " ALL_DEVICES,
      .overhead_files = "cpu.shares=512; cpu.cfs_quota_us=20001; ",
      .overhead = "CPUShares=512; CPUQuotaPerSecUSec=210000; CPUQuotaPeriodUSec=100000; "
                  "TasksMax=infinity; "},
     {.sandbox_files = V2_CPU_FILES("33333"),
      .sandbox = "CPUWeight=100; CPUQuotaPerSecUSec=340000; CPUQuotaPeriodUSec=100000; "
                 "AllowedCPUs=0-1; AllowedMemoryNodes=0; TasksMax=infinity; " ALL_DEVICES,
      .overhead_files = "cpu.max=53334 99999; "}},
    {{.config = SCOPE(""), .settings = UNEVEN_OVERHEAD, .argument = ONLY},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    /* the sum of a sandbox is rounded, not each of its parts */
    {{.config = SCOPE(",'cpu':{'quota':10001,'period':100000}"),
      .others =
          {"{'devices':[{'allow':true,'access':'rwm'}],'cpu':{'quota':10001,'period':100000}}"},
      .argument = ONLY},
     {.sandbox_files = "cpu.cfs_period_us=100000; cpu.cfs_quota_us=20002; ",
      .sandbox = "CPUQuotaPerSecUSec=210000; CPUQuotaPeriodUSec=100000; "
                 "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox_files = "cpu.max=20002 100000; ",
      .sandbox = "CPUQuotaPerSecUSec=210000; CPUQuotaPeriodUSec=100000; "
                 "TasksMax=infinity; " ALL_DEVICES}},
    /* a limit of the runtime's scope alone is one of ours */
    {{.config = ANNOTATED("", SET("MemoryMax", "uint64 1048576") "," SET(
                                  "TasksMax", "@t 10") "," SET("CPUQuotaPerSecUSec", "250000")),
      .argument = ONLY},
     {.sandbox_files = "cpu.cfs_quota_us=25000; memory.limit_in_bytes=1048576; pids.max=10; ",
      .sandbox = "CPUQuotaPerSecUSec=250000; CPUQuotaPeriodUSec=100000; MemoryLimit=1048576; "
                 "TasksMax=10; " ALL_DEVICES},
     {.sandbox_files = "cpu.max=25000 100000; memory.max=1048576; pids.max=10; ",
      .sandbox = "CPUQuotaPerSecUSec=250000; CPUQuotaPeriodUSec=100000; MemoryMax=1048576; "
                 "TasksMax=10; " ALL_DEVICES}},
    /* and the smaller one of two; swap alone is what it was */
    {{.config = ANNOTATED(",'cpu':{'quota':40000,'period':50000},'memory':{'limit':2097152,'swap':"
                          "3145728},'pids':{'limit':10}",
                          SET("MemoryLimit", "1048576") "," SET("TasksMax", "11") "," SET(
                              "CPUQuotaPerSecSec", "1")),
      .argument = ONLY},
     {.sandbox_files = "cpu.cfs_period_us=50000; cpu.cfs_quota_us=40000; "
                       "memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=2097152; "
                       "pids.max=10; ",
      .sandbox = "CPUQuotaPerSecUSec=800000; CPUQuotaPeriodUSec=50000; MemoryLimit=1048576; "
                 "TasksMax=10; " ALL_DEVICES},
     {.sandbox_files = "cpu.max=40000 50000; memory.max=1048576; memory.swap.max=1048576; "
                       "pids.max=10; ",
      .sandbox = "CPUQuotaPerSecUSec=800000; CPUQuotaPeriodUSec=50000; MemoryMax=1048576; "
                 "MemorySwapMax=1048576; TasksMax=10; " ALL_DEVICES}},
    {{.config = ANNOTATED(",'cpu':{'quota':40000,'period':50000},'memory':{'limit':1048576},"
                          "'pids':{'limit':10}",
                          SET("MemoryMax", "2097152") "," SET("TasksMax", "9") "," SET(
                              "CPUQuotaPerSecUSec", "uint64 500000")),
      .argument = ONLY},
     {.sandbox_files = "cpu.cfs_period_us=50000; cpu.cfs_quota_us=25000; "
                       "memory.limit_in_bytes=1048576; pids.max=9; ",
      .sandbox = "CPUQuotaPerSecUSec=500000; CPUQuotaPeriodUSec=50000; MemoryLimit=1048576; "
                 "TasksMax=9; " ALL_DEVICES},
     {.sandbox_files = "cpu.max=25000 50000; memory.max=1048576; pids.max=9; ",
      .sandbox = "CPUQuotaPerSecUSec=500000; CPUQuotaPeriodUSec=50000; MemoryMax=1048576; "
                 "TasksMax=9; " ALL_DEVICES}},
    /* infinity is none */
    {{.config = ANNOTATED("", SET("MemoryMax", "uint64 18446744073709551615")), .argument = ONLY},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox = "TasksMax=infinity; " ALL_DEVICES}},
    /* what `resources` leaves out is not told either */
    {{.config = SCOPE(UNEVEN_FULL), .settings = "{'resources':'kata'}", .argument = ONLY},
     {.sandbox_files = "cpuset.cpus=0-1; cpuset.mems=0; ",
      .sandbox = "TasksMax=infinity; " ALL_DEVICES},
     {.sandbox_files = "cpuset.cpus=0-1; cpuset.mems=0; ",
      .sandbox = "AllowedCPUs=0-1; AllowedMemoryNodes=0; TasksMax=infinity; " ALL_DEVICES}},
    /* a device list: the empty one takes back what was there before; the overhead has none */
    {{.nodes = NO_NODES,
      .config = "{'linux':{'cgroupsPath':'a.slice:p:n','resources':{'devices':[{'allow':false,'"
                "access':'rwm'},"
                "{'allow':true,'type':'b','major':8,'minor':1,'access':'r'}]}}}"},
     {.sandbox = "TasksMax=infinity; DeviceAllow=; DeviceAllow=rm /dev/block/8:1, m block-*, "
                 "rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*; "
                 "DevicePolicy=strict; ",
      .overhead = "TasksMax=infinity; "},
     {.sandbox = "TasksMax=infinity; DeviceAllow=; DeviceAllow=rm /dev/block/8:1, m block-*, "
                 "rwm /dev/char/5:2, rwm /dev/char/10:200, rwm char-136, m char-*; "
                 "DevicePolicy=strict; "}},
};

static void expect_told(const struct kit_given *row, enum cg_mode mode, const struct told *want)
{
    static const char *const what[] = {"sandbox_files", "sandbox_properties", "overhead_files",
                                       "overhead_properties"};
    const char *const wanted[] = {want->sandbox_files, want->sandbox, want->overhead_files,
                                  want->overhead};
    struct kit_given g = *row;
    MADE m;

    g.mode = mode;
    kit_make(&m, &g);
    cr_expect_eq(m.r, 0, "input:    %s\nexpected: a plan\ngot:      %d, %s", kit_show(&m, &g), m.r,
                 m.e.text);
    for (size_t i = 0; i < ARRAY_SIZE(what) && m.r == 0; i++) {
        const char *text = wanted[i] ? wanted[i] : "";
        const char *got = i == 0   ? kit_plan_files(&m.arena, &m.plan.limits.sandbox.files)
                          : i == 1 ? properties_text(&m.arena, &m.plan.limits.sandbox.properties)
                          : i == 2 ? kit_plan_files(&m.arena, &m.plan.overhead.files)
                                   : properties_text(&m.arena, &m.plan.overhead.properties);

        cr_expect_str_eq(got, text, "input:    %s\nexpected: %s %s\ngot:      %s", kit_show(&m, &g),
                         what[i], text, got);
    }
}

Test(plan_systemd, properties)
{
    for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
        expect_told(&scopes[i].given, CG_MODE_V1, &scopes[i].v1);
        expect_told(&scopes[i].given, CG_MODE_HYBRID, &scopes[i].v1);
        expect_told(&scopes[i].given, CG_MODE_V2, &scopes[i].v2);
    }
}

/* What is not carried over is said; nothing of it without systemd. */
Test(plan_systemd, properties_of_the_runtimes_scope)
{
#define NOT_CARRIED(name)                                                                          \
    "annotation org.systemd.property." name " is not carried over to the sandbox's scope"
    static const struct {
        const char *config;
        const char *want;
    } rows[] = {
        {ANNOTATED("", SET("AllowedCPUs", "[byte 0x01]")), NOT_CARRIED("AllowedCPUs")},
        {ANNOTATED("", SET("MemoryMax", "1e6")), NOT_CARRIED("MemoryMax")},
        {ANNOTATED("", SET("MemoryMax", "-1")), NOT_CARRIED("MemoryMax")},
        {ANNOTATED("", SET("TasksMax", "0")), NOT_CARRIED("TasksMax")},
        {ANNOTATED("", SET("TasksMax", "5")), NULL},
        {ANNOTATED("", SET("Description", "x")), NULL},
        {"{'annotations':{" SET("AllowedCPUs", "x") "},'linux':{'cgroupsPath':'/a'}}", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct kit_given g = {.mode = CG_MODE_V2, .config = rows[i].config};
        const char *got = NULL;
        MADE m;

        kit_make(&m, &g);
        cr_expect_eq(m.r, 0);
        for (size_t k = 0; k < m.plan.warnings.count; k++) {
            if (str_starts(m.plan.warnings.items[k], "annotation "))
                got = m.plan.warnings.items[k];
        }
        cr_expect(!got || plan_warns_of_loss(got));
        cr_expect(str_eq_null(got, rows[i].want), "input:    %s\nexpected: %s\ngot:      %s",
                  kit_show(&m, &g), kit_or_null(rows[i].want), kit_or_null(got));
    }
}

/* The slice of the sandbox's scope, and none without systemd. */
Test(plan_systemd, slices)
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
        const struct kit_given g = {.mode = i & 1 ? CG_MODE_V2 : CG_MODE_V1,
                                    .argument = {i & 2, true},
                                    .config = rows[i / 4].config};
        MADE m;

        kit_make(&m, &g);
        cr_expect(m.r == 0 && str_eq_null(m.plan.slice, rows[i / 4].want),
                  "input:    %s\nexpected: %s\ngot:      %s", kit_show(&m, &g),
                  kit_or_null(rows[i / 4].want), m.r < 0 ? m.e.text : kit_or_null(m.plan.slice));
    }
}
