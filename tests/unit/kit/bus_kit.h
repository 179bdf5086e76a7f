/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_BUS_KIT_H
#define TESTS_UNIT_KIT_BUS_KIT_H

/*
 * A systemd of the test's own, in the place of the library by which it is asked: cgroup/systemd.c opens
 * libsystemd with dlopen(3), for which the program is linked with a wrapper. It knows scopes by name,
 * makes and removes their cgroups in the tree of tree_kit.h, and does nothing by itself.
 */

#include <stdbool.h>

/* A new one, until the end of the test's process. */
void kit_bus_begin(void);

/* A scope that somebody else has started, in this slice; its cgroup is made. */
void kit_bus_start(const char *unit, const char *slice);

/* Whether it is there; and which start of a scope, from 1, it is. */
bool kit_bus_has(const char *unit);
unsigned kit_bus_invocation(const char *unit);

/* Forget one, as systemd does with a scope that is empty; its cgroup goes. */
void kit_bus_collect(const char *unit);

/* It has ended, and its cgroup with it, but nothing makes systemd see that it can be forgotten. */
void kit_bus_end(const char *unit);

/* Whether systemd knows any unit cannot be seen: this error; 0: it can again. */
void kit_bus_hide(int error);

/*
 * The @n-th call from now fails, and @count of them: @error is the name of a D-Bus error, "" that the
 * connection is broken for good. Those that are heard all the same are carried out.
 */
void kit_bus_fail(unsigned n, unsigned count, const char *error, bool heard);

/* Which properties were changed of scopes since it began or this was called, by whatever process of the test's: the
 * names in the order of sending, each followed by a blank. */
const char *kit_bus_told(void);

/* How many calls of a method there were since the last kit_bus_fail(); NULL: of all. */
unsigned kit_bus_calls(const char *method);
/* The method of the last of them; "" there was none. */
const char *kit_bus_last_call(void);

#endif
