/* SPDX-License-Identifier: Apache-2.0 */

/* QMP sockets in QEMU's command line. See qmp.h; the option syntax is that of QEMU's
 * util/qemu-option.c. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hook/vcpu/qmp.h"

/* -chardev sockets that are remembered for -mon to refer to. */
#define CHARDEVS_MAX 256

struct option {
    const char *key, *value;
};

/* A value ends at a comma; two commas are one of the value. */
static const char *option_value(const char **cursor, struct arena *a)
{
    const char *p = *cursor, *end = p;
    char *value, *out;

    while (*end && (end[0] != ',' || end[1] == ','))
        end += *end == ',' ? 2 : 1;
    value = out = arena_alloc(a, (size_t)(end - p) + 1);
    for (; p < end; p += *p == ',' ? 2 : 1)
        *out++ = *p;
    *cursor = end;
    return value;
}

/*
 * Split off the next of QEMU's "key=value,..." options. @first: the key of a first option that is a
 * bare value; NULL for later ones, which are flags: "server" is server=on, "nowait" is wait=off.
 */
static bool next_option(const char **cursor, const char *first, struct arena *a, struct option *ret)
{
    const char *p = *cursor;
    size_t len = strcspn(p, "=,");

    if (!*p)
        return false;
    if (p[len] == '=') {
        ret->key = arena_strndup(a, p, len);
        p += len + 1;
        ret->value = option_value(&p, a);
    } else if (first) {
        ret->key = first;
        ret->value = option_value(&p, a);
    } else {
        bool off = len > 2 && str_starts(p, "no");

        ret->key = arena_strndup(a, p + (off ? 2 : 0), len - (off ? 2 : 0));
        ret->value = off ? "off" : "on";
        p += len;
    }
    *cursor = *p == ',' ? p + 1 : p;
    return true;
}

static bool is_on(const char *value)
{
    return str_eq(value, "on") || str_eq(value, "yes") || str_eq(value, "true") ||
           str_eq(value, "y");
}

struct chardev {
    const char *id, *path;
};

/* The options of a socket that we could use. @first: see next_option(). */
static bool parse_socket(const char *text, const char *first, struct arena *a, struct chardev *ret)
{
    static const char *const other_protocols[] = {"abstract", "telnet", "tn3270", "websocket"};
    /* Behind "unix:" it is one. */
    bool server = false, is_socket = str_eq(first, "path"),
         other[ARRAY_SIZE(other_protocols)] = {0};
    bool usable = true;
    struct option o;

    *ret = (struct chardev){0};
    for (; next_option(&text, first, a, &o); first = NULL) {
        if (str_eq(o.key, "backend"))
            is_socket = str_eq(o.value, "socket");
        else if (str_eq(o.key, "id"))
            ret->id = o.value;
        else if (str_eq(o.key, "path"))
            ret->path = o.value;
        else if (str_eq(o.key, "server"))
            server = is_on(o.value);
        else if (str_eq(o.key, "fd") || str_eq(o.key, "host") || str_eq(o.key, "tls-creds"))
            usable = false;
        for (size_t i = 0; i < ARRAY_SIZE(other_protocols); i++) {
            if (str_eq(o.key, other_protocols[i]))
                other[i] = is_on(o.value);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(other); i++)
        usable = usable && !other[i];
    return usable && is_socket && server && !str_empty(ret->path);
}

struct chardevs {
    struct chardev *items;
    size_t count;
};

static const char *chardev_path(const struct chardevs *chardevs, const char *id)
{
    for (size_t i = 0; id && i < chardevs->count; i++) {
        if (str_eq(chardevs->items[i].id, id))
            return chardevs->items[i].path;
    }
    return NULL;
}

static const char *mon_path(const char *text, const struct chardevs *chardevs, struct arena *a)
{
    const char *first = "chardev", *id = NULL;
    bool control = false;
    struct option o;

    for (; next_option(&text, first, a, &o); first = NULL) {
        if (str_eq(o.key, "chardev"))
            id = o.value;
        else if (str_eq(o.key, "mode"))
            control = str_eq(o.value, "control");
    }
    return control ? chardev_path(chardevs, id) : NULL;
}

static const char *qmp_path(const char *text, const struct chardevs *chardevs, struct arena *a)
{
    struct chardev own;

    if (str_starts(text, "chardev:"))
        return chardev_path(chardevs, text + strlen("chardev:"));
    if (str_starts(text, "unix:") && parse_socket(text + strlen("unix:"), "path", a, &own))
        return own.path;
    return NULL;
}

static bool is_option(const char *arg, const char *name)
{
    if (arg[0] != '-')
        return false;
    return str_eq(arg + (arg[1] == '-' ? 2 : 1), name);
}

/* The argument behind @arg, NULL behind the last one. @end is behind the last NUL. */
static const char *next_arg(const char *arg, const char *end)
{
    arg += strlen(arg) + 1;
    return arg < end ? arg : NULL;
}

/* -mon may come before the -chardev that it names. */
static void find_chardevs(const char *arg, const char *end, struct arena *a, struct chardevs *ret)
{
    for (const char *value; (value = next_arg(arg, end)); arg = value) {
        struct chardev c;

        if (is_option(arg, "chardev") && ret->count < CHARDEVS_MAX &&
            parse_socket(value, "backend", a, &c) && c.id)
            ARENA_APPEND(a, ret->items, ret->count) = c;
    }
}

void qmp_find_sockets(const char *cmdline, size_t len, struct arena *a, struct qmp_sockets *ret)
{
    autoarena own = ARENA_INIT;
    const char *arg = arena_strndup(&own, cmdline, len), *value;
    const char *end = arg + len + (len > 0 && cmdline[len - 1] != '\0');
    struct chardevs chardevs = {0};

    *ret = (struct qmp_sockets){0};
    if (len == 0)
        return;
    find_chardevs(arg, end, &own, &chardevs);
    for (; ret->count < QMP_SOCKETS_MAX && (value = next_arg(arg, end)); arg = value) {
        const char *path = NULL;

        if (is_option(arg, "qmp") || is_option(arg, "qmp-pretty"))
            path = qmp_path(value, &chardevs, &own);
        else if (is_option(arg, "mon"))
            path = mon_path(value, &chardevs, &own);
        if (path)
            ARENA_APPEND(a, ret->items, ret->count) = arena_strdup(a, path);
    }
}
