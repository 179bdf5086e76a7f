/* SPDX-License-Identifier: Apache-2.0 */

/* Processes and threads are put into cgroups, back where they were, out of them, or ended. See controller.h. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "cgroup/ops.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rounds of cg_move_to() and cg_kill(): each catches what was forked during the one before. */
#define ROUNDS 64

#define ENDED   "process or thread %d has ended"
#define UNKNOWN "cannot tell whether process or thread %d lives"

/* ---- exactly this task ---- */

/*
 * The kernel moves whoever has a number, so each move goes by proc_id: whether the task still has its number is
 * asked directly before and directly after. A stranger that has got it in between is some microseconds old.
 */

static bool is_same_namespace(pid_t a, pid_t b)
{
    char names[2][32], links[2][64];
    const pid_t pids[] = {a, b};

    for (int i = 0; i < 2; i++) {
        ssize_t len;

        snprintf(names[i], sizeof names[i], "/proc/%d/ns/mnt", (int)pids[i]);
        len = readlink(names[i], links[i], sizeof links[i] - 1);
        if (len <= 0)
            return false;
        links[i][len] = '\0';
    }
    return str_eq(links[0], links[1]);
}

/*
 * Where a task was born: a thread where its process is, a process where its parent is. (So goes one that was moved
 * for the number of a new thread of its: where it was nobody knows.) One in another mount namespace than that
 * has lost its parent, and may be the payload's: it stays, or it would leave its limits.
 */
static int find_birthplace(const struct cg_host *host, pid_t id, bool thread, struct arena *a,
                           struct cg_origin *ret)
{
    struct proc_stat st;
    int r = proc_stat_read(id, &st);
    pid_t process = thread ? proc_process_of(id) : id, kin = process == id ? st.parent : process;

    if (r < 0)
        return r;
    if (kin <= 0 || !is_same_namespace(id, kin))
        return -ENOENT;
    r = cg_origin_read(host, kin, a, ret, NULL);
    return r == -ESRCH ? -ENOENT : r;
}

static int enter(const struct cg_host *host, pid_t id, const char *file,
                 const struct cg_origin *origin, struct err *e)
{
    int first = 0;

    for (size_t i = 0; i < host->count; i++) {
        const struct cg_hierarchy *h = &host->hierarchies[i];
        autofd fd = FD_NONE;
        char where[PATH_MAX];
        int r;

        if (!origin->paths[i])
            continue;
        fd = cg_hierarchy_open(h, origin->paths[i]);
        r = fd < 0 ? fd : io_write_id_at(fd, file, id);
        if (r < 0)
            err_sys(e, r, "cannot move process %d to %s", (int)id,
                    cg_full_path(h, origin->paths[i], NULL, file, where, sizeof where));
        if (first == 0)
            first = r;
    }
    return first;
}

/* Whoever has the number now is taken out of where @put has put it. 0, also of one that has ended, too, or is
 * elsewhere; -errno: it is still there. */
static int send_back(const struct cg_host *host, pid_t id, const char *file,
                     const struct cg_origin *put, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_origin now, home = {0};
    bool is_there = false;
    int r = cg_origin_read(host, id, &a, &now, NULL);

    for (size_t i = 0; r == 0 && i < host->count; i++)
        is_there = is_there || (put->paths[i] && str_eq_null(put->paths[i], now.paths[i]));
    if (r == 0 && is_there)
        r = find_birthplace(host, id, !str_eq(file, "cgroup.procs"), &a, &home);
    for (size_t i = 0; i < host->count; i++) {
        if (!put->paths[i] || !str_eq_null(put->paths[i], now.paths[i]) ||
            str_eq_null(put->paths[i], home.paths[i]))
            home.paths[i] = NULL;
    }
    if (r == 0)
        return enter(host, id, file, &home, e);
    return r == -ESRCH ? 0
                       : err_sys(e, r,
                                 "task %d, which has the number of one that has ended, was moved, "
                                 "and nobody knows from where",
                                 (int)id);
}

/* Before a move. */
static int expect(const struct proc_id *id, struct err *e)
{
    int r = proc_alive(id);

    if (r < 0)
        return err_sys(e, r, UNKNOWN, (int)id->pid);
    return r > 0 ? 0 : err_set(e, -ESRCH, ENDED, (int)id->pid);
}

/* After a move, which has returned @r, of whoever has the number to @put. */
static int confirm(const struct cg_host *host, const struct proc_id *id, const char *file,
                   const struct cg_origin *put, int r, struct err *e)
{
    int back, alive = proc_alive(id);

    if (alive > 0 || (alive < 0 && r < 0))
        return r;
    if (alive < 0)
        return err_sys(e, alive, UNKNOWN, (int)id->pid);
    back = send_back(host, id->pid, file, put, e);
    return back < 0 ? back : err_set(e, -ESRCH, ENDED, (int)id->pid);
}

