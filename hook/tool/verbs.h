/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_VERBS_H
#define HOOK_TOOL_VERBS_H

/* hook/tool/ is the command line and the operator's verbs, the only ones to print to stdout.
 * Each verb returns 0 or -errno with the reason in @e. */

#include "hook/plan/settings.h"
#include "hook/tool/options.h"

/* The one that @o names, with its configuration read. In the program that has none (see base/program.h) it becomes the
 * other one, with @argv as it was started with, and returns only if that fails. */
int verbs_run(const struct options *o, char **argv, struct arena *a, struct err *e);

int verb_plan(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);

/*
 * What this host offers, and what will not work and why. -EOPNOTSUPP when nothing would work.
 * @settings  NULL: the file cannot be read, and @e says why. The rest is looked at as if there were none; in the end
 *            that error is returned, unless the hook, which runs as root, may not have it.
 */
int verb_check(const struct options *o, const struct settings *settings, struct arena *a,
               struct err *e);

int verb_list(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
int verb_show(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
/* What it has used so far, or in the next o->interval_ms. */
int verb_stat(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
/* Of all sandboxes, to stdout or o->output. One that cannot be read is counted there, and no failure. */
int verb_metrics(const struct options *o, const struct settings *settings, struct arena *a,
                 struct err *e);
/* A table on a terminal; else rows, or JSON, o->count times. */
int verb_top(const struct options *o, const struct settings *settings, struct arena *a,
             struct err *e);
/* What the overhead takes, of those that are named or all, in o->for_ms or since they began. One that ends meanwhile is
 * no failure. */
int verb_overhead(const struct options *o, const struct settings *settings, struct arena *a,
                  struct err *e);
/* One placement pass now: for a sandbox whose watcher has left, and for who cannot wait. */
int verb_update(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e);
/* All tasks of a sandbox: stopped, going on, signalled. -EBUSY: not all of them. */
int verb_freeze(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e);
int verb_thaw(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
int verb_kill(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
/* A process or a vCPU of one, where a setup or the watcher would put it. -EPERM: it is not to be there. */
int verb_add_process(const struct options *o, const struct settings *settings, struct arena *a,
                     struct err *e);
int verb_add_thread(const struct options *o, const struct settings *settings, struct arena *a,
                    struct err *e);
/* The sandbox's device list, with layout sibling. -EINVAL: it cannot be changed like this. */
int verb_add_device(const struct options *o, const struct settings *settings, struct arena *a,
                    struct err *e);
int verb_remove_device(const struct options *o, const struct settings *settings, struct arena *a,
                       struct err *e);
int verb_delete(const struct options *o, const struct settings *settings, struct arena *a,
                struct err *e);
int verb_prune(const struct options *o, const struct settings *settings, struct arena *a,
               struct err *e);
/*
 * Put our entries into the hooks of o->file, or take them out, see register.h. The file is replaced
 * by rename, or, when it already is as it should be, not touched at all. @settings may be NULL and
 * is not used: a broken configuration file must not keep anybody from taking the hook out.
 */
int verb_register(const struct options *o, const struct settings *settings, struct arena *a,
                  struct err *e);

#endif
