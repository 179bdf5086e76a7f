/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int io_open_beneath_walk(int dirfd, const char *path, int flags)
{
    autofree char *copy = strdup(path);
    char *cursor = copy, *name, *last = NULL;
    autofd dir = FD_NONE;
    struct stat root, st;

    if (!copy)
        return -ENOMEM;
    if (fstat(dirfd, &root) < 0)
        return -errno;
    while ((name = str_next(&cursor, '/'))) {
        if (str_eq(name, "..") || (path[0] == '/'))
            return -EXDEV;
        if (str_empty(name) || str_eq(name, "."))
            continue;
        if (last) {
            int next =
                openat(dir >= 0 ? dir : dirfd, last, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

            if (next < 0) {
                /* A link in the middle is ENOTDIR here; openat2 calls it ELOOP. */
                if (errno == ENOTDIR &&
                    fstatat(dir >= 0 ? dir : dirfd, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISLNK(st.st_mode))
                    return -ELOOP;
                return -errno;
            }
            fd_close(&dir);
            dir = next;
            if (fstat(dir, &st) < 0)
                return -errno;
            if (st.st_dev != root.st_dev)
                return -EXDEV;
        }
        last = name;
    }
    {
        int fd =
            openat(dir >= 0 ? dir : dirfd, last ? last : ".", flags | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
            return -errno;
        /* O_PATH with O_NOFOLLOW opens a link itself, which openat2 refuses. */
        if (fstat(fd, &st) < 0 || st.st_dev != root.st_dev || S_ISLNK(st.st_mode)) {
            int r = S_ISLNK(st.st_mode) ? -ELOOP : -EXDEV;

            close(fd);
            return r;
        }
        return fd;
    }
}

int io_open_beneath(int dirfd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
        .mode = flags & O_CREAT ? 0600 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };

    /* EAGAIN: a rename or mount raced with the walk, and the kernel asks to try again. */
    for (int tries = 0; tries < 16; tries++) {
        long fd = syscall(SYS_openat2, dirfd, *path ? path : ".", &how, sizeof how);

        if (fd >= 0)
            return (int)fd;
        if (errno == ENOSYS || errno == EPERM)
            return io_open_beneath_walk(dirfd, path, flags);
        if (errno != EAGAIN)
            return -errno;
    }
    return -EAGAIN;
}

ssize_t io_read_full(int fd, char *buf, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t n = read(fd, buf + used, size - used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

ssize_t io_read_at(int dirfd, const char *name, char *buf, size_t size)
{
    autofd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = io_read_full(fd, buf, size);
    if (n < 0)
        return n;
    if ((size_t)n == size)
        return -EFBIG;
    if (n > 0 && buf[n - 1] == '\n')
        n--;
    buf[n] = '\0';
    return n;
}

ssize_t io_read_all(int fd, size_t max, char **ret)
{
    size_t capacity = 4096, used = 0;
    autofree char *buf = malloc(capacity);

    if (!buf)
        return -ENOMEM;
    for (;;) {
        ssize_t n = io_read_full(fd, buf + used, capacity - used);

        if (n < 0)
            return n;
        used += (size_t)n;
        if (used > max)
            return -EFBIG;
        if (used < capacity)
            break;
        char *bigger = realloc(buf, capacity * 2);

        if (!bigger)
            return -ENOMEM;
        buf = bigger;
        capacity *= 2;
    }
    buf[used] = '\0';
    *ret = buf;
    buf = NULL;
    return (ssize_t)used;
}

ssize_t io_read_all_at(int dirfd, const char *name, size_t max, char **ret)
{
    autofd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return -errno;
    return io_read_all(fd, max, ret);
}

int io_write_at(int dirfd, const char *name, const char *text)
{
    autofd fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t len = strlen(text);
    ssize_t n;

    if (fd < 0)
        return -errno;
    do
        n = write(fd, text, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

int io_write_id_at(int dirfd, const char *name, pid_t id)
{
    char text[16], *p = text + sizeof text - 1;
    unsigned rest = (unsigned)id;

    *p = '\0';
    do
        *--p = (char)('0' + rest % 10);
    while (rest /= 10);
    return io_write_at(dirfd, name, p);
}

static int write_full(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int io_replace_at(int dirfd, const char *name, const char *data, size_t len)
{
    char temp[NAME_MAX + 1];
    autofd fd = FD_NONE;
    int r;

    if (strlen(name) + 5 > sizeof temp)
        return -ENAMETOOLONG;
    strcpy(temp, name);
    strcat(temp, ".tmp");
    fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = write_full(fd, data, len);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(dirfd, temp, 0);
        return r;
    }
    /* The rename itself must reach the disk as well; EINVAL: a file system that has no such thing.
     */
    fd_close(&fd);
    fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0 && errno != EINVAL)
        return -errno;
    return 0;
}

int io_mkdirs(int dirfd, const char *path, mode_t mode)
{
    char partial[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof partial)
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdirat(dirfd, partial, mode) < 0 && errno != EEXIST)
            return -errno;
    }
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? -errno : fd;
}

void io_drain(int fd)
{
    char buf[4096];
    ssize_t n;

    do
        n = read(fd, buf, sizeof buf);
    while (n > 0 || (n < 0 && errno == EINTR));
}

void io_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

unsigned long long io_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
}
