/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_OVERHEAD_PRINT_H
#define HOOK_TOOL_OVERHEAD_PRINT_H

/* What the overhead of sandboxes takes, for people, Kubernetes and programs. Pure. */

#include "base/str.h"
#include "hook/tool/overhead.h"
#include "hook/tool/units.h"

/* YAML: comments that say what was seen and how the rest follows from it, and what of a RuntimeClass follows; of what is not
 * known why, in a comment. */
void overhead_write_yaml(const struct overhead *o, struct sbuf *out);

/* Those members of a RuntimeClass alone; nothing if none is known. */
void overhead_write_fixed(const struct overhead *o, struct sbuf *out);

/* How a number of podFixed came about, or why there is none: a line or more, each with @prefix before it. */
void overhead_explain_cpu(const struct overhead *o, const char *prefix, struct sbuf *out);
void overhead_explain_memory(const struct overhead *o, const char *prefix, struct sbuf *out);

/* The memory that is shown of one, and what it is: the whole sandbox's where nobody has said what the guest's is. */
const struct overhead_figures *overhead_shown_memory(const struct overhead *o,
                                                     const struct overhead_sandbox *s);
const char *overhead_memory_words(const struct overhead *o);

/* An object. What is not known is null. */
void overhead_write_json(const struct overhead *o, struct json_writer *w);

/* "12.3", in thousandths of a CPU; "-" for CG_UNKNOWN. Returns @buf. */
const char *overhead_cpu_text(uint64_t tenths, char buf[static UNITS_SIZE]);

#endif
