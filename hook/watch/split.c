/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/split.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/plan/overhead.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

/* A runtime that writes again and again is let go first. */
#define CARRY_ROUNDS 8

#define SHARES "cpu.shares"

int split_init(struct split *s, const struct cg_host *host, const struct settings *settings,
               const struct record *r, struct scan *scan, struct arena *a, struct err *e)
{
    struct plan_warnings ignored = {0}; /* setup has told them */
    int ret;

    *s =
        (struct split){.events = FD_NONE, .is_v2 = host->mode == CG_MODE_V2, .a = a, .woken = true};
    scan->hold = true;
    s->is_whole = r->sandbox_cgroup_only.value;
    if (s->is_whole)
        return 0;
    ret = overhead_files(settings, r->overhead_quota, s->is_v2, a, &s->overhead, &ignored, e);
    if (ret < 0 || !s->is_v2)
        return ret;
    s->events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    s->has_fence = true;
    return fence_open(&s->fence, host, &r->fence, s->events, e);
}

/* v1: whether the overhead is to have other shares than were given to it, those of the vCPUs' cgroup. What cannot be
 * read is not new. */
static bool has_new_shares(const struct split *s, const struct sandbox *sandbox,
                           char now[static SPLIT_SHARES_SIZE])
{
    return !cg_files_get(&s->overhead, SHARES) &&
           io_read_at(sandbox->vcpu.fds[0], SHARES, now, SPLIT_SHARES_SIZE) > 0 &&
           !str_eq(now, s->shares);
}

bool split_is_due(struct split *s, const struct scan *scan, const struct scan_result *pass,
                  bool thorough)
{
    char shares[SPLIT_SHARES_SIZE];
    struct fence_look look;

    if (s->is_whole)
        return false;
    s->woken = s->woken || thorough;
    if (pass->vcpus == 0)
        return s->on;
    if (!s->on)
        return s->woken;
    if (!s->is_v2)
        return thorough && has_new_shares(s, scan->sandbox, shares);
    /* A vCPU that could not be moved would have no quota. */
    if (pass->placed < pass->vcpus)
        return false;
    if (pass->vcpus != s->weighed)
        return true;
    if (!s->woken && fence_is_watched(&s->fence))
        return false;
    /* What cannot be read is not new; the next look tells. */
    s->woken = fence_read(&s->fence, &look, NULL) < 0;
    return look.is_new || look.is_bound;
}

bool split_is_calm(const struct split *s, size_t vcpus)
{
    return s->is_whole || !s->is_v2 || (vcpus == 0 && !s->on) ||
           (!s->woken && fence_is_watched(&s->fence));
}

/* There can be no split, for now. */
static int refuse(struct split *s, const char *why)
{
    snprintf(s->why, sizeof s->why, "%.*s", SPLIT_WHY_SIZE - 1, why);
    return 0;
}

/* ---- v2 ---- */

static struct cg_files child_files(const struct quota *quota, size_t vcpus,
                                   const struct cg_files *companions, struct arena *a)
{
    struct cg_files files = {0};
    char text[QUOTA_TEXT_SIZE];

    cg_files_add(a, &files, "cpu.max", arena_strdup(a, quota_format(quota, text)), true);
    cg_files_append(a, &files, companions);
    cg_files_add(a, &files, "cpu.weight", arena_printf(a, "%u", quota_vcpu_weight(vcpus)), true);
    return files;
}

/* What the vCPUs' cgroup is to have. 0; -ENODATA the quota is not known; other -errno. */
static int want(struct split *s, size_t vcpus, struct arena *a, struct quota *quota,
                struct cg_change *ret, struct err *e)
{
    struct cg_files companions;
    struct fence_look look;
    int r = fence_read(&s->fence, &look, e);

    if (r == 0 && !fence_least(&s->fence, quota))
        r = err_set(e, -ENODATA, "the CPU quota is not known");
    if (r == 0)
        r = fence_companions(&s->fence, a, &companions, e);
    if (r == 0)
        *ret = (struct cg_change){.files = child_files(quota, vcpus, &companions, a)};
    return r;
}

static const struct quota *overhead_quota(const struct split *s, struct quota *ret)
{
    const char *text = cg_files_get(&s->overhead, "cpu.max");

    return text && quota_parse(text, ret) ? ret : NULL;
}

/* The quota to the vCPUs' cgroup, the runtime's words into the record, and then lift them: all
 * again while the runtime writes others. */
static int carry(struct split *s, struct scan *scan, size_t vcpus, const struct state_lock *lock,
                 struct record *r, struct arena *record_arena, struct err *e)
{
    struct quota extra;
    int ret = -EAGAIN;

    for (unsigned round = 0; ret == -EAGAIN && round < CARRY_ROUNDS; round++) {
        autoarena a = ARENA_INIT;
        struct cg_change change;
        struct quota quota;

        ret = want(s, vcpus, &a, &quota, &change, e);
        if (ret == 0)
            ret = cg_update(&scan->sandbox->vcpu, &change, e);
        if (ret < 0)
            return ret;
        s->weighed = vcpus;
        r->fence = fence_record(&s->fence, record_arena);
        ret = record_write(lock, record_arena, r, e);
        if (ret == 0)
            ret = fence_lift(&s->fence, overhead_quota(s, &extra), e);
    }
    return ret == -EAGAIN ? 0 : ret; /* it is bound meanwhile, and due with the next pass */
}

/* Undo what a split that the kernel refused has made. */
static void undo_child(struct cg_controller *child, bool enabled)
{
    cg_undo_create(child);
    if (enabled && cg_load(child, NULL) == -ENOENT && child->domain_fd >= 0)
        (void)cg_hold_back(child, CG_CTL_CPU, NULL);
}

