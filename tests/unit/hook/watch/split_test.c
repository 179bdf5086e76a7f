/* SPDX-License-Identifier: Apache-2.0 */

/* Layout nested: a runtime's cgroup is split and becomes one again, with threads of a real process
 * in a tree of the test's own. */

#include "hook/watch/split.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define C        "/s/scope/c"
#define S        "/s/scope"
#define K        C "/kata_vcpu"
#define OVERHEAD S "/kata_c"
#define QUOTA    "50000 100000"
#define LIFTED   "max 99999"

static struct fixture {
    struct kit_stage stage;
    struct cg_host host;
    struct record record;
    struct state_lock lock;
    struct sandbox sandbox;
    struct scan scan;
    struct scan_result pass;
    struct split split;
    struct err e;
    pid_t vmm;
} f;

/* --- a sandbox as setup leaves it --- */

static void load(void)
{
    err_reset(&f.e);
    cr_assert_eq(sandbox_load(&f.sandbox, &f.e), 0, "%s", f.e.text);
}

static void start_split(void)
{
    err_reset(&f.e);
    cr_expect_eq(
        split_init(&f.split, &f.host, &f.stage.settings, &f.record, &f.scan, &f.stage.a, &f.e), 0,
        "%s", f.e.text);
    cr_expect(f.scan.hold, "nothing is moved before there is a split");
}

static void begin(enum cg_mode mode)
{
    static char id[] = "c", layout[] = "nested", home[] = C, child[] = K, overhead[] = OVERHEAD,
                parent[] = S, word[] = "cgroupfs";
    bool v2 = mode == CG_MODE_V2;

    f = (struct fixture){.lock = STATE_LOCK_INIT};
    kit_begin_stage(&f.stage, mode);
    f.vmm = kit_start_vmm("qemu");
    kit_tree_enter(f.vmm, C, "vmm");
    if (v2)
        kit_tree_put("unified", C, "cpu.max", QUOTA);
    cr_assert_eq(cg_host_open(&f.stage.a, &f.host, NULL), 0);
    f.record = (struct record){
        .sandbox_cgroup_only = {true, false},
        .sandbox_id = id,
        .layout = layout,
        .mode = word,
        .manager = word,
        .parent_path = parent,
        .sandbox_path = home,
        .vcpu_path = v2 ? child : home,
        .overhead_path = v2 ? home : overhead,
    };
    if (v2)
        JSON_APPEND(&f.stage.a, f.record.fence, struct record_fence) =
            (struct record_fence){.path = home};
    cr_assert_eq(state_lock(&f.stage.state, id, true, 1000, &f.lock, NULL), 0);
    sandbox_init(&f.sandbox, &f.host, NULL, &f.record);
    load();
    f.scan =
        (struct scan){.sandbox = &f.sandbox, .settings = &f.stage.settings, .kvm_dirfd = FD_NONE};
    start_split();
    kit_note_tree(&f.stage);
}

static void finish(void)
{
    fence_close(&f.split.fence);
    fd_close(&f.split.events);
    sandbox_close(&f.sandbox);
    scan_free(&f.scan);
    state_unlock(&f.lock);
    cg_host_close(&f.host);
    kit_end_stage(&f.stage);
}

TestSuite(split, .init = kit_ignore_sigpipe, .timeout = 120);

/* --- what the watcher does --- */

static void look(void)
{
    err_reset(&f.e);
    cr_assert_eq(scan_pass(&f.scan, SCAN_ALL, &f.pass, &f.e), 0, "%s", f.e.text);
}

static int split(void)
{
    load();
    return split_do(&f.split, &f.scan, &f.pass, &f.lock, &f.record, &f.stage.a, &f.e);
}

/* One pass, and what is due after it. */
static void tend(bool thorough)
{
    look();
    if (split_is_due(&f.split, &f.scan, &f.pass, thorough))
        cr_expect_eq(split(), 0, "%s", f.e.text);
}

static void expect_not_due(bool thorough)
{
    look();
    cr_expect_not(split_is_due(&f.split, &f.scan, &f.pass, thorough));
}

static void add_vcpu(int number)
{
    kit_add_thread(0, number + 1, arena_printf(&f.stage.a, "CPU %d/KVM", number));
}

