/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_VCPU_VCPU_H
#define HOOK_VCPU_VCPU_H

/*
 * hook/vcpu/ finds out which threads are vCPUs, and how many there are. Four sources, strongest
 * first; vcpu_classify() knows all but the third, which watch/scan.c adds:
 *   1. KVM's debugfs directory: <debugfs>/kvm/<pid>-<fd>/vcpu<N>/pid. Independent of VMM and names.
 *   2. The thread's name, against a table of VMMs and the configuration's patterns.
 *   3. QEMU's own word, over QMP: see qmp.h.
 *   4. Guest time (proc(5), /proc/PID/stat field 43): what has run a guest is a vCPU.
 * A name can be faked, but only by the VMM, and only to put more of its threads under the limit.
 */

#include "base/proc.h"
#include "oci/json.h"

#include <stdbool.h>

#define VCPU_NO_INDEX (-1)

enum vcpu_source { VCPU_NONE, VCPU_DEBUGFS, VCPU_NAME, VCPU_QMP, VCPU_GUEST_TIME };

const char *vcpu_source_name(enum vcpu_source source);

/*
 * A pattern is a thread name in which one "%u" may stand for the vCPU's number, as in "CPU %u/KVM".
 * Valid: 1 to 15 characters (the kernel cuts longer names), at most one "%u" and no other '%'.
 */
bool vcpu_pattern_valid(const char *pattern);

/* @ret_index  the number, VCPU_NO_INDEX for a pattern without one. */
bool vcpu_pattern_match(const char *pattern, const char *comm, int *ret_index);

/* Threads that some source names as vCPUs. */
struct vcpu_kvm_thread {
    pid_t tid; /* as we see it, in our pid namespace */
    int index; /* as the source counts; VCPU_NO_INDEX: it does not */
};
struct vcpu_kvm {
    struct vcpu_kvm_thread *items; /* in an arena */
    size_t count;
};

/* The "kvm" directory of a mounted debugfs, found from /proc/self/mountinfo, as an O_PATH fd.
 * -ENOENT no debugfs, or KVM is not there (yet), or lockdown. */
int vcpu_kvm_open(void);

/*
 * The same for who looks again and again: mountinfo is read when mounts have changed since, and of a debugfs
 * that is mounted without KVM's directory one path is tried. vcpu_kvm_end() when nobody looks any more.
 */
struct vcpu_kvm_search { /* {0} has not begun */
    bool begun;
    int mounts_fd; /* mountinfo, open since it was read, which tells of changes */
    char *path;    /* where the directory would be */
};
int vcpu_kvm_find(struct vcpu_kvm_search *s);
/* The same by a file like mountinfo: not every user can mount what a test is to find. */
int vcpu_kvm_find_in(struct vcpu_kvm_search *s, const char *mountinfo);
void vcpu_kvm_end(struct vcpu_kvm_search *s);

/* Whether a VM is worth reading, by the process that made it. */
typedef bool vcpu_kvm_wanted(pid_t creator, const void *arg);

/* Read the VMs of the host that are @wanted; NULL: all. Never fails: what vanishes is left out. */
void vcpu_kvm_read(int kvm_dirfd, vcpu_kvm_wanted *wanted, const void *arg, struct arena *a,
                   struct vcpu_kvm *ret);

/*
 * Classify one thread.
 * @st        its /proc/TID/stat.
 * @kvm       what vcpu_kvm_read() found; may be empty.
 * @patterns  of the configuration, char *.
 * @ret_index the vCPU's number or VCPU_NO_INDEX.
 */
enum vcpu_source vcpu_classify(pid_t tid, const struct proc_stat *st, const struct vcpu_kvm *kvm,
                               const struct json_list *patterns, int *ret_index);

#endif
