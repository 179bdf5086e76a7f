/* SPDX-License-Identifier: Apache-2.0 */

/* Standing still, going on, and signals to all of a cgroup. On cgroups of this host, of v1 and of v2. */

#include "cgroup/controller.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(freeze, .init = kit_start, .fini = kit_finish, .timeout = 300);

/* A process that nothing lets rest. */
static pid_t start_busy(void)
{
    pid_t pid = kit_fork();

    if (pid == 0) {
        for (;;)
            getppid();
    }
    return pid;
}

static const char *state_of(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid
               ? "ended"
               : "lives";
}

static void expect_ended_by(pid_t pid, int signo, const char *what)
{
    int status = 0;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == signo, "%s: got %#x", what,
              (unsigned)status);
}

static struct cg_controller make(const struct cg_host *host, const char *path, pid_t pid)
{
    struct cg_controller c = kit_create(host, NULL, path, NULL, &kit_no_limits);
    struct err e = ERR_INIT;

    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    return c;
}

/* Twice comes to the same as once, and the way back leaves nothing. */
static void stop_and_go(const struct cg_host *host, const char *path)
{
    pid_t pid = start_busy();
    struct cg_controller c = make(host, path, pid);
    struct err e = ERR_INIT;

    cr_expect_eq(cg_is_still(&c), 0);
    for (unsigned i = 0; i < 2; i++) {
        kit_expect_ok(cg_freeze_wait(&c, KIT_PATIENCE_MS, &e), &e, "freeze");
        cr_expect_eq(cg_is_still(&c), 1, "it does not return before");
        cr_expect_eq(cg_is_frozen(&c), 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        kit_expect_ok(cg_thaw_wait(&c, i, KIT_PATIENCE_MS, &e), &e, "thaw");
        cr_expect_eq(cg_is_still(&c), 0);
        cr_expect_eq(cg_is_frozen(&c), 0);
    }
    kit_end_child(pid);
    kit_delete_ok(&c);
}

Test(freeze, v1_stop_and_go)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    stop_and_go(&kit_host, kit_sub("a"));
}

Test(freeze, v2_stop_and_go)
{
    kit_need_v2();
    stop_and_go(&kit_v2_host, "/a");
}

/* Together with its children, which then cannot run, nor stand, while it looks. */
static void stay_on_one_cpu(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    cr_assert_eq(sched_setaffinity(0, sizeof set, &set), 0);
}

/* What is not had in time is not asked for any more. */
static void undone(const struct cg_host *host, const char *path)
{
    struct cg_controller c;
    unsigned late = 0;
    pid_t pid;

    stay_on_one_cpu();
    pid = start_busy();
    c = make(host, path, pid);

    for (unsigned i = 0; i < 1000 && late == 0; i++) {
        struct err e = ERR_INIT;
        int r = cg_freeze_wait(&c, 0, &e);

        late += r == -ETIMEDOUT;
        cr_assert(r == 0 || r == -ETIMEDOUT, "%d, %s", r, e.text);
        cr_expect_eq(cg_is_frozen(&c), r == 0, "asked for after %d", r);
        kit_expect_ok(cg_thaw_wait(&c, false, KIT_PATIENCE_MS, &e), &e, "thaw");
    }
    cr_expect_gt(late, 0);
    kit_end_child(pid);
    kit_delete_ok(&c);
}

Test(freeze, v1_undone)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    undone(&kit_host, kit_sub("a"));
}

Test(freeze, v2_undone)
{
    kit_need_v2();
    undone(&kit_v2_host, "/a");
}

#define STARTING_THREADS 32
#define CATCHES          24

static void *wait_for_the_end(void *none)
{
    for (;;)
        pause();
    return none;
}

/* One with threads, which waits for a byte, gives it back and becomes another program. */
static pid_t start_becoming(int fd)
{
    pid_t pid = kit_fork();

    if (pid == 0) {
        pthread_t thread;
        char byte;

        for (unsigned i = 0; i < STARTING_THREADS; i++) {
            if (pthread_create(&thread, NULL, wait_for_the_end, NULL) != 0)
                _exit(1);
        }
        if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
            execl("/bin/sleep", "sleep", "1000", (char *)NULL);
        _exit(1);
    }
    return pid;
}

/* Frozen by somebody else, and caught, as it is not still after so long: it does not go on for a moment. Whether that
 * was so. */
static bool is_left_alone(struct cg_controller *c)
{
    struct err e = ERR_INIT;
    bool caught;

    for (unsigned i = 0; i < 100 && cg_is_still(c) != 1; i++) {
        kit_expect_ok(cg_freeze(c, &e), &e, "freeze");
        io_sleep_ms(20);
    }
    caught = cg_is_still(c) == 0;
    if (caught) {
        int r = cg_freeze_wait(c, 400, &e);

        cr_expect(r == -ETIMEDOUT && cg_is_frozen(c) == 1, "%d", r);
        err_reset(&e);
    }
    kit_expect_ok(cg_thaw_wait(c, false, KIT_PATIENCE_MS, &e), &e, "thaw");
    return caught;
}

