/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SOAK_LIFE_H
#define TESTS_SOAK_LIFE_H

/*
 * Lives of containers and pods: a runtime sets one up, lets it run and takes it away, and now and then a stage is
 * killed. Then it does what runtimes do: it ends the container and calls poststop, or does not.
 */

#include "tests/soak/stage.h"

#include <limits.h>
#include <stddef.h>

enum stage_kind { SET_UP, POSTSTART, POSTSTOP, PRUNE, LIST, STAGE_KINDS };

struct tally {
    unsigned run, killed, failed;
};

/* What one job has done; it is shared with the process that reports. */
struct lives {
    unsigned long lived, pods;
    struct tally stages[STAGE_KINDS];
    int64_t usual_us[STAGE_KINDS]; /* how long one takes that nobody kills */
};

const char *stage_word(enum stage_kind kind);

/* The configurations of all layouts and policies, which all jobs share. */
enum { CONFS = 4 };
void confs_write(void);
const char *conf_path(size_t i);
const char *conf_word(size_t i);

/*
 * Run a stage of @kind and count it. With @kills about one of ten is killed, at an instant that this row draws. Not to be killed
 * and to fail is a failure, which is printed with @who. Returns whether it has done its work.
 */
bool life_stage(struct lives *l, enum stage_kind kind, const char *conf, const char *word,
                const char *input, const char *who, uint64_t *kills, struct stage *ret);

/* The whole life of number @i, of job @job, which follows from the two and the seed. */
void life_run(struct lives *l, uint64_t seed, unsigned long i, unsigned job);

/* Cgroups of pods that could not be removed while something of a sandbox was in them. */
void life_remove_parents(void);

/* The bundle of a container. */
void life_bundle(const char *id, const char *own, const char *annotations, char ret[PATH_MAX]);

#endif
