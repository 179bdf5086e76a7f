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
    /* Let the directories that are open have the controllers that limits need. */
    int (*enable)(struct cg_controller *c, const struct cg_files *files, struct err *e);
    /* The directory whose file this is (borrowed O_PATH fd), and its index; -ENOENT with the
     * reason. */
    int (*file_dir)(const struct cg_controller *c, enum cg_ctl ctl, struct err *e);
    int (*set_devices)(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e);
    /* Whether single threads can be placed in this hierarchy. */
    bool (*places_threads)(const struct cg_hierarchy *h);
    const char *thread_file; /* "tasks" or "cgroup.threads" */
    void (*stat)(const struct cg_controller *c, struct cg_stat *ret);
};

extern const struct cg_ops cg_v1_ops;
extern const struct cg_ops cg_v2_ops;

/*
 * Write cpuset.cpus or cpuset.mems of a v1 cgroup, and of those inside of it as far as the kernel
 * demands: widened from the top, narrowed from the bottom. A child that had the whole old list gets
 * the whole new one. 0; -errno of the first write that failed; children may have changed by then.
 */
int cg_v1_write_cpuset(int dirfd, const char *file, const char *text);

/*
 * Write cpu.cfs_quota_us of a v1 cgroup. A quota that is more than the nearest ancestor with one
 * has is refused by the kernel (scheduler/sched-bwc.rst, "Hierarchical considerations"): then the
 * cgroup gets none of its own, and that ancestor's holds it. Where a pod's cgroup has the sum of
 * its containers' limits, rounding and minima make ours more. 0; -errno.
 */
int cg_v1_write_quota(int dirfd, const char *file, const char *text);

#endif
