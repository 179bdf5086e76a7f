/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/settings.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

/* Read a configuration whose text has ' for the double quote. */
static int read_config(const char *text, struct arena *a, struct settings *ret, struct err *e)
{
    autofd fd = memfd_create("config.json", MFD_CLOEXEC);
    char *json = kit_json(a, text), path[64];

    cr_assert(fd >= 0 && write(fd, json, strlen(json)) == (ssize_t)strlen(json));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return settings_read(path, true, a, ret, e);
}

static const char *list_text(struct arena *a, const struct json_list *list)
{
    const char *text = "";

    for (size_t i = 0; i < list->count; i++)
        text = arena_printf(a, "%s[%s]", text, JSON_AT(*list, char *, i));
    return text;
}

static const char *numbers_text(struct arena *a, const struct json_list *list)
{
    const char *text = "";

    for (size_t i = 0; i < list->count; i++)
        text = arena_printf(a, "%s[%" PRId64 "]", text, JSON_AT(*list, int64_t, i));
    return text;
}

static const char *bool_text(bool value)
{
    return value ? "true" : "false";
}

static const char *limits_text(struct arena *a, const struct oci_resources *r)
{
    return !r                            ? "none"
           : r->cpu && r->cpu->quota.set ? arena_printf(a, "quota %" PRId64, r->cpu->quota.value)
                                         : "empty";
}

/* "key=value" for every member, one a line. */
static const char *config_text(struct arena *a, const struct settings *c)
{
    static const char *const levels[] = {
        [LEVEL_ERROR] = "error",
        [LEVEL_WARNING] = "warning",
        [LEVEL_INFO] = "info",
        [LEVEL_DEBUG] = "debug",
    };
    static const char *const evidence[] = {
        [EVIDENCE_AUTO] = "auto",
        [EVIDENCE_KERNEL] = "kernel",
        [EVIDENCE_NAME] = "name",
    };

    return arena_printf(
        a,
        "sandbox_cgroup_only=%s\nresources=%s\nlayout=%s\nprefix=%s\noverhead_parent=%s\n"
        "overhead_limits=%s\nmemory_overhead_bytes=%" PRId64 "\nvirtualization_devices=%s\n"
        "extra_devices=%s\nallowed_annotations=%s\nvcpu_timeout_ms=%u\nhotplug_interval_ms=%u\n"
        "has_no_vcpu=%s\nvcpu_evidence=%s\nvcpu_thread_patterns=%s\nenable_vcpus_pinning=%s\n"
        "vcpu_numa_nodes=%s\nleftovers=%s\nlog_level=%s\n",
        c->sandbox_cgroup_only.set ? bool_text(c->sandbox_cgroup_only.value) : "not set",
        c->resources == RESOURCES_KATA ? "kata" : "aggregate",
        c->layout ? layout_word(c->layout) : "not set", c->prefix, c->overhead_parent,
        limits_text(a, c->overhead_limits), c->memory_overhead_bytes,
        bool_text(c->virtualization_devices), list_text(a, &c->extra_devices),
        list_text(a, &c->allowed_annotations), c->vcpu_timeout_ms, c->hotplug_interval_ms,
        bool_text(c->has_no_vcpu), evidence[c->vcpu_evidence],
        list_text(a, &c->vcpu_thread_patterns), bool_text(c->enable_vcpus_pinning),
        numbers_text(a, &c->vcpu_numa_nodes), c->leftovers == LEFTOVERS_KILL ? "kill" : "move",
        levels[c->log_level]);
}

static const struct {
    const char *key, *value;
} defaults[] = {
    {"sandbox_cgroup_only", "not set"},
    {"resources", "aggregate"},
    {"layout", "not set"},
    {"prefix", "kata_"},
    {"overhead_parent", "/kata_overhead"},
    {"overhead_limits", "none"},
    {"memory_overhead_bytes", "0"},
    {"virtualization_devices", "true"},
    {"extra_devices", ""},
    {"allowed_annotations", ""},
    {"vcpu_timeout_ms", "30000"},
    {"hotplug_interval_ms", "1000"},
    {"has_no_vcpu", "false"},
    {"vcpu_evidence", "auto"},
    {"vcpu_thread_patterns", ""},
    {"enable_vcpus_pinning", "false"},
    {"vcpu_numa_nodes", ""},
    {"leftovers", "move"},
    {"log_level", "warning"},
};

/* The defaults but for one key; "" for none. */
static const char *expected_text(struct arena *a, const char *key, const char *value)
{
    const char *text = "";

    for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
        text = arena_printf(a, "%s%s=%s\n", text, defaults[i].key,
                            str_eq(defaults[i].key, key) ? value : defaults[i].value);
    return text;
}

