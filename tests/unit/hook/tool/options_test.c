/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/options.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <getopt.h>

#define MAX_WORDS 8

static const char *const verb_names[] = {
    [VERB_HOOK] = "hook",         [VERB_PLAN] = "plan", [VERB_CHECK] = "check",
    [VERB_LIST] = "list",         [VERB_SHOW] = "show", [VERB_DELETE] = "delete",
    [VERB_PRUNE] = "prune",       [VERB_HELP] = "help", [VERB_VERSION] = "version",
    [VERB_REGISTER] = "register",
};

/* Parse the words, which NULL ends. getopt keeps its state in globals. */
static int parse(struct arena *a, const char *const *words, struct options *ret, struct err *e)
{
    char **argv = arena_alloc(a, (MAX_WORDS + 2) * sizeof *argv);
    int argc = 0;

    argv[argc++] = arena_strdup(a, "oci-sandbox-cgroup");
    for (size_t i = 0; i < MAX_WORDS && words[i]; i++)
        argv[argc++] = arena_strdup(a, words[i]);
    optind = 0;
    memset(ret, 0x5a, sizeof *ret);
    return options_parse(argc, argv, ret, e);
}

static const char *show_words(struct arena *a, const char *const *words)
{
    const char *all = "";

    for (size_t i = 0; i < MAX_WORDS && words[i]; i++)
        all = arena_printf(a, "%s \"%s\"", all, words[i]);
    return all;
}

static const char *show_text(struct arena *a, const char *name, const char *value)
{
    return value ? arena_printf(a, " %s=%s", name, value) : "";
}

/* The verb, and everything that is not the default. */
static const char *options_text(struct arena *a, const struct options *o)
{
    const char *only = !o->only.set ? NULL : o->only.value ? "true" : "false";
    bool default_dir = str_eq(o->state_dir, "/run/oci-sandbox-cgroup");

    return arena_printf(a, "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s", verb_names[o->verb],
                        show_text(a, "stage", o->stage == STAGE_NONE ? NULL : stage_name(o->stage)),
                        show_text(a, "id", o->id), show_text(a, "config", o->config_path),
                        show_text(a, "state_dir", default_dir ? NULL : o->state_dir),
                        show_text(a, "log_level", o->log_level), show_text(a, "only", only),
                        show_text(a, "mode", o->has_mode ? cg_mode_name(o->mode) : NULL),
                        o->json ? " json" : "", o->dry_run ? " dry_run" : "",
                        o->force ? " force" : "", show_text(a, "file", o->file),
                        show_text(a, "program", o->program), o->remove ? " remove" : "",
                        show_text(a, "layout", layout_word(o->layout)));
}

static const struct {
    const char *words[MAX_WORDS];
    const char *want;
} accepted[] = {
    /* stages */
    {{NULL}, "hook"},
    {{"prestart"}, "hook stage=prestart"},
    {{"createRuntime"}, "hook stage=createRuntime"},
    {{"poststart"}, "hook stage=poststart"},
    {{"poststop"}, "hook stage=poststop"},
    {{"--sandbox-cgroup-only"}, "hook only=true"},
    {{"--sandbox-cgroup-only=true", "prestart"}, "hook stage=prestart only=true"},
    {{"--sandbox-cgroup-only=false", "prestart"}, "hook stage=prestart only=false"},
    {{"--sandbox-cgroup-only=1"}, "hook only=true"},
    {{"--sandbox-cgroup-only=F"}, "hook only=false"},
    {{"--sandbox-cgroup-only", "prestart"}, "hook stage=prestart only=true"},
    {{"prestart", "--sandbox-cgroup-only=false"}, "hook stage=prestart only=false"},
    {{"--sandbox-cgroup-only", "--sandbox-cgroup-only=false"}, "hook only=false"},
    {{"--layout=auto"}, "hook layout=auto"},
    {{"--layout", "nested", "poststop"}, "hook stage=poststop layout=nested"},
    {{"--layout=auto", "plan", "--layout=sibling"}, "plan layout=sibling"},
    {{"register", "--layout=nested", "c.json"}, "register file=c.json layout=nested"},
    {{"--config", "a.json"}, "hook config=a.json"},
    {{"--config=/etc/b.json", "poststop"}, "hook stage=poststop config=/etc/b.json"},
    {{"--state-dir", "/s"}, "hook state_dir=/s"},
    {{"--state-dir=/s/t", "--log-level=debug"}, "hook state_dir=/s/t log_level=debug"},
    {{"--log-level", "info", "poststart"}, "hook stage=poststart log_level=info"},
    {{"--", "prestart"}, "hook stage=prestart"},
    /* verbs */
    {{"plan"}, "plan"},
    {{"check"}, "check"},
    {{"list"}, "list"},
    {{"prune"}, "prune"},
    {{"show", "a"}, "show id=a"},
    {{"delete", "b"}, "delete id=b"},
    {{"--json", "plan"}, "plan json"},
    {{"plan", "--json"}, "plan json"},
    {{"check", "--json"}, "check json"},
    {{"list", "--json"}, "list json"},
    {{"show", "a", "--json"}, "show id=a json"},
    {{"show", "--json", "a"}, "show id=a json"},
    {{"--json", "show", "a"}, "show id=a json"},
    {{"delete", "--json", "a"}, "delete id=a json"},
    {{"plan", "--cgroup-mode", "v1"}, "plan mode=v1"},
    {{"plan", "--cgroup-mode=hybrid"}, "plan mode=hybrid"},
    {{"--cgroup-mode", "v2", "plan"}, "plan mode=v2"},
    {{"plan", "--stage", "prestart"}, "plan stage=prestart"},
    {{"--stage=poststop", "plan", "--json"}, "plan stage=poststop json"},
    {{"plan", "--stage=createRuntime", "--sandbox-cgroup-only", "--cgroup-mode=v1"},
     "plan stage=createRuntime only=true mode=v1"},
    {{"prune", "--dry-run"}, "prune dry_run"},
    {{"--dry-run", "prune", "--json"}, "prune json dry_run"},
    {{"delete", "a", "--force"}, "delete id=a force"},
    {{"--force", "delete", "a"}, "delete id=a force"},
    {{"register", "c.json"}, "register file=c.json"},
    {{"register", "c.json", "--path", "/p"}, "register file=c.json program=/p"},
    {{"register", "--remove", "c.json"}, "register file=c.json remove"},
    {{"--config=/c", "--state-dir=/s", "--sandbox-cgroup-only", "register", "c.json", "--json"},
     "register config=/c state_dir=/s only=true json file=c.json"},
    /* an id may look like a stage, a verb, an option */
    {{"show", "prestart"}, "show id=prestart"},
    {{"delete", "list"}, "delete id=list"},
    {{"show", "--", "--json"}, "show id=--json"},
    {{"--help"}, "help"},
    {{"--version"}, "version"},
    {{"list", "--help"}, "help"},
    {{"--json", "--version"}, "version json"},
    /* what stands behind them does not matter */
    {{"--help", "--no-such-option"}, "help"},
    {{"--version", "no-such-verb"}, "version"},
};

