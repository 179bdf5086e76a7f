/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/controller.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/limits/properties.h"
#include "cgroup/ops.h"
#include "cgroup/parents.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

/* A line for each network interface is the longest that is copied from a parent. */
#define INHERITED_MAX ((size_t)1 << 20)

/* The hierarchy whose descriptor this is, for messages. */
static const struct cg_hierarchy *hierarchy_of(const struct cg_controller *c, int fd)
{
    for (size_t i = 0; i < c->host->count; i++) {
        if (c->fds[i] == fd)
            return &c->host->hierarchies[i];
    }
    return &c->host->hierarchies[0]; /* the domain of a v2 leaf; v2 has one hierarchy */
}

void cg_init(struct cg_controller *c, const struct cg_host *host, struct cg_parents *parents,
             const char *path, const char *leaf, bool owns_domain)
{
    *c = (struct cg_controller){
        .ops = host->mode == CG_MODE_V2 ? &cg_v2_ops : &cg_v1_ops,
        .host = host,
        .parents = parents,
        .path = path,
        .leaf = leaf,
        .owns_domain = owns_domain,
        .domain_fd = FD_NONE,
    };
    for (size_t i = 0; i < CG_MAX_HIERARCHIES; i++)
        c->fds[i] = FD_NONE;
}

void cg_close(struct cg_controller *c)
{
    for (size_t i = 0; i < CG_MAX_HIERARCHIES; i++)
        fd_close(&c->fds[i]);
    fd_close(&c->domain_fd);
}

static int write_text(const struct cg_controller *c, int dirfd, const struct cg_file *f,
                      const char *text)
{
    if (f->ctl == CG_CTL_CPUSET && c->host->mode != CG_MODE_V2)
        return cg_v1_write_cpuset(dirfd, f->file, text);
    return f->flags & CG_FILE_BOUNDED ? cg_v1_write_quota(dirfd, f->file, text)
                                      : io_write_at(dirfd, f->file, text);
}

/* One write(2), or one per line. */
static int write_lines(const struct cg_controller *c, int dirfd, const struct cg_file *f,
                       const char *text)
{
    char *copy, *cursor, *line;
    int r = 0;

    if (!(f->flags & CG_FILE_LINES) || !strchr(text, '\n'))
        return write_text(c, dirfd, f, text);
    copy = cursor = strdup(text);
    if (!copy)
        return -ENOMEM;
    while (r == 0 && (line = str_next(&cursor, '\n')))
        r = write_text(c, dirfd, f, line);
    free(copy);
    return r;
}

/*
 * v2: what the parent has. The kernel refuses that while there are processes in the cgroup and it
 * has a list (ENOSPC; seen with 6.1); everything that there may ever be means the same, as no
 * cgroup gets more than its parent has.
 */
static int write_no_list(int dirfd, const char *file)
{
    const char *all = str_eq(file, "cpuset.mems") ? "/sys/devices/system/node/possible"
                                                  : "/sys/devices/system/cpu/possible";
    autofree char *list = NULL;
    int r = io_write_at(dirfd, file, "\n"); /* nothing at all would write nothing */

    if (r != -ENOSPC || io_read_all_at(AT_FDCWD, all, INHERITED_MAX, &list) <= 0)
        return r;
    return io_write_at(dirfd, file, list);
}

static int write_value(const struct cg_controller *c, int dirfd, const struct cg_file *f)
{
    autofree char *inherited = NULL;
    char parent[NAME_MAX + 4];
    ssize_t len;

    if (!(f->flags & CG_FILE_INHERIT))
        return write_lines(c, dirfd, f, f->text);
    if (c->host->mode == CG_MODE_V2)
        return write_no_list(dirfd, f->file);
    snprintf(parent, sizeof parent, "../%s", f->file);
    len = io_read_all_at(dirfd, parent, INHERITED_MAX, &inherited);
    if (len < 0)
        return (int)len;
    if (len > 0 && inherited[len - 1] == '\n')
        inherited[len - 1] = '\0';
    return write_lines(c, dirfd, f, inherited);
}

