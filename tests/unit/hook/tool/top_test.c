/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/top.h"

#include "base/arena.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>

#define X   CG_UNKNOWN
#define ALL (CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_PIDS))

/* After a second, in which the vCPUs have run 500 ms and the overhead 50 ms. */
static struct sample sample(const char *id, bool later)
{
    struct sample s = {
        .sandbox_id = id,
        .placement = "complete",
        .split = true,
        .now_us = later ? 3000000 : 2000000,
        .usage =
            {
                .source = USAGE_CGROUP,
                .all = {1000, 10, 1, 0, X},
                .vcpus = {1000, 100, 10, 0, X},
                .overhead = {1000, X, X, X, X},
                .whole = {.has = ALL, .memory_bytes = 3 << 20, .pids = 7},
            },
    };

    if (later) {
        s.usage.vcpus = (struct usage_cpu){501000, 110, 14, 0, X};
        s.usage.overhead.us = 51000;
        s.usage.all = (struct usage_cpu){551000, 20, 3, 0, X};
    }
    return s;
}

/* Of one sandbox, as text: name, shares, ratio, throttled, memory, tasks, placement. */
static void expect_row(struct sample before, struct sample after, const char *want)
{
    const struct samples one = {.items = &before, .count = 1}, two = {.items = &after, .count = 1};
    autoarena a = ARENA_INIT;
    struct top_rows rows;
    const struct top_row *r;
    const char *got;

    top_rows_make(&one, &two, &a, &rows);
    cr_assert_eq(rows.count, 1);
    r = rows.items;
    got = arena_printf(&a, "%s %lld %lld %lld %lld %lld %lld %s", r->name, (long long)r->vcpu,
                       (long long)r->overhead, (long long)r->ratio, (long long)r->throttled,
                       (long long)r->memory, (long long)r->tasks, r->placement);
    cr_expect_str_eq(got, want, "expected: %s\ngot:      %s", want, got);
}

Test(top, rows)
{
    char pod[] = "p\xc3\xa4", container[] = "c";
    struct sample before = sample("s", false), after = sample("s", true);

    expect_row(before, after, "s 5000 500 1000 4000 3145728 7 complete");
    after.names = (struct names){container, pod, NULL};
    expect_row(before, after, "p\\xc3\\xa4/c 5000 500 1000 4000 3145728 7 complete");
    after.names = (struct names){0};
    before.sandbox_id = "other";
    expect_row(before, after, "s -1 -1 -1 -1 3145728 7 complete");
    before.sandbox_id = "s";
    after.split = false;
    expect_row(before, after, "s 5000 500 1000 2000 3145728 7 complete");
    after.only = true;
    expect_row(before, after, "s 5000 500 1000 2000 3145728 7 together");
    after.watcher_missing = true;
    after.usage.whole.has = 0;
    expect_row(before, after, "s 5000 500 1000 2000 -1 -1 unwatched");
    after.usage.source = USAGE_UNKNOWN;
    after.usage.vcpus.us = X;
    expect_row(before, after, "s -1 -1 -1 2000 -1 -1 unwatched");
}

static struct top_row three[] = {
    {"1", "bb", 300, 10, X, 5, 70, 1, "none"},
    {"2", "a", 100, X, 20, 5, 80, 3, "complete"},
    {"3", "c", X, 30, 10, 9, 60, 2, "partial"},
    {"0", "a", 100, 0, 30, 0, 90, 4, "together"},
};

Test(top, sort)
{
    static const struct {
        char key;
        const char *want;
    } rows[] = {
        {'n', "0213"}, {'c', "3102"}, {'v', "1023"}, {'o', "0231"},
        {'t', "3210"}, {'m', "0213"}, {'p', "0231"},
    };
    struct top_row items[ARRAY_SIZE(three)];
    struct top_rows all = {items, ARRAY_SIZE(items)}, none = {0};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char got[8] = "";

        memcpy(items, three, sizeof items);
        cr_expect_eq(top_sort(&all, rows[i].key), 0);
        for (size_t k = 0; k < all.count; k++)
            strcat(got, items[k].id);
        cr_expect_str_eq(got, rows[i].want, "%c: %s", rows[i].key, got);
    }
    cr_expect_eq(top_sort(&all, 'x'), -EINVAL);
    cr_expect_eq(top_sort(&none, '\0'), -EINVAL);
    cr_expect_eq(top_sort(&none, 'c'), 0);
}

static struct top_row drawn[] = {
    {"1", "shop/web-0/application-1", 12345, 250, 203, 1000, 3 << 20, 7, "complete"},
    {"2", "b", X, X, X, X, X, X, "unwatched"},
};
static const struct top_rows table = {drawn, ARRAY_SIZE(drawn)};

