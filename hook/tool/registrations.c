/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/registrations.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "hook/tool/engines.h"
#include "hook/tool/register.h"
#include "oci/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1 << 20)
#define CDI_KIND "oci-sandbox-cgroup.io/hook"

struct entry {
    char *path;
};

struct edits {
    struct json_list hooks; /* struct entry */
};

struct device {
    struct edits *edits;
};

/* A file of either kind. */
struct file {
    struct entry *hook;
    char *kind;
    struct json_list devices; /* struct device */
};

static const struct json_field entry_fields[] = {JSON_F_STRING("path", struct entry, path)};
static const struct json_table entry_table = JSON_TABLE(entry_fields, struct entry);
static const struct json_field edits_fields[] = {
    JSON_F_OBJECT_LIST("hooks", struct edits, hooks, &entry_table)};
static const struct json_table edits_table = JSON_TABLE(edits_fields, struct edits);
static const struct json_field device_fields[] = {
    JSON_F_OBJECT("containerEdits", struct device, edits, &edits_table)};
static const struct json_table device_table = JSON_TABLE(device_fields, struct device);
static const struct json_field file_fields[] = {
    JSON_F_OBJECT("hook", struct file, hook, &entry_table),
    JSON_F_STRING("kind", struct file, kind),
    JSON_F_OBJECT_LIST("devices", struct file, devices, &device_table),
};
static const struct json_table file_table = JSON_TABLE(file_fields, struct file);

/* A directory of such files. */
struct place {
    const char *dir;
    bool is_cdi, is_usual_cdi;
};

struct search {
    const char *root;
    struct arena *a;
    struct engine engines[ENGINES];
    struct registration *items;
    size_t count;
};

static void add(struct search *s, bool in_force, const char *text)
{
    ARENA_APPEND(s->a, s->items, s->count) = (struct registration){in_force, text};
}

/* What a file that is for us has runtimes call, each once. */
struct programs {
    const char **items;
    size_t count;
};

static void add_program(struct programs *p, const char *path, struct arena *a)
{
    for (size_t i = 0; path && i < p->count; i++) {
        if (str_eq(p->items[i], path))
            return;
    }
    if (path)
        ARENA_APPEND(a, p->items, p->count) = path;
}

/* @ours  its name says that it is for us; otherwise the program's has to. */
static void find_programs(const struct file *f, bool ours, struct arena *a, struct programs *ret)
{
    if (f->hook && f->hook->path && (ours || str_ends(f->hook->path, REGISTER_PROGRAM)))
        add_program(ret, f->hook->path, a);
    if (!f->kind || !str_eq(f->kind, CDI_KIND))
        return;
    for (size_t i = 0; i < f->devices.count; i++) {
        const struct device *d = &JSON_AT(f->devices, struct device, i);

        for (size_t k = 0; d->edits && k < d->edits->hooks.count; k++)
            add_program(ret, JSON_AT(d->edits->hooks, struct entry, k).path, a);
    }
}

/* Of CDI: whoever reads the directory because it is told to. */
static bool cdi_is_told(const struct search *s, const char *dir)
{
    static const char *const files[] = {"/usr/share/containers/containers.conf",
                                        "/etc/containers/containers.conf", "/etc/crio/crio.conf",
                                        "/etc/containerd/config.toml", "/etc/docker/daemon.json"};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (engines_file_names(s->root, files[i], dir, s->a))
            return true;
    }
    return false;
}

/* NULL: somebody looks there. */
static const char *why_unread(const struct search *s, const struct place *place)
{
    if (place->is_usual_cdi || (place->is_cdi && cdi_is_told(s, place->dir)))
        return NULL;
    if (place->is_cdi)
        return "engines look for CDI files in /etc/cdi and /var/run/cdi, and no configuration of "
               "theirs names this directory; copy the file to /etc/cdi";
    if (engines_read(s->engines, place->dir))
        return NULL;
    return str_eq(place->dir, ENGINES_HOOKS_DIR)
               ? "hooks_dir of the engine's configuration names other directories, and so not "
                 "this one; add it there"
               : "podman and CRI-O read this directory only if their hooks_dir names it, and no "
                 "configuration of theirs does; copy the file to " ENGINES_HOOKS_DIR;
}

/* NULL: it can be run. */
static const char *why_not_run(const struct search *s, const char *program)
{
    const char *path = arena_printf(s->a, "%s%s", s->root, program);
    struct stat st;

    if (program[0] != '/')
        return arena_printf(s->a, "%s, which it names, is no absolute path", program);
    if (access(path, X_OK) < 0)
        return arena_printf(s->a, "%s, which it names, cannot be run: %s", program,
                            strerror(errno));
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return arena_printf(s->a, "%s, which it names, is no program", program);
    return NULL;
}

static void judge(struct search *s, const char *path, const struct place *place,
                  const struct programs *programs)
{
    const char *why = NULL;

    for (size_t i = 0; i < programs->count && !why; i++)
        why = why_not_run(s, programs->items[i]);
    if (!why)
        why = why_unread(s, place);
    add(s, !why, why ? arena_printf(s->a, "%s is not in force: %s", path, why) : path);
}

/* What cannot be read may be ours, and is in force for nobody. */
static void look_at(struct search *s, const struct place *place, const char *name)
{
    const char *path = arena_printf(s->a, "%s/%s", place->dir, name);
    const bool ours = strstr(name, REGISTER_PROGRAM);
    struct programs programs = {0};
    struct file f = {0};
    struct json_doc doc = {.table = &file_table, .dest = &f};
    struct err e = ERR_INIT;
    autofd fd = open(arena_printf(s->a, "%s%s", s->root, path), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? err_sys(&e, -errno, "cannot open it")
                   : json_read_fd(fd, &doc, 1, FILE_MAX, 0, "it", s->a, &e);

    if (r > 0)
        find_programs(&f, ours, s->a, &programs);
    if (programs.count > 0)
        judge(s, path, place, &programs);
    else if (ours)
        add(s, false,
            arena_printf(s->a, "%s is not in force: %s", path,
                         r < 0 ? e.text : "it names no program"));
    err_reset(&e);
}

void registrations_find(const char *root, struct arena *a, struct registration **ret,
                        size_t *ret_count)
{
    /* Those below /usr/local are where a build with the default prefix installs. */
    static const struct place places[] = {
        {.dir = ENGINES_HOOKS_DIR},
        {.dir = "/etc/containers/oci/hooks.d"},
        {.dir = "/usr/local/share/containers/oci/hooks.d"},
        {.dir = "/etc/cdi", .is_cdi = true, .is_usual_cdi = true},
        {.dir = "/run/cdi", .is_cdi = true, .is_usual_cdi = true},
        {.dir = "/usr/local/etc/cdi", .is_cdi = true},
    };
    struct search s = {.root = root, .a = a};

    engines_find(root, a, s.engines);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        autodir dir = io_opendir_at(AT_FDCWD, arena_printf(a, "%s%s", root, places[i].dir));
        struct dirent *e;

        while ((e = io_next_entry(dir))) {
            size_t len = strlen(e->d_name);

            /* Engines read no others; CDI files may be YAML, of which we write none. */
            if (len > 5 && str_eq(e->d_name + len - 5, ".json"))
                look_at(&s, &places[i], e->d_name);
        }
    }
    *ret = s.items;
    *ret_count = s.count;
}
