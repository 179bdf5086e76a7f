/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/links.h"
#include "hook/sandbox/sandbox.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/sandbox/child.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* --- from a record to controllers --- */

#define SCOPE    "/a.slice/p-kata_s1.scope"
#define OVERHEAD "/kata.slice/kata-overhead.slice/kata-overhead-s1.scope"

struct wanted {
    const char *path, *leaf, *unit, *slice;
    bool borrowed, own_slice;
};

/* Texts of a record, which has no const ones. "": none. */
struct given {
    enum cg_mode mode;
    bool only;
    char sandbox_path[64], vcpu_path[96], overhead_path[96];
    char slice[32], sandbox_unit[64], overhead_unit[64];
};

static const struct {
    struct given given;
    struct wanted home, vcpu, overhead;
} cases[] = {
    /* cgroupfs */
    {{CG_MODE_V1, false, "/p/kata_s1", "/p/kata_s1", "/kata_overhead/s1", "", "", ""},
     {.path = "/p/kata_s1"},
     {.path = "/p/kata_s1", .borrowed = true},
     {.path = "/kata_overhead/s1"}},
    {{CG_MODE_HYBRID, false, "/p/kata_s1", "/p/kata_s1", "/kata_overhead/s1", "", "", ""},
     {.path = "/p/kata_s1"},
     {.path = "/p/kata_s1", .borrowed = true},
     {.path = "/kata_overhead/s1"}},
    {{CG_MODE_V2, false, "/p/kata_s1", "/p/kata_s1/kata_vcpu", "/p/kata_s1", "", "", ""},
     {.path = "/p/kata_s1"},
     {.path = "/p/kata_s1", .leaf = "kata_vcpu", .borrowed = true},
     {.path = "/p/kata_s1", .borrowed = true}},
    {{CG_MODE_V1, true, "/p/kata_s1", "/p/kata_s1", "", "", "", ""},
     {.path = "/p/kata_s1"},
     {.path = "/p/kata_s1", .borrowed = true},
     {.path = "/p/kata_s1", .borrowed = true}},
    {{CG_MODE_V2, true, "/p/kata_s1", "/p/kata_s1", "", "", "", ""},
     {.path = "/p/kata_s1"},
     {.path = "/p/kata_s1", .borrowed = true},
     {.path = "/p/kata_s1", .borrowed = true}},
    /* in the root of the hierarchy */
    {{CG_MODE_V2, false, "/kata_s1", "/kata_s1/kata_vcpu", "/kata_s1", "", "", ""},
     {.path = "/kata_s1"},
     {.path = "/kata_s1", .leaf = "kata_vcpu", .borrowed = true},
     {.path = "/kata_s1", .borrowed = true}},
    /* systemd */
    {{CG_MODE_V1, false, SCOPE, SCOPE, OVERHEAD, "a.slice", "p-kata_s1.scope",
      "kata-overhead-s1.scope"},
     {.path = SCOPE, .unit = "p-kata_s1.scope", .slice = "a.slice"},
     {.path = SCOPE, .borrowed = true},
     {.path = OVERHEAD,
      .unit = "kata-overhead-s1.scope",
      .slice = "kata-overhead.slice",
      .own_slice = true}},
    {{CG_MODE_HYBRID, false, SCOPE, SCOPE, OVERHEAD, "a.slice", "p-kata_s1.scope",
      "kata-overhead-s1.scope"},
     {.path = SCOPE, .unit = "p-kata_s1.scope", .slice = "a.slice"},
     {.path = SCOPE, .borrowed = true},
     {.path = OVERHEAD,
      .unit = "kata-overhead-s1.scope",
      .slice = "kata-overhead.slice",
      .own_slice = true}},
    {{CG_MODE_V2, false, SCOPE, SCOPE "/kata_vcpu", SCOPE, "a.slice", "p-kata_s1.scope", ""},
     {.path = SCOPE, .unit = "p-kata_s1.scope", .slice = "a.slice"},
     {.path = SCOPE, .leaf = "kata_vcpu", .borrowed = true},
     {.path = SCOPE, .borrowed = true}},
    {{CG_MODE_V1, true, SCOPE, SCOPE, "", "a.slice", "p-kata_s1.scope", ""},
     {.path = SCOPE, .unit = "p-kata_s1.scope", .slice = "a.slice"},
     {.path = SCOPE, .borrowed = true},
     {.path = SCOPE, .borrowed = true}},
    {{CG_MODE_V2, true, SCOPE, SCOPE, "", "a.slice", "p-kata_s1.scope", ""},
     {.path = SCOPE, .unit = "p-kata_s1.scope", .slice = "a.slice"},
     {.path = SCOPE, .borrowed = true},
     {.path = SCOPE, .borrowed = true}},
};

