/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/world.h"

#include "tests/fault/kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct world world;

/* The containers that there are, so that what is theirs can be told from what is left. */
enum { CONTAINERS_MAX = 8 };
static struct container *containers[CONTAINERS_MAX];
static size_t container_count;
static char parents[4][64]; /* cgroups of pods, which are the runtime's, too */
static size_t parent_count;
static char v2_controllers[512];

const char *layout_word(enum layout layout)
{
    static const char *const words[LAYOUTS] = {"nested", "sibling", "sibling-only"};

    return words[layout];
}

/* --- hierarchies -------------------------------------------------------------- */

/* "rw,cpu,cpuacct" ends with the names that /proc/PID/cgroup has. */
static void add_hierarchy(const char *dir, const char *type, const char *options)
{
    struct hierarchy *h = &world.hierarchies[world.count];
    char lines[WHERE_SIZE];

    snprintf(h->dir, sizeof h->dir, "%s", dir);
    where_is(getpid(), lines);
    for (char *save, *line = strtok_r(lines, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *names = strchr(line, ':') + 1, tail[160];

        *strchr(names, ':') = '\0';
        snprintf(tail, sizeof tail, ",%s", names);
        if (strcmp(type, "cgroup2") == 0 ? !*names : *names && ends_with(options, tail)) {
            for (size_t i = 0; i < world.count; i++) {
                if (strcmp(world.hierarchies[i].names, names) == 0)
                    return;
            }
            snprintf(h->names, sizeof h->names, "%s", names);
            world.count++;
            return;
        }
    }
}

static void find_hierarchies(void)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096];

    while (f && fgets(line, sizeof line, f) && world.count < HIERARCHIES_MAX) {
        char root[256], dir[256], type[32], options[512];
        const char *rest = strstr(line, " - ");

        if (rest && sscanf(line, "%*d %*d %*s %255s %255s", root, dir) == 2 &&
            sscanf(rest, " - %31s %*s %511s", type, options) == 2 && strcmp(root, "/") == 0 &&
            (strcmp(type, "cgroup") == 0 || strcmp(type, "cgroup2") == 0))
            add_hierarchy(dir, type, options);
    }
    if (f)
        fclose(f);
    for (size_t i = 0; i < world.count; i++) {
        char path[512];

        snprintf(path, sizeof path, "%s/cgroup.controllers", world.hierarchies[i].dir);
        if (!world.hierarchies[i].names[0])
            read_text(path, v2_controllers, sizeof v2_controllers);
    }
}

bool has_controller(const char *name)
{
    char padded[sizeof world.hierarchies->names + 2], word[32];

    snprintf(word, sizeof word, ",%s,", name);
    for (size_t i = 0; i < world.count; i++) {
        snprintf(padded, sizeof padded, ",%s,", world.hierarchies[i].names);
        if (strstr(padded, word))
            return true;
    }
    return has_word(v2_controllers, name);
}

/* --- cgroups ------------------------------------------------------------------ */

/* cpuset's of v1 take nobody as long as these are empty. */
static void copy_cpuset(const char *dir, const char *parent)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};

    for (size_t i = 0; i < 2; i++) {
        char from[600], to[600], text[256];

        snprintf(from, sizeof from, "%s/%s", parent, files[i]);
        snprintf(to, sizeof to, "%s/%s", dir, files[i]);
        if (read_text(from, text, sizeof text))
            write_text(to, text);
    }
}

void make_cgroup(const char *path)
{
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];
        char dir[512], *slash;

        snprintf(dir, sizeof dir, "%s%s", h->dir, path);
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            die(dir);
        if (errno != EEXIST || access(dir, F_OK) == 0) {
            char parent[512];

            snprintf(parent, sizeof parent, "%s", dir);
            slash = strrchr(parent, '/');
            *slash = '\0';
            if (strstr(h->names, "cpuset"))
                copy_cpuset(dir, parent);
        }
    }
}

