/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/register.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/plan/stage.h"
#include "oci/state.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* --- where values stand --- */

struct leaf {
    char *b;
};

struct tree {
    struct leaf *a;
    struct json_list list, words;
};

static const struct json_field leaf_fields[] = {JSON_F_STRING("b", struct leaf, b)};
static const struct json_table leaf_table = {
    .fields = leaf_fields, .count = ARRAY_SIZE(leaf_fields), .size = sizeof(struct leaf)};
static const struct json_field tree_fields[] = {
    JSON_F_OBJECT("a", struct tree, a, &leaf_table),
    JSON_F_OBJECT_LIST("list", struct tree, list, &leaf_table),
    JSON_F_STRING_LIST("words", struct tree, words),
};
static const struct json_table tree_table = {
    .fields = tree_fields, .count = ARRAY_SIZE(tree_fields), .size = sizeof(struct tree)};

/* What stands before the value of a member, the value, a star if it is used, and in parentheses
 * what is in it. */
static const char *parts(const char *text, const struct json_item *item, struct arena *a)
{
    const char *all =
        arena_printf(a, "%.*s>%.*s%s", (int)(item->value - item->begin), text + item->begin,
                     (int)(item->end - item->value), text + item->value, item->field ? "*" : "");

    for (size_t i = 0; i < item->count; i++)
        all = arena_printf(a, "%s%s%s%s", all, i > 0 ? " | " : "(", parts(text, &item->items[i], a),
                           i + 1 < item->count ? "" : ")");
    return all;
}

static const struct {
    const char *text, *want;
} texts[] = {
    {"{}", ">{}"},
    {" { } \n", ">{ }"},
    {"{\"c\":1}", ">{\"c\":1}(\"c\":>1)"},
    {"{ \"c\" : 1e3 , \"d\":[ ] }", ">{ \"c\" : 1e3 , \"d\":[ ] }(\"c\" : >1e3 | \"d\":>[ ])"},
    {"{\"c\":\"}\",\"\\\"]\\\\\":[[[]],{\"a\":[{}]},\"{\"]\t}",
     ">{\"c\":\"}\",\"\\\"]\\\\\":[[[]],{\"a\":[{}]},\"{\"]\t}(\"c\":>\"}\" | "
     "\"\\\"]\\\\\":>[[[]],{\"a\":[{}]},\"{\"])"},
    {"{\"c\":-2.5E+7,\"d\":true\n,\"a\":null}",
     ">{\"c\":-2.5E+7,\"d\":true\n,\"a\":null}(\"c\":>-2.5E+7 | \"d\":>true | \"a\":>null*)"},
    {"{\"\\u0061\"\n:\t{\"b\":\"\\\"\"\r\n}}",
     ">{\"\\u0061\"\n:\t{\"b\":\"\\\"\"\r\n}}(\"\\u0061\"\n:\t>{\"b\":\"\\\"\"\r\n}*"
     "(\"b\":>\"\\\"\"*))"},
    {"{\"list\":[{},\n{\"c\":[]} ]}", ">{\"list\":[{},\n{\"c\":[]} ]}(\"list\":>[{},\n{\"c\":[]} ]*"
                                      "(>{}* | >{\"c\":[]}*(\"c\":>[])))"},
    {"{\"words\":[\"x\",\"y\"],\"a\":{}}",
     ">{\"words\":[\"x\",\"y\"],\"a\":{}}(\"words\":>[\"x\",\"y\"]* | \"a\":>{}*)"},
};

/* At once, and byte by byte. */
Test(register, parts_of_values)
{
    for (size_t i = 0; i < 2 * ARRAY_SIZE(texts); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        const char *text = texts[i / 2].text, *got;
        struct json_item root = {0};
        struct tree tree = {0};
        const struct json_doc doc = {
            .table = &tree_table, .dest = &tree, .edited = &root, .text = text};

        cr_assert(json_read_text(text, strlen(text), &doc, 1, i % 2, "x", &a, &e) == 1, "%s",
                  e.text);
        got = parts(text, &root, &a);
        cr_expect(str_eq(got, texts[i / 2].want), "input:    %s\nexpected: %s\ngot:      %s", text,
                  texts[i / 2].want, got);
    }
}

/* --- putting in and taking out --- */

static char only_option[] = "--sandbox-cgroup-only=true";

/* What `register` of /p/oci-sandbox-cgroup does, with one option if asked. */
static int put_in(const char *text, bool option, struct arena *a, struct register_result *ret,
                  struct err *e)
{
    static char *options[] = {only_option};
    const struct register_request request = {.program = "/p/oci-sandbox-cgroup",
                                             .options = {options, option ? 1 : 0}};

