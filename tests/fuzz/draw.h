/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_DRAW_H
#define TESTS_FUZZ_DRAW_H

/*
 * Choices made by the fuzzer's bytes, for targets whose inputs have a grammar: what is made of them
 * is valid most of the time, and a changed byte changes one choice. Behind the last byte each choice
 * is the first one, so that every input has an end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct draw {
    const uint8_t *data;
    size_t len;
};

/* 0 to @count - 1. */
uint64_t draw_below(struct draw *d, uint64_t count);

/* Once in @count times; never behind the last byte. */
bool draw_one_in(struct draw *d, unsigned count);

/* @min to @max, often one of these, a small number or a power of two. */
int64_t draw_i64(struct draw *d, int64_t min, int64_t max);

/* One of these texts. */
const char *draw_text(struct draw *d, const char *const *texts, size_t count);
#define DRAW_ONE_OF(d, ...)                                                                        \
    draw_text(d, (const char *const[]){__VA_ARGS__},                                               \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

#endif
