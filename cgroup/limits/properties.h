/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_LIMITS_PROPERTIES_H
#define CGROUP_LIMITS_PROPERTIES_H

/*
 * Limits and device rules as properties of a systemd scope. Pure: `plan` prints them, systemd.c
 * sends them.
 *
 * Whatever systemd knows must be told to it: it writes its own idea of a unit's limits again after
 * a daemon-reload or a change of properties (systemd.resource-control(5)). What it does not know
 * stays a file that we write, in a cgroup that is delegated to us, and systemd leaves those alone.
 */

#include "cgroup/devices/devices.h"
#include "cgroup/limits/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;

enum cg_property_kind {
    CG_PROPERTY_NUMBER,  /* D-Bus "t"; UINT64_MAX is "infinity" */
    CG_PROPERTY_STRING,  /* "s" */
    CG_PROPERTY_BYTES,   /* "ay" */
    CG_PROPERTY_DEVICES, /* "a(ss)"; an empty list resets what was set before */
};

struct cg_property_device {
    const char *node; /* "/dev/char/1:3", "char-136", "block-*" */
    const char *access;
};

struct cg_property {
    const char *name;
    enum cg_property_kind kind;
    uint64_t number;
    const char *text;
    const uint8_t *bytes;
    const struct cg_property_device *devices;
    size_t count; /* of bytes or devices */
};

struct cg_properties {
    struct cg_property *items; /* in an arena, in the order of sending */
    size_t count;
};

/*
 * The properties for a list of controller files, appended to @ret: one or two for each file whose
 * row in the limits table names a property, in the order of the files. A file of
 * linux.resources.unified counts like the same file of another member.
 * TasksMax is always there: systemd would set a default of its own otherwise.
 * 0; -EINVAL a text that the kernel might take but systemd cannot, bad input that names the file.
 */
int cg_properties_limits(const struct cg_files *files, bool v2, struct arena *a,
                         struct cg_properties *ret, struct err *e);

/*
 * DeviceAllow (an empty one first, then the list) and DevicePolicy, in the order that systemd needs
 * them in, appended to @ret. systemd's list is of the "deny all but" kind with whole wildcards (no
 * "any major, this minor"); "allow everything" is the policy "auto" with an empty list.
 * 0; -ENOTSUP the list cannot be said like this, with the device in @e.
 */
int cg_properties_devices(const struct cg_dev_table *table, struct arena *a,
                          struct cg_properties *ret, struct err *e);

/* All but those two: what systemd is told when the list that it has is to stay. A list in @a. */
struct cg_properties cg_properties_without_devices(const struct cg_properties *p, struct arena *a);

/* As `systemctl show` would write the value: "infinity", "rwm /dev/char/1:3", "0-3,8". */
const char *cg_property_text(const struct cg_property *p, struct arena *a);

#endif
