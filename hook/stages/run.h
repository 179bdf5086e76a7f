/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_STAGES_RUN_H
#define HOOK_STAGES_RUN_H

/*
 * One run of a stage, and what setup.c and teardown.c share. Internal to this room.
 */

#include "hook/sandbox/change.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "hook/stages/stages.h"

/* Shorter than any hook timeout that makes sense, longer than any stage takes. */
#define RUN_LOCK_TIMEOUT_MS 10000

struct run {
    const struct request *request;
    const struct oci_input *input;
    enum stage stage;
    struct arena *a;
    struct cg_host host;
    struct state_dir state;
    struct facts facts;
    struct state_lock lock;
    struct record before; /* the record as it was found */
    enum record_state found;
    /*
     * Its containers other than this one, as of when the lock was got; and those that live. One
     * that has died without a poststop no longer counts, but stays in the record until the limits
     * without it are in force.
     */
    struct json_list others, alive;
    const char *process_path; /* for plan_input */
    struct plan plan;
};

/* What the plan of this stage is made from; without other containers. */
struct plan_input run_plan_input(const struct run *run);

/* Lock a sandbox and read its record. Errors as state_lock() and record_read(). */
int run_lock(struct run *run, const char *sandbox_id, bool make, struct err *e);

/* The resources of containers of a record. Lives in the run's arena. */
const struct oci_resources *const *run_resources(const struct run *run,
                                                 const struct json_list *containers);

/* A copy of a list of containers with one more, in front. */
struct json_list run_with_container(const struct run *run, const struct json_list *containers,
                                    const struct record_container *c);

/* From the limits of the record's containers to what @plan says. */
struct change run_change(const struct run *run, struct plan *plan);

/* Forget where to look for containers that were in the record and are not in @now. */
void run_unlink_dropped(const struct run *run, const struct record *now);

/* What a plan says of a sandbox that has no record yet, or none that can be read. */
struct record run_planned_record(const struct plan *p, struct arena *a);

/* prestart, createRuntime and poststart. Idempotent; on failure nothing is left of it. 0; -errno. */
int run_set_up(struct run *run, struct err *e);

/* poststop. Idempotent. 0, also when nothing was ever set up; -errno of the first step that failed.
 */
int run_tear_down(struct run *run, struct err *e);

#endif
