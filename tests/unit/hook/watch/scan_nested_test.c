/* SPDX-License-Identifier: Apache-2.0 */

/* A pass that only looks, and one that believes the kernel alone, in a tree of the test's own. */

#include "hook/watch/scan.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct fixture {
    struct kit_stage stage;
    struct cg_host host;
    struct sandbox sandbox;
    struct scan scan;
    pid_t vmm;
} f;

static void begin(void)
{
    static char home[] = "/p/c", child[] = "/p/c/kata_vcpu", layout[] = "nested";
    const struct record r = {
        .layout = layout, .sandbox_path = home, .vcpu_path = child, .overhead_path = home};
    const struct cg_change none = {0};

    kit_begin_stage(&f.stage, CG_MODE_V2);
    f.vmm = kit_start_vmm("qemu");
    kit_tree_enter(f.vmm, home, "vmm");
    cr_assert_eq(cg_host_open(&f.stage.a, &f.host, NULL), 0);
    sandbox_init(&f.sandbox, &f.host, NULL, &r);
    cr_assert_eq(cg_create(&f.sandbox.vcpu, &none, NULL), 0);
    cr_assert_eq(sandbox_load(&f.sandbox, NULL), 0);
    f.scan =
        (struct scan){.sandbox = &f.sandbox, .settings = &f.stage.settings, .kvm_dirfd = FD_NONE};
}

static void end(void)
{
    fd_close(&f.scan.kvm_dirfd);
    scan_free(&f.scan);
    sandbox_close(&f.sandbox);
    cg_host_close(&f.host);
    kit_end_stage(&f.stage);
}

TestSuite(scan_nested, .init = begin, .fini = end);

static struct scan_result pass(enum scan_depth depth)
{
    struct scan_result got;
    struct err e = ERR_INIT;

    cr_assert_eq(scan_pass(&f.scan, depth, &got, &e), 0, "%s", e.text);
    return got;
}

static void expect_vcpus(size_t want, const char *what)
{
    cr_expect_eq(pass(SCAN_ALL).vcpus, want, "%s", what);
}

Test(scan_nested, holds)
{
    struct scan_result got;

    kit_add_thread(0, 1, "CPU 0/KVM");
    f.scan.hold = true;
    got = pass(SCAN_CHANGES);
    cr_expect(got.vcpus == 1 && got.placed == 0 && got.overhead_threads == 2);
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(1)), 0);
    f.scan.hold = false;
    got = pass(SCAN_CHANGES);
    cr_expect(got.vcpus == 1 && got.placed == 1);
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(1)), 1);
    f.scan.hold = true;
    got = pass(SCAN_ALL);
    cr_expect(got.vcpus == 1 && got.placed == 1 && got.overhead_threads == 1);
}

/* However many there are, no more than so many are looked at. */
Test(scan_nested, looks_at_so_many)
{
    struct scan_result got;

    kit_add_thread(0, 1, "CPU 0/KVM");
    kit_add_thread(0, 2, "CPU 1/KVM");
    f.scan.most = 2;
    got = pass(SCAN_CHANGES);
    cr_expect(got.threads == 2 && got.skipped == 1 && got.vcpus <= 2);
    f.scan.most = 0;
    got = pass(SCAN_CHANGES);
    cr_expect(got.threads == 3 && got.skipped == 0 && got.placed == 2);
}

/* The VMMs are where the runtime has put them, whatever is apart. */
Test(scan_nested, vmms)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;

    cr_assert_eq(scan_vmms(&f.scan, &a, &pids, NULL), 0);
    cr_expect(pids.count == 1 && pids.items[0] == f.vmm);
}

/* One thread that cannot be moved is in no other's way. */
Test(scan_nested, moves_what_can_be_moved)
{
    struct scan_result got;
    struct err e = ERR_INIT;

    for (int i = 0; i < 3; i++)
        kit_add_thread(0, i + 1, i == 0 ? "CPU 0/KVM" : i == 1 ? "CPU 1/KVM" : "CPU 2/KVM");
    kit_tree_hold(kit_tid_of(1));
    cr_expect_eq(scan_pass(&f.scan, SCAN_CHANGES, &got, &e), -EINVAL);
    cr_expect(e.text[0], "says why");
    cr_expect(got.whole && got.vcpus == 3 && got.placed == 2);
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(1)), 0);
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(2)), 1);
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(3)), 1);
    unlink(arena_printf(&f.stage.a, "%s/held-%d", kit_tree_dir, (int)kit_tid_of(1)));
    cr_expect_eq(pass(SCAN_CHANGES).placed, 3, "when it can be moved it is");
}

