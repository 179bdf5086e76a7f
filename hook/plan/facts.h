/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_FACTS_H
#define HOOK_PLAN_FACTS_H

/*
 * What a decision needs to know of the host, gathered before it is made: so that deciding stays
 * pure, and a test can decide for a host that it does not have.
 */

#include "cgroup/host.h"
#include "hook/plan/settings.h"

#include <stdbool.h>

struct device_node {
    const char *path;
    bool exists;
    char type; /* 'c' or 'b' */
    unsigned major, minor;
};

struct facts {
    enum cg_mode mode;
    bool foreign;          /* cg_host_is_foreign(); facts_gather() does not ask */
    bool no_device_rules;  /* the kernel takes none from us: facts_refuse_devices() */
    bool cpuacct_with_cpu; /* one v1 hierarchy has both controllers: facts_add_host() */
    struct device_node *nodes;
    size_t node_count;
    const char *unseen; /* a path that could not be looked at, with the -errno; NULL: all were */
    int unseen_error;
};

/* The nodes that the hook adds on its own account. A missing one is skipped. */
extern const char *const facts_default_devices[];
extern const size_t facts_default_device_count;
/* One of these must exist for a VMM to run guests at speed. */
extern const char *const facts_hypervisor_devices[];
extern const size_t facts_hypervisor_device_count;
extern const char *const facts_virtualization_devices[];
extern const size_t facts_virtualization_device_count;

/* What a path leads to, as stat(2) says. 0; -ENODEV it is no device; other -errno. */
int facts_look(const char *path, struct device_node *ret);

/*
 * stat(2) all of these and the paths of settings->extra_devices. Never fails: plan_limits() does, if one of them
 * is neither there nor missing. @own: the device rules are to be ours, so that facts_default_devices matter.
 */
void facts_gather(enum cg_mode mode, const struct settings *settings, bool own, struct arena *a,
                  struct facts *ret);

/*
 * Whether device rules can be set: v1 wants CAP_SYS_ADMIN of the host for each, and v2 a BPF program,
 * so who is root of a user namespace alone, with cgroups of its own (LXC, Incus), cannot.
 */
bool facts_refuse_devices(enum cg_mode mode);

/* What the mounted hierarchies tell besides their mode. */
void facts_add_host(struct facts *facts, const struct cg_host *host);

/* Whether one of facts_hypervisor_devices exists, as far as the paths were asked about. */
bool facts_has_hypervisor(const struct facts *facts);

/* NULL when the path was not asked about or does not exist. */
const struct device_node *facts_device(const struct facts *facts, const char *path);

#endif
