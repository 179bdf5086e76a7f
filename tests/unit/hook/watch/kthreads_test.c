/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Kernel threads of VMs: their names, whose they are in a /proc of the test's own, and those of
 * this host, which are only looked at.
 */

#include "hook/watch/kthreads.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/vcpu/vcpu.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- names --- */

static const struct {
    const char *name;
    enum kthread_kind kind;
    pid_t id;
} parsed[] = {
    {"kvm-pit/1", KTHREAD_PIT, 1},
    {"kvm-pit/1234", KTHREAD_PIT, 1234},
    {"kvm-pit/4194304", KTHREAD_PIT, 4194304},
    {"kvm-pit/2147483647", KTHREAD_PIT, 2147483647},
    {"kvm-pit/2147483648", KTHREAD_OTHER, 0},
    {"kvm-pit/99999999999999999999", KTHREAD_OTHER, 0},
    {"kvm-pit/", KTHREAD_OTHER, 0},
    {"kvm-pit", KTHREAD_OTHER, 0},
    {"kvm-pit/0", KTHREAD_OTHER, 0},
    {"kvm-pit/01", KTHREAD_OTHER, 0},
    {"kvm-pit/-1", KTHREAD_OTHER, 0},
    {"kvm-pit/+1", KTHREAD_OTHER, 0},
    {"kvm-pit/ 1", KTHREAD_OTHER, 0},
    {"kvm-pit/1 ", KTHREAD_OTHER, 0},
    {"kvm-pit/1x", KTHREAD_OTHER, 0},
    {"kvm-pit/1/2", KTHREAD_OTHER, 0},
    {"kvm-pit-1", KTHREAD_OTHER, 0},
    {"Kvm-pit/1", KTHREAD_OTHER, 0},
    {" kvm-pit/1", KTHREAD_OTHER, 0},
    {"xkvm-pit/1", KTHREAD_OTHER, 0},
    {"vhost-7", KTHREAD_VHOST, 7},
    {"vhost-4194304", KTHREAD_VHOST, 4194304},
    {"vhost-", KTHREAD_OTHER, 0},
    {"vhost-x", KTHREAD_OTHER, 0},
    {"vhost/7", KTHREAD_OTHER, 0},
    {"vhost_7", KTHREAD_OTHER, 0},
    {"kvm-nx-lpage-recovery-12", KTHREAD_NX_RECOVERY, 12},
    {"kvm-nx-lpage-recovery-4194304", KTHREAD_NX_RECOVERY, 4194304},
    {"kvm-nx-lpage-recovery-", KTHREAD_OTHER, 0},
    {"kvm-nx-lpage-recovery", KTHREAD_OTHER, 0},
    {"kvm-nx-lpage-re", KTHREAD_UNKNOWN, 0},
    {"kvm-nx-lpage-rec", KTHREAD_OTHER, 0},
    {"kvm-nx-lpage-r", KTHREAD_OTHER, 0},
    {"kthreadd", KTHREAD_UNKNOWN, 0},
    {"kthread", KTHREAD_OTHER, 0},
    {"kworker/0:0-events", KTHREAD_OTHER, 0},
    {"kvm", KTHREAD_OTHER, 0},
    {"kvm-irqfd-clean", KTHREAD_OTHER, 0},
    {"", KTHREAD_OTHER, 0},
};

Test(kthreads, names)
{
    for (size_t i = 0; i < ARRAY_SIZE(parsed); i++) {
        pid_t id = -7;
        enum kthread_kind kind = kthread_parse(parsed[i].name, &id);

        cr_expect(kind == parsed[i].kind && id == parsed[i].id,
                  "input:    \"%s\"\nexpected: kind %d, id %d\ngot:      kind %d, id %d",
                  parsed[i].name, (int)parsed[i].kind, (int)parsed[i].id, (int)kind, (int)id);
    }
}

/* --- a /proc of our own --- */

static struct fake {
    struct arena arena;
    struct kthreads k;
    char top[64];
    const char *children;
} fake;

static const char *path_of(const char *name)
{
    return arena_printf(&fake.arena, "%s/%s", fake.top, name);
}

