/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/stage_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "oci/state.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

void kit_ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

void kit_set_settings(struct kit_stage *f, const char *members)
{
    kit_read_hook(&f->a,
                  arena_printf(&f->a, "{'vcpu_timeout_ms':60000,'vcpu_evidence':'name'%s%s}",
                               *members ? "," : "", members),
                  &f->settings);
}

void kit_set_engine(bool containerd)
{
    prctl(PR_SET_NAME, containerd ? "containerd-shim" : "unit");
}

void kit_begin_stage(struct kit_stage *f, enum cg_mode mode)
{
    *f = (struct kit_stage){.a = ARENA_INIT, .state = STATE_DIR_INIT};
    kit_set_engine(true);
    kit_tree_begin(mode);
    f->state_dir = arena_printf(&f->a, "%s/state", kit_tree_dir);
    cr_assert_eq(state_dir_open(f->state_dir, true, &f->state, &f->e), 0, "%s", f->e.text);
    kit_set_settings(f, "");
}

void kit_end_stage(struct kit_stage *f)
{
    kit_end_children();
    state_dir_close(&f->state);
    kit_tree_end();
    arena_free(&f->a);
}

pid_t kit_start_in(const char *path, const char *name)
{
    pid_t pid = kit_start_child();

    kit_tree_enter(pid, path, name);
    return pid;
}

void kit_note_tree(struct kit_stage *f)
{
    f->begin = kit_tree_text(&f->a);
}

int kit_run_stage(struct kit_stage *f, enum stage stage, const char *id, pid_t pid, const char *pod,
                  const char *config)
{
    const struct request request = {
        .stage = stage,
        .state_dir = f->state_dir,
        .settings = &f->settings,
    };
    struct oci_input input = {.has_config = config != NULL};

    kit_read_row(&f->a,
                 arena_printf(&f->a, "{'id':'%s','pid':%d,'bundle':'/b','annotations':{%s}}", id,
                              (int)pid, pod ? pod : ""),
                 &oci_state_table, &input.state);
    if (config)
        kit_read_row(&f->a, config, &oci_config_table, &input.config);
    f->e = (struct err)ERR_INIT;
    return stages_run(&request, &input, &f->a, &f->e);
}

void kit_expect_stage(struct kit_stage *f, enum stage stage, const char *id, pid_t pid,
                      const char *pod, const char *config)
{
    int r = kit_run_stage(f, stage, id, pid, pod, config);

    cr_assert_eq(r, 0, "%s of %s: %d %s", stage_name(stage), id, r, f->e.text);
}

/* The runtimes' own cgroups of the containers that the tests have, and placeholders in them: these end by
 * themselves, some time after init. */
static bool is_own_gone(const char *line)
{
    static const char *const own[] = {"/p/c1", "/pod/s1", "/pod/c2"};
    const char *path = line + strlen("-");
    bool placeholder;

    if (!str_starts(line, "-"))
        return false;
    placeholder = str_starts(path, "ours in ");
    if (placeholder)
        path += strlen("ours in ");
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        size_t len = strlen(own[i]);

        if (str_starts(path, own[i]) && path[len] == (placeholder ? '\0' : ':'))
            return true;
    }
    return false;
}

void kit_expect_changes(struct kit_stage *f, const char *want, const char *what)
{
    char *all = arena_strdup(&f->a, kit_tree_changes(&f->a, f->begin)), *line;
    const char *got = "";

    /* poststop removes what a runtime has left, see sandbox_release(): nobody here is one. */
    while ((line = str_next(&all, '\n'))) {
        if (*line && (!is_own_gone(line) || strstr(want, line)))
            got = arena_printf(&f->a, "%s%s\n", got, line);
    }

    cr_expect(str_eq(got, want), "%s: expected\n%s\ngot\n%s", what, want, got);
}

enum record_state kit_record(struct kit_stage *f, const char *sandbox_id, struct record *ret)
{
    struct state_lock look = STATE_LOCK_INIT;
    enum record_state state = RECORD_NONE;
    struct err e = ERR_INIT;

    *ret = (struct record){0};
    if (state_look(&f->state, sandbox_id, &look, NULL) == 0)
        cr_assert_eq(record_read(&look, &f->a, ret, &state, &e), 0, "%s", e.text);
    state_unlock(&look);
    return state;
}

const char *kit_recorded(struct kit_stage *f, const struct json_list *files)
{
    char *text = arena_strdup(&f->a, "");

    for (size_t i = 0; i < files->count; i++) {
        const struct json_pair *pair = &JSON_AT(*files, struct json_pair, i);

        text = arena_printf(&f->a, "%s%s%s=%s", text, i ? "; " : "", pair->key, pair->value);
    }
    return text;
}

const char *kit_state_names(struct kit_stage *f)
{
    static const char *const tables[] = {"sandboxes", "containers", "paths", "parents"};
    char *text = arena_strdup(&f->a, "");

    for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
        autodir dir =
            io_opendir_at(AT_FDCWD, arena_printf(&f->a, "%s/%s", f->state_dir, tables[i]));
        struct dirent *entry;

        while ((entry = io_next_entry(dir)))
            text = arena_printf(&f->a, "%s%s/%s ", text, tables[i], entry->d_name);
    }
    return text;
}