/* ---- one task ---- */

static int write_id(struct cg_controller *c, pid_t id, bool thread, const char *file, struct err *e)
{
    char where[PATH_MAX];

    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];
        int r;

        if (c->fds[i] < 0 || (thread && !cg_places_threads(c, h)))
            continue;
        r = io_write_id_at(c->fds[i], file, id);
        if (r < 0)
            return err_sys(e, r, "cannot move %s %d to %s", thread ? "thread" : "process", (int)id,
                           cg_full_path(h, c->path, c->leaf, file, where, sizeof where));
    }
    return 0;
}

static int add(struct cg_controller *c, const struct proc_id *id, bool thread, struct err *e)
{
    const char *file = thread ? c->ops->thread_file : "cgroup.procs";
    autoarena a = ARENA_INIT;
    struct cg_origin put = {0};
    int r = expect(id, e);

    for (size_t i = 0; i < c->host->count; i++)
        put.paths[i] = c->fds[i] >= 0 ? cg_id(c, &a) : NULL;
    if (r == 0)
        return confirm(c->host, id, file, &put, write_id(c, id->pid, thread, file, e), e);
    /* systemd moves by number, too, and a scope that was started for this task has nobody else. */
    if (r == -ESRCH && c->unit && c->unit->started) {
        int back = send_back(c->host, id->pid, file, &put, e);

        r = back < 0 ? back : r;
    }
    return r;
}

int cg_add_process(struct cg_controller *c, const struct proc_id *id, struct err *e)
{
    return add(c, id, false, e);
}

int cg_add_thread(struct cg_controller *c, const struct proc_id *id, struct err *e)
{
    return add(c, id, true, e);
}

int cg_origin_enter(const struct cg_host *host, const struct proc_id *id,
                    const struct cg_origin *origin, struct err *e)
{
    int r = proc_alive(id);

    /* One of whom it is not known goes back all the same: our own deed is undone. */
    if (r == 0)
        return err_set(e, -ESRCH, ENDED, (int)id->pid);
    r = enter(host, id->pid, "cgroup.procs", origin, e);
    return confirm(host, id, "cgroup.procs", origin, r, e);
}

/* ---- all of them ---- */

/* Who is listed, and is not ending unless all are asked for. 0; -errno of one of whom nothing is known, with
 * all the others. */
static int identify(const struct cg_pids *list, bool all, struct arena *a, struct cg_members *ret)
{
    int first = 0;

    *ret = (struct cg_members){0};
    for (size_t i = 0; i < list->count; i++) {
        struct proc_stat st;
        int r = proc_stat_read(list->items[i], &st);

        if (r < 0 && r != -ESRCH && first == 0)
            first = r;
        if (r == 0 && (all || !st.exiting))
            ARENA_APPEND(a, ret->items, ret->count) =
                (struct proc_id){list->items[i], st.start_time};
    }
    return first;
}

