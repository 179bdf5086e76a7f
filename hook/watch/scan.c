/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/scan.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "hook/plan/facts.h"
#include "hook/plan/policy.h"
#include "hook/sandbox/sandbox.h"
#include "hook/vcpu/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A thread that was moved while it was being moved by somebody else: this often. */
#define PLACE_TRIES 3
/* For this long after it was first seen a thread may still be given its name, or run its first
 * guest code. Later ones are found by SCAN_ALL. */
#define YOUNG_US 3000000
/* A young thread with a vCPU's name is looked at again after this time, then after its double. */
#define LOOK_AGAIN_US 10000

/* Where events tell of names, other young threads are looked at again no more often than this, and so rarely
 * that it takes a twentieth of a CPU: the first guest code of one without a vCPU's name is what no event tells. */
#define RELOOK_US   3000
#define RELOOK_COST 20

/* Of so many processes the kernel is asked in a pass; claims of others wait. */
#define JUDGED_MAX 64

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
    memset(scan->files, 0, sizeof scan->files);
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
    size_t count, most, skipped, below;
    int unseen;  /* -errno: of a thread nothing is known but its id */
    bool relook; /* at young threads, too, which nothing has told of */
    bool looked; /* at some thread */
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

static bool is_named(const struct scan *scan, pid_t tid)
{
    return scan->named &&
           bsearch(&tid, scan->named->tids, scan->named->count, sizeof tid, cg_pid_compare);
}

static bool needs_look(const struct pass *p, const struct scan_thread *before)
{
    int index;

    if (p->depth == SCAN_ALL || p->depth == SCAN_LOOK || is_named(p->scan, before->tid))
        return true;
    if (before->source == VCPU_NONE)
        return (p->relook && is_young(p, before)) || is_told(p->scan, before->tid, &index);
    return before->source == VCPU_NAME && p->relook && is_young(p, before) &&
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

static enum vcpu_source classify(struct pass *p, pid_t tid, const struct proc_stat *st, int *index,
                                 bool *is_shown)
{
    enum vcpu_source source =
        vcpu_classify(tid, st, known_to_kvm(p), &p->scan->settings->vcpu_thread_patterns, index);
    int told;

    *is_shown = source == VCPU_DEBUGFS || st->guest_time > 0;
    /* What the VMM says of itself may add a number to what is known otherwise, or a thread. */
    if (is_told(p->scan, tid, &told)) {
        if (*index == VCPU_NO_INDEX)
            *index = told;
        if (source == VCPU_NONE || source == VCPU_GUEST_TIME)
            source = VCPU_QMP;
    }
    return source;
}

/* One thread that a list names. @before: as the last pass left it, or NULL. */
static void look_at(struct pass *p, pid_t tid, const struct scan_thread *before, bool inside)
{
    struct scan_thread t = {.tid = tid};
    struct proc_stat st;

    if (before && !needs_look(p, before)) {
        t = *before;
    } else {
        int r = proc_stat_read(tid, &st);

        if (r < 0) { /* it has ended, or nobody knows */
            p->unseen = r == -ESRCH ? p->unseen : r;
            return;
        }
        t.start_time = st.start_time;
        t.name = PRINT_INIT;
        mix(&t.name, st.comm, strlen(st.comm));
        t.source = classify(p, tid, &st, &t.index, &t.is_shown);
        p->looked = true;
        t.seen_us = t.looked_us = p->now;
        t.is_shown =
            t.is_shown || (before && before->start_time == st.start_time && before->is_shown);
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
        if (p->scan->kernel_evidence && t.source != VCPU_NONE)
            t.process = proc_process_of(tid);
    }
    t.inside = inside;
    p->threads[p->count++] = t;
}

/* The ids of both lists and of the last pass, each sorted, in one go. */
static void look_at_all(struct pass *p)
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
        if (p->count == p->most)
            p->skipped++;
        else if (!scan_is_own(p->scan, tid))
            look_at(p, tid,
                    k < p->scan->count && p->scan->threads[k].tid == tid ? &p->scan->threads[k]
                                                                         : NULL,
                    from_inside);
    }
}

