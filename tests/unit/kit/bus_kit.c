/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/bus_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNITS     8
#define CALLS     256
#define TOLD_SIZE 1024

struct unit {
    char name[128], slice[128];
    unsigned invocation; /* 0: free */
    bool has_ended, held;
};

/* What is passed through the library's opaque pointers. */
struct bus {
    bool broken;
};

struct message {
    char method[48], first[256], second[256]; /* a call's first two texts */
    char path[300], text[128];                /* an answer's */
    char unit[128];
    char properties[TOLD_SIZE];
    unsigned char bytes[16];
};

struct error {
    const char *name, *message;
    int need_free;
};

typedef int (*handler_fn)(struct message *m, void *userdata, struct error *error);

/* By all processes that the test's has forked. */
struct shared {
    struct unit units[UNITS];
    char told[TOLD_SIZE];
};

static struct {
    bool begun;
    struct shared *shared;
    struct unit *latest; /* which the process of any start is in */
    unsigned started, jobs;
    int hidden; /* an errno */
    handler_fn handler;
    struct message done; /* the signal of a job that has ended */
    bool is_done;
    char calls[CALLS][48];
    unsigned count, fail_at, fail_count;
    char fail_error[96];
    bool heard;
} kit;

static int library;

void kit_bus_begin(void)
{
    kit.begun = true;
    if (!kit.shared)
        kit.shared = mmap(NULL, sizeof *kit.shared, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(kit.shared, MAP_FAILED);
    memset(kit.shared, 0, sizeof *kit.shared);
    kit_bus_fail(0, 0, "", false);
}

static struct unit *find(const char *name)
{
    for (size_t i = 0; i < UNITS; i++) {
        if (kit.shared->units[i].invocation && str_eq(kit.shared->units[i].name, name))
            return &kit.shared->units[i];
    }
    return NULL;
}

/* Tests have slices without a dash. */
static void cgroup_of(const struct unit *u, char path[static 280])
{
    snprintf(path, 280, "/%.127s/%.127s", u->slice, u->name);
}

void kit_bus_start(const char *name, const char *slice)
{
    struct unit *u = kit.shared->units;
    char path[280];

    while (u->invocation)
        cr_assert_lt(++u - kit.shared->units, UNITS);
    snprintf(u->name, sizeof u->name, "%s", name);
    snprintf(u->slice, sizeof u->slice, "%s", slice);
    u->invocation = ++kit.started;
    cgroup_of(u, path);
    kit_tree_make(path);
}

bool kit_bus_has(const char *name)
{
    return find(name) != NULL;
}

unsigned kit_bus_invocation(const char *name)
{
    const struct unit *u = find(name);

    return u ? u->invocation : 0;
}

static void remove_cgroup(const struct unit *u)
{
    autodir dir = io_opendir_at(AT_FDCWD, kit_tree_dir);
    struct dirent *entry;
    char cgroup[280];

    cgroup_of(u, cgroup);
    while ((entry = io_next_entry(dir))) {
        autofd fd = openat(dirfd(dir), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
            unlinkat(fd, cgroup + 1, AT_REMOVEDIR);
    }
}

void kit_bus_end(const char *name)
{
    struct unit *u = find(name);

    cr_assert(u);
    remove_cgroup(u);
    u->has_ended = true;
}

void kit_bus_collect(const char *name)
{
    struct unit *u = find(name);

    if (!u)
        return;
    remove_cgroup(u);
    *u = (struct unit){0};
}

void kit_bus_hide(int error)
{
    kit.hidden = error;
}

void kit_bus_fail(unsigned n, unsigned count, const char *error, bool heard)
{
    kit.count = 0;
    kit.fail_at = n;
    kit.fail_count = count;
    snprintf(kit.fail_error, sizeof kit.fail_error, "%s", error);
    kit.heard = heard;
}

/* What does not fit is left out. */
static void add_text(char *text, const char *more)
{
    size_t len = strlen(text);

    snprintf(text + len, TOLD_SIZE - len, "%s", more);
}

const char *kit_bus_told(void)
{
    static char told[TOLD_SIZE];

    memcpy(told, kit.shared->told, sizeof told);
    kit.shared->told[0] = '\0';
    return told;
}

unsigned kit_bus_calls(const char *method)
{
    unsigned count = 0;

    for (unsigned i = 0; i < kit.count && i < CALLS; i++)
        count += !method || str_eq(kit.calls[i], method);
    return count;
}

const char *kit_bus_last_call(void)
{
    return kit.count > 0 && kit.count <= CALLS ? kit.calls[kit.count - 1] : "";
}

/* --- the library --- */

static int bus_new(struct bus **ret)
{
    *ret = calloc(1, sizeof **ret);
    return 0;
}

static int bus_address(struct bus *bus, const char *address)
{
    (void)bus, (void)address;
    return 0;
}

static int bus_client(struct bus *bus, int is)
{
    (void)bus, (void)is;
    return 0;
}

static int bus_start(struct bus *bus)
{
    (void)bus;
    return 0;
}

static int bus_is_ready(struct bus *bus)
{
    return bus->broken ? -ENOTCONN : 1;
}

static int bus_process(struct bus *bus, struct message **ret)
{
    (void)ret;
    if (bus->broken)
        return -ENOTCONN;
    if (!kit.is_done)
        return 0;
    kit.is_done = false;
    kit.handler(&kit.done, NULL, NULL);
    return 1;
}

static int bus_wait(struct bus *bus, uint64_t us)
{
    (void)bus, (void)us;
    usleep(1000);
    return 1;
}

static int bus_match(struct bus *bus, void **slot, const char *match, handler_fn fn, void *arg)
{
    (void)bus, (void)slot, (void)match, (void)arg;
    kit.handler = fn;
    return 0;
}

/* Who was held by somebody who has left is looked at. */
static struct bus *bus_unref(struct bus *bus)
{
    for (struct unit *u = kit.shared->units; bus && u < kit.shared->units + UNITS; u++) {
        if (u->invocation && u->held && u->has_ended)
            kit_bus_collect(u->name);
        u->held = false;
    }
    free(bus);
    return NULL;
}

static int new_call(struct bus *bus, struct message **ret, const char *to, const char *path,
                    const char *interface, const char *method)
{
    (void)bus, (void)to, (void)interface;
    *ret = calloc(1, sizeof **ret);
    snprintf((*ret)->method, sizeof(*ret)->method, "%s", method);
    snprintf((*ret)->path, sizeof(*ret)->path, "%s", path);
    return 0;
}

/* The texts that a call begins with are kept, the slice of a scope, and the names of properties. */
static int append(struct message *m, const char *types, ...)
{
    va_list ap;

    va_start(ap, types);
    if (str_eq(types, "s") && m->first[0]) {
        add_text(m->properties, va_arg(ap, const char *));
        add_text(m->properties, " ");
    } else if (types[0] == 's' && !m->first[0])
        snprintf(m->first, sizeof m->first, "%s", va_arg(ap, const char *));
    if (str_eq(types, "ss") && m->first[0] && !m->second[0])
        snprintf(m->second, sizeof m->second, "%s", va_arg(ap, const char *));
    if (str_eq(types, "(sv)(sv)(sv)(sv)") && str_eq(va_arg(ap, const char *), "Description")) {
        (void)va_arg(ap, const char *);
        (void)va_arg(ap, const char *);
        (void)va_arg(ap, const char *);
        (void)va_arg(ap, const char *);
        snprintf(m->text, sizeof m->text, "%s", va_arg(ap, const char *));
    }
    va_end(ap);
    return 0;
}

static int append_array(struct message *m, char type, const void *p, size_t size)
{
    (void)m, (void)type, (void)p, (void)size;
    return 0;
}

static int open_container(struct message *m, char type, const char *contents)
{
    (void)m, (void)type, (void)contents;
    return 0;
}

static int close_container(struct message *m)
{
    (void)m;
    return 0;
}

static int message_read(struct message *m, const char *types, ...)
{
    va_list ap;

    va_start(ap, types);
    if (str_eq(types, "o")) {
        *va_arg(ap, const char **) = m->path;
    } else if (str_eq(types, "v")) {
        (void)va_arg(ap, const char *);
        *va_arg(ap, const char **) = m->text;
    } else {
        *va_arg(ap, uint32_t *) = 1;
        *va_arg(ap, const char **) = m->path;
        *va_arg(ap, const char **) = m->unit;
        *va_arg(ap, const char **) = m->text;
    }
    va_end(ap);
    return 1;
}

static int read_array(struct message *m, char type, const void **p, size_t *size)
{
    (void)type;
    *p = m->bytes;
    *size = sizeof m->bytes;
    return 1;
}

static struct message *message_unref(struct message *m)
{
    free(m);
    return NULL;
}

static void error_free(struct error *e)
{
    *e = (struct error){0};
}

static int error_has_name(const struct error *e, const char *name)
{
    return e && e->name && str_eq(e->name, name);
}

static int refuse(struct error *e, const char *name, int r)
{
    if (e)
        *e = (struct error){.name = name, .message = name};
    return r;
}

static void end_job(struct message *answer, const char *unit)
{
    snprintf(answer->path, sizeof answer->path, "/job/%u", ++kit.jobs);
    kit.done = *answer;
    snprintf(kit.done.unit, sizeof kit.done.unit, "%s", unit);
    snprintf(kit.done.text, sizeof kit.done.text, "done");
    kit.is_done = true;
}

static int carry_out(const struct message *m, struct message *answer, struct error *e)
{
    /* An object of a unit is "/unit/NAME". */
    const char *name = str_starts(m->path, "/unit/") ? m->path + 6 : m->first;
    struct unit *u = str_eq(m->method, "GetUnitByPID") ? kit.latest : find(name);

    if (u)
        name = u->name;
    if (str_eq(m->method, "Subscribe") || str_eq(m->method, "ResetFailedUnit"))
        return 0;
    if (str_eq(m->method, "StartTransientUnit")) {
        if (u)
            return refuse(e, "org.freedesktop.systemd1.UnitExists", -EEXIST);
        kit_bus_start(name, m->text);
        kit.latest = find(name);
        end_job(answer, name);
        return 0;
    }
    if (!u)
        return refuse(e, "org.freedesktop.systemd1.NoSuchUnit", -ENOENT);
    if (str_eq(m->method, "SetUnitProperties")) {
        add_text(kit.shared->told, m->properties);
    } else if (str_eq(m->method, "Ref")) {
        u->held = true;
    } else if (str_eq(m->method, "StopUnit")) {
        kit_bus_collect(name);
        end_job(answer, name);
    } else if (str_eq(m->method, "GetUnit") || str_eq(m->method, "GetUnitByPID")) {
        snprintf(answer->path, sizeof answer->path, "/unit/%s", name);
    } else if (str_eq(m->method, "Get")) {
        snprintf(answer->text, sizeof answer->text, u->has_ended ? "inactive" : "active");
        answer->bytes[15] = (unsigned char)u->invocation;
    }
    return 0;
}

static int bus_call(struct bus *bus, struct message *m, uint64_t us, struct error *e,
                    struct message **ret)
{
    struct message *answer = calloc(1, sizeof *answer);
    bool fails = kit.count + 1 >= kit.fail_at && kit.count + 1 < kit.fail_at + kit.fail_count;
    int r = 0;

    (void)us;
    if (kit.count < CALLS)
        memcpy(kit.calls[kit.count], m->method, sizeof m->method);
    kit.count++;
    if (bus->broken || (fails && kit.fail_error[0] == '\0')) {
        bus->broken = true;
        r = -ENOTCONN;
    } else if (!fails || kit.heard) {
        r = carry_out(m, answer, e);
    }
    if (fails && !bus->broken)
        r = refuse(e, kit.fail_error, -ETIMEDOUT);
    if (r == 0 && ret)
        *ret = answer;
    else
        free(answer);
    return r;
}

/* --- the files that it has of its units --- */

int __real_cg_unit_is_known(const char *name);
int __wrap_cg_unit_is_known(const char *name);

int __wrap_cg_unit_is_known(const char *name)
{
    return !kit.begun   ? __real_cg_unit_is_known(name)
           : kit.hidden ? -kit.hidden
                        : kit_bus_has(name);
}

/* --- how it is opened --- */

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *handle, const char *name);

void *__wrap_dlopen(const char *name, int flags)
{
    return kit.begun ? &library : __real_dlopen(name, flags);
}

typedef void (*any_fn)(void);

void *__wrap_dlsym(void *handle, const char *name)
{
    static const struct {
        const char *name;
        any_fn fn;
    } functions[] = {
#define F(function, fn) {#function, (any_fn)(fn)}
        F(sd_bus_new, bus_new),
        F(sd_bus_set_address, bus_address),
        F(sd_bus_set_bus_client, bus_client),
        F(sd_bus_start, bus_start),
        F(sd_bus_is_ready, bus_is_ready),
        F(sd_bus_process, bus_process),
        F(sd_bus_wait, bus_wait),
        F(sd_bus_call, bus_call),
        F(sd_bus_add_match, bus_match),
        F(sd_bus_unref, bus_unref),
        F(sd_bus_message_new_method_call, new_call),
        F(sd_bus_message_append, append),
        F(sd_bus_message_append_array, append_array),
        F(sd_bus_message_open_container, open_container),
        F(sd_bus_message_close_container, close_container),
        F(sd_bus_message_enter_container, open_container),
        F(sd_bus_message_read, message_read),
        F(sd_bus_message_read_array, read_array),
        F(sd_bus_message_unref, message_unref),
        F(sd_bus_error_free, error_free),
        F(sd_bus_error_has_name, error_has_name),
#undef F
    };

    if (handle != &library)
        return __real_dlsym(handle, name);
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
        if (str_eq(functions[i].name, name))
            return (void *)functions[i].fn;
    }
    return NULL;
}
