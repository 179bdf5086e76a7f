/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/tree_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/tree_kernel.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const v1_names[] = {
    "cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "name=systemd",
};

const char *kit_tree_dir;

#define V2_CONTROLLERS "cpuset cpu io memory pids"

static struct {
    pid_t pid;
    const char *name;
} named[16];
static size_t named_count;

/* A v1 cpuset in which processes can be; and what passes v2's controllers on can have none. */
static void fill(size_t h, const char *path, bool pass_on)
{
    if (str_eq(tree.names[h], "cpuset")) {
        tree_set(h, path, "cpuset.cpus", "0-3");
        tree_set(h, path, "cpuset.mems", "0");
    }
    if (tree_is_v2(h) && tree.mode == CG_MODE_V2 && pass_on)
        tree_set(h, path, "cgroup.subtree_control", V2_CONTROLLERS);
}

void kit_tree_begin(enum cg_mode mode)
{
    tree = (struct tree){.mode = mode, .owner = getpid()};
    named_count = 0;
    /* In memory, if it can be: a tree has a thousand files. */
    snprintf(tree.top, sizeof tree.top, "%s/osc-unit-tree-XXXXXX",
             access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    kit_make_dir(tree.top);
    kit_tree_dir = tree.top;
    if (mode != CG_MODE_V1)
        tree.names[tree.count++] = "unified";
    for (size_t i = 0; mode != CG_MODE_V2 && i < ARRAY_SIZE(v1_names); i++)
        tree.names[tree.count++] = v1_names[i];
    tree.tasks =
        mmap(NULL, sizeof *tree.tasks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(tree.tasks, MAP_FAILED);
    for (size_t h = 0; h < tree.count; h++) {
        cr_assert_eq(tree_make(h, "/"), 0);
        if (mode == CG_MODE_V2)
            tree_set(h, "/", "cgroup.controllers", V2_CONTROLLERS);
        fill(h, "/", true);
    }
}

/* Only what we have forked ourselves is waited for, or killed. A watcher that still looks may bring the list up to
 * date meanwhile. */
static void end_tasks(void)
{
    LOCKED;

    for (size_t i = 0; i < tree.tasks->count; i++) {
        const struct tree_task *t = &tree.tasks->items[i];

        if (t->tid == t->tgid && waitpid(t->tid, NULL, WNOHANG) == 0) {
            kill(t->tid, SIGKILL);
            waitpid(t->tid, NULL, 0);
        }
    }
}

void kit_tree_end(void)
{
    if (tree.tasks) {
        end_tasks();
        munmap(tree.tasks, sizeof *tree.tasks);
    }
    tree.tasks = NULL;
    /* A watcher that nobody waits for may make the file of the lock once more. */
    for (int i = 0; i == 0 || (i < 100 && access(tree.top, F_OK) == 0); i++)
        kit_remove_tree(tree.top);
}

void kit_tree_make(const char *path)
{
    LOCKED;

    for (size_t h = 0; h < tree.count; h++) {
        char part[TREE_PATH];

        for (size_t len = 0; path[len];) {
            len += 1 + strcspn(path + len + 1, "/");
            snprintf(part, sizeof part, "%.*s", (int)len, path);
            if (tree_make(h, part) == 0)
                fill(h, part, path[len] != '\0');
        }
    }
}

void kit_tree_enter(pid_t pid, const char *path, const char *name)
{
    char text[16];

    kit_tree_make(path);
    cr_assert_lt(named_count, ARRAY_SIZE(named));
    named[named_count].pid = pid;
    named[named_count++].name = name;
    snprintf(text, sizeof text, "%d", (int)pid);

    LOCKED;

    for (size_t h = 0; h < tree.count; h++) {
        struct tree_place p = {.h = h, .file = "cgroup.procs"};

        snprintf(p.path, sizeof p.path, "%s", path);
        cr_assert_eq(tree_write(&p, text), 0, "%s in %s", name, path);
    }
}

void kit_tree_ran_guest(pid_t tid)
{
    char name[PATH_MAX];
    autofd fd = open(tree_proc("guest", tid, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    cr_assert_geq(fd, 0);
}

void kit_tree_unmount(bool hide)
{
    char name[PATH_MAX];
    autofd fd = FD_NONE;

    tree_proc("hidden", 0, name);
    if (hide)
        fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(hide ? fd >= 0 : unlink(name) == 0);
}

void kit_tree_hold(pid_t tid)
{
    char name[PATH_MAX];
    autofd fd = open(tree_proc("held", tid, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    cr_assert_geq(fd, 0);
}

static bool is_stopped(pid_t pid)
{
    char path[48], text[512], *state;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    cr_assert_geq(io_read_at(AT_FDCWD, path, text, sizeof text), 0);
    state = strrchr(text, ')');
    return state && str_starts(state, ") T");
}

void kit_tree_pause(pid_t pid)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    LOCKED;
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    while (!is_stopped(pid)) {
        cr_assert_lt(io_now_us(), deadline, "%d does not stop", (int)pid);
        io_sleep_ms(1);
    }
}

void kit_tree_stick(pid_t pid)
{
    char name[PATH_MAX];
    autofd fd = open(tree_proc("stuck", pid, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    cr_assert_geq(fd, 0);
}

void kit_tree_has_vcpus(pid_t pid, size_t count)
{
    char name[PATH_MAX], link[PATH_MAX + 16], text[64];

    cr_assert_eq(mkdir(tree_proc("fd", pid, name), 0700), 0);
    for (size_t i = 0; i < count; i++) {
        snprintf(link, sizeof link, "%s/%zu", name, i + 10);
        snprintf(text, sizeof text, "anon_inode:kvm-vcpu:%zu", i);
        cr_assert_eq(symlink(text, link), 0);
    }
}

static size_t index_of(const char *hierarchy)
{
    for (size_t h = 0; h < tree.count; h++) {
        if (str_eq(tree.names[h], hierarchy))
            return h;
    }
    cr_assert_fail("no hierarchy %s", hierarchy);
    return 0;
}

const char *kit_tree_read(const char *hierarchy, const char *path, const char *file)
{
    static char text[4096];
    autofree char *now = NULL;

    size_t h = index_of(hierarchy);

    LOCKED;

    if (tree_has(h, path))
        tree_list(h, path);
    now = tree_get(h, path, file);
    snprintf(text, sizeof text, "%s", now ? now : "(none)");
    return text;
}

void kit_tree_put(const char *hierarchy, const char *path, const char *file, const char *text)
{
    LOCKED;

    tree_set(index_of(hierarchy), path, file, text);
}

void kit_tree_watch(kit_tree_watch_fn fn, void *arg)
{
    tree.watch = fn;
    tree.watch_arg = arg;
}

void kit_tree_fail(unsigned n, int error)
{
    tree.steps = tree.looks = 0;
    tree.fail_at = n;
    tree.error = error;
}

void kit_tree_hide(const char *end, int error)
{
    tree.hidden = end;
    tree.hidden_error = error;
}

unsigned kit_tree_steps(void)
{
    return tree.steps;
}

unsigned kit_tree_looks(void)
{
    return tree.looks;
}

/* --- the tree as text --- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct texts {
    char **items;
    size_t count;
};

static void sort_texts(struct texts *t)
{
    size_t kept = 0;

    if (t->count > 0)
        qsort(t->items, t->count, sizeof *t->items, compare_texts);
    for (size_t i = 0; i < t->count; i++) {
        if (i == 0 || !str_eq(t->items[i], t->items[kept - 1]))
            t->items[kept++] = t->items[i];
    }
    t->count = kept;
}

static void add_text(struct arena *a, struct texts *t, const char *text)
{
    *(char **)arena_push(a, &t->items, &t->count, sizeof(char *)) = arena_strdup(a, text);
}

/* The names in a directory: of files, or of what is below it. */
static void add_names(struct arena *a, size_t h, const char *path, unsigned char type,
                      struct texts *ret)
{
    char name[PATH_MAX];
    DIR *dir = opendir(tree_full(h, path, "", name));
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        if (entry->d_type == type && entry->d_name[0] != '.')
            add_text(a, ret, entry->d_name);
    }
    if (dir)
        closedir(dir);
    sort_texts(ret);
}

/* What follows from where processes are, or from what the parent passes on. */
static bool is_derived(const char *file)
{
    return str_eq(file, "cgroup.procs") || str_eq(file, "cgroup.threads") ||
           str_eq(file, "tasks") || str_eq(file, "cgroup.events") ||
           str_eq(file, "cgroup.controllers");
}

static void add_changed_files(struct arena *a, size_t h, const char *path, struct sbuf *out)
{
    struct texts files = {0};
    size_t begin = out->len;

    add_names(a, h, path, DT_REG, &files);
    for (size_t i = 0; i < files.count; i++) {
        const char *initial = tree_initial(h, path, files.items[i]);
        autofree char *now = tree_get(h, path, files.items[i]);

        for (char *p = now; *p; p++)
            *p = *p == '\n' ? '|' : *p;
        if (!is_derived(files.items[i]) && !(initial && str_eq(now, initial)))
            sbuf_addf(out, "%s%s=%s", out->len > begin || begin > 0 ? "; " : "", files.items[i],
                      now);
    }
}

static void add_cgroups(struct arena *a, const char *path, struct texts *ret)
{
    autosbuf files = SBUF_INIT, where = SBUF_INIT;
    struct texts children = {0};
    size_t found = 0;

    for (size_t h = 0; h < tree.count; h++) {
        if (!tree_has(h, path))
            continue;
        found++;
        sbuf_addf(&where, " %s", tree.names[h]);
        add_changed_files(a, h, path, &files);
        add_names(a, h, path, DT_DIR, &children);
    }
    add_text(a, ret,
             arena_printf(a, "%s%s%s:%s%s", path, found < tree.count ? " in" : "",
                          found < tree.count ? sbuf_text(&where) : "", files.len ? " " : "",
                          sbuf_text(&files)));
    sort_texts(&children);
    for (size_t i = 0; i < children.count; i++)
        add_cgroups(a, arena_printf(a, "%s/%s", str_eq(path, "/") ? "" : path, children.items[i]),
                    ret);
}

static const char *name_of(pid_t pid)
{
    for (size_t i = 0; i < named_count; i++) {
        if (named[i].pid == pid)
            return named[i].name;
    }
    return "ours";
}

static void add_processes(struct arena *a, struct texts *ret)
{
    tree_reap();
    for (size_t i = 0; i < tree.tasks->count; i++) {
        const struct tree_task *t = &tree.tasks->items[i];
        bool same = true;
        autosbuf where = SBUF_INIT;

        if (t->tid != t->tgid)
            continue;
        for (size_t h = 0; h < tree.count; h++) {
            same = same && str_eq(t->path[h], t->path[0]);
            sbuf_addf(&where, " %s=%s", tree.names[h], t->path[h]);
        }
        add_text(a, ret,
                 same ? arena_printf(a, "%s in %s", name_of(t->tid), t->path[0])
                      : arena_printf(a, "%s in%s", name_of(t->tid), sbuf_text(&where)));
    }
}

static const char *join(struct arena *a, const struct texts *t)
{
    autosbuf all = SBUF_INIT;

    for (size_t i = 0; i < t->count; i++)
        sbuf_addf(&all, "%s\n", t->items[i]);
    return arena_strdup(a, sbuf_text(&all));
}

const char *kit_tree_text(struct arena *a)
{
    struct texts cgroups = {0}, processes = {0};

    LOCKED;

    add_cgroups(a, "/", &cgroups);
    add_processes(a, &processes);
    if (processes.count > 0)
        qsort(processes.items, processes.count, sizeof *processes.items, compare_texts);
    return arena_printf(a, "%s%s", join(a, &cgroups), join(a, &processes));
}

static struct texts split(struct arena *a, const char *text)
{
    char *cursor = arena_strdup(a, text), *line;
    struct texts lines = {0};

    while ((line = str_next(&cursor, '\n'))) {
        if (*line)
            add_text(a, &lines, line);
    }
    return lines;
}

static bool has_line(const struct texts *t, const char *line)
{
    for (size_t i = 0; i < t->count; i++) {
        if (str_eq(t->items[i], line))
            return true;
    }
    return false;
}

const char *kit_tree_changes(struct arena *a, const char *before)
{
    struct texts old = split(a, before), now = split(a, kit_tree_text(a)), changes = {0};

    for (size_t i = 0; i < old.count; i++) {
        if (!has_line(&now, old.items[i]))
            add_text(a, &changes, arena_printf(a, "-%s", old.items[i]));
    }
    for (size_t i = 0; i < now.count; i++) {
        if (!has_line(&old, now.items[i]))
            add_text(a, &changes, now.items[i]);
    }
    return join(a, &changes);
}
