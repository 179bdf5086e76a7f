/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/vcpu/ask.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "hook/vcpu/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The least that one is given: a monitor needs some milliseconds. */
#define SHARE_MIN_MS 20
/* For a child that has closed its pipe to be waited for. */
#define END_TRIES 10

static int left_ms(unsigned long long end_us)
{
    unsigned long long now = io_now_us();

    return now >= end_us ? 0 : (int)((end_us - now + 999) / 1000);
}

/* As much as fits into an empty pipe, so that it is written as a whole. */
static _Noreturn void answer(const struct ask *ask, const pid_t *pids, size_t count,
                             unsigned long long end_us, int fd)
{
    struct arena a = ARENA_INIT;
    size_t written = 0;
    int left;

    prctl(PR_SET_NAME, "osc-ask");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < count && (left = left_ms(end_us)) > 0; i++) {
        int share = left / (int)(count - i);
        struct vcpu_kvm own;

        if (share < SHARE_MIN_MS)
            share = left < SHARE_MIN_MS ? left : SHARE_MIN_MS;
        if (qmp_query_vcpus(pids[(ask->first + i) % count], share, &a, &own, NULL) < 0)
            continue;
        if (own.count > ASK_THREADS_MAX - written)
            own.count = ASK_THREADS_MAX - written;
        if (own.count > 0 && write(fd, own.items, own.count * sizeof *own.items) < 0)
            _exit(1);
        written += own.count;
    }
    _exit(0);
}

/* Until the child has said all, or the time is over; what came till then counts. */
static void listen_to(int fd, unsigned long long end_us, struct arena *a, struct vcpu_kvm *ret)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    struct vcpu_kvm_thread item;
    size_t have = 0;

    for (;;) {
        ssize_t n = read(fd, (char *)&item + have, sizeof item - have);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (n < 0) {
            int left = left_ms(end_us);

            if (left == 0 || (poll(&pfd, 1, left) < 0 && errno != EINTR))
                return;
            continue;
        }
        have += (size_t)n;
        if (have < sizeof item)
            continue;
        have = 0;
        if (ret->count < ASK_THREADS_MAX)
            ARENA_APPEND(a, ret->items, ret->count) = item;
    }
}

/* Whether there is no child any more. */
static bool is_gone(struct ask *ask)
{
    if (ask->child > 0 && waitpid(ask->child, NULL, WNOHANG) != 0)
        ask->child = 0;
    return ask->child == 0;
}

int ask_vmms(struct ask *ask, const pid_t *pids, size_t count, int timeout_ms, struct arena *a,
             struct vcpu_kvm *ret)
{
    unsigned long long end_us = io_now_us() + (unsigned long long)timeout_ms * 1000;
    autofd reader = FD_NONE, writer = FD_NONE;
    int fds[2];

    *ret = (struct vcpu_kvm){0};
    if (count == 0)
        return 0;
    if (!is_gone(ask))
        return -EBUSY;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    reader = fds[0];
    writer = fds[1];
    ask->child = fork();
    if (ask->child == 0)
        answer(ask, pids, count, end_us, writer);
    if (ask->child < 0) {
        ask->child = 0;
        return -errno;
    }
    fd_close(&writer);
    ask->first = (ask->first + 1) % count;
    listen_to(reader, end_us, a, ret);
    kill(ask->child, SIGKILL);
    for (unsigned tries = 0; !is_gone(ask) && tries < END_TRIES; tries++)
        io_sleep_ms(1);
    return 0;
}
