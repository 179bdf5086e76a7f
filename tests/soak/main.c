/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Many lives of sandboxes, and many sandboxes at once. tests/soak/run says how to call it.
 */

#include "tests/fault/kit.h"
#include "tests/fault/world.h"
#include "tests/soak/alive.h"
#include "tests/soak/count.h"
#include "tests/soak/life.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, BESIDE = 2 };
/* How long what goes by itself may take, on a machine that has much else to do. */
enum { PATIENCE_S = 60 };

static struct options {
    unsigned long cycles, jobs, alive;
    unsigned long long seed;
    const char *program, *fake_vmm;
} options = {.cycles = 10000, .jobs = 8};

/* What is shared with the processes that do it. */
static struct shared {
    struct lives jobs[JOBS_MAX + BESIDE];
    volatile bool over;
    volatile sig_atomic_t stopped;
} * shared;

static const char *self;

static void stop(int number)
{
    (void)number;
    shared->stopped = 1;
}

/* --- what runs ---------------------------------------------------------------------- */

static void work(unsigned job)
{
    for (unsigned long i = job; i < options.cycles && !shared->stopped; i += options.jobs)
        life_run(&shared->jobs[job], options.seed, i, job);
}

/* As long as there are lives. */
static void be_beside(unsigned number, enum stage_kind kind)
{
    uint64_t row = options.seed ^ (UINT64_C(1) << (32 + number));
    struct stage s;

    while (!shared->over && !shared->stopped) {
        life_stage(&shared->jobs[options.jobs + number], kind, conf_path(0), stage_word(kind), "",
                   "beside all lives", &row, &s);
        usleep(20000);
    }
}

static pid_t start(unsigned number)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid > 0)
        return pid;
    if (number < options.jobs)
        work(number);
    else
        be_beside(number - (unsigned)options.jobs, number == options.jobs ? PRUNE : LIST);
    fflush(stdout);
    _exit(0);
}

/* Whatever else ends was somebody's child whose parent has ended. */
static bool wait_for_all(pid_t *pids, size_t count)
{
    size_t left = count;
    bool good = true;
    int status;

    while (left > 0) {
        pid_t pid = waitpid(-1, &status, 0);

        for (size_t i = 0; i < count; i++) {
            if (pid > 0 && pids[i] == pid) {
                good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
                pids[i] = 0;
                left--;
            }
        }
    }
    return good;
}

static bool run_all(void)
{
    pid_t jobs[JOBS_MAX], beside[BESIDE];
    bool good;

    fflush(stdout);
    for (unsigned i = 0; i < BESIDE; i++)
        beside[i] = start((unsigned)options.jobs + i);
    for (unsigned i = 0; i < options.jobs; i++)
        jobs[i] = start(i);
    good = wait_for_all(jobs, options.jobs);
    shared->over = true;
    return wait_for_all(beside, BESIDE) && good;
}

/* --- before and after ---------------------------------------------------------------- */

/* What a killed stage has left is removed by `prune`, which is as good as its word: one that succeeds is enough. */
static bool sweep(void)
{
    struct stage s;
    bool done = false;

    for (unsigned tries = 0; tries < PATIENCE_S && !done; tries++) {
        done = life_stage(&shared->jobs[0], PRUNE, conf_path(0), "prune", "", "after all lives",
                          NULL, &s);
        life_remove_parents();
        if (!done)
            sleep(1);
    }
    return done;
}

static void show_left(void)
{
    static char left[TEXT_SIZE];

    what_is_left(left);
    printf("FAIL  left:%.1500s%s\n", left, strlen(left) > 1500 ? " ..." : "");
}

/* --- the report ---------------------------------------------------------------------- */

static struct lives sum_up(void)
{
    struct lives sum = {0};

    for (size_t i = 0; i < options.jobs + BESIDE; i++) {
        sum.lived += shared->jobs[i].lived;
        sum.pods += shared->jobs[i].pods;
        for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
            sum.stages[k].run += shared->jobs[i].stages[k].run;
            sum.stages[k].killed += shared->jobs[i].stages[k].killed;
            sum.stages[k].failed += shared->jobs[i].stages[k].failed;
        }
    }
    return sum;
}

