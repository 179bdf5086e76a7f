/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json_decode.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct frame *top(struct json_decoder *p)
{
    return &p->frames[p->depth - 1];
}

/* --- messages --- */

#define PATH_SIZE 180
#define WHAT_SIZE 380
static_assert(JSON_WHERE_SIZE + PATH_SIZE + WHAT_SIZE + 4 <= ERR_TEXT_SIZE,
              "a message is never cut");

/* Text of the input for a message: escaped, and cut to the size. */
static const char *escape_part(const char *s, size_t len, char *buf, size_t size)
{
    char part[128];

    if (len >= sizeof part)
        len = sizeof part - 1;
    memcpy(part, s, len);
    part[len] = '\0';
    return str_escape(part, buf, size);
}

static void path_add_key(struct sbuf *path, const char *key)
{
    if (path->len > 0)
        sbuf_add(path, ".", 1);
    sbuf_add(path, key, strlen(key));
}

/* Where the parser stands: "state.annotations.io.x", "linux.resources.devices[3].major", or "". */
static const char *path_text(const struct json_decoder *p, char *buf, size_t size)
{
    autosbuf path = SBUF_INIT;

    if (p->done < p->ndocs && p->docs[p->done].name)
        path_add_key(&path, p->docs[p->done].name);
    for (unsigned i = 0; i < p->depth; i++) {
        const struct frame *f = &p->frames[i];

        switch (f->place) {
        case IN_OBJECT:
            if (f->key && f->field && f->field->document)
                path.len = 0;
            __attribute__((fallthrough));
        case IN_STRING_MAP:
            if (f->key)
                path_add_key(&path, f->key);
            break;
        case IN_OBJECT_LIST:
        case IN_STRING_LIST:
        case IN_I64_LIST:
            /* an element that is open was counted when it began */
            sbuf_addf(&path, "[%zu]", f->list->count - (i + 1 < p->depth));
            break;
        }
    }
    return str_escape(sbuf_text(&path), buf, size);
}

