/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/events.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "cgroup/controller.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* Between the end of a pass and the next one that is made for a name. */
#define PAUSE_US 20
/* Those take half of a CPU at most, besides passes that are due without events: so much in a row, and then as
 * much as was slept. */
#define CREDIT_US 50000
/* Processes that no fork has told of are looked for this often at most. */
#define FOLLOW_US 10000
/* A thread that has begun gets its name in a moment. */
#define BEGUN_US 1000
/* Nothing is awaited: so long, as the last vCPU may have been the last but one. */
#define CALM_US 2000000ULL
/* Whatever is awaited. */
#define LIFE_US    120000000ULL
#define PASSES_MAX 4096
/* For some eighty messages, while a pass goes on. */
#define BUFFER_SIZE 32768
/* In one go: a payload could send without an end. */
#define DRAIN_MAX 256

#define EVENT_AT   (NLMSG_HDRLEN + sizeof(struct cn_msg))
#define AT(member) (EVENT_AT + offsetof(struct proc_event, member))

/* ---- the filter ---- */

static struct sock_filter load(size_t offset)
{
    return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

/* What is loaded is taken for a number in the network's byte order. */
static struct sock_filter equal(uint32_t value, size_t then_skip, size_t else_skip)
{
    return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(value), (uint8_t)then_skip,
                                        (uint8_t)else_skip);
}

static struct sock_filter end(uint32_t len)
{
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, len);
}

/* From instruction @n on: to @target, if what is loaded is one of them. Returns the next one. */
static size_t match(const pid_t *processes, size_t count, size_t n, size_t target,
                    struct sock_filter *ret)
{
    for (size_t i = 0; i < count; i++, n++)
        ret[n] = equal((uint32_t)processes[i], target - n - 1, 0);
    return n;
}

/* A message that is too short for a load is dropped by the kernel. */
size_t events_filter(const pid_t *processes, size_t count,
                     struct sock_filter ret[static EVENTS_FILTER_MAX])
{
    const size_t comm = count + 6, drop = 2 * count + 7, pass = drop + 1;
    size_t n;

    ret[0] = load(AT(what));
    ret[1] = equal(PROC_EVENT_COMM, comm - 2, 0);
    ret[2] = equal(PROC_EVENT_FORK, 0, drop - 3);
    ret[3] = load(AT(event_data.fork.child_tgid)); /* of a thread: its process */
    n = match(processes, count, 4, pass, ret);
    ret[n++] = load(AT(event_data.fork.parent_tgid));
    ret[n++] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 1);
    ret[n++] = load(AT(event_data.comm.process_tgid));
    n = match(processes, count, n, pass, ret);
    ret[n++] = end(0);
    ret[n++] = end(UINT32_MAX);
    return n;
}

static int attach(int fd, struct sock_filter *filter, size_t count)
{
    const struct sock_fprog program = {.len = (unsigned short)count, .filter = filter};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

static int let_through(int fd, const pid_t *processes, size_t count)
{
    struct sock_filter filter[EVENTS_FILTER_MAX];

    return attach(fd, filter, events_filter(processes, count, filter));
}

/* ---- the socket ---- */

/* What the kernel gives back in its answer, which all who listen get. */
static uint32_t our_number(void)
{
    return (uint32_t)getpid();
}

static int let_through_answer(int fd)
{
    struct sock_filter filter[] = {
        load(AT(what)),
        equal(PROC_EVENT_NONE, 0, 2),
        load(NLMSG_HDRLEN + offsetof(struct cn_msg, ack)),
        equal(our_number() + 1, 1, 0),
        end(0),
        end(UINT32_MAX),
    };

    return attach(fd, filter, ARRAY_SIZE(filter));
}

static int ask(int fd, enum proc_cn_mcast_op op)
{
    const struct cn_msg msg = {
        .id = {CN_IDX_PROC, CN_VAL_PROC}, .ack = our_number(), .len = sizeof op};
    char buf[EVENT_AT + sizeof op];
    const struct nlmsghdr header = {.nlmsg_len = sizeof buf, .nlmsg_type = NLMSG_DONE};

    memcpy(buf, &header, sizeof header);
    memcpy(buf + NLMSG_HDRLEN, &msg, sizeof msg);
    memcpy(buf + EVENT_AT, &op, sizeof op);
    return send(fd, buf, sizeof buf, 0) < 0 ? -errno : 0;
}

/*
 * 1: a message of the kernel's; 0: none of its; -errno. Others can only send where they have CAP_NET_ADMIN, as
 * a container in the host's network may. It would make us look, and nothing else, but need not do even that.
 */
static int receive(int fd, struct proc_event *ret)
{
    char buf[EVENT_AT + sizeof *ret];
    struct sockaddr_nl from = {0};
    socklen_t from_len = sizeof from;
    ssize_t len = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &from_len);

    *ret = (struct proc_event){0};
    if (len < 0)
        return -errno;
    if (from.nl_pid != 0 || (size_t)len < AT(event_data))
        return 0;
    memcpy(ret, buf + EVENT_AT, (size_t)len - EVENT_AT);
    return 1;
}

