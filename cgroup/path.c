/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/path.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <limits.h>
#include <string.h>

#define CG_PATH_MAX 3072

/* Where sandboxes without a cgroupsPath of their own are planned as long as nobody runs; Kata's name for it. */
#define DEFAULT_PARENT "/vc"

int cg_name_check(const char *name, const char *what, struct err *e)
{
    char shown[128];

    if (str_empty(name))
        return err_input(e, "%s is empty", what);
    str_escape(name, shown, sizeof shown);
    if (str_eq(name, ".") || str_eq(name, ".."))
        return err_input(e, "%s: \"%s\" is not allowed as a name", what, shown);
    if (strlen(name) > NAME_MAX)
        return err_input(e, "%s: \"%s\" has %zu bytes, at most %d are allowed", what, shown,
                         strlen(name), NAME_MAX);
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        if (*p == '/')
            return err_input(e, "%s: \"%s\" must not contain a slash", what, shown);
        if (*p < 0x20 || *p == 0x7f)
            return err_input(e, "%s: \"%s\" contains a control character", what, shown);
    }
    return 0;
}

int cg_path_clean(const char *text, const char *what, struct arena *a, char **ret, struct err *e)
{
    char *copy = arena_strdup(a, text), *cursor = copy, *name;
    autosbuf out = SBUF_INIT;
    char shown[128];

    str_escape(text, shown, sizeof shown);
    if (text[0] != '/')
        return err_input(e, "%s: \"%s\" is not an absolute path", what, shown);
    while ((name = str_next(&cursor, '/'))) {
        if (str_empty(name) || str_eq(name, "."))
            continue;
        if (str_eq(name, ".."))
            return err_input(e,
                             "%s: \"%s\" contains \"..\", which could leave its place; write "
                             "the path without it",
                             what, shown);
        int r = cg_name_check(name, what, e);

        if (r < 0)
            return r;
        sbuf_addf(&out, "/%s", name);
        if (out.len > CG_PATH_MAX)
            return err_input(e, "%s: \"%s\" has more than %d bytes", what, shown, CG_PATH_MAX);
    }
    *ret = arena_strdup(a, out.len ? sbuf_text(&out) : "/");
    return 0;
}

char *cg_path_join(struct arena *a, const char *dir, const char *name)
{
    return arena_printf(a, "%s/%s", str_eq(dir, "/") ? "" : dir, name);
}

char *cg_path_parent(struct arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == path ? arena_strdup(a, "/") : arena_strndup(a, path, (size_t)(slash - path));
}

const char *cg_path_base(const char *path)
{
    return strrchr(path, '/') + 1;
}

#define SCOPE ".scope"

const char *cg_path_scope(struct arena *a, const char *path)
{
    while (!str_ends(path, SCOPE)) {
        if (str_eq(path, "/"))
            return NULL;
        path = cg_path_parent(a, path);
    }
    return path;
}

bool cg_path_is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);

    if (str_eq(dir, "/"))
        return !str_eq(path, "/");
    return str_starts(path, dir) && path[len] == '/';
}

const char *cg_path_relative(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static bool is_unit_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr(":_.\\-", c);
}

char *cg_unit_escape(struct arena *a, const char *text)
{
    autosbuf out = SBUF_INIT;

    for (const char *p = text; *p; p++) {
        if (*p == '/')
            sbuf_add(&out, "-", 1);
        else if ((p == text && *p == '.') || !is_unit_char(*p))
            sbuf_addf(&out, "\\x%02x", (unsigned char)*p);
        else
            sbuf_add(&out, p, 1);
    }
    return arena_strdup(a, sbuf_text(&out));
}

int cg_slice_expand(const char *slice, struct arena *a, char **ret, struct err *e)
{
    static const char suffix[] = ".slice";
    size_t stem = strlen(slice) - (str_ends(slice, suffix) ? strlen(suffix) : 0);
    int r = cg_name_check(slice, "linux.cgroupsPath: slice", e);
    autosbuf out = SBUF_INIT;
    char shown[128];

    if (r < 0)
        return r;
    str_escape(slice, shown, sizeof shown);
    if (stem == strlen(slice) || stem == 0)
        return err_input(e,
                         "linux.cgroupsPath: \"%s\" is not the name of a slice (it must end in "
                         "\".slice\")",
                         shown);
    if (str_eq(slice, "-.slice")) {
        *ret = arena_strdup(a, "/");
        return 0;
    }
    /* Each dash separates a parent slice from its child, so none may be empty. */
    if (slice[0] == '-' || slice[stem - 1] == '-' || strstr(slice, "--"))
        return err_input(e, "linux.cgroupsPath: slice \"%s\" has an empty part between dashes",
                         shown);
    for (size_t i = 1; i <= stem; i++) {
        if (i == stem || slice[i] == '-')
            sbuf_addf(&out, "/%.*s%s", (int)i, slice, suffix);
    }
    return cg_path_clean(sbuf_text(&out), "linux.cgroupsPath", a, ret, e);
}