int json_decode_refuse(struct json_decoder *p, const char *fmt, ...)
{
    char where[JSON_WHERE_SIZE], path[PATH_SIZE], what[WHAT_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    path_text(p, path, sizeof path);
    p->result = err_input(p->err, "%s: %s%s%s", str_escape(p->where, where, sizeof where), path,
                          *path ? ": " : "", what);
    return 0;
}

static const char *expected(const struct json_decoder *p)
{
    const struct frame *f;

    if (p->depth == 0)
        return "an object";
    f = &p->frames[p->depth - 1];
    if (f->place == IN_OBJECT_LIST)
        return "an object";
    if (f->place == IN_I64_LIST)
        return "an integer";
    if (f->place != IN_OBJECT)
        return "a string";
    switch (f->field->kind) {
    case JSON_STRING:
        return "a string";
    case JSON_BOOL:
        return "a boolean";
    case JSON_I64:
    case JSON_U64:
        return "an integer";
    case JSON_OBJECT:
    case JSON_STRING_MAP:
        return "an object";
    case JSON_OBJECT_LIST:
    case JSON_STRING_LIST:
    case JSON_I64_LIST:
        break;
    }
    return "a list";
}

static int mismatch(struct json_decoder *p, const char *found)
{
    if (p->depth == 0 && p->done == p->ndocs)
        return json_decode_refuse(p, "%s follows the last document, expected %s", found,
                                  p->ndocs == 1 ? "one document only" : "the end of the input");
    return json_decode_refuse(p, "expected %s, found %s", expected(p), found);
}

static int refuse_unknown(struct json_decoder *p, const struct json_table *t, const char *key,
                          size_t len)
{
    autosbuf list = SBUF_INIT;
    char name[64];

    for (size_t i = 0; i < t->count; i++)
        sbuf_addf(&list, "%s%s", i > 0 ? ", " : "", t->fields[i].key);
    return json_decode_refuse(p, "unknown key \"%s\", expected one of: %s",
                              escape_part(key, len, name, sizeof name), sbuf_text(&list));
}

/* Every string and key of the document comes here, unused ones too. */
static bool check_text(struct json_decoder *p, const char *what, const char *text, size_t len)
{
    size_t good = utf8_text_span((const unsigned char *)text, len);

    if (good == len)
        return true;
    if (text[good] == '\0')
        json_decode_refuse(p, "a NUL character in %s, expected text without", what);
    else
        json_decode_refuse(p, "invalid UTF-8 in %s, expected valid text", what);
    return false;
}

/* --- where values stand, in a document that is edited --- */

/* From behind one token to the next. */
static size_t next_token(const struct json_decoder *p, uint64_t pos)
{
    return pos + strspn(p->docs[p->done].text + pos, ",: \t\n\r");
}

/* Whether one more fits to @count of them. What is not used is not counted, as it is not kept. */
static bool check_room(struct json_decoder *p, size_t count)
{
    if (count < JSON_MAX_ELEMENTS)
        return true;
    json_decode_refuse(p, "expected at most %d elements", JSON_MAX_ELEMENTS);
    return false;
}

/* Of a member whose key is read, or of an element that begins. */
static void add_item(struct json_decoder *p)
{
    const struct frame *f = top(p);
    struct json_item *item;

    if (!f->item)
        return;
    item = arena_push(p->arena, &f->item->items, &f->item->count, sizeof *item);
    item->field = f->field;
    item->begin = item->value = next_token(p, p->last_end);
    if (f->place == IN_OBJECT)
        item->value = next_token(p, p->event_end);
}

static struct json_item *last_item(struct json_decoder *p)
{
    const struct json_item *in = top(p)->item;

    return in && in->count > 0 ? &in->items[in->count - 1] : NULL;
}

/* That of the object or list that begins. It stays where it is until the end of that, as what it is
 * in gets no other item before. */
static struct json_item *open_item(struct json_decoder *p)
{
    struct json_item *root = p->depth > 0 ? NULL : p->docs[p->done].edited;

    if (p->depth > 0)
        return last_item(p);
    if (root)
        root->begin = root->value = next_token(p, p->last_end);
    return root;
}

/* --- values --- */

/* Where a scalar goes: its field, or NULL when it belongs elsewhere or nowhere. */
static const struct json_field *field_of(struct json_decoder *p, enum json_kind kind)
{
    const struct frame *f;

    if (p->depth == 0)
        return NULL;
    f = top(p);
    return f->place == IN_OBJECT && f->field && f->field->kind == kind ? f->field : NULL;
}

static bool is_unused(struct json_decoder *p)
{
    if (p->skip > 0)
        return true;
    return p->depth > 0 && top(p)->place == IN_OBJECT && !top(p)->field;
}

/* The member's value is complete; elements of lists have no key. */
static int value_done(struct json_decoder *p)
{
    if (p->depth > 0 && p->skip == 0) {
        struct json_item *item = last_item(p);

        if (item)
            item->end = p->event_end;
        top(p)->key = NULL;
    }
    return 1;
}

int json_decode_null(struct json_decoder *p)
{
    if (is_unused(p))
        return value_done(p);
    if (p->depth == 0 || (top(p)->place != IN_OBJECT && top(p)->place != IN_STRING_MAP))
        return mismatch(p, "null");
    return value_done(p);
}

int json_decode_boolean(struct json_decoder *p, int value)
{
    const struct json_field *field;

    if (is_unused(p))
        return value_done(p);
    field = field_of(p, JSON_BOOL);
    if (!field)
        return mismatch(p, "a boolean");
    *(struct json_bool *)(void *)(top(p)->object + field->offset) =
        (struct json_bool){.set = true, .value = value != 0};
    return value_done(p);
}

static int store_i64(struct json_decoder *p, const struct json_field *field, const char *text,
                     size_t len)
{
    uint64_t max = field->max < INT64_MAX ? field->max : INT64_MAX;
    char shown[48];
    int64_t value;

    if (str_to_i64(text, len, &value) < 0 || value < field->min ||
        (value >= 0 && (uint64_t)value > max))
        return json_decode_refuse(p, "%s is out of range %" PRId64 "..%" PRIu64,
                                  escape_part(text, len, shown, sizeof shown), field->min, max);
    if (field->kind == JSON_I64_LIST) {
        struct json_list *list = top(p)->list;

        if (!check_room(p, list->count))
            return 0;
        JSON_APPEND(p->arena, *list, int64_t) = value;
        return value_done(p);
    }
    *(struct json_i64 *)(void *)(top(p)->object + field->offset) =
        (struct json_i64){.set = true, .value = value};
    return value_done(p);
}

static int store_u64(struct json_decoder *p, const struct json_field *field, const char *text,
                     size_t len)
{
    char shown[48];
    uint64_t value;

    if (str_to_u64(text, len, &value) < 0 || value > field->max)
        return json_decode_refuse(p, "%s is out of range 0..%" PRIu64,
                                  escape_part(text, len, shown, sizeof shown), field->max);
    *(struct json_u64 *)(void *)(top(p)->object + field->offset) =
        (struct json_u64){.set = true, .value = value};
    return value_done(p);
}

int json_decode_number(struct json_decoder *p, const char *text, size_t len)
{
    const struct json_field *i64, *u64;
    int64_t ignored;

    if (is_unused(p))
        return value_done(p);
    i64 = p->depth > 0 && top(p)->place == IN_I64_LIST ? top(p)->field : field_of(p, JSON_I64);
    u64 = field_of(p, JSON_U64);
    if (!i64 && !u64)
        return mismatch(p, "a number");
    if (str_to_i64(text, len, &ignored) == -EINVAL) {
        char shown[48];

        return mismatch(p, escape_part(text, len, shown, sizeof shown));
    }
    return i64 ? store_i64(p, i64, text, len) : store_u64(p, u64, text, len);
}

int json_decode_string(struct json_decoder *p, const unsigned char *string, size_t len)
{
    const char *text = (const char *)string;
    const struct json_field *field;
    struct json_list *list;

    if (!check_text(p, "a string", text, len))
        return 0;
    if (is_unused(p))
        return value_done(p);
    field = field_of(p, JSON_STRING);
    if (field) {
        *(char **)(void *)(top(p)->object + field->offset) = arena_strndup(p->arena, text, len);
        return value_done(p);
    }
    if (p->depth == 0)
        return mismatch(p, "a string");
    list = top(p)->list;
    switch (top(p)->place) {
    case IN_STRING_LIST:
        if (!check_room(p, list->count))
            return 0;
        JSON_APPEND(p->arena, *list, char *) = arena_strndup(p->arena, text, len);
        return value_done(p);
    case IN_STRING_MAP:
        JSON_AT(*list, struct json_pair, list->count - 1).value =
            arena_strndup(p->arena, text, len);
        return value_done(p);
    case IN_OBJECT:
    case IN_OBJECT_LIST:
    case IN_I64_LIST:
        break;
    }
    return mismatch(p, "a string");
}

static const struct json_field *find_field(const struct json_table *t, const char *key, size_t len)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct json_field *field = &t->fields[i];

        if (strlen(field->key) == len && memcmp(field->key, key, len) == 0)
            return field;
    }
    return NULL;
}

