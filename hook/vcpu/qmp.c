/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/vcpu/qmp.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* Of one thread: a process may have 65536 supplementary groups in there. */
#define STATUS_MAX ((size_t)1 << 20)
#define CHUNK      ((size_t)16 << 10)

/* --- the VMM's root and its socket --- */

/* The VMM as far as asking goes: by a descriptor of /proc/PID, which cannot become another's. */
struct vmm {
    pid_t pid;
    int proc;
    char shown[300]; /* the socket's path, for messages */
    int timeout_ms;
    unsigned long long deadline_us;
};

/* Links, absolute ones too, and ".." stay within @root. */
static int open_in_root(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

    /* EAGAIN: a rename or mount raced with the walk, and the kernel asks to try again. */
    for (int tries = 0; tries < 16; tries++) {
        long fd = syscall(SYS_openat2, root, path, &how, sizeof how);

        if (fd >= 0)
            return (int)fd;
        if (errno == EPERM) /* a seccomp filter that does not know the call */
            return -ENOSYS;
        if (errno != EAGAIN)
            return -errno;
    }
    return -EAGAIN;
}

static int read_link(int dirfd, const char *name, char buf[static PATH_MAX])
{
    ssize_t n = readlinkat(dirfd, name, buf, PATH_MAX);

    if (n < 0)
        return -errno;
    if (n == PATH_MAX)
        return -ENAMETOOLONG;
    buf[n] = '\0';
    return 0;
}

/*
 * The working directory as seen from the root. The texts of the two links are only a guess of where
 * that is; what is found there must be the same directory.
 */
static int find_cwd(int proc, int root, char ret[static PATH_MAX])
{
    autofd dir = FD_NONE;
    char top[PATH_MAX];
    struct stat want, got;
    size_t len;
    int r = read_link(proc, "root", top);

    if (r == 0)
        r = read_link(proc, "cwd", ret);
    if (r != 0)
        return r;
    len = str_eq(top, "/") ? 0 : strlen(top);
    if (strncmp(top, ret, len) != 0 || (ret[len] != '/' && ret[len] != '\0'))
        return -EXDEV;
    memmove(ret, ret + len, strlen(ret + len) + 1);
    dir = open_in_root(root, *ret ? ret : "/", O_PATH | O_DIRECTORY);
    if (dir == -ENOSYS)
        return dir;
    if (dir < 0 || fstat(dir, &got) < 0 || fstatat(proc, "cwd", &want, 0) < 0 ||
        got.st_dev != want.st_dev || got.st_ino != want.st_ino)
        return -EXDEV;
    return 0;
}

