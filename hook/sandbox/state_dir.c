/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/state_dir.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE   "lock"
#define REPORT_FILE "placement.json" /* see placement.h */

static bool is_of(const struct stat *st, uid_t user)
{
    return st->st_uid == user && !(st->st_mode & 022);
}

bool state_is_ours(const struct stat *st)
{
    return is_of(st, geteuid());
}

static int check_ours(int fd, uid_t own)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? -errno : is_of(&st, own) ? 0 : -EPERM;
}

/* A directory in the top, which is ours, so that it stays what it is. */
static int check_part(int top, const char *name, bool make, uid_t own)
{
    struct stat st;
    int r = fstatat(top, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;

    /* Only the first stage since the host has booted makes them. */
    if (r == -ENOENT && make) {
        if (mkdirat(top, name, 0700) < 0 && errno != EEXIST)
            return -errno;
        r = fstatat(top, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    }
    if (r < 0)
        return r;
    return !S_ISDIR(st.st_mode) ? -ENOTDIR : is_of(&st, own) ? 0 : -EPERM;
}

static bool is_private(const char *dir)
{
    struct stat st;

    return dir && dir[0] == '/' && lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
           state_is_ours(&st);
}

const char *state_dir_of_user(struct arena *a)
{
    const char *dir = secure_getenv("XDG_RUNTIME_DIR");
    unsigned long inside, outside;
    char map[256];

    if (!is_private(dir) && io_read_at(AT_FDCWD, "/proc/self/uid_map", map, sizeof map) > 0 &&
        sscanf(map, "%lu %lu", &inside, &outside) == 2)
        dir = arena_printf(a, "/run/user/%lu", outside);
    return is_private(dir) ? arena_printf(a, "%s/" STATE_DIR_NAME, dir) : NULL;
}

/* What others could have written is not believed. */
static int open_error(const char *path, int r, struct err *e)
{
    if (r == -EPERM)
        return err_set(e, r,
                       "the state directory %s, or one in it, is another user's or can be written "
                       "by others, so nothing in it is believed; make it yours, with mode 0700",
                       path);
    return err_sys(e, r, "cannot open the directories in the state directory %s", path);
}

int state_dir_open(const char *path, bool make, struct state_dir *ret, struct err *e)
{
    static const char *const parts[] = {"sandboxes", STATE_CONTAINERS, STATE_PATHS, "parents"};
    autofd top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const uid_t own = geteuid();
    int r;

    *ret = (struct state_dir)STATE_DIR_INIT;
    if (top < 0 && errno == ENOENT && make)
        top = io_mkdirs(AT_FDCWD, path, 0700);
    else if (top < 0)
        top = -errno;
    if (top < 0)
        return err_sys(e, top, "cannot open the state directory %s", path);
    r = check_ours(top, own);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
        r = check_part(top, parts[i], make, own);
    if (r == 0) {
        ret->sandboxes = openat(top, parts[0], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = ret->sandboxes < 0 ? -errno : 0;
    }
    if (r < 0) {
        state_dir_close(ret);
        return open_error(path, r, e);
    }
    ret->top = fd_take(&top);
    ret->parents = (struct cg_parents){.dirfd = ret->top, .table = parts[3]};
    return 0;
}

void state_dir_close(struct state_dir *s)
{
    fd_close(&s->sandboxes);
    fd_close(&s->top);
    s->parents = (struct cg_parents){.dirfd = FD_NONE};
}

/*
 * The sandbox may have been removed, and made anew, between opening its lock and getting it; its
 * directory may even be the same one with another lock in it. What counts is the file that the next
 * one opens. 1 yes; 0 no; -errno: it is not known.
 */
static int is_current(const struct state_dir *s, const char *sandbox_id, int lock_fd)
{
    char path[NAME_MAX + sizeof LOCK_FILE + 2];
    struct stat held, named;

    snprintf(path, sizeof path, "%s/" LOCK_FILE, sandbox_id);
    if (fstat(lock_fd, &held) < 0)
        return -errno;
    if (fstatat(s->sandboxes, path, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* One try. 1: got it; 0: the sandbox changed under us, try again; -errno. */
static int try_lock(const struct state_dir *s, const char *sandbox_id, bool make, int timeout_ms,
                    struct state_lock *ret, struct err *e)
{
    autofd dir = openat(s->sandboxes, sandbox_id, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    autofd file = FD_NONE;
    int r;

    if (dir < 0 && errno == ENOENT && make)
        return 0;
    if (dir < 0)
        return err_sys(e, -errno, "cannot open the record of sandbox %s", sandbox_id);
    file = openat(dir, LOCK_FILE, O_RDWR | (make ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0 && errno == ENOENT && make) /* the directory was removed */
        return 0;
    if (file < 0)
        return err_sys(e, -errno, "cannot open the lock of sandbox %s", sandbox_id);
    r = io_lock(file, timeout_ms);
    if (r == -ETIMEDOUT)
        return err_sys(e, r, "cannot lock sandbox %s: another stage holds it", sandbox_id);
    if (r < 0)
        return err_sys(e, r, "cannot lock sandbox %s", sandbox_id);
    r = is_current(s, sandbox_id, file);
    if (r <= 0)
        return r < 0 ? err_sys(e, r, "cannot look at the lock of sandbox %s", sandbox_id) : 0;
    ret->dirfd = fd_take(&dir);
    ret->lock_fd = fd_take(&file);
    return 1;
}

int state_look(const struct state_dir *s, const char *sandbox_id, struct state_lock *ret,
               struct err *e)
{
    *ret = (struct state_lock)STATE_LOCK_INIT;
    ret->dirfd = openat(s->sandboxes, sandbox_id, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return ret->dirfd < 0 ? err_sys(e, -errno, "cannot open the record of sandbox %s", sandbox_id)
                          : 0;
}

int state_lock(const struct state_dir *s, const char *sandbox_id, bool make, int timeout_ms,
               struct state_lock *ret, struct err *e)
{
    int r = 0;

    *ret = (struct state_lock)STATE_LOCK_INIT;
    while (r == 0) {
        if (make && mkdirat(s->sandboxes, sandbox_id, 0700) < 0 && errno != EEXIST)
            return err_sys(e, -errno, "cannot make the record of sandbox %s", sandbox_id);
        r = try_lock(s, sandbox_id, make, timeout_ms, ret, e);
    }
    /* Refused if there is a record in it, or somebody's lock. */
    if (r < 0 && make)
        unlinkat(s->sandboxes, sandbox_id, AT_REMOVEDIR);
    return r < 0 ? r : 0;
}

void state_abandon(const struct state_dir *s, const char *sandbox_id, const struct record *names,
                   struct state_lock *lock)
{
    if (lock->dirfd >= 0 && faccessat(lock->dirfd, RECORD_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno == ENOENT)
        (void)state_remove(s, sandbox_id, names, lock, NULL);
}

void state_unlock(struct state_lock *lock)
{
    /* Not by close alone: a child of ours may still have the descriptor. */
    if (lock->lock_fd >= 0)
        flock(lock->lock_fd, LOCK_UN);
    fd_close(&lock->lock_fd);
    fd_close(&lock->dirfd);
}

/* What is there besides record and lock. False: one of them could not be removed. */
static bool remove_files(int dirfd)
{
    static const char *const names[] = {RECORD_FILE ".tmp", REPORT_FILE, REPORT_FILE ".tmp"};
    bool done = true;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        done = (unlinkat(dirfd, names[i], 0) == 0 || errno == ENOENT) && done;
    return done;
}

int state_remove(const struct state_dir *s, const char *sandbox_id, const struct record *names,
                 struct state_lock *lock, struct err *e)
{
    autoarena a = ARENA_INIT;
    const char *claimed[RECORD_NAMES_MAX];
    size_t count = names ? record_names(names, &a, claimed) : 0;
    int first = 0;

    if (unlinkat(lock->dirfd, RECORD_FILE, 0) < 0 && errno != ENOENT) {
        int r = err_sys(e, -errno, "cannot remove " RECORD_FILE " of sandbox %s", sandbox_id);

        state_unlock(lock);
        return r;
    }
    for (size_t i = 0; i < count; i++) {
        int r = links_release(s, sandbox_id, claimed[i]);

        if (r < 0 && first == 0)
            first = err_sys(e, r, "cannot look whether %s is remembered as that of sandbox %s",
                            claimed[i], sandbox_id);
    }
    /* Without its lock nobody would look into a directory that still holds one of them. */
    if (remove_files(lock->dirfd) && (unlinkat(lock->dirfd, LOCK_FILE, 0) == 0 || errno == ENOENT))
        unlinkat(s->sandboxes, sandbox_id, AT_REMOVEDIR);
    state_unlock(lock);
    return first;
}

int state_lookup(const struct state_dir *s, const char *container_id, struct arena *a,
                 const char **ret_sandbox_id)
{
    int r = links_find_container(s, container_id, a, ret_sandbox_id);

    /* Somebody else's sandbox may be called like this container. */
    if (r != -ENOENT)
        return r;
    if (faccessat(s->sandboxes, container_id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    *ret_sandbox_id = container_id;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int state_list(const struct state_dir *s, struct arena *a, const char ***ret, size_t *ret_count,
               struct err *e)
{
    autodir dir = io_opendir_at(s->sandboxes, ".");
    struct dirent *entry;

    *ret = NULL;
    *ret_count = 0;
    if (!dir)
        return err_sys(e, -errno, "cannot list the sandboxes");
    while ((entry = io_next_entry(dir))) {
        ARENA_APPEND(a, *ret, *ret_count) = arena_strdup(a, entry->d_name);
    }
    if (errno)
        return err_sys(e, -errno, "cannot list all of the sandboxes");
    if (*ret_count > 0)
        qsort(*ret, *ret_count, sizeof **ret, by_text);
    return 0;
}

/* Whether a directory has two links and no more, its name and its dot, so that there is no directory in it. Where
 * a file system does not count them it has one. */
static bool has_none(int dirfd)
{
    struct stat st;

    return fstat(dirfd, &st) == 0 && st.st_nlink == 2;
}

size_t state_sample(const struct state_dir *s, size_t max, char (*ret)[NAME_MAX + 1])
{
    autodir dir = has_none(s->sandboxes) ? NULL : io_opendir_at(s->sandboxes, ".");
    uint64_t random = io_now_us();
    struct dirent *entry;
    size_t seen = 0;

    /* Each name takes the place of an earlier one so often that all end up equally likely. */
    while ((entry = io_next_entry(dir))) {
        size_t place = seen++;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (seen > max)
            place = (size_t)((random >> 33) % seen);
        if (place < max)
            snprintf(ret[place], NAME_MAX + 1, "%s", entry->d_name);
    }
    return seen < max ? seen : max;
}
