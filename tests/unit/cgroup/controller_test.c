/* SPDX-License-Identifier: Apache-2.0 */

/* The controller of one cgroup against the kernel of this host. */

#include "cgroup/controller.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

TestSuite(controller, .init = kit_start, .fini = kit_finish, .timeout = 120);

/* --- create, load, undo --- */

Test(controller, create_and_undo)
{
    struct cg_controller c, again;
    const char *path = kit_sub("a");
    struct err e = ERR_INIT;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, path, NULL, &kit_no_limits);
    cr_expect_eq(kit_count_existing(&kit_host, path), kit_host.count, "made in every hierarchy");
    cr_expect_eq(c.made, (UINT32_C(1) << kit_host.count) - 1, "made: %#x", c.made);
    for (size_t i = 0; i < kit_host.count; i++) {
        cr_expect_geq(c.fds[i], 0);
        cr_expect(fcntl(c.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    /* again, on the same struct and on another one */
    kit_expect_ok(kit_put_new(&c, &kit_no_limits, NULL, &e), &e, "create again");
    again = kit_create(&kit_host, NULL, path, NULL, &kit_no_limits);
    cr_expect_eq(again.made, 0, "there was nothing to make: %#x", again.made);
    cg_undo_create(&again);
    cr_expect_eq(kit_count_existing(&kit_host, path), kit_host.count,
                 "undo removes only what it made");
    cg_undo_create(&c);
    cr_expect_eq(kit_count_existing(&kit_host, path), 0, "undo removed it");
    cr_expect(c.made == 0 && c.fds[0] == FD_NONE);
    cg_undo_create(&c);
}

Test(controller, undo_removes_only_new_hierarchies)
{
    const char *path = kit_sub("a");
    struct cg_controller c;

    kit_need_v1();
    kit_make_cgroup(&kit_host.hierarchies[1], kit_base);
    kit_make_cgroup(&kit_host.hierarchies[1], path);
    c = kit_create(&kit_host, NULL, path, NULL, &kit_no_limits);
    cr_expect_eq(c.made, ((UINT32_C(1) << kit_host.count) - 1) & ~2u, "made: %#x", c.made);
    cg_undo_create(&c);
    cr_expect_eq(kit_count_existing(&kit_host, path), 1);
    cr_expect(kit_exists(&kit_host.hierarchies[1], path), "it was there before");
}

Test(controller, undo_leaves_busy)
{
    struct cg_controller c;
    pid_t pid;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    pid = kit_start_child();
    cr_assert_eq(kit_write_pid(&kit_host.hierarchies[0], c.path, "cgroup.procs", pid), 0);
    cg_undo_create(&c);
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 1, "what is busy stays, the rest goes");
    cr_expect(kit_exists(&kit_host.hierarchies[0], c.path));
}

Test(controller, failed_create_is_undone)
{
    const struct cg_hierarchy *cpu = kit_need_v1_ctl(CG_CTL_CPU);
    struct cg_file bad = {.ctl = CG_CTL_CPU, .file = "cpu.shares", .text = "many"};
    struct cg_files files = {.items = &bad, .count = 1};
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r;

    cg_init(&c, &kit_host, NULL, kit_sub("a"), NULL);
    r = kit_put_new(&c, &files, NULL, &e);
    cr_expect_eq(r, -EINVAL, "expected %d, got %d", -EINVAL, r);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "\"many\" to %s%s/cpu.shares: EINVAL",
                                          cpu->mount_point, c.path)),
              "value and full path: \"%s\"", e.text);
    cr_expect_eq(kit_count_existing(&kit_host, c.path), kit_host.count,
                 "nothing is undone by itself");
    cg_undo_create(&c);
    cr_expect_eq(kit_count_existing(&kit_host, c.path), 0);
}

