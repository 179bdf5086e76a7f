/* SPDX-License-Identifier: Apache-2.0 */

/* A sandbox of layout nested: which cgroups are whose, and how the runtime's becomes what it was. */

#include "base/cleanup.h"
#include "base/str.h"
#include "hook/plan/settings.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/stage_kit.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define HOME     "/p/c1"
#define CHILD    HOME "/kata_vcpu"
#define OVERHEAD "/p/kata_c1"

static char nested[] = "nested";

static struct record record_of(bool v2, bool only)
{
    static char home[] = HOME, child[] = CHILD, overhead[] = OVERHEAD, parent[] = "/p", id[] = "c1";

    return (struct record){
        .sandbox_cgroup_only = {true, only},
        .sandbox_id = id,
        .layout = nested,
        .parent_path = parent,
        .sandbox_path = home,
        .vcpu_path = v2 && !only ? child : home,
        .overhead_path = only ? NULL
                         : v2 ? home
                              : overhead,
    };
}

/* --- from a record to controllers --- */

Test(sandbox_nested, is_told_by_the_record)
{
    static char sibling[] = "sibling", other[] = "neste", longer[] = "nested2";

    cr_expect(record_is_nested(&(struct record){.layout = nested}));
    cr_expect_not(record_is_nested(&(struct record){.layout = sibling}));
    cr_expect_not(record_is_nested(&(struct record){.layout = other}));
    cr_expect_not(record_is_nested(&(struct record){.layout = longer}));
    cr_expect_not(record_is_nested(&(struct record){.layout = NULL}), "of an older version");
}

static const struct {
    const char *name;
    enum cg_mode mode;
    bool only;
    const char *leaf;                      /* of the vCPUs' */
    const char *overhead;                  /* in one: where everything is */
    bool overhead_borrowed, has_parents;   /* the overhead's */
    const char *vcpu_names, *vcpu_missing; /* a hierarchy that it is in, and one that not */
} rows[] = {
    {"v1", CG_MODE_V1, false, NULL, OVERHEAD, false, true, "cpu,cpuacct", "memory"},
    {"hybrid", CG_MODE_HYBRID, false, NULL, OVERHEAD, false, true, "cpu,cpuacct", "unified"},
    {"v2", CG_MODE_V2, false, "kata_vcpu", HOME, true, false, "unified", "none"},
    {"v1 in one", CG_MODE_V1, true, NULL, HOME, true, false, "memory", "none"},
    {"v2 in one", CG_MODE_V2, true, NULL, HOME, true, false, "unified", "none"},
};

static bool is_in(const struct cg_host *host, const char *name)
{
    for (size_t i = 0; i < host->count; i++) {
        if (str_eq(host->hierarchies[i].name, name))
            return true;
    }
    return false;
}

static void expect_text(const char *got, const char *want, const char *name, const char *what)
{
    cr_expect(str_eq_null(got, want), "%s, %s: expected %s, got %s", name, what, kit_or_null(want),
              kit_or_null(got));
}

Test(sandbox_nested, init)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct record r = record_of(rows[i].mode == CG_MODE_V2, rows[i].only);
        struct cg_parents parents = {.dirfd = FD_NONE};
        const char *name = rows[i].name;
        struct cg_host host;
        struct sandbox s;
        STAGE f;

        kit_begin_stage(&f, rows[i].mode);
        cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
        memset(&s, 0x5a, sizeof s);
        sandbox_init(&s, &host, &parents, &r);
        cr_expect(s.is_nested && s.has_overhead == !rows[i].only, "%s", name);
        cr_expect(s.home.borrowed && s.home.host == &host && !s.home.leaf && !s.home.parents, "%s",
                  name);
        expect_text(s.home.path, HOME, name, "home");
        cr_expect(s.vcpu.borrowed && !s.vcpu.parents, "%s", name);
        expect_text(s.vcpu.path, HOME, name, "vCPUs");
        expect_text(s.vcpu.leaf, rows[i].leaf, name, "leaf");
        cr_expect(is_in(s.vcpu.host, rows[i].vcpu_names), "%s", name);
        cr_expect_not(is_in(s.vcpu.host, rows[i].vcpu_missing), "%s", name);
        expect_text(s.overhead.path, rows[i].overhead, name, "overhead");
        cr_expect(!s.overhead.leaf && s.overhead.host == s.vcpu.host, "%s", name);
        cr_expect_eq(s.overhead.borrowed, rows[i].overhead_borrowed, "%s", name);
        cr_expect_eq(s.overhead.parents != NULL, rows[i].has_parents, "%s", name);
        sandbox_close(&s);
        cg_host_close(&host);
    }
}