void remove_cgroup(const char *path)
{
    for (size_t i = 0; i < world.count; i++) {
        char dir[512];

        snprintf(dir, sizeof dir, "%s%s", world.hierarchies[i].dir, path);
        for (int tries = 0; rmdir(dir) < 0 && errno == EBUSY && tries < 1000; tries++)
            usleep(1000);
    }
}

void enter(pid_t pid, const char *path)
{
    char file[512], text[16];

    snprintf(text, sizeof text, "%d", (int)pid);
    for (size_t i = 0; i < world.count; i++) {
        snprintf(file, sizeof file, "%s%s/cgroup.procs", world.hierarchies[i].dir, path);
        if (!write_text(file, text))
            die(file);
    }
}

/* On v2 a cgroup has the files of what its parent passes on. */
static void pass_on(const char *path)
{
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];
        char file[600], text[512], word[64];

        snprintf(file, sizeof file, "%s%s/cgroup.controllers", h->dir, path);
        if (h->names[0] || !read_text(file, text, sizeof text))
            continue;
        snprintf(file, sizeof file, "%s%s/cgroup.subtree_control", h->dir, path);
        for (char *save, *name = strtok_r(text, " \n", &save); name;
             name = strtok_r(NULL, " \n", &save)) {
            snprintf(word, sizeof word, "+%s", name);
            write_text(file, word);
        }
    }
}

/* What a runtime writes to its own cgroup, and layout nested leaves there. */
void set_own_quota(const char *path)
{
    for (size_t i = 0; i < world.count; i++) {
        char file[512];

        snprintf(file, sizeof file, "%s%s/cpu.cfs_quota_us", world.hierarchies[i].dir, path);
        if (access(file, F_OK) == 0)
            write_text(file, "50000");
        snprintf(file, sizeof file, "%s%s/cpu.max", world.hierarchies[i].dir, path);
        if (access(file, F_OK) == 0)
            write_text(file, "50000 100000");
    }
}

/* --- systemd ------------------------------------------------------------------ */

static bool run_program(const char *const argv[])
{
    pid_t pid = fork();
    int status = 1;

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv); /* it changes none of them */
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0;
}

static bool is_in(pid_t pid, const char *path)
{
    char where[WHERE_SIZE];

    where_is(pid, where);
    return strstr(where, path) != NULL;
}

/* The unit of its name is loaded until the last process of the container before has gone. */
static void start_scope(const char *path, pid_t pid)
{
    const char *name = strrchr(path, '/') + 1;
    char number[16];
    const char *const argv[] = {
        "busctl",
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        name,
        "fail",
        "5",
        "PIDs",
        "au",
        "1",
        number,
        "Slice",
        "s",
        world.base + 1,
        "Delegate",
        "b",
        "true",
        "CollectMode",
        "s",
        "inactive-or-failed",
        "CPUQuotaPerSecUSec",
        "t",
        "500000",
        "0",
        NULL,
    };

    snprintf(number, sizeof number, "%d", (int)pid);
    for (int tries = 0; !run_program(argv); tries++) {
        if (tries == 500)
            die(name);
        usleep(20000);
    }
    for (int tries = 0; !is_in(pid, path); tries++) {
        if (tries == 20000)
            die(path);
        usleep(1000);
    }
}

static void call_slice(const char *word)
{
    const char *const argv[] = {"systemctl", word, world.base + 1, NULL};

    if (world.systemd && !run_program(argv))
        fprintf(stderr, "systemctl %s %s fails\n", word, world.base + 1);
}

/* --- containers --------------------------------------------------------------- */

static void bundle_of(const struct container *c, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/bundle-%s", world.work, c->id);
}

/* Limits whose controllers there are, and none that init could notice. */
static void default_resources(char *ret, size_t size)
{
    snprintf(ret, size, "{%s%s%s\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]}",
             has_controller("cpu") ? "\"cpu\":{\"quota\":50000,\"period\":100000,\"shares\":512},"
                                   : "",
             has_controller("memory") ? "\"memory\":{\"limit\":536870912}," : "",
             has_controller("pids") ? "\"pids\":{\"limit\":64}," : "");
}

