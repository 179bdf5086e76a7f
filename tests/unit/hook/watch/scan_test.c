/* SPDX-License-Identifier: Apache-2.0 */

/* One pass of the watcher, against this host's cgroups and a process with named threads. */

#include "hook/watch/scan.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

/* --- a sandbox of the test's own --- */

static struct fixture {
    struct record record;
    struct sandbox sandbox;
    struct settings settings;
    struct scan scan;
    pid_t vmm;
} f;

static void begin(void)
{
    f = (struct fixture){.settings = {.prefix = "kata_"}};
    kit_start();
}

static void end(void)
{
    if (f.record.sandbox_path) {
        sandbox_close(&f.sandbox);
        scan_free(&f.scan);
    }
    kit_finish();
}

TestSuite(scan, .init = begin, .fini = end);

static void make_sandbox(void)
{
    const bool v2 = kit_host.mode == CG_MODE_V2;
    struct err e = ERR_INIT;

    f.record.sandbox_path = kit_sub("sandbox");
    f.record.vcpu_path = v2 ? kit_sub("sandbox/kata_vcpu") : f.record.sandbox_path;
    f.record.overhead_path = v2 ? f.record.sandbox_path : kit_sub("overhead");
    sandbox_init(&f.sandbox, &kit_host, NULL, &f.record);
    if (kit_put_new(&f.sandbox.home, &kit_no_limits, NULL, &e) < 0 ||
        kit_put_new(v2 ? &f.sandbox.vcpu : &f.sandbox.overhead, &kit_no_limits, NULL, &e) < 0)
        cr_skip_test("%s", e.text);
    cr_assert_eq(sandbox_load(&f.sandbox, &e), 0, "%s", e.text);
    f.scan = (struct scan){.sandbox = &f.sandbox, .settings = &f.settings, .kvm_dirfd = FD_NONE};
}

static void enter(struct cg_controller *c)
{
    struct err e = ERR_INIT;

    cr_assert_eq(cg_add_process(c, kit_who(f.vmm), &e), 0, "%s", e.text);
}

/* Every test begins with it: the process, placed where it is with a split. */
static void start(const char *name)
{
    kit_need_host();
    make_sandbox();
    f.vmm = kit_start_vmm(name);
    enter(&f.sandbox.home);
    enter(&f.sandbox.overhead);
}

/* Where the kernel says that a thread is, in every hierarchy that is split. */
static const char *place_of(pid_t tid)
{
    const struct cg_host *split = f.sandbox.vcpu.host;
    unsigned sandbox = 0, overhead = 0, elsewhere = 0;

    for (size_t i = 0; i < split->count; i++) {
        const struct cg_hierarchy *h = &split->hierarchies[i];
        const char *place = kit_where(h, tid);

        if (str_eq(place, kit_seen_as(h, f.record.vcpu_path)))
            sandbox++;
        else if (str_eq(place, kit_seen_as(h, f.record.overhead_path)))
            overhead++;
        else
            elsewhere++;
    }
    return sandbox && !overhead && !elsewhere   ? "sandbox"
           : overhead && !sandbox && !elsewhere ? "overhead"
           : !sandbox && !overhead              ? "elsewhere"
                                                : "in several places";
}

static void expect_place(int index, const char *want)
{
    const char *got = place_of(kit_tid_of(index));

    cr_expect_str_eq(got, want, "input:    thread %d \"%s\"\nexpected: %s\ngot:      %s", index,
                     kit_thread_name(index), want, got);
}

static struct scan_result pass_of(enum scan_depth depth)
{
    struct scan_result ret = {0};
    struct err e = ERR_INIT;
    int r = scan_pass(&f.scan, depth, &ret, &e);

    cr_assert(r == 0 && e.code == 0, "scan_pass: %d, %s", r, e.text);
    return ret;
}

static struct scan_result pass(void)
{
    return pass_of(SCAN_CHANGES);
}

static void expect_pass(const struct scan_result *got, size_t threads, size_t overhead_threads,
                        size_t vcpus, size_t placed)
{
    cr_expect(got->threads == threads && got->overhead_threads == overhead_threads &&
                  got->vcpus == vcpus && got->placed == placed,
              "expected: %zu threads, %zu of them in the overhead, %zu vCPUs, %zu placed\n"
              "got:      %zu threads, %zu of them in the overhead, %zu vCPUs, %zu placed",
              threads, overhead_threads, vcpus, placed, got->threads, got->overhead_threads,
              got->vcpus, got->placed);
}

