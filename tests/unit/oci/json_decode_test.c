/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/json_kit.h"

#include <criterion/criterion.h>

Test(json_decode, stores_every_kind)
{
    static const char input[] =
        "{\"text\":\"t\",\"flag\":true,\"num\":-5,\"any\":7,\"size\":100,\"huge\":8,"
        "\"o\":{\"num\":1},\"m\":[{\"num\":2},{\"flag\":false}],\"names\":[\"x\",\"\"],"
        "\"nums\":[10,-5],\"map\":{\"k.1\":\"v1\",\"\":\"v2\"}}";
    autoarena a = ARENA_INIT;
    struct kit_sample s = {0}, *second;
    struct err e = ERR_INIT;

    cr_assert_eq(kit_parse(input, sizeof input - 1, 0, &s, &a, &e), 1, "%s", e.text);
    cr_expect_str_eq(s.text, "t");
    cr_expect(s.flag.set && s.flag.value);
    cr_expect(s.num.set && s.num.value == -5);
    cr_expect(s.any.set && s.any.value == 7);
    cr_expect(s.size.set && s.size.value == 100);
    cr_expect(s.huge.set && s.huge.value == 8);
    cr_assert_not_null(s.one);
    cr_expect(s.one->num.set && s.one->num.value == 1 && !s.one->flag.set && !s.one->text);
    cr_assert_eq(s.many.count, 2);
    second = &JSON_AT(s.many, struct kit_sample, 1);
    cr_expect(JSON_AT(s.many, struct kit_sample, 0).num.value == 2);
    cr_expect(second->flag.set && !second->flag.value && !second->num.set);
    cr_assert_eq(s.names.count, 2);
    cr_expect_str_eq(JSON_AT(s.names, char *, 0), "x");
    cr_expect_str_eq(JSON_AT(s.names, char *, 1), "");
    cr_assert_eq(s.nums.count, 2);
    cr_expect_eq(JSON_AT(s.nums, int64_t, 0), 10);
    cr_expect_eq(JSON_AT(s.nums, int64_t, 1), -5);
    cr_assert_eq(s.map.count, 2);
    cr_expect_str_eq(JSON_AT(s.map, struct json_pair, 0).key, "k.1");
    cr_expect_str_eq(JSON_AT(s.map, struct json_pair, 0).value, "v1");
    cr_expect_str_eq(JSON_AT(s.map, struct json_pair, 1).key, "");
    cr_expect_str_eq(JSON_AT(s.map, struct json_pair, 1).value, "v2");
}

Test(json_decode, absent_leaves_the_struct_zeroed)
{
    autoarena a = ARENA_INIT;
    struct kit_sample s = {0}, zero = {0};

    cr_assert_eq(kit_parse("{}", 2, 0, &s, &a, NULL), 1);
    cr_expect(memcmp(&s, &zero, sizeof s) == 0);
}

Test(json_decode, accepts)
{
    static const struct kit_text_case cases[] = {
        {INPUT("{}"), NULL},
        {INPUT(" \t\r\n{ \"num\" : 1 } \t\r\n"), "{\"num\":1}"},
        {INPUT("{\"text\":\"\"}"), NULL},
        {INPUT("{\"flag\":true}"), NULL},
        {INPUT("{\"flag\":false}"), NULL},
        {INPUT("{\"o\":{}}"), NULL},
        {INPUT("{\"m\":[{},{\"m\":[{}]},{}]}"), NULL},
        {INPUT("{\"m\":[],\"names\":[],\"map\":{},\"nums\":[]}"), "{}"},
        {INPUT("{\"nums\":[-5,0,10]}"), NULL},
        {INPUT("{\"map\":{\"b\":\"1\",\"a\":\"2\",\"c.d\":\"\"}}"), NULL},
        /* unused members of every kind, and what would be refused were they used */
        {INPUT("{\"x\":1.5,\"y\":[1e400,-0,[{\"id\":[]}],null,true,false],\"z\":{\"num\":\"s\"}}"),
         "{}"},
        {INPUT("{\"x\":{\"a\":1,\"a\":2},\"x\":3,\"num\":4}"), "{\"num\":4}"},
        {INPUT("{\"x\":[{\"a\":[{}]},[]],\"num\":4}"), "{\"num\":4}"},
        {INPUT("{\"o\":{\"x\":{\"num\":99}},\"num\":1}"), "{\"num\":1,\"o\":{}}"},
        /* keys are compared whole and as they are */
        {INPUT("{\"nu\":\"a\",\"numb\":\"b\",\"Num\":\"c\",\"\":\"d\"}"), "{}"},
        {INPUT("{\"n\\u0075m\":3}"), "{\"num\":3}"},
        /* two objects may have the same key each */
        {INPUT("{\"num\":1,\"o\":{\"num\":1},\"m\":[{\"num\":1},{\"num\":1}]}"),
         "{\"num\":1,\"o\":{\"num\":1},\"m\":[{\"num\":1},{\"num\":1}]}"},
    };

    kit_expect_all_read(cases, ARRAY_SIZE(cases));
}

