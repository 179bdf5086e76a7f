/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How limits are written: what is copied from a parent, which controllers are enabled for them, and
 * what becomes of the others when one is refused. On plain files, so that a file can be missing and
 * any controller is there.
 */

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static char top[] = "/tmp/osc-update-XXXXXX"; /* stands for the parent */
static struct cg_host host;
static struct cg_controller c;

static void begin(void)
{
    char name[64];

    kit_make_dir(top);
    snprintf(name, sizeof name, "%s/x", top);
    cr_assert_eq(mkdir(name, 0700), 0);
    host = (struct cg_host){.count = 1};
    host.hierarchies[0] = (struct cg_hierarchy){
        .fd = FD_NONE, .controllers = ~0u, .name = "all", .mount_point = top, .root = "/"};
    cg_init(&c, &host, NULL, "/x", NULL);
}

static void end(void)
{
    cg_close(&c);
    fd_close(&host.hierarchies[0].fd);
    kit_remove_tree(top);
}

TestSuite(update, .init = begin, .fini = end);

static void in_mode(enum cg_mode mode)
{
    char name[64];

    snprintf(name, sizeof name, "%s/x", top);
    host.hierarchies[0].fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(host.hierarchies[0].fd, 0);
    host.mode = mode;
    host.hierarchies[0].v2 = mode == CG_MODE_V2;
    cg_init(&c, &host, NULL, "/x", NULL);
    c.fds[0] = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(c.fds[0], 0);
}

/* @name  "x/FILE" for ours */
static void make_file(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", top, name);
    f = fopen(path, "we");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    fclose(f);
}

static void expect_text(const char *name, const char *want)
{
    char path[128], got[256] = "";
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "%s/%s", top, name);
    f = fopen(path, "re");
    cr_assert_not_null(f);
    n = fread(got, 1, sizeof got - 1, f);
    fclose(f);
    got[n] = '\0';
    cr_expect_str_eq(got, want, "%s: expected \"%s\", got \"%s\"", name, want, got);
}

static int update(bool revert, struct cg_file *items, size_t count, struct err *e)
{
    const struct cg_change want = {.files = {.items = items, .count = count}};

    return revert ? cg_revert(&c, &want, e) : cg_update(&c, &want, e);
}

/* --- what the parent has --- */

Test(update, inherits_on_v1)
{
    struct cg_file items[] = {
        {CG_CTL_NET_CLS, "net_cls.classid", "", CG_FILE_INHERIT},
        {CG_CTL_NET_PRIO, "net_prio.ifpriomap", "", CG_FILE_INHERIT | CG_FILE_LINES},
        {CG_CTL_CPUSET, "cpuset.cpus", "", CG_FILE_INHERIT},
    };
    struct err e = ERR_INIT;

    in_mode(CG_MODE_V1);
    make_file("net_cls.classid", "4711\n");
    make_file("net_prio.ifpriomap", "lo 1\neth0 2\n");
    make_file("cpuset.cpus", "0-3\n");
    make_file("x/net_cls.classid", "");
    make_file("x/net_prio.ifpriomap", "");
    make_file("x/cpuset.cpus", "");
    cr_assert_eq(update(false, items, ARRAY_SIZE(items), &e), 0, "%s", e.text);
    expect_text("x/net_cls.classid", "4711");
    expect_text("x/net_prio.ifpriomap", "eth0 2"); /* a write for each line, "lo 1" first */
    expect_text("x/cpuset.cpus", "0-3");
    expect_text("net_cls.classid", "4711\n");
}

/* Nothing at all would be no write. */
Test(update, inherits_on_v2)
{
    struct cg_file items[] = {{CG_CTL_CPUSET, "cpuset.cpus", "", CG_FILE_INHERIT}};
    struct err e = ERR_INIT;

    in_mode(CG_MODE_V2);
    make_file("cgroup.subtree_control", "");
    make_file("cpuset.cpus", "0-3\n");
    make_file("x/cpuset.cpus", "");
    cr_assert_eq(update(false, items, ARRAY_SIZE(items), &e), 0, "%s", e.text);
    expect_text("x/cpuset.cpus", "\n");
}

Test(update, inherits_what_is_not_there)
{
    struct cg_file needed[] = {{CG_CTL_MEMORY, "memory.swappiness", "", CG_FILE_INHERIT}};
    struct cg_file optional[] = {
        {CG_CTL_MEMORY, "memory.swappiness", "", CG_FILE_INHERIT | CG_FILE_OPTIONAL}};
    struct err e = ERR_INIT;

    in_mode(CG_MODE_V1);
    cr_expect_eq(update(false, needed, 1, &e), -ENOENT);
    cr_expect(strstr(e.text, "/x/memory.swappiness"), "%s", e.text);
    cr_expect_eq(update(false, optional, 1, NULL), 0);
}

