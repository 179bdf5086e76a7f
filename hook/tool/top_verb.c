/* SPDX-License-Identifier: Apache-2.0 */

/* `top`: what all sandboxes use, again and again. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/tool/inside.h"
#include "hook/tool/screen.h"
#include "hook/tool/top.h"
#include "hook/tool/verbs.h"
#include "hook/tool/view.h"

#include <errno.h>
#include <stdio_ext.h>

#define FIRST_US 300000ull /* until the first shares, for whoever waits for them */

#define HELP "c/v/o/t/m/p/n: sort by column, or name  Enter: threads  q: quit"
#define BACK "Left: all sandboxes  q: quit"

/* One reading, with all that it consists of. */
struct reading {
    struct arena arena;
    struct samples samples;
    struct top_threads threads;
};

struct top {
    const struct options *o;
    const struct settings *settings;
    struct reading now, before;
    struct top_rows rows; /* in now.arena */
    char key;
    size_t selected;
    struct arena chosen_arena;
    const char *chosen; /* the sandbox that is marked; NULL: none */
    const char *opened; /* whose threads are shown; NULL: none are */
};

static void free_top(struct top *t)
{
    arena_free(&t->now.arena);
    arena_free(&t->before.arena);
    arena_free(&t->chosen_arena);
}

/* ---- all sandboxes ---- */

static int take_samples(struct top *t, struct err *e)
{
    struct view v = VIEW_INIT;
    const char **ids;
    size_t count;
    int r = view_open_all(t->o, &t->now.arena, &v, &ids, &count, e);

    if (r == 0)
        r = samples_take(&v, t->settings, &t->now.arena, &t->now.samples, e);
    view_close(&v);
    return r;
}

/* The marked sandbox stays so, wherever it is by now. */
static void follow(struct top *t)
{
    for (size_t i = 0; t->chosen && i < t->rows.count; i++) {
        if (str_eq(t->rows.items[i].id, t->chosen))
            t->selected = i;
    }
    if (t->selected >= t->rows.count)
        t->selected = t->rows.count > 0 ? t->rows.count - 1 : 0;
}

static void choose(struct top *t, size_t selected)
{
    arena_free(&t->chosen_arena);
    t->selected = selected;
    t->chosen = selected < t->rows.count
                    ? arena_strdup(&t->chosen_arena, t->rows.items[selected].id)
                    : NULL;
}

/* ---- one sandbox ---- */

static void add_threads(const struct cg_controller *c, const char *place, const struct inside *in,
                        struct arena *a, struct top_threads *ret)
{
    struct cg_pids tids = {0};

    if (cg_threads(c, a, &tids, NULL) < 0)
        return;
    for (size_t i = 0; i < tids.count; i++) {
        struct proc_stat st;
        char shown[128];
        uint64_t us;

        if (proc_stat_read(tids.items[i], &st) < 0)
            continue;
        ARENA_APPEND(a, ret->items, ret->count) = (struct top_thread){
            .tid = tids.items[i],
            .name = arena_strdup(a, str_escape(st.comm, shown, sizeof shown)),
            .place = placement_find(&in->report, tids.items[i]) ? "vCPU" : place,
            .us = proc_cpu_us(tids.items[i], &us) == 0 ? us : CG_UNKNOWN,
        };
    }
}

static int take_threads(struct top *t, struct err *e)
{
    struct options o = *t->o;
    struct view v = VIEW_INIT;
    struct arena *a = &t->now.arena;
    struct inside in;
    struct sandbox s;
    int r;

    t->now.threads = (struct top_threads){0};
    o.id = t->opened;
    r = view_look_sandbox(&o, a, &v, e);
    if (r == 0) {
        sandbox_init(&s, &v.host, NULL, &v.record);
        r = sandbox_load(&s, e);
        if (r == 0) {
            r = inside_look(&v, &s, t->settings, a, &in, e);
            add_threads(&s.vcpu, "sandbox", &in, a, &t->now.threads);
            if (s.has_overhead)
                add_threads(&s.overhead, "overhead", &in, a, &t->now.threads);
            t->now.threads.now_us = io_now_us();
            inside_free(&in);
        }
        sandbox_close(&s);
    }
    view_close(&v);
    return r;
}

/* ---- both ---- */

/* The one before is forgotten. */
static int take(struct top *t, struct err *e)
{
    struct err own = ERR_INIT;
    int r;

    arena_free(&t->before.arena);
    t->before = t->now;
    t->now = (struct reading){0};
    r = take_samples(t, e);
    if (r < 0)
        return r;
    top_rows_make(&t->before.samples, &t->now.samples, &t->now.arena, &t->rows);
    (void)top_sort(&t->rows, t->key);
    follow(t);
    if (t->opened && take_threads(t, &own) < 0)
        t->opened = NULL; /* it has gone */
    if (t->opened)
        top_threads_compare(&t->before.threads, &t->now.threads);
    return 0;
}

