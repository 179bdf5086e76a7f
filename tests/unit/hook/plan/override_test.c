/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/override.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "hook/plan/aggregate.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(override, .fini = drop_arena);

static struct oci_resources *resources(const char *text)
{
    return text ? kit_resources(&arena, text) : NULL;
}

/* --- what is in force --- */

static const struct {
    const char *name, *containers, *set;
    bool v2;
    const char *want;
} applied[] = {
    {"nothing is set", "{'pids':{'limit':5}}", NULL, false, "pids.max=5"},
    {"in place of", "{'pids':{'limit':5}}", "{'pids':{'limit':7}}", false, "pids.max=7"},
    {"where there was none", "{}", "{'pids':{'limit':7}}", false, "pids.max=7"},
    {"beside others", "{'pids':{'limit':5},'cpu':{'cpus':'0'}}", "{'cpu':{'cpus':'1','mems':'0'}}",
     false, "cpuset.cpus=1; cpuset.mems=0; pids.max=5"},
    {"no limit", "{'pids':{'limit':5}}", "{'pids':{'limit':-1}}", false, "pids.max=max"},
    {"bandwidth", "{'cpu':{'quota':5000,'period':50000}}", "{'cpu':{'quota':7000,'period':60000}}",
     true, "cpu.max=7000 60000"},
    {"shares", "{'cpu':{'shares':512}}", "{'cpu':{'shares':2}}", false, "cpu.shares=2"},
    {"memory, and both together", "{'memory':{'limit':100,'swap':300,'reservation':10}}",
     "{'memory':{'limit':200,'swap':250,'reservation':20}}", true,
     "memory.max=200; memory.swap.max=50; memory.low=20"},
    {"a burst that fits", "{'cpu':{'quota':5000}}", "{'cpu':{'burst':5000}}", true,
     "cpu.max=5000 100000; cpu.max.burst=5000"},
    {"a burst above what the quota has become", "{'cpu':{'quota':5000}}", "{'cpu':{'burst':6000}}",
     true, "cpu.max=5000 100000; cpu.max.burst=5000"},
    {"a container's burst above the quota that is set", "{'cpu':{'quota':100000,'burst':50000}}",
     "{'cpu':{'quota':20000,'period':100000}}", true, "cpu.max=20000 100000; cpu.max.burst=20000"},
    {"on v1", "{'cpu':{'quota':100000,'burst':50000}}", "{'cpu':{'quota':20000}}", false,
     "cpu.cfs_quota_us=20000; cpu.cfs_burst_us=20000"},
    {"one that is as much", "{'cpu':{'quota':100000,'burst':20000}}",
     "{'cpu':{'quota':20000,'period':100000}}", true, "cpu.max=20000 100000; cpu.max.burst=20000"},
    {"one that is less", "{'cpu':{'quota':100000,'burst':10000}}",
     "{'cpu':{'quota':20000,'period':100000}}", true, "cpu.max=20000 100000; cpu.max.burst=10000"},
    {"in a file of unified", "{'cpu':{'quota':100000},'unified':{'cpu.max.burst':'50000'}}",
     "{'cpu':{'quota':20000,'period':100000}}", true, "cpu.max=20000 100000; cpu.max.burst=20000"},
    {"in a file of unified, less", "{'cpu':{'quota':100000},'unified':{'cpu.max.burst':'20000'}}",
     "{'cpu':{'quota':20000,'period':100000}}", true, "cpu.max=20000 100000; cpu.max.burst=20000"},
    {"in a file of unified, and no quota", "{'unified':{'cpu.max.burst':'50000'}}",
     "{'cpu':{'quota':-1,'period':100000}}", true, "cpu.max=max 100000; cpu.max.burst=50000"},
    {"another file of unified above the quota", "{'unified':{'memory.high':'50000'}}",
     "{'cpu':{'quota':20000,'period':100000}}", true, "cpu.max=20000 100000; memory.high=50000"},
    {"a quota of its own below its burst", "{'cpu':{'quota':5000,'burst':6000}}",
     "{'pids':{'limit':7}}", true, "cpu.max=5000 100000; cpu.max.burst=6000; pids.max=7"},
    {"a burst without a quota", "{'cpu':{'quota':-1}}", "{'cpu':{'burst':6000}}", true,
     "cpu.max=max 100000; cpu.max.burst=6000"},
    {"no burst is one", "{'cpu':{'quota':5000,'burst':100}}", "{'cpu':{'burst':0}}", true,
     "cpu.max=5000 100000; cpu.max.burst=0"},
    {"a file of unified is the same limit", "{'unified':{'pids.max':'3','memory.high':'9'}}",
     "{'pids':{'limit':7}}", true, "pids.max=7; memory.high=9"},
    {"the other name of a weight", "{'unified':{'cpu.weight.nice':'3','cpu.idle':'1'}}",
     "{'cpu':{'shares':1024}}", true, "cpu.weight=100; cpu.idle=1"},
    {"idle has no weight", "{'unified':{'cpu.weight':'30','memory.high':'9'}}",
     "{'cpu':{'idle':1}}", true, "cpu.idle=1; memory.high=9"},
    {"nor one of the other name", "{'unified':{'cpu.weight.nice':'3'}}", "{'cpu':{'idle':1}}", true,
     "cpu.idle=1"},
    {"not idle has one", "{'unified':{'cpu.weight':'30','cpu.idle':'1'}}", "{'cpu':{'idle':0}}",
     true, "cpu.idle=0; cpu.weight=30"},
    {"one is set, and idle is the container's",
     "{'unified':{'cpu.weight.nice':'3'},'cpu':{'idle':1}}", "{'cpu':{'quota':5000,'period':9000}}",
     true, "cpu.max=5000 9000; cpu.idle=1; cpu.weight.nice=3"},
};

