/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/called.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* podman's have 3 KiB. */
#define ARGUMENTS_MAX ((size_t)256 << 10)

#define SHOWN_SIZE 256

const char *called_by_conmon(const char *arguments, size_t len)
{
    const char *end = arguments + len;

    for (const char *arg = arguments; arg < end; arg += strlen(arg) + 1) {
        const char *value = arg + strlen(arg) + 1;

        if (value < end && (str_eq(arg, "-n") || str_eq(arg, "--name")))
            return value;
    }
    return NULL;
}

/* It has started the runtime, and is the parent of what that leaves. Nobody's parent is asked. */
static int find_conmon(const struct proc_id *init, pid_t *ret)
{
    struct proc_stat st, parent;
    int r = init->pid > 0 ? proc_stat_read(init->pid, &st) : -ESRCH;

    if (r == 0 && st.start_time != init->start_time)
        r = -ESRCH;
    if (r == 0)
        r = proc_stat_read(st.parent, &parent);
    if (r == 0 && !str_eq(parent.comm, "conmon"))
        r = -ESRCH;
    *ret = r == 0 ? st.parent : 0;
    return r == -ESRCH ? 0 : r;
}

static int ask_conmon(const struct record_container *c, struct arena *a, char **ret, struct err *e)
{
    struct proc_id init = record_process_id(c->init);
    autofree char *text = NULL;
    const char *name = NULL;
    pid_t conmon;
    int r = find_conmon(&init, &conmon);

    *ret = NULL;
    if (r == 0 && conmon > 0) {
        char path[40];
        ssize_t len;

        snprintf(path, sizeof path, "/proc/%d/cmdline", (int)conmon);
        len = io_read_all_at(AT_FDCWD, path, ARGUMENTS_MAX, &text);
        r = len < 0 && len != -ENOENT && len != -ESRCH ? (int)len : 0;
        name = len > 0 ? called_by_conmon(text, (size_t)len) : NULL;
    }
    if (names_is_one(name))
        *ret = arena_strdup(a, name);
    return r < 0 ? err_sys(e, r, "cannot look what conmon calls container %s", c->id) : 0;
}

int called_container(const struct record_container *c, struct arena *a, struct names *ret,
                     struct err *e)
{
    *ret = (struct names){c->name, c->pod, c->pod_namespace};
    return c->name || c->pod ? 0 : ask_conmon(c, a, &ret->container, e);
}

int called_sandbox(const struct record *r, struct arena *a, struct names *ret, struct err *e)
{
    size_t named = 0;
    int first = 0;

    *ret = (struct names){0};
    for (size_t i = 0; i < r->containers.count; i++) {
        struct names own;
        int failed =
            called_container(&JSON_AT(r->containers, struct record_container, i), a, &own, e);

        first = first < 0 ? first : failed;
        ret->pod = ret->pod ? ret->pod : own.pod;
        ret->pod_namespace = ret->pod_namespace ? ret->pod_namespace : own.pod_namespace;
        if (own.container)
            ret->container = named++ > 0 ? NULL : own.container;
    }
    return first;
}

const char *called_text(const struct names *names, char *buf, size_t size)
{
    autoarena a = ARENA_INIT;
    const char *text = names_text(names, &a);

    return str_escape(*text ? text : "-", buf, size);
}

const char *called_or_id(const struct names *names, const char *id, struct arena *a)
{
    const char *text = names_text(names, a);
    char shown[SHOWN_SIZE];

    return arena_strdup(a, str_escape(*text ? text : id, shown, sizeof shown));
}

void called_write_json(struct json_writer *w, const struct names *names)
{
    json_string(w, "container", names->container);
    json_string(w, "pod", names->pod);
    json_string(w, "namespace", names->pod_namespace);
}
