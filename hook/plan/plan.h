/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_PLAN_H
#define HOOK_PLAN_PLAN_H

/*
 * The decision: from (state, config, configuration file, command line, facts about the host, the
 * sandbox's other containers) to everything that will be done. Pure; printed by `plan`, applied by
 * hook/stages. If something cannot be seen in a plan, it is decided in the wrong place.
 */

#include "cgroup/devices/devices.h"
#include "cgroup/limits/limits.h"
#include "cgroup/limits/properties.h"
#include "cgroup/path.h"
#include "hook/plan/facts.h"
#include "hook/plan/policy.h"
#include "hook/plan/settings.h"
#include "hook/plan/stage.h"
#include "oci/state.h"

/* For whom nothing is done, and why: a rootless engine's hook must not break its containers. */
#define PLAN_FOREIGN                                                                               \
    "this user namespace may not make cgroups (a rootless engine?): nothing is done, and the "     \
    "container stays in the runtime's own cgroup, with its limits"

/* The names of the threaded children of a v2 sandbox without sandbox_cgroup_only. */
#define PLAN_VCPU_LEAF     "sandbox"
#define PLAN_OVERHEAD_LEAF "overhead"
/* Below a scope the threaded tree starts in a cgroup of its own: systemd keeps the scope a plain
 * domain. */
#define PLAN_THREADS "threads"
/* Of the overhead scopes of cgroup v1. */
#define PLAN_OVERHEAD_SLICE "kata-overhead.slice"

struct plan_input {
    enum stage stage;
    const struct oci_state *state;
    const struct oci_config *config;
    const struct settings *settings;
    struct json_bool only_argument; /* --sandbox-cgroup-only */
    const struct facts *facts;
    /* Where the container's process is, for layout nested: some runtimes put it below the cgroup
     * that config.json names. NULL: not known, as config.json has it. */
    const char *process_path;
    const struct oci_resources *const *others; /* of the sandbox's other containers */
    size_t other_count;
};

struct plan {
    enum stage stage;
    const char *sandbox_id, *container_id;
    enum role role;
    bool sandbox_cgroup_only;
    enum policy_source policy_source;
    enum cg_mode mode;
    bool systemd;
    enum layout layout;
    const char *parent_path;  /* where leftovers go */
    const char *runtime_path; /* the runtime's own cgroup of this container */
    const char *sandbox_path;
    const char *vcpu_path;                    /* where vCPU threads go */
    const char *overhead_path;                /* NULL with sandbox_cgroup_only */
    const char *slice;                        /* systemd's, of the sandbox; NULL otherwise */
    const char *sandbox_unit, *overhead_unit; /* systemd's; NULL otherwise */
    struct oci_resources *resources; /* this container's: spec rules and device nodes in one list */
    struct cg_dev_rules devices;     /* this container's whole device list; nested: none */
    struct cg_dev_table device_table; /* of the sandbox: any container's list allows it */
    struct cg_files sandbox_files, overhead_files;
    /* What is told to systemd besides. Empty without it. */
    struct cg_properties sandbox_properties, overhead_properties;
    bool pinning;        /* enable_vcpus_pinning, of the configuration or the annotation */
    const char *refused; /* the warning about a refused annotation, also in the list; or NULL */
    const char **warnings;
    size_t warning_count;
};

/*
 * Decide. Everything in @ret lives in @a or is borrowed from the input.
 * 0; -EINVAL the input is at fault, with what, where and why in @e; -ENOTSUP the same of a device
 * list that cgroup v1 cannot express.
 */
int plan_make(const struct plan_input *in, struct arena *a, struct plan *ret, struct err *e);

/* Only which sandbox and where: enough to find what a teardown without a record has to remove. */
int plan_place(const struct plan_input *in, struct arena *a, struct plan *ret, struct err *e);

/*
 * Limits and device rules of a sandbox with these containers, for when one comes or goes.
 * @ret's mode and manager must be set.
 * 0; -EINVAL as plan_make().
 */
int plan_sandbox(const struct oci_resources *const *containers, size_t count,
                 const struct settings *settings, const struct facts *facts,
                 bool sandbox_cgroup_only, struct arena *a, struct plan *ret, struct err *e);

/* The part of plan_sandbox() that is about limits: only @ret's sandbox_files and warnings. */
int plan_limits(const struct oci_resources *const *containers, size_t count,
                const struct settings *settings, const struct facts *facts,
                bool sandbox_cgroup_only, struct arena *a, struct plan *ret, struct err *e);

/* The part of plan_sandbox() that is about devices: what any container's list allows. */
int plan_devices(const struct oci_resources *const *containers, size_t count,
                 const struct settings *settings, const struct facts *facts,
                 bool sandbox_cgroup_only, struct arena *a, struct cg_dev_table *ret,
                 struct err *e);

/* "cgroupfs", "systemd" */
const char *plan_manager_name(const struct plan *plan);

/* Print as text, or as the documented JSON. */
void plan_print(const struct plan *plan, bool json);

#endif
