/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/config_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/json_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

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

Test(oci_config, integer_bounds)
{
    for (size_t i = 0; i < ARRAY_SIZE(integers); i++) {
        autoarena a = ARENA_INIT;
        char range[64], want[256];
        const char *good[] = {integers[i].min, integers[i].max, "0"};
        const char *bad[] = {integers[i].below, integers[i].above};

        snprintf(range, sizeof range, "%s..%s", integers[i].min, integers[i].max);
        for (size_t k = 0; k < ARRAY_SIZE(good); k++) {
            const char *text = with_number(&a, integers[i].document, good[k]);

            kit_expect_config(text, text);
        }
        for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
            snprintf(want, sizeof want, "config.json: linux.%s: %s is out of range %s",
                     integers[i].path, bad[k], range);
            kit_expect_config_refused(with_number(&a, integers[i].document, bad[k]), want);
        }
        snprintf(want, sizeof want, "config.json: linux.%s: expected an integer, found a string",
                 integers[i].path);
        kit_expect_config_refused(with_number(&a, integers[i].document, "\"1\""), want);
        snprintf(want, sizeof want, "config.json: linux.%s: expected an integer, found 1.5",
                 integers[i].path);
        kit_expect_config_refused(with_number(&a, integers[i].document, "1.5"), want);
    }
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
    "{\"ociVersion\":\"1.1.0\",\"linux\":{\"namespaces\":[{\"type\":\"pid\"}],"
    "\"cgroupsPath\":\"/kubepods/pod1/0123abc\","
    "\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,"
    "\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rwm\"}],"
    "\"cpu\":{\"shares\":2,\"quota\":50000,\"period\":100000},\"memory\":{\"limit\":67108864},"
    "\"unified\":{\"memory.high\":\"1\"}}},"
    "\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\","
    "\"io.kubernetes.cri.sandbox-id\":\"0123abc\"}}";

Test(oci_config, of_runc_spec)
{
    kit_expect_config(runc_spec, "{\"ociVersion\":\"1.0.2-dev\",\"linux\":{\"namespaces\":["
                                 "{\"type\":\"pid\"}],\"resources\":{\"devices\":["
                                 "{\"allow\":false,\"access\":\"rwm\"}]}}}");
}

Test(oci_config, of_a_pod)
{
    autoarena a = ARENA_INIT;
    struct oci_config config = {0};
    struct err e = ERR_INIT;

    cr_assert_eq(kit_read_config(pod_config, sizeof pod_config - 1, 0, &config, &a, &e), 1, "%s",
                 e.text);
    cr_expect_str_eq(config.oci_version, "1.1.0");
    cr_expect_str_eq(config.linux_->cgroups_path, "/kubepods/pod1/0123abc");
    cr_expect_eq(config.linux_->resources->memory->limit.value, 67108864);
    cr_expect_str_eq(config.annotations->cri_type, "sandbox");
}

Test(oci_config, round_trip)
{
    kit_expect_config(pod_config, pod_config_used);
    kit_expect_config(pod_config_used, pod_config_used);
    kit_expect_config("{}", "{}");
    kit_expect_config("{\"linux\":{},\"annotations\":{}}", "{\"linux\":{},\"annotations\":{}}");
    kit_expect_config("{\"linux\":null,\"annotations\":null,\"ociVersion\":null}", "{}");
    kit_expect_config("{\"linux\":{\"resources\":null,\"devices\":null,\"cgroupsPath\":null}}",
                      "{\"linux\":{}}");
}

Test(oci_config, in_chunks)
{
    for (size_t chunk = 1; chunk <= KIT_MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct json_writer *w = json_writer_new(false);
        struct oci_config config = {0};
        struct err e = ERR_INIT;
        int r = kit_read_config(pod_config, sizeof pod_config - 1, chunk, &config, &a, &e);
        const char *got = kit_written(w, &config);

        cr_expect(r == 1 && str_eq(got, pod_config_used), "chunk %zu: %d, %s %s", chunk, r, got,
                  e.text);
        json_writer_free(w);
    }
}

Test(oci_config, truncated_at_every_byte, .timeout = 60)
{
    for (size_t len = 1; len < sizeof pod_config - 1; len++) {
        static const size_t chunks[] = {0, 1, 7};

        for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
            autoarena a = ARENA_INIT;
            struct oci_config config = {0};
            struct err e = ERR_INIT;
            int r = kit_read_config(pod_config, len, chunks[i], &config, &a, &e);

            cr_expect(r == -EINVAL && e.bad_input && str_starts(e.text, "config.json: ") &&
                          !strchr(e.text, '\n'),
                      "%zu bytes in chunks of %zu: %d, %s", len, chunks[i], r, e.text);
        }
    }
}

