/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

/*
 * Memory that is there, so that no caller has to ask. A stage ends without it, see err_out_of_memory(): it could do
 * nothing better, and the steps already taken are covered by the sandbox's record. What tends a sandbox for hours does
 * not: the kernel has some again soon, and who would tend the sandbox until then?
 */

#include <stddef.h>

/* From now on this process, and what it forks, waits until there is some. */
void mem_wait(void);

/* There was none: end, or sleep for a little while. Whoever calls it tries again. */
void mem_is_short(void);

/* As malloc(), calloc() and realloc(), but never NULL, also for a size of 0. Given back with free(). */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *old, size_t size) __attribute__((returns_nonnull));

/* For who sleeps for long: what was freed, and the stack below the caller's, is the kernel's again. Costs some
 * microseconds, and as much when it is needed again. */
void mem_give_back(void);

#endif
