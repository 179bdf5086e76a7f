/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/json.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "oci/json_decode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <yajl/yajl_gen.h>
#include <yajl/yajl_parse.h>

/* Holds a typical config.json; larger documents come in several chunks. */
#define DEFAULT_CHUNK ((size_t)16 << 10)

/* yajl does not check what its allocator returns, so it gets one that never returns NULL. */
static void *alloc_or_end(void *ctx, size_t size)
{
    (void)ctx;
    return mem_alloc(size);
}

static void *realloc_or_end(void *ctx, void *old, size_t size)
{
    (void)ctx;
    return mem_realloc(old, size);
}

static void free_any(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

static yajl_alloc_funcs allocator(void)
{
    return (yajl_alloc_funcs){
        .malloc = alloc_or_end, .realloc = realloc_or_end, .free = free_any, .ctx = NULL};
}
struct parser {
    struct json_decoder d;
    yajl_handle yajl;
    struct utf8_escapes escapes;
    uint64_t base;     /* bytes of all chunks before this one */
    uint64_t text_end; /* behind the last byte that is not blank */
};

/* --- yajl's events --- */

/* Every callback begins with it. */
static struct json_decoder *event(void *ctx)
{
    struct parser *p = ctx;

    p->d.last_end = p->d.event_end;
    p->d.event_end = p->base + yajl_get_bytes_consumed(p->yajl);
    return &p->d;
}

static int on_null(void *ctx)
{
    return json_decode_null(event(ctx));
}

static int on_boolean(void *ctx, int value)
{
    return json_decode_boolean(event(ctx), value);
}

static int on_number(void *ctx, const char *text, size_t len)
{
    return json_decode_number(event(ctx), text, len);
}

static int on_string(void *ctx, const unsigned char *string, size_t len)
{
    return json_decode_string(event(ctx), string, len);
}

static int on_key(void *ctx, const unsigned char *string, size_t len)
{
    return json_decode_key(event(ctx), string, len);
}

static int on_start_map(void *ctx)
{
    return json_decode_start_map(event(ctx));
}

static int on_start_array(void *ctx)
{
    return json_decode_start_array(event(ctx));
}

static int on_end(void *ctx)
{
    return json_decode_end(event(ctx));
}

/* --- the stream --- */

static void parser_init(struct parser *p, const struct json_doc *docs, size_t ndocs,
                        const char *where, struct arena *a, struct err *e)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_start_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_start_array,
        .yajl_end_array = on_end,
    };
    yajl_alloc_funcs funcs = allocator();

    *p = (struct parser){.d = {.arena = a, .err = e, .where = where, .docs = docs, .ndocs = ndocs}};
    p->yajl = yajl_alloc(&callbacks, &funcs, p);
    yajl_config(p->yajl, yajl_allow_multiple_values, 1);
}

static void parser_free(struct parser *p)
{
    yajl_free(p->yajl);
}

/*
 * yajl's short text is one line that holds nothing of the input: "lexical error: ...\n". Its offset
 * of an error depends on how the input was cut into chunks; that of the last good token does not.
 */
static int refuse_syntax(struct parser *p)
{
    unsigned char *text = yajl_get_error(p->yajl, 0, NULL, 0);

    json_decode_refuse(&p->d, "no valid JSON after byte %" PRIu64 " (%.*s)", p->d.event_end,
                       (int)strcspn((char *)text, ".\n"), (char *)text);
    yajl_free_error(p->yajl, text);
    return p->d.result;
}

bool json_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Form feed and vertical tab: yajl skips them like blanks, RFC 8259 has them nowhere. */
static size_t before_odd_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\v' || text[i] == '\f')
            return i;
    }
    return len;
}

static int feed(struct parser *p, const char *text, size_t len)
{
    size_t plain = before_odd_blank(text, len);
    size_t good = utf8_escapes_scan(&p->escapes, text, plain), end = good;
    yajl_status status;

    while (end > 0 && json_is_blank(text[end - 1]))
        end--;
    if (end > 0)
        p->text_end = p->base + end;
    status = yajl_parse(p->yajl, (const unsigned char *)text, good);
    if (status == yajl_status_client_canceled)
        return p->d.result;
    if (status != yajl_status_ok)
        return refuse_syntax(p);
    if (good == plain && plain < len) {
        json_decode_refuse(&p->d, "no valid JSON at byte %" PRIu64 " (a form feed or vertical tab)",
                           p->base + good);
        return p->d.result;
    }
    if (good < len) {
        json_decode_refuse(
            &p->d, "an unpaired surrogate escape before byte %" PRIu64 ", expected valid text",
            p->base + good);
        return p->d.result;
    }
    p->base += len;
    return 0;
}

static int finish(struct parser *p)
{
    yajl_status status;

    if (p->text_end == 0)
        return 0;
    status = yajl_complete_parse(p->yajl);
    if (status == yajl_status_client_canceled)
        return p->d.result;
    /* Between documents yajl takes an unfinished string at the end for nothing at all. */
    if (status != yajl_status_ok || p->text_end > p->d.doc_end) {
        json_decode_refuse(
            &p->d, "the input ends early, at byte %" PRIu64 ", expected the rest of the document",
            p->base);
        return p->d.result;
    }
    return (int)p->d.done;
}

