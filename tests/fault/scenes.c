/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/scenes.h"

#include "tests/fault/changes.h"
#include "tests/fault/files.h"
#include "tests/fault/joins.h"
#include "tests/fault/kit.h"
#include "tests/fault/steps.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof *(a))

#define POD_ANNOTATIONS(type)                                                                      \
    "\"io.kubernetes.cri.container-type\":\"" type "\",\"io.kubernetes.cri.sandbox-id\":\"pod\""

/* How it is without a fault, and how it was before. */
static struct state done_one, done_two;
static char done_more[TEXT_SIZE];

/* --- steps ----------------------------------------------------------------------- */

static void fresh_one(struct run *run)
{
    (void)run;
    container_start(&one);
}

static void dead(struct run *run, struct container *c)
{
    up(run, c);
    kill_watcher(c);
    container_end(c);
}

static void one_is_dead(struct run *run)
{
    dead(run, &one);
}

static void predecessor(struct run *run)
{
    dead(run, &one);
    container_start(&one);
}

static void one_has_ended(struct run *run)
{
    up(run, &one);
    container_end(&one);
}

static void one_has_left_something(struct run *run)
{
    up(run, &one);
    container_add(&one, false);
    container_end_init(&one);
}

static void one_is_up_other_dead(struct run *run)
{
    one_is_up(run); /* first: a setup removes what is dead */
    dead(run, &other);
}

/* --- the split -------------------------------------------------------------------- */

static void one_is_split(struct run *run)
{
    up(run, &one);
    container_add(&one, true);
    wait_apart(run, "the watcher");
    container_end_init(&one);
}

static bool is_split_there(enum layout layout)
{
    return layout != SIBLING_ONLY;
}

/* --- checks ----------------------------------------------------------------------- */

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;

    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, "oci-sandbox-cgroup: warning: ", 29) != 0)
            lines++;
    }
    return lines;
}

/* What is true after each run: no lock is held, and each record can be read. */
static void check_quiet(struct run *run)
{
    static struct outcome list;
    char text[TEXT_SIZE];

    if (run->out.hung)
        problem(run, "it does not end: %s", run->out.hung_at);
    held_locks(text);
    if (text[0])
        problem(run, "locked:%s", text);
    world_run((const char *[]){"list", NULL}, NULL, NULL, NULL, 0, NULL, &list);
    if (list.status != 0)
        problem(run, "then list: exit status %d: %s", list.status, list.err);
}

/* How it ends, too. */
static void check_outcome(struct run *run, bool goes_on)
{
    const struct outcome *o = &run->out;

    if (is_killed(run) ? o->signal != SIGKILL : o->status < 0 || o->status > 2)
        problem(run, "exit status %d, signal %d", o->status, o->signal);
    else if (!is_killed(run) && !o->at_output && !goes_on && lines_of(o->err) != (o->status != 0))
        problem(run, "exit status %d, and it says: %s", o->status, o->err);
    if (run->first && o->status != 0)
        problem(run, "without a fault it fails: %s", o->err);
    if (!run->first && !is_done(run)) /* else what comes next reads it all */
        check_quiet(run);
    else if (o->hung)
        problem(run, "it does not end: %s", run->out.hung_at);
}

/* A container that comes: it is in its place, or where it was. */
static void arrived(struct run *run, struct container *c, struct state *done)
{
    struct state now = state_of(c), was = now;

    if (run->first)
        *done = now;
    if (is_done(run)) {
        same_state(run, c->id, done, &now);
    } else if (is_killed(run)) {
        between(run, c, done);
    } else {
        memcpy(was.where, c->was, sizeof was.where);
        if (strcmp(was.where, now.where) != 0)
            problem(run, "%s is not where it was, but in: %s", c->id, now.where);
    }
}

static void check_setup(struct run *run)
{
    char left[TEXT_SIZE];
    struct state now;

    arrived(run, &one, &done_one);
    if (!is_done(run) && !is_killed(run) && !strstr(run->out.err, "`prune` removes it later") &&
        !nothing_left(1000, left) && is_more_than_names(left))
        problem(run, "it failed, and left:%s", left);
    if (!is_done(run) && run->variant == 0) {
        set_up(run, &one);
        now = state_of(&one);
        same_state(run, "one, by the next setup", &done_one, &now);
    }
    end_one(run);
}

/* Of the predecessor something may be left when it fails. */
static void check_successor(struct run *run)
{
    struct state now;

    arrived(run, &one, &done_one);
    if (!is_done(run) && run->variant == 0) {
        set_up(run, &one);
        now = state_of(&one);
        same_state(run, "one, by the next setup", &done_one, &now);
    }
    end_one(run);
}

