/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* /proc/PID/stat with the number 1000 + N as field N, up to @fields. */
static void stat_text(char *buf, size_t size, const char *comm, char state, int fields)
{
    int len = snprintf(buf, size, "4242 (%s) %c", comm, state);

    for (int i = 4; i <= fields; i++)
        len += snprintf(buf + len, size - (size_t)len, " %d", 1000 + i);
    snprintf(buf + len, size - (size_t)len, "\n");
}

Test(proc, stat_comm)
{
    static const char *const comms[] = {
        "bash",
        "a) b (c",
        "",
        ")",
        "(",
        "))",
        "((",
        ") Z 1 2 3 ",
        "CPU 0/KVM",
        "vcpu0) S 1 (x",
        "a\nb",
        "a\tb  c",
        "\xff\xfe",
        /* 79 bytes: the longest that fits (kernel threads' names may exceed 15) */
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678",
    };

    for (size_t i = 0; i < ARRAY_SIZE(comms); i++) {
        struct proc_stat st = {0};
        char text[2048];
        int r;

        stat_text(text, sizeof text, comms[i], 'S', 52);
        r = proc_stat_parse(text, &st);
        cr_expect(r == 0 && str_eq(st.comm, comms[i]) && st.state == 'S' && st.start_time == 1022 &&
                      st.guest_time == 1043,
                  "comm \"%s\": expected 0, S, 1022, 1043; got %d, \"%s\", %c, %" PRIu64
                  ", %" PRIu64,
                  comms[i], r, st.comm, st.state, st.start_time, st.guest_time);
    }
}

Test(proc, stat_malformed)
{
    char longer[81], good[2048];
    struct proc_stat st;

    stat_text(good, sizeof good, "x", 'R', 43);
    cr_expect_eq(proc_stat_parse(good, &st), 0, "43 fields are enough");
    for (int fields = 3; fields < 43; fields++) {
        stat_text(good, sizeof good, "x", 'R', fields);
        cr_expect_eq(proc_stat_parse(good, &st), -EINVAL, "%d fields are too few", fields);
    }
    memset(longer, 'n', 80);
    longer[80] = '\0';
    stat_text(good, sizeof good, longer, 'R', 52);
    cr_expect_eq(proc_stat_parse(good, &st), -EINVAL, "a name that does not fit");

    static const char *const bad[] = {
        "",
        "\n",
        "1",
        "1 (x",
        "1 x)",
        "1 )x( R 1",
        "1 (x)",
        "1 (x) ",
        "1 (x)R 1 2 3",
        /* field 22, field 43 no numbers */
        "1 (x) R 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 a22 23 24 25 26 27 28 29 30 31 32 "
        "33 34 35 36 37 38 39 40 41 42 43 44",
        "1 (x) R 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 "
        "33 34 35 36 37 38 39 40 41 42 -43 44",
        /* a parent that is no pid */
        "1 (x) R 2147483648 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 "
        "30 31 32 33 34 35 36 37 38 39 40 41 42 43 44",
        /* an empty field */
        "1 (x) R 4 5 6 7 8 9 10  12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 "
        "33 34 35 36 37 38 39 40 41 42 43 44",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int r = proc_stat_parse(bad[i], &st);

        cr_expect_eq(r, -EINVAL, "\"%s\": expected %d, got %d", bad[i], -EINVAL, r);
    }
    /* negative and large numbers elsewhere do not matter */
    cr_expect_eq(
        proc_stat_parse("1 (x) S 4 5 -6 7 -8 9 10 11 12 13 14 15 16 17 18 -19 20 21 "
                        "18446744073709551615 23 24 18446744073709551615 26 27 28 29 30 31 32 33 "
                        "34 35 36 37 38 39 40 41 42 77\n",
                        &st),
        0);
    cr_expect(st.start_time == UINT64_MAX && st.guest_time == 77 && st.threads == 20 &&
              st.parent == 4 && !st.exiting);
    /* flags: PF_EXITING among others */
    cr_expect_eq(
        proc_stat_parse("1 (x) R 4 5 6 7 8 4194316 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 "
                        "26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43\n",
                        &st),
        0);
    cr_expect(st.exiting && !st.is_kernel);
    /* and PF_KTHREAD, as kthreadd has them */
    cr_expect_eq(proc_stat_parse(
                     "2 (x) S 0 0 0 0 -1 2129984 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 "
                     "26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43\n",
                     &st),
                 0);
    cr_expect(!st.exiting && st.is_kernel);
}

