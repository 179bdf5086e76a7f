/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <inttypes.h>

Test(str, to_u64)
{
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"7", 0, 7},
        {"007", 0, 7},
        {"9223372036854775808", 0, UINT64_C(9223372036854775808)},
        {"18446744073709551609", 0, UINT64_MAX - 6},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"18446744073709551620", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"184467440737095516150", -ERANGE, 0},
        {"00000000000000000000000000000000012", 0, 12},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1\n", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"/", -EINVAL, 0},
        {":", -EINVAL, 0},
        {"\xb1", -EINVAL, 0},
        /* garbage behind a number that does not fit is still garbage */
        {"99999999999999999999x", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t value = 4711, want = cases[i].result == 0 ? cases[i].value : 4711;
        int r = str_to_u64(cases[i].text, strlen(cases[i].text), &value);

        cr_expect(r == cases[i].result && value == want,
                  "\"%s\": expected %d, %" PRIu64 "; got %d, %" PRIu64, cases[i].text,
                  cases[i].result, want, r, value);
    }
    uint64_t value = 0;

    cr_expect(str_to_u64("12345", 3, &value) == 0 && value == 123,
              "the length counts, not the NUL: expected 123, got %" PRIu64, value);
    cr_expect_eq(str_to_u64("1\0002", 3, &value), -EINVAL, "a NUL inside is no digit");
}

Test(str, to_i64)
{
    static const struct {
        const char *text;
        int result;
        int64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"-1", 0, -1},
        {"9223372036854775807", 0, INT64_MAX},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775807", 0, -INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"-9223372036854775809", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"- 1", -EINVAL, 0},
        {"1-", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t value = 4711, want = cases[i].result == 0 ? cases[i].value : 4711;
        int r = str_to_i64(cases[i].text, strlen(cases[i].text), &value);

        cr_expect(r == cases[i].result && value == want,
                  "\"%s\": expected %d, %" PRId64 "; got %d, %" PRId64, cases[i].text,
                  cases[i].result, want, r, value);
    }
}