    return register_edit(text, strlen(text), "c.json", &request, a, ret, e);
}

static int take_out(const char *text, struct arena *a, struct register_result *ret, struct err *e)
{
    static const struct register_request request = {0};

    return register_edit(text, strlen(text), "c.json", &request, a, ret, e);
}

static const char *actions_text(const struct register_result *r, struct arena *a)
{
    const char *all = "";

    for (size_t i = 0; i < REGISTER_STAGES; i++)
        all = arena_printf(a, "%s%s%s", all, i > 0 ? " " : "", r->actions[i]);
    return all;
}

/* What our entries look like. */
#define ENTRY(stage)                                                                               \
    "{\"path\":\"/p/oci-sandbox-cgroup\",\"args\":[\"oci-sandbox-cgroup\",\"" stage                \
    "\"],\"timeout\":30}"
#define PRE  ENTRY("prestart")
#define POST ENTRY("poststop")

/* "absent" stands for createRuntime and poststart. */
static const struct {
    const char *before, *after, *actions;
} added[] = {
    {"{}", "{\"hooks\":{ \"prestart\":[ " PRE "], \"poststop\":[ " POST "]}}",
     "added absent absent added"},
    {"{ }\n", "{\"hooks\":{ \"prestart\":[ " PRE "], \"poststop\":[ " POST "]} }\n",
     "added absent absent added"},
    {"{\"a\":1e3,\"b\":18446744073709551615}",
     "{\"a\":1e3,\"b\":18446744073709551615,\"hooks\":{ \"prestart\":[ " PRE
     "], \"poststop\":[ " POST "]}}",
     "added absent absent added"},
    {"{\n\t\"a\": 1\n}\n",
     "{\n\t\"a\": 1,\n\t\"hooks\": {\n\t\t\"prestart\": [\n\t\t\t" PRE
     "\n\t\t],\n\t\t\"poststop\": [\n\t\t\t" POST "\n\t\t]\n\t}\n}\n",
     "added absent absent added"},
    {"{\r\n  \"a\": 1\r\n}",
     "{\r\n  \"a\": 1,\r\n  \"hooks\": {\r\n    \"prestart\": [\r\n      " PRE
     "\r\n    ],\r\n    \"poststop\": [\r\n      " POST "\r\n    ]\r\n  }\r\n}",
     "added absent absent added"},
    /* hooks that are there, in every degree of emptiness */
    {"{\"hooks\":{}}", "{\"hooks\":{\"prestart\":[ " PRE "],\"poststop\":[ " POST "]}}",
     "added absent absent added"},
    {"{\"hooks\":{ \n}}", "{\"hooks\":{\"prestart\":[ " PRE "],\"poststop\":[ " POST "] \n}}",
     "added absent absent added"},
    {"{\"hooks\":{\"prestart\":[ ]}}",
     "{\"hooks\":{\"prestart\":[" PRE " ],\"poststop\":[ " POST "]}}", "added absent absent added"},
    {"{\"hooks\":{\"poststop\":[],\"prestart\":[]},\"z\":[]}",
     "{\"hooks\":{\"poststop\":[" POST "],\"prestart\":[" PRE "]},\"z\":[]}",
     "added absent absent added"},
    /* other people's */
    {"{\"hooks\":{\"startContainer\":[{\"path\":\"/x\"}]}}",
     "{\"hooks\":{\"startContainer\":[{\"path\":\"/x\"}],\"prestart\":[ " PRE
     "],\"poststop\":[ " POST "]}}",
     "added absent absent added"},
    {"{\"hooks\":{\"prestart\":[{\"path\":\"/x\"}],\"poststop\":[ {\"path\":\"/y\"},{}]}}",
     "{\"hooks\":{\"prestart\":[{\"path\":\"/x\"}," PRE "],\"poststop\":[ " POST
     ", {\"path\":\"/y\"},{}]}}",
     "added absent absent added"},
    {"{\n \"hooks\": {\n  \"prestart\": [\n   {\"path\": \"/x\", \"timeout\": 0}\n  ]\n }\n}",
     "{\n \"hooks\": {\n  \"prestart\": [\n   {\"path\": \"/x\", \"timeout\": 0},\n   " PRE
     "\n  ],\n  \"poststop\": [\n   " POST "\n  ]\n }\n}",
     "added absent absent added"},
    /* names that only look like ours */
    {"{\"hooks\":{\"prestart\":[{\"path\":\"/oci-sandbox-cgroup/x\",\"args\":[\"x\","
     "\"oci-sandbox-cgroup\"]}],\"poststop\":[{\"path\":\"my-oci-sandbox-cgroup\"}]}}",
     "{\"hooks\":{\"prestart\":[{\"path\":\"/oci-sandbox-cgroup/x\",\"args\":[\"x\","
     "\"oci-sandbox-cgroup\"]}," PRE "],\"poststop\":[" POST
     ",{\"path\":\"my-oci-sandbox-cgroup\"}]}}",
     "added absent absent added"},
    /* what stands elsewhere is not looked at */
    {"{\"linux\":{\"hooks\":[1.5]},\"x\":\"\\u00e9\\/\\\"{\",\"hoo\\u006bs\":{}}",
     "{\"linux\":{\"hooks\":[1.5]},\"x\":\"\\u00e9\\/\\\"{\",\"hoo\\u006bs\":{\"prestart\":[ " PRE
     "],\"poststop\":[ " POST "]}}",
     "added absent absent added"},
};

