/* SPDX-License-Identifier: Apache-2.0 */

/* Command line, configuration, one call, exit status. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/program.h"
#include "base/str.h"
#include "base/title.h"
#include "cgroup/systemd.h"
#include "hook/log/log.h"
#include "hook/plan/input.h"
#include "hook/plan/settings.h"
#include "hook/stages/stages.h"
#include "hook/tool/options.h"
#include "hook/tool/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_BAD_INPUT = 2 };

/* What this program was started with. */
struct start {
    char **argv;
    struct sbuf input;
};

/*
 * The other program takes this one's place, with its pid and parent: it reads what this one has read.
 * -errno, or it does not return.
 */
static int become_other(const void *arg, struct err *e)
{
    const struct start *start = arg;
    char own[PATH_MAX], other[PATH_MAX];
    autofd fd = memfd_create("input", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : program_paths(own, other);

    if (r == 0)
        r = io_write_full(fd, sbuf_text(&start->input), start->input.len);
    if (r == 0 && (lseek(fd, 0, SEEK_SET) < 0 || dup2(fd, STDIN_FILENO) < 0))
        r = -errno;
    if (r < 0)
        return err_sys(e, r, "cannot hand the input over to the program that talks to systemd");
    execve(other, start->argv, environ);
    return err_sys(e, -errno, "cannot start %s, which scopes need", other);
}

static int run_stage(const struct options *o, const struct settings *settings, struct start *start,
                     struct arena *a, struct err *e)
{
    struct request request = {
        .stage = o->stage,
        .state_dir = o->state_dir,
        .settings = settings,
        .only_argument = o->only,
        .layout_argument = o->layout,
        .become_other = become_other,
        .become_arg = start,
    };
    struct oci_input input = {0};
    int r = input_read(STDIN_FILENO, &request.stage, cg_systemd_is_here() ? NULL : &start->input, a,
                       &input, e);

    log_about.stage = stage_name(request.stage);
    log_about.container_id = input.state.id;
    return r < 0 ? r : stages_run(&request, &input, a, e);
}

static int run(const struct options *o, struct start *start, struct arena *a, struct err *e)
{
    struct settings settings;
    int r;

    if (o->verb != VERB_HOOK)
        return verbs_run(o, start->argv, a, e);
    r = options_settings(o, a, &settings, e);
    return r < 0 ? r : run_stage(o, &settings, start, a, e);
}

static bool has_standard_fds(void)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO}, {.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};

    return poll(fds, 3, 0) >= 0 && !((fds[0].revents | fds[1].revents | fds[2].revents) & POLLNVAL);
}

/* A caller may have closed them; a file that we open must not end up as our stdout. */
static void open_standard_fds(void)
{
    int fd;

    if (has_standard_fds())
        return;
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
    struct start start = {.argv = argv, .input = SBUF_INIT};
    struct options o;
    int r;

    title_find(argc, argv, environ);
    for (int i = 0; i < argc; i++) /* what a watcher keeps of them outlives its title_set() */
        argv[i] = arena_strdup(&a, argv[i]);
    open_standard_fds();
    signal(SIGPIPE, SIG_IGN);
    /* Who has started us may ignore it, and then a child's pid could be somebody else's before we have
     * waited for it: we write it to cgroups, and kill it. */
    signal(SIGCHLD, SIG_DFL);
    r = options_parse(argc, argv, &o, &e);
    if (r == 0 && o.verb == VERB_HELP) {
        options_usage(&o);
    } else if (r == 0 && o.verb == VERB_VERSION) {
        puts("oci-sandbox-cgroup " PACKAGE_VERSION);
    } else {
        log_about.to_journal = o.verb == VERB_HOOK;
        if (r == 0)
            r = run(&o, &start, &a, &e);
        if (r < 0) {
            log_msg(LEVEL_ERROR, "%s", e.text);
            /* Whoever writes to us must not be killed by SIGPIPE because we did not listen. */
            if (o.verb == VERB_HOOK && !isatty(STDIN_FILENO))
                io_drain(STDIN_FILENO);
        }
    }
    if (fflush(stdout) != 0 && r == 0)
        r = -1;
    sbuf_free(&start.input);
    arena_free(&a);
    return r == 0 ? EXIT_DONE : e.bad_input ? EXIT_BAD_INPUT : EXIT_FAILED;
}
