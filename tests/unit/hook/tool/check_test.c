/* SPDX-License-Identifier: Apache-2.0 */

/* What `check` says of layouts and of the runtimes that this host has, as if it were of that mode. */

#include "hook/tool/verbs.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/runtime.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/tree_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * @settings  NULL: they cannot be read.
 * @ret       the verb's result, of what else is broken here, too; NULL: it does not matter.
 */
static char *check_with(struct arena *a, enum cg_mode mode, const char *settings,
                        const struct options *o, int *ret)
{
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    char *text = arena_alloc(a, 65536);
    struct err e = ERR_INIT;
    struct settings s;
    int r;

    cr_assert(file && saved >= 0);
    if (settings)
        kit_read_hook(a, settings, &s);
    else
        err_input(&e, "c.json: no_such_key: unknown");
    kit_tree_begin(mode);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    r = verb_check(o, settings ? &s : NULL, a, &e);
    if (ret)
        *ret = r;
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    kit_tree_end();
    close(saved);
    rewind(file);
    cr_assert_lt(fread(text, 1, 65535, file), 65535);
    fclose(file);
    return text;
}

static char *check(struct arena *a, enum cg_mode mode, const char *settings, enum layout_word word)
{
    const struct options o = {.verb = VERB_CHECK, .state_dir = "/nonexistent/osc", .layout = word};

    return check_with(a, mode, settings, &o, NULL);
}

static void expect_line(const char *text, const char *line)
{
    cr_expect(strstr(text, line), "expected: %s\ngot:      %s", line, text);
}

Test(check, layout)
{
    autoarena a = ARENA_INIT;

    expect_line(check(&a, CG_MODE_V2, "{}", LAYOUT_UNSAID),
                "ok       layout          sibling, because: nobody names a layout, and this is the "
                "default\n");
    expect_line(check(&a, CG_MODE_V1, "{}", LAYOUT_SAY_AUTO),
                "layout          nested, because: auto: cgroups are v1, where every runtime can "
                "work with it\n");
    expect_line(check(&a, CG_MODE_V1, "{'layout':'nested'}", LAYOUT_SAY_AUTO),
                "layout          nested, because: the configuration names it\n");
    /* it has looked, and the runner of the tests is no runtime */
    expect_line(
        check(&a, CG_MODE_V2, "{'layout':'nested'}", LAYOUT_UNSAID),
        "layout          nested, because: the configuration names it; the hook's runtime is "
        "not known here\n");
}

/* Where packages put them, by one of their paths. */
static size_t expect_runtimes(struct arena *a, const char *v1, const char *v2, const char *nested)
{
    static const char *const places[] = {"/usr/bin", "/usr/sbin"};
    size_t found = 0;

    for (size_t i = 0; i < ARRAY_SIZE(places) * runtime_name_count; i++) {
        const char *path = arena_printf(a, "%s/%s", places[i / runtime_name_count],
                                        runtime_names[i % runtime_name_count]);
        const char *loses;
        struct runtime r;

        if (access(path, X_OK) < 0)
            continue;
        found++;
        runtime_look_at(path, "/nonexistent/osc", a, &r);
        expect_line(v1, arena_printf(a,
                                     "runtime         %s: layout auto is nested under containerd "
                                     "and Docker, nested elsewhere\n",
                                     runtime_text(&r, a)));
        expect_line(v2, arena_printf(a,
                                     "runtime         %s: layout auto is %s under containerd and "
                                     "Docker, nested elsewhere\n",
                                     runtime_text(&r, a),
                                     runtime_reads_threaded(&r) ? "nested" : "sibling"));
        loses = arena_printf(a, "this one is %s\n", runtime_text(&r, a));
        cr_expect_eq(strstr(nested, loses) != NULL, !runtime_reads_threaded(&r), "%s", nested);
        cr_expect_null(strstr(v2, loses), "%s", v2);
    }
    return found;
}

Test(check, runtimes)
{
    autoarena a = ARENA_INIT;
    const char *v1 = check(&a, CG_MODE_V1, "{}", LAYOUT_UNSAID);
    const char *v2 = check(&a, CG_MODE_V2, "{}", LAYOUT_SAY_AUTO);
    const char *nested = check(&a, CG_MODE_V2, "{'layout':'nested'}", LAYOUT_UNSAID);
    size_t found = expect_runtimes(&a, v1, v2, nested);

    cr_expect(found > 0 || strstr(v2, "none of runc, crun and youki is in the usual places"), "%s",
              v2);
}

