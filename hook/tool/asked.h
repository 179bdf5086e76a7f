/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_ASKED_H
#define HOOK_TOOL_ASKED_H

/* What `update` is asked to set, before anything is touched. Pure but for asked_read(), which reads the document. */

#include "cgroup/limits/limits.h"
#include "hook/tool/options.h"
#include "oci/resources.h"

/*
 * --cpus, --mems and the document of --resources in one; NULL where none of them was given.
 * 0; -EINVAL the document is no linux.resources, or has what is not set here, with the member in @e; other -errno.
 */
int asked_read(const struct options *o, struct arena *a, struct oci_resources **ret, struct err *e);

/* 0; -EINVAL something in @r is not set by `update`. */
int asked_check(const struct oci_resources *r, struct err *e);

/*
 * What is set from now on: what was set before, and what is asked. Of a pair of which only one is said the other one as
 * well, as it is by now, so that both hold whatever containers come: quota with period, memory with memory and swap.
 * @before  NULL: nothing.         @now  the sandbox's limits.
 * 0; -EINVAL swap is to be limited where memory is not, or is less than the memory, of which alone something is said.
 */
int asked_add(const struct oci_resources *before, const struct oci_resources *asked,
              const struct cg_limits *now, struct arena *a, struct oci_resources **ret,
              struct err *e);

#endif
