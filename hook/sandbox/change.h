/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_CHANGE_H
#define HOOK_SANDBOX_CHANGE_H

/*
 * Limits and devices of a sandbox whose containers change: what has to be written when one comes or
 * goes, and what when that fails.
 */

#include "hook/plan/plan.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"

/* Everything that can be in force now and is not in @after has to be taken away explicitly. */
struct change {
    struct cg_files files; /* to write: limits that are no more, then those that are planned */
    struct cg_dev_table devices;
    struct cg_files files_back; /* to write when that has failed in the middle */
    struct cg_dev_table devices_back;
    bool can_go_back, devices_can_go_back;
    bool keeps_devices; /* set by the caller: the device list is not changed */
};

/* The warning about a list that stays in force although it is one of more containers; with why. */
#define CHANGE_KEPT_DEVICES                                                                        \
    "the sandbox keeps its device list, which is also that of containers that are gone: %s"

struct change_input {
    const struct settings *settings;
    const struct facts *facts;
    bool systemd, sandbox_cgroup_only;
    /*
     * The containers of the record, whose limits together hold again if the change fails. A kill in
     * the middle of a stage may have left the limits of any of them, alone or together, in force; a
     * stage that adds or removes a container sees to it that the record names no fewer.
     */
    const struct json_list *before;
};

/*
 * Decide. @after  the plan of the sandbox as it will be; gets a warning for what cannot be taken
 * away. Pure, and never fails: limits or devices that cannot be derived (the configuration file
 * was changed, or a list stayed that is none of theirs) are not gone back to.
 */
void change_make(const struct change_input *in, struct plan *after, struct arena *a,
                 struct change *ret);

/*
 * Put the limits and devices into force, in an existing sandbox that is loaded. A device list that
 * the host cannot express (-ENOTSUP) leaves the one that is there, with a warning in the log: it is
 * the list of more containers.
 * 0; -errno of the first step that failed: change_revert() is next.
 */
int change_apply(const struct change *c, struct sandbox *s, struct err *e);

/* Go back, as far as the kernel lets us. Never fails. */
void change_revert(const struct change *c, struct sandbox *s);

#endif
