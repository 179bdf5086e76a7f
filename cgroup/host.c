/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/host.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define MOUNTINFO_MAX ((size_t)8 << 20)

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
    char *field[5], *type, *options;

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
    if (!options || !parse_dev(field[2], ret))
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

/* Open a mount point; FD_NONE when it is not (or no longer) what mountinfo says. */
static int open_verified(const struct cg_mount *m)
{
    autofd fd = open(m->mount_point, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct statfs fs;
    struct stat st;

    if (fd < 0 || fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
        return FD_NONE;
    if (fs.f_type != (m->v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC))
        return FD_NONE;
    if (major(st.st_dev) != m->dev_major || minor(st.st_dev) != m->dev_minor)
        return FD_NONE;
    return fd_take(&fd);
}

/*
 * The same hierarchy may be mounted several times (containers bind parts of it): the mount that
 * shows it from its root is the one to use, otherwise the first.
 */
static bool is_better(const struct cg_mount *candidate, const struct cg_mount *than)
{
    return str_eq(candidate->root, "/") && !str_eq(than->root, "/");
}

static size_t drop_duplicates(struct cg_mount *mounts, int *fds, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        size_t k = 0;

        fds[i] = open_verified(&mounts[i]);
        if (fds[i] < 0)
            continue;
        while (k < kept && (mounts[k].dev_major != mounts[i].dev_major ||
                            mounts[k].dev_minor != mounts[i].dev_minor))
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

static unsigned read_v2_controllers(int fd)
{
    char text[512];

    if (io_read_at(fd, "cgroup.controllers", text, sizeof text) < 0)
        return 0;
    return cg_ctl_parse_list(text, ' ', true);
}

static void add_hierarchy(struct cg_host *host, const struct cg_mount *m, int fd)
{
    host->hierarchies[host->count++] = (struct cg_hierarchy){
        .fd = fd,
        .v2 = m->v2,
        .controllers = m->v2 ? read_v2_controllers(fd) : m->controllers,
        .name = m->name,
        .mount_point = m->mount_point,
        .root = m->root,
    };
}

int cg_host_open(struct arena *a, struct cg_host *ret, struct err *e)
{
    struct cg_mount mounts[2 * CG_MAX_HIERARCHIES];
    int fds[2 * CG_MAX_HIERARCHIES];
    autofree char *text = NULL;
    bool v1 = false, v2 = false;
    ssize_t len;
    size_t count;

    *ret = (struct cg_host){0};
    len = io_read_all_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text);
    if (len < 0)
        return err_sys(e, (int)len, "cannot read /proc/self/mountinfo");
    count = cg_mountinfo_parse(text, a, mounts, ARRAY_SIZE(mounts));
    count = drop_duplicates(mounts, fds, count);
    for (size_t i = 0; i < count; i++) {
        v1 = v1 || mounts[i].controllers != 0;
        v2 = v2 || mounts[i].v2;
    }
    ret->mode = !v1 && v2 ? CG_MODE_V2 : v2 ? CG_MODE_HYBRID : CG_MODE_V1;
    for (size_t i = 0; i < count; i++) {
        bool wanted = mounts[i].v2 || ret->mode != CG_MODE_V2;

        if (wanted && ret->count < CG_MAX_HIERARCHIES)
            add_hierarchy(ret, &mounts[i], fds[i]);
        else
            fd_close(&fds[i]);
    }
    if (!v1 && !v2) {
        cg_host_close(ret);
        return err_set(e, -ENOENT,
                       "no cgroup file system is mounted (looked in /proc/self/mountinfo); mount "
                       "cgroup2 at /sys/fs/cgroup");
    }
    return 0;
}

void cg_host_close(struct cg_host *host)
{
    for (size_t i = 0; i < host->count; i++)
        fd_close(&host->hierarchies[i].fd);
    host->count = 0;
}

bool cg_host_is_foreign(const struct cg_host *host)
{
    char map[256];
    unsigned long inside, outside, count;

    for (size_t i = 0; i < host->count; i++) {
        if (faccessat(host->hierarchies[i].fd, ".", W_OK, AT_EACCESS) == 0)
            return false;
    }
    /* The initial namespace maps all ids to themselves. */
    return io_read_at(AT_FDCWD, "/proc/self/uid_map", map, sizeof map) >= 0 &&
           !(sscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 &&
             outside == 0 && count == UINT32_MAX);
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
