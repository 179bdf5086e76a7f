/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A process ends while it is being moved or killed, and a stranger gets its number: at any call of each of the
 * product's functions that move or kill. The stranger lives on, and is where it was born.
 */

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "hook/sandbox/sandbox.h"
#include "hook/watch/scan.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/reuse_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fixture {
    struct cg_controller born, helper; /* where the strangers are */
    struct record record;
    struct sandbox sandbox;
    struct settings settings;
    pid_t victim, other; /* both in the overhead */
    struct proc_id id;
    int told; /* -errno of the last operation */
    struct err e;
    FILE *problems;
} f;

static void begin(void)
{
    f = (struct fixture){.settings = {.prefix = "kata_"}};
    kit_start();
}

static void end(void)
{
    if (f.record.sandbox_path)
        sandbox_close(&f.sandbox);
    cg_close(&f.born);
    cg_close(&f.helper);
    kit_finish();
}

TestSuite(reuse, .init = begin, .fini = end, .timeout = 600);

/* ---- what moves and kills ---- */

static struct cg_controller *overhead(void)
{
    return &f.sandbox.overhead;
}

static int add_process(void)
{
    return cg_add_process(&f.sandbox.home, &f.id, &f.e);
}

static int add_thread(void)
{
    return cg_add_thread(&f.sandbox.home, &f.id, &f.e);
}

static int origin_enter(void)
{
    struct cg_origin home = {0};

    for (size_t i = 0; i < kit_host.count; i++)
        home.paths[i] = f.record.sandbox_path;
    return cg_origin_enter(&kit_host, &f.id, &home, &f.e);
}

static int move_to(void)
{
    autoarena a = ARENA_INIT;

    return cg_move_to(overhead(), f.record.sandbox_path, NULL, NULL, &a, &f.e);
}

static int move_threads(void)
{
    return cg_move_threads(overhead(), &f.sandbox.vcpu, &f.e);
}

static int kill_all(void)
{
    return cg_kill(overhead(), SIGKILL, &f.e);
}

static int kill_one(void)
{
    return proc_signal(&f.id, SIGKILL);
}

/* Victims and strangers are this very program. */
static int end_children(void)
{
    sandbox_end_children(&kit_host, &f.record);
    return 0;
}

static int look_and_place(void)
{
    struct scan scan = {.sandbox = &f.sandbox, .settings = &f.settings, .kvm_dirfd = FD_NONE};
    struct scan_result result;
    int r = scan_pass(&scan, SCAN_ALL, &result, &f.e);

    scan_free(&scan);
    return r;
}

static int reunite(void)
{
    struct scan scan = {.sandbox = &f.sandbox, .settings = &f.settings, .kvm_dirfd = FD_NONE};

    return scan_reunite(&scan, &f.e);
}

static const struct operation {
    const char *name;
    int (*run)(void);
    bool kills, one; /* else it moves, and the other process as well */
    bool whole;      /* a thread of a stranger takes its process along, to where its parent is */
} operations[] = {
    {"cg_add_process", add_process, .one = true, .whole = true},
    {"cg_add_thread", add_thread, .one = true},
    {"cg_origin_enter", origin_enter, .one = true, .whole = true},
    {"cg_move_to", move_to, .whole = true},
    {"cg_move_threads", move_threads, .kills = false},
    {"cg_kill", kill_all, .kills = true},
    {"proc_signal", kill_one, .kills = true, .one = true},
    {"sandbox_end_children", end_children, .kills = true},
    {"scan_pass", look_and_place, .kills = false},
    {"scan_reunite", reunite, .whole = true},
};

/* ---- one run ---- */

static void enter(pid_t pid, const struct cg_controller *where)
{
    for (size_t i = 0; i < where->host->count; i++)
        (void)kit_write_pid(&where->host->hierarchies[i], where->path, "cgroup.procs", pid);
}

static pid_t start(const struct cg_controller *where)
{
    pid_t pid = fork();

    while (pid == 0)
        pause();
    enter(pid, where);
    return pid;
}

