/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/parents.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

/* It is held for two system calls. */
#define LOCK_TIMEOUT_MS 10000

struct marker {
    char name[24];
    char content[PATH_MAX];
};

static void marker_for(const struct cg_hierarchy *h, const char *path, struct marker *ret)
{
    snprintf(ret->content, sizeof ret->content, "%s:%s", h->name, path);
    snprintf(ret->name, sizeof ret->name, "%016" PRIx64, str_hash(ret->content));
}

static bool has_marker(const struct cg_parents *p, const struct marker *m)
{
    char content[PATH_MAX];
    ssize_t len = readlinkat(p->dirfd, m->name, content, sizeof content - 1);

    if (len < 0)
        return false;
    content[len] = '\0';
    return str_eq(content, m->content);
}

/* An O_PATH descriptor cannot be locked, and a lock belongs to the open file: open anew. */
static int lock(const struct cg_parents *p)
{
    autofd fd = openat(p->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : io_lock(fd, LOCK_TIMEOUT_MS);

    return r < 0 ? r : fd_take(&fd);
}

int cg_parents_make(struct cg_parents *p, const struct cg_hierarchy *h, const char *path,
                    struct err *e)
{
    const char *relative = cg_path_relative(path);
    char shown[PATH_MAX];
    autofd locked = FD_NONE;
    struct marker m;
    int r;

    if (p && p->dirfd >= 0) {
        locked = lock(p);
        if (locked < 0)
            return err_sys(e, locked, "cannot lock the markers of parent cgroups");
        if (faccessat(h->fd, relative, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return 0;
        marker_for(h, path, &m);
        r = symlinkat(m.content, p->dirfd, m.name) < 0 ? -errno : 0;
        if (r < 0 && r != -EEXIST)
            return err_sys(e, r, "cannot remember that %s is made by us",
                           cg_full_path(h, path, NULL, NULL, shown, sizeof shown));
    }
    if (mkdirat(h->fd, relative, 0755) < 0) {
        r = -errno;
        if (locked >= 0)
            unlinkat(p->dirfd, m.name, 0);
        return r == -EEXIST ? 0
                            : err_sys(e, r, "cannot make %s",
                                      cg_full_path(h, path, NULL, NULL, shown, sizeof shown));
    }
    return 0;
}

void cg_parents_sweep(struct cg_parents *p, const struct cg_host *host)
{
    autodir dir = p->dirfd >= 0 ? io_opendir_at(p->dirfd, ".") : NULL;
    struct dirent *entry;

    while ((entry = io_next_entry(dir))) {
        char content[PATH_MAX], *path;
        ssize_t len = readlinkat(p->dirfd, entry->d_name, content, sizeof content - 3);

        if (len <= 0)
            continue;
        content[len] = '\0';
        path = strchr(content, '/');
        if (!path || path == content)
            continue;
        path[-1] = '\0';
        for (size_t i = 0; i < host->count; i++) {
            if (str_eq(host->hierarchies[i].name, content)) {
                /* cg_parents_remove() takes a path in the parent, so any child's name will do. */
                strcat(path, "/-");
                cg_parents_remove(p, &host->hierarchies[i], path);
                break;
            }
        }
    }
}

void cg_parents_remove(struct cg_parents *p, const struct cg_hierarchy *h, const char *path)
{
    char parent[PATH_MAX], *slash;
    autofd locked = FD_NONE;
    struct marker m;

    if (!p || p->dirfd < 0 || strlen(path) >= sizeof parent)
        return;
    strcpy(parent, path);
    while ((slash = strrchr(parent, '/')) && slash != parent) {
        *slash = '\0';
        marker_for(h, parent, &m);
        if (!has_marker(p, &m))
            return;
        if (locked < 0)
            locked = lock(p);
        if (locked < 0)
            return;
        /* Busy: another sandbox lives there and will remove it. */
        if (unlinkat(h->fd, cg_path_relative(parent), AT_REMOVEDIR) < 0 && errno != ENOENT)
            return;
        unlinkat(p->dirfd, m.name, 0);
    }
}
