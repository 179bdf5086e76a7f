/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/sandbox.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/program.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/fence.h"
#include "hook/sandbox/links.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A process may fork while it is being moved out, or be born from one that was. */
#define REMOVE_ROUNDS 5
#define MOVE_ROUNDS   64

/* "/a/b/kata_vcpu" below "/a/b" is "kata_vcpu"; NULL while the record has no path. */
static const char *leaf_of(const char *domain, const char *path)
{
    return path && str_starts(path, domain) && path[strlen(domain)] == '/'
               ? path + strlen(domain) + 1
               : NULL;
}

/* On v1 threads are set apart where CPU time is limited, in a cgroup of ours also where it is counted,
 * and nowhere else. */
static void only_cpu(const struct cg_host *host, bool counted, struct cg_host *ret)
{
    const struct cg_hierarchy *cpu = cg_host_find(host, CG_CTL_CPU);
    const struct cg_hierarchy *acct = cg_host_find(host, CG_CTL_CPUACCT);

    *ret = (struct cg_host){.mode = host->mode};
    if (cpu)
        ret->hierarchies[ret->count++] = *cpu;
    if (cpu && counted && acct && acct != cpu)
        ret->hierarchies[ret->count++] = *acct;
}

static void set_invocation(struct cg_unit *u, const char *recorded)
{
    snprintf(u->invocation, sizeof u->invocation, "%s", recorded ? recorded : "");
}

static void init_units(struct sandbox *s, const struct record *r)
{
    if (r->sandbox_unit) {
        s->sandbox_unit = (struct cg_unit){.name = r->sandbox_unit, .slice = r->slice};
        set_invocation(&s->sandbox_unit, r->sandbox_invocation);
        s->home.unit = &s->sandbox_unit;
    }
    if (r->overhead_unit) {
        s->overhead_unit = (struct cg_unit){
            .name = r->overhead_unit,
            .slice = PLAN_OVERHEAD_SLICE,
            .own_slice = true,
        };
        set_invocation(&s->overhead_unit, r->overhead_invocation);
        s->overhead.unit = &s->overhead_unit;
    }
}

void sandbox_init(struct sandbox *s, const struct cg_host *host, struct cg_parents *parents,
                  const struct record *r)
{
    bool v2 = host->mode == CG_MODE_V2, split = !r->sandbox_cgroup_only.value;
    bool nested = record_is_nested(r);
    /* Layout nested has the child as its sandbox cgroup. */
    const char *home = nested && split && v2 ? r->overhead_path : r->sandbox_path;

    *s = (struct sandbox){.has_overhead = split, .is_nested = nested};
    cg_init(&s->home, host, nested ? NULL : parents, home, NULL);
    s->home.borrowed = nested;
    if (split && !v2) {
        only_cpu(host, !nested, &s->split);
        host = &s->split;
    }
    cg_init(&s->vcpu, host, NULL, home, split && v2 ? leaf_of(home, r->vcpu_path) : NULL);
    s->vcpu.borrowed = true;
    if (split && !v2) {
        cg_init(&s->overhead, host, parents, r->overhead_path, NULL);
    } else {
        cg_init(&s->overhead, host, NULL, home, NULL);
        s->overhead.borrowed = true;
    }
    init_units(s, r);
}

int sandbox_load(struct sandbox *s, struct err *e)
{
    struct cg_controller *all[] = {&s->home, &s->vcpu, &s->overhead};
    bool any = false;

    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        int r;

        err_reset(e);
        r = cg_load(all[i], e);
        if (r < 0 && r != -ENOENT)
            return r;
        any = any || r == 0;
    }
    if (!any)
        return -ENOENT;
    err_reset(e);
    return 0;
}

int sandbox_check_cover(const struct sandbox *s, const struct record *r, struct err *e)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (record_container_is_alive(c) &&
            cg_covers(&s->home, record_process_id(c->init).pid) == 0)
            return err_set(e, -EAGAIN, "a hierarchy that %s is in cannot be opened yet",
                           s->home.path);
    }
    return 0;
}

void sandbox_close(struct sandbox *s)
{
    cg_close(&s->vcpu);
    cg_close(&s->overhead);
    cg_close(&s->home);
}

