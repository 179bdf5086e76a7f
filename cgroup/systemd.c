/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/systemd.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

/* Not the environment's idea of where the bus is: a hook trusts none. */
#define BUS_ADDRESS "unix:path=/run/dbus/system_bus_socket"
/* For each thing that is asked of systemd. Usual are a few milliseconds; the time is for a machine
 * that is very busy, and shorter than the timeouts that hooks are registered with. */
#define DEADLINE_MS 10000

#define MANAGER           "org.freedesktop.systemd1"
#define MANAGER_PATH      "/org/freedesktop/systemd1"
#define MANAGER_INTERFACE "org.freedesktop.systemd1.Manager"

/*
 * libsystemd is opened here, by the first call for a scope, and not linked: the path through
 * cgroupfs must not pay for it (1.3 ms at each start and a megabyte of memory). Function pointers
 * have the types of the header's declarations, so the compiler checks every call.
 */
#define FUNCTIONS(F)                                                                               \
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
    F(sd_bus_message_unref)                                                                        \
    F(sd_bus_error_free)                                                                           \
    F(sd_bus_error_has_name)

static struct {
#define POINTER(name) __typeof__(&name) name;
    FUNCTIONS(POINTER)
#undef POINTER
} lib;

/* The connection of this run. It is opened once, and ends with the process. */
static struct {
    sd_bus *bus;
    pid_t owner; /* a child of the process that opened it needs one of its own */
    bool loaded;
    int broken; /* a negative errno: it was too slow once, or is not there */
    char job[128];
    char result[32]; /* of that job, "" while it runs */
} conn;

static int load_library(struct err *e)
{
    void *library;

    if (conn.loaded)
        return 0;
    library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(e, -ELIBACC, "cannot open libsystemd.so.0, which scopes need: %s",
                       dlerror());
#define LOAD(name)                                                                                 \
    lib.name = (__typeof__(&name))dlsym(library, #name);                                           \
    if (!lib.name)                                                                                 \
        return err_set(e, -ELIBACC, "libsystemd.so.0 has no %s: it is too old", #name);
    FUNCTIONS(LOAD)
#undef LOAD
    conn.loaded = true; /* never closed: the next scope needs it again */
    return 0;
}

static uint64_t left_us(unsigned long long deadline)
{
    unsigned long long now = io_now_us();

    return now >= deadline ? 0 : deadline - now;
}

static unsigned long long new_deadline(void)
{
    return io_now_us() + (unsigned long long)DEADLINE_MS * 1000;
}

static int bus_failed(int r, struct err *e, const char *what)
{
    conn.broken = r;
    err_sys(e, r, "cannot %s", what);
    err_hint(e, "; see `systemctl status dbus`, or use the runtime's cgroupfs manager");
    return r;
}

/* One round of the connection's work. 1: go on; -ETIMEDOUT; other -errno. */
static int turn(unsigned long long deadline)
{
    int r = lib.sd_bus_process(conn.bus, NULL);

    if (r != 0)
        return r < 0 ? r : 1;
    if (left_us(deadline) == 0)
        return -ETIMEDOUT;
    r = lib.sd_bus_wait(conn.bus, left_us(deadline));
    return r < 0 && r != -EINTR ? r : 1;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const char *path, *unit, *result;
    uint32_t id;

    (void)userdata;
    (void)error;
    if (lib.sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 &&
        str_eq(path, conn.job))
        snprintf(conn.result, sizeof conn.result, "%s", result);
    return 0;
}

static int new_call(sd_bus_message **ret, const char *method)
{
    return lib.sd_bus_message_new_method_call(conn.bus, ret, MANAGER, MANAGER_PATH,
                                              MANAGER_INTERFACE, method);
}

/* systemd sends its signals only to a bus on which somebody has subscribed. */
static int subscribe(unsigned long long deadline)
{
    sd_bus_message *m = NULL;
    int r = lib.sd_bus_add_match(conn.bus, NULL,
                                 "type='signal',sender='" MANAGER "',path='" MANAGER_PATH
                                 "',interface='" MANAGER_INTERFACE "',member='JobRemoved'",
                                 on_job_removed, NULL);

    if (r >= 0)
        r = new_call(&m, "Subscribe");
    if (r >= 0)
        r = lib.sd_bus_call(conn.bus, m, left_us(deadline), NULL, NULL);
    lib.sd_bus_message_unref(m);
    return r;
}

static int connect_bus(unsigned long long deadline)
{
    int r = lib.sd_bus_new(&conn.bus);

    if (r >= 0)
        r = lib.sd_bus_set_address(conn.bus, BUS_ADDRESS);
    if (r >= 0)
        r = lib.sd_bus_set_bus_client(conn.bus, 1);
    if (r >= 0)
        r = lib.sd_bus_start(conn.bus);
    /* Not left to the first call, which would wait for as long as the library thinks right. */
    while (r >= 0 && (r = lib.sd_bus_is_ready(conn.bus)) == 0)
        r = turn(deadline);
    return r < 0 ? r : subscribe(deadline);
}

static int open_bus(unsigned long long deadline, struct err *e)
{
    int r = load_library(e);

    if (r < 0)
        return r;
    if (conn.owner != getpid()) {
        conn.owner = getpid();
        conn.bus = NULL;
        conn.broken = 0;
    }
    if (conn.bus && !conn.broken)
        return 0;
    if (conn.broken)
        return err_sys(e, conn.broken, "systemd cannot be asked, as before");
    r = connect_bus(deadline);
    return r < 0 ? bus_failed(r, e, "connect to systemd through " BUS_ADDRESS) : 0;
}

static bool is_answer(const sd_bus_error *error)
{
    return error->name && !lib.sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) &&
           !lib.sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT);
}

