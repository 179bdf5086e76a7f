/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who is in a cgroup, where a task is, and moving all of them: the part of the resource controller
 * that deals in processes and threads. See controller.h.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "cgroup/ops.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 4 million pids of 8 bytes each is more than PID_MAX_LIMIT allows. */
#define LIST_MAX ((size_t)32 << 20)

/* A path in each hierarchy. */
#define PROC_CGROUP_MAX ((size_t)CG_MAX_HIERARCHIES * PATH_MAX)

/* Cgroups inside of ours are followed as deep as this. */
#define CHILD_DEPTH 32

/* Rounds of move_to() and kill(): each catches what was forked during the one before. */
#define ROUNDS 64

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
static int read_tree(int dirfd, unsigned depth, struct arena *a, struct cg_pids *ret)
{
    int r = read_ids(dirfd, "cgroup.procs", a, ret);
    autodir dir = NULL;
    struct dirent *entry;
    struct stat st;

    if (r < 0 && r != -EOPNOTSUPP) /* a threaded cgroup: its domain lists the processes */
        return r;
    if (depth == CHILD_DEPTH || fstat(dirfd, &st) < 0 || st.st_nlink <= 2)
        return 0;
    dir = io_opendir_at(dirfd, ".");
    r = 0;
    while (r == 0 && (entry = io_next_entry(dir))) {
        autofd child = FD_NONE;

        if (entry->d_type != DT_DIR)
            continue;
        child = io_open_beneath(dirfd, entry->d_name, O_PATH | O_DIRECTORY);
        if (child >= 0)
            r = read_tree(child, depth + 1, a, ret);
    }
    return r;
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

/* The directory whose cgroup.procs can be read: that of a threaded child cannot. */
static int procs_dir(const struct cg_controller *c, size_t i)
{
    return c->leaf ? c->domain_fd : c->fds[i];
}

static int list_error(const struct cg_controller *c, size_t i, const char *file, int r,
                      struct err *e)
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
        int dirfd = procs_dir(c, i);
        int r = dirfd < 0 ? 0 : read_tree(dirfd, 0, a, ret);

        if (r < 0)
            return list_error(c, i, "cgroup.procs", r, e);
    }
    sort_unique(ret);
    return 0;
}

int cg_threads(const struct cg_controller *c, struct arena *a, struct cg_pids *ret, struct err *e)
{
    size_t best = c->host->count;
    int r;

    *ret = (struct cg_pids){0};
    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];

        if (c->fds[i] < 0 || !cg_places_threads(c, h))
            continue;
        if (best == c->host->count || h->controllers & CG_CTL_BIT(CG_CTL_CPU))
            best = i;
    }
    if (best == c->host->count)
        return 0;
    r = read_ids(c->fds[best], c->ops->thread_file, a, ret);
    if (r < 0)
        return list_error(c, best, c->ops->thread_file, r, e);
    sort_unique(ret);
    return 0;
}

bool cg_is_empty(const struct cg_controller *c)
{
    for (size_t i = 0; i < c->host->count; i++) {
        int dirfd = procs_dir(c, i);
        autofd fd = dirfd < 0 ? FD_NONE : openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
        uint64_t populated = 0;
        char byte;

        if (fd >= 0 && read(fd, &byte, 1) > 0)
            return false;
        /* v2 knows of the cgroups below it, too. */
        if (fd >= 0 && cg_read_key(dirfd, "cgroup.events", "populated", &populated) && populated)
            return false;
    }
    return true;
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

int cg_holds(const struct cg_controller *c, pid_t tid)
{
    const char *paths[CG_MAX_HIERARCHIES];
    autofree char *text = NULL;
    size_t len = strlen(c->path);
    int held = 0;
    int r = read_proc_cgroup(c->host, tid, &text, paths);

    if (r < 0)
        return r;
    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];
        const char *path = paths[i] ? below_root(h, paths[i]) : NULL;

        if (c->fds[i] < 0 || !cg_places_threads(c, h))
            continue;
        if (!path || !str_starts(path, c->path))
            return 0;
        if (c->leaf ? path[len] != '/' || !str_eq(path + len + 1, c->leaf) : path[len] != '\0')
            return 0;
        held = 1;
    }
    return held;
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

int cg_origin_enter(const struct cg_host *host, pid_t pid, const struct cg_origin *origin,
                    struct err *e)
{
    int first = 0;

    for (size_t i = 0; i < host->count; i++) {
        const struct cg_hierarchy *h = &host->hierarchies[i];
        autofd fd = FD_NONE;
        char where[PATH_MAX];
        int r;

        if (!origin->paths[i])
            continue;
        fd = io_open_beneath(h->fd, cg_path_relative(origin->paths[i]), O_PATH | O_DIRECTORY);
        r = fd < 0 ? fd : io_write_id_at(fd, "cgroup.procs", pid);
        if (r < 0)
            err_sys(e, r, "cannot move process %d to %s", (int)pid,
                    cg_full_path(h, origin->paths[i], NULL, "cgroup.procs", where, sizeof where));
        if (first == 0)
            first = r;
    }
    return first;
}

