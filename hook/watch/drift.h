/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_DRIFT_H
#define HOOK_WATCH_DRIFT_H

/*
 * Limits that are changed while containers run: a runtime's `update`, the kubelet and `systemctl
 * set-property` write them to the runtime's own cgroup, which our sandbox cgroup is beside of. Here
 * that cgroup is watched, and what has changed there since the container's setup takes the place of
 * what its config.json says.
 *
 *   cpuset.cpus, cpuset.mems                 v1 and v2; empty on v2: those of the parent
 *   cpu.cfs_quota_us, cpu.cfs_period_us      v1; a quota of -1: no limit
 *   cpu.max                                  v2; a quota of "max": no limit
 *   devices.list                             v1
 *   shares and weights, burst, memory, swap, reservation, pids, io: `files` in drift.c
 *
 * Events are inotify's IN_MODIFY of the cgroup's directories: writes to cgroup files go through the
 * VFS, so whoever writes makes one; what the kernel changes by itself (an ancestor's cpuset, CPUs
 * that go offline) makes none, or one too many, and holds for our cgroup anyway. The removal of a
 * cgroup makes none either. Writes to any file are told, so also those that orders.h is about.
 */

#include "cgroup/host.h"
#include "hook/plan/quota.h"
#include "oci/resources.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;
struct record;

/* A container, as the caller knows it. */
struct drift_source {
    const char *id;
    const char *runtime_path; /* the runtime's own cgroup: clean, from the mount root */
};

struct drift_values {
    char *cpus, *mems; /* lists, "" none of its own; NULL: not known yet. malloc()ed */
    struct quota cpu;
    bool cpu_known;
};

/* Numbers and texts besides those values. */
#define DRIFT_TEXTS 18

struct drift_container {
    char *id, *path;
    struct drift_values now;
    bool cpus, mems, cpu;            /* has changed since the first time that it was read */
    char *texts[DRIFT_TEXTS];        /* NULL: not known yet. malloc()ed */
    bool changed[DRIFT_TEXTS];       /* likewise */
    int watches[CG_MAX_HIERARCHIES]; /* below zero: none */
    bool watched;                    /* events come for all of its directories */
};

/* Begins as {.host, .fd = FD_NONE}: with no container, and without events. */
struct drift {
    const struct cg_host *host; /* borrowed */
    int fd;                     /* inotify */
    struct drift_container *items;
    size_t count;
    bool is_told;     /* at the last drift_read(): there is no change of which no event comes */
    int device_error; /* of drift_say_devices(), the last one */
};

/*
 * Have changes reported by events.
 * Returns the descriptor, for poll(2), which stays the struct's; -EMFILE, -ENFILE no more inotify
 * instances (fs.inotify.max_user_instances, often 128 for all of root's): everything works without,
 * but drift_read() has to be called now and then instead, and reads all files each time. Closing an
 * instance, also by ending, waits for the kernel (SRCU), 7 ms and more.
 */
int drift_watch(struct drift *d);

/*
 * Which containers there are from now on. What a new one has at this moment is taken for what it
 * had at its setup; of those that stay everything is kept. The list is copied.
 */
void drift_set(struct drift *d, const struct drift_source *list, size_t count);

/* The containers of a record, but for layout nested, where nobody has to follow. */
void drift_follow(struct drift *d, const struct record *r);

/* Forget them all, and the watches with them. The descriptor is the caller's to close. */
void drift_free(struct drift *d);

/* A number for all that was read of a container's cgroup the last time: another one, as far as a hash can tell, if
 * something is another. 0: it is not looked at. */
uint64_t drift_print(const struct drift *d, const char *id);

/*
 * Look for changes. Without an event this is one system call, and a few more for a container whose
 * directories cannot all be watched: a cgroup that the runtime has not made yet or has removed.
 * 1 some value is another than it was at the last call: drift_resources() of its container has
 * changed; 0 none. Never fails: what cannot be read has not changed.
 */
int drift_read(struct drift *d);

/*
 * A container's resources with what has changed since its setup. What has once changed is always
 * taken from the runtime's cgroup, also when it is back to what it was; so what this returns may be
 * kept as the container's resources, and given as @r the next time.
 * @r  the container's resources so far, NULL for none; is returned itself when nothing has changed,
 *     otherwise a copy in @a that shares what is the same. It leaves out entries of "unified" for
 *     the same files.
 */
const struct oci_resources *drift_resources(const struct drift *d, const char *id,
                                            const struct oci_resources *r, struct arena *a);

/* v1: whether the device rules of its cgroup have changed. They are no part of drift_resources(), as only a
 * stage may write such. */
bool drift_devices(const struct drift *d, const char *id);

/* A warning for a container of @r that it is so of, once. */
void drift_say_devices(struct drift *d, const struct record *r);

#endif