/* Put in: as expected. Again: nothing is changed. Taken out: as it was. */
Test(register, put_in_and_taken_out)
{
    for (size_t i = 0; i < ARRAY_SIZE(added); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct register_result in, again, out;
        int r = put_in(added[i].before, false, &a, &in, &e);

        cr_assert(r == 0, "input:    %s\ngot:      %d, %s", added[i].before, r, e.text);
        cr_expect(in.changed && str_eq(in.text, added[i].after) && in.len == strlen(in.text),
                  "input:    %s\nexpected: %s\ngot:      %s", added[i].before, added[i].after,
                  in.text);
        cr_expect(str_eq(actions_text(&in, &a), added[i].actions), "input:    %s\ngot:      %s",
                  added[i].before, actions_text(&in, &a));
        r = put_in(in.text, false, &a, &again, &e);
        cr_expect(r == 0 && !again.changed && again.text == in.text, "again:    %s\ngot:      %s",
                  in.text, again.text);
        cr_expect(str_eq(actions_text(&again, &a), "kept absent absent kept"),
                  "again:    %s\ngot:      %s", in.text, actions_text(&again, &a));
        r = take_out(in.text, &a, &out, &e);
        cr_expect(r == 0 && out.changed && str_eq(out.text, added[i].before),
                  "input:    %s\nexpected: %s\ngot:      %s", in.text, added[i].before, out.text);
        r = take_out(out.text, &a, &again, &e);
        cr_expect(r == 0 && !again.changed &&
                      str_eq(actions_text(&again, &a), "absent absent absent absent"),
                  "twice:    %s\ngot:      %s", out.text, again.text);
    }
}

/* null is the same as absent, so it does not come back. */
static const struct {
    const char *before, *after, *removed;
} nulls[] = {
    {"{\"hooks\":null,\"a\":1}",
     "{\"hooks\":{ \"prestart\":[ " PRE "], \"poststop\":[ " POST "]},\"a\":1}", "{\"a\":1}"},
    {"{\"hooks\": null}", "{\"hooks\": { \"prestart\":[ " PRE "], \"poststop\":[ " POST "]}}",
     "{}"},
    {"{\"hooks\":{\"prestart\":null,\"poststop\":null,\"poststart\":null}}",
     "{\"hooks\":{\"prestart\":[ " PRE "],\"poststop\":[ " POST "],\"poststart\":null}}",
     "{\"hooks\":{\"poststart\":null}}"},
};

Test(register, null_is_absent)
{
    for (size_t i = 0; i < ARRAY_SIZE(nulls); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct register_result in, out;

        cr_assert(put_in(nulls[i].before, false, &a, &in, &e) == 0, "%s", e.text);
        cr_expect(str_eq(in.text, nulls[i].after), "input:    %s\nexpected: %s\ngot:      %s",
                  nulls[i].before, nulls[i].after, in.text);
        cr_assert(take_out(in.text, &a, &out, &e) == 0, "%s", e.text);
        cr_expect(str_eq(out.text, nulls[i].removed), "input:    %s\nexpected: %s\ngot:      %s",
                  in.text, nulls[i].removed, out.text);
    }
}