/* --- placing --- */

static const struct {
    const char *name, *place;
} threads[] = {
    {"qemu-system-x86", "overhead"}, /* the main thread */
    {"CPU 0/TCG", "sandbox"},
    {"CPU 1/KVM", "sandbox"},
    {"worker", "overhead"},
    {"vcpu7", "sandbox"},
    {"vcpu", "overhead"},
    {"IO mon_iothread", "overhead"},
    {"fc_vcpu 2", "sandbox"},
    {"CPU x/KVM", "overhead"},
};

static void start_all_threads(void)
{
    start(threads[0].name);
    for (int i = 1; i < (int)ARRAY_SIZE(threads); i++)
        kit_add_thread(0, i, threads[i].name);
}

Test(scan, places_by_name)
{
    const size_t count = ARRAY_SIZE(threads), vcpus = 4;
    struct scan_result got;

    start_all_threads();
    for (int i = 0; i < (int)count; i++)
        expect_place(i, "overhead");
    got = pass();
    expect_pass(&got, count, count, vcpus, vcpus);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < (int)count; i++)
            expect_place(i, threads[i].place);
        got = pass();
        expect_pass(&got, count, count - vcpus, vcpus, vcpus);
    }
}

/* A payload that makes cgroups of its own inside of ours, as libvirt does, hides no vCPU there. */
Test(scan, looks_below)
{
    struct cg_controller below;
    struct err e = ERR_INIT;
    struct scan_result got;

    start("qemu-system-x86");
    kit_add_thread(0, 1, "CPU 0/KVM");
    kit_add_thread(0, 2, "worker");
    if (kit_host.mode == CG_MODE_V2)
        cr_skip_test("processes have no place inside of a threaded domain");
    cg_init(&below, f.sandbox.overhead.host, NULL, kit_sub("overhead/vm"), NULL);
    cr_assert_eq(kit_put_new(&below, &kit_no_limits, NULL, &e), 0, "%s", e.text);
    cr_assert_eq(cg_add_process(&below, kit_who(f.vmm), &e), 0, "%s", e.text);
    got = pass();
    expect_pass(&got, 3, 3, 1, 1);
    cr_expect_eq(got.below, 3);
    expect_place(1, "sandbox");
    expect_place(0, "elsewhere");
    got = pass();
    expect_pass(&got, 3, 2, 1, 1);
    cr_expect_eq(got.below, 2, "the others are left there");
    cr_expect(pass_of(SCAN_QUICK).quick);
    cg_close(&below);
}

Test(scan, empty)
{
    struct scan_result got;

    kit_need_host();
    make_sandbox();
    got = pass();
    expect_pass(&got, 0, 0, 0, 0);
}

/* A vCPU thread's children are born in the sandbox cgroup: workers go back, vCPUs stay. */
Test(scan, born_inside)
{
    struct scan_result got;

    start("vmm");
    kit_add_thread(0, 1, "CPU 0/TCG");
    pass();
    expect_place(1, "sandbox");
    kit_add_thread(1, 2, "worker");
    kit_add_thread(1, 3, "CPU 1/TCG");
    expect_place(2, "sandbox");
    expect_place(3, "sandbox");
    got = pass();
    expect_pass(&got, 4, 1, 2, 2);
    expect_place(0, "overhead");
    expect_place(1, "sandbox");
    expect_place(2, "overhead");
    expect_place(3, "sandbox");
}

/* QEMU names a thread after it has started it. */
Test(scan, renamed)
{
    struct scan_result got;

    start("vmm");
    kit_add_thread(0, 1, "vmm");
    kit_add_thread(0, 2, "vmm");
    got = pass();
    expect_pass(&got, 3, 3, 0, 0);
    kit_rename_thread(1, "CPU 0/TCG");
    got = pass();
    expect_pass(&got, 3, 3, 1, 1);
    expect_place(1, "sandbox");
    expect_place(2, "overhead");
    kit_rename_thread(1, "retired");
    kit_rename_thread(2, "CPU 0/TCG");
    /* While it is young: it may have had the name of the thread that started it. */
    got = pass_of(SCAN_ALL);
    expect_pass(&got, 3, 2, 1, 1);
    expect_place(1, "overhead");
    expect_place(2, "sandbox");
    /* Later a vCPU that takes another name is one all the same. */
    for (size_t i = 0; i < f.scan.count; i++)
        f.scan.threads[i].seen_us -= 3000000;
    kit_rename_thread(2, "hidden");
    got = pass_of(SCAN_ALL);
    expect_pass(&got, 3, 2, 1, 1);
    expect_place(2, "sandbox");
}

