/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_OVERHEAD_HTML_H
#define HOOK_TOOL_OVERHEAD_HTML_H

/* What the overhead of sandboxes took over time, as one page that needs nothing beside it: no script, no font, no other
 * file, in light and dark. It is XML, too. */

#include "base/str.h"
#include "hook/tool/overhead.h"

/* Pure. @o is concluded, and has readings. */
void overhead_write_html(const struct overhead *o, struct sbuf *out);

#endif
