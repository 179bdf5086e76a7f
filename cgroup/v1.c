/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The backend of v1 and hybrid: one directory per hierarchy, threads placed through `tasks`.
 * Kernel: admin-guide/cgroup-v1/. What goes with it when it goes: ops.h.
 */

#include "cgroup/devices/v1.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

/* A line for each network interface is the longest that is copied from a parent. */
#define INHERITED_MAX ((size_t)1 << 20)

/*
 * A new v1 cpuset is empty, takes no tasks, and cannot be filled while its parent is empty. So go
 * up to the nearest ancestor with a value and hand that down. The cgroup itself is left to the
 * limit if there is one. Kernel: admin-guide/cgroup-v1/cpusets.rst 1.4.
 * @is_new  there is nothing in it that could be read, but what it has from its parent
 */
static int fill_cpuset_file(const struct cg_hierarchy *h, const char *path, const char *file,
                            bool is_new, bool has_limit, struct err *e)
{
    const int top = cg_hierarchy_fd(h);
    char name[PATH_MAX], value[4096] = "";
    size_t end = strlen(path), configured;

    while (is_new && path[--end] != '/')
        ;
    for (;;) {
        ssize_t len;

        snprintf(name, sizeof name, ".%.*s/%s", (int)end, path, file);
        len = io_read_line_at(top, name, value, sizeof value);
        if (len < 0)
            return err_sys(e, (int)len, "cannot read %s/%s", h->mount_point, name + 2);
        if (len > 0 || end == 0)
            break;
        while (end > 0 && path[--end] != '/')
            ;
    }
    configured = end;
    while (path[end]) {
        int r;

        end += 1 + strcspn(path + end + 1, "/");
        if (path[end] == '\0' && has_limit)
            break;
        snprintf(name, sizeof name, ".%.*s/%s", (int)end, path, file);
        r = io_write_at(top, name, value);
        if (r < 0)
            return err_sys(e, r, "cannot write \"%s\" to %s%s, taken from its ancestor %.*s", value,
                           h->mount_point, name + 1, configured ? (int)configured : 1, path);
    }
    return 0;
}

static int make(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];
        bool made;
        int fd = cg_make_dir(c->parents, h, c->path, &made, e);
        int r;

        if (fd < 0)
            return fd;
        fd_close(&c->fds[i]);
        c->fds[i] = fd;
        c->made |= made ? UINT32_C(1) << i : 0;
        if (h->v2 || !(h->controllers & CG_CTL_BIT(CG_CTL_CPUSET)))
            continue;
        r = fill_cpuset_file(h, c->path, "cpuset.cpus", made, cg_files_get(files, "cpuset.cpus"),
                             e);
        if (r == 0)
            r = fill_cpuset_file(h, c->path, "cpuset.mems", made,
                                 cg_files_get(files, "cpuset.mems"), e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int index_of(const struct cg_controller *c, enum cg_ctl ctl)
{
    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];

        if (!h->v2 && h->controllers & CG_CTL_BIT(ctl) && c->fds[i] >= 0)
            return (int)i;
    }
    return -ENOENT;
}

/* Quota and period of a cgroup or, by "../", of one above it. False: there is none, or it cannot be read. */
static bool read_bandwidth(int dirfd, const char *up, uint64_t *ret_quota, uint64_t *ret_period)
{
    char file[PATH_MAX];
    int r;

    snprintf(file, sizeof file, "%scpu.cfs_period_us", up);
    if (cg_read_number(dirfd, file, ret_period) < 0)
        return false;
    snprintf(file, sizeof file, "%scpu.cfs_quota_us", up);
    r = cg_read_number(dirfd, file, ret_quota);
    if (r == -EINVAL)
        *ret_quota = 0; /* -1: none */
    return r == 0 || r == -EINVAL;
}

/* Whether this quota is a larger part of a CPU than the nearest quota above. */
static bool exceeds_ancestors(int dirfd, const char *text)
{
    uint64_t own, period, above, above_period;
    char up[PATH_MAX] = "";

    if (str_to_u64(text, strlen(text), &own) < 0 || !read_bandwidth(dirfd, "", &above, &period))
        return false;
    while (strlen(up) + sizeof "../cpu.cfs_period_us" < sizeof up) {
        strcat(up, "../");
        if (!read_bandwidth(dirfd, up, &above, &above_period))
            return false;
        if (above > 0)
            return (unsigned __int128)own * above_period > (unsigned __int128)above * period;
    }
    return false;
}