/* The kernel answers while it is asked. */
static int read_answer(int fd)
{
    struct proc_event event;
    int r = receive(fd, &event);

    if (r <= 0)
        return r < 0 ? r : -EAGAIN;
    return -(int)event.event_data.ack.err;
}

static int listen_to_kernel(int fd, struct err *e)
{
    const struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
    const int size = BUFFER_SIZE;
    int r = fd < 0 ? -errno : let_through_answer(fd);

    if (r < 0)
        return err_sys(e, r, "the kernel has no connector (CONFIG_CONNECTOR)");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (const struct sockaddr *)&group, sizeof group) < 0)
        return err_sys(e, -errno, "the kernel may not be asked to tell (CAP_NET_ADMIN)");
    r = ask(fd, PROC_CN_MCAST_LISTEN);
    if (r < 0)
        return err_sys(e, r, "the kernel tells only in the initial network namespace");
    r = read_answer(fd);
    if (r == -EAGAIN)
        return err_set(e, -ENODATA,
                       "the kernel does not tell (CONFIG_PROC_EVENTS), or not in this PID or user "
                       "namespace");
    if (r == 0)
        r = let_through(fd, NULL, 0);
    return r < 0 ? err_sys(e, r, "the kernel refuses to tell (CAP_NET_ADMIN)") : 0;
}

int events_open(struct events *ev, struct err *e)
{
    int r;

    *ev = (struct events)EVENTS_INIT;
    ev->credit_us = CREDIT_US;
    ev->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
    r = listen_to_kernel(ev->fd, e);
    if (r < 0)
        events_close(ev);
    return r;
}

/* Who has asked for them is counted, before Linux 6.6 in one number for all: there a confined watcher cannot take
 * itself off it, and each fork of the host goes on making a message, for nobody, in a tenth of a microsecond. */
void events_close(struct events *ev)
{
    if (ev->fd >= 0)
        (void)ask(ev->fd, PROC_CN_MCAST_IGNORE);
    fd_close(&ev->fd);
}

bool events_let_through(struct events *ev, const pid_t *processes, size_t count)
{
    const size_t size = count * sizeof *processes;

    if (ev->fd < 0 ||
        (count == ev->count && (count == 0 || memcmp(processes, ev->processes, size) == 0)))
        return false;
    if (count > EVENTS_PROCESSES_MAX || let_through(ev->fd, processes, count) < 0) {
        events_close(ev);
        return false;
    }
    if (count > 0)
        memcpy(ev->processes, processes, size);
    ev->count = count;
    return true;
}

bool events_follow(struct events *ev, const struct scan *scan, bool changed, unsigned long long now)
{
    autoarena a = ARENA_INIT;
    struct cg_pids pids;

    ev->follow_due = ev->follow_due || changed;
    if (ev->fd < 0 || !ev->follow_due || (!ev->forked && now - ev->followed_us < FOLLOW_US) ||
        scan_vmms(scan, &a, &pids, NULL) < 0)
        return false;
    ev->follow_due = ev->forked = false;
    ev->followed_us = now;
    return events_let_through(ev, pids.items, pids.count);
}

