/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/drift.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/limits/limits.h"

#include <errno.h>
#include <sys/inotify.h>
#include <sys/mman.h>

/* A list of 8,192 CPUs, each second one. */
#define VALUE_SIZE 32768

/* A number, or some lines. */
#define TEXT_SIZE 4096
/* No limit, as v1's memory controller has it: as many bytes as there are in so many pages. */
#define V1_UNLIMITED (INT64_C(1) << 62)

enum file {
    FILE_CPUS,
    FILE_MEMS,
    FILE_QUOTA,
    FILE_PERIOD,
    FILE_TEXTS, /* and from here on those of drift_container.texts */
    FILE_SHARES = FILE_TEXTS,
    FILE_BURST,
    FILE_IDLE,
    FILE_MEMORY,
    FILE_SWAP,
    FILE_RESERVATION,
    FILE_HIGH,
    FILE_MIN,
    FILE_PIDS,
    FILE_WEIGHT,
    FILE_BFQ_WEIGHT,
    FILE_IO_MAX,
    FILE_READ_BPS,
    FILE_WRITE_BPS,
    FILE_READ_IOPS,
    FILE_WRITE_IOPS,
    FILE_OOM_GROUP,
    FILE_DEVICES,
    FILE_COUNT,
};
_Static_assert(FILE_COUNT - FILE_TEXTS == DRIFT_TEXTS, "drift.h");

static const struct {
    enum cg_ctl ctl;
    const char *v1, *v2;
} files[FILE_COUNT] = {
    [FILE_CPUS] = {CG_CTL_CPUSET, "cpuset.cpus", "cpuset.cpus"},
    [FILE_MEMS] = {CG_CTL_CPUSET, "cpuset.mems", "cpuset.mems"},
    [FILE_QUOTA] = {CG_CTL_CPU, "cpu.cfs_quota_us", "cpu.max"},
    [FILE_PERIOD] = {CG_CTL_CPU, "cpu.cfs_period_us", NULL},
    [FILE_SHARES] = {CG_CTL_CPU, "cpu.shares", "cpu.weight"},
    [FILE_BURST] = {CG_CTL_CPU, "cpu.cfs_burst_us", "cpu.max.burst"},
    [FILE_IDLE] = {CG_CTL_CPU, "cpu.idle", "cpu.idle"},
    [FILE_MEMORY] = {CG_CTL_MEMORY, "memory.limit_in_bytes", "memory.max"},
    [FILE_SWAP] = {CG_CTL_MEMORY, "memory.memsw.limit_in_bytes", "memory.swap.max"},
    [FILE_RESERVATION] = {CG_CTL_MEMORY, "memory.soft_limit_in_bytes", "memory.low"},
    [FILE_HIGH] = {CG_CTL_MEMORY, NULL, "memory.high"},
    [FILE_MIN] = {CG_CTL_MEMORY, NULL, "memory.min"},
    [FILE_OOM_GROUP] = {CG_CTL_MEMORY, NULL, "memory.oom.group"},
    [FILE_PIDS] = {CG_CTL_PIDS, "pids.max", "pids.max"},
    [FILE_DEVICES] = {CG_CTL_DEVICES, "devices.list", NULL},
    [FILE_WEIGHT] = {CG_CTL_BLKIO, "blkio.weight", "io.weight"},
    [FILE_BFQ_WEIGHT] = {CG_CTL_BLKIO, "blkio.bfq.weight", "io.bfq.weight"},
    [FILE_IO_MAX] = {CG_CTL_BLKIO, NULL, "io.max"},
    [FILE_READ_BPS] = {CG_CTL_BLKIO, "blkio.throttle.read_bps_device", NULL},
    [FILE_WRITE_BPS] = {CG_CTL_BLKIO, "blkio.throttle.write_bps_device", NULL},
    [FILE_READ_IOPS] = {CG_CTL_BLKIO, "blkio.throttle.read_iops_device", NULL},
    [FILE_WRITE_IOPS] = {CG_CTL_BLKIO, "blkio.throttle.write_iops_device", NULL},
};

/* ---- watching ---- */

int drift_watch(struct drift *d)
{
    d->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (d->fd < 0)
        d->fd = -errno;
    return d->fd;
}

static void unwatch(const struct drift *d, struct drift_container *c, size_t hierarchy)
{
    if (c->watches[hierarchy] >= 0)
        inotify_rm_watch(d->fd, c->watches[hierarchy]);
    c->watches[hierarchy] = -1;
}

