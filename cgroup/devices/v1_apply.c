/* SPDX-License-Identifier: Apache-2.0 */

/* Bringing the device list of a v1 cgroup into force: devices.list, devices.allow, devices.deny. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/v1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room for a list far beyond what the kernel handles in reasonable time. */
#define LIST_MAX ((size_t)16 << 20)

/* "*" or a number, ended by @end. The cursor moves behind it. */
static int parse_number(char **cursor, char end, int64_t *ret)
{
    const char *field = *cursor ? str_next(cursor, end) : NULL;
    uint64_t n;

    if (!field || !*cursor)
        return -EINVAL;
    *ret = CG_DEV_ANY;
    if (str_eq(field, "*"))
        return 0;
    if (str_to_u64(field, strlen(field), &n) < 0 || n > UINT32_MAX)
        return -EINVAL;
    *ret = (int64_t)n;
    return 0;
}

/* One line as the kernel writes it: "c 1:3 rwm". */
static int parse_line(char *line, struct cg_dev_entry *ret)
{
    char *cursor = line;
    const char *type = str_next(&cursor, ' ');

    if (!type || strlen(type) != 1 || !strchr("abc", type[0]))
        return -EINVAL;
    ret->type = type[0];
    if (parse_number(&cursor, ':', &ret->major) < 0 || parse_number(&cursor, ' ', &ret->minor) < 0)
        return -EINVAL;
    return cg_dev_access_parse(cursor, &ret->access);
}

int cg_dev_v1_read(int dirfd, struct arena *a, struct cg_dev_exceptions *ret, struct err *e)
{
    autofree char *text = NULL;
    ssize_t n = io_read_all_at(dirfd, "devices.list", LIST_MAX, &text);
    char *cursor, *line;

    *ret = (struct cg_dev_exceptions){0};
    if (n < 0)
        return err_sys(e, (int)n, "reading devices.list");
    cursor = text;
    while ((line = str_next(&cursor, '\n'))) {
        struct cg_dev_entry entry;
        char shown[64];

        if (str_empty(line))
            continue;
        str_escape(line, shown, sizeof shown);
        if (parse_line(line, &entry) < 0)
            return err_set(e, -EPROTO, "devices.list has the line \"%s\", which is no device rule",
                           shown);
        if (entry.type == 'a') {
            ret->allow_all = true;
            continue;
        }
        ARENA_APPEND(a, ret->exceptions, ret->count) = entry;
    }
    if (ret->count > 1)
        qsort(ret->exceptions, ret->count, sizeof *ret->exceptions, cg_dev_entry_compare);
    return 0;
}

/* devices.allow or devices.deny, opened with the first line that goes there. */
struct writer {
    int dirfd;
    const char *file;
    int fd;
};

static void writer_close(struct writer *w)
{
    fd_close(&w->fd);
}

static int write_line(struct writer *w, const char *line, struct err *e)
{
    size_t len = strlen(line);
    ssize_t n;
    int r = 0;

    if (w->fd < 0) {
        w->fd = openat(w->dirfd, w->file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (w->fd < 0)
            return err_sys(e, -errno, "opening %s", w->file);
    }
    /* The kernel takes one rule per write. */
    do
        n = write(w->fd, line, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        r = -errno;
    else if ((size_t)n != len)
        r = -EIO;
    if (r < 0) {
        err_sys(e, r, "writing \"%.*s\" to %s", (int)strcspn(line, "\n"), line, w->file);
        if (r == -EPERM)
            err_hint(e, "; the device list of the parent cgroup may not allow it");
        else if (r == -EINVAL && line[0] == 'a')
            err_hint(e, "; remove the child cgroups first");
    }
    return r;
}

static int write_entry(struct writer *w, const struct cg_dev_entry *entry, uint8_t access,
                       struct err *e)
{
    char text[49];

    cg_dev_entry_text(entry, access, text);
    /* For those who follow the writes; the kernel strips it. */
    strcat(text, "\n");
    return write_line(w, text, e);
}

/*
 * Walk two sorted lists at once and write an entry of @list for which @other has not all the bits:
 * the whole entry to add, or the surplus to remove.
 */
static int write_missing(struct writer *w, const struct cg_dev_entry *list, size_t count,
                         const struct cg_dev_entry *other, size_t other_count, bool whole,
                         struct err *e)
{
    for (size_t i = 0, k = 0; i < count; i++) {
        uint8_t missing = list[i].access;
        int r;

        while (k < other_count && cg_dev_entry_compare(&other[k], &list[i]) < 0)
            k++;
        if (k < other_count && cg_dev_entry_compare(&other[k], &list[i]) == 0)
            missing &= (uint8_t)~other[k].access;
        if (missing == 0)
            continue;
        r = write_entry(w, &list[i], whole ? list[i].access : missing, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int cg_dev_v1_apply(int dirfd, const struct cg_dev_exceptions *want, struct err *e)
{
    autoarena a = ARENA_INIT;
    CLEANUP(writer_close)
    struct writer allow = {.dirfd = dirfd, .file = "devices.allow", .fd = FD_NONE};
    CLEANUP(writer_close)
    struct writer deny = {.dirfd = dirfd, .file = "devices.deny", .fd = FD_NONE};
    struct cg_dev_exceptions now;
    int r = cg_dev_v1_read(dirfd, &a, &now, e);

    if (r < 0)
        return r;
    if (want->allow_all || now.allow_all) {
        r = write_line(want->allow_all ? &allow : &deny, "a\n", e);
        if (r < 0)
            return r;
        return write_missing(want->allow_all ? &deny : &allow, want->exceptions, want->count, NULL,
                             0, true, e);
    }
    /* A whole entry, so that the parent's consent does not depend on what was here before. */
    r = write_missing(&allow, want->exceptions, want->count, now.exceptions, now.count, true, e);
    if (r < 0)
        return r;
    return write_missing(&deny, now.exceptions, now.count, want->exceptions, want->count, false, e);
}
