/* SPDX-License-Identifier: Apache-2.0 */

/* QMP: QEMU's command line, and a monitor that may say, or not say, anything. */

#include "hook/vcpu/qmp.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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

/* What a query that must time out is given, and what a slow machine may make of it. */
#define SHORT_MS         200
#define SHORT_AT_MOST_MS (10 * SHORT_MS)
/* What a query that must not time out is given. */
#define LONG_MS 20000

/* --- the command line --- */

/* Arguments are separated by '|' here. Paths likewise in the result. */
static const struct {
    const char *cmdline, *want;
} cmdlines[] = {
    {"qemu|-qmp|unix:/run/q.sock,server=on,wait=off", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server,nowait", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,nowait,server", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server=yes", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server=true", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,server=y", "/run/q.sock"},
    {"qemu|-qmp|unix:/run/q.sock,,server=on,server=on", "/run/q.sock,server=on"},
    {"qemu|--qmp|unix:/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|-qmp-pretty|unix:/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|--qmp-pretty|unix:/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|-qmp|unix:path=/run/q.sock,server=on", "/run/q.sock"},
    {"qemu|-qmp|unix:q.sock,server=on", "q.sock"},
    {"qemu|-qmp|unix:./a/../q.sock,server=on", "./a/../q.sock"},
    /* commas in values */
    {"qemu|-qmp|unix:/run/a,,b.sock,server=on", "/run/a,b.sock"},
    {"qemu|-qmp|unix:/run/a,,,,b.sock,server=on", "/run/a,,b.sock"},
    {"qemu|-qmp|unix:/run/a,,,server=on", "/run/a,"},
    {"qemu|-qmp|unix:,,,server=on", ","},
    {"qemu|-qmp|unix:path=a,,b=c,server=on", "a,b=c"},
    {"qemu|-qmp|unix:/run/a,,b=c,server=on", "/run/a,b=c"},
    /* the last one counts */
    {"qemu|-qmp|unix:/a,server=off,server=on", "/a"},
    {"qemu|-qmp|unix:/a,server=on,server=off", ""},
    {"qemu|-qmp|unix:/a,server=on,noserver", ""},
    {"qemu|-qmp|unix:/a,server=on,path=/b", "/b"},
    /* not a server, not a path, not plain */
    {"qemu|-qmp|unix:/run/q.sock", ""},
    {"qemu|-qmp|unix:/run/q.sock,server=off", ""},
    {"qemu|-qmp|unix:/run/q.sock,server=1", ""},
    {"qemu|-qmp|unix:/run/q.sock,wait=off", ""},
    {"qemu|-qmp|unix:fd=3,server=on,wait=off", ""},
    {"qemu|-qmp|unix:/a,fd=3,server=on", ""},
    {"qemu|-qmp|unix:/a,server=on,abstract=on", ""},
    {"qemu|-qmp|unix:/a,server=on,abstract", ""},
    {"qemu|-qmp|unix:/a,server=on,abstract=off", "/a"},
    {"qemu|-qmp|unix:/a,server=on,telnet=on", ""},
    {"qemu|-qmp|unix:/a,server=on,websocket=on", ""},
    {"qemu|-qmp|unix:/a,server=on,tn3270", ""},
    {"qemu|-qmp|unix:/a,server=on,tls-creds=t", ""},
    {"qemu|-qmp|unix:/run/a=b,server=on", ""},
    {"qemu|-qmp|unix:", ""},
    {"qemu|-qmp|unix:,server=on", ""},
    {"qemu|-qmp|unix:path=,server=on", ""},
    {"qemu|-qmp|tcp:localhost:4444,server=on", ""},
    {"qemu|-qmp|stdio", ""},
    {"qemu|-qmp|/run/q.sock,server=on", ""},
    {"qemu|-qmp|", ""},
    {"qemu|-qmp", ""},
    {"qemu|-monitor|unix:/run/q.sock,server=on", ""},
    {"qemu|-serial|unix:/run/q.sock,server=on", ""},
    {"qemu|qmp|unix:/run/q.sock,server=on", ""},
    {"qemu|---qmp|unix:/run/q.sock,server=on", ""},
    {"qemu|-qmpx|unix:/run/q.sock,server=on", ""},
    {"qemu|-qm|unix:/run/q.sock,server=on", ""},
    {"qemu|-|--", ""},
    {"qemu", ""},
    {"", ""},
    {"|", ""},
    {"||||", ""},
    /* -mon */
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|chardev=m,mode=control", "/m"},
    {"qemu|-chardev|socket,id=m,path=/m,server=on,wait=off|-mon|m,mode=control", "/m"},
    {"qemu|--chardev|socket,id=m,path=/m,server|--mon|m,mode=control,pretty=on", "/m"},
    {"qemu|-mon|mode=control,chardev=m|-chardev|socket,id=m,path=/m,server=on", "/m"},
    {"qemu|-chardev|backend=socket,id=m,path=/a,,b,server=on|-mon|m,mode=control", "/a,b"},
    {"qemu|-chardev|socket,id=a,,b,path=/m,server=on|-mon|a,,b,mode=control", "/m"},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-qmp|chardev:m", "/m"},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|m", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|m,mode=readline", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|m,mode=control,mode=readline", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|mm,mode=control", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|mode=control", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on|-qmp|chardev:", ""},
    {"qemu|-chardev|socket,id=m,path=/m,server=on", ""},
    {"qemu|-chardev|socket,id=m,path=/m|-mon|m,mode=control", ""},
    {"qemu|-chardev|socket,id=m,fd=31,server=on,wait=off|-mon|m,mode=control", ""},
    {"qemu|-chardev|socket,id=m,host=h,port=1,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|socket,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|pipe,id=m,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|file,id=m,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-chardev|id=m,path=/m,server=on|-mon|m,mode=control", ""},
    {"qemu|-mon|m,mode=control|-chardev", ""},
    /* several */
    {"qemu|-qmp|unix:/1,server=on|-qmp|unix:/2,server=on", "/1|/2"},
    {"qemu|-chardev|socket,id=b,path=/2,server=on|-qmp|unix:/1,server=on|-mon|b,mode=control|"
     "-qmp|unix:fd=4,server=on|-qmp-pretty|unix:/3,server=on",
     "/1|/2|/3"},
    {"qemu|-mon|b,mode=control|-mon|a,mode=control|-chardev|socket,id=a,path=/a,server=on|"
     "-chardev|socket,id=b,path=/b,server=on",
     "/b|/a"},
    {"qemu|-name|x,debug-threads=on|-smp|2|-append|a -qmp unix:/no,server=on|-qmp|"
     "unix:/yes,server=on|-S",
     "/yes"},
};

static char *find(struct arena *a, const char *cmdline, bool ended)
{
    size_t len = strlen(cmdline);
    char *text = arena_strndup(a, cmdline, len), *got = arena_strdup(a, "");
    struct qmp_sockets sockets;

    for (size_t i = 0; i < len; i++)
        text[i] = text[i] == '|' ? '\0' : text[i];
    qmp_find_sockets(text, len + (ended && len > 0), a, &sockets);
    for (size_t i = 0; i < sockets.count; i++)
        got = arena_printf(a, "%s%s%s", got, i > 0 ? "|" : "", sockets.items[i]);
    return got;
}

Test(qmp, find_sockets)
{
    for (size_t i = 0; i < ARRAY_SIZE(cmdlines); i++) {
        for (int ended = 0; ended < 2; ended++) {
            autoarena a = ARENA_INIT;
            const char *got = find(&a, cmdlines[i].cmdline, ended);

            cr_expect_str_eq(got, cmdlines[i].want, "input:    %s%s\nexpected: %s\ngot:      %s",
                             cmdlines[i].cmdline, ended ? "" : " (without the last NUL)",
                             cmdlines[i].want, got);
        }
    }
}

/* Hostile lengths cost time and memory that grow no faster than they do. */
Test(qmp, find_sockets_long)
{
    static const char *const parts[] = {
        "-qmp|unix:/x,server=on|",
        "-mon|m,mode=control|",
        "-chardev|socket,id=n,path=/n,server=on|",
        ",",
        "a,",
        "=,",
        "-qmp|unix:a=,",
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        autoarena a = ARENA_INIT;
        autosbuf text = SBUF_INIT;
        struct qmp_sockets sockets;
        unsigned long long began = io_now_us();

        sbuf_addf(&text, "qemu|-qmp|unix:");
        while (text.len < QMP_CMDLINE_MAX)
            sbuf_addf(&text, "%s", parts[i]);
        for (size_t k = 0; k < text.len; k++)
            text.text[k] = text.text[k] == '|' ? '\0' : text.text[k];
        qmp_find_sockets(text.text, text.len, &a, &sockets);
        cr_expect_eq(sockets.count, i == 0 ? QMP_SOCKETS_MAX : 0, "%s: %zu sockets", parts[i],
                     sockets.count);
        cr_expect(io_now_us() - began < 10000000, "%s: took %llu us", parts[i],
                  io_now_us() - began);
    }
}

/* --- ids in pid namespaces --- */

static const struct {
    const char *status;
    int want;
} statuses[] = {
    {"Name:\tx\nNSpid:\t12\nNSpgid:\t1\n", 12},
    {"Name:\tx\nNSpid:\t12\t3\nNSpgid:\t1\n", 3},
    {"Name:\tx\nNSpid:\t1234\t56\t789\nNSpgid:\t1\n", 789},
    {"Name:\tx\nNSpid:\t12\t3", 3},
    {"Name:\tx\nNSpid:\t2147483647\n", 2147483647},
    {"Name:\tx\nNSpid:\t2147483648\n", 0},
    {"Name:\tx\nNSpid:\t99999999999999999999999\n", 0},
    {"Name:\tx\nNSpid:\t\n", 0},
    {"Name:\tx\nNSpid:\n", 0},
    {"Name:\tx\nNSpid:\tx\n", 0},
    {"Name:\tNSpid:\t7\nNSpid:\t8\n", 8},
    {"Name:\tx\\nNSpid:\t7\nPid:\t5\n", 0},
    {"Name:\tx\nPid:\t5\n", 0},
    {"", 0},
};

Test(qmp, inner_tid)
{
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        int got = (int)qmp_inner_tid(statuses[i].status);

        cr_expect_eq(got, statuses[i].want, "input:    %s\nexpected: %d\ngot:      %d",
                     statuses[i].status, statuses[i].want, got);
    }
}

