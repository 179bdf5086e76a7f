/* SPDX-License-Identifier: Apache-2.0 */

/* Which function a verb is: in the program that has them. */

#include "hook/tool/verbs.h"

int verbs_run(const struct options *o, char **argv, struct arena *a, struct err *e)
{
    static int (*const verbs[])(const struct options *, const struct settings *, struct arena *,
                                struct err *) = {
        [VERB_PLAN] = verb_plan,
        [VERB_CHECK] = verb_check,
        [VERB_LIST] = verb_list,
        [VERB_SHOW] = verb_show,
        [VERB_DELETE] = verb_delete,
        [VERB_PRUNE] = verb_prune,
        [VERB_UPDATE] = verb_update,
        [VERB_STAT] = verb_stat,
        [VERB_FREEZE] = verb_freeze,
        [VERB_THAW] = verb_thaw,
        [VERB_KILL] = verb_kill,
        [VERB_ADD_PROCESS] = verb_add_process,
        [VERB_ADD_THREAD] = verb_add_thread,
        [VERB_ADD_DEVICE] = verb_add_device,
        [VERB_REMOVE_DEVICE] = verb_remove_device,
        [VERB_METRICS] = verb_metrics,
        [VERB_TOP] = verb_top,
        [VERB_OVERHEAD] = verb_overhead,
    };
    struct settings settings;
    int r;

    (void)argv;
    if (o->verb == VERB_REGISTER)
        return verb_register(o, NULL, a, e);
    r = options_settings(o, a, &settings, e);
    if (r < 0 && o->verb == VERB_CHECK)
        return verb_check(o, NULL, a, e);
    return r < 0 ? r : verbs[o->verb](o, &settings, a, e);
}
