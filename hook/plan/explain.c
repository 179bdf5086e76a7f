/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/explain.h"

#include "base/arena.h"
#include "base/str.h"

#define ONLY_KEY           "configuration: sandbox_cgroup_only"
#define ALLOWED_KEY        "configuration: allowed_annotations"
#define ONLY_ANNOTATION    "annotation io.katacontainers.config.runtime.sandbox_cgroup_only"
#define PINNING_ANNOTATION "annotation io.katacontainers.config.runtime.enable_vcpus_pinning"
#define QUOTA_ANNOTATION   "annotation oci-sandbox-cgroup.io/overhead-cpu-quota"

void explain_add(const struct explain_job *job, const char *decision, const char *value,
                 const char *reason, const char *source)
{
    ARENA_APPEND(job->a, job->ret->rows, job->ret->count) =
        (struct explain_row){decision, value, reason, source};
}

const char *explain_key(bool named, const char *key)
{
    return named ? key : "default";
}

static bool is_named(const struct explain_job *job, enum settings_named key)
{
    return job->in->settings->named & key;
}

/* ---- which sandbox ---- */

static const char *engine_text(const struct runtime *r)
{
    if (r->engine == ENGINE_CONTAINERD)
        return "containerd or Docker is the engine above it";
    if (r->engine == ENGINE_OTHER)
        return "neither containerd nor Docker is the engine above it";
    return r->why_unknown ? r->why_unknown : "it is not known which engine is above it";
}

static void layout(const struct explain_job *job)
{
    const struct plan *p = job->p;

    explain_add(job, "layout", layout_name(p->layout), p->layout_reason, p->why.layout_source);
    if (p->runtime)
        explain_add(job, "runtime", runtime_text(p->runtime, job->a), engine_text(p->runtime),
                    "the process that calls the hook");
}

static const char *annotation(const struct explain_job *job, const char *key, const char *otherwise)
{
    return key ? arena_printf(job->a, "annotation %s", key) : otherwise;
}

static const char *id_reason(const struct plan *p)
{
    if (p->layout == LAYOUT_NESTED)
        return "with layout nested each container is a sandbox of its own";
    if (p->why.id_key)
        return "the annotation names the pod's sandbox";
    return p->role == ROLE_SANDBOX
               ? "the container begins a pod, and no annotation names its sandbox"
               : "the container is a sandbox of its own";
}

static void identity(const struct explain_job *job)
{
    const struct plan *p = job->p;

    explain_add(job, "role", role_name(p->role),
                p->why.role_key ? "the annotation says which part of a pod the container is"
                                : "no annotation makes the container a part of a pod",
                annotation(job, p->why.role_key, "default"));
    explain_add(job, "sandbox id", p->sandbox_id, id_reason(p),
                p->layout == LAYOUT_NESTED ? "state: id"
                                           : annotation(job, p->why.id_key, "state: id"));
}

static void only(const struct explain_job *job)
{
    static const char *const sources[] = {
        [POLICY_DEFAULT] = "default",
        [POLICY_CONFIG] = ONLY_KEY,
        [POLICY_ARGUMENT] = "--sandbox-cgroup-only",
        [POLICY_ANNOTATION] = ONLY_ANNOTATION,
    };
    const struct plan *p = job->p;

    explain_add(job, "sandbox_cgroup_only", p->sandbox_cgroup_only ? "true" : "false",
                p->why.policy, sources[p->policy_source]);
    if (p->refused)
        explain_add(job, ONLY_ANNOTATION, "refused", p->refused, ALLOWED_KEY);
    else if (p->policy_source == POLICY_ANNOTATION)
        explain_add(job, ONLY_ANNOTATION, "allowed", p->why.policy,
                    p->why.policy_listed ? ALLOWED_KEY : "default");
}

/* ---- where ---- */

static const char *place_source(const struct plan *p)
{
    static const char *const sources[] = {
        [PLACE_NAMED] = "linux.cgroupsPath",
        [PLACE_PROCESS] = "the cgroup of the container's process",
        [PLACE_UNKNOWN] = "default",
    };

    return sources[p->why.place];
}

static const char *sandbox_reason(const struct explain_job *job)
{
    const struct plan *p = job->p;

    if (p->layout == LAYOUT_SIBLING)
        return arena_printf(job->a, "beside the runtime's cgroup of the container%s, %s",
                            p->why.place == PLACE_UNKNOWN ? ", for which /vc stands here" : "",
                            p->runtime_path);
    if (p->sandbox_cgroup_only)
        return "the runtime's own cgroup of the container: nothing is made or moved";
    return p->mode == CG_MODE_V2 ? "a threaded child of the runtime's cgroup, for vCPU threads"
                                 : "the runtime's own cgroup, where vCPU threads stay";
}

