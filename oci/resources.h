/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_RESOURCES_H
#define OCI_RESOURCES_H

/*
 * linux.resources of config.json (runtime-spec config-linux.md, "Control groups"), as far as it is
 * used. The same object is the configuration file's overhead_limits and a container's entry in the
 * sandbox's record.
 */

#include "oci/json.h"

struct oci_device_rule {
    struct json_bool allow;
    char *type;                   /* "a", "b", "c"; NULL is "a" */
    struct json_i64 major, minor; /* not set or -1: any */
    char *access;                 /* of "rwm"; NULL is none of them */
};

struct oci_cpu {
    struct json_u64 shares;
    struct json_i64 quota;      /* us per period; -1: no limit */
    struct json_u64 burst;      /* us */
    struct json_u64 period;     /* us */
    struct json_i64 rt_runtime; /* us */
    struct json_u64 rt_period;  /* us */
    char *cpus, *mems;
    struct json_i64 idle;
};

struct oci_memory {
    struct json_i64 limit, reservation, swap, kernel, kernel_tcp; /* bytes; -1: no limit */
    struct json_u64 swappiness;
    struct json_bool disable_oom_killer;
};

struct oci_pids {
    struct json_i64 limit; /* 0 or less: no limit; but see take_pids() of plan.c */
};

struct oci_hugepage_limit {
    char *page_size; /* "2MB", "1GB" */
    struct json_u64 limit;
};

struct oci_weight_device {
    struct json_i64 major, minor;
    struct json_u64 weight, leaf_weight;
};

struct oci_throttle_device {
    struct json_i64 major, minor;
    struct json_u64 rate;
};

struct oci_block_io {
    struct json_u64 weight, leaf_weight;
    struct json_list weight_device;                              /* struct oci_weight_device */
    struct json_list read_bps, write_bps, read_iops, write_iops; /* struct oci_throttle_device */
};

struct oci_priority {
    char *name;
    struct json_u64 priority;
};

struct oci_network {
    struct json_u64 class_id;
    struct json_list priorities; /* struct oci_priority */
};

struct oci_rdma {
    char unused;
};

struct oci_resources {
    struct json_list devices; /* struct oci_device_rule */
    struct oci_cpu *cpu;
    struct oci_memory *memory;
    struct oci_pids *pids;
    struct json_list hugepages; /* struct oci_hugepage_limit */
    struct oci_block_io *block_io;
    struct oci_network *network;
    struct oci_rdma *rdma;    /* not NULL: there are limits, which are not read */
    struct json_list unified; /* struct json_pair: file name, text */
};

extern const struct json_table oci_device_rule_table, oci_resources_table;

#endif
