/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room for a list far beyond what the kernel handles in reasonable time. */
#define LIST_MAX (16 * 1024 * 1024)

static const char *entry_text(const struct cg_dev_entry *entry, uint8_t access, char buf[static 48])
{
    const struct cg_dev_rule rule = {
        .type = entry->type, .major = entry->major, .minor = entry->minor, .access = access};

    return cg_dev_rule_text(&rule, buf);
}

/* "c 1:3" */
static const char *class_text(const struct cg_dev_entry *entry, char buf[static 48])
{
    entry_text(entry, 0, buf);
    buf[strlen(buf) - 1] = '\0';
    return buf;
}

static int compare_keys(const void *a, const void *b)
{
    const struct cg_dev_entry *x = a, *y = b;
    const uint64_t left[] = {(uint64_t)x->type, (uint64_t)x->major, (uint64_t)x->minor};
    const uint64_t right[] = {(uint64_t)y->type, (uint64_t)y->major, (uint64_t)y->minor};

    /* CG_DEV_ANY is the largest number this way. */
    for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    }
    return 0;
}

/* --- the form --- */

/* The entries of one type, and where those with any major begin. */
struct slice {
    const struct cg_dev_entry *items;
    size_t count;
    size_t any_major;
};

static const struct cg_dev_entry *find(const struct slice *s, char type, int64_t major,
                                       int64_t minor)
{
    const struct cg_dev_entry key = {.type = type, .major = major, .minor = minor};

    return s->count > 0 ? bsearch(&key, s->items, s->count, sizeof key, compare_keys) : NULL;
}

static struct slice slice_of(const struct cg_dev_table *t, char type)
{
    struct slice s = {0};
    size_t i = 0;

    while (i < t->count && t->items[i].type < type)
        i++;
    s.items = t->items + i;
    while (i + s.count < t->count && s.items[s.count].type == type) {
        if (s.items[s.count].major != CG_DEV_ANY)
            s.any_major = s.count + 1;
        s.count++;
    }
    return s;
}

/* What is being made, and why it cannot be when it cannot. */
struct form {
    struct arena *a;
    struct cg_dev_v1 v1;
    uint8_t flip; /* exceptions state the bits of an entry XOR this */
    bool failed;
    struct cg_dev_entry narrow, wide; /* an entry, and the wider one that it would subtract from */
};

/*
 * The kernel has 32 bits for a number and takes the largest for "any". No device has it (a dev_t
 * holds 12 bits of major and 20 of minor), so nothing is lost without such an exception.
 */
static bool can_be_written(const struct cg_dev_entry *entry)
{
    return entry->major != UINT32_MAX && entry->minor != UINT32_MAX;
}

static void add_exception(struct form *f, const struct cg_dev_entry *entry, uint8_t access)
{
    struct cg_dev_entry *item;

    if (access == 0 || !can_be_written(entry))
        return;
    item = arena_push(f->a, &f->v1.exceptions, &f->v1.count, sizeof *item);
    *item = *entry;
    item->access = access;
}

/*
 * All exceptions that match a device count, so one cannot take back what a wider one gives. Returns
 * whether the wider one says as much as the entry does, which is then not needed.
 */
static bool check_wider(struct form *f, const struct cg_dev_entry *entry,
                        const struct cg_dev_entry *wider)
{
    uint8_t mine, theirs;

    if (!wider || !can_be_written(entry))
        return false;
    mine = entry->access ^ f->flip;
    theirs = wider->access ^ f->flip;
    if (theirs & ~mine && !f->failed) {
        f->failed = true;
        f->narrow = *entry;
        f->wide = *wider;
    }
    return mine == theirs;
}

