/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/aggregate.h"

#include "cgroup/limits/table.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "oci/config.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

/* --- limits to text --- */

#define MEMBER(m)                                                                                  \
    {                                                                                              \
#m, offsetof(struct cg_limits, m)                                                          \
    }

static const struct {
    const char *name;
    size_t offset;
} values[] = {
    MEMBER(cpu_shares),         MEMBER(cpu_quota_us),
    MEMBER(cpu_period_us),      MEMBER(cpu_burst_us),
    MEMBER(cpu_rt_runtime_us),  MEMBER(cpu_rt_period_us),
    MEMBER(cpu_idle),           MEMBER(memory_limit),
    MEMBER(memory_reservation), MEMBER(memory_swap),
    MEMBER(memory_kernel_tcp),  MEMBER(memory_swappiness),
    MEMBER(memory_no_oom_kill), MEMBER(pids),
    MEMBER(blkio_weight),       MEMBER(blkio_leaf_weight),
    MEMBER(net_class_id),
};

static void add_value(struct sbuf *out, const char *name, const struct cg_value *v)
{
    if (v->set)
        sbuf_addf(out, "%s=%" PRId64 " ", name, v->value);
}

/* "cpu_shares=1024 cpus=0-3 ", with everything that is set. */
static void limits_text(const struct cg_limits *l, struct sbuf *out)
{
    static const char *const throttles[CG_THROTTLE_COUNT] = {"rbps", "wbps", "riops", "wiops"};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        add_value(out, values[i].name, cg_limit_value(l, values[i].offset));
    if (!str_empty(l->cpuset_cpus))
        sbuf_addf(out, "cpus=%s ", l->cpuset_cpus);
    if (!str_empty(l->cpuset_mems))
        sbuf_addf(out, "mems=%s ", l->cpuset_mems);
    for (size_t i = 0; i < l->hugetlb_count; i++)
        sbuf_addf(out, "hugetlb:%s=%" PRId64 " ", l->hugetlb[i].page_size,
                  l->hugetlb[i].limit_bytes);
    for (size_t i = 0; i < l->blkio_weight_count; i++) {
        const struct cg_blkio_weight *w = &l->blkio_weights[i];

        sbuf_addf(out, "%" PRId64 ":%" PRId64 " ", w->major, w->minor);
        add_value(out, "weight", &w->weight);
        add_value(out, "leaf", &w->leaf_weight);
    }
    for (size_t i = 0; i < l->throttle_count; i++) {
        const struct cg_blkio_throttle *t = &l->throttles[i];

        sbuf_addf(out, "%s:%" PRId64 ":%" PRId64 "=%" PRIu64 " ", throttles[t->what], t->major,
                  t->minor, t->rate);
    }
    for (size_t i = 0; i < l->net_priority_count; i++)
        sbuf_addf(out, "prio:%s=%" PRIu32 " ", l->net_priorities[i].interface,
                  l->net_priorities[i].priority);
    for (size_t i = 0; i < l->unified_count; i++)
        sbuf_addf(out, "unified:%s=%s ", l->unified[i].file, l->unified[i].text);
}

/* --- one container --- */

#define I64_MAX_TEXT "9223372036854775807"

