/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/record_kit.h"

#include "base/err.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

void kit_begin_state(struct kit_state *f)
{
    struct err e = ERR_INIT;

    *f = (struct kit_state){.top = "/tmp/osc-unit-record-XXXXXX"};
    kit_make_dir(f->top);
    snprintf(f->path, sizeof f->path, "%s/a/state", f->top);
    cr_assert_eq(state_dir_open(f->path, true, &f->state, &e), 0, "%s", e.text);
}

void kit_end_state(struct kit_state *f)
{
    state_dir_close(&f->state);
    kit_remove_tree(f->top);
}

struct state_lock kit_lock(const struct kit_state *f, const char *id, bool make)
{
    struct state_lock lock;
    struct err e = ERR_INIT;

    cr_assert_eq(state_lock(&f->state, id, make, KIT_PATIENCE_MS, &lock, &e), 0, "%s: %s", id,
                 e.text);
    return lock;
}
