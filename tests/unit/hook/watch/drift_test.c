/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Limits that change in the runtime's own cgroup: in directories that stand for cgroups of either
 * version, and in cgroups of this host.
 */

#include "hook/watch/drift.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/limits/limits.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture {
    struct arena arena;
    struct cg_host host;
    struct drift drift;
    char top[64];
} f;

static const char *path_of(const char *name)
{
    return arena_printf(&f.arena, "%s/%s", f.top, name);
}

static void make_dir(const char *name)
{
    cr_assert(mkdir(path_of(name), 0700) == 0, "%s", name);
}

/* "group/file", as a runtime writes it. */
static void set(const char *name, const char *text)
{
    kit_write_file(path_of(name), text);
}

static void close_drift(void)
{
    drift_free(&f.drift);
    fd_close(&f.drift.fd);
}

static void begin(void)
{
    f = (struct fixture){.drift = {.host = &f.host, .fd = FD_NONE}};
    snprintf(f.top, sizeof f.top, "/tmp/osc-unit-drift-XXXXXX");
    kit_make_dir(f.top);
}

static void end(void)
{
    close_drift();
    cg_host_close(&f.host);
    kit_remove_tree(f.top);
    arena_free(&f.arena);
}

static void add_hierarchy(const char *dir, unsigned controllers, bool v2)
{
    struct cg_hierarchy *h = &f.host.hierarchies[f.host.count++];

    make_dir(dir);
    *h = (struct cg_hierarchy){.fd = open(path_of(dir), O_PATH | O_DIRECTORY | O_CLOEXEC),
                               .v2 = v2,
                               .controllers = controllers,
                               .name = "test",
                               .mount_point = "/test",
                               .root = "/"};
    cr_assert_geq(h->fd, 0);
}

static void begin_v2(void)
{
    begin();
    f.host.mode = CG_MODE_V2;
    add_hierarchy("v2", CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_CPUSET), true);
    cr_assert_geq(drift_watch(&f.drift), 0);
}

static void begin_v1(void)
{
    begin();
    f.host.mode = CG_MODE_V1;
    add_hierarchy("cpu", CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_CPUACCT), false);
    add_hierarchy("cpuset", CG_CTL_BIT(CG_CTL_CPUSET), false);
    cr_assert_geq(drift_watch(&f.drift), 0);
}

TestSuite(drift_v1, .init = begin_v1, .fini = end);
TestSuite(drift_v2, .init = begin_v2, .fini = end);

static void make_v1(const char *name)
{
    make_dir(arena_printf(&f.arena, "cpu/%s", name));
    make_dir(arena_printf(&f.arena, "cpuset/%s", name));
    set(arena_printf(&f.arena, "cpu/%s/cpu.cfs_quota_us", name), "-1\n");
    set(arena_printf(&f.arena, "cpu/%s/cpu.cfs_period_us", name), "100000\n");
    set(arena_printf(&f.arena, "cpuset/%s/cpuset.cpus", name), "0-3\n");
    set(arena_printf(&f.arena, "cpuset/%s/cpuset.mems", name), "0\n");
}

static void make_v2(const char *name)
{
    make_dir(arena_printf(&f.arena, "v2/%s", name));
    set(arena_printf(&f.arena, "v2/%s/cpu.max", name), "max 100000\n");
    set(arena_printf(&f.arena, "v2/%s/cpuset.cpus", name), "\n");
    set(arena_printf(&f.arena, "v2/%s/cpuset.mems", name), "\n");
}

static const struct drift_source both[] = {{"one", "/c1"}, {"two", "/c2"}};

static bool has_event(void)
{
    struct pollfd pfd = {.fd = f.drift.fd, .events = POLLIN};

    return poll(&pfd, 1, 0) == 1;
}

/* "cpus=0 mems=- quota=1/2", of the members that are there; "same" for the given pointer. */
static const char *shown(const char *id, const struct oci_resources *r)
{
    const struct oci_resources *got = drift_resources(&f.drift, id, r, &f.arena);
    const struct oci_cpu *cpu = got ? got->cpu : NULL;

    if (got == r)
        return "same";
    cr_assert(got && cpu);
    return arena_printf(&f.arena, "cpus=%s mems=%s quota=%s", cpu->cpus ? cpu->cpus : "-",
                        cpu->mems ? cpu->mems : "-",
                        !cpu->quota.set
                            ? "-"
                            : arena_printf(&f.arena, "%" PRId64 "/%" PRIu64, cpu->quota.value,
                                           cpu->period.set ? cpu->period.value : 0));
}