Test(json_decode, null_is_absent)
{
    static const struct kit_text_case cases[] = {
        {INPUT("{\"text\":null,\"flag\":null,\"num\":null,\"any\":null,\"size\":null,\"huge\":null,"
               "\"o\":null,\"m\":null,\"names\":null,\"map\":null,\"strict\":null,\"x\":null}"),
         "{}"},
        {INPUT("{\"map\":{\"a\":null,\"b\":\"c\",\"d\":null,\"e\":\"f\"}}"),
         "{\"map\":{\"b\":\"c\",\"e\":\"f\"}}"},
        {INPUT("{\"map\":{\"a\":null}}"), "{}"},
    };
    static const struct kit_text_case refused[] = {
        {INPUT("null"), "in: doc: expected an object, found null"},
        {INPUT("{\"m\":[{},null]}"), "in: doc.m[1]: expected an object, found null"},
        {INPUT("{\"names\":[null]}"), "in: doc.names[0]: expected a string, found null"},
        {INPUT("{\"num\":null,\"num\":1}"), "in: doc.num: given twice, expected once"},
    };

    kit_expect_all_read(cases, ARRAY_SIZE(cases));
    kit_expect_all_refused(refused, ARRAY_SIZE(refused));
}

Test(json_decode, refuses_other_types)
{
    /* one value of each type against one field of each kind */
    static const struct {
        const char *key, *want;
    } fields[] = {
        {"text", "a string"},   {"flag", "a boolean"}, {"num", "an integer"},
        {"size", "an integer"}, {"o", "an object"},    {"m", "a list"},
        {"names", "a list"},    {"map", "an object"},  {"nums", "a list"},
    };
    static const struct {
        const char *json, *name, *accepted; /* by which expectation */
    } values[] = {
        {"\"1\"", "a string", "a string"}, {"true", "a boolean", "a boolean"},
        {"1", "a number", "an integer"},   {"{}", "an object", "an object"},
        {"[]", "a list", "a list"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(values); j++) {
            char input[64], want[128];
            int len =
                snprintf(input, sizeof input, "{\"o\":{\"%s\":%s}}", fields[i].key, values[j].json);

            if (str_eq(fields[i].want, values[j].accepted))
                continue;
            snprintf(want, sizeof want, "in: doc.o.%s: expected %s, found %s", fields[i].key,
                     fields[i].want, values[j].name);
            kit_expect_refused(input, (size_t)len, want);
        }
    }
}

