/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_HOST_H
#define CGROUP_HOST_H

/*
 * Which cgroup hierarchies this host has, where they are mounted, and what they control.
 *
 * Everything is found from /proc/self/mountinfo and then verified: a mount counts only if its mount
 * point can be opened, is a cgroup file system, and is the very file system that mountinfo names (a
 * later mount may hide it). Names and paths under /sys/fs/cgroup are never assumed.
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;

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
/* Controllers named in a list such as "cpu,cpuacct" or "cpuset io memory". Unknown names are
 * skipped. */
unsigned cg_ctl_parse_list(const char *list, char separator, bool v2);
/* The controller whose interface file this is ("memory.max" -> memory); CG_CTL_COUNT if none. */
enum cg_ctl cg_ctl_of_file(const char *file, bool v2);

#define CG_MAX_HIERARCHIES 24

struct cg_hierarchy {
    int fd; /* O_PATH of the mount point */
    bool v2;
    unsigned controllers; /* CG_CTL_BIT set; for v2 those that its root offers */
    const char *name;     /* "cpu,cpuacct", "name=systemd"; "unified" for v2 */
    const char *mount_point;
    const char *root; /* the cgroup that is mounted there, as /proc/PID/cgroup writes it */
};

struct cg_host {
    enum cg_mode mode;
    size_t count;
    struct cg_hierarchy hierarchies[CG_MAX_HIERARCHIES];
};

/* One cgroup mount of a mountinfo text, before it is verified. */
struct cg_mount {
    unsigned dev_major, dev_minor;
    bool v2;
    unsigned controllers;
    const char *name;
    const char *mount_point;
    const char *root;
};

/*
 * Parse mountinfo (proc(5)). @text is changed. Octal escapes are decoded.
 * Returns the number of cgroup mounts, at most @max; malformed lines are skipped.
 */
size_t cg_mountinfo_parse(char *text, struct arena *a, struct cg_mount *mounts, size_t max);

/*
 * Discover and open. In mode v2 only the cgroup2 mount is in the list, because nothing is limited
 * by v1 then; otherwise every v1 hierarchy, named ones too, and the cgroup2 mount if there is one.
 * 0; -ENOENT no cgroup file system is mounted; other -errno. cg_host_close() afterwards in any
 * case.
 */
int cg_host_open(struct arena *a, struct cg_host *ret, struct err *e);
void cg_host_close(struct cg_host *host);

/*
 * Whether we are in a user namespace that may not make cgroups here, as the hooks of rootless
 * engines are: root of that namespace, and nobody to the host. (user_namespaces(7); in a container
 * with cgroups delegated to it this is false.)
 */
bool cg_host_is_foreign(const struct cg_host *host);

/* The hierarchy with this controller, NULL if it is mounted nowhere. */
const struct cg_hierarchy *cg_host_find(const struct cg_host *host, enum cg_ctl ctl);

/* All controllers that some hierarchy offers. */
unsigned cg_host_controllers(const struct cg_host *host);

#endif