/* The runtime's own cgroup has the container's limits, and is what the processes were in without us. Where
 * it is gone they get into the nearest one above it. Of a pod's nobody knows whose they are. */
static const char *way_out(const struct record *r)
{
    const struct record_container *only = (const struct record_container *)r->containers.items;

    return r->containers.count == 1 && only->runtime_path ? only->runtime_path : r->parent_path;
}

/* Empty a cgroup into @to. What got above it, as that is gone or does not take it, is worth a warning. */
static int move_out(struct cg_controller *c, const char *to, const struct record *r, struct err *e)
{
    autoarena a = ARENA_INIT;
    const char *where = to;
    unsigned moved = 0;
    int ret = cg_move_to(c, to, &moved, &where, &a, e);
    bool out = !str_eq(where, to) || str_eq_null(to, r->parent_path);

    if (moved > 0)
        log_msg(out ? LEVEL_WARNING : LEVEL_INFO, "%u leftover processes of %s were moved to %s%s",
                moved, c->path, where, out ? ", out of the sandbox's limits" : "");
    return ret;
}

/* Empty one cgroup of what is left in it. */
static int evacuate(struct cg_controller *c, const struct record *r,
                    const struct settings *settings, struct err *e)
{
    cg_thaw(c);
    return settings->leftovers == LEFTOVERS_KILL ? cg_kill(c, SIGKILL, e)
                                                 : move_out(c, way_out(r), r, e);
}

/* Whether a process is one of ours, but not this one. */
static bool is_our_program(pid_t pid)
{
    return pid != getpid() && program_is_run_by(pid);
}

static bool is_named(const struct record *r, pid_t pid)
{
    bool named =
        record_process_id(r->watcher).pid == pid || record_process_id(r->placeholder).pid == pid;

    for (size_t i = 0; !named && i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        named =
            record_process_id(c->init).pid == pid || record_process_id(c->placeholder).pid == pid;
    }
    return named;
}

/* Put there by us, or descended from one that was. */
static bool is_known(const struct record *r, pid_t pid)
{
    struct proc_stat st;

    if (is_our_program(pid))
        return true;
    for (unsigned i = 0; pid > 1 && i < MOVE_ROUNDS; i++) {
        if (is_named(r, pid))
            return true;
        if (proc_stat_read(pid, &st) < 0)
            return i == 0; /* it has ended; or there is nobody above it any more */
        pid = st.parent;
    }
    return false;
}

/* One that is ending is listed, but no longer moved; its cgroup is busy until it has ended. */
static bool is_ending(pid_t tid)
{
    struct proc_stat st;
    int r = proc_stat_read(tid, &st);

    return r == 0 ? st.exiting : r == -ESRCH;
}

/*
 * A record is written before anything is made. As long as it does not say that it was, or systemd says
 * that a scope is another one, whoever is in there may be a stranger. 1, 0; -errno it is not known.
 */
static int is_foreign(const struct cg_controller *c, const struct record *r, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;
    int ret = c->unit ? cg_unit_is_ours(c->unit, e) : 1;

    if (ret < 0)
        return ret == -EEXIST ? 1 : ret;
    if (r->made.value)
        return 0;
    ret = cg_processes(c, &a, &pids, e);
    for (size_t i = 0; ret == 0 && i < pids.count; i++)
        ret = !is_ending(pids.items[i]) && !is_known(r, pids.items[i]);
    return ret;
}

