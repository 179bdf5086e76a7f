/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_SYSTEMD_H
#define CGROUP_SYSTEMD_H

/*
 * Scopes: cgroups that systemd makes and removes, and that are delegated to us in between.
 *
 * Over sd-bus to systemd's manager (org.freedesktop.systemd1(5)). Every call has a deadline, from
 * connecting to the end of the job. A manager that goes away before that, as in a daemon-reexec, is asked
 * again; one that missed it gets less time from then on: what has to be undone must not wait as long
 * a second time.
 *
 * Needed because systemd owns the tree: it would remove an unknown directory's processes from its
 * accounts, and write its own idea of a unit's devices and limits again whenever it reloads.
 */

#include "cgroup/limits/properties.h"

#include <stdbool.h>
#include <sys/types.h>

struct err;

#define CG_INVOCATION_SIZE 33

/* Whether this program can do any of it. False: only the one that ends in "-systemd" can, see base/program.h. */
bool cg_systemd_is_here(void);

struct cg_unit {
    const char *name;  /* "crun-kata_c1.scope"; borrowed */
    const char *slice; /* "system.slice"; borrowed */
    /* The slice and the slices above it are ours: they go when their last scope has gone. */
    bool own_slice;
    /* A scope cannot be empty when it starts: the process that systemd puts into it. */
    pid_t first;
    bool expected; /* the sandbox's record says that the scope runs already */
    bool started;  /* cg_unit_start() started it in this run */
    /* systemd's InvocationID in hexadecimal digits: another start of the same name has another. "": it is
     * not known. cg_unit_start() sets it where it can be read. */
    char invocation[CG_INVOCATION_SIZE];
};

/*
 * Start the scope with these limits and device rules, and wait until it runs. One that runs already
 * gets the properties instead, if it was expected. A failed one of the same name is reset and
 * started anew. Delegated (Delegate=yes), accounted, and collected by systemd when it is empty,
 * failed or not.
 * 0; -EEXIST a unit of this name runs that is not ours; -ETIMEDOUT no answer in time; -EIO the job
 * failed; other -errno of the bus, with what to do where we know it.
 */
int cg_unit_start(struct cg_unit *u, const struct cg_properties *properties, struct err *e);

/* Change properties of a running scope. When this returns they are in force, and what is written to its files
 * then stays: systemd takes a quota in whole per cents alone, so those may have less.
 * 0; -ENOENT there is no such scope; other -errno as above. */
int cg_unit_set(const struct cg_unit *u, const struct cg_properties *properties, struct err *e);

/* Whether what has the unit's name now is what cg_unit_start() started: 1 yes, or its invocation is not
 * known; 0 there is none; -EEXIST, without a text, it is another's; other -errno as above. */
int cg_unit_is_ours(const struct cg_unit *u, struct err *e);

/* Stop the scope and wait until it has gone. Processes in it are killed, so it must be empty.
 * 0, also when there is none; other -errno as cg_unit_is_ours(). */
int cg_unit_stop(const struct cg_unit *u, struct err *e);

/* Whether the system's systemd knows a transient unit of this name, which runs or has run: until it forgets one it
 * has a file of it. 1; 0; -errno: it is not known. (In unit.c, which needs no libsystemd.) */
int cg_unit_is_known(const char *name);

/*
 * Have systemd look again whether it needs a unit still that has ended, and forget it if not: it does so only when
 * something happens to the unit, and may have missed the last that did. One that runs, or has failed, stays as it
 * is; so twice is as good as once. 0, also when there is none; -EBUSY it has not forgotten it within a second; other
 * -errno of the bus.
 * Unit.Ref() of org.freedesktop.systemd1(5): when who holds a unit has left the bus, systemd sees whether it goes.
 */
int cg_unit_collect(const char *name, struct err *e);

/* What answers: "252.39-1~deb12u2" in @version. 0; -errno with the reason. */
int cg_systemd_probe(char *version, size_t size, struct err *e);

#endif