static int write_error(const struct cg_controller *c, int dirfd, const struct cg_file *f, int r,
                       struct err *e)
{
    const char *leaf = dirfd == c->domain_fd ? NULL : c->leaf;
    char where[PATH_MAX], what[160];

    err_sys(e, r, "cannot write \"%s\" to %s", str_escape(f->text, what, sizeof what),
            cg_full_path(hierarchy_of(c, dirfd), c->path, leaf, f->file, where, sizeof where));
    if (r == -ENOENT)
        err_hint(e, "; the %s controller is not enabled there, or this kernel has no such file",
                 cg_ctl_name(f->ctl, c->host->mode == CG_MODE_V2));
    return r;
}

static bool may_be_missing(const struct cg_file *f, int r)
{
    return (r == -ENOENT && f->flags & (CG_FILE_OPTIONAL | CG_FILE_RESET)) ||
           (r == -ENODEV && f->flags & CG_FILE_RESET);
}

/* What a write of one file of a list came to: 0, also when it is to be written again later. */
static int judge_write(const struct cg_files *files, size_t i, int r, bool *either_written,
                       bool *again)
{
    const struct cg_file *f = &files->items[i];
    bool last_either = !(i + 1 < files->count && files->items[i + 1].flags & CG_FILE_EITHER);

    if (f->flags & CG_FILE_EITHER) {
        *either_written = *either_written || r == 0;
        if (r == -ENOENT && (*either_written || !last_either))
            return 0;
    }
    if (may_be_missing(f, r))
        return 0;
    if ((r == -EINVAL || r == -EBUSY) && f->flags & CG_FILE_RETRY) {
        *again = true;
        return 0;
    }
    return r;
}

enum on_failure { STOP, GO_ON };

/* @ret_dirfd  below zero: nobody has the controller, which is no error for a limit taken away */
static int write_one(struct cg_controller *c, const struct cg_file *f, int *ret_dirfd,
                     struct err *e)
{
    bool is_reset = f->flags & CG_FILE_RESET;

    *ret_dirfd = c->ops->file_dir(c, f->ctl, is_reset ? NULL : e);
    if (*ret_dirfd >= 0)
        return write_value(c, *ret_dirfd, f);
    return is_reset ? 0 : *ret_dirfd;
}

/* Returns the first failure. */
static int write_files(struct cg_controller *c, const struct cg_files *files,
                       enum on_failure on_failure, struct err *e)
{
    bool again = false, either_written = false;
    int first = 0, dirfd;

    for (size_t i = 0; i < files->count && (first == 0 || on_failure == GO_ON); i++) {
        int r = write_one(c, &files->items[i], &dirfd, e);

        if (dirfd >= 0) {
            r = judge_write(files, i, r, &either_written, &again);
            if (r < 0)
                write_error(c, dirfd, &files->items[i], r, e);
        }
        first = first < 0 ? first : r < 0 ? r : 0;
    }
    /* Pairs such as quota and period, or memory and swap: each may have had to wait for the other.
     */
    for (size_t i = 0; again && i < files->count && (first == 0 || on_failure == GO_ON); i++) {
        const struct cg_file *f = &files->items[i];
        int r;

        if (!(f->flags & CG_FILE_RETRY))
            continue;
        r = write_one(c, f, &dirfd, e);
        if (r >= 0 || may_be_missing(f, r))
            continue;
        if (dirfd >= 0)
            write_error(c, dirfd, f, r, e);
        first = first < 0 ? first : r;
    }
    return first;
}

/* What the scope is to be told; @files or @devices may be NULL. */
static int unit_properties(const struct cg_controller *c, const struct cg_files *files,
                           const struct cg_dev_table *devices, struct arena *a,
                           struct cg_properties *ret, struct err *e)
{
    int r = 0;

    *ret = (struct cg_properties){0};
    if (files)
        r = cg_properties_limits(files, c->host->mode == CG_MODE_V2, c->leaf != NULL, a, ret, e);
    if (r == 0 && devices)
        r = cg_properties_devices(devices, a, ret, e);
    return r;
}

