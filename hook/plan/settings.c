/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/settings.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/device_list.h"
#include "hook/vcpu/vcpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#define CONFIG_MAX_BYTES ((size_t)1 << 20)

/* The file as it is written; struct settings is what it means. */
struct file {
    struct json_bool sandbox_cgroup_only;
    char *resources;
    char *layout;
    char *prefix;
    char *overhead_parent;
    struct oci_resources *overhead_limits;
    char *overhead_cpus;
    struct json_u64 memory_overhead_bytes;
    struct json_bool virtualization_devices;
    struct json_list extra_devices;
    struct json_list allowed_annotations;
    struct json_u64 vcpu_timeout_ms;
    struct json_u64 hotplug_interval_ms;
    char *no_vcpu;
    char *vcpu_evidence;
    struct json_list vcpu_thread_patterns;
    struct json_bool enable_vcpus_pinning;
    struct json_list vcpu_numa_nodes;
    char *leftovers;
    char *log_level;
};

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define NODE_MAX        1023 /* the largest NODES_SHIFT a kernel can be built with is 10 */
#define INTERVAL_MAX_MS (24ull * 3600 * 1000)

static const struct json_field fields[] = {
    JSON_F_BOOL("sandbox_cgroup_only", struct file, sandbox_cgroup_only),
    JSON_F_STRING("resources", struct file, resources),
    JSON_F_STRING("layout", struct file, layout),
    JSON_F_STRING("prefix", struct file, prefix),
    JSON_F_STRING("overhead_parent", struct file, overhead_parent),
    JSON_F_OBJECT("overhead_limits", struct file, overhead_limits, &oci_resources_table),
    JSON_F_STRING("overhead_cpus", struct file, overhead_cpus),
    JSON_F_U64("memory_overhead_bytes", struct file, memory_overhead_bytes, INT64_MAX / 2),
    JSON_F_BOOL("virtualization_devices", struct file, virtualization_devices),
    JSON_F_STRING_LIST("extra_devices", struct file, extra_devices),
    JSON_F_STRING_LIST("allowed_annotations", struct file, allowed_annotations),
    JSON_F_U64("vcpu_timeout_ms", struct file, vcpu_timeout_ms, INTERVAL_MAX_MS),
    JSON_F_U64("hotplug_interval_ms", struct file, hotplug_interval_ms, INTERVAL_MAX_MS),
    JSON_F_STRING("no_vcpu", struct file, no_vcpu),
    JSON_F_STRING("vcpu_evidence", struct file, vcpu_evidence),
    JSON_F_STRING_LIST("vcpu_thread_patterns", struct file, vcpu_thread_patterns),
    JSON_F_BOOL("enable_vcpus_pinning", struct file, enable_vcpus_pinning),
    JSON_F_I64_LIST("vcpu_numa_nodes", struct file, vcpu_numa_nodes, -1, NODE_MAX),
    JSON_F_STRING("leftovers", struct file, leftovers),
    JSON_F_STRING("log_level", struct file, log_level),
};

static const struct json_table table = {
    .fields = fields,
    .count = ARRAY_SIZE(fields),
    .size = sizeof(struct file),
    .strict = true,
};

/* A key whose value is one of some words; the first one is the default. Returns its place; -EINVAL. */
static int choose(const char *path, const char *key, const char *value, const char *const *words,
                  struct err *e)
{
    char shown[64], list[128] = "";

    if (!value)
        return 0;
    for (int i = 0; words[i]; i++) {
        size_t len = strlen(list);

        if (str_eq(value, words[i]))
            return i;
        snprintf(list + len, sizeof list - len, "%s\"%s\"", i ? ", " : "", words[i]);
    }
    return err_input(e, "%s: %s: \"%s\" is not one of %s", path, key,
                     str_escape(value, shown, sizeof shown), list);
}

/* Not set is not the default here: the command line has a say, too. */
static int choose_layout(const char *path, const char *value, enum layout_word *ret, struct err *e)
{
    char shown[64];

    *ret = LAYOUT_UNSAID;
    if (!value || layout_word_parse(value, ret) == 0)
        return 0;
    return err_input(e, "%s: layout: \"%s\" is not one of \"sibling\", \"nested\", \"auto\"", path,
                     str_escape(value, shown, sizeof shown));
}

static int check_lists(const char *path, const struct file *f, struct err *e)
{
    struct cg_dev_rule rule;
    char shown[128];

    for (size_t i = 0; i < f->extra_devices.count; i++) {
        const char *device = JSON_AT(f->extra_devices, char *, i);

        if (device[0] != '/' && device_list_parse_extra(device, &rule) < 0)
            return err_input(
                e,
                "%s: extra_devices[%zu]: \"%s\" is neither an absolute path nor a rule "
                "such as \"b 7:* rwm\"",
                path, i, str_escape(device, shown, sizeof shown));
    }
    for (size_t i = 0; i < f->vcpu_thread_patterns.count; i++) {
        const char *pattern = JSON_AT(f->vcpu_thread_patterns, char *, i);

        if (!vcpu_pattern_valid(pattern))
            return err_input(e,
                             "%s: vcpu_thread_patterns[%zu]: \"%s\" must be 1 to 15 characters of "
                             "a thread name with at most one %%u where the vCPU's number stands",
                             path, i, str_escape(pattern, shown, sizeof shown));
    }
    return 0;
}

