/* SPDX-License-Identifier: Apache-2.0 */

/* Which CPU each vCPU gets, and real threads that are pinned to CPUs of this host. */

#include "hook/watch/pinning.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/stat.h>

#define MAX_VCPUS 16

/* "0,2,4" as numbers; "-" is a vCPU without one. */
static size_t parse_numbers(const char *text, int64_t *ret)
{
    char copy[128], *cursor = copy, *field;
    size_t count = 0;

    snprintf(copy, sizeof copy, "%s", text);
    while (*text && (field = str_next(&cursor, ',')))
        ret[count++] = str_eq(field, "-") ? -1 : atoi(field);
    return count;
}

/* "0=0-3;1=4-7" */
static void parse_nodes(const char *text, struct arena *a, struct pinning_nodes *ret)
{
    char *cursor = arena_strdup(a, text), *field;

    *ret = (struct pinning_nodes){0};
    while (*text && (field = str_next(&cursor, ';'))) {
        struct pinning_node *node =
            arena_push(a, &ret->items, &ret->count, sizeof(struct pinning_node));

        node->node = (uint64_t)atoi(field);
        cr_assert_eq(cg_cpulist_parse(strchr(field, '=') + 1, &node->cpus), 0);
    }
}

static const char *nodes_text(struct arena *a, const struct pinning_nodes *nodes)
{
    const char *text = "";

    for (size_t i = 0; i < nodes->count; i++) {
        autosbuf cpus = SBUF_INIT;

        cg_cpulist_format(&nodes->items[i].cpus, &cpus);
        text = arena_printf(a, "%s%s%" PRIu64 "=%s", text, i > 0 ? ";" : "", nodes->items[i].node,
                            sbuf_text(&cpus));
    }
    return text;
}

/* --- the decision --- */

static const struct {
    const char *indexes, *cpus, *map, *nodes, *want;
} decisions[] = {
    /* in the order of the numbers */
    {"0", "0", "", "", "0"},
    {"0", "5", "", "", "5"},
    {"0,1,2,3", "0-3", "", "", "0,1,2,3"},
    {"0,1,2,3", "1,3,64-65", "", "", "1,3,64,65"},
    {"0,1", "63-64", "", "", "63,64"},
    {"0,1", "8190-8191", "", "", "8190,8191"},
    /* the rank counts, not the number: vCPU 1 was unplugged */
    {"0,2", "4-5", "", "", "4,5"},
    {"7,100", "4-5", "", "", "4,5"},

    /* mismatches */
    {"", "", "", "", "mismatch"},
    {"", "0", "", "", "mismatch"},
    {"0", "", "", "", "mismatch"},
    {"0", "0-1", "", "", "mismatch"},
    {"0,1", "0", "", "", "mismatch"},
    {"0,1,2", "0-3", "", "", "mismatch"},
    {"-", "0", "", "", "mismatch"},
    {"-,0", "0-1", "", "", "mismatch"},
    {"0,0", "0-1", "", "", "mismatch"},
    {"0,1,1,2", "0-3", "", "", "mismatch"},
    /* not sorted: the caller's fault, and no reason to guess */
    {"1,0", "0-1", "", "", "mismatch"},

    /* the map */
    {"0,1,2,3", "0-3", "0,0,1,1", "0=0-1;1=2-3", "0,1,2,3"},
    {"0,1,2,3", "0-3", "1,1,0,0", "0=0-1;1=2-3", "2,3,0,1"},
    {"0,1,2,3", "0-3", "0,1,0,1", "0=0,2;1=1,3", "0,1,2,3"},
    {"0,1,2,3", "0-3", "1,0,1,0", "1=1,3;0=0,2", "1,0,3,2"},
    /* the node has CPUs outside of the cpuset */
    {"0,1", "3,9", "1,0", "0=0-7;1=8-15", "9,3"},
    /* a node that runs out: the rest gets what is left, lowest first */
    {"0,1,2,3", "0-3", "1,1,1,0", "0=0-1;1=2-3", "2,3,1,0"},
    {"0,1,2,3", "0-3", "1,1,1,1", "0=0-1;1=2-3", "2,3,0,1"},
    /* vCPUs with a node come first, whatever their number */
    {"0,1,2", "0-2", "-1,-1,0", "0=0", "1,2,0"},
    /* a map that is too short or too long, and numbers of vCPUs that are not ranks */
    {"0,1,2,3", "0-3", "1", "0=0-1;1=2-3", "2,0,1,3"},
    {"0,1", "0,2", "1,0,0,0", "0=0-1;1=2-3", "2,0"},
    {"0,2", "0,2", "1,1,0", "0=0-1;1=2-3", "2,0"},
    {"4,5", "0,2", "1,1", "0=0-1;1=2-3", "0,2"},
    /* nodes that the host has not, or that have no CPU here */
    {"0,1", "0-1", "7,0", "0=0-1", "1,0"},
    {"0,1", "0-1", "1,0", "0=0-1;1=", "1,0"},
    {"0,1", "0-1", "1,0", "0=0-1;1=2-3", "1,0"},
    {"0,1", "0-1", "1,0", "", "0,1"},
    {"0,1", "0-1", "-1,-1", "0=0-1", "0,1"},
    /* the map heals no mismatch */
    {"0", "0-1", "0", "0=0", "mismatch"},
};

