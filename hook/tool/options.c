/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/options.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/plan/policy.h"
#include "hook/sandbox/state_dir.h"

#include <getopt.h>

enum option_id {
    OPT_CONFIG = 256,
    OPT_STATE_DIR,
    OPT_ONLY,
    OPT_LAYOUT,
    OPT_MODE,
    OPT_STAGE,
    OPT_JSON,
    OPT_DRY_RUN,
    OPT_FORCE,
    OPT_PATH,
    OPT_REMOVE,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"state-dir", required_argument, NULL, OPT_STATE_DIR},
    {"sandbox-cgroup-only", optional_argument, NULL, OPT_ONLY},
    {"layout", required_argument, NULL, OPT_LAYOUT},
    {"cgroup-mode", required_argument, NULL, OPT_MODE},
    {"stage", required_argument, NULL, OPT_STAGE},
    {"json", no_argument, NULL, OPT_JSON},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"force", no_argument, NULL, OPT_FORCE},
    {"path", required_argument, NULL, OPT_PATH},
    {"remove", no_argument, NULL, OPT_REMOVE},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

static const struct {
    const char *name;
    enum verb verb;
    enum operand { NOTHING, AN_ID, A_FILE } operand;
} verbs[] = {
    {"plan", VERB_PLAN, NOTHING},   {"check", VERB_CHECK, NOTHING},
    {"list", VERB_LIST, NOTHING},   {"show", VERB_SHOW, AN_ID},
    {"delete", VERB_DELETE, AN_ID}, {"prune", VERB_PRUNE, NOTHING},
    {"update", VERB_UPDATE, AN_ID}, {"register", VERB_REGISTER, A_FILE},
};

void options_usage(void)
{
    fputs("usage: oci-sandbox-cgroup [OPTIONS] [prestart|createRuntime|poststart|poststop]\n"
          "       oci-sandbox-cgroup [OPTIONS] plan [--cgroup-mode v1|hybrid|v2] [--stage STAGE]\n"
          "       oci-sandbox-cgroup [OPTIONS] check | list | show ID | update ID | delete ID |\n"
          "                                    prune\n"
          "       oci-sandbox-cgroup [OPTIONS] register [--path PATH] [--remove] CONFIG.json\n"
          "\n"
          "A stage and plan read the OCI state, and config.json behind it or in its bundle, from\n"
          "standard input.\n"
          "\n"
          "  --config FILE                  default /etc/oci-sandbox-cgroup/config.json\n"
          "  --state-dir DIR                default /run/oci-sandbox-cgroup\n"
          "  --sandbox-cgroup-only[=BOOL]   the policy for this hook entry\n"
          "  --layout LAYOUT                sibling, nested, auto; register: default auto\n"
          "  --log-level LEVEL              error, warning (default), info, debug\n"
          "  --json                         verbs print JSON\n"
          "  --dry-run                      prune: only say what would be removed\n"
          "  --force                        delete: also while a container of the sandbox runs\n"
          "  --path PATH                    register: of the program, default this one\n"
          "  --remove                       register: take the entries out\n"
          "  --help, --version\n",
          stdout);
}

static int bad(struct err *e, const char *what, const char *value)
{
    char shown[128];

    return err_input(e, "%s: \"%s\"; see oci-sandbox-cgroup --help", what,
                     str_escape(value, shown, sizeof shown));
}

/* The argument that getopt_long() stopped at. There are no options of one letter, and for a letter
 * it does not say where in the line it found it. */
static const char *offender(int argc, char **argv)
{
    for (int i = 1; optopt > 0 && optopt < OPT_CONFIG && i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '-' && strchr(argv[i] + 1, optopt))
            return argv[i];
    }
    return argv[optind - 1];
}

