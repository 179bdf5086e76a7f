/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/devices/exceptions.h"
#include "hook/plan/nested.h"
#include "hook/plan/overhead.h"
#include "hook/plan/override.h"
#include "hook/plan/scope_limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void plan_warn(struct plan_warnings *warnings, struct arena *a, const char *text)
{
    ARENA_APPEND(a, warnings->items, warnings->count) = text;
}

bool plan_warns_of_loss(const char *text)
{
    return strstr(text, "not carried over") || str_eq(text, PLAN_NO_DEVICE_RULES) ||
           str_eq(text, PLAN_OTHER_HOOKS);
}

static void warn(struct arena *a, struct plan *p, const char *text)
{
    plan_warn(&p->warnings, a, text);
}

static int merge_annotations(const struct plan_input *in, struct oci_annotations *ret,
                             struct err *e)
{
    *ret = (struct oci_annotations){0};
    if (in->config && in->config->annotations)
        *ret = *in->config->annotations;
    /* Of a stopped container a contradiction can no longer be put right: the record decides. */
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

/* On v2 the sandbox cgroup is around both. */
static void place_overhead(const struct settings *settings, struct plan *p, struct arena *a)
{
    if (p->mode == CG_MODE_V2) {
        const char **lifted = arena_alloc(a, sizeof *lifted);

        *lifted = p->overhead_path = p->sandbox_path;
        p->lifted_paths = lifted;
        p->lifted_count = 1;
        p->vcpu_path = cg_path_join(a, p->sandbox_path,
                                    arena_printf(a, "%s" PLAN_VCPU_CHILD, settings->prefix));
    } else if (p->systemd) {
        p->overhead_unit =
            arena_printf(a, "kata-overhead-%s.scope", cg_unit_escape(a, p->sandbox_id));
        p->overhead_path = cg_path_join(a, "/kata.slice/" PLAN_OVERHEAD_SLICE, p->overhead_unit);
    } else {
        p->overhead_path = cg_path_join(a, settings->overhead_parent, p->sandbox_id);
    }
}

/* What is escaped for systemd is up to four times as long. */
static int check_units(const struct plan *p, struct err *e)
{
    int r = p->sandbox_unit
                ? cg_name_check(p->sandbox_unit, "linux.cgroupsPath, as a unit of systemd", e)
                : 0;

    if (r == 0 && p->overhead_unit)
        r = cg_name_check(p->overhead_unit, "the sandbox's id, as a unit of systemd", e);
    return r;
}

struct layout_input plan_layout_input(const struct plan_input *in)
{
    return (struct layout_input){
        .settings = in->settings->layout,
        .argument = in->layout_argument,
        .recorded = in->recorded_layout,
        .mode = in->facts->mode,
        .runtime = in->runtime,
    };
}

static void place_layout(const struct plan_input *in, struct arena *a, struct plan *p)
{
    const struct layout_input input = plan_layout_input(in);
    const struct layout_choice choice = layout_decide(&input, a);

    p->layout = choice.layout;
    p->layout_reason = choice.reason;
    p->why.layout_source = choice.source;
    p->layout_warning = choice.warning;
    p->runtime = in->runtime;
    if (choice.warning)
        warn(a, p, choice.warning);
}

static int take_quota(const struct plan_input *in, const struct oci_annotations *annotations,
                      struct arena *a, struct plan *p, struct err *e)
{
    bool has_effect = p->layout == LAYOUT_NESTED && !p->sandbox_cgroup_only;
    struct policy_quota quota;
    int r = policy_overhead_quota(in->settings, has_effect, annotations, a, &quota, e);

    if (r < 0)
        return r;
    p->overhead_quota = quota.cpu_max;
    p->refused_quota = quota.refused ? quota.warning : NULL;
    p->why.quota = quota.warning;
    if (quota.warning)
        warn(a, p, quota.warning);
    return 0;
}

static enum plan_place_source place_source(const struct plan_input *in)
{
    const char *path = in->config && in->config->linux_ ? in->config->linux_->cgroups_path : NULL;

