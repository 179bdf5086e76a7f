/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From one set of limits to another: what has to be written so that a limit which is no longer
 * there does not stay in force. See cg_files_change() in limits.h.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/limits/limits.h"

#include <fnmatch.h>

/* How a file is without a limit. */
struct reset {
    const char *text;   /* "": what the parent has; NULL: there are only lines for devices */
    const char *device; /* NULL: there are no lines for devices */
};

/* Files that no row of the limits table has: the other half of a pair, and those of `unified`
 * (cgroup-v2.rst, "Controllers"). */
static const struct {
    const char *file;
    bool v2;
    struct reset reset;
} other_files[] = {
    {"cpu.cfs_period_us", false, {"100000", NULL}},
    {"cpu.weight.nice", true, {"0", NULL}},
    {"cpu.uclamp.min", true, {"0", NULL}},
    {"cpu.uclamp.max", true, {"max", NULL}},
    {"cpuset.cpus.exclusive", true, {"", NULL}},
    {"cpuset.cpus.partition", true, {"member", NULL}},
    {"memory.high", true, {"max", NULL}},
    {"memory.min", true, {"0", NULL}},
    {"memory.oom.group", true, {"0", NULL}},
    {"memory.swap.high", true, {"max", NULL}},
    {"memory.zswap.max", true, {"max", NULL}},
    {"memory.zswap.writeback", true, {"1", NULL}},
    {"io.latency", true, {NULL, "0"}},
    {"io.prio.class", true, {"no-change", NULL}},
    {"misc.max", true, {NULL, "max"}},
    {"rdma.max", true, {NULL, "max"}},
};

/* The per-device file that some v1 rows have besides: "blkio.weight_device". */
static bool is_device_file(const char *file, const char *of)
{
    return str_starts(file, of) && str_eq(file + strlen(of), "_device");
}

/* Returns false for a file of which we know nothing. */
static bool find_reset(const char *file, bool v2, struct reset *ret)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    for (size_t i = 0; i < count; i++) {
        const char *pattern = v2 ? rows[i].v2_file : rows[i].v1_file;

        if (!pattern || (fnmatch(pattern, file, 0) != 0 && !is_device_file(file, pattern)))
            continue;
        *ret = (struct reset){v2 ? rows[i].v2_reset : rows[i].v1_reset, rows[i].device_reset};
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(other_files); i++) {
        if (other_files[i].v2 == v2 && str_eq(other_files[i].file, file)) {
            *ret = other_files[i].reset;
            return true;
        }
    }
    return false;
}

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

static void add_line(struct sbuf *out, const char *line, const struct reset *reset)
{
    size_t width = strcspn(line, " ");
    bool is_device = line[width] && strncmp(line, "default", width) != 0;

    if (!is_device && !reset->text)
        return;
    if (out->len)
        sbuf_add(out, "\n", 1);
    if (!is_device) {
        sbuf_addf(out, "%s", reset->text);
        return;
    }
    sbuf_add(out, line, width);
    if (strchr(line, '='))
        add_keys(out, line + width + 1);
    else
        sbuf_addf(out, " %s", reset->device);
}

/* The lines that are not in @after, each as it is without a value. NULL: all of them are. */
static const char *lines_text(const char *before, const char *after, const struct reset *reset,
                              struct arena *a)
{
    char *cursor = arena_strdup(a, before), *line;
    autosbuf out = SBUF_INIT;

    while ((line = str_next(&cursor, '\n'))) {
        if (!str_empty(line) && (!after || !has_line(after, line)))
            add_line(&out, line, reset);
    }
    return out.len ? arena_strdup(a, sbuf_text(&out)) : NULL;
}

/* What to write instead of @f; NULL: nothing. */
static const char *text_without(const struct cg_file *f, const char *after,
                                const struct reset *reset, struct arena *a)
{
    if (reset->device)
        return lines_text(f->text, after, reset, a);
    return after ? NULL : reset->text;
}

static bool is_in(const struct cg_files *files, const char *file, const char *text)
{
    for (size_t i = 0; i < files->count; i++) {
        if (str_eq(files->items[i].file, file) && str_eq(files->items[i].text, text))
            return true;
    }
    return false;
}

static void warn(const char *file, struct arena *a, const char ***warnings, size_t *warning_count)
{
    ARENA_APPEND(a, *warnings, *warning_count) =
        arena_printf(a,
                     "linux.resources.unified: how %s was before it was set is not known; it "
                     "stays as it is",
                     file);
}

/* Lists of several containers behind one another name a file more than once. */
static bool is_repeated(const struct cg_files *files, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (str_eq(files->items[k].file, files->items[i].file))
            return true;
    }
    return false;
}

void cg_files_append(struct arena *a, struct cg_files *files, const struct cg_files *more)
{
    for (size_t i = 0; i < more->count; i++) {
        struct cg_file *f = &ARENA_APPEND(a, files->items, files->count);

        *f = more->items[i];
    }
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

void cg_files_change(const struct cg_files *before, const struct cg_files *after, bool v2,
                     struct arena *a, struct cg_files *ret, const char ***warnings,
                     size_t *warning_count)
{
    *ret = (struct cg_files){0};
    end_idle(before, after, a, ret);
    for (size_t i = 0; i < before->count; i++) {
        const struct cg_file *f = &before->items[i];
        const char *now = cg_files_get(after, f->file), *text;
        struct cg_file *reset;
        struct reset row;

        if (!find_reset(f->file, v2, &row)) {
            if (!now && !is_repeated(before, i))
                warn(f->file, a, warnings, warning_count);
            continue;
        }
        text = text_without(f, now, &row, a);
        if (!text || is_in(ret, f->file, text))
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
    cg_files_append(a, ret, after);
}
