/* SPDX-License-Identifier: Apache-2.0 */

/* What a watcher does besides placing: in layout nested, whose vCPUs' cgroup has no cpuset. */

#include "hook/watch/tend.h"

#include "base/cleanup.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/vmm_kit.h"

#include <criterion/criterion.h>
#include <sched.h>

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

static void expect_pinned(enum cg_mode mode, const char *hierarchy, const char *file)
{
    static char home[] = "/p/c", child[] = "/p/c/kata_vcpu", other[] = "/p/kata_c",
                layout[] = "nested", cpus[] = "0";
    struct oci_cpu cpu = {.cpus = cpus};
    struct oci_resources resources = {.cpu = &cpu};
    struct record_container container = {.resources = &resources};
    bool v2 = mode == CG_MODE_V2;
    const struct record r = {
        .layout = layout,
        .sandbox_path = home,
        .vcpu_path = v2 ? child : home,
        .overhead_path = v2 ? home : other,
        .enable_vcpus_pinning = {true, true},
        .containers = {&container, 1},
    };
    struct sandbox s;
    struct scan scan = {.sandbox = &s, .kvm_dirfd = FD_NONE, .hold = true};
    struct scan_result pass;
    struct cg_host host;
    struct tend t;
    cpu_set_t set;
    STAGE f;

    kit_begin_stage(&f, mode);
    scan.settings = &f.settings;
    kit_tree_enter(kit_start_vmm("qemu"), home, "vmm");
    kit_add_thread(0, 1, "CPU 0/KVM");
    kit_tree_put(hierarchy, home, file, arena_printf(&f.a, "%u", first_cpu()));
    cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
    sandbox_init(&s, &host, NULL, &r);
    cr_assert_eq(sandbox_load(&s, NULL), 0);
    cr_assert_eq(scan_pass(&scan, SCAN_ALL, &pass, NULL), 0);
    tend_init(&t, &f.settings);
    tend_vm(&t, &scan, &r, true);
    cr_assert_eq(sched_getaffinity(kit_tid_of(1), sizeof set, &set), 0);
    cr_expect(CPU_COUNT(&set) == 1 && CPU_ISSET(first_cpu(), &set), "%s: %d CPUs", hierarchy,
              CPU_COUNT(&set));
    pinning_free(&t.pinning);
    free(t.cpuset);
    fd_close(&t.proc_fd);
    scan_free(&scan);
    sandbox_close(&s);
    cg_host_close(&host);
}

Test(tend, pins_by_the_cpuset_of_the_runtime)
{
    expect_pinned(CG_MODE_V1, "cpuset", "cpuset.effective_cpus");
    expect_pinned(CG_MODE_V2, "unified", "cpuset.cpus.effective");
}
