/* SPDX-License-Identifier: Apache-2.0 */

/* Freezing, and thawing what somebody has frozen. See cg_freeze() in controller.h. */

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/dir.h"
#include "cgroup/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

/* Cgroups that a payload made inside of ours are thawed as well, as deep as this. */
#define CHILD_DEPTH 32

static void thaw_tree(int dirfd, bool v2, unsigned depth)
{
    autodir dir = NULL;
    struct dirent *entry;

    (void)io_write_at(dirfd, v2 ? "cgroup.freeze" : "freezer.state", v2 ? "0" : "THAWED");
    if (depth == CHILD_DEPTH)
        return;
    dir = io_opendir_at(dirfd, ".");
    while ((entry = io_next_entry(dir))) {
        autofd child = FD_NONE;

        if (entry->d_type == DT_DIR)
            child = io_open_beneath(dirfd, entry->d_name, O_PATH | O_DIRECTORY);
        if (child >= 0)
            thaw_tree(child, v2, depth + 1);
    }
}

void cg_thaw(const struct cg_controller *c)
{
    for (size_t i = 0; i < c->host->count; i++) {
        const struct cg_hierarchy *h = &c->host->hierarchies[i];

        if (c->fds[i] >= 0 && (h->v2 || h->controllers & CG_CTL_BIT(CG_CTL_FREEZER)))
            thaw_tree(c->fds[i], h->v2, 0);
    }
}

/* On a hybrid host cgroups of v2 have no freezer of their own use: that of v1 has them all. */
static const struct cg_hierarchy *freezer_of(const struct cg_host *host)
{
    const struct cg_hierarchy *h = cg_host_find(host, CG_CTL_FREEZER);

    for (size_t i = 0; !h && i < host->count; i++)
        h = host->hierarchies[i].v2 ? &host->hierarchies[i] : NULL;
    return h;
}

/* What is wanted of the cgroup itself, whatever those above it are: one digit. */
static const char *wish_file(const struct cg_hierarchy *h)
{
    return h->v2 ? "cgroup.freeze" : "freezer.self_freezing";
}

int cg_freeze(const struct cg_controller *c, struct err *e)
{
    const struct cg_hierarchy *h = freezer_of(c->host);
    const char *file = h && h->v2 ? "cgroup.freeze" : "freezer.state";
    char where[PATH_MAX];
    int fd = h ? c->fds[h - c->host->hierarchies] : FD_NONE, r;

    if (fd < 0)
        return err_set(e, -ENOENT, "there is nothing to freeze %s with", c->path);
    r = io_write_at(fd, file, h->v2 ? "1" : "FROZEN");
    return r < 0 ? err_sys(e, r, "cannot freeze %s",
                           cg_full_path(h, c->path, NULL, file, where, sizeof where))
                 : 0;
}

int cg_is_frozen(const struct cg_controller *c)
{
    const struct cg_hierarchy *h = freezer_of(c->host);
    int dirfd = h ? c->fds[h - c->host->hierarchies] : FD_NONE;
    char text[8];
    ssize_t len = dirfd < 0 ? -ENOENT : io_read_at(dirfd, wish_file(h), text, sizeof text);

    return len < 0 ? (int)len : str_eq(text, "1");
}

int cg_freezer_open(const struct cg_host *host, const char *path)
{
    const struct cg_hierarchy *h = freezer_of(host);
    autofd dirfd = h ? cg_hierarchy_open(h, path) : -ENOENT;
    int fd = dirfd < 0 ? dirfd : openat(dirfd, wish_file(h), O_RDONLY | O_CLOEXEC);

    return dirfd >= 0 && fd < 0 ? -errno : fd;
}

int cg_freezer_read(int fd)
{
    char digit = '0';
    ssize_t len = pread(fd, &digit, 1, 0);

    return len < 0 ? -errno : len == 1 && digit == '1';
}

/* ---- until it is so ---- */

