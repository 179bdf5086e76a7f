/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/devices/v1.h"
#include "hook/plan/aggregate.h"
#include "hook/plan/device_list.h"

#include <errno.h>

static void warn(struct arena *a, struct plan *p, const char *text)
{
    *(const char **)arena_push(a, &p->warnings, &p->warning_count, sizeof text) = text;
}

static int merge_annotations(const struct plan_input *in, struct oci_annotations *ret,
                             struct err *e)
{
    *ret = (struct oci_annotations){0};
    if (in->config && in->config->annotations)
        *ret = *in->config->annotations;
    /* Once the container has stopped nothing can be done about a contradiction; the record decides.
     */
    if (in->state->annotations &&
        oci_annotations_merge(ret, in->state->annotations,
                              stage_action(in->stage) == ACTION_TEARDOWN ? NULL : e) < 0 &&
        stage_action(in->stage) != ACTION_TEARDOWN)
        return -EINVAL;
    return 0;
}

static void place_cgroupfs(const struct cg_cgroups_path *path, const char *base, struct plan *p,
                           struct arena *a)
{
    p->runtime_path = cg_path_join(a, path->parent, path->name);
    p->parent_path = path->parent;
    p->sandbox_path = cg_path_join(a, path->parent, base);
}

/* The runtime owns PREFIX-NAME.scope; ours is beside it, in the same slice. */
static void place_systemd(const struct cg_cgroups_path *path, const char *base, struct plan *p,
                          struct arena *a)
{
    const char *prefix = cg_unit_escape(a, path->prefix);
    const char *dash = path->prefix[0] ? "-" : "";
    char *unit = arena_printf(a, "%s%s%s.scope", prefix, dash, cg_unit_escape(a, base));

    p->systemd = true;
    p->slice = path->slice;
    p->parent_path = path->parent;
    /* Runtimes do not escape. */
    p->runtime_path = cg_path_join(a, path->parent,
                                   arena_printf(a, "%s%s%s.scope", path->prefix, dash, path->name));
    p->sandbox_unit = unit;
    p->sandbox_path = cg_path_join(a, path->parent, unit);
}

/* A scope that it may be in is the runtime's and delegated to it: what is made below is made as
 * without systemd. */
static void place_nested(const char *process_path, const char *base, struct plan *p,
                         struct arena *a)
{
    size_t own = process_path ? strlen(process_path) : 0, len = strlen(base);

    p->systemd = false;
    p->slice = p->sandbox_unit = NULL;
    /* An earlier stage may have put it into the sandbox already. */
    if (own > len + 1 && process_path[own - len - 1] == '/' && str_ends(process_path, base))
        own -= len + 1;
    p->parent_path = own > 0 ? arena_printf(a, "%.*s", (int)own, process_path) : p->runtime_path;
    p->sandbox_path = cg_path_join(a, p->parent_path, base);
}

/* Inside of a container's own cgroup there can be none for a whole pod: each container is a sandbox
 * of its own. */
static int decide_nested(struct plan *p, struct err *e)
{
    if (p->layout != LAYOUT_NESTED)
        return 0;
    if (!p->sandbox_cgroup_only)
        return err_input(e,
                         "layout nested needs sandbox_cgroup_only, which is false by %s; set it, "
                         "or use layout sibling",
                         policy_source_name(p->policy_source));
    p->sandbox_id = p->container_id;
    return 0;
}

static void place_overhead(const struct hook_config *hook, struct plan *p, struct arena *a)
{
    const char *threads = p->sandbox_path;

    if (p->mode == CG_MODE_V2) {
        if (p->systemd)
            threads = cg_path_join(a, threads, PLAN_THREADS);
        p->vcpu_path = cg_path_join(a, threads, PLAN_VCPU_LEAF);
        p->overhead_path = cg_path_join(a, threads, PLAN_OVERHEAD_LEAF);
    } else if (p->systemd) {
        p->overhead_unit =
            arena_printf(a, "kata-overhead-%s.scope", cg_unit_escape(a, p->sandbox_id));
        p->overhead_path = cg_path_join(a, "/kata.slice/" PLAN_OVERHEAD_SLICE, p->overhead_unit);
    } else {
        p->overhead_path = cg_path_join(a, hook->overhead_parent, p->sandbox_id);
    }
}

