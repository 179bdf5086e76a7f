// SPDX-License-Identifier: Apache-2.0
/*
 * What no hook can do without, for tests/bench/run to measure the hook against: everything is hard-coded
 * that the hook has to find out, and nothing is verified, locked longer than needed, or taken back.
 *
 *   floor setup|teardown nested|sibling only|split CONFIGURATION STATE_DIR CGROUP NAME=DIR...
 *   floor parse FILE
 *
 * NAME is a hierarchy as /proc/PID/cgroup calls it, DIR where it is mounted, CGROUP the sandbox cgroup,
 * whose parents are there. It reads each input once (the state on stdin, config.json in the bundle
 * STATE_DIR/../bundle, the configuration, the process's start time and cgroups) and parses what is JSON;
 * has a lock, a claim and a record that is replaced as a whole; starts the process that stays and lets
 * it go last. With layout sibling it makes the cgroup in each hierarchy, with a quota, the devices that
 * runtimes allow, and on v1 the CPUs of its parent, and moves the process. Linked like the product.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <yajl/yajl_parse.h>

#define ID     "bench"
#define RECORD "sandboxes/" ID "/record.json"
#define LOCK   "sandboxes/" ID "/lock"
#define CLAIM  "paths/0123456789abcdef"

static bool sibling, split;
static char **hierarchies;
static int hierarchy_count;

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void need(bool done, const char *what)
{
    if (!done)
        die(what);
}

/* One read, and none to see that it was all. */
static size_t read_once(int dirfd, const char *path, char *text, size_t size)
{
    int fd = path ? openat(dirfd, path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    ssize_t len = fd >= 0 ? read(fd, text, size - 1) : -1;

    need(len >= 0, path ? path : "stdin");
    if (path)
        close(fd);
    text[len] = '\0';
    return (size_t)len;
}

static void read_json(int dirfd, const char *path, char *text, size_t size)
{
    size_t len = read_once(dirfd, path, text, size);
    yajl_handle parser = yajl_alloc(NULL, NULL, NULL);

    need(yajl_parse(parser, (const unsigned char *)text, len) == yajl_status_ok, "no JSON");
    yajl_free(parser);
}

static void write_once(int dirfd, const char *path, int flags, const char *text)
{
    int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | flags, 0600);

    need(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
    close(fd);
}

static long long number_of(const char *text, const char *key)
{
    const char *found = strstr(text, key);

    return found ? strtoll(found + strlen(key), NULL, 10) : 0;
}

static long long start_time(pid_t pid)
{
    char path[48], text[1024];
    const char *p;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    read_once(AT_FDCWD, path, text, sizeof text);
    p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoll(p, NULL, 10) : 0;
}

static bool is_of(const char *hierarchy, const char *controller)
{
    const char *found = strstr(hierarchy, controller);

    return found && found < strchr(hierarchy, '=') &&
           !strchr("abcdefghijklmnopqrstuvwxyz", found[strlen(controller)]);
}

static const char *file_of(const char *hierarchy, const char *cgroup, const char *file)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s%s%s", strrchr(hierarchy, '=') + 1, cgroup, file);
    return path;
}

static void set(const char *hierarchy, const char *cgroup, const char *file, const char *text)
{
    write_once(AT_FDCWD, file_of(hierarchy, cgroup, file), 0, text);
}

/* A new cpuset holds nobody before it has CPUs and memory nodes. */
static void inherit(const char *hierarchy, const char *cgroup, const char *file)
{
    char parent[4096], text[4096];

    snprintf(parent, sizeof parent, "%s", cgroup);
    *strrchr(parent, '/') = '\0';
    read_once(AT_FDCWD, file_of(hierarchy, parent, file), text, sizeof text);
    set(hierarchy, cgroup, file, text);
}

