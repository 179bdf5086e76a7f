/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One block holds a typical hook run; larger requests get a block of their own. */
#define BLOCK_SIZE (16 * 1024 - 64)

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) char data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = alignof(max_align_t);
    struct arena_block *b = a->head;
    void *p;

    if (size > SIZE_MAX / 8)
        err_out_of_memory();
    size = (size + align - 1) & ~(align - 1);
    if (!b || b->size - b->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

        b = mem_alloc(sizeof *b + room);
        b->used = 0;
        b->size = room;
        /* A block made for one large request goes behind the current one, which still has room. */
        if (a->head && size > BLOCK_SIZE) {
            b->next = a->head->next;
            a->head->next = b;
        } else {
            b->next = a->head;
            a->head = b;
        }
    }
    p = b->data + b->used;
    b->used += size;
    return memset(p, 0, size);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);

    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *text;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0)
        len = 0;
    text = arena_alloc(a, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

void *arena_push(struct arena *a, void *items, size_t *count, size_t elem_size)
{
    void **array = items;
    size_t n = *count;

    if (n == 0 || (n & (n - 1)) == 0) {
        size_t capacity = n == 0 ? 1 : n * 2;
        void *bigger;

        if (capacity > SIZE_MAX / 4 / elem_size)
            err_out_of_memory();
        bigger = arena_alloc(a, capacity * elem_size);
        if (n > 0)
            memcpy(bigger, *array, n * elem_size);
        *array = bigger;
    }
    *count = n + 1;
    return (char *)*array + n * elem_size;
}

void arena_free(struct arena *a)
{
    while (a->head) {
        struct arena_block *next = a->head->next;

        free(a->head);
        a->head = next;
    }
}

void *heap_copy(const void *from, size_t size)
{
    return size > 0 ? memcpy(mem_alloc(size), from, size) : NULL;
}
