/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SOAK_COUNT_H
#define TESTS_SOAK_COUNT_H

/*
 * What there is: beneath the cgroup of this test in every hierarchy, of processes that run its copies of programs,
 * in the state directory. All of it must be as many before and after.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum counted {
    CGROUPS,
    WATCHERS,
    PLACEHOLDERS,
    STAGES,
    PAYLOADS,
    OPEN_FILES,
    OWN_FILES,
    LOCKS,
    STATE_FILES,
    COUNTED
};

struct counts {
    unsigned long of[COUNTED];
};

const char *counted_name(enum counted what);
void count_all(struct counts *ret);

/* Whether all are as many; waits for it, and has those waited for that end meanwhile. */
bool count_until_equal(const struct counts *before, unsigned seconds, struct counts *ret);

/* A row for each, and how many of them are equal. */
unsigned counts_print(const struct counts *before, const struct counts *after);

/* The watchers; how many, @max at most. */
size_t watchers_list(pid_t *ret, size_t max);

#endif
