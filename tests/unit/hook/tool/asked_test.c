/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/asked.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "hook/plan/aggregate.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(asked, .fini = drop_arena);

/* --- documents --- */

/* @want is what is asked, or a part of the message. */
static const struct {
    const char *document, *cpus, *mems;
    int r;
    const char *want;
} documents[] = {
    {NULL, NULL, NULL, 0, "nothing"},
    {NULL, "0-1", NULL, 0, "{\"cpu\":{\"cpus\":\"0-1\"}}"},
    {NULL, "0", "1", 0, "{\"cpu\":{\"cpus\":\"0\",\"mems\":\"1\"}}"},
    {"{}", NULL, NULL, 0, "{\"cpu\":{}}"},
    {"{'pids':{'limit':5}}", NULL, "0", 0, "{\"cpu\":{\"mems\":\"0\"},\"pids\":{\"limit\":5}}"},
    {"{'cpu':{'cpus':''}}", "3", NULL, 0, "{\"cpu\":{\"cpus\":\"3\"}}"},
    {"{'cpu':{'cpus':'3'}}", "3", NULL, -EINVAL, "--cpus and the document's cpu.cpus"},
    {"{'cpu':{'mems':'3'}}", NULL, "2", -EINVAL, "--mems and the document's cpu.mems"},
    {"", NULL, NULL, -EINVAL, "is empty"},
    {"{'cpu':{'cpus':'1-'}}", NULL, NULL, -EINVAL, "cpu.cpus: \"1-\" is not a list"},
    {"{'cpu':{'mems':'x\\u001b'}}", NULL, NULL, -EINVAL, "cpu.mems: \"x\\x1b\" is not a list"},
    {"{'cpus':'0'}", NULL, NULL, -EINVAL, "cpus"},
    {"{'pids':{'limt':5}}", NULL, NULL, -EINVAL, "limt"},
    {"{'pids':{'limit':5}} {}", NULL, NULL, -EINVAL, ""},
    {"{'devices':[{'allow':false}]}", NULL, NULL, -EINVAL, "devices: update does not set"},
    {"{'hugepageLimits':[{'pageSize':'2MB','limit':1}]}", NULL, NULL, -EINVAL, "hugepageLimits: "},
    {"{'blockIO':{'weight':10}}", NULL, NULL, -EINVAL, "blockIO: "},
    {"{'blockIO':{'leafWeight':10}}", NULL, NULL, -EINVAL, "blockIO: "},
    {"{'blockIO':{'throttleWriteBpsDevice':[{'major':8,'minor':0,'rate':1}]}}", NULL, NULL, -EINVAL,
     "blockIO: "},
    {"{'network':{'classID':1}}", NULL, NULL, -EINVAL, "network: "},
    {"{'unified':{'pids.max':'1'}}", NULL, NULL, -EINVAL, "unified: "},
    {"{'cpu':{'realtimeRuntime':1}}", NULL, NULL, -EINVAL, "cpu.realtimeRuntime: "},
    {"{'cpu':{'realtimePeriod':1}}", NULL, NULL, -EINVAL, "cpu.realtimePeriod: "},
    {"{'memory':{'kernel':1}}", NULL, NULL, -EINVAL, "memory.kernel: "},
    {"{'memory':{'kernelTCP':1}}", NULL, NULL, -EINVAL, "memory.kernelTCP: "},
    {"{'memory':{'swappiness':1}}", NULL, NULL, -EINVAL, "memory.swappiness: "},
    {"{'memory':{'disableOOMKiller':true}}", NULL, NULL, -EINVAL, "memory.disableOOMKiller: "},
    /* a template of everything */
    {"{'cpu':{'realtimeRuntime':0,'realtimePeriod':0,'cpus':''},'memory':{'kernel':0,'kernelTCP':0,"
     "'swappiness':0,'disableOOMKiller':false},'blockIO':{'weight':0,'weightDevice':[]},"
     "'devices':[],'unified':{}}",
     NULL, NULL, 0, "\"blockIO\""},
};

