/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/changes.h"

#include "tests/fault/kit.h"
#include "tests/fault/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* One that there is on every host, and that every container has by default. */
#define DEVICE "/dev/zero"

char changes_document[PATH_MAX];

/* How it is before the verb, and after one without a fault; and what the record has then. */
static struct state before, done;
static const char *mark;
/* The way to the same once more. */
static void (*again)(struct run *run);

void changes_begin(void)
{
    snprintf(changes_document, sizeof changes_document, "%s/resources.json", world.work);
}

bool are_limits_ours(enum layout layout)
{
    return layout != NESTED;
}

bool are_cpus_ours(enum layout layout)
{
    return layout != NESTED && has_controller("cpuset") && sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

/* --- looks ------------------------------------------------------------------------ */

/* A process of its own says with its exit status what it may open. */
static _Noreturn void try_device(int wait_for)
{
    int status = 0, fd;
    char byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(wait_for, &byte, 1) < 0)
        _exit(4);
    fd = open(DEVICE, O_RDONLY | O_CLOEXEC);
    status |= fd >= 0 ? 1 : errno != EPERM ? 4 : 0;
    fd = open(DEVICE, O_WRONLY | O_CLOEXEC);
    status |= fd >= 0 ? 2 : errno != EPERM ? 4 : 0;
    _exit(status);
}

static bool enter_devices(pid_t pid, const char *where)
{
    bool v1 = false;
    char path[PATH_MAX], file[PATH_MAX + 300], text[16];

    for (size_t i = 0; i < world.count; i++)
        v1 = v1 || strcmp(world.hierarchies[i].names, "devices") == 0;
    snprintf(text, sizeof text, "%d", (int)pid);
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];

        if (strcmp(h->names, v1 ? "devices" : "") != 0 || !where_in(where, h->names, path))
            continue;
        snprintf(file, sizeof file, "%s%s/cgroup.procs", h->dir, path);
        return write_text(file, text);
    }
    return false;
}

/* On v2 nobody can read what is allowed, so it is tried where one is. */
static const char *what_may_be_done(const char *where)
{
    static const char *const words[] = {"nothing", "reading", "writing", "both"};
    int pipe_fds[2], status = -1;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        die("pipe2");
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        close(pipe_fds[1]);
        try_device(pipe_fds[0]);
    }
    close(pipe_fds[0]);
    if (!enter_devices(pid, where))
        kill(pid, SIGKILL);
    close(pipe_fds[1]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) < 4 ? words[WEXITSTATUS(status)] : "not known";
}

static struct state look(void)
{
    struct state now = state_of(&one);

    append(now.limits, sizeof now.limits, DEVICE ": %s\n", what_may_be_done(now.where));
    return now;
}

static bool is_recorded(void)
{
    static char text[1 << 16];
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/sandboxes/one/record.json", world.state);
    return read_text(path, text, sizeof text) && strstr(text, mark);
}

static void only(struct run *run, const struct state *expected, const char *whose, bool watcher)
{
    struct state now = look(), wanted = *expected;

    if (!watcher)
        wanted.watcher = now.watcher;
    same_state(run, whose, &wanted, &now);
}

/* Each line is the old one or the new one. */
static void is_between(struct run *run)
{
    const struct state now = look();
    size_t len;

    for (const char *line = now.limits; *line; line += len + (line[len] == '\n')) {
        char text[2048];

        len = strcspn(line, "\n");
        snprintf(text, sizeof text, "%.*s\n", (int)len, line);
        if (!strstr(before.limits, text) && !strstr(done.limits, text))
            problem(run, "one has %s, which it neither had nor gets", text);
    }
    if (strcmp(now.where, before.where) != 0)
        problem(run, "one is not where it was, but in: %s", now.where);
}

/* --- steps ------------------------------------------------------------------------ */

static void begin(struct run *run, const char *recorded, void (*once_more)(struct run *run))
{
    mark = recorded;
    again = once_more;
    before = look();
    if (is_recorded())
        problem(run, "the record has it before");
}

static void set_cpus(struct run *run)
{
    run_words(run, (const char *[]){"update", "one", "--cpus", "0", NULL});
}

static void set_resources(struct run *run)
{
    run_words(run, (const char *[]){"update", "one", "--resources", changes_document, NULL});
}

static void add_device(struct run *run)
{
    run_words(run, (const char *[]){"add-device", "one", DEVICE, NULL});
}

static void remove_device(struct run *run)
{
    run_words(run, (const char *[]){"remove-device", "one", DEVICE, NULL});
}

void before_cpus(struct run *run)
{
    one_is_up_unwatched(run);
    begin(run, "\"updated\":{", set_cpus);
}

void before_resources(struct run *run)
{
    char text[512];

    snprintf(text, sizeof text, "{%s%s\"memory\":{%s}}\n",
             has_controller("cpu") ? "\"cpu\":{\"quota\":30000,\"period\":100000,\"shares\":256},"
                                   : "",
             has_controller("pids") ? "\"pids\":{\"limit\":32}," : "",
             has_controller("memory") ? "\"limit\":268435456" : "");
    make_file(changes_document, text);
    one_is_up(run);
    begin(run, "\"updated\":{", set_resources);
}

/* What takes back a removal is also how a new one is allowed. */
void before_adding(struct run *run)
{
    one_is_up(run);
    remove_device(run);
    begin(run, "\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":5", add_device);
}

void before_removing(struct run *run)
{
    one_is_up_unwatched(run);
    begin(run, "\"allow\":false,\"type\":\"c\",\"major\":1,\"minor\":5", remove_device);
}

/* --- checks ----------------------------------------------------------------------- */

/* Who fails says what has become of it. */
static void check_failed(struct run *run, bool recorded)
{
    bool stays = strstr(run->out.err, "; the limits are in force");

    if (strstr(run->out.err, "; it may be recorded"))
        return;
    stays = stays || run->out.at_output;
    only(run, stays ? &done : &before, "one, as it failed", false);
    if (recorded != stays)
        problem(run, "it failed, and the record has it%s", recorded ? "" : " not");
}

/* After a stage it is as the record has it. */
static void check_next(struct run *run, bool recorded)
{
    works(run, "poststart", NULL, &one, "running");
    only(run, recorded ? &done : &before, "one, by the next stage", false);
    if (!watcher_of("one"))
        problem(run, "one, by the next stage: there is no watcher");
}

void check_change(struct run *run)
{
    bool recorded = is_recorded();

    if (run->first)
        done = look();
    if (run->first && strcmp(done.limits, before.limits) == 0)
        problem(run, "without a fault it changes nothing");
    if (is_done(run)) {
        only(run, &done, "one", true);
        if (!recorded)
            problem(run, "the record does not have it");
    } else if (is_killed(run)) {
        is_between(run);
    } else {
        check_failed(run, recorded);
    }
    if (run->variant != 1)
        check_next(run, recorded);
    if (!is_done(run) && run->variant != 2) {
        again(run);
        only(run, &done, "one, by the same verb again", false);
    }
    end_one(run);
}
