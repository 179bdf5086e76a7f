/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The resource controller against the kernel of this host. All cgroups are made below
 * /osc-unit-PID of each hierarchy, and removed by .fini; what a crashed test left is removed by the
 * next one. Skipped without root or writable hierarchies.
 *
 * The v2 backend is tested wherever a cgroup2 file system is mounted, beside v1 or not: the host it
 * gets to see is one hierarchy whose root is our own cgroup.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "cgroup/devices/bpf.h"
#include "cgroup/ops.h"
#include "cgroup/parents.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define PREFIX "osc-unit-"

static struct arena arena;
static struct cg_host real;        /* as discovered */
static struct cg_host v2host;      /* our own cgroup in the cgroup2 mount, as if nothing else was */
static const struct cg_files none; /* no limits */
static char base[64];              /* "/osc-unit-PID" */
static const char *skip_reason;

/* --- plain tools that do not use what is tested --- */

static char *sub(const char *name)
{
    return arena_printf(&arena, "%s/%s", base, name);
}

/* O_PATH of a cgroup directory, FD_NONE if it is not there. */
static int open_cgroup(const struct cg_hierarchy *h, const char *path)
{
    int fd = openat(h->fd, path[1] ? path + 1 : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? FD_NONE : fd;
}

static bool exists(const struct cg_hierarchy *h, const char *path)
{
    autofd fd = open_cgroup(h, path);

    return fd >= 0;
}

static unsigned count_existing(const struct cg_host *host, const char *path)
{
    unsigned count = 0;

    for (size_t i = 0; i < host->count; i++)
        count += exists(&host->hierarchies[i], path);
    return count;
}

static void make_cgroup(const struct cg_hierarchy *h, const char *path)
{
    cr_assert(mkdirat(h->fd, path + 1, 0755) == 0 || errno == EEXIST, "%s%s: %s", h->mount_point,
              path, strerror(errno));
}

/* Content without the last newline; "(none)" if it cannot be read. */
static const char *read_value(const struct cg_hierarchy *h, const char *path, const char *file)
{
    autofd dir = open_cgroup(h, path);
    autofd fd = dir < 0 ? FD_NONE : openat(dir, file, O_RDONLY | O_CLOEXEC);
    char text[4096];
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (len < 0)
        return "(none)";
    return arena_strndup(&arena, text, (size_t)len - (len > 0 && text[len - 1] == '\n'));
}

static int write_value(const struct cg_hierarchy *h, const char *path, const char *file,
                       const char *text)
{
    autofd dir = open_cgroup(h, path);
    autofd fd = dir < 0 ? FD_NONE : openat(dir, file, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -ENOENT;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int write_pid(const struct cg_hierarchy *h, const char *path, const char *file, pid_t pid)
{
    return write_value(h, path, file, arena_printf(&arena, "%d", pid));
}

/* Where a task is in a hierarchy, as /proc/PID/cgroup writes it. */
static const char *where(const struct cg_hierarchy *h, pid_t pid)
{
    char line[PATH_MAX + 256], name[64];
    const char *found = "(nowhere)";
    FILE *f;

    snprintf(name, sizeof name, "/proc/%d/cgroup", pid);
    f = fopen(name, "re");
    while (f && fgets(line, sizeof line, f)) {
        char *controllers = strchr(line, ':') + 1, *path = strchr(controllers, ':');

        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        if (h->v2 ? str_starts(line, "0:") : str_eq(controllers, h->name))
            found = arena_strdup(&arena, path);
    }
    if (f)
        fclose(f);
    return found;
}

/* The same text for a path below the hierarchy's root. */
static const char *seen_as(const struct cg_hierarchy *h, const char *path)
{
    if (str_eq(h->root, "/"))
        return path;
    return str_eq(path, "/") ? h->root : arena_printf(&arena, "%s%s", h->root, path);
}

static void expect_where(const struct cg_host *host, pid_t pid, const char *path, const char *what)
{
    for (size_t i = 0; i < host->count; i++) {
        const struct cg_hierarchy *h = &host->hierarchies[i];

        cr_expect(str_eq(where(h, pid), seen_as(h, path)), "%s: %d in %s: expected %s, got %s",
                  what, pid, h->name, seen_as(h, path), where(h, pid));
    }
}

/*
 * Remove a cgroup and what is below it. False if something is left. Nothing is ever signalled for
 * being in there: a defect in what is tested may have put a process of the host in.
 */
static bool remove_tree(int at, const char *name)
{
    autodir dir = io_opendir_at(at, name);
    struct dirent *entry;

    if (!dir)
        return errno == ENOENT;
    while ((entry = io_next_entry(dir))) {
        if (entry->d_type == DT_DIR)
            remove_tree(dirfd(dir), entry->d_name);
    }
    return unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* What tests that crashed have left: their process is gone. */
static void remove_stale(const struct cg_hierarchy *h)
{
    autodir dir = io_opendir_at(h->fd, ".");
    struct dirent *entry;

    while ((entry = io_next_entry(dir))) {
        int pid;

        if (sscanf(entry->d_name, PREFIX "%d", &pid) == 1 && kill(pid, 0) < 0 && errno == ESRCH)
            remove_tree(h->fd, entry->d_name);
    }
}

/* --- payload --- */

struct worker {
    pid_t pid;
    int fd; /* the command channel */
};

static pid_t children[64];
static size_t child_count;

/* Commands: 'f' open /dev/full, 'n' open /dev/null (both: errno), 'm' touch 8 MiB, 'c' use the CPU
 * for a moment. The answer is one int. */
static int obey(char command)
{
    char *memory;
    int fd;

    switch (command) {
    case 'f':
    case 'n':
        fd = open(command == 'f' ? "/dev/full" : "/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return errno;
        close(fd);
        return 0;
    case 'm':
        memory = malloc(8 << 20);
        for (size_t i = 0; memory && i < 8 << 20; i += 4096)
            ((volatile char *)memory)[i] = 1;
        return memory ? 0 : ENOMEM;
    default:
        for (volatile unsigned i = 0; i < 20000000; i++)
            ;
        return 0;
    }
}

static pid_t track(pid_t pid)
{
    cr_assert_gt(pid, 0);
    cr_assert_lt(child_count, ARRAY_SIZE(children));
    return children[child_count++] = pid;
}

static struct worker start_worker(void)
{
    int pair[2];
    pid_t pid;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid = fork();
    if (pid == 0) {
        char command;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        while (read(pair[1], &command, 1) == 1) {
            int answer = obey(command);

            if (write(pair[1], &answer, sizeof answer) != sizeof answer)
                break;
        }
        _exit(0);
    }
    close(pair[1]);
    return (struct worker){.pid = track(pid), .fd = pair[0]};
}

static int ask(const struct worker *w, char command)
{
    int answer = -1;

    cr_assert_eq(write(w->fd, &command, 1), 1);
    cr_assert_eq(read(w->fd, &answer, sizeof answer), (ssize_t)sizeof answer);
    return answer;
}

static pid_t start_child(void)
{
    return start_worker().pid;
}

#define THREADS 3

static void *tell_and_wait(void *arg)
{
    int fd = *(int *)arg;
    pid_t tid = gettid();

    if (write(fd, &tid, sizeof tid) != sizeof tid)
        _exit(1);
    for (;;)
        pause();
    return NULL;
}

/* A process with THREADS threads besides its first; their ids. */
static pid_t start_threads(pid_t tids[static THREADS])
{
    int fds[2];
    pid_t pid;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        pthread_t thread;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < THREADS; i++)
            pthread_create(&thread, NULL, tell_and_wait, &fds[1]);
        for (;;)
            pause();
    }
    close(fds[1]);
    track(pid);
    cr_assert_eq(io_read_full(fds[0], (char *)tids, THREADS * sizeof *tids),
                 (ssize_t)(THREADS * sizeof *tids));
    close(fds[0]);
    return pid;
}

/* Only what is still our child: the number of one that was waited for may be somebody else's. */
static void end_child(pid_t pid)
{
    if (waitpid(pid, NULL, WNOHANG) != 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* --- suite --- */

static bool writable(const struct cg_hierarchy *h)
{
    if (mkdirat(h->fd, base + 1, 0755) < 0)
        return false;
    return unlinkat(h->fd, base + 1, AT_REMOVEDIR) == 0;
}

static void open_v2(void)
{
    const struct cg_hierarchy *h = NULL;
    struct cg_hierarchy *own = &v2host.hierarchies[0];

    for (size_t i = 0; i < real.count; i++)
        h = real.hierarchies[i].v2 ? &real.hierarchies[i] : h;
    if (!h)
        return;
    make_cgroup(h, base);
    v2host.mode = CG_MODE_V2;
    v2host.count = 1;
    *own = *h;
    own->fd = open_cgroup(h, base);
    own->root = seen_as(h, base);
    own->mount_point = arena_printf(&arena, "%s%s", h->mount_point, base);
    own->controllers = cg_ctl_parse_list(read_value(h, base, "cgroup.controllers"), ' ', true);
}

static void start(void)
{
    struct err e = ERR_INIT;

    snprintf(base, sizeof base, "/" PREFIX "%d", getpid());
    if (geteuid() != 0) {
        skip_reason = "needs root";
        return;
    }
    if (cg_host_open(&arena, &real, &e) < 0) {
        skip_reason = arena_strdup(&arena, e.text);
        return;
    }
    for (size_t i = 0; i < real.count; i++) {
        remove_stale(&real.hierarchies[i]);
        if (!writable(&real.hierarchies[i]))
            skip_reason = arena_printf(&arena, "cannot make cgroups in %s: %s",
                                       real.hierarchies[i].mount_point, strerror(errno));
    }
}

static void finish(void)
{
    bool left = true;

    for (size_t i = 0; i < child_count; i++)
        end_child(children[i]);
    fd_close(&v2host.hierarchies[0].fd);
    for (int tries = 0; left && tries < 200; tries++) {
        left = false;
        for (size_t i = 0; i < real.count; i++)
            left = !remove_tree(real.hierarchies[i].fd, base + 1) || left;
        if (left)
            io_sleep_ms(10);
    }
    cr_expect_not(left, "%s is left behind", base);
    cg_host_close(&real);
    arena_free(&arena);
}

TestSuite(controller, .init = start, .fini = finish, .timeout = 120);

static void need_v1(void)
{
    if (skip_reason)
        cr_skip_test("%s", skip_reason);
    if (real.mode == CG_MODE_V2)
        cr_skip_test("no v1 controller is mounted");
}

static const struct cg_hierarchy *need_v1_ctl(enum cg_ctl ctl)
{
    const struct cg_hierarchy *h;

    need_v1();
    h = cg_host_find(&real, ctl);
    if (!h || h->v2)
        cr_skip_test("no v1 %s hierarchy", cg_ctl_name(ctl, false));
    return h;
}

static struct cg_hierarchy *need_v2(void)
{
    if (skip_reason)
        cr_skip_test("%s", skip_reason);
    open_v2();
    if (v2host.count == 0)
        cr_skip_test("no cgroup2 file system is mounted");
    return &v2host.hierarchies[0];
}

static void expect_ok(int r, const struct err *e, const char *what)
{
    cr_assert_eq(r, 0, "%s: %d %s", what, r, e->text);
}

static struct cg_controller create(const struct cg_host *host, struct cg_parents *parents,
                                   const char *path, const char *leaf, bool owns,
                                   const struct cg_files *files)
{
    struct cg_controller c;
    struct err e = ERR_INIT;

    cg_init(&c, host, parents, path, leaf, owns);
    expect_ok(cg_create(&c, files, NULL, &e), &e, "create");
    return c;
}

static void delete_ok(struct cg_controller *c)
{
    struct err e = ERR_INIT;

    expect_ok(cg_delete(c, 10000, &e), &e, "delete");
}

static struct cg_files files_of(const struct cg_limits *limits, bool v2)
{
    const char **warnings = NULL;
    size_t warning_count = 0;
    struct cg_files files;
    struct err e = ERR_INIT;

    expect_ok(cg_limits_files(limits, v2, &arena, &files, &warnings, &warning_count, &e), &e,
              "limits");
    return files;
}

static bool in_list(const struct cg_pids *pids, pid_t pid)
{
    size_t found = 0;

    for (size_t i = 0; i < pids->count; i++)
        found += pids->items[i] == pid;
    cr_expect_leq(found, 1, "%d is listed %zu times", pid, found);
    return found > 0;
}

/* --- create, load, undo --- */

Test(controller, create_and_undo)
{
    struct cg_controller c, again;
    const char *path = sub("a");
    struct err e = ERR_INIT;

    need_v1();
    c = create(&real, NULL, path, NULL, false, &none);
    cr_expect_eq(count_existing(&real, path), real.count, "made in every hierarchy");
    cr_expect_eq(c.made, (UINT32_C(1) << real.count) - 1, "made: %#x", c.made);
    for (size_t i = 0; i < real.count; i++) {
        cr_expect_geq(c.fds[i], 0);
        cr_expect(fcntl(c.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    /* again, on the same struct and on another one */
    expect_ok(cg_create(&c, &none, NULL, &e), &e, "create again");
    again = create(&real, NULL, path, NULL, false, &none);
    cr_expect_eq(again.made, 0, "there was nothing to make: %#x", again.made);
    cg_undo_create(&again);
    cr_expect_eq(count_existing(&real, path), real.count, "undo removes only what it made");
    cg_undo_create(&c);
    cr_expect_eq(count_existing(&real, path), 0, "undo removed it");
    cr_expect(c.made == 0 && c.fds[0] == FD_NONE);
    cg_undo_create(&c);
}

Test(controller, undo_removes_only_new_hierarchies)
{
    const char *path = sub("a");
    struct cg_controller c;

    need_v1();
    make_cgroup(&real.hierarchies[1], base);
    make_cgroup(&real.hierarchies[1], path);
    c = create(&real, NULL, path, NULL, false, &none);
    cr_expect_eq(c.made, ((UINT32_C(1) << real.count) - 1) & ~2u, "made: %#x", c.made);
    cg_undo_create(&c);
    cr_expect_eq(count_existing(&real, path), 1);
    cr_expect(exists(&real.hierarchies[1], path), "it was there before");
}

Test(controller, undo_leaves_busy)
{
    struct cg_controller c;
    pid_t pid;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    pid = start_child();
    cr_assert_eq(write_pid(&real.hierarchies[0], c.path, "cgroup.procs", pid), 0);
    cg_undo_create(&c);
    cr_expect_eq(count_existing(&real, c.path), 1, "what is busy stays, the rest goes");
    cr_expect(exists(&real.hierarchies[0], c.path));
}

Test(controller, failed_create_is_undone)
{
    const struct cg_hierarchy *cpu = need_v1_ctl(CG_CTL_CPU);
    struct cg_file bad = {.ctl = CG_CTL_CPU, .file = "cpu.shares", .text = "many"};
    struct cg_files files = {.items = &bad, .count = 1};
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r;

    cg_init(&c, &real, NULL, sub("a"), NULL, false);
    r = cg_create(&c, &files, NULL, &e);
    cr_expect_eq(r, -EINVAL, "expected %d, got %d", -EINVAL, r);
    cr_expect(strstr(e.text, arena_printf(&arena, "\"many\" to %s%s/cpu.shares: EINVAL",
                                          cpu->mount_point, c.path)),
              "value and full path: \"%s\"", e.text);
    cr_expect_eq(count_existing(&real, c.path), real.count, "nothing is undone by itself");
    cg_undo_create(&c);
    cr_expect_eq(count_existing(&real, c.path), 0);
}

Test(controller, load)
{
    const char *path = sub("a");
    struct cg_controller c, loaded;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t pid;

    need_v1();
    cg_init(&loaded, &real, NULL, path, NULL, false);
    cr_expect_eq(cg_load(&loaded, &e), -ENOENT);
    cr_expect(strstr(e.text, path) && strstr(e.text, "does not exist"), "\"%s\"", e.text);
    err_reset(&e);

    c = create(&real, NULL, path, NULL, false, &none);
    cg_close(&c);
    cr_expect_eq(c.fds[0], FD_NONE);
    cr_expect_eq(count_existing(&real, path), real.count, "closing leaves the cgroup");
    for (int i = 0; i < 2; i++)
        expect_ok(cg_load(&loaded, &e), &e, "load");
    for (size_t i = 0; i < real.count; i++)
        cr_expect_geq(loaded.fds[i], 0, "%s", real.hierarchies[i].name);
    cr_expect_eq(loaded.made, 0);

    /* gone in one hierarchy: opened in the others, and used there */
    cr_assert_eq(unlinkat(real.hierarchies[0].fd, path + 1, AT_REMOVEDIR), 0);
    expect_ok(cg_load(&loaded, &e), &e, "load what is left");
    for (size_t i = 0; i < real.count; i++)
        cr_expect_eq(loaded.fds[i] >= 0, i > 0, "%s: %d", real.hierarchies[i].name, loaded.fds[i]);
    pid = start_child();
    expect_ok(cg_add_process(&loaded, pid, &e), &e, "add");
    cr_expect_str_eq(where(&real.hierarchies[0], pid), where(&real.hierarchies[0], getpid()));
    cr_expect_str_eq(where(&real.hierarchies[1], pid), path);
    expect_ok(cg_threads(&loaded, &arena, &pids, &e), &e, "threads of another hierarchy");
    cr_expect(pids.count == 1 && in_list(&pids, pid), "got %zu", pids.count);
    end_child(pid);
    delete_ok(&loaded);
}

Test(controller, names)
{
    struct cg_controller c;
    char buf[32];

    need_v1();
    cg_init(&c, &real, NULL, "/a/b", NULL, false);
    cr_expect_str_eq(cg_type(&c, buf), "v1");
    cr_expect_str_eq(cg_id(&c, &arena), "/a/b");
    cr_expect_str_eq(cg_parent(&c, &arena), "/a");
    cg_init(&c, &real, NULL, "/a", NULL, false);
    cr_expect_str_eq(cg_parent(&c, &arena), "/");
    cg_close(&c);
}

/* --- cpuset --- */

Test(controller, cpuset_is_filled_top_down)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_CPUSET);
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    const char *levels[] = {base, sub("a"), sub("a/b")};
    struct cg_controller c = create(&real, NULL, levels[2], NULL, false, &none);
    pid_t pid = start_child();
    struct err e = ERR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *want = read_value(h, "/", files[i]);

        cr_expect_str_neq(want, "");
        for (size_t k = 0; k < ARRAY_SIZE(levels); k++)
            cr_expect_str_eq(read_value(h, levels[k], files[i]), want);
    }
    expect_ok(cg_add_process(&c, pid, &e), &e, "it takes tasks");
    end_child(pid);
    delete_ok(&c);
}

/* The last CPU of the root's list. */
static const char *last_cpu(const struct cg_hierarchy *h)
{
    const char *cpus = read_value(h, "/", "cpuset.cpus");
    size_t len = strlen(cpus);

    while (len > 0 && cpus[len - 1] != ',' && cpus[len - 1] != '-')
        len--;
    if (len == 0)
        cr_skip_test("one CPU only: a value cannot differ from its parent's");
    return cpus + len;
}

Test(controller, cpuset_from_nearest_configured_ancestor)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_CPUSET);
    const char *one = last_cpu(h), *all = read_value(h, "/", "cpuset.cpus");
    const char *mems = read_value(h, "/", "cpuset.mems");
    struct cg_controller c;

    /* base is configured, a exists and is not, b is missing */
    make_cgroup(h, base);
    cr_assert_eq(write_value(h, base, "cpuset.cpus", one), 0);
    make_cgroup(h, sub("a"));
    c = create(&real, NULL, sub("a/b/c"), NULL, false, &none);
    cr_expect_str_eq(read_value(h, base, "cpuset.cpus"), one);
    cr_expect_str_eq(read_value(h, base, "cpuset.mems"), mems, "the other file is its own matter");
    cr_expect_str_eq(read_value(h, sub("a"), "cpuset.cpus"), one);
    cr_expect_str_eq(read_value(h, sub("a/b"), "cpuset.cpus"), one);
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), one);
    cr_expect_str_eq(read_value(h, c.path, "cpuset.mems"), mems);

    /* what is configured is left alone, even when its parent has more */
    cr_assert_eq(write_value(h, base, "cpuset.cpus", all), 0);
    cg_close(&c);
    c = create(&real, NULL, sub("a/b/c"), NULL, false, &none);
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), one);
    delete_ok(&c);
}

