/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

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

/* A placeholder is where init was, so that nobody takes an empty cgroup for the end of it. */
#define MOVED "c1 in /p/kata_c1\nours in /p/c1\n"

static const struct {
    const char *name;
    enum cg_mode mode;
    const char *settings;
    const char *want;
} cases[] = {
    {"v1", CG_MODE_V1, "", "-c1 in /p/c1\n" V1_C1(V1_DEVICES) MOVED},
    {"hybrid", CG_MODE_HYBRID, "", "-c1 in /p/c1\n" V1_C1(V1_DEVICES) MOVED},
    {"v2", CG_MODE_V2, "",
     "-c1 in /p/c1\n"
     "/p/kata_c1: " V2_C1_THREADS "; " V2_C1_DOMAIN "; pids.max=20\n" MOVED},
    {"v1 in one", CG_MODE_V1, ONLY, "-c1 in /p/c1\n" V1_C1(V1_ONLY_DEVICES) MOVED},
    {"hybrid in one", CG_MODE_HYBRID, ONLY, "-c1 in /p/c1\n" V1_C1(V1_ONLY_DEVICES) MOVED},
    {"v2 in one", CG_MODE_V2, ONLY,
     "-c1 in /p/c1\n"
     "/p/kata_c1: " V2_C1_THREADS "; " V2_C1_DOMAIN "; pids.max=20\n" MOVED},
    /* which are for later */
    {"v1 with limits of the overhead", CG_MODE_V1, OVERHEAD,
     "-c1 in /p/c1\n" V1_C1(V1_DEVICES) MOVED},
    {"v2 with limits of the overhead", CG_MODE_V2, OVERHEAD,
     "-c1 in /p/c1\n"
     "/p/kata_c1: " V2_C1_THREADS "; " V2_C1_DOMAIN "; pids.max=20\n" MOVED},
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

/* Where the runtime has put the process, so that the limits of whatever that is in go on to
 * hold. */
Test(setup, beside_the_process)
{
    static const struct {
        const char *config, *runtime, *sandbox;
    } rows[] = {
        {"{'linux':{}}", "/service/c1", "/service/kata_c1"},
        {"{'linux':{'cgroupsPath':'x/y'}}", "/service/x/y", "/service/x/kata_y"},
    };

    for (size_t i = 0; i < 3 * ARRAY_SIZE(rows); i++) {
        static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, modes[i % 3]);
        pid = kit_start_in(rows[i / 3].runtime, "c1");
        kit_note_tree(&f);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, rows[i / 3].config);
        cr_expect(
            strstr(kit_tree_text(&f.a), arena_printf(&f.a, "c1 in %s\n", rows[i / 3].sandbox)),
            "%s", kit_tree_text(&f.a));
        cr_expect_null(strstr(kit_tree_text(&f.a), "/vc"), "%s", kit_tree_text(&f.a));
        kit_end_child(pid);
        kit_expect_stage(&f, STAGE_POSTSTOP, "c1", 0, NULL, rows[i / 3].config);
        cr_expect_null(strstr(kit_tree_text(&f.a), "kata_"), "%s", kit_tree_text(&f.a));
        cr_expect_str_eq(kit_state_names(&f), "");
    }
}

