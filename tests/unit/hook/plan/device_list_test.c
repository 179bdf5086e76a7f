/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_list.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "oci/config.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>

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
};

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