Test(override, applied)
{
    for (size_t i = 0; i < ARRAY_SIZE(applied); i++) {
        const char **warnings = NULL;
        size_t count = 0;
        struct err e = ERR_INIT;
        struct aggregate_notes notes = {0};
        struct cg_limits limits;
        struct cg_files files = {0};

        aggregate_container(resources(applied[i].containers), &arena, &limits);
        override_apply(resources(applied[i].set), applied[i].v2, &arena, &limits, &notes);
        cr_assert_eq(cg_limits_files(&limits, applied[i].v2, &arena, &files, &warnings, &count, &e),
                     0, "%s: %s", applied[i].name, e.text);
        cr_expect_str_eq(kit_files_text(&arena, &files), applied[i].want,
                         "%s:\nexpected %s\ngot      %s", applied[i].name, applied[i].want,
                         kit_files_text(&arena, &files));
    }
}

/* --- one word after the other --- */

static const struct {
    const char *before, *more, *want;
} merged[] = {
    {NULL, NULL, "{\"cpu\":{},\"memory\":{},\"pids\":{}}"},
    {NULL, "{'pids':{'limit':7}}", "{\"cpu\":{},\"memory\":{},\"pids\":{\"limit\":7}}"},
    {"{'pids':{'limit':7}}", NULL, "{\"cpu\":{},\"memory\":{},\"pids\":{\"limit\":7}}"},
    {"{'pids':{'limit':7},'cpu':{'cpus':'0'}}", "{'pids':{'limit':8},'memory':{'limit':1}}",
     "{\"cpu\":{\"cpus\":\"0\"},\"memory\":{\"limit\":1},\"pids\":{\"limit\":8}}"},
    /* what is 0 or empty says nothing, as with runc; a burst and idle of 0 do */
    {"{'pids':{'limit':7},'cpu':{'cpus':'0','burst':5,'idle':1,'quota':5}}",
     "{'pids':{'limit':0},'cpu':{'cpus':'','burst':0,'idle':0,'quota':0,'shares':0}}",
     "{\"cpu\":{\"quota\":5,\"burst\":0,\"cpus\":\"0\",\"idle\":0},\"memory\":{},"
     "\"pids\":{\"limit\":7}}"},
    /* nothing else is kept */
    {NULL, "{'blockIO':{'weight':5},'memory':{'swappiness':5}}",
     "{\"cpu\":{},\"memory\":{},\"pids\":{}}"},
};