Test(str, next)
{
    static const struct {
        const char *text;
        const char *want; /* fields in brackets */
    } cases[] = {
        {"", "[]"},
        {"a", "[a]"},
        {"a,b", "[a][b]"},
        {",", "[][]"},
        {"a,,b,", "[a][][b][]"},
        {",a", "[][a]"},
        {"a b,c", "[a b][c]"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autosbuf got = SBUF_INIT;
        char text[32], *cursor = text, *field;

        strcpy(text, cases[i].text);
        while ((field = str_next(&cursor, ',')))
            sbuf_addf(&got, "[%s]", field);
        cr_expect(str_eq(sbuf_text(&got), cases[i].want), "\"%s\": expected %s, got %s",
                  cases[i].text, cases[i].want, sbuf_text(&got));
        cr_expect(!cursor && !str_next(&cursor, ','), "\"%s\": still NULL at the end",
                  cases[i].text);
    }
}

Test(str, predicates)
{
    static const struct {
        const char *s, *part;
        bool starts, ends;
    } cases[] = {
        {"a.slice", ".slice", false, true},
        {".slice", ".slice", true, true},
        {"slice", ".slice", false, false},
        {"a.slice2", ".slice", false, false},
        {"abc", "ab", true, false},
        {"", "", true, true},
        {"x", "", true, true},
        {"", "x", false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool starts = str_starts(cases[i].s, cases[i].part);
        bool ends = str_ends(cases[i].s, cases[i].part);

        cr_expect(starts == cases[i].starts && ends == cases[i].ends,
                  "\"%s\", \"%s\": expected starts %d, ends %d; got %d, %d", cases[i].s,
                  cases[i].part, cases[i].starts, cases[i].ends, starts, ends);
    }
    cr_expect(str_eq_null(NULL, NULL) && str_eq_null("a", "a"));
    cr_expect(!str_eq_null(NULL, "") && !str_eq_null("", NULL) && !str_eq_null("a", "b"));
    cr_expect(str_empty(NULL) && str_empty("") && !str_empty(" "));
}

Test(str, escape)
{
    static const struct {
        const char *text;
        size_t size;
        const char *want;
    } cases[] = {
        {"plain text ~", 64, "plain text ~"},
        {"", 64, ""},
        {"", 1, ""},
        {"a\nb\tc", 64, "a\\x0ab\\x09c"},
        {"back\\slash", 64, "back\\x5cslash"},
        {"\x1b[31m", 64, "\\x1b[31m"},
        {"\x1f \x7e\x7f\x80\xff", 64, "\\x1f ~\\x7f\\x80\\xff"},
        {"\xc3\xa4", 64, "\\xc3\\xa4"},
        {"abcdefghij", 8, "abcd..."},
        {"ab\ncdefgh", 10, "ab\\x0a..."}, /* an escape is kept or dropped as a whole */
        {"ab\ncdefgh", 9, "ab..."},
        {"abc", 4, "abc"}, /* it fits: no reason to cut */
        {"abcdefg", 8, "abcdefg"},
        {"\n", 5, "\\x0a"},
        {"abcdefg", 4, "..."},
        {"abcdefg", 3, ".."},
        {"abcdefg", 2, "."},
        {"abcdefg", 1, ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[80];
        const char *got;

        memset(buf, '#', sizeof buf);
        got = str_escape(cases[i].text, buf, cases[i].size);
        cr_expect(got == buf && memchr(buf, '\0', cases[i].size) && buf[cases[i].size] == '#',
                  "row %zu: NUL within %zu bytes, nothing behind them", i, cases[i].size);
        buf[sizeof buf - 1] = '\0';
        cr_expect(str_eq(got, cases[i].want), "row %zu, size %zu: expected \"%s\", got \"%s\"", i,
                  cases[i].size, cases[i].want, got);
    }
    char untouched = '#';

    str_escape("abc", &untouched, 0);
    cr_expect_eq(untouched, '#', "size 0: nothing is written");
}

Test(str, cut)
{
    char buf[8];

    cr_expect_str_eq(str_cut("1234567", buf, sizeof buf), "1234567");
    cr_expect_str_eq(str_cut("12345678", buf, sizeof buf), "1234...");
    cr_expect_str_eq(str_cut("1234", buf, 4), "...");
    cr_expect_str_eq(str_cut("", buf, 4), "");
    cr_expect(str_cut("a", buf, 4) == buf);
}

Test(str, sbuf)
{
    autosbuf b = SBUF_INIT;
    char want[3000] = "";
    size_t len = 0;

    cr_expect_str_eq(sbuf_text(&b), "");
    sbuf_addf(&b, "%s", "");
    cr_expect(b.len == 0 && str_eq(sbuf_text(&b), ""));
    sbuf_add(&b, "", 0);
    cr_expect(b.len == 0 && str_eq(sbuf_text(&b), ""));
    /* over the growth at 256, 512, ... with both ways to add */
    for (int i = 0; i < 300; i++) {
        len += (size_t)snprintf(want + len, sizeof want - len, "%d;ab", i);
        sbuf_addf(&b, "%d;", i);
        sbuf_add(&b, "abc", 2);
        cr_assert(b.len == len && strlen(sbuf_text(&b)) == len, "after %d: expected %zu, got %zu",
                  i, len, b.len);
    }
    cr_expect_str_eq(sbuf_text(&b), want);
    sbuf_free(&b);
    cr_expect(b.len == 0 && b.capacity == 0 && str_eq(sbuf_text(&b), ""));
    for (size_t size = 250; size < 260; size++) {
        autosbuf edge = SBUF_INIT;
        char text[300];

        memset(text, 'x', sizeof text);
        sbuf_add(&edge, text, size);
        cr_expect(edge.len == size && strlen(sbuf_text(&edge)) == size, "%zu bytes; got %zu", size,
                  edge.len);
        cr_expect_eq(edge.capacity, size < 256 ? 256u : 512u, "%zu bytes: %zu", size,
                     edge.capacity);
    }
}
