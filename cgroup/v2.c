/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The v2 backend: one directory, or a threaded child of one.
 * Kernel: admin-guide/cgroup-v2.rst, "Threads", "Controlling Controllers", "No Internal Process
 * Constraint".
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"
#include "cgroup/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

/* What cgroup v2 knows as a controller; the rest of a limit list has no file to enable. */
#define V2_CONTROLLERS                                                                             \
    (CG_CTL_THREADED | CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_BLKIO) |                      \
     CG_CTL_BIT(CG_CTL_HUGETLB) | CG_CTL_BIT(CG_CTL_RDMA) | CG_CTL_BIT(CG_CTL_MISC))

#define SUBTREE_CONTROL "cgroup.subtree_control"

/* A list of all CPUs. */
#define INHERITED_MAX ((size_t)1 << 20)

static int enable_error(const struct cg_hierarchy *h, const char *path, enum cg_ctl ctl, int r,
                        struct err *e)
{
    char where[PATH_MAX];
    const char *name = cg_ctl_name(ctl, true);

    cg_full_path(h, path, NULL, NULL, where, sizeof where);
    if (r == -EBUSY)
        return err_sys(e, r,
                       "%s holds processes, so it cannot give the %s controller to its children; "
                       "move them into a child cgroup or choose another linux.cgroupsPath",
                       where, name);
    if (r == -ENOENT)
        return err_sys(e, r,
                       "the %s controller is not available in %s: it is not enabled above it, "
                       "or mounted as cgroup v1",
                       name, where);
    return err_sys(e, r, "cannot enable the %s controller in %s/" SUBTREE_CONTROL, name, where);
}

int cg_passes_on(const struct cg_controller *c, enum cg_ctl ctl, struct err *e)
{
    char text[512], where[PATH_MAX];
    ssize_t len = io_read_at(c->domain_fd, SUBTREE_CONTROL, text, sizeof text);

    if (len < 0)
        return err_sys(e, (int)len, "cannot read %s",
                       cg_full_path(&c->host->hierarchies[0], c->path, NULL, SUBTREE_CONTROL, where,
                                    sizeof where));
    return (cg_ctl_parse_list(text, ' ', true) & CG_CTL_BIT(ctl)) != 0;
}

int cg_hold_back(const struct cg_controller *c, enum cg_ctl ctl, struct err *e)
{
    char text[32], where[PATH_MAX];
    int r;

    snprintf(text, sizeof text, "-%s", cg_ctl_name(ctl, true));
    r = io_write_at(c->domain_fd, SUBTREE_CONTROL, text);
    return r < 0 ? err_sys(e, r, "cannot write \"%s\" to %s", text,
                           cg_full_path(&c->host->hierarchies[0], c->path, NULL, SUBTREE_CONTROL,
                                        where, sizeof where))
                 : 0;
}

/* Enable what is missing in one cgroup's subtree_control. Never disables. */
static int enable_in(const struct cg_hierarchy *h, int dirfd, const char *path, unsigned needed,
                     struct err *e)
{
    char text[512];
    ssize_t len = io_read_at(dirfd, SUBTREE_CONTROL, text, sizeof text);
    unsigned enabled = len < 0 ? 0 : cg_ctl_parse_list(text, ' ', true);

    for (unsigned ctl = 0; ctl < CG_CTL_COUNT; ctl++) {
        int r;

        if (!(needed & ~enabled & CG_CTL_BIT(ctl)))
            continue;
        /* One by one, so that a failure names its controller. */
        snprintf(text, sizeof text, "+%s", cg_ctl_name((enum cg_ctl)ctl, true));
        r = io_write_at(dirfd, SUBTREE_CONTROL, text);
        if (r < 0)
            return enable_error(h, path, (enum cg_ctl)ctl, r, e);
    }
    return 0;
}

/* From the root to the parent of @path: every level has to pass the controllers on. */
static int enable_down(const struct cg_hierarchy *h, const char *path, unsigned needed,
                       struct err *e)
{
    char level[PATH_MAX];

    if (needed == 0)
        return 0;
    for (size_t end = 0; path[end];) {
        autofd fd = FD_NONE;
        int r;

        snprintf(level, sizeof level, "%.*s", end ? (int)end : 1, path);
        fd = cg_hierarchy_open(h, level);
        if (fd < 0)
            return err_sys(e, fd, "cannot open %s%s", h->mount_point, level);
        r = enable_in(h, fd, level, needed, e);
        if (r < 0)
            return r;
        end += 1 + strcspn(path + end + 1, "/");
        if (path[end] == '\0')
            break;
    }
    return 0;
}

