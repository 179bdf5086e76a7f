/* SPDX-License-Identifier: Apache-2.0 */

/* `metrics`: all sandboxes for Prometheus, to stdout or into a file of node_exporter's. */

#include "base/arena.h"
#include "base/err.h"
#include "hook/tool/metrics.h"
#include "hook/tool/output.h"
#include "hook/tool/verbs.h"
#include "hook/tool/view.h"

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
        r = output_write(o->output, &text, e);
    else if (r == 0)
        fputs(sbuf_text(&text), stdout);
    return r;
}