static const struct {
    const char *resources, *want;
} conversions[] = {
    {"{}", ""},
    {"{'cpu':{},'memory':{},'blockIO':{},'network':{},'unified':{},'hugepageLimits':[]}", ""},
    {"{'cpu':{'shares':0}}", "cpu_shares=0 "}, /* 0 is how runtimes say "not set" */
    {"{'cpu':{'shares':1}}", "cpu_shares=2 "},
    {"{'cpu':{'shares':2}}", "cpu_shares=2 "},
    {"{'cpu':{'shares':3}}", "cpu_shares=3 "},
    {"{'cpu':{'shares':262144}}", "cpu_shares=262144 "},
    {"{'cpu':{'shares':262145}}", "cpu_shares=262144 "},
    {"{'cpu':{'shares':18446744073709551615}}", "cpu_shares=262144 "},
    {"{'cpu':{'quota':50000}}", "cpu_quota_us=50000 "},
    {"{'cpu':{'quota':-1}}", "cpu_quota_us=-1 "},
    {"{'cpu':{'period':50000}}", "cpu_period_us=50000 "},
    {"{'cpu':{'period':18446744073709551615}}", "cpu_period_us=" I64_MAX_TEXT " "},
    {"{'cpu':{'period':9223372036854775808}}", "cpu_period_us=" I64_MAX_TEXT " "},
    {"{'cpu':{'period':9223372036854775806}}", "cpu_period_us=9223372036854775806 "},
    {"{'cpu':{'burst':11}}", "cpu_burst_us=11 "},
    {"{'cpu':{'realtimeRuntime':12}}", "cpu_rt_runtime_us=12 "},
    {"{'cpu':{'realtimePeriod':13}}", "cpu_rt_period_us=13 "},
    {"{'cpu':{'realtimeRuntime':0,'realtimePeriod':0}}", ""}, /* runtimes write neither */
    {"{'cpu':{'realtimeRuntime':-1}}", "cpu_rt_runtime_us=-1 "},
    {"{'cpu':{'idle':1}}", "cpu_idle=1 "},
    {"{'cpu':{'cpus':'0-3,8'}}", "cpus=0-3,8 "},
    {"{'cpu':{'mems':'1'}}", "mems=1 "},
    {"{'memory':{'limit':14}}", "memory_limit=14 "},
    {"{'memory':{'limit':-1}}", "memory_limit=-1 "},
    {"{'memory':{'limit':0}}", ""}, /* as 0 shares */
    {"{'memory':{'limit':1}}", "memory_limit=1 "},
    {"{'memory':{'reservation':15}}", "memory_reservation=15 "},
    {"{'memory':{'reservation':-1}}", "memory_reservation=-1 "},
    {"{'memory':{'reservation':0}}", ""},
    {"{'memory':{'swap':16}}", "memory_swap=16 "},
    {"{'memory':{'swap':-1}}", "memory_swap=-1 "},
    {"{'memory':{'kernelTCP':17}}", "memory_kernel_tcp=17 "},
    {"{'memory':{'kernel':18}}", ""}, /* deprecated, ignored by all current runtimes */
    {"{'memory':{'swappiness':19}}", "memory_swappiness=19 "},
    {"{'memory':{'disableOOMKiller':true}}", "memory_no_oom_kill=1 "},
    {"{'memory':{'disableOOMKiller':false}}", "memory_no_oom_kill=0 "},
    {"{'pids':{'limit':20}}", "pids=20 "},
    {"{'pids':{'limit':-1}}", "pids=-1 "},
    {"{'pids':{'limit':0}}", "pids=0 "},
    {"{'pids':{}}", ""},
    {"{'hugepageLimits':[{'pageSize':'2MB','limit':21},{'pageSize':'1GB','limit':22}]}",
     "hugetlb:2MB=21 hugetlb:1GB=22 "},
    {"{'hugepageLimits':[{'pageSize':'2MB','limit':18446744073709551615}]}",
     "hugetlb:2MB=" I64_MAX_TEXT " "},
    {"{'hugepageLimits':[{'limit':23}]}", "hugetlb:=23 "}, /* refused by limits.c */
    {"{'blockIO':{'weight':24}}", "blkio_weight=24 "},
    {"{'blockIO':{'leafWeight':25}}", "blkio_leaf_weight=25 "},
    {"{'blockIO':{'weightDevice':[{'major':8,'minor':1,'weight':26},"
     "{'major':9,'minor':2,'leafWeight':27}]}}",
     "8:1 weight=26 9:2 leaf=27 "},
    {"{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':1,'rate':28}]}}", "rbps:8:1=28 "},
    {"{'blockIO':{'throttleWriteBpsDevice':[{'major':8,'minor':2,'rate':29}]}}", "wbps:8:2=29 "},
    {"{'blockIO':{'throttleReadIOPSDevice':[{'major':8,'minor':3,'rate':30}]}}", "riops:8:3=30 "},
    {"{'blockIO':{'throttleWriteIOPSDevice':[{'major':8,'minor':4,'rate':31}]}}", "wiops:8:4=31 "},
    {"{'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':1,'rate':18446744073709551615},"
     "{'major':8,'minor':2,'rate':1}]}}",
     "rbps:8:1=18446744073709551615 rbps:8:2=1 "},
    {"{'network':{'classID':4294967295}}", "net_class_id=4294967295 "},
    {"{'network':{'priorities':[{'name':'eth0','priority':32},{'name':'lo','priority':33}]}}",
     "prio:eth0=32 prio:lo=33 "},
    {"{'unified':{'memory.high':'34','cpu.max':'35 100000'}}",
     "unified:memory.high=34 unified:cpu.max=35 100000 "},
};

