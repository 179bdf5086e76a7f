/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/options.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"
#include "hook/log/log.h"
#include "hook/plan/policy.h"
#include "hook/sandbox/state_dir.h"
#include "hook/tool/find.h"
#include "hook/tool/units.h"

#include <getopt.h>

#define MARGIN_MOST 1000 /* per cent */

enum option_id {
    OPT_CONFIG = 256,
    OPT_STATE_DIR,
    OPT_ONLY,
    OPT_LAYOUT,
    OPT_JSON,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION,
    /* From here on those that only some verbs take. */
    OPT_MODE,
    OPT_STAGE,
    OPT_DRY_RUN,
    OPT_FORCE,
    OPT_PATH,
    OPT_REMOVE,
    OPT_INTERVAL,
    OPT_BUNDLE,
    OPT_OUTPUT,
    OPT_BATCH,
    OPT_COUNT,
    OPT_SORT,
    OPT_FOR,
    OPT_MARGIN,
    OPT_GUEST_MEMORY,
    OPT_HTML,
    OPT_EXPLAIN,
    OPT_CPUS,
    OPT_MEMS,
    OPT_RESOURCES,
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
    {"interval", required_argument, NULL, OPT_INTERVAL},
    {"bundle", required_argument, NULL, OPT_BUNDLE},
    {"batch", no_argument, NULL, OPT_BATCH},
    {"count", required_argument, NULL, OPT_COUNT},
    {"sort", required_argument, NULL, OPT_SORT},
    {"explain", no_argument, NULL, OPT_EXPLAIN},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"mems", required_argument, NULL, OPT_MEMS},
    {"resources", required_argument, NULL, OPT_RESOURCES},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"for", required_argument, NULL, OPT_FOR},
    {"margin", required_argument, NULL, OPT_MARGIN},
    {"guest-memory", required_argument, NULL, OPT_GUEST_MEMORY},
    {"html", required_argument, NULL, OPT_HTML},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/* Bits of the options that not every verb takes. */
#define OWN(id) (1u << ((id)-OPT_MODE))

struct verb_row {
    const char *name;
    enum verb verb;
    const char *operands; /* as the help says it: "ID [SIGNAL]", "[ID...]" */
    uint32_t own;         /* of OWN() */
    const char *help;
};

