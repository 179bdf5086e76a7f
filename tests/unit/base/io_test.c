/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

/* --- io, in a directory of its own --- */

static char top[PATH_MAX];
static int topfd = FD_NONE;

static void make_top(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(top, sizeof top, "%s/osc-base-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
    kit_make_dir(top);
    topfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(topfd, 0);
}

static void remove_top(void)
{
    fd_close(&topfd);
    kit_remove_tree(top);
}

static void put(const char *name, const char *data, size_t len)
{
    autofd fd = openat(topfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
}

static char *get(const char *name, char *buf, size_t size)
{
    autofd fd = openat(topfd, name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, buf, size - 1);

    buf[len > 0 ? len : 0] = '\0';
    return buf;
}

Test(io, read_at, .init = make_top, .fini = remove_top)
{
    static const struct {
        const char *content;
        size_t size;
        ssize_t result;
        const char *want;
    } cases[] = {
        {"", 8, 0, ""},
        {"\n", 8, 0, ""},
        {"abc", 8, 3, "abc"},
        {"abc\n", 8, 3, "abc"},
        {"abc\n\n", 8, 4, "abc\n"}, /* one newline goes */
        {"\nabc", 8, 4, "\nabc"},
        {"1234567", 8, 7, "1234567"}, /* the largest that fits */
        {"123456\n", 8, 6, "123456"},
        {"12345678", 8, -EFBIG, NULL},
        {"123456789", 8, -EFBIG, NULL},
        {"", 1, 0, ""},
        {"x", 1, -EFBIG, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[16];
        ssize_t r;

        memset(buf, '#', sizeof buf);
        put("f", cases[i].content, strlen(cases[i].content));
        r = io_read_at(topfd, "f", buf, cases[i].size);
        buf[sizeof buf - 1] = '\0';
        cr_expect_eq(r, cases[i].result, "\"%s\" in %zu: expected %zd, got %zd", cases[i].content,
                     cases[i].size, cases[i].result, r);
        if (r >= 0)
            cr_expect_str_eq(buf, cases[i].want);
        cr_expect_eq(buf[cases[i].size], '#', "\"%s\" in %zu: wrote behind the buffer",
                     cases[i].content, cases[i].size);
    }
    char buf[8];

    cr_expect_eq(io_read_at(topfd, "none", buf, sizeof buf), -ENOENT);
    cr_assert_eq(symlinkat("f", topfd, "link"), 0);
    cr_expect_eq(io_read_at(topfd, "link", buf, sizeof buf), -ELOOP);
    cr_expect_eq(io_read_at(topfd, ".", buf, sizeof buf), -EISDIR);
    /* and a line */
    cr_expect_eq(io_read_line_at(topfd, "none", buf, sizeof buf), -ENOENT);
    cr_expect_eq(io_read_line_at(topfd, "link", buf, sizeof buf), -ELOOP);
    cr_expect_eq(io_read_line_at(topfd, ".", buf, sizeof buf), -EISDIR);
}

/* What writes the rest of a line when what is there of it was read. */
static _Noreturn void write_rest(int fd)
{
    int left = 1;

    while (left > 0) {
        if (ioctl(fd, FIONREAD, &left) < 0)
            _exit(1);
        sched_yield();
    }
    _exit(write(fd, "34\n", 3) == 3 ? 0 : 1);
}

/* A pipe whose writer stays: who reads on behind the line waits for ever. */
Test(io, read_line, .init = make_top, .fini = remove_top, .timeout = 60)
{
    autofd fd = FD_NONE;
    char buf[8];
    pid_t pid;

    cr_assert_eq(mkfifoat(topfd, "p", 0600), 0);
    fd = openat(topfd, "p", O_RDWR | O_CLOEXEC);
    cr_assert_eq(write(fd, "12\n", 3), 3);
    cr_expect_eq(io_read_line_at(topfd, "p", buf, sizeof buf), 2);
    cr_expect_str_eq(buf, "12");
    cr_assert_eq(write(fd, "\n", 1), 1);
    cr_expect_eq(io_read_line_at(topfd, "p", buf, sizeof buf), 0);
    cr_expect_str_eq(buf, "");
    /* a line in two parts */
    cr_assert_eq(write(fd, "12", 2), 2);
    pid = kit_fork();
    if (pid == 0)
        write_rest(fd);
    cr_expect_eq(io_read_line_at(topfd, "p", buf, sizeof buf), 4);
    cr_expect_str_eq(buf, "1234");
    waitpid(pid, NULL, 0);
    /* one that does not fit, and one that has no end */
    cr_assert_eq(write(fd, "12345678", 8), 8);
    cr_expect_eq(io_read_line_at(topfd, "p", buf, sizeof buf), -EFBIG);
    put("f", "123", 3);
    cr_expect_eq(io_read_line_at(topfd, "f", buf, sizeof buf), 3);
    cr_expect_str_eq(buf, "123");
    put("f", "1234567\n", 8);
    cr_expect_eq(io_read_line_at(topfd, "f", buf, sizeof buf), -EFBIG);
}

Test(io, read_all, .init = make_top, .fini = remove_top)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 65536, 100000};
    static char data[100001];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        size_t n = sizes[i];
        size_t limits[] = {n, n + 1, n ? n - 1 : SIZE_MAX, SIZE_MAX, 0};

        put("f", data, n);
        for (size_t k = 0; k < ARRAY_SIZE(limits); k++) {
            autofree char *text = NULL;
            ssize_t want = n <= limits[k] ? (ssize_t)n : -EFBIG;
            ssize_t r = io_read_all_at(topfd, "f", limits[k], &text);

            cr_expect_eq(r, want, "%zu bytes, max %zu: expected %zd, got %zd", n, limits[k], want,
                         r);
            if (r >= 0)
                cr_expect(text && memcmp(text, data, n) == 0 && text[n] == '\0',
                          "%zu bytes, max %zu: same bytes and a NUL", n, limits[k]);
            else
                cr_expect_null(text, "%zu bytes, max %zu: nothing handed out", n, limits[k]);
        }
    }
    autofree char *text = NULL;

    put("f", "a\n", 2);
    cr_expect(io_read_all_at(topfd, "f", 10, &text) == 2 && str_eq(text, "a\n"),
              "as it is, newline included");
    cr_expect_eq(io_read_all_at(topfd, "none", 10, &text), -ENOENT);
    cr_assert_eq(symlinkat("f", topfd, "link"), 0);
    cr_expect_eq(io_read_all_at(topfd, "link", 10, &text), -ELOOP);
    cr_expect_eq(io_read_all(topfd, 10, &text), -EISDIR);
}

