/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_list.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "oci/config.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct {
    const char *spec, *want;
} lists[] = {
    {"{}", ""},
    {"{'linux':{}}", ""},
    {"{'linux':{'resources':{}}}", ""},
    {"{'linux':{'resources':{'devices':[{'allow':false,'access':'rwm'}]}}}", "-a *:* rwm"},
    /* a node is no permission: neither alone, nor behind a rule on it, nor without numbers */
    {"{'linux':{'devices':[{'path':'/dev/a','type':'c','major':1,'minor':3}]}}", ""},
    {"{'linux':{'devices':[{'path':'/dev/a','type':'b','major':8,'minor':0}],"
     "'resources':{'devices':[{'allow':false,'access':'rwm'},"
     "{'allow':true,'type':'b','major':8,'minor':0,'access':'r'}]}}}",
     "-a *:* rwm, +b 8:0 r"},
    {"{'linux':{'devices':[{'path':'/dev/x','type':'c'},{'path':'/dev/u','type':'u'},"
     "{'path':'/dev/p','type':'p'},{'path':'/dev/n'}],"
     "'resources':{'devices':[{'allow':false,'access':'rwm'}]}}}",
     "-a *:* rwm"},
    /* no access is no bits, but for what denies all devices */
    {"{'linux':{'resources':{'devices':[{'allow':false},"
     "{'allow':true,'type':'c','major':10,'minor':229,'access':''},"
     "{'allow':true,'type':'c','major':10,'minor':229},{'allow':true},"
     "{'allow':true,'type':'b','access':''},"
     "{'allow':true,'type':'c','major':4,'minor':5,'access':'w'},"
     "{'allow':false,'type':'c','major':4,'minor':5,'access':''},"
     "{'allow':false,'type':'b'}]}}}",
     "-a *:* rwm, +c 4:5 w"},
    {"{'linux':{'resources':{'devices':[{'allow':true,'type':'c','access':'rw'},"
     "{'allow':false,'type':'a','access':''}]}}}",
     "+c *:* rw, -a *:* rwm"},
};

/* Which of them is meant, also behind those that say nothing. */
Test(device_list, refused)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules;
    struct err e = ERR_INIT;
    struct oci_resources *r =
        kit_resources(&a, "{'devices':[{'allow':true},{'allow':true,'access':'x'}]}");

    cr_expect_eq(device_list_own(r, &a, &rules, &e), -EINVAL);
    cr_expect(strstr(e.text, "linux.resources.devices[1].access: \"x\""), "%s", e.text);
}

Test(device_list, own)
{
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        autoarena a = ARENA_INIT;
        struct oci_config config = {0};
        struct cg_dev_rules rules;
        const char *got;

        kit_read_row(&a, lists[i].spec, &oci_config_table, &config);
        cr_assert_eq(
            device_list_own(config.linux_ ? config.linux_->resources : NULL, &a, &rules, NULL), 0);
        got = dev_rules_text(&a, &rules);
        cr_expect_str_eq(got, lists[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                         lists[i].spec, lists[i].want, got);
    }
}

static const struct {
    const char *text, *want; /* NULL: refused */
} extras[] = {
    {"b 7:* rwm", "+b 7:* rwm"},
    {"c 10:237 r", "+c 10:237 r"},
    {"c *:5 wm", "+c *:5 wm"},
    {"b 4294967295:4294967295 m", "+b 4294967295:4294967295 m"},
    {"/dev/kvm", NULL},
    {"", NULL},
    {"b", NULL},
    {"b 7:*", NULL},
    {"b 7:* ", NULL},
    {"b 7:* x", NULL},
    {"b 7:* rr", NULL},
    {"b 7:* rwm ", NULL},
    {"b 7:* rwmr", NULL},
    {"b 7 rwm", NULL},
    {"a 7:* rwm", NULL},
    {"u 7:1 rwm", NULL},
    {"b 7*:1 rwm", NULL},
    {"b 7:** rwm", NULL},
    {"b 4294967296:1 rwm", NULL},
    {"b 1:4294967296 rwm", NULL},
    {"b -1:1 rwm", NULL},
    {"+b 7:* rwm", NULL},
};

