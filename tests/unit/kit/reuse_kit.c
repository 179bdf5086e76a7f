/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/reuse_kit.h"

#include "base/io.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void (*kit_at_call)(void);

long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);

long __wrap_syscall(long nr, ...)
{
    long a[6];
    va_list ap;

    va_start(ap, nr);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (kit_at_call)
        kit_at_call();
    return __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int kit_in_pid_namespace(int (*fn)(void))
{
    int status = -1;
    pid_t pid;

    if (unshare(CLONE_NEWPID) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("proc", "/proc", "proc", 0, NULL) < 0)
            _exit(255);
        _exit(fn());
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
        return -2;
    return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

/* ---- the stranger ---- */

static struct {
    pid_t victim;
    unsigned left;
    enum kit_stranger who;
    bool done;
} plan;

static struct {
    pid_t pid;
    int to, from;
} helper;

static void *stay(void *arg)
{
    for (;;)
        pause();
    return arg;
}

pid_t kit_start_helper(void)
{
    int to[2], from[2];
    char byte;

    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        abort();
    helper.pid = fork();
    if (helper.pid == 0) {
        pthread_t thread;

        while (read(to[0], &byte, 1) == 1) {
            pthread_create(&thread, NULL, stay, NULL);
            if (write(from[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    helper.to = to[1];
    helper.from = from[0];
    return helper.pid;
}

void kit_end_helper(void)
{
    kill(helper.pid, SIGKILL);
    waitpid(helper.pid, NULL, 0);
    close(helper.to);
    close(helper.from);
}

static void start_stranger(void)
{
    char byte = 'x';
    int ready[2];
    pid_t pid;

    if (plan.who == KIT_THREAD) {
        if (write(helper.to, &byte, 1) != 1 || read(helper.from, &byte, 1) != 1)
            abort();
        return;
    }
    if (pipe2(ready, O_CLOEXEC) < 0)
        abort();
    pid = fork();
    if (pid == 0) {
        if (plan.who == KIT_ORPHAN && unshare(CLONE_NEWNS) < 0)
            _exit(1);
        close(ready[0]);
        close(ready[1]);
        stay(NULL);
    }
    close(ready[1]);
    if (pid != plan.victim || read(ready[0], &byte, 1) != 0)
        abort();
    close(ready[0]);
}

static void reuse(void)
{
    struct proc_stat before, now = {0};
    char text[16];
    int fd;

    if (plan.left == 0 || --plan.left > 0)
        return;
    kit_at_call = NULL;
    if (proc_stat_read(plan.victim, &before) < 0)
        before.start_time = 0;
    kill(plan.victim, SIGKILL);
    waitpid(plan.victim, NULL, 0);
    /* Start times are counted in hundredths of a second. */
    io_sleep_ms(12);
    fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    snprintf(text, sizeof text, "%d", (int)plan.victim - 1);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        abort();
    close(fd);
    start_stranger();
    if (proc_stat_read(plan.victim, &now) < 0 || now.start_time == before.start_time)
        abort();
    plan.done = true;
}

void kit_reuse_at(pid_t pid, unsigned n, enum kit_stranger who)
{
    plan.victim = pid;
    plan.left = n;
    plan.who = who;
    plan.done = false;
    kit_at_call = reuse;
}

bool kit_reuse_done(void)
{
    kit_at_call = NULL;
    return plan.done;
}

bool kit_stranger_lives(void)
{
    struct proc_stat st;

    return proc_stat_read(plan.victim, &st) == 0 && st.state != 'Z' && st.state != 'X';
}

void kit_stranger_end(void)
{
    if (plan.who == KIT_THREAD)
        return;
    kill(plan.victim, SIGKILL);
    waitpid(plan.victim, NULL, 0);
}