    if (!str_empty(path) && (path[0] == '/' || strchr(path, ':')))
        return PLACE_NAMED;
    return in->process_path ? PLACE_PROCESS : PLACE_UNKNOWN;
}

bool plan_has_no_place(const struct plan_input *in)
{
    return place_source(in) == PLACE_UNKNOWN;
}

static int take_identity(const struct plan_input *in, const struct oci_annotations *annotations,
                         struct plan *p, struct err *e)
{
    struct policy_identity who;
    int r = policy_role(annotations, in->state->id, &who, e);

    if (r < 0)
        return r;
    p->role = who.role;
    p->sandbox_id = who.sandbox_id;
    p->why.role_key = who.role_key;
    p->why.id_key = who.id_key;
    return 0;
}

static int take_pinning(const struct plan_input *in, const struct oci_annotations *annotations,
                        struct plan *p, struct err *e)
{
    struct policy_pinning pinning;
    int r = policy_pinning(in->settings, annotations, &pinning, e);

    if (r < 0)
        return r;
    p->pinning = pinning.pinned;
    p->why.pinning_annotated = pinning.annotated;
    return 0;
}

static void take_policy(const struct policy *policy, struct arena *a, struct plan *p)
{
    p->sandbox_cgroup_only = policy->sandbox_cgroup_only;
    p->policy_source = policy->source;
    p->why.policy = policy->reason;
    p->why.policy_listed = policy->listed;
    p->refused = policy->warning;
    if (policy->warning)
        warn(a, p, policy->warning);
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
    };
    place_layout(in, a, p);
    r = cg_name_check(in->state->id, "state.id", e);
    if (r == 0)
        r = merge_annotations(in, &annotations, e);
    if (r == 0)
        r = take_identity(in, &annotations, p, e);
    if (r == 0)
        r = policy_sandbox_cgroup_only(in->settings, in->only_argument, &annotations, &policy, e);
    if (r == 0)
        r = cg_cgroups_path_parse(spec ? spec->cgroups_path : NULL, in->state->id, in->process_path,
                                  a, &path, e);
    if (r != 0)
        return r;
    names_take(&annotations, p->role, a, &p->names);
    take_policy(&policy, a, p);
    p->why.place = place_source(in);
    r = take_pinning(in, &annotations, p, e);
    if (r == 0)
        r = take_quota(in, &annotations, a, p, e);
    if (r != 0)
        return r;
    if (p->layout == LAYOUT_NESTED)
        p->sandbox_id = p->container_id;
    base = arena_printf(a, "%s%s", in->settings->prefix,
                        p->role == ROLE_SINGLE ? path.name : p->sandbox_id);
    r = cg_name_check(base, "linux.cgroupsPath with prefix", e);
    if (r != 0)
        return r;
    if (path.systemd)
        place_systemd(&path, base, p, a);
    else
        place_cgroupfs(&path, base, p, a);
    p->vcpu_path = p->sandbox_path;
    if (p->layout == LAYOUT_NESTED)
        return nested_place(in, a, p, e);
    if (!p->sandbox_cgroup_only)
        place_overhead(in->settings, p, a);
    return check_units(p, e);
}

/* ---- what containers add up to ---- */

/* What the backend will need; asked here, so that it is refused before anything is touched. */
static int express_devices(const struct plan_basis *basis, struct plan_cgroup *c, struct arena *a,
                           struct err *e)
{
    struct cg_dev_exceptions form;
    int r = 0;

    if (basis->facts->mode != CG_MODE_V2)
        r = cg_dev_exceptions_make(&c->devices, a, &form, e);
    if (r == 0 && basis->systemd)
        r = cg_properties_devices(&c->devices, a, &c->properties, e);
    if (r < 0 && e)
        e->bad_input = true;
    return r;
}

