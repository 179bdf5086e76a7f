/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_VERBS_H
#define HOOK_TOOL_VERBS_H

/* hook/tool/ is the command line and the operator's verbs, the only ones to print to stdout.
 * Each verb returns 0 or -errno with the reason in @e. */

#include "hook/plan/settings.h"
#include "hook/tool/options.h"

int verb_plan(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);

/* What this host offers, and what will not work and why. -EOPNOTSUPP when nothing would work. */
int verb_check(const struct options *o, const struct settings *settings, struct arena *a,
               struct err *e);

int verb_list(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
int verb_show(const struct options *o, const struct settings *settings, struct arena *a,
              struct err *e);
/* One placement pass now: for a sandbox whose watcher has left, and for who cannot wait. */
int verb_update(const struct options *o, const struct settings *settings, struct arena *a,
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
