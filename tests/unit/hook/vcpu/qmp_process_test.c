/* SPDX-License-Identifier: Apache-2.0 */

/* QMP of other processes: in another root or pid namespace, by their command line, and QEMU. */

#include "hook/vcpu/qmp.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/vcpu/ask.h"
#include "tests/unit/kit/qmp_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

TestSuite(qmp_process, .init = kit_make_place, .fini = kit_remove_place);

/* --- another root --- */

/* A child that has told how far it came by a byte, and lives as long as we hold its pipe. */
struct stage {
    pid_t pid;
    int keep[2], ready[2];
};

static void stage_pipes(struct stage *s)
{
    cr_assert(pipe2(s->keep, O_CLOEXEC) == 0 && pipe2(s->ready, O_CLOEXEC) == 0);
}

/* In the parent: 0 it is ready, otherwise its exit status. */
static int stage_wait(struct stage *s)
{
    char byte;
    int status;

    close(s->keep[0]);
    close(s->ready[1]);
    if (read(s->ready[0], &byte, 1) == 1)
        return 0;
    waitpid(s->pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int stage_end(struct stage *s)
{
    int status;

    close(s->keep[1]);
    close(s->ready[0]);
    waitpid(s->pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#define NOT_PERMITTED 77
#define SOMEBODY_CAME 7

static void *serve_forever(void *arg)
{
    while (arg)
        kit_serve(arg);
    return NULL;
}

/*
 * A process in a chroot, with a monitor inside and a socket outside, both its own, so that only the
 * root stands between us and the outer one.
 */
static _Noreturn void run_jail(const struct stage *s, const char *cwd)
{
    static struct kit_monitor inside = {.says = {GREETING, READY, CPUS(CPU("@", "0"))}};
    struct pollfd fds[2] = {{.fd = s->keep[0], .events = POLLIN}, {.events = POLLIN}};
    pthread_t thread;

    close(s->keep[1]);
    fds[1].fd = kit_listen_at("out.sock");
    inside.listener = kit_listen_at("jail/in.sock");
    if (fds[1].fd < 0 || inside.listener < 0)
        _exit(1);
    if (chroot("jail") < 0)
        _exit(NOT_PERMITTED);
    if ((cwd && chdir(cwd) < 0) || pthread_create(&thread, NULL, serve_forever, &inside) != 0 ||
        write(s->ready[1], "", 1) != 1)
        _exit(1);
    poll(fds, 2, 60000);
    _exit(fds[1].revents ? SOMEBODY_CAME : 0);
}

static const struct {
    const char *cwd, *path, *want; /* "1" for the socket inside */
} jail_rows[] = {
    {"/", "/in.sock", "1"},
    {"/", "in.sock", "1"},
    {"/", "../in.sock", "1"},
    {"/", "/../../in.sock", "1"},
    {"/", "/to-in", "1"},
    {"/sub", "../in.sock", "1"},
    {"/sub", "../../../../in.sock", "1"},
    {"/sub", "in.sock", "ENOENT"},
    {"/", "/out.sock", "ENOENT"},
    {"/", "/../out.sock", "ENOENT"},
    {"/sub", "../../out.sock", "ENOENT"},
    {"/", "/absolute", "ENOENT"},
    {"/", "/climbing", "ENOENT"},
    {"/", "/directory/out.sock", "ENOENT"},
    {"/sub", "../climbing", "ENOENT"},
    /* chroot(2) does not change the directory: it is outside */
    {NULL, "out.sock", "EXDEV"},
    {NULL, "jail/in.sock", "EXDEV"},
    {NULL, "/in.sock", "1"},
};

static const char *ask_jail(size_t row, struct arena *a)
{
    struct vcpu_kvm cpus;
    struct stage s;
    int r, status;

    unlink("out.sock");
    unlink("jail/in.sock");
    stage_pipes(&s);
    s.pid = fork();
    if (s.pid == 0)
        run_jail(&s, jail_rows[row].cwd);
    status = stage_wait(&s);
    if (status == NOT_PERMITTED)
        cr_skip_test("chroot(2) is not permitted here");
    cr_assert_eq(status, 0, "the jail failed");
    r = kit_query_socket(s.pid, jail_rows[row].path, LONG_MS, a, &cpus, NULL);
    status = stage_end(&s);
    cr_expect_eq(status, 0, "input:    %s\n%s", jail_rows[row].path,
                 status == SOMEBODY_CAME ? "the socket outside was reached" : "the jail failed");
    if (r == 0)
        return cpus.count == 1 && cpus.items[0].tid == s.pid ? "1" : "another thread";
    return kit_cpus_text(a, r, &cpus);
}

Test(qmp_process, stays_in_the_root)
{
    autoarena a = ARENA_INIT;
    const char *out = kit_in_place(&a, "out.sock");

    cr_assert_eq(chdir(kit_place), 0);
    cr_assert(mkdir("jail", 0700) == 0 && mkdir("jail/sub", 0700) == 0 &&
              symlink("in.sock", "jail/to-in") == 0 && symlink(out, "jail/absolute") == 0 &&
              symlink(kit_place, "jail/directory") == 0 &&
              symlink(arena_printf(&a, "../../../../../..%s", out), "jail/climbing") == 0);
    for (size_t i = 0; i < ARRAY_SIZE(jail_rows); i++) {
        const char *got = ask_jail(i, &a);

        cr_expect_str_eq(got, jail_rows[i].want, "input:    %s from %s\nexpected: %s\ngot:      %s",
                         jail_rows[i].path, jail_rows[i].cwd ? jail_rows[i].cwd : "outside",
                         jail_rows[i].want, got);
    }
    (void)!chdir("/");
}

/* Rather not at all than by the plain path. */
Test(qmp_process, old_kernel)
{
    static const unsigned codes[] = {ENOSYS, EPERM};
    autoarena a = ARENA_INIT;
    const char *path = kit_in_place(&a, "q.sock");
    autofd listener = kit_listen_at(path);
    struct pollfd pfd = {.fd = listener, .events = POLLIN};

    cr_assert(listener >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | codes[i]),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
        struct err e = ERR_INIT;
        struct vcpu_kvm cpus;
        int r;

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
            cr_skip_test("no seccomp filters here: %s", strerrorname_np(errno));
        r = kit_query_socket(getpid(), path, LONG_MS, &a, &cpus, &e);
        cr_expect_eq(r, -ENOSYS, "%s: %d %s", strerrorname_np((int)codes[i]), r, e.text);
    }
    cr_expect_eq(poll(&pfd, 1, 0), 0, "somebody connected");
}

/* --- another pid namespace --- */

#define INNER_THREADS 3

static pid_t inner_tids[INNER_THREADS];
static pthread_barrier_t inner_ready;

static void *inner_thread(void *arg)
{
    size_t number = (size_t)(uintptr_t)arg;
    char name[16];

    snprintf(name, sizeof name, "vcpu %zu", number);
    prctl(PR_SET_NAME, name);
    inner_tids[number] = gettid();
    pthread_barrier_wait(&inner_ready);
    pause();
    return NULL;
}

/* The first process of the namespace: names its threads as it knows them. */
static _Noreturn void run_inner(const char *path, int ready)
{
    autoarena a = ARENA_INIT;
    struct kit_monitor m = {.says = {GREETING, READY, NULL}, .listener = kit_listen_at(path)};
    const char *list = "";

    if (getpid() != 1 || m.listener < 0)
        _exit(1);
    pthread_barrier_init(&inner_ready, NULL, INNER_THREADS + 1);
    for (size_t i = 0; i < INNER_THREADS; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, inner_thread, (void *)(uintptr_t)i) != 0)
            _exit(1);
    }
    pthread_barrier_wait(&inner_ready);
    for (size_t i = 0; i < INNER_THREADS; i++)
        list = arena_printf(&a, "%s%s" CPU("%d", "%zu"), list, i > 0 ? "," : "", (int)inner_tids[i],
                            i);
    m.says[2] = arena_printf(&a, CPUS("%s"), list);
    if (write(ready, "", 1) != 1)
        _exit(1);
    kit_serve(&m);
    pause(); /* its threads are looked at after the talk */
    _exit(0);
}

/* Make the namespace, put its first process' id, as we know it, into the pipe. */
static _Noreturn void run_outer(const char *path, int ready)
{
    int go[2];
    pid_t pid;

    if (unshare(CLONE_NEWPID) < 0)
        _exit(NOT_PERMITTED);
    /* The id goes first, then the inner process may say that it is ready. */
    if (pipe2(go, O_CLOEXEC) < 0)
        _exit(1);
    pid = fork();
    if (pid == 0) {
        close(go[1]);
        io_drain(go[0]);
        run_inner(path, ready);
    }
    if (pid < 0 || write(ready, &pid, sizeof pid) != sizeof pid)
        _exit(1);
    close(go[0]);
    close(go[1]);
    close(ready);
    waitpid(pid, NULL, 0);
    _exit(0);
}

Test(qmp_process, pid_namespace)
{
    autoarena a = ARENA_INIT;
    const char *path = kit_in_place(&a, "q.sock");
    struct vcpu_kvm cpus;
    struct err e = ERR_INIT;
    int ready[2], status, r;
    pid_t outer, inner;
    bool told;
    char byte;

    cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
    outer = fork();
    if (outer == 0)
        run_outer(path, ready[1]);
    close(ready[1]);
    told = read(ready[0], &inner, sizeof inner) == sizeof inner && read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    if (!told) {
        waitpid(outer, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED)
            cr_skip_test("unshare(CLONE_NEWPID) is not permitted here");
        cr_assert_fail("the namespace failed");
    }
    r = kit_query_socket(inner, path, LONG_MS, &a, &cpus, &e);
    cr_expect_eq(r, 0, "%d %s", r, e.text);
    cr_expect_eq(cpus.count, INNER_THREADS, "%zu threads", cpus.count);
    for (size_t i = 0; i < cpus.count; i++) {
        char want[16], got[16] = "";

        snprintf(want, sizeof want, "vcpu %d", cpus.items[i].index);
        io_read_at(AT_FDCWD,
                   arena_printf(&a, "/proc/%d/task/%d/comm", (int)inner, (int)cpus.items[i].tid),
                   got, sizeof got);
        cr_expect_str_eq(got, want, "thread %d\nexpected: %s\ngot:      %s", (int)cpus.items[i].tid,
                         want, got);
    }
    kill(inner, SIGKILL);
    waitpid(outer, NULL, 0);
}

/* --- by the command line of a process --- */

/*
 * Make this process's command line @text, '|' as above. The kernel wants all of the memory map's
 * limits at once, and then asks for no privilege: those are fields 26 to 51 of its stat file.
 */
static bool set_cmdline(const char *text)
{
    struct prctl_mm_map map = {.exe_fd = (uint32_t)-1};
    char stat[1024], *cursor, *own;
    uint64_t fields[52] = {0};

    /* The kernel shows no command line from memory that belongs to a file. */
    own = mmap(NULL, strlen(text) + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED)
        return false;
    strcpy(own, text);
    for (char *p = own; *p; p++)
        *p = *p == '|' ? '\0' : *p;
    if (io_read_at(AT_FDCWD, "/proc/self/stat", stat, sizeof stat) < 0)
        return false;
    cursor = strrchr(stat, ')') + 2;
    for (size_t i = 3; cursor && i < ARRAY_SIZE(fields); i++) {
        const char *field = str_next(&cursor, ' ');

        str_to_u64(field, strlen(field), &fields[i]);
    }
    map.start_code = fields[26];
    map.end_code = fields[27];
    map.start_stack = fields[28];
    map.start_data = fields[45];
    map.end_data = fields[46];
    map.start_brk = fields[47];
    map.brk = (uintptr_t)sbrk(0);
    map.arg_start = (uintptr_t)own;
    map.arg_end = map.arg_start + strlen(text) + 1;
    map.env_start = fields[50];
    map.env_end = fields[51];
    return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) == 0;
}

