/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_REGISTER_H
#define HOOK_TOOL_REGISTER_H

/*
 * The entries of this program in the hooks of a config.json: put in, brought up to date, taken out.
 * Text in, text out; nothing is read or written here.
 *
 * The text is spliced, not written anew: whatever is not ours stays as it is, byte for byte. What
 * was put in can be told from what was there: a list or an object that we had to make has a blank
 * behind its opening bracket, and one that was there and empty gets our entry right behind it. So
 * taking out restores the text that was there before, unless something else changed it meanwhile or
 * a member was null, which is the same as absent.
 */

#include "oci/json.h"

/* What tells our entries from those of others: the last component of `path` or of `args[0]`. */
#define REGISTER_PROGRAM "oci-sandbox-cgroup"

/* runc fails at once on 0, and crun waits for ever. */
#define REGISTER_TIMEOUT_S 30

/* prestart, createRuntime, poststart, poststop: enum stage without STAGE_NONE */
#define REGISTER_STAGES 4

struct register_request {
    const char *program;      /* absolute path; NULL to take out */
    struct json_list options; /* char *: between the program's name and the stage in `args` */
};

struct register_result {
    /* What was done in each: "added", "replaced", "removed"; nothing: "kept", "absent". */
    const char *actions[REGISTER_STAGES];
    bool changed;
    const char *text; /* in the arena, or the caller's own text if nothing was changed */
    size_t len;
};

/*
 * With a program: one entry in prestart, behind those of others, and one in poststop, before those
 * of others; ours in createRuntime and poststart are brought up to date where they are. An entry
 * with the right path and arguments and a positive timeout is left alone. Without a program: every
 * entry of ours is taken out of the four stages.
 * @text   with a NUL behind it.
 * @where  names the text in messages.
 * 0; -EINVAL, marked as bad input, for what is no JSON, no object, or has hooks that are no hooks
 * or names that differ from those we read in case only, which not all runtimes tell apart, and for
 * what a stage would not read afterwards, as it is longer than OCI_MAX_BYTES. Idempotent: a second
 * call with its own result changes nothing.
 */
int register_edit(const char *text, size_t len, const char *where,
                  const struct register_request *request, struct arena *a,
                  struct register_result *ret, struct err *e);

#endif