/* The same watch again for the same directory, another one for a directory of the same name. */
static bool watch(const struct drift *d, struct drift_container *c, size_t hierarchy, int dirfd)
{
    int watch = -1;

    if (d->fd >= 0 && dirfd >= 0)
        watch = io_watch_at(d->fd, dirfd, ".");
    if (watch != c->watches[hierarchy])
        unwatch(d, c, hierarchy);
    c->watches[hierarchy] = watch;
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
    char value[FILE_TEXTS][VALUE_SIZE];
    char text[TEXT_SIZE]; /* of one file after the other */
    bool changed;         /* some text is another one */
    bool there[FILE_COUNT];
    bool cgroup[FILE_COUNT]; /* the directory is there */
};

/* Numbers and lines: another text is another value. */
static void take_text(struct drift_container *c, unsigned i, struct texts *t)
{
    bool known = c->texts[i] != NULL;

    if (known && str_eq(c->texts[i], t->text))
        return;
    free(c->texts[i]);
    c->texts[i] = heap_copy(t->text, strlen(t->text) + 1);
    c->changed[i] = c->changed[i] || known;
    t->changed = t->changed || known;
}

static bool read_file(struct drift_container *c, int dirfd, const char *name, unsigned file,
                      struct texts *ret)
{
    if (file < FILE_TEXTS)
        return io_read_at(dirfd, name, ret->value[file], VALUE_SIZE) >= 0;
    if (io_read_at(dirfd, name, ret->text, TEXT_SIZE) < 0)
        return false;
    take_text(c, file - FILE_TEXTS, ret);
    return true;
}

/* Whether some of the files are in there, or what orders.h is about. */
static bool is_of_interest(const struct drift *d, const struct cg_hierarchy *h)
{
    if (h->v2)
        return d->host->mode == CG_MODE_V2;
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        if (files[i].v1 && cg_host_find(d->host, files[i].ctl) == h)
            return true;
    }
    return h->controllers & CG_CTL_BIT(CG_CTL_FREEZER);
}

static void read_hierarchy(const struct drift *d, const struct cg_hierarchy *h, int dirfd,
                           struct drift_container *c, struct texts *ret)
{
    for (unsigned i = 0; i < FILE_COUNT; i++) {
        const char *name = h->v2 ? files[i].v2 : files[i].v1;

        if (!name || cg_host_find(d->host, files[i].ctl) != h)
            continue;
        ret->cgroup[i] = dirfd >= 0;
        ret->there[i] = dirfd >= 0 && read_file(c, dirfd, name, i, ret);
    }
}

