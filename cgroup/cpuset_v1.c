/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Changing the list of a v1 cpuset that has children: a child's list must always be a part of its
 * parent's, so parents have to be widened before their children and narrowed after them. Kernel:
 * admin-guide/cgroup-v1/cpusets.rst 1.4. v2 has no such rule.
 */

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"
#include "cgroup/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Cgroups inside of ours are followed as deep as this. */
#define CHILD_DEPTH 32
/* A list of 8,192 CPUs, each second one. */
#define VALUE_SIZE 32768

static int write_tree(int dirfd, const char *file, const struct cg_cpulist *set, unsigned depth);

/* Links of a cgroup directory: two, and one for each child. */
static bool may_have_children(int dirfd)
{
    struct stat st;

    return fstat(dirfd, &st) < 0 || st.st_nlink > 2;
}

static int read_set(int dirfd, const char *file, struct cg_cpulist *ret)
{
    char value[VALUE_SIZE];
    ssize_t len = io_read_at(dirfd, file, value, sizeof value);

    *ret = (struct cg_cpulist){0};
    return len < 0 ? (int)len : cg_cpulist_parse(value, ret);
}

static int write_set(int dirfd, const char *file, const struct cg_cpulist *set)
{
    autosbuf text = SBUF_INIT;

    cg_cpulist_format(set, &text);
    return io_write_at(dirfd, file, sbuf_text(&text));
}

static struct cg_cpulist intersection(const struct cg_cpulist *a, const struct cg_cpulist *b)
{
    struct cg_cpulist both;

    for (size_t i = 0; i < ARRAY_SIZE(both.bits); i++)
        both.bits[i] = a->bits[i] & b->bits[i];
    return both;
}

static bool same_set(const struct cg_cpulist *a, const struct cg_cpulist *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* A child that had all of its parent's list has all of the new one; another one what is left to it,
 * and all of it rather than nothing. */
static int write_child(int dirfd, const char *file, const struct cg_cpulist *old,
                       const struct cg_cpulist *set, unsigned depth)
{
    struct cg_cpulist own, want;
    int r = read_set(dirfd, file, &own);

    if (r < 0 || cg_cpulist_count(&own) == 0)
        return r;
    want = intersection(&own, set);
    if (same_set(&own, old) || cg_cpulist_count(&want) == 0)
        want = *set;
    return same_set(&own, &want) ? 0 : write_tree(dirfd, file, &want, depth + 1);
}

static int write_children(int dirfd, const char *file, const struct cg_cpulist *old,
                          const struct cg_cpulist *set, unsigned depth)
{
    autodir dir = io_opendir_at(dirfd, ".");
    struct dirent *entry;

    while ((entry = io_next_entry(dir))) {
        autofd child = FD_NONE;
        int r;

        if (entry->d_type != DT_DIR)
            continue;
        child = io_open_beneath(dirfd, entry->d_name, O_PATH | O_DIRECTORY);
        r = child >= 0 ? write_child(child, file, old, set, depth) : child;
        if (r < 0 && r != -ENOENT) /* it was removed meanwhile */
            return r;
    }
    return -errno;
}

/* Through the union of the old list and the new one, which every child fits into. */
static int write_tree(int dirfd, const char *file, const struct cg_cpulist *set, unsigned depth)
{
    struct cg_cpulist old, both = *set;
    int r;

    if (depth == CHILD_DEPTH || !may_have_children(dirfd))
        return write_set(dirfd, file, set);
    r = read_set(dirfd, file, &old);
    if (r < 0)
        return r;
    cg_cpulist_add(&both, &old);
    if (!same_set(&both, &old))
        r = write_set(dirfd, file, &both);
    if (r == 0)
        r = write_children(dirfd, file, &old, set, depth);
    return r < 0 || same_set(&both, set) ? r : write_set(dirfd, file, set);
}

int cg_v1_write_cpuset(int dirfd, const char *file, const char *text)
{
    struct cg_cpulist set = {0};

    /* A text that we cannot read is the kernel's to refuse. */
    if (!may_have_children(dirfd) || cg_cpulist_parse(text, &set) < 0 ||
        cg_cpulist_count(&set) == 0)
        return io_write_at(dirfd, file, text);
    return write_tree(dirfd, file, &set, 0);
}