/* Of one that is no more young only an event tells, or a pass that looks at everything. */
Test(scan, named)
{
    struct scan_named named = {.count = 0};
    struct scan_result got;

    start("vmm");
    kit_add_thread(0, 1, "vmm");
    kit_add_thread(0, 2, "worker");
    pass();
    for (size_t i = 0; i < f.scan.count; i++)
        f.scan.threads[i].seen_us -= 3000000;
    kit_rename_thread(1, "CPU 0/TCG");
    f.scan.named = &named;
    got = pass();
    expect_pass(&got, 3, 3, 0, 0);
    named = (struct scan_named){{kit_tid_of(2)}, 1};
    got = pass();
    expect_pass(&got, 3, 3, 0, 0);
    named = (struct scan_named){{kit_tid_of(1)}, 1};
    got = pass();
    expect_pass(&got, 3, 3, 1, 1);
    expect_place(1, "sandbox");
    expect_place(2, "overhead");
}

/* Where every name is told, young threads are looked at now and then only. */
Test(scan, names_are_told)
{
    const struct scan_named named = {.count = 0};
    struct scan_result got;
    unsigned long long began;

    start("vmm");
    kit_add_thread(0, 1, "vmm");
    f.scan.named = &named;
    f.scan.names_told = true;
    began = io_now_us();
    pass();
    cr_expect_geq(f.scan.relook_us, began + 3000);
    f.scan.relook_us = io_now_us() + 60000000;
    kit_rename_thread(1, "CPU 0/TCG");
    got = pass();
    expect_pass(&got, 2, 2, 0, 0);
    /* A new one is looked at whatever was told. */
    kit_add_thread(0, 2, "CPU 1/TCG");
    got = pass();
    expect_pass(&got, 3, 3, 1, 1);
    expect_place(2, "sandbox");
    began = f.scan.relook_us = io_now_us();
    got = pass();
    expect_pass(&got, 3, 2, 2, 2);
    expect_place(1, "sandbox");
    cr_expect_geq(f.scan.relook_us, began + 3000, "and so for the next one");
    /* The name that it had when it began is not what it is. */
    for (size_t i = 0; i < f.scan.count; i++)
        f.scan.threads[i].looked_us = f.scan.threads[i].seen_us -= 1000000;
    kit_rename_thread(2, "worker");
    f.scan.relook_us = io_now_us() + 60000000;
    got = pass();
    expect_pass(&got, 3, 1, 2, 2);
    f.scan.names_told = false;
    got = pass();
    expect_pass(&got, 3, 1, 1, 1);
    expect_place(2, "overhead");
}