int plan_set_devices(const struct plan_basis *basis, const struct cg_dev_rules *rules,
                     struct arena *a, struct plan_limits *limits, struct err *e)
{
    struct plan_limits other = *limits;
    int r = cg_dev_compile(rules, a, &other.sandbox.devices, e);

    /* Of a property that is there twice the last one counts. */
    if (r == 0)
        r = express_devices(basis, &other.sandbox, a, e);
    if (r == 0)
        *limits = other;
    return r;
}

void plan_leave_devices(struct plan_limits *limits, struct arena *a)
{
    limits->sandbox.has_devices = false;
    limits->sandbox.properties = cg_properties_without_devices(&limits->sandbox.properties, a);
}

/* Which of the rules said by hand cannot be had beside @own, the list without them, which can. */
static void hint_asked(const struct plan_basis *basis, const struct cg_dev_table *own,
                       struct arena *a, struct err *e)
{
    struct plan_cgroup c = {.devices = *own};
    bool alone = express_devices(basis, &c, a, NULL) == 0;

    for (size_t i = 0; alone && i < basis->asked.count; i++) {
        const struct cg_dev_rules one = {.items = &basis->asked.items[i], .count = 1};
        bool allow = one.items->allow;
        char text[48];

        c.devices = *own;
        if (device_list_add(&one, a, &c.devices, NULL) == 0 &&
            express_devices(basis, &c, a, NULL) == 0)
            continue;
        err_hint(e, "; or take back what was said of this sandbox, by %s \"%s\"",
                 allow ? "remove-device" : "add-device", cg_dev_rule_text(one.items, text));
        return;
    }
}

static int sum_devices(const struct plan_basis *basis, const struct aggregate_member *members,
                       size_t count, struct arena *a, struct plan_limits *l,
                       struct plan_warnings *warnings, struct err *e)
{
    struct plan_cgroup *c = &l->sandbox;
    struct err why = ERR_INIT;
    int r = device_list_unite(members, count, basis->settings, basis->facts, basis->systemd, a,
                              &c->devices, &why);

    if (r == 0) {
        const struct cg_dev_table own = c->devices;

        r = device_list_add(&basis->asked, a, &c->devices, &why);
        if (r == 0)
            r = express_devices(basis, c, a, &why);
        if (r < 0)
            hint_asked(basis, &own, a, &why);
    }
    c->has_devices = r == 0;
    /* systemd may be told all the same: it knows what it can do. */
    if (r == 0 && basis->facts->no_device_rules && !basis->systemd) {
        c->has_devices = false;
        l->no_device_rules = true;
        plan_warn(warnings, a, PLAN_NO_DEVICE_RULES);
    }
    if (r == 0)
        return 0;
    if (!basis->may_keep_devices) {
        if (e)
            *e = why;
        return r;
    }
    l->kept_devices = arena_printf(a, PLAN_KEPT_DEVICES, why.text);
    plan_warn(warnings, a, l->kept_devices);
    return 0;
}

int plan_sum(const struct plan_basis *basis, const struct aggregate_member *members, size_t count,
             struct arena *a, struct cg_limits *ret, struct aggregate_notes *notes, struct err *e)
{
    int r =
        aggregate_limits(members, count, basis->settings->memory_overhead_bytes, a, ret, notes, e);

    if (r < 0)
        return r;
    notes->cpuset_only = basis->settings->resources == RESOURCES_KATA;
    if (notes->cpuset_only)
        aggregate_keep_cpuset(ret);
    ret->unified_beneath = basis->systemd;
    override_apply(basis->updated, basis->facts->mode == CG_MODE_V2, a, ret, notes);
    return 0;
}

static int sum_files(const struct plan_basis *basis, const struct aggregate_member *members,
                     size_t count, struct arena *a, struct cg_files *ret,
                     struct aggregate_notes *notes, struct plan_warnings *warnings, struct err *e)
{
    bool v2 = basis->facts->mode == CG_MODE_V2;
    struct cg_limits limits;
    int r = plan_sum(basis, members, count, a, &limits, notes, e);

