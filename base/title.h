/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TITLE_H
#define BASE_TITLE_H

/*
 * What ps shows of a process is what lies where the kernel has put its arguments. A process that lives longer
 * than what it was started for says there what it is.
 */

#include <stddef.h>

/* Where the arguments of main() lie, and behind them the environment, as long as they lie in one piece.
 * Without this, title_set() does nothing. */
void title_find(int argc, char **argv, char **envp);

/*
 * Write @text over them, cut to their size. The process has no environment from then on, and its argv is not to be
 * read any more. Where the last byte of the arguments is no NUL, Linux shows the text that begins with them, up to its
 * first NUL, which may be behind their end (get_mm_proctitle() in fs/proc/base.c).
 */
void title_set(const char *text);

#endif