#define LONG_S      "\xc5\xbf"
#define KELVIN_SIGN "\xe2\x84\xaa"

/* Equal for Go's encoding/json, which does not look at case and takes two more for ASCII letters, a
 * long s and the Kelvin sign. The key is valid UTF-8, so these are never cut. */
static bool is_alike(const char *key, size_t len, const char *name)
{
    const char *end = key + len;

    for (; key < end && *name; name++) {
        if (tolower((unsigned char)*key) == tolower((unsigned char)*name))
            key++;
        else if (tolower((unsigned char)*name) == 's' && str_starts(key, LONG_S))
            key += strlen(LONG_S);
        else if (tolower((unsigned char)*name) == 'k' && str_starts(key, KELVIN_SIGN))
            key += strlen(KELVIN_SIGN);
        else
            return false;
    }
    return key == end && !*name;
}

static int refuse_alike(struct json_decoder *p, const struct json_table *t, const char *key,
                        size_t len)
{
    for (size_t i = 0; i < t->count; i++) {
        if (is_alike(key, len, t->fields[i].key))
            return json_decode_refuse(p, "runtimes written in Go read this as \"%s\"; write it so",
                                      t->fields[i].key);
    }
    return 1;
}

static int object_key(struct json_decoder *p, struct frame *f, const char *text, size_t len)
{
    uint64_t bit;

    f->field = find_field(f->table, text, len);
    if (f->item && !check_room(p, f->item->count))
        return 0;
    add_item(p);
    if (!f->field) {
        if (f->strict)
            return refuse_unknown(p, f->table, text, len);
        if (len >= sizeof p->unused_key)
            len = sizeof p->unused_key - 1;
        memcpy(p->unused_key, text, len);
        p->unused_key[len] = '\0';
        f->key = p->unused_key;
        return f->table->go || p->docs[p->done].edited ? refuse_alike(p, f->table, text, len) : 1;
    }
    f->key = f->field->key;
    bit = UINT64_C(1) << (f->field - f->table->fields);
    if (f->seen & bit)
        return json_decode_refuse(p, "given twice, expected once");
    f->seen |= bit;
    return 1;
}

int json_decode_key(struct json_decoder *p, const unsigned char *string, size_t len)
{
    const char *text = (const char *)string;
    struct json_pair *pair;
    struct frame *f;

    if (!check_text(p, "a key", text, len))
        return 0;
    if (p->skip > 0)
        return 1;
    f = top(p);
    if (f->place == IN_OBJECT)
        return object_key(p, f, text, len);
    if (!check_room(p, f->list->count))
        return 0;
    pair = &JSON_APPEND(p->arena, *f->list, struct json_pair);
    pair->key = arena_strndup(p->arena, text, len);
    f->key = pair->key;
    return 1;
}

/* --- objects and lists --- */

