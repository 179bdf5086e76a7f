/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_LIMITS_CPULIST_H
#define CGROUP_LIMITS_CPULIST_H

/* Sets of numbers of CPUs or memory nodes, as cpuset files write them: "0-3,8" (cpuset(7)). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sbuf;

#define CG_CPULIST_MAX 8192 /* the largest NR_CPUS a kernel can be built with */

struct cg_cpulist {
    uint64_t bits[CG_CPULIST_MAX / 64];
};

/* Adds to @set. Spaces are accepted behind a comma and nowhere else; "" is the empty set.
 * 0; -EINVAL malformed; -ERANGE a number of CG_CPULIST_MAX or more, or a backward range. */
int cg_cpulist_parse(const char *text, struct cg_cpulist *set);

/* Whether somebody has written one, with a number at least. */
bool cg_cpulist_is_list(const char *text);

void cg_cpulist_format(const struct cg_cpulist *set, struct sbuf *out);
void cg_cpulist_add(struct cg_cpulist *set, const struct cg_cpulist *other);
void cg_cpulist_remove(struct cg_cpulist *set, const struct cg_cpulist *other);
void cg_cpulist_intersect(struct cg_cpulist *set, const struct cg_cpulist *other);
bool cg_cpulist_has(const struct cg_cpulist *set, unsigned number);
unsigned cg_cpulist_count(const struct cg_cpulist *set);

#endif
