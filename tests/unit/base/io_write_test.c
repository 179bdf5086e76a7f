/* SPDX-License-Identifier: Apache-2.0 */

/* A control file's one write(2), interrupted and refused. */

#include "base/cleanup.h"
#include "base/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

/* A pipe that is full makes a write wait. So many signals interrupt it before there is room. */
#define SIGNALS 5

static int reader = FD_NONE;
static volatile sig_atomic_t signals;

static void make_room(int signo)
{
    char buf[4096];

    (void)signo;
    if (++signals == SIGNALS)
        (void)!read(reader, buf, sizeof buf);
}

static void fill(int dirfd)
{
    autofd writer = openat(dirfd, "pipe", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    char page[4096] = "";

    while (write(writer, page, sizeof page) > 0)
        ;
    cr_assert_eq(errno, EAGAIN);
}

Test(io_write, interrupted, .timeout = 60)
{
    static const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {0};
    const struct sigaction on_alarm = {.sa_handler = make_room}; /* without SA_RESTART */
    char top[] = "/tmp/osc-unit-io-XXXXXX";
    int dirfd = FD_NONE, r;

    cr_assert(mkdtemp(top));
    dirfd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(mkfifoat(dirfd, "pipe", 0600), 0);
    reader = openat(dirfd, "pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fill(dirfd);
    cr_assert_eq(sigaction(SIGALRM, &on_alarm, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    r = io_write_at(dirfd, "pipe", "value");
    setitimer(ITIMER_REAL, &never, NULL);
    unlinkat(dirfd, "pipe", 0);
    rmdir(top);
    fd_close(&reader);
    fd_close(&dirfd);
    cr_expect_eq(r, 0, "expected 0 after %d signals, got %d", SIGNALS, r);
    cr_expect_geq(signals, SIGNALS);
}

/* An error is not tried again: nothing would change, and the hook would hang. */
Test(io_write, refused, .timeout = 60)
{
    int r = io_write_at(AT_FDCWD, "/dev/full", "value");

    cr_expect_eq(r, -ENOSPC, "expected -ENOSPC, got %d", r);
}
