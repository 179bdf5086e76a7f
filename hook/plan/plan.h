/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_PLAN_H
#define HOOK_PLAN_PLAN_H

/*
 * hook/plan/ decides: from (state, config, settings, command line, facts about the host, the
 * sandbox's other containers, what is recorded of it) to everything that will be done. Pure;
 * printed by `plan`, written down by hook/sandbox, applied by cgroup/controller.c as it is.
 */

#include "cgroup/controller.h"
#include "cgroup/limits/properties.h"
#include "cgroup/path.h"
#include "hook/plan/aggregate.h"
#include "hook/plan/device_list.h"
#include "hook/plan/facts.h"
#include "hook/plan/layout.h"
#include "hook/plan/names.h"
#include "hook/plan/policy.h"
#include "hook/plan/settings.h"
#include "hook/plan/stage.h"
#include "oci/state.h"

/* For whom nothing is done, and why: a rootless engine's hook must not break its containers. */
#define PLAN_FOREIGN                                                                               \
    "this user namespace may not make cgroups (a rootless engine?): nothing is done, and the "     \
    "container stays in the runtime's own cgroup, with its limits"

/* Where the kernel takes no device rules from us: the same as runtimes do there. */
#define PLAN_NO_DEVICE_RULES                                                                       \
    "device rules are left out: the kernel takes none from this user namespace, and those of the " \
    "cgroups above go on to hold"

/* On v2 device rules are programs, of which nobody can tell what they allow. */
#define PLAN_OTHER_HOOKS                                                                           \
    "there are other hooks that run before the container's process: a device that one of them "    \
    "allows in the runtime's cgroup is not allowed in the sandbox cgroup; name it in "             \
    "linux.resources.devices or extra_devices, or use layout nested"

/* A device list that stays in force although it is one of more containers, and why. */
#define PLAN_KEPT_DEVICES                                                                          \
    "the sandbox keeps its device list, which is also that of containers that are gone: %s"

/* The threaded child for vCPU threads, on v2, with the prefix in front. */
#define PLAN_VCPU_CHILD "vcpu"
/* Of the overhead scopes of cgroup v1. */
#define PLAN_OVERHEAD_SLICE "kata-overhead.slice"

/* What is written to one cgroup. */
struct plan_cgroup {
    struct cg_files files;           /* its limits */
    struct cg_files resets;          /* limits that were set and are no more; written first */
    bool has_devices;                /* else its device rules are left alone */
    struct cg_dev_table devices;     /* what any container's list allows */
    struct cg_properties properties; /* what its scope is told of all this; none without systemd */
};

struct plan_limits {
    struct plan_cgroup sandbox;
    /* The warning that the device list in force is kept, also in the list of warnings; or NULL. */
    const char *kept_devices;
    bool no_device_rules; /* the kernel takes none from us */
    /* v1: the device list that was in force before, as change_adopt() has read it; NULL: it is not known. */
    const struct cg_dev_exceptions *in_force;
    struct aggregate_notes notes;
};

struct plan_warnings {
    const char **items;
    size_t count;
};

/* What limits follow from, besides the containers. */
struct plan_basis {
    const struct settings *settings;
    const struct facts *facts;
    bool systemd, sandbox_cgroup_only;
    struct cg_files recorded; /* everything that may be set now */
    /* Rules of add-device and remove-device, which hold behind those of all containers. */
    struct cg_dev_rules asked;
    /* Of `update`, see override.h: in place of what the containers ask for. NULL: nothing. */
    const struct oci_resources *updated;
    /* The sandbox has a device list already. One that the host cannot express, or that cannot be
     * derived any more, leaves that in force: it is the list of more containers. */
    bool may_keep_devices;
};

struct plan_input {
    enum stage stage;
    const struct oci_state *state;
    const struct oci_config *config;
    const struct settings *settings;
    struct json_bool only_argument; /* --sandbox-cgroup-only */
    const struct facts *facts;
    /* Where the container's process is: where config.json leaves that to the runtime, and for layout
     * nested, as some runtimes put it below the cgroup that config.json names. NULL: not known. */
    const char *process_path;
    /* v1: the device list in force where the process was put by its runtime; NULL: not known. */
    const struct cg_dev_exceptions *runtime_devices;
    const struct aggregate_member *others; /* the sandbox's other containers */
    size_t other_count;
    struct cg_files recorded;            /* as in struct plan_basis */
    struct cg_dev_rules asked;           /* likewise */
    const struct oci_resources *updated; /* likewise */
    /* For the layout: --layout, the record of this container, and who runs it. See layout.h. */
    enum layout_word layout_argument, recorded_layout;
    const struct runtime *runtime;
};

/* What says where the runtime's cgroup is. */
enum plan_place_source {
    PLACE_NAMED,   /* linux.cgroupsPath */
    PLACE_PROCESS, /* the container's process is there */
    PLACE_UNKNOWN, /* nobody yet: /vc stands for it */
};

/* Why the plan is as it is, noted where that was decided. Enums and constant texts: who explains it
 * makes sentences of them, see explain.h, and nobody else reads them. */
