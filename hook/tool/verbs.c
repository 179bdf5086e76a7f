/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/verbs.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/input.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/change.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/prune.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/runtime.h"
#include "hook/sandbox/sandbox.h"
#include "hook/sandbox/state_dir.h"

#include "hook/vcpu/vcpu.h"
#include "hook/watch/placement.h"
#include "hook/watch/scan.h"
#include "hook/watch/tend.h"
#include "hook/watch/watcher.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define LOCK_TIMEOUT_MS 10000

static void print_writer(struct json_writer *w)
{
    fputs(json_writer_text(w, NULL), stdout);
    json_writer_free(w);
}

/*
 * What a setup would find of the sandbox: its other containers, and what may be set. A record that
 * cannot be looked at is said; the plan is that of a new sandbox then.
 */
static void look_at_sandbox(const struct options *o, const struct plan *place, struct arena *a,
                            struct plan_input *in, struct plan_warnings *warnings)
{
    struct err e = ERR_INIT;
    struct state_dir state = STATE_DIR_INIT;
    struct state_lock look = STATE_LOCK_INIT;
    struct record record;
    enum record_state found = RECORD_NONE;
    int r = state_dir_open(o->state_dir, false, &state, &e);

    if (r == 0)
        r = state_look(&state, place->sandbox_id, &look, &e);
    if (r == 0)
        r = record_read(&look, a, &record, &found, &e);
    if (r == 0 && found == RECORD_VALID) {
        struct json_list others, alive;

        record_others(&record, place->container_id, a, &others, &alive);
        in->others = change_members(&alive, record.sandbox_id, a);
        in->other_count = alive.count;
        in->recorded = change_basis(in->settings, in->facts, place->systemd,
                                    place->sandbox_cgroup_only, &record, a)
                           .recorded;
    }
    if (r < 0 && r != -ENOENT)
        plan_warn(
            warnings, a,
            arena_printf(a, "planned as a new sandbox, because it is not known what there is: %s",
                         e.text));
    state_unlock(&look);
    state_dir_close(&state);
}

/* As a stage would, see look_for_layout() in hook/stages/run.c, but nothing is remembered.
 * @here  the record is of the host that is planned for. */
static int look_for_layout(const struct options *o, bool here, struct arena *a,
                           struct plan_input *in, struct runtime *runtime, struct err *e)
{
    struct layout_input layout = plan_layout_input(in);
    int r = 0;

    if (here && layout_is_auto(&layout) && stage_action(in->stage) != ACTION_TEARDOWN)
        r = record_layout(o->state_dir, in->state->id, a, &in->recorded_layout, e);
    layout.recorded = in->recorded_layout;
    if (!layout_asks(&layout))
        return r;
    runtime_look(getppid(), o->state_dir, false, a, runtime);
    runtime_doubt(runtime);
    in->runtime = runtime;
    return r;
}

int verb_plan(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct oci_input input = {0};
    enum stage stage = o->stage;
    enum cg_mode mode = o->mode;
    struct facts facts;
    struct plan plan;
    struct cg_host host = {0};
    struct err unknown = ERR_INIT;
    struct runtime runtime;
    bool here;
    int r = input_read(STDIN_FILENO, &stage, a, &input, e);

    if (r == 0 && !o->has_mode) {
        r = cg_host_open(a, &host, e);
        mode = host.mode;
    }
    if (r < 0)
        return r;
    facts_gather(mode, settings, a, &facts);
    facts.foreign = !o->has_mode && cg_host_is_foreign(&host);
    facts_add_host(&facts, &host);
    cg_host_close(&host);
    struct plan_input in = {
        .stage = stage,
        .state = &input.state,
        .config = input.has_config ? &input.config : NULL,
        .settings = settings,
        .only_argument = o->only,
        .layout_argument = o->layout,
        .facts = &facts,
    };
    /* What is recorded here means nothing on a host of another mode. */
    here = !o->has_mode && !facts.foreign;
    (void)look_for_layout(o, here, a, &in, &runtime, &unknown);
    r = plan_place(&in, a, &plan, e);
    if (r == 0 && here && plan.layout != LAYOUT_NESTED)
        look_at_sandbox(o, &plan, a, &in, &plan.warnings);
    else if (r == 0 && unknown.code < 0)
        plan_warn(&plan.warnings, a,
                  arena_printf(a, "it is not known what layout the sandbox has: %s", unknown.text));
    if (r == 0)
        r = plan_fill(&in, a, &plan, e);
    if (r == 0)
        plan_print(&plan, o->json);
    return r;
}

