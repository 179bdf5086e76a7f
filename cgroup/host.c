/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/host.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MOUNTINFO     "/proc/self/mountinfo"
#define MOUNTINFO_MAX ((size_t)8 << 20)
/* What is read of it first: the kernel takes some 2 us for each mount, and a busy host has thousands. */
#define MOUNTINFO_FIRST 4096
#define MOUNTS_MAX      (2 * CG_MAX_HIERARCHIES)

/* USER_NS_INIT_INO of linux/nsfs.h, where that has it. */
#define FIRST_USERNS "user:[4026531837]"

/* In place of a descriptor, and no errno: it is there, and opened when it is needed. */
#define FD_LATE (-4096)

/* What stages ask cg_host_find() for. */
#define CTLS_LOOKED_FOR                                                                            \
    (CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_CPUACCT) | CG_CTL_BIT(CG_CTL_CPUSET) |             \
     CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_DEVICES) | CG_CTL_BIT(CG_CTL_FREEZER) |         \
     CG_CTL_BIT(CG_CTL_BLKIO) | CG_CTL_BIT(CG_CTL_PIDS))

struct cg_late {
    int fd;
    unsigned dev_major, dev_minor;
};

/* mountinfo writes space, tab, newline and backslash as three octal digits. */
static void decode_octal(char *s)
{
    char *out = s;

    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

static bool parse_dev(char *text, struct cg_mount *m)
{
    char *minor = strchr(text, ':');
    uint64_t major_value, minor_value;

    if (!minor || str_to_u64(text, (size_t)(minor - text), &major_value) < 0 ||
        str_to_u64(minor + 1, strlen(minor + 1), &minor_value) < 0)
        return false;
    m->dev_major = (unsigned)major_value;
    m->dev_minor = (unsigned)minor_value;
    return true;
}

/* Whether an option of a v1 mount is a part of the hierarchy's name: the rest are flags, of cgroup1
 * itself, of every mount, and of security modules. */
static bool is_name(const char *option)
{
    static const char *const others[] = {"debug", "dmem"}; /* controllers that we have no use for */

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (str_eq(option, others[i]))
            return true;
    }
    return str_starts(option, "name=") ||
           cg_ctl_parse(option, strlen(option), false) != CG_CTL_COUNT;
}

/* A v1 hierarchy's name as /proc/PID/cgroup writes it: its controllers in the kernel's order, and
 * "name=..." behind them. */
static void name_v1(char *super_options, struct arena *a, struct cg_mount *m)
{
    char *cursor = super_options, *option;
    autosbuf name = SBUF_INIT;

    while ((option = str_next(&cursor, ','))) {
        if (is_name(option))
            sbuf_addf(&name, "%s%s", name.len ? "," : "", option);
    }
    m->name = arena_strdup(a, sbuf_text(&name));
    m->controllers = cg_ctl_parse_list(m->name, ',', false);
}

/* "36 35 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu" */
static bool parse_line(char *line, struct arena *a, struct cg_mount *ret)
{
    char *cursor = line, *tail = strstr(line, " - ");
    char *field[5] = {0}, *type, *options;

    if (!tail)
        return false;
    *tail = '\0';
    tail += 3;
    for (size_t i = 0; i < ARRAY_SIZE(field); i++) {
        field[i] = str_next(&cursor, ' ');
        if (!field[i])
            return false;
    }
    type = str_next(&tail, ' ');
    if (!type || !(str_eq(type, "cgroup") || str_eq(type, "cgroup2")) || !str_next(&tail, ' '))
        return false;
    options = tail;
    if (!options || !parse_dev(field[2], ret) || field[3][0] != '/' || field[4][0] != '/')
        return false;
    decode_octal(field[3]);
    decode_octal(field[4]);
    ret->root = arena_strdup(a, field[3]);
    ret->mount_point = arena_strdup(a, field[4]);
    ret->v2 = str_eq(type, "cgroup2");
    if (ret->v2)
        ret->name = "unified";
    else
        name_v1(options, a, ret);
    return true;
}

size_t cg_mountinfo_parse(char *text, struct arena *a, struct cg_mount *mounts, size_t max)
{
    char *cursor = text, *line;
    size_t count = 0;

    while (count < max && (line = str_next(&cursor, '\n'))) {
        struct cg_mount m = {0};

        if (parse_line(line, a, &m))
            mounts[count++] = m;
    }
    return count;
}