/* Entries of ours, of another day: brought up to date in their place, with their timeout. */
static const struct {
    const char *before, *after, *actions;
} replaced[] = {
    /* another path, other arguments, more than one */
    {"{\"hooks\":{\"prestart\":[{\"path\":\"/old/oci-sandbox-cgroup\"}],\"poststop\":[" POST "]}}",
     "{\"hooks\":{\"prestart\":[" PRE "],\"poststop\":[" POST "]}}", "replaced absent absent kept"},
    {"{\"hooks\":{\"prestart\":[{\"path\":\"/wrapper\",\"args\":[\"oci-sandbox-cgroup\"]}],"
     "\"poststop\":[" POST "]}}",
     "{\"hooks\":{\"prestart\":[" PRE "],\"poststop\":[" POST "]}}", "replaced absent absent kept"},
    {"{\"hooks\":{\"prestart\":[" PRE ", " PRE ",{\"path\":\"/x\"}," PRE "],\"poststop\":[" POST
     "]}}",
     "{\"hooks\":{\"prestart\":[" PRE ",{\"path\":\"/x\"}],\"poststop\":[" POST "]}}",
     "replaced absent absent kept"},
    {"{\"hooks\":{\"prestart\":[{\"path\":\"/x\"}, " POST " , " PRE "],\"poststop\":[" POST "]}}",
     "{\"hooks\":{\"prestart\":[{\"path\":\"/x\"}, " PRE "],\"poststop\":[" POST "]}}",
     "replaced absent absent kept"},
    /* optional stages are not added, but not left behind either */
    {"{\"hooks\":{\"prestart\":[" PRE "],\"poststop\":[" POST
     "],\"poststart\":[{\"path\":\"/old/oci-sandbox-cgroup\",\"timeout\":7}],"
     "\"createRuntime\":[{\"path\":\"/x\"}]}}",
     "{\"hooks\":{\"prestart\":[" PRE "],\"poststop\":[" POST
     "],\"poststart\":[{\"path\":\"/p/oci-sandbox-cgroup\",\"args\":[\"oci-sandbox-cgroup\","
     "\"poststart\"],\"timeout\":7}],\"createRuntime\":[{\"path\":\"/x\"}]}}",
     "kept absent replaced kept"},
    /* timeouts with which runc or crun cannot work */
    {"{\"hooks\":{\"prestart\":[{\"path\":\"/p/oci-sandbox-cgroup\",\"args\":[\"oci-sandbox-"
     "cgroup\",\"prestart\"],\"timeout\":0}],\"poststop\":[{\"path\":\"/p/oci-sandbox-cgroup\","
     "\"args\":[\"oci-sandbox-cgroup\",\"poststop\"]}]}}",
     "{\"hooks\":{\"prestart\":[" PRE "],\"poststop\":[" POST "]}}",
     "replaced absent absent replaced"},
    /* one that works, in another form, is as it should be */
    {"{\"hooks\":{\"prestart\":[{ \"timeout\":5,\"args\":[\"oci-sandbox-cgroup\",\"prestart\"],"
     "\"env\":[\"A=b\"],\"path\":\"\\/p/oci-sandbox-cgroup\"}],\"poststop\":[" POST "]}}",
     NULL, "kept absent absent kept"},
};

Test(register, brought_up_to_date)
{
    for (size_t i = 0; i < ARRAY_SIZE(replaced); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct register_result in, again;
        const char *want = replaced[i].after ? replaced[i].after : replaced[i].before;

        cr_assert(put_in(replaced[i].before, false, &a, &in, &e) == 0, "%s", e.text);
        cr_expect(str_eq(in.text, want), "input:    %s\nexpected: %s\ngot:      %s",
                  replaced[i].before, want, in.text);
        cr_expect(in.changed == (replaced[i].after != NULL));
        cr_expect(str_eq(actions_text(&in, &a), replaced[i].actions),
                  "input:    %s\nexpected: %s\ngot:      %s", replaced[i].before,
                  replaced[i].actions, actions_text(&in, &a));
        cr_expect(put_in(in.text, false, &a, &again, &e) == 0 && !again.changed, "again:    %s",
                  in.text);
    }
}

Test(register, options_are_arguments)
{
    autoarena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct register_result with, again, without;

    cr_assert(put_in("{\"hooks\":{\"poststop\":[]}}", true, &a, &with, &e) == 0);
    cr_expect(
        str_eq(with.text,
               "{\"hooks\":{\"poststop\":[{\"path\":\"/p/oci-sandbox-cgroup\",\"args\":["
               "\"oci-sandbox-cgroup\",\"--sandbox-cgroup-only=true\",\"poststop\"],\"timeout\":"
               "30}],\"prestart\":[ {\"path\":\"/p/oci-sandbox-cgroup\",\"args\":["
               "\"oci-sandbox-cgroup\",\"--sandbox-cgroup-only=true\",\"prestart\"],\"timeout\":"
               "30}]}}"),
        "got: %s", with.text);
    cr_expect(put_in(with.text, true, &a, &again, &e) == 0 && !again.changed);
    cr_assert(put_in(with.text, false, &a, &without, &e) == 0);
    cr_expect(str_eq(without.text, "{\"hooks\":{\"poststop\":[" POST "],\"prestart\":[ " PRE "]}}"),
              "got: %s", without.text);
}

