/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_WATCH_OOM_H
#define HOOK_WATCH_OOM_H

/*
 * Processes of a sandbox that the kernel's OOM killer has killed are told, so that one can see why a VM
 * has gone.
 *
 * What is counted is what the cgroup that bounds the memory counts: the sandbox's with layout sibling,
 * the runtime's with nested; threads that are set apart have no memory of their own. It is read with
 * each pass, and not by events: those come for each time that a limit was reached, too, so a
 * sandbox that lives at its limit would wake the watcher all the time.
 *
 * What had been killed before the first look is not told, nor what happens after the last one: a runtime
 * that removes its cgroup may come first. What cannot be read is not known, and nothing is said of it.
 *
 * Layout nested without a split records the container's own cgroup alone. Where the limit is that of one around
 * it, as of crun's scope on v2, it is not known whose it was.
 */

#include "base/cleanup.h"
#include "cgroup/controller.h"

#include <stdbool.h>
#include <stdint.h>

struct record;
struct sandbox;

/* A payload may have its processes killed as often as it likes: not more often than that is it told. */
#define OOM_PAUSE_US 10000000

/* A limit is reached first, and then somebody is killed: this much later nobody is any more. */
#define OOM_SETTLE_US 1000000

struct oom {
    int fd;             /* cg_oom_open(); below zero: not open */
    char *path;         /* of the cgroup that was open last; owned */
    bool is_known;      /* the file was read before */
    struct cg_oom seen; /* what it said last */
    /* Likewise, at the first look or when something was said last; of its limit also what no kill has
     * followed since. */
    struct cg_oom told;
    unsigned long long told_us; /* when that was; 0: nothing was said yet */
    /* How often the limit had been reached at a look at which every kill was told, and when that was. */
    uint64_t quiet_limits;
    unsigned long long quiet_us;
};

#define OOM_INIT ((struct oom){.fd = FD_NONE})

struct oom_news {
    uint64_t kills; /* since it was told last */
    enum oom_cause { OOM_OWN_LIMIT, OOM_ELSEWHERE, OOM_UNKNOWN } cause;
};

/*
 * Pure: whether there is something to say of what was seen, which counts as said then.
 * @last  there may be no further look, so it is not put off.
 */
bool oom_decide(struct oom *o, unsigned long long now, bool last, struct oom_news *ret);

/* Pure: the path of the cgroup that bounds the sandbox's memory, borrowed from either. */
const char *oom_path(const struct sandbox *s, const struct record *r);

#define OOM_WORDS_SIZE 512

/* Pure: what happened, in the cgroup of that path, and what to do. */
void oom_words(const struct oom_news *news, bool is_nested, const char *path,
               char buf[static OOM_WORDS_SIZE]);

/* Look, and say what there is to say. */
void oom_look(struct oom *o, const struct sandbox *s, const struct record *r,
              unsigned long long now, bool last);

void oom_close(struct oom *o);

#endif
