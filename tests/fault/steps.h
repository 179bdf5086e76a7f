/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_STEPS_H
#define TESTS_FAULT_STEPS_H

/* What scenes are made of: who is in them, what is done without a fault, and how it has to end. What is wrong goes
 * to problem(). */

#include "tests/fault/scenes.h"

/* The first and the second container of a pod, or a lone one; and another sandbox. */
extern struct container one, two, other;

struct state {
    char where[WHERE_SIZE];
    char limits[TEXT_SIZE];
    bool watcher;
};

/* That of one, since one_is_up(). */
extern struct state before_one;

/* How long what is let go, and what has lost its stage, may take to be gone. */
unsigned patience_ms(void);

/* A verb or a stage without a fault, and it has to work. @arg, @c  NULL: none. */
void works(struct run *run, const char *word, const char *arg, const struct container *c,
           const char *status);
void run_words(struct run *run, const char *const words[]);
void set_up(struct run *run, struct container *c);
void tear_down(struct run *run, struct container *c);

/* A container that is started and set up. */
void up(struct run *run, struct container *c);
void one_is_up(struct run *run);
void one_is_up_unwatched(struct run *run);

/* As a crash leaves it: the watcher is not there to tidy up. */
void kill_watcher(const struct container *c);

struct state state_of(const struct container *c);

/* It is as it has to be. */
void same_state(struct run *run, const char *whose, const struct state *expected,
                const struct state *now);
void one_as_before(struct run *run);

/* In each hierarchy it is where it was, or in its place and under all of its limits there. */
void between(struct run *run, const struct container *c, const struct state *done);

/* Where each thread of the further process of one is; and whether they are not all in the same cgroups. */
void where_more(char ret[TEXT_SIZE]);
bool is_apart(void);
void wait_apart(struct run *run, const char *what);

/* A stage sets the quota of all, and the watcher that it starts lifts it again. */
void wait_lifted(void);

/* How the run has ended. */
bool is_killed(const struct run *run);
bool is_done(const struct run *run);

/* Nothing is left, or nothing that is more than a name; end_one() ends the container first. */
bool is_more_than_names(const char *left);
void gone(struct run *run, bool prune);
void ends(struct run *run);
void end_one(struct run *run);

#endif