int json_read_fd_copy(int fd, const struct json_doc *docs, size_t ndocs, size_t max_bytes,
                      size_t chunk, const char *where, struct sbuf *copy, struct arena *a,
                      struct err *e)
{
    size_t want = chunk ? chunk : DEFAULT_CHUNK, capacity = 0, left = max_bytes;
    CLEANUP(parser_free) struct parser p;
    autofree char *buf = NULL;
    char shown[JSON_WHERE_SIZE];

    parser_init(&p, docs, ndocs, where, a, e);
    for (;;) {
        uint64_t before = p.d.event_end;
        ssize_t n;
        size_t len;
        bool over;
        int r;

        if (want > capacity) {
            buf = realloc_or_end(NULL, buf, want);
            capacity = want;
        }
        n = io_read_full(fd, buf, want);
        if (n < 0)
            return err_sys(e, (int)n, "%s: cannot read", str_escape(where, shown, sizeof shown));
        over = (size_t)n > left;
        len = over ? left : (size_t)n;
        if (copy)
            sbuf_add(copy, buf, len);
        r = feed(&p, buf, len);
        if (r < 0)
            return r;
        if (over)
            return err_input(e, "%s: too long, expected at most %zu bytes",
                             str_escape(where, shown, sizeof shown), max_bytes);
        left -= len;
        if (len < want)
            return finish(&p);
        /*
         * No event: all of the chunk lies in one long token, which yajl lexes from its start again
         * with the next chunk. Doubling keeps the sum of that linear.
         */
        if (!chunk && p.d.event_end == before)
            want *= 2;
    }
}

int json_read_fd(int fd, const struct json_doc *docs, size_t ndocs, size_t max_bytes, size_t chunk,
                 const char *where, struct arena *a, struct err *e)
{
    return json_read_fd_copy(fd, docs, ndocs, max_bytes, chunk, where, NULL, a, e);
}

int json_read_text(const char *text, size_t len, const struct json_doc *docs, size_t ndocs,
                   size_t chunk, const char *where, struct arena *a, struct err *e)
{
    CLEANUP(parser_free) struct parser p;

    parser_init(&p, docs, ndocs, where, a, e);
    while (len > 0) {
        size_t n = chunk > 0 && chunk < len ? chunk : len;
        int r = feed(&p, text, n);

        if (r < 0)
            return r;
        text += n;
        len -= n;
    }
    return finish(&p);
}

/* --- writing --- */

struct json_writer {
    yajl_gen gen;
    char pending; /* '{' or '[': opened, nothing in it yet; yajl indents an empty one badly */
    struct sbuf escaped;
};

/* Every error of yajl_gen is a defect of the calling code: unbalanced calls, a missing key. */
static void must(yajl_gen_status status)
{
    if (status != yajl_gen_status_ok)
        abort();
}

struct json_writer *json_writer_new(bool pretty)
{
    struct json_writer *w = alloc_or_end(NULL, sizeof *w);
    yajl_alloc_funcs funcs = allocator();

    *w = (struct json_writer){.gen = yajl_gen_alloc(&funcs)};
    yajl_gen_config(w->gen, yajl_gen_beautify, pretty ? 1 : 0);
    yajl_gen_config(w->gen, yajl_gen_indent_string, "  ");
    return w;
}

void json_writer_free(struct json_writer *w)
{
    if (!w)
        return;
    yajl_gen_free(w->gen);
    sbuf_free(&w->escaped);
    free(w);
}

static void flush_pending(struct json_writer *w)
{
    if (w->pending == '{')
        must(yajl_gen_map_open(w->gen));
    else if (w->pending == '[')
        must(yajl_gen_array_open(w->gen));
    w->pending = '\0';
}

static void put_string(struct json_writer *w, const char *s)
{
    autosbuf repaired = SBUF_INIT;
    size_t len = strlen(s);

    for (;;) {
        size_t good = utf8_text_span((const unsigned char *)s, len);

        if (good == len && repaired.len == 0)
            break;
        sbuf_add(&repaired, s, good);
        if (good == len) {
            s = sbuf_text(&repaired);
            len = repaired.len;
            break;
        }
        sbuf_add(&repaired, "\xef\xbf\xbd", 3);
        s += good + 1;
        len -= good + 1;
    }
    must(yajl_gen_string(w->gen, (const unsigned char *)s, len));
}

static void put_key(struct json_writer *w, const char *key)
{
    flush_pending(w);
    if (key)
        put_string(w, key);
}

void json_open_object(struct json_writer *w, const char *key)
{
    put_key(w, key);
    w->pending = '{';
}

void json_open_list(struct json_writer *w, const char *key)
{
    put_key(w, key);
    w->pending = '[';
}

void json_close_object(struct json_writer *w)
{
    must(w->pending == '{' ? yajl_gen_number(w->gen, "{}", 2) : yajl_gen_map_close(w->gen));
    w->pending = '\0';
}

