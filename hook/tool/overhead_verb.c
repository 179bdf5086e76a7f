/* SPDX-License-Identifier: Apache-2.0 */

/* `overhead`: what the overhead of sandboxes takes, read for a time or accumulated, for a RuntimeClass. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/log/log.h"
#include "hook/tool/output.h"
#include "hook/tool/overhead_html.h"
#include "hook/tool/overhead_print.h"
#include "hook/tool/verbs.h"
#include "hook/tool/view.h"

#include <errno.h>
#include <stdio.h>

#define INTERVAL_MS 1000

/* A sandbox while it is read. */
struct subject {
    struct sample before; /* without what lives no longer than its reading */
    bool failing;         /* it could not be read the last time, which was said */
};

struct run {
    const struct options *o;
    const struct settings *settings;
    struct arena *arena;
    struct view v;
    struct overhead result;
    struct subject *subjects; /* of each of the result's items */
    int failed; /* 0; -errno of the first that could not be read, which is in the verb's error */
};

/* ---- which ---- */

static bool is_among(const struct run *run, const char *id)
{
    for (size_t i = 0; i < run->result.count; i++) {
        if (str_eq(run->result.items[i].id, id))
            return true;
    }
    return false;
}

static char *copy(const char *text, struct arena *a)
{
    return text ? arena_strdup(a, text) : NULL;
}

static void keep(struct subject *subject, const struct sample *now)
{
    subject->before = *now;
    subject->before.names = (struct names){0};
    subject->before.placement = NULL;
}

/* 1 it is one of those that are looked at; 0 it does not run; -errno. */
static int begin(struct run *run, const char *id, struct err *e)
{
    autoarena a = ARENA_INIT;
    size_t count = run->result.count;
    struct overhead_sandbox *s;
    struct sample now;
    bool dead;
    int r = sample_take(&run->v, id, run->settings, &a, &now, &dead, e);

    if (r <= 0 || is_among(run, id))
        return r;
    keep(&ARENA_APPEND(run->arena, run->subjects, count), &now);
    s = &ARENA_APPEND(run->arena, run->result.items, run->result.count);
    s->id = arena_strdup(run->arena, id);
    s->names.container = copy(now.names.container, run->arena);
    s->names.pod = copy(now.names.pod, run->arena);
    s->names.pod_namespace = copy(now.names.pod_namespace, run->arena);
    overhead_accumulate(s, &now);
    return r;
}

/* All of those that somebody names have to be there. */
static int begin_named(struct run *run, struct err *e)
{
    struct options o = *run->o;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < run->o->operand_count; i++) {
        struct view v = VIEW_INIT;
        char shown[300];

        o.id = run->o->operands[i];
        r = view_look_sandbox(&o, run->arena, &v, e);
        view_close(&v);
        if (r == 0)
            r = begin(run, v.record.sandbox_id, e);
        if (r == 0)
            r = err_set(e, -ESRCH, "no container of sandbox \"%s\" runs any more",
                        str_escape(v.record.sandbox_id, shown, sizeof shown));
    }
    return r < 0 ? r : 0;
}

static int begin_all(struct run *run, struct err *e)
{
    const char **ids = NULL;
    size_t count = 0;
    int r = samples_ids(&run->v, run->arena, &ids, &count, e);

    for (size_t i = 0; r == 0 && i < count; i++) {
        struct err own = ERR_INIT;

        if (begin(run, ids[i], &own) < 0)
            run->failed = view_note_failure(run->failed, ids[i], &own, e);
    }
    return r;
}

/* ---- readings ---- */

static void read_one(struct run *run, size_t i, unsigned long long began_us, struct err *e)
{
    struct overhead_sandbox *s = &run->result.items[i];
    struct subject *subject = &run->subjects[i];
    autoarena a = ARENA_INIT;
    struct err own = ERR_INIT;
    struct sample now;
    char shown[300];
    bool dead;
    int r = sample_take(&run->v, s->id, run->settings, &a, &now, &dead, &own);

    if (r == 0 || r == -ENOENT) { /* its cgroups may go before its record */
        s->ended = true;
        log_msg(LEVEL_WARNING, "sandbox %s has ended, after %zu readings",
                str_escape(s->id, shown, sizeof shown), s->count);
    } else if (r < 0) {
        if (!subject->failing)
            run->failed = view_note_failure(run->failed, s->id, &own, e);
        subject->failing = true;
    } else {
        subject->failing = false;
        overhead_add(s, now.now_us - began_us, &subject->before, &now, run->arena);
        keep(subject, &now);
    }
}

