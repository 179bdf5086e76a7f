/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/osc-unit-program-XXXXXX";
static char first[PATH_MAX], second[PATH_MAX];

/* A program that waits, and the tests' own under the name of either. */
static void copy_to(const char *path)
{
    struct stat st;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);

    cr_assert(from >= 0 && to >= 0 && fstat(from, &st) == 0);
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile(to, from, NULL, (size_t)left);

        cr_assert(n > 0);
        left -= n;
    }
    close(from);
    close(to);
}

static void begin(void)
{
    cr_assert(mkdtemp(dir));
    snprintf(first, sizeof first, "%s/us", dir);
    snprintf(second, sizeof second, "%s/us-systemd", dir);
}

static void end(void)
{
    unlink(first);
    unlink(second);
    rmdir(dir);
}

TestSuite(program, .init = begin, .fini = end);

/* Criterion lists its tests where it is asked to, and ends: what is started so lives for as long as we do not read.
 * Of its environment it gets nothing, by which it would take itself for a process that is to run a test. */
static pid_t run(const char *path, int *ret_fd)
{
    int fds[2];
    pid_t pid;

    cr_assert_eq(pipe(fds), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        execle(path, path, "--list", (char *)NULL, (char *[]){NULL});
        _exit(127);
    }
    close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

static void wait_for_exec(pid_t pid, const char *path)
{
    char link[64], exe[PATH_MAX];

    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    for (int tries = 0; tries < 2000; tries++) {
        ssize_t len = readlink(link, exe, sizeof exe - 1);

        if (len > 0) {
            exe[len] = '\0';
            if (str_eq(exe, path))
                return;
        }
        usleep(5000);
    }
    cr_assert_fail("%s does not run", path);
}

Test(program, paths)
{
    char own[PATH_MAX], a[PATH_MAX], b[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", own, sizeof own - 1);

    cr_assert(len > 0);
    own[len] = '\0';
    cr_assert_eq(program_paths(a, b), 0);
    cr_expect_str_eq(a, own);
    cr_expect(str_starts(b, own) && str_eq(b + len, "-systemd"), "got %s", b);
}

Test(program, strangers)
{
    int fd;
    pid_t pid;

    cr_expect(program_is_run_by(getpid()));
    copy_to(first);
    pid = run(first, &fd);
    wait_for_exec(pid, first);
    cr_expect_not(program_is_run_by(pid), "the same bytes in another file");
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_expect_not(program_is_run_by(pid), "nobody");
    close(fd);
}
