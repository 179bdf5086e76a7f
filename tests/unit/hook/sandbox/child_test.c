/* SPDX-License-Identifier: Apache-2.0 */

/* Processes of ours that outlive a stage. */

#include "hook/sandbox/child.h"

#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NAME "osc-unit-child"

/* --- shared with the children --- */

struct shared {
    _Atomic int ran; /* how often @run was called */
    _Atomic pid_t pid;
    _Atomic uint64_t start_time;
};

static struct shared *shared;

static void begin(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(shared, MAP_FAILED);
    signal(SIGPIPE, SIG_IGN); /* as main() does */
}

TestSuite(child, .init = begin, .fini = kit_end_forked, .timeout = 180);

/* --- what a child may do --- */

static void count(const void *arg)
{
    shared->ran += *(const int *)arg;
}

static void count_and_wait(const void *arg)
{
    count(arg);
    for (;;)
        pause();
}

static void ignore_sigterm(const void *arg)
{
    signal(SIGTERM, SIG_IGN);
    count_and_wait(arg);
}

static const int one = 1;

/* --- looking at a child --- */

static void wait_for_run(void)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    while (shared->ran == 0) {
        cr_assert_lt(io_now_us(), deadline, "it does not run");
        io_sleep_ms(1);
    }
}

static struct child fork_or_fail(void (*run)(const void *arg))
{
    struct child c;
    struct err e = ERR_INIT;

    cr_assert_eq(child_fork(NAME, run, &one, &c, &e), 0, "%s", e.text);
    cr_assert(c.id.pid > 0 && c.go_fd >= 0);
    kit_track(&c.id);
    return c;
}

static const char *link_of(pid_t pid, const char *name, char buf[static PATH_MAX])
{
    char path[64];
    ssize_t len;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    len = readlink(path, buf, PATH_MAX - 1);
    buf[len < 0 ? 0 : len] = '\0';
    return buf;
}

/* --- waiting to be let go --- */

Test(child, waits_until_it_is_let_go)
{
    struct child c = fork_or_fail(count);

    kit_wait_for_name(c.id.pid, CHILD_WAITING);
    io_sleep_ms(KIT_MOMENT_MS);
    cr_expect(shared->ran == 0 && kit_is_running(c.id.pid), "it did not wait");
    cr_expect(fcntl(c.go_fd, F_GETFD) & FD_CLOEXEC);
    cr_expect_eq(child_go(&c, NULL), 0);
    cr_expect_eq(c.go_fd, FD_NONE);
    cr_expect(kit_has_exited(kit_wait_status(c.id.pid)));
    cr_expect_eq(shared->ran, 1);
    cr_expect_neq(c.id.pid, 0, "it is still known");
    cr_expect_eq(child_go(&c, NULL), 0); /* there is nobody to be let go */
}

Test(child, aborted)
{
    struct child c = fork_or_fail(count), none = CHILD_INIT;
    pid_t pid = c.id.pid;

    child_abort(&c);
    cr_expect(c.id.pid == 0 && c.go_fd == FD_NONE);
    cr_expect(waitpid(pid, NULL, WNOHANG) < 0 && errno == ECHILD, "it was not waited for");
    cr_expect_eq(shared->ran, 0);
    child_abort(&c);
    child_abort(&none);
    cr_expect(none.id.pid == 0 && none.go_fd == FD_NONE);
}

/* One that was ended by somebody else. */
Test(child, aborted_after_its_end)
{
    struct child zombie = fork_or_fail(count), gone = fork_or_fail(count);

    cr_assert_eq(proc_signal(&zombie.id, SIGKILL), 0);
    cr_assert_eq(proc_signal(&gone.id, SIGKILL), 0);
    kit_wait_status(gone.id.pid);
    child_abort(&zombie);
    child_abort(&gone);
    cr_expect(zombie.id.pid == 0 && gone.id.pid == 0 && shared->ran == 0);
}

/* The message about it is no failure. */
Test(child, let_go_after_its_end)
{
    struct child c = fork_or_fail(count);
    struct err e = ERR_INIT;

    cr_assert_eq(proc_signal(&c.id, SIGKILL), 0);
    cr_expect(kit_was_killed(kit_wait_status(c.id.pid), SIGKILL));
    cr_expect_eq(child_go(&c, &e), -EPIPE);
    cr_expect(strstr(e.text, "cannot let process"), "%s", e.text);
    child_abort(&c);
    cr_expect_eq(c.go_fd, FD_NONE);
    cr_expect_eq(shared->ran, 0);
}

