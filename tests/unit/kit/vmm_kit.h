/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_VMM_KIT_H
#define TESTS_UNIT_KIT_VMM_KIT_H

/* A process whose threads do as they are told. Each has a place, the main thread the first, 0. */

#include <sys/types.h>

struct kit_vmm;

/* Start one, and tell its threads from now on. It ends with the test, as those of process_kit.h. */
pid_t kit_start_vmm(const char *name);

/* Of several the one that is told. */
struct kit_vmm *kit_this_vmm(void);
void kit_use_vmm(struct kit_vmm *vmm);

/* A thread that is born by the thread @from, and so in its cgroups. */
void kit_add_thread(int from, int index, const char *name);
void kit_rename_thread(int index, const char *name);
void kit_end_thread(int index);

/* It starts threads that end at once, vCPUs by their names and others, until it is told to stop. */
void kit_start_churn(int index);
void kit_end_churn(int index);

pid_t kit_tid_of(int index);
const char *kit_thread_name(int index);

#endif
