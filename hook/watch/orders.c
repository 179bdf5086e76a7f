/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/orders.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

/* Each round catches what was forked during the one before. */
#define KILL_ROUNDS 64

/* ---- containers ---- */

static void close_order(struct order *o)
{
    free(o->id);
    free(o->runtime_path);
    free(o->mounts);
    fd_close(&o->placeholder_fd);
    fd_close(&o->freezer_fd);
    *o = (struct order){.placeholder_fd = FD_NONE, .freezer_fd = FD_NONE};
}

static bool is_same(const struct proc_id *a, const struct proc_id *b)
{
    return a->pid == b->pid && a->start_time == b->start_time;
}

static char *copy(const char *text)
{
    return text ? heap_copy(text, strlen(text) + 1) : NULL;
}

static struct order open_order(const struct record_container *c)
{
    struct order ret = {
        .id = copy(c->id),
        .runtime_path = copy(c->runtime_path),
        .mounts = copy(c->mounts),
        .init = record_process_id(c->init),
        .placeholder = record_process_id(c->placeholder),
        .placeholder_fd = FD_NONE,
        .freezer_fd = FD_NONE,
    };

    if (ret.placeholder.pid > 0)
        ret.placeholder_fd = proc_open(&ret.placeholder);
    return ret;
}

/* The order of this very container: one that was set up again has another init or placeholder. */
static struct order *find(const struct orders *o, const struct record_container *c)
{
    struct proc_id init = record_process_id(c->init),
                   placeholder = record_process_id(c->placeholder);

    for (size_t i = 0; i < o->count; i++) {
        struct order *item = &o->items[i];

        if (item->id && str_eq(item->id, c->id) && is_same(&item->init, &init) &&
            is_same(&item->placeholder, &placeholder))
            return item;
    }
    return NULL;
}

void orders_set(struct orders *o, const struct record *r)
{
    /* Nested, everything is in the runtime's cgroup itself. */
    size_t count = record_is_nested(r) ? 0 : r->containers.count;
    struct order *items = mem_zalloc(count + 1, sizeof *items);

    for (size_t i = 0; i < count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);
        struct order *before = find(o, c);

        items[i] = before ? *before : open_order(c);
        if (before)
            *before = (struct order){.placeholder_fd = FD_NONE, .freezer_fd = FD_NONE};
    }
    orders_free(o);
    o->items = items;
    o->count = count;
}

static void close_own(struct orders *o)
{
    if (o->own_is_open)
        close(o->own_fd);
    o->own_is_open = false;
}

void orders_free(struct orders *o)
{
    for (size_t i = 0; i < o->count; i++)
        close_order(&o->items[i]);
    free(o->items);
    o->items = NULL;
    o->count = 0;
    close_own(o);
}

size_t orders_poll(const struct orders *o, struct pollfd *ret)
{
    size_t count = 0;

    for (size_t i = 0; i < o->count && count < ORDERS_POLL_MAX; i++) {
        if (o->items[i].placeholder_fd >= 0)
            ret[count++] = (struct pollfd){.fd = o->items[i].placeholder_fd, .events = POLLIN};
    }
    return count;
}

/* ---- kill ---- */

static bool is_due(struct order *o)
{
    struct pollfd pfd = {.fd = o->placeholder_fd, .events = POLLIN};

    if (pfd.fd >= 0 && poll(&pfd, 1, 0) == 1) {
        o->was_killed = true;
        fd_close(&o->placeholder_fd);
    }
    return o->was_killed && proc_alive(&o->init) > 0;
}

bool orders_kill_is_due(struct orders *o)
{
    bool due = false;

    for (size_t i = 0; i < o->count; i++)
        due = is_due(&o->items[i]) || due;
    return due;
}

/* The processes of the sandbox that may be killed, and which of them are to be. */
struct targets {
    struct proc_id *items; /* in an arena, sorted by pid */
    pid_t *parents;
    bool *chosen;
    size_t count;
};

static int list(const struct scan *scan, struct arena *a, struct cg_pids *ret, struct err *e)
{
    const struct sandbox *s = scan->sandbox;
    struct cg_pids overhead = {0};
    int r = scan_processes(scan, &s->home, a, ret, e);

    if (r == 0 && s->has_overhead && !s->overhead.borrowed)
        r = scan_processes(scan, &s->overhead, a, &overhead, e);
    for (size_t i = 0; r == 0 && i < overhead.count; i++)
        ARENA_APPEND(a, ret->items, ret->count) = overhead.items[i];
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, cg_pid_compare);
    return r;
}

/* Those that were in the sandbox before and after they were identified: so it is they who were. */
static int find_targets(const struct scan *scan, struct arena *a, struct targets *ret,
                        struct err *e)
{
    struct cg_pids before, after;
    size_t kept = 0;
    int r = list(scan, a, &before, e);

