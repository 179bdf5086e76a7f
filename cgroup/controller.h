/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_CONTROLLER_H
#define CGROUP_CONTROLLER_H

/*
 * cgroup/ is the kernel's side: it makes, fills and removes cgroups, as others have decided.
 * This is the resource controller: one cgroup of ours, in every hierarchy that it lives in.
 *
 * The operations are those of Kata's ResourceController (src/runtime/pkg/resourcecontrol): Type,
 * ID, Parent, Delete, Stat, AddProcess, AddThread, Update, MoveTo, AddDevice, RemoveDevice,
 * UpdateCpuset, besides create and load. Each has one meaning for all backends; what differs per
 * backend is behind `struct cg_ops`.
 *
 * v1 and hybrid: the cgroup is the directory @path in every hierarchy, named ones and a cgroup2
 * mount included. Threads are placed in each v1 hierarchy on their own; in the cgroup2 mount of a
 * hybrid host a thread stays with its process: a plain v2 cgroup holds whole processes only.
 *
 * v2: the cgroup is @path; with @leaf it is the threaded cgroup @path/@leaf, which makes @path its
 * threaded domain: memory, io and device rules are those of @path (cgroup-v2.rst "Threads").
 *
 * A cgroup that is `borrowed` is somebody else's, as the runtime's own is in layout nested, or
 * another controller's: it is neither made nor removed here, and what is above it is left alone. With
 * @leaf @path always is, and the leaf is ours.
 *
 * systemd: @path is that of a scope, which systemd makes and removes; `unit` says which. Limits and
 * device rules that systemd knows are its properties; the limits are written as files as well, exactly,
 * while systemd takes CPU quotas in whole per cents. What systemd does not make, in hierarchies that it does not manage and below the
 * scope, is made here as without it.
 *
 * Every function here is idempotent unless it says otherwise. Messages name a file by full path.
 */

#include "base/proc.h"
#include "cgroup/devices/exceptions.h"
#include "cgroup/host.h"
#include "cgroup/limits/limits.h"
#include "cgroup/limits/properties.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct cg_parents;
struct cg_unit;
struct err;

struct cg_ops;

struct cg_controller {
    const struct cg_ops *ops;
    const struct cg_host *host; /* borrowed */
    struct cg_parents *parents; /* borrowed; NULL: parents that had to be made are not remembered */
    const char *path;           /* clean, from the mount root; borrowed */
    const char *leaf;           /* v2 only; NULL: @path itself; borrowed */
    bool borrowed;              /* @path is not ours; set by the caller after cg_init() */
    struct cg_unit *unit;       /* the scope that @path is; NULL: none; borrowed */
    int fds[CG_MAX_HIERARCHIES]; /* by hierarchy: O_PATH of the directory that holds tasks */
    int domain_fd;               /* v2 with @leaf: O_PATH of @path */
    uint32_t made;               /* by hierarchy: cg_create() made the directory in this run */
};

/* What is written to a cgroup, all of it decided before: the controller adds nothing. */
struct cg_change {
    struct cg_files files;              /* in the order of writing */
    const struct cg_dev_table *devices; /* NULL: the device rules are left alone */
    struct cg_properties properties;    /* what a scope is told of both; read only for one */
};

struct cg_pids {
    pid_t *items; /* in an arena */
    size_t count;
};

/* Ascending, as lists of tasks are; for qsort(3) and bsearch(3). */
int cg_pid_compare(const void *a, const void *b);

/* A number that this kernel, or this cgroup, does not have. */
#define CG_UNKNOWN UINT64_MAX

/*
 * Pressure stall information (Documentation/accounting/psi.rst): how much of the time some, and all, of the
 * tasks waited. CG_UNKNOWN where it is not kept.
 */
struct cg_pressure {
    uint64_t some_us, full_us;   /* in all */
    uint64_t some_10s, full_10s; /* hundredths of a per cent of the last 10 s */
};

/* A member is valid when its bit is in `has`: controllers may be missing on a host. What an older kernel does not
 * tell is CG_UNKNOWN. */
struct cg_stat {
    unsigned has;                                      /* CG_CTL_BIT set */
    uint64_t cpu_usage_us, cpu_user_us, cpu_system_us; /* cpuacct on v1, cpu on v2: bit CPUACCT */
    uint64_t periods, throttled_periods, throttled_us; /* bit CPU */
    uint64_t cpu_limit_us;                    /* by the quota, of a second; CG_UNKNOWN: none, too */
    uint64_t memory_bytes, memory_peak_bytes; /* bit MEMORY, as those behind it */
    uint64_t memory_limit_bytes;              /* CG_UNKNOWN: none, too */
    uint64_t anon_bytes, file_bytes, shmem_bytes, kernel_bytes, swap_bytes;
    uint64_t oom_kills;
    uint64_t pids, pids_limit;              /* bit PIDS */
    uint64_t io_read_bytes, io_write_bytes; /* bit BLKIO */
    struct cg_pressure cpu, memory, io;     /* v2 alone */
};

