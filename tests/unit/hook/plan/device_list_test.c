/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_list.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
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