static const char *value(const char *path, const char *file)
{
    return arena_strdup(&f.stage.a, kit_tree_read("unified", path, file));
}

static const char *ids(const int *threads, size_t count)
{
    const char *text = "";

    for (size_t i = 0; i < count; i++)
        text = arena_printf(&f.stage.a, "%s%s%d", text, i ? "\n" : "", (int)kit_tid_of(threads[i]));
    return text;
}

#define IDS(...) ids((const int[]){__VA_ARGS__}, ARRAY_SIZE(((const int[]){__VA_ARGS__})))

static void expect_changes(const char *want, const char *what)
{
    kit_expect_changes(&f.stage, want, what);
}

static void expect_refused(const char *why)
{
    cr_expect(strstr(f.split.why, why), "expected \"%s\", got \"%s\"", why, f.split.why);
    cr_expect(f.scan.hold && !f.split.on);
    expect_not_due(false);
    cr_expect(split_is_due(&f.split, &f.scan, &f.pass, true), "it may be otherwise later");
}

/* The record as it is on the disk. */
static struct record written(void)
{
    struct record r;

    cr_expect_eq(kit_record(&f.stage, "c", &r), RECORD_VALID);
    return r;
}

static const char *recorded(size_t i)
{
    const struct record r = written();
    const char *word = i < r.fence.count ? JSON_AT(r.fence, struct record_fence, i).cpu_max : NULL;

    return word ? word : "none";
}

#define SPLIT_C                                                                                    \
    "-" C ": cpu.max=" QUOTA "\n" C ": cgroup.subtree_control=cpu; "                               \
    "cgroup.type=domain threaded; cpu.max=" LIFTED "\n"
#define SPLIT_K K ": cgroup.type=threaded; cpu.max=" QUOTA

/* --- v2: beginning --- */

Test(split, begins)
{
    begin(CG_MODE_V2);
    kit_add_thread(0, 5, "worker");
    expect_not_due(true);
    cr_expect_eq(f.pass.vcpus, 0);
    add_vcpu(0);
    add_vcpu(1);
    look();
    cr_expect(f.pass.vcpus == 2 && f.pass.placed == 0);
    expect_changes("", "looked at only");
    cr_expect(split_is_due(&f.split, &f.scan, &f.pass, false));
    cr_expect_eq(split(), 0, "%s", f.e.text);
    cr_expect(f.split.on && !f.scan.hold && !*f.split.why && f.pass.placed == 2);
    expect_changes(SPLIT_C SPLIT_K "; cpu.weight=200\n", "split");
    cr_expect_str_eq(value(K, "cgroup.threads"), IDS(1, 2));
    cr_expect_str_eq(value(C, "cgroup.threads"), IDS(0, 5));
    cr_expect(written().cpu_enabled.set && written().cpu_enabled.value);
    cr_expect_str_eq(recorded(0), QUOTA);
    expect_not_due(false);
    expect_not_due(true);
    finish();
}

/* What the cgroup passes on already is not ours to take back. */
Test(split, begins_where_cpu_is_passed_on)
{
    begin(CG_MODE_V2);
    kit_tree_put("unified", C, "cgroup.subtree_control", "cpu");
    add_vcpu(0);
    tend(false);
    cr_expect(f.split.on);
    cr_expect(written().cpu_enabled.set && !written().cpu_enabled.value);
    finish();
}