static int remove_cgroup(struct cg_controller *c, const struct record *r,
                         const struct settings *settings, int timeout_ms, struct err *e)
{
    struct err own = ERR_INIT;
    /* Most are empty, and the kernel removes no others: those are looked into. */
    int ret = c->unit ? -EBUSY : cg_delete(c, 0, NULL);

    for (unsigned round = 0; ret < 0 && round < REMOVE_ROUNDS; round++) {
        err_reset(&own);
        ret = cg_load(c, &own);
        /* Its parents may be there, or what systemd remembers of it. */
        if (ret == -ENOENT) {
            /* Somebody else's may have the name. */
            if (!r->made.value && c->unit && !c->unit->invocation[0])
                c->unit = NULL;
            ret = cg_delete(c, 0, e);
            return ret == -EEXIST ? 0 : ret;
        }
        if (ret == 0)
            ret = is_foreign(c, r, &own);
        if (ret > 0) {
            log_msg(LEVEL_WARNING,
                    "%s is left as it is: it is not the one that sandbox %s was to have", c->path,
                    r->sandbox_id);
            return 0;
        }
        if (ret == 0)
            ret = evacuate(c, r, settings, &own);
        if (ret == 0)
            ret = cg_delete(c, timeout_ms / REMOVE_ROUNDS, &own);
        if (ret != -EBUSY)
            break;
    }
    return ret < 0 ? err_set(e, ret, "%s", own.text) : 0;
}

/* As a runtime sees it: other threads may still be ending. 1; 0; -errno: it is not known. */
static int is_over(const struct record_container *c, struct err *e)
{
    struct proc_id id = record_process_id(c->init);
    struct proc_stat st;
    int ret = proc_stat_read(id.pid, &st);

    if (ret < 0 && ret != -ESRCH)
        return err_sys(e, ret, "cannot tell whether container %s lives", c->id);
    return ret == -ESRCH || st.start_time != id.start_time || st.exiting;
}

/* Of every container; those that are over and still have threads that end are waited for. */
static bool have_ended(const struct record *r, int timeout_ms)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);
        struct proc_id init = record_process_id(c->init);

        if (is_over(c, NULL) <= 0 || proc_wait_gone(&init, timeout_ms) < 0)
            return false;
    }
    return true;
}

/*
 * A runtime's own cgroup that is empty and nobody's any more. Its scope goes by systemd, which hears that it is
 * empty from its cgroup.events: what has gone before these were read stays to it what it was, for ever.
 */
static void remove_runtimes(const struct cg_host *all, const char *path, int timeout_ms)
{
    bool may_be_scope = cg_unit_is_known(cg_path_base(path)) != 0;
    struct cg_host host = {.mode = all->mode};
    struct cg_controller own;

    for (size_t i = 0; i < all->count; i++) {
        if (!may_be_scope || !all->hierarchies[i].v2)
            host.hierarchies[host.count++] = all->hierarchies[i];
    }
    cg_init(&own, &host, NULL, path, NULL);
    if (cg_load(&own, NULL) == 0)
        (void)cg_delete(&own, timeout_ms, NULL);
    cg_close(&own);
}

/*
 * What the runtime could not remove, as threads of the VM were still ending: on v2 in the cgroup inside of it,
 * on v1 in it, for as long as the quota lets them, which is the vCPUs' alone. It is empty, and nobody's any more.
 */
static void remove_dead_home(struct sandbox *s, const struct record *r, int timeout_ms)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;

    if (cg_load(&s->home, NULL) < 0 || !have_ended(r, timeout_ms) ||
        cg_processes(&s->home, &a, &pids, NULL) < 0)
        return;
    for (size_t i = 0; i < pids.count; i++) {
        if (!is_ending(pids.items[i]))
            return;
    }
    remove_runtimes(s->home.host, s->home.path, timeout_ms);
}

/* What the split has enabled in the runtime's cgroup; not where that is gone, or where the payload has
 * made a cgroup there that uses it by now. */
static int hold_back(struct cg_controller *child, struct err *e)
{
    int r = cg_load(child, e);

    if (r < 0 && r != -ENOENT)
        return r;
    err_reset(e);
    r = r == -ENOENT && child->domain_fd >= 0 ? cg_hold_back(child, CG_CTL_CPU, e) : 0;
    if (r != -EBUSY)
        return r;
    err_reset(e);
    return 0;
}

