/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/top.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "hook/tool/called.h"
#include "hook/tool/units.h"

#include <errno.h>

#define NAME_LEAST 12
#define NAME_MOST  64
#define CELL_SIZE  32

/* ---- rows ---- */

static const struct sample *find_sample(const struct samples *all, const char *id)
{
    for (size_t i = 0; i < all->count; i++) {
        if (str_eq(all->items[i].sandbox_id, id))
            return &all->items[i];
    }
    return NULL;
}

static void add_shares(const struct sample *before, const struct sample *after, struct top_row *ret)
{
    struct sample_use use;

    sample_between(before, after, &use);
    ret->vcpu = use.vcpu;
    ret->overhead = use.overhead;
    ret->ratio = units_share(use.usage.overhead.us, use.usage.vcpus.us);
    ret->throttled = use.throttled;
}

void top_rows_make(const struct samples *before, const struct samples *after, struct arena *a,
                   struct top_rows *ret)
{
    *ret = (struct top_rows){0};
    for (size_t i = 0; i < after->count; i++) {
        const struct sample *s = &after->items[i], *old = find_sample(before, s->sandbox_id);
        const struct cg_stat *st = &s->usage.whole;
        struct top_row *row = &ARENA_APPEND(a, ret->items, ret->count);

        *row = (struct top_row){
            .id = arena_strdup(a, s->sandbox_id),
            .name = called_or_id(&s->names, s->sandbox_id, a),
            .vcpu = CG_UNKNOWN,
            .overhead = CG_UNKNOWN,
            .ratio = CG_UNKNOWN,
            .throttled = CG_UNKNOWN,
            .memory = (st->has & CG_CTL_BIT(CG_CTL_MEMORY)) ? st->memory_bytes : CG_UNKNOWN,
            .tasks = (st->has & CG_CTL_BIT(CG_CTL_PIDS)) ? st->pids : CG_UNKNOWN,
            .placement = s->watcher_missing ? "unwatched"
                         : s->only          ? "together"
                                            : arena_strdup(a, s->placement),
        };
        if (old)
            add_shares(old, s, row);
    }
}

/* ---- columns ---- */

typedef const char *cell(uint64_t value, char buf[static UNITS_SIZE]);

static const char *share_text(uint64_t hundredths, char buf[static UNITS_SIZE])
{
    if (hundredths == CG_UNKNOWN)
        return "-";
    snprintf(buf, UNITS_SIZE, "%.1f", (double)hundredths / 100);
    return buf;
}

static const char *bytes_text(uint64_t bytes, char buf[static UNITS_SIZE])
{
    return units_bytes(bytes, buf);
}

static const char *count_text(uint64_t n, char buf[static UNITS_SIZE])
{
    return units_count(n, buf);
}

/* Of numbers; the name is before them, and the placement behind. */
static const struct column {
    const char *title, *json;
    char key;
    int width;
    size_t offset;
    cell *text;
} columns[] = {
    {"vCPU%", "vcpu_percent", 'v', 7, offsetof(struct top_row, vcpu), share_text},
    {"OVERH%", "overhead_percent", 'c', 7, offsetof(struct top_row, overhead), share_text},
    {"O/V%", "overhead_of_vcpu_percent", 'o', 6, offsetof(struct top_row, ratio), share_text},
    {"THROT%", "throttled_percent", 't', 6, offsetof(struct top_row, throttled), share_text},
    {"MEMORY", "memory_bytes", 'm', 9, offsetof(struct top_row, memory), bytes_text},
    {"TASKS", "tasks", 'p', 6, offsetof(struct top_row, tasks), count_text},
};

#define PLACEMENT_WIDTH 9

static uint64_t number(const struct top_row *row, const struct column *c)
{
    return *(const uint64_t *)(const void *)((const char *)row + c->offset);
}

static int by_name(const void *one, const void *other)
{
    const struct top_row *a = one, *b = other;
    int order = strcmp(a->name, b->name);

    return order ? order : strcmp(a->id, b->id);
}

/* Insertion, as qsort(3) has no room for the column: those who are many are looked at by name. */
static void sort_by(struct top_rows *rows, const struct column *c)
{
    for (size_t i = 1; i < rows->count; i++) {
        struct top_row row = rows->items[i];
        uint64_t value = number(&row, c) + 1; /* not known: 0 */
        size_t k = i;

        for (; k > 0 && number(&rows->items[k - 1], c) + 1 < value; k--)
            rows->items[k] = rows->items[k - 1];
        rows->items[k] = row;
    }
}

int top_sort(struct top_rows *rows, char key)
{
    const struct column *by = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        by = columns[i].key == key ? &columns[i] : by;
    if (!by && key != 'n')
        return -EINVAL;
    if (rows->count > 0)
        qsort(rows->items, rows->count, sizeof *rows->items, by_name);
    if (by)
        sort_by(rows, by);
    return 0;
}

/* ---- threads ---- */

static const struct top_thread *find_thread(const struct top_threads *all, pid_t tid)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].tid == tid)
            return &all->items[i];
    }
    return NULL;
}

static int by_share(const void *one, const void *other)
{
    const struct top_thread *a = one, *b = other;
    uint64_t x = a->share + 1, y = b->share + 1;

    return x != y ? (x < y) - (x > y) : (a->tid > b->tid) - (a->tid < b->tid);
}

