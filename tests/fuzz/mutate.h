/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Change one value of a JSON text, so that it stays JSON: it becomes another value of the same text,
 * a word or number that a parser may stumble over, or it is there twice, or no more. Changing bytes
 * alone seldom gets behind a parser.
 * @data  of @size bytes, with room for @max. Returns the new size; 0: there is no value in it.
 */
size_t mutate_json(uint8_t *data, size_t size, size_t max, unsigned seed);

#endif
