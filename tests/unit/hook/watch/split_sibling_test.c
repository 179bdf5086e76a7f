/* SPDX-License-Identifier: Apache-2.0 */

/* A sandbox cgroup of our own is split and becomes one again, as a runtime's is in split_test.c. */

#include "base/cleanup.h"
#include "base/str.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/split.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

#define F        "/p/kata_c"
#define K        F "/kata_vcpu"
#define OVERHEAD "/kata_overhead/c"
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
} f;

static void start_split(void)
{
    err_reset(&f.e);
    cr_assert_eq(
        split_init(&f.split, &f.host, &f.stage.settings, &f.record, &f.scan, &f.stage.a, &f.e), 0,
        "%s", f.e.text);
    cr_expect(f.scan.hold, "nothing is moved before there is a split");
}

/* As setup leaves it. @unit: the name of the overhead's scope, or NULL. */
static void begin(enum cg_mode mode, const char *settings, char *unit)
{
    static char id[] = "c", layout[] = "sibling", home[] = F, child[] = K, overhead[] = OVERHEAD,
                parent[] = "/p", word[] = "cgroupfs";
    bool v2 = mode == CG_MODE_V2;

    f = (struct fixture){.lock = STATE_LOCK_INIT};
    kit_begin_stage(&f.stage, mode);
    kit_set_settings(&f.stage, settings);
    kit_tree_enter(kit_start_vmm("qemu"), F, "vmm");
    if (v2) {
        kit_tree_put("unified", F, "cgroup.subtree_control", "");
        kit_tree_put("unified", F, "cpu.max", QUOTA);
    } else {
        kit_tree_put("cpu,cpuacct", F, "cpu.shares", "512");
        kit_tree_put("cpu,cpuacct", F, "cpu.cfs_quota_us", "50000");
    }
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
        .overhead_unit = unit,
    };
    if (v2)
        JSON_APPEND(&f.stage.a, f.record.fence, struct record_fence) =
            (struct record_fence){.path = home};
    cr_assert_eq(state_lock(&f.stage.state, id, true, 1000, &f.lock, NULL), 0);
    sandbox_init(&f.sandbox, &f.host, NULL, &f.record);
    cr_assert_eq(sandbox_load(&f.sandbox, &f.e), 0, "%s", f.e.text);
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

TestSuite(split_sibling, .init = kit_ignore_sigpipe, .timeout = 120);

/* One pass, and what is due after it. */
static void tend(bool thorough)
{
    err_reset(&f.e);
    cr_assert_eq(scan_pass(&f.scan, SCAN_ALL, &f.pass, &f.e), 0, "%s", f.e.text);
    if (!split_is_due(&f.split, &f.scan, &f.pass, thorough))
        return;
    cr_assert_eq(sandbox_load(&f.sandbox, &f.e), 0, "%s", f.e.text);
    cr_expect_eq(split_do(&f.split, &f.scan, &f.pass, &f.lock, &f.record, &f.stage.a, &f.e), 0,
                 "%s", f.e.text);
}

static void add_vcpu(int number)
{
    kit_add_thread(0, number + 1, arena_printf(&f.stage.a, "CPU %d/KVM", number));
}

static const char *v2_value(const char *path, const char *file)
{
    return arena_strdup(&f.stage.a, kit_tree_read("unified", path, file));
}

static const char *v1_value(const char *path, const char *file)
{
    return arena_strdup(&f.stage.a, kit_tree_read("cpu,cpuacct", path, file));
}

static const char *tid(int index)
{
    return arena_printf(&f.stage.a, "%d", (int)kit_tid_of(index));
}

static struct record written(void)
{
    struct record r;

    cr_expect_eq(kit_record(&f.stage, "c", &r), RECORD_VALID);
    return r;
}

/* --- v2 --- */

Test(split_sibling, v2)
{
    begin(CG_MODE_V2, "", NULL);
    tend(true);
    kit_expect_changes(&f.stage, "", "no vCPU");
    add_vcpu(0);
    tend(false);
    cr_expect(f.split.on && !f.scan.hold && !*f.split.why && f.pass.placed == 1);
    kit_expect_changes(&f.stage,
                       "-" F ": cpu.max=" QUOTA "\n" F ": cgroup.subtree_control=cpu; "
                       "cgroup.type=domain threaded; cpu.max=" LIFTED "\n" K
                       ": cgroup.type=threaded; cpu.max=" QUOTA "\n",
                       "split");
    cr_expect_str_eq(v2_value(K, "cgroup.threads"), tid(1));
    cr_expect_str_eq(v2_value(F, "cgroup.threads"), tid(0));
    cr_expect(written().cpu_enabled.set && written().cpu_enabled.value);
    cr_expect_str_eq(JSON_AT(written().fence, struct record_fence, 0).cpu_max, QUOTA);
    finish();
}

