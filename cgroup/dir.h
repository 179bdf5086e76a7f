/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DIR_H
#define CGROUP_DIR_H

/* One cgroup directory: making it, and reading the numbers in its files. */

#include <stdbool.h>
#include <stdint.h>

struct cg_hierarchy;
struct cg_parents;
struct err;

/*
 * Make the directory @path in one hierarchy and open it. Missing parents are made too, from the top
 * down, each remembered in @parents (NULL: not remembered).
 * @ret_made  whether the last component was made now. Returns an O_PATH fd, or -errno.
 */
int cg_make_dir(struct cg_parents *parents, const struct cg_hierarchy *h, const char *path,
                bool *ret_made, struct err *e);

/* The number that a file holds, or that of one "key value" line of it. 0; -ENOENT no such file; -ENODATA no
 * such line; -EINVAL no number; other -errno. */
int cg_read_number(int dirfd, const char *file, uint64_t *ret);
int cg_read_key(int dirfd, const char *file, const char *key, uint64_t *ret);

/* The sum of the numbers that stand right behind @key, wherever it is in the file. */
int cg_read_sum(int dirfd, const char *file, const char *key, uint64_t *ret);

#endif
