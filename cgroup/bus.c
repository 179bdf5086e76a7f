/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/bus.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Not the environment's idea of where the bus is: a hook trusts none. */
#define BUS_ADDRESS "unix:path=/run/dbus/system_bus_socket"
/* For each thing that is asked of systemd. Usual are a few milliseconds; the time is for a machine
 * that is very busy, and shorter than the timeouts that hooks are registered with. */
#define DEADLINE_MS 10000

/* ... once it was too slow: what is still asked for undoes something. */
#define RETRY_MS 2000
/* Between two tries of a manager that has gone away. */
#define PAUSE_MS 50

#define MANAGER "org.freedesktop.systemd1"

struct bus_lib bus_lib;

/* The connection of this run. */
static struct {
    sd_bus *bus;
    pid_t owner; /* a child of the process that opened it needs one of its own */
    bool loaded;
    bool deaf; /* it has not subscribed */
    bool late; /* it was too slow once */
    bool lost; /* the last failure came before the time was up */
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
    bus_lib.name = (__typeof__(&name))dlsym(library, #name);                                       \
    if (!bus_lib.name)                                                                             \
        return err_set(e, -ELIBACC, "libsystemd.so.0 has no %s: it is too old", #name);
    BUS_FUNCTIONS(LOAD)
#undef LOAD
    conn.loaded = true; /* never closed: the next scope needs it again */
    return 0;
}

uint64_t bus_left_us(unsigned long long deadline)
{
    unsigned long long now = io_now_us();

    return now >= deadline ? 0 : deadline - now;
}

unsigned long long bus_deadline(void)
{
    return io_now_us() + (conn.late ? RETRY_MS : DEADLINE_MS) * 1000ull;
}

static int bus_failed(int r, unsigned long long deadline, struct err *e, const char *what)
{
    conn.lost = bus_left_us(deadline) > 0;
    conn.late = conn.late || !conn.lost;
    conn.bus = bus_lib.sd_bus_unref(conn.bus);
    err_sys(e, r, "cannot %s", what);
    err_hint(e, "; see `systemctl status dbus`, or use the runtime's cgroupfs manager");
    return r;
}

/* One round of the connection's work. 1: go on; -ETIMEDOUT; other -errno. */
static int turn(unsigned long long deadline)
{
    int r = bus_lib.sd_bus_process(conn.bus, NULL);

    if (r != 0)
        return r < 0 ? r : 1;
    if (bus_left_us(deadline) == 0)
        return -ETIMEDOUT;
    r = bus_lib.sd_bus_wait(conn.bus, bus_left_us(deadline));
    return r < 0 && r != -EINTR ? r : 1;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const char *path, *unit, *result;
    uint32_t id;

    (void)userdata;
    (void)error;
    if (bus_lib.sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 &&
        str_eq(path, conn.job))
        snprintf(conn.result, sizeof conn.result, "%s", result);
    return 0;
}

int bus_new_object_call(sd_bus_message **ret, const char *path, const char *interface,
                        const char *method)
{
    return bus_lib.sd_bus_message_new_method_call(conn.bus, ret, MANAGER, path, interface, method);
}

int bus_new_call(sd_bus_message **ret, const char *method)
{
    return bus_new_object_call(ret, BUS_MANAGER_PATH, BUS_MANAGER_INTERFACE, method);
}

/* systemd sends its signals only to a bus on which somebody has subscribed. */
static int subscribe(unsigned long long deadline)
{
    sd_bus_message *m = NULL;
    int r = bus_lib.sd_bus_add_match(conn.bus, NULL,
                                     "type='signal',sender='" MANAGER "',path='" BUS_MANAGER_PATH
                                     "',interface='" BUS_MANAGER_INTERFACE "',member='JobRemoved'",
                                     on_job_removed, NULL);

    if (r >= 0)
        r = bus_new_call(&m, "Subscribe");
    if (r >= 0)
        r = bus_lib.sd_bus_call(conn.bus, m, bus_left_us(deadline), NULL, NULL);
    bus_lib.sd_bus_message_unref(m);
    return r;
}

static int connect_bus(unsigned long long deadline, bool *ret_connected)
{
    int r = bus_lib.sd_bus_new(&conn.bus);

    if (r >= 0)
        r = bus_lib.sd_bus_set_address(conn.bus, BUS_ADDRESS);
    if (r >= 0)
        r = bus_lib.sd_bus_set_bus_client(conn.bus, 1);
    if (r >= 0)
        r = bus_lib.sd_bus_start(conn.bus);
    /* Not left to the first call, which would wait for as long as the library thinks right. */
    while (r >= 0 && (r = bus_lib.sd_bus_is_ready(conn.bus)) == 0)
        r = turn(deadline);
    *ret_connected = r >= 0;
    return r < 0 || conn.deaf ? r : subscribe(deadline);
}

int bus_open(unsigned long long deadline, struct err *e)
{
    int r = load_library(e);
    bool connected = false;

    if (r < 0)
        return r;
    if (conn.owner != getpid()) {
        conn.owner = getpid();
        conn.bus = NULL;
        conn.late = false;
    }
    conn.lost = false;
    if (conn.bus)
        return 0;
    /* Without a bus there is nobody to wait for. */
    while ((r = connect_bus(deadline, &connected)) < 0) {
        bus_failed(r, deadline, e, "connect to systemd through " BUS_ADDRESS);
        if (!connected || !conn.lost)
            return r;
        err_reset(e);
        io_sleep_ms(PAUSE_MS);
    }
    conn.lost = false;
    return 0;
}

int bus_open_deaf(unsigned long long deadline, struct err *e)
{
    bus_leave();
    conn.deaf = true;
    return bus_open(deadline, e);
}

void bus_leave(void)
{
    if (conn.bus && conn.owner == getpid())
        conn.bus = bus_lib.sd_bus_unref(conn.bus);
    conn.deaf = false;
}

bool bus_ask_again(int r, unsigned long long deadline, struct err *e)
{
    while (r < 0 && conn.lost && bus_left_us(deadline) > 0) {
        err_reset(e);
        io_sleep_ms(PAUSE_MS);
        r = bus_open(deadline, e);
        if (r == 0)
            return true;
    }
    return false;
}

static bool is_answer(const sd_bus_error *error)
{
    return error->name && !bus_lib.sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) &&
           !bus_lib.sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT);
}

