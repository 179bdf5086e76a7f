/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_change.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>

static int parse_rule(const char *text, const char *access, struct device_ask *ret, struct err *e)
{
    char shown[128];
    bool allow = ret->rule.allow;

    str_escape(text, shown, sizeof shown);
    if (device_list_parse_extra(text, &ret->rule) < 0)
        return err_input(
            e,
            "\"%s\" is neither an absolute path nor a rule as \"c 10:232 rwm\", with a "
            "type of b or c, and * for any number",
            shown);
    if (access)
        return err_input(e, "\"%s\" names its access already", shown);
    ret->rule.allow = allow;
    return 0;
}

int device_ask_parse(bool allow, const char *device, const struct device_node *node,
                     const char *access, struct device_ask *ret, struct err *e)
{
    char shown[64];

    *ret = (struct device_ask){.rule = {.allow = allow, .access = CG_DEV_RWM}};
    if (device[0] != '/')
        return parse_rule(device, access, ret, e);
    ret->rule.type = node->type;
    ret->rule.major = node->major;
    ret->rule.minor = node->minor;
    ret->any_access = !access;
    if (access && cg_dev_access_parse(access, &ret->rule.access) < 0)
        return err_input(e, "access \"%s\" is not made of r, w, m",
                         str_escape(access, shown, sizeof shown));
    return 0;
}

static bool covers(const struct cg_dev_rule *wide, char type, int64_t major, int64_t minor)
{
    return wide->type == type && (wide->major == CG_DEV_ANY || wide->major == major) &&
           (wide->minor == CG_DEV_ANY || wide->minor == minor);
}

/* The narrowest class around the rule's own that allows some of these bits; access 0: there is none. */
static struct cg_dev_entry find_wider(const struct cg_dev_table *t, const struct cg_dev_rule *rule,
                                      uint8_t access)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct cg_dev_entry *e = &t->items[i];
        const struct cg_dev_rule class = {.type = e->type, .major = e->major, .minor = e->minor};

        if (e->access & access && covers(&class, rule->type, rule->major, rule->minor) &&
            (e->major != rule->major || e->minor != rule->minor))
            return *e;
    }
    return (struct cg_dev_entry){0};
}

static bool has_own(const struct cg_dev_table *t, const struct cg_dev_rule *rule)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].type == rule->type && t->items[i].major == rule->major &&
            t->items[i].minor == rule->minor)
            return true;
    }
    return false;
}

static bool is_same(const struct cg_dev_table *one, const struct cg_dev_table *other)
{
    bool same = one->count == other->count;

    for (size_t i = 0; same && i < one->count; i++)
        same = cg_dev_entry_compare(&one->items[i], &other->items[i]) == 0 &&
               one->items[i].access == other->items[i].access;
    return same;
}

/*
 * With the rule behind what is in force. A v1 list that allows all but some cannot be changed while it holds
 * somebody: it is written anew, and for an instant allows everything.
 */
static int try_rule(const struct plan_basis *basis, const struct plan_limits *now,
                    const struct cg_dev_rule *rule, struct arena *a, bool *changes, struct err *e)
{
    struct plan_limits after = *now;
    struct cg_dev_exceptions form = {0};
    struct cg_dev_rules rules;
    int r;

    cg_dev_rules_of(&now->sandbox.devices, a, &rules);
    ARENA_APPEND(a, rules.items, rules.count) = *rule;
    r = plan_set_devices(basis, &rules, a, &after, e);
    *changes = r == 0 && !is_same(&now->sandbox.devices, &after.sandbox.devices);
    if (*changes && basis->facts->mode != CG_MODE_V2)
        r = cg_dev_exceptions_make(&after.sandbox.devices, a, &form, e);
    return r == 0 && form.allow_all
               ? err_set(e, -ENOTSUP,
                         "a list of cgroup v1 that allows all devices but some would "
                         "have to be written anew")
               : r;
}

static int refuse(const struct cg_dev_rule *rule, const struct cg_dev_entry *wider,
                  const struct err *why, struct err *e)
{
    char own[48], wide[48];

    cg_dev_rule_text(rule, own);
    if (rule->allow || !wider->access)
        return err_input(e, "\"%s\" cannot be %s: %s", own, rule->allow ? "added" : "removed",
                         why->text);
    return err_input(e, "\"%s\" is a part of the wider rule \"%s\" and cannot be taken from it: %s",
                     own, cg_dev_entry_text(wider, wider->access, wide), why->text);
}

int device_change_decide(const struct plan_basis *basis, const struct plan_limits *now,
                         const struct device_ask *ask, struct arena *a, struct device_change *ret,
                         struct err *e)
{
    const struct cg_dev_table *table = &now->sandbox.devices;
    const uint8_t access = ask->rule.access;
    struct err why = ERR_INIT;
    int r;

    *ret = (struct device_change){.rule = ask->rule};
    ret->wider = find_wider(table, &ask->rule, access);
    r = try_rule(basis, now, &ret->rule, a, &ret->changes, &why);
    if (r == -ENOTSUP && ask->any_access && !ask->rule.allow &&
        !find_wider(table, &ask->rule, CG_DEV_R | CG_DEV_W).access) {
        ret->left = CG_DEV_M;
        ret->rule.access = access & (uint8_t)~CG_DEV_M;
        r = try_rule(basis, now, &ret->rule, a, &ret->changes, NULL);
    }
    if (r == -ENOTSUP)
        return refuse(&ask->rule, &ret->wider, &why, e);
    if (r < 0)
        return err_set(e, r, "%s", why.text);
    if (ask->rule.allow ? ret->changes || has_own(table, &ask->rule) : !ret->left)
        ret->wider.access = 0;
    return 0;
}

struct cg_dev_rules device_change_note(const struct cg_dev_rules *asked,
                                       const struct cg_dev_rule *rule, struct arena *a)
{
    struct cg_dev_rules ret = {0};

    for (size_t i = 0; i < asked->count; i++) {
        struct cg_dev_rule old = asked->items[i];

        if (covers(rule, old.type, old.major, old.minor))
            old.access &= (uint8_t)~rule->access;
        if (old.access)
            ARENA_APPEND(a, ret.items, ret.count) = old;
    }
    ARENA_APPEND(a, ret.items, ret.count) = *rule;
    return ret;
}
