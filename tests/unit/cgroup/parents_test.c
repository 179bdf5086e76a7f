/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/parents.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(parents, .init = kit_start, .fini = kit_finish, .timeout = 120);

Test(parents, go_with_the_last)
{
    struct cg_controller one, two;
    struct cg_parents p;

    kit_need_v1();
    p = kit_open_markers();
    one = kit_create(&kit_host, &p, kit_sub("p/one"), NULL, &kit_no_limits);
    cr_expect_eq(kit_count_markers(), 2 * kit_host.count, "two parents per hierarchy; got %u",
                 kit_count_markers());
    two = kit_create(&kit_host, &p, kit_sub("p/two"), NULL, &kit_no_limits);
    cr_expect_eq(kit_count_markers(), 2 * kit_host.count, "they were there; got %u",
                 kit_count_markers());
    kit_delete_ok(&one);
    cr_expect_eq(kit_count_existing(&kit_host, kit_sub("p")), kit_host.count,
                 "another one lives there");
    cr_expect_eq(kit_count_markers(), 2 * kit_host.count);
    kit_delete_ok(&two);
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), 0, "both levels are gone");
    cr_expect_eq(kit_count_markers(), 0, "markers, too; got %u", kit_count_markers());
    kit_close_markers(&p);
}

Test(parents, that_were_there_stay)
{
    struct cg_controller c;
    struct cg_parents p;

    kit_need_v1();
    p = kit_open_markers();
    for (size_t i = 0; i < kit_host.count; i++)
        kit_make_cgroup(&kit_host.hierarchies[i], kit_base);
    c = kit_create(&kit_host, &p, kit_sub("p/one"), NULL, &kit_no_limits);
    cr_expect_eq(kit_count_markers(), kit_host.count);
    kit_delete_ok(&c);
    cr_expect_eq(kit_count_existing(&kit_host, kit_sub("p")), 0);
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), kit_host.count, "made by somebody else");
    cr_expect_eq(kit_count_markers(), 0);
    kit_close_markers(&p);
}

Test(parents, and_undo)
{
    struct cg_controller c;
    struct cg_parents p;

    kit_need_v1();
    p = kit_open_markers();
    c = kit_create(&kit_host, &p, kit_sub("p/q/one"), NULL, &kit_no_limits);
    cg_undo_create(&c);
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), 0);
    cr_expect_eq(kit_count_markers(), 0);
    kit_close_markers(&p);
}

Test(parents, without_markers_stay)
{
    struct cg_parents nowhere = {.dirfd = FD_NONE};
    struct cg_controller c;

    kit_need_v1();
    for (int i = 0; i < 2; i++) {
        c = kit_create(&kit_host, i ? &nowhere : NULL, kit_sub("p/one"), NULL, &kit_no_limits);
        kit_delete_ok(&c);
        cr_expect_eq(kit_count_existing(&kit_host, kit_sub("p")), kit_host.count, "never removed");
        cr_expect_eq(kit_count_existing(&kit_host, kit_sub("p/one")), 0);
    }
    cg_parents_sweep(&nowhere, &kit_host);
    cr_expect_eq(kit_count_existing(&kit_host, kit_sub("p")), kit_host.count);
}

/* A parent that cannot be remembered is not made. */
Test(parents, markers_first)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    struct cg_parents p;
    int r;

    kit_need_v1();
    p = (struct cg_parents){.dirfd = open("/dev/null", O_RDONLY | O_CLOEXEC), .table = "t"};
    cg_init(&c, &kit_host, &p, kit_sub("p/one"), NULL);
    r = kit_put_new(&c, &kit_no_limits, NULL, &e);
    cr_expect_eq(r, -ENOTDIR, "expected %d, got %d \"%s\"", -ENOTDIR, r, e.text);
    cr_expect(strstr(e.text, "markers"), "\"%s\"", e.text);
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), 0);
    cg_undo_create(&c);
    fd_close(&p.dirfd);

    /* the directory was removed under us */
    p = kit_open_markers();
    cr_assert_eq(rmdir(kit_marker_dir), 0);
    err_reset(&e);
    r = kit_put_new(&c, &kit_no_limits, NULL, &e);
    cr_expect_eq(r, -ENOENT, "expected %d, got %d \"%s\"", -ENOENT, r, e.text);
    cr_expect(strstr(e.text, "remember") && strstr(e.text, kit_base), "\"%s\"", e.text);
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), 0);
    cg_undo_create(&c);
    fd_close(&p.dirfd);
}

