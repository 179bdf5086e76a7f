/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/policy.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "oci/state.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

static const struct oci_annotations *make_annotations(struct arena *a, const char *text)
{
    struct oci_annotations *n = arena_alloc(a, sizeof *n);

    kit_read_row(a, arena_printf(a, "{%s}", text), &oci_annotations_table, n);
    return n;
}

/* --- roles --- */

#define CRI_TYPE    "'io.kubernetes.cri.container-type':"
#define CRI_ID      "'io.kubernetes.cri.sandbox-id':"
#define CRIO_TYPE   "'io.kubernetes.cri-o.ContainerType':"
#define CRIO_ID     "'io.kubernetes.cri-o.SandboxID':"
#define DOCKER_TYPE "'io.kubernetes.docker.type':"
#define DOCKER_ID   "'io.kubernetes.sandbox.id':"
#define KATA_TYPE   "'io.katacontainers.pkg.oci.container_type':"

static const struct {
    const char *annotations, *role, *sandbox_id;
} roles[] = {
    {"", "single", "c1"},
    /* an id alone says nothing about the role, but for podman */
    {CRI_ID "'s1'", "single", "c1"},
    {DOCKER_ID "'s1'", "single", "c1"},
    {CRIO_ID "'s1'", "container", "s1"},
    {CRIO_ID "'c1'", "single", "c1"},
    {CRIO_ID "'s1'," KATA_TYPE "'pod_sandbox'", "sandbox", "s1"},

    {CRI_TYPE "'sandbox'," CRI_ID "'s1'", "sandbox", "s1"},
    {CRI_TYPE "'container'," CRI_ID "'s1'", "container", "s1"},
    {CRIO_TYPE "'sandbox'," CRIO_ID "'s1'", "sandbox", "s1"},
    {CRIO_TYPE "'container'," CRIO_ID "'s1'", "container", "s1"},
    {DOCKER_TYPE "'podsandbox'," DOCKER_ID "'s1'", "sandbox", "s1"},
    {DOCKER_TYPE "'container'," DOCKER_ID "'s1'", "container", "s1"},
    {KATA_TYPE "'pod_sandbox'," CRI_ID "'s1'", "sandbox", "s1"},
    {KATA_TYPE "'pod_container'," CRI_ID "'s1'", "container", "s1"},
    {KATA_TYPE "'pod_sandbox'," CRIO_ID "'s1'", "sandbox", "s1"},
    {KATA_TYPE "'pod_container'," CRIO_ID "'s1'", "container", "s1"},
    {KATA_TYPE "'pod_sandbox'," DOCKER_ID "'s1'", "sandbox", "s1"},
    {KATA_TYPE "'pod_container'," DOCKER_ID "'s1'", "container", "s1"},

    /* a sandbox without an id annotation is its own */
    {CRI_TYPE "'sandbox'", "sandbox", "c1"},
    {CRIO_TYPE "'sandbox'", "sandbox", "c1"},
    {DOCKER_TYPE "'podsandbox'", "sandbox", "c1"},
    {KATA_TYPE "'pod_sandbox'", "sandbox", "c1"},
    /* another engine's id does not count */
    {CRI_TYPE "'sandbox'," CRIO_ID "'s2'", "sandbox", "c1"},
    {CRIO_TYPE "'sandbox'," CRI_ID "'s2'", "sandbox", "c1"},
    {DOCKER_TYPE "'podsandbox'," CRI_ID "'s2'", "sandbox", "c1"},

    /* the first engine of the table wins */
    {CRI_TYPE "'container'," CRI_ID "'s1'," CRIO_TYPE "'sandbox'," CRIO_ID "'s2'", "container",
     "s1"},
    {CRI_TYPE "'container'," CRI_ID "'s1'," DOCKER_TYPE "'podsandbox'," DOCKER_ID "'s2'",
     "container", "s1"},
    {CRI_TYPE "'container'," CRI_ID "'s1'," KATA_TYPE "'pod_sandbox'", "container", "s1"},
    {CRIO_TYPE "'sandbox'," CRIO_ID "'s1'," DOCKER_TYPE "'container'," DOCKER_ID "'s2'", "sandbox",
     "s1"},
    {CRIO_TYPE "'sandbox'," CRIO_ID "'s1'," KATA_TYPE "'pod_container'", "sandbox", "s1"},
    {DOCKER_TYPE "'container'," DOCKER_ID "'s1'," KATA_TYPE "'pod_sandbox'", "container", "s1"},
    {CRI_TYPE "'container'," CRI_ID "'s1'," CRIO_TYPE "'no such type'", "container", "s1"},
    /* ids for Kata's type: in the order of the engines */
    {KATA_TYPE "'pod_container'," CRI_ID "'s1'," CRIO_ID "'s2'," DOCKER_ID "'s3'", "container",
     "s1"},
    {KATA_TYPE "'pod_container'," CRIO_ID "'s2'," DOCKER_ID "'s3'", "container", "s2"},
};