static void expect(const char *id, const struct oci_resources *r, const char *want)
{
    const char *got = shown(id, r);

    cr_expect_str_eq(got, want, "input:    %s\nexpected: %s\ngot:      %s", id, want, got);
}

/* Something was written, and this came of it. */
static void expect_change(int want)
{
    int got;

    cr_expect(has_event(), "no event");
    got = drift_read(&f.drift);
    cr_expect_eq(got, want, "expected: %d\ngot:      %d", want, got);
    cr_expect_not(has_event());
    cr_expect_eq(drift_read(&f.drift), 0);
}

/* --- v2 --- */

Test(drift_v2, each_file)
{
    make_v2("c1");
    make_v2("c2");
    drift_set(&f.drift, both, 2);
    cr_expect(f.drift.items[0].watched && f.drift.items[1].watched);
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "same");
    set("v2/c1/cpu.max", "50000 100000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=50000/100000");
    expect("two", NULL, "same");
    set("v2/c1/cpuset.cpus", "0-1,4\n");
    expect_change(1);
    expect("one", NULL, "cpus=0-1,4 mems=- quota=50000/100000");
    set("v2/c2/cpuset.mems", "0\n");
    expect_change(1);
    expect("two", NULL, "cpus=- mems=0 quota=-");
    set("v2/c1/cpu.max", "max 100000\n");
    expect_change(1);
    expect("one", NULL, "cpus=0-1,4 mems=- quota=-1/100000");
    set("v2/c1/cpu.max", "max 50000\n");
    expect_change(1);
    expect("one", NULL, "cpus=0-1,4 mems=- quota=-1/50000");
    expect("three", NULL, "same");
}