/* The parents could be made, the cgroup itself could not: undo takes them back. */
Test(parents, of_a_failed_create)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r;

    cr_assert_eq(kit_write_value(h, "/", "cgroup.max.depth", "2"), 0);
    cg_init(&c, &kit_v2_host, &p, "/p/q/one", NULL);
    r = kit_put_new(&c, &kit_no_limits, NULL, &e);
    cr_expect_eq(r, -EAGAIN, "expected %d, got %d \"%s\"", -EAGAIN, r, e.text);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "cannot make %s/p/q/one", h->mount_point)),
              "\"%s\"", e.text);
    cr_expect(kit_exists(h, "/p/q") && kit_count_markers() == 2, "the parents were made");
    cg_undo_create(&c);
    cr_expect(!kit_exists(h, "/p") && kit_count_markers() == 0, "expected no parent, no marker");
    kit_close_markers(&p);
}

/* A parent that cannot be made leaves no marker. */
Test(parents, marker_of_a_failed_parent)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    struct err e = ERR_INIT;

    cr_assert_eq(kit_write_value(h, "/", "cgroup.max.depth", "0"), 0);
    cr_expect_eq(cg_parents_make(&p, h, "/p", &e), -EAGAIN, "\"%s\"", e.text);
    cr_expect_eq(kit_count_markers(), 0);
    kit_close_markers(&p);
}

/* Made, but not to be opened: nobody would know of it. */
Test(parents, create_without_descriptors)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct rlimit old, few;
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r, next = dup(STDERR_FILENO);

    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
    cg_init(&c, &kit_v2_host, NULL, "/a", NULL);
    setrlimit(RLIMIT_NOFILE, &few);
    r = kit_put_new(&c, &kit_no_limits, NULL, &e);
    setrlimit(RLIMIT_NOFILE, &old);
    cr_expect_eq(r, -EMFILE, "expected %d, got %d \"%s\"", -EMFILE, r, e.text);
    cg_undo_create(&c);
    cr_expect_not(kit_exists(h, "/a"));
}

Test(parents, sweep)
{
    struct cg_controller one, two;
    autofd markers = FD_NONE;
    struct cg_parents p;

    kit_need_v1();
    p = kit_open_markers();
    markers = open(kit_marker_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    one = kit_create(&kit_host, &p, kit_sub("p/one"), NULL, &kit_no_limits);
    two = kit_create(&kit_host, &p, kit_sub("q/two"), NULL, &kit_no_limits);
    /* killed behind the removal of its own cgroup */
    for (size_t i = 0; i < kit_host.count; i++)
        cr_assert_eq(unlinkat(kit_host.hierarchies[i].fd, one.path + 1, AT_REMOVEDIR), 0);
    /* killed between marker and parent; not ours; of a hierarchy that is gone */
    cr_assert_eq(cg_parents_make(&p, &kit_host.hierarchies[0], kit_sub("r"), NULL), 0);
    cr_assert_eq(unlinkat(kit_host.hierarchies[0].fd, kit_sub("r") + 1, AT_REMOVEDIR), 0);
    cr_assert_eq(symlinkat("rubbish", markers, "a"), 0);
    cr_assert_eq(symlinkat("/x", markers, "b"), 0);
    cr_assert_eq(symlinkat("name=gone:/x", markers, "c"), 0);
    cr_assert_eq(mkdirat(markers, "dir", 0700), 0);
    cg_parents_sweep(&p, &kit_host);
    cr_expect_eq(kit_count_existing(&kit_host, kit_sub("p")), 0, "empty: removed");
    cr_expect_eq(kit_count_existing(&kit_host, kit_sub("q/two")), kit_host.count, "in use: kept");
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), kit_host.count);
    cr_expect_eq(kit_count_markers(), 2 * kit_host.count + 3,
                 "q, base and what is not ours; got %u", kit_count_markers());
    kit_delete_ok(&two);
    cg_parents_sweep(&p, &kit_host);
    cr_expect_eq(kit_count_existing(&kit_host, kit_base), 0);
    cr_expect_eq(kit_count_markers(), 3);
    unlinkat(markers, "dir", AT_REMOVEDIR);
    cg_close(&one);
    kit_close_markers(&p);
}

