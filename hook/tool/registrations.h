/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_REGISTRATIONS_H
#define HOOK_TOOL_REGISTRATIONS_H

/*
 * The files by which engines find the hook: those of hooks directories and of CDI. A container
 * whose engine does not read one starts without the hook, and nobody says so.
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;

struct registration {
    bool in_force;    /* as far as can be seen here */
    const char *text; /* its path, and what is wrong */
};

/*
 * Look below @root, "" for the host's own, for all that are for us.
 * @ret  in @a.
 */
void registrations_find(const char *root, struct arena *a, struct registration **ret,
                        size_t *ret_count);

#endif