/* What the vCPUs' cgroup does not inherit. */
Test(split, begins_with_companions)
{
    begin(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max.burst", "20000");
    add_vcpu(0);
    tend(false);
    cr_expect_str_eq(value(K, "cpu.max.burst"), "20000");
    cr_expect_str_eq(value(K, "cpu.weight"), "100");
    finish();
}

/* The overhead's own: Q + O. */
Test(split, begins_with_a_limit_of_the_overhead)
{
    begin(CG_MODE_V2);
    fence_close(&f.split.fence);
    fd_close(&f.split.events);
    kit_set_settings(&f.stage, "'overhead_limits':{'cpu':{'quota':30000,'period':100000}}");
    start_split();
    add_vcpu(0);
    tend(false);
    cr_expect_str_eq(value(C, "cpu.max"), "80000 99999");
    cr_expect_str_eq(value(K, "cpu.max"), QUOTA);
    finish();
}

Test(split, without_quota)
{
    begin(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "max 100000");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    tend(false);
    expect_refused("no CPU quota");
    expect_changes("", "nothing to set apart");
    cr_expect_eq(kit_record(&f.stage, "c", &f.record), RECORD_NONE, "nor to record");
    finish();
}

/* It comes with an update. */
Test(split, without_quota_at_first)
{
    begin(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "max 100000");
    add_vcpu(0);
    tend(false);
    expect_refused("no CPU quota");
    kit_tree_put("unified", C, "cpu.max", QUOTA);
    f.split.woken = true; /* as the watcher does when an event comes */
    tend(false);
    cr_expect(f.split.on && !*f.split.why);
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    finish();
}

static void remove_file(const char *path, const char *file)
{
    cr_assert_eq(unlink(arena_printf(&f.stage.a, "%s/unified%s/%s", kit_tree_dir, path, file)), 0);
}

Test(split, without_controller)
{
    begin(CG_MODE_V2);
    remove_file(C, "cpu.max");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    tend(false);
    expect_refused("no cpu controller");
    expect_changes("", "nothing is made");
    finish();
}

/* What cannot be read is no fact: it is tried again. */
Test(split, blind)
{
    begin(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "nonsense");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    look();
    cr_expect_eq(split(), -EPROTO, "%s", f.e.text);
    cr_expect(strstr(f.e.text, "nonsense") && !*f.split.why && f.scan.hold && !f.split.on);
    expect_changes("", "nothing is made");
    kit_tree_put("unified", C, "cpu.max", QUOTA);
    tend(false);
    cr_expect(f.split.on);
    finish();
}

/* Nothing of a payload's is taken over. */
Test(split, child_is_not_ours)
{
    begin(CG_MODE_V2);
    kit_tree_make(K);
    kit_tree_put("unified", C, "cgroup.subtree_control", "");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    tend(false);
    expect_refused("not ours");
    expect_changes("", "it stays as it is");
    finish();
}

/* One that the record has is ours, as after a kill. */
Test(split, child_is_ours)
{
    begin(CG_MODE_V2);
    kit_tree_make(K);
    kit_tree_put("unified", C, "cgroup.subtree_control", "");
    f.record.cpu_enabled = (struct json_bool){true, true};
    add_vcpu(0);
    tend(false);
    cr_expect(f.split.on && !*f.split.why);
    cr_expect(written().cpu_enabled.value, "as it was recorded");
    cr_expect_str_eq(value(K, "cgroup.threads"), IDS(1));
    finish();
}

/* A payload that has processes in cgroups of its own. */
Test(split, threads_are_refused)
{
    begin(CG_MODE_V2);
    kit_tree_make(C "/own");
    kit_tree_enter(kit_start_child(), C "/own", "other");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    tend(false);
    expect_refused("\"threaded\"");
    expect_changes("", "as before");
    finish();
}

/* --- a kill at any step --- */

struct witness {
    unsigned steps;
    unsigned writes, placed, lifted; /* of K's quota, of threads into K, of C */
};

static bool is_bound(const char *path)
{
    return !str_starts(kit_tree_read("unified", path, "cpu.max"), "max ");
}

/* Before each step of ours: a thread is bound by its own cgroup or by the one above. */
static void expect_bound(const char *path, const char *file, const char *text, void *arg)
{
    struct witness *w = arg;
    bool exists = !str_eq(kit_tree_read("unified", K, "cgroup.type"), "(none)");

    w->steps++;
    cr_expect(is_bound(C) || (exists && is_bound(K) && *value(K, "cgroup.threads")),
              "before step %u, %s to %s/%s", w->steps, text, path, file);
    if (exists && *value(K, "cgroup.threads"))
        cr_expect(is_bound(K) || is_bound(C), "before step %u", w->steps);
    w->writes += str_eq(path, K) && str_eq(file, "cpu.max");
    if (str_eq(path, K) && str_eq(file, "cgroup.threads")) {
        w->placed++;
        cr_expect_gt(w->writes, 0, "the quota is there before the thread");
        cr_expect_str_eq(value(K, "cpu.max"), QUOTA);
    }
    if (str_eq(path, C) && str_eq(file, "cpu.max") && str_starts(text, "max ")) {
        w->lifted++;
        cr_expect_eq(w->placed, 2, "all are placed before");
        cr_expect_str_eq(value(K, "cgroup.threads"), IDS(1, 2));
        cr_expect_str_eq(value(K, "cpu.max"), QUOTA);
        cr_expect_str_eq(recorded(0), QUOTA, "and the word that is lifted is in the record");
    }
    /* what is made is known */
    if (str_eq(path, K) && !*file)
        cr_expect(written().cpu_enabled.set, "K is in the record before it is made");
    if (str_eq(file, "cgroup.subtree_control"))
        cr_expect(written().cpu_enabled.value, "and what it needs");
}

Test(split, is_bound_at_every_step)
{
    struct witness w = {0};

    begin(CG_MODE_V2);
    add_vcpu(0);
    add_vcpu(1);
    kit_tree_watch(expect_bound, &w);
    tend(false);
    kit_tree_watch(NULL, NULL);
    cr_expect_eq(w.lifted, 1);
    cr_expect_geq(w.steps, 7, "%u steps", w.steps);
    finish();
}

/* Each step fails once: the vCPUs are bound, and the next pass makes it good. */
Test(split, is_bound_after_every_failure)
{
    unsigned n = 0;

    for (bool failed = true; failed && n < 50;) {
        begin(CG_MODE_V2);
        add_vcpu(0);
        add_vcpu(1);
        look();
        kit_tree_fail(++n, EIO);
        failed = split() < 0 || *f.split.why;
        cr_expect(is_bound(C) || (!failed && is_bound(K)), "step %u", n);
        cr_expect_eq(f.split.why[0] != '\0' || f.e.code == -EIO, failed, "step %u: %s", n,
                     f.e.text);
        if (failed) {
            if (*f.split.why)
                expect_changes("", "what was refused is undone");
            kit_tree_fail(0, 0);
            tend(true);
            cr_expect(f.split.on && !f.scan.hold && !*f.split.why, "step %u: %s", n, f.split.why);
            expect_changes(SPLIT_C SPLIT_K "; cpu.weight=200\n",
                           arena_printf(&f.stage.a, "after step %u", n));
        }
        finish();
    }
    cr_expect_geq(n, 8, "%u", n);
}

/* A record that cannot be written: nothing of what it would describe. */
Test(split, without_record)
{
    begin(CG_MODE_V2);
    add_vcpu(0);
    look();
    fd_close(&f.lock.dirfd);
    cr_expect_lt(split(), 0);
    expect_changes("", "nothing is made");
    cr_expect(f.scan.hold && !f.split.on);
    cr_expect(split_is_due(&f.split, &f.scan, &f.pass, false), "with the next pass");
    finish();
}

/* --- v2: new words, more and fewer vCPUs --- */

static void begin_split(enum cg_mode mode)
{
    begin(mode);
    add_vcpu(0);
    tend(false);
    cr_assert(f.split.on, "%s %s", f.split.why, f.e.text);
    kit_note_tree(&f.stage);
}

static void expect_narrow_first(const char *path, const char *file, const char *text, void *arg)
{
    unsigned *lifts = arg;

    if (!str_eq(path, C) || !str_eq(file, "cpu.max"))
        return;
    ++*lifts;
    cr_expect_str_eq(text, LIFTED);
    cr_expect_str_eq(value(K, "cpu.max"), "20000 100000");
    cr_expect_str_eq(recorded(0), "20000 100000");
}

Test(split, carries_a_word)
{
    unsigned lifts = 0;

    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "20000 100000");
    kit_tree_watch(expect_narrow_first, &lifts);
    f.split.woken = true;
    tend(false);
    kit_tree_watch(NULL, NULL);
    cr_expect_eq(lifts, 1);
    cr_expect_str_eq(value(K, "cpu.max"), "20000 100000");
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    /* it was taken away */
    kit_tree_put("unified", C, "cpu.max", "max 100000");
    f.split.woken = true;
    tend(false);
    cr_expect_str_eq(value(K, "cpu.max"), "max 100000");
    cr_expect_str_eq(recorded(0), "max 100000");
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    expect_not_due(false);
    finish();
}

