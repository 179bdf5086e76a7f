/* SPDX-License-Identifier: Apache-2.0 */

/* `register`: the file around register.c. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "base/utf8.h"
#include "hook/plan/stage.h"
#include "hook/sandbox/state_dir.h"
#include "hook/tool/register.h"
#include "hook/tool/verbs.h"
#include "oci/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_TIMEOUT_MS 10000
#define LOCK_POLL_MS    20

/* --- what the entries say --- */

/* Where this program is, for entries that start it again. */
static int own_path(struct arena *a, const char **ret, struct err *e)
{
    char path[PATH_MAX], shown[300];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);

    if (n < 0)
        return err_sys(e, -errno, "cannot find this program's own path; give --path PATH");
    if ((size_t)n == sizeof path)
        return err_set(e, -ENAMETOOLONG, "this program's own path is too long; give --path PATH");
    *ret = arena_strndup(a, path, (size_t)n);
    /* Replaced or removed meanwhile, the link says "... (deleted)". */
    if (access(*ret, X_OK) < 0)
        return err_sys(e, -errno, "this program is not where it was started, %s; give --path PATH",
                       str_escape(*ret, shown, sizeof shown));
    return 0;
}

/* JSON has no way to say bytes that are no text, and a hook runs in a directory we do not know. */
static int check_value(const char *option, const char *value, bool is_path, struct err *e)
{
    char shown[300];

    str_escape(value, shown, sizeof shown);
    if (str_eq(option, "--path") && str_ends(value, "/"))
        return err_input(e, "--path \"%s\": expected a file, but this names a directory", shown);
    if (is_path && value[0] != '/')
        return err_input(e, "%s \"%s\": expected an absolute path, as a hook runs in any directory",
                         option, shown);
    if (utf8_text_span((const unsigned char *)value, strlen(value)) != strlen(value))
        return err_input(e, "%s \"%s\": not valid UTF-8, so JSON cannot hold it; use another name",
                         option, shown);
    return 0;
}

static int carry(struct register_request *request, const char *option, const char *value,
                 bool is_path, struct arena *a, struct err *e)
{
    struct json_list *list = &request->options;
    int r = check_value(option, value, is_path, e);

    if (r == 0)
        *(char **)arena_push(a, &list->items, &list->count, sizeof(char *)) =
            arena_printf(a, "%s=%s", option, value);
    return r;
}

/* The options of our own command line that say how a stage works, in a fixed order. */
static int make_request(const struct options *o, struct arena *a, struct register_request *ret,
                        struct err *e)
{
    enum log_level level;
    int r = 0;

    *ret = (struct register_request){.program = o->program};
    if (o->remove)
        return 0;
    if (!o->program)
        r = own_path(a, &ret->program, e);
    if (r == 0)
        r = check_value("--path", ret->program, true, e);
    if (r == 0 && o->only.set)
        r = carry(ret, "--sandbox-cgroup-only", o->only.value ? "true" : "false", false, a, e);
    if (r == 0 && o->config_path)
        r = carry(ret, "--config", o->config_path, true, a, e);
    if (r == 0 && !str_eq(o->state_dir, STATE_DIR_DEFAULT))
        r = carry(ret, "--state-dir", o->state_dir, true, a, e);
    if (r == 0 && o->log_level && log_level_parse(o->log_level, &level) < 0)
        return err_input(e, "--log-level is none of error, warning, info, debug");
    if (r == 0 && o->log_level)
        r = carry(ret, "--log-level", o->log_level, false, a, e);
    return r;
}

/* --- the file --- */

struct target {
    const char *path; /* without symbolic links */
    const char *name; /* its last component */
    int dirfd, fd;
    char *text;
    size_t len;
};

static void target_close(struct target *t)
{
    fd_close(&t->fd);
    fd_close(&t->dirfd);
    free(t->text);
}

/*
 * One at a time: two that read the same text would each leave out what the other has put in, and
 * they share the name of the temporary file. The lock is that of the directory, as the file is
 * replaced, and ends with the descriptor.
 */
static int lock_directory(int dirfd, const char *shown, struct err *e)
{
    for (unsigned waited = 0; flock(dirfd, LOCK_EX | LOCK_NB) < 0; waited += LOCK_POLL_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_sys(e, -errno, "cannot lock the directory of %s", shown);
        if (waited >= LOCK_TIMEOUT_MS)
            return err_sys(e, -ETIMEDOUT, "another process keeps the directory of %s locked",
                           shown);
        io_sleep_ms(LOCK_POLL_MS);
    }
    return 0;
}