/* Caught in exec, which waits for the other threads to end: many of these are. On v1 (Linux 6.1, 6.18) those stand
 * still before they end, and no second word makes it whole. */
static void becoming(const struct cg_host *host, const char *path)
{
    bool caught = false;

    for (unsigned i = 0; i < 2 * CATCHES && !caught; i++) {
        int ends[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        pid_t pid = start_becoming(ends[0]);
        struct cg_controller c = make(host, path, pid);
        struct err e = ERR_INIT;
        char byte = 0;

        cr_assert(write(ends[1], &byte, 1) == 1 && read(ends[1], &byte, 1) == 1);
        usleep(i % CATCHES * 100);
        if (i >= CATCHES)
            caught = is_left_alone(&c);
        kit_expect_ok(cg_freeze_wait(&c, KIT_PATIENCE_MS, &e), &e, "freeze");
        cr_expect_eq(cg_is_still(&c), 1);
        kit_expect_ok(cg_thaw_wait(&c, false, KIT_PATIENCE_MS, &e), &e, "thaw");
        close(ends[0]);
        close(ends[1]);
        kit_end_child(pid);
        kit_delete_ok(&c);
    }
}

Test(freeze, v1_becoming)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    becoming(&kit_host, kit_sub("a"));
}

Test(freeze, v2_becoming)
{
    kit_need_v2();
    becoming(&kit_v2_host, "/a");
}

/* What is sent is sent. */
static struct cg_signalled signalled(struct cg_controller *c, int signo)
{
    struct cg_signalled ret;
    struct err e = ERR_INIT;

    kit_expect_ok(cg_signal(&c, 1, signo, KIT_PATIENCE_MS, &ret, &e), &e, "signal");
    return ret;
}

/* Frozen from above: nobody says that it runs. One that is frozen inside is thawed if that is wanted, and only then. */
static void above_and_inside(const struct cg_host *host, const char *above, const char *path)
{
    pid_t pid = kit_start_child();
    struct cg_controller parent = kit_create(host, NULL, above, NULL, &kit_no_limits);
    struct cg_controller c = make(host, path, pid);
    struct err e = ERR_INIT;

    kit_expect_ok(cg_freeze_wait(&parent, KIT_PATIENCE_MS, &e), &e, "freeze above");
    cr_expect_eq(cg_is_frozen(&c), 0, "it is not asked for of the one below");
    cr_expect_eq(cg_is_still(&c), 1);
    cr_expect_eq(cg_thaw_wait(&c, true, 50, &e), -EBUSY);
    cr_expect(strstr(e.text, "above"), "%s", e.text);
    err_reset(&e);
    cr_expect(signalled(&c, 0).pending, "what is sent waits, and is no failure");
    kit_expect_ok(cg_freeze(&c, &e), &e, "freeze");
    kit_expect_ok(cg_thaw_wait(&parent, false, 50, &e), &e, "thaw the upper one alone");
    cr_expect_eq(cg_is_still(&c), 1);
    kit_expect_ok(cg_thaw_wait(&parent, true, KIT_PATIENCE_MS, &e), &e, "thaw both");
    cr_expect_eq(cg_is_still(&c), 0);
    kit_end_child(pid);
    kit_delete_ok(&c);
    kit_delete_ok(&parent);
}

Test(freeze, v1_above_and_inside)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    above_and_inside(&kit_host, kit_sub("a"), kit_sub("a/b"));
}

Test(freeze, v2_above_and_inside)
{
    kit_need_v2();
    above_and_inside(&kit_v2_host, "/a", "/a/b");
}

static void on_term(int signo)
{
    (void)signo;
    _exit(7);
}

/* One that handles SIGTERM: v2 lets others die of it also while they are frozen. */
static pid_t start_handler(void)
{
    pid_t pid = kit_fork();

    if (pid == 0) {
        signal(SIGTERM, on_term);
        raise(SIGSTOP);
        for (;;)
            pause();
    }
    cr_assert_eq(waitpid(pid, NULL, WUNTRACED), pid);
    kill(pid, SIGCONT);
    return pid;
}

/* One that runs gets it; one that somebody has frozen gets it when that ends. */
static void once(const struct cg_host *host, const char *path)
{
    pid_t outside = kit_start_child(), pid = kit_start_child();
    struct cg_controller c = make(host, path, pid);
    struct cg_signalled got = signalled(&c, SIGTERM);
    struct err e = ERR_INIT;
    int status = 0;

    cr_expect(got.count == 1 && !got.pending, "%zu, %d", got.count, got.pending);
    expect_ended_by(pid, SIGTERM, "one that runs");
    cr_expect_eq(cg_is_frozen(&c), 0, "nothing is left of having been held");

    pid = start_handler();
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_freeze_wait(&c, KIT_PATIENCE_MS, &e), &e, "freeze");
    got = signalled(&c, SIGTERM);
    cr_expect(got.count == 1 && got.pending, "%zu, %d", got.count, got.pending);
    cr_expect_str_eq(state_of(pid), "lives");
    cr_expect_eq(cg_is_frozen(&c), 1, "whoever has frozen it thaws it");
    kit_expect_ok(cg_thaw_wait(&c, true, KIT_PATIENCE_MS, &e), &e, "thaw");
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 7, "one that was frozen: got %#x",
              (unsigned)status);

    cr_expect_eq(signalled(&c, SIGTERM).count, 0, "nobody");
    cr_expect_eq(signalled(&c, SIGKILL).count, 0, "nobody");
    cr_expect_str_eq(state_of(outside), "lives");
    kit_end_child(outside);
    kit_delete_ok(&c);
}

