/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `update`: change limits of a sandbox, and have it tended, now and by a watcher. Limits are changed as a container that
 * comes or goes changes them: what is set is recorded first, and undone if it cannot be put into force.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/change.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/sandbox.h"
#include "hook/tool/asked.h"
#include "hook/tool/target.h"
#include "hook/tool/verbs.h"
#include "hook/vcpu/vcpu.h"
#include "hook/watch/drift.h"
#include "hook/watch/scan.h"
#include "hook/watch/watcher.h"

#include <errno.h>
#include <stdio.h>

/* Whether vCPUs are apart, or were. Setting them apart is the watcher's work, as their
 * quota goes before them. 1; 0; -errno. */
static int is_split(struct sandbox *s, const struct record *r, struct err *e)
{
    int ret = r->cpu_enabled.set ? cg_load(&s->vcpu, e) : -ENOENT;

    if (ret == 0)
        ret = cg_load(&s->overhead, e);
    if (ret == -ENOENT)
        err_reset(e);
    return ret == -ENOENT ? 0 : ret < 0 ? ret : 1;
}

/* One that was killed. One that has left by itself is not recorded, and comes back where limits have changed, as with a
 * container that joins: a quota is not with the vCPUs before it has put it there. What is not yet let go ends with this
 * process. */
static int start_watcher(const struct options *o, struct view *v, const struct settings *settings,
                         bool changed, struct arena *a, struct err *e)
{
    struct proc_id old = record_process_id(v->record.watcher);
    struct child watcher = CHILD_INIT;
    bool absent = changed && watcher_is_wanted(&v->record, settings);
    int works = old.pid > 0 ? child_works(&old) : !absent;
    int alive = works == 0 ? record_is_alive(&v->record) : 0;
    int r;

    if (works < 0 || alive < 0)
        return err_sys(e, works < 0 ? works : alive,
                       "cannot tell whether sandbox %s and its watcher live", v->record.sandbox_id);
    if (!alive)
        return 0;
    r = watcher_fork(o->state_dir, v->record.sandbox_id, settings, &watcher, e);
    if (r < 0)
        return r;
    v->record.watcher = record_process_new(a, &watcher.id);
    r = record_write(&v->lock, a, &v->record, e);
    if (r == 0)
        r = child_go(&watcher, e);
    if (r < 0)
        child_abort(&watcher);
    return r;
}

/* A pass that sorts the threads. */
static int place(struct target *t, const struct settings *settings, struct err *e)
{
    const struct record *record = &t->v.record;
    autofd kvm_dir = vcpu_kvm_open();
    struct scan scan = {.sandbox = &t->s,
                        .settings = settings,
                        .kvm_dirfd = kvm_dir,
                        .own = {record_process_id(record->watcher).pid,
                                record_process_id(record->placeholder).pid}};
    struct scan_result result;
    int r;

    scan.kernel_evidence = scan_needs_evidence(&scan);
    r = target_load(t, e);
    if (r == 0)
        r = is_split(&t->s, record, e);
    scan.hold = r == 0;
    if (r >= 0)
        r = scan_pass(&scan, SCAN_ALL, &result, e);
    scan_free(&scan);
    return r;
}

/* The watcher comes in any case: where vCPUs are apart a quota that was written, or written back, is still around all
 * of them until it has put it to them. */
static int tend(const struct options *o, struct target *t, const struct settings *settings,
                bool changed, struct arena *a, struct err *e)
{
    int r = t->v.record.sandbox_cgroup_only.value ? 0 : place(t, settings, e);
    int started =
        r == 0 || changed ? start_watcher(o, &t->v, settings, changed, a, r < 0 ? NULL : e) : 0;

    if (r == 0)
        r = started;
    if (r < 0 && changed)
        err_hint(e, "; the limits are in force");
    return r;
}

/* ---- limits ---- */

/* Whether they are ours to change. */
static int check_sandbox(const struct record *r, struct err *e)
{
    int alive;

    if (record_is_nested(r))
        return err_input(e,
                         "sandbox \"%s\" has layout nested: its limits are in the runtime's own "
                         "cgroup %s, and the runtime would undo what is changed behind its back; "
                         "use the update of what runs it, as runc, crun, podman, docker, nerdctl "
                         "or crictl update",
                         r->sandbox_id, r->sandbox_path);
    alive = record_is_alive(r);
    if (alive < 0)
        return err_sys(e, alive, "cannot tell whether a container of sandbox %s lives",
                       r->sandbox_id);
    return alive
               ? 0
               : err_set(e, -ESRCH, "no container of sandbox \"%s\" runs any more", r->sandbox_id);
}

/* What is set from now on, and what limits follow. The device list stays as it is. */
static int plan_update(const struct view *v, const struct settings *settings,
                       const struct oci_resources *asked, struct arena *a, struct record *after,
                       struct plan_basis *basis, struct plan_limits *ret, struct err *e)
{
    const struct record *r = &v->record;
    const struct aggregate_member *members = change_members(&r->containers, r->sandbox_id, a);
    struct plan_warnings ignored = {0};
    struct aggregate_notes unread;
    struct cg_limits now;
    int ret_value = change_plan(settings, &v->host, r, &r->containers, a, basis, ret, e);

