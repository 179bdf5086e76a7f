/* SPDX-License-Identifier: Apache-2.0 */

/* What a VMM, which may be hostile, says over QMP, and its command line. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/vcpu/qmp.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NEVER_MS 20000

/* --- the conversation --- */

/* The monitor: all that it will say, in pieces of so many bytes, and our end of the connection. */
static struct {
    const char *says;
    size_t len, piece;
    int fd;
} monitor = {.fd = FD_NONE};

int __wrap_connect(int fd, const struct sockaddr *name, socklen_t len);
ssize_t __real_recv(int fd, void *buf, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags);

/* Connected with ourselves: what was said waits there already, and nobody has to be waited for. */
int __wrap_connect(int fd, const struct sockaddr *name, socklen_t len)
{
    int ends[2];

    (void)name;
    (void)len;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "%m");
    FUZZ_CHECK(dup3(ends[0], fd, O_CLOEXEC) == fd && close(ends[0]) == 0, "%m");
    monitor.fd = ends[1];
    FUZZ_CHECK(send(monitor.fd, monitor.says, monitor.len, 0) == (ssize_t)monitor.len, "%m");
    shutdown(monitor.fd, SHUT_WR);
    return 0;
}

ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags)
{
    return __real_recv(fd, buf, size < monitor.piece ? size : monitor.piece, flags);
}

/* What is there to be found, in the process's own root. */
static const char *socket_path(void)
{
    static struct sockaddr_un name = {.sun_family = AF_UNIX};
    autofd fd = FD_NONE;

    if (*name.sun_path)
        return name.sun_path;
    FUZZ_CHECK((size_t)snprintf(name.sun_path, sizeof name.sun_path, "%s/qmp", fuzz_dir_path()) <
                   sizeof name.sun_path,
               "%s is too long", fuzz_dir_path());
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    FUZZ_CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&name, sizeof name) == 0, "%s: %m",
               name.sun_path);
    return name.sun_path;
}

/* Nothing before a greeting came, and then one command behind the other. */
static void expect_commands(int r, const char *says)
{
    static const char commands[] =
        "{\"execute\":\"qmp_capabilities\",\"id\":\"qmp_capabilities\"}\n"
        "{\"execute\":\"query-cpus-fast\",\"id\":\"query-cpus-fast\"}\n";
    size_t first = strcspn(commands, "\n") + 1;
    char heard[sizeof commands + 1] = "";
    ssize_t n = __real_recv(monitor.fd, heard, sizeof heard - 1, MSG_DONTWAIT);

    FUZZ_CHECK(n <= 0 || str_starts(commands, heard), "it was asked %s", heard);
    FUZZ_CHECK(n <= 0 || (size_t)n == first || (size_t)n == sizeof commands - 1, "%zd bytes", n);
    FUZZ_CHECK(n <= 0 || strstr(says, "\\u") || strstr(says, "QMP"), "asked after %s", says);
    FUZZ_CHECK(r < 0 || (size_t)n == sizeof commands - 1, "an answer to %s", heard);
}

static void expect_threads(const struct vcpu_kvm *threads)
{
    for (size_t i = 0; i < threads->count; i++) {
        const struct vcpu_kvm_thread *t = &threads->items[i];
        char path[64];

        snprintf(path, sizeof path, "/proc/self/task/%d", (int)t->tid);
        FUZZ_CHECK(access(path, F_OK) == 0, "%d is no thread of ours", (int)t->tid);
        FUZZ_CHECK(t->index >= VCPU_NO_INDEX, "%d", t->index);
        FUZZ_CHECK(i == 0 || t->tid > threads->items[i - 1].tid, "%d twice", (int)t->tid);
    }
}

/* "@" is a thread of ours, and a number in front stands for the beginning of a conversation. */
static void prepare(const uint8_t *data, size_t len, struct arena *a)
{
    static const char greeting[] = "{\"QMP\":{}}\n";
    static const char ready[] = "{\"return\":{},\"id\":\"qmp_capabilities\"}\n";
    autosbuf says = SBUF_INIT;

    if (len > 0 && (data[0] == '1' || data[0] == '2'))
        sbuf_addf(&says, "%s%s", greeting, data[0] == '2' ? ready : "");
    monitor.piece = len > 0 ? 1 + data[len - 1] : 1;
    for (size_t i = says.len > 0; i < len; i++) {
        if (data[i] == '@')
            sbuf_addf(&says, "%d", (int)getpid());
        else
            sbuf_add(&says, (const char *)&data[i], 1);
    }
    monitor.len = says.len;
    monitor.says = arena_strndup(a, sbuf_text(&says), says.len);
}

bool fuzz_qmp(const uint8_t *data, size_t len)
{
    static int proc = FD_NONE;
    autoarena a = ARENA_INIT;
    struct vcpu_kvm threads;
    struct err e = ERR_INIT;
    int r;

    if (proc < 0)
        proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    prepare(data, len, &a);
    r = qmp_query_socket(getpid(), proc, socket_path(), NEVER_MS, &a, &threads, &e);
    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == 0 || r == -EPROTO, "%d: %s", r, e.text);
    FUZZ_CHECK(r == 0 || threads.count == 0, "a failure with %zu threads", threads.count);
    expect_commands(r, monitor.says);
    fd_close(&monitor.fd);
    expect_threads(&threads);
    return r == 0;
}

/* --- the command line --- */

static void expect_same(const char *cmdline, size_t len, const struct qmp_sockets *want,
                        struct arena *a)
{
    struct qmp_sockets got = {0};

    qmp_find_sockets(cmdline, len, a, &got);
    FUZZ_CHECK(got.count == want->count, "%zu, then %zu sockets", want->count, got.count);
    for (size_t i = 0; i < got.count; i++)
        FUZZ_CHECK(str_eq(got.items[i], want->items[i]), "%s, then %s", want->items[i],
                   got.items[i]);
}

/* One argument a line. */
bool fuzz_qmp_options(const uint8_t *data, size_t len)
{
    static const char unknown[] = "-nodefaults";
    autoarena a = ARENA_INIT;
    char *cmdline = arena_alloc(&a, len + sizeof unknown + 1);
    struct qmp_sockets sockets = {0};

    for (size_t i = 0; i < len; i++)
        cmdline[i] = data[i] == '\n' ? '\0' : (char)data[i];
    if (len > 0 && cmdline[len - 1] == '\0')
        len--;
    qmp_find_sockets(cmdline, len, &a, &sockets);
    FUZZ_CHECK(sockets.count <= QMP_SOCKETS_MAX, "%zu sockets", sockets.count);
    for (size_t i = 0; i < sockets.count; i++)
        FUZZ_CHECK(*sockets.items[i] && strlen(sockets.items[i]) < len, "socket %zu: \"%s\"", i,
                   sockets.items[i]);
    expect_same(cmdline, len + 1, &sockets, &a);
    memcpy(cmdline + len + 1, unknown, sizeof unknown);
    if (len > 0)
        expect_same(cmdline, len + 1 + sizeof unknown, &sockets, &a);
    return sockets.count > 0;
}
