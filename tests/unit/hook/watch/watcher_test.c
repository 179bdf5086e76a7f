/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/watcher.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The watcher that a setup starts, on a tree of its own. */

TestSuite(watcher, .init = kit_ignore_sigpipe, .timeout = 300);

#define CONFIG                                                                                     \
    "{'linux':{'cgroupsPath':'/p/c1','resources':{'cpu':{'quota':50000,'period':100000}}}}"

static const struct {
    const char *name;
    enum cg_mode mode;
    const char *hierarchy, *sandbox, *overhead, *tasks, *quota, *first, *second;
} hosts[] = {
    {"v1", CG_MODE_V1, "cpu,cpuacct", "/p/kata_c1", "/kata_overhead/c1", "tasks",
     "cpu.cfs_quota_us", "50000", "20000"},
    {"hybrid", CG_MODE_HYBRID, "cpu,cpuacct", "/p/kata_c1", "/kata_overhead/c1", "tasks",
     "cpu.cfs_quota_us", "50000", "20000"},
    {"v2", CG_MODE_V2, "unified", "/p/kata_c1/kata_vcpu", "/p/kata_c1", "cgroup.threads", "cpu.max",
     "50000 100000", "20000 100000"},
};

static void *be_vcpu(void *arg)
{
    int fd = *(int *)arg;
    pid_t tid = gettid();

    prctl(PR_SET_NAME, "CPU 0/KVM");
    if (write(fd, &tid, sizeof tid) != sizeof tid)
        _exit(1);
    for (;;)
        pause();
    return NULL;
}

/* A VMM with one vCPU. */
static pid_t start_vmm(pid_t *ret_vcpu)
{
    int fds[2];
    pid_t pid;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = kit_fork();
    if (pid == 0) {
        pthread_t thread;

        pthread_create(&thread, NULL, be_vcpu, &fds[1]);
        for (;;)
            pause();
    }
    close(fds[1]);
    cr_assert_eq(io_read_full(fds[0], (char *)ret_vcpu, sizeof *ret_vcpu),
                 (ssize_t)sizeof *ret_vcpu);
    close(fds[0]);
    return pid;
}

/* What a file says by now, or in a while. */
static void wait_for(const char *hierarchy, const char *path, const char *file, const char *want,
                     const char *what)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;
    const char *got;

    while (!str_eq(got = kit_tree_read(hierarchy, path, file), want)) {
        cr_assert_lt(io_now_us(), deadline, "%s: %s%s/%s is %s, not %s", what, hierarchy, path,
                     file, got, want);
        io_sleep_ms(5);
    }
}

/* The last container dies, and no poststop comes. */
Test(watcher, tears_down)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        unsigned long long deadline;
        struct record r;
        pid_t pid;
        STAGE f;

        kit_begin_stage(&f, hosts[i].mode);
        kit_tree_make("/p/c1");
        kit_note_tree(&f);
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID);
        kit_end_child(pid);
        deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;
        while (*kit_state_names(&f)) {
            cr_assert_lt(io_now_us(), deadline, "%s: left %s", hosts[i].name, kit_state_names(&f));
            io_sleep_ms(20);
        }
        kit_wait_status(record_process_id(r.watcher).pid);
        kit_expect_changes(&f, "", hosts[i].name);
    }
}

static const char *text_of(struct kit_stage *f, pid_t pid)
{
    return arena_printf(&f->a, "%d", (int)pid);
}

/* The rest of the VMM is the overhead; we are not. */
Test(watcher, places_vcpus_and_follows_limits)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        pid_t vcpu, pid;
        STAGE f;

        kit_begin_stage(&f, hosts[i].mode);
        pid = start_vmm(&vcpu);
        kit_tree_enter(pid, "/p/c1", "c1");
        kit_tree_put(hosts[i].hierarchy, "/p/c1", hosts[i].quota, hosts[i].first);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
        wait_for(hosts[i].hierarchy, hosts[i].sandbox, hosts[i].tasks, text_of(&f, vcpu),
                 hosts[i].name);
        wait_for(hosts[i].hierarchy, hosts[i].overhead, hosts[i].tasks, text_of(&f, pid),
                 hosts[i].name);
        wait_for(hosts[i].hierarchy, hosts[i].sandbox, hosts[i].quota, hosts[i].first,
                 hosts[i].name);
        if (hosts[i].mode == CG_MODE_V2)
            wait_for("unified", hosts[i].overhead, "cpu.max", "max 99999", "lifted");
        /* An `update` of the runtime, which knows its own cgroup alone. */
        kit_tree_put(hosts[i].hierarchy, "/p/c1", hosts[i].quota, hosts[i].second);
        wait_for(hosts[i].hierarchy, hosts[i].sandbox, hosts[i].quota, hosts[i].second,
                 hosts[i].name);
        if (hosts[i].mode == CG_MODE_V2)
            wait_for("unified", hosts[i].overhead, "cpu.max", "max 99999", "lifted again");
    }
}

