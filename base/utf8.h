/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

/* UTF-8 as RFC 3629 has it, and \uXXXX escapes, checked more strictly than JSON libraries do. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes at @s are valid UTF-8 without a NUL. */
size_t utf8_text_span(const unsigned char *s, size_t len);

/*
 * The first character of valid UTF-8 that a terminal or a reader must not see as it is: C0, DEL, C1,
 * marks, embeddings, overrides and isolates of text direction, separators of lines and paragraphs,
 * and the tags of plane 14. Its place, @len if there is none; @ret_code is the character and
 * @ret_len its bytes.
 */
size_t utf8_find_control(const char *s, size_t len, uint32_t *ret_code, size_t *ret_len);

/*
 * Escapes in raw JSON text, ahead of its parser: \uD800..\uDFFF must come as a high and low pair.
 * Released versions of yajl turn a lone one into "?" or invalid UTF-8, and abort on some of what
 * may follow it (CVE-2017-16516). A backslash is legal in strings only, so strings need not be told
 * from the rest. Zeroed before the first chunk of a text.
 */
struct utf8_escapes {
    enum { ESC_NONE, ESC_BACKSLASH, ESC_HEX } state;
    unsigned digits, unit; /* ESC_HEX: how many were read, their value */
    bool high;             /* a high surrogate was read, the low one must follow */
};

/* How many bytes of the next chunk stand before the one that proves a surrogate unpaired;
 * @len if none does. */
size_t utf8_escapes_scan(struct utf8_escapes *esc, const char *text, size_t len);

#endif
