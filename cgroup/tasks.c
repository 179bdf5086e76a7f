/* SPDX-License-Identifier: Apache-2.0 */

/* Who is in a cgroup, and where a task is. See controller.h; move.c is about moving them. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* 4 million pids of 8 bytes each is more than PID_MAX_LIMIT allows. */
#define LIST_MAX ((size_t)32 << 20)

/* A path in each hierarchy. */
#define PROC_CGROUP_MAX ((size_t)CG_MAX_HIERARCHIES * PATH_MAX)

/* Cgroups inside of ours are followed as deep as this. */
#define CHILD_DEPTH 32

/* Of those that a payload has made so many are looked into for threads. */
#define BELOW_MAX 256

int cg_pid_compare(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

    return (x > y) - (x < y);
}

/* Append the ids of a cgroup.procs, cgroup.threads or tasks file. */
static int read_ids(int dirfd, const char *file, struct arena *a, struct cg_pids *ret)
{
    autofree char *text = NULL;
    ssize_t len = io_read_all_at(dirfd, file, LIST_MAX, &text);

    if (len == -ENOENT || len == -ENODEV) /* the cgroup was removed meanwhile */
        return 0;
    if (len < 0)
        return (int)len;
    for (const char *p = text; *p;) {
        size_t width = strcspn(p, "\n");
        uint64_t id;

        /* 0 is a process of another pid namespace: we cannot name it. */
        if (str_to_u64(p, width, &id) == 0 && id > 0)
            ARENA_APPEND(a, ret->items, ret->count) = (pid_t)id;
        p += width + (p[width] == '\n');
    }
    return 0;
}

/*
 * The processes of a cgroup and of the cgroups that a payload made inside of it. The link count of
 * a cgroup directory is two and its children, so the usual cgroup costs no directory listing.
 */
int cg_read_tree(int dirfd, unsigned depth, struct arena *a, struct cg_pids *ret)
{
    int r = read_ids(dirfd, "cgroup.procs", a, ret);
    autodir dir = NULL;
    struct dirent *entry;
    struct stat st;

    if (r < 0 && r != -EOPNOTSUPP) /* a threaded cgroup: its domain lists the processes */
        return r;
    if (depth == CHILD_DEPTH)
        return 0;
    if (fstat(dirfd, &st) < 0)
        return -errno;
    if (st.st_nlink <= 2)
        return 0;
    dir = io_opendir_at(dirfd, ".");
    while ((entry = io_next_entry(dir))) {
        autofd child = FD_NONE;

        if (entry->d_type != DT_DIR)
            continue;
        child = io_open_beneath(dirfd, entry->d_name, O_PATH | O_DIRECTORY);
        r = child >= 0 ? cg_read_tree(child, depth + 1, a, ret) : child;
        if (r < 0 && r != -ENOENT) /* it was removed meanwhile */
            return r;
    }
    return errno == ENOENT ? 0 : -errno;
}

static void sort_unique(struct cg_pids *pids)
{
    size_t kept = 0;

    if (pids->count == 0)
        return;
    qsort(pids->items, pids->count, sizeof *pids->items, cg_pid_compare);
    for (size_t i = 0; i < pids->count; i++) {
        if (i == 0 || pids->items[i] != pids->items[i - 1])
            pids->items[kept++] = pids->items[i];
    }
    pids->count = kept;
}

int cg_procs_dir(const struct cg_controller *c, size_t i)
{
    return c->leaf ? c->domain_fd : c->fds[i];
}

int cg_list_error(const struct cg_controller *c, size_t i, const char *file, int r, struct err *e)
{
    char where[PATH_MAX];

    return err_sys(
        e, r, "cannot read %s",
        cg_full_path(&c->host->hierarchies[i], c->path, NULL, file, where, sizeof where));
}

int cg_processes(const struct cg_controller *c, struct arena *a, struct cg_pids *ret, struct err *e)
{
    *ret = (struct cg_pids){0};
    for (size_t i = 0; i < c->host->count; i++) {
        int dirfd = cg_procs_dir(c, i);
        int r = dirfd < 0 ? 0 : cg_read_tree(dirfd, 0, a, ret);

        if (r < 0)
            return cg_list_error(c, i, "cgroup.procs", r, e);
    }
    sort_unique(ret);
    return 0;
}

/* Where threads are listed: the cpu controller's, or any that places them; @host->count: nowhere. */
static size_t thread_hierarchy(const struct cg_controller *c)
{
    size_t best = c->host->count;

    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];

        if (c->fds[i] < 0 || !cg_places_threads(c, h))
            continue;
        if (best == c->host->count || h->controllers & CG_CTL_BIT(CG_CTL_CPU))
            best = i;
    }
    return best;
}