/* "slice:prefix:name", where slice is empty or ends in ".slice" */
static bool is_systemd_form(const char *text)
{
    const char *first = strchr(text, ':');
    const char *second = first ? strchr(first + 1, ':') : NULL;

    if (!second || strchr(second + 1, ':') || strchr(text, '/'))
        return false;
    return first == text || (first - text > 6 && memcmp(first - 6, ".slice", 6) == 0);
}

static int parse_systemd(const char *text, struct arena *a, struct cg_cgroups_path *ret,
                         struct err *e)
{
    char *cursor = arena_strdup(a, text);
    int r;

    ret->systemd = true;
    ret->slice = str_next(&cursor, ':');
    ret->prefix = str_next(&cursor, ':');
    ret->name = cursor;
    if (str_empty(ret->slice))
        ret->slice = arena_strdup(a, "system.slice");
    r = ret->prefix[0] ? cg_name_check(ret->prefix, "linux.cgroupsPath: prefix", e) : 0;
    if (r == 0)
        r = cg_name_check(ret->name, "linux.cgroupsPath: name", e);
    return r < 0 ? r : cg_slice_expand(ret->slice, a, &ret->parent, e);
}

/* "/a.slice/a-b.slice/crun-ID.scope[/container]" of systemd's manager: as "a-b.slice:crun:ID" says it.
 * False: it is in no scope, or in one of another manager, as that of a user. */
static bool take_scope(const char *process_path, const char *container_id, struct arena *a,
                       struct cg_cgroups_path *ret)
{
    const char *scope = cg_path_scope(a, process_path);
    char *name, *dash, *slice;
    struct cg_cgroups_path found = {.systemd = true};

    if (!scope)
        return false;
    found.parent = cg_path_parent(a, scope);
    found.slice = str_eq(found.parent, "/") ? arena_strdup(a, "-.slice")
                                            : arena_strdup(a, cg_path_base(found.parent));
    if (cg_slice_expand(found.slice, a, &slice, NULL) < 0 || !str_eq(slice, found.parent))
        return false;
    name = arena_strndup(a, cg_path_base(scope), strlen(cg_path_base(scope)) - strlen(SCOPE));
    dash = str_ends(name, container_id) ? name + strlen(name) - strlen(container_id) : name;
    found.prefix = arena_strndup(a, name, dash > name + 1 ? (size_t)(dash - name) - 1 : 0);
    found.name = dash > name + 1 && dash[-1] == '-' ? arena_strdup(a, dash) : name;
    if (found.name == name)
        found.prefix = arena_strdup(a, "");
    /* systemd has no unit ".scope" or "..scope", but somebody else may have named a directory so. */
    if (cg_name_check(found.name, "scope", NULL) < 0 ||
        (found.prefix[0] && cg_name_check(found.prefix, "scope", NULL) < 0))
        return false;
    *ret = found;
    return true;
}

/* The cgroup that has the container's id in its name, or one that the process is in below it. */
static const char *own_cgroup(const char *process_path, const char *container_id, struct arena *a)
{
    const char *last = NULL;

    for (const char *p = process_path; (p = strstr(p, container_id)); p++)
        last = p;
    return last ? arena_strndup(a, process_path, (size_t)(last - process_path) + strcspn(last, "/"))
                : NULL;
}

/* Where the runtime has put it, as a path that it could have been given. */
static const char *find_place(const char *text, const char *container_id, const char *process_path,
                              struct arena *a)
{
    const char *own;

    if (!process_path)
        return cg_path_join(a, DEFAULT_PARENT, str_empty(text) ? container_id : text);
    own = own_cgroup(process_path, container_id, a);
    if (!own && !str_empty(text) && str_ends(process_path, arena_printf(a, "/%s", text)))
        own = process_path;
    return own ? own : cg_path_join(a, process_path, container_id);
}

int cg_cgroups_path_parse(const char *text, const char *container_id, const char *process_path,
                          struct arena *a, struct cg_cgroups_path *ret, struct err *e)
{
    char *path;
    int r;

    *ret = (struct cg_cgroups_path){0};
    if (!str_empty(text) && is_systemd_form(text))
        return parse_systemd(text, a, ret, e);
    if (str_empty(text) || text[0] != '/') {
        if (process_path && strstr(process_path, container_id) &&
            take_scope(process_path, container_id, a, ret))
            return 0;
        text = find_place(text, container_id, process_path, a);
    }
    r = cg_path_clean(text, "linux.cgroupsPath", a, &path, e);
    if (r < 0)
        return r;
    if (str_eq(path, "/") || str_eq(path, DEFAULT_PARENT))
        return err_input(e, "linux.cgroupsPath: \"%s\" names no cgroup of the container's own",
                         path);
    ret->parent = cg_path_parent(a, path);
    ret->name = arena_strdup(a, cg_path_base(path));
    return 0;
}
