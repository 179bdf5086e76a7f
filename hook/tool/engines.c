/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/engines.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (1 << 20)

struct job {
    const char *root;
    struct arena *a;
};

/* A file without its comments; NULL: it cannot be read. */
static char *read_conf(const char *root, const char *path, struct arena *a)
{
    autofree char *text = NULL;
    autosbuf kept = SBUF_INIT;
    char *line, *rest = NULL;

    if (io_read_all_at(AT_FDCWD, arena_printf(a, "%s%s", root, path), FILE_MAX, &text) < 0)
        return NULL;
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        line[strcspn(line, "#")] = '\0';
        sbuf_addf(&kept, "%s\n", line);
    }
    return arena_strdup(a, sbuf_text(&kept));
}

bool engines_file_names(const char *root, const char *path, const char *word, struct arena *a)
{
    const char *text = read_conf(root, path, a);

    return text && strstr(text, word);
}

/* hooks_dir = ["/a", "/b"], in any number of lines; the last one that is read counts. */
static void read_hooks_dir(const struct job *job, const char *path, struct engine *engine)
{
    char *text = read_conf(job->root, path, job->a);
    char *at = text ? strstr(text, "hooks_dir") : NULL, *end;
    const char **dirs = NULL;

    if (!at)
        return;
    at += strcspn(at, "[");
    end = at + strcspn(at, "]");
    engine->dir_count = 0;
    engine->file = path;
    while ((at = strpbrk(at, "\"'")) && at < end) {
        size_t len = strcspn(at + 1, "\"'");

        ARENA_APPEND(job->a, dirs, engine->dir_count) =
            arena_printf(job->a, "%.*s", (int)len, at + 1);
        at += len + 2;
    }
    engine->dirs = dirs;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Then those beside it, in the order of their names. */
static void read_drop_ins(const struct job *job, const char *path, struct engine *engine)
{
    autodir dir = io_opendir_at(AT_FDCWD, arena_printf(job->a, "%s%s.d", job->root, path));
    const char **names = NULL;
    size_t count = 0;
    struct dirent *e;

    while ((e = io_next_entry(dir)))
        ARENA_APPEND(job->a, names, count) = arena_printf(job->a, "%s.d/%s", path, e->d_name);
    if (count > 0)
        qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++)
        read_hooks_dir(job, names[i], engine);
}

static void read_dirs(const struct job *job, const char *const *files, struct engine *engine)
{
    static const char *const usual[] = {ENGINES_HOOKS_DIR};

    engine->dirs = usual;
    engine->dir_count = ARRAY_SIZE(usual);
    for (; *files; files++) {
        read_hooks_dir(job, *files, engine);
        read_drop_ins(job, *files, engine);
    }
}

static const char *find_program(const struct job *job, const char *name)
{
    static const char *const places[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin",
                                         "/usr/local/sbin"};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        const char *path = arena_printf(job->a, "%s/%s", places[i], name);

        if (access(arena_printf(job->a, "%s%s", job->root, path), X_OK) == 0)
            return path;
    }
    return NULL;
}

void engines_find(const char *root, struct arena *a, struct engine ret[static ENGINES])
{
    static const char *const names[] = {
        [ENGINE_PODMAN] = "podman",
        [ENGINE_CRIO] = "crio",
        [ENGINE_CONTAINERD_DAEMON] = "containerd",
        [ENGINE_DOCKER] = "dockerd",
    };
    static const char *const podman[] = {"/usr/share/containers/containers.conf",
                                         "/etc/containers/containers.conf", NULL};
    static const char *const crio[] = {"/etc/crio/crio.conf", NULL};
    const struct job job = {root, a};

    for (size_t i = 0; i < ENGINES; i++)
        ret[i] = (struct engine){.name = names[i], .program = find_program(&job, names[i])};
    read_dirs(&job, podman, &ret[ENGINE_PODMAN]);
    read_dirs(&job, crio, &ret[ENGINE_CRIO]);
}

static bool reads(const struct engine *engine, const char *dir)
{
    for (size_t i = 0; i < engine->dir_count; i++) {
        if (str_eq(engine->dirs[i], dir))
            return true;
    }
    return false;
}

bool engines_read(const struct engine engines[static ENGINES], const char *dir)
{
    bool none = !engines[ENGINE_PODMAN].program && !engines[ENGINE_CRIO].program;

    for (size_t i = 0; i < ENGINES; i++) {
        if ((none || engines[i].program) && reads(&engines[i], dir))
            return true;
    }
    return false;
}

const char *engine_text(const struct engine *engine, struct arena *a)
{
    autosbuf dirs = SBUF_INIT;

    for (size_t i = 0; i < engine->dir_count; i++)
        sbuf_addf(&dirs, "%s%s", i ? ", " : "", engine->dirs[i]);
    if (engine->dir_count > 0)
        return arena_printf(a, "%s reads hooks in %s, as %s", engine->program, sbuf_text(&dirs),
                            engine->file ? arena_printf(a, "hooks_dir of %s says", engine->file)
                                         : "it does by default");
    if (engine->file)
        return arena_printf(a, "%s reads no hooks directory: hooks_dir of %s is empty",
                            engine->program, engine->file);
    return arena_printf(a,
                        "%s reads no hooks directory: it needs the CDI file, a base spec or "
                        "`register`, see oci-sandbox-cgroup-engines(7)",
                        engine->program);
}