/* --- a place for sockets --- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static char place[64];

static void make_place(void)
{
    snprintf(place, sizeof place, "/tmp/osc-unit-qmp-XXXXXX");
    cr_assert(mkdtemp(place));
}

static void remove_place(void)
{
    nftw(place, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(qmp, .init = make_place, .fini = remove_place);

static const char *in_place(struct arena *a, const char *name)
{
    return arena_printf(a, "%s/%s", place, name);
}

/* -1 and errno, for use in children as well. */
static int bind_at(const char *path, int type)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    autofd fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&name, sizeof name) < 0)
        return -1;
    return fd_take(&fd);
}

static int listen_at(const char *path)
{
    int fd = bind_at(path, SOCK_STREAM);

    if (fd >= 0 && listen(fd, 1) < 0)
        fd_close(&fd);
    return fd;
}

/* --- a monitor that says what it is told --- */

#define GREETING        "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[\"oob\"]}}\r\n"
#define READY           "{\"return\":{},\"id\":\"qmp_capabilities\"}\r\n"
#define CPU(tid, index) "{\"thread-id\":" tid ",\"cpu-index\":" index "}"
#define CPUS(list)      "{\"return\":[" list "],\"id\":\"query-cpus-fast\"}\r\n"
#define EVENT           "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,\"microseconds\":2.5}}\r\n"