Test(controller, cpuset_limit)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_CPUSET);
    const char *one = last_cpu(h), *all = read_value(h, "/", "cpuset.cpus");
    const char *mems = read_value(h, "/", "cpuset.mems");
    const struct cg_limits limits = {.cpuset_cpus = one};
    const struct cg_files files = files_of(&limits, false);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &files);
    struct err e = ERR_INIT;

    cr_expect_str_eq(read_value(h, base, "cpuset.cpus"), all, "a parent is not limited");
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), one);
    cr_expect_str_eq(read_value(h, c.path, "cpuset.mems"), mems);

    /* later changes */
    expect_ok(cg_update_cpuset(&c, all, NULL, &e), &e, "cpus");
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), all);
    expect_ok(cg_update_cpuset(&c, one, "", &e), &e, "cpus, empty mems");
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), one);
    cr_expect_str_eq(read_value(h, c.path, "cpuset.mems"), mems);
    expect_ok(cg_update_cpuset(&c, "", mems, &e), &e, "mems");
    expect_ok(cg_update_cpuset(&c, all, mems, &e), &e, "both");
    expect_ok(cg_update_cpuset(&c, all, mems, &e), &e, "both again");
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), all);
    expect_ok(cg_update_cpuset(&c, NULL, NULL, &e), &e, "neither");
    cr_expect_str_eq(read_value(h, c.path, "cpuset.cpus"), all);
    cr_expect_lt(cg_update_cpuset(&c, "8191", NULL, &e), 0, "no such CPU");
    cr_expect(strstr(e.text, "\"8191\"") && strstr(e.text, "cpuset.cpus"), "\"%s\"", e.text);
    delete_ok(&c);
}

Test(controller, update_cpuset_without_controller)
{
    struct cg_controller c;
    struct cg_host host;
    struct err e = ERR_INIT;

    need_v1();
    /* the same host without its cpuset hierarchy */
    host = real;
    host.count = 0;
    for (size_t i = 0; i < real.count; i++) {
        if (!(real.hierarchies[i].controllers & CG_CTL_BIT(CG_CTL_CPUSET)))
            host.hierarchies[host.count++] = real.hierarchies[i];
    }
    c = create(&host, NULL, sub("a"), NULL, false, &none);
    cr_expect_eq(cg_update_cpuset(&c, "0", NULL, &e), -ENOENT);
    cr_expect(strstr(e.text, "cpuset"), "\"%s\"", e.text);
    cr_expect_eq(cg_update_cpuset(&c, NULL, NULL, NULL), 0, "nothing to set");
    delete_ok(&c);
}

/* --- limits --- */

Test(controller, update_writes_each_file)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file, *text, *want;
    } cases[] = {
        {CG_CTL_CPU, "cpu.shares", "512", "512"},
        {CG_CTL_CPU, "cpu.cfs_quota_us", "50000", "50000"},
        {CG_CTL_CPU, "cpu.cfs_quota_us", "-1", "-1"},
        {CG_CTL_PIDS, "pids.max", "77", "77"},
        {CG_CTL_PIDS, "pids.max", "max", "max"},
        {CG_CTL_MEMORY, "memory.limit_in_bytes", "67108864", "67108864"},
        {CG_CTL_MEMORY, "memory.soft_limit_in_bytes", "33554432", "33554432"},
    };
    struct cg_controller c;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct cg_hierarchy *h = cg_host_find(&real, cases[i].ctl);
        struct cg_file file = {.ctl = cases[i].ctl, .file = cases[i].file, .text = cases[i].text};
        struct cg_files files = {.items = &file, .count = 1};
        struct err e = ERR_INIT;

        if (!h || h->v2)
            continue;
        for (int k = 0; k < 2; k++) {
            int r = cg_update(&c, &files, &e);

            cr_expect_eq(r, 0, "%s=%s: %s", cases[i].file, cases[i].text, e.text);
            cr_expect_str_eq(read_value(h, c.path, cases[i].file), cases[i].want);
        }
    }
    delete_ok(&c);
}

/* Made-up lists show what each flag is for. */
Test(controller, update_flags)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_CPU);
    enum { OPT = CG_FILE_OPTIONAL, EITHER = CG_FILE_EITHER, RETRY = CG_FILE_RETRY };
    static const struct {
        const char *name;
        struct cg_file files[4];
        int result;
        const char *shares; /* afterwards; it starts as 1000 */
        const char *error;
    } cases[] = {
        {"missing", {{CG_CTL_CPU, "cpu.none", "1", 0}}, -ENOENT, "1000", "cpu.none"},
        {"missing says why", {{CG_CTL_CPU, "cpu.none", "1", 0}}, -ENOENT, "1000", "cpu controller"},
        {"missing, before others",
         {{CG_CTL_CPU, "cpu.none", "1", 0}, {CG_CTL_CPU, "cpu.shares", "5", 0}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"written before the failing one stays",
         {{CG_CTL_CPU, "cpu.shares", "5", 0}, {CG_CTL_CPU, "cpu.none", "1", 0}},
         -ENOENT,
         "5",
         "cpu.none"},
        {"optional",
         {{CG_CTL_CPU, "cpu.none", "1", OPT}, {CG_CTL_CPU, "cpu.shares", "6", 0}},
         0,
         "6",
         NULL},
        {"optional forgives nothing else",
         {{CG_CTL_CPU, "cpu.shares", "x", OPT}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"either: first",
         {{CG_CTL_CPU, "cpu.shares", "7", EITHER}, {CG_CTL_CPU, "cpu.none", "1", EITHER}},
         0,
         "7",
         NULL},
        {"either: second",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}, {CG_CTL_CPU, "cpu.shares", "8", EITHER}},
         0,
         "8",
         NULL},
        {"either: both are written",
         {{CG_CTL_CPU, "cpu.shares", "9", EITHER}, {CG_CTL_CPU, "cpu.shares", "10", EITHER}},
         0,
         "10",
         NULL},
        {"either: none",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}, {CG_CTL_CPU, "cpu.none2", "1", EITHER}},
         -ENOENT,
         "1000",
         "cpu.none2"},
        {"either: only one listed",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"either: an error is one",
         {{CG_CTL_CPU, "cpu.shares", "x", EITHER}, {CG_CTL_CPU, "cpu.shares", "8", EITHER}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"either ends where the flag ends",
         {{CG_CTL_CPU, "cpu.none", "1", EITHER}, {CG_CTL_CPU, "cpu.shares", "8", 0}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"a list is one write without the flag",
         {{CG_CTL_CPU, "cpu.shares", "11\n12", 0}},
         -EINVAL,
         "1000",
         "11\\x0a12"},
        {"lines", {{CG_CTL_CPU, "cpu.shares", "11\n12", CG_FILE_LINES}}, 0, "12", NULL},
        {"lines: one", {{CG_CTL_CPU, "cpu.shares", "13", CG_FILE_LINES}}, 0, "13", NULL},
        {"lines: the first failing one ends it",
         {{CG_CTL_CPU, "cpu.shares", "14\nx\n15", CG_FILE_LINES}},
         -EINVAL,
         "14",
         "cpu.shares"},
        {"retry: still refused",
         {{CG_CTL_CPU, "cpu.shares", "x", RETRY}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"retry: missing is no matter of order",
         {{CG_CTL_CPU, "cpu.none", "1", RETRY}},
         -ENOENT,
         "1000",
         "cpu.none"},
        {"retry goes on with the others",
         {{CG_CTL_CPU, "cpu.shares", "x", RETRY}, {CG_CTL_CPU, "cpu.shares", "16", 0}},
         -EINVAL,
         "16",
         "\"x\""},
        {"retry with an optional one that is missing",
         {{CG_CTL_CPU, "cpu.none", "1", RETRY | OPT}, {CG_CTL_CPU, "cpu.shares", "17", RETRY}},
         0,
         "17",
         NULL},
        {"retry: a missing optional one is fine the second time, too",
         {{CG_CTL_CPU, "cpu.none", "1", RETRY | OPT}, {CG_CTL_CPU, "cpu.shares", "x", RETRY}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"retry: optional forgives nothing else",
         {{CG_CTL_CPU, "cpu.shares", "x", RETRY | OPT}},
         -EINVAL,
         "1000",
         "\"x\""},
        {"no controller",
         {{CG_CTL_COUNT - 1, "misc.max", "1", 0}},
         -ENOENT,
         "1000",
         "misc controller"},
        {"nothing", {{0}}, 0, "1000", NULL},
    };
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_file list[4];
        struct cg_files files = {.items = list};
        struct err e = ERR_INIT;
        const char *shares;
        int r;

        memcpy(list, cases[i].files, sizeof list);
        while (files.count < ARRAY_SIZE(list) && list[files.count].file)
            files.count++;
        cr_assert_eq(write_value(h, c.path, "cpu.shares", "1000"), 0);
        r = cg_update(&c, &files, &e);
        shares = read_value(h, c.path, "cpu.shares");
        cr_expect(r == cases[i].result && str_eq(shares, cases[i].shares),
                  "%s: expected %d, shares %s; got %d, shares %s \"%s\"", cases[i].name,
                  cases[i].result, cases[i].shares, r, shares, e.text);
        if (cases[i].error)
            cr_expect(strstr(e.text, cases[i].error), "%s: expected \"%s\" in \"%s\"",
                      cases[i].name, cases[i].error, e.text);
        else
            cr_expect_str_eq(e.text, "", "%s: \"%s\"", cases[i].name, e.text);
    }
    delete_ok(&c);
}

/* The parent's quota forbids the new period with the old quota: the quota must go first. */
Test(controller, update_quota_and_period)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_CPU);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
    static const struct {
        int64_t quota, period;
    } steps[] = {{50000, 100000}, {5000, 10000}, {50000, 100000}, {500000, 1000000}, {1000, 2000}};

    cr_assert_eq(write_value(h, base, "cpu.cfs_quota_us", "50000"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct cg_limits limits = {.cpu_quota_us = {true, steps[i].quota},
                                         .cpu_period_us = {true, steps[i].period}};
        const struct cg_files files = files_of(&limits, false);
        struct err e = ERR_INIT;
        int r = cg_update(&c, &files, &e);
        const char *got = arena_printf(&arena, "%s %s", read_value(h, c.path, "cpu.cfs_quota_us"),
                                       read_value(h, c.path, "cpu.cfs_period_us"));
        const char *want =
            arena_printf(&arena, "%" PRId64 " %" PRId64, steps[i].quota, steps[i].period);

        cr_expect(r == 0 && str_eq(got, want), "step %zu: expected %s, got %d %s %s", i, want, r,
                  got, e.text);
    }
    delete_ok(&c);
}

/* The kernel refuses more than an ancestor has. What it refuses for other reasons stays refused. */
Test(controller, update_quota_beyond_an_ancestor)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_CPU);
    struct cg_controller c = create(&real, NULL, sub("a/b/c"), NULL, false, &none);
    static const struct {
        int64_t quota, period;
        int result;
        const char *want;
    } steps[] = {
        {50000, 100000, 0, "50000"}, /* as much as the nearest ancestor with a quota */
        {50001, 100000, 0, "-1"},     {40000, 100000, 0, "40000"},
        {90000, 100000, 0, "-1"},     {20000, 40000, 0, "20000"},
        {20001, 40000, 0, "-1"},      {500000, 1000000, 0, "500000"},
        {500, 100000, -EINVAL, NULL}, /* less than there may be */
        {40000, 100000, 0, "40000"},  {INT64_C(1) << 44, 1000000, 0, "-1"},
    };

    /* of one CPU: the topmost two, one half, none, ours */
    cr_assert_eq(write_value(h, base, "cpu.cfs_quota_us", "200000"), 0);
    cr_assert_eq(write_value(h, sub("a"), "cpu.cfs_period_us", "50000"), 0);
    cr_assert_eq(write_value(h, sub("a"), "cpu.cfs_quota_us", "25000"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct cg_limits limits = {.cpu_quota_us = {true, steps[i].quota},
                                         .cpu_period_us = {true, steps[i].period}};
        const struct cg_files files = files_of(&limits, false);
        struct err e = ERR_INIT;
        int r = cg_update(&c, &files, &e);
        const char *got = read_value(h, c.path, "cpu.cfs_quota_us");

        cr_expect(r == steps[i].result && (r < 0 || str_eq(got, steps[i].want)),
                  "step %zu: expected %d %s, got %d %s %s", i, steps[i].result, steps[i].want, r,
                  got, e.text);
        if (r < 0)
            cr_expect(strstr(e.text, "cpu.cfs_"), "\"%s\"", e.text);
    }
    delete_ok(&c);
}

