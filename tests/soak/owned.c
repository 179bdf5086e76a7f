/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/kit.h"
#include "tests/soak/names.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIRS_MAX = 4096, TASKS_MAX = 64 };

/* One cgroup in one hierarchy. */
struct dir {
    const struct hierarchy *h;
    char path[OWN_SIZE + 64]; /* from the root of the hierarchy */
    ino_t inode;
    char *limits;
    pid_t tasks[TASKS_MAX];
    size_t task_count;
};

static struct dir *dirs;
static size_t dir_count;
static const struct hierarchy *walked;

/* --- how it is ------------------------------------------------------------------------ */

static int compare_tasks(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

    return (x > y) - (x < y);
}

static void read_tasks(struct dir *d)
{
    char file[PATH_MAX], text[8192];

    snprintf(file, sizeof file, "%s%s/%s", d->h->dir, d->path,
             d->h->names[0] ? "tasks" : "cgroup.threads");
    d->task_count = 0;
    if (!read_text(file, text, sizeof text))
        return;
    for (char *save, *word = strtok_r(text, "\n", &save); word && d->task_count < TASKS_MAX;
         word = strtok_r(NULL, "\n", &save))
        d->tasks[d->task_count++] = atoi(word);
    qsort(d->tasks, d->task_count, sizeof *d->tasks, compare_tasks);
}

/* As it is now; false when there is none. */
static bool look(const struct hierarchy *h, const char *path, struct dir *ret)
{
    static char limits[TEXT_SIZE];
    char full[PATH_MAX], where[WHERE_SIZE];
    struct stat st;

    *ret = (struct dir){.h = h};
    snprintf(ret->path, sizeof ret->path, "%s", path);
    snprintf(full, sizeof full, "%s%s", h->dir, path);
    if (stat(full, &st) < 0)
        return false;
    ret->inode = st.st_ino;
    snprintf(where, sizeof where, ":%s:%s\n", h->names, path);
    limits_of(where, h, limits);
    ret->limits = strdup(limits);
    read_tasks(ret);
    return true;
}

static int note(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (flag == FTW_D && dir_count < DIRS_MAX &&
        look(walked, path + strlen(walked->dir), &dirs[dir_count]))
        dir_count++;
    return 0;
}

void owned_note(void)
{
    char path[512];

    if (!dirs)
        dirs = calloc(DIRS_MAX, sizeof *dirs);
    if (!dirs)
        die("calloc");
    while (dir_count > 0)
        free(dirs[--dir_count].limits);
    for (size_t i = 0; i < world.count; i++) {
        walked = &world.hierarchies[i];
        snprintf(path, sizeof path, "%s%s", walked->dir, world.base);
        nftw(path, note, 8, FTW_PHYS);
    }
}

/* --- whose it is ---------------------------------------------------------------------- */

static bool is_nested(const struct owner *o)
{
    return o->conf < 2;
}

/* Containers of one pod share its sandbox. Two of the same id are of two runtimes. */
static bool is_with(const struct owner *o, const struct owner *other)
{
    return o->kind == CONTAINER && other->kind == CONTAINER && !is_nested(o) && !is_nested(other) &&
           strcmp(o->sandbox, other->sandbox) == 0 && strcmp(o->parent, other->parent) == 0 &&
           strcmp(o->id, other->id) != 0;
}

static bool has_task(const struct owner *o, pid_t tid)
{
    char path[64];

    for (int i = 0; i < 2; i++) {
        pid_t pid = i ? o->vmm : o->pid;

        snprintf(path, sizeof path, "/proc/%d/task/%d", (int)pid, (int)tid);
        if (pid > 0 && (tid == pid || access(path, F_OK) == 0))
            return true;
    }
    return false;
}

static bool has_tasks_in(const struct owner *o, const struct dir *d)
{
    for (size_t i = 0; i < d->task_count; i++) {
        if (has_task(o, d->tasks[i]))
            return true;
    }
    return false;
}

/* Its threads may go to and fro, as its own watcher puts them. */
static bool is_unchanged(const struct owner *o, const struct dir *before, const struct dir *now)
{
    if (before->inode != now->inode)
        return false;
    if (o->vmm)
        return true;
    return strcmp(before->limits, now->limits) == 0 && before->task_count == now->task_count &&
           memcmp(before->tasks, now->tasks, now->task_count * sizeof *now->tasks) == 0;
}

static void check_dir(const struct dir *d, const struct owner *o, char *ret)
{
    struct dir now;
    bool is_there = look(d->h, d->path, &now);

    if (is_there ? !is_unchanged(o, d, &now) : !o->vmm || strcmp(d->path, o->own) == 0) {
        append(ret, TEXT_SIZE, "      %s%s of %s as %s: %s\n", d->h->dir, d->path,
               o->kind == STRANGER ? "a stranger" : o->id, o->own,
               !is_there                            ? "removed"
               : now.inode != d->inode              ? "another one"
               : strcmp(d->limits, now.limits) != 0 ? "other limits"
                                                    : "other tasks");
        if (is_there && strcmp(d->limits, now.limits) != 0)
            append(ret, TEXT_SIZE, "before:\n%snow:\n%s", d->limits, now.limits);
    }
    free(now.limits);
}