#define TIMES_8(s) s s s s s s s s
#define DEEP       TIMES_8(TIMES_8("[") "[") TIMES_8("]" TIMES_8("]"))

struct monitor {
    /* NULL: silent until the client goes; "": closes. "@" is our process id. */
    const char *says[3]; /* at once, after a first and a second line from the client */
    unsigned nap_us;     /* between single bytes; 0: all at once */
    int listener;
    unsigned heard; /* lines */
    char lines[256];
};

static bool say(const struct monitor *m, int fd, const char *text)
{
    for (; *text; text++) {
        char bytes[16];
        int len = *text == '@' ? snprintf(bytes, sizeof bytes, "%d", (int)getpid())
                               : snprintf(bytes, sizeof bytes, "%c", *text);
        const char *end = strchrnul(text, '@');

        if (m->nap_us == 0 && end > text) {
            if (send(fd, text, (size_t)(end - text), MSG_NOSIGNAL) != end - text)
                return false;
            text = end - 1;
            continue;
        }
        if (send(fd, bytes, (size_t)len, MSG_NOSIGNAL) != len)
            return false;
        if (m->nap_us > 0)
            usleep(m->nap_us);
    }
    return true;
}

static bool hear(struct monitor *m, int fd)
{
    size_t len = strlen(m->lines);
    char c;

    while (read(fd, &c, 1) == 1) {
        if (len + 1 < sizeof m->lines)
            m->lines[len++] = c;
        if (c == '\n') {
            m->heard++;
            return true;
        }
    }
    return false;
}

