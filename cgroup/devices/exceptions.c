/* SPDX-License-Identifier: Apache-2.0 */

#include "cgroup/devices/exceptions.h"

#include "base/arena.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "c 1:3" */
static const char *class_text(const struct cg_dev_entry *entry, char buf[static 48])
{
    cg_dev_entry_text(entry, 0, buf);
    buf[strlen(buf) - 1] = '\0';
    return buf;
}

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

    return s->count > 0 ? bsearch(&key, s->items, s->count, sizeof key, cg_dev_entry_compare)
                        : NULL;
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
    struct cg_dev_exceptions v1;
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
    item = &ARENA_APPEND(f->a, f->v1.exceptions, f->v1.count);
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

static int check_count(const struct cg_dev_exceptions *v1, struct err *e)
{
    if (v1->count <= CG_DEV_EXCEPTIONS_MAX)
        return 0;
    return err_set(
        e, -E2BIG,
        "this device list needs %zu rules, and cgroup v1, where each one takes longer the "
        "more there are, is given %d at most; name whole major numbers, such as c 10:*",
        v1->count, CG_DEV_EXCEPTIONS_MAX);
}

int cg_dev_exceptions_make(const struct cg_dev_table *t, struct arena *a,
                           struct cg_dev_exceptions *ret, struct err *e)
{
    struct form deny = make_form(t, false, a);
    struct form allow;
    char access[4], narrow[48], wide[48];

    *ret = deny.v1;
    if (!deny.failed)
        return check_count(ret, e);
    allow = make_form(t, true, a);
    *ret = allow.v1;
    if (!allow.failed)
        return check_count(ret, e);
    cg_dev_access_text(deny.narrow.access, access);
    return err_set(
        e, -ENOTSUP,
        "cgroup v1 cannot express this device list: %s is allowed %s, but the wider rule "
        "\"%s\" would add to that, and nothing can be subtracted there; name the devices "
        "of the wider rule one by one",
        class_text(&deny.narrow, narrow), deny.narrow.access ? access : "nothing",
        cg_dev_entry_text(&deny.wide, deny.wide.access, wide));
}
