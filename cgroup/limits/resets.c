/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From one set of limits to another: what has to be written so that a limit which is no longer
 * there does not stay in force. See cg_files_resets() in limits.h.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/limits/table.h"

/* Whether one of the lines of a text is exactly this. */
static bool has_line(const char *text, const char *line)
{
    size_t len = strlen(line);

    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strcspn(p, "\n") == len && strncmp(p, line, len) == 0)
            return true;
    }
    return false;
}

/* "8:0 rbps=100 wiops=7" -> "8:0 rbps=max wiops=max" */
static void add_keys(struct sbuf *out, const char *values)
{
    for (const char *p = values; *p;) {
        size_t width = strcspn(p, " "), key = strcspn(p, "=");

        if (width > 0 && key < width)
            sbuf_addf(out, " %.*s=max", (int)key, p);
        p += width + strspn(p + width, " ");
    }
}

/* A line without its value. */
static void add_reset_line(struct sbuf *out, const char *line, const char *text,
                           const char *device_reset)
{
    size_t width = strcspn(line, " ");
    bool is_device = line[width] && strncmp(line, "default", width) != 0;

    if (!is_device && !text)
        return;
    if (out->len)
        sbuf_add(out, "\n", 1);
    if (!is_device) {
        sbuf_addf(out, "%s", text);
        return;
    }
    sbuf_add(out, line, width);
    if (strchr(line, '='))
        add_keys(out, line + width + 1);
    else
        sbuf_addf(out, " %s", device_reset);
}

/* The lines that are not in @after, each as it is without a value. NULL: all of them are. */
static const char *reset_lines(const char *before, const char *after, const char *text,
                               const char *device_reset, struct arena *a)
{
    char *cursor = arena_strdup(a, before), *line;
    autosbuf out = SBUF_INIT;

    while ((line = str_next(&cursor, '\n'))) {
        if (!str_empty(line) && (!after || !has_line(after, line)))
            add_reset_line(&out, line, text, device_reset);
    }
    return out.len ? arena_strdup(a, sbuf_text(&out)) : NULL;
}

static void warn(const char *file, struct arena *a, const char ***warnings, size_t *warning_count)
{
    ARENA_APPEND(a, *warnings, *warning_count) =
        arena_printf(a,
                     "linux.resources.unified: how %s was before it was set is not known; it "
                     "stays as it is",
                     file);
}

/* A cgroup stops being idle once. */
static bool is_taken_away(const struct cg_files *resets, const char *file)
{
    return cg_files_get(resets, file) != NULL;
}

/* The kernel takes no shares for an idle cgroup, not even the usual ones: it stops being idle
 * before they are taken away. */
static void end_idle(const struct cg_files *before, const struct cg_files *after, struct arena *a,
                     struct cg_files *ret)
{
    const struct cg_file *idle = NULL;
    bool shares = false;

    for (size_t i = 0; i < before->count; i++) {
        const struct cg_file *f = &before->items[i];

        if (str_eq(f->file, "cpu.idle"))
            idle = f;
        else if (str_eq(f->file, "cpu.shares") || str_eq(f->file, "cpu.weight"))
            shares = shares || !cg_files_get(after, f->file);
    }
    if (idle && shares)
        ARENA_APPEND(a, ret->items, ret->count) = (struct cg_file){
            .ctl = idle->ctl, .file = idle->file, .text = "0", .flags = CG_FILE_RESET};
}

void cg_files_resets(const struct cg_files *before, const struct cg_files *after, bool v2,
                     struct arena *a, struct cg_files *ret, const char ***warnings,
                     size_t *warning_count)
{
    *ret = (struct cg_files){0};
    end_idle(before, after, a, ret);
    for (size_t i = 0; i < before->count; i++) {
        const struct cg_file *f = &before->items[i];
        const struct cg_limit_row *row = cg_limit_row_of(f->file, v2);
        const char *now = cg_files_get(after, f->file), *text;
        struct cg_file *reset;

        if (!row) {
            if (!now)
                warn(f->file, a, warnings, warning_count);
            continue;
        }
        text = v2 ? row->v2_reset : row->v1_reset;
        if (row->device_reset)
            text = reset_lines(f->text, now, text, row->device_reset, a);
        if (!text || (now && !row->device_reset) || is_taken_away(ret, f->file))
            continue;
        reset = &ARENA_APPEND(a, ret->items, ret->count);
        *reset = (struct cg_file){
            .ctl = f->ctl,
            .file = f->file,
            .text = text,
            .flags = (f->flags & (CG_FILE_LINES | CG_FILE_RETRY)) | CG_FILE_RESET |
                     (text[0] ? 0 : CG_FILE_INHERIT),
        };
    }
}

/* The lines of @more that @text does not have, behind those of @text. */
static const char *unite_lines(const char *text, const char *more, struct arena *a)
{
    char *cursor = arena_strdup(a, more), *line;
    autosbuf out = SBUF_INIT;

    sbuf_addf(&out, "%s", text);
    while ((line = str_next(&cursor, '\n'))) {
        if (!str_empty(line) && !has_line(text, line))
            sbuf_addf(&out, "%s%s", out.len ? "\n" : "", line);
    }
    return arena_strdup(a, sbuf_text(&out));
}

struct cg_files cg_files_unite(const struct cg_files *before, const struct cg_files *after, bool v2,
                               struct arena *a)
{
    struct cg_files all = {0};

    cg_files_append(a, &all, after);
    for (size_t i = 0; i < all.count; i++) {
        const struct cg_limit_row *row = cg_limit_row_of(all.items[i].file, v2);
        const char *text = cg_files_get(before, all.items[i].file);

        if (row && row->device_reset && text)
            all.items[i].text = unite_lines(all.items[i].text, text, a);
    }
    for (size_t i = 0; i < before->count; i++) {
        if (!cg_files_get(&all, before->items[i].file))
            cg_files_add(a, &all, before->items[i].file, before->items[i].text, v2);
    }
    return all;
}
