/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_EVENTS_H
#define HOOK_WATCH_EVENTS_H

/*
 * The kernel's word that threads have come or have got a name: its process connector (CN_PROC). While
 * vCPUs are awaited it ends the watcher's sleep, so that a vCPU is placed when it gets its name, and not when
 * the next pass is due.
 *
 * A message is a reason to look, and nothing else: what it says is believed in nothing but which threads are
 * worth a look. So passes are due as often as without: what no message tells (a process that somebody moves
 * into the sandbox, a vCPU that is known by its guest time alone, a message that was lost) they find as soon.
 *
 * Only messages about the sandbox's own processes arrive: a filter in the socket drops the others, before
 * anybody is woken. Each open socket costs every fork of the host all the same, as the kernel asks its filter:
 * so it is closed for good as soon as nothing is awaited any more, or after a while. What changes later is found
 * at the hot-plug interval. To open it takes CAP_NET_ADMIN before Linux 6.6, and the initial namespaces of
 * network, PIDs and users; without them, or without CONFIG_PROC_EVENTS, there are no events.
 */

#include "base/cleanup.h"
#include "hook/watch/scan.h"

#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

/* The filter compares with each of them twice. A sandbox with more processes has no events. */
#define EVENTS_PROCESSES_MAX 64
struct events {
    int fd;                                /* FD_NONE: there are no events */
    pid_t processes[EVENTS_PROCESSES_MAX]; /* whose messages the filter lets through */
    size_t count;
    unsigned passes; /* that were made for an event */
    unsigned long long
        opened_us; /* when it was first asked whether they are still wanted; 0: not yet */
    unsigned long long wanted_us; /* when they last were; 0: never */
    unsigned long long slept_us;  /* the end of the last sleep; 0: there was none */
    bool heard;                   /* it was ended by a message */
    long long credit_us; /* of a CPU, for passes that are made for messages; below 0: overdrawn */
    bool follow_due;     /* other processes may be there than those let through */
    bool forked;         /* one is, by the kernel's word */
    unsigned long long followed_us;
    /* What the last sleep has brought. */
    struct scan_named named;
    bool lost; /* messages, or there were more of them: anything may have happened */
};

#define EVENTS_INIT                                                                                \
    {                                                                                              \
        .fd = FD_NONE                                                                              \
    }

/* 0; -errno, and @e says what is missing. Nobody's messages are let through yet. */
int events_open(struct events *ev, struct err *e);

/* For good. Nothing happens where there are none. */
void events_close(struct events *ev);

/*
 * Whose messages are let through from now on; with too many processes the socket is closed. True: others than
 * before, so a pass is due soon, as nothing has told of what those did until now.
 */
bool events_let_through(struct events *ev, const pid_t *processes, size_t count);

/* The same with the sandbox's, if @changed says that threads have come or gone: at once when one of its processes
 * has made another, else no more often than each 10 ms. If they cannot be listed those of before stay. */
bool events_follow(struct events *ev, const struct scan *scan, bool changed,
                   unsigned long long now);

/*
 * Close what is no longer worth its price. @wanted: a vCPU is awaited, or is not in its place yet. Whatever a
 * payload does, such as start and rename threads without an end, the time and the passes are bounded.
 */
void events_keep(struct events *ev, bool wanted, unsigned long long now);

/*
 * ppoll(2) for @ms at most, which events make less: none after a thread has got a name, but for a short pause
 * since the last pass, a longer one if passes for events have taken more than half of a CPU for some time; and 1 ms
 * after one has begun, which has no name yet. @fds has room for one more behind those @count. Returns what ppoll(2)
 * does, events not counted.
 */
int events_poll(struct events *ev, struct pollfd *fds, nfds_t count, unsigned ms,
                const sigset_t *mask);

/* The filter, in the kernel's classic BPF, and how many instructions it has. Pure. */
#define EVENTS_FILTER_MAX (2 * EVENTS_PROCESSES_MAX + 9)
size_t events_filter(const pid_t *processes, size_t count,
                     struct sock_filter ret[static EVENTS_FILTER_MAX]);

#endif
