/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_STR_H
#define BASE_STR_H

/* Text helpers: comparison, strict integers, a growing buffer, escaping for terminals and logs. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool str_eq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Equal, where either may be NULL and NULL equals only NULL. */
static inline bool str_eq_null(const char *a, const char *b)
{
    return a && b ? str_eq(a, b) : a == b;
}

static inline bool str_empty(const char *s)
{
    return !s || !*s;
}

static inline bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix);

/*
 * Decimal integers, the whole text and nothing but the text: an optional '-' (signed only) and
 * digits. 0; -EINVAL no integer; -ERANGE does not fit. @ret is written on success only.
 */
int str_to_u64(const char *s, size_t len, uint64_t *ret);
int str_to_i64(const char *s, size_t len, int64_t *ret);

/* FNV-1a, for short names of long texts: whoever finds one by it has to compare the texts. */
uint64_t str_hash(const char *s);

/*
 * Split off the next field of a line. *@cursor points at the text and is moved behind the
 * separator; it becomes NULL with the last field. The text is cut in place. NULL when none is left.
 */
char *str_next(char **cursor, char separator);

/* A growing, always NUL-terminated buffer. Out of memory ends the program as in arena.h. */
struct sbuf {
    char *text; /* NULL until something was added; see sbuf_text() */
    size_t len;
    size_t capacity;
};

#define SBUF_INIT                                                                                  \
    {                                                                                              \
        0                                                                                          \
    }

void sbuf_add(struct sbuf *b, const char *s, size_t len);
void sbuf_addf(struct sbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *sbuf_text(const struct sbuf *b); /* never NULL */
void sbuf_free(struct sbuf *b);

#define autosbuf __attribute__((cleanup(sbuf_free))) struct sbuf

/*
 * @s with every byte that is not printable ASCII, and the backslash, as \xNN: what an id or any
 * other text from outside looks like before it reaches a terminal, a log or an error message. Cut
 * with "..." when it does not fit. Returns @buf.
 */
const char *str_escape(const char *s, char *buf, size_t size);

/* Text that is escaped, of one column per letter: cut with "..." when it does not fit. @size is 4 at least. Returns @buf. */
const char *str_cut(const char *s, char *buf, size_t size);

#endif
