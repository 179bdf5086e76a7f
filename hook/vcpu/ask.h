/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_VCPU_ASK_H
#define HOOK_VCPU_ASK_H

/*
 * Asking VMMs over QMP (qmp.h) without waiting for them, whatever they do.
 *
 * A path in a VMM's root, a connection, its command line: each can be made to block by who owns it, for
 * ever and in the kernel, by a file system or a page of memory that nobody serves (FUSE, userfaultfd).
 * So a child asks, which has so long; where not even SIGKILL ends it, it stays behind until the VMM ends,
 * and until then nobody is asked again.
 */

#include "hook/vcpu/vcpu.h"

#include <stddef.h>
#include <sys/types.h>

struct arena;

/* Of more threads no VMM tells. */
#define ASK_THREADS_MAX 4096

struct ask {
    pid_t child;  /* one that has not ended yet; 0: none */
    size_t first; /* whose turn it is to be asked first: they share the time */
};

/*
 * @timeout_ms  for all of them together, and for this call.
 * @ret         what those said that answered in time, in @a.
 * 0; -EBUSY the last child is still blocked; -errno of fork or pipe.
 */
int ask_vmms(struct ask *ask, const pid_t *pids, size_t count, int timeout_ms, struct arena *a,
             struct vcpu_kvm *ret);

#endif