/* Writes @count bytes, one or @chunk at a time, and exits with 0. */
static pid_t start_writer(int fds[2], size_t count, size_t chunk)
{
    pid_t pid;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char data[4096];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_DFL);
        close(fds[0]);
        memset(data, 'x', sizeof data);
        for (size_t done = 0; done < count; done += chunk) {
            if (write(fds[1], data, chunk) != (ssize_t)chunk)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    return pid;
}

static bool ended_well(pid_t pid)
{
    int status = -1;

    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(io, read_full_and_drain)
{
    static char buf[5001];
    int fds[2];
    pid_t pid = start_writer(fds, 5000, 1);
    ssize_t n = io_read_full(fds[0], buf, sizeof buf);

    cr_expect_eq(n, 5000, "expected 5000 bytes from single-byte writes, got %zd", n);
    cr_expect(ended_well(pid));
    close(fds[0]);

    pid = start_writer(fds, 3000, 1000);
    n = io_read_full(fds[0], buf, 100);
    cr_expect_eq(n, 100, "a full buffer ends it: got %zd", n);
    io_drain(fds[0]);
    close(fds[0]);
    cr_expect(ended_well(pid));

    /* more than a pipe holds: without draining, the writer gets SIGPIPE */
    pid = start_writer(fds, 4096 * 64, 4096);
    io_drain(fds[0]);
    close(fds[0]);
    cr_expect(ended_well(pid), "the writer wrote everything");
    cr_expect_eq(io_read_full(-1, buf, 1), -EBADF);
}

Test(io, write_at, .init = make_top, .fini = remove_top)
{
    char buf[64];
    struct rlimit small = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY}, old;

    cr_expect_eq(io_write_at(topfd, "none", "x"), -ENOENT);
    cr_expect_not(kit_exists_at(topfd, "none"), "a control file is never created");
    put("f", "hello", 5);
    cr_expect_eq(io_write_at(topfd, "f", "ab"), 0);
    cr_expect_str_eq(get("f", buf, sizeof buf), "abllo", "no truncation");
    cr_assert_eq(symlinkat("f", topfd, "link"), 0);
    cr_expect_eq(io_write_at(topfd, "link", "zz"), -ELOOP);
    cr_expect_str_eq(get("f", buf, sizeof buf), "abllo");

    /* short write: the file may grow to four bytes only */
    put("short", "", 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = io_write_at(topfd, "short", "123456");

    setrlimit(RLIMIT_FSIZE, &old);
    cr_expect_eq(r, -EIO, "short write: expected -EIO, got %d", r);
}

Test(io, write_id_at, .init = make_top, .fini = remove_top)
{
    static const pid_t ids[] = {0, 1, 9, 10, 42, 4194304, INT_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char want[16], buf[32];

        put("f", "", 0);
        snprintf(want, sizeof want, "%d", ids[i]);
        cr_expect_eq(io_write_id_at(topfd, "f", ids[i]), 0);
        cr_expect_str_eq(get("f", buf, sizeof buf), want);
    }
    cr_expect_eq(io_write_id_at(topfd, "none", 1), -ENOENT);
    cr_expect_not(kit_exists_at(topfd, "none"));
}

/* Both ways to open beneath must answer each row alike. */
static const struct beneath_row {
    const char *path;
    int flags;
    int result; /* 0 or -errno */
    const char *same_as;
} beneath_rows[] = {
    {"", O_RDONLY | O_DIRECTORY, 0, "."},
    {".", O_PATH, 0, "."},
    {"a", O_RDONLY | O_DIRECTORY, 0, "a"},
    {"a/", O_PATH | O_DIRECTORY, 0, "a"},
    {"a/b/file", O_RDONLY, 0, "a/b/file"},
    {"a//b/./file", O_WRONLY, 0, "a/b/file"},
    {"a/b/file", O_PATH, 0, "a/b/file"},
    {"./a/b", O_PATH | O_DIRECTORY, 0, "a/b"},
    {"...", O_RDONLY, 0, "..."}, /* an ordinary name */
    {"a/..x", O_RDONLY, 0, "a/..x"},
    {"a/b/file", O_RDONLY | O_DIRECTORY, -ENOTDIR, NULL},
    {"a/b/file/x", O_RDONLY, -ENOTDIR, NULL},
    {"a/b/file/", O_RDONLY, -ENOTDIR, NULL},
    {"none", O_RDONLY, -ENOENT, NULL},
    {"none/x", O_RDONLY, -ENOENT, NULL},
    {"a/none", O_PATH | O_DIRECTORY, -ENOENT, NULL},
    {"a", O_WRONLY, -EISDIR, NULL},
    /* links: in the middle, last, to a directory, to nowhere, out of the tree */
    {"dlink/b/file", O_RDONLY, -ELOOP, NULL},
    {"a/b/../../dlink", O_RDONLY, -EXDEV, NULL},
    {"a/dlink2/file", O_RDONLY, -ELOOP, NULL},
    {"dlink", O_RDONLY, -ELOOP, NULL},
    {"dlink", O_RDONLY | O_DIRECTORY, -ELOOP, NULL},
    {"dlink", O_PATH | O_DIRECTORY, -ELOOP, NULL},
    {"dlink", O_PATH, -ELOOP, NULL},
    {"dlink/", O_PATH | O_DIRECTORY, -ELOOP, NULL},
    {"flink", O_RDONLY, -ELOOP, NULL},
    {"flink", O_PATH, -ELOOP, NULL},
    {"dangling", O_RDONLY, -ELOOP, NULL},
    {"dangling", O_PATH, -ELOOP, NULL},
    {"out/etc", O_PATH, -ELOOP, NULL},
    {"loop", O_RDONLY, -ELOOP, NULL},
    /* ".." anywhere, even where it would stay beneath */
    {"..", O_PATH, -EXDEV, NULL},
    {"../x", O_PATH, -EXDEV, NULL},
    {"a/..", O_PATH, -EXDEV, NULL},
    {"a/../a/b/file", O_RDONLY, -EXDEV, NULL},
    {"a/../..", O_PATH, -EXDEV, NULL},
    {"a/b/..", O_PATH | O_DIRECTORY, -EXDEV, NULL},
    /* absolute */
    {"/", O_PATH, -EXDEV, NULL},
    {"/etc", O_PATH, -EXDEV, NULL},
    {"//a", O_PATH, -EXDEV, NULL},
};

static void make_tree(void)
{
    static const char *const dirs[] = {"a", "a/b"};
    static const struct {
        const char *target, *name;
    } links[] = {
        {"a", "dlink"},       {"b", "a/dlink2"}, {"a/b/file", "flink"},
        {"none", "dangling"}, {"/", "out"},      {"loop", "loop"},
    };

    make_top();
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        cr_assert_eq(mkdirat(topfd, dirs[i], 0755), 0);
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        cr_assert_eq(symlinkat(links[i].target, topfd, links[i].name), 0);
    put("a/b/file", "x", 1);
    put("...", "x", 1);
    put("a/..x", "x", 1);
}

static void check_beneath(const char *which, int (*open_beneath)(int, const char *, int))
{
    for (size_t i = 0; i < ARRAY_SIZE(beneath_rows); i++) {
        const struct beneath_row *row = &beneath_rows[i];
        autofd fd = open_beneath(topfd, row->path, row->flags);
        int got = fd < 0 ? fd : 0;
        struct stat st, want;

        cr_expect_eq(got, row->result, "%s(\"%s\", %#o): expected %d, got %d", which, row->path,
                     (unsigned)row->flags, row->result, got);
        if (got < 0 || row->result < 0)
            continue;
        cr_expect(fstat(fd, &st) == 0 && fstatat(topfd, row->same_as, &want, 0) == 0 &&
                      st.st_ino == want.st_ino && st.st_dev == want.st_dev,
                  "%s(\"%s\") opened %s", which, row->path, row->same_as);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s(\"%s\"): close-on-exec", which, row->path);
    }
}

static void check_beneath_create(const char *which, int (*open_beneath)(int, const char *, int))
{
    autofd fd = open_beneath(topfd, "a/new", O_WRONLY | O_CREAT | O_EXCL);
    struct stat st;

    cr_assert_geq(fd, 0, "%s with O_CREAT: got %d", which, fd);
    cr_expect(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600, "%s: mode 0600, got %o", which,
              (unsigned)st.st_mode);
    cr_expect_eq(open_beneath(topfd, "a/new", O_WRONLY | O_CREAT | O_EXCL), -EEXIST);
    cr_expect_eq(open_beneath(topfd, "dangling", O_WRONLY | O_CREAT), -ELOOP);
    cr_expect_not(kit_exists_at(topfd, "none"), "%s: nothing is made through a link", which);
}

static void check_beneath_mounts(const char *which, int (*open_beneath)(int, const char *, int))
{
    autofd root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    cr_expect_eq(open_beneath(root, "proc", O_PATH), -EXDEV, "%s: last component", which);
    cr_expect_eq(open_beneath(root, "proc/1/stat", O_RDONLY), -EXDEV, "%s: in the middle", which);
    cr_expect_eq(open_beneath(-1, "x", O_PATH), -EBADF, "%s: no directory", which);
}

Test(io, open_beneath, .init = make_tree, .fini = remove_top)
{
    check_beneath("io_open_beneath", io_open_beneath);
    check_beneath_create("io_open_beneath", io_open_beneath);
    check_beneath_mounts("io_open_beneath", io_open_beneath);
}

Test(io, open_beneath_walk, .init = make_tree, .fini = remove_top)
{
    check_beneath("io_open_beneath_walk", io_open_beneath_walk);
    check_beneath_create("io_open_beneath_walk", io_open_beneath_walk);
    check_beneath_mounts("io_open_beneath_walk", io_open_beneath_walk);
}

/* From here on openat2(2) fails in this process. */
static void forbid_openat2(unsigned code)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        cr_skip_test("no seccomp filters here: %s", strerror(errno));
    cr_assert(syscall(SYS_openat2, topfd, ".", NULL, 0) < 0 && (unsigned)errno == code);
}

