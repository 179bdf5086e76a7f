/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/document.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "cgroup/limits/table.h"

#include <stdio.h>

#define LIST_MOST 5
#define PATH_SIZE 200

struct document {
    struct draw *draw;
    struct json_writer *w;
    struct arena *a;
    bool unified;
};

static void draw_table(struct document *doc, const char *key, const struct json_table *table,
                       const char *path);

/* --- texts, by the names of their members --- */

char *document_cpus(struct draw *d, struct arena *a)
{
    char *text = arena_strdup(a, "");

    for (size_t n = 1 + draw_below(d, 3); n > 0; n--) {
        unsigned from = (unsigned)draw_below(d, 128), count = (unsigned)draw_below(d, 4);

        text = count == 0
                   ? arena_printf(a, "%s%s%u", text, *text ? "," : "", from)
                   : arena_printf(a, "%s%s%u-%u", text, *text ? "," : "", from, from + count);
    }
    return text;
}

static const char *draw_path(struct document *doc)
{
    static const char *const slices[] = {"", "system.slice", "kubepods-burstable.slice", "-.slice"};
    struct draw *d = doc->draw;
    const char *name = DRAW_ONE_OF(d, "c1", "s1", "kata_c1", "a b", "x.scope", "\xc3\xa4");

    if (draw_one_in(d, 3))
        return arena_printf(doc->a, "%s:%s:%s", draw_text(d, slices, ARRAY_SIZE(slices)),
                            DRAW_ONE_OF(d, "crio", "", "cri-containerd"), name);
    return arena_printf(doc->a, "%s%s", DRAW_ONE_OF(d, "/a/", "/", "", "a/b/", "/kubepods//x/./"),
                        name);
}

static const char *draw_access(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "rwm", "r", "w", "m", "rw", "mr", "wm", "");
}

static const char *draw_cpus(struct document *doc)
{
    return document_cpus(doc->draw, doc->a);
}

static const char *draw_mems(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "0", "0-1", "1", "");
}

static const char *draw_type(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "c", "b", "a", "", "c");
}

static const char *draw_page_size(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "2MB", "1GB", "64KB");
}

static const char *draw_role(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "sandbox", "container");
}

static const char *draw_id(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "s1", "c1", "pod-2");
}

static const char *draw_bool(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "true", "false", "1", "F");
}

static const char *draw_quota(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "50000 100000", "max", "max 100000", "20000");
}

static const char *draw_version(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "1.0.2", "1.3.0", "2.0.0-dev", "x");
}

static const char *draw_scope_limit(struct document *doc)
{
    return DRAW_ONE_OF(doc->draw, "1048576", "uint64 100", "18446744073709551615", "'0-3'");
}

/* The first row whose text the end of a member's path is. */
static const struct {
    const char *end;
    const char *(*draw)(struct document *doc);
} texts[] = {
    {".cpu.cpus", draw_cpus},
    {".cpu.mems", draw_mems},
    {".cgroupsPath", draw_path},
    {".access", draw_access},
    {".type", draw_type},
    {".pageSize", draw_page_size},
    {".cri.container-type", draw_role},
    {".cri-o.ContainerType", draw_role},
    {".ociVersion", draw_version},
    {"-id", draw_id},
    {"SandboxID", draw_id},
    {".sandbox.id", draw_id},
    {"sandbox_cgroup_only", draw_bool},
    {"enable_vcpus_pinning", draw_bool},
    {"overhead-cpu-quota", draw_quota},
};

static const char *draw_string(struct document *doc, const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (str_ends(path, texts[i].end))
            return texts[i].draw(doc);
    }
    if (strstr(path, ".property."))
        return draw_scope_limit(doc);
    return DRAW_ONE_OF(doc->draw, "eth0", "x", "a-b", "sandbox");
}

/* --- numbers --- */

/* What no row of the table of limits says, as the value is computed with first. */
static const struct {
    const char *name;
    int64_t min, max;
} ranges[] = {
    {"cpu.quota", -1, 1000000},
    {"cpu.period", 1000, 1000000},
    {"blockIO.weight", 10, 1000},
    {"blockIO.leafWeight", 10, 1000},
    {"blockIO.weightDevice.weight", 10, 1000},
    {"blockIO.weightDevice.leafWeight", 10, 1000},
    {"memory.limit", -1, INT64_C(1) << 40},
    {"memory.swap", INT64_C(1) << 40, INT64_MAX},
};

/* A row that is computed has no range, and min and max are 0. */
static bool find_range(const char *name, int64_t *min, int64_t *max)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
        if (str_eq(ranges[i].name, name)) {
            *min = ranges[i].min;
            *max = ranges[i].max;
            return true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].name && str_eq(rows[i].name, name) && rows[i].max > rows[i].min) {
            *min = rows[i].min;
            *max = rows[i].max;
            return true;
        }
    }
    return false;
}