/*
 * A new cgroup is a normal domain; below a threaded domain it is "domain invalid" until it is told
 * to be threaded, and nothing may happen in between but this.
 */
static int make_leaf(struct cg_controller *c, const struct cg_hierarchy *h, struct err *e)
{
    char type[32], where[PATH_MAX];
    int fd, r = mkdirat(c->domain_fd, c->leaf, 0755) < 0 ? -errno : 0;

    if (r == 0)
        c->made |= 1;
    else if (r != -EEXIST)
        return err_sys(e, r, "cannot make %s",
                       cg_full_path(h, c->path, c->leaf, NULL, where, sizeof where));
    fd = io_open_beneath(c->domain_fd, c->leaf, O_PATH | O_DIRECTORY);
    if (fd < 0)
        return err_sys(e, fd, "cannot open %s",
                       cg_full_path(h, c->path, c->leaf, NULL, where, sizeof where));
    fd_close(&c->fds[0]);
    c->fds[0] = fd;
    if (io_read_at(fd, "cgroup.type", type, sizeof type) < 0 || !str_eq(type, "threaded")) {
        r = io_write_at(fd, "cgroup.type", "threaded");
        if (r < 0)
            return err_sys(e, r, "cannot write \"threaded\" to %s",
                           cg_full_path(h, c->path, c->leaf, "cgroup.type", where, sizeof where));
    }
    return 0;
}

static int enable(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    const struct cg_hierarchy *h = &c->host->hierarchies[0];
    unsigned needed = cg_files_controllers(files) & V2_CONTROLLERS;
    int r = c->borrowed ? 0 : enable_down(h, c->path, needed, e);

    return r < 0 || !c->leaf ? r : enable_in(h, c->domain_fd, c->path, needed & CG_CTL_THREADED, e);
}

static int open_borrowed(const struct cg_controller *c, const struct cg_hierarchy *h, struct err *e)
{
    char where[PATH_MAX];
    int fd = cg_hierarchy_open(h, c->path);

    return fd >= 0 ? fd
                   : err_sys(e, fd, "cannot open %s",
                             cg_full_path(h, c->path, NULL, NULL, where, sizeof where));
}

static int make(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    const struct cg_hierarchy *h = &c->host->hierarchies[0];
    bool made = false;
    int fd = c->borrowed ? open_borrowed(c, h, e) : cg_make_dir(c->parents, h, c->path, &made, e);
    int r;

    if (fd < 0)
        return fd;
    fd_close(c->leaf ? &c->domain_fd : &c->fds[0]);
    *(c->leaf ? &c->domain_fd : &c->fds[0]) = fd;
    c->made |= made;
    r = c->leaf ? make_leaf(c, h, e) : 0;
    return r < 0 ? r : enable(c, files, e);
}

static int file_dir(const struct cg_controller *c, enum cg_ctl ctl, struct err *e)
{
    if (!c->leaf || CG_CTL_THREADED & CG_CTL_BIT(ctl))
        return c->fds[0];
    return err_set(e, -EOPNOTSUPP,
                   "the %s controller cannot limit %s/%s: threads of one process share "
                   "it, only cpu, cpuset and pids limits can differ between them",
                   cg_ctl_name(ctl, true), c->path, c->leaf);
}

static int set_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_bpf_program program;
    int r = cg_bpf_device_program(devices, &a, &program, e);

    if (r == 0)
        r = cg_bpf_device_attach(c->fds[0], &program, e);
    if (r < 0) {
        char where[PATH_MAX];

        err_wrap(e, "%s",
                 cg_full_path(&c->host->hierarchies[0], c->path, NULL, NULL, where, sizeof where));
    }
    return r;
}

static int write_value(int dirfd, const struct cg_file *f, const char *text)
{
    return io_write_at(dirfd, f->file, text);
}

/*
 * The kernel refuses that while there are processes in the cgroup and it has a list (ENOSPC; seen
 * with 6.1); everything that there may ever be means the same, as no cgroup gets more than its
 * parent has.
 */
static int write_inherited(int dirfd, const struct cg_file *f)
{
    const char *all = str_eq(f->file, "cpuset.mems") ? "/sys/devices/system/node/possible"
                                                     : "/sys/devices/system/cpu/possible";
    autofree char *list = NULL;
    int r = io_write_at(dirfd, f->file, "\n"); /* nothing at all would write nothing */

    if (r != -ENOSPC || io_read_all_at(AT_FDCWD, all, INHERITED_MAX, &list) <= 0)
        return r;
    return io_write_at(dirfd, f->file, list);
}

/* Linux 5.14: the kernel kills what is forked meanwhile, too. */
static int kill_all(struct cg_controller *c)
{
    int dirfd = c->leaf ? FD_NONE : c->fds[0];

    return dirfd < 0 ? -EOPNOTSUPP : io_write_at(dirfd, "cgroup.kill", "1");
}