/* A file with it, whose name is in @path. */
static void write_document(const char *text, char *path)
{
    const char *json = kit_json(&arena, text);
    autofd fd = mkstemp(path);

    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, json, strlen(json)), (ssize_t)strlen(json));
}

Test(asked, documents)
{
    for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
        char path[] = "/tmp/asked-test-XXXXXX";
        struct options o = {.cpus = documents[i].cpus, .mems = documents[i].mems};
        struct oci_resources *r;
        struct err e = ERR_INIT;
        int ret;

        if (documents[i].document) {
            write_document(documents[i].document, path);
            o.resources = path;
        }
        ret = asked_read(&o, &arena, &r, &e);
        unlink(path);
        cr_expect_eq(ret, documents[i].r, "%zu: %d, %s", i, ret, e.text);
        cr_expect_eq(e.bad_input, documents[i].r == -EINVAL, "%zu", i);
        if (ret < 0)
            cr_expect(strstr(e.text, documents[i].want) &&
                          strstr(e.text, path) == (strstr(e.text, "--") ? NULL : e.text),
                      "%zu: expected \"%s\", and the file first: %s", i, documents[i].want, e.text);
        else
            cr_expect(strstr(kit_resources_text(&arena, r), documents[i].want),
                      "%zu: expected %s\ngot      %s", i, documents[i].want,
                      kit_resources_text(&arena, r));
    }
}

Test(asked, a_file_that_is_not_there)
{
    const struct options o = {.resources = "/tmp/asked-test-none"};
    struct oci_resources *r;
    struct err e = ERR_INIT;

    cr_expect_eq(asked_read(&o, &arena, &r, &e), -ENOENT);
    cr_expect(strstr(e.text, "cannot open /tmp/asked-test-none"), "%s", e.text);
    cr_expect_not(e.bad_input);
}

/* --- what is not said of a pair --- */

