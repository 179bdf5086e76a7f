/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_CTL_H
#define CGROUP_CTL_H

/* The kernel's controllers and the versions of cgroups, by name. Pure. */

#include <stdbool.h>
#include <stddef.h>

enum cg_mode {
    CG_MODE_V1,     /* only v1 hierarchies */
    CG_MODE_HYBRID, /* v1 controllers, and a cgroup2 mount beside them */
    CG_MODE_V2,     /* no v1 controller is mounted */
};

/* "v1", "hybrid", "v2" */
const char *cg_mode_name(enum cg_mode mode);
/* 0; -EINVAL another word */
int cg_mode_parse(const char *name, enum cg_mode *ret);

enum cg_ctl {
    CG_CTL_CPU,
    CG_CTL_CPUACCT,
    CG_CTL_CPUSET,
    CG_CTL_MEMORY,
    CG_CTL_DEVICES,
    CG_CTL_FREEZER,
    CG_CTL_BLKIO, /* "io" on v2 */
    CG_CTL_PIDS,
    CG_CTL_HUGETLB,
    CG_CTL_PERF_EVENT,
    CG_CTL_NET_CLS,
    CG_CTL_NET_PRIO,
    CG_CTL_RDMA,
    CG_CTL_MISC,
    CG_CTL_COUNT,
};

#define CG_CTL_BIT(ctl) (1u << (ctl))

/* The controllers that work on threads (cgroup-v2.rst "Threads"). */
#define CG_CTL_THREADED                                                                            \
    (CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_CPUSET) | CG_CTL_BIT(CG_CTL_PIDS) |                \
     CG_CTL_BIT(CG_CTL_PERF_EVENT))

const char *cg_ctl_name(enum cg_ctl ctl, bool v2);
/* The controller of this name, @len bytes; CG_CTL_COUNT if none. */
enum cg_ctl cg_ctl_parse(const char *name, size_t len, bool v2);
/* Those of a list such as "cpu,cpuacct" or "cpuset io memory"; unknown names are skipped. */
unsigned cg_ctl_parse_list(const char *list, char separator, bool v2);
/* The controller whose interface file this is ("memory.max" -> memory); CG_CTL_COUNT if none. */
enum cg_ctl cg_ctl_of_file(const char *file, bool v2);

#endif