int plan_place(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const struct oci_linux *spec = in->config ? in->config->linux_ : NULL;
    struct oci_annotations annotations;
    struct cg_cgroups_path path;
    struct policy policy;
    const char *base;
    int r;

    *p = (struct plan){
        .stage = in->stage,
        .container_id = in->state->id,
        .mode = in->facts->mode,
        .layout = in->hook->layout,
    };
    r = cg_name_check(in->state->id, "state.id", e);
    if (r == 0)
        r = merge_annotations(in, &annotations, e);
    if (r == 0)
        r = policy_role(&annotations, in->state->id, &p->role, &p->sandbox_id, e);
    if (r == 0)
        r = policy_sandbox_cgroup_only(in->hook, in->only_argument, &annotations, &policy, e);
    if (r == 0)
        r = cg_cgroups_path_parse(spec ? spec->cgroups_path : NULL, in->state->id, a, &path, e);
    if (r != 0)
        return r;
    p->sandbox_cgroup_only = policy.sandbox_cgroup_only;
    p->policy_source = policy.source;
    r = policy_pinning(in->hook, &annotations, &p->pinning, e);
    if (r == 0)
        r = decide_nested(p, e);
    if (r != 0)
        return r;
    p->refused = policy.warning;
    if (policy.warning)
        warn(a, p, policy.warning);
    base = arena_printf(a, "%s%s", in->hook->prefix,
                        p->role == ROLE_SINGLE ? path.name : p->sandbox_id);
    r = cg_name_check(base, "linux.cgroupsPath with prefix", e);
    if (r != 0)
        return r;
    if (path.systemd)
        place_systemd(&path, base, p, a);
    else
        place_cgroupfs(&path, base, p, a);
    if (p->layout == LAYOUT_NESTED)
        place_nested(in->process_path, base, p, a);
    p->vcpu_path = p->sandbox_path;
    if (!p->sandbox_cgroup_only)
        place_overhead(in->hook, p, a);
    return 0;
}

int plan_devices(const struct oci_resources *const *containers, size_t count,
                 const struct hook_config *hook, const struct facts *facts, bool only,
                 struct arena *a, struct cg_dev_table *ret, struct err *e)
{
    struct cg_dev_table *tables = arena_alloc(a, (count + 1) * sizeof *tables);

    for (size_t i = 0; i < count; i++) {
        struct cg_dev_rules rules;
        int r = device_list_make(containers[i], hook, facts, only, a, &rules, e);

        if (r == 0)
            r = cg_dev_compile(&rules, a, &tables[i], e);
        if (r < 0)
            return r;
    }
    if (count == 1) {
        *ret = tables[0];
        return 0;
    }
    return cg_dev_union(tables, count, a, ret, e);
}

/* Whether CPU limits are those of a threaded cgroup below the scope, which systemd does not see. */
static bool cpu_is_leafs(const struct plan *p, bool sandbox_cgroup_only)
{
    return p->mode == CG_MODE_V2 && !sandbox_cgroup_only;
}

int plan_limits(const struct oci_resources *const *containers, size_t count,
                const struct hook_config *hook, const struct facts *facts, bool sandbox_cgroup_only,
                struct arena *a, struct plan *p, struct err *e)
{
    struct cg_limits *each = arena_alloc(a, (count + 1) * sizeof *each);
    struct cg_limits limits;
    int r;

    for (size_t i = 0; i < count; i++)
        resources_to_limits(containers[i], a, &each[i]);
    r = resources_aggregate(each, count, hook->memory_overhead_bytes, a, &limits, e);
    if (r < 0)
        return r;
    if (hook->resources == RESOURCES_KATA)
        resources_keep_cpuset(&limits);
    r = cg_limits_files(&limits, facts->mode == CG_MODE_V2, a, &p->sandbox_files, &p->warnings,
                        &p->warning_count, e);
    if (r == 0 && p->systemd && !cpu_is_leafs(p, sandbox_cgroup_only))
        cg_files_round_quota(&p->sandbox_files, p->mode == CG_MODE_V2, a);
    return r;
}

