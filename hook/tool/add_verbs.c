/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `add-process` and `add-thread`: what a setup and the watcher do, of one that somebody names. A process goes where
 * a setup puts it, and its threads are sorted by the watcher; a thread goes only where the watcher would have it.
 */

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/tool/inside.h"
#include "hook/tool/member.h"
#include "hook/tool/target.h"
#include "hook/tool/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int parse_id(const char *text, const char *what, pid_t *ret, struct err *e)
{
    uint64_t number;
    char shown[64];

    if (str_to_u64(text, strlen(text), &number) < 0 || number == 0 || number > INT32_MAX)
        return err_input(e, "\"%s\" is no number of a %s", str_escape(text, shown, sizeof shown),
                         what);
    *ret = (pid_t)number;
    return 0;
}

static void say(const struct options *o, const struct target *t, const char *what, pid_t id,
                bool changed)
{
    char shown[300];

    if (o->json) {
        struct json_writer *w = target_answer(t);

        json_i64(w, what, id);
        json_bool(w, "changed", changed);
        json_close_object(w);
        view_print(w);
        return;
    }
    printf("%s: %s %d %s,", str_escape(t->v.record.sandbox_id, shown, sizeof shown),
           str_eq(what, "pid") ? "process" : "thread", (int)id, changed ? "added" : "was already");
    target_print(t);
}

/* ---- a process ---- */

/* A watcher, a placeholder, or this verb; one of another version is known by its name alone. */
static bool is_ours(pid_t pid, const struct proc_stat *st)
{
    struct stat own, other;
    char path[32];

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return str_starts(st->comm, "osc-") ||
           (stat("/proc/self/exe", &own) == 0 && stat(path, &other) == 0 &&
            own.st_dev == other.st_dev && own.st_ino == other.st_ino);
}

/* What it is, wherever it is. */
static int check_process(pid_t pid, struct proc_id *ret, struct err *e)
{
    struct proc_stat st = {0};
    int r = proc_identify(pid, ret);
    pid_t process;

    if (r == 0)
        r = proc_stat_read(pid, &st);
    if (r == -ESRCH)
        return err_set(e, r, "there is no process %d", (int)pid);
    if (r < 0)
        return err_sys(e, r, "cannot see what process %d is", (int)pid);
    process = proc_process_of(pid);
    if (process != pid)
        return err_set(e, -EINVAL,
                       "%d is a thread of process %d; a thread that is a vCPU is for "
                       "add-thread, all of a process for add-process",
                       (int)pid, (int)process);
    if (st.is_kernel)
        return err_set(e, -EPERM, "process %d is a kernel thread", (int)pid);
    if (pid == 1)
        return err_set(e, -EPERM, "process 1 is the host's init");
    if (is_ours(pid, &st))
        return err_set(e, -EPERM, "process %d is one of our own, which must not be in a sandbox",
                       (int)pid);
    return 0;
}

/* 1 it is in @id; 0; -errno. */
static int is_of(const struct state_dir *state, const struct cg_host *host, const char *id,
                 const struct cg_origin *origin, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct state_lock look = STATE_LOCK_INIT;
    enum record_state found = RECORD_NONE;
    struct record r;
    int ret = state_look(state, id, &look, e);

    if (ret == 0)
        ret = record_read(&look, &a, &r, &found, e);
    state_unlock(&look);
    if (ret < 0 || found != RECORD_VALID)
        return ret == -ENOENT ? 0 : ret;
    for (size_t i = 0; i < host->count; i++) {
        if (origin->paths[i] && member_is_of(&r, origin->paths[i]))
            return 1;
    }
    return 0;
}

/* That of no other sandbox. */
static int check_owner(const struct target *t, pid_t pid, const struct cg_origin *origin,
                       struct arena *a, struct err *e)
{
    const char **ids;
    char shown[300];
    size_t count;
    int r = state_list(&t->v.state, a, &ids, &count, e);