static void overhead_place(const struct explain_job *job)
{
    const struct plan *p = job->p;
    const char *prefix = explain_key(is_named(job, NAMES_PREFIX), "configuration: prefix");

    if (!p->overhead_path)
        explain_add(job, "overhead path", "none", "sandbox_cgroup_only: all threads stay together",
                    "sandbox_cgroup_only");
    else if (p->mode == CG_MODE_V2)
        explain_add(job, "overhead path", p->overhead_path,
                    "on v2 the other threads stay around the vCPUs' cgroup", "cgroup mode");
    else if (p->overhead_unit)
        explain_add(job, "overhead path", p->overhead_path,
                    "a scope of systemd's, as the sandbox is one", "linux.cgroupsPath");
    else if (p->layout == LAYOUT_NESTED)
        explain_add(job, "overhead path", p->overhead_path, "beside the runtime's cgroup", prefix);
    else
        explain_add(
            job, "overhead path", p->overhead_path, "below overhead_parent, with the sandbox's id",
            explain_key(is_named(job, NAMES_OVERHEAD_PARENT), "configuration: overhead_parent"));
    if (p->overhead_path && p->mode == CG_MODE_V2)
        explain_add(job, "vCPU path", p->vcpu_path, "a threaded child, which has the CPU quota",
                    prefix);
}

static void places(const struct explain_job *job)
{
    const struct plan *p = job->p;

    explain_add(job, "manager", plan_manager_name(p),
                p->systemd                   ? "the path has the form SLICE:PREFIX:NAME"
                : p->layout == LAYOUT_NESTED ? "what layout nested makes has no unit"
                                             : "the path is no unit of systemd's",
                p->systemd || p->layout == LAYOUT_SIBLING ? place_source(p) : "layout");
    explain_add(job, "sandbox path", p->sandbox_path, sandbox_reason(job), place_source(p));
    overhead_place(job);
    if (p->sandbox_unit)
        explain_add(job, "sandbox unit", p->sandbox_unit,
                    arena_printf(job->a, "in the runtime's slice, %s", p->slice), place_source(p));
}

static void split(const struct explain_job *job)
{
    const struct plan *p = job->p;

    if (p->why.is_foreign)
        explain_add(job, "split", "no", PLAN_FOREIGN, "user namespace");
    else if (p->sandbox_cgroup_only)
        explain_add(job, "split", "no",
                    "sandbox_cgroup_only: all threads are under one set of limits",
                    "sandbox_cgroup_only");
    else if (p->mode == CG_MODE_V2 && p->overhead.files.count == 0)
        explain_add(
            job, "split", "no",
            "there is no CPU quota, and on v2 that alone is split; one that is set later is",
            "linux.resources.cpu.quota");
    else
        explain_add(
            job, "split", "yes",
            p->mode == CG_MODE_V2
                ? "once a vCPU is found: vCPUs get the CPU quota, and around them it is lifted"
                : "once a vCPU is found: the other threads leave the cpu hierarchy's cgroup",
            "sandbox_cgroup_only");
}

static void resources(const struct explain_job *job)
{
    bool named = is_named(job, NAMES_RESOURCES);

    if (job->p->layout == LAYOUT_NESTED)
        explain_add(job, "resources", "none", "with layout nested limits are not added up",
                    "layout");
    else
        explain_add(job, "resources",
                    job->in->settings->resources == RESOURCES_KATA ? "kata" : "aggregate",
                    named ? "the configuration says so" : "nobody says otherwise",
                    explain_key(named, "configuration: resources"));
}

/* ---- devices ---- */

static void device_source(const struct explain_job *job, size_t i, const char **reason,
                          const char **source)
{
    const struct device_parts *ends = &job->p->why.devices;

    if (i < ends->own && job->p->why.devices_in_force) {
        *reason = "in force in the runtime's cgroup: config.json or another hook has it";
        *source = "the runtime's cgroup";
    } else if (i < ends->own) {
        *reason = "config.json has it";
        *source = "linux.resources.devices";
    } else if (i < ends->nodes) {
        *reason = "a device that runtimes allow by default";
        *source = "default";
    } else if (i < ends->virtualization) {
        *reason = "a VMM needs it";
        *source = explain_key(is_named(job, NAMES_VIRTUALIZATION),
                              "configuration: virtualization_devices");
    } else if (i < ends->wild) {
        *reason = "a class that VMMs need, or that runtimes allow by default";
        *source = "default";
    } else {
        *reason = "the administrator adds it";
        *source = "configuration: extra_devices";
    }
}

