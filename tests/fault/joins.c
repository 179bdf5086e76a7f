/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/joins.h"

#include "tests/fault/kit.h"
#include "tests/fault/steps.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char joins_number[16];

static void again(struct run *run, const char *word)
{
    run_words(run, (const char *[]){word, "one", joins_number, NULL});
}

/* --- a process -------------------------------------------------------------------- */

/* From where it may come: the runtime's own cgroup of one; where that is the sandbox's, too, the root cgroup. */
void before_process(struct run *run)
{
    one_is_up_unwatched(run);
    container_start(&other);
    enter(other.pid, world.layout == NESTED ? "" : one.own);
    where_is(other.pid, other.was);
    snprintf(joins_number, sizeof joins_number, "%d", (int)other.pid);
}

static void has_joined(struct run *run)
{
    struct state now = state_of(&other), wanted = before_one;

    wanted.watcher = now.watcher;
    same_state(run, "the process", &wanted, &now);
}

static void has_stayed(struct run *run)
{
    char now[WHERE_SIZE];

    where_is(other.pid, now);
    if (strcmp(now, other.was) != 0)
        problem(run, "the process is not where it was, but in: %s", now);
}

/* What is left when the sandbox ends lives on. */
static void end_with_process(struct run *run)
{
    bool stays = run->variant == 2;

    if (!stays)
        container_end(&other);
    end_one(run);
    if (stays && !is_alive(other.pid))
        problem(run, "the process has ended with the sandbox");
    container_end(&other);
}

void check_process(struct run *run)
{
    if (is_done(run) || run->out.at_output)
        has_joined(run);
    else if (is_killed(run))
        between(run, &other, &before_one);
    else
        has_stayed(run);
    if (!is_done(run) && run->variant != 1) {
        again(run, "add-process");
        has_joined(run);
    }
    if (run->variant != 2) {
        works(run, "poststart", NULL, &one, "running");
        one_as_before(run);
    }
    end_with_process(run);
}

/* --- a thread --------------------------------------------------------------------- */

static pid_t vcpu;
static char apart[WHERE_SIZE], back[WHERE_SIZE]; /* in its place; with the overhead */
static char threads[TEXT_SIZE];                  /* where they all are when it is in its place */

static pid_t find_vcpu(void)
{
    char path[sizeof "/proc//task//comm" + 32 + NAME_MAX], name[32];
    struct dirent *entry;
    pid_t found = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)one.more);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)one.more, entry->d_name);
        if (read_text(path, name, sizeof name) && strncmp(name, "CPU ", 4) == 0)
            found = atoi(entry->d_name);
    }
    if (dir)
        closedir(dir);
    return found;
}

/* And all others are together. */
static bool is_vcpu_apart(void)
{
    char path[sizeof "/proc//task" + 32], where[WHERE_SIZE], rest[WHERE_SIZE];
    struct dirent *entry;
    bool done = vcpu > 0;
    DIR *dir;

    where_is(one.more, rest);
    snprintf(path, sizeof path, "/proc/%d/task", (int)one.more);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        where_is(atoi(entry->d_name), where);
        done = done && (strcmp(where, rest) == 0) == (atoi(entry->d_name) != vcpu);
    }
    if (dir)
        closedir(dir);
    return done;
}

/* As if nobody had moved it yet. */
static void take_back(void)
{
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];
        char at[PATH_MAX], other_threads[PATH_MAX], file[PATH_MAX + 300];

        if (!where_in(apart, h->names, at) || !where_in(back, h->names, other_threads) ||
            strcmp(at, other_threads) == 0)
            continue;
        snprintf(file, sizeof file, "%s%s/%s", h->dir, other_threads,
                 h->names[0] ? "tasks" : "cgroup.threads");
        if (!write_text(file, joins_number))
            die(file);
    }
}

void before_thread(struct run *run)
{
    char now[WHERE_SIZE];

    up(run, &one);
    container_add(&one, true);
    vcpu = find_vcpu();
    for (unsigned ms = 0; ms < patience_ms() && !is_vcpu_apart(); ms++)
        usleep(1000);
    if (!is_vcpu_apart())
        problem(run, "the watcher does not set the vCPU apart");
    before_one = state_of(&one);
    kill_watcher(&one);
    snprintf(joins_number, sizeof joins_number, "%d", (int)vcpu);
    where_is(vcpu, apart);
    where_is(one.more, back);
    where_more(threads);
    take_back();
    where_is(vcpu, now);
    if (strcmp(now, back) != 0)
        problem(run, "the vCPU cannot be put back to: %s", back);
}

static void is_at(struct run *run, const char *place, const char *what)
{
    char now[WHERE_SIZE];

    where_is(vcpu, now);
    if (strcmp(now, place) != 0)
        problem(run, "the vCPU is not %s, but in: %s", what, now);
}

static void by_next_watcher(struct run *run)
{
    char now[TEXT_SIZE] = "";

    works(run, "poststart", NULL, &one, "running");
    wait_lifted();
    for (unsigned ms = 0; ms < patience_ms(); ms += 10) {
        where_more(now);
        if (strcmp(now, threads) == 0)
            break;
        usleep(10000);
    }
    if (strcmp(now, threads) != 0)
        problem(run, "by the next watcher the threads are not where they were: %s but in: %s",
                threads, now);
    one_as_before(run);
}

/* In each hierarchy it is in its place or where it was. */
static void is_on_its_way(struct run *run)
{
    char now[WHERE_SIZE];

    where_is(vcpu, now);
    for (size_t i = 0; i < world.count; i++) {
        const char *names = world.hierarchies[i].names;
        char at[PATH_MAX], place[PATH_MAX], was[PATH_MAX];

        if (!where_in(now, names, at) || !where_in(apart, names, place) ||
            !where_in(back, names, was))
            problem(run, "the vCPU is nowhere in %s", names);
        else if (strcmp(at, place) != 0 && strcmp(at, was) != 0)
            problem(run, "the vCPU is neither in its place nor where it was, but in: %s", now);
    }
}

void check_thread(struct run *run)
{
    if (is_done(run) || run->out.at_output || strstr(run->out.err, "; it was moved to ") ||
        strstr(run->out.err, "cannot look whether it stays there"))
        is_at(run, apart, "in its place");
    else if (is_killed(run) || strstr(run->out.err, "; a part of it was moved to "))
        is_on_its_way(run);
    else
        is_at(run, back, "where it was");
    if (!is_done(run) && run->variant != 1) {
        again(run, "add-thread");
        is_at(run, apart, "in its place, by the same verb again");
    }
    if (run->variant == 0)
        by_next_watcher(run);
    end_one(run);
}
