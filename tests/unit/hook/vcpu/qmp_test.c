/* SPDX-License-Identifier: Apache-2.0 */

/* A monitor that may say, or not say, anything, and the way to its socket. */

#include "hook/vcpu/qmp.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/qmp_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

TestSuite(qmp, .init = kit_make_place, .fini = kit_remove_place);

static const struct {
    const char *what;
    const char *says[3];
    unsigned heard;
    const char *want, *text; /* the message has it in it */
} talks[] = {
    {"one CPU", {GREETING, READY, CPUS(CPU("@", "0"))}, 2, "@:0", ""},
    {"as QEMU writes it",
     {GREETING, READY,
      "{\"return\": [{\"thread-id\": @, \"props\": {\"core-id\": 0, \"thread-id\": 7, "
      "\"cpu-index\": 8}, \"qom-path\": \"/machine/unattached/device[0]\", \"cpu-index\": 3, "
      "\"target\": \"x86_64\"}], \"id\": \"query-cpus-fast\"}\r\n"},
     2,
     "@:3",
     ""},
    {"over several lines",
     {"{\n    \"QMP\": {\n    }\n}\n",
      "{\n  \"return\": {\n  },\n \"id\": \"qmp_capabilities\"\n}\n",
      "{\r\n\t\"return\": [\r\n{\n\"thread-id\":\n@\n,\n\"cpu-index\":\n1}\n]\n,\n\"id\":"
      "\"query-cpus-fast\"}\n"},
     2,
     "@:1",
     ""},
    {"events everywhere",
     {EVENT GREETING EVENT, EVENT EVENT READY EVENT, EVENT CPUS(CPU("@", "0")) EVENT},
     2,
     "@:0",
     ""},
    {"brackets and quotes in strings",
     {GREETING "{\"event\":\"}{][\\\"}\\\\\",\"data\":{\"a\":\"\\\\\\\"{\"}}", READY,
      CPUS(CPU("@", "0"))},
     2,
     "@:0",
     ""},
    {"a float in what is not used",
     {GREETING, READY, CPUS("{\"thread-id\":@,\"cpu-index\":0,\"load\":1.5,\"none\":null}")},
     2,
     "@:0",
     ""},
    {"all CPUs in one thread",
     {GREETING, READY, CPUS(CPU("@", "2") "," CPU("@", "0") "," CPU("@", "1"))},
     2,
     "@:0",
     ""},
    {"no index", {GREETING, READY, CPUS("{\"thread-id\":@}")}, 2, "@:-1", ""},
    {"no index and an index",
     {GREETING, READY, CPUS("{\"thread-id\":@}," CPU("@", "5"))},
     2,
     "@:5",
     ""},
    {"no thread", {GREETING, READY, CPUS("{\"cpu-index\":1}," CPU("@", "0"))}, 2, "@:0", ""},
    {"no CPU", {GREETING, READY, CPUS("")}, 2, "", ""},
    {"other processes' threads",
     {GREETING, READY, CPUS(CPU("1", "0") "," CPU("2", "1") "," CPU("@", "2"))},
     2,
     "@:2",
     ""},
    {"thread 0", {GREETING, READY, CPUS(CPU("0", "0"))}, 2, "", ""},
    {"the largest numbers",
     {GREETING, READY, CPUS(CPU("2147483647", "0") "," CPU("@", "2147483647"))},
     2,
     "@:2147483647",
     ""},

    {"silence", {NULL}, 0, "ETIMEDOUT", "no greeting"},
    {"half a greeting", {"{\"QMP\":"}, 0, "ETIMEDOUT", "no greeting"},
    {"blanks", {" \r\n\t  "}, 0, "ETIMEDOUT", "no greeting"},
    {"an event only", {EVENT}, 0, "ETIMEDOUT", "no greeting"},
    {"silence after the greeting",
     {GREETING, NULL},
     1,
     "ETIMEDOUT",
     "no answer to qmp_capabilities"},
    {"silence after the capabilities",
     {GREETING, READY, NULL},
     2,
     "ETIMEDOUT",
     "no answer to query-cpus-fast"},
    {"half an answer",
     {GREETING, READY, "{\"return\":[" CPU("@", "0")},
     2,
     "ETIMEDOUT",
     "no answer to query-cpus-fast"},
    {"a string without an end",
     {GREETING, READY, "{\"return\":\"]}]}\r\n]}"},
     2,
     "ETIMEDOUT",
     "no answer to query-cpus-fast"},

    {"closed at once", {""}, 0, "EPROTO", "closed before greeting"},
    {"closed after the greeting", {GREETING, ""}, 1, "EPROTO", "closed before answer to qmp"},
    {"closed after the capabilities",
     {GREETING, READY, ""},
     2,
     "EPROTO",
     "closed before answer to query"},

    {"another protocol", {"SSH-2.0-OpenSSH_9.2\r\n"}, 0, "EPROTO", "no QMP"},
    {"another protocol, later", {GREETING, "login: "}, 1, "EPROTO", "no QMP"},
    {"bytes", {"\xff\xfe{\"QMP\":{}}"}, 0, "EPROTO", "no QMP"},
    {"a string", {"\"QMP\""}, 0, "EPROTO", "no QMP"},
    {"a closing bracket", {"}"}, 0, "EPROTO", "no QMP"},
    {"a list", {"[]"}, 0, "EPROTO", ""},
    {"JSON, but no QMP", {"{\"hello\":{}}"}, 0, "EPROTO", "no QMP greeting"},
    {"a null greeting", {"{\"QMP\":null}"}, 0, "EPROTO", "no QMP greeting"},
    {"a greeting that is no object", {"{\"QMP\":1}"}, 0, "EPROTO", "QMP"},
    {"brackets that do not match", {"{\"QMP\":{]}"}, 0, "EPROTO", "no valid JSON"},
    {"a value missing", {"{\"QMP\":}"}, 0, "EPROTO", "no valid JSON"},
    {"no answer but a greeting", {GREETING, GREETING}, 1, "EPROTO", "something else"},
    {"the answer before the question",
     {GREETING, CPUS(CPU("@", "0"))},
     1,
     "EPROTO",
     "something else"},
    {"an answer without an id",
     {GREETING, READY, "{\"return\":[" CPU("@", "0") "]}"},
     2,
     "EPROTO",
     "something else"},
    {"an answer with another's id",
     {GREETING, READY, "{\"return\":[],\"id\":\"query-status\"}"},
     2,
     "EPROTO",
     "something else"},
    {"an answer that is no list",
     {GREETING, READY, "{\"return\":{},\"id\":\"query-cpus-fast\"}"},
     2,
     "EPROTO",
     "return"},
    {"an answer that is a list of numbers", {GREETING, READY, CPUS("1,2")}, 2, "EPROTO", "return"},
    {"a text for a number", {GREETING, READY, CPUS(CPU("\"@\"", "0"))}, 2, "EPROTO", "thread-id"},
    {"a negative thread", {GREETING, READY, CPUS(CPU("-1", "0"))}, 2, "EPROTO", "thread-id"},
    {"a large thread", {GREETING, READY, CPUS(CPU("2147483648", "0"))}, 2, "EPROTO", "thread-id"},
    {"a huge thread",
     {GREETING, READY, CPUS(CPU("99999999999999999999", "0"))},
     2,
     "EPROTO",
     "thread-id"},
    {"half a thread", {GREETING, READY, CPUS(CPU("1.5", "0"))}, 2, "EPROTO", "thread-id"},
    {"a negative index", {GREETING, READY, CPUS(CPU("@", "-1"))}, 2, "EPROTO", "cpu-index"},
    {"a large index", {GREETING, READY, CPUS(CPU("@", "2147483648"))}, 2, "EPROTO", "cpu-index"},
    {"two answers in one",
     {GREETING, READY, "{\"return\":[],\"return\":[]}"},
     2,
     "EPROTO",
     "return"},
    {"two threads in one",
     {GREETING, READY, CPUS("{\"thread-id\":@,\"thread-id\":1}")},
     2,
     "EPROTO",
     "thread-id"},
    {"depth", {GREETING, READY, "{\"return\":" DEEP "}"}, 2, "EPROTO", ""},
    {"depth in what is not used", {GREETING, READY, "{\"x\":" DEEP "}"}, 2, "EPROTO", ""},
    {"no UTF-8", {GREETING, "{\"error\":{\"desc\":\"\xff\"}}"}, 1, "EPROTO", ""},

    {"an error",
     {GREETING, READY,
      "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"The command query-cpus-fast has not "
      "been found\"},\"id\":\"query-cpus-fast\"}"},
     2,
     "EPROTO",
     "query-cpus-fast was refused: The command query-cpus-fast has not been found"},
    {"an error for the capabilities",
     {GREETING, "{\"error\":{\"desc\":\"no\"}}"},
     1,
     "EPROTO",
     "qmp_capabilities was refused: no"},
    {"an error without a text", {GREETING, "{\"error\":{}}"}, 1, "EPROTO", "refused: "},
    {"an error for a terminal",
     {GREETING, "{\"error\":{\"desc\":\"a\\u001b[2Jb\\n\"}}"},
     1,
     "EPROTO",
     "refused: a\\x1b[2Jb\\x0a"},
};