/* A list that does not name the number of tasks changes others: a scope keeps what it has. */
static void keep_tasks_max(const struct cg_files *files, struct cg_properties *properties)
{
    size_t kept = 0;

    if (files && cg_files_get(files, "pids.max"))
        return;
    for (size_t i = 0; i < properties->count; i++) {
        if (!str_eq(properties->items[i].name, "TasksMax"))
            properties->items[kept++] = properties->items[i];
    }
    properties->count = kept;
}

static int change_unit(struct cg_controller *c, const struct cg_files *files,
                       const struct cg_dev_table *devices, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_properties properties;
    int r = unit_properties(c, files, devices, &a, &properties, e);

    if (r < 0)
        return r;
    keep_tasks_max(files, &properties);
    return properties.count > 0 ? cg_unit_set(c->unit, &properties, e) : 0;
}

static int start_unit(struct cg_controller *c, const struct cg_files *files,
                      const struct cg_dev_table *devices, struct err *e)
{
    autoarena a = ARENA_INIT;
    struct cg_properties properties;
    int r = unit_properties(c, files, devices, &a, &properties, e);

    return r < 0 ? r : cg_unit_start(c->unit, &properties, e);
}

int cg_update(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    int r = c->unit ? change_unit(c, files, NULL, e) : 0;

    if (r == 0)
        r = c->ops->enable(c, files, e);
    return r < 0 ? r : write_files(c, files, STOP, e);
}

int cg_revert(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    int first = c->unit ? change_unit(c, files, NULL, e) : 0, r = write_files(c, files, GO_ON, e);

    return first < 0 ? first : r;
}

int cg_create(struct cg_controller *c, const struct cg_files *files,
              const struct cg_dev_table *devices, struct err *e)
{
    int r = c->unit ? start_unit(c, files, devices, e) : 0;

    if (r == 0)
        r = c->ops->make(c, files, e);
    if (r == 0 && devices && !c->unit)
        r = c->ops->set_devices(c, devices, e);
    if (r == 0)
        r = write_files(c, files, STOP, e);
    return r;
}

static void remove_dir(const struct cg_controller *c, size_t i)
{
    const struct cg_hierarchy *h = &c->host->hierarchies[i];

    if (unlinkat(h->fd, cg_path_relative(c->path), AT_REMOVEDIR) == 0)
        cg_parents_remove(c->parents, h, c->path);
}

/* The leaf, and what was made between it and the domain. */
static void remove_leaf(const struct cg_controller *c)
{
    char name[PATH_MAX], *slash;

    snprintf(name, sizeof name, "%s", c->leaf);
    do {
        unlinkat(c->domain_fd, name, AT_REMOVEDIR);
        slash = strrchr(name, '/');
        if (slash)
            *slash = '\0';
    } while (slash);
}

/* Stopping a scope kills what is in it, so nothing may be assumed of one that was never opened. One
 * that does not exist any more was collected. */
static bool is_known_empty(struct cg_controller *c)
{
    return cg_load(c, NULL) == 0 && cg_is_empty(c);
}

void cg_undo_create(struct cg_controller *c)
{
    for (size_t i = 0; i < c->host->count; i++) {
        bool made = c->made & UINT32_C(1) << i;

        if (made && c->leaf)
            remove_leaf(c);
        else if (made)
            remove_dir(c, i);
        else if (!c->leaf) /* the cgroup itself failed, but its parents may have been made */
            cg_parents_remove(c->parents, &c->host->hierarchies[i], c->path);
    }
    if (c->made_domain)
        remove_dir(c, 0);
    else if (c->leaf && c->owns_domain)
        cg_parents_remove(c->parents, &c->host->hierarchies[0], c->path);
    if (c->unit && c->unit->started && is_known_empty(c))
        (void)cg_unit_stop(c->unit, NULL);
    c->made = 0;
    c->made_domain = false;
    cg_close(c);
}