/*
 * Send a call and take the answer. @m is released; @r is what putting it together came to. -EEXIST
 * and -ENOENT without a message when systemd says that the unit exists or does not; what these
 * mean, the callers know.
 */
static int call(sd_bus_message *m, int r, unsigned long long deadline, sd_bus_message **ret,
                const char *what, const char *unit, struct err *e)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    uint64_t left = left_us(deadline);

    if (r < 0) {
        lib.sd_bus_message_unref(m);
        return err_sys(e, r, "cannot make the call to %s %s", what, unit);
    }
    /* 0 would mean the library's own default. */
    r = lib.sd_bus_call(conn.bus, m, left ? left : 1, &error, ret);
    lib.sd_bus_message_unref(m);
    if (r >= 0)
        r = 0;
    else if (lib.sd_bus_error_has_name(&error, "org.freedesktop.systemd1.UnitExists"))
        r = -EEXIST;
    else if (lib.sd_bus_error_has_name(&error, "org.freedesktop.systemd1.NoSuchUnit"))
        r = -ENOENT;
    else if (is_answer(&error))
        err_set(e, r, "systemd refuses to %s %s: %s", what, unit,
                error.message ? error.message : error.name);
    else
        bus_failed(r, e, "get an answer from systemd");
    lib.sd_bus_error_free(&error);
    return r;
}

/* Wait for the job that a call has answered with. */
static int wait_job(sd_bus_message *reply, unsigned long long deadline, const char *what,
                    const char *unit, struct err *e)
{
    const char *path;
    int r = lib.sd_bus_message_read(reply, "o", &path);

    if (r >= 0)
        snprintf(conn.job, sizeof conn.job, "%s", path);
    lib.sd_bus_message_unref(reply);
    conn.result[0] = '\0';
    while (r >= 0 && conn.result[0] == '\0')
        r = turn(deadline);
    if (r < 0)
        return bus_failed(r, e, "wait for systemd's job");
    if (!str_eq(conn.result, "done"))
        return err_set(e, -EIO,
                       "systemd could not %s %s: its job ended with \"%s\"; see "
                       "`journalctl -u %s`",
                       what, unit, conn.result, unit);
    return 0;
}

/* ---- properties ---- */