/* Whoever reads the same has the same number, and each value makes another. */
Test(drift_v2, print)
{
    static const char *const steps[][2] = {
        {"v2/c1/cpu.max", "5000 100000\n"}, {"v2/c1/cpu.max", "5000 50000\n"},
        {"v2/c1/cpuset.cpus", "1\n"},       {"v2/c1/cpuset.mems", "1\n"},
        {"v2/c1/cpuset.cpus", "\n"},        {"v2/c1/cpu.weight", "50\n"},
        {"v2/c1/cpu.idle", "50\n"},
    };
    uint64_t last;

    make_v2("c1");
    make_v2("c2");
    drift_set(&f.drift, both, 2);
    last = drift_print(&f.drift, "one");
    cr_expect_neq(last, 0);
    cr_expect_eq(last, drift_print(&f.drift, "two"));
    cr_expect_eq(drift_print(&f.drift, "three"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct drift other = {.host = &f.host, .fd = FD_NONE};
        uint64_t now;

        set(steps[i][0], steps[i][1]);
        cr_expect_eq(drift_print(&f.drift, "one"), last, "it was not read yet");
        (void)drift_read(&f.drift);
        now = drift_print(&f.drift, "one");
        cr_expect_neq(now, last, "step %zu", i);
        drift_set(&other, both, 1);
        cr_expect_eq(drift_print(&other, "one"), now, "step %zu", i);
        drift_free(&other);
        last = now;
    }
    cr_expect_neq(last, drift_print(&f.drift, "two"));
}

/* Of a record those whose cgroup is known, and with layout nested nobody. */
Test(drift_v2, follow)
{
    char one[] = "one", two[] = "two", path[] = "/c2", nested[] = "nested";
    struct record_container containers[] = {{.id = one}, {.id = two, .runtime_path = path}};
    struct record r = {.containers = {containers, 2}};

    make_v2("c2");
    drift_follow(&f.drift, &r);
    cr_assert_eq(f.drift.count, 1);
    cr_expect_str_eq(f.drift.items[0].id, "two");
    cr_expect_str_eq(f.drift.items[0].path, "/c2");
    r.layout = nested;
    drift_follow(&f.drift, &r);
    cr_expect_eq(f.drift.count, 0);
}

/* Many at once are one change. */
Test(drift_v2, several_files)
{
    make_v2("c1");
    drift_set(&f.drift, both, 1);
    set("v2/c1/cpu.max", "1000 2000\n");
    set("v2/c1/cpuset.cpus", "1\n");
    set("v2/c1/cpuset.mems", "0-1\n");
    expect_change(1);
    expect("one", NULL, "cpus=1 mems=0-1 quota=1000/2000");
}

/* An event with the value that was there. */
Test(drift_v2, same_value)
{
    make_v2("c1");
    drift_set(&f.drift, both, 1);
    set("v2/c1/cpu.max", "max 100000\n");
    set("v2/c1/cpuset.cpus", "\n");
    expect_change(0);
    expect("one", NULL, "same");
}

/* What the container has besides stays; and what has been taken over once is not lost when the
 * value returns. */
Test(drift_v2, resources)
{
    static char cpus[] = "0-3", mems[] = "0";
    struct json_pair unified[] = {{(char[]){"cpu.max"}, (char[]){"1 2"}},
                                  {(char[]){"memory.high"}, (char[]){"3"}},
                                  {(char[]){"cpuset.cpus"}, (char[]){"0"}},
                                  {(char[]){"cpuset.mems"}, (char[]){"0"}}};
    struct oci_cpu cpu = {.shares = {true, 512},
                          .quota = {true, 20000},
                          .period = {true, 100000},
                          .burst = {true, 5000},
                          .cpus = cpus,
                          .mems = mems};
    struct oci_memory memory = {.limit = {true, 4096}};
    const struct oci_resources r = {
        .cpu = &cpu, .memory = &memory, .unified = {unified, ARRAY_SIZE(unified)}};
    const struct oci_resources *got;

    make_v2("c1");
    set("v2/c1/cpu.max", "20000 100000\n");
    set("v2/c1/cpuset.cpus", "0-3\n");
    drift_set(&f.drift, both, 1);
    expect("one", &r, "same");
    set("v2/c1/cpu.max", "10000 100000\n");
    expect_change(1);
    got = drift_resources(&f.drift, "one", &r, &f.arena);
    expect("one", &r, "cpus=0-3 mems=0 quota=10000/100000");
    cr_expect(got->cpu->shares.set && got->cpu->shares.value == 512);
    cr_expect(got->memory == &memory && got->unified.count == 3);
    cr_expect(got->cpu->burst.value == 5000, "within the quota");
    cr_expect_str_eq(JSON_AT(got->unified, struct json_pair, 0).key, "memory.high");
    set("v2/c1/cpu.max", "4000 100000\n");
    set("v2/c1/cpuset.cpus", "\n"); /* the parent's again */
    set("v2/c1/cpuset.mems", "1\n");
    expect_change(1);
    got = drift_resources(&f.drift, "one", &r, &f.arena);
    expect("one", &r, "cpus=- mems=1 quota=4000/100000");
    cr_expect(got->cpu->burst.value == 4000, "no more than the quota");
    cr_expect_eq(got->unified.count, 1);
    /* nothing of the caller's was written to */
    cr_expect(cpu.cpus == cpus && cpu.quota.value == 20000 && cpu.burst.value == 5000 &&
              r.unified.count == 4);
    set("v2/c1/cpu.max", "20000 100000\n");
    set("v2/c1/cpuset.cpus", "0-3\n");
    expect_change(1);
    expect("one", got, "cpus=0-3 mems=1 quota=20000/100000");
}

/* A controller that is not enabled is no list; enabling it changes nothing, a list does. */
Test(drift_v2, no_cpuset)
{
    make_dir("v2/c1");
    set("v2/c1/cpu.max", "max 100000\n");
    drift_set(&f.drift, both, 1);
    cr_expect(f.drift.items[0].watched);
    cr_expect_eq(drift_read(&f.drift), 0);
    set("v2/c1/cpuset.cpus", "\n");
    set("v2/c1/cpuset.mems", "\n");
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "same");
    set("v2/c1/cpuset.cpus", "2\n");
    expect_change(1);
    expect("one", NULL, "cpus=2 mems=- quota=-");
    /* disabled again */
    cr_assert_eq(unlink(path_of("v2/c1/cpuset.cpus")), 0);
    set("v2/c1/cpu.max", "max 100000\n");
    cr_expect_eq(drift_read(&f.drift), 1);
    expect("one", NULL, "cpus=- mems=- quota=-");
}

