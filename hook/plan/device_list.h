/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_DEVICE_LIST_H
#define HOOK_PLAN_DEVICE_LIST_H

/* The device list of a sandbox (Kata: resourcecontrol/utils_linux.go and default devices). Pure. */

#include "cgroup/devices/exceptions.h"
#include "hook/plan/aggregate.h"
#include "hook/plan/facts.h"

/* Where the rules of a list are from, in its order: behind which one each part of it ends. */
struct device_parts {
    size_t own;            /* those of the resources */
    size_t nodes;          /* nodes that runtimes allow by default */
    size_t virtualization; /* virtualization_devices */
    size_t wild; /* classes that a VMM needs, and runtimes allow by default; then extra_devices */
};

/*
 * The rules of linux.resources.devices, and nothing else: for runtimes, too, linux.devices are nodes
 * to be made and no permissions. Errors as device_list_make().
 */
int device_list_own(const struct oci_resources *resources, struct arena *a,
                    struct cg_dev_rules *ret, struct err *e);

/* And the way back: rules as linux.resources.devices has them, struct oci_device_rule. */
struct json_list device_list_words(const struct cg_dev_rules *rules, struct arena *a);

/* Put what was said by hand behind a list: it comes last. Errors as cg_dev_compile(). */
int device_list_add(const struct cg_dev_rules *asked, struct arena *a, struct cg_dev_table *t,
                    struct err *e);

/*
 * The same resources with the rules that are in force in the container's cgroup in place of those of
 * config.json: the runtime has made them of these, and other hooks may have added to them. Where all
 * devices are allowed there the runtime has set none, and @resources is returned; also if @in_force
 * is NULL, not known.
 */
struct oci_resources *device_list_take(struct oci_resources *resources,
                                       const struct cg_dev_exceptions *in_force, struct arena *a);

/*
 * What somebody else has changed in a cgroup of ours stays so: @ours, what is wanted there now, with
 * what is in force although @before did not allow it, and, with @denials, without what @before allowed
 * and is not. Each of one cgroup. True: @ret, the allowed classes, is another list than @ours.
 */
bool device_list_adopt(const struct cg_dev_exceptions *in_force,
                       const struct cg_dev_exceptions *before, const struct cg_dev_exceptions *ours,
                       bool denials, struct arena *a, struct cg_dev_rules *ret);

/* Whether two lists say the same. */
bool device_list_same(const struct cg_dev_exceptions *one, const struct cg_dev_exceptions *other);

/*
 * An element of `extra_devices` that is no path: "b 7:* rwm", of type b or c. 0; -EINVAL it is none.
 */
int device_list_parse_extra(const char *text, struct cg_dev_rule *ret);

/*
 * The whole list: @resources' own rules, then the default devices, virtualisation devices unless
 * turned off, wildcards that a VMM needs, extra devices. The policy has no say, because an annotation
 * has one in that.
 * @systemd  config.json is taken as systemd takes the DeviceAllow that crun makes of it: of several
 *           rules that allow just the same devices, and of our defaults, only the last one counts,
 *           unless all devices are allowed anyway.
 *           (With runc they add up there, too; but nothing may be looser with us under either.)
 * @parts  NULL: who asks does not want to know.
 * 0; -EINVAL a rule of config.json that means nothing.
 */
int device_list_make(const struct oci_resources *resources, const struct settings *settings,
                     const struct facts *facts, bool systemd, struct arena *a,
                     struct cg_dev_rules *ret, struct device_parts *parts, struct err *e);

/*
 * What the lists of all @members, made as device_list_make() does, allow together; each but for one like that before
 * it, as most of a pod are, is compiled. Errors as device_list_make() and cg_dev_compile().
 */
int device_list_unite(const struct aggregate_member *members, size_t count,
                      const struct settings *settings, const struct facts *facts, bool systemd,
                      struct arena *a, struct cg_dev_table *ret, struct err *e);

#endif
