/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/watcher.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/change.h"
#include "hook/vcpu/vcpu.h"
#include "hook/watch/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* How long a poststop hook may take to come after the last process has gone. */
#define GRACE_MS        2000
#define TEAR_DOWN_TRIES 5
/* From then on what a runtime changes is carried over, whether vCPUs have come or not. */
#define FOLLOW_AFTER_US 1000000

static void on_term(int signo)
{
    (void)signo;
    watch_terminated = 1;
}

/* The record names the files before they are written, and afterwards only what is in force. */
static int change_limits(struct watch *w, const struct state_lock *lock, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct plan_basis basis;
    struct plan_limits limits;
    int r, planned = change_plan(w->settings, &w->host, &w->record, &w->record.containers, &a,
                                 &basis, &limits, e);

    if (planned == 0)
        change_note(&basis, &limits, &w->record_arena, &w->record);
    r = record_write(lock, &w->record_arena, &w->record, planned < 0 ? NULL : e);
    w->carry_due = r < 0;
    if (planned < 0 || r < 0)
        return planned < 0 ? planned : r;
    /* To write a list again takes CAP_SYS_ADMIN, which no watcher keeps, and others may have changed it. */
    plan_leave_devices(&limits, &a);
    r = sandbox_load(&w->sandbox, e);
    if (r == 0)
        r = change_apply(&limits, &w->sandbox, e);
    if (r == 0 && change_settle(&limits, &w->record_arena, &w->record))
        r = record_write(lock, &w->record_arena, &w->record, e);
    return r;
}

/* The runtime's own cgroup got other limits: carry them over, and record them. */
static void carry_over(struct watch *w)
{
    struct err e = ERR_INIT;
    struct state_lock lock;

    w->carry_due = drift_read(&w->drift) != 0 || w->carry_due;
    if (!w->carry_due || watch_reload(w, &lock) < 0)
        return;
    /* What was said before an `update` that had the lock meanwhile, to the last word. */
    (void)drift_read(&w->drift);
    for (size_t i = 0; i < w->record.containers.count; i++) {
        struct record_container *c = &JSON_AT(w->record.containers, struct record_container, i);
        const struct oci_resources *now =
            drift_resources(&w->drift, c->id, c->resources, &w->record_arena);

        if (now && now != c->resources)
            change_take(&w->record, c, now, drift_print(&w->drift, c->id), &w->record_arena);
    }
    drift_say_devices(&w->drift, &w->record);
    log_once(&w->last_limit_error, change_limits(w, &lock, &e), &e);
    watch_adopt(w, &lock);
    w->tend_due = true; /* the kernel forgets affinities when a cpuset changes */
}

/* 1: the sandbox is gone, or another's to see to; 0: it is to be watched; -errno: it could not be removed. */
static int try_tear_down(struct watch *w)
{
    struct settings settings = *w->settings;
    struct err e = ERR_INIT;
    struct state_lock lock;
    int r = watch_reload(w, &lock);

    if (r < 0)
        return watch_is_over(r);
    /* A container that was added meanwhile. */
    if (record_is_alive(&w->record) != 0) { /* or nobody knows */
        watch_adopt(w, &lock);
        return 0;
    }
    /* Only the watcher itself is in there, and killing that would end the work in the middle. */
    settings.leftovers = LEFTOVERS_MOVE;
    r = sandbox_destroy(&w->state, &w->host, &w->record, &settings, SANDBOX_PATIENCE_MS, &lock, &e);
    log_once(&w->last_error, r, &e);
    state_unlock(&lock);
    return r < 0 ? r : 1;
}

/* Nobody lives in the cgroups and no teardown has come, nor may one if we fail. Returns true when we leave. */
static bool tear_down(struct watch *w)
{
    int r = try_tear_down(w);

    for (unsigned tries = 1; r < 0 && tries < TEAR_DOWN_TRIES && !watch_terminated; tries++) {
        io_sleep_ms(300);
        r = try_tear_down(w);
    }
    return r != 0;
}

/* No vCPU in time is worth a word. */
static void check_timeout(struct watch *w, const struct scan_result *pass, unsigned long long now)
{
    if (!w->awaits || pass->vcpus > 0 ||
        now - w->started_us < (unsigned long long)w->settings->vcpu_timeout_ms * 1000)
        return;
    if (!w->timed_out && (pass->threads > 0 || record_is_alive(&w->record)))
        placement_warn_timeout(w->sandbox_id, w->settings->vcpu_timeout_ms, w->sandbox.is_nested,
                               pass);
    w->timed_out = true;
}