#define MANY_KEYS                                                                                  \
    "{'sandbox_cgroup_only':true,'resources':'kata','layout':'nested','prefix':'p-',"              \
    "'overhead_parent':'/o','overhead_limits':{'cpu':{'quota':1}},'memory_overhead_bytes':2,"      \
    "'virtualization_devices':false,'extra_devices':['/dev/x'],'allowed_annotations':['y'],"       \
    "'vcpu_timeout_ms':3,'hotplug_interval_ms':4,'no_vcpu':'keep','vcpu_evidence':'name',"         \
    "'vcpu_thread_patterns':['z%u'],"                                                              \
    "'enable_vcpus_pinning':true,'vcpu_numa_nodes':[1,0],'leftovers':'kill','log_level':'debug'}"

#define MANY_KEYS_TEXT                                                                             \
    "sandbox_cgroup_only=true\nresources=kata\nlayout=nested\nprefix=p-\noverhead_parent=/o\n"     \
    "overhead_limits=quota 1\nmemory_overhead_bytes=2\nvirtualization_devices=false\n"             \
    "extra_devices=[/dev/x]\nallowed_annotations=[y]\nvcpu_timeout_ms=3\nhotplug_interval_ms=4\n"  \
    "has_no_vcpu=true\nvcpu_evidence=name\nvcpu_thread_patterns=[z%u]\nenable_vcpus_pinning="      \
    "true\nvcpu_numa_nodes=[1][0]"                                                                 \
    "\nleftovers=kill\n"                                                                           \
    "log_level=debug\n"

static const struct {
    const char *key, *given, *value;
} accepted[] = {
    {"", "{}", ""},
    {"sandbox_cgroup_only", "true", "true"},
    {"sandbox_cgroup_only", "false", "false"},
    {"sandbox_cgroup_only", "null", "not set"},
    {"resources", "'aggregate'", "aggregate"},
    {"resources", "'kata'", "kata"},
    {"layout", "'sibling'", "sibling"},
    {"layout", "'nested'", "nested"},
    {"layout", "'auto'", "auto"},
    {"layout", "null", "not set"},
    {"prefix", "'osc-'", "osc-"},
    {"overhead_parent", "'/a/b'", "/a/b"},
    {"overhead_parent", "'//a/./b/'", "/a/b"},
    {"overhead_limits", "{'cpu':{'quota':7}}", "quota 7"},
    {"overhead_limits", "{}", "empty"},
    {"memory_overhead_bytes", "0", "0"},
    {"memory_overhead_bytes", "134217728", "134217728"},
    {"memory_overhead_bytes", "4611686018427387903", "4611686018427387903"},
    {"virtualization_devices", "false", "false"},
    {"virtualization_devices", "true", "true"},
    {"extra_devices", "['/dev/a','/dev/b']", "[/dev/a][/dev/b]"},
    {"extra_devices", "[]", ""},
    {"extra_devices", "['b 7:* rwm','/dev/b']", "[b 7:* rwm][/dev/b]"},
    {"allowed_annotations", "['io.x','io.y']", "[io.x][io.y]"},
    {"vcpu_timeout_ms", "0", "0"},
    {"vcpu_timeout_ms", "1", "1"},
    {"vcpu_timeout_ms", "86400000", "86400000"},
    {"hotplug_interval_ms", "0", "0"},
    {"hotplug_interval_ms", "86400000", "86400000"},
    {"vcpu_evidence", "'auto'", "auto"},
    {"vcpu_evidence", "'kernel'", "kernel"},
    {"vcpu_evidence", "'name'", "name"},
    {"vcpu_evidence", "null", "auto"},
    {"vcpu_thread_patterns", "['my cpu %u','vm']", "[my cpu %u][vm]"},
    {"vcpu_thread_patterns", "['123456789012345']", "[123456789012345]"},
    {"enable_vcpus_pinning", "true", "true"},
    {"enable_vcpus_pinning", "false", "false"},
    {"vcpu_numa_nodes", "[]", ""},
    {"vcpu_numa_nodes", "null", ""},
    {"vcpu_numa_nodes", "[0,0,1,1023]", "[0][0][1][1023]"},
    {"vcpu_numa_nodes", "[-1,2]", "[-1][2]"},
    {"leftovers", "'move'", "move"},
    {"leftovers", "'kill'", "kill"},
    {"log_level", "'error'", "error"},
    {"log_level", "'warning'", "warning"},
    {"log_level", "'info'", "info"},
    {"log_level", "'debug'", "debug"},
};