int bus_call(sd_bus_message *m, int r, unsigned long long deadline, sd_bus_message **ret,
             const char *what, const char *unit, struct err *e)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    uint64_t left = bus_left_us(deadline);

    if (r < 0) {
        bus_lib.sd_bus_message_unref(m);
        return err_sys(e, r, "cannot make the call to %s %s", what, unit);
    }
    /* 0 would mean the library's own default. */
    r = bus_lib.sd_bus_call(conn.bus, m, left ? left : 1, &error, ret);
    bus_lib.sd_bus_message_unref(m);
    if (r >= 0)
        r = 0;
    else if (bus_lib.sd_bus_error_has_name(&error, "org.freedesktop.systemd1.UnitExists"))
        r = -EEXIST;
    else if (bus_lib.sd_bus_error_has_name(&error, "org.freedesktop.systemd1.NoSuchUnit"))
        r = -ENOENT;
    else if (is_answer(&error))
        err_set(e, r, "systemd refuses to %s %s: %s", what, unit,
                error.message ? error.message : error.name);
    else
        bus_failed(r, deadline, e, "get an answer from systemd");
    bus_lib.sd_bus_error_free(&error);
    return r;
}

int bus_wait_job(sd_bus_message *reply, unsigned long long deadline, const char *what,
                 const char *unit, struct err *e)
{
    const char *path;
    int r = bus_lib.sd_bus_message_read(reply, "o", &path);

    if (r >= 0)
        snprintf(conn.job, sizeof conn.job, "%s", path);
    bus_lib.sd_bus_message_unref(reply);
    conn.result[0] = '\0';
    while (r >= 0 && conn.result[0] == '\0')
        r = turn(deadline);
    if (r < 0)
        return bus_failed(r, deadline, e, "wait for systemd's job");
    if (!str_eq(conn.result, "done"))
        return err_set(e, -EIO,
                       "systemd could not %s %s: its job ended with \"%s\"; see "
                       "`journalctl -u %s`",
                       what, unit, conn.result, unit);
    return 0;
}
