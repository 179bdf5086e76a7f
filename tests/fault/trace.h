/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_TRACE_H
#define TESTS_FAULT_TRACE_H

/*
 * One run of the program under ptrace: its system calls from main() on are counted, and one of them fails,
 * is cut short or kills it. Only the process that was started is traced: what it forks goes on undisturbed, as a
 * filter of seccomp's would not let it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FAULT_NONE = 0, FAULT_KILL = -1, FAULT_SHORT = -2 }; /* else an errno */

/* The nth call of this number. */
struct call {
    long nr;
    unsigned nth;
    bool can_be_short;
};

struct calls {
    struct call *items;
    size_t count;
};

struct outcome {
    int status; /* of exit; -1: a signal has ended it */
    int signal;
    bool injected, hung;
    bool at_output;     /* the fault was where it writes what it has to say */
    char hung_at[160];  /* of one that runs on: its state, system call and wait channel */
    char unlisted[160]; /* the numbers of calls that faults.c does not know */
    char out[1 << 16], err[1 << 13];
};

/* Whether this machine's registers are known here: those of x86_64. */
bool trace_works(void);

/*
 * Run @argv with the text @input as standard input, and with @what at @at unless that is NULL. Without it, its
 * calls are appended to @seen, if that is not NULL. A program that does not end in time is killed.
 */
void trace_run(const char *const argv[], const char *input, const struct call *at, int what,
               struct calls *seen, struct outcome *ret);

/* What a process that runs already is to do. */
struct work {
    void (*act)(void);  /* makes it; NULL: it comes by itself */
    bool (*done)(void); /* says that it is done; NULL: it ends then */
    long from;          /* nothing is counted before a call of this number; 0: all is */
    int sleeps;         /* and before it has slept so often */
};

/* The same for a child that runs already, while it does that work: then it is let go. The status is 0 while it
 * lives. */
void trace_attach(pid_t pid, const struct work *work, const struct call *at, int what,
                  struct calls *seen, struct outcome *ret);

/* How often it has gone to sleep since; -1 once the fault was there, as it is not traced any more. */
int trace_sleeps(void);

#endif