/* Of the text of a pressure file. What is not in it is CG_UNKNOWN. */
struct cg_pressure cg_pressure_parse(char *text);

/* Set up the struct; touches nothing. The backend is that of the host's mode. cg_close() later. */
void cg_init(struct cg_controller *c, const struct cg_host *host, struct cg_parents *parents,
             const char *path, const char *leaf);

/* Close descriptors; the cgroup stays. */
void cg_close(struct cg_controller *c);

/*
 * Make the cgroup where it does not exist (-ENOENT for one that is borrowed), fill v1 cpusets top down, enable v2 controllers down the
 * path, and write @want. On failure nothing is undone here: that is for cg_undo_create().
 * 0; -EBUSY a v2 parent holds processes, so that it cannot pass controllers on (the message says
 * which, and the fix); -ENOENT a controller that a limit needs is not there; other -errno.
 */
int cg_create(struct cg_controller *c, const struct cg_change *want, struct err *e);

/* Remove what the last cg_create() on this struct made. Never fails; what is busy stays. */
void cg_undo_create(struct cg_controller *c);

/*
 * v2 with @leaf, loaded: whether @path gives a controller to its children; and to end that, which
 * takes back what made a borrowed cgroup the root of threaded ones (cgroup-v2.rst, "Controlling
 * Controllers", "Threads").
 * cg_passes_on(): 1, 0, -errno. cg_hold_back(): 0, also when it did not; -EBUSY a child passes it on
 * itself; other -errno.
 */
int cg_passes_on(const struct cg_controller *c, enum cg_ctl ctl, struct err *e);
int cg_hold_back(const struct cg_controller *c, enum cg_ctl ctl, struct err *e);

/* Open an existing cgroup; one that exists in some hierarchies only is opened in those.
 * 0; -ENOENT it exists in none; other -errno. */
int cg_load(struct cg_controller *c, struct err *e);

/* "v1", "domain", "domain threaded", "threaded", ... (cgroup.type where there is one). */
const char *cg_type(const struct cg_controller *c, char buf[static 32]);

/* The path of the directory that holds tasks, from the mount root. */
const char *cg_id(const struct cg_controller *c, struct arena *a);

/* The path of the directory that the cgroup is in, from the mount root. */
const char *cg_parent(const struct cg_controller *c, struct arena *a);

/*
 * Remove the cgroup from every hierarchy, and parents that were made for it and are empty now.
 * Waits for tasks that are just ending (v2 cgroup.events, short retries on v1), @timeout_ms at
 * most. Goes on after a failure and reports the first; a scope that systemd does not stop stays whole.
 * 0 also when there was none; -EBUSY tasks are left in it or it has children; -EEXIST the scope of its
 * name is another's; other -errno.
 */
int cg_delete(struct cg_controller *c, int timeout_ms, struct err *e);

/* Usage as the kernel counts it, of the cgroup with all that is in it. What cannot be read is not there. */
void cg_stat(const struct cg_controller *c, struct cg_stat *ret);

/*
 * Move exactly this process with all its threads, or this thread, into the cgroup. The start time is compared
 * directly before and after: who gets the number in between is moved back to where it was born. Whether
 * the task is one that may be moved is for the caller: cg_members(), cg_has_thread(), or who has named it.
 * 0; -ESRCH it has ended (callers decide); other -errno, file in @e. A process that failed in one
 * hierarchy may have been moved in others: cg_origin_enter() puts it back.
 */
int cg_add_process(struct cg_controller *c, const struct proc_id *id, struct err *e);
int cg_add_thread(struct cg_controller *c, const struct proc_id *id, struct err *e);

/*
 * Keep moves fast for the next milliseconds: the caller is moved to where it is. @fd is of the
 * cgroup.procs of its own cgroup, from cg_open_own(), or below zero.
 * The first move after a pause of some 10 ms waits for an RCU grace period (8 to 30 ms and more),
 * later ones take microseconds; meanwhile every fork and exit of the host is a little slower. Never
 * fails. Kernel: cgroup_threadgroup_rwsem, a percpu_rw_semaphore.
 */
void cg_keep_warm(int fd);
int cg_open_own(const struct cg_host *host);

/* Write limits and device rules of a cgroup that is open, having enabled the controllers that they
 * need. Values written before one that fails stay.
 * 0; -errno as cg_create(), -ENOTSUP v1 cannot express the device list. */