static void finish(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* In each hierarchy in one of both. */
static bool is_at(pid_t pid, const char *path, const char *other)
{
    for (size_t i = 0; i < kit_host.count; i++) {
        const struct cg_hierarchy *h = &kit_host.hierarchies[i];

        if (!str_eq(kit_where(h, pid), kit_seen_as(h, path)) &&
            !str_eq(kit_where(h, pid), kit_seen_as(h, other)))
            return false;
    }
    return true;
}

/* In the hierarchies that threads are split in. */
static bool is_moved(pid_t pid)
{
    const struct cg_hierarchy *h = cg_host_find(&kit_host, CG_CTL_CPU);

    return str_eq(kit_where(h, pid), kit_seen_as(h, f.record.sandbox_path));
}

static bool is_ended(pid_t pid)
{
    struct proc_id id;
    int r = 0;

    /* A signal takes its time. */
    for (int ms = 0; ms < KIT_PATIENCE_MS && (r = proc_identify(pid, &id)) == 0; ms++)
        io_sleep_ms(1);
    return r == -ESRCH;
}

static void problem(const struct operation *o, unsigned n, const char *what)
{
    fprintf(f.problems, "%s, reuse at call %u: %s (%d, %s)\n", o->name, n, what, f.told, f.e.text);
}

/* Of a number that is reused at the @n-th call. False: there are not so many. */
static bool run_once(const struct operation *o, enum kit_stranger who, unsigned n)
{
    const bool thread = who == KIT_THREAD;
    bool reused;

    err_reset(&f.e);
    if (thread)
        enter(kit_start_helper(), &f.helper);
    f.victim = start(overhead());
    f.other = start(overhead());
    f.id = *kit_who(f.victim);
    kit_reuse_at(f.victim, n, who);
    f.told = o->run();
    reused = kit_reuse_done();
    if (reused && !kit_stranger_lives())
        problem(o, n, "a stranger was killed");
    else if (reused && !is_at(f.victim, thread ? f.helper.path : f.born.path,
                              thread && !o->whole ? f.helper.path : f.born.path))
        problem(o, n,
                arena_printf(&kit_arena, "a stranger is in %s",
                             kit_where(kit_host.hierarchies, f.victim)));
    if (!o->one && !(o->kills ? is_ended(f.other) : is_moved(f.other)))
        problem(o, n, "the other one was left out");
    if (!reused && !(o->kills ? is_ended(f.victim) : is_moved(f.victim)))
        problem(o, n, "nothing was done");
    if (f.told < 0 && f.told != -ESRCH)
        problem(o, n, "it failed");
    if (!reused)
        finish(f.victim);
    else
        kit_stranger_end();
    if (thread)
        kit_end_helper();
    finish(f.other);
    return reused;
}

/* ---- all of them, in a namespace ---- */

static enum kit_stranger stranger;

static int sweep(void)
{
    enter(getpid(), &f.born);
    prctl(PR_SET_NAME, "CPU 0/KVM"); /* and so all that it forks */
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        unsigned n = 1;

        while (run_once(&operations[i], stranger, n))
            n++;
        if (n < 4)
            problem(&operations[i], n, "it hardly does anything");
    }
    fflush(f.problems);
    return 0;
}

