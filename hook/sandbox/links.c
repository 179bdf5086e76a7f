/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/links.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/links.h"
#include "base/str.h"
#include "hook/sandbox/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longer than any id may be by so much that one which is cut off is still too long for the kernel. */
#define CONTAINER_KEY_SIZE (sizeof STATE_CONTAINERS "/" + NAME_MAX + 1)
#define PATH_KEY_SIZE      (sizeof STATE_PATHS "/" + LINKS_KEY_SIZE)

/* Rows of the two tables, from the top of the state directory. */
static const char *container_key(const char *id, char buf[static CONTAINER_KEY_SIZE])
{
    snprintf(buf, CONTAINER_KEY_SIZE, STATE_CONTAINERS "/%s", id);
    return buf;
}

static const char *path_key(const char *path, char buf[static PATH_KEY_SIZE])
{
    char hash[LINKS_KEY_SIZE];

    snprintf(buf, PATH_KEY_SIZE, STATE_PATHS "/%s", links_key(path, hash));
    return buf;
}

int links_add_container(const struct state_dir *s, const char *container_id, const char *sandbox_id,
                        struct err *e)
{
    char buf[CONTAINER_KEY_SIZE];
    const char *key = container_key(container_id, buf);
    int r;

    if (str_eq(container_id,
               sandbox_id)) { /* which needs none; that of a predecessor is wrong now */
        links_drop(s->top, key);
        return 0;
    }
    r = links_set(s->top, key, sandbox_id);
    if (r == -EEXIST) {
        links_drop(s->top, key);
        r = links_set(s->top, key, sandbox_id);
    }
    return r < 0 ? err_sys(e, r, "cannot remember the sandbox of container %s", container_id) : 0;
}

/* 0; -ENOENT there is none, or it is damaged; other -errno. */
static int read_container(const struct state_dir *s, const char *container_id,
                          char sandbox_id[static PATH_MAX])
{
    char key[CONTAINER_KEY_SIZE];
    int r = links_get(s->top, container_key(container_id, key), sandbox_id);

    if (r < 0)
        return r;
    return strlen(sandbox_id) <= NAME_MAX && !strchr(sandbox_id, '/') && !str_eq(sandbox_id, ".") &&
                   !str_eq(sandbox_id, "..")
               ? 0
               : -ENOENT;
}

void links_drop_container(const struct state_dir *s, const char *container_id,
                          const char *sandbox_id)
{
    char remembered[PATH_MAX], key[CONTAINER_KEY_SIZE];
    int r = sandbox_id ? read_container(s, container_id, remembered) : -ENOENT;

    if (r == -ENOENT || (r == 0 && str_eq(remembered, sandbox_id)))
        links_drop(s->top, container_key(container_id, key));
}

int links_find_container(const struct state_dir *s, const char *container_id, struct arena *a,
                         const char **ret)
{
    char sandbox_id[PATH_MAX];
    int r = read_container(s, container_id, sandbox_id);

    *ret = r == 0 ? arena_strdup(a, sandbox_id) : NULL;
    return r;
}

/* Whose a path is: the id in @owner, "" nobody's. A row of the same key may be of another path. 0; -errno it is
 * not known. */
static int owner_of(const struct state_dir *s, const char *path, char owner[static PATH_MAX])
{
    char key[PATH_KEY_SIZE];
    int r = links_get(s->top, path_key(path, key), owner);
    char *claimed = r == 0 ? strchr(owner, '/') : NULL;

    if (claimed && str_eq(claimed, path))
        *claimed = '\0';
    else
        owner[0] = '\0';
    return r == -ENOENT ? 0 : r;
}

int links_claim(const struct state_dir *s, const char *sandbox_id, const char *path,
                struct arena *a, const char **ret_owner, struct err *e)
{
    char key[PATH_KEY_SIZE], owner[PATH_MAX];
    int r = links_set(s->top, path_key(path, key), arena_printf(a, "%s%s", sandbox_id, path));

    if (r < 0 && r != -EEXIST)
        return err_sys(e, r, "cannot remember that %s is that of sandbox %s", path, sandbox_id);
    if (r == 0)
        return 0;
    r = owner_of(s, path, owner);
    if (r < 0)
        return err_sys(e, r, "cannot read which sandbox %s is that of", path);
    /* None: another path has the same key, or it was released just now; it goes without. */
    if (str_empty(owner) || str_eq(owner, sandbox_id))
        return 0;
    *ret_owner = arena_strdup(a, owner);
    return -EEXIST;
}

int links_release(const struct state_dir *s, const char *sandbox_id, const char *path)
{
    char key[PATH_KEY_SIZE], owner[PATH_MAX];
    int r = owner_of(s, path, owner);

    if (r == 0 && str_eq(owner, sandbox_id))
        links_drop(s->top, path_key(path, key));
    return r;
}

int links_names(const struct state_dir *s, const char *sandbox_id, struct arena *a,
                const char ***ret, size_t *ret_count)
{
    autodir dir = io_opendir_at(s->top, STATE_PATHS);
    size_t len = strlen(sandbox_id);
    struct dirent *entry;
    char text[PATH_MAX];

    *ret = NULL;
    *ret_count = 0;
    if (!dir)
        return -errno;
    while ((entry = io_next_entry(dir))) {
        int r = links_get(dirfd(dir), entry->d_name, text);

        if (r < 0 && r != -ENOENT)
            return r;
        if (r == 0 && str_starts(text, sandbox_id) && text[len] == '/')
            ARENA_APPEND(a, *ret, *ret_count) = arena_strdup(a, text + len);
    }
    return -errno;
}

int links_owner(const struct state_dir *s, const char *path, struct arena *a, const char **ret)
{
    char owner[PATH_MAX];
    int r = owner_of(s, path, owner);

    if (r < 0 || str_empty(owner))
        return r;
    *ret = arena_strdup(a, owner);
    return 1;
}

int links_is_foreign(const struct state_dir *s, const char *sandbox_id, const char *path)
{
    char owner[PATH_MAX];
    int r = owner_of(s, path, owner);

    return r < 0 ? r : !str_empty(owner) && !str_eq(owner, sandbox_id);
}

/* Rows of both tables begin with the sandbox's id. */
static bool is_of_dead(char *text, const void *arg)
{
    const struct state_dir *s = arg;

    text[strcspn(text, "/")] = '\0';
    return faccessat(s->sandboxes, text, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

int links_sweep_dead(const struct state_dir *s)
{
    int first = links_sweep(s->top, STATE_CONTAINERS, is_of_dead, s);
    int second = links_sweep(s->top, STATE_PATHS, is_of_dead, s);

    return first < 0 ? first : second;
}
