/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_FILES_KIT_H
#define TESTS_UNIT_KIT_FILES_KIT_H

/* Directories of a test's own. */

#include <stdbool.h>
#include <stddef.h>

/* As mkdtemp(). It is removed with all that is in it when the test ends, even by being skipped,
 * when no .fini is called. */
void kit_make_dir(char *path);

/* With all that is in it, following no link and entering no mount. */
void kit_remove_tree(const char *path);

/* Make or replace a file; relative to the working directory, which no test changes. */
void kit_write_file(const char *path, const char *text);

/* Make a file at @root and @path, one text behind the other, that anybody may run, with the directories above it. */
void kit_put_below(const char *root, const char *path, const char *text);

/* A descriptor to read this from, from its beginning; the file has no name. */
int kit_file_with(const char *text, size_t len);

/* The permission bits, 0 if it is not there; and whether it is. Links are not followed. */
unsigned kit_mode_of(int dirfd, const char *path);
bool kit_exists_at(int dirfd, const char *path);

#endif
