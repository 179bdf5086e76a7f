/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a kernel does with the files of cgroups, as far as the product relies on it.
 * Kernel: admin-guide/cgroup-v1/, admin-guide/cgroup-v2.rst.
 */

#include "tests/unit/kit/tree_kernel.h"

#include "base/cleanup.h"
#include "base/proc.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree tree;

/* --- files --- */

bool tree_is_v2(size_t h)
{
    return str_eq(tree.names[h], "unified");
}

const char *tree_full(size_t h, const char *path, const char *file, char buf[static PATH_MAX])
{
    snprintf(buf, PATH_MAX, "%s/%s%s%s%s", tree.top, tree.names[h], str_eq(path, "/") ? "" : path,
             *file ? "/" : "", file);
    return buf;
}

const char *tree_proc(const char *what, pid_t id, char buf[static PATH_MAX])
{
    snprintf(buf, PATH_MAX, "%s/%s-%d", tree.top, what, (int)id);
    return buf;
}

bool tree_has(size_t h, const char *path)
{
    char name[PATH_MAX];

    return access(tree_full(h, path, "", name), F_OK) == 0;
}

int tree_lock(void)
{
    char name[PATH_MAX];
    int fd;

    snprintf(name, sizeof name, "%s/lock", tree.top);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    return fd;
}

void tree_unlock(int *fd)
{
    fd_close(fd);
}

char *tree_get(size_t h, const char *path, const char *file)
{
    char name[PATH_MAX], *text = NULL;
    size_t size = 0;
    ssize_t len;
    FILE *f = fopen(tree_full(h, path, file, name), "re");

    if (!f)
        return NULL;
    len = getdelim(&text, &size, '\0', f);
    fclose(f);
    if (len <= 0) {
        free(text);
        return strdup("");
    }
    if (text[len - 1] == '\n')
        text[len - 1] = '\0';
    return text;
}

/* The kernel ends what it has to say with a newline, and some of its lists have nothing to say. */
void tree_set(size_t h, const char *path, const char *file, const char *text)
{
    char name[PATH_MAX];
    autofd fd =
        open(tree_full(h, path, file, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t len = strlen(text);

    if (fd < 0 || __real_write(fd, text, len) != (ssize_t)len ||
        (len > 0 && __real_write(fd, "\n", 1) != 1))
        fprintf(stderr, "tree kit: %s: %s\n", name, strerror(errno));
}

static const char *in_list(const char *const *list, const char *file)
{
    size_t len = strlen(file);

    for (; list && *list; list++) {
        if (strncmp(*list, file, len) == 0 && (*list)[len] == '=')
            return *list + len + 1;
    }
    return NULL;
}

static const char *const v2_lists[] = {"core", "cpuset", "cpu", "io", "memory", "pids"};

const char *tree_initial(size_t h, const char *path, const char *file)
{
    const char *text = NULL;

    (void)path;
    if (!tree_is_v2(h))
        return in_list(tree_files(tree.names[h], false), file);
    for (size_t i = 0; !text && i < ARRAY_SIZE(v2_lists); i++)
        text = in_list(tree_files(v2_lists[i], true), file);
    return text;
}

static void add_files(size_t h, const char *path, const char *const *list)
{
    for (; list && *list; list++) {
        char file[NAME_MAX], text[512];

        snprintf(file, sizeof file, "%.*s", (int)strcspn(*list, "="), *list);
        snprintf(text, sizeof text, "%s", strchr(*list, '=') + 1);
        for (char *p = text; *p; p++)
            *p = *p == '|' ? '\n' : *p;
        tree_set(h, path, file, text);
    }
}

static void parent_of(const char *path, char ret[static TREE_PATH])
{
    char *slash;

    memmove(ret, path, strlen(path) + 1);
    slash = strrchr(ret, '/');
    slash[slash == ret] = '\0';
}

/* Whether a list of words has this one. */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *p = list; p && *p; p += strspn(p, " ")) {
        if (strncmp(p, word, len) == 0 && (p[len] == ' ' || p[len] == '\0'))
            return true;
        p += strcspn(p, " ");
    }
    return false;
}

static bool is_threaded_controller(const char *name)
{
    return has_word("cpu cpuset pids", name);
}

/* The root has no such file. */
static bool has_type(size_t h, const char *path, const char *type)
{
    autofree char *text = tree_get(h, path, "cgroup.type");

    return str_eq(text ? text : "domain", type);
}

