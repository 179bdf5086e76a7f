/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_CONFINE_H
#define HOOK_SANDBOX_CONFINE_H

/*
 * What a child of ours gives up before it begins: whoever gets hold of a watcher, which reads what
 * payloads write, is to have little of root. SECURITY.md says what is kept, and why.
 *
 *   capabilities   all but those named here, in every set, for good
 *   no_new_privs   no program that it could run gives any back
 *   dumpable       not: no core file, and no process without CAP_SYS_PTRACE reads its memory
 *   system calls   those of filter_make.c, where the build had libseccomp; others get EPERM, as a
 *                  forgotten one is not to end a watcher
 *
 * What the kernel does not have, or refuses, is left out: the work is done all the same.
 */

#include <stdbool.h>
#include <stdint.h>

/* Capabilities of linux/capability.h, one bit each. */
uint64_t confine_watcher_caps(void);

/* Whether this program has a filter in it. */
bool confine_has_filter(void);

/* Keep @caps, of those that there are. Only for a process of one thread. */
void confine(uint64_t caps);

#endif
