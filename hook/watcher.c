/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watcher.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "hook/sandbox.h"
#include "hook/vcpu.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define SCAN_MIN_MS 1
#define SCAN_MAX_MS 50
/* A sandbox is settled when its vCPUs are placed and nothing has changed for this long. */
#define SETTLE_MS 2000
/* Between scans of a sandbox that has no vCPU, where the configuration names no interval. */
#define IDLE_MS 1000
/* How long a poststop hook may take to come after the last process has gone. */
#define GRACE_MS 2000

struct watch {
    const char *state_dir;
    const char *sandbox_id;
    const struct hook_config *config;
    struct cg_host host;
    struct state_dir state;
    struct record record;
    struct sandbox sandbox;
    struct watch_scan scan;
    struct arena host_arena, record_arena;
    sigset_t unblocked; /* the signal mask while sleeping */
    int init_pidfd;     /* of a container that lives, to wake up when it does not any more */
    unsigned long long started_us, changed_us, empty_since_us;
    uint64_t print;
    unsigned interval_ms;
    bool timed_out;
    int last_error;
};

static volatile sig_atomic_t terminated;

static void on_term(int signo)
{
    (void)signo;
    terminated = 1;
}

/*
 * Lines of a scan's failure go out once, not with every pass.
 */
static void report(struct watch *w, int r, const struct err *e)
{
    if (r < 0 && r != w->last_error)
        log_msg(LEVEL_WARNING, "sandbox %s: %s", w->sandbox_id, e->text);
    w->last_error = r;
}

/* Wait for the lock, but not for a teardown that holds it and waits for us. */
static int lock_or_end(struct watch *w, struct record_lock *lock)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    for (;;) {
        int r = record_lock(&w->state, w->sandbox_id, false, 0, lock, NULL);

        if (r != -ETIMEDOUT)
            return r;
        ppoll(NULL, 0, &pause, &w->unblocked);
        if (terminated)
            return -ECANCELED;
    }
}

/* Read the record again. 0 and locked; -errno the sandbox is gone or another watcher's, or we are
 * to end. */
static int reload(struct watch *w, struct record_lock *lock)
{
    enum record_state state;
    struct proc_id watcher;
    int r = lock_or_end(w, lock);

    if (r < 0)
        return r;
    sandbox_close(&w->sandbox);
    arena_free(&w->record_arena);
    if (record_read(lock, &w->record_arena, &w->record, &state, NULL) == 0 &&
        state == RECORD_VALID) {
        watcher = record_process_id(w->record.watcher);
        if (watcher.pid == getpid()) {
            sandbox_init(&w->sandbox, &w->host, &w->state.parents, &w->record);
            return 0;
        }
    }
    record_unlock(lock);
    return -ENOENT;
}

static void follow_init(struct watch *w)
{
    fd_close(&w->init_pidfd);
    for (size_t i = 0; i < w->record.containers.count && w->init_pidfd < 0; i++) {
        struct proc_id init =
            record_process_id(JSON_AT(w->record.containers, struct record_container, i).init);

        w->init_pidfd = proc_open(&init);
    }
}

static int load(struct watch *w)
{
    struct record_lock lock;
    int r = reload(w, &lock);

    if (r < 0)
        return r;
    r = sandbox_load(&w->sandbox, NULL);
    record_unlock(&lock);
    if (r == 0)
        follow_init(w);
    return r;
}

/* Nobody lives in the cgroups and no teardown has come. Returns true when the sandbox is gone. */
static bool tear_down(struct watch *w)
{
    struct hook_config config = *w->config;
    struct err e = ERR_INIT;
    struct record_lock lock;
    int r = reload(w, &lock);

    if (r < 0)
        return true;
    /* A container that was added meanwhile. */
    if (record_is_alive(&w->record)) {
        sandbox_load(&w->sandbox, NULL);
        record_unlock(&lock);
        follow_init(w);
        return false;
    }
    /* Only the watcher itself is in there, and killing that would end the work in the middle. */
    config.leftovers = LEFTOVERS_MOVE;
    r = sandbox_destroy(&w->state, &w->host, &w->record, &config, &lock, &e);
    report(w, r, &e);
    record_unlock(&lock);
    return true;
}

/* No vCPU in time: nothing may stay without a limit. */
static void constrain(struct watch *w)
{
    struct err e = ERR_INIT;
    autoarena a = ARENA_INIT;
    struct cg_pids pids;
    int r = cg_processes(&w->sandbox.overhead, &a, &pids, &e);

    for (size_t i = 0; r == 0 && i < pids.count; i++) {
        if (pids.items[i] == w->scan.own[0] || pids.items[i] == w->scan.own[1])
            continue;
        r = cg_add_process(&w->sandbox.vcpu, pids.items[i], &e);
        if (r == -ESRCH) {
            err_reset(&e);
            r = 0;
        }
    }
    report(w, r, &e);
    w->scan.constrained = true;
}

