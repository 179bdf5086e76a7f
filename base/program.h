/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

/*
 * The two programs that we are. What runtimes start is small, and linked so that it starts fast. For scopes of
 * systemd's, and for what operators ask, it becomes the other one, which lies beside it and is called as it is with
 * "-systemd" behind: the same, with what libsystemd needs.
 */

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* Where the first and the second of them are, of which this is one. 0; -errno, also when the file has been replaced:
 * then it has no name any more. */
int program_paths(char first[static PATH_MAX], char second[static PATH_MAX]);

/* Whether a process runs one of them: the same file, whatever it is called. False also where it cannot be seen. */
bool program_is_run_by(pid_t pid);

#endif