/* One hierarchy's destination of a move: it climbs while the kernel says "not here". */
struct target {
    const struct cg_hierarchy *h;
    char path[PATH_MAX];
    int fd;
};

static bool climb(struct target *t)
{
    char *slash = strrchr(t->path, '/');

    fd_close(&t->fd);
    if (str_eq(t->path, "/"))
        return false;
    slash[slash == t->path] = '\0';
    return true;
}

/* EBUSY, EOPNOTSUPP: a v2 cgroup that has children with controllers, or is threaded. ENOSPC: a v1
 * cpuset without CPUs. ENOENT: it was removed. */
static bool is_no_place(int r)
{
    return r == -EBUSY || r == -EOPNOTSUPP || r == -ENOSPC || r == -ENOENT || r == -ENODEV;
}

static int move_one(struct target *t, pid_t pid, struct err *e)
{
    char where[PATH_MAX];
    int r;

    for (;;) {
        if (t->fd < 0)
            t->fd = io_open_beneath(t->h->fd, cg_path_relative(t->path), O_PATH | O_DIRECTORY);
        r = t->fd < 0 ? t->fd : io_write_id_at(t->fd, "cgroup.procs", pid);
        if (r == 0 || r == -ESRCH)
            return 0;
        if (!is_no_place(r) || !climb(t))
            return err_sys(e, r, "cannot move process %d to %s", (int)pid,
                           cg_full_path(t->h, t->path, NULL, "cgroup.procs", where, sizeof where));
    }
}

/*
 * A main thread that has ended, or is about to, stays listed while other threads of its process
 * live or its files are being closed (inotify's take their time), and a move does not take it
 * along: what is left of such a process has been moved already.
 */
static void drop_dead(struct cg_pids *pids)
{
    size_t kept = 0;

    for (size_t i = 0; i < pids->count; i++) {
        struct proc_stat st;

        if (proc_stat_read(pids->items[i], &st) == 0 && !st.exiting)
            pids->items[kept++] = pids->items[i];
    }
    pids->count = kept;
}

int cg_move_to(struct cg_controller *c, const char *path, unsigned *ret_moved,
               const char **ret_where, struct arena *a, struct err *e)
{
    unsigned moved = 0, most = 0;

    for (size_t i = 0; i < c->host->count; i++) {
        struct target t = {.h = &c->host->hierarchies[i], .fd = FD_NONE};
        int dirfd = procs_dir(c, i);
        int r = 0;

        snprintf(t.path, sizeof t.path, "%s", path);
        moved = 0;
        for (unsigned round = 0; dirfd >= 0; round++) {
            struct cg_pids pids = {0};

            r = read_tree(dirfd, 0, a, &pids);
            if (r < 0)
                return list_error(c, i, "cgroup.procs", r, e);
            if (round > 0)
                drop_dead(&pids);
            if (pids.count == 0)
                break;
            if (round == ROUNDS)
                return err_set(e, -EBUSY, "processes keep appearing in %s", c->path);
            for (size_t k = 0; r == 0 && k < pids.count; k++)
                r = move_one(&t, pids.items[k], e);
            if (r < 0)
                break;
            moved += (unsigned)pids.count;
        }
        if (moved > 0 && ret_where)
            *ret_where = arena_strdup(a, t.path);
        fd_close(&t.fd);
        if (r < 0)
            return r;
        if (moved > most)
            most = moved;
    }
    if (ret_moved)
        *ret_moved = most;
    return 0;
}

/*
 * A pid that was listed may be another process's by the time it is signalled. A pidfd that was
 * opened before the pid was listed once more is of a process that was in the cgroup, or of none any
 * more.
 */
static int signal_listed(struct cg_controller *c, int signo, size_t *ret_count, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids before, now;
    int *fds;
    int r = cg_processes(c, &a, &before, e);

    if (r < 0)
        return r;
    fds = arena_alloc(&a, (before.count + 1) * sizeof *fds);
    for (size_t i = 0; i < before.count; i++)
        fds[i] = (int)syscall(SYS_pidfd_open, before.items[i], 0);
    r = cg_processes(c, &a, &now, e);
    for (size_t i = 0, k = 0; i < before.count; i++) {
        /* Both lists are sorted. */
        while (r == 0 && k < now.count && now.items[k] < before.items[i])
            k++;
        if (r == 0 && fds[i] >= 0 && k < now.count && now.items[k] == before.items[i])
            syscall(SYS_pidfd_send_signal, fds[i], signo, NULL, 0);
        fd_close(&fds[i]);
    }
    *ret_count = before.count;
    return r;
}

int cg_kill(struct cg_controller *c, int signo, struct err *e)
{
    if (signo == SIGKILL && c->ops->kill && c->ops->kill(c) == 0)
        return 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t count = 0;
        int r = signal_listed(c, signo, &count, e);

        if (r < 0)
            return r;
        if (count == 0 || signo != SIGKILL)
            return 0;
        io_sleep_ms(round < 8 ? 1 : 20);
    }
    return err_set(e, -EBUSY, "processes keep appearing in %s", c->path);
}
