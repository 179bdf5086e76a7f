/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel's word that threads have come or have got a name: as a filter lets it through, and as a sleep ends. */

#include "hook/watch/events.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(events, .timeout = 180);

#define SECOND 1000000ULL
/* Not zero, as times since boot are not. */
#define START (1000 * SECOND)

/* --- messages as the kernel's --- */

#define HEAD (NLMSG_HDRLEN + sizeof(struct cn_msg))

struct message {
    char bytes[HEAD + sizeof(struct proc_event)];
};

static struct message message(const struct proc_event *event)
{
    struct message ret = {{0}};

    memcpy(ret.bytes + HEAD, event, sizeof *event);
    return ret;
}

static struct proc_event comm(pid_t tid, pid_t process)
{
    return (struct proc_event){.what = PROC_EVENT_COMM, .event_data.comm = {tid, process, "x"}};
}

static struct proc_event begins(pid_t parent_tid, pid_t parent, pid_t tid, pid_t process)
{
    return (struct proc_event){.what = PROC_EVENT_FORK,
                               .event_data.fork = {parent_tid, parent, tid, process}};
}

static void send_event(int fd, struct proc_event event)
{
    struct message m = message(&event);

    cr_assert_eq(send(fd, m.bytes, sizeof m.bytes, 0), (ssize_t)sizeof m.bytes);
}

/* A pair in place of the kernel and us. A stream holds more messages, which are all of one size; of a filter and
 * of a sender only datagrams know. */
static int start(struct events *ev, int type)
{
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    *ev = (struct events)EVENTS_INIT;
    ev->fd = pair[0];
    return pair[1];
}

/* --- the filter --- */

