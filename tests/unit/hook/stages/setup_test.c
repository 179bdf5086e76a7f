/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(setup, .init = kit_ignore_sigpipe, .timeout = 300);

#define C1                                                                                         \
    "{'linux':{'cgroupsPath':'/p/c1','resources':{'cpu':{'shares':512,'quota':50000,"              \
    "'period':100000,'cpus':'1-2'},'memory':{'limit':1048576,'swap':2097152},"                     \
    "'pids':{'limit':20},'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,"                \
    "'rate':4096}]}}}}"

#define ONLY     "'sandbox_cgroup_only':true"
#define OVERHEAD "'overhead_limits':{'cpu':{'shares':100},'pids':{'limit':7}}"

#define V1_DEVICES "devices.list=b *:* m|c 5:2 rwm|c 10:200 rwm|c 10:232 rwm|c 136:* rwm|c *:* m"
#define V1_ONLY_DEVICES                                                                            \
    "devices.list=b *:* m|c 5:2 rwm|c 10:200 rwm|c 10:232 rwm|c 136:* rwm|c *:* m"
#define V2_DEVICES "devices.bpf=c 1:3 --m, c 10:232 rwm, c 10:200 rwm, b 8:0 --m"

#define ALL_CPUS "cpuset.cpus=0-3; cpuset.mems=0"

/* The sandbox cgroup of C1. */
#define V1_C1(devices)                                                                             \
    "/p/kata_c1: cpu.cfs_quota_us=50000; cpu.shares=512; cpuset.cpus=1-2; cpuset.mems=0; "         \
    "memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=2097152; " devices                 \
    "; blkio.throttle.read_bps_device=8:0 4096; pids.max=20\n"
#define V2_C1_DOMAIN                                                                               \
    V2_DEVICES "; io.max=8:0 rbps=4096; memory.max=1048576; memory.swap.max=1048576"
#define V2_C1_THREADS "cpu.max=50000 100000; cpu.weight=59; cpuset.cpus=1-2"

#define V1_MOVED "c1 in /kata_overhead/c1\nours in /kata_overhead/c1\n"
#define V2_MOVED "c1 in /p/kata_c1/overhead\nours in /p/kata_c1/overhead\n"

static const struct {
    const char *name;
    enum cg_mode mode;
    const char *settings;
    const char *want;
} cases[] = {
    {"v1", CG_MODE_V1, "",
     "-c1 in /p/c1\n"
     "/kata_overhead: " ALL_CPUS "\n"
     "/kata_overhead/c1: " ALL_CPUS "; " V1_DEVICES "\n" V1_C1(V1_DEVICES) V1_MOVED},
    {"hybrid", CG_MODE_HYBRID, "",
     "-c1 in /p/c1\n"
     "/kata_overhead: " ALL_CPUS "\n"
     "/kata_overhead/c1: " ALL_CPUS "; " V1_DEVICES "\n" V1_C1(V1_DEVICES) V1_MOVED},
    {"v2", CG_MODE_V2, "",
     "-c1 in /p/c1\n"
     "/p/kata_c1: cgroup.subtree_control=cpu cpuset pids; cgroup.type=domain "
     "threaded; " V2_C1_DOMAIN "\n"
     "/p/kata_c1/overhead: cgroup.type=threaded\n"
     "/p/kata_c1/sandbox: cgroup.type=threaded; " V2_C1_THREADS "; pids.max=20\n" V2_MOVED},
    {"v1 in one", CG_MODE_V1, ONLY, "-c1 in /p/c1\n" V1_C1(V1_ONLY_DEVICES) "c1 in /p/kata_c1\n"},
    {"hybrid in one", CG_MODE_HYBRID, ONLY,
     "-c1 in /p/c1\n" V1_C1(V1_ONLY_DEVICES) "c1 in /p/kata_c1\n"},
    {"v2 in one", CG_MODE_V2, ONLY,
     "-c1 in /p/c1\n"
     "/p/kata_c1: " V2_C1_THREADS "; " V2_C1_DOMAIN "; pids.max=20\n"
     "c1 in /p/kata_c1\n"},
    {"v1 with limits of the overhead", CG_MODE_V1, OVERHEAD,
     "-c1 in /p/c1\n"
     "/kata_overhead: " ALL_CPUS "\n"
     "/kata_overhead/c1: cpu.shares=100; " ALL_CPUS "; " V1_DEVICES
     "; pids.max=7\n" V1_C1(V1_DEVICES) V1_MOVED},
    {"v2 with limits of the overhead", CG_MODE_V2, OVERHEAD,
     "-c1 in /p/c1\n"
     "/p/kata_c1: cgroup.subtree_control=cpu cpuset pids; cgroup.type=domain "
     "threaded; " V2_C1_DOMAIN "\n"
     "/p/kata_c1/overhead: cgroup.type=threaded; cpu.weight=17; pids.max=7\n"
     "/p/kata_c1/sandbox: cgroup.type=threaded; " V2_C1_THREADS "; pids.max=20\n" V2_MOVED},
    {"nested on v1", CG_MODE_V1, "'layout':'nested'", ""},
    {"nested on v1 in one", CG_MODE_V1, ONLY ",'layout':'nested'", ""},
    {"nested on v2", CG_MODE_V2, "'layout':'nested'", ""},
    {"nested on v2 in one", CG_MODE_V2, ONLY ",'layout':'nested'", ""},
};

