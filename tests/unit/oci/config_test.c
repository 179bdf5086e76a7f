/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/annotations.h"
#include "oci/config.h"
#include "oci/resources.h"
#include "oci/state.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define MAX_CHUNK 31

static int read_config(const char *text, size_t len, size_t chunk, struct oci_config *ret,
                       struct arena *a, struct err *e)
{
    struct json_doc doc = {.table = &oci_config_table, .dest = ret};

    return json_read_text(text, len, &doc, 1, chunk, "config.json", a, e);
}

/* The text that a config document is written as. The writer is the caller's. */
static const char *written(struct json_writer *w, const struct oci_config *config)
{
    json_write_table(w, NULL, &oci_config_table, config);
    return json_writer_text(w, NULL);
}

static void expect_config(const char *input, const char *want)
{
    autoarena a = ARENA_INIT;
    struct json_writer *w = json_writer_new(false);
    struct oci_config config = {0};
    struct err e = ERR_INIT;
    int r = read_config(input, strlen(input), 0, &config, &a, &e);
    const char *got = written(w, &config);

    cr_expect(r == 1 && str_eq(got, want), "input:    %s\nexpected: %s\ngot:      %d, %s %s", input,
              want, r, got, e.text);
    json_writer_free(w);
}

static void expect_config_refused(const char *input, const char *want)
{
    autoarena a = ARENA_INIT;
    struct oci_config config = {0};
    struct err e = ERR_INIT;
    int r = read_config(input, strlen(input), 0, &config, &a, &e);

    cr_expect(r == -EINVAL && e.bad_input && str_eq(e.text, want),
              "input:    %s\nexpected: %s\ngot:      %d, %s", input, want, r, e.text);
}

/* --- bounds of every integer --- */

#define I64_MIN  "-9223372036854775808"
#define I64_LESS "-9223372036854775809"
#define I64_MAX  "9223372036854775807"
#define I64_MORE "9223372036854775808"
#define U64_MAX  "18446744073709551615"
#define U64_MORE "18446744073709551616"
#define U32_MAX  "4294967295"
#define U32_MORE "4294967296"
#define U16_MAX  "65535"
#define U16_MORE "65536"

#define RESOURCES(s) "{\"linux\":{\"resources\":" s "}}"

static const struct {
    const char *document; /* with one %s for the number */
    const char *path, *min, *max, *below, *above;
} integers[] = {
#define I64(doc, path)                                                                             \
    {                                                                                              \
        doc, path, I64_MIN, I64_MAX, I64_LESS, I64_MORE                                            \
    }
#define SIZE(doc, path)                                                                            \
    {                                                                                              \
        doc, path, "-1", I64_MAX, "-2", I64_MORE                                                   \
    }
#define U64(doc, path)                                                                             \
    {                                                                                              \
        doc, path, "0", U64_MAX, "-1", U64_MORE                                                    \
    }
#define U32(doc, path)                                                                             \
    {                                                                                              \
        doc, path, "0", U32_MAX, "-1", U32_MORE                                                    \
    }
#define U16(doc, path)                                                                             \
    {                                                                                              \
        doc, path, "0", U16_MAX, "-1", U16_MORE                                                    \
    }
#define DEV(doc, path)                                                                             \
    {                                                                                              \
        doc, path, "-1", U32_MAX, "-2", U32_MORE                                                   \
    }
    DEV("{\"linux\":{\"devices\":[{\"major\":%s}]}}", "devices[0].major"),
    DEV("{\"linux\":{\"devices\":[{\"minor\":%s}]}}", "devices[0].minor"),
    DEV(RESOURCES("{\"devices\":[{\"major\":%s}]}"), "resources.devices[0].major"),
    DEV(RESOURCES("{\"devices\":[{\"minor\":%s}]}"), "resources.devices[0].minor"),
    U64(RESOURCES("{\"cpu\":{\"shares\":%s}}"), "resources.cpu.shares"),
    I64(RESOURCES("{\"cpu\":{\"quota\":%s}}"), "resources.cpu.quota"),
    U64(RESOURCES("{\"cpu\":{\"burst\":%s}}"), "resources.cpu.burst"),
    U64(RESOURCES("{\"cpu\":{\"period\":%s}}"), "resources.cpu.period"),
    I64(RESOURCES("{\"cpu\":{\"realtimeRuntime\":%s}}"), "resources.cpu.realtimeRuntime"),
    U64(RESOURCES("{\"cpu\":{\"realtimePeriod\":%s}}"), "resources.cpu.realtimePeriod"),
    I64(RESOURCES("{\"cpu\":{\"idle\":%s}}"), "resources.cpu.idle"),
    SIZE(RESOURCES("{\"memory\":{\"limit\":%s}}"), "resources.memory.limit"),
    SIZE(RESOURCES("{\"memory\":{\"reservation\":%s}}"), "resources.memory.reservation"),
    SIZE(RESOURCES("{\"memory\":{\"swap\":%s}}"), "resources.memory.swap"),
    SIZE(RESOURCES("{\"memory\":{\"kernel\":%s}}"), "resources.memory.kernel"),
    SIZE(RESOURCES("{\"memory\":{\"kernelTCP\":%s}}"), "resources.memory.kernelTCP"),
    {RESOURCES("{\"memory\":{\"swappiness\":%s}}"), "resources.memory.swappiness", "0", "100", "-1",
     "101"},
    I64(RESOURCES("{\"pids\":{\"limit\":%s}}"), "resources.pids.limit"),
    U64(RESOURCES("{\"hugepageLimits\":[{\"limit\":%s}]}"), "resources.hugepageLimits[0].limit"),
    U16(RESOURCES("{\"blockIO\":{\"weight\":%s}}"), "resources.blockIO.weight"),
    U16(RESOURCES("{\"blockIO\":{\"leafWeight\":%s}}"), "resources.blockIO.leafWeight"),
#define WEIGHT "resources.blockIO.weightDevice[0]."
    {RESOURCES("{\"blockIO\":{\"weightDevice\":[{\"major\":%s}]}}"), WEIGHT "major", "0", U32_MAX,
     "-1", U32_MORE},
    {RESOURCES("{\"blockIO\":{\"weightDevice\":[{\"minor\":%s}]}}"), WEIGHT "minor", "0", U32_MAX,
     "-1", U32_MORE},
    U16(RESOURCES("{\"blockIO\":{\"weightDevice\":[{\"weight\":%s}]}}"), WEIGHT "weight"),
    U16(RESOURCES("{\"blockIO\":{\"weightDevice\":[{\"leafWeight\":%s}]}}"), WEIGHT "leafWeight"),
#define THROTTLE(name)                                                                             \
    {RESOURCES("{\"blockIO\":{\"" name "\":[{\"major\":%s}]}}"),                                   \
     "resources.blockIO." name "[0].major",                                                        \
     "0",                                                                                          \
     U32_MAX,                                                                                      \
     "-1",                                                                                         \
     U32_MORE},                                                                                    \
        {RESOURCES("{\"blockIO\":{\"" name "\":[{\"minor\":%s}]}}"),                               \
         "resources.blockIO." name "[0].minor",                                                    \
         "0",                                                                                      \
         U32_MAX,                                                                                  \
         "-1",                                                                                     \
         U32_MORE},                                                                                \
        U64(RESOURCES("{\"blockIO\":{\"" name "\":[{\"rate\":%s}]}}"),                             \
            "resources.blockIO." name "[0].rate")
    THROTTLE("throttleReadBpsDevice"),
    THROTTLE("throttleWriteBpsDevice"),
    THROTTLE("throttleReadIOPSDevice"),
    THROTTLE("throttleWriteIOPSDevice"),
    U32(RESOURCES("{\"network\":{\"classID\":%s}}"), "resources.network.classID"),
    U32(RESOURCES("{\"network\":{\"priorities\":[{\"priority\":%s}]}}"),
        "resources.network.priorities[0].priority"),
};

