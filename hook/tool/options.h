/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_OPTIONS_H
#define HOOK_TOOL_OPTIONS_H

/* The command line. */

#include "cgroup/host.h"
#include "hook/plan/layout.h"
#include "hook/plan/settings.h"
#include "hook/plan/stage.h"
#include "oci/json.h"

enum verb {
    VERB_HOOK, /* a stage, named or derived */
    VERB_PLAN,
    VERB_CHECK,
    VERB_LIST,
    VERB_SHOW,
    VERB_STAT,
    VERB_METRICS,
    VERB_TOP,
    VERB_OVERHEAD,
    VERB_UPDATE,
    VERB_FREEZE,
    VERB_THAW,
    VERB_KILL,
    VERB_ADD_PROCESS,
    VERB_ADD_THREAD,
    VERB_ADD_DEVICE,
    VERB_REMOVE_DEVICE,
    VERB_DELETE,
    VERB_PRUNE,
    VERB_REGISTER,
    VERB_HELP,
    VERB_VERSION,
};

struct options {
    enum verb verb;
    enum stage stage;            /* STAGE_NONE: derive from the state */
    const char *const *operands; /* what stands behind the verb, borrowed from argv */
    size_t operand_count;
    const char *id;          /* the first of them; of help the verb that it is about; NULL: none */
    const char *bundle;      /* --bundle, plan only; NULL: none */
    const char *program;     /* --path, register only; NULL: the running one */
    const char *config_path; /* NULL: the default, which need not exist */
    const char *state_dir;
    const char *log_level;   /* NULL: the configuration's */
    struct json_bool only;   /* --sandbox-cgroup-only */
    enum layout_word layout; /* --layout */
    bool has_stage;          /* --stage was given, plan only */
    bool has_mode;           /* --cgroup-mode was given, plan only */
    enum cg_mode mode;
    const char *output;   /* --output, metrics only; NULL: stdout */
    uint64_t interval_ms; /* --interval; 0: not given */
    uint64_t count;       /* --count, top only; 0: not given */
    char sort;            /* --sort, top only; NUL: not given */
    bool batch;           /* --batch, top only */
    uint64_t for_ms;      /* --for, overhead only, as those behind it; 0: not given */
    struct json_u64 margin, guest_bytes; /* --margin, --guest-memory */
    const char *html;                    /* --html; NULL: no page */
    bool explain;                        /* --explain, plan only */
    const char *cpus, *mems, *resources; /* update only; NULL: not given */
    bool json, dry_run, force, remove;
};

/* 0; -EINVAL with one line in @e that says what is wrong and where help is. */
int options_parse(int argc, char **argv, struct options *ret, struct err *e);

/* The configuration that it names, or the default one, and its log level is the log's from now on. 0; -errno. */
int options_settings(const struct options *o, struct arena *a, struct settings *ret, struct err *e);

/* What there is, or what the verb o->id does. */
void options_usage(const struct options *o);

#endif