/* Give a v2 directory the files of what its parent passes on. */
static void inherit(size_t h, const char *path)
{
    char parent[TREE_PATH];
    autofree char *passed = NULL, *had = NULL;

    parent_of(path, parent);
    passed = tree_get(h, parent, "cgroup.subtree_control");
    had = tree_get(h, path, "cgroup.controllers");
    for (size_t i = 1; i < ARRAY_SIZE(v2_lists); i++) {
        if (has_word(passed, v2_lists[i]) && !has_word(had, v2_lists[i]))
            add_files(h, path, tree_files(v2_lists[i], true));
    }
    tree_set(h, path, "cgroup.controllers", passed);
}

int tree_make(size_t h, const char *path)
{
    char name[PATH_MAX], parent[TREE_PATH];

    if (mkdir(tree_full(h, path, "", name), 0755) < 0)
        return -errno;
    if (!tree_is_v2(h)) {
        add_files(h, path, tree_files(tree.names[h], false));
        return 0;
    }
    add_files(h, path, tree_files("core", true));
    if (str_eq(path, "/")) {
        unlink(tree_full(h, path, "cgroup.type", name));
        return 0;
    }
    inherit(h, path);
    parent_of(path, parent);
    if (!has_type(h, parent, "domain"))
        tree_set(h, path, "cgroup.type", "domain invalid");
    return 0;
}