/*
 * A quota that is more than the nearest ancestor with one has is refused by the kernel
 * (scheduler/sched-bwc.rst, "Hierarchical considerations"): then the cgroup gets none of its own,
 * and that ancestor's holds it. Where a pod's cgroup has the sum of its containers' limits, ours is
 * more by rounding and minima.
 */
static int write_quota(int dirfd, const char *file, const char *text)
{
    int r = io_write_at(dirfd, file, text);

    return r == -EINVAL && exceeds_ancestors(dirfd, text) ? io_write_at(dirfd, file, "-1") : r;
}

static int write_value(int dirfd, const struct cg_file *f, const char *text)
{
    if (f->ctl == CG_CTL_CPUSET)
        return cg_v1_write_cpuset(dirfd, f->file, text);
    return f->flags & CG_FILE_BOUNDED ? write_quota(dirfd, f->file, text)
                                      : io_write_at(dirfd, f->file, text);
}

static int write_inherited(int dirfd, const struct cg_file *f)
{
    autofree char *inherited = NULL;
    char parent[NAME_MAX + 4];
    ssize_t len;

    snprintf(parent, sizeof parent, "../%s", f->file);
    len = io_read_all_at(dirfd, parent, INHERITED_MAX, &inherited);
    if (len < 0)
        return (int)len;
    if (len > 0 && inherited[len - 1] == '\n')
        inherited[len - 1] = '\0';
    return cg_write_lines(&cg_v1_ops, dirfd, f, inherited);
}

static void read_type(const struct cg_controller *c, char buf[static 32])
{
    (void)c;
    strcpy(buf, "v1");
}

static int file_dir(const struct cg_controller *c, enum cg_ctl ctl, struct err *e)
{
    int i = index_of(c, ctl);

    if (i < 0)
        return err_set(e, -ENOENT,
                       "config.json sets a limit of the %s controller, which no cgroup v1 "
                       "hierarchy of this host has; mount it or drop the limit",
                       cg_ctl_name(ctl, false));
    return c->fds[i];
}

static int set_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e)
{
    autoarena a = ARENA_INIT;
    int i = index_of(c, CG_CTL_DEVICES);
    struct cg_dev_exceptions form;
    int r;

    /* Without the controller the runtime restricts no devices here either. */
    if (i < 0)
        return 0;
    r = cg_dev_exceptions_make(devices, &a, &form, e);
    if (r == 0)
        r = cg_dev_v1_apply(c->fds[i], &form, e);
    if (r < 0 && r != -ENOTSUP) {
        char where[PATH_MAX];

        err_wrap(e, "%s",
                 cg_full_path(&c->host->hierarchies[i], c->path, NULL, NULL, where, sizeof where));
    }
    return r;
}

int cg_devices_read(const struct cg_host *host, const char *path, struct arena *a,
                    struct cg_dev_exceptions *ret, struct err *e)
{
    const struct cg_hierarchy *h = cg_host_find(host, CG_CTL_DEVICES);
    autofd dirfd = FD_NONE;
    int r;

    if (!h || h->v2)
        return 0;
    dirfd = cg_hierarchy_open(h, path);
    r = dirfd < 0 ? err_sys(e, dirfd, "cannot open it") : cg_dev_v1_read(dirfd, a, ret, e);
    if (r == -ENOENT || r == -ENODEV) { /* also of one that is removed just now */
        err_reset(e);
        return 0;
    }
    if (r < 0) {
        char where[PATH_MAX];

        err_wrap(e, "%s", cg_full_path(h, path, NULL, NULL, where, sizeof where));
    }
    return r < 0 ? r : 1;
}