/* A stage that was killed before everything was in its place. */
Test(child, ends_with_its_parent)
{
    struct proc_id id;
    pid_t parent;

    prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that it is ours to wait for */
    parent = fork();
    cr_assert_geq(parent, 0);
    if (parent == 0) {
        struct child c;

        if (child_fork(NAME, count, &one, &c, NULL) < 0)
            _exit(1);
        shared->start_time = c.id.start_time;
        shared->pid = c.id.pid;
        for (;;)
            pause();
    }
    for (int ms = 0; shared->pid == 0 && ms < KIT_PATIENCE_MS; ms++)
        io_sleep_ms(1);
    id = (struct proc_id){shared->pid, shared->start_time};
    cr_assert_gt(id.pid, 0);
    kit_wait_for_name(id.pid, CHILD_WAITING);
    cr_expect_eq(proc_alive(&id), 1);
    kill(parent, SIGKILL);
    kit_wait_status(parent);
    cr_expect(kit_has_exited(kit_wait_status(id.pid)));
    cr_expect_eq(shared->ran, 0);
}

/* One that was let go does not. */
Test(child, outlives_its_parent)
{
    struct proc_id id;
    pid_t parent;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    parent = fork();
    cr_assert_geq(parent, 0);
    if (parent == 0) {
        struct child c;

        if (child_fork(NAME, count_and_wait, &one, &c, NULL) < 0)
            _exit(1);
        cr_expect_eq(child_go(&c, NULL), 0);
        shared->start_time = c.id.start_time;
        shared->pid = c.id.pid;
        _exit(0);
    }
    cr_expect(kit_has_exited(kit_wait_status(parent)));
    id = (struct proc_id){shared->pid, shared->start_time};
    kit_track(&id);
    wait_for_run();
    io_sleep_ms(KIT_MOMENT_MS);
    cr_expect_eq(proc_alive(&id), 1);
}

/* Right after child_go() it may not have been scheduled yet; it works all the same. */
Test(child, works_when_let_go)
{
    for (int round = 0; round < 4; round++) {
        struct child c = fork_or_fail(count_and_wait);
        struct proc_id id = c.id;

        cr_expect_eq(child_go(&c, NULL), 0);
        cr_expect_eq(child_works(&id), 1, "round %d", round);
        cr_expect_eq(child_stop(&id, NULL), 0);
        kit_wait_status(id.pid);
        cr_expect_eq(child_works(&id), 0);
    }
}

/* Right after its stage was killed it may still wait; nobody may count on it. */
Test(child, does_not_work_when_its_stage_was_killed)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int round = 0; round < 20; round++) {
        struct proc_id id;
        pid_t parent;

        shared->pid = 0;
        parent = fork();
        cr_assert_geq(parent, 0);
        if (parent == 0) {
            struct child c;

            if (child_fork(NAME, count, &one, &c, NULL) < 0)
                _exit(1);
            shared->start_time = c.id.start_time;
            shared->pid = c.id.pid;
            for (;;)
                pause();
        }
        while (shared->pid == 0)
            sched_yield();
        id = (struct proc_id){shared->pid, shared->start_time};
        kill(parent, SIGKILL);
        kit_wait_status(parent);
        cr_expect_eq(child_works(&id), 0, "round %d", round);
        kit_wait_status(id.pid);
    }
    cr_expect_eq(shared->ran, 0);
}

/* One that waits, whose stage lives: it is given a while, and then taken for one that was let go
 * and had no CPU. With another name it is given the same. */
Test(child, is_waited_for)
{
    struct child c = fork_or_fail(count_and_wait);
    unsigned long long start;
    int works;

    kit_wait_for_name(c.id.pid, CHILD_WAITING);
    start = io_now_us();
    cr_expect_eq(child_works(&c.id), 1);
    cr_expect_geq(io_now_us() - start, 900000ull, "a waiting one");
    cr_expect_eq(shared->ran, 0);
    cr_expect_eq(child_go(&c, NULL), 0);
    wait_for_run();
    start = io_now_us();
    cr_expect_eq(child_works(&c.id), 1);
    cr_expect_lt(io_now_us() - start, 900000ull, "one that was let go");
    kit_blind();
    works = child_works(&c.id);
    kit_see();
    cr_expect_eq(works, -EMFILE, "nobody knows: got %d", works);
}

/* A fork that has not come to waiting yet has the name of the stage. */
Test(child, not_ready_is_waited_for)
{
    struct proc_id id;
    unsigned long long start;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_NAME, "oci-sandbox-cgr");
        io_sleep_ms(100);
        _exit(0);
    }
    cr_assert_eq(proc_identify(pid, &id), 0);
    start = io_now_us();
    cr_expect_eq(child_works(&id), 0);
    cr_expect_geq(io_now_us() - start, 50000ull);
    cr_expect(kit_has_exited(kit_wait_status(pid)));
}

