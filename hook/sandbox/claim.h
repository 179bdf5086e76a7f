/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_CLAIM_H
#define HOOK_SANDBOX_CLAIM_H

/*
 * Whose a sandbox cgroup is. Two containers may come with the same cgroupsPath, and so with the
 * same sandbox cgroup: the second one is not to change the limits of the first, nor the end of the
 * first to throw the second one out.
 *
 *   <state dir>/paths/<hash of the path>   symbolic link to "<sandbox id><path>"
 *
 * A claim is taken under the lock of its sandbox, before the sandbox has a record, and released
 * under it when there is no record any more. So a claim whose sandbox, locked, has no record is
 * what a killed stage left.
 */

struct arena;
struct err;
struct state_dir;

#include <stdbool.h>

/*
 * Claim the cgroup @path (clean, from the mount root) for a sandbox that is locked.
 * 0, also when it has it already; -EEXIST it is another's, @ret_owner (arena) says whose; other
 * -errno.
 */
int claim_take(const struct state_dir *s, const char *sandbox_id, const char *path, struct arena *a,
               const char **ret_owner, struct err *e);

/* Nothing happens when the sandbox does not have it. */
void claim_release(const struct state_dir *s, const char *sandbox_id, const char *path);

/* Whether it is another sandbox's. */
bool claim_is_foreign(const struct state_dir *s, const char *sandbox_id, const char *path);

/* Release claims of sandboxes that have no directory any more. */
void claim_sweep(const struct state_dir *s);

#endif
