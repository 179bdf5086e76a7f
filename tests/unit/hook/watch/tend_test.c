/* SPDX-License-Identifier: Apache-2.0 */

/* What a watcher does besides placing, where the vCPUs' cgroup has no cpuset of its own. */

#include "hook/watch/tend.h"

#include "base/cleanup.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>

static unsigned first_cpu(void)
{
    unsigned cpu = 0;
    cpu_set_t set;

    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    if (CPU_COUNT(&set) < 2)
        cr_skip_test("there is one CPU only");
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    return cpu;
}

struct view {
    struct kit_stage stage;
    struct cg_host host;
    struct record record;
    struct record_container container;
    struct oci_resources resources;
    struct oci_cpu cpu;
    struct sandbox sandbox;
    struct scan scan;
    struct tend tend;
};

static void begin(struct view *v, enum cg_mode mode, char *layout, const char *settings)
{
    static char home[] = "/p/c", child[] = "/p/c/kata_vcpu", other[] = "/p/kata_c", cpus[] = "0";
    bool v2 = mode == CG_MODE_V2;

    *v = (struct view){.cpu.cpus = cpus};
    v->resources.cpu = &v->cpu;
    v->container.resources = &v->resources;
    v->record = (struct record){
        .layout = layout,
        .sandbox_path = home,
        .vcpu_path = v2 ? child : home,
        .overhead_path = v2 ? home : other,
        .containers = {&v->container, 1},
    };
    kit_begin_stage(&v->stage, mode);
    kit_set_settings(&v->stage, settings);
    kit_tree_enter(kit_start_vmm("qemu"), home, "vmm");
    kit_add_thread(0, 1, "CPU 0/KVM");
    cr_assert_eq(cg_host_open(&v->stage.a, &v->host, NULL), 0);
    sandbox_init(&v->sandbox, &v->host, NULL, &v->record);
    cr_assert_eq(sandbox_load(&v->sandbox, NULL), 0);
    v->scan = (struct scan){
        .sandbox = &v->sandbox, .settings = &v->stage.settings, .kvm_dirfd = FD_NONE, .hold = true};
    tend_init(&v->tend, &v->stage.settings);
}

static void finish(struct view *v)
{
    kthreads_free(&v->tend.kthreads);
    pinning_free(&v->tend.pinning);
    overhead_cpus_free(&v->tend.overhead);
    free(v->tend.cpuset);
    fd_close(&v->tend.proc_fd);
    scan_free(&v->scan);
    sandbox_close(&v->sandbox);
    cg_host_close(&v->host);
    kit_end_stage(&v->stage);
}

static void tend(struct view *v)
{
    struct scan_result pass;

    cr_assert_eq(scan_pass(&v->scan, SCAN_ALL, &pass, NULL), 0);
    tend_vm(&v->tend, &v->scan, &v->record, true);
}

static bool runs_on(int index, unsigned cpu)
{
    cpu_set_t set;

    cr_assert_eq(sched_getaffinity(kit_tid_of(index), sizeof set, &set), 0);
    return CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set);
}

static char nested[] = "nested", sibling[] = "sibling";

static const struct {
    enum cg_mode mode;
    char *layout;
    const char *hierarchy, *file;
} rows[] = {
    {CG_MODE_V1, nested, "cpuset", "cpuset.effective_cpus"},
    {CG_MODE_V2, nested, "unified", "cpuset.cpus.effective"},
    {CG_MODE_V1, sibling, "cpuset", "cpuset.effective_cpus"},
    {CG_MODE_V2, sibling, "unified", "cpuset.cpus.effective"},
};

/* A leaf, and a cgroup in the cpu hierarchy, has none. */
Test(tend, pins_by_the_cpuset_of_the_whole)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct view v;

        begin(&v, rows[i].mode, rows[i].layout, "");
        v.record.enable_vcpus_pinning = (struct json_bool){true, true};
        kit_tree_put(rows[i].hierarchy, "/p/c", rows[i].file,
                     arena_printf(&v.stage.a, "%u", first_cpu()));
        tend(&v);
        cr_expect(runs_on(1, first_cpu()), "row %zu", i);
        finish(&v);
    }
}

/* Whoever has asked for it, if anybody has. */
Test(tend, pins_by_a_cpuset_that_was_asked_for)
{
    static char list[] = "0", empty[] = "";
    struct oci_cpu said = {.cpus = list}, unsaid = {.cpus = empty};
    const struct {
        const char *name;
        char *own; /* of the container */
        struct oci_resources *updated;
        bool pins;
    } asked[] = {
        {"by the container", list, NULL, true},
        {"by nobody", NULL, NULL, false},
        {"by update alone", NULL, &(struct oci_resources){.cpu = &said}, true},
        {"by an update of other limits", NULL, &(struct oci_resources){.cpu = &unsaid}, false},
        {"by an update of memory", NULL, &(struct oci_resources){.cpu = NULL}, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        struct view v;

        begin(&v, CG_MODE_V1, sibling, "");
        v.record.enable_vcpus_pinning = (struct json_bool){true, true};
        v.cpu.cpus = asked[i].own;
        v.record.updated = asked[i].updated;
        kit_tree_put("cpuset", "/p/c", "cpuset.effective_cpus",
                     arena_printf(&v.stage.a, "%u", first_cpu()));
        tend(&v);
        cr_expect_eq(runs_on(1, first_cpu()), asked[i].pins, "%s", asked[i].name);
        finish(&v);
    }
}

/* The rest of the VMM has CPUs of its own. */
Test(tend, keeps_the_overhead_apart)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned cpu = first_cpu();
        char settings[64];
        struct view v;

        snprintf(settings, sizeof settings, "'overhead_cpus':'%u'", cpu);
        begin(&v, rows[i].mode, rows[i].layout, settings);
        kit_tree_put(rows[i].hierarchy, "/p/c", rows[i].file,
                     arena_printf(&v.stage.a, "%u-%u", cpu, cpu + 1));
        tend(&v);
        cr_expect(runs_on(0, cpu), "row %zu: the main thread", i);
        cr_expect_not(runs_on(1, cpu), "row %zu: a vCPU", i);
        finish(&v);
    }
}

/* When the cpuset has changed, and somebody asked for what depends on it. */
Test(tend, is_due)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct view v;

        begin(&v, rows[i].mode, rows[i].layout, "");
        kit_tree_put(rows[i].hierarchy, "/p/c", rows[i].file, "0");
        cr_expect_not(tend_is_due(&v.tend, &v.scan, &v.record), "row %zu: nobody asked", i);
        v.record.enable_vcpus_pinning = (struct json_bool){true, true};
        cr_expect(tend_is_due(&v.tend, &v.scan, &v.record), "row %zu: for the first time", i);
        tend(&v);
        cr_expect_not(tend_is_due(&v.tend, &v.scan, &v.record), "row %zu: done", i);
        kit_tree_put(rows[i].hierarchy, "/p/c", rows[i].file, "0-1");
        cr_expect(tend_is_due(&v.tend, &v.scan, &v.record), "row %zu: it has changed", i);
        v.record.enable_vcpus_pinning.value = false;
        cr_expect_not(tend_is_due(&v.tend, &v.scan, &v.record), "row %zu", i);
        finish(&v);
        begin(&v, rows[i].mode, rows[i].layout, "'overhead_cpus':'0'");
        kit_tree_put(rows[i].hierarchy, "/p/c", rows[i].file, "0");
        cr_expect(tend_is_due(&v.tend, &v.scan, &v.record), "row %zu: of the overhead", i);
        finish(&v);
    }
}
