/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_ANNOTATIONS_H
#define OCI_ANNOTATIONS_H

/*
 * The annotations that mean something to us. They stand in config.json and in the state
 * (runtime-spec config.md "Annotations", runtime.md "State"); all others are skipped unread.
 */

#include "oci/json.h"

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
};

extern const struct json_table oci_annotations_table;

/*
 * @into gets every annotation of @from that it does not have.
 * 0; -EINVAL the two contradict each other, with key and both values in @e.
 */
int oci_annotations_merge(struct oci_annotations *into, const struct oci_annotations *from,
                          struct err *e);

#endif
