/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/claim.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static const char *name_of(const char *path, char buf[static 20])
{
    snprintf(buf, 20, "%016" PRIx64, str_hash(path));
    return buf;
}

/* Read a claim. @ret_path points behind the owner's id in @text. False: there is none. */
static bool read_claim(const struct state_dir *s, const char *name, char text[static PATH_MAX],
                       const char **ret_path)
{
    ssize_t len = readlinkat(s->paths, name, text, PATH_MAX - 1);

    if (len <= 0)
        return false;
    text[len] = '\0';
    *ret_path = strchr(text, '/');
    return *ret_path != NULL;
}

/* Whether a claim is of this path, and not of another one with the same hash. Returns the owner's
 * id in @owner; "" none. */
static const char *owner_of(const struct state_dir *s, const char *path,
                            char owner[static PATH_MAX])
{
    char name[20];
    const char *claimed;

    if (!read_claim(s, name_of(path, name), owner, &claimed) || !str_eq(claimed, path))
        owner[0] = '\0';
    else
        owner[claimed - owner] = '\0';
    return owner;
}

int claim_take(const struct state_dir *s, const char *sandbox_id, const char *path, struct arena *a,
               const char **ret_owner, struct err *e)
{
    char name[20], owner[PATH_MAX];
    int r;

    if (symlinkat(arena_printf(a, "%s%s", sandbox_id, path), s->paths, name_of(path, name)) == 0)
        return 0;
    r = -errno;
    if (r != -EEXIST)
        return err_sys(e, r, "cannot remember that cgroup %s is that of sandbox %s", path,
                       sandbox_id);
    owner_of(s, path, owner);
    /* None: another path has the same hash, or it was released just now; it goes without. */
    if (str_empty(owner) || str_eq(owner, sandbox_id))
        return 0;
    *ret_owner = arena_strdup(a, owner);
    return -EEXIST;
}

void claim_release(const struct state_dir *s, const char *sandbox_id, const char *path)
{
    char name[20], owner[PATH_MAX];

    if (str_eq(owner_of(s, path, owner), sandbox_id))
        unlinkat(s->paths, name_of(path, name), 0);
}

bool claim_is_foreign(const struct state_dir *s, const char *sandbox_id, const char *path)
{
    char owner[PATH_MAX];

    owner_of(s, path, owner);
    return !str_empty(owner) && !str_eq(owner, sandbox_id);
}

void claim_sweep(const struct state_dir *s)
{
    autodir dir = io_opendir_at(s->paths, ".");
    struct dirent *entry;

    while ((entry = io_next_entry(dir))) {
        char owner[PATH_MAX];
        const char *path;

        if (!read_claim(s, entry->d_name, owner, &path))
            continue;
        owner[path - owner] = '\0';
        if (faccessat(s->sandboxes, owner, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            unlinkat(s->paths, entry->d_name, 0);
    }
}
