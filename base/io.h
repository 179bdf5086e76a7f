/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_IO_H
#define BASE_IO_H

/*
 * Files by directory descriptor: bounded reads, one-call writes, opening beneath a root without
 * following links, atomic replacement.
 *
 * All functions but io_opendir_at() return a negative errno on failure, and leave errno itself as
 * it comes. Every descriptor is close-on-exec.
 */

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct err;

/* For gcc, which then looks at the callers' buffers: the numbers of the arguments. */
#if __has_attribute(access)
#define FILLS(buf, size) __attribute__((access(write_only, buf, size)))
#else
#define FILLS(buf, size)
#endif

/*
 * Open @path beneath @dirfd. No component may be a symbolic link or "..", and mount points are not
 * crossed. @flags as for open(2); O_CLOEXEC and O_NOFOLLOW are added. "" opens @dirfd itself.
 * Returns the descriptor; -ELOOP a link; -EXDEV an attempt to leave; other -errno from the kernel.
 * openat2(2) where the kernel has it (5.6), otherwise a walk that refuses the same things.
 */
int io_open_beneath(int dirfd, const char *path, int flags);

/* The walk alone, for kernels and seccomp filters without openat2(2). Public for its test. */
int io_open_beneath_walk(int dirfd, const char *path, int flags);

/*
 * List the directory @name of @dirfd, which may be an O_PATH descriptor; "." is @dirfd itself, read
 * from its beginning. A link is refused. NULL with errno, and nothing is left open.
 */
DIR *io_opendir_at(int dirfd, const char *name);

/*
 * The next entry but "." and "..". NULL with errno 0 at the end, so that -errno behind a loop is 0 or why not
 * all was seen; where there is no @dir errno is what io_opendir_at() has left, as long as nothing came between.
 */
struct dirent *io_next_entry(DIR *dir);

/* read(2) until the buffer is full or the file ends. Returns the number of bytes. */
ssize_t io_read_full(int fd, char *buf, size_t size) FILLS(2, 3);

/*
 * The whole of a small text file, NUL-terminated, one trailing newline removed.
 * Returns its length; -EFBIG when it does not fit.
 */
ssize_t io_read_at(int dirfd, const char *name, char *buf, size_t size) FILLS(3, 4);

/*
 * The same of a file of one line, of which no more is read than that: who reads on to its end asks the kernel once
 * more for each of them. One without a newline is read to its end.
 */
ssize_t io_read_line_at(int dirfd, const char *name, char *buf, size_t size) FILLS(3, 4);

/*
 * The whole of a text file of unknown size up to @max bytes, NUL-terminated, as it is.
 * @ret  malloc()ed, the caller's. Returns its length; -EFBIG when it is longer.
 */
ssize_t io_read_all_at(int dirfd, const char *name, size_t max, char **ret);

/* The same from an open descriptor, read to its end. */
ssize_t io_read_all(int fd, size_t max, char **ret);

/*
 * Write a control file: it must exist, and the value goes in by one write(2), so that a kill leaves
 * the old or the new value. Returns 0; -EIO for a short write.
 */
int io_write_at(int dirfd, const char *name, const char *text);

/* The same for a number, without allocation. */
int io_write_id_at(int dirfd, const char *name, pid_t id);

/* Write all of it, by as many calls as that takes. 0; -errno. */
int io_write_full(int fd, const char *data, size_t len);

/*
 * Replace a file by temporary file, fsync and rename: a kill or a crash leaves the old or the new content.
 * The directory is not fsynced, so a crash may bring back the old one after a success; on a tmpfs or ramfs, which no
 * reboot survives, nothing is. Mode 0600. One writer at a time: the temporary name is fixed. 0; -errno: the old content
 * is there.
 */
int io_replace_at(int dirfd, const char *name, const char *data, size_t len);

/* The same for one that everybody may read: mode 0644. */
int io_replace_public_at(int dirfd, const char *name, const char *data, size_t len);

/*
 * The same for a file that others own: the new one has the owner, the access ACL and the mode, but
 * for setuid and setgid, of the open file @like. The directory is fsynced, too. The temporary name is
 * .NAME.oci-sandbox-cgroup.
 * @ret_replaced  set on failure, too: the new file is in its place, but the directory may not have
 *                reached the disk. Otherwise nothing was changed.
 * -EPERM: the owner cannot be kept.
 */
int io_replace_like_at(int dirfd, const char *name, const char *data, size_t len, int like,
                       bool *ret_replaced);

/* mkdir for each missing component of @path beneath @dirfd, then open the last. */
int io_mkdirs(int dirfd, const char *path, mode_t mode);

/* Read and drop what is left in a descriptor, so that who writes to it never gets SIGPIPE. */
void io_drain(int fd);

/*
 * Have an inotify instance report each write to a file, by IN_MODIFY. No link is followed.
 * Returns the watch, for inotify_rm_watch(2): the same for the same file. -errno.
 */
int io_watch_at(int events, int dirfd, const char *name);

/*
 * flock(2) exclusively, @timeout_ms at most; 0: do not wait. 0; -ETIMEDOUT somebody else holds it;
 * other -errno. Meant for locks that are held for milliseconds.
 */
int io_lock(int fd, int timeout_ms);

/* Sleep, resuming after signals. */
void io_sleep_ms(unsigned ms);

/* Monotonic clock in microseconds. */
unsigned long long io_now_us(void);

/* How much CPU time this process has used, in microseconds. */
unsigned long long io_cpu_us(void);

/* Whether a file that is only ever replaced as a whole, on one file system, is the one that it was. */
bool io_is_same_file(const struct stat *a, const struct stat *b);

#endif