Test(device_list, extra)
{
    for (size_t i = 0; i < ARRAY_SIZE(extras); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = {0};
        struct cg_dev_rule rule;
        int r = device_list_parse_extra(extras[i].text, &rule);

        cr_expect_eq(r, extras[i].want ? 0 : -EINVAL, "%s: %d", extras[i].text, r);
        if (r == 0)
            cg_dev_rules_add(&a, &rules, rule);
        if (r == 0 && extras[i].want)
            cr_expect_str_eq(dev_rules_text(&a, &rules), extras[i].want);
    }
}

static const struct {
    const char *rules, *cgroupfs, *systemd;
} made[] = {
#define ALL_BUT_M "+c *:* m, +b *:* m, +c 136:* rwm, +c 10:200 rwm, +c 5:2 rwm"
    {"", ALL_BUT_M, ALL_BUT_M},
    /* the last one about the same devices counts, whatever is between them */
    {"{'allow':true,'type':'b','major':240,'access':'rwm'},"
     "{'allow':true,'type':'b','major':240,'minor':5,'access':'w'},"
     "{'allow':true,'type':'c','major':240,'access':'w'},"
     "{'allow':true,'type':'b','major':240,'access':'r'}",
     "+b 240:* rwm, +b 240:5 w, +c 240:* w, +b 240:* r, " ALL_BUT_M,
     "+b 240:5 w, +c 240:* w, +b 240:* r, " ALL_BUT_M},
    /* both types at once, of which one has a word of its own later; a denial is none about what is allowed */
    {"{'allow':false,'access':'rwm'},{'allow':true,'type':'a','major':9,'access':'rw'},"
     "{'allow':true,'type':'c','major':9,'access':'r'},"
     "{'allow':false,'type':'b','major':9,'access':'w'}",
     "-a *:* rwm, +a 9:* rw, +c 9:* r, -b 9:* w, " ALL_BUT_M,
     "-a *:* rwm, +b 9:* rw, +c 9:* r, -b 9:* w, " ALL_BUT_M},
    /* our defaults do not add to what config.json says of just these devices */
    {"{'allow':true,'type':'b','access':'r'},"
     "{'allow':true,'type':'c','major':10,'minor':200,'access':'r'},"
     "{'allow':true,'type':'c','major':136,'minor':1,'access':'r'}",
     "+b *:* r, +c 10:200 r, +c 136:1 r, " ALL_BUT_M,
     "+b *:* r, +c 10:200 r, +c 136:1 r, +c *:* m, +c 136:* rwm, +c 5:2 rwm"},
    /* all devices are allowed, and what is said behind that takes nothing away, unless it denies */
    {"{'allow':true,'access':'rwm'},{'allow':true,'type':'c','access':'m'}",
     "+a *:* rwm, " ALL_BUT_M, "+a *:* rwm, " ALL_BUT_M},
    {"{'allow':true,'type':'b','access':'rwm'},{'allow':true,'type':'c','access':'rwm'},"
     "{'allow':true,'type':'b','major':8,'access':'w'},{'allow':true,'type':'b','major':8,'access':"
     "'r'}",
     "+b *:* rwm, +c *:* rwm, +b 8:* w, +b 8:* r, " ALL_BUT_M,
     "+b *:* rwm, +c *:* rwm, +b 8:* w, +b 8:* r, " ALL_BUT_M},
    {"{'allow':true,'type':'a','access':'rwm'},{'allow':false,'type':'b','major':8,'access':'w'},"
     "{'allow':true,'type':'c','access':'r'}",
     "+a *:* rwm, -b 8:* w, +c *:* r, " ALL_BUT_M,
     "+b *:* rwm, -b 8:* w, +c *:* r, +c 136:* rwm, +c 10:200 rwm, +c 5:2 rwm"},
    {"{'allow':false,'type':'b','access':'rwm'}", "-b *:* rwm, " ALL_BUT_M,
     "-b *:* rwm, " ALL_BUT_M},
};

Test(device_list, made)
{
    static const struct facts facts;
    static const struct settings settings;

    for (size_t i = 0; i < 2 * ARRAY_SIZE(made); i++) {
        autoarena a = ARENA_INIT;
        bool systemd = i % 2;
        const char *want = systemd ? made[i / 2].systemd : made[i / 2].cgroupfs;
        struct oci_resources *r =
            kit_resources(&a, arena_printf(&a, "{'devices':[%s]}", made[i / 2].rules));
        struct cg_dev_rules rules;

        cr_assert_eq(device_list_make(r, &settings, &facts, systemd, &a, &rules, NULL, NULL), 0);
        cr_expect_str_eq(dev_rules_text(&a, &rules), want, "%s, systemd %d", made[i / 2].rules,
                         systemd);
    }
}

