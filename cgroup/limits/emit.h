/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_LIMITS_EMIT_H
#define CGROUP_LIMITS_EMIT_H

/* From values to the texts of files: what the rows of table.c name. Internal to cgroup/limits. */

#include "cgroup/limits/table.h"

/* The number as it is, "max" or -1 when unlimited: for rows that name no function. */
cg_emit_fn cg_emit_number;

cg_emit_fn cg_emit_bandwidth;
cg_emit_fn cg_emit_blkio_weight;
cg_emit_fn cg_emit_cpus;
cg_emit_fn cg_emit_hugetlb;
cg_emit_fn cg_emit_leaf_weight;
cg_emit_fn cg_emit_mems;
cg_emit_fn cg_emit_pids;
cg_emit_fn cg_emit_priorities;
cg_emit_fn cg_emit_shares;
cg_emit_fn cg_emit_swap;
cg_emit_fn cg_emit_throttles;

cg_is_set_fn cg_bandwidth_is_set;
cg_is_set_fn cg_blkio_weight_is_set;
cg_is_set_fn cg_cpus_is_set;
cg_is_set_fn cg_hugetlb_is_set;
cg_is_set_fn cg_leaf_weight_is_set;
cg_is_set_fn cg_mems_is_set;
cg_is_set_fn cg_no_oom_kill_is_set;
cg_is_set_fn cg_priorities_are_set;
cg_is_set_fn cg_swap_is_set;
cg_is_set_fn cg_throttle_is_set;

#endif