/* An old kernel, and a container engine's filter that does not know the call. */
Test(io, open_beneath_on_an_old_kernel, .init = make_tree, .fini = remove_top)
{
    forbid_openat2(ENOSYS);
    check_beneath("io_open_beneath", io_open_beneath);
}

Test(io, open_beneath_under_a_filter, .init = make_tree, .fini = remove_top)
{
    forbid_openat2(EPERM);
    check_beneath("io_open_beneath", io_open_beneath);
}

/* A mount of the same file system: the device number does not tell. */
static void check_bind_mount(const char *which, int (*open_beneath)(int, const char *, int))
{
    char from[PATH_MAX + 8], to[PATH_MAX + 8];
    autofd fd = FD_NONE;

    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
        cr_skip_test("needs a mount namespace of its own: %s", strerror(errno));
    snprintf(from, sizeof from, "%s/a/b", top);
    snprintf(to, sizeof to, "%s/bound", top);
    cr_assert_eq(mkdirat(topfd, "bound", 0755), 0);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(from, to, NULL, MS_BIND, NULL) < 0)
        cr_skip_test("cannot bind mount: %s", strerror(errno));
    /* the old descriptor still looks at the old namespace's mounts */
    fd_close(&topfd);
    topfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = open_beneath(topfd, "bound/file", O_RDONLY);
    umount2(to, MNT_DETACH);
    cr_expect_eq(fd, -EXDEV, "%s crosses a bind mount: expected %d, got %d", which, -EXDEV, fd);
}

