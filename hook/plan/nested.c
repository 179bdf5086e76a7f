/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/nested.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/device_list.h"
#include "hook/plan/overhead.h"

/* ---- where ---- */

/* The cgroup that config.json names; with a user's systemd, whose slices are below others, the scope of that name. */
static const char *named_cgroup(const char *home, const struct plan *p, struct arena *a)
{
    const char *scope = cg_path_scope(a, home);

    return scope && str_eq(cg_path_base(scope), cg_path_base(p->runtime_path)) ? scope
                                                                               : p->runtime_path;
}

/* C, and each cgroup from there up to the one that is named: all that the runtime writes a quota to. */
static void place_lifted(const char *home, struct arena *a, struct plan *p)
{
    const char *named = named_cgroup(home, p, a);
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
        "layout nested: container %s is in %s, which is no cgroup of its own; let the runtime make "
        "one (linux.cgroupsPath), and leave it there (with v1, Delegate=yes for the service that "
        "starts it), or use layout sibling",
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
        place_lifted(home, a, p);
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

int nested_fill(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    bool v2 = p->mode == CG_MODE_V2;
    struct plan_warnings ignored = {0};
    struct cg_files own;
    struct cg_limits limits;
    int r = warn_devices(in, a, p, e);

    if (r < 0 || p->sandbox_cgroup_only)
        return r;
    aggregate_container(p->resources, a, &limits);
    r = cg_limits_files(&limits, v2, a, &own, &ignored.items, &ignored.count, e);
    if (r == 0)
        r = overhead_fill(in, &own, a, p, e);
    if (r < 0)
        return r;
    if (in->facts->cpuacct_with_cpu)
        warn(a, p,
             "the cpu and cpuacct controllers are one hierarchy here: the CPU time of threads that "
             "are no vCPU is missing in what the runtime reports of the container");
    if (v2)
        p->limits.sandbox.files = overhead_quota_of(&own, a);
    return 0;
}
