/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/process_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t children[64];
static size_t child_count;

pid_t kit_fork(void)
{
    pid_t pid;

    cr_assert_lt(child_count, ARRAY_SIZE(children));
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child_count = 0; /* those are its parent's */
    } else {
        children[child_count++] = pid;
    }
    return pid;
}

pid_t kit_start_child(void)
{
    pid_t pid = kit_fork();

    while (pid == 0)
        pause();
    return pid;
}

static int obey(char command)
{
    char *memory;
    int fd;

    switch (command) {
    case 'f':
    case 'n':
        fd = open(command == 'f' ? "/dev/full" : "/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return errno;
        close(fd);
        return 0;
    case 'm':
        memory = malloc(8 << 20);
        for (size_t i = 0; memory && i < 8 << 20; i += 4096)
            ((volatile char *)memory)[i] = 1;
        return memory ? 0 : ENOMEM;
    default:
        for (volatile unsigned i = 0; i < 20000000; i++)
            ;
        return 0;
    }
}

struct kit_worker kit_start_worker(void)
{
    int pair[2];
    pid_t pid;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid = kit_fork();
    if (pid == 0) {
        char command;

        close(pair[0]);
        while (read(pair[1], &command, 1) == 1) {
            int answer = obey(command);

            if (write(pair[1], &answer, sizeof answer) != sizeof answer)
                break;
        }
        _exit(0);
    }
    close(pair[1]);
    return (struct kit_worker){.pid = pid, .fd = pair[0]};
}

int kit_ask(const struct kit_worker *w, char command)
{
    int answer = -1;

    cr_assert_eq(write(w->fd, &command, 1), 1);
    cr_assert_eq(read(w->fd, &answer, sizeof answer), (ssize_t)sizeof answer);
    return answer;
}

static void *tell_and_wait(void *arg)
{
    int fd = *(int *)arg;
    pid_t tid = gettid();

    if (write(fd, &tid, sizeof tid) != sizeof tid)
        _exit(1);
    for (;;)
        pause();
    return NULL;
}

pid_t kit_start_threads(pid_t tids[static KIT_THREADS])
{
    int fds[2];
    pid_t pid;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = kit_fork();
    if (pid == 0) {
        pthread_t thread;

        for (int i = 0; i < KIT_THREADS; i++)
            pthread_create(&thread, NULL, tell_and_wait, &fds[1]);
        for (;;)
            pause();
    }
    close(fds[1]);
    cr_assert_eq(io_read_full(fds[0], (char *)tids, KIT_THREADS * sizeof *tids),
                 (ssize_t)(KIT_THREADS * sizeof *tids));
    close(fds[0]);
    return pid;
}

const struct proc_id *kit_who(pid_t pid)
{
    static struct proc_id ids[4];
    static size_t next;
    struct proc_id *ret = &ids[next++ % ARRAY_SIZE(ids)];

    if (proc_identify(pid, ret) < 0)
        *ret = (struct proc_id){.pid = pid};
    return ret;
}

void kit_end_child(pid_t pid)
{
    if (waitpid(pid, NULL, WNOHANG) != 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void kit_end_children(void)
{
    for (size_t i = 0; i < child_count; i++)
        kit_end_child(children[i]);
    child_count = 0;
}

static struct rlimit usual;

void kit_blind(void)
{
    struct rlimit none;

    getrlimit(RLIMIT_NOFILE, &usual);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = usual.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
}

void kit_see(void)
{
    setrlimit(RLIMIT_NOFILE, &usual);
}

void kit_need_sight(void)
{
    if (access("/proc/1/exe", R_OK) < 0)
        cr_skip_test("cannot see what other users' processes run: /proc/1/exe: %s",
                     strerror(errno));
}