/* A stage or verb that comes to what runs changes nothing. */
static void check_again(struct run *run)
{
    one_as_before(run);
    if (!is_done(run) && run->variant == 0) {
        works(run, "poststart", NULL, &one, "running");
        one_as_before(run);
    }
    end_one(run);
}

/* Then one whose watcher was killed has another. */
static void check_update(struct run *run)
{
    if (is_done(run))
        one_as_before(run);
    works(run, "poststart", NULL, &one, "running");
    one_as_before(run);
    end_one(run);
}

static void check_last(struct run *run)
{
    char now[TEXT_SIZE];

    if (!is_done(run) && run->variant != 2)
        tear_down(run, &one);
    ends(run);
    if (!one.more)
        return;
    where_more(now);
    if (run->first)
        memcpy(done_more, now, sizeof now);
    if (strcmp(now, done_more) != 0 && !strstr(run->out.err, ", out of the sandbox's limits"))
        problem(run, "what was left in it is not where it should be, but in: %s", now);
}

static void check_delete(struct run *run)
{
    /* A second one would say that there is no record any more, where the first was killed late. */
    if (!is_done(run) && run->variant != 2)
        tear_down(run, &one);
    ends(run);
}

static void check_forced(struct run *run)
{
    struct state now = state_of(&one);

    if (run->first)
        done_one = now;
    if (is_done(run) && !strstr(run->out.err, ", out of the sandbox's limits"))
        same_state(run, "one", &done_one, &now);
    else if (!now.where[0])
        problem(run, "one has ended");
    container_end(&one);
    if (!is_done(run))
        tear_down(run, &one);
    ends(run);
}

/* --- by hand ---------------------------------------------------------------------- */

/* Whether a cgroup, and all of it, stands still: where somebody is, as where_is() has it. */
static bool stands_still(const char *where)
{
    char path[PATH_MAX], file[2 * PATH_MAX], text[TEXT_SIZE];
    bool v1 = has_controller("freezer");

    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];

        if (strcmp(h->names, v1 ? "freezer" : "") != 0 || !where_in(where, h->names, path))
            continue;
        snprintf(file, sizeof file, "%s%s/%s", h->dir, path,
                 v1 ? "freezer.state" : "cgroup.events");
        return read_text(file, text, sizeof text) && strstr(text, v1 ? "FROZEN" : "frozen 1");
    }
    return false;
}

static bool is_frozen(void)
{
    char where[WHERE_SIZE];

    where_is(one.pid, where);
    return stands_still(where);
}

/* What fails undoes itself; who is killed there is thawed by the next. */
static void check_freeze(struct run *run)
{
    bool frozen = is_frozen();

    if (is_done(run) != frozen && !is_killed(run) && !run->out.at_output)
        problem(run, "it is %s", frozen ? "frozen" : "not frozen");
    works(run, "thaw", "one", NULL, NULL);
    if (is_frozen())
        problem(run, "it is frozen after thaw");
    one_as_before(run);
    end_one(run);
}

static void one_is_frozen(struct run *run)
{
    one_is_up(run);
    works(run, "freeze", "one", NULL, NULL);
}

static void check_thaw(struct run *run)
{
    if (is_done(run) && is_frozen())
        problem(run, "it is frozen");
    works(run, "thaw", "one", NULL, NULL);
    one_as_before(run);
    end_one(run);
}

/* What the kernel says of who should be dead: signals that wait, and where it sleeps. */
static void lives(struct run *run)
{
    static char text[TEXT_SIZE];
    char path[sizeof "/proc//status" + 16], sleeps[64] = "";
    const char *signals;

    snprintf(path, sizeof path, "/proc/%d/wchan", (int)one.pid);
    (void)read_text(path, sleeps, sizeof sleeps);
    snprintf(path, sizeof path, "/proc/%d/status", (int)one.pid);
    if (!read_text(path, text, sizeof text))
        text[0] = '\0';
    signals = strstr(text, "SigQ");
    problem(run, "one lives, in \"%s\", %s: %.60s, %.160s; it was said: %s", sleeps,
            is_frozen() ? "frozen" : "not frozen", text, signals ? signals : "", run->out.out);
}

