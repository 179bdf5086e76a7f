/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/systemd.h"

#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/bus.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

/* ---- properties ---- */

static int append_devices(sd_bus_message *m, const struct cg_property *p)
{
    int r = bus_lib.sd_bus_message_open_container(m, 'v', "a(ss)");

    if (r >= 0)
        r = bus_lib.sd_bus_message_open_container(m, 'a', "(ss)");
    for (size_t i = 0; r >= 0 && i < p->count; i++)
        r = bus_lib.sd_bus_message_append(m, "(ss)", p->devices[i].node, p->devices[i].access);
    if (r >= 0)
        r = bus_lib.sd_bus_message_close_container(m);
    return r < 0 ? r : bus_lib.sd_bus_message_close_container(m);
}

static int append_bytes(sd_bus_message *m, const struct cg_property *p)
{
    int r = bus_lib.sd_bus_message_open_container(m, 'v', "ay");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append_array(m, 'y', p->bytes, p->count);
    return r < 0 ? r : bus_lib.sd_bus_message_close_container(m);
}

static int append_property(sd_bus_message *m, const struct cg_property *p)
{
    int r = bus_lib.sd_bus_message_open_container(m, 'r', "sv");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "s", p->name);
    if (r < 0)
        return r;
    switch (p->kind) {
    case CG_PROPERTY_NUMBER:
        r = bus_lib.sd_bus_message_append(m, "v", "t", p->number);
        break;
    case CG_PROPERTY_STRING:
        r = bus_lib.sd_bus_message_append(m, "v", "s", p->text);
        break;
    case CG_PROPERTY_BYTES:
        r = append_bytes(m, p);
        break;
    case CG_PROPERTY_DEVICES:
        r = append_devices(m, p);
        break;
    }
    return r < 0 ? r : bus_lib.sd_bus_message_close_container(m);
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
    int r = bus_lib.sd_bus_message_append(
        m, "(sv)(sv)(sv)(sv)", "Description", "s", "Sandbox cgroup of oci-sandbox-cgroup", "Slice",
        "s", u->slice, "Delegate", "b", 1, "PIDs", "au", 1, (uint32_t)u->first);

    /* As the runtime's own scope: not stopped at shutdown before what stops the containers. */
    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "(sv)(sv)", "DefaultDependencies", "b", 0,
                                          "CollectMode", "s", "inactive-or-failed");
    /* Accounting is what makes systemd put the scope into a v1 hierarchy at all; and into blkio it
     * must, or it would empty our cgroup there as soon as some other unit has an IO property. */
    return r < 0 ? r
                 : bus_lib.sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "CPUAccounting", "b", 1,
                                                 "MemoryAccounting", "b", 1, "TasksAccounting", "b",
                                                 1, "IOAccounting", "b", 1);
}

/* The slice and those above it ("a-b.slice" lies in "a.slice"), each to be stopped by systemd when
 * no scope needs it any more. */
static int append_slices(sd_bus_message *m, const char *slice)
{
    int r = bus_lib.sd_bus_message_open_container(m, 'a', "(sa(sv))");

    for (size_t i = 1; r >= 0 && slice[i]; i++) {
        char name[NAME_MAX + 1];

        if (slice[i] != '-' && slice[i] != '.')
            continue;
        snprintf(name, sizeof name, "%.*s.slice", (int)i, slice);
        r = bus_lib.sd_bus_message_append(m, "(sa(sv))", name, 2, "StopWhenUnneeded", "b", 1,
                                          "CollectMode", "s", "inactive-or-failed");
        if (slice[i] == '.')
            break;
    }
    return r < 0 ? r : bus_lib.sd_bus_message_close_container(m);
}

/* ---- scopes ---- */

/* Whether StartTransientUnit may describe the slices as well. */
enum slices { SLICES_AS_THEY_ARE, SLICES_MADE };