/* --- what there is not --- */

/* The sandbox may have been made without the controller. */
Test(update, enables_what_it_needs)
{
    struct cg_file items[] = {{CG_CTL_PIDS, "pids.max", "5", 0}};
    struct err e = ERR_INIT;

    in_mode(CG_MODE_V2);
    make_file("cgroup.subtree_control", "");
    make_file("x/pids.max", "");
    cr_assert_eq(update(false, items, 1, &e), 0, "%s", e.text);
    expect_text("cgroup.subtree_control", "+pids");
    expect_text("x/pids.max", "5");
}

Test(update, enables_nothing_to_take_away)
{
    struct cg_file items[] = {{CG_CTL_PIDS, "pids.max", "max", CG_FILE_RESET},
                              {CG_CTL_CPUSET, "cpuset.cpus", "", CG_FILE_RESET | CG_FILE_INHERIT}};
    struct err e = ERR_INIT;

    in_mode(CG_MODE_V2);
    make_file("cgroup.subtree_control", "");
    cr_expect_eq(update(false, items, ARRAY_SIZE(items), &e), 0, "%s", e.text);
    expect_text("cgroup.subtree_control", "");
    make_file("x/pids.max", "5\n");
    cr_expect_eq(update(false, items, ARRAY_SIZE(items), &e), 0, "%s", e.text);
    expect_text("x/pids.max", "max");
}

/* What is not there limits nothing: neither a file nor a controller; but a limit needs both. */
Test(update, takes_away_what_is_not_there)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_V2};

    make_file("cgroup.subtree_control", "memory pids\n");
    for (size_t i = 0; i < ARRAY_SIZE(modes) * 2; i++) {
        bool revert = i % 2;
        struct cg_file items[] = {
            {CG_CTL_MEMORY, "memory.low", "0", CG_FILE_RESET},
            {CG_CTL_MEMORY, "memory.max", "max", CG_FILE_RESET | CG_FILE_RETRY},
            {CG_CTL_RDMA, "rdma.max", "mlx4_0 hca_handle=max", CG_FILE_RESET | CG_FILE_LINES},
            {CG_CTL_PIDS, "pids.max", "5", 0},
        };
        struct err e = ERR_INIT;

        in_mode(modes[i / 2]);
        host.hierarchies[0].controllers = ~CG_CTL_BIT(CG_CTL_RDMA);
        make_file("x/pids.max", "");
        cr_expect_eq(update(revert, items, ARRAY_SIZE(items), &e), 0, "%s", e.text);
        cr_expect_str_eq(e.text, "");
        expect_text("x/pids.max", "5");
        items[2].flags = 0;
        cr_expect_lt(update(revert, items, ARRAY_SIZE(items), &e), 0);
        cr_expect(strstr(e.text, "rdma"), "%s", e.text);
        cg_close(&c);
        fd_close(&host.hierarchies[0].fd);
    }
}

/* --- what becomes of the others --- */

/* A missing file stands for one that is refused. */
static void check_failure(bool revert, unsigned flags, const char *want_last)
{
    struct cg_file items[] = {
        {CG_CTL_PIDS, "pids.max", "1", 0},
        {CG_CTL_MEMORY, "memory.max", "2", flags},
        {CG_CTL_CPU, "cpu.weight", "3", 0},
        {CG_CTL_MEMORY, "memory.low", "4", 0},
    };
    struct err e = ERR_INIT;

    make_file("cgroup.subtree_control", "cpu memory pids\n");
    make_file("x/pids.max", "");
    make_file("x/cpu.weight", "");
    cr_expect_eq(update(revert, items, ARRAY_SIZE(items), &e), -ENOENT);
    cr_expect(strstr(e.text, flags & CG_FILE_OPTIONAL ? "memory.low" : "memory.max"), "%s", e.text);
    expect_text("x/pids.max", "1");
    expect_text("x/cpu.weight", want_last);
}

Test(update, stops_at_a_failure)
{
    in_mode(CG_MODE_V2);
    check_failure(false, 0, "");
    check_failure(false, CG_FILE_OPTIONAL, "3");
}

Test(update, goes_on_when_it_reverts)
{
    in_mode(CG_MODE_V2);
    check_failure(true, 0, "3");
    check_failure(true, CG_FILE_OPTIONAL, "3");
}