static int check_names(const char *path, const struct file *f, struct arena *a,
                       struct settings *ret, struct err *e)
{
    int r = 0;

    if (f->prefix) {
        r = cg_name_check(f->prefix, "prefix", e);
        ret->prefix = f->prefix;
    }
    if (r == 0 && f->overhead_parent) {
        char *clean;

        r = cg_path_clean(f->overhead_parent, "overhead_parent", a, &clean, e);
        if (r == 0 && str_eq(clean, "/"))
            r = err_input(e,
                          "overhead_parent: \"/\" would put overhead cgroups beside those of the "
                          "host; name a cgroup below it");
        if (r == 0)
            ret->overhead_parent = clean;
    }
    if (r < 0)
        err_wrap(e, "%s", path);
    return r;
}

static int check_cpus(const char *path, const struct file *f, struct arena *a, struct settings *ret,
                      struct err *e)
{
    struct cg_cpulist *list;
    char shown[128];

    if (!f->overhead_cpus)
        return 0;
    list = arena_alloc(a, sizeof *list);
    if (cg_cpulist_parse(f->overhead_cpus, list) < 0 || cg_cpulist_count(list) == 0)
        return err_input(e,
                         "%s: overhead_cpus: \"%s\" is no list of CPUs; expected one such as "
                         "\"0-1,8\", of numbers below %d",
                         path, str_escape(f->overhead_cpus, shown, sizeof shown), CG_CPULIST_MAX);
    ret->overhead_cpus = list;
    return 0;
}

static unsigned named_by(const struct file *f)
{
    return (f->resources ? NAMES_RESOURCES : 0) | (f->prefix ? NAMES_PREFIX : 0) |
           (f->overhead_parent ? NAMES_OVERHEAD_PARENT : 0) |
           (f->vcpu_evidence ? NAMES_EVIDENCE : 0) |
           (f->virtualization_devices.set ? NAMES_VIRTUALIZATION : 0) |
           (f->enable_vcpus_pinning.set ? NAMES_PINNING : 0);
}

static int resolve(const char *path, const struct file *f, struct arena *a, struct settings *ret,
                   struct err *e)
{
    enum layout_word layout;
    int resources = choose(path, "resources", f->resources, WORDS("aggregate", "kata"), e);
    int r = choose_layout(path, f->layout, &layout, e);
    int no_vcpu = choose(path, "no_vcpu", f->no_vcpu, WORDS("constrain", "keep"), e);
    int evidence =
        choose(path, "vcpu_evidence", f->vcpu_evidence, WORDS("auto", "kernel", "name"), e);
    int leftovers = choose(path, "leftovers", f->leftovers, WORDS("move", "kill"), e);

    if (resources < 0 || r < 0 || no_vcpu < 0 || evidence < 0 || leftovers < 0)
        return -EINVAL;
    *ret = (struct settings){
        .named = named_by(f),
        .sandbox_cgroup_only = f->sandbox_cgroup_only,
        .resources = resources ? RESOURCES_KATA : RESOURCES_AGGREGATE,
        .layout = layout,
        .prefix = "kata_",
        .overhead_parent = "/kata_overhead",
        .overhead_limits = f->overhead_limits,
        .memory_overhead_bytes = (int64_t)f->memory_overhead_bytes.value,
        .virtualization_devices = !f->virtualization_devices.set || f->virtualization_devices.value,
        .extra_devices = f->extra_devices,
        .allowed_annotations = f->allowed_annotations,
        .vcpu_timeout_ms = f->vcpu_timeout_ms.set ? (unsigned)f->vcpu_timeout_ms.value : 30000,
        .hotplug_interval_ms =
            f->hotplug_interval_ms.set ? (unsigned)f->hotplug_interval_ms.value : 1000,
        .vcpu_evidence = (enum evidence)evidence,
        .has_no_vcpu = f->no_vcpu != NULL,
        .vcpu_thread_patterns = f->vcpu_thread_patterns,
        .enable_vcpus_pinning = f->enable_vcpus_pinning.value,
        .vcpu_numa_nodes = f->vcpu_numa_nodes,
        .leftovers = leftovers ? LEFTOVERS_KILL : LEFTOVERS_MOVE,
        .log_level = LEVEL_WARNING,
    };
    if (f->log_level && log_level_parse(f->log_level, &ret->log_level) < 0)
        return err_input(e, "%s: log_level: not one of error, warning, info, debug", path);
    r = check_names(path, f, a, ret, e);
    if (r == 0)
        r = check_cpus(path, f, a, ret, e);
    return r < 0 ? r : check_lists(path, f, e);
}

int settings_read(const char *path, bool must_exist, struct arena *a, struct settings *ret,
                  struct err *e)
{
    struct file f = {0};
    const struct json_doc doc = {.table = &table, .dest = &f};
    autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    int r;

    if (fd < 0 && (errno != ENOENT || must_exist))
        return err_sys(e, -errno, "cannot open the configuration file %s", path);
    if (fd >= 0) {
        r = json_read_fd(fd, &doc, 1, CONFIG_MAX_BYTES, 0, path, a, e);
        if (r < 0)
            return r;
        /* Half-written, most likely: the administrator's policy must not be lost over it. */
        if (r == 0)
            return err_input(e, "%s: is empty; write {} for defaults only", path);
    }
    return resolve(path, &f, a, ret, e);
}
