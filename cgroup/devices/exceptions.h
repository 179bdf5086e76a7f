/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DEVICES_EXCEPTIONS_H
#define CGROUP_DEVICES_EXCEPTIONS_H

/*
 * A table of verdicts as "deny all but" or "allow all but" a set of exceptions: what the device
 * lists of cgroup v1 (kernel, cgroup-v1/devices.rst) and systemd's DeviceAllow can say. Pure.
 */

#include "cgroup/devices/devices.h"

/*
 * An exception only ever adds to its class. "Deny all but" allows a request when one exception
 * covers all its bits, "allow all but" denies it when one exception names any of them. The table is
 * turned into the first form if it can be, else into the second; for a list whose exceptions would
 * have to subtract there is none.
 */
struct cg_dev_exceptions {
    bool allow_all;                  /* exceptions are denials */
    struct cg_dev_entry *exceptions; /* in an arena, sorted; access is what is allowed or denied */
    size_t count;
};

/* The kernel compares each one that is written with all that there are: 4,000 take 40 ms, 8,000 400. */
#define CG_DEV_EXCEPTIONS_MAX 4096

/* 0; -ENOTSUP v1 cannot express the table, with the offending device in @e; -E2BIG there would be too many. What a
 * wider one says as well is not among them. */
int cg_dev_exceptions_make(const struct cg_dev_table *t, struct arena *a,
                           struct cg_dev_exceptions *ret, struct err *e);

#endif