/* Without an event a thorough look finds it, or any where there can be no events. */
Test(split, finds_a_word)
{
    begin_split(CG_MODE_V2);
    expect_not_due(false);
    kit_tree_put("unified", C, "cpu.max", "20000 100000");
    expect_not_due(false);
    tend(true);
    cr_expect_str_eq(value(K, "cpu.max"), "20000 100000");
    kit_tree_put("unified", C, "cpu.max", "30000 100000");
    f.split.fence.items[0].watch = -1;
    f.split.fence.events = FD_NONE;
    tend(false);
    cr_expect_str_eq(value(K, "cpu.max"), "30000 100000");
    finish();
}

/* The same word once more: it binds the overhead. */
Test(split, lifts_the_same_word)
{
    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", QUOTA);
    tend(true);
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    cr_expect_str_eq(value(K, "cpu.max"), QUOTA);
    finish();
}

/* A file that cannot be read now is looked at again with the next pass. */
Test(split, looks_again)
{
    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "nonsense");
    expect_not_due(true);
    kit_tree_put("unified", C, "cpu.max", "20000 100000");
    tend(false);
    cr_expect_str_eq(value(K, "cpu.max"), "20000 100000");
    finish();
}

struct rival {
    unsigned times, left;
};

/* A runtime that writes between our look and our lift: right before K is written. */
static void write_too(const char *path, const char *file, const char *text, void *arg)
{
    struct rival *r = arg;

    (void)text;
    if (!str_eq(path, K) || !str_eq(file, "cpu.max") || r->left == 0)
        return;
    r->left--;
    r->times++;
    kit_tree_put("unified", C, "cpu.max",
                 arena_printf(&f.stage.a, "%u 100000", 10000 + 1000 * r->times));
}