Test(policy, roles)
{
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct policy_identity who = {0};
        int r = policy_role(make_annotations(&a, roles[i].annotations), "c1", &who, &e);

        cr_expect(r == 0 && str_eq(role_name(who.role), roles[i].role) &&
                      str_eq(who.sandbox_id, roles[i].sandbox_id) && e.code == 0,
                  "input:    %s\nexpected: %s %s\ngot:      %d, %s %s, %s", roles[i].annotations,
                  roles[i].role, roles[i].sandbox_id, r, role_name(who.role), who.sandbox_id,
                  e.text);
    }
}

#define LONG_64 "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
    const char *annotations;
    const char *words[2]; /* of the message */
} bad_roles[] = {
    {CRI_TYPE "'pod_sandbox'," CRI_ID "'s1'",
     {"io.kubernetes.cri.container-type", "\"pod_sandbox\""}},
    {CRI_TYPE "''," CRI_ID "'s1'", {"io.kubernetes.cri.container-type", "\"\""}},
    {CRI_TYPE "'Sandbox'", {"io.kubernetes.cri.container-type", "\"Sandbox\""}},
    {CRI_TYPE "'podsandbox'", {"io.kubernetes.cri.container-type", "\"podsandbox\""}},
    {CRIO_TYPE "'podsandbox'", {"io.kubernetes.cri-o.ContainerType", "\"podsandbox\""}},
    {DOCKER_TYPE "'sandbox'", {"io.kubernetes.docker.type", "\"sandbox\""}},
    {KATA_TYPE "'sandbox'", {"io.katacontainers.pkg.oci.container_type", "\"sandbox\""}},
    {KATA_TYPE "'container'," CRI_ID "'s1'",
     {"io.katacontainers.pkg.oci.container_type", "\"container\""}},
    {CRI_TYPE "'a\\u001bb'", {"io.kubernetes.cri.container-type", "a\\x1bb"}},
    /* a container without the sandbox's id */
    {CRI_TYPE "'container'", {"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"}},
    {CRI_TYPE "'container'," CRIO_ID "'s2'", {"missing", "io.kubernetes.cri.sandbox-id"}},
    {CRIO_TYPE "'container'",
     {"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"}},
    {CRIO_TYPE "'container'," CRI_ID "'s2'", {"missing", "io.kubernetes.cri-o.SandboxID"}},
    {DOCKER_TYPE "'container'", {"io.kubernetes.docker.type", "io.kubernetes.sandbox.id"}},
    {KATA_TYPE "'pod_container'", {"io.katacontainers.pkg.oci.container_type", "missing"}},
    /* ids that cannot be a name */
    {CRI_TYPE "'sandbox'," CRI_ID "''", {"io.kubernetes.cri.sandbox-id", "empty"}},
    {CRI_TYPE "'container'," CRI_ID "'a/b'", {"io.kubernetes.cri.sandbox-id", "a/b"}},
    {CRI_TYPE "'container'," CRI_ID "'..'", {"io.kubernetes.cri.sandbox-id", "\"..\""}},
    {CRIO_TYPE "'container'," CRIO_ID "'.'", {"io.kubernetes.cri-o.SandboxID", "\".\""}},
    {CRIO_TYPE "'sandbox'," CRIO_ID "'a\\nb'", {"io.kubernetes.cri-o.SandboxID", "a\\x0ab"}},
    {CRIO_ID "'a/b'", {"io.kubernetes.cri-o.SandboxID", "a/b"}},
    {DOCKER_TYPE "'container'," DOCKER_ID "'a\\u007fb'", {"io.kubernetes.sandbox.id", "a\\x7fb"}},
    {KATA_TYPE "'pod_sandbox'," CRI_ID "'../x'", {"io.kubernetes.cri.sandbox-id", "../x"}},
    {CRI_TYPE "'container'," CRI_ID "'" LONG_64 LONG_64 LONG_64 LONG_64 "'",
     {"io.kubernetes.cri.sandbox-id", "256"}},
};

