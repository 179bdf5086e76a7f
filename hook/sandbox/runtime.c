/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/runtime.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "hook/sandbox/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DIRECTORY   "runtimes"
#define ASK_MS      2000
#define LOCK_MS     (2 * ASK_MS) /* whoever holds it asks */
#define SHIM        "containerd-shim"
#define ANSWER_SIZE 512

/* ---- asking ---- */

static _Noreturn void answer(int program, int out)
{
    char name[] = "runc", option[] = "--version";
    char *const argv[] = {name, option, NULL};
    static char *const no_environment[] = {NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(null, STDERR_FILENO) < 0)
        _exit(127);
    syscall(SYS_execveat, program, "", argv, no_environment, AT_EMPTY_PATH);
    _exit(127);
}

/* Until the other end is closed or the buffer is full. 0; -ETIMEDOUT; other -errno. */
static int listen_to(int fd, char *buf, size_t size)
{
    unsigned long long end = io_now_us() + ASK_MS * 1000ull;
    size_t len = 0;

    for (;;) {
        unsigned long long now = io_now_us();
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        buf[len] = '\0';
        if (now >= end)
            return -ETIMEDOUT;
        if (poll(&pfd, 1, (int)((end - now + 999) / 1000)) <= 0)
            continue;
        n = read(fd, buf + len, size - 1 - len);
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        len += (size_t)n;
    }
}

/* Run the program that @program is, for its first words. 0; -errno nobody knows what it says. */
static int ask(int program, char *buf, size_t size)
{
    autofd in = FD_NONE, out = FD_NONE;
    int fds[2], r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    in = fds[0];
    out = fds[1];
    pid = fork();
    if (pid == 0)
        answer(program, out);
    if (pid < 0)
        return -errno;
    fd_close(&out);
    r = listen_to(in, buf, size);
    /* It has ended, or is late, or talks too much: it is not needed any more. */
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}

/* ---- remembering ---- */

struct memory {
    int dirfd;
    char name[64]; /* of the file */
    char key[64];  /* its first line */
};

/* The second line is the version, "-" for none. 0; -ENOENT nothing, or nothing of use. */
static int recall(const struct memory *m, char *ret, size_t size)
{
    char text[sizeof m->key + ANSWER_SIZE], *cursor = text;
    const char *key, *version, *end;
    struct runtime_version v;

    if (m->dirfd < 0 || io_read_at(m->dirfd, m->name, text, sizeof text) < 0)
        return -ENOENT;
    key = str_next(&cursor, '\n');
    version = str_next(&cursor, '\n');
    end = str_next(&cursor, '\n');
    if (!key || !version || !end || cursor || !str_eq(key, m->key) || !str_eq(end, "."))
        return -ENOENT;
    if (!str_eq(version, "-") && runtime_version_parse(version, strlen(version), &v) < 0)
        return -ENOENT;
    snprintf(ret, size, "%s", version);
    return 0;
}

static void keep(const struct memory *m, const char *version)
{
    char text[sizeof m->key + ANSWER_SIZE];
    int len = snprintf(text, sizeof text, "%s\n%s\n.\n", m->key, version);

    (void)io_replace_at(m->dirfd, m->name, text, (size_t)len);
}

/* One at a time, so that each program is asked once. Who does not get the directory asks for
 * itself. */
static void open_memory(const char *state_dir, bool make, const struct stat *st, struct memory *ret)
{
    char path[PATH_MAX];
    struct stat dir;

    *ret = (struct memory){.dirfd = FD_NONE};
    snprintf(ret->name, sizeof ret->name, "%llx-%llx", (unsigned long long)st->st_dev,
             (unsigned long long)st->st_ino);
    snprintf(ret->key, sizeof ret->key, "%lld.%09ld", (long long)st->st_mtim.tv_sec,
             st->st_mtim.tv_nsec);
    if ((size_t)snprintf(path, sizeof path, "%s/" DIRECTORY, state_dir) >= sizeof path)
        return;
    ret->dirfd = make ? io_mkdirs(AT_FDCWD, path, 0700)
                      : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (ret->dirfd >= 0 && (fstat(ret->dirfd, &dir) < 0 || !state_is_ours(&dir) ||
                            (make && io_lock(ret->dirfd, LOCK_MS) < 0)))
        fd_close(&ret->dirfd);
}