static void write_bundle(const struct container *c)
{
    char dir[PATH_MAX], file[PATH_MAX + 16], path[128], resources[512], text[2048];

    bundle_of(c, dir);
    mkdir(dir, 0700);
    if (world.systemd)
        snprintf(path, sizeof path, "%.40s:%.20s:%.30s", world.base + 1, world.prefix, c->id);
    else
        snprintf(path, sizeof path, "%.96s", c->own);
    default_resources(resources, sizeof resources);
    snprintf(text, sizeof text,
             "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"sleep\"],\"cwd\":\"/\"},"
             "\"root\":{\"path\":\"rootfs\"},\"annotations\":{%s},"
             "\"linux\":{\"namespaces\":[{\"type\":\"pid\"}],\"cgroupsPath\":\"%s\","
             "\"resources\":%s}}\n",
             c->annotations, path, c->resources ? c->resources : resources);
    snprintf(file, sizeof file, "%s/config.json", dir);
    make_file(file, text);
}

static void add_parent(const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%.10s", world.base, name);
    for (size_t i = 0; i < parent_count; i++) {
        if (strcmp(parents[i], path) == 0)
            return;
    }
    memcpy(parents[parent_count++], path, sizeof path);
}

void container_init(struct container *c, const char *parent, const char *id,
                    const char *annotations, const char *resources)
{
    *c = (struct container){.annotations = annotations, .resources = resources};
    snprintf(c->id, sizeof c->id, "%s", id);
    if (world.systemd) {
        snprintf(c->own, sizeof c->own, "%.40s/%.20s-%.10s.scope", world.base, world.prefix, id);
    } else {
        if (parent)
            add_parent(parent);
        snprintf(c->own, sizeof c->own, "%.40s%s%.10s/%.10s", world.base, parent ? "/" : "",
                 parent ? parent : "", id);
    }
    write_bundle(c);
    containers[container_count++] = c;
}

static char vcpu_name[] = "CPU 0/KVM", worker_name[] = "worker";

static void *be_thread(void *name)
{
    prctl(PR_SET_NAME, name);
    for (;;)
        pause();
    return NULL;
}

/* A process that sleeps. It keeps nothing of ours open, and ends with us. */
static pid_t start_sleeper(bool vmm)
{
    pid_t pid = fork();
    pthread_t thread;

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    prctl(PR_SET_NAME, "sleeper");
    if (vmm && (pthread_create(&thread, NULL, be_thread, vcpu_name) != 0 ||
                pthread_create(&thread, NULL, be_thread, worker_name) != 0))
        _exit(1);
    for (;;)
        pause();
}

void container_start(struct container *c)
{
    for (size_t i = 0; i < parent_count; i++) {
        make_cgroup(parents[i]);
        pass_on(parents[i]);
    }
    c->pid = start_sleeper(false);
    if (world.systemd)
        start_scope(c->own, c->pid);
    make_cgroup(c->own);
    set_own_quota(c->own);
    enter(c->pid, c->own);
    where_is(c->pid, c->was);
}

/* And all have their names. */
static bool has_threads(pid_t pid, unsigned wanted)
{
    char path[sizeof "/proc//task//comm" + 32 + NAME_MAX], name[32];
    struct dirent *entry;
    unsigned found = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, entry->d_name);
        if (entry->d_name[0] != '.' && read_text(path, name, sizeof name))
            found += (strcmp(name, "sleeper\n") == 0) == (atoi(entry->d_name) == pid);
    }
    if (dir)
        closedir(dir);
    return found == wanted;
}

void container_add(struct container *c, bool vmm)
{
    char where[WHERE_SIZE], path[PATH_MAX], file[PATH_MAX + 512], text[16];

    where_is(c->pid, where);
    c->more = start_sleeper(vmm);
    while (vmm && !has_threads(c->more, 3))
        usleep(500);
    snprintf(text, sizeof text, "%d", (int)c->more);
    for (size_t i = 0; i < world.count; i++) {
        if (!where_in(where, world.hierarchies[i].names, path))
            continue;
        snprintf(file, sizeof file, "%s%s/cgroup.procs", world.hierarchies[i].dir, path);
        if (!write_text(file, text))
            die(file);
    }
}