static char *text_or_null(char *text)
{
    return *text ? text : NULL;
}

static struct record record_of(struct given *g)
{
    return (struct record){
        .sandbox_cgroup_only = {true, g->only},
        .sandbox_path = text_or_null(g->sandbox_path),
        .vcpu_path = text_or_null(g->vcpu_path),
        .overhead_path = text_or_null(g->overhead_path),
        .slice = text_or_null(g->slice),
        .sandbox_unit = text_or_null(g->sandbox_unit),
        .overhead_unit = text_or_null(g->overhead_unit),
    };
}

static void expect_text(const char *got, const char *want, size_t i, const char *what)
{
    cr_expect(str_eq_null(got, want), "case %zu, %s: expected %s, got %s", i, what,
              kit_or_null(want), kit_or_null(got));
}

static void expect_controller(const struct cg_controller *c, const struct wanted *want, size_t i)
{
    expect_text(c->path, want->path, i, "path");
    expect_text(c->leaf, want->leaf, i, "leaf");
    expect_text(c->unit ? c->unit->name : NULL, want->unit, i, "unit");
    expect_text(c->unit ? c->unit->slice : NULL, want->slice, i, "slice");
    cr_expect_eq(c->borrowed, want->borrowed, "case %zu, %s: borrowed %d", i, c->path, c->borrowed);
    cr_expect(!c->unit || c->unit->own_slice == want->own_slice, "case %zu, %s: own slice", i,
              c->path);
    cr_expect(!c->unit || (!c->unit->expected && !c->unit->started && c->unit->first == 0),
              "case %zu: what only a setup knows", i);
}

/* The sandbox cgroup is ours in every hierarchy; a split is in the hierarchies of CPU time alone. */
Test(sandbox, init)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct given g = cases[i].given;
        const struct cg_host host = {.mode = g.mode};
        const struct record r = record_of(&g);
        bool beside = g.mode != CG_MODE_V2 && !g.only;
        struct cg_parents parents = {.dirfd = FD_NONE};
        struct sandbox s;

        memset(&s, 0x5a, sizeof s);
        sandbox_init(&s, &host, &parents, &r);
        cr_expect_eq(s.has_overhead, !g.only, "case %zu: overhead %d", i, s.has_overhead);
        cr_expect_not(s.is_nested);
        expect_controller(&s.home, &cases[i].home, i);
        expect_controller(&s.vcpu, &cases[i].vcpu, i);
        expect_controller(&s.overhead, &cases[i].overhead, i);
        cr_expect(s.home.host == &host && s.home.parents == &parents && !s.vcpu.parents);
        cr_expect_eq(s.vcpu.host, beside ? &s.split : &host, "case %zu", i);
        cr_expect_eq(s.overhead.host, beside ? &s.split : &host, "case %zu", i);
        cr_expect_eq(s.overhead.parents, beside ? &parents : NULL, "case %zu", i);
        /* nothing is open: there is nothing to find on this host, and closing is allowed */
        cr_expect_eq(sandbox_load(&s, NULL), -ENOENT, "case %zu", i);
        sandbox_close(&s);
    }
}