/* The rows are formats by construction; a compiler cannot see that. */
static char *with_number(struct arena *a, const char *document, const char *number)
{
    const char *hole = strstr(document, "%s");

    return arena_printf(a, "%.*s%s%s", (int)(hole - document), document, number, hole + 2);
}

Test(oci, integer_bounds)
{
    for (size_t i = 0; i < ARRAY_SIZE(integers); i++) {
        autoarena a = ARENA_INIT;
        char range[64], want[256];
        const char *good[] = {integers[i].min, integers[i].max, "0"};
        const char *bad[] = {integers[i].below, integers[i].above};

        snprintf(range, sizeof range, "%s..%s", integers[i].min, integers[i].max);
        for (size_t k = 0; k < ARRAY_SIZE(good); k++) {
            const char *text = with_number(&a, integers[i].document, good[k]);

            expect_config(text, text);
        }
        for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
            snprintf(want, sizeof want, "config.json: linux.%s: %s is out of range %s",
                     integers[i].path, bad[k], range);
            expect_config_refused(with_number(&a, integers[i].document, bad[k]), want);
        }
        snprintf(want, sizeof want, "config.json: linux.%s: expected an integer, found a string",
                 integers[i].path);
        expect_config_refused(with_number(&a, integers[i].document, "\"1\""), want);
        snprintf(want, sizeof want, "config.json: linux.%s: expected an integer, found 1.5",
                 integers[i].path);
        expect_config_refused(with_number(&a, integers[i].document, "1.5"), want);
    }
}

/* --- every member goes to its own place --- */

static const char every_resource[] =
    "{\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":2,"
    "\"access\":\"rw\"}],"
    "\"cpu\":{\"shares\":3,\"quota\":4,\"burst\":5,\"period\":6,\"realtimeRuntime\":7,"
    "\"realtimePeriod\":8,\"cpus\":\"0-1\",\"mems\":\"2\",\"idle\":9},"
    "\"memory\":{\"limit\":10,\"reservation\":11,\"swap\":12,\"kernel\":13,\"kernelTCP\":14,"
    "\"swappiness\":15,\"disableOOMKiller\":true},"
    "\"pids\":{\"limit\":16},"
    "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":17}],"
    "\"blockIO\":{\"weight\":18,\"leafWeight\":19,"
    "\"weightDevice\":[{\"major\":20,\"minor\":21,\"weight\":22,\"leafWeight\":23}],"
    "\"throttleReadBpsDevice\":[{\"major\":24,\"minor\":25,\"rate\":26}],"
    "\"throttleWriteBpsDevice\":[{\"major\":27,\"minor\":28,\"rate\":29}],"
    "\"throttleReadIOPSDevice\":[{\"major\":30,\"minor\":31,\"rate\":32}],"
    "\"throttleWriteIOPSDevice\":[{\"major\":33,\"minor\":34,\"rate\":35}]},"
    "\"network\":{\"classID\":36,\"priorities\":[{\"name\":\"eth0\",\"priority\":37}]},"
    "\"unified\":{\"memory.high\":\"38\",\"io.max\":\"8:0 rbps=39\"}}";

static int read_resources(const char *text, struct oci_resources *ret, struct arena *a,
                          struct err *e)
{
    struct json_doc doc = {.table = &oci_resources_table, .dest = ret};

    return json_read_text(text, strlen(text), &doc, 1, 0, "resources", a, e);
}

