/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_CGROUP_KIT_H
#define TESTS_UNIT_KIT_CGROUP_KIT_H

/*
 * Cgroups of this host for a test. All are made below /osc-unit-PID of each hierarchy, and removed
 * by kit_finish(); what a crashed test left is removed by the next one. Without root or writable
 * hierarchies the test is skipped.
 *
 * The v2 backend is tested wherever a cgroup2 file system is mounted, beside v1 or not: the host it
 * gets to see is one hierarchy whose root is our own cgroup.
 */

#include "base/arena.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "cgroup/parents.h"

extern struct arena kit_arena;
extern struct cg_host kit_host;    /* as discovered */
extern struct cg_host kit_v2_host; /* our own cgroup in the cgroup2 mount, as if nothing else was */
extern const struct cg_files kit_no_limits;
extern char kit_base[64]; /* "/osc-unit-PID" */

/* A suite's .init and .fini. The latter ends the processes of process_kit.h, too. */
void kit_start(void);
void kit_finish(void);

/* Skip the test where they are not there: any cgroup; v1 controllers; this one; a cgroup2 mount,
 * which kit_v2_host is made of. */
void kit_need_host(void);
void kit_need_v1(void);
const struct cg_hierarchy *kit_need_v1_ctl(enum cg_ctl ctl);
struct cg_hierarchy *kit_need_v2(void);

/* --- plain tools that do not use what is tested --- */

/* "/osc-unit-PID/NAME" */
char *kit_sub(const char *name);

bool kit_exists(const struct cg_hierarchy *h, const char *path);
unsigned kit_count_existing(const struct cg_host *host, const char *path);
void kit_make_cgroup(const struct cg_hierarchy *h, const char *path);

/* With what is below it; and all of this test's. False if something is left. */
bool kit_remove_cgroup(const struct cg_hierarchy *h, const char *path);
bool kit_remove_cgroups(void);

/* Content without the last newline; "(none)" if it cannot be read. */
const char *kit_read_value(const struct cg_hierarchy *h, const char *path, const char *file);

/* 0 or -errno; -ENOENT if it cannot be opened. */
int kit_write_value(const struct cg_hierarchy *h, const char *path, const char *file,
                    const char *text);
int kit_write_pid(const struct cg_hierarchy *h, const char *path, const char *file, pid_t pid);

/* Where a task is in a hierarchy, as /proc/PID/cgroup writes it; "(nowhere)" if it has ended. And
 * the same text for a path below the hierarchy's root. */
const char *kit_where(const struct cg_hierarchy *h, pid_t pid);
const char *kit_seen_as(const struct cg_hierarchy *h, const char *path);
void kit_expect_where(const struct cg_host *host, pid_t pid, const char *path, const char *what);

/* --- short forms of what is tested --- */

/* cg_create(), cg_update() and cg_revert() with what follows for a scope; @devices may be NULL. */
int kit_put_new(struct cg_controller *c, const struct cg_files *files,
                const struct cg_dev_table *devices, struct err *e);
int kit_put(struct cg_controller *c, const struct cg_files *files, struct err *e);
int kit_put_back(struct cg_controller *c, const struct cg_files *files, struct err *e);
int kit_put_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e);

void kit_expect_ok(int r, const struct err *e, const char *what);
struct cg_controller kit_create(const struct cg_host *host, struct cg_parents *parents,
                                const char *path, const char *leaf, const struct cg_files *files);
void kit_delete_ok(struct cg_controller *c);
struct cg_files kit_files_of(const struct cg_limits *limits, bool v2);
bool kit_in_list(const struct cg_pids *pids, pid_t pid);

/* A domain at @path of kit_v2_host, and the threaded child "vcpu" of it. */
struct kit_split {
    struct cg_controller domain, leaf;
};
struct kit_split kit_create_split(struct cg_parents *p, const char *path);

/* The markers of parents, in a directory of the test's own. */
extern char kit_marker_dir[];
struct cg_parents kit_open_markers(void);
unsigned kit_count_markers(void);
void kit_close_markers(struct cg_parents *p);

#endif
