/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/scan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/plan/facts.h"
#include "hook/plan/policy.h"
#include "hook/sandbox/sandbox.h"
#include "hook/vcpu/vmm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A thread that was moved while it was being moved by somebody else: this often. */
#define PLACE_TRIES 3
/* For this long after it was first seen a thread may still be given its name, or run its first
 * guest code. Later ones are found by SCAN_ALL. */
#define YOUNG_US 3000000
/* A young thread with a vCPU's name is looked at again after this time, then after its double. */
#define LOOK_AGAIN_US 10000

/* FNV-1a. */
#define PRINT_INIT UINT64_C(14695981039346656037)

static void mix(uint64_t *print, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        *print = (*print ^ p[i]) * UINT64_C(1099511628211);
}

bool scan_is_own(const struct scan *scan, pid_t id)
{
    return id == scan->own[0] || id == scan->own[1];
}

void scan_free(struct scan *scan)
{
    free(scan->threads);
    scan->threads = NULL;
    scan->count = scan->size = 0;
    scan->list = 0;
    scan->last = (struct scan_result){0};
}

/* ---- looking ---- */

/* What one pass works with. */
struct pass {
    struct scan *scan;
    enum scan_depth depth;
    struct arena a;
    unsigned long long now;
    struct cg_pids overhead, inside; /* the lists as they were read */
    struct vcpu_kvm kvm;
    bool kvm_read; /* only a pass that has a thread to look at needs to */
    struct scan_thread *threads;
    size_t count;
};

static bool is_listed(const struct cg_pids *list, pid_t id)
{
    return list->count > 0 &&
           bsearch(&id, list->items, list->count, sizeof *list->items, cg_pid_compare);
}

/* One that was made by a process which lives elsewhere is hardly ours. */
static bool may_be_ours(pid_t creator, const void *arg)
{
    const struct pass *p = arg;
    char path[32];

    if (p->scan->every_vm || p->depth == SCAN_ALL || p->depth == SCAN_LOOK ||
        is_listed(&p->overhead, creator) || is_listed(&p->inside, creator))
        return true;
    snprintf(path, sizeof path, "/proc/%d", (int)creator);
    return access(path, F_OK) < 0;
}

static const struct vcpu_kvm *known_to_kvm(struct pass *p)
{
    if (!p->kvm_read)
        vcpu_kvm_read(p->scan->kvm_dirfd, may_be_ours, p, &p->a, &p->kvm);
    p->kvm_read = true;
    return &p->kvm;
}

static bool is_told(const struct scan *scan, pid_t tid, int *ret_index)
{
    for (size_t i = 0; scan->told && i < scan->told->count; i++) {
        if (scan->told->items[i].tid == tid) {
            *ret_index = scan->told->items[i].index;
            return true;
        }
    }
    return false;
}

static bool is_young(const struct pass *p, const struct scan_thread *t)
{
    return p->now - t->seen_us < YOUNG_US;
}

static bool needs_look(const struct pass *p, const struct scan_thread *before)
{
    int index;

    if (!before || p->depth == SCAN_ALL || p->depth == SCAN_LOOK)
        return true;
    if (before->source == VCPU_NONE)
        return is_young(p, before) || is_told(p->scan, before->tid, &index);
    return before->source == VCPU_NAME && is_young(p, before) &&
           p->now - before->looked_us >= before->looked_us - before->seen_us + LOOK_AGAIN_US;
}

/*
 * Once a vCPU, always a vCPU: a new name is no way out of the limits. But a young thread may still
 * have the name of the one that started it.
 */
static bool stays_vcpu(const struct pass *p, const struct scan_thread *before)
{
    return before->source != VCPU_NONE && !(before->source == VCPU_NAME && is_young(p, before));
}

/* Whether it is more than the payload's word, which others than VMMs could give, too. */
static bool is_shown(struct pass *p, pid_t tid, const struct proc_stat *st, enum vcpu_source source)
{
    struct vmm_fds fds;

    return source == VCPU_DEBUGFS || source == VCPU_NONE || st->guest_time > 0 ||
           (vmm_fds_read(tid, &p->a, &fds) == 0 && fds.count > 0);
}

static enum vcpu_source classify(struct pass *p, pid_t tid, const struct proc_stat *st, int *index)
{
    enum vcpu_source source =
        vcpu_classify(tid, st, known_to_kvm(p), &p->scan->settings->vcpu_thread_patterns, index);
    int told;