static void wait_zombie(pid_t pid)
{
    siginfo_t info;

    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

Test(proc, life)
{
    pid_t pid = kit_start_child();
    struct proc_id id = {0}, wrong, none = {0};
    struct proc_stat st;
    int status;

    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect(id.pid == pid && id.start_time > 0);
    cr_expect_eq(proc_alive(&id), 1);
    wrong = (struct proc_id){.pid = pid, .start_time = id.start_time + 1};
    cr_expect_eq(proc_alive(&wrong), 0, "another start time is another process");
    cr_expect_eq(proc_open(&wrong), -ESRCH);
    cr_expect_eq(proc_signal(&wrong, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&wrong, 60000), 0, "a successor is not waited for");
    cr_expect_eq(proc_alive(&id), 1, "the successor was not hit");
    {
        autofd fd = proc_open(&id);

        cr_expect_geq(fd, 0);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    cr_expect_eq(proc_signal(&id, 0), 0);
    cr_expect_eq(proc_alive(&id), 1);
    cr_expect_eq(proc_wait_gone(&id, 0), -ETIMEDOUT);
    cr_expect_eq(proc_wait_gone(&id, 20), -ETIMEDOUT);
    cr_expect_eq(proc_signal(&id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);
    wait_zombie(pid);

    /* a zombie: it can be read, it does not live */
    cr_expect(proc_stat_read(pid, &st) == 0 && st.state == 'Z' && st.exiting &&
              st.start_time == id.start_time);
    cr_expect_eq(proc_identify(pid, &wrong), -ESRCH);
    cr_expect_eq(proc_alive(&id), 0);
    cr_expect_eq(proc_open(&id), -ESRCH);
    cr_expect_eq(proc_signal(&id, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_expect_eq(proc_stat_read(pid, &st), -ESRCH);
    cr_expect_eq(proc_identify(pid, &wrong), -ESRCH);
    cr_expect_eq(proc_alive(&id), 0);
    cr_expect_eq(proc_open(&id), -ESRCH);
    cr_expect_eq(proc_signal(&id, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&id, 0), 0);

    /* nobody */
    cr_expect_eq(proc_alive(&none), 0);
    cr_expect_eq(proc_open(&none), -ESRCH);
    cr_expect_eq(proc_signal(&none, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&none, 0), 0);
    cr_expect_eq(proc_stat_read(0, &st), -ESRCH);
    cr_expect_eq(proc_stat_read(-1, &st), -ESRCH);
}

/* What cannot be read is neither alive nor dead, and is not signalled. */
Test(proc, unknown)
{
    pid_t pid = kit_start_child();
    struct proc_id id, none = {0};
    int got[7];

    cr_assert_eq(proc_identify(pid, &id), 0);
    kit_blind();
    got[0] = proc_alive(&id);
    got[1] = proc_identify(pid, &id);
    got[2] = proc_open(&id);
    got[3] = proc_signal(&id, SIGKILL);
    got[4] = proc_wait_gone(&id, 60000);
    got[5] = proc_end(&id, SIGKILL, 60000);
    got[6] = proc_alive(&none);
    kit_see();
    for (int i = 0; i < 6; i++)
        cr_expect_eq(got[i], -EMFILE, "%d: got %d", i, got[i]);
    cr_expect_eq(got[6], 0, "nobody is not alive, whoever looks");
    cr_expect_eq(proc_alive(&id), 1);
}

static void *wait_for_end(void *arg)
{
    for (;;)
        pause();
    return arg;
}

/* Its main thread has ended, another runs on: Go programs and VMMs do that. */
Test(proc, without_main_thread)
{
    pid_t pid = fork();
    struct proc_stat st = {0};
    struct proc_id id;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        pthread_t thread;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
            _exit(1);
        pthread_exit(NULL);
    }
    for (int i = 0; i < 5000 && st.state != 'Z'; i++) {
        io_sleep_ms(1);
        cr_assert_eq(proc_stat_read(pid, &st), 0);
    }
    cr_assert_eq(st.state, 'Z');
    cr_expect_eq(st.threads, 2);
    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect_eq(proc_alive(&id), 1);
    cr_expect_eq(proc_wait_gone(&id, 0), -ETIMEDOUT);
    cr_expect_eq(proc_signal(&id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);
    wait_zombie(pid);
    cr_expect_eq(proc_alive(&id), 0);
    cr_expect_eq(waitpid(pid, NULL, 0), pid);
}

Test(proc, signal_arrives)
{
    pid_t pid = kit_start_child();
    struct proc_id id;
    int status;

    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect_eq(proc_signal(&id, SIGUSR1), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1, "expected SIGUSR1, got %#x",
              (unsigned)status);
}

Test(proc, end)
{
    pid_t pid = kit_start_child();
    struct proc_id id, wrong, none = {0};
    int status;

    cr_assert_eq(proc_identify(pid, &id), 0);
    wrong = (struct proc_id){.pid = pid, .start_time = id.start_time + 1};
    cr_expect_eq(proc_end(&wrong, SIGKILL, 60000), 0, "that one has ended");
    cr_expect_eq(proc_alive(&id), 1, "the successor was not hit");
    cr_expect_eq(proc_end(&id, 0, 20), -ETIMEDOUT);
    cr_expect_eq(proc_alive(&id), 1);
    cr_expect_eq(proc_end(&id, SIGUSR2, 60000), 0);
    wait_zombie(pid);
    cr_expect_eq(proc_end(&id, SIGKILL, 60000), 0, "it has ended");
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2, "got %#x", (unsigned)status);
    cr_expect_eq(proc_end(&id, SIGKILL, 0), 0);
    cr_expect_eq(proc_end(&none, SIGKILL, 0), 0, "nobody");
}

/* It need not be our child. */
Test(proc, grandchild)
{
    struct proc_id id;
    pid_t pid = 0, between;
    int fds[2], status;

    cr_assert_eq(pipe(fds), 0);
    between = fork();
    if (between == 0) {
        pid = fork();
        if (pid == 0) {
            close(fds[0]);
            close(fds[1]);
            alarm(60);
            for (;;)
                pause();
        }
        _exit(write(fds[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    cr_assert_eq(read(fds[0], &pid, sizeof pid), sizeof pid);
    close(fds[0]);
    close(fds[1]);
    cr_assert_eq(waitpid(between, &status, 0), between);
    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect_eq(proc_alive(&id), 1);
    cr_expect_eq(proc_wait_gone(&id, 10), -ETIMEDOUT);
    cr_expect_eq(proc_signal(&id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);
    cr_expect_eq(proc_alive(&id), 0);
}

static void *named_thread(void *arg)
{
    struct proc_stat *ret = arg;

    prctl(PR_SET_NAME, "CPU 1) S (KVM");
    if (proc_stat_read(gettid(), ret) < 0)
        ret->state = '?';
    return NULL;
}

Test(proc, thread)
{
    struct proc_stat own = {0}, thread = {0};
    pthread_t handle;

    cr_assert_eq(proc_stat_read(getpid(), &own), 0);
    cr_assert_eq(pthread_create(&handle, NULL, named_thread, &thread), 0);
    pthread_join(handle, NULL);
    cr_expect(thread.state == 'R' && str_eq(thread.comm, "CPU 1) S (KVM"),
              "a TID works: expected R \"CPU 1) S (KVM\", got %c \"%s\"", thread.state,
              thread.comm);
    cr_expect_geq(thread.start_time, own.start_time);
}

static uint64_t booted_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

Test(proc, age)
{
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK), low = booted_us(), since_boot = proc_age_us(0);
    uint64_t high = booted_us(), half_later, later = proc_age_us(ticks), last = booted_us();

    cr_expect(low <= since_boot && since_boot <= high);
    cr_expect(high - 1000000 <= later && later <= last - 1000000);
    half_later = proc_age_us(ticks * 3 / 2);
    cr_expect(last - 1500000 <= half_later && half_later <= booted_us() - 1500000);
    cr_expect_eq(proc_age_us(UINT64_MAX / 2), 0, "not yet");
}
