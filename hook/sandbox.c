/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DELETE_TIMEOUT_MS  5000
#define WATCHER_TIMEOUT_MS 5000
/* A process may fork while it is being moved out, or be born from one that was. */
#define REMOVE_ROUNDS 5

void sandbox_init(struct sandbox *s, const struct cg_host *host, struct cg_parents *parents,
                  const struct record *r)
{
    bool split = !r->sandbox_cgroup_only.value, v2 = host->mode == CG_MODE_V2;

    s->has_overhead = split;
    cg_init(&s->vcpu, host, parents, r->sandbox_path, split && v2 ? PLAN_VCPU_LEAF : NULL, true);
    cg_init(&s->overhead, host, parents, split && !v2 ? r->overhead_path : r->sandbox_path,
            split && v2 ? PLAN_OVERHEAD_LEAF : NULL, false);
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
                    const struct hook_config *config, struct err *e)
{
    autoarena a = ARENA_INIT;
    const char *where = r->parent_path;
    unsigned moved = 0;
    int ret;

    if (config->leftovers == LEFTOVERS_KILL)
        return cg_kill(c, SIGKILL, e);
    ret = cg_move_to(c, r->parent_path, &moved, &where, &a, e);
    if (moved > 0)
        log_msg(LEVEL_INFO, "%u leftover processes of %s were moved to %s", moved, c->path, where);
    return ret;
}

static int remove_cgroup(struct cg_controller *c, const struct record *r,
                         const struct hook_config *config, struct err *e)
{
    struct err own = ERR_INIT;
    int ret = 0;

    for (unsigned round = 0; round < REMOVE_ROUNDS; round++) {
        err_reset(&own);
        ret = cg_load(c, &own);
        if (ret == -ENOENT)
            return 0;
        if (ret == 0)
            ret = evacuate(c, r, config, &own);
        if (ret == 0)
            ret = cg_delete(c, DELETE_TIMEOUT_MS / REMOVE_ROUNDS, &own);
        if (ret != -EBUSY)
            break;
    }
    return ret < 0 ? err_set(e, ret, "%s", own.text) : 0;
}

int sandbox_remove(struct sandbox *s, const struct record *r, const struct hook_config *config,
                   struct err *e)
{
    /* The overhead first: on v2 it is a child of the sandbox cgroup. */
    int first = s->has_overhead ? remove_cgroup(&s->overhead, r, config, e) : 0;
    int second = remove_cgroup(&s->vcpu, r, config, e);

    return first < 0 ? first : second;
}

int sandbox_stop_watcher(const struct record *r, struct err *e)
{
    struct proc_id id = record_process_id(r->watcher);
    int ret;

    /* The watcher itself tears down a sandbox that died without poststop. */
    if (id.pid <= 0 || id.pid == getpid())
        return 0;
    if (proc_signal(&id, SIGTERM) == -ESRCH)
        return 0;
    ret = proc_wait_gone(&id, WATCHER_TIMEOUT_MS);
    if (ret == -ETIMEDOUT) {
        proc_signal(&id, SIGKILL);
        ret = proc_wait_gone(&id, WATCHER_TIMEOUT_MS);
    }
    return ret < 0 ? err_sys(e, ret, "cannot end the watcher, process %d", (int)id.pid) : 0;
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

void sandbox_end_watchers(const struct cg_host *host, const struct record *r)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids = {0};
    struct sandbox s;

    sandbox_init(&s, host, NULL, r);
    if (s.has_overhead && sandbox_load(&s, NULL) == 0)
        cg_processes(&s.overhead, &a, &pids, NULL);
    for (size_t i = 0; i < pids.count; i++) {
        struct proc_id id;

        if (!is_our_program(pids.items[i]) || proc_identify(pids.items[i], &id) < 0)
            continue;
        proc_signal(&id, SIGTERM);
        proc_wait_gone(&id, WATCHER_TIMEOUT_MS);
    }
    sandbox_close(&s);
}

int sandbox_destroy(const struct state_dir *state, const struct cg_host *host,
                    const struct record *r, const struct hook_config *config,
                    struct record_lock *lock, struct err *e)
{
    struct cg_parents parents = state->parents;
    struct sandbox s;
    int first, ret;

    first = sandbox_stop_watcher(r, e);
    sandbox_init(&s, host, &parents, r);
    ret = sandbox_remove(&s, r, config, e);
    sandbox_close(&s);
    if (first < 0 || ret < 0)
        return first < 0 ? first : ret;
    for (size_t i = 0; i < r->containers.count; i++)
        record_unlink(state, JSON_AT(r->containers, struct record_container, i).id);
    record_remove(state, r->sandbox_id, lock);
    return 0;
}
