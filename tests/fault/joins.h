/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_JOINS_H
#define TESTS_FAULT_JOINS_H

/* Verbs that put somebody into a sandbox: add-process, add-thread. It is where it was, or in its place. */

#include "tests/fault/scenes.h"

/* Of the process or thread. */
extern char joins_number[16];

void before_process(struct run *run);
void check_process(struct run *run);

void before_thread(struct run *run);
void check_thread(struct run *run);

#endif