int cg_load(struct cg_controller *c, struct err *e)
{
    char shown[PATH_MAX];
    bool any = false;

    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];
        int fd = io_open_beneath(h->fd, cg_path_relative(c->path), O_PATH | O_DIRECTORY);

        if (fd >= 0 && c->leaf) {
            fd_close(&c->domain_fd);
            c->domain_fd = fd;
            any = any || c->owns_domain;
            fd = io_open_beneath(fd, c->leaf, O_PATH | O_DIRECTORY);
        }
        if (fd < 0 && fd != -ENOENT)
            return err_sys(e, fd, "cannot open %s",
                           cg_full_path(h, c->path, c->leaf, NULL, shown, sizeof shown));
        fd_close(&c->fds[i]);
        c->fds[i] = fd >= 0 ? fd : FD_NONE;
        any = any || fd >= 0;
    }
    if (!any)
        return err_set(e, -ENOENT, "cgroup %s%s%s does not exist", c->path, c->leaf ? "/" : "",
                       c->leaf ? c->leaf : "");
    return 0;
}

const char *cg_type(const struct cg_controller *c, char buf[static 32])
{
    if (c->host->mode != CG_MODE_V2)
        strcpy(buf, "v1");
    else if (io_read_at(c->fds[0], "cgroup.type", buf, 32) < 0)
        strcpy(buf, "domain"); /* the root has no such file */
    return buf;
}

const char *cg_id(const struct cg_controller *c, struct arena *a)
{
    return c->leaf ? cg_path_join(a, c->path, c->leaf) : c->path;
}

const char *cg_parent(const struct cg_controller *c, struct arena *a)
{
    return c->leaf && !c->owns_domain ? cg_path_parent(a, cg_id(c, a)) : cg_path_parent(a, c->path);
}

int cg_stat(const struct cg_controller *c, struct cg_stat *ret, struct err *e)
{
    (void)e;
    *ret = (struct cg_stat){0};
    c->ops->stat(c, ret);
    return 0;
}

static int add(struct cg_controller *c, pid_t id, bool thread, struct err *e)
{
    char where[PATH_MAX];

    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];
        const char *file = thread ? c->ops->thread_file : "cgroup.procs";
        int r;

        if (c->fds[i] < 0 || (thread && !c->ops->places_threads(h)))
            continue;
        r = io_write_id_at(c->fds[i], file, id);
        if (r < 0)
            return err_sys(e, r, "cannot move %s %d to %s", thread ? "thread" : "process", (int)id,
                           cg_full_path(h, c->path, c->leaf, file, where, sizeof where));
    }
    return 0;
}

int cg_add_process(struct cg_controller *c, pid_t pid, struct err *e)
{
    return add(c, pid, false, e);
}

int cg_add_thread(struct cg_controller *c, pid_t tid, struct err *e)
{
    return add(c, tid, true, e);
}

int cg_set_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e)
{
    return c->unit ? change_unit(c, NULL, devices, e) : c->ops->set_devices(c, devices, e);
}

void cg_keep_warm(struct cg_controller *c, pid_t pid)
{
    /* One lock for all hierarchies. */
    if (c->fds[0] >= 0)
        (void)io_write_id_at(c->fds[0], "cgroup.procs", pid);
}

static int change_device(struct cg_controller *c, struct cg_dev_rules *rules,
                         struct cg_dev_rule device, struct arena *a, struct err *e)
{
    struct cg_dev_table table;
    int r;

    cg_dev_rules_add(a, rules, device);
    r = cg_dev_compile(rules, a, &table, e);
    return r < 0 ? r : cg_set_devices(c, &table, e);
}

int cg_add_device(struct cg_controller *c, struct cg_dev_rules *rules, struct cg_dev_rule device,
                  struct arena *a, struct err *e)
{
    device.allow = true;
    return change_device(c, rules, device, a, e);
}

int cg_remove_device(struct cg_controller *c, struct cg_dev_rules *rules, struct cg_dev_rule device,
                     struct arena *a, struct err *e)
{
    device.allow = false;
    return change_device(c, rules, device, a, e);
}

int cg_update_cpuset(struct cg_controller *c, const char *cpus, const char *mems, struct err *e)
{
    struct cg_file items[2];
    struct cg_files files = {.items = items};

    if (!str_empty(cpus))
        items[files.count++] =
            (struct cg_file){.ctl = CG_CTL_CPUSET, .file = "cpuset.cpus", .text = cpus};
    if (!str_empty(mems))
        items[files.count++] =
            (struct cg_file){.ctl = CG_CTL_CPUSET, .file = "cpuset.mems", .text = mems};
    return cg_update(c, &files, e);
}
