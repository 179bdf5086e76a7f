/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_LIMITS_LIMITS_H
#define CGROUP_LIMITS_LIMITS_H

/*
 * cgroup/limits/ turns limits into the texts of controller files and systemd's properties.
 *
 * Pure: a set of limits and a mode give a list of (file, text) that says exactly what will be
 * written. `plan` prints that list, the backends write it. Conversions between v1 and v2 are those
 * of runc 1.3.2 and crun 1.23 and later.
 */

#include "cgroup/ctl.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;

#define CG_UNLIMITED INT64_C(-1)

struct cg_value {
    bool set;
    int64_t value; /* CG_UNLIMITED where the limit allows it */
};

/* Each is compared with each, and no kernel has so many sizes of pages. */
#define CG_HUGETLB_MAX 64

struct cg_hugetlb_limit {
    const char *page_size; /* "2MB" */
    int64_t limit_bytes;
};

struct cg_blkio_weight {
    int64_t major, minor;
    struct cg_value weight, leaf_weight;
};

enum cg_throttle { CG_READ_BPS, CG_WRITE_BPS, CG_READ_IOPS, CG_WRITE_IOPS, CG_THROTTLE_COUNT };

struct cg_blkio_throttle {
    enum cg_throttle what;
    int64_t major, minor;
    uint64_t rate;
};

struct cg_net_priority {
    const char *interface;
    uint32_t priority;
};

struct cg_unified {
    const char *file;
    const char *text;
};

/* One container's or one sandbox's limits. Lists live in an arena. */
struct cg_limits {
    struct cg_value cpu_shares;   /* v1 unit, 2..262144 */
    struct cg_value cpu_quota_us; /* per period */
    struct cg_value cpu_period_us;
    struct cg_value cpu_burst_us;
    struct cg_value cpu_rt_runtime_us; /* v1 only */
    struct cg_value cpu_rt_period_us;  /* v1 only */
    struct cg_value cpu_idle;
    const char *cpuset_cpus; /* NULL or "" : not set */
    const char *cpuset_mems;
    struct cg_value memory_limit; /* bytes */
    struct cg_value memory_reservation;
    struct cg_value memory_swap;        /* bytes of memory and swap together, as OCI and v1 count */
    struct cg_value memory_kernel_tcp;  /* v1 only */
    struct cg_value memory_swappiness;  /* v1 only */
    struct cg_value memory_no_oom_kill; /* v1 only; 1: set */
    struct cg_value pids;
    struct cg_hugetlb_limit *hugetlb;
    size_t hugetlb_count;
    struct cg_value blkio_weight;      /* 10..1000 */
    struct cg_value blkio_leaf_weight; /* v1 only */
    struct cg_blkio_weight *blkio_weights;
    size_t blkio_weight_count;
    struct cg_blkio_throttle *throttles;
    size_t throttle_count;
    struct cg_value net_class_id;           /* v1 only */
    struct cg_net_priority *net_priorities; /* v1 only */
    size_t net_priority_count;
    struct cg_unified *unified; /* v2 only */
    size_t unified_count;
    /* What the other members say may hold in a cgroup above that of `unified`, as with crun and
     * systemd: of a file of both the smaller limit counts. Else that of `unified`. */
    bool unified_beneath;
};

enum cg_file_flags {
    /* Several lines, each its own write(2). */
    CG_FILE_LINES = 1,
    /* Not every kernel has this file: fine without. */
    CG_FILE_OPTIONAL = 2,
    /* This file or the next one with the flag must exist: weights for BFQ and without it. */
    CG_FILE_EITHER = 4,
    /* The kernel may refuse the value until another file of the list has been written. */
    CG_FILE_RETRY = 8,
    /* What the parent has: copied from its file on v1; on v2 an empty text says so. */
    CG_FILE_INHERIT = 16,
    /* It takes a limit away. A file, controller or device that is not there has none. */
    CG_FILE_RESET = 32,
    /* v1: the kernel refuses more than an ancestor has; no limit of its own means the same then. */
    CG_FILE_BOUNDED = 64,
};

struct cg_file {
    enum cg_ctl ctl;
    const char *file;
    const char *text;
    unsigned flags;
};

struct cg_files {
    struct cg_file *items; /* in an arena, in the order of writing */
    size_t count;
};

/*
 * The files for @limits. @v2 selects names and units.
 * @warnings  say of a limit that the mode has no counterpart for, and that is left out (in @a).
 * 0; -EINVAL a value or combination that no kernel accepts, with the config.json name in @e.
 */
int cg_limits_files(const struct cg_limits *limits, bool v2, struct arena *a, struct cg_files *ret,
                    const char ***warnings, size_t *warning_count, struct err *e);

/*
 * What takes limits away: for each one that @before has set and @after does not, the text that its
 * file would have if it had never been set. Where a file has a line for each device, it is the
 * lines that are compared. To be written before @after is.
 * @before    as it was recorded, see cg_files_unite().
 * @warnings  say of a file of linux.resources.unified that it stays, because nothing tells how it
 *            was before (in @a).
 */
void cg_files_resets(const struct cg_files *before, const struct cg_files *after, bool v2,
                     struct arena *a, struct cg_files *ret, const char ***warnings,
                     size_t *warning_count);

/*
 * All that may be set while a cgroup goes from @before to @after, wherever that ends: the files of
 * @after and those that only @before has; of a file with a line for each device the lines of both.
 */
struct cg_files cg_files_unite(const struct cg_files *before, const struct cg_files *after, bool v2,
                               struct arena *a);

/* Append a file that was once in a list; controller and flags follow from the table. */
void cg_files_add(struct arena *a, struct cg_files *files, const char *file, const char *text,
                  bool v2);

/* Append the files of another list. */
void cg_files_append(struct arena *a, struct cg_files *files, const struct cg_files *more);

/* The controllers that the list needs; taking a limit away needs none. */
unsigned cg_files_controllers(const struct cg_files *files);

/* The text for a file of the list, NULL when it is not there. */
const char *cg_files_get(const struct cg_files *files, const char *file);

/* cpu.shares (2..262144) -> cpu.weight (1..10000): ceil(10^((l^2 + 125 l) / 612 - 7/34)),
 * l = log2(shares). */
uint64_t cg_shares_to_weight(uint64_t shares);

/* The fewest shares that make a weight of v2. */
uint64_t cg_weight_to_shares(uint64_t weight);

/* blkio.weight (10..1000) -> io.weight (1..10000), linear. */
uint64_t cg_blkio_to_io_weight(uint64_t weight);

#endif