/* A device that is not there has no limit to be taken away. */
Test(controller, update_resets_of_a_missing_device)
{
    need_v1_ctl(CG_CTL_BLKIO);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
    struct cg_file file = {.ctl = CG_CTL_BLKIO,
                           .file = "blkio.throttle.read_bps_device",
                           .text = "4095:1048575 0",
                           .flags = CG_FILE_LINES};
    struct cg_files files = {.items = &file, .count = 1};
    struct err e = ERR_INIT;

    cr_expect_eq(cg_update(&c, &files, &e), -ENODEV, "\"%s\"", e.text);
    err_reset(&e);
    file.flags |= CG_FILE_RESET;
    cr_expect_eq(cg_update(&c, &files, &e), 0, "\"%s\"", e.text);
    cr_expect_eq(cg_revert(&c, &files, &e), 0, "\"%s\"", e.text);
    delete_ok(&c);
}

/* The kernel keeps memory <= memory + swap at each moment: raising and lowering need different
 * orders. */
Test(controller, update_memory_and_swap)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_MEMORY);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
    static const struct {
        int64_t limit, swap;
    } steps[] = {{64, 64}, {128, 192}, {256, 256}, {32, 48}, {32, 32}, {512, 512}};

    if (str_eq(read_value(h, c.path, "memory.memsw.limit_in_bytes"), "(none)")) {
        delete_ok(&c);
        cr_skip_test("no swap accounting");
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct cg_limits limits = {.memory_limit = {true, steps[i].limit << 20},
                                         .memory_swap = {true, steps[i].swap << 20}};
        const struct cg_files files = files_of(&limits, false);
        struct err e = ERR_INIT;
        int r = cg_update(&c, &files, &e);
        const char *got =
            arena_printf(&arena, "%s %s", read_value(h, c.path, "memory.limit_in_bytes"),
                         read_value(h, c.path, "memory.memsw.limit_in_bytes"));
        const char *want =
            arena_printf(&arena, "%" PRId64 " %" PRId64, steps[i].limit << 20, steps[i].swap << 20);

        cr_expect(r == 0 && str_eq(got, want), "step %zu: expected %s, got %d %s %s", i, want, r,
                  got, e.text);
    }
    /* "no limit" frees both although swap is not named */
    const struct cg_limits limits = {.memory_limit = {true, CG_UNLIMITED}};
    const struct cg_files files = files_of(&limits, false);
    struct err e = ERR_INIT;

    expect_ok(cg_update(&c, &files, &e), &e, "unlimited");
    cr_expect_str_eq(read_value(h, c.path, "memory.limit_in_bytes"),
                     read_value(h, "/", "memory.limit_in_bytes"));
    cr_expect_str_eq(read_value(h, c.path, "memory.memsw.limit_in_bytes"),
                     read_value(h, "/", "memory.memsw.limit_in_bytes"));
    delete_ok(&c);
}

Test(controller, missing_v1_controller)
{
    static const enum cg_ctl ctls[] = {CG_CTL_MISC, CG_CTL_RDMA, CG_CTL_HUGETLB};
    struct cg_controller c;

    need_v1();
    for (size_t i = 0; i < ARRAY_SIZE(ctls); i++) {
        const struct cg_hierarchy *h = cg_host_find(&real, ctls[i]);
        const char *name = cg_ctl_name(ctls[i], false);
        struct cg_file file = {.ctl = ctls[i], .file = "x.max", .text = "1"};
        struct cg_files files = {.items = &file, .count = 1};
        struct err e = ERR_INIT;

        /* one of the cgroup2 mount does not help: v1 limits are written to v1 files */
        if (h && !h->v2)
            continue;
        cg_init(&c, &real, NULL, sub("a"), NULL, false);
        cr_expect_eq(cg_create(&c, &files, NULL, &e), -ENOENT);
        cr_expect(strstr(e.text, name) && strstr(e.text, "v1"), "%s: \"%s\"", name, e.text);
        cg_undo_create(&c);
    }
}

/* --- tasks --- */

Test(controller, add_process)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    pid_t tids[THREADS], pid, gone;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    pid = start_threads(tids);
    cr_expect_eq(cg_holds(&c, pid), 0, "not yet");
    cr_expect(cg_is_empty(&c));
    for (int i = 0; i < 2; i++) {
        expect_ok(cg_add_process(&c, pid, &e), &e, "add");
        expect_where(&real, pid, c.path, "process");
        for (int k = 0; k < THREADS; k++) {
            expect_where(&real, tids[k], c.path, "its threads go along");
            cr_expect_eq(cg_holds(&c, tids[k]), 1);
        }
        cr_expect_eq(cg_holds(&c, pid), 1);
    }
    cr_expect_not(cg_is_empty(&c));
    cg_keep_warm(&c, pid);
    expect_where(&real, pid, c.path, "keeping moves fast moves nothing");
    gone = start_child();
    end_child(gone);
    cg_keep_warm(&c, gone);
    cr_expect_eq(cg_add_process(&c, gone, &e), -ESRCH);
    cr_expect(strstr(e.text, arena_printf(&arena, "process %d to %s%s/cgroup.procs", gone,
                                          real.hierarchies[0].mount_point, c.path)),
              "\"%s\"", e.text);
    cr_expect_eq(cg_holds(&c, gone), -ESRCH);
    end_child(pid);
    cr_expect(cg_is_empty(&c));
    delete_ok(&c);
}

/* Not a parent, not a child, not a neighbour whose name begins alike. */
Test(controller, holds_exactly)
{
    static const char *const others[] = {"a", "a/b/c", "a/bb", "a/b-"};
    struct cg_controller c, other;
    struct err e = ERR_INIT;
    pid_t pid;

    need_v1();
    c = create(&real, NULL, sub("a/b"), NULL, false, &none);
    pid = start_child();
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        other = create(&real, NULL, sub(others[i]), NULL, false, &none);
        expect_ok(cg_add_process(&other, pid, &e), &e, "add");
        cr_expect_eq(cg_holds(&c, pid), 0, "%s is not %s", other.path, c.path);
        cr_expect_eq(cg_holds(&other, pid), 1);
        cg_close(&other);
    }
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    cr_expect_eq(cg_holds(&c, pid), 1);
    /* in every hierarchy but one */
    for (size_t i = 0; i < real.count; i++) {
        const struct cg_hierarchy *h = &real.hierarchies[i];

        cr_assert_eq(write_pid(h, "/", "cgroup.procs", pid), 0);
        /* a cgroup2 mount beside v1 places whole processes: no matter here */
        cr_expect_eq(cg_holds(&c, pid), h->v2 ? 1 : 0, "elsewhere in %s", h->name);
        cr_assert_eq(write_pid(h, c.path, "cgroup.procs", pid), 0);
    }
    cr_expect_eq(cg_holds(&c, pid), 1);
    end_child(pid);
    cg_close(&c);
}

Test(controller, add_thread)
{
    struct cg_controller one, two;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[THREADS], pid;

    need_v1();
    one = create(&real, NULL, sub("one"), NULL, false, &none);
    two = create(&real, NULL, sub("two"), NULL, false, &none);
    pid = start_threads(tids);
    expect_ok(cg_add_process(&two, pid, &e), &e, "add");
    for (int i = 0; i < 2; i++)
        expect_ok(cg_add_thread(&one, tids[1], &e), &e, "add thread");
    for (size_t i = 0; i < real.count; i++) {
        const struct cg_hierarchy *h = &real.hierarchies[i];

        cr_expect_str_eq(where(h, pid), two.path);
        cr_expect_str_eq(where(h, tids[0]), two.path);
        cr_expect_str_eq(where(h, tids[1]), h->v2 ? two.path : one.path);
    }
    cr_expect_eq(cg_holds(&one, tids[1]), 1);
    cr_expect_eq(cg_holds(&two, tids[1]), 0);
    cr_expect_eq(cg_holds(&one, tids[0]), 0);
    cr_expect_eq(cg_holds(&two, tids[0]), 1);
    cr_expect_eq(cg_holds(&two, pid), 1);

    /* both have the process, each has its threads */
    expect_ok(cg_processes(&one, &arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 1 && pids.items[0] == pid, "got %zu processes", pids.count);
    expect_ok(cg_processes(&two, &arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 1 && pids.items[0] == pid, "got %zu processes", pids.count);
    expect_ok(cg_threads(&one, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && pids.items[0] == tids[1], "got %zu threads", pids.count);
    expect_ok(cg_threads(&two, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == THREADS && in_list(&pids, pid) && in_list(&pids, tids[0]) &&
                  in_list(&pids, tids[2]) && !in_list(&pids, tids[1]),
              "got %zu threads", pids.count);
    cr_expect_not(cg_is_empty(&one));

    /* and back */
    expect_ok(cg_add_thread(&two, tids[1], &e), &e, "back");
    cr_expect_eq(cg_holds(&two, tids[1]), 1);
    cr_expect(cg_is_empty(&one));
    end_child(pid);
    cr_expect_eq(cg_add_thread(&one, tids[1], &e), -ESRCH);
    cr_expect(strstr(e.text, arena_printf(&arena, "thread %d to ", tids[1])) &&
                  strstr(e.text, "/tasks"),
              "\"%s\"", e.text);
    cr_expect_eq(cg_holds(&one, tids[1]), -ESRCH);
    delete_ok(&one);
    delete_ok(&two);
}

Test(controller, processes)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    const struct cg_hierarchy *h;
    pid_t plain, inside, one_hierarchy, outside;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    expect_ok(cg_processes(&c, &arena, &pids, &e), &e, "none");
    cr_expect_eq(pids.count, 0);
    expect_ok(cg_threads(&c, &arena, &pids, &e), &e, "none");
    cr_expect_eq(pids.count, 0);
    plain = start_child();
    inside = start_child();
    one_hierarchy = start_child();
    outside = start_child();
    expect_ok(cg_add_process(&c, plain, &e), &e, "add");
    /* in the last hierarchy only; in a cgroup that a payload made, two levels down */
    cr_assert_eq(
        write_pid(&real.hierarchies[real.count - 1], c.path, "cgroup.procs", one_hierarchy), 0);
    h = cg_host_find(&real, CG_CTL_CPUSET) == &real.hierarchies[0] ? &real.hierarchies[1]
                                                                   : &real.hierarchies[0];
    make_cgroup(h, sub("a/.x"));
    make_cgroup(h, sub("a/.x/y"));
    cr_assert_eq(write_pid(h, sub("a/.x/y"), "cgroup.procs", inside), 0);
    expect_ok(cg_processes(&c, &arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 3 && in_list(&pids, plain) && in_list(&pids, inside) &&
                  in_list(&pids, one_hierarchy) && !in_list(&pids, outside),
              "expected three, got %zu", pids.count);
    for (size_t i = 1; i < pids.count; i++)
        cr_expect_lt(pids.items[i - 1], pids.items[i], "sorted");
    end_child(plain);
    cr_expect_not(cg_is_empty(&c), "one is left in the last hierarchy");
    end_child(one_hierarchy);
    cr_expect(cg_is_empty(&c));
    end_child(inside);
    delete_ok(&c);
    cr_expect_eq(count_existing(&real, sub("a/.x")), 0);
}

/* A failure in one hierarchy leaves the process moved in the others; the origin puts it back. */
Test(controller, origin_and_restore)
{
    const struct cg_hierarchy *cpuset = need_v1_ctl(CG_CTL_CPUSET);
    struct cg_controller home = create(&real, NULL, sub("home"), NULL, false, &none);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
    struct cg_origin origin;
    struct err e = ERR_INIT;
    pid_t pid = start_child(), gone;
    int r;

    expect_ok(cg_add_process(&home, pid, &e), &e, "add");
    expect_ok(cg_origin_read(&real, pid, &arena, &origin, &e), &e, "origin");
    for (size_t i = 0; i < CG_MAX_HIERARCHIES; i++)
        cr_expect(i < real.count ? origin.paths[i] && str_eq(origin.paths[i], home.path)
                                 : !origin.paths[i],
                  "hierarchy %zu: \"%s\"", i, origin.paths[i] ? origin.paths[i] : "(null)");
    cr_assert_eq(write_value(cpuset, c.path, "cpuset.cpus", "\n"), 0);
    r = cg_add_process(&c, pid, &e);
    cr_expect_eq(r, -ENOSPC, "an empty cpuset: expected %d, got %d", -ENOSPC, r);
    cr_expect(
        strstr(e.text, arena_printf(&arena, "%s%s/cgroup.procs", cpuset->mount_point, c.path)),
        "\"%s\"", e.text);
    cr_expect_not(cg_is_empty(&c));
    for (int i = 0; i < 2; i++) {
        cg_restore(&real, pid, &origin);
        expect_where(&real, pid, home.path, "restored");
    }
    cr_expect(cg_is_empty(&c));

    /* gone cgroups and unknown places are left alone */
    expect_ok(cg_origin_read(&real, getpid(), &arena, &origin, NULL), &e, "own");
    expect_ok(cg_origin_read(&real, pid, &arena, &origin, NULL), &e, "origin");
    origin.paths[0] = sub("never");
    origin.paths[1] = NULL;
    cr_assert_eq(write_pid(&real.hierarchies[0], "/", "cgroup.procs", pid), 0);
    cr_assert_eq(write_pid(&real.hierarchies[1], "/", "cgroup.procs", pid), 0);
    cg_restore(&real, pid, &origin);
    cr_expect_str_eq(where(&real.hierarchies[0], pid), seen_as(&real.hierarchies[0], "/"));
    cr_expect_str_eq(where(&real.hierarchies[1], pid), seen_as(&real.hierarchies[1], "/"));

    gone = start_child();
    end_child(gone);
    cg_restore(&real, gone, &origin);
    err_reset(&e);
    cr_expect_eq(cg_origin_read(&real, gone, &arena, &origin, &e), -ESRCH);
    cr_expect(strstr(e.text, arena_printf(&arena, "%d", gone)), "\"%s\"", e.text);
    cr_expect_null(origin.paths[0]);
    end_child(pid);
    cg_close(&c);
    cg_close(&home);
}

/* --- delete --- */

Test(controller, delete_again_and_never_made)
{
    struct cg_controller c;
    struct err e = ERR_INIT;

    need_v1();
    cg_init(&c, &real, NULL, sub("a"), NULL, false);
    expect_ok(cg_delete(&c, 0, &e), &e, "there was none");
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    expect_ok(cg_delete(&c, 0, &e), &e, "delete");
    cr_expect_eq(count_existing(&real, c.path), 0);
    cr_expect_eq(c.fds[0], FD_NONE);
    expect_ok(cg_delete(&c, 0, &e), &e, "again");
    /* not loaded */
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    cg_close(&c);
    expect_ok(cg_delete(&c, 0, &e), &e, "delete what was not loaded");
    cr_expect_eq(count_existing(&real, c.path), 0);
}

Test(controller, delete_goes_on_after_busy)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    const struct cg_hierarchy *h;
    pid_t pid;
    int r;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    h = &real.hierarchies[0];
    pid = start_child();
    cr_assert_eq(write_pid(h, c.path, "cgroup.procs", pid), 0);
    r = cg_delete(&c, 30, &e);
    cr_expect_eq(r, -EBUSY, "expected %d, got %d", -EBUSY, r);
    cr_expect(strstr(e.text, arena_printf(&arena, "%s%s: EBUSY", h->mount_point, c.path)), "\"%s\"",
              e.text);
    cr_expect_eq(count_existing(&real, c.path), 1, "the others are gone");
    cr_expect_str_eq(where(h, pid), c.path, "the process is left alone");
    end_child(pid);
    expect_ok(cg_load(&c, NULL), &e, "load");
    err_reset(&e);
    expect_ok(cg_delete(&c, 10000, &e), &e, "delete");
    cr_expect_eq(count_existing(&real, c.path), 0);
}

/* A killed process takes a while to leave its cgroup: nobody waits for it but cg_delete(). */
Test(controller, delete_waits_for_the_ending)
{
    need_v1();
    for (int i = 0; i < 5; i++) {
        struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
        struct worker w = start_worker();
        struct err e = ERR_INIT;

        expect_ok(cg_add_process(&c, w.pid, &e), &e, "add");
        cr_expect_eq(ask(&w, 'm'), 0);
        kill(w.pid, SIGKILL);
        expect_ok(cg_delete(&c, 30000, &e), &e, "delete");
        cr_expect_eq(count_existing(&real, c.path), 0);
        close(w.fd);
    }
}

Test(controller, delete_removes_payload_children)
{
    static const char *const made[] = {"a/x", "a/x/y", "a/x/y/z", "a/.w"};
    struct cg_controller c;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    for (size_t i = 0; i < real.count; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(made); k++)
            make_cgroup(&real.hierarchies[i], sub(made[k]));
    }
    delete_ok(&c);
    cr_expect_eq(count_existing(&real, c.path), 0);
}

/* Somebody else removed it while we had it open: nobody is in there, nothing is left to do. */
static void check_removed_meanwhile(const struct cg_host *host, const char *path)
{
    struct cg_controller c = create(host, NULL, path, NULL, false, &none);
    struct err e = ERR_INIT;
    struct cg_pids pids;
    struct cg_stat st;
    unsigned moved = 99;
    pid_t pid = start_child();

    for (size_t i = 0; i < host->count; i++)
        cr_assert_eq(unlinkat(host->hierarchies[i].fd, path + 1, AT_REMOVEDIR), 0);
    expect_ok(cg_processes(&c, &arena, &pids, &e), &e, "processes");
    cr_expect_eq(pids.count, 0);
    expect_ok(cg_threads(&c, &arena, &pids, &e), &e, "threads");
    cr_expect_eq(pids.count, 0);
    cr_expect(cg_is_empty(&c));
    expect_ok(cg_kill(&c, SIGKILL, &e), &e, "kill");
    expect_ok(cg_move_to(&c, "/", &moved, NULL, &arena, &e), &e, "move");
    cr_expect_eq(moved, 0);
    expect_ok(cg_stat(&c, &st, &e), &e, "stat");
    cr_expect_eq(cg_holds(&c, pid), 0);
    cr_expect_lt(cg_add_process(&c, pid, NULL), 0, "nobody can be put there");
    expect_ok(cg_delete(&c, 0, &e), &e, "delete");
    cr_expect_eq(cg_load(&c, NULL), -ENOENT);
    cg_undo_create(&c);
    end_child(pid);
}

Test(controller, removed_meanwhile)
{
    need_v1();
    check_removed_meanwhile(&real, sub("a"));
}

Test(controller, v2_removed_meanwhile)
{
    need_v2();
    check_removed_meanwhile(&v2host, "/a");
}

/* Waiting is for tasks: without time to wait, empty children go all the same, and so do we. */
Test(controller, delete_removes_payload_children_at_once)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    make_cgroup(&real.hierarchies[0], sub("a/x"));
    r = cg_delete(&c, 0, &e);
    cr_expect(r == 0 && count_existing(&real, c.path) == 0,
              "timeout 0: expected 0 and nothing left; got %d, %u left, \"%s\"", r,
              count_existing(&real, c.path), e.text);
}

/* --- move and kill --- */

Test(controller, move_to)
{
    struct cg_controller c, target;
    struct err e = ERR_INIT;
    const struct cg_hierarchy *h;
    const char *to = "untouched";
    unsigned moved = 99;
    pid_t pids[3], tids[THREADS];

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    target = create(&real, NULL, sub("target"), NULL, false, &none);
    expect_ok(cg_move_to(&c, target.path, &moved, &to, &arena, &e), &e, "none");
    cr_expect(moved == 0 && str_eq(to, "untouched"), "nobody: got %u, \"%s\"", moved, to);

    pids[0] = start_child();
    pids[1] = start_child();
    pids[2] = start_threads(tids);
    expect_ok(cg_add_process(&c, pids[0], &e), &e, "add");
    expect_ok(cg_add_process(&c, pids[1], &e), &e, "add");
    /* one thread makes its whole process move */
    expect_ok(cg_add_thread(&c, tids[0], &e), &e, "add");
    /* and one is in a cgroup that it made itself */
    h = cg_host_find(&real, CG_CTL_CPUSET) == &real.hierarchies[0] ? &real.hierarchies[1]
                                                                   : &real.hierarchies[0];
    make_cgroup(h, sub("a/x"));
    cr_assert_eq(write_pid(h, sub("a/x"), "cgroup.procs", pids[1]), 0);
    expect_ok(cg_move_to(&c, target.path, &moved, &to, &arena, &e), &e, "move");
    cr_expect(moved == 3 && str_eq(to, target.path), "expected 3 to %s, got %u to %s", target.path,
              moved, to);
    expect_where(&real, pids[0], target.path, "moved");
    expect_where(&real, pids[1], target.path, "moved");
    for (size_t i = 0; i < real.count; i++) {
        if (real.hierarchies[i].v2) /* the threaded one was never in there */
            continue;
        for (int k = 0; k < THREADS; k++)
            cr_expect_str_eq(where(&real.hierarchies[i], tids[k]), target.path);
    }
    cr_expect(cg_is_empty(&c));
    expect_ok(cg_move_to(&c, target.path, NULL, NULL, &arena, &e), &e, "again, no answers wanted");
    delete_ok(&c);
    for (int i = 0; i < 3; i++)
        end_child(pids[i]);
    delete_ok(&target);
}

Test(controller, move_to_climbs)
{
    const struct cg_hierarchy *cpuset = need_v1_ctl(CG_CTL_CPUSET);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
    struct err e = ERR_INIT;
    const char *to = NULL;
    unsigned moved = 0;
    pid_t pid = start_child();

    /* a place that is not there: the nearest one that is */
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    expect_ok(cg_move_to(&c, sub("gone/deeper"), &moved, &to, &arena, &e), &e, "move");
    cr_expect(moved == 1 && str_eq(to, base), "expected 1 to %s, got %u to %s", base, moved, to);
    expect_where(&real, pid, base, "nearest ancestor");

    /* a cpuset without CPUs takes nobody; the other hierarchies need not climb */
    for (size_t i = 0; i < real.count; i++)
        make_cgroup(&real.hierarchies[i], sub("bare"));
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    expect_ok(cg_move_to(&c, sub("bare"), &moved, &to, &arena, &e), &e, "move");
    for (size_t i = 0; i < real.count; i++) {
        const struct cg_hierarchy *h = &real.hierarchies[i];

        cr_expect(str_eq(where(h, pid), h == cpuset ? base : sub("bare")), "%s: %s", h->name,
                  where(h, pid));
    }
    /* as far as the root */
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    expect_ok(cg_move_to(&c, "/" PREFIX "nowhere/x/y", &moved, &to, &arena, &e), &e, "move");
    cr_expect_str_eq(to, "/");
    expect_where(&real, pid, "/", "root");
    end_child(pid);
    delete_ok(&c);
}

Test(controller, kill)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    const struct cg_hierarchy *h;
    pid_t a, b, outside;
    int status;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    expect_ok(cg_kill(&c, SIGKILL, &e), &e, "nobody");
    expect_ok(cg_kill(&c, SIGTERM, &e), &e, "nobody");
    a = start_child();
    b = start_child();
    outside = start_child();
    expect_ok(cg_add_process(&c, a, &e), &e, "add");
    expect_ok(cg_kill(&c, SIGTERM, &e), &e, "SIGTERM");
    cr_assert_eq(waitpid(a, &status, 0), a);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "got %#x", (unsigned)status);

    a = start_child();
    expect_ok(cg_add_process(&c, a, &e), &e, "add");
    h = cg_host_find(&real, CG_CTL_CPUSET) == &real.hierarchies[0] ? &real.hierarchies[1]
                                                                   : &real.hierarchies[0];
    make_cgroup(h, sub("a/x"));
    cr_assert_eq(write_pid(h, sub("a/x"), "cgroup.procs", b), 0);
    kill(a, SIGSTOP);
    expect_ok(cg_kill(&c, 0, &e), &e, "signal 0");
    cr_expect_not(cg_is_empty(&c), "signal 0 kills nobody");
    expect_ok(cg_kill(&c, SIGKILL, &e), &e, "SIGKILL");
    cr_expect(cg_is_empty(&c), "until none is left");
    cr_assert_eq(waitpid(a, &status, 0), a);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "got %#x", (unsigned)status);
    cr_assert_eq(waitpid(b, &status, 0), b);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "child cgroup: got %#x",
              (unsigned)status);
    cr_expect_eq(waitpid(outside, &status, WNOHANG), 0, "others live");
    end_child(outside);
    delete_ok(&c);
}