static void *end_soon(void *arg)
{
    (void)arg;
    io_sleep_ms(200);
    _exit(0);
}

/* One that was let go and ends: a thread keeps it, so that the end takes time. */
Test(child, that_ends_does_not_work)
{
    struct proc_id id;
    struct proc_stat st = {0};
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        pthread_t thread;

        prctl(PR_SET_NAME, NAME);
        if (pthread_create(&thread, NULL, end_soon, NULL) != 0)
            _exit(1);
        syscall(SYS_exit, 0);
    }
    cr_assert_eq(proc_identify(pid, &id), 0);
    while (proc_stat_read(pid, &st) == 0 && !st.exiting)
        sched_yield();
    cr_expect_eq(child_works(&id), 0);
    cr_expect(kit_has_exited(kit_wait_status(pid)));
}

Test(child, none_does_not_work)
{
    const struct proc_id none = {0};

    cr_expect_eq(child_works(&none), 0);
}

/* --- nothing of the stage's environment --- */

Test(child, is_detached)
{
    int pipe_fds[2], high = fcntl(STDIN_FILENO, F_DUPFD, 900);
    char buf[256], target[PATH_MAX], name[16];
    struct child c;
    pid_t pid;

    kit_need_sight();
    cr_assert(high >= 900 && pipe(pipe_fds) == 0); /* for every program, without O_CLOEXEC */
    c = fork_or_fail(count_and_wait);
    pid = c.id.pid;
    kit_wait_for_name(pid, CHILD_WAITING);
    for (int round = 0; round < 2; round++) {
        const char *want = round ? "0 1 2" : "0 1 2 3";

        cr_expect_str_eq(kit_list_fds(pid, buf, sizeof buf), want, "round %d: expected %s, got %s",
                         round, want, buf);
        for (int fd = 0; fd <= 2; fd++) {
            snprintf(name, sizeof name, "fd/%d", fd);
            cr_expect_str_eq(link_of(pid, name, target), "/dev/null", "%s is %s", name, target);
        }
        cr_expect(getsid(pid) == pid && getpgid(pid) == pid, "a session of its own");
        cr_expect_str_eq(link_of(pid, "cwd", target), "/");
        if (round == 0) {
            cr_expect(str_starts(link_of(pid, "fd/3", target), "pipe:"), "3 is %s", target);
            cr_expect_eq(child_go(&c, NULL), 0);
            wait_for_run();
            cr_expect_str_eq(kit_name_of(pid), NAME);
        }
    }
    cr_expect_neq(getsid(0), pid);
    close(high);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Whichever number the pipe has got. */
Test(child, descriptors_that_are_free)
{
    char buf[256];

    for (int low = 3; low <= 5; low++) {
        struct child c;
        pid_t helper = fork();

        cr_assert_geq(helper, 0);
        if (helper > 0) {
            cr_expect(kit_has_exited(kit_wait_status(helper)), "with descriptors up to %d",
                      low - 1);
            continue;
        }
        /* Only what is below @low is taken: /dev/null is opened there, and then the pipe. */
        for (int fd = 3; fd < low; fd++)
            dup2(STDIN_FILENO, fd);
        for (int fd = low; fd < 1024; fd++)
            close(fd);
        if (child_fork(NAME, count_and_wait, &one, &c, NULL) < 0 || c.go_fd > low + 2)
            _exit(1);
        while (!str_eq(kit_name_of(c.id.pid), CHILD_WAITING))
            io_sleep_ms(1);
        if (!str_eq(kit_list_fds(c.id.pid, buf, sizeof buf), "0 1 2 3"))
            _exit(2);
        cr_expect_eq(child_go(&c, NULL), 0);
        for (int ms = 0; shared->ran == 0 && ms < KIT_PATIENCE_MS; ms++)
            io_sleep_ms(1);
        _exit(child_stop(&c.id, NULL) == 0 && shared->ran-- == 1 ? 0 : 3);
    }
}

/* It must outlive the VMM when memory runs out; asking is allowed to fail. */
Test(child, survives_memory_pressure)
{
    struct child c = fork_or_fail(count_and_wait);
    char path[64], before[32], after[32];
    pid_t probe = fork();

    cr_assert_geq(probe, 0);
    if (probe == 0)
        _exit(io_write_at(AT_FDCWD, "/proc/self/oom_score_adj", "-999") == 0 ? 0 : 1);
    if (!kit_has_exited(kit_wait_status(probe)))
        cr_skip_test("needs CAP_SYS_RESOURCE");
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)c.id.pid);
    cr_assert_gt(io_read_at(AT_FDCWD, "/proc/self/oom_score_adj", before, sizeof before), 0);
    kit_wait_for_name(c.id.pid, CHILD_WAITING);
    cr_assert_gt(io_read_at(AT_FDCWD, path, after, sizeof after), 0);
    cr_expect_str_eq(after, before, "as long as it waits it is like its parent");
    cr_expect_eq(child_go(&c, NULL), 0);
    wait_for_run();
    cr_assert_gt(io_read_at(AT_FDCWD, path, after, sizeof after), 0);
    cr_expect_str_eq(after, "-999");
}

