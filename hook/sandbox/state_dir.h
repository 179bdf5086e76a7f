/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_STATE_DIR_H
#define HOOK_SANDBOX_STATE_DIR_H

/*
 * The state directory: one directory for each sandbox, locked while a stage changes it.
 *
 *   sandboxes/<sandbox id>/record.json     see record.h; replaced by temporary file, fsync, rename
 *   sandboxes/<sandbox id>/lock            held while a stage changes the sandbox
 *   sandboxes/<sandbox id>/placement.json  the watcher's, see placement.h
 *   containers/, paths/                    see links.h
 *   parents/                               see cgroup/parents.h
 */

#include "base/cleanup.h"
#include "cgroup/parents.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;
struct record;
struct stat;

#define STATE_DIR_NAME    "oci-sandbox-cgroup"
#define STATE_DIR_DEFAULT "/run/" STATE_DIR_NAME

/* The state directory, opened once. Of its tables each row is named from the top: nobody else may write there. */
struct state_dir {
    int top;
    int sandboxes;
    struct cg_parents parents; /* in the top */
};

#define STATE_DIR_INIT                                                                             \
    {                                                                                              \
        FD_NONE, FD_NONE,                                                                          \
        {                                                                                          \
            FD_NONE, NULL                                                                          \
        }                                                                                          \
    }

#define STATE_CONTAINERS "containers"
#define STATE_PATHS      "paths"

/*
 * The state directory of a user without root: oci-sandbox-cgroup in $XDG_RUNTIME_DIR, or where the
 * engine did not hand that on, in /run/user/UID, UID as the outside of our user namespace has it.
 * The environment is the user's word, so the directory has to be our own and closed to others.
 * NULL: there is none.
 */
const char *state_dir_of_user(struct arena *a);

/*
 * Open, and with @make create, the state directory.
 * 0; -ENOENT there is none (without @make); -EPERM others may have written in it; other -errno.
 */
int state_dir_open(const char *path, bool make, struct state_dir *ret, struct err *e);
void state_dir_close(struct state_dir *s);

/* One sandbox's directory, locked. */
struct state_lock {
    int dirfd;
    int lock_fd;
};

#define STATE_LOCK_INIT                                                                            \
    {                                                                                              \
        FD_NONE, FD_NONE                                                                           \
    }

/*
 * Lock a sandbox. @make creates its directory. Waits for another stage, @timeout_ms at most; with 0
 * not at all. 0; -ENOENT no such sandbox; -ETIMEDOUT another stage holds it; other -errno.
 */
int state_lock(const struct state_dir *s, const char *sandbox_id, bool make, int timeout_ms,
               struct state_lock *ret, struct err *e);
void state_unlock(struct state_lock *lock);

/* As state_lock() without the lock, only to read: a record is replaced as a whole. */
int state_look(const struct state_dir *s, const char *sandbox_id, struct state_lock *ret,
               struct err *e);

/* Remove record, claims (see links.h), lock and directory of a locked sandbox; the lock is released.
 * @names: has the names that are claimed, as far as they are known. 0: what may stay is a
 * directory without a record, that prune removes; -errno: the record cannot be removed, so that all stays, or a
 * claim could not be looked at, which alone stays, and prune looks again. */
int state_remove(const struct state_dir *s, const char *sandbox_id, const struct record *names,
                 struct state_lock *lock, struct err *e);

/* The same for a directory that was made for a stage that failed before it wrote a record; one that
 * has a record stays. Nothing happens when the lock is not held. */
void state_abandon(const struct state_dir *s, const char *sandbox_id, const struct record *names,
                   struct state_lock *lock);

/* Whether a file or directory of the state is the caller's, and nobody else may write to it. */
bool state_is_ours(const struct stat *st);

/* The sandbox of a container: by link, else its own id if there is a sandbox of that name.
 * 0; -ENOENT there is none; other -errno: it is not known. */
int state_lookup(const struct state_dir *s, const char *container_id, struct arena *a,
                 const char **ret_sandbox_id);

/* The ids of all sandboxes that have a directory, in the order of their bytes. */
int state_list(const struct state_dir *s, struct arena *a, const char ***ret, size_t *ret_count,
               struct err *e);

/* The ids of @max of them, or fewer, by chance; how many. It reads the whole directory. */
size_t state_sample(const struct state_dir *s, size_t max, char (*ret)[NAME_MAX + 1]);

#endif
