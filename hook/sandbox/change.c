/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/change.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "hook/plan/device_list.h"
#include "hook/plan/override.h"

#include <errno.h>
#include <string.h>

const struct aggregate_member *change_members(const struct json_list *containers,
                                              const char *sandbox_id, struct arena *a)
{
    struct aggregate_member *members = arena_alloc(a, (containers->count + 1) * sizeof *members);

    for (size_t i = 0; i < containers->count; i++) {
        const struct record_container *c = &JSON_AT(*containers, struct record_container, i);

        members[i] = (struct aggregate_member){c->id, c->resources, str_eq(c->id, sandbox_id)};
    }
    return members;
}

static struct cg_files read_files(const struct json_list *recorded, bool v2, struct arena *a)
{
    struct cg_files files = {0};

    for (size_t i = 0; i < recorded->count; i++) {
        const struct json_pair *pair = &JSON_AT(*recorded, struct json_pair, i);

        cg_files_add(a, &files, pair->key, pair->value, v2);
    }
    return files;
}

static void write_files(const struct cg_files *files, struct arena *a, struct json_list *ret)
{
    *ret = (struct json_list){0};
    for (size_t i = 0; i < files->count; i++)
        JSON_APPEND(a, *ret, struct json_pair) = (struct json_pair){
            .key = arena_strdup(a, files->items[i].file),
            .value = arena_strdup(a, files->items[i].text),
        };
}

static void add_recorded(const struct plan_basis *basis, const struct aggregate_member *members,
                         size_t count, struct arena *a, struct cg_files *ret)
{
    bool v2 = basis->facts->mode == CG_MODE_V2;
    struct plan_warnings ignored = {0};
    struct plan_limits limits;

    if (plan_limits(basis, members, count, a, &limits, &ignored, NULL) == 0)
        *ret = cg_files_unite(&limits.sandbox.files, ret, v2, a);
}

/* Some limits are a lone container's only, and there is one that others of its own hide. */
static struct cg_files guess_recorded(const struct plan_basis *basis, const struct record *r,
                                      struct arena *a)
{
    const struct aggregate_member *members = change_members(&r->containers, r->sandbox_id, a);
    struct settings settings = *basis->settings;
    struct plan_basis then = *basis;
    struct cg_files recorded = {0};

    /* The settings may have said so when they were set. */
    settings.resources = RESOURCES_AGGREGATE;
    then.settings = &settings;
    add_recorded(&then, members, r->containers.count, a, &recorded);
    for (size_t i = 0; i < r->containers.count; i++)
        add_recorded(&then, &members[i], 1, a, &recorded);
    return recorded;
}

/* record_read() has taken none that means nothing. */
static struct cg_dev_rules read_asked(const struct json_list *recorded, struct arena *a)
{
    const struct oci_resources words = {.devices = *recorded};
    struct cg_dev_rules rules;

    (void)device_list_own(&words, a, &rules, NULL);
    return rules;
}

struct plan_basis change_basis(const struct settings *settings, const struct facts *facts,
                               bool systemd, bool sandbox_cgroup_only, const struct record *r,
                               struct arena *a)
{
    bool v2 = facts->mode == CG_MODE_V2;
    struct plan_basis basis = {
        .settings = settings,
        .facts = facts,
        .systemd = systemd,
        .sandbox_cgroup_only = sandbox_cgroup_only,
        .may_keep_devices = r != NULL,
        .updated = r ? r->updated : NULL,
    };

    if (r)
        basis.asked = read_asked(&r->devices, a);
    if (r && r->schema.value == 1)
        basis.recorded = guess_recorded(&basis, r, a);
    else if (r)
        basis.recorded = read_files(&r->sandbox_files, v2, a);
    return basis;
}

int change_plan(const struct settings *settings, const struct cg_host *host, const struct record *r,
                const struct json_list *containers, struct arena *a, struct plan_basis *basis,
                struct plan_limits *limits, struct err *e)
{
    struct facts *facts = arena_alloc(a, sizeof *facts);
    struct plan_warnings ignored = {0};

    facts_gather(host->mode, settings, true, a, facts);
    *basis =
        change_basis(settings, facts, r->sandbox_unit != NULL, r->sandbox_cgroup_only.value, r, a);
    return plan_limits(basis, change_members(containers, r->sandbox_id, a), containers->count, a,
                       limits, &ignored, e);
}

static struct cg_files unite(const struct plan_basis *basis, const struct plan_limits *limits,
                             struct arena *a)
{
    return cg_files_unite(&basis->recorded, &limits->sandbox.files,
                          basis->facts->mode == CG_MODE_V2, a);
}

void change_note(const struct plan_basis *basis, const struct plan_limits *limits, struct arena *a,
                 struct record *r)
{
    const struct cg_files all = unite(basis, limits, a);

    write_files(&all, a, &r->sandbox_files);
}

bool change_settle(const struct plan_limits *limits, struct arena *a, struct record *r)
{
    write_files(&limits->sandbox.files, a, &r->sandbox_files);
    return limits->sandbox.resets.count > 0;
}

/* What the containers of @before are allowed. False: it cannot be derived any more. */
static bool allowed_before(const struct plan_basis *basis, const struct record *before,
                           struct arena *a, struct cg_dev_exceptions *ret)
{
    struct plan_warnings ignored = {0};
    struct plan_basis then = *basis;
    struct plan_limits limits;

    then.may_keep_devices = true;
    return plan_limits(&then, change_members(&before->containers, before->sandbox_id, a),
                       before->containers.count, a, &limits, &ignored, NULL) == 0 &&
           limits.sandbox.has_devices &&
           cg_dev_exceptions_make(&limits.sandbox.devices, a, ret, NULL) == 0;
}