/* --- where processes are --------------------------------------------------------------- */

static bool is_child_or_same(const char *path, const char *of)
{
    size_t n = strlen(of);

    return strncmp(path, of, n) == 0 && (path[n] == '\0' || strcmp(path + n, "/kata_vcpu") == 0);
}

/* Where a stage or a watcher of it may put a thread. */
static bool may_be_in(const struct owner *o, const char *path)
{
    const char *const names[] = {o->id, o->sandbox, strrchr(o->own, '/') + 1};
    char ours[OWN_SIZE * 2];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(ours, sizeof ours, "%s/kata_%s", o->parent, names[i]);
        if (is_child_or_same(path, ours))
            return true;
        snprintf(ours, sizeof ours, "%s/overhead/%s", world.base, names[i]);
        if (strcmp(path, ours) == 0)
            return true;
    }
    return is_child_or_same(path, o->own);
}

static bool may_any_be_in(const struct owner *owners, const struct owner *o, const char *path)
{
    for (size_t i = 0; i < OWNERS_MAX; i++) {
        if ((&owners[i] == o || is_with(o, &owners[i])) && may_be_in(&owners[i], path))
            return true;
    }
    return false;
}

static void check_thread(const struct owner *owners, const struct owner *o, pid_t tid, char *ret)
{
    char file[64], where[WHERE_SIZE], path[PATH_MAX], home[PATH_MAX];

    snprintf(file, sizeof file, "/proc/%d/cgroup", (int)tid);
    if (!read_text(file, where, sizeof where))
        return;
    for (size_t i = 0; i < world.count; i++) {
        const char *names = world.hierarchies[i].names;

        if (!where_in(where, names, path) || !where_in(o->home, names, home) ||
            strcmp(path, home) == 0 || (o->kind == CONTAINER && may_any_be_in(owners, o, path)))
            continue;
        append(ret, TEXT_SIZE, "      a thread of %s as %s is in %s%s\n", o->id, o->own,
               world.hierarchies[i].dir, path);
    }
}

static void check_process(const struct owner *owners, const struct owner *o, pid_t pid, char *ret)
{
    char path[64];
    struct dirent *entry;
    DIR *dir;

    if (pid == 0)
        return;
    if (!is_alive(pid))
        append(ret, TEXT_SIZE, "      process %d of %s as %s is dead\n", (int)pid, o->id, o->own);
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            check_thread(owners, o, atoi(entry->d_name), ret);
    }
    if (dir)
        closedir(dir);
}

/* Nobody else is in a cgroup where one of them is. */
static void check_apart(const struct owner *owners, const struct dir *d, char *ret)
{
    const struct owner *first = NULL;

    for (size_t i = 0; i < OWNERS_MAX; i++) {
        const struct owner *o = &owners[i];

        if (o->is_inside || !has_tasks_in(o, d))
            continue;
        if (first && !is_with(first, o))
            append(ret, TEXT_SIZE, "      %s%s has tasks of %s as %s and of %s as %s\n", d->h->dir,
                   d->path, first->id, first->own, o->id, o->own);
        first = o;
    }
}

/* Children of stages that were killed become ours. Payloads stay, that their pids are not anybody else's. */
static void reap_others(const struct owner *owners)
{
    siginfo_t info = {0};

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
        for (size_t i = 0; i < OWNERS_MAX; i++) {
            if (owners[i].pid == info.si_pid || owners[i].vmm == info.si_pid)
                return;
        }
        waitpid(info.si_pid, NULL, 0);
        info = (siginfo_t){0};
    }
}

void owned_check(const struct owner *owners, const struct owner *actor, const struct owner *was,
                 char ret[TEXT_SIZE])
{
    ret[0] = '\0';
    reap_others(owners);
    for (size_t i = 0; i < OWNERS_MAX; i++) {
        const struct owner *o = &owners[i];

        if (o->is_inside)
            continue;
        check_process(owners, o, o->pid, ret);
        check_process(owners, o, o->vmm, ret);
        if (o == actor || o->pid == 0 || (actor && is_with(o, was)))
            continue;
        for (size_t k = 0; k < dir_count; k++) {
            if (strcmp(dirs[k].path, o->own) == 0 || has_tasks_in(o, &dirs[k]))
                check_dir(&dirs[k], o, ret);
        }
    }
    owned_note();
    for (size_t k = 0; k < dir_count; k++)
        check_apart(owners, &dirs[k], ret);
}