/*
 * There is nothing left to do, by the configuration. A container that has joined meanwhile counts
 * on us; one that joins later finds no watcher in the record, and starts another. Returns true when
 * the watcher is to leave.
 */
static bool leave(struct watch *w)
{
    struct state_lock lock;
    int r = watch_reload(w, &lock);

    if (r < 0)
        return watch_is_over(r);
    if (record_is_marked(&w->mark, lock.dirfd, RECORD_FILE) == 1) {
        w->record.watcher = NULL;
        r = record_write(&lock, &w->record_arena, &w->record, NULL);
        if (r == 0) {
            state_unlock(&lock);
            return true;
        }
    }
    watch_adopt(w, &lock);
    pace_restart(&w->pace, io_now_us());
    return false;
}

/* Choose when to look again: while nothing can be set apart nothing is awaited. False: to leave. */
static bool keep_pace(struct watch *w, const struct scan_result *pass, unsigned long long now)
{
    bool found =
        pass->vcpus > 0 ? *w->split.why || placement_is_complete(&w->placement) : w->timed_out;
    enum pace_verdict verdict = PACE_MOVING;

    if (w->awaits && pass->print != w->print)
        pace_restart(&w->pace, now);
    else
        verdict = pace_step(&w->pace, found || !w->awaits, w->awaits && pass->vcpus > 0, now);
    events_keep(&w->events, w->awaits && !found && !w->pace.settled, now);
    if (events_follow(&w->events, &w->scan, pass->print != w->print, now)) {
        pace_hurry(&w->pace, 1);
        w->scan.relook_us = 0;
    }
    w->scan.names_told = w->events.fd >= 0;
    w->print = pass->print;
    /* Not before: the end of a sandbox that was short-lived is not to wait for it. */
    if ((verdict == PACE_SETTLED || now - w->started_us > FOLLOW_AFTER_US) &&
        w->drift.fd == FD_NONE && !w->sandbox.is_nested && drift_watch(&w->drift) >= 0)
        carry_over(w);
    return verdict != PACE_DONE || !leave(w);
}

/* The end of the sandbox, noticed without a poststop. Returns true when the watcher is to leave. */
static bool check_end(struct watch *w, const struct scan_result *pass, unsigned long long now)
{
    if (pass->threads > 0) {
        w->empty_since_us = 0;
        return false;
    }
    if (w->empty_since_us == 0)
        w->empty_since_us = now;
    if (now - w->empty_since_us < (unsigned long long)GRACE_MS * 1000) {
        pace_hurry(&w->pace, 100);
        return false;
    }
    w->empty_since_us = 0;
    oom_look(&w->oom, &w->sandbox, &w->record, now, true);
    return tear_down(w);
}

static void sleep_until_next(struct watch *w)
{
    struct pollfd pfds[4 + ORDERS_POLL_MAX] = {
        {.fd = w->init_pidfd, .events = POLLIN},
        {.fd = w->split.events, .events = POLLIN},
        {.fd = w->drift.fd, .events = POLLIN},
    };

    if (pace_is_slow(&w->pace) && !w->was_same)
        mem_give_back();
    if (events_poll(&w->events, pfds, 3 + orders_poll(&w->orders, &pfds[3]), w->pace.interval_ms,
                    &w->unblocked) < 0)
        return;
    /* A dead init wakes us once; what follows from it is seen in the cgroups. */
    if (pfds[0].revents) {
        fd_close(&w->init_pidfd);
        oom_look(&w->oom, &w->sandbox, &w->record, io_now_us(), true);
        pace_hurry(&w->pace, 1);
    }
    w->split.woken = w->split.woken || pfds[1].revents;
    /* Without inotify, or of a cgroup that is not there yet, the files themselves tell. */
    if (!w->sandbox.is_nested &&
        (pfds[2].revents || (w->pace.settled && (w->carry_due || !w->drift.is_told))))
        carry_over(w);
}

/* What the runtime has done to all that its cgroup holds is done to the sandbox. */
static void follow_orders(struct watch *w)
{
    struct err e = ERR_INIT;
    struct state_lock lock;
    int r = orders_freeze(&w->orders, &w->scan, &e);

    if (orders_kill_is_due(&w->orders) && watch_reload(w, &lock) >= 0) {
        err_reset(&e);
        orders_set(&w->orders, &w->record);
        r = sandbox_load(&w->sandbox, &e);
        if (r == 0)
            r = orders_kill(&w->orders, &w->scan, &e);
        (void)watch_adopt(w, &lock);
        pace_hurry(&w->pace, 100);
    }
    log_once(&w->last_order_error, r == -ENOENT ? 0 : r, &e);
}

