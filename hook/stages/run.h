/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_STAGES_RUN_H
#define HOOK_STAGES_RUN_H

/* One run of a stage, and what setup.c and teardown.c share. Internal to hook/stages. */

#include "hook/sandbox/change.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "hook/stages/stages.h"

/* Shorter than any hook timeout that makes sense, longer than any stage takes. */
#define RUN_LOCK_TIMEOUT_MS 10000

struct run {
    const struct request *request;
    const struct oci_input *input;
    struct oci_input completed; /* by run_see_config(): it is the input then */
    enum stage stage;
    struct arena *a;
    const char *state_dir; /* that of the request, or a user's own */
    struct cg_host host;   /* by run_see_host() */
    struct state_dir state;
    struct facts facts;
    struct state_lock lock;
    struct record before; /* the record as it was found */
    enum record_state found;
    /* record_others() as of when the lock was got. A dead one stays in the record until the limits
     * without it are in force. */
    struct json_list others, alive;
    const char *process_path; /* for plan_input */
    enum layout_word recorded_layout;
    const struct runtime *runtime;
    struct plan plan; /* its place by run_place(), the rest under the lock */
    int place_result;
    bool has_place;
    bool has_asked; /* for the config */
};

/* Look at the host, once; facts.mode is known then. As cg_host_look(). */
int run_see_host(struct run *run, struct err *e);

/* Read the config that a teardown has not, once. Whether there is one. */
bool run_see_config(struct run *run);

/* What the plan of this stage is made from; without other containers. */
struct plan_input run_plan_input(const struct run *run);

/* Decide the place of this run's plan, once; with run_see_config(). As run_see_host() and plan_place(); @e is set by
 * the first call. */
int run_place(struct run *run, struct err *e);

/* For what a plan or a record has units of systemd's in. 0: this program can talk to it; -errno it cannot, nor become
 * the one that can. */
int run_need_systemd(const struct run *run, const char *unit, struct err *e);

/* Lock a sandbox and read its record. Errors as state_lock() and record_read(). */
int run_lock(struct run *run, const char *sandbox_id, bool make, struct err *e);

/* Pure: the container as an earlier stage has recorded it for this very process, borrowed; NULL: none has. */
const struct record_container *run_recorded(const struct run *run, const struct proc_id *init);

/*
 * v1: the device list in force in the cgroup that the runtime has made for @init, which is at @origin now, and
 * of which the record says where it was if an earlier stage has moved it. The lock is held.
 * 0, and @ret is NULL where there is none; -errno.
 */
int run_read_devices(const struct run *run, const struct proc_id *init,
                     const struct cg_origin *origin, const struct cg_dev_exceptions **ret,
                     struct err *e);

/* Where the runtime has put the process that is at @origin. */
const char *run_origin_path(const struct run *run, const struct cg_origin *origin);

/* What the limits of the sandbox follow from, besides its containers; the run is planned. */
struct plan_basis run_basis(const struct run *run);

/* Forget where to look for containers that were in the record and are not in @now. */
void run_unlink_dropped(const struct run *run, const struct record *now);

/* Let the log know of a container that is new in the record. */
void run_tell_set_up(const struct run *run);

/*
 * The container of a new sandbox may not be inside of another sandbox's cgroup, whether that one lives or is to be
 * removed: its limits would hold it, and who ends what is left of that sandbox would end the container.
 * 0; -EEXIST it is; other -errno.
 */
int run_check_around(const struct state_dir *state, const struct plan *p, struct arena *a,
                     struct err *e);

/*
 * A new sandbox's cgroups and scopes must be nobody else's: claim those of @planned, NULL for none (with layout
 * nested they are the runtime's), and see that the container is not inside of another sandbox's. What a dead one
 * has is removed. Idempotent. 0; -EEXIST a sandbox that runs has one, or one is around it; other -errno.
 */
int run_claim(struct run *run, const struct record *planned, struct err *e);

/*
 * A cgroup that holds somebody, and that no record of ours names, is not taken over. @home, the planned sandbox
 * cgroup, is loaded and closed again. 0; -EEXIST; other -errno: it is not known.
 */
int run_check_free(const struct run *run, struct cg_controller *home, struct err *e);

/* What a plan says of a sandbox that has no record yet, or none that can be read. */
struct record run_planned_record(const struct plan *p, struct arena *a);

/* Whether the container has a cgroup of its own, and the settings have the VMM stay in it. */
bool run_can_be_nested(const struct run *run);

/* prestart, createRuntime, poststart. Idempotent; on failure nothing is left of it. 0; -errno. */
int run_set_up(struct run *run, struct err *e);

/* poststop. Idempotent. 0, also when nothing was set up; -errno of the first step that failed. */
int run_tear_down(struct run *run, struct err *e);

#endif
