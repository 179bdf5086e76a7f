/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULT_WORLD_H
#define TESTS_FAULT_WORLD_H

/*
 * What a run takes place in: cgroups beneath one name in every hierarchy of the host, containers whose
 * runtime is played, and the state directory. Whatever has been started is a child of this program in the end, as
 * it is a subreaper: so what is left of a run can be told, and ended, without looking at anybody else's.
 */

#include "tests/fault/trace.h"

#include <limits.h>

enum { HIERARCHIES_MAX = 24, WHERE_SIZE = 4096, TEXT_SIZE = 8192 };

struct hierarchy {
    char dir[256];
    char names[128]; /* as /proc/PID/cgroup has them; "" is that of v2 */
};

enum layout { NESTED, SIBLING, SIBLING_ONLY, LAYOUTS };

struct container {
    char id[32];
    char own[80];                        /* the runtime's cgroup */
    pid_t pid;                           /* its init; 0: none */
    pid_t more;                          /* another process of it; 0: none */
    char was[WHERE_SIZE];                /* where init is before any stage */
    const char *annotations, *resources; /* of config.json */
};

struct world {
    bool systemd;    /* it manages the runtime's cgroups, as OSC_MANAGER has it */
    char base[48];   /* the cgroup of all of this; with systemd that of a slice */
    char prefix[24]; /* of the names of scopes */
    char work[64];   /* directory */
    char state[96], conf[96], program[PATH_MAX];
    const char *settings; /* more members of the configuration; NULL: none */
    struct hierarchy hierarchies[HIERARCHIES_MAX];
    size_t count;
    enum layout layout;
};
extern struct world world;

const char *layout_word(enum layout layout);

/* Of this host; and make what all runs share. */
void world_open(const char *program);
void world_close(void);

/* For who plays the runtime of other containers than these: a cgroup in every hierarchy, whose parents are there. */
void make_cgroup(const char *path);
void remove_cgroup(const char *path);
void enter(pid_t pid, const char *path);
void set_own_quota(const char *path);

/* Whether a runtime could limit that here. */
bool has_controller(const char *name);

/* A program of our own, by which its processes can be told. */
void copy_program(const char *from, const char *to);

bool is_alive(pid_t pid);

/* From here on the containers are of this layout. */
void world_configure(enum layout layout);

/* ID, its cgroup below the parent's name or the base, and its bundle. */
void container_init(struct container *c, const char *parent, const char *id,
                    const char *annotations, const char *resources);

/* Its cgroups, and a sleeping process in them. */
void container_start(struct container *c);

/* One more process where init is now; with threads of a VMM, if it is one. */
void container_add(struct container *c, bool vmm);

/* Init ends; everything ends. */
void container_end_init(struct container *c);
void container_end(struct container *c);

/* Run the program with @words behind the options of this world, the state of @c and @status as input. */
void world_run(const char *const *words, const struct container *c, const char *status,
               const struct call *at, int what, struct calls *seen, struct outcome *ret);

/* Where a process is, as /proc/PID/cgroup has it; "" when it has ended. */
void where_is(pid_t pid, char ret[WHERE_SIZE]);

/* The cgroup of the hierarchy with these names, as of where_is(). */
bool where_in(const char *where, const char *names, char ret[PATH_MAX]);

/* Every file with a limit, of the cgroups that where_is() has given. With @only: of that hierarchy. */
void limits_of(const char *where, const struct hierarchy *only, char ret[TEXT_SIZE]);

/* The pid of the recorded watcher if it is alive, else 0. */
pid_t watcher_of(const char *sandbox_id);

/* End one that the program has started. */
void end_process(pid_t pid);

/* What is there beyond the containers' own processes and cgroups; "" for nothing. */
void what_is_left(char ret[TEXT_SIZE]);

/* The same, once nothing more goes, for at most so long. */
bool nothing_left(unsigned ms, char ret[TEXT_SIZE]);

/* A lock that nobody lets go; "" for none. */
void held_locks(char ret[TEXT_SIZE]);

/* End the containers' processes. */
void world_end(void);

/* After a failure, that the next run is not blamed for it. */
void world_clear(void);

#endif
