/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/resources.h"

#include "base/cleanup.h"

/* The kernel's device numbers have 12 and 20 bits; runtimes pass 32. -1 is any device. */
#define DEVICE_NUMBER_MAX UINT32_MAX

static const struct json_field oci_device_rule_fields[] = {
    JSON_F_BOOL("allow", struct oci_device_rule, allow),
    JSON_F_STRING("type", struct oci_device_rule, type),
    JSON_F_I64("major", struct oci_device_rule, major, -1, DEVICE_NUMBER_MAX),
    JSON_F_I64("minor", struct oci_device_rule, minor, -1, DEVICE_NUMBER_MAX),
    JSON_F_STRING("access", struct oci_device_rule, access),
};
const struct json_table oci_device_rule_table =
    JSON_TABLE_GO(oci_device_rule_fields, struct oci_device_rule);

static const struct json_field oci_cpu_fields[] = {
    JSON_F_U64("shares", struct oci_cpu, shares, UINT64_MAX),
    JSON_F_I64("quota", struct oci_cpu, quota, INT64_MIN, INT64_MAX),
    JSON_F_U64("burst", struct oci_cpu, burst, UINT64_MAX),
    JSON_F_U64("period", struct oci_cpu, period, UINT64_MAX),
    JSON_F_I64("realtimeRuntime", struct oci_cpu, rt_runtime, INT64_MIN, INT64_MAX),
    JSON_F_U64("realtimePeriod", struct oci_cpu, rt_period, UINT64_MAX),
    JSON_F_STRING("cpus", struct oci_cpu, cpus),
    JSON_F_STRING("mems", struct oci_cpu, mems),
    JSON_F_I64("idle", struct oci_cpu, idle, INT64_MIN, INT64_MAX),
};
static const struct json_table cpu_table = JSON_TABLE_GO(oci_cpu_fields, struct oci_cpu);

static const struct json_field oci_memory_fields[] = {
    JSON_F_I64("limit", struct oci_memory, limit, -1, INT64_MAX),
    JSON_F_I64("reservation", struct oci_memory, reservation, -1, INT64_MAX),
    JSON_F_I64("swap", struct oci_memory, swap, -1, INT64_MAX),
    JSON_F_I64("kernel", struct oci_memory, kernel, -1, INT64_MAX),
    JSON_F_I64("kernelTCP", struct oci_memory, kernel_tcp, -1, INT64_MAX),
    JSON_F_U64("swappiness", struct oci_memory, swappiness, 100),
    JSON_F_BOOL("disableOOMKiller", struct oci_memory, disable_oom_killer),
};
static const struct json_table memory_table = JSON_TABLE_GO(oci_memory_fields, struct oci_memory);

static const struct json_field oci_pids_fields[] = {
    JSON_F_I64("limit", struct oci_pids, limit, INT64_MIN, INT64_MAX),
};
static const struct json_table pids_table = JSON_TABLE_GO(oci_pids_fields, struct oci_pids);

static const struct json_field oci_hugepage_limit_fields[] = {
    JSON_F_STRING("pageSize", struct oci_hugepage_limit, page_size),
    JSON_F_U64("limit", struct oci_hugepage_limit, limit, UINT64_MAX),
};
static const struct json_table hugepage_limit_table =
    JSON_TABLE_GO(oci_hugepage_limit_fields, struct oci_hugepage_limit);

/* Block devices of blockIO are named one by one: there is no wildcard. */
static const struct json_field oci_weight_device_fields[] = {
    JSON_F_I64("major", struct oci_weight_device, major, 0, DEVICE_NUMBER_MAX),
    JSON_F_I64("minor", struct oci_weight_device, minor, 0, DEVICE_NUMBER_MAX),
    JSON_F_U64("weight", struct oci_weight_device, weight, UINT16_MAX),
    JSON_F_U64("leafWeight", struct oci_weight_device, leaf_weight, UINT16_MAX),
};
static const struct json_table weight_device_table =
    JSON_TABLE_GO(oci_weight_device_fields, struct oci_weight_device);

static const struct json_field oci_throttle_device_fields[] = {
    JSON_F_I64("major", struct oci_throttle_device, major, 0, DEVICE_NUMBER_MAX),
    JSON_F_I64("minor", struct oci_throttle_device, minor, 0, DEVICE_NUMBER_MAX),
    JSON_F_U64("rate", struct oci_throttle_device, rate, UINT64_MAX),
};
static const struct json_table throttle_device_table =
    JSON_TABLE_GO(oci_throttle_device_fields, struct oci_throttle_device);

#define THROTTLE(key, member)                                                                      \
    JSON_F_OBJECT_LIST(key, struct oci_block_io, member, &throttle_device_table)

static const struct json_field oci_block_io_fields[] = {
    JSON_F_U64("weight", struct oci_block_io, weight, UINT16_MAX),
    JSON_F_U64("leafWeight", struct oci_block_io, leaf_weight, UINT16_MAX),
    JSON_F_OBJECT_LIST("weightDevice", struct oci_block_io, weight_device, &weight_device_table),
    THROTTLE("throttleReadBpsDevice", read_bps),
    THROTTLE("throttleWriteBpsDevice", write_bps),
    THROTTLE("throttleReadIOPSDevice", read_iops),
    THROTTLE("throttleWriteIOPSDevice", write_iops),
};
static const struct json_table block_io_table =
    JSON_TABLE_GO(oci_block_io_fields, struct oci_block_io);

static const struct json_field oci_priority_fields[] = {
    JSON_F_STRING("name", struct oci_priority, name),
    JSON_F_U64("priority", struct oci_priority, priority, UINT32_MAX),
};
static const struct json_table priority_table =
    JSON_TABLE_GO(oci_priority_fields, struct oci_priority);

static const struct json_field oci_network_fields[] = {
    JSON_F_U64("classID", struct oci_network, class_id, UINT32_MAX),
    JSON_F_OBJECT_LIST("priorities", struct oci_network, priorities, &priority_table),
};
static const struct json_table network_table =
    JSON_TABLE_GO(oci_network_fields, struct oci_network);

/* That it is there is all that is read. */
static const struct json_table rdma_table = {.size = sizeof(struct oci_rdma)};

static const struct json_field oci_resources_fields[] = {
    JSON_F_OBJECT_LIST("devices", struct oci_resources, devices, &oci_device_rule_table),
    JSON_F_OBJECT("cpu", struct oci_resources, cpu, &cpu_table),
    JSON_F_OBJECT("memory", struct oci_resources, memory, &memory_table),
    JSON_F_OBJECT("pids", struct oci_resources, pids, &pids_table),
    JSON_F_OBJECT_LIST("hugepageLimits", struct oci_resources, hugepages, &hugepage_limit_table),
    JSON_F_OBJECT("blockIO", struct oci_resources, block_io, &block_io_table),
    JSON_F_OBJECT("network", struct oci_resources, network, &network_table),
    JSON_F_OBJECT("rdma", struct oci_resources, rdma, &rdma_table),
    JSON_F_STRING_MAP("unified", struct oci_resources, unified),
};
const struct json_table oci_resources_table =
    JSON_TABLE_GO(oci_resources_fields, struct oci_resources);
