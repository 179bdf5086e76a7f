/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Each stage and each verb that writes, run once for each of its system calls and each fault that this
 * call can have. tests/fault/run says how to call it.
 */

#include "tests/fault/faults.h"
#include "tests/fault/kit.h"
#include "tests/fault/scenes.h"

#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A stage in a layout. */
struct row {
    const struct scene *scene;
    enum layout layout;
    unsigned calls, faults, tried, reached, survived;
    bool fails; /* without a fault */
};

enum {
    ROWS_MAX = 96,
    JOBS_MAX = 64,
    CASES_MAX = 16384,
    WAITERS = 4,
    LIST_WAIT_MS = 300000,
    AGAIN_MAX = 10,
};

struct one_case {
    int what;
    struct call call;
};

/* What is tried of a row. What the watcher does depends on the moment, so one job decides for all. */
struct list {
    atomic_bool is_ready;
    size_t count;
    struct one_case cases[CASES_MAX];
};

/* What one of the jobs has done; it is shared with the process that reports. */
struct job {
    struct row rows[ROWS_MAX];
    size_t row_count;
};

static struct options {
    bool all;
    unsigned long sample, jobs;
    unsigned long long seed;
    const char *scene, *layout, *call, *fault; /* NULL: any */
    const char *program;
} options = {.sample = 1000, .jobs = 6};

static struct job *job;    /* this one */
static size_t number;      /* of it */
static struct list *lists; /* shared by all */
static const char *self;

/* By this signal: the run that goes on is the last one. */
static volatile sig_atomic_t stopped;
static pid_t pids[JOBS_MAX * (1 + WAITERS)]; /* of the jobs */

/* Those of a scene that waits, most of its time, are many, and do nothing else. */
static size_t first_job(const struct scene *scene)
{
    return scene->waits ? options.jobs : 0;
}

static size_t count_jobs(const struct scene *scene)
{
    return scene->waits ? options.jobs * WAITERS : options.jobs;
}

/* --- what there is to try ------------------------------------------------------- */

static bool is_asked_for(const char *word, const char *name)
{
    return !word || strcmp(word, "any") == 0 || strcmp(word, name) == 0;
}

static void add_case(struct row *row, struct list *list, const struct call *call, int what)
{
    char name[64];

    row->faults++;
    snprintf(name, sizeof name, "%s:%u", call_name(call->nr), call->nth);
    if ((!is_asked_for(options.call, name) && !is_asked_for(options.call, call_name(call->nr))) ||
        !is_asked_for(options.fault, fault_name(what)))
        return;
    if (list->count == CASES_MAX)
        die("too many cases");
    list->cases[list->count++] = (struct one_case){.what = what, .call = *call};
}

/* At once, as others write there, too. */
static void show(const struct row *row, const struct one_case *c, const struct run *run)
{
    char text[2 * TEXT_SIZE] = "";

    if (c)
        append(text, sizeof text, "FAIL  %s --only %s %s %s:%u %s\n", self, row->scene->name,
               layout_word(row->layout), call_name(c->call.nr), c->call.nth, fault_name(c->what));
    else
        append(text, sizeof text, "FAIL  %s %s without a fault\n", row->scene->name,
               layout_word(row->layout));
    if (c)
        append(text, sizeof text, "      exit status %d, signal %d: %s\n", run->out.status,
               run->out.signal, run->out.err[0] ? run->out.err : "-");
    for (const char *line = run->problems; *line; line += strcspn(line, "\n") + 1)
        append(text, sizeof text, "      %.*s\n", (int)strcspn(line, "\n"), line);
    if (write(STDOUT_FILENO, text, strlen(text)) < 0 && !stopped)
        exit(1);
}

/* How it is without a fault; and which calls there are. */
static void look(struct row *row, struct list *list)
{
    static struct run run;
    struct calls calls = {0};

    scene_run(row->scene, NULL, FAULT_NONE, &calls, &run);
    row->calls = (unsigned)calls.count;
    if (calls.count == 0)
        problem(&run, "no system call was seen: where main() begins is not known, see trace.c");
    row->fails = run.problems[0] && !stopped;
    if (row->fails)
        show(row, NULL, &run);
    for (size_t i = 0; !row->fails && i < calls.count; i++) {
        int faults[FAULTS_MAX];
        size_t count = faults_of(&calls.items[i], faults);

        for (size_t k = 0; k < count; k++)
            add_case(row, list, &calls.items[i], faults[k]);
    }
    free(calls.items);
}

/* --- which of it --------------------------------------------------------------- */

static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The first ones of a shuffled list, as many as wanted. */
static void choose(const struct row *row, struct list *list, size_t count)
{
    uint64_t state = options.seed + (uint64_t)(row - job->rows) * 1000003;

    for (size_t i = 0; i < list->count && i < count; i++) {
        size_t k = i + (size_t)(draw(&state) % (list->count - i));
        struct one_case other = list->cases[k];

        list->cases[k] = list->cases[i];
        list->cases[i] = other;
    }
    if (count < list->count)
        list->count = count;
}

