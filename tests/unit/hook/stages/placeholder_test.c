/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/placeholder.h"

#include "base/err.h"
#include "base/io.h"
#include "hook/sandbox/child.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN); /* as main() does */
}

TestSuite(placeholder, .init = begin, .fini = kit_end_forked, .timeout = 180);

static struct child fork_placeholder(const struct proc_id *init)
{
    struct child c;
    struct err e = ERR_INIT;

    cr_assert_eq(placeholder_fork(init, &c, &e), 0, "%s", e.text);
    kit_track(&c.id);
    return c;
}

static struct proc_id start_init(void)
{
    struct proc_id id;
    pid_t pid = kit_start_child();

    cr_assert_eq(proc_identify(pid, &id), 0);
    kit_track(&id);
    return id;
}

static void kill_init(const struct proc_id *init)
{
    cr_assert_eq(proc_signal(init, SIGKILL), 0);
    cr_assert_eq(proc_wait_gone(init, KIT_PATIENCE_MS), 0);
}

/* In poll(2), past the start. */
static void expect_staying(pid_t pid)
{
    io_sleep_ms(KIT_MOMENT_MS);
    cr_expect(kit_is_running(pid), "it has ended");
}

/* The system call that it waits in is one that its filter allows: it does not try again and again. */
static void expect_sleeping(pid_t pid)
{
    struct proc_stat st;

    for (int look = 0; look < 20; look++) {
        cr_assert_eq(proc_stat_read(pid, &st), 0);
        cr_assert_eq(st.state, 'S', "look %d: it is %c", look, st.state);
        io_sleep_ms(2);
    }
}

Test(placeholder, stays_until_sigterm)
{
    struct child c = fork_placeholder(NULL);
    char buf[256];

    kit_wait_for_name(c.id.pid, CHILD_WAITING);
    cr_expect_str_eq(kit_list_fds(c.id.pid, buf, sizeof buf), "0 1 2 3", "got %s", buf);
    cr_expect_eq(child_go(&c, NULL), 0);
    kit_wait_for_name(c.id.pid, "osc-hold");
    expect_staying(c.id.pid);
    expect_sleeping(c.id.pid);
    cr_expect_eq(child_stop(&c.id, NULL), 0);
    cr_expect(kit_was_killed(kit_wait_status(c.id.pid), SIGTERM));
}

Test(placeholder, ends_with_init)
{
    struct proc_id init = start_init();
    struct child c = fork_placeholder(&init);
    struct proc_stat st;

    kit_wait_for_name(c.id.pid, CHILD_WAITING);
    cr_expect_eq(child_go(&c, NULL), 0);
    expect_staying(c.id.pid);
    /* nobody waits for init: a zombie is dead */
    kill_init(&init);
    cr_expect(kit_has_exited(kit_wait_status(c.id.pid)));
    cr_expect(proc_stat_read(init.pid, &st) == 0 && st.state == 'Z');
}

Test(placeholder, stops_before_init)
{
    struct proc_id init = start_init();
    struct child c = fork_placeholder(&init);

    cr_expect_eq(child_go(&c, NULL), 0);
    expect_staying(c.id.pid);
    cr_expect_eq(child_stop(&c.id, NULL), 0);
    cr_expect(kit_was_killed(kit_wait_status(c.id.pid), SIGTERM));
    cr_expect_eq(proc_alive(&init), 1, "init is not its business");
}

/* With no descriptor for it, it looks again. */
Test(placeholder, cannot_look_at_init)
{
    struct proc_id init = start_init();
    struct child c = fork_placeholder(&init);
    struct rlimit was, none = {.rlim_cur = 3};

    kit_wait_for_name(c.id.pid, CHILD_WAITING);
    cr_assert_eq(prlimit(c.id.pid, RLIMIT_NOFILE, NULL, &was), 0);
    none.rlim_max = was.rlim_max;
    cr_assert_eq(prlimit(c.id.pid, RLIMIT_NOFILE, &none, NULL), 0);
    cr_expect_eq(child_go(&c, NULL), 0);
    expect_staying(c.id.pid);
    kill_init(&init);
    expect_staying(c.id.pid);
    cr_assert_eq(prlimit(c.id.pid, RLIMIT_NOFILE, &was, NULL), 0);
    cr_expect(kit_has_exited(kit_wait_status(c.id.pid)));
}

/* It does not follow whoever has the number now. */
Test(placeholder, init_is_dead_already)
{
    struct proc_id zombie = start_init(), gone = start_init(), successor = start_init();
    struct child c[3];

    kill_init(&zombie);
    kill_init(&gone);
    kit_wait_status(gone.pid);
    successor.start_time++;
    c[0] = fork_placeholder(&zombie);
    c[1] = fork_placeholder(&gone);
    c[2] = fork_placeholder(&successor);
    for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
        kit_wait_for_name(c[i].id.pid, CHILD_WAITING);
        cr_expect(kit_is_running(c[i].id.pid), "%zu: it waits to be let go", i);
        cr_expect_eq(child_go(&c[i], NULL), 0);
        cr_expect(kit_has_exited(kit_wait_status(c[i].id.pid)), "%zu", i);
    }
}

Test(placeholder, follows_after_being_stopped_for_a_while)
{
    struct proc_id init = start_init();
    struct child c = fork_placeholder(&init);

    cr_expect_eq(child_go(&c, NULL), 0);
    expect_staying(c.id.pid);
    cr_assert_eq(proc_signal(&c.id, SIGSTOP), 0);
    cr_assert_eq(proc_signal(&c.id, SIGCONT), 0);
    expect_staying(c.id.pid);
    kill_init(&init);
    cr_expect(kit_has_exited(kit_wait_status(c.id.pid)));
}
