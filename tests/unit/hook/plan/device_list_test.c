/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/device_list.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "oci/config.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <inttypes.h>

static void rules_text(const struct oci_resources *r, struct sbuf *out)
{
    for (size_t i = 0; i < r->devices.count; i++) {
        const struct oci_device_rule *rule = &JSON_AT(r->devices, struct oci_device_rule, i);

        sbuf_addf(out, "%s%c%s", i ? ", " : "", rule->allow.value ? '+' : '-',
                  rule->type ? rule->type : "?");
        if (rule->major.set)
            sbuf_addf(out, " %" PRId64, rule->major.value);
        if (rule->minor.set)
            sbuf_addf(out, ":%" PRId64, rule->minor.value);
        if (rule->access)
            sbuf_addf(out, " %s", rule->access);
    }
}

static const struct {
    const char *spec, *want;
} folds[] = {
    {"{}", ""},
    {"{'linux':{}}", ""},
    {"{'linux':{'resources':{}}}", ""},
    {"{'linux':{'resources':{'devices':[{'allow':false,'access':'rwm'}]}}}", "-? rwm"},
    {"{'linux':{'devices':[{'path':'/dev/a','type':'c','major':1,'minor':3}]}}", "+c 1:3"},
    {"{'linux':{'devices':[{'path':'/dev/a','type':'b','major':8,'minor':0}]}}", "+b 8:0"},
    /* an unbuffered character device; a fifo has no device; a node without a type is none */
    {"{'linux':{'devices':[{'path':'/dev/a','type':'u','major':1,'minor':4},"
     "{'path':'/dev/f','type':'p'},{'path':'/dev/n','major':1,'minor':5},"
     "{'path':'/dev/b','type':'c','major':1,'minor':7}]}}",
     "+c 1:4, +c 1:7"},
    /* rules first, nodes behind them: a node must win over "deny all" */
    {"{'linux':{'resources':{'devices':[{'allow':false,'access':'rwm'},"
     "{'allow':true,'type':'c','major':1,'access':'r'}]},"
     "'devices':[{'path':'/dev/a','type':'c','major':1,'minor':3},"
     "{'path':'/dev/b','type':'b','major':8,'minor':1}]}}",
     "-? rwm, +c 1 r, +c 1:3, +b 8:1"},
};

Test(device_list, fold)
{
    for (size_t i = 0; i < ARRAY_SIZE(folds); i++) {
        autoarena a = ARENA_INIT;
        autosbuf got = SBUF_INIT;
        struct oci_config config = {0};

        kit_read_row(&a, folds[i].spec, &oci_config_table, &config);
        rules_text(device_list_fold(config.linux_, &a), &got);
        cr_expect_str_eq(sbuf_text(&got), folds[i].want, "input:    %s\nexpected: %s\ngot:      %s",
                         folds[i].spec, folds[i].want, sbuf_text(&got));
    }
}

/* The other members come along, and the spec stays as it was. */
Test(device_list, fold_copies)
{
    autoarena a = ARENA_INIT;
    autosbuf before = SBUF_INIT, after = SBUF_INIT;
    struct oci_config config = {0};
    const struct oci_resources *spec, *folded;

    kit_read_row(&a,
                 "{'linux':{'resources':{'devices':[{'allow':false}],'cpu':{'shares':5},"
                 "'memory':{'limit':6},'pids':{'limit':7},'unified':{'cpu.max':'max'}},"
                 "'devices':[{'path':'/dev/a','type':'c','major':1,'minor':3}]}}",
                 &oci_config_table, &config);
    spec = config.linux_->resources;
    rules_text(spec, &before);
    folded = device_list_fold(config.linux_, &a);
    rules_text(spec, &after);
    cr_expect_neq(folded, spec);
    cr_expect_str_eq(sbuf_text(&after), sbuf_text(&before));
    cr_expect_eq(folded->devices.count, 2);
    cr_expect_eq(folded->cpu, spec->cpu);
    cr_expect_eq(folded->memory, spec->memory);
    cr_expect_eq(folded->pids, spec->pids);
    cr_expect_eq(folded->unified.count, 1);
}
