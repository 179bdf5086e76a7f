/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_TREE_KIT_H
#define TESTS_UNIT_KIT_TREE_KIT_H

/*
 * A cgroup tree in a directory of the test's own, for any user. It begins with the files that real
 * kernels have, and behaves as cgroupfs does where the product relies on it: a new directory has
 * its files, one with processes or children cannot be removed, a value is replaced by a write, and a
 * process is in one cgroup of each hierarchy.
 *
 * The program is linked with wrappers for the few calls by which the product gets to know cgroups
 * (tree_calls.c). Between kit_tree_begin() and kit_tree_end() the product finds this tree in place
 * of the host's, in the test and in every process that it forks; what is not below the tree goes to
 * the kernel as it is.
 */

#include "base/arena.h"
#include "cgroup/ctl.h"

#include <stdbool.h>
#include <sys/types.h>

/* The directory that the hierarchies are in; other names than theirs are the test's to use. */
extern const char *kit_tree_dir;

/* The hierarchies of a v1, hybrid or v2 host. All controllers of v2 are enabled in the root. */
void kit_tree_begin(enum cg_mode mode);

/* Processes that the product has forked and that are still in the tree are killed. */
void kit_tree_end(void);

/* A runtime's cgroup, in every hierarchy, with all CPUs and controllers. */
void kit_tree_make(const char *path);

/* Put a process there, made if it is missing, and call it so from now on. */
void kit_tree_enter(pid_t pid, const char *path, const char *name);

/* What /proc is to tell of a thread from now on, that it has run a guest; and of a process, the
 * descriptors of so many vCPUs and no others. */
void kit_tree_ran_guest(pid_t tid);
void kit_tree_has_vcpus(pid_t pid, size_t count);

/* Nobody can move this thread alone any more, EINVAL: as one of real time. */
void kit_tree_hold(pid_t tid);

/* SIGSTOP, and wait until it has stopped: in between two of its looks at the tree, so that others can. */
void kit_tree_pause(pid_t pid);

/* The same of a whole process. */
void kit_tree_stick(pid_t pid);

/* Processes of the product's own do not see the first hierarchy, that with the cpu controller. */
void kit_tree_unmount(bool hide);

/* A file as it is; "cpu,cpuacct", "memory", ... name the hierarchy, "unified" that of v2. */
const char *kit_tree_read(const char *hierarchy, const char *path, const char *file);
void kit_tree_put(const char *hierarchy, const char *path, const char *file, const char *text);

/*
 * All of the tree, a line for each cgroup with the files that are not as in a new one, then a line
 * for each process that was moved. A cgroup that is missing in some hierarchies says in which it is.
 * Processes without a name are "ours".
 *
 *   /p/kata_c1: cpu.shares=512; memory.limit_in_bytes=4096
 *   c1 in /p/kata_c1
 */
const char *kit_tree_text(struct arena *a);

/* Only the lines that @before does not have. And those that it had, with "-" in front. */
const char *kit_tree_changes(struct arena *a, const char *before);

/* --- what the product does, step by step: directories made, texts written, programs attached --- */

/* Called by the test's own process before each of its steps. @file "" for a directory. */
typedef void (*kit_tree_watch_fn)(const char *path, const char *file, const char *text, void *arg);
void kit_tree_watch(kit_tree_watch_fn fn, void *arg);

/* Start to count again; the @n-th step from now fails so, 0: none. */
void kit_tree_fail(unsigned n, int error);

/* From now on nothing can be opened, by the test's own process, whose name ends so; NULL: all can be again. */
void kit_tree_hide(const char *end, int error);

/* How many there were since, of this process. */
unsigned kit_tree_steps(void);

/* How often this process has asked for the hierarchies of the host since. */
unsigned kit_tree_looks(void);

#endif