/* The socket file as an O_PATH descriptor. */
static int open_socket(const struct vmm *vmm, const char *path)
{
    autofd root = openat(vmm->proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = FD_NONE;
    autosbuf full = SBUF_INIT;
    struct stat st;

    if (root < 0)
        return -errno;
    if (path[0] != '/') {
        char cwd[PATH_MAX];
        int r = find_cwd(vmm->proc, root, cwd);

        if (r < 0)
            return r;
        sbuf_addf(&full, "%s/", cwd);
    }
    sbuf_addf(&full, "%s", path);
    fd = open_in_root(root, sbuf_text(&full), O_PATH);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISSOCK(st.st_mode) ? fd_take(&fd) : -ENOTSOCK;
}

static int left_ms(const struct vmm *vmm)
{
    unsigned long long now = io_now_us();

    return now >= vmm->deadline_us ? 0 : (int)((vmm->deadline_us - now + 999) / 1000);
}

static int timed_out(const struct vmm *vmm, const char *what, struct err *e)
{
    return err_set(e, -ETIMEDOUT, "%s: %s within %d ms", vmm->shown, what, vmm->timeout_ms);
}

/* A connect(2) that waits for room in the listener's queue waits as long as a send may. */
static int limit_connect(int fd, int ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0 ? -errno : 0;
}

/*
 * Connect to the socket that the descriptor is of, not to what has its name by now, and whatever
 * the length of that.
 */
static int connect_socket(const struct vmm *vmm, int path_fd, struct err *e)
{
    autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t len = sizeof peer;
    int r;

    if (fd < 0)
        return err_sys(e, -errno, "cannot make a socket");
    snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d", path_fd);
    do {
        int ms = left_ms(vmm);

        if (ms == 0)
            return timed_out(vmm, "no connection", e);
        r = limit_connect(fd, ms);
        if (r == 0 && connect(fd, (const struct sockaddr *)&name, sizeof name) < 0)
            r = -errno;
    } while (r == -EINTR || r == -EAGAIN);
    if (r < 0)
        return err_sys(e, r, "%s: cannot connect", vmm->shown);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return err_sys(e, -errno, "%s: cannot see who listens", vmm->shown);
    if (peer.pid != vmm->pid)
        return err_set(e, -EPERM, "%s: process %d listens on it, expected %d", vmm->shown,
                       (int)peer.pid, (int)vmm->pid);
    return fd_take(&fd);
}

/* --- the conversation --- */

struct session {
    const struct vmm *vmm;
    int fd;
    struct err *err;
    struct sbuf in;
    size_t begin;   /* of the message that is not complete yet, in the buffer */
    size_t scanned; /* so far brackets were counted */
    size_t depth;
    bool in_string, escaped;
};

/*
 * Find the message's end by its brackets: a pretty-printing monitor spreads one over many lines.
 * Whether they match is for the parser to see. 1: complete up to `scanned`; 0: not yet; -EPROTO.
 */
static int scan_message(struct session *s)
{
    while (s->scanned < s->in.len) {
        char c = s->in.text[s->scanned++];

        if (s->in_string) {
            s->in_string = s->escaped || c != '"';
            s->escaped = c == '\\' && !s->escaped;
        } else if (c == '{' || c == '[') {
            s->depth++;
        } else if (s->depth == 0) {
            if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
                return err_set(s->err, -EPROTO, "%s: no QMP", s->vmm->shown);
            s->begin = s->scanned;
        } else if (c == '"') {
            s->in_string = true;
        } else if ((c == '}' || c == ']') && --s->depth == 0) {
            return 1;
        }
    }
    if (s->in.len - s->begin > QMP_MESSAGE_MAX)
        return err_set(s->err, -EPROTO, "%s: a message is longer than %zu bytes", s->vmm->shown,
                       QMP_MESSAGE_MAX);
    return 0;
}

/* Append what has come, after waiting for it. @what: names in a message what did not come. */
static int receive(struct session *s, const char *what)
{
    struct pollfd pfd = {.fd = s->fd, .events = POLLIN};
    char chunk[CHUNK];
    ssize_t n;

    /* Space that complete messages have left. */
    if (s->begin > 0) {
        s->in.len -= s->begin;
        s->scanned -= s->begin;
        memmove(s->in.text, s->in.text + s->begin, s->in.len);
        s->begin = 0;
    }
    if (poll(&pfd, 1, left_ms(s->vmm)) < 0 && errno != EINTR)
        return err_sys(s->err, -errno, "%s: cannot wait", s->vmm->shown);
    n = recv(s->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        return err_sys(s->err, -EPROTO, "%s: cannot read", s->vmm->shown);
    if (n == 0)
        return err_set(s->err, -EPROTO, "%s: closed before %s", s->vmm->shown, what);
    sbuf_add(&s->in, chunk, (size_t)n);
    return 0;
}

/* A complete message, valid until the next call. */
static int next_message(struct session *s, const char *what, const char **ret_text, size_t *ret_len)
{
    for (;;) {
        int r = scan_message(s);

        if (r < 0)
            return r;
        if (r == 1) {
            *ret_text = s->in.text + s->begin;
            *ret_len = s->scanned - s->begin;
            s->begin = s->scanned;
            return 0;
        }
        /* Also when bytes keep coming. */
        if (left_ms(s->vmm) == 0) {
            char missing[64];

            snprintf(missing, sizeof missing, "no %s", what);
            return timed_out(s->vmm, missing, s->err);
        }
        r = receive(s, what);
        if (r < 0)
            return r;
    }
}

struct cpu {
    struct json_i64 index, thread_id;
};
struct failure {
    char *class, *desc;
};
struct present {
    char unused;
};
struct message {
    struct present *greeting;
    char *event, *id;
    struct failure *failure;
    struct json_list cpus;
};

static const struct json_table present_table = {.size = sizeof(struct present)};

static const struct json_field cpu_fields[] = {
    JSON_F_I64("cpu-index", struct cpu, index, 0, INT_MAX),
    JSON_F_I64("thread-id", struct cpu, thread_id, 0, INT_MAX),
};
static const struct json_table cpu_table = JSON_TABLE(cpu_fields, struct cpu);

static const struct json_field failure_fields[] = {
    JSON_F_STRING("class", struct failure, class),
    JSON_F_STRING("desc", struct failure, desc),
};
static const struct json_table failure_table = JSON_TABLE(failure_fields, struct failure);

static const struct json_field message_fields[] = {
    JSON_F_OBJECT("QMP", struct message, greeting, &present_table),
    JSON_F_STRING("event", struct message, event),
    JSON_F_STRING("id", struct message, id),
    JSON_F_OBJECT("error", struct message, failure, &failure_table),
    JSON_F_OBJECT_LIST("return", struct message, cpus, &cpu_table),
};
/* Without "return", which is a list only in the answer to query-cpus-fast. */
static const struct json_table other_table = {
    .fields = message_fields,
    .count = ARRAY_SIZE(message_fields) - 1,
    .size = sizeof(struct message),
};
static const struct json_table cpus_table = JSON_TABLE(message_fields, struct message);

/* The next message that is no event, in @a. */
static int read_message(struct session *s, const struct json_table *table, const char *what,
                        struct arena *a, struct message *ret)
{
    for (;;) {
        const struct json_doc doc = {.table = table, .dest = ret, .name = NULL};
        struct err own = ERR_INIT;
        const char *text = NULL;
        size_t len = 0;
        int r = next_message(s, what, &text, &len);

        if (r < 0)
            return r;
        *ret = (struct message){0};
        r = json_read_text(text, len, &doc, 1, 0, s->vmm->shown, a, &own);
        if (r < 0)
            return err_set(s->err, -EPROTO, "%s", own.text);
        if (!ret->event)
            return 0;
        /* However many events come, they need no memory. */
        arena_free(a);
    }
}

static int read_greeting(struct session *s)
{
    autoarena a = ARENA_INIT;
    struct message m;
    int r = read_message(s, &other_table, "greeting (another client may be connected)", &a, &m);

    if (r == 0 && !m.greeting)
        return err_set(s->err, -EPROTO, "%s: no QMP greeting", s->vmm->shown);
    return r;
}

/* Send a command and read the answer, whose list is in @a. */
static int execute(struct session *s, const char *command, const struct json_table *table,
                   struct arena *a, struct message *ret)
{
    char text[96], what[48], shown[200];
    int len = snprintf(text, sizeof text, "{\"execute\":\"%s\",\"id\":\"%s\"}\n", command, command);
    int r;

    /* The socket's buffer is empty: the line goes in as a whole, or never. */
    if (send(s->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len)
        return err_set(s->err, -EPROTO, "%s: closed before %s", s->vmm->shown, command);
    snprintf(what, sizeof what, "answer to %s", command);
    r = read_message(s, table, what, a, ret);
    if (r < 0)
        return r;
    if (ret->failure)
        return err_set(
            s->err, -EPROTO, "%s: %s was refused: %s", s->vmm->shown, command,
            str_escape(ret->failure->desc ? ret->failure->desc : "", shown, sizeof shown));
    if (!ret->id || !str_eq(ret->id, command))
        return err_set(s->err, -EPROTO, "%s: something else than the answer to %s", s->vmm->shown,
                       command);
    return 0;
}

static int converse(struct session *s, struct arena *a, struct message *ret)
{
    int r = read_greeting(s);

    if (r == 0)
        r = execute(s, "qmp_capabilities", &other_table, a, ret);
    return r < 0 ? r : execute(s, "query-cpus-fast", &cpus_table, a, ret);
}

/* --- whose threads those are --- */

pid_t qmp_inner_tid(const char *status)
{
    const char *line = strstr(status, "\nNSpid:"), *end;
    size_t digits = 0;
    uint64_t id;

    if (!line)
        return 0;
    end = line + 1 + strcspn(line + 1, "\n");
    while (end[-1 - (ssize_t)digits] >= '0' && end[-1 - (ssize_t)digits] <= '9')
        digits++;
    return str_to_u64(end - digits, digits, &id) < 0 || id > INT_MAX ? 0 : (pid_t)id;
}

struct thread {
    pid_t inner, tid;
};
struct threads {
    struct thread *items;
    size_t count;
};

static int by_inner(const void *a, const void *b)
{
    const struct thread *x = a, *y = b;

    return (x->inner > y->inner) - (x->inner < y->inner);
}

/* All threads of the VMM, by the ids that it knows them by. */
static int read_threads(const struct vmm *vmm, struct arena *a, struct threads *ret, struct err *e)
{
    autodir dir = io_opendir_at(vmm->proc, "task");
    struct dirent *entry;

    if (!dir)
        return err_set(e, -ESRCH, "process %d has gone", (int)vmm->pid);
    while ((entry = io_next_entry(dir))) {
        autofree char *status = NULL;
        char name[NAME_MAX + 16];
        pid_t inner;
        uint64_t tid;

        if (str_to_u64(entry->d_name, strlen(entry->d_name), &tid) < 0 || tid > INT_MAX)
            continue;
        if (left_ms(vmm) == 0)
            return timed_out(vmm, "not all threads were read", e);
        snprintf(name, sizeof name, "%s/status", entry->d_name);
        if (io_read_all_at(dirfd(dir), name, STATUS_MAX, &status) < 0)
            continue; /* it has ended */
        inner = qmp_inner_tid(status);
        ARENA_APPEND(a, ret->items, ret->count) =
            (struct thread){inner > 0 ? inner : (pid_t)tid, (pid_t)tid};
    }
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, by_inner);
    return 0;
}

/* By thread, and of one thread the lowest number first; none is the highest. */
static int by_tid_and_index(const void *a, const void *b)
{
    const struct vcpu_kvm_thread *x = a, *y = b;

    if (x->tid != y->tid)
        return x->tid < y->tid ? -1 : 1;
    return ((unsigned)x->index > (unsigned)y->index) - ((unsigned)x->index < (unsigned)y->index);
}

static void translate(const struct json_list *cpus, const struct threads *threads, struct arena *a,
                      struct vcpu_kvm *ret)
{
    size_t kept = 0;

    for (size_t i = 0; i < cpus->count && threads->count > 0; i++) {
        const struct cpu *cpu = &JSON_AT(*cpus, struct cpu, i);
        const struct thread want = {.inner = (pid_t)cpu->thread_id.value}, *found;

        if (!cpu->thread_id.set)
            continue;
        found = bsearch(&want, threads->items, threads->count, sizeof want, by_inner);
        if (found)
            ARENA_APPEND(a, ret->items, ret->count) = (struct vcpu_kvm_thread){
                found->tid, cpu->index.set ? (int)cpu->index.value : VCPU_NO_INDEX};
    }
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof *ret->items, by_tid_and_index);
    for (size_t i = 0; i < ret->count; i++) {
        if (i == 0 || ret->items[i].tid != ret->items[kept - 1].tid)
            ret->items[kept++] = ret->items[i];
    }
    ret->count = kept;
}

/* --- all together --- */

static unsigned long long deadline_after(int ms)
{
    return io_now_us() + (unsigned long long)ms * 1000;
}

int qmp_query_socket(pid_t pid, int proc, const char *path, int timeout_ms, struct arena *a,
                     struct vcpu_kvm *ret, struct err *e)
{
    autoarena own = ARENA_INIT;
    struct vmm vmm = {.pid = pid,
                      .proc = proc,
                      .timeout_ms = timeout_ms,
                      .deadline_us = deadline_after(timeout_ms)};
    struct session s = {.vmm = &vmm, .err = e};
    autofd path_fd = FD_NONE, fd = FD_NONE;
    struct threads threads = {0};
    struct message answer;
    int r;

    *ret = (struct vcpu_kvm){0};
    str_escape(path, vmm.shown, sizeof vmm.shown);
    path_fd = open_socket(&vmm, path);
    if (path_fd < 0)
        return err_sys(e, path_fd, "%s: cannot open it in the root of process %d", vmm.shown,
                       (int)pid);
    fd = connect_socket(&vmm, path_fd, e);
    if (fd < 0)
        return fd;
    s.fd = fd;
    r = converse(&s, &own, &answer);
    sbuf_free(&s.in);
    /* The monitor is free again before we turn to the threads. */
    fd_close(&fd);
    if (r == 0)
        r = read_threads(&vmm, &own, &threads, e);
    if (r == 0)
        translate(&answer.cpus, &threads, a, ret);
    return r;
}

static int open_proc(pid_t pid, struct err *e)
{
    char path[32];
    int fd;

    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    return errno == ENOENT ? err_set(e, -ESRCH, "process %d has gone", (int)pid)
                           : err_sys(e, -errno, "cannot open %s", path);
}

int qmp_query_vcpus(pid_t pid, int timeout_ms, struct arena *a, struct vcpu_kvm *ret, struct err *e)
{
    unsigned long long end_us = deadline_after(timeout_ms);
    autofd proc = open_proc(pid, e);
    autoarena own = ARENA_INIT;
    autofree char *cmdline = NULL;
    struct err first = ERR_INIT;
    struct qmp_sockets sockets;
    ssize_t len;
    int r = 0;

    *ret = (struct vcpu_kvm){0};
    if (proc < 0)
        return proc;
    len = io_read_all_at(proc, "cmdline", QMP_CMDLINE_MAX, &cmdline);
    if (len < 0)
        return err_sys(e, (int)len, "cannot read the command line of process %d", (int)pid);
    qmp_find_sockets(cmdline, (size_t)len, &own, &sockets);
    if (sockets.count == 0)
        return err_set(e, -ENODATA, "process %d: its command line names no QMP socket", (int)pid);
    for (size_t i = 0; i < sockets.count; i++) {
        unsigned long long now = io_now_us(), left = end_us > now ? end_us - now : 0;

        r = qmp_query_socket(pid, proc, sockets.items[i], (int)(left / (sockets.count - i) / 1000),
                             a, ret, &first);
        if (r == 0)
            return 0;
    }
    return err_set(e, first.code, "%s", first.text);
}
