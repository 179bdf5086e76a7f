/* SPDX-License-Identifier: Apache-2.0 */

/* The end of a sandbox of layout sibling, split or not, of this version and of those before. */

#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/path.h"
#include "hook/plan/settings.h"
#include "hook/sandbox/links.h"
#include "hook/sandbox/sandbox.h"
#include "tests/unit/kit/bus_kit.h"
#include "tests/unit/kit/child_kit.h"
#include "tests/unit/kit/process_kit.h"
#include "tests/unit/kit/stage_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define HOME     "/p/kata_c1"
#define CHILD    HOME "/kata_vcpu"
#define OVERHEAD "/kata_overhead/c1"
#define QUOTA    "50000 100000"

static const struct {
    const char *name;
    enum cg_mode mode;
    bool only;
    const char *hierarchy; /* one that has no part in a split of v1 */
    const char *taken;     /* where what is left gets */
} rows[] = {
    {"v1", CG_MODE_V1, false, "memory", "/p"},
    {"hybrid", CG_MODE_HYBRID, false, "memory", "/p"},
    {"v2", CG_MODE_V2, false, "unified", "/"},
    {"v1 in one", CG_MODE_V1, true, "memory", "/p"},
    {"v2 in one", CG_MODE_V2, true, "unified", "/"},
};

struct vm {
    struct kit_stage *f;
    struct cg_host host;
    struct record record;
    struct state_lock lock;
    pid_t pid, tids[KIT_THREADS]; /* the first two are vCPUs */
    const char *writes;           /* by sandbox_end_init() */
};

static struct record record_of(bool v2, bool only)
{
    static char home[] = HOME, child[] = CHILD, overhead[] = OVERHEAD, parent[] = "/p", id[] = "c1",
                layout[] = "sibling";

    return (struct record){
        .schema = {true, RECORD_SCHEMA},
        .sandbox_cgroup_only = {true, only},
        .sandbox_id = id,
        .layout = layout,
        .parent_path = parent,
        .sandbox_path = home,
        .vcpu_path = v2 && !only ? child : home,
        .overhead_path = only ? NULL
                         : v2 ? home
                              : overhead,
    };
}

/* As setup leaves it: everything in one. */
static void begin_vm(struct kit_stage *f, struct vm *vm, size_t i)
{
    static char id[] = "c1", container[] = "x1";
    struct sandbox s;

    kit_begin_stage(f, rows[i].mode);
    *vm = (struct vm){.f = f,
                      .record = record_of(rows[i].mode == CG_MODE_V2, rows[i].only),
                      .lock = STATE_LOCK_INIT};
    kit_tree_make("/p/c1");
    vm->pid = kit_start_threads(vm->tids);
    kit_tree_enter(vm->pid, "/p/c1", "vmm");
    cr_assert_eq(cg_host_open(&f->a, &vm->host, NULL), 0);
    kit_note_tree(f);
    sandbox_init(&s, &vm->host, NULL, &vm->record);
    cr_assert_eq(cg_create(&s.home, &(struct cg_change){0}, &f->e), 0, "%s", f->e.text);
    cr_assert_eq(cg_add_process(&s.home, kit_who(vm->pid), &f->e), 0, "%s", f->e.text);
    sandbox_close(&s);
    if (rows[i].mode == CG_MODE_V2)
        kit_tree_put("unified", HOME, "cpu.max", QUOTA);
    JSON_APPEND(&f->a, vm->record.containers, struct record_container) =
        (struct record_container){.id = container};
    cr_assert_eq(state_lock(&f->state, id, true, 1000, &vm->lock, NULL), 0);
    cr_assert_eq(links_add_container(&f->state, container, id, NULL), 0);
}

/* As the watcher leaves it. */
static void split(struct vm *vm)
{
    bool v2 = vm->host.mode == CG_MODE_V2;
    struct cg_change want = {0};
    struct sandbox s;

    vm->record.cpu_enabled = (struct json_bool){true, v2};
    sandbox_init(&s, &vm->host, &vm->f->state.parents, &vm->record);
    if (v2)
        cg_files_add(&vm->f->a, &want.files, "cpu.max", QUOTA, true);
    cr_assert_eq(cg_create(v2 ? &s.vcpu : &s.overhead, &want, &vm->f->e), 0, "%s", vm->f->e.text);
    cr_assert_eq(sandbox_load(&s, NULL), 0);
    if (v2) {
        for (int i = 0; i < 2; i++)
            cr_assert_eq(cg_add_thread(&s.vcpu, kit_who(vm->tids[i]), NULL), 0);
        kit_tree_put("unified", HOME, "cpu.max", "max 99999");
    } else {
        cr_assert_eq(cg_add_thread(&s.overhead, kit_who(vm->pid), NULL), 0);
        cr_assert_eq(cg_add_thread(&s.overhead, kit_who(vm->tids[2]), NULL), 0);
    }
    sandbox_close(&s);
}