/* What no kernel writes is no value. */
Test(drift_v2, malformed)
{
    static const char *const texts[] = {"",   "max", "maxx 1", "1",    "1 ",
                                        " 1", "x 1", "1 x",    "1 2 3"};

    make_v2("c1");
    drift_set(&f.drift, both, 1);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        set("v2/c1/cpu.max", texts[i]);
        cr_expect_eq(drift_read(&f.drift), 0, "input: \"%s\"", texts[i]);
    }
    expect("one", NULL, "same");
}

/* --- the runtime's cgroup comes and goes --- */

Test(drift_v2, made_later)
{
    drift_set(&f.drift, both, 1);
    cr_expect_eq(drift_read(&f.drift), 0);
    make_v2("c1");
    set("v2/c1/cpu.max", "50000 100000\n");
    /* this is what it begins with */
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "same");
    set("v2/c1/cpu.max", "60000 100000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=60000/100000");
}

Test(drift_v2, gone)
{
    make_v2("c1");
    drift_set(&f.drift, both, 1);
    set("v2/c1/cpu.max", "50000 100000\n");
    expect_change(1);
    cr_assert_eq(rename(path_of("v2/c1"), path_of("v2/away")), 0);
    set("v2/away/cpu.max", "60000 100000\n");
    cr_expect_eq(drift_read(&f.drift), 0);
    cr_expect_eq(drift_read(&f.drift), 0);
    cr_expect_not(f.drift.items[0].watched);
    expect("one", NULL, "cpus=- mems=- quota=50000/100000");
    /* another of its name: its files are watched */
    make_v2("c1");
    cr_expect_eq(drift_read(&f.drift), 1);
    expect("one", NULL, "cpus=- mems=- quota=-1/100000");
    set("v2/c1/cpu.max", "70000 100000\n");
    expect_change(1);
    set("v2/away/cpu.max", "80000 100000\n");
    cr_expect_not(has_event());
}

Test(drift_v2, links_are_not_followed)
{
    make_v2("c2");
    cr_assert_eq(symlink("c2", path_of("v2/c1")), 0);
    drift_set(&f.drift, both, 1);
    set("v2/c2/cpu.max", "50000 100000\n");
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "same");
}

/* --- the list of containers --- */

Test(drift_v2, containers_come_and_go)
{
    make_v2("c1");
    make_v2("c2");
    drift_set(&f.drift, both, 1);
    set("v2/c1/cpu.max", "1000 100000\n");
    expect_change(1);
    set("v2/c2/cpu.max", "2000 100000\n");
    cr_expect_not(has_event());
    /* what the second one has now is what it begins with, and the first one keeps its change */
    drift_set(&f.drift, both, 2);
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "cpus=- mems=- quota=1000/100000");
    expect("two", NULL, "same");
    set("v2/c2/cpu.max", "3000 100000\n");
    expect_change(1);
    expect("two", NULL, "cpus=- mems=- quota=3000/100000");
    /* a change that nobody has read yet is not lost */
    set("v2/c2/cpu.max", "4000 100000\n");
    drift_set(&f.drift, both + 1, 1);
    cr_expect_eq(drift_read(&f.drift), 1);
    expect("one", NULL, "same");
    expect("two", NULL, "cpus=- mems=- quota=4000/100000");
    cr_expect_eq(drift_read(&f.drift), 0);
    set("v2/c1/cpu.max", "5000 100000\n");
    cr_expect_not(has_event());
    drift_set(&f.drift, NULL, 0);
    drift_read(&f.drift);
    set("v2/c2/cpu.max", "5000 100000\n");
    cr_expect_not(has_event());
    cr_expect_eq(drift_read(&f.drift), 0);
}

Test(drift_v2, another_path)
{
    static const struct drift_source moved = {"one", "/c2"};

    make_v2("c1");
    make_v2("c2");
    drift_set(&f.drift, both, 1);
    set("v2/c1/cpu.max", "1000 100000\n");
    expect_change(1);
    drift_set(&f.drift, &moved, 1);
    expect("one", NULL, "same");
    drift_read(&f.drift);
    set("v2/c2/cpu.max", "2000 100000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=2000/100000");
}

/* --- v1 --- */