static const struct {
    const char *name, *now, *before, *asked;
    const char *want; /* a document, or why it is refused */
} added[] = {
    {"a quota, with the period that there is", "{'cpu':{'quota':1,'period':50000}}", NULL,
     "{'cpu':{'quota':5000}}",
     "{\"cpu\":{\"quota\":5000,\"period\":50000},\"memory\":{},\"pids\":{}}"},
    {"a quota, with the usual period", "{}", NULL, "{'cpu':{'quota':5000}}",
     "{\"cpu\":{\"quota\":5000,\"period\":100000},\"memory\":{},\"pids\":{}}"},
    {"a period, with the quota that there is", "{'cpu':{'quota':7000}}", NULL,
     "{'cpu':{'period':5000}}",
     "{\"cpu\":{\"quota\":7000,\"period\":5000},\"memory\":{},\"pids\":{}}"},
    {"a period, without a quota", "{}", NULL, "{'cpu':{'period':5000}}",
     "{\"cpu\":{\"quota\":-1,\"period\":5000},\"memory\":{},\"pids\":{}}"},
    {"both", "{'cpu':{'quota':1,'period':2}}", NULL, "{'cpu':{'quota':3,'period':4}}",
     "{\"cpu\":{\"quota\":3,\"period\":4},\"memory\":{},\"pids\":{}}"},
    {"a quota after both", "{'cpu':{'quota':1,'period':2}}", "{'cpu':{'quota':3,'period':4}}",
     "{'cpu':{'quota':5}}", "{\"cpu\":{\"quota\":5,\"period\":4},\"memory\":{},\"pids\":{}}"},
    {"memory, and swap that there is", "{'memory':{'limit':1,'swap':9}}", NULL,
     "{'memory':{'limit':5}}", "{\"cpu\":{},\"memory\":{\"limit\":5,\"swap\":9},\"pids\":{}}"},
    {"memory, and any amount of swap", "{'memory':{'limit':1}}", NULL, "{'memory':{'limit':5}}",
     "{\"cpu\":{},\"memory\":{\"limit\":5,\"swap\":-1},\"pids\":{}}"},
    {"no limit of memory is none of swap", "{'memory':{'limit':1,'swap':9}}",
     "{'memory':{'limit':3,'swap':4}}", "{'memory':{'limit':-1}}",
     "{\"cpu\":{},\"memory\":{\"limit\":-1,\"swap\":-1},\"pids\":{}}"},
    {"but by word", "{'memory':{'limit':1,'swap':9}}", NULL, "{'memory':{'limit':-1,'swap':7}}",
     "{\"cpu\":{},\"memory\":{\"limit\":-1,\"swap\":7},\"pids\":{}}"},
    {"swap, with the memory that there is", "{'memory':{'limit':3}}", NULL, "{'memory':{'swap':5}}",
     "{\"cpu\":{},\"memory\":{\"limit\":3,\"swap\":5},\"pids\":{}}"},
    {"any amount of swap", "{}", NULL, "{'memory':{'swap':-1}}",
     "{\"cpu\":{},\"memory\":{\"swap\":-1},\"pids\":{}}"},
    {"swap without memory", "{}", NULL, "{'memory':{'swap':5}}",
     "memory.swap: the sandbox has no limit of memory; name memory.limit, too"},
    {"swap without a limit of memory", "{'memory':{'limit':-1}}", NULL, "{'memory':{'swap':5}}",
     "memory.swap: the sandbox has no limit of memory; name memory.limit, too"},
    {"more memory than with swap", "{'memory':{'limit':1,'swap':9}}", NULL,
     "{'memory':{'limit':10}}",
     "memory.limit: is more than the sandbox's limit of memory and swap together, 9; name "
     "memory.swap, too"},
    {"as much memory as with swap", "{'memory':{'limit':1,'swap':9}}", NULL,
     "{'memory':{'limit':9}}", "{\"cpu\":{},\"memory\":{\"limit\":9,\"swap\":9},\"pids\":{}}"},
    {"more than what was set with swap", "{'memory':{'limit':3,'swap':20}}",
     "{'memory':{'limit':3,'swap':4}}", "{'memory':{'limit':10}}",
     "memory.limit: is more than the sandbox's limit of memory and swap together, 4; name "
     "memory.swap, too"},
    {"more than with swap by word, which the kernel may judge", "{}", NULL,
     "{'memory':{'limit':5,'swap':4}}",
     "{\"cpu\":{},\"memory\":{\"limit\":5,\"swap\":4},\"pids\":{}}"},
    {"nothing of a pair", "{'memory':{'limit':1},'cpu':{'quota':5}}", "{'cpu':{'cpus':'0'}}",
     "{'pids':{'limit':5}}", "{\"cpu\":{\"cpus\":\"0\"},\"memory\":{},\"pids\":{\"limit\":5}}"},
};

Test(asked, added)
{
    for (size_t i = 0; i < ARRAY_SIZE(added); i++) {
        struct oci_resources *before =
            added[i].before ? kit_resources(&arena, added[i].before) : NULL;
        struct oci_resources *set;
        struct cg_limits now;
        struct err e = ERR_INIT;
        bool refused = added[i].want[0] != '{';
        int r;

        aggregate_container(kit_resources(&arena, added[i].now), &arena, &now);
        r = asked_add(before, kit_resources(&arena, added[i].asked), &now, &arena, &set, &e);
        cr_expect_eq(r, refused ? -EINVAL : 0, "%s: %d, %s", added[i].name, r, e.text);
        cr_expect_eq(e.bad_input, refused, "%s", added[i].name);
        if (refused)
            cr_expect_str_eq(e.text, added[i].want);
        else
            cr_expect_str_eq(kit_resources_text(&arena, set), added[i].want,
                             "%s:\nexpected %s\ngot      %s", added[i].name, added[i].want,
                             kit_resources_text(&arena, set));
    }
}