Test(policy, roles_refused)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad_roles); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct policy_identity who;
        int r = policy_role(make_annotations(&a, bad_roles[i].annotations), "c1", &who, &e);

        cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, bad_roles[i].words[0]) &&
                      strstr(e.text, bad_roles[i].words[1]),
                  "input:    %s\nexpected: refused with \"%s\" and \"%s\"\ngot:      %d, %s",
                  bad_roles[i].annotations, bad_roles[i].words[0], bad_roles[i].words[1], r,
                  e.text);
    }
}

/* --- sandbox_cgroup_only --- */

#define ONLY "io.katacontainers.config.runtime.sandbox_cgroup_only"

/*
 * Configuration, argument, annotation: '-' not set, 'f', 't'. What comes out while the annotation
 * is not in allowed_annotations, and while it is; "refused" stands for a warning.
 */
static const struct {
    const char *given, *not_allowed, *allowed;
} policies[] = {
    {"---", "false default", "false default"},
    {"--f", "false annotation", "false annotation"},
    {"--t", "true annotation", "true annotation"},
    {"-f-", "false argument", "false argument"},
    {"-ff", "false annotation", "false annotation"},
    {"-ft", "true annotation", "true annotation"},
    {"-t-", "true argument", "true argument"},
    {"-tf", "true argument refused", "false annotation"},
    {"-tt", "true annotation", "true annotation"},
    {"f--", "false config", "false config"},
    {"f-f", "false annotation", "false annotation"},
    {"f-t", "true annotation", "true annotation"},
    {"ff-", "false argument", "false argument"},
    {"fff", "false annotation", "false annotation"},
    {"fft", "true annotation", "true annotation"},
    {"ft-", "true argument", "true argument"},
    {"ftf", "true argument refused", "false annotation"},
    {"ftt", "true annotation", "true annotation"},
    {"t--", "true config", "true config"},
    {"t-f", "true config refused", "false annotation"},
    {"t-t", "true annotation", "true annotation"},
    {"tf-", "false argument", "false argument"},
    {"tff", "false annotation", "false annotation"},
    {"tft", "true annotation", "true annotation"},
    {"tt-", "true argument", "true argument"},
    {"ttf", "true argument refused", "false annotation"},
    {"ttt", "true annotation", "true annotation"},
};

static struct json_bool given_bool(char c)
{
    return (struct json_bool){c != '-', c == 't'};
}

static void expect_policy(const char *given, const char *const *allowed, size_t allowed_count,
                          const char *want)
{
    autoarena a = ARENA_INIT;
    struct settings settings = {.sandbox_cgroup_only = given_bool(given[0])};
    struct oci_annotations annotations = {0};
    struct err e = ERR_INIT;
    struct policy policy;
    const char *got;
    int r;

    for (size_t i = 0; i < allowed_count; i++)
        *(char **)arena_push(&a, &settings.allowed_annotations.items,
                             &settings.allowed_annotations.count, sizeof(char *)) =
            arena_strdup(&a, allowed[i]);
    if (given[2] != '-')
        annotations.sandbox_cgroup_only = arena_strdup(&a, given[2] == 't' ? "true" : "false");
    r = policy_sandbox_cgroup_only(&settings, given_bool(given[1]), &annotations, &policy, &e);
    got = arena_printf(&a, "%s %s%s", policy.sandbox_cgroup_only ? "true" : "false",
                       policy_source_name(policy.source), policy.warning ? " refused" : "");
    cr_expect(r == 0 && e.code == 0 && str_eq(got, want),
              "input:    settings, argument, annotation \"%s\", %zu allowed\nexpected: %s\n"
              "got:      %d, %s, %s",
              given, allowed_count, want, r, got, e.text);
    if (policy.warning)
        cr_expect(strstr(policy.warning, ONLY "=false") &&
                      strstr(policy.warning, "allowed_annotations"),
                  "warning for \"%s\": %s", given, policy.warning);
}

