/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_DEVICE_CHANGE_H
#define HOOK_PLAN_DEVICE_CHANGE_H

/* What add-device and remove-device make of a sandbox's device list. Pure. */

#include "hook/plan/plan.h"

struct device_ask {
    struct cg_dev_rule rule; /* it allows: add-device */
    bool any_access;         /* no access was named, and the rule has all */
};

struct device_change {
    struct cg_dev_rule rule; /* what is asked for, or all of it that can be said */
    bool changes;            /* else the list says so already */
    uint8_t left;            /* of remove-device: what was asked for and goes on being allowed */
    /* The wider class that has allowed it already, or goes on allowing what is left; access 0: none. */
    struct cg_dev_entry wider;
};

/*
 * @device  a rule as in extra_devices, or a path, of which @node says what it leads to.
 * @access  of "rwm", for a path alone; NULL: not named.
 * 0; -EINVAL neither, or no access.
 */
int device_ask_parse(bool allow, const char *device, const struct device_node *node,
                     const char *access, struct device_ask *ret, struct err *e);

/*
 * @now  what is in force, with its device list.
 * Cgroup v1 and systemd can only add to a list, so there what a wider rule allows cannot be denied. Where no access
 * was named mknod may be left of it, as VMMs have that of all devices and can open none by it.
 * 0; -EINVAL it cannot be said, with the wider rule in @e; -E2BIG as cg_dev_compile().
 */
int device_change_decide(const struct plan_basis *basis, const struct plan_limits *now,
                         const struct device_ask *ask, struct arena *a, struct device_change *ret,
                         struct err *e);

/* What was asked for until now, and this: without what it takes back or says again. */
struct cg_dev_rules device_change_note(const struct cg_dev_rules *asked,
                                       const struct cg_dev_rule *rule, struct arena *a);

#endif
