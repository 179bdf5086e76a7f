/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_LIMITS_TABLE_H
#define CGROUP_LIMITS_TABLE_H

/*
 * One row per limit: its files on v1 and v2, what is written into them and in which range, what
 * they say without a limit, and the systemd property that stands for them. Whoever writes a limit,
 * takes it away or tells systemd of it reads the same row. Pure.
 */

#include "cgroup/limits/limits.h"

/* Of CPU bandwidth, where nothing names one. */
#define CG_DEFAULT_PERIOD_US 100000

/* How a property is made of the text of a file; see properties.c. */
enum cg_property_form {
    CG_NO_PROPERTY, /* systemd knows none: the file is ours to write */
    CG_AS_IO_WEIGHT,
    CG_AS_CPU_WEIGHT,
    CG_AS_LIMIT,
    CG_AS_SET,
    CG_AS_BANDWIDTH,
};

struct cg_limit_row;

/* Adds the row's files to the list. 0; -EINVAL no kernel accepts the value, with its name in @e. */
typedef int cg_emit_fn(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                       struct arena *a, struct cg_files *out, struct err *e);
typedef bool cg_is_set_fn(const struct cg_limits *l);

struct cg_limit_row {
    const char *name; /* the member of linux.resources; NULL: its file has none of its own */
    enum cg_ctl ctl;
    enum cg_property_form property_form;
    unsigned flags;
    uint32_t offset; /* of the struct cg_value, for rows that are a number */
    /* May be a pattern (fnmatch(3)); NULL: the version has no counterpart. */
    const char *v1_file, *v2_file;
    /* What the file of a new cgroup says: the text that takes the limit away; "": what the parent's
     * says; NULL: the file has nothing but lines for devices. */
    const char *v1_reset, *v2_reset;
    /* In files with lines such as "8:0 100" what stands for the 100 then; NULL: there are none. Of
     * a line such as "8:0 rbps=100" each value becomes "max" in any case. */
    const char *device_reset;
    const char *v1_property, *v2_property; /* NULL: as CG_NO_PROPERTY */
    uint64_t property_min, property_max;   /* as systemd checks them (src/core/dbus-cgroup.c) */
    int64_t min, max;
    cg_emit_fn *emit;     /* NULL: the number as it is */
    cg_is_set_fn *is_set; /* NULL: the cg_value at @offset */
};

const struct cg_limit_row *cg_limit_rows(size_t *ret_count);

/* The row of a file, NULL if there is none. */
const struct cg_limit_row *cg_limit_row_of(const char *file, bool v2);

/* Whether @limits has a word on it. Not for a row without a name. */
bool cg_limit_is_set(const struct cg_limit_row *row, const struct cg_limits *limits);

/* The value at a row's offset. */
const struct cg_value *cg_limit_value(const struct cg_limits *limits, size_t offset);

#endif
