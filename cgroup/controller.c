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
#include <unistd.h>

/* The hierarchy whose descriptor this is, for messages. */
static const struct cg_hierarchy *hierarchy_of(const struct cg_controller *c, int fd)
{
    for (size_t i = 0; i < c->host->count; i++) {
        if (c->fds[i] == fd)
            return &c->host->hierarchies[i];
    }
    return &c->host->hierarchies[0];
}

static const struct cg_ops *ops_of(enum cg_mode mode)
{
    static const struct cg_ops *const backends[] = {
        [CG_MODE_V1] = &cg_v1_ops,
        [CG_MODE_HYBRID] = &cg_v1_ops,
        [CG_MODE_V2] = &cg_v2_ops,
    };

    return backends[mode];
}

void cg_init(struct cg_controller *c, const struct cg_host *host, struct cg_parents *parents,
             const char *path, const char *leaf)
{
    *c = (struct cg_controller){
        .ops = ops_of(host->mode),
        .host = host,
        .parents = parents,
        .path = path,
        .leaf = leaf,
        .borrowed = leaf != NULL,
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

/* One write(2), or one per line. */
int cg_write_lines(const struct cg_ops *ops, int dirfd, const struct cg_file *f, const char *text)
{
    char *copy, *cursor, *line;
    int r = 0;

    if (!(f->flags & CG_FILE_LINES) || !strchr(text, '\n'))
        return ops->write(dirfd, f, text);
    copy = cursor = strdup(text);
    if (!copy)
        return -ENOMEM;
    while (r == 0 && (line = str_next(&cursor, '\n')))
        r = ops->write(dirfd, f, line);
    free(copy);
    return r;
}

static int write_error(const struct cg_controller *c, int dirfd, const struct cg_file *f, int r,
                       struct err *e)
{
    char where[PATH_MAX], what[160];

    err_sys(e, r, "cannot write \"%s\" to %s", str_escape(f->text, what, sizeof what),
            cg_full_path(hierarchy_of(c, dirfd), c->path, c->leaf, f->file, where, sizeof where));
    if (r == -ENOENT)
        err_hint(e, "; the %s controller is not enabled there, or this kernel has no such file",
                 cg_ctl_name(f->ctl, c->ops->v2_names));
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
    if (*ret_dirfd >= 0 && f->flags & CG_FILE_INHERIT)
        return c->ops->write_inherited(*ret_dirfd, f);
    if (*ret_dirfd >= 0)
        return cg_write_lines(c->ops, *ret_dirfd, f, f->text);
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
    /* Pairs such as quota and period, or memory and swap: each may have to wait for the other. */
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

static int change_unit(const struct cg_controller *c, const struct cg_change *want, struct err *e)
{
    return want->properties.count > 0 ? cg_unit_set(c->unit, &want->properties, e) : 0;
}

/* Of a scope they are properties. */
static int set_devices(struct cg_controller *c, const struct cg_change *want, struct err *e)
{
    return want->devices && !c->unit ? c->ops->set_devices(c, want->devices, e) : 0;
}

int cg_update(struct cg_controller *c, const struct cg_change *want, struct err *e)
{
    int r = c->unit ? change_unit(c, want, e) : 0;

    if (r == 0 && c->ops->enable)
        r = c->ops->enable(c, &want->files, e);
    if (r == 0)
        r = write_files(c, &want->files, STOP, e);
    return r < 0 ? r : set_devices(c, want, e);
}

int cg_revert(struct cg_controller *c, const struct cg_change *want, struct err *e)
{
    int results[] = {
        c->unit ? change_unit(c, want, e) : 0,
        write_files(c, &want->files, GO_ON, e),
        set_devices(c, want, e),
    };
    int first = 0;

    for (size_t i = 0; i < ARRAY_SIZE(results) && first == 0; i++)
        first = results[i];
    return first;
}

int cg_create(struct cg_controller *c, const struct cg_change *want, struct err *e)
{
    int r = c->unit ? cg_unit_start(c->unit, &want->properties, e) : 0;

    if (r == 0)
        r = c->ops->make(c, &want->files, e);
    if (r == 0)
        r = set_devices(c, want, e);
    return r < 0 ? r : write_files(c, &want->files, STOP, e);
}

static void remove_dir(const struct cg_controller *c, size_t i)
{
    const struct cg_hierarchy *h = &c->host->hierarchies[i];

    if (unlinkat(cg_hierarchy_fd(h), cg_path_relative(c->path), AT_REMOVEDIR) == 0)
        cg_parents_remove(c->parents, h, c->path);
}

/* Stopping a scope kills what is in it, so nothing may be assumed of one that was never opened. One
 * that does not exist any more was collected. */
static bool is_known_empty(struct cg_controller *c)
{
    return cg_load(c, NULL) == 0 && cg_is_empty(c, NULL) == 1;
}

void cg_undo_create(struct cg_controller *c)
{
    for (size_t i = 0; i < c->host->count && (!c->borrowed || c->leaf); i++) {
        bool made = c->made & UINT32_C(1) << i;

        if (made && c->leaf)
            unlinkat(c->domain_fd, c->leaf, AT_REMOVEDIR);
        else if (made)
            remove_dir(c, i);
        else if (!c->leaf) /* the cgroup itself failed, but its parents may have been made */
            cg_parents_remove(c->parents, &c->host->hierarchies[i], c->path);
    }
    if (c->unit && c->unit->started && is_known_empty(c))
        (void)cg_unit_stop(c->unit, NULL);
    c->made = 0;
    cg_close(c);
}

int cg_load(struct cg_controller *c, struct err *e)
{
    char shown[PATH_MAX];
    bool any = false;

    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];
        int fd = cg_hierarchy_open(h, c->path);

        if (fd >= 0 && c->leaf) {
            fd_close(&c->domain_fd);
            c->domain_fd = fd;
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
    c->ops->type(c, buf);
    return buf;
}

const char *cg_id(const struct cg_controller *c, struct arena *a)
{
    return c->leaf ? cg_path_join(a, c->path, c->leaf) : c->path;
}

const char *cg_parent(const struct cg_controller *c, struct arena *a)
{
    return cg_path_parent(a, cg_id(c, a));
}

/* "avg10=1.23": 123 */
static uint64_t hundredths(const char *text)
{
    uint64_t whole, part;
    size_t len = strcspn(text, ".");

    if (text[len] != '.' || str_to_u64(text, len, &whole) < 0 ||
        str_to_u64(text + len + 1, strcspn(text + len + 1, " "), &part) < 0)
        return CG_UNKNOWN;
    return whole * 100 + part;
}

static void take_pressure(const char *line, uint64_t *ret_us, uint64_t *ret_10s)
{
    const char *recent = strstr(line, "avg10="), *total = strstr(line, "total=");

    if (recent)
        *ret_10s = hundredths(recent + strlen("avg10="));
    if (total && str_to_u64(total + strlen("total="), strlen(total + strlen("total=")), ret_us) < 0)
        *ret_us = CG_UNKNOWN;
}

struct cg_pressure cg_pressure_parse(char *text)
{
    struct cg_pressure ret = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN};
    const char *line;

    while ((line = str_next(&text, '\n'))) {
        if (str_starts(line, "some "))
            take_pressure(line, &ret.some_us, &ret.some_10s);
        else if (str_starts(line, "full "))
            take_pressure(line, &ret.full_us, &ret.full_10s);
    }
    return ret;
}

void cg_stat(const struct cg_controller *c, struct cg_stat *ret)
{
    static const struct cg_pressure none = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN};

    *ret = (struct cg_stat){
        .cpu_user_us = CG_UNKNOWN,
        .cpu_system_us = CG_UNKNOWN,
        .cpu_limit_us = CG_UNKNOWN,
        .memory_peak_bytes = CG_UNKNOWN,
        .memory_limit_bytes = CG_UNKNOWN,
        .anon_bytes = CG_UNKNOWN,
        .file_bytes = CG_UNKNOWN,
        .shmem_bytes = CG_UNKNOWN,
        .kernel_bytes = CG_UNKNOWN,
        .swap_bytes = CG_UNKNOWN,
        .oom_kills = CG_UNKNOWN,
        .pids_limit = CG_UNKNOWN,
        .cpu = none,
        .memory = none,
        .io = none,
    };
    c->ops->stat(c, ret);
}

void cg_keep_warm(int fd)
{
    if (fd >= 0)
        (void)!write(fd, "0", 1); /* the writer itself */
}

int cg_open_own(const struct cg_host *host)
{
    const struct cg_hierarchy *h = &host->hierarchies[0]; /* one lock for all hierarchies */
    autoarena a = ARENA_INIT;
    struct cg_origin origin;
    char path[PATH_MAX];

    if (host->count == 0 || cg_origin_read(host, getpid(), &a, &origin, NULL) < 0 ||
        !origin.paths[0])
        return FD_NONE;
    cg_full_path(h, origin.paths[0], NULL, "cgroup.procs", path, sizeof path);
    return open(path, O_WRONLY | O_CLOEXEC);
}

/* What a change of a few files, or of the device list alone, is for a scope. */
static int update_part(struct cg_controller *c, struct cg_change *want, struct arena *a,
                       struct err *e)
{
    int r = 0;

    if (c->unit && want->files.count > 0)
        r = cg_properties_limits(&want->files, c->ops->v2_names, a, &want->properties, e);
    if (r == 0 && c->unit && want->devices)
        r = cg_properties_devices(want->devices, a, &want->properties, e);
    return r < 0 ? r : cg_update(c, want, e);
}

int cg_update_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct arena *a,
                      struct err *e)
{
    struct cg_change want = {.devices = devices};

    return update_part(c, &want, a, e);
}

static int change_device(struct cg_controller *c, struct cg_dev_rules *rules,
                         struct cg_dev_rule device, struct arena *a, struct err *e)
{
    struct cg_dev_table table;
    int r;

    cg_dev_rules_add(a, rules, device);
    r = cg_dev_compile(rules, a, &table, e);
    return r < 0 ? r : cg_update_devices(c, &table, a, e);
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
    autoarena a = ARENA_INIT;
    struct cg_change want = {0};

    if (!str_empty(cpus))
        cg_files_add(&a, &want.files, "cpuset.cpus", cpus, c->ops->v2_names);
    if (!str_empty(mems))
        cg_files_add(&a, &want.files, "cpuset.mems", mems, c->ops->v2_names);
    return update_part(c, &want, &a, e);
}