    if (r < 0)
        return r;
    return cg_limits_files(&limits, v2, a, ret, &warnings->items, &warnings->count, e);
}

static struct cg_files in_order(const struct plan_cgroup *c, struct arena *a)
{
    struct cg_files all = {0};

    cg_files_append(a, &all, &c->resets);
    cg_files_append(a, &all, &c->files);
    return all;
}

/* Limits that are no more, and what systemd is told. */
static int complete(const struct plan_basis *basis, struct arena *a, struct plan_cgroup *c,
                    struct plan_warnings *warnings, struct err *e)
{
    bool v2 = basis->facts->mode == CG_MODE_V2;
    struct cg_files all;
    int r;

    cg_files_resets(&basis->recorded, &c->files, v2, a, &c->resets, &warnings->items,
                    &warnings->count);
    if (!basis->systemd)
        return 0;
    all = in_order(c, a);
    r = cg_properties_limits(&all, v2, a, &c->properties, e);
    if (r < 0 && e)
        e->bad_input = true;
    return r;
}

int plan_limits(const struct plan_basis *basis, const struct aggregate_member *members,
                size_t count, struct arena *a, struct plan_limits *ret,
                struct plan_warnings *warnings, struct err *e)
{
    struct plan_cgroup *sandbox = &ret->sandbox;
    int r;

    *ret = (struct plan_limits){0};
    if (basis->facts->unseen)
        return err_sys(e, basis->facts->unseen_error, "cannot look at the device %s",
                       basis->facts->unseen);
    r = sum_files(basis, members, count, a, &sandbox->files, &ret->notes, warnings, e);
    if (r == 0)
        r = complete(basis, a, sandbox, warnings, e);
    return r < 0 ? r : sum_devices(basis, members, count, a, ret, warnings, e);
}

struct cg_change plan_change(const struct plan_cgroup *c, struct arena *a)
{
    return (struct cg_change){
        .files = in_order(c, a),
        .devices = c->has_devices ? &c->devices : NULL,
        .properties = c->properties,
    };
}

/* ---- one container ---- */

static void add_warnings(const struct plan_input *in, struct arena *a, struct plan *p)
{
    p->why.is_foreign =
        in->facts->foreign && !(p->layout == LAYOUT_NESTED && p->mode == CG_MODE_V2);
    if (p->why.is_foreign)
        warn(a, p, PLAN_FOREIGN);
    if (in->settings->virtualization_devices && !facts_has_hypervisor(in->facts))
        warn(a, p,
             "neither /dev/kvm nor /dev/mshv exists on this host: guests run without hardware "
             "virtualisation");
    for (size_t i = 0; i < in->settings->extra_devices.count; i++) {
        const char *path = JSON_AT(in->settings->extra_devices, char *, i);

        if (path[0] == '/' && !facts_device(in->facts, path))
            warn(a, p, arena_printf(a, "extra_devices: %s does not exist and is left out", path));
    }
    if (in->settings->has_no_vcpu)
        warn(a, p,
             "no_vcpu has no effect any more: until a vCPU is found everything is under the limits "
             "of the sandbox");
    if (p->mode == CG_MODE_V2 && p->layout == LAYOUT_SIBLING && in->config &&
        oci_config_has_other_hooks(in->config))
        warn(a, p, PLAN_OTHER_HOOKS);
    if (p->resources->rdma && p->layout == LAYOUT_SIBLING)
        warn(a, p, "linux.resources.rdma is not carried over to the sandbox cgroup");
}

/* Beside others only some of its limits count, but one day it may be the last. */
static int check_alone(const struct plan_basis *basis, const struct aggregate_member *own,
                       struct arena *a, struct err *e)
{
    struct plan_warnings warnings = {0};
    struct plan_basis alone = *basis;
    struct aggregate_notes unread;
    struct cg_files files;

    alone.updated = NULL;
    return sum_files(&alone, own, 1, a, &files, &unread, &warnings, e);
}

