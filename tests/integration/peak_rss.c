// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a command and says how much memory it used at its peak and which files it had mapped.
 *
 *   peak_rss REPORT COMMAND [ARGS...]
 *
 * The command's stdin, stdout, stderr and exit status are passed through; REPORT gets
 *
 *   vmhwm_kib=1234
 *   map=/usr/lib/...        (one line for each file)
 *
 * The command is stopped by ptrace(2) on its way out, while its memory is still there, and read
 * from /proc: exact, where the ru_maxrss of wait4(2) starts from the size of the parent that
 * forked. Children of the command are not traced.
 *
 * Its addresses are not randomised: the kernel maps pages of files in aligned groups of 16, so
 * where a library happens to lie changes the result by up to 100 KiB.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "peak_rss: %s: %s\n", what, strerror(errno));
    exit(126);
}

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    file = fopen(path, "re");
    if (!file)
        die(path);
    return file;
}

static void report(pid_t pid, FILE *out)
{
    char line[4096], previous[4096] = "";
    FILE *status = open_proc(pid, "status"), *maps = open_proc(pid, "maps");
    unsigned long kib;

    while (fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
            fprintf(out, "vmhwm_kib=%lu\n", kib);
    }
    while (fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');

        if (path && strcmp(path, previous) != 0) {
            fprintf(out, "map=%s", path);
            strcpy(previous, path);
        }
    }
    fclose(status);
    fclose(maps);
}

int main(int argc, char **argv)
{
    FILE *out;
    pid_t pid;
    int status;

    if (argc < 3) {
        fprintf(stderr, "usage: peak_rss REPORT COMMAND [ARGS...]\n");
        return 126;
    }
    out = fopen(argv[1], "we");
    if (!out)
        die(argv[1]);
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        /* Stops until the parent has set its options; execve then stops once more. */
        if (personality(ADDR_NO_RANDOMIZE) < 0 || ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ||
            raise(SIGSTOP) != 0)
            _exit(126);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        die("waitpid");
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC) < 0)
        die("PTRACE_SETOPTIONS");
    for (int signal = 0;;) {
        if (ptrace(PTRACE_CONT, pid, NULL, (void *)(long)signal) < 0 && errno != ESRCH)
            die("PTRACE_CONT");
        if (waitpid(pid, &status, 0) != pid)
            die("waitpid");
        if (!WIFSTOPPED(status))
            break;
        signal = WSTOPSIG(status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
            report(pid, out);
        if (status >> 16)
            signal = 0; /* an event, not a signal of its own */
    }
    if (fclose(out) != 0)
        die(argv[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
