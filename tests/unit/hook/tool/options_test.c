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
    [VERB_HOOK] = "hook",
    [VERB_PLAN] = "plan",
    [VERB_CHECK] = "check",
    [VERB_LIST] = "list",
    [VERB_SHOW] = "show",
    [VERB_DELETE] = "delete",
    [VERB_PRUNE] = "prune",
    [VERB_HELP] = "help",
    [VERB_VERSION] = "version",
    [VERB_REGISTER] = "register",
    [VERB_UPDATE] = "update",
    [VERB_STAT] = "stat",
    [VERB_FREEZE] = "freeze",
    [VERB_THAW] = "thaw",
    [VERB_KILL] = "kill",
    [VERB_ADD_PROCESS] = "add-process",
    [VERB_ADD_DEVICE] = "add-device",
    [VERB_REMOVE_DEVICE] = "remove-device",
    [VERB_ADD_THREAD] = "add-thread",
    [VERB_METRICS] = "metrics",
    [VERB_TOP] = "top",
    [VERB_OVERHEAD] = "overhead",
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

    return arena_printf(
        a, "%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s", verb_names[o->verb],
        show_text(a, "bundle", o->bundle),
        show_text(a, "stage", o->stage == STAGE_NONE ? NULL : stage_name(o->stage)),
        show_text(a, "id", o->id),
        o->operand_count > 1 ? arena_printf(a, " %s", o->operands[1]) : "",
        o->operand_count > 2 ? arena_printf(a, " %s", o->operands[2]) : "",
        show_text(a, "config", o->config_path),
        show_text(a, "state_dir", default_dir ? NULL : o->state_dir),
        show_text(a, "output", o->output), o->batch ? " batch" : "", o->explain ? " explain" : "",
        o->count ? arena_printf(a, " count=%u", (unsigned)o->count) : "",
        o->sort ? arena_printf(a, " sort=%c", o->sort) : "",
        show_text(a, "log_level", o->log_level), show_text(a, "only", only),
        show_text(a, "mode", o->has_mode ? cg_mode_name(o->mode) : NULL), o->json ? " json" : "",
        o->dry_run ? " dry_run" : "", o->force ? " force" : "", show_text(a, "program", o->program),
        o->remove ? " remove" : "", show_text(a, "layout", layout_word(o->layout)),
        o->interval_ms ? arena_printf(a, " interval=%u", (unsigned)o->interval_ms) : "",
        o->for_ms ? arena_printf(a, " for=%u", (unsigned)o->for_ms) : "",
        o->margin.set ? arena_printf(a, " margin=%u", (unsigned)o->margin.value) : "",
        show_text(a, "html", o->html),
        o->guest_bytes.set ? arena_printf(a, " guest=%u", (unsigned)o->guest_bytes.value) : "",
        show_text(a, "cpus", o->cpus), show_text(a, "mems", o->mems),
        show_text(a, "resources", o->resources));
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
    {{"register", "--layout=nested", "c.json"}, "register id=c.json layout=nested"},
    {{"--config", "a.json"}, "hook config=a.json"},
    {{"--config=/etc/b.json", "poststop"}, "hook stage=poststop config=/etc/b.json"},
    {{"--state-dir", "/s"}, "hook state_dir=/s"},
    {{"--state-dir=/s/t", "--log-level=debug"}, "hook state_dir=/s/t log_level=debug"},
    {{"--log-level", "info", "poststart"}, "hook stage=poststart log_level=info"},
    {{"--", "prestart"}, "hook stage=prestart"},
    /* verbs */
    {{"plan"}, "plan"},
    {{"plan", "config.json"}, "plan id=config.json"},
    {{"plan", "--bundle", "b"}, "plan bundle=b"},
    {{"plan", "--explain"}, "plan explain"},
    {{"check"}, "check"},
    {{"list"}, "list"},
    {{"prune"}, "prune"},
    {{"show", "a"}, "show id=a"},
    {{"delete", "b"}, "delete id=b"},
    {{"update", "c"}, "update id=c"},
    {{"update", "c", "--cpus", "0-3,8", "--mems=0"}, "update id=c cpus=0-3,8 mems=0"},
    {{"update", "--resources", "-", "c", "--json"}, "update id=c json resources=-"},
    {{"stat", "d"}, "stat id=d"},
    {{"freeze", "a"}, "freeze id=a"},
    {{"thaw", "a", "--json"}, "thaw id=a json"},
    {{"kill", "a"}, "kill id=a"},
    {{"kill", "a", "TERM"}, "kill id=a TERM"},
    {{"add-process", "a", "12"}, "add-process id=a 12"},
    {{"add-thread", "a", "12", "--json"}, "add-thread id=a 12 json"},
    {{"add-device", "a", "/dev/kvm"}, "add-device id=a /dev/kvm"},
    {{"remove-device", "a", "/dev/kvm", "rw", "--json"}, "remove-device id=a /dev/kvm rw json"},
    {{"stat", "d", "--interval", "1.5"}, "stat id=d interval=1500"},
    {{"--interval=20ms", "stat", "d", "--json"}, "stat id=d json interval=20"},
    {{"top"}, "top"},
    {{"top", "--batch", "--count=3", "--sort", "m"}, "top batch count=3 sort=m"},
    {{"top", "--interval=2s", "--json"}, "top json interval=2000"},
    {{"overhead"}, "overhead"},
    {{"overhead", "a", "b", "--json"}, "overhead id=a b json"},
    {{"overhead", "--for=5m", "--interval", "1s"}, "overhead interval=1000 for=300000"},
    {{"overhead", "--margin=0", "--guest-memory=0"}, "overhead margin=0 guest=0"},
    {{"overhead", "--margin", "1000", "--guest-memory", "1Mi"},
     "overhead margin=1000 guest=1048576"},
    {{"overhead", "--for=1s", "--html", "d/f"}, "overhead for=1000 html=d/f"},
    {{"metrics"}, "metrics"},
    {{"metrics", "--output", "/d/f.prom"}, "metrics output=/d/f.prom"},
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
    {{"register", "c.json"}, "register id=c.json"},
    {{"register", "c.json", "--path", "/p"}, "register id=c.json program=/p"},
    {{"register", "--remove", "c.json"}, "register id=c.json remove"},
    {{"--config=/c", "--state-dir=/s", "--sandbox-cgroup-only", "register", "c.json", "--json"},
     "register id=c.json config=/c state_dir=/s only=true json"},
    /* an id may look like a stage, a verb, an option */
    {{"show", "prestart"}, "show id=prestart"},
    {{"delete", "list"}, "delete id=list"},
    {{"show", "--", "--json"}, "show id=--json"},
    {{"--help"}, "help"},
    {{"--version"}, "version"},
    {{"-h"}, "help"},
    {{"list", "--help"}, "help id=list"},
    {{"show", "a", "-h"}, "help id=show"},
    {{"--help", "prune"}, "help id=prune"},
    {{"--help", "start"}, "help"},
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
    {{"lst"}, {"neither a stage nor a verb: \"lst\"", "is it list?"}},
    {{"poststopp"}, {"\"poststopp\"", "is it poststop?"}},
    {{"prestar\n"}, {"\"prestar\\x0a\"", "is it prestart?"}},
    {{"remove"}, {"\"remove\"", "--help"}},
    {{""}, {"\"\"", "neither a stage nor a verb"}},
    {{"Prestart"}, {"\"Prestart\"", "neither"}},
    {{"a\033b"}, {"\"a\\x1bb\"", "neither"}},
    {{"-"}, {"\"-\"", "neither"}},
    /* the value needs its '=' */
    {{"--sandbox-cgroup-only", "false"}, {"\"false\"", "neither"}},
    /* ids */
    {{"show"}, {"\"show\"", "ID is missing"}},
    {{"delete"}, {"\"delete\"", "ID is missing"}},
    {{"show", "--json"}, {"\"show\"", "ID is missing"}},
    {{"delete", "--force"}, {"\"delete\"", "ID is missing"}},
    {{"show", "a", "b"}, {"\"b\"", "too many"}},
    {{"freeze"}, {"\"freeze\"", "ID is missing"}},
    {{"thaw", "a", "b"}, {"\"b\"", "too many"}},
    {{"add-process", "a"}, {"\"add-process\"", "PID is missing"}},
    {{"add-thread", "a"}, {"\"add-thread\"", "TID is missing"}},
    {{"add-thread", "a", "1", "2"}, {"\"2\"", "too many"}},
    {{"add-device", "a"}, {"\"add-device\"", "DEVICE is missing"}},
    {{"remove-device", "a"}, {"\"remove-device\"", "DEVICE is missing"}},
    {{"add-device", "a", "b", "r", "w"}, {"\"w\"", "too many"}},
    {{"kill"}, {"\"kill\"", "ID is missing"}},
    {{"kill", "a", "TERM", "b"}, {"\"b\"", "too many"}},
    {{"register"}, {"\"register\"", "CONFIG.json is missing"}},
    {{"register", "--remove"}, {"\"register\"", "CONFIG.json is missing"}},
    {{"register", "a", "b"}, {"\"b\"", "too many"}},
    {{"register", "--path", "p", "a"}, {"\"p\"", "absolute path"}},
    {{"register", "--path", "/p/", "a"}, {"\"/p/\"", "names a directory"}},
    {{"register", "--path"}, {"--path", "without its value"}},
    {{"register", "--remove", "--path", "/p", "a"}, {"--path", "found without it"}},
    {{"--path", "/p"}, {"--path", "only register"}},
    {{"delete", "a", "--remove"}, {"--remove", "only register"}},
    {{"delete", "a", "b"}, {"\"b\"", "too many"}},
    {{"list", "a"}, {"\"a\"", "too many"}},
    {{"plan", "a", "prestart"}, {"\"prestart\"", "too many"}},
    {{"plan", "--bundle=b", "a"}, {"\"a\"", "--bundle"}},
    {{"check", "--bundle=b"}, {"--bundle", "only plan"}},
    {{"show", "a", "--explain"}, {"--explain", "only plan"}},
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
    {{"--log-level=loud"}, {"\"loud\"", "--log-level is none of error, warning, info, debug"}},
    {{"check", "--log-level="}, {"\"\"", "--log-level is none"}},
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
    {{"list", "--interval=1s"}, {"--interval", "only stat"}},
    {{"list", "--batch"}, {"--batch", "only top"}},
    {{"top", "--count=0"}, {"\"0\"", "--count is no number"}},
    {{"top", "--count", "x"}, {"\"x\"", "--count is no number"}},
    {{"top", "--sort="}, {"\"\"", "--sort is no letter"}},
    {{"top", "--sort=cv"}, {"\"cv\"", "--sort is no letter"}},
    {{"list", "--for=1s"}, {"--for", "only overhead"}},
    {{"top", "--margin=1"}, {"--margin", "only overhead"}},
    {{"stat", "a", "--guest-memory=1"}, {"--guest-memory", "only overhead"}},
    {{"overhead", "--for=0"}, {"\"0\"", "--for is no time"}},
    {{"overhead", "--for", "1d"}, {"\"1d\"", "--for is no time"}},
    {{"overhead", "--margin=x"}, {"\"x\"", "--margin is no number"}},
    {{"overhead", "--margin=1001"}, {"\"1001\"", "--margin is no number"}},
    {{"overhead", "--guest-memory=2G"}, {"\"2G\"", "--guest-memory is no size"}},
    {{"metrics", "--html=f"}, {"--html", "only overhead"}},
    {{"overhead", "--html", "/d/"}, {"\"/d/\"", "--html names no file"}},
    {{"overhead", "--html="}, {"\"\"", "--html names no file"}},
    {{"list", "--output=f"}, {"--output", "only metrics"}},
    {{"stat", "a", "--cpus=0"}, {"--cpus", "only update"}},
    {{"list", "--mems=0"}, {"--mems", "only update"}},
    {{"plan", "--resources=f"}, {"--resources", "only update"}},
    {{"update", "a", "--cpus", ""}, {"\"\"", "--cpus is no list"}},
    {{"update", "a", "--cpus=3-1"}, {"\"3-1\"", "--cpus is no list"}},
    {{"update", "a", "--mems=x"}, {"\"x\"", "--mems is no list"}},
    {{"update", "a", "--resources="}, {"\"\"", "--resources names no file"}},
    {{"update", "a", "--cpus"}, {"--cpus", "without its value"}},
    {{"metrics", "--output", ""}, {"\"\"", "--output names no file"}},
    {{"metrics", "--output", "/d/"}, {"\"/d/\"", "--output names no file"}},
    {{"metrics", "a"}, {"\"a\"", "one argument too many"}},
    {{"stat", "a", "--interval=0"}, {"\"0\"", "--interval is no time"}},
    {{"stat", "a", "--interval=1x"}, {"\"1x\"", "--interval is no time"}},
    {{"stat", "a", "--interval"}, {"--interval", "without its value"}},
    {{"stat"}, {"\"stat\"", "ID is missing"}},
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

