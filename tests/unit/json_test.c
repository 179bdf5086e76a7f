/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

/* A struct with a member of every kind, and itself inside, for documents of any depth. */
struct sample {
    char *text;
    struct json_bool flag;
    struct json_i64 num;    /* -5..10 */
    struct json_i64 any;    /* all of int64_t */
    struct json_u64 size;   /* 0..100 */
    struct json_u64 huge;   /* all of uint64_t */
    struct sample *one;     /* "o" */
    struct json_list many;  /* "m", struct sample */
    struct json_list names; /* char * */
    struct json_list nums;  /* int64_t */
    struct json_list map;   /* struct json_pair */
    struct sample *tight;   /* "strict" */
};

static const struct json_table sample_table;

static const struct json_field strict_fields[] = {
    JSON_F_STRING("text", struct sample, text),
    JSON_F_BOOL("flag", struct sample, flag),
    JSON_F_I64("num", struct sample, num, -5, 10),
};
static const struct json_table strict_table = {.fields = strict_fields,
                                               .count = ARRAY_SIZE(strict_fields),
                                               .size = sizeof(struct sample),
                                               .strict = true};

static const struct json_field sample_fields[] = {
    JSON_F_STRING("text", struct sample, text),
    JSON_F_BOOL("flag", struct sample, flag),
    JSON_F_I64("num", struct sample, num, -5, 10),
    JSON_F_I64("any", struct sample, any, INT64_MIN, UINT64_MAX),
    JSON_F_U64("size", struct sample, size, 100),
    JSON_F_U64("huge", struct sample, huge, UINT64_MAX),
    JSON_F_OBJECT("o", struct sample, one, &sample_table),
    JSON_F_OBJECT_LIST("m", struct sample, many, &sample_table),
    JSON_F_STRING_LIST("names", struct sample, names),
    JSON_F_I64_LIST("nums", struct sample, nums, -5, 10),
    JSON_F_STRING_MAP("map", struct sample, map),
    JSON_F_OBJECT("strict", struct sample, tight, &strict_table),
};
static const struct json_table sample_table = {
    .fields = sample_fields, .count = ARRAY_SIZE(sample_fields), .size = sizeof(struct sample)};

/* Input with its length, as it may hold a NUL. */
#define INPUT(s) .input = s, .len = sizeof(s) - 1

struct text_case {
    const char *input;
    size_t len;
    const char *want; /* message or written form; NULL: the input as it is */
};

#define MAX_CHUNK 31

static const char *shown(const char *input, size_t len)
{
    static char part[512], buf[2048];

    if (len >= sizeof part)
        len = sizeof part - 1;
    memcpy(part, input, len);
    part[len] = '\0';
    return str_escape(part, buf, sizeof buf);
}

static int parse(const char *input, size_t len, size_t chunk, struct sample *ret, struct arena *a,
                 struct err *e)
{
    struct json_doc doc = {.table = &sample_table, .dest = ret, .name = "doc"};

    return json_read_text(input, len, &doc, 1, chunk, "in", a, e);
}

static void expect_refused(const char *input, size_t len, const char *want)
{
    for (size_t chunk = 0; chunk <= MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct sample s = {0};
        struct err e = ERR_INIT;
        int r = parse(input, len, chunk, &s, &a, &e);

        cr_expect(r == -EINVAL && e.code == -EINVAL && e.bad_input && str_eq(e.text, want),
                  "chunk %zu\ninput:    %s\nexpected: %s\ngot:      %d, %s", chunk,
                  shown(input, len), want, r, e.text);
    }
}

static void expect_reads(const char *input, size_t len, const char *want)
{
    for (size_t chunk = 0; chunk <= MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct json_writer *w = json_writer_new(false);
        struct sample s = {0};
        struct err e = ERR_INIT;
        int r = parse(input, len, chunk, &s, &a, &e);
        size_t written;
        const char *got;

        json_write_table(w, NULL, &sample_table, &s);
        got = json_writer_text(w, &written);
        cr_expect(r == 1 && written == strlen(want) && str_eq(got, want),
                  "chunk %zu\ninput:    %s\nexpected: 1, %s\ngot:      %d, %s %s", chunk,
                  shown(input, len), want, r, got, e.text);
        json_writer_free(w);
    }
}

static void expect_all_refused(const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_refused(cases[i].input, cases[i].len, cases[i].want);
}

static void expect_all_read(const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_reads(cases[i].input, cases[i].len, cases[i].want ? cases[i].want : cases[i].input);
}

/* --- reading --- */