    /* What the VMM says of itself may add a number to what is known otherwise, or a thread. */
    if (is_told(p->scan, tid, &told)) {
        if (*index == VCPU_NO_INDEX)
            *index = told;
        if (source == VCPU_NONE || source == VCPU_GUEST_TIME)
            source = VCPU_QMP;
    }
    return p->scan->kernel_evidence && !is_shown(p, tid, st, source) ? VCPU_NONE : source;
}

/* One thread that a list names. @before: as the last pass left it, or NULL. */
static void look_at(struct pass *p, pid_t tid, const struct scan_thread *before, bool inside)
{
    struct scan_thread t = {.tid = tid};
    struct proc_stat st;

    if (!needs_look(p, before)) {
        t = *before;
    } else {
        if (proc_stat_read(tid, &st) < 0) /* it has ended */
            return;
        t.start_time = st.start_time;
        t.name = PRINT_INIT;
        mix(&t.name, st.comm, strlen(st.comm));
        t.source = classify(p, tid, &st, &t.index);
        t.seen_us = t.looked_us = p->now;
        if (before && before->start_time == st.start_time && t.source == VCPU_NONE &&
            stays_vcpu(p, before)) {
            t.source = before->source;
            t.index = before->index;
        }
        if (before && before->start_time == st.start_time &&
            (before->source == VCPU_NONE) == (t.source == VCPU_NONE)) {
            t.seen_us = before->seen_us;
            t.placed_us = before->placed_us;
        }
    }
    t.inside = inside;
    p->threads[p->count++] = t;
}

/* The ids of both lists and of the last pass, each sorted, in one go. */
static void look(struct pass *p)
{
    const struct cg_pids *overhead = &p->overhead, *inside = &p->inside;
    size_t o = 0, i = 0, k = 0;

    while (o < overhead->count || i < inside->count) {
        bool from_inside =
            o == overhead->count || (i < inside->count && inside->items[i] <= overhead->items[o]);
        pid_t tid = from_inside ? inside->items[i] : overhead->items[o];

        /* In both: it was moved between the two reads. */
        i += i < inside->count && inside->items[i] == tid;
        o += o < overhead->count && overhead->items[o] == tid;
        while (k < p->scan->count && p->scan->threads[k].tid < tid)
            k++;
        if (!scan_is_own(p->scan, tid))
            look_at(p, tid,
                    k < p->scan->count && p->scan->threads[k].tid == tid ? &p->scan->threads[k]
                                                                         : NULL,
                    from_inside);
    }
}

/* ---- placing ---- */

/* Move a thread and read back that it arrived. 1: it did; 0: it has ended. */
static int place(struct cg_controller *c, pid_t tid, struct err *e)
{
    struct proc_stat st;

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
    /* The kernel no longer moves one that is ending, which may take longer than all this. */
    if (proc_stat_read(tid, &st) < 0 || st.exiting)
        return 0;
    return err_set(e, -EAGAIN, "thread %d does not stay in %s", (int)tid, c->path);
}

/* 1: it is where it belongs; 0: it has ended; -errno. */
static int settle_one(const struct pass *p, struct scan_thread *t, struct err *e)
{
    bool vcpu = t->source != VCPU_NONE;
    struct cg_controller *home = vcpu ? &p->scan->sandbox->vcpu : &p->scan->sandbox->overhead;
    int r = 1;

    if (vcpu != t->inside)
        r = place(home, t->tid, e);
    else if (vcpu && p->depth == SCAN_ALL && cg_holds(home, t->tid) == 0)
        r = place(home, t->tid, e);
    if (r != 1)
        return r;
    t->inside = vcpu;
    if (vcpu && t->placed_us == 0)
        t->placed_us = io_now_us();
    return r;
}

/* Threads that the kernel has let go in the meantime are dropped. */
static int settle(struct pass *p, struct scan_result *ret, struct err *e)
{
    size_t kept = 0;
    int first = 0;

    for (size_t i = 0; i < p->count; i++) {
        struct scan_thread t = p->threads[i];
        int r = first == 0 ? settle_one(p, &t, e) : 1;

        if (r < 0)
            first = r;
        if (r == 0)
            continue;
        ret->placed += t.source != VCPU_NONE && t.inside;
        p->threads[kept++] = t;
    }
    p->count = kept;
    return first;
}

int scan_processes(const struct scan *scan, const struct cg_controller *c, struct arena *a,
                   struct cg_pids *ret, struct err *e)
{
    size_t count = 0;
    int r = cg_processes(c, a, ret, e);

    for (size_t i = 0; r == 0 && i < ret->count; i++) {
        if (!scan_is_own(scan, ret->items[i]))
            ret->items[count++] = ret->items[i];
    }
    ret->count = count;
    return r;
}

