/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The files of new cgroups, recorded: v1 and the core files of v2 from a Linux 6.18 host with both,
 * the controllers' files of v2 as admin-guide/cgroup-v2.rst names them with their defaults. Files
 * that can only be written begin empty; statistics are those of a cgroup in which nothing ran.
 */

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/tree_kernel.h"

#define NO_LIMIT "9223372036854771712"

#define V1_CORE "cgroup.clone_children=0", "cgroup.procs=", "notify_on_release=0", "tasks="

static const char *const cpu_cpuacct[] = {
    V1_CORE,
    "cpu.cfs_burst_us=0",
    "cpu.cfs_period_us=100000",
    "cpu.cfs_quota_us=-1",
    "cpu.idle=0",
    "cpu.rt_period_us=1000000",
    "cpu.rt_runtime_us=0",
    "cpu.shares=1024",
    "cpu.stat=nr_periods 0|nr_throttled 0|throttled_time 0|nr_bursts 0|burst_time 0",
    "cpu.stat.local=throttled_time 0",
    "cpuacct.stat=user 0|system 0",
    "cpuacct.usage=0",
    "cpuacct.usage_all=cpu user system|0 0 0|1 0 0",
    "cpuacct.usage_percpu=0 0 ",
    "cpuacct.usage_percpu_sys=0 0 ",
    "cpuacct.usage_percpu_user=0 0 ",
    "cpuacct.usage_sys=0",
    "cpuacct.usage_user=0",
    NULL,
};

static const char *const cpuset[] = {
    V1_CORE,
    "cpuset.cpu_exclusive=0",
    "cpuset.cpus=",
    "cpuset.effective_cpus=",
    "cpuset.effective_mems=",
    "cpuset.mem_exclusive=0",
    "cpuset.mem_hardwall=0",
    "cpuset.memory_migrate=0",
    "cpuset.memory_pressure=0",
    "cpuset.memory_spread_page=0",
    "cpuset.memory_spread_slab=0",
    "cpuset.mems=",
    "cpuset.sched_load_balance=1",
    "cpuset.sched_relax_domain_level=-1",
    NULL,
};

static const char *const memory[] = {
    V1_CORE,
    "cgroup.event_control=",
    "memory.failcnt=0",
    "memory.force_empty=",
    "memory.kmem.failcnt=0",
    "memory.kmem.limit_in_bytes=" NO_LIMIT,
    "memory.kmem.max_usage_in_bytes=0",
    "memory.kmem.slabinfo=",
    "memory.kmem.tcp.failcnt=0",
    "memory.kmem.tcp.limit_in_bytes=" NO_LIMIT,
    "memory.kmem.tcp.max_usage_in_bytes=0",
    "memory.kmem.tcp.usage_in_bytes=0",
    "memory.kmem.usage_in_bytes=0",
    "memory.limit_in_bytes=" NO_LIMIT,
    "memory.max_usage_in_bytes=0",
    "memory.memsw.failcnt=0",
    "memory.memsw.limit_in_bytes=" NO_LIMIT,
    "memory.memsw.max_usage_in_bytes=0",
    "memory.memsw.usage_in_bytes=0",
    "memory.move_charge_at_immigrate=0",
    "memory.numa_stat=total=0 N0=0|file=0 N0=0|anon=0 N0=0|unevictable=0 N0=0",
    "memory.oom_control=oom_kill_disable 0|under_oom 0|oom_kill 0",
    "memory.pressure_level=",
    "memory.soft_limit_in_bytes=" NO_LIMIT,
    "memory.stat=cache 0|rss 0|rss_huge 0|shmem 0|mapped_file 0|dirty 0|writeback 0|swap 0",
    "memory.swappiness=60",
    "memory.usage_in_bytes=0",
    "memory.use_hierarchy=1",
    NULL,
};

static const char *const devices[] = {
    V1_CORE, "devices.allow=", "devices.deny=", "devices.list=a *:* rwm", NULL,
};

static const char *const freezer[] = {
    V1_CORE, "freezer.parent_freezing=0", "freezer.self_freezing=0", "freezer.state=THAWED", NULL,
};

