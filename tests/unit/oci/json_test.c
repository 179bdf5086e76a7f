/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/json_kit.h"

#include <criterion/criterion.h>

Test(json, syntax_errors_are_one_line_with_an_offset)
{
    static const struct kit_text_case cases[] = {
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

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
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
    /* How many repetitions make 64 levels with what surrounds them. */
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
            struct kit_sample s = {0};
            struct err e = ERR_INIT;
            char want[128];
            int r;

            sbuf_addf(&input, "%s%s%s", cases[i].before, nested, cases[i].after);
            r = kit_parse(input.text, input.len, 0, &s, &a, &e);
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
                kit_expect_refused(input.text, input.len, want);
        }
    }
}

Test(json, depth_counts_what_is_open_only)
{
    autofree char *list = nest("[{\"a\":{}},[]],", "[]", "", 500);
    autosbuf input = SBUF_INIT;

    sbuf_addf(&input, "{\"x\":[%s],\"num\":1}", list);
    kit_expect_reads(input.text, input.len, "{\"num\":1}");
}

Test(json, a_million_open_brackets, .timeout = 120)
{
    static const char *const open[] = {"[", "{\"x\":", "{\"o\":", "{\"m\":["};

    for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
        for (size_t used = 0; used < 2; used++) {
            autofree char *brackets = nest(open[i], "", "", 1000000);
            autosbuf input = SBUF_INIT;
            autoarena a = ARENA_INIT;
            struct kit_sample s = {0};
            struct err e = ERR_INIT;
            int r;

            sbuf_addf(&input, "%s%s", used ? "" : "{\"y\":", brackets);
            r = kit_parse(input.text, input.len, 0, &s, &a, &e);
            cr_expect(r == -EINVAL && e.bad_input, "input: %s x 10^6\ngot: %d", open[i], r);
            if (used && i == 0)
                cr_expect_str_eq(e.text, "in: doc: expected an object, found a list");
            else
                cr_expect(str_ends(e.text, ": nested too deep, expected at most 64 levels"),
                          "input: %s x 10^6\ngot: %s", open[i], e.text);
        }
    }
}

/* Each kind of list and map holds so many and not one more; what is not used may have any number. */
Test(json, elements, .timeout = 60)
{
    static const struct {
        const char *before, *each, *after, *path;
    } cases[] = {
        {"{\"m\":[", "{}", "]}", "doc.m[16384]"},
        {"{\"names\":[", "\"\"", "]}", "doc.names[16384]"},
        {"{\"nums\":[", "0", "]}", "doc.nums[16384]"},
        {"{\"map\":{", NULL, "}}", "doc.map"},
        {"{\"x\":[", "{}", "]}", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t extra = 0; extra < 2; extra++) {
            autosbuf input = SBUF_INIT;
            autoarena a = ARENA_INIT;
            struct kit_sample s = {0};
            struct err e = ERR_INIT;
            char want[128];
            int r;

            sbuf_addf(&input, "%s", cases[i].before);
            for (size_t n = 0; n < JSON_MAX_ELEMENTS + extra; n++) {
                sbuf_addf(&input, "%s", n ? "," : "");
                if (cases[i].each)
                    sbuf_addf(&input, "%s", cases[i].each);
                else
                    sbuf_addf(&input, "\"%zu\":\"\"", n);
            }
            sbuf_addf(&input, "%s", cases[i].after);
            r = kit_parse(input.text, input.len, 0, &s, &a, &e);
            if (extra == 0 || !cases[i].path) {
                cr_expect(r == 1, "%s: expected: 1\ngot: %d, %s", cases[i].before, r, e.text);
                continue;
            }
            snprintf(want, sizeof want, "in: %s: expected at most 16384 elements", cases[i].path);
            cr_expect(r == -EINVAL && e.bad_input, "%s: %d", cases[i].before, r);
            cr_expect_str_eq(e.text, want);
        }
    }
}

Test(json, truncated)
{
    static const char full[] =
        " {\"text\":\"a\\u00e9\",\"flag\":true,\"num\":-1,\"x\":[null,1.5,{}],"
        "\"m\":[{\"num\":1},{}],\"names\":[\"a\"],\"map\":{\"k\":\"v\"}}";
    autoarena a = ARENA_INIT;
    struct kit_sample s = {0};

    cr_assert_eq(kit_parse(full, sizeof full - 1, 0, &s, &a, NULL), 1);
    for (size_t len = 2; len < sizeof full - 1; len++) {
        autoarena part = ARENA_INIT;
        struct kit_sample partial = {0};
        struct err e = ERR_INIT;
        char tail[128];
        int r = kit_parse(full, len, 0, &partial, &part, &e);

        snprintf(tail, sizeof tail,
                 ": the input ends early, at byte %zu, expected the rest of the document", len);
        cr_expect(r == -EINVAL && e.bad_input && str_starts(e.text, "in: doc") &&
                      str_ends(e.text, tail),
                  "input: %.*s\nexpected: ...%s\ngot: %d, %s", (int)len, full, tail, r, e.text);
        kit_expect_refused(full, len, e.text);
    }
}

