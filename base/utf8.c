/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <string.h>

/*
 * Length of the valid sequence at @s, which has at least one byte; 0 if there is none. Overlong
 * forms, surrogates and values above U+10FFFF are not valid.
 */
static size_t sequence(const unsigned char *s, size_t len)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t need;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (len < need)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return need;
}

size_t utf8_text_span(const unsigned char *s, size_t len)
{
    size_t i = 0;

    while (i < len && s[i] != '\0') {
        size_t n = sequence(s + i, len - i);

        if (n == 0)
            break;
        i += n;
    }
    return i;
}

static const struct {
    uint32_t first, last;
} controls[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},     {0x061c, 0x061c},   {0x200e, 0x200f},
    {0x2028, 0x202e}, {0x2066, 0x2069}, {0xe0000, 0xe007f},
};

static bool is_control(uint32_t code)
{
    for (size_t i = 0; i < sizeof controls / sizeof controls[0]; i++) {
        if (code >= controls[i].first && code <= controls[i].last)
            return true;
    }
    return false;
}

static uint32_t code_point(const unsigned char *s, size_t len)
{
    /* The bits of the first byte that are left beside the length. */
    uint32_t code = len == 1 ? s[0] : s[0] & (0x7fu >> len);

    for (size_t i = 1; i < len; i++)
        code = code << 6 | (s[i] & 0x3f);
    return code;
}

size_t utf8_find_control(const char *s, size_t len, uint32_t *ret_code, size_t *ret_len)
{
    const unsigned char *text = (const unsigned char *)s;
    size_t n;

    for (size_t i = 0; i < len; i += n) {
        n = text[i] >= ' ' && text[i] < 0x7f ? 0 : sequence(text + i, len - i);
        if (n == 0)
            n = 1;
        else if (is_control(code_point(text + i, n))) {
            *ret_code = code_point(text + i, n);
            *ret_len = n;
            return i;
        }
    }
    return len;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Next character inside an escape or right behind one. False: an unpaired surrogate. */
static bool step(struct utf8_escapes *esc, char c)
{
    int digit;
    bool low;

    switch (esc->state) {
    case ESC_NONE:
        if (c == '\\')
            esc->state = ESC_BACKSLASH;
        return c == '\\' || !esc->high;
    case ESC_BACKSLASH:
        esc->state = c == 'u' ? ESC_HEX : ESC_NONE;
        esc->digits = esc->unit = 0;
        return c == 'u' || !esc->high;
    case ESC_HEX:
        break;
    }
    digit = hex_digit(c);
    if (digit < 0) {
        /* the parser behind us refuses it at this very character */
        *esc = (struct utf8_escapes){0};
        return true;
    }
    esc->unit = esc->unit << 4 | (unsigned)digit;
    if (++esc->digits < 4)
        return true;
    esc->state = ESC_NONE;
    low = esc->unit >= 0xdc00 && esc->unit <= 0xdfff;
    if (low != esc->high)
        return false;
    esc->high = esc->unit >= 0xd800 && esc->unit <= 0xdbff;
    return true;
}

size_t utf8_escapes_scan(struct utf8_escapes *esc, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (esc->state == ESC_NONE && !esc->high) {
            const char *next = memchr(text + i, '\\', len - i);

            if (!next)
                break;
            i = (size_t)(next - text);
        }
        if (!step(esc, text[i]))
            return i;
    }
    return len;
}
