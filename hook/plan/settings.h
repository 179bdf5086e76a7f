/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_SETTINGS_H
#define HOOK_PLAN_SETTINGS_H

/*
 * The administrator's configuration file, with defaults for what it leaves out.
 * See oci-sandbox-cgroup.json(5) for the meaning of each key.
 */

#include "cgroup/limits/cpulist.h"
#include "hook/log/log.h"
#include "hook/plan/layout.h"
#include "oci/resources.h"

#include <stdbool.h>

#define SETTINGS_DEFAULT_PATH "/etc/oci-sandbox-cgroup/config.json"

enum resources_mode { RESOURCES_AGGREGATE, RESOURCES_KATA };
enum evidence { EVIDENCE_AUTO, EVIDENCE_KERNEL, EVIDENCE_NAME };
enum leftovers { LEFTOVERS_MOVE, LEFTOVERS_KILL };

/* Keys whose being named makes no difference but for who asks why. */
enum settings_named {
    NAMES_RESOURCES = 1 << 0,
    NAMES_PREFIX = 1 << 1,
    NAMES_OVERHEAD_PARENT = 1 << 2,
    NAMES_EVIDENCE = 1 << 3,
    NAMES_VIRTUALIZATION = 1 << 4,
    NAMES_PINNING = 1 << 5,
};

struct settings {
    unsigned named;                       /* of enum settings_named, by the file */
    struct json_bool sandbox_cgroup_only; /* not set: the default, false */
    enum resources_mode resources;
    enum layout_word layout; /* LAYOUT_UNSAID: not set */
    const char *prefix;
    const char *overhead_parent;                 /* clean path */
    const struct oci_resources *overhead_limits; /* NULL: none */
    const struct cg_cpulist *overhead_cpus;      /* not empty; NULL: none */
    int64_t memory_overhead_bytes;
    bool virtualization_devices;
    struct json_list extra_devices;       /* char *, absolute paths and device_list_parse_extra() */
    struct json_list allowed_annotations; /* char * */
    unsigned vcpu_timeout_ms;
    unsigned hotplug_interval_ms; /* 0: the watcher leaves once settled */
    bool has_no_vcpu;             /* a key of versions before, without effect */
    enum evidence vcpu_evidence;
    struct json_list vcpu_thread_patterns; /* char *, as in vcpu.h */
    bool enable_vcpus_pinning;
    struct json_list vcpu_numa_nodes; /* int64_t: the node of vCPU n, or -1; see pinning.h */
    enum leftovers leftovers;
    enum log_level log_level;
};

/*
 * Read @path. @must_exist: a missing file is an error (it was named on the command line); otherwise
 * it means all defaults.
 * 0; -EINVAL unknown key, wrong type or value, bad input with the key in @e; other -errno.
 */
int settings_read(const char *path, bool must_exist, struct arena *a, struct settings *ret,
                  struct err *e);

#endif