static int take_option(int id, struct options *ret, struct err *e)
{
    switch (id) {
    case OPT_CONFIG:
        ret->config_path = optarg;
        return 0;
    case OPT_STATE_DIR:
        ret->state_dir = optarg;
        return optarg[0] == '/' ? 0 : bad(e, "--state-dir is not an absolute path", optarg);
    case OPT_ONLY:
        ret->only = (struct json_bool){true, true};
        if (optarg && policy_parse_bool(optarg, &ret->only.value) < 0)
            return bad(e, "--sandbox-cgroup-only is neither true nor false", optarg);
        return 0;
    case OPT_LAYOUT:
        if (layout_word_parse(optarg, &ret->layout) < 0)
            return bad(e, "--layout is none of sibling, nested, auto", optarg);
        return 0;
    case OPT_MODE:
        ret->has_mode = true;
        if (cg_mode_parse(optarg, &ret->mode) < 0)
            return bad(e, "--cgroup-mode is none of v1, hybrid, v2", optarg);
        return 0;
    case OPT_STAGE:
        ret->has_stage = true;
        if (stage_parse(optarg, &ret->stage) < 0)
            return bad(e, "--stage is no stage", optarg);
        return 0;
    case OPT_JSON:
        ret->json = true;
        return 0;
    case OPT_DRY_RUN:
        ret->dry_run = true;
        return 0;
    case OPT_FORCE:
        ret->force = true;
        return 0;
    case OPT_PATH:
        ret->program = optarg;
        if (str_ends(optarg, "/"))
            return bad(e, "--path names a directory", optarg);
        return optarg[0] == '/' ? 0 : bad(e, "--path is not an absolute path", optarg);
    case OPT_REMOVE:
        ret->remove = true;
        return 0;
    case OPT_LOG_LEVEL:
        ret->log_level = optarg;
        return 0;
    case OPT_HELP:
        ret->verb = VERB_HELP;
        return 0;
    case OPT_VERSION:
        ret->verb = VERB_VERSION;
        return 0;
    default:
        return bad(e, "unknown option, or one without its value", "");
    }
}

static int take_word(int argc, char **argv, struct options *ret, struct err *e)
{
    const char *word = argv[optind++];
    enum operand operand = NOTHING;

    if (stage_parse(word, &ret->stage) == 0) {
        ret->verb = VERB_HOOK;
    } else {
        size_t i = 0;

        while (i < ARRAY_SIZE(verbs) && !str_eq(word, verbs[i].name))
            i++;
        if (i == ARRAY_SIZE(verbs))
            return bad(e, "neither a stage nor a verb", word);
        ret->verb = verbs[i].verb;
        operand = verbs[i].operand;
    }
    if (operand != NOTHING && optind == argc)
        return bad(e,
                   operand == AN_ID ? "a sandbox's id is missing behind"
                                    : "the path of a config.json is missing behind",
                   word);
    if (operand == AN_ID)
        ret->id = argv[optind++];
    else if (operand == A_FILE)
        ret->file = argv[optind++];
    return optind < argc ? bad(e, "one argument too many", argv[optind]) : 0;
}

static int check_combination(const struct options *o, struct err *e)
{
    if (o->has_mode && o->verb != VERB_PLAN)
        return bad(e, "only plan takes an option of this name", "--cgroup-mode");
    if (o->has_stage && o->verb != VERB_PLAN)
        return bad(e, "only plan takes an option of this name", "--stage");
    if (o->dry_run && o->verb != VERB_PRUNE)
        return bad(e, "only prune takes an option of this name", "--dry-run");
    if (o->force && o->verb != VERB_DELETE)
        return bad(e, "only delete takes an option of this name", "--force");
    if (o->program && o->verb != VERB_REGISTER)
        return bad(e, "only register takes an option of this name", "--path");
    if (o->remove && o->verb != VERB_REGISTER)
        return bad(e, "only register takes an option of this name", "--remove");
    if (o->remove && o->program)
        return bad(e, "what is to be removed is found without it", "--path");
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *e)
{
    int id, r;

    *ret = (struct options){.verb = VERB_HOOK, .state_dir = STATE_DIR_DEFAULT};
    opterr = 0;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (id == '?' || id == ':')
            return bad(e, "unknown option, or one without its value", offender(argc, argv));
        r = take_option(id, ret, e);
        if (r < 0)
            return r;
        if (ret->verb == VERB_HELP || ret->verb == VERB_VERSION)
            return 0;
    }
    r = optind < argc ? take_word(argc, argv, ret, e) : 0;
    return r < 0 ? r : check_combination(ret, e);
}