/* Devices that are there: the default ones give way, those of the VMM and extra ones do not. */
Test(device_list, nodes)
{
    struct device_node nodes[] = {{"/dev/null", true, 'c', 1, 3}, {"/dev/kvm", true, 'c', 10, 232}};
    const struct facts facts = {.nodes = nodes, .node_count = ARRAY_SIZE(nodes)};
    static char tun[] = "c 10:200 rwm";
    char *extra[] = {tun};
    const struct settings settings = {
        .virtualization_devices = true,
        .extra_devices = {.items = extra, .count = ARRAY_SIZE(extra)},
    };
    autoarena a = ARENA_INIT;
    struct oci_resources *r =
        kit_resources(&a, "{'devices':[{'allow':true,'type':'c','major':1,'minor':3,'access':'r'},"
                          "{'allow':true,'type':'c','major':10,'minor':232,'access':'r'},"
                          "{'allow':true,'type':'c','major':10,'minor':200,'access':'r'}]}");
    struct cg_dev_rules rules;

    cr_assert_eq(device_list_make(r, &settings, &facts, true, &a, &rules, NULL, NULL), 0);
    cr_expect_str_eq(dev_rules_text(&a, &rules),
                     "+c 1:3 r, +c 10:232 r, +c 10:200 r, +c 10:232 rwm, +c *:* m, +b *:* m, "
                     "+c 136:* rwm, +c 5:2 rwm, +c 10:200 rwm");
}

/* Lists that differ from the first in one thing each. */
static const char *const united[] = {
    "{'allow':true,'type':'c','major':9,'minor':3,'access':'r'}",
    "{'allow':true,'type':'c','major':9,'minor':3,'access':'rw'}",
    "{'allow':true,'type':'c','major':9,'minor':4,'access':'r'}",
    "{'allow':true,'type':'c','major':8,'minor':3,'access':'r'}",
    "{'allow':true,'type':'b','major':9,'minor':3,'access':'r'}",
    "{'allow':false,'type':'c','major':9,'minor':3,'access':'r'}",
    ("{'allow':true,'type':'c','major':9,'minor':3,'access':'r'},"
     "{'allow':true,'type':'c','major':9,'minor':5,'access':'r'}"),
};

/* The list of what these containers allow together. */
static char *unite(struct arena *a, const size_t *which, size_t count)
{
    static const struct facts facts;
    static const struct settings settings;
    struct aggregate_member members[3] = {0};
    struct cg_dev_table table;
    struct cg_dev_rules rules;

    for (size_t i = 0; i < count; i++)
        members[i].resources =
            kit_resources(a, arena_printf(a, "{'devices':[{'allow':false},%s]}", united[which[i]]));
    cr_assert_eq(device_list_unite(members, count, &settings, &facts, false, a, &table, NULL), 0);
    cg_dev_rules_of(&table, a, &rules);
    return dev_rules_text(a, &rules);
}

/* A container whose list is that of the one before it adds nothing, and each other one counts. */
Test(device_list, unite)
{
    for (size_t i = 0; i < ARRAY_SIZE(united); i++) {
        autoarena a = ARENA_INIT;
        char *alone = unite(&a, &i, 1), *first = unite(&a, (size_t[]){0}, 1);
        char *both = unite(&a, (size_t[]){0, i}, 2);

        cr_expect_str_eq(unite(&a, (size_t[]){i, i}, 2), alone);
        cr_expect_str_eq(unite(&a, (size_t[]){i, i, i}, 3), alone);
        cr_expect_str_eq(unite(&a, (size_t[]){i, 0}, 2), both);
        cr_expect_str_eq(unite(&a, (size_t[]){0, i, 0}, 3), both);
        cr_expect_str_eq(unite(&a, (size_t[]){0, 0, i}, 3), both);
        cr_expect_str_eq(unite(&a, (size_t[]){0, i, i}, 3), both);
        if (i > 0 && i != 5) /* that one denies what the first allows */
            cr_expect_str_neq(both, first);
        if (i != 0 && i != 1 && i != 6) /* these allow more than the first */
            cr_expect_str_neq(both, alone);
    }
}

static struct cg_dev_exceptions make_exceptions(struct arena *a, const char *text)
{
    struct cg_dev_rules rules = dev_make_rules(a, text);
    struct cg_dev_table table = dev_compile(a, &rules);
    struct cg_dev_exceptions ret;