void end_process(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void container_end_init(struct container *c)
{
    end_process(c->pid);
    c->pid = 0;
}

void container_end(struct container *c)
{
    container_end_init(c);
    end_process(c->more);
    c->more = 0;
}

/* --- the world ---------------------------------------------------------------- */

void copy_program(const char *from, const char *to)
{
    char buf[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC),
        out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    ssize_t n = in < 0 || out < 0 ? -1 : 1;

    while (n > 0) {
        n = read(in, buf, sizeof buf);
        if (n > 0 && write(out, buf, (size_t)n) != n)
            n = -1;
    }
    if (n < 0)
        die(from);
    close(in);
    close(out);
}

void world_open(const char *program)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];

    find_hierarchies();
    if (world.count == 0) {
        fprintf(stderr, "no cgroup file system is mounted\n");
        exit(1);
    }
    /* A dash in the name of a slice would make it another one's. */
    world.systemd = getenv("OSC_MANAGER") && strcmp(getenv("OSC_MANAGER"), "systemd") == 0;
    snprintf(world.prefix, sizeof world.prefix, "oscfault%d", (int)getpid());
    if (world.systemd)
        snprintf(world.base, sizeof world.base, "/%s.slice", world.prefix);
    else
        snprintf(world.base, sizeof world.base, "/osc-%.16s-%d", program_invocation_short_name,
                 (int)getpid());
    /* Where guests have /run no program can be started from there, and they say what they have instead. */
    snprintf(world.work, sizeof world.work, "%.36s/osc-%.10s-XXXXXX",
             getenv("TMPDIR")            ? getenv("TMPDIR")
             : access("/run", W_OK) == 0 ? "/run"
                                         : "/tmp",
             program_invocation_short_name);
    if (!mkdtemp(world.work))
        die(world.work);
    snprintf(world.state, sizeof world.state, "%s/state", world.work);
    snprintf(world.conf, sizeof world.conf, "%s/config.json", world.work);
    snprintf(world.program, sizeof world.program, "%s/oci-sandbox-cgroup", world.work);
    copy_program(program, world.program);
    /* Which verbs become, and with systemd stages. */
    snprintf(from, sizeof from, "%s-systemd", program);
    snprintf(to, sizeof to, "%s-systemd", world.program);
    copy_program(from, to);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    call_slice("start");
    /* As a runtime does, which leaves it so. With systemd it is systemd's business. */
    if (!world.systemd)
        pass_on("");
    make_cgroup(world.base);
    if (!world.systemd)
        pass_on(world.base);
}

static void remove_own(void)
{
    for (size_t i = 0; i < container_count; i++) {
        container_end(containers[i]);
        remove_cgroup(containers[i]->own);
    }
    for (size_t i = 0; i < parent_count; i++)
        remove_cgroup(parents[i]);
}