int plan_sandbox(const struct oci_resources *const *containers, size_t count,
                 const struct hook_config *hook, const struct facts *facts,
                 bool sandbox_cgroup_only, struct arena *a, struct plan *p, struct err *e)
{
    int r = plan_limits(containers, count, hook, facts, sandbox_cgroup_only, a, p, e);

    return r < 0 ? r
                 : plan_devices(containers, count, hook, facts, sandbox_cgroup_only, a,
                                &p->device_table, e);
}

/* On v2 the overhead's threads share memory and io with the vCPUs': only threaded limits can
 * differ. */
static void drop_domain_files(struct arena *a, struct plan *p)
{
    struct cg_files kept = {0};

    for (size_t i = 0; i < p->overhead_files.count; i++) {
        const struct cg_file *f = &p->overhead_files.items[i];

        if (CG_CTL_THREADED & CG_CTL_BIT(f->ctl))
            *(struct cg_file *)arena_push(a, &kept.items, &kept.count, sizeof *f) = *f;
        else
            warn(a, p,
                 arena_printf(a,
                              "overhead_limits: %s is not set, because on cgroup v2 the overhead "
                              "shares the sandbox's %s",
                              f->file, cg_ctl_name(f->ctl, true)));
    }
    p->overhead_files = kept;
}

static int plan_overhead(const struct plan_input *in, struct arena *a, struct plan *p,
                         struct err *e)
{
    struct cg_limits limits;
    int r;

    resources_to_limits(in->hook->overhead_limits, a, &limits);
    r = cg_limits_files(&limits, p->mode == CG_MODE_V2, a, &p->overhead_files, &p->warnings,
                        &p->warning_count, e);
    if (r < 0) {
        err_wrap(e, "overhead_limits");
        return r;
    }
    if (p->mode == CG_MODE_V2)
        drop_domain_files(a, p);
    else if (p->systemd)
        cg_files_round_quota(&p->overhead_files, false, a);
    return 0;
}

/* What the scopes' properties will be: the same that controller.c derives when it sets them. */
static int plan_properties(struct plan *p, struct arena *a, struct err *e)
{
    bool v2 = p->mode == CG_MODE_V2;
    int r = cg_properties_limits(&p->sandbox_files, v2, cpu_is_leafs(p, p->sandbox_cgroup_only), a,
                                 &p->sandbox_properties, e);

    if (r == 0)
        r = cg_properties_devices(&p->device_table, a, &p->sandbox_properties, e);
    if (r == 0 && p->overhead_unit) {
        r = cg_properties_limits(&p->overhead_files, v2, false, a, &p->overhead_properties, e);
        if (r < 0)
            err_wrap(e, "overhead_limits");
    }
    if (r == 0 && p->overhead_unit)
        r = cg_properties_devices(&p->device_table, a, &p->overhead_properties, e);
    if (r < 0 && e)
        e->bad_input = true;
    return r;
}

static void add_warnings(const struct plan_input *in, struct arena *a, struct plan *p)
{
    bool hypervisor = !in->hook->virtualization_devices;

    if (in->facts->foreign)
        warn(a, p, PLAN_FOREIGN);
    for (size_t i = 0; i < facts_hypervisor_device_count; i++)
        hypervisor = hypervisor || facts_device(in->facts, facts_hypervisor_devices[i]);
    if (!hypervisor)
        warn(a, p,
             "neither /dev/kvm nor /dev/mshv exists on this host: guests run without hardware "
             "virtualisation");
    for (size_t i = 0; i < in->hook->extra_devices.count; i++) {
        const char *path = JSON_AT(in->hook->extra_devices, char *, i);

        if (!facts_device(in->facts, path))
            warn(a, p, arena_printf(a, "extra_devices: %s does not exist and is left out", path));
    }
    if (!p->sandbox_cgroup_only && p->mode != CG_MODE_V2 &&
        cg_files_get(&p->sandbox_files, "memory.limit_in_bytes"))
        warn(a, p,
             "cgroup v1 charges a VM's memory to its main thread, which is in the overhead cgroup: "
             "memory.limit_in_bytes of the sandbox will not hold it; use sandbox_cgroup_only or "
             "overhead_limits");
    if (p->pinning && p->sandbox_cgroup_only)
        warn(a, p,
             "enable_vcpus_pinning has no effect with sandbox_cgroup_only: without the split there "
             "is no watcher that knows the vCPUs");
}