static void expect_accepted(const char *text, const char *want)
{
    autoarena a = ARENA_INIT;
    struct settings settings;
    struct err e = ERR_INIT;
    int r;
    const char *got;

    memset(&settings, 0x5a, sizeof settings);
    r = read_config(text, &a, &settings, &e);
    got = r == 0 ? config_text(&a, &settings) : "";
    cr_expect(r == 0 && e.code == 0 && str_eq(got, want),
              "input:    %s\nexpected: %s\ngot:      %d, %s %s", text, want, r, got, e.text);
}

/* A key of versions before: that it is there is all there is to say. */
Test(settings, no_vcpu_is_noted)
{
    static const char *const texts[] = {"{'no_vcpu':'constrain'}", "{'no_vcpu':'keep'}", "{}"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        autoarena a = ARENA_INIT;
        struct settings settings;
        struct err e = ERR_INIT;

        cr_assert_eq(read_config(texts[i], &a, &settings, &e), 0, "%s", e.text);
        cr_expect_eq(settings.has_no_vcpu, strstr(texts[i], "no_vcpu") != NULL, "%s", texts[i]);
    }
}

Test(settings, accepted)
{
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++) {
        autoarena a = ARENA_INIT;

        expect_accepted(*accepted[i].key
                            ? arena_printf(&a, "{'%s':%s}", accepted[i].key, accepted[i].given)
                            : accepted[i].given,
                        expected_text(&a, accepted[i].key, accepted[i].value));
    }
}

Test(settings, all_keys_at_once)
{
    expect_accepted(MANY_KEYS, MANY_KEYS_TEXT);
}

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"

