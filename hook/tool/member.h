/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_MEMBER_H
#define HOOK_TOOL_MEMBER_H

/*
 * Whether a process may be put into a sandbox by where it is: only so that no limit is lost which holds it
 * now. Pure.
 */

#include "hook/sandbox/record.h"

#include <stdbool.h>
#include <stddef.h>

enum member_place {
    MEMBER_INSIDE,  /* in a cgroup of the sandbox */
    MEMBER_BELOW,   /* in one that the payload has made inside of it */
    MEMBER_ABOVE,   /* in one that the sandbox is in: what holds it there holds the sandbox, too */
    MEMBER_RUNTIME, /* in the runtime's own of a container, whose limits are the sandbox's */
    MEMBER_ELSEWHERE, /* its limits are others */
};

/* @home is the sandbox's, @path where the process is, both from the root of one hierarchy; NULL: outside of
 * what is mounted. */
enum member_place member_place(const struct record *r, const char *home, const char *path);

enum member_verdict { MEMBER_IS_IN, MEMBER_MAY_JOIN, MEMBER_WOULD_LEAVE };

/* One for each hierarchy that the sandbox has a cgroup in. */
struct member_at {
    enum member_place place;
    bool limits; /* the hierarchy has controllers, so cgroups of it may have limits */
};

/* @ret_which  where it would leave limits. */
enum member_verdict member_judge(const struct member_at *at, size_t count, size_t *ret_which);

/* Whether one of these sandboxes' cgroups, or one inside of it, is @path. */
bool member_is_of(const struct record *r, const char *path);

#endif