Test(io, open_beneath_bind_mount, .init = make_tree, .fini = remove_top)
{
    check_bind_mount("io_open_beneath", io_open_beneath);
}

Test(io, open_beneath_walk_bind_mount, .init = make_tree, .fini = remove_top)
{
    check_bind_mount("io_open_beneath_walk", io_open_beneath_walk);
}

/* Whatever the caller's umask is. */
Test(io, replace_public_at, .init = make_top, .fini = remove_top)
{
    char buf[64];

    umask(077);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(io_replace_public_at(topfd, "pub", "one", 3), 0);
        cr_expect_str_eq(get("pub", buf, sizeof buf), "one");
        cr_expect_eq(kit_mode_of(topfd, "pub"), 0644, "got %o", kit_mode_of(topfd, "pub"));
    }
    cr_expect_not(kit_exists_at(topfd, "pub.tmp"));
}

Test(io, replace_at, .init = make_top, .fini = remove_top)
{
    autofd old = FD_NONE;
    char buf[64];

    umask(0);
    cr_expect_eq(io_replace_at(topfd, "rec", "one", 3), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "one");
    cr_expect_eq(kit_mode_of(topfd, "rec"), 0600, "expected 0600, got %o",
                 kit_mode_of(topfd, "rec"));
    cr_expect_not(kit_exists_at(topfd, "rec.tmp"));
    old = openat(topfd, "rec", O_RDONLY | O_CLOEXEC);
    cr_expect_eq(io_replace_at(topfd, "rec", "second, longer", 14), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "second, longer");
    cr_expect(read(old, buf, sizeof buf) == 3 && memcmp(buf, "one", 3) == 0,
              "who has the old file open keeps it whole");
    cr_expect_eq(io_replace_at(topfd, "rec", "", 0), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "");
    cr_expect_eq(io_replace_at(topfd, "rec", "a\0b", 3), 0);
    struct stat st;

    cr_expect(fstatat(topfd, "rec", &st, 0) == 0 && st.st_size == 3, "bytes, not text");
}