int cg_threads(const struct cg_controller *c, struct arena *a, struct cg_pids *ret, struct err *e)
{
    size_t best = thread_hierarchy(c);
    int r;

    *ret = (struct cg_pids){0};
    if (best == c->host->count)
        return 0;
    r = read_ids(c->fds[best], c->ops->thread_file, a, ret);
    if (r < 0)
        return cg_list_error(c, best, c->ops->thread_file, r, e);
    sort_unique(ret);
    return 0;
}

int cg_threads_dir(const struct cg_controller *c, const char **ret_file)
{
    size_t best = thread_hierarchy(c);

    *ret_file = c->ops->thread_file;
    return best < c->host->count ? c->fds[best] : -ENOENT;
}

/* @left: so many directories more. What cannot be listed, as a domain that is none, has no threads for us. */
static void read_below(int dirfd, const char *file, const char *skip, unsigned depth,
                       unsigned *left, struct arena *a, struct cg_pids *ret)
{
    struct dirent *entry;
    autodir dir = NULL;
    struct stat st;

    if (depth == CHILD_DEPTH || fstat(dirfd, &st) < 0 || st.st_nlink <= (skip ? 3u : 2u))
        return;
    dir = io_opendir_at(dirfd, ".");
    while (*left > 0 && (entry = io_next_entry(dir))) {
        autofd child = FD_NONE;

        if (entry->d_type != DT_DIR || str_eq_null(entry->d_name, skip))
            continue;
        (*left)--;
        child = io_open_beneath(dirfd, entry->d_name, O_PATH | O_DIRECTORY);
        if (child < 0)
            continue;
        (void)read_ids(child, file, a, ret);
        read_below(child, file, NULL, depth + 1, left, a, ret);
    }
}

void cg_threads_below(const struct cg_controller *c, const char *skip, struct arena *a,
                      struct cg_pids *ret)
{
    size_t best = thread_hierarchy(c);
    unsigned left = BELOW_MAX;

    if (best < c->host->count)
        read_below(c->fds[best], c->ops->thread_file, skip, 0, &left, a, ret);
    sort_unique(ret);
}

/* Of one hierarchy. 1: nobody is in it, also as it was removed meanwhile. */
static int is_empty_in(int dirfd, const char **ret_file)
{
    autofd fd = openat(dirfd, *ret_file = "cgroup.procs", O_RDONLY | O_CLOEXEC);
    uint64_t populated = 0;
    char byte;
    ssize_t n = fd < 0 ? -errno : io_read_full(fd, &byte, 1);
    int r;

    if (n != 0)
        return n > 0 ? 0 : n == -ENOENT || n == -ENODEV ? 1 : (int)n;
    /* v2 knows of the cgroups below it, too. */
    r = cg_read_key(dirfd, *ret_file = "cgroup.events", "populated", &populated);
    return r == -ENOENT || r == -ENODEV ? 1 : r < 0 ? r : !populated;
}

int cg_is_empty(const struct cg_controller *c, struct err *e)
{
    for (size_t i = 0; i < c->host->count; i++) {
        int dirfd = cg_procs_dir(c, i);
        const char *file;
        int r = dirfd < 0 ? 1 : is_empty_in(dirfd, &file);

        if (r != 1)
            return r < 0 ? cg_list_error(c, i, file, r, e) : 0;
    }
    return 1;
}

/*
 * /proc/PID/cgroup (cgroups(7)): "ID:CONTROLLERS:PATH" per hierarchy, and "0::PATH" for v2. Fills
 * in the path for each hierarchy of the host, NULL where the file has no line for it.
 */
static int read_proc_cgroup(const struct cg_host *host, pid_t id, char **ret_text,
                            const char *paths[static CG_MAX_HIERARCHIES])
{
    char name[32], *cursor, *line;
    ssize_t len;

    memset(paths, 0, CG_MAX_HIERARCHIES * sizeof *paths);
    snprintf(name, sizeof name, "/proc/%d/cgroup", (int)id);
    len = io_read_all_at(AT_FDCWD, name, PROC_CGROUP_MAX, ret_text);
    if (len < 0)
        return len == -ENOENT ? -ESRCH : (int)len;
    cursor = *ret_text;
    while ((line = str_next(&cursor, '\n'))) {
        char *rest = line;
        const char *number = str_next(&rest, ':'), *controllers = str_next(&rest, ':');

        if (!controllers || !rest)
            continue;
        for (size_t i = 0; i < host->count; i++) {
            const struct cg_hierarchy *h = &host->hierarchies[i];

            if (h->v2 ? str_eq(number, "0") && !*controllers : str_eq(controllers, h->name))
                paths[i] = rest;
        }
    }
    return 0;
}

