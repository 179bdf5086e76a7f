/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SOAK_STAGE_H
#define TESTS_SOAK_STAGE_H

/*
 * Runs of the program that may be killed at any instant, and the processes that it is run for. The cgroups and
 * the state directory are those of tests/fault/world.h.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Never in a run that is to end by itself. */
#define NO_KILL (-1)

struct stage {
    int status;    /* of exit; -1: it was killed */
    bool killed;   /* by us */
    int64_t us;    /* how long it took */
    double cpu_ms; /* of it and of what it waited for */
    char err[2048];
};

/* The next of a row of numbers that follows from where it began. */
uint64_t draw(uint64_t *row);
/* One of 0 ... @count - 1. */
unsigned draw_below(uint64_t *row, unsigned count);

/*
 * Run the program with @words behind its state directory and @conf, with @input, and kill it after
 * @kill_after_us. One that does not end within a minute is killed as well, and err says so.
 */
void stage_run(const char *conf, const char *const *words, const char *input, int64_t kill_after_us,
               struct stage *ret);

/* What a runtime says of a container. */
void stage_input(const char *id, const char *status, pid_t pid, const char *bundle, char *ret,
                 size_t size);

/* Start a process of the container's, which sleeps, or has the threads of a VMM; it ends with us. */
pid_t payload_start(bool vmm);
/* Where the program of these is. */
void payload_init(const char *fake_vmm);
const char *payload_program(void);

/* Into the cgroups where another process is, as a child of that would be. */
void payload_join(pid_t pid, pid_t other);

/* Wait for all that have ended, of whoever they were. */
void reap(void);

#endif
