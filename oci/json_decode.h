/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_JSON_DECODE_H
#define OCI_JSON_DECODE_H

/*
 * From the parser's events to the structs of the tables, with all that is refused on the way.
 * Internal to json.c, which owns the parser; nothing here knows which parser that is.
 *
 * Every event function returns 1 to go on and 0 when the document was refused: the reason is then
 * in the caller's struct err, and `result` is what to return.
 */

#include "oci/json.h"

enum place { IN_OBJECT, IN_OBJECT_LIST, IN_STRING_LIST, IN_I64_LIST, IN_STRING_MAP };

/* One open object or list that is used. */
struct frame {
    enum place place;
    const char *key;                /* objects and maps: whose value comes; NULL between members */
    const struct json_table *table; /* IN_OBJECT; IN_OBJECT_LIST: of the elements */
    const struct json_field *field; /* IN_OBJECT: of the key, NULL if it is unused; of the list */
    bool strict;   /* unknown keys are errors: the table says so, or that of what it is in */
    uint64_t seen; /* IN_OBJECT: bit i for fields[i] */
    char *object;  /* IN_OBJECT: what is filled */
    struct json_list *list; /* the other places: what is filled */
    struct json_item *item; /* where it stands; NULL if the document is not edited */
};

struct json_decoder {
    struct arena *arena;
    struct err *err;
    const char *where;
    const struct json_doc *docs;
    size_t ndocs, done; /* documents: expected, complete */

    struct frame frames[JSON_MAX_DEPTH];
    unsigned depth;      /* of the used part */
    unsigned skip;       /* open objects and lists below an unused key */
    char unused_key[64]; /* its beginning, for messages */

    uint64_t event_end; /* behind the event's token, in bytes; set before each event */
    uint64_t last_end;  /* behind that of the event before */
    uint64_t doc_end;   /* behind the last complete document */
    int result;
};

#define JSON_WHERE_SIZE 200

int json_decode_null(struct json_decoder *p);
int json_decode_boolean(struct json_decoder *p, int value);
int json_decode_number(struct json_decoder *p, const char *text, size_t len);
int json_decode_string(struct json_decoder *p, const unsigned char *string, size_t len);
int json_decode_key(struct json_decoder *p, const unsigned char *string, size_t len);
int json_decode_start_map(struct json_decoder *p);
int json_decode_start_array(struct json_decoder *p);
int json_decode_end(struct json_decoder *p); /* of either */

/* End with "WHERE: PATH: what". Returns 0. */
int json_decode_refuse(struct json_decoder *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