Test(drift_v1, each_file)
{
    make_v1("c1");
    drift_set(&f.drift, both, 1);
    cr_expect(f.drift.items[0].watched);
    set("cpu/c1/cpu.cfs_quota_us", "50000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=50000/100000");
    set("cpu/c1/cpu.cfs_period_us", "20000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=50000/20000");
    set("cpu/c1/cpu.cfs_quota_us", "-1\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=-1/20000");
    set("cpuset/c1/cpuset.cpus", "2-3\n");
    expect_change(1);
    set("cpuset/c1/cpuset.mems", "0-1\n");
    expect_change(1);
    expect("one", NULL, "cpus=2-3 mems=0-1 quota=-1/20000");
}

/* An empty cpuset is one that the runtime has not filled yet: what comes first is the beginning. */
Test(drift_v1, filled_later)
{
    make_v1("c1");
    set("cpuset/c1/cpuset.cpus", "\n");
    set("cpuset/c1/cpuset.mems", "\n");
    drift_set(&f.drift, both, 1);
    set("cpuset/c1/cpuset.cpus", "0-3\n");
    set("cpuset/c1/cpuset.mems", "0\n");
    expect_change(0);
    expect("one", NULL, "same");
    set("cpuset/c1/cpuset.cpus", "0\n");
    expect_change(1);
    expect("one", NULL, "cpus=0 mems=- quota=-");
}

/* In one hierarchy only: the other tells all the same. */
Test(drift_v1, one_hierarchy)
{
    make_dir("cpu/c1");
    set("cpu/c1/cpu.cfs_quota_us", "-1\n");
    set("cpu/c1/cpu.cfs_period_us", "100000\n");
    drift_set(&f.drift, both, 1);
    cr_expect_not(f.drift.items[0].watched);
    set("cpu/c1/cpu.cfs_quota_us", "1000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=1000/100000");
    /* half of it: no value */
    cr_assert_eq(unlink(path_of("cpu/c1/cpu.cfs_period_us")), 0);
    set("cpu/c1/cpu.cfs_quota_us", "2000\n");
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "cpus=- mems=- quota=1000/100000");
}

/* A controller that the host has not is nothing to wait for. */
Test(drift_v1, no_cpuset_on_this_host)
{
    make_v1("c1");
    f.host.hierarchies[1].controllers = 0;
    drift_set(&f.drift, both, 1);
    cr_expect(f.drift.items[0].watched);
    set("cpu/c1/cpu.cfs_quota_us", "1000\n");
    expect_change(1);
    expect("one", NULL, "cpus=- mems=- quota=1000/100000");
}

/* --- the other limits --- */

static const char *i64_text(struct json_i64 v)
{
    return v.set ? arena_printf(&f.arena, "%" PRId64, v.value) : "-";
}

static const char *u64_text(struct json_u64 v)
{
    return v.set ? arena_printf(&f.arena, "%" PRIu64, v.value) : "-";
}

static const char *limits_of(const struct oci_resources *r)
{
    static const struct oci_memory no_memory;
    static const struct oci_pids no_pids;
    static const struct oci_block_io no_io;
    const struct oci_memory *m = r->memory ? r->memory : &no_memory;
    const struct oci_block_io *io = r->block_io ? r->block_io : &no_io;
    const struct oci_throttle_device *t = io->read_bps.items;
    char *text = arena_printf(
        &f.arena, "shares=%s limit=%s swap=%s low=%s pids=%s weight=%s read=%s",
        u64_text(r->cpu->shares), i64_text(m->limit), i64_text(m->swap), i64_text(m->reservation),
        i64_text((r->pids ? r->pids : &no_pids)->limit), u64_text(io->weight),
        io->read_bps.count ? arena_printf(&f.arena, "%" PRId64 ":%" PRId64 "=%" PRIu64,
                                          t->major.value, t->minor.value, t->rate.value)
                           : "-");

    for (size_t i = 0; i < r->unified.count; i++) {
        const struct json_pair *p = &JSON_AT(r->unified, struct json_pair, i);

        text = arena_printf(&f.arena, "%s %s=%s", text, p->key, p->value);
    }
    return text;
}

static void expect_limits(const struct oci_resources *r, const char *file, const char *text,
                          const char *want)
{
    const char *got;

    set(file, text);
    cr_expect_eq(drift_read(&f.drift), 1, "%s", file);
    got = limits_of(drift_resources(&f.drift, "one", r, &f.arena));
    cr_expect_str_eq(got, want, "input:    %s: %s\nexpected: %s\ngot:      %s", file, text, want,
                     got);
}

