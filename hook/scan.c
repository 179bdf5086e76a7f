/* SPDX-License-Identifier: Apache-2.0 */

/* One pass of the watcher: find vCPU threads, put each thread where it belongs. See watcher.h. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "hook/sandbox.h"
#include "hook/vcpu.h"
#include "hook/watcher.h"

#include <errno.h>
#include <string.h>

/* A thread that was moved while it was being moved by somebody else: this often. */
#define PLACE_TRIES 3

struct thread {
    pid_t tid;
    bool is_vcpu;
};

struct found {
    struct thread *items;
    size_t count, vcpus;
};

/* FNV-1a over what identifies a thread, to notice any change by comparing one number. */
static void mix(uint64_t *print, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        *print = (*print ^ p[i]) * UINT64_C(1099511628211);
}

static bool is_own(const struct watch_scan *scan, pid_t id)
{
    return id == scan->own[0] || id == scan->own[1];
}

static int look(const struct watch_scan *scan, const struct cg_controller *c,
                const struct vcpu_kvm *kvm, struct arena *a, struct found *ret, uint64_t *print,
                struct err *e)
{
    struct cg_pids tids;
    int r = cg_threads(c, a, &tids, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < tids.count; i++) {
        struct proc_stat st;
        struct thread *t;
        int index;

        if (is_own(scan, tids.items[i]) || proc_stat_read(tids.items[i], &st) < 0)
            continue;
        mix(print, &tids.items[i], sizeof tids.items[i]);
        mix(print, st.comm, strlen(st.comm));
        t = arena_push(a, &ret->items, &ret->count, sizeof *t);
        *t = (struct thread){
            .tid = tids.items[i],
            .is_vcpu = vcpu_classify(tids.items[i], &st, kvm, &scan->config->vcpu_thread_patterns,
                                     &index) != VCPU_NONE,
        };
        ret->vcpus += t->is_vcpu;
    }
    return 0;
}

/* Move a thread and read back that it arrived. 1: it did; 0: it has ended. */
static int place(struct cg_controller *c, pid_t tid, struct err *e)
{
    for (unsigned tries = 0; tries < PLACE_TRIES; tries++) {
        int r = cg_add_thread(c, tid, e);

        if (r == 0)
            r = cg_holds(c, tid);
        if (r == -ESRCH) {
            err_reset(e);
            return 0;
        }
        if (r != 0)
            return r;
    }
    return err_set(e, -EAGAIN, "thread %d does not stay in %s", (int)tid, c->path);
}

/*
 * vCPUs turned up after everything had been constrained. Whole processes go back first, because
 * where only processes can be placed they must be on the overhead's side, and because v1 charges
 * memory to where the main thread is.
 */
static int release(struct watch_scan *scan, struct arena *a, struct err *e)
{
    struct cg_pids pids;
    int r = cg_processes(&scan->sandbox->vcpu, a, &pids, e);

    for (size_t i = 0; r == 0 && i < pids.count; i++) {
        if (is_own(scan, pids.items[i]))
            continue;
        r = cg_add_process(&scan->sandbox->overhead, pids.items[i], e);
        if (r == -ESRCH) {
            err_reset(e);
            r = 0;
        }
    }
    if (r == 0)
        scan->constrained = false;
    return r;
}

static int settle(const struct watch_scan *scan, const struct found *threads, bool in_sandbox,
                  struct watch_pass *pass, struct err *e)
{
    for (size_t i = 0; i < threads->count; i++) {
        const struct thread *t = &threads->items[i];
        bool move = t->is_vcpu != in_sandbox;
        int r = !move        ? 1
                : t->is_vcpu ? place(&scan->sandbox->vcpu, t->tid, e)
                             : place(&scan->sandbox->overhead, t->tid, e);

        if (r < 0)
            return r;
        pass->placed += t->is_vcpu && r == 1;
    }
    return 0;
}

int watch_scan(struct watch_scan *scan, struct watch_pass *ret, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct found overhead = {0}, inside = {0};
    struct vcpu_kvm kvm;
    int r;

    *ret = (struct watch_pass){.print = UINT64_C(14695981039346656037)};
    vcpu_kvm_read(scan->kvm_dirfd, &a, &kvm);
    r = look(scan, &scan->sandbox->overhead, &kvm, &a, &overhead, &ret->print, e);
    if (r == 0)
        r = look(scan, &scan->sandbox->vcpu, &kvm, &a, &inside, &ret->print, e);
    if (r < 0)
        return r;
    ret->threads = overhead.count + inside.count;
    ret->overhead_threads = overhead.count;
    ret->vcpus = overhead.vcpus + inside.vcpus;
    if (scan->constrained) {
        if (ret->vcpus == 0)
            return 0;
        r = release(scan, &a, e);
        if (r < 0)
            return r;
        /* All of them are in the overhead now. */
        r = settle(scan, &inside, false, ret, e);
        return r < 0 ? r : settle(scan, &overhead, false, ret, e);
    }
    r = settle(scan, &overhead, false, ret, e);
    return r < 0 ? r : settle(scan, &inside, true, ret, e);
}
