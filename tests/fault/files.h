/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_FILES_H
#define TESTS_FAULT_FILES_H

/* Verbs that write a file: `register`, `metrics --output`, `overhead --html`. It is the old one or the new one. */

#include "tests/fault/scenes.h"

/* Before the first run of a layout: where they are. */
extern char files_bundle[PATH_MAX], files_output[PATH_MAX];
void files_begin(void);

/* There is no difference between layouts, so one has it. */
bool is_file_there(enum layout layout);

void new_file(struct run *run);
void registered_file(struct run *run);
void check_file(struct run *run);

/* What it reads `metrics` reads, too, in each layout. */
bool is_page_there(enum layout layout);

void before_output(struct run *run);
void check_metrics(struct run *run);
void check_page(struct run *run);

#endif
