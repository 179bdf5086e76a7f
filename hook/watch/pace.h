/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_PACE_H
#define HOOK_WATCH_PACE_H

/*
 * When the watcher looks at its sandbox, and at how much of it: fast while things move or vCPUs are
 * awaited, slower and slower while they do not, at the hot-plug interval once settled.
 *
 * Pure: the time of each call is the caller's, in microseconds, as is what a pass found and cost.
 */

#include "hook/watch/scan.h"

/* While vCPUs are awaited, the interval grows no further than this: a vCPU must not run unlimited
 * for longer than 5 ms. */
#define PACE_AWAIT_MS 3

struct pace {
    unsigned hotplug_ms;  /* struct settings.hotplug_interval_ms */
    unsigned interval_ms; /* until the next pass */
    bool settled;
    unsigned long long changed_us;
    unsigned long long next_all_us; /* the next pass that looks at more than what has changed */
    unsigned alls;                  /* of those, since it is settled */
};

void pace_init(struct pace *p, unsigned hotplug_ms, unsigned long long now);

/* Threads came, went or were renamed, or a container did: from the beginning. */
void pace_restart(struct pace *p, unsigned long long now);

/* The next pass comes in @ms at the latest. */
void pace_hurry(struct pace *p, unsigned ms);

/* Whether the next pass is sooner than the sandbox, which is settled, has it. */
bool pace_is_hurried(const struct pace *p);

/* Whether a vCPU may appear at any moment, and has to be moved at once. */
bool pace_is_eager(const struct pace *p);

/* Whether the next pass is so far that memory for it is not kept. */
bool pace_is_slow(const struct pace *p);

/* How deep the next pass is. */
enum scan_depth pace_depth(const struct pace *p, unsigned long long now);

/* Whether the next pass reads all VMs of the host. @complete: all vCPUs are in their place. */
bool pace_every_vm(const struct pace *p, bool complete, unsigned long long now);

/* Whether what takes longer than a pass may be done. */
bool pace_is_quiet(const struct pace *p, unsigned long long now);

enum pace_verdict {
    PACE_MOVING,
    PACE_SETTLED, /* nothing has changed for long enough */
    PACE_DONE,    /* the same, and by the configuration nobody has to look again */
};

/*
 * A pass has found nothing new: choose the interval until the next.
 * @found  every vCPU is in its place, or none will come any more.
 * @vcpus  there is a vCPU.
 */
enum pace_verdict pace_step(struct pace *p, bool found, bool vcpus, unsigned long long now);

/* A pass has looked at everything, or at all VMs of the host, and took @cost_us of CPU time: the
 * dearer, the longer until the next one. */
void pace_looked(struct pace *p, unsigned long long cost_us, unsigned long long now);

#endif