/* --- devices --- */

static struct cg_dev_table compile(const struct cg_dev_rules *rules)
{
    struct cg_dev_table table;
    struct err e = ERR_INIT;

    expect_ok(cg_dev_compile(rules, &arena, &table, &e), &e, "compile");
    return table;
}

static const struct cg_dev_rule full = {true, 'c', 1, 7, CG_DEV_RWM};
static const struct cg_dev_rule null_device = {true, 'c', 1, 3, CG_DEV_RWM};

/* The same steps on any backend; @w is in the cgroup. */
static void check_devices(struct cg_controller *c, const struct worker *w)
{
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct err e = ERR_INIT;

    cg_dev_rules_add(&arena, &rules, null_device);
    table = compile(&rules);
    for (int i = 0; i < 2; i++) {
        expect_ok(cg_set_devices(c, &table, &e), &e, "set");
        cr_expect(ask(w, 'n') == 0 && ask(w, 'f') == EPERM, "null only");
    }
    for (int i = 0; i < 2; i++) {
        expect_ok(cg_add_device(c, &rules, full, &arena, &e), &e, "add");
        cr_expect(ask(w, 'n') == 0 && ask(w, 'f') == 0, "null and full");
    }
    for (int i = 0; i < 2; i++) {
        expect_ok(cg_remove_device(c, &rules, null_device, &arena, &e), &e, "remove");
        cr_expect(ask(w, 'n') == EPERM && ask(w, 'f') == 0, "full only");
    }
    expect_ok(cg_remove_device(c, &rules, full, &arena, &e), &e, "remove");
    cr_expect(ask(w, 'n') == EPERM && ask(w, 'f') == EPERM, "none");
    expect_ok(cg_add_device(c, &rules, null_device, &arena, &e), &e, "add");
    cr_expect(ask(w, 'n') == 0 && ask(w, 'f') == EPERM, "null again");
}

Test(controller, devices)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_DEVICES);
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct cg_controller c;
    struct err e = ERR_INIT;
    struct worker w = start_worker();

    /* with the cgroup, from the start */
    cg_dev_rules_add(&arena, &rules, full);
    table = compile(&rules);
    cg_init(&c, &real, NULL, sub("a"), NULL, false);
    expect_ok(cg_create(&c, &none, &table, &e), &e, "create");
    cr_expect_str_eq(read_value(h, c.path, "devices.list"), "c 1:7 rwm");
    expect_ok(cg_add_process(&c, w.pid, &e), &e, "add");
    cr_expect(ask(&w, 'n') == EPERM && ask(&w, 'f') == 0, "full only");
    check_devices(&c, &w);
    /* created without a table: the rules are left alone */
    cg_close(&c);
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    cr_expect_str_eq(read_value(h, c.path, "devices.list"), "c 1:3 rwm");
    end_child(w.pid);
    delete_ok(&c);
}

Test(controller, devices_beyond_the_parent)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_DEVICES);
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct err e = ERR_INIT;
    int r;

    cg_dev_rules_add(&arena, &rules, full);
    table = compile(&rules);
    cg_dev_rules_add(&arena, &rules, null_device);
    expect_ok(cg_set_devices(&c, &table, &e), &e, "full only");
    cr_assert_eq(write_value(h, base, "devices.deny", "c 1:3 rwm"), 0);
    table = compile(&rules);
    r = cg_set_devices(&c, &table, &e);
    cr_expect_eq(r, -EPERM, "expected %d, got %d", -EPERM, r);
    cr_expect(strstr(e.text, arena_printf(&arena, "%s%s", h->mount_point, c.path)),
              "directory: \"%s\"", e.text);
    delete_ok(&c);
}

/* --- stat --- */

static uint64_t usage_us(const char *path)
{
    const struct cg_hierarchy *h = cg_host_find(&real, CG_CTL_CPUACCT);

    return h ? strtoull(read_value(h, path, "cpuacct.usage"), NULL, 10) / 1000 : 0;
}

Test(controller, stat)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file;
    } files[] = {
        {CG_CTL_CPUACCT, "cpuacct.usage"},
        {CG_CTL_CPU, "cpu.stat"},
        {CG_CTL_MEMORY, "memory.usage_in_bytes"},
        {CG_CTL_PIDS, "pids.current"},
        {CG_CTL_BLKIO, "blkio.throttle.io_service_bytes"},
    };
    struct cg_controller c;
    struct cg_stat st;
    struct err e = ERR_INIT;
    struct worker w;
    unsigned want = 0;
    uint64_t low;

    need_v1();
    c = create(&real, NULL, sub("a"), NULL, false, &none);
    w = start_worker();
    expect_ok(cg_add_process(&c, w.pid, &e), &e, "add");
    cr_expect(ask(&w, 'm') == 0 && ask(&w, 'c') == 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const struct cg_hierarchy *h = cg_host_find(&real, files[i].ctl);

        if (h && !h->v2 && !str_eq(read_value(h, c.path, files[i].file), "(none)"))
            want |= CG_CTL_BIT(files[i].ctl);
    }
    low = usage_us(c.path);
    memset(&st, 0xaa, sizeof st);
    expect_ok(cg_stat(&c, &st, &e), &e, "stat");
    cr_expect_eq(st.has, want, "expected %#x, got %#x", want, st.has);
    if (want & CG_CTL_BIT(CG_CTL_CPUACCT))
        cr_expect(low > 0 && low <= st.cpu_usage_us && st.cpu_usage_us <= usage_us(c.path),
                  "expected %" PRIu64 "..%" PRIu64 " us, got %" PRIu64, low, usage_us(c.path),
                  st.cpu_usage_us);
    if (want & CG_CTL_BIT(CG_CTL_MEMORY))
        cr_expect(st.memory_bytes >= 8 << 20 && st.memory_peak_bytes >= st.memory_bytes,
                  "memory %" PRIu64 ", peak %" PRIu64, st.memory_bytes, st.memory_peak_bytes);
    if (want & CG_CTL_BIT(CG_CTL_PIDS))
        cr_expect_eq(st.pids, 1, "pids: got %" PRIu64, st.pids);
    end_child(w.pid);
    delete_ok(&c);
    /* nothing open: nothing there, but no failure */
    expect_ok(cg_stat(&c, &st, &e), &e, "stat of nothing");
    cr_expect_eq(st.has, 0);
}

/* The numbers, from files that we write ourselves. */
struct stat_file {
    const char *name, *text;
};

static void check_stat(enum cg_mode mode, const struct stat_file *files, size_t count,
                       const struct cg_stat *want)
{
    char dir[] = "/tmp/osc-stat-XXXXXX";
    struct cg_host host = {.mode = mode, .count = 1};
    struct cg_controller c;
    struct cg_stat st;

    cr_assert_not_null(mkdtemp(dir));
    host.hierarchies[0] = (struct cg_hierarchy){.fd = FD_NONE,
                                                .v2 = mode == CG_MODE_V2,
                                                .controllers = ~0u,
                                                .name = "all",
                                                .mount_point = dir,
                                                .root = "/"};
    cg_init(&c, &host, NULL, "/x", NULL, false);
    c.fds[0] = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        autofd fd = openat(c.fds[0], files[i].name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ssize_t len = (ssize_t)strlen(files[i].text);

        cr_assert(fd >= 0 && write(fd, files[i].text, (size_t)len) == len);
    }
    cg_stat(&c, &st, NULL);
    for (size_t i = 0; i < count; i++)
        unlinkat(c.fds[0], files[i].name, 0);
    rmdir(dir);
    cg_close(&c);
#define SAME(m)                                                                                    \
    cr_expect_eq((uint64_t)st.m, (uint64_t)want->m,                                                \
                 "%s, " #m ": expected %" PRIu64 ", got %" PRIu64, cg_mode_name(mode),             \
                 (uint64_t)want->m, (uint64_t)st.m)
    SAME(has);
    SAME(cpu_usage_us);
    SAME(cpu_user_us);
    SAME(cpu_system_us);
    SAME(periods);
    SAME(throttled_periods);
    SAME(throttled_us);
    SAME(memory_bytes);
    SAME(memory_peak_bytes);
    SAME(pids);
    SAME(io_read_bytes);
    SAME(io_write_bytes);
#undef SAME
}