Test(drift_v1, other_limits)
{
    static const char *const begin[][2] = {
        {"cpu/c1/cpu.shares", "1024\n"},
        {"more/c1/memory.limit_in_bytes", "9223372036854771712\n"},
        {"more/c1/memory.memsw.limit_in_bytes", "9223372036854771712\n"},
        {"more/c1/memory.soft_limit_in_bytes", "9223372036854771712\n"},
        {"more/c1/pids.max", "max\n"},
        {"more/c1/blkio.weight", "500\n"},
        {"more/c1/blkio.throttle.read_bps_device", ""},
    };
    struct oci_cpu cpu = {.shares = {true, 512}};
    struct oci_memory memory = {.limit = {true, 5}};
    const struct oci_resources r = {.cpu = &cpu, .memory = &memory};

    make_v1("c1");
    add_hierarchy("more",
                  CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_PIDS) | CG_CTL_BIT(CG_CTL_BLKIO),
                  false);
    make_dir("more/c1");
    for (size_t i = 0; i < ARRAY_SIZE(begin); i++)
        set(begin[i][0], begin[i][1]);
    drift_set(&f.drift, both, 1);
    cr_expect(f.drift.items[0].watched);
    cr_expect_eq(drift_resources(&f.drift, "one", &r, &f.arena), &r);
    expect_limits(&r, begin[0][0], "300\n",
                  "shares=300 limit=5 swap=- low=- pids=- weight=- read=-");
    expect_limits(&r, begin[1][0], "4096\n",
                  "shares=300 limit=4096 swap=- low=- pids=- weight=- read=-");
    expect_limits(&r, begin[2][0], "8192\n",
                  "shares=300 limit=4096 swap=8192 low=- pids=- weight=- read=-");
    expect_limits(&r, begin[3][0], "2048\n",
                  "shares=300 limit=4096 swap=8192 low=2048 pids=- weight=- read=-");
    expect_limits(&r, begin[4][0], "7\n",
                  "shares=300 limit=4096 swap=8192 low=2048 pids=7 weight=- read=-");
    expect_limits(&r, begin[5][0], "300\n",
                  "shares=300 limit=4096 swap=8192 low=2048 pids=7 weight=300 read=-");
    expect_limits(&r, begin[6][0], "8:0 512\n",
                  "shares=300 limit=4096 swap=8192 low=2048 pids=7 weight=300 read=8:0=512");
    expect_limits(&r, begin[1][0], "9223372036854771712\n",
                  "shares=300 limit=-1 swap=8192 low=2048 pids=7 weight=300 read=8:0=512");
    expect_limits(&r, begin[6][0], "",
                  "shares=300 limit=-1 swap=8192 low=2048 pids=7 weight=300 read=-");
}

/* They are told, and nothing else is taken for changed. */
Test(drift_v1, devices)
{
    struct oci_cpu cpu = {.shares = {true, 512}};
    const struct oci_resources r = {.cpu = &cpu};

    make_v1("c1");
    add_hierarchy("more", CG_CTL_BIT(CG_CTL_DEVICES), false);
    make_dir("more/c1");
    set("more/c1/devices.list", "c 1:3 rwm\n");
    drift_set(&f.drift, both, 1);
    cr_expect(f.drift.items[0].watched);
    cr_expect_not(drift_devices(&f.drift, "one"));
    set("more/c1/devices.list", "c 1:3 rwm\nb 8:0 r\n");
    cr_expect_eq(drift_read(&f.drift), 1);
    cr_expect(drift_devices(&f.drift, "one"));
    cr_expect_not(drift_devices(&f.drift, "other"));
    cr_expect_eq(drift_resources(&f.drift, "one", &r, &f.arena), &r);
}

/* Who may write them is told once. */
Test(drift_v1, devices_are_said)
{
    char one[] = "one", two[] = "two", path[] = "/c1";
    struct record_container containers[] = {{.id = two, .runtime_path = path},
                                            {.id = one, .runtime_path = path}};
    const struct record r = {.containers = {containers, 2}};

    make_v1("c1");
    add_hierarchy("more", CG_CTL_BIT(CG_CTL_DEVICES), false);
    make_dir("more/c1");
    set("more/c1/devices.list", "c 1:3 rwm\n");
    drift_set(&f.drift, both, 1);
    log_about.sandbox_id = "s1";
    cr_redirect_stderr();
    drift_say_devices(&f.drift, &r);
    set("more/c1/devices.list", "b 8:0 r\n");
    cr_expect_eq(drift_read(&f.drift), 1);
    drift_say_devices(&f.drift, &r);
    drift_say_devices(&f.drift, &r);
    cr_expect_stderr_eq_str(
        "oci-sandbox-cgroup: warning: sandbox s1: the device rules of /c1 have changed, which the "
        "next stage of container one carries over, and a watcher may not\n");
}