struct plan_reasons {
    const char *role_key, *id_key; /* annotations, as in struct policy_identity */
    const char *policy;            /* as in struct policy */
    bool policy_listed;
    const char *layout_source; /* as in struct layout_choice */
    enum plan_place_source place;
    bool is_foreign;        /* PLAN_FOREIGN holds */
    bool pinning_annotated; /* as in struct policy_pinning */
    const char *quota;      /* why the annotation of the overhead's quota has no effect; or NULL */
    /* Of the overhead: whose quota it has, and whether its shares are those of the sandbox. */
    enum policy_source overhead_quota;
    bool overhead_shares_own;
    bool raised_pids;                         /* a limit of 0 became 1 */
    bool scope_memory, scope_pids, scope_cpu; /* what org.systemd.property.* made less */
    bool devices_in_force; /* the container's own rules are those of the runtime's cgroup */
    struct device_parts devices;
};

struct plan {
    enum stage stage;
    const char *sandbox_id, *container_id;
    enum role role;
    struct names names;
    bool sandbox_cgroup_only;
    enum policy_source policy_source;
    enum cg_mode mode;
    bool systemd;
    enum layout layout;
    const char *parent_path;  /* where leftovers go */
    const char *runtime_path; /* the runtime's own cgroup of this container */
    const char *sandbox_path;
    const char *vcpu_path;           /* where vCPU threads go */
    const char *overhead_path;       /* of the other threads; NULL with sandbox_cgroup_only */
    const char *const *lifted_paths; /* v2: whose CPU quota becomes the vCPUs', around them first */
    size_t lifted_count;
    const char *slice;                        /* systemd's, of the sandbox; NULL otherwise */
    const char *sandbox_unit, *overhead_unit; /* systemd's; NULL otherwise */
    struct oci_resources *resources;          /* this container's, as config.json has them */
    struct cg_dev_rules devices;              /* this container's whole device list; nested: none */
    struct plan_limits limits;
    struct plan_cgroup overhead; /* once vCPUs are set apart; see overhead.h */
    bool pinning;                /* enable_vcpus_pinning, of the settings or the annotation */
    const char *overhead_quota;  /* cpu.max by annotation, for layout nested; NULL: none */
    /* The warnings about a refused annotation, also in the list; or NULL. */
    const char *refused, *refused_quota;
    /* Of layout.h; the warning is also in the list. */
    const char *layout_reason, *layout_warning;
    const struct runtime *runtime; /* of the input */
    struct plan_reasons why;
    struct plan_warnings warnings;
};

/* What the layout is decided from; and whether in->runtime matters is for layout_asks(). */
struct layout_input plan_layout_input(const struct plan_input *in);

/*
 * Decide which sandbox it is, and where. Everything in @ret lives in @a or is borrowed from the
 * input. 0; -EINVAL the input is at fault, with what, where and why in @e.
 */
int plan_place(const struct plan_input *in, struct arena *a, struct plan *ret, struct err *e);

/* config.json leaves it to the runtime where the container's cgroup is, and nobody runs there yet: /vc stands
 * for that place. */
bool plan_has_no_place(const struct plan_input *in);

/*
 * Decide the rest of a plan that has a place.
 * 0; -EINVAL as plan_place(); -ENOTSUP the same of a device list that the host cannot express.
 */
int plan_fill(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e);

/*
 * What the containers of a sandbox add up to. Everything that is ever written to its limits and
 * device rules comes from here: setup, teardown, the watcher and `plan` ask the same.
 * @warnings  gets what cannot be said, or not taken away.
 * 0; errors as plan_fill().
 */
int plan_limits(const struct plan_basis *basis, const struct aggregate_member *members,
                size_t count, struct arena *a, struct plan_limits *ret,
                struct plan_warnings *warnings, struct err *e);

/* The limits that those of plan_limits() are made of. @notes as aggregate_limits(). 0; errors as plan_fill(). */
int plan_sum(const struct plan_basis *basis, const struct aggregate_member *members, size_t count,
             struct arena *a, struct cg_limits *ret, struct aggregate_notes *notes, struct err *e);

/* Let @rules be the device list of @limits. 0; errors as plan_fill(), and @limits is as it was. */
int plan_set_devices(const struct plan_basis *basis, const struct cg_dev_rules *rules,
                     struct arena *a, struct plan_limits *limits, struct err *e);

/* Whatever device list is in force stays, which others may have made smaller: neither a file nor systemd is told of one. */
void plan_leave_devices(struct plan_limits *limits, struct arena *a);

/* A plan's cgroup as the controller takes it. Borrows from @c. */
struct cg_change plan_change(const struct plan_cgroup *c, struct arena *a);

void plan_warn(struct plan_warnings *warnings, struct arena *a, const char *text);

/* Whether it names something that config.json asks for and that will not hold the payload. */
bool plan_warns_of_loss(const char *text);

/* "cgroupfs", "systemd" */
const char *plan_manager_name(const struct plan *plan);

struct explain;

/* Print as text, or as the documented JSON; with reasons, if @why is not NULL. */
void plan_print(const struct plan *plan, const struct explain *why, bool json);

#endif