Test(qmp, talks)
{
    for (size_t i = 0; i < ARRAY_SIZE(talks); i++) {
        autoarena a = ARENA_INIT;
        struct kit_monitor m = {.says = {talks[i].says[0], talks[i].says[1], talks[i].says[2]}};
        bool slow = str_eq(talks[i].want, "ETIMEDOUT");
        struct err e = ERR_INIT;
        unsigned long long began = io_now_us(), ms;
        const char *got =
            kit_ask_monitor(&m, kit_in_place(&a, "q.sock"), slow ? SHORT_MS : LONG_MS, &a, &e);

        ms = (io_now_us() - began) / 1000;
        cr_expect_str_eq(got, talks[i].want, "%s\nexpected: %s\ngot:      %s: %s", talks[i].what,
                         talks[i].want, got, e.text);
        cr_expect(strstr(e.text, talks[i].text), "%s\nexpected text: %s\ngot:           %s",
                  talks[i].what, talks[i].text, e.text);
        cr_expect((e.code != 0) == (*got == 'E'), "%s: code %d", talks[i].what, e.code);
        cr_expect_not(e.bad_input, "%s: marked as our caller's fault", talks[i].what);
        cr_expect_eq(m.heard, talks[i].heard, "%s\nexpected commands: %u\ngot:               %u",
                     talks[i].what, talks[i].heard, m.heard);
        cr_expect(!slow || (ms >= SHORT_MS && ms < SHORT_AT_MOST_MS),
                  "%s\nexpected: %d ms\ngot:      %llu ms", talks[i].what, SHORT_MS, ms);
    }
}

