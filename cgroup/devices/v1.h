/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_DEVICES_V1_H
#define CGROUP_DEVICES_V1_H

/* The device list of a v1 cgroup. */

#include "cgroup/devices/exceptions.h"

/*
 * What is in force, devices.list, as the kernel shows it: of "allow all but" no exceptions.
 * @dirfd  the cgroup in the devices hierarchy; O_PATH will do.
 * 0; -EPROTO a line that is no rule; other -errno.
 */
int cg_dev_v1_read(int dirfd, struct arena *a, struct cg_dev_exceptions *ret, struct err *e);

/*
 * Bring a cgroup's device list to @want: what is in force (devices.list) is read first.
 *   - "Deny all but" in force and wanted: only the differences are written, nothing if there are
 *     none. Additions go first, so that no device that both lists allow is denied in between.
 *   - From "allow all but" to "deny all but": the list is emptied first, so for an instant every
 *     device is denied.
 *   - "Allow all but" wanted: the kernel shows no exceptions then, not even those that a new cgroup
 *     has inherited, so the list is reset and its denials are written every time, and for an
 *     instant they are not in force.
 * The last two are meant for a cgroup without processes; with child cgroups they are -EINVAL.
 * @dirfd  the cgroup in the devices hierarchy; O_PATH will do.
 * Idempotent. 0; -errno with file and line in @e. -EPERM: the parent cgroup does not allow it.
 */
int cg_dev_v1_apply(int dirfd, const struct cg_dev_exceptions *want, struct err *e);

#endif