/* The file itself, also where a link names it: the link stays what it is. */
static int open_target(const char *path, struct arena *a, struct target *t, struct err *e)
{
    autofree char *real = realpath(path, NULL);
    char shown[300], *slash;
    struct stat st;
    int r;

    str_escape(path, shown, sizeof shown);
    if (!real)
        return err_sys(e, -errno, "cannot find %s", shown);
    t->path = arena_strdup(a, real);
    slash = strrchr(real, '/');
    t->name = arena_strdup(a, slash + 1);
    slash[slash == real] = '\0';
    t->dirfd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->dirfd < 0)
        return err_sys(e, -errno, "cannot open the directory of %s", shown);
    r = lock_directory(t->dirfd, shown, e);
    if (r < 0)
        return r;
    /* Without waiting for the other end, should it be a FIFO. */
    t->fd = openat(t->dirfd, str_empty(t->name) ? "." : t->name,
                   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (t->fd < 0)
        return err_sys(e, -errno, "cannot open %s", shown);
    if (fstat(t->fd, &st) < 0)
        return err_sys(e, -errno, "cannot look at %s", shown);
    if (S_ISDIR(st.st_mode))
        return err_input(e, "%s is a directory, expected a file; name the config.json in it",
                         shown);
    if (!S_ISREG(st.st_mode))
        return err_input(e, "%s is no regular file; name the config.json of a bundle", shown);
    return 0;
}

static int read_target(const char *path, struct arena *a, struct target *t, struct err *e)
{
    char shown[300];
    ssize_t n;
    int r = open_target(path, a, t, e);

    if (r < 0)
        return r;
    n = io_read_all(t->fd, OCI_MAX_BYTES, &t->text);
    str_escape(path, shown, sizeof shown);
    if (n == -EFBIG)
        return err_input(e, "%s: too long, expected at most %zu bytes", shown, OCI_MAX_BYTES);
    if (n < 0)
        return err_sys(e, (int)n, "cannot read %s", shown);
    t->len = (size_t)n;
    return 0;
}

static int edit_target(const struct target *t, const char *path,
                       const struct register_request *request, struct arena *a,
                       struct register_result *ret, struct err *e)
{
    char shown[300];
    bool replaced;
    int r = register_edit(t->text, t->len, path, request, a, ret, e);

    if (r < 0) {
        err_hint(e, "; nothing was changed, correct the file and try again");
        return r;
    }
    if (!ret->changed)
        return 0;
    r = io_replace_like_at(t->dirfd, t->name, ret->text, ret->len, t->fd, &replaced);
    str_escape(t->path, shown, sizeof shown);
    if (r < 0 && replaced)
        return err_sys(e, r, "%s was replaced, but a crash may undo it", shown);
    return r < 0 ? err_sys(e, r, "cannot replace %s", shown) : 0;
}

/* --- what was done --- */

static void print_json(const char *path, const char *program, const struct register_result *result)
{
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_bool(w, "changed", result->changed);
    json_string(w, "file", path);
    json_string(w, "program", program);
    json_open_object(w, "stages");
    for (size_t i = 0; i < REGISTER_STAGES; i++)
        json_string(w, stage_name((enum stage)(STAGE_PRESTART + i)),
                    register_action_name(result->actions[i]));
    json_close_object(w);
    json_close_object(w);
    fputs(json_writer_text(w, NULL), stdout);
    json_writer_free(w);
}

static void print_text(const char *path, const struct register_result *result)
{
    char shown[300];
    const char *separator = "";

    printf("%s: ", str_escape(path, shown, sizeof shown));
    for (size_t i = 0; i < REGISTER_STAGES; i++) {
        if (result->actions[i] == REGISTER_ABSENT)
            continue;
        printf("%s%s %s", separator, stage_name((enum stage)(STAGE_PRESTART + i)),
               register_action_name(result->actions[i]));
        separator = ", ";
    }
    puts(*separator ? "" : "no entry of ours");
}

int verb_register(const struct options *o, const struct settings *settings, struct arena *a,
                  struct err *e)
{
    CLEANUP(target_close) struct target t = {.dirfd = FD_NONE, .fd = FD_NONE};
    struct register_request request;
    struct register_result result;
    int r = make_request(o, a, &request, e);

    (void)settings;
    if (r == 0)
        r = read_target(o->file, a, &t, e);
    if (r == 0)
        r = edit_target(&t, o->file, &request, a, &result, e);
    if (r < 0)
        return r;
    if (o->json)
        print_json(t.path, request.program, &result);
    else
        print_text(t.path, &result);
    return 0;
}