static int destroy(struct vm *vm, enum leftovers leftovers)
{
    const struct settings settings = {.leftovers = leftovers};

    err_reset(&vm->f->e);
    return sandbox_destroy(&vm->f->state, &vm->host, &vm->record, &settings, 1000, &vm->lock,
                           &vm->f->e);
}

static void end_vm(struct vm *vm)
{
    state_unlock(&vm->lock);
    cg_host_close(&vm->host);
}

/* All of ours is gone, and the VMM is where leftovers get. */
static void expect_destroyed(struct vm *vm, size_t i, const char *what)
{
    int r = destroy(vm, LEFTOVERS_MOVE);

    cr_expect_eq(r, 0, "%s, %s: %d %s", rows[i].name, what, r, vm->f->e.text);
    kit_expect_changes(vm->f, arena_printf(&vm->f->a, "-vmm in /p/c1\nvmm in %s\n", rows[i].taken),
                       arena_printf(&vm->f->a, "%s, %s", rows[i].name, what));
    cr_expect(kit_is_running(vm->pid), "%s", rows[i].name);
    cr_expect_str_eq(kit_state_names(vm->f), "", "%s: left %s", what, kit_state_names(vm->f));
}

Test(sandbox_sibling, destroy_without_split)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, i);
        expect_destroyed(&vm, i, "in one");
        end_vm(&vm);
    }
}

Test(sandbox_sibling, destroy)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        STAGE f;

        if (rows[i].only)
            continue;
        begin_vm(&f, &vm, i);
        split(&vm);
        expect_destroyed(&vm, i, "split");
        end_vm(&vm);
    }
}

/* In either cgroup. */
Test(sandbox_sibling, destroy_kills_leftovers)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, i);
        if (!rows[i].only)
            split(&vm);
        cr_expect_eq(destroy(&vm, LEFTOVERS_KILL), 0, "%s: %s", rows[i].name, f.e.text);
        cr_expect(kit_was_killed(kit_wait_status(vm.pid), SIGKILL), "%s", rows[i].name);
        cr_expect_str_eq(kit_tree_read(rows[i].hierarchy, HOME, "cgroup.procs"), "(none)");
        end_vm(&vm);
    }
}

/* One of that name that somebody else has made is his, as long as there was no split of ours. */
Test(sandbox_sibling, destroy_leaves_a_foreign_overhead)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        STAGE f;
        pid_t other;

        begin_vm(&f, &vm, i);
        other = kit_start_child();
        kit_tree_enter(other, OVERHEAD, "other");
        cr_expect_eq(destroy(&vm, LEFTOVERS_KILL), 0, "%s: %s", rows[i].name, f.e.text);
        cr_expect(kit_is_running(other), "%s", rows[i].name);
        cr_expect(strstr(kit_tree_text(&f.a), "other in " OVERHEAD "\n"), "%s", rows[i].name);
        end_vm(&vm);
    }
}

/* Versions before had it in every hierarchy, with the VMM's memory. */
Test(sandbox_sibling, destroy_of_schema_2_on_v1)
{
    for (size_t i = 0; i < 2; i++) {
        struct vm vm;
        STAGE f;

        begin_vm(&f, &vm, i);
        kit_tree_enter(vm.pid, OVERHEAD, "vmm");
        kit_tree_make("/kata_overhead");
        vm.record.schema.value = 2;
        vm.record.cpu_enabled.set = true; /* as record_read() takes it */
        cr_expect_eq(destroy(&vm, LEFTOVERS_MOVE), 0, "%s: %s", rows[i].name, f.e.text);
        cr_expect_str_eq(kit_tree_read("memory", OVERHEAD, "tasks"), "(none)", "%s", rows[i].name);
        cr_expect_str_eq(kit_tree_read("cpu,cpuacct", OVERHEAD, "tasks"), "(none)");
        cr_expect_str_eq(kit_tree_read("memory", HOME, "tasks"), "(none)");
        cr_expect(strstr(kit_tree_text(&f.a), "vmm in /p\n"), "%s: %s", rows[i].name,
                  kit_tree_text(&f.a));
        cr_expect_str_eq(kit_state_names(&f), "");
        end_vm(&vm);
    }
}

static void make_leaf(struct vm *vm, const char *leaf, pid_t pid)
{
    struct cg_controller c;

    cg_init(&c, &vm->host, NULL, HOME, leaf);
    cr_assert_eq(cg_create(&c, &(struct cg_change){0}, &vm->f->e), 0, "%s", vm->f->e.text);
    cr_assert_eq(cg_add_process(&c, kit_who(pid), &vm->f->e), 0, "%s", vm->f->e.text);
    cg_close(&c);
}