Test(aggregate, to_limits)
{
    for (size_t i = 0; i < ARRAY_SIZE(conversions); i++) {
        autoarena a = ARENA_INIT;
        autosbuf got = SBUF_INIT;
        struct cg_limits limits;

        memset(&limits, 0x5a, sizeof limits);
        aggregate_container(kit_resources(&a, conversions[i].resources), &a, &limits);
        limits_text(&limits, &got);
        cr_expect_str_eq(sbuf_text(&got), conversions[i].want,
                         "input:    %s\nexpected: %s\ngot:      %s", conversions[i].resources,
                         conversions[i].want, sbuf_text(&got));
    }
}

Test(aggregate, no_resources_no_limits)
{
    autoarena a = ARENA_INIT;
    autosbuf got = SBUF_INIT;
    struct cg_limits limits;

    memset(&limits, 0x5a, sizeof limits);
    aggregate_container(NULL, &a, &limits);
    limits_text(&limits, &got);
    cr_expect_str_eq(sbuf_text(&got), "");
}

/* --- several containers --- */

/* The first list that is NULL ends the containers. */
#define MAX_CONTAINERS 3

static struct aggregate_member *make_members(struct arena *a, const char *const *texts,
                                             size_t *ret_count)
{
    struct aggregate_member *members = arena_alloc(a, (MAX_CONTAINERS + 1) * sizeof *members);
    size_t count = 0;

    for (; count < MAX_CONTAINERS && texts[count]; count++)
        members[count].resources = kit_resources(a, texts[count]);
    *ret_count = count;
    return members;
}

static const char *show_inputs(struct arena *a, const char *const *texts)
{
    const char *all = "";

    for (size_t i = 0; i < MAX_CONTAINERS && texts[i]; i++)
        all = arena_printf(a, "%s%s%s", all, i ? " + " : "", texts[i]);
    return all;
}

#define EVERYTHING                                                                                 \
    "{'cpu':{'shares':512,'quota':1000,'period':30000,'burst':1,'realtimeRuntime':2,"              \
    "'realtimePeriod':3,'idle':0,'cpus':'0,1','mems':'0'},"                                        \
    "'memory':{'limit':100,'reservation':4,'swap':200,'kernelTCP':5,'swappiness':6,"               \
    "'disableOOMKiller':true},'pids':{'limit':7},'hugepageLimits':[{'pageSize':'2MB','limit':8}]," \
    "'blockIO':{'weight':10,'leafWeight':11,'weightDevice':[{'major':8,'minor':0,'weight':12}],"   \
    "'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':13}]},"                                  \
    "'network':{'classID':14,'priorities':[{'name':'lo','priority':15}]},"                         \
    "'unified':{'memory.high':'16'}}"

#define EVERYTHING_TEXT(limit, swap)                                                               \
    "cpu_shares=512 cpu_quota_us=1000 cpu_period_us=30000 cpu_burst_us=1 cpu_rt_runtime_us=2 "     \
    "cpu_rt_period_us=3 cpu_idle=0 memory_limit=" limit " memory_reservation=4 memory_swap=" swap  \
    " memory_kernel_tcp=5 memory_swappiness=6 memory_no_oom_kill=1 pids=7 blkio_weight=10 "        \
    "blkio_leaf_weight=11 net_class_id=14 cpus=0,1 mems=0 hugetlb:2MB=8 8:0 weight=12 "            \
    "rbps:8:0=13 prio:lo=15 unified:memory.high=16 "