static void move_back(pid_t pid, const char *hierarchy, const char *path)
{
    autoarena a = ARENA_INIT;
    const char *text = arena_printf(&a, "%d", (int)pid);
    autofd fd =
        open(arena_printf(&a, "%s/%s%s/cgroup.procs", kit_tree_dir, hierarchy, path), O_WRONLY);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* A setup was killed while it moved init, and the runtime tries again: what the watcher will take
 * for the runtime's cgroup is not the sandbox's own, whose limits would grow by themselves with
 * each look. */
Test(setup, goes_on_where_it_was_killed)
{
    static const char *const left[] = {"cpu,cpuacct", "memory", "pids"};

    for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
        struct record r;
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, CG_MODE_V1);
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        move_back(pid, left[i], "/p/c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        cr_expect_str_eq(kit_tree_read(left[i], "/p/kata_c1", "cgroup.procs"),
                         arena_printf(&f.a, "%d", (int)pid));
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        cr_expect_str_eq(record_find(&r, "c1")->runtime_path, "/p/c1", "left in %s: %s", left[i],
                         record_find(&r, "c1")->runtime_path);
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
    kit_expect_changes(&f,
                       "-/:\n"
                       "-/p:\n"
                       "-c1 in /p/c1\n"
                       "/: cgroup.subtree_control=cpu memory\n"
                       "/p: cgroup.subtree_control=cpu memory\n"
                       "/p/kata_c1: cpu.weight=59; " V2_DEVICES "; memory.max=1048576\n" MOVED,
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
#define V2_S1                                                                                      \
    "/pod/kata_s1: cpu.max=20000 100000; cpu.weight=29; cpuset.cpus=0; " V2_DEVICES                \
    "; io.max=8:0 rbps=4096; memory.max=1048576; pids.max=5\n"
#define V2_BOTH                                                                                    \
    "/pod/kata_s1: cpu.max=50000 100000; cpu.weight=58; cpuset.cpus=0,2; " V2_DEVICES              \
    "; memory.max=3145728; pids.max=12\n"
#define S1_MOVED "ours in /pod/s1\ns1 in /pod/kata_s1\n"
#define C2_MOVED "c2 in /pod/kata_s1\nours in /pod/c2\n"

static const struct pod pods[] = {
    {"v1", CG_MODE_V1, OVERHEAD, "-s1 in /pod/s1\n" V1_S1(V1_DEVICES) S1_MOVED,
     "-" V1_S1(V1_DEVICES) "-c2 in /pod/c2\n" V1_BOTH(V1_DEVICES) C2_MOVED},
    {"v2", CG_MODE_V2, OVERHEAD, "-s1 in /pod/s1\n" V2_S1 S1_MOVED,
     "-" V2_S1 "-c2 in /pod/c2\n" V2_BOTH C2_MOVED},
    {"v1 in one", CG_MODE_V1, ONLY, "-s1 in /pod/s1\n" V1_S1(V1_ONLY_DEVICES) S1_MOVED,
     "-" V1_S1(V1_ONLY_DEVICES) "-c2 in /pod/c2\n" V1_BOTH(V1_ONLY_DEVICES) C2_MOVED},
    {"v2 in one", CG_MODE_V2, ONLY, "-s1 in /pod/s1\n" V2_S1 S1_MOVED,
     "-" V2_S1 "-c2 in /pod/c2\n" V2_BOTH C2_MOVED},
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

/* A record of the fence, a watcher, no overhead: what a setup leaves for the split. */
Test(setup, prepares_a_split)
{
    static const struct {
        const char *name;
        enum cg_mode mode;
        const char *settings;
        bool fenced;
    } rows[] = {
        {"v1", CG_MODE_V1, "", false},          {"hybrid", CG_MODE_HYBRID, "", false},
        {"v2", CG_MODE_V2, "", true},           {"v1 in one", CG_MODE_V1, ONLY, false},
        {"v2 in one", CG_MODE_V2, ONLY, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct record_container *c;
        struct record r;
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, rows[i].mode);
        kit_set_settings(&f, rows[i].settings);
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID, "%s", rows[i].name);
        cr_expect_eq(r.schema.value, 4);
        cr_expect(r.made.value, "%s", rows[i].name);
        cr_expect_not(r.cpu_enabled.set, "%s: nothing is split yet", rows[i].name);
        cr_assert_eq(r.fence.count, rows[i].fenced, "%s", rows[i].name);
        if (rows[i].fenced) {
            cr_expect_str_eq(JSON_AT(r.fence, struct record_fence, 0).path, "/p/kata_c1");
            cr_expect_null(JSON_AT(r.fence, struct record_fence, 0).cpu_max);
        }
        cr_expect_gt(record_process_id(r.watcher).pid, 0, "%s", rows[i].name);
        cr_expect_null(r.placeholder, "there is no scope of the overhead");
        c = record_find(&r, "c1");
        cr_assert(c && c->placeholder, "%s", rows[i].name);
        cr_expect_str_eq(kit_tree_read(rows[i].mode == CG_MODE_V2 ? "unified" : "memory", "/p/c1",
                                       "cgroup.procs"),
                         arena_printf(&f.a, "%d", (int)record_process_id(c->placeholder).pid));
    }
}

/* Neither systemd nor containerd looks at the runtime's cgroup; but a runtime may have to kill by
 * it. */
Test(setup, leaves_nobody_where_nobody_looks)
{
    static const struct {
        const char *namespaces;
        bool held;
    } rows[] = {
        {"{'type':'mount'},{'type':'pid'}", false},
        {"{'type':'pid','path':''}", false},
        {"{'type':'pid','path':'/proc/1/ns/pid'}", true},
        {"{'type':'mount'}", true},
        {"", true},
    };

    kit_need_sight();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct record_container *c;
        struct record r;
        STAGE f;
        pid_t pid;

        kit_begin_stage(&f, CG_MODE_V1);
        kit_set_engine(false);
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL,
                         arena_printf(&f.a, "{'linux':{'cgroupsPath':'/p/c1','namespaces':[%s]}}",
                                      rows[i].namespaces));
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        c = record_find(&r, "c1");
        cr_assert(c);
        cr_expect_eq(c->placeholder != NULL, rows[i].held, "[%s]", rows[i].namespaces);
        cr_expect_eq(*kit_tree_read("memory", "/p/c1", "cgroup.procs") != '\0', rows[i].held,
                     "[%s]", rows[i].namespaces);
    }
}