Test(json_decode, refuses_other_types_of_elements)
{
    static const struct kit_text_case cases[] = {
        {INPUT("[]"), "in: doc: expected an object, found a list"},
        {INPUT("\"a\""), "in: doc: expected an object, found a string"},
        {INPUT("1 "), "in: doc: expected an object, found a number"},
        {INPUT("1"), "in: doc: expected an object, found a number"},
        {INPUT("true"), "in: doc: expected an object, found a boolean"},
        {INPUT("{\"m\":[{},{},[]]}"), "in: doc.m[2]: expected an object, found a list"},
        {INPUT("{\"m\":[\"a\"]}"), "in: doc.m[0]: expected an object, found a string"},
        {INPUT("{\"m\":[1]}"), "in: doc.m[0]: expected an object, found a number"},
        {INPUT("{\"m\":[{\"m\":[{},{\"num\":\"a\"}]}]}"),
         "in: doc.m[0].m[1].num: expected an integer, found a string"},
        {INPUT("{\"names\":[\"a\",{}]}"), "in: doc.names[1]: expected a string, found an object"},
        {INPUT("{\"names\":[[]]}"), "in: doc.names[0]: expected a string, found a list"},
        {INPUT("{\"names\":[\"a\",\"b\",2]}"),
         "in: doc.names[2]: expected a string, found a number"},
        {INPUT("{\"nums\":[1,\"2\"]}"), "in: doc.nums[1]: expected an integer, found a string"},
        {INPUT("{\"nums\":[{}]}"), "in: doc.nums[0]: expected an integer, found an object"},
        {INPUT("{\"nums\":[1,2,[]]}"), "in: doc.nums[2]: expected an integer, found a list"},
        {INPUT("{\"nums\":[true]}"), "in: doc.nums[0]: expected an integer, found a boolean"},
        {INPUT("{\"nums\":[null]}"), "in: doc.nums[0]: expected an integer, found null"},
        {INPUT("{\"nums\":[0,1.5]}"), "in: doc.nums[1]: expected an integer, found 1.5"},
        {INPUT("{\"nums\":[10,11]}"), "in: doc.nums[1]: 11 is out of range -5..10"},
        {INPUT("{\"nums\":[-6]}"), "in: doc.nums[0]: -6 is out of range -5..10"},
        {INPUT("{\"names\":[false]}"), "in: doc.names[0]: expected a string, found a boolean"},
        {INPUT("{\"map\":{\"a.b\":{}}}"), "in: doc.map.a.b: expected a string, found an object"},
        {INPUT("{\"map\":{\"a\":[]}}"), "in: doc.map.a: expected a string, found a list"},
        {INPUT("{\"map\":{\"a\":\"b\",\"c\":1}}"),
         "in: doc.map.c: expected a string, found a number"},
        {INPUT("{\"map\":{\"a\":true}}"), "in: doc.map.a: expected a string, found a boolean"},
        /* the path is right again after a member that was skipped or finished */
        {INPUT("{\"x\":{\"y\":[{}]},\"o\":{\"m\":[{}],\"x\":[1],\"num\":{}}}"),
         "in: doc.o.num: expected an integer, found an object"},
    };

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
}

Test(json_decode, integers)
{
    static const struct kit_text_case read[] = {
        {INPUT("{\"num\":-5}"), NULL},
        {INPUT("{\"num\":10}"), NULL},
        {INPUT("{\"num\":0}"), NULL},
        {INPUT("{\"num\":-0}"), "{\"num\":0}"},
        {INPUT("{\"size\":0}"), NULL},
        {INPUT("{\"size\":100}"), NULL},
        {INPUT("{\"any\":-9223372036854775808}"), NULL},
        {INPUT("{\"any\":9223372036854775807}"), NULL},
        {INPUT("{\"huge\":9223372036854775808}"), NULL},
        {INPUT("{\"huge\":18446744073709551615}"), NULL},
    };
    static const struct kit_text_case refused[] = {
        {INPUT("{\"num\":-6}"), "in: doc.num: -6 is out of range -5..10"},
        {INPUT("{\"num\":11}"), "in: doc.num: 11 is out of range -5..10"},
        {INPUT("{\"num\":99999999999999999999}"),
         "in: doc.num: 99999999999999999999 is out of range -5..10"},
        {INPUT("{\"size\":101}"), "in: doc.size: 101 is out of range 0..100"},
        {INPUT("{\"size\":-1}"), "in: doc.size: -1 is out of range 0..100"},
        {INPUT("{\"size\":-0}"), "in: doc.size: -0 is out of range 0..100"},
        {INPUT("{\"any\":9223372036854775808}"), "in: doc.any: 9223372036854775808 is out of range "
                                                 "-9223372036854775808..9223372036854775807"},
        {INPUT("{\"any\":-9223372036854775809}"),
         "in: doc.any: -9223372036854775809 is out of range "
         "-9223372036854775808..9223372036854775807"},
        {INPUT("{\"huge\":18446744073709551616}"),
         "in: doc.huge: 18446744073709551616 is out of range 0..18446744073709551615"},
        {INPUT("{\"huge\":-18446744073709551616}"),
         "in: doc.huge: -18446744073709551616 is out of range 0..18446744073709551615"},
        {INPUT("{\"num\":1.5}"), "in: doc.num: expected an integer, found 1.5"},
        {INPUT("{\"num\":1.0}"), "in: doc.num: expected an integer, found 1.0"},
        {INPUT("{\"num\":1e3}"), "in: doc.num: expected an integer, found 1e3"},
        {INPUT("{\"size\":1.5}"), "in: doc.size: expected an integer, found 1.5"},
        {INPUT("{\"size\":1E+0}"), "in: doc.size: expected an integer, found 1E+0"},
        {INPUT("{\"text\":1.5}"), "in: doc.text: expected a string, found a number"},
        /* long ones are cut */
        {INPUT("{\"num\":1000000000000000000000000000000000000000000000000000000000000}"),
         "in: doc.num: 10000000000000000000000000000000000000000000... is out of range -5..10"},
    };

    kit_expect_all_read(read, ARRAY_SIZE(read));
    kit_expect_all_refused(refused, ARRAY_SIZE(refused));
}

