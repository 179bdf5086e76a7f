/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_CHANGES_H
#define TESTS_FAULT_CHANGES_H

/* Verbs that change what a sandbox that runs may use: `update` with limits, add-device, remove-device. They record it
 * first, and what is recorded comes into force with the next stage at the latest. */

#include "tests/fault/scenes.h"

/* Of one. Who may be denied a device has a list that denies others. */
#define DEVICE_RESOURCES "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}"

/* Before the first run of a layout: where the document of `update --resources` is. */
extern char changes_document[PATH_MAX];
void changes_begin(void);

/* With layout nested they are the runtime's; and which CPUs these are only matters where there are several. */
bool are_limits_ours(enum layout layout);
bool are_cpus_ours(enum layout layout);

void before_cpus(struct run *run);
void before_resources(struct run *run);
void before_adding(struct run *run);
void before_removing(struct run *run);
void check_change(struct run *run);

#endif
