/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/annotations.h"

#include "base/cleanup.h"
#include "base/err.h"

#define ANNOTATION(key, member) JSON_F_STRING(key, struct oci_annotations, member)

static const struct json_field fields[] = {
    ANNOTATION("io.kubernetes.cri.container-type", cri_type),
    ANNOTATION("io.kubernetes.cri.sandbox-id", cri_sandbox_id),
    ANNOTATION("io.kubernetes.cri-o.ContainerType", crio_type),
    ANNOTATION("io.kubernetes.cri-o.SandboxID", crio_sandbox_id),
    ANNOTATION("io.kubernetes.docker.type", docker_type),
    ANNOTATION("io.kubernetes.sandbox.id", docker_sandbox_id),
    ANNOTATION("io.katacontainers.pkg.oci.container_type", kata_type),
    ANNOTATION("io.katacontainers.config.runtime.sandbox_cgroup_only", sandbox_cgroup_only),
    ANNOTATION("io.katacontainers.config.runtime.enable_vcpus_pinning", enable_vcpus_pinning),
    ANNOTATION("oci-sandbox-cgroup.io/overhead-cpu-quota", overhead_cpu_quota),
};

const struct json_table oci_annotations_table = JSON_TABLE(fields, struct oci_annotations);

static char *value_of(const struct oci_annotations *a, const struct json_field *field)
{
    return *(char *const *)(const void *)((const char *)a + field->offset);
}

int oci_annotations_merge(struct oci_annotations *into, const struct oci_annotations *from,
                          struct err *e)
{
    /* All are compared before the first is taken, so that a refusal leaves @into as it was. */
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        const char *ours = value_of(into, &fields[i]), *theirs = value_of(from, &fields[i]);
        char one[160], other[160];

        if (ours && theirs && !str_eq(ours, theirs))
            return err_input(e,
                             "annotation %s: the state and config.json contradict each other, "
                             "expected one value, found \"%s\" and \"%s\"",
                             fields[i].key, str_escape(ours, one, sizeof one),
                             str_escape(theirs, other, sizeof other));
    }
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        char **ours = (char **)(void *)((char *)into + fields[i].offset);

        if (!*ours)
            *ours = value_of(from, &fields[i]);
    }
    return 0;
}