/* How many kinds have not failed. */
static unsigned print_stages(const struct lives *sum)
{
    unsigned good = 0;

    printf("\n%-12s %8s %8s %8s\n", "stage", "run", "killed", "failed");
    for (enum stage_kind k = 0; k < STAGE_KINDS; k++) {
        const struct tally *t = &sum->stages[k];

        printf("%-12s %8u %8u %8u\n", stage_word(k), t->run, t->killed, t->failed);
        good += t->failed == 0;
    }
    return good;
}

static int totals(unsigned good, unsigned all)
{
    if (good < all && options.alive)
        printf("\nTo repeat: %s --alive %lu\n", self, options.alive);
    else if (good < all)
        printf("\nTo repeat: %s --cycles %lu --jobs %lu --seed %llu\n", self, options.cycles,
               options.jobs, options.seed);
    printf("\n%u passed, %u failed, 0 skipped\n", good, all - good);
    return good < all;
}

static double seconds_since(const struct timespec *begun)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)(t.tv_sec - begun->tv_sec) + (double)(t.tv_nsec - begun->tv_nsec) / 1e9;
}

static int soak(void)
{
    struct counts before, after;
    struct timespec begun;
    struct lives sum;
    unsigned good = 0;
    double seconds;
    bool ended;

    count_all(&before);
    printf("%lu lives, %lu at once, seed %llu\n", options.cycles, options.jobs, options.seed);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    ended = run_all();
    seconds = seconds_since(&begun);
    ended = sweep() && ended;
    if (!count_until_equal(&before, PATIENCE_S, &after))
        show_left();
    sum = sum_up();
    good += print_stages(&sum);
    good += counts_print(&before, &after);
    /* Nothing is left of what was never there. */
    ended = ended && sum.lived == options.cycles && sum.stages[SET_UP].run >= options.cycles;
    good += ended;
    printf("\n%slives: %lu of %lu, %lu of pods, in %.0f s, %.1f a second\n", ended ? "" : "FAIL  ",
           sum.lived, options.cycles, sum.pods, seconds, (double)sum.lived / seconds);
    return totals(good, STAGE_KINDS + COUNTED + 1);
}

static int be_alive(void)
{
    struct counts before, after;
    unsigned good = 0;

    count_all(&before);
    if (!alive_fits(options.alive)) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    good += alive_run(&shared->jobs[0], options.alive);
    good += sweep();
    if (!count_until_equal(&before, PATIENCE_S, &after))
        show_left();
    good += counts_print(&before, &after);
    return totals(good, COUNTED + 2);
}

/* --- options ------------------------------------------------------------------------- */

static _Noreturn void usage(int status)
{
    fprintf(status ? stderr : stdout,
            "usage: %s [--cycles N] [--jobs N] [--seed S]\n"
            "       %s --alive N\n",
            self, self);
    exit(status);
}

static void take_options(int argc, char **argv)
{
    static const struct option words[] = {
        {"cycles", required_argument, NULL, 'c'}, {"jobs", required_argument, NULL, 'j'},
        {"seed", required_argument, NULL, 's'},   {"alive", required_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int id;

    options.seed = (unsigned long long)time(NULL) ^ ((unsigned long long)getpid() << 20);
    while ((id = getopt_long(argc, argv, "", words, NULL)) != -1) {
        if (id == 'c')
            options.cycles = strtoul(optarg, NULL, 10);
        else if (id == 'j')
            options.jobs = strtoul(optarg, NULL, 10);
        else if (id == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else if (id == 'a')
            options.alive = strtoul(optarg, NULL, 10);
        else
            usage(id == 'h' ? 0 : 2);
    }
    if (optind < argc || options.jobs < 1 || options.jobs > JOBS_MAX || options.cycles < 1)
        usage(2);
}

int main(int argc, char **argv)
{
    int failed;

    options.program = getenv("OSC_BIN");
    options.fake_vmm = getenv("OSC_FAKE_VMM");
    self = getenv("OSC_SOAK_SELF") ? getenv("OSC_SOAK_SELF") : argv[0];
    take_options(argc, argv);
    if (!options.program || !options.fake_vmm) {
        fprintf(stderr, "OSC_BIN or OSC_FAKE_VMM is not set\n");
        return 2;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("mmap");
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    world_open(options.program);
    payload_init(options.fake_vmm);
    confs_write();
    failed = options.alive ? be_alive() : soak();
    world_close();
    return failed;
}
