/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_FIND_H
#define HOOK_TOOL_FIND_H

/* Which sandbox is meant, where its id was not given in full. */

#include "hook/sandbox/state_dir.h"

/* One word by which a sandbox may be meant. */
struct find_word {
    const char *text;
    const char *sandbox_id;
    const char *names; /* of the sandbox, for people; "" for none */
    bool is_name;      /* else an id, of which a beginning is enough */
};

struct find_words {
    struct find_word *items;
    size_t count;
};

/*
 * Pure: the sandboxes that @wanted may mean, one word of each, in @a; how many. Those of that name, else those with
 * an id that begins so.
 */
size_t find_match(const struct find_words *words, const char *wanted, struct arena *a,
                  struct find_word **ret);

/* Pure: the word that differs least, if that is little; NULL: none does. */
const char *find_nearest(const struct find_words *words, const char *wanted);

/*
 * Of the sandboxes that are recorded, without their locks.
 * 0 with @ret_id; -ENOENT there is none; -ENOTUNIQ there are several; other -errno: a record cannot be read, so it
 * is not known. All with a line in @e.
 */
int find_sandbox(const struct state_dir *s, const char *wanted, const char *state_dir,
                 struct arena *a, const char **ret_id, struct err *e);

#endif
