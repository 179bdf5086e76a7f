/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/overhead_html.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "hook/tool/called.h"
#include "hook/tool/overhead_print.h"

#include <inttypes.h>

/* In units of the picture. */
enum {
    LEFT = 64,
    TOP = 12,
    WIDTH = 640,
    HEIGHT = 180,
    ALL_WIDTH = LEFT + WIDTH + 16,
    ALL_HEIGHT = TOP + HEIGHT + 28,
};
#define TICKS 4 /* about so many, beside 0 */

/* ---- text ---- */

/* Of printable letters and line feeds. */
static void add_text(struct sbuf *out, const char *text)
{
    static const char special[] = "&<>\"'";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

    while (*text) {
        size_t plain = strcspn(text, special);

        sbuf_add(out, text, plain);
        text += plain;
        if (*text)
            sbuf_addf(out, "%s", names[strchr(special, *text++) - special]);
    }
}

static void add_id(struct sbuf *out, const struct overhead_sandbox *s)
{
    char shown[300];

    add_text(out, str_escape(s->id, shown, sizeof shown));
}

/* ---- what is drawn ---- */

/* A line of a chart; CG_UNKNOWN where it is broken. */
struct line {
    const char *name, *style;
    uint64_t (*get)(const struct overhead *o, const struct overhead_point *p);
};

struct chart {
    const char *title, *unit;
    double scale; /* so much of a number is one unit */
    struct line lines[2];
    uint64_t (*recommended)(const struct overhead *o); /* NULL: nothing is */
};

static uint64_t vcpu_of(const struct overhead *o, const struct overhead_point *p)
{
    (void)o;
    return p->vcpu;
}

static uint64_t overhead_of(const struct overhead *o, const struct overhead_point *p)
{
    (void)o;
    return p->overhead;
}

static uint64_t throttled_of(const struct overhead *o, const struct overhead_point *p)
{
    (void)o;
    return p->throttled;
}

static uint64_t held_of(const struct overhead *o, const struct overhead_point *p)
{
    (void)o;
    return p->held;
}

static uint64_t memory_of(const struct overhead *o, const struct overhead_point *p)
{
    return overhead_less(p->held, &o->terms.guest_bytes);
}

static uint64_t cpu_recommended(const struct overhead *o)
{
    return o->cpu_of ? o->cpu_millis * 10 : CG_UNKNOWN;
}

static uint64_t memory_recommended(const struct overhead *o)
{
    return o->memory_of ? o->memory_mib << 20 : CG_UNKNOWN;
}

static const struct chart charts[] = {
    {"CPU of vCPUs and overhead",
     "m",
     10,
     {{"vCPUs", "vcpu", vcpu_of}, {"overhead", "over", overhead_of}},
     NULL},
    {"CPU of the overhead", "m", 10, {{"overhead", "over", overhead_of}}, cpu_recommended},
    {"Memory of the overhead",
     "MiB",
     1 << 20,
     {{"overhead", "over", memory_of}},
     memory_recommended},
    {"Memory of the whole sandbox, without page cache",
     "MiB",
     1 << 20,
     {{"sandbox", "vcpu", held_of}},
     NULL},
    {"Throttling of the guest, in per cent of its periods",
     "%",
     100,
     {{"guest", "vcpu", throttled_of}},
     NULL},
};

/* ---- scales ---- */

/* The least of 1, 2, 5, 10, 20, ... of which so many ticks reach @most. */
static double tick_step(double most)
{
    static const double factors[] = {2, 2.5, 2};
    double step = 0.1;

    for (size_t i = 0; step * TICKS < most; i++)
        step *= factors[i % 3];
    return step;
}

/* Of what is drawn, in its unit; negative if nothing of it is known. */
static double greatest(const struct overhead *o, const struct overhead_sandbox *s,
                       const struct chart *c)
{
    uint64_t line = c->recommended ? c->recommended(o) : CG_UNKNOWN;
    double most = -1;

    for (size_t i = 0; i < s->count; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(c->lines) && c->lines[k].get; k++) {
            uint64_t value = c->lines[k].get(o, &s->points[i]);

            if (value != CG_UNKNOWN && (double)value / c->scale > most)
                most = (double)value / c->scale;
        }
    }
    return most >= 0 && line != CG_UNKNOWN && (double)line / c->scale > most
               ? (double)line / c->scale
               : most;
}

/* ---- a chart ---- */

struct frame {
    double x_most, x_step, y_most, y_step; /* in seconds, or minutes, and the chart's unit */
    double x_scale;                        /* so many microseconds are one of them */
    const char *x_unit;
};

static double x_at(const struct frame *f, uint64_t us)
{
    return LEFT + (double)us / f->x_scale / f->x_most * WIDTH;
}

static double y_at(const struct frame *f, double value)
{
    return TOP + HEIGHT - value / f->y_most * HEIGHT;
}

static struct frame frame_of(const struct overhead_sandbox *s, double most)
{
    uint64_t last_us = s->points[s->count - 1].at_us;
    struct frame f = {.y_step = tick_step(most), .x_scale = 1e6, .x_unit = "s"};