/* What a stage, or a carried change, gives the sandbox becomes the vCPUs'. */
Test(split_sibling, v2_carries)
{
    begin(CG_MODE_V2, "'overhead_limits':{'cpu':{'quota':30000}}", NULL);
    add_vcpu(0);
    tend(false);
    cr_expect_str_eq(v2_value(F, "cpu.max"), "80000 99999");
    kit_tree_put("unified", F, "cpu.max", "20000 100000");
    tend(true);
    cr_expect_str_eq(v2_value(K, "cpu.max"), "20000 100000");
    cr_expect_str_eq(v2_value(F, "cpu.max"), "50000 99999");
    finish();
}

/* A vCPU that cannot be moved is bound, with all the others. */
Test(split_sibling, v2_lifts_nothing_above_a_vcpu_that_does_not_move)
{
    begin(CG_MODE_V2, "", NULL);
    add_vcpu(0);
    add_vcpu(1);
    kit_tree_hold(kit_tid_of(1));
    cr_assert_eq(scan_pass(&f.scan, SCAN_ALL, &f.pass, &f.e), 0);
    cr_assert(split_is_due(&f.split, &f.scan, &f.pass, true));
    cr_expect_eq(split_do(&f.split, &f.scan, &f.pass, &f.lock, &f.record, &f.stage.a, &f.e),
                 -EINVAL);
    cr_expect_str_eq(v2_value(K, "cgroup.threads"), tid(2));
    err_reset(&f.e);
    cr_expect_eq(scan_pass(&f.scan, SCAN_ALL, &f.pass, &f.e), -EINVAL);
    cr_expect_not(split_is_due(&f.split, &f.scan, &f.pass, true));
    cr_expect_str_eq(v2_value(F, "cpu.max"), QUOTA);
    unlink(arena_printf(&f.stage.a, "%s/held-%d", kit_tree_dir, (int)kit_tid_of(1)));
    tend(true);
    cr_expect_str_eq(v2_value(F, "cpu.max"), LIFTED);
    finish();
}

Test(split_sibling, v2_ends_and_begins_again)
{
    begin(CG_MODE_V2, "", NULL);
    add_vcpu(0);
    tend(false);
    kit_end_thread(1);
    tend(false);
    cr_expect(!f.split.on && f.scan.hold);
    cr_expect_str_eq(v2_value(F, "cpu.max"), QUOTA);
    add_vcpu(1);
    tend(false);
    cr_expect(f.split.on && !f.scan.hold);
    cr_expect_str_eq(v2_value(F, "cpu.max"), LIFTED);
    cr_expect_str_eq(v2_value(K, "cgroup.threads"), tid(2));
    finish();
}

Test(split_sibling, v2_without_quota)
{
    begin(CG_MODE_V2, "", NULL);
    kit_tree_put("unified", F, "cpu.max", "max 100000");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    tend(false);
    cr_expect(strstr(f.split.why, "there is no CPU quota"), "%s", f.split.why);
    cr_expect(!f.split.on && f.scan.hold);
    kit_expect_changes(&f.stage, "", "nothing to set apart");
    finish();
}

/* --- v1 --- */

static const enum cg_mode v1_modes[] = {CG_MODE_V1, CG_MODE_HYBRID};

/* CPU time alone is split: everything else has the sandbox's limits. */
Test(split_sibling, v1)
{
    for (size_t i = 0; i < ARRAY_SIZE(v1_modes); i++) {
        begin(v1_modes[i], "", NULL);
        tend(true);
        kit_expect_changes(&f.stage, "", "no vCPU");
        add_vcpu(0);
        tend(false);
        cr_expect(f.split.on && !f.scan.hold && !*f.split.why && f.pass.placed == 1);
        cr_expect_str_eq(v1_value(F, "tasks"), tid(1));
        cr_expect_str_eq(v1_value(F, "cpu.cfs_quota_us"), "50000");
        cr_expect_str_eq(v1_value(OVERHEAD, "tasks"), tid(0));
        cr_expect_str_eq(v1_value(OVERHEAD, "cpu.shares"), "512");
        cr_expect_str_eq(v1_value(OVERHEAD, "cpu.cfs_quota_us"), "-1");
        cr_expect_str_eq(kit_tree_read("memory", OVERHEAD, "tasks"), "(none)");
        cr_expect_str_eq(kit_tree_read("cpuset", OVERHEAD, "tasks"), "(none)");
        cr_expect_str_eq(kit_tree_read("memory", F, "cgroup.procs"), tid(0));
        cr_expect(written().cpu_enabled.set && !written().cpu_enabled.value);
        finish();
    }
}