static void attach(int fd, const pid_t *processes, size_t count)
{
    struct sock_filter filter[EVENTS_FILTER_MAX];
    struct sock_fprog program = {.filter = filter};
    size_t len = events_filter(processes, count, filter);

    cr_assert_leq(len, EVENTS_FILTER_MAX);
    program.len = (unsigned short)len;
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

static bool has_arrived(int fd)
{
    char buf[200];
    ssize_t len = recv(fd, buf, sizeof buf, 0);

    cr_assert(len == (ssize_t)sizeof(struct message) || (len < 0 && errno == EAGAIN), "%zd", len);
    return len > 0;
}

static bool passes(int from, int to, struct proc_event event)
{
    send_event(from, event);
    return has_arrived(to);
}

Test(events, filter)
{
    static const pid_t ours[] = {100, 0x1234567};
    const struct {
        struct proc_event event;
        bool passes;
    } rows[] = {
        /* a thread gets a name */
        {comm(101, 100), true},
        {comm(0x1234567, 0x1234567), true},
        {comm(100, 99), false},
        {comm(0, 0), false},
        {comm(5, 0x67452301), false},
        /* a thread begins */
        {begins(1, 1, 101, 100), true},
        {begins(1, 1, 9, 0x1234567), true},
        {begins(1, 1, 100, 99), false},
        /* a process begins */
        {begins(101, 100, 9, 9), true},
        {begins(9, 0x1234567, 9, 9), true},
        {begins(100, 1, 9, 9), false},
        {begins(1, 1, 9, 9), false},
        /* what else ours do */
        {{.what = PROC_EVENT_NONE, .event_data.comm = {100, 100, ""}}, false},
        {{.what = PROC_EVENT_EXEC, .event_data.exec = {100, 100}}, false},
        {{.what = PROC_EVENT_UID, .event_data.id = {100, 100, {100}, {100}}}, false},
        {{.what = PROC_EVENT_EXIT, .event_data.exit = {100, 100, 100, 100, 100, 100}}, false},
    };
    struct events ev;
    autofd kernel = start(&ev, SOCK_DGRAM);
    const struct proc_event first = rows[0].event;
    struct message m = message(&first);

    attach(ev.fd, ours, ARRAY_SIZE(ours));
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(passes(kernel, ev.fd, rows[i].event), rows[i].passes, "row %zu", i);
    /* Too short for what is looked at. */
    cr_assert_eq(send(kernel, m.bytes, HEAD + 4, 0), (ssize_t)HEAD + 4);
    cr_expect_not(has_arrived(ev.fd));
    fd_close(&ev.fd);
}

Test(events, filter_of_many_and_of_none)
{
    pid_t many[EVENTS_PROCESSES_MAX];
    struct events ev;
    autofd kernel = start(&ev, SOCK_DGRAM);

    for (size_t i = 0; i < EVENTS_PROCESSES_MAX; i++)
        many[i] = 1000 + (pid_t)i;
    attach(ev.fd, many, EVENTS_PROCESSES_MAX);
    for (size_t i = 0; i < EVENTS_PROCESSES_MAX; i++) {
        cr_expect(passes(kernel, ev.fd, comm(1, many[i])), "name, %zu", i);
        cr_expect(passes(kernel, ev.fd, begins(1, 1, 1, many[i])), "thread, %zu", i);
        cr_expect(passes(kernel, ev.fd, begins(1, many[i], 1, 1)), "process, %zu", i);
    }
    cr_expect_not(passes(kernel, ev.fd, comm(1, 999)));
    cr_expect_not(passes(kernel, ev.fd, comm(1, 1000 + EVENTS_PROCESSES_MAX)));
    attach(ev.fd, NULL, 0);
    cr_expect_not(passes(kernel, ev.fd, comm(1000, 1000)));
    cr_expect_not(passes(kernel, ev.fd, begins(0, 0, 0, 0)));
    fd_close(&ev.fd);
}

Test(events, whose_are_let_through)
{
    const pid_t one[] = {7}, other[] = {8}, two[] = {8, 9};
    const pid_t many[EVENTS_PROCESSES_MAX + 1] = {1};
    struct events ev, none = EVENTS_INIT;
    autofd kernel = start(&ev, SOCK_DGRAM);

    cr_expect_not(events_let_through(&none, one, 1));
    cr_expect_not(events_let_through(&ev, NULL, 0), "nobody, as before");
    cr_expect(events_let_through(&ev, one, 1));
    cr_expect_not(events_let_through(&ev, one, 1), "the same");
    cr_expect(events_let_through(&ev, other, 1), "as many, but others");
    cr_expect_not(passes(kernel, ev.fd, comm(7, 7)));
    cr_expect(passes(kernel, ev.fd, comm(8, 8)));
    cr_expect(events_let_through(&ev, two, 2), "one more");
    cr_expect(passes(kernel, ev.fd, comm(9, 9)));
    cr_expect(events_let_through(&ev, NULL, 0), "nobody any more");
    cr_expect_not(passes(kernel, ev.fd, comm(9, 9)));
    cr_expect(events_let_through(&ev, many, EVENTS_PROCESSES_MAX));
    cr_expect_geq(ev.fd, 0);
    cr_expect_not(events_let_through(&ev, many, EVENTS_PROCESSES_MAX + 1));
    cr_expect_eq(ev.fd, FD_NONE, "too many");
}

/* --- whose they are --- */

static void expect_woken(struct events *ev, const char *what);

/* Others are looked for when threads have changed: at once if a process has begun, else not again so soon. */
Test(events, follows_its_processes)
{
    struct cg_host host;
    struct sandbox s = {.is_nested = false};
    struct scan scan = {.sandbox = &s};
    struct events ev, none = EVENTS_INIT;
    autofd kernel = start(&ev, SOCK_STREAM);
    pid_t first = kit_start_child(), second = kit_start_child(), third = kit_start_child();
    autoarena a = ARENA_INIT;

    kit_tree_begin(CG_MODE_V1);
    kit_tree_enter(first, "/p/c", "c");
    cr_assert_eq(cg_host_open(&a, &host, NULL), 0);
    cg_init(&s.home, &host, NULL, "/p/c", NULL);
    cr_assert_eq(cg_load(&s.home, NULL), 0);
    cr_expect_not(events_follow(&none, &scan, true, START));
    cr_expect_not(events_follow(&ev, &scan, false, START), "nothing has changed");
    cr_expect(events_follow(&ev, &scan, true, START));
    cr_expect(ev.count == 1 && ev.processes[0] == first);
    kit_tree_enter(second, "/p/c", "c");
    cr_expect_not(events_follow(&ev, &scan, false, START + SECOND), "nothing has changed");
    cr_expect_not(events_follow(&ev, &scan, true, START + 9999), "not yet");
    cr_expect(events_follow(&ev, &scan, false, START + 10000), "it is not forgotten");
    cr_expect_eq(ev.count, 2);
    kit_tree_enter(third, "/p/c", "c");
    send_event(kernel, begins(first, first, third, third));
    expect_woken(&ev, "a process");
    cr_expect_not(events_follow(&ev, &scan, false, START + 10001), "nothing has changed");
    cr_expect(events_follow(&ev, &scan, true, START + 10001), "at once");
    cr_expect_eq(ev.count, 3);
    send_event(kernel, begins(first, first, 7, first));
    expect_woken(&ev, "a thread");
    cr_expect_not(events_follow(&ev, &scan, true, START + 10002),
                  "it is in a process that is known");
    cr_expect_not(ev.forked);
    fd_close(&ev.fd);
    cg_close(&s.home);
    cg_host_close(&host);
    kit_tree_end();
}

/* --- sleeping --- */

/* As long as nothing happens, or how long it took. */
static int sleep_for(struct events *ev, unsigned ms, unsigned long long *ret_us)
{
    struct pollfd fds[1];
    unsigned long long began = io_now_us();
    int r = events_poll(ev, fds, 0, ms, NULL);

    *ret_us = io_now_us() - began;
    return r;
}

/* It does not sleep to the end. */
static void expect_woken(struct events *ev, const char *what)
{
    unsigned long long took;

    cr_expect_eq(sleep_for(ev, KIT_PATIENCE_MS, &took), 0, "%s", what);
    cr_expect_lt(took, KIT_PATIENCE_MS * 1000ULL, "%s", what);
}

static void expect_asleep(struct events *ev, const char *what)
{
    unsigned long long took;

    cr_expect_eq(sleep_for(ev, 20, &took), 0, "%s", what);
    cr_expect_geq(took, 20000ULL, "%s", what);
    cr_expect(ev->named.count == 0 && !ev->lost, "%s", what);
}

Test(events, a_name_ends_the_sleep)
{
    struct events ev;
    autofd kernel = start(&ev, SOCK_STREAM);

    send_event(kernel, comm(9, 1));
    send_event(kernel, begins(1, 1, 2, 1));
    send_event(kernel, comm(7, 1));
    expect_woken(&ev, "names");
    cr_expect(ev.named.count == 2 && ev.named.tids[0] == 7 && ev.named.tids[1] == 9);
    cr_expect_not(ev.lost);
    cr_expect_eq(ev.passes, 1);
    expect_asleep(&ev, "they are not told twice");
    cr_expect_eq(ev.passes, 1);
    fd_close(&ev.fd);
}

/* It has no name yet, and is looked at soon all the same. */
Test(events, a_thread_that_begins_ends_the_sleep)
{
    struct events ev;
    autofd kernel = start(&ev, SOCK_STREAM);

    send_event(kernel, begins(1, 1, 2, 1));
    expect_woken(&ev, "a thread");
    cr_expect(ev.named.count == 0 && !ev.lost && ev.passes == 0);
    fd_close(&ev.fd);
}

/* Passes for messages that take longer than their share put off the next one. */
Test(events, passes_are_paid_for)
{
    const struct {
        long long credit_us; /* before a pass */
        bool heard;          /* it is made for a message */
        bool late;           /* the next one */
    } rows[] = {
        {50000, true, false}, {-100000, true, true}, {-100000, false, true},
        {0, true, true},      {0, false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned long long took;
        struct events ev;
        autofd kernel = start(&ev, SOCK_STREAM);

        ev.credit_us = rows[i].credit_us;
        ev.heard = rows[i].heard;
        ev.slept_us = io_now_us() - 40000; /* so long does the pass take */
        send_event(kernel, comm(9, 1));
        cr_expect_eq(sleep_for(&ev, KIT_PATIENCE_MS, &took), 0);
        cr_expect(took < KIT_PATIENCE_MS * 1000ULL && (!rows[i].late || took >= 40000), "row %zu",
                  i);
        /* What was slept is earned. */
        if (rows[i].late)
            cr_expect_geq(ev.credit_us, 0, "row %zu", i);
        cr_expect_leq(ev.credit_us, 50000, "row %zu", i);
        fd_close(&ev.fd);
    }
}

Test(events, other_descriptors)
{
    struct events ev;
    autofd kernel = start(&ev, SOCK_STREAM);
    struct pollfd fds[2] = {{.events = POLLIN}};
    int pipe_fds[2];

    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    fds[0].fd = pipe_fds[0];
    cr_expect_eq(events_poll(&ev, fds, 1, KIT_PATIENCE_MS, NULL), 1);
    cr_expect(fds[0].revents == POLLIN && ev.named.count == 0 && ev.passes == 0);
    send_event(kernel, comm(9, 1));
    cr_expect_eq(events_poll(&ev, fds, 1, KIT_PATIENCE_MS, NULL), 1, "without the events' own");
    cr_expect(fds[0].revents == POLLIN && ev.named.count == 1 && ev.passes == 1);
    fd_close(&ev.fd);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

Test(events, none)
{
    struct events ev = EVENTS_INIT;

    expect_asleep(&ev, "none");
    events_close(&ev);
    events_keep(&ev, true, START);
    cr_expect_eq(ev.fd, FD_NONE);
}

/* More than there is room for: anything may have happened. */
Test(events, too_many_names)
{
    for (size_t over = 0; over <= 1; over++) {
        struct events ev;
        autofd kernel = start(&ev, SOCK_STREAM);

        for (size_t i = 0; i < SCAN_NAMED_MAX + over; i++)
            send_event(kernel, comm((pid_t)i + 1, 1));
        expect_woken(&ev, "many");
        cr_expect_eq(ev.named.count, SCAN_NAMED_MAX);
        cr_expect_eq(ev.lost, over > 0);
        fd_close(&ev.fd);
    }
}

/* The sender's address is where a netlink message has the port of who sent it; the kernel's is 0. */
Test(events, of_somebody_else)
{
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    struct events ev;
    autofd stranger = start(&ev, SOCK_DGRAM);

    cr_assert_eq(bind(stranger, (const struct sockaddr *)&any, sizeof any.sun_family), 0);
    send_event(stranger, comm(9, 1));
    expect_asleep(&ev, "forged");
    cr_expect_not(has_arrived(ev.fd), "it was not read");
    fd_close(&ev.fd);
}

/* What cannot be read any more is closed, and what it would have told is looked for once. */
Test(events, an_error)
{
    struct events ev = EVENTS_INIT;
    int pipe_fds[2];

    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    ev.fd = pipe_fds[0]; /* no socket */
    expect_woken(&ev, "an error");
    cr_expect(ev.lost && ev.fd == FD_NONE);
    expect_asleep(&ev, "once");
    close(pipe_fds[1]);
}

/* --- how long they are kept --- */

Test(events, kept_while_they_are_wanted)
{
    struct events ev;
    autofd kernel = start(&ev, SOCK_STREAM);

    cr_assert_geq(kernel, 0);
    events_keep(&ev, true, START);
    events_keep(&ev, true, START + 10 * SECOND);
    events_keep(&ev, false, START + 12 * SECOND - 1);
    cr_expect_geq(ev.fd, 0);
    events_keep(&ev, true, START + 13 * SECOND);
    events_keep(&ev, false, START + 15 * SECOND - 1);
    cr_expect_geq(ev.fd, 0, "wanted again");
    events_keep(&ev, false, START + 15 * SECOND);
    cr_expect_eq(ev.fd, FD_NONE);
}

Test(events, never_wanted)
{
    struct events ev;
    autofd kernel = start(&ev, SOCK_STREAM);

    cr_assert_geq(kernel, 0);
    events_keep(&ev, false, START);
    cr_expect_eq(ev.fd, FD_NONE);
}

/* Whatever a payload does, it is over some day. */
Test(events, not_kept_for_ever)
{
    struct events ev;
    autofd kernel = start(&ev, SOCK_STREAM);
    autofd another = FD_NONE;

    cr_assert_geq(kernel, 0);
    events_keep(&ev, true, START);
    events_keep(&ev, true, START + 120 * SECOND - 1);
    cr_expect_geq(ev.fd, 0);
    events_keep(&ev, true, START + 120 * SECOND);
    cr_expect_eq(ev.fd, FD_NONE);
    another = start(&ev, SOCK_STREAM);
    ev.passes = 4095;
    events_keep(&ev, true, START);
    cr_expect_geq(ev.fd, 0);
    ev.passes++;
    events_keep(&ev, true, START);
    cr_expect_eq(ev.fd, FD_NONE);
}

/* --- the kernel's own --- */

static void need_events(struct events *ev)
{
    struct err e = ERR_INIT;

    if (events_open(ev, &e) < 0) {
        cr_expect_eq(ev->fd, FD_NONE);
        cr_skip_test("%s", e.text);
    }
}

static void rename_self(unsigned times)
{
    char name[16];

    for (unsigned i = 0; i < times; i++) {
        snprintf(name, sizeof name, "name %u", i);
        prctl(PR_SET_NAME, name);
    }
}

static bool is_named(const struct events *ev, pid_t tid)
{
    for (size_t i = 0; i < ev->named.count; i++) {
        if (ev->named.tids[i] == tid)
            return true;
    }
    return false;
}

Test(events, of_the_kernel)
{
    const pid_t self = getpid();
    struct events ev;
    pid_t pid;

    need_events(&ev);
    rename_self(1);
    cr_expect_not(has_arrived(ev.fd), "nobody's are let through");
    cr_expect(events_let_through(&ev, &self, 1));
    rename_self(1);
    expect_woken(&ev, "a name");
    cr_expect(is_named(&ev, gettid()));
    pid = kit_start_child();
    expect_woken(&ev, "a process");
    kit_end_child(pid);
    events_close(&ev);
    cr_expect_eq(ev.fd, FD_NONE);
}

/* Who names itself, and starts a process, when its parent is told to let it. */
static pid_t stranger(int fd)
{
    pid_t pid = kit_fork();
    char byte;

    if (pid == 0) {
        if (read(fd, &byte, 1) != 1)
            _exit(1);
        rename_self(1);
        pid = fork();
        if (pid == 0)
            _exit(0);
        _exit(pid > 0 && kit_has_exited(kit_wait_status(pid)) ? 0 : 1);
    }
    return pid;
}

Test(events, of_strangers)
{
    const pid_t self = getpid();
    struct events ev;
    int pipe_fds[2];
    pid_t pid;

    need_events(&ev);
    cr_assert_eq(pipe(pipe_fds), 0);
    pid = stranger(pipe_fds[0]);
    cr_expect(events_let_through(&ev, &self, 1));
    cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
    cr_expect(kit_has_exited(kit_wait_status(pid)));
    cr_expect_not(has_arrived(ev.fd));
    events_close(&ev);
}

/* More than the socket holds: it is told that some are lost, and goes on. */
Test(events, lost_by_the_kernel)
{
    const pid_t self = getpid();
    struct events ev;

    need_events(&ev);
    cr_expect(events_let_through(&ev, &self, 1));
    rename_self(5000);
    expect_woken(&ev, "an overrun");
    cr_expect(ev.lost && ev.fd >= 0);
    rename_self(1);
    expect_woken(&ev, "after it");
    cr_expect(!ev.lost && is_named(&ev, gettid()));
    events_close(&ev);
}
