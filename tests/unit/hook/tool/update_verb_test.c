/* SPDX-License-Identifier: Apache-2.0 */

/* `update` on a tree of its own: what a VM is left with when it succeeds, when it fails in the middle, and with
 * systemd. */

#include "hook/tool/verbs.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/child.h"
#include "tests/unit/kit/bus_kit.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void init(void)
{
    kit_ignore_sigpipe();
    cr_redirect_stdout();
}

TestSuite(update_verb, .init = init, .timeout = 300);

/* Nothing more is to come: it would be an event. */
#define DEADLINE (io_now_us() + KIT_PATIENCE_MS * 1000ull)

static const struct {
    const char *name;
    enum cg_mode mode;
    const char *hierarchy, *vcpu, *quota, *fifty, *twenty;
} hosts[] = {
    {"v1", CG_MODE_V1, "cpu,cpuacct", "", "cpu.cfs_quota_us", "50000", "20000"},
    {"v2", CG_MODE_V2, "unified", "/kata_vcpu", "cpu.max", "50000 100000", "20000 100000"},
};

/* Where a container of this id has its sandbox. */
struct place {
    const char *config, *own, *sandbox;
};

#define LIMITS "'resources':{'cpu':{'quota':50000,'period':100000}}"
static const struct place with_path = {"{'linux':{'cgroupsPath':'/p/c1'," LIMITS "}}", "/p/c1",
                                       "/p/kata_c1"};
static const struct place in_scope = {"{'linux':{'cgroupsPath':'a.slice:crun:c1'," LIMITS "}}",
                                      "/a.slice/crun-c1.scope", "/a.slice/crun-kata_c1.scope"};

static void wait_for(size_t host, const char *path, const char *file, const char *want,
                     const char *what)
{
    unsigned long long deadline = DEADLINE;
    const char *got;

    while (!str_eq(got = kit_tree_read(hosts[host].hierarchy, path, file), want)) {
        cr_assert_lt(io_now_us(), deadline, "%s, %s: %s/%s is %s, not %s", hosts[host].name, what,
                     path, file, got, want);
        io_sleep_ms(5);
    }
}

/* The vCPUs have this quota, and the rest has none. */
static void wait_for_quota(struct kit_stage *f, size_t host, const struct place *p,
                           const char *want, const char *what)
{
    const char *vcpu = arena_printf(&f->a, "%s%s", p->sandbox, hosts[host].vcpu);

    wait_for(host, vcpu, hosts[host].quota, want, what);
    if (hosts[host].mode == CG_MODE_V2)
        wait_for(host, p->sandbox, "cpu.max", "max 99999", what);
}

/* What the runtime's cgroup says when the watcher comes is what it said at setup, and only what is written behind
 * that is a change. */
static void wait_for_watcher(struct kit_stage *f, size_t host)
{
    const char *report = arena_printf(&f->a, "%s/sandboxes/c1/placement.json", f->state_dir);
    unsigned long long deadline = DEADLINE;

    while (access(report, F_OK) < 0) {
        cr_assert_lt(io_now_us(), deadline, "%s: nobody looks", hosts[host].name);
        io_sleep_ms(5);
    }
}

/* A VMM that is set up, whose vCPU is apart. */
static void begin_vm(struct kit_stage *f, size_t host, const struct place *p)
{
    pid_t pid;

    kit_begin_stage(f, hosts[host].mode);
    kit_bus_begin();
    pid = kit_start_vmm("vmm");
    kit_add_thread(0, 1, "CPU 0/KVM");
    kit_tree_enter(pid, p->own, "c1");
    kit_tree_put(hosts[host].hierarchy, p->own, hosts[host].quota, hosts[host].fifty);
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, p->config);
    wait_for_watcher(f, host);
    wait_for_quota(f, host, p, hosts[host].fifty, "split");
}

static struct proc_id watcher_of(struct kit_stage *f)
{
    struct record r;

    cr_assert_eq(kit_record(f, "c1", &r), RECORD_VALID);
    return record_process_id(r.watcher);
}

static void kill_watcher(struct kit_stage *f)
{
    struct proc_id id = watcher_of(f);

    kit_end_child(id.pid);
    cr_assert_eq(child_works(&id), 0);
}

/* @document  NULL: none. */
static int update(struct kit_stage *f, const char *cpus, const char *document)
{
    autofd fd = FD_NONE;
    char path[32];
    struct options o = {.verb = VERB_UPDATE, .id = "c1", .state_dir = f->state_dir, .cpus = cpus};

    if (document) {
        char *text = arena_strdup(&f->a, document);

        for (char *c = text; (c = strchr(c, '\''));)
            *c = '"';
        fd = kit_file_with(text, strlen(text));
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        o.resources = path;
    }
    f->e = (struct err)ERR_INIT;
    return verb_update(&o, &f->settings, &f->a, &f->e);
}

#define TWENTY "{'cpu':{'quota':20000},'memory':{'limit':4096}}"

static void fail_cpus(const char *path, const char *file, const char *text, void *arg)
{
    (void)path;
    if (str_eq(file, "cpuset.cpus") && str_eq(text, "0")) {
        kit_tree_fail(1, EINVAL);
        *(bool *)arg = true;
    }
}