static int start_once(const struct cg_unit *u, const struct cg_properties *properties,
                      enum slices slices, unsigned long long deadline, struct err *e)
{
    sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(&m, "StartTransientUnit");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "ss", u->name, "replace");
    if (r >= 0)
        r = bus_lib.sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_scope(m, u);
    if (r >= 0)
        r = append_properties(m, properties);
    if (r >= 0)
        r = bus_lib.sd_bus_message_close_container(m);
    if (r >= 0)
        r = slices == SLICES_MADE ? append_slices(m, u->slice)
                                  : bus_lib.sd_bus_message_append(m, "a(sa(sv))", 0);
    r = bus_call(m, r, deadline, &reply, "start", u->name, e);
    return r < 0 ? r : bus_wait_job(reply, deadline, "start", u->name, e);
}

/* One call with the unit's name as its only argument. */
static int call_by_name(const char *method, const char *unit, unsigned long long deadline,
                        sd_bus_message **ret, const char *what, struct err *e)
{
    sd_bus_message *m = NULL;
    int r = bus_new_call(&m, method);

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "s", unit);
    return bus_call(m, r, deadline, ret, what, unit, e);
}

/* A property of an object of systemd's. */
static int get_property(const char *path, const char *interface, const char *property,
                        unsigned long long deadline, sd_bus_message **ret, const char *unit,
                        struct err *e)
{
    sd_bus_message *m = NULL;
    int r = bus_new_object_call(&m, path, "org.freedesktop.DBus.Properties", "Get");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "ss", interface, property);
    return bus_call(m, r, deadline, ret, "tell a property of", unit, e);
}

/* One that is a text. */
static int get_text(const char *path, const char *interface, const char *property,
                    unsigned long long deadline, char *buf, size_t size, const char *unit,
                    struct err *e)
{
    sd_bus_message *reply = NULL;
    const char *text;
    int r = get_property(path, interface, property, deadline, &reply, unit, e);

    if (r == 0 && bus_lib.sd_bus_message_read(reply, "v", "s", &text) >= 0)
        snprintf(buf, size, "%s", text);
    bus_lib.sd_bus_message_unref(reply);
    return r;
}

/* The object of a unit that is there. 0; -ENOENT, without a text; other -errno. */
static int find_unit(const char *unit, unsigned long long deadline, char path[static PATH_MAX],
                     struct err *e)
{
    sd_bus_message *reply = NULL;
    const char *text;
    int r = call_by_name("GetUnit", unit, deadline, &reply, "look for", e);

    if (r < 0)
        return r;
    r = bus_lib.sd_bus_message_read(reply, "o", &text);
    if (r >= 0)
        snprintf(path, PATH_MAX, "%s", text);
    bus_lib.sd_bus_message_unref(reply);
    return r < 0 ? r : 0;
}

/* "active", "failed", "deactivating", ... ; "" when there is no such unit. */
static int read_state(const char *unit, unsigned long long deadline, char *state, size_t size,
                      struct err *e)
{
    char path[PATH_MAX];
    int r = find_unit(unit, deadline, path, e);

    state[0] = '\0';
    if (r == 0)
        r = get_text(path, BUS_UNIT_INTERFACE, "ActiveState", deadline, state, size, unit, e);
    return r == -ENOENT ? 0 : r;
}

/* "" for a unit that has none. 0; -ENOENT, without a text: there is no such unit; other -errno. */
static int read_invocation(const char *unit, unsigned long long deadline,
                           char id[static CG_INVOCATION_SIZE], struct err *e)
{
    sd_bus_message *reply = NULL;
    const void *bytes = NULL;
    char path[PATH_MAX];
    size_t size = 0;
    int r = find_unit(unit, deadline, path, e);

    id[0] = '\0';
    if (r == 0)
        r = get_property(path, BUS_UNIT_INTERFACE, "InvocationID", deadline, &reply, unit, e);
    if (r < 0)
        return r;
    r = bus_lib.sd_bus_message_enter_container(reply, 'v', "ay");
    if (r >= 0)
        r = bus_lib.sd_bus_message_read_array(reply, 'y', &bytes, &size);
    for (size_t i = 0; r >= 0 && i < size && 2 * i + 2 < CG_INVOCATION_SIZE; i++)
        snprintf(id + 2 * i, 3, "%02x", ((const unsigned char *)bytes)[i]);
    bus_lib.sd_bus_message_unref(reply);
    return r < 0 ? err_sys(e, r, "cannot read the answer of systemd about %s", unit) : 0;
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
        if (bus_left_us(deadline) == 0)
            return err_sys(e, -ETIMEDOUT, "%s stays in the state \"%s\"", u->name, state);
        io_sleep_ms(20);
    }
    r = call_by_name("ResetFailedUnit", u->name, deadline, NULL, "reset", e);
    return r == -ENOENT ? 0 : r;
}

