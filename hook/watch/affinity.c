/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/affinity.h"

#include "base/proc.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

struct mask {
    cpu_set_t sets[CG_CPULIST_MAX / CPU_SETSIZE];
};

static bool is_alive(pid_t tid, uint64_t start_time)
{
    struct proc_stat st;

    return proc_stat_read(tid, &st) == 0 && st.start_time == start_time;
}

int affinity_set(pid_t tid, uint64_t start_time, const struct cg_cpulist *cpus)
{
    struct mask mask;

    memset(&mask, cpus ? 0 : 0xff, sizeof mask);
    for (unsigned cpu = 0; cpus && cpu < CG_CPULIST_MAX; cpu++) {
        if (cg_cpulist_has(cpus, cpu))
            CPU_SET_S(cpu, sizeof mask.sets, mask.sets);
    }
    if (!is_alive(tid, start_time))
        return 0;
    if (sched_setaffinity(tid, sizeof mask.sets, mask.sets) == 0)
        return 1;
    return errno == ESRCH ? 0 : -errno;
}

int affinity_get(pid_t tid, struct cg_cpulist *ret)
{
    struct mask mask;

    *ret = (struct cg_cpulist){0};
    memset(&mask, 0, sizeof mask);
    if (sched_getaffinity(tid, sizeof mask.sets, mask.sets) < 0)
        return errno == ESRCH ? 0 : -errno;
    for (unsigned cpu = 0; cpu < CG_CPULIST_MAX; cpu++) {
        if (CPU_ISSET_S(cpu, sizeof mask.sets, mask.sets))
            ret->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
    }
    return 1;
}
