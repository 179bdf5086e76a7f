/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_JSON_KIT_H
#define TESTS_UNIT_KIT_JSON_KIT_H

/* JSON documents for the tests of the parser and of what is read with it. */

#include "oci/json.h"

/* A struct with a member of every kind, and itself inside, for documents of any depth. */
struct kit_sample {
    char *text;
    struct json_bool flag;
    struct json_i64 num;      /* -5..10 */
    struct json_i64 any;      /* all of int64_t */
    struct json_u64 size;     /* 0..100 */
    struct json_u64 huge;     /* all of uint64_t */
    struct kit_sample *one;   /* "o" */
    struct json_list many;    /* "m", struct sample */
    struct json_list names;   /* char * */
    struct json_list nums;    /* int64_t */
    struct json_list map;     /* struct json_pair */
    struct kit_sample *tight; /* "strict" */
};

extern const struct json_table kit_sample_table;

/* Documents are read whole and in chunks of up to so many bytes. */
#define KIT_MAX_CHUNK 31

/* Input with its length, as it may hold a NUL. */
#define INPUT(s) .input = s, .len = sizeof(s) - 1

struct kit_text_case {
    const char *input;
    size_t len;
    const char *want; /* message or written form; NULL: the input as it is */
};

/* For messages: escaped, and cut. */
const char *kit_shown(const char *input, size_t len);

int kit_parse(const char *input, size_t len, size_t chunk, struct kit_sample *ret, struct arena *a,
              struct err *e);

/* In chunks of any size: the message, or what the writer makes of what was read. */
void kit_expect_refused(const char *input, size_t len, const char *want);
void kit_expect_reads(const char *input, size_t len, const char *want);
void kit_expect_all_refused(const struct kit_text_case *cases, size_t count);
void kit_expect_all_read(const struct kit_text_case *cases, size_t count);

/* A member of any integer type is there, with this value. */
#define KIT_EXPECT_NUMBER(member, want)                                                            \
    cr_expect((member).set && (member).value == (typeof((member).value))(want), "%s: expected %d", \
              #member, want)

#endif