/* What is left where entries of ours stand among others, or did when others were there. */
static const struct {
    const char *before, *after;
} removed[] = {
    {"{\"hooks\":{\"prestart\":[" PRE " , " PRE ", {} , " PRE ",{}," PRE "]}}",
     "{\"hooks\":{\"prestart\":[{},{}]}}"},
    {"{\"hooks\":{\"prestart\":[" PRE "," PRE "]}}", "{\"hooks\":{\"prestart\":[]}}"},
    {"{\"hooks\":{\"prestart\":[ " PRE "],\"x\":1}}", "{\"hooks\":{\"x\":1}}"},
    {"{\"hooks\":{ \"createRuntime\":[ " PRE "] , \"poststart\":[\n" PRE "]},\"a\":[]}",
     "{\"a\":[]}"},
    {"{\"hooks\":{\"createRuntime\":[ " PRE "] , \"poststart\":[\n" PRE "]},\"a\":[]}",
     "{\"hooks\":{},\"a\":[]}"},
    {"{\n \"hooks\": {\n  \"prestart\": [\n   " PRE "\n  ]\n }\n}", "{\n \n}"},
    {"{\"hooks\":{\"startContainer\":[" PRE "]}}", NULL},
    {"{\"hooks\":{}}", NULL},
    {"{\"hooks\":null}", NULL},
    {"{}", NULL},
};

Test(register, taken_out)
{
    for (size_t i = 0; i < ARRAY_SIZE(removed); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct register_result out;
        const char *want = removed[i].after ? removed[i].after : removed[i].before;

        cr_assert(take_out(removed[i].before, &a, &out, &e) == 0, "%s", e.text);
        cr_expect(str_eq(out.text, want) && out.changed == (removed[i].after != NULL),
                  "input:    %s\nexpected: %s\ngot:      %s", removed[i].before, want, out.text);
    }
}

/* The text, and what the message must have. */
static const struct {
    const char *text, *want;
} refused[] = {
    {"", "empty"},
    {" \n", "empty"},
    {"[]", "expected an object, found a list"},
    {"null", "expected an object, found null"},
    {"\"x\"", "expected an object, found a string"},
    {"{", "ends early"},
    {"{\"a\":}", "no valid JSON"},
    {"{\"a\":1,}", "no valid JSON"},
    {"{} {}", "one document only"},
    {"// x\n{}", "no valid JSON"},
    {"{\f}", "no valid JSON at byte 1"},
    {"{\"hooks\":{\"prestart\":[\v]}}", "no valid JSON at byte 22"},
    {"{\"hooks\":[]}", "hooks: expected an object, found a list"},
    {"{\"hooks\":\"prestart\"}", "hooks: expected an object, found a string"},
    {"{\"hooks\":{},\"hooks\":{}}", "hooks: given twice"},
    {"{\"hooks\":{},\"hoo\\u006bs\":{}}", "hooks: given twice"},
    {"{\"hooks\":{\"prestart\":{}}}", "hooks.prestart: expected a list, found an object"},
    {"{\"hooks\":{\"poststop\":1}}", "hooks.poststop: expected a list, found a number"},
    {"{\"hooks\":{\"prestart\":[],\"prestart\":[]}}", "hooks.prestart: given twice"},
    {"{\"hooks\":{\"prestart\":[1]}}", "hooks.prestart[0]: expected an object"},
    {"{\"hooks\":{\"prestart\":[{},null]}}", "hooks.prestart[1]: expected an object"},
    {"{\"hooks\":{\"prestart\":[{\"path\":1}]}}", "hooks.prestart[0].path: expected a string"},
    {"{\"hooks\":{\"prestart\":[{\"args\":\"x\"}]}}", "hooks.prestart[0].args: expected a list"},
    {"{\"a\":\"\xff\"}", "no valid JSON"},
    /* what runtimes in Go take for ours, or ours for it */
    {"{\"Hooks\":{}}", "c.json: Hooks: runtimes written in Go read this as \"hooks\""},
    {"{\"hooks\":{},\"HOOKS\":1}", "c.json: HOOKS: runtimes written in Go"},
    {"{\"hoo\xe2\x84\xaas\":null}", "c.json: hoo\\xe2\\x84\\xaas: runtimes written in Go"},
    {"{\"hooks\":{\"Prestart\":[]}}",
     "c.json: hooks.Prestart: runtimes written in Go read this as \"prestart\""},
    {"{\"hooks\":{\"createruntime\":[],\"prestart\":[]}}", "c.json: hooks.createruntime: "},
    {"{\"hooks\":{\"postStop\":null}}", "c.json: hooks.postStop: "},
    {"{\"hooks\":{\"poststop\":[{},{\"Path\":\"/x\"}]}}", "c.json: hooks.poststop[1].Path: "},
    {"{\"hooks\":{\"poststart\":[{\"timeOut\":5}]}}", "c.json: hooks.poststart[0].timeOut: "},
    {"{\"\\u0048ooks\":1}", "c.json: Hooks: runtimes written in Go"},
    {"{\"hoo\\u212as\":1}", "c.json: hoo\\xe2\\x84\\xaas: runtimes written in Go"},
    {"{\"hook\\u017F\":1}", "c.json: hook\\xc5\\xbf: runtimes written in Go"},
    {"{\"hooks\":{\"CREATErUNTIME\":[]}}", "c.json: hooks.CREATErUNTIME: "},
    {"{\"hooks\":{\"po\xc5\xbft\xc5\xbftop\":[]}}", "hooks.po\\xc5\\xbft\\xc5\\xbftop: "},
};