/* ---- layout nested ---- */

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

static void warn_denied_nodes(const struct cg_dev_rules *own, const struct facts *facts,
                              const char *const *paths, size_t count, struct arena *a,
                              struct plan *p)
{
    for (size_t i = 0; i < count; i++)
        warn_denied(own, facts_device(facts, paths[i]), a, p);
}

/*
 * The runtime's own limits and device rules hold everything below its cgroup, and a child could
 * only be given less. So nothing is written; but what we would have allowed and the runtime does
 * not is worth a word. (What runtimes allow by themselves, such as /dev/null, needs none.)
 */
static int plan_nested(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const struct hook_config *hook = in->hook;
    struct cg_dev_rules own = {0};
    int r = device_list_own(p->resources, a, &own, e);

    if (r < 0)
        return r;
    if (hook->virtualization_devices) {
        warn_denied_nodes(&own, in->facts, facts_hypervisor_devices, facts_hypervisor_device_count,
                          a, p);
        warn_denied_nodes(&own, in->facts, facts_virtualization_devices,
                          facts_virtualization_device_count, a, p);
    }
    for (size_t i = 0; i < hook->extra_devices.count; i++)
        warn_denied(&own, facts_device(in->facts, JSON_AT(hook->extra_devices, char *, i)), a, p);
    if (hook->memory_overhead_bytes > 0)
        warn(a, p,
             "memory_overhead_bytes has no effect with layout nested: the memory limit is the "
             "runtime's own");
    return 0;
}

/* What the v1 backend will need; asked here, so that it is refused before anything is touched. */
static int check_device_table(const struct plan *p, struct arena *a, struct err *e)
{
    struct cg_dev_v1 form;
    int r = p->mode == CG_MODE_V2 ? 0 : cg_dev_v1_form(&p->device_table, a, &form, e);

    if (r < 0 && e)
        e->bad_input = true;
    return r;
}

/* Beside others only some of its limits count, but one day it may be the last. */
static int check_alone(const struct plan *p, const struct plan_input *in, struct arena *a,
                       struct err *e)
{
    const struct oci_resources *own = p->resources;
    struct plan alone = {.mode = p->mode, .systemd = p->systemd};

    return in->other_count == 0
               ? 0
               : plan_limits(&own, 1, in->hook, in->facts, p->sandbox_cgroup_only, a, &alone, e);
}

int plan_make(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const struct oci_resources **all;
    int r = plan_place(in, a, p, e);

    if (r < 0)
        return r;
    p->resources = device_list_fold(in->config ? in->config->linux_ : NULL, a);
    p->resources->begins_pod = str_eq(p->container_id, p->sandbox_id);
    if (p->layout == LAYOUT_NESTED) {
        r = plan_nested(in, a, p, e);
        if (r == 0)
            add_warnings(in, a, p);
        return r;
    }
    r = device_list_make(p->resources, in->hook, in->facts, p->sandbox_cgroup_only, a, &p->devices,
                         e);
    if (r < 0)
        return r;
    all = arena_alloc(a, (in->other_count + 1) * sizeof(const struct oci_resources *));
    for (size_t i = 0; i < in->other_count; i++)
        all[i] = in->others[i];
    all[in->other_count] = p->resources;
    r = check_alone(p, in, a, e);
    if (r == 0)
        r = plan_sandbox(all, in->other_count + 1, in->hook, in->facts, p->sandbox_cgroup_only, a,
                         p, e);
    if (r == 0)
        r = check_device_table(p, a, e);
    if (r == 0 && !p->sandbox_cgroup_only)
        r = plan_overhead(in, a, p, e);
    if (r == 0 && p->systemd)
        r = plan_properties(p, a, e);
    if (r == 0)
        add_warnings(in, a, p);
    return r;
}