static void expect_drawn(struct top_look look, const char *want)
{
    autosbuf out = SBUF_INIT;

    top_draw(&table, &look, &out);
    cr_expect_str_eq(sbuf_text(&out), want, "expected:\n%s\ngot:\n%s", want, sbuf_text(&out));
}

Test(top, draw)
{
    expect_drawn(
        (struct top_look){.width = 80, .key = 'c'},
        " SANDBOX                  vCPU%  OVERH%   O/V% THROT%    MEMORY  TASKS PLACEMENT\n"
        " shop/web-0/applicat...   123.5     2.5    2.0   10.0  3.00 MiB      7 complete\n"
        " b                            -       -      -      -         -      - unwatched\n");
    expect_drawn((struct top_look){.width = 90, .key = 'c'},
                 " SANDBOX                            vCPU%  OVERH%   O/V% THROT%    MEMORY  TASKS "
                 "PLACEMENT\n"
                 " shop/web-0/application-1           123.5     2.5    2.0   10.0  3.00 MiB      7 "
                 "complete\n"
                 " b                                      -       -      -      -         -      - "
                 "unwatched\n");
    expect_drawn((struct top_look){.width = 30, .key = 'c'}, " SANDBOX        vCPU%  OVERH%\n"
                                                             " shop/web-...   123.5     2.5\n"
                                                             " b                  -       -\n");
}

/* Title, head, rows, help: as many lines as there are, the marked row among them. */
Test(top, draw_on_a_screen)
{
    struct top_look look = {.width = 40,
                            .height = 6,
                            .key = 'v',
                            .selected = 1,
                            .plain = true,
                            .title = "title",
                            .help = "help"};

    expect_drawn(look, "title\n"
                       " SANDBOX       vCPU%*  OVERH%   O/V% THR\n"
                       " shop/web-...   123.5     2.5    2.0   1\n"
                       ">b                  -       -      -\n"
                       "\n"
                       "help\n");
    look.height = 4;
    expect_drawn(look, "title\n"
                       " SANDBOX       vCPU%*  OVERH%   O/V% THR\n"
                       ">b                  -       -      -\n"
                       "help\n");
    look.plain = false;
    look.key = 'n';
    expect_drawn(look, "title\n"
                       "\033[1m SANDBOX*       vCPU%  OVERH%   O/V% THR\033[m\n"
                       "\033[1m>b                  -       -      -\033[m\n"
                       "help\n");
}

Test(top, threads)
{
    struct top_thread before[] = {
        {1, "a", "vCPU", 1000, 0}, {2, "b", "overhead", 5000, 0}, {4, "d", "overhead", X, 0}};
    struct top_thread now[] = {{1, "CPU 0/KVM", "vCPU", 251000, 0},
                               {2, "b", "overhead", 4000, 0},
                               {3, "new", "overhead", 9, 0},
                               {4, "d", "overhead", 9, 0},
                               {5, "busy", "vCPU", 0, 0}};
    struct top_threads old = {before, ARRAY_SIZE(before), 1000000};
    struct top_threads all = {now, ARRAY_SIZE(now), 2000000};
    struct top_look look = {.width = 80};
    autosbuf out = SBUF_INIT;

    before[1].us = 4000;
    top_threads_compare(&old, &all);
    top_draw_threads(&all, &look, &out);
    cr_expect_str_eq(sbuf_text(&out), "   THREAD    CPU%  NAME               PART\n"
                                      "        1    25.0  CPU 0/KVM          vCPU\n"
                                      "        2     0.0  b                  overhead\n"
                                      "        3       -  new                overhead\n"
                                      "        4       -  d                  overhead\n"
                                      "        5       -  busy               vCPU\n");
}

Test(top, json)
{
    struct json_writer *w = json_writer_new(false);

    top_write_json(&table, w);
    cr_expect_str_eq(
        json_writer_text(w, NULL),
        "[{\"sandbox_id\":\"1\",\"vcpu_percent\":123.45,\"overhead_percent\":2.50,"
        "\"overhead_of_vcpu_percent\":2.03,\"throttled_percent\":10.00,\"memory_bytes\":3145728,"
        "\"tasks\":7,\"placement\":\"complete\"},{\"sandbox_id\":\"2\",\"vcpu_percent\":null,"
        "\"overhead_percent\":null,\"overhead_of_vcpu_percent\":null,\"throttled_percent\":null,"
        "\"memory_bytes\":null,\"tasks\":null,\"placement\":\"unwatched\"}]");
    json_writer_free(w);
}
