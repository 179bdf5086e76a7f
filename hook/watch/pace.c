/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/watch/pace.h"

#define MIN_MS 1
#define MAX_MS 50
/* For this long after the last change; a VMM that takes longer to come up is looked at less often.
 */
#define AWAIT_MS 10000
/* A sandbox is settled when its vCPUs are placed and nothing has changed for this long. */
#define SETTLE_MS 2000
/* ... or, when some vCPU could not be found, for this long. */
#define GIVE_UP_MS 60000
/* Between scans of a sandbox that has no vCPU, where the configuration names no interval: all of it is under all
 * limits until one is found. */
#define IDLE_MS 10000
/* Once settled the fourth pass looks at everything, and then half as often each time, or less often if that would
 * cost more than a thousandth of a CPU: threads may be renamed, moved by others, or started by a vCPU thread. Neither
 * puts it off for longer than ALL_MAX_US. */
#define ALL_EVERY  4
#define ALL_COST   1000
#define ALL_MAX_US 10000000
/* While vCPUs are awaited, all VMs of the host are read this often, or less often if that would
 * cost more than a twentieth of a CPU. */
#define EVERY_VM_US   100000
#define EVERY_VM_COST 20
/* From this interval on memory is given back in between, at the price of some microseconds in each pass. */
#define SLOW_MS 1000
/* What takes longer than a pass is done when threads have been quiet for this long. */
#define QUIET_US 20000

void pace_init(struct pace *p, unsigned hotplug_ms, unsigned long long now)
{
    *p = (struct pace){.hotplug_ms = hotplug_ms};
    pace_restart(p, now);
}

static unsigned settled_ms(const struct pace *p)
{
    return p->hotplug_ms ? p->hotplug_ms : IDLE_MS;
}

static unsigned long long first_all_us(const struct pace *p)
{
    return (unsigned long long)settled_ms(p) * 1000 * ALL_EVERY;
}

void pace_restart(struct pace *p, unsigned long long now)
{
    unsigned long long soonest = now + first_all_us(p);

    /* What was put off because nothing happened is not put off any more. */
    if (p->settled && p->next_all_us > soonest)
        p->next_all_us = soonest;
    p->interval_ms = MIN_MS;
    p->changed_us = now;
    p->settled = false;
    p->alls = 0;
}

void pace_hurry(struct pace *p, unsigned ms)
{
    if (p->interval_ms > ms)
        p->interval_ms = ms;
}

bool pace_is_eager(const struct pace *p)
{
    return !p->settled && p->interval_ms <= PACE_AWAIT_MS;
}

bool pace_is_hurried(const struct pace *p)
{
    return p->settled && p->interval_ms < settled_ms(p);
}

bool pace_is_slow(const struct pace *p)
{
    return p->interval_ms >= SLOW_MS;
}

enum scan_depth pace_depth(const struct pace *p, unsigned long long now)
{
    if (!p->settled)
        return SCAN_CHANGES;
    return now >= p->next_all_us ? SCAN_ALL : SCAN_QUICK;
}

bool pace_every_vm(const struct pace *p, bool complete, unsigned long long now)
{
    return !p->settled && !complete && now >= p->next_all_us;
}

bool pace_is_quiet(const struct pace *p, unsigned long long now)
{
    return now - p->changed_us >= QUIET_US;
}

enum pace_verdict pace_step(struct pace *p, bool found, bool vcpus, unsigned long long now)
{
    unsigned long long quiet_ms = (now - p->changed_us) / 1000;
    unsigned most = !found && quiet_ms < AWAIT_MS ? PACE_AWAIT_MS : MAX_MS;

    if (quiet_ms >= (found ? SETTLE_MS : GIVE_UP_MS)) {
        if (p->hotplug_ms == 0 && vcpus)
            return PACE_DONE;
        p->interval_ms = settled_ms(p);
        p->settled = true;
        return PACE_SETTLED;
    }
    p->interval_ms += 1 + p->interval_ms / 8;
    pace_hurry(p, most);
    return PACE_MOVING;
}

void pace_looked(struct pace *p, unsigned long long cost_us, unsigned long long now)
{
    unsigned long long first = first_all_us(p);
    unsigned long long pause = p->settled ? first << p->alls : EVERY_VM_US;

    cost_us *= p->settled ? ALL_COST : EVERY_VM_COST;
    if (pause < cost_us)
        pause = cost_us;
    if (pause > ALL_MAX_US)
        pause = p->settled && first > ALL_MAX_US ? first : ALL_MAX_US;
    if (p->settled && pause < ALL_MAX_US)
        p->alls++;
    p->next_all_us = now + pause;
}