#define EXPECT_NUMBER(member, want)                                                                \
    cr_expect((member).set && (member).value == (typeof((member).value))(want), "%s: expected %d", \
              #member, want)

static void expect_throttle(const struct json_list *list, int first)
{
    const struct oci_throttle_device *d = &JSON_AT(*list, struct oci_throttle_device, 0);

    cr_assert_eq(list->count, 1);
    EXPECT_NUMBER(d->major, first);
    EXPECT_NUMBER(d->minor, first + 1);
    EXPECT_NUMBER(d->rate, first + 2);
}

Test(oci, resources_members)
{
    autoarena a = ARENA_INIT;
    struct oci_resources res = {0};
    struct err e = ERR_INIT;
    const struct oci_device_rule *rule;
    const struct oci_weight_device *weight;

    cr_assert_eq(read_resources(every_resource, &res, &a, &e), 1, "%s", e.text);
    cr_assert_eq(res.devices.count, 2);
    rule = &JSON_AT(res.devices, struct oci_device_rule, 0);
    cr_expect(rule->allow.set && !rule->allow.value && !rule->type && !rule->access);
    cr_expect(!rule->major.set && !rule->minor.set);
    rule = &JSON_AT(res.devices, struct oci_device_rule, 1);
    cr_expect(rule->allow.set && rule->allow.value);
    cr_expect_str_eq(rule->type, "c");
    cr_expect_str_eq(rule->access, "rw");
    EXPECT_NUMBER(rule->major, 1);
    EXPECT_NUMBER(rule->minor, 2);
    EXPECT_NUMBER(res.cpu->shares, 3);
    EXPECT_NUMBER(res.cpu->quota, 4);
    EXPECT_NUMBER(res.cpu->burst, 5);
    EXPECT_NUMBER(res.cpu->period, 6);
    EXPECT_NUMBER(res.cpu->rt_runtime, 7);
    EXPECT_NUMBER(res.cpu->rt_period, 8);
    cr_expect_str_eq(res.cpu->cpus, "0-1");
    cr_expect_str_eq(res.cpu->mems, "2");
    EXPECT_NUMBER(res.cpu->idle, 9);
    EXPECT_NUMBER(res.memory->limit, 10);
    EXPECT_NUMBER(res.memory->reservation, 11);
    EXPECT_NUMBER(res.memory->swap, 12);
    EXPECT_NUMBER(res.memory->kernel, 13);
    EXPECT_NUMBER(res.memory->kernel_tcp, 14);
    EXPECT_NUMBER(res.memory->swappiness, 15);
    cr_expect(res.memory->disable_oom_killer.set && res.memory->disable_oom_killer.value);
    EXPECT_NUMBER(res.pids->limit, 16);
    cr_assert_eq(res.hugepages.count, 1);
    cr_expect_str_eq(JSON_AT(res.hugepages, struct oci_hugepage_limit, 0).page_size, "2MB");
    EXPECT_NUMBER(JSON_AT(res.hugepages, struct oci_hugepage_limit, 0).limit, 17);
    EXPECT_NUMBER(res.block_io->weight, 18);
    EXPECT_NUMBER(res.block_io->leaf_weight, 19);
    cr_assert_eq(res.block_io->weight_device.count, 1);
    weight = &JSON_AT(res.block_io->weight_device, struct oci_weight_device, 0);
    EXPECT_NUMBER(weight->major, 20);
    EXPECT_NUMBER(weight->minor, 21);
    EXPECT_NUMBER(weight->weight, 22);
    EXPECT_NUMBER(weight->leaf_weight, 23);
    expect_throttle(&res.block_io->read_bps, 24);
    expect_throttle(&res.block_io->write_bps, 27);
    expect_throttle(&res.block_io->read_iops, 30);
    expect_throttle(&res.block_io->write_iops, 33);
    EXPECT_NUMBER(res.network->class_id, 36);
    cr_assert_eq(res.network->priorities.count, 1);
    cr_expect_str_eq(JSON_AT(res.network->priorities, struct oci_priority, 0).name, "eth0");
    EXPECT_NUMBER(JSON_AT(res.network->priorities, struct oci_priority, 0).priority, 37);
    cr_assert_eq(res.unified.count, 2);
    cr_expect_str_eq(JSON_AT(res.unified, struct json_pair, 0).key, "memory.high");
    cr_expect_str_eq(JSON_AT(res.unified, struct json_pair, 1).value, "8:0 rbps=39");
}

Test(oci, resources_round_trip)
{
    static const char *const cases[] = {"{}", every_resource,
                                        "{\"cpu\":{},\"memory\":{},\"pids\":{},\"blockIO\":{},"
                                        "\"network\":{}}"};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct json_writer *w = json_writer_new(false);
        struct oci_resources res = {0};
        struct err e = ERR_INIT;

        cr_assert_eq(read_resources(cases[i], &res, &a, &e), 1, "%s", e.text);
        json_write_table(w, NULL, &oci_resources_table, &res);
        cr_expect_str_eq(json_writer_text(w, NULL), cases[i]);
        json_writer_free(w);
    }
}

Test(oci, ten_thousand_device_rules, .timeout = 20)
{
    enum { COUNT = 10000 };
    autoarena a = ARENA_INIT;
    autosbuf input = SBUF_INIT;
    struct oci_resources res = {0};
    struct err e = ERR_INIT;

    sbuf_addf(&input, "{\"devices\":[");
    for (int i = 0; i < COUNT; i++)
        sbuf_addf(&input, "%s{\"allow\":%s,\"type\":\"c\",\"major\":%d,\"access\":\"rwm\"}",
                  i > 0 ? "," : "", i % 3 ? "true" : "false", i);
    sbuf_addf(&input, "]}");
    cr_assert_eq(read_resources(input.text, &res, &a, &e), 1, "%s", e.text);
    cr_assert_eq(res.devices.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        const struct oci_device_rule *rule = &JSON_AT(res.devices, struct oci_device_rule, i);

        cr_assert(rule->major.value == i && rule->allow.value == (i % 3 != 0) && !rule->minor.set,
                  "rule %d", i);
    }
}

/* --- annotations --- */

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
};

static char **annotation(struct oci_annotations *a, size_t i)
{
    return (char **)(void *)((char *)a + annotations[i].offset);
}

