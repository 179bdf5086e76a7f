/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_PATH_H
#define CGROUP_PATH_H

/*
 * cgroup paths and unit names, as text only: nothing here looks at the file system.
 *
 * A clean path is absolute from the cgroup mount's root, has no empty, "." or ".." component and no
 * trailing slash; the root itself is "/".
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;

/* Whether a text can be one directory name: not empty, not "." or "..", no '/', no byte below 0x20
 * and no 0x7f, at most 255 bytes. 0; -EINVAL with @what and the reason in @e. */
int cg_name_check(const char *name, const char *what, struct err *e);

/*
 * Clean @text, which must be absolute. "//a/./b/" becomes "/a/b". Refused: "..", a component that
 * cg_name_check() refuses, more than 3,072 bytes (two prefixed names must still fit behind it).
 * @what names the input in messages. 0; -EINVAL.
 */
int cg_path_clean(const char *text, const char *what, struct arena *a, char **ret, struct err *e);

/* "/a" + "b" = "/a/b"; "/" + "b" = "/b". */
char *cg_path_join(struct arena *a, const char *dir, const char *name);

/* The directory part of a clean path ("/" for "/a"), and the last component ("" for "/"). */
char *cg_path_parent(struct arena *a, const char *path);
const char *cg_path_base(const char *path);

/* The nearest scope that a clean path is, or is in: "/a.slice/b.scope" of "/a.slice/b.scope/c"; NULL if none. */
const char *cg_path_scope(struct arena *a, const char *path);

/* Whether a clean path is inside of another: "/a/b" is in "/a" and "/", not in "/a/b". */
bool cg_path_is_below(const char *path, const char *dir);

/* The path relative to the mount point for the *at() calls: "/a/b" is "a/b", "/" is "." */
const char *cg_path_relative(const char *path);

/*
 * linux.cgroupsPath in either of the forms that runtimes know (runtime-spec config-linux.md
 * "Cgroups Path"; systemd's form: runc and crun documentation, "slice:prefix:name").
 */
struct cg_cgroups_path {
    bool systemd;
    char *parent; /* clean path of the cgroup's directory; for systemd the expanded slice */
    char *name;   /* the runtime's own cgroup in it; for systemd the `name` part */
    char *slice;  /* systemd only: unit name, "system.slice" when empty */
    char *prefix; /* systemd only, may be "" */
};

/*
 * Absolute: from the mount root. Missing, empty or relative: the runtime has decided, and @process_path (clean,
 * from the mount root) is where it has put the container's process. If that is a cgroup of its own, which has
 * the container's id or the relative path in its name, it is the runtime's; else the runtime has made none, and
 * ours is made inside of that one, whose limits hold then, too. A scope of systemd's is one here as well.
 * @process_path  NULL: not known. Then below /vc, with the container's id where the path is missing.
 * 0; -EINVAL with the reason; nothing else.
 */
int cg_cgroups_path_parse(const char *text, const char *container_id, const char *process_path,
                          struct arena *a, struct cg_cgroups_path *ret, struct err *e);

/* "a-b.slice" -> "/a.slice/a-b.slice", "-.slice" -> "/". 0; -EINVAL no slice name.
 * systemd.slice(5) "DESCRIPTION". */
int cg_slice_expand(const char *slice, struct arena *a, char **ret, struct err *e);

/* A part of a unit's name: '/' as '-', a leading '.' and bytes outside [A-Za-z0-9:_.\-] as \xNN.
 * Unlike systemd-escape(1) it leaves '-' and '\' as they are. */
char *cg_unit_escape(struct arena *a, const char *text);

#endif