Test(options, accepted)
{
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++) {
        autoarena a = ARENA_INIT;
        struct err e = ERR_INIT;
        struct options o;
        int r = parse(&a, accepted[i].words, &o, &e);
        const char *got = r == 0 ? options_text(&a, &o) : "";

        cr_expect(r == 0 && e.code == 0 && str_eq(got, accepted[i].want),
                  "input:   %s\nexpected: %s\ngot:      %d, %s %s",
                  show_words(&a, accepted[i].words), accepted[i].want, r, got, e.text);
    }
}

/* The words, and two that the message must have: the offending one and what it is about. */
static const struct {
    const char *words[MAX_WORDS];
    const char *want[2];
} refused[] = {
    {{"start"}, {"\"start\"", "neither a stage nor a verb"}},
    {{"none"}, {"\"none\"", "neither a stage nor a verb"}},
    {{""}, {"\"\"", "neither a stage nor a verb"}},
    {{"Prestart"}, {"\"Prestart\"", "neither"}},
    {{"a\033b"}, {"\"a\\x1bb\"", "neither"}},
    {{"-"}, {"\"-\"", "neither"}},
    /* the value needs its '=' */
    {{"--sandbox-cgroup-only", "false"}, {"\"false\"", "neither"}},
    /* ids */
    {{"show"}, {"\"show\"", "id is missing"}},
    {{"delete"}, {"\"delete\"", "id is missing"}},
    {{"show", "--json"}, {"\"show\"", "id is missing"}},
    {{"delete", "--force"}, {"\"delete\"", "id is missing"}},
    {{"show", "a", "b"}, {"\"b\"", "too many"}},
    {{"register"}, {"\"register\"", "config.json is missing"}},
    {{"register", "--remove"}, {"\"register\"", "config.json is missing"}},
    {{"register", "a", "b"}, {"\"b\"", "too many"}},
    {{"register", "--path", "p", "a"}, {"\"p\"", "absolute path"}},
    {{"register", "--path", "/p/", "a"}, {"\"/p/\"", "names a directory"}},
    {{"register", "--path"}, {"--path", "without its value"}},
    {{"register", "--remove", "--path", "/p", "a"}, {"--path", "found without it"}},
    {{"--path", "/p"}, {"--path", "only register"}},
    {{"delete", "a", "--remove"}, {"--remove", "only register"}},
    {{"delete", "a", "b"}, {"\"b\"", "too many"}},
    {{"list", "a"}, {"\"a\"", "too many"}},
    {{"plan", "prestart"}, {"\"prestart\"", "too many"}},
    {{"check", "x"}, {"\"x\"", "too many"}},
    {{"prune", "x"}, {"\"x\"", "too many"}},
    {{"prestart", "poststop"}, {"\"poststop\"", "too many"}},
    /* unknown options, values missing, values that are none */
    {{"--no-such-option"}, {"--no-such-option", "unknown option"}},
    {{"--no-such-option=1", "list"}, {"--no-such-option=1", "unknown option"}},
    {{"list", "--no-such-option"}, {"--no-such-option", "unknown option"}},
    {{"-x"}, {"\"-x\"", "unknown option"}},
    {{"list", "-j"}, {"\"-j\"", "unknown option"}},
    {{"--config"}, {"--config", "without its value"}},
    {{"list", "--state-dir"}, {"--state-dir", "without its value"}},
    {{"--log-level"}, {"--log-level", "without its value"}},
    {{"plan", "--cgroup-mode"}, {"--cgroup-mode", "without its value"}},
    {{"plan", "--stage"}, {"--stage", "without its value"}},
    {{"--json=1"}, {"--json=1", "option"}},
    {{"prune", "--dry-run=no"}, {"--dry-run=no", "option"}},
    {{"--state-dir", "run"}, {"\"run\"", "--state-dir"}},
    {{"--state-dir="}, {"\"\"", "--state-dir"}},
    {{"--state-dir=./s"}, {"\"./s\"", "--state-dir"}},
    {{"--sandbox-cgroup-only=maybe"}, {"\"maybe\"", "--sandbox-cgroup-only"}},
    {{"--sandbox-cgroup-only="}, {"\"\"", "--sandbox-cgroup-only"}},
    {{"--layout=child"}, {"\"child\"", "--layout is none of sibling, nested, auto"}},
    {{"--layout="}, {"\"\"", "--layout is none"}},
    {{"--layout"}, {"--layout", "without its value"}},
    {{"plan", "--cgroup-mode=v3"}, {"\"v3\"", "--cgroup-mode"}},
    {{"plan", "--cgroup-mode=V2"}, {"\"V2\"", "--cgroup-mode"}},
    {{"plan", "--stage=start"}, {"\"start\"", "--stage"}},
    {{"plan", "--stage=none"}, {"\"none\"", "--stage"}},
    /* combinations */
    {{"--cgroup-mode=v1"}, {"--cgroup-mode", "only plan"}},
    {{"prestart", "--cgroup-mode=v1"}, {"--cgroup-mode", "only plan"}},
    {{"check", "--cgroup-mode=v2"}, {"--cgroup-mode", "only plan"}},
    {{"--stage=prestart"}, {"--stage", "only plan"}},
    {{"poststop", "--stage=prestart"}, {"--stage", "only plan"}},
    {{"list", "--stage=prestart"}, {"--stage", "only plan"}},
    {{"--dry-run"}, {"--dry-run", "only prune"}},
    {{"delete", "a", "--dry-run"}, {"--dry-run", "only prune"}},
    {{"plan", "--dry-run"}, {"--dry-run", "only prune"}},
    {{"--force"}, {"--force", "only delete"}},
    {{"prune", "--force"}, {"--force", "only delete"}},
    {{"poststop", "--force"}, {"--force", "only delete"}},
};

