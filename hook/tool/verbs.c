/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/verbs.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/prune.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/runtime.h"
#include "hook/sandbox/sandbox.h"
#include "hook/tool/called.h"
#include "hook/tool/inside.h"
#include "hook/tool/view.h"
#include "hook/vcpu/vcpu.h"
#include "hook/watch/placement.h"
#include "hook/watch/scan.h"
#include "hook/watch/tend.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#define NAMES_WIDTH 32

/* 0; -errno: what it is called is not known, and all else is printed. */
static int list_one(struct json_writer *w, const char *id, const struct record *r,
                    const char *state, struct arena *a, struct err *e)
{
    char shown[300], called[NAMES_WIDTH + 1], path[4 * PATH_MAX];
    struct names names;
    int ret = called_sandbox(r, a, &names, e);

    if (!w) {
        printf("%-40s %-10s %-12s %2zu  %-*s  %s\n", str_escape(id, shown, sizeof shown), state,
               r->sandbox_cgroup_only.value ? "all threads" : "vCPU split", r->containers.count,
               NAMES_WIDTH, called_text(&names, called, sizeof called),
               str_escape(r->sandbox_path ? r->sandbox_path : "", path, sizeof path));
        return ret;
    }
    json_open_object(w, NULL);
    json_string(w, "sandbox_id", id);
    called_write_json(w, &names);
    json_string(w, "state", state);
    json_bool(w, "sandbox_cgroup_only", r->sandbox_cgroup_only.value);
    json_string(w, "sandbox_path", r->sandbox_path);
    json_string(w, "overhead_path", r->overhead_path);
    json_open_list(w, "containers");
    for (size_t i = 0; i < r->containers.count; i++)
        json_string(w, NULL, JSON_AT(r->containers, struct record_container, i).id);
    json_close_list(w);
    json_close_object(w);
    return ret;
}

/* One record that cannot be read must not hide the others. NULL: there is no such sandbox any more. */
static const char *read_state(const struct state_dir *state, const char *id, struct arena *a,
                              struct record *ret, struct err *e)
{
    static const char *const words[] = {
        [RECORD_NONE] = "no record",
        [RECORD_OTHER_BOOT] = "other boot",
    };
    enum record_state found;
    struct state_lock lock;
    int r = state_lock(state, id, false, VIEW_LOCK_TIMEOUT_MS, &lock, e);

    *ret = (struct record){0};
    if (r == -ENOENT)
        return NULL;
    if (r == 0)
        r = record_read(&lock, a, ret, &found, e);
    state_unlock(&lock);
    if (r == 0)
        return found == RECORD_VALID ? view_liveness(ret, e) : words[found];
    *ret = (struct record){0};
    return "unreadable";
}

int verb_list(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct json_writer *w = o->json ? json_writer_new(true) : NULL;
    struct view v = VIEW_INIT;
    const char **ids = NULL;
    size_t count = 0, listed = 0;
    int r = view_open_all(o, a, &v, &ids, &count, e), first = r;

    (void)settings;
    if (w)
        json_open_list(w, NULL);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct err own = ERR_INIT;
        const char *state = read_state(&v.state, ids[i], a, &v.record, &own);

        if (!state)
            continue;
        (void)list_one(w, ids[i], &v.record, state, a, &own);
        listed++;
        if (own.code < 0)
            first = view_note_failure(first, ids[i], &own, e);
    }
    if (w) {
        json_close_list(w);
        view_print(w);
    } else if (first == 0 && listed == 0) {
        puts("no sandboxes");
    }
    view_close(&v);
    return first;
}

/* "vCPU 1 by name", or without the number where the source has none. */
static const char *vcpu_text(const struct placement_vcpu *vcpu, struct arena *a)
{
    char source[64];

    str_escape(vcpu->source, source, sizeof source);
    return vcpu->index.set ? arena_printf(a, "vCPU %" PRId64 " by %s", vcpu->index.value, source)
                           : arena_printf(a, "vCPU by %s", source);
}