/* Without a hierarchy that has the controller there is nothing to set apart in. */
Test(sandbox_nested, init_without_cpu)
{
    const struct cg_host host = {
        .mode = CG_MODE_V1,
        .count = 1,
        .hierarchies = {{.fd = FD_NONE, .controllers = CG_CTL_BIT(CG_CTL_MEMORY)}},
    };
    const struct record r = record_of(false, false);
    struct sandbox s;

    sandbox_init(&s, &host, NULL, &r);
    cr_expect_eq(s.overhead.host->count, 0);
    cr_expect_eq(s.home.host->count, 1);
    sandbox_close(&s);
}

Test(sandbox_nested, load)
{
    const struct record r = record_of(true, false);
    struct cg_host host;
    struct sandbox s;
    STAGE f;

    kit_begin_stage(&f, CG_MODE_V2);
    cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
    sandbox_init(&s, &host, NULL, &r);
    cr_expect_eq(sandbox_load(&s, &f.e), -ENOENT, "%s", f.e.text);
    kit_tree_make(HOME);
    cr_expect_eq(sandbox_load(&s, &f.e), 0, "%s", f.e.text);
    cr_expect(f.e.code == 0 && s.home.fds[0] >= 0 && s.overhead.fds[0] >= 0 && s.vcpu.fds[0] < 0);
    sandbox_close(&s);
    cr_expect(s.home.fds[0] < 0, "closed");
    cg_host_close(&host);
}

/* --- the end --- */

#define QUOTA "50000 100000"

struct vm {
    struct kit_stage *f;
    struct cg_host host;
    struct record record;
    struct state_lock lock;
    pid_t pid, tids[KIT_THREADS]; /* the first two are vCPUs */
};

static void begin_vm(struct kit_stage *f, struct vm *vm, enum cg_mode mode, bool only)
{
    static char id[] = "c1", container[] = "x1";
    bool v2 = mode == CG_MODE_V2;

    kit_begin_stage(f, mode);
    *vm = (struct vm){.f = f, .record = record_of(v2, only), .lock = STATE_LOCK_INIT};
    vm->pid = kit_start_threads(vm->tids);
    kit_tree_enter(vm->pid, HOME, "vmm");
    if (v2)
        kit_tree_put("unified", HOME, "cpu.max", QUOTA);
    cr_assert_eq(cg_host_open(&f->a, &vm->host, NULL), 0);
    JSON_APPEND(&f->a, vm->record.containers, struct record_container) =
        (struct record_container){.id = container};
    if (v2 && !only)
        JSON_APPEND(&f->a, vm->record.fence, struct record_fence) =
            (struct record_fence){.path = vm->record.sandbox_path};
    cr_assert_eq(state_lock(&f->state, id, true, 1000, &vm->lock, NULL), 0);
    cr_assert_eq(links_add_container(&f->state, container, id, NULL), 0);
    kit_note_tree(f);
}

/* As the watcher leaves it. */
static void split_v2(struct vm *vm)
{
    struct cg_change want = {0};
    struct sandbox s;

    JSON_AT(vm->record.fence, struct record_fence, 0).cpu_max = arena_strdup(&vm->f->a, QUOTA);
    vm->record.cpu_enabled = (struct json_bool){true, true};
    cg_files_add(&vm->f->a, &want.files, "cpu.max", QUOTA, true);
    sandbox_init(&s, &vm->host, NULL, &vm->record);
    cr_assert_eq(cg_create(&s.vcpu, &want, &vm->f->e), 0, "%s", vm->f->e.text);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(cg_add_thread(&s.vcpu, kit_who(vm->tids[i]), NULL), 0);
    sandbox_close(&s);
    kit_tree_put("unified", HOME, "cpu.max", "max 99999");
}

static void split_v1(struct vm *vm)
{
    vm->record.cpu_enabled = (struct json_bool){true, false};
    struct cg_change want = {0};
    struct sandbox s;

    sandbox_init(&s, &vm->host, NULL, &vm->record);
    cr_assert_eq(cg_create(&s.overhead, &want, &vm->f->e), 0, "%s", vm->f->e.text);
    cr_assert_eq(cg_add_thread(&s.overhead, kit_who(vm->pid), NULL), 0);
    cr_assert_eq(cg_add_thread(&s.overhead, kit_who(vm->tids[2]), NULL), 0);
    sandbox_close(&s);
}

