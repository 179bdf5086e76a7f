/* SPDX-License-Identifier: Apache-2.0 */

/* `update`: have a sandbox tended, now and by a watcher. */

#include "base/cleanup.h"
#include "base/err.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/sandbox.h"
#include "hook/tool/verbs.h"
#include "hook/tool/view.h"
#include "hook/vcpu/vcpu.h"
#include "hook/watch/scan.h"
#include "hook/watch/watcher.h"

#include <errno.h>

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

/* One that was killed; one that has left by itself is not recorded. What is not yet let go ends with this process. */
static int start_watcher(const struct options *o, struct view *v, const struct settings *settings,
                         struct arena *a, struct err *e)
{
    struct proc_id old = record_process_id(v->record.watcher);
    struct child watcher = CHILD_INIT;
    int works = old.pid > 0 ? child_works(&old) : 1;
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

int verb_update(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e)
{
    struct view v = VIEW_INIT;
    struct scan_result result;
    struct sandbox s;
    struct scan scan = {.sandbox = &s, .settings = settings, .kvm_dirfd = FD_NONE};
    autofd kvm_dir = FD_NONE;
    int r = view_open_sandbox(o, a, &v, e);

    if (r == 0 && !v.record.sandbox_cgroup_only.value) {
        sandbox_init(&s, &v.host, NULL, &v.record);
        kvm_dir = vcpu_kvm_open();
        scan.kvm_dirfd = kvm_dir;
        scan.own[0] = record_process_id(v.record.watcher).pid;
        scan.own[1] = record_process_id(v.record.placeholder).pid;
        scan.kernel_evidence = scan_needs_evidence(&scan);
        r = sandbox_load(&s, e);
        if (r == 0)
            r = is_split(&s, &v.record, e);
        scan.hold = r == 0;
        if (r >= 0)
            r = scan_pass(&scan, SCAN_ALL, &result, e);
        scan_free(&scan);
        sandbox_close(&s);
    }
    if (r == 0)
        r = start_watcher(o, &v, settings, a, e);
    view_close(&v);
    return r;
}
