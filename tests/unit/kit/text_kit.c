/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/text_kit.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <string.h>

char *kit_json(struct arena *a, const char *text)
{
    char *json = arena_strdup(a, text);

    for (char *p = json; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    return json;
}

void kit_read_row(struct arena *a, const char *text, const struct json_table *table, void *dest)
{
    const struct json_doc doc = {.table = table, .dest = dest};
    char *json = kit_json(a, text);
    struct err e = ERR_INIT;

    cr_assert_eq(json_read_text(json, strlen(json), &doc, 1, 0, "row", a, &e), 1, "%s: %s", json,
                 e.text);
}

struct oci_resources *kit_resources(struct arena *a, const char *text)
{
    struct oci_resources *r = arena_alloc(a, sizeof *r);

    kit_read_row(a, text, &oci_resources_table, r);
    return r;
}

const char *kit_resources_text(struct arena *a, const struct oci_resources *r)
{
    struct json_writer *w;
    const char *text;

    if (!r)
        return "nothing";
    w = json_writer_new(false);
    json_write_table(w, NULL, &oci_resources_table, r);
    text = arena_strdup(a, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

struct cg_files kit_files(struct arena *a, const char *text, bool v2)
{
    struct cg_files files = {0};
    char *cursor = arena_strdup(a, text), *field;

    while ((field = str_next(&cursor, ';'))) {
        struct cg_file *f;
        char *value;

        if (str_empty(field))
            continue;
        field += field[0] == ' ';
        value = strchr(field, '=');
        cr_assert(value, "file text: \"%s\"", field);
        *value++ = '\0';
        for (char *p = value; *p; p++)
            *p = *p == '|' ? '\n' : *p;
        f = arena_push(a, &files.items, &files.count, sizeof *f);
        *f = (struct cg_file){.ctl = cg_ctl_of_file(field, v2), .file = field, .text = value};
        cr_assert_neq(f->ctl, CG_CTL_COUNT, "%s is a file of no controller", field);
    }
    return files;
}

const char *kit_files_text(struct arena *a, const struct cg_files *files)
{
    char *text = arena_strdup(a, "");

    for (size_t i = 0; i < files->count; i++)
        text = arena_printf(a, "%s%s%s=%s", text, i ? "; " : "", files->items[i].file,
                            files->items[i].text);
    return text;
}

const char *kit_or_null(const char *text)
{
    return text ? text : "NULL";
}