static void *serve(void *arg)
{
    struct monitor *m = arg;
    autofd fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);

    for (size_t i = 0; i < ARRAY_SIZE(m->says); i++) {
        if (m->says[i] && (str_empty(m->says[i]) || !say(m, fd, m->says[i])))
            return NULL;
        if (!m->says[i])
            break;
        if (i + 1 < ARRAY_SIZE(m->says) && !hear(m, fd))
            return NULL;
    }
    while (hear(m, fd))
        ;
    return NULL;
}

/* "tid:index ..." with "@" for our process id, or "ENAME". */
static const char *shown(struct arena *a, int r, const struct vcpu_kvm *cpus)
{
    const char *text = "";

    if (r < 0)
        return strerrorname_np(-r);
    for (size_t i = 0; i < cpus->count; i++) {
        const struct vcpu_kvm_thread *t = &cpus->items[i];

        text = t->tid == getpid()
                   ? arena_printf(a, "%s%s@:%d", text, i > 0 ? " " : "", t->index)
                   : arena_printf(a, "%s%s%d:%d", text, i > 0 ? " " : "", (int)t->tid, t->index);
    }
    return text;
}

/* Ask our own process, whose monitor is @m at @path. */
static const char *ask(struct monitor *m, const char *path, int timeout_ms, struct arena *a,
                       struct err *e)
{
    pthread_t thread;
    struct vcpu_kvm cpus;
    int r;

    m->listener = listen_at(path);
    cr_assert(m->listener >= 0, "%s: %d", path, errno);
    cr_assert_eq(pthread_create(&thread, NULL, serve, m), 0);
    memset(&cpus, 0x5a, sizeof cpus);
    r = qmp_query_socket(getpid(), path, timeout_ms, a, &cpus, e);
    shutdown(m->listener, SHUT_RDWR); /* should nobody have come */
    pthread_join(thread, NULL);
    close(m->listener);
    unlink(path);
    cr_expect(r == 0 || cpus.count == 0, "a failure with %zu CPUs", cpus.count);
    return shown(a, r, &cpus);
}

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
        struct monitor m = {.says = {talks[i].says[0], talks[i].says[1], talks[i].says[2]}};
        bool slow = str_eq(talks[i].want, "ETIMEDOUT");
        struct err e = ERR_INIT;
        unsigned long long began = io_now_us(), ms;
        const char *got = ask(&m, in_place(&a, "q.sock"), slow ? SHORT_MS : LONG_MS, &a, &e);

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
    struct monitor m = {.says = {GREETING, READY, CPUS("")}};
    static const char want[] = "{\"execute\":\"qmp_capabilities\",\"id\":\"qmp_capabilities\"}\n"
                               "{\"execute\":\"query-cpus-fast\",\"id\":\"query-cpus-fast\"}\n";

    ask(&m, in_place(&a, "q.sock"), LONG_MS, &a, NULL);
    cr_expect_str_eq(m.lines, want, "expected: %s\ngot:      %s", want, m.lines);
}