/*
 * Whether a cgroup can be made, or is one that a split of this sandbox has made; a scope was made at setup. Also
 * an empty one may be somebody else's: that of a container whose process is in a sandbox.
 * 1; 0; -errno: it is not known.
 */
static int is_free(struct split *s, struct cg_controller *c, const struct record *r,
                   bool *ret_exists, struct err *e)
{
    int ret = cg_load(c, e);
    bool ours = r->cpu_enabled.set || c->unit;

    if (ret < 0 && ret != -ENOENT)
        return ret;
    err_reset(e);
    *ret_exists = ret == 0;
    if (*ret_exists && !ours)
        refuse(s, "there is a cgroup of that name which is not ours");
    return !*ret_exists || ours;
}

static int begin_v2(struct split *s, struct scan *scan, struct scan_result *pass,
                    const struct state_lock *lock, struct record *r, struct arena *record_arena,
                    struct err *e)
{
    struct cg_controller *child = &scan->sandbox->vcpu;
    autoarena a = ARENA_INIT;
    struct err why = ERR_INIT;
    struct cg_change change;
    struct quota quota = {.us = -1};
    bool exists;
    int ret = want(s, pass->vcpus, &a, &quota, &change, &why);

    if (ret == -ENOENT)
        return refuse(s, "their cgroup has no cpu controller");
    if (ret < 0)
        return err_set(e, ret, "%s", why.text);
    if (quota.us < 0)
        return refuse(s, "there is no CPU quota, so there is nothing to set apart");
    ret = is_free(s, child, r, &exists, e);
    if (ret <= 0)
        return ret;
    if (!r->cpu_enabled.set) {
        ret = cg_passes_on(child, CG_CTL_CPU, e);
        if (ret < 0)
            return ret;
        r->cpu_enabled = (struct json_bool){true, ret == 0};
    }
    r->fence = fence_record(&s->fence, record_arena);
    ret = record_write(lock, record_arena, r, e);
    if (ret < 0)
        return ret;
    ret = cg_create(child, &change, &why);
    if (ret < 0) {
        undo_child(child, r->cpu_enabled.value);
        /* A populated cgroup in there, say, may stay; anything else is tried again. */
        return ret == -EOPNOTSUPP ? refuse(s, why.text) : err_set(e, ret, "%s", why.text);
    }
    scan->hold = false;
    ret = scan_pass(scan, SCAN_ALL, pass, e);
    if (ret == 0)
        ret = carry(s, scan, pass->vcpus, lock, r, record_arena, e);
    return ret;
}

/* ---- v1 ---- */

/* The overhead competes for CPU time as the whole did, if it is not told otherwise. */
static int follow_shares(struct split *s, struct sandbox *sandbox, struct err *e)
{
    char shares[SPLIT_SHARES_SIZE];
    autoarena a = ARENA_INIT;
    struct cg_change change = {0};
    int r;

    if (!has_new_shares(s, sandbox, shares))
        return 0;
    cg_files_add(&a, &change.files, SHARES, shares, false);
    r = cg_update(&sandbox->overhead, &change, e);
    if (r == 0)
        memcpy(s->shares, shares, sizeof shares);
    return r;
}

static int begin_v1(struct split *s, struct scan *scan, struct scan_result *pass,
                    const struct state_lock *lock, struct record *r, struct arena *record_arena,
                    struct err *e)
{
    struct cg_controller *overhead = &scan->sandbox->overhead;
    struct cg_change change = {.files = s->overhead};
    bool exists;
    int ret;

    if (overhead->host->count == 0)
        return refuse(s, "no hierarchy of this host has the cpu controller");
    ret = is_free(s, overhead, r, &exists, e);
    if (ret <= 0)
        return ret;
    r->cpu_enabled = (struct json_bool){true, false};
    ret = record_write(lock, record_arena, r, e);
    if (ret == 0)
        ret = exists && overhead->unit ? cg_update(overhead, &change, e)
                                       : cg_create(overhead, &change, e);
    s->shares[0] = '\0';
    if (ret == 0)
        ret = follow_shares(s, scan->sandbox, e);
    if (ret < 0)
        return ret;
    scan->hold = false;
    /* What was no vCPU a moment ago may have got its name: it is not to leave its quota. */
    return scan_pass(scan, SCAN_ALL, pass, e);
}

/* ---- both ---- */

/* Nothing is a vCPU any more: nothing may be without the quota. */
static int end(struct split *s, struct scan *scan, struct err *e)
{
    int r = s->is_v2 ? fence_restore(&s->fence, e) : scan_reunite(scan, e);

    if (r == 0)
        split_again(s, scan); /* when there are vCPUs again */
    return r;
}

int split_do(struct split *s, struct scan *scan, struct scan_result *pass,
             const struct state_lock *lock, struct record *r, struct arena *record_arena,
             struct err *e)
{
    int ret;

    if (pass->vcpus == 0)
        return end(s, scan, e);
    if (s->on && !s->is_v2)
        return follow_shares(s, scan->sandbox, e);
    if (s->on)
        return carry(s, scan, pass->vcpus, lock, r, record_arena, e);
    s->why[0] = '\0';
    s->woken = false;
    ret = s->is_v2 ? begin_v2(s, scan, pass, lock, r, record_arena, e)
                   : begin_v1(s, scan, pass, lock, r, record_arena, e);
    s->on = !scan->hold;
    s->woken = ret < 0;
    return ret;
}

void split_again(struct split *s, struct scan *scan)
{
    s->on = false;
    s->woken = true;
    s->weighed = 0;
    scan->hold = true;
}