static void look(struct pass *p)
{
    struct scan *scan = p->scan;
    unsigned long long began = io_cpu_us(), pause;

    p->relook = !scan->names_told || p->now >= scan->relook_us;
    look_at_all(p);
    if (!p->relook)
        return;
    pause = (io_cpu_us() - began) * RELOOK_COST;
    scan->relook_us = p->now + (pause > RELOOK_US ? pause : RELOOK_US);
}

/* ---- what the kernel says of a process ---- */

static bool is_claim(const struct scan_thread *t)
{
    return t->source != VCPU_NONE && !t->is_shown;
}

/* How many threads of the process are vCPUs besides those that the kernel shows. False: not known. */
static bool claims_allowed(struct pass *p, pid_t process, size_t *ret)
{
    struct vmm_fds fds;
    size_t shown = 0;

    *ret = 0;
    if (process == 0 || vmm_fds_read(process, &p->a, &fds) < 0 || fds.has_more)
        return false;
    for (size_t i = 0; i < p->count; i++)
        shown += p->threads[i].process == process && p->threads[i].is_shown &&
                 p->threads[i].source != VCPU_NONE;
    *ret = fds.count > shown ? fds.count - shown : 0;
    return true;
}

/* One that has been a vCPU is taken before one that has not, and where the kernel does not tell it stays,
 * or it would leave the limits. */
static void judge_claims(struct pass *p, size_t first, bool ask)
{
    pid_t process = p->threads[first].process;
    size_t left = 0;
    bool known = ask && claims_allowed(p, process, &left);

    for (int placed = 1; placed >= 0; placed--) {
        for (size_t i = first; i < p->count; i++) {
            struct scan_thread *t = &p->threads[i];

            if (t->process != process || !is_claim(t) || (t->placed_us > 0) != placed)
                continue;
            t->is_judged = true;
            if (left > 0)
                left--;
            else if (known || !placed)
                t->source = VCPU_NONE;
        }
    }
}

static void judge(struct pass *p)
{
    size_t asked = 0;

    for (size_t i = 0; i < p->count; i++)
        p->threads[i].is_judged = false;
    for (size_t i = 0; i < p->count; i++) {
        if (is_claim(&p->threads[i]) && !p->threads[i].is_judged)
            judge_claims(p, i, asked++ < JUDGED_MAX);
    }
}

/* ---- placing ---- */

/* Move a thread and read back that it arrived. 1: it did; 0: it has ended, or has gone from where it was
 * listed, and who has its number by now may be a stranger. */
static int place(const struct pass *p, const struct scan_thread *t, struct cg_controller *c,
                 struct err *e)
{
    const struct sandbox *s = p->scan->sandbox;
    const struct proc_id id = {t->tid, t->start_time};
    struct proc_stat st;
    pid_t tid = t->tid;
    int r = cg_has_thread(t->inside ? &s->vcpu : &s->overhead, tid);