/* Who was identified when his number was listed no more, or another one's already, is none of them. */
static void keep_listed(struct cg_pids *now, struct cg_members *list)
{
    size_t kept = 0;

    if (now->count > 0)
        qsort(now->items, now->count, sizeof *now->items, cg_pid_compare);
    for (size_t i = 0; i < list->count; i++) {
        if (now->count > 0 && bsearch(&list->items[i].pid, now->items, now->count,
                                      sizeof *now->items, cg_pid_compare))
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

int cg_members(const struct cg_controller *c, struct arena *a, struct cg_members *ret,
               struct err *e)
{
    struct cg_pids before, now;
    int unknown, r = cg_processes(c, a, &before, e);

    *ret = (struct cg_members){0};
    if (r < 0)
        return r;
    unknown = identify(&before, true, a, ret);
    r = cg_processes(c, a, &now, e);
    if (r < 0)
        return r;
    keep_listed(&now, ret);
    return unknown < 0 ? err_sys(e, unknown, "cannot tell who is in %s", c->path) : 0;
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
            t->fd = cg_hierarchy_open(t->h, t->path);
        r = t->fd < 0 ? t->fd : io_write_id_at(t->fd, "cgroup.procs", pid);
        if (r == 0 || r == -ESRCH)
            return 0;
        if (!is_no_place(r) || !climb(t))
            return err_sys(e, r, "cannot move process %d to %s", (int)pid,
                           cg_full_path(t->h, t->path, NULL, "cgroup.procs", where, sizeof where));
    }
}

/* The processes of one hierarchy. One that is refused stands in no other's way. 0; -errno of the first. */
static int move_all(const struct cg_host *host, struct target *t, const struct cg_members *list,
                    struct err *e)
{
    size_t i = (size_t)(t->h - host->hierarchies);
    int first = 0;

    for (size_t k = 0; k < list->count; k++) {
        struct cg_origin put = {0};
        struct err own = ERR_INIT;
        int r = expect(&list->items[k], &own);

        if (r == 0) {
            r = move_one(t, list->items[k].pid, &own);
            put.paths[i] = t->path;
            r = confirm(host, &list->items[k], "cgroup.procs", &put, r, &own);
        }
        if (r < 0 && r != -ESRCH && first == 0)
            first = err_set(e, r, "%s", own.text);
    }
    return first;
}

/* Until nobody is left in one hierarchy. */
static int empty(const struct cg_controller *c, size_t i, struct target *t, struct arena *a,
                 unsigned *moved, struct err *e)
{
    int dirfd = cg_procs_dir(c, i);

    *moved = 0;
    for (unsigned round = 0; dirfd >= 0; round++) {
        struct cg_pids before = {0}, now = {0};
        struct cg_members list = {0};
        int unknown, r = cg_read_tree(dirfd, 0, a, &before);

        /*
         * A main thread that has ended, or is about to, stays listed while other threads of its process
         * live or its files are being closed (inotify's take their time), and a move does not take it
         * along: what is left of such a process has been moved already.
         */
        unknown = r == 0 ? identify(&before, round == 0, a, &list) : 0;
        if (r == 0)
            r = cg_read_tree(dirfd, 0, a, &now);
        if (r < 0)
            return cg_list_error(c, i, "cgroup.procs", r, e);
        keep_listed(&now, &list);
        if (list.count > 0 && round == ROUNDS)
            return err_set(e, -EBUSY, "processes keep appearing in %s", c->path);
        r = move_all(c->host, t, &list, e);
        *moved += r == 0 ? (unsigned)list.count : 0;
        if (r == 0 && unknown < 0)
            r = err_sys(e, unknown, "cannot tell who is in %s", c->path);
        if (r < 0 || list.count == 0)
            return r;
    }
    return 0;
}

int cg_move_to(struct cg_controller *c, const char *path, unsigned *ret_moved,
               const char **ret_where, struct arena *a, struct err *e)
{
    unsigned moved = 0, most = 0;
    const char *where = NULL;
    int first = 0;

    for (size_t i = 0; i < c->host->count; i++) {
        struct target t = {.h = &c->host->hierarchies[i], .fd = FD_NONE};
        int r;

        snprintf(t.path, sizeof t.path, "%s", path);
        r = empty(c, i, &t, a, &moved, first < 0 ? NULL : e);
        if (moved > 0 && (!where || strlen(t.path) < strlen(where)))
            where = arena_strdup(a, t.path);
        fd_close(&t.fd);
        if (first == 0)
            first = r;
        if (moved > most)
            most = moved;
    }
    if (ret_where && where)
        *ret_where = where;
    if (ret_moved)
        *ret_moved = most;
    return first;
}

/* 1 moved; 0 it is ending, or is not in there any more; -ESRCH; other -errno. */
static int move_thread(const struct cg_controller *from, struct cg_controller *to, pid_t tid,
                       struct err *e)
{
    struct proc_stat st;
    int r = proc_stat_read(tid, &st);

    if (r == 0 && st.exiting)
        return 0;
    if (r == 0)
        r = cg_has_thread(from, tid);
    if (r <= 0)
        return r == 0 || r == -ESRCH ? r : err_sys(e, r, UNKNOWN, (int)tid);
    r = cg_add_thread(to, &(struct proc_id){tid, st.start_time}, e);
    return r == 0 ? 1 : r;
}

int cg_move_threads(const struct cg_controller *from, struct cg_controller *to, struct err *e)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        autoarena a = ARENA_INIT;
        struct cg_pids tids;
        bool any = false;
        int first = 0, r = cg_threads(from, &a, &tids, e);

        if (r < 0)
            return r;
        for (size_t i = 0; i < tids.count; i++) {
            struct err own = ERR_INIT;

            r = move_thread(from, to, tids.items[i], &own);
            any = any || r > 0;
            if (r < 0 && r != -ESRCH && first == 0)
                first = err_set(e, r, "%s", own.text);
        }
        if (first < 0 || !any)
            return first;
    }
    return err_set(e, -EBUSY, "threads keep appearing in %s", from->path);
}

/* Those of all of them, sorted, each once. */
static int list_all(struct cg_controller *const *all, size_t count, struct arena *a,
                    struct cg_pids *ret, struct err *e)
{
    struct cg_pids list = {0};
    int r = 0;