    if (last_us > 600ull * 1000000) {
        f.x_scale = 60e6;
        f.x_unit = "min";
    }
    f.x_most = (double)last_us / f.x_scale;
    f.x_step = tick_step(f.x_most);
    while (f.y_most < most || f.y_most == 0)
        f.y_most += f.y_step;
    return f;
}

static void add_grid(const struct frame *f, const char *unit, struct sbuf *out)
{
    for (size_t i = 0; (double)i * f->y_step < f->y_most * 1.001; i++) {
        double value = (double)i * f->y_step, y = y_at(f, value);

        sbuf_addf(out,
                  "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                  "<text class=\"y\" x=\"%d\" y=\"%.1f\">%g</text>\n",
                  LEFT, LEFT + WIDTH, y, y, LEFT - 6, y + 4, value);
    }
    for (size_t i = 0; (double)i * f->x_step <= f->x_most; i++)
        sbuf_addf(out, "<text class=\"x\" x=\"%.1f\" y=\"%d\">%g %s</text>\n",
                  LEFT + (double)i * f->x_step / f->x_most * WIDTH, TOP + HEIGHT + 18,
                  (double)i * f->x_step, f->x_unit);
    sbuf_addf(out, "<text x=\"%d\" y=\"%d\">%s</text>\n", LEFT + 4, TOP + 10, unit);
}

/* There is no room for more than a point per column, and of several the greatest is not to be missed. */
static size_t points_per_column(const struct overhead_sandbox *s)
{
    return (s->count + WIDTH - 1) / WIDTH;
}

static uint64_t column_value(const struct overhead *o, const struct overhead_sandbox *s,
                             const struct line *l, size_t from, size_t count)
{
    uint64_t most = CG_UNKNOWN;

    for (size_t i = from; i < from + count && i < s->count; i++) {
        uint64_t value = l->get(o, &s->points[i]);

        if (value != CG_UNKNOWN && (most == CG_UNKNOWN || value > most))
            most = value;
    }
    return most;
}

/* Each piece begins with a line to where it is, so that a lone point is a dot. */
static void add_line(const struct overhead *o, const struct overhead_sandbox *s,
                     const struct chart *c, const struct line *l, const struct frame *f,
                     struct sbuf *out)
{
    size_t step = points_per_column(s);
    bool drawing = false;

    sbuf_addf(out, "<path class=\"%s\" d=\"", l->style);
    for (size_t i = 0; i < s->count; i += step) {
        uint64_t value = column_value(o, s, l, i, step);
        double x = x_at(f, s->points[i].at_us), y;

        if (value != CG_UNKNOWN) {
            y = y_at(f, (double)value / c->scale);
            if (!drawing)
                sbuf_addf(out, "M%.1f %.1f", x, y);
            sbuf_addf(out, "L%.1f %.1f", x, y);
        }
        drawing = value != CG_UNKNOWN;
    }
    sbuf_addf(out, "\"/>\n");
}

/* Whatever is told by a colour is told in words, too. */
static void add_caption(const struct overhead *o, const struct overhead_sandbox *s,
                        const struct chart *c, struct sbuf *out)
{
    uint64_t line = c->recommended ? c->recommended(o) : CG_UNKNOWN;

    sbuf_addf(out, "<figcaption><b>%s</b>", c->title);
    for (size_t k = 0; k < ARRAY_SIZE(c->lines) && c->lines[k].get; k++)
        sbuf_addf(out, " <span class=\"key %s\">%s</span>", c->lines[k].style, c->lines[k].name);
    if (line != CG_UNKNOWN)
        sbuf_addf(out, " <span class=\"key rec\">recommended: %g %s</span>",
                  (double)line / c->scale, c->unit);
    if (points_per_column(s) > 1)
        sbuf_addf(out, " (each point is the greatest of %zu readings)", points_per_column(s));
    sbuf_addf(out, "</figcaption>\n");
}

static void add_chart(const struct overhead *o, const struct overhead_sandbox *s,
                      const struct chart *c, struct sbuf *out)
{
    uint64_t line = c->recommended ? c->recommended(o) : CG_UNKNOWN;
    double most = greatest(o, s, c);
    struct frame f;

    if (most < 0) {
        sbuf_addf(out, "<p><b>%s</b>: not known</p>\n", c->title);
        return;
    }
    f = frame_of(s, most);
    sbuf_addf(out, "<figure>\n");
    add_caption(o, s, c, out);
    sbuf_addf(out,
              "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" "
              "aria-label=\"%s, over time\">\n",
              ALL_WIDTH, ALL_HEIGHT, c->title);
    add_grid(&f, c->unit, out);
    for (size_t k = 0; k < ARRAY_SIZE(c->lines) && c->lines[k].get; k++)
        add_line(o, s, c, &c->lines[k], &f, out);
    if (line != CG_UNKNOWN)
        sbuf_addf(out, "<line class=\"rec\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT,
                  LEFT + WIDTH, y_at(&f, (double)line / c->scale),
                  y_at(&f, (double)line / c->scale));
    sbuf_addf(out, "</svg>\n</figure>\n");
}