static void make_dir(const char *name)
{
    cr_assert(mkdir(path_of(name), 0700) == 0 || errno == EEXIST, "%s", name);
}

static void write_text(const char *name, const char *text)
{
    kit_write_file(path_of(name), text);
}

static void write_children(void)
{
    write_text("2/task/2/children", fake.children);
}

static void begin_fake(void)
{
    fake = (struct fake){.children = "", .k = {.kvm_dirfd = FD_NONE}};
    snprintf(fake.top, sizeof fake.top, "/tmp/osc-unit-kthreads-XXXXXX");
    kit_make_dir(fake.top);
    fake.k.proc_fd = open(fake.top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fake.k.proc_fd, 0);
    make_dir("2");
    make_dir("2/task");
    make_dir("2/task/2");
    write_text("2/comm", "kthreadd\n");
    write_children();
}

static void end_fake(void)
{
    kthreads_free(&fake.k);
    fd_close(&fake.k.proc_fd);
    fd_close(&fake.k.kvm_dirfd);
    kit_remove_tree(fake.top);
    kit_finish();
    arena_free(&fake.arena);
}

TestSuite(kthreads_fake, .init = begin_fake, .fini = end_fake);

static const char *num(const char *fmt, int pid)
{
    const char *percent = strchr(fmt, '%');

    return arena_printf(&fake.arena, "%.*s%d%s", (int)(percent - fmt), fmt, pid, percent + 1);
}