    *ret = (struct cg_pids){0};
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = cg_processes(all[i], a, &list, e);
        for (size_t k = 0; r == 0 && k < list.count; k++)
            ARENA_APPEND(a, ret->items, ret->count) = list.items[k];
    }
    if (ret->count == 0)
        return r;
    qsort(ret->items, ret->count, sizeof *ret->items, cg_pid_compare);
    list = *ret;
    ret->count = 0;
    for (size_t i = 0; i < list.count; i++) {
        if (i == 0 || list.items[i] != list.items[i - 1])
            ret->items[ret->count++] = list.items[i];
    }
    return r;
}

/* Who is still listed; 0, also of one that has ended; -errno it has not got the signal. */
static int signal_one(int fd, int signo)
{
    if (fd < 0)
        return fd;
    if (syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) == 0 || errno == ESRCH)
        return 0;
    return -errno;
}

/*
 * A pid that was listed may be another process's by the time it is signalled. A pidfd that was
 * opened before the pid was listed once more is of a process that was in the cgroup, or of none any
 * more.
 * @ret_failed  of the first that has not got it; 0: none.
 */
static int signal_listed(struct cg_controller *const *all, size_t of, int signo, size_t *ret_count,
                         int *ret_failed, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids before, now;
    int *fds;
    int r = list_all(all, of, &a, &before, e);

    *ret_failed = 0;
    if (r < 0)
        return r;
    fds = arena_alloc(&a, (before.count + 1) * sizeof *fds);
    for (size_t i = 0; i < before.count; i++) {
        fds[i] = (int)syscall(SYS_pidfd_open, before.items[i], 0);
        if (fds[i] < 0)
            fds[i] = -errno;
    }
    r = list_all(all, of, &a, &now, e);
    for (size_t i = 0, k = 0; i < before.count; i++) {
        int failed = 0;

        /* Both lists are sorted. */
        while (r == 0 && k < now.count && now.items[k] < before.items[i])
            k++;
        if (r == 0 && k < now.count && now.items[k] == before.items[i])
            failed = signal_one(fds[i], signo);
        if (*ret_failed == 0)
            *ret_failed = failed;
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
        int failed, r = signal_listed(&c, 1, signo, &count, &failed, e);

        if (r < 0)
            return r;
        if (count == 0 || signo != SIGKILL)
            return 0;
        io_sleep_ms(round < 8 ? 1 : 20);
    }
    return err_set(e, -EBUSY, "processes keep appearing in %s", c->path);
}

/* ---- every task of a sandbox ---- */

/* What is frozen in rounds is thawed after each: one that does not stop is killed all the same. */
#define HOLD_MS 200

static void kill_at_once(struct cg_controller *const *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (all[i]->ops->kill)
            (void)all[i]->ops->kill(all[i]);
    }
}

/* On v1 who is frozen dies only when it is thawed. */
static int kill_whole(struct cg_controller *const *all, size_t count, int timeout_ms,
                      struct cg_signalled *ret, struct err *e)
{
    unsigned long long end = io_now_us() + (unsigned long long)timeout_ms * 1000;
    bool v1 = all[0]->host->mode != CG_MODE_V2;

    for (unsigned round = 0;; round++) {
        size_t left = 0;
        int r, failed;

        if (v1)
            (void)cg_freeze_wait(all[0], HOLD_MS, NULL);
        r = signal_listed(all, count, SIGKILL, &left, &failed, e);
        if (v1)
            cg_thaw(all[0]);
        else
            kill_at_once(all, count);
        if (round == 0)
            ret->count = left;
        if (r < 0)
            return r;
        if (left == 0)
            return v1 ? cg_leave_thawed(all[0], timeout_ms, e) : 0;
        if (io_now_us() >= end)
            return err_set(e, -EBUSY, "%zu processes of %s have got SIGKILL and have not ended yet",
                           left, all[0]->path);
        io_sleep_ms(round < 8 ? 1 : 20);
    }
}

int cg_signal(struct cg_controller *const *all, size_t count, int signo, int timeout_ms,
              struct cg_signalled *ret, struct err *e)
{
    int r, failed, still, thawed = 0;
    bool held;

    *ret = (struct cg_signalled){0};
    if (signo == SIGKILL)
        return kill_whole(all, count, timeout_ms, ret, e);
    /* Before: on v2 who dies of the signal leaves the freezer for it, and the whole is not still until he is gone. */
    still = cg_is_still(all[0]);
    ret->pending = still == 1;
    held = still == 0 && cg_is_frozen(all[0]) == 0 && cg_freeze_wait(all[0], HOLD_MS, NULL) == 0;
    r = signal_listed(all, count, signo, &ret->count, &failed, e);
    if (r == 0 && failed < 0)
        r = err_sys(e, failed, "a process of %s has not got signal %d", all[0]->path, signo);
    if (held)
        thawed = cg_thaw_wait(all[0], false, timeout_ms, r == 0 ? e : NULL);
    return r < 0 ? r : thawed;
}
