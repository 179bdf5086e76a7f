/* SPDX-License-Identifier: Apache-2.0 */

/* `stat`: what a sandbox uses. */

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/tool/called.h"
#include "hook/tool/inside.h"
#include "hook/tool/usage_print.h"
#include "hook/tool/verbs.h"
#include "hook/tool/view.h"

#include <stdio.h>

/* Of a sandbox that is loaded. Which threads are vCPUs is looked at each time, as they come and go. */
static int read_now(const struct view *v, struct sandbox *s, const struct settings *settings,
                    struct arena *a, struct usage *ret, struct err *e)
{
    struct inside in;
    int r = inside_look(v, s, settings, a, &in, e);

    if (r == 0)
        usage_read(s, &v->record, &in.report, ret);
    inside_free(&in);
    return r;
}

static void print(const struct view *v, const struct names *names, const char *state,
                  const struct usage *u, uint64_t took_us, bool json)
{
    const struct record *r = &v->record;
    struct json_writer *w;
    char shown[300], called[300];

    if (!json) {
        printf("%s (%s): %s, %s\n", str_escape(r->sandbox_id, shown, sizeof shown),
               called_text(names, called, sizeof called), state,
               r->cpu_enabled.set             ? "vCPUs are apart"
               : r->sandbox_cgroup_only.value ? "all threads in one cgroup"
                                              : "vCPUs are not apart yet");
        usage_print_text(u, took_us);
        return;
    }
    w = json_writer_new(true);
    json_open_object(w, NULL);
    json_string(w, "sandbox_id", r->sandbox_id);
    called_write_json(w, names);
    json_string(w, "state", state);
    json_bool(w, "split", r->cpu_enabled.set);
    if (took_us > 0)
        json_u64(w, "interval_us", took_us);
    else
        json_null(w, "interval_us");
    usage_print_json(w, u, took_us);
    json_close_object(w);
    view_print(w);
}

/* What is used from now on for o->interval_ms. */
static int watch(const struct options *o, const struct view *v, struct sandbox *s,
                 const struct settings *settings, struct arena *a, struct usage *u,
                 uint64_t *ret_took_us, struct err *e)
{
    unsigned long long began = io_now_us();
    struct usage later;
    int r;

    io_sleep_ms((unsigned)o->interval_ms);
    r = read_now(v, s, settings, a, &later, e);
    *ret_took_us = io_now_us() - began;
    if (r == 0)
        *u = usage_between(u, &later);
    return r;
}

int verb_stat(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e)
{
    struct view v = VIEW_INIT;
    struct names names;
    struct sandbox s;
    struct usage u;
    uint64_t took_us = 0;
    int r = view_look_sandbox(o, a, &v, e);

    if (r < 0) {
        view_close(&v);
        return r;
    }
    sandbox_init(&s, &v.host, NULL, &v.record);
    r = sandbox_load(&s, e);
    if (r == -ENOENT)
        err_set(e, r, "the cgroups of sandbox \"%s\" are gone", v.record.sandbox_id);
    if (r == 0)
        r = read_now(&v, &s, settings, a, &u, e);
    if (r == 0 && o->interval_ms > 0)
        r = watch(o, &v, &s, settings, a, &u, &took_us, e);
    if (r == 0)
        r = called_sandbox(&v.record, a, &names, e);
    if (r == 0)
        print(&v, &names, view_liveness(&v.record, e), &u, took_us, o->json);
    sandbox_close(&s);
    view_close(&v);
    return r;
}