Test(split, goes_round_again)
{
    struct rival r = {.left = 2};

    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "10000 100000");
    kit_tree_watch(write_too, &r);
    tend(true);
    kit_tree_watch(NULL, NULL);
    cr_expect_str_eq(value(K, "cpu.max"), "12000 100000");
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    cr_expect_str_eq(recorded(0), "12000 100000");
    finish();
}

/* One that never stops is let go first, and bound meanwhile. */
Test(split, gives_up_for_now)
{
    struct rival r = {.left = 1000};

    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "10000 100000");
    kit_tree_watch(write_too, &r);
    tend(true);
    cr_expect_eq(r.times, 8);
    cr_expect(is_bound(C) && is_bound(K) && f.split.on);
    r.left = 0;
    tend(true);
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    finish();
}

/* Nothing is lifted before what is to hold instead. */
Test(split, carries_not_without_the_child)
{
    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "20000 100000");
    look();
    kit_tree_fail(1, EIO);
    cr_expect_eq(split(), -EIO, "%s", f.e.text);
    cr_expect_str_eq(value(C, "cpu.max"), "20000 100000");
    kit_tree_fail(0, 0);
    tend(true);
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    finish();
}

Test(split, carries_not_without_the_record)
{
    begin_split(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", "20000 100000");
    look();
    fd_close(&f.lock.dirfd);
    cr_expect_lt(split(), 0);
    cr_expect_str_eq(value(C, "cpu.max"), "20000 100000");
    finish();
}

/* Lifted by whom? The word of the runtime is not known. */
Test(split, without_a_word)
{
    begin(CG_MODE_V2);
    kit_tree_put("unified", C, "cpu.max", LIFTED);
    kit_note_tree(&f.stage);
    add_vcpu(0);
    look();
    cr_expect_eq(split(), -ENODATA, "%s", f.e.text);
    expect_changes("", "nothing is made");
    finish();
}

/* A controller that was passed on before stays so when the split fails. */
Test(split, undoes_only_what_is_ours)
{
    for (unsigned n = 1; n <= 3; n++) {
        begin(CG_MODE_V2);
        kit_tree_put("unified", C, "cgroup.subtree_control", "cpu");
        add_vcpu(0);
        look();
        kit_tree_fail(n, EIO);
        cr_expect_eq(split(), -EIO, "step %u: %s", n, f.e.text);
        cr_expect(!*f.split.why && f.split.woken, "it is tried again, step %u", n);
        cr_expect_str_eq(value(C, "cgroup.subtree_control"), "cpu", "step %u", n);
        err_reset(&f.e);
        finish();
    }
}

Test(split, weighs)
{
    begin_split(CG_MODE_V2);
    cr_expect_str_eq(value(K, "cpu.weight"), "100");
    add_vcpu(1);
    add_vcpu(2);
    tend(false);
    cr_expect_str_eq(value(K, "cpu.weight"), "300");
    expect_not_due(false);
    kit_end_thread(2);
    tend(false);
    cr_expect_str_eq(value(K, "cpu.weight"), "200");
    cr_expect_str_eq(value(K, "cpu.max"), QUOTA);
    finish();
}

/* A VMM that starts its VM anew: the quota is back before there is no vCPU under the other one. */
Test(split, ends_and_begins_again)
{
    begin_split(CG_MODE_V2);
    kit_end_thread(1);
    tend(false);
    cr_expect(!f.split.on && f.scan.hold);
    cr_expect_str_eq(value(C, "cpu.max"), QUOTA);
    cr_expect_str_eq(value(K, "cgroup.type"), "threaded", "for the next");
    expect_not_due(false);
    kit_tree_put("unified", C, "cpu.max", "20000 100000");
    add_vcpu(1);
    tend(false);
    cr_expect(f.split.on && !f.scan.hold);
    cr_expect_str_eq(value(K, "cpu.max"), "20000 100000");
    cr_expect_str_eq(value(C, "cpu.max"), LIFTED);
    cr_expect_str_eq(value(K, "cgroup.threads"), IDS(2));
    finish();
}

/* Until that has succeeded it is due. */
Test(split, ends_not_without_the_quota)
{
    begin_split(CG_MODE_V2);
    kit_end_thread(1);
    look();
    kit_tree_fail(1, EIO);
    cr_expect_eq(split(), -EIO, "%s", f.e.text);
    cr_expect(f.split.on && !f.scan.hold);
    kit_tree_fail(0, 0);
    tend(false);
    cr_expect_str_eq(value(C, "cpu.max"), QUOTA);
    cr_expect_not(f.split.on);
    finish();
}

Test(split, again)
{
    begin_split(CG_MODE_V2);
    split_again(&f.split, &f.scan);
    cr_expect(!f.split.on && f.split.woken && f.split.weighed == 0 && f.scan.hold);
    tend(false);
    cr_expect(f.split.on && !f.scan.hold);
    expect_changes("", "as it was");
    finish();
}

/* Another watcher finds a split. */
Test(split, goes_on)
{
    begin_split(CG_MODE_V2);
    fence_close(&f.split.fence);
    fd_close(&f.split.events);
    scan_free(&f.scan);
    f.record = written();
    start_split();
    tend(false);
    cr_expect(f.split.on && !f.scan.hold && !*f.split.why);
    cr_expect_str_eq(recorded(0), QUOTA);
    expect_changes("", "as it was");
    finish();
}

/* --- nothing to split --- */

Test(split, only)
{
    begin(CG_MODE_V2);
    fence_close(&f.split.fence);
    fd_close(&f.split.events);
    f.record.sandbox_cgroup_only.value = true;
    start_split();
    cr_expect(!f.split.has_fence && f.split.events < 0 && f.split.is_v2);
    finish();
}

Test(split, wrong_limits_of_the_overhead)
{
    begin(CG_MODE_V2);
    fence_close(&f.split.fence);
    fd_close(&f.split.events);
    kit_set_settings(&f.stage, "'overhead_limits':{'unified':{'../x':'1'}}");
    cr_expect_eq(
        split_init(&f.split, &f.host, &f.stage.settings, &f.record, &f.scan, &f.stage.a, &f.e),
        -EINVAL);
    cr_expect(f.scan.hold && f.split.events < 0);
    finish();
}

/* --- v1 --- */

static const char *v1_tasks(const char *path)
{
    return arena_strdup(&f.stage.a, kit_tree_read("cpu,cpuacct", path, "tasks"));
}

static const enum cg_mode v1_modes[] = {CG_MODE_V1, CG_MODE_HYBRID};

Test(split, begins_on_v1)
{
    for (size_t i = 0; i < ARRAY_SIZE(v1_modes); i++) {
        begin(v1_modes[i]);
        kit_tree_put("cpu,cpuacct", C, "cpu.shares", "512");
        kit_note_tree(&f.stage);
        kit_add_thread(0, 5, "worker");
        expect_not_due(true);
        add_vcpu(0);
        look();
        expect_changes("", "looked at only");
        cr_expect(split_is_due(&f.split, &f.scan, &f.pass, false));
        cr_expect_eq(split(), 0, "%s", f.e.text);
        cr_expect(f.split.on && !f.scan.hold && !*f.split.why && f.pass.placed == 1);
        cr_expect_str_eq(v1_tasks(C), IDS(1));
        cr_expect_str_eq(v1_tasks(OVERHEAD), IDS(0, 5));
        cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cpu.shares"), "512");
        cr_expect_str_eq(kit_tree_read("memory", OVERHEAD, "tasks"), "(none)");
        cr_expect_str_eq(kit_tree_read("memory", C, "cgroup.procs"), IDS(0));
        cr_expect(written().cpu_enabled.set && !written().cpu_enabled.value);
        expect_not_due(false);
        expect_not_due(true);
        finish();
    }
}

Test(split, begins_on_v1_with_a_limit_of_the_overhead)
{
    begin(CG_MODE_V1);
    kit_set_settings(&f.stage,
                     "'overhead_limits':{'cpu':{'quota':30000,'period':100000,'shares':77}}");
    start_split();
    add_vcpu(0);
    tend(false);
    tend(true);
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cpu.shares"), "77");
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cpu.cfs_quota_us"), "30000");
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", C, "cpu.cfs_quota_us"), "-1");
    finish();
}

/* `update` of shares: the overhead competes as the whole does, unless it has shares of its own. */
Test(split, follows_the_shares_on_v1)
{
    begin(CG_MODE_V1);
    add_vcpu(0);
    tend(false);
    kit_tree_put("cpu,cpuacct", C, "cpu.shares", "256");
    expect_not_due(false);
    look();
    cr_expect(split_is_due(&f.split, &f.scan, &f.pass, true));
    kit_tree_fail(1, EIO);
    cr_expect_eq(split(), -EIO);
    kit_tree_fail(0, 0);
    tend(true);
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cpu.shares"), "256");
    expect_not_due(true);
    finish();
}

/* What has got its name since the last look stays under the quota, whatever else tells of names. */
Test(split, begins_with_a_fresh_look)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        begin(modes[i]);
        f.scan.names_told = true;
        kit_add_thread(0, 2, "vmm");
        add_vcpu(0);
        look();
        cr_expect_eq(f.pass.vcpus, 1);
        f.scan.relook_us = io_now_us() + 60000000;
        kit_rename_thread(2, "CPU 1/KVM");
        cr_expect(split_is_due(&f.split, &f.scan, &f.pass, false));
        cr_expect_eq(split(), 0, "%s", f.e.text);
        cr_expect_eq(f.pass.placed, 2, "mode %zu", i);
        if (modes[i] == CG_MODE_V2)
            cr_expect_str_eq(value(K, "cgroup.threads"), IDS(2, 1));
        else
            cr_expect_str_eq(v1_tasks(C), IDS(2, 1));
        finish();
    }
}