/* Exactly this; and nothing more by any later stage of the same container. */
Test(setup, writes)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, cases[i].mode);
        kit_set_settings(&f, cases[i].settings);
        pid = kit_start_in("/p/c1", "c1");
        kit_note_tree(&f);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        kit_expect_changes(&f, cases[i].want, cases[i].name);
        kit_expect_stage(&f, STAGE_PRESTART, "c1", pid, NULL, C1);
        kit_expect_changes(&f, cases[i].want, "a second setup");
        kit_expect_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1);
        kit_expect_changes(&f, cases[i].want, "an update");
    }
}

/* The controllers that limits need, from the root down, and no others. */
Test(setup, enables_v2_controllers)
{
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_V2);
    pid = kit_start_in("/p/c1", "c1");
    kit_tree_put("unified", "/", "cgroup.subtree_control", "");
    kit_tree_put("unified", "/p", "cgroup.subtree_control", "");
    kit_tree_put("unified", "/p", "cgroup.controllers", "");
    kit_tree_put("unified", "/p/c1", "cgroup.controllers", "");
    kit_note_tree(&f);
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL,
                     "{'linux':{'cgroupsPath':'/p/c1','resources':{'cpu':{'shares':512},"
                     "'memory':{'limit':1048576}}}}");
    kit_expect_changes(
        &f,
        "-/:\n"
        "-/p:\n"
        "-c1 in /p/c1\n"
        "/: cgroup.subtree_control=cpu memory\n"
        "/p: cgroup.subtree_control=cpu memory\n"
        "/p/kata_c1: cgroup.subtree_control=cpu; cgroup.type=domain threaded; " V2_DEVICES
        "; memory.max=1048576\n"
        "/p/kata_c1/overhead: cgroup.type=threaded\n"
        "/p/kata_c1/sandbox: cgroup.type=threaded; cpu.weight=59\n" V2_MOVED,
        "bare controllers");
}

/* --- a pod --- */

#define POD(type)                                                                                  \
    "'io.kubernetes.cri.container-type':'" type "','io.kubernetes.cri.sandbox-id':'s1'"
#define PAUSE     POD("sandbox")
#define CONTAINER POD("container")

#define S1                                                                                         \
    "{'linux':{'cgroupsPath':'/pod/s1','resources':{'cpu':{'shares':200,'quota':20000,"            \
    "'period':100000,'cpus':'0'},'memory':{'limit':1048576},'pids':{'limit':5},"                   \
    "'blockIO':{'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':4096}]}}}}"