    for (size_t i = 0; r == 0 && i < count; i++) {
        struct err own = ERR_INIT;

        if (str_eq(ids[i], t->v.record.sandbox_id))
            continue;
        r = is_of(&t->v.state, &t->v.host, ids[i], origin, &own);
        str_escape(ids[i], shown, sizeof shown);
        if (r < 0)
            return err_set(e, r, "cannot tell whether process %d is of sandbox \"%s\": %s",
                           (int)pid, shown, own.text);
        if (r > 0)
            return err_set(e, -EPERM, "process %d is of sandbox \"%s\"", (int)pid, shown);
    }
    return r;
}

/* 1 it may join; 0 it is in there; -EPERM. */
static int check_place(const struct target *t, pid_t pid, const struct cg_origin *origin,
                       struct err *e)
{
    struct member_at at[CG_MAX_HIERARCHIES];
    size_t which[CG_MAX_HIERARCHIES], count = 0, bad = 0;
    const struct cg_controller *home = &t->s.home;
    char shown[4096];

    for (size_t i = 0; i < t->v.host.count; i++) {
        if (home->fds[i] < 0)
            continue;
        at[count] = (struct member_at){member_place(&t->v.record, home->path, origin->paths[i]),
                                       t->v.host.hierarchies[i].controllers != 0};
        which[count++] = i;
    }
    switch (member_judge(at, count, &bad)) {
    case MEMBER_IS_IN:
        return 0;
    case MEMBER_MAY_JOIN:
        return 1;
    default:
        break;
    }
    return err_set(
        e, -EPERM,
        "process %d is in %s (%s), which %s is not in: it would leave the limits that hold it "
        "there; where they are not wanted put it into the root cgroup first",
        (int)pid,
        origin->paths[which[bad]] ? str_escape(origin->paths[which[bad]], shown, sizeof shown)
                                  : "a cgroup that is not mounted here",
        t->v.host.hierarchies[which[bad]].v2 ? "cgroup2" : t->v.host.hierarchies[which[bad]].name,
        home->path);
}

/* Where a setup puts it; or it stays where it was, also where a hierarchy has it that it has ended, and lives. */
static int join(struct target *t, const struct proc_id *id, const struct cg_origin *origin,
                struct err *e)
{
    int r = cg_add_process(&t->s.home, id, e);
    struct err own = ERR_INIT;

    if (r < 0 && cg_origin_enter(&t->v.host, id, origin, &own) < 0 && proc_alive(id) != 0)
        err_hint(e, "; and it is not everywhere where it was: %s", own.text);
    return r;
}

/* Of one that has ended the rest is to be removed, and who is in it with that. */
static int check_alive(const struct target *t, struct err *e)
{
    int alive = record_is_alive(&t->v.record);

    if (alive < 0)
        return err_sys(e, alive, "cannot tell whether a container of sandbox \"%s\" runs",
                       t->v.record.sandbox_id);
    return alive > 0 ? 0
                     : err_set(e, -ESRCH, "no container of sandbox \"%s\" runs any more",
                               t->v.record.sandbox_id);
}

int verb_add_process(const struct options *o, const struct settings *settings, struct arena *a,
                     struct err *e)
{
    struct target t;
    struct proc_id id;
    struct cg_origin origin;
    pid_t pid;
    int r = parse_id(o->operands[1], "process", &pid, e);
    bool joins;

    (void)settings;
    if (r < 0)
        return r;
    r = target_open(o, a, &t, e);
    if (r == 0)
        r = check_alive(&t, e);
    if (r == 0)
        r = check_process(pid, &id, e);
    if (r == 0)
        r = cg_origin_read(&t.v.host, pid, a, &origin, e);
    if (r == 0)
        r = check_owner(&t, pid, &origin, a, e);
    if (r == 0)
        r = check_place(&t, pid, &origin, e);
    joins = r > 0;
    if (joins)
        r = join(&t, &id, &origin, e);
    if (r == 0)
        say(o, &t, "pid", pid, joins);
    target_close(&t);
    return r;
}

/* ---- a thread ---- */

/* Whether vCPUs are apart: before that all is in one cgroup, and setting them apart is the watcher's work, as their
 * quota goes before them. */