static const struct {
    int64_t overhead;
    const char *containers[MAX_CONTAINERS];
    const char *want;
} sums[] = {
    /* none, and a lone one as it is */
    {0, {NULL}, ""},
    {99, {NULL}, ""},
    {0, {"{}"}, ""},
    {99, {"{}"}, ""},
    {0, {EVERYTHING}, EVERYTHING_TEXT("100", "200")},
    {30, {EVERYTHING}, EVERYTHING_TEXT("130", "230")},
    {0, {"{'cpu':{'cpus':'3,1-2'}}"}, "cpus=3,1-2 "},
    {0, {"{'cpu':{'shares':0}}"}, "cpu_shares=0 "},
    /* what cannot be summed is dropped as soon as there are two */
    {0,
     {EVERYTHING, EVERYTHING},
     "cpu_shares=1024 cpu_quota_us=6666 cpu_period_us=100000 memory_limit=200 memory_swap=400 "
     "pids=14 cpus=0-1 mems=0 hugetlb:2MB=16 "},
    {0, {"{}", "{}"}, ""},
    {99, {"{}", "{}", "{}"}, ""},

    /* CPU time: periods differ, one without a limit lifts it for all */
    {0,
     {"{'cpu':{'quota':50000,'period':100000}}", "{'cpu':{'quota':20000,'period':50000}}"},
     "cpu_quota_us=90000 cpu_period_us=100000 "},
    {0,
     {"{'cpu':{'quota':50000}}", "{'cpu':{'quota':10000,'period':200000}}",
      "{'cpu':{'quota':7000,'period':0}}"},
     "cpu_quota_us=62000 cpu_period_us=100000 "},
    {0,
     {"{'cpu':{'quota':50000}}", "{'cpu':{'quota':-1}}"},
     "cpu_quota_us=-1 cpu_period_us=100000 "},
    {0, {"{'cpu':{'quota':50000}}", "{}"}, "cpu_quota_us=-1 cpu_period_us=100000 "},
    {0, {"{}", "{'cpu':{'quota':50000}}"}, "cpu_quota_us=-1 cpu_period_us=100000 "},
    {0,
     {"{'cpu':{'quota':50000}}", "{'cpu':{'quota':0}}"},
     "cpu_quota_us=-1 cpu_period_us=100000 "},
    {0, {"{'cpu':{'period':50000}}", "{}"}, "cpu_quota_us=-1 cpu_period_us=100000 "},
    {0,
     {"{'cpu':{'quota':9000000000000000000}}", "{'cpu':{'quota':9000000000000000000}}"},
     "cpu_quota_us=-1 cpu_period_us=100000 "},
    /* the kernel takes up to 2^44 - 1 us */
    {0,
     {"{'cpu':{'quota':8796093022207}}", "{'cpu':{'quota':8796093022208}}"},
     "cpu_quota_us=17592186044415 cpu_period_us=100000 "},
    {0,
     {"{'cpu':{'quota':8796093022208}}", "{'cpu':{'quota':8796093022208}}"},
     "cpu_quota_us=-1 cpu_period_us=100000 "},
    {0, {"{'cpu':{'quota':17592186044416}}"}, "cpu_quota_us=17592186044416 "},

    /* shares: one without them counts with the kernel's 1024 */
    {0, {"{'cpu':{'shares':512}}", "{'cpu':{'shares':256}}"}, "cpu_shares=768 "},
    {0, {"{'cpu':{'shares':512}}", "{}", "{}"}, "cpu_shares=2560 "},
    {0, {"{'cpu':{'shares':512}}", "{'cpu':{'shares':0}}"}, "cpu_shares=1536 "},
    {0, {"{'cpu':{'shares':0}}", "{'cpu':{'shares':0}}"}, ""},
    {0, {"{'cpu':{'shares':2}}", "{'cpu':{'shares':2}}"}, "cpu_shares=4 "},
    {0, {"{'cpu':{'shares':262144}}", "{'cpu':{'shares':2}}"}, "cpu_shares=262144 "},

    /* memory, swap, pids */
    {0, {"{'memory':{'limit':100}}", "{'memory':{'limit':50}}"}, "memory_limit=150 "},
    {7, {"{'memory':{'limit':100}}", "{'memory':{'limit':50}}"}, "memory_limit=157 "},
    {0, {"{'memory':{'limit':100}}", "{}"}, "memory_limit=-1 "},
    {7, {"{}", "{'memory':{'limit':100}}"}, "memory_limit=-1 "},
    {7, {"{'memory':{'limit':100}}", "{'memory':{'limit':-1}}"}, "memory_limit=-1 "},
    {0, {"{'memory':{'limit':100}}", "{'memory':{'limit':0}}"}, "memory_limit=-1 "},
    {0, {"{'memory':{'limit':0}}", "{'memory':{'limit':0}}"}, ""},
    {7,
     {"{'memory':{'limit':100,'swap':150}}", "{'memory':{'limit':50,'swap':50}}"},
     "memory_limit=157 memory_swap=207 "},
    {7,
     {"{'memory':{'limit':100,'swap':150}}", "{'memory':{'limit':50}}"},
     "memory_limit=157 memory_swap=-1 "},
    {7,
     {"{'memory':{'limit':100,'swap':150}}", "{'memory':{'limit':50,'swap':-1}}"},
     "memory_limit=157 memory_swap=-1 "},
    {7, {"{'memory':{'limit':-1,'swap':-1}}"}, "memory_limit=-1 memory_swap=-1 "},
    {7, {"{'memory':{'limit':0}}"}, ""},
    {7,
     {"{'memory':{'limit':100}}", "{'memory':{'limit':50,'swap':80}}"},
     "memory_limit=157 memory_swap=-1 "},
    {0,
     {"{'memory':{'limit':100,'swap':150}}", "{'memory':{'limit':50,'swap':0}}"},
     "memory_limit=150 memory_swap=-1 "},
    {0, {"{'memory':{'limit':100,'swap':150}}", "{}"}, "memory_limit=-1 memory_swap=-1 "},
    {0, {"{'memory':{'reservation':1}}", "{'memory':{'reservation':1}}"}, ""},
    {0,
     {"{'memory':{'limit':9223372036854775000}}", "{'memory':{'limit':9223372036854775000}}"},
     "memory_limit=" I64_MAX_TEXT " "},
    {1000, {"{'memory':{'limit':9223372036854775000}}"}, "memory_limit=" I64_MAX_TEXT " "},
    {1000,
     {"{'memory':{'limit':1,'swap':9223372036854775000}}"},
     "memory_limit=1001 memory_swap=" I64_MAX_TEXT " "},
    {0, {"{'pids':{'limit':10}}", "{'pids':{'limit':5}}", "{'pids':{'limit':1}}"}, "pids=16 "},
    {99, {"{'pids':{'limit':10}}", "{'pids':{'limit':5}}"}, "pids=15 "},
    {0, {"{'pids':{'limit':10}}", "{}"}, "pids=-1 "},
    {0, {"{'pids':{'limit':10}}", "{'pids':{'limit':0}}"}, "pids=-1 "},
    {0, {"{'pids':{'limit':10}}", "{'pids':{'limit':-1}}"}, "pids=-1 "},
    /* the kernel takes up to PID_MAX_LIMIT */
    {0, {"{'pids':{'limit':4194303}}", "{'pids':{'limit':1}}"}, "pids=4194304 "},
    {0, {"{'pids':{'limit':4194304}}", "{'pids':{'limit':1}}"}, "pids=-1 "},
    {0, {"{'pids':{'limit':4194305}}"}, "pids=4194305 "},

    /* hugetlb, per page size; what has no limit in one container has none */
    {0,
     {"{'hugepageLimits':[{'pageSize':'2MB','limit':2},{'pageSize':'1GB','limit':4}]}",
      "{'hugepageLimits':[{'pageSize':'1GB','limit':8},{'pageSize':'2MB','limit':1}]}"},
     "hugetlb:2MB=3 hugetlb:1GB=12 "},
    {0,
     {"{'hugepageLimits':[{'pageSize':'2MB','limit':0}]}",
      "{'hugepageLimits':[{'pageSize':'2MB','limit':0}]}"},
     "hugetlb:2MB=0 "},
    {0,
     {"{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}", "{}"},
     "hugetlb:2MB=" I64_MAX_TEXT " "},
    /* of a size that is there twice the last one counts */
    {0,
     {"{'hugepageLimits':[{'pageSize':'2MB','limit':2},{'pageSize':'1GB','limit':9},"
      "{'pageSize':'2MB','limit':4}]}",
      "{'hugepageLimits':[{'pageSize':'2MB','limit':8},{'pageSize':'1GB','limit':9}]}"},
     "hugetlb:2MB=12 hugetlb:1GB=18 "},
    {0,
     {"{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}",
      "{'hugepageLimits':[{'pageSize':'1GB','limit':4}]}"},
     "hugetlb:2MB=" I64_MAX_TEXT " hugetlb:1GB=" I64_MAX_TEXT " "},

    /* cpusets: the union, none as soon as one container has none */
    {0, {"{'cpu':{'cpus':'0-1'}}", "{'cpu':{'cpus':'3,1-2'}}"}, "cpus=0-3 "},
    {0, {"{'cpu':{'cpus':'7'}}", "{'cpu':{'cpus':'0,4'}}"}, "cpus=0,4,7 "},
    {0, {"{'cpu':{'cpus':'7, 9'}}"}, "cpus=7, 9 "},
    {0, {"{'cpu':{'cpus':'7, 9'}}", "{'cpu':{'cpus':'0'}}"}, "cpus=0,7,9 "},
    {0, {"{'cpu':{'cpus':'0-1'}}", "{}"}, ""},
    {0, {"{'cpu':{'cpus':'0-1'}}", "{'cpu':{'cpus':''}}"}, ""},
    {0, {"{'cpu':{'mems':'0'}}", "{'cpu':{'mems':'2'}}"}, "mems=0,2 "},
    {0, {"{'cpu':{'mems':'0'}}", "{}"}, ""},
    {0,
     {"{'cpu':{'cpus':'0','mems':'1'}}", "{'cpu':{'cpus':'4','mems':'0'}}"},
     "cpus=0,4 mems=0-1 "},
    {0, {"{'cpu':{'cpus':'0','mems':'1'}}", "{'cpu':{'cpus':'4'}}"}, "cpus=0,4 "},
};

