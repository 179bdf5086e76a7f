/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DEVICES_V1_H
#define CGROUP_DEVICES_V1_H

/* Device rules on cgroup v1: from the table of verdicts to the list of a cgroup. */

#include "cgroup/devices/devices.h"

/*
 * cgroup v1 (kernel admin-guide/cgroup-v1/devices.rst). A v1 cgroup is "deny all but" or "allow all
 * but" a set of exceptions, and an exception only ever adds to its class. "Deny all but" allows a
 * request when one exception covers all its bits, "allow all but" denies it when one exception
 * names any of them. The table is turned into the first form if it can be, else into the second;
 * for a list whose exceptions would have to subtract there is none.
 */
struct cg_dev_exceptions {
    bool allow_all; /* exceptions are denials */
    struct cg_dev_entry
        *exceptions; /* in an arena, sorted; access is what is allowed (or denied) */
    size_t count;
};

/* 0; -ENOTSUP v1 cannot express the table, with the offending device in @e. */
int cg_dev_exceptions_make(const struct cg_dev_table *t, struct arena *a,
                           struct cg_dev_exceptions *ret, struct err *e);

/*
 * Bring a cgroup's device list to @want: what is in force (devices.list) is read first.
 * - "Deny all but" in force and wanted: only the differences are written, nothing if there are
 * none. Additions go before removals, so that no device that both lists allow is denied in between.
 * - From "allow all but" to "deny all but": the list is emptied first, so for an instant every
 * device is denied.
 * - "Allow all but" wanted: the kernel shows no exceptions then, not even those that a new cgroup
 * has inherited, so the list is reset and its denials are written every time, and for an instant
 * they are not in force. The last two are meant for a cgroup without processes, and are refused
 * with EINVAL by the kernel where it has child cgroups.
 * @dirfd  the cgroup in the devices hierarchy; O_PATH will do.
 * Idempotent. 0; -errno with file and line in @e. EPERM means the parent cgroup does not allow it.
 */
int cg_dev_v1_apply(int dirfd, const struct cg_dev_exceptions *want, struct err *e);

#endif