/* In the order in which an operator meets them. */
static const struct verb_row verbs[] = {
    {"check", VERB_CHECK, "", 0, "What this host offers, what will not work, and why.\n"},
    {"plan", VERB_PLAN, "[CONFIG.json]",
     OWN(OPT_MODE) | OWN(OPT_STAGE) | OWN(OPT_BUNDLE) | OWN(OPT_EXPLAIN),
     "What a stage would do. Without a file or bundle it reads what a stage reads from\n"
     "standard input.\n"
     "\n"
     "  --bundle DIR        of the config.json there; its name is the container's\n"
     "  --cgroup-mode MODE  for a host of v1, hybrid or v2; default this one\n"
     "  --stage STAGE       prestart, createRuntime, poststart, poststop; default the\n"
     "                      one that the state is in\n"
     "  --explain           each decision with its reason, and what it is from\n"},
    {"register", VERB_REGISTER, "CONFIG.json", OWN(OPT_PATH) | OWN(OPT_REMOVE),
     "Put the hook into a bundle's config.json; all else in it stays as it is.\n"
     "\n"
     "  --path PATH         of the program, default this one\n"
     "  --remove            take the entries out\n"
     "  --layout, --sandbox-cgroup-only, --config, --state-dir, --log-level: what the\n"
     "                      entries say; the layout is auto if nothing is said\n"},
    {"list", VERB_LIST, "", 0, "The sandboxes, a line each.\n"},
    {"show", VERB_SHOW, "ID", 0,
     "A sandbox: its record, its threads, which of them are vCPUs, where they are.\n"},
    {"stat", VERB_STAT, "ID", OWN(OPT_INTERVAL),
     "What a sandbox uses, its vCPUs and its overhead apart: CPU time, throttling,\n"
     "memory, tasks, I/O, pressure.\n"
     "\n"
     "  --interval TIME     of such a time, as 500ms, 10s, 5m, and not since it began\n"},
    {"top", VERB_TOP, "", OWN(OPT_INTERVAL) | OWN(OPT_BATCH) | OWN(OPT_COUNT) | OWN(OPT_SORT),
     "What all sandboxes use, a row each, again and again.\n"
     "\n"
     "  --interval TIME     so often, default 1s\n"
     "  --count N           so many times\n"
     "  --sort KEY          c overhead's CPU, v vCPUs' CPU, o overhead of vCPUs,\n"
     "                      t throttled, m memory, p tasks, n name: also keys to press\n"
     "  --batch             rows after rows, as where there is no terminal\n"},
    {"overhead", VERB_OVERHEAD, "[ID...]",
     OWN(OPT_FOR) | OWN(OPT_INTERVAL) | OWN(OPT_MARGIN) | OWN(OPT_GUEST_MEMORY) | OWN(OPT_HTML),
     "What the overhead takes, of all sandboxes or of those that are named, and the\n"
     "overhead.podFixed of a RuntimeClass that follows, as YAML.\n"
     "\n"
     "  --for TIME           read for so long, as 60s, 5m; without, it is the mean since\n"
     "                       each of them began\n"
     "  --interval TIME      so often, default 1s\n"
     "  --margin PERCENT     on top of what was seen, default 10\n"
     "  --guest-memory SIZE  of each guest, as 512Mi, 2Gi; 0 where it is in huge pages.\n"
     "                       Without, nothing is said of the overhead's memory\n"
     "  --html FILE          draw what was read with --for, in a page of its own\n"},
    {"metrics", VERB_METRICS, "", OWN(OPT_OUTPUT),
     "What all sandboxes use, as text for Prometheus.\n"
     "\n"
     "  --output FILE       replace this file, for node_exporter's textfile collector\n"},
    {"update", VERB_UPDATE, "ID", OWN(OPT_CPUS) | OWN(OPT_MEMS) | OWN(OPT_RESOURCES),
     "Place a sandbox's threads now, and start its watcher where that was killed.\n"
     "With layout sibling it changes limits, too: each that is named holds for the\n"
     "sandbox as a whole, until its runtime changes that same one.\n"
     "\n"
     "  --cpus LIST         CPUs that it may run on, as 0-3,8\n"
     "  --mems LIST         memory nodes likewise\n"
     "  --resources FILE    limits of cpu, memory and pids, as runc update takes them;\n"
     "                      - is standard input\n"},
    {"freeze", VERB_FREEZE, "ID", 0,
     "Stop every task of a sandbox, vCPUs and overhead, until thaw. With layout nested\n"
     "that is what its runtime's pause does, in the runtime's own cgroup.\n"},
    {"thaw", VERB_THAW, "ID", 0,
     "Let a sandbox go on that freeze, or its runtime's pause, has stopped.\n"},
    {"kill", VERB_KILL, "ID [SIGNAL]", 0,
     "Signal every process of a sandbox, also those that are frozen: KILL if none is\n"
     "named, and then until none is left. A signal is a name as TERM or SIGTERM, or a\n"
     "number. What is frozen takes another one than KILL when it is thawed.\n"},
    {"add-process", VERB_ADD_PROCESS, "ID PID", 0,
     "Put a process into a sandbox, whose limits hold it then; its threads are sorted\n"
     "as all others. Refused where it would lose limits that hold it now.\n"},
    {"add-thread", VERB_ADD_THREAD, "ID TID", 0,
     "Put a thread of a sandbox to its vCPUs, one that is known to be a vCPU: the\n"
     "watcher would move any other back.\n"},
    {"add-device", VERB_ADD_DEVICE, "ID DEVICE [ACCESS]", 0,
     "Allow a device for as long as the sandbox is there, with layout sibling. DEVICE\n"
     "is the path of a node, with an ACCESS of r, w, m, default rwm; or a rule with\n"
     "its own, as \"c 10:232 rw\" or \"b 7:* rwm\".\n"},
    {"remove-device", VERB_REMOVE_DEVICE, "ID DEVICE [ACCESS]", 0,
     "Deny a device for as long as the sandbox is there, with layout sibling; what is\n"
     "open stays open. DEVICE and ACCESS as of add-device. On cgroup v1 and with\n"
     "systemd a part of a wider rule cannot be denied.\n"},
    {"delete", VERB_DELETE, "ID", OWN(OPT_FORCE),
     "Remove a sandbox whose containers have ended.\n"
     "\n"
     "  --force             also while a container runs: its threads go back under the\n"
     "                      runtime's own limits\n"},
    {"prune", VERB_PRUNE, "", OWN(OPT_DRY_RUN),
     "Remove what dead sandboxes have left.\n"
     "\n"
     "  --dry-run           only say what would be removed\n"},
};

/* NULL: there is none of this name. */
static const struct verb_row *verb_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (str_eq(name, verbs[i].name))
            return &verbs[i];
    }
    return NULL;
}