Test(controller, load)
{
    const char *path = kit_sub("a");
    struct cg_controller c, loaded;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t pid;

    kit_need_v1();
    cg_init(&loaded, &kit_host, NULL, path, NULL);
    cr_expect_eq(cg_load(&loaded, &e), -ENOENT);
    cr_expect(strstr(e.text, path) && strstr(e.text, "does not exist"), "\"%s\"", e.text);
    err_reset(&e);

    c = kit_create(&kit_host, NULL, path, NULL, &kit_no_limits);
    cg_close(&c);
    cr_expect_eq(c.fds[0], FD_NONE);
    cr_expect_eq(kit_count_existing(&kit_host, path), kit_host.count, "closing leaves the cgroup");
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_load(&loaded, &e), &e, "load");
    for (size_t i = 0; i < kit_host.count; i++)
        cr_expect_geq(loaded.fds[i], 0, "%s", kit_host.hierarchies[i].name);
    cr_expect_eq(loaded.made, 0);

    /* gone in one hierarchy: opened in the others, and used there */
    cr_assert_eq(unlinkat(kit_host.hierarchies[0].fd, path + 1, AT_REMOVEDIR), 0);
    kit_expect_ok(cg_load(&loaded, &e), &e, "load what is left");
    for (size_t i = 0; i < kit_host.count; i++)
        cr_expect_eq(loaded.fds[i] >= 0, i > 0, "%s: %d", kit_host.hierarchies[i].name,
                     loaded.fds[i]);
    pid = kit_start_child();
    kit_expect_ok(cg_add_process(&loaded, kit_who(pid), &e), &e, "add");
    cr_expect_str_eq(kit_where(&kit_host.hierarchies[0], pid),
                     kit_where(&kit_host.hierarchies[0], getpid()));
    cr_expect_str_eq(kit_where(&kit_host.hierarchies[1], pid), path);
    kit_expect_ok(cg_threads(&loaded, &kit_arena, &pids, &e), &e, "threads of another hierarchy");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    kit_end_child(pid);
    kit_delete_ok(&loaded);
}

Test(controller, names)
{
    struct cg_controller c;
    char buf[32];

    kit_need_v1();
    cg_init(&c, &kit_host, NULL, "/a/b", NULL);
    cr_expect_str_eq(cg_type(&c, buf), "v1");
    cr_expect_str_eq(cg_id(&c, &kit_arena), "/a/b");
    cr_expect_str_eq(cg_parent(&c, &kit_arena), "/a");
    cg_init(&c, &kit_host, NULL, "/a", NULL);
    cr_expect_str_eq(cg_parent(&c, &kit_arena), "/");
    cg_close(&c);
}

/* --- stat --- */

static uint64_t usage_us(const char *path)
{
    const struct cg_hierarchy *h = cg_host_find(&kit_host, CG_CTL_CPUACCT);

    return h ? strtoull(kit_read_value(h, path, "cpuacct.usage"), NULL, 10) / 1000 : 0;
}

Test(controller, stat)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file;
    } files[] = {
        {CG_CTL_CPUACCT, "cpuacct.usage"},
        {CG_CTL_CPU, "cpu.stat"},
        {CG_CTL_MEMORY, "memory.usage_in_bytes"},
        {CG_CTL_PIDS, "pids.current"},
        {CG_CTL_BLKIO, "blkio.throttle.io_service_bytes"},
    };
    struct cg_controller c;
    struct cg_stat st;
    struct err e = ERR_INIT;
    struct kit_worker w;
    unsigned want = 0;
    uint64_t low;

    kit_need_v1();
    c = kit_create(&kit_host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    w = kit_start_worker();
    kit_expect_ok(cg_add_process(&c, kit_who(w.pid), &e), &e, "add");
    cr_expect(kit_ask(&w, 'm') == 0 && kit_ask(&w, 'c') == 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const struct cg_hierarchy *h = cg_host_find(&kit_host, files[i].ctl);

        if (h && !h->v2 && !str_eq(kit_read_value(h, c.path, files[i].file), "(none)"))
            want |= CG_CTL_BIT(files[i].ctl);
    }
    low = usage_us(c.path);
    memset(&st, 0xaa, sizeof st);
    cg_stat(&c, &st);
    cr_expect_eq(st.has, want, "expected %#x, got %#x", want, st.has);
    if (want & CG_CTL_BIT(CG_CTL_CPUACCT))
        cr_expect(low > 0 && low <= st.cpu_usage_us && st.cpu_usage_us <= usage_us(c.path),
                  "expected %" PRIu64 "..%" PRIu64 " us, got %" PRIu64, low, usage_us(c.path),
                  st.cpu_usage_us);
    if (want & CG_CTL_BIT(CG_CTL_MEMORY))
        cr_expect(st.memory_bytes >= 8 << 20 && st.memory_peak_bytes >= st.memory_bytes,
                  "memory %" PRIu64 ", peak %" PRIu64, st.memory_bytes, st.memory_peak_bytes);
    if (want & CG_CTL_BIT(CG_CTL_PIDS))
        cr_expect_eq(st.pids, 1, "pids: got %" PRIu64, st.pids);
    kit_end_child(w.pid);
    kit_delete_ok(&c);
    /* nothing open: nothing there, but no failure */
    cg_stat(&c, &st);
    cr_expect_eq(st.has, 0);
}