    *ret = (struct targets){0};
    if (r < 0)
        return r;
    ret->items = arena_alloc(a, (before.count + 1) * sizeof *ret->items);
    ret->parents = arena_alloc(a, (before.count + 1) * sizeof *ret->parents);
    ret->chosen = arena_alloc(a, (before.count + 1) * sizeof *ret->chosen);
    for (size_t i = 0; i < before.count; i++) {
        struct proc_stat st;
        bool again = i > 0 && before.items[i] == before.items[i - 1];

        if (again || proc_identify(before.items[i], &ret->items[ret->count]) < 0 ||
            proc_stat_read(before.items[i], &st) < 0)
            continue;
        ret->parents[ret->count++] = st.parent;
    }
    r = list(scan, a, &after, e);
    for (size_t i = 0; r == 0 && i < ret->count; i++) {
        if (after.count == 0 || !bsearch(&ret->items[i].pid, after.items, after.count,
                                         sizeof *after.items, cg_pid_compare))
            continue;
        ret->items[kept] = ret->items[i];
        ret->parents[kept++] = ret->parents[i];
    }
    ret->count = kept;
    return r;
}

bool orders_mounts(pid_t pid, char buf[static ORDERS_MOUNTS_SIZE])
{
    char path[32];
    ssize_t len;

    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    len = readlink(path, buf, ORDERS_MOUNTS_SIZE - 1);
    buf[len > 0 ? len : 0] = '\0';
    return len > 0;
}

static int by_pid(const void *a, const void *b)
{
    return cg_pid_compare(&((const struct proc_id *)a)->pid, &((const struct proc_id *)b)->pid);
}

static bool has_chosen_parent(const struct targets *t, size_t i)
{
    const struct proc_id want = {.pid = t->parents[i]},
                         *found = bsearch(&want, t->items, t->count, sizeof want, by_pid);

    return found && t->chosen[found - t->items];
}

/* False: some other container of the sandbox has it, too, or it cannot be seen. */
static bool is_own_namespace(const struct orders *o, const struct order *item, const char *own)
{
    char other[ORDERS_MOUNTS_SIZE];

    for (size_t i = 0; i < o->count; i++) {
        if (&o->items[i] != item && proc_alive(&o->items[i].init) &&
            (!orders_mounts(o->items[i].init.pid, other) || str_eq(own, other)))
            return false;
    }
    return true;
}

static bool namespace_of(const struct order *item, bool alive, char ret[static ORDERS_MOUNTS_SIZE])
{
    if (alive)
        return orders_mounts(item->init.pid, ret);
    snprintf(ret, ORDERS_MOUNTS_SIZE, "%s", item->mounts ? item->mounts : "");
    return ret[0] != '\0';
}

/* A container's mount namespace is its own, whichever others it shares. A process of its may have left
 * it, as virtiofsd does, but has a parent. */
static void choose(const struct orders *o, const struct order *item, struct targets *t)
{
    char own[ORDERS_MOUNTS_SIZE], other[ORDERS_MOUNTS_SIZE];
    bool more = true, alive = proc_alive(&item->init) > 0,
         is_own = namespace_of(item, alive, own) && is_own_namespace(o, item, own);

    for (size_t i = 0; i < t->count; i++)
        t->chosen[i] = (alive && t->items[i].pid == item->init.pid) ||
                       (is_own && orders_mounts(t->items[i].pid, other) && str_eq(own, other));
    while (more) {
        more = false;
        for (size_t i = 0; i < t->count; i++) {
            if (t->chosen[i] || !has_chosen_parent(t, i))
                continue;
            t->chosen[i] = more = true;
        }
    }
}

static bool is_alone(const struct orders *o, const struct order *item)
{
    for (size_t i = 0; i < o->count; i++) {
        if (&o->items[i] != item && proc_alive(&o->items[i].init))
            return false;
    }
    return true;
}

/* The number of processes that were there to be killed; -errno. */
static int kill_round(const struct orders *o, const struct order *item, bool alone,
                      const struct scan *scan, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct targets t;
    int count = 0, r = find_targets(scan, &a, &t, e);

    if (r < 0)
        return r;
    if (!alone)
        choose(o, item, &t);
    for (size_t i = 0; i < t.count; i++) {
        if ((alone || t.chosen[i]) && t.items[i].pid != item->init.pid)
            count += proc_signal(&t.items[i], SIGKILL) == 0;
    }
    return count;
}

static int kill_one(struct orders *o, const struct order *item, const struct scan *scan,
                    struct err *e)
{
    bool alone = is_alone(o, item);

    cg_thaw(&scan->sandbox->home);
    o->frozen = false;
    if (alone && scan->sandbox->home.host->mode == CG_MODE_V2)
        (void)cg_kill(&scan->sandbox->home, SIGKILL, NULL);
    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        int r = kill_round(o, item, alone, scan, e);

