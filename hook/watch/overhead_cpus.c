/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/overhead_cpus.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "hook/watch/affinity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- deciding ---- */

static bool is_equal(const struct cg_cpulist *a, const struct cg_cpulist *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

enum overhead_step overhead_cpus_decide(const struct cg_cpulist *affinity,
                                        const struct cg_cpulist *cpuset,
                                        const struct cg_cpulist *list, bool keep)
{
    struct cg_cpulist target = *list, outside = *affinity;

    cg_cpulist_intersect(&target, cpuset);
    if (cg_cpulist_count(&target) == 0)
        return OVERHEAD_LEAVE;
    if (!keep)
        return is_equal(affinity, &target) ? OVERHEAD_RELEASE : OVERHEAD_LEAVE;
    cg_cpulist_remove(&outside, &target);
    return cg_cpulist_count(&outside) > 0 ? OVERHEAD_KEEP : OVERHEAD_LEAVE;
}

const char *overhead_cpus_rest(const struct cg_cpulist *list, const char *cpus, struct arena *a)
{
    struct cg_cpulist rest = {0};
    autosbuf text = SBUF_INIT;

    if (!list || cg_cpulist_parse(cpus, &rest) < 0)
        return cpus;
    cg_cpulist_remove(&rest, list);
    cg_cpulist_format(&rest, &text);
    return arena_strdup(a, sbuf_text(&text));
}

/* ---- doing ---- */

static bool is_known(const struct overhead_cpus *o, const struct overhead_thread *t)
{
    for (size_t i = 0; i < o->vcpu_count; i++) {
        if (o->vcpus[i].tid == t->tid && o->vcpus[i].start_time == t->start_time)
            return true;
    }
    return false;
}

static int do_thread(const struct overhead_cpus *o, const struct cg_cpulist *cpuset,
                     const struct overhead_thread *t, bool keep, struct err *e)
{
    struct cg_cpulist affinity;
    enum overhead_step step;
    int r = affinity_get(t->tid, &affinity);

    if (r > 0) {
        step = overhead_cpus_decide(&affinity, cpuset, o->list, keep);
        if (step == OVERHEAD_LEAVE)
            return 0;
        r = affinity_set(t->tid, t->start_time, step == OVERHEAD_KEEP ? o->list : NULL);
    }
    return r < 0 ? err_sys(e, r, "overhead_cpus: cannot set the CPUs of thread %d", (int)t->tid)
                 : r;
}

static int refuse(const struct overhead_cpus *o, const char *cpus, struct err *e)
{
    autosbuf text = SBUF_INIT;
    char shown[256];

    cg_cpulist_format(o->list, &text);
    return err_set(e, -ENXIO,
                   "overhead_cpus: none of %s is in the cpuset %s, so threads that are no vCPU "
                   "stay where they are",
                   sbuf_text(&text), str_escape(cpus, shown, sizeof shown));
}

/* Their affinities are their own from here on. */
static void remember(struct overhead_cpus *o, const struct overhead_thread *threads, size_t count)
{
    struct overhead_thread *vcpus = mem_alloc((count + 1) * sizeof *vcpus);

    free(o->vcpus);
    o->vcpus = vcpus;
    o->vcpu_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (threads[i].is_vcpu)
            o->vcpus[o->vcpu_count++] = threads[i];
    }
}

static bool has_vcpus(const struct overhead_thread *threads, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (threads[i].is_vcpu)
            return true;
    }
    return false;
}

/* The CPUs there are for these threads. 0; -EINVAL; -ENXIO. */
static int read_cpus(const struct overhead_cpus *o, const char *cpus, struct cg_cpulist *ret,
                     struct err *e)
{
    struct cg_cpulist target = *o->list;
    char shown[256];

    *ret = (struct cg_cpulist){0};
    if (!cpus) {
        memset(ret, 0xff, sizeof *ret);
        return 0;
    }
    if (cg_cpulist_parse(cpus, ret) < 0)
        return err_set(e, -EINVAL, "\"%s\" is no list of CPUs",
                       str_escape(cpus, shown, sizeof shown));
    cg_cpulist_intersect(&target, ret);
    return cg_cpulist_count(&target) == 0 ? refuse(o, cpus, e) : 0;
}

int overhead_cpus_update(struct overhead_cpus *o, const char *cpus,
                         const struct overhead_thread *threads, size_t count, struct err *e)
{
    bool keep = has_vcpus(threads, count);
    struct cg_cpulist cpuset;
    int changed = 0, first = 0;

    if (!o->list || (!keep && !o->on))
        return 0;
    first = read_cpus(o, cpus, &cpuset, e);
    if (first < 0)
        return first;
    for (size_t i = 0; i < count; i++) {
        int r = threads[i].is_vcpu && is_known(o, &threads[i])
                    ? 0
                    : do_thread(o, &cpuset, &threads[i], keep && !threads[i].is_vcpu, e);

        changed = changed || r > 0;
        if (r < 0 && first == 0)
            first = r;
    }
    o->on = keep || first < 0;
    if (first == 0)
        remember(o, threads, count);
    return first < 0 ? first : changed;
}

void overhead_cpus_free(struct overhead_cpus *o)
{
    free(o->vcpus);
    *o = (struct overhead_cpus){.list = o->list};
}
