/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_CHILD_H
#define HOOK_SANDBOX_CHILD_H

/*
 * A process of ours that outlives the stage which started it: the watcher, and placeholders.
 *
 * Forked early, so that its pid can be written into the record before anything is made; it waits on
 * a pipe until it is let go, and ends by itself when the stage dies before that. It is this same
 * program, without exec: nothing has to be found again, and its memory is shared.
 */

#include "base/cleanup.h"
#include "base/proc.h"

struct err;

struct child {
    struct proc_id id; /* pid 0: none was forked */
    int go_fd;         /* write end of the pipe that it waits on */
};

#define CHILD_INIT                                                                                 \
    {                                                                                              \
        {0}, FD_NONE                                                                               \
    }

/* What it is called in /proc as long as it waits. */
#define CHILD_WAITING "osc-wait"
/* The name of a watcher: others than it keep no capability, see confine.h. */
#define CHILD_WATCHER "osc-watch"

/*
 * Fork a child that waits, and will then call @run(@arg) in its own session, with /dev/null as
 * stdin, stdout and stderr and no other descriptor: a runtime waits for every holder of the hook's
 * pipes. @name is what it is called in /proc once it is let go, 15 characters that begin with
 * "osc-"; until then it is CHILD_WAITING. ps shows it with the sandbox of log_about. SIGTERM ends it.
 * 0; -errno of fork or pipe.
 */
int child_fork(const char *name, void (*run)(const void *arg), const void *arg, struct child *ret,
               struct err *e);

/* The same. When it is let go it first calls @prepare(@arg), with all that its stage may: for what takes more than
 * @run may do, see confine.h. */
int child_fork_prepared(const char *name, void (*prepare)(const void *arg),
                        void (*run)(const void *arg), const void *arg, struct child *ret,
                        struct err *e);

/* Everything is in its place: let it work. Nothing happens for one that was not forked.
 * 0; -errno, e.g. -EPIPE it has ended: child_abort() is next. */
int child_go(struct child *c, struct err *e);

/*
 * Whether a recorded one lives and was let go. One that still waits ends when its stage is dead, or
 * is about to be let go: that is waited for. Only for who holds the lock of its sandbox, so that
 * the stage which started it is over. 1 yes; 0 no; -errno: it is not known.
 */
int child_works(const struct proc_id *id);

/* The stage failed: end it, also if it was let go already, and wait. Nothing happens for one that
 * was never forked or has gone. */
void child_abort(struct child *c);

/* End a recorded one, with force if it does not listen, and wait until it is gone.
 * 0, also when there is none; -errno, e.g. -ETIMEDOUT. */
int child_stop(const struct proc_id *id, struct err *e);

#endif
