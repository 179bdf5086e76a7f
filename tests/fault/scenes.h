/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_SCENES_H
#define TESTS_FAULT_SCENES_H

/* What is run with faults: each stage and each verb that writes, from what is there before to its end. */

#include "tests/fault/world.h"

/* How one run goes. */
struct run {
    bool first; /* without a fault: it says how it has to be */
    int what;
    unsigned variant; /* one of the ways to the end */
    struct outcome out;
    char problems[TEXT_SIZE]; /* a line for each */
};

__attribute__((format(printf, 2, 3))) void problem(struct run *run, const char *fmt, ...);

struct scene {
    const char *name;
    bool (*has)(enum layout layout); /* NULL: each */
    const char *resources;           /* of one; NULL: those that all have */
    const char *settings;            /* more members of the configuration; NULL: none */
    void (*prepare)(struct run *run);
    const char *words[6];
    struct container *subject; /* whose state is the input; NULL: none */
    const char *status;
    void (*check)(struct run *run); /* and bring it to its end */
    bool waits;                     /* most of a run is waiting */
    bool goes_on;                   /* it says what it cannot read, and goes on */
    const struct work *work;        /* not the words, but the watcher */
};
extern const struct scene scenes[];
extern const size_t scene_count;

/* Before the first run of a layout. */
void scenes_begin(enum layout layout);

/* One run from its beginning to its end, after which nothing is there. With @seen: the first one. */
void scene_run(const struct scene *scene, const struct call *at, int what, struct calls *seen,
               struct run *run);

#endif