static void add_type(struct form *f, const struct cg_dev_table *t, char type)
{
    const struct slice s = slice_of(t, type);
    const struct cg_dev_entry *all = find(&s, type, CG_DEV_ANY, CG_DEV_ANY);
    const struct cg_dev_entry none = {.type = type, .major = CG_DEV_ANY, .minor = CG_DEV_ANY};

    if (!all)
        all = &none;
    for (size_t i = 0; i < s.count && !f->failed; i++) {
        const struct cg_dev_entry *entry = &s.items[i];
        bool covered = false;

        if (entry == all)
            continue;
        covered |= check_wider(f, entry, all);
        if (entry->major != CG_DEV_ANY && entry->minor != CG_DEV_ANY) {
            covered |= check_wider(f, entry, find(&s, type, entry->major, CG_DEV_ANY));
            covered |= check_wider(f, entry, find(&s, type, CG_DEV_ANY, entry->minor));
        }
        if (!covered)
            add_exception(f, entry, entry->access ^ f->flip);
        if (entry->major == CG_DEV_ANY || entry->minor != CG_DEV_ANY)
            continue;
        /* Devices of this major where an (any, minor) exception matches too. */
        for (size_t k = s.any_major; k < s.count && !f->failed; k++) {
            const struct cg_dev_entry *line = &s.items[k];
            const struct cg_dev_entry crossing = {
                .type = type, .major = entry->major, .minor = line->minor, .access = entry->access};

            if (line->minor != CG_DEV_ANY && !find(&s, type, entry->major, line->minor))
                check_wider(f, &crossing, line);
        }
    }
    add_exception(f, all, all->access ^ f->flip);
}

static struct form make_form(const struct cg_dev_table *t, bool allow_all, struct arena *a)
{
    struct form f = {.a = a, .v1.allow_all = allow_all, .flip = allow_all ? CG_DEV_RWM : 0};

    add_type(&f, t, 'b');
    if (!f.failed)
        add_type(&f, t, 'c');
    return f;
}

int cg_dev_v1_form(const struct cg_dev_table *t, struct arena *a, struct cg_dev_v1 *ret,
                   struct err *e)
{
    struct form deny = make_form(t, false, a);
    struct form allow;
    char access[4], narrow[48], wide[48];

    *ret = deny.v1;
    if (!deny.failed)
        return 0;
    allow = make_form(t, true, a);
    *ret = allow.v1;
    if (!allow.failed)
        return 0;
    cg_dev_access_text(deny.narrow.access, access);
    return err_set(
        e, -ENOTSUP,
        "cgroup v1 cannot express this device list: %s is allowed %s, but the wider rule "
        "\"%s\" would add to that, and nothing can be subtracted there; name the devices "
        "of the wider rule one by one",
        class_text(&deny.narrow, narrow), deny.narrow.access ? access : "nothing",
        entry_text(&deny.wide, deny.wide.access, wide));
}

/* --- putting it into force --- */

struct list {
    bool allow_all;
    struct cg_dev_entry *items; /* sorted; only without allow_all */
    size_t count;
};

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

static int read_list(int dirfd, struct arena *a, struct list *ret, struct err *e)
{
    autofree char *text = NULL;
    ssize_t n = io_read_all_at(dirfd, "devices.list", LIST_MAX, &text);
    char *cursor, *line;

    if (n < 0)
        return err_sys(e, (int)n, "reading devices.list");
    cursor = text;
    while ((line = str_next(&cursor, '\n'))) {
        struct cg_dev_entry entry, *item;
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
        item = arena_push(a, &ret->items, &ret->count, sizeof *item);
        *item = entry;
    }
    if (ret->count > 1)
        qsort(ret->items, ret->count, sizeof *ret->items, compare_keys);
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

    entry_text(entry, access, text);
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

        while (k < other_count && compare_keys(&other[k], &list[i]) < 0)
            k++;
        if (k < other_count && compare_keys(&other[k], &list[i]) == 0)
            missing &= (uint8_t)~other[k].access;
        if (missing == 0)
            continue;
        r = write_entry(w, &list[i], whole ? list[i].access : missing, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int cg_dev_v1_apply(int dirfd, const struct cg_dev_v1 *want, struct err *e)
{
    autoarena a = ARENA_INIT;
    CLEANUP(writer_close)
    struct writer allow = {.dirfd = dirfd, .file = "devices.allow", .fd = FD_NONE};
    CLEANUP(writer_close)
    struct writer deny = {.dirfd = dirfd, .file = "devices.deny", .fd = FD_NONE};
    struct list now = {0};
    int r = read_list(dirfd, &a, &now, e);

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
    r = write_missing(&allow, want->exceptions, want->count, now.items, now.count, true, e);
    if (r < 0)
        return r;
    return write_missing(&deny, now.items, now.count, want->exceptions, want->count, false, e);
}