/* A directory as KVM makes it in debugfs: a VM made by @creator, whose vCPU 0 is @tid. */
static int fake_kvm(char top[static 32], pid_t creator, pid_t tid)
{
    char path[64], text[16];
    autofd vm = FD_NONE, file = FD_NONE;
    int fd;

    snprintf(top, 32, "/tmp/osc-unit-scan-XXXXXX");
    kit_make_dir(top);
    fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof path, "%d-2/vcpu0", (int)creator);
    vm = io_mkdirs(fd, path, 0700);
    file = openat(vm, "pid", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    snprintf(text, sizeof text, "%d\n", (int)tid);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

/* A process that lives somewhere else, or did. */
static pid_t stranger(bool alive)
{
    pid_t pid = kit_start_child();

    if (!alive)
        kit_end_child(pid);
    return pid;
}

/* What KVM says counts whatever the thread's name; but who made the VM decides when it is asked. */
static void check_kvm(pid_t creator, enum scan_depth depth, bool every_vm, bool found)
{
    char top[32];
    struct scan_result got;
    autofd fd = fake_kvm(top, creator, kit_tid_of(2));

    f.scan.kvm_dirfd = fd;
    f.scan.every_vm = every_vm;
    got = pass_of(depth);
    f.scan.kvm_dirfd = FD_NONE;
    kit_remove_tree(top);
    cr_expect_eq(got.vcpus, found, "made by %d, depth %d, every %d: expected %d vCPUs, got %zu",
                 (int)creator, depth, every_vm, found, got.vcpus);
    expect_place(0, "overhead");
    expect_place(1, "overhead");
    expect_place(2, found ? "sandbox" : "overhead");
}

static void start_for_kvm(void)
{
    start("vmm");
    kit_add_thread(0, 1, "a");
    kit_add_thread(0, 2, "b");
}

Test(scan, kvm_of_own_process)
{
    start_for_kvm();
    check_kvm(f.vmm, SCAN_CHANGES, false, true);
}

Test(scan, kvm_of_dead_process)
{
    start_for_kvm();
    check_kvm(stranger(false), SCAN_CHANGES, false, true);
}

Test(scan, kvm_of_stranger)
{
    pid_t pid;

    start_for_kvm();
    pid = stranger(true);
    check_kvm(pid, SCAN_CHANGES, false, false);
    check_kvm(pid, SCAN_CHANGES, true, true);
    kit_end_child(pid);
}

Test(scan, kvm_of_stranger_found_by_all)
{
    pid_t pid;

    start_for_kvm();
    pid = stranger(true);
    check_kvm(pid, SCAN_CHANGES, false, false);
    check_kvm(pid, SCAN_ALL, false, true);
    kit_end_child(pid);
}

/* Whatever its name: the configuration says so. */
Test(scan, configured_pattern)
{
    static char pattern[] = "guest %u";
    static char *patterns[] = {pattern};
    struct scan_result got;

    start("vmm");
    kit_add_thread(0, 1, "guest 0");
    got = pass();
    expect_pass(&got, 2, 2, 0, 0);
    f.settings.vcpu_thread_patterns = (struct json_list){patterns, 1};
    got = pass();
    expect_pass(&got, 2, 2, 1, 1);
    expect_place(1, "sandbox");
}

/* A process of ours is neither counted nor moved, wherever it is. */
static void check_self(size_t slot)
{
    struct scan_result got;

    start("CPU 0/TCG");
    kit_add_thread(0, 1, "CPU 1/TCG");
    f.scan.own[slot] = f.vmm;
    got = pass();
    expect_pass(&got, 1, 1, 1, 1);
    expect_place(0, "overhead");
    expect_place(1, "sandbox");
    f.scan.own[slot] = 0;
    got = pass();
    expect_pass(&got, 2, 1, 2, 2);
    expect_place(0, "sandbox");
}

Test(scan, watcher_is_left_alone)
{
    check_self(0);
}

Test(scan, placeholder_is_left_alone)
{
    check_self(1);
}

/* Where it would be sent to the overhead. */
Test(scan, placeholder_stays_in_the_sandbox)
{
    struct scan_result got;

    start("osc-hold");
    enter(&f.sandbox.vcpu);
    f.scan.own[1] = f.vmm;
    for (int i = 0; i < 2; i++) {
        got = pass();
        expect_pass(&got, 0, 0, 0, 0);
        expect_place(0, "sandbox");
    }
    f.scan.own[1] = 0;
    got = pass();
    expect_pass(&got, 1, 0, 0, 0);
    expect_place(0, "overhead");
}

/* --- threads that end --- */

Test(scan, threads_that_end_meanwhile)
{
    start("vmm");
    kit_add_thread(0, 1, "CPU 0/TCG");
    kit_add_thread(0, 2, "vmm");
    kit_add_thread(0, 3, "vmm");
    /* one that makes threads in the overhead, one in the sandbox */
    kit_start_churn(2);
    kit_rename_thread(3, "CPU 1/TCG");
    pass();
    kit_start_churn(3);
    for (int i = 0; i < 300; i++) {
        struct scan_result got = pass();

        cr_assert(got.threads >= 4 && got.vcpus >= 2 && got.placed >= 2 && got.placed <= got.vcpus,
                  "pass %d: %zu threads, %zu vCPUs, %zu placed", i, got.threads, got.vcpus,
                  got.placed);
    }
    kit_end_churn(2);
    kit_end_churn(3);
    expect_place(0, "overhead");
    expect_place(1, "sandbox");
    expect_place(2, "overhead");
    expect_place(3, "sandbox");
}

Test(scan, ended)
{
    struct scan_result got;

    start_all_threads();
    got = pass();
    kit_end_thread(1);
    got = pass();
    expect_pass(&got, ARRAY_SIZE(threads) - 1, 5, 3, 3);
    kit_end_child(f.vmm);
    f.vmm = 0;
    got = pass();
    expect_pass(&got, 0, 0, 0, 0);
}

/* --- a number that says whether anything changed --- */

Test(scan, print)
{
    uint64_t before, after;

    start_all_threads();
    pass(); /* it moves threads, and they are seen in another order then */
    before = pass().print;
    for (int i = 0; i < 3; i++) {
        after = pass().print;
        cr_expect_eq(after, before, "nothing changed, but the print did");
    }
    kit_rename_thread(3, "worker2");
    after = pass().print;
    cr_expect_neq(after, before, "a thread was renamed");
    kit_rename_thread(3, threads[3].name);
    after = pass().print;
    cr_expect_eq(after, before, "it got its old name back");
    kit_add_thread(0, 10, "late");
    after = pass().print;
    cr_expect_neq(after, before, "a thread came");
    kit_end_thread(10);
    after = pass().print;
    cr_expect_eq(after, before, "it has ended again");
    /* in the sandbox cgroup, too */
    kit_rename_thread(1, "CPU 8/TCG");
    after = pass_of(SCAN_ALL).print;
    cr_expect_neq(after, before, "a vCPU was renamed");
    kit_rename_thread(1, threads[1].name);
    kit_end_thread(7);
    after = pass().print;
    cr_expect_neq(after, before, "a vCPU ended");
}

/* --- passes that do less --- */

Test(scan, quick)
{
    struct scan_result got;

    start("CPU 0/TCG");
    kit_add_thread(0, 1, "CPU 1/TCG");
    kit_add_thread(0, 2, "worker");
    pass();
    got = pass_of(SCAN_QUICK);
    cr_expect(got.quick, "nothing changed, but more than one list was read");
    expect_pass(&got, 3, 1, 2, 2);
    kit_add_thread(2, 3, "CPU 2/TCG");
    got = pass_of(SCAN_QUICK);
    cr_expect_not(got.quick, "a thread came, but nobody looked");
    expect_pass(&got, 4, 2, 3, 3);
    expect_place(3, "sandbox");
    got = pass_of(SCAN_QUICK);
    cr_expect(got.quick, "what the pass before has moved counts as a change");
    kit_end_thread(2);
    got = pass_of(SCAN_QUICK);
    cr_expect_not(got.quick, "a thread went, but nobody looked");
    expect_pass(&got, 3, 0, 3, 3);
}

/* What happens inside the sandbox cgroup is for a thorough pass. */
Test(scan, quick_misses_the_sandbox)
{
    struct scan_result got;

    start("vmm");
    kit_add_thread(0, 1, "CPU 0/TCG");
    pass();
    kit_add_thread(1, 2, "worker");
    got = pass_of(SCAN_QUICK);
    cr_expect(got.quick);
    expect_place(2, "sandbox");
    got = pass_of(SCAN_ALL);
    expect_pass(&got, 3, 1, 1, 1);
    expect_place(2, "overhead");
}

Test(scan, look_moves_nothing)
{
    struct scan_result got;

    start("vmm");
    kit_add_thread(0, 1, "CPU 0/TCG");
    got = pass_of(SCAN_LOOK);
    expect_pass(&got, 2, 2, 1, 0);
    expect_place(1, "overhead");
    pass();
    got = pass_of(SCAN_LOOK);
    expect_pass(&got, 2, 1, 1, 1);
    cr_expect_eq(f.scan.count, 2);
}

/* Before the split every thread is where the sandbox is, and nothing is moved. */
static void start_together(void)
{
    kit_need_host();
    make_sandbox();
    f.vmm = kit_start_vmm("vmm");
    enter(&f.sandbox.home);
    f.scan.hold = true;
}

Test(scan, holds)
{
    const char *home = kit_host.mode == CG_MODE_V2 ? "overhead" : "sandbox";
    struct scan_result got;

    start_together();
    kit_add_thread(0, 1, "CPU 0/TCG");
    for (int i = 0; i < 2; i++) {
        got = pass_of(i ? SCAN_CHANGES : SCAN_ALL);
        cr_expect(got.threads == 2 && got.vcpus == 1, "%zu threads, %zu vCPUs", got.threads,
                  got.vcpus);
        expect_place(0, home);
        expect_place(1, home);
    }
    f.scan.hold = false;
    got = pass();
    cr_expect_eq(got.placed, 1);
    expect_place(0, "overhead");
    expect_place(1, "sandbox");
}

/* The quickest pass looks where threads come, which before a split is the sandbox itself. */
Test(scan, quick_before_the_split)
{
    struct scan_result got;

    start_together();
    pass();
    kit_add_thread(0, 1, "CPU 0/TCG");
    got = pass_of(SCAN_QUICK);
    cr_expect(!got.quick && got.vcpus == 1, "quick %d, %zu vCPUs", got.quick, got.vcpus);
}

/* A settled sandbox is asked before each pass. At once: v1 keeps a list of a second ago. */
static void expect_same(bool want, const char *when)
{
    cr_expect_eq(scan_is_same(&f.scan), want, "%s: expected %d", when, want);
}

static void look_again(void)
{
    (void)scan_is_same(&f.scan);
    pass_of(SCAN_QUICK);
}

Test(scan, same)
{
    start("vmm");
    kit_add_thread(0, 1, "CPU 0/TCG");
    expect_same(false, "nobody has looked");
    pass();
    expect_same(false, "the vCPU has gone from the list");
    pass_of(SCAN_QUICK);
    for (int i = 0; i < 3; i++)
        expect_same(true, "nothing happens");
    kit_add_thread(0, 2, "worker");
    expect_same(false, "a thread has come");
    expect_same(false, "it is there still");
    look_again();
    expect_same(true, "it was seen");
    kit_add_thread(0, 3, "CPU 1/TCG");
    look_again();
    expect_same(false, "a vCPU was moved");
    pass_of(SCAN_ALL);
    expect_same(true, "all of it was looked at");
    kit_end_thread(2);
    expect_same(false, "a thread has gone");
    look_again();
    expect_same(true, "that was seen");
    pass_of(SCAN_QUICK);
    pass_of(SCAN_QUICK);
    expect_same(false, "it was not asked before the last pass");
    pass_of(SCAN_LOOK);
    expect_same(false, "nothing was put in its place");
    look_again();
    expect_same(true, "it was seen");
    scan_look_again(&f.scan);
    expect_same(false, "something is known that was not");
    cr_expect_not(pass_of(SCAN_QUICK).quick);
}

Test(scan, same_before_the_split)
{
    start_together();
    look_again();
    expect_same(true, "nothing happens");
    kit_add_thread(0, 1, "CPU 0/TCG");
    expect_same(false, "a vCPU has come");
    look_again();
    expect_same(true, "it was seen");
}

Test(scan, same_with_cgroups_inside)
{
    struct cg_controller inside;
    struct err e = ERR_INIT;

    start("vmm");
    look_again();
    expect_same(true, "nothing happens");
    cg_init(&inside, f.sandbox.overhead.host, NULL,
            kit_sub(kit_host.mode == CG_MODE_V2 ? "sandbox/inside" : "overhead/inside"), NULL);
    cr_assert_eq(kit_put_new(&inside, &kit_no_limits, NULL, &e), 0, "%s", e.text);
    expect_same(false, "there is one more");
    look_again();
    expect_same(false, "what comes there directly is not in the list");
    cr_assert_eq(cg_delete(&inside, 1000, &e), 0, "%s", e.text);
    look_again();
    expect_same(true, "it has gone");
    cg_close(&inside);
}

/* VMMs are in the sandbox, whatever is apart. */
Test(scan, vmms)
{
    struct cg_pids pids;
    pid_t own;

    start("vmm");
    own = kit_start_child();
    cr_assert_eq(cg_add_process(&f.sandbox.home, kit_who(own), NULL), 0);
    f.scan.own[1] = own;
    cr_assert_eq(scan_vmms(&f.scan, &kit_arena, &pids, NULL), 0);
    cr_expect(pids.count == 1 && pids.items[0] == f.vmm, "%zu", pids.count);
}

/* Where the kernel can tell it is asked, in every layout. */
Test(scan, needs_evidence)
{
    static const enum evidence words[] = {EVIDENCE_AUTO, EVIDENCE_KERNEL, EVIDENCE_NAME};
    const bool known = access("/dev/kvm", F_OK) == 0 || access("/dev/mshv", F_OK) == 0;

    kit_need_host();
    make_sandbox();
    for (size_t i = 0; i < ARRAY_SIZE(words) * 2; i++) {
        enum evidence word = words[i / 2];

        f.sandbox.is_nested = i % 2;
        f.settings.vcpu_evidence = word;
        cr_expect_eq(scan_needs_evidence(&f.scan),
                     word == EVIDENCE_KERNEL || (word == EVIDENCE_AUTO && known), "%d, nested %zu",
                     word, i % 2);
    }
}

/* --- what another source says --- */

Test(scan, told)
{
    struct vcpu_kvm_thread item = {.index = 5};
    const struct vcpu_kvm told = {&item, 1};
    struct scan_result got;
    size_t found = 0;

    start("vmm");
    kit_add_thread(0, 1, "secret");
    pass();
    item.tid = kit_tid_of(1);
    f.scan.told = &told;
    got = pass();
    expect_pass(&got, 2, 2, 1, 1);
    expect_place(1, "sandbox");
    for (size_t i = 0; i < f.scan.count; i++) {
        const struct scan_thread *t = &f.scan.threads[i];

        if (t->tid != item.tid)
            continue;
        found++;
        cr_expect_eq(t->source, VCPU_QMP);
        cr_expect_eq(t->index, 5);
        cr_expect(t->inside && t->placed_us >= t->seen_us && t->seen_us > 0);
    }
    cr_expect_eq(found, 1);
}

/* --- together again --- */

static void reunite(void)
{
    struct err e = ERR_INIT;

    cr_assert_eq(scan_reunite(&f.scan, &e), 0, "%s", e.text);
}

Test(scan, reunites)
{
    start("vmm");
    kit_add_thread(0, 1, "CPU 0/TCG");
    kit_add_thread(0, 2, "worker");
    pass();
    expect_place(0, "overhead");
    for (int i = 0; i < 2; i++) {
        reunite();
        for (int k = 0; k <= 2; k++)
            expect_place(k, "sandbox");
    }
}

static void check_reunite(size_t slot)
{
    struct kit_vmm *first;
    struct err e = ERR_INIT;
    pid_t other;

    start("vmm");
    first = kit_this_vmm();
    other = kit_start_vmm("other");
    cr_assert_eq(cg_add_process(&f.sandbox.home, kit_who(other), &e), 0, "%s", e.text);
    cr_assert_eq(cg_add_process(&f.sandbox.overhead, kit_who(other), &e), 0, "%s", e.text);
    f.scan.own[slot] = f.vmm;
    reunite();
    expect_place(0, "sandbox");
    kit_use_vmm(first);
    expect_place(0, "overhead"); /* the one that is not to be touched */
    kit_end_child(other);
}

Test(scan, reunite_leaves_the_watcher_alone)
{
    check_reunite(0);
}

Test(scan, reunite_leaves_the_placeholder_alone)
{
    check_reunite(1);
}

/* --- failures --- */

/* Remove a cgroup under the one that has it open. */
static void remove_under(const char *path)
{
    struct cg_controller twin;
    struct err e = ERR_INIT;

    cg_init(&twin, f.sandbox.vcpu.host, NULL, path, NULL);
    cr_assert_eq(cg_load(&twin, &e), 0, "%s", e.text);
    cr_assert_eq(cg_delete(&twin, 0, &e), 0, "%s", e.text);
    cg_close(&twin);
}

static void expect_failure(const char *path)
{
    struct scan_result got;
    struct err e = ERR_INIT;
    int r = scan_pass(&f.scan, SCAN_CHANGES, &got, &e);

    cr_expect(r < 0 && strstr(e.text, path), "expected: a failure with %s\ngot:      %d, %s", path,
              r, e.text);
}

/* The failure names the cgroup, and the thread stays where it is. */
Test(scan, sandbox_cgroup_gone)
{
    start("vmm");
    if (kit_host.mode == CG_MODE_V2)
        cr_skip_test("the domain of a threaded cgroup cannot be removed alone");
    kit_add_thread(0, 1, "CPU 0/TCG");
    remove_under(f.record.sandbox_path);
    expect_failure(f.record.sandbox_path);
    expect_place(1, "overhead");
}

/* What cannot be sent to the overhead stays. */
Test(scan, overhead_cgroup_gone)
{
    start("vmm");
    if (kit_host.mode == CG_MODE_V2)
        cr_skip_test("the test removes v1 directories");
    kit_add_thread(0, 1, "CPU 0/TCG");
    enter(&f.sandbox.vcpu);
    remove_under(f.record.overhead_path);
    expect_failure(f.record.overhead_path);
    expect_place(0, "sandbox");
    expect_place(1, "sandbox");
}
