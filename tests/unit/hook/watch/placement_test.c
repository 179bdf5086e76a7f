/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/placement.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/record_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the judgement --- */

static const struct {
    struct placement_facts facts;
    enum placement_state want;
    const char *word; /* of the reason */
} judgements[] = {
    {{0}, PLACEMENT_NONE, "has appeared yet"},
    {{.timed_out = true}, PLACEMENT_NONE, "appeared in time"},
    {{.expected = 2}, PLACEMENT_NONE, "2 vCPUs"},
    {{.expected = 2, .timed_out = true}, PLACEMENT_NONE, "2 vCPUs"},
    /* their descriptors are those of unplugged ones */
    {{.expected = 2, .parked = 2}, PLACEMENT_NONE, "has appeared yet"},
    {{.found = 1}, PLACEMENT_PARTIAL, "0 of 1"},
    {{.found = 3, .placed = 2}, PLACEMENT_PARTIAL, "2 of 3 vCPU threads"},
    {{.found = 3, .placed = 2, .expected = 3}, PLACEMENT_PARTIAL, "2 of 3 vCPU threads"},
    {{.found = 3, .placed = 3, .expected = 4}, PLACEMENT_PARTIAL, "3 of 4 vCPUs"},
    {{.found = 3, .placed = 3, .expected = 5, .parked = 1}, PLACEMENT_PARTIAL, "3 of 4 vCPUs"},
    {{.found = 3, .placed = 3, .expected = 4, .parked = 1}, PLACEMENT_COMPLETE, "descriptors"},
    {{.found = 3, .placed = 3, .expected = 4, .parked = 9}, PLACEMENT_COMPLETE, "descriptors"},
    {{.found = 3, .placed = 3, .expected = 3}, PLACEMENT_COMPLETE, "descriptors"},
    /* a VMM that gives vCPUs' names to others only limits those */
    {{.found = 4, .placed = 4, .expected = 3}, PLACEMENT_COMPLETE, "descriptors"},
    {{.found = 1, .placed = 1}, PLACEMENT_COMPLETE, "no KVM descriptors"},
    {{.found = 1, .placed = 1, .timed_out = true}, PLACEMENT_COMPLETE, "no KVM descriptors"},
    /* layout nested */
    {{.found = 1, .held = "no quota"}, PLACEMENT_PARTIAL, "not set apart: no quota"},
    {{.found = 1, .placed = 1, .held = "no quota"}, PLACEMENT_PARTIAL, "not set apart: no quota"},
    {{.held = "no quota"}, PLACEMENT_NONE, "has appeared yet"},
    {{.found = SIZE_MAX, .placed = SIZE_MAX - 1}, PLACEMENT_PARTIAL, "vCPU threads"},
};

Test(placement, judge)
{
    for (size_t i = 0; i < ARRAY_SIZE(judgements); i++) {
        const struct placement_facts *f = &judgements[i].facts;
        char why[PLACEMENT_WHY_SIZE] = "";
        enum placement_state got = placement_judge(f, why);

        cr_expect(got == judgements[i].want && strstr(why, judgements[i].word),
                  "input:    found %zu, placed %zu, expected %zu, parked %zu, timed out %d\n"
                  "expected: %s, ...%s...\ngot:      %s, %s",
                  f->found, f->placed, f->expected, f->parked, f->timed_out,
                  placement_state_name(judgements[i].want), judgements[i].word,
                  placement_state_name(got), why);
    }
}

/* --- the report --- */

static struct arena arena;
static struct kit_state fixture;
static struct record_mark mark = RECORD_MARK_INIT;
static int state_fd = FD_NONE; /* the directory of sandbox "c" */

/* A stage writes the record, whatever it says. */
static void put_record(const char *text)
{
    struct state_lock lock = kit_lock(&fixture, "c", true);

    cr_assert_eq(io_replace_at(lock.dirfd, RECORD_FILE, text, strlen(text)), 0);
    state_unlock(&lock);
}

/* The watcher reads it. */
static void adopt_record(void)
{
    record_mark(&mark, state_fd);
    cr_assert_geq(mark.fd, 0);
}