/* Open a mount point. -ENOENT it is not (or no longer) what mountinfo says; other -errno: not known. */
static int open_verified(const char *mount_point, unsigned dev_major, unsigned dev_minor)
{
    autofd fd = open(mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat st;

    if (fd < 0)
        return errno == ENOTDIR ? -ENOENT : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    /* Of what type it is mountinfo says, and no two file systems that are mounted have one device. */
    if (major(st.st_dev) != dev_major || minor(st.st_dev) != dev_minor)
        return -ENOENT;
    return fd_take(&fd);
}

/* Whether there is a descriptor, or will be one. */
static bool is_there(int fd)
{
    return fd >= 0 || fd == FD_LATE;
}

/*
 * The same hierarchy may be mounted several times (containers bind parts of it): the mount that
 * shows it from its root is the one to use, otherwise the first.
 */
static bool is_better(const struct cg_mount *candidate, const struct cg_mount *than)
{
    return str_eq(candidate->root, "/") && !str_eq(than->root, "/");
}

static bool is_same_hierarchy(const struct cg_mount *a, const struct cg_mount *b)
{
    return a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

/* One that nobody could look at is not one that is not there: without it nothing would be limited in its
 * hierarchy, unless that is mounted where it serves as well. */
static int check_seen(const struct cg_mount *mounts, const int *fds, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        bool seen = is_there(fds[i]) || fds[i] == -ENOENT;

        for (size_t k = 0; k < count && !seen; k++)
            seen = is_there(fds[k]) && is_same_hierarchy(&mounts[k], &mounts[i]) &&
                   !is_better(&mounts[i], &mounts[k]);
        if (!seen)
            return err_sys(e, fds[i], "cannot look at the cgroup mount %s", mounts[i].mount_point);
    }
    return 0;
}

/* Returns how many are left. */
static size_t drop_duplicates(struct cg_mount *mounts, int *fds, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        size_t k = 0;

        if (!is_there(fds[i]))
            continue;
        while (k < kept && !is_same_hierarchy(&mounts[k], &mounts[i]))
            k++;
        if (k < kept && !is_better(&mounts[i], &mounts[k])) {
            fd_close(&fds[i]);
            continue;
        }
        if (k < kept)
            fd_close(&fds[k]);
        mounts[k] = mounts[i];
        fds[k] = fds[i];
        kept += k == kept;
    }
    return kept;
}

static struct cg_late *open_later(const struct cg_mount *m, struct arena *a)
{
    struct cg_late *late = arena_alloc(a, sizeof *late);

    *late = (struct cg_late){.fd = FD_NONE, .dev_major = m->dev_major, .dev_minor = m->dev_minor};
    return late;
}

/* @v1  the controllers of all hierarchies of v1 */
static int add_hierarchy(struct cg_host *host, const struct cg_mount *m, int fd, unsigned v1,
                         struct arena *a, struct err *e)
{
    struct cg_hierarchy *h = &host->hierarchies[host->count++];
    char text[512];
    ssize_t len;

    *h = (struct cg_hierarchy){
        .fd = fd == FD_LATE ? FD_NONE : fd,
        .late = fd == FD_LATE ? open_later(m, a) : NULL,
        .v2 = m->v2,
        .controllers = m->controllers,
        .name = m->name,
        .mount_point = m->mount_point,
        .root = m->root,
    };
    if (!m->v2 || (h->late && (v1 & CTLS_LOOKED_FOR) == CTLS_LOOKED_FOR))
        return 0;
    fd = cg_hierarchy_fd(h);
    len = fd < 0 ? fd : io_read_at(fd, "cgroup.controllers", text, sizeof text);
    h->controllers = len < 0 ? 0 : cg_ctl_parse_list(text, ' ', true);
    return len < 0 ? err_sys(e, (int)len, "cannot read %s/cgroup.controllers", m->mount_point) : 0;
}

/* The cgroup mounts of a text, each of them tried. */
struct mounts {
    struct cg_mount items[MOUNTS_MAX];
    int fds[MOUNTS_MAX];
    size_t count;
};

