/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_RECORD_H
#define HOOK_SANDBOX_RECORD_H

/*
 * The sandbox's record: what a sandbox is and what was made for it, written before it is made, so
 * that a kill at any instant leaves a record from which teardown or prune removes everything.
 * Where it is kept: state_dir.h.
 */

#include "base/proc.h"
#include "hook/plan/layout.h"
#include "oci/json.h"
#include "oci/resources.h"

#include <stdbool.h>
#include <sys/stat.h>

#define RECORD_SCHEMA 4
#define RECORD_FILE   "record.json"

struct state_dir;
struct state_lock;

struct record_process {
    struct json_i64 pid;
    struct json_u64 start_time;
};

struct record_container {
    char *id;
    char *bundle;
    char *name, *pod, *pod_namespace; /* of hook/plan/names.h; versions before have none */
    struct record_process *init;
    struct record_process *placeholder; /* in the runtime's own cgroup, which init has left */
    char *runtime_path;                 /* the runtime's own cgroup */
    struct oci_resources *resources;    /* device nodes folded into its device rules */
    /* Of one without a PID namespace of its own: init's mount namespace as /proc/PID/ns/mnt says it, "" if that is not
     * known. NULL: it has one, or a version before this set it up. */
    char *mounts;
    /* drift_print() of runtime_path when `update` set limits for the last time: what is in there was said before. */
    struct json_u64 runtime_print;
};

/* A cgroup whose quota is lifted; see fence.h. */
struct record_fence {
    char *path;    /* clean, from the mount root */
    char *cpu_max; /* the runtime's last word; NULL: not known yet */
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
    char *layout_warning; /* what the layout costs with this runtime; NULL: nothing */
    struct json_bool enable_vcpus_pinning;
    char *overhead_quota; /* cpu.max by annotation, in place of that of overhead_limits; or NULL */
    char *parent_path;
    char *sandbox_path;
    char *vcpu_path;
    char *overhead_path; /* NULL with sandbox_cgroup_only */
    char *slice;         /* the sandbox's; this and the units are NULL without systemd */
    char *sandbox_unit;
    char *overhead_unit; /* NULL on v2, where the overhead is in the sandbox's scope */
    /* The cgroups and scopes were made, by us. Until then what has their names may be a stranger's. */
    struct json_bool made;
    /* systemd's InvocationID of each scope; NULL: not known. */
    char *sandbox_invocation, *overhead_invocation;
    struct record_process *watcher;
    struct record_process *placeholder; /* in the overhead scope, on v1 */
    struct json_list containers;        /* struct record_container */
    /* Every file of ours that may hold a limit, by name, with the text that was to be written last;
     * struct json_pair. Schema 1 has none. */
    struct json_list sandbox_files;
    /* What add-device and remove-device have said, in their order; struct oci_device_rule. */
    struct json_list devices;
    struct oci_resources *updated; /* of `update`, see hook/plan/override.h; NULL: nothing */
    /* v2: struct record_fence, the cgroup that the vCPUs' is in first. None with sandbox_cgroup_only and in
     * records of versions without it. */
    struct json_list fence;
    /* Set: a split was begun. True: "+cpu" in the subtree_control of the cgroup around is ours. */
    struct json_bool cpu_enabled;
};

struct proc_id record_process_id(const struct record_process *p); /* pid 0 for NULL */
struct record_process *record_process_new(struct arena *a, const struct proc_id *id);

/* The container of this id, NULL if there is none. Of several the first: the others are dead
 * predecessors, whose limits may still be in force. */
struct record_container *record_find(const struct record *r, const char *container_id);

/* Whether the init process of the container lives; one that was only created has one, too. 1; 0; -errno: it is
 * not known. */
int record_container_is_alive(const struct record_container *c);

/*
 * Its containers other than @container_id; and those of them that live. One that has died without a
 * poststop no longer counts for the limits. A dead one of the same id is another: a predecessor.
 * 0; -errno: of one it is not known whether it lives, and both lists are empty.
 */
int record_others(const struct record *r, const char *container_id, struct arena *a,
                  struct json_list *ret_others, struct json_list *ret_alive);

/* A copy of a list with one more in front, for record_find() to find it and no predecessor. */
struct json_list record_with_container(const struct json_list *containers,
                                       const struct record_container *c, struct arena *a);

/* Whether the VMM stays in the runtime's cgroup, layout nested. */
bool record_is_nested(const struct record *r);

/* Whether the runtime's cgroups are scopes. */
bool record_is_systemds(const struct record *r);

/* Whether the init process of some container lives. 1; 0; -errno: none does as far as it is known. */
int record_is_alive(const struct record *r);

/* The names that are the sandbox's alone, for links_claim(); how many. None with layout nested, where
 * all is in or beside the runtime's own cgroup. */
#define RECORD_NAMES_MAX 4
size_t record_names(const struct record *r, struct arena *a,
                    const char *ret[static RECORD_NAMES_MAX]);

enum record_state {
    RECORD_NONE, /* no record was written yet */
    RECORD_VALID,
    RECORD_OTHER_BOOT, /* nothing of what it describes can still exist */
};

/*
 * Read the record of a locked sandbox.
 * 0 with @ret_state; -EPROTO another schema version or a file that is no record (@e says which).
 */
int record_read(const struct state_lock *lock, struct arena *a, struct record *ret,
                enum record_state *ret_state, struct err *e);

/*
 * The layout of the sandbox that a container is in: LAYOUT_UNSAID when it is in none, or has died.
 * Looks without a lock, as only the container's own stages change this.
 * 0; -errno it is not known.
 */
int record_layout(const char *state_dir, const char *container_id, struct arena *a,
                  enum layout_word *ret, struct err *e);

/*
 * Whether the cgroup @path is the runtime's own of a container that lives: when its processes are in one of
 * ours it is empty, and still not free. Looks without a lock, at all records. 1; 0; -errno: it is not known.
 */
int record_path_is_runtimes(const struct state_dir *s, const char *path, struct arena *a,
                            struct err *e);

/*
 * Which file a record was read from: each write makes another one. As long as it is held no other file gets its
 * number, so who finds it again need not read it again.
 */
struct record_mark {
    int fd; /* FD_NONE: no file is held */
    struct stat file;
};
#define RECORD_MARK_INIT                                                                           \
    {                                                                                              \
        .fd = FD_NONE                                                                              \
    }

/* Hold the one in that directory of a sandbox, and no other any more; none, if it cannot be opened. */
void record_mark(struct record_mark *m, int dirfd);

void record_unmark(struct record_mark *m);

/* Whether that is the file at @path. 1; 0: it is another one; -ENOENT there is none; other -errno. */
int record_is_marked(const struct record_mark *m, int dirfd, const char *path);

/* Write it, with the current schema and boot id. 0; -errno. */
int record_write(const struct state_lock *lock, struct arena *a, struct record *r, struct err *e);

/* The record as JSON, as `show --json` prints it. */
void record_write_json(struct json_writer *w, const char *key, const struct record *r);

#endif