/* The numbers, from files that we write ourselves. */
struct stat_file {
    const char *name, *text;
};

static void check_stat(enum cg_mode mode, const struct stat_file *files, size_t count,
                       const struct cg_stat *want)
{
    char dir[] = "/tmp/osc-stat-XXXXXX";
    struct cg_host host = {.mode = mode, .count = 1};
    struct cg_controller c;
    struct cg_stat st;

    kit_make_dir(dir);
    host.hierarchies[0] = (struct cg_hierarchy){.fd = FD_NONE,
                                                .v2 = mode == CG_MODE_V2,
                                                .controllers = ~0u,
                                                .name = "all",
                                                .mount_point = dir,
                                                .root = "/"};
    cg_init(&c, &host, NULL, "/x", NULL);
    c.fds[0] = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        autofd fd = openat(c.fds[0], files[i].name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ssize_t len = (ssize_t)strlen(files[i].text);

        cr_assert(fd >= 0 && write(fd, files[i].text, (size_t)len) == len);
    }
    cg_stat(&c, &st);
    for (size_t i = 0; i < count; i++)
        unlinkat(c.fds[0], files[i].name, 0);
    rmdir(dir);
    cg_close(&c);
#define SAME(m)                                                                                    \
    cr_expect_eq((uint64_t)st.m, (uint64_t)want->m,                                                \
                 "%s, " #m ": expected %" PRIu64 ", got %" PRIu64, cg_mode_name(mode),             \
                 (uint64_t)want->m, (uint64_t)st.m)
    SAME(has);
    SAME(cpu_usage_us);
    SAME(cpu_user_us);
    SAME(cpu_system_us);
    SAME(periods);
    SAME(throttled_periods);
    SAME(throttled_us);
    SAME(cpu_limit_us);
    SAME(memory_bytes);
    SAME(memory_peak_bytes);
    SAME(memory_limit_bytes);
    SAME(anon_bytes);
    SAME(file_bytes);
    SAME(shmem_bytes);
    SAME(kernel_bytes);
    SAME(swap_bytes);
    SAME(oom_kills);
    SAME(pids);
    SAME(pids_limit);
    SAME(io_read_bytes);
    SAME(io_write_bytes);
    SAME(cpu.some_us);
    SAME(cpu.full_10s);
    SAME(memory.full_us);
    SAME(io.some_10s);
#undef SAME
}

#define ALL_STATS                                                                                  \
    (CG_CTL_BIT(CG_CTL_CPUACCT) | CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_MEMORY) |             \
     CG_CTL_BIT(CG_CTL_PIDS) | CG_CTL_BIT(CG_CTL_BLKIO))

