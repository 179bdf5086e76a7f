/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/annotations.h"

#include "base/cleanup.h"
#include "base/err.h"

#define SCOPE "org.systemd.property."

#define SCOPE_LIMITS(X)                                                                            \
    X(0, "MemoryMax")                                                                              \
    X(1, "MemoryLimit")                                                                            \
    X(2, "TasksMax")                                                                               \
    X(3, "CPUQuotaPerSecUSec")                                                                     \
    X(4, "CPUQuotaPerSecSec")                                                                      \
    X(5, "MemoryHigh")                                                                             \
    X(6, "MemorySwapMax")                                                                          \
    X(7, "MemoryZSwapMax")                                                                         \
    X(8, "AllowedCPUs")                                                                            \
    X(9, "AllowedMemoryNodes")                                                                     \
    X(10, "IOReadBandwidthMax")                                                                    \
    X(11, "IOWriteBandwidthMax")                                                                   \
    X(12, "IOReadIOPSMax")                                                                         \
    X(13, "IOWriteIOPSMax")                                                                        \
    X(14, "BlockIOReadBandwidth")                                                                  \
    X(15, "BlockIOWriteBandwidth")                                                                 \
    X(16, "DevicePolicy")                                                                          \
    X(17, "DeviceAllow")

#define SCOPE_NAME(index, name)  [index] = SCOPE name,
#define SCOPE_FIELD(index, name) JSON_F_STRING(SCOPE name, struct oci_annotations, scope[index]),

const char *const oci_scope_limits[OCI_SCOPE_COUNT] = {SCOPE_LIMITS(SCOPE_NAME)};

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
    SCOPE_LIMITS(SCOPE_FIELD) /* names are the last */
    ANNOTATION("io.kubernetes.cri.container-name", names[OCI_NAME_CRI_CONTAINER]),
    ANNOTATION("io.kubernetes.cri.sandbox-name", names[OCI_NAME_CRI_POD]),
    ANNOTATION("io.kubernetes.cri.sandbox-namespace", names[OCI_NAME_CRI_NAMESPACE]),
    ANNOTATION("io.kubernetes.container.name", names[OCI_NAME_LABEL_CONTAINER]),
    ANNOTATION("io.kubernetes.pod.name", names[OCI_NAME_LABEL_POD]),
    ANNOTATION("io.kubernetes.pod.namespace", names[OCI_NAME_LABEL_NAMESPACE]),
    ANNOTATION("io.kubernetes.cri-o.KubeName", names[OCI_NAME_CRIO_POD]),
    ANNOTATION("io.kubernetes.cri-o.Namespace", names[OCI_NAME_CRIO_NAMESPACE]),
    ANNOTATION("nerdctl/name", names[OCI_NAME_NERDCTL]),
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
    for (size_t i = 0; i < ARRAY_SIZE(fields) - OCI_NAME_COUNT; i++) {
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