/* Each file of the container: its directory is watched first, so that no write comes in between. */
static void read_files(const struct drift *d, struct drift_container *c, struct texts *ret)
{
    memset(ret->there, 0, sizeof ret->there);
    memset(ret->cgroup, 0, sizeof ret->cgroup);
    ret->changed = false;
    c->watched = true;
    for (size_t i = 0; i < d->host->count; i++) {
        const struct cg_hierarchy *h = &d->host->hierarchies[i];
        autofd dirfd = FD_NONE;

        if (!is_of_interest(d, h)) /* nothing will ever change */
            continue;
        dirfd = cg_hierarchy_open(h, c->path);
        if (!watch(d, c, i, dirfd))
            c->watched = false;
        read_hierarchy(d, h, dirfd, c, ret);
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
    changed |= t->changed;
    return take_bandwidth(c, t, is_v2(d, CG_CTL_CPU)) || changed;
}

/* Not of the heap, which would keep the pages once they were touched. */
static struct texts *new_texts(void)
{
    void *t;

    while ((t = mmap(NULL, sizeof(struct texts), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == MAP_FAILED)
        mem_is_short();
    return t;
}

static void free_texts(struct texts **t)
{
    if (*t)
        munmap(*t, sizeof **t);
}

int drift_read(struct drift *d)
{
    CLEANUP(free_texts) struct texts *t = NULL;
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
    d->is_told = d->fd >= 0;
    for (size_t i = 0; i < d->count; i++)
        d->is_told = d->is_told && d->items[i].watched;
    return changed;
}

/* ---- containers ---- */

static void drop(const struct drift *d, struct drift_container *c)
{
    for (size_t i = 0; i < CG_MAX_HIERARCHIES; i++)
        unwatch(d, c, i);
    for (unsigned i = 0; i < DRIFT_TEXTS; i++)
        free(c->texts[i]);
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

static void forget_watches(struct drift_container *c)
{
    for (size_t i = 0; i < CG_MAX_HIERARCHIES; i++)
        c->watches[i] = -1;
}

static void add(const struct drift *d, const struct drift_source *source,
                struct drift_container *ret)
{
    CLEANUP(free_texts) struct texts *t = new_texts();

    *ret = (struct drift_container){
        .id = heap_copy(source->id, strlen(source->id) + 1),
        .path = heap_copy(source->runtime_path, strlen(source->runtime_path) + 1),
    };
    forget_watches(ret);
    (void)refresh(d, ret, t);
}

void drift_set(struct drift *d, const struct drift_source *list, size_t count)
{
    struct drift_container *items = mem_zalloc(count + 1, sizeof *items);

    for (size_t i = 0; i < count; i++) {
        struct drift_container *before = find(d, list[i].id);

        if (before && str_eq(before->path, list[i].runtime_path)) {
            items[i] = *before;
            *before = (struct drift_container){0};
            forget_watches(before);
        }
    }
    for (size_t i = 0; i < d->count; i++)
        drop(d, &d->items[i]);
    free(d->items);
    d->items = items;
    d->count = count;
    d->is_told = false;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].id)
            add(d, &list[i], &items[i]);
    }
}

void drift_free(struct drift *d)
{
    drift_set(d, NULL, 0);
    free(d->items);
    d->items = NULL;
}

/* ---- what follows ---- */

/* What a file says by now; NULL: what it said at setup. */
static const char *news(const struct drift_container *c, enum file file)
{
    return c->changed[file - FILE_TEXTS] ? c->texts[file - FILE_TEXTS] : NULL;
}

static bool is_replaced(const struct drift_container *c, const char *key)
{
    if ((c->cpus && str_eq(key, "cpuset.cpus")) || (c->mems && str_eq(key, "cpuset.mems")) ||
        (c->cpu && str_eq(key, "cpu.max")) ||
        (news(c, FILE_SHARES) && str_eq(key, "cpu.weight.nice")))
        return true;
    for (unsigned i = FILE_TEXTS; i < FILE_COUNT; i++) {
        if (files[i].v2 && news(c, i) && str_eq(key, files[i].v2))
            return true;
    }
    return false;
}

static struct json_list keep_unified(const struct drift_container *c, const struct json_list *list,
                                     bool v2, struct arena *a)
{
    static const enum file added[] = {FILE_HIGH,   FILE_MIN,        FILE_OOM_GROUP,
                                      FILE_WEIGHT, FILE_BFQ_WEIGHT, FILE_IO_MAX};
    struct json_list kept = {0};

    for (size_t i = 0; i < list->count; i++) {
        struct json_pair pair = JSON_AT(*list, struct json_pair, i);

        if (!is_replaced(c, pair.key))
            JSON_APPEND(a, kept, struct json_pair) = pair;
    }
    for (size_t i = 0; v2 && i < ARRAY_SIZE(added); i++) {
        if (!str_empty(news(c, added[i])))
            JSON_APPEND(a, kept, struct json_pair) =
                (struct json_pair){.key = arena_strdup(a, files[added[i]].v2),
                                   .value = arena_strdup(a, news(c, added[i]))};
    }
    return kept;
}

static char *list_or_null(const char *text, struct arena *a)
{
    return *text ? arena_strdup(a, text) : NULL;
}

/* "max", -1 and what v1 has for no limit are -1. False: no number. */
static bool to_number(const char *text, int64_t *ret)
{
    if (str_starts(text, "max") || str_starts(text, "-1"))
        *ret = -1;
    else if (str_to_i64(text, strlen(text), ret) < 0)
        return false;
    if (*ret >= V1_UNLIMITED)
        *ret = -1;
    return true;
}

static void set_signed(const struct drift_container *c, enum file file, struct json_i64 *ret)
{
    int64_t value;

    if (news(c, file) && to_number(news(c, file), &value))
        *ret = (struct json_i64){true, value};
}

static void set_unsigned(const struct drift_container *c, enum file file, struct json_u64 *ret)
{
    int64_t value;

    if (news(c, file) && to_number(news(c, file), &value) && value >= 0)
        *ret = (struct json_u64){true, (uint64_t)value};
}

static struct oci_cpu *cpu_of(const struct drift *d, const struct drift_container *c,
                              const struct oci_cpu *before, struct arena *a)
{
    struct oci_cpu *cpu = arena_alloc(a, sizeof *cpu);

    if (before)
        *cpu = *before;
    if (c->cpus)
        cpu->cpus = list_or_null(c->now.cpus, a);
    if (c->mems)
        cpu->mems = list_or_null(c->now.mems, a);
    set_unsigned(c, FILE_SHARES, &cpu->shares);
    if (news(c, FILE_SHARES) && is_v2(d, CG_CTL_CPU))
        cpu->shares.value = cg_weight_to_shares(cpu->shares.value);
    set_unsigned(c, FILE_BURST, &cpu->burst);
    set_signed(c, FILE_IDLE, &cpu->idle);
    if (c->cpu) {
        cpu->quota = (struct json_i64){true, c->now.cpu.us};
        cpu->period = (struct json_u64){true, c->now.cpu.period_us};
        /* The kernel refuses a burst above the quota (cgroup-v2.rst, cpu.max.burst). */
        if (cpu->burst.set && c->now.cpu.us >= 0 && cpu->burst.value > (uint64_t)c->now.cpu.us)
            cpu->burst.value = (uint64_t)c->now.cpu.us;
    }
    return cpu;
}

/* config.json counts memory and swap together, as v1 does; v2 counts swap alone. */
static void set_swap(const struct drift_container *c, struct oci_memory *memory)
{
    const char *max = c->texts[FILE_MEMORY - FILE_TEXTS], *swap = c->texts[FILE_SWAP - FILE_TEXTS];
    int64_t most, more;

    if (!(news(c, FILE_SWAP) || (news(c, FILE_MEMORY) && memory->swap.set)) || !max || !swap ||
        !to_number(max, &most) || !to_number(swap, &more))
        return;
    if (most >= 0 && more >= 0 && !__builtin_add_overflow(most, more, &most))
        memory->swap = (struct json_i64){true, most};
    else
        memory->swap = (struct json_i64){true, more < 0 ? -1 : more};
}

static struct oci_memory *memory_of(const struct drift *d, const struct drift_container *c,
                                    struct oci_memory *before, struct arena *a)
{
    struct oci_memory *memory;

    if (!news(c, FILE_MEMORY) && !news(c, FILE_SWAP) && !news(c, FILE_RESERVATION))
        return before;
    memory = arena_alloc(a, sizeof *memory);
    if (before)
        *memory = *before;
    set_signed(c, FILE_MEMORY, &memory->limit);
    set_signed(c, FILE_RESERVATION, &memory->reservation);
    if (is_v2(d, CG_CTL_MEMORY))
        set_swap(c, memory);
    else
        set_signed(c, FILE_SWAP, &memory->swap);
    return memory;
}

/* "8:0 1048576" in each line. */
static void set_throttles(const struct drift_container *c, enum file file, struct arena *a,
                          struct json_list *ret)
{
    char *cursor = news(c, file) ? arena_strdup(a, news(c, file)) : NULL, *line;

    if (cursor)
        *ret = (struct json_list){0};
    while (cursor && (line = str_next(&cursor, '\n'))) {
        long long major, minor, rate;

        if (sscanf(line, "%lld:%lld %lld", &major, &minor, &rate) == 3)
            JSON_APPEND(a, *ret, struct oci_throttle_device) =
                (struct oci_throttle_device){{true, major}, {true, minor}, {true, (uint64_t)rate}};
    }
}

static struct oci_block_io *io_of(const struct drift_container *c, struct oci_block_io *before,
                                  bool v2, struct arena *a)
{
    struct oci_block_io *io;
    bool any = false;

    for (unsigned i = FILE_WEIGHT; i <= FILE_WRITE_IOPS; i++)
        any = any || news(c, i);
    if (!any)
        return before;
    io = arena_alloc(a, sizeof *io);
    if (before)
        *io = *before;
    if (!v2) { /* there they are in unified */
        set_unsigned(c, FILE_BFQ_WEIGHT, &io->weight);
        set_unsigned(c, FILE_WEIGHT, &io->weight);
    }
    set_throttles(c, FILE_READ_BPS, a, &io->read_bps);
    set_throttles(c, FILE_WRITE_BPS, a, &io->write_bps);
    set_throttles(c, FILE_READ_IOPS, a, &io->read_iops);
    set_throttles(c, FILE_WRITE_IOPS, a, &io->write_iops);
    if (news(c, FILE_IO_MAX))
        io->read_bps = io->write_bps = io->read_iops = io->write_iops = (struct json_list){0};
    return io;
}

static bool has_changed(const struct drift_container *c)
{
    bool any = c->cpus || c->mems || c->cpu;

    for (unsigned i = FILE_TEXTS; i < FILE_COUNT; i++)
        any = any || (i != FILE_DEVICES && news(c, i));
    return any;
}

bool drift_devices(const struct drift *d, const char *id)
{
    const struct drift_container *c = find(d, id);

    return c && news(c, FILE_DEVICES);
}

const struct oci_resources *drift_resources(const struct drift *d, const char *id,
                                            const struct oci_resources *r, struct arena *a)
{
    const struct drift_container *c = find(d, id);
    bool v2 = d->host->mode == CG_MODE_V2;
    struct oci_resources *own;

    if (!c || !has_changed(c))
        return r;
    own = arena_alloc(a, sizeof *own);
    if (r)
        *own = *r;
    own->unified = keep_unified(c, &own->unified, v2, a);
    own->cpu = cpu_of(d, c, own->cpu, a);
    own->memory = memory_of(d, c, own->memory, a);
    if (news(c, FILE_PIDS)) {
        own->pids = arena_alloc(a, sizeof *own->pids);
        set_signed(c, FILE_PIDS, &own->pids->limit);
    }
    own->block_io = io_of(c, own->block_io, v2, a);
    return own;
}
