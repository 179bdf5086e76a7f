/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/view.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/log/log.h"
#include "hook/tool/find.h"

#include <errno.h>
#include <stdio.h>

void view_close(struct view *v)
{
    state_unlock(&v->lock);
    state_dir_close(&v->state);
    cg_host_close(&v->host);
}

/* -ENOENT without a message: there is no state directory, so there are no sandboxes. */
static int open_view(const struct options *o, struct arena *a, struct view *v, struct err *e)
{
    int r = cg_host_open(a, &v->host, e);

    if (r < 0)
        return r;
    r = state_dir_open(o->state_dir, false, &v->state, e);
    if (r == -ENOENT)
        err_reset(e);
    return r;
}

int view_open_all(const struct options *o, struct arena *a, struct view *v, const char ***ids,
                  size_t *count, struct err *e)
{
    int r = open_view(o, a, v, e);

    if (r == 0)
        r = state_list(&v->state, a, ids, count, e);
    return r == -ENOENT ? 0 : r;
}

/* An id in full comes before names and beginnings of ids. */
static int look_up(const struct options *o, const struct view *v, struct arena *a, const char **id,
                   struct err *e)
{
    char shown[300];
    int r = state_lookup(&v->state, o->id, a, id);

    if (r < 0 && r != -ENOENT)
        return err_sys(e, r, "cannot look for sandbox \"%s\" under %s",
                       str_escape(o->id, shown, sizeof shown), o->state_dir);
    return r == 0 ? 0 : find_sandbox(&v->state, o->id, o->state_dir, a, id, e);
}

/* @lock  how the record is opened */
static int open_sandbox(const struct options *o, struct arena *a, struct view *v, bool lock,
                        struct err *e)
{
    const char *id = o->id;
    char shown[300];
    int r = cg_name_check(id, "sandbox id", e);

    if (r < 0)
        return r;
    str_escape(id, shown, sizeof shown);
    r = open_view(o, a, v, e);
    if (r == -ENOENT)
        return err_set(e, r, "there is no sandbox \"%s\": there is no state directory %s", shown,
                       o->state_dir);
    if (r == 0)
        r = look_up(o, v, a, &id, e);
    if (r == 0 && lock)
        r = state_lock(&v->state, id, false, VIEW_LOCK_TIMEOUT_MS, &v->lock, e);
    else if (r == 0)
        r = state_look(&v->state, id, &v->lock, e);
    if (r == 0)
        r = record_read(&v->lock, a, &v->record, &v->found, e);
    if (r == 0 && v->found != RECORD_VALID)
        r = err_set(e, -ENOENT,
                    "sandbox \"%s\" has no valid record; `prune` removes what is left of it",
                    shown);
    return r;
}

int view_open_sandbox(const struct options *o, struct arena *a, struct view *v, struct err *e)
{
    return open_sandbox(o, a, v, true, e);
}

int view_look_sandbox(const struct options *o, struct arena *a, struct view *v, struct err *e)
{
    return open_sandbox(o, a, v, false, e);
}

const char *view_liveness(const struct record *r, struct err *e)
{
    int alive = record_is_alive(r);

    if (alive < 0)
        err_sys(e, alive, "cannot tell whether the containers of sandbox %s live", r->sandbox_id);
    return alive < 0 ? "unknown" : alive ? "running" : "dead";
}

int view_note_failure(int first, const char *id, const struct err *why, struct err *e)
{
    char shown[300];

    str_escape(id, shown, sizeof shown);
    if (first == 0)
        return err_set(e, why->code, "sandbox %s: %s", shown, why->text);
    log_msg(LEVEL_ERROR, "sandbox %s: %s", shown, why->text);
    return first;
}

void view_print(struct json_writer *w)
{
    fputs(json_writer_text(w, NULL), stdout);
    json_writer_free(w);
}