/* What a verb on a recorded sandbox works with. */
struct view {
    struct cg_host host;
    struct state_dir state;
    struct state_lock lock;
    struct record record;
    enum record_state found;
};

#define VIEW_INIT                                                                                  \
    {                                                                                              \
        .state = STATE_DIR_INIT, .lock = STATE_LOCK_INIT                                           \
    }

static void close_view(struct view *v)
{
    state_unlock(&v->lock);
    state_dir_close(&v->state);
    cg_host_close(&v->host);
}

/* -ENOENT without a message: there is no state directory, so there are no sandboxes. */
static int open_view(const struct options *o, struct arena *a, struct view *v, struct err *e)
{
    int r = cg_host_open(a, &v->host, e);

    if (r < 0)
        return r;
    r = state_dir_open(o->state_dir, false, &v->state, e);
    if (r == -ENOENT)
        err_reset(e);
    return r;
}

/* The ids of all sandboxes; none where there is no state directory. */
static int open_all(const struct options *o, struct arena *a, struct view *v, const char ***ids,
                    size_t *count, struct err *e)
{
    int r = open_view(o, a, v, e);

    if (r == 0)
        r = state_list(&v->state, a, ids, count, e);
    return r == -ENOENT ? 0 : r;
}

static int open_sandbox(const struct options *o, struct arena *a, struct view *v, struct err *e)
{
    const char *id = o->id;
    char shown[300];
    int r = cg_name_check(id, "sandbox id", e);

    if (r < 0)
        return r;
    str_escape(id, shown, sizeof shown);
    r = open_view(o, a, v, e);
    if (r == 0 && state_lookup(&v->state, o->id, a, &id) < 0)
        r = -ENOENT;
    if (r == -ENOENT)
        return err_set(e, r, "there is no sandbox \"%s\" under %s; `list` shows those there are",
                       shown, o->state_dir);
    if (r == 0)
        r = state_lock(&v->state, id, false, LOCK_TIMEOUT_MS, &v->lock, e);
    if (r == 0)
        r = record_read(&v->lock, a, &v->record, &v->found, e);
    if (r == 0 && v->found != RECORD_VALID)
        r = err_set(e, -ENOENT,
                    "sandbox \"%s\" has no valid record; `prune` removes what is left of it",
                    shown);
    return r;
}

static const char *liveness(const struct record *r)
{
    return record_is_alive(r) ? "running" : "dead";
}

static void list_one(struct json_writer *w, const char *id, const struct record *r,
                     const char *state)
{
    char shown[300], path[4 * PATH_MAX];

    if (!w) {
        printf("%-40s %-10s %-12s %2zu  %s\n", str_escape(id, shown, sizeof shown), state,
               r->sandbox_cgroup_only.value ? "all threads" : "vCPU split", r->containers.count,
               str_escape(r->sandbox_path ? r->sandbox_path : "", path, sizeof path));
        return;
    }
    json_open_object(w, NULL);
    json_string(w, "sandbox_id", id);
    json_string(w, "state", state);
    json_bool(w, "sandbox_cgroup_only", r->sandbox_cgroup_only.value);
    json_string(w, "sandbox_path", r->sandbox_path);
    json_string(w, "overhead_path", r->overhead_path);
    json_open_list(w, "containers");
    for (size_t i = 0; i < r->containers.count; i++)
        json_string(w, NULL, JSON_AT(r->containers, struct record_container, i).id);
    json_close_list(w);
    json_close_object(w);
}

/* One record that cannot be read must not hide the others. */
static const char *read_state(const struct state_lock *lock, struct arena *a, struct record *ret)
{
    static const char *const words[] = {
        [RECORD_NONE] = "no record",
        [RECORD_OTHER_BOOT] = "other boot",
    };
    enum record_state found;

    if (record_read(lock, a, ret, &found, NULL) < 0) {
        *ret = (struct record){0};
        return "unreadable";
    }
    return found == RECORD_VALID ? liveness(ret) : words[found];
}

