/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUFFIX "-systemd"

int program_paths(char first[static PATH_MAX], char second[static PATH_MAX])
{
    size_t len;

    if (!realpath("/proc/self/exe", first))
        return -errno;
    len = strlen(first);
    if (str_ends(first, SUFFIX))
        first[len -= strlen(SUFFIX)] = '\0';
    if (len + sizeof SUFFIX > PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(second, first, len);
    memcpy(second + len, SUFFIX, sizeof SUFFIX);
    return 0;
}

static bool is_same(const struct stat *file, const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

bool program_is_run_by(pid_t pid)
{
    char link[32], first[PATH_MAX], second[PATH_MAX];
    struct stat st;

    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    if (stat(link, &st) < 0)
        return false;
    return is_same(&st, "/proc/self/exe") ||
           (program_paths(first, second) == 0 && (is_same(&st, first) || is_same(&st, second)));
}
