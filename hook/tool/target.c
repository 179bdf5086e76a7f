/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/target.h"

#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

int target_find(const struct options *o, struct arena *a, struct target *t, struct err *e)
{
    int r;

    *t = (struct target){.v = VIEW_INIT};
    r = view_open_sandbox(o, a, &t->v, e);
    sandbox_init(&t->s, &t->v.host, &t->v.state.parents, &t->v.record);
    return r;
}

int target_load(struct target *t, struct err *e)
{
    int r = sandbox_load(&t->s, e);

    if (r == -ENOENT)
        err_set(e, r, "the cgroups of sandbox \"%s\" are gone", t->v.record.sandbox_id);
    return r;
}

int target_open(const struct options *o, struct arena *a, struct target *t, struct err *e)
{
    int r = target_find(o, a, t, e);

    return r < 0 ? r : target_load(t, e);
}

void target_close(struct target *t)
{
    sandbox_close(&t->s);
    view_close(&t->v);
}

struct json_writer *target_answer(const struct target *t)
{
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_string(w, "sandbox_id", t->v.record.sandbox_id);
    json_string(w, "cgroup", t->s.home.path);
    json_bool(w, "runtimes_own", t->s.is_nested);
    return w;
}

void target_print(const struct target *t)
{
    char path[4 * PATH_MAX];

    printf(" in %s%s\n", str_escape(t->s.home.path, path, sizeof path),
           t->s.is_nested ? ", the runtime's own cgroup" : "");
}
