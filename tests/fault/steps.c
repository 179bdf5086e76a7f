/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/steps.h"

#include "tests/fault/kit.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct container one, two, other;
struct state before_one;

unsigned patience_ms(void)
{
    const char *factor = getenv("OSC_PATIENCE");
    unsigned long times = factor ? strtoul(factor, NULL, 10) : 1;

    return times > 0 && times < 100 ? 4000 * (unsigned)times : 4000;
}

void problem(struct run *run, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++) {
        if (*p == '\n')
            *p = '|';
    }
    append(run->problems, sizeof run->problems, "%s\n", text);
}

/* --- steps ----------------------------------------------------------------------- */

static const char *sandbox_of(const struct container *c)
{
    return c->annotations[0] ? "pod" : c->id;
}

void works(struct run *run, const char *word, const char *arg, const struct container *c,
           const char *status)
{
    const char *words[] = {word, arg, NULL};
    static struct outcome out;

    world_run(words, c, status, NULL, 0, NULL, &out);
    if (out.status != 0)
        problem(run, "then %s%s%s: exit status %d%s: %s", word, c ? " of " : "", c ? c->id : "",
                out.status, out.hung ? ", does not end" : "", out.err);
}

void run_words(struct run *run, const char *const words[])
{
    static struct outcome out;

    world_run(words, NULL, NULL, NULL, 0, NULL, &out);
    if (out.status != 0)
        problem(run, "then %s: exit status %d: %s", words[0], out.status, out.err);
}

void set_up(struct run *run, struct container *c)
{
    works(run, "prestart", NULL, c, "created");
}

void tear_down(struct run *run, struct container *c)
{
    works(run, "poststop", NULL, c, "stopped");
}

struct state state_of(const struct container *c)
{
    struct state s;

    where_is(c->pid, s.where);
    limits_of(s.where, NULL, s.limits);
    s.watcher = watcher_of(sandbox_of(c)) != 0;
    return s;
}

void up(struct run *run, struct container *c)
{
    container_start(c);
    set_up(run, c);
}

void one_is_up(struct run *run)
{
    up(run, &one);
    before_one = state_of(&one);
}

void kill_watcher(const struct container *c)
{
    end_process(watcher_of(sandbox_of(c)));
}

void one_is_up_unwatched(struct run *run)
{
    one_is_up(run);
    kill_watcher(&one);
}

/* --- looks ----------------------------------------------------------------------- */

bool is_killed(const struct run *run)
{
    return run->what == FAULT_KILL && run->out.injected;
}

bool is_done(const struct run *run)
{
    return run->out.status == 0;
}

void same_state(struct run *run, const char *whose, const struct state *expected,
                const struct state *now)
{
    if (strcmp(expected->where, now->where) != 0)
        problem(run, "%s is not where it should be, but in: %s", whose,
                now->where[0] ? now->where : "nothing, it has ended");
    else if (strcmp(expected->limits, now->limits) != 0)
        problem(run, "%s: limits should be: %s but are: %s", whose, expected->limits, now->limits);
    if (expected->watcher != now->watcher)
        problem(run, "%s: there is %s watcher", whose, now->watcher ? "a" : "no");
}

void one_as_before(struct run *run)
{
    struct state now = state_of(&one);

    same_state(run, "one", &before_one, &now);
}

