/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_PROCESS_KIT_H
#define TESTS_UNIT_KIT_PROCESS_KIT_H

/* Processes of a test's own. None outlives the test, however it ends. */

#include "base/proc.h"

#include <sys/types.h>

/* Long enough for any machine: what is waited for ends by an event, not by this time. */
#define KIT_PATIENCE_MS 60000

/* As fork(); the child is killed when the test ends. */
pid_t kit_fork(void);

/* A process that does nothing until it is killed. */
pid_t kit_start_child(void);

/* One that does as it is told over its channel. */
struct kit_worker {
    pid_t pid;
    int fd;
};

/* Commands: 'f' open /dev/full, 'n' open /dev/null, 'm' touch 8 MiB, 'c' use the CPU for a moment.
 * The answer is an errno, 0: success. */
struct kit_worker kit_start_worker(void);
int kit_ask(const struct kit_worker *w, char command);

#define KIT_THREADS 3

/* A process with that many threads besides its first; their ids. */
pid_t kit_start_threads(pid_t tids[static KIT_THREADS]);

/* Who a process or thread is now, of one that has ended nobody; overwritten by the fourth call after this. */
const struct proc_id *kit_who(pid_t pid);

/* Kill and wait. Only what is still our child: the number of one that was waited for may be
 * somebody else's. */
void kit_end_child(pid_t pid);

/* Skip the test where /proc does not show what all processes run and have open: to an ordinary user it shows
 * neither of others' nor of the product's own, which cannot be traced. */
void kit_need_sight(void);
/* From now on the test's own process can open nothing more: EMFILE; and again as before. */
void kit_blind(void);
void kit_see(void);

/* All of the above that still live; for a .fini that has to see them gone. */
void kit_end_children(void);

#endif