static int append_devices(sd_bus_message *m, const struct cg_property *p)
{
    int r = lib.sd_bus_message_open_container(m, 'v', "a(ss)");

    if (r >= 0)
        r = lib.sd_bus_message_open_container(m, 'a', "(ss)");
    for (size_t i = 0; r >= 0 && i < p->count; i++)
        r = lib.sd_bus_message_append(m, "(ss)", p->devices[i].node, p->devices[i].access);
    if (r >= 0)
        r = lib.sd_bus_message_close_container(m);
    return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

static int append_bytes(sd_bus_message *m, const struct cg_property *p)
{
    int r = lib.sd_bus_message_open_container(m, 'v', "ay");

    if (r >= 0)
        r = lib.sd_bus_message_append_array(m, 'y', p->bytes, p->count);
    return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

static int append_property(sd_bus_message *m, const struct cg_property *p)
{
    int r = lib.sd_bus_message_open_container(m, 'r', "sv");

    if (r >= 0)
        r = lib.sd_bus_message_append(m, "s", p->name);
    if (r < 0)
        return r;
    switch (p->kind) {
    case CG_PROPERTY_NUMBER:
        r = lib.sd_bus_message_append(m, "v", "t", p->number);
        break;
    case CG_PROPERTY_STRING:
        r = lib.sd_bus_message_append(m, "v", "s", p->text);
        break;
    case CG_PROPERTY_BYTES:
        r = append_bytes(m, p);
        break;
    case CG_PROPERTY_DEVICES:
        r = append_devices(m, p);
        break;
    }
    return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

static int append_properties(sd_bus_message *m, const struct cg_properties *properties)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < properties->count; i++)
        r = append_property(m, &properties->items[i]);
    return r;
}

/* What every scope of ours is, whatever its limits. */
static int append_scope(sd_bus_message *m, const struct cg_unit *u)
{
    int r = lib.sd_bus_message_append(
        m, "(sv)(sv)(sv)(sv)", "Description", "s", "Sandbox cgroup of oci-sandbox-cgroup", "Slice",
        "s", u->slice, "Delegate", "b", 1, "PIDs", "au", 1, (uint32_t)u->first);

    /* As the runtime's own scope: not stopped at shutdown before what stops the containers. */
    if (r >= 0)
        r = lib.sd_bus_message_append(m, "(sv)(sv)", "DefaultDependencies", "b", 0, "CollectMode",
                                      "s", "inactive-or-failed");
    /* Accounting is what makes systemd put the scope into a v1 hierarchy at all; and into blkio it
     * must, or it would empty our cgroup there as soon as some other unit has an IO property. */
    return r < 0 ? r
                 : lib.sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "CPUAccounting", "b", 1,
                                             "MemoryAccounting", "b", 1, "TasksAccounting", "b", 1,
                                             "IOAccounting", "b", 1);
}

/* The slice and those above it ("a-b.slice" lies in "a.slice"), each to be stopped by systemd when
 * no scope needs it any more. */
static int append_slices(sd_bus_message *m, const char *slice)
{
    int r = lib.sd_bus_message_open_container(m, 'a', "(sa(sv))");

    for (size_t i = 1; r >= 0 && slice[i]; i++) {
        char name[NAME_MAX + 1];

        if (slice[i] != '-' && slice[i] != '.')
            continue;
        snprintf(name, sizeof name, "%.*s.slice", (int)i, slice);
        r = lib.sd_bus_message_append(m, "(sa(sv))", name, 2, "StopWhenUnneeded", "b", 1,
                                      "CollectMode", "s", "inactive-or-failed");
        if (slice[i] == '.')
            break;
    }
    return r < 0 ? r : lib.sd_bus_message_close_container(m);
}

/* ---- scopes ---- */

/* Whether StartTransientUnit may describe the slices as well. */
enum slices { SLICES_AS_THEY_ARE, SLICES_MADE };

static int start_once(const struct cg_unit *u, const struct cg_properties *properties,
                      enum slices slices, unsigned long long deadline, struct err *e)
{
    sd_bus_message *m = NULL, *reply = NULL;
    int r = new_call(&m, "StartTransientUnit");

    if (r >= 0)
        r = lib.sd_bus_message_append(m, "ss", u->name, "replace");
    if (r >= 0)
        r = lib.sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_scope(m, u);
    if (r >= 0)
        r = append_properties(m, properties);
    if (r >= 0)
        r = lib.sd_bus_message_close_container(m);
    if (r >= 0)
        r = slices == SLICES_MADE ? append_slices(m, u->slice)
                                  : lib.sd_bus_message_append(m, "a(sa(sv))", 0);
    r = call(m, r, deadline, &reply, "start", u->name, e);
    return r < 0 ? r : wait_job(reply, deadline, "start", u->name, e);
}

/* One call with the unit's name as its only argument. */
static int call_by_name(const char *method, const char *unit, unsigned long long deadline,
                        sd_bus_message **ret, const char *what, struct err *e)
{
    sd_bus_message *m = NULL;
    int r = new_call(&m, method);

    if (r >= 0)
        r = lib.sd_bus_message_append(m, "s", unit);
    return call(m, r, deadline, ret, what, unit, e);
}

/* A property of an object of systemd's that is a text. */
static int get_text(const char *path, const char *interface, const char *property,
                    unsigned long long deadline, char *buf, size_t size, const char *unit,
                    struct err *e)
{
    sd_bus_message *m = NULL, *reply = NULL;
    const char *text;
    int r = lib.sd_bus_message_new_method_call(conn.bus, &m, MANAGER, path,
                                               "org.freedesktop.DBus.Properties", "Get");

    if (r >= 0)
        r = lib.sd_bus_message_append(m, "ss", interface, property);
    r = call(m, r, deadline, &reply, "tell a property of", unit, e);
    if (r == 0 && lib.sd_bus_message_read(reply, "v", "s", &text) >= 0)
        snprintf(buf, size, "%s", text);
    lib.sd_bus_message_unref(reply);
    return r;
}