static void write_stat(int pid, const char *comm, int start_time)
{
    make_dir(num("%", pid));
    write_text(num("%/stat", pid),
               arena_printf(&fake.arena,
                            "%d (%s) S 2 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0 0 0 0 0 0 0 0 "
                            "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                            pid, comm, start_time));
}

static void add_kthread(int pid, const char *name, int start_time)
{
    write_stat(pid, name, start_time);
    fake.children = arena_printf(&fake.arena, "%s%d ", fake.children, pid);
    write_children();
}

/* @inner: the process's id in its own namespace. */
static void add_process(int pid, int inner, int start_time, bool vm)
{
    write_stat(pid, "vmm", start_time);
    make_dir(num("%/task", pid));
    make_dir(arena_printf(&fake.arena, "%d/task/%d", pid, pid));
    make_dir(num("%/fd", pid));
    cr_assert(symlink("/dev/null", path_of(num("%/fd/0", pid))) == 0);
    cr_assert(symlink(vm ? "anon_inode:kvm-vm" : "anon_inode:kvm-vcpu:0",
                      path_of(num("%/fd/9", pid))) == 0);
    cr_assert(symlink("/usr/bin/vmm", path_of(num("%/exe", pid))) == 0);
    write_text(num("%/status", pid),
               pid == inner ? arena_printf(&fake.arena,
                                           "Name:\tvmm\nTgid:\t%d\nPid:\t%d\nNStgid:\t%d\n"
                                           "NSpid:\t%d\n",
                                           pid, pid, pid, pid)
                            : arena_printf(&fake.arena,
                                           "Name:\tvmm\nTgid:\t%d\nPid:\t%d\nNStgid:\t%d\t%d\n"
                                           "NSpid:\t%d\t%d\n",
                                           pid, pid, pid, inner, pid, inner));
}

static void add_thread(int pid, int tid)
{
    make_dir(arena_printf(&fake.arena, "%d/task/%d", pid, tid));
}

static const char *list(const struct cg_pids *pids, const char *before)
{
    const char *text = "";

    for (size_t i = 0; i < pids->count; i++)
        text = arena_printf(&fake.arena, "%s%s%d", text, i > 0 ? " " : before, (int)pids->items[i]);
    return text;
}

/* The helpers of these VMMs, and those that may be theirs: "a b c?d e". */
static const char *find(const pid_t *vmms, size_t count)
{
    struct cg_pids pids = {0}, unsure = {0};
    struct err e = ERR_INIT;
    int r = kthreads_find(&fake.k, vmms, count, &fake.arena, &pids, &unsure, &e);

    cr_assert(r == 0 && e.code == 0, "kthreads_find: %d, %s", r, e.text);
    return arena_printf(&fake.arena, "%s%s", list(&pids, ""), list(&unsure, "?"));
}

static void expect_helpers(pid_t vmm, const char *want)
{
    const char *got = find(&vmm, 1);

    cr_expect_str_eq(got, want, "input:    VMM %d\nexpected: %s\ngot:      %s", (int)vmm, want,
                     got);
}

Test(kthreads_fake, by_name)
{
    static const pid_t both[] = {500, 600};

    add_process(500, 500, 10, true);
    add_process(600, 600, 10, true);
    add_thread(500, 507);
    add_kthread(30, "kworker/0:0-events", 1);
    add_kthread(502, "kvm-pit/500", 12);
    add_kthread(501, "kvm-nx-lpage-recovery-500", 12);
    add_kthread(503, "vhost-507", 12); /* by a thread that is not the main one */
    add_kthread(601, "vhost-600", 12);
    add_kthread(602, "kvm-pit/600", 12);
    add_kthread(700, "vhost-701", 12);
    add_kthread(702, "kvm-pit/701", 12);
    expect_helpers(500, "501 502 503");
    expect_helpers(600, "601 602");
    expect_helpers(500, "501 502 503");
    expect_helpers(701, "");
    cr_expect_str_eq(find(both, 2), "501 502 503 601 602");
    cr_expect_str_eq(find(NULL, 0), "");
    cr_expect_eq(fake.k.other_count, 1);
    cr_expect_eq(fake.k.helper_count, 7);
}

/* Threads come and go between two calls; what was seen is not looked at again. */
Test(kthreads_fake, over_time)
{
    add_process(500, 500, 10, true);
    add_kthread(40, "kworker/0:0-events", 1);
    expect_helpers(500, "");
    add_kthread(502, "kvm-pit/500", 12);
    add_kthread(501, "kthreadd", 12);        /* not yet named */
    add_kthread(503, "kvm-nx-lpage-re", 12); /* not yet wholly named, or an old kernel */
    expect_helpers(500, "502");
    write_stat(501, "vhost-500", 12);
    write_stat(503, "kvm-nx-lpage-recovery-500", 12);
    write_stat(40, "vhost-500", 12);
    expect_helpers(500, "501 502 503");
    fake.children = "40 503 ";
    write_children();
    expect_helpers(500, "503");
    cr_expect_eq(fake.k.helper_count, 1);
    fake.children = "";
    write_children();
    expect_helpers(500, "");
    cr_expect(fake.k.helper_count == 0 && fake.k.other_count == 0);
    /* a listed thread that has ended */
    fake.children = "9999 ";
    write_children();
    expect_helpers(500, "");
    cr_expect(fake.k.helper_count == 0 && fake.k.other_count == 0);
}

/* A VMM whose process appears, or whose device is made, after its thread was seen. */
Test(kthreads_fake, late_vmm)
{
    add_kthread(501, "vhost-500", 12);
    expect_helpers(400, "");
    add_process(500, 500, 10, true);
    expect_helpers(500, "501");
}

/* What looks like a helper and has a program is a process that the kernel started. */
Test(kthreads_fake, program)
{
    add_process(500, 500, 10, true);
    add_kthread(501, "vhost-500", 12);
    add_kthread(502, "kvm-pit/500", 12);
    cr_assert(symlink("/usr/bin/evil", path_of("501/exe")) == 0);
    expect_helpers(500, "502");
}

/* Every container's VMM is process 1 in its own view. */
static void add_containers(void)
{
    add_process(500, 1, 10, true);
    add_process(600, 1, 20, true);
    add_process(650, 1, 21, false); /* a container without a VM */
    add_process(700, 1, 30, true);
    add_process(800, 8, 30, true);
    add_kthread(501, "kvm-pit/1", 12);
    add_kthread(601, "kvm-pit/1", 22);
    add_kthread(701, "kvm-pit/1", 33);
    add_kthread(801, "kvm-pit/8", 31);
}

static void expect_containers(void)
{
    static const pid_t some[] = {500, 650, 700}, all[] = {500, 600, 700};

    expect_helpers(500, "?501 601 701");
    expect_helpers(600, "?501 601 701");
    expect_helpers(650, "");
    expect_helpers(700, "?501 601 701");
    expect_helpers(800, "801");
    cr_expect_str_eq(find(some, ARRAY_SIZE(some)), "?501 601 701");
    /* whichever it is, it is ours */
    cr_expect_str_eq(find(all, ARRAY_SIZE(all)), "501 601 701");
}

Test(kthreads_fake, pid_namespaces)
{
    add_containers();
    expect_containers();
}

static void open_kvm(void)
{
    fake.k.kvm_dirfd = open(path_of("kvm"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fake.k.kvm_dirfd, 0);
}

/* The same with what KVM says of its VMs, without looking into every process. */
Test(kthreads_fake, pid_namespaces_known_to_kvm)
{
    static const char *const vms[] = {"kvm",        "kvm/500-9", "kvm/604-9", "kvm/700-12",
                                      "kvm/800-11", "kvm/700",   "kvm/x-9",   "kvm/650"};

    add_containers();
    for (size_t i = 0; i < ARRAY_SIZE(vms); i++)
        make_dir(vms[i]);
    /* a VM is known by the thread that made it */
    add_process(604, 4, 20, false);
    write_text("604/status", "Tgid:\t600\nPid:\t604\nNStgid:\t600\t1\n");
    open_kvm();
    expect_containers();
    /* ours hold some that the list does not name */
    cr_assert_eq(rmdir(path_of("kvm/500-9")), 0);
    expect_helpers(500, "?501 601 701");
    cr_assert_eq(rmdir(path_of("kvm/800-11")), 0);
    expect_helpers(800, "801");
}

/* Nobody else has our number; then somebody whose number cannot be read. */
Test(kthreads_fake, vm_of_an_unknown)
{
    add_process(500, 1, 10, true);
    add_process(600, 2, 10, true);
    add_kthread(501, "kvm-pit/1", 12);
    make_dir("kvm");
    make_dir("kvm/500-9");
    make_dir("kvm/600-9");
    open_kvm();
    expect_helpers(500, "501");
    expect_helpers(600, "");
    make_dir("kvm/9-9");
    expect_helpers(500, "?501");
    expect_helpers(600, "");
    /* without KVM's word it does not count */
    fd_close(&fake.k.kvm_dirfd);
    expect_helpers(650, "");
    expect_helpers(500, "501");
}

/* Two VMs of one VMM, each with a timer. */
Test(kthreads_fake, two_vms)
{
    add_process(500, 1, 10, true);
    add_kthread(501, "kvm-pit/1", 12);
    add_kthread(502, "kvm-pit/1", 12);
    make_dir("kvm");
    make_dir("kvm/500-9");
    make_dir("kvm/500-10");
    expect_helpers(500, "501 502");
    open_kvm();
    expect_helpers(400, "");
    expect_helpers(500, "501 502");
}

/* Another VMM with our number in its namespace: in ours it is a process of its own. */
Test(kthreads_fake, number_of_another)
{
    add_process(7, 7, 10, true);
    add_process(500, 7, 20, false);
    add_kthread(11, "kvm-pit/7", 12);
    expect_helpers(7, "11");
    expect_helpers(500, "");
    add_process(600, 7, 20, true);
    expect_helpers(7, "?11");
    expect_helpers(600, "?11");
}

/* A new timer, or other VMMs: all timers are judged again. */
Test(kthreads_fake, new_timer)
{
    add_process(500, 1, 10, true);
    expect_helpers(500, "");
    add_kthread(501, "kvm-pit/1", 12);
    expect_helpers(500, "501");
    add_process(600, 1, 20, true);
    expect_helpers(500, "501");
    add_kthread(601, "kvm-pit/1", 22);
    expect_helpers(500, "?501 601");
    expect_helpers(600, "?501 601");
}

/* Without CONFIG_PROC_CHILDREN every process is in the list. */
Test(kthreads_fake, no_list_of_children)
{
    add_containers();
    add_kthread(503, "vhost-500", 12);
    cr_assert_eq(unlink(path_of("2/task/2/children")), 0);
    make_dir("self");
    expect_helpers(500, "503?501 601 701");
    expect_helpers(800, "801");
}

Test(kthreads_fake, many)
{
    add_process(500, 500, 10, true);
    for (int i = 0; i < 300; i++)
        add_kthread(1000 + 7 * i, i % 3 ? "kworker/1:1" : "vhost-501", 5);
    add_kthread(999, "vhost-500", 5);
    add_kthread(4000, "vhost-500", 5);
    for (int i = 0; i < 3; i++)
        expect_helpers(500, "999 4000");
    cr_expect_eq(fake.k.other_count, 200);
    cr_expect_eq(fake.k.helper_count, 102);
}

/* Another process 2 than kthreadd: we see no kernel thread, and look no further. */
Test(kthreads_fake, not_the_initial_namespace)
{
    add_process(500, 500, 10, true);
    add_kthread(501, "vhost-500", 12);
    write_text("2/comm", "sh\n");
    expect_helpers(500, "");
    write_text("2/comm", "kthreadd\n");
    expect_helpers(500, "");
    kthreads_free(&fake.k);
    expect_helpers(500, "501");
    cr_assert_eq(unlink(path_of("2/comm")), 0);
    kthreads_free(&fake.k);
    expect_helpers(500, "");
}

Test(kthreads_fake, unreadable)
{
    struct cg_pids pids, unsure;
    struct err e = ERR_INIT;

    cr_assert(unlink(path_of("2/task/2/children")) == 0);
    make_dir("2/task/2/children");
    cr_expect_eq(kthreads_find(&fake.k, NULL, 0, &fake.arena, &pids, &unsure, &e), -EISDIR);
    cr_expect(strstr(e.text, "EISDIR"), "got: %s", e.text);
}

/* --- placing: a process of the test's own stands for the kernel thread --- */

struct place {
    struct cg_controller home, overhead;
    pid_t pid;
    int start_time;
};

static void begin_place(struct place *p)
{
    kit_start();
    kit_need_host();
    p->home = kit_create(&kit_host, NULL, kit_sub("home"), NULL, &kit_no_limits);
    p->overhead = kit_create(&kit_host, NULL, kit_sub("overhead"), NULL, &kit_no_limits);
    p->pid = kit_start_child();
    add_process(500, 500, 10, true);
    p->start_time = (int)kit_who(p->pid)->start_time;
    add_kthread(p->pid, "vhost-500", p->start_time);
}

static void end_place(struct place *p)
{
    cg_close(&p->home);
    cg_close(&p->overhead);
}

static int place(struct place *p, pid_t vmm, struct err *e)
{
    return kthreads_place(&fake.k, &p->home, &p->overhead, &vmm, 1, e);
}

Test(kthreads_fake, places)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    cr_expect_eq(place(&p, 400, &e), 0);
    cr_expect_eq(cg_holds(&p.home, p.pid), 0);
    cr_expect_eq(place(&p, 500, &e), 1, "%s", e.text);
    cr_expect_eq(cg_holds(&p.home, p.pid), 1);
    cr_expect_eq(place(&p, 500, &e), 0);
    cr_expect_eq(e.code, 0);
    end_place(&p);
}

Test(kthreads_fake, does_not_place_an_unsure_one)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    write_stat(p.pid, "kvm-pit/500", p.start_time);
    add_process(600, 500, 10, true);
    cr_expect_eq(place(&p, 500, &e), 0);
    cr_expect_eq(cg_holds(&p.home, p.pid), 0);
    write_text("600/status", "Tgid:\t600\nNStgid:\t600\t501\n");
    kthreads_free(&fake.k);
    cr_expect_eq(place(&p, 500, &e), 1, "%s", e.text);
    cr_expect_eq(cg_holds(&p.home, p.pid), 1);
    end_place(&p);
}

/* The thread ended after it was seen, and its pid went to another one. */
Test(kthreads_fake, does_not_place_a_successor)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    expect_helpers(500, num("%", p.pid));
    write_stat(p.pid, "vhost-500", p.start_time + 1);
    cr_expect_eq(place(&p, 500, &e), 0);
    write_stat(p.pid, "vhost-501", p.start_time);
    cr_expect_eq(place(&p, 500, &e), 0);
    cr_expect_eq(cg_holds(&p.home, p.pid), 0);
    write_stat(p.pid, "vhost-500", p.start_time);
    cr_expect_eq(place(&p, 500, &e), 1);
    end_place(&p);
}