/* Depth is counted here and not left to yajl, which has no limit. */
static bool check_depth(struct json_decoder *p)
{
    if (p->depth + p->skip < JSON_MAX_DEPTH)
        return true;
    json_decode_refuse(p, "nested too deep, expected at most %d levels", JSON_MAX_DEPTH);
    return false;
}

static int push_object(struct json_decoder *p, const struct json_table *t, void *object)
{
    p->frames[p->depth] =
        (struct frame){.place = IN_OBJECT, .table = t, .object = object, .item = open_item(p)};
    p->frames[p->depth].strict = t->strict || (p->depth > 0 && top(p)->strict);
    p->depth++;
    return 1;
}

static int push_list(struct json_decoder *p, enum place place, const struct json_field *field)
{
    struct json_list *list = (struct json_list *)(void *)(top(p)->object + field->offset);

    p->frames[p->depth] = (struct frame){
        .place = place, .table = field->sub, .field = field, .list = list, .item = open_item(p)};
    p->frames[p->depth].strict = top(p)->strict;
    p->depth++;
    return 1;
}

int json_decode_start_map(struct json_decoder *p)
{
    const struct json_field *field;

    if (!check_depth(p))
        return 0;
    if (is_unused(p)) {
        p->skip++;
        return 1;
    }
    if (p->depth == 0) {
        if (p->done == p->ndocs)
            return mismatch(p, "an object");
        return push_object(p, p->docs[p->done].table, p->docs[p->done].dest);
    }
    if (top(p)->place == IN_OBJECT_LIST) {
        struct frame *f = top(p);

        if (!check_room(p, f->list->count))
            return 0;
        add_item(p);
        return push_object(p, f->table,
                           arena_push(p->arena, &f->list->items, &f->list->count, f->table->size));
    }
    field = field_of(p, JSON_OBJECT);
    if (field) {
        void *object = arena_alloc(p->arena, field->sub->size);

        *(void **)(void *)(top(p)->object + field->offset) = object;
        return push_object(p, field->sub, object);
    }
    field = field_of(p, JSON_STRING_MAP);
    return field ? push_list(p, IN_STRING_MAP, field) : mismatch(p, "an object");
}

int json_decode_start_array(struct json_decoder *p)
{
    const struct json_field *field;

    if (!check_depth(p))
        return 0;
    if (is_unused(p)) {
        p->skip++;
        return 1;
    }
    field = field_of(p, JSON_OBJECT_LIST);
    if (field)
        return push_list(p, IN_OBJECT_LIST, field);
    field = field_of(p, JSON_I64_LIST);
    if (field)
        return push_list(p, IN_I64_LIST, field);
    field = field_of(p, JSON_STRING_LIST);
    return field ? push_list(p, IN_STRING_LIST, field) : mismatch(p, "a list");
}

static int order_keys(const void *a, const void *b)
{
    const unsigned char *x = *(const unsigned char *const *)a;
    const unsigned char *y = *(const unsigned char *const *)b;

    while (*x && *x == *y) {
        x++;
        y++;
    }
    return *x - *y;
}

/* Every key of a map is used, so all are compared: sorted, as there may be very many of them. */
static const char *repeated_key(const struct json_list *map)
{
    autofree const char **keys = mem_alloc(map->count * sizeof *keys);

    for (size_t i = 0; i < map->count; i++)
        keys[i] = JSON_AT(*map, struct json_pair, i).key;
    qsort(keys, map->count, sizeof *keys, order_keys);
    for (size_t i = 1; i < map->count; i++) {
        if (str_eq(keys[i - 1], keys[i]))
            return keys[i];
    }
    return NULL;
}

static int finish_map(struct json_decoder *p, struct frame *f)
{
    struct json_list *map = f->list;
    size_t kept = 0;

    f->key = map->count > 1 ? repeated_key(map) : NULL;
    if (f->key)
        return json_decode_refuse(p, "given twice, expected once");
    /* null is the same as absent */
    for (size_t i = 0; i < map->count; i++) {
        struct json_pair pair = JSON_AT(*map, struct json_pair, i);

        if (pair.value)
            JSON_AT(*map, struct json_pair, kept++) = pair;
    }
    map->count = kept;
    return 1;
}

/* The end of an object or a list; the grammar makes it the innermost open one. */
int json_decode_end(struct json_decoder *p)
{
    if (p->skip > 0) {
        p->skip--;
        return value_done(p);
    }
    if (top(p)->place == IN_STRING_MAP && !finish_map(p, top(p)))
        return 0;
    if (top(p)->item)
        top(p)->item->end = p->event_end;
    p->depth--;
    if (p->depth == 0) {
        p->done++;
        p->doc_end = p->event_end;
    }
    return value_done(p);
}