Test(qmp, commands)
{
    autoarena a = ARENA_INIT;
    struct kit_monitor m = {.says = {GREETING, READY, CPUS("")}};
    static const char want[] = "{\"execute\":\"qmp_capabilities\",\"id\":\"qmp_capabilities\"}\n"
                               "{\"execute\":\"query-cpus-fast\",\"id\":\"query-cpus-fast\"}\n";

    kit_ask_monitor(&m, kit_in_place(&a, "q.sock"), LONG_MS, &a, NULL);
    cr_expect_str_eq(m.lines, want, "expected: %s\ngot:      %s", want, m.lines);
}

/* Single bytes, each in a packet of its own. */
Test(qmp, single_bytes)
{
    autoarena a = ARENA_INIT;
    struct kit_monitor m = {.says = {GREETING, EVENT READY, CPUS(CPU("@", "4"))}, .nap_us = 100};
    struct err e = ERR_INIT;
    const char *got = kit_ask_monitor(&m, kit_in_place(&a, "q.sock"), LONG_MS, &a, &e);

    cr_expect_str_eq(got, "@:4", "got: %s: %s", got, e.text);
}

/* The deadline is one for all: that something comes now and then does not move it. */
Test(qmp, trickle)
{
    autoarena a = ARENA_INIT;
    struct kit_monitor m = {.says = {GREETING GREETING GREETING, READY, ""}, .nap_us = 20000};
    struct err e = ERR_INIT;
    unsigned long long began = io_now_us(), ms;
    const char *got = kit_ask_monitor(&m, kit_in_place(&a, "q.sock"), SHORT_MS, &a, &e);

    ms = (io_now_us() - began) / 1000;
    cr_expect_str_eq(got, "ETIMEDOUT", "got: %s: %s", got, e.text);
    cr_expect(ms < SHORT_AT_MOST_MS, "took %llu ms", ms);
}