static void allow_devices(const char *hierarchy, const char *cgroup)
{
    static const char *const devices[] = {
        "b *:* m",      "c 1:3 rwm",   "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
        "c 1:9 rwm",    "c 5:0 rwm",   "c 5:1 rwm", "c 5:2 rwm", "c 10:200 rwm",
        "c 10:232 rwm", "c 136:* rwm", "c *:* m"};
    int fd;

    set(hierarchy, cgroup, "/devices.deny", "a");
    fd = open(file_of(hierarchy, cgroup, "/devices.allow"), O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        need(write(fd, devices[i], strlen(devices[i])) > 0, devices[i]);
    close(fd);
}

static void make_cgroups(const char *cgroup)
{
    for (int i = 0; i < hierarchy_count; i++) {
        const char *h = hierarchies[i];

        need(mkdir(file_of(h, cgroup, ""), 0755) == 0, "mkdir");
        if (is_of(h, "cpuset")) {
            inherit(h, cgroup, "/cpuset.cpus");
            inherit(h, cgroup, "/cpuset.mems");
        }
        if (is_of(h, "devices"))
            allow_devices(h, cgroup);
        if (is_of(h, "cpu")) {
            set(h, cgroup, "/cpu.cfs_period_us", "100000");
            set(h, cgroup, "/cpu.cfs_quota_us", "400000");
        } else if (hierarchy_count == 1) {
            set(h, cgroup, "/cpu.max", "400000 100000");
        }
    }
}

/* Who stays. Returns the pipe that lets it go. */
static int start_watcher(pid_t *ret)
{
    int pipe_fds[2];
    char byte;

    need(pipe2(pipe_fds, O_CLOEXEC) == 0, "pipe2");
    *ret = fork();
    need(*ret >= 0, "fork");
    if (*ret == 0) {
        /* Nothing stays open, least of all the lock. */
        dup2(pipe_fds[0], 0);
        syscall(SYS_close_range, 1, ~0u, 0);
        setsid();
        while (read(0, &byte, 1) == 1)
            pause();
        _exit(0);
    }
    close(pipe_fds[0]);
    return pipe_fds[1];
}

static void write_record(int dir, pid_t pid, pid_t watcher)
{
    char text[1024];
    size_t len;

    len = (size_t)snprintf(text, sizeof text,
                           "{\"pid\":%d,\"start_time\":%lld,\"watcher\":%d,\"watched_since\":%lld,"
                           "\"rest\":\"",
                           (int)pid, start_time(pid), (int)watcher,
                           watcher ? start_time(watcher) : 0);
    memset(text + len, 'x', 500); /* about what a record of the hook's has */
    strcpy(text + len + 500, "\"}");
    write_once(dir, RECORD ".tmp", O_CREAT | O_EXCL, text);
    need(renameat(dir, RECORD ".tmp", dir, RECORD) == 0, "renameat");
}

static void set_up(int dir, const char *cgroup)
{
    char text[16384], id[16];
    bool watched = sibling || split;
    pid_t pid, watcher = 0;
    int go = -1;

    read_json(AT_FDCWD, NULL, text, sizeof text);
    pid = (pid_t)number_of(text, "\"pid\":");
    read_json(dir, "../bundle/config.json", text, sizeof text);
    snprintf(id, sizeof id, "%d", (int)pid);
    snprintf(text, sizeof text, "/proc/%d/cgroup", (int)pid);
    read_once(AT_FDCWD, text, text, sizeof text);
    need(mkdirat(dir, "sandboxes/" ID, 0700) == 0, "sandboxes/" ID);
    need(flock(openat(dir, LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600), LOCK_EX | LOCK_NB) == 0,
         LOCK);
    if (sibling)
        need(symlinkat(cgroup, dir, CLAIM) == 0, CLAIM);
    if (watched)
        go = start_watcher(&watcher);
    write_record(dir, pid, watcher);
    if (sibling) {
        make_cgroups(cgroup);
        for (int i = 0; i < hierarchy_count; i++)
            set(hierarchies[i], cgroup, "/cgroup.procs", id);
    }
    need(!watched || write(go, "g", 1) == 1, "the watcher");
}

static void end_watcher(pid_t watcher, long long since)
{
    struct pollfd fd = {.fd = (int)syscall(SYS_pidfd_open, watcher, 0), .events = POLLIN};

    need(fd.fd >= 0 && start_time(watcher) == since, "no watcher");
    need(syscall(SYS_pidfd_send_signal, fd.fd, SIGTERM, NULL, 0) == 0, "pidfd_send_signal");
    need(poll(&fd, 1, 5000) == 1, "the watcher does not end");
    close(fd.fd);
}

static void tear_down(int dir, const char *cgroup)
{
    char text[16384];
    pid_t watcher;

    read_json(AT_FDCWD, NULL, text, sizeof text);
    need(flock(openat(dir, LOCK, O_RDWR | O_CLOEXEC), LOCK_EX) == 0, LOCK);
    read_json(dir, RECORD, text, sizeof text);
    watcher = (pid_t)number_of(text, "\"watcher\":");
    if (watcher)
        end_watcher(watcher, number_of(text, "\"watched_since\":"));
    for (int i = 0; sibling && i < hierarchy_count; i++)
        need(rmdir(file_of(hierarchies[i], cgroup, "")) == 0, cgroup);
    need(!sibling || unlinkat(dir, CLAIM, 0) == 0, CLAIM);
    need(unlinkat(dir, RECORD, 0) == 0 && unlinkat(dir, LOCK, 0) == 0 &&
             unlinkat(dir, "sandboxes/" ID, AT_REMOVEDIR) == 0,
         "sandboxes/" ID);
}

/* Nothing but yajl's own work on a file. */
static int parse(const char *path)
{
    struct stat st;
    char *text;

    need(stat(path, &st) == 0, path);
    text = malloc((size_t)st.st_size + 1);
    need(text != NULL, "malloc");
    read_json(AT_FDCWD, path, text, (size_t)st.st_size + 1);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    char text[16384];
    int dir;

    if (argc == 3 && strcmp(argv[1], "parse") == 0)
        return parse(argv[2]);

    if (argc < 8) {
        fprintf(stderr, "usage: floor setup|teardown nested|sibling only|split CONFIGURATION "
                        "STATE_DIR CGROUP NAME=DIR...\n       floor parse FILE\n");
        return 2;
    }
    sibling = strcmp(argv[2], "sibling") == 0;
    split = strcmp(argv[3], "split") == 0;
    hierarchies = argv + 7;
    hierarchy_count = argc - 7;
    read_json(AT_FDCWD, argv[4], text, sizeof text);
    dir = open(argv[5], O_PATH | O_DIRECTORY | O_CLOEXEC);
    need(dir >= 0, argv[5]);
    if (strcmp(argv[1], "setup") == 0)
        set_up(dir, argv[6]);
    else
        tear_down(dir, argv[6]);
    return 0;
}