void options_usage(const struct options *o)
{
    const struct verb_row *v = o->id ? verb_named(o->id) : NULL;

    if (v) {
        printf("usage: oci-sandbox-cgroup [OPTIONS] %s%s%s\n\n%s\n%s"
               "oci-sandbox-cgroup --help has the options that every verb takes.\n",
               v->name, *v->operands ? " " : "", v->operands, v->help,
               strstr(v->operands, "ID") ? "ID: of a sandbox or container, its beginning, or the "
                                           "name of a container or pod.\n"
                                         : "");
        return;
    }
    fputs("usage: oci-sandbox-cgroup [OPTIONS] [prestart|createRuntime|poststart|poststop]\n"
          "       oci-sandbox-cgroup [OPTIONS] VERB [ARGUMENTS]\n"
          "\n"
          "A stage reads the OCI state, and config.json behind it or in its bundle, from\n"
          "standard input. What an operator asks for is a verb:\n"
          "\n"
          "  set up    check, plan [CONFIG.json], register CONFIG.json\n"
          "  look      list, show ID, stat ID, top, overhead [ID...], metrics\n"
          "  change    update ID, freeze ID, thaw ID, kill ID [SIGNAL],\n"
          "            add-process ID PID, add-thread ID TID,\n"
          "            add-device ID DEVICE, remove-device ID DEVICE\n"
          "  remove    delete ID, prune\n"
          "\n"
          "  --config FILE                  default /etc/oci-sandbox-cgroup/config.json\n"
          "  --state-dir DIR                default /run/oci-sandbox-cgroup\n"
          "  --sandbox-cgroup-only[=BOOL]   the policy for this hook entry\n"
          "  --layout LAYOUT                of this hook entry: sibling, nested, auto\n"
          "  --log-level LEVEL              error, warning (default), info, debug\n"
          "  --json                         verbs print JSON\n"
          "  --help, --version              VERB --help: what a verb does, and its options\n",
          stdout);
}

static int bad(struct err *e, const char *what, const char *value)
{
    char shown[128];

    return err_input(e, "%s: \"%s\"; see oci-sandbox-cgroup --help", what,
                     str_escape(value, shown, sizeof shown));
}

/* Of a verb's own options, which is another's here. */
static int refuse_option(const struct option *option, uint32_t bit, struct err *e)
{
    autosbuf names = SBUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
        if (verbs[i].own & bit)
            sbuf_addf(&names, "%s%s", sbuf_text(&names)[0] ? ", " : "", verbs[i].name);
    }
    return err_input(
        e, "only %s takes an option of this name: \"--%s\"; see oci-sandbox-cgroup --help",
        sbuf_text(&names), option->name);
}

/* The argument that getopt_long() stopped at. Of options of one letter there is -h, and for a letter
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
    enum log_level level;

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
    case OPT_BUNDLE:
        ret->bundle = optarg;
        return 0;
    case OPT_INTERVAL:
        if (units_parse_time(optarg, &ret->interval_ms) < 0)
            return bad(e, "--interval is no time from 1ms to 24h, as 500ms, 10s, 5m", optarg);
        return 0;
    case OPT_BATCH:
        ret->batch = true;
        return 0;
    case OPT_COUNT:
        if (str_to_u64(optarg, strlen(optarg), &ret->count) < 0 || ret->count == 0)
            return bad(e, "--count is no number above 0", optarg);
        return 0;
    case OPT_SORT:
        ret->sort = optarg[0];
        return optarg[0] && !optarg[1] ? 0 : bad(e, "--sort is no letter", optarg);
    case OPT_FOR:
        if (units_parse_time(optarg, &ret->for_ms) < 0)
            return bad(e, "--for is no time from 1ms to 24h, as 60s, 5m", optarg);
        return 0;
    case OPT_MARGIN:
        ret->margin.set = true;
        if (str_to_u64(optarg, strlen(optarg), &ret->margin.value) < 0 ||
            ret->margin.value > MARGIN_MOST)
            return bad(e, "--margin is no number of per cent from 0 to 1000", optarg);
        return 0;
    case OPT_GUEST_MEMORY:
        ret->guest_bytes.set = true;
        if (units_parse_bytes(optarg, &ret->guest_bytes.value) < 0)
            return bad(e, "--guest-memory is no size, as 512Mi, 2Gi, 536870912", optarg);
        return 0;
    case OPT_EXPLAIN:
        ret->explain = true;
        return 0;
    case OPT_CPUS:
        ret->cpus = optarg;
        return cg_cpulist_is_list(optarg) ? 0
                                          : bad(e, "--cpus is no list of CPUs, as 0-3,8", optarg);
    case OPT_MEMS:
        ret->mems = optarg;
        return cg_cpulist_is_list(optarg) ? 0
                                          : bad(e, "--mems is no list of nodes, as 0-1", optarg);
    case OPT_RESOURCES:
        ret->resources = optarg;
        return *optarg ? 0 : bad(e, "--resources names no file", optarg);
    case OPT_OUTPUT:
        ret->output = optarg;
        return *optarg && !str_ends(optarg, "/") ? 0 : bad(e, "--output names no file", optarg);
    case OPT_HTML:
        ret->html = optarg;
        return *optarg && !str_ends(optarg, "/") ? 0 : bad(e, "--html names no file", optarg);
    case OPT_LOG_LEVEL:
        ret->log_level = optarg;
        return log_level_parse(optarg, &level) == 0
                   ? 0
                   : bad(e, "--log-level is none of error, warning, info, debug", optarg);
    case 'h':
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

/* As many words as the verb takes. */
static int take_operands(int argc, char **argv, const struct verb_row *v, struct options *ret,
                         struct err *e)
{
    const char *wanted = v->operands;