static int check_split(struct target *t, struct err *e)
{
    int r;

    if (!t->s.has_overhead)
        return err_set(e, -EOPNOTSUPP,
                       "sandbox \"%s\" has all threads in one cgroup (sandbox_cgroup_only); "
                       "add-process puts a process there",
                       t->v.record.sandbox_id);
    r = t->v.record.cpu_enabled.set ? cg_load(&t->s.vcpu, e) : -ENOENT;
    if (r == 0)
        r = cg_load(&t->s.overhead, e);
    if (r != -ENOENT)
        return r;
    err_reset(e);
    return err_set(e, r,
                   "the vCPUs of sandbox \"%s\" are not apart yet, so all of its threads are under "
                   "its limits; the watcher sets them apart when it finds some, see `show`",
                   t->v.record.sandbox_id);
}

static int by_tid(const void *a, const void *b)
{
    return cg_pid_compare(&((const struct scan_thread *)a)->tid,
                          &((const struct scan_thread *)b)->tid);
}

/* 1 it is to be moved; 0 it is there; -errno. */
static int check_thread(const struct target *t, const struct scan *scan, pid_t tid,
                        const struct scan_thread **ret, struct err *e)
{
    const struct scan_thread want = {.tid = tid};
    struct proc_stat st;
    char shown[128];
    int r = proc_stat_read(tid, &st);

    if (r < 0)
        return err_sys(e, r, r == -ESRCH ? "there is no thread %d" : "cannot look at thread %d",
                       (int)tid);
    *ret = scan->count > 0 ? bsearch(&want, scan->threads, scan->count, sizeof want, by_tid) : NULL;
    if (!*ret)
        return err_set(e, -EPERM,
                       "thread %d is in no cgroup of sandbox \"%s\"; add-process puts its process "
                       "there first",
                       (int)tid, t->v.record.sandbox_id);
    if ((*ret)->source == VCPU_NONE)
        return err_set(e, -EPERM,
                       "thread %d, \"%s\", is not known to be a vCPU%s, and would be moved back at "
                       "once; see vcpu_thread_patterns and vcpu_evidence",
                       (int)tid, str_escape(st.comm, shown, sizeof shown),
                       scan->kernel_evidence ? " by what the kernel shows" : "");
    /* With cpu and cpuacct apart it may be there in one of them alone. */
    r = (*ret)->inside ? cg_holds(&t->s.vcpu, tid) : 0;
    return r < 0 ? err_sys(e, r, "cannot look where thread %d is", (int)tid) : !r;
}

/* What cannot be seen of it behind the move does not undo that, as the watcher would do the same: it is said. */
static int place(struct target *t, const struct scan_thread *thread, struct err *e)
{
    const struct proc_id id = {thread->tid, thread->start_time};
    const char *path = t->v.record.vcpu_path;
    int r = cg_add_thread(&t->s.vcpu, &id, e);
    int held = cg_holds(&t->s.vcpu, thread->tid);

    if (r < 0 && proc_alive(&id) != 0) {
        if (held > 0)
            err_hint(e, "; it was moved to %s", path);
        else if (cg_has_thread(&t->s.vcpu, thread->tid) > 0)
            err_hint(e, "; a part of it was moved to %s, and the same again moves the rest", path);
    }
    if (r < 0)
        return r;
    if (held < 0)
        return err_sys(e, held, "thread %d was moved to %s, but cannot look whether it stays there",
                       (int)thread->tid, path);
    if (held == 0)
        return err_set(e, -EAGAIN, "thread %d does not stay in %s", (int)thread->tid, path);
    return 0;
}

int verb_add_thread(const struct options *o, const struct settings *settings, struct arena *a,
                    struct err *e)
{
    const struct scan_thread *thread = NULL;
    struct inside in = {.kvm_dirfd = FD_NONE};
    struct target t;
    pid_t tid;
    int r = parse_id(o->operands[1], "thread", &tid, e);
    bool moves;

    if (r < 0)
        return r;
    r = target_open(o, a, &t, e);
    if (r == 0)
        r = check_split(&t, e);
    if (r == 0)
        r = inside_look(&t.v, &t.s, settings, a, &in, e);
    if (r == 0)
        r = check_thread(&t, &in.scan, tid, &thread, e);
    moves = r > 0;
    if (moves && thread)
        r = place(&t, thread, e);
    if (r == 0)
        say(o, &t, "tid", tid, moves);
    inside_free(&in);
    target_close(&t);
    return r;
}