/* --- the runs ------------------------------------------------------------------- */

static void try_case(struct row *row, const struct one_case *c)
{
    static struct run run;

    run.variant = (c->call.nth + (unsigned)abs(c->what)) % 3;
    scene_run(row->scene, &c->call, c->what, NULL, &run);
    if (stopped) /* a signal of the terminal's was for the program, too */
        return;
    row->tried++;
    row->reached += run.out.injected;
    if (run.problems[0])
        show(row, c, &run);
    else
        row->survived++;
}

static bool is_asked(const struct scene *scene, enum layout layout)
{
    return (!scene->has || scene->has(layout)) && is_asked_for(options.scene, scene->name) &&
           is_asked_for(options.layout, layout_word(layout));
}

/* The list of the first of the jobs, as soon as it is there. */
static const struct list *list_of(struct row *row, struct list *list, size_t share)
{
    static struct list own;
    bool is_first = number == first_job(row->scene);

    own.count = 0;
    look(row, is_first ? list : &own);
    if (is_first && !options.all && !options.call)
        choose(row, list, share);
    if (is_first)
        list->is_ready = true;
    for (int tries = 0; !list->is_ready && !stopped; tries++) {
        if (tries == LIST_WAIT_MS)
            die("the first job");
        usleep(1000);
    }
    return list;
}

static void try_row(struct row *row, struct list *shared, size_t share)
{
    size_t first = first_job(row->scene), jobs = count_jobs(row->scene);
    const struct list *list;

    if (number < first || number >= first + jobs)
        return;
    list = list_of(row, shared, share);
    for (size_t k = number - first; !row->fails && !stopped && k < list->count; k += jobs)
        try_case(row, &list->cases[k]);
    /* Which calls there are depends on the moment, too. A few that were not there are no sign. */
    for (size_t k = 0; row->tried && !row->reached && !stopped && k < AGAIN_MAX; k++)
        try_case(row, &list->cases[(number - first + k * jobs) % list->count]);
}

/* All of one layout, stage after stage, as what is expected of a run is known since its first one. Each
 * job has its part. */
static void try_layout(enum layout layout, size_t share)
{
    scenes_begin(layout);
    for (size_t i = 0; i < scene_count; i++) {
        struct row *row = &job->rows[job->row_count];

        if (stopped || !is_asked(&scenes[i], layout))
            continue;
        *row = (struct row){.scene = &scenes[i], .layout = layout};
        try_row(row, &lists[job->row_count++], share);
    }
}

static size_t stages_in_all(void)
{
    size_t count = 0;

    for (enum layout layout = 0; layout < LAYOUTS; layout++) {
        for (size_t i = 0; i < scene_count; i++)
            count += is_asked(&scenes[i], layout);
    }
    return count ? count : 1;
}

static size_t all_jobs(void)
{
    bool waits = false;

    for (size_t i = 0; i < scene_count; i++)
        waits = waits || (scenes[i].waits && is_asked_for(options.scene, scenes[i].name));
    return options.jobs * (waits ? 1 + WAITERS : 1);
}

/* Of one row, what all jobs have done. */
static struct row sum_up(const struct job *jobs, size_t i)
{
    struct row sum = jobs[0].rows[i];

    for (size_t k = 1; k < all_jobs(); k++) {
        const struct row *r = &jobs[k].rows[i];

        if (k == first_job(sum.scene))
            sum.calls = r->calls, sum.faults = r->faults;
        sum.tried += r->tried, sum.reached += r->reached, sum.survived += r->survived;
        sum.fails = sum.fails || r->fails;
    }
    return sum;
}

static void print_row(const char *stage, const char *layout, const struct row *r)
{
    printf("%-18s %-13s %7u %7u %7u %8u %9u\n", stage, layout, r->calls, r->faults, r->tried,
           r->reached, r->survived);
}

/* Something was tried, but no call was where the fault should have been. */
static bool is_missed(const struct row *r)
{
    return r->tried > 0 && r->reached == 0;
}

static int report(const struct job *jobs, bool done)
{
    struct row all = {0};
    unsigned failed = 0;
    size_t count = jobs[0].row_count;

    printf("\n%-18s %-13s %7s %7s %7s %8s %9s\n", "stage", "layout", "calls", "faults", "tried",
           "injected", "survived");
    for (size_t i = 0; i < count; i++) {
        const struct row r = sum_up(jobs, i);

        print_row(r.scene->name, layout_word(r.layout), &r);
        all.calls += r.calls, all.faults += r.faults, all.tried += r.tried;
        all.reached += r.reached, all.survived += r.survived;
        failed += r.fails || r.survived < r.tried || is_missed(&r);
    }
    print_row("all", "", &all);
    for (size_t i = 0; i < count; i++) {
        const struct row r = sum_up(jobs, i);

        if (is_missed(&r))
            printf("FAIL  %s %s: expected faults to be injected, but none was\n", r.scene->name,
                   layout_word(r.layout));
    }
    if (all.tried == 0) {
        printf("FAIL  expected faults to be injected, but none was\n");
        count++, failed++;
    }
    if (!done) {
        printf("FAIL  %s\n",
               stopped ? "it was interrupted" : "a job has ended before it had done its part");
        count++, failed++;
    }
    printf("\n%zu passed, %u failed, 0 skipped\n", count - failed, failed);
    return failed > 0;
}