Test(json, truncated_says_where)
{
    static const struct kit_text_case cases[] = {
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

    kit_expect_all_refused(cases, ARRAY_SIZE(cases));
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
        for (size_t chunk = 0; chunk <= KIT_MAX_CHUNK; chunk++) {
            autoarena a = ARENA_INIT;
            struct kit_sample one = {0}, two = {0};
            struct json_doc docs[] = {
                {.table = &kit_sample_table, .dest = &one, .name = NULL},
                {.table = &kit_sample_table, .dest = &two, .name = "two"},
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
    kit_expect_refused("{} {}", 5,
                       "in: an object follows the last document, expected one document only");
}

Test(json, messages_are_escaped_and_bounded)
{
    static const char escapes[] = "{\"map\":{\"\\u001b[2J\\n\xc3\xa9\":1}}";
    autoarena a = ARENA_INIT;
    autosbuf input = SBUF_INIT;
    char where[1000];
    struct kit_sample s = {0};
    struct json_doc doc = {.table = &kit_sample_table, .dest = &s};
    struct err e = ERR_INIT;

    json_read_text(escapes, sizeof escapes - 1, &doc, 1, 0, "a\nb", &a, &e);
    cr_expect_str_eq(e.text,
                     "a\\x0ab: map.\\x1b[2J\\x0a\\xc3\\xa9: expected a string, found a number");

    /* everything at its longest: each part is cut, and none of them makes the others disappear */
    memset(where, 'w', sizeof where - 1);
    where[sizeof where - 1] = '\0';
    sbuf_addf(&input, "{\"map\":{\"%0500d\":true}}", 0);
    err_reset(&e);
    s = (struct kit_sample){0};
    json_read_text(input.text, input.len, &doc, 1, 0, where, &a, &e);
    cr_expect(str_starts(e.text, "wwww") && strstr(e.text, "w...: map.0000") &&
                  str_ends(e.text, "000...: expected a string, found a boolean"),
              "got %s", e.text);
    input.len = 0;
    sbuf_addf(&input, "{\"%0500d\":{\"\\u0000\":1}}", 0);
    err_reset(&e);
    s = (struct kit_sample){0};
    json_read_text(input.text, input.len, &doc, 1, 0, "in", &a, &e);
    cr_expect(str_starts(e.text, "in: 00000") &&
                  str_ends(e.text, "000: a NUL character in a key, expected text without"),
              "got %s", e.text);
}

Test(json, the_error_is_optional_and_the_first_one_stays)
{
    autoarena a = ARENA_INIT;
    struct kit_sample s = {0};
    struct err e = ERR_INIT;

    cr_expect_eq(kit_parse("[", 1, 0, &s, &a, NULL), -EINVAL);
    err_set(&e, -EPERM, "first");
    cr_expect_eq(kit_parse("[", 1, 0, &s, &a, &e), -EINVAL);
    cr_expect_str_eq(e.text, "first");
}

Test(json, lists_and_maps_of_ten_thousand, .timeout = 120)
{
    enum { COUNT = 10000 };
    autoarena a = ARENA_INIT;
    autosbuf input = SBUF_INIT;
    struct kit_sample s = {0};
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
    r = kit_parse(input.text, input.len, 0, &s, &a, &e);
    cr_assert(r == 1 && s.many.count == COUNT && s.names.count == COUNT && s.map.count == COUNT,
              "got %d, %s", r, e.text);
    for (int i = 0; i < COUNT; i++) {
        char want[16];

        cr_assert_eq(JSON_AT(s.many, struct kit_sample, i).any.value, i);
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
    s = (struct kit_sample){0};
    r = kit_parse(input.text, input.len, 0, &s, &a, &e);
    cr_expect(r == -EINVAL && str_eq(e.text, "in: doc.map.k5000: given twice, expected once"),
              "got %d, %s", r, e.text);
}

/* --- reading a descriptor --- */

static int parse_fd(const char *text, size_t len, size_t max, size_t chunk, struct kit_sample *ret,
                    struct arena *a, struct err *e)
{
    struct json_doc doc = {.table = &kit_sample_table, .dest = ret, .name = "doc"};
    autofd fd = kit_file_with(text, len);

    return json_read_fd(fd, &doc, 1, max, chunk, "in", a, e);
}

Test(json, descriptor_and_text_read_the_same)
{
    static const struct kit_text_case cases[] = {
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
        for (size_t chunk = 0; chunk <= KIT_MAX_CHUNK; chunk++) {
            autoarena a = ARENA_INIT;
            struct kit_sample s = {0};
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

    for (size_t chunk = 0; chunk <= KIT_MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct kit_sample s = {0};
        struct err e = ERR_INIT;
        int r = parse_fd(input, len, len, chunk, &s, &a, &e);

        cr_expect(r == 1, "chunk %zu: %d, %s", chunk, r, e.text);
        s = (struct kit_sample){0};
        r = parse_fd(input, len, len - 1, chunk, &s, &a, &e);
        cr_expect(r == -EINVAL && e.bad_input &&
                      str_eq(e.text, "in: too long, expected at most 10 bytes"),
                  "chunk %zu: %d, %s", chunk, r, e.text);
        /* an earlier fault wins, however much was read at once */
        err_reset(&e);
        s = (struct kit_sample){0};
        r = parse_fd("{\"num\":11} ", 11, 10, chunk, &s, &a, &e);
        cr_expect(r == -EINVAL && str_eq(e.text, "in: doc.num: 11 is out of range -5..10"),
                  "chunk %zu: %d, %s", chunk, r, e.text);
        /* the limit may fall into a token */
        err_reset(&e);
        s = (struct kit_sample){0};
        r = parse_fd("{\"x\":\"abcdef\"}", 14, 10, chunk, &s, &a, &e);
        cr_expect(r == -EINVAL && str_eq(e.text, "in: too long, expected at most 10 bytes"),
                  "chunk %zu: %d, %s", chunk, r, e.text);
    }
}

Test(json, read_errors_are_no_bad_input)
{
    autoarena a = ARENA_INIT;
    struct kit_sample s = {0};
    struct json_doc doc = {.table = &kit_sample_table, .dest = &s};
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
Test(json, very_long_tokens, .timeout = 120)
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
        struct kit_sample s = {0};
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
    cr_expect_str_eq(
        json_writer_text(w, &len),
        "{\"s\":\"a\\\"b\\\\c/\\n\\u0001\\u007F\",\"none\":null,\"null\":null,\"t\":true,"
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

/* What a terminal must not see is an escape, in a pair beyond 16 bits; line breaks of ours stay. */
Test(json, writer_escapes_controls)
{
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_string(w, "k\xc2\x9b", "a\x7f\xe2\x80\xae\xc3\xa4\xf3\xa0\x80\x81z");
    json_close_object(w);
    cr_expect_str_eq(json_writer_text(w, NULL), "{\n  \"k\\u009B\": \"a\\u007F\\u202E\xc3\xa4"
                                                "\\uDB40\\uDC01z\"\n}\n");
    json_writer_free(w);
}

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
        struct kit_sample s = {0};
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
        r = kit_parse(text, len, 0, &s, &a, &e);
        cr_assert(r == 1 && s.map.count == 1, "input: %s\ngot: %d, %s", text, r, e.text);
        cr_expect_str_eq(s.text, cases[i].want, "case %zu: %s", i, text);
        cr_expect_str_eq(JSON_AT(s.map, struct json_pair, 0).key, cases[i].want);
        json_writer_free(w);
    }
}

Test(json, what_a_table_writes_reads_back_equal)
{
    static const struct kit_text_case cases[] = {
        {INPUT("{}"), NULL},
        {INPUT("{\"text\":\"a\\\"\\\\\\u0001\xc3\xa9\",\"flag\":false,\"num\":-5,"
               "\"any\":-9223372036854775808,\"size\":0,\"huge\":18446744073709551615,"
               "\"o\":{\"o\":{\"flag\":true}},\"m\":[{\"m\":[{\"text\":\"\"}]},{}],"
               "\"names\":[\"\",\"b\"],\"nums\":[0,-5],\"map\":{\"\":\"\",\"k\\n\":\"v\"},"
               "\"strict\":{\"num\":10}}"),
         NULL},
    };

    kit_expect_all_read(cases, ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct json_writer *pretty = json_writer_new(true);
        autoarena a = ARENA_INIT;
        struct kit_sample s = {0};
        size_t len;
        const char *text;

        cr_assert_eq(kit_parse(cases[i].input, cases[i].len, 0, &s, &a, NULL), 1);
        json_write_table(pretty, NULL, &kit_sample_table, &s);
        text = json_writer_text(pretty, &len);
        kit_expect_reads(text, len, cases[i].input);
        json_writer_free(pretty);
    }
}

Test(json, table_under_a_key)
{
    struct json_writer *w = json_writer_new(false);
    struct kit_sample s = {.num = {.set = true, .value = 3}};

    json_open_object(w, NULL);
    json_write_table(w, "in", &kit_sample_table, &s);
    json_bool(w, "after", true);
    json_close_object(w);
    cr_expect_str_eq(json_writer_text(w, NULL), "{\"in\":{\"num\":3},\"after\":true}");
    json_writer_free(w);
}