    ret->operands = (const char *const *)argv + optind;
    while (optind < argc && *wanted) {
        bool again = str_starts(wanted + strcspn(wanted, ". "), "...");

        optind++;
        ret->operand_count++;
        if (!again)
            wanted += strcspn(wanted, " ") + strspn(wanted + strcspn(wanted, " "), " ");
    }
    if (optind < argc)
        return bad(e, "one argument too many", argv[optind]);
    if (*wanted && *wanted != '[')
        return err_input(e, "%.*s is missing behind \"%s\"; see oci-sandbox-cgroup %s --help",
                         (int)strcspn(wanted, " "), wanted, v->name, v->name);
    ret->id = ret->operand_count > 0 ? ret->operands[0] : NULL;
    return 0;
}

static int refuse_word(const char *word, struct err *e)
{
    struct find_word items[ARRAY_SIZE(verbs) + 4];
    struct find_words words = {.items = items};
    const char *nearest;
    char shown[128];

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        items[words.count++] = (struct find_word){.text = verbs[i].name};
    for (enum stage stage = STAGE_PRESTART; stage <= STAGE_POSTSTOP; stage++)
        items[words.count++] = (struct find_word){.text = stage_name(stage)};
    nearest = find_nearest(&words, word);
    if (!nearest)
        return bad(e, "neither a stage nor a verb", word);
    return err_input(e,
                     "neither a stage nor a verb: \"%s\"; is it %s? See oci-sandbox-cgroup --help",
                     str_escape(word, shown, sizeof shown), nearest);
}

static int take_word(int argc, char **argv, struct options *ret, struct err *e)
{
    static const struct verb_row stage = {.operands = ""};
    const char *word = argv[optind++];
    const struct verb_row *v = verb_named(word);

    if (stage_parse(word, &ret->stage) == 0)
        v = &stage;
    else if (v)
        ret->verb = v->verb;
    else
        return refuse_word(word, e);
    return take_operands(argc, argv, v, ret, e);
}

/* @given  of OWN() */
static int check_combination(const struct options *o, uint32_t given, struct err *e)
{
    uint32_t taken = 0;

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        taken |= verbs[i].verb == o->verb ? verbs[i].own : 0;
    for (size_t i = 0; i < ARRAY_SIZE(long_options) - 1; i++) {
        uint32_t bit = long_options[i].val >= OPT_MODE ? OWN(long_options[i].val) : 0;

        if (given & ~taken & bit)
            return refuse_option(&long_options[i], bit, e);
    }
    if (o->bundle && o->id)
        return bad(e, "there is --bundle already", o->id);
    if (o->remove && o->program)
        return bad(e, "what is to be removed is found without it", "--path");
    return 0;
}

/* `VERB --help` is about the verb: the first word that is the name of one. */
static const char *help_topic(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (verb_named(argv[i]))
            return argv[i];
    }
    return NULL;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *e)
{
    uint32_t given = 0;
    int id, r;

    *ret = (struct options){.verb = VERB_HOOK, .state_dir = STATE_DIR_DEFAULT};
    opterr = 0;
    while ((id = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (id == '?' || id == ':')
            return bad(e, "unknown option, or one without its value", offender(argc, argv));
        r = take_option(id, ret, e);
        if (r < 0)
            return r;
        if (ret->verb == VERB_HELP)
            ret->id = help_topic(argc, argv);
        if (ret->verb == VERB_HELP || ret->verb == VERB_VERSION)
            return 0;
        given |= id >= OPT_MODE ? OWN(id) : 0;
    }
    r = optind < argc ? take_word(argc, argv, ret, e) : 0;
    return r < 0 ? r : check_combination(ret, given, e);
}

int options_settings(const struct options *o, struct arena *a, struct settings *ret, struct err *e)
{
    int r = settings_read(o->config_path ? o->config_path : SETTINGS_DEFAULT_PATH,
                          o->config_path != NULL, a, ret, e);

    if (r < 0)
        return r;
    if (o->log_level)
        (void)log_level_parse(o->log_level, &ret->log_level);
    log_set_level(ret->log_level);
    return 0;
}
