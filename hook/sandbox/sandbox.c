/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/sandbox.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/fence.h"
#include "hook/sandbox/links.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
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

static void add_hierarchy(const struct cg_hierarchy *h, struct cg_host *ret)
{
    for (size_t i = 0; h && i < ret->count; i++) {
        if (ret->hierarchies[i].fd == h->fd)
            return;
    }
    if (h)
        ret->hierarchies[ret->count++] = *h;
}

/* On v1 threads are set apart where CPU time is limited, in a cgroup of ours also where it is counted,
 * and nowhere else. */
static void only_cpu(const struct cg_host *host, bool counted, struct cg_host *ret)
{
    *ret = (struct cg_host){.mode = host->mode};
    add_hierarchy(cg_host_find(host, CG_CTL_CPU), ret);
    if (counted && ret->count > 0)
        add_hierarchy(cg_host_find(host, CG_CTL_CPUACCT), ret);
}

static void init_units(struct sandbox *s, const struct record *r)
{
    if (r->sandbox_unit) {
        s->sandbox_unit = (struct cg_unit){.name = r->sandbox_unit, .slice = r->slice};
        s->home.unit = &s->sandbox_unit;
    }
    if (r->overhead_unit) {
        s->overhead_unit = (struct cg_unit){
            .name = r->overhead_unit,
            .slice = PLAN_OVERHEAD_SLICE,
            .own_slice = true,
        };
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

void sandbox_close(struct sandbox *s)
{
    cg_close(&s->vcpu);
    cg_close(&s->overhead);
    cg_close(&s->home);
}

/* Empty one cgroup of what is left in it. */
static int evacuate(struct cg_controller *c, const struct record *r,
                    const struct settings *settings, struct err *e)
{
    autoarena a = ARENA_INIT;
    const char *where = r->parent_path;
    unsigned moved = 0;
    int ret;

    cg_thaw(c);
    if (settings->leftovers == LEFTOVERS_KILL)
        return cg_kill(c, SIGKILL, e);
    ret = cg_move_to(c, r->parent_path, &moved, &where, &a, e);
    if (moved > 0)
        log_msg(LEVEL_INFO, "%u leftover processes of %s were moved to %s", moved, c->path, where);
    return ret;
}

static int remove_cgroup(struct cg_controller *c, const struct record *r,
                         const struct settings *settings, int timeout_ms, struct err *e)
{
    struct err own = ERR_INIT;
    int ret = 0;

    for (unsigned round = 0; round < REMOVE_ROUNDS; round++) {
        err_reset(&own);
        ret = cg_load(c, &own);
        /* Its parents may be there. */
        if (ret == -ENOENT)
            return cg_delete(c, 0, e);
        if (ret == 0)
            ret = evacuate(c, r, settings, &own);
        if (ret == 0)
            ret = cg_delete(c, timeout_ms / REMOVE_ROUNDS, &own);
        if (ret != -EBUSY)
            break;
    }
    return ret < 0 ? err_set(e, ret, "%s", own.text) : 0;
}

/* One that is ending is listed, but no longer moved; its cgroup is busy until it has ended. */
static bool is_ending(pid_t tid)
{
    struct proc_stat st;

    return proc_stat_read(tid, &st) < 0 || st.exiting;
}

/* Threads of the vCPUs' cgroup back to the runtime's; new ones may be born meanwhile. */
static int move_home(struct sandbox *s, struct err *e)
{
    for (unsigned round = 0; round < MOVE_ROUNDS; round++) {
        autoarena a = ARENA_INIT;
        struct cg_pids tids;
        size_t living = 0;
        int r = cg_threads(&s->vcpu, &a, &tids, e);

        for (size_t i = 0; r == 0 && i < tids.count; i++) {
            if (is_ending(tids.items[i]))
                continue;
            living++;
            r = cg_add_thread(&s->home, tids.items[i], e);
            if (r == -ESRCH) {
                err_reset(e);
                r = 0;
            }
        }
        if (r < 0 || living == 0)
            return r;
    }
    return err_set(e, -EBUSY, "threads keep appearing in %s", s->vcpu.path);
}

/*
 * What the runtime could not remove, as threads of the VM were still ending in the cgroup inside of it.
 * It is empty, and nobody's any more. (On v1 ours is beside it, and in nobody's way.)
 */
static void remove_dead_home(struct sandbox *s, const struct record *r, int timeout_ms)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;

    if (record_is_alive(r) || cg_load(&s->home, NULL) < 0 ||
        cg_processes(&s->home, &a, &pids, NULL) < 0)
        return;
    for (size_t i = 0; i < pids.count; i++) {
        if (!is_ending(pids.items[i]))
            return;
    }
    s->home.borrowed = false;
    (void)cg_delete(&s->home, timeout_ms, NULL);
    s->home.borrowed = true;
}

/* What the split has enabled in the runtime's cgroup; not where that is gone, or where the payload has
 * made a cgroup there that uses it by now. */
static int hold_back(struct cg_controller *child, struct err *e)
{
    int r = cg_load(child, NULL) == -ENOENT && child->domain_fd >= 0
                ? cg_hold_back(child, CG_CTL_CPU, e)
                : 0;

    if (r != -EBUSY)
        return r;
    err_reset(e);
    return 0;
}

/* First the quota, so that no thread is without one in between. */
static int reunite_v2(struct sandbox *s, const struct record *r, int timeout_ms, struct err *e)
{
    struct fence fence;
    int ret = fence_open(&fence, s->home.host, &r->fence, FD_NONE, e);

    if (ret == 0)
        ret = fence_restore(&fence, e);
    fence_close(&fence);
    if (ret < 0)
        return ret;
    ret = cg_load(&s->vcpu, NULL) == 0 ? move_home(s, e) : 0;
    if (ret == 0)
        ret = cg_delete(&s->vcpu, timeout_ms, e);
    if (ret == 0 && r->cpu_enabled.value)
        ret = hold_back(&s->vcpu, e);
    if (ret == 0)
        remove_dead_home(s, r, timeout_ms);
    return ret;
}

static int reunite_v1(struct sandbox *s, int timeout_ms, struct err *e)
{
    autoarena a = ARENA_INIT;
    int ret = cg_load(&s->overhead, NULL);

    if (ret == 0)
        ret = cg_move_to(&s->overhead, s->home.path, NULL, NULL, &a, e);
    return ret == 0 || ret == -ENOENT ? cg_delete(&s->overhead, timeout_ms, e) : ret;
}

/*
 * Layout nested: the runtime's cgroup, if there still is one, becomes what it was, with all of its
 * threads. Whether they live is the runtime's affair. What was there before any split is not ours.
 */
static int reunite(struct sandbox *s, const struct record *r, int timeout_ms, struct err *e)
{
    int ret = cg_load(&s->home, e);

    if (ret < 0 && ret != -ENOENT)
        return ret;
    err_reset(e);
    if (!s->has_overhead || !r->cpu_enabled.set)
        return 0;
    return s->home.host->mode == CG_MODE_V2 ? reunite_v2(s, r, timeout_ms, e)
                                            : reunite_v1(s, timeout_ms, e);
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
    int first = made ? remove_overhead(s, r, settings, timeout_ms, e) : 0;
    int second = remove_cgroup(&s->home, r, settings, timeout_ms, e);

    return first < 0 ? first : second;
}

static int stop(const struct record_process *p, int first, struct err *e)
{
    struct proc_id id = record_process_id(p);
    int ret = child_stop(&id, e);

    return first < 0 ? first : ret;
}

/* As a runtime sees it: other threads may still be ending. */
static bool is_over(const struct record_container *c)
{
    struct proc_id id = record_process_id(c->init);
    struct proc_stat st;
    int ret = proc_stat_read(id.pid, &st);

    return ret == 0 ? st.start_time != id.start_time || st.exiting : ret == -ESRCH;
}

int sandbox_release(const struct cg_host *host, const struct record_container *c, struct err *e)
{
    struct proc_id id = record_process_id(c->placeholder);
    struct cg_controller own;
    int ret = child_stop(&id, e);

    if (ret < 0 || !c->placeholder || !c->runtime_path || !is_over(c))
        return ret;
    cg_init(&own, host, NULL, c->runtime_path, NULL);
    if (cg_load(&own, NULL) == 0 && cg_is_empty(&own))
        (void)cg_delete(&own, 0, NULL);
    cg_close(&own);
    return 0;
}

/* The watcher and every placeholder. */
static int stop_children(const struct cg_host *host, const struct record *r, struct err *e)
{
    int ret = stop(r->watcher, 0, e);

    ret = stop(r->placeholder, ret, e);
    for (size_t i = 0; i < r->containers.count; i++) {
        int own = sandbox_release(host, &JSON_AT(r->containers, struct record_container, i), e);

        ret = ret < 0 ? ret : own;
    }
    return ret;
}

/* Whether a process runs the program that we are: the same file, whatever it is called. */
static bool is_our_program(pid_t pid)
{
    struct stat own, other;
    char path[32];

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return pid != getpid() && stat("/proc/self/exe", &own) == 0 && stat(path, &other) == 0 &&
           own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

static void end_children_in(const struct cg_controller *c)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids = {0};

    cg_processes(c, &a, &pids, NULL);
    for (size_t i = 0; i < pids.count; i++) {
        struct proc_id id;

        if (is_our_program(pids.items[i]) && proc_identify(pids.items[i], &id) == 0)
            child_stop(&id, NULL);
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

int sandbox_destroy(const struct state_dir *state, const struct cg_host *host,
                    const struct record *r, const struct settings *settings, int timeout_ms,
                    struct state_lock *lock, struct err *e)
{
    struct cg_parents parents = state->parents;
    struct sandbox s;
    int first, ret;

    first = stop_children(host, r, e);
    sandbox_init(&s, host, &parents, r);
    ret = s.is_nested ? reunite(&s, r, timeout_ms, e) : remove_all(&s, r, settings, timeout_ms, e);
    sandbox_close(&s);
    if (first < 0 || ret < 0)
        return first < 0 ? first : ret;
    for (size_t i = 0; i < r->containers.count; i++)
        links_drop_container(state, JSON_AT(r->containers, struct record_container, i).id,
                             r->sandbox_id);
    state_remove(state, r->sandbox_id, r->sandbox_path, lock);
    return 0;
}
