/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

/*
 * Memory that lives as long as one decision: documents, plans and records are built in an arena and
 * released at once. Nothing in it is freed on its own, so its users need no ownership rules.
 *
 * Out of memory ends the program, see err_out_of_memory().
 */

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *head;
};

#define ARENA_INIT                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }

/* @size zeroed bytes, aligned for any type. Never NULL. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));

/* Copies, NUL-terminated. Never NULL. */
char *arena_strndup(struct arena *a, const char *s, size_t len) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

/*
 * Room for one more element at the end of an array that lives in the arena.
 * @items  the array's first-element pointer, by address; @count its length, incremented here.
 * Capacity doubles at powers of two, so no capacity is stored. Returns the zeroed new element.
 */
void *arena_push(struct arena *a, void *items, size_t *count, size_t elem_size)
    __attribute__((returns_nonnull));

/* The same as an lvalue of the array's own type: ARENA_APPEND(a, list.items, list.count) = item.
 * Both are named more than once. */
#define ARENA_APPEND(a, items, count)                                                              \
    (*(__typeof__(&(items)[0]))arena_push((a), &(items), &(count), sizeof *(items)))

/* A copy outside of any arena, to be freed; NULL of nothing. */
void *heap_copy(const void *from, size_t size);

/* Release everything. The arena may be used again. */
void arena_free(struct arena *a);

#define autoarena __attribute__((cleanup(arena_free))) struct arena

#endif
