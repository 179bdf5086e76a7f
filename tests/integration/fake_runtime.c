// SPDX-License-Identifier: Apache-2.0
/*
 * A runtime, or a shim of containerd, in the eyes of whoever looks at processes: copied to a file
 * of the name that it is to have.
 *
 *   NAME --version      print what is in the file NAME.version, and add a line to NAME.asked, which
 *                       says what was found: the number of variables in the environment, and what
 *                       stdin and stderr are
 *   NAME --wait         do nothing, under another name than that of the program
 *   NAME COMMAND...     run a command, as its parent, and end as it ends
 *
 * NAME.version may also say "hang", "flood" or "quit".
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char own[PATH_MAX];

static const char *beside(const char *suffix)
{
    static char path[PATH_MAX + 16];

    snprintf(path, sizeof path, "%s%s", own, suffix);
    return path;
}

static const char *link_of(int fd, char *buf, size_t size)
{
    char link[32];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, buf, size - 1);
    buf[n < 0 ? 0 : n] = '\0';
    return buf;
}

static void note(void)
{
    FILE *file = fopen(beside(".asked"), "ae");
    char in[PATH_MAX], err[PATH_MAX];
    int count = 0;

    while (environ && environ[count])
        count++;
    if (!file)
        exit(1);
    fprintf(file, "%d %s %s\n", count, link_of(0, in, sizeof in), link_of(2, err, sizeof err));
    fclose(file);
}

static int say_version(void)
{
    char text[1024] = "";
    FILE *file;

    note();
    file = fopen(beside(".version"), "re");
    if (file) {
        size_t len = fread(text, 1, sizeof text - 1, file);

        text[len] = '\0';
        fclose(file);
    }
    if (strcmp(text, "quit") == 0)
        return 1;
    if (strcmp(text, "hang") == 0)
        pause();
    do
        fputs(text, stdout);
    while (strcmp(text, "flood") == 0 && !ferror(stdout));
    return 0;
}

static int run(char **argv)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);

    if (n < 0 || argc < 2)
        return 2;
    if (strcmp(argv[1], "--version") == 0)
        return say_version();
    if (strcmp(argv[1], "--wait") == 0) {
        prctl(PR_SET_NAME, "waits");
        for (;;)
            pause();
    }
    return run(argv + 1);
}
