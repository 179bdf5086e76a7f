/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_TREE_KERNEL_H
#define TESTS_UNIT_KIT_TREE_KERNEL_H

/* The parts of tree_kit.h, for each other: the tree, its files, and the kernel that it plays. */

#include "cgroup/host.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define TREE_HIERARCHIES 10
#define TREE_PATH        160
#define TREE_TASKS       256

/* Where a thread is. All that is in no list is in the root. */
struct tree_task {
    pid_t tid, tgid;
    char path[TREE_HIERARCHIES][TREE_PATH];
};

/* In memory that the test shares with what it forks. */
struct tree_tasks {
    size_t count;
    struct tree_task items[TREE_TASKS];
};

struct tree {
    enum cg_mode mode;
    char top[64];
    size_t count;
    const char *names[TREE_HIERARCHIES]; /* as /proc/PID/cgroup has them, "unified" for v2 */
    struct tree_tasks *tasks;            /* NULL: there is no tree */
    pid_t owner;
    unsigned steps, fail_at, looks;
    int error;
    const char *hidden;
    int hidden_error;
    void (*watch)(const char *path, const char *file, const char *text, void *arg);
    void *watch_arg;
};

extern struct tree tree;

/* --- tree_files.c --- */

/*
 * The files of a new cgroup, "name=text" with '|' for a newline in the text, one after the other;
 * NULL behind the last. For v1 those of a hierarchy's name, for v2 those of "core" and of each
 * controller.
 */
const char *const *tree_files(const char *hierarchy, bool v2);

/* --- tree_kernel.c --- */

/* A file or directory of the tree. */
struct tree_place {
    size_t h;
    char path[TREE_PATH]; /* of the cgroup, "/" */
    char file[NAME_MAX + 1];
};

bool tree_is_v2(size_t h);
/* A file of ours beside the hierarchies, about one process or thread. */
const char *tree_proc(const char *what, pid_t id, char buf[static PATH_MAX]);

const char *tree_full(size_t h, const char *path, const char *file, char buf[static PATH_MAX]);
bool tree_has(size_t h, const char *path);

/* One at a time, of all processes, to the end of the block. */
int tree_lock(void);
void tree_unlock(int *fd);
#define LOCKED __attribute__((cleanup(tree_unlock), unused)) int locked = tree_lock()

/* The content without the last newline; NULL: no such file. The caller's to free. */
char *tree_get(size_t h, const char *path, const char *file);
void tree_set(size_t h, const char *path, const char *file, const char *text);

/* What a new cgroup there would have; NULL: no such file. */
const char *tree_initial(size_t h, const char *path, const char *file);

/* Make the directory with its files. 0 or -errno. */
int tree_make(size_t h, const char *path);

/* Remove it if nothing is in there. 0 or -errno. */
int tree_remove(const struct tree_place *p);

/* Before a file is opened: the lists of tasks are made then. 0 or -errno. */
int tree_open(const struct tree_place *p, int flags);

/* What the kernel makes of a write. 0 or -errno. */
int tree_write(const struct tree_place *p, const char *text);

/* NULL: it is where nobody has put it. */
struct tree_task *tree_find(pid_t tid);
pid_t tree_process_of(pid_t tid);
bool tree_is_gone(pid_t tid);

/* Forget who has ended, and learn of new threads. */
void tree_reap(void);

/* Write the lists of tasks of a directory anew, for somebody who is going to read them. */
void tree_list(size_t h, const char *path);

/* --- tree_calls.c: what the product calls gets to the functions above --- */

int __real_unlinkat(int dirfd, const char *name, int flags);
ssize_t __real_write(int fd, const void *data, size_t len);

#endif