/* Also an empty one may be another container's own, whose process is in a sandbox. */
Test(split, overhead_is_not_ours)
{
    for (int empty = 0; empty <= 1; empty++) {
        begin(CG_MODE_V1);
        kit_tree_make(OVERHEAD);
        if (!empty)
            kit_tree_enter(kit_start_child(), OVERHEAD, "other");
        kit_note_tree(&f.stage);
        add_vcpu(0);
        tend(false);
        expect_refused("not ours");
        expect_changes("", "as it was");
        finish();
    }
}

/* It was made, and the watcher is another one. */
Test(split, overhead_is_ours)
{
    begin(CG_MODE_V1);
    kit_tree_make(OVERHEAD);
    kit_tree_enter(kit_start_child(), OVERHEAD, "other");
    f.record.cpu_enabled.set = true;
    add_vcpu(0);
    tend(false);
    cr_expect(f.split.on && !*f.split.why, "%s", f.split.why);
    finish();
}

Test(split, without_hierarchy)
{
    begin(CG_MODE_V1);
    f.sandbox.split.count = 0;
    f.pass.vcpus = 1;
    cr_expect_eq(split_do(&f.split, &f.scan, &f.pass, &f.lock, &f.record, &f.stage.a, &f.e), 0);
    cr_expect(strstr(f.split.why, "no hierarchy") && f.scan.hold && !f.split.on);
    expect_changes("", "nothing is made");
    finish();
}