/* What is wrong, and two words that the message must have. */
static const struct {
    const char *text;
    const char *words[2];
} refused[] = {
    /* unknown keys */
    {"{'sandbox_cgroup_onl':true}", {"\"sandbox_cgroup_onl\"", "unknown"}},
    {"{'prefix':'a','Layout':'nested'}", {"\"Layout\"", "unknown"}},
    {"{'':1}", {"\"\"", "unknown"}},
    /* wrong types, each key */
    {"{'sandbox_cgroup_only':'true'}", {"sandbox_cgroup_only", "boolean"}},
    {"{'sandbox_cgroup_only':1}", {"sandbox_cgroup_only", "boolean"}},
    {"{'resources':true}", {"resources", "string"}},
    {"{'layout':1}", {"layout", "string"}},
    {"{'prefix':['a']}", {"prefix", "string"}},
    {"{'overhead_parent':{}}", {"overhead_parent", "string"}},
    {"{'overhead_limits':'none'}", {"overhead_limits", "object"}},
    {"{'overhead_limits':{'cpu':{'quota':'1'}}}", {"overhead_limits.cpu.quota", "integer"}},
    {"{'overhead_limits':{'cpus':{}}}", {"overhead_limits: unknown key \"cpus\"", "cpu, memory"}},
    {"{'overhead_limits':{'cpu':{'quotas':1}}}",
     {"overhead_limits.cpu: unknown key \"quotas\"", "quota"}},
    {"{'overhead_limits':{'blockIO':{'weightDevice':[{'majr':1}]}}}",
     {"blockIO.weightDevice[0]: unknown key \"majr\"", "major, minor"}},
    {"{'memory_overhead_bytes':'1'}", {"memory_overhead_bytes", "integer"}},
    {"{'virtualization_devices':0}", {"virtualization_devices", "boolean"}},
    {"{'extra_devices':'/dev/x'}", {"extra_devices", "list"}},
    {"{'extra_devices':[1]}", {"extra_devices[0]", "string"}},
    {"{'allowed_annotations':{}}", {"allowed_annotations", "list"}},
    {"{'vcpu_timeout_ms':true}", {"vcpu_timeout_ms", "integer"}},
    {"{'hotplug_interval_ms':1.5}", {"hotplug_interval_ms", "1.5"}},
    {"{'no_vcpu':false}", {"no_vcpu", "string"}},
    {"{'vcpu_evidence':1}", {"vcpu_evidence", "string"}},
    {"{'vcpu_thread_patterns':'a'}", {"vcpu_thread_patterns", "list"}},
    {"{'enable_vcpus_pinning':'yes'}", {"enable_vcpus_pinning", "boolean"}},
    {"{'overhead_cpus':0}", {"overhead_cpus", "string"}},
    {"{'overhead_cpus':''}", {"overhead_cpus", "0-1,8"}},
    {"{'overhead_cpus':'0-'}", {"overhead_cpus", "\"0-\""}},
    {"{'overhead_cpus':'3-1'}", {"overhead_cpus", "\"3-1\""}},
    {"{'overhead_cpus':'8192'}", {"overhead_cpus", "below 8192"}},
    {"{'vcpu_numa_nodes':0}", {"vcpu_numa_nodes", "list"}},
    {"{'vcpu_numa_nodes':{}}", {"vcpu_numa_nodes", "list"}},
    {"{'vcpu_numa_nodes':[0,'1']}", {"vcpu_numa_nodes[1]", "integer"}},
    {"{'vcpu_numa_nodes':[null]}", {"vcpu_numa_nodes[0]", "integer"}},
    {"{'vcpu_numa_nodes':[[0]]}", {"vcpu_numa_nodes[0]", "integer"}},
    {"{'vcpu_numa_nodes':[{}]}", {"vcpu_numa_nodes[0]", "integer"}},
    {"{'vcpu_numa_nodes':[true]}", {"vcpu_numa_nodes[0]", "integer"}},
    {"{'vcpu_numa_nodes':[0,0,1.5]}", {"vcpu_numa_nodes[2]", "1.5"}},
    {"{'leftovers':[]}", {"leftovers", "string"}},
    {"{'log_level':3}", {"log_level", "string"}},
    /* numbers out of range */
    {"{'memory_overhead_bytes':-1}", {"memory_overhead_bytes", "-1"}},
    {"{'memory_overhead_bytes':4611686018427387904}",
     {"memory_overhead_bytes", "4611686018427387904"}},
    {"{'vcpu_timeout_ms':-1}", {"vcpu_timeout_ms", "-1"}},
    {"{'vcpu_timeout_ms':86400001}", {"vcpu_timeout_ms", "86400001"}},
    {"{'hotplug_interval_ms':86400001}", {"hotplug_interval_ms", "86400001"}},
    {"{'vcpu_numa_nodes':[0,-2]}", {"vcpu_numa_nodes[1]", "-2"}},
    {"{'vcpu_numa_nodes':[1024]}", {"vcpu_numa_nodes[0]", "-1..1023"}},
    {"{'vcpu_numa_nodes':[9223372036854775808]}", {"vcpu_numa_nodes[0]", "9223372036854775808"}},
    /* nothing at all: half-written, not a wish for defaults */
    {"", {"is empty", "{}"}},
    {" \n", {"is empty", "{}"}},
    /* bad words */
    {"{'resources':'Aggregate'}", {"resources: \"Aggregate\"", "\"kata\""}},
    {"{'resources':''}", {"resources: \"\"", "\"aggregate\""}},
    {"{'layout':'child'}", {"layout: \"child\"", "\"nested\", \"auto\""}},
    {"{'layout':'a\\u001bb'}", {"layout: \"a\\x1bb\"", "\"sibling\""}},
    {"{'layout':''}", {"layout: \"\"", "\"sibling\""}},
    {"{'no_vcpu':'kill'}", {"no_vcpu: \"kill\"", "\"keep\""}},
    {"{'vcpu_evidence':'qmp'}",
     {"vcpu_evidence: \"qmp\"", "one of \"auto\", \"kernel\", \"name\""}},
    {"{'vcpu_evidence':''}", {"vcpu_evidence: \"\"", "\"auto\""}},
    {"{'leftovers':'keep'}", {"leftovers: \"keep\"", "\"kill\""}},
    {"{'leftovers':'a\\u001bb'}", {"leftovers: \"a\\x1bb\"", "\"move\""}},
    {"{'log_level':'warn'}", {"log_level", "warning"}},
    {"{'log_level':''}", {"log_level", "debug"}},
    /* the first bad one is named */
    {"{'leftovers':'x','layout':'y'}", {"layout", "\"y\""}},
    {"{'layout':'y','resources':'x'}", {"resources", "\"x\""}},
    /* names */
    {"{'prefix':''}", {"prefix", "empty"}},
    {"{'prefix':'a/b'}", {"prefix", "a/b"}},
    {"{'prefix':'..'}", {"prefix", "\"..\""}},
    {"{'prefix':'a\\nb'}", {"prefix", "a\\x0ab"}},
    {"{'prefix':'" LONG_64 LONG_64 LONG_64 LONG_64 "'}", {"prefix", "256"}},
    {"{'overhead_parent':'a/b'}", {"overhead_parent", "\"a/b\""}},
    {"{'overhead_parent':''}", {"overhead_parent", "\"\""}},
    {"{'overhead_parent':'/'}", {"overhead_parent", "\"/\""}},
    {"{'overhead_parent':'/./'}", {"overhead_parent", "\"/\""}},
    {"{'overhead_parent':'/a/../b'}", {"overhead_parent", ".."}},
    {"{'overhead_parent':'/a\\tb'}", {"overhead_parent", "a\\x09b"}},
    /* lists */
    {"{'extra_devices':['/dev/a','dev/b']}", {"extra_devices[1]", "\"dev/b\""}},
    {"{'extra_devices':['b 7:* rwm','b 7 rwm']}", {"extra_devices[1]", "\"b 7 rwm\""}},
    {"{'extra_devices':['']}", {"extra_devices[0]", "\"\""}},
    {"{'vcpu_thread_patterns':['ok','']}", {"vcpu_thread_patterns[1]", "\"\""}},
    {"{'vcpu_thread_patterns':['%u %u']}", {"vcpu_thread_patterns[0]", "\"%u %u\""}},
    {"{'vcpu_thread_patterns':['cpu%d']}", {"vcpu_thread_patterns[0]", "\"cpu%d\""}},
    {"{'vcpu_thread_patterns':['1234567890123456']}",
     {"vcpu_thread_patterns[0]", "\"1234567890123456\""}},
    /* no object, or more than one */
    {"[]", {"expected an object", "list"}},
    {"{} {}", {"one document only", "/proc/self/fd/"}},
    {"{'prefix':'a','prefix':'b'}", {"prefix", "/proc/self/fd/"}},
    {"{", {"ends early", "/proc/self/fd/"}},
};

