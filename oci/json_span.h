/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_JSON_SPAN_H
#define OCI_JSON_SPAN_H

/*
 * Where values stand in a JSON text, in bytes, for a caller that changes a few of them and leaves
 * every other byte as it is. Nothing is checked here: the text must be one that json_read_text()
 * has accepted. Of any other the results mean nothing, but nothing outside of it is read.
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* A value or a key, with its quotes or brackets, without the blanks around it. */
struct json_span {
    size_t begin, end;
};

struct json_member {
    struct json_span key, value;
};

bool json_is_blank(char c);

/* The document's only value. */
struct json_span json_span_document(const char *text, size_t len);

/* The members of an object, in their order, in the arena. Returns how many. */
size_t json_span_members(const char *text, struct json_span object, struct arena *a,
                         struct json_member **ret);

/* The elements of a list, as above. */
size_t json_span_elements(const char *text, struct json_span list, struct arena *a,
                          struct json_span **ret);

/* Whether a string or a key stands for @want, which is ASCII; it may have escapes. */
bool json_span_is(const char *text, struct json_span string, const char *want);

/* The same for readers that do not look at case, as Go's: theirs are also U+017F for s and U+212A
 * for k. */
bool json_span_is_folded(const char *text, struct json_span string, const char *want);

#endif