static void expect_in(const char *hierarchy, const char *path, const char *file, const char *want)
{
    const char *got = kit_tree_read(hierarchy, path, file);

    cr_expect_str_eq(got, want, "%s%s/%s: expected %s, got %s", hierarchy, path, file, want, got);
}

/* With one cgroup for everything there is no split, and still somebody who follows the runtime. */
Test(watcher, follows_limits_in_one_cgroup)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        unsigned long long deadline;
        pid_t vcpu, pid;
        STAGE f;

        kit_begin_stage(&f, hosts[i].mode);
        kit_set_settings(&f, "'sandbox_cgroup_only':true");
        pid = start_vmm(&vcpu);
        kit_tree_enter(pid, "/p/c1", "c1");
        kit_tree_put(hosts[i].hierarchy, "/p/c1", hosts[i].quota, hosts[i].first);
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
        expect_in(hosts[i].hierarchy, "/p/kata_c1", hosts[i].quota, hosts[i].first);
        deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;
        /* What is there when the watcher comes is what was there at setup, so there is one word more. */
        for (bool odd = false; str_eq(
                 kit_tree_read(hosts[i].hierarchy, "/p/kata_c1", hosts[i].quota), hosts[i].first);
             odd = !odd) {
            cr_assert_lt(io_now_us(), deadline, "%s", hosts[i].name);
            kit_tree_put(hosts[i].hierarchy, "/p/c1", hosts[i].quota,
                         odd ? hosts[i].first : hosts[i].second);
            io_sleep_ms(300);
        }
        expect_in(hosts[i].hierarchy, "/p/kata_c1", hosts[i].quota, hosts[i].second);
        cr_expect(strstr(kit_tree_text(&f.a), "c1 in /p/kata_c1\n"), "%s", kit_tree_text(&f.a));
    }
}

/* With no quota there is no split on v2, and vCPUs that wait for one do not keep the watcher from seeing it. */
Test(watcher, splits_when_there_is_a_quota)
{
    unsigned long long deadline;
    pid_t vcpu, pid;
    STAGE f;

    kit_begin_stage(&f, CG_MODE_V2);
    pid = start_vmm(&vcpu);
    kit_tree_enter(pid, "/p/c1", "c1");
    kit_tree_put("unified", "/p/c1", "cpu.max", "max 100000");
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL,
                     "{'linux':{'cgroupsPath':'/p/c1'}}");
    deadline = io_now_us() + KIT_PATIENCE_MS / 2 * 1000ull;
    for (bool odd = false; !strstr(kit_tree_text(&f.a), "/p/kata_c1/kata_vcpu"); odd = !odd) {
        cr_assert_lt(io_now_us(), deadline, "%s", kit_tree_text(&f.a));
        kit_tree_put("unified", "/p/c1", "cpu.max", odd ? "30000 100000" : "50000 100000");
        io_sleep_ms(300);
    }
    wait_for("unified", "/p/kata_c1/kata_vcpu", "cgroup.threads", text_of(&f, vcpu), "split");
}

/* A VM that never comes up stays under the sandbox's limits: nothing is made for it. */
Test(watcher, leaves_together_what_has_no_vcpu)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;
        const char *report;
        pid_t pid;
        STAGE f;

        kit_begin_stage(&f, hosts[i].mode);
        kit_set_settings(&f, "");
        f.settings.vcpu_timeout_ms = 1;
        pid = kit_start_in("/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
        kit_note_tree(&f);
        report = arena_printf(&f.a, "%s/sandboxes/c1/placement.json", f.state_dir);
        while (access(report, F_OK) < 0) {
            cr_assert_lt(io_now_us(), deadline, "%s: nobody looks", hosts[i].name);
            io_sleep_ms(5);
        }
        kit_expect_changes(&f, "", hosts[i].name);
        cr_expect(strstr(kit_tree_text(&f.a), "c1 in /p/kata_c1\n"), "%s", kit_tree_text(&f.a));
    }
}