/* Strip the mounted root from a path of /proc/PID/cgroup; NULL when it is outside of the mount. */
static const char *below_root(const struct cg_hierarchy *h, const char *path)
{
    size_t len = strlen(h->root);

    if (str_eq(h->root, "/"))
        return path;
    if (!str_starts(path, h->root) || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return path[len] ? path + len : "/";
}

/* Whether the line of the i-th hierarchy, NULL for none, is that of @c, which is open there. */
static bool is_at(const struct cg_controller *c, size_t i, const char *line)
{
    const char *path = line && c->fds[i] >= 0 ? below_root(&c->host->hierarchies[i], line) : NULL;
    size_t len;

    if (!path || !str_starts(path, c->path))
        return false;
    len = strlen(c->path);
    return c->leaf ? path[len] == '/' && str_eq(path + len + 1, c->leaf) : path[len] == '\0';
}

int cg_holds(const struct cg_controller *c, pid_t tid)
{
    const char *paths[CG_MAX_HIERARCHIES];
    autofree char *text = NULL;
    int held = 0;
    int r = read_proc_cgroup(c->host, tid, &text, paths);

    if (r < 0)
        return r;
    for (size_t i = 0; i < c->host->count; i++) {
        if (c->fds[i] < 0 || !cg_places_threads(c, &c->host->hierarchies[i]))
            continue;
        if (!is_at(c, i, paths[i]))
            return 0;
        held = 1;
    }
    return held;
}

int cg_has_thread(const struct cg_controller *c, pid_t tid)
{
    size_t i = thread_hierarchy(c), len;
    const char *paths[CG_MAX_HIERARCHIES], *path;
    autofree char *text = NULL;
    int r = read_proc_cgroup(c->host, tid, &text, paths);

    if (r < 0 || i == c->host->count || !paths[i])
        return r < 0 ? r : 0;
    path = below_root(&c->host->hierarchies[i], paths[i]);
    len = strlen(c->path);
    if (!path || !str_starts(path, c->path))
        return 0;
    path += len;
    if (c->leaf && *path == '/' && str_starts(path + 1, c->leaf))
        path += 1 + strlen(c->leaf);
    else if (c->leaf)
        return 0;
    return *path == '/' || *path == '\0';
}

int cg_hold_process(const struct cg_controller *const *all, size_t count, pid_t pid)
{
    const struct cg_host *host = all[0]->host;
    const char *paths[CG_MAX_HIERARCHIES];
    autofree char *text = NULL;
    int held = 0;
    int r = read_proc_cgroup(host, pid, &text, paths);

    if (r < 0)
        return r;
    for (size_t i = 0; i < host->count; i++) {
        bool open = false, here = false;

        for (size_t k = 0; k < count; k++) {
            open = open || all[k]->fds[i] >= 0;
            here = here || is_at(all[k], i, paths[i]);
        }
        if (open && !here)
            return 0;
        held = held || here;
    }
    return held;
}

/* Whether the controller is open where a line of /proc/PID/cgroup says that the process is in its cgroup. */
static bool is_open_for(const struct cg_controller *c, const char *number, const char *controllers,
                        const char *path)
{
    size_t len = strlen(path), own = strlen(c->path);

    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];

        if (h->v2 ? str_eq(number, "0") && !*controllers : str_eq(controllers, h->name)) {
            path = below_root(h, path);
            return c->fds[i] >= 0 || !path || !str_eq(path, c->path);
        }
    }
    /* A mount that is not there has no root to take away. */
    return len < own || !str_eq(path + len - own, c->path);
}

int cg_covers(const struct cg_controller *c, pid_t pid)
{
    char name[32], *cursor, *line;
    autofree char *text = NULL;
    ssize_t len;

    snprintf(name, sizeof name, "/proc/%d/cgroup", (int)pid);
    len = io_read_all_at(AT_FDCWD, name, PROC_CGROUP_MAX, &text);
    if (len < 0)
        return len == -ENOENT ? -ESRCH : (int)len;
    cursor = text;
    while ((line = str_next(&cursor, '\n'))) {
        const char *number = str_next(&line, ':'),
                   *controllers = line ? str_next(&line, ':') : NULL;

        if (controllers && line && !is_open_for(c, number, controllers, line))
            return 0;
    }
    return 1;
}

int cg_origin_read(const struct cg_host *host, pid_t pid, struct arena *a, struct cg_origin *ret,
                   struct err *e)
{
    const char *paths[CG_MAX_HIERARCHIES];
    autofree char *text = NULL;
    int r = read_proc_cgroup(host, pid, &text, paths);

    *ret = (struct cg_origin){0};
    if (r < 0)
        return err_sys(e, r, "cannot read /proc/%d/cgroup", (int)pid);
    for (size_t i = 0; i < host->count; i++) {
        const char *path = paths[i] ? below_root(&host->hierarchies[i], paths[i]) : NULL;

        ret->paths[i] = path ? arena_strdup(a, path) : NULL;
    }
    return 0;
}
