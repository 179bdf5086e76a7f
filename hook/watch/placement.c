/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/placement.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/sandbox/state_dir.h"
#include "hook/vcpu/qmp.h"
#include "hook/vcpu/vmm.h"
#include "hook/watch/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define REPORT_VERSION 1
#define REPORT_MAX     ((size_t)4 << 20)

/* Threads are quiet: nothing has changed for so long. */
#define QUIET_US 20000
/* If they never are, a report is written so late. */
#define REPORT_LATE_US 250000
/* Descriptors are counted once threads are quiet, and while a vCPU is missing. */
#define COUNT_AGAIN_US 250000
/* So long at most, of a CPU and in all: what is behind /proc/PID/fd is in the payload's hands. Those that took longer
 * are counted again so late that they take a hundredth of a CPU. */
#define COUNT_MOST_CPU_US 100000
#define COUNT_MOST_US     1000000
#define COUNT_LATER_US    10000000
/* VMMs are asked when their threads do not tell; rarely, because a monitor has one client at a time,
 * and a silent one takes its share of the time that there is for all of them. */
#define ASK_UNSURE_US  5000000
#define ASK_TIMEOUT_MS 200
#define ASK_FIRST_MS   250
#define ASK_MOST_MS    30000

const char *placement_state_name(enum placement_state state)
{
    static const char *const names[] = {
        [PLACEMENT_NONE] = "none",
        [PLACEMENT_PARTIAL] = "partial",
        [PLACEMENT_COMPLETE] = "complete",
    };

    return names[state];
}

enum placement_state placement_judge(const struct placement_facts *f,
                                     char why[static PLACEMENT_WHY_SIZE])
{
    size_t wanted = f->expected > f->parked ? f->expected - f->parked : 0;

    if (f->found == 0) {
        if (wanted > 0)
            snprintf(why, PLACEMENT_WHY_SIZE,
                     "the VMM has %zu vCPUs, but no thread of theirs was recognised", wanted);
        else
            snprintf(why, PLACEMENT_WHY_SIZE, "no vCPU thread %s",
                     f->timed_out ? "appeared in time" : "has appeared yet");
        return PLACEMENT_NONE;
    }
    if (f->held) {
        snprintf(why, PLACEMENT_WHY_SIZE, "the vCPUs are not set apart: %s", f->held);
        return PLACEMENT_PARTIAL;
    }
    if (f->placed < f->found) {
        snprintf(why, PLACEMENT_WHY_SIZE, "%zu of %zu vCPU threads are in the sandbox cgroup",
                 f->placed, f->found);
        return PLACEMENT_PARTIAL;
    }
    if (f->found < wanted) {
        snprintf(why, PLACEMENT_WHY_SIZE, "threads of %zu of %zu vCPUs were recognised", f->found,
                 wanted);
        return PLACEMENT_PARTIAL;
    }
    if (f->uncounted) {
        snprintf(
            why, PLACEMENT_WHY_SIZE,
            "all that were recognised; the processes or their descriptors are too many to count "
            "vCPUs by");
        return PLACEMENT_PARTIAL;
    }
    if (f->expected > 0)
        snprintf(why, PLACEMENT_WHY_SIZE, "as many as the VMM has KVM descriptors for");
    else
        snprintf(why, PLACEMENT_WHY_SIZE,
                 "all that were recognised; there are no KVM descriptors to count them by");
    return PLACEMENT_COMPLETE;
}

/* ---- the report ---- */

static const struct json_field vcpu_fields[] = {
    JSON_F_I64("index", struct placement_vcpu, index, 0, INT_MAX),
    JSON_F_U64("tid", struct placement_vcpu, tid, INT_MAX),
    JSON_F_STRING("source", struct placement_vcpu, source),
    JSON_F_STRING("cgroup", struct placement_vcpu, cgroup),
    JSON_F_U64("placed_ms", struct placement_vcpu, placed_ms, UINT64_MAX),
};
static const struct json_table vcpu_table = JSON_TABLE(vcpu_fields, struct placement_vcpu);
static const struct json_field report_fields[] = {
    JSON_F_I64("version", struct placement_report, version, 0, INT_MAX),
    JSON_F_STRING("state", struct placement_report, state),
    JSON_F_STRING("why", struct placement_report, why),
    JSON_F_U64("expected", struct placement_report, expected, UINT64_MAX),
    JSON_F_OBJECT_LIST("vcpus", struct placement_report, vcpus, &vcpu_table),
};
static const struct json_table report_table = JSON_TABLE(report_fields, struct placement_report);

