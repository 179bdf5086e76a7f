/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/nested.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/device_list.h"
#include "hook/plan/quota.h"

#include <inttypes.h>

/* ---- where ---- */

/* C, and each cgroup from there up to the one that config.json names. */
static void place_lifted(const char *home, const char *named, struct arena *a, struct plan *p)
{
    const char **paths = NULL;

    ARENA_APPEND(a, paths, p->lifted_count) = home;
    while (cg_path_is_below(home, named)) {
        home = cg_path_parent(a, home);
        ARENA_APPEND(a, paths, p->lifted_count) = home;
    }
    p->lifted_paths = paths;
}

/* Without a cgroup of its own (cgroups disabled, say) a container is in one with others. */
static int check_own(const char *home, const struct plan *p, struct err *e)
{
    if (str_eq(home, p->runtime_path) || cg_path_is_below(home, p->runtime_path) ||
        strstr(home, p->container_id))
        return 0;
    return err_input(
        e,
        "layout nested: the runtime has put container %s into %s, which is no cgroup of "
        "its own; let it make one (linux.cgroupsPath), or use layout sibling",
        p->container_id, home);
}

int nested_place(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const char *home = in->process_path ? in->process_path : p->runtime_path;
    const char *prefix = in->settings->prefix;
    int r = check_own(home, p, e);

    if (r < 0)
        return r;
    p->systemd = false;
    p->slice = p->sandbox_unit = NULL;
    p->sandbox_path = p->vcpu_path = home;
    p->parent_path = cg_path_parent(a, home);
    if (!p->sandbox_cgroup_only && p->mode == CG_MODE_V2) {
        p->sandbox_path = p->vcpu_path =
            cg_path_join(a, home, arena_printf(a, "%s" PLAN_VCPU_CHILD, prefix));
        p->overhead_path = home;
        place_lifted(home, p->runtime_path, a, p);
    } else if (!p->sandbox_cgroup_only) {
        p->overhead_path =
            cg_path_join(a, p->parent_path, arena_printf(a, "%s%s", prefix, cg_path_base(home)));
    }
    p->runtime_path = home;
    return 0;
}

/* ---- what ---- */

static void warn(struct arena *a, struct plan *p, const char *text)
{
    plan_warn(&p->warnings, a, text);
}

static void warn_denied(const struct cg_dev_rules *own, const struct device_node *node,
                        struct arena *a, struct plan *p)
{
    if (node && !cg_dev_rules_allow(own, node->type, node->major, node->minor, CG_DEV_R | CG_DEV_W))
        warn(a, p,
             arena_printf(a,
                          "layout nested: linux.resources.devices of config.json does not allow "
                          "%s (%c %u:%u rw), so the VMM cannot open it",
                          node->path, node->type, node->major, node->minor));
}

static void warn_extra(const struct cg_dev_rules *own, const struct facts *facts, const char *text,
                       struct arena *a, struct plan *p)
{
    if (text[0] == '/')
        warn_denied(own, facts_device(facts, text), a, p);
    else
        warn(
            a, p,
            arena_printf(a,
                         "extra_devices: \"%s\" has no effect with layout nested: the device rules "
                         "are the runtime's own",
                         text));
}

static void warn_denied_nodes(const struct cg_dev_rules *own, const struct facts *facts,
                              const char *const *paths, size_t count, struct arena *a,
                              struct plan *p)
{
    for (size_t i = 0; i < count; i++)
        warn_denied(own, facts_device(facts, paths[i]), a, p);
}

/* The hook adds no device here; but what it would have added and the runtime does not allow is worth a
 * word. (What runtimes allow by themselves, such as /dev/null, needs none.) */
static int warn_devices(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const struct settings *settings = in->settings;
    struct cg_dev_rules own = {0};
    int r = device_list_own(p->resources, a, &own, e);

    if (r < 0)
        return r;
    if (settings->virtualization_devices) {
        warn_denied_nodes(&own, in->facts, facts_hypervisor_devices, facts_hypervisor_device_count,
                          a, p);
        warn_denied_nodes(&own, in->facts, facts_virtualization_devices,
                          facts_virtualization_device_count, a, p);
    }
    for (size_t i = 0; i < settings->extra_devices.count; i++)
        warn_extra(&own, in->facts, JSON_AT(settings->extra_devices, char *, i), a, p);
    if (settings->memory_overhead_bytes > 0)
        warn(a, p,
             "memory_overhead_bytes has no effect with layout nested: the memory limit is the "
             "runtime's own");
    return 0;
}

/* Those files of a list that have one of these names. */
static struct cg_files pick(const struct cg_files *files, const char *const *names, struct arena *a)
{
    struct cg_files picked = {0};

