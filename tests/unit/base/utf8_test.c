/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

/* The first and the last of each length, and what is beside them: RFC 3629, section 4. */
static const struct {
    const char *text;
    size_t want; /* bytes */
} spans[] = {
    {"", 0},
    {"a", 1},
    {"\x7f", 1},
    {"a\x80", 1},
    {"\xbf", 0},
    {"\xc0\x80", 0},
    {"\xc1\xbf", 0},
    {"\xc2\x80", 2},
    {"\xc2\x7f", 0},
    {"\xdf\xbf", 2},
    {"\xdf\xc0", 0},
    {"\xe0\x9f\xbf", 0},
    {"\xe0\xa0\x80", 3},
    {"\xe1\x80\x80", 3},
    {"\xe1\x80\x7f", 0},
    {"\xec\xbf\xbf", 3},
    {"\xec\xbf\xc0", 0},
    {"\xed\x9f\xbf", 3},
    {"\xed\xa0\x80", 0},
    {"\xee\x80\x80", 3},
    {"\xef\xbf\xbf", 3},
    {"\xf0\x8f\xbf\xbf", 0},
    {"\xf0\x90\x80\x80", 4},
    {"\xf1\x80\x80\x80", 4},
    {"\xf1\x80\x80\x7f", 0},
    {"\xf3\xbf\xbf\xbf", 4},
    {"\xf4\x80\x80\x80", 4},
    {"\xf4\x8f\xbf\xbf", 4},
    {"\xf4\x90\x80\x80", 0},
    {"\xf5\x80\x80\x80", 0},
    {"\xff\x80\x80\x80", 0},
    /* cut off */
    {"ab\xc2", 2},
    {"\xe2\x80", 0},
    {"\xf0\x9f\x98", 0},
};

Test(utf8, text_span)
{
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        const char *text = spans[i].text;
        size_t got = utf8_text_span((const unsigned char *)text, strlen(text));

        cr_expect_eq(got, spans[i].want, "row %zu: %zu bytes, not %zu", i, got, spans[i].want);
    }
}

Test(utf8, text_span_ends_at_nul)
{
    cr_expect_eq(utf8_text_span((const unsigned char *)"ab\0cd", 5), 2);
}

static const struct {
    const char *text;
    uint32_t code; /* 0: there is none */
    size_t at, len;
} controls[] = {
    {"", 0, 0, 0},
    {"plain ~", 0, 0, 0},
    {"a\x1f", 0x1f, 1, 1},
    {"\n", 0x0a, 0, 1},
    {"ab\x7f", 0x7f, 2, 1},
    {"\xc2\x80", 0x80, 0, 2},
    {"\xc2\x9b", 0x9b, 0, 2},
    {"\xc2\x9f", 0x9f, 0, 2},
    {"\xc2\xa0", 0, 0, 0},
    {"\xd8\x9b\xd8\x9d", 0, 0, 0},
    {"\xd8\x9c", 0x61c, 0, 2},
    {"\xe2\x80\x8d\xe2\x80\x90", 0, 0, 0},
    {"\xe2\x80\x8e", 0x200e, 0, 3},
    {"\xe2\x80\x8f", 0x200f, 0, 3},
    {"\xe2\x80\xa7\xe2\x80\xaf", 0, 0, 0},
    {"\xe2\x80\xa8", 0x2028, 0, 3},
    {"u\xcc\x88\xe2\x80\xae", 0x202e, 3, 3},
    {"\xe2\x81\xa5\xe2\x81\xaa", 0, 0, 0},
    {"\xe2\x81\xa6", 0x2066, 0, 3},
    {"\xe2\x81\xa9", 0x2069, 0, 3},
    {"\xf3\xa0\x80\x80", 0xe0000, 0, 4},
    {"\xf3\xa0\x81\xbf", 0xe007f, 0, 4},
    {"\xf3\xa0\x82\x80\xf0\x9f\x98\x80", 0, 0, 0},
    /* what is no UTF-8 is passed over, byte by byte */
    {"\xff\x80\xe2\x80\x01", 0x01, 4, 1},
    {"\xe2\x80", 0, 0, 0},
};

Test(utf8, find_control)
{
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        uint32_t code = 0;
        size_t len = 0, all = strlen(controls[i].text),
               at = utf8_find_control(controls[i].text, all, &code, &len);

        cr_expect_eq(at, controls[i].code ? controls[i].at : all, "row %zu: at %zu", i, at);
        cr_expect_eq(code, controls[i].code, "row %zu: %x", i, code);
        cr_expect_eq(len, controls[i].len, "row %zu: %zu bytes", i, len);
    }
}
