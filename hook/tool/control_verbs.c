/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `freeze`, `thaw`, `kill`: every task of a sandbox. In every layout that is what the sandbox's home has,
 * as threads leave it for another CPU quota alone: with layout nested it is the runtime's own cgroup.
 */

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/tool/signals.h"
#include "hook/tool/target.h"
#include "hook/tool/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Less than stages wait for the lock. */
#define CONTROL_PATIENCE_MS 5000

/* A process of ours must not be among those that are stopped: it could not undo it. */
static int check_own(const struct target *t, const struct cg_pids *inside,
                     const struct proc_id *own, const char *what, struct err *e)
{
    if (inside->count == 0 ||
        !bsearch(&own->pid, inside->items, inside->count, sizeof *inside->items, cg_pid_compare) ||
        proc_alive(own) == 0)
        return 0;
    return err_set(e, -EBUSY,
                   "process %d, %s, is in %s, too: nobody would be left to undo it; move it out of "
                   "there first",
                   (int)own->pid, what, t->s.home.path);
}

static int check_children(const struct target *t, const struct cg_pids *inside, struct err *e)
{
    const struct record *r = &t->v.record;
    struct proc_id own = record_process_id(r->watcher);
    int ret = check_own(t, inside, &own, "the sandbox's watcher", e);

    own = record_process_id(r->placeholder);
    if (ret == 0)
        ret = check_own(t, inside, &own, "a placeholder", e);
    for (size_t i = 0; ret == 0 && i < r->containers.count; i++) {
        own = record_process_id(JSON_AT(r->containers, struct record_container, i).placeholder);
        ret = check_own(t, inside, &own, "a placeholder", e);
    }
    return ret;
}

/* @children: whether those of ours that outlive this verb count, too. */
static int check_inside(const struct target *t, bool children, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids inside;
    struct proc_id self;
    int r = cg_processes(&t->s.home, &a, &inside, e);

    if (r == 0)
        r = proc_identify(getpid(), &self);
    if (r == 0)
        r = check_own(t, &inside, &self, "which you have started", e);
    return r == 0 && children ? check_children(t, &inside, e) : r;
}

/* Before 0.2.0 the overhead of layout sibling had a place of its own in every hierarchy. */
static int check_whole(const struct target *t, struct err *e)
{
    struct cg_controller all;
    int r;

    if (t->s.overhead.borrowed || !t->v.record.overhead_path)
        return 0;
    cg_init(&all, &t->v.host, NULL, t->v.record.overhead_path, NULL);
    r = cg_load(&all, e);
    if (r == 0)
        r = cg_is_frozen(&all);
    cg_close(&all);
    if (r == -ENOENT) { /* there is none, or nothing of it can be frozen */
        err_reset(e);
        return 0;
    }
    if (r < 0)
        return err_sys(e, r, "cannot look whether %s has a freezer", t->v.record.overhead_path);
    return err_set(e, -EOPNOTSUPP,
                   "sandbox \"%s\" was set up by an earlier version, whose overhead cgroup has a "
                   "freezer of its own; start the container again, or freeze it by its runtime",
                   t->v.record.sandbox_id);
}

/* ---- what was done ---- */

static void say_frozen(const struct options *o, const struct target *t, bool frozen, bool changed)
{
    char shown[300];

    if (o->json) {
        struct json_writer *w = target_answer(t);

        json_bool(w, "frozen", frozen);
        json_bool(w, "changed", changed);
        json_close_object(w);
        view_print(w);
        return;
    }
    printf("%s: %s%s,", str_escape(t->v.record.sandbox_id, shown, sizeof shown),
           changed ? "" : "it was already ", frozen ? "frozen" : "thawed");
    target_print(t);
}

static void say_killed(const struct options *o, const struct target *t, int signo,
                       const struct cg_signalled *done)
{
    char name[SIGNALS_NAME_SIZE], shown[300];

    signals_name(signo, name);
    if (o->json) {
        struct json_writer *w = target_answer(t);

        json_string(w, "signal", name);
        json_i64(w, "number", signo);
        json_u64(w, "processes", done->count);
        json_bool(w, "pending", done->pending);
        json_close_object(w);
        view_print(w);
        return;
    }
    printf("%s: %s to %zu %s%s,", str_escape(t->v.record.sandbox_id, shown, sizeof shown), name,
           done->count, done->count == 1 ? "process" : "processes",
           done->pending ? ", frozen, which take it when they are thawed" : "");
    target_print(t);
}