Test(settings, overhead_cpus)
{
    autoarena a = ARENA_INIT;
    struct settings settings;
    struct err e = ERR_INIT;

    cr_assert_eq(read_config("{}", &a, &settings, &e), 0, "%s", e.text);
    cr_expect_null(settings.overhead_cpus);
    cr_assert_eq(read_config("{'overhead_cpus':'0-1,8191'}", &a, &settings, &e), 0, "%s", e.text);
    cr_assert_not_null(settings.overhead_cpus);
    cr_expect_eq(cg_cpulist_count(settings.overhead_cpus), 3);
    cr_expect(cg_cpulist_has(settings.overhead_cpus, 0) &&
              cg_cpulist_has(settings.overhead_cpus, 1) &&
              cg_cpulist_has(settings.overhead_cpus, 8191));
}

Test(settings, refused)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        autoarena a = ARENA_INIT;
        struct settings settings;
        struct err e = ERR_INIT;
        int r = read_config(refused[i].text, &a, &settings, &e);

        cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, refused[i].words[0]) &&
                      strstr(e.text, refused[i].words[1]) && strstr(e.text, "/proc/self/fd/"),
                  "input:    %s\nexpected: refused with the file's path, %s and %s\n"
                  "got:      %d, %s",
                  refused[i].text, refused[i].words[0], refused[i].words[1], r, e.text);
    }
}

/* The path of the file is said once. */
Test(settings, path_once)
{
    static const char *const texts[] = {"{'no_such_key':1}", "{'prefix':1}", "{'layout':'x'}",
                                        "{'prefix':''}"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        autoarena a = ARENA_INIT;
        struct settings settings;
        struct err e = ERR_INIT;
        const char *first;

        read_config(texts[i], &a, &settings, &e);
        first = strstr(e.text, "/proc/self/fd/");
        cr_expect(first && !strstr(first + 1, "/proc/self/fd/"),
                  "input:    %s\nexpected: the file's path once\ngot:      %s", texts[i], e.text);
    }
}

/* --- the file itself --- */

static const struct {
    const char *path;
    bool must_exist;
    int want; /* 0: all defaults */
} files[] = {
    {"/nonexistent/oci-sandbox-cgroup/config.json", false, 0},
    {"/nonexistent/oci-sandbox-cgroup/config.json", true, -ENOENT},
    /* what is there and cannot be read is an error, whoever named it */
    {"/dev/null/config.json", false, -ENOTDIR},
    {"/dev/null/config.json", true, -ENOTDIR},
    {"/proc/self", false, -EISDIR},
    {"/proc/self", true, -EISDIR},
};

Test(settings, files)
{
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        autoarena a = ARENA_INIT;
        struct settings settings;
        struct err e = ERR_INIT;
        int r;

        memset(&settings, 0x5a, sizeof settings);
        r = settings_read(files[i].path, files[i].must_exist, &a, &settings, &e);
        cr_expect(r == files[i].want && (r < 0) == (strstr(e.text, files[i].path) != NULL) &&
                      !e.bad_input,
                  "input:    %s, must_exist %d\nexpected: %d\ngot:      %d, %s", files[i].path,
                  files[i].must_exist, files[i].want, r, e.text);
        if (r == 0)
            cr_expect_str_eq(config_text(&a, &settings), expected_text(&a, "", ""));
    }
}
