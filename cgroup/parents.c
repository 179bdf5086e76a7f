/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/parents.h"

#include "base/err.h"
#include "base/links.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct marker {
    char key[NAME_MAX + 1 + LINKS_KEY_SIZE];
    char text[PATH_MAX];
};

static void marker_for(const struct cg_parents *p, const struct cg_hierarchy *h, const char *path,
                       struct marker *ret)
{
    char hash[LINKS_KEY_SIZE];

    snprintf(ret->text, sizeof ret->text, "%s:%s", h->name, path);
    snprintf(ret->key, sizeof ret->key, "%s/%s", p->table, links_key(ret->text, hash));
}

static bool has_marker(const struct cg_parents *p, const struct marker *m)
{
    char text[PATH_MAX];

    return links_get(p->dirfd, m->key, text) == 0 && str_eq(text, m->text);
}

static bool exists(const struct cg_hierarchy *h, const char *path)
{
    return faccessat(cg_hierarchy_fd(h), cg_path_relative(path), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int cg_parents_make(struct cg_parents *p, const struct cg_hierarchy *h, const char *path,
                    struct err *e)
{
    bool remembered = p && p->dirfd >= 0;
    char shown[PATH_MAX];
    struct marker m;
    int r = 0;

    cg_full_path(h, path, NULL, NULL, shown, sizeof shown);
    if (exists(h, path))
        return 0;
    if (remembered) {
        marker_for(p, h, path, &m);
        r = links_set(p->dirfd, m.key, m.text);
    }
    if (r < 0 && r != -EEXIST)
        return err_sys(e, r, "cannot remember in the markers of parents that %s is made by us",
                       shown);
    r = mkdirat(cg_hierarchy_fd(h), cg_path_relative(path), 0755) < 0 ? -errno : 0;
    if (r < 0 && r != -EEXIST) {
        if (remembered && !exists(h, path))
            links_drop(p->dirfd, m.key);
        return err_sys(e, r, "cannot make %s", shown);
    }
    /* Who removed an earlier one may have dropped the marker only now. */
    if (remembered)
        (void)links_set(p->dirfd, m.key, m.text);
    return 0;
}

/* True while somebody has made it again meanwhile, whose marker was dropped here. */
static bool remove_one(struct cg_parents *p, const struct cg_hierarchy *h, const char *path,
                       const struct marker *m, bool *ret_removed)
{
    /* Busy: another sandbox lives there and will remove it. */
    *ret_removed =
        unlinkat(cg_hierarchy_fd(h), cg_path_relative(path), AT_REMOVEDIR) == 0 || errno == ENOENT;
    if (!*ret_removed)
        return false;
    links_drop(p->dirfd, m->key);
    return exists(h, path) && links_set(p->dirfd, m->key, m->text) == 0;
}

void cg_parents_remove(struct cg_parents *p, const struct cg_hierarchy *h, const char *path)
{
    char parent[PATH_MAX], *slash;
    struct marker m;

    if (!p || p->dirfd < 0 || strlen(path) >= sizeof parent)
        return;
    strcpy(parent, path);
    while ((slash = strrchr(parent, '/')) && slash != parent) {
        bool removed;

        *slash = '\0';
        marker_for(p, h, parent, &m);
        if (!has_marker(p, &m))
            return;
        while (remove_one(p, h, parent, &m, &removed))
            ;
        if (!removed)
            return;
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

int cg_parents_sweep(struct cg_parents *p, const struct cg_host *host)
{
    const struct sweep sweep = {p, host};

    return p->dirfd < 0 ? 0 : links_sweep(p->dirfd, p->table, remove_marked, &sweep);
}