/* False: none runs any more. */
static bool read_all(struct run *run, unsigned long long began_us, struct err *e)
{
    bool left = false;

    for (size_t i = 0; i < run->result.count; i++) {
        if (!run->result.items[i].ended)
            read_one(run, i, began_us, e);
        left = left || !run->result.items[i].ended;
    }
    return left;
}

static void sleep_until(unsigned long long when_us)
{
    unsigned long long now = io_now_us();

    if (when_us > now)
        io_sleep_ms((unsigned)((when_us - now + 999) / 1000));
}

/* One that is due while another is read is left out: what it would say is in the next. */
static void sample_for(struct run *run, struct err *e)
{
    unsigned long long began_us = io_now_us(), every_us = run->result.terms.interval_ms * 1000;
    uint64_t readings = run->o->for_ms / run->result.terms.interval_ms;

    for (uint64_t i = 1; run->result.count > 0 && i <= readings;) {
        sleep_until(began_us + i * every_us);
        if (!read_all(run, began_us, e))
            return;
        i = (io_now_us() - began_us) / every_us + 1;
    }
}

/* ---- the verb ---- */

static int take_terms(const struct options *o, struct overhead_terms *ret, struct err *e)
{
    *ret = (struct overhead_terms){
        .margin = o->margin.set ? o->margin.value : OVERHEAD_MARGIN,
        .guest_bytes = o->guest_bytes,
    };
    if (o->for_ms == 0 && o->html)
        return err_input(e, "--html draws what is read in the time of --for, which is missing; see "
                            "oci-sandbox-cgroup overhead --help");
    if (o->for_ms == 0 && o->interval_ms == 0)
        return 0;
    if (o->for_ms == 0)
        return err_input(e, "--interval says how often to read in the time of --for, which is "
                            "missing; see oci-sandbox-cgroup overhead --help");
    ret->interval_ms = o->interval_ms;
    if (o->interval_ms == 0)
        ret->interval_ms = o->for_ms < INTERVAL_MS ? o->for_ms : INTERVAL_MS;
    if (ret->interval_ms > o->for_ms)
        return err_input(e, "--interval is longer than --for");
    if (o->for_ms / ret->interval_ms > OVERHEAD_READINGS_MAX)
        return err_input(e, "these are more than %d readings; --interval makes them fewer",
                         OVERHEAD_READINGS_MAX);
    return 0;
}

static void print(const struct run *run)
{
    autosbuf text = SBUF_INIT;

    if (run->o->json) {
        struct json_writer *w = json_writer_new(true);

        overhead_write_json(&run->result, w);
        view_print(w);
        return;
    }
    overhead_write_yaml(&run->result, &text);
    fputs(sbuf_text(&text), stdout);
}

static int write_page(const struct run *run, struct err *e)
{
    autosbuf page = SBUF_INIT;

    overhead_write_html(&run->result, &page);
    return output_write(run->o->html, &page, e);
}

int verb_overhead(const struct options *o, const struct settings *settings, struct arena *a,
                  struct err *e)
{
    struct run run = {.o = o, .settings = settings, .arena = a, .v = VIEW_INIT};
    const char **ids = NULL;
    size_t count = 0;
    int r = take_terms(o, &run.result.terms, e);

    if (r == 0 && o->html)
        r = output_check(o->html, e); /* nobody waits for what cannot be written */
    if (r == 0)
        r = view_open_all(o, a, &run.v, &ids, &count, e);
    if (r == 0)
        r = o->operand_count > 0 ? begin_named(&run, e) : begin_all(&run, e);
    if (r == 0 && o->for_ms > 0)
        sample_for(&run, e);
    view_close(&run.v);
    if (r < 0)
        return r;
    overhead_conclude(&run.result);
    print(&run);
    r = o->html ? write_page(&run, e) : 0;
    return run.failed < 0 ? run.failed : r;
}