Test(pinning, decides)
{
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
        autoarena a = ARENA_INIT;
        int64_t given[MAX_VCPUS] = {0}, nodes_of[MAX_VCPUS];
        size_t count = parse_numbers(decisions[i].indexes, given);
        const struct json_list map = {nodes_of, parse_numbers(decisions[i].map, nodes_of)};
        struct cg_cpulist cpus = {0};
        struct pinning_nodes nodes;
        int indexes[MAX_VCPUS] = {0};
        unsigned chosen[MAX_VCPUS];
        const char *got = "";

        for (size_t k = 0; k < count; k++)
            indexes[k] = (int)given[k];
        cr_assert_eq(cg_cpulist_parse(decisions[i].cpus, &cpus), 0);
        parse_nodes(decisions[i].nodes, &a, &nodes);
        if (!pinning_decide(indexes, count, &cpus, &map, &nodes, chosen))
            got = "mismatch";
        for (size_t k = 0; !str_eq(got, "mismatch") && k < count; k++)
            got = arena_printf(&a, "%s%s%u", got, k > 0 ? "," : "", chosen[k]);
        cr_expect_str_eq(got, decisions[i].want,
                         "input:    vCPUs %s, CPUs %s, map [%s], nodes %s\nexpected: %s\n"
                         "got:      %s",
                         decisions[i].indexes, decisions[i].cpus, decisions[i].map,
                         decisions[i].nodes, decisions[i].want, got);
    }
}

/* --- the host's nodes --- */

static char top[64];

static void make_top(void)
{
    snprintf(top, sizeof top, "/tmp/osc-unit-pinning-XXXXXX");
    kit_make_dir(top);
}

static void remove_top(void)
{
    kit_remove_tree(top);
}

static void write_text(const char *name, const char *text)
{
    char path[320];

    snprintf(path, sizeof path, "%s/%s", top, name);
    kit_write_file(path, text);
}

static void make_node(const char *name, const char *cpulist)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", top, name);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/cpulist", name);
    if (cpulist)
        write_text(path, cpulist);
}

static int compare_nodes(const void *a, const void *b)
{
    const struct pinning_node *x = a, *y = b;

    return (x->node > y->node) - (x->node < y->node);
}

Test(pinning, reads_nodes, .init = make_top, .fini = remove_top)
{
    autoarena a = ARENA_INIT;
    struct pinning_nodes nodes;

    cr_expect_eq(pinning_nodes_read(top, &a, &nodes), 0);
    cr_expect_str_eq(nodes_text(&a, &nodes), "");
    make_node("node0", "0-3,8\n");
    make_node("node1", "\n");
    make_node("node12", "4-7\n");
    make_node("node", "1\n");
    make_node("node2x", "1\n");
    make_node("cpu3", "1\n");
    make_node("node4", NULL);
    make_node("node5", "what\n");
    write_text("online", "0-1\n");
    cr_expect_eq(pinning_nodes_read(top, &a, &nodes), 0);
    if (nodes.count > 0)
        qsort(nodes.items, nodes.count, sizeof *nodes.items, compare_nodes);
    cr_expect_str_eq(nodes_text(&a, &nodes), "0=0-3,8;1=;12=4-7", "got: %s",
                     nodes_text(&a, &nodes));
}

