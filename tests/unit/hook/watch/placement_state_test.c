/* SPDX-License-Identifier: Apache-2.0 */

/* What the watcher's placement keeps between passes. */

#include "base/cleanup.h"
#include "hook/log/log.h"
#include "hook/sandbox/sandbox.h"
#include "hook/sandbox/state_dir.h"
#include "hook/watch/placement.h"
#include "hook/watch/scan.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory stands in for the overhead cgroup: only its list of processes is read. */
static char overhead[] = "/tmp/osc-unit-placement-XXXXXX";
static int home_fd = FD_NONE;

static void set_up(void)
{
    cr_assert(mkdtemp(overhead));
    home_fd = open(overhead, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert(home_fd >= 0);
}

static void tear_down(void)
{
    unlinkat(home_fd, "cgroup.procs", 0);
    unlinkat(home_fd, "cgroup.procs", AT_REMOVEDIR);
    fd_close(&home_fd);
    cr_expect(rmdir(overhead) == 0, "files were left in %s", overhead);
}

TestSuite(placement_state, .init = set_up, .fini = tear_down);

/* The report gets nowhere. */
static const struct state_dir no_state = STATE_DIR_INIT;
static const struct placement nowhere = {.state_dir = &no_state, .sandbox_id = "c"};

#define MOST 5

struct view {
    struct sandbox sandbox;
    struct scan scan;
    struct scan_thread threads[MOST];
};

/* A pass that has found so many vCPUs, and so many of them in place. */
static void see(struct view *v, size_t found, size_t placed)
{
    static const struct cg_host host = {.mode = CG_MODE_V1, .count = 1};

    *v = (struct view){.sandbox.has_overhead = true};
    cg_init(&v->sandbox.home, &host, NULL, "/p/kata_c", NULL);
    cg_init(&v->sandbox.vcpu, &host, NULL, "/p/kata_c", NULL);
    cg_init(&v->sandbox.overhead, &host, NULL, "/o/c", NULL);
    v->sandbox.home.fds[0] = home_fd;
    v->scan = (struct scan){
        .sandbox = &v->sandbox, .threads = v->threads, .count = found, .kvm_dirfd = FD_NONE};
    for (size_t i = 0; i < found; i++)
        v->threads[i] =
            (struct scan_thread){.tid = (pid_t)i + 1, .source = VCPU_NAME, .inside = i < placed};
}

/* Descriptors of vCPUs that were unplugged wait for the next ones. */
Test(placement_state, parked)
{
    static const struct {
        size_t found, placed, parked;
    } passes[] = {
        {3, 3, 0},
        {2, 2, 1},
        {2, 2, 1},
        {3, 3, 0},
        {1, 1, 2},
        /* one comes back */
        {2, 2, 1},
        /* more than were there */
        {5, 5, 0},
        {4, 4, 1},
        /* that one ends while others are not placed says nothing: a VM may be just coming up */
        {4, 3, 1},
        {3, 3, 1},
    };
    struct placement p = nowhere;

    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        struct view v;

        see(&v, passes[i].found, passes[i].placed);
        /* with a change, so that descriptors are not counted yet */
        placement_update(&p, &v.scan, false, true);
        cr_expect_eq(p.facts.parked, passes[i].parked, "pass %zu: expected %zu, got %zu", i,
                     passes[i].parked, p.facts.parked);
    }
    free(p.written);
}

/* Not while threads come and go, and only what could be read is counted. */
Test(placement_state, counted_when_quiet)
{
    struct placement p = nowhere;
    struct view v;

    see(&v, 2, 2);
    placement_update(&p, &v.scan, false, true);
    cr_expect_not(p.counted, "threads have changed just now");
    cr_expect_not(placement_is_complete(&p));
    p.changed_us = 0;
    cr_assert_eq(mkdirat(home_fd, "cgroup.procs", 0700), 0);
    placement_update(&p, &v.scan, false, false);
    cr_expect_not(p.counted, "the list cannot be read");
    cr_assert_eq(unlinkat(home_fd, "cgroup.procs", AT_REMOVEDIR), 0);
    cr_assert_eq(mknodat(home_fd, "cgroup.procs", S_IFREG | 0600, 0), 0);
    placement_update(&p, &v.scan, false, false);
    cr_expect(p.counted, "threads are quiet, and the list is there");
    cr_expect(placement_is_complete(&p));
    free(p.written);
}

/* Once in its life, however often vCPUs are plugged and unplugged later. */
Test(placement_state, announced_once)
{
    static const size_t found[] = {2, 3, 3, 1};
    struct placement p = nowhere;
    struct view v;

    cr_assert_eq(mknodat(home_fd, "cgroup.procs", S_IFREG | 0600, 0), 0);
    log_about.sandbox_id = "s1";
    log_set_level(LEVEL_INFO);
    cr_redirect_stderr();
    see(&v, 2, 1);
    placement_update(&p, &v.scan, false, true);
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        see(&v, found[i], found[i]);
        placement_update(&p, &v.scan, false, true);
        p.changed_us = 0;
        placement_update(&p, &v.scan, false, false);
    }
    cr_expect_stderr_eq_str("oci-sandbox-cgroup: info: sandbox s1: 2 vCPU threads are placed\n");
    free(p.written);
}