Test(drift_v2, other_limits)
{
    static const char *const begin[][2] = {
        {"v2/c1/cpu.weight", "100\n"},        {"v2/c1/memory.max", "max\n"},
        {"v2/c1/memory.swap.max", "0\n"},     {"v2/c1/pids.max", "max\n"},
        {"v2/c1/io.weight", "default 100\n"}, {"v2/c1/io.max", ""},
        {"v2/c1/memory.high", "max\n"},
    };
    struct json_pair unified[] = {{.key = (char[]){"memory.high"}, .value = (char[]){"1"}},
                                  {.key = (char[]){"cpu.weight"}, .value = (char[]){"1"}},
                                  {.key = (char[]){"misc.max"}, .value = (char[]){"1"}}};
    struct oci_throttle_device throttle = {{true, 8}, {true, 0}, {true, 1}};
    struct oci_block_io io = {.read_bps = {&throttle, 1}};
    struct oci_memory memory = {.limit = {true, 100}, .swap = {true, 100}};
    const struct oci_resources r = {
        .memory = &memory, .block_io = &io, .unified = {unified, ARRAY_SIZE(unified)}};

    f.host.hierarchies[0].controllers |=
        CG_CTL_BIT(CG_CTL_MEMORY) | CG_CTL_BIT(CG_CTL_PIDS) | CG_CTL_BIT(CG_CTL_BLKIO);
    make_v2("c1");
    for (size_t i = 0; i < ARRAY_SIZE(begin); i++)
        set(begin[i][0], begin[i][1]);
    drift_set(&f.drift, both, 1);
    expect_limits(&r, begin[0][0], "59\n",
                  "shares=511 limit=100 swap=100 low=- pids=- weight=- read=8:0=1 memory.high=1 "
                  "misc.max=1");
    cr_expect_eq(cg_shares_to_weight(511), 59);
    /* 0 of swap stays 0 */
    expect_limits(&r, begin[1][0], "4096\n",
                  "shares=511 limit=4096 swap=4096 low=- pids=- weight=- read=8:0=1 memory.high=1 "
                  "misc.max=1");
    expect_limits(&r, begin[2][0], "512\n",
                  "shares=511 limit=4096 swap=4608 low=- pids=- weight=- read=8:0=1 memory.high=1 "
                  "misc.max=1");
    expect_limits(&r, begin[2][0], "max\n",
                  "shares=511 limit=4096 swap=-1 low=- pids=- weight=- read=8:0=1 memory.high=1 "
                  "misc.max=1");
    expect_limits(&r, begin[3][0], "7\n",
                  "shares=511 limit=4096 swap=-1 low=- pids=7 weight=- read=8:0=1 memory.high=1 "
                  "misc.max=1");
    expect_limits(&r, begin[4][0], "default 50\n",
                  "shares=511 limit=4096 swap=-1 low=- pids=7 weight=- read=8:0=1 memory.high=1 "
                  "misc.max=1 io.weight=default 50");
    expect_limits(&r, begin[5][0], "8:0 rbps=2 wbps=max\n",
                  "shares=511 limit=4096 swap=-1 low=- pids=7 weight=- read=- memory.high=1 "
                  "misc.max=1 io.weight=default 50 io.max=8:0 rbps=2 wbps=max");
    expect_limits(&r, begin[6][0], "2\n",
                  "shares=511 limit=4096 swap=-1 low=- pids=7 weight=- read=- misc.max=1 "
                  "memory.high=2 io.weight=default 50 io.max=8:0 rbps=2 wbps=max");
}

/* --- without inotify --- */