static void make_sandbox(void)
{
    const struct cg_hierarchy *cpu = kit_need_v1_ctl(CG_CTL_CPU),
                              *memory = kit_need_v1_ctl(CG_CTL_MEMORY);
    const struct cg_hierarchy two[] = {*cpu, *memory};

    /* Each call takes a run: two hierarchies show as much as ten. */
    memcpy(kit_host.hierarchies, two, sizeof two);
    kit_host.count = ARRAY_SIZE(two);
    f.record.sandbox_path = f.record.vcpu_path = kit_sub("sandbox");
    f.record.overhead_path = kit_sub("overhead");
    sandbox_init(&f.sandbox, &kit_host, NULL, &f.record);
    kit_expect_ok(kit_put_new(&f.sandbox.home, &kit_no_limits, NULL, &f.e), &f.e, "home");
    kit_expect_ok(kit_put_new(&f.sandbox.overhead, &kit_no_limits, NULL, &f.e), &f.e, "overhead");
    kit_expect_ok(sandbox_load(&f.sandbox, &f.e), &f.e, "load");
    f.born = kit_create(&kit_host, NULL, kit_sub("born"), NULL, &kit_no_limits);
    f.helper = kit_create(&kit_host, NULL, kit_sub("helper"), NULL, &kit_no_limits);
    f.problems = tmpfile();
    cr_assert(f.problems);
}

static const char *problems_of(int (*fn)(void))
{
    size_t len;
    char *text;
    int r;

    make_sandbox();
    r = kit_in_pid_namespace(fn);
    if (r == -1)
        cr_skip_test("no pid namespace of our own");
    cr_assert_eq(r, 0, "process 1 ended: %d", r);
    rewind(f.problems);
    text = arena_alloc(&kit_arena, 1 << 16);
    len = fread(text, 1, (1 << 16) - 1, f.problems);
    text[len] = '\0';
    return text;
}

static void expect_none(const char *problems)
{
    cr_expect(!*problems, "%s", problems);
}

Test(reuse, by_a_process)
{
    stranger = KIT_PROCESS;
    expect_none(problems_of(sweep));
}

Test(reuse, by_a_thread)
{
    stranger = KIT_THREAD;
    expect_none(problems_of(sweep));
}

/* Who is in another mount namespace than its parent may be the payload's, and does not leave its limits. */
static int move_orphan(void)
{
    unsigned stayed = 0;
    bool more = true;

    enter(getpid(), &f.born);
    for (unsigned n = 1; more; n++) {
        err_reset(&f.e);
        f.victim = start(overhead());
        f.id = *kit_who(f.victim);
        kit_reuse_at(f.victim, n, KIT_ORPHAN);
        f.told = add_process();
        more = kit_reuse_done();
        if (more && is_moved(f.victim)) {
            stayed++;
            if (f.told != -ENOENT || !strstr(f.e.text, "nobody knows from where"))
                problem(&operations[0], n, "it is not said");
        }
        kit_stranger_end();
    }
    if (stayed == 0)
        problem(&operations[0], 0, "none was moved");
    fflush(f.problems);
    return 0;
}

Test(reuse, by_what_may_be_the_payloads)
{
    expect_none(problems_of(move_orphan));
}

/* systemd moves by numbers, too: whoever is in a scope that was started for one process. */
static int leave_scope(void)
{
    struct cg_unit unit = {.name = "osc-unit.scope", .started = true};

    enter(getpid(), &f.born);
    f.victim = start(&f.sandbox.home);
    f.id = (struct proc_id){f.victim, kit_who(f.victim)->start_time - 1};
    f.told = add_process();
    if (f.told != -ESRCH || !is_at(f.victim, f.sandbox.home.path, f.sandbox.home.path))
        problem(&operations[0], 0, "who is in another cgroup was moved");
    /* One with another start time is known to be another one before it is moved. */
    enter(f.victim, &f.helper);
    f.told = origin_enter();
    if (f.told != -ESRCH || !is_at(f.victim, f.helper.path, f.helper.path))
        problem(&operations[2], 0, "a stranger was moved, and back");
    enter(f.victim, &f.sandbox.home);
    f.sandbox.home.unit = &unit;
    f.told = add_process();
    if (f.told != -ESRCH || !is_at(f.victim, f.born.path, f.born.path))
        problem(&operations[0], 0, "it stays in the scope");
    f.sandbox.home.unit = NULL;
    finish(f.victim);
    fflush(f.problems);
    return 0;
}

Test(reuse, by_what_systemd_moved)
{
    expect_none(problems_of(leave_scope));
}
