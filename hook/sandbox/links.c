/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/links.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/links.h"
#include "base/str.h"
#include "hook/sandbox/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int links_add_container(const struct state_dir *s, const char *container_id, const char *sandbox_id,
                        struct err *e)
{
    int r;

    if (str_eq(container_id,
               sandbox_id)) { /* which needs none; that of a predecessor is wrong now */
        links_drop(s->containers, container_id);
        return 0;
    }
    r = links_set(s->containers, container_id, sandbox_id);
    if (r == -EEXIST) {
        links_drop(s->containers, container_id);
        r = links_set(s->containers, container_id, sandbox_id);
    }
    return r < 0 ? err_sys(e, r, "cannot remember the sandbox of container %s", container_id) : 0;
}

/* False: there is none, or it is damaged. */
static bool read_container(const struct state_dir *s, const char *container_id,
                           char sandbox_id[static PATH_MAX])
{
    return links_get(s->containers, container_id, sandbox_id) && strlen(sandbox_id) <= NAME_MAX &&
           !strchr(sandbox_id, '/') && !str_eq(sandbox_id, ".") && !str_eq(sandbox_id, "..");
}

void links_drop_container(const struct state_dir *s, const char *container_id,
                          const char *sandbox_id)
{
    char remembered[PATH_MAX];

    if (!sandbox_id || !read_container(s, container_id, remembered) ||
        str_eq(remembered, sandbox_id))
        links_drop(s->containers, container_id);
}

const char *links_find_container(const struct state_dir *s, const char *container_id,
                                 struct arena *a)
{
    char sandbox_id[PATH_MAX];

    return read_container(s, container_id, sandbox_id) ? arena_strdup(a, sandbox_id) : NULL;
}

/* Whose a path is: the id in @owner, "" nobody's. A row of the same key may be of another path. */
static const char *owner_of(const struct state_dir *s, const char *path,
                            char owner[static PATH_MAX])
{
    char key[LINKS_KEY_SIZE];
    char *claimed = links_get(s->paths, links_key(path, key), owner) ? strchr(owner, '/') : NULL;

    if (claimed && str_eq(claimed, path))
        *claimed = '\0';
    else
        owner[0] = '\0';
    return owner;
}

int links_claim(const struct state_dir *s, const char *sandbox_id, const char *path,
                struct arena *a, const char **ret_owner, struct err *e)
{
    char key[LINKS_KEY_SIZE], owner[PATH_MAX];
    int r = links_set(s->paths, links_key(path, key), arena_printf(a, "%s%s", sandbox_id, path));

    if (r < 0 && r != -EEXIST)
        return err_sys(e, r, "cannot remember that cgroup %s is that of sandbox %s", path,
                       sandbox_id);
    /* None: another path has the same key, or it was released just now; it goes without. */
    if (r == 0 || str_empty(owner_of(s, path, owner)) || str_eq(owner, sandbox_id))
        return 0;
    *ret_owner = arena_strdup(a, owner);
    return -EEXIST;
}

void links_release(const struct state_dir *s, const char *sandbox_id, const char *path)
{
    char key[LINKS_KEY_SIZE], owner[PATH_MAX];

    if (str_eq(owner_of(s, path, owner), sandbox_id))
        links_drop(s->paths, links_key(path, key));
}

bool links_is_foreign(const struct state_dir *s, const char *sandbox_id, const char *path)
{
    char owner[PATH_MAX];

    return !str_empty(owner_of(s, path, owner)) && !str_eq(owner, sandbox_id);
}

/* Rows of both tables begin with the sandbox's id. */
static bool is_of_dead(char *text, const void *arg)
{
    const struct state_dir *s = arg;

    text[strcspn(text, "/")] = '\0';
    return faccessat(s->sandboxes, text, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

void links_sweep_dead(const struct state_dir *s)
{
    links_sweep(s->containers, is_of_dead, s);
    links_sweep(s->paths, is_of_dead, s);
}
