/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_OPS_H
#define CGROUP_OPS_H

/*
 * What a backend must do for controller.c, and what backends share. Internal to cgroup/.
 *
 * A backend decides which directories there are, in which one a file is written, and what has to
 * happen before tasks fit in. Everything that is the same for all of them is in controller.c.
 */

#include "cgroup/controller.h"
#include "cgroup/dir.h"

struct cg_ops {
    /* Make and open the directories, ready to hold tasks. */
    int (*make)(struct cg_controller *c, const struct cg_files *files, struct err *e);
    /* Let the directories that are open have the controllers that limits need. NULL: they have
     * those of their hierarchy. */
    int (*enable)(struct cg_controller *c, const struct cg_files *files, struct err *e);
    /* The directory with the controller's files (a borrowed O_PATH fd); -errno with the reason. */
    int (*file_dir)(const struct cg_controller *c, enum cg_ctl ctl, struct err *e);
    int (*set_devices)(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e);
    /* Write one value of a limit. */
    int (*write)(int dirfd, const struct cg_file *f, const char *text);
    /* Write what the parent has (CG_FILE_INHERIT). */
    int (*write_inherited)(int dirfd, const struct cg_file *f);
    /* End every process at once; -EOPNOTSUPP: this kernel cannot. NULL: none can. */
    int (*kill)(struct cg_controller *c);
    /* cgroup.type */
    void (*type)(const struct cg_controller *c, char buf[static 32]);
    const char *thread_file; /* "tasks" or "cgroup.threads" */
    bool v2_names;           /* controllers and files are called as on v2 */
    void (*stat)(const struct cg_controller *c, struct cg_stat *ret);
};

/* Whether single threads can be placed in this hierarchy: not in the cgroup2 mount beside those of
 * v1, where only a process can. */
static inline bool cg_places_threads(const struct cg_controller *c, const struct cg_hierarchy *h)
{
    return h->v2 == c->ops->v2_names;
}

/*
 * The backends: v1.c, with cpuset_v1.c and devices/v1_apply.c beside it, for v1 and hybrid; v2.c,
 * with devices/bpf_*.c, for v2. Where v1 is no longer wanted, its three files, what the headers say
 * of them and its two lines in controller.c go, and nothing else.
 */
extern const struct cg_ops cg_v1_ops;
extern const struct cg_ops cg_v2_ops;

/*
 * tasks.c, for move.c. The directory whose cgroup.procs can be read, below zero for none: that of a threaded
 * child cannot. All processes in it and below it are appended, @depth being 0. And what to say of a failure.
 */
int cg_procs_dir(const struct cg_controller *c, size_t i);
int cg_read_tree(int dirfd, unsigned depth, struct arena *a, struct cg_pids *ret);
int cg_list_error(const struct cg_controller *c, size_t i, const char *file, int r, struct err *e);

/* A file's lines that name several values, each written by itself with ops->write. */
int cg_write_lines(const struct cg_ops *ops, int dirfd, const struct cg_file *f, const char *text);

/*
 * Write cpuset.cpus or cpuset.mems of a v1 cgroup, and of those inside of it as far as the kernel
 * demands: widened from the top, narrowed from the bottom. A child that had the whole old list gets
 * the whole new one. 0; -errno of the first write that failed; children may have changed by then.
 */
int cg_v1_write_cpuset(int dirfd, const char *file, const char *text);

#endif
