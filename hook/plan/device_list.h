/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_DEVICE_LIST_H
#define HOOK_PLAN_DEVICE_LIST_H

/* The device list of a sandbox (Kata: resourcecontrol/utils_linux.go and default devices). Pure. */

#include "cgroup/devices/devices.h"
#include "hook/plan/facts.h"

/*
 * The rules of linux.resources.devices, and nothing else: for runtimes, too, linux.devices are nodes
 * to be made and no permissions. Errors as device_list_make().
 */
int device_list_own(const struct oci_resources *resources, struct arena *a,
                    struct cg_dev_rules *ret, struct err *e);

/*
 * An element of `extra_devices` that is no path: "b 7:* rwm", of type b or c. 0; -EINVAL it is none.
 */
int device_list_parse_extra(const char *text, struct cg_dev_rule *ret);

/*
 * The whole list: @resources' own rules, then the default devices, virtualisation devices unless
 * turned off, wildcards that a VMM needs, extra devices. The policy has no say, because an annotation
 * has one in that.
 * 0; -EINVAL a rule of config.json that means nothing.
 */
int device_list_make(const struct oci_resources *resources, const struct settings *settings,
                     const struct facts *facts, struct arena *a, struct cg_dev_rules *ret,
                     struct err *e);

#endif