Test(oci_config, with_any_byte_changed, .timeout = 60)
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
            r = kit_read_config(text, sizeof text - 1, 0, &one, &a, &e);
            cr_expect(r == 1 || (r == -EINVAL && e.bad_input && !strchr(e.text, '\n')),
                      "byte %zu: %d, %s", at, r, e.text);
            cr_expect_eq(kit_read_config(text, sizeof text - 1, 5, &two, &b, &again), r);
            cr_expect_str_eq(again.text, e.text);
        }
    }
}

#define GO(path, key) path ": runtimes written in Go read this as \"" key "\"; write it so"

Test(oci_config, refuses)
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
        /* what crun does not read, and runc does */
        {"{\"Linux\":{}}", GO("Linux", "linux")},
        {"{\"linux\":{\"Resources\":{}}}", GO("linux.Resources", "resources")},
        {"{\"linux\":{\"cgroupspath\":\"/a\"}}", GO("linux.cgroupspath", "cgroupsPath")},
        {RESOURCES("{\"device\xc5\xbf\":[]}"), GO("linux.resources.device\\xc5\\xbf", "devices")},
        {RESOURCES("{\"bloc\xe2\x84\xaaIO\":{}}"),
         GO("linux.resources.bloc\\xe2\\x84\\xaaIO", "blockIO")},
        {RESOURCES("{\"CPU\":{}}"), GO("linux.resources.CPU", "cpu")},
        {RESOURCES("{\"cpu\":{\"quotA\":1}}"), GO("linux.resources.cpu.quotA", "quota")},
        {RESOURCES("{\"devices\":[{\"Allow\":true}]}"),
         GO("linux.resources.devices[0].Allow", "allow")},
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
        kit_expect_config_refused(cases[i].input, want);
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
    kit_make_dir(b->dir);
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

/* Names that nobody takes for ours, however near. */
Test(oci_config, leaves_other_names)
{
    static const char *const names[] = {
        "device",
        "devicess",
        "device\xc5\xbe",     /* a z in the place of the long s */
        "bloc\xe2\x84\xabIO", /* an angstrom in that of the Kelvin sign */
        "blocxxxIO",
        "devicexx",
        "\xe2\x84\xaapu",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char text[128];

        snprintf(text, sizeof text, RESOURCES("{\"%s\":7}"), names[i]);
        kit_expect_config(text, RESOURCES("{}"));
    }
}

static struct oci_config read_text(struct arena *a, const char *text)
{
    struct oci_config config = {0};
    autobundle b;

    bundle_init(&b);
    write_file(b.file, text);
    cr_assert_eq(oci_config_read_bundle(b.dir, a, &config, NULL), 0, "%s", text);
    return config;
}

/* A new one: who joins one that is there has a path. */
Test(oci_config, pid_namespace)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"{}", false},
        {"{\"linux\":{\"namespaces\":[]}}", false},
        {"{\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{}]}}", false},
        {"{\"linux\":{\"namespaces\":[{},{\"type\":\"pid\"}]}}", true},
        {"{\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\",\"path\":\"\"}]}}",
         true},
        {"{\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"}]}}", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct oci_config config = read_text(&a, rows[i].text);

        cr_expect_eq(oci_config_has_pid_namespace(&config), rows[i].want, "%s", rows[i].text);
    }
}

Test(oci_config, other_hooks)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"{}", false},
        {"{\"hooks\":{}}", false},
        {"{\"hooks\":{\"prestart\":[{\"path\":\"oci-sandbox-cgroup\"}]}}", false},
        {"{\"hooks\":{\"prestart\":[{\"path\":\"/oci-sandbox-cgroup/x\"}]}}", true},
        {"{\"hooks\":{\"createRuntime\":[{\"path\":\"/a/oci-sandbox-cgroup\"},{}]}}", true},
        {"{\"hooks\":{\"poststop\":[{\"path\":\"/x\"}]}}", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct oci_config config = read_text(&a, rows[i].text);

        cr_expect_eq(oci_config_has_other_hooks(&config), rows[i].want, "%s", rows[i].text);
    }
}

Test(oci_config, bundle_is_read)
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
Test(oci_config, bundle_is_read_as_descriptor_zero)
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

Test(oci_config, bundle_without_usable_file, .timeout = 120)
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

Test(oci_config, bundle_with_bad_content)
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

Test(oci_config, bundle_that_is_no_path)
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
