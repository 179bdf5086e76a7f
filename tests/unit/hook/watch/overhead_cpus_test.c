/* SPDX-License-Identifier: Apache-2.0 */

/* Which CPUs the threads beside the vCPUs get, and real ones that are kept on them. */

#include "hook/watch/overhead_cpus.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "hook/watch/affinity.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>

#define MAX_THREADS 8

static struct cg_cpulist list_of(const char *text)
{
    struct cg_cpulist list = {0};

    cr_assert_eq(cg_cpulist_parse(text, &list), 0);
    return list;
}

Test(overhead_cpus, decides)
{
    static const struct {
        const char *affinity, *cpuset, *list;
        bool keep;
        enum overhead_step want;
    } rows[] = {
        {"0-3", "0-3", "0-1", true, OVERHEAD_KEEP},
        {"0-1", "0-3", "0-1", true, OVERHEAD_LEAVE},
        /* narrower by its own choice */
        {"1", "0-3", "0-1", true, OVERHEAD_LEAVE},
        {"1-2", "0-3", "0-1", true, OVERHEAD_KEEP},
        {"2", "0-3", "0-1", true, OVERHEAD_KEEP},
        /* what the cpuset has of the list */
        {"1-3", "1-3", "0-1", true, OVERHEAD_KEEP},
        {"1", "1-3", "0-1", true, OVERHEAD_LEAVE},
        {"0-1", "0-1", "0-3", true, OVERHEAD_LEAVE},
        {"64-65", "64-65", "65", true, OVERHEAD_KEEP},
        /* nothing */
        {"2-3", "2-3", "0-1", true, OVERHEAD_LEAVE},
        {"2-3", "2-3", "0-1", false, OVERHEAD_LEAVE},
        /* inherited, or its own */
        {"0-1", "0-3", "0-1", false, OVERHEAD_RELEASE},
        {"1", "1-3", "0-1", false, OVERHEAD_RELEASE},
        {"1", "0-3", "0-1", false, OVERHEAD_LEAVE},
        {"0-3", "0-3", "0-1", false, OVERHEAD_LEAVE},
        {"2", "0-3", "0-1", false, OVERHEAD_LEAVE},
        /* the same now, but not when the cpuset gets larger */
        {"0", "0", "0-1", false, OVERHEAD_RELEASE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct cg_cpulist affinity = list_of(rows[i].affinity);
        const struct cg_cpulist cpuset = list_of(rows[i].cpuset), list = list_of(rows[i].list);
        enum overhead_step got = overhead_cpus_decide(&affinity, &cpuset, &list, rows[i].keep);

        cr_expect_eq(got, rows[i].want, "row %zu: %d", i, (int)got);
    }
}

Test(overhead_cpus, rest)
{
    static const struct {
        const char *list, *cpus, *want;
    } rows[] = {
        {"0-1", "0-3", "2-3"}, {"1", "0-2,5", "0,2,5"},  {"8", "0-3", "0-3"},
        {"0-3", "1-2", ""},    {NULL, "0-3\n", "0-3\n"}, {"0", "what", "what"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const struct cg_cpulist list = list_of(rows[i].list ? rows[i].list : "");

        cr_expect_str_eq(overhead_cpus_rest(rows[i].list ? &list : NULL, rows[i].cpus, &a),
                         rows[i].want);
    }
}

/* --- threads of this host: processes of the test's own, whose main threads stand for them --- */

static struct {
    struct arena arena;
    struct overhead_cpus overhead;
    struct overhead_thread threads[MAX_THREADS];
    size_t count;
    struct cg_cpulist list;
    const char *all, *first, *second; /* CPUs that we may use: all, and the first two */
} live;

static const char *text_of(const struct cg_cpulist *list)
{
    autosbuf text = SBUF_INIT;

    cg_cpulist_format(list, &text);
    return arena_strdup(&live.arena, sbuf_text(&text));
}

static const char *affinity_of(pid_t tid)
{
    struct cg_cpulist got;

    return affinity_get(tid, &got) > 0 ? text_of(&got) : "ended";
}

static void expect_affinity(size_t i, const char *want)
{
    cr_expect_str_eq(affinity_of(live.threads[i].tid), want, "thread %zu", i);
}

static void add(bool is_vcpu)
{
    struct overhead_thread *t = &live.threads[live.count++];
    struct proc_id id;

    *t = (struct overhead_thread){.tid = kit_start_child(), .is_vcpu = is_vcpu};
    cr_assert_eq(proc_identify(t->tid, &id), 0);
    t->start_time = id.start_time;
}

/* As the thread itself would, or by inheritance. */
static void put(size_t i, const char *cpus)
{
    const struct cg_cpulist list = list_of(cpus);

    cr_assert_eq(affinity_set(live.threads[i].tid, live.threads[i].start_time, &list), 1);
}

static void update(int want)
{
    struct err e = ERR_INIT;
    int r = overhead_cpus_update(&live.overhead, live.all, live.threads, live.count, &e);

    cr_expect(r == want && e.code == 0, "expected: %d\ngot:      %d, %s", want, r, e.text);
}

static void begin_live(void)
{
    struct cg_cpulist all, one;
    unsigned cpu = 0;

    cr_assert_eq(affinity_get(0, &all), 1);
    if (cg_cpulist_count(&all) < 2)
        cr_skip_test("one CPU only: nothing to tell");
    live.all = text_of(&all);
    for (int i = 0; i < 2; i++, cpu++) {
        while (!cg_cpulist_has(&all, cpu))
            cpu++;
        one = list_of(arena_printf(&live.arena, "%u", cpu));
        *(i ? &live.second : &live.first) = text_of(&one);
    }
    live.list = list_of(live.first);
    live.overhead.list = &live.list;
}

static void end_live(void)
{
    kit_end_children();
    overhead_cpus_free(&live.overhead);
    arena_free(&live.arena);
}

TestSuite(overhead_cpus_live, .init = begin_live, .fini = end_live);

Test(overhead_cpus_live, keeps_and_releases)
{
    add(false);
    add(true);
    update(1);
    expect_affinity(0, live.first);
    expect_affinity(1, live.all);
    update(0);
    /* the kernel has forgotten it, or the thread has another idea */
    put(0, live.all);
    update(1);
    expect_affinity(0, live.first);
    /* one more of each, both started by the first */
    add(false);
    add(true);
    put(2, live.first);
    put(3, live.first);
    update(1);
    expect_affinity(2, live.first);
    expect_affinity(3, live.all);
    /* what a vCPU has from then on is its own */
    put(3, live.first);
    update(0);
    expect_affinity(3, live.first);
    put(3, live.second);
    update(0);
    expect_affinity(3, live.second);
}

/* A thread that turns out to be a vCPU, and one that does not any more. */
Test(overhead_cpus_live, changes_its_kind)
{
    add(false);
    add(true);
    update(1);
    live.threads[0].is_vcpu = true;
    live.threads[1].is_vcpu = false;
    update(1);
    expect_affinity(0, live.all);
    expect_affinity(1, live.first);
    /* and again a vCPU */
    live.threads[1].is_vcpu = true;
    update(1);
    expect_affinity(1, live.all);
}

/* Before there is a vCPU nothing is touched, and afterwards nothing is left. */
Test(overhead_cpus_live, without_vcpus)
{
    add(false);
    add(false);
    put(1, live.first);
    update(0);
    expect_affinity(0, live.all);
    expect_affinity(1, live.first);
    put(1, live.second);
    add(true);
    update(1);
    expect_affinity(0, live.first);
    expect_affinity(1, live.first);
    put(1, live.second);
    live.count = 2;
    update(1);
    expect_affinity(0, live.all);
    expect_affinity(1, live.second);
    put(0, live.first);
    update(0);
    expect_affinity(0, live.first);
}

Test(overhead_cpus_live, nothing_of_it_in_the_cpuset)
{
    struct err e = ERR_INIT;

    add(false);
    add(true);
    cr_expect_eq(overhead_cpus_update(&live.overhead, live.second, live.threads, 2, &e), -ENXIO);
    cr_expect(strstr(e.text, "overhead_cpus") && strstr(e.text, live.second), "%s", e.text);
    expect_affinity(0, live.all);
    err_reset(&e);
    cr_expect_eq(overhead_cpus_update(&live.overhead, "what", live.threads, 2, &e), -EINVAL);
    expect_affinity(0, live.all);
    update(1);
    expect_affinity(0, live.first);
}

/* The kernel knows. */
Test(overhead_cpus_live, unknown_cpuset)
{
    struct err e = ERR_INIT;

    add(false);
    add(true);
    cr_expect_eq(overhead_cpus_update(&live.overhead, NULL, live.threads, 2, &e), 1);
    expect_affinity(0, live.first);
    live.list = list_of("8191");
    cr_expect_eq(overhead_cpus_update(&live.overhead, NULL, live.threads, 2, &e), -EINVAL);
    cr_expect(strstr(e.text, "overhead_cpus"), "%s", e.text);
    expect_affinity(0, live.first);
}

Test(overhead_cpus_live, ended_threads_and_successors)
{
    add(false);
    add(true);
    add(false);
    kit_end_child(live.threads[0].tid);
    live.threads[2].start_time--;
    update(0);
    expect_affinity(2, live.all);
    live.threads[0] = live.threads[2];
}

Test(overhead_cpus_live, not_configured)
{
    add(false);
    add(true);
    live.overhead.list = NULL;
    update(0);
    expect_affinity(0, live.all);
}
