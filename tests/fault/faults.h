/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_FAULTS_H
#define TESTS_FAULT_FAULTS_H

/* Which system call can fail how. */

#include "tests/fault/trace.h"

#define FAULTS_MAX 8

/* The faults of a call, as of its manual page. Returns how many, never more than FAULTS_MAX; 0: of this one
 * nothing is tried. */
size_t faults_of(const struct call *call, int ret[FAULTS_MAX]);

/* "openat", or NULL for one of which nothing is tried. */
const char *call_name(long nr);

/* Whether it has a row, or a reason why nothing is tried of it. */
bool is_listed(long nr);

/* -1: there is none of this name. */
long call_number(const char *name);

/* "EIO", "SIGKILL", "short" */
const char *fault_name(int what);

/* FAULT_NONE: there is none of this name. */
int fault_number(const char *name);

#endif