/* Around the sizes of the buffers that messages are made in. */
Test(json_decode, long_text_in_messages)
{
    for (int len = 40; len < 200; len++) {
        char input[400], want[400];
        int shown_len = len < 48 ? len : 44, n;

        n = snprintf(input, sizeof input, "{\"num\":7%0*d}", len - 1, 0);
        snprintf(want, sizeof want, "in: doc.num: 7%0*d%s is out of range -5..10", shown_len - 1, 0,
                 len < 48 ? "" : "...");
        kit_expect_refused(input, (size_t)n, want);
        n = snprintf(input, sizeof input, "{\"%0*d\":[\"\\u0000\"]}", len, 0);
        snprintf(want, sizeof want,
                 "in: doc.%0*d: a NUL character in a string, expected text without",
                 len < 64 ? len : 63, 0);
        kit_expect_refused(input, (size_t)n, want);
    }
}

Test(json_decode, refuses_used_keys_twice)
{
    static const struct kit_text_case cases[] = {
        {INPUT("{\"text\":\"a\",\"text\":\"a\"}"), "in: doc.text: given twice, expected once"},
        /* the first and the last field of the table */
        {INPUT("{\"strict\":{},\"x\":1,\"strict\":{}}"),
         "in: doc.strict: given twice, expected once"},
        {INPUT("{\"m\":[{},{\"num\":1,\"num\":1}]}"),
         "in: doc.m[1].num: given twice, expected once"},
        {INPUT("{\"m\":[],\"m\":[]}"), "in: doc.m: given twice, expected once"},
        {INPUT("{\"map\":{\"b\":\"1\",\"a\":\"2\",\"b\":\"1\"}}"),
         "in: doc.map.b: given twice, expected once"},
        {INPUT("{\"map\":{\"a\":null,\"a\":\"2\"}}"), "in: doc.map.a: given twice, expected once"},
        {INPUT("{\"map\":{\"\":\"1\",\"\":\"2\"}}"), "in: doc.map.: given twice, expected once"},
        {INPUT("{\"map\":{},\"map\":{}}"), "in: doc.map: given twice, expected once"},
        {INPUT("{\"num\":1,\"n\\u0075m\":1}"), "in: doc.num: given twice, expected once"},
    };
    static const struct kit_text_case prefixes[] = {
        {INPUT("{\"map\":{\"ab\":\"1\",\"a\":\"2\",\"abc\":\"3\",\"\":\"4\",\"b\":\"5\"}}"), NULL},
        {INPUT("{\"map\":{\"\xc3\xa4\":\"1\",\"z\":\"2\"}}"), NULL},
    };

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
    kit_expect_all_read(prefixes, ARRAY_SIZE(prefixes));
}

Test(json_decode, strict_tables_say_what_they_expect)
{
    static const struct kit_text_case cases[] = {
        {INPUT("{\"strict\":{\"num\":1,\"flags\":true}}"),
         "in: doc.strict: unknown key \"flags\", expected one of: text, flag, num"},
        {INPUT("{\"strict\":{\"\":null}}"),
         "in: doc.strict: unknown key \"\", expected one of: text, flag, num"},
        {INPUT("{\"strict\":{\"a\\nb\\\\\":0}}"),
         "in: doc.strict: unknown key \"a\\x0ab\\x5c\", expected one of: text, flag, num"},
    };
    static const struct kit_text_case good[] = {
        {INPUT("{\"strict\":{\"text\":\"a\",\"flag\":true,\"num\":1}}"), NULL},
    };
    char input[300], want[200];
    int len;

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
    kit_expect_all_read(good, ARRAY_SIZE(good));
    len = snprintf(input, sizeof input, "{\"strict\":{\"%0200d\":1}}", 0);
    snprintf(want, sizeof want,
             "in: doc.strict: unknown key \"%060d...\", expected one of: text, flag, num", 0);
    kit_expect_refused(input, (size_t)len, want);
}

