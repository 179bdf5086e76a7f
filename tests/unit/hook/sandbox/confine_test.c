/* SPDX-License-Identifier: Apache-2.0 */

/* What a watcher and a placeholder cannot do any more, and what goes on. */

#include "hook/sandbox/confine.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "hook/sandbox/child.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* --- what a child tries --- */

struct tried {
    int fork, exec, unshare, process_vm, bpf; /* errno; 0: it could */
    int read, wait, affinity, signal, talk;   /* the same, of what it has to do */
    int dumpable;
    int prepare_unshare, prepare_privileged; /* before it was confined */
    _Atomic bool prepared, done;
};

static struct tried *tried;

static int result_of(long r)
{
    return r < 0 ? errno : 0;
}

static int try_fork(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return result_of(pid);
}

static int try_read(void)
{
    autofd fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    char byte;

    return result_of(fd < 0 ? -1 : read(fd, &byte, 1));
}

static int try_affinity(void)
{
    cpu_set_t cpus;

    return result_of(sched_getaffinity(0, sizeof cpus, &cpus) < 0
                         ? -1
                         : sched_setaffinity(0, sizeof cpus, &cpus));
}

static void try_things(const void *arg)
{
    const struct timespec moment = {.tv_nsec = 1000};
    char *const none[] = {NULL};
    autofd fd = FD_NONE;

    (void)arg;
    tried->fork = try_fork();
    /* There is no such program: only a filter says otherwise. */
    tried->exec = result_of(execve("/none", none, none));
    tried->unshare = result_of(unshare(0));
    tried->process_vm = result_of(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0));
    tried->bpf = result_of(syscall(SYS_bpf, -1, NULL, 0));
    tried->read = try_read();
    tried->wait = result_of(nanosleep(&moment, NULL));
    tried->affinity = try_affinity();
    tried->signal = result_of(kill(getpid(), 0));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tried->talk = result_of(fd);
    tried->dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    tried->done = true;
    for (;;)
        pause();
}

static void try_before(const void *arg)
{
    (void)arg;
    tried->prepare_unshare = result_of(unshare(0));
    tried->prepare_privileged = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    tried->prepared = true;
}

/* --- looking at it --- */

static struct child child;

static void begin(void)
{
    tried = mmap(NULL, sizeof *tried, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(tried, MAP_FAILED);
    signal(SIGPIPE, SIG_IGN);
}

TestSuite(confine, .init = begin, .fini = kit_end_forked, .timeout = 180);

static void start_prepared(const char *name, void (*prepare)(const void *arg))
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    cr_assert_eq(child_fork_prepared(name, prepare, try_things, NULL, &child, NULL), 0);
    cr_expect_not(tried->prepared, "it was not let go");
    kit_track(&child.id);
    cr_assert_eq(child_go(&child, NULL), 0);
    while (!tried->done) {
        cr_assert_lt(io_now_us(), deadline, "it does not run");
        io_sleep_ms(1);
    }
}

static void start(const char *name)
{
    start_prepared(name, NULL);
}

/* A number of /proc/PID/status. */
static unsigned long long status(pid_t pid, const char *key, int base)
{
    char path[64], line[256];
    unsigned long long ret = ~0ull;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
            ret = strtoull(line + strlen(key) + 1, NULL, base);
    }
    fclose(f);
    return ret;
}

static void expect_caps(uint64_t caps)
{
    pid_t pid = child.id.pid;

    cr_expect_eq(status(pid, "CapPrm", 16), caps);
    cr_expect_eq(status(pid, "CapEff", 16), caps);
    cr_expect_eq(status(pid, "CapInh", 16), 0);
    cr_expect_eq(status(pid, "CapAmb", 16), 0);
    /* Who has none to begin with cannot drop from it, either. */
    if (geteuid() == 0)
        cr_expect_eq(status(pid, "CapBnd", 16), 0);
}

/* --- the tests --- */

Test(confine, caps_of_a_watcher)
{
    const uint64_t four = UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_KILL |
                          UINT64_C(1) << CAP_SYS_NICE | UINT64_C(1) << CAP_SYS_PTRACE;

    cr_expect_eq(confine_watcher_caps(), four);
    start(CHILD_WATCHER);
    expect_caps(four & status(getpid(), "CapPrm", 16));
    cr_expect_eq(status(child.id.pid, "NoNewPrivs", 10), 1);
    cr_expect_eq(tried->dumpable, 0);
}

Test(confine, caps_of_a_placeholder)
{
    start("osc-hold");
    expect_caps(0);
    cr_expect_eq(status(child.id.pid, "NoNewPrivs", 10), 1);
    cr_expect_eq(tried->dumpable, 0);
}

/* Its parent is as it was. */
Test(confine, nobody_else)
{
    unsigned long long caps = status(getpid(), "CapEff", 16);
    unsigned long long privileged = status(getpid(), "NoNewPrivs", 10);

    start(CHILD_WATCHER);
    cr_expect_eq(status(getpid(), "CapEff", 16), caps);
    cr_expect_eq(status(getpid(), "NoNewPrivs", 10), privileged);
    cr_expect_eq(try_fork(), 0);
}

Test(confine, system_calls)
{
    start(CHILD_WATCHER);
    cr_expect_eq(status(child.id.pid, "Seccomp", 10), confine_has_filter() ? 2 : 0);
    if (confine_has_filter()) {
        cr_expect_eq(tried->exec, EPERM);
        cr_expect_eq(tried->unshare, EPERM);
        cr_expect_eq(tried->process_vm, EPERM);
        cr_expect_eq(tried->bpf, EPERM);
    } else {
        cr_expect_eq(tried->exec, ENOENT);
        cr_expect_eq(tried->unshare, 0);
    }
    /* Somebody has to ask VMMs, see hook/vcpu/ask.h. */
    cr_expect_eq(tried->fork, 0);
    cr_expect(tried->read == 0 && tried->wait == 0 && tried->affinity == 0 && tried->signal == 0 &&
                  tried->talk == 0,
              "read %d, wait %d, affinity %d, signal %d, talk %d", tried->read, tried->wait,
              tried->affinity, tried->signal, tried->talk);
}

/* What takes more than it may do later is done before. */
Test(confine, prepared)
{
    start_prepared(CHILD_WATCHER, try_before);
    cr_expect(tried->prepared);
    cr_expect_eq(tried->prepare_unshare, 0);
    cr_expect_eq(tried->prepare_privileged, (int)status(getpid(), "NoNewPrivs", 10));
    cr_expect_eq(status(child.id.pid, "NoNewPrivs", 10), 1);
    if (confine_has_filter())
        cr_expect_eq(tried->unshare, EPERM);
}

Test(confine, descriptors)
{
    char fds[64];

    kit_need_sight();
    start(CHILD_WATCHER);
    cr_expect_str_eq(kit_list_fds(child.id.pid, fds, sizeof fds), "0 1 2 3");
}