int cg_update(struct cg_controller *c, const struct cg_change *want, struct err *e);

/* Write them back after a failure: as cg_update(), but it goes on after one that cannot be written,
 * and enables nothing. 0; the -errno of the first that failed. */
int cg_revert(struct cg_controller *c, const struct cg_change *want, struct err *e);

/* The device list alone. Errors as cg_update(). */
int cg_update_devices(struct cg_controller *c, const struct cg_dev_table *devices, struct arena *a,
                      struct err *e);

/* Allow or deny one more device: @rules is extended by a rule and put into force.
 * Errors as cg_update(). */
int cg_add_device(struct cg_controller *c, struct cg_dev_rules *rules, struct cg_dev_rule device,
                  struct arena *a, struct err *e);
int cg_remove_device(struct cg_controller *c, struct cg_dev_rules *rules, struct cg_dev_rule device,
                     struct arena *a, struct err *e);

/*
 * v1 and hybrid: the device list in force in any cgroup, see cg_dev_v1_read(). On v2 it is in
 * programs that nobody can read.
 * 1; 0 there is no such cgroup, or no devices hierarchy; -errno.
 */
int cg_devices_read(const struct cg_host *host, const char *path, struct arena *a,
                    struct cg_dev_exceptions *ret, struct err *e);

/* Set both lists of the cpuset; NULL or "" leaves one as it is. -ENOENT no cpuset controller. */
int cg_update_cpuset(struct cg_controller *c, const char *cpus, const char *mems, struct err *e);

/*
 * Move every process (as cg_members() has them) into the cgroup @path, or, where that cannot
 * hold processes, into its nearest ancestor that can. Repeats until none is left, for some rounds. One that
 * is refused, as of real time on v1, is in no other's way.
 * @ret_moved  how many, may be NULL.
 * @ret_where  the path that took them, in the arena, of several hierarchies the highest; not set when there were
 *             none; may be NULL.
 * 0; -EBUSY new processes keep appearing; other -errno.
 */
int cg_move_to(struct cg_controller *c, const char *path, unsigned *ret_moved,
               const char **ret_where, struct arena *a, struct err *e);

/* Move its threads, one by one, where @to is, until none is left but those that are ending; one that is refused
 * is in no other's way. 0; -EBUSY new ones keep appearing; other -errno. */
int cg_move_threads(const struct cg_controller *from, struct cg_controller *to, struct err *e);

/* Let run what is frozen in it, and in cgroups made inside of it: on v1 a frozen process does not die of a
 * signal. Nothing happens to the others; never fails. */
void cg_thaw(const struct cg_controller *c);

/* Freeze all that is in it: asked for, and soon done. 0; -errno. And whether that is asked for, of it and
 * not of a cgroup above: 1; 0; -errno. A loaded one that is no leaf. */
int cg_freeze(const struct cg_controller *c, struct err *e);
int cg_is_frozen(const struct cg_controller *c);

/* Whether all that is in it stands still, whoever has asked for it. 1; 0; -ENOENT it has no freezer; other
 * -errno. */
int cg_is_still(const struct cg_controller *c);

/*
 * cg_freeze(), and wait until it stands still; on v1 it goes on for a moment now and then meanwhile, unless it
 * was frozen before. What cannot be had in that time is not asked for any more, if it was not before. 0;
 * -ENOENT there is no freezer; -ETIMEDOUT; other -errno.
 * And the way back, with @inside of the cgroups inside of it, too. 0; -EBUSY one above it is frozen; other
 * -errno.
 */
int cg_freeze_wait(const struct cg_controller *c, int timeout_ms, struct err *e);
int cg_thaw_wait(const struct cg_controller *c, bool inside, int timeout_ms, struct err *e);

/* What a thaw that nobody waited for may have left frozen: whoever comes into it next, as what its runtime
 * starts, would stand still. cg_thaw_wait() of it and all inside, if it is wanted to be frozen. 0, also where it
 * has gone or there is no freezer; -errno. */
int cg_leave_thawed(const struct cg_controller *c, int timeout_ms, struct err *e);

/* The same question of a cgroup that is not ours, again and again: the file that answers it, -errno;
 * and its answer, 1; 0; -ENODEV the cgroup has gone; other -errno. */
int cg_freezer_open(const struct cg_host *host, const char *path);
int cg_freezer_read(int fd);

/*
 * How many processes of a cgroup the kernel's OOM killer has killed, asked again and again: the file that tells,
 * -errno, -ENOENT also where it has no memory controller; and its answer, 0; -ENODEV the cgroup has gone;
 * -ENODATA this kernel does not tell; other -errno. The parser is for tests, too, and changes the text.
 */