Test(json, stores_every_kind)
{
    static const char input[] =
        "{\"text\":\"t\",\"flag\":true,\"num\":-5,\"any\":7,\"size\":100,\"huge\":8,"
        "\"o\":{\"num\":1},\"m\":[{\"num\":2},{\"flag\":false}],\"names\":[\"x\",\"\"],"
        "\"nums\":[10,-5],\"map\":{\"k.1\":\"v1\",\"\":\"v2\"}}";
    autoarena a = ARENA_INIT;
    struct sample s = {0}, *second;
    struct err e = ERR_INIT;

    cr_assert_eq(parse(input, sizeof input - 1, 0, &s, &a, &e), 1, "%s", e.text);
    cr_expect_str_eq(s.text, "t");
    cr_expect(s.flag.set && s.flag.value);
    cr_expect(s.num.set && s.num.value == -5);
    cr_expect(s.any.set && s.any.value == 7);
    cr_expect(s.size.set && s.size.value == 100);
    cr_expect(s.huge.set && s.huge.value == 8);
    cr_assert_not_null(s.one);
    cr_expect(s.one->num.set && s.one->num.value == 1 && !s.one->flag.set && !s.one->text);
    cr_assert_eq(s.many.count, 2);
    second = &JSON_AT(s.many, struct sample, 1);
    cr_expect(JSON_AT(s.many, struct sample, 0).num.value == 2);
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

Test(json, absent_leaves_the_struct_zeroed)
{
    autoarena a = ARENA_INIT;
    struct sample s = {0}, zero = {0};

    cr_assert_eq(parse("{}", 2, 0, &s, &a, NULL), 1);
    cr_expect(memcmp(&s, &zero, sizeof s) == 0);
}

Test(json, accepts)
{
    static const struct text_case cases[] = {
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

    expect_all_read(cases, ARRAY_SIZE(cases));
}

Test(json, null_is_absent)
{
    static const struct text_case cases[] = {
        {INPUT("{\"text\":null,\"flag\":null,\"num\":null,\"any\":null,\"size\":null,\"huge\":null,"
               "\"o\":null,\"m\":null,\"names\":null,\"map\":null,\"strict\":null,\"x\":null}"),
         "{}"},
        {INPUT("{\"map\":{\"a\":null,\"b\":\"c\",\"d\":null,\"e\":\"f\"}}"),
         "{\"map\":{\"b\":\"c\",\"e\":\"f\"}}"},
        {INPUT("{\"map\":{\"a\":null}}"), "{}"},
    };
    static const struct text_case refused[] = {
        {INPUT("null"), "in: doc: expected an object, found null"},
        {INPUT("{\"m\":[{},null]}"), "in: doc.m[1]: expected an object, found null"},
        {INPUT("{\"names\":[null]}"), "in: doc.names[0]: expected a string, found null"},
        {INPUT("{\"num\":null,\"num\":1}"), "in: doc.num: given twice, expected once"},
    };

    expect_all_read(cases, ARRAY_SIZE(cases));
    expect_all_refused(refused, ARRAY_SIZE(refused));
}

Test(json, refuses_other_types)
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
            expect_refused(input, (size_t)len, want);
        }
    }
}