static char *repeat(struct arena *a, const char *head, const char *part, size_t times,
                    const char *tail)
{
    size_t len = strlen(part);
    char *text = arena_alloc(a, strlen(head) + times * len + strlen(tail) + 1), *p = text;

    p = stpcpy(p, head);
    for (size_t i = 0; i < times; i++)
        p = stpcpy(p, part);
    stpcpy(p, tail);
    return text;
}

/* What is short enough is read, what is longer is not; depth is no way around either. */
Test(qmp, sizes)
{
    static const struct {
        const char *head, *part;
        size_t bytes;
        const char *tail, *want, *text;
    } rows[] = {
        {"{\"event\":\"E\",\"data\":\"", "x", QMP_MESSAGE_MAX - 4096, "\"}" CPUS(CPU("@", "0")),
         "@:0", ""},
        {"", EVENT, 3 * QMP_MESSAGE_MAX, CPUS(CPU("@", "0")), "@:0", ""},
        {"", " ", 3 * QMP_MESSAGE_MAX, CPUS(CPU("@", "0")), "@:0", ""},
        {"{\"return\":[", " ", 2 * QMP_MESSAGE_MAX, "", "EPROTO", "longer than"},
        {"{\"return\":\"", "x", 2 * QMP_MESSAGE_MAX, "", "EPROTO", "longer than"},
        {"", "{\"a\":", QMP_MESSAGE_MAX + 65536, "", "EPROTO", "longer than"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        struct kit_monitor m = {
            .says = {GREETING, READY,
                     repeat(&a, rows[i].head, rows[i].part, rows[i].bytes / strlen(rows[i].part),
                            rows[i].tail)}};
        struct err e = ERR_INIT;
        const char *got = kit_ask_monitor(&m, kit_in_place(&a, "q.sock"), LONG_MS, &a, &e);

        cr_expect_str_eq(got, rows[i].want, "row %zu\nexpected: %s\ngot:      %s: %s", i,
                         rows[i].want, got, e.text);
        cr_expect(strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
    }
}

static void *flood(void *arg)
{
    const struct kit_monitor *m = arg;
    autofd fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);

    while (kit_say(m, fd, EVENT EVENT EVENT EVENT EVENT EVENT EVENT EVENT))
        ;
    return NULL;
}

Test(qmp, flood_of_events)
{
    autoarena a = ARENA_INIT;
    const char *path = kit_in_place(&a, "q.sock");
    struct kit_monitor m = {.listener = kit_listen_at(path)};
    struct err e = ERR_INIT;
    struct vcpu_kvm cpus;
    unsigned long long began = io_now_us(), ms;
    pthread_t thread;
    int r;

    cr_assert(m.listener >= 0);
    cr_assert_eq(pthread_create(&thread, NULL, flood, &m), 0);
    r = kit_query_socket(getpid(), path, SHORT_MS, &a, &cpus, &e);
    ms = (io_now_us() - began) / 1000;
    pthread_join(thread, NULL);
    close(m.listener);
    cr_expect_eq(r, -ETIMEDOUT, "got: %d %s", r, e.text);
    cr_expect(ms < SHORT_AT_MOST_MS, "took %llu ms", ms);
}

/* --- many CPUs --- */

#define MANY 512

struct crowd {
    pthread_t handles[MANY];
    pid_t tids[MANY];
    pthread_barrier_t ready;
    pthread_barrier_t done;
};

struct member {
    struct crowd *crowd;
    size_t number;
};

static void *stand_by(void *arg)
{
    struct member *m = arg;

    m->crowd->tids[m->number] = gettid();
    pthread_barrier_wait(&m->crowd->ready);
    pthread_barrier_wait(&m->crowd->done);
    return NULL;
}

Test(qmp, many_cpus)
{
    static struct crowd crowd;
    static struct member members[MANY];
    autoarena a = ARENA_INIT;
    autosbuf list = SBUF_INIT;
    struct kit_monitor m = {.says = {GREETING, READY, NULL}};
    struct vcpu_kvm cpus;
    struct err e = ERR_INIT;
    pthread_attr_t attr;
    pthread_t server;
    size_t wrong = 0;
    int r;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)128 << 10);
    pthread_barrier_init(&crowd.ready, NULL, MANY + 1);
    pthread_barrier_init(&crowd.done, NULL, MANY + 1);
    for (size_t i = 0; i < MANY; i++) {
        members[i] = (struct member){&crowd, i};
        cr_assert_eq(pthread_create(&crowd.handles[i], &attr, stand_by, &members[i]), 0);
    }
    pthread_barrier_wait(&crowd.ready);
    for (size_t i = MANY; i-- > 0;)
        sbuf_addf(&list, "%s" CPU("%d", "%zu"), list.len > 0 ? "," : "", (int)crowd.tids[i], i);
    m.says[2] = arena_printf(&a, CPUS("%s"), sbuf_text(&list));
    m.listener = kit_listen_at(kit_in_place(&a, "q.sock"));
    cr_assert(m.listener >= 0);
    cr_assert_eq(pthread_create(&server, NULL, kit_serve, &m), 0);
    r = kit_query_socket(getpid(), kit_in_place(&a, "q.sock"), LONG_MS, &a, &cpus, &e);
    pthread_join(server, NULL);
    close(m.listener);
    pthread_barrier_wait(&crowd.done);
    for (size_t i = 0; i < MANY; i++)
        pthread_join(crowd.handles[i], NULL);
    cr_assert_eq(r, 0, "%d %s", r, e.text);
    cr_expect_eq(cpus.count, MANY, "%zu CPUs", cpus.count);
    for (size_t i = 0; i < cpus.count; i++) {
        int index = cpus.items[i].index;

        wrong += index < 0 || index >= MANY || crowd.tids[index] != cpus.items[i].tid ||
                 (i > 0 && cpus.items[i - 1].tid >= cpus.items[i].tid);
    }
    cr_expect_eq(wrong, 0, "%zu of %zu are wrong or not in order", wrong, cpus.count);
}

