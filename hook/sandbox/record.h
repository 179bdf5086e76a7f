/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_RECORD_H
#define HOOK_SANDBOX_RECORD_H

/*
 * The sandbox's record: what a sandbox is and what was made for it, written before it is made, so
 * that a kill at any instant leaves a record from which teardown or prune removes everything.
 *
 *   <state dir>/sandboxes/<sandbox id>/record.json   replaced by temporary file, fsync, rename
 *   <state dir>/sandboxes/<sandbox id>/lock          held while a stage changes the sandbox
 *   <state dir>/sandboxes/<sandbox id>/placement.json  the watcher's, see placement.h
 *   <state dir>/containers/<container id>            symbolic link to the sandbox's id, for
 * containers of a pod: poststop may come without annotations <state dir>/parents/ see
 * cgroup/parents.h
 */

#include "base/proc.h"
#include "cgroup/parents.h"
#include "oci/json.h"
#include "oci/resources.h"

#include <limits.h>
#include <stdbool.h>

#define RECORD_SCHEMA            1
#define RECORD_FILE              "record.json"
#define RECORD_DEFAULT_STATE_DIR "/run/oci-sandbox-cgroup"

struct record_process {
    struct json_i64 pid;
    struct json_u64 start_time;
};

struct record_container {
    char *id;
    char *bundle;
    struct record_process *init;
    struct record_process *placeholder; /* in the runtime's own scope; NULL without systemd */
    char *runtime_path;                 /* the runtime's own cgroup */
    struct oci_resources *resources;    /* device nodes folded into its device rules */
};

struct record {
    struct json_i64 schema;
    char *boot_id;
    char *sandbox_id;
    struct json_bool sandbox_cgroup_only;
    char *policy_source;
    char *manager; /* "cgroupfs", "systemd" */
    char *mode;    /* "v1", "hybrid", "v2" */
    char *layout;
    struct json_bool enable_vcpus_pinning;
    char *parent_path;
    char *sandbox_path;
    char *vcpu_path;
    char *overhead_path; /* NULL with sandbox_cgroup_only */
    char *slice;         /* the sandbox's; this and the units are NULL without systemd */
    char *sandbox_unit;
    char *overhead_unit; /* NULL on v2, where the overhead is in the sandbox's scope */
    struct record_process *watcher;
    struct record_process *placeholder; /* in the sandbox scope on v1 */
    struct json_list containers;        /* struct record_container */
};

struct proc_id record_process_id(const struct record_process *p); /* pid 0 for NULL */
struct record_process *record_process_new(struct arena *a, const struct proc_id *id);

/* The container of this id, NULL if there is none. Of several the first: the others are dead
 * predecessors, whose limits may still be in force. */
struct record_container *record_find(const struct record *r, const char *container_id);

/* True while the init process of the container lives; one that was only created has one, too. */
bool record_container_is_alive(const struct record_container *c);

/* True while the init process of some container lives. */
bool record_is_alive(const struct record *r);

/* The state directory, opened once. */
struct state_dir {
    int sandboxes, containers, paths;
    struct cg_parents parents;
};

#define STATE_DIR_INIT                                                                             \
    {                                                                                              \
        FD_NONE, FD_NONE, FD_NONE,                                                                 \
        {                                                                                          \
            FD_NONE                                                                                \
        }                                                                                          \
    }

/*
 * Open, and with @make create, the state directory.
 * 0; -ENOENT there is none (without @make); other -errno.
 */
int state_dir_open(const char *path, bool make, struct state_dir *ret, struct err *e);
void state_dir_close(struct state_dir *s);

/* One sandbox's directory, locked. */
struct record_lock {
    int dirfd;
    int lock_fd;
};

#define RECORD_LOCK_INIT                                                                           \
    {                                                                                              \
        FD_NONE, FD_NONE                                                                           \
    }

/*
 * Lock a sandbox. @make creates its directory. Waits for another stage, @timeout_ms at most; 0: do
 * not wait. 0; -ENOENT no such sandbox; -ETIMEDOUT another stage holds it; other -errno.
 */
int record_lock(const struct state_dir *s, const char *sandbox_id, bool make, int timeout_ms,
                struct record_lock *ret, struct err *e);
void record_unlock(struct record_lock *lock);

enum record_state {
    RECORD_NONE, /* no record was written yet */
    RECORD_VALID,
    RECORD_OTHER_BOOT, /* nothing of what it describes can still exist */
};

/*
 * Read the record of a locked sandbox.
 * 0 with @ret_state; -EPROTO another schema version or a file that is no record (@e says which).
 */
int record_read(const struct record_lock *lock, struct arena *a, struct record *ret,
                enum record_state *ret_state, struct err *e);

/* Write it, with the current schema and boot id. 0; -errno. */
int record_write(const struct record_lock *lock, struct arena *a, struct record *r, struct err *e);

/* Remove record, claim (see claim.h), lock and directory of a locked sandbox; the lock is released.
 * @path the sandbox cgroup, NULL if it is not known. Never fails loudly: what stays is an empty
 * directory, or a claim, that prune removes. */
void record_remove(const struct state_dir *s, const char *sandbox_id, const char *path,
                   struct record_lock *lock);

/* The same for a directory that was made for a stage that failed before it wrote a record; one that
 * has a record stays. Nothing happens when the lock is not held. */
void record_abandon(const struct state_dir *s, const char *sandbox_id, const char *path,
                    struct record_lock *lock);

/* Remember and forget which sandbox a container of a pod belongs to; nothing to do when the ids are
 * the same. 0; -errno. Meanwhile the id may have become that of a container of another sandbox:
 * only
 * @sandbox_id, NULL for any, is forgotten. */
int record_link(const struct state_dir *s, const char *container_id, const char *sandbox_id,
                struct err *e);
void record_unlink(const struct state_dir *s, const char *container_id, const char *sandbox_id);

/* The sandbox of a container: its own id if there is a sandbox of that name, else by link.
 * 0; -ENOENT unknown. */
int record_lookup(const struct state_dir *s, const char *container_id, struct arena *a,
                  const char **ret_sandbox_id);

/* The ids of all sandboxes that have a directory, in no order. */
int record_list(const struct state_dir *s, struct arena *a, const char ***ret, size_t *ret_count,
                struct err *e);

/* The ids of @max of them, or fewer, by chance; how many. The cost is that of reading the
 * directory. */
size_t record_sample(const struct state_dir *s, size_t max, char (*ret)[NAME_MAX + 1]);

/* The record as JSON, as `show --json` prints it. */
void record_write_json(struct json_writer *w, const char *key, const struct record *r);

#endif