Test(kthreads_fake, ended)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    kit_end_child(p.pid);
    cr_expect_eq(place(&p, 500, &e), 0);
    cr_expect_eq(e.code, 0);
    end_place(&p);
}

/* Where it is one of the overhead's, as after a split, it stays. */
Test(kthreads_fake, leaves_one_in_the_overhead)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    cr_assert_eq(cg_add_process(&p.overhead, kit_who(p.pid), &e), 0, "%s", e.text);
    cr_expect_eq(place(&p, 500, &e), 0, "%s", e.text);
    cr_expect_eq(cg_holds(&p.overhead, p.pid), 1);
    end_place(&p);
}

/* A directory without cgroup.procs. */
static void refuse(struct place *p)
{
    for (size_t i = 0; i < kit_host.count; i++) {
        fd_close(&p->home.fds[i]);
        p->home.fds[i] = open(fake.top, O_PATH | O_CLOEXEC);
    }
}

/* A thread that the kernel does not let go for long is an error once, and no hindrance for the others. */
Test(kthreads_fake, refused)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    refuse(&p);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(place(&p, 500, &e), 0);
        cr_expect_eq(e.code, 0, "%s", e.text);
    }
    cr_assert(fake.k.helper_count == 1 && fake.k.helpers[0].refused_us > 0);
    fake.k.helpers[0].refused_us -= KTHREADS_REFUSED_US;
    cr_expect_lt(place(&p, 500, &e), 0);
    cr_expect_neq(e.code, 0);
    err_reset(&e);
    cr_expect_eq(place(&p, 500, &e), 0);
    cr_expect_eq(e.code, 0);
    end_place(&p);
}