/* The version of the runc that @program is; NULL: not known. */
static const char *find_version(int program, const char *state_dir, bool remember, struct arena *a)
{
    char output[ANSWER_SIZE];
    struct runtime_version v = {.text = "-"};
    struct memory m;
    struct stat st;

    if (fstat(program, &st) < 0)
        return NULL;
    open_memory(state_dir, remember, &st, &m);
    if (recall(&m, v.text, sizeof v.text) < 0 && ask(program, output, sizeof output) == 0) {
        (void)runtime_version_find(output, &v);
        if (remember && m.dirfd >= 0)
            keep(&m, v.text);
    }
    fd_close(&m.dirfd);
    return str_eq(v.text, "-") ? NULL : arena_strdup(a, v.text);
}

void runtime_forget(const char *state_dir)
{
    autofd top = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    autodir dir = io_opendir_at(top, DIRECTORY);
    struct dirent *entry;
    unsigned count = 0;

    while (io_next_entry(dir))
        count++;
    if (count <= RUNTIME_ANSWERS_MAX)
        return;
    rewinddir(dir);
    while ((entry = io_next_entry(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
}

/* ---- who it is ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* @program  an open descriptor, or a negative errno. */
static void describe(int program, const char *path, const char *state_dir, bool remember,
                     struct arena *a, struct runtime *ret)
{
    char shown[PATH_MAX];

    ret->path = arena_strdup(a, str_escape(path, shown, sizeof shown));
    if (program >= 0 && str_eq(base_name(path), "runc"))
        ret->version = find_version(program, state_dir, remember, a);
}

/* What /proc/PID/exe says. 0; -errno. */
static int read_exe(pid_t pid, char *buf, size_t size)
{
    char link[32];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    n = readlink(link, buf, size - 1);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    return 0;
}

/* Docker's containerd has the same shims. One of them is above each of its runtimes, and stays there
 * for as long as the container lives. */
static int is_shim(const struct proc_stat *st, pid_t pid)
{
    char path[PATH_MAX];
    int r;

    if (str_starts(st->comm, SHIM))
        return 1;
    r = read_exe(pid, path, sizeof path);
    return r < 0 ? r : str_starts(base_name(path), SHIM);
}

/* An engine starts its runtimes in its own pid namespace, so it is not above the topmost process
 * that can be seen. */
static void find_engine(pid_t pid, struct arena *a, struct runtime *ret)
{
    struct proc_stat st;
    char name[96];
    int r = 0;

    for (; pid > 1; pid = st.parent) {
        r = proc_stat_read(pid, &st);
        if (r == 0)
            r = is_shim(&st, pid);
        if (r != 0)
            break;
    }
    ret->engine = r < 0 ? ENGINE_UNKNOWN : r > 0 ? ENGINE_CONTAINERD : ENGINE_OTHER;
    ret->why_unknown = r < 0 ? arena_printf(a, "cannot look at process %d, an ancestor: %s",
                                            (int)pid, err_name(r, name))
                             : NULL;
}

enum runtime_engine runtime_engine(pid_t pid)
{
    autoarena a = ARENA_INIT;
    struct runtime r = {0};

    find_engine(pid, &a, &r);
    return r.engine;
}

void runtime_look(pid_t pid, const char *state_dir, bool remember, struct arena *a,
                  struct runtime *ret)
{
    char link[32], path[PATH_MAX];
    autofd program = FD_NONE;

    *ret = (struct runtime){.why_unknown = "the runtime is in another pid namespace"};
    if (pid <= 0)
        return;
    find_engine(pid, a, ret);
    if (read_exe(pid, path, sizeof path) < 0)
        return;
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    program = open(link, O_PATH | O_CLOEXEC);
    describe(program, path, state_dir, remember, a, ret);
}

void runtime_look_at(const char *path, const char *state_dir, struct arena *a, struct runtime *ret)
{
    autofree char *real = realpath(path, NULL);
    autofd program = open(real ? real : path, O_PATH | O_CLOEXEC);

    *ret = (struct runtime){0};
    describe(program, real ? real : path, state_dir, false, a, ret);
}
