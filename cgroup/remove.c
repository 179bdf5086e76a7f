/* SPDX-License-Identifier: Apache-2.0 */

/* Removing a cgroup of ours from every hierarchy. See cg_delete() in controller.h. */

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "cgroup/ops.h"
#include "cgroup/parents.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>

/* Cgroups that a payload made inside of ours go as well, as deep as this. */
#define CHILD_DEPTH 32

static void remove_children(int dirfd, unsigned depth)
{
    autodir dir = io_opendir_at(dirfd, ".");
    struct dirent *entry;

    /* What is not seen stays busy, and the removal of the cgroup around it says so. */
    while ((entry = io_next_entry(dir))) {
        if (entry->d_type != DT_DIR)
            continue;
        if (unlinkat(dirfd, entry->d_name, AT_REMOVEDIR) < 0 && errno == EBUSY &&
            depth < CHILD_DEPTH) {
            autofd child = io_open_beneath(dirfd, entry->d_name, O_PATH | O_DIRECTORY);

            if (child >= 0)
                remove_children(child, depth + 1);
            unlinkat(dirfd, entry->d_name, AT_REMOVEDIR);
        }
    }
}

/* Wait a little for tasks that are ending: by event on v2 (cgroup-v2.rst "[Un]populated
 * Notification"), by time on v1, which has none. */
static void wait_for_exit(const struct cg_hierarchy *h, int dirfd, unsigned attempt, int left_ms)
{
    autofd fd =
        h->v2 && dirfd >= 0 ? openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC) : FD_NONE;
    uint64_t populated = 0;

    if (fd >= 0 && cg_read_key(dirfd, "cgroup.events", "populated", &populated) == 0 && populated) {
        struct pollfd pfd = {.fd = fd, .events = POLLPRI};
        char text[128];

        /* The first read arms the notification; look again, it may have come in between. */
        if (read(fd, text, sizeof text) > 0 &&
            cg_read_key(dirfd, "cgroup.events", "populated", &populated) == 0 && populated)
            poll(&pfd, 1, left_ms);
        return;
    }
    io_sleep_ms(attempt < 5 ? 1u << attempt : 20);
}

static int remove_dir_at(int at, const char *name)
{
    return unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

/* One directory, @dirfd open on it (may be FD_NONE), @name below @at. */
static int remove_one(const struct cg_hierarchy *h, int at, const char *name, int dirfd,
                      unsigned long long deadline)
{
    for (unsigned attempt = 0;; attempt++) {
        int r = remove_dir_at(at, name);
        unsigned long long now;

        if (r == -EBUSY && dirfd >= 0) {
            remove_children(dirfd, 0);
            r = remove_dir_at(at, name);
        }
        if (r != -EBUSY && r != -EINTR)
            return r;
        now = io_now_us();
        if (now >= deadline)
            return -EBUSY;
        if (attempt > 0)
            wait_for_exit(h, dirfd, attempt, (int)((deadline - now) / 1000) + 1);
    }
}

static int delete_in(struct cg_controller *c, size_t i, unsigned long long deadline, struct err *e)
{
    const struct cg_hierarchy *h = &c->host->hierarchies[i];
    char where[PATH_MAX];
    int r = 0;

    if (c->leaf && c->domain_fd >= 0)
        r = remove_one(h, c->domain_fd, c->leaf, c->fds[i], deadline);
    if (r < 0)
        return err_sys(e, r, "cannot remove %s",
                       cg_full_path(h, c->path, c->leaf, NULL, where, sizeof where));
    if (c->leaf)
        return 0;
    r = cg_hierarchy_fd(h);
    if (r >= 0)
        r = remove_one(h, r, cg_path_relative(c->path), c->fds[i], deadline);
    if (r < 0)
        return err_sys(e, r, "cannot remove %s",
                       cg_full_path(h, c->path, NULL, NULL, where, sizeof where));
    cg_parents_remove(c->parents, h, c->path);
    return 0;
}

/* Stopping a scope kills what is in it: that must not be what this is for. */
static int wait_until_empty(const struct cg_controller *c, unsigned long long deadline,
                            struct err *e)
{
    for (unsigned attempt = 0;; attempt++) {
        unsigned long long now = io_now_us();
        int r = cg_is_empty(c, e);

        if (r != 0)
            return r < 0 ? r : 0;
        if (now >= deadline)
            return err_set(e, -EBUSY, "cannot remove %s: it holds processes", c->unit->name);
        wait_for_exit(&c->host->hierarchies[0], c->fds[0], attempt,
                      (int)((deadline - now) / 1000) + 1);
    }
}

int cg_delete(struct cg_controller *c, int timeout_ms, struct err *e)
{
    unsigned long long deadline = io_now_us() + (unsigned long long)timeout_ms * 1000;
    int first = 0;

    if (c->borrowed && !c->leaf) {
        cg_close(c);
        return 0;
    }
    /* Not before systemd has let go of it: it would take the scope for active for ever. */
    if (c->unit) {
        int r = wait_until_empty(c, deadline, e);

        if (r == 0)
            r = cg_unit_stop(c->unit, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < c->host->count; i++) {
        int r = delete_in(c, i, deadline, e);

        if (first == 0)
            first = r;
    }
    cg_close(c);
    return first;
}
