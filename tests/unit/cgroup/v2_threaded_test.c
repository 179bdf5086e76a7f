/* SPDX-License-Identifier: Apache-2.0 */

/* The threaded split of v2. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "cgroup/controller.h"
#include "cgroup/ops.h"
#include "cgroup/parents.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

TestSuite(v2_threaded, .init = kit_start, .fini = kit_finish, .timeout = 120);

/* Processes are in the domain, some of their threads in its leaf. */
Test(v2_threaded, split)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[KIT_THREADS], pid = kit_start_threads(tids), stranger = kit_start_child();
    char buf[32];
    int r;

    cr_expect_str_eq(kit_read_value(h, "/d", "cgroup.type"), "domain threaded");
    cr_expect_str_eq(kit_read_value(h, "/d/vcpu", "cgroup.type"), "threaded");
    cr_expect_str_eq(cg_type(&s.leaf, buf), "threaded");
    cr_expect_str_eq(cg_type(&s.domain, buf), "domain threaded");
    cr_expect_str_eq(cg_id(&s.leaf, &kit_arena), "/d/vcpu");
    cr_expect_str_eq(cg_parent(&s.leaf, &kit_arena), "/d");
    cr_expect_str_eq(cg_parent(&s.domain, &kit_arena), "/");

    /* the process to the domain, one thread to the leaf */
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_add_process(&s.domain, kit_who(pid), &e), &e, "add process");
    cr_expect_str_eq(kit_where(h, tids[0]), kit_seen_as(h, "/d"));
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_add_thread(&s.leaf, kit_who(tids[1]), &e), &e, "add thread");
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/d"));
    cr_expect_str_eq(kit_where(h, tids[0]), kit_seen_as(h, "/d"));
    cr_expect_str_eq(kit_where(h, tids[1]), kit_seen_as(h, "/d/vcpu"));
    cr_expect(cg_holds(&s.leaf, tids[1]) == 1 && cg_holds(&s.domain, tids[1]) == 0 &&
              cg_holds(&s.leaf, pid) == 0 && cg_holds(&s.domain, pid) == 1 &&
              cg_holds(&s.leaf, stranger) == 0);
    kit_expect_ok(cg_threads(&s.leaf, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    kit_expect_ok(cg_threads(&s.domain, &kit_arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == KIT_THREADS && !kit_in_list(&pids, tids[1]), "got %zu", pids.count);
    kit_expect_ok(cg_processes(&s.leaf, &kit_arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    kit_expect_ok(cg_processes(&s.domain, &kit_arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && kit_in_list(&pids, pid), "got %zu", pids.count);
    cr_expect(cg_is_empty(&s.leaf, NULL) == 0 && cg_is_empty(&s.domain, NULL) == 0);

    /* a thread of a process that lives in another domain cannot come alone */
    r = cg_add_thread(&s.leaf, kit_who(stranger), &e);
    cr_expect_eq(r, -EOPNOTSUPP, "expected %d, got %d", -EOPNOTSUPP, r);
    cr_expect(strstr(e.text, arena_printf(&kit_arena, "%s/d/vcpu/cgroup.threads", h->mount_point)),
              "\"%s\"", e.text);
    err_reset(&e);

    /* loaded by somebody else */
    struct cg_controller loaded;

    cg_init(&loaded, &kit_v2_host, NULL, "/d", "vcpu");
    for (int i = 0; i < 2; i++)
        kit_expect_ok(cg_load(&loaded, &e), &e, "load");
    cr_expect(cg_holds(&loaded, tids[1]) == 1 && loaded.domain_fd >= 0);
    cg_close(&loaded);

    kit_expect_ok(cg_kill(&s.domain, SIGKILL, &e), &e, "kill the domain");
    waitpid(pid, NULL, 0);
    cr_expect(cg_is_empty(&s.leaf, NULL) == 1 && cg_is_empty(&s.domain, NULL) == 1);
    kit_delete_ok(&s.leaf);
    cr_expect(!kit_exists(h, "/d/vcpu") && kit_exists(h, "/d"), "the domain is not the leaf's");
    kit_delete_ok(&s.domain);
    cr_expect_not(kit_exists(h, "/d"));
    kit_delete_ok(&s.leaf);
    kit_delete_ok(&s.domain);
}

/* The domain goes with the leaf in it, but not with somebody who lives there. */
Test(v2_threaded, delete_domain)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t pid = kit_start_child();
    int r;

    kit_expect_ok(cg_add_process(&s.domain, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_add_thread(&s.leaf, kit_who(pid), &e), &e, "add thread");
    r = cg_delete(&s.leaf, 30, &e);
    cr_expect(r == -EBUSY &&
                  strstr(e.text, arena_printf(&kit_arena, "%s/d/vcpu: EBUSY", h->mount_point)),
              "expected %d, got %d \"%s\"", -EBUSY, r, e.text);
    err_reset(&e);
    r = cg_delete(&s.domain, 30, &e);
    cr_expect(r == -EBUSY &&
                  strstr(e.text, arena_printf(&kit_arena, "%s/d: EBUSY", h->mount_point)),
              "expected %d, got %d \"%s\"", -EBUSY, r, e.text);
    err_reset(&e);
    cr_expect_str_eq(kit_where(h, pid), kit_seen_as(h, "/d/vcpu"));
    kit_end_child(pid);
    kit_expect_ok(cg_load(&s.domain, &e), &e, "load");
    kit_expect_ok(cg_delete(&s.domain, 10000, &e), &e, "delete");
    cr_expect_not(kit_exists(h, "/d"), "with the empty leaf");
    kit_expect_ok(cg_delete(&s.leaf, 0, &e), &e, "there is nothing left");

    s = kit_create_split(NULL, "/d");
    r = cg_delete(&s.domain, 0, &e);
    cr_expect(r == 0 && !kit_exists(h, "/d"),
              "timeout 0, the leaf is empty: expected 0 and nothing left; got %d \"%s\"", r,
              e.text);
    cg_close(&s.leaf);
}

/* A leaf that somebody made meanwhile, as yet no threaded one. */
Test(v2_threaded, converts_existing)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct kit_split s;

    kit_make_cgroup(h, "/d");
    kit_make_cgroup(h, "/d/vcpu");
    s = kit_create_split(NULL, "/d");
    cr_expect_str_eq(kit_read_value(h, "/d/vcpu", "cgroup.type"), "threaded");
    cr_expect(!s.leaf.made && !s.domain.made);
    cg_undo_create(&s.leaf);
    cg_undo_create(&s.domain);
    cr_expect(kit_exists(h, "/d/vcpu"), "not made by us");
}

Test(v2_threaded, undo)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_parents p = kit_open_markers();
    struct kit_split s = kit_create_split(&p, "/p/d");

    cr_expect(s.leaf.made == 1 && s.domain.made == 1, "made: leaf %#x; domain %#x", s.leaf.made,
              s.domain.made);
    cr_expect_eq(kit_count_markers(), 1);
    cg_undo_create(&s.leaf);
    cr_expect(!kit_exists(h, "/p/d/vcpu") && kit_exists(h, "/p/d"));
    cr_expect_eq(kit_count_markers(), 1, "what is above is the domain's");
    cg_undo_create(&s.domain);
    cr_expect(!kit_exists(h, "/p") && kit_count_markers() == 0, "with the parent and its marker");
    cg_undo_create(&s.leaf);
    cg_undo_create(&s.domain);
    kit_close_markers(&p);
}

/* The leaf alone makes no domain, and is not there without its directory. */
Test(v2_threaded, leaf_needs_its_domain)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r;

    cg_init(&c, &kit_v2_host, NULL, "/d", "vcpu");
    cr_expect_eq(cg_load(&c, &e), -ENOENT);
    cr_expect(strstr(e.text, "/d/vcpu does not exist"), "\"%s\"", e.text);
    err_reset(&e);
    r = kit_put_new(&c, &kit_no_limits, NULL, &e);
    cr_expect(r == -ENOENT && strstr(e.text, arena_printf(&kit_arena, "%s/d", h->mount_point)),
              "expected %d, got %d \"%s\"", -ENOENT, r, e.text);
    cg_undo_create(&c);
    cr_expect_not(kit_exists(h, "/d"));
    err_reset(&e);
    kit_make_cgroup(h, "/d");
    cr_expect_eq(cg_load(&c, &e), -ENOENT, "the domain alone is not ours");
    cr_expect(c.domain_fd >= 0 && c.fds[0] == FD_NONE);
    kit_delete_ok(&c);
    cr_expect(kit_exists(h, "/d"));
}

/* Something in the way of the leaf. */
Test(v2_threaded, leaf_failed)
{
    const struct cg_hierarchy *h = kit_need_v2();
    struct cg_controller domain = kit_create(&kit_v2_host, NULL, "/d", NULL, &kit_no_limits), c;
    static const struct {
        const char *leaf;
        int code;
        const char *text;
    } cases[] = {
        {"cgroup.procs", -ENOTDIR, "cannot open %s/d/cgroup.procs: ENOTDIR"},
        {"cgroup.procs/vcpu", -ENOTDIR, "cannot make %s/d/cgroup.procs/vcpu: ENOTDIR"},
        {"gone/vcpu", -ENOENT, "cannot make %s/d/gone/vcpu: ENOENT"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        const char *want = strstr(cases[i].text, "%s") + 2;
        int r;

        cg_init(&c, &kit_v2_host, NULL, "/d", cases[i].leaf);
        r = kit_put_new(&c, &kit_no_limits, NULL, &e);
        cr_expect(r == cases[i].code &&
                      strncmp(e.text, cases[i].text, strcspn(cases[i].text, "%")) == 0 &&
                      strstr(e.text, arena_printf(&kit_arena, "%s%s", h->mount_point, want)),
                  "%s: expected %d with %s, got %d \"%s\"", cases[i].leaf, cases[i].code, want, r,
                  e.text);
        cg_undo_create(&c);
        cr_expect(kit_exists(h, "/d"));
    }
    kit_delete_ok(&domain);
}

Test(v2_threaded, stat)
{
    kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct kit_worker w = kit_start_worker();
    struct cg_stat leaf, domain;
    struct err e = ERR_INIT;

    kit_expect_ok(cg_add_process(&s.domain, kit_who(w.pid), &e), &e, "add");
    cr_expect_eq(kit_ask(&w, 'c'), 0);
    cg_stat(&s.leaf, &leaf);
    cg_stat(&s.domain, &domain);
    cr_expect(leaf.has & domain.has & CG_CTL_BIT(CG_CTL_CPUACCT));
    cr_expect(domain.cpu_usage_us > 0 && leaf.cpu_usage_us == 0,
              "the leaf has its own: got %" PRIu64 " and %" PRIu64, domain.cpu_usage_us,
              leaf.cpu_usage_us);
    kit_end_child(w.pid);
    kit_delete_ok(&s.domain);
    cg_close(&s.leaf);
}

/* What would be the domain's is not done by way of a leaf. */
Test(v2_threaded, leaf_kills_nobody)
{
    kit_need_v2();
    struct kit_split s = kit_create_split(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t tids[KIT_THREADS], pid = kit_start_threads(tids), beside = kit_start_child();

    kit_expect_ok(cg_add_process(&s.domain, kit_who(pid), &e), &e, "add");
    kit_expect_ok(cg_add_process(&s.domain, kit_who(beside), &e), &e, "add");
    cr_expect_eq(s.leaf.ops->kill(&s.leaf), -EOPNOTSUPP, "not with one write for the domain");
    cr_expect_eq(waitpid(pid, NULL, WNOHANG), 0);
    cr_expect_eq(waitpid(beside, NULL, WNOHANG), 0);
    kit_end_child(pid);
    kit_end_child(beside);
    kit_delete_ok(&s.domain);
    cg_close(&s.leaf);
}
