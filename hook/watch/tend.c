/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/tend.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/dir.h"
#include "cgroup/path.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"

#include <fcntl.h>
#include <limits.h>

void tend_init(struct tend *t, const struct settings *settings)
{
    *t = (struct tend){.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    t->kthreads.proc_fd = t->proc_fd;
    t->pinning.map = &settings->vcpu_numa_nodes;
    t->overhead.list = settings->overhead_cpus;
}

/* Only a cpuset that somebody asked for is one to pin to: all containers, or an operator by `update`. */
static bool has_cpuset(const struct record *r)
{
    if (r->updated && r->updated->cpu && !str_empty(r->updated->cpu->cpus))
        return true;
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct oci_resources *resources =
            JSON_AT(r->containers, struct record_container, i).resources;

        if (!resources || !resources->cpu || str_empty(resources->cpu->cpus))
            return false;
    }
    return r->containers.count > 0;
}

/* Of a cgroup without a cpuset it is that of its nearest ancestor with one. */
static bool read_cpuset(const struct cg_controller *c, char *buf, size_t size)
{
    const struct cg_hierarchy *h = cg_host_find(c->host, CG_CTL_CPUSET);
    ssize_t len = pinning_cpuset_read(c, buf, size);
    autoarena a = ARENA_INIT;
    const char *path = c->path;
    char full[PATH_MAX];

    while (len <= 0 && h && !str_eq(path, "/")) {
        path = cg_path_parent(&a, path);
        cg_full_path(h, path, NULL, h->v2 ? "cpuset.cpus.effective" : "cpuset.effective_cpus", full,
                     sizeof full);
        len = io_read_at(AT_FDCWD, full, buf, size);
    }
    return len > 0;
}

bool tend_is_due(const struct tend *t, const struct scan *scan, const struct record *r)
{
    char cpus[4096];

    if (!t->overhead.list && !r->enable_vcpus_pinning.value)
        return false;
    return !str_eq_null(t->cpuset,
                        read_cpuset(&scan->sandbox->home, cpus, sizeof cpus) ? cpus : NULL);
}

static int pin(struct tend *t, const struct scan *scan, const struct record *r, bool verify,
               struct err *e)
{
    autoarena a = ARENA_INIT;
    struct pinning_vcpu *vcpus = arena_alloc(&a, (scan->count + 1) * sizeof *vcpus);
    size_t count = 0;
    char cpus[4096];
    bool known = has_cpuset(r) && pinning_cpuset_read(&scan->sandbox->home, cpus, sizeof cpus) > 0;
    int ret;

    for (size_t i = 0; i < scan->count; i++) {
        const struct scan_thread *thread = &scan->threads[i];

        if (thread->source != VCPU_NONE)
            vcpus[count++] = (struct pinning_vcpu){thread->tid, thread->start_time, thread->index};
    }
    ret = pinning_update(&t->pinning, known ? overhead_cpus_rest(t->overhead.list, cpus, &a) : NULL,
                         vcpus, count, verify, e);
    return ret < 0 ? ret : 0;
}

static int keep_overhead(struct tend *t, const struct scan *scan, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct overhead_thread *threads = arena_alloc(&a, (scan->count + 1) * sizeof *threads);
    int r;

    for (size_t i = 0; i < scan->count; i++) {
        const struct scan_thread *from = &scan->threads[i];

        threads[i] =
            (struct overhead_thread){from->tid, from->start_time, from->source != VCPU_NONE};
    }
    r = overhead_cpus_update(&t->overhead, t->cpuset, threads, scan->count, e);
    return r < 0 ? r : 0;
}

static void note_cpuset(struct tend *t, const struct scan *scan)
{
    char cpus[4096];

    free(t->cpuset);
    t->cpuset = read_cpuset(&scan->sandbox->home, cpus, sizeof cpus)
                    ? heap_copy(cpus, strlen(cpus) + 1)
                    : NULL;
}

static int place_kthreads(struct tend *t, const struct scan *scan, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids vmms = {0};
    int r = scan_vmms(scan, &a, &vmms, e);

    if (r < 0)
        return r;
    t->kthreads.kvm_dirfd = scan->kvm_dirfd;
    r = kthreads_place(&t->kthreads, &scan->sandbox->home, &scan->sandbox->overhead, vmms.items,
                       vmms.count, e);
    return r < 0 ? r : 0;
}

void tend_vm(struct tend *t, const struct scan *scan, const struct record *r, bool verify)
{
    struct err e = ERR_INIT;

    /* A kernel thread in the runtime's own cgroup would be in the way of its removal. */
    if (!scan->sandbox->is_nested)
        log_once(&t->kthread_error, place_kthreads(t, scan, &e), &e);
    note_cpuset(t,
                scan); /* before it is used: a change that comes meanwhile is due with the next */
    err_reset(&e);
    if (r->enable_vcpus_pinning.value)
        log_once(&t->pinning_error, pin(t, scan, r, verify, &e), &e);
    err_reset(&e);
    if (t->overhead.list)
        log_once(&t->overhead_error, keep_overhead(t, scan, &e), &e);
}

int tend_unsure(const struct scan *scan, struct arena *a, struct cg_pids *ret, struct err *e)
{
    autofd proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct kthreads k = {.proc_fd = proc, .kvm_dirfd = scan->kvm_dirfd};
    struct cg_pids vmms = {0}, sure;
    size_t count = 0;
    int r = scan->sandbox->is_nested ? 0 : scan_vmms(scan, a, &vmms, e);

    if (r == 0)
        r = kthreads_find(&k, vmms.items, vmms.count, a, &sure, ret, e);
    kthreads_free(&k);
    for (size_t i = 0; r == 0 && i < ret->count; i++) {
        if (cg_holds(&scan->sandbox->home, ret->items[i]) == 0 &&
            cg_holds(&scan->sandbox->overhead, ret->items[i]) == 0)
            ret->items[count++] = ret->items[i];
    }
    ret->count = count;
    return r;
}