static const char *const blkio[] = {
    V1_CORE,
    "blkio.bfq.io_service_bytes=Total 0",
    "blkio.bfq.io_service_bytes_recursive=Total 0",
    "blkio.bfq.io_serviced=Total 0",
    "blkio.bfq.io_serviced_recursive=Total 0",
    "blkio.bfq.weight=100",
    "blkio.bfq.weight_device=default 100",
    "blkio.reset_stats=",
    "blkio.throttle.io_service_bytes=Total 0",
    "blkio.throttle.io_service_bytes_recursive=Total 0",
    "blkio.throttle.io_serviced=Total 0",
    "blkio.throttle.io_serviced_recursive=Total 0",
    "blkio.throttle.read_bps_device=",
    "blkio.throttle.read_iops_device=",
    "blkio.throttle.write_bps_device=",
    "blkio.throttle.write_iops_device=",
    NULL,
};

static const char *const pids[] = {
    V1_CORE, "pids.current=0", "pids.events=max 0", "pids.max=max", "pids.peak=0", NULL,
};

static const char *const named[] = {V1_CORE, NULL};

#define PRESSURE                                                                                   \
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0|full avg10=0.00 avg60=0.00 avg300=0.00 "       \
    "total=0"

static const char *const v2_core[] = {
    "cgroup.controllers=",
    "cgroup.events=populated 0|frozen 0",
    "cgroup.freeze=0",
    "cgroup.kill=",
    "cgroup.max.depth=max",
    "cgroup.max.descendants=max",
    "cgroup.pressure=1",
    "cgroup.procs=",
    "cgroup.stat=nr_descendants 0|nr_dying_descendants 0",
    "cgroup.stat.local=frozen_usec 0",
    "cgroup.subtree_control=",
    "cgroup.threads=",
    "cgroup.type=domain",
    "cpu.pressure=" PRESSURE,
    "cpu.stat=usage_usec 0|user_usec 0|system_usec 0|nice_usec 0",
    "cpu.stat.local=",
    "io.pressure=" PRESSURE,
    "memory.pressure=" PRESSURE,
    NULL,
};

static const char *const v2_cpu[] = {
    "cpu.idle=0",     "cpu.max=max 100000", "cpu.max.burst=0",
    "cpu.weight=100", "cpu.weight.nice=0",  NULL,
};

static const char *const v2_cpuset[] = {
    "cpuset.cpus=", "cpuset.cpus.effective=0-3", "cpuset.cpus.partition=member",
    "cpuset.mems=", "cpuset.mems.effective=0",   NULL,
};

static const char *const v2_io[] = {"io.max=", "io.stat=", "io.weight=default 100", NULL};

static const char *const v2_memory[] = {
    "memory.current=0",
    "memory.events=low 0|high 0|max 0|oom 0|oom_kill 0",
    "memory.high=max",
    "memory.low=0",
    "memory.max=max",
    "memory.min=0",
    "memory.oom.group=0",
    "memory.peak=0",
    "memory.stat=anon 0|file 0",
    "memory.swap.current=0",
    "memory.swap.events=high 0|max 0|fail 0",
    "memory.swap.high=max",
    "memory.swap.max=max",
    NULL,
};

static const char *const v2_pids[] = {
    "pids.current=0", "pids.events=max 0", "pids.max=max", "pids.peak=0", NULL,
};

static const struct {
    const char *name;
    const char *const *files;
} lists[2][8] = {
    {{"cpu,cpuacct", cpu_cpuacct},
     {"cpuset", cpuset},
     {"memory", memory},
     {"devices", devices},
     {"freezer", freezer},
     {"blkio", blkio},
     {"pids", pids},
     {"name=systemd", named}},
    {{"core", v2_core},
     {"cpu", v2_cpu},
     {"cpuset", v2_cpuset},
     {"io", v2_io},
     {"memory", v2_memory},
     {"pids", v2_pids}},
};

const char *const *tree_files(const char *hierarchy, bool v2)
{
    for (size_t i = 0; i < ARRAY_SIZE(lists[v2]) && lists[v2][i].name; i++) {
        if (str_eq(lists[v2][i].name, hierarchy))
            return lists[v2][i].files;
    }
    return NULL;
}
