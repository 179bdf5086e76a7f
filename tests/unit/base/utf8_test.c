/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

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