#define ALL_STATS                                                                                  \
    (CG_CTL_BIT(CG_CTL_CPUACCT) | CG_CTL_BIT(CG_CTL_CPU) | CG_CTL_BIT(CG_CTL_MEMORY) |             \
     CG_CTL_BIT(CG_CTL_PIDS) | CG_CTL_BIT(CG_CTL_BLKIO))

Test(controller, stat_numbers_v1)
{
    static const struct stat_file files[] = {
        {"cpuacct.usage", "123456789\n"},
        {"cpuacct.usage_user", "100000000\n"},
        {"cpuacct.usage_sys", "23000000\n"},
        {"cpu.stat", "nr_periods 7\nnr_throttled 5\nthrottled_time 3000999\nnr_bursts 1\n"},
        {"memory.usage_in_bytes", "4096\n"},
        {"memory.max_usage_in_bytes", "8192\n"},
        {"pids.current", "3\n"},
        {"blkio.throttle.io_service_bytes",
         "8:0 Read 1000\n8:0 Write 200\n8:0 Sync 1200\n8:0 Async 0\n8:0 Discard 50\n8:0 Total "
         "1250\n253:16 Read 1\n253:16 Write 2\nTotal 1253\n"},
    };
    static const struct cg_stat want = {ALL_STATS, 123456, 100000, 23000, 7,    5,
                                        3000,      4096,   8192,   3,     1001, 202};

    check_stat(CG_MODE_V1, files, ARRAY_SIZE(files), &want);
    check_stat(CG_MODE_V1, NULL, 0, &(struct cg_stat){0});
}

Test(controller, stat_numbers_v2)
{
    static const struct stat_file files[] = {
        {"cpu.stat", "usage_usec 123\nuser_usec 100\nsystem_usec 23\nnice_usec 1\nnr_periods "
                     "7\nnr_throttled 5\nthrottled_usec 3000\nnr_bursts 9\n"},
        {"memory.current", "4096\n"},
        {"memory.peak", "8192\n"},
        {"pids.current", "3\n"},
        {"io.stat", "8:0 rbytes=1000 wbytes=200 rios=3 wios=4 dbytes=50 dios=6\n259:1 \n253:16 "
                    "rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n"},
    };
    static const struct stat_file core[] = {
        {"cpu.stat", "usage_usec 5\nuser_usec 4\nsystem_usec 1\n"},
        {"pids.current", "max\n"},
        {"memory.current", "\n"},
    };
    static const struct cg_stat want = {ALL_STATS, 123,  100,  23, 7,    5,
                                        3000,      4096, 8192, 3,  1001, 202};
    /* without the controllers the kernel still counts CPU time */
    static const struct cg_stat want_core = {
        CG_CTL_BIT(CG_CTL_CPUACCT), 5, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0};

    check_stat(CG_MODE_V2, files, ARRAY_SIZE(files), &want);
    check_stat(CG_MODE_V2, core, ARRAY_SIZE(core), &want_core);
    check_stat(CG_MODE_V2, NULL, 0, &(struct cg_stat){0});
}

/* --- parents --- */

static char marker_dir[] = "/tmp/osc-markers-XXXXXX";

static struct cg_parents open_markers(void)
{
    cr_assert_not_null(mkdtemp(marker_dir));
    return (struct cg_parents){open(marker_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
}

static unsigned count_markers(void)
{
    autodir dir = io_opendir_at(AT_FDCWD, marker_dir);
    struct dirent *entry;
    unsigned count = 0;

    while ((entry = io_next_entry(dir)))
        count += entry->d_type == DT_LNK;
    return count;
}

static void close_markers(struct cg_parents *p)
{
    autodir dir = io_opendir_at(AT_FDCWD, marker_dir);
    struct dirent *entry;

    while ((entry = io_next_entry(dir)))
        unlinkat(p->dirfd, entry->d_name, 0);
    fd_close(&p->dirfd);
    rmdir(marker_dir);
}

Test(controller, parents_go_with_the_last)
{
    struct cg_controller one, two;
    struct cg_parents p;

    need_v1();
    p = open_markers();
    one = create(&real, &p, sub("p/one"), NULL, false, &none);
    cr_expect_eq(count_markers(), 2 * real.count, "two parents per hierarchy; got %u",
                 count_markers());
    two = create(&real, &p, sub("p/two"), NULL, false, &none);
    cr_expect_eq(count_markers(), 2 * real.count, "they were there; got %u", count_markers());
    delete_ok(&one);
    cr_expect_eq(count_existing(&real, sub("p")), real.count, "another one lives there");
    cr_expect_eq(count_markers(), 2 * real.count);
    delete_ok(&two);
    cr_expect_eq(count_existing(&real, base), 0, "both levels are gone");
    cr_expect_eq(count_markers(), 0, "markers, too; got %u", count_markers());
    close_markers(&p);
}

Test(controller, parents_that_were_there_stay)
{
    struct cg_controller c;
    struct cg_parents p;

    need_v1();
    p = open_markers();
    for (size_t i = 0; i < real.count; i++)
        make_cgroup(&real.hierarchies[i], base);
    c = create(&real, &p, sub("p/one"), NULL, false, &none);
    cr_expect_eq(count_markers(), real.count);
    delete_ok(&c);
    cr_expect_eq(count_existing(&real, sub("p")), 0);
    cr_expect_eq(count_existing(&real, base), real.count, "made by somebody else");
    cr_expect_eq(count_markers(), 0);
    close_markers(&p);
}

Test(controller, parents_and_undo)
{
    struct cg_controller c;
    struct cg_parents p;

    need_v1();
    p = open_markers();
    c = create(&real, &p, sub("p/q/one"), NULL, false, &none);
    cg_undo_create(&c);
    cr_expect_eq(count_existing(&real, base), 0);
    cr_expect_eq(count_markers(), 0);
    close_markers(&p);
}

Test(controller, parents_without_markers_stay)
{
    struct cg_parents nowhere = {FD_NONE};
    struct cg_controller c;

    need_v1();
    for (int i = 0; i < 2; i++) {
        c = create(&real, i ? &nowhere : NULL, sub("p/one"), NULL, false, &none);
        delete_ok(&c);
        cr_expect_eq(count_existing(&real, sub("p")), real.count, "never removed");
        cr_expect_eq(count_existing(&real, sub("p/one")), 0);
    }
    cg_parents_sweep(&nowhere, &real);
    cr_expect_eq(count_existing(&real, sub("p")), real.count);
}

/* A parent that cannot be remembered is not made. */
Test(controller, parents_markers_first)
{
    struct cg_controller c;
    struct err e = ERR_INIT;
    struct cg_parents p;
    int r;

    need_v1();
    p.dirfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cg_init(&c, &real, &p, sub("p/one"), NULL, false);
    r = cg_create(&c, &none, NULL, &e);
    cr_expect_eq(r, -ENOTDIR, "expected %d, got %d \"%s\"", -ENOTDIR, r, e.text);
    cr_expect(strstr(e.text, "markers"), "\"%s\"", e.text);
    cr_expect_eq(count_existing(&real, base), 0);
    cg_undo_create(&c);
    fd_close(&p.dirfd);

    /* the directory was removed under us */
    p = open_markers();
    cr_assert_eq(rmdir(marker_dir), 0);
    err_reset(&e);
    r = cg_create(&c, &none, NULL, &e);
    cr_expect_eq(r, -ENOENT, "expected %d, got %d \"%s\"", -ENOENT, r, e.text);
    cr_expect(strstr(e.text, "remember") && strstr(e.text, base), "\"%s\"", e.text);
    cr_expect_eq(count_existing(&real, base), 0);
    cg_undo_create(&c);
    fd_close(&p.dirfd);
}

/* The parents could be made, the cgroup itself could not: undo takes them back. */
Test(controller, parents_of_a_failed_create)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_parents p = open_markers();

    cr_assert_eq(write_value(h, "/", "cgroup.max.depth", "2"), 0);
    for (int i = 0; i < 2; i++) {
        struct cg_controller c;
        struct err e = ERR_INIT;
        int r;

        cg_init(&c, &v2host, &p, "/p/q/one", i ? "sandbox" : NULL, i);
        r = cg_create(&c, &none, NULL, &e);
        cr_expect_eq(r, -EAGAIN, "expected %d, got %d \"%s\"", -EAGAIN, r, e.text);
        cr_expect(strstr(e.text, arena_printf(&arena, "cannot make %s/p/q/one", h->mount_point)),
                  "\"%s\"", e.text);
        cr_expect(exists(h, "/p/q") && count_markers() == 2, "the parents were made");
        cg_undo_create(&c);
        cr_expect(!exists(h, "/p") && count_markers() == 0, "%s: expected no parent, no marker",
                  i ? "leaf" : "plain");
    }
    close_markers(&p);
}

/* A parent that cannot be made leaves no marker. */
Test(controller, parents_marker_of_a_failed_parent)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_parents p = open_markers();
    struct err e = ERR_INIT;

    cr_assert_eq(write_value(h, "/", "cgroup.max.depth", "0"), 0);
    cr_expect_eq(cg_parents_make(&p, h, "/p", &e), -EAGAIN, "\"%s\"", e.text);
    cr_expect_eq(count_markers(), 0);
    close_markers(&p);
}

/* Made, but not to be opened: nobody would know of it. */
Test(controller, create_without_descriptors)
{
    const struct cg_hierarchy *h = need_v2();
    struct rlimit old, few;
    struct cg_controller c;
    struct err e = ERR_INIT;
    int r, next = dup(STDERR_FILENO);

    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
    cg_init(&c, &v2host, NULL, "/a", NULL, false);
    setrlimit(RLIMIT_NOFILE, &few);
    r = cg_create(&c, &none, NULL, &e);
    setrlimit(RLIMIT_NOFILE, &old);
    cr_expect_eq(r, -EMFILE, "expected %d, got %d \"%s\"", -EMFILE, r, e.text);
    cg_undo_create(&c);
    cr_expect_not(exists(h, "/a"));
}

Test(controller, parents_sweep)
{
    struct cg_controller one, two;
    struct cg_parents p;

    need_v1();
    p = open_markers();
    one = create(&real, &p, sub("p/one"), NULL, false, &none);
    two = create(&real, &p, sub("q/two"), NULL, false, &none);
    /* killed behind the removal of its own cgroup */
    for (size_t i = 0; i < real.count; i++)
        cr_assert_eq(unlinkat(real.hierarchies[i].fd, one.path + 1, AT_REMOVEDIR), 0);
    /* killed between marker and parent; not ours; of a hierarchy that is gone */
    cr_assert_eq(cg_parents_make(&p, &real.hierarchies[0], sub("r"), NULL), 0);
    cr_assert_eq(unlinkat(real.hierarchies[0].fd, sub("r") + 1, AT_REMOVEDIR), 0);
    cr_assert_eq(symlinkat("rubbish", p.dirfd, "a"), 0);
    cr_assert_eq(symlinkat("/x", p.dirfd, "b"), 0);
    cr_assert_eq(symlinkat("name=gone:/x", p.dirfd, "c"), 0);
    cr_assert_eq(mkdirat(p.dirfd, "dir", 0700), 0);
    cg_parents_sweep(&p, &real);
    cr_expect_eq(count_existing(&real, sub("p")), 0, "empty: removed");
    cr_expect_eq(count_existing(&real, sub("q/two")), real.count, "in use: kept");
    cr_expect_eq(count_existing(&real, base), real.count);
    cr_expect_eq(count_markers(), 2 * real.count + 3, "q, base and what is not ours; got %u",
                 count_markers());
    delete_ok(&two);
    cg_parents_sweep(&p, &real);
    cr_expect_eq(count_existing(&real, base), 0);
    cr_expect_eq(count_markers(), 3);
    unlinkat(p.dirfd, "dir", AT_REMOVEDIR);
    cg_close(&one);
    close_markers(&p);
}

Test(controller, parents_make)
{
    const struct cg_hierarchy *h;
    struct err e = ERR_INIT;
    struct cg_parents p;

    need_v1();
    p = open_markers();
    h = &real.hierarchies[0];
    expect_ok(cg_parents_make(&p, h, base, &e), &e, "make");
    cr_expect(exists(h, base) && count_markers() == 1);
    expect_ok(cg_parents_make(&p, h, base, &e), &e, "again");
    cr_expect_eq(count_markers(), 1);
    make_cgroup(h, sub("theirs"));
    expect_ok(cg_parents_make(&p, h, sub("theirs"), &e), &e, "of somebody else");
    cr_expect_eq(count_markers(), 1, "no marker for what was there");
    expect_ok(cg_parents_make(NULL, h, sub("p"), &e), &e, "no markers wanted");
    cr_expect(exists(h, sub("p")) && count_markers() == 1);
    /* the same path in another hierarchy is another parent */
    cg_parents_remove(&p, &real.hierarchies[1], sub("x"));
    cr_expect(exists(h, base));
    cg_parents_remove(&p, h, sub("x"));
    cr_expect(exists(h, base) && count_markers() == 1, "busy: kept with its marker");
    cr_assert_eq(unlinkat(h->fd, sub("theirs") + 1, AT_REMOVEDIR), 0);
    cr_assert_eq(unlinkat(h->fd, sub("p") + 1, AT_REMOVEDIR), 0);
    cg_parents_remove(&p, h, sub("x"));
    cr_expect(!exists(h, base) && count_markers() == 0, "removed with its marker");
    cg_parents_remove(&p, h, sub("x"));
    cr_expect_lt(cg_parents_make(&p, h, sub("no/parent"), &e), 0);
    cr_expect(strstr(e.text, sub("no/parent")), "\"%s\"", e.text);
    close_markers(&p);
}

/* Sandboxes come and go below one parent: nobody may lose his cgroup's parent, and none is left. */
Test(controller, parents_concurrently)
{
    struct cg_parents p;
    pid_t pids[3];

    need_v2();
    p = open_markers();
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct cg_controller c;
            struct err e = ERR_INIT;
            int r = 0;

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int k = 0; r == 0 && k < 200; k++) {
                cg_init(&c, &v2host, &p,
                        i == 0   ? "/p/q/a"
                        : i == 1 ? "/p/q/b"
                                 : "/p/c",
                        NULL, false);
                r = cg_create(&c, &none, NULL, &e);
                if (r == 0)
                    r = cg_delete(&c, 10000, &e);
            }
            if (r < 0)
                fprintf(stderr, "%s\n", e.text);
            _exit(r < 0);
        }
        track(pids[i]);
    }
    for (int i = 0; i < 3; i++) {
        int status = -1;

        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "sandbox %d: status %#x", i,
                  (unsigned)status);
    }
    cr_expect_eq(count_existing(&v2host, "/p"), 0, "the last one took the parents along");
    cr_expect_eq(count_markers(), 0, "got %u", count_markers());
    close_markers(&p);
}

/* --- discovery, in a mount namespace of our own --- */

static char mount_dir[] = "/tmp/osc-mounts-XXXXXX";

static const char *mount_name(const char *name)
{
    const char *path = arena_printf(&arena, "%s/%s", mount_dir, name);

    mkdir(path, 0755);
    return path;
}

static void own_mounts(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        cr_skip_test("needs a mount namespace of its own: %s", strerror(errno));
    cr_assert_not_null(mkdtemp(mount_dir));
    if (mount("tmpfs", mount_dir, "tmpfs", 0, NULL) < 0)
        cr_skip_test("cannot mount: %s", strerror(errno));
}

static const struct cg_hierarchy *discover(struct cg_host *host, const char *name)
{
    struct err e = ERR_INIT;

    expect_ok(cg_host_open(&arena, host, &e), &e, "discover");
    for (size_t i = 0; i < host->count; i++) {
        if (str_eq(host->hierarchies[i].name, name))
            return &host->hierarchies[i];
    }
    return NULL;
}

