/* SPDX-License-Identifier: Apache-2.0 */

/* Command line, configuration, one call, exit status. */

#include "base/arena.h"
#include "base/err.h"
#include "base/io.h"
#include "hook/log/log.h"
#include "hook/plan/input.h"
#include "hook/plan/settings.h"
#include "hook/stages/stages.h"
#include "hook/tool/options.h"
#include "hook/tool/verbs.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_BAD_INPUT = 2 };

static int run_stage(const struct options *o, const struct settings *settings, struct arena *a,
                     struct err *e)
{
    struct request request = {
        .stage = o->stage,
        .state_dir = o->state_dir,
        .settings = settings,
        .only_argument = o->only,
        .layout_argument = o->layout,
    };
    struct oci_input input = {0};
    int r = input_read(STDIN_FILENO, &request.stage, a, &input, e);

    log_about.stage = stage_name(request.stage);
    log_about.container_id = input.state.id;
    return r < 0 ? r : stages_run(&request, &input, a, e);
}

static int run(const struct options *o, struct arena *a, struct err *e)
{
    static int (*const verbs[])(const struct options *, const struct settings *, struct arena *,
                                struct err *) = {
        [VERB_HOOK] = run_stage,   [VERB_PLAN] = verb_plan,     [VERB_CHECK] = verb_check,
        [VERB_LIST] = verb_list,   [VERB_SHOW] = verb_show,     [VERB_DELETE] = verb_delete,
        [VERB_PRUNE] = verb_prune, [VERB_UPDATE] = verb_update,
    };
    struct settings settings;
    int r;

    if (o->verb == VERB_REGISTER)
        return verb_register(o, NULL, a, e);
    r = settings_read(o->config_path ? o->config_path : SETTINGS_DEFAULT_PATH,
                      o->config_path != NULL, a, &settings, e);
    if (r < 0)
        return r;
    if (o->log_level && log_level_parse(o->log_level, &settings.log_level) < 0)
        return err_input(e, "--log-level is none of error, warning, info, debug");
    log_set_level(settings.log_level);
    return verbs[o->verb](o, &settings, a, e);
}

/* A caller may have closed them; a file that we open must not end up as our stdout. */
static void open_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct arena a = ARENA_INIT;
    struct options o;
    int r;

    open_standard_fds();
    signal(SIGPIPE, SIG_IGN);
    r = options_parse(argc, argv, &o, &e);
    if (r == 0 && o.verb == VERB_HELP) {
        options_usage();
    } else if (r == 0 && o.verb == VERB_VERSION) {
        puts("oci-sandbox-cgroup " PACKAGE_VERSION);
    } else {
        log_about.to_journal = o.verb == VERB_HOOK;
        if (r == 0)
            r = run(&o, &a, &e);
        if (r < 0) {
            log_msg(LEVEL_ERROR, "%s", e.text);
            /* Whoever writes to us must not be killed by SIGPIPE because we did not listen. */
            if (o.verb == VERB_HOOK && !isatty(STDIN_FILENO))
                io_drain(STDIN_FILENO);
        }
    }
    if (fflush(stdout) != 0 && r == 0)
        r = -1;
    arena_free(&a);
    return r == 0 ? EXIT_DONE : e.bad_input ? EXIT_BAD_INPUT : EXIT_FAILED;
}