/* Call for each directory right below; true from it ends the walk. */
static bool any_child(size_t h, const char *path, bool (*fn)(size_t h, const char *child))
{
    char name[PATH_MAX], child[TREE_PATH + NAME_MAX + 2];
    DIR *dir = opendir(tree_full(h, path, "", name));
    struct dirent *entry;
    bool found = false;

    while (!found && dir && (entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        snprintf(child, sizeof child, "%s/%s", str_eq(path, "/") ? "" : path, entry->d_name);
        found = fn(h, child);
    }
    if (dir)
        closedir(dir);
    return found;
}

/* --- who is where --- */

bool tree_is_gone(pid_t tid)
{
    struct proc_stat st;

    int r = proc_stat_read(tid, &st);

    return r == -ESRCH || (r == 0 && (st.state == 'Z' || st.state == 'X'));
}

struct tree_task *tree_find(pid_t tid)
{
    for (size_t i = 0; i < tree.tasks->count; i++) {
        if (tree.tasks->items[i].tid == tid)
            return &tree.tasks->items[i];
    }
    return NULL;
}

pid_t tree_process_of(pid_t tid)
{
    char name[64], line[256];
    pid_t tgid = -1;
    FILE *f;

    snprintf(name, sizeof name, "/proc/%d/status", (int)tid);
    f = fopen(name, "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "Tgid: %d", &tgid) != 1)
        ;
    if (f)
        fclose(f);
    return tgid;
}

/* Threads that are new are where their process is. */
static void add_threads(pid_t tgid)
{
    char name[64];
    struct dirent *entry;
    DIR *dir;

    snprintf(name, sizeof name, "/proc/%d/task", (int)tgid);
    dir = opendir(name);
    while (dir && (entry = readdir(dir))) {
        pid_t tid = atoi(entry->d_name);
        const struct tree_task *leader = tree_find(tgid);
        struct tree_task *t;

        if (tid <= 0 || tree_find(tid) || tree.tasks->count == TREE_TASKS)
            continue;
        t = &tree.tasks->items[tree.tasks->count++];
        *t = leader ? *leader : (struct tree_task){.tgid = tgid};
        for (size_t h = 0; !leader && h < tree.count; h++)
            strcpy(t->path[h], "/");
        t->tid = tid;
    }
    if (dir)
        closedir(dir);
}

static int compare_tasks(const void *a, const void *b)
{
    const struct tree_task *x = a, *y = b;

    return (x->tid > y->tid) - (x->tid < y->tid);
}

void tree_reap(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < tree.tasks->count; i++) {
        if (!tree_is_gone(tree.tasks->items[i].tid))
            tree.tasks->items[kept++] = tree.tasks->items[i];
    }
    tree.tasks->count = kept;
    for (size_t i = 0; i < kept; i++) {
        if (tree.tasks->items[i].tid == tree.tasks->items[i].tgid)
            add_threads(tree.tasks->items[i].tid);
    }
    qsort(tree.tasks->items, tree.tasks->count, sizeof *tree.tasks->items, compare_tasks);
}

static bool is_busy(size_t h, const char *path)
{
    for (size_t i = 0; i < tree.tasks->count; i++) {
        if (str_eq(tree.tasks->items[i].path[h], path))
            return true;
    }
    return false;
}

/* Where the processes of a v2 cgroup are listed: the nearest above that is not threaded. */
static void domain_of(size_t h, const char *path, char ret[static TREE_PATH])
{
    snprintf(ret, TREE_PATH, "%s", path);
    while (tree_is_v2(h) && has_type(h, ret, "threaded"))
        parent_of(ret, ret);
}

static bool is_below(const char *path, const char *top)
{
    size_t len = strlen(top);

    return str_eq(top, "/") || (str_starts(path, top) && (path[len] == '\0' || path[len] == '/'));
}

/* Whether another thread of its process is in the same domain, before it. */
static bool is_listed(size_t index, size_t h, const char *domain)
{
    for (size_t i = 0; i < index; i++) {
        char other[TREE_PATH];

        domain_of(h, tree.tasks->items[i].path[h], other);
        if (tree.tasks->items[i].tgid == tree.tasks->items[index].tgid && str_eq(other, domain))
            return true;
    }
    return false;
}

void tree_list(size_t h, const char *path)
{
    autosbuf procs = SBUF_INIT, threads = SBUF_INIT;
    bool populated = false;

    tree_reap();
    for (size_t i = 0; i < tree.tasks->count; i++) {
        const struct tree_task *t = &tree.tasks->items[i];
        char domain[TREE_PATH];

        domain_of(h, t->path[h], domain);
        populated = populated || is_below(t->path[h], path);
        if (str_eq(domain, path) && !is_listed(i, h, domain)) {
            sbuf_addf(&procs, "%s%d", procs.len ? "\n" : "", (int)t->tgid);
        }
        if (str_eq(t->path[h], path))
            sbuf_addf(&threads, "%s%d", threads.len ? "\n" : "", (int)t->tid);
    }
    tree_set(h, path, "cgroup.procs", sbuf_text(&procs));
    tree_set(h, path, tree_is_v2(h) ? "cgroup.threads" : "tasks", sbuf_text(&threads));
    if (tree_is_v2(h) && !str_eq(path, "/"))
        tree_set(h, path, "cgroup.events",
                 populated ? "populated 1\nfrozen 0" : "populated 0\nfrozen 0");
}

static bool passes_domain_controllers(size_t h, const char *path)
{
    autofree char *passed = tree_get(h, path, "cgroup.subtree_control");

    return has_word(passed, "io") || has_word(passed, "memory");
}

/* Whether tasks can be in there. */
static int check_place(size_t h, const char *path)
{
    autofree char *cpus = NULL, *mems = NULL;

    if (tree_is_v2(h)) {
        if (has_type(h, path, "domain invalid"))
            return -EOPNOTSUPP;
        return !str_eq(path, "/") && passes_domain_controllers(h, path) ? -EBUSY : 0;
    }
    cpus = tree_get(h, path, "cpuset.cpus");
    mems = tree_get(h, path, "cpuset.mems");
    return (cpus && !*cpus) || (mems && !*mems) ? -ENOSPC : 0;
}

static int move(const struct tree_place *p, const char *text)
{
    bool whole = str_eq(p->file, "cgroup.procs");
    pid_t id = atoi(text), tgid;
    int r = check_place(p->h, p->path);

    tree_reap();
    tgid = tree_is_gone(id) ? -1 : tree_process_of(id);
    if (tgid < 0)
        return -ESRCH;
    if (r < 0)
        return r;
    if (!tree_find(tgid))
        add_threads(tgid);
    for (size_t i = 0; i < tree.tasks->count; i++) {
        struct tree_task *t = &tree.tasks->items[i];
        char from[TREE_PATH], to[TREE_PATH];

        if (whole ? t->tgid != tgid : t->tid != id)
            continue;
        domain_of(p->h, t->path[p->h], from);
        domain_of(p->h, p->path, to);
        if (!whole && tree_is_v2(p->h) && !str_eq(from, to))
            return -EOPNOTSUPP;
        snprintf(t->path[p->h], TREE_PATH, "%s", p->path);
    }
    return 0;
}

/* --- what is written --- */

static bool inherit_in(size_t h, const char *child)
{
    inherit(h, child);
    return false;
}

/* Whether a v2 cgroup passes on no more than can be shared out among threads, and something of it. */
static bool passes_threaded_only(size_t h, const char *path)
{
    autofree char *passed = tree_get(h, path, "cgroup.subtree_control");

    return passed && *passed && !passes_domain_controllers(h, path);
}

static bool is_threaded(size_t h, const char *child)
{
    return has_type(h, child, "threaded");
}

static bool make_invalid(size_t h, const char *child)
{
    if (!is_threaded(h, child))
        tree_set(h, child, "cgroup.type", "domain invalid");
    return false;
}

static bool make_valid(size_t h, const char *child)
{
    if (has_type(h, child, "domain invalid"))
        tree_set(h, child, "cgroup.type", "domain");
    return false;
}

/* A domain is the root of threads while it has a threaded child, or tasks beside what it shares out
 * among threads; another child cannot be a domain then. */
static void settle_type(size_t h, const char *path)
{
    bool is_root;

    if (!tree_is_v2(h) || str_eq(path, "/") ||
        !(has_type(h, path, "domain") || has_type(h, path, "domain threaded")))
        return;
    is_root =
        any_child(h, path, is_threaded) || (is_busy(h, path) && passes_threaded_only(h, path));
    tree_set(h, path, "cgroup.type", is_root ? "domain threaded" : "domain");
    any_child(h, path, is_root ? make_invalid : make_valid);
}

static bool is_populated_domain(size_t h, const char *child)
{
    for (size_t i = 0; !is_threaded(h, child) && i < tree.tasks->count; i++) {
        if (is_below(tree.tasks->items[i].path[h], child))
            return true;
    }
    return false;
}

/* Whether it can be the root of threads, with tasks or without. */
static bool can_be_thread_root(size_t h, const char *path)
{
    return !passes_domain_controllers(h, path) && !any_child(h, path, is_populated_domain);
}

static int enable(const struct tree_place *p, const char *name)
{
    autofree char *here = tree_get(p->h, p->path, "cgroup.controllers");
    autofree char *passed = tree_get(p->h, p->path, "cgroup.subtree_control");
    bool threads =
        has_type(p->h, p->path, "threaded") || has_type(p->h, p->path, "domain threaded");
    autosbuf now = SBUF_INIT;

    if (!has_word(here, name))
        return -ENOENT;
    if (has_word(passed, name))
        return 0;
    if (threads && !is_threaded_controller(name))
        return -EOPNOTSUPP;
    tree_reap();
    if (!threads && !str_eq(p->path, "/") && is_busy(p->h, p->path) &&
        !(is_threaded_controller(name) && can_be_thread_root(p->h, p->path)))
        return -EBUSY;
    sbuf_addf(&now, "%s%s%s", passed, *passed ? " " : "", name);
    tree_set(p->h, p->path, "cgroup.subtree_control", sbuf_text(&now));
    any_child(p->h, p->path, inherit_in);
    settle_type(p->h, p->path);
    return 0;
}

/* The controller that is being taken back; any_child() has no argument for it. */
static const char *taken;

static bool passes_taken(size_t h, const char *child)
{
    autofree char *passed = tree_get(h, child, "cgroup.subtree_control");

    return has_word(passed, taken);
}

static bool lose_taken(size_t h, const char *child)
{
    for (const char *const *list = tree_files(taken, true); list && *list; list++) {
        char name[PATH_MAX], file[NAME_MAX];

        snprintf(file, sizeof file, "%.*s", (int)strcspn(*list, "="), *list);
        unlink(tree_full(h, child, file, name));
    }
    return inherit_in(h, child);
}

static int disable(const struct tree_place *p, const char *name)
{
    autofree char *passed = tree_get(p->h, p->path, "cgroup.subtree_control");
    char *cursor = passed, *word;
    autosbuf now = SBUF_INIT;

    taken = name;
    if (!has_word(passed, name))
        return 0;
    if (any_child(p->h, p->path, passes_taken))
        return -EBUSY;
    while ((word = str_next(&cursor, ' '))) {
        if (!str_eq(word, name))
            sbuf_addf(&now, "%s%s", now.len ? " " : "", word);
    }
    tree_set(p->h, p->path, "cgroup.subtree_control", sbuf_text(&now));
    any_child(p->h, p->path, lose_taken);
    tree_reap();
    settle_type(p->h, p->path);
    return 0;
}

static int set_subtree_control(const struct tree_place *p, const char *text)
{
    return *text == '+' ? enable(p, text + 1) : *text == '-' ? disable(p, text + 1) : -EINVAL;
}

static int make_threaded(const struct tree_place *p)
{
    char parent[TREE_PATH];

    parent_of(p->path, parent);
    tree_reap();
    if (has_type(p->h, p->path, "threaded"))
        return 0;
    if (passes_domain_controllers(p->h, parent) ||
        (!str_eq(parent, "/") && !is_threaded(p->h, parent) && !can_be_thread_root(p->h, parent)))
        return -EOPNOTSUPP;
    tree_set(p->h, p->path, "cgroup.type", "threaded");
    settle_type(p->h, parent);
    return 0;
}

static int kill_below(const struct tree_place *p)
{
    for (size_t i = 0; i < tree.tasks->count; i++) {
        const struct tree_task *t = &tree.tasks->items[i];

        if (is_below(t->path[p->h], p->path) && t->tid == t->tgid)
            kill(t->tid, SIGKILL);
    }
    return 0;
}

/* Replace, add or take away the line that begins with @key and a blank. */
static void set_line(const struct tree_place *p, const char *file, const char *key,
                     const char *rest)
{
    autofree char *old = tree_get(p->h, p->path, file);
    autosbuf now = SBUF_INIT;
    char *cursor = old, *line;
    size_t len = strlen(key);

    while ((line = str_next(&cursor, '\n'))) {
        if (*line && !(strncmp(line, key, len) == 0 && line[len] == ' '))
            sbuf_addf(&now, "%s%s", now.len ? "\n" : "", line);
    }
    if (*rest)
        sbuf_addf(&now, "%s%s %s", now.len ? "\n" : "", key, rest);
    tree_set(p->h, p->path, file, sbuf_text(&now));
}

static void find_line(const struct tree_place *p, const char *file, const char *key,
                      char ret[static 64])
{
    autofree char *text = tree_get(p->h, p->path, file);
    char *cursor = text, *line;
    size_t len = strlen(key);

    *ret = '\0';
    while ((line = str_next(&cursor, '\n'))) {
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            snprintf(ret, 64, "%s", line + len + 1);
    }
}

/* Exceptions of a list that allows everything are not shown, so they are not kept either. */
static int change_devices(const struct tree_place *p, const char *text, bool allow)
{
    autofree char *list = tree_get(p->h, p->path, "devices.list");
    char key[32], access[8] = "", had[64], now[4] = "", *end = now;

    if (*text == 'a')
        tree_set(p->h, p->path, "devices.list", allow ? "a *:* rwm" : "");
    if (*text == 'a' || *list == 'a')
        return 0;
    /* "c 1:3 rwm" */
    if (sscanf(text, "%31[bc0-9 :*] %7[rwm]", key, access) != 2)
        return -EINVAL;
    key[strlen(key) - (key[strlen(key) - 1] == ' ')] = '\0';
    find_line(p, "devices.list", key, had);
    for (const char *c = "rwm"; *c; c++) {
        if (strchr(access, *c) ? allow : strchr(had, *c) != NULL)
            *end++ = *c;
    }
    set_line(p, "devices.list", key, now);
    return 0;
}

/* "8:0 1048576", where 0 is none; "8:0 rbps=1048576" of v2, where "max" is. */
static int set_throttle(const struct tree_place *p, const char *text)
{
    char key[32], rate[64];

    if (sscanf(text, "%31s %63s", key, rate) != 2)
        return -EINVAL;
    set_line(p, p->file, key, strpbrk(rate, "123456789") ? rate : "");
    return 0;
}

#define NO_LIMIT "9223372036854771712"

static unsigned long long number_in(const struct tree_place *p, const char *file)
{
    autofree char *text = tree_get(p->h, p->path, file);

    return text ? strtoull(text, NULL, 10) : 0;
}

/* Memory can have no more than memory and swap together. */
static int set_v1_memory(const struct tree_place *p, const char *text)
{
    unsigned long long value = strtoull(str_eq(text, "-1") ? NO_LIMIT : text, NULL, 10);

    if (str_eq(p->file, "memory.limit_in_bytes") &&
        value > number_in(p, "memory.memsw.limit_in_bytes"))
        return -EINVAL;
    if (str_eq(p->file, "memory.memsw.limit_in_bytes") &&
        value < number_in(p, "memory.limit_in_bytes"))
        return -EINVAL;
    tree_set(p->h, p->path, p->file, str_eq(text, "-1") ? NO_LIMIT : text);
    return 0;
}

/* Without a period it stays as it is. No burst is larger than a quota. */
static int set_cpu_max(const struct tree_place *p, const char *text)
{
    autofree char *now = tree_get(p->h, p->path, p->file);
    unsigned long long period = 0, quota;
    char word[24], line[64];

    if (!now || sscanf(now, "%*s %llu", &period) != 1 ||
        sscanf(text, "%23s %llu", word, &period) < 1)
        return -EINVAL;
    quota = strtoull(word, NULL, 10);
    if (period < 1000 || period > 1000000)
        return -EINVAL;
    if (!str_eq(word, "max") &&
        (quota < 1000 || quota >= 1ULL << 44 || quota < number_in(p, "cpu.max.burst")))
        return -EINVAL;
    snprintf(line, sizeof line, "%s %llu", word, period);
    tree_set(p->h, p->path, p->file, line);
    return 0;
}

static int set_burst(const struct tree_place *p, const char *text)
{
    autofree char *quota = tree_get(p->h, p->path, "cpu.max");

    if (!str_starts(quota, "max") && strtoull(text, NULL, 10) > strtoull(quota, NULL, 10))
        return -EINVAL;
    tree_set(p->h, p->path, p->file, text);
    return 0;
}

/* A v1 cpuset has nothing that its parent has not; whether it has anything is enough here. */
static int set_cpuset(const struct tree_place *p, const char *text)
{
    autofree char *above = NULL;
    char parent[TREE_PATH];

    parent_of(p->path, parent);
    above = tree_get(p->h, parent, p->file);
    if (!tree_is_v2(p->h) && (!above || !*above || !*text))
        return -EACCES;
    tree_set(p->h, p->path, p->file, text);
    return 0;
}

static bool is_v1_list(const char *file)
{
    return str_eq(file, "cpuset.cpus") || str_eq(file, "cpuset.mems");
}

static int apply(const struct tree_place *p, const char *text)
{
    const char *file = p->file;
    char line[4096 + 16];

    if (str_eq(file, "cgroup.procs") || str_eq(file, "cgroup.threads") || str_eq(file, "tasks"))
        return move(p, text);
    if (str_eq(file, "cgroup.subtree_control"))
        return set_subtree_control(p, text);
    if (str_eq(file, "cgroup.type"))
        return str_eq(text, "threaded") ? make_threaded(p) : -EINVAL;
    if (str_eq(file, "cgroup.kill"))
        return kill_below(p);
    if (str_eq(file, "devices.allow") || str_eq(file, "devices.deny"))
        return change_devices(p, text, str_eq(file, "devices.allow"));
    if (str_starts(file, "blkio.throttle.") || str_eq(file, "io.max"))
        return set_throttle(p, text);
    if (str_starts(file, "memory.") && str_ends(file, "limit_in_bytes"))
        return set_v1_memory(p, text);
    if (is_v1_list(file))
        return set_cpuset(p, text);
    if (str_eq(file, "cpu.max"))
        return set_cpu_max(p, text);
    if (str_eq(file, "cpu.max.burst"))
        return set_burst(p, text);
    if (str_eq(file, "io.weight") && !str_starts(text, "default")) {
        snprintf(line, sizeof line, "default %s", text);
        text = line;
    }
    tree_set(p->h, p->path, file, text);
    return 0;
}

int tree_write(const struct tree_place *p, const char *text)
{
    char line[4096];

    snprintf(line, sizeof line, "%s", text);
    line[strcspn(line, "\n")] = '\0';
    return apply(p, line);
}

static bool is_child(size_t h, const char *child)
{
    (void)h;
    (void)child;
    return true;
}

int tree_remove(const struct tree_place *p)
{
    char name[PATH_MAX], parent[TREE_PATH];
    struct dirent *entry;
    DIR *dir = opendir(tree_full(p->h, p->path, "", name));

    if (!dir)
        return -errno;
    tree_reap();
    if (is_busy(p->h, p->path) || any_child(p->h, p->path, is_child)) {
        closedir(dir);
        return -EBUSY;
    }
    while ((entry = readdir(dir)))
        __real_unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    if (rmdir(name) < 0)
        return -errno;
    parent_of(p->path, parent);
    settle_type(p->h, parent);
    return 0;
}

int tree_open(const struct tree_place *p, int flags)
{
    static const char lists[] = "cgroup.procs cgroup.threads tasks cgroup.events";

    if (!has_word(lists, p->file) || (flags & O_ACCMODE) == O_WRONLY)
        return 0;

    LOCKED;

    if (!tree_has(p->h, p->path))
        return 0;
    if (tree_is_v2(p->h) && str_eq(p->file, "cgroup.procs") && has_type(p->h, p->path, "threaded"))
        return -EOPNOTSUPP;
    tree_list(p->h, p->path);
    return 0;
}
