/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_ORDERS_H
#define HOOK_WATCH_ORDERS_H

/*
 * What a runtime wants of a whole container it does to the container's cgroup, and with layout sibling
 * nobody is in there but a placeholder of ours. Here is what becomes of it:
 *
 *   kill    The placeholder ends when init has, so one that ends while init lives was killed: the
 *           runtime has signalled all that its cgroup holds. It knows no other way where init is not
 *           the first of a PID namespace of its own.
 *   freeze  What the runtime wants of its cgroup is wanted of the sandbox's. Several containers that
 *           share one are frozen together, when all of them are to be.
 *
 * Only what changes is followed: what somebody else does to the sandbox's cgroup stays, but for this.
 * On v1 a frozen process does not die of SIGKILL. Runtimes thaw their own cgroup for that, which is
 * not frozen where somebody has frozen ours by hand; so an init that is to die thaws it.
 */

#include "base/proc.h"

#include <stdbool.h>
#include <stddef.h>

struct cg_host;
struct err;
struct pollfd;
struct record;
struct scan;

/* Of more containers no placeholder wakes the watcher: they are seen with its next look. */
#define ORDERS_POLL_MAX 16

/* "mnt:[4026531841]" */
#define ORDERS_MOUNTS_SIZE 64

struct order {
    char *id, *runtime_path;
    char *mounts; /* init's mount namespace, for when it has ended; NULL or "": not known then */
    struct proc_id init, placeholder;
    int placeholder_fd; /* below zero: there is none, or it has ended */
    bool was_killed;    /* it was seen alive, and has ended */
    int freezer_fd;     /* of the runtime's cgroup; below zero: not opened */
};

/* Begins as {.host}. */
struct orders {
    const struct cg_host *host; /* borrowed */
    struct order *items;
    size_t count;
    bool frozen; /* what was done last */
    int own_fd;  /* v1: of the sandbox's cgroup; see cg_freezer_open() */
    bool own_is_open;
};

/* The containers of a record that was just read; of those that stay everything is kept. */
void orders_set(struct orders *o, const struct record *r);

/* The descriptors that tell of an order by POLLIN, ORDERS_POLL_MAX at most; their number. */
size_t orders_poll(const struct orders *o, struct pollfd *ret);

/* Whether some container is to be killed. To be asked again with the sandbox locked and
 * orders_set(): a stage ends placeholders, too, and the record tells. */
bool orders_kill_is_due(struct orders *o);

/*
 * Kill them, in a sandbox that is loaded: a container that is alone with all of the sandbox, one of
 * several with what is in init's mount namespace or descends from that.
 * 0; -EBUSY some do not die: it is due again; other -errno.
 */
int orders_kill(struct orders *o, const struct scan *scan, struct err *e);

/*
 * The same of one container whose init has ended, by its id: what is left of it. Of several in one sandbox, what is in
 * the mount namespace that init had, or descends from that. 0, also when there is no such container; -errno.
 */
int orders_end(struct orders *o, const char *id, const struct scan *scan, struct err *e);

/* Which mount namespace a process is in: "" if that cannot be seen. */
bool orders_mounts(pid_t pid, char buf[static ORDERS_MOUNTS_SIZE]);

/* Freeze or thaw the sandbox, which is loaded, where that is due. 0; -errno: it is due again. */
int orders_freeze(struct orders *o, const struct scan *scan, struct err *e);

/* Forget all. The struct can be used again. */
void orders_free(struct orders *o);

#endif
