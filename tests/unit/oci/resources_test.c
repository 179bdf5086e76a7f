/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/resources.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/json_kit.h"

#include <criterion/criterion.h>

static const char every_resource[] =
    "{\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":2,"
    "\"access\":\"rw\"}],"
    "\"cpu\":{\"shares\":3,\"quota\":4,\"burst\":5,\"period\":6,\"realtimeRuntime\":7,"
    "\"realtimePeriod\":8,\"cpus\":\"0-1\",\"mems\":\"2\",\"idle\":9},"
    "\"memory\":{\"limit\":10,\"reservation\":11,\"swap\":12,\"kernel\":13,\"kernelTCP\":14,"
    "\"swappiness\":15,\"disableOOMKiller\":true},"
    "\"pids\":{\"limit\":16},"
    "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":17}],"
    "\"blockIO\":{\"weight\":18,\"leafWeight\":19,"
    "\"weightDevice\":[{\"major\":20,\"minor\":21,\"weight\":22,\"leafWeight\":23}],"
    "\"throttleReadBpsDevice\":[{\"major\":24,\"minor\":25,\"rate\":26}],"
    "\"throttleWriteBpsDevice\":[{\"major\":27,\"minor\":28,\"rate\":29}],"
    "\"throttleReadIOPSDevice\":[{\"major\":30,\"minor\":31,\"rate\":32}],"
    "\"throttleWriteIOPSDevice\":[{\"major\":33,\"minor\":34,\"rate\":35}]},"
    "\"network\":{\"classID\":36,\"priorities\":[{\"name\":\"eth0\",\"priority\":37}]},"
    "\"unified\":{\"memory.high\":\"38\",\"io.max\":\"8:0 rbps=39\"}}";

static int read_resources(const char *text, struct oci_resources *ret, struct arena *a,
                          struct err *e)
{
    struct json_doc doc = {.table = &oci_resources_table, .dest = ret};

    return json_read_text(text, strlen(text), &doc, 1, 0, "resources", a, e);
}

static void expect_throttle(const struct json_list *list, int first)
{
    const struct oci_throttle_device *d = &JSON_AT(*list, struct oci_throttle_device, 0);

    cr_assert_eq(list->count, 1);
    KIT_EXPECT_NUMBER(d->major, first);
    KIT_EXPECT_NUMBER(d->minor, first + 1);
    KIT_EXPECT_NUMBER(d->rate, first + 2);
}

