/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_OUTPUT_H
#define HOOK_TOOL_OUTPUT_H

/* A file that a verb writes in place of one that may be there, for other users to read. */

#include "base/str.h"

struct err;

/* Whether it can be written, as far as can be told before that is tried. 0; -errno. */
int output_check(const char *path, struct err *e);

/* As a whole, see io_replace_public_at(). 0; -errno. */
int output_write(const char *path, const struct sbuf *text, struct err *e);

#endif
