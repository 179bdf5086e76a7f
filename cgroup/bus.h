/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CGROUP_BUS_H
#define CGROUP_BUS_H

/*
 * The connection to systemd's manager, and calls of it. Internal to cgroup/.
 *
 * It is opened by the first call of this run. One that breaks is opened anew by the next call, so that
 * what was begun can be undone; once the manager has been too slow it gets less time.
 */

#include <stdbool.h>
#include <systemd/sd-bus.h>

struct err;

#define BUS_MANAGER_PATH      "/org/freedesktop/systemd1"
#define BUS_MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"
#define BUS_UNIT_INTERFACE    "org.freedesktop.systemd1.Unit"

/*
 * libsystemd is opened here, by the first call for a scope, and not linked: the path through
 * cgroupfs must not pay for it (1.3 ms at each start and a megabyte of memory). Function pointers
 * have the types of the header's declarations, so the compiler checks every call.
 */
#define BUS_FUNCTIONS(F)                                                                           \
    F(sd_bus_new)                                                                                  \
    F(sd_bus_set_address)                                                                          \
    F(sd_bus_set_bus_client)                                                                       \
    F(sd_bus_start)                                                                                \
    F(sd_bus_is_ready)                                                                             \
    F(sd_bus_process)                                                                              \
    F(sd_bus_wait)                                                                                 \
    F(sd_bus_call)                                                                                 \
    F(sd_bus_add_match)                                                                            \
    F(sd_bus_unref)                                                                                \
    F(sd_bus_message_new_method_call)                                                              \
    F(sd_bus_message_append)                                                                       \
    F(sd_bus_message_append_array)                                                                 \
    F(sd_bus_message_open_container)                                                               \
    F(sd_bus_message_close_container)                                                              \
    F(sd_bus_message_read)                                                                         \
    F(sd_bus_message_enter_container)                                                              \
    F(sd_bus_message_read_array)                                                                   \
    F(sd_bus_message_unref)                                                                        \
    F(sd_bus_error_free)                                                                           \
    F(sd_bus_error_has_name)

struct bus_lib {
#define POINTER(name) __typeof__(&name) name;
    BUS_FUNCTIONS(POINTER)
#undef POINTER
};
extern struct bus_lib bus_lib; /* usable once bus_open() has succeeded */

/* Now and the time that the manager gets for one thing; how much of that is left. */
unsigned long long bus_deadline(void);
uint64_t bus_left_us(unsigned long long deadline);

/* Nothing happens when it is open. 0; -errno with what to do. */
int bus_open(unsigned long long deadline, struct err *e);
/* The same, without hearing of jobs: systemd does not forget a unit of which it has to tell somebody first
 * (unit_may_gc() in its src/core/unit.c). */
int bus_open_deaf(unsigned long long deadline, struct err *e);
/* The next one who asks connects anew. */
void bus_leave(void);

/* A call of a method of the manager; of an object. Errors go to bus_call(). */
int bus_new_call(sd_bus_message **ret, const char *method);
int bus_new_object_call(sd_bus_message **ret, const char *path, const char *interface,
                        const char *method);

/*
 * Send a call and take the answer. @m is released; @r is what putting it together came to. -EEXIST
 * and -ENOENT without a message when systemd says that the unit exists or does not; what these
 * mean, the callers know.
 */
int bus_call(sd_bus_message *m, int r, unsigned long long deadline, sd_bus_message **ret,
             const char *what, const char *unit, struct err *e);

/* Wait for the job that a call has answered with. */
int bus_wait_job(sd_bus_message *reply, unsigned long long deadline, const char *what,
                 const char *unit, struct err *e);

/*
 * Whether the last failure was a connection, or a manager, that went away before it had answered, as it
 * does in a daemon-reexec: it may be asked again, after a moment, and may have done what it was asked for.
 * True only while there is time, and with the connection open again.
 */
bool bus_ask_again(int r, unsigned long long deadline, struct err *e);

#endif
