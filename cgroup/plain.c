/* SPDX-License-Identifier: Apache-2.0 */

/* Which mount lies over which, by mountinfo alone (proc(5)). See cg_mountinfo_is_plain() in host.h. */

#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/host.h"

#include <stdint.h>

/* Of more mounts it is not asked: each is compared with each. */
#define POINTS_MAX 128

struct point {
    uint64_t id, parent;
    const char *path; /* as it is written; no byte of it is written in two ways */
    size_t len;
    bool is_cgroup;
};

/* The next field of a line, and its length. */
static const char *next_field(const char **cursor, const char *end, size_t *ret_len)
{
    const char *field = *cursor;

    while (*cursor < end && **cursor != ' ')
        ++*cursor;
    *ret_len = (size_t)(*cursor - field);
    if (*cursor < end)
        ++*cursor;
    return field;
}

static bool next_number(const char **cursor, const char *end, uint64_t *ret)
{
    size_t len;
    const char *field = next_field(cursor, end, &len);

    return str_to_u64(field, len, ret) == 0;
}

/* "36 35 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu" */
static bool read_point(const char *cursor, const char *end, struct point *ret)
{
    const char *field;
    size_t len;

    *ret = (struct point){0};
    if (!next_number(&cursor, end, &ret->id) || !next_number(&cursor, end, &ret->parent))
        return false;
    next_field(&cursor, end, &len); /* device */
    next_field(&cursor, end, &len); /* root */
    ret->path = next_field(&cursor, end, &ret->len);
    if (ret->len == 0 || ret->path[0] != '/')
        return false;
    do
        field = next_field(&cursor, end, &len);
    while (cursor < end && !(len == 1 && *field == '-'));
    field = next_field(&cursor, end, &len);
    ret->is_cgroup = (len == strlen("cgroup") || len == strlen("cgroup2")) &&
                     strncmp(field, "cgroup2", len) == 0;
    return len > 0;
}

/* Whether who looks for @path comes by the mount point @above, or ends there. */
static bool leads_by(const struct point *path, const struct point *above)
{
    if (above->len == 1)
        return true;
    return above->len <= path->len && strncmp(above->path, path->path, above->len) == 0 &&
           (above->len == path->len || path->path[above->len] == '/');
}

static const struct point *find(const struct point *points, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (points[i].id == id)
            return &points[i];
    }
    return NULL;
}

/* Whether @m is mounted in @other, or in one that is. */
static bool is_inside(const struct point *points, size_t count, const struct point *m,
                      const struct point *other)
{
    for (size_t steps = 0; m && steps <= count; steps++) {
        m = find(points, count, m->parent);
        if (m == other)
            return true;
    }
    return false;
}

static bool is_on_top(const struct point *points, size_t count, const struct point *m)
{
    for (size_t i = 0; i < count; i++) {
        if (&points[i] != m && leads_by(m, &points[i]) && !is_inside(points, count, m, &points[i]))
            return false;
    }
    return true;
}

bool cg_mountinfo_is_plain(const char *text)
{
    struct point points[POINTS_MAX];
    size_t count = 0;

    while (*text) {
        size_t len = strcspn(text, "\n");

        if (count == ARRAY_SIZE(points) || !read_point(text, text + len, &points[count]))
            return false;
        count++;
        text += len + (text[len] == '\n');
    }
    for (size_t i = 0; i < count; i++) {
        if (points[i].is_cgroup && !is_on_top(points, count, &points[i]))
            return false;
    }
    return true;
}