Test(io, replace_at_leftover_temp, .init = make_top, .fini = remove_top)
{
    char buf[64];

    /* a kill left a longer temporary file, with a mode of its own */
    put("rec.tmp", "leftover of a killed run", 24);
    cr_assert_eq(fchmodat(topfd, "rec.tmp", 0644, 0), 0);
    cr_expect_eq(io_replace_at(topfd, "rec", "new", 3), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "new");
    cr_expect_eq(kit_mode_of(topfd, "rec"), 0600, "expected 0600, got %o",
                 kit_mode_of(topfd, "rec"));
    cr_expect_not(kit_exists_at(topfd, "rec.tmp"));
    /* a link there must not be written through */
    put("victim", "v", 1);
    cr_assert_eq(symlinkat("victim", topfd, "rec.tmp"), 0);
    cr_expect_eq(io_replace_at(topfd, "rec", "newer", 5), 0);
    cr_expect_str_eq(get("victim", buf, sizeof buf), "v");
    cr_expect_str_eq(get("rec", buf, sizeof buf), "newer");
    cr_expect_not(kit_exists_at(topfd, "rec.tmp"));
}

Test(io, replace_at_failure_keeps_old, .init = make_top, .fini = remove_top)
{
    struct rlimit small = {.rlim_cur = 4}, old;
    char name[300], buf[64];
    int r;

    cr_assert_eq(io_replace_at(topfd, "rec", "old", 3), 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    r = io_replace_at(topfd, "rec", "too long", 8);
    setrlimit(RLIMIT_FSIZE, &old);
    cr_expect_eq(r, -EFBIG, "expected %d, got %d", -EFBIG, r);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "old");
    cr_expect_not(kit_exists_at(topfd, "rec.tmp"), "the temporary file is gone");

    cr_assert_eq(mkdirat(topfd, "dir", 0755), 0);
    r = io_replace_at(topfd, "dir", "x", 1);
    cr_expect_eq(r, -EISDIR, "expected %d, got %d", -EISDIR, r);
    cr_expect_not(kit_exists_at(topfd, "dir.tmp"));

    memset(name, 'n', sizeof name);
    name[251] = '\0'; /* with ".tmp" as long as a name may be */
    cr_expect_eq(io_replace_at(topfd, name, "x", 1), 0);
    name[251] = 'n';
    name[252] = '\0';
    cr_expect_eq(io_replace_at(topfd, name, "x", 1), -ENAMETOOLONG);
    cr_expect_eq(io_replace_at(-1, "x", "x", 1), -EBADF);
}