Test(register, refused)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        autoarena a = ARENA_INIT;

        for (int remove = 0; remove < 2; remove++) {
            struct err e = ERR_INIT;
            struct register_result result;
            int r = remove ? take_out(refused[i].text, &a, &result, &e)
                           : put_in(refused[i].text, false, &a, &result, &e);

            cr_expect(r == -EINVAL && e.bad_input && str_starts(e.text, "c.json: ") &&
                          strstr(e.text, refused[i].want) && !strchr(e.text, '\n'),
                      "input:    %s\nexpected: %s\ngot:      %d, %s", refused[i].text,
                      refused[i].want, r, e.text);
        }
    }
}

/* Ours with escapes, and names of others. */
static const struct {
    const char *name;
    bool is_hooks;
} names[] = {
    {"hooks", true},
    {"hoo\\u006bs", true},
    {"\\u0068\\u006f\\u006f\\u006B\\u0073", true},
    {"", false},
    {"hook", false},
    {"hookss", false},
    {"Hookss", false},
    {"hooks@", false},
    {"(ooks", false},
    {"hook\\u0073\\u0073", false},
    {"hoo\\u016bs", false},
    {"hoo\\\\ks", false},
    {"hoo\\nks", false},
    {"hook\xc5\xbe", false},
    {"hook\xc5\xbfs", false},
    {"\xc5\xbfooks", false},
    {"hoo\xc5\xbfs", false},
    {"hoo\xe2\x84\xabs", false},
    {"\xe2\x84\xaaooks", false},
};

Test(register, names_with_escapes)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct register_result in;
        const char *text = arena_printf(&a, "{\"%s\":{ }}", names[i].name);
        const char *kept = arena_printf(&a, "{\"%s\":{ },\"hooks\":{", names[i].name);

        cr_assert(put_in(text, false, &a, &in, &e) == 0, "input:    %s\ngot:      %s", text,
                  e.text);
        cr_expect(str_starts(in.text, kept) != names[i].is_hooks, "input:    %s\ngot:      %s",
                  text, in.text);
    }
}

/* A document of this length, filled with blanks where they do not matter. */
static char *long_document(size_t len, struct arena *a)
{
    char *text = arena_alloc(a, len + 1);

    memset(text, ' ', len);
    text[0] = '{';
    text[len - 1] = '}';
    return text;
}

/* What is put in must not make a document that no stage reads. */
Test(register, too_long_with_the_hook)
{
    autoarena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct register_result result;
    size_t more;

    cr_assert(put_in("{  }", false, &a, &result, &e) == 0);
    more = result.len - strlen("{  }");
    cr_expect(put_in(long_document(OCI_MAX_BYTES - more, &a), false, &a, &result, &e) == 0 &&
              result.len == OCI_MAX_BYTES);
    cr_expect(take_out(result.text, &a, &result, &e) == 0 && result.changed);
    cr_expect(put_in(long_document(OCI_MAX_BYTES - more + 1, &a), false, &a, &result, &e) ==
                  -EINVAL &&
              e.bad_input && strstr(e.text, "too long with the hook in it"));
}

/* Blanks that nobody would call indentation are not copied for each line. */
Test(register, long_blanks)
{
    static const struct {
        const char *before, *after;
    } forms[] = {
        {"{", "\"a\":1}"},
        {"{\"hooks\":{", "\"z\":[]}}"},
        {"{\"hooks\":{\"poststop\":[", "{\"path\":\"/x\"}]}}"},
        {"{\"hooks\":{\"prestart\":[", "{\"path\":\"/x\"}]}}"},
        {"{", "\"hooks\":null,\"a\":1}"},
    };

    for (size_t i = 0; i < 2 * ARRAY_SIZE(forms); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct register_result in, again, out;
        char *blanks = arena_alloc(&a, 100001), *text;

        memset(blanks, i % 2 ? ' ' : '\t', 100000);
        blanks[0] = '\n';
        text = arena_printf(&a, "%s%s%s", forms[i / 2].before, blanks, forms[i / 2].after);
        cr_assert(put_in(text, false, &a, &in, &e) == 0, "%s", e.text);
        cr_expect(in.len < strlen(text) + 500, "form %zu: %zu bytes more", i / 2,
                  in.len - strlen(text));
        cr_expect(put_in(in.text, false, &a, &again, &e) == 0 && !again.changed);
        cr_expect(take_out(in.text, &a, &out, &e) == 0);
        if (!strstr(text, "null"))
            cr_expect(str_eq(out.text, text), "form %zu: not as it was", i / 2);
    }
}