/* What may be done where no vCPU was found that somebody misses; NULL: nothing. */
static const char *remedy(const struct inside *in, const struct record *record)
{
    if (in->report.vcpus.count > 0 || record->sandbox_cgroup_only.value)
        return NULL;
    return in->scan.kernel_evidence
               ? "if a VMM runs here: the kernel has to show which threads are vCPUs, as "
                 "vcpu_evidence wants it; mount debugfs, start QEMU with -name "
                 "NAME,debug-threads=on, and without KVM let vcpu_evidence be name"
               : "if a VMM runs here: start QEMU with -name NAME,debug-threads=on, so that its "
                 "threads have names; those of other VMMs go into vcpu_thread_patterns";
}

static void show_remedy(struct json_writer *w, const char *text)
{
    if (w)
        json_string(w, "remedy", text);
    else if (text)
        printf("  remedy: %s\n", text);
}

/* One line, or one JSON object, per thread of a cgroup. The first error is in @e. */
static void show_threads(struct json_writer *w, const struct cg_controller *c, const char *place,
                         const struct record *record, const struct placement_report *report,
                         struct arena *a, struct err *e)
{
    pid_t watcher = record_process_id(record->watcher).pid;
    pid_t placeholder = record_process_id(record->placeholder).pid;
    struct cg_pids tids;

    if (cg_threads(c, a, &tids, e) < 0)
        return;
    for (size_t i = 0; i < tids.count; i++) {
        const struct placement_vcpu *vcpu = placement_find(report, tids.items[i]);
        struct proc_stat st;
        char shown[128];
        int r = proc_stat_read(tids.items[i], &st);

        if (r < 0 && r != -ESRCH)
            err_sys(e, r, "cannot read the stat file of thread %d", (int)tids.items[i]);
        if (r < 0)
            continue;
        if (!w) {
            printf("  %-8d %-18s %-10s %s\n", (int)tids.items[i],
                   str_escape(st.comm, shown, sizeof shown), place,
                   tids.items[i] == watcher       ? "watcher"
                   : tids.items[i] == placeholder ? "placeholder"
                   : vcpu                         ? vcpu_text(vcpu, a)
                                                  : "");
            continue;
        }
        json_open_object(w, NULL);
        json_i64(w, "tid", tids.items[i]);
        json_string(w, "name", st.comm);
        json_string(w, "cgroup", place);
        json_bool(w, "vcpu", vcpu != NULL);
        json_string(w, "vcpu_source", vcpu ? vcpu->source : vcpu_source_name(VCPU_NONE));
        if (vcpu && vcpu->index.set)
            json_i64(w, "vcpu_index", vcpu->index.value);
        else
            json_null(w, "vcpu_index");
        json_close_object(w);
    }
}

/* Nothing where they cannot be seen. */
static void show_unsure_kthreads(struct json_writer *w, const struct scan *scan, struct arena *a)
{
    struct cg_pids tids;

    if (!scan->sandbox->has_overhead || tend_unsure(scan, a, &tids, NULL) < 0)
        return;
    if (w)
        json_open_list(w, "unsure_kernel_threads");
    for (size_t i = 0; i < tids.count; i++) {
        struct proc_stat st;
        char shown[128];

        if (proc_stat_read(tids.items[i], &st) < 0)
            continue;
        if (!w) {
            printf("  left alone: kernel thread %d, %s, may be that of another VM\n",
                   (int)tids.items[i], str_escape(st.comm, shown, sizeof shown));
            continue;
        }
        json_open_object(w, NULL);
        json_i64(w, "tid", tids.items[i]);
        json_string(w, "name", st.comm);
        json_close_object(w);
    }
    if (w)
        json_close_list(w);
}

/* The threads, which of them are vCPUs, and whether those are all in their place. The first error is in @e. */
static void show_inside(struct json_writer *w, struct sandbox *s, const struct view *v,
                        const struct settings *settings, struct arena *a, struct err *e)
{
    struct inside in;

    (void)inside_look(v, s, settings, a, &in, e);
    if (w)
        json_open_list(w, "threads");
    show_threads(w, &s->vcpu, "sandbox", &v->record, &in.report, a, e);
    if (s->has_overhead)
        show_threads(w, &s->overhead, "overhead", &v->record, &in.report, a, e);
    if (w)
        json_close_list(w);
    if (in.known) {
        if (w)
            placement_write_json(w, "placement", &in.report);
        else
            printf("  placement: %s, %s\n", in.report.state, in.report.why);
        show_remedy(w, remedy(&in, &v->record));
        show_unsure_kthreads(w, &in.scan, a);
    }
    inside_free(&in);
}