Test(parents, make)
{
    const struct cg_hierarchy *h;
    struct err e = ERR_INIT;
    struct cg_parents p;

    kit_need_v1();
    p = kit_open_markers();
    h = &kit_host.hierarchies[0];
    kit_expect_ok(cg_parents_make(&p, h, kit_base, &e), &e, "make");
    cr_expect(kit_exists(h, kit_base) && kit_count_markers() == 1);
    kit_expect_ok(cg_parents_make(&p, h, kit_base, &e), &e, "again");
    cr_expect_eq(kit_count_markers(), 1);
    kit_make_cgroup(h, kit_sub("theirs"));
    kit_expect_ok(cg_parents_make(&p, h, kit_sub("theirs"), &e), &e, "of somebody else");
    cr_expect_eq(kit_count_markers(), 1, "no marker for what was there");
    kit_expect_ok(cg_parents_make(NULL, h, kit_sub("p"), &e), &e, "no markers wanted");
    cr_expect(kit_exists(h, kit_sub("p")) && kit_count_markers() == 1);
    /* the same path in another hierarchy is another parent */
    cg_parents_remove(&p, &kit_host.hierarchies[1], kit_sub("x"));
    cr_expect(kit_exists(h, kit_base));
    cg_parents_remove(&p, h, kit_sub("x"));
    cr_expect(kit_exists(h, kit_base) && kit_count_markers() == 1, "busy: kept with its marker");
    cr_assert_eq(unlinkat(h->fd, kit_sub("theirs") + 1, AT_REMOVEDIR), 0);
    cr_assert_eq(unlinkat(h->fd, kit_sub("p") + 1, AT_REMOVEDIR), 0);
    cg_parents_remove(&p, h, kit_sub("x"));
    cr_expect(!kit_exists(h, kit_base) && kit_count_markers() == 0, "removed with its marker");
    cg_parents_remove(&p, h, kit_sub("x"));
    cr_expect_lt(cg_parents_make(&p, h, kit_sub("no/parent"), &e), 0);
    cr_expect(strstr(e.text, kit_sub("no/parent")), "\"%s\"", e.text);
    kit_close_markers(&p);
}

/* Nobody who was stopped while he holds the directory is waited for. */
Test(parents, without_a_lock, .timeout = 120)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    autofd held = open(kit_marker_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = ERR_INIT;

    cr_assert_eq(flock(held, LOCK_EX), 0);
    kit_expect_ok(cg_parents_make(&p, h, "/p", &e), &e, "make");
    cr_expect(kit_exists(h, "/p") && kit_count_markers() == 1);
    cg_parents_remove(&p, h, "/p/x");
    cr_expect(!kit_exists(h, "/p") && kit_count_markers() == 0);
    kit_close_markers(&p);
}

/* Sandboxes come and go below one parent: nobody may lose his cgroup's parent, and none is left. */
Test(parents, concurrently)
{
    struct cg_parents p;
    pid_t pids[3];

    kit_need_v2();
    p = kit_open_markers();
    for (int i = 0; i < 3; i++) {
        pids[i] = kit_fork();
        if (pids[i] == 0) {
            struct cg_controller c;
            struct err e = ERR_INIT;
            int r = 0;

            for (int k = 0; r == 0 && k < 200; k++) {
                cg_init(&c, &kit_v2_host, &p, i == 0 ? "/p/q/a" : i == 1 ? "/p/q/b" : "/p/c", NULL);
                r = kit_put_new(&c, &kit_no_limits, NULL, &e);
                if (r == 0)
                    r = cg_delete(&c, 10000, &e);
            }
            if (r < 0)
                fprintf(stderr, "%s\n", e.text);
            _exit(r < 0);
        }
    }
    for (int i = 0; i < 3; i++) {
        int status = -1;

        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "sandbox %d: status %#x", i,
                  (unsigned)status);
    }
    cr_expect_eq(kit_count_existing(&kit_v2_host, "/p"), 0, "the last one took the parents along");
    cr_expect_eq(kit_count_markers(), 0, "got %u", kit_count_markers());
    kit_close_markers(&p);
}
