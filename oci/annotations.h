/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_ANNOTATIONS_H
#define OCI_ANNOTATIONS_H

/*
 * The annotations that mean something to us. They stand in config.json and in the state
 * (runtime-spec config.md "Annotations", runtime.md "State"); all others are skipped unread.
 */

#include "oci/json.h"

/* Limits among org.systemd.property.NAME, which runtimes set of their scope, in the order of
 * oci_scope_limits. */
enum oci_scope_limit {
    OCI_SCOPE_MEMORY_MAX,
    OCI_SCOPE_MEMORY_LIMIT,
    OCI_SCOPE_TASKS_MAX,
    OCI_SCOPE_CPU_QUOTA_USEC,
    OCI_SCOPE_CPU_QUOTA_SEC,
    OCI_SCOPE_OTHERS, /* that and what follows only has a name here */
    OCI_SCOPE_COUNT = OCI_SCOPE_OTHERS + 13,
};

/* Names for people, which decide nothing: those of containerd's CRI, those that the kubelet gives as labels and CRI-O
 * as annotations, CRI-O's own, nerdctl's. */
enum oci_name {
    OCI_NAME_CRI_CONTAINER,
    OCI_NAME_CRI_POD,
    OCI_NAME_CRI_NAMESPACE,
    OCI_NAME_LABEL_CONTAINER,
    OCI_NAME_LABEL_POD,
    OCI_NAME_LABEL_NAMESPACE,
    OCI_NAME_CRIO_POD,
    OCI_NAME_CRIO_NAMESPACE,
    OCI_NAME_NERDCTL,
    OCI_NAME_COUNT,
};

struct oci_annotations {
    char *cri_type;             /* io.kubernetes.cri.container-type */
    char *cri_sandbox_id;       /* io.kubernetes.cri.sandbox-id */
    char *crio_type;            /* io.kubernetes.cri-o.ContainerType */
    char *crio_sandbox_id;      /* io.kubernetes.cri-o.SandboxID */
    char *docker_type;          /* io.kubernetes.docker.type */
    char *docker_sandbox_id;    /* io.kubernetes.sandbox.id */
    char *kata_type;            /* io.katacontainers.pkg.oci.container_type */
    char *sandbox_cgroup_only;  /* io.katacontainers.config.runtime.sandbox_cgroup_only */
    char *enable_vcpus_pinning; /* io.katacontainers.config.runtime.enable_vcpus_pinning */
    char *overhead_cpu_quota;   /* oci-sandbox-cgroup.io/overhead-cpu-quota */
    char *scope[OCI_SCOPE_COUNT];
    char *names[OCI_NAME_COUNT]; /* the last member: see oci_annotations_merge() */
};

/* Their names as annotations. */
extern const char *const oci_scope_limits[OCI_SCOPE_COUNT];

extern const struct json_table oci_annotations_table;

/*
 * @into gets every annotation of @from that it does not have. Of two names @into keeps its own.
 * 0; -EINVAL the two contradict each other, with key and both values in @e.
 */
int oci_annotations_merge(struct oci_annotations *into, const struct oci_annotations *from,
                          struct err *e);

#endif
