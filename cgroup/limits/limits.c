/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/limits.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/limits/emit.h"
#include "cgroup/limits/text.h"

#include <inttypes.h>

bool cg_limit_is_set(const struct cg_limit_row *row, const struct cg_limits *l)
{
    if (!row->name)
        return false;
    return row->is_set ? row->is_set(l) : cg_limit_value(l, row->offset)->set;
}

/* What the runtimes write last is what counts: it takes the place of another member's text. Returns what is written. */
static const char *set_unified(const struct cg_limits *l, struct arena *a, struct cg_files *out,
                               enum cg_ctl ctl, const struct cg_unified *u)
{
    const struct cg_limit_row *row = cg_limit_row_of(u->file, true);
    struct cg_file *f = NULL;

    for (size_t i = 0; i < out->count && !f; i++) {
        if (str_eq(out->items[i].file, u->file))
            f = &out->items[i];
    }
    if (!f) {
        f = &ARENA_APPEND(a, out->items, out->count);
        *f = (struct cg_file){.ctl = ctl, .file = u->file};
    }
    f->text =
        f->text && row && l->unified_beneath ? cg_text_least(row, f->text, u->text, a) : u->text;
    f->flags = (f->flags & ~(unsigned)CG_FILE_OPTIONAL) | CG_FILE_LINES;
    return f->text;
}

/* The kernel refuses a burst above the quota (cgroup-v2.rst, cpu.max.burst), which was less than unified's. */
static void fit_burst(struct arena *a, struct cg_files *files)
{
    struct cg_text quota = cg_text_trim(cg_files_get(files, "cpu.max"));
    uint64_t most, burst;

    quota = cg_text_field(&quota);
    for (size_t i = 0; i < files->count && cg_text_number(quota, &most) == 0; i++) {
        struct cg_file *f = &files->items[i];

        if (str_eq(f->file, "cpu.max.burst") &&
            cg_text_number(cg_text_trim(f->text), &burst) == 0 && burst > most)
            f->text = arena_printf(a, "%" PRIu64, most);
    }
}

/* Each is compared with each, and no kernel has so many of these files. */
#define UNIFIED_MAX 1024

/*
 * Raw v2 files (runtime-spec config-linux.md "Unified"). Only controllers' files: cgroup.* ones
 * would reach the cgroup's structure (cgroup.procs, cgroup.kill, cgroup.type).
 */
static int add_unified(const struct cg_limits *l, struct arena *a, struct cg_files *out,
                       struct err *e)
{
    bool is_less = false;

    if (l->unified_count > UNIFIED_MAX)
        return err_input(e, "linux.resources.unified: %zu files, expected at most %d",
                         l->unified_count, UNIFIED_MAX);
    for (size_t i = 0; i < l->unified_count; i++) {
        const struct cg_unified *u = &l->unified[i];
        enum cg_ctl ctl = cg_ctl_of_file(u->file, true);
        char shown[128];

        str_escape(u->file, shown, sizeof shown);
        if (strchr(u->file, '/') || ctl == CG_CTL_COUNT || !strchr(u->file, '.'))
            return err_input(e,
                             "linux.resources.unified: \"%s\" is not a file of a cgroup v2 "
                             "controller",
                             shown);
        if (set_unified(l, a, out, ctl, u) != u->text && str_eq(u->file, "cpu.max"))
            is_less = true;
    }
    if (is_less)
        fit_burst(a, out);
    return 0;
}

int cg_limits_files(const struct cg_limits *limits, bool v2, struct arena *a, struct cg_files *ret,
                    const char ***warnings, size_t *warning_count, struct err *e)
{
    size_t count;
    const struct cg_limit_row *rows = cg_limit_rows(&count);

    *ret = (struct cg_files){0};
    for (size_t i = 0; i < count; i++) {
        const struct cg_limit_row *row = &rows[i];
        int r;

        if (!cg_limit_is_set(row, limits))
            continue;
        if (!(v2 ? row->v2_file : row->v1_file)) {
            ARENA_APPEND(a, *warnings, *warning_count) =
                arena_printf(a, "linux.resources.%s has no counterpart on cgroup %s and is not set",
                             row->name, v2 ? "v2" : "v1");
            continue;
        }
        r = (row->emit ? row->emit : cg_emit_number)(row, limits, v2, a, ret, e);
        if (r < 0)
            return r;
    }
    if (limits->unified_count == 0)
        return 0;
    if (!v2)
        return err_input(e, "linux.resources.unified: this host limits through cgroup v1; unified "
                            "needs cgroup v2");
    return add_unified(limits, a, ret, e);
}

unsigned cg_files_controllers(const struct cg_files *files)
{
    unsigned controllers = 0;

    for (size_t i = 0; i < files->count; i++)
        controllers |= files->items[i].flags & CG_FILE_RESET ? 0 : CG_CTL_BIT(files->items[i].ctl);
    return controllers;
}

const char *cg_files_get(const struct cg_files *files, const char *file)
{
    for (size_t i = 0; i < files->count; i++) {
        if (str_eq(files->items[i].file, file))
            return files->items[i].text;
    }
    return NULL;
}

void cg_files_add(struct arena *a, struct cg_files *files, const char *file, const char *text,
                  bool v2)
{
    const struct cg_limit_row *row = cg_limit_row_of(file, v2);

    ARENA_APPEND(a, files->items, files->count) = (struct cg_file){
        .ctl = row ? row->ctl : cg_ctl_of_file(file, v2),
        .file = file,
        .text = text,
        .flags = row ? row->flags : CG_FILE_LINES,
    };
}

void cg_files_append(struct arena *a, struct cg_files *files, const struct cg_files *more)
{
    for (size_t i = 0; i < more->count; i++)
        ARENA_APPEND(a, files->items, files->count) = more->items[i];
}
