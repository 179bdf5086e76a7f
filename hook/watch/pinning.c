/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/pinning.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "hook/watch/affinity.h"

#include <errno.h>
#include <fcntl.h>

/* ---- deciding ---- */

int pinning_nodes_read(const char *dir, struct arena *a, struct pinning_nodes *ret)
{
    autodir nodes = io_opendir_at(AT_FDCWD, dir);
    struct dirent *entry;

    *ret = (struct pinning_nodes){0};
    if (!nodes)
        return -errno;
    while ((entry = io_next_entry(nodes))) {
        const char *number = entry->d_name + 4;
        char path[NAME_MAX + 16], text[32768];
        struct pinning_node node = {0};

        if (!str_starts(entry->d_name, "node") ||
            str_to_u64(number, strlen(number), &node.node) < 0)
            continue;
        snprintf(path, sizeof path, "%s/cpulist", entry->d_name);
        if (io_read_at(dirfd(nodes), path, text, sizeof text) < 0 ||
            cg_cpulist_parse(text, &node.cpus) < 0)
            continue;
        ARENA_APPEND(a, ret->items, ret->count) = node;
    }
    return 0;
}

static const struct cg_cpulist *cpus_of_node(const struct pinning_nodes *nodes, int64_t node)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (node >= 0 && nodes->items[i].node == (uint64_t)node)
            return &nodes->items[i].cpus;
    }
    return NULL;
}

/* The lowest CPU of @free that is also in @among; it is taken out. False: there is none. */
static bool take_lowest(struct cg_cpulist *free_cpus, const struct cg_cpulist *among, unsigned *ret)
{
    for (unsigned i = 0; i < ARRAY_SIZE(free_cpus->bits); i++) {
        uint64_t both = free_cpus->bits[i] & among->bits[i];

        if (both == 0)
            continue;
        *ret = i * 64 + (unsigned)__builtin_ctzll(both);
        free_cpus->bits[i] &= ~(both & -both);
        return true;
    }
    return false;
}

bool pinning_decide(const int *indexes, size_t count, const struct cg_cpulist *cpus,
                    const struct json_list *map, const struct pinning_nodes *nodes,
                    unsigned *ret_cpus)
{
    struct cg_cpulist left = *cpus;

    if (count == 0 || count != cg_cpulist_count(cpus))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (indexes[i] < 0 || (i > 0 && indexes[i] <= indexes[i - 1]))
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t index = (size_t)indexes[i];
        const struct cg_cpulist *near =
            index < map->count ? cpus_of_node(nodes, JSON_AT(*map, int64_t, index)) : NULL;

        if (!near || !take_lowest(&left, near, &ret_cpus[i]))
            ret_cpus[i] = CG_CPULIST_MAX;
    }
    for (size_t i = 0; i < count; i++) {
        if (ret_cpus[i] == CG_CPULIST_MAX)
            take_lowest(&left, cpus, &ret_cpus[i]);
    }
    return true;
}

/* ---- doing ---- */

/* 1; 0 it has ended. */
static int set_affinity(const struct pinning_vcpu *v, const struct cg_cpulist *cpus,
                        const char *what, struct err *e)
{
    int r = affinity_set(v->tid, v->start_time, cpus);

    return r < 0 ? err_sys(e, r, "cannot %s vCPU thread %d", what, (int)v->tid) : r;
}

static void only(unsigned cpu, struct cg_cpulist *ret)
{
    *ret = (struct cg_cpulist){0};
    ret->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

static int pin(const struct pinning_thread *t, struct err *e)
{
    struct cg_cpulist cpus;
    int r;

    only(t->cpu, &cpus);
    r = set_affinity(&t->vcpu, &cpus, "pin", e);
    if (r < 0)
        err_hint(e, "; it was to run on CPU %u", t->cpu);
    return r;
}

static int unpin(const struct pinning_vcpu *v, struct err *e)
{
    return set_affinity(v, NULL, "unpin", e);
}

static bool is_pinned(const struct pinning_thread *t)
{
    struct cg_cpulist want, got;
    int r = affinity_get(t->vcpu.tid, &got);

    only(t->cpu, &want);
    return r == 0 || (r > 0 && memcmp(&want, &got, sizeof want) == 0);
}

static bool same_vcpu(const struct pinning_vcpu *a, const struct pinning_vcpu *b)
{
    return a->tid == b->tid && a->start_time == b->start_time && a->index == b->index;
}

static const struct pinning_thread *find(const struct pinning_thread *list, size_t count,
                                         const struct pinning_vcpu *v)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].vcpu.tid == v->tid && list[i].vcpu.start_time == v->start_time)
            return &list[i];
    }
    return NULL;
}

/* What an update starts from and is to reach. */
struct change {
    const struct pinning_thread *want;
    size_t count;
    bool all;    /* the cpuset was written: the kernel may have dropped every affinity */
    bool verify; /* ask the kernel */
    int changed, first;
};

static void count_result(struct change *c, int r)
{
    if (r > 0)
        c->changed = 1;
    else if (r < 0 && c->first == 0)
        c->first = r;
}

