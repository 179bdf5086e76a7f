/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/sandbox.h"

#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/plan/quota.h"

#include <errno.h>
#include <signal.h>

/* A cgroup that has no CPU quota for the moment, and the one that it is to have again; "": it has one, or none is
 * known. */
struct lifted {
    const struct cg_controller *cgroup;
    char quota[QUOTA_TEXT_SIZE];
};

/* The directory that has the CPU quota; below zero: it is not there. */
static int cpu_dir(const struct cg_controller *c)
{
    const struct cg_hierarchy *cpu = cg_host_find(c->host, CG_CTL_CPU);

    return cpu ? c->fds[cpu - c->host->hierarchies] : FD_NONE;
}

static const char *quota_file(const struct cg_controller *c)
{
    return c->host->mode == CG_MODE_V2 ? "cpu.max" : "cpu.cfs_quota_us";
}

static void lift(struct lifted *l, struct cg_controller *c)
{
    const char *none = c->host->mode == CG_MODE_V2 ? "max" : "-1";

    *l = (struct lifted){.cgroup = c};
    if (cg_load(c, NULL) < 0 || cpu_dir(c) < 0 ||
        io_read_at(cpu_dir(c), quota_file(c), l->quota, sizeof l->quota) < 0 ||
        str_starts(l->quota, none) || io_write_at(cpu_dir(c), quota_file(c), none) < 0)
        l->quota[0] = '\0';
}

static void give_back(const struct lifted *l)
{
    int r = l->quota[0] ? io_write_at(cpu_dir(l->cgroup), quota_file(l->cgroup), l->quota) : 0;
    struct err e = ERR_INIT;

    if (r == 0 || r == -ENOENT || r == -ENODEV)
        return;
    err_sys(&e, r, "cannot give the CPU quota back to %s", l->cgroup->path);
    log_msg(LEVEL_WARNING, "%s", e.text);
}

/* Who dies needs CPU time for it, and before Linux 6.18 gets none while its cgroup is throttled
 * (kernel/sched/fair.c). */
static int wait_without_quota(struct sandbox *s, const struct proc_id *init)
{
    struct lifted home, part = {0};
    int r;

    lift(&home, &s->home);
    if (s->has_overhead)
        lift(&part, s->overhead.borrowed ? &s->vcpu : &s->overhead);
    r = proc_wait_gone(init, SANDBOX_PATIENCE_MS);
    give_back(&part);
    give_back(&home);
    return r;
}

int sandbox_end_init(const struct cg_host *host, const struct record *r,
                     const struct record_container *c, bool is_last, struct err *e)
{
    struct proc_id init = record_process_id(c->init);
    struct sandbox s;
    int ret;

    if (!proc_alive(&init))
        return 0;
    sandbox_init(&s, host, NULL, r);
    if (cg_load(&s.home, NULL) == 0)
        cg_thaw(&s.home);
    ret = proc_signal(&init, SIGKILL);
    if (ret == 0) {
        log_msg(
            LEVEL_WARNING,
            "process %d of container %s, which the runtime has declared dead, was alive: it was "
            "killed",
            (int)init.pid, c->id);
        ret = is_last ? wait_without_quota(&s, &init) : proc_wait_gone(&init, SANDBOX_PATIENCE_MS);
    }
    sandbox_close(&s);
    if (ret == 0 || ret == -ESRCH)
        return 0;
    return err_sys(e, ret, "cannot end process %d of container %s, which has to be dead by now",
                   (int)init.pid, c->id);
}
