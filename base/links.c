/* SPDX-License-Identifier: Apache-2.0 */
#include "base/links.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

bool links_get(int dirfd, const char *key, char text[static PATH_MAX])
{
    ssize_t len = readlinkat(dirfd, key, text, PATH_MAX);

    if (len <= 0 || len == PATH_MAX)
        return false;
    text[len] = '\0';
    return true;
}

void links_drop(int dirfd, const char *key)
{
    unlinkat(dirfd, key, 0);
}

void links_sweep(int dirfd, bool (*is_stale)(char *text, const void *arg), const void *arg)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    autodir dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char text[PATH_MAX];

        if (links_get(dirfd, entry->d_name, text) && is_stale(text, arg))
            links_drop(dirfd, entry->d_name);
    }
}