#define C2                                                                                         \
    "{'linux':{'cgroupsPath':'/pod/c2','resources':{'cpu':{'shares':300,'quota':30000,"            \
    "'period':100000,'cpus':'2'},'memory':{'limit':2097152},'pids':{'limit':7}}}}"

struct pod {
    const char *name;
    enum cg_mode mode;
    const char *settings;
    const char *alone, *both; /* what the first container changes, and what the second one does */
};

#define V1_S1(devices)                                                                             \
    "/pod/kata_s1: cpu.cfs_quota_us=20000; cpu.shares=200; cpuset.cpus=0; cpuset.mems=0; "         \
    "memory.limit_in_bytes=1048576; " devices                                                      \
    "; blkio.throttle.read_bps_device=8:0 4096; pids.max=5\n"
/* The sums, and nothing of what cannot be summed. */
#define V1_BOTH(devices)                                                                           \
    "/pod/kata_s1: cpu.cfs_quota_us=50000; cpu.shares=500; cpuset.cpus=0,2; cpuset.mems=0; "       \
    "memory.limit_in_bytes=3145728; " devices "; pids.max=12\n"
#define V2_SPLIT                                                                                   \
    "/pod/kata_s1: cgroup.subtree_control=cpu cpuset pids; cgroup.type=domain "                    \
    "threaded; " V2_DEVICES
#define V2_S1      "cpu.max=20000 100000; cpu.weight=29; cpuset.cpus=0"
#define V2_BOTH    "cpu.max=50000 100000; cpu.weight=58; cpuset.cpus=0,2"
#define V2_SANDBOX "/pod/kata_s1/sandbox: cgroup.type=threaded; "
#define V1_OVERHEAD_S1                                                                             \
    "/kata_overhead/s1: cpu.shares=100; " ALL_CPUS "; " V1_DEVICES "; pids.max=7\n"

static const struct pod pods[] = {
    {"v1", CG_MODE_V1, OVERHEAD,
     "-s1 in /pod/s1\n"
     "/kata_overhead: " ALL_CPUS
     "\n" V1_OVERHEAD_S1 V1_S1(V1_DEVICES) "ours in /kata_overhead/s1\ns1 in /kata_overhead/s1\n",
     "-" V1_S1(V1_DEVICES) "-c2 in /pod/c2\n" V1_BOTH(V1_DEVICES) "c2 in /kata_overhead/s1\n"},
    {"v2", CG_MODE_V2, OVERHEAD,
     "-s1 in /pod/s1\n" V2_SPLIT "; io.max=8:0 rbps=4096; memory.max=1048576\n"
     "/pod/kata_s1/overhead: cgroup.type=threaded; cpu.weight=17; pids.max=7\n" V2_SANDBOX V2_S1
     "; pids.max=5\n"
     "ours in /pod/kata_s1/overhead\ns1 in /pod/kata_s1/overhead\n",
     "-" V2_SPLIT "; io.max=8:0 rbps=4096; memory.max=1048576\n"
     "-" V2_SANDBOX V2_S1 "; pids.max=5\n"
     "-c2 in /pod/c2\n" V2_SPLIT "; memory.max=3145728\n" V2_SANDBOX V2_BOTH "; pids.max=12\n"
     "c2 in /pod/kata_s1/overhead\n"},
    {"v1 in one", CG_MODE_V1, ONLY,
     "-s1 in /pod/s1\n" V1_S1(V1_ONLY_DEVICES) "s1 in /pod/kata_s1\n",
     "-" V1_S1(V1_ONLY_DEVICES) "-c2 in /pod/c2\n" V1_BOTH(V1_ONLY_DEVICES) "c2 in /pod/kata_s1\n"},
    {"v2 in one", CG_MODE_V2, ONLY,
     "-s1 in /pod/s1\n"
     "/pod/kata_s1: " V2_S1 "; " V2_DEVICES "; io.max=8:0 rbps=4096; memory.max=1048576; "
     "pids.max=5\n"
     "s1 in /pod/kata_s1\n",
     "-/pod/kata_s1: " V2_S1 "; " V2_DEVICES "; io.max=8:0 rbps=4096; memory.max=1048576; "
     "pids.max=5\n"
     "-c2 in /pod/c2\n"
     "/pod/kata_s1: " V2_BOTH "; " V2_DEVICES "; memory.max=3145728; pids.max=12\n"
     "c2 in /pod/kata_s1\n"},
};

