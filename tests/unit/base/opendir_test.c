/* SPDX-License-Identifier: Apache-2.0 */
/* Listing directories: what is refused, what is shown, and what a failure leaves behind. */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const char *const names[] = {"f", "d", "link", ".hidden", "..x", "..."};
static char top[] = "/tmp/osc-unit-opendir-XXXXXX";
static int topfd = FD_NONE;

static void make_top(void)
{
    cr_assert_not_null(mkdtemp(top));
    topfd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(topfd, 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int r = str_eq(names[i], "d")      ? mkdirat(topfd, "d", 0700)
                : str_eq(names[i], "link") ? symlinkat("d", topfd, "link")
                                           : mknodat(topfd, names[i], S_IFREG | 0600, 0);

        cr_assert_eq(r, 0, "%s: %s", names[i], strerror(errno));
    }
}

static void remove_top(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unlinkat(topfd, names[i], str_eq(names[i], "d") ? AT_REMOVEDIR : 0);
    fd_close(&topfd);
    rmdir(top);
}

TestSuite(opendir, .init = make_top, .fini = remove_top);

Test(opendir, opens)
{
    static const struct {
        const char *name;
        int error;
    } cases[] = {
        {".", 0}, {"d", 0}, {"none", ENOENT}, {"f", ENOTDIR}, {"link", ENOTDIR},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autodir dir = NULL;

        errno = 0;
        dir = io_opendir_at(topfd, cases[i].name);
        cr_expect(cases[i].error ? !dir && errno == cases[i].error : !!dir,
                  "%s: expected errno %d, got %d", cases[i].name, cases[i].error, errno);
        if (dir)
            cr_expect(fcntl(dirfd(dir), F_GETFD) & FD_CLOEXEC, "%s: close-on-exec", cases[i].name);
    }
    errno = 0;
    cr_expect(!io_opendir_at(FD_NONE, ".") && errno == EBADF);
    cr_expect(!io_next_entry(NULL) && errno == EBADF, "what is no list has not ended");
}

static void expect_all(int dirfd, const char *what)
{
    autodir dir = io_opendir_at(dirfd, ".");
    unsigned seen[ARRAY_SIZE(names)] = {0};
    struct dirent *entry;

    cr_assert_not_null(dir);
    while ((entry = io_next_entry(dir))) {
        bool known = false;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            bool same = str_eq(entry->d_name, names[i]);

            known = known || same;
            seen[i] += same;
        }
        cr_expect(known, "%s: %s", what, entry->d_name);
        errno = EIO;
    }
    cr_expect_eq(errno, 0, "%s: the end is no error", what);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        cr_expect_eq(seen[i], 1, "%s: %s was seen %u times", what, names[i], seen[i]);
}

Test(opendir, entries)
{
    autofd fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    cr_expect_null(io_next_entry(NULL));
    expect_all(topfd, "an O_PATH descriptor");
    expect_all(fd, "one that can be read");
    expect_all(fd, "the same again, from its beginning");
}

/* From here on a system call fails in this process. */
static bool forbid(unsigned call, unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum { ENDED_WELL, NO_FILTER, OPENED, OTHER_ERROR, LEFT_OPEN };

static int try_without_stream(bool close_fails)
{
    int before = dup(topfd), after;

    close(before);
    /* fdopendir() asks for the descriptor's flags. */
    if (!forbid(SYS_fcntl, ENOLCK) || (close_fails && !forbid(SYS_close, EIO)))
        return NO_FILTER;
    if (io_opendir_at(topfd, "."))
        return OPENED;
    if (errno != ENOLCK)
        return OTHER_ERROR;
    after = dup(topfd);
    return after == before || close_fails ? ENDED_WELL : LEFT_OPEN;
}

/* The directory can be opened, but there is no stream for it. */
Test(opendir, failure_leaves_nothing_open)
{
    for (int close_fails = 0; close_fails < 2; close_fails++) {
        int status = -1;
        pid_t pid = fork();

        if (pid == 0)
            _exit(try_without_stream(close_fails));
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFEXITED(status), "status %#x", (unsigned)status);
        if (WEXITSTATUS(status) == NO_FILTER)
            cr_skip_test("no seccomp filters here");
        cr_expect_eq(WEXITSTATUS(status), ENDED_WELL, "close fails: %d, result %d", close_fails,
                     WEXITSTATUS(status));
    }
}
