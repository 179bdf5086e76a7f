/* SPDX-License-Identifier: Apache-2.0 */
#include "base/links.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

const char *links_key(const char *text, char buf[static LINKS_KEY_SIZE])
{
    snprintf(buf, LINKS_KEY_SIZE, "%016" PRIx64, str_hash(text));
    return buf;
}

int links_set(int dirfd, const char *key, const char *text)
{
    return symlinkat(text, dirfd, key) < 0 ? -errno : 0;
}

int links_get(int dirfd, const char *key, char text[static PATH_MAX])
{
    ssize_t len = readlinkat(dirfd, key, text, PATH_MAX);

    if (len < 0)
        return errno == EINVAL ? -ENOENT : -errno; /* no link at all */
    if (len == 0 || len == PATH_MAX)
        return -ENOENT;
    text[len] = '\0';
    return 0;
}

void links_drop(int dirfd, const char *key)
{
    unlinkat(dirfd, key, 0);
}

int links_sweep(int at, const char *table, bool (*is_stale)(char *text, const void *arg),
                const void *arg)
{
    autodir dir = io_opendir_at(at, table);
    struct dirent *entry;
    int first = 0, last;

    while ((entry = io_next_entry(dir))) {
        char text[PATH_MAX];
        int r = links_get(dirfd(dir), entry->d_name, text);

        if (r == 0 && is_stale(text, arg))
            links_drop(dirfd(dir), entry->d_name);
        first = first < 0 || r == -ENOENT ? first : r;
    }
    last = -errno;
    return first < 0 ? first : last;
}
