/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_PLAN_KIT_H
#define TESTS_UNIT_KIT_PLAN_KIT_H

/* A plan from text. JSON has ' for the double quote. */

#include "base/arena.h"
#include "base/err.h"
#include "hook/plan/plan.h"

/* A host with everything but /dev/mshv and /dev/iommu; one without virtualisation, and without most
 * of the rest; ... */
enum nodes { USUAL, FEW, MSHV, KVM_ALONE, NO_NODES };

struct kit_given {
    enum stage stage; /* STAGE_NONE: prestart */
    enum cg_mode mode;
    const char *state;    /* members of the state beside its id; NULL: none */
    const char *id;       /* NULL: c1 */
    const char *config;   /* NULL: {} */
    const char *settings; /* NULL: {} */
    struct json_bool argument;
    enum nodes nodes;
    bool no_config;
    const char *others[2]; /* resources */
};

struct kit_made {
    struct arena arena;
    struct oci_state state;
    struct oci_config config;
    struct settings settings;
    struct facts facts;
    struct aggregate_member others[2];
    struct plan_input in;
    struct plan plan;
    struct err e;
    int r;
};

void kit_made_free(struct kit_made *m);

#define MADE __attribute__((cleanup(kit_made_free))) struct kit_made

struct facts kit_facts_of(enum cg_mode mode, enum nodes nodes);

/* The input of the plan; the plan of it; and both. */
void kit_prepare(struct kit_made *m, const struct kit_given *g);
int kit_plan(struct kit_made *m, struct plan *ret);
void kit_make(struct kit_made *m, const struct kit_given *g);

void kit_read_hook(struct arena *a, const char *text, struct settings *ret);

/* The input, for messages. */
const char *kit_show(struct kit_made *m, const struct kit_given *g);

/* "pids.max=5; " for each. */
const char *kit_plan_files(struct arena *a, const struct cg_files *files);

#define ONLY ((struct json_bool){true, true})

#define NESTED "{'layout':'nested'}"

#define CRI(type)                                                                                  \
    "'annotations':{'io.kubernetes.cri.container-type':'" type                                     \
    "','io.kubernetes.cri.sandbox-id':'s1'}"

#define SINGLE    NULL
#define SANDBOX   CRI("sandbox")
#define CONTAINER CRI("container")

#define CGROUPS_PATH(path) "{'linux':{'cgroupsPath':'" path "'}}"

#define DEVICES(list) "{'linux':{'resources':{'devices':[" list "]}}}"

#define RESOURCES(r) "{'linux':{'resources':" r "}}"
#define FULL                                                                                       \
    "{'cpu':{'shares':1024,'quota':50000,'period':100000,'cpus':'0-1','mems':'0'},"                \
    "'memory':{'limit':1048576,'swap':3145728},'pids':{'limit':10},"                               \
    "'hugepageLimits':[{'pageSize':'2MB','limit':4194304}]}"

#define LOOSEN "{'annotations':{'io.katacontainers.config.runtime.sandbox_cgroup_only':'false'}}"

#define MEMORY RESOURCES("{'memory':{'limit':1048576}}")

#endif