Test(controller, discovery_of_repeated_and_hidden_mounts)
{
    const struct cg_hierarchy *h = need_v1_ctl(CG_CTL_PIDS), *seen;
    const char *part, *keep, *last;
    struct cg_controller c;
    struct cg_host host;
    struct err e = ERR_INIT;
    pid_t pid;

    if (!str_eq(h->root, "/"))
        cr_skip_test("%s shows a part only", h->mount_point);
    own_mounts();
    make_cgroup(h, base);
    keep = mount_name("keep");
    part = mount_name("part");
    last = mount_name("last");
    /* in the order of mountinfo: a part of the hierarchy, then all of it */
    cr_assert_eq(mount(h->mount_point, keep, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(
        mount(arena_printf(&arena, "%s%s", h->mount_point, base), part, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(umount2(h->mount_point, MNT_DETACH), 0, "%s", strerror(errno));
    cr_assert_eq(mount(keep, last, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(umount2(keep, MNT_DETACH), 0);
    seen = discover(&host, h->name);
    cr_assert_not_null(seen);
    cr_expect(str_eq(seen->mount_point, last) && str_eq(seen->root, "/"),
              "expected %s with /, got %s with %s", last, seen->mount_point, seen->root);
    cr_expect_eq(host.count, real.count, "each hierarchy once");
    cg_host_close(&host);

    /* hidden below another file system: the part is all that there is */
    cr_assert_eq(mount("tmpfs", last, "tmpfs", 0, NULL), 0);
    seen = discover(&host, h->name);
    cr_assert_not_null(seen);
    cr_expect(str_eq(seen->mount_point, part) && str_eq(seen->root, base),
              "expected %s with %s, got %s with %s", part, base, seen->mount_point, seen->root);

    /* and paths are relative to it */
    c = create(&host, NULL, sub("a"), NULL, false, &none);
    cr_expect(exists(seen, c.path));
    pid = start_child();
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    cr_expect_str_eq(where(h, pid), arena_printf(&arena, "%s%s", base, c.path));
    cr_expect_eq(cg_holds(&c, pid), 1);
    struct cg_origin origin;

    expect_ok(cg_origin_read(&host, pid, &arena, &origin, &e), &e, "origin");
    cr_expect_str_eq(origin.paths[seen - host.hierarchies], c.path);
    expect_ok(cg_origin_read(&host, getpid(), &arena, &origin, &e), &e, "origin");
    cr_expect_null(origin.paths[seen - host.hierarchies], "outside of the mount");
    /* the mounted cgroup itself is the root */
    cr_assert_eq(write_pid(seen, "/", "cgroup.procs", pid), 0);
    expect_ok(cg_origin_read(&host, pid, &arena, &origin, &e), &e, "origin");
    cr_expect_str_eq(origin.paths[seen - host.hierarchies], "/");
    end_child(pid);
    delete_ok(&c);
    cg_host_close(&host);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

Test(controller, discovery_modes)
{
    struct cg_host host;
    struct err e = ERR_INIT;
    bool had_v2 = false;
    int r;

    need_v1();
    own_mounts();
    /* without the cgroup2 mount: v1 */
    for (size_t i = 0; i < real.count; i++) {
        if (real.hierarchies[i].v2) {
            had_v2 = true;
            cr_assert_eq(umount2(real.hierarchies[i].mount_point, MNT_DETACH), 0);
        }
    }
    discover(&host, "");
    cr_expect(host.mode == CG_MODE_V1 && host.count == real.count - had_v2, "got %s, %zu",
              cg_mode_name(host.mode), host.count);
    cg_host_close(&host);

    /* no controller: a named hierarchy alone limits nothing */
    for (size_t i = 0; i < real.count; i++) {
        if (!real.hierarchies[i].v2 && real.hierarchies[i].controllers)
            cr_assert_eq(umount2(real.hierarchies[i].mount_point, MNT_DETACH), 0);
    }
    if (had_v2) {
        cr_assert_eq(mount("cgroup2", mount_name("v2"), "cgroup2", 0, NULL), 0);
        discover(&host, "");
        cr_expect(host.mode == CG_MODE_V2 && host.count == 1 && host.hierarchies[0].v2,
                  "got %s, %zu", cg_mode_name(host.mode), host.count);
        cg_host_close(&host);
        umount2(mount_name("v2"), MNT_DETACH);
    }

    /* nothing at all */
    for (size_t i = 0; i < real.count; i++) {
        if (!real.hierarchies[i].v2 && !real.hierarchies[i].controllers)
            cr_assert_eq(umount2(real.hierarchies[i].mount_point, MNT_DETACH), 0);
    }
    r = cg_host_open(&arena, &host, &e);
    cr_expect_eq(r, -ENOENT, "expected %d, got %d", -ENOENT, r);
    cr_expect(strstr(e.text, "mountinfo") && host.count == 0, "\"%s\"", e.text);
    cg_host_close(&host);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

/* --- v2: one cgroup --- */

Test(controller, v2_plain)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_controller c = create(&v2host, NULL, "/a/b", NULL, false, &none), again;
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[THREADS], pid = start_threads(tids), other = start_child();
    char buf[32];

    cr_expect(exists(h, "/a/b") && c.made == 1 && !c.made_domain, "made %#x", c.made);
    cr_expect_str_eq(cg_type(&c, buf), "domain");
    cr_expect_str_eq(cg_id(&c, &arena), "/a/b");
    cr_expect_str_eq(cg_parent(&c, &arena), "/a");
    again = create(&v2host, NULL, "/a/b", NULL, false, &none);
    cr_expect_eq(again.made, 0);
    cg_undo_create(&again);
    cr_expect(exists(h, "/a/b"));

    cr_expect_eq(cg_holds(&c, pid), 0);
    for (int i = 0; i < 2; i++)
        expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    expect_where(&v2host, pid, "/a/b", "process");
    expect_where(&v2host, tids[2], "/a/b", "thread");
    cr_expect(cg_holds(&c, pid) == 1 && cg_holds(&c, tids[0]) == 1 && cg_holds(&c, other) == 0);
    expect_ok(cg_processes(&c, &arena, &pids, &e), &e, "processes");
    cr_expect(pids.count == 1 && in_list(&pids, pid));
    expect_ok(cg_threads(&c, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == THREADS + 1 && in_list(&pids, tids[1]), "got %zu", pids.count);
    cr_expect_not(cg_is_empty(&c));
    cr_expect_eq(cg_delete(&c, 30, &e), -EBUSY);
    cr_expect(strstr(e.text, arena_printf(&arena, "%s/a/b: EBUSY", h->mount_point)), "\"%s\"",
              e.text);
    err_reset(&e);
    expect_ok(cg_load(&c, &e), &e, "load");
    end_child(pid);
    cr_expect(cg_is_empty(&c));
    cr_expect_eq(cg_add_process(&c, pid, NULL), -ESRCH);
    delete_ok(&c);
    cr_expect_not(exists(h, "/a/b"));
    delete_ok(&c);
    cr_expect_eq(cg_load(&c, &e), -ENOENT);
}

Test(controller, v2_undo)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_parents p = open_markers();
    struct cg_controller c = create(&v2host, &p, "/p/a", NULL, false, &none);

    cr_expect_eq(count_markers(), 1);
    cg_undo_create(&c);
    cr_expect_not(exists(h, "/p"));
    cr_expect_eq(count_markers(), 0);
    cg_undo_create(&c);
    close_markers(&p);
}

Test(controller, v2_kill_and_delete)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_controller c = create(&v2host, NULL, "/a", NULL, false, &none);
    struct err e = ERR_INIT;
    pid_t pid = start_child(), inside = start_child(), outside = start_child();
    int status;

    expect_ok(cg_kill(&c, SIGKILL, &e), &e, "nobody");
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    make_cgroup(h, "/a/x");
    cr_assert_eq(write_pid(h, "/a/x", "cgroup.procs", inside), 0);
    expect_ok(cg_kill(&c, SIGTERM, &e), &e, "SIGTERM");
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "got %#x", (unsigned)status);
    cr_assert_eq(waitpid(inside, &status, 0), inside);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "got %#x", (unsigned)status);

    pid = start_child();
    inside = start_child();
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    cr_assert_eq(write_pid(h, "/a/x", "cgroup.procs", inside), 0);
    expect_ok(cg_kill(&c, SIGKILL, &e), &e, "SIGKILL");
    /* nobody waits for them but cg_delete(), here by the kernel's event */
    expect_ok(cg_delete(&c, 30000, &e), &e, "delete");
    cr_expect_not(exists(h, "/a"));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "got %#x", (unsigned)status);
    cr_assert_eq(waitpid(inside, &status, 0), inside);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "got %#x", (unsigned)status);
    cr_expect_eq(waitpid(outside, &status, WNOHANG), 0, "others live");
}

Test(controller, v2_stat)
{
    need_v2();
    struct cg_controller c = create(&v2host, NULL, "/a", NULL, false, &none);
    struct worker w = start_worker();
    struct err e = ERR_INIT;
    struct cg_stat st;

    expect_ok(cg_add_process(&c, w.pid, &e), &e, "add");
    cr_expect_eq(ask(&w, 'c'), 0);
    expect_ok(cg_stat(&c, &st, &e), &e, "stat");
    cr_expect(st.has & CG_CTL_BIT(CG_CTL_CPUACCT) && st.cpu_usage_us > 0, "has %#x, %" PRIu64 " us",
              st.has, st.cpu_usage_us);
    end_child(w.pid);
    delete_ok(&c);
}

/* --- v2: the threaded split --- */

struct split {
    struct cg_controller sandbox, overhead;
};

static struct split create_split(struct cg_parents *p, const char *path)
{
    struct split s;

    s.sandbox = create(&v2host, p, path, "sandbox", true, &none);
    s.overhead = create(&v2host, p, path, "overhead", false, &none);
    return s;
}

Test(controller, v2_split)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_split(NULL, "/d");
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[THREADS], pid = start_threads(tids), stranger = start_child();
    char buf[32];
    int r;

    cr_expect_str_eq(read_value(h, "/d", "cgroup.type"), "domain threaded");
    cr_expect_str_eq(read_value(h, "/d/sandbox", "cgroup.type"), "threaded");
    cr_expect_str_eq(read_value(h, "/d/overhead", "cgroup.type"), "threaded");
    cr_expect_str_eq(cg_type(&s.sandbox, buf), "threaded");
    cr_expect_str_eq(cg_type(&s.overhead, buf), "threaded");
    cr_expect_str_eq(cg_id(&s.sandbox, &arena), "/d/sandbox");
    cr_expect_str_eq(cg_id(&s.overhead, &arena), "/d/overhead");
    cr_expect_str_eq(cg_parent(&s.sandbox, &arena), "/", "the domain is its own, too");
    cr_expect_str_eq(cg_parent(&s.overhead, &arena), "/d");

    /* the process to the overhead, one thread to the sandbox */
    for (int i = 0; i < 2; i++)
        expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add process");
    cr_expect_str_eq(where(h, tids[0]), seen_as(h, "/d/overhead"));
    for (int i = 0; i < 2; i++)
        expect_ok(cg_add_thread(&s.sandbox, tids[1], &e), &e, "add thread");
    cr_expect_str_eq(where(h, pid), seen_as(h, "/d/overhead"));
    cr_expect_str_eq(where(h, tids[0]), seen_as(h, "/d/overhead"));
    cr_expect_str_eq(where(h, tids[1]), seen_as(h, "/d/sandbox"));
    cr_expect(cg_holds(&s.sandbox, tids[1]) == 1 && cg_holds(&s.overhead, tids[1]) == 0 &&
              cg_holds(&s.sandbox, pid) == 0 && cg_holds(&s.overhead, pid) == 1 &&
              cg_holds(&s.sandbox, stranger) == 0);
    expect_ok(cg_threads(&s.sandbox, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && in_list(&pids, tids[1]), "got %zu", pids.count);
    expect_ok(cg_threads(&s.overhead, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == THREADS && !in_list(&pids, tids[1]), "got %zu", pids.count);
    expect_ok(cg_processes(&s.sandbox, &arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && in_list(&pids, pid), "got %zu", pids.count);
    expect_ok(cg_processes(&s.overhead, &arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && in_list(&pids, pid), "got %zu", pids.count);
    cr_expect(!cg_is_empty(&s.sandbox) && !cg_is_empty(&s.overhead));

    /* a thread of a process that lives in another domain cannot come alone */
    r = cg_add_thread(&s.sandbox, stranger, &e);
    cr_expect_eq(r, -EOPNOTSUPP, "expected %d, got %d", -EOPNOTSUPP, r);
    cr_expect(strstr(e.text, arena_printf(&arena, "%s/d/sandbox/cgroup.threads", h->mount_point)),
              "\"%s\"", e.text);
    err_reset(&e);

    /* loaded by somebody else */
    struct cg_controller loaded;

    cg_init(&loaded, &v2host, NULL, "/d", "sandbox", true);
    for (int i = 0; i < 2; i++)
        expect_ok(cg_load(&loaded, &e), &e, "load");
    cr_expect(cg_holds(&loaded, tids[1]) == 1 && loaded.domain_fd >= 0);
    cg_close(&loaded);

    expect_ok(cg_kill(&s.overhead, SIGKILL, &e), &e, "kill the domain");
    waitpid(pid, NULL, 0);
    cr_expect(cg_is_empty(&s.sandbox));
    delete_ok(&s.overhead);
    cr_expect(!exists(h, "/d/overhead") && exists(h, "/d/sandbox"), "the domain is not its own");
    delete_ok(&s.sandbox);
    cr_expect_not(exists(h, "/d"));
    delete_ok(&s.overhead);
    delete_ok(&s.sandbox);
}

/* A child that somebody made meanwhile, as yet no threaded one. */
Test(controller, v2_split_converts_existing)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s;

    make_cgroup(h, "/d");
    make_cgroup(h, "/d/sandbox");
    s = create_split(NULL, "/d");
    cr_expect_str_eq(read_value(h, "/d/sandbox", "cgroup.type"), "threaded");
    cr_expect(!s.sandbox.made && !s.sandbox.made_domain && s.overhead.made == 1 &&
              !s.overhead.made_domain);
    cg_undo_create(&s.sandbox);
    cr_expect(exists(h, "/d/sandbox"), "not made by us");
    cg_undo_create(&s.overhead);
    cr_expect_not(exists(h, "/d/overhead"));
    cr_expect(exists(h, "/d"));
}

Test(controller, v2_split_undo)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_parents p = open_markers();
    struct split s = create_split(&p, "/p/d");

    cr_expect(s.sandbox.made == 1 && s.sandbox.made_domain && s.overhead.made == 1 &&
                  !s.overhead.made_domain,
              "made: sandbox %#x, domain %d; overhead %#x, domain %d", s.sandbox.made,
              s.sandbox.made_domain, s.overhead.made, s.overhead.made_domain);
    cr_expect_eq(count_markers(), 1);
    cg_undo_create(&s.overhead);
    cr_expect(!exists(h, "/p/d/overhead") && exists(h, "/p/d/sandbox"));
    cg_undo_create(&s.sandbox);
    cr_expect(!exists(h, "/p") && count_markers() == 0, "with the parent and its marker");
    cg_undo_create(&s.sandbox);
    cg_undo_create(&s.overhead);

    /* the owner first: the domain is busy with the other leaf and stays */
    s = create_split(&p, "/p/d");
    cg_undo_create(&s.sandbox);
    cr_expect(!exists(h, "/p/d/sandbox") && exists(h, "/p/d/overhead"));
    cg_undo_create(&s.overhead);
    cr_expect(!exists(h, "/p/d/overhead"));
    unlinkat(h->fd, "p/d", AT_REMOVEDIR);
    close_markers(&p);
}

Test(controller, v2_split_delete_order)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_split(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t pid = start_child();
    int r;

    /* the owner takes the domain along, but not somebody who lives there */
    expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
    r = cg_delete(&s.sandbox, 30, &e);
    cr_expect_eq(r, -EBUSY, "expected %d, got %d", -EBUSY, r);
    cr_expect(strstr(e.text, arena_printf(&arena, "%s/d: EBUSY", h->mount_point)), "\"%s\"",
              e.text);
    err_reset(&e);
    cr_expect_str_eq(where(h, pid), seen_as(h, "/d/overhead"));
    cr_expect_not(exists(h, "/d/sandbox"), "the leaf was empty");
    end_child(pid);
    expect_ok(cg_load(&s.sandbox, &e), &e, "the domain is there, its leaf is not");
    expect_ok(cg_delete(&s.sandbox, 10000, &e), &e, "delete");
    cr_expect_not(exists(h, "/d"), "with the empty other leaf");
    expect_ok(cg_delete(&s.overhead, 0, &e), &e, "there is nothing left");

    s = create_split(NULL, "/d");
    r = cg_delete(&s.sandbox, 0, &e);
    cr_expect(r == 0 && !exists(h, "/d"),
              "timeout 0, the other leaf is empty: expected 0 and nothing left; got %d \"%s\"", r,
              e.text);
    cg_close(&s.overhead);
}

Test(controller, v2_split_load)
{
    struct cg_controller c;
    struct err e = ERR_INIT;

    const struct cg_hierarchy *h = need_v2();
    cg_init(&c, &v2host, NULL, "/d", "overhead", false);
    cr_expect_eq(cg_load(&c, &e), -ENOENT);
    cr_expect(strstr(e.text, "/d/overhead does not exist"), "\"%s\"", e.text);
    err_reset(&e);
    make_cgroup(h, "/d");
    cr_expect_eq(cg_load(&c, &e), -ENOENT, "the domain alone is not ours");
    cg_close(&c);
    cg_init(&c, &v2host, NULL, "/d", "sandbox", true);
    err_reset(&e);
    expect_ok(cg_load(&c, &e), &e, "the domain alone is the owner's");
    cr_expect(c.domain_fd >= 0 && c.fds[0] == FD_NONE);
    delete_ok(&c);
    cr_expect_not(exists(h, "/d"));
}

Test(controller, v2_split_stat)
{
    need_v2();
    struct split s = create_split(NULL, "/d");
    struct worker w = start_worker();
    struct cg_stat sandbox, overhead;
    struct err e = ERR_INIT;

    expect_ok(cg_add_process(&s.sandbox, w.pid, &e), &e, "add");
    cr_expect_eq(ask(&w, 'c'), 0);
    cg_stat(&s.sandbox, &sandbox, &e);
    cg_stat(&s.overhead, &overhead, &e);
    cr_expect(sandbox.has & overhead.has & CG_CTL_BIT(CG_CTL_CPUACCT));
    cr_expect(sandbox.cpu_usage_us > 0 && overhead.cpu_usage_us == 0,
              "each leaf its own: got %" PRIu64 " and %" PRIu64, sandbox.cpu_usage_us,
              overhead.cpu_usage_us);
    end_child(w.pid);
    delete_ok(&s.sandbox);
}

/* --- v2: devices, limits --- */

static int count_programs(const struct cg_hierarchy *h, const char *path)
{
    autofd fd = openat(h->fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unsigned all = 0, ours = 0;

    cr_assert_eq(cg_bpf_device_count(fd, &all, &ours), 0, "%s", path);
    cr_expect_eq(all, ours, "%s: nobody else's", path);
    return (int)ours;
}

Test(controller, v2_devices)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct cg_controller overhead, sandbox, plain;
    struct err e = ERR_INIT;
    struct worker w = start_worker();

    if (cg_bpf_device_probe() < 0)
        cr_skip_test("no device programs on this kernel");
    cg_dev_rules_add(&arena, &rules, full);
    table = compile(&rules);
    cg_init(&sandbox, &v2host, NULL, "/d", "sandbox", true);
    expect_ok(cg_create(&sandbox, &none, &table, &e), &e, "create");
    overhead = create(&v2host, NULL, "/d", "overhead", false, &none);
    cr_expect_eq(count_programs(h, "/d"), 1, "on the domain");
    cr_expect_eq(count_programs(h, "/d/sandbox"), 0, "not on a leaf");
    cr_expect_eq(count_programs(h, "/d/overhead"), 0, "not on a leaf");
    expect_ok(cg_add_process(&overhead, w.pid, &e), &e, "add");
    cr_expect(ask(&w, 'n') == EPERM && ask(&w, 'f') == 0, "full only, in the other leaf, too");
    check_devices(&sandbox, &w);
    cr_expect_eq(count_programs(h, "/d"), 1, "one program, however often it was set");
    end_child(w.pid);
    delete_ok(&overhead);
    delete_ok(&sandbox);

    /* without a leaf on the cgroup itself */
    cg_init(&plain, &v2host, NULL, "/a", NULL, false);
    expect_ok(cg_create(&plain, &none, &table, &e), &e, "create");
    cr_expect_eq(count_programs(h, "/a"), 1);
    w = start_worker();
    expect_ok(cg_add_process(&plain, w.pid, &e), &e, "add");
    check_devices(&plain, &w);
    end_child(w.pid);
    delete_ok(&plain);
}

/* A limit whose controller our cgroup does not get from above. */
Test(controller, v2_missing_controller)
{
    static const struct {
        struct cg_limits limits;
        enum cg_ctl ctl;
    } cases[] = {
        {{.memory_limit = {true, 64 << 20}}, CG_CTL_MEMORY}, {{.pids = {true, 5}}, CG_CTL_PIDS},
        {{.cpu_shares = {true, 512}}, CG_CTL_CPU},           {{.cpuset_cpus = "0"}, CG_CTL_CPUSET},
        {{.blkio_weight = {true, 100}}, CG_CTL_BLKIO},
    };
    const struct cg_hierarchy *h = need_v2();
    unsigned tested = 0;

    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        size_t k = i / 2;
        const char *leaf = i % 2 ? "sandbox" : NULL;
        const char *name = cg_ctl_name(cases[k].ctl, true);
        const struct cg_files files = files_of(&cases[k].limits, true);
        struct cg_controller c;
        struct err e = ERR_INIT;
        int r;

        if (h->controllers & CG_CTL_BIT(cases[k].ctl))
            continue;
        tested++;
        cg_init(&c, &v2host, NULL, "/x/d", leaf, leaf != NULL);
        r = cg_create(&c, &files, NULL, &e);
        cr_expect_eq(r, -ENOENT, "%s: expected %d, got %d", name, -ENOENT, r);
        cr_expect(strstr(e.text, arena_printf(&arena, "the %s controller is not available in %s:",
                                              name, h->mount_point)),
                  "%s and %s: \"%s\"", name, h->mount_point, e.text);
        cg_undo_create(&c);
        cr_expect_not(exists(h, "/x/d"), "%s: undone", name);

        /* an existing cgroup says it, too; and where, when it is not to be enabled */
        c = create(&v2host, NULL, "/x/d", leaf, leaf != NULL, &none);
        err_reset(&e);
        r = cg_update(&c, &files, &e);
        cr_expect_eq(r, -ENOENT, "%s: expected %d, got %d", name, -ENOENT, r);
        cr_expect(strstr(e.text, arena_printf(&arena, "the %s controller is not available in %s:",
                                              name, h->mount_point)),
                  "%s: \"%s\"", name, e.text);
        err_reset(&e);
        r = cg_revert(&c, &files, &e);
        cr_expect_eq(r, -ENOENT, "%s: expected %d, got %d", name, -ENOENT, r);
        cr_expect(
            strstr(e.text, arena_printf(&arena, "%s/x/d", h->mount_point)) &&
                strstr(e.text, arena_printf(&arena, "the %s controller is not enabled", name)),
            "%s: \"%s\"", name, e.text);
        /* there is nothing to take away */
        err_reset(&e);
        for (size_t n = 0; n < files.count; n++)
            files.items[n].flags |= CG_FILE_RESET;
        cr_expect_eq(cg_update(&c, &files, &e), 0, "%s: \"%s\"", name, e.text);
        delete_ok(&c);
    }
    if (tested == 0)
        cr_skip_test("every controller is available");
}

/* The file's directory in messages is the one that it was looked for in: domain or leaf. */
Test(controller, v2_file_of_domain_and_leaf)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file, *dir;
    } cases[] = {
        {CG_CTL_MEMORY, "memory.none", "/d/memory.none"},
        {CG_CTL_BLKIO, "io.none", "/d/io.none"},
        {CG_CTL_HUGETLB, "hugetlb.none", "/d/hugetlb.none"},
        {CG_CTL_CPU, "cpu.none", "/d/sandbox/cpu.none"},
        {CG_CTL_CPUSET, "cpuset.none", "/d/sandbox/cpuset.none"},
        {CG_CTL_PIDS, "pids.none", "/d/sandbox/pids.none"},
    };
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_split(NULL, "/d");

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_file file = {.ctl = cases[i].ctl, .file = cases[i].file, .text = "1"};
        struct cg_files files = {.items = &file, .count = 1};
        struct err e = ERR_INIT;
        bool threaded = CG_CTL_THREADED & CG_CTL_BIT(cases[i].ctl);
        /* which enables nothing before */
        int r = cg_revert(&s.sandbox, &files, &e);

        cr_expect(r == -ENOENT &&
                      strstr(e.text, arena_printf(&arena, "%s%s:", h->mount_point, cases[i].dir)),
                  "%s: expected %s, got %d \"%s\"", cases[i].file, cases[i].dir, r, e.text);
        /* the other leaf has no say over what the domain decides */
        err_reset(&e);
        r = cg_revert(&s.overhead, &files, &e);
        cr_expect_eq(r, threaded ? -ENOENT : -EOPNOTSUPP, "%s: got %d \"%s\"", cases[i].file, r,
                     e.text);
        if (!threaded)
            cr_expect(strstr(e.text, cg_ctl_name(cases[i].ctl, true)) &&
                          strstr(e.text, "/d/overhead"),
                      "\"%s\"", e.text);
    }
    delete_ok(&s.overhead);
    delete_ok(&s.sandbox);
}

