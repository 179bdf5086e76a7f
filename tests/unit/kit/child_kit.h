/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_CHILD_KIT_H
#define TESTS_UNIT_KIT_CHILD_KIT_H

/* What the tests of processes that outlive a stage share. */

#include "base/proc.h"
#include "tests/unit/kit/process_kit.h"

/* Time for what must not happen. */
#define KIT_MOMENT_MS 50

/* To be ended by kit_end_forked(), a suite's .fini, whatever happens. */
void kit_track(const struct proc_id *id);
void kit_end_forked(void);

const char *kit_name_of(pid_t pid);

/* A child's name is the last thing that it gets before it waits. */
void kit_wait_for_name(pid_t pid, const char *name);

/* The status that waitpid() gives, when it has ended by itself or been told to; what it says. */
int kit_wait_status(pid_t pid);
bool kit_has_exited(int status);
bool kit_was_killed(int status, int signo);

bool kit_is_running(pid_t pid);

/* The open descriptors, lowest first, as "0 1 2". */
const char *kit_list_fds(pid_t pid, char *buf, size_t size);

#endif