Test(drift_v1, no_instance_left)
{
    struct rlimit none, before;

    make_v1("c1");
    close_drift();
    f.drift = (struct drift){.host = &f.host, .fd = FD_NONE};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_expect_eq(drift_watch(&f.drift), -EMFILE);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    drift_set(&f.drift, both, 1);
    cr_expect_not(f.drift.items[0].watched);
    cr_expect_eq(drift_read(&f.drift), 0);
    set("cpu/c1/cpu.cfs_quota_us", "1000\n");
    cr_expect_eq(drift_read(&f.drift), 1);
    cr_expect_eq(drift_read(&f.drift), 0);
    expect("one", NULL, "cpus=- mems=- quota=1000/100000");
}

/* --- cgroups of this host --- */

static void begin_live(void)
{
    begin();
    kit_start();
}

/* A cgroup of our own wherever a controller of interest is. Skips the test where none is. */
static void need_cgroup(void)
{
    unsigned count = 0;

    kit_need_host();
    for (size_t i = 0; i < kit_host.count; i++) {
        const struct cg_hierarchy *h = &kit_host.hierarchies[i];

        if (!(h->controllers & (CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_CPUSET))))
            continue;
        kit_make_cgroup(h, kit_base);
        count++;
    }
    if (count == 0)
        cr_skip_test("no cpu or cpuset controller here");
    f.drift.host = &kit_host;
    cr_assert_geq(drift_watch(&f.drift), 0);
}

static void end_live(void)
{
    kit_finish();
    end();
}

TestSuite(drift_live, .init = begin_live, .fini = end_live);

/* Skips the test where the file is not there, as on v2 without the controller in the root. */
static void write_cgroup(enum cg_ctl ctl, const char *file, const char *text)
{
    const struct cg_hierarchy *h = cg_host_find(&kit_host, ctl);
    int r = h ? kit_write_value(h, kit_base, file, text) : -ENOENT;

    if (r == -ENOENT)
        cr_skip_test("no %s here", file);
    cr_assert_eq(r, 0, "%s to %s: %s", text, file, strerror(-r));
}

static void write_bandwidth(const char *quota, const char *period)
{
    const struct cg_hierarchy *h = cg_host_find(&kit_host, CG_CTL_CPU);

    if (h && h->v2) {
        write_cgroup(CG_CTL_CPU, "cpu.max", arena_printf(&f.arena, "%s %s", quota, period));
        return;
    }
    write_cgroup(CG_CTL_CPU, "cpu.cfs_quota_us", str_eq(quota, "max") ? "-1" : quota);
    write_cgroup(CG_CTL_CPU, "cpu.cfs_period_us", period);
}

static void watch_own(void)
{
    const struct drift_source own = {"own", kit_base};

    drift_set(&f.drift, &own, 1);
    cr_expect_eq(drift_read(&f.drift), 0);
}

Test(drift_live, bandwidth)
{
    need_cgroup();
    watch_own();
    write_bandwidth("50000", "100000");
    expect_change(1);
    expect("own", NULL, "cpus=- mems=- quota=50000/100000");
    write_bandwidth("50000", "100000");
    expect_change(0);
    write_bandwidth("max", "50000");
    expect_change(1);
    expect("own", NULL, "cpus=- mems=- quota=-1/50000");
}

/* Both from an empty list, which is the beginning on v1, and from one that is filled. */
Test(drift_live, cpuset)
{
    const char *got;

    need_cgroup();
    write_cgroup(CG_CTL_CPUSET, "cpuset.cpus", "");
    watch_own();
    write_cgroup(CG_CTL_CPUSET, "cpuset.cpus", "0");
    expect_change(cg_host_find(&kit_host, CG_CTL_CPUSET)->v2);
    write_cgroup(CG_CTL_CPUSET, "cpuset.cpus", "\n");
    expect_change(1);
    got = shown("own", NULL);
    cr_expect(str_starts(got, "cpus=- mems="), "got: %s", got);
    write_cgroup(CG_CTL_CPUSET, "cpuset.cpus", "0");
    expect_change(1);
    got = shown("own", NULL);
    cr_expect(str_starts(got, "cpus=0 mems="), "got: %s", got);
}

/* The kernel says nothing about it; all that is known stays. */
Test(drift_live, removed)
{
    need_cgroup();
    watch_own();
    write_bandwidth("50000", "100000");
    expect_change(1);
    cr_assert(kit_remove_cgroups());
    for (int i = 0; i < 3; i++)
        cr_expect_eq(drift_read(&f.drift), 0);
    expect("own", NULL, "cpus=- mems=- quota=50000/100000");
}