/* Who has got no signal has it said. */
static void check_kill(struct run *run)
{
    for (unsigned ms = 0; is_done(run) && is_alive(one.pid); ms++) {
        if (ms == patience_ms()) {
            lives(run);
            break;
        }
        usleep(1000);
    }
    if (!is_done(run))
        works(run, "kill", "one", NULL, NULL);
    if (is_alive(one.pid)) {
        problem(run, "one lives after another kill");
        works(run, "thaw", "one", NULL, NULL);
    }
    if (stands_still(before_one.where))
        problem(run, "the cgroup that it was in is left frozen");
    end_one(run);
}

static void check_prune(struct run *run)
{
    one_as_before(run);
    container_end(&one);
    tear_down(run, &one);
    ends(run);
}

/* --- a pod ------------------------------------------------------------------------ */

static void two_is_new(struct run *run)
{
    up(run, &one);
    before_one = state_of(&one);
    container_start(&two);
}

/* Limits of one are those of the sandbox, and may be those of both. */
static void one_stays(struct run *run, bool limits_may_differ)
{
    struct state now = state_of(&one);

    if (limits_may_differ)
        memcpy(now.limits, before_one.limits, sizeof now.limits);
    same_state(run, "one", &before_one, &now);
}

static void end_pod(struct run *run)
{
    container_end(&two);
    tear_down(run, &two);
    one_stays(run, false);
    container_end(&one);
    tear_down(run, &one);
    ends(run);
}

static void check_join(struct run *run)
{
    struct state now;

    arrived(run, &two, &done_two);
    one_stays(run, is_done(run) || is_killed(run));
    if (!is_done(run) && run->variant == 0) {
        set_up(run, &two);
        now = state_of(&two);
        same_state(run, "two, by the next setup", &done_two, &now);
    }
    end_pod(run);
}

static void two_has_ended(struct run *run)
{
    two_is_new(run);
    set_up(run, &two);
    container_end(&two);
}

static void check_first(struct run *run)
{
    one_stays(run, !is_done(run));
    if (is_done(run)) {
        container_end(&one);
        tear_down(run, &one);
        ends(run);
    } else {
        end_pod(run);
    }
}

static bool is_pod_there(enum layout layout)
{
    return layout != NESTED;
}

/* --- the watcher ------------------------------------------------------------------- */

/* And the watcher has begun to look. */
static void one_is_watched(struct run *run)
{
    char report[PATH_MAX];

    one_is_up(run);
    snprintf(report, sizeof report, "%s/sandboxes/one/placement.json", world.state);
    for (int tries = 0; tries < 5000 && access(report, F_OK) < 0; tries++)
        usleep(1000);
    if (access(report, F_OK) < 0)
        problem(run, "the watcher does not look");
}

static void add_vmm(void)
{
    container_add(&one, true);
}

static const struct work split_work = {.act = add_vmm, .done = is_apart};

/* It tries until it can; and the next one goes on from there. */
static void check_split(struct run *run)
{
    if (run->out.status != 0 && !is_killed(run))
        problem(run, "the watcher has ended");
    if (is_killed(run))
        works(run, "poststart", NULL, &one, "running");
    wait_apart(run, is_killed(run) ? "the next watcher" : "the watcher");
    if (!watcher_of("one"))
        problem(run, "there is no watcher");
    container_end_init(&one);
    tear_down(run, &one);
    run->out.status = 0;
    check_last(run);
}

/* While there is nothing to do, too: what it cannot see has not changed. After a fault it has some time to
 * do something about it. */
enum { IDLE_SLEEPS = 4, IDLE_MS = 60 };
static unsigned idle_left;
static int idle_sleeps;

static void be_idle(void)
{
    idle_left = IDLE_MS;
    idle_sleeps = IDLE_SLEEPS;
}

static bool was_idle(void)
{
    int sleeps = trace_sleeps();

    return sleeps < 0 ? idle_left-- == 0 : sleeps >= idle_sleeps;
}

static const struct work idle_work = {.act = be_idle, .done = was_idle};

static void check_idle(struct run *run)
{
    if (run->out.status != 0 && !is_killed(run))
        problem(run, "the watcher has ended");
    if (is_killed(run))
        works(run, "poststart", NULL, &one, "running");
    one_as_before(run);
    run->out.status = 0;
    end_one(run);
}

/*
 * And when all vCPUs are in their place and nothing has changed for two seconds: then it looks at the hot-plug
 * interval, and after 4, 8 and 16 times at everything, which is helpers and limits, too.
 */
#define SETTLED_SETTINGS "\"hotplug_interval_ms\":50"
enum { SETTLE_MS = 2300, SETTLED_SLEEPS = 16, SETTLED_MS = 800 };
static char before_more[TEXT_SIZE];
static int settled_sleeps;