static void expect_refused(const char *const *words, const char *const *want)
{
    autoarena a = ARENA_INIT;
    struct err e = ERR_INIT;
    struct options o;
    int r = parse(&a, words, &o, &e);

    cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, want[0]) && strstr(e.text, want[1]) &&
                  strstr(e.text, "--help") && !strchr(e.text, '\n'),
              "input:   %s\nexpected: refused in one line with %s, %s and where help is\n"
              "got:      %d, %s",
              show_words(&a, words), want[0], want[1], r, e.text);
}

Test(options, refused)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        expect_refused(refused[i].words, refused[i].want);
}

/* Several letters behind one dash: getopt is inside of the word when it refuses the first. */
Test(options, letters_are_named)
{
    static const char *const rows[][2][MAX_WORDS] = {
        {{"-xy"}, {"\"-xy\"", "unknown option"}},
        {{"list", "-xy"}, {"\"-xy\"", "unknown option"}},
        {{"--json", "-xy", "list"}, {"\"-xy\"", "unknown option"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect_refused(rows[i][0], rows[i][1]);
}

Test(options, usage_names_everything)
{
    static const char *const words[] = {
        "prestart",
        "createRuntime",
        "poststart",
        "poststop",
        "plan",
        "check",
        "list",
        "show ID",
        "delete ID",
        "prune",
        "--config",
        "--state-dir",
        "--sandbox-cgroup-only",
        "--layout",
        "--cgroup-mode",
        "--stage",
        "--log-level",
        "--json",
        "--dry-run",
        "--force",
        "register",
        "--path PATH",
        "--remove",
        "--help",
        "--version",
    };
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    char text[4096];
    size_t len;

    cr_assert(file && saved >= 0);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    options_usage();
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    len = fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    fclose(file);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        cr_expect(strstr(text, words[i]), "expected: \"%s\"\ngot:      %s", words[i], text);
}
