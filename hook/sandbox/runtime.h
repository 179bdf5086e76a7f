/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_RUNTIME_H
#define HOOK_SANDBOX_RUNTIME_H

/*
 * Looking for who runs a container: the runtime is the process that has started the hook, and the
 * engine is told by its ancestors.
 *
 * A program called runc is asked for its version, once: the answer is remembered in
 * STATE_DIR/runtimes/DEVICE-INODE, for as long as that is the same file with the same mtime. No
 * other program is ever run.
 */

#include "hook/plan/runtime.h"

#include <sys/types.h>

/* As many answers as a host ever needs; with more of them `prune` forgets all. */
#define RUNTIME_ANSWERS_MAX 16

/*
 * Who is @pid, a runtime, or whoever else has started us? 0 or less: not in our pid namespace.
 * Never fails: what cannot be looked at is not known.
 * @state_dir  where answers are remembered; made if @remember.
 */
void runtime_look(pid_t pid, const char *state_dir, bool remember, struct arena *a,
                  struct runtime *ret);

/* The same of a program, by the path that /proc would say, and without an engine. */
void runtime_look_at(const char *path, const char *state_dir, struct arena *a, struct runtime *ret);

/* Which engine is above @pid, or is it. */
enum runtime_engine runtime_engine(pid_t pid);

/* Forget all answers if they are more than RUNTIME_ANSWERS_MAX. */
void runtime_forget(const char *state_dir);

#endif