void world_configure(enum layout layout)
{
    char text[512];

    remove_own();
    world.layout = layout;
    snprintf(text, sizeof text,
             "{\"overhead_parent\":\"%s/overhead\",\"layout\":\"%s\",\"vcpu_evidence\":\"name\","
             "\"sandbox_cgroup_only\":%s,\"vcpu_timeout_ms\":3600000%s%s}\n",
             world.base, layout == NESTED ? "nested" : "sibling",
             layout == SIBLING_ONLY ? "true" : "false", world.settings ? "," : "",
             world.settings ? world.settings : "");
    make_file(world.conf, text);
    container_count = parent_count = 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void world_close(void)
{
    world_clear();
    remove_own();
    call_slice("stop");
    remove_cgroup(world.base);
    nftw(world.work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void world_run(const char *const *words, const struct container *c, const char *status,
               const struct call *at, int what, struct calls *seen, struct outcome *ret)
{
    const char *argv[12] = {world.program, "--state-dir", world.state, "--config", world.conf};
    char bundle[PATH_MAX], input[PATH_MAX + 256] = "";
    size_t n = 5;

    while (*words)
        argv[n++] = *words++;
    if (c && status) {
        bundle_of(c, bundle);
        snprintf(input, sizeof input,
                 "{\"ociVersion\":\"1.0.2\",\"id\":\"%s\",\"status\":\"%s\",\"pid\":%d,"
                 "\"bundle\":\"%s\"}\n",
                 c->id, status, (int)c->pid, bundle);
    }
    trace_run(argv, input, at, what, seen, ret);
}

/* --- looking ------------------------------------------------------------------ */

void where_is(pid_t pid, char ret[WHERE_SIZE])
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    if (pid <= 0 || !read_text(path, ret, WHERE_SIZE))
        ret[0] = '\0';
}

bool where_in(const char *where, const char *names, char ret[PATH_MAX])
{
    char key[160];
    const char *found;

    snprintf(key, sizeof key, ":%s:", names);
    found = strstr(where, key);
    if (!found)
        return false;
    found += strlen(key);
    snprintf(ret, PATH_MAX, "%.*s", (int)strcspn(found, "\n"), found);
    return true;
}

/* Who says which devices are allowed there, on v2. */
static unsigned device_programs(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    union bpf_attr attr;
    unsigned count = 0;

    memset(&attr, 0, sizeof attr);
    attr.query.target_fd = (unsigned)fd;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    if (fd >= 0 && syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof attr) == 0)
        count = attr.query.prog_cnt;
    if (fd >= 0)
        close(fd);
    return count;
}

void limits_of(const char *where, const struct hierarchy *only, char ret[TEXT_SIZE])
{
    static const char *const files[] = {
        "cpu.cfs_quota_us",
        "cpu.shares",
        "cpu.max",
        "cpu.weight",
        "cpuset.cpus",
        "cpuset.mems",
        "memory.limit_in_bytes",
        "memory.max",
        "pids.max",
        "devices.list",
    };

    ret[0] = '\0';
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];
        char path[PATH_MAX], file[PATH_MAX + 512], text[2048];

        if ((only && h != only) || !where_in(where, h->names, path))
            continue;
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            snprintf(file, sizeof file, "%s%s/%s", h->dir, path, files[k]);
            if (read_text(file, text, sizeof text))
                append(ret, TEXT_SIZE, "%s: %s", files[k], text);
        }
        snprintf(file, sizeof file, "%s%s", h->dir, path);
        if (!h->names[0])
            append(ret, TEXT_SIZE, "device programs: %u\n", device_programs(file));
    }
}

bool is_alive(pid_t pid)
{
    char path[64], text[512], *state;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (pid <= 0 || !read_text(path, text, sizeof text))
        return false;
    state = strrchr(text, ')');
    return state && state[1] && state[2] != 'Z' && state[2] != 'X';
}

pid_t watcher_of(const char *sandbox_id)
{
    char path[PATH_MAX], text[65536];
    const char *p;
    int pid = 0;

    snprintf(path, sizeof path, "%s/sandboxes/%s/record.json", world.state, sandbox_id);
    if (!read_text(path, text, sizeof text))
        return 0;
    p = strstr(text, "\"watcher\"");
    p = p ? strstr(p, "\"pid\"") : NULL;
    if (p)
        sscanf(p, "\"pid\" : %d", &pid);
    return is_alive(pid) ? pid : 0;
}

static bool is_own_cgroup(const char *path)
{
    for (size_t i = 0; i < container_count; i++) {
        if (strcmp(containers[i]->own, path) == 0)
            return true;
    }
    for (size_t i = 0; i < parent_count; i++) {
        if (strcmp(parents[i], path) == 0)
            return true;
    }
    return false;
}

/* The last that is_left() was shown below. */
static char *left;
static size_t left_root;

static int note_cgroup(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    if (flag == FTW_D && ftw->level > 0 && !is_own_cgroup(path + left_root))
        append(left, TEXT_SIZE, " %s", path);
    return 0;
}

static int note_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    if (ftw->level > 0)
        append(left, TEXT_SIZE, " %s", path);
    return 0;
}