static void expect_recorded(const char *path, const char *file, const char *text, void *arg)
{
    unsigned *steps = arg;

    (void)text;
    ++*steps;
    cr_expect(written().cpu_enabled.set, "%s/%s", path, file);
    cr_expect_neq(strstr(v1_tasks(C), IDS(1)), NULL, "the vCPU never leaves");
}

Test(split, is_bound_on_v1)
{
    unsigned steps = 0;

    begin(CG_MODE_V1);
    add_vcpu(0);
    kit_tree_watch(expect_recorded, &steps);
    tend(false);
    kit_tree_watch(NULL, NULL);
    cr_expect_geq(steps, 2);
    finish();
}

Test(split, fails_on_v1)
{
    unsigned n = 0;

    for (bool failed = true; failed && n < 50;) {
        begin(CG_MODE_V1);
        add_vcpu(0);
        look();
        kit_tree_fail(++n, EIO);
        failed = split() < 0;
        cr_expect_neq(strstr(v1_tasks(C), IDS(1)), NULL, "step %u", n);
        kit_tree_fail(0, 0);
        tend(true);
        cr_expect(f.split.on && !f.scan.hold, "step %u", n);
        cr_expect_str_eq(v1_tasks(OVERHEAD), IDS(0));
        finish();
    }
    cr_expect_geq(n, 3, "%u", n);
}