/* The administrator's word goes before what is inherited. */
Test(split_sibling, v1_with_limits_of_the_overhead)
{
    static const struct {
        const char *settings, *shares, *quota;
    } rows[] = {
        {"'overhead_limits':{'cpu':{'shares':77}}", "77", "-1"},
        {"'overhead_limits':{'cpu':{'quota':30001}}", "512", "30001"},
        {"'overhead_limits':{'cpu':{'shares':77,'quota':30001}}", "77", "30001"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        begin(CG_MODE_V1, rows[i].settings, NULL);
        add_vcpu(0);
        tend(false);
        cr_expect_str_eq(v1_value(OVERHEAD, "cpu.shares"), rows[i].shares, "%s", rows[i].settings);
        cr_expect_str_eq(v1_value(OVERHEAD, "cpu.cfs_quota_us"), rows[i].quota, "%s",
                         rows[i].settings);
        finish();
    }
}

/* A scope is there before there are vCPUs, with a process of ours: it is not somebody else's; and its
 * quota is the one that is asked for, though systemd was told the next whole per cent. */
Test(split_sibling, v1_with_a_scope)
{
    static char unit[] = "kata-overhead-c.scope";

    begin(CG_MODE_V1, "'overhead_limits':{'cpu':{'quota':30001}}", unit);
    kit_tree_enter(kit_start_child(), OVERHEAD, "placeholder");
    add_vcpu(0);
    tend(false);
    cr_expect(f.split.on && !*f.split.why, "%s", f.split.why);
    cr_expect(strstr(v1_value(OVERHEAD, "tasks"), tid(0)));
    cr_expect_str_eq(v1_value(F, "tasks"), tid(1));
    cr_expect_str_eq(v1_value(OVERHEAD, "cpu.cfs_quota_us"), "30001");
    cr_expect_str_eq(v1_value(OVERHEAD, "cpu.shares"), "512");
    f.sandbox.overhead.unit = NULL;
    finish();
}

Test(split_sibling, v1_overhead_is_not_ours)
{
    begin(CG_MODE_V1, "", NULL);
    kit_tree_enter(kit_start_child(), OVERHEAD, "other");
    kit_note_tree(&f.stage);
    add_vcpu(0);
    tend(false);
    cr_expect(strstr(f.split.why, "not ours") && f.scan.hold && !f.split.on, "%s", f.split.why);
    kit_expect_changes(&f.stage, "", "as it was");
    finish();
}

Test(split_sibling, v1_ends_and_begins_again)
{
    begin(CG_MODE_V1, "", NULL);
    add_vcpu(0);
    tend(false);
    kit_end_thread(1);
    tend(false);
    cr_expect(!f.split.on && f.scan.hold);
    cr_expect_str_eq(v1_value(F, "tasks"), tid(0));
    cr_expect_str_eq(v1_value(OVERHEAD, "tasks"), "");
    add_vcpu(1);
    tend(false);
    cr_expect(f.split.on && !f.scan.hold);
    cr_expect_str_eq(v1_value(F, "tasks"), tid(2));
    cr_expect_str_eq(v1_value(OVERHEAD, "tasks"), tid(0));
    finish();
}

/* --- nothing to split --- */

Test(split_sibling, only)
{
    begin(CG_MODE_V2, "", NULL);
    fence_close(&f.split.fence);
    fd_close(&f.split.events);
    f.record.sandbox_cgroup_only.value = true;
    start_split();
    cr_expect(!f.split.has_fence && f.split.events < 0);
    add_vcpu(0);
    tend(true);
    cr_expect(f.pass.vcpus == 1 && !f.split.on && f.scan.hold);
    kit_expect_changes(&f.stage, "", "in one");
    finish();
}