Test(freeze, v1_signal)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    once(&kit_host, kit_sub("a"));
}

Test(freeze, v2_signal)
{
    kit_need_v2();
    once(&kit_v2_host, "/a");
}

/* Frozen or not, it is gone when the call returns. */
static void killed(const struct cg_host *host, const char *path)
{
    struct cg_controller c = kit_create(host, NULL, path, NULL, &kit_no_limits);
    struct err e = ERR_INIT;

    for (unsigned frozen = 0; frozen < 2; frozen++) {
        pid_t outside = kit_start_child(), pid = kit_start_child();

        kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
        if (frozen)
            kit_expect_ok(cg_freeze_wait(&c, KIT_PATIENCE_MS, &e), &e, "freeze");
        cr_expect_eq(signalled(&c, SIGKILL).count, 1);
        cr_expect_eq(cg_is_empty(&c, NULL), 1, "frozen: %u", frozen);
        expect_ended_by(pid, SIGKILL, "frozen or not");
        cr_expect_str_eq(state_of(outside), "lives");
        kit_end_child(outside);
    }
    kit_delete_ok(&c);
}

Test(freeze, v1_kill)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    killed(&kit_host, kit_sub("a"));
}

Test(freeze, v2_kill)
{
    kit_need_v2();
    killed(&kit_v2_host, "/a");
}

/* What a thaw that failed leaves, with nobody in it. */
static void left(const struct cg_host *host, const char *path)
{
    struct cg_controller c = kit_create(host, NULL, path, NULL, &kit_no_limits);
    struct err e = ERR_INIT;

    kit_expect_ok(cg_leave_thawed(&c, KIT_PATIENCE_MS, &e), &e, "one that is not frozen");
    kit_expect_ok(cg_freeze_wait(&c, KIT_PATIENCE_MS, &e), &e, "freeze");
    kit_expect_ok(cg_leave_thawed(&c, KIT_PATIENCE_MS, &e), &e, "one that is");
    cr_expect_eq(cg_is_frozen(&c), 0);
    cr_expect_eq(cg_is_still(&c), 0);
    kit_delete_ok(&c);
}

Test(freeze, v1_left)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    left(&kit_host, kit_sub("a"));
}

Test(freeze, v2_left)
{
    kit_need_v2();
    left(&kit_v2_host, "/a");
}

/* Each starts the next and ends, for so long that a test which fails has ended before. */
static void run_away(unsigned long long end)
{
    while (io_now_us() < end) {
        if (fork() != 0)
            _exit(0);
    }
    _exit(0);
}

static void outrun(const struct cg_host *host, const char *path)
{
    pid_t first = kit_fork();
    struct cg_controller c;

    if (first == 0) {
        /* Not before it is in there. */
        raise(SIGSTOP);
        run_away(io_now_us() + 100000000ull);
    }
    c = make(host, path, first);
    cr_assert_eq(waitpid(first, NULL, WUNTRACED), first);
    kill(first, SIGCONT);
    cr_assert_eq(waitpid(first, NULL, 0), first);
    cr_expect_eq(cg_is_empty(&c, NULL), 0, "another one runs");
    (void)signalled(&c, SIGKILL);
    cr_expect_eq(cg_is_empty(&c, NULL), 1);
    kit_delete_ok(&c);
}

Test(freeze, v1_nobody_outruns_it)
{
    kit_need_v1_ctl(CG_CTL_FREEZER);
    outrun(&kit_host, kit_sub("a"));
}

Test(freeze, v2_nobody_outruns_it)
{
    kit_need_v2();
    outrun(&kit_v2_host, "/a");
}

/* A process whose threads are in two cgroups is one, and a cgroup that has others alone is reached as well. */
Test(freeze, v1_two_cgroups)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_CPU);
    pid_t both = kit_start_child(), alone = kit_start_child();
    struct cg_controller a = make(&kit_host, kit_sub("a"), both), b;
    struct cg_controller *const all[] = {&a, &b};
    struct cg_signalled got;
    struct err e = ERR_INIT;

    b = kit_create(&kit_host, NULL, kit_sub("b"), NULL, &kit_no_limits);
    cr_assert_eq(kit_write_pid(h, kit_sub("b"), "tasks", both), 0);
    cr_assert_eq(kit_write_pid(h, kit_sub("b"), "tasks", alone), 0);
    kit_expect_ok(cg_signal(all, 2, SIGTERM, KIT_PATIENCE_MS, &got, &e), &e, "signal");
    cr_expect_eq(got.count, 2);
    expect_ended_by(both, SIGTERM, "in both");
    expect_ended_by(alone, SIGTERM, "in the second");
    kit_delete_ok(&b);
    kit_delete_ok(&a);
}