/* CPU time is counted where it is shared out; with the runtime's own cgroup it counts there. */
Test(sandbox, hierarchies_of_a_split)
{
    enum { CPU = 101, CPUACCT, MEMORY };
    static const struct {
        const char *name;
        unsigned cpu, cpuacct; /* the hierarchies of both controllers, 0: none */
        bool nested;
        size_t count;
        int fds[2];
    } rows[] = {
        {"apart", CPU, CPUACCT, false, 2, {CPU, CPUACCT}},
        {"together", CPU, CPU, false, 1, {CPU}},
        {"not counted", CPU, 0, false, 1, {CPU}},
        {"not shared out", 0, CPUACCT, false, 0, {0}},
        {"nested, apart", CPU, CPUACCT, true, 1, {CPU}},
        {"nested, together", CPU, CPU, true, 1, {CPU}},
    };
    static char nested[] = "nested";

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct given g = {CG_MODE_V1, false, "/p/s", "/p/s", "/o/s", "", "", ""};
        struct cg_host host = {.mode = CG_MODE_V1};
        struct record r = record_of(&g);
        struct sandbox s;

        host.hierarchies[host.count++] =
            (struct cg_hierarchy){.fd = MEMORY, .controllers = CG_CTL_BIT(CG_CTL_MEMORY)};
        for (unsigned fd = CPU; fd <= CPUACCT; fd++)
            host.hierarchies[host.count++] = (struct cg_hierarchy){
                .fd = (int)fd,
                .controllers = (fd == rows[i].cpu ? CG_CTL_BIT(CG_CTL_CPU) : 0) |
                               (fd == rows[i].cpuacct ? CG_CTL_BIT(CG_CTL_CPUACCT) : 0)};
        r.layout = rows[i].nested ? nested : NULL;
        sandbox_init(&s, &host, NULL, &r);
        cr_expect(s.home.host->count == 3 && s.vcpu.host == s.overhead.host, "%s", rows[i].name);
        cr_assert_eq(s.overhead.host->count, rows[i].count, "%s: %zu", rows[i].name,
                     s.overhead.host->count);
        for (size_t k = 0; k < rows[i].count; k++)
            cr_expect_eq(s.overhead.host->hierarchies[k].fd, rows[i].fds[k], "%s", rows[i].name);
        sandbox_close(&s);
    }
}

/* The names of a unit are the record's own text: it has to live as long. */
Test(sandbox, units_are_borrowed)
{
    struct given g = cases[6].given;
    const struct cg_host host = {.mode = g.mode};
    const struct record r = record_of(&g);
    struct sandbox s;

    sandbox_init(&s, &host, NULL, &r);
    cr_expect(s.home.unit == &s.sandbox_unit && s.home.unit->name == r.sandbox_unit &&
              s.home.unit->slice == r.slice);
    cr_expect(s.overhead.unit == &s.overhead_unit && s.overhead.unit->name == r.overhead_unit);
    sandbox_close(&s);
}

/* Before anything is known: a stage that failed early still closes and undoes. */
Test(sandbox, empty_record)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};
    const struct record r = {0};

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const struct cg_host host = {.mode = modes[i]};
        struct sandbox s;

        sandbox_init(&s, &host, NULL, &r);
        cr_expect(!s.home.path && !s.home.unit && !s.vcpu.path && !s.vcpu.leaf && !s.vcpu.unit &&
                  !s.overhead.leaf && !s.overhead.unit);
        cg_undo_create(&s.overhead);
        cg_undo_create(&s.home);
        sandbox_close(&s);
        sandbox_close(&s);
    }
}

