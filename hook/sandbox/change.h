/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_SANDBOX_CHANGE_H
#define HOOK_SANDBOX_CHANGE_H

/*
 * Limits and devices of a sandbox whose containers change: from the record to what plan_limits()
 * asks for, and from what it says to the record and into force.
 *
 * Files are recorded before they are written, with those that are still to be taken away; so what
 * is to be taken away is what is recorded and not planned, whatever was killed in between.
 */

#include "hook/plan/plan.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/sandbox.h"

/* Containers of a record as plan_limits() counts them. The array lives in @a. */
const struct aggregate_member *change_members(const struct json_list *containers,
                                              const char *sandbox_id, struct arena *a);

/*
 * The basis for limits of a sandbox that is recorded; @r NULL: there is none yet.
 * A record of schema 1 names no files: everything that any of its containers, alone or together,
 * would have set counts as recorded.
 */
struct plan_basis change_basis(const struct settings *settings, const struct facts *facts,
                               bool systemd, bool sandbox_cgroup_only, const struct record *r,
                               struct arena *a);

/*
 * What the limits of a recorded sandbox are with @containers, all of its own or what is left of them.
 * @basis  is set, and good as long as @a is.
 * 0; errors as plan_limits().
 */
int change_plan(const struct settings *settings, const struct cg_host *host, const struct record *r,
                const struct json_list *containers, struct arena *a, struct plan_basis *basis,
                struct plan_limits *limits, struct err *e);

/* Before writing: let a record name the files of @limits and those still to be taken away. */
void change_note(const struct plan_basis *basis, const struct plan_limits *limits, struct arena *a,
                 struct record *r);

/* When all is in force: let it name the files of @limits alone. Whether anything was taken away, so
 * that the record is another than change_note() made it. */
bool change_settle(const struct plan_limits *limits, struct arena *a, struct record *r);

/*
 * v1: let @limits keep what somebody else, such as the prestart hook of a vendor, has allowed or denied
 * in the sandbox cgroup since it was made: in what is in force there and what the containers of
 * @before have is different. (Denials of a lone container only.) What add-device and remove-device have said comes
 * behind that.
 * 0; -errno what is in force cannot be read, or said together with the rest.
 */
int change_adopt(const struct plan_basis *basis, const struct record *before,
                 const struct cg_host *host, struct arena *a, struct plan_limits *limits,
                 struct err *e);

/*
 * v1: whether the device list of @limits is another than the one in force, as after a verb that was killed when it had
 * recorded it. Where either allows all but some nobody can tell, and it is not.
 * 1; 0; -errno as change_adopt().
 */
int change_is_due(const struct plan_limits *limits, const struct record *r,
                  const struct cg_host *host, struct arena *a, struct err *e);

/*
 * The runtime has changed the limits of a container of @r to @now: that is its last word, also where `update` had one,
 * but for what the runtime had said before that and nobody had seen yet.
 * @print  of the runtime's cgroup, from which @now is, as `update` has recorded it.
 */
void change_take(struct record *r, struct record_container *c, const struct oci_resources *now,
                 uint64_t print, struct arena *a);

/*
 * Put the limits into force in an existing sandbox that is loaded.
 * 0; -errno of the first step that failed: change_revert() is next.
 */
int change_apply(const struct plan_limits *limits, struct sandbox *s, struct err *e);

/*
 * The limits of @before, to go back to from @limits; devices only if those were to change, and then with what
 * change_adopt() has found others to have changed. Pure. False: they cannot be derived any more, and are not gone
 * back to.
 */
bool change_back(const struct plan_basis *basis, const struct plan_limits *limits,
                 const struct record *before, struct arena *a, struct plan_limits *ret);

/* Go back, as far as the kernel lets us. Whether everything is as it was: else a record still has to
 * name what may be set. */
bool change_revert(const struct plan_basis *basis, const struct plan_limits *limits,
                   const struct record *before, struct sandbox *s);

#endif