/* The pod with its first container; what the second one will change is noted next. */
static pid_t begin_pod(struct kit_stage *f, const struct pod *p)
{
    pid_t pid;

    kit_begin_stage(f, p->mode);
    kit_set_settings(f, p->settings);
    pid = kit_start_in("/pod/s1", "s1");
    kit_note_tree(f);
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "s1", pid, PAUSE, S1);
    kit_expect_changes(f, p->alone, p->name);
    pid = kit_start_in("/pod/c2", "c2");
    kit_note_tree(f);
    return pid;
}

Test(setup, joins)
{
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        STAGE f;
        pid_t pid = begin_pod(&f, &pods[i]);

        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, C2);
        kit_expect_changes(&f, pods[i].both, pods[i].name);
        kit_expect_stage(&f, STAGE_POSTSTART, "c2", pid, CONTAINER, C2);
        kit_expect_changes(&f, pods[i].both, "an update");
    }
}

/* What the settings no longer say is taken away by the next stage. */
Test(setup, drops_limits_of_the_overhead)
{
    static const struct {
        enum cg_mode mode;
        const char *path, *hierarchies[2];
    } overheads[] = {
        {CG_MODE_V1, "/kata_overhead/s1", {"cpu,cpuacct", "pids"}},
        {CG_MODE_V2, "/pod/kata_s1/overhead", {"unified", "unified"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(overheads); i++) {
        bool v2 = overheads[i].mode == CG_MODE_V2;
        STAGE f;
        pid_t pid = begin_pod(&f, &pods[i]);
        struct record r;

        kit_set_settings(&f, "");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, C2);
        cr_expect_str_eq(kit_tree_read(overheads[i].hierarchies[0], overheads[i].path,
                                       v2 ? "cpu.weight" : "cpu.shares"),
                         v2 ? "100" : "1024");
        cr_expect_str_eq(kit_tree_read(overheads[i].hierarchies[1], overheads[i].path, "pids.max"),
                         "max");
        cr_assert_eq(kit_record(&f, "s1", &r), RECORD_VALID);
        cr_expect_str_eq(kit_recorded(&f, &r.overhead_files), "");
    }
}

/* --- before anything is written it is in the record --- */

struct witness {
    struct kit_stage *f;
    const char *sandbox_id;
    unsigned limits;
};

static bool is_named(const struct json_list *files, const char *file)
{
    for (size_t i = 0; i < files->count; i++) {
        if (str_eq(JSON_AT(*files, struct json_pair, i).key, file))
            return true;
    }
    return false;
}

/* What a cpuset takes over from its parent is no limit. */
static bool is_limit(const char *path, const char *file)
{
    if (str_starts(file, "cpuset."))
        return str_eq(file, "cpuset.cpus") && !str_starts(path, "/kata_overhead");
    return str_starts(file, "cpu.") || str_starts(file, "memory.") || str_starts(file, "pids.") ||
           str_starts(file, "io.") || str_starts(file, "blkio.");
}

static void expect_named(const char *path, const char *file, const char *text, void *arg)
{
    bool overhead = str_starts(path, "/kata_overhead") || str_ends(path, "/overhead");
    struct witness *w = arg;
    struct record r;

    /* A directory of ours: nothing is made that nobody would know of. */
    if (!*file || is_limit(path, file))
        cr_expect_eq(kit_record(w->f, w->sandbox_id, &r), RECORD_VALID, "%s/%s", path, file);
    if (!is_limit(path, file))
        return;
    w->limits++;
    cr_expect(is_named(overhead ? &r.overhead_files : &r.sandbox_files, file),
              "%s is written to %s/%s, and the record names %s, and %s of the overhead", text, path,
              file, kit_recorded(w->f, &r.sandbox_files), kit_recorded(w->f, &r.overhead_files));
}

Test(setup, records_first)
{
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        STAGE f;
        struct witness w = {&f, "s1", 0};
        pid_t pid;

        kit_begin_stage(&f, pods[i].mode);
        kit_set_settings(&f, pods[i].settings);
        pid = kit_start_in("/pod/s1", "s1");
        kit_tree_watch(expect_named, &w);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "s1", pid, PAUSE, S1);
        cr_expect_geq(w.limits, 5, "%s: %u limits", pods[i].name, w.limits);
        kit_tree_watch(NULL, NULL);
        pid = kit_start_in("/pod/c2", "c2");
        w.limits = 0;
        kit_tree_watch(expect_named, &w);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, C2);
        cr_expect_geq(w.limits, 6, "%s: %u limits of both", pods[i].name, w.limits);
    }
}

