// SPDX-License-Identifier: Apache-2.0
/*
 * Plays the runtime to several hooks in turn, in random order, and says what each of them took.
 *
 *   stages ROUNDS IDLE_MS CGROUP DIRS HOOK...
 *
 * CGROUP is the runtime's own cgroup, which is there, beneath each line of the file DIRS. HOOK is a
 * directory: `setup` and `teardown` in it are command lines, one argument a line; their stdin is
 * `created` and `stopped`, which are written here for each new process, with the bundle
 * HOOK/bundle. What a hook says goes to HOOK/log. Before each stage nothing is done for IDLE_MS.
 * As of a runtime on a host, there is one process between this one and init: a hook may look at all above it.
 * Prints a line for each stage: HOOK, setup or teardown, CPU time and wall time in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS  64
#define MAX_HOOKS 16
#define SETTLE_MS 20 /* for a watcher to begin, which is nobody's time here */

extern char **environ;

static void die(const char *what)
{
    fprintf(stderr, "stages: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

static long long now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static char *read_file(const char *dir, const char *name)
{
    static char texts[2 * MAX_HOOKS + 1][16384];
    static size_t used;
    char path[4096], *text = texts[used++];
    FILE *file;

    snprintf(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", name);
    file = fopen(path, "re");
    if (!file)
        die(path);
    text[fread(text, 1, sizeof texts[0] - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void split_lines(char *text, char **lines)
{
    size_t count = 0;

    for (char *line = strtok(text, "\n"); line && count < MAX_ARGS; line = strtok(NULL, "\n"))
        lines[count++] = line;
    lines[count] = NULL;
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

/* A process where a runtime would have put it, and what it would tell of it. */
static pid_t start_process(const char *hook, const char *cgroup, char **dirs)
{
    char path[4096], text[4096];
    pid_t pid = fork();

    if (pid == 0) {
        for (;;)
            pause();
    }
    if (pid < 0)
        die("fork");
    for (; *dirs; dirs++) {
        snprintf(path, sizeof path, "%s%s/cgroup.procs", *dirs, cgroup);
        snprintf(text, sizeof text, "%d", (int)pid);
        write_text(path, text);
    }
    for (int stopped = 0; stopped < 2; stopped++) {
        snprintf(text, sizeof text,
                 "{\"ociVersion\": \"1.0.2\", \"id\": \"bench\", \"status\": \"%s\", \"pid\": %d, "
                 "\"bundle\": \"%s/bundle\"}\n",
                 stopped ? "stopped" : "created", stopped ? 0 : (int)pid, hook);
        snprintf(path, sizeof path, "%s/%s", hook, stopped ? "stopped" : "created");
        write_text(path, text);
    }
    return pid;
}

static void run(const char *hook, const char *stage, const char *state, char **argv)
{
    char path[4096];
    posix_spawn_file_actions_t files;
    struct rusage used;
    long long begin;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&files);
    snprintf(path, sizeof path, "%s/%s", hook, state);
    posix_spawn_file_actions_addopen(&files, 0, path, O_RDONLY, 0);
    snprintf(path, sizeof path, "%s/log", hook);
    posix_spawn_file_actions_addopen(&files, 1, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    begin = now_us();
    errno = posix_spawn(&pid, argv[0], &files, NULL, argv, environ);
    if (errno)
        die(argv[0]);
    if (wait4(pid, &status, 0, &used) != pid)
        die("wait4");
    if (status != 0) {
        fprintf(stderr, "stages: %s of %s failed, see %s\n", stage, hook, path);
        exit(1);
    }
    printf("%s %s %lld %lld\n", hook, stage,
           (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec +
               used.ru_stime.tv_usec,
           now_us() - begin);
    posix_spawn_file_actions_destroy(&files);
}

/*
 * Returns in a process that has another one, and above that only init, for ancestors. The caller of this function waits
 * for it, and ends as it does.
 */
static void play_below_init(void)
{
    int alive[2], status = 1;
    pid_t pid;

    if (pipe(alive) < 0 || (pid = fork()) < 0)
        die("fork");
    if (pid > 0) {
        close(alive[1]);
        waitpid(pid, NULL, 0);
        /* Nothing: it was killed. */
        if (read(alive[0], &status, sizeof status) != sizeof status)
            status = 1;
        exit(status);
    }
    close(alive[0]);
    pid = fork();
    if (pid != 0)
        _exit(0);
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid > 0) {
        if (waitpid(pid, &status, 0) == pid)
            status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        _exit(write(alive[1], &status, sizeof status) != sizeof status);
    }
    fcntl(alive[1], F_SETFD, FD_CLOEXEC);
}

int main(int argc, char **argv)
{
    static char *commands[MAX_HOOKS][2][MAX_ARGS + 1], *dirs[MAX_ARGS + 1];
    long rounds, idle_ms;
    int hooks = argc - 5, order[MAX_HOOKS];

    if (hooks < 1 || hooks > MAX_HOOKS) {
        fprintf(stderr, "usage: stages ROUNDS IDLE_MS CGROUP DIRS HOOK...\n");
        return 2;
    }
    rounds = atol(argv[1]);
    idle_ms = atol(argv[2]);
    split_lines(read_file("", argv[4]), dirs);
    for (int i = 0; i < hooks; i++) {
        order[i] = i;
        split_lines(read_file(argv[5 + i], "setup"), commands[i][0]);
        split_lines(read_file(argv[5 + i], "teardown"), commands[i][1]);
        if (!commands[i][0][0] || !commands[i][1][0])
            die(argv[5 + i]);
    }
    play_below_init();
    srandom((unsigned)now_us());
    for (long round = 0; round < rounds; round++) {
        for (int i = hooks - 1; i > 0; i--) {
            int other = (int)(random() % (i + 1)), kept = order[i];

            order[i] = order[other];
            order[other] = kept;
        }
        for (int i = 0; i < hooks; i++) {
            const char *hook = argv[5 + order[i]];
            pid_t pid = start_process(hook, argv[3], dirs);

            pause_ms(idle_ms);
            run(hook, "setup", "created", commands[order[i]][0]);
            pause_ms(SETTLE_MS);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            pause_ms(idle_ms);
            run(hook, "teardown", "stopped", commands[order[i]][1]);
        }
    }
    return 0;
}