static int destroy(struct vm *vm)
{
    const struct settings settings = {.leftovers = LEFTOVERS_KILL};

    err_reset(&vm->f->e);
    return sandbox_destroy(&vm->f->state, &vm->host, &vm->record, &settings, 100, &vm->lock,
                           &vm->f->e);
}

static void end_vm(struct vm *vm)
{
    state_unlock(&vm->lock);
    cg_host_close(&vm->host);
}

/* All of ours is gone, the VMM is not. */
static void expect_destroyed(struct vm *vm, const char *changes, const char *what)
{
    int r = destroy(vm);

    cr_expect_eq(r, 0, "%s: %d %s", what, r, vm->f->e.text);
    kit_expect_changes(vm->f, changes, what);
    cr_expect_str_eq(kit_state_names(vm->f), "", "%s: left %s", what, kit_state_names(vm->f));
    cr_expect(vm->lock.lock_fd < 0, "%s: the lock was let go", what);
}

static void expect_kept(struct vm *vm, int want, const char *what)
{
    int r = destroy(vm);

    cr_expect(r == want && vm->f->e.code == want, "%s: expected %d, got %d %s", what, want, r,
              vm->f->e.text);
    cr_expect(strstr(kit_state_names(vm->f), "sandboxes/c1") &&
                  strstr(kit_state_names(vm->f), "containers/x1"),
              "%s: %s", what, kit_state_names(vm->f));
}

Test(sandbox_nested, destroy_without_split)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, rows[i].mode, rows[i].only);
        expect_destroyed(&vm, "", rows[i].name);
        end_vm(&vm);
    }
}

/* With what is not ours in its place: in one cgroup nothing was made. */
Test(sandbox_nested, destroy_only)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    kit_note_tree(&f);
    vm.record.sandbox_cgroup_only.value = true;
    expect_destroyed(&vm, "", "only");
    end_vm(&vm);
}

Test(sandbox_nested, destroy_v2)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    expect_destroyed(&vm, "", "as before");
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cpu.max"), QUOTA);
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cgroup.subtree_control"), "");
    end_vm(&vm);
}

/* What the runtime's cgroup passed on before it still does. */
Test(sandbox_nested, destroy_v2_leaves_controllers)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    vm.record.cpu_enabled.value = false;
    expect_destroyed(&vm,
                     "-" HOME ": cpu.max=" QUOTA "\n" HOME
                     ": cgroup.subtree_control=cpu; cgroup.type=domain threaded; cpu.max=" QUOTA
                     "\n",
                     "not enabled by us");
    end_vm(&vm);
}

/* The child was gone already, by whomever. */
Test(sandbox_nested, destroy_v2_without_child)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    vm.record.cpu_enabled = (struct json_bool){true, true};
    kit_tree_put("unified", HOME, "cgroup.subtree_control", "cpu");
    expect_destroyed(&vm, "", "the controller");
    end_vm(&vm);
}

/* Most often: the runtime removes its cgroup before it runs poststop. */
Test(sandbox_nested, destroy_v2_of_what_is_gone)
{
    struct sandbox s;
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    kit_end_child(vm.pid);
    sandbox_init(&s, &vm.host, NULL, &vm.record);
    s.vcpu.borrowed = s.home.borrowed = false;
    for (int i = 0; i < 2; i++) {
        cg_load(i ? &s.home : &s.vcpu, NULL);
        cr_assert_eq(cg_delete(i ? &s.home : &s.vcpu, 1000, &f.e), 0, "%s", f.e.text);
    }
    sandbox_close(&s);
    kit_note_tree(&f);
    expect_destroyed(&vm, "", "gone");
    end_vm(&vm);
}

static void note_quota(const char *path, const char *file, const char *text, void *arg)
{
    unsigned *moved = arg;

    if (!str_eq(file, "cgroup.threads"))
        return;
    ++*moved;
    cr_expect_str_eq(path, HOME);
    cr_expect_str_eq(kit_tree_read("unified", HOME, "cpu.max"), QUOTA, "before %s is moved", text);
}

/* No vCPU is ever without a quota. */
Test(sandbox_nested, destroy_v2_gives_the_quota_back_first)
{
    unsigned moved = 0;
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    kit_tree_watch(note_quota, &moved);
    cr_expect_eq(destroy(&vm), 0, "%s", f.e.text);
    cr_expect_eq(moved, 2);
    end_vm(&vm);
}

