/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_EXPLAIN_H
#define HOOK_PLAN_EXPLAIN_H

/*
 * Why a plan is as it is, for people. Nothing is decided here: what was decided is in the plan, and
 * beside it, in struct plan_reasons and struct aggregate_notes, why. This only finds the words.
 * A stage never comes here. Pure.
 */

#include "hook/plan/plan.h"

struct explain_row {
    const char *decision; /* what was decided: "layout", "limit memory.max", "device c 1:3 rwm" */
    const char *value;    /* "none" and "left out" are values, too */
    const char *reason;   /* a sentence without its full stop */
    const char *source;   /* "default", "configuration: KEY", an option, an annotation, a member of
                           * config.json, with the containers that it is of */
};

struct explain {
    struct explain_row *rows;
    size_t count;
};

/* Of a plan that plan_fill() has made of this input; rows and new texts are in @a. */
void explain_plan(const struct plan_input *in, const struct plan *p, struct arena *a,
                  struct explain *ret);

/* ---- for explain.c and explain_limits.c ---- */

struct explain_job {
    const struct plan_input *in;
    const struct plan *p;
    struct arena *a;
    struct explain *ret;
};

void explain_add(const struct explain_job *job, const char *decision, const char *value,
                 const char *reason, const char *source);

/* A key of the configuration as a source: where the file does not name it, "default". */
const char *explain_key(bool named, const char *key);

/* The rows of limits that are written, taken away or left out. */
void explain_limits(const struct explain_job *job);

/* Those of the overhead's. */
void explain_overhead(const struct explain_job *job);

#endif
