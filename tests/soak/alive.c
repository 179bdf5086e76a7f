/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/alive.h"

#include "tests/fault/kit.h"
#include "tests/fault/world.h"
#include "tests/soak/count.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of each sandbox: init, a VMM of four threads, a watcher and a placeholder; in KiB with what the kernel has of
 * their cgroups. */
enum { TASKS_EACH = 7, KIB_EACH = 4096 };
/* Of how many the median is taken, of the first and of the last of a layout. */
enum { SOME = 20 };
enum { SPAN_S = 10, SPLIT_PATIENCE_S = 300 };
/* After its last change a watcher looks more often for ten seconds. */
enum { CALM_S = 12 };
/* Of a stranger's forks, the median of these batches. */
enum { FORKS = 200, FORK_BATCHES = 25 };

struct one {
    char id[32], own[96], bundle[PATH_MAX];
    pid_t pid, vmm;
    const char *conf;
    double setup_ms, poststop_ms;
};

/* Layouts with a watcher each. */
static const size_t layouts[] = {0, 2};
enum { LAYOUTS_ALIVE = 2 };
/* So many are set up when the others are calm. */
enum { LATE = LAYOUTS_ALIVE * SOME };

/* --- room ---------------------------------------------------------------------------- */

/* A number in a file, or more than enough. */
static unsigned long number_in(const char *path)
{
    char text[64], *end;
    unsigned long n;

    if (!read_text(path, text, sizeof text))
        return ULONG_MAX;
    n = strtoul(text, &end, 10);
    return end == text ? ULONG_MAX : n;
}

/* What the pids controller leaves us, where this program is and above. */
static unsigned long pids_left(void)
{
    unsigned long least = ULONG_MAX;
    char where[WHERE_SIZE], path[PATH_MAX], file[PATH_MAX + 512];

    where_is(getpid(), where);
    for (size_t i = 0; i < world.count; i++) {
        const struct hierarchy *h = &world.hierarchies[i];

        if (!where_in(where, h->names, path))
            continue;
        for (char *slash; (slash = strrchr(path, '/')); *slash = '\0') {
            unsigned long max, current;

            snprintf(file, sizeof file, "%s%s/pids.max", h->dir, path);
            max = number_in(file);
            snprintf(file, sizeof file, "%s%s/pids.current", h->dir, path);
            current = number_in(file);
            if (max != ULONG_MAX && current != ULONG_MAX && max - current < least)
                least = max > current ? max - current : 0;
        }
    }
    return least;
}

/* And all limits of the machine. */
static unsigned long tasks_left(void)
{
    unsigned long max = number_in("/proc/sys/kernel/pid_max"),
                  threads = number_in("/proc/sys/kernel/threads-max"), now = 0, left = pids_left();
    char text[128];

    if (read_text("/proc/loadavg", text, sizeof text))
        sscanf(text, "%*s %*s %*s %*u/%lu", &now);
    max = max < threads ? max : threads;
    max = max > now ? max - now : 0;
    return max < left ? max : left;
}

static unsigned long memory_left_kib(void)
{
    char text[4096];
    const char *found;

    if (!read_text("/proc/meminfo", text, sizeof text))
        return 0;
    found = strstr(text, "MemAvailable:");
    return found ? strtoul(found + strlen("MemAvailable:"), NULL, 10) : 0;
}

bool alive_fits(unsigned long count)
{
    unsigned long tasks = tasks_left(), kib = memory_left_kib();

    if (tasks / TASKS_EACH < count)
        printf("skip  %lu sandboxes at once: there may be %lu more tasks here, and it takes %lu\n",
               count, tasks, count * TASKS_EACH);
    else if (kib / KIB_EACH < count)
        printf("skip  %lu sandboxes at once: %lu MiB of memory are free, and it may take %lu\n",
               count, kib / 1024, count * KIB_EACH / 1024);
    else
        return true;
    return false;
}

/* --- sandboxes ----------------------------------------------------------------------- */

static bool stage(struct lives *l, enum stage_kind kind, const char *word, const struct one *c,
                  const char *status, double *ret_ms)
{
    char input[PATH_MAX + 256];
    struct stage s;
    bool good;

    stage_input(c->id, status, c->pid, c->bundle, input, sizeof input);
    good = life_stage(l, kind, c->conf, word, input, c->id, NULL, &s);
    *ret_ms = s.cpu_ms;
    return good;
}

