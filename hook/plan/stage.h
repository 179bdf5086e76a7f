/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_STAGE_H
#define HOOK_PLAN_STAGE_H

/* The stages of a container at which a runtime calls us (runtime-spec runtime.md "Lifecycle"). */

struct oci_state;
struct err;

enum stage {
    STAGE_NONE, /* not on the command line: derived from the state */
    STAGE_PRESTART,
    STAGE_CREATE_RUNTIME,
    STAGE_POSTSTART,
    STAGE_POSTSTOP,
};

/* What a stage does. prestart and createRuntime set up, poststart updates, poststop tears down. */
enum action { ACTION_SETUP, ACTION_UPDATE, ACTION_TEARDOWN };

const char *stage_name(enum stage stage);
/* 0; -EINVAL no stage of this name */
int stage_parse(const char *name, enum stage *ret);
enum action stage_action(enum stage stage);

/*
 * The stage that a state document stands for: creating and created set up, running updates, stopped
 * tears down; without a status (Kata's hook runner sends "") a pid means set up, none tear down.
 * 0; -EINVAL a status that is none of these.
 */
int stage_from_state(const struct oci_state *state, enum stage *ret, struct err *e);

#endif