/* In each hierarchy it is where it was, or in its place and under all of its limits there. */
void between(struct run *run, const struct container *c, const struct state *done)
{
    char now[WHERE_SIZE];

    where_is(c->pid, now);
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];
        char at[PATH_MAX], was[PATH_MAX], target[PATH_MAX], limits[TEXT_SIZE], expected[TEXT_SIZE];

        if (!where_in(now, h->names, at) || !where_in(c->was, h->names, was) ||
            !where_in(done->where, h->names, target)) {
            problem(run, "%s: it has ended", c->id);
            return;
        }
        if (strcmp(at, was) == 0)
            continue;
        limits_of(now, h, limits);
        expected[0] = '\0';
        for (const char *line = limits; *line; line += strcspn(line, "\n") + 1) {
            if (!memmem(done->limits, strlen(done->limits), line, strcspn(line, "\n")))
                append(expected, sizeof expected, "%.*s ", (int)strcspn(line, "\n"), line);
            if (!line[strcspn(line, "\n")])
                break;
        }
        if (strcmp(at, target) != 0)
            problem(run, "%s: in %s it is in %s", c->id, h->names, at);
        else if (expected[0])
            problem(run, "%s: in %s it is not under its limits: %s", c->id, h->names, expected);
    }
}

/* --- threads -------------------------------------------------------------------- */

/* Where each thread of the further process is. */
void where_more(char ret[TEXT_SIZE])
{
    char path[sizeof "/proc//task//cgroup" + 32 + NAME_MAX], where[WHERE_SIZE];
    struct dirent *entry;
    DIR *dir;

    ret[0] = '\0';
    snprintf(path, sizeof path, "/proc/%d/task", (int)one.more);
    dir = one.more ? opendir(path) : NULL;
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/cgroup", (int)one.more, entry->d_name);
        if (read_text(path, where, sizeof where))
            append(ret, TEXT_SIZE, "%s;", where);
    }
    if (dir)
        closedir(dir);
}

/* When not all threads are in the same cgroups. */
bool is_apart(void)
{
    char now[TEXT_SIZE];
    size_t first;

    where_more(now);
    first = strcspn(now, ";") + 1;
    for (const char *p = now; *p; p += first) {
        if (strncmp(p, now, first) != 0)
            return true;
    }
    return false;
}

void wait_apart(struct run *run, const char *what)
{
    for (int tries = 0; tries < 10000 && !is_apart(); tries++)
        usleep(1000);
    if (!is_apart())
        problem(run, "%s does not set the vCPUs apart", what);
}

/* A stage sets the quota of all, and the watcher that it starts lifts it again. */
void wait_lifted(void)
{
    struct state now = state_of(&one);

    for (unsigned ms = 0; ms < patience_ms() && strcmp(now.limits, before_one.limits) != 0;
         ms += 10) {
        usleep(10000);
        now = state_of(&one);
    }
}

/* --- the end --------------------------------------------------------------------- */

void gone(struct run *run, bool prune)
{
    char left[TEXT_SIZE];

    if (prune)
        works(run, "prune", NULL, NULL, NULL);
    if (!nothing_left(patience_ms(), left))
        problem(run, "left%s:%s", prune ? " after prune" : "", left);
}

/* Names in the state directory are in nobody's way, and neither is an empty parent of overhead cgroups, which has
 * its marker. */
bool is_more_than_names(const char *left)
{
    char text[TEXT_SIZE];

    snprintf(text, sizeof text, "%s", left);
    for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        bool is_parent = strstr(left, "/parents/") && ends_with(word, "/overhead");

        if (strcmp(word, "process") == 0 || ends_with(word, "/record.json") ||
            (strstr(word, world.base) && !is_parent))
            return true;
    }
    return false;
}

/* All have ended by now. What a fault has left `prune` takes care of; but who says that all is done may leave
 * a name in the state directory, and no more. */
void ends(struct run *run)
{
    char left[TEXT_SIZE];

    if (run->first || nothing_left(200, left)) {
        gone(run, false);
        return;
    }
    if (is_done(run) && is_more_than_names(left) && !nothing_left(patience_ms(), left) &&
        is_more_than_names(left))
        problem(run, "nothing was said of what is left:%s", left);
    gone(run, true);
}

void end_one(struct run *run)
{
    container_end(&one);
    if (run->variant == 2)
        works(run, "prune", NULL, NULL, NULL);
    else
        tear_down(run, &one);
    ends(run);
}
