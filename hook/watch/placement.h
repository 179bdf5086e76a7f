/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_PLACEMENT_H
#define HOOK_WATCH_PLACEMENT_H

/*
 * Whether all vCPUs of a sandbox are where they belong, and how that is known.
 *
 * The watcher keeps it up to date and writes it into the sandbox's state directory whenever it has
 * changed; `show` reads it there.
 */

#include "base/arena.h"
#include "hook/vcpu/ask.h"
#include "hook/vcpu/vcpu.h"
#include "oci/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct record;
struct record_mark;
struct scan;
struct scan_result;
struct sandbox;
struct settings;
struct state_dir;

enum placement_state {
    PLACEMENT_NONE,     /* no vCPU thread was found */
    PLACEMENT_PARTIAL,  /* some are not found, or not in the sandbox cgroup */
    PLACEMENT_COMPLETE, /* all that are known of are placed */
};

const char *placement_state_name(enum placement_state state);

/* What a judgement is made from. */
struct placement_facts {
    size_t found;    /* vCPU threads */
    size_t placed;   /* of them in the sandbox cgroup */
    size_t expected; /* by the VMMs' KVM descriptors; 0: they have none, e.g. they emulate */
    /* Descriptors of vCPUs that were unplugged: QEMU keeps them open for the next one. */
    size_t parked;
    bool uncounted;   /* there are more processes or descriptors than can be looked at */
    bool timed_out;   /* vcpu_timeout_ms has passed without a vCPU */
    const char *held; /* layout nested: why they are not set apart; NULL: they are */
};

#define PLACEMENT_WHY_SIZE 160

/* Pure. @why is a sentence for people. */
enum placement_state placement_judge(const struct placement_facts *facts,
                                     char why[static PLACEMENT_WHY_SIZE]);

/* The report in the state directory. */
struct placement_vcpu {
    struct json_i64 index; /* not set: the source has no number */
    struct json_u64 tid;
    char *source;
    char *cgroup;
    struct json_u64 placed_ms; /* after it was first seen; not set: it is not placed */
};
struct placement_report {
    struct json_i64 version;
    char *state;
    char *why;
    struct json_u64 expected; /* not set: unknown */
    struct json_list vcpus;   /* struct placement_vcpu, by number, then by thread */
};

#define PLACEMENT_FILE "placement.json"

/* Read the report of a sandbox's directory. 0; -ENOENT there is none; -EPROTO it is damaged. */
int placement_read(int dirfd, struct arena *a, struct placement_report *ret);

/* The vCPU with this thread; NULL: it is none. */
const struct placement_vcpu *placement_find(const struct placement_report *report, pid_t tid);

/* As `show --json` prints it: members without a value are null. */
void placement_write_json(struct json_writer *w, const char *key,
                          const struct placement_report *report);

/* The watcher's side. */
struct placement {
    /* Where the report goes, and which record there the watcher has read; borrowed. */
    const struct state_dir *state_dir;
    const char *sandbox_id;
    const struct record_mark *mark;
    enum placement_state state;
    struct placement_facts facts;
    bool counted; /* facts.expected is of the present threads */
    unsigned long long changed_us, count_us, ask_us;
    unsigned long long unwritten_us; /* threads have changed since the report; 0: they have not */
    unsigned ask_wait_ms;
    struct ask ask;
    struct arena told_arena;
    struct vcpu_kvm told; /* what scan->told points to once a VMM was asked */
    char *written;        /* the report as it was last written */
    bool is_stale;        /* what it says by now could not be written */
    const char *held;     /* for the facts; the caller's */
    bool announced;       /* that it was complete */
};

/* After a pass: count descriptors and ask the VMM where that is due, judge, write what has changed.
 * @changed: threads came, went or were renamed: the report waits until that has an end, or a quarter of a second, as it
 * grows with every thread, and the next vCPU is not to wait for it. Never fails: what could not be found out counts as
 * unknown, and a report that could not be written is written with a later pass. It is not as long as a stage has
 * the sandbox's lock, nor beside another record than that of @p. */
void placement_update(struct placement *p, struct scan *scan, bool timed_out, bool changed);

/* Words for the log: no vCPU has come in time, and what there is instead; and that there are more threads
 * than are looked at, once. */
void placement_warn_timeout(const char *sandbox_id, unsigned timeout_ms, bool is_nested,
                            const struct scan_result *pass);
void placement_warn_skipped(const char *sandbox_id, bool *told, const struct scan_result *pass);

/* Whether it matters which threads of a sandbox are vCPUs. */
bool placement_matters(const struct record *r, const struct settings *settings);

/* Whether the next look at the same threads would have nothing to count, to find or to write. */
bool placement_is_calm(const struct placement *p);

/* Whether the last judgement was "complete", of what is there now. */
bool placement_is_complete(const struct placement *p);

/* The report of the threads that a pass has left in @scan. */
void placement_report_make(const struct scan *scan, const struct placement_facts *facts,
                           struct arena *a, struct placement_report *ret);

/* The same for whoever is not the watcher, from a pass made just now: descriptors are counted, and
 * what only the watcher knows is taken from its report, if there is one in @dirfd. */
void placement_look(struct scan *scan, int dirfd, struct arena *a, struct placement_report *ret);

#endif
