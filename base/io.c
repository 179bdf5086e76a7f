/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Mount points are not crossed; where statx(2) tells, bind mounts of one file system neither. */
static bool same_mount(int fd, const struct statx *root)
{
    struct statx st;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st) < 0)
        return false;
    if (st.stx_dev_major != root->stx_dev_major || st.stx_dev_minor != root->stx_dev_minor)
        return false;
    return !(st.stx_mask & root->stx_mask & STATX_MNT_ID) || st.stx_mnt_id == root->stx_mnt_id;
}

/* One component. A link is ELOOP, whatever open(2) makes of it with these flags. */
static int open_component(int dirfd, const char *name, int flags, const struct statx *root)
{
    autofd fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;

    if (fd < 0) {
        int r = -errno;

        if (r == -ENOTDIR && fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISLNK(st.st_mode))
            return -ELOOP;
        return r;
    }
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return -ELOOP;
    return same_mount(fd, root) ? fd_take(&fd) : -EXDEV;
}

static bool has_dotdot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")); p += 2) {
        if ((p == path || p[-1] == '/') && (p[2] == '\0' || p[2] == '/'))
            return true;
    }
    return false;
}

int io_open_beneath_walk(int dirfd, const char *path, int flags)
{
    autofree char *copy = strdup(path);
    char *cursor = copy, *name, *last = NULL;
    autofd dir = FD_NONE;
    struct statx root;

    if (!copy)
        return -ENOMEM;
    if (path[0] == '/' || has_dotdot(path))
        return -EXDEV; /* NOLINT(clang-analyzer-unix.Malloc): it does not know autofree */
    if (statx(dirfd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &root) < 0)
        return -errno;
    if (str_ends(path, "/"))
        flags |= O_DIRECTORY;
    while ((name = str_next(&cursor, '/'))) {
        if (str_empty(name) || str_eq(name, "."))
            continue;
        if (last) {
            int next = open_component(dir >= 0 ? dir : dirfd, last, O_PATH | O_DIRECTORY, &root);

            if (next < 0)
                return next;
            fd_close(&dir);
            dir = next;
        }
        last = name;
    }
    return open_component(dir >= 0 ? dir : dirfd, last ? last : ".", flags, &root);
}

int io_open_beneath(int dirfd, const char *path, int flags)
{
    /* Without O_NOFOLLOW: with it O_PATH would open a link itself, as if nobody minded links. */
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) ? 0600 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };

    if (has_dotdot(path))
        return -EXDEV;
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

DIR *io_opendir_at(int dirfd, const char *name)
{
    autofd fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir)
        fd_take(&fd); /* the stream's now */
    return dir;
}

struct dirent *io_next_entry(DIR *dir)
{
    struct dirent *entry;

    if (!dir)
        return NULL;
    do {
        errno = 0;
        entry = readdir(dir);
    } while (entry && (str_eq(entry->d_name, ".") || str_eq(entry->d_name, "..")));
    return entry;
}

