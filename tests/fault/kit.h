/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_KIT_H
#define TESTS_FAULT_KIT_H

/* Texts and files. */

#include <stdbool.h>
#include <stddef.h>

/* Says what failed, of errno, and ends the program. */
_Noreturn void die(const char *what);

/* At the end of @text; what does not fit is left out. */
__attribute__((format(printf, 3, 4))) void append(char *text, size_t size, const char *fmt, ...);

bool ends_with(const char *text, const char *end);

/* Whether one of the words between blanks is @word. */
bool has_word(const char *text, const char *word);

/* All of a file, or its beginning. */
bool read_text(const char *path, char *ret, size_t size);

/* To a file that is there, at once. */
bool write_text(const char *path, const char *text);

/* A new one, or in place of the old one. */
void make_file(const char *path, const char *text);

#endif