static int compare_vcpus(const void *a, const void *b)
{
    const struct placement_vcpu *x = a, *y = b;
    /* Those without a number come last. */
    int64_t i = x->index.set ? x->index.value : INT64_MAX;
    int64_t k = y->index.set ? y->index.value : INT64_MAX;

    if (i != k)
        return i < k ? -1 : 1;
    return x->tid.value < y->tid.value ? -1 : x->tid.value > y->tid.value;
}

void placement_report_make(const struct scan *scan, const struct placement_facts *facts,
                           struct arena *a, struct placement_report *ret)
{
    const struct sandbox *s = scan->sandbox;
    char *inside = arena_strdup(a, cg_id(&s->vcpu, a));
    /* With sandbox_cgroup_only there is no overhead, and every thread is inside. */
    char *outside = s->has_overhead ? arena_strdup(a, cg_id(&s->overhead, a)) : inside;
    char why[PLACEMENT_WHY_SIZE];

    *ret = (struct placement_report){.version = {true, REPORT_VERSION}};
    ret->state = arena_strdup(a, placement_state_name(placement_judge(facts, why)));
    ret->why = arena_strdup(a, why);
    if (facts->expected > 0)
        ret->expected = (struct json_u64){true, facts->expected};
    for (size_t i = 0; i < scan->count; i++) {
        const struct scan_thread *t = &scan->threads[i];
        struct placement_vcpu *v;

        if (t->source == VCPU_NONE)
            continue;
        v = &JSON_APPEND(a, ret->vcpus, struct placement_vcpu);
        *v = (struct placement_vcpu){
            .index = {t->index != VCPU_NO_INDEX, t->index},
            .tid = {true, (uint64_t)t->tid},
            .source = arena_strdup(a, vcpu_source_name(t->source)),
            .cgroup = t->inside ? inside : outside,
            .placed_ms = {t->placed_us > 0, (t->placed_us - t->seen_us + 999) / 1000},
        };
    }
    if (ret->vcpus.count > 0)
        qsort(ret->vcpus.items, ret->vcpus.count, sizeof(struct placement_vcpu), compare_vcpus);
}