Test(oci_resources, members)
{
    autoarena a = ARENA_INIT;
    struct oci_resources res = {0};
    struct err e = ERR_INIT;
    const struct oci_device_rule *rule;
    const struct oci_weight_device *weight;

    cr_assert_eq(read_resources(every_resource, &res, &a, &e), 1, "%s", e.text);
    cr_assert_eq(res.devices.count, 2);
    rule = &JSON_AT(res.devices, struct oci_device_rule, 0);
    cr_expect(rule->allow.set && !rule->allow.value && !rule->type && !rule->access);
    cr_expect(!rule->major.set && !rule->minor.set);
    rule = &JSON_AT(res.devices, struct oci_device_rule, 1);
    cr_expect(rule->allow.set && rule->allow.value);
    cr_expect_str_eq(rule->type, "c");
    cr_expect_str_eq(rule->access, "rw");
    KIT_EXPECT_NUMBER(rule->major, 1);
    KIT_EXPECT_NUMBER(rule->minor, 2);
    KIT_EXPECT_NUMBER(res.cpu->shares, 3);
    KIT_EXPECT_NUMBER(res.cpu->quota, 4);
    KIT_EXPECT_NUMBER(res.cpu->burst, 5);
    KIT_EXPECT_NUMBER(res.cpu->period, 6);
    KIT_EXPECT_NUMBER(res.cpu->rt_runtime, 7);
    KIT_EXPECT_NUMBER(res.cpu->rt_period, 8);
    cr_expect_str_eq(res.cpu->cpus, "0-1");
    cr_expect_str_eq(res.cpu->mems, "2");
    KIT_EXPECT_NUMBER(res.cpu->idle, 9);
    KIT_EXPECT_NUMBER(res.memory->limit, 10);
    KIT_EXPECT_NUMBER(res.memory->reservation, 11);
    KIT_EXPECT_NUMBER(res.memory->swap, 12);
    KIT_EXPECT_NUMBER(res.memory->kernel, 13);
    KIT_EXPECT_NUMBER(res.memory->kernel_tcp, 14);
    KIT_EXPECT_NUMBER(res.memory->swappiness, 15);
    cr_expect(res.memory->disable_oom_killer.set && res.memory->disable_oom_killer.value);
    KIT_EXPECT_NUMBER(res.pids->limit, 16);
    cr_assert_eq(res.hugepages.count, 1);
    cr_expect_str_eq(JSON_AT(res.hugepages, struct oci_hugepage_limit, 0).page_size, "2MB");
    KIT_EXPECT_NUMBER(JSON_AT(res.hugepages, struct oci_hugepage_limit, 0).limit, 17);
    KIT_EXPECT_NUMBER(res.block_io->weight, 18);
    KIT_EXPECT_NUMBER(res.block_io->leaf_weight, 19);
    cr_assert_eq(res.block_io->weight_device.count, 1);
    weight = &JSON_AT(res.block_io->weight_device, struct oci_weight_device, 0);
    KIT_EXPECT_NUMBER(weight->major, 20);
    KIT_EXPECT_NUMBER(weight->minor, 21);
    KIT_EXPECT_NUMBER(weight->weight, 22);
    KIT_EXPECT_NUMBER(weight->leaf_weight, 23);
    expect_throttle(&res.block_io->read_bps, 24);
    expect_throttle(&res.block_io->write_bps, 27);
    expect_throttle(&res.block_io->read_iops, 30);
    expect_throttle(&res.block_io->write_iops, 33);
    KIT_EXPECT_NUMBER(res.network->class_id, 36);
    cr_assert_eq(res.network->priorities.count, 1);
    cr_expect_str_eq(JSON_AT(res.network->priorities, struct oci_priority, 0).name, "eth0");
    KIT_EXPECT_NUMBER(JSON_AT(res.network->priorities, struct oci_priority, 0).priority, 37);
    cr_assert_eq(res.unified.count, 2);
    cr_expect_str_eq(JSON_AT(res.unified, struct json_pair, 0).key, "memory.high");
    cr_expect_str_eq(JSON_AT(res.unified, struct json_pair, 1).value, "8:0 rbps=39");
}

Test(oci_resources, round_trip)
{
    static const char *const cases[] = {"{}", every_resource,
                                        "{\"cpu\":{},\"memory\":{},\"pids\":{},\"blockIO\":{},"
                                        "\"network\":{}}"};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct json_writer *w = json_writer_new(false);
        struct oci_resources res = {0};
        struct err e = ERR_INIT;

        cr_assert_eq(read_resources(cases[i], &res, &a, &e), 1, "%s", e.text);
        json_write_table(w, NULL, &oci_resources_table, &res);
        cr_expect_str_eq(json_writer_text(w, NULL), cases[i]);
        json_writer_free(w);
    }
}

Test(oci_resources, ten_thousand_device_rules, .timeout = 120)
{
    enum { COUNT = 10000 };
    autoarena a = ARENA_INIT;
    autosbuf input = SBUF_INIT;
    struct oci_resources res = {0};
    struct err e = ERR_INIT;

    sbuf_addf(&input, "{\"devices\":[");
    for (int i = 0; i < COUNT; i++)
        sbuf_addf(&input, "%s{\"allow\":%s,\"type\":\"c\",\"major\":%d,\"access\":\"rwm\"}",
                  i > 0 ? "," : "", i % 3 ? "true" : "false", i);
    sbuf_addf(&input, "]}");
    cr_assert_eq(read_resources(input.text, &res, &a, &e), 1, "%s", e.text);
    cr_assert_eq(res.devices.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        const struct oci_device_rule *rule = &JSON_AT(res.devices, struct oci_device_rule, i);

        cr_assert(rule->major.value == i && rule->allow.value == (i % 3 != 0) && !rule->minor.set,
                  "rule %d", i);
    }
}