    if (ret_value == 0)
        ret_value = plan_sum(basis, members, r->containers.count, a, &now, &unread, e);
    if (ret_value == 0)
        ret_value = asked_add(r->updated, asked, &now, a, &after->updated, e);
    if (ret_value < 0)
        return ret_value;
    basis->updated = after->updated;
    ret_value = plan_limits(basis, members, r->containers.count, a, ret, &ignored, e);
    if (ret_value == 0)
        plan_leave_devices(ret, a);
    return ret_value;
}

/* What the runtime has said by now was said before this, also where no watcher has seen it yet. */
static void note_runtimes(const struct view *v, struct arena *a, struct record *after)
{
    struct drift drift = {.host = &v->host, .fd = FD_NONE};
    const struct json_list before = after->containers;

    drift_follow(&drift, after);
    after->containers = (struct json_list){0};
    for (size_t i = 0; i < before.count; i++) {
        struct record_container c = JSON_AT(before, struct record_container, i);

        c.runtime_print = (struct json_u64){true, drift_print(&drift, c.id)};
        JSON_APPEND(a, after->containers, struct record_container) = c;
    }
    drift_free(&drift);
}

/* The record first. What could not be undone stays named in it, for the next stage to take away.
 * @touched  the sandbox's files may have been written. */
static int put_into_force(struct target *t, const struct plan_basis *basis,
                          const struct plan_limits *limits, struct record *after, struct arena *a,
                          bool *touched, struct err *e)
{
    struct record *before = &t->v.record;
    int r;

    change_note(basis, limits, a, after);
    r = record_write(&t->v.lock, a, after, e);
    if (r < 0)
        return r;
    *touched = true;
    r = change_apply(limits, &t->s, e);
    if (r < 0) {
        if (!change_revert(basis, limits, before, &t->s))
            change_note(basis, limits, a, before);
        (void)record_write(&t->v.lock, a, before, NULL);
        err_hint(e, "; the sandbox keeps the limits that it had");
        return r;
    }
    *before = *after;
    /* If that cannot be written, the next stage takes away once more what is gone. */
    if (change_settle(limits, a, before))
        (void)record_write(&t->v.lock, a, before, NULL);
    return 0;
}

/* @changed  gets the files that have another text than the last time.
 * @touched  as of put_into_force(). */
static int set_limits(struct target *t, const struct settings *settings,
                      const struct oci_resources *asked, struct arena *a, struct cg_files *changed,
                      bool *touched, struct err *e)
{
    struct record after = t->v.record;
    struct plan_basis basis;
    struct plan_limits limits;
    int r = check_sandbox(&t->v.record, e);

    if (r == 0)
        r = plan_update(&t->v, settings, asked, a, &after, &basis, &limits, e);
    if (r == 0)
        r = target_load(t, e);
    if (r == 0) {
        note_runtimes(&t->v, a, &after);
        r = put_into_force(t, &basis, &limits, &after, a, touched, e);
    }
    for (size_t i = 0; r == 0 && i < limits.sandbox.files.count; i++) {
        const struct cg_file *file = &limits.sandbox.files.items[i];

        if (!str_eq_null(cg_files_get(&basis.recorded, file->file), file->text))
            ARENA_APPEND(a, changed->items, changed->count) = *file;
    }
    return r;
}

/* ---- what was done ---- */

static void say_json(const struct target *t, const struct cg_files *changed)
{
    struct json_writer *w = target_answer(t);

    json_open_object(w, "changed");
    for (size_t i = 0; i < changed->count; i++)
        json_string(w, changed->items[i].file, changed->items[i].text);
    json_close_object(w);
    json_close_object(w);
    view_print(w);
}

static void say(const struct target *t, const struct cg_files *changed)
{
    char shown[300], text[300];

    printf("%s:%s", str_escape(t->v.record.sandbox_id, shown, sizeof shown),
           changed->count == 0 ? " nothing has changed," : "");
    for (size_t i = 0; i < changed->count; i++)
        printf(" %s %s,", changed->items[i].file,
               str_escape(changed->items[i].text, text, sizeof text));
    target_print(t);
}

int verb_update(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e)
{
    struct target t = {.v = VIEW_INIT};
    struct cg_files changed = {0};
    struct oci_resources *asked;
    bool touched = false;
    int r = asked_read(o, a, &asked, e);

    if (r < 0)
        return r;
    r = target_find(o, a, &t, e);
    if (r == 0 && asked)
        r = set_limits(&t, settings, asked, a, &changed, &touched, e);
    if (r == 0)
        r = tend(o, &t, settings, asked != NULL, a, e);
    else if (touched)
        (void)start_watcher(o, &t.v, settings, true, a, NULL);
    if (r == 0 && o->json)
        say_json(&t, &changed);
    else if (r == 0 && asked)
        say(&t, &changed);
    target_close(&t);
    return r;
}