/* Whatever the file says, what a stage would make of it is what is said. */
Test(check, settings)
{
    static const struct {
        const char *settings, *line;
        enum layout_word layout;
    } rows[] = {
        {"{}", "ok       configuration   /nonexistent/c.json is not there: defaults hold\n", 0},
        {"{'overhead_limits':{'cpu':{'idle':5}}}",
         "BROKEN   configuration   every setup fails with /nonexistent/c.json: overhead_limits", 0},
        {"{'overhead_limits':{'cpu':{'idle':5}}}",
         "BROKEN   configuration   every setup fails with /nonexistent/c.json: overhead_limits",
         LAYOUT_SAY_NESTED},
        {"{'overhead_limits':{'pids':{'limit':5}}}",
         "limited  configuration   overhead_limits: pids.max is not set", 0},
        {"{'extra_devices':['/nonexistent/x']}",
         "limited  configuration   extra_devices: /nonexistent/x does not exist", 0},
        {"{'no_vcpu':'keep'}", "limited  configuration   no_vcpu has no effect", 0},
        {"{'memory_overhead_bytes':9}",
         "limited  configuration   memory_overhead_bytes has no effect", LAYOUT_SAY_NESTED},
        {"{'memory_overhead_bytes':9}", "ok       configuration   /nonexistent/c.json is not there",
         0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct options o = {.verb = VERB_CHECK,
                                  .state_dir = "/nonexistent/osc",
                                  .config_path = "/nonexistent/c.json",
                                  .layout = rows[i].layout};
        autoarena a = ARENA_INIT;
        int r;
        const char *text = check_with(&a, CG_MODE_V1, rows[i].settings, &o, &r);

        expect_line(text, rows[i].line);
        cr_expect(r < 0 || !str_starts(rows[i].line, "BROKEN"), "%s: %d", rows[i].settings, r);
    }
}

/* A file that cannot be read is one thing that is broken, and all else is said, too. */
Test(check, unreadable_settings)
{
    char dir[] = "/tmp/osc-unit-XXXXXX";
    const struct options o = {.verb = VERB_CHECK, .state_dir = dir};
    autoarena a = ARENA_INIT;
    const char *text;
    int r;

    kit_make_dir(dir);
    text = check_with(&a, CG_MODE_V1, NULL, &o, &r);
    kit_remove_tree(dir);

    cr_expect_eq(r, -EINVAL);
    expect_line(text, "BROKEN   configuration   every setup fails, and poststop, too: c.json: "
                      "no_such_key: unknown\n");
    expect_line(text, "layout          sibling, because: nobody names a layout, and this is the "
                      "default");
    expect_line(text, arena_printf(&a, "ok       state directory %s\n", dir));
}

/* One in which others can write, one that is a file, one that can be made. */
Test(check, state_directory)
{
    char dir[] = "/tmp/osc-unit-XXXXXX";
    const char *bad = geteuid() == 0 ? "BROKEN " : "limited";
    autoarena a = ARENA_INIT;
    struct options o = {.verb = VERB_CHECK, .state_dir = dir};

    kit_make_dir(dir);
    expect_line(check_with(&a, CG_MODE_V1, "{}", &o, NULL),
                arena_printf(&a, "ok       state directory %s\n", dir));
    cr_assert_eq(chmod(dir, 0777), 0);
    expect_line(check_with(&a, CG_MODE_V1, "{}", &o, NULL),
                arena_printf(&a, "%s  state directory the state directory %s", bad, dir));
    o.state_dir = arena_printf(&a, "%s/file", dir);
    kit_write_file(o.state_dir, "");
    expect_line(check_with(&a, CG_MODE_V1, "{}", &o, NULL),
                arena_printf(&a, "%s  state directory cannot open the state directory %s", bad,
                             o.state_dir));
    o.state_dir = arena_printf(&a, "%s/none/at/all", dir);
    expect_line(check_with(&a, CG_MODE_V1, "{}", &o, NULL),
                arena_printf(&a, "ok       state directory %s\n", o.state_dir));
}

Test(check, user)
{
    autoarena a = ARENA_INIT;

    expect_line(check(&a, CG_MODE_V1, "{}", LAYOUT_UNSAID),
                geteuid() == 0 ? "ok       user            root\n"
                               : "limited  user            not root, ");
}