static const struct {
    const char *cmdline; /* "$" is the place */
    const char *want, *text;
} processes[] = {
    {"qemu|-S", "ENODATA", "names no QMP socket"},
    {"qemu|-qmp|unix:$/q.sock,server=on", "@:0", ""},
    {"qemu|-qmp|unix:$/none,server=on|-qmp|unix:$/q.sock,server=on", "@:0", ""},
    /* one that is silent leaves the others their share */
    {"qemu|-qmp|unix:$/mute,server=on|-qmp|unix:$/q.sock,server=on", "@:0", ""},
    {"qemu|-qmp|unix:$/none,server=on|-qmp|unix:$/mute,server=on", "ENOENT", "/none: "},
    {"qemu|-qmp|unix:$/mute,server=on|-qmp|unix:$/mute,server=on|-qmp|unix:$/mute,server=on",
     "ETIMEDOUT", "no greeting"},
};

Test(qmp_process, command_line_of_a_process)
{
    for (size_t i = 0; i < ARRAY_SIZE(processes); i++) {
        autoarena a = ARENA_INIT;
        autofd mute = kit_listen_at(kit_in_place(&a, "mute"));
        struct kit_monitor m = {.says = {GREETING, READY, CPUS(CPU("@", "0"))},
                                .listener = kit_listen_at(kit_in_place(&a, "q.sock"))};
        autosbuf cmdline = SBUF_INIT;
        struct vcpu_kvm cpus;
        struct err e = ERR_INIT;
        unsigned long long began, ms;
        pthread_t thread;
        const char *got;

        cr_assert(mute >= 0);
        for (const char *p = processes[i].cmdline; *p; p++)
            sbuf_addf(&cmdline, *p == '$' ? "%s" : "%.1s", *p == '$' ? kit_place : p);
        if (!set_cmdline(sbuf_text(&cmdline)))
            cr_skip_test("prctl(PR_SET_MM_MAP) does not work here: %s", strerrorname_np(errno));
        cr_assert_eq(pthread_create(&thread, NULL, kit_serve, &m), 0);
        began = io_now_us();
        got = kit_cpus_text(&a, qmp_query_vcpus(getpid(), 3 * SHORT_MS, &a, &cpus, &e), &cpus);
        ms = (io_now_us() - began) / 1000;
        shutdown(m.listener, SHUT_RDWR);
        pthread_join(thread, NULL);
        close(m.listener);
        unlink(kit_in_place(&a, "q.sock"));
        unlink(kit_in_place(&a, "mute"));
        cr_expect_str_eq(got, processes[i].want, "input:    %s\nexpected: %s\ngot:      %s: %s",
                         processes[i].cmdline, processes[i].want, got, e.text);
        cr_expect(strstr(e.text, processes[i].text), "input:    %s\ngot:      %s",
                  processes[i].cmdline, e.text);
        cr_expect(ms < 3 * SHORT_AT_MOST_MS, "input:    %s\ntook %llu ms", processes[i].cmdline,
                  ms);
    }
}

