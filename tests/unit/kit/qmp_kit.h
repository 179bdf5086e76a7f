/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_KIT_QMP_KIT_H
#define TESTS_UNIT_KIT_QMP_KIT_H

/* A place for sockets, and a monitor that says what it is told. */

#include "hook/vcpu/qmp.h"

/* What a query that must time out is given, and what a slow machine may make of it. */
#define SHORT_MS         200
#define SHORT_AT_MOST_MS (10 * SHORT_MS)
/* What a query that must not time out is given. */
#define LONG_MS 20000

/* A suite's .init and .fini. */
void kit_make_place(void);
void kit_remove_place(void);

extern char kit_place[64];
const char *kit_in_place(struct arena *a, const char *name);

/* -1 and errno, for use in children as well. */
int kit_bind_at(const char *path, int type);
int kit_listen_at(const char *path);

#define GREETING        "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}},\"capabilities\":[\"oob\"]}}\r\n"
#define READY           "{\"return\":{},\"id\":\"qmp_capabilities\"}\r\n"
#define CPU(tid, index) "{\"thread-id\":" tid ",\"cpu-index\":" index "}"
#define CPUS(list)      "{\"return\":[" list "],\"id\":\"query-cpus-fast\"}\r\n"
#define EVENT           "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,\"microseconds\":2.5}}\r\n"

#define TIMES_8(s) s s s s s s s s
#define DEEP       TIMES_8(TIMES_8("[") "[") TIMES_8("]" TIMES_8("]"))

struct kit_monitor {
    /* NULL: silent until the client goes; "": closes. "@" is our process id. */
    const char *says[3]; /* at once, after a first and a second line from the client */
    unsigned nap_us;     /* between single bytes; 0: all at once */
    int listener;
    unsigned heard; /* lines */
    char lines[256];
};

/* The monitor's thread; and what it does to say something. */
void *kit_serve(void *monitor);
bool kit_say(const struct kit_monitor *m, int fd, const char *text);

/* "tid:index ..." with "@" for our process id, or "ENAME". */
const char *kit_cpus_text(struct arena *a, int r, const struct vcpu_kvm *cpus);

/* Ask a process on one socket. */
int kit_query_socket(pid_t pid, const char *path, int timeout_ms, struct arena *a,
                     struct vcpu_kvm *ret, struct err *e);

/* Ask our own process, whose monitor is @m at @path. */
const char *kit_ask_monitor(struct kit_monitor *m, const char *path, int timeout_ms,
                            struct arena *a, struct err *e);

#endif
