/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/output.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

#include <fcntl.h>

int output_write(const char *path, const struct sbuf *text, struct err *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    autoarena a = ARENA_INIT;
    const char *dir = !slash          ? "."
                      : slash == path ? "/"
                                      : arena_strndup(&a, path, (size_t)(slash - path));
    autofd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char shown[300];
    int r = fd < 0 ? -errno : io_replace_public_at(fd, name, sbuf_text(text), text->len);

    return r < 0 ? err_sys(e, r, "cannot write %s", str_escape(path, shown, sizeof shown)) : 0;
}