Test(json_decode, refuses_nul_anywhere)
{
    static const struct kit_text_case cases[] = {
        {INPUT("{\"text\":\"a\\u0000b\"}"),
         "in: doc.text: a NUL character in a string, expected text without"},
        {INPUT("{\"text\":\"\\u0000\"}"),
         "in: doc.text: a NUL character in a string, expected text without"},
        {INPUT("{\"names\":[\"a\",\"a\\u0000\"]}"),
         "in: doc.names[1]: a NUL character in a string, expected text without"},
        {INPUT("{\"map\":{\"k\":\"\\u0000\"}}"),
         "in: doc.map.k: a NUL character in a string, expected text without"},
        {INPUT("{\"map\":{\"\\u0000\":\"\"}}"),
         "in: doc.map: a NUL character in a key, expected text without"},
        {INPUT("{\"o\":{\"text\\u0000\":\"\"}}"),
         "in: doc.o: a NUL character in a key, expected text without"},
        {INPUT("{\"x\":\"a\\u0000b\"}"),
         "in: doc.x: a NUL character in a string, expected text without"},
        {INPUT("{\"x.y\":{\"z\":[1,{\"k\":\"\\u0000\"}]}}"),
         "in: doc.x.y: a NUL character in a string, expected text without"},
        {INPUT("{\"o\":{\"x\":[[{\"\\u0000k\":1}]]}}"),
         "in: doc.o.x: a NUL character in a key, expected text without"},
        /* not as an escape: no JSON at all */
        {INPUT("{\"text\":\"a\0b\"}"), "in: doc.text: no valid JSON after byte 7 (lexical error: "
                                       "invalid character inside string)"},
        {INPUT("{\"num\":1\0}"),
         "in: doc: no valid JSON after byte 8 (lexical error: invalid char in json text)"},
        {INPUT("\0"),
         "in: doc: no valid JSON after byte 0 (lexical error: invalid char in json text)"},
    };
    static const struct kit_text_case good[] = {
        {INPUT("{\"text\":\"\\u0001\\u0030\\\\u0000\"}"), "{\"text\":\"\\u00010\\\\u0000\"}"},
    };

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
    kit_expect_all_read(good, ARRAY_SIZE(good));
}

/* yajl takes them for blanks. */
Test(json_decode, odd_blanks)
{
    static const struct kit_text_case cases[] = {
        {INPUT("\f{}"), "in: doc: no valid JSON at byte 0 (a form feed or vertical tab)"},
        {INPUT("{}\v"), "in: no valid JSON at byte 2 (a form feed or vertical tab)"},
        {INPUT("{\"num\":\v1}"),
         "in: doc.num: no valid JSON at byte 7 (a form feed or vertical tab)"},
        {INPUT("{\"x\":[1,\f\v2]}"),
         "in: doc.x: no valid JSON at byte 8 (a form feed or vertical tab)"},
        {INPUT("{\"text\":\"a\fb\"}"),
         "in: doc.text: no valid JSON at byte 10 (a form feed or vertical tab)"},
        /* the first fault counts */
        {INPUT("{\"text\":\"\\ud800x\f\"}"),
         "in: doc.text: an unpaired surrogate escape before byte 15, expected valid text"},
    };
    static const struct kit_text_case good[] = {
        {INPUT(" \t\r\n{\"text\":\"\\f\\u000b\"}\n"), "{\"text\":\"\\f\\u000B\"}"},
    };

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
    kit_expect_all_read(good, ARRAY_SIZE(good));
}