Test(oci, annotation_keys)
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

        cr_assert_eq(read_config(text, strlen(text), 0, &config, &a, &e), 1, "%s", e.text);
        for (size_t k = 0; k < ARRAY_SIZE(annotations); k++)
            cr_expect(str_eq_null(*annotation(config.annotations, k), k == i ? "v" : NULL),
                      "input: %s\nmember %zu", text, k);
        text = arena_printf(&a, "{\"annotations\":{\"%s\":true}}", annotations[i].key);
        expect_config_refused(text, arena_printf(&a,
                                                 "config.json: annotations.%s: expected a string, "
                                                 "found a boolean",
                                                 annotations[i].key));
        text = arena_printf(&a, "{\"annotations\":{\"%s\":\"v\",\"%s\":\"v\"}}", annotations[i].key,
                            annotations[i].key);
        expect_config_refused(text, arena_printf(&a,
                                                 "config.json: annotations.%s: given twice, "
                                                 "expected once",
                                                 annotations[i].key));
    }
}

Test(oci, annotations_merge)
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
            bool contradiction = cases[k].into && cases[k].from && !cases[k].want;
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
                cr_expect(r == 0 && str_eq_null(*annotation(&into, i), cases[k].want) &&
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

Test(oci, annotations_merge_escapes)
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

/* --- config.json --- */

/* What `runc spec` writes, with one of each list's elements. */
static const char runc_spec[] =
    "{\n"
    "\t\"ociVersion\": \"1.0.2-dev\",\n"
    "\t\"process\": {\n"
    "\t\t\"terminal\": true,\n"
    "\t\t\"user\": {\n\t\t\t\"uid\": 0,\n\t\t\t\"gid\": 0\n\t\t},\n"
    "\t\t\"args\": [\n\t\t\t\"sh\"\n\t\t],\n"
    "\t\t\"env\": [\n\t\t\t\"TERM=xterm\"\n\t\t],\n"
    "\t\t\"cwd\": \"/\",\n"
    "\t\t\"capabilities\": {\n\t\t\t\"bounding\": [\n\t\t\t\t\"CAP_KILL\"\n\t\t\t]\n\t\t},\n"
    "\t\t\"rlimits\": [\n\t\t\t{\n\t\t\t\t\"type\": \"RLIMIT_NOFILE\",\n"
    "\t\t\t\t\"hard\": 1024,\n\t\t\t\t\"soft\": 1024\n\t\t\t}\n\t\t],\n"
    "\t\t\"noNewPrivileges\": true\n"
    "\t},\n"
    "\t\"root\": {\n\t\t\"path\": \"rootfs\",\n\t\t\"readonly\": true\n\t},\n"
    "\t\"hostname\": \"runc\",\n"
    "\t\"mounts\": [\n\t\t{\n\t\t\t\"destination\": \"/dev\",\n\t\t\t\"type\": \"tmpfs\",\n"
    "\t\t\t\"source\": \"tmpfs\",\n\t\t\t\"options\": [\n\t\t\t\t\"nosuid\"\n\t\t\t]\n\t\t}\n\t],\n"
    "\t\"linux\": {\n"
    "\t\t\"resources\": {\n"
    "\t\t\t\"devices\": [\n"
    "\t\t\t\t{\n\t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n"
    "\t\t\t]\n"
    "\t\t},\n"
    "\t\t\"namespaces\": [\n\t\t\t{\n\t\t\t\t\"type\": \"pid\"\n\t\t\t}\n\t\t],\n"
    "\t\t\"maskedPaths\": [\n\t\t\t\"/proc/acpi\"\n\t\t],\n"
    "\t\t\"readonlyPaths\": [\n\t\t\t\"/proc/bus\"\n\t\t]\n"
    "\t}\n"
    "}\n";

/* As containerd's CRI plugin writes it, with some of everything. */
static const char pod_config[] =
    "{\"ociVersion\":\"1.1.0\",\"process\":{\"user\":{\"uid\":0,\"gid\":0,\"additionalGids\":[0]},"
    "\"args\":[\"/pause\"],\"cwd\":\"/\",\"oomScoreAdj\":-998},\"root\":{\"path\":\"rootfs\"},"
    "\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
    "\"io.kubernetes.cri.sandbox-id\":\"0123abc\",\"io.kubernetes.cri.sandbox-cpu-shares\":\"2\","
    "\"note\":\"\\u00e9 \xf0\x9f\x98\x80 \\ud83d\\ude00\"},"
    "\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,"
    "\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rwm\"}],\"memory\":{\"limit\":67108864},"
    "\"cpu\":{\"shares\":2,\"quota\":50000,\"period\":100000},\"unified\":{\"memory.high\":\"1\"}},"
    "\"cgroupsPath\":\"/kubepods/pod1/0123abc\",\"namespaces\":[{\"type\":\"pid\"}],"
    "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"accept\"],"
    "\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":18446744073709551615}]}]},"
    "\"devices\":[{\"path\":\"/dev/"
    "kvm\",\"type\":\"c\",\"major\":10,\"minor\":232,\"fileMode\":432,"
    "\"uid\":0}]}}";

static const char pod_config_used[] =
    "{\"ociVersion\":\"1.1.0\",\"linux\":{\"cgroupsPath\":\"/kubepods/pod1/0123abc\","
    "\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,"
    "\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rwm\"}],"
    "\"cpu\":{\"shares\":2,\"quota\":50000,\"period\":100000},\"memory\":{\"limit\":67108864},"
    "\"unified\":{\"memory.high\":\"1\"}},"
    "\"devices\":[{\"path\":\"/dev/kvm\",\"type\":\"c\",\"major\":10,\"minor\":232}]},"
    "\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
    "\"io.kubernetes.cri.sandbox-id\":\"0123abc\"}}";

Test(oci, config_of_runc_spec)
{
    expect_config(runc_spec, "{\"ociVersion\":\"1.0.2-dev\",\"linux\":{\"resources\":{\"devices\":["
                             "{\"allow\":false,\"access\":\"rwm\"}]}}}");
}

