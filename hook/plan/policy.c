/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/policy.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/quota.h"

#include <errno.h>

#define CRI_ID_ANNOTATION    "io.kubernetes.cri.sandbox-id"
#define CRIO_ID_ANNOTATION   "io.kubernetes.cri-o.SandboxID"
#define DOCKER_ID_ANNOTATION "io.kubernetes.sandbox.id"

#define ONLY_ANNOTATION    "io.katacontainers.config.runtime.sandbox_cgroup_only"
#define PINNING_ANNOTATION "io.katacontainers.config.runtime.enable_vcpus_pinning"
#define QUOTA_ANNOTATION   "oci-sandbox-cgroup.io/overhead-cpu-quota"

const char *role_name(enum role role)
{
    static const char *const names[] = {
        [ROLE_SINGLE] = "single",
        [ROLE_SANDBOX] = "sandbox",
        [ROLE_CONTAINER] = "container",
    };

    return names[role];
}

const char *policy_source_name(enum policy_source source)
{
    static const char *const names[] = {
        [POLICY_DEFAULT] = "default",
        [POLICY_CONFIG] = "config",
        [POLICY_ARGUMENT] = "argument",
        [POLICY_ANNOTATION] = "annotation",
    };

    return names[source];
}

struct engine {
    const char *type_key;
    const char *sandbox_word, *container_word;
    const char *id_key;
    const char *type, *id; /* the annotations' values */
};

/* Kata's type has no id of its own: the first of the engines' that is there. */
static void take_any_id(const struct oci_annotations *n, struct engine *kata)
{
    static const char *const keys[] = {CRI_ID_ANNOTATION, CRIO_ID_ANNOTATION, DOCKER_ID_ANNOTATION};
    const char *const ids[] = {n->cri_sandbox_id, n->crio_sandbox_id, n->docker_sandbox_id};

    for (size_t i = 0; i < ARRAY_SIZE(ids) && !kata->id; i++) {
        kata->id = ids[i];
        kata->id_key = ids[i] ? keys[i] : kata->id_key;
    }
}

static int role_from(const struct engine *engine, const char *container_id,
                     struct policy_identity *ret, struct err *e)
{
    char shown[64];

    ret->role_key = engine->type_key;

    if (str_eq(engine->type, engine->sandbox_word))
        ret->role = ROLE_SANDBOX;
    else if (str_eq(engine->type, engine->container_word))
        ret->role = ROLE_CONTAINER;
    else
        return err_input(e, "annotation %s: \"%s\" is neither \"%s\" nor \"%s\"", engine->type_key,
                         str_escape(engine->type, shown, sizeof shown), engine->sandbox_word,
                         engine->container_word);
    ret->sandbox_id = engine->id ? engine->id : container_id;
    ret->id_key = engine->id ? engine->id_key : NULL;
    if (!engine->id && ret->role != ROLE_SANDBOX)
        return err_input(e,
                         "annotation %s says that this is a container of a pod, but %s, which "
                         "names the pod's sandbox, is missing",
                         engine->type_key, engine->id_key);
    return cg_name_check(ret->sandbox_id, engine->id_key, e);
}

int policy_role(const struct oci_annotations *n, const char *container_id,
                struct policy_identity *ret, struct err *e)
{
    struct engine engines[] = {
        {"io.kubernetes.cri.container-type", "sandbox", "container", CRI_ID_ANNOTATION, n->cri_type,
         n->cri_sandbox_id},
        {"io.kubernetes.cri-o.ContainerType", "sandbox", "container", CRIO_ID_ANNOTATION,
         n->crio_type, n->crio_sandbox_id},
        {"io.kubernetes.docker.type", "podsandbox", "container", DOCKER_ID_ANNOTATION,
         n->docker_type, n->docker_sandbox_id},
        {"io.katacontainers.pkg.oci.container_type", "pod_sandbox", "pod_container",
         "the engine's sandbox id annotation", n->kata_type, NULL},
    };

    take_any_id(n, &engines[ARRAY_SIZE(engines) - 1]);
    for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
        if (engines[i].type)
            return role_from(&engines[i], container_id, ret, e);
    }
    *ret = (struct policy_identity){.role = ROLE_SINGLE, .sandbox_id = container_id};
    /* podman (seen in 4.3 and 5.4) marks the infra container of a pod by nothing at all, and the
     * others, from 5 on by this alone, with its id. */
    if (n->crio_sandbox_id && !str_eq(n->crio_sandbox_id, container_id)) {
        *ret = (struct policy_identity){ROLE_CONTAINER, n->crio_sandbox_id, CRIO_ID_ANNOTATION,
                                        CRIO_ID_ANNOTATION};
    }
    return cg_name_check(ret->sandbox_id, CRIO_ID_ANNOTATION, e);
}