/* The field's range, which the parser refuses to leave, and mostly the limit's, too. */
static void draw_number(struct document *doc, const char *key, const struct json_field *field,
                        const char *path)
{
    static const char resources[] = ".linux.resources.";
    const char *name = str_starts(path, resources) ? path + strlen(resources) : path;
    int64_t least = field->kind == JSON_U64 ? 0 : field->min;
    int64_t most = field->max > INT64_MAX ? INT64_MAX : (int64_t)field->max, min, max;

    if (!draw_one_in(doc->draw, 32) && find_range(name, &min, &max)) {
        least = min > least ? min : least;
        most = max < most ? max : most;
    } else if (str_ends(name, ".major") || str_ends(name, ".minor")) {
        most = draw_one_in(doc->draw, 8) ? most : 12;
    }
    json_i64(doc->w, key, draw_i64(doc->draw, least, most));
}

/* --- members --- */

/* Files of cgroup v2's controllers, as the rows name them, with what they take. */
static void draw_unified(struct document *doc, const char *key)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    json_open_object(doc->w, key);
    for (size_t i = 0; i < count && doc->unified; i++) {
        const char *file = rows[i].v2_file;

        if (!file || !draw_one_in(doc->draw, 6))
            continue;
        if (strchr(file, '*'))
            file = DRAW_ONE_OF(doc->draw, "hugetlb.2MB.max", "hugetlb.1GB.rsvd.max");
        json_string(doc->w, file,
                    DRAW_ONE_OF(doc->draw, "max", "100", "50000 100000", "0-3", "8:0 rbps=1048576",
                                "default 100\n8:0 200", "0", "1"));
    }
    json_close_object(doc->w);
}

static void draw_value(struct document *doc, const char *key, const struct json_field *field,
                       const char *path)
{
    switch (field->kind) {
    case JSON_STRING:
        json_string(doc->w, key, draw_string(doc, path));
        break;
    case JSON_BOOL:
        json_bool(doc->w, key, draw_below(doc->draw, 2) == 0);
        break;
    case JSON_I64:
    case JSON_U64:
    case JSON_I64_LIST:
        draw_number(doc, key, field, path);
        break;
    case JSON_OBJECT:
    case JSON_OBJECT_LIST:
        draw_table(doc, key, field->sub, path);
        break;
    case JSON_STRING_LIST:
        json_string(doc->w, key, draw_string(doc, path));
        break;
    case JSON_STRING_MAP:
        draw_unified(doc, key);
        break;
    }
}

static bool is_list(enum json_kind kind)
{
    return kind == JSON_OBJECT_LIST || kind == JSON_STRING_LIST || kind == JSON_I64_LIST;
}

static void draw_member(struct document *doc, const struct json_field *field, const char *path)
{
    if (!is_list(field->kind)) {
        draw_value(doc, field->key, field, path);
        return;
    }
    json_open_list(doc->w, field->key);
    for (size_t n = draw_below(doc->draw, LIST_MOST); n > 0; n--)
        draw_value(doc, NULL, field, path);
    json_close_list(doc->w);
}

/* What leads to limits is there mostly; a lone annotation contradicts no other. */
static bool is_drawn(struct document *doc, const struct json_field *field, const char *path)
{
    if (doc->draw->len == 0)
        return false;
    if (field->kind == JSON_STRING_MAP && !doc->unified)
        return false;
    if (str_starts(path, ".annotations."))
        return draw_one_in(doc->draw, 12);
    if (field->kind == JSON_OBJECT)
        return !draw_one_in(doc->draw, 4);
    return draw_one_in(doc->draw, 2);
}

static void draw_table(struct document *doc, const char *key, const struct json_table *table,
                       const char *path)
{
    json_open_object(doc->w, key);
    for (size_t i = 0; i < table->count; i++) {
        const struct json_field *field = &table->fields[i];
        char below[PATH_SIZE];

        snprintf(below, sizeof below, "%s.%s", path, field->key);
        if (is_drawn(doc, field, below))
            draw_member(doc, field, below);
    }
    json_close_object(doc->w);
}

char *document_draw(struct draw *d, const struct json_table *table, bool unified, struct arena *a)
{
    struct document doc = {.draw = d, .w = json_writer_new(false), .a = a, .unified = unified};
    char *text;

    draw_table(&doc, NULL, table, "");
    text = arena_strdup(a, json_writer_text(doc.w, NULL));
    json_writer_free(doc.w);
    return text;
}
