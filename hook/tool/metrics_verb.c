/* SPDX-License-Identifier: Apache-2.0 */

/* `metrics`: all sandboxes for Prometheus, to stdout or into a file of node_exporter's. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/tool/metrics.h"
#include "hook/tool/verbs.h"
#include "hook/tool/view.h"

#include <fcntl.h>

/* Whoever collects it is another user. */
static int write_file(const char *path, const struct sbuf *text, struct err *e)
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

int verb_metrics(const struct options *o, const struct settings *settings, struct arena *a,
                 struct err *e)
{
    struct view v = VIEW_INIT;
    autosbuf text = SBUF_INIT;
    struct samples samples;
    const char **ids;
    size_t count;
    int r;

    if (o->json)
        return err_input(e, "metrics are text for Prometheus; `stat` has JSON");
    r = view_open_all(o, a, &v, &ids, &count, e);
    if (r == 0)
        r = samples_take(&v, settings, a, &samples, e);
    for (size_t i = 0; r == 0 && i < samples.error_count; i++)
        log_msg(LEVEL_ERROR, "%s", samples.errors[i]);
    if (r == 0)
        metrics_write(&samples, &text);
    view_close(&v);
    if (r == 0 && o->output)
        r = write_file(o->output, &text, e);
    else if (r == 0)
        fputs(sbuf_text(&text), stdout);
    return r;
}