static void open_mounts(char *text, bool late, struct arena *a, struct mounts *ret)
{
    ret->count = cg_mountinfo_parse(text, a, ret->items, ARRAY_SIZE(ret->items));
    for (size_t i = 0; i < ret->count; i++) {
        const struct cg_mount *m = &ret->items[i];

        ret->fds[i] = late ? FD_LATE : open_verified(m->mount_point, m->dev_major, m->dev_minor);
    }
}

/* @name as /proc/PID/cgroup has it, which calls that of v2 nothing. */
static bool has_whole(const struct mounts *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct cg_mount *each = &m->items[i];

        if (m->fds[i] >= 0 && str_eq(each->root, "/") &&
            (each->v2 ? str_empty(name) : str_eq(each->name, name)))
            return true;
    }
    return false;
}

/* Whether these are all hierarchies that are mounted anywhere, as /proc/PID/cgroup lists them, and each is
 * open from its root: no other mount can be a better one then. */
static bool has_all(const struct mounts *m)
{
    char text[4096], *cursor = text, *line;

    if (m->count == 0 || io_read_at(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) <= 0)
        return false;
    while ((line = str_next(&cursor, '\n'))) {
        str_next(&line, ':');
        if (!line || !has_whole(m, str_next(&line, ':')))
            return false;
    }
    return true;
}

/* Those of cgroups are mounted at boot, so they are among the first. 1: they were; 0: look at all; -errno. */
static int find_first(bool late, struct arena *a, struct mounts *ret)
{
    autofd fd = openat(AT_FDCWD, MOUNTINFO, O_RDONLY | O_CLOEXEC);
    char text[MOUNTINFO_FIRST + 1], *end;
    ssize_t len = fd < 0 ? -errno : io_read_full(fd, text, MOUNTINFO_FIRST);

    if (len < 0)
        return (int)len;
    text[len] = '\0';
    end = strrchr(text, '\n');
    if (!end)
        return 0;
    *end = '\0'; /* the last line may go on */
    late = late && len < MOUNTINFO_FIRST && cg_mountinfo_is_plain(text);
    open_mounts(text, late, a, ret);
    if (len < MOUNTINFO_FIRST || has_all(ret))
        return 1;
    for (size_t i = 0; i < ret->count; i++)
        fd_close(&ret->fds[i]);
    ret->count = 0;
    return 0;
}

static int find_all(struct arena *a, struct mounts *ret)
{
    autofree char *text = NULL;
    ssize_t len = io_read_all_at(AT_FDCWD, MOUNTINFO, MOUNTINFO_MAX, &text);

    if (len >= 0)
        open_mounts(text, false, a, ret);
    return len < 0 ? (int)len : 0;
}

static int find_mounts(bool late, struct arena *a, struct mounts *ret)
{
    int r;

    ret->count = 0;
    r = find_first(late, a, ret);
    return r > 0 ? 0 : r < 0 ? r : find_all(a, ret);
}

static int discover(bool late, struct arena *a, struct cg_host *ret, struct err *e)
{
    struct mounts found;
    struct cg_mount *const mounts = found.items;
    int *const fds = found.fds;
    unsigned v1 = 0;
    bool v2 = false;
    size_t count;
    int r;

    *ret = (struct cg_host){0};
    r = find_mounts(late, a, &found);
    if (r < 0)
        return err_sys(e, r, "cannot read " MOUNTINFO);
    r = check_seen(mounts, fds, found.count, e);
    count = drop_duplicates(mounts, fds, found.count);
    for (size_t i = 0; i < count; i++) {
        v1 |= mounts[i].controllers;
        v2 = v2 || mounts[i].v2;
    }
    ret->mode = !v1 && v2 ? CG_MODE_V2 : v2 ? CG_MODE_HYBRID : CG_MODE_V1;
    for (size_t i = 0; i < count; i++) {
        bool wanted = mounts[i].v2 || ret->mode != CG_MODE_V2;

        if (wanted && ret->count < CG_MAX_HIERARCHIES) {
            int added = add_hierarchy(ret, &mounts[i], fds[i], v1, a, e);

            r = r < 0 ? r : added;
        } else {
            fd_close(&fds[i]);
        }
    }
    if (r == 0 && !v1 && !v2)
        r = err_set(e, -ENOENT,
                    "no cgroup file system is mounted (looked in /proc/self/mountinfo); mount "
                    "cgroup2 at /sys/fs/cgroup");
    if (r < 0)
        cg_host_close(ret);
    return r;
}

