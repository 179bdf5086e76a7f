/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/vcpu/vmm.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define NO_ID (-1)

static const struct {
    const char *link;
    enum vmm_fd want;
    int id;
} links[] = {
    {"anon_inode:kvm-vm", VMM_FD_VM, NO_ID},
    {"anon_inode:kvm-vcpu:0", VMM_FD_VCPU, 0},
    {"anon_inode:kvm-vcpu:17", VMM_FD_VCPU, 17},
    {"anon_inode:kvm-vcpu:2147483647", VMM_FD_VCPU, 2147483647},
    {"anon_inode:kvm-vcpu", VMM_FD_VCPU_WITHOUT, NO_ID},
    {"anon_inode:kvm-vcpu:", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu:x", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu:1x", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu:-1", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu: 1", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu:2147483648", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu:99999999999999999999", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu:0 (deleted)", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpus:1", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vcpu-stats:1", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vm-stats", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-vm:1", VMM_FD_OTHER, NO_ID},
    {"anon_inode:kvm-device", VMM_FD_OTHER, NO_ID},
    {"anon_inode:[eventfd]", VMM_FD_OTHER, NO_ID},
    {"/anon_inode:kvm-vcpu:0", VMM_FD_OTHER, NO_ID},
    {"/dev/kvm", VMM_FD_OTHER, NO_ID},
    {"socket:[1]", VMM_FD_OTHER, NO_ID},
    {"", VMM_FD_OTHER, NO_ID},
};

Test(vmm, fd_classify)
{
    for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
        int id = NO_ID;
        enum vmm_fd got = vmm_fd_classify(links[i].link, &id);

        cr_expect(got == links[i].want && id == links[i].id,
                  "input:    \"%s\"\nexpected: %d %d\ngot:      %d %d", links[i].link,
                  (int)links[i].want, links[i].id, (int)got, id);
    }
}

static const char *shown(struct arena *a, int r, const struct vmm_fds *fds)
{
    char *text = arena_printf(a, "%d: %zu%s%s", r, fds->count, fds->has_vm ? " vm" : "",
                              fds->has_more ? " more" : "");

    for (size_t i = 0; i < fds->id_count; i++)
        text = arena_printf(a, "%s %d", text, fds->ids[i]);
    return text;
}

static const char *read_shown(struct arena *a, pid_t pid)
{
    struct vmm_fds fds;
    int r;

    memset(&fds, 0x5a, sizeof fds);
    r = vmm_fds_read(pid, a, &fds);
    return shown(a, r, &fds);
}

Test(vmm, no_vmm)
{
    autoarena a = ARENA_INIT;
    const char *got = read_shown(&a, getpid());

    cr_expect_str_eq(got, "0: 0", "got: %s", got);
}

/* The descriptors of a zombie are root's, whoever it was. */
Test(vmm, zombie)
{
    autoarena a = ARENA_INIT;
    siginfo_t info;
    const char *got;
    char path[64];
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    if (access(path, R_OK) < 0)
        cr_skip_test("only root can look into a zombie");
    got = read_shown(&a, pid);
    cr_expect_str_eq(got, "0: 0", "got: %s", got);
    waitpid(pid, NULL, 0);
}

/* One that was collected, and ids that are none. */
Test(vmm, ended)
{
    autoarena a = ARENA_INIT;
    const char *got;
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    got = read_shown(&a, pid);
    cr_expect_str_eq(got, "0: 0", "an ended process: %s", got);
    got = read_shown(&a, 0);
    cr_expect_str_eq(got, "0: 0", "process 0: %s", got);
    got = read_shown(&a, -1);
    cr_expect_str_eq(got, "0: 0", "process -1: %s", got);
}