Test(policy, sandbox_cgroup_only)
{
    static const char *const none[] = {""};
    static const char *const others[] = {
        "io.katacontainers.config.runtime.enable_vcpus_pinning",
        "io.katacontainers.config.runtime.sandbox_cgroup_onl",
        "io.katacontainers.config.runtime.*",
    };
    static const char *const listed[] = {ONLY};
    static const char *const listed_last[] = {
        "io.katacontainers.config.runtime.enable_vcpus_pinning", ONLY};

    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        expect_policy(policies[i].given, none, 0, policies[i].not_allowed);
        expect_policy(policies[i].given, others, ARRAY_SIZE(others), policies[i].not_allowed);
        expect_policy(policies[i].given, listed, 1, policies[i].allowed);
        expect_policy(policies[i].given, listed_last, 2, policies[i].allowed);
    }
}

static const struct {
    const char *text, *want;
} bools[] = {
    {"1", "true"},        {"t", "true"},         {"T", "true"},        {"TRUE", "true"},
    {"true", "true"},     {"True", "true"},      {"0", "false"},       {"f", "false"},
    {"F", "false"},       {"FALSE", "false"},    {"false", "false"},   {"False", "false"},
    {"", "refused"},      {"yes", "refused"},    {"no", "refused"},    {"on", "refused"},
    {"off", "refused"},   {"2", "refused"},      {"01", "refused"},    {"tRUE", "refused"},
    {"tr", "refused"},    {" true", "refused"},  {"true ", "refused"}, {"truee", "refused"},
    {"fALSE", "refused"}, {"falsee", "refused"}, {"-1", "refused"},
};

Test(policy, parse_bool)
{
    for (size_t i = 0; i < ARRAY_SIZE(bools); i++) {
        for (int before = 0; before <= 1; before++) {
            bool value = before;
            int r = policy_parse_bool(bools[i].text, &value);
            const char *got = r == -EINVAL ? "refused" : value ? "true" : "false";

            cr_expect(str_eq(got, bools[i].want) && (r == 0 || r == -EINVAL),
                      "input:    \"%s\"\nexpected: %s\ngot:      %d, %s", bools[i].text,
                      bools[i].want, r, got);
            cr_expect(r == 0 || value == (bool)before,
                      "\"%s\" was refused and written all the same", bools[i].text);
        }
    }
}

/* Every spelling counts in the annotation, and what is none of them is refused with its key. */
Test(policy, annotation_words)
{
    for (size_t i = 0; i < ARRAY_SIZE(bools); i++) {
        autoarena a = ARENA_INIT;
        const struct settings settings = {0};
        struct oci_annotations annotations = {.sandbox_cgroup_only =
                                                  arena_strdup(&a, bools[i].text)};
        struct err e = ERR_INIT;
        struct policy policy;
        int r =
            policy_sandbox_cgroup_only(&settings, (struct json_bool){0}, &annotations, &policy, &e);
        const char *got = r == -EINVAL ? "refused" : policy.sandbox_cgroup_only ? "true" : "false";

        cr_expect_str_eq(got, bools[i].want, "input:    \"%s\"\nexpected: %s\ngot:      %d, %s",
                         bools[i].text, bools[i].want, r, got);
        if (r < 0)
            cr_expect(e.bad_input && strstr(e.text, ONLY) &&
                          strstr(e.text, arena_printf(&a, "\"%s\"", bools[i].text)),
                      "input:    \"%s\"\nexpected: a message with key and value\ngot:      %s",
                      bools[i].text, e.text);
    }
}

