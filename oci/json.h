/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_JSON_H
#define OCI_JSON_H

/*
 * JSON documents read straight into plain structs, and written. json.c alone includes yajl.
 *
 * A document is described by a table: which keys are used, what type each must have, where it goes.
 * The event parser walks the table; everything else in the document is skipped without being kept,
 * so memory depends on what we use and not on what we are sent. Refused, with the JSON path in the
 * message: another type than the table's, a used key twice in one object, a NUL inside a string,
 * invalid UTF-8 (an unpaired surrogate escape too), a number that is no integer or out of range,
 * comments, nesting deeper than JSON_MAX_DEPTH, more elements than JSON_MAX_ELEMENTS, more than the
 * caller's number of bytes, anything after the last document. `null` is the same as an absent key,
 * because Go programs write it for an empty list or map; as an element of a list it is refused.
 */

#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define JSON_MAX_DEPTH 64

/* Of one list or map that is used: memory is bounded by it, not by what fits into the stream. */
#define JSON_MAX_ELEMENTS 16384

enum json_kind {
    JSON_STRING,      /* char *, in the arena */
    JSON_BOOL,        /* struct json_bool */
    JSON_I64,         /* struct json_i64, min..max of the field */
    JSON_U64,         /* struct json_u64, 0..max of the field */
    JSON_OBJECT,      /* pointer to the sub-table's struct, in the arena; NULL when absent */
    JSON_OBJECT_LIST, /* struct json_list of the sub-table's structs */
    JSON_STRING_LIST, /* struct json_list of char * */
    JSON_I64_LIST,    /* struct json_list of int64_t, each min..max of the field */
    JSON_STRING_MAP,  /* struct json_list of struct json_pair; every key is used */
};

struct json_bool {
    bool set, value;
};
struct json_i64 {
    bool set;
    int64_t value;
};
struct json_u64 {
    bool set;
    uint64_t value;
};
struct json_list {
    void *items; /* contiguous elements in the arena */
    size_t count;
};
struct json_pair {
    char *key, *value;
};

/* The i-th element of a json_list as an lvalue. */
#define JSON_AT(list, type, i) (((type *)(list).items)[i])

/* One more at its end, likewise. */
#define JSON_APPEND(a, list, type)                                                                 \
    (*(type *)arena_push((a), &(list).items, &(list).count, sizeof(type)))

struct json_table;

struct json_field {
    const char *key;
    enum json_kind kind;
    size_t offset;                /* of the member in the table's struct */
    const struct json_table *sub; /* JSON_OBJECT, JSON_OBJECT_LIST */
    int64_t min;                  /* JSON_I64, JSON_I64_LIST */
    uint64_t max;                 /* JSON_I64, JSON_I64_LIST, JSON_U64 */
    bool document;                /* JSON_OBJECT: paths in messages begin at this key */
};

struct json_table {
    const struct json_field *fields;
    size_t count; /* at most 64 */
    size_t size;  /* of the struct */
    bool strict;  /* an unknown key, here or further in, is an error that lists what was expected */
    bool go;      /* a key that only programs in Go take for a used one is an error */
};

/* The initialiser of one that ignores unknown keys; @type is its struct's. */
#define JSON_TABLE(list, type)                                                                     \
    {                                                                                              \
        .fields = list, .count = ARRAY_SIZE(list), .size = sizeof(type)                            \
    }

/* The same, of what runtimes in Go read as well: they do not look at case, and of "cpu" and "CPU"
 * the later counts for them. */
#define JSON_TABLE_GO(list, type)                                                                  \
    {                                                                                              \
        .fields = list, .count = ARRAY_SIZE(list), .size = sizeof(type), .go = true                \
    }

/* Field initialisers. An integer's bounds are part of the table: nothing checks them again. */
/* clang-format off */
#define JSON_F_STRING(k, s, m)      {.key = k, .kind = JSON_STRING, .offset = offsetof(s, m)}
#define JSON_F_BOOL(k, s, m)        {.key = k, .kind = JSON_BOOL, .offset = offsetof(s, m)}
#define JSON_F_I64(k, s, m, lo, hi) \
    {.key = k, .kind = JSON_I64, .offset = offsetof(s, m), .min = lo, .max = hi}
#define JSON_F_U64(k, s, m, hi) \
    {.key = k, .kind = JSON_U64, .offset = offsetof(s, m), .max = hi}
#define JSON_F_OBJECT(k, s, m, t) \
    {.key = k, .kind = JSON_OBJECT, .offset = offsetof(s, m), .sub = t}