Test(vmm, not_permitted)
{
    autoarena a = ARENA_INIT;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        cr_skip_test("only root can become somebody else");
    pid = fork();
    if (pid == 0) {
        struct vmm_fds fds;

        if (setuid(65534) < 0)
            _exit(2);
        _exit(vmm_fds_read(getppid(), &a, &fds) == -EACCES && fds.count == 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

/* More descriptors than are looked at: the rest is not waited for. */
Test(vmm, bounded)
{
    const struct rlimit limit = {VMM_FDS_MAX + 100, VMM_FDS_MAX + 100};
    autoarena a = ARENA_INIT;
    size_t count = 0;
    const char *got;
    int *fds = NULL, fd;

    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        cr_skip_test("cannot have %d descriptors: %s", VMM_FDS_MAX, strerrorname_np(errno));
    while ((fd = dup(STDERR_FILENO)) >= 0)
        *(int *)arena_push(&a, &fds, &count, sizeof *fds) = fd;
    for (size_t spare = 8; spare > 0; spare--)
        close(fds[--count]);
    got = read_shown(&a, getpid());
    while (count > 0)
        close(fds[--count]);
    cr_expect_str_eq(got, "0: 0 more", "got: %s", got);
}

/* --- with KVM --- */

static int open_vm(int *ret_kvm)
{
    int vm;

    *ret_kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (*ret_kvm < 0)
        cr_skip_test("no /dev/kvm: %s", strerrorname_np(errno));
    vm = ioctl(*ret_kvm, KVM_CREATE_VM, 0UL);
    if (vm < 0)
        cr_skip_test("KVM makes no VM here: %s", strerrorname_np(errno));
    return vm;
}

Test(vmm, kvm)
{
    autoarena a = ARENA_INIT;
    struct vmm_fds fds;
    const char *got;
    int kvm, vm = open_vm(&kvm), vcpus[3], copy;

    got = read_shown(&a, getpid());
    cr_expect_str_eq(got, "0: 0 vm", "a VM without a vCPU: %s", got);
    vcpus[0] = ioctl(vm, KVM_CREATE_VCPU, 5UL);
    vcpus[1] = ioctl(vm, KVM_CREATE_VCPU, 0UL);
    vcpus[2] = ioctl(vm, KVM_CREATE_VCPU, 1UL);
    cr_assert(vcpus[0] >= 0 && vcpus[1] >= 0 && vcpus[2] >= 0, "%d", errno);
    copy = dup(vcpus[0]);
    cr_expect_eq(vmm_fds_read(getpid(), &a, &fds), 0);
    /* A kernel that does not write the ids counts the copy, too. */
    got = shown(&a, 0, &fds);
    cr_expect_str_eq(got, fds.id_count > 0 ? "0: 3 vm 0 1 5" : "0: 4 vm", "got: %s", got);
    close(copy);
    close(vcpus[0]);
    close(vcpus[1]);
    cr_expect_eq(vmm_fds_read(getpid(), &a, &fds), 0);
    cr_expect_eq(fds.count, 1);
    close(vcpus[2]);
    close(vm);
    close(kvm);
    got = read_shown(&a, getpid());
    cr_expect_str_eq(got, "0: 0", "everything closed: %s", got);
}

/* Of another process. */
Test(vmm, kvm_of_a_child)
{
    autoarena a = ARENA_INIT;
    int kvm, vm = open_vm(&kvm), go[2];
    const char *got;
    char byte;
    pid_t pid;

    cr_assert_eq(pipe2(go, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        /* The VM is bound to who made it: make an own one. */
        int own;

        close(vm);
        own = ioctl(kvm, KVM_CREATE_VM, 0UL);
        if (own >= 0 && ioctl(own, KVM_CREATE_VCPU, 2UL) >= 0 && write(go[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(vm);
    close(go[1]);
    cr_assert_eq(read(go[0], &byte, 1), 1);
    got = read_shown(&a, pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(go[0]);
    close(kvm);
    cr_expect(str_eq(got, "0: 1 vm 2") || str_eq(got, "0: 1 vm"), "got: %s", got);
}