/* A domain controller that our own cgroup has, so that it can be passed on; CG_CTL_COUNT if none.
 */
static enum cg_ctl available_controller(const struct cg_hierarchy *h)
{
    static const enum cg_ctl ctls[] = {CG_CTL_MEMORY, CG_CTL_BLKIO, CG_CTL_HUGETLB};

    for (size_t i = 0; i < ARRAY_SIZE(ctls); i++) {
        if (h->controllers & CG_CTL_BIT(ctls[i]))
            return ctls[i];
    }
    return CG_CTL_COUNT;
}

Test(controller, v2_controllers_are_passed_down)
{
    const struct cg_hierarchy *h = need_v2();
    enum cg_ctl ctl = available_controller(h);
    /* what is written is no matter here */
    struct cg_file file = {.ctl = ctl, .file = "none", .text = "1", .flags = CG_FILE_OPTIONAL};
    struct cg_files files = {.items = &file, .count = 1};
    struct cg_controller c;
    struct err e = ERR_INIT;
    const char *name;
    pid_t pid;
    int r;

    if (ctl == CG_CTL_COUNT)
        cr_skip_test("the root of the cgroup2 mount passes no controller on");
    name = cg_ctl_name(ctl, true);
    for (int i = 0; i < 2; i++) {
        c = create(&v2host, NULL, "/x/y", NULL, false, &files);
        cr_expect_str_eq(read_value(h, "/", "cgroup.subtree_control"), name);
        cr_expect_str_eq(read_value(h, "/x", "cgroup.subtree_control"), name);
        cr_expect_str_eq(read_value(h, "/x/y", "cgroup.subtree_control"), "", "no further");
        cg_close(&c);
    }

    /* for a limit that comes later, too */
    c = create(&v2host, NULL, "/u/y", NULL, false, &none);
    cr_expect_str_eq(read_value(h, "/u", "cgroup.subtree_control"), "");
    expect_ok(cg_update(&c, &files, &e), &e, "update");
    cr_expect_str_eq(read_value(h, "/u", "cgroup.subtree_control"), name);
    delete_ok(&c);

    /* a parent that holds processes cannot */
    make_cgroup(h, "/z");
    pid = start_child();
    cr_assert_eq(write_pid(h, "/z", "cgroup.procs", pid), 0);
    cg_init(&c, &v2host, NULL, "/z/y", NULL, false);
    r = cg_create(&c, &files, NULL, &e);
    cr_expect_eq(r, -EBUSY, "expected %d, got %d", -EBUSY, r);
    cr_expect(strstr(e.text, arena_printf(&arena, "%s/z holds processes", h->mount_point)) &&
                  strstr(e.text, name),
              "\"%s\"", e.text);
    cg_undo_create(&c);
    cr_expect_not(exists(h, "/z/y"));
    end_child(pid);
}

/* --- v2: the threaded tree below a scope, which stays a plain domain --- */

static struct split create_deep(struct cg_parents *p, const char *path)
{
    struct split s;

    s.sandbox = create(&v2host, p, path, "threads/sandbox", true, &none);
    s.overhead = create(&v2host, p, path, "threads/overhead", false, &none);
    return s;
}

Test(controller, v2_deep)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_deep(NULL, "/d");
    struct err e = ERR_INIT;
    struct cg_pids pids;
    pid_t tids[THREADS], pid = start_threads(tids), stranger = start_child();
    char buf[32];

    cr_expect_str_eq(read_value(h, "/d", "cgroup.type"), "domain");
    cr_expect_str_eq(read_value(h, "/d/threads", "cgroup.type"), "domain threaded");
    cr_expect_str_eq(read_value(h, "/d/threads/sandbox", "cgroup.type"), "threaded");
    cr_expect_str_eq(read_value(h, "/d/threads/overhead", "cgroup.type"), "threaded");
    cr_expect(s.sandbox.made == 1 && s.sandbox.made_domain && s.overhead.made == 1 &&
                  !s.overhead.made_domain,
              "made: sandbox %#x, domain %d; overhead %#x, domain %d", s.sandbox.made,
              s.sandbox.made_domain, s.overhead.made, s.overhead.made_domain);
    cr_expect_str_eq(cg_type(&s.sandbox, buf), "threaded");
    cr_expect_str_eq(cg_id(&s.sandbox, &arena), "/d/threads/sandbox");
    cr_expect_str_eq(cg_id(&s.overhead, &arena), "/d/threads/overhead");
    cr_expect_str_eq(cg_parent(&s.sandbox, &arena), "/");
    cr_expect_str_eq(cg_parent(&s.overhead, &arena), "/d/threads");
    cr_expect(cg_is_empty(&s.sandbox) && cg_is_empty(&s.overhead));

    /* the process to the overhead, one thread to the sandbox */
    expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add process");
    expect_ok(cg_add_thread(&s.sandbox, tids[1], &e), &e, "add thread");
    cr_expect_str_eq(where(h, pid), seen_as(h, "/d/threads/overhead"));
    cr_expect_str_eq(where(h, tids[1]), seen_as(h, "/d/threads/sandbox"));
    cr_expect(cg_holds(&s.sandbox, tids[1]) == 1 && cg_holds(&s.overhead, tids[1]) == 0 &&
              cg_holds(&s.sandbox, pid) == 0 && cg_holds(&s.overhead, pid) == 1 &&
              cg_holds(&s.sandbox, stranger) == 0);
    expect_ok(cg_threads(&s.sandbox, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == 1 && in_list(&pids, tids[1]), "got %zu", pids.count);
    expect_ok(cg_threads(&s.overhead, &arena, &pids, &e), &e, "threads");
    cr_expect(pids.count == THREADS && !in_list(&pids, tids[1]), "got %zu", pids.count);
    expect_ok(cg_processes(&s.sandbox, &arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && in_list(&pids, pid), "got %zu", pids.count);
    expect_ok(cg_processes(&s.overhead, &arena, &pids, &e), &e, "of the whole domain");
    cr_expect(pids.count == 1 && in_list(&pids, pid), "got %zu", pids.count);
    cr_expect_str_eq(read_value(h, "/d", "cgroup.procs"), "", "nobody is in the scope itself");
    cr_expect(!cg_is_empty(&s.sandbox) && !cg_is_empty(&s.overhead), "though it is not empty");

    expect_ok(cg_kill(&s.sandbox, SIGKILL, &e), &e, "kill the domain");
    waitpid(pid, NULL, 0);
    cr_expect(cg_is_empty(&s.sandbox) && cg_is_empty(&s.overhead));
    delete_ok(&s.overhead);
    cr_expect(!exists(h, "/d/threads/overhead") && exists(h, "/d/threads/sandbox"));
    delete_ok(&s.sandbox);
    cr_expect_not(exists(h, "/d"));
    delete_ok(&s.overhead);
    delete_ok(&s.sandbox);
}

/* Made once, found again: as it is for the next container of a pod. */
Test(controller, v2_deep_again)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_deep(NULL, "/d"), again = create_deep(NULL, "/d");
    struct cg_controller loaded;
    struct err e = ERR_INIT;
    pid_t pid = start_child();

    cr_expect(!again.sandbox.made && !again.sandbox.made_domain && !again.overhead.made);
    cg_undo_create(&again.overhead);
    cg_undo_create(&again.sandbox);
    cr_expect(exists(h, "/d/threads/sandbox") && exists(h, "/d/threads/overhead"),
              "not made by this run");
    expect_ok(cg_add_process(&s.sandbox, pid, &e), &e, "add");
    cg_init(&loaded, &v2host, NULL, "/d", "threads/sandbox", true);
    expect_ok(cg_load(&loaded, &e), &e, "load");
    cr_expect(cg_holds(&loaded, pid) == 1 && loaded.domain_fd >= 0);
    end_child(pid);
    cg_close(&s.sandbox);
    cg_close(&s.overhead);
    delete_ok(&loaded);
    cr_expect_not(exists(h, "/d"), "with everything that is in it");
}