/* What it prints, of at most @size - 1 bytes. */
static void read_usage(const char *verb, char *text, size_t size)
{
    const struct options o = {.verb = VERB_HELP, .id = verb};
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    size_t len;

    cr_assert(file && saved >= 0);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    options_usage(&o);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
}

/* On a terminal of 80 columns and 24 lines, one of which is the next prompt. */
static void expect_a_screen(const char *text)
{
    size_t lines = 0;

    for (const char *p = text; *p; lines++) {
        size_t len = strcspn(p, "\n");

        cr_expect(len <= 80, "too long: %.*s", (int)len, p);
        p += len + (p[len] == '\n');
    }
    cr_expect(lines > 3 && lines < 24, "%zu lines:\n%s", lines, text);
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
        "update ID",
        "delete ID",
        "freeze ID",
        "thaw ID",
        "kill ID [",
        "stat ID",
        "add-process",
        "add-thread ID TID",
        "prune",
        "--config",
        "--state-dir",
        "--sandbox-cgroup-only",
        "--layout",
        "--log-level",
        "--json",
        "register CONFIG.json",
        "VERB --help",
        "--help",
        "--version",
        "add-device ID DEVICE",
        "remove-device ID DEVICE",
    };
    char text[4096];

    read_usage(NULL, text, sizeof text);
    expect_a_screen(text);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        cr_expect(strstr(text, words[i]), "expected: \"%s\"\ngot:      %s", words[i], text);
}