void top_threads_compare(const struct top_threads *before, struct top_threads *ret)
{
    for (size_t i = 0; i < ret->count; i++) {
        struct top_thread *t = &ret->items[i];
        const struct top_thread *old = find_thread(before, t->tid);

        t->share = CG_UNKNOWN;
        if (old && old->us != CG_UNKNOWN && t->us != CG_UNKNOWN && t->us >= old->us)
            t->share = units_share(t->us - old->us, ret->now_us - before->now_us);
    }
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, by_share);
}

/* ---- lines ---- */

static void add_line(struct sbuf *out, const struct top_look *look, const char *line, bool bold)
{
    size_t len = strlen(line);

    len = len < look->width ? len : look->width;
    while (len > 0 && line[len - 1] == ' ')
        len--;
    bold = bold && !look->plain && look->height > 0;
    sbuf_addf(out, "%s%.*s%s\n", bold ? "\033[1m" : "", (int)len, line, bold ? "\033[m" : "");
}

static size_t name_width(const struct top_look *look)
{
    size_t rest = 1 + 1 + PLACEMENT_WIDTH;

    for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
        rest += 1 + (size_t)columns[i].width;
    if (look->width < rest + NAME_LEAST)
        return NAME_LEAST;
    return look->width - rest < NAME_MOST ? look->width - rest : NAME_MOST;
}

static void draw_head(const struct top_look *look, struct sbuf *out)
{
    autosbuf line = SBUF_INIT;

    sbuf_addf(&line, " %-*s", (int)name_width(look), look->key == 'n' ? "SANDBOX*" : "SANDBOX");
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
        char title[CELL_SIZE];

        snprintf(title, sizeof title, "%s%s", columns[i].title,
                 columns[i].key == look->key && look->height > 0 ? "*" : "");
        sbuf_addf(&line, " %*s", columns[i].width, title);
    }
    sbuf_addf(&line, " %s", "PLACEMENT");
    add_line(out, look, sbuf_text(&line), true);
}

static void draw_row(const struct top_row *row, const struct top_look *look, bool marked,
                     struct sbuf *out)
{
    autosbuf line = SBUF_INIT;
    char name[NAME_MOST + 1];
    int width = (int)name_width(look);

    sbuf_addf(&line, "%c%-*s", marked ? '>' : ' ', width,
              str_cut(row->name, name, (size_t)width + 1));
    for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
        char text[UNITS_SIZE];

        sbuf_addf(&line, " %*s", columns[i].width, columns[i].text(number(row, &columns[i]), text));
    }
    sbuf_addf(&line, " %s", row->placement);
    add_line(out, look, sbuf_text(&line), marked);
}

/* Of @count rows those from the first of the result on, for the selected one to be in sight. */
static size_t window(const struct top_look *look, size_t count, size_t *ret_shown)
{
    size_t room = look->height > 3 ? look->height - 3 : 1; /* title, head, help */

    *ret_shown = look->height == 0 || count < room ? count : room;
    return look->height > 0 && look->selected >= room ? look->selected - room + 1 : 0;
}

static void draw_title(const struct top_look *look, struct sbuf *out)
{
    if (look->height > 0)
        add_line(out, look, look->title, false);
}

/* At the bottom, whatever is above. */
static void draw_help(const struct top_look *look, size_t shown, struct sbuf *out)
{
    if (look->height == 0)
        return;
    for (size_t i = shown + 3; i < look->height; i++)
        sbuf_add(out, "\n", 1);
    if (look->height > 2)
        add_line(out, look, look->help, false);
}

void top_draw(const struct top_rows *rows, const struct top_look *look, struct sbuf *out)
{
    size_t shown, first = window(look, rows->count, &shown);

    draw_title(look, out);
    draw_head(look, out);
    for (size_t i = first; i < rows->count && i < first + shown; i++)
        draw_row(&rows->items[i], look, look->height > 0 && i == look->selected, out);
    draw_help(look, shown, out);
}

void top_draw_threads(const struct top_threads *threads, const struct top_look *look,
                      struct sbuf *out)
{
    size_t shown, first = window(look, threads->count, &shown);
    char line[4 * NAME_MOST], name[NAME_MOST + 1], text[UNITS_SIZE];

    draw_title(look, out);
    snprintf(line, sizeof line, " %8s %7s  %-18s %s", "THREAD", "CPU%", "NAME", "PART");
    add_line(out, look, line, true);
    for (size_t i = first; i < threads->count && i < first + shown; i++) {
        const struct top_thread *t = &threads->items[i];
        bool marked = look->height > 0 && i == look->selected;

        snprintf(line, sizeof line, "%c%8d %7s  %-18s %s", marked ? '>' : ' ', (int)t->tid,
                 share_text(t->share, text), str_cut(t->name, name, 18 + 1), t->place);
        add_line(out, look, line, marked);
    }
    draw_help(look, shown, out);
}

void top_write_json(const struct top_rows *rows, struct json_writer *w)
{
    json_open_list(w, NULL);
    for (size_t i = 0; i < rows->count; i++) {
        const struct top_row *row = &rows->items[i];

        json_open_object(w, NULL);
        json_string(w, "sandbox_id", row->id);
        for (size_t k = 0; k < ARRAY_SIZE(columns); k++) {
            uint64_t value = number(row, &columns[k]);

            if (value == CG_UNKNOWN)
                json_null(w, columns[k].json);
            else if (columns[k].text == share_text)
                json_hundredths(w, columns[k].json, value);
            else
                json_u64(w, columns[k].json, value);
        }
        json_string(w, "placement", row->placement);
        json_close_object(w);
    }
    json_close_list(w);
}
