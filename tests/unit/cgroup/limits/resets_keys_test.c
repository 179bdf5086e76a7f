/* SPDX-License-Identifier: Apache-2.0 */

/* Lines of KEY=VALUE pairs that are no more, from files of `unified`, which anybody may have written. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/limits/limits.h"

#include <criterion/criterion.h>

static const struct {
    const char *line, *want;
} lines[] = {
    {"8:0 rbps=1", "8:0 rbps=max"},
    {"8:0 rbps=1 wiops=2", "8:0 rbps=max wiops=max"},
    {"8:0 rbps=", "8:0 rbps=max"},
    /* more blanks than there need to be */
    {"8:0  rbps=1   wiops=2  ", "8:0 rbps=max wiops=max"},
    /* a word that is no pair has nothing to reset, before a pair, between two, and behind one */
    {"8:0 word rbps=1", "8:0 rbps=max"},
    {"8:0 rbps=1 word wiops=2", "8:0 rbps=max wiops=max"},
    {"8:0 rbps=1 word", "8:0 rbps=max"},
};

Test(resets_keys, lines)
{
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        autoarena a = ARENA_INIT;
        struct cg_file file = {
            .ctl = CG_CTL_BLKIO, .file = "io.max", .text = lines[i].line, .flags = CG_FILE_LINES};
        const struct cg_files before = {.items = &file, .count = 1}, after = {0};
        const char **warnings = NULL;
        size_t warning_count = 0;
        struct cg_files change;

        cg_files_resets(&before, &after, true, &a, &change, &warnings, &warning_count);
        cr_assert_eq(change.count, 1, "input:    %s", lines[i].line);
        cr_expect_str_eq(change.items[0].text, lines[i].want,
                         "input:    %s\nexpected: %s\ngot:      %s", lines[i].line, lines[i].want,
                         change.items[0].text);
    }
}