/* --- documents by chance --- */

struct chance {
    uint64_t state;
    struct sbuf *out;
};

static unsigned roll(struct chance *c, unsigned sides)
{
    c->state = c->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(c->state >> 33) % sides;
}

static void put(struct chance *c, const char *s)
{
    sbuf_add(c->out, s, strlen(s));
}

static void put_blank(struct chance *c)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\n\t", "\r\n  ", "\t"};

    put(c, blanks[roll(c, ARRAY_SIZE(blanks))]);
}

static void put_value(struct chance *c, unsigned depth)
{
    static const char *const words[] = {
        "1e3", "18446744073709551615", "-0.0",  "true", "\"\"", "\"a\\u0041\\\\\\\"]}[{,\"", "[]",
        "{ }", "\"\xc3\xa9\"",         "[1 ,2]"};

    if (depth == 0 || roll(c, 3) > 0) {
        put(c, words[roll(c, ARRAY_SIZE(words))]);
        return;
    }
    put(c, "{");
    put_blank(c);
    put(c, "\"k\"");
    put_blank(c);
    put(c, ":");
    put_value(c, depth - 1);
    put_blank(c);
    put(c, "}");
}

static void put_list_of_hooks(struct chance *c)
{
    unsigned count = roll(c, 4);

    put(c, "[");
    put_blank(c);
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            put(c, ",");
        put_blank(c);
        put(c, "{\"path\":\"/x\",\"env\":");
        put_value(c, 2);
        put(c, "}");
        put_blank(c);
    }
    put(c, "]");
}

static void put_hooks(struct chance *c)
{
    static const char *const keys[] = {"prestart", "poststop", "createRuntime", "poststart", "z"};
    bool first = true;

    put(c, "{");
    put_blank(c);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        if (roll(c, 2) == 0)
            continue;
        put(c, first ? "\"" : ",\"");
        put(c, keys[i]);
        put(c, "\"");
        put_blank(c);
        put(c, ":");
        put_blank(c);
        put_list_of_hooks(c);
        put_blank(c);
        first = false;
    }
    put(c, "}");
}

static void put_document(struct chance *c)
{
    unsigned count = roll(c, 4), where = roll(c, 5);

    put_blank(c);
    put(c, "{");
    put_blank(c);
    for (unsigned i = 0; i < count; i++) {
        char key[16];

        snprintf(key, sizeof key, "%s\"%s%u\"", i > 0 ? "," : "", i == where ? "hooks" : "k", i);
        if (i == where)
            snprintf(key, sizeof key, "%s\"hooks\"", i > 0 ? "," : "");
        put_blank(c);
        put(c, key);
        put_blank(c);
        put(c, ":");
        put_blank(c);
        if (i == where)
            put_hooks(c);
        else
            put_value(c, 3);
        put_blank(c);
    }
    put(c, "}");
    put_blank(c);
}

/* Whatever the form: put in, unchanged by a second time, and taken out without a trace. */
Test(register, any_document)
{
    struct chance c = {.state = 1};

    for (int i = 0; i < 20000; i++) {
        autoarena a = ARENA_INIT;
        autosbuf text = SBUF_INIT;
        struct err e = ERR_INIT;
        struct register_result in, again, out;

        c.out = &text;
        put_document(&c);
        cr_assert(put_in(sbuf_text(&text), false, &a, &in, &e) == 0, "input: %s\ngot: %s",
                  sbuf_text(&text), e.text);
        cr_assert(in.changed && put_in(in.text, false, &a, &again, &e) == 0 && !again.changed &&
                      str_eq(actions_text(&again, &a), "kept absent absent kept"),
                  "input: %s\nafter: %s\nagain: %s %s", sbuf_text(&text), in.text, again.text,
                  e.text);
        cr_assert(take_out(in.text, &a, &out, &e) == 0 && str_eq(out.text, sbuf_text(&text)),
                  "input: %s\nafter: %s\ngot:   %s %s", sbuf_text(&text), in.text, out.text,
                  e.text);
    }
}

