/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool str_ends(const char *s, const char *suffix)
{
    size_t len = strlen(s), want = strlen(suffix);

    return len >= want && str_eq(s + len - want, suffix);
}

int str_to_u64(const char *s, size_t len, uint64_t *ret)
{
    uint64_t value = 0;

    if (len == 0)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(s[i] - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        value = value * 10 + digit;
    }
    *ret = value;
    return 0;
}

int str_to_i64(const char *s, size_t len, int64_t *ret)
{
    bool negative = len > 0 && s[0] == '-';
    uint64_t magnitude;
    int r = str_to_u64(s + negative, len - negative, &magnitude);

    if (r < 0)
        return r;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

char *str_next(char **cursor, char separator)
{
    char *field = *cursor, *end;

    if (!field)
        return NULL;
    end = strchr(field, separator);
    if (end)
        *end++ = '\0';
    *cursor = end;
    return field;
}

static void sbuf_reserve(struct sbuf *b, size_t extra)
{
    size_t need = b->len + extra + 1;
    size_t capacity = b->capacity ? b->capacity : 256;

    if (need <= b->capacity)
        return;
    while (capacity < need)
        capacity *= 2;
    b->text = mem_realloc(b->text, capacity);
    b->capacity = capacity;
}

void sbuf_add(struct sbuf *b, const char *s, size_t len)
{
    sbuf_reserve(b, len);
    memcpy(b->text + b->len, s, len);
    b->len += len;
    b->text[b->len] = '\0';
}

void sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
    va_list ap, again;
    int len;

    va_start(ap, fmt);
    va_copy(again, ap);
    len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len > 0) {
        sbuf_reserve(b, (size_t)len);
        vsnprintf(b->text + b->len, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

const char *sbuf_text(const struct sbuf *b)
{
    return b->text ? b->text : "";
}

void sbuf_free(struct sbuf *b)
{
    free(b->text);
    *b = (struct sbuf)SBUF_INIT;
}

static size_t escaped_width(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '\\' ? 1 : 4;
}

uint64_t str_hash(const char *s)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
    return h;
}

const char *str_escape(const char *s, char *buf, size_t size)
{
    static const char cut[] = "...";
    size_t used = 0, whole = 0;

    if (size == 0)
        return buf;
    for (const char *p = s; *p && whole < size; p++)
        whole += escaped_width((unsigned char)*p);
    for (const char *p = s; *p; p++) {
        size_t width = escaped_width((unsigned char)*p);

        /* Room for the mark that says the text was cut, if it has to be. */
        if (whole >= size && used + width + sizeof cut > size) {
            snprintf(buf + used, size - used, "%s", cut);
            return buf;
        }
        if (width == 1)
            buf[used] = *p;
        else
            snprintf(buf + used, size - used, "\\x%02x", (unsigned char)*p);
        used += width;
    }
    buf[used] = '\0';
    return buf;
}

const char *str_cut(const char *s, char *buf, size_t size)
{
    if (strlen(s) < size)
        snprintf(buf, size, "%s", s);
    else
        snprintf(buf, size, "%.*s...", (int)size - 4, s);
    return buf;
}
