/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_LIMITS_TEXT_H
#define CGROUP_LIMITS_TEXT_H

/* The texts of controller files, as the kernel reads them. Internal to cgroup/limits. Pure. */

#include "cgroup/limits/table.h"

/* A part of a text. */
struct cg_text {
    const char *s;
    size_t len;
};

/* Without the blanks at both ends, which the kernel strips as well. */
struct cg_text cg_text_trim(const char *text);

/* The first field of @rest, which moves behind it; empty when there is none. */
struct cg_text cg_text_field(struct cg_text *rest);

/* "max"; on v1 -1, too. */
bool cg_text_is_unlimited(struct cg_text t, bool v2);

/* Many files take octal and hexadecimal numbers, too. Nobody means 8 by 010: refused.
 * 0; -EINVAL, -ERANGE as str_to_u64(). */
int cg_text_number(struct cg_text t, uint64_t *ret);

/* A number of bytes, where the kernel's memparse() allows one of the letters K, M, G, T, P, E.
 * 0; -EINVAL, -ERANGE as cg_text_number(). */
int cg_text_bytes(struct cg_text t, uint64_t *ret);

/*
 * What holds on v2 for a process below two cgroups of which one says @above and the other @beneath
 * in a file of @row: the smaller limit, or weight of CPU time; of sets what is in both.
 * @beneath where nothing is in both, where a text is none that the kernel is known to read, or where
 * nothing tells which is the smaller one (lines for devices). The result is one of both or in @a.
 */
const char *cg_text_least(const struct cg_limit_row *row, const char *above, const char *beneath,
                          struct arena *a);

#endif