int cg_is_still(const struct cg_controller *c)
{
    const struct cg_hierarchy *h = freezer_of(c->host);
    int dirfd = h ? c->fds[h - c->host->hierarchies] : FD_NONE, r;
    uint64_t frozen = 0;
    char text[16];
    ssize_t len;

    if (dirfd < 0)
        return -ENOENT;
    if (h->v2) {
        r = cg_read_key(dirfd, "cgroup.events", "frozen", &frozen);
        return r < 0 ? r : frozen == 1;
    }
    len = io_read_at(dirfd, "freezer.state", text, sizeof text);
    return len < 0 ? (int)len : str_eq(text, "FROZEN");
}

/* Ask for it, or not any more: of the cgroup itself, and not of what is inside of it. */
static void ask(const struct cg_controller *c, bool want)
{
    const struct cg_hierarchy *h = freezer_of(c->host);

    if (want)
        (void)cg_freeze(c, NULL);
    else if (h)
        (void)io_write_at(c->fds[h - c->host->hierarchies],
                          h->v2 ? "cgroup.freeze" : "freezer.state", h->v2 ? "0" : "THAWED");
}

/* Where exec(2) of a process with threads was caught on v1, its caller waits for threads to end that stand still
 * already, and nobody ever stands still but after going on for this long. Nothing else helps, and nothing else
 * that is waited for takes harm. */
#define MOMENT_MS 10

static void let_on(const struct cg_controller *c)
{
    ask(c, false);
    io_sleep_ms(MOMENT_MS);
    ask(c, true);
}

/* With @ours nobody but us has asked for it. 0; -ETIMEDOUT; other -errno. */
static int wait_still(const struct cg_controller *c, bool want, bool ours, int timeout_ms)
{
    const struct cg_hierarchy *h = freezer_of(c->host);
    bool may_go_on = want && ours && h && !h->v2;
    unsigned long long end = io_now_us() + (unsigned long long)timeout_ms * 1000;

    for (unsigned round = 0;; round++) {
        int r = cg_is_still(c);

        if (r < 0 || r == want)
            return r < 0 ? r : 0;
        if (io_now_us() >= end)
            return -ETIMEDOUT;
        /* A v1 cgroup may stay half frozen until it is told again; and what was asked for may not have come
         * to be heard. */
        if (round % 16 == 15 && may_go_on)
            let_on(c);
        else if (round % 8 == 7 && (want || cg_is_frozen(c) == 1))
            ask(c, want);
        io_sleep_ms(round < 8 ? 1 : 20);
    }
}

int cg_freeze_wait(const struct cg_controller *c, int timeout_ms, struct err *e)
{
    int before = cg_is_frozen(c), r = cg_freeze(c, e);

    if (r < 0)
        return r;
    r = wait_still(c, true, before == 0, timeout_ms);
    if (r == 0)
        return 0;
    if (before != 1)
        ask(c, false);
    return err_sys(e, r,
                   "cannot freeze %s: some of its tasks do not stop, as of one that waits for "
                   "a disk; it is left as it was",
                   c->path);
}

int cg_thaw_wait(const struct cg_controller *c, bool inside, int timeout_ms, struct err *e)
{
    int r = cg_is_still(c);

    if (r == -ENOENT) /* there is no freezer, so nothing is frozen */
        return 0;
    if (inside)
        cg_thaw(c);
    else
        ask(c, false);
    r = wait_still(c, false, false, timeout_ms);
    if (r == -ETIMEDOUT && cg_is_frozen(c) == 0)
        return err_set(e, -EBUSY,
                       "%s is not to be frozen any more, but a cgroup above it is, and so are its "
                       "tasks; whoever has frozen that one has to thaw it",
                       c->path);
    return r < 0 ? err_sys(e, r, "cannot thaw %s", c->path) : 0;
}

int cg_leave_thawed(const struct cg_controller *c, int timeout_ms, struct err *e)
{
    int r = cg_is_frozen(c);

    if (r == 1)
        return cg_thaw_wait(c, true, timeout_ms, e);
    r = r == -ENOENT || r == -ENODEV ? 0 : r;
    return r < 0 ? err_sys(e, r, "cannot see whether %s is frozen", c->path) : 0;
}