    if (r <= 0)
        return r == 0 || r == -ESRCH ? 0
                                     : err_sys(e, r, "cannot tell where thread %d is", (int)tid);
    for (unsigned tries = 0; tries < PLACE_TRIES; tries++) {
        r = cg_add_thread(c, &id, e);

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
    r = proc_stat_read(tid, &st);
    if (r < 0 ? r == -ESRCH : st.exiting)
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
        r = place(p, t, home, e);
    else if (vcpu && p->depth == SCAN_ALL && cg_holds(home, t->tid) == 0)
        r = place(p, t, home, e);
    if (r != 1)
        return r;
    t->inside = vcpu;
    if (vcpu && t->placed_us == 0)
        t->placed_us = io_now_us();
    return r;
}

/* Threads that the kernel has let go in the meantime are dropped, and one that it does not move, as a
 * real-time thread where a v1 cgroup has no time for it, stands in nobody's way. */
static int settle(struct pass *p, struct scan_result *ret, struct err *e)
{
    size_t kept = 0;
    int first = 0;

    for (size_t i = 0; i < p->count; i++) {
        struct scan_thread t = p->threads[i];
        int r = settle_one(p, &t, first < 0 ? NULL : e);

        if (r < 0 && first == 0)
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
        /* What cannot be looked at may be there. */
        hypervisor =
            hypervisor || access(facts_hypervisor_devices[i], F_OK) == 0 || errno != ENOENT;
    return policy_needs_evidence(scan->settings, hypervisor);
}

int scan_reunite(struct scan *scan, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_members list;
    int first = cg_members(&scan->sandbox->overhead, &a, &list, e);

    for (size_t i = 0; i < list.count; i++) {
        struct err own = ERR_INIT;
        int r = scan_is_own(scan, list.items[i].pid)
                    ? 0
                    : cg_add_process(&scan->sandbox->vcpu, &list.items[i], &own);

        if (r < 0 && r != -ESRCH && first == 0)
            first = err_set(e, r, "%s", own.text);
    }
    return first;
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
        scan->threads = mem_alloc(scan->size * sizeof *scan->threads);
    }
    if (p->count > 0)
        memcpy(scan->threads, p->threads, p->count * sizeof *p->threads);
    scan->count = p->count;
}

bool scan_appears_inside(const struct scan *scan)
{
    return !scan->sandbox->vcpu.leaf && (scan->sandbox->is_nested || scan->hold);
}

/* The threads of the overhead, and of cgroups inside of it that are not ours. What the payload has put into one
 * inside of the vCPUs' is under their quota, and stays there. */
static int list_overhead(struct pass *p, struct err *e)
{
    const struct sandbox *s = p->scan->sandbox;
    int r = cg_threads(&s->overhead, &p->a, &p->overhead, e);
    size_t own = p->overhead.count;

    if (r < 0)
        return r;
    cg_threads_below(&s->overhead, s->vcpu.fds[0] >= 0 ? s->vcpu.leaf : NULL, &p->a, &p->overhead);
    p->below = p->overhead.count - own;
    return 0;
}

static int run(struct pass *p, struct scan_result *ret, struct err *e)
{
    struct scan *scan = p->scan;
    /* With sandbox_cgroup_only there is none. */
    int r = scan->sandbox->has_overhead ? list_overhead(p, e) : 0;

    if (r < 0)
        return r;
    if (p->depth == SCAN_QUICK && !scan_appears_inside(scan) &&
        print_of(scan, &p->overhead) == scan->list) {
        *ret = scan->last;
        ret->quick = true;
        return 0;
    }
    r = cg_threads(&scan->sandbox->vcpu, &p->a, &p->inside, e);
    if (r < 0)
        return r;
    p->most = scan->most ? scan->most : SCAN_THREADS_MAX;
    if (p->most > p->overhead.count + p->inside.count)
        p->most = p->overhead.count + p->inside.count;
    p->threads = arena_alloc(&p->a, (p->most + 1) * sizeof *p->threads);
    look(p);
    if (scan->kernel_evidence && p->looked)
        judge(p);
    *ret = (struct scan_result){
        .threads = p->count, .below = p->below, .skipped = p->skipped, .print = PRINT_INIT};
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
    /* It is where it was, and the others are where they belong: the next pass looks at all of them again. */
    if (p->unseen < 0)
        return r < 0 ? r : err_sys(e, p->unseen, "cannot read the stat file of a thread");
    ret->whole = true;
    keep(p);
    if (r < 0) /* it is tried again with the next pass */
        scan_look_again(scan);
    scan->last = *ret;
    scan->last.overhead_threads = 0;
    for (size_t i = 0; i < p->count; i++)
        scan->last.overhead_threads += !p->threads[i].inside;
    return r;
}

int scan_pass(struct scan *scan, enum scan_depth depth, struct scan_result *ret, struct err *e)
{
    struct pass p = {.scan = scan, .depth = depth, .a = ARENA_INIT, .now = io_now_us()};
    int r;

    *ret = (struct scan_result){0};
    r = run(&p, ret, e);
    scan_note_same(scan, r == 0 && depth != SCAN_LOOK);
    arena_free(&p.a);
    return r;
}
