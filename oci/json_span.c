/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json_span.h"

#include "base/arena.h"
#include "base/cleanup.h"

#include <string.h>

bool json_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_blank(const char *text, size_t pos, size_t end)
{
    while (pos < end && json_is_blank(text[pos]))
        pos++;
    return pos;
}

static size_t string_end(const char *text, size_t pos, size_t end)
{
    for (pos++; pos < end && text[pos] != '"'; pos++) {
        if (text[pos] == '\\')
            pos++;
    }
    return pos < end ? pos + 1 : end;
}

/* Behind the value that begins at @pos. Brackets are counted, so depth costs no stack. */
static size_t value_end(const char *text, size_t pos, size_t end)
{
    size_t depth = 0;

    while (pos < end) {
        char c = text[pos];

        if (c == '"') {
            pos = string_end(text, pos, end);
        } else if (c == '{' || c == '[') {
            depth++;
            pos++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return pos; /* of what the value is in: it was a number or a word */
            depth--;
            pos++;
        } else if (depth == 0 && (c == ',' || json_is_blank(c))) {
            return pos;
        } else {
            pos++;
            continue;
        }
        if (depth == 0)
            return pos;
    }
    return end;
}

struct json_span json_span_document(const char *text, size_t len)
{
    size_t begin = skip_blank(text, 0, len);

    return (struct json_span){begin, value_end(text, begin, len)};
}

/* To the next member or element; false at the end of what they are in. */
static bool next_item(const char *text, size_t *pos, size_t end)
{
    *pos = skip_blank(text, *pos, end);
    if (*pos < end && text[*pos] == ',')
        *pos = skip_blank(text, *pos + 1, end);
    return *pos < end && text[*pos] != '}' && text[*pos] != ']';
}

size_t json_span_members(const char *text, struct json_span object, struct arena *a,
                         struct json_member **ret)
{
    size_t count = 0, pos = object.begin + 1;

    *ret = NULL;
    while (next_item(text, &pos, object.end)) {
        struct json_member *m = &ARENA_APPEND(a, *ret, count);

        m->key = (struct json_span){pos, string_end(text, pos, object.end)};
        pos = skip_blank(text, m->key.end, object.end); /* at the colon */
        pos = skip_blank(text, pos + 1, object.end);
        m->value = (struct json_span){pos, value_end(text, pos, object.end)};
        pos = m->value.end;
    }
    return count;
}

size_t json_span_elements(const char *text, struct json_span list, struct arena *a,
                          struct json_span **ret)
{
    size_t count = 0, pos = list.begin + 1;

    *ret = NULL;
    while (next_item(text, &pos, list.end)) {
        struct json_span *s = &ARENA_APPEND(a, *ret, count);

        *s = (struct json_span){pos, value_end(text, pos, list.end)};
        pos = s->end;
    }
    return count;
}

static unsigned hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return (unsigned)((c | 0x20) - 'a') + 10;
}

/* The character of an escape, whose backslash is behind us. */
static unsigned unescape(const char *text, size_t *pos, size_t end)
{
    unsigned unit = 0;
    char c = text[(*pos)++];

    switch (c) {
    case 'u':
        for (int i = 0; i < 4 && *pos < end; i++)
            unit = unit << 4 | hex_digit(text[(*pos)++]);
        return unit;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return (unsigned char)c;
    }
}

/* One byte, or what an escape stands for. */
static unsigned next_unit(const char *text, size_t *pos, size_t end)
{
    unsigned unit = (unsigned char)text[(*pos)++];

    return unit == '\\' && *pos < end ? unescape(text, pos, end) : unit;
}

bool json_span_is(const char *text, struct json_span string, const char *want)
{
    size_t pos = string.begin + 1, end = string.end - 1;

    while (pos < end) {
        unsigned unit = next_unit(text, &pos, end);

        if (!*want || unit != (unsigned char)*want++)
            return false;
    }
    return !*want;
}

#define LONG_S      0x17fu
#define KELVIN_SIGN 0x212au

/* The two characters beyond ASCII that Go takes for letters of it. */
static unsigned next_folded(const char *text, size_t *pos, size_t end)
{
    static const struct {
        const char *utf8;
        size_t len;
        unsigned unit;
    } wide[] = {{"\xc5\xbf", 2, LONG_S}, {"\xe2\x84\xaa", 3, KELVIN_SIGN}};
    unsigned unit = next_unit(text, pos, end);

    for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
        size_t more = wide[i].len - 1;

        if (unit == (unsigned char)wide[i].utf8[0] && end - *pos >= more &&
            memcmp(text + *pos, wide[i].utf8 + 1, more) == 0) {
            *pos += more;
            unit = wide[i].unit;
        }
    }
    if (unit == LONG_S)
        return 's';
    if (unit == KELVIN_SIGN)
        return 'k';
    return unit >= 'A' && unit <= 'Z' ? unit + ('a' - 'A') : unit;
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool json_span_is_folded(const char *text, struct json_span string, const char *want)
{
    size_t pos = string.begin + 1, end = string.end - 1;

    while (pos < end) {
        unsigned unit = next_folded(text, &pos, end);

        if (!*want || unit != lower(*want++))
            return false;
    }
    return !*want;
}
