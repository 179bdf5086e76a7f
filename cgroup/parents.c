/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/parents.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/links.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

/* It is held for two system calls. */
#define LOCK_TIMEOUT_MS 10000

struct marker {
    char key[LINKS_KEY_SIZE];
    char text[PATH_MAX];
};

static void marker_for(const struct cg_hierarchy *h, const char *path, struct marker *ret)
{
    snprintf(ret->text, sizeof ret->text, "%s:%s", h->name, path);
    links_key(ret->text, ret->key);
}

static bool has_marker(const struct cg_parents *p, const struct marker *m)
{
    char text[PATH_MAX];

    return links_get(p->dirfd, m->key, text) && str_eq(text, m->text);
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
        r = links_set(p->dirfd, m.key, m.text);
        if (r < 0 && r != -EEXIST)
            return err_sys(e, r, "cannot remember that %s is made by us",
                           cg_full_path(h, path, NULL, NULL, shown, sizeof shown));
    }
    if (mkdirat(h->fd, relative, 0755) < 0) {
        r = -errno;
        if (locked >= 0)
            links_drop(p->dirfd, m.key);
        return r == -EEXIST ? 0
                            : err_sys(e, r, "cannot make %s",
                                      cg_full_path(h, path, NULL, NULL, shown, sizeof shown));
    }
    return 0;
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
        links_drop(p->dirfd, m.key);
    }
}

struct sweep {
    struct cg_parents *parents;
    const struct cg_host *host;
};

/* cg_parents_remove() sees to the markers of what it removes, so no row is left to be dropped. */
static bool remove_marked(char *text, const void *arg)
{
    const struct sweep *sweep = arg;
    char *path = strchr(text, '/'), child[PATH_MAX + 2];

    if (!path || path == text)
        return false;
    path[-1] = '\0';
    /* It takes a path in the parent, so any child's name will do. */
    snprintf(child, sizeof child, "%s/-", path);
    for (size_t i = 0; i < sweep->host->count; i++) {
        if (str_eq(sweep->host->hierarchies[i].name, text))
            cg_parents_remove(sweep->parents, &sweep->host->hierarchies[i], child);
    }
    return false;
}

void cg_parents_sweep(struct cg_parents *p, const struct cg_host *host)
{
    const struct sweep sweep = {p, host};

    if (p->dirfd >= 0)
        links_sweep(p->dirfd, remove_marked, &sweep);
}