int verb_show(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct view v = VIEW_INIT;
    struct json_writer *w = NULL;
    struct err first = ERR_INIT, load_error = ERR_INIT;
    struct sandbox s;
    int r = view_open_sandbox(o, a, &v, e);

    if (r < 0) {
        view_close(&v);
        return r;
    }
    sandbox_init(&s, &v.host, NULL, &v.record);
    r = sandbox_load(&s, &load_error);
    if (r < 0 && r != -ENOENT) /* a dead sandbox has none: its record is shown all the same */
        err_set(&first, r, "%s", load_error.text);
    if (o->json) {
        w = json_writer_new(true);
        json_open_object(w, NULL);
        json_string(w, "state", view_liveness(&v.record, &first));
        record_write_json(w, "record", &v.record);
    } else {
        (void)list_one(NULL, v.record.sandbox_id, &v.record, view_liveness(&v.record, &first), a,
                       &first);
    }
    if (r == 0) {
        show_inside(w, &s, &v, settings, a, &first);
    } else if (w) {
        json_open_list(w, "threads");
        json_close_list(w);
    }
    if (w) {
        json_close_object(w);
        view_print(w);
    }
    sandbox_close(&s);
    view_close(&v);
    return first.code < 0 ? err_set(e, first.code, "%s", first.text) : 0;
}

int verb_delete(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e)
{
    struct view v = VIEW_INIT;
    int r = view_open_sandbox(o, a, &v, e);
    int alive = r == 0 && !o->force ? record_is_alive(&v.record) : 0;

    if (alive < 0)
        r = err_sys(e, alive, "cannot tell whether a container of sandbox %s runs; stop it first",
                    v.record.sandbox_id);
    else if (alive > 0)
        r = record_is_nested(&v.record)
                ? err_set(e, -EBUSY,
                          "the container of sandbox %s runs; stop it first, or use --force to have "
                          "all of its threads under the runtime's limits again",
                          v.record.sandbox_id)
                : err_set(
                      e, -EBUSY,
                      "a container of sandbox %s runs; stop it first, or use --force to move "
                      "its processes out of the sandbox's limits: to the runtime's own cgroup, or "
                      "to %s",
                      v.record.sandbox_id, v.record.parent_path);
    if (r == 0)
        r = sandbox_destroy(&v.state, &v.host, &v.record, settings, SANDBOX_PATIENCE_MS, &v.lock,
                            e);
    view_close(&v);
    return r;
}

int verb_prune(const struct options *o, const struct settings *settings, struct arena *a,
               struct err *e)
{
    struct json_writer *w = o->json ? json_writer_new(true) : NULL;
    struct view v = VIEW_INIT;
    const char **ids = NULL;
    size_t count = 0;
    int r = view_open_all(o, a, &v, &ids, &count, e), first = 0;

    if (w)
        json_open_list(w, NULL);
    for (size_t i = 0; i < count; i++) {
        struct err own = ERR_INIT;
        char shown[300];
        enum prune_result result = prune_one(&v.state, &v.host, settings, ids[i], o->dry_run, &own);

        if (result == PRUNE_FAILED || result == PRUNE_BUSY)
            first = view_note_failure(first, ids[i], &own, e);
        if (result != PRUNE_DEAD)
            continue;
        if (w)
            json_string(w, NULL, ids[i]);
        else
            printf("%s %s\n", o->dry_run ? "would remove" : "removed",
                   str_escape(ids[i], shown, sizeof shown));
    }
    if (r == 0 && v.state.sandboxes >= 0 && !o->dry_run) {
        int rest = prune_rest(&v.state, &v.host, e);

        first = first < 0 ? first : rest;
    }
    if (!o->dry_run)
        runtime_forget(o->state_dir);
    if (w) {
        json_close_list(w);
        view_print(w);
    }
    view_close(&v);
    return r < 0 ? r : first;
}
