/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/cgroup_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "osc-unit-"

struct arena kit_arena;
struct cg_host kit_host;
struct cg_host kit_v2_host;
const struct cg_files kit_no_limits;
char kit_base[64];
static const char *skip_reason;
static pid_t owner;

char *kit_sub(const char *name)
{
    return arena_printf(&kit_arena, "%s/%s", kit_base, name);
}

/* O_PATH of a cgroup directory, FD_NONE if it is not there. */
static int open_cgroup(const struct cg_hierarchy *h, const char *path)
{
    int fd = openat(h->fd, path[1] ? path + 1 : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? FD_NONE : fd;
}

bool kit_exists(const struct cg_hierarchy *h, const char *path)
{
    autofd fd = open_cgroup(h, path);

    return fd >= 0;
}

unsigned kit_count_existing(const struct cg_host *host, const char *path)
{
    unsigned count = 0;

    for (size_t i = 0; i < host->count; i++)
        count += kit_exists(&host->hierarchies[i], path);
    return count;
}

void kit_make_cgroup(const struct cg_hierarchy *h, const char *path)
{
    cr_assert(mkdirat(h->fd, path + 1, 0755) == 0 || errno == EEXIST, "%s%s: %s", h->mount_point,
              path, strerror(errno));
}

const char *kit_read_value(const struct cg_hierarchy *h, const char *path, const char *file)
{
    autofd dir = open_cgroup(h, path);
    autofd fd = dir < 0 ? FD_NONE : openat(dir, file, O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (len < 0)
        return "(none)";
    return arena_strndup(&kit_arena, text, (size_t)len - (len > 0 && text[len - 1] == '\n'));
}

int kit_write_value(const struct cg_hierarchy *h, const char *path, const char *file,
                    const char *text)
{
    autofd dir = open_cgroup(h, path);
    autofd fd = dir < 0 ? FD_NONE : openat(dir, file, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -ENOENT;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int kit_write_pid(const struct cg_hierarchy *h, const char *path, const char *file, pid_t pid)
{
    return kit_write_value(h, path, file, arena_printf(&kit_arena, "%d", pid));
}

const char *kit_where(const struct cg_hierarchy *h, pid_t pid)
{
    char line[PATH_MAX + 256], name[64];
    const char *found = "(nowhere)";
    FILE *f;

    snprintf(name, sizeof name, "/proc/%d/cgroup", pid);
    f = fopen(name, "re");
    while (f && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':') + 1, *path = strchr(controllers, ':');

        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (h->v2 ? str_starts(line, "0:") : str_eq(controllers, h->name))
            found = arena_strdup(&kit_arena, path);
    }
    if (f)
        fclose(f);
    return found;
}

const char *kit_seen_as(const struct cg_hierarchy *h, const char *path)
{
    if (str_eq(h->root, "/"))
        return path;
    return str_eq(path, "/") ? h->root : arena_printf(&kit_arena, "%s%s", h->root, path);
}

void kit_expect_where(const struct cg_host *host, pid_t pid, const char *path, const char *what)
{
    for (size_t i = 0; i < host->count; i++) {
        const struct cg_hierarchy *h = &host->hierarchies[i];

        cr_expect(str_eq(kit_where(h, pid), kit_seen_as(h, path)),
                  "%s: %d in %s: expected %s, got %s", what, pid, h->name, kit_seen_as(h, path),
                  kit_where(h, pid));
    }
}

/*
 * Remove a cgroup and what is below it. False if something is left. Nothing is ever signalled for
 * being in there: a defect in what is tested may have put a process of the host in.
 */
static bool remove_tree(int at, const char *name)
{
    autodir dir = io_opendir_at(at, name);
    struct dirent *entry;

    if (!dir)
        return errno == ENOENT;
    while ((entry = io_next_entry(dir))) {
        if (entry->d_type == DT_DIR)
            remove_tree(dirfd(dir), entry->d_name);
    }
    return unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* What tests that crashed have left: their process is gone. */
static void remove_stale(const struct cg_hierarchy *h)
{
    autodir dir = io_opendir_at(h->fd, ".");
    struct dirent *entry;

    while ((entry = io_next_entry(dir))) {
        int pid;

        if (sscanf(entry->d_name, PREFIX "%d", &pid) == 1 && kill(pid, 0) < 0 && errno == ESRCH)
            remove_tree(h->fd, entry->d_name);
    }
}

static bool writable(const struct cg_hierarchy *h)
{
    if (mkdirat(h->fd, kit_base + 1, 0755) < 0)
        return false;
    return unlinkat(h->fd, kit_base + 1, AT_REMOVEDIR) == 0;
}

static void open_v2(void)
{
    const struct cg_hierarchy *h = NULL;
    struct cg_hierarchy *own = &kit_v2_host.hierarchies[0];

    for (size_t i = 0; i < kit_host.count; i++)
        h = kit_host.hierarchies[i].v2 ? &kit_host.hierarchies[i] : h;
    if (!h)
        return;
    kit_make_cgroup(h, kit_base);
    kit_v2_host.mode = CG_MODE_V2;
    kit_v2_host.count = 1;
    *own = *h;
    own->fd = open_cgroup(h, kit_base);
    own->root = kit_seen_as(h, kit_base);
    own->mount_point = arena_printf(&kit_arena, "%s%s", h->mount_point, kit_base);
    own->controllers =
        cg_ctl_parse_list(kit_read_value(h, kit_base, "cgroup.controllers"), ' ', true);
}

/* A test that skips itself is not followed by its .fini. */
static void leave_nothing(void)
{
    if (getpid() == owner) {
        kit_end_children();
        kit_remove_cgroups();
    }
}

void kit_start(void)
{
    struct err e = ERR_INIT;

    owner = getpid();
    atexit(leave_nothing);
    snprintf(kit_base, sizeof kit_base, "/" PREFIX "%d", owner);
    if (geteuid() != 0) {
        skip_reason = "needs root";
        return;
    }
    if (cg_host_open(&kit_arena, &kit_host, &e) < 0) {
        skip_reason = arena_strdup(&kit_arena, e.text);
        return;
    }
    for (size_t i = 0; i < kit_host.count; i++) {
        remove_stale(&kit_host.hierarchies[i]);
        if (!writable(&kit_host.hierarchies[i]))
            skip_reason = arena_printf(&kit_arena, "cannot make cgroups in %s: %s",
                                       kit_host.hierarchies[i].mount_point, strerror(errno));
    }
}

bool kit_remove_cgroup(const struct cg_hierarchy *h, const char *path)
{
    return remove_tree(h->fd, path + 1);
}

bool kit_remove_cgroups(void)
{
    bool left = false;

    for (size_t i = 0; i < kit_host.count; i++)
        left = !kit_remove_cgroup(&kit_host.hierarchies[i], kit_base) || left;
    return !left;
}

void kit_finish(void)
{
    bool removed = false;

    kit_end_children();
    if (kit_v2_host.count > 0)
        fd_close(&kit_v2_host.hierarchies[0].fd);
    for (int tries = 0; !removed && tries < 200; tries++) {
        removed = kit_remove_cgroups();
        if (!removed)
            io_sleep_ms(10);
    }
    cr_expect(removed, "%s is left behind", kit_base);
    cg_host_close(&kit_host);
    arena_free(&kit_arena);
}

void kit_need_host(void)
{
    if (skip_reason)
        cr_skip_test("%s", skip_reason);
}

void kit_need_v1(void)
{
    kit_need_host();
    if (kit_host.mode == CG_MODE_V2)
        cr_skip_test("no v1 controller is mounted");
}

const struct cg_hierarchy *kit_need_v1_ctl(enum cg_ctl ctl)
{
    const struct cg_hierarchy *h;

    kit_need_v1();
    h = cg_host_find(&kit_host, ctl);
    if (!h || h->v2)
        cr_skip_test("no v1 %s hierarchy", cg_ctl_name(ctl, false));
    return h;
}

struct cg_hierarchy *kit_need_v2(void)
{
    kit_need_host();
    open_v2();
    if (kit_v2_host.count == 0)
        cr_skip_test("no cgroup2 file system is mounted");
    return &kit_v2_host.hierarchies[0];
}

static int with_change(struct cg_controller *c, const struct cg_files *files,
                       const struct cg_dev_table *devices,
                       int (*put)(struct cg_controller *, const struct cg_change *, struct err *),
                       struct err *e)
{
    bool v2 = c->host->mode == CG_MODE_V2;
    struct cg_change want = {.devices = devices};
    int r = 0;

    if (files)
        want.files = *files;
    if (c->unit && files)
        r = cg_properties_limits(files, v2, &kit_arena, &want.properties, e);
    if (c->unit && devices && r == 0)
        r = cg_properties_devices(devices, &kit_arena, &want.properties, e);
    return r < 0 ? r : put(c, &want, e);
}

int kit_put_new(struct cg_controller *c, const struct cg_files *files,
                const struct cg_dev_table *devices, struct err *e)
{
    return with_change(c, files, devices, cg_create, e);
}

int kit_put(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    return with_change(c, files, NULL, cg_update, e);
}

int kit_put_back(struct cg_controller *c, const struct cg_files *files, struct err *e)
{
    return with_change(c, files, NULL, cg_revert, e);
}

int kit_put_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct err *e)
{
    return with_change(c, NULL, devices, cg_update, e);
}

void kit_expect_ok(int r, const struct err *e, const char *what)
{
    cr_assert_eq(r, 0, "%s: %d %s", what, r, e->text);
}

struct cg_controller kit_create(const struct cg_host *host, struct cg_parents *parents,
                                const char *path, const char *leaf, const struct cg_files *files)
{
    struct cg_controller c;
    struct err e = ERR_INIT;

    cg_init(&c, host, parents, path, leaf);
    kit_expect_ok(kit_put_new(&c, files, NULL, &e), &e, "create");
    return c;
}

void kit_delete_ok(struct cg_controller *c)
{
    struct err e = ERR_INIT;

    kit_expect_ok(cg_delete(c, 10000, &e), &e, "delete");
}

struct cg_files kit_files_of(const struct cg_limits *limits, bool v2)
{
    const char **warnings = NULL;
    size_t warning_count = 0;
    struct cg_files files;
    struct err e = ERR_INIT;

    kit_expect_ok(cg_limits_files(limits, v2, &kit_arena, &files, &warnings, &warning_count, &e),
                  &e, "limits");
    return files;
}

bool kit_in_list(const struct cg_pids *pids, pid_t pid)
{
    size_t found = 0;

    for (size_t i = 0; i < pids->count; i++)
        found += pids->items[i] == pid;
    cr_expect_leq(found, 1, "%d is listed %zu times", pid, found);
    return found > 0;
}

struct kit_split kit_create_split(struct cg_parents *p, const char *path)
{
    struct kit_split s;

    s.domain = kit_create(&kit_v2_host, p, path, NULL, &kit_no_limits);
    s.leaf = kit_create(&kit_v2_host, NULL, path, "vcpu", &kit_no_limits);
    return s;
}

#define MARKERS_AT "/tmp/"

char kit_marker_dir[] = MARKERS_AT "osc-markers-XXXXXX";

struct cg_parents kit_open_markers(void)
{
    kit_make_dir(kit_marker_dir);
    return (struct cg_parents){
        .dirfd = open(MARKERS_AT, O_PATH | O_DIRECTORY | O_CLOEXEC),
        .table = kit_marker_dir + strlen(MARKERS_AT),
    };
}

unsigned kit_count_markers(void)
{
    autodir dir = io_opendir_at(AT_FDCWD, kit_marker_dir);
    struct dirent *entry;
    unsigned count = 0;

    while ((entry = io_next_entry(dir)))
        count += entry->d_type == DT_LNK;
    return count;
}

void kit_close_markers(struct cg_parents *p)
{
    autodir dir = io_opendir_at(AT_FDCWD, kit_marker_dir);
    struct dirent *entry;

    while ((entry = io_next_entry(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    fd_close(&p->dirfd);
    rmdir(kit_marker_dir);
}
