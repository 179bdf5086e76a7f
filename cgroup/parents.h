/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_PARENTS_H
#define CGROUP_PARENTS_H

/*
 * Parent cgroups that had to be made for a sandbox (/kata_overhead, /vc), and who may remove them.
 *
 * A parent is shared: the sandbox that made it is often not the last one to leave it, and an
 * operator may have made it before us, with settings. So a marker in the state directory remembers
 * each parent of each hierarchy that we made, from before it is made until after it is removed; the
 * sandbox that leaves an empty parent with a marker removes both. A marker is a symbolic link that
 * points nowhere: one atomic system call with the path as its content.
 *
 * There is no lock, which one stopped process could keep from all sandboxes: who makes a parent sets the
 * marker before and after, and who removes one sets it again if it is there by then. What can go wrong in the
 * few microseconds in between is that somebody else's empty directory gets a marker, or that a kill leaves an
 * empty one of ours without.
 */

struct cg_hierarchy;
struct cg_host;
struct err;

struct cg_parents {
    int dirfd;         /* above the markers; FD_NONE: none, parents are made but never removed */
    const char *table; /* the directory in it that they are in; borrowed */
};

/* Remember, then make one parent. 0 (EEXIST included); -errno. */
int cg_parents_make(struct cg_parents *p, const struct cg_hierarchy *h, const char *path,
                    struct err *e);

/* From the directory of @path upwards: remove each parent that has a marker and is empty. */
void cg_parents_remove(struct cg_parents *p, const struct cg_hierarchy *h, const char *path);

/* Remove every parent that has a marker and is empty: what a kill between two steps left. */
int cg_parents_sweep(struct cg_parents *p, const struct cg_host *host);

#endif