Test(io, mkdirs, .init = make_top, .fini = remove_top)
{
    static const struct {
        const char *path;
        int result;
    } cases[] = {
        {"x", 0},           {"x/y/z", 0},
        {"x/y/z", 0}, /* all there */
        {"x/y2/", 0},       {"x//y3", 0},
        {"link/new", 0}, /* an administrator's link in the middle is fine */
        {"file", -ENOTDIR}, {"file/sub", -ENOTDIR},
        {"link", -ENOTDIR},
    };

    umask(0);
    put("file", "", 0);
    cr_assert_eq(mkdirat(topfd, "real", 0755), 0);
    cr_assert_eq(symlinkat("real", topfd, "link"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autofd fd = io_mkdirs(topfd, cases[i].path, 0710);
        int got = fd < 0 ? fd : 0;
        struct stat st, want;

        cr_expect_eq(got, cases[i].result, "\"%s\": expected %d, got %d", cases[i].path,
                     cases[i].result, got);
        if (fd < 0)
            continue;
        cr_expect(fstat(fd, &st) == 0 && fstatat(topfd, cases[i].path, &want, 0) == 0 &&
                      st.st_ino == want.st_ino && S_ISDIR(st.st_mode),
                  "\"%s\": the last one is opened", cases[i].path);
        cr_expect_eq(st.st_mode & 07777, 0710, "\"%s\": mode %o", cases[i].path, st.st_mode);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    cr_expect(kit_exists_at(topfd, "real/new"));
    cr_expect_eq(kit_mode_of(topfd, "x/y"), 0710, "middle ones, too: %o",
                 kit_mode_of(topfd, "x/y"));
    char longer[PATH_MAX + 1];

    memset(longer, 'p', sizeof longer - 1);
    longer[PATH_MAX] = '\0';
    cr_expect_eq(io_mkdirs(topfd, longer, 0700), -ENAMETOOLONG);
}

static void on_alarm(int signo)
{
    (void)signo;
}

/* Lower bounds only: the machine may be slow, not fast. */
Test(io, sleep_resumes)
{
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval every = {.it_interval.tv_usec = 2000, .it_value.tv_usec = 2000}, off = {0};
    unsigned long long start, now;

    sigaction(SIGALRM, &act, NULL);
    start = io_now_us();
    setitimer(ITIMER_REAL, &every, NULL);
    io_sleep_ms(30);
    setitimer(ITIMER_REAL, &off, NULL);
    now = io_now_us();
    cr_expect_geq(now - start, 30000, "slept %llu us", now - start);
    start = io_now_us();
    io_sleep_ms(1001); /* seconds and the rest */
    now = io_now_us();
    cr_expect_geq(now - start, 1001000, "slept %llu us", now - start);
}

Test(io, is_same_file)
{
    const struct stat a = {.st_ino = 7, .st_mtim = {.tv_sec = 3, .tv_nsec = 5}};
    struct stat b = a;

    b.st_size = 1;
    cr_expect(io_is_same_file(&a, &b));
    b.st_ino++;
    cr_expect_not(io_is_same_file(&a, &b), "another file of the same time");
    b = a;
    b.st_mtim.tv_sec++;
    cr_expect_not(io_is_same_file(&a, &b), "a number that was given again");
    b = a;
    b.st_mtim.tv_nsec++;
    cr_expect_not(io_is_same_file(&a, &b), "given again in the same second");
}