Test(pinning, no_nodes)
{
    autoarena a = ARENA_INIT;
    struct pinning_nodes nodes = {.count = 7};

    cr_expect_eq(pinning_nodes_read("/nonexistent/node", &a, &nodes), -ENOENT);
    cr_expect_eq(nodes.count, 0);
    cr_expect_eq(pinning_nodes_read("/dev/null", &a, &nodes), -ENOTDIR);
}

/* Every online CPU is on some node. */
Test(pinning, nodes_of_this_host)
{
    autoarena a = ARENA_INIT;
    struct pinning_nodes nodes;
    struct cg_cpulist all = {0}, online = {0};
    char text[4096];

    if (pinning_nodes_read(PINNING_NODES_DIR, &a, &nodes) < 0)
        cr_skip_test("this kernel has no NUMA");
    cr_assert_geq(io_read_at(AT_FDCWD, "/sys/devices/system/cpu/online", text, sizeof text), 0);
    cr_assert_eq(cg_cpulist_parse(text, &online), 0);
    for (size_t i = 0; i < nodes.count; i++)
        cg_cpulist_add(&all, &nodes.items[i].cpus);
    for (unsigned cpu = 0; cpu < CG_CPULIST_MAX; cpu++)
        cr_expect(!cg_cpulist_has(&online, cpu) || cg_cpulist_has(&all, cpu), "CPU %u", cpu);
}

/* --- threads of this host: processes of the test's own, whose main threads stand for vCPUs --- */

static struct live {
    struct arena arena;
    struct pinning pinning;
    struct pinning_vcpu vcpus[MAX_VCPUS];
    size_t count;
    unsigned cpus[MAX_VCPUS]; /* those that we may use */
    size_t cpu_count;
    const char *all; /* as a list */
} live;

static const char *list_of(const unsigned *cpus, size_t count)
{
    const char *text = "";

    for (size_t i = 0; i < count; i++)
        text = arena_printf(&live.arena, "%s%s%u", text, i > 0 ? "," : "", cpus[i]);
    return text;
}

/* The kernel's answer in the same form. */
static const char *affinity_of(pid_t tid)
{
    unsigned cpus[CPU_SETSIZE];
    size_t count = 0;
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(tid, sizeof set, &set) < 0)
        return "ended";
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set))
            cpus[count++] = cpu;
    }
    return list_of(cpus, count);
}

static void expect_affinity(size_t i, const char *want)
{
    const char *got = affinity_of(live.vcpus[i].tid);

    cr_expect_str_eq(got, want, "input:    vCPU %d\nexpected: CPUs %s\ngot:      CPUs %s",
                     live.vcpus[i].index, want, got);
}

static void begin_live(void)
{
    cpu_set_t set;

    live = (struct live){0};
    make_top();
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && live.cpu_count < MAX_VCPUS; cpu++) {
        if (CPU_ISSET(cpu, &set))
            live.cpus[live.cpu_count++] = cpu;
    }
    live.all = affinity_of(0);
}

static void end_live(void)
{
    kit_end_children();
    pinning_free(&live.pinning);
    arena_free(&live.arena);
    remove_top();
}

TestSuite(pinning_live, .init = begin_live, .fini = end_live);

static void add_vcpu(int index)
{
    struct pinning_vcpu *v = &live.vcpus[live.count++];
    struct proc_id id;

    v->index = index;
    v->tid = kit_start_child();
    cr_assert_eq(proc_identify(v->tid, &id), 0);
    v->start_time = id.start_time;
}

/* The first @count of our vCPUs on a cpuset of the first @cpus of our CPUs. */
static void update(size_t cpus, size_t count, bool verify, int want)
{
    struct err e = ERR_INIT;
    int r = pinning_update(&live.pinning, list_of(live.cpus, cpus), live.vcpus, count, verify, &e);

    cr_expect(r == want && e.code == 0,
              "input:    %zu vCPUs, %zu CPUs%s\nexpected: %d\ngot:      %d, %s", count, cpus,
              verify ? ", verified" : "", want, r, e.text);
}