int scan_vmms(const struct scan *scan, struct arena *a, struct cg_pids *ret, struct err *e)
{
    return scan_processes(scan, &scan->sandbox->home, a, ret, e);
}

bool scan_needs_evidence(const struct scan *scan)
{
    bool hypervisor = false;

    for (size_t i = 0; i < facts_hypervisor_device_count; i++)
        hypervisor = hypervisor || access(facts_hypervisor_devices[i], F_OK) == 0;
    return policy_needs_evidence(scan->settings, hypervisor);
}

int scan_reunite(struct scan *scan, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;
    int r = scan_processes(scan, &scan->sandbox->overhead, &a, &pids, e);

    for (size_t i = 0; r == 0 && i < pids.count; i++) {
        r = cg_add_process(&scan->sandbox->vcpu, pids.items[i], e);
        if (r == -ESRCH) {
            err_reset(e);
            r = 0;
        }
    }
    return r;
}

/* ---- a pass ---- */

static uint64_t print_of(const struct scan *scan, const struct cg_pids *tids)
{
    uint64_t print = PRINT_INIT;

    for (size_t i = 0; i < tids->count; i++) {
        if (!scan_is_own(scan, tids->items[i]))
            mix(&print, &tids->items[i], sizeof tids->items[i]);
    }
    return print;
}

/* Make this pass's threads the known ones, and note what the next list is if nothing changes. */
static void keep(struct pass *p)
{
    struct scan *scan = p->scan;

    scan->list = PRINT_INIT;
    for (size_t i = 0; i < p->count; i++) {
        if (!p->threads[i].inside)
            mix(&scan->list, &p->threads[i].tid, sizeof p->threads[i].tid);
    }
    if (p->count > scan->size) {
        free(scan->threads);
        scan->size = p->count + p->count / 4 + 16;
        scan->threads = malloc(scan->size * sizeof *scan->threads);
        if (!scan->threads)
            err_out_of_memory();
    }
    if (p->count > 0)
        memcpy(scan->threads, p->threads, p->count * sizeof *p->threads);
    scan->count = p->count;
}

/* On v1 processes appear where the vCPUs are: all before the split, and what a runtime starts. */
static bool appears_inside(const struct scan *scan)
{
    return !scan->sandbox->vcpu.leaf && (scan->sandbox->is_nested || scan->hold);
}

static int run(struct pass *p, struct scan_result *ret, struct err *e)
{
    struct scan *scan = p->scan;
    /* With sandbox_cgroup_only there is none. */
    int r = scan->sandbox->has_overhead
                ? cg_threads(&scan->sandbox->overhead, &p->a, &p->overhead, e)
                : 0;

    if (r < 0)
        return r;
    if (p->depth == SCAN_QUICK && !appears_inside(scan) &&
        print_of(scan, &p->overhead) == scan->list) {
        *ret = scan->last;
        ret->quick = true;
        return 0;
    }
    r = cg_threads(&scan->sandbox->vcpu, &p->a, &p->inside, e);
    if (r < 0)
        return r;
    p->threads = arena_alloc(&p->a, (p->overhead.count + p->inside.count + 1) * sizeof *p->threads);
    look(p);
    *ret = (struct scan_result){.threads = p->count, .print = PRINT_INIT};
    for (size_t i = 0; i < p->count; i++) {
        ret->overhead_threads += !p->threads[i].inside;
        ret->vcpus += p->threads[i].source != VCPU_NONE;
        mix(&ret->print, &p->threads[i].tid, sizeof p->threads[i].tid);
        mix(&ret->print, &p->threads[i].name, sizeof p->threads[i].name);
    }
    if (p->depth == SCAN_LOOK || scan->hold) {
        for (size_t i = 0; i < p->count; i++)
            ret->placed += p->threads[i].source != VCPU_NONE && p->threads[i].inside;
    } else {
        r = settle(p, ret, e);
    }
    if (r < 0)
        return r;
    keep(p);
    scan->last = *ret;
    scan->last.overhead_threads = 0;
    for (size_t i = 0; i < p->count; i++)
        scan->last.overhead_threads += !p->threads[i].inside;
    return 0;
}

int scan_pass(struct scan *scan, enum scan_depth depth, struct scan_result *ret, struct err *e)
{
    struct pass p = {.scan = scan, .depth = depth, .a = ARENA_INIT, .now = io_now_us()};
    int r;

    *ret = (struct scan_result){0};
    r = run(&p, ret, e);
    arena_free(&p.a);
    return r;
}
