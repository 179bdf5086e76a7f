/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_USAGE_PRINT_H
#define HOOK_TOOL_USAGE_PRINT_H

/* What a sandbox has used, for people and for programs. */

#include "hook/tool/usage.h"

/*
 * @took_us  the time in which it was used, for shares of it; 0: since the sandbox began.
 * As members of an object that is open: "cpu", "memory", "pids", "io", "pressure". What is not known is null.
 */
void usage_print_json(struct json_writer *w, const struct usage *u, uint64_t took_us);

/* A member; null for CG_UNKNOWN. */
void usage_json_number(struct json_writer *w, const char *key, uint64_t value);

/* Lines for a terminal. */
void usage_print_text(const struct usage *u, uint64_t took_us);

#endif
