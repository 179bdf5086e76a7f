/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LINKS_H
#define BASE_LINKS_H

/*
 * A table on disk: a directory of symbolic links that point nowhere. The name of a link is the key
 * of a row, what it points to its text. One system call makes or removes a row, so a kill leaves it
 * as it was or as it is to be, and nothing has to be locked to read it. Where the table is a directory of
 * @dirfd its name and a slash come before the key.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define LINKS_KEY_SIZE 17

/* A key for what may be too long for a name, or have a "/" in it: the hash of a text. Two texts may
 * have the same one, so the row's text has to say which it is of. @buf is returned. */
const char *links_key(const char *text, char buf[static LINKS_KEY_SIZE]);

/* Make a row. 0; -EEXIST there is one of this key; other -errno. */
int links_set(int dirfd, const char *key, const char *text);

/* Read one. 0; -ENOENT there is none, or one that nobody of us has made; other -errno. */
int links_get(int dirfd, const char *key, char text[static PATH_MAX]);

/* Remove one. Nothing happens when there is none. */
void links_drop(int dirfd, const char *key);

/* Remove every row of the table that is the directory @table of @dirfd and that @is_stale(text, @arg) says true
 * of. It may change the text. 0; -errno of the first that could not be read, which stays, or of the table. */
int links_sweep(int dirfd, const char *table, bool (*is_stale)(char *text, const void *arg),
                const void *arg);

#endif