/* vCPUs have come or gone, or the runtime, or carry_over(), has given another quota. */
static void keep_split(struct watch *w, struct scan_result *pass, bool thorough)
{
    struct err e = ERR_INIT;
    struct state_lock lock;
    bool known;
    int r;

    w->split_due = split_is_due(&w->split, &w->scan, pass, thorough);
    r = w->split_due ? watch_reload(w, &lock) : -ENOENT;
    if (r < 0)
        return;
    w->split_due = false;
    /* This pass has just read both lists there, and nobody waits longer than needed. */
    known = r == 1 && !pass->quick;
    r = known ? 0 : sandbox_load(&w->sandbox, &e);
    if (r == -ENOENT) { /* the cgroup was removed: this is the end */
        err_reset(&e);
        r = 0;
    } else if (r == 0)
        r = split_do(&w->split, &w->scan, pass, &lock, &w->record, &w->record_arena, &e);
    log_once(&w->last_split_error, r, &e);
    if (known && r == 0) {
        record_mark(&w->mark, lock.dirfd);
        state_unlock(&lock);
        w->is_current = true;
    } else {
        w->is_current = watch_adopt(w, &lock) == 0 && r == 0;
    }
    w->tend_due = true;
}

/* Whether a pass would find what the last one has found, with nothing of that left to do: of a sandbox that is
 * settled most would. */
static bool is_as_before(struct watch *w, enum scan_depth depth)
{
    const struct scan_result *last = &w->scan.last;
    bool same = w->pace.settled && scan_is_same(&w->scan);
    bool failed = w->last_error < 0 || w->last_limit_error < 0 || w->last_split_error < 0;
    bool due = w->tend_due || w->carry_due || w->split_due || w->empty_since_us > 0 ||
               (w->awaits && !w->timed_out && last->vcpus == 0);

    return same && depth == SCAN_QUICK && last->threads > 0 && !failed && !due &&
           !pace_is_hurried(&w->pace) && w->events.fd < 0 &&
           split_is_calm(&w->split, last->vcpus) &&
           (!w->awaits || placement_is_calm(&w->placement)) &&
           (w->sandbox.is_nested || w->drift.fd >= 0) &&
           !tend_is_due(&w->tend, &w->scan, &w->record);
}

/* One pass and what follows from it. Returns false when the watcher is to leave. */
static bool look_around(struct watch *w)
{
    unsigned long long now = io_now_us(), cost;
    enum scan_depth depth = w->events.lost ? SCAN_ALL : pace_depth(&w->pace, now);
    struct err e = ERR_INIT;
    struct scan_result pass;
    int r;

    oom_look(&w->oom, &w->sandbox, &w->record, now, false);
    w->was_same = is_as_before(w, depth);
    if (w->was_same)
        return !watch_notice_record(w);
    cost = io_cpu_us();
    if (pace_is_eager(&w->pace))
        cg_keep_warm(w->own_fd);
    w->scan.every_vm = pace_every_vm(&w->pace, placement_is_complete(&w->placement), now);
    r = scan_pass(&w->scan, depth, &pass, &e);
    log_once(&w->last_error, r, &e);
    if (r == -ENOENT || r == -ENODEV)
        split_again(&w->split, &w->scan);
    if (r < 0 && !pass.whole)
        return !watch_notice_record(w);
    keep_split(w, &pass, depth == SCAN_ALL);
    w->placement.held = w->split.why[0] ? w->split.why : NULL;
    placement_warn_skipped(w->sandbox_id, &w->skipped, &pass);
    now = io_now_us();
    check_timeout(w, &pass, now);
    /* A list that is the same as before says nothing new. */
    if (w->awaits && !pass.quick)
        placement_update(&w->placement, &w->scan, w->timed_out, pass.print != w->print);
    w->tend_due =
        w->tend_due || pass.print != w->print || tend_is_due(&w->tend, &w->scan, &w->record);
    if (depth == SCAN_ALL ||
        (w->tend_due && pace_is_quiet(&w->pace, now) && pass.print == w->print)) {
        tend_vm(&w->tend, &w->scan, &w->record, depth == SCAN_ALL);
        w->tend_due = false;
    }
    if (!keep_pace(w, &pass, now) || check_end(w, &pass, now))
        return false;
    if (depth == SCAN_ALL || w->scan.every_vm)
        pace_looked(&w->pace, io_cpu_us() - cost, io_now_us());
    return !watch_notice_record(w);
}