/* Both leaves were inside of the sandbox cgroup. */
Test(sandbox_sibling, destroy_of_schema_2_on_v2)
{
    static char vcpu[] = HOME "/sandbox", overhead[] = HOME "/overhead";
    enum { V2 = 2 };
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, V2);
    make_leaf(&vm, "sandbox", vm.pid);
    make_leaf(&vm, "overhead", vm.pid);
    vm.record.schema.value = 2;
    vm.record.vcpu_path = vcpu;
    vm.record.overhead_path = overhead;
    vm.record.cpu_enabled.set = true;
    expect_destroyed(&vm, V2, "leaves");
    end_vm(&vm);
}

/* Each step fails once: the record stays, and the next one removes the rest. */
Test(sandbox_sibling, destroy_fails)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned n = 0;
        int r = -EIO;

        while (r < 0 && n < 50) {
            struct vm vm;
            STAGE f;

            begin_vm(&f, &vm, i);
            if (!rows[i].only)
                split(&vm);
            kit_tree_fail(++n, EIO);
            r = destroy(&vm, LEFTOVERS_MOVE);
            kit_tree_fail(0, 0);
            if (r < 0) {
                cr_expect(strstr(kit_state_names(&f), "sandboxes/c1"), "%s, step %u", rows[i].name,
                          n);
                cr_expect_eq(destroy(&vm, LEFTOVERS_MOVE), 0, "%s, step %u: %s", rows[i].name, n,
                             f.e.text);
                cr_expect_str_eq(kit_state_names(&f), "");
            }
            cr_expect_str_eq(kit_tree_read(rows[i].hierarchy, HOME, "cgroup.procs"), "(none)",
                             "%s, step %u", rows[i].name, n);
            end_vm(&vm);
        }
        cr_expect_lt(n, 50);
    }
}

/* Each write of a quota, and whether one was given back while the VMM lived. */
static void note_write(const char *path, const char *file, const char *text, void *arg)
{
    struct vm *vm = arg;
    struct proc_id init =
        record_process_id(JSON_AT(vm->record.containers, struct record_container, 0).init);

    if (str_starts(file, "cpu."))
        vm->writes = arena_printf(&vm->f->a, "%s%s/%s=%s%s\n", vm->writes, path, file, text,
                                  str_eq(text, "max") || str_eq(text, "-1") ? ""
                                  : proc_alive(&init)                       ? ", alive"
                                                                            : ", dead");
}

/* In the order of writing. @part  a second cgroup that has a quota; NULL: none. */
static const char *writes_wanted(struct vm *vm, const char *part, bool is_last)
{
    bool v2 = vm->host.mode == CG_MODE_V2;
    const char *file = v2 ? "cpu.max" : "cpu.cfs_quota_us", *none = v2 ? "max" : "-1";
    const char *period = v2 ? " 99999" : "";
    struct arena *a = &vm->f->a;

    return !is_last ? ""
           : part   ? arena_printf(
                          a, HOME "/%s=%s\n%s/%s=%s\n%s/%s=7000%s, dead\n" HOME "/%s=50000%s, dead\n",
                          file, none, part, file, none, part, file, period, file, period)
                  : arena_printf(a, HOME "/%s=%s\n" HOME "/%s=50000%s, dead\n", file, none, file,
                                 period);
}

static void put_quota(const struct vm *vm, const char *path, unsigned us)
{
    bool v2 = vm->host.mode == CG_MODE_V2;

    kit_tree_put(v2 ? "unified" : "cpu,cpuacct", path, v2 ? "cpu.max" : "cpu.cfs_quota_us",
                 arena_printf(&vm->f->a, v2 ? "%u 99999" : "%u", us));
}

/* Until it has ended there is no quota for it, when nobody else is under that; and then there is again. */
static void expect_end_of_init(size_t i, bool splits, bool is_last)
{
    bool v2 = rows[i].mode == CG_MODE_V2;
    const char *part = v2 ? CHILD : OVERHEAD;
    struct record_container *init;
    struct vm vm;
    STAGE f;

    begin_vm(&f, &vm, i);
    put_quota(&vm, HOME, 50000);
    if (splits) {
        split(&vm);
        put_quota(&vm, HOME, 50000);
        put_quota(&vm, part, 7000);
    }
    init = &JSON_AT(vm.record.containers, struct record_container, 0);
    init->init = record_process_new(&f.a, kit_who(vm.pid));
    vm.writes = "";
    kit_tree_watch(note_write, &vm);
    cr_expect_eq(sandbox_end_init(&vm.host, &vm.record, init, is_last, &f.e), 0, "%s: %s",
                 rows[i].name, f.e.text);
    kit_tree_watch(NULL, NULL);
    cr_expect(kit_was_killed(kit_wait_status(vm.pid), SIGKILL), "%s", rows[i].name);
    cr_expect_str_eq(vm.writes, writes_wanted(&vm, splits ? part : NULL, is_last), "%s",
                     rows[i].name);
    end_vm(&vm);
}