/* Only what is really below the sandbox cgroup is a leaf of it. */
Test(sandbox, leaves)
{
    static const struct {
        struct given given;
        const char *want;
    } rows[] = {
        {{.sandbox_path = "/a/b", .vcpu_path = "/a/b/c"}, "c"},
        {{.sandbox_path = "/a/b", .vcpu_path = "/a/b/c/d/e"}, "c/d/e"},
        {{.sandbox_path = "/a/b", .vcpu_path = "/a/bc/d"}, NULL},
        {{.sandbox_path = "/a/b", .vcpu_path = "/a/b"}, NULL},
        {{.sandbox_path = "/a/b", .vcpu_path = "/x/b/c"}, NULL},
        {{.sandbox_path = "/a/b", .vcpu_path = "/a"}, NULL},
        {{.sandbox_path = "/a/b", .vcpu_path = ""}, NULL},
    };
    const struct cg_host host = {.mode = CG_MODE_V2};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct given g = rows[i].given;
        const struct record r = record_of(&g);
        struct sandbox s;

        sandbox_init(&s, &host, NULL, &r);
        expect_text(s.vcpu.leaf, rows[i].want, i, "leaf");
        sandbox_close(&s);
    }
}

/* --- the end of a sandbox --- */

static pid_t parent;

static void wait_for_signal(const void *arg)
{
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent)
        pause();
}

/* The watcher, the sandbox's placeholder, that of each container; and nobody else. */
Test(sandbox, destroy_ends_our_processes)
{
    autoarena a = ARENA_INIT;
    enum { WATCHER, PLACEHOLDER, FIRST, SECOND, INIT, COUNT };
    char top[] = "/tmp/osc-unit-sandbox-XXXXXX", ids[2][4] = {"s1", "c2"};
    const struct cg_host host = {.mode = CG_MODE_V1};
    const struct settings settings = {.leftovers = LEFTOVERS_MOVE};
    struct child children[COUNT];
    struct record_container containers[3] = {{.id = ids[0]}, {.id = ids[1]}, {.id = ids[1]}};
    struct record r = {.sandbox_cgroup_only = {true, true}, .sandbox_id = ids[0]};
    struct state_dir state;
    struct state_lock lock;
    struct err e = ERR_INIT;
    const char *sandbox_id;

    parent = getpid();
    kit_make_dir(top);
    cr_assert_eq(state_dir_open(top, true, &state, &e), 0, "%s", e.text);
    cr_assert_eq(state_lock(&state, ids[0], true, 1000, &lock, &e), 0, "%s", e.text);
    cr_assert_eq(links_add_container(&state, ids[1], ids[0], &e), 0, "%s", e.text);
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(child_fork("osc-unit", wait_for_signal, NULL, &children[i], &e), 0, "%s",
                     e.text);
        cr_expect_eq(child_go(&children[i], NULL), 0);
    }
    r.watcher = record_process_new(&a, &children[WATCHER].id);
    r.placeholder = record_process_new(&a, &children[PLACEHOLDER].id);
    containers[0].placeholder = record_process_new(&a, &children[FIRST].id);
    containers[2].placeholder = record_process_new(&a, &children[SECOND].id);
    containers[0].init = record_process_new(&a, &children[INIT].id);
    r.containers = (struct json_list){containers, 3};

    cr_expect_eq(sandbox_destroy(&state, &host, &r, &settings, SANDBOX_PATIENCE_MS, &lock, &e), 0,
                 "%s", e.text);
    for (size_t i = 0; i < COUNT; i++) {
        cr_expect_eq(proc_alive(&children[i].id), i == INIT, "process %zu", i);
        proc_signal(&children[i].id, SIGKILL);
        waitpid(children[i].id.pid, NULL, 0);
    }
    cr_expect_eq(state_lookup(&state, ids[0], &a, &sandbox_id), -ENOENT);
    cr_expect_eq(state_lookup(&state, ids[1], &a, &sandbox_id), -ENOENT);
    cr_expect(lock.lock_fd < 0, "the lock was let go");
    state_dir_close(&state);
    kit_remove_tree(top);
}