/* One that was just made is let go when it has run. */
Test(kthreads_fake, refused_at_first)
{
    struct err e = ERR_INIT;
    struct place p;

    begin_place(&p);
    refuse(&p);
    cr_expect_eq(place(&p, 500, &e), 0);
    cg_close(&p.home);
    cr_assert_eq(cg_load(&p.home, NULL), 0);
    cr_expect_eq(place(&p, 500, &e), 1, "%s", e.text);
    cr_expect_eq(cg_holds(&p.home, p.pid), 1);
    end_place(&p);
}

/* --- this host, which is only looked at --- */

static struct kthreads begin_host(void)
{
    char comm[80];

    if (io_read_at(AT_FDCWD, "/proc/2/comm", comm, sizeof comm) < 0 || !str_eq(comm, "kthreadd"))
        cr_skip_test("no kernel threads in this pid namespace");
    return (struct kthreads){.proc_fd = open("/proc", O_PATH | O_CLOEXEC),
                             .kvm_dirfd = vcpu_kvm_open()};
}

static void end_host(struct kthreads *k)
{
    kthreads_free(k);
    close(k->proc_fd);
    fd_close(&k->kvm_dirfd);
}

Test(kthreads_host, lists_kernel_threads)
{
    autoarena a = ARENA_INIT;
    struct kthreads k = begin_host();
    const pid_t own = getpid();
    struct cg_pids pids, unsure;

    cr_assert_eq(kthreads_find(&k, &own, 1, &a, &pids, &unsure, NULL), 0);
    cr_expect(pids.count == 0 && unsure.count == 0, "this process has no VM");
    cr_expect_gt(k.other_count, 5);
    for (size_t i = 0; i < k.other_count; i++) {
        char target[8];

        cr_expect(i == 0 || k.others[i - 1] < k.others[i]);
        cr_expect_lt(readlink(arena_printf(&a, "/proc/%d/exe", (int)k.others[i]), target, 8), 0,
                     "%d has a program", (int)k.others[i]);
    }
    end_host(&k);
}