static bool meets(const struct cg_dev_rule *rule, const struct cg_dev_entry *e)
{
    return (rule->type == 'a' || rule->type == e->type) &&
           (rule->major == e->major || rule->major == CG_DEV_ANY || e->major == CG_DEV_ANY) &&
           (rule->minor == e->minor || rule->minor == CG_DEV_ANY || e->minor == CG_DEV_ANY);
}

/* What was removed by hand nobody else has added: a verb may have been killed before it had denied it. Nor is a wider
 * rule of somebody else's kept, as within that nothing can be denied. */
static void leave_removed(const struct cg_dev_rules *asked, struct cg_dev_exceptions *in_force)
{
    for (size_t i = 0; i < asked->count; i++) {
        for (size_t k = 0; !asked->items[i].allow && k < in_force->count; k++) {
            if (meets(&asked->items[i], &in_force->exceptions[k]))
                in_force->exceptions[k].access &= (uint8_t)~asked->items[i].access;
        }
    }
}

/* Let @limits, whose list is @ours, keep what is in force by somebody else's word: @then is what the containers of
 * @before are allowed. */
static int keep_others(const struct plan_basis *basis, const struct record *before,
                       const struct cg_dev_exceptions *then, const struct cg_dev_exceptions *ours,
                       struct arena *a, struct plan_limits *limits, struct err *e)
{
    /* Of others it may be that a setup was killed before it put into force what it had recorded. */
    bool lone = before->containers.count == 1;
    struct cg_dev_rules rules;

    if (!device_list_adopt(limits->in_force, then, ours, lone, a, &rules))
        return 0;
    /* The last word is what was said by hand, whether that is in force by now or not. */
    for (size_t i = 0; i < basis->asked.count; i++)
        ARENA_APPEND(a, rules.items, rules.count) = basis->asked.items[i];
    return plan_set_devices(basis, &rules, a, limits, e);
}

int change_adopt(const struct plan_basis *basis, const struct record *before,
                 const struct cg_host *host, struct arena *a, struct plan_limits *limits,
                 struct err *e)
{
    struct cg_dev_exceptions *in_force = arena_alloc(a, sizeof *in_force), ours, then;
    int r;

    if (basis->facts->mode == CG_MODE_V2 || !limits->sandbox.has_devices || !before->made.value)
        return 0;
    r = cg_devices_read(host, before->sandbox_path, a, in_force, e);
    if (r <= 0)
        return r;
    leave_removed(&basis->asked, in_force);
    limits->in_force = in_force;
    r = cg_dev_exceptions_make(&limits->sandbox.devices, a, &ours, e);
    if (r < 0 || device_list_same(in_force, &ours) || !allowed_before(basis, before, a, &then))
        return r;
    return keep_others(basis, before, &then, &ours, a, limits, e);
}

int change_is_due(const struct plan_limits *limits, const struct record *r,
                  const struct cg_host *host, struct arena *a, struct err *e)
{
    struct cg_dev_exceptions in_force, wanted;
    int ret =
        host->mode == CG_MODE_V2 ? 0 : cg_devices_read(host, r->sandbox_path, a, &in_force, e);

    if (ret <= 0)
        return ret;
    ret = cg_dev_exceptions_make(&limits->sandbox.devices, a, &wanted, e);
    if (ret < 0 || in_force.allow_all || wanted.allow_all)
        return ret;
    return !device_list_same(&in_force, &wanted);
}

int change_apply(const struct plan_limits *limits, struct sandbox *s, struct err *e)
{
    autoarena a = ARENA_INIT;
    const struct cg_change change = plan_change(&limits->sandbox, &a);

    return cg_update(&s->home, &change, e);
}

/* The list of the containers of @before, and what others had added to it, or, of a lone container, taken away. */
static void go_back_to_others(const struct plan_basis *basis, const struct plan_limits *limits,
                              const struct record *before, struct arena *a, struct plan_limits *ret)
{
    struct cg_dev_exceptions own;

    ret->in_force = limits->in_force;
    if (ret->in_force && ret->sandbox.has_devices &&
        cg_dev_exceptions_make(&ret->sandbox.devices, a, &own, NULL) == 0)
        (void)keep_others(basis, before, &own, &own, a, ret, NULL);
}

bool change_back(const struct plan_basis *basis, const struct plan_limits *limits,
                 const struct record *before, struct arena *a, struct plan_limits *ret)
{
    struct plan_basis back = *basis;
    struct plan_warnings ignored = {0};

    back.may_keep_devices = true;
    back.recorded = unite(basis, limits, a);
    back.updated = before->updated;
    if (plan_limits(&back, change_members(&before->containers, before->sandbox_id, a),
                    before->containers.count, a, ret, &ignored, NULL) < 0)
        return false;
    /* A list that was left alone may have more in it, see change_adopt(). */
    if (!limits->sandbox.has_devices)
        plan_leave_devices(ret, a);
    go_back_to_others(&back, limits, before, a, ret);
    return true;
}

void change_take(struct record *r, struct record_container *c, const struct oci_resources *now,
                 uint64_t print, struct arena *a)
{
    bool later = !c->runtime_print.set || c->runtime_print.value != print;

    if (r->updated && later)
        r->updated = override_yield(r->updated, c->resources, now, a);
    c->resources = memcpy(arena_alloc(a, sizeof *now), now, sizeof *now);
}

bool change_revert(const struct plan_basis *basis, const struct plan_limits *limits,
                   const struct record *before, struct sandbox *s)
{
    autoarena a = ARENA_INIT;
    struct plan_limits old;

    if (!change_back(basis, limits, before, &a, &old))
        return false;
    const struct cg_change change = plan_change(&old.sandbox, &a);

    return cg_revert(&s->home, &change, NULL) == 0;
}
