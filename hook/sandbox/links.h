/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_LINKS_H
#define HOOK_SANDBOX_LINKS_H

/*
 * What the state directory has of sandboxes besides their records: tables of base/links.h.
 *
 *   containers/<container id>    "<sandbox id>", for a poststop without annotations, in a pod
 *   paths/<hash of the name>     "<sandbox id><name>": whose a cgroup or a scope is; the name is a
 *                                cgroup's path, or two slashes and a unit's name
 *
 * Two containers may come with the same cgroupsPath, and so with the same sandbox cgroup: the
 * second one is not to change the limits of the first, nor the end of the first to throw the second
 * one out. A claim to a path is taken under the lock of its sandbox, before the sandbox has a
 * record, and released under it when there is no record any more. So a claim whose sandbox, locked,
 * has no record is what a killed stage left.
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;
struct state_dir;

/*
 * Remember and forget which sandbox a container belongs to; nothing to do when the ids are the
 * same. Meanwhile the id may have become that of a container of another sandbox: only @sandbox_id,
 * NULL for any, is forgotten. 0; -errno.
 */
int links_add_container(const struct state_dir *s, const char *container_id, const char *sandbox_id,
                        struct err *e);
void links_drop_container(const struct state_dir *s, const char *container_id,
                          const char *sandbox_id);

/* The sandbox that is remembered for a container. 0; -ENOENT none; other -errno: it is not known. */
int links_find_container(const struct state_dir *s, const char *container_id, struct arena *a,
                         const char **ret);

/*
 * Claim the cgroup @path (clean, from the mount root), or a unit, for a sandbox that is locked.
 * 0, also when it has it already; -EEXIST it is another's, @ret_owner (in @a); other -errno.
 */
int links_claim(const struct state_dir *s, const char *sandbox_id, const char *path,
                struct arena *a, const char **ret_owner, struct err *e);

/* 0, also when the sandbox does not have it; -errno: it is not known whether it has, and prune will look again. */
int links_release(const struct state_dir *s, const char *sandbox_id, const char *path);

/* All that a sandbox has claimed: what is known of it without its record. 0; -errno. */
int links_names(const struct state_dir *s, const char *sandbox_id, struct arena *a,
                const char ***ret, size_t *ret_count);

/* Whose a cgroup or a unit is. 1, and the sandbox in @ret (in @a); 0 nobody's; -errno: it is not known. */
int links_owner(const struct state_dir *s, const char *path, struct arena *a, const char **ret);

/* Whether it is another sandbox's. 1 yes; 0 no; -errno: it is not known. */
int links_is_foreign(const struct state_dir *s, const char *sandbox_id, const char *path);

/* Forget what is remembered of sandboxes that have no directory any more. 0; -errno not all could be looked at. */
int links_sweep_dead(const struct state_dir *s);

#endif
