/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/metrics.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>

#define X   CG_UNKNOWN
#define ALL (CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_PIDS) | CG_CTL_BIT(CG_CTL_BLKIO))

/* With a number of its own for each member. */
static struct sample full(void)
{
    return (struct sample){
        .sandbox_id = "s1",
        .placement = "partial",
        .expected = {true, 4},
        .split = true,
        .usage =
            {
                .source = USAGE_CGROUP,
                .vcpu_count = 3,
                .all = {11, 12, 13, 14, 2500000},
                .vcpus = {1234567, 22, 23, 24000001, 50000},
                .overhead = {31, 32, 33, 34, X},
                .whole =
                    {
                        .has = ALL,
                        .memory_bytes = 41,
                        .memory_peak_bytes = 42,
                        .memory_limit_bytes = 43,
                        .anon_bytes = 44,
                        .file_bytes = 45,
                        .shmem_bytes = 46,
                        .kernel_bytes = 47,
                        .swap_bytes = 48,
                        .oom_kills = 49,
                        .pids = 50,
                        .pids_limit = 51,
                        .io_read_bytes = 52,
                        .io_write_bytes = 53,
                        .cpu = {61, 62, 0, 0},
                        .memory = {63, 64, 0, 0},
                        .io = {65, 66, 0, 0},
                    },
            },
    };
}

/* "METRIC{OTHER LABELS} VALUE": its labels of every sandbox are left out. */
static bool says(const struct samples *samples, const char *line)
{
    static const char labels[] = "sandbox=\"s1\",container=\"\",pod=\"\",namespace=\"\"";
    autosbuf text = SBUF_INIT, want = SBUF_INIT;
    const char *brace = strchr(line, '{');

    metrics_write(samples, &text);
    sbuf_addf(&want, "\nsandbox_cgroup_%.*s{%s%s%s", (int)(brace - line), line, labels,
              brace[1] == '}' ? "" : ",", brace + 1);
    return strstr(sbuf_text(&text), sbuf_text(&want)) != NULL;
}

static void expect(struct sample s, const char *line, bool want)
{
    const struct samples samples = {.items = &s, .count = 1};

    cr_expect_eq(says(&samples, line), want, "%s", line);
}

Test(metrics, all)
{
    static const char *const lines[] = {
        "cpu_seconds_total{part=\"vcpu\"} 1.234567\n",
        "cpu_seconds_total{part=\"overhead\"} 0.000031\n",
        "cpu_periods_total{part=\"vcpu\"} 22\n",
        "cpu_periods_total{part=\"overhead\"} 32\n",
        "cpu_throttled_periods_total{part=\"vcpu\"} 23\n",
        "cpu_throttled_periods_total{part=\"overhead\"} 33\n",
        "cpu_throttled_seconds_total{part=\"vcpu\"} 24.000001\n",
        "cpu_throttled_seconds_total{part=\"overhead\"} 0.000034\n",
        "cpu_limit_cores{part=\"vcpu\"} 0.050000\n",
        "memory_bytes{} 41\n",
        "memory_peak_bytes{} 42\n",
        "memory_limit_bytes{} 43\n",
        "memory_kind_bytes{kind=\"anon\"} 44\n",
        "memory_kind_bytes{kind=\"file\"} 45\n",
        "memory_kind_bytes{kind=\"shmem\"} 46\n",
        "memory_kind_bytes{kind=\"kernel\"} 47\n",
        "memory_kind_bytes{kind=\"swap\"} 48\n",
        "oom_kills_total{} 49\n",
        "tasks{} 50\n",
        "tasks_limit{} 51\n",
        "io_read_bytes_total{} 52\n",
        "io_written_bytes_total{} 53\n",
        "pressure_seconds_total{resource=\"cpu\",stall=\"some\"} 0.000061\n",
        "pressure_seconds_total{resource=\"cpu\",stall=\"full\"} 0.000062\n",
        "pressure_seconds_total{resource=\"memory\",stall=\"some\"} 0.000063\n",
        "pressure_seconds_total{resource=\"memory\",stall=\"full\"} 0.000064\n",
        "pressure_seconds_total{resource=\"io\",stall=\"some\"} 0.000065\n",
        "pressure_seconds_total{resource=\"io\",stall=\"full\"} 0.000066\n",
        "vcpus{} 3\n",
        "vcpus_expected{} 4\n",
        "split{} 1\n",
        "placement_complete{} 0\n",
        "watcher_missing{} 0\n",
    };
    static const char *const absent[] = {
        "cpu_limit_cores{part=\"overhead\"}", "cpu_limit_cores{part=\"unsplit\"}",
        "cpu_seconds_total{part=\"unsplit\"}", "cpu_periods_total{part=\"unsplit\"}"};

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        expect(full(), lines[i], true);
    for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
        expect(full(), absent[i], false);
}