/* "active", "failed", "deactivating", ... ; "" when there is no such unit. */
static int read_state(const char *unit, unsigned long long deadline, char *state, size_t size,
                      struct err *e)
{
    sd_bus_message *reply = NULL;
    const char *path;
    int r = call_by_name("GetUnit", unit, deadline, &reply, "look for", e);

    state[0] = '\0';
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    r = lib.sd_bus_message_read(reply, "o", &path);
    if (r >= 0)
        r = get_text(path, "org.freedesktop.systemd1.Unit", "ActiveState", deadline, state, size,
                     unit, e);
    lib.sd_bus_message_unref(reply);
    return r == -ENOENT ? 0 : r;
}

/* A unit of this name is known already. 0: it can be started now. */
static int make_room(const struct cg_unit *u, unsigned long long deadline, struct err *e)
{
    char state[32];
    int r;

    for (;;) {
        r = read_state(u->name, deadline, state, sizeof state, e);
        if (r < 0)
            return r;
        if (str_eq(state, "active"))
            return err_set(e, -EEXIST,
                           "%s runs already, and no record of ours tells of it; stop it "
                           "(`systemctl stop %s`), or give the container another cgroupsPath",
                           u->name, u->name);
        if (!str_eq(state, "deactivating") && !str_eq(state, "activating"))
            break;
        if (left_us(deadline) == 0)
            return err_sys(e, -ETIMEDOUT, "%s stays in the state \"%s\"", u->name, state);
        io_sleep_ms(20);
    }
    r = call_by_name("ResetFailedUnit", u->name, deadline, NULL, "reset", e);
    return r == -ENOENT ? 0 : r;
}

int cg_unit_start(struct cg_unit *u, const struct cg_properties *properties, struct err *e)
{
    unsigned long long deadline = new_deadline();
    enum slices slices = u->own_slice ? SLICES_MADE : SLICES_AS_THEY_ARE;
    int r = open_bus(deadline, e);

    if (r < 0)
        return r;
    if (u->expected) {
        r = cg_unit_set(u, properties, e);
        if (r != -ENOENT)
            return r;
        err_reset(e); /* it was collected meanwhile */
    }
    for (;;) {
        r = start_once(u, properties, slices, deadline, e);
        if (r != -EEXIST)
            break;
        /* One that exists is described already, by another sandbox of ours or by the operator. */
        if (slices == SLICES_MADE) {
            slices = SLICES_AS_THEY_ARE;
            continue;
        }
        r = make_room(u, deadline, e);
        if (r < 0)
            return r;
        if (left_us(deadline) == 0)
            return err_sys(e, -ETIMEDOUT, "cannot start %s: it keeps existing", u->name);
    }
    u->started = r == 0;
    if (r == -ENOENT)
        return err_sys(e, r, "cannot start %s", u->name);
    return r;
}

int cg_unit_set(const struct cg_unit *u, const struct cg_properties *properties, struct err *e)
{
    unsigned long long deadline = new_deadline();
    sd_bus_message *m = NULL;
    int r = open_bus(deadline, e);

    if (r < 0)
        return r;
    r = new_call(&m, "SetUnitProperties");
    if (r >= 0)
        r = lib.sd_bus_message_append(m, "sb", u->name, 1);
    if (r >= 0)
        r = lib.sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_properties(m, properties);
    if (r >= 0)
        r = lib.sd_bus_message_close_container(m);
    r = call(m, r, deadline, NULL, "change", u->name, e);
    return r == -ENOENT ? err_sys(e, r, "cannot change the limits of %s", u->name) : r;
}

int cg_unit_stop(const struct cg_unit *u, struct err *e)
{
    unsigned long long deadline = new_deadline();
    sd_bus_message *m = NULL, *reply = NULL;
    int r = open_bus(deadline, e);

    if (r < 0)
        return r;
    r = new_call(&m, "StopUnit");
    if (r >= 0)
        r = lib.sd_bus_message_append(m, "ss", u->name, "replace");
    r = call(m, r, deadline, &reply, "stop", u->name, e);
    if (r == -ENOENT) /* collected already */
        return 0;
    return r < 0 ? r : wait_job(reply, deadline, "stop", u->name, e);
}

int cg_systemd_probe(char *version, size_t size, struct err *e)
{
    unsigned long long deadline = new_deadline();
    int r = open_bus(deadline, e);

    return r < 0 ? r
                 : get_text(MANAGER_PATH, MANAGER_INTERFACE, "Version", deadline, version, size,
                            "systemd", e);
}