Test(json_decode, utf8)
{
    /* the first and the last sequence of each length, and around the surrogates */
    static const struct kit_text_case good[] = {
        {INPUT("{\"text\":\"\x7f\xc2\x80\xdf\xbf\"}"), "{\"text\":\"\\u007F\\u0080\xdf\xbf\"}"},
        {INPUT("{\"text\":\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"}"), NULL},
        {INPUT("{\"text\":\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"}"), NULL},
    };
    static const char *const ours = "invalid UTF-8 in a string, expected valid text";
    static const struct kit_text_case overlong[] = {
        {INPUT("\xc0\x80"), NULL},         {INPUT("\xc1\xbf"), NULL},
        {INPUT("\xe0\x80\x80"), NULL},     {INPUT("\xe0\x9f\xbf"), NULL},
        {INPUT("\xed\xa0\x80"), NULL},     {INPUT("\xed\xbf\xbf"), NULL},
        {INPUT("\xf0\x80\x80\x80"), NULL}, {INPUT("\xf0\x8f\xbf\xbf"), NULL},
        {INPUT("\xf4\x90\x80\x80"), NULL}, {INPUT("\xf5\x80\x80\x80"), NULL},
    };
    static const struct kit_text_case cases[] = {
        {INPUT("{\"text\":\"a\xff\"}"),
         "in: doc.text: no valid JSON after byte 7 (lexical error: invalid bytes in UTF8 string)"},
        {INPUT("{\"x\":[\"\x80\"]}"),
         "in: doc.x: no valid JSON after byte 6 (lexical error: invalid bytes in UTF8 string)"},
        {INPUT("{\"\xe2\x82\":1}"),
         "in: doc: no valid JSON after byte 1 (lexical error: invalid bytes in UTF8 string)"},
        {INPUT("{\"o\":{\"\xc0\x80\":1}}"),
         "in: doc.o: invalid UTF-8 in a key, expected valid text"},
        {INPUT("{\"x\":{\"\xc0\x80\":1}}"),
         "in: doc.x: invalid UTF-8 in a key, expected valid text"},
        {INPUT("\xef\xbb\xbf{}"),
         "in: doc: no valid JSON after byte 0 (lexical error: invalid char in json text)"},
    };

    kit_expect_all_read(good, ARRAY_SIZE(good));
    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(overlong); i++) {
        static const char *const keys[] = {"text", "x"};

        for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
            char input[64], want[128];
            int len = snprintf(input, sizeof input, "{\"%s\":\"a%s\"}", keys[k], overlong[i].input);

            snprintf(want, sizeof want, "in: doc.%s: %s", keys[k], ours);
            kit_expect_refused(input, (size_t)len, want);
        }
    }
}

Test(json_decode, surrogate_escapes)
{
    static const struct kit_text_case good[] = {
        {INPUT("{\"text\":\"\\ud800\\udc00\"}"), "{\"text\":\"\xf0\x90\x80\x80\"}"},
        {INPUT("{\"text\":\"\\uDBFF\\uDFFF\\uD83D\\ude00x\"}"),
         "{\"text\":\"\xf4\x8f\xbf\xbf\xf0\x9f\x98\x80x\"}"},
        {INPUT("{\"text\":\"\\ud7ff\\ue000\\u00e9\"}"),
         "{\"text\":\"\xed\x9f\xbf\xee\x80\x80\xc3\xa9\"}"},
        /* every digit counts, in both cases */
        {INPUT("{\"text\":\"\\uda0f\\udfa9\\uDA0F\\uDFA9\"}"),
         "{\"text\":\"\xf2\x93\xbe\xa9\xf2\x93\xbe\xa9\"}"},
        {INPUT("{\"text\":\"\\\\ud800\"}"), NULL},
        {INPUT("{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}"),
         "{\"text\":\"\\\"\\\\/\\b\\f\\n\\r\\t\"}"},
    };
    static const char form[] =
        "in: doc.%s: an unpaired surrogate escape before byte %zu, expected valid text";
    static const struct {
        const char *text;
        size_t at; /* from the beginning of the text */
    } bad[] = {
        {"\\ud800", 6},
        {"\\udbffa", 6},
        {"\\ud800\\n", 7},
        {"\\ud800\\\\u1234", 7},
        {"\\ud800\\ud800", 11},
        {"\\ud800\\u0041", 11},
        {"\\ud800\\ue000", 11},
        {"\\ud800\\udbff", 11},
        {"\\udc00", 5},
        {"\\uDFFF", 5},
        {"\\ud800\\udc00\\udc00", 17},
        {"\\n\\ud900 \\udc00", 8},
    };

    kit_expect_all_read(good, ARRAY_SIZE(good));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char input[64], want[128];
        int len = snprintf(input, sizeof input, "{\"x\":\"%s\"}", bad[i].text);

        snprintf(want, sizeof want, form, "x", bad[i].at + 6);
        kit_expect_refused(input, (size_t)len, want);
        len = snprintf(input, sizeof input, "{\"text\":\"%s\"}", bad[i].text);
        snprintf(want, sizeof want, form, "text", bad[i].at + 9);
        kit_expect_refused(input, (size_t)len, want);
    }
}
