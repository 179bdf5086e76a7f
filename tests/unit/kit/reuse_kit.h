/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_REUSE_KIT_H
#define TESTS_UNIT_KIT_REUSE_KIT_H

/*
 * The number of a process that ends at any chosen instant is another one's directly after. In a pid namespace of
 * the test's own, as only there a number can be chosen (ns_last_pid).
 */

#include <stdbool.h>
#include <sys/types.h>

/* Called before each opening of a file and each syscall(2) of the product, in the process that set it. */
extern void (*kit_at_call)(void);

/* Run @fn as process 1 of a new pid namespace with its own /proc. Its exit status; -1: that cannot be had here. */
int kit_in_pid_namespace(int (*fn)(void));

/* The process @pid, a child of ours, is killed at the @n-th call from now, and the stranger has its number. */
enum kit_stranger {
    KIT_PROCESS, /* our child, born where we are */
    KIT_ORPHAN,  /* likewise, but in a mount namespace of its own */
    KIT_THREAD,  /* of the process of kit_start_helper() */
};
void kit_reuse_at(pid_t pid, unsigned n, enum kit_stranger who);

/* No more; whether it has happened. And whether the stranger lives; its end. */
bool kit_reuse_done(void);
bool kit_stranger_lives(void);
void kit_stranger_end(void);

pid_t kit_start_helper(void);
void kit_end_helper(void);

#endif