/* A VM with a timer, made by this process. 0; -errno there is no KVM that can. */
static int make_vm(int *ret_kvm, int *ret_vm)
{
    struct kvm_pit_config config = {0};

    *ret_vm = FD_NONE;
    *ret_kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (*ret_kvm < 0)
        return -errno;
    *ret_vm = ioctl(*ret_kvm, KVM_CREATE_VM, 0);
    if (*ret_vm < 0 || ioctl(*ret_vm, KVM_CREATE_IRQCHIP, 0) < 0 ||
        ioctl(*ret_vm, KVM_CREATE_PIT2, &config) < 0)
        return -errno;
    return 0;
}

static unsigned count_timers(const struct cg_pids *pids, pid_t number, struct arena *a)
{
    unsigned timers = 0;

    for (size_t i = 0; i < pids->count; i++) {
        char comm[80];
        const char *name = arena_printf(a, "/proc/%d/comm", (int)pids->items[i]);

        cr_assert_geq(io_read_at(AT_FDCWD, name, comm, sizeof comm), 0);
        timers += str_eq(comm, arena_printf(a, "kvm-pit/%d", (int)number));
    }
    return timers;
}

/* The threads that the kernel made for the VMs of @vmms are found, and there are timers with this
 * number among them; more may be another's. */