int verb_list(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct json_writer *w = o->json ? json_writer_new(true) : NULL;
    struct view v = VIEW_INIT;
    const char **ids = NULL;
    size_t count = 0;
    int r = open_all(o, a, &v, &ids, &count, e);

    (void)settings;
    if (w)
        json_open_list(w, NULL);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct state_lock lock;

        if (state_lock(&v.state, ids[i], false, LOCK_TIMEOUT_MS, &lock, NULL) < 0)
            continue; /* gone meanwhile */
        list_one(w, ids[i], &v.record, read_state(&lock, a, &v.record));
        state_unlock(&lock);
    }
    if (w) {
        json_close_list(w);
        print_writer(w);
    }
    close_view(&v);
    return r;
}

/* One line, or one JSON object, per thread of a cgroup. */
static void show_threads(struct json_writer *w, const struct cg_controller *c, const char *place,
                         const struct record *record, const struct placement_report *report,
                         struct arena *a)
{
    pid_t watcher = record_process_id(record->watcher).pid;
    pid_t placeholder = record_process_id(record->placeholder).pid;
    struct cg_pids tids;

    if (cg_threads(c, a, &tids, NULL) < 0)
        return;
    for (size_t i = 0; i < tids.count; i++) {
        const struct placement_vcpu *vcpu = placement_find(report, tids.items[i]);
        struct proc_stat st;
        char shown[128];

        if (proc_stat_read(tids.items[i], &st) < 0)
            continue;
        if (!w) {
            printf("  %-8d %-18s %-10s %s\n", (int)tids.items[i],
                   str_escape(st.comm, shown, sizeof shown), place,
                   tids.items[i] == watcher       ? "watcher"
                   : tids.items[i] == placeholder ? "placeholder"
                   : vcpu                         ? "vCPU"
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

/* The threads, which of them are vCPUs, and whether those are all in their place. */
static void show_inside(struct json_writer *w, struct sandbox *s, const struct view *v,
                        const struct settings *settings, struct arena *a)
{
    autofd kvm_dirfd = vcpu_kvm_open();
    struct scan scan = {
        .sandbox = s,
        .settings = settings,
        .kvm_dirfd = kvm_dirfd,
        .own = {record_process_id(v->record.watcher).pid,
                record_process_id(v->record.placeholder).pid},
    };
    struct placement_report report = {0};
    struct scan_result result;
    bool known;

    scan.kernel_evidence = scan_needs_evidence(&scan);
    known = scan_pass(&scan, SCAN_LOOK, &result, NULL) == 0;
    if (known)
        placement_look(&scan, v->lock.dirfd, a, &report);
    if (w)
        json_open_list(w, "threads");
    show_threads(w, &s->vcpu, "sandbox", &v->record, &report, a);
    if (s->has_overhead)
        show_threads(w, &s->overhead, "overhead", &v->record, &report, a);
    if (w)
        json_close_list(w);
    if (known) {
        if (w)
            placement_write_json(w, "placement", &report);
        else
            printf("  placement: %s, %s\n", report.state, report.why);
        show_unsure_kthreads(w, &scan, a);
    }
    scan_free(&scan);
}

int verb_show(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct view v = VIEW_INIT;
    struct json_writer *w = NULL;
    struct sandbox s;
    int r = open_sandbox(o, a, &v, e);

    if (r < 0) {
        close_view(&v);
        return r;
    }
    sandbox_init(&s, &v.host, NULL, &v.record);
    r = sandbox_load(&s,
                     NULL); /* a dead sandbox has no cgroups: its record is shown all the same */
    if (o->json) {
        w = json_writer_new(true);
        json_open_object(w, NULL);
        json_string(w, "state", liveness(&v.record));
        record_write_json(w, "record", &v.record);
    } else {
        list_one(NULL, v.record.sandbox_id, &v.record, liveness(&v.record));
    }
    if (r == 0) {
        show_inside(w, &s, &v, settings, a);
    } else if (w) {
        json_open_list(w, "threads");
        json_close_list(w);
    }
    if (w) {
        json_close_object(w);
        print_writer(w);
    }
    sandbox_close(&s);
    close_view(&v);
    return 0;
}

/* Whether vCPUs are apart, or were. Setting them apart is the watcher's work, as their
 * quota goes before them. */
static bool is_split(struct sandbox *s, const struct record *r)
{
    return r->cpu_enabled.set && cg_load(&s->vcpu, NULL) == 0 && cg_load(&s->overhead, NULL) == 0;
}

/* One that was killed; one that has left by itself is not recorded. What is not yet let go ends with this process. */
static int start_watcher(const struct options *o, struct view *v, const struct settings *settings,
                         struct arena *a, struct err *e)
{
    struct proc_id old = record_process_id(v->record.watcher);
    struct child watcher = CHILD_INIT;
    int r;

    if (old.pid <= 0 || child_works(&old) || !record_is_alive(&v->record))
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

int verb_update(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e)
{
    struct view v = VIEW_INIT;
    struct scan_result result;
    struct sandbox s;
    struct scan scan = {.sandbox = &s, .settings = settings, .kvm_dirfd = FD_NONE};
    autofd kvm_dir = FD_NONE;
    int r = open_sandbox(o, a, &v, e);

    if (r == 0 && !v.record.sandbox_cgroup_only.value) {
        sandbox_init(&s, &v.host, NULL, &v.record);
        kvm_dir = vcpu_kvm_open();
        scan.kvm_dirfd = kvm_dir;
        scan.own[0] = record_process_id(v.record.watcher).pid;
        scan.own[1] = record_process_id(v.record.placeholder).pid;
        scan.kernel_evidence = scan_needs_evidence(&scan);
        r = sandbox_load(&s, e);
        scan.hold = r == 0 && !is_split(&s, &v.record);
        if (r == 0)
            r = scan_pass(&scan, SCAN_ALL, &result, e);
        scan_free(&scan);
        sandbox_close(&s);
    }
    if (r == 0)
        r = start_watcher(o, &v, settings, a, e);
    close_view(&v);
    return r;
}

int verb_delete(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e)
{
    struct view v = VIEW_INIT;
    int r = open_sandbox(o, a, &v, e);

    if (r == 0 && !o->force && record_is_alive(&v.record))
        r = record_is_nested(&v.record)
                ? err_set(e, -EBUSY,
                          "the container of sandbox %s runs; stop it first, or use --force to have "
                          "all of its threads under the runtime's limits again",
                          v.record.sandbox_id)
                : err_set(e, -EBUSY,
                          "a container of sandbox %s runs; stop it first, or use --force to move "
                          "its processes to %s, out of the sandbox's limits",
                          v.record.sandbox_id, v.record.parent_path);
    if (r == 0)
        r = sandbox_destroy(&v.state, &v.host, &v.record, settings, SANDBOX_PATIENCE_MS, &v.lock,
                            e);
    close_view(&v);
    return r;
}

int verb_prune(const struct options *o, const struct settings *settings, struct arena *a,
               struct err *e)
{
    struct json_writer *w = o->json ? json_writer_new(true) : NULL;
    struct view v = VIEW_INIT;
    const char **ids = NULL;
    size_t count = 0;
    int r = open_all(o, a, &v, &ids, &count, e), first = 0;

    if (w)
        json_open_list(w, NULL);
    for (size_t i = 0; i < count; i++) {
        struct err own = ERR_INIT;
        char shown[300];
        enum prune_result result = prune_one(&v.state, &v.host, settings, ids[i], o->dry_run, &own);

        if (result == PRUNE_FAILED && first == 0)
            first = err_set(e, own.code, "sandbox %s: %s", str_escape(ids[i], shown, sizeof shown),
                            own.text);
        if (result != PRUNE_DEAD)
            continue;
        if (w)
            json_string(w, NULL, ids[i]);
        else
            printf("%s %s\n", o->dry_run ? "would remove" : "removed",
                   str_escape(ids[i], shown, sizeof shown));
    }
    if (v.state.sandboxes >= 0 && !o->dry_run)
        prune_rest(&v.state, &v.host);
    if (!o->dry_run)
        runtime_forget(o->state_dir);
    if (w) {
        json_close_list(w);
        print_writer(w);
    }
    close_view(&v);
    return r < 0 ? r : first;
}