Test(options, each_verb_has_its_own_usage)
{
    static const char *const rows[][3] = {
        {"check", "] check\n"},
        {"plan", "--cgroup-mode MODE", "--stage STAGE"},
        {"register", "] register CONFIG.json\n", "--path PATH"},
        {"register", "--remove", "--layout"},
        {"list", "] list\n"},
        {"show", "] show ID\n"},
        {"stat", "] stat ID\n", "--interval TIME"},
        {"metrics", "] metrics\n", "--output FILE"},
        {"top", "] top\n", "--count N"},
        {"update", "] update ID\n", "--cpus LIST"},
        {"update", "--mems LIST", "--resources FILE"},
        {"freeze", "] freeze ID\n"},
        {"thaw", "] thaw ID\n"},
        {"kill", "] kill ID [SIGNAL]\n"},
        {"add-process", "] add-process ID PID\n"},
        {"add-thread", "] add-thread ID TID\n"},
        {"add-device", "] add-device ID DEVICE [ACCESS]\n"},
        {"remove-device", "] remove-device ID DEVICE [ACCESS]\n"},
        {"delete", "] delete ID\n", "--force"},
        {"prune", "] prune\n", "--dry-run"},
    };
    char text[4096];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        read_usage(rows[i][0], text, sizeof text);
        expect_a_screen(text);
        for (size_t j = 1; j < 3 && rows[i][j]; j++)
            cr_expect(strstr(text, rows[i][j]), "expected: %s\ngot: %s", rows[i][j], text);
    }
}