/* ---- the page ---- */

static const char style[] =
    ":root{color-scheme:light dark;--vcpu:#1d5fa8;--over:#b4430a;--rec:#14713a;--grid:#d4d4d4;"
    "--box:#f3f3f3}\n"
    "@media (prefers-color-scheme:dark){:root{--vcpu:#7db8f5;--over:#f7a06a;--rec:#6ed79a;"
    "--grid:#4a4a4a;--box:#262626}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem}\n"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;overflow-wrap:anywhere}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse}\n"
    "th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid var(--grid)}\n"
    "th:first-child,td:first-child{text-align:left}\n"
    "pre{background:var(--box);padding:.8rem;overflow-x:auto}figure{margin:1rem 0}\n"
    "svg{width:100%;height:auto;font:12px system-ui,sans-serif;fill:currentColor}\n"
    ".grid{stroke:var(--grid)}.y{text-anchor:end}.x{text-anchor:middle}\n"
    "path{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}\n"
    "path.vcpu{stroke:var(--vcpu)}path.over{stroke:var(--over)}\n"
    "line.rec{stroke:var(--rec);stroke-width:1.6;stroke-dasharray:6 4}\n"
    ".key{margin-left:1rem;white-space:nowrap;padding-left:.4rem;border-left:.9rem solid}\n"
    "span.vcpu{border-color:var(--vcpu)}span.over{border-color:var(--over)}\n"
    "span.rec{border-color:var(--rec)}\n";

static void add_cells(const struct overhead_figures *f, bool cpu, struct sbuf *out)
{
    const uint64_t values[] = {f->p50, f->p95, f->max};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char text[UNITS_SIZE];

        sbuf_addf(out, "<td>%s</td>",
                  cpu ? overhead_cpu_text(values[i], text) : units_bytes(values[i], text));
    }
}

static void add_table(const struct overhead *o, struct sbuf *out)
{
    sbuf_addf(out, "<div class=\"wide\"><table>\n<thead><tr><th>Sandbox</th>"
                   "<th>CPU (m) p50</th><th>p95</th><th>max</th>"
                   "<th>Memory p50</th><th>p95</th><th>max</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < o->count; i++) {
        const struct overhead_sandbox *s = &o->items[i];
        autoarena a = ARENA_INIT;

        sbuf_addf(out, "<tr><td>");
        add_text(out, called_or_id(&s->names, s->id, &a));
        sbuf_addf(out, "</td>");
        add_cells(&s->cpu, true, out);
        add_cells(overhead_shown_memory(o, s), false, out);
        sbuf_addf(out, "</tr>\n");
    }
    sbuf_addf(out, "</tbody>\n</table></div>\n");
}

static void add_recommended(const struct overhead *o, struct sbuf *out)
{
    autosbuf text = SBUF_INIT;

    overhead_explain_cpu(o, "# ", &text);
    overhead_explain_memory(o, "# ", &text);
    overhead_write_fixed(o, &text);
    sbuf_addf(out, "<h2>For the RuntimeClass</h2>\n<pre>");
    add_text(out, sbuf_text(&text));
    sbuf_addf(out, "</pre>\n");
}

static void add_sandbox(const struct overhead *o, const struct overhead_sandbox *s,
                        struct sbuf *out)
{
    autoarena a = ARENA_INIT;

    sbuf_addf(out, "<section>\n<h2>");
    add_text(out, called_or_id(&s->names, s->id, &a));
    sbuf_addf(out, "</h2>\n<p>");
    add_id(out, s);
    sbuf_addf(out, ": %zu readings%s</p>\n", s->count, s->ended ? ", then it ended" : "");
    for (size_t i = 0; s->count > 0 && i < ARRAY_SIZE(charts); i++)
        add_chart(o, s, &charts[i], out);
    sbuf_addf(out, "</section>\n");
}

void overhead_write_html(const struct overhead *o, struct sbuf *out)
{
    char every[UNITS_SIZE];

    sbuf_addf(
        out,
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
        "<meta charset=\"utf-8\"/>\n"
        "<meta http-equiv=\"Content-Security-Policy\" "
        "content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<title>Overhead of sandboxes</title>\n<style>\n%s</style>\n</head>\n<body>\n"
        "<h1>Overhead of sandboxes</h1>\n"
        "<p>%zu sandbox%s, read every %s. CPU is in thousandths of one (m); memory in the table is "
        "%s.</p>\n",
        style, o->count, o->count == 1 ? "" : "es",
        units_seconds(o->terms.interval_ms * 1000, every), overhead_memory_words(o));
    add_table(o, out);
    add_recommended(o, out);
    for (size_t i = 0; i < o->count; i++)
        add_sandbox(o, &o->items[i], out);
    sbuf_addf(out, "</body>\n</html>\n");
}