Test(policy, needs_evidence)
{
    static const struct {
        enum evidence setting;
        bool has_hypervisor, want;
    } rows[] = {
        {EVIDENCE_AUTO, false, false},  {EVIDENCE_AUTO, true, true},
        {EVIDENCE_KERNEL, false, true}, {EVIDENCE_KERNEL, true, true},
        {EVIDENCE_NAME, false, false},  {EVIDENCE_NAME, true, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct settings settings = {.vcpu_evidence = rows[i].setting};

        cr_expect_eq(policy_needs_evidence(&settings, rows[i].has_hypervisor), rows[i].want,
                     "case %zu", i);
    }
}

/* --- the overhead's quota --- */

#define OVERHEAD "oci-sandbox-cgroup.io/overhead-cpu-quota"

/* The answer to one annotation: the text of cpu.max, "refused", "no effect" or "error". */
static const char *ask_quota(const char *text, bool has_effect, const char *const *allowed,
                             size_t allowed_count, struct arena *a)
{
    struct settings settings = {0};
    const struct oci_annotations annotations = {.overhead_cpu_quota =
                                                    text ? arena_strdup(a, text) : NULL};
    struct err e = ERR_INIT;
    struct policy_quota quota;
    int r;

    for (size_t i = 0; i < allowed_count; i++)
        JSON_APPEND(a, settings.allowed_annotations, char *) = arena_strdup(a, allowed[i]);
    r = policy_overhead_quota(&settings, has_effect, &annotations, a, &quota, &e);
    if (r < 0) {
        cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, OVERHEAD) &&
                      strstr(e.text, arena_printf(a, "\"%s\"", text)),
                  "input:    \"%s\"\nexpected: a message with key and value\ngot:      %s", text,
                  e.text);
        return "error";
    }
    if (!quota.warning) {
        cr_expect_not(quota.refused);
        return quota.cpu_max ? quota.cpu_max : "none";
    }
    cr_expect_null(quota.cpu_max);
    cr_expect(strstr(quota.warning, OVERHEAD), "%s", quota.warning);
    cr_expect(strstr(quota.warning, quota.refused ? "allowed_annotations" : "nested"), "%s",
              quota.warning);
    return quota.refused ? "refused" : "no effect";
}

Test(policy, overhead_quota)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {NULL, "none"},
        {"50000", "50000 100000"},
        {"50000 20000", "50000 20000"},
        {"1000", "1000 100000"},
        {"999", "error"},
        {"17592186044415", "17592186044415 100000"},
        {"17592186044416", "error"},
        {"50000 1000", "50000 1000"},
        {"50000 999", "error"},
        {"50000 1000000", "50000 1000000"},
        {"50000 1000001", "error"},
        /* of a period of its own, which means nothing here */
        {"50000 99999", "50000 99999"},
        {"", "error"},
        {"0", "error"},
        {"-1", "error"},
        {"-50000", "error"},
        {"+50000", "error"},
        {"0x1000", "error"},
        {"50000.5", "error"},
        {"50%", "error"},
        {"max", "error"},
        {"max 100000", "error"},
        {"50000 max", "error"},
        {" 50000", "error"},
        {"50000 ", "error"},
        {"50000  100000", "error"},
        {"50000 100000 ", "error"},
        {"50000 100000 1", "error"},
        {"50000,100000", "error"},
        {"50000 -1", "error"},
        {"99999999999999999999", "error"},
    };
    static const char *const listed[] = {ONLY, OVERHEAD};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        bool is_quota = rows[i].text && !str_eq(rows[i].want, "error");

        for (int has_effect = 0; has_effect < 2; has_effect++) {
            for (size_t allowed = 0; allowed <= 2; allowed++) {
                autoarena a = ARENA_INIT;
                const char *want = !is_quota     ? rows[i].want
                                   : !has_effect ? "no effect"
                                   : allowed < 2 ? "refused"
                                                 : rows[i].want;
                const char *got = ask_quota(rows[i].text, has_effect, listed, allowed, &a);

                cr_expect_str_eq(got, want,
                                 "input:    \"%s\", effect %d, allowed %zu\nexpected: %s\n"
                                 "got:      %s",
                                 rows[i].text ? rows[i].text : "(none)", has_effect, allowed, want,
                                 got);
            }
        }
    }
}

Test(policy, names)
{
    cr_expect_str_eq(role_name(ROLE_SINGLE), "single");
    cr_expect_str_eq(role_name(ROLE_SANDBOX), "sandbox");
    cr_expect_str_eq(role_name(ROLE_CONTAINER), "container");
    cr_expect_str_eq(policy_source_name(POLICY_DEFAULT), "default");
    cr_expect_str_eq(policy_source_name(POLICY_CONFIG), "config");
    cr_expect_str_eq(policy_source_name(POLICY_ARGUMENT), "argument");
    cr_expect_str_eq(policy_source_name(POLICY_ANNOTATION), "annotation");
}
