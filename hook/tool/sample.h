/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_SAMPLE_H
#define HOOK_TOOL_SAMPLE_H

/* What all sandboxes that run use now, for who compares them. No lock is taken: stages are not held up. */

#include "hook/plan/names.h"
#include "hook/tool/usage.h"
#include "hook/tool/view.h"

struct sample {
    const char *sandbox_id;
    struct names names;
    struct usage usage;
    bool only;                 /* sandbox_cgroup_only: there is nothing to place */
    bool split;                /* vCPUs are apart */
    bool watcher_missing;      /* it was killed */
    const char *placement;     /* "none", "partial", "complete" */
    struct json_u64 expected;  /* vCPUs; not set: unknown */
    unsigned long long now_us; /* when it was taken, io_now_us() */
    uint64_t
        age_us; /* then, of its eldest container that is recorded; CG_UNKNOWN where there is none */
};

struct samples {
    struct sample *items; /* by id; in the arena of samples_take() */
    size_t count;
    size_t dead;         /* sandboxes whose containers have ended, or that are of another boot */
    const char **errors; /* of each that could not be read, and is left out: a line that says why */
    size_t error_count;
};

/*
 * Of the sandbox @id. @v has host and state directory. 1; 0 it does not run, or has gone, or is being made: @ret_dead
 * says whether it is dead; -errno.
 */
int sample_take(const struct view *v, const char *id, const struct settings *settings,
                struct arena *a, struct sample *ret, bool *ret_dead, struct err *e);

/* The ids of all, sorted, in @a. 0; -errno: the state directory cannot be read. */
int samples_ids(const struct view *v, struct arena *a, const char ***ret, size_t *ret_count,
                struct err *e);

/* Of all. 0; -errno as above. */
int samples_take(const struct view *v, const struct settings *settings, struct arena *a,
                 struct samples *ret, struct err *e);

/* What a sandbox used between two samples of it. Shares are in hundredths of a per cent, CG_UNKNOWN where nobody knows. */
struct sample_use {
    struct usage usage;
    uint64_t took_us;
    uint64_t vcpu, overhead; /* of one CPU */
    uint64_t throttled;      /* periods, of the quota that throttles the guest */
};

/* Pure. */
void sample_between(const struct sample *before, const struct sample *after,
                    struct sample_use *ret);

#endif
