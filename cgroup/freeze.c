/* SPDX-License-Identifier: Apache-2.0 */

/* Thawing what somebody has frozen. See cg_thaw() in controller.h. */

#include "base/cleanup.h"
#include "base/io.h"
#include "cgroup/ops.h"

#include <fcntl.h>

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