static void set_affinity(pid_t tid, unsigned cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    cr_assert_eq(sched_setaffinity(tid, sizeof set, &set), 0);
}

static void need_two_cpus(void)
{
    if (live.cpu_count < 2)
        cr_skip_test("one CPU only: nothing to tell");
}

static const char *cpu(size_t i)
{
    return list_of(&live.cpus[i], 1);
}

Test(pinning_live, pins_and_restores)
{
    need_two_cpus();
    add_vcpu(1); /* by thread: not in the order of the numbers */
    add_vcpu(0);
    add_vcpu(2);
    /* a mismatch at first: nothing is touched */
    set_affinity(live.vcpus[2].tid, live.cpus[1]);
    update(2, 3, false, 0);
    expect_affinity(0, live.all);
    expect_affinity(2, cpu(1));
    cr_expect_eq(live.pinning.pinned_count, 0);
    /* two of two */
    update(2, 2, false, 1);
    expect_affinity(0, cpu(1));
    expect_affinity(1, cpu(0));
    cr_expect_eq(live.pinning.pinned_count, 2);
    /* one more: a mismatch, both are free again */
    update(2, 3, false, 1);
    expect_affinity(0, live.all);
    expect_affinity(1, live.all);
    expect_affinity(2, cpu(1));
    cr_expect_eq(live.pinning.pinned_count, 0);
}

Test(pinning_live, nothing_changed_nothing_done)
{
    need_two_cpus();
    add_vcpu(0);
    add_vcpu(1);
    update(2, 2, false, 1);
    /* had anything been done, this would be undone */
    set_affinity(live.vcpus[0].tid, live.cpus[1]);
    update(2, 2, false, 0);
    expect_affinity(0, cpu(1));
    /* unless the kernel is asked */
    update(2, 2, true, 1);
    expect_affinity(0, cpu(0));
    expect_affinity(1, cpu(1));
    update(2, 2, true, 0);
}

/* The cpuset was written, and the kernel may have dropped every affinity. */
Test(pinning_live, another_cpuset)
{
    need_two_cpus();
    add_vcpu(0);
    update(1, 1, false, 1);
    expect_affinity(0, cpu(0));
    update(2, 1, false, 1);
    expect_affinity(0, live.all);
    update(1, 1, false, 1);
    expect_affinity(0, cpu(0));
    cr_expect_eq(pinning_update(&live.pinning, NULL, live.vcpus, 1, false, NULL), 1);
    expect_affinity(0, live.all);
    cr_expect_eq(pinning_update(&live.pinning, NULL, live.vcpus, 1, false, NULL), 0);
    cr_expect_eq(pinning_update(&live.pinning, "", live.vcpus, 1, false, NULL), 0);
}

/* The same CPUs, written in another way: everything is done again. */
Test(pinning_live, rewritten_cpuset)
{
    const char *again;

    need_two_cpus();
    add_vcpu(0);
    update(1, 1, false, 1);
    set_affinity(live.vcpus[0].tid, live.cpus[1]);
    again = arena_printf(&live.arena, "%u-%u", live.cpus[0], live.cpus[0]);
    cr_expect_eq(pinning_update(&live.pinning, again, live.vcpus, 1, false, NULL), 1);
    expect_affinity(0, cpu(0));
}

Test(pinning_live, ended_threads)
{
    need_two_cpus();
    add_vcpu(0);
    add_vcpu(1);
    kit_end_child(live.vcpus[0].tid);
    update(2, 2, false, 1);
    expect_affinity(1, cpu(1));
    update(2, 2, true, 0);
    kit_end_child(live.vcpus[1].tid);
    update(2, 1, false, 0);
    live.count = 0;
}

/* A thread that has the tid of one that has ended is not ours. */
Test(pinning_live, successor_of_a_tid)
{
    add_vcpu(0);
    live.vcpus[0].start_time--;
    update(1, 1, false, 0);
    expect_affinity(0, live.all);
}