/* --- by a child --- */

static void need_cmdline(const char *text)
{
    autosbuf cmdline = SBUF_INIT;

    for (const char *p = text; *p; p++)
        sbuf_addf(&cmdline, *p == '$' ? "%s" : "%.1s", *p == '$' ? kit_place : p);
    if (!set_cmdline(sbuf_text(&cmdline)))
        cr_skip_test("prctl(PR_SET_MM_MAP) does not work here: %s", strerrorname_np(errno));
}

Test(qmp_process, a_child_asks)
{
    autoarena a = ARENA_INIT;
    struct kit_monitor m = {.says = {GREETING, READY, CPUS(CPU("@", "7"))},
                            .listener = kit_listen_at(kit_in_place(&a, "q.sock"))};
    const pid_t pids[] = {getppid(), getpid()};
    struct ask ask = {0};
    struct vcpu_kvm cpus;
    pthread_t thread;

    need_cmdline("qemu|-qmp|unix:$/q.sock,server=on");
    cr_assert_eq(pthread_create(&thread, NULL, kit_serve, &m), 0);
    cr_expect_eq(ask_vmms(&ask, pids, 2, LONG_MS, &a, &cpus), 0);
    shutdown(m.listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(m.listener);
    cr_expect_str_eq(kit_cpus_text(&a, 0, &cpus), "@:7");
    cr_expect_eq(ask.first, 1, "the other one is first now");
}

/* Many that say nothing have no more time than one. */
Test(qmp_process, silent_ones_share_their_time)
{
    autoarena a = ARENA_INIT;
    autofd mute = kit_listen_at(kit_in_place(&a, "mute"));
    unsigned long long began = io_now_us(), ms;
    struct ask ask = {0};
    struct vcpu_kvm cpus;
    pid_t pids[400];

    cr_assert_geq(mute, 0);
    need_cmdline("qemu|-qmp|unix:$/mute,server=on");
    for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
        pids[i] = getpid();
    cr_expect_eq(ask_vmms(&ask, pids, ARRAY_SIZE(pids), SHORT_MS, &a, &cpus), 0);
    ms = (io_now_us() - began) / 1000;
    cr_expect_eq(cpus.count, 0);
    cr_expect(ms < SHORT_AT_MOST_MS, "took %llu ms", ms);
}

/* As long as one is blocked there is no other. */
Test(qmp_process, one_child_at_a_time)
{
    autoarena a = ARENA_INIT;
    struct ask ask = {.child = fork()};
    const pid_t own = getpid();
    struct vcpu_kvm cpus;

    if (ask.child == 0) {
        for (;;)
            pause();
    }
    cr_assert_gt(ask.child, 0);
    cr_expect_eq(ask_vmms(&ask, &own, 1, SHORT_MS, &a, &cpus), -EBUSY);
    kill(ask.child, SIGKILL);
    for (int i = 0; ask_vmms(&ask, &own, 1, SHORT_MS, &a, &cpus) == -EBUSY && i < 1000; i++)
        io_sleep_ms(10);
    cr_expect_eq(ask_vmms(&ask, &own, 1, SHORT_MS, &a, &cpus), 0);
    cr_expect_eq(ask.child, 0);
}

/* --- QEMU itself --- */

static pid_t start_qemu(const char *socket_option, const char *flag)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("qemu-system-x86_64", "qemu-system-x86_64", "-machine", "pc,accel=tcg", "-smp", "3",
           "-display", "none", "-nodefaults", "-no-user-config", "-S", "-name",
           "unit,debug-threads=on", flag, socket_option, NULL);
    _exit(127);
}