/* A hierarchy that it cannot open is waited for. */
Test(watcher, opens_every_hierarchy)
{
    pid_t vcpu, pid;
    STAGE f;

    kit_begin_stage(&f, CG_MODE_V1);
    pid = start_vmm(&vcpu);
    kit_tree_enter(pid, "/p/c1", "c1");
    kit_tree_unmount(true);
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
    io_sleep_ms(200);
    cr_expect(access(arena_printf(&f.a, "%s/sandboxes/c1/placement.json", f.state_dir), F_OK) < 0,
              "it says something of what it cannot see");
    kit_tree_unmount(false);
    wait_for("cpu,cpuacct", "/kata_overhead/c1", "tasks", text_of(&f, pid), "later");
}

/* What cannot be moved keeps the watcher from nothing else. */
Test(watcher, goes_on_where_a_thread_does_not)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;
    autofree char *text = NULL;
    const char *report;
    pid_t vcpu, pid;
    STAGE f;

    kit_begin_stage(&f, CG_MODE_V1);
    pid = start_vmm(&vcpu);
    kit_tree_enter(pid, "/p/c1", "c1");
    kit_tree_hold(pid);
    kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
    report = arena_printf(&f.a, "%s/sandboxes/c1/placement.json", f.state_dir);
    while (!text || !strstr(text, "\"complete\"")) {
        cr_assert_lt(io_now_us(), deadline, "%s", text);
        io_sleep_ms(5);
        free(text);
        text = NULL;
        (void)io_read_all_at(AT_FDCWD, report, 4096, &text);
    }
}

/* Whose word counts: a name is none where the kernel is asked. */
Test(watcher, believes_no_name_where_the_kernel_tells)
{
    for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
        pid_t vcpu, pid;
        STAGE f;

        kit_begin_stage(&f, hosts[i].mode);
        f.settings.vcpu_evidence = EVIDENCE_KERNEL;
        pid = start_vmm(&vcpu);
        kit_tree_enter(pid, "/p/c1", "c1");
        kit_expect_stage(&f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
        io_sleep_ms(100);
        cr_expect(strstr(kit_tree_text(&f.a), "c1 in /p/kata_c1\n"), "%s", kit_tree_text(&f.a));
        kit_tree_ran_guest(vcpu);
        wait_for(hosts[i].hierarchy, hosts[i].sandbox, hosts[i].tasks, text_of(&f, vcpu),
                 hosts[i].name);
    }
}

enum removal { RECORD, RECORD_AND_CGROUPS, RECORD_UNSEEN, REMOVALS };

/* Where a pass finds a directory in place of the list of threads, it fails; or it does again as before. */
static void spoil_list(struct kit_stage *f, size_t host, bool spoil)
{
    const char *list = arena_printf(&f->a, "%s/%s%s/%s", kit_tree_dir, hosts[host].hierarchy,
                                    hosts[host].overhead, hosts[host].tasks);
    const char *away = arena_printf(&f->a, "%s/away", kit_tree_dir);

    if (spoil) {
        cr_assert_eq(rename(list, away), 0);
        cr_assert_eq(mkdir(list, 0700), 0);
    } else {
        /* A watcher that was in the middle of a move has filled it like a cgroup, as the tree does. */
        kit_remove_tree(list);
        cr_assert_eq(rename(away, list), 0);
    }
}

/* Without a word to the watcher. */
static void remove_behind_it(struct kit_stage *f, struct record *r, size_t host,
                             enum removal removal)
{
    struct settings settings = f->settings;
    pid_t watcher = record_process_id(r->watcher).pid;
    struct state_lock lock;
    struct cg_host opened;

    cr_assert_eq(state_lock(&f->state, "c1", false, KIT_PATIENCE_MS, &lock, NULL), 0);
    kit_tree_pause(watcher);
    if (removal == RECORD_AND_CGROUPS) {
        settings.leftovers = LEFTOVERS_MOVE;
        r->watcher = NULL;
        cr_assert_eq(cg_host_open(&f->a, &opened, NULL), 0);
        cr_assert_eq(
            sandbox_destroy(&f->state, &opened, r, &settings, KIT_PATIENCE_MS, &lock, &f->e), 0,
            "%s", f->e.text);
        cg_host_close(&opened);
    } else {
        cr_assert_eq(state_remove(&f->state, "c1", r, &lock, NULL), 0);
    }
    if (removal == RECORD_UNSEEN)
        spoil_list(f, host, true);
    cr_assert_eq(kill(watcher, SIGCONT), 0);
}