static void draw(const struct top *t, size_t width, size_t height, struct sbuf *out)
{
    const struct samples *s = &t->now.samples;
    const char *no_color = getenv("NO_COLOR");
    autosbuf title = SBUF_INIT;
    char shown[200];
    struct top_look look = {
        .width = width,
        .height = height,
        .key = t->key,
        .plain = no_color && *no_color,
        .selected = t->selected,
        .help = t->opened ? BACK : HELP,
    };

    if (t->opened)
        sbuf_addf(&title, "Threads of %s: %zu", str_escape(t->opened, shown, sizeof shown),
                  t->now.threads.count);
    else
        sbuf_addf(&title, "%zu sandboxes, %zu dead, %zu unreadable  %s", s->count, s->dead,
                  s->error_count, s->error_count > 0 ? s->errors[0] : "");
    look.title = sbuf_text(&title);
    if (t->opened) {
        look.selected = 0;
        top_draw_threads(&t->now.threads, &look, out);
    } else {
        top_draw(&t->rows, &look, out);
    }
}

/* ---- rows after rows ---- */

static void print_rows(const struct top *t)
{
    autosbuf text = SBUF_INIT;

    if (t->o->json) {
        struct json_writer *w = json_writer_new(false);

        top_write_json(&t->rows, w);
        view_print(w);
        putchar('\n');
        return;
    }
    draw(t, 80, 0, &text);
    fputs(sbuf_text(&text), stdout);
    for (size_t i = 0; i < t->now.samples.error_count; i++)
        log_msg(LEVEL_ERROR, "%s", t->now.samples.errors[i]);
}

/* Whoever reads may have enough of it, which is no failure. */
static int run_batch(struct top *t, uint64_t interval_ms, struct err *e)
{
    int r = take(t, e);

    for (uint64_t i = 0; r == 0 && (t->o->count == 0 || i < t->o->count); i++) {
        io_sleep_ms((unsigned)interval_ms);
        r = take(t, e);
        if (r == 0)
            print_rows(t);
        if (fflush(stdout) == 0)
            continue;
        if (errno != EPIPE)
            return err_sys(e, -errno, "cannot write");
        __fpurge(stdout);
        return 0;
    }
    return r;
}

/* ---- on a terminal ---- */

static void move(struct top *t, int by)
{
    if (by < 0 && t->selected > 0)
        choose(t, t->selected - 1);
    else if (by > 0 && t->selected + 1 < t->rows.count)
        choose(t, t->selected + 1);
}

static void open_chosen(struct top *t, struct err *e)
{
    if (t->opened || t->rows.count == 0)
        return;
    choose(t, t->selected);
    t->opened = t->chosen;
    if (take_threads(t, e) < 0)
        t->opened = NULL;
    else
        top_threads_compare(&t->before.threads, &t->now.threads);
}

/* False: it is enough. */
static bool act(struct top *t, int key)
{
    struct err gone = ERR_INIT;

    if (key == 'q' || key == SCREEN_QUIT)
        return false;
    if (key == SCREEN_LEFT || key == 'h')
        t->opened = NULL;
    else if (key == SCREEN_ENTER || key == SCREEN_RIGHT || key == 'l')
        open_chosen(t, &gone);
    else if (!t->opened && (key == SCREEN_UP || key == 'k'))
        move(t, -1);
    else if (!t->opened && (key == SCREEN_DOWN || key == 'j'))
        move(t, 1);
    else if (!t->opened && key < 256 && top_sort(&t->rows, (char)key) == 0)
        t->key = (char)key;
    follow(t);
    return true;
}

static int redraw(const struct top *t, struct screen *s)
{
    autosbuf text = SBUF_INIT;
    size_t width, height;

    screen_size(s, &width, &height);
    draw(t, width, height, &text);
    return screen_show(s, &text);
}

static int run_screen(struct top *t, struct screen *s, uint64_t interval_ms, struct err *e)
{
    unsigned long long next = io_now_us() + FIRST_US;
    int r = take(t, e);

    for (uint64_t drawn = 0; r == 0 && redraw(t, s) == 0;) {
        int key = screen_key(s, next);

        if (key != SCREEN_NONE) {
            if (!act(t, key))
                return 0;
            continue;
        }
        if (t->o->count > 0 && drawn++ >= t->o->count)
            return 0;
        r = take(t, e);
        next = io_now_us() + interval_ms * 1000;
    }
    return r;
}

static bool is_for_people(const struct options *o)
{
    const char *term = getenv("TERM");

    return !o->batch && !o->json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
           !(term && str_eq(term, "dumb"));
}

int verb_top(const struct options *o, const struct settings *settings, struct arena *a,
             struct err *e)
{
    uint64_t interval_ms = o->interval_ms > 0 ? o->interval_ms : 1000;
    struct top t = {.o = o, .settings = settings, .key = 'c'};
    struct screen screen;
    int r;

    (void)a;
    if (o->sort)
        t.key = o->sort;
    if (top_sort(&t.rows, t.key) < 0)
        return err_input(e, "--sort is none of c, v, o, t, m, p, n; see oci-sandbox-cgroup top "
                            "--help");
    if (!is_for_people(o)) {
        r = run_batch(&t, interval_ms, e);
    } else {
        r = screen_enter(&screen, STDIN_FILENO, STDOUT_FILENO);
        if (r < 0)
            return err_sys(e, r, "cannot take the terminal; --batch does without one");
        r = run_screen(&t, &screen, interval_ms, e);
        screen_leave(&screen);
    }
    free_top(&t);
    return r;
}