/* A rule of config.json that means nothing is refused also where it is not the one that counts. */
static int take_devices(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    struct cg_dev_rules own;
    struct oci_resources *before = p->resources;
    int r = in->runtime_devices ? device_list_own(p->resources, a, &own, e) : 0;

    if (r == 0)
        p->resources = device_list_take(p->resources, in->runtime_devices, a);
    p->why.devices_in_force = p->resources != before;
    return r;
}

static int plan_sibling(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const struct plan_basis basis = {
        .settings = in->settings,
        .facts = in->facts,
        .systemd = p->systemd,
        .sandbox_cgroup_only = p->sandbox_cgroup_only,
        .recorded = in->recorded,
        .asked = in->asked,
        .updated = in->updated,
    };
    struct aggregate_member *all = arena_alloc(a, (in->other_count + 1) * sizeof *all), *own;
    int r = take_devices(in, a, p, e);

    if (r == 0)
        r = device_list_make(p->resources, in->settings, in->facts, p->systemd, a, &p->devices,
                             &p->why.devices, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < in->other_count; i++)
        all[i] = in->others[i];
    own = &all[in->other_count];
    *own = (struct aggregate_member){p->container_id, p->resources,
                                     str_eq(p->container_id, p->sandbox_id)};
    if (in->other_count > 0)
        r = check_alone(&basis, own, a, e);
    if (r == 0)
        r = plan_limits(&basis, all, in->other_count + 1, a, &p->limits, &p->warnings, e);
    return r < 0 || p->sandbox_cgroup_only ? r
                                           : overhead_fill(in, &p->limits.sandbox.files, a, p, e);
}

/*
 * Since runtime-spec 1.3 a pids limit of 0 is one. A state has the version of the runtime that wrote
 * it, and so its understanding. Elsewhere here 0 is none, so it is recorded and written as 1: the
 * kernel's answer to both is that a lone process may not fork.
 */
static void take_pids(const struct plan_input *in, struct arena *a, struct plan *p)
{
    const char *version = in->state->oci_version;
    struct oci_resources *own = arena_alloc(a, sizeof *own);
    unsigned major = 0, minor = 0;

    if (!p->resources->pids || !p->resources->pids->limit.set ||
        p->resources->pids->limit.value != 0 || !version ||
        sscanf(version, "%3u.%3u", &major, &minor) != 2 || major < 1 || (major == 1 && minor < 3))
        return;
    *own = *p->resources;
    own->pids = arena_alloc(a, sizeof *own->pids);
    own->pids->limit = (struct json_i64){true, 1};
    p->resources = own;
    p->why.raised_pids = true;
}

/* Of a scope of the runtime's that the container leaves. */
static int take_scope_limits(const struct plan_input *in, struct arena *a, struct plan *p,
                             struct err *e)
{
    struct oci_annotations annotations;
    const struct oci_resources *before = p->resources;
    int r = merge_annotations(in, &annotations, e);

    if (r < 0)
        return r;
    p->resources = scope_limits_take(&annotations, p->resources, a, &p->warnings);
    p->why.scope_memory = p->resources->memory != before->memory;
    p->why.scope_pids = p->resources->pids != before->pids;
    p->why.scope_cpu = p->resources->cpu != before->cpu;
    return 0;
}

int plan_fill(const struct plan_input *in, struct arena *a, struct plan *p, struct err *e)
{
    const struct oci_linux *spec = in->config ? in->config->linux_ : NULL;
    int r = 0;

    p->resources = spec && spec->resources ? spec->resources : arena_alloc(a, sizeof *p->resources);
    take_pids(in, a, p);
    if (p->systemd && p->layout == LAYOUT_SIBLING)
        r = take_scope_limits(in, a, p, e);
    if (r < 0)
        return r;
    r = p->layout == LAYOUT_NESTED ? nested_fill(in, a, p, e) : plan_sibling(in, a, p, e);
    if (r == 0)
        add_warnings(in, a, p);
    return r;
}
