/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

/*
 * Processes and threads by identity. A bare pid can be reused at any time; a process here is a pid
 * with its start time (field 22 of /proc/PID/stat, clock ticks since boot), and acting on one goes
 * through a pidfd.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_id {
    pid_t pid;           /* 0: none */
    uint64_t start_time; /* clock ticks since boot */
};

/* What we use of a thread's stat file (proc(5), /proc/PID/stat). */
struct proc_stat {
    char comm[80];       /* field 2, without the parentheses; may hold any byte but NUL */
    char state;          /* field 3; 'Z' and 'X' are dead */
    pid_t parent;        /* field 4; 0: none that can be seen */
    bool exiting;        /* field 9, the kernel's PF_EXITING: dead in a moment, or already */
    bool is_kernel;      /* and PF_KTHREAD */
    uint64_t threads;    /* field 20, of its process; a main thread that has ended counts */
    uint64_t start_time; /* field 22 */
    uint64_t guest_time; /* field 43, clock ticks spent running a guest */
};

/* Parse the text of /proc/PID/stat. 0; -EINVAL malformed. comm may hold spaces and parentheses. */
int proc_stat_parse(const char *text, struct proc_stat *ret);

/* Of one thread; a process's id names its main thread. 0; -ESRCH no such thread; other -errno. */
int proc_stat_read(pid_t pid, struct proc_stat *ret);

/* The CPU time of one thread so far, in microseconds. 0; -ESRCH no such thread; -ENOENT this kernel does not
 * count it (CONFIG_SCHED_INFO); other -errno. Documentation/scheduler/sched-stats.rst. */
int proc_cpu_us(pid_t tid, uint64_t *ret);

/* How long a process that began then has been there, in microseconds. */
uint64_t proc_age_us(uint64_t start_time);

/* The process that a thread is of. 0: it is not known, or has ended. */
pid_t proc_process_of(pid_t tid);

/* The identity of a live process, which may have lost its main thread.
 * 0; -ESRCH gone or a zombie; other -errno. */
int proc_identify(pid_t pid, struct proc_id *ret);

/*
 * Whether exactly this process lives (zombies do not). 1 yes; 0 no; other -errno: it is not known, as /proc
 * cannot be read. Who takes that for no destroys what lives.
 */
int proc_alive(const struct proc_id *id);

/*
 * A pidfd for exactly this process: the start time is compared after the pidfd was opened, so the
 * answer cannot be about a successor. Returns the fd; -ESRCH gone; -ENOSYS before Linux 5.3; other
 * -errno: it is not known.
 */
int proc_open(const struct proc_id *id);

/* Signal exactly this process. 0; -ESRCH gone (callers take it for done); other -errno. */
int proc_signal(const struct proc_id *id, int signo);

/* Wait until it has ended, @timeout_ms at most. 0; -ETIMEDOUT. It need not be our child. */
int proc_wait_gone(const struct proc_id *id, int timeout_ms);

/* Signal exactly this process, if that can be, and wait until it has ended. 0, also when it had; -ETIMEDOUT; other
 * -errno. */
int proc_end(const struct proc_id *id, int signo, int timeout_ms);

#endif