/* As long as the parts are not known, or not apart, the whole stands for them. */
Test(metrics, unsplit)
{
    struct sample s = full();

    s.split = false;
    s.usage.source = USAGE_UNKNOWN;
    s.usage.vcpus = s.usage.overhead = (struct usage_cpu){X, X, X, X, X};
    expect(s, "cpu_seconds_total{part=\"unsplit\"} 0.000011\n", true);
    expect(s, "cpu_periods_total{part=\"unsplit\"} 12\n", true);
    expect(s, "cpu_throttled_periods_total{part=\"unsplit\"} 13\n", true);
    expect(s, "cpu_throttled_seconds_total{part=\"unsplit\"} 0.000014\n", true);
    expect(s, "cpu_limit_cores{part=\"unsplit\"} 2.500000\n", true);
    expect(s, "cpu_seconds_total{part=\"vcpu\"}", false);
    expect(s, "cpu_periods_total{part=\"overhead\"}", false);
    expect(s, "split{} 0\n", true);
}

Test(metrics, states)
{
    struct sample s = full();

    s.placement = "complete";
    s.watcher_missing = true;
    expect(s, "placement_complete{} 1\n", true);
    expect(s, "watcher_missing{} 1\n", true);
    s.only = true;
    expect(s, "placement_complete{}", false);
}

/* What nobody counts is not 0. */
Test(metrics, unknown)
{
    struct sample s = full();

    s.expected.set = false;
    s.usage.whole.has = 0;
    s.usage.whole.cpu.some_us = X;
    expect(s, "vcpus_expected{}", false);
    expect(s, "memory_bytes{}", false);
    expect(s, "memory_kind_bytes{kind=\"anon\"}", false);
    expect(s, "tasks{}", false);
    expect(s, "io_read_bytes_total{}", false);
    expect(s, "pressure_seconds_total{resource=\"cpu\",stall=\"some\"}", false);
    s = full();
    s.usage.whole.memory_limit_bytes = s.usage.whole.pids_limit = X;
    expect(s, "memory_limit_bytes{}", false);
    expect(s, "tasks_limit{}", false);
}

/* One head for each family, and its samples behind it. */
Test(metrics, families)
{
    char container[] = "a\"b\\c\nd", pod[] = "p\xc3\xa4\xff", space[] = "n";
    struct sample two[] = {full(), full()};
    const struct samples samples = {.items = two, .count = 2, .dead = 5, .error_count = 6};
    autosbuf text = SBUF_INIT;
    const char *at;

    two[1].sandbox_id = "s2";
    two[1].names = (struct names){container, pod, space};
    metrics_write(&samples, &text);
    at = strstr(sbuf_text(&text), "# HELP sandbox_cgroup_tasks ");
    cr_assert(at);
    cr_expect(str_starts(at, "# HELP sandbox_cgroup_tasks Threads of the whole sandbox.\n"
                             "# TYPE sandbox_cgroup_tasks gauge\n"
                             "sandbox_cgroup_tasks{sandbox=\"s1\",container=\"\",pod=\"\","
                             "namespace=\"\"} 50\n"
                             "sandbox_cgroup_tasks{sandbox=\"s2\",container=\"a\\\"b\\\\c\\nd\","
                             "pod=\"p\xc3\xa4\\\\xff\",namespace=\"n\"} 50\n"
                             "# HELP sandbox_cgroup_tasks_limit "),
              "%.500s", at);
    cr_expect(str_ends(sbuf_text(&text), "sandbox_cgroup_sandboxes{state=\"running\"} 2\n"
                                         "sandbox_cgroup_sandboxes{state=\"dead\"} 5\n"
                                         "# HELP sandbox_cgroup_scrape_errors Sandboxes that could "
                                         "not be read, and are left out.\n"
                                         "# TYPE sandbox_cgroup_scrape_errors gauge\n"
                                         "sandbox_cgroup_scrape_errors 6\n"));
}

Test(metrics, none)
{
    const struct samples samples = {0};
    autosbuf text = SBUF_INIT;

    metrics_write(&samples, &text);
    cr_expect(str_starts(sbuf_text(&text), "# HELP sandbox_cgroup_sandboxes "));
}