/* Setup relies on us: what fails is tried until it does not. False: there is nothing to watch. */
static bool begin(struct watch *w)
{
    struct timespec pause = {.tv_nsec = 20000000};

    for (;;) {
        struct err e = ERR_INIT;
        int r = cg_host_open(&w->host_arena, &w->host, &e);

        if (r == 0)
            r = state_dir_open(w->state_dir, false, &w->state, &e);
        w->drift = (struct drift){.host = &w->host, .fd = FD_NONE};
        w->orders = (struct orders){.host = &w->host};
        if (r == 0)
            r = watch_load(w);
        if (r == 0)
            r = sandbox_check_cover(&w->sandbox, &w->record, &e);
        if (r == 0 || watch_is_over(r) || watch_terminated)
            return r == 0;
        log_once(&w->last_error, r, &e);
        drift_set(&w->drift, NULL, 0);
        orders_free(&w->orders);
        w->is_current = false;
        sandbox_close(&w->sandbox);
        state_dir_close(&w->state);
        cg_host_close(&w->host);
        arena_free(&w->host_arena);
        ppoll(NULL, 0, &pause, &w->unblocked);
        if (watch_terminated)
            return false;
        if (pause.tv_nsec < 500000000)
            pause.tv_nsec *= 2;
    }
}

static void run(struct watch *w)
{
    struct err e = ERR_INIT;
    int r;

    if (!begin(w))
        return;
    tend_init(&w->tend, w->settings);
    w->scan = (struct scan){
        .sandbox = &w->sandbox,
        .settings = w->settings,
        .own = {getpid(), record_process_id(w->record.placeholder).pid},
        .named = &w->events.named,
    };
    w->scan.kvm_dirfd = vcpu_kvm_find(&w->scan.kvm_search);
    w->scan.kernel_evidence = scan_needs_evidence(&w->scan);
    w->awaits = placement_matters(&w->record, w->settings);
    r = split_init(&w->split, &w->host, w->settings, &w->record, &w->scan, &w->split_arena, &e);
    log_once(&w->last_split_error, r, &e);
    w->own_fd = cg_open_own(&w->host);
    w->started_us = io_now_us();
    pace_init(&w->pace, w->settings->hotplug_interval_ms, w->started_us);
    w->placement = (struct placement){.state_dir = &w->state,
                                      .sandbox_id = w->sandbox_id,
                                      .mark = &w->mark,
                                      .changed_us = w->started_us};
    while (look_around(w) && !watch_terminated) {
        sleep_until_next(w);
        if (watch_terminated)
            break;
        follow_orders(w);
        if (w->scan.kvm_dirfd < 0 && w->pace.interval_ms >= PACE_AWAIT_MS && !w->was_same)
            w->scan.kvm_dirfd = vcpu_kvm_find(&w->scan.kvm_search); /* KVM may come later */
    }
    oom_look(&w->oom, &w->sandbox, &w->record, io_now_us(), true);
    oom_close(&w->oom);
    events_close(&w->events);
}

/* Without them all is as it is with them, but later. */
static void prepare(const void *arg)
{
    struct watch *w = *(struct watch *const *)arg;

    (void)events_open(&w->events, NULL);
}

static void watch(const void *arg)
{
    struct watch *w = *(struct watch *const *)arg;
    struct sigaction action = {.sa_handler = on_term};
    sigset_t term;

    /* Until here SIGTERM simply ends the process; from here on it ends the work in good order. */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &w->unblocked);
    sigdelset(&w->unblocked, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    log_about.stage = "watch";
    log_about.sandbox_id = w->sandbox_id;
    sandbox_init(&w->sandbox, &w->host, NULL, &w->record);
    run(w);
}

bool watcher_is_wanted(const struct record *r, const struct settings *settings)
{
    return !record_is_nested(r) || placement_matters(r, settings);
}

int watcher_fork(const char *state_dir, const char *sandbox_id, const struct settings *settings,
                 struct child *ret, struct err *e)
{
    struct watch w = {
        .state_dir = state_dir,
        .sandbox_id = sandbox_id,
        .settings = settings,
        .state = STATE_DIR_INIT,
        .init_pidfd = FD_NONE,
        .mark = RECORD_MARK_INIT,
        .oom = OOM_INIT,
    };
    struct watch *const its_own = &w; /* in the child, which has a copy of all memory */

    return child_fork_prepared(CHILD_WATCHER, prepare, watch, &its_own, ret, e);
}
