/* SPDX-License-Identifier: Apache-2.0 */

/* What can be told of systemd's units without asking systemd. See systemd.h. */

#include "cgroup/systemd.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* src/basic/path-lookup.c in systemd: where it writes what it is told of a unit when it starts it. */
#define TRANSIENT "/run/systemd/transient/"

int cg_unit_is_known(const char *name)
{
    char path[sizeof TRANSIENT + NAME_MAX];

    if (snprintf(path, sizeof path, TRANSIENT "%s", name) >= (int)sizeof path)
        return 0; /* no file has such a name */
    if (access(path, F_OK) == 0)
        return 1;
    return errno == ENOENT ? 0 : -errno;
}
