/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/count.h"

#include "tests/fault/kit.h"
#include "tests/fault/world.h"
#include "tests/soak/stage.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCKS_MAX = 4096 };

const char *counted_name(enum counted what)
{
    static const char *const names[COUNTED] = {
        "cgroups, in all hierarchies",
        "watchers",
        "placeholders",
        "stages, and children of theirs",
        "payloads",
        "descriptors of others on our files",
        "descriptors of this program",
        "locks on state files",
        "state files",
    };

    return names[what];
}

/* --- cgroups and files ------------------------------------------------------------ */

static unsigned long seen;
static ino_t lock_files[LOCKS_MAX];
static size_t lock_count;

static int see_directory(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    seen += flag == FTW_D;
    return 0;
}

/* The directories of the tables stay. */
static int see_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    seen += ftw->level > 1;
    if (flag == FTW_F && strcmp(path + ftw->base, "lock") == 0 && lock_count < LOCKS_MAX)
        lock_files[lock_count++] = st->st_ino;
    return 0;
}

static unsigned long count_cgroups(void)
{
    char path[512];

    seen = 0;
    for (size_t i = 0; i < world.count; i++) {
        snprintf(path, sizeof path, "%s%s", world.hierarchies[i].dir, world.base);
        nftw(path, see_directory, 8, FTW_PHYS);
    }
    return seen;
}

static unsigned long count_state_files(void)
{
    seen = 0;
    lock_count = 0;
    nftw(world.state, see_file, 8, FTW_PHYS);
    return seen;
}

/* Of the files that count_state_files() has seen. */
static unsigned long count_locks(void)
{
    FILE *f = fopen("/proc/locks", "re");
    unsigned long count = 0, inode;
    char line[256];

    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*d: %*s %*s %*s %*d %*x:%*x:%lu", &inode) != 1)
            continue;
        for (size_t i = 0; i < lock_count; i++)
            count += lock_files[i] == inode;
    }
    if (f)
        fclose(f);
    return count;
}

/* --- processes -------------------------------------------------------------------- */

static bool read_link(const char *path, char ret[PATH_MAX])
{
    ssize_t n = readlink(path, ret, PATH_MAX - 1);

    ret[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Calls @each for each number that is a name in a directory. */
static void each_number(const char *path, void (*each)(long number, void *data), void *data)
{
    struct dirent *entry;
    DIR *dir = opendir(path);

    while (dir && (entry = readdir(dir))) {
        char *end;
        long number = strtol(entry->d_name, &end, 10);

        if (end > entry->d_name && *end == '\0')
            each(number, data);
    }
    if (dir)
        closedir(dir);
}

struct of_process {
    pid_t pid;
    unsigned long *count;
};

static void see_descriptor(long number, void *data)
{
    const struct of_process *p = data;
    char path[64], target[PATH_MAX];

    snprintf(path, sizeof path, "/proc/%d/fd/%ld", (int)p->pid, number);
    *p->count += read_link(path, target) && (strncmp(target, world.work, strlen(world.work)) == 0 ||
                                             strstr(target, world.base));
}

static void see_own_descriptor(long number, void *data)
{
    unsigned long *count = data;

    (void)number;
    *count += 1;
}

static bool has_name(pid_t pid, const char *name)
{
    char path[64], text[64];

    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    return read_text(path, text, sizeof text) && strncmp(text, name, strlen(name)) == 0;
}

/* One of the two programs. */
static bool is_ours(const char *exe)
{
    size_t len = strlen(world.program);

    return strncmp(exe, world.program, len) == 0 &&
           (exe[len] == '\0' || strcmp(exe + len, "-systemd") == 0);
}

static void see_process(long number, void *data)
{
    struct counts *counts = data;
    pid_t pid = (pid_t)number;
    char path[64], exe[PATH_MAX];

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    if (pid != getpid()) {
        snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
        each_number(path, see_descriptor,
                    &(struct of_process){.pid = pid, .count = &counts->of[OPEN_FILES]});
        snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    }
    if (!read_link(path, exe))
        return;
    if (strcmp(exe, payload_program()) == 0)
        counts->of[PAYLOADS]++;
    else if (is_ours(exe))
        counts->of[has_name(pid, "osc-watch")  ? WATCHERS
                   : has_name(pid, "osc-hold") ? PLACEHOLDERS
                                               : STAGES]++;
}

void count_all(struct counts *ret)
{
    *ret = (struct counts){0};
    reap();
    ret->of[CGROUPS] = count_cgroups();
    ret->of[STATE_FILES] = count_state_files();
    ret->of[LOCKS] = count_locks();
    each_number("/proc", see_process, ret);
    each_number("/proc/self/fd", see_own_descriptor, &ret->of[OWN_FILES]);
}

bool count_until_equal(const struct counts *before, unsigned seconds, struct counts *ret)
{
    for (unsigned tries = 0;; tries++) {
        count_all(ret);
        if (memcmp(before, ret, sizeof *ret) == 0)
            return true;
        if (tries >= seconds * 10)
            return false;
        usleep(100000);
    }
}

unsigned counts_print(const struct counts *before, const struct counts *after)
{
    unsigned equal = 0;

    printf("\n%-36s %8s %8s\n", "what there is", "before", "after");
    for (enum counted i = 0; i < COUNTED; i++) {
        bool same = before->of[i] == after->of[i];

        printf("%-36s %8lu %8lu%s\n", counted_name(i), before->of[i], after->of[i],
               same ? "" : "  FAIL");
        equal += same;
    }
    return equal;
}

/* --- watchers --------------------------------------------------------------------- */

struct list {
    pid_t *items;
    size_t count, max;
};

static void see_watcher(long number, void *data)
{
    struct list *list = data;
    char path[64], exe[PATH_MAX];

    snprintf(path, sizeof path, "/proc/%ld/exe", number);
    if (list->count < list->max && read_link(path, exe) && is_ours(exe) &&
        has_name((pid_t)number, "osc-watch"))
        list->items[list->count++] = (pid_t)number;
}

size_t watchers_list(pid_t *ret, size_t max)
{
    struct list list = {.items = ret, .max = max};

    each_number("/proc", see_watcher, &list);
    return list.count;
}