static void read_type(const struct cg_controller *c, char buf[static 32])
{
    if (io_read_at(c->fds[0], "cgroup.type", buf, 32) < 0)
        strcpy(buf, "domain"); /* the root has no such file */
}

/* "max", for none, is no number. The kernel takes no quota that makes the product too large. */
static void stat_cpu_limit(int dirfd, struct cg_stat *ret)
{
    char text[64], *period_text = text;
    uint64_t quota, period;
    const char *quota_text;

    if (io_read_at(dirfd, "cpu.max", text, sizeof text) < 0)
        return;
    quota_text = str_next(&period_text, ' ');
    if (period_text && str_to_u64(quota_text, strlen(quota_text), &quota) == 0 &&
        str_to_u64(period_text, strlen(period_text), &period) == 0 && period > 0)
        ret->cpu_limit_us = quota * 1000000 / period;
}

static void stat_cpu(int dirfd, struct cg_stat *ret)
{
    if (cg_read_key(dirfd, "cpu.stat", "usage_usec", &ret->cpu_usage_us) == 0) {
        cg_read_key(dirfd, "cpu.stat", "user_usec", &ret->cpu_user_us);
        cg_read_key(dirfd, "cpu.stat", "system_usec", &ret->cpu_system_us);
        ret->has |= CG_CTL_BIT(CG_CTL_CPUACCT);
    }
    if (cg_read_key(dirfd, "cpu.stat", "nr_periods", &ret->periods) == 0 &&
        cg_read_key(dirfd, "cpu.stat", "nr_throttled", &ret->throttled_periods) == 0 &&
        cg_read_key(dirfd, "cpu.stat", "throttled_usec", &ret->throttled_us) == 0)
        ret->has |= CG_CTL_BIT(CG_CTL_CPU);
    stat_cpu_limit(dirfd, ret);
}

static void stat_memory(int dirfd, struct cg_stat *ret)
{
    if (cg_read_number(dirfd, "memory.current", &ret->memory_bytes) < 0)
        return;
    cg_read_number(dirfd, "memory.peak", &ret->memory_peak_bytes);
    cg_read_number(dirfd, "memory.max", &ret->memory_limit_bytes);
    cg_read_number(dirfd, "memory.swap.current", &ret->swap_bytes);
    cg_read_key(dirfd, "memory.stat", "anon", &ret->anon_bytes);
    cg_read_key(dirfd, "memory.stat", "file", &ret->file_bytes);
    cg_read_key(dirfd, "memory.stat", "shmem", &ret->shmem_bytes);
    cg_read_key(dirfd, "memory.stat", "kernel", &ret->kernel_bytes); /* Linux 5.18 */
    cg_read_key(dirfd, "memory.events", "oom_kill", &ret->oom_kills);
    ret->has |= CG_CTL_BIT(CG_CTL_MEMORY);
}

static struct cg_pressure read_pressure(int dirfd, const char *file)
{
    char text[256];

    if (io_read_at(dirfd, file, text, sizeof text) < 0)
        text[0] = '\0';
    return cg_pressure_parse(text);
}

static void stat_all(const struct cg_controller *c, struct cg_stat *ret)
{
    int own = c->fds[0];
    int domain = c->leaf ? FD_NONE : own; /* a leaf has no memory and io of its own */

    stat_cpu(own, ret);
    if (cg_read_number(own, "pids.current", &ret->pids) == 0) {
        cg_read_number(own, "pids.max", &ret->pids_limit);
        ret->has |= CG_CTL_BIT(CG_CTL_PIDS);
    }
    ret->cpu = read_pressure(own, "cpu.pressure");
    if (domain < 0)
        return;
    stat_memory(domain, ret);
    /* "8:0 rbytes=4096 wbytes=0 rios=1 ..." */
    if (cg_read_sum(domain, "io.stat", " rbytes=", &ret->io_read_bytes) == 0 &&
        cg_read_sum(domain, "io.stat", " wbytes=", &ret->io_write_bytes) == 0)
        ret->has |= CG_CTL_BIT(CG_CTL_BLKIO);
    ret->memory = read_pressure(domain, "memory.pressure");
    ret->io = read_pressure(domain, "io.pressure");
}

const struct cg_ops cg_v2_ops = {
    .make = make,
    .enable = enable,
    .file_dir = file_dir,
    .set_devices = set_devices,
    .write = write_value,
    .write_inherited = write_inherited,
    .kill = kill_all,
    .type = read_type,
    .thread_file = "cgroup.threads",
    .v2_names = true,
    .stat = stat_all,
};