/* poststart starts a watcher where there is none any more. */
Test(setup, starts_a_watcher_again)
{
    struct proc_id watcher;
    struct record r;
    STAGE f;
    pid_t pid;

    kit_begin_stage(&f, CG_MODE_V2);
    pid = kit_start_in("/p/c1", "c1");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, C1);
    kit_note_tree(&f);
    kit_record(&f, "c1", &r);
    watcher = record_process_id(r.watcher);
    kit_expect_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1);
    kit_record(&f, "c1", &r);
    cr_expect_eq(record_process_id(r.watcher).pid, watcher.pid, "one is enough");
    proc_signal(&watcher, SIGKILL);
    kit_wait_status(watcher.pid);
    kit_expect_stage(&f, STAGE_POSTSTART, "c1", pid, NULL, C1);
    kit_record(&f, "c1", &r);
    cr_expect(record_process_id(r.watcher).pid > 0 &&
              record_process_id(r.watcher).pid != watcher.pid);
    kit_expect_changes(&f, "", "poststart places nothing");
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
static bool is_limit(const char *file)
{
    if (str_starts(file, "cpuset."))
        return str_eq(file, "cpuset.cpus");
    return str_starts(file, "cpu.") || str_starts(file, "memory.") || str_starts(file, "pids.") ||
           str_starts(file, "io.") || str_starts(file, "blkio.");
}

static void expect_named(const char *path, const char *file, const char *text, void *arg)
{
    struct witness *w = arg;
    struct record r;

    /* A directory of ours: nothing is made that nobody would know of. */
    if (!*file || is_limit(file))
        cr_expect_eq(kit_record(w->f, w->sandbox_id, &r), RECORD_VALID, "%s/%s", path, file);
    if (!is_limit(file))
        return;
    w->limits++;
    cr_expect(is_named(&r.sandbox_files, file), "%s is written to %s/%s, and the record names %s",
              text, path, file, kit_recorded(w->f, &r.sandbox_files));
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

#define DEVICE(major)                                                                              \
    "{'linux':{'cgroupsPath':'/pod/"                                                               \
    "c2','resources':{'devices':[{'allow':true,'type':'c','major':" major                          \
    ",'minor':0,'access':'rw'}]}}}"

/* As the hook of a vendor does that comes to a container which runs. (To make a node is allowed of
 * every device.) */
static void allow(struct kit_stage *f, const char *rule)
{
    const char *list = kit_tree_read("devices", "/pod/kata_s1", "devices.list");

    kit_tree_put("devices", "/pod/kata_s1", "devices.list",
                 arena_printf(&f->a, "%s\n%s", list, rule));
}

/* What others have allowed since the first container came stays, also where the second one asks for
 * the same. */
Test(setup, rolls_back_a_join_to_what_others_allow)
{
    static const struct {
        size_t pod;
        const char *config;
    } rows[] = {{0, DEVICE("200")}, {0, DEVICE("195")}, {2, DEVICE("200")}, {2, DEVICE("195")}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct pod *p = &pods[rows[i].pod];
        unsigned n = 0;
        int r = -EIO;

        while (r < 0 && n < 50) {
            STAGE f;
            pid_t pid = begin_pod(&f, p);
            const char *what = arena_printf(&f.a, "%s, %s, step %u", p->name, rows[i].config, ++n);

            allow(&f, "c 195:0 rwm");
            kit_note_tree(&f);
            kit_tree_fail(n, EIO);
            r = kit_run_stage(&f, STAGE_CREATE_RUNTIME, "c2", pid, CONTAINER, rows[i].config);
            kit_tree_fail(0, 0);
            if (r < 0)
                kit_expect_changes(&f, "", what);
            cr_expect(strstr(kit_tree_read("devices", "/pod/kata_s1", "devices.list"), "195:0 rw"),
                      "%s: %s", what, kit_tree_read("devices", "/pod/kata_s1", "devices.list"));
        }
        cr_expect(n > 5 && n < 50, "%u steps", n);
    }
}
