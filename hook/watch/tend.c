/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/tend.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"

#include <fcntl.h>

void tend_init(struct tend *t, const struct settings *settings)
{
    *t = (struct tend){.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    t->kthreads.proc_fd = t->proc_fd;
    t->pinning.map = &settings->vcpu_numa_nodes;
}

/* Only a cpuset that somebody asked for is one to pin to. */
static bool has_cpuset(const struct record *r)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct oci_resources *resources =
            JSON_AT(r->containers, struct record_container, i).resources;

        if (!resources || !resources->cpu || str_empty(resources->cpu->cpus))
            return false;
    }
    return r->containers.count > 0;
}

static int pin(struct tend *t, const struct scan *scan, const struct record *r, bool verify,
               struct err *e)
{
    autoarena a = ARENA_INIT;
    struct pinning_vcpu *vcpus = arena_alloc(&a, (scan->count + 1) * sizeof *vcpus);
    size_t count = 0;
    char cpus[4096];
    bool known = has_cpuset(r) && pinning_cpuset_read(&scan->sandbox->vcpu, cpus, sizeof cpus) > 0;
    int ret;

    for (size_t i = 0; i < scan->count; i++) {
        const struct scan_thread *thread = &scan->threads[i];

        if (thread->source != VCPU_NONE)
            vcpus[count++] = (struct pinning_vcpu){thread->tid, thread->start_time, thread->index};
    }
    ret = pinning_update(&t->pinning, known ? cpus : NULL, vcpus, count, verify, e);
    return ret < 0 ? ret : 0;
}

static int place_kthreads(struct tend *t, const struct scan *scan, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids vmms = {0};
    int r = scan_processes(scan, &scan->sandbox->overhead, &a, &vmms, e);

    if (r < 0)
        return r;
    t->kthreads.kvm_dirfd = scan->kvm_dirfd;
    r = kthreads_place(&t->kthreads, &scan->sandbox->overhead, vmms.items, vmms.count, e);
    return r < 0 ? r : 0;
}

void tend_vm(struct tend *t, const struct scan *scan, const struct record *r, bool verify)
{
    struct err e = ERR_INIT;

    log_once(&t->kthread_error, place_kthreads(t, scan, &e), &e);
    err_reset(&e);
    if (r->enable_vcpus_pinning.value)
        log_once(&t->pinning_error, pin(t, scan, r, verify, &e), &e);
}

int tend_unsure(const struct scan *scan, struct arena *a, struct cg_pids *ret, struct err *e)
{
    autofd proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct kthreads k = {.proc_fd = proc, .kvm_dirfd = scan->kvm_dirfd};
    struct cg_pids vmms = {0}, sure;
    size_t count = 0;
    int r = scan_processes(scan, &scan->sandbox->overhead, a, &vmms, e);

    if (r == 0)
        r = kthreads_find(&k, vmms.items, vmms.count, a, &sure, ret, e);
    kthreads_free(&k);
    for (size_t i = 0; r == 0 && i < ret->count; i++) {
        if (cg_holds(&scan->sandbox->overhead, ret->items[i]) == 0)
            ret->items[count++] = ret->items[i];
    }
    ret->count = count;
    return r;
}
