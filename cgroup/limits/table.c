/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/table.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/limits/emit.h"

#include <fnmatch.h>

#define FILES(v1, v2)  .v1_file = (v1), .v2_file = (v2)
#define RESETS(v1, v2) .v1_reset = (v1), .v2_reset = (v2)
#define NUMBER(member, lowest, most)                                                               \
    .offset = offsetof(struct cg_limits, member), .min = (lowest), .max = (most)
#define PROPERTY(form, v1, v2)       .property_form = (form), .v1_property = (v1), .v2_property = (v2)
#define PROPERTY_RANGE(lowest, most) .property_min = (lowest), .property_max = (most)

/* In the order of writing: memory before swap, real-time period before runtime. */
static const struct cg_limit_row rows[] = {
    {.name = "cpu.shares",
     .ctl = CG_CTL_CPU,
     FILES("cpu.shares", "cpu.weight"),
     RESETS("1024", "100"),
     PROPERTY(CG_AS_CPU_WEIGHT, "CPUShares", "CPUWeight"),
     PROPERTY_RANGE(1, 10000),
     NUMBER(cpu_shares, 0, INT64_MAX),
     .emit = cg_emit_shares},
    {.name = "cpu.quota",
     .ctl = CG_CTL_CPU,
     FILES("cpu.cfs_quota_us", "cpu.max"),
     RESETS("-1", "max 100000"),
     PROPERTY(CG_AS_BANDWIDTH, "CPUQuotaPerSecUSec", "CPUQuotaPerSecUSec"),
     .flags = CG_FILE_RETRY,
     .emit = cg_emit_bandwidth,
     .is_set = cg_bandwidth_is_set},
    {.name = "cpu.burst",
     .ctl = CG_CTL_CPU,
     FILES("cpu.cfs_burst_us", "cpu.max.burst"),
     RESETS("0", "0"),
     NUMBER(cpu_burst_us, 0, INT64_MAX),
     .flags = CG_FILE_RETRY},
    {.name = "cpu.realtimePeriod",
     .ctl = CG_CTL_CPU,
     FILES("cpu.rt_period_us", NULL),
     RESETS("1000000", NULL),
     NUMBER(cpu_rt_period_us, 1, INT64_MAX),
     .flags = CG_FILE_RETRY},
    {.name = "cpu.realtimeRuntime",
     .ctl = CG_CTL_CPU,
     FILES("cpu.rt_runtime_us", NULL),
     RESETS("0", NULL),
     NUMBER(cpu_rt_runtime_us, -1, INT64_MAX),
     .flags = CG_FILE_RETRY},
    {.name = "cpu.idle",
     .ctl = CG_CTL_CPU,
     FILES("cpu.idle", "cpu.idle"),
     RESETS("0", "0"),
     NUMBER(cpu_idle, 0, 1)},
    {.name = "cpu.cpus",
     .ctl = CG_CTL_CPUSET,
     FILES("cpuset.cpus", "cpuset.cpus"),
     RESETS("", ""),
     PROPERTY(CG_AS_SET, NULL, "AllowedCPUs"),
     .emit = cg_emit_cpus,
     .is_set = cg_cpus_is_set},
    {.name = "cpu.mems",
     .ctl = CG_CTL_CPUSET,
     FILES("cpuset.mems", "cpuset.mems"),
     RESETS("", ""),
     PROPERTY(CG_AS_SET, NULL, "AllowedMemoryNodes"),
     .emit = cg_emit_mems,
     .is_set = cg_mems_is_set},
    {.name = "memory.limit",
     .ctl = CG_CTL_MEMORY,
     FILES("memory.limit_in_bytes", "memory.max"),
     RESETS("-1", "max"),
     PROPERTY(CG_AS_LIMIT, "MemoryLimit", "MemoryMax"),
     PROPERTY_RANGE(1, 0),
     NUMBER(memory_limit, -1, INT64_MAX),
     .flags = CG_FILE_RETRY},
    {.name = "memory.swap",
     .ctl = CG_CTL_MEMORY,
     FILES("memory.memsw.limit_in_bytes", "memory.swap.max"),
     RESETS("-1", "max"),
     PROPERTY(CG_AS_LIMIT, NULL, "MemorySwapMax"),
     .flags = CG_FILE_RETRY,
     .emit = cg_emit_swap,
     .is_set = cg_swap_is_set},
    {.name = "memory.reservation",
     .ctl = CG_CTL_MEMORY,
     FILES("memory.soft_limit_in_bytes", "memory.low"),
     RESETS("-1", "0"),
     PROPERTY(CG_AS_LIMIT, NULL, "MemoryLow"),
     NUMBER(memory_reservation, -1, INT64_MAX)},
    {.name = "memory.kernelTCP",
     .ctl = CG_CTL_MEMORY,
     FILES("memory.kmem.tcp.limit_in_bytes", NULL),
     RESETS("-1", NULL),
     NUMBER(memory_kernel_tcp, -1, INT64_MAX)},
    {.name = "memory.swappiness",
     .ctl = CG_CTL_MEMORY,
     FILES("memory.swappiness", NULL),
     RESETS("", NULL),
     NUMBER(memory_swappiness, 0, 100)},
    {.name = "memory.disableOOMKiller",
     .ctl = CG_CTL_MEMORY,
     FILES("memory.oom_control", NULL),
     RESETS("0", NULL),
     NUMBER(memory_no_oom_kill, 1, 1),
     .is_set = cg_no_oom_kill_is_set},
    {.name = "pids.limit",
     .ctl = CG_CTL_PIDS,
     FILES("pids.max", "pids.max"),
     RESETS("max", "max"),
     PROPERTY(CG_AS_LIMIT, "TasksMax", "TasksMax"),
     PROPERTY_RANGE(1, 0),
     NUMBER(pids, -1, INT64_MAX),
     .emit = cg_emit_pids},
    {.name = "hugepageLimits",
     .ctl = CG_CTL_HUGETLB,
     FILES("hugetlb.*.limit_in_bytes", "hugetlb.*.max"),
     RESETS("-1", "max"),
     .emit = cg_emit_hugetlb,
     .is_set = cg_hugetlb_is_set},
    {.name = "blockIO.weight",
     .ctl = CG_CTL_BLKIO,
     FILES("blkio.bfq.weight", "io.bfq.weight"),
     RESETS("100", "100"),
     .device_reset = "default",
     .flags = CG_FILE_LINES | CG_FILE_EITHER,
     .emit = cg_emit_blkio_weight,
     .is_set = cg_blkio_weight_is_set},
    {.name = "blockIO.weight",
     .ctl = CG_CTL_BLKIO,
     FILES("blkio.weight", "io.weight"),
     RESETS("500", "100"),
     .device_reset = "default",
     PROPERTY(CG_AS_IO_WEIGHT, NULL, "IOWeight"),
     PROPERTY_RANGE(1, 10000),
     .flags = CG_FILE_LINES | CG_FILE_EITHER,
     .emit = cg_emit_blkio_weight,
     .is_set = cg_blkio_weight_is_set},
    {.name = "blockIO.leafWeight",
     .ctl = CG_CTL_BLKIO,
     FILES("blkio.leaf_weight", NULL),
     RESETS("500", NULL),
     .device_reset = "default",
     .flags = CG_FILE_LINES,
     .emit = cg_emit_leaf_weight,
     .is_set = cg_leaf_weight_is_set},
    {.name = "blockIO.throttle",
     .ctl = CG_CTL_BLKIO,
     FILES("blkio.throttle.*", "io.max"),
     .device_reset = "0",
     .flags = CG_FILE_LINES,
     .emit = cg_emit_throttles,
     .is_set = cg_throttle_is_set},
    {.name = "network.classID",
     .ctl = CG_CTL_NET_CLS,
     FILES("net_cls.classid", NULL),
     RESETS("", NULL),
     NUMBER(net_class_id, 0, UINT32_MAX)},
    {.name = "network.priorities",
     .ctl = CG_CTL_NET_PRIO,
     FILES("net_prio.ifpriomap", NULL),
     RESETS("", NULL),
     .flags = CG_FILE_LINES,
     .emit = cg_emit_priorities,
     .is_set = cg_priorities_are_set},
    /* The other half of a pair. */
    {.ctl = CG_CTL_CPU,
     FILES("cpu.cfs_period_us", NULL),
     RESETS("100000", NULL),
     PROPERTY(CG_AS_BANDWIDTH, "CPUQuotaPerSecUSec", NULL),
     .flags = CG_FILE_RETRY},
    /* Of `unified` only (cgroup-v2.rst, "Controllers"). */
    {.ctl = CG_CTL_CPU, FILES(NULL, "cpu.weight.nice"), RESETS(NULL, "0")},
    {.ctl = CG_CTL_CPU, FILES(NULL, "cpu.uclamp.min"), RESETS(NULL, "0")},
    {.ctl = CG_CTL_CPU, FILES(NULL, "cpu.uclamp.max"), RESETS(NULL, "max")},
    {.ctl = CG_CTL_CPUSET, FILES(NULL, "cpuset.cpus.exclusive"), RESETS(NULL, "")},
    {.ctl = CG_CTL_CPUSET, FILES(NULL, "cpuset.cpus.partition"), RESETS(NULL, "member")},
    {.ctl = CG_CTL_MEMORY,
     FILES(NULL, "memory.high"),
     RESETS(NULL, "max"),
     PROPERTY(CG_AS_LIMIT, NULL, "MemoryHigh"),
     PROPERTY_RANGE(1, 0)},
    {.ctl = CG_CTL_MEMORY,
     FILES(NULL, "memory.min"),
     RESETS(NULL, "0"),
     PROPERTY(CG_AS_LIMIT, NULL, "MemoryMin")},
    {.ctl = CG_CTL_MEMORY, FILES(NULL, "memory.oom.group"), RESETS(NULL, "0")},
    {.ctl = CG_CTL_MEMORY, FILES(NULL, "memory.swap.high"), RESETS(NULL, "max")},
    {.ctl = CG_CTL_MEMORY, FILES(NULL, "memory.zswap.max"), RESETS(NULL, "max")},
    {.ctl = CG_CTL_MEMORY, FILES(NULL, "memory.zswap.writeback"), RESETS(NULL, "1")},
    {.ctl = CG_CTL_BLKIO, FILES(NULL, "io.latency"), .device_reset = "0"},
    {.ctl = CG_CTL_BLKIO, FILES(NULL, "io.prio.class"), RESETS(NULL, "no-change")},
    {.ctl = CG_CTL_MISC, FILES(NULL, "misc.max"), .device_reset = "max"},
    {.ctl = CG_CTL_RDMA, FILES(NULL, "rdma.max"), .device_reset = "max"},
};

const struct cg_limit_row *cg_limit_rows(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(rows);
    return rows;
}

/* The per-device file that some v1 rows have besides: "blkio.weight_device". */
static bool is_device_file(const char *file, const char *of)
{
    return str_starts(file, of) && str_eq(file + strlen(of), "_device");
}

const struct cg_limit_row *cg_limit_row_of(const char *file, bool v2)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *pattern = v2 ? rows[i].v2_file : rows[i].v1_file;

        if (pattern && (fnmatch(pattern, file, 0) == 0 || is_device_file(file, pattern)))
            return &rows[i];
    }
    return NULL;
}

const struct cg_value *cg_limit_value(const struct cg_limits *limits, size_t offset)
{
    const void *value = (const char *)limits + offset;

    return value;
}