Test(child, cannot_be_forked)
{
    struct child c;
    struct err e = ERR_INIT;
    struct rlimit few = {0}, usual;
    int r;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    few.rlim_max = usual.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    r = child_fork(NAME, count, &one, &c, &e);
    setrlimit(RLIMIT_NOFILE, &usual);
    cr_expect(r == -EMFILE && strstr(e.text, NAME), "expected: -EMFILE with %s\ngot:      %d, %s",
              NAME, r, e.text);
    cr_expect(c.id.pid == 0 && c.go_fd == FD_NONE);
}

/* --- stopping --- */

Test(child, stopped)
{
    struct child waiting = fork_or_fail(count), running = fork_or_fail(count_and_wait);
    struct err e = ERR_INIT;

    cr_expect_eq(child_go(&running, NULL), 0);
    wait_for_run();
    cr_expect_eq(child_stop(&running.id, &e), 0, "%s", e.text);
    cr_expect(kit_was_killed(kit_wait_status(running.id.pid), SIGTERM));
    cr_expect_eq(child_stop(&waiting.id, &e), 0, "%s", e.text);
    cr_expect(kit_was_killed(kit_wait_status(waiting.id.pid), SIGTERM));
    cr_expect_eq(shared->ran, 1);
    child_abort(&waiting);
}

/* Signalled in the instant in which it begins: one that is no watcher only hears SIGTERM. */
Test(child, is_deaf_from_its_beginning)
{
    for (int i = 0; i < 200; i++) {
        struct child c;
        struct err e = ERR_INIT;

        cr_assert_eq(child_fork(NAME, count_and_wait, &one, &c, &e), 0, "%s", e.text);
        cr_assert_eq(kill(c.id.pid, SIGHUP), 0);
        shared->ran = 0;
        cr_assert_eq(child_go(&c, NULL), 0);
        wait_for_run();
        cr_assert_eq(proc_alive(&c.id), 1, "round %d", i);
        cr_assert_eq(child_stop(&c.id, &e), 0, "%s", e.text);
        cr_assert(kit_was_killed(kit_wait_status(c.id.pid), SIGTERM));
    }
}

/* By force, after some time. */
Test(child, stopped_though_it_does_not_listen)
{
    struct child c = fork_or_fail(ignore_sigterm);
    struct err e = ERR_INIT;

    cr_expect_eq(child_go(&c, NULL), 0);
    wait_for_run();
    cr_expect_eq(child_stop(&c.id, &e), 0, "%s", e.text);
    cr_expect(kit_was_killed(kit_wait_status(c.id.pid), SIGKILL));
}

Test(child, nobody_to_stop)
{
    struct child c = fork_or_fail(count_and_wait), dead = fork_or_fail(count_and_wait);
    struct proc_id successor = c.id, self;
    struct err e = ERR_INIT;
    unsigned long long start;

    cr_expect_eq(child_go(&c, NULL), 0);
    wait_for_run();
    cr_expect_eq(child_stop(&(struct proc_id){0}, &e), 0, "nobody is recorded");
    successor.start_time++;
    cr_expect_eq(child_stop(&successor, &e), 0, "another process has its pid");
    cr_expect(kit_is_running(c.id.pid), "the other process was ended");
    cr_assert_eq(proc_identify(getpid(), &self), 0);
    cr_expect_eq(child_stop(&self, &e), 0, "the one that asks");

    /* dead, not waited for; then nothing of it is left */
    cr_assert_eq(proc_signal(&dead.id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&dead.id, KIT_PATIENCE_MS), 0);
    start = io_now_us();
    cr_expect_eq(child_stop(&dead.id, &e), 0, "a zombie");
    kit_wait_status(dead.id.pid);
    cr_expect_eq(child_stop(&dead.id, &e), 0, "gone");
    cr_expect_lt(io_now_us() - start, 4000000ull, "there was nothing to wait for");
    cr_expect_eq(e.code, 0, "%s", e.text);
}