Test(oci, config_of_a_pod)
{
    autoarena a = ARENA_INIT;
    struct oci_config config = {0};
    struct err e = ERR_INIT;
    const struct oci_device *device;

    cr_assert_eq(read_config(pod_config, sizeof pod_config - 1, 0, &config, &a, &e), 1, "%s",
                 e.text);
    cr_expect_str_eq(config.oci_version, "1.1.0");
    cr_expect_str_eq(config.linux_->cgroups_path, "/kubepods/pod1/0123abc");
    cr_expect_eq(config.linux_->resources->memory->limit.value, 67108864);
    cr_assert_eq(config.linux_->devices.count, 1);
    device = &JSON_AT(config.linux_->devices, struct oci_device, 0);
    cr_expect_str_eq(device->path, "/dev/kvm");
    cr_expect_str_eq(device->type, "c");
    EXPECT_NUMBER(device->major, 10);
    EXPECT_NUMBER(device->minor, 232);
    cr_expect_str_eq(config.annotations->cri_type, "sandbox");
}

Test(oci, config_round_trip)
{
    expect_config(pod_config, pod_config_used);
    expect_config(pod_config_used, pod_config_used);
    expect_config("{}", "{}");
    expect_config("{\"linux\":{},\"annotations\":{}}", "{\"linux\":{},\"annotations\":{}}");
    expect_config("{\"linux\":null,\"annotations\":null,\"ociVersion\":null}", "{}");
    expect_config("{\"linux\":{\"resources\":null,\"devices\":null,\"cgroupsPath\":null}}",
                  "{\"linux\":{}}");
}

Test(oci, config_in_chunks)
{
    for (size_t chunk = 1; chunk <= MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct json_writer *w = json_writer_new(false);
        struct oci_config config = {0};
        struct err e = ERR_INIT;
        int r = read_config(pod_config, sizeof pod_config - 1, chunk, &config, &a, &e);
        const char *got = written(w, &config);

        cr_expect(r == 1 && str_eq(got, pod_config_used), "chunk %zu: %d, %s %s", chunk, r, got,
                  e.text);
        json_writer_free(w);
    }
}

Test(oci, config_truncated_at_every_byte, .timeout = 60)
{
    for (size_t len = 1; len < sizeof pod_config - 1; len++) {
        static const size_t chunks[] = {0, 1, 7};

        for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
            autoarena a = ARENA_INIT;
            struct oci_config config = {0};
            struct err e = ERR_INIT;
            int r = read_config(pod_config, len, chunks[i], &config, &a, &e);

            cr_expect(r == -EINVAL && e.bad_input && str_starts(e.text, "config.json: ") &&
                          !strchr(e.text, '\n'),
                      "%zu bytes in chunks of %zu: %d, %s", len, chunks[i], r, e.text);
        }
    }
}

Test(oci, config_with_any_byte_changed, .timeout = 60)
{
    static const char bytes[] = {'\0', '"', '{', ']', '\\', '\xff', 'x', '9'};
    char text[sizeof pod_config];

    for (size_t at = 0; at < sizeof pod_config - 1; at++) {
        for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
            autoarena a = ARENA_INIT, b = ARENA_INIT;
            struct oci_config one = {0}, two = {0};
            struct err e = ERR_INIT, again = ERR_INIT;
            int r;

            memcpy(text, pod_config, sizeof text);
            text[at] = bytes[i];
            r = read_config(text, sizeof text - 1, 0, &one, &a, &e);
            cr_expect(r == 1 || (r == -EINVAL && e.bad_input && !strchr(e.text, '\n')),
                      "byte %zu: %d, %s", at, r, e.text);
            cr_expect_eq(read_config(text, sizeof text - 1, 5, &two, &b, &again), r);
            cr_expect_str_eq(again.text, e.text);
        }
    }
}