void events_keep(struct events *ev, bool wanted, unsigned long long now)
{
    if (ev->opened_us == 0)
        ev->opened_us = now;
    if (wanted)
        ev->wanted_us = now;
    if (now - ev->wanted_us >= CALM_US || now - ev->opened_us >= LIFE_US ||
        ev->passes >= PASSES_MAX)
        events_close(ev);
}

/* ---- sleeping ---- */

static void note_name(struct events *ev, pid_t tid)
{
    if (ev->named.count < SCAN_NAMED_MAX)
        ev->named.tids[ev->named.count++] = tid;
    else
        ev->lost = true;
}

/* All messages that there are. Returns whether some thread has begun. */
static bool drain(struct events *ev)
{
    bool begun = false;

    for (unsigned i = 0; i < DRAIN_MAX && ev->fd >= 0; i++) {
        struct proc_event event;
        int r = receive(ev->fd, &event);

        if (r == -EAGAIN)
            break;
        if (r < 0)
            ev->lost = ev->lost || r != -EINTR;
        /* What else goes wrong will go wrong again. */
        if (r < 0 && r != -EINTR && r != -ENOBUFS)
            events_close(ev);
        if (r > 0 && event.what == PROC_EVENT_COMM)
            note_name(ev, event.event_data.comm.process_pid);
        if (r <= 0 || event.what != PROC_EVENT_FORK)
            continue;
        begun = true;
        ev->forked =
            ev->forked || event.event_data.fork.child_pid == event.event_data.fork.child_tgid;
    }
    return begun;
}

static int sleep_until(struct pollfd *fds, nfds_t count, unsigned long long when,
                       const sigset_t *mask)
{
    unsigned long long now = io_now_us(), left = now < when ? when - now : 0;
    const struct timespec ts = {.tv_sec = (time_t)(left / 1000000),
                                .tv_nsec = (long)(left % 1000000) * 1000};

    return ppoll(fds, count, &ts, mask);
}

/* When the pass is due for what has come, if not sooner anyway. */
static unsigned long long due_at(const struct events *ev, bool begun, unsigned long long soonest)
{
    unsigned long long now = io_now_us();

    if (ev->named.count > 0 || ev->lost)
        return now > soonest ? now : soonest;
    return begun ? now + BEGUN_US : ~0ULL;
}

/* Who has just made a pass, which took @us, pays for it, if it was made for a message. */
static void pay(struct events *ev, unsigned long long us)
{
    if (ev->heard)
        ev->credit_us -= (long long)us;
    ev->heard = false;
}

static void earn(struct events *ev, unsigned long long us)
{
    ev->credit_us += (long long)us;
    if (ev->credit_us > CREDIT_US)
        ev->credit_us = CREDIT_US;
}

int events_poll(struct events *ev, struct pollfd *fds, nfds_t count, unsigned ms,
                const sigset_t *mask)
{
    unsigned long long now = io_now_us(), when = now + ms * 1000ULL, due, pause = PAUSE_US;
    bool heard = false;
    int r;

    pay(ev, ev->slept_us > 0 ? now - ev->slept_us : 0);
    if (ev->credit_us < 0)
        pause += (unsigned long long)-ev->credit_us;
    ev->named.count = 0;
    ev->lost = false;
    do {
        /* What comes during the pause is for the same pass. */
        fds[count] = (struct pollfd){.fd = heard ? FD_NONE : ev->fd, .events = POLLIN};
        r = sleep_until(fds, count + 1, when, mask);
        if (r <= 0 || !fds[count].revents)
            break;
        due = due_at(ev, drain(ev), now + pause);
        heard = ev->named.count > 0 || ev->lost;
        when = due < when ? due : when;
    } while (--r == 0);
    if (heard) {
        (void)drain(ev);
        ev->passes++;
    }
    qsort(ev->named.tids, ev->named.count, sizeof ev->named.tids[0], cg_pid_compare);
    ev->heard = heard;
    ev->slept_us = io_now_us();
    earn(ev, ev->slept_us - now);
    return r;
}
