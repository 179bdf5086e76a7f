/* SPDX-License-Identifier: Apache-2.0 */

/*
 * In place of verbs_run.c, in the program that runtimes start: what operators ask is for the other one. Whatever is
 * linked into this one is mapped, in part, into each hook, and counts for its memory.
 */

#include "base/err.h"
#include "base/program.h"
#include "hook/tool/verbs.h"

#include <errno.h>
#include <unistd.h>

int verbs_run(const struct options *o, char **argv, struct arena *a, struct err *e)
{
    char own[PATH_MAX], other[PATH_MAX];
    int r = program_paths(own, other);

    (void)o, (void)a;
    if (r < 0)
        return err_sys(e, r, "cannot find the program that has the verbs");
    execve(other, argv, environ);
    return err_sys(e, -errno, "cannot start %s, which has the verbs", other);
}
