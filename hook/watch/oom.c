/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/oom.h"

#include "base/arena.h"
#include "base/proc.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* On v1 nobody tells whose limit it was. */
static enum oom_cause cause_of(const struct cg_oom *before, const struct cg_oom *now)
{
    if (now->limits == CG_UNKNOWN)
        return OOM_UNKNOWN;
    return now->limits > before->limits ? OOM_OWN_LIMIT : OOM_ELSEWHERE;
}

static void note_quiet(struct oom *o, unsigned long long now)
{
    o->quiet_limits = o->seen.limits;
    o->quiet_us = now;
}

/* A limit may be reached without anybody being killed, which is no reason for a kill that comes later. */
static void forget_limits(struct oom *o, unsigned long long now)
{
    if (o->seen.kills != o->told.kills || now - o->quiet_us < OOM_SETTLE_US)
        return;
    o->told.limits = o->quiet_limits;
    note_quiet(o, now);
}

static void tell(struct oom *o, unsigned long long now)
{
    o->told = o->seen;
    note_quiet(o, now);
}

bool oom_decide(struct oom *o, unsigned long long now, bool last, struct oom_news *ret)
{
    if (!o->is_known) {
        o->is_known = true;
        tell(o, now);
        return false;
    }
    forget_limits(o, now);
    if (o->seen.kills <= o->told.kills ||
        (!last && o->told_us > 0 && now - o->told_us < OOM_PAUSE_US))
        return false;
    *ret = (struct oom_news){o->seen.kills - o->told.kills, cause_of(&o->told, &o->seen)};
    tell(o, now);
    o->told_us = now;
    return true;
}

/* crun's container is in a cgroup of its own inside of the scope that has the limit: on v2 the scope
 * counts both, and is the last one of the fence. */
const char *oom_path(const struct sandbox *s, const struct record *r)
{
    if (!s->is_nested || r->fence.count == 0)
        return s->home.path;
    return JSON_AT(r->fence, struct record_fence, r->fence.count - 1).path;
}

void oom_words(const struct oom_news *news, bool is_nested, const char *path,
               char buf[static OOM_WORDS_SIZE])
{
    const char *raise = is_nested ? "the container's memory limit"
                                  : "the memory limit of its containers, or memory_overhead_bytes";
    char advice[128], shown[256];

    if (news->cause == OOM_OWN_LIMIT)
        snprintf(advice, sizeof advice, ", at its memory limit; raise %s", raise);
    else if (news->cause == OOM_UNKNOWN)
        snprintf(advice, sizeof advice, "; raise %s, unless the host is short of it", raise);
    else
        snprintf(advice, sizeof advice,
                 ", but not at its own limit: the host, or a cgroup above it, "
                 "is short of it");
    snprintf(buf, OOM_WORDS_SIZE,
             "the kernel has killed %" PRIu64 " process%s of the %s cgroup %s for want of memory%s",
             news->kills, news->kills == 1 ? "" : "es", is_nested ? "runtime's" : "sandbox's",
             str_escape(path, shown, sizeof shown), advice);
}

/* Without a fence nobody has recorded whether the limit is that of a cgroup around, as crun's scope is. */
static bool may_be_above(const struct sandbox *s, const struct record *r)
{
    return s->is_nested && r->fence.count == 0;
}

/* The path is a field of the journal's, too. */
static void say(const struct oom_news *news, const struct sandbox *s, const char *path)
{
    const struct log_context watcher = log_about;
    char words[OOM_WORDS_SIZE];

    oom_words(news, s->is_nested, path, words);
    log_about.cgroup = path;
    log_event(EVENT_OOM_KILL, "sandbox %s: %s", log_about.sandbox_id, words);
    log_about = watcher;
}

/* Where a container's process is, if that can be its own cgroup: runtimes call it the same everywhere. NULL: no. */
static const char *path_of_process(const struct cg_host *host, const struct record_container *c,
                                   const char *path, struct arena *a)
{
    const struct cg_hierarchy *h = cg_host_find(host, CG_CTL_MEMORY);
    struct proc_id init = record_process_id(c->init);
    struct cg_origin origin;
    const char *found;

    if (!h || cg_origin_read(host, init.pid, a, &origin, NULL) < 0 || proc_alive(&init) <= 0)
        return NULL;
    found = origin.paths[h - host->hierarchies];
    return found && str_eq(cg_path_base(found), cg_path_base(path)) ? found : NULL;
}

/* On v1 a container may have another cgroup in each hierarchy, and the record has that of one. */
static void open_counter(struct oom *o, const struct sandbox *s, const struct record *r)
{
    const struct cg_host *host = s->home.host;
    const char *path = oom_path(s, r);
    autoarena a = ARENA_INIT;

    o->fd = cg_oom_open(host, path);
    if (o->fd == -ENOENT && s->is_nested && host->mode != CG_MODE_V2 && r->containers.count > 0) {
        const char *other =
            path_of_process(host, &JSON_AT(r->containers, struct record_container, 0), path, &a);

        o->fd = other ? cg_oom_open(host, other) : o->fd;
        path = other ? other : path;
    }
    o->is_known = false; /* it may be another cgroup, of the same name */
    free(o->path);
    o->path = heap_copy(path, strlen(path) + 1);
}

void oom_look(struct oom *o, const struct sandbox *s, const struct record *r,
              unsigned long long now, bool last)
{
    struct oom_news news;
    struct cg_oom seen;
    int ret;

    if (o->fd < 0)
        open_counter(o, s, r);
    ret = o->fd < 0 ? o->fd : cg_oom_read(o->fd, &seen);
    if (ret == 0)
        o->seen = seen;
    /* What was put off is told also when it was removed meanwhile. */
    if ((ret == 0 || o->is_known) && oom_decide(o, now, last || ret == -ENODEV, &news)) {
        if (news.cause == OOM_ELSEWHERE && may_be_above(s, r))
            news.cause = OOM_UNKNOWN;
        say(&news, s, o->path);
    }
    if (ret == -ENODEV)
        fd_close(&o->fd);
}

void oom_close(struct oom *o)
{
    fd_close(&o->fd);
    free(o->path);
    *o = OOM_INIT;
}