/* The quota has been written by then, and is where it belongs again, though nobody tended the sandbox. */
Test(update_verb, refused_without_a_watcher)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct proc_id watcher;
        bool failed = false;
        STAGE f;

        begin_vm(&f, i, &with_path);
        kill_watcher(&f);
        kit_tree_watch(fail_cpus, &failed);
        cr_expect_eq(update(&f, "0", TWENTY), -EINVAL, "%s: %s", hosts[i].name, f.e.text);
        kit_tree_watch(NULL, NULL);
        kit_tree_fail(0, 0);
        cr_expect(failed && strstr(f.e.text, "keeps the limits that it had"), "%s", f.e.text);
        watcher = watcher_of(&f);
        cr_assert_eq(child_works(&watcher), 1, "%s: there is no watcher", hosts[i].name);
        wait_for_quota(&f, i, &with_path, hosts[i].fifty, "refused");
    }
}

/* They are in force, and threads cannot be looked at. */
Test(update_verb, unplaced_without_a_watcher)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        bool v2 = hosts[i].mode == CG_MODE_V2;
        struct proc_id watcher;
        STAGE f;

        begin_vm(&f, i, &with_path);
        kill_watcher(&f);
        kit_tree_hide(v2 ? "cgroup.threads" : "tasks", EMFILE);
        cr_expect_eq(update(&f, NULL, NULL), -EMFILE, "%s: %s", hosts[i].name, f.e.text);
        watcher = watcher_of(&f);
        cr_expect_eq(child_works(&watcher), 0, "%s: nothing was changed", hosts[i].name);
        cr_expect_eq(update(&f, NULL, TWENTY), -EMFILE, "%s: %s", hosts[i].name, f.e.text);
        kit_tree_hide(NULL, 0);
        cr_expect(strstr(f.e.text, "the limits are in force"), "%s", f.e.text);
        wait_for_quota(&f, i, &with_path, hosts[i].twenty, "unplaced");
    }
}

/* --- whose word is the last --- */

/* Between two looks of its, so that it has no lock, the sandbox's or the tree's. */
static void stop_watcher(struct kit_stage *f)
{
    struct proc_id id = watcher_of(f);
    struct state_lock lock;

    cr_assert_eq(state_lock(&f->state, "c1", false, KIT_PATIENCE_MS, &lock, NULL), 0);
    kit_tree_pause(id.pid);
    state_unlock(&lock);
}

static const char *quota_text(struct kit_stage *f, size_t host, int us)
{
    return arena_printf(&f->a, hosts[host].mode == CG_MODE_V2 ? "%d 100000" : "%d", us);
}

/* As a runtime's own update writes it. */
static void write_own(struct kit_stage *f, size_t host, int us)
{
    kit_tree_put(hosts[host].hierarchy, with_path.own, hosts[host].quota, quota_text(f, host, us));
}

/* The watcher has taken over what the runtime has written. */
static void wait_for_word(struct kit_stage *f, int us)
{
    unsigned long long deadline = DEADLINE;
    struct record r;

    do {
        cr_assert_lt(io_now_us(), deadline, "the watcher does not follow");
        io_sleep_ms(5);
        cr_assert_eq(kit_record(f, "c1", &r), RECORD_VALID);
    } while (record_find(&r, "c1")->resources->cpu->quota.value != us);
}

/* However late the watcher sees both. */
Test(update_verb, last_word_counts)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        struct record r;
        STAGE f;

        begin_vm(&f, i, &with_path);
        stop_watcher(&f);
        write_own(&f, i, 30000);
        cr_assert_eq(update(&f, NULL, TWENTY), 0, "%s", f.e.text);
        kill(watcher_of(&f).pid, SIGCONT);
        wait_for_word(&f, 30000);
        wait_for_quota(&f, i, &with_path, hosts[i].twenty, "the operator's word is later");
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        cr_expect(r.updated && r.updated->cpu->quota.value == 20000);
        stop_watcher(&f);
        cr_assert_eq(update(&f, NULL, "{'cpu':{'quota':70000},'pids':{'limit':7}}"), 0, "%s",
                     f.e.text);
        write_own(&f, i, 40000);
        kill(watcher_of(&f).pid, SIGCONT);
        wait_for_quota(&f, i, &with_path, quota_text(&f, i, 40000), "the runtime's word is later");
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        cr_expect(r.updated && !r.updated->cpu->quota.set && r.updated->pids->limit.value == 7);
    }
}

/* What systemd is told of a scope: no device list, which may be another by now. */
Test(update_verb, leaves_devices_to_systemd)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        const char *told;
        STAGE f;

        begin_vm(&f, i, &in_scope);
        (void)kit_bus_told();
        cr_expect_eq(update(&f, "0", NULL), 0, "%s", f.e.text);
        told = kit_bus_told();
        cr_expect(strstr(told, "CPUQuotaPerSecUSec ") && !strstr(told, "Device"), "%s: %s",
                  hosts[i].name, told);
        /* Nor is it by the watcher, of what the runtime has changed. */
        kit_tree_put(hosts[i].hierarchy, in_scope.own, hosts[i].quota, hosts[i].twenty);
        wait_for_quota(&f, i, &in_scope, hosts[i].twenty, "changed by the runtime");
        told = kit_bus_told();
        cr_expect(strstr(told, "CPUQuotaPerSecUSec ") && !strstr(told, "Device"), "%s: %s",
                  hosts[i].name, told);
    }
}