static bool wait_for_socket(const char *path, pid_t pid)
{
    for (int i = 0; i < 3000; i++) {
        if (access(path, F_OK) == 0)
            return true;
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return false;
        io_sleep_ms(10);
    }
    return false;
}

static void check_qemu(const char *flag)
{
    autoarena a = ARENA_INIT;
    /* A comma in a name is a test of both sides' idea of it. */
    const char *path = kit_in_place(&a, "q,m,p.sock");
    pid_t pid =
        start_qemu(arena_printf(&a, "unix:%s/q,,m,,p.sock,server=on,wait=off", kit_place), flag);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    autofd other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned long long began, ms;
    struct vcpu_kvm cpus, none;
    struct err e = ERR_INIT;
    char byte;
    int r, busy;

    if (!wait_for_socket(path, pid))
        cr_skip_test("there is no qemu-system-x86_64 that starts here");
    /* the file is there a moment before anybody listens */
    for (int i = 0; (r = qmp_query_vcpus(pid, LONG_MS, &a, &cpus, &e)) == -ECONNREFUSED && i < 1000;
         i++) {
        err_reset(&e);
        io_sleep_ms(10);
    }
    cr_expect_eq(r, 0, "%s: %d %s", flag, r, e.text);
    cr_expect_eq(cpus.count, 3, "%s: %zu CPUs", flag, cpus.count);
    for (size_t i = 0; i < cpus.count; i++) {
        char want[16], got[16] = "";

        snprintf(want, sizeof want, "CPU %d/TCG", cpus.items[i].index);
        io_read_at(AT_FDCWD,
                   arena_printf(&a, "/proc/%d/task/%d/comm", (int)pid, (int)cpus.items[i].tid), got,
                   sizeof got);
        cr_expect_str_eq(got, want, "%s: thread %d\nexpected: %s\ngot:      %s", flag,
                         (int)cpus.items[i].tid, want, got);
    }
    /* While another client has the monitor it is busy. */
    err_reset(&e);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    r = connect(other, (const struct sockaddr *)&name, sizeof name);
    r = r == 0 && read(other, &byte, 1) == 1;
    began = io_now_us();
    busy = qmp_query_vcpus(pid, SHORT_MS, &a, &none, &e);
    ms = (io_now_us() - began) / 1000;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_expect(r, "%s: no second client", flag);
    cr_expect_eq(busy, -ETIMEDOUT, "%s: %d %s", flag, busy, e.text);
    cr_expect(strstr(e.text, "another client"), "%s: %s", flag, e.text);
    cr_expect(ms < SHORT_AT_MOST_MS, "%s: took %llu ms", flag, ms);
}

Test(qmp_process, qemu)
{
    check_qemu("-qmp");
}

Test(qmp_process, qemu_pretty)
{
    check_qemu("-qmp-pretty");
}