/* --- the way to the socket --- */

Test(qmp, paths)
{
    autoarena a = ARENA_INIT;
    autofd top = open(kit_place, O_PATH | O_DIRECTORY | O_CLOEXEC), datagrams = FD_NONE;
    static const struct {
        const char *path, *want, *text;
    } rows[] = {
        {"none", "ENOENT", "cannot open it in the root"},
        {"file", "ENOTSOCK", "cannot open it in the root"},
        {".", "ENOTSOCK", ""},
        {"file/x", "ENOTDIR", ""},
        {"loop", "ELOOP", ""},
        {"dangling", "ENOENT", ""},
        {"datagrams", "EPROTOTYPE", "cannot connect"},
        {"dead", "ECONNREFUSED", "cannot connect"},
        /* a link that only the kernel can follow leads anywhere */
        {"magic", "ELOOP", ""},
        {"bad\x1b[2J", "ENOENT", "bad\\x1b[2J"},
    };
    struct vcpu_kvm cpus;

    datagrams = kit_bind_at(kit_in_place(&a, "datagrams"), SOCK_DGRAM);
    close(kit_listen_at(kit_in_place(&a, "dead")));
    close(openat(top, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    cr_assert(symlinkat("loop", top, "loop") == 0 && symlinkat("nowhere", top, "dangling") == 0 &&
              symlinkat(arena_printf(&a, "/proc/self/fd/%d", datagrams), top, "magic") == 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err e = ERR_INIT;
        const char *got = kit_cpus_text(
            &a, kit_query_socket(getpid(), kit_in_place(&a, rows[i].path), LONG_MS, &a, &cpus, &e),
            &cpus);

        cr_expect_str_eq(got, rows[i].want, "input:    %s\nexpected: %s\ngot:      %s: %s",
                         rows[i].path, rows[i].want, got, e.text);
        cr_expect(strstr(e.text, rows[i].text), "input:    %s\nexpected text: %s\ngot: %s",
                  rows[i].path, rows[i].text, e.text);
    }
}

/* Served where it is bound, asked for by another name. */
static const char *ask_by(const char *name, struct arena *a)
{
    struct kit_monitor m = {.says = {GREETING, READY, CPUS(CPU("@", "0"))}, .listener = FD_NONE};
    struct vcpu_kvm cpus;
    pthread_t thread;
    struct err e = ERR_INIT;
    int r;

    m.listener = kit_listen_at("q.sock");
    cr_assert(m.listener >= 0, "%d", errno);
    cr_assert_eq(pthread_create(&thread, NULL, kit_serve, &m), 0);
    r = kit_query_socket(getpid(), name, LONG_MS, a, &cpus, &e);
    shutdown(m.listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(m.listener);
    unlink("q.sock");
    return r < 0 ? arena_printf(a, "%s", e.text) : kit_cpus_text(a, r, &cpus);
}

Test(qmp, names_of_a_socket)
{
    autoarena a = ARENA_INIT;
    autofd top = open(kit_place, O_PATH | O_DIRECTORY | O_CLOEXEC), dir = FD_NONE;
    const char *names[5], *deep = repeat(&a, "", "a-component-of-a-long-path/", 8, "end"), *got;

    cr_assert_gt(strlen(deep), 2 * sizeof((struct sockaddr_un *)NULL)->sun_path);
    dir = io_mkdirs(top, deep, 0700);
    cr_assert(dir >= 0 && fchdir(dir) == 0);
    cr_assert(symlinkat(arena_printf(&a, "%s/q.sock", deep), top, "relative") == 0 &&
              symlinkat(arena_printf(&a, "%s/%s/q.sock", kit_place, deep), top, "absolute") == 0);
    names[0] = kit_in_place(&a, arena_printf(&a, "%s/q.sock", deep));
    names[1] = "q.sock";
    names[2] = "./../end//q.sock";
    names[3] = kit_in_place(&a, "relative");
    names[4] = kit_in_place(&a, "absolute");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        got = ask_by(names[i], &a);
        cr_expect_str_eq(got, "@:0", "input:    %s\nexpected: @:0\ngot:      %s", names[i], got);
    }
}

Test(qmp, process_has_gone)
{
    autoarena a = ARENA_INIT;
    struct vcpu_kvm cpus;
    struct err e = ERR_INIT;
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    cr_expect_eq(qmp_query_vcpus(pid, LONG_MS, &a, &cpus, &e), -ESRCH, "%s", e.text);
    cr_expect_eq(cpus.count, 0);
}

/* A zombie has no root and no command line. */
Test(qmp, zombie)
{
    autoarena a = ARENA_INIT;
    struct vcpu_kvm cpus;
    siginfo_t info;
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    cr_expect_lt(kit_query_socket(pid, "/x", LONG_MS, &a, &cpus, NULL), 0);
    cr_expect_eq(qmp_query_vcpus(pid, LONG_MS, &a, &cpus, NULL), -ENODATA);
    waitpid(pid, NULL, 0);
}

/* A queue of clients that is full holds up nobody longer than the deadline. */
Test(qmp, full_queue)
{
    autoarena a = ARENA_INIT;
    const char *path = kit_in_place(&a, "q.sock");
    autofd listener = kit_listen_at(path);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct vcpu_kvm cpus;
    struct err e = ERR_INIT;
    unsigned long long began, ms;
    int clients[8], r;

    cr_assert(listener >= 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        r = connect(clients[i], (const struct sockaddr *)&name, sizeof name);
    }
    cr_assert(r < 0 && errno == EAGAIN, "the queue is not full: %d", errno);
    began = io_now_us();
    r = kit_query_socket(getpid(), path, SHORT_MS, &a, &cpus, &e);
    ms = (io_now_us() - began) / 1000;
    cr_expect_eq(r, -ETIMEDOUT, "%d %s", r, e.text);
    cr_expect(strstr(e.text, "no connection"), "%s", e.text);
    cr_expect(ms >= SHORT_MS - 10 && ms < SHORT_AT_MOST_MS, "took %llu ms", ms);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        close(clients[i]);
}

/* A command line may name a socket of anybody. */
Test(qmp, socket_of_another_process)
{
    autoarena a = ARENA_INIT;
    const char *path = kit_in_place(&a, "q.sock");
    autofd listener = kit_listen_at(path);
    struct vcpu_kvm cpus;
    struct err e = ERR_INIT;
    autofd client = FD_NONE;
    char byte;
    pid_t pid = fork();
    int r;

    if (pid == 0) {
        pause();
        _exit(0);
    }
    r = kit_query_socket(pid, path, LONG_MS, &a, &cpus, &e);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_expect_eq(r, -EPERM, "%d %s", r, e.text);
    client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_expect_eq(read(client, &byte, 1), 0, "something was sent");
}