    cr_assert_eq(cg_dev_exceptions_make(&table, a, &ret, NULL), 0, "%s", text);
    return ret;
}

/* What is in force counts, whatever config.json says; unless nobody has set anything. */
Test(device_list, take)
{
    static const struct {
        const char *in_force, *want; /* NULL: not known */
    } cases[] = {
        {NULL, "+b 8:0 r"},
        {"+a *:* rwm, -b 8:0 w", "+b 8:0 r"},
        {"+a *:* rwm", "-a *:* rwm, +b *:* rwm, +c *:* rwm"},
        {"", "-a *:* rwm"},
        {"+c 1:* rw, +b *:* m, +c 10:229 rw", "-a *:* rwm, +b *:* m, +c 1:* rw, +c 10:229 rw"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct oci_resources *config = kit_resources(
            &a, "{'pids':{'limit':5},'devices':[{'allow':true,'type':'b','major':8,'minor':0,"
                "'access':'r'}]}");
        struct cg_dev_exceptions in_force = {0};
        struct oci_resources *taken;
        struct cg_dev_rules rules;

        if (cases[i].in_force)
            in_force = make_exceptions(&a, cases[i].in_force);
        taken = device_list_take(config, cases[i].in_force ? &in_force : NULL, &a);
        cr_assert_eq(device_list_own(taken, &a, &rules, NULL), 0);
        cr_expect_str_eq(dev_rules_text(&a, &rules), cases[i].want);
        cr_expect_eq(taken->pids->limit.value, 5);
        cr_expect_eq(config->devices.count, 1);
    }
}

#define ALL_BUT_ONE "+a *:* rwm, -b 8:0 w"

Test(device_list, adopt)
{
    static const struct {
        const char *in_force, *before, *ours, *want; /* NULL: nothing to adopt */
        bool denials;
    } cases[] = {
        {"+c 1:3 rw", "+c 1:3 rw", "+c 1:3 rw", NULL, true},
        {"", "", "+c 1:3 rw", NULL, true},
        {"+c 1:3 rw, +b 8:0 r", "+c 1:3 rw, +b 8:0 r", "+c 1:3 rw", NULL, true}, /* one left */
        {"+c 1:3 rw", "+c 1:3 rw", "+c 1:3 r", NULL, true},
        /* more than before */
        {"+c 1:3 rw, +c 9:9 rw", "+c 1:3 rw", "+c 1:3 rw", "+c 1:3 rw, +c 9:9 rw", false},
        {"+c 1:3 rwm", "+c 1:3 r", "+c 1:3 rw", "+c 1:3 rw, +c 1:3 m", false},
        {"+c 9:9 rw", "", "", "+c 9:9 rw", true},
        {"+c 9:9 rw, +c 9:* r", "+c 9:* r", "+b 8:0 m", "+b 8:0 m, +c 9:9 rw", true},
        /* less than before */
        {"+c 1:3 r", "+c 1:3 rw", "+c 1:3 rw, +b 8:0 m", "+b 8:0 m, +c 1:3 r", true},
        {"+c 1:3 r", "+c 1:3 rw", "+c 1:3 rw, +b 8:0 m", NULL, false},
        {"", "+c 1:3 rw", "+c 1:3 rw", "", true},
        {"", "+c 1:3 r", "+c 1:3 rw", "+c 1:3 w", true},
        /* what cannot be seen */
        {ALL_BUT_ONE, "+c 1:3 rw", "+c 1:3 rw", NULL, true},
        {"+c 1:3 rw", ALL_BUT_ONE, "+c 1:3 r", NULL, true},
        {"+c 1:3 rw", "+c 1:3 r", ALL_BUT_ONE, NULL, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions in_force = make_exceptions(&a, cases[i].in_force),
                                 before = make_exceptions(&a, cases[i].before),
                                 ours = make_exceptions(&a, cases[i].ours);
        struct cg_dev_rules rules;
        bool differs = device_list_adopt(&in_force, &before, &ours, cases[i].denials, &a, &rules);

        cr_expect_eq(differs, cases[i].want != NULL, "row %zu: %d", i, differs);
        if (differs && cases[i].want)
            cr_expect_str_eq(dev_rules_text(&a, &rules), cases[i].want, "row %zu", i);
        cr_expect_eq(device_list_same(&in_force, &ours), str_eq(cases[i].in_force, cases[i].ours),
                     "row %zu", i);
    }
}