static void set_up(void)
{
    kit_begin_state(&fixture);
    put_record("{}");
    state_fd = openat(fixture.state.sandboxes, "c", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert(state_fd >= 0);
    adopt_record();
}

static void tear_down(void)
{
    fd_close(&state_fd);
    kit_end_state(&fixture);
    arena_free(&arena);
}

static struct placement a_placement(void)
{
    return (struct placement){.state_dir = &fixture.state, .sandbox_id = "c", .mark = &mark};
}

static bool is_written(void)
{
    return kit_exists_at(state_fd, PLACEMENT_FILE);
}

TestSuite(placement_report, .init = set_up, .fini = tear_down);

/* A sandbox that is not there: only its paths are asked for. */
static void make_scan(struct scan *scan, struct sandbox *s, struct scan_thread *threads,
                      size_t count)
{
    static struct cg_host host = {.mode = CG_MODE_V1};

    *s = (struct sandbox){.has_overhead = true};
    cg_init(&s->home, &host, NULL, "/p/kata_c", NULL);
    cg_init(&s->vcpu, &host, NULL, "/p/kata_c", NULL);
    cg_init(&s->overhead, &host, NULL, "/o/c", NULL);
    *scan = (struct scan){.sandbox = s, .threads = threads, .count = count, .kvm_dirfd = FD_NONE};
}

static const char *json_of(const struct placement_report *report)
{
    struct json_writer *w = json_writer_new(false);
    const char *text;

    placement_write_json(w, NULL, report);
    text = arena_strdup(&arena, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

static struct scan_thread threads[] = {
    {.tid = 11, .source = VCPU_NONE, .index = VCPU_NO_INDEX},
    {.tid = 12, .source = VCPU_GUEST_TIME, .index = VCPU_NO_INDEX, .seen_us = 5},
    {.tid = 13,
     .source = VCPU_NAME,
     .index = 1,
     .seen_us = 1000,
     .placed_us = 3001,
     .inside = true},
    {.tid = 14, .source = VCPU_DEBUGFS, .index = 0, .seen_us = 9, .placed_us = 9, .inside = true},
};
static const struct placement_facts facts = {.found = 3, .placed = 2, .expected = 3};

Test(placement_report, make)
{
    static const char want[] =
        "{\"state\":\"partial\",\"why\":\"2 of 3 vCPU threads are in the sandbox cgroup\","
        "\"expected\":3,\"vcpus\":["
        "{\"index\":0,\"tid\":14,\"source\":\"debugfs\",\"cgroup\":\"/p/kata_c\",\"placed_ms\":0},"
        "{\"index\":1,\"tid\":13,\"source\":\"name\",\"cgroup\":\"/p/kata_c\",\"placed_ms\":3},"
        "{\"index\":null,\"tid\":12,\"source\":\"guest_time\",\"cgroup\":\"/o/c\","
        "\"placed_ms\":null}]}";
    struct placement_report report;
    struct sandbox s;
    struct scan scan;
    char got[2048];

    make_scan(&scan, &s, threads, ARRAY_SIZE(threads));
    placement_report_make(&scan, &facts, &arena, &report);
    snprintf(got, sizeof got, "%s", json_of(&report));
    got[strcspn(got, "\n")] = '\0';
    cr_expect_str_eq(got, want, "expected: %s\ngot:      %s", want, got);
}

Test(placement_report, nothing_known)
{
    struct placement_report report;
    struct sandbox s;
    struct scan scan;

    make_scan(&scan, &s, NULL, 0);
    placement_report_make(&scan, &(struct placement_facts){0}, &arena, &report);
    cr_expect(strstr(json_of(&report), "\"expected\":null,\"vcpus\":[]"), "%s", json_of(&report));
}

/* What the watcher writes is what others read. */
Test(placement_report, written_and_read)
{
    struct placement p = a_placement();
    struct placement_report made, got;
    struct sandbox s;
    struct scan scan;

    cr_expect_eq(placement_read(state_fd, &arena, &got), -ENOENT);
    make_scan(&scan, &s, threads, ARRAY_SIZE(threads));
    placement_update(&p, &scan, false, true);
    cr_expect_not(placement_is_complete(&p), "one thread is not placed");
    cr_assert_eq(placement_read(state_fd, &arena, &got), 0);
    placement_report_make(&scan, &p.facts, &arena, &made);
    cr_expect_str_eq(json_of(&got), json_of(&made));
    cr_expect_eq(p.facts.found, 3);
    cr_expect_eq(p.facts.placed, 2);
    free(p.written);
}

/* A write for each pass would be a write for each millisecond. */
Test(placement_report, written_when_it_changes)
{
    struct placement p = a_placement();
    struct sandbox s;
    struct scan scan;

    make_scan(&scan, &s, threads, ARRAY_SIZE(threads));
    placement_update(&p, &scan, false, true);
    cr_assert_eq(unlinkat(state_fd, PLACEMENT_FILE, 0), 0);
    placement_update(&p, &scan, false, false);
    cr_expect_not(is_written(), "it was written again");
    scan.count--;
    placement_update(&p, &scan, false, true);
    p.changed_us = p.unwritten_us = io_now_us() + 60000000; /* a moment ago, however slow this is */
    placement_update(&p, &scan, false, false);
    cr_expect_not(is_written(), "others may come");
    p.changed_us = io_now_us() - 20000;
    placement_update(&p, &scan, false, false);
    cr_expect(is_written(), "a change was not written");
    free(p.written);
}

/* Where threads never stop coming and going. */
Test(placement_report, written_now_and_then)
{
    struct placement p = a_placement();
    struct sandbox s;
    struct scan scan;

    make_scan(&scan, &s, threads, ARRAY_SIZE(threads));
    placement_update(&p, &scan, false, true);
    cr_expect_eq(p.unwritten_us, 0);
    scan.count--;
    placement_update(&p, &scan, false, true);
    cr_expect_gt(p.unwritten_us, 0, "it waits");
    p.unwritten_us = io_now_us() - 250000;
    cr_assert_eq(unlinkat(state_fd, PLACEMENT_FILE, 0), 0);
    placement_update(&p, &scan, false, true);
    cr_expect(is_written(), "it was never written");
    cr_expect_eq(p.unwritten_us, 0);
    free(p.written);
}

/* Whoever has the lock may be about to remove all that is there; and beside a record that is not its own a watcher
 * has nothing to say. */
Test(placement_report, written_beside_its_own_record_alone)
{
    struct placement p = a_placement();
    struct state_lock lock;
    struct sandbox s;
    struct scan scan;

    make_scan(&scan, &s, threads, ARRAY_SIZE(threads));
    lock = kit_lock(&fixture, "c", false);
    placement_update(&p, &scan, false, true);
    cr_expect_not(is_written(), "while a stage is at work");
    state_unlock(&lock);
    put_record("{");
    placement_update(&p, &scan, false, true);
    cr_expect_not(is_written(), "beside another record");
    cr_assert_eq(unlinkat(state_fd, RECORD_FILE, 0), 0);
    placement_update(&p, &scan, false, true);
    cr_expect_not(is_written(), "without a record");
    put_record("{}");
    adopt_record();
    placement_update(&p, &scan, false, true);
    cr_expect(is_written(), "what was kept back was not written");
    free(p.written);
}

Test(placement_report, written_nowhere_else)
{
    struct placement p = a_placement();
    struct state_lock lock = kit_lock(&fixture, "c", false);
    struct sandbox s;
    struct scan scan;

    cr_assert_eq(state_remove(&fixture.state, "c", NULL, &lock, NULL), 0);
    make_scan(&scan, &s, threads, ARRAY_SIZE(threads));
    placement_update(&p, &scan, false, true);
    cr_expect_not(kit_exists_at(fixture.state.sandboxes, "c"), "its directory is there again");
    cr_expect_null(p.written);
}

Test(placement_report, damaged)
{
    static const char *const texts[] = {"", "{", "[]", "{}", "{\"state\":1}", "rubbish"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct placement_report got;
        int r;

        cr_assert_eq(io_replace_at(state_fd, PLACEMENT_FILE, texts[i], strlen(texts[i])), 0);
        r = placement_read(state_fd, &arena, &got);
        cr_expect_eq(r, -EPROTO, "input:    %s\ngot:      %d", texts[i], r);
    }
}

/* --- counting descriptors --- */

/* Too many at a time are not too many for ever. */
Test(placement, counts_again)
{
    pid_t pid = kit_start_child();
    struct cg_host host;
    struct sandbox s = {.has_overhead = true};
    struct scan scan = {.sandbox = &s, .kvm_dirfd = FD_NONE};
    const struct record_mark none = RECORD_MARK_INIT;
    const unsigned long long now = io_now_us();
    STAGE f;
    struct placement p = {.state_dir = &f.state,
                          .sandbox_id = "c",
                          .mark = &none,
                          .facts = {.uncounted = true},
                          .counted = true,
                          .count_us = now};

    kit_begin_stage(&f, CG_MODE_V1);
    kit_tree_make("/p/c");
    kit_tree_enter(pid, "/p/c", "vmm");
    cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
    cg_init(&s.home, &host, NULL, "/p/c", NULL);
    cg_init(&s.vcpu, &host, NULL, "/p/c", NULL);
    cg_init(&s.overhead, &host, NULL, "/p/c", NULL);
    cr_assert_eq(cg_load(&s.home, NULL), 0);

    placement_update(&p, &scan, false, false);
    cr_expect(p.count_us == now && p.facts.uncounted, "not at once");
    p.count_us -= 10000000;
    placement_update(&p, &scan, false, false);
    cr_expect(p.count_us >= now && !p.facts.uncounted, "later");
    kit_end_child(pid);
    free(p.written);
    cg_close(&s.home);
    cg_host_close(&host);
}
