/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_POLICY_H
#define HOOK_PLAN_POLICY_H

/* Who a container is (role, sandbox) and which policy holds for it. Pure. */

#include "hook/plan/settings.h"
#include "oci/annotations.h"

struct arena;

enum role {
    ROLE_SINGLE,    /* no annotation: the container is its own sandbox */
    ROLE_SANDBOX,   /* the pod's sandbox (pause) container */
    ROLE_CONTAINER, /* a container of a pod */
};

const char *role_name(enum role role);

struct policy_identity {
    enum role role;
    const char *sandbox_id;
    /* The annotations that say so, for who asks why; NULL: none does. */
    const char *role_key, *id_key;
};

/*
 * Role and sandbox id from the annotations of the known engines: containerd CRI, CRI-O and podman,
 * dockershim, Kata. The first match wins. What is in @ret is borrowed from @annotations or
 * @container_id, or constant.
 * 0; -EINVAL an unknown type, or a container without a sandbox id, or an id that is no valid name.
 */
int policy_role(const struct oci_annotations *annotations, const char *container_id,
                struct policy_identity *ret, struct err *e);

enum policy_source { POLICY_DEFAULT, POLICY_CONFIG, POLICY_ARGUMENT, POLICY_ANNOTATION };

const char *policy_source_name(enum policy_source source);

struct policy {
    bool sandbox_cgroup_only;
    enum policy_source source;
    const char *reason;  /* of the source's word being the one that counts; constant */
    bool listed;         /* the annotation counts because allowed_annotations lists it */
    const char *warning; /* NULL, or why an annotation was refused */
};

/*
 * sandbox_cgroup_only: default < configuration file < command line < annotation. An annotation may
 * always tighten (true), and loosen (false) only when the administrator lists it in
 * allowed_annotations; a refused one is a warning.
 * @argument  the command line's word, not set if it has none.
 * 0; -EINVAL the annotation is no boolean.
 */
int policy_sandbox_cgroup_only(const struct settings *settings, struct json_bool argument,
                               const struct oci_annotations *annotations, struct policy *ret,
                               struct err *e);

/* true and false as Go's strconv.ParseBool spells them, which Kata uses. 0; -EINVAL. */
int policy_parse_bool(const char *text, bool *ret);

struct policy_pinning {
    bool pinned;
    bool annotated; /* the annotation says so, and not the configuration */
};

/*
 * Whether vCPUs are pinned. The annotation of a pod's author counts: it takes nothing from anybody
 * that the sandbox's cpuset does not give.
 * 0; -EINVAL the annotation is no boolean.
 */
int policy_pinning(const struct settings *settings, const struct oci_annotations *annotations,
                   struct policy_pinning *ret, struct err *e);

/* The CPU quota of one container's overhead. */
struct policy_quota {
    const char *cpu_max; /* as the file of cgroup v2 has it; NULL: that of the settings */
    const char *warning; /* NULL, or why the annotation has no effect */
    bool refused;        /* because it was not allowed */
};

/*
 * The annotation counts where allowed_annotations lists it, as it may grant the overhead more than
 * the administrator has.
 * @has_effect  layout nested without sandbox_cgroup_only.
 * 0; -EINVAL the annotation is no quota that the kernel takes.
 */
int policy_overhead_quota(const struct settings *settings, bool has_effect,
                          const struct oci_annotations *annotations, struct arena *a,
                          struct policy_quota *ret, struct err *e);

/*
 * Whether a thread is taken for a vCPU only if the kernel shows that it is one (KVM's debugfs or
 * descriptors, guest time), and not by a name or a VMM's own word. `vcpu_evidence` of the settings;
 * with "auto" where the host has a hypervisor device, as without one there is nothing to be shown.
 */
bool policy_needs_evidence(const struct settings *settings, bool has_hypervisor);

#endif
