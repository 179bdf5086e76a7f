/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `add-device` and `remove-device`: the device list of a sandbox by an administrator's word, which is recorded and
 * holds for as long as the sandbox does, whatever becomes of its containers.
 */

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/device_change.h"
#include "hook/sandbox/change.h"
#include "hook/tool/target.h"
#include "hook/tool/verbs.h"

#include <errno.h>
#include <stdio.h>

static int read_ask(const struct options *o, bool allow, struct device_ask *ret, struct err *e)
{
    const char *device = o->operands[1];
    struct device_node node = {0};
    int r = device[0] == '/' ? facts_look(device, &node) : 0;
    char shown[PATH_MAX];

    str_escape(device, shown, sizeof shown);
    if (r == -ENODEV)
        return err_input(e, "%s is no device", shown);
    if (r < 0)
        return err_sys(e, r, "cannot look at the device %s", shown);
    return device_ask_parse(allow, device, &node, o->operand_count > 2 ? o->operands[2] : NULL, ret,
                            e);
}

/* Where the list is not ours, or there is none. */
static int check_list(const struct target *t, struct err *e)
{
    char shown[300];

    str_escape(t->v.record.sandbox_id, shown, sizeof shown);
    if (t->s.is_nested)
        return err_input(e,
                         "sandbox \"%s\" has layout nested: its device rules are those that its "
                         "runtime has made, of which only the runtime can make others; name the "
                         "device in the container's configuration, or use layout sibling",
                         shown);
    if (t->v.host.mode != CG_MODE_V2 && !cg_host_find(&t->v.host, CG_CTL_DEVICES))
        return err_set(e, -EOPNOTSUPP,
                       "there is no devices hierarchy on this host, so nothing restricts devices");
    return 0;
}

/* The list that is in force, as a stage would find it. */
static int look(const struct target *t, const struct settings *settings, struct arena *a,
                struct plan_basis *basis, struct plan_limits *now, struct err *e)
{
    const struct record *r = &t->v.record;
    int ret = change_plan(settings, &t->v.host, r, &r->containers, a, basis, now, e);

    if (ret == 0)
        ret = change_adopt(basis, r, &t->v.host, a, now, e);
    if (ret == 0 && now->no_device_rules)
        return err_set(e, -EPERM, "%s", PLAN_NO_DEVICE_RULES);
    if (ret == 0 && !now->sandbox.has_devices)
        return err_set(e, -EOPNOTSUPP, "it is not known what is in force: %s", now->kept_devices);
    return ret;
}

/* What is recorded and not in force is a change, too. */
static int decide(const struct target *t, const struct plan_basis *basis,
                  const struct plan_limits *now, const struct device_ask *ask, struct arena *a,
                  struct device_change *ret, struct err *e)
{
    int r = device_change_decide(basis, now, ask, a, ret, e);

    if (r < 0)
        return r;
    r = change_is_due(now, &t->v.record, &t->v.host, a, e);
    if (r > 0)
        ret->changes = true;
    return r < 0 ? r : 0;
}

/* @undone  what is in force is what was */
static void take_back(struct target *t, const struct cg_dev_rule *rule, struct record *before,
                      bool undone, struct arena *a, struct err *e)
{
    if (undone && record_write(&t->v.lock, a, before, NULL) == 0)
        err_hint(e, "; the sandbox keeps the device list that it had");
    else
        err_hint(e,
                 "; it may be recorded, and then comes into force with the next container that "
                 "comes or goes, unless %s takes it back",
                 rule->allow ? "remove-device" : "add-device");
}

/* Recorded before it is in force; also where nothing changes by it now, as a container that allows the device too
 * may leave. */
static int put(struct target *t, const struct plan_basis *basis, const struct plan_limits *now,
               const struct device_change *change, struct arena *a, struct err *e)
{
    const struct cg_dev_rules asked = device_change_note(&basis->asked, &change->rule, a);
    struct record before = t->v.record;
    struct cg_dev_rules rules;
    int r;

    t->v.record.devices = device_list_words(&asked, a);
    r = record_write(&t->v.lock, a, &t->v.record, e);
    if (r < 0) {
        err_hint(e, "; the sandbox keeps the device list that it had");
        return r;
    }
    /* A list of v1 was read, so there is nothing to do; a program or property is made again where that is due. */
    if (!change->changes && basis->facts->mode != CG_MODE_V2)
        return 0;
    cg_dev_rules_of(&now->sandbox.devices, a, &rules);
    r = change->rule.allow ? cg_add_device(&t->s.home, &rules, change->rule, a, e)
                           : cg_remove_device(&t->s.home, &rules, change->rule, a, e);
    if (r < 0)
        take_back(t, &change->rule, &before,
                  cg_update_devices(&t->s.home, &now->sandbox.devices, a, NULL) == 0, a, e);
    return r;
}

static const char *wider_text(const struct device_change *c, char buf[static 48])
{
    return c->wider.access ? cg_dev_entry_text(&c->wider, c->wider.access, buf) : NULL;
}

static void say_json(const struct target *t, const struct device_change *c)
{
    struct json_writer *w = target_answer(t);
    char own[48], wide[48], left[4];

    json_string(w, "device", cg_dev_rule_text(&c->rule, own));
    json_bool(w, "allowed", c->rule.allow);
    json_bool(w, "changed", c->changes);
    json_string(w, "left", cg_dev_access_text(c->left, left));
    json_string(w, "wider_rule", wider_text(c, wide));
    json_close_object(w);
    view_print(w);
}

static void say(const struct options *o, const struct target *t, const struct device_change *c)
{
    char own[48], wide[48], left[4], shown[300];
    const char *by = wider_text(c, wide);

    if (o->json) {
        say_json(t, c);
        return;
    }
    printf("%s: %s %s%s", str_escape(t->v.record.sandbox_id, shown, sizeof shown),
           cg_dev_rule_text(&c->rule, own), c->changes ? "" : "was already ",
           c->rule.allow ? "allowed" : "denied");
    if (by && c->left)
        printf(", %s still allowed by \"%s\"", cg_dev_access_text(c->left, left), by);
    else if (by)
        printf(" by \"%s\"", by);
    printf(",");
    target_print(t);
}

static int change(const struct options *o, const struct settings *settings, bool allow,
                  struct arena *a, struct err *e)
{
    struct device_change change;
    struct plan_basis basis;
    struct plan_limits now;
    struct device_ask ask;
    struct target t;
    int r = read_ask(o, allow, &ask, e);

    if (r < 0)
        return r;
    r = target_open(o, a, &t, e);
    if (r == 0)
        r = check_list(&t, e);
    if (r == 0)
        r = look(&t, settings, a, &basis, &now, e);
    if (r == 0)
        r = decide(&t, &basis, &now, &ask, a, &change, e);
    if (r == 0)
        r = put(&t, &basis, &now, &change, a, e);
    if (r == 0)
        say(o, &t, &change);
    target_close(&t);
    return r;
}

int verb_add_device(const struct options *o, const struct settings *settings, struct arena *a,
                    struct err *e)
{
    return change(o, settings, true, a, e);
}

int verb_remove_device(const struct options *o, const struct settings *settings, struct arena *a,
                       struct err *e)
{
    return change(o, settings, false, a, e);
}