/* --- the file --- */

/* A directory with a file "f" of this mode, and the file. */
struct place {
    char dir[sizeof "/tmp/osc-register-XXXXXX"];
    int dirfd, fd;
};

static void make_place(struct place *p, mode_t mode)
{
    strcpy(p->dir, "/tmp/osc-register-XXXXXX");
    kit_make_dir(p->dir);
    p->dirfd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->fd = openat(p->dirfd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(p->dirfd >= 0 && p->fd >= 0);
    if (geteuid() == 0)
        cr_assert(fchown(p->fd, 12345, 54321) == 0);
    cr_assert(fchmod(p->fd, mode) == 0);
}

static void drop_place(struct place *p)
{
    fd_close(&p->fd);
    unlinkat(p->dirfd, "f", 0);
    fd_close(&p->dirfd);
    rmdir(p->dir);
}

/* The mode that the file is left with. */
static mode_t replace_in(const struct place *p)
{
    struct stat after;
    bool in_place;

    cr_assert(io_replace_like_at(p->dirfd, "f", "new", 3, p->fd, &in_place) == 0 && in_place);
    cr_assert(fstatat(p->dirfd, "f", &after, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(after.st_mode));
    return after.st_mode & 07777;
}

Test(register, replacing_keeps_mode_and_owner)
{
    struct stat before, after;
    char content[16];
    struct place p;

    make_place(&p, 0640);
    cr_assert(fstat(p.fd, &before) == 0);
    /* of one that was killed */
    cr_assert(symlinkat("f", p.dirfd, ".f.oci-sandbox-cgroup") == 0);
    cr_expect(replace_in(&p) == 0640);
    cr_expect(fstatat(p.dirfd, "f", &after, AT_SYMLINK_NOFOLLOW) == 0);
    cr_expect(after.st_uid == before.st_uid && after.st_gid == before.st_gid &&
              after.st_ino != before.st_ino);
    cr_expect(io_read_at(p.dirfd, "f", content, sizeof content) == 3 && str_eq(content, "new"));
    cr_expect(faccessat(p.dirfd, ".f.oci-sandbox-cgroup", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
    drop_place(&p);
}

Test(register, replacing_drops_setuid_and_setgid)
{
    struct place p;

    make_place(&p, 06755);
    cr_expect(replace_in(&p) == 0755);
    drop_place(&p);
}

#define ACCESS_ACL  "system.posix_acl_access"
#define DEFAULT_ACL "system.posix_acl_default"

/* As the kernel takes it: user::rw-, user:1234:r--, group::---, mask::r--, other::--- */
static const struct {
    uint32_t version;
    struct {
        uint16_t tag, rights;
        uint32_t id;
    } entries[5];
} acl = {2,
         {{1, 6, UINT32_MAX},
          {2, 4, 1234},
          {4, 0, UINT32_MAX},
          {16, 4, UINT32_MAX},
          {32, 0, UINT32_MAX}}};

static ssize_t read_acl(const struct place *p, char *buf, size_t size)
{
    autofd fd = openat(p->dirfd, "f", O_RDONLY | O_CLOEXEC);

    return fgetxattr(fd, ACCESS_ACL, buf, size);
}

/* The mode alone, 0640, would let the owning group in. */
Test(register, replacing_keeps_an_acl)
{
    char got[sizeof acl + 8];
    struct place p;

    make_place(&p, 0600);
    if (fsetxattr(p.fd, ACCESS_ACL, &acl, sizeof acl, 0) < 0) {
        drop_place(&p);
        cr_skip_test("no ACLs in /tmp");
    }
    cr_expect(replace_in(&p) == 0640);
    cr_expect(read_acl(&p, got, sizeof got) == sizeof acl && memcmp(got, &acl, sizeof acl) == 0);
    drop_place(&p);
}

/* Nor does a user get in whom the directory names for new files. */
Test(register, replacing_takes_no_acl_of_the_directory)
{
    char got[sizeof acl + 8];
    struct place p;

    make_place(&p, 0640);
    if (fsetxattr(p.dirfd, DEFAULT_ACL, &acl, sizeof acl, 0) < 0) {
        drop_place(&p);
        cr_skip_test("no ACLs in /tmp");
    }
    cr_expect(replace_in(&p) == 0640);
    cr_expect(read_acl(&p, got, sizeof got) == -1 && errno == ENODATA);
    drop_place(&p);
}

Test(register, replacing_what_has_a_long_name)
{
    char name[256];
    bool in_place;

    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_expect(io_replace_like_at(AT_FDCWD, name, "", 0, FD_NONE, &in_place) == -ENAMETOOLONG);
    cr_expect(!in_place);
}