int placement_read(int dirfd, struct arena *a, struct placement_report *ret)
{
    const struct json_doc doc = {.table = &report_table, .dest = ret};
    autofd fd = openat(dirfd, PLACEMENT_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    *ret = (struct placement_report){0};
    if (fd < 0)
        return -errno;
    if (json_read_fd(fd, &doc, 1, REPORT_MAX, 0, PLACEMENT_FILE, a, NULL) != 1 || !ret->state)
        return -EPROTO;
    return 0;
}

static void u64_or_null(struct json_writer *w, const char *key, struct json_u64 value)
{
    if (value.set)
        json_u64(w, key, value.value);
    else
        json_null(w, key);
}

void placement_write_json(struct json_writer *w, const char *key,
                          const struct placement_report *report)
{
    json_open_object(w, key);
    json_string(w, "state", report->state);
    json_string(w, "why", report->why);
    u64_or_null(w, "expected", report->expected);
    json_open_list(w, "vcpus");
    for (size_t i = 0; i < report->vcpus.count; i++) {
        const struct placement_vcpu *v = &JSON_AT(report->vcpus, struct placement_vcpu, i);

        json_open_object(w, NULL);
        if (v->index.set)
            json_i64(w, "index", v->index.value);
        else
            json_null(w, "index");
        u64_or_null(w, "tid", v->tid);
        json_string(w, "source", v->source);
        json_string(w, "cgroup", v->cgroup);
        u64_or_null(w, "placed_ms", v->placed_ms);
        json_close_object(w);
    }
    json_close_list(w);
    json_close_object(w);
}

/* ---- the watcher's side ---- */

/* False: they are too many to be looked at. */
static bool count_descriptors(const struct cg_pids *pids, struct arena *a, size_t *ret)
{
    unsigned long long end_us = io_now_us() + COUNT_MOST_US;
    unsigned long long cpu_end_us = io_cpu_us() + COUNT_MOST_CPU_US;

    *ret = 0;
    for (size_t i = 0; i < pids->count; i++) {
        struct vmm_fds fds;

        /* What we may not look at is unknown, like a VMM that emulates. */
        if (vmm_fds_read(pids->items[i], a, &fds) == 0)
            *ret += fds.count;
        if (fds.has_more || io_cpu_us() > cpu_end_us || io_now_us() > end_us)
            return false;
    }
    return true;
}

/* The VMMs' own word, for the next pass. */
static void ask(struct placement *p, struct scan *scan, const struct cg_pids *pids)
{
    struct arena a = ARENA_INIT;
    struct vcpu_kvm told;

    if (ask_vmms(&p->ask, pids->items, pids->count, ASK_TIMEOUT_MS, &a, &told) < 0) {
        arena_free(&a);
        return;
    }
    arena_free(&p->told_arena);
    p->told_arena = a;
    p->told = told;
    scan->told = &p->told;
    scan_look_again(scan);
}

static bool is_missing_some(const struct placement *p)
{
    return p->facts.found == 0 || p->facts.found + p->facts.parked < p->facts.expected;
}

/* What takes longer than a pass is done while threads are quiet. */
static bool count_is_due(const struct placement *p, unsigned long long now)
{
    if (now - p->changed_us < QUIET_US)
        return false;
    if (!p->counted)
        return true;
    return p->facts.uncounted ? now >= p->count_us + COUNT_LATER_US
                              : is_missing_some(p) && now >= p->count_us + COUNT_AGAIN_US;
}

static void find_out(struct placement *p, struct scan *scan, unsigned long long now)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;

    if (!count_is_due(p, now) || scan_vmms(scan, &a, &pids, NULL) < 0)
        return;
    p->facts.uncounted = !count_descriptors(&pids, &a, &p->facts.expected);
    if (p->facts.expected == 0)
        p->facts.parked = 0;
    p->counted = true;
    p->count_us = now;
    if (!is_missing_some(p) || now < p->ask_us)
        return;
    /* A QEMU that waits for its first client would take us for it, and start. */
    if (p->facts.expected == 0 && now - p->changed_us < ASK_UNSURE_US)
        return;
    ask(p, scan, &pids);
    p->ask_wait_ms = p->ask_wait_ms ? p->ask_wait_ms * 2 : ASK_FIRST_MS;
    if (p->ask_wait_ms > ASK_MOST_MS)
        p->ask_wait_ms = ASK_MOST_MS;
    p->ask_us = io_now_us() + (unsigned long long)p->ask_wait_ms * 1000;
}

/*
 * Under the sandbox's lock, and beside the record that names this watcher alone: one that is another by now, or
 * can no longer be read, may be about to be removed, with all that its stage knows of in the directory.
 * 0; -ETIMEDOUT a stage is at work; -ESTALE the record is another; other -errno, as -ENOENT there is none.
 */
static int publish(const struct placement *p, const char *text, size_t len)
{
    struct state_lock lock;
    int r = state_lock(p->state_dir, p->sandbox_id, false, 0, &lock, NULL);

    if (r < 0)
        return r;
    r = record_is_marked(p->mark, lock.dirfd, RECORD_FILE);
    if (r == 0)
        r = -ESTALE;
    else if (r == 1)
        r = io_replace_at(lock.dirfd, PLACEMENT_FILE, text, len);
    state_unlock(&lock);
    return r;
}

static bool report_is_due(const struct placement *p, unsigned long long now)
{
    return !p->written || p->unwritten_us == 0 || now >= p->changed_us + QUIET_US ||
           now >= p->unwritten_us + REPORT_LATE_US;
}

/* Into the state directory, if it says something new. */
static void write_report(struct placement *p, const struct scan *scan)
{
    autoarena a = ARENA_INIT;
    struct placement_report report;
    struct json_writer *w;
    const char *text;
    size_t len;

    placement_report_make(scan, &p->facts, &a, &report);
    w = json_writer_new(false);
    json_write_table(w, NULL, &report_table, &report);
    text = json_writer_text(w, &len);
    p->is_stale = !p->written || !str_eq(text, p->written);
    if (p->is_stale && publish(p, text, len) == 0) {
        free(p->written);
        p->written = strdup(text);
        p->is_stale = false;
    }
    p->unwritten_us = 0;
    json_writer_free(w);
}

static void count_threads(const struct scan *scan, struct placement_facts *facts)
{
    facts->found = facts->placed = 0;
    for (size_t i = 0; i < scan->count; i++) {
        if (scan->threads[i].source == VCPU_NONE)
            continue;
        facts->found++;
        facts->placed += scan->threads[i].inside;
    }
}

