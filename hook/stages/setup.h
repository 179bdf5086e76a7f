/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_STAGES_SETUP_H
#define HOOK_STAGES_SETUP_H

/*
 * The stages: what a runtime calls us for.
 *
 * setup      plan, write the record, make both cgroups, move the container's process and the
 * watcher in. Rolls back everything on failure: the process goes back to the runtime's cgroup.
 * update     setup for whoever has not been set up, then one placement pass, so that a runtime that
 * has poststart gets its vCPUs placed sooner than by the watcher alone. teardown   forget the
 * container; with the last one everything is removed. Does all it can, whatever is missing
 * (config.json, bundle, pid, record), and reports the first failure.
 *
 * Every stage is idempotent, and the sandbox's lock makes concurrent ones take turns.
 */

#include "hook/plan/plan.h"
#include "hook/sandbox/record.h"

struct request {
    enum stage stage; /* STAGE_NONE: derived from the state */
    const char *state_dir;
    const struct hook_config *hook;
    struct json_bool only_argument;
};

/* Read the hook's stdin and complete the input: stage from the state, config.json from the bundle.
 * A missing config.json is an error except in a teardown. 0; -EINVAL; -ENOENT; other -errno. */
int lifecycle_read(int fd, enum stage *stage, struct arena *a, struct oci_input *ret,
                   struct err *e);

/* Run a stage on what lifecycle_read() gave. 0; -errno with what failed, on which file, in @e. */
int lifecycle_run(const struct request *request, const struct oci_input *input, struct arena *a,
                  struct err *e);

#endif