static void device_list(const struct explain_job *job)
{
    const struct plan *p = job->p;

    if (p->layout == LAYOUT_NESTED)
        explain_add(job, "device list", "the runtime's own",
                    "with layout nested no rule is added; what a VMM will miss is a warning",
                    "layout");
    else if (p->limits.kept_devices)
        explain_add(job, "device list", "kept", p->limits.kept_devices, "record");
    else if (p->limits.no_device_rules)
        explain_add(job, "device list", "left out", PLAN_NO_DEVICE_RULES, "user namespace");
    else if (job->in->other_count > 0)
        explain_add(job, "device list", "united",
                    arena_printf(job->a, "what any of %zu containers may use, all may",
                                 job->in->other_count + 1),
                    "the sandbox's containers");
}

/* Behind the lists of all containers, and so the last word. */
static void devices_by_hand(const struct explain_job *job)
{
    const struct cg_dev_rules *asked = &job->in->asked;

    for (size_t i = 0; job->p->layout == LAYOUT_SIBLING && i < asked->count; i++) {
        bool allow = asked->items[i].allow;
        char text[48];

        explain_add(job,
                    arena_printf(job->a, "device %s", cg_dev_rule_text(&asked->items[i], text)),
                    allow ? "allow" : "deny",
                    allow ? "allowed by `add-device`" : "denied by `remove-device`", "record");
    }
}

static void devices(const struct explain_job *job)
{
    const struct cg_dev_rules *rules = &job->p->devices;

    device_list(job);
    for (size_t i = 0; job->p->layout == LAYOUT_SIBLING && i < rules->count; i++) {
        const char *reason, *source;
        char text[48];

        device_source(job, i, &reason, &source);
        explain_add(job,
                    arena_printf(job->a, "device %s", cg_dev_rule_text(&rules->items[i], text)),
                    rules->items[i].allow ? "allow" : "deny", reason, source);
    }
    devices_by_hand(job);
    if (job->p->layout == LAYOUT_SIBLING && !job->in->settings->virtualization_devices)
        explain_add(job, "virtualization devices", "left out", "virtualization_devices is false",
                    "configuration: virtualization_devices");
}

/* ---- the watcher ---- */

static void evidence(const struct explain_job *job)
{
    const struct settings *settings = job->in->settings;
    bool hypervisor = facts_has_hypervisor(job->in->facts);

    explain_add(job, "vcpu_evidence",
                policy_needs_evidence(settings, hypervisor) ? "kernel" : "name",
                settings->vcpu_evidence != EVIDENCE_AUTO ? "the configuration says so"
                : hypervisor ? "auto: the host has a hypervisor device, so the kernel shows vCPUs"
                             : "auto: the host has no hypervisor device, so a name is all there is",
                explain_key(is_named(job, NAMES_EVIDENCE), "configuration: vcpu_evidence"));
}

static void annotations(const struct explain_job *job)
{
    const struct plan *p = job->p;

    explain_add(job, "enable_vcpus_pinning", p->pinning ? "true" : "false",
                p->why.pinning_annotated       ? "a pod's author may ask for it, or against it"
                : is_named(job, NAMES_PINNING) ? "the configuration says so"
                                               : "nobody says otherwise",
                p->why.pinning_annotated ? PINNING_ANNOTATION
                                         : explain_key(is_named(job, NAMES_PINNING),
                                                       "configuration: enable_vcpus_pinning"));
    if (p->overhead_quota)
        explain_add(job, QUOTA_ANNOTATION, "allowed", "allowed_annotations lists the annotation",
                    ALLOWED_KEY);
    else if (p->why.quota)
        explain_add(job, QUOTA_ANNOTATION, p->refused_quota ? "refused" : "ignored", p->why.quota,
                    p->refused_quota ? ALLOWED_KEY : "layout");
}

void explain_plan(const struct plan_input *in, const struct plan *p, struct arena *a,
                  struct explain *ret)
{
    const struct explain_job job = {in, p, a, ret};

    *ret = (struct explain){0};
    layout(&job);
    identity(&job);
    only(&job);
    places(&job);
    split(&job);
    resources(&job);
    explain_limits(&job);
    explain_overhead(&job);
    devices(&job);
    evidence(&job);
    annotations(&job);
}
