/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_HOST_H
#define CGROUP_HOST_H

/*
 * Which cgroup hierarchies this host has, where they are mounted, and what they control.
 *
 * Everything is found from /proc/self/mountinfo and then verified: a mount counts only if its mount
 * point can be opened, is a cgroup file system, and is the very file system that mountinfo names (a
 * later mount may hide it). Names and paths under /sys/fs/cgroup are never assumed. Where the first of
 * many mounts show all hierarchies that /proc/self/cgroup lists, the others are not read.
 *
 * Where all of mountinfo was read it says itself what lies over what, so each can be opened, and verified,
 * when it is first needed. See cg_host_look().
 */

#include "cgroup/ctl.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;

#define CG_MAX_HIERARCHIES 24

struct cg_late;

struct cg_hierarchy {
    int fd;               /* O_PATH of the mount point; for all but tests by cg_hierarchy_fd() */
    struct cg_late *late; /* what is not open yet, for all copies of it; NULL: it is; in an arena */
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
 * Whether each cgroup mount of @text, which is the whole of mountinfo, is what its mount point leads to: every
 * other mount on the way there is one that it is mounted in. False also where that cannot be told.
 */
bool cg_mountinfo_is_plain(const char *text);

/*
 * Discover and open. In mode v2 only the cgroup2 mount is in the list, because nothing is limited
 * by v1 then; otherwise every v1 hierarchy, named ones too, and the cgroup2 mount if there is one.
 * cg_host_close() afterwards in any case.
 * 0; -ENOENT no cgroup file system is mounted; other -errno.
 */
int cg_host_open(struct arena *a, struct cg_host *ret, struct err *e);

/*
 * The same for who will need few of them: what is certain to be there is opened by cg_hierarchy_fd(). On a
 * hybrid host the cgroup2 mount is not asked for its controllers where those of v1 have all that stages look
 * for, and then seems to have none.
 */
int cg_host_look(struct arena *a, struct cg_host *ret, struct err *e);

/*
 * Open what cg_host_look() has left, for who must not find out halfway that it cannot be opened. Idempotent.
 * 0; -errno as of cg_hierarchy_fd().
 */
int cg_host_open_rest(const struct cg_host *host, struct err *e);
void cg_host_close(struct cg_host *host);

/* O_PATH of the mount point, borrowed, opened now if it was not. -ESTALE: something else is there than when
 * the host was looked at; other -errno. */
int cg_hierarchy_fd(const struct cg_hierarchy *h);

/* O_PATH of the directory of a cgroup (a clean path), the caller's; no link is followed. -ENOENT there is none;
 * other -errno. */
int cg_hierarchy_open(const struct cg_hierarchy *h, const char *path);

/*
 * Whether we are in a user namespace that may not make cgroups here, as the hooks of rootless
 * engines are: root of that namespace, and nobody to the host (user_namespaces(7)). In a container
 * with cgroups delegated to it this is not so. 1 yes; 0 no; -errno: it is not known.
 */
int cg_host_is_foreign(const struct cg_host *host, struct err *e);

/* Whether we are in a user namespace that is not the host's. 1 yes; 0 no; -errno: it is not known. */
int cg_host_in_userns(struct err *e);

/* The hierarchy with this controller, NULL if it is mounted nowhere. */
const struct cg_hierarchy *cg_host_find(const struct cg_host *host, enum cg_ctl ctl);

/* "/sys/fs/cgroup/cpu/a/b/cpu.shares": how messages name a file. @file may be NULL. */
const char *cg_full_path(const struct cg_hierarchy *h, const char *path, const char *leaf,
                         const char *file, char *buf, size_t size);

#endif
