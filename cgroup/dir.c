/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/dir.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/parents.h"
#include "cgroup/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line for each device, or several. */
#define LINES_MAX ((size_t)1 << 20)

/* Make each missing parent of @path. -ENOENT: a neighbour removed one again meanwhile. */
static int make_parents(struct cg_parents *parents, const struct cg_hierarchy *h, const char *path,
                        struct err *e)
{
    const int top = cg_hierarchy_fd(h);
    char parent[PATH_MAX];
    int r = 0;

    for (const char *slash = path + 1; r == 0 && (slash = strchr(slash, '/')); slash++) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
        if (faccessat(top, cg_path_relative(parent), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            r = cg_parents_make(parents, h, parent, e);
    }
    return r;
}

int cg_make_dir(struct cg_parents *parents, const struct cg_hierarchy *h, const char *path,
                bool *ret_made, struct err *e)
{
    const char *relative = cg_path_relative(path);
    const int top = cg_hierarchy_fd(h);
    char shown[PATH_MAX];
    int r = top < 0 ? top : -ENOENT;

    *ret_made = false;
    /* A neighbour may remove an empty parent between our making it and our using it: try again. */
    for (int tries = 0; r == -ENOENT && tries < 8; tries++) {
        err_reset(e);
        r = mkdirat(top, relative, 0755) < 0 ? -errno : 0;
        *ret_made = r == 0;
        if (r == -EEXIST)
            r = 0;
        if (r == -ENOENT) {
            int made = make_parents(parents, h, path, e);

            if (made < 0 && made != -ENOENT)
                return made;
        }
    }
    if (r < 0)
        return err_sys(e, r, "cannot make %s",
                       cg_full_path(h, path, NULL, NULL, shown, sizeof shown));
    r = io_open_beneath(top, relative, O_PATH | O_DIRECTORY);
    if (r >= 0)
        return r;
    /* Nobody will know of it otherwise. */
    if (*ret_made)
        unlinkat(top, relative, AT_REMOVEDIR);
    *ret_made = false;
    return err_sys(e, r, "cannot open %s", cg_full_path(h, path, NULL, NULL, shown, sizeof shown));
}

int cg_read_number(int dirfd, const char *file, uint64_t *ret)
{
    char text[64];
    ssize_t len = io_read_line_at(dirfd, file, text, sizeof text);

    return len < 0 ? (int)len : str_to_u64(text, (size_t)len, ret);
}

int cg_read_key(int dirfd, const char *file, const char *key, uint64_t *ret)
{
    char text[4096], *cursor = text, *line;
    ssize_t n = io_read_at(dirfd, file, text, sizeof text);
    size_t len = strlen(key);

    if (n < 0)
        return (int)n;
    while ((line = str_next(&cursor, '\n'))) {
        if (str_starts(line, key) && line[len] == ' ')
            return str_to_u64(line + len + 1, strlen(line + len + 1), ret);
    }
    return -ENODATA;
}

int cg_read_sum(int dirfd, const char *file, const char *key, uint64_t *ret)
{
    autofree char *text = NULL;
    ssize_t n = io_read_all_at(dirfd, file, LINES_MAX, &text);

    if (n < 0)
        return (int)n;
    *ret = 0;
    for (const char *p = text; (p = strstr(p, key));) {
        p += strlen(key);
        *ret += strtoull(p, NULL, 10);
    }
    return 0;
}