/* What is no vCPU any more is not left pinned. */
Test(pinning_live, replaced_vcpu)
{
    need_two_cpus();
    add_vcpu(0);
    add_vcpu(0);
    update(1, 1, false, 1);
    live.vcpus[2] = live.vcpus[0];
    live.vcpus[0] = live.vcpus[1];
    update(1, 1, false, 1);
    live.vcpus[0] = live.vcpus[2];
    expect_affinity(0, live.all);
    expect_affinity(1, cpu(0));
}

Test(pinning_live, by_the_map)
{
    static int64_t nodes[] = {1, 0};
    const struct json_list map = {nodes, ARRAY_SIZE(nodes)};

    need_two_cpus();
    add_vcpu(0);
    add_vcpu(1);
    make_node("node0", arena_printf(&live.arena, "%s\n", cpu(0)));
    make_node("node1", arena_printf(&live.arena, "%s\n", cpu(1)));
    live.pinning = (struct pinning){.map = &map, .nodes_dir = top};
    update(2, 2, false, 1);
    expect_affinity(0, cpu(1));
    expect_affinity(1, cpu(0));
    update(2, 0, false, 1);
    cr_expect(live.pinning.map == &map && live.pinning.nodes_dir == top);
    /* without the host's nodes the map says nothing */
    live.pinning.nodes_dir = "/nonexistent/node";
    update(2, 2, false, 1);
    expect_affinity(0, cpu(0));
    expect_affinity(1, cpu(1));
}

/* A CPU that is not there: reported, tried again, and no other vCPU suffers. */
Test(pinning_live, refused)
{
    const char *cpus = arena_printf(&live.arena, "%s,%d", cpu(0), CG_CPULIST_MAX - 1);

    need_two_cpus();
    add_vcpu(0);
    add_vcpu(1);
    for (int round = 0; round < 2; round++) {
        struct err e = ERR_INIT;
        int r = pinning_update(&live.pinning, cpus, live.vcpus, 2, false, &e);

        cr_expect(r == -EINVAL && strstr(e.text, "CPU 8191") && strstr(e.text, "EINVAL"),
                  "got: %d, %s", r, e.text);
        expect_affinity(0, cpu(0));
        expect_affinity(1, live.all);
    }
    update(2, 2, false, 1);
    expect_affinity(1, cpu(1));
}

Test(pinning_live, no_list)
{
    struct err e = ERR_INIT;

    need_two_cpus();
    add_vcpu(0);
    update(1, 1, false, 1);
    cr_expect_eq(pinning_update(&live.pinning, "0-\n", live.vcpus, 1, false, &e), -EINVAL);
    cr_expect(strstr(e.text, "\"0-\\x0a\"") && !e.bad_input, "got: %s", e.text);
    expect_affinity(0, live.all);
}

/* --- the cpuset --- */

Test(pinning_live, reads_the_cpuset)
{
    struct cg_host host = {.mode = CG_MODE_V2, .count = 1};
    struct cg_controller c;
    char text[64];

    make_node("group", NULL);
    host.hierarchies[0] = (struct cg_hierarchy){
        .fd = open(top, O_PATH | O_CLOEXEC), .v2 = true, .controllers = CG_CTL_BIT(CG_CTL_CPUSET)};
    cg_init(&c, &host, NULL, "/group", NULL);
    cr_expect_eq(pinning_cpuset_read(&c, text, sizeof text), -ENOENT);
    cr_assert_eq(cg_load(&c, NULL), 0);
    cr_expect_eq(pinning_cpuset_read(&c, text, sizeof text), -ENOENT);
    write_text("group/cpuset.cpus", "\n");
    write_text("group/cpuset.cpus.effective", "0-3\n");
    write_text("group/cpuset.effective_cpus", "4-7\n");
    cr_expect_eq(pinning_cpuset_read(&c, text, sizeof text), 3);
    cr_expect_str_eq(text, "0-3");
    host.hierarchies[0].v2 = false;
    cr_expect_eq(pinning_cpuset_read(&c, text, sizeof text), 3);
    cr_expect_str_eq(text, "4-7");
    cr_expect_eq(pinning_cpuset_read(&c, text, 2), -EFBIG);
    cg_close(&c);
    close(host.hierarchies[0].fd);
}