/* Each step fails once: what was not undone is in the record, and the next one goes on. */
Test(sandbox_nested, destroy_v2_fails)
{
    unsigned n = 0;
    int r = -EIO;

    while (r < 0 && n < 50) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, CG_MODE_V2, false);
        split_v2(&vm);
        kit_tree_fail(++n, EIO);
        r = destroy(&vm);
        if (r < 0) {
            cr_expect(r == -EIO && strstr(f.e.text, HOME), "step %u: %d %s", n, r, f.e.text);
            cr_expect(strstr(kit_state_names(&f), "sandboxes/c1"), "step %u", n);
            /* without a quota above there is one below */
            if (str_eq(kit_tree_read("unified", HOME, "cpu.max"), "max 99999"))
                cr_expect_str_eq(kit_tree_read("unified", CHILD, "cpu.max"), QUOTA);
            kit_tree_fail(0, 0);
            expect_destroyed(&vm, "", "again");
        }
        end_vm(&vm);
    }
    cr_expect_eq(n, 5, "the quota, two threads, the controller; %u", n - 1);
}

struct killer {
    pid_t pid;
    unsigned steps;
};

static void end_it(const char *path, const char *file, const char *text, void *arg)
{
    struct killer *k = arg;

    (void)path;
    (void)text;
    if (str_eq(file, "cgroup.threads") && k->steps++ == 0)
        kit_end_child(k->pid);
}

/* One that ends meanwhile is not in the way. */
Test(sandbox_nested, destroy_v2_while_it_ends)
{
    struct killer k = {0};
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    k.pid = vm.pid;
    kit_tree_watch(end_it, &k);
    /* A runtime whose own removal failed over the cgroup inside of it does not come back. */
    expect_destroyed(&vm, "-" HOME ": cpu.max=50000 100000\n-vmm in " HOME "\n", "ended");
    cr_expect_geq(k.steps, 1);
    end_vm(&vm);
}

/* What cannot be looked at is not gone: nothing is forgotten. */
Test(sandbox_nested, destroy_v2_blind)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V2, false);
    split_v2(&vm);
    cr_assert_eq(unlink(arena_printf(&f.a, "%s/unified" HOME "/cpu.max", kit_tree_dir)), 0);
    expect_kept(&vm, -ENOENT, "no cpu.max in a cgroup that is there");
    cr_expect_str_eq(kit_tree_read("unified", CHILD, "cpu.max"), QUOTA);
    end_vm(&vm);
}

/* One whose placeholder has ended. */
static void add_container(struct vm *vm, char *id, char *path, pid_t init)
{
    struct arena *a = &vm->f->a;
    pid_t placeholder = kit_start_child();

    JSON_APPEND(a, vm->record.containers, struct record_container) = (struct record_container){
        .id = id,
        .runtime_path = path,
        .init = record_process_new(a, kit_who(init)),
        .placeholder = record_process_new(a, kit_who(placeholder)),
    };
    kit_end_child(placeholder);
}

/* The rest is done all the same, and what was wrong is not forgotten over it. */
Test(sandbox_nested, destroy_says_what_failed_first)
{
    static char hidden[] = "x2", ended[] = "x3", home[] = HOME, gone[] = "/p/gone";

    for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
        const char *name = rows[i / 2].name;
        enum cg_mode mode = rows[i / 2].mode;
        pid_t init, dead;
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, mode, rows[i / 2].only);
        init = kit_start_child();
        dead = kit_start_child();
        if (!rows[i / 2].only)
            (mode == CG_MODE_V2 ? split_v2 : split_v1)(&vm);
        add_container(&vm, hidden, home, init);
        if (i % 2)
            add_container(&vm, ended, gone, dead);
        kit_end_child(dead);
        kit_tree_hide(arena_printf(&f.a, "/%d/stat", (int)init), EMFILE);
        expect_kept(&vm, -EMFILE, name);
        kit_tree_hide(NULL, 0);
        cr_expect(strstr(f.e.text, "cannot tell whether container x2 lives: EMFILE"), "%s: %s",
                  name, f.e.text);
        end_vm(&vm);
    }
}

static void expect_v1(enum cg_mode mode)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, mode, false);
    split_v1(&vm);
    expect_destroyed(&vm, "", "back");
    end_vm(&vm);
}

/* All threads are in the runtime's cgroup again, and none was killed. */
Test(sandbox_nested, destroy_v1)
{
    expect_v1(CG_MODE_V1);
    expect_v1(CG_MODE_HYBRID);
}

