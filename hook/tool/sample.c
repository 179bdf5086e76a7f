/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/sample.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "hook/tool/called.h"
#include "hook/tool/inside.h"
#include "hook/tool/units.h"
#include "hook/watch/watcher.h"

#include <errno.h>

/* One that has left by itself is not recorded. 1; 0; -errno. */
static int misses_watcher(const struct record *r, const struct settings *settings, struct err *e)
{
    struct proc_id watcher = record_process_id(r->watcher);
    int alive = watcher.pid > 0 && watcher_is_wanted(r, settings) ? proc_alive(&watcher) : 1;

    return alive < 0 ? err_sys(e, alive, "cannot tell whether the watcher lives") : !alive;
}

static uint64_t age(const struct record *r)
{
    uint64_t first = CG_UNKNOWN;

    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);
        struct proc_id init = record_process_id(c->init);

        if (init.pid > 0 && init.start_time < first)
            first = init.start_time;
    }
    return first == CG_UNKNOWN ? CG_UNKNOWN : proc_age_us(first);
}

static int measure(const struct view *v, const struct settings *settings, struct arena *a,
                   struct sample *ret, struct err *e)
{
    struct sandbox s;
    struct inside in;
    int r;

    sandbox_init(&s, &v->host, NULL, &v->record);
    r = sandbox_load(&s, e);
    if (r == 0) {
        r = inside_look(v, &s, settings, a, &in, e);
        if (r == 0) {
            usage_read(&s, &v->record, &in.report, &ret->usage);
            ret->placement = arena_strdup(a, in.report.state);
            ret->expected = in.report.expected;
            ret->now_us = io_now_us();
            ret->age_us = age(&v->record);
        }
        inside_free(&in);
    }
    sandbox_close(&s);
    return r;
}

/* Of one that runs. */
static int take(struct view *v, const struct settings *settings, struct arena *a,
                struct sample *ret, struct err *e)
{
    const struct record *r = &v->record;
    int missing = misses_watcher(r, settings, e);
    int failed = missing < 0 ? missing : called_sandbox(r, a, &ret->names, e);

    ret->only = r->sandbox_cgroup_only.value;
    ret->split = r->cpu_enabled.set;
    ret->watcher_missing = missing > 0;
    if (failed == 0)
        failed = measure(v, settings, a, ret, e);
    /* A stage is about to make its cgroups. */
    if (failed == -ENOENT && !r->made.value)
        return 0;
    return failed < 0 ? failed : 1;
}

int sample_take(const struct view *all, const char *id, const struct settings *settings,
                struct arena *a, struct sample *ret, bool *ret_dead, struct err *e)
{
    struct view v = {.host = all->host, .state = all->state, .lock = STATE_LOCK_INIT};
    int r = state_look(&v.state, id, &v.lock, e);

    *ret = (struct sample){.sandbox_id = id};
    *ret_dead = false;
    if (r == 0)
        r = record_read(&v.lock, a, &v.record, &v.found, e);
    if (r == -ENOENT || (r == 0 && v.found == RECORD_NONE)) {
        state_unlock(&v.lock);
        err_reset(e);
        return 0;
    }
    if (r == 0 && v.found == RECORD_VALID) {
        r = record_is_alive(&v.record);
        if (r < 0)
            err_sys(e, r, "cannot tell whether its containers live");
    }
    *ret_dead = r == 0;
    if (r > 0)
        r = take(&v, settings, a, ret, e);
    state_unlock(&v.lock);
    return r;
}

int samples_ids(const struct view *v, struct arena *a, const char ***ret, size_t *ret_count,
                struct err *e)
{
    *ret_count = 0;
    return v->state.sandboxes < 0 ? 0 : state_list(&v->state, a, ret, ret_count, e);
}

int samples_take(const struct view *v, const struct settings *settings, struct arena *a,
                 struct samples *ret, struct err *e)
{
    const char **ids = NULL;
    size_t count = 0;
    int r = samples_ids(v, a, &ids, &count, e);

    *ret = (struct samples){0};
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct err own = ERR_INIT;
        struct sample sample;
        char shown[300];
        bool dead;
        int taken = sample_take(v, ids[i], settings, a, &sample, &dead, &own);

        if (taken > 0)
            ARENA_APPEND(a, ret->items, ret->count) = sample;
        ret->dead += dead;
        if (taken >= 0)
            continue;
        ARENA_APPEND(a, ret->errors, ret->error_count) =
            arena_printf(a, "sandbox %s: %s", str_escape(ids[i], shown, sizeof shown), own.text);
    }
    return r;
}

void sample_between(const struct sample *before, const struct sample *after, struct sample_use *ret)
{
    const struct usage_cpu *guest = after->split ? &ret->usage.vcpus : &ret->usage.all;

    ret->usage = usage_between(&before->usage, &after->usage);
    ret->took_us = after->now_us - before->now_us;
    ret->vcpu = units_share(ret->usage.vcpus.us, ret->took_us);
    ret->overhead = units_share(ret->usage.overhead.us, ret->took_us);
    ret->throttled = units_share(guest->throttled_periods, guest->periods);
}
