/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/drift.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>

/* A list of 8,192 CPUs, each second one. */
#define VALUE_SIZE 32768

/* By index in drift_container.watches. */
enum file { FILE_CPUS, FILE_MEMS, FILE_QUOTA, FILE_PERIOD };

static const struct {
    enum cg_ctl ctl;
    const char *v1, *v2;
} files[DRIFT_FILES] = {
    [FILE_CPUS] = {CG_CTL_CPUSET, "cpuset.cpus", "cpuset.cpus"},
    [FILE_MEMS] = {CG_CTL_CPUSET, "cpuset.mems", "cpuset.mems"},
    [FILE_QUOTA] = {CG_CTL_CPU, "cpu.cfs_quota_us", "cpu.max"},
    [FILE_PERIOD] = {CG_CTL_CPU, "cpu.cfs_period_us", NULL},
};

/* ---- watching ---- */

int drift_watch(struct drift *d)
{
    d->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (d->fd < 0)
        d->fd = -errno;
    return d->fd;
}

static void unwatch(const struct drift *d, struct drift_container *c, unsigned file)
{
    if (c->watches[file] >= 0)
        inotify_rm_watch(d->fd, c->watches[file]);
    c->watches[file] = -1;
}

/* The same watch again for the same file, another one for a file of the same name. */
static bool watch(const struct drift *d, struct drift_container *c, unsigned file, int dirfd,
                  const char *name)
{
    int watch = -1;

    if (d->fd >= 0 && dirfd >= 0)
        watch = io_watch_at(d->fd, dirfd, name);
    if (watch != c->watches[file])
        unwatch(d, c, file);
    c->watches[file] = watch;
    return watch >= 0;
}

/* True when there was at least one event. They only say that something was written somewhere. */
static bool drain(const struct drift *d)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool any = false;

    while (d->fd >= 0 && read(d->fd, events, sizeof events) > 0)
        any = true;
    return any;
}

/* ---- reading ---- */

struct texts {
    char value[DRIFT_FILES][VALUE_SIZE];
    bool there[DRIFT_FILES];
    bool cgroup[DRIFT_FILES]; /* the directory is there */
};

/* Each file of the container: watched first, so that no write comes in between. */
static void read_files(const struct drift *d, struct drift_container *c, struct texts *ret)
{
    autofd dirfd = FD_NONE;
    enum cg_ctl open_for = CG_CTL_COUNT;

    c->watched = true;
    for (unsigned i = 0; i < DRIFT_FILES; i++) {
        const struct cg_hierarchy *h = cg_host_find(d->host, files[i].ctl);
        const char *name = h && h->v2 ? files[i].v2 : files[i].v1;

        ret->there[i] = ret->cgroup[i] = false;
        if (!h || !name) /* not on this host: nothing will ever change */
            continue;
        if (open_for != files[i].ctl) {
            fd_close(&dirfd);
            dirfd = io_open_beneath(h->fd, cg_path_relative(c->path), O_PATH | O_DIRECTORY);
            open_for = files[i].ctl;
        }
        ret->cgroup[i] = dirfd >= 0;
        if (!watch(d, c, i, dirfd, name))
            c->watched = false;
        ret->there[i] =
            dirfd >= 0 && io_read_at(dirfd, name, ret->value[i], sizeof ret->value[i]) >= 0;
    }
}

/* True: it has changed. */
static bool take_list(char **now, const char *text, bool *drifted, bool v2)
{
    bool known = *now != NULL;

    if (known && str_eq(*now, text))
        return false;
    /* On v1 an empty list is one that the runtime has not filled yet. */
    if (known && **now == '\0' && !v2 && !*drifted)
        known = false;
    free(*now);
    *now = heap_copy(text, strlen(text) + 1);
    *drifted = *drifted || known;
    return known;
}

/* v1 has a file for each of the two. */
static bool parse_bandwidth(const struct texts *t, bool v2, struct quota *ret)
{
    const char *quota = t->value[FILE_QUOTA], *period = t->value[FILE_PERIOD];

    if (v2)
        return quota_parse(quota, ret);
    if (str_to_i64(quota, strlen(quota), &ret->us) < 0)
        return false;
    if (ret->us < 0)
        ret->us = -1;
    return str_to_u64(period, strlen(period), &ret->period_us) == 0;
}

static bool take_bandwidth(struct drift_container *c, const struct texts *t, bool v2)
{
    struct quota cpu;
    bool known = c->now.cpu_known;

    if (!t->there[FILE_QUOTA] || (!v2 && !t->there[FILE_PERIOD]) || !parse_bandwidth(t, v2, &cpu))
        return false;
    if (known && cpu.us == c->now.cpu.us && cpu.period_us == c->now.cpu.period_us)
        return false;
    c->now.cpu = cpu;
    c->now.cpu_known = true;
    c->cpu = c->cpu || known;
    return known;
}

static bool is_v2(const struct drift *d, enum cg_ctl ctl)
{
    const struct cg_hierarchy *h = cg_host_find(d->host, ctl);

    return h && h->v2;
}