Test(sandbox_nested, destroy_v1_fails)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V1, false);
    split_v1(&vm);
    kit_tree_fail(1, EIO);
    expect_kept(&vm, -EIO, "a process stays");
    kit_tree_fail(0, 0);
    expect_destroyed(&vm, "", "again");
    end_vm(&vm);
}

/* In the runtime's cgroup they are under its limits again, which needs no word; above it they are not. */
Test(sandbox_nested, destroy_v1_in_place_says_nothing)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V1, false);
    split_v1(&vm);
    cr_redirect_stderr();
    cr_expect_eq(destroy(&vm), 0, "%s", f.e.text);
    cr_expect_stderr_eq_str("");
    end_vm(&vm);
}

Test(sandbox_nested, destroy_v1_elsewhere_says_so)
{
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V1, false);
    split_v1(&vm);
    kit_tree_fail(1, EBUSY);
    cr_redirect_stderr();
    cr_expect_eq(destroy(&vm), 0, "%s", f.e.text);
    cr_expect_stderr_eq_str("oci-sandbox-cgroup: warning: 1 leftover processes of " OVERHEAD
                            " were moved to /p, out of the sandbox's limits\n");
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cgroup.procs"), "(none)");
    end_vm(&vm);
}

/* As a runtime that removes its cgroup while threads of the VMM are beside it. */
Test(sandbox_nested, destroy_v1_of_what_is_gone)
{
    struct sandbox s;
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, CG_MODE_V1, false);
    split_v1(&vm);
    sandbox_init(&s, &vm.host, NULL, &vm.record);
    cr_assert_eq(sandbox_load(&s, NULL), 0);
    cr_assert_eq(cg_add_process(&s.overhead, kit_who(vm.pid), NULL), 0);
    s.vcpu.borrowed = false;
    cr_assert_eq(cg_delete(&s.vcpu, 0, &f.e), 0, "%s", f.e.text);
    sandbox_close(&s);
    cr_expect_eq(destroy(&vm), 0, "%s", f.e.text);
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", "/p", "cgroup.procs"),
                     arena_printf(&f.a, "%d", (int)vm.pid), "the nearest above");
    cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cgroup.procs"), "(none)");
    cr_expect_str_eq(kit_tree_read("memory", HOME, "cgroup.procs"),
                     arena_printf(&f.a, "%d", (int)vm.pid), "elsewhere it stays");
    cr_expect_str_eq(kit_state_names(&f), "");
    end_vm(&vm);
}

/* The runtime's cgroup cannot be opened any more in this hierarchy. */
static void block_home(struct vm *vm, const char *hierarchy)
{
    const char *home = arena_printf(&vm->f->a, "%s/%s" HOME, kit_tree_dir, hierarchy);

    cr_assert_eq(rename(home, arena_printf(&vm->f->a, "%s.away", home)), 0);
    cr_assert_eq(symlink("c1.away", home), 0);
    kit_note_tree(vm->f);
}

/* Where nothing of ours can be nobody has to look, so nothing stands in the way of the end. */
Test(sandbox_nested, destroy_looks_only_where_it_has_to)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, rows[i].mode, rows[i].only);
        block_home(&vm, rows[i].vcpu_names);
        expect_destroyed(&vm, "", rows[i].name);
        end_vm(&vm);
    }
}

/* Of a split that is the hierarchy of cpu. */
Test(sandbox_nested, destroy_looks_at_the_split)
{
    static const struct {
        enum cg_mode mode;
        const char *hierarchy;
        int want;
    } blocked[] = {
        {CG_MODE_V1, "memory", 0},
        {CG_MODE_V1, "cpu,cpuacct", -ELOOP},
        {CG_MODE_V2, "unified", -ELOOP},
    };

    for (size_t i = 0; i < ARRAY_SIZE(blocked); i++) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, blocked[i].mode, false);
        if (blocked[i].mode == CG_MODE_V2)
            split_v2(&vm);
        else
            split_v1(&vm);
        block_home(&vm, blocked[i].hierarchy);
        if (blocked[i].want < 0) {
            expect_kept(&vm, blocked[i].want, blocked[i].hierarchy);
        } else {
            cr_expect_eq(destroy(&vm), 0, "%s: %s", blocked[i].hierarchy, f.e.text);
            cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "cgroup.procs"), "(none)");
            cr_expect_str_eq(kit_tree_read("cpu,cpuacct", HOME, "cgroup.procs"),
                             arena_printf(&f.a, "%d", (int)vm.pid));
        }
        end_vm(&vm);
    }
}