static void expect_sum(int64_t overhead, const char *const *containers, const char *want)
{
    autoarena a = ARENA_INIT;
    autosbuf got = SBUF_INIT;
    struct err e = ERR_INIT;
    struct aggregate_member *all;
    struct cg_limits limits;
    size_t count;
    int r;

    all = make_members(&a, containers, &count);
    memset(&limits, 0x5a, sizeof limits);
    r = aggregate_limits(all, count, overhead, &a, &limits, NULL, &e);
    limits_text(&limits, &got);
    cr_expect(r == 0 && e.code == 0 && str_eq(sbuf_text(&got), want),
              "input:    overhead %" PRId64 ", %s\nexpected: %s\ngot:      %d, %s %s", overhead,
              show_inputs(&a, containers), want, r, sbuf_text(&got), e.text);
}

Test(aggregate, aggregate)
{
    for (size_t i = 0; i < ARRAY_SIZE(sums); i++)
        expect_sum(sums[i].overhead, sums[i].containers, sums[i].want);
}

/* The container that a pod was begun with is the first of each row. */
Test(aggregate, beginner_without_limits)
{
    static const struct {
        const char *containers[MAX_CONTAINERS];
        const char *want;
    } rows[] = {
        {{"{}", "{'cpu':{'quota':50000,'shares':512,'cpus':'1','mems':'0'}}"},
         "cpu_shares=512 cpu_quota_us=50000 cpu_period_us=100000 cpus=1 mems=0 "},
        {{"{}", "{'memory':{'limit':100,'swap':150},'pids':{'limit':7}}"},
         "memory_limit=100 memory_swap=150 pids=7 "},
        {{"{}", "{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}"}, "hugetlb:2MB=2 "},
        /* what it has counts */
        {{"{'cpu':{'shares':2,'cpus':'3'},'pids':{'limit':5}}",
          "{'cpu':{'shares':512,'cpus':'1'},'pids':{'limit':7}}"},
         "cpu_shares=514 pids=12 cpus=1,3 "},
        {{"{'hugepageLimits':[{'pageSize':'2MB','limit':1}]}",
          "{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}"},
         "hugetlb:2MB=3 "},
        /* others without a limit make it none, as ever */
        {{"{}", "{'memory':{'limit':100}}", "{}"}, "memory_limit=-1 "},
        {{"{'memory':{'limit':100}}", "{}"}, "memory_limit=-1 "},
        {{"{'cpu':{'cpus':'3'}}", "{}"}, ""},
        {{"{}", "{}"}, ""},
        {{"{}", "{'cpu':{'shares':512}}", "{}"}, "cpu_shares=1536 "},
        /* its own "no limit" is one that it does not have; there is none at all then */
        {{"{'pids':{'limit':-1}}", "{'pids':{'limit':7}}"}, "pids=7 "},
        {{"{'pids':{'limit':-1}}", "{'pids':{'limit':0}}"}, "pids=-1 "},
        {{"{'cpu':{'quota':-1}}", "{'cpu':{'quota':5000}}"},
         "cpu_quota_us=5000 cpu_period_us=100000 "},
        {{"{'cpu':{'period':50000}}"}, "cpu_period_us=50000 "},
        /* with a memory limit alone it may have any amount of swap, as the others */
        {{"{'memory':{'limit':100}}", "{'memory':{'limit':50,'swap':80}}"},
         "memory_limit=150 memory_swap=-1 "},
        {{"{'memory':{'limit':0}}", "{'memory':{'limit':50,'swap':80}}"},
         "memory_limit=50 memory_swap=80 "},
        {{"{'memory':{'limit':100,'swap':100}}", "{'memory':{'limit':50,'swap':80}}"},
         "memory_limit=150 memory_swap=180 "},
        {{"{'memory':{'limit':100,'swap':-1}}", "{'memory':{'limit':50,'swap':80}}"},
         "memory_limit=150 memory_swap=-1 "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        autosbuf got = SBUF_INIT;
        struct err e = ERR_INIT;
        struct aggregate_member *all;
        struct cg_limits limits;
        size_t count;
        int r;

        all = make_members(&a, rows[i].containers, &count);
        all[0].begins_pod = true;
        r = aggregate_limits(all, count, 0, &a, &limits, NULL, &e);
        limits_text(&limits, &got);
        cr_expect(r == 0 && str_eq(sbuf_text(&got), rows[i].want),
                  "input:    %s\nexpected: %s\ngot:      %d, %s %s",
                  show_inputs(&a, rows[i].containers), rows[i].want, r, sbuf_text(&got), e.text);
    }
}

/* A page size that only some containers limit is one limit, not one for each of them. */
Test(aggregate, unlimited_page_size_once)
{
    static const char *const containers[] = {"{'hugepageLimits':[{'pageSize':'2MB','limit':2}]}",
                                             "{'hugepageLimits':[{'pageSize':'2MB','limit':4}]}",
                                             "{}"};

    expect_sum(0, containers, "hugetlb:2MB=" I64_MAX_TEXT " ");
}

/* Of more page sizes than any kernel has no more are summed up than tell that it is so. */
Test(aggregate, too_many_page_sizes)
{
    enum { SIZES = 3 * CG_HUGETLB_MAX };
    struct oci_hugepage_limit sizes[SIZES] = {{0}};
    struct oci_resources resources = {.hugepages = {sizes, SIZES}};
    struct aggregate_member members[2] = {{.resources = &resources}, {.resources = &resources}};
    autoarena a = ARENA_INIT;
    struct cg_limits limits;

    for (size_t i = 0; i < SIZES; i++)
        sizes[i].page_size = arena_printf(&a, "%zuKB", i);
    cr_expect_eq(aggregate_limits(members, ARRAY_SIZE(members), 0, &a, &limits, NULL, NULL), 0);
    cr_expect_eq(limits.hugetlb_count, CG_HUGETLB_MAX + 1);
}

/* More CPU time per period than can be said is no limit, and not a small one. */
Test(aggregate, bandwidth_beyond)
{
    static const char *const large_quota[] = {"{'cpu':{'quota':9223372036854775807,'period':1000}}",
                                              "{'cpu':{'quota':50000}}", NULL};
    static const char *const wraps_to_small[] = {
        "{'cpu':{'quota':184467440737095517,'period':1000}}", "{'cpu':{'quota':50000}}", NULL};

    expect_sum(0, large_quota, "cpu_quota_us=-1 cpu_period_us=100000 ");
    expect_sum(0, wraps_to_small, "cpu_quota_us=-1 cpu_period_us=100000 ");
}

static const struct {
    const char *containers[MAX_CONTAINERS];
    const char *words[2];
} bad_cpusets[] = {
    {{"{'cpu':{'cpus':'x'}}"}, {"linux.resources.cpu.cpus", "\"x\""}},
    {{"{'cpu':{'cpus':'0-'}}"}, {"linux.resources.cpu.cpus", "\"0-\""}},
    {{"{'cpu':{'cpus':'3-1'}}"}, {"linux.resources.cpu.cpus", "\"3-1\""}},
    {{"{'cpu':{'cpus':'0 ,1'}}"}, {"linux.resources.cpu.cpus", "\"0 ,1\""}},
    {{"{'cpu':{'cpus':'99999'}}"}, {"linux.resources.cpu.cpus", "\"99999\""}},
    {{"{'cpu':{'cpus':'0\\n1'}}"}, {"linux.resources.cpu.cpus", "0\\x0a1"}},
    {{"{'cpu':{'mems':'y'}}"}, {"linux.resources.cpu.mems", "\"y\""}},
    {{"{'cpu':{'cpus':'0','mems':'1,'}}"}, {"linux.resources.cpu.mems", "\"1,\""}},
    {{"{'cpu':{'cpus':'0'}}", "{'cpu':{'cpus':'z'}}"}, {"linux.resources.cpu.cpus", "\"z\""}},
    {{"{'cpu':{'cpus':'z'}}", "{'cpu':{'cpus':'0'}}"}, {"linux.resources.cpu.cpus", "\"z\""}},
    {{"{'cpu':{'cpus':'0','mems':'0'}}", "{'cpu':{'cpus':'0','mems':'z'}}"},
     {"linux.resources.cpu.mems", "\"z\""}},
};

Test(aggregate, refuses_cpusets)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad_cpusets); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct aggregate_member *all;
        struct cg_limits limits;
        size_t count;
        int r;

        all = make_members(&a, bad_cpusets[i].containers, &count);
        r = aggregate_limits(all, count, 0, &a, &limits, NULL, &e);
        cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, bad_cpusets[i].words[0]) &&
                      strstr(e.text, bad_cpusets[i].words[1]),
                  "input:    %s\nexpected: refused with %s and %s\ngot:      %d, %s",
                  show_inputs(&a, bad_cpusets[i].containers), bad_cpusets[i].words[0],
                  bad_cpusets[i].words[1], r, e.text);
    }
}

Test(aggregate, keep_cpuset)
{
    autoarena a = ARENA_INIT;
    autosbuf got = SBUF_INIT;
    struct cg_limits limits;

    aggregate_container(kit_resources(&a, EVERYTHING), &a, &limits);
    aggregate_keep_cpuset(&limits);
    limits_text(&limits, &got);
    cr_expect_str_eq(sbuf_text(&got), "cpus=0,1 mems=0 ");
}