/* First the quota, so that no thread is without one in between. */
static int reunite_v2(struct sandbox *s, const struct record *r, int timeout_ms, struct err *e)
{
    struct fence fence;
    int ret = cg_load(&s->home, e);

    if (ret < 0 && ret != -ENOENT)
        return ret;
    err_reset(e);
    ret = fence_open(&fence, s->home.host, &r->fence, FD_NONE, e);
    if (ret == 0)
        ret = fence_restore(&fence, e);
    fence_close(&fence);
    if (ret < 0)
        return ret;
    ret = cg_load(&s->vcpu, e);
    if (ret == 0) {
        ret = cg_move_threads(&s->vcpu, &s->home, e);
    } else if (ret == -ENOENT) {
        err_reset(e);
        ret = 0;
    }
    if (ret == 0)
        ret = cg_delete(&s->vcpu, timeout_ms, e);
    return ret == 0 && r->cpu_enabled.value ? hold_back(&s->vcpu, e) : ret;
}

static int reunite_v1(struct sandbox *s, const struct record *r, int timeout_ms, struct err *e)
{
    int ret = cg_load(&s->overhead, e);

    if (ret == 0)
        ret = move_out(&s->overhead, s->home.path, r, e);
    else if (ret == -ENOENT)
        err_reset(e);
    return ret == 0 || ret == -ENOENT ? cg_delete(&s->overhead, timeout_ms, e) : ret;
}

/*
 * Layout nested: the runtime's cgroup, if there still is one, becomes what it was, with all of its
 * threads. Whether they live is the runtime's affair. What was there before any split is not ours, and
 * need not be looked at.
 */
static int reunite(struct sandbox *s, const struct record *r, int timeout_ms, struct err *e)
{
    int ret;

    if (!s->has_overhead || !r->cpu_enabled.set)
        return 0;
    ret = s->home.host->mode == CG_MODE_V2 ? reunite_v2(s, r, timeout_ms, e)
                                           : reunite_v1(s, r, timeout_ms, e);
    if (ret == 0)
        remove_dead_home(s, r, timeout_ms);
    return ret;
}

/* Versions before this had it in every hierarchy. */
static int remove_overhead(struct sandbox *s, const struct record *r,
                           const struct settings *settings, int timeout_ms, struct err *e)
{
    struct cg_controller all;
    int ret;

    cg_init(&all, s->home.host, s->overhead.parents, s->overhead.path, NULL);
    all.unit = s->overhead.unit;
    ret = remove_cgroup(&all, r, settings, timeout_ms, e);
    cg_close(&all);
    return ret;
}

/*
 * Remove the cgroups of layout sibling. Processes that are left in them are moved to the record's parent
 * cgroup (or the nearest that can hold them), or killed if the configuration says so. Goes on after a
 * failure and reports the first.
 */
static int remove_all(struct sandbox *s, const struct record *r, const struct settings *settings,
                      int timeout_ms, struct err *e)
{
    /* One of that name that is there without a split is not ours. */
    bool made = !s->overhead.borrowed && (r->cpu_enabled.set || s->overhead.unit);
    int first, second;

    /* What is in the overhead cgroup is frozen by this one. */
    if (made && cg_load(&s->home, NULL) == 0 && cg_is_frozen(&s->home) == 1)
        cg_thaw(&s->home);
    first = made ? remove_overhead(s, r, settings, timeout_ms, e) : 0;
    second = remove_cgroup(&s->home, r, settings, timeout_ms, e);
    return first < 0 ? first : second;
}

static int remove_if_empty(struct cg_controller *own, struct err *e)
{
    int ret = cg_load(own, e);

    if (ret == -ENOENT)
        err_reset(e);
    if (ret == 0)
        ret = cg_is_empty(own, e);
    if (ret > 0)
        remove_runtimes(own->host, own->path, 0);
    return ret < 0 && ret != -ENOENT ? ret : 0;
}

int sandbox_release(const struct cg_host *host, const struct record_container *c, struct err *e)
{
    struct proc_id id = record_process_id(c->placeholder);
    struct cg_controller own;
    int ret;

    if (!c->placeholder || !c->runtime_path)
        return child_stop(&id, e);
    cg_init(&own, host, NULL, c->runtime_path, NULL);
    (void)cg_load(&own, NULL);
    /* It ends only when it is thawed, and its runtime's cgroup may have been left frozen. */
    if (proc_alive(&id) > 0 && cg_is_frozen(&own) == 1)
        cg_thaw(&own);
    ret = child_stop(&id, e);
    if (ret == 0)
        ret = is_over(c, e);
    if (ret > 0)
        ret = remove_if_empty(&own, e);
    cg_close(&own);
    return ret;
}

