/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/stage.h"

#include "tests/fault/kit.h"
#include "tests/fault/world.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANGS_US INT64_C(60000000)

static char payload[PATH_MAX];

uint64_t draw(uint64_t *row)
{
    uint64_t x = *row += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

unsigned draw_below(uint64_t *row, unsigned count)
{
    return (unsigned)(draw(row) % count);
}

/* --- the program ---------------------------------------------------------------- */

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A file without a name, which begins with @text. */
static int memory_file(const char *text)
{
    int fd = memfd_create("soak", MFD_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        lseek(fd, 0, SEEK_SET) != 0)
        die("memfd_create");
    return fd;
}

static pid_t start(const char *conf, const char *const *words, int in, int err)
{
    const char *argv[16] = {world.program, "--state-dir", world.state, "--config", conf};
    size_t n = 5;
    pid_t pid;

    while (*words && n < 15)
        argv[n++] = *words++;
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(err, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
        _exit(126);
    execv(argv[0], (char **)(uintptr_t)argv);
    _exit(127);
}

/* Whether it has ended within that time. */
static bool ends_within(int pidfd, int64_t us)
{
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    struct pollfd p = {.fd = pidfd, .events = POLLIN};

    return ppoll(&p, 1, &left, NULL) != 0;
}

void stage_run(const char *conf, const char *const *words, const char *input, int64_t kill_after_us,
               struct stage *ret)
{
    int in = memory_file(input), err = memory_file(""), pidfd, status;
    int64_t begun = now_us();
    pid_t pid = start(conf, words, in, err);
    struct rusage used;
    bool ended;
    ssize_t n;

    *ret = (struct stage){.status = -1};
    pidfd = pidfd_open(pid, 0);
    ended = ends_within(pidfd, kill_after_us == NO_KILL ? HANGS_US : kill_after_us);
    if (!ended)
        kill(pid, SIGKILL);
    while (wait4(pid, &status, 0, &used) < 0 && errno == EINTR)
        ;
    close(pidfd);
    ret->us = now_us() - begun;
    ret->cpu_ms = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
                  (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
    if (WIFEXITED(status))
        ret->status = WEXITSTATUS(status);
    ret->killed = kill_after_us != NO_KILL && !WIFEXITED(status);
    n = pread(err, ret->err, sizeof ret->err - 1, 0);
    ret->err[n > 0 ? n : 0] = '\0';
    if (!ended && kill_after_us == NO_KILL)
        append(ret->err, sizeof ret->err, "it does not end\n");
    close(in);
    close(err);
}

void stage_input(const char *id, const char *status, pid_t pid, const char *bundle, char *ret,
                 size_t size)
{
    snprintf(ret, size,
             "{\"ociVersion\":\"1.0.2\",\"id\":\"%s\",\"status\":\"%s\",\"pid\":%d,"
             "\"bundle\":\"%s\"}\n",
             id, status, (int)pid, bundle);
}

/* --- payloads ------------------------------------------------------------------- */

void payload_init(const char *fake_vmm)
{
    snprintf(payload, sizeof payload, "%s/payload", world.work);
    copy_program(fake_vmm, payload);
}

const char *payload_program(void)
{
    return payload;
}

pid_t payload_start(bool vmm)
{
    static const char *const sleeper[] = {"payload", NULL};
    static const char *const threads[] = {"payload", "CPU 0/KVM", "CPU 1/KVM", "worker", NULL};
    pid_t parent = getpid(), pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    signal(SIGINT, SIG_IGN); /* it is ended by its runtime */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        execv(payload, (char **)(uintptr_t)(vmm ? threads : sleeper));
    _exit(127);
}

void payload_join(pid_t pid, pid_t other)
{
    char where[WHERE_SIZE], path[PATH_MAX], file[PATH_MAX + 512], text[16];

    where_is(other, where);
    snprintf(text, sizeof text, "%d", (int)pid);
    for (size_t i = 0; i < world.count; i++) {
        if (!where_in(where, world.hierarchies[i].names, path))
            continue;
        snprintf(file, sizeof file, "%s%s/cgroup.procs", world.hierarchies[i].dir, path);
        write_text(file, text);
    }
}

void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}