#define JSON_F_OBJECT_LIST(k, s, m, t) \
    {.key = k, .kind = JSON_OBJECT_LIST, .offset = offsetof(s, m), .sub = t}
#define JSON_F_STRING_LIST(k, s, m) {.key = k, .kind = JSON_STRING_LIST, .offset = offsetof(s, m)}
#define JSON_F_I64_LIST(k, s, m, lo, hi) \
    {.key = k, .kind = JSON_I64_LIST, .offset = offsetof(s, m), .min = lo, .max = hi}
#define JSON_F_STRING_MAP(k, s, m)  {.key = k, .kind = JSON_STRING_MAP, .offset = offsetof(s, m)}
/* clang-format on */

/*
 * Where a value stands in the text, in bytes, without the blanks around it. Its items, in their
 * order, are the members of an object and the elements of a list of objects, if it is used.
 */
struct json_item {
    const struct json_field *field; /* of a member, or of an element's list; NULL: it is not used */
    size_t begin;                   /* of the key; of the value, where there is no key */
    size_t value, end;
    struct json_item *items;
    size_t count;
    bool marked; /* the caller's, false at first */
};

/* One expected document of a stream. */
struct json_doc {
    const struct json_table *table;
    void *dest;       /* a zeroed struct of the table */
    const char *name; /* begins the paths in messages: "state"; NULL: nothing does */
    /*
     * For a caller that changes a part of the text and leaves every other byte as it is: what is in
     * the document, and its whole text with a NUL behind it. Refused are then also keys that
     * programs in Go, which do not look at case, take for a used one: of "hooks" and "Hooks" runc
     * reads the later, so a change of the one may change nothing.
     */
    struct json_item *edited; /* zeroed; NULL for other callers */
    const char *text;
};

/*
 * Read up to @ndocs documents from a descriptor, to its end. Each value is an object.
 * @max_bytes   of the whole stream.
 * @where       names the source in messages ("standard input", a file's path).
 * @chunk       bytes per read, 0 for the default; tests use small ones.
 * Returns how many documents there were (0 for an empty or blank stream); -EINVAL bad input, marked
 * as such in @e; other -errno from read(2). On an error the descriptor may not be at its end:
 * io_drain().
 */
int json_read_fd(int fd, const struct json_doc *docs, size_t ndocs, size_t max_bytes, size_t chunk,
                 const char *where, struct arena *a, struct err *e);
/* The same, and what was read is added to @copy; NULL: not. */
int json_read_fd_copy(int fd, const struct json_doc *docs, size_t ndocs, size_t max_bytes,
                      size_t chunk, const char *where, struct sbuf *copy, struct arena *a,
                      struct err *e);

/* The same from memory, parsed @chunk bytes at a time (0: at once). */
int json_read_text(const char *text, size_t len, const struct json_doc *docs, size_t ndocs,
                   size_t chunk, const char *where, struct arena *a, struct err *e);

/* What JSON allows between tokens. */
bool json_is_blank(char c);

/*
 * Writing: calls nest as the document does; the writer takes care of commas, quotes and escapes.
 * @key     NULL for list elements and the document itself.
 * @pretty  indented by two spaces, for people; otherwise one line.
 */
struct json_writer;

struct json_writer *json_writer_new(bool pretty);
void json_open_object(struct json_writer *w, const char *key);
void json_close_object(struct json_writer *w);
void json_open_list(struct json_writer *w, const char *key);
void json_close_list(struct json_writer *w);
void json_string(struct json_writer *w, const char *key, const char *value); /* NULL writes null */
void json_bool(struct json_writer *w, const char *key, bool value);
void json_i64(struct json_writer *w, const char *key, int64_t value);
void json_u64(struct json_writer *w, const char *key, uint64_t value);
void json_hundredths(struct json_writer *w, const char *key, uint64_t value); /* 123 is 1.23 */
void json_null(struct json_writer *w, const char *key);
/* The text so far, NUL-terminated, valid until the next call. Bytes that are no UTF-8 were written
 * as U+FFFD, so that what we print always parses, and control characters of any kind as escapes, so
 * that it can be shown. */
const char *json_writer_text(struct json_writer *w, size_t *ret_len);
void json_writer_free(struct json_writer *w);

/*
 * Write a struct of a table: every set field under its key, absent ones left out. What is written
 * reads back equal.
 */
void json_write_table(struct json_writer *w, const char *key, const struct json_table *t,
                      const void *object);

#endif