void placement_update(struct placement *p, struct scan *scan, bool timed_out, bool changed)
{
    unsigned long long now = io_now_us();
    size_t before = p->facts.found;
    char why[PLACEMENT_WHY_SIZE];

    count_threads(scan, &p->facts);
    /* A vCPU that ends while the VM lives was unplugged, and its descriptor stays for the next. */
    if (p->state == PLACEMENT_COMPLETE && p->facts.found < before)
        p->facts.parked += before - p->facts.found;
    else if (p->facts.found > before && p->facts.parked > 0)
        p->facts.parked -=
            p->facts.found - before < p->facts.parked ? p->facts.found - before : p->facts.parked;
    p->facts.timed_out = timed_out;
    p->facts.held = p->held;
    if (changed) {
        p->unwritten_us = p->unwritten_us ? p->unwritten_us : now;
        p->changed_us = now;
        p->counted = false;
    }
    find_out(p, scan, now);
    p->state = placement_judge(&p->facts, why);
    if (placement_is_complete(p) && !p->announced) {
        log_event(EVENT_PLACED, "sandbox %s: %zu vCPU threads are placed", log_about.sandbox_id,
                  p->facts.placed);
        p->announced = true;
    }
    if (report_is_due(p, now))
        write_report(p, scan);
}

bool placement_is_calm(const struct placement *p)
{
    return p->counted && p->unwritten_us == 0 && !p->is_stale &&
           p->facts.found + p->facts.parked >= p->facts.expected;
}

void placement_warn_timeout(const char *sandbox_id, unsigned timeout_ms, bool is_nested,
                            const struct scan_result *pass)
{
    char below[96] = "";

    if (pass->below > 0)
        snprintf(below, sizeof below, "; %zu are in cgroups that the payload has made inside of it",
                 pass->below);
    log_msg(LEVEL_WARNING,
            "sandbox %s: no vCPU thread appeared within %u ms; everything stays under the %s "
            "limits: %zu threads%s",
            sandbox_id, timeout_ms, is_nested ? "runtime's" : "sandbox's", pass->threads, below);
}

void placement_warn_skipped(const char *sandbox_id, bool *told, const struct scan_result *pass)
{
    if (pass->skipped > 0 && !*told)
        log_msg(LEVEL_WARNING,
                "sandbox %s: it has more than %d threads; %zu of them are not looked at, and stay "
                "where they are",
                sandbox_id, SCAN_THREADS_MAX, pass->skipped);
    *told = pass->skipped > 0;
}

bool placement_matters(const struct record *r, const struct settings *settings)
{
    return !r->sandbox_cgroup_only.value || r->enable_vcpus_pinning.value ||
           settings->overhead_cpus;
}

bool placement_is_complete(const struct placement *p)
{
    return p->counted && p->state == PLACEMENT_COMPLETE;
}

const struct placement_vcpu *placement_find(const struct placement_report *report, pid_t tid)
{
    for (size_t i = 0; i < report->vcpus.count; i++) {
        const struct placement_vcpu *v = &JSON_AT(report->vcpus, struct placement_vcpu, i);

        if (v->tid.value == (uint64_t)tid)
            return v;
    }
    return NULL;
}

void placement_look(struct scan *scan, int dirfd, struct arena *a, struct placement_report *ret)
{
    struct placement_report written;
    struct placement_facts facts = {0};
    struct cg_pids pids;
    bool has_report = placement_read(dirfd, a, &written) == 0;

    count_threads(scan, &facts);
    if (scan_vmms(scan, a, &pids, NULL) == 0)
        facts.uncounted = !count_descriptors(&pids, a, &facts.expected);
    placement_report_make(scan, &facts, a, ret);
    if (!has_report)
        return;
    /* Only it knows of waiting in vain, and of unplugged vCPUs. */
    if (written.vcpus.count == ret->vcpus.count && written.why) {
        ret->state = written.state;
        ret->why = written.why;
    }
    for (size_t i = 0; i < ret->vcpus.count; i++) {
        struct placement_vcpu *v = &JSON_AT(ret->vcpus, struct placement_vcpu, i);
        const struct placement_vcpu *old = placement_find(&written, (pid_t)v->tid.value);

        v->placed_ms = old ? old->placed_ms : (struct json_u64){0};
        if (old && old->source)
            v->source = old->source;
        if (old && !v->index.set)
            v->index = old->index;
    }
}
