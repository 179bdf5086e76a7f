/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/ctl.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>

static const char *const mode_names[] = {
    [CG_MODE_V1] = "v1",
    [CG_MODE_HYBRID] = "hybrid",
    [CG_MODE_V2] = "v2",
};

static const char *const ctl_names[CG_CTL_COUNT] = {
    [CG_CTL_CPU] = "cpu",         [CG_CTL_CPUACCT] = "cpuacct",
    [CG_CTL_CPUSET] = "cpuset",   [CG_CTL_MEMORY] = "memory",
    [CG_CTL_DEVICES] = "devices", [CG_CTL_FREEZER] = "freezer",
    [CG_CTL_BLKIO] = "blkio",     [CG_CTL_PIDS] = "pids",
    [CG_CTL_HUGETLB] = "hugetlb", [CG_CTL_PERF_EVENT] = "perf_event",
    [CG_CTL_NET_CLS] = "net_cls", [CG_CTL_NET_PRIO] = "net_prio",
    [CG_CTL_RDMA] = "rdma",       [CG_CTL_MISC] = "misc",
};

const char *cg_mode_name(enum cg_mode mode)
{
    return mode_names[mode];
}

int cg_mode_parse(const char *name, enum cg_mode *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
        if (str_eq(name, mode_names[i])) {
            *ret = (enum cg_mode)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *cg_ctl_name(enum cg_ctl ctl, bool v2)
{
    return v2 && ctl == CG_CTL_BLKIO ? "io" : ctl_names[ctl];
}

enum cg_ctl cg_ctl_parse(const char *name, size_t len, bool v2)
{
    for (unsigned i = 0; i < CG_CTL_COUNT; i++) {
        const char *known = cg_ctl_name((enum cg_ctl)i, v2);

        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return (enum cg_ctl)i;
    }
    return CG_CTL_COUNT;
}

unsigned cg_ctl_parse_list(const char *list, char separator, bool v2)
{
    unsigned found = 0;

    while (*list) {
        const char *end = strchrnul(list, separator);
        enum cg_ctl ctl = cg_ctl_parse(list, (size_t)(end - list), v2);

        if (ctl != CG_CTL_COUNT)
            found |= CG_CTL_BIT(ctl);
        list = *end ? end + 1 : end;
    }
    return found;
}

enum cg_ctl cg_ctl_of_file(const char *file, bool v2)
{
    return cg_ctl_parse(file, strcspn(file, "."), v2);
}