    for (size_t i = 0; i < files->count; i++) {
        for (const char *const *name = names; *name; name++) {
            if (str_eq(files->items[i].file, *name))
                ARENA_APPEND(a, picked.items, picked.count) = files->items[i];
        }
    }
    return picked;
}

static const char *const *bandwidth_files(bool v2)
{
    static const char *const v1_names[] = {"cpu.cfs_period_us", "cpu.cfs_quota_us", NULL};
    static const char *const v2_names[] = {"cpu.max", NULL};

    return v2 ? v2_names : v1_names;
}

/* A quota that was given as text of cpu.max. */
static struct cg_files quota_files(const struct quota *quota, bool v2, struct arena *a)
{
    struct cg_files files = {0};
    char text[QUOTA_TEXT_SIZE];

    if (v2) {
        cg_files_add(a, &files, "cpu.max", arena_strdup(a, quota_format(quota, text)), true);
    } else {
        cg_files_add(a, &files, "cpu.cfs_period_us", arena_printf(a, "%" PRIu64, quota->period_us),
                     false);
        cg_files_add(a, &files, "cpu.cfs_quota_us", arena_printf(a, "%" PRId64, quota->us), false);
    }
    return files;
}

int nested_overhead_files(const struct settings *settings, const char *quota, bool v2,
                          struct arena *a, struct cg_files *ret, struct plan_warnings *warnings,
                          struct err *e)
{
    struct quota given;
    struct cg_limits limits;
    struct cg_files all;
    int r;

    aggregate_container(settings->overhead_limits, a, &limits);
    r = cg_limits_files(&limits, v2, a, &all, &warnings->items, &warnings->count, e);
    if (r < 0) {
        err_wrap(e, "overhead_limits");
        return r;
    }
    *ret = pick(&all, bandwidth_files(v2), a);
    for (size_t i = 0; i < all.count; i++) {
        if (!cg_files_get(ret, all.items[i].file))
            plan_warn(warnings, a,
                      arena_printf(a,
                                   "overhead_limits: %s is not set, because with layout nested the "
                                   "overhead has the runtime's own, but for a CPU quota",
                                   all.items[i].file));
    }
    if (quota && quota_parse(quota, &given))
        *ret = quota_files(&given, v2, a);
    return 0;
}

/* The quota moves from the runtime's cgroup to that of the vCPUs. */
static void fill_v2(const struct cg_files *own, const struct cg_files *overhead, struct arena *a,
                    struct plan *p)
{
    static const char *const names[] = {"cpu.max", "cpu.max.burst", NULL};
    const char *mine = cg_files_get(own, "cpu.max"), *extra = cg_files_get(overhead, "cpu.max");
    struct quota quota, more, lifted;
    char text[QUOTA_TEXT_SIZE];

    if (!mine || !quota_parse(mine, &quota) || quota.us < 0)
        return;
    lifted = quota_sum_lifted(&quota, extra && quota_parse(extra, &more) ? &more : NULL);
    quota_format(&lifted, text);
    p->limits.sandbox.files = pick(own, names, a);
    cg_files_add(a, &p->limits.overhead.files, "cpu.max", arena_strdup(a, text), true);
}

/* The overhead competes for CPU time as the whole did. */
static void fill_v1(const struct cg_files *own, const struct cg_files *overhead, struct arena *a,
                    struct plan *p)
{
    static const char *const names[] = {"cpu.shares", NULL};

    p->limits.overhead.files = pick(own, names, a);
    cg_files_append(a, &p->limits.overhead.files, overhead);
}

int nested_fill(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    bool v2 = p->mode == CG_MODE_V2;
    struct plan_warnings ignored = {0};
    struct cg_files own, overhead;
    struct cg_limits limits;
    int r = warn_devices(in, a, p, e);

    if (r < 0 || p->sandbox_cgroup_only)
        return r;
    r = nested_overhead_files(in->settings, p->overhead_quota, v2, a, &overhead, &p->warnings, e);
    aggregate_container(p->resources, a, &limits);
    if (r == 0)
        r = cg_limits_files(&limits, v2, a, &own, &ignored.items, &ignored.count, e);
    if (r < 0)
        return r;
    if (in->facts->cpuacct_with_cpu)
        warn(a, p,
             "the cpu and cpuacct controllers are one hierarchy here: the CPU time of threads that "
             "are no vCPU is missing in what the runtime reports of the container");
    if (v2)
        fill_v2(&own, &overhead, a, p);
    else
        fill_v1(&own, &overhead, a, p);
    return 0;
}