/* A VMM whose vCPU is set apart, with its record. */
static pid_t start_split(struct kit_stage *f, size_t host, const char *what, struct record *ret)
{
    pid_t vcpu, pid = start_vmm(&vcpu);

    kit_tree_enter(pid, "/p/c1", "c1");
    kit_expect_stage(f, STAGE_CREATE_RUNTIME, "c1", pid, NULL, CONFIG);
    wait_for(hosts[host].hierarchy, hosts[host].overhead, hosts[host].tasks, text_of(f, pid), what);
    cr_assert_eq(kit_record(f, "c1", ret), RECORD_VALID);
    return pid;
}

/* As a poststop does it that cannot read who the watcher is. The VMM is not its affair: there may be another sandbox
 * by now. */
Test(watcher, ends_without_its_record)
{
    static const char *const names[REMOVALS] = {"the record", "the cgroups, too",
                                                "and no pass is whole"};

    for (size_t i = 0; i < REMOVALS * ARRAY_SIZE(hosts); i++) {
        size_t k = i / REMOVALS;
        enum removal removal = (enum removal)(i % REMOVALS);
        const char *what;
        struct proc_id watcher;
        struct record r;
        pid_t pid;
        STAGE f;

        kit_begin_stage(&f, hosts[k].mode);
        what = arena_printf(&f.a, "%s, %s", hosts[k].name, names[removal]);
        pid = start_split(&f, k, what, &r);
        watcher = record_process_id(r.watcher);
        remove_behind_it(&f, &r, k, removal);
        cr_assert_eq(proc_wait_gone(&watcher, KIT_PATIENCE_MS), 0, "%s: it goes on", what);
        if (removal == RECORD_UNSEEN)
            spoil_list(&f, k, false);
        cr_expect(kit_has_exited(kit_wait_status(watcher.pid)), "%s", what);
        cr_expect_null(strstr(kit_state_names(&f), "sandboxes/c1"), "%s: left %s", what,
                       kit_state_names(&f));
        cr_expect(kit_is_running(pid), "%s", what);
    }
}

/* As an upgrade does it: the record that the watcher knows is there no more, another one is in its place. */
Test(watcher, leaves_to_another)
{
    for (size_t k = 0; k < ARRAY_SIZE(hosts); k++) {
        const char *what = hosts[k].name;
        struct proc_id watcher, other;
        struct state_lock lock;
        struct record r;
        pid_t pid;
        STAGE f;

        kit_begin_stage(&f, hosts[k].mode);
        pid = start_split(&f, k, what, &r);
        watcher = record_process_id(r.watcher);
        cr_assert_eq(state_lock(&f.state, "c1", false, KIT_PATIENCE_MS, &lock, NULL), 0);
        cr_assert_eq(proc_identify(pid, &other), 0);
        r.watcher = record_process_new(&f.a, &other);
        cr_assert_eq(record_write(&lock, &f.a, &r, NULL), 0);
        state_unlock(&lock);
        cr_assert_eq(proc_wait_gone(&watcher, KIT_PATIENCE_MS), 0, "%s: it goes on", what);
        cr_expect(kit_has_exited(kit_wait_status(watcher.pid)), "%s", what);
        cr_assert_eq(kit_record(&f, "c1", &r), RECORD_VALID, "%s", what);
        cr_expect_eq(record_process_id(r.watcher).pid, pid, "%s", what);
        cr_expect_str_eq(kit_tree_read(hosts[k].hierarchy, hosts[k].overhead, hosts[k].tasks),
                         text_of(&f, pid), "%s", what);
        /* Which is none of ours, and nobody is to end it for one. */
        r.watcher = NULL;
        cr_assert_eq(state_lock(&f.state, "c1", false, KIT_PATIENCE_MS, &lock, NULL), 0);
        cr_assert_eq(record_write(&lock, &f.a, &r, NULL), 0);
        state_unlock(&lock);
    }
}