/* --- each step fails once --- */

static unsigned count_steps(const struct pod *p, bool join)
{
    STAGE f;
    pid_t pid;

    if (join) {
        pid = begin_pod(&f, p);
    } else {
        kit_begin_stage(&f, p->mode);
        kit_set_settings(&f, p->settings);
        pid = kit_start_in("/pod/s1", "s1");
    }
    kit_tree_fail(0, 0);
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, join ? "c2" : "s1", pid, join ? CONTAINER : PAUSE,
                     join ? C2 : S1);
    return kit_tree_steps();
}

static void expect_nothing_left(const struct pod *p, unsigned n)
{
    STAGE f;
    pid_t pid;
    int r;

    kit_begin_stage(&f, p->mode);
    kit_set_settings(&f, p->settings);
    pid = kit_start_in("/pod/s1", "s1");
    kit_note_tree(&f);
    kit_tree_fail(n, EIO);
    r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "s1", pid, PAUSE, S1);
    cr_expect_eq(r, -EIO, "%s, step %u: %d %s", p->name, n, r, f.e.text);
    kit_expect_changes(&f, "", arena_printf(&f.a, "%s, step %u", p->name, n));
    cr_expect_str_eq(kit_state_names(&f), "", "%s, step %u: left %s", p->name, n,
                     kit_state_names(&f));
    /* nothing is in the way of the next one */
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "s1", pid, PAUSE, S1);
    kit_expect_changes(&f, p->alone, arena_printf(&f.a, "%s, after step %u", p->name, n));
}

static void expect_as_before(const struct pod *p, unsigned n)
{
    STAGE f;
    pid_t pid = begin_pod(&f, p);
    struct record r;
    int failed;

    kit_tree_fail(n, EIO);
    failed = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, C2);
    cr_expect_eq(failed, -EIO, "%s, step %u: %d %s", p->name, n, failed, f.e.text);
    kit_expect_changes(&f, "", arena_printf(&f.a, "%s, step %u", p->name, n));
    cr_assert_eq(kit_record(&f, "s1", &r), RECORD_VALID, "%s, step %u", p->name, n);
    cr_expect(r.containers.count == 1 && record_find(&r, "s1"), "%s, step %u: %zu containers",
              p->name, n, r.containers.count);
    cr_expect_null(strstr(kit_state_names(&f), "containers/c2"), "%s, step %u: %s", p->name, n,
                   kit_state_names(&f));
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, C2);
    kit_expect_changes(&f, p->both, arena_printf(&f.a, "%s, after step %u", p->name, n));
}

Test(setup, rolls_back)
{
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        unsigned steps = count_steps(&pods[i], false);

        cr_expect_geq(steps, 8, "%s: %u steps", pods[i].name, steps);
        for (unsigned n = 1; n <= steps; n++)
            expect_nothing_left(&pods[i], n);
    }
}

Test(setup, rolls_back_a_join)
{
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
        unsigned steps = count_steps(&pods[i], true);

        cr_expect_geq(steps, 6, "%s: %u steps", pods[i].name, steps);
        for (unsigned n = 1; n <= steps; n++)
            expect_as_before(&pods[i], n);
    }
}