Test(split, ends_on_v1)
{
    begin_split(CG_MODE_V1);
    kit_end_thread(1);
    tend(false);
    cr_expect(!f.split.on && f.scan.hold);
    cr_expect_str_eq(v1_tasks(C), IDS(0));
    cr_expect_str_eq(v1_tasks(OVERHEAD), "");
    expect_not_due(false);
    add_vcpu(1);
    tend(false);
    cr_expect(f.split.on && !f.scan.hold);
    cr_expect_str_eq(v1_tasks(C), IDS(2));
    cr_expect_str_eq(v1_tasks(OVERHEAD), IDS(0));
    finish();
}

Test(split, ends_not_on_v1_without_all)
{
    begin_split(CG_MODE_V1);
    kit_end_thread(1);
    look();
    kit_tree_fail(1, EIO);
    cr_expect_eq(split(), -EIO);
    cr_expect(f.split.on && !f.scan.hold);
    kit_tree_fail(0, 0);
    tend(false);
    cr_expect_str_eq(v1_tasks(C), IDS(0));
    finish();
}

/* Processes come to the runtime's cgroup, which is the vCPUs': the quickest pass sees them. */
Test(split, sees_what_comes_on_v1)
{
    begin_split(CG_MODE_V1);
    kit_tree_enter(kit_start_child(), C, "exec");
    cr_assert_eq(scan_pass(&f.scan, SCAN_QUICK, &f.pass, &f.e), 0, "%s", f.e.text);
    cr_expect_not(f.pass.quick);
    cr_expect_str_eq(v1_tasks(C), IDS(1));
    finish();
}

/* On v2 that is where the list is read anyway. */
Test(split, is_quick_on_v2)
{
    begin_split(CG_MODE_V2);
    cr_assert_eq(scan_pass(&f.scan, SCAN_QUICK, &f.pass, &f.e), 0, "%s", f.e.text);
    cr_expect(f.pass.quick);
    kit_add_thread(0, 5, "CPU 7/KVM");
    cr_assert_eq(scan_pass(&f.scan, SCAN_QUICK, &f.pass, &f.e), 0, "%s", f.e.text);
    cr_expect(!f.pass.quick && f.pass.vcpus == 2);
    finish();
}