/* --- options -------------------------------------------------------------------- */

static _Noreturn void usage(int status)
{
    fprintf(status ? stderr : stdout,
            "usage: %s [--all | --sample N] [--seed S] [--jobs N]\n"
            "          [--only STAGE [LAYOUT [CALL [FAULT]]]]\n",
            self);
    exit(status);
}

static void take_options(int argc, char **argv)
{
    static const struct option words[] = {
        {"all", no_argument, NULL, 'a'},
        {"sample", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"only", no_argument, NULL, 'o'},
        {"jobs", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    bool only = false;
    int id;

    options.seed = (unsigned long long)time(NULL) ^ ((unsigned long long)getpid() << 20);
    while ((id = getopt_long(argc, argv, "", words, NULL)) != -1) {
        if (id == 'a')
            options.all = true;
        else if (id == 'n')
            options.sample = strtoul(optarg, NULL, 10);
        else if (id == 's')
            options.seed = strtoull(optarg, NULL, 10);
        else if (id == 'j')
            options.jobs = strtoul(optarg, NULL, 10);
        else if (id == 'o')
            only = true;
        else
            usage(id == 'h' ? 0 : 2);
    }
    if (optind < argc && !only)
        usage(2);
    options.scene = optind < argc ? argv[optind++] : NULL;
    options.layout = optind < argc ? argv[optind++] : NULL;
    options.call = optind < argc ? argv[optind++] : NULL;
    options.fault = optind < argc ? argv[optind++] : NULL;
    if (options.jobs < 1 || options.jobs > JOBS_MAX)
        usage(2);
    if (options.fault)
        options.jobs = 1;
}

static void on_stop(int sig)
{
    stopped = sig;
    for (size_t i = 0; i < sizeof pids / sizeof *pids; i++) {
        if (pids[i] > 0)
            kill(pids[i], SIGTERM);
    }
}

/* But those that nohup, or a shell in the background, has told us to ignore. */
static void catch_signals(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM};
    const struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    struct sigaction before;

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

/* One that is told to stop, or has lost who reports, removes what it has made. */
static void work(pid_t parent)
{
    memset(pids, 0, sizeof pids);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (stopped || getppid() != parent)
        exit(1);
    world_open(options.program);
    for (enum layout layout = 0; layout < LAYOUTS; layout++) {
        if (is_asked_for(options.layout, layout_word(layout)))
            try_layout(layout, (options.sample + stages_in_all() - 1) / stages_in_all());
    }
    world_close();
}

/* Most of the time a run waits for the kernel, so several go on at once. */
static bool start_jobs(struct job *jobs)
{
    const pid_t self_pid = getpid();
    bool done = true;
    int status;

    fflush(stdout);
    for (number = 0; number < all_jobs() && !stopped; number++) {
        pid_t pid = fork();

        if (pid < 0)
            die("fork");
        if (pid > 0) {
            pids[number] = pid;
            continue;
        }
        job = &jobs[number];
        work(self_pid);
        exit(stopped ? 1 : 0);
    }
    if (stopped) /* that of the last one may have come before its number was known */
        on_stop(stopped);
    for (pid_t pid; (pid = wait(&status)) > 0;) {
        for (size_t i = 0; i < number; i++)
            pids[i] = pids[i] == pid ? 0 : pids[i];
        done = done && status == 0;
    }
    return done && !stopped;
}

static void *shared_memory(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        die("mmap");
    return p;
}

int main(int argc, char **argv)
{
    struct job *jobs = shared_memory(JOBS_MAX * (1 + WAITERS) * sizeof *jobs);
    bool done;

    lists = shared_memory(ROWS_MAX * sizeof *lists);

    self = getenv("OSC_FAULT_SELF") ? getenv("OSC_FAULT_SELF") : argv[0];
    take_options(argc, argv);
    options.program = getenv("OSC_BIN");
    if (!options.program) {
        fprintf(stderr, "OSC_BIN names no program\n");
        return 2;
    }
    if (!trace_works()) {
        puts("skip  faults: only the registers of x86_64 are known to them\n"
             "0 passed, 0 failed, 1 skipped");
        return 0;
    }
    if (!options.all && !options.call)
        printf("seed %llu: %s --sample %lu --seed %llu\n", options.seed, self, options.sample,
               options.seed);
    catch_signals();
    done = start_jobs(jobs);
    return report(jobs, done);
}