static bool set_up(struct lives *l, struct one *c, unsigned long i)
{
    bool good;

    snprintf(c->id, sizeof c->id, "alive%lu", i);
    snprintf(c->own, sizeof c->own, "%s/%s", world.base, c->id);
    c->conf = conf_path(layouts[i % LAYOUTS_ALIVE]);
    life_bundle(c->id, c->own, "", c->bundle);
    make_cgroup(c->own);
    set_own_quota(c->own);
    c->pid = payload_start(false);
    enter(c->pid, c->own);
    good = stage(l, SET_UP, "prestart", c, "created", &c->setup_ms);
    c->vmm = payload_start(true);
    payload_join(c->vmm, c->pid);
    return good;
}

static bool take_away(struct lives *l, struct one *c)
{
    char file[PATH_MAX + 16];
    bool good;

    end_process(c->vmm);
    end_process(c->pid);
    c->pid = 0;
    good = stage(l, POSTSTOP, "poststop", c, "stopped", &c->poststop_ms);
    remove_cgroup(c->own);
    snprintf(file, sizeof file, "%s/config.json", c->bundle);
    unlink(file);
    rmdir(c->bundle);
    return good;
}

/* Whether some threads of the VMM are elsewhere than others. */
static bool is_split(const struct one *c)
{
    char path[sizeof "/proc//task//cgroup" + 32 + NAME_MAX], first[WHERE_SIZE], where[WHERE_SIZE];
    struct dirent *entry;
    bool split = false;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)c->vmm);
    where_is(c->vmm, first);
    dir = opendir(path);
    while (dir && (entry = readdir(dir)) && !split) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/cgroup", (int)c->vmm, entry->d_name);
        split = entry->d_name[0] != '.' && read_text(path, where, sizeof where) &&
                strcmp(first, where) != 0;
    }
    if (dir)
        closedir(dir);
    return split;
}

/* How many are split when no more will be. */
static unsigned long wait_for_splits(const struct one *all, unsigned long count)
{
    unsigned long split = 0;

    for (unsigned tries = 0; tries < SPLIT_PATIENCE_S && split < count; tries++) {
        if (tries > 0)
            sleep(1);
        split = 0;
        for (unsigned long i = 0; i < count; i++)
            split += is_split(&all[i]);
    }
    return split;
}

/* --- what it costs ------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median CPU time of so many of one layout, from its @first one on. */
static double median(const struct one *all, size_t layout, unsigned long first, unsigned long count,
                     bool setup)
{
    double values[SOME] = {0};

    for (unsigned long i = 0; i < count; i++) {
        const struct one *c = &all[(first + i) * LAYOUTS_ALIVE + layout];

        values[i] = setup ? c->setup_ms : c->poststop_ms;
    }
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static void print_stage(const struct one *all, unsigned long count, bool setup)
{
    for (size_t i = 0; i < LAYOUTS_ALIVE; i++) {
        unsigned long of = count / LAYOUTS_ALIVE, some = of < SOME ? of : SOME;

        if (some > 0)
            printf(
                "%-9s %-8s CPU time, median: of the first %lu %.2f ms, of the last %lu %.2f ms\n",
                setup ? "setup," : "poststop,", conf_word(layouts[i]), some,
                median(all, i, 0, some, setup), some, median(all, i, of - some, some, setup));
    }
}

struct cost {
    unsigned long private_kib, switches;
    double cpu_ms;
};

/* The sum of the numbers behind this word at the beginnings of lines. */
static unsigned long numbers_behind(const char *text, const char *word)
{
    unsigned long sum = 0;

    for (const char *line = text; *line;
         line += strcspn(line, "\n") + (strchr(line, '\n') != NULL)) {
        if (strncmp(line, word, strlen(word)) == 0)
            sum += strtoul(line + strcspn(line, ":") + 1, NULL, 10);
    }
    return sum;
}

static struct cost cost_of(const pid_t *pids, size_t count)
{
    struct cost sum = {0};
    char path[64], text[8192];

    for (size_t i = 0; i < count; i++) {
        unsigned long long ns;

        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pids[i]);
        if (read_text(path, text, sizeof text))
            sum.private_kib += numbers_behind(text, "Private_");
        snprintf(path, sizeof path, "/proc/%d/status", (int)pids[i]);
        if (read_text(path, text, sizeof text))
            sum.switches += numbers_behind(text, "voluntary_ctxt_switches");
        snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pids[i]);
        if (read_text(path, text, sizeof text) && sscanf(text, "%llu", &ns) == 1)
            sum.cpu_ms += (double)ns / 1e6;
    }
    return sum;
}

