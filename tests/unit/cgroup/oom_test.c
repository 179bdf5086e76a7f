/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel says of processes that it has killed for want of memory. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(oom, .init = kit_start, .fini = kit_finish, .timeout = 60);

/* As the kernels print them, from 4.14 on v1 to 6.17 on v2. */
Test(oom, parse)
{
    static const struct {
        const char *text;
        int r;
        uint64_t kills, limits;
    } rows[] = {
        {"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 0, 3, CG_UNKNOWN},
        {"oom_kill_disable 1\nunder_oom 1\noom_kill 0\n", 0, 0, CG_UNKNOWN},
        {"low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n", 0, 5, 4},
        {"low 1\nhigh 2\nmax 3\noom 0\noom_kill 5\noom_group_kill 6\nsock_throttled 7\n", 0, 5, 0},
        {"oom_group_kill 6\noom_kill 5\noom 4", 0, 5, 4},
        {"oom_kill 18446744073709551614\n", 0, UINT64_MAX - 1, CG_UNKNOWN},
        /* before 4.13 */
        {"oom_kill_disable 0\nunder_oom 0\n", -ENODATA, 0, CG_UNKNOWN},
        {"low 1\nhigh 2\nmax 3\noom 4\n", -ENODATA, 0, 4},
        {"", -ENODATA, 0, CG_UNKNOWN},
        {"oom_kill\n", -ENODATA, 0, CG_UNKNOWN},
        {"oom_kill -1\n", -ENODATA, 0, CG_UNKNOWN},
        {"oom_kill many\noom some\n", -ENODATA, 0, CG_UNKNOWN},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cg_oom got;
        char text[256];

        snprintf(text, sizeof text, "%s", rows[i].text);
        cr_expect_eq(cg_oom_parse(text, &got), rows[i].r, "row %zu", i);
        cr_expect_eq(got.kills, rows[i].kills, "row %zu: %ju kills", i, (uintmax_t)got.kills);
        cr_expect_eq(got.limits, rows[i].limits, "row %zu: %ju", i, (uintmax_t)got.limits);
    }
}

static int file_of(const char *text)
{
    int fd = memfd_create("oom", MFD_CLOEXEC);

    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

/* Again and again from its beginning, and whole lines alone. */
Test(oom, read)
{
    autofd fd = file_of("oom_kill 1\noom 12"), none = file_of("oom_kill 1"), empty = file_of("");
    struct cg_oom got;

    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(cg_oom_read(fd, &got), 0);
        cr_expect_eq(got.kills, 1);
        cr_expect_eq(got.limits, CG_UNKNOWN, "the line may go on");
    }
    cr_assert_eq(pwrite(fd, "oom_kill 2", 10, 0), 10);
    cr_assert_eq(cg_oom_read(fd, &got), 0);
    cr_expect_eq(got.kills, 2);
    cr_expect_eq(cg_oom_read(none, &got), -ENODATA);
    cr_expect_eq(cg_oom_read(empty, &got), -ENODATA);
    cr_expect_eq(cg_oom_read(FD_NONE, &got), -EBADF);
}

/* Later kernels may tell more. */
Test(oom, read_of_a_long_file)
{
    char text[8192] = "oom_kill 7\n";
    struct cg_oom got;
    autofd fd = FD_NONE;

    for (size_t i = strlen(text); i + 1 < sizeof text; i++)
        text[i] = i % 80 == 79 ? '\n' : 'x';
    fd = file_of(text);
    cr_assert_eq(cg_oom_read(fd, &got), 0);
    cr_expect_eq(got.kills, 7);
}

/* A cgroup of this kernel, and the end of it. */
static void live(const struct cg_host *host, const char *path, bool v2)
{
    struct cg_controller c = kit_create(host, NULL, path, NULL, &kit_no_limits);
    autofd fd = cg_oom_open(host, path);
    struct cg_oom got;

    cr_assert_geq(fd, 0, "%s", strerror(-fd));
    cr_assert_eq(cg_oom_read(fd, &got), 0);
    cr_expect_eq(got.kills, 0);
    cr_expect_eq(got.limits, v2 ? 0 : CG_UNKNOWN);
    kit_delete_ok(&c);
    cr_expect_eq(cg_oom_read(fd, &got), -ENODEV);
    cr_expect_eq(cg_oom_open(host, path), -ENOENT);
}

Test(oom, live)
{
    const struct cg_hierarchy *h;

    kit_need_host();
    h = cg_host_find(&kit_host, CG_CTL_MEMORY);
    if (!h)
        cr_skip_test("no hierarchy of this host has the memory controller");
    live(&kit_host, kit_sub("a"), h->v2);
}

Test(oom, no_memory_controller)
{
    const struct cg_host host = {.mode = CG_MODE_V1};

    cr_expect_eq(cg_oom_open(&host, "/a"), -ENOENT);
}