/* All that an older kernel, or one without the controllers, may not tell. */
#define NOTHING .cpu_user_us = CG_UNKNOWN, .cpu_system_us = CG_UNKNOWN, NOTHING_ELSE
#define NOTHING_ELSE                                                                               \
    .cpu_limit_us = CG_UNKNOWN, .memory_peak_bytes = CG_UNKNOWN, .memory_limit_bytes = CG_UNKNOWN, \
    .anon_bytes = CG_UNKNOWN, .file_bytes = CG_UNKNOWN, .shmem_bytes = CG_UNKNOWN,                 \
    .kernel_bytes = CG_UNKNOWN, .swap_bytes = CG_UNKNOWN, .oom_kills = CG_UNKNOWN,                 \
    .pids_limit = CG_UNKNOWN, NO_PRESSURE
#define NO_PRESSURE                                                                                \
    .cpu = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN},                                       \
    .memory = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN},                                    \
    .io = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN}

Test(controller, stat_numbers_v1)
{
    static const struct stat_file files[] = {
        {"cpuacct.usage", "123456789\n"},
        {"cpuacct.usage_user", "100000000\n"},
        {"cpuacct.usage_sys", "23000000\n"},
        {"cpu.stat", "nr_periods 7\nnr_throttled 5\nthrottled_time 3000999\nnr_bursts 1\n"},
        {"cpu.cfs_quota_us", "150000\n"},
        {"cpu.cfs_period_us", "100000\n"},
        {"memory.usage_in_bytes", "4096\n"},
        {"memory.max_usage_in_bytes", "8192\n"},
        {"memory.limit_in_bytes", "65536\n"},
        {"memory.kmem.usage_in_bytes", "512\n"},
        {"memory.stat", "cache 1\nrss 2\nswap 3\ntotal_cache 300\ntotal_rss 2000\n"
                        "total_rss_huge 9\ntotal_shmem 40\ntotal_swap 7\n"},
        {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n"},
        {"pids.current", "3\n"},
        {"pids.max", "99\n"},
        {"blkio.throttle.io_service_bytes",
         "8:0 Read 1000\n8:0 Write 200\n8:0 Sync 1200\n8:0 Async 0\n8:0 Discard 50\n8:0 Total "
         "1250\n253:16 Read 1\n253:16 Write 2\nTotal 1253\n"},
    };
    static const struct stat_file unlimited[] = {
        {"cpu.cfs_quota_us", "-1\n"},
        {"cpu.cfs_period_us", "100000\n"},
        {"memory.usage_in_bytes", "4096\n"},
        {"memory.limit_in_bytes", "9223372036854771712\n"},
        {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n"},
        {"pids.current", "3\n"},
        {"pids.max", "max\n"},
    };
    static const struct cg_stat want = {
        .has = ALL_STATS,
        .cpu_usage_us = 123456,
        .cpu_user_us = 100000,
        .cpu_system_us = 23000,
        .periods = 7,
        .throttled_periods = 5,
        .throttled_us = 3000,
        .cpu_limit_us = 1500000,
        .memory_bytes = 4096,
        .memory_peak_bytes = 8192,
        .memory_limit_bytes = 65536,
        .anon_bytes = 2000,
        .file_bytes = 300,
        .shmem_bytes = 40,
        .kernel_bytes = 512,
        .swap_bytes = 7,
        .oom_kills = 6,
        .pids = 3,
        .pids_limit = 99,
        .io_read_bytes = 1001,
        .io_write_bytes = 202,
        NO_PRESSURE,
    };
    static const struct cg_stat want_unlimited = {
        NOTHING,
        .has = CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_PIDS),
        .memory_bytes = 4096,
        .pids = 3,
    };

    check_stat(CG_MODE_V1, files, ARRAY_SIZE(files), &want);
    check_stat(CG_MODE_V1, unlimited, ARRAY_SIZE(unlimited), &want_unlimited);
    check_stat(CG_MODE_V1, NULL, 0, &(struct cg_stat){NOTHING});
}

Test(controller, stat_numbers_v2)
{
    static const struct stat_file files[] = {
        {"cpu.stat", "usage_usec 123\nuser_usec 100\nsystem_usec 23\nnice_usec 1\nnr_periods "
                     "7\nnr_throttled 5\nthrottled_usec 3000\nnr_bursts 9\n"},
        {"cpu.max", "150000 100000\n"},
        {"cpu.pressure", "some avg10=1.23 avg60=0.10 avg300=0.00 total=12345\n"
                         "full avg10=0.05 avg60=0.00 avg300=0.00 total=77\n"},
        {"memory.current", "4096\n"},
        {"memory.peak", "8192\n"},
        {"memory.max", "65536\n"},
        {"memory.swap.current", "7\n"},
        {"memory.stat", "anon 2000\nfile 300\nkernel 512\nkernel_stack 16\nshmem 40\n"},
        {"memory.events", "low 0\nhigh 0\nmax 9\noom 8\noom_kill 6\noom_group_kill 0\n"},
        {"memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"
                            "full avg10=0.00 avg60=0.00 avg300=0.00 total=8\n"},
        {"pids.current", "3\n"},
        {"pids.max", "99\n"},
        {"io.stat", "8:0 rbytes=1000 wbytes=200 rios=3 wios=4 dbytes=50 dios=6\n259:1 \n253:16 "
                    "rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n"},
        {"io.pressure", "some avg10=12.00 avg60=0.00 avg300=0.00 total=5\n"},
    };
    static const struct stat_file core[] = {
        {"cpu.stat", "usage_usec 5\nuser_usec 4\nsystem_usec 1\n"},
        {"cpu.max", "max 99999\n"},
        {"pids.current", "max\n"},
        {"memory.current", "\n"},
    };
    static const struct cg_stat want = {
        .has = ALL_STATS,
        .cpu_usage_us = 123,
        .cpu_user_us = 100,
        .cpu_system_us = 23,
        .periods = 7,
        .throttled_periods = 5,
        .throttled_us = 3000,
        .cpu_limit_us = 1500000,
        .memory_bytes = 4096,
        .memory_peak_bytes = 8192,
        .memory_limit_bytes = 65536,
        .anon_bytes = 2000,
        .file_bytes = 300,
        .shmem_bytes = 40,
        .kernel_bytes = 512,
        .swap_bytes = 7,
        .oom_kills = 6,
        .pids = 3,
        .pids_limit = 99,
        .io_read_bytes = 1001,
        .io_write_bytes = 202,
        .cpu = {.some_us = 12345, .full_10s = 5},
        .memory = {.full_us = 8},
        .io = {.some_10s = 1200},
    };
    /* without the controllers the kernel still counts CPU time */
    static const struct cg_stat want_core = {
        NOTHING_ELSE,       .has = CG_CTL_BIT(CG_CTL_CPUACCT), .cpu_usage_us = 5, .cpu_user_us = 4,
        .cpu_system_us = 1,
    };

    check_stat(CG_MODE_V2, files, ARRAY_SIZE(files), &want);
    check_stat(CG_MODE_V2, core, ARRAY_SIZE(core), &want_core);
    check_stat(CG_MODE_V2, NULL, 0, &(struct cg_stat){NOTHING});
}

Test(controller, pressure)
{
    static const struct {
        const char *text;
        struct cg_pressure want;
    } rows[] = {
        {"some avg10=1.23 avg60=9.99 avg300=0.00 total=12345\n"
         "full avg10=100.00 avg60=9.99 avg300=0.00 total=0",
         {12345, 0, 123, 10000}},
        {"some avg10=0.00 avg60=0.00 avg300=0.00 total=1", {1, CG_UNKNOWN, 0, CG_UNKNOWN}},
        {"", {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN}},
        {"some avg10=1 total=x\nfull\n", {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN}},
        {"some avg10=.5 total=\n", {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        struct cg_pressure got = cg_pressure_parse(arena_strdup(&a, rows[i].text));

        cr_expect(memcmp(&got, &rows[i].want, sizeof got) == 0,
                  "%s: %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, rows[i].text, got.some_us,
                  got.full_us, got.some_10s, got.full_10s);
    }
}
