/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/annotations.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/config_kit.h"

#include <criterion/criterion.h>

static const struct {
    const char *key;
    size_t offset;
} annotations[] = {
#define A(key, member)                                                                             \
    {                                                                                              \
        key, offsetof(struct oci_annotations, member)                                              \
    }
    A("io.kubernetes.cri.container-type", cri_type),
    A("io.kubernetes.cri.sandbox-id", cri_sandbox_id),
    A("io.kubernetes.cri-o.ContainerType", crio_type),
    A("io.kubernetes.cri-o.SandboxID", crio_sandbox_id),
    A("io.kubernetes.docker.type", docker_type),
    A("io.kubernetes.sandbox.id", docker_sandbox_id),
    A("io.katacontainers.pkg.oci.container_type", kata_type),
    A("io.katacontainers.config.runtime.sandbox_cgroup_only", sandbox_cgroup_only),
    A("io.katacontainers.config.runtime.enable_vcpus_pinning", enable_vcpus_pinning),
    A("oci-sandbox-cgroup.io/overhead-cpu-quota", overhead_cpu_quota),
    A("org.systemd.property.MemoryMax", scope[0]),
    A("org.systemd.property.MemoryLimit", scope[1]),
    A("org.systemd.property.TasksMax", scope[2]),
    A("org.systemd.property.CPUQuotaPerSecUSec", scope[3]),
    A("org.systemd.property.CPUQuotaPerSecSec", scope[4]),
    A("org.systemd.property.MemoryHigh", scope[5]),
    A("org.systemd.property.MemorySwapMax", scope[6]),
    A("org.systemd.property.MemoryZSwapMax", scope[7]),
    A("org.systemd.property.AllowedCPUs", scope[8]),
    A("org.systemd.property.AllowedMemoryNodes", scope[9]),
    A("org.systemd.property.IOReadBandwidthMax", scope[10]),
    A("org.systemd.property.IOWriteBandwidthMax", scope[11]),
    A("org.systemd.property.IOReadIOPSMax", scope[12]),
    A("org.systemd.property.IOWriteIOPSMax", scope[13]),
    A("org.systemd.property.BlockIOReadBandwidth", scope[14]),
    A("org.systemd.property.BlockIOWriteBandwidth", scope[15]),
    A("org.systemd.property.DevicePolicy", scope[16]),
    A("org.systemd.property.DeviceAllow", scope[17]),
    A("io.kubernetes.cri.container-name", names[0]),
    A("io.kubernetes.cri.sandbox-name", names[1]),
    A("io.kubernetes.cri.sandbox-namespace", names[2]),
    A("io.kubernetes.container.name", names[3]),
    A("io.kubernetes.pod.name", names[4]),
    A("io.kubernetes.pod.namespace", names[5]),
    A("io.kubernetes.cri-o.KubeName", names[6]),
    A("io.kubernetes.cri-o.Namespace", names[7]),
    A("nerdctl/name", names[8]),
};

/* Nothing is decided by them. */
static bool is_name(size_t i)
{
    return annotations[i].offset >= offsetof(struct oci_annotations, names);
}

static char **annotation(struct oci_annotations *a, size_t i)
{
    return (char **)(void *)((char *)a + annotations[i].offset);
}

Test(annotations, keys)
{
    /* no member without a test here */
    cr_assert_eq(sizeof(struct oci_annotations), ARRAY_SIZE(annotations) * sizeof(char *));
    cr_assert_eq(oci_annotations_table.count, ARRAY_SIZE(annotations));
    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++) {
        autoarena a = ARENA_INIT;
        struct oci_config config = {0};
        struct err e = ERR_INIT;
        char *text = arena_printf(&a, "{\"annotations\":{\"org.other\":1,\"%s\":\"v\"}}",
                                  annotations[i].key);

        cr_assert_eq(kit_read_config(text, strlen(text), 0, &config, &a, &e), 1, "%s", e.text);
        for (size_t k = 0; k < ARRAY_SIZE(annotations); k++)
            cr_expect(str_eq_null(*annotation(config.annotations, k), k == i ? "v" : NULL),
                      "input: %s\nmember %zu", text, k);
        text = arena_printf(&a, "{\"annotations\":{\"%s\":true}}", annotations[i].key);
        kit_expect_config_refused(text,
                                  arena_printf(&a,
                                               "config.json: annotations.%s: expected a string, "
                                               "found a boolean",
                                               annotations[i].key));
        text = arena_printf(&a, "{\"annotations\":{\"%s\":\"v\",\"%s\":\"v\"}}", annotations[i].key,
                            annotations[i].key);
        kit_expect_config_refused(text, arena_printf(&a,
                                                     "config.json: annotations.%s: given twice, "
                                                     "expected once",
                                                     annotations[i].key));
    }
}

Test(annotations, merge)
{
    for (size_t i = 0; i < ARRAY_SIZE(annotations); i++) {
        static const struct {
            const char *into, *from, *want; /* want NULL and both set: a contradiction */
        } cases[] = {
            {NULL, NULL, NULL}, {"x", NULL, "x"}, {NULL, "x", "x"}, {"x", "x", "x"},   {"", "", ""},
            {"x", "y", NULL},   {"", "x", NULL},  {"x", "", NULL},  {"x", "x ", NULL},
        };

        for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
            autoarena a = ARENA_INIT;
            struct oci_annotations into = {0}, from = {0};
            bool differ = cases[k].into && cases[k].from && !cases[k].want;
            bool contradiction = differ && !is_name(i);
            struct err e = ERR_INIT;
            size_t other = (i + 1) % ARRAY_SIZE(annotations);
            char *into_text = cases[k].into ? arena_strdup(&a, cases[k].into) : NULL;
            char *from_text = cases[k].from ? arena_strdup(&a, cases[k].from) : NULL;
            int r;

            *annotation(&into, i) = into_text;
            *annotation(&from, i) = from_text;
            *annotation(&from, other) = arena_strdup(&a, "o");
            r = oci_annotations_merge(&into, &from, &e);
            if (!contradiction) {
                cr_expect(r == 0 &&
                              str_eq_null(*annotation(&into, i),
                                          differ ? cases[k].into : cases[k].want) &&
                              str_eq_null(*annotation(&into, other), "o"),
                          "%s, case %zu: %d, %s", annotations[i].key, k, r, e.text);
                continue;
            }
            cr_expect(r == -EINVAL && e.bad_input, "%s, case %zu: %d", annotations[i].key, k, r);
            cr_expect_str_eq(
                e.text, arena_printf(&a,
                                     "annotation %s: the state and config.json contradict each "
                                     "other, expected one value, found \"%s\" and \"%s\"",
                                     annotations[i].key, cases[k].into, cases[k].from));
            cr_expect(*annotation(&into, i) == into_text && !*annotation(&into, other),
                      "%s, case %zu: changed by a refused merge", annotations[i].key, k);
        }
    }
}

Test(annotations, merge_escapes)
{
    char one[] = "a\nb", two[] = "\033[2J";
    struct oci_annotations into = {.cri_type = one}, from = {.cri_type = two};
    struct err e = ERR_INIT;

    cr_expect_eq(oci_annotations_merge(&into, &from, &e), -EINVAL);
    cr_expect_str_eq(e.text,
                     "annotation io.kubernetes.cri.container-type: the state and config.json "
                     "contradict each other, expected one value, found \"a\\x0ab\" and "
                     "\"\\x1b[2J\"");
    cr_expect_eq(oci_annotations_merge(&into, &from, NULL), -EINVAL);
}