int policy_parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (str_eq(text, yes[i]) || str_eq(text, no[i])) {
            *ret = str_eq(text, yes[i]);
            return 0;
        }
    }
    return -EINVAL;
}

static bool is_allowed(const struct settings *settings, const char *annotation)
{
    for (size_t i = 0; i < settings->allowed_annotations.count; i++) {
        if (str_eq(JSON_AT(settings->allowed_annotations, char *, i), annotation))
            return true;
    }
    return false;
}

int policy_sandbox_cgroup_only(const struct settings *settings, struct json_bool argument,
                               const struct oci_annotations *annotations, struct policy *ret,
                               struct err *e)
{
    const char *text = annotations->sandbox_cgroup_only;
    char shown[64];
    bool wanted;

    *ret = (struct policy){.source = POLICY_DEFAULT, .reason = "nobody says otherwise"};
    if (settings->sandbox_cgroup_only.set)
        *ret = (struct policy){.sandbox_cgroup_only = settings->sandbox_cgroup_only.value,
                               .source = POLICY_CONFIG,
                               .reason = "the configuration says so"};
    if (argument.set)
        *ret = (struct policy){.sandbox_cgroup_only = argument.value,
                               .source = POLICY_ARGUMENT,
                               .reason = "the hook's command line says so, and comes before the "
                                         "configuration"};
    if (!text)
        return 0;
    if (policy_parse_bool(text, &wanted) < 0)
        return err_input(e, "annotation " ONLY_ANNOTATION ": \"%s\" is neither true nor false",
                         str_escape(text, shown, sizeof shown));
    if (!wanted && ret->sandbox_cgroup_only && !is_allowed(settings, ONLY_ANNOTATION)) {
        ret->warning =
            "annotation " ONLY_ANNOTATION "=false is refused: the administrator's policy is "
            "true and allowed_annotations does not list it";
        return 0;
    }
    *ret = (struct policy){
        .sandbox_cgroup_only = wanted,
        .source = POLICY_ANNOTATION,
        .reason = wanted                     ? "an annotation may always ask for it"
                  : ret->sandbox_cgroup_only ? "allowed_annotations lists the annotation"
                                             : "the annotation says what holds without it",
        .listed = !wanted && ret->sandbox_cgroup_only,
    };
    return 0;
}

int policy_pinning(const struct settings *settings, const struct oci_annotations *annotations,
                   struct policy_pinning *ret, struct err *e)
{
    const char *text = annotations->enable_vcpus_pinning;
    char shown[64];

    *ret = (struct policy_pinning){settings->enable_vcpus_pinning, text != NULL};
    if (text && policy_parse_bool(text, &ret->pinned) < 0)
        return err_input(e, "annotation " PINNING_ANNOTATION ": \"%s\" is neither true nor false",
                         str_escape(text, shown, sizeof shown));
    return 0;
}

int policy_overhead_quota(const struct settings *settings, bool has_effect,
                          const struct oci_annotations *annotations, struct arena *a,
                          struct policy_quota *ret, struct err *e)
{
    const char *text = annotations->overhead_cpu_quota;
    char shown[64], cpu_max[QUOTA_TEXT_SIZE];
    struct quota quota;

    *ret = (struct policy_quota){0};
    if (!text)
        return 0;
    if (!quota_parse_given(text, &quota))
        return err_input(e,
                         "annotation " QUOTA_ANNOTATION ": \"%s\" is no CPU quota: expected QUOTA "
                         "or QUOTA PERIOD in microseconds, a quota of 1000 at least and a period "
                         "of 1000 to 1000000",
                         str_escape(text, shown, sizeof shown));
    if (!has_effect) {
        ret->warning = "annotation " QUOTA_ANNOTATION " has no effect: it is for layout nested "
                       "without sandbox_cgroup_only";
    } else if (!is_allowed(settings, QUOTA_ANNOTATION)) {
        ret->warning = "annotation " QUOTA_ANNOTATION " is refused: allowed_annotations does not "
                       "list it";
        ret->refused = true;
    } else {
        ret->cpu_max = arena_strdup(a, quota_format(&quota, cpu_max));
    }
    return 0;
}

bool policy_needs_evidence(const struct settings *settings, bool has_hypervisor)
{
    return settings->vcpu_evidence == EVIDENCE_KERNEL ||
           (settings->vcpu_evidence == EVIDENCE_AUTO && has_hypervisor);
}