Test(oci, config_refuses)
{
    static const struct {
        const char *input, *want;
    } cases[] = {
        {"{\"linux\":[]}", "linux: expected an object, found a list"},
        {"{\"ociVersion\":1}", "ociVersion: expected a string, found a number"},
        {"{\"annotations\":[]}", "annotations: expected an object, found a list"},
        {"{\"linux\":{\"cgroupsPath\":{}}}",
         "linux.cgroupsPath: expected a string, found an object"},
        {"{\"linux\":{\"cgroupsPath\":\"a\\u0000\"}}",
         "linux.cgroupsPath: a NUL character in a string, expected text without"},
        {"{\"linux\":{},\"linux\":{}}", "linux: given twice, expected once"},
        {"{\"linux\":{\"devices\":{}}}", "linux.devices: expected a list, found an object"},
        {"{\"linux\":{\"devices\":[{\"path\":1}]}}",
         "linux.devices[0].path: expected a string, found a number"},
        {"{\"linux\":{\"devices\":[{},{\"type\":true}]}}",
         "linux.devices[1].type: expected a string, found a boolean"},
        {RESOURCES("[]"), "linux.resources: expected an object, found a list"},
        {RESOURCES("{\"devices\":[{},{},{},{\"major\":-2}]}"),
         "linux.resources.devices[3].major: -2 is out of range -1..4294967295"},
        {RESOURCES("{\"devices\":[{\"allow\":\"true\"}]}"),
         "linux.resources.devices[0].allow: expected a boolean, found a string"},
        {RESOURCES("{\"devices\":[{\"type\":1}]}"),
         "linux.resources.devices[0].type: expected a string, found a number"},
        {RESOURCES("{\"devices\":[{\"access\":[]}]}"),
         "linux.resources.devices[0].access: expected a string, found a list"},
        {RESOURCES("{\"cpu\":{\"shares\":\"1\"}}"),
         "linux.resources.cpu.shares: expected an integer, found a string"},
        {RESOURCES("{\"cpu\":{\"cpus\":0}}"),
         "linux.resources.cpu.cpus: expected a string, found a number"},
        {RESOURCES("{\"cpu\":{\"mems\":0}}"),
         "linux.resources.cpu.mems: expected a string, found a number"},
        {RESOURCES("{\"memory\":{\"disableOOMKiller\":1}}"),
         "linux.resources.memory.disableOOMKiller: expected a boolean, found a number"},
        {RESOURCES("{\"hugepageLimits\":[{\"pageSize\":2}]}"),
         "linux.resources.hugepageLimits[0].pageSize: expected a string, found a number"},
        {RESOURCES("{\"network\":{\"priorities\":[{\"name\":2}]}}"),
         "linux.resources.network.priorities[0].name: expected a string, found a number"},
        {RESOURCES("{\"unified\":{\"memory.high\":1}}"),
         "linux.resources.unified.memory.high: expected a string, found a number"},
        {RESOURCES("{\"unified\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"1\"}}"),
         "linux.resources.unified.a: given twice, expected once"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char want[256];

        snprintf(want, sizeof want, "config.json: %s", cases[i].want);
        expect_config_refused(cases[i].input, want);
    }
}

/* --- a bundle --- */

struct bundle {
    char dir[64];
    char file[80];
};

static void bundle_free(struct bundle *b)
{
    unlink(b->file);
    rmdir(b->file);
    rmdir(b->dir);
}

static void bundle_init(struct bundle *b)
{
    snprintf(b->dir, sizeof b->dir, "%s/oci_test.XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(b->dir));
    snprintf(b->file, sizeof b->file, "%s/config.json", b->dir);
}

#define autobundle CLEANUP(bundle_free) struct bundle

static void write_file(const char *path, const char *text)
{
    autofd fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void expect_bundle_refused(const struct bundle *b, int code, const char *what)
{
    autoarena a = ARENA_INIT;
    struct oci_config config = {0}, zero = {0};
    struct err e = ERR_INIT;
    char want[256];
    int r = oci_config_read_bundle(b->dir, &a, &config, &e);

    snprintf(want, sizeof want, "%s: %s", b->file, what);
    cr_expect(r == code && e.bad_input == (code == -EINVAL) && str_eq(e.text, want),
              "expected: %d, %s\ngot:      %d, %s", code, want, r, e.text);
    cr_expect(memcmp(&config, &zero, sizeof zero) == 0, "a refused bundle changed the result");
}

Test(oci, bundle_is_read)
{
    autoarena a = ARENA_INIT;
    autobundle b;
    struct oci_config config = {0};
    struct err e = ERR_INIT;

    bundle_init(&b);
    write_file(b.file, pod_config);
    cr_assert_eq(oci_config_read_bundle(b.dir, &a, &config, &e), 0, "%s", e.text);
    cr_expect_str_eq(config.linux_->cgroups_path, "/kubepods/pod1/0123abc");
}

/* A runtime may start a hook without a standard input; the file is then descriptor 0. */
Test(oci, bundle_is_read_as_descriptor_zero)
{
    autoarena a = ARENA_INIT;
    autobundle b;
    struct oci_config config = {0};
    struct err e = ERR_INIT;

    bundle_init(&b);
    write_file(b.file, "{\"ociVersion\":\"1\"}");
    close(STDIN_FILENO);
    cr_assert_eq(oci_config_read_bundle(b.dir, &a, &config, &e), 0, "%s", e.text);
    cr_expect_str_eq(config.oci_version, "1");
    cr_expect_eq(fcntl(STDIN_FILENO, F_GETFD), -1, "the descriptor is still open");
}

Test(oci, bundle_without_usable_file, .timeout = 20)
{
    static const char not_regular[] = "not a regular file, expected the bundle's config.json";
    autobundle b;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    autofd sock = FD_NONE;

    bundle_init(&b);
    expect_bundle_refused(&b, -ENOENT, "cannot open: ENOENT (No such file or directory)");
    cr_assert_eq(mkfifo(b.file, 0600), 0);
    expect_bundle_refused(&b, -EINVAL, not_regular);
    cr_assert_eq(unlink(b.file), 0);
    cr_assert_eq(mkdir(b.file, 0700), 0);
    expect_bundle_refused(&b, -EINVAL, not_regular);
    cr_assert_eq(rmdir(b.file), 0);
    cr_assert_eq(symlink("/dev/null", b.file), 0);
    expect_bundle_refused(&b, -EINVAL, not_regular);
    cr_assert_eq(unlink(b.file), 0);
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(addr.sun_path, b.file, strlen(b.file));
    cr_assert_eq(bind(sock, (const struct sockaddr *)&addr, sizeof addr), 0);
    expect_bundle_refused(&b, -EINVAL, not_regular);
    cr_assert_eq(unlink(b.file), 0);
    cr_assert_eq(symlink("config.json", b.file), 0);
    expect_bundle_refused(&b, -ELOOP, "cannot open: ELOOP (Too many levels of symbolic links)");
}

Test(oci, bundle_with_bad_content)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "the file is empty, expected an object"},
        {" \n", "the file is empty, expected an object"},
        {"{\"linux\":1}", "linux: expected an object, found a number"},
        {"{} {}", "an object follows the last document, expected one document only"},
        {"{", "the input ends early, at byte 1, expected the rest of the document"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autobundle b;

        bundle_init(&b);
        write_file(b.file, cases[i].text);
        expect_bundle_refused(&b, -EINVAL, cases[i].want);
    }
}

Test(oci, bundle_that_is_no_path)
{
    autoarena a = ARENA_INIT;
    struct oci_config config = {0};
    struct err e = ERR_INIT;
    char path[PATH_MAX + 10];
    int r = oci_config_read_bundle("some/where\n", &a, &config, &e);

    cr_expect(r == -EINVAL && e.bad_input &&
                  str_eq(e.text, "bundle \"some/where\\x0a\": expected an absolute path"),
              "got %d, %s", r, e.text);
    err_reset(&e);
    r = oci_config_read_bundle("", &a, &config, &e);
    cr_expect(r == -EINVAL && str_eq(e.text, "bundle \"\": expected an absolute path"),
              "got %d, %s", r, e.text);
    /* with "/config.json" exactly one byte too long, then much too long */
    for (size_t len = PATH_MAX - 12; len < PATH_MAX + 5; len += 16) {
        memset(path, 'a', len);
        path[0] = '/';
        path[len] = '\0';
        err_reset(&e);
        r = oci_config_read_bundle(path, &a, &config, &e);
        cr_expect(r == -ENAMETOOLONG && strstr(e.text, "the bundle's path is too long"),
                  "%zu bytes: got %d, %s", len, r, e.text);
    }
}

/* --- standard input --- */

static int file_with(const char *text, size_t len)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

Test(oci, state_members)
{
    static const char text[] = "{\"ociVersion\":\"1.0.2\",\"id\":\"c1\",\"status\":\"creating\","
                               "\"pid\":4194304,\"bundle\":\"/b\",\"root\":\"/r\",\"annotations\":"
                               "{\"io.kubernetes.cri.sandbox-id\":\"s1\",\"x\":[]}}\n";
    autoarena a = ARENA_INIT;
    struct oci_input input;
    struct err e = ERR_INIT;
    autofd fd = file_with(text, sizeof text - 1);

    memset(&input, 0xff, sizeof input);
    cr_assert_eq(oci_input_read(fd, &a, &input, &e), 0, "%s", e.text);
    cr_expect_str_eq(input.state.oci_version, "1.0.2");
    cr_expect_str_eq(input.state.id, "c1");
    cr_expect_str_eq(input.state.status, "creating");
    EXPECT_NUMBER(input.state.pid, 4194304);
    cr_expect_str_eq(input.state.bundle, "/b");
    cr_expect_str_eq(input.state.annotations->cri_sandbox_id, "s1");
    cr_expect_null(input.state.annotations->cri_type);
    cr_expect_not(input.has_config);
    cr_expect(!input.config.linux_ && !input.config.annotations && !input.config.oci_version);
}

Test(oci, state_round_trip)
{
    static const char text[] = "{\"ociVersion\":\"1.0.2\",\"id\":\"c1\",\"status\":\"\",\"pid\":0,"
                               "\"bundle\":\"/b\",\"annotations\":{}}";
    autoarena a = ARENA_INIT;
    struct json_writer *w = json_writer_new(false);
    struct oci_state state = {0};
    struct json_doc doc = {.table = &oci_state_table, .dest = &state};
    struct err e = ERR_INIT;

    cr_assert_eq(json_read_text(text, sizeof text - 1, &doc, 1, 0, "in", &a, &e), 1, "%s", e.text);
    json_write_table(w, NULL, &oci_state_table, &state);
    cr_expect_str_eq(json_writer_text(w, NULL), text);
    json_writer_free(w);
}

Test(oci, stdin_forms)
{
    static const struct {
        const char *input, *status;
        bool has_config;
        const char *cgroups_path;
    } cases[] = {
        {"{\"id\":\"c1\"}", NULL, false, NULL},
        {" \n{\"id\":\"c1\",\"status\":\"running\"}\n ", "running", false, NULL},
        {"{\"id\":\"c1\",\"status\":\"no such status\"}", "no such status", false, NULL},
        {"{\"id\":\"c1\",\"status\":\"\",\"ociVersion\":\"\",\"pid\":null}", "", false, NULL},
        {"{\"id\":\"c1\"}{}", NULL, true, NULL},
        {"{\"id\":\"c1\",\"status\":\"a\"}\n{\"linux\":{\"cgroupsPath\":\"/p\"}}\n", "a", true,
         "/p"},
        {"{\"state\":{\"id\":\"c1\",\"status\":\"b\"}}", "b", false, NULL},
        {"{\"state\":{\"id\":\"c1\"},\"config\":{}}", NULL, true, NULL},
        {"{\"config\":{\"linux\":{\"cgroupsPath\":\"/q\"}},\"state\":{\"id\":\"c1\","
         "\"status\":\"c\"}}",
         "c", true, "/q"},
        {"{\"state\":{\"id\":\"c1\"},\"config\":null}", NULL, false, NULL},
        {"{\"id\":\"c1\",\"config\":null,\"state\":null}", NULL, false, NULL},
        /* an id in the second document is not the state's */
        {"{\"id\":\"c1\"}{\"id\":\"c2\",\"linux\":{}}", NULL, true, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        struct err e = ERR_INIT;
        autofd fd = file_with(cases[i].input, strlen(cases[i].input));
        int r = oci_input_read(fd, &a, &input, &e);
        const char *path = input.config.linux_ ? input.config.linux_->cgroups_path : NULL;

        cr_expect(r == 0 && str_eq_null(input.state.id, "c1") &&
                      str_eq_null(input.state.status, cases[i].status) &&
                      input.has_config == cases[i].has_config &&
                      str_eq_null(path, cases[i].cgroups_path),
                  "input: %s\ngot: %d, %s; config %d, path %s", cases[i].input, r, e.text,
                  input.has_config, path ? path : "none");
    }
}

Test(oci, stdin_refused)
{
    static const struct {
        const char *input, *want;
    } cases[] = {
        {"", "empty, expected the OCI state document"},
        {" \r\n\t", "empty, expected the OCI state document"},
        {"{}", "state.id: missing, expected the container's id"},
        {"{\"id\":null}", "state.id: missing, expected the container's id"},
        {"{\"id\":\"\"}", "state.id: empty, expected the container's id"},
        {"{\"state\":{}}", "state.id: missing, expected the container's id"},
        {"{\"state\":{\"id\":\"\"},\"config\":{}}", "state.id: empty, expected the container's id"},
        {"{\"state\":{\"id\":\"a\"},\"id\":\"a\"}",
         "the members \"state\" and \"id\" in one object, expected one"},
        {"{\"id\":\"b\",\"state\":{\"id\":\"a\"}}",
         "the members \"state\" and \"id\" in one object, expected one"},
        {"{\"config\":{}}", "the member \"config\" without \"state\", expected both"},
        {"{\"id\":\"a\",\"config\":{}}", "the member \"config\" without \"state\", expected both"},
        {"{\"state\":{\"id\":\"a\"},\"config\":{}} {}",
         "a document follows the one that holds the state, expected one document only"},
        {"{\"state\":{\"id\":\"a\"}}{\"linux\":{}}",
         "a document follows the one that holds the state, expected one document only"},
        {"{\"id\":\"a\"}{}{}",
         "an object follows the last document, expected the end of the input"},
        {"[]", "state: expected an object, found a list"},
        {"{\"id\":\"a\"} []", "config: expected an object, found a list"},
        {"{\"id\":1}", "state.id: expected a string, found a number"},
        {"{\"id\":\"a\",\"id\":\"a\"}", "state.id: given twice, expected once"},
        {"{\"id\":\"a\\u0000b\"}", "state.id: a NUL character in a string, expected text without"},
        {"{\"id\":\"a\",\"pid\":-1}", "state.pid: -1 is out of range 0..4194304"},
        {"{\"id\":\"a\",\"pid\":4194305}", "state.pid: 4194305 is out of range 0..4194304"},
        {"{\"id\":\"a\",\"pid\":\"1\"}", "state.pid: expected an integer, found a string"},
        {"{\"id\":\"a\",\"status\":1}", "state.status: expected a string, found a number"},
        {"{\"id\":\"a\",\"bundle\":[]}", "state.bundle: expected a string, found a list"},
        {"{\"id\":\"a\",\"ociVersion\":1}", "state.ociVersion: expected a string, found a number"},
        {"{\"id\":\"a\",\"annotations\":{\"io.kubernetes.sandbox.id\":1}}",
         "state.annotations.io.kubernetes.sandbox.id: expected a string, found a number"},
        {"{\"state\":{\"annotations\":{\"io.kubernetes.sandbox.id\":1}}}",
         "state.annotations.io.kubernetes.sandbox.id: expected a string, found a number"},
        {"{\"id\":\"a\"}{\"linux\":{\"cgroupsPath\":1}}",
         "config.linux.cgroupsPath: expected a string, found a number"},
        {"{\"config\":{\"linux\":{\"cgroupsPath\":1}}}",
         "config.linux.cgroupsPath: expected a string, found a number"},
        {"{\"state\":1}", "state: expected an object, found a number"},
        {"{\"config\":\"\"}", "config: expected an object, found a string"},
        {"{\"state\":{\"id\":\"a\"},\"state\":{\"id\":\"a\"}}",
         "state: given twice, expected once"},
        {"{\"id\":\"a\"",
         "state: the input ends early, at byte 9, expected the rest of the document"},
        {"{\"id\":\"a\"} {\"linux\"",
         "config.linux: the input ends early, at byte 19, expected the rest of the document"},
        {"hello", "state: no valid JSON after byte 0 (lexical error: invalid char in json text)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0}, zero = {0};
        struct err e = ERR_INIT;
        autofd fd = file_with(cases[i].input, strlen(cases[i].input));
        int r = oci_input_read(fd, &a, &input, &e);
        char want[256];

        snprintf(want, sizeof want, "standard input: %s", cases[i].want);
        cr_expect(r == -EINVAL && e.bad_input && str_eq(e.text, want),
                  "input:    %s\nexpected: %s\ngot:      %d, %s", cases[i].input, want, r, e.text);
        cr_expect(memcmp(&input, &zero, sizeof zero) == 0, "input: %s\nthe result was written",
                  cases[i].input);
    }
}

/* A fault at the beginning of more than a pipe or a chunk holds: the writer must get rid of it all.
 */
Test(oci, stdin_is_read_to_its_end, .timeout = 60)
{
    static const char *const starts[] = {
        "{\"id\":\"c1\"}",     "{\"id\":\"c1\"}{\"linux\":{}}",
        "{\"id\":1}",          "nonsense",
        "{\"id\":\"c1\"}{}{}", "{\"state\":{\"id\":\"c1\"},\"id\":\"c1\"}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        int pipe_fds[2], status;
        char byte;
        pid_t writer;
        int r;

        cr_assert_eq(pipe(pipe_fds), 0);
        writer = fork();
        if (writer == 0) {
            static const char blank[] = "                                                        ";
            ssize_t n = write(pipe_fds[1], starts[i], strlen(starts[i]));

            close(pipe_fds[0]);
            for (int k = 0; k < 5000 && n > 0; k++)
                n = write(pipe_fds[1], blank, sizeof blank - 1);
            _exit(n > 0 ? 0 : 1);
        }
        close(pipe_fds[1]);
        r = oci_input_read(pipe_fds[0], &a, &input, NULL);
        cr_expect_eq(r, i < 2 ? 0 : -EINVAL, "input: %s, got %d", starts[i], r);
        cr_expect_eq(read(pipe_fds[0], &byte, 1), 0, "input: %s, not at its end", starts[i]);
        close(pipe_fds[0]);
        cr_expect(waitpid(writer, &status, 0) == writer && status == 0,
                  "input: %s, the writer ended with %d", starts[i], status);
    }
}

Test(oci, stdin_byte_limit, .timeout = 60)
{
    static const char state[] = "{\"id\":\"c1\"}";

    for (size_t over = 0; over < 2; over++) {
        size_t size = OCI_MAX_BYTES + over;
        autofree char *text = malloc(size);
        autofd fd = FD_NONE;
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        struct err e = ERR_INIT;
        int r;

        cr_assert_not_null(text);
        memset(text, ' ', size);
        memcpy(text, state, sizeof state - 1);
        fd = file_with(text, size);
        r = oci_input_read(fd, &a, &input, &e);
        cr_expect_eq(r, over ? -EINVAL : 0, "%zu bytes: %d, %s", size, r, e.text);
        cr_expect_str_eq(e.text,
                         over ? "standard input: too long, expected at most 16777216 bytes" : "");
        cr_expect_eq(lseek(fd, 0, SEEK_CUR), (off_t)size);
    }
}

Test(oci, stdin_that_cannot_be_read)
{
    autoarena a = ARENA_INIT;
    struct oci_input input = {0};
    struct err e = ERR_INIT;
    int r = oci_input_read(-1, &a, &input, &e);

    cr_expect(r == -EBADF && !e.bad_input &&
                  str_eq(e.text, "standard input: cannot read: EBADF (Bad file descriptor)"),
              "got %d, %s", r, e.text);
}