int cg_host_open(struct arena *a, struct cg_host *ret, struct err *e)
{
    return discover(false, a, ret, e);
}

int cg_host_look(struct arena *a, struct cg_host *ret, struct err *e)
{
    return discover(true, a, ret, e);
}

void cg_host_close(struct cg_host *host)
{
    for (size_t i = 0; i < host->count; i++) {
        struct cg_hierarchy *h = &host->hierarchies[i];

        fd_close(h->late ? &h->late->fd : &h->fd);
    }
    host->count = 0;
}

/* What was there is not "no cgroup". */
int cg_hierarchy_fd(const struct cg_hierarchy *h)
{
    struct cg_late *late = h->late;

    if (!late)
        return h->fd;
    if (late->fd < 0) {
        late->fd = open_verified(h->mount_point, late->dev_major, late->dev_minor);
        /* Nor is an error what openat() and its like take for the directory that we are in. */
        if (late->fd == -ENOENT || late->fd == AT_FDCWD)
            late->fd = -ESTALE;
    }
    return late->fd;
}

int cg_host_open_rest(const struct cg_host *host, struct err *e)
{
    for (size_t i = 0; i < host->count; i++) {
        int fd = cg_hierarchy_fd(&host->hierarchies[i]);

        if (fd < 0)
            return err_sys(e, fd, "cannot open the cgroup mount %s",
                           host->hierarchies[i].mount_point);
    }
    return 0;
}

int cg_hierarchy_open(const struct cg_hierarchy *h, const char *path)
{
    int fd = cg_hierarchy_fd(h);

    return fd < 0 ? fd : io_open_beneath(fd, cg_path_relative(path), O_PATH | O_DIRECTORY);
}

/* The first of the host has a number that no other one gets; a kernel without them has no such link. */
static bool is_in_first_userns(void)
{
    char link[64];
    ssize_t len = readlink("/proc/self/ns/user", link, sizeof link - 1);

    if (len < 0)
        return false;
    link[len] = '\0';
    return str_eq(link, FIRST_USERNS);
}

/* The initial namespace maps all ids to themselves. */
int cg_host_in_userns(struct err *e)
{
    unsigned long inside, outside, count;
    char map[256];
    ssize_t len;

    if (is_in_first_userns())
        return 0;
    len = io_read_line_at(AT_FDCWD, "/proc/self/uid_map", map, sizeof map);

    if (len == -ENOENT) /* a kernel without them */
        return 0;
    if (len < 0)
        return err_sys(e, (int)len, "cannot read /proc/self/uid_map");
    return !(sscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 &&
             outside == 0 && count == UINT32_MAX);
}

int cg_host_is_foreign(const struct cg_host *host, struct err *e)
{
    for (size_t i = 0; i < host->count; i++) {
        const struct cg_hierarchy *h = &host->hierarchies[i];

        /* For this alone none is opened. */
        if (faccessat(h->late ? AT_FDCWD : h->fd, h->late ? h->mount_point : ".", W_OK,
                      AT_EACCESS) == 0)
            return 0;
        if (errno != EACCES && errno != EPERM && errno != EROFS)
            return err_sys(e, -errno, "cannot look whether %s may be written to", h->mount_point);
    }
    return cg_host_in_userns(e);
}

const struct cg_hierarchy *cg_host_find(const struct cg_host *host, enum cg_ctl ctl)
{
    for (size_t i = 0; i < host->count; i++) {
        if (host->hierarchies[i].controllers & CG_CTL_BIT(ctl))
            return &host->hierarchies[i];
    }
    return NULL;
}

const char *cg_full_path(const struct cg_hierarchy *h, const char *path, const char *leaf,
                         const char *file, char *buf, size_t size)
{
    snprintf(buf, size, "%s%s%s%s%s%s", h->mount_point, str_eq(path, "/") ? "" : path,
             leaf ? "/" : "", leaf ? leaf : "", file ? "/" : "", file ? file : "");
    return buf;
}