void json_close_list(struct json_writer *w)
{
    must(w->pending == '[' ? yajl_gen_number(w->gen, "[]", 2) : yajl_gen_array_close(w->gen));
    w->pending = '\0';
}

void json_string(struct json_writer *w, const char *key, const char *value)
{
    put_key(w, key);
    if (value)
        put_string(w, value);
    else
        must(yajl_gen_null(w->gen));
}

void json_bool(struct json_writer *w, const char *key, bool value)
{
    put_key(w, key);
    must(yajl_gen_bool(w->gen, value));
}

void json_i64(struct json_writer *w, const char *key, int64_t value)
{
    put_key(w, key);
    must(yajl_gen_integer(w->gen, value));
}

void json_u64(struct json_writer *w, const char *key, uint64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRIu64, value);

    put_key(w, key);
    must(yajl_gen_number(w->gen, text, (size_t)len));
}

void json_hundredths(struct json_writer *w, const char *key, uint64_t value)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%" PRIu64 ".%02u", value / 100, (unsigned)(value % 100));

    put_key(w, key);
    must(yajl_gen_number(w->gen, text, (size_t)len));
}

void json_null(struct json_writer *w, const char *key)
{
    json_string(w, key, NULL);
}

static void add_escape(struct sbuf *out, uint32_t code)
{
    if (code > 0xffff)
        sbuf_addf(out, "\\u%04X\\u%04X", 0xd800 + ((code - 0x10000) >> 10),
                  0xdc00 + (code & 0x3ff));
    else
        sbuf_addf(out, "\\u%04X", code);
}

/* yajl escapes C0 in strings, so what is left of it are line breaks between them; the others can
 * be in strings only. */
static void escape_controls(struct sbuf *out, const char *text, size_t len)
{
    const char *end = text + len;

    while (text < end) {
        uint32_t code = 0;
        size_t width = 0, plain = utf8_find_control(text, (size_t)(end - text), &code, &width);

        sbuf_add(out, text, plain);
        text += plain;
        if (width > 0 && code < 0x20)
            sbuf_add(out, text, width);
        else if (width > 0)
            add_escape(out, code);
        text += width;
    }
}

const char *json_writer_text(struct json_writer *w, size_t *ret_len)
{
    const unsigned char *text = NULL;
    size_t len = 0;

    flush_pending(w);
    must(yajl_gen_get_buf(w->gen, &text, &len));
    sbuf_free(&w->escaped);
    w->escaped = (struct sbuf)SBUF_INIT;
    escape_controls(&w->escaped, (const char *)text, len);
    if (ret_len)
        *ret_len = w->escaped.len;
    return sbuf_text(&w->escaped);
}

static void write_list(struct json_writer *w, const struct json_field *field,
                       const struct json_list *list)
{
    if (list->count == 0)
        return;
    json_open_list(w, field->key);
    for (size_t i = 0; i < list->count; i++) {
        if (field->kind == JSON_STRING_LIST)
            json_string(w, NULL, JSON_AT(*list, char *, i));
        else if (field->kind == JSON_I64_LIST)
            json_i64(w, NULL, JSON_AT(*list, int64_t, i));
        else
            json_write_table(w, NULL, field->sub, (const char *)list->items + i * field->sub->size);
    }
    json_close_list(w);
}

static void write_map(struct json_writer *w, const char *key, const struct json_list *map)
{
    if (map->count == 0)
        return;
    json_open_object(w, key);
    for (size_t i = 0; i < map->count; i++) {
        const struct json_pair *pair = &JSON_AT(*map, struct json_pair, i);

        json_string(w, pair->key, pair->value);
    }
    json_close_object(w);
}

/* A member of a table's struct as the type that its kind stands for. */
union member {
    const void *at;
    char *const *string;
    const struct json_bool *boolean;
    const struct json_i64 *i64;
    const struct json_u64 *u64;
    void *const *object;
    const struct json_list *list;
};

static void write_field(struct json_writer *w, const struct json_field *field, union member m)
{
    switch (field->kind) {
    case JSON_STRING:
        if (*m.string)
            json_string(w, field->key, *m.string);
        break;
    case JSON_BOOL:
        if (m.boolean->set)
            json_bool(w, field->key, m.boolean->value);
        break;
    case JSON_I64:
        if (m.i64->set)
            json_i64(w, field->key, m.i64->value);
        break;
    case JSON_U64:
        if (m.u64->set)
            json_u64(w, field->key, m.u64->value);
        break;
    case JSON_OBJECT:
        if (*m.object)
            json_write_table(w, field->key, field->sub, *m.object);
        break;
    case JSON_OBJECT_LIST:
    case JSON_STRING_LIST:
    case JSON_I64_LIST:
        write_list(w, field, m.list);
        break;
    case JSON_STRING_MAP:
        write_map(w, field->key, m.list);
        break;
    }
}

void json_write_table(struct json_writer *w, const char *key, const struct json_table *t,
                      const void *object)
{
    json_open_object(w, key);
    for (size_t i = 0; i < t->count; i++)
        write_field(w, &t->fields[i],
                    (union member){.at = (const char *)object + t->fields[i].offset});
    json_close_object(w);
}
