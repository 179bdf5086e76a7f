/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json_span.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>

static const struct {
    const char *string, *want;
    bool is;
} names[] = {
    {"\"hooks\"", "hooks", true},
    {"\"hook\"", "hooks", false},
    {"\"hookss\"", "hooks", false},
    {"\"Hooks\"", "hooks", false},
    {"\"\"", "hooks", false},
    {"\"\"", "", true},
    {"\"hoo\\u006bs\"", "hooks", true},
    {"\"hoo\\u006Bs\"", "hooKs", false},
    {"\"hoo\\u006Bs\"", "hooks", true},
    {"\"\\u0068\\u006f\\u006f\\u006b\\u0073\"", "hooks", true},
    {"\"hoo\\u016bs\"", "hooks", false},
    {"\"hoo\\\\ks\"", "hooks", false},
    {"\"\\/\\\"\\n\\t\\b\\f\\r\\\\\"", "/\"\n\t\b\f\r\\", true},
};

Test(json_span, names_with_escapes)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct json_span span = {0, strlen(names[i].string)};

        cr_expect(json_span_is(names[i].string, span, names[i].want) == names[i].is,
                  "input:    %s\nexpected: %s %s", names[i].string, names[i].is ? "is" : "is not",
                  names[i].want);
    }
}

static const struct {
    const char *string, *want;
    bool is;
} folded_names[] = {
    {"\"hooks\"", "hooks", true},
    {"\"HOOKS\"", "hooks", true},
    {"\"createruntime\"", "createRuntime", true},
    {"\"CREATErUNTIME\"", "createRuntime", true},
    {"\"hook\"", "hooks", false},
    {"\"Hookss\"", "hooks", false},
    {"\"\\u0048ooks\"", "hooks", true},
    {"\"hoo\\u212as\"", "hooks", true},
    {"\"hook\\u017F\"", "hooks", true},
    {"\"hoo\xe2\x84\xaas\"", "hooks", true},
    {"\"hook\xc5\xbf\"", "hooks", true},
    {"\"hook\xc5\xbe\"", "hooks", false},
    {"\"hook\xc5\"", "hooks", false},
    {"\"po\xc5\xbft\xc5\xbftop\"", "poststop", true},
    {"\"hooks@\"", "hooks`", false},
    {"\"[\"", "{", false},
};

Test(json_span, names_without_case)
{
    for (size_t i = 0; i < ARRAY_SIZE(folded_names); i++) {
        struct json_span span = {0, strlen(folded_names[i].string)};

        cr_expect(json_span_is_folded(folded_names[i].string, span, folded_names[i].want) ==
                      folded_names[i].is,
                  "input:    %s\nexpected: %s %s", folded_names[i].string,
                  folded_names[i].is ? "is" : "is not", folded_names[i].want);
    }
}

/* The parts of an object or a list, with '|' between them; a key and its value with '='. */
static const char *parts(const char *text, struct arena *a)
{
    struct json_span whole = json_span_document(text, strlen(text)), *items;
    struct json_member *members;
    const char *all = arena_printf(a, "%zu-%zu", whole.begin, whole.end);

    if (text[whole.begin] == '{') {
        size_t count = json_span_members(text, whole, a, &members);

        for (size_t i = 0; i < count; i++) {
            struct json_span k = members[i].key, v = members[i].value;

            all = arena_printf(a, "%s|%.*s=%.*s", all, (int)(k.end - k.begin), text + k.begin,
                               (int)(v.end - v.begin), text + v.begin);
        }
    } else if (text[whole.begin] == '[') {
        size_t count = json_span_elements(text, whole, a, &items);

        for (size_t i = 0; i < count; i++)
            all = arena_printf(a, "%s|%.*s", all, (int)(items[i].end - items[i].begin),
                               text + items[i].begin);
    }
    return all;
}

static const struct {
    const char *text, *want;
} texts[] = {
    {"{}", "0-2"},
    {" { } \n", "1-4"},
    {"[]", "0-2"},
    {"{\"a\":1}", "0-7|\"a\"=1"},
    {"{ \"a\" : 1e3 , \"b\":[ ] }", "0-23|\"a\"=1e3|\"b\"=[ ]"},
    {"[1,-2.5E+7,true,null,\"x\"]", "0-25|1|-2.5E+7|true|null|\"x\""},
    {"[\"]\",\"}\",\"\\\"]\",\"\\\\\"]", "0-20|\"]\"|\"}\"|\"\\\"]\"|\"\\\\\""},
    {"[[[]],{\"a\":[{}]},\"{\"]", "0-21|[[]]|{\"a\":[{}]}|\"{\""},
    {"{\"a,b:c\":{\"d\":\"e\\\"}\"},\"f\":[]}", "0-29|\"a,b:c\"={\"d\":\"e\\\"}\"}|\"f\"=[]"},
    {"[1\t,\n2\r\n]", "0-9|1|2"},
};

Test(json_span, parts_of_values)
{
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        autoarena a = ARENA_INIT;
        const char *got = parts(texts[i].text, &a);

        cr_expect(str_eq(got, texts[i].want), "input:    %s\nexpected: %s\ngot:      %s",
                  texts[i].text, texts[i].want, got);
    }
}
