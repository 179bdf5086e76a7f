/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SOAK_NAMES_H
#define TESTS_SOAK_NAMES_H

/* Who has which cgroups, and whether all that is another's is as it was. */

#include "tests/fault/world.h"

enum { OWNERS_MAX = 10, OWN_SIZE = 160 };

enum owner_kind { NOBODY, CONTAINER, STRANGER };

struct owner {
    enum owner_kind kind;
    const char *id, *sandbox;
    char parent[OWN_SIZE / 2], own[OWN_SIZE];
    char bundle[PATH_MAX];
    char home[WHERE_SIZE]; /* where its runtime has put it */
    size_t conf;
    bool in_pod, is_set_up;
    bool
        is_inside; /* of what may be a sandbox's cgroup: then it is a part of that, by its runtime's word */
    pid_t pid, vmm; /* 0: none */
};

/* How all cgroups are before the first step. */
void owned_note(void);

/*
 * After a step of @actor, or NULL: of nobody who is there. @was: who that was, as it may be gone. What others have that
 * live must be as it was, and the processes of each where they belong. @ret: what is not; "" for nothing.
 */
void owned_check(const struct owner *owners, const struct owner *actor, const struct owner *was,
                 char ret[TEXT_SIZE]);

#endif