Test(sandbox_sibling, end_of_init)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        expect_end_of_init(i, !rows[i].only, true);
        expect_end_of_init(i, false, true);
        expect_end_of_init(i, !rows[i].only, false);
    }
}

/* One of the cgroups is enough; none is no error of looking. */
Test(sandbox_sibling, load)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct record r = record_of(rows[i].mode == CG_MODE_V2, rows[i].only);
        bool beside = rows[i].mode != CG_MODE_V2 && !rows[i].only;
        struct cg_host host;
        struct sandbox s;
        STAGE f;

        kit_begin_stage(&f, rows[i].mode);
        cr_assert_eq(cg_host_open(&f.a, &host, NULL), 0);
        sandbox_init(&s, &host, NULL, &r);
        cr_expect_eq(sandbox_load(&s, &f.e), -ENOENT, "%s", rows[i].name);
        err_reset(&f.e);
        if (beside) {
            kit_tree_make(OVERHEAD);
            cr_expect_eq(sandbox_load(&s, &f.e), 0, "%s: %s", rows[i].name, f.e.text);
            cr_expect(s.home.fds[0] < 0 && f.e.code == 0, "%s", rows[i].name);
        }
        kit_tree_make(HOME);
        cr_expect_eq(sandbox_load(&s, &f.e), 0, "%s: %s", rows[i].name, f.e.text);
        cr_expect(s.home.fds[0] >= 0 && s.overhead.fds[0] >= 0 && f.e.code == 0, "%s",
                  rows[i].name);
        cr_expect_eq(s.vcpu.fds[0] >= 0, !s.vcpu.leaf, "%s", rows[i].name);
        sandbox_close(&s);
        cr_expect(s.home.fds[0] < 0 && s.vcpu.fds[0] < 0 && s.overhead.fds[0] < 0, "closed");
        cg_host_close(&host);
    }
}

/* --- the runtime's own cgroup, which is empty --- */

static bool is_there(struct arena *a, const char *hierarchy, const char *path)
{
    return access(arena_printf(a, "%s/%s%s", kit_tree_dir, hierarchy, path), F_OK) == 0;
}

/* systemd hears from a cgroup2 that its scope is empty, and from no other. */
Test(sandbox_sibling, releases_the_runtimes)
{
    static const struct {
        enum cg_mode mode;
        int known; /* to systemd; or an errno */
        char path[32];
        const char *hierarchy;
        bool stays;
    } cases[] = {
        {CG_MODE_V1, 1, "/p/runc-c1.scope", "memory", false},
        {CG_MODE_HYBRID, 1, "/p/runc-c1.scope", "memory", false},
        {CG_MODE_HYBRID, 1, "/p/runc-c1.scope", "unified", true},
        {CG_MODE_V2, 1, "/p/runc-c1.scope", "unified", true},
        {CG_MODE_V2, 1, "/p/runc-c1.scope/container", "unified", false},
        {CG_MODE_V2, 0, "/p/runc-c1.scope", "unified", false},
        {CG_MODE_HYBRID, 0, "/p/runc-c1.scope", "unified", false},
        {CG_MODE_V2, 0, "/p/c1", "unified", false},
        {CG_MODE_V2, -EIO, "/p/runc-c1.scope", "unified", true},
        {CG_MODE_V1, -EIO, "/p/runc-c1.scope", "memory", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        pid_t placeholder = kit_start_child();
        char path[32], id[] = "c1";
        struct record_container c = {.id = id, .runtime_path = path};
        struct cg_host host;
        STAGE f;

        strcpy(path, cases[i].path);
        kit_begin_stage(&f, cases[i].mode);
        kit_bus_begin();
        kit_tree_make(cg_path_parent(&f.a, path));
        kit_bus_hide(cases[i].known < 0 ? -cases[i].known : 0);
        if (cases[i].known > 0)
            kit_bus_start("runc-c1.scope", "p");
        kit_tree_make(path);
        cr_assert(is_there(&f.a, cases[i].hierarchy, path), "case %zu", i);
        c.placeholder = c.init = record_process_new(&f.a, kit_who(placeholder));
        kit_end_child(placeholder);
        cr_assert_eq(cg_host_open(&f.a, &host, &f.e), 0, "%s", f.e.text);
        cr_expect_eq(sandbox_release(&host, &c, &f.e), 0, "case %zu: %s", i, f.e.text);
        cr_expect_eq(is_there(&f.a, cases[i].hierarchy, path), cases[i].stays, "case %zu", i);
        cg_host_close(&host);
    }
}
