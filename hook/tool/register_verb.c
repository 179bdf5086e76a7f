/* SPDX-License-Identifier: Apache-2.0 */

/* `register`: the file around register.c. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/program.h"
#include "base/str.h"
#include "base/utf8.h"
#include "hook/plan/stage.h"
#include "hook/sandbox/state_dir.h"
#include "hook/tool/register.h"
#include "hook/tool/verbs.h"
#include "oci/config.h"
#include "oci/state.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>

#define LOCK_TIMEOUT_MS 10000

/* --- what the entries say --- */

/* Where this program is, for entries that start it again. Replaced or removed meanwhile, it is not
 * found, as the link says "... (deleted)" then. */
static int own_path(struct arena *a, const char **ret, struct err *e)
{
    char path[PATH_MAX], other[PATH_MAX];
    int r = program_paths(path, other);

    if (r < 0)
        return err_sys(e, r, "cannot find this program where it was started; give --path PATH");
    *ret = arena_strdup(a, path);
    return 0;
}

/* JSON has no way to say bytes that are no text. */
static int check_text(const char *text, struct err *e)
{
    char shown[300];

    if (utf8_text_span((const unsigned char *)text, strlen(text)) == strlen(text))
        return 0;
    return err_input(e, "\"%s\": not valid UTF-8, so JSON cannot hold it; use another name",
                     str_escape(text, shown, sizeof shown));
}

/* Of options that other verbs take as they come. */
static int check_options(const struct options *o, struct err *e)
{
    char shown[300];

    if (o->config_path && o->config_path[0] != '/')
        return err_input(
            e, "--config \"%s\": expected an absolute path, as a hook runs in any directory",
            str_escape(o->config_path, shown, sizeof shown));
    return 0;
}

/* The options of our own command line that say how a stage works, in a fixed order. */
static int make_request(const struct options *o, struct arena *a, struct register_request *ret,
                        struct err *e)
{
    const bool default_dir = str_eq(o->state_dir, STATE_DIR_DEFAULT);
    const char *only = o->only.value ? "true" : "false";
    const enum layout_word layout = o->layout == LAYOUT_UNSAID ? LAYOUT_SAY_AUTO : o->layout;
    const char *const options[][2] = {
        {"--layout", layout_word(layout)}, {"--sandbox-cgroup-only", o->only.set ? only : NULL},
        {"--config", o->config_path},      {"--state-dir", default_dir ? NULL : o->state_dir},
        {"--log-level", o->log_level},
    };
    struct json_list *list = &ret->options;
    int r;

    *ret = (struct register_request){.program = o->program};
    if (o->remove)
        return 0;
    r = check_options(o, e);
    if (r == 0 && !o->program)
        r = own_path(a, &ret->program, e);
    if (r == 0)
        r = check_text(ret->program, e);
    for (size_t i = 0; i < ARRAY_SIZE(options) && r == 0; i++) {
        const char **option;

        if (!options[i][1])
            continue;
        option = arena_push(a, &list->items, &list->count, sizeof *option);
        *option = arena_printf(a, "%s=%s", options[i][0], options[i][1]);
        r = check_text(*option, e);
    }
    return r;
}

/* --- the file --- */

/*
 * One at a time: two that read the same text would each leave out what the other has put in, and
 * they share the name of the temporary file. The lock is that of the directory, as the file is
 * replaced, and ends with the descriptor that is returned.
 */
static int lock_directory(const char *path, const char *shown, struct arena *a, struct err *e)
{
    autofd fd = open(dirname(arena_strdup(a, path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r;

    if (fd < 0)
        return err_sys(e, -errno, "cannot open the directory of %s", shown);
    r = io_lock(fd, LOCK_TIMEOUT_MS);
    if (r == -ETIMEDOUT)
        return err_sys(e, r, "another process keeps the directory of %s locked", shown);
    return r < 0 ? err_sys(e, r, "cannot lock the directory of %s", shown) : fd_take(&fd);
}

/*
 * @path   without symbolic links: a link stays what it is, and the file that it names is replaced.
 * @given  on the command line.
 */
static int edit_file(const char *path, const char *given, const struct register_request *request,
                     struct arena *a, struct register_result *ret, struct err *e)
{
    const char *name = strrchr(path, '/') + 1;
    autofree char *text = NULL;
    autofd fd = FD_NONE;
    char shown[300];
    autofd dir = lock_directory(path, str_escape(given, shown, sizeof shown), a, e);
    bool replaced;
    ssize_t len;
    int r;

    if (dir < 0)
        return dir;
    fd = oci_config_open(dir, name, O_NOFOLLOW, shown, e);
    if (fd < 0)
        return fd;
    len = io_read_all(fd, OCI_MAX_BYTES, &text);
    if (len == -EFBIG)
        return err_input(e, "%s: too long, expected at most %zu bytes", shown, OCI_MAX_BYTES);
    if (len < 0)
        return err_sys(e, (int)len, "cannot read %s", shown);
    r = register_edit(text, (size_t)len, given, request, a, ret, e);
    if (r < 0)
        err_hint(e, "; nothing was changed, correct the file and try again");
    if (r < 0 || !ret->changed)
        return r;
    r = io_replace_like_at(dir, name, ret->text, ret->len, fd, &replaced);
    str_escape(path, shown, sizeof shown);
    if (r < 0 && replaced)
        return err_sys(e, r, "%s was replaced, but a crash may undo it", shown);
    return r < 0 ? err_sys(e, r, "cannot replace %s", shown) : 0;
}

/* --- what was done --- */

static const char *name_of(size_t stage)
{
    return stage_name((enum stage)(STAGE_PRESTART + stage));
}

static void print_json(const char *path, const char *program, const struct register_result *result)
{
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_bool(w, "changed", result->changed);
    json_string(w, "file", path);
    json_string(w, "program", program);
    json_open_object(w, "stages");
    for (size_t i = 0; i < REGISTER_STAGES; i++)
        json_string(w, name_of(i), result->actions[i]);
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
        if (str_eq(result->actions[i], "absent"))
            continue;
        printf("%s%s %s", separator, name_of(i), result->actions[i]);
        separator = ", ";
    }
    puts(*separator ? "" : "no entry of ours");
}

int verb_register(const struct options *o, const struct settings *settings, struct arena *a,
                  struct err *e)
{
    struct register_request request;
    struct register_result result;
    autofree char *path = NULL;
    char shown[300];
    struct stat st;
    int r = make_request(o, a, &request, e);

    (void)settings;
    if (r < 0)
        return r;
    str_escape(o->operands[0], shown, sizeof shown);
    path = realpath(o->operands[0], NULL);
    if (!path || stat(path, &st) < 0)
        return err_sys(e, -errno, "cannot find %s", shown);
    if (S_ISDIR(st.st_mode))
        return err_input(e, "%s is a directory, expected a file; name the config.json in it",
                         shown);
    r = edit_file(path, o->operands[0], &request, a, &result, e);
    if (r == 0 && o->json)
        print_json(path, request.program, &result);
    else if (r == 0)
        print_text(path, &result);
    return r;
}