/* Sockets on which the kernel tells each fork of the host: each of them is paid for by all who fork. */
static unsigned long listeners(void)
{
    FILE *file = fopen("/proc/net/netlink", "re");
    unsigned long count = 0;
    unsigned protocol;
    char line[256];
    int port;

    if (!file)
        return 0;
    /* The kernel's own has no port. */
    while (fgets(line, sizeof line, file))
        count += sscanf(line, "%*s %u %d", &protocol, &port) == 2 &&
                 protocol == NETLINK_CONNECTOR && port != 0;
    fclose(file);
    return count;
}

static void print_watchers(unsigned long count)
{
    pid_t *pids = calloc(count, sizeof *pids);
    struct cost first, then;
    size_t found;

    if (!pids)
        die("calloc");
    found = watchers_list(pids, count);
    first = cost_of(pids, found);
    sleep(SPAN_S);
    then = cost_of(pids, found);
    free(pids);
    printf("watchers: %zu, %lu KiB of private memory together, %.0f each\n", found,
           then.private_kib, found ? (double)then.private_kib / (double)found : 0);
    printf("watchers, in %d s: %lu wake-ups together, %.0f ms of CPU time; %lu sockets for forks\n",
           SPAN_S, then.switches - first.switches, then.cpu_ms - first.cpu_ms, listeners());
}

/* --- others ------------------------------------------------------------------------- */

/* CPU time of this process and of its children that have ended, us. */
static double us_used(void)
{
    struct rusage own, children;

    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec + children.ru_utime.tv_sec +
                    children.ru_stime.tv_sec) *
               1e6 +
           (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec + children.ru_utime.tv_usec +
                    children.ru_stime.tv_usec);
}

/* What a process of no sandbox pays for a child that ends at once. */
static double us_of_fork(void)
{
    double us[FORK_BATCHES];

    for (size_t i = 0; i < FORK_BATCHES; i++) {
        double before = us_used();

        for (unsigned k = 0; k < FORKS; k++) {
            pid_t pid = fork();

            if (pid == 0)
                _exit(0);
            if (pid < 0 || waitpid(pid, NULL, 0) != pid)
                die("fork");
        }
        us[i] = (us_used() - before) / FORKS;
    }
    qsort(us, FORK_BATCHES, sizeof us[0], compare);
    return us[FORK_BATCHES / 2];
}

/* A process that stays as small as it is now: how much memory there is to copy counts, too. Whoever writes a byte into
 * @ret_ask reads from @ret_answer what a fork costs it. */
static pid_t start_forker(int *ret_ask, int *ret_answer)
{
    int ask[2], answer[2];
    pid_t pid;

    if (pipe2(ask, O_CLOEXEC) < 0 || pipe2(answer, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        die("fork");
    if (pid == 0) {
        char byte;

        close(ask[1]);
        while (read(ask[0], &byte, 1) == 1) {
            double us = us_of_fork();

            if (write(answer[1], &us, sizeof us) != sizeof us)
                break;
        }
        _exit(0);
    }
    close(ask[0]);
    close(answer[1]);
    *ret_ask = ask[1];
    *ret_answer = answer[0];
    return pid;
}

static double ask_forker(int ask, int answer)
{
    double us;

    if (write(ask, "", 1) != 1 || read(answer, &us, sizeof us) != sizeof us)
        die("forker");
    return us;
}

bool alive_run(struct lives *l, unsigned long count)
{
    /* The last ones come when the others are at rest, or their cost is that of a thousand starts at once. */
    unsigned long late = count > 2 * LATE ? count - LATE : count;
    int ask, answer;
    pid_t forker = start_forker(&ask, &answer);
    struct one *all;
    double alone;
    bool good = true;

    alone = ask_forker(ask, answer);
    all = calloc(count, sizeof *all);

    if (!all)
        die("calloc");
    for (unsigned long i = 0; i < count; i++) {
        if (i == late) {
            wait_for_splits(all, late);
            sleep(CALM_S);
        }
        good = set_up(l, &all[i], i) && good;
    }
    printf("%lu sandboxes are alive, %lu of them split\n", count, wait_for_splits(all, count));
    print_stage(all, count, true);
    printf("CPU time of a fork of another process: %.1f us before, %.1f us with all of them", alone,
           ask_forker(ask, answer));
    sleep(CALM_S);
    printf(", %.1f us %d s later\n", ask_forker(ask, answer), CALM_S);
    close(ask);
    close(answer);
    waitpid(forker, NULL, 0);
    print_watchers(count);
    for (unsigned long i = 0; i < count; i++)
        good = take_away(l, &all[i]) && good;
    print_stage(all, count, false);
    printf("%s  %lu setups and teardowns\n", good ? "ok  " : "FAIL", count);
    free(all);
    return good;
}