/* The first failure of several steps. Each of them has an error of its own, as some reset theirs on the way. */
static int keep_first(int first, int ret, const struct err *own, struct err *e)
{
    return first < 0 ? first : ret < 0 ? err_set(e, ret, "%s", own->text) : 0;
}

/* The watcher and every placeholder. */
static int stop_children(const struct cg_host *host, const struct record *r, struct err *e)
{
    const struct proc_id watcher = record_process_id(r->watcher);
    const struct proc_id placeholder = record_process_id(r->placeholder);
    int ret = child_stop(&watcher, e), second = child_stop(&placeholder, e);

    ret = ret < 0 ? ret : second;
    for (size_t i = 0; i < r->containers.count; i++) {
        struct err own = ERR_INIT;
        int released =
            sandbox_release(host, &JSON_AT(r->containers, struct record_container, i), &own);

        ret = keep_first(ret, released, &own, e);
    }
    return ret;
}

static int is_in_use(struct cg_controller *c, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids = {0};
    int ret = cg_load(c, e);

    if (ret == 0)
        ret = cg_processes(c, &a, &pids, e);
    else if (ret == -ENOENT) {
        err_reset(e);
        ret = 0;
    }
    for (size_t i = 0; ret == 0 && i < pids.count; i++)
        ret = !is_ending(pids.items[i]) && !is_our_program(pids.items[i]);
    cg_close(c);
    return ret;
}

int sandbox_is_in_use(const struct cg_host *host, const struct record *r, struct err *e)
{
    struct sandbox s;
    int ret;

    sandbox_init(&s, host, NULL, r);
    ret = is_in_use(&s.home, e);
    return ret == 0 && !s.overhead.borrowed ? is_in_use(&s.overhead, e) : ret;
}

int sandbox_path_is_in_use(const struct cg_host *host, const char *path, struct err *e)
{
    struct cg_controller c;

    cg_init(&c, host, NULL, path, NULL);
    return is_in_use(&c, e);
}

static void end_children_in(const struct cg_controller *c)
{
    autoarena a = ARENA_INIT;
    struct cg_members list = {0};

    cg_members(c, &a, &list, NULL);
    for (size_t i = 0; i < list.count; i++) {
        if (is_our_program(list.items[i].pid))
            child_stop(&list.items[i], NULL);
    }
}

void sandbox_end_children(const struct cg_host *host, const struct record *r)
{
    struct sandbox s;

    sandbox_init(&s, host, NULL, r);
    if (sandbox_load(&s, NULL) == 0) {
        end_children_in(&s.overhead);
        end_children_in(&s.home);
    }
    sandbox_close(&s);
}

/* It may be another one than that of this stage. */
static void tell_removed(const struct record *r)
{
    const struct log_context stage = log_about;

    if (!stage.sandbox_id || !str_eq(stage.sandbox_id, r->sandbox_id))
        log_about.container_id = NULL;
    log_about.sandbox_id = r->sandbox_id;
    log_about.cgroup = r->sandbox_path;
    log_event(EVENT_REMOVED, "sandbox %s is removed", r->sandbox_id);
    log_about = stage;
}

int sandbox_destroy(const struct state_dir *state, const struct cg_host *host,
                    const struct record *r, const struct settings *settings, int timeout_ms,
                    struct state_lock *lock, struct err *e)
{
    struct cg_parents parents = state->parents;
    struct err own = ERR_INIT;
    struct sandbox s;
    int ret = stop_children(host, r, e), removed;

    sandbox_init(&s, host, &parents, r);
    removed = s.is_nested ? reunite(&s, r, timeout_ms, &own)
                          : remove_all(&s, r, settings, timeout_ms, &own);
    sandbox_close(&s);
    ret = keep_first(ret, removed, &own, e);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < r->containers.count; i++)
        links_drop_container(state, JSON_AT(r->containers, struct record_container, i).id,
                             r->sandbox_id);
    ret = state_remove(state, r->sandbox_id, r, lock, e);
    if (ret == 0)
        tell_removed(r);
    return ret;
}
