/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/sandbox.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/links.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A process may fork while it is being moved out, or be born from one that was. */
#define REMOVE_ROUNDS 5

/* "/a/b/threads/sandbox" below "/a/b" is "threads/sandbox"; NULL while the record has no path. */
static const char *leaf_of(const char *domain, const char *path)
{
    return path && str_starts(path, domain) && path[strlen(domain)] == '/'
               ? path + strlen(domain) + 1
               : NULL;
}

/*
 * Layout nested stays out of v1's cpuset and devices: what the runtime narrows there in its own
 * cgroup is refused while a child has more (cpuset), or gone from the child for ever when it is
 * widened again (devices, which systemd also rewrites whenever it reloads).
 */
static void leave_out_inherited(const struct cg_host *host, struct cg_host *ret)
{
    const unsigned inherited = CG_CTL_BIT(CG_CTL_CPUSET) | CG_CTL_BIT(CG_CTL_DEVICES);

    *ret = (struct cg_host){.mode = host->mode};
    for (size_t i = 0; i < host->count; i++) {
        if (host->hierarchies[i].v2 || !(host->hierarchies[i].controllers & inherited))
            ret->hierarchies[ret->count++] = host->hierarchies[i];
    }
}

void sandbox_init(struct sandbox *s, const struct cg_host *host, struct cg_parents *parents,
                  const struct record *r)
{
    bool split = !r->sandbox_cgroup_only.value, in_domain = split && host->mode == CG_MODE_V2;

    *s = (struct sandbox){.has_overhead = split};
    if (r->layout && str_eq(r->layout, layout_name(LAYOUT_NESTED))) {
        leave_out_inherited(host, &s->nested);
        host = &s->nested;
    }
    cg_init(&s->vcpu, host, parents, r->sandbox_path,
            in_domain ? leaf_of(r->sandbox_path, r->vcpu_path) : NULL, true);
    cg_init(&s->overhead, host, parents, split && !in_domain ? r->overhead_path : r->sandbox_path,
            in_domain ? leaf_of(r->sandbox_path, r->overhead_path) : NULL, false);
    if (r->sandbox_unit) {
        s->sandbox_unit = (struct cg_unit){.name = r->sandbox_unit, .slice = r->slice};
        s->vcpu.unit = &s->sandbox_unit;
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

int sandbox_load(struct sandbox *s, struct err *e)
{
    int r = cg_load(&s->vcpu, e), r2 = -ENOENT;

    if (r < 0 && r != -ENOENT)
        return r;
    if (s->has_overhead) {
        err_reset(e);
        r2 = cg_load(&s->overhead, e);
        if (r2 < 0 && r2 != -ENOENT)
            return r2;
    }
    if (r == 0 || r2 == 0) {
        err_reset(e);
        return 0;
    }
    return -ENOENT;
}

void sandbox_close(struct sandbox *s)
{
    cg_close(&s->vcpu);
    cg_close(&s->overhead);
}

/* Empty one cgroup of what is left in it. */
static int evacuate(struct cg_controller *c, const struct record *r,
                    const struct settings *settings, struct err *e)
{
    autoarena a = ARENA_INIT;
    const char *where = r->parent_path;
    unsigned moved = 0;
    int ret;

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

/*
 * Remove both cgroups. Processes that are left in them are moved to the record's parent cgroup (or
 * the nearest that can hold them), or killed if the configuration says so. Goes on after a failure
 * and reports the first.
 */
static int remove_both(struct sandbox *s, const struct record *r, const struct settings *settings,
                       int timeout_ms, struct err *e)
{
    /* The overhead first: on v2 it is a child of the sandbox cgroup. */
    int first = s->has_overhead ? remove_cgroup(&s->overhead, r, settings, timeout_ms, e) : 0;
    int second = remove_cgroup(&s->vcpu, r, settings, timeout_ms, e);

    return first < 0 ? first : second;
}

static int stop(const struct record_process *p, int first, struct err *e)
{
    struct proc_id id = record_process_id(p);
    int ret = child_stop(&id, e);

    return first < 0 ? first : ret;
}

/* The watcher and every placeholder. */
static int stop_children(const struct record *r, struct err *e)
{
    int ret = stop(r->watcher, 0, e);

    ret = stop(r->placeholder, ret, e);
    for (size_t i = 0; i < r->containers.count; i++)
        ret = stop(JSON_AT(r->containers, struct record_container, i).placeholder, ret, e);
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
        if (s.has_overhead)
            end_children_in(&s.overhead);
        end_children_in(&s.vcpu);
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

    first = stop_children(r, e);
    sandbox_init(&s, host, &parents, r);
    ret = remove_both(&s, r, settings, timeout_ms, e);
    sandbox_close(&s);
    if (first < 0 || ret < 0)
        return first < 0 ? first : ret;
    for (size_t i = 0; i < r->containers.count; i++)
        links_drop_container(state, JSON_AT(r->containers, struct record_container, i).id,
                             r->sandbox_id);
    state_remove(state, r->sandbox_id, r->sandbox_path, lock);
    return 0;
}