static bool is_known(pid_t pid)
{
    for (size_t i = 0; i < container_count; i++) {
        if (containers[i]->pid == pid || containers[i]->more == pid)
            return true;
    }
    return false;
}

/* What runs is ours if its parent is this program; without /proc/PID/task/TID/children all would have to
 * be looked at. Calls @found for each. */
static void each_stranger(void (*found)(pid_t pid))
{
    char path[64], text[4096];

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)gettid());
    if (!read_text(path, text, sizeof text))
        text[0] = '\0';
    for (char *save, *word = strtok_r(text, " \n", &save); word;
         word = strtok_r(NULL, " \n", &save)) {
        pid_t pid = atoi(word);

        if (!is_known(pid) && waitpid(pid, NULL, WNOHANG) == 0)
            found(pid);
    }
}

static void note_process(pid_t pid)
{
    char path[64], text[64];

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    if (read_text(path, text, sizeof text))
        append(left, TEXT_SIZE, " process %d %.*s", (int)pid, (int)strcspn(text, "\n"), text);
}

void what_is_left(char ret[TEXT_SIZE])
{
    static const char *const dirs[] = {"sandboxes", "containers", "paths", "parents"};
    char path[512];

    left = ret;
    ret[0] = '\0';
    for (size_t i = 0; i < world.count; i++) {
        left_root = strlen(world.hierarchies[i].dir);
        snprintf(path, sizeof path, "%s%s", world.hierarchies[i].dir, world.base);
        nftw(path, note_cgroup, 8, FTW_PHYS);
    }
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s/%s", world.state, dirs[i]);
        nftw(path, note_file, 8, FTW_PHYS);
    }
    each_stranger(note_process);
}

bool nothing_left(unsigned ms, char ret[TEXT_SIZE])
{
    for (unsigned waited = 0;; waited += 5) {
        what_is_left(ret);
        if (!ret[0] || waited >= ms)
            return !ret[0];
        usleep(5000);
    }
}

void held_locks(char ret[TEXT_SIZE])
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *dir;

    ret[0] = '\0';
    snprintf(path, sizeof path, "%s/sandboxes", world.state);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        int fd, r, tries = 0;

        snprintf(path, sizeof path, "%s/sandboxes/%s/lock", world.state, entry->d_name);
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        while ((r = flock(fd, LOCK_EX | LOCK_NB)) < 0 && tries++ < 2000)
            usleep(1000);
        if (r < 0)
            append(ret, TEXT_SIZE, " %s", path);
        close(fd);
    }
    if (dir)
        closedir(dir);
}

/* --- clearing ----------------------------------------------------------------- */

static void move_out(const char *dir)
{
    char file[PATH_MAX + 16], text[4096], base[512];
    size_t root = left_root;

    snprintf(file, sizeof file, "%s/cgroup.procs", dir);
    snprintf(base, sizeof base, "%.*s%s/cgroup.procs", (int)root, dir, world.base);
    if (!read_text(file, text, sizeof text))
        return;
    for (char *save, *word = strtok_r(text, "\n", &save); word; word = strtok_r(NULL, "\n", &save))
        write_text(base, word);
}

static int clear_cgroup(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    if (flag != FTW_DP || ftw->level == 0 || is_own_cgroup(path + left_root))
        return 0;
    move_out(path);
    for (int tries = 0; rmdir(path) < 0 && errno == EBUSY && tries < 200; tries++)
        usleep(1000);
    return 0;
}

void world_end(void)
{
    for (size_t i = 0; i < container_count; i++)
        container_end(containers[i]);
}

void world_clear(void)
{
    char path[512];

    each_stranger(end_process);
    world_end();
    for (size_t i = 0; i < world.count; i++) {
        left_root = strlen(world.hierarchies[i].dir);
        snprintf(path, sizeof path, "%s%s", world.hierarchies[i].dir, world.base);
        nftw(path, clear_cgroup, 8, FTW_DEPTH | FTW_PHYS);
    }
    nftw(world.state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
