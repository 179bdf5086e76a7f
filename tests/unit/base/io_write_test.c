/* SPDX-License-Identifier: Apache-2.0 */

/* A control file's one write(2), interrupted and refused; and what of a new file has to reach a disk. */

#include "base/cleanup.h"
#include "base/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
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

/* The program is linked with this in the place of fsync(2). */
int __wrap_fsync(int fd);
int __real_fsync(int fd);

static unsigned synced;
static int fsync_error;

int __wrap_fsync(int fd)
{
    synced++;
    if (fsync_error == 0)
        return __real_fsync(fd);
    errno = fsync_error;
    return -1;
}

static bool is_tmpfs(const char *dir)
{
    struct statfs fs;

    return statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* The first of those that are, or are not, one. */
static const char *some_dir(bool tmpfs)
{
    static const char *const dirs[] = {"/dev/shm", "/run", "/tmp", "/var/tmp", "."};

    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        if (access(dirs[i], W_OK) == 0 && is_tmpfs(dirs[i]) == tmpfs)
            return dirs[i];
    }
    cr_skip_test("there is no such directory");
    return NULL;
}

/* Replaces a file in a directory of its own. */
static int replace_in(const char *parent)
{
    char top[64];
    autofd dirfd = FD_NONE;
    int r;

    snprintf(top, sizeof top, "%s/osc-unit-io-XXXXXX", parent);
    cr_assert(mkdtemp(top));
    dirfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    synced = 0;
    r = io_replace_at(dirfd, "record", "new", 3);
    cr_expect_eq(faccessat(dirfd, "record.tmp", F_OK, 0), -1, "no temporary file is left");
    unlinkat(dirfd, "record", 0);
    rmdir(top);
    return r;
}

Test(io_write, replaced_on_tmpfs)
{
    fsync_error = EIO; /* nobody asks */
    cr_expect_eq(replace_in(some_dir(true)), 0);
    cr_expect_eq(synced, 0);
}

Test(io_write, replaced_on_disk)
{
    cr_expect_eq(replace_in(some_dir(false)), 0);
    cr_expect_eq(synced, 1, "the file, and no directory: a crash may bring back the old one");
    fsync_error = EIO;
    cr_expect_eq(replace_in(some_dir(false)), -EIO);
    cr_expect_eq(synced, 1, "and then it is not renamed");
}