Test(scan_nested, believes_no_name)
{
    kit_add_thread(0, 1, "CPU 0/KVM");
    f.scan.kernel_evidence = true;
    expect_vcpus(0, "a name alone");
    kit_tree_has_vcpus(f.vmm, 1);
    expect_vcpus(1, "with a descriptor");
}

/* A name only says which. */
Test(scan_nested, believes_no_more_names_than_there_are_vcpus)
{
    const char *fds = arena_printf(&f.stage.a, "%s/fd-%d", kit_tree_dir, (int)f.vmm);

    kit_add_thread(0, 1, "CPU 0/KVM");
    kit_add_thread(0, 2, "CPU 1/KVM");
    f.scan.kernel_evidence = true;
    kit_tree_has_vcpus(f.vmm, 2);
    expect_vcpus(2, "both");
    kit_add_thread(0, 3, "CPU 2/KVM");
    expect_vcpus(2, "one too many");
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(1)), 1);
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(2)), 1);
    kit_tree_ran_guest(kit_tid_of(3));
    expect_vcpus(2, "the kernel knows one of them, and it is the third");
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(3)), 1);
    cr_expect_eq(
        cg_holds(&f.sandbox.vcpu, kit_tid_of(1)) + cg_holds(&f.sandbox.vcpu, kit_tid_of(2)), 1);
    /* What cannot be read is not none: who is in there stays, and nobody joins. */
    kit_remove_tree(fds);
    kit_write_file(fds, "");
    kit_add_thread(0, 4, "CPU 3/KVM");
    expect_vcpus(2, "not known");
    cr_expect_eq(cg_holds(&f.sandbox.vcpu, kit_tid_of(4)), 0);
}

Test(scan_nested, believes_a_name)
{
    kit_add_thread(0, 1, "CPU 0/KVM");
    expect_vcpus(1, "a name alone");
}

Test(scan_nested, believes_no_descriptor_alone)
{
    kit_add_thread(0, 1, "worker");
    f.scan.kernel_evidence = true;
    kit_tree_has_vcpus(f.vmm, 1);
    expect_vcpus(0, "which thread?");
}

Test(scan_nested, believes_guest_time)
{
    kit_add_thread(0, 1, "worker");
    kit_add_thread(0, 2, "CPU 0/KVM");
    f.scan.kernel_evidence = true;
    kit_tree_ran_guest(kit_tid_of(1));
    expect_vcpus(1, "without a name");
    kit_tree_ran_guest(kit_tid_of(2));
    expect_vcpus(2, "whatever the name");
}

Test(scan_nested, believes_debugfs)
{
    const char *top = arena_printf(&f.stage.a, "%s/kvm", kit_tree_dir);
    const char *vm = arena_printf(&f.stage.a, "%s/%d-2/vcpu0", top, (int)f.vmm);
    autofd dir = io_mkdirs(AT_FDCWD, vm, 0700), file = FD_NONE;
    const char *text;

    kit_add_thread(0, 1, "worker");
    text = arena_printf(&f.stage.a, "%d\n", (int)kit_tid_of(1));
    file = openat(dir, "pid", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    f.scan.kernel_evidence = true;
    f.scan.kvm_dirfd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    expect_vcpus(1, "KVM says so");
}

/* A VMM's own word is one as its names are. */
Test(scan_nested, believes_no_vmm)
{
    struct vcpu_kvm_thread item = {0};
    struct vcpu_kvm told = {.items = &item, .count = 1};

    kit_add_thread(0, 1, "worker");
    item = (struct vcpu_kvm_thread){kit_tid_of(1), 0};
    f.scan.told = &told;
    f.scan.kernel_evidence = true;
    expect_vcpus(0, "QMP alone");
    kit_tree_has_vcpus(f.vmm, 1);
    expect_vcpus(1, "with a descriptor");
}
