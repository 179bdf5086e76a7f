/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/output.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <fcntl.h>
#include <sys/stat.h>

/* The directory that it is in, and its name there. -errno. */
static int open_directory(const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    autoarena a = ARENA_INIT;
    const char *dir = !slash          ? "."
                      : slash == path ? "/"
                                      : arena_strndup(&a, path, (size_t)(slash - path));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    *ret_name = slash ? slash + 1 : path;
    return fd < 0 ? -errno : fd;
}

static int cannot(const char *path, int r, struct err *e)
{
    char shown[300];

    return r < 0 ? err_sys(e, r, "cannot write %s", str_escape(path, shown, sizeof shown)) : 0;
}

int output_check(const char *path, struct err *e)
{
    const char *name;
    autofd fd = open_directory(path, &name);
    struct stat st;
    int r = fd < 0 ? fd : 0;

    if (r == 0 && faccessat(fd, ".", W_OK, AT_EACCESS) < 0)
        r = -errno;
    if (r == 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
        r = -EISDIR;
    return cannot(path, r, e);
}

int output_write(const char *path, const struct sbuf *text, struct err *e)
{
    const char *name;
    autofd fd = open_directory(path, &name);

    return cannot(path, fd < 0 ? fd : io_replace_public_at(fd, name, sbuf_text(text), text->len),
                  e);
}
