/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_SCAN_H
#define HOOK_WATCH_SCAN_H

/*
 * One pass over a sandbox's threads: find the vCPUs, put every thread where it belongs.
 *
 * A pass costs what has changed since the one before: threads that were seen already are looked at
 * again only while they are young, because a VMM names its threads after it has started them.
 */

#include "hook/plan/settings.h"
#include "hook/vcpu/vcpu.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct cg_controller;
struct cg_pids;
struct sandbox;
struct err;

enum scan_depth {
    SCAN_CHANGES, /* both cgroups' lists; new and young threads are looked at */
    SCAN_QUICK,   /* the overhead's list alone; if it is another one than before, as SCAN_CHANGES */
    SCAN_ALL,     /* every thread is looked at, and every vCPU's place is read back */
    SCAN_LOOK,    /* every thread is looked at, none is moved */
};

struct scan_thread {
    pid_t tid;
    pid_t process; /* with kernel_evidence, of a vCPU: whose thread it is; 0: not known */
    uint64_t start_time;
    uint64_t name; /* a hash of it */
    enum vcpu_source source;
    int index;                    /* the vCPU's number or VCPU_NO_INDEX */
    unsigned long long seen_us;   /* first seen as what it is, io_now_us() */
    unsigned long long looked_us; /* when its name was read */
    unsigned long long placed_us; /* a vCPU's arrival in the sandbox cgroup; 0: not there yet */
    bool inside;                  /* in the sandbox cgroup when the pass ended */
    bool is_shown;                /* a vCPU by the kernel's word of this very thread */
    bool is_judged;               /* in this pass */
};

/* Of a sandbox no more threads are looked at, those with the lowest ids: time and memory are bounded
 * whatever a payload starts. Others stay where they are, under all limits before a split. */
#define SCAN_THREADS_MAX 16384

struct scan_result {
    size_t threads;          /* in both cgroups, our own left out */
    size_t overhead_threads; /* of them in the overhead cgroup when the pass began */
    size_t placed;           /* vCPU threads that are in the sandbox cgroup now */
    size_t vcpus;            /* vCPU threads seen */
    uint64_t print;          /* changes when threads come, go or are renamed */
    size_t below;            /* in cgroups of the payload's own, inside of ours */
    size_t skipped;          /* too many to be looked at */
    bool quick;              /* one list was read, and it was the same as before */
    bool whole;              /* every thread was seen, though some may not have moved */
};

/* Threads that have just got a name. */
#define SCAN_NAMED_MAX 128
struct scan_named {
    pid_t tids[SCAN_NAMED_MAX]; /* sorted; one may be there more than once */
    size_t count;
};

/* A list of threads that is read again and again: hashes of its text and its cgroup. 0: none, or it cannot be told. */
struct scan_file {
    uint64_t now;   /* since the last pass */
    uint64_t known; /* before the last pass, if that left everything in its place */
};

struct scan {
    /* set by the caller, who may change them between passes */
    struct sandbox *sandbox; /* loaded */
    const struct settings *settings;
    int kvm_dirfd; /* vcpu_kvm_find(), or none */
    struct vcpu_kvm_search kvm_search;
    pid_t own[2];                /* processes of ours that stay where they are; 0: none */
    const struct vcpu_kvm *told; /* vCPUs that another source knows of; NULL: none */
    /* Believe also VMs that were made by processes which live outside the sandbox. There may be
     * thousands of those on the host, so not in every pass; SCAN_ALL and SCAN_LOOK always do. */
    bool every_vm;
    /* What a payload says of itself is not believed: a thread is a vCPU if KVM's debugfs names it or it
     * has run a guest. Of a process that has descriptors of more vCPUs than that, so many more: which
     * threads they are its names and QMP say. */
    bool kernel_evidence;
    const struct scan_named *named; /* looked at whatever their age; NULL: none */
    bool names_told; /* every thread that gets a name is in there: others need a look less often */
    bool hold;       /* look only: before the split */
    size_t most;     /* in place of SCAN_THREADS_MAX; 0: that */
    /* the state of the passes; scan_free() */
    struct scan_thread *threads; /* sorted by tid */
    size_t count, size;
    uint64_t list;                /* of the overhead's tids at the end of the last pass */
    struct scan_file files[2];    /* what scan_is_same() reads: of the overhead, and of the vCPUs */
    unsigned long long relook_us; /* from then on young threads are looked at that no event named */
    struct scan_result last;
};

/*
 * Place every vCPU thread in the sandbox cgroup and every other thread in the overhead cgroup, and
 * read each move back. A payload may have made cgroups inside of ours, as libvirt and jailers do, and
 * moved its threads there: one that is in the right one of ours so far is left there. Threads that end meanwhile are no error. Idempotent.
 * 0; -errno of the first move that the kernel refused, with all the others done (`whole`), or of a list
 * that could not be read. The next pass tries again.
 */
int scan_pass(struct scan *scan, enum scan_depth depth, struct scan_result *ret, struct err *e);

/*
 * Whether the lists of threads are those that the last pass has seen, so that nothing has come, gone or moved since:
 * four system calls for each, and no memory. To be asked before each pass of a sandbox that is settled. What cannot
 * be read, is long, or has cgroups of the payload's inside is not the same.
 */
bool scan_is_same(struct scan *scan);

/* After each pass: what was read before it is what it has seen, or the next text is another one. @in_place: it has
 * left all threads where they belong. For scan.c. */
void scan_note_same(struct scan *scan, bool in_place);

/* Whether processes appear where the vCPUs are: on v1 all do before the split, and what a runtime starts. */
bool scan_appears_inside(const struct scan *scan);

/* Something is known of threads by now that the last pass did not know: the next one is not quick. */
void scan_look_again(struct scan *scan);

/* No thread is a vCPU any more: move everything that is apart to where those were. 0; -errno. */
int scan_reunite(struct scan *scan, struct err *e);

/* The processes of one of the sandbox's cgroups, without ours; each may be a VMM. */
int scan_processes(const struct scan *scan, const struct cg_controller *c, struct arena *a,
                   struct cg_pids *ret, struct err *e);

/* Those of the whole sandbox. As scan_processes(). */
int scan_vmms(const struct scan *scan, struct arena *a, struct cg_pids *ret, struct err *e);

/* What `kernel_evidence` is on this host: a payload with vCPUs may do more, so what it says of itself is
 * not enough where the kernel can tell. */
bool scan_needs_evidence(const struct scan *scan);

/* Forget all threads. The struct can be used again. */
void scan_free(struct scan *scan);

/* Whether a task is one of ours that a pass leaves alone. */
bool scan_is_own(const struct scan *scan, pid_t id);

#endif