Test(override, merged)
{
    for (size_t i = 0; i < ARRAY_SIZE(merged); i++) {
        const struct oci_resources *r =
            override_merge(resources(merged[i].before), resources(merged[i].more), &arena);

        cr_expect_str_eq(kit_resources_text(&arena, r), merged[i].want,
                         "row %zu:\nexpected %s\ngot      %s", i, merged[i].want,
                         kit_resources_text(&arena, r));
    }
}

/* --- the runtime's word after it --- */

static const struct {
    const char *name, *set, *before, *now, *want;
} yielded[] = {
    {"nothing has changed", "{'pids':{'limit':7}}", "{'pids':{'limit':5}}", "{'pids':{'limit':5}}",
     "{\"cpu\":{},\"memory\":{},\"pids\":{\"limit\":7}}"},
    {"that limit has", "{'pids':{'limit':7}}", "{'pids':{'limit':5}}", "{'pids':{'limit':6}}",
     "nothing"},
    {"to what is set", "{'pids':{'limit':7}}", "{'pids':{'limit':5}}", "{'pids':{'limit':7}}",
     "nothing"},
    {"it is new", "{'pids':{'limit':7}}", NULL, "{'pids':{'limit':0}}", "nothing"},
    {"it is gone", "{'pids':{'limit':7}}", "{'pids':{'limit':5}}", NULL, "nothing"},
    {"another one has", "{'pids':{'limit':7},'cpu':{'cpus':'0','mems':'0'}}",
     "{'pids':{'limit':5},'cpu':{'cpus':'1'}}", "{'pids':{'limit':5},'cpu':{'cpus':'2'}}",
     "{\"cpu\":{\"mems\":\"0\"},\"memory\":{},\"pids\":{\"limit\":7}}"},
    {"an empty list is none", "{'cpu':{'cpus':'0'}}", "{'cpu':{'shares':5}}", "{'cpu':{'cpus':''}}",
     "{\"cpu\":{\"cpus\":\"0\"},\"memory\":{},\"pids\":{}}"},
    {"a period goes with its quota", "{'cpu':{'quota':5,'period':9,'burst':3}}",
     "{'cpu':{'quota':1,'period':2}}", "{'cpu':{'quota':2,'period':2}}",
     "{\"cpu\":{\"burst\":3},\"memory\":{},\"pids\":{}}"},
    {"a quota goes with its period", "{'cpu':{'quota':5,'period':9,'shares':3}}",
     "{'cpu':{'quota':1,'period':2}}", "{'cpu':{'quota':1,'period':3}}",
     "{\"cpu\":{\"shares\":3},\"memory\":{},\"pids\":{}}"},
    {"swap goes with memory", "{'memory':{'limit':5,'swap':9,'reservation':1}}",
     "{'memory':{'limit':1}}", "{'memory':{'limit':2}}",
     "{\"cpu\":{},\"memory\":{\"reservation\":1},\"pids\":{}}"},
};

Test(override, yielded)
{
    for (size_t i = 0; i < ARRAY_SIZE(yielded); i++) {
        const struct oci_resources *set = resources(yielded[i].set);
        const char *was = kit_resources_text(&arena, set);
        const struct oci_resources *r =
            override_yield(set, resources(yielded[i].before), resources(yielded[i].now), &arena);

        cr_expect_str_eq(kit_resources_text(&arena, r), yielded[i].want,
                         "%s:\nexpected %s\ngot      %s", yielded[i].name, yielded[i].want,
                         kit_resources_text(&arena, r));
        cr_expect_str_eq(kit_resources_text(&arena, set), was, "%s: it is a copy", yielded[i].name);
    }
}
