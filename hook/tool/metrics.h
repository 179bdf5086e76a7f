/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_METRICS_H
#define HOOK_TOOL_METRICS_H

/* Samples in the text format of Prometheus
 * (https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md). */

#include "base/str.h"
#include "hook/tool/sample.h"

/* Pure. What is not known is left out. */
void metrics_write(const struct samples *samples, struct sbuf *out);

#endif