/* True: some value of it has changed. */
static bool refresh(const struct drift *d, struct drift_container *c, struct texts *t)
{
    bool v2 = is_v2(d, CG_CTL_CPUSET), changed = false;

    read_files(d, c, t);
    for (unsigned i = FILE_CPUS; i <= FILE_MEMS; i++) {
        bool cpus = i == FILE_CPUS;

        /* On v2 no file is no list: the controller is not enabled in this cgroup. */
        if (!t->there[i] && !(v2 && t->cgroup[i]))
            continue;
        changed |= take_list(cpus ? &c->now.cpus : &c->now.mems, t->there[i] ? t->value[i] : "",
                             cpus ? &c->cpus : &c->mems, v2);
    }
    return take_bandwidth(c, t, is_v2(d, CG_CTL_CPU)) || changed;
}

static struct texts *new_texts(void)
{
    struct texts *t = malloc(sizeof *t);

    if (!t)
        err_out_of_memory();
    return t;
}

int drift_read(struct drift *d)
{
    autofree struct texts *t = NULL;
    bool written = drain(d);
    int changed = 0;

    for (size_t i = 0; i < d->count; i++) {
        if (!written && d->items[i].watched)
            continue;
        if (!t)
            t = new_texts();
        if (refresh(d, &d->items[i], t))
            changed = 1;
    }
    return changed;
}

/* ---- containers ---- */

static void drop(const struct drift *d, struct drift_container *c)
{
    for (unsigned i = 0; i < DRIFT_FILES; i++)
        unwatch(d, c, i);
    free(c->id);
    free(c->path);
    free(c->now.cpus);
    free(c->now.mems);
    *c = (struct drift_container){0};
}

static struct drift_container *find(const struct drift *d, const char *id)
{
    for (size_t i = 0; i < d->count; i++) {
        if (d->items[i].id && str_eq(d->items[i].id, id))
            return &d->items[i];
    }
    return NULL;
}

static void add(const struct drift *d, const struct drift_source *source,
                struct drift_container *ret)
{
    autofree struct texts *t = new_texts();

    *ret = (struct drift_container){
        .id = heap_copy(source->id, strlen(source->id) + 1),
        .path = heap_copy(source->runtime_path, strlen(source->runtime_path) + 1),
        .watches = {-1, -1, -1, -1},
    };
    (void)refresh(d, ret, t);
}

void drift_set(struct drift *d, const struct drift_source *list, size_t count)
{
    struct drift_container *items = calloc(count + 1, sizeof *items);

    if (!items)
        err_out_of_memory();
    for (size_t i = 0; i < count; i++) {
        struct drift_container *before = find(d, list[i].id);

        if (before && str_eq(before->path, list[i].runtime_path)) {
            items[i] = *before;
            *before = (struct drift_container){.watches = {-1, -1, -1, -1}};
        }
    }
    for (size_t i = 0; i < d->count; i++)
        drop(d, &d->items[i]);
    free(d->items);
    d->items = items;
    d->count = count;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].id)
            add(d, &list[i], &items[i]);
    }
}

/* ---- what follows ---- */

static bool is_replaced(const struct drift_container *c, const char *key)
{
    return (c->cpus && str_eq(key, "cpuset.cpus")) || (c->mems && str_eq(key, "cpuset.mems")) ||
           (c->cpu && str_eq(key, "cpu.max"));
}

static struct json_list keep_unified(const struct drift_container *c, const struct json_list *list,
                                     struct arena *a)
{
    struct json_list kept = {0};

    for (size_t i = 0; i < list->count; i++) {
        struct json_pair pair = JSON_AT(*list, struct json_pair, i);

        if (!is_replaced(c, pair.key))
            JSON_APPEND(a, kept, struct json_pair) = pair;
    }
    return kept;
}

static char *list_or_null(const char *text, struct arena *a)
{
    return *text ? arena_strdup(a, text) : NULL;
}

const struct oci_resources *drift_resources(const struct drift *d, const char *id,
                                            const struct oci_resources *r, struct arena *a)
{
    const struct drift_container *c = find(d, id);
    struct oci_resources *own;
    struct oci_cpu *cpu;

    if (!c || !(c->cpus || c->mems || c->cpu))
        return r;
    own = arena_alloc(a, sizeof *own);
    cpu = arena_alloc(a, sizeof *cpu);
    if (r)
        *own = *r;
    if (own->cpu)
        *cpu = *own->cpu;
    own->cpu = cpu;
    own->unified = keep_unified(c, &own->unified, a);
    if (c->cpus)
        cpu->cpus = list_or_null(c->now.cpus, a);
    if (c->mems)
        cpu->mems = list_or_null(c->now.mems, a);
    if (c->cpu) {
        cpu->quota = (struct json_i64){true, c->now.cpu.us};
        cpu->period = (struct json_u64){true, c->now.cpu.period_us};
        /* The kernel refuses a burst above the quota (cgroup-v2.rst, cpu.max.burst). */
        if (cpu->burst.set && c->now.cpu.us >= 0 && cpu->burst.value > (uint64_t)c->now.cpu.us)
            cpu->burst.value = (uint64_t)c->now.cpu.us;
    }
    return own;
}