static void expect_timers(struct kthreads *k, const pid_t *vmms, size_t count, pid_t number,
                          unsigned want, unsigned want_unsure)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids, unsure;
    unsigned timers, others;

    cr_assert_eq(kthreads_find(k, vmms, count, &a, &pids, &unsure, NULL), 0);
    timers = count_timers(&pids, number, &a);
    others = count_timers(&unsure, number, &a);
    /* a VM of this host that is not ours may have the number, too */
    cr_expect((timers == want && others == want_unsure) || others > want + want_unsure,
              "%zu VMMs: expected %u and %u, got %u and %u", count, want, want_unsure, timers,
              others);
}

Test(kthreads_host, finds_the_timer_of_a_vm)
{
    struct kthreads k = begin_host();
    const pid_t own = getpid();
    int kvm, vm, r = make_vm(&kvm, &vm);

    if (r == 0)
        expect_timers(&k, &own, 1, own, 1, 0);
    /* the same without what KVM says */
    fd_close(&k.kvm_dirfd);
    kthreads_free(&k);
    if (r == 0)
        expect_timers(&k, &own, 1, own, 1, 0);
    end_host(&k);
    fd_close(&vm);
    fd_close(&kvm);
    if (r < 0)
        cr_skip_test("no VM with a timer can be made here: %s", strerrorname_np(-r));
}

/* A VMM that is process 1 of a pid namespace of its own, as in a container. -errno: no VM. */
static int start_container(pid_t *ret)
{
    int channel[2], r = -EPIPE;

    cr_assert_eq(pipe2(channel, O_CLOEXEC), 0);
    *ret = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, 0);
    if (*ret == 0) {
        int kvm, vm, made = make_vm(&kvm, &vm);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (write(channel[1], &made, sizeof made) != sizeof made)
            _exit(1);
        for (;;)
            pause();
    }
    close(channel[1]);
    if (*ret < 0)
        r = -errno;
    else if (read(channel[0], &r, sizeof r) < 0)
        r = -errno;
    close(channel[0]);
    return r;
}

/* The kernel names a timer by the VMM's id in the VMM's own namespace: all are kvm-pit/1. */
Test(kthreads_host, finds_the_timers_of_containers)
{
    struct kthreads k = begin_host();
    pid_t vmms[3] = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(vmms); i++)
        r = start_container(&vmms[i]);
    for (int round = 0; r == 0 && round < 2; round++) {
        expect_timers(&k, vmms, 3, 1, 3, 0);
        for (size_t i = 0; i < ARRAY_SIZE(vmms); i++)
            expect_timers(&k, &vmms[i], 1, 1, 0, 3);
        fd_close(&k.kvm_dirfd); /* the same without what KVM says */
        kthreads_free(&k);
    }
    for (size_t i = 0; i < ARRAY_SIZE(vmms); i++) {
        if (vmms[i] > 0) {
            kill(vmms[i], SIGKILL);
            waitpid(vmms[i], NULL, 0);
        }
    }
    end_host(&k);
    if (r < 0)
        cr_skip_test("no VM with a timer in a pid namespace: %s", strerrorname_np(-r));
}