/* Whether the scope that exists is the one that we asked for, with our process in it. */
static bool holds_first(const struct cg_unit *u, unsigned long long deadline)
{
    sd_bus_message *m = NULL, *reply = NULL;
    char path[PATH_MAX] = "";
    const char *of_first = "";
    int r = bus_new_call(&m, "GetUnitByPID");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "u", (uint32_t)u->first);
    r = bus_call(m, r, deadline, &reply, "look for the process of", u->name, NULL);
    if (r == 0)
        r = find_unit(u->name, deadline, path, NULL);
    if (r == 0)
        r = bus_lib.sd_bus_message_read(reply, "o", &of_first);
    r = r >= 0 && *path && str_eq(of_first, path);
    bus_lib.sd_bus_message_unref(reply);
    return r;
}

/* A start whose answer got lost may have been carried out. */
static int start(struct cg_unit *u, const struct cg_properties *properties,
                 unsigned long long deadline, struct err *e)
{
    enum slices slices = u->own_slice ? SLICES_MADE : SLICES_AS_THEY_ARE;
    bool was_lost = false;

    for (;;) {
        int r = start_once(u, properties, slices, deadline, e);

        if (bus_ask_again(r, deadline, e)) {
            was_lost = true;
            continue;
        }
        if (r != -EEXIST || (was_lost && holds_first(u, deadline)))
            return r == -EEXIST ? 0 : r;
        /* One that exists is described already, by another sandbox of ours or by the operator. */
        if (slices == SLICES_MADE) {
            slices = SLICES_AS_THEY_ARE;
            continue;
        }
        r = make_room(u, deadline, e);
        if (r < 0 && !bus_ask_again(r, deadline, e))
            return r;
        if (bus_left_us(deadline) == 0)
            return err_sys(e, -ETIMEDOUT, "cannot start %s: it keeps existing", u->name);
    }
}

int cg_unit_start(struct cg_unit *u, const struct cg_properties *properties, struct err *e)
{
    unsigned long long deadline = bus_deadline();
    int r = bus_open(deadline, e);

    if (r < 0)
        return r;
    if (u->expected) {
        r = cg_unit_set(u, properties, e);
        if (r != -ENOENT)
            return r;
        err_reset(e); /* it was collected meanwhile */
    }
    r = start(u, properties, deadline, e);
    u->started = r == 0;
    if (r == -ENOENT)
        return err_sys(e, r, "cannot start %s", u->name);
    if (r < 0)
        return r;
    /* Without it the scope is what has its name. */
    while (bus_ask_again(read_invocation(u->name, deadline, u->invocation, NULL), deadline, NULL))
        ;
    return 0;
}

static int set_once(const struct cg_unit *u, const struct cg_properties *properties,
                    unsigned long long deadline, struct err *e)
{
    sd_bus_message *m = NULL;
    int r = bus_new_call(&m, "SetUnitProperties");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "sb", u->name, 1);
    if (r >= 0)
        r = bus_lib.sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = append_properties(m, properties);
    if (r >= 0)
        r = bus_lib.sd_bus_message_close_container(m);
    return bus_call(m, r, deadline, NULL, "change", u->name, e);
}