/* Nothing changes any more: on a slow machine the watcher lifts limits later than it moves threads. */
static void wait_settled(void)
{
    struct state last;

    before_one = state_of(&one);
    do {
        last = before_one;
        usleep(SETTLE_MS * 1000);
        before_one = state_of(&one);
    } while (strcmp(last.limits, before_one.limits) != 0);
}

static void one_is_settled(struct run *run)
{
    /* A pass that looks at everything may come later than in the run that showed the calls. */
    settled_sleeps = run->first ? SETTLED_SLEEPS : 2 * SETTLED_SLEEPS;
    up(run, &one);
    container_add(&one, true);
    if (is_split_there(world.layout))
        wait_apart(run, "the watcher");
    wait_settled();
    where_more(before_more);
}

static void be_settled(void)
{
    idle_left = SETTLED_MS;
    idle_sleeps = settled_sleeps;
}

static const struct work settled_work = {.act = be_settled, .done = was_idle};

/* Nobody has to find out by himself. */
static void is_missed(struct run *run)
{
    static struct outcome check;

    world_run((const char *[]){"check", NULL}, NULL, NULL, NULL, 0, NULL, &check);
    if (!strstr(check.out, "one: its watcher has gone"))
        problem(run, "check does not say that there is no watcher: %s", check.out);
}

/* What it could not see or do this time it can the next time, and nothing has changed meanwhile. */
static void check_settled(struct run *run)
{
    char now[TEXT_SIZE];

    if (run->out.status != 0 && !is_killed(run))
        problem(run, "the watcher has ended");
    if (is_killed(run) && run->variant == 0)
        is_missed(run);
    if (is_killed(run)) {
        works(run, "poststart", NULL, &one, "running");
        wait_lifted();
    }
    one_as_before(run);
    where_more(now);
    if (strcmp(now, before_more) != 0)
        problem(run, "the VMM's threads are not where they were, but in: %s", now);
    run->out.status = 0;
    end_one(run);
}

static void one_is_gone(struct run *run)
{
    up(run, &one);
    container_end(&one);
}

/* It waits for a poststop first, two seconds of at most a tenth each; what it does then begins with the sandbox's
 * lock. (It takes that when it has just been started, too.) */
static const struct work end_work = {.from = SYS_flock, .sleeps = 2};

/* Nobody calls poststop. What the watcher could not do, prune does. */
static void check_end(struct run *run)
{
    if (run->first)
        gone(run, false);
    else
        ends(run);
}

/* --- all of them -------------------------------------------------------------------- */