        if (r < 0)
            return r;
        if (r == 0 && !proc_alive(&item->init))
            return 0;
        /* Not before there is nobody else: its mount namespace tells who is the container's. */
        if (r == 0)
            (void)proc_signal(&item->init, SIGKILL);
        io_sleep_ms(round < 8 ? 1 : 20);
    }
    return err_set(e, -EBUSY, "processes of container %s do not end", item->id);
}

int orders_kill(struct orders *o, const struct scan *scan, struct err *e)
{
    int first = 0;

    for (size_t i = 0; i < o->count; i++) {
        int r;

        if (!is_due(&o->items[i]))
            continue;
        log_msg(LEVEL_INFO,
                "container %s: all that its runtime's cgroup holds was killed, so it is",
                o->items[i].id);
        r = kill_one(o, &o->items[i], scan, first < 0 ? NULL : e);
        first = first < 0 ? first : r;
    }
    return first;
}

int orders_end(struct orders *o, const char *id, const struct scan *scan, struct err *e)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct order *item = &o->items[i];
        int r;

        if (!str_eq(item->id, id))
            continue;
        /* Where nobody is left, as nearly always, nothing is thawed. */
        r = kill_round(o, item, is_alone(o, item), scan, e);
        return r > 0 ? kill_one(o, item, scan, e) : r;
    }
    return 0;
}

/* ---- freeze ---- */

/* Whether a container is to be frozen. 1; 0, also of a cgroup that is not there; other -errno. */
static int is_wanted_of(const struct cg_host *host, struct order *o)
{
    int r = o->runtime_path ? 0 : -ENOENT;

    if (r == 0 && o->freezer_fd < 0)
        o->freezer_fd = cg_freezer_open(host, o->runtime_path);
    if (r == 0)
        r = o->freezer_fd < 0 ? o->freezer_fd : cg_freezer_read(o->freezer_fd);
    if (r < 0)
        fd_close(&o->freezer_fd);
    return r == -ENOENT || r == -ENODEV ? 0 : r;
}

/* What one says that does not live counts for nothing, but where all say the same nobody has to know who lives. */
static bool is_nothing_new(const struct orders *o)
{
    for (size_t i = 0; i < o->count; i++) {
        if (is_wanted_of(o->host, &o->items[i]) != 0)
            return false;
    }
    return !o->frozen;
}

/* 1 all containers that live are to be frozen; 0 some are not; -errno that cannot be seen, or none lives. */
static int is_wanted(const struct orders *o)
{
    int wanted = -ESRCH;

    if (is_nothing_new(o))
        return 0;
    for (size_t i = 0; i < o->count; i++) {
        if (!proc_alive(&o->items[i].init))
            continue;
        wanted = is_wanted_of(o->host, &o->items[i]);
        if (wanted <= 0)
            return wanted;
    }
    return wanted;
}

/* SIGKILL is among the signals that a process has not taken yet. */
static bool is_to_die(const struct proc_id *id)
{
    char path[32], text[8192], *cursor = text, *line;

    snprintf(path, sizeof path, "/proc/%d/status", (int)id->pid);
    if (!proc_alive(id) || io_read_at(AT_FDCWD, path, text, sizeof text) < 0)
        return false;
    while ((line = str_next(&cursor, '\n'))) {
        if ((str_starts(line, "SigPnd:\t") || str_starts(line, "ShdPnd:\t")) &&
            strtoull(line + strlen("SigPnd:\t"), NULL, 16) & (1ull << (SIGKILL - 1)))
            return true;
    }
    return false;
}

/* As cg_is_frozen(), by a file that stays open. */
static bool is_frozen(struct orders *o, const struct cg_controller *c)
{
    int r;

    if (!o->own_is_open)
        o->own_fd = cg_freezer_open(o->host, c->path);
    o->own_is_open = o->own_fd >= 0;
    r = o->own_is_open ? cg_freezer_read(o->own_fd) : o->own_fd;
    if (r < 0)
        close_own(o);
    return r == 1;
}

static void let_die(struct orders *o, const struct scan *scan)
{
    const struct cg_controller *home = &scan->sandbox->home;

    if (o->count == 0 || home->host->mode == CG_MODE_V2 || !is_frozen(o, home))
        return;
    for (size_t i = 0; i < o->count; i++) {
        if (is_to_die(&o->items[i].init))
            cg_thaw(home);
    }
}

int orders_freeze(struct orders *o, const struct scan *scan, struct err *e)
{
    int wanted = is_wanted(o), r = 0;

    if (wanted == 1 && !o->frozen) {
        r = cg_freeze(&scan->sandbox->home, e);
        o->frozen = r == 0;
    } else if (wanted == 0 && o->frozen) {
        cg_thaw(&scan->sandbox->home);
        o->frozen = false;
    }
    let_die(o, scan);
    return r;
}
