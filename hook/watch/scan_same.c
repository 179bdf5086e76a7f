/* SPDX-License-Identifier: Apache-2.0 */

/* Of scan.h what tells, without a pass, that a pass would see what the last one has seen. */

#include "hook/watch/scan.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "hook/sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longer lists than that are read by a pass. */
#define SAME_MAX 2048
/* A line of a list, at most. */
#define LINE_SIZE 12

/* What is open nowhere has no list, as for cg_threads(). */
#define NO_LIST 1

/*
 * Of a text that ends before there is no room for another line. 0: it cannot be told. The file is opened each time:
 * of one that stays open v1 gives the list of a second ago again (kernel/cgroup/cgroup-v1.c,
 * cgroup_pidlist_start()).
 */
static uint64_t print_of_file(const struct cg_controller *c, nlink_t most)
{
    char text[SAME_MAX + 1];
    const char *name;
    struct stat dir;
    uint64_t print;
    ssize_t len;
    int dirfd = cg_threads_dir(c, &name);
    autofd fd = dirfd < 0 ? FD_NONE : openat(dirfd, name, O_RDONLY | O_CLOEXEC);

    if (dirfd == -ENOENT)
        return NO_LIST;
    if (fd < 0 || fstat(dirfd, &dir) < 0 || dir.st_nlink > most)
        return 0;
    len = pread(fd, text, SAME_MAX, 0);
    if (len < 0 || len > SAME_MAX - LINE_SIZE)
        return 0;
    text[len] = '\0';
    print = str_hash(text) + (uint64_t)dir.st_ino * UINT64_C(1099511628211);
    return print > NO_LIST ? print : NO_LIST + 1;
}

bool scan_is_same(struct scan *scan)
{
    const struct sandbox *s = scan->sandbox;
    const struct cg_controller *lists[] = {s->has_overhead ? &s->overhead : NULL,
                                           scan_appears_inside(scan) ? &s->vcpu : NULL};
    /* As list_overhead() looks into them. */
    const nlink_t links[] = {s->vcpu.fds[0] >= 0 && s->vcpu.leaf ? 3 : 2, (nlink_t)-1};
    bool same = true;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        struct scan_file *f = &scan->files[i];

        if (!lists[i])
            continue;
        f->now = print_of_file(lists[i], links[i]);
        same = same && f->now != 0 && f->now == f->known;
    }
    return same;
}

void scan_look_again(struct scan *scan)
{
    scan->list = 0;
    memset(scan->files, 0, sizeof scan->files);
}

void scan_note_same(struct scan *scan, bool in_place)
{
    for (size_t i = 0; i < ARRAY_SIZE(scan->files); i++) {
        scan->files[i].known = in_place ? scan->files[i].now : 0;
        scan->files[i].now = 0;
    }
}