struct cg_oom {
    uint64_t kills; /* v1: of the cgroup itself; v2: and of those inside of it */
    uint64_t
        limits; /* how often it, or one inside of it, was out of memory at its own limit; v1: CG_UNKNOWN */
};
int cg_oom_open(const struct cg_host *host, const char *path);
int cg_oom_read(int fd, struct cg_oom *ret);
int cg_oom_parse(char *text, struct cg_oom *ret);

/* Signal every process of the cgroup, until none is left for SIGKILL. 0; -EBUSY; other -errno. */
int cg_kill(struct cg_controller *c, int signo, struct err *e);

/*
 * Signal every process of some cgroups, that of @all[0] being around what is frozen together.
 * SIGKILL: also those that are frozen, again until none is left, and none is outrun by what it forks: v2 has
 * the kernel do it, on v1 all is frozen, signalled and thawed. Another signal: once each, while nothing runs
 * that could fork; those that somebody has frozen take it when they are thawed.
 * 0; -EBUSY some have not ended; other -errno.
 */
struct cg_signalled {
    size_t count;
    bool pending; /* they are frozen: what was sent waits */
};
int cg_signal(struct cg_controller *const *all, size_t count, int signo, int timeout_ms,
              struct cg_signalled *ret, struct err *e);

/* Processes with at least one thread in the cgroup, or in a cgroup made inside of it, in any
 * hierarchy; each once. On v2 with a leaf those of the whole domain: the kernel lists no others. */
int cg_processes(const struct cg_controller *c, struct arena *a, struct cg_pids *ret,
                 struct err *e);

/* The same with their identities: it was exactly they who were in there, and no successors of theirs.
 * 0; -errno, of one of whom nothing is known with all the others. */
struct cg_members {
    struct proc_id *items; /* in an arena, sorted by pid */
    size_t count;
};
int cg_members(const struct cg_controller *c, struct arena *a, struct cg_members *ret,
               struct err *e);

/* Threads, as the hierarchy with the cpu controller sees them (any v1 one if there is none). */
int cg_threads(const struct cg_controller *c, struct arena *a, struct cg_pids *ret, struct err *e);

/* Where cg_threads() reads: the directory, borrowed, and the file's name. -ENOENT: nowhere. */
int cg_threads_dir(const struct cg_controller *c, const char **ret_file);

/* Append the threads of cgroups that were made inside of it, there; 256 cgroups at most. @skip: one of them,
 * that is there and not looked into; NULL. What cannot be read is left out. */
void cg_threads_below(const struct cg_controller *c, const char *skip, struct arena *a,
                      struct cg_pids *ret);

/*
 * Whether a thread is where cg_add_thread() or cg_add_process() puts it: in this cgroup in every
 * hierarchy that can place it. 1 yes; 0 no, or the cgroup is open in none; -ESRCH it has ended.
 */
int cg_holds(const struct cg_controller *c, pid_t tid);

/* Whether a thread is in this cgroup or in one that was made inside of it, where cg_threads() lists it.
 * 1; 0; -ESRCH; other -errno. */
int cg_has_thread(const struct cg_controller *c, pid_t tid);

/*
 * cg_holds() of a process and several cgroups, at least one, of a host: it is in one of them in every hierarchy
 * that any of them is open in, also in a cgroup2 mount beside those of v1.
 */
int cg_hold_process(const struct cg_controller *const *all, size_t count, pid_t pid);

/*
 * Whether the controller, no leaf, is open in every hierarchy in which the kernel says that a process is in
 * its cgroup: also in those that could not be opened when the host was looked at. 1; 0; -ESRCH; other -errno.
 */
int cg_covers(const struct cg_controller *c, pid_t pid);

/* Whether no hierarchy has a process of this cgroup. 1 yes; 0 no; -errno: it is not known. */
int cg_is_empty(const struct cg_controller *c, struct err *e);

/* Where a process is, in each hierarchy of the host, so that it can be put back. */
struct cg_origin {
    const char *paths[CG_MAX_HIERARCHIES]; /* from the mount root; NULL: not visible; in an arena */
};

/* 0; -ESRCH. */
int cg_origin_read(const struct cg_host *host, pid_t pid, struct arena *a, struct cg_origin *ret,
                   struct err *e);
/* Put exactly this process there, or back, as cg_add_process(). 0; -ENOENT the cgroup is gone; -ESRCH; other
 * -errno of the first hierarchy that failed. The others are gone through all the same. */
int cg_origin_enter(const struct cg_host *host, const struct proc_id *id,
                    const struct cg_origin *origin, struct err *e);

#endif