const struct scene scenes[] = {
    {.name = "setup",
     .prepare = fresh_one,
     .words = {"prestart"},
     .subject = &one,
     .status = "created",
     .check = check_setup},
    {.name = "successor",
     .prepare = predecessor,
     .words = {"prestart"},
     .subject = &one,
     .status = "created",
     .check = check_successor},
    {.name = "again",
     .prepare = one_is_up,
     .words = {"poststart"},
     .subject = &one,
     .status = "running",
     .check = check_again},
    {.name = "again-unwatched",
     .prepare = one_is_up_unwatched,
     .words = {"poststart"},
     .subject = &one,
     .status = "running",
     .check = check_update},
    {.name = "join",
     .has = is_pod_there,
     .prepare = two_is_new,
     .words = {"prestart"},
     .subject = &two,
     .status = "created",
     .check = check_join},
    {.name = "poststop-first",
     .has = is_pod_there,
     .prepare = two_has_ended,
     .words = {"poststop"},
     .subject = &two,
     .status = "stopped",
     .check = check_first},
    {.name = "poststop-last",
     .prepare = one_has_ended,
     .words = {"poststop"},
     .subject = &one,
     .status = "stopped",
     .check = check_last},
    {.name = "poststop-left",
     .prepare = one_has_left_something,
     .words = {"poststop"},
     .subject = &one,
     .status = "stopped",
     .check = check_last},
    {.name = "poststop-split",
     .has = is_split_there,
     .prepare = one_is_split,
     .words = {"poststop"},
     .subject = &one,
     .status = "stopped",
     .check = check_last},
    {.name = "delete", .prepare = one_is_dead, .words = {"delete", "one"}, .check = check_delete},
    {.name = "delete-forced",
     .prepare = one_is_up,
     .words = {"delete", "--force", "one"},
     .check = check_forced},
    {.name = "update",
     .prepare = one_is_up_unwatched,
     .words = {"update", "one"},
     .check = check_update},
    {.name = "update-cpus",
     .has = are_cpus_ours,
     .prepare = before_cpus,
     .words = {"update", "one", "--cpus", "0"},
     .check = check_change},
    {.name = "update-resources",
     .has = are_limits_ours,
     .prepare = before_resources,
     .words = {"update", "one", "--resources", changes_document},
     .check = check_change},
    {.name = "add-process",
     .prepare = before_process,
     .words = {"add-process", "one", joins_number},
     .check = check_process},
    {.name = "add-thread",
     .has = is_split_there,
     .prepare = before_thread,
     .words = {"add-thread", "one", joins_number},
     .check = check_thread},
    {.name = "add-device",
     .has = are_limits_ours,
     .resources = DEVICE_RESOURCES,
     .prepare = before_adding,
     .words = {"add-device", "one", "/dev/zero"},
     .check = check_change},
    {.name = "remove-device",
     .has = are_limits_ours,
     .resources = DEVICE_RESOURCES,
     .prepare = before_removing,
     .words = {"remove-device", "one", "/dev/zero"},
     .check = check_change},
    {.name = "freeze", .prepare = one_is_up, .words = {"freeze", "one"}, .check = check_freeze},
    {.name = "thaw", .prepare = one_is_frozen, .words = {"thaw", "one"}, .check = check_thaw},
    {.name = "kill", .prepare = one_is_up_unwatched, .words = {"kill", "one"}, .check = check_kill},
    {.name = "kill-term",
     .prepare = one_is_up_unwatched,
     .words = {"kill", "one", "TERM"},
     .check = check_kill},
    {.name = "prune", .prepare = one_is_up_other_dead, .words = {"prune"}, .check = check_prune},
    {.name = "register",
     .has = is_file_there,
     .prepare = new_file,
     .words = {"register", files_bundle},
     .check = check_file},
    {.name = "register-remove",
     .has = is_file_there,
     .prepare = registered_file,
     .words = {"register", "--remove", files_bundle},
     .check = check_file},
    {.name = "metrics",
     .prepare = before_output,
     .words = {"metrics", "--output", files_output},
     .check = check_metrics,
     .goes_on = true},
    {.name = "overhead",
     .has = is_page_there,
     .prepare = before_output,
     .words = {"overhead", "--for", "20ms", "--html", files_output},
     .check = check_page,
     .goes_on = true},
    {.name = "watcher-split",
     .has = is_split_there,
     .prepare = one_is_watched,
     .work = &split_work,
     .check = check_split},
    {.name = "watcher-idle", .prepare = one_is_up, .work = &idle_work, .check = check_idle},
    {.name = "watcher-settled",
     .settings = SETTLED_SETTINGS,
     .prepare = one_is_settled,
     .work = &settled_work,
     .check = check_settled,
     .waits = true},
    {.name = "watcher-end",
     .prepare = one_is_gone,
     .work = &end_work,
     .check = check_end,
     .waits = true},
};
const size_t scene_count = ARRAY_SIZE(scenes);

static bool is_of_pod(const struct scene *scene)
{
    return scene->subject == &two;
}

/* Who is in a pod has other cgroups, and another sandbox. */
static void cast(const struct scene *scene)
{
    static const struct scene *last;
    static enum layout layout;

    if (last && is_of_pod(last) == is_of_pod(scene) && last->resources == scene->resources &&
        last->settings == scene->settings && layout == world.layout)
        return;
    world.settings = scene->settings;
    world_configure(world.layout);
    if (is_of_pod(scene)) {
        container_init(&one, "pod", "one", POD_ANNOTATIONS("container"), NULL);
        container_init(&two, "pod", "two", POD_ANNOTATIONS("container"), NULL);
    } else {
        container_init(&one, NULL, "one", "", scene->resources);
        container_init(&other, NULL, "other", "", NULL);
    }
    last = scene;
    layout = world.layout;
}

void scenes_begin(enum layout layout)
{
    world_configure(layout);
    changes_begin();
    files_begin();
}

void scene_run(const struct scene *scene, const struct call *at, int what, struct calls *seen,
               struct run *run)
{
    cast(scene);
    run->first = seen != NULL;
    run->what = what;
    run->problems[0] = '\0';
    scene->prepare(run);
    if (scene->work) {
        trace_attach(watcher_of("one"), scene->work, at, what, seen, &run->out);
        check_quiet(run);
    } else {
        world_run(scene->words, scene->subject, scene->status, at, what, seen, &run->out);
        check_outcome(run, scene->goes_on);
    }
    if (run->out.unlisted[0])
        problem(run, "system calls that faults.c does not list, by number:%s", run->out.unlisted);
    scene->check(run);
    world_end();
    if (run->problems[0])
        world_clear();
}