static void check_timeout(struct watch *w, const struct watch_pass *pass, unsigned long long now)
{
    if (pass->vcpus > 0 ||
        now - w->started_us < (unsigned long long)w->config->vcpu_timeout_ms * 1000)
        return;
    if (!w->timed_out && pass->threads > 0)
        log_msg(LEVEL_WARNING, "sandbox %s: no vCPU thread appeared within %u ms; %s",
                w->sandbox_id, w->config->vcpu_timeout_ms,
                w->config->no_vcpu == NO_VCPU_CONSTRAIN
                    ? "everything is moved into the sandbox cgroup"
                    : "everything stays in the overhead cgroup, without the sandbox's limits");
    w->timed_out = true;
    /* Also what was started in the overhead since. */
    if (w->config->no_vcpu == NO_VCPU_CONSTRAIN && pass->overhead_threads > 0)
        constrain(w);
}

/* Fast while things move, slower and slower while they do not, at the hot-plug interval once
 * settled. Returns false when the watcher is to leave. */
static bool pace(struct watch *w, const struct watch_pass *pass, unsigned long long now)
{
    bool found = pass->vcpus > 0 ? pass->placed == pass->vcpus : w->timed_out;

    if (pass->print != w->print) {
        w->print = pass->print;
        w->changed_us = now;
        w->interval_ms = SCAN_MIN_MS;
        return true;
    }
    if (found && now - w->changed_us >= (unsigned long long)SETTLE_MS * 1000) {
        if (w->config->hotplug_interval_ms == 0 && pass->vcpus > 0)
            return false;
        w->interval_ms = w->config->hotplug_interval_ms ? w->config->hotplug_interval_ms : IDLE_MS;
        return true;
    }
    w->interval_ms += 1 + w->interval_ms / 8;
    if (w->interval_ms > SCAN_MAX_MS)
        w->interval_ms = SCAN_MAX_MS;
    return true;
}

/* The end of the sandbox, noticed without a poststop. Returns true when the watcher is to leave. */
static bool check_end(struct watch *w, const struct watch_pass *pass, unsigned long long now)
{
    if (pass->threads > 0) {
        w->empty_since_us = 0;
        return false;
    }
    if (w->empty_since_us == 0)
        w->empty_since_us = now;
    if (now - w->empty_since_us < (unsigned long long)GRACE_MS * 1000) {
        if (w->interval_ms > 100)
            w->interval_ms = 100;
        return false;
    }
    w->empty_since_us = 0;
    return tear_down(w);
}

static void sleep_until_next(struct watch *w)
{
    struct timespec ts = {.tv_sec = w->interval_ms / 1000,
                          .tv_nsec = (long)(w->interval_ms % 1000) * 1000000};
    struct pollfd pfd = {.fd = w->init_pidfd, .events = POLLIN};

    /* A dead init wakes us once; what follows from it is seen in the cgroups. */
    if (ppoll(&pfd, 1, &ts, &w->unblocked) > 0) {
        fd_close(&w->init_pidfd);
        w->interval_ms = SCAN_MIN_MS;
    }
}

static void run(struct watch *w)
{
    if (cg_host_open(&w->host_arena, &w->host, NULL) < 0 ||
        state_dir_open(w->state_dir, false, &w->state, NULL) < 0 || load(w) < 0)
        return;
    w->scan = (struct watch_scan){
        .sandbox = &w->sandbox,
        .config = w->config,
        .kvm_dirfd = vcpu_kvm_open(),
        .own = {getpid(), record_process_id(w->record.placeholder).pid},
    };
    w->interval_ms = SCAN_MIN_MS;
    w->started_us = w->changed_us = io_now_us();
    for (;;) {
        struct err e = ERR_INIT;
        struct watch_pass pass;
        unsigned long long now;
        int r = watch_scan(&w->scan, &pass, &e);

        report(w, r, &e);
        now = io_now_us();
        if (r == 0) {
            check_timeout(w, &pass, now);
            if (!pace(w, &pass, now) || check_end(w, &pass, now))
                return;
        }
        if (terminated)
            return;
        sleep_until_next(w);
        if (terminated)
            return;
        if (w->scan.kvm_dirfd < 0 && w->interval_ms >= SCAN_MAX_MS)
            w->scan.kvm_dirfd = vcpu_kvm_open(); /* the kvm module may be loaded later */
    }
}

struct arguments {
    const char *state_dir;
    const char *sandbox_id;
    const struct hook_config *config;
};

static void watch(const void *arg)
{
    const struct arguments *arguments = arg;
    struct sigaction action = {.sa_handler = on_term};
    sigset_t term, unblocked;
    struct watch w;

    /* Until here SIGTERM simply ends the process; from here on it ends the work in good order. */
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &unblocked);
    sigdelset(&unblocked, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    log_about.stage = "watch";
    log_about.sandbox_id = arguments->sandbox_id;
    w = (struct watch){
        .state_dir = arguments->state_dir,
        .sandbox_id = arguments->sandbox_id,
        .config = arguments->config,
        .unblocked = unblocked,
        .state = STATE_DIR_INIT,
        .init_pidfd = FD_NONE,
    };
    sandbox_init(&w.sandbox, &w.host, NULL, &w.record);
    run(&w);
}

int watcher_fork(const char *state_dir, const char *sandbox_id, const struct hook_config *config,
                 struct child *ret, struct err *e)
{
    const struct arguments arguments = {state_dir, sandbox_id, config};

    return child_fork("osc-watch", watch, &arguments, ret, e);
}