static void stat_cpu(const struct cg_controller *c, struct cg_stat *ret)
{
    int acct = index_of(c, CG_CTL_CPUACCT), cpu = index_of(c, CG_CTL_CPU);
    uint64_t ns, quota, period;

    if (acct >= 0 && cg_read_number(c->fds[acct], "cpuacct.usage", &ns) == 0) {
        ret->cpu_usage_us = ns / 1000;
        if (cg_read_number(c->fds[acct], "cpuacct.usage_user", &ns) == 0)
            ret->cpu_user_us = ns / 1000;
        if (cg_read_number(c->fds[acct], "cpuacct.usage_sys", &ns) == 0)
            ret->cpu_system_us = ns / 1000;
        ret->has |= CG_CTL_BIT(CG_CTL_CPUACCT);
    }
    if (cpu >= 0 && cg_read_key(c->fds[cpu], "cpu.stat", "nr_periods", &ret->periods) == 0 &&
        cg_read_key(c->fds[cpu], "cpu.stat", "nr_throttled", &ret->throttled_periods) == 0 &&
        cg_read_key(c->fds[cpu], "cpu.stat", "throttled_time", &ns) == 0) {
        ret->throttled_us = ns / 1000;
        ret->has |= CG_CTL_BIT(CG_CTL_CPU);
    }
    /* -1, for none, is no such number. */
    if (cpu >= 0 && cg_read_number(c->fds[cpu], "cpu.cfs_quota_us", &quota) == 0 &&
        cg_read_number(c->fds[cpu], "cpu.cfs_period_us", &period) == 0 && period > 0)
        ret->cpu_limit_us = quota * 1000000 / period;
}

/* The kernel has no word for "no limit" but a number that no memory has. */
#define NO_LIMIT_BYTES (1ull << 62)

static void stat_memory(int dirfd, struct cg_stat *ret)
{
    if (cg_read_number(dirfd, "memory.usage_in_bytes", &ret->memory_bytes) < 0)
        return;
    cg_read_number(dirfd, "memory.max_usage_in_bytes", &ret->memory_peak_bytes);
    if (cg_read_number(dirfd, "memory.limit_in_bytes", &ret->memory_limit_bytes) == 0 &&
        ret->memory_limit_bytes >= NO_LIMIT_BYTES)
        ret->memory_limit_bytes = CG_UNKNOWN;
    cg_read_key(dirfd, "memory.stat", "total_rss", &ret->anon_bytes);
    cg_read_key(dirfd, "memory.stat", "total_cache", &ret->file_bytes);
    cg_read_key(dirfd, "memory.stat", "total_shmem", &ret->shmem_bytes);
    cg_read_key(dirfd, "memory.stat", "total_swap", &ret->swap_bytes); /* with swap accounting */
    cg_read_number(dirfd, "memory.kmem.usage_in_bytes", &ret->kernel_bytes);
    cg_read_key(dirfd, "memory.oom_control", "oom_kill", &ret->oom_kills);
    ret->has |= CG_CTL_BIT(CG_CTL_MEMORY);
}

static void stat_all(const struct cg_controller *c, struct cg_stat *ret)
{
    int memory = index_of(c, CG_CTL_MEMORY), pids = index_of(c, CG_CTL_PIDS);
    int blkio = index_of(c, CG_CTL_BLKIO);
    static const char io[] = "blkio.throttle.io_service_bytes";

    stat_cpu(c, ret);
    if (memory >= 0)
        stat_memory(c->fds[memory], ret);
    if (pids >= 0 && cg_read_number(c->fds[pids], "pids.current", &ret->pids) == 0) {
        cg_read_number(c->fds[pids], "pids.max", &ret->pids_limit);
        ret->has |= CG_CTL_BIT(CG_CTL_PIDS);
    }
    /* "8:0 Read 4096" lines, and a "Total" of them all. */
    if (blkio >= 0 && cg_read_sum(c->fds[blkio], io, " Read ", &ret->io_read_bytes) == 0 &&
        cg_read_sum(c->fds[blkio], io, " Write ", &ret->io_write_bytes) == 0)
        ret->has |= CG_CTL_BIT(CG_CTL_BLKIO);
}

const struct cg_ops cg_v1_ops = {
    .make = make,
    .file_dir = file_dir,
    .set_devices = set_devices,
    .write = write_value,
    .write_inherited = write_inherited,
    .type = read_type,
    .thread_file = "tasks",
    .stat = stat_all,
};