/* @line  also until what was read ends with a line */
static ssize_t read_until(int fd, char *buf, size_t size, bool line)
{
    size_t used = 0;

    while (used < size && !(line && used > 0 && buf[used - 1] == '\n')) {
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

ssize_t io_read_full(int fd, char *buf, size_t size)
{
    return read_until(fd, buf, size, false);
}

static ssize_t read_at(int dirfd, const char *name, char *buf, size_t size, bool line)
{
    autofd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read_until(fd, buf, size, line);
    if (n < 0)
        return n;
    if ((size_t)n == size)
        return -EFBIG;
    if (n > 0 && buf[n - 1] == '\n')
        n--;
    buf[n] = '\0';
    return n;
}

ssize_t io_read_at(int dirfd, const char *name, char *buf, size_t size)
{
    return read_at(dirfd, name, buf, size, false);
}

ssize_t io_read_line_at(int dirfd, const char *name, char *buf, size_t size)
{
    return read_at(dirfd, name, buf, size, true);
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
            return -ENOMEM; /* NOLINT(clang-analyzer-unix.Malloc): it does not know autofree */
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

int io_write_full(int fd, const char *data, size_t len)
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

#define ACL_XATTR "system.posix_acl_access"

static bool is_no_acl(int error)
{
    return error == ENODATA || error == EOPNOTSUPP;
}

/* Where there is none, what the directory gives to new files has to go. */
static int copy_acl(int fd, int like)
{
    autofree char *acl = malloc(XATTR_SIZE_MAX);
    ssize_t n;

    if (!acl)
        return -ENOMEM;
    n = fgetxattr(like, ACL_XATTR, acl, XATTR_SIZE_MAX);
    if (n >= 0)
        return fsetxattr(fd, ACL_XATTR, acl, (size_t)n, 0) < 0 ? -errno : 0;
    if (!is_no_acl(errno))
        return -errno;
    return fremovexattr(fd, ACL_XATTR) < 0 && !is_no_acl(errno) ? -errno : 0;
}

/*
 * The owner first: changing it takes bits from the mode. Then the ACL: with one the group's bits of
 * the mode are its mask, and without it they would be the rights of the owning group. Nobody meant
 * setuid and setgid for a new content.
 */
static int be_like(int fd, int like)
{
    struct stat st, old;
    int r;

    if (fstat(fd, &st) < 0 || fstat(like, &old) < 0)
        return -errno;
    if ((st.st_uid != old.st_uid || st.st_gid != old.st_gid) &&
        fchown(fd, old.st_uid, old.st_gid) < 0)
        return -errno;
    r = copy_acl(fd, like);
    if (r < 0)
        return r;
    return fchmod(fd, old.st_mode & 07777 & ~(mode_t)(S_ISUID | S_ISGID)) < 0 ? -errno : 0;
}

/* What is there is gone after a reboot, so none of it has to reach a disk. */
static bool is_in_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static int replace(int dirfd, const char *name, const char *temp, const char *data, size_t len,
                   int like, mode_t mode, bool *ret_replaced)
{
    autofd fd = FD_NONE, dir = FD_NONE;
    bool in_memory, synced_dir;
    int r;

    *ret_replaced = false;
    fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST &&
        unlinkat(dirfd, temp, 0) == 0) /* of a writer that was killed */
        fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = io_write_full(fd, data, len);
    if (r == 0 && like >= 0)
        r = be_like(fd, like);
    if (r == 0 && mode && fchmod(fd, mode) < 0)
        r = -errno;
    in_memory = is_in_memory(fd);
    if (r == 0 && !in_memory && fsync(fd) < 0)
        r = -errno;
    /* Which of our own files a crash leaves does not matter: the old or the new one. Opened before the rename, after
     * which there is no way back. */
    synced_dir = like >= 0 && !in_memory;
    if (r == 0 && synced_dir)
        dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && synced_dir && dir < 0)
        r = -errno;
    if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
        r = -errno;
    if (r < 0) {
        unlinkat(dirfd, temp, 0);
        return r;
    }
    *ret_replaced = true;
    /* The rename itself must reach the disk as well. EINVAL: a file system without such a thing. */
    if (synced_dir && fsync(dir) < 0 && errno != EINVAL)
        return -errno;
    return 0;
}

static int replace_at(int dirfd, const char *name, const char *data, size_t len, mode_t mode)
{
    char temp[NAME_MAX + 1];
    bool replaced;

    if ((size_t)snprintf(temp, sizeof temp, "%s.tmp", name) >= sizeof temp)
        return -ENAMETOOLONG;
    return replace(dirfd, name, temp, data, len, FD_NONE, mode, &replaced);
}

int io_replace_at(int dirfd, const char *name, const char *data, size_t len)
{
    return replace_at(dirfd, name, data, len, 0);
}

int io_replace_public_at(int dirfd, const char *name, const char *data, size_t len)
{
    return replace_at(dirfd, name, data, len, 0644);
}

int io_replace_like_at(int dirfd, const char *name, const char *data, size_t len, int like,
                       bool *ret_replaced)
{
    char temp[NAME_MAX + 1];

    *ret_replaced = false;
    if ((size_t)snprintf(temp, sizeof temp, ".%s.oci-sandbox-cgroup", name) >= sizeof temp)
        return -ENAMETOOLONG;
    return replace(dirfd, name, temp, data, len, like, 0, ret_replaced);
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

int io_watch_at(int events, int dirfd, const char *name)
{
    char path[PATH_MAX];
    int watch;

    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
    watch = inotify_add_watch(events, path, IN_MODIFY | IN_DONT_FOLLOW);
    return watch < 0 ? -errno : watch;
}

/*
 * flock(2) has no timeout, and an alarm signal would need a handler in every caller. The lock is
 * held for milliseconds, so looking again after a fraction of one loses nothing.
 */
int io_lock(int fd, int timeout_ms)
{
    unsigned long long end = io_now_us() + (unsigned long long)timeout_ms * 1000;

    for (unsigned tries = 0;; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -errno;
        if (io_now_us() >= end)
            return -ETIMEDOUT;
        io_sleep_ms(tries < 100 ? 1 : 5);
    }
}

void io_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

static unsigned long long clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
}

unsigned long long io_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

unsigned long long io_cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

bool io_is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}
