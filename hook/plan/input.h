/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_INPUT_H
#define HOOK_PLAN_INPUT_H

/* What a stage, and `plan`, reads: the documents of a runtime. */

#include "hook/plan/stage.h"
#include "oci/state.h"

/*
 * Read the hook's stdin and complete the input: @stage from the state where it is STAGE_NONE,
 * config.json from the bundle where the stream has none; but not in a teardown, for which the record is
 * enough: see input_complete(). What was read from @fd is added to @copy, if that is not NULL.
 * 0; -EINVAL what was read is at fault; -ENOENT no config.json; other -errno.
 */
int input_read(int fd, enum stage *stage, struct sbuf *copy, struct arena *a, struct oci_input *ret,
               struct err *e);

/* For a teardown without a record: config.json from the bundle, if the input has none and it can be read. */
void input_complete(struct arena *a, struct oci_input *input);

/*
 * The input of the stage that would set up the container of a bundle, for who has no state: of @path, a bundle or its
 * config.json. The container's id is the bundle's name; it has no process.
 * 0; -EINVAL the file is at fault; -ENOENT there is none; other -errno.
 */
int input_make(const char *path, enum stage *stage, struct arena *a, struct oci_input *ret,
               struct err *e);

#endif