static void carry_out(const struct pinning *p, struct change *c, struct err *e)
{
    for (size_t i = 0; i < p->pinned_count; i++) {
        if (!find(c->want, c->count, &p->pinned[i].vcpu))
            count_result(c, unpin(&p->pinned[i].vcpu, e));
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct pinning_thread *t = &c->want[i];
        const struct pinning_thread *before = find(p->pinned, p->pinned_count, &t->vcpu);

        if (before && before->cpu == t->cpu && !c->all && (!c->verify || is_pinned(t)))
            continue;
        count_result(c, pin(t, e));
    }
}

static int compare_threads(const void *a, const void *b)
{
    const struct pinning_thread *x = a, *y = b;

    return (x->vcpu.index > y->vcpu.index) - (x->vcpu.index < y->vcpu.index);
}

/* The threads to be pinned, sorted by number; *@ret_count 0 for a mismatch. */
static int decide(const struct pinning *p, const char *cpus, const struct pinning_vcpu *vcpus,
                  size_t count, struct arena *a, struct pinning_thread **ret, size_t *ret_count,
                  struct err *e)
{
    static const struct json_list no_map;
    const struct json_list *map = p->map ? p->map : &no_map;
    struct pinning_thread *threads = arena_alloc(a, (count + 1) * sizeof *threads);
    int *indexes = arena_alloc(a, (count + 1) * sizeof *indexes);
    unsigned *chosen = arena_alloc(a, (count + 1) * sizeof *chosen);
    struct pinning_nodes nodes = {0};
    struct cg_cpulist set = {0};
    char shown[128];
    int r = cpus ? cg_cpulist_parse(cpus, &set) : 0;

    *ret = threads;
    *ret_count = 0;
    if (r < 0)
        return err_set(e, -EINVAL, "\"%s\" is no list of CPUs to pin vCPUs to",
                       str_escape(cpus, shown, sizeof shown));
    if (count == 0 || count != cg_cpulist_count(&set))
        return 0;
    if (map->count > 0)
        (void)pinning_nodes_read(p->nodes_dir ? p->nodes_dir : PINNING_NODES_DIR, a, &nodes);
    for (size_t i = 0; i < count; i++)
        threads[i].vcpu = vcpus[i];
    qsort(threads, count, sizeof *threads, compare_threads);
    for (size_t i = 0; i < count; i++)
        indexes[i] = threads[i].vcpu.index;
    if (!pinning_decide(indexes, count, &set, map, &nodes, chosen))
        return 0;
    for (size_t i = 0; i < count; i++)
        threads[i].cpu = chosen[i];
    *ret_count = count;
    return 0;
}

static bool same_question(const struct pinning *p, const char *cpus,
                          const struct pinning_vcpu *vcpus, size_t count)
{
    if (!str_eq_null(p->cpus, cpus) || p->vcpu_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!same_vcpu(&p->vcpus[i], &vcpus[i]))
            return false;
    }
    return true;
}

static void remember(struct pinning *p, const char *cpus, const struct pinning_vcpu *vcpus,
                     size_t count, const struct change *c)
{
    char *text = heap_copy(cpus, cpus ? strlen(cpus) + 1 : 0);
    struct pinning_vcpu *asked = heap_copy(vcpus, count * sizeof *asked);
    struct pinning_thread *pinned = heap_copy(c->want, c->count * sizeof *pinned);

    pinning_free(p);
    p->cpus = text;
    p->vcpus = asked;
    p->vcpu_count = count;
    p->pinned = pinned;
    p->pinned_count = c->count;
    p->settled = c->first == 0;
}

int pinning_update(struct pinning *p, const char *cpus, const struct pinning_vcpu *vcpus,
                   size_t count, bool verify, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct change c = {.verify = verify};
    struct pinning_thread *want;
    bool same = p->settled && same_question(p, cpus, vcpus, count);

    if (same && !(verify && p->pinned_count > 0))
        return 0;
    if (same) {
        c.want = p->pinned;
        c.count = p->pinned_count;
    } else {
        c.first = decide(p, cpus, vcpus, count, &a, &want, &c.count, e);
        c.want = want;
        c.all = !p->settled || !str_eq_null(p->cpus, cpus);
    }
    carry_out(p, &c, e);
    if (!same || c.first < 0)
        remember(p, cpus, vcpus, count, &c);
    return c.first < 0 ? c.first : c.changed;
}

void pinning_free(struct pinning *p)
{
    free(p->cpus);
    free(p->vcpus);
    free(p->pinned);
    *p = (struct pinning){.map = p->map, .nodes_dir = p->nodes_dir};
}

/* ---- asking ---- */

ssize_t pinning_cpuset_read(const struct cg_controller *c, char *buf, size_t size)
{
    const struct cg_hierarchy *h = cg_host_find(c->host, CG_CTL_CPUSET);
    int fd = h ? c->fds[h - c->host->hierarchies] : FD_NONE;

    if (fd < 0)
        return -ENOENT;
    return io_read_at(fd, h->v2 ? "cpuset.cpus.effective" : "cpuset.effective_cpus", buf, size);
}