/* Single bytes, each in a packet of its own. */
Test(qmp, single_bytes)
{
    autoarena a = ARENA_INIT;
    struct monitor m = {.says = {GREETING, EVENT READY, CPUS(CPU("@", "4"))}, .nap_us = 100};
    struct err e = ERR_INIT;
    const char *got = ask(&m, in_place(&a, "q.sock"), LONG_MS, &a, &e);

    cr_expect_str_eq(got, "@:4", "got: %s: %s", got, e.text);
}

/* The deadline is one for all: that something comes now and then does not move it. */
Test(qmp, trickle)
{
    autoarena a = ARENA_INIT;
    struct monitor m = {.says = {GREETING GREETING GREETING, READY, ""}, .nap_us = 20000};
    struct err e = ERR_INIT;
    unsigned long long began = io_now_us(), ms;
    const char *got = ask(&m, in_place(&a, "q.sock"), SHORT_MS, &a, &e);

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
        struct monitor m = {.says = {GREETING, READY,
                                     repeat(&a, rows[i].head, rows[i].part,
                                            rows[i].bytes / strlen(rows[i].part), rows[i].tail)}};
        struct err e = ERR_INIT;
        const char *got = ask(&m, in_place(&a, "q.sock"), LONG_MS, &a, &e);

        cr_expect_str_eq(got, rows[i].want, "row %zu\nexpected: %s\ngot:      %s: %s", i,
                         rows[i].want, got, e.text);
        cr_expect(strstr(e.text, rows[i].text), "row %zu: %s", i, e.text);
    }
}

static void *flood(void *arg)
{
    const struct monitor *m = arg;
    autofd fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC);

    while (say(m, fd, EVENT EVENT EVENT EVENT EVENT EVENT EVENT EVENT))
        ;
    return NULL;
}

