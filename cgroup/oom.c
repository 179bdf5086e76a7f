/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How many processes of a cgroup the kernel has killed for want of memory. Kernel:
 * Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst, "memory.events".
 */

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/controller.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Either file has some ten lines of two words. */
#define TEXT_SIZE 1024

int cg_oom_open(const struct cg_host *host, const char *path)
{
    const struct cg_hierarchy *h = cg_host_find(host, CG_CTL_MEMORY);
    autofd dirfd = h ? cg_hierarchy_open(h, path) : -ENOENT;
    int fd = dirfd < 0 ? dirfd
                       : openat(dirfd, h->v2 ? "memory.events" : "memory.oom_control",
                                O_RDONLY | O_CLOEXEC);

    return dirfd >= 0 && fd < 0 ? -errno : fd;
}

/* True: the line has this key, and a number behind it. */
static bool take(const char *line, const char *key, uint64_t *ret)
{
    size_t len = strlen(key);

    return str_starts(line, key) && line[len] == ' ' &&
           str_to_u64(line + len + 1, strlen(line + len + 1), ret) == 0;
}

int cg_oom_parse(char *text, struct cg_oom *ret)
{
    bool known = false;
    const char *line;

    *ret = (struct cg_oom){.limits = CG_UNKNOWN};
    while ((line = str_next(&text, '\n'))) {
        known = take(line, "oom_kill", &ret->kills) || known;
        (void)take(line, "oom", &ret->limits);
    }
    return known ? 0 : -ENODATA;
}

int cg_oom_read(int fd, struct cg_oom *ret)
{
    char text[TEXT_SIZE], *end;
    ssize_t len = pread(fd, text, sizeof text, 0);

    if (len < 0)
        return -errno;
    /* Half a number is another one. */
    end = memrchr(text, '\n', (size_t)len);
    if (!end)
        return -ENODATA;
    *end = '\0';
    return cg_oom_parse(text, ret);
}