/* ---- verbs ---- */

int verb_freeze(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e)
{
    struct target t;
    bool before = false;
    int r = target_open(o, a, &t, e);

    (void)settings;
    if (r == 0)
        r = check_whole(&t, e);
    if (r == 0)
        r = check_inside(&t, true, e);
    if (r == 0) {
        before = cg_is_frozen(&t.s.home) == 1 && cg_is_still(&t.s.home) == 1;
        r = cg_freeze_wait(&t.s.home, CONTROL_PATIENCE_MS, e);
    }
    if (r == 0)
        say_frozen(o, &t, true, !before);
    target_close(&t);
    return r;
}

/* The runtime's own cgroup of a container, with layout sibling: its pause is followed for as long as that is
 * frozen. 1 it was; 0; -errno. */
static int thaw_runtime(const struct cg_host *host, const struct record_container *c, struct err *e)
{
    struct cg_controller own;
    int r;

    if (!c->runtime_path)
        return 0;
    cg_init(&own, host, NULL, c->runtime_path, NULL);
    own.borrowed = true;
    r = cg_load(&own, e);
    if (r == 0)
        r = cg_is_frozen(&own);
    if (r == -ENOENT) { /* it has gone, or nothing of it can be frozen */
        err_reset(e);
        r = 0;
    } else if (r < 0) {
        err_sys(e, r, "cannot look whether %s is frozen", c->runtime_path);
    }
    if (r > 0) {
        int thawed = cg_thaw_wait(&own, false, CONTROL_PATIENCE_MS, e);

        r = thawed < 0 ? thawed : 1;
    }
    cg_close(&own);
    return r;
}

/* All of them, before the sandbox is: its watcher would freeze that again. 1 some were frozen; 0; -errno. */
static int thaw_runtimes(const struct target *t, struct err *e)
{
    const struct record *r = &t->v.record;
    int any = 0;

    for (size_t i = 0; !t->s.is_nested && i < r->containers.count; i++) {
        int ret = thaw_runtime(&t->v.host, &JSON_AT(r->containers, struct record_container, i), e);

        if (ret < 0)
            return ret;
        any = any || ret > 0;
    }
    return any;
}

int verb_thaw(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct target t;
    bool before = false;
    int r = target_open(o, a, &t, e);

    (void)settings;
    if (r == 0)
        r = thaw_runtimes(&t, e);
    if (r >= 0) {
        before = r > 0 || cg_is_frozen(&t.s.home) == 1 || cg_is_still(&t.s.home) == 1;
        r = cg_thaw_wait(&t.s.home, true, CONTROL_PATIENCE_MS, e);
    }
    if (r == 0)
        say_frozen(o, &t, false, before);
    target_close(&t);
    return r;
}

/* Where there is no hierarchy but cpu's helpers are in the overhead cgroup alone; in a scope of that there is a
 * placeholder of ours, too. One that was not made is a stranger's. */
static bool has_more(const struct target *t)
{
    return t->v.record.cpu_enabled.set && !t->s.overhead.borrowed && !t->s.overhead.unit;
}

int verb_kill(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct target t;
    struct cg_controller *all[] = {&t.s.home, &t.s.overhead};
    struct cg_signalled done;
    int signo = SIGKILL, r;
    char shown[64];

    (void)settings;
    if (o->operand_count > 1 && signals_parse(o->operands[1], &signo) < 0)
        return err_input(e, "there is no signal \"%s\": a name as TERM or SIGTERM, or a number",
                         str_escape(o->operands[1], shown, sizeof shown));
    r = target_open(o, a, &t, e);
    if (r == 0)
        r = check_inside(&t, false, e);
    if (r == 0)
        r = cg_signal(all, has_more(&t) ? 2 : 1, signo, CONTROL_PATIENCE_MS, &done, e);
    if (r == 0)
        say_killed(o, &t, signo, &done);
    target_close(&t);
    return r;
}
