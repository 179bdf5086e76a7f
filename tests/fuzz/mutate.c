/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/mutate.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <string.h>

/* A value. */
struct span {
    size_t begin, end;
    size_t member; /* where its key begins; itself, if it has none */
};

#define SPANS_MOST 256

struct spans {
    struct span items[SPANS_MOST];
    size_t count;
};

static void add(struct spans *spans, size_t begin, size_t end, size_t member)
{
    if (spans->count < SPANS_MOST && end > begin)
        spans->items[spans->count++] = (struct span){begin, end, member};
}

static size_t string_end(const char *text, size_t size, size_t at)
{
    for (at++; at < size && text[at] != '"'; at++)
        at += text[at] == '\\';
    return at < size ? at + 1 : size;
}

static size_t word_end(const char *text, size_t size, size_t at)
{
    while (at < size && !strchr(" \t\r\n,:[]{}\"", text[at]))
        at++;
    return at;
}

static size_t skip_blanks(const char *text, size_t size, size_t at)
{
    while (at < size && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    return at;
}

#define DEPTH_MOST 64

/* All values, a list or an object behind what is in it. */
static void find(const char *text, size_t size, struct spans *ret)
{
    struct span open[DEPTH_MOST] = {0};
    size_t depth = 0, key = SIZE_MAX, at = 0;

    while ((at = skip_blanks(text, size, at)) < size) {
        char c = text[at];
        size_t end = c == '"' ? string_end(text, size, at) : word_end(text, size, at);
        size_t behind = skip_blanks(text, size, end), member = key == SIZE_MAX ? at : key;

        if (c == '"' && behind < size && text[behind] == ':') {
            key = at;
            at = behind + 1;
            continue;
        }
        if (c == '{' || c == '[')
            open[depth++ % DEPTH_MOST] = (struct span){at, 0, member};
        else if ((c == '}' || c == ']') && depth-- > 0)
            add(ret, open[depth % DEPTH_MOST].begin, at + 1, open[depth % DEPTH_MOST].member);
        else
            add(ret, at, end, member);
        /* Deeper than can be followed, or a bracket that closes nothing. */
        if (depth > DEPTH_MOST)
            depth = 0;
        key = SIZE_MAX;
        at = end > at ? end : at + 1;
    }
}

static unsigned next(unsigned *state)
{
    *state = *state * 1103515245 + 12345;
    return *state >> 16;
}

static const char *const values[] = {
    "0",
    "-1",
    "1",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e3",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "\"/\"",
    "\"/a/..\"",
    "\"a.slice:b:c\"",
    "\"\\u0000\"",
    "\"\\u001b\"",
    "\"\\ud83d\\ude00\"",
    "\"\xc3\xa4\"",
    "\"\xff\"",
    "\"0-3,8\"",
};

/* @text from @at to @end becomes @with. */
static size_t splice(uint8_t *data, size_t size, size_t max, const struct span *at,
                     const char *with, size_t len)
{
    size_t tail = size - at->end;

    if (at->begin + len + tail > max)
        return size;
    memmove(data + at->begin + len, data + at->end, tail);
    memcpy(data + at->begin, with, len);
    return at->begin + len + tail;
}

/* As what it begins: a text, a number, a word, an object, a list. */
static int kind_of(char c)
{
    return (c >= '0' && c <= '9') || c == '-' ? '0' : c == 't' || c == 'f' ? 't' : c;
}

/* Of the same kind, mostly: another one is refused, and that is soon known. */
static const char *draw_value(char like, unsigned *seed)
{
    const char *value = values[next(seed) % ARRAY_SIZE(values)];

    for (size_t n = 0; n < 3 * ARRAY_SIZE(values) && kind_of(*value) != kind_of(like); n++)
        value = values[next(seed) % ARRAY_SIZE(values)];
    return next(seed) % 8 == 0 ? values[next(seed) % ARRAY_SIZE(values)] : value;
}

static struct span draw_other(const struct spans *spans, const char *text, char like,
                              unsigned *seed)
{
    struct span other = spans->items[next(seed) % spans->count];

    for (size_t n = 0; n < 16 && kind_of(text[other.begin]) != kind_of(like); n++)
        other = spans->items[next(seed) % spans->count];
    return other;
}

/* With the comma behind it, or else the one before. */
static void take_out(const char *text, size_t size, struct span *at)
{
    size_t behind = skip_blanks(text, size, at->end);

    at->begin = at->member;
    if (behind < size && text[behind] == ',')
        at->end = behind + 1;
    else if (at->begin > 0 && text[at->begin - 1] == ',')
        at->begin--;
}

size_t mutate_json(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    autosbuf with = SBUF_INIT;
    struct spans spans = {.count = 0};
    const char *text = (const char *)data;
    struct span at, other;
    char like;

    find(text, size, &spans);
    if (spans.count == 0)
        return 0;
    at = spans.items[next(&seed) % spans.count];
    like = text[at.begin];
    other = draw_other(&spans, text, like, &seed);
    switch (next(&seed) % 6) {
    case 0: /* another of the text */
    case 1:
        sbuf_add(&with, text + other.begin, other.end - other.begin);
        break;
    case 2: /* with one more element or member behind it */
        sbuf_add(&with, text + at.begin, at.end - at.begin);
        sbuf_addf(&with, ",");
        sbuf_add(&with, text + other.member, other.end - other.member);
        break;
    case 3:
        take_out(text, size, &at);
        break;
    default:
        sbuf_addf(&with, "%s", draw_value(like, &seed));
    }
    return splice(data, size, max, &at, sbuf_text(&with), with.len);
}