Test(json, refuses_other_types_of_elements)
{
    static const struct text_case cases[] = {
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

    expect_all_refused(cases, ARRAY_SIZE(cases));
}

Test(json, integers)
{
    static const struct text_case read[] = {
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
    static const struct text_case refused[] = {
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

    expect_all_read(read, ARRAY_SIZE(read));
    expect_all_refused(refused, ARRAY_SIZE(refused));
}

/* Around the sizes of the buffers that messages are made in. */
Test(json, long_text_in_messages)
{
    for (int len = 40; len < 200; len++) {
        char input[400], want[400];
        int shown_len = len < 48 ? len : 44, n;

        n = snprintf(input, sizeof input, "{\"num\":7%0*d}", len - 1, 0);
        snprintf(want, sizeof want, "in: doc.num: 7%0*d%s is out of range -5..10", shown_len - 1, 0,
                 len < 48 ? "" : "...");
        expect_refused(input, (size_t)n, want);
        n = snprintf(input, sizeof input, "{\"%0*d\":[\"\\u0000\"]}", len, 0);
        snprintf(want, sizeof want,
                 "in: doc.%0*d: a NUL character in a string, expected text without",
                 len < 64 ? len : 63, 0);
        expect_refused(input, (size_t)n, want);
    }
}

Test(json, refuses_used_keys_twice)
{
    static const struct text_case cases[] = {
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
    static const struct text_case prefixes[] = {
        {INPUT("{\"map\":{\"ab\":\"1\",\"a\":\"2\",\"abc\":\"3\",\"\":\"4\",\"b\":\"5\"}}"), NULL},
        {INPUT("{\"map\":{\"\xc3\xa4\":\"1\",\"z\":\"2\"}}"), NULL},
    };

    expect_all_refused(cases, ARRAY_SIZE(cases));
    expect_all_read(prefixes, ARRAY_SIZE(prefixes));
}

Test(json, strict_tables_say_what_they_expect)
{
    static const struct text_case cases[] = {
        {INPUT("{\"strict\":{\"num\":1,\"flags\":true}}"),
         "in: doc.strict: unknown key \"flags\", expected one of: text, flag, num"},
        {INPUT("{\"strict\":{\"\":null}}"),
         "in: doc.strict: unknown key \"\", expected one of: text, flag, num"},
        {INPUT("{\"strict\":{\"a\\nb\\\\\":0}}"),
         "in: doc.strict: unknown key \"a\\x0ab\\x5c\", expected one of: text, flag, num"},
    };
    static const struct text_case good[] = {
        {INPUT("{\"strict\":{\"text\":\"a\",\"flag\":true,\"num\":1}}"), NULL},
    };
    char input[300], want[200];
    int len;

    expect_all_refused(cases, ARRAY_SIZE(cases));
    expect_all_read(good, ARRAY_SIZE(good));
    len = snprintf(input, sizeof input, "{\"strict\":{\"%0200d\":1}}", 0);
    snprintf(want, sizeof want,
             "in: doc.strict: unknown key \"%060d...\", expected one of: text, flag, num", 0);
    expect_refused(input, (size_t)len, want);
}

Test(json, refuses_nul_anywhere)
{
    static const struct text_case cases[] = {
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
    static const struct text_case good[] = {
        {INPUT("{\"text\":\"\\u0001\\u0030\\\\u0000\"}"), "{\"text\":\"\\u00010\\\\u0000\"}"},
    };

    expect_all_refused(cases, ARRAY_SIZE(cases));
    expect_all_read(good, ARRAY_SIZE(good));
}

Test(json, utf8)
{
    /* the first and the last sequence of each length, and around the surrogates */
    static const struct text_case good[] = {
        {INPUT("{\"text\":\"\x7f\xc2\x80\xdf\xbf\"}"), NULL},
        {INPUT("{\"text\":\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"}"), NULL},
        {INPUT("{\"text\":\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"}"), NULL},
    };
    static const char *const ours = "invalid UTF-8 in a string, expected valid text";
    static const struct text_case overlong[] = {
        {INPUT("\xc0\x80"), NULL},         {INPUT("\xc1\xbf"), NULL},
        {INPUT("\xe0\x80\x80"), NULL},     {INPUT("\xe0\x9f\xbf"), NULL},
        {INPUT("\xed\xa0\x80"), NULL},     {INPUT("\xed\xbf\xbf"), NULL},
        {INPUT("\xf0\x80\x80\x80"), NULL}, {INPUT("\xf0\x8f\xbf\xbf"), NULL},
        {INPUT("\xf4\x90\x80\x80"), NULL}, {INPUT("\xf5\x80\x80\x80"), NULL},
    };
    static const struct text_case cases[] = {
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

    expect_all_read(good, ARRAY_SIZE(good));
    expect_all_refused(cases, ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(overlong); i++) {
        static const char *const keys[] = {"text", "x"};

        for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
            char input[64], want[128];
            int len = snprintf(input, sizeof input, "{\"%s\":\"a%s\"}", keys[k], overlong[i].input);

            snprintf(want, sizeof want, "in: doc.%s: %s", keys[k], ours);
            expect_refused(input, (size_t)len, want);
        }
    }
}

Test(json, surrogate_escapes)
{
    static const struct text_case good[] = {
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

    expect_all_read(good, ARRAY_SIZE(good));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char input[64], want[128];
        int len = snprintf(input, sizeof input, "{\"x\":\"%s\"}", bad[i].text);

        snprintf(want, sizeof want, form, "x", bad[i].at + 6);
        expect_refused(input, (size_t)len, want);
        len = snprintf(input, sizeof input, "{\"text\":\"%s\"}", bad[i].text);
        snprintf(want, sizeof want, form, "text", bad[i].at + 9);
        expect_refused(input, (size_t)len, want);
    }
}

Test(json, syntax_errors_are_one_line_with_an_offset)
{
    static const struct text_case cases[] = {
        {INPUT("{\"num\":1,}"),
         "in: doc: no valid JSON after byte 8 (parse error: invalid object key "
         "(must be a string))"},
        {INPUT("{\"num\" 1}"),
         "in: doc.num: no valid JSON after byte 6 (parse error: object key and "
         "value must be separated by a colon (':'))"},
        {INPUT("{\"num\":+1}"),
         "in: doc.num: no valid JSON after byte 6 (lexical error: invalid char in json text)"},
        {INPUT("{\"num\":01}"),
         "in: doc: no valid JSON after byte 8 (parse error: after key and value, "
         "inside map, I expect ',' or '}')"},
        {INPUT("{\"num\":-}"), "in: doc.num: no valid JSON after byte 6 (lexical error: malformed "
                               "number, a digit is required after the minus sign)"},
        {INPUT("{\"num\":1e}"), "in: doc.num: no valid JSON after byte 6 (lexical error: malformed "
                                "number, a digit is required after the exponent)"},
        {INPUT("{\"text\":'a'}"),
         "in: doc.text: no valid JSON after byte 7 (lexical error: invalid char in json text)"},
        {INPUT("{\"flag\":True}"),
         "in: doc.flag: no valid JSON after byte 7 (lexical error: invalid char in json text)"},
        {INPUT("{\"x\":[1,/* c */2]}"), "in: doc.x: no valid JSON after byte 7 (lexical error: "
                                        "probable comment found in input text, "
                                        "comments are not enabled)"},
        {INPUT("{} // c"),
         "in: no valid JSON after byte 2 (lexical error: probable comment found in input text, "
         "comments are not enabled)"},
        {INPUT("{\"text\":\"\\u12g4\"}"),
         "in: doc.text: no valid JSON after byte 7 (lexical error: "
         "invalid (non-hex) character occurs "
         "after '\\u' inside string)"},
        {INPUT("{\"text\":\"\\ud8\\u0041\"}"), "in: doc.text: no valid JSON after byte 7 (lexical "
                                               "error: invalid (non-hex) character occurs "
                                               "after '\\u' inside string)"},
        {INPUT("{\"m\":[{},}]}"),
         "in: doc.m[1]: no valid JSON after byte 8 (parse error: unallowed token at this point in "
         "JSON text)"},
        {INPUT("}"),
         "in: doc: no valid JSON after byte 0 (parse error: unallowed token at this point in JSON "
         "text)"},
    };

    expect_all_refused(cases, ARRAY_SIZE(cases));
}

/* @open @count times, then @middle, then @close @count times; the caller frees. */
static char *nest(const char *open, const char *middle, const char *close, size_t count)
{
    struct sbuf b = SBUF_INIT;

    for (size_t i = 0; i < count; i++)
        sbuf_add(&b, open, strlen(open));
    sbuf_add(&b, middle, strlen(middle));
    for (size_t i = 0; i < count; i++)
        sbuf_add(&b, close, strlen(close));
    return b.text;
}

Test(json, depth)
{
    /* @levels that one repetition adds, and the repetitions that make 64 with what surrounds them
     */
    static const struct {
        const char *before, *open, *middle, *close, *after;
        size_t fit;
        const char *path; /* of what is one too many; NULL: cut, not compared */
    } cases[] = {
        {"{\"x\":", "[", "", "]", "}", 63, "doc.x"},
        {"{\"x\":", "{\"a\":", "1", "}", "}", 63, "doc.x"},
        {"{\"x\":", "[{\"a\":", "[]", "}]", "}", 31, "doc.x"},
        {"{\"o\":{\"m\":[{\"x\":", "[", "", "]", "}]}}", 60, "doc.o.m[0].x"},
        {"", "{\"o\":", "{}", "}", "", 63, NULL},
        {"", "{\"m\":[", "{\"num\":1},{\"x\":[]}", "]}", "", 31, NULL},
        {"", "{\"m\":[", "{},{\"names\":[]}", "]}", "", 31, NULL},
        {"", "{\"m\":[", "{},{\"map\":{}}", "]}", "", 31, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t extra = 0; extra < 2; extra++) {
            autofree char *nested =
                nest(cases[i].open, cases[i].middle, cases[i].close, cases[i].fit + extra);
            autosbuf input = SBUF_INIT;
            autoarena a = ARENA_INIT;
            struct sample s = {0};
            struct err e = ERR_INIT;
            char want[128];
            int r;

            sbuf_addf(&input, "%s%s%s", cases[i].before, nested, cases[i].after);
            r = parse(input.text, input.len, 0, &s, &a, &e);
            if (extra == 0) {
                cr_expect(r == 1, "input: %s\nexpected: 1\ngot: %d, %s", input.text, r, e.text);
                continue;
            }
            cr_expect(r == -EINVAL && e.bad_input &&
                          str_ends(e.text, ": nested too deep, expected at most 64 levels"),
                      "input: %s\nexpected: nested too deep\ngot: %d, %s", input.text, r, e.text);
            snprintf(want, sizeof want, "in: %s: nested too deep, expected at most 64 levels",
                     cases[i].path ? cases[i].path : "");
            if (cases[i].path)
                expect_refused(input.text, input.len, want);
        }
    }
}

Test(json, depth_counts_what_is_open_only)
{
    autofree char *list = nest("[{\"a\":{}},[]],", "[]", "", 500);
    autosbuf input = SBUF_INIT;

    sbuf_addf(&input, "{\"x\":[%s],\"num\":1}", list);
    expect_reads(input.text, input.len, "{\"num\":1}");
}

Test(json, a_million_open_brackets, .timeout = 20)
{
    static const char *const open[] = {"[", "{\"x\":", "{\"o\":", "{\"m\":["};

    for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
        for (size_t used = 0; used < 2; used++) {
            autofree char *brackets = nest(open[i], "", "", 1000000);
            autosbuf input = SBUF_INIT;
            autoarena a = ARENA_INIT;
            struct sample s = {0};
            struct err e = ERR_INIT;
            int r;

            sbuf_addf(&input, "%s%s", used ? "" : "{\"y\":", brackets);
            r = parse(input.text, input.len, 0, &s, &a, &e);
            cr_expect(r == -EINVAL && e.bad_input, "input: %s x 10^6\ngot: %d", open[i], r);
            if (used && i == 0)
                cr_expect_str_eq(e.text, "in: doc: expected an object, found a list");
            else
                cr_expect(str_ends(e.text, ": nested too deep, expected at most 64 levels"),
                          "input: %s x 10^6\ngot: %s", open[i], e.text);
        }
    }
}

Test(json, truncated)
{
    static const char full[] =
        " {\"text\":\"a\\u00e9\",\"flag\":true,\"num\":-1,\"x\":[null,1.5,{}],"
        "\"m\":[{\"num\":1},{}],\"names\":[\"a\"],\"map\":{\"k\":\"v\"}}";
    autoarena a = ARENA_INIT;
    struct sample s = {0};

    cr_assert_eq(parse(full, sizeof full - 1, 0, &s, &a, NULL), 1);
    for (size_t len = 2; len < sizeof full - 1; len++) {
        autoarena part = ARENA_INIT;
        struct sample partial = {0};
        struct err e = ERR_INIT;
        char tail[128];
        int r = parse(full, len, 0, &partial, &part, &e);

        snprintf(tail, sizeof tail,
                 ": the input ends early, at byte %zu, expected the rest of the document", len);
        cr_expect(r == -EINVAL && e.bad_input && str_starts(e.text, "in: doc") &&
                      str_ends(e.text, tail),
                  "input: %.*s\nexpected: ...%s\ngot: %d, %s", (int)len, full, tail, r, e.text);
        expect_refused(full, len, e.text);
    }
}

Test(json, truncated_says_where)
{
    static const struct text_case cases[] = {
        {INPUT("{\"o\":{\"num\":1"),
         "in: doc.o: the input ends early, at byte 13, expected the rest of the document"},
        {INPUT("{\"m\":[{},{\"text\":\"a"),
         "in: doc.m[1].text: the input ends early, at byte 19, expected the rest of the document"},
        {INPUT("\"abc"),
         "in: doc: the input ends early, at byte 4, expected the rest of the document"},
        {INPUT("{} \"abc"),
         "in: the input ends early, at byte 7, expected the rest of the document"},
        {INPUT("{}\n\""), "in: the input ends early, at byte 4, expected the rest of the document"},
        {INPUT("{} tr"), "in: the input ends early, at byte 5, expected the rest of the document"},
    };

    expect_all_refused(cases, ARRAY_SIZE(cases));
}

Test(json, documents_of_a_stream)
{
    static const struct {
        const char *input;
        int want; /* number of documents, -EINVAL */
        const char *message;
    } cases[] = {
        {"", 0, ""},
        {" \n\t\r ", 0, ""},
        {"{}", 1, ""},
        {"{}\n", 1, ""},
        {"{\"num\":1}{\"num\":2}", 2, ""},
        {"\n{\"num\":1}\n\n{\"num\":2}\n", 2, ""},
        {"{}{}{}", -EINVAL,
         "in: an object follows the last document, expected the end of the input"},
        {"{}{} 1", -EINVAL,
         "in: a number follows the last document, expected the end of the input"},
        {"{}{}[]", -EINVAL, "in: a list follows the last document, expected the end of the input"},
        {"{}{}\"a\"", -EINVAL,
         "in: a string follows the last document, expected the end of the input"},
        {"{}{}null", -EINVAL, "in: null follows the last document, expected the end of the input"},
        {"{}{}true ", -EINVAL,
         "in: a boolean follows the last document, expected the end of the input"},
        {"{}[]", -EINVAL, "in: two: expected an object, found a list"},
        {"{}{\"num\":11}", -EINVAL, "in: two.num: 11 is out of range -5..10"},
        {"{\"num\":11}{}", -EINVAL, "in: num: 11 is out of range -5..10"},
        {"[]", -EINVAL, "in: expected an object, found a list"},
        {"{},{}", -EINVAL,
         "in: two: no valid JSON after byte 2 (parse error: unallowed token at this point in JSON "
         "text)"},
        {"{}{", -EINVAL,
         "in: two: the input ends early, at byte 3, expected the rest of the document"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t chunk = 0; chunk <= MAX_CHUNK; chunk++) {
            autoarena a = ARENA_INIT;
            struct sample one = {0}, two = {0};
            struct json_doc docs[] = {
                {.table = &sample_table, .dest = &one, .name = NULL},
                {.table = &sample_table, .dest = &two, .name = "two"},
            };
            struct err e = ERR_INIT;
            int r = json_read_text(cases[i].input, strlen(cases[i].input), docs, 2, chunk, "in", &a,
                                   &e);

            cr_expect(r == cases[i].want && str_eq(e.text, cases[i].message),
                      "chunk %zu\ninput:    %s\nexpected: %d, %s\ngot:      %d, %s", chunk,
                      cases[i].input, cases[i].want, cases[i].message, r, e.text);
            if (r == 2) {
                cr_expect(one.num.value == 1 && two.num.value == 2, "input: %s", cases[i].input);
            }
        }
    }
}

Test(json, one_document_only)
{
    expect_refused("{} {}", 5,
                   "in: an object follows the last document, expected one document only");
}

Test(json, messages_are_escaped_and_bounded)
{
    static const char escapes[] = "{\"map\":{\"\\u001b[2J\\n\xc3\xa9\":1}}";
    autoarena a = ARENA_INIT;
    autosbuf input = SBUF_INIT;
    char where[1000];
    struct sample s = {0};
    struct json_doc doc = {.table = &sample_table, .dest = &s};
    struct err e = ERR_INIT;

    json_read_text(escapes, sizeof escapes - 1, &doc, 1, 0, "a\nb", &a, &e);
    cr_expect_str_eq(e.text,
                     "a\\x0ab: map.\\x1b[2J\\x0a\\xc3\\xa9: expected a string, found a number");

    /* everything at its longest: each part is cut, and none of them makes the others disappear */
    memset(where, 'w', sizeof where - 1);
    where[sizeof where - 1] = '\0';
    sbuf_addf(&input, "{\"map\":{\"%0500d\":true}}", 0);
    err_reset(&e);
    s = (struct sample){0};
    json_read_text(input.text, input.len, &doc, 1, 0, where, &a, &e);
    cr_expect(str_starts(e.text, "wwww") && strstr(e.text, "w...: map.0000") &&
                  str_ends(e.text, "000...: expected a string, found a boolean"),
              "got %s", e.text);
    input.len = 0;
    sbuf_addf(&input, "{\"%0500d\":{\"\\u0000\":1}}", 0);
    err_reset(&e);
    s = (struct sample){0};
    json_read_text(input.text, input.len, &doc, 1, 0, "in", &a, &e);
    cr_expect(str_starts(e.text, "in: 00000") &&
                  str_ends(e.text, "000: a NUL character in a key, expected text without"),
              "got %s", e.text);
}

Test(json, the_error_is_optional_and_the_first_one_stays)
{
    autoarena a = ARENA_INIT;
    struct sample s = {0};
    struct err e = ERR_INIT;

    cr_expect_eq(parse("[", 1, 0, &s, &a, NULL), -EINVAL);
    err_set(&e, -EPERM, "first");
    cr_expect_eq(parse("[", 1, 0, &s, &a, &e), -EINVAL);
    cr_expect_str_eq(e.text, "first");
}

Test(json, lists_and_maps_of_ten_thousand, .timeout = 20)
{
    enum { COUNT = 10000 };
    autoarena a = ARENA_INIT;
    autosbuf input = SBUF_INIT;
    struct sample s = {0};
    struct err e = ERR_INIT;
    int r;

    sbuf_addf(&input, "{\"m\":[");
    for (int i = 0; i < COUNT; i++)
        sbuf_addf(&input, "%s{\"any\":%d}", i > 0 ? "," : "", i);
    sbuf_addf(&input, "],\"names\":[");
    for (int i = 0; i < COUNT; i++)
        sbuf_addf(&input, "%s\"n%d\"", i > 0 ? "," : "", i);
    sbuf_addf(&input, "],\"map\":{");
    for (int i = 0; i < COUNT; i++)
        sbuf_addf(&input, "%s\"k%d\":\"v%d\"", i > 0 ? "," : "", i, i);
    sbuf_addf(&input, "}}");
    r = parse(input.text, input.len, 0, &s, &a, &e);
    cr_assert(r == 1 && s.many.count == COUNT && s.names.count == COUNT && s.map.count == COUNT,
              "got %d, %s", r, e.text);
    for (int i = 0; i < COUNT; i++) {
        char want[16];

        cr_assert_eq(JSON_AT(s.many, struct sample, i).any.value, i);
        snprintf(want, sizeof want, "n%d", i);
        cr_assert_str_eq(JSON_AT(s.names, char *, i), want);
        snprintf(want, sizeof want, "k%d", i);
        cr_assert_str_eq(JSON_AT(s.map, struct json_pair, i).key, want);
        *want = 'v';
        cr_assert_str_eq(JSON_AT(s.map, struct json_pair, i).value, want);
    }
    /* a key of the middle once more, at the end */
    input.len -= 2;
    sbuf_addf(&input, ",\"k5000\":\"\"}}");
    s = (struct sample){0};
    r = parse(input.text, input.len, 0, &s, &a, &e);
    cr_expect(r == -EINVAL && str_eq(e.text, "in: doc.map.k5000: given twice, expected once"),
              "got %d, %s", r, e.text);
}

/* --- reading a descriptor --- */

static int file_with(const char *text, size_t len)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static int parse_fd(const char *text, size_t len, size_t max, size_t chunk, struct sample *ret,
                    struct arena *a, struct err *e)
{
    struct json_doc doc = {.table = &sample_table, .dest = ret, .name = "doc"};
    autofd fd = file_with(text, len);

    return json_read_fd(fd, &doc, 1, max, chunk, "in", a, e);
}

Test(json, descriptor_and_text_read_the_same)
{
    static const struct text_case cases[] = {
        {INPUT(""), ""},
        {INPUT("{\"num\":1,\"x\":[\"\\ud83d\\ude00\"]} \n"), ""},
        {INPUT("{\"num\":11}"), "in: doc.num: 11 is out of range -5..10"},
        {INPUT("{\"x\":[,1]}"),
         "in: doc.x: no valid JSON after byte 6 (parse error: unallowed token at "
         "this point in JSON text)"},
        {INPUT("{\"x\":\"\\udc00\"}"),
         "in: doc.x: an unpaired surrogate escape before byte 11, expected valid text"},
        {INPUT("{\"x\":\"a"),
         "in: doc.x: the input ends early, at byte 7, expected the rest of the document"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t chunk = 0; chunk <= MAX_CHUNK; chunk++) {
            autoarena a = ARENA_INIT;
            struct sample s = {0};
            struct err e = ERR_INIT;
            int want = *cases[i].want ? -EINVAL : cases[i].len > 0;
            int r = parse_fd(cases[i].input, cases[i].len, 1000, chunk, &s, &a, &e);

            cr_expect(r == want && str_eq(e.text, cases[i].want) && e.bad_input == (r < 0),
                      "chunk %zu\ninput:    %s\nexpected: %d, %s\ngot:      %d, %s", chunk,
                      cases[i].input, want, cases[i].want, r, e.text);
        }
    }
}

Test(json, byte_limit)
{
    static const char input[] = "{\"num\":1}  ";
    const size_t len = sizeof input - 1;

    for (size_t chunk = 0; chunk <= MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct sample s = {0};
        struct err e = ERR_INIT;
        int r = parse_fd(input, len, len, chunk, &s, &a, &e);

        cr_expect(r == 1, "chunk %zu: %d, %s", chunk, r, e.text);
        s = (struct sample){0};
        r = parse_fd(input, len, len - 1, chunk, &s, &a, &e);
        cr_expect(r == -EINVAL && e.bad_input &&
                      str_eq(e.text, "in: too long, expected at most 10 bytes"),
                  "chunk %zu: %d, %s", chunk, r, e.text);
        /* an earlier fault wins, however much was read at once */
        err_reset(&e);
        s = (struct sample){0};
        r = parse_fd("{\"num\":11} ", 11, 10, chunk, &s, &a, &e);
        cr_expect(r == -EINVAL && str_eq(e.text, "in: doc.num: 11 is out of range -5..10"),
                  "chunk %zu: %d, %s", chunk, r, e.text);
        /* the limit may fall into a token */
        err_reset(&e);
        s = (struct sample){0};
        r = parse_fd("{\"x\":\"abcdef\"}", 14, 10, chunk, &s, &a, &e);
        cr_expect(r == -EINVAL && str_eq(e.text, "in: too long, expected at most 10 bytes"),
                  "chunk %zu: %d, %s", chunk, r, e.text);
    }
}

Test(json, read_errors_are_no_bad_input)
{
    autoarena a = ARENA_INIT;
    struct sample s = {0};
    struct json_doc doc = {.table = &sample_table, .dest = &s};
    struct err e = ERR_INIT;
    int r = json_read_fd(-1, &doc, 1, 100, 0, "in", &a, &e);

    cr_expect(r == -EBADF && !e.bad_input &&
                  str_eq(e.text, "in: cannot read: EBADF (Bad file descriptor)"),
              "got %d, %s", r, e.text);
}

/*
 * Longer than any chunk, so that the reader has to grow its buffer in the middle of a token. With
 * chunks of one size the 16 MiB would take a minute.
 */
Test(json, very_long_tokens, .timeout = 20)
{
    static const struct {
        const char *before, *after;
        char fill;
        size_t len, text; /* of the filling, of what is stored in "text" */
    } cases[] = {
        {"{\"x\":\"", "\",\"num\":7}", 'a', (size_t)4 << 20, 0},
        {"{\"text\":\"", "\",\"num\":7}", 'a', (size_t)4 << 20, (size_t)4 << 20},
        {"{\"x\":[1,2", ",3],\"num\":7}", '3', (size_t)16 << 20, 0},
        {"{\"x\":[1,2],", "\"num\":7}", ' ', (size_t)4 << 20, 0},
        {"{\"", "\":1,\"num\":7}", 'k', (size_t)4 << 20, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autofree char *fill = malloc(cases[i].len);
        autoarena a = ARENA_INIT;
        autosbuf input = SBUF_INIT;
        struct sample s = {0};
        struct err e = ERR_INIT;
        int r;

        cr_assert_not_null(fill);
        memset(fill, cases[i].fill, cases[i].len);
        sbuf_add(&input, cases[i].before, strlen(cases[i].before));
        sbuf_add(&input, fill, cases[i].len);
        sbuf_add(&input, cases[i].after, strlen(cases[i].after));
        r = parse_fd(input.text, input.len, input.len, 0, &s, &a, &e);
        cr_expect(r == 1 && s.num.value == 7 && (s.text ? strlen(s.text) : 0) == cases[i].text,
                  "input: %s...\ngot: %d, %s", cases[i].before, r, e.text);
    }
}

/* --- writing --- */

static void write_example(struct json_writer *w)
{
    json_open_object(w, NULL);
    json_string(w, "s", "a\"b\\c/\n\x01\x7f");
    json_string(w, "none", NULL);
    json_null(w, "null");
    json_bool(w, "t", true);
    json_bool(w, "f", false);
    json_i64(w, "min", INT64_MIN);
    json_i64(w, "max", INT64_MAX);
    json_u64(w, "u", UINT64_MAX);
    json_open_object(w, "empty");
    json_close_object(w);
    json_open_list(w, "list");
    json_i64(w, NULL, 1);
    json_u64(w, NULL, 2);
    json_string(w, NULL, "");
    json_bool(w, NULL, true);
    json_null(w, NULL);
    json_open_list(w, NULL);
    json_close_list(w);
    json_open_object(w, NULL);
    json_string(w, "k\"", "v");
    json_close_object(w);
    json_close_list(w);
    json_open_list(w, "last");
    json_close_list(w);
    json_close_object(w);
}

Test(json, writes_one_line)
{
    struct json_writer *w = json_writer_new(false);
    size_t len;

    write_example(w);
    cr_expect_str_eq(json_writer_text(w, &len),
                     "{\"s\":\"a\\\"b\\\\c/\\n\\u0001\x7f\",\"none\":null,\"null\":null,\"t\":true,"
                     "\"f\":false,\"min\":-9223372036854775808,\"max\":9223372036854775807,"
                     "\"u\":18446744073709551615,\"empty\":{},\"list\":[1,2,\"\",true,null,[],"
                     "{\"k\\\"\":\"v\"}],\"last\":[]}");
    cr_expect_eq(len, strlen(json_writer_text(w, NULL)));
    json_writer_free(w);
}

Test(json, writes_indented)
{
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_i64(w, "a", 1);
    json_open_object(w, "empty");
    json_close_object(w);
    json_open_list(w, "list");
    json_open_object(w, NULL);
    json_bool(w, "b", true);
    json_close_object(w);
    json_open_list(w, NULL);
    json_close_list(w);
    json_close_list(w);
    json_close_object(w);
    cr_expect_str_eq(json_writer_text(w, NULL), "{\n"
                                                "  \"a\": 1,\n"
                                                "  \"empty\": {},\n"
                                                "  \"list\": [\n"
                                                "    {\n"
                                                "      \"b\": true\n"
                                                "    },\n"
                                                "    []\n"
                                                "  ]\n"
                                                "}\n");
    json_writer_free(w);
}

Test(json, writer_text_so_far)
{
    struct json_writer *w = json_writer_new(false);
    size_t len = 99;

    cr_expect_str_eq(json_writer_text(w, &len), "");
    cr_expect_eq(len, 0);
    json_open_list(w, NULL);
    cr_expect_str_eq(json_writer_text(w, NULL), "[");
    json_close_list(w);
    cr_expect_str_eq(json_writer_text(w, NULL), "[]");
    json_writer_free(w);
    json_writer_free(NULL);
}

#define FFFD "\xef\xbf\xbd"

Test(json, writer_replaces_what_is_no_utf8)
{
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\x80", FFFD},
        {"a\xff"
         "b",
         "a" FFFD "b"},
        {"\xff\xfe", FFFD FFFD},
        {"a\xc3", "a" FFFD},
        {"\xc3(", FFFD "("},
        {"\xc1\xbf", FFFD FFFD},
        {"\xc2\x7f", FFFD "\x7f"},
        {"\xc2\xc0", FFFD FFFD},
        {"\xe2\x82", FFFD FFFD},
        {"\xe2\x82"
         "a",
         FFFD FFFD "a"},
        {"\xe2\x82\xc0", FFFD FFFD FFFD},
        {"\xed\xa0\x80", FFFD FFFD FFFD},
        {"\xf0\x9f\x98", FFFD FFFD FFFD},
        {"\xf0\x9f\x98"
         "a",
         FFFD FFFD FFFD "a"},
        {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xf5\x80\x80\x80", FFFD FFFD FFFD FFFD},
        {"\xf4\x8f\xbf\xbf\xff", "\xf4\x8f\xbf\xbf" FFFD},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_writer *w = json_writer_new(false);
        autoarena a = ARENA_INIT;
        struct sample s = {0};
        struct err e = ERR_INIT;
        size_t len;
        const char *text;
        int r;

        json_open_object(w, NULL);
        json_string(w, "text", cases[i].value);
        json_open_object(w, "map");
        json_string(w, cases[i].value, "v");
        json_close_object(w);
        json_close_object(w);
        text = json_writer_text(w, &len);
        r = parse(text, len, 0, &s, &a, &e);
        cr_assert(r == 1 && s.map.count == 1, "input: %s\ngot: %d, %s", text, r, e.text);
        cr_expect_str_eq(s.text, cases[i].want, "case %zu: %s", i, text);
        cr_expect_str_eq(JSON_AT(s.map, struct json_pair, 0).key, cases[i].want);
        json_writer_free(w);
    }
}

Test(json, what_a_table_writes_reads_back_equal)
{
    static const struct text_case cases[] = {
        {INPUT("{}"), NULL},
        {INPUT("{\"text\":\"a\\\"\\\\\\u0001\xc3\xa9\",\"flag\":false,\"num\":-5,"
               "\"any\":-9223372036854775808,\"size\":0,\"huge\":18446744073709551615,"
               "\"o\":{\"o\":{\"flag\":true}},\"m\":[{\"m\":[{\"text\":\"\"}]},{}],"
               "\"names\":[\"\",\"b\"],\"nums\":[0,-5],\"map\":{\"\":\"\",\"k\\n\":\"v\"},"
               "\"strict\":{\"num\":10}}"),
         NULL},
    };

    expect_all_read(cases, ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_writer *pretty = json_writer_new(true);
        autoarena a = ARENA_INIT;
        struct sample s = {0};
        size_t len;
        const char *text;

        cr_assert_eq(parse(cases[i].input, cases[i].len, 0, &s, &a, NULL), 1);
        json_write_table(pretty, NULL, &sample_table, &s);
        text = json_writer_text(pretty, &len);
        expect_reads(text, len, cases[i].input);
        json_writer_free(pretty);
    }
}

Test(json, table_under_a_key)
{
    struct json_writer *w = json_writer_new(false);
    struct sample s = {.num = {.set = true, .value = 3}};

    json_open_object(w, NULL);
    json_write_table(w, "in", &sample_table, &s);
    json_bool(w, "after", true);
    json_close_object(w);
    cr_expect_str_eq(json_writer_text(w, NULL), "{\"in\":{\"num\":3},\"after\":true}");
    json_writer_free(w);
}