Test(qmp, flood_of_events)
{
    autoarena a = ARENA_INIT;
    const char *path = in_place(&a, "q.sock");
    struct monitor m = {.listener = listen_at(path)};
    struct err e = ERR_INIT;
    struct vcpu_kvm cpus;
    unsigned long long began = io_now_us(), ms;
    pthread_t thread;
    int r;

    cr_assert(m.listener >= 0);
    cr_assert_eq(pthread_create(&thread, NULL, flood, &m), 0);
    r = qmp_query_socket(getpid(), path, SHORT_MS, &a, &cpus, &e);
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
    struct monitor m = {.says = {GREETING, READY, NULL}};
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
    m.listener = listen_at(in_place(&a, "q.sock"));
    cr_assert(m.listener >= 0);
    cr_assert_eq(pthread_create(&server, NULL, serve, &m), 0);
    r = qmp_query_socket(getpid(), in_place(&a, "q.sock"), LONG_MS, &a, &cpus, &e);
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
    autofd top = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC), datagrams = FD_NONE;
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

    datagrams = bind_at(in_place(&a, "datagrams"), SOCK_DGRAM);
    close(listen_at(in_place(&a, "dead")));
    close(openat(top, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    cr_assert(symlinkat("loop", top, "loop") == 0 && symlinkat("nowhere", top, "dangling") == 0 &&
              symlinkat(arena_printf(&a, "/proc/self/fd/%d", datagrams), top, "magic") == 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err e = ERR_INIT;
        const char *got = shown(
            &a, qmp_query_socket(getpid(), in_place(&a, rows[i].path), LONG_MS, &a, &cpus, &e),
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
    struct monitor m = {.says = {GREETING, READY, CPUS(CPU("@", "0"))}, .listener = FD_NONE};
    struct vcpu_kvm cpus;
    pthread_t thread;
    struct err e = ERR_INIT;
    int r;

    m.listener = listen_at("q.sock");
    cr_assert(m.listener >= 0, "%d", errno);
    cr_assert_eq(pthread_create(&thread, NULL, serve, &m), 0);
    r = qmp_query_socket(getpid(), name, LONG_MS, a, &cpus, &e);
    shutdown(m.listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(m.listener);
    unlink("q.sock");
    return r < 0 ? arena_printf(a, "%s", e.text) : shown(a, r, &cpus);
}

Test(qmp, names_of_a_socket)
{
    autoarena a = ARENA_INIT;
    autofd top = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC), dir = FD_NONE;
    const char *names[5], *deep = repeat(&a, "", "a-component-of-a-long-path/", 8, "end"), *got;

    cr_assert_gt(strlen(deep), 2 * sizeof((struct sockaddr_un *)NULL)->sun_path);
    dir = io_mkdirs(top, deep, 0700);
    cr_assert(dir >= 0 && fchdir(dir) == 0);
    cr_assert(symlinkat(arena_printf(&a, "%s/q.sock", deep), top, "relative") == 0 &&
              symlinkat(arena_printf(&a, "%s/%s/q.sock", place, deep), top, "absolute") == 0);
    names[0] = in_place(&a, arena_printf(&a, "%s/q.sock", deep));
    names[1] = "q.sock";
    names[2] = "./../end//q.sock";
    names[3] = in_place(&a, "relative");
    names[4] = in_place(&a, "absolute");
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
    cr_expect_eq(qmp_query_socket(pid, "/x", LONG_MS, &a, &cpus, &e), -ESRCH, "%s", e.text);
    err_reset(&e);
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
    cr_expect_lt(qmp_query_socket(pid, "/x", LONG_MS, &a, &cpus, NULL), 0);
    cr_expect_eq(qmp_query_vcpus(pid, LONG_MS, &a, &cpus, NULL), -ENODATA);
    waitpid(pid, NULL, 0);
}

/* A queue of clients that is full holds up nobody longer than the deadline. */
Test(qmp, full_queue)
{
    autoarena a = ARENA_INIT;
    const char *path = in_place(&a, "q.sock");
    autofd listener = listen_at(path);
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
    r = qmp_query_socket(getpid(), path, SHORT_MS, &a, &cpus, &e);
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
    const char *path = in_place(&a, "q.sock");
    autofd listener = listen_at(path);
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
    r = qmp_query_socket(pid, path, LONG_MS, &a, &cpus, &e);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_expect_eq(r, -EPERM, "%d %s", r, e.text);
    client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_expect_eq(read(client, &byte, 1), 0, "something was sent");
}

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
        serve(arg);
    return NULL;
}

/*
 * A process in a chroot, with a monitor inside and a socket outside, both its own, so that only the
 * root stands between us and the outer one.
 */
static _Noreturn void run_jail(const struct stage *s, const char *cwd)
{
    static struct monitor inside = {.says = {GREETING, READY, CPUS(CPU("@", "0"))}};
    struct pollfd fds[2] = {{.fd = s->keep[0], .events = POLLIN}, {.events = POLLIN}};
    pthread_t thread;

    close(s->keep[1]);
    fds[1].fd = listen_at("out.sock");
    inside.listener = listen_at("jail/in.sock");
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
    r = qmp_query_socket(s.pid, jail_rows[row].path, LONG_MS, a, &cpus, NULL);
    status = stage_end(&s);
    cr_expect_eq(status, 0, "input:    %s\n%s", jail_rows[row].path,
                 status == SOMEBODY_CAME ? "the socket outside was reached" : "the jail failed");
    if (r == 0)
        return cpus.count == 1 && cpus.items[0].tid == s.pid ? "1" : "another thread";
    return shown(a, r, &cpus);
}

Test(qmp, stays_in_the_root)
{
    autoarena a = ARENA_INIT;
    const char *out = in_place(&a, "out.sock");

    cr_assert_eq(chdir(place), 0);
    cr_assert(mkdir("jail", 0700) == 0 && mkdir("jail/sub", 0700) == 0 &&
              symlink("in.sock", "jail/to-in") == 0 && symlink(out, "jail/absolute") == 0 &&
              symlink(place, "jail/directory") == 0 &&
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
Test(qmp, old_kernel)
{
    static const unsigned codes[] = {ENOSYS, EPERM};
    autoarena a = ARENA_INIT;
    const char *path = in_place(&a, "q.sock");
    autofd listener = listen_at(path);
    struct pollfd pfd = {.fd = listener, .events = POLLIN};

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
        r = qmp_query_socket(getpid(), path, LONG_MS, &a, &cpus, &e);
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
    struct monitor m = {.says = {GREETING, READY, NULL}, .listener = listen_at(path)};
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
    serve(&m);
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

Test(qmp, pid_namespace)
{
    autoarena a = ARENA_INIT;
    const char *path = in_place(&a, "q.sock");
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
    r = qmp_query_socket(inner, path, LONG_MS, &a, &cpus, &e);
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

Test(qmp, command_line_of_a_process)
{
    for (size_t i = 0; i < ARRAY_SIZE(processes); i++) {
        autoarena a = ARENA_INIT;
        autofd mute = listen_at(in_place(&a, "mute"));
        struct monitor m = {.says = {GREETING, READY, CPUS(CPU("@", "0"))},
                            .listener = listen_at(in_place(&a, "q.sock"))};
        autosbuf cmdline = SBUF_INIT;
        struct vcpu_kvm cpus;
        struct err e = ERR_INIT;
        unsigned long long began, ms;
        pthread_t thread;
        const char *got;

        cr_assert(mute >= 0);
        for (const char *p = processes[i].cmdline; *p; p++)
            sbuf_addf(&cmdline, *p == '$' ? "%s" : "%.1s", *p == '$' ? place : p);
        if (!set_cmdline(sbuf_text(&cmdline)))
            cr_skip_test("prctl(PR_SET_MM_MAP) does not work here: %s", strerrorname_np(errno));
        cr_assert_eq(pthread_create(&thread, NULL, serve, &m), 0);
        began = io_now_us();
        got = shown(&a, qmp_query_vcpus(getpid(), 3 * SHORT_MS, &a, &cpus, &e), &cpus);
        ms = (io_now_us() - began) / 1000;
        shutdown(m.listener, SHUT_RDWR);
        pthread_join(thread, NULL);
        close(m.listener);
        unlink(in_place(&a, "q.sock"));
        unlink(in_place(&a, "mute"));
        cr_expect_str_eq(got, processes[i].want, "input:    %s\nexpected: %s\ngot:      %s: %s",
                         processes[i].cmdline, processes[i].want, got, e.text);
        cr_expect(strstr(e.text, processes[i].text), "input:    %s\ngot:      %s",
                  processes[i].cmdline, e.text);
        cr_expect(ms < 3 * SHORT_AT_MOST_MS, "input:    %s\ntook %llu ms", processes[i].cmdline,
                  ms);
    }
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
    const char *path = in_place(&a, "q,m,p.sock");
    pid_t pid =
        start_qemu(arena_printf(&a, "unix:%s/q,,m,,p.sock,server=on,wait=off", place), flag);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    autofd other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned long long began, ms;
    struct vcpu_kvm cpus, none;
    struct err e = ERR_INIT;
    char byte;
    int r, busy;

    if (!wait_for_socket(path, pid))
        cr_skip_test("there is no qemu-system-x86_64 that starts here");
    r = qmp_query_vcpus(pid, LONG_MS, &a, &cpus, &e);
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

Test(qmp, qemu)
{
    check_qemu("-qmp");
}

Test(qmp, qemu_pretty)
{
    check_qemu("-qmp-pretty");
}
