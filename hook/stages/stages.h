/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_STAGES_STAGES_H
#define HOOK_STAGES_STAGES_H

/*
 * hook/stages/ is what a runtime calls us for:
 *
 *   setup     plan, write the record, make both cgroups, move the container's process and the
 *             watcher in. On failure all is undone: the process goes back to the runtime's cgroup.
 *   update    setup for whoever has not been set up, then one placement pass, so that a runtime
 *             that has poststart gets its vCPUs placed sooner than by the watcher alone.
 *   teardown  forget the container; with the last one everything is removed. Does all it can,
 *             whatever is missing (config.json, bundle, pid, record); the first failure is told.
 *
 * Every stage is idempotent, and the sandbox's lock makes concurrent ones take turns.
 */

#include "hook/plan/settings.h"
#include "hook/plan/stage.h"

struct err;
struct oci_input;

struct request {
    enum stage stage;
    const char *state_dir;
    const struct settings *settings;
    struct json_bool only_argument;
    enum layout_word layout_argument;
    /* Become the program that can talk to systemd, with the same arguments and input. Returns -errno, or not. It is
     * called before anything was done that would have to be undone. */
    int (*become_other)(const void *arg, struct err *e);
    const void *become_arg;
};

/* Run a stage on what input_read() gave. 0; -errno with what failed, on which file, in @e. */
int stages_run(const struct request *request, const struct oci_input *input, struct arena *a,
               struct err *e);

#endif