int cg_unit_set(const struct cg_unit *u, const struct cg_properties *properties, struct err *e)
{
    unsigned long long deadline = bus_deadline();
    int r = bus_open(deadline, e);

    if (r < 0)
        return r;
    do {
        r = set_once(u, properties, deadline, e);
        /* It answers before it writes, but writes before it reads the next message (manager_loop() in
         * systemd's src/core/manager.c). */
        if (r == 0)
            r = call_by_name("GetUnit", u->name, deadline, NULL, "wait for", e);
    } while (bus_ask_again(r, deadline, e));
    return r == -ENOENT ? err_sys(e, r, "cannot change the limits of %s", u->name) : r;
}

int cg_unit_is_ours(const struct cg_unit *u, struct err *e)
{
    unsigned long long deadline = bus_deadline();
    char now[CG_INVOCATION_SIZE] = "";
    int r;

    if (!u->invocation[0])
        return 1;
    r = bus_open(deadline, e);
    if (r < 0)
        return r;
    do {
        r = read_invocation(u->name, deadline, now, e);
    } while (bus_ask_again(r, deadline, e));
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return str_eq(now, u->invocation) ? 1 : -EEXIST;
}

static int stop_once(const struct cg_unit *u, unsigned long long deadline, struct err *e)
{
    sd_bus_message *m = NULL, *reply = NULL;
    int r = bus_new_call(&m, "StopUnit");

    if (r >= 0)
        r = bus_lib.sd_bus_message_append(m, "ss", u->name, "replace");
    r = bus_call(m, r, deadline, &reply, "stop", u->name, e);
    return r < 0 ? r : bus_wait_job(reply, deadline, "stop", u->name, e);
}

int cg_unit_stop(const struct cg_unit *u, struct err *e)
{
    unsigned long long deadline = bus_deadline();
    int r = cg_unit_is_ours(u, e);

    if (r > 0)
        r = bus_open(deadline, e);
    else if (r == 0)
        return 0;
    if (r < 0)
        return r;
    do {
        r = stop_once(u, deadline, e);
    } while (bus_ask_again(r, deadline, e));
    return r == -ENOENT ? 0 : r; /* collected already */
}

#define COLLECT_TRIES    7
#define COLLECT_PAUSE_MS 10u /* then twice as much; 1.3 s in all */

/* Hold it, if it has ended. 1; 0: it has not, or has failed; -ENOENT, without a text; other -errno. */
static int hold(const char *name, unsigned long long deadline, struct err *e)
{
    char path[PATH_MAX], state[32] = "";
    sd_bus_message *m = NULL;
    int r = find_unit(name, deadline, path, e);

    if (r == 0)
        r = get_text(path, BUS_UNIT_INTERFACE, "ActiveState", deadline, state, sizeof state, name,
                     e);
    if (r < 0 || !str_eq(state, "inactive"))
        return r;
    r = bus_new_object_call(&m, path, BUS_UNIT_INTERFACE, "Ref");
    r = bus_call(m, r, deadline, NULL, "take hold of", name, e);
    return r < 0 ? r : 1;
}

/* What systemd has to say of the unit itself, or to hear of its cgroup, may be in the way of one look. */
int cg_unit_collect(const char *name, struct err *e)
{
    unsigned long long deadline = bus_deadline();

    for (unsigned i = 0; i < COLLECT_TRIES; i++) {
        int r = bus_open_deaf(deadline, e);

        if (r < 0)
            return r;
        do {
            r = hold(name, deadline, e);
        } while (bus_ask_again(r, deadline, e));
        bus_leave();
        if (r <= 0)
            return r == -ENOENT ? 0 : r;
        io_sleep_ms(COLLECT_PAUSE_MS << i);
        if (cg_unit_is_known(name) == 0)
            return 0;
    }
    return err_set(e, -EBUSY, "systemd keeps %s", name);
}

int cg_systemd_probe(char *version, size_t size, struct err *e)
{
    unsigned long long deadline = bus_deadline();
    int r = bus_open(deadline, e);

    return r < 0 ? r
                 : get_text(BUS_MANAGER_PATH, BUS_MANAGER_INTERFACE, "Version", deadline, version,
                            size, "systemd", e);
}

bool cg_systemd_is_here(void)
{
    return true;
}
