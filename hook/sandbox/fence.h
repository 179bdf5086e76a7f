/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_FENCE_H
#define HOOK_SANDBOX_FENCE_H

/*
 * The quotas that the runtime gave, lifted and given back. v2 only.
 *
 * The vCPU threads of a sandbox are in a threaded cgroup K inside of the runtime's cgroup C, and K
 * has the CPU quota that C has. So that the other threads of the VMM do not share it, C's own is
 * lifted, and so is that of each ancestor S which is the runtime's, too (crun's scope). The fence is
 * these cgroups, C first.
 *
 * Whatever is in their cpu.max and was not written by us (quota_is_lifted()) is the runtime's word,
 * an operator's `systemctl set-property` included. Each file's last word is remembered: a runtime
 * may write an old word to one of them, so it is the smallest of all that counts, not the latest.
 *
 * A caller goes in this order, so that a kill at any point leaves the vCPUs bound:
 *
 *   fence_read()     something is new or bound?
 *   fence_least()    to K's cpu.max, with fence_companions()
 *   fence_record()   to the record, written
 *   fence_lift()     -EAGAIN: from the beginning
 *
 * An error of looking is not a fact: a file that cannot be read keeps its last word, and is neither
 * lifted nor given back.
 */

#include "cgroup/controller.h"
#include "hook/plan/quota.h"
#include "oci/json.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct err;

struct fence_file {
    char *path;                    /* clean, from the mount root; malloc()ed */
    char cpu_max[QUOTA_TEXT_SIZE]; /* the runtime's word as it is recorded; "": not known */
    bool is_new;                   /* it was not followed by a lift yet */
    bool is_gone;                  /* the cgroup does not exist any more; this never ends */
    int watch;                     /* of inotify; below zero: none */
    struct cg_controller cgroup;
};

struct fence {
    int events; /* inotify; borrowed */
    struct fence_file *items;
    size_t count;
};

/*
 * Open the cgroups and, given an inotify instance, watch their cpu.max.
 * @host    borrowed.
 * @files   struct record_fence: as they are recorded, or with a path alone for a new fence. Copied.
 *          A word in it that is no word of a runtime counts as not known.
 * @events  FD_NONE: without. Non-blocking, and for this fence alone: it is read empty in
 *          fence_read(), and an instance has only one watch for a file. IN_MODIFY comes for whoever
 *          writes, we included; see hook/watch/drift.h for what makes none.
 * 0, also where cgroups do not exist (is_gone); -EOPNOTSUPP the host is not v2; other -errno of the
 * first cgroup that could not be opened: the rest works, and that one is tried again at each call.
 * fence_close() in any case.
 */
int fence_open(struct fence *f, const struct cg_host *host, const struct json_list *files,
               int events, struct err *e);

/* Whether events come for all files; else fence_read() has to be called now and then. */
bool fence_is_watched(const struct fence *f);

struct fence_look {
    bool is_new;   /* a word is another than before, or was not known. Stays so until that file is
                      lifted: who failed in between begins anew */
    bool is_bound; /* a file is not lifted */
    bool is_gone;  /* a cgroup does not exist any more, or has no cpu.max because of that */
};

/*
 * Read every cpu.max and remember the words in them. Missing watches are made before.
 * @ret  of the files that could be read.
 * 0; the -errno of the first that could not, of which nothing changes: -EPROTO a text that no
 * kernel writes; -ENOENT its cgroup has no cpu controller (any more).
 */
int fence_read(struct fence *f, struct fence_look *ret, struct err *e);

/*
 * The quota for K: the smallest of the remembered words.
 * False: a file's is not known, or none is, so nothing can be said. That of a cgroup that is gone
 * counts if it is known, and is not missed if not.
 */
bool fence_least(const struct fence *f, struct quota *ret);

/*
 * What K needs besides, because it does not inherit it: cpu.max.burst, cpu.uclamp.min and
 * cpu.uclamp.max of C, as far as this kernel has them. The burst is no larger than the quota that
 * fence_least() says, as the kernel refuses that (cgroup-v2.rst).
 * @ret  in @a; to be written together with cpu.max: of two texts either may have to be first
 *       (CG_FILE_RETRY).
 * 0; -ENODATA the quota is not known; -ENODEV C is gone; other -errno: what C has is not known.
 */
int fence_companions(struct fence *f, struct arena *a, struct cg_files *ret, struct err *e);

/*
 * Lift the quotas: quota_sum_lifted() of fence_least() and @overhead (NULL: no limit) to each file
 * that has the word which is remembered, and to each that was lifted to another value. Idempotent.
 * A file is read again right before it is written; a word that comes in the microseconds between
 * the two is lost. Goes on after a failure. A cgroup that is gone is none.
 * 0 all are lifted; -EAGAIN, without a text: a file has another word than the remembered one, so
 * the caller has to go round again; -ENODATA fence_least() says nothing, and nothing was written;
 * -EINVAL the kernel refuses it, for one because a burst of the runtime's is larger than Q + O;
 * other -errno. Errors come before -EAGAIN, the first of them.
 */
int fence_lift(struct fence *f, const struct quota *overhead, struct err *e);

/*
 * Give every word back to the file that it was in, where that is lifted: a newer word of the
 * runtime's stays, and so does what was lifted without a word that is known, which was not by us.
 * Idempotent; with the same microseconds as fence_lift(). Goes on after a failure.
 * A burst that the runtime could set only because the quota was lifted is reduced to the quota, or
 * the kernel would not take the quota back.
 * 0, also where a cgroup is gone; the first -errno.
 */
int fence_restore(struct fence *f, struct err *e);

/* The files with their words as struct record_fence, copied to @a. */
struct json_list fence_record(const struct fence *f, struct arena *a);

/* Files and cgroups stay as they are; the watches end. */
void fence_close(struct fence *f);

#endif