Test(controller, v2_deep_load)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_controller c;
    struct err e = ERR_INIT;

    make_cgroup(h, "/d");
    make_cgroup(h, "/d/threads");
    cg_init(&c, &v2host, NULL, "/d", "threads/overhead", false);
    cr_expect_eq(cg_load(&c, &e), -ENOENT, "what is above it is not ours");
    cr_expect(strstr(e.text, "/d/threads/overhead does not exist"), "\"%s\"", e.text);
    cg_close(&c);
    err_reset(&e);
    cg_init(&c, &v2host, NULL, "/d", "threads/sandbox", true);
    expect_ok(cg_load(&c, &e), &e, "the domain alone is the owner's");
    cr_expect(c.domain_fd >= 0 && c.fds[0] == FD_NONE);
    delete_ok(&c);
    cr_expect_not(exists(h, "/d"));
}

Test(controller, v2_deep_undo)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_parents p = open_markers();
    struct split s = create_deep(&p, "/p/d");
    struct err e = ERR_INIT;
    pid_t pid = start_child();

    cr_expect_eq(count_markers(), 1);
    cg_undo_create(&s.overhead);
    cr_expect(!exists(h, "/p/d/threads/overhead") && exists(h, "/p/d/threads/sandbox"));
    cg_undo_create(&s.sandbox);
    cr_expect(!exists(h, "/p") && count_markers() == 0, "with the parent and its marker");
    cg_undo_create(&s.sandbox);
    cg_undo_create(&s.overhead);

    /* somebody lives in the other leaf, and stays where it is */
    s = create_deep(&p, "/p/d");
    expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
    cg_undo_create(&s.sandbox);
    cr_expect(!exists(h, "/p/d/threads/sandbox") && exists(h, "/p/d/threads/overhead"));
    cr_expect_str_eq(where(h, pid), seen_as(h, "/p/d/threads/overhead"));
    end_child(pid);
    cg_undo_create(&s.overhead);
    cr_expect(exists(h, "/p/d") && !exists(h, "/p/d/threads"),
              "the last leaf takes what is between it and the domain");
    unlinkat(h->fd, "p/d", AT_REMOVEDIR);
    close_markers(&p);
}

/* The domain was there before, as a scope is: undo leaves it, and what somebody else made. */
Test(controller, v2_deep_undo_leaves_the_scope)
{
    const struct cg_hierarchy *h = need_v2();
    struct cg_controller c;

    make_cgroup(h, "/d");
    c = create(&v2host, NULL, "/d", "threads/sandbox", true, &none);
    cr_expect(c.made == 1 && !c.made_domain);
    cg_undo_create(&c);
    cr_expect(exists(h, "/d") && !exists(h, "/d/threads"));

    make_cgroup(h, "/d/threads");
    make_cgroup(h, "/d/threads/other");
    c = create(&v2host, NULL, "/d", "threads/sandbox", true, &none);
    cg_undo_create(&c);
    cr_expect(!exists(h, "/d/threads/sandbox") && exists(h, "/d/threads/other"));
}

Test(controller, v2_deep_delete_order)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_deep(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t pid = start_child();
    int r;

    expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
    r = cg_delete(&s.sandbox, 30, &e);
    cr_expect(r == -EBUSY && strstr(e.text, arena_printf(&arena, "%s/d: EBUSY", h->mount_point)),
              "expected %d, got %d \"%s\"", -EBUSY, r, e.text);
    cr_expect_str_eq(where(h, pid), seen_as(h, "/d/threads/overhead"));
    cr_expect_not(exists(h, "/d/threads/sandbox"), "the leaf was empty");
    err_reset(&e);
    r = cg_delete(&s.overhead, 30, &e);
    cr_expect(r == -EBUSY && strstr(e.text, arena_printf(&arena, "%s/d/threads/overhead: EBUSY",
                                                         h->mount_point)),
              "expected %d, got %d \"%s\"", -EBUSY, r, e.text);
    err_reset(&e);
    end_child(pid);
    expect_ok(cg_load(&s.sandbox, &e), &e, "the domain is there, its leaf is not");
    expect_ok(cg_delete(&s.sandbox, 10000, &e), &e, "delete");
    cr_expect_not(exists(h, "/d"));
}

/* Something in the way of the leaf, or of what is above it. */
Test(controller, v2_deep_failed)
{
    static const struct {
        const char *leaf, *shown;
    } cases[] = {
        {"cgroup.procs/sandbox", "/d/cgroup.procs/sandbox"},
        {"threads/cgroup.procs", "/d/threads/cgroup.procs"},
    };
    const struct cg_hierarchy *h = need_v2();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_controller c;
        struct err e = ERR_INIT;
        int r;

        cg_init(&c, &v2host, NULL, "/d", cases[i].leaf, true);
        r = cg_create(&c, &none, NULL, &e);
        cr_expect(r == -ENOTDIR && strstr(e.text, arena_printf(&arena, "%s%s: ENOTDIR",
                                                               h->mount_point, cases[i].shown)),
                  "%s: expected %d with %s, got %d \"%s\"", cases[i].leaf, -ENOTDIR, cases[i].shown,
                  r, e.text);
        cg_undo_create(&c);
        remove_tree(h->fd, "d");
    }
}

/* Limits of threads are passed on at each level down to the leaf; those of the domain are not. */
Test(controller, v2_deep_controllers)
{
    static const enum cg_ctl threaded[] = {CG_CTL_PIDS, CG_CTL_CPU, CG_CTL_CPUSET};
    const struct cg_hierarchy *h = need_v2();
    enum cg_ctl ctl = available_controller(h);
    unsigned tested = 0;

    for (size_t i = 0; i < ARRAY_SIZE(threaded); i++) {
        struct cg_file file = {.ctl = threaded[i], .file = "none", .flags = CG_FILE_OPTIONAL};
        const struct cg_files files = {.items = &file, .count = 1};
        const char *name = cg_ctl_name(threaded[i], true);
        struct cg_controller c;

        if (!(h->controllers & CG_CTL_BIT(threaded[i])))
            continue;
        tested++;
        file.text = "1";
        c = create(&v2host, NULL, "/x/d", "threads/sandbox", true, &files);
        cr_expect_str_eq(read_value(h, "/x/d", "cgroup.subtree_control"), name);
        cr_expect_str_eq(read_value(h, "/x/d/threads", "cgroup.subtree_control"), name);
        cr_expect_str_eq(read_value(h, "/x/d/threads/sandbox", "cgroup.subtree_control"), "");
        delete_ok(&c);
        remove_tree(h->fd, "x");
    }
    if (ctl != CG_CTL_COUNT) {
        struct cg_file file = {.ctl = ctl, .file = "none", .text = "1", .flags = CG_FILE_OPTIONAL};
        const struct cg_files files = {.items = &file, .count = 1};
        struct cg_controller c;

        tested++;
        c = create(&v2host, NULL, "/x/d", "threads/sandbox", true, &files);
        cr_expect_str_eq(read_value(h, "/x", "cgroup.subtree_control"), cg_ctl_name(ctl, true));
        cr_expect_str_eq(read_value(h, "/x/d", "cgroup.subtree_control"), "");
        delete_ok(&c);
    }
    if (tested == 0)
        cr_skip_test("the root of the cgroup2 mount passes no controller on");
}

/* --- a scope, without asking systemd --- */

/* The process that started the scope makes way for its controllers; one that was there stays. */
Test(controller, v2_unit_first_process)
{
    const struct cg_hierarchy *h = need_v2();

    for (int started = 0; started <= 1; started++) {
        pid_t pid = start_child();
        struct cg_unit unit = {.name = "osc-unit.scope", .first = pid, .started = started};
        struct cg_controller c;
        struct err e = ERR_INIT;

        make_cgroup(h, "/d");
        cr_assert_eq(write_pid(h, "/d", "cgroup.procs", pid), 0);
        cg_init(&c, &v2host, NULL, "/d", "threads/sandbox", true);
        c.unit = &unit;
        expect_ok(c.ops->make(&c, &none, &e), &e, "make");
        cr_expect_str_eq(where(h, pid), seen_as(h, started ? "/d/threads/sandbox" : "/d"),
                         "started %d: got %s", started, where(h, pid));
        cr_expect_str_eq(read_value(h, "/d", "cgroup.type"), "domain");
        end_child(pid);
        c.unit = NULL;
        delete_ok(&c);
    }
}

/* The number of tasks is the scope's, where systemd sets it; without one it is the leaf's. */
Test(controller, v2_unit_files)
{
    static const struct {
        enum cg_ctl ctl;
        const char *file, *with, *without;
    } cases[] = {
        {CG_CTL_PIDS, "pids.none", "/d/pids.none", "/d/threads/sandbox/pids.none"},
        {CG_CTL_CPU, "cpu.none", "/d/threads/sandbox/cpu.none", "/d/threads/sandbox/cpu.none"},
        {CG_CTL_MEMORY, "memory.none", "/d/memory.none", "/d/memory.none"},
    };
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_deep(NULL, "/d");
    struct cg_unit unit = {.name = "osc-unit.scope"};

    for (size_t i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
        struct cg_file file = {.ctl = cases[i / 2].ctl, .file = cases[i / 2].file, .text = "1"};
        const struct cg_files files = {.items = &file, .count = 1};
        const char *want = i % 2 ? cases[i / 2].with : cases[i / 2].without;
        struct err e = ERR_INIT;
        int r;

        /* no property is changed by these files, so systemd is not asked; nothing is enabled */
        s.sandbox.unit = i % 2 ? &unit : NULL;
        r = cg_revert(&s.sandbox, &files, &e);
        cr_expect(
            r == -ENOENT && strstr(e.text, arena_printf(&arena, "%s%s:", h->mount_point, want)),
            "%s, with a scope %zu: expected %s, got %d \"%s\"", file.file, i % 2, want, r, e.text);
    }
    s.sandbox.unit = NULL;

    /* the overhead is no scope, and a scope without a leaf has one directory only */
    for (int plain = 0; plain <= 1; plain++) {
        struct cg_file file = {.ctl = CG_CTL_PIDS, .file = "pids.none", .text = "1"};
        const struct cg_files files = {.items = &file, .count = 1};
        const char *want = plain ? "/only/pids.none" : "/d/threads/overhead/pids.none";
        struct cg_controller only = create(&v2host, NULL, "/only", NULL, true, &none);
        struct err e = ERR_INIT;
        int r;

        only.unit = &unit;
        r = cg_revert(plain ? &only : &s.overhead, &files, &e);
        cr_expect(r == -ENOENT &&
                      strstr(e.text, arena_printf(&arena, "%s%s:", h->mount_point, want)),
                  "expected %s, got %d \"%s\"", want, r, e.text);
        only.unit = NULL;
        delete_ok(&only);
    }
    delete_ok(&s.overhead);
    delete_ok(&s.sandbox);
}

static void check_busy_unit(struct cg_controller *c, const char *path)
{
    struct cg_unit unit = {.name = "osc-unit.scope"};
    struct err e = ERR_INIT;
    pid_t pid = start_child();
    unsigned long long start;
    int r;

    expect_ok(cg_add_process(c, pid, &e), &e, "add");
    c->unit = &unit;
    start = io_now_us();
    r = cg_delete(c, 50, &e);
    cr_expect(r == -EBUSY && strstr(e.text, "osc-unit.scope") && strstr(e.text, "processes"),
              "expected %d with the unit, got %d \"%s\"", -EBUSY, r, e.text);
    cr_expect_geq(io_now_us() - start, 50000ull, "it did not wait");
    cr_expect_str_eq(where(&c->host->hierarchies[0], pid), seen_as(&c->host->hierarchies[0], path),
                     "it lives where it was");
    cr_expect_eq(waitpid(pid, NULL, WNOHANG), 0, "it was killed");
    end_child(pid);
    c->unit = NULL;
    err_reset(&e);
    expect_ok(cg_load(c, &e), &e, "load");
    delete_ok(c);
}

/* Stopping a scope kills what is in it, so one that holds somebody is not stopped. */
Test(controller, busy_unit)
{
    need_v1();
    struct cg_controller c = create(&real, NULL, sub("a"), NULL, false, &none);

    check_busy_unit(&c, sub("a"));
}

Test(controller, v2_busy_unit)
{
    need_v2();
    struct cg_controller c = create(&v2host, NULL, "/d", "threads/sandbox", true, &none);

    check_busy_unit(&c, "/d/threads/sandbox");
}

/* --- v2: leftovers --- */

/* Leftovers go up to the nearest place that takes processes. */
Test(controller, v2_move_to_climbs)
{
    const struct cg_hierarchy *h = need_v2();
    struct split s = create_split(NULL, "/d");
    struct err e = ERR_INIT;
    pid_t tids[THREADS], pid = start_threads(tids), inside = start_child();
    static const struct {
        const char *target, *want;
    } cases[] = {
        {"/", "/"},
        {"/plain", "/plain"},
        {"/gone/deeper", "/"},
        {"/plain/gone", "/plain"},
        /* a threaded domain takes processes, a child of it that is not threaded does not */
        {"/mixed/invalid", "/mixed"},
        {"/mixed/invalid/below", "/mixed"},
    };

    make_cgroup(h, "/plain");
    make_cgroup(h, "/mixed");
    make_cgroup(h, "/mixed/threaded");
    cr_assert_eq(write_value(h, "/mixed/threaded", "cgroup.type", "threaded"), 0);
    make_cgroup(h, "/mixed/invalid");
    make_cgroup(h, "/mixed/invalid/below");
    cr_assert_str_eq(read_value(h, "/mixed/invalid", "cgroup.type"), "domain invalid");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *to = NULL;
        unsigned moved = 0;
        int r;

        expect_ok(cg_add_process(&s.overhead, pid, &e), &e, "add");
        expect_ok(cg_add_thread(&s.sandbox, tids[0], &e), &e, "add");
        /* a payload's own cgroup inside a leaf */
        make_cgroup(h, "/d/overhead/x");
        cr_assert_eq(write_value(h, "/d/overhead/x", "cgroup.type", "threaded"), 0);
        cr_assert_eq(write_pid(h, "/d/overhead/x", "cgroup.procs", inside), 0);
        r = cg_move_to(&s.sandbox, cases[i].target, &moved, &to, &arena, &e);
        cr_expect(r == 0 && moved == 2 && to && str_eq(to, cases[i].want),
                  "%s: expected 2 to %s; got %d, %u to %s, %s", cases[i].target, cases[i].want, r,
                  moved, to ? to : "nowhere", e.text);
        expect_where(&v2host, pid, cases[i].want, cases[i].target);
        expect_where(&v2host, tids[0], cases[i].want, cases[i].target);
        expect_where(&v2host, inside, cases[i].want, cases[i].target);
        cr_expect(cg_is_empty(&s.sandbox));
    }
    delete_ok(&s.overhead);
    delete_ok(&s.sandbox);
    end_child(pid);
    end_child(inside);
}

Test(controller, v2_origin)
{
    struct cg_origin origin;
    struct err e = ERR_INIT;
    pid_t pid;

    need_v2();
    struct cg_controller home = create(&v2host, NULL, "/home", NULL, false, &none);
    struct cg_controller c = create(&v2host, NULL, "/a", NULL, false, &none);

    pid = start_child();
    expect_ok(cg_origin_read(&v2host, pid, &arena, &origin, &e), &e, "outside");
    cr_expect_null(origin.paths[0], "outside of the mounted part");
    expect_ok(cg_add_process(&home, pid, &e), &e, "add");
    expect_ok(cg_origin_read(&v2host, pid, &arena, &origin, &e), &e, "origin");
    cr_expect_str_eq(origin.paths[0], "/home");
    expect_ok(cg_add_process(&c, pid, &e), &e, "add");
    cg_restore(&v2host, pid, &origin);
    expect_where(&v2host, pid, "/home", "restored");
    end_child(pid);
    delete_ok(&home);
    delete_ok(&c);
}
