/* SPDX-License-Identifier: Apache-2.0 */

/* `check`: what this host offers, and what will not work and why. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"
#include "cgroup/path.h"
#include "cgroup/systemd.h"
#include "hook/plan/facts.h"
#include "hook/plan/plan.h"
#include "hook/sandbox/child.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/runtime.h"
#include "hook/sandbox/state_dir.h"
#include "hook/tool/engines.h"
#include "hook/tool/registrations.h"
#include "hook/tool/verbs.h"
#include "hook/vcpu/vcpu.h"
#include "hook/watch/events.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEBUGFS "/sys/kernel/debug"

enum verdict { FINE, LIMITED, BROKEN };

struct finding {
    const char *name;
    enum verdict verdict;
    const char *text;
};

struct findings {
    struct finding *items;
    size_t count;
    struct arena *a;
};

static void add(struct findings *f, const char *name, enum verdict verdict, const char *text)
{
    struct finding *item = &ARENA_APPEND(f->a, f->items, f->count);

    *item = (struct finding){name, verdict, text};
}

/* Nothing can be made there. For whom nothing is done anyway that is no matter. */
static void check_mount(const struct cg_hierarchy *h, bool foreign, struct findings *f)
{
    struct statvfs st;

    if (fstatvfs(cg_hierarchy_fd(h), &st) == 0 && st.f_flag & ST_RDONLY)
        add(f, "hierarchy", foreign ? LIMITED : BROKEN,
            arena_printf(f->a,
                         "%s at %s is mounted read-only: no cgroup can be made in it; mount -o "
                         "remount,rw %s, or run where the host's cgroups can be written to",
                         h->name, h->mount_point, h->mount_point));
    else
        add(f, "hierarchy", FINE, arena_printf(f->a, "%s at %s", h->name, h->mount_point));
}

static void check_hierarchies(const struct cg_host *host, struct findings *f)
{
    static const enum cg_ctl wanted[] = {CG_CTL_CPU, CG_CTL_CPUSET, CG_CTL_MEMORY, CG_CTL_PIDS};

    add(f, "cgroup mode", FINE, cg_mode_name(host->mode));
    for (size_t i = 0; i < host->count; i++)
        check_mount(&host->hierarchies[i], cg_host_is_foreign(host, NULL) == 1, f);
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        const struct cg_hierarchy *h = cg_host_find(host, wanted[i]);
        const char *name = cg_ctl_name(wanted[i], false);

        if (!h)
            add(f, "controller", LIMITED,
                arena_printf(f->a,
                             "%s is not available: a container that has such a limit is refused; "
                             "boot without cgroup_disable=%s, or with cgroup_enable=%s",
                             name, name, name));
        else if (h->v2 && host->mode != CG_MODE_V2)
            add(f, "controller", LIMITED,
                arena_printf(f->a,
                             "%s is only in the cgroup2 mount beside v1 hierarchies, where "
                             "limits are not set; mount its v1 hierarchy, or boot with cgroup v2 "
                             "alone",
                             name));
    }
}

static void check_devices(const struct cg_host *host, struct findings *f)
{
    int r;

    if (facts_refuse_devices(host->mode)) {
        add(f, "device rules", LIMITED, PLAN_NO_DEVICE_RULES);
        return;
    }
    if (host->mode != CG_MODE_V2) {
        bool found = cg_host_find(host, CG_CTL_DEVICES) != NULL;

        add(f, "device rules", found ? FINE : LIMITED,
            found ? "v1 devices controller"
                  : "the v1 devices controller is mounted nowhere: device lists have no effect");
        return;
    }
    r = cg_bpf_device_probe();
    if (r == 0) {
        add(f, "device rules", FINE, "BPF device programs");
    } else {
        char name[96];

        add(f, "device rules", geteuid() == 0 ? BROKEN : LIMITED,
            arena_printf(f->a, "a BPF device program cannot be loaded: %s%s", err_name(r, name),
                         geteuid() == 0 ? "; the kernel needs CONFIG_CGROUP_BPF"
                                        : "; run as root to know for sure"));
    }
}

/* A node alone is no driver. */
static void check_hypervisor(const char *path, struct findings *f)
{
    autofd fd = open(path, O_RDWR | O_CLOEXEC);
    char name[96];

    if (fd >= 0 || (geteuid() != 0 && errno == EACCES))
        add(f, "hypervisor", FINE, path);
    else
        add(f, "hypervisor", LIMITED,
            arena_printf(f->a,
                         "%s cannot be opened: %s; load the kernel's module (kvm_intel, kvm_amd), "
                         "and allow virtualisation in the firmware",
                         path, err_name(-errno, name)));
}

static void check_nodes(const struct settings *settings, enum cg_mode mode, struct findings *f)
{
    struct facts facts;

    facts_gather(mode, settings, false, f->a, &facts);
    for (size_t i = 0; i < facts_hypervisor_device_count; i++) {
        if (facts_device(&facts, facts_hypervisor_devices[i]))
            check_hypervisor(facts_hypervisor_devices[i], f);
    }
    if (!facts_has_hypervisor(&facts))
        add(f, "hypervisor", LIMITED,
            "neither /dev/kvm nor /dev/mshv: guests run without hardware virtualisation; load the "
            "kernel's module (kvm_intel, kvm_amd), and allow virtualisation in the firmware");
    for (size_t i = 0; i < facts_virtualization_device_count; i++) {
        if (facts_device(&facts, facts_virtualization_devices[i]))
            add(f, "device", FINE, facts_virtualization_devices[i]);
    }
}

static void check_discovery(struct findings *f)
{
    autofd kvm = vcpu_kvm_open();
    struct statfs st;

    if (kvm >= 0)
        add(f, "vCPU discovery", FINE, "KVM debugfs, thread names, guest time");
    else if (geteuid() != 0)
        add(f, "vCPU discovery", LIMITED,
            "thread names and guest time; whether there is KVM's own list in debugfs only root can "
            "see");
    else if (statfs(DEBUGFS, &st) == 0 && st.f_type == DEBUGFS_MAGIC)
        add(f, "vCPU discovery", LIMITED,
            "thread names and guest time; debugfs is mounted at " DEBUGFS ", but KVM has no list "
            "there, as long as its module is not loaded");
    else
        add(f, "vCPU discovery", LIMITED,
            "thread names and guest time; for KVM's own list mount -t debugfs none " DEBUGFS);
}

/* The hook may do what we may, if we are root. */
static void check_events(struct findings *f)
{
    struct events events;
    struct err e = ERR_INIT;

    if (events_open(&events, &e) == 0)
        add(f, "process events", FINE,
            "the kernel tells when a thread gets its name: vCPUs are placed at once");
    else
        add(f, "process events", LIMITED,
            arena_printf(f->a, "%s: vCPUs are found by looking every 1 to 3 ms", e.text));
    events_close(&events);
}

/* ---- what every setup needs ---- */

static void check_user(struct findings *f)
{
    if (geteuid() == 0)
        add(f, "user", FINE, "root");
    else
        add(f, "user", LIMITED,
            "not root, as whom the hook runs: what it may do there cannot all be told from here; "
            "run check as root");
}

/* Of the directory, or of the nearest one above it, in which it would be made. 0; -errno. */
static int try_writing(const char *path, struct arena *a)
{
    while (access(path, F_OK) < 0 && errno == ENOENT && !str_eq(path, "/"))
        path = cg_path_parent(a, path);
    return access(path, W_OK) < 0 ? -errno : 0;
}

static void check_state_dir(const struct options *o, struct findings *f)
{
    enum verdict bad = geteuid() == 0 ? BROKEN : LIMITED;
    struct state_dir state = STATE_DIR_INIT;
    struct err e = ERR_INIT;
    char name[96];
    int there = state_dir_open(o->state_dir, false, &state, &e);
    int r = try_writing(o->state_dir, f->a);

    state_dir_close(&state);
    if (there < 0 && there != -ENOENT)
        add(f, "state directory", bad, arena_strdup(f->a, e.text));
    else if (r < 0)
        add(f, "state directory", bad,
            arena_printf(f->a,
                         "%s cannot be written to: %s; no sandbox can be set up: let it be on a "
                         "file system that is mounted read-write, or name another with --state-dir",
                         o->state_dir, err_name(r, name)));
    else
        add(f, "state directory", FINE, o->state_dir);
    err_reset(&e);
}

/* What is planned for a container that asks for nothing fails, if it fails, by the configuration. */
static int try_settings(const struct options *o, const struct settings *settings,
                        const struct facts *facts, char *path, struct findings *f, struct err *e)
{
    struct oci_linux spec = {.cgroups_path = path};
    const struct oci_config config = {.linux_ = &spec};
    const struct oci_state state = {.id = (char[]){"check"}};
    const struct plan_input in = {
        .stage = STAGE_PRESTART,
        .state = &state,
        .config = &config,
        .settings = settings,
        .only_argument = o->only,
        .facts = facts,
        .layout_argument = o->layout,
    };
    struct plan plan;
    int r = plan_place(&in, f->a, &plan, e);

    if (r == 0)
        r = plan_fill(&in, f->a, &plan, e);
    for (size_t i = 0; r == 0 && i < plan.warnings.count; i++) {
        const char *text = plan.warnings.items[i];

        if (str_starts(text, "overhead_limits") || str_starts(text, "extra_devices") ||
            str_starts(text, "no_vcpu") || str_starts(text, "memory_overhead_bytes"))
            add(f, "configuration", LIMITED, text);
    }
    return r;
}

/* Returns what the verb does. Whoever is not root may be the only one who cannot read it. */
static int add_unreadable(struct err *why, struct findings *f)
{
    int r = why->code;

    if (why->bad_input || geteuid() == 0) {
        add(f, "configuration", BROKEN,
            arena_printf(f->a, "every setup fails, and poststop, too: %s", why->text));
        return r;
    }
    add(f, "configuration", LIMITED,
        arena_printf(f->a, "%s; the rest is said as if there were none", why->text));
    err_reset(why);
    return 0;
}

static void check_settings(const struct options *o, const struct settings *settings,
                           enum cg_mode mode, struct findings *f)
{
    const char *file = o->config_path ? o->config_path : SETTINGS_DEFAULT_PATH;
    char path[] = "/check";
    struct facts facts;
    struct err e = ERR_INIT;

    facts_gather(mode, settings, true, f->a, &facts);
    if (try_settings(o, settings, &facts, path, f, &e) < 0)
        add(f, "configuration", BROKEN,
            arena_printf(f->a, "every setup fails with %s: %s", file, e.text));
    else
        add(f, "configuration", FINE,
            access(file, F_OK) == 0 ? file
                                    : arena_printf(f->a, "%s is not there: defaults hold", file));
    err_reset(&e);
}

static void check_manager(struct findings *f)
{
    struct err e = ERR_INIT;
    char version[64];

    add(f, "manager", FINE, "cgroupfs");
    if (access("/run/systemd/system", F_OK) < 0)
        add(f, "manager", FINE, "systemd does not run here: paths of its form are refused");
    else if (cg_systemd_probe(version, sizeof version, &e) == 0)
        add(f, "manager", FINE, arena_printf(f->a, "systemd %s", version));
    else
        add(f, "manager", LIMITED, arena_strdup(f->a, e.text));
}

/* What auto makes of a runtime below that engine. */
static enum layout auto_of(const struct cg_host *host, struct runtime *r,
                           enum runtime_engine engine, struct arena *a)
{
    const struct layout_input in = {.argument = LAYOUT_SAY_AUTO, .mode = host->mode, .runtime = r};

    r->engine = engine;
    return layout_decide(&in, a).layout;
}

/* @in  the layout that is asked for here. */
static void check_runtime(const struct cg_host *host, struct layout_input in, struct runtime *r,
                          struct findings *f)
{
    enum layout other = auto_of(host, r, ENGINE_OTHER, f->a);
    enum layout containerd = auto_of(host, r, ENGINE_CONTAINERD, f->a);
    const char *warning;

    in.runtime = r;
    warning = layout_decide(&in, f->a).warning;
    add(f, "runtime", FINE,
        arena_printf(f->a, "%s: layout auto is %s under containerd and Docker, %s elsewhere",
                     runtime_text(r, f->a), layout_name(containerd), layout_name(other)));
    if (warning)
        add(f, "runtime", LIMITED, warning);
}

/* One program may be found by many paths, as /bin is a link. */
static bool is_new(const char *path, const struct stat *seen, size_t count, struct stat *ret)
{
    if (stat(path, ret) < 0 || !S_ISREG(ret->st_mode))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (seen[i].st_dev == ret->st_dev && seen[i].st_ino == ret->st_ino)
            return false;
    }
    return true;
}

/* Engines say where their runtimes are; these are the places where packages put them. */
static void check_runtimes(const struct options *o, const struct cg_host *host,
                           const struct layout_input *in, struct findings *f)
{
    static const char *const places[] = {"/usr/bin",        "/usr/sbin", "/usr/local/bin",
                                         "/usr/local/sbin", "/bin",      "/sbin"};
    struct stat *seen = NULL;
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(places) * runtime_name_count; i++) {
        const char *path = arena_printf(f->a, "%s/%s", places[i / runtime_name_count],
                                        runtime_names[i % runtime_name_count]);
        struct runtime r;
        struct stat st;

        if (!is_new(path, seen, count, &st))
            continue;
        ARENA_APPEND(f->a, seen, count) = st;
        runtime_look_at(path, o->state_dir, f->a, &r);
        check_runtime(host, *in, &r, f);
    }
    if (count == 0)
        add(f, "runtime", FINE, "none of runc, crun and youki is in the usual places");
}

static void check_layout(const struct options *o, const struct settings *settings,
                         const struct cg_host *host, struct findings *f)
{
    struct layout_input in = {
        .settings = settings->layout, .argument = o->layout, .mode = host->mode};
    struct layout_choice choice;
    struct runtime r;

    if (layout_asks(&in)) {
        runtime_look(getppid(), o->state_dir, false, f->a, &r);
        runtime_doubt(&r);
        in.runtime = &r;
    }
    choice = layout_decide(&in, f->a);
    add(f, "layout", FINE,
        arena_printf(f->a, "%s, because: %s%s%s", layout_name(choice.layout), choice.reason,
                     in.runtime ? "; the hook's runtime is " : "",
                     !in.runtime         ? ""
                     : !in.runtime->path ? "not known here"
                                         : runtime_text(in.runtime, f->a)));
    check_runtimes(o, host, &in, f);
}

/* What is wrong with one that runs, whatever would be chosen now. */
static void check_sandbox(const struct state_dir *state, const char *id, struct findings *f)
{
    struct state_lock look = STATE_LOCK_INIT;
    struct record record;
    enum record_state found = RECORD_NONE;
    struct proc_id watcher;
    struct err e = ERR_INIT;
    char shown[300];
    int r = state_look(state, id, &look, &e);

    str_escape(id, shown, sizeof shown);
    if (r == 0)
        r = record_read(&look, f->a, &record, &found, &e);
    state_unlock(&look);
    if (r < 0 && r != -ENOENT)
        add(f, "sandbox", LIMITED, arena_printf(f->a, "%s: %s", shown, e.text));
    if (r < 0 || found != RECORD_VALID || !record_is_alive(&record))
        return;
    if (record.layout_warning)
        add(f, "sandbox", LIMITED, arena_printf(f->a, "%s: %s", shown, record.layout_warning));
    watcher = record_process_id(record.watcher);
    if (watcher.pid > 0 && !child_works(&watcher))
        add(f, "sandbox", LIMITED,
            arena_printf(f->a,
                         "%s: its watcher has gone, so new vCPUs and changed limits are not "
                         "followed before the next stage starts another",
                         shown));
}

static void check_sandboxes(const struct options *o, struct findings *f)
{
    struct state_dir state = STATE_DIR_INIT;
    const char **ids = NULL;
    size_t count = 0;
    struct err e = ERR_INIT;
    int r = state_dir_open(o->state_dir, false, &state, &e);

    if (r == 0)
        r = state_list(&state, f->a, &ids, &count, &e);
    /* Of a directory that cannot be opened check_state_dir() has told. */
    if (r < 0 && state.sandboxes >= 0)
        add(f, "sandbox", LIMITED, arena_strdup(f->a, e.text));
    for (size_t i = 0; r == 0 && i < count; i++)
        check_sandbox(&state, ids[i], f);
    state_dir_close(&state);
}

/* What was written into bundles and engines' base specs is nowhere to be found. */
static void check_registrations(struct findings *f)
{
    struct engine engines[ENGINES];
    struct registration *found;
    size_t count;

    registrations_find("", f->a, &found, &count);
    for (size_t i = 0; i < count; i++)
        add(f, "registration", found[i].in_force ? FINE : LIMITED, found[i].text);
    if (count == 0)
        add(f, "registration", FINE,
            "none in hooks directories and CDI's: containers have the hook only where `register` "
            "or a base spec has put it into config.json");
    engines_find("", f->a, engines);
    for (size_t i = 0; i < ENGINES; i++) {
        if (engines[i].program)
            add(f, "engine", FINE, engine_text(&engines[i], f->a));
    }
}

static void print_json(const struct cg_host *host, const struct findings *f)
{
    static const char *const words[] = {[FINE] = "ok", [LIMITED] = "limited", [BROKEN] = "broken"};
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_i64(w, "version", 1);
    json_string(w, "cgroup_mode", cg_mode_name(host->mode));
    json_open_list(w, "findings");
    for (size_t i = 0; i < f->count; i++) {
        json_open_object(w, NULL);
        json_string(w, "name", f->items[i].name);
        json_string(w, "verdict", words[f->items[i].verdict]);
        json_string(w, "text", f->items[i].text);
        json_close_object(w);
    }
    json_close_list(w);
    json_close_object(w);
    fputs(json_writer_text(w, NULL), stdout);
    json_writer_free(w);
}

int verb_check(const struct options *o, const struct settings *settings, struct arena *a,
               struct err *e)
{
    static const char *const marks[] = {[FINE] = "ok", [LIMITED] = "limited", [BROKEN] = "BROKEN"};
    struct findings f = {.a = a};
    struct settings defaults;
    struct cg_host host;
    int r = cg_host_open(a, &host, e);

    if (r < 0)
        return r;
    check_user(&f);
    if (settings) {
        check_settings(o, settings, host.mode, &f);
    } else {
        r = add_unreadable(e, &f);
        (void)settings_read("", false, a, &defaults, NULL);
        settings = &defaults;
    }
    check_state_dir(o, &f);
    check_hierarchies(&host, &f);
    if (cg_host_is_foreign(&host, NULL) == 1)
        add(&f, "user namespace", LIMITED, PLAN_FOREIGN);
    /* Threaded mode came with Linux 4.14 and cannot be turned off. */
    add(&f, "vCPU split", FINE,
        host.mode == CG_MODE_V2 ? "threaded cgroups" : "threads are placed per v1 hierarchy");
    check_devices(&host, &f);
    check_nodes(settings, host.mode, &f);
    check_discovery(&f);
    check_events(&f);
    check_manager(&f);
    check_layout(o, settings, &host, &f);
    check_registrations(&f);
    check_sandboxes(o, &f);
    if (o->json)
        print_json(&host, &f);
    for (size_t i = 0; i < f.count; i++) {
        char shown[4096];

        if (!o->json)
            printf("%-8s %-15s %s\n", marks[f.items[i].verdict], f.items[i].name,
                   str_escape(f.items[i].text, shown, sizeof shown));
        if (f.items[i].verdict == BROKEN && r == 0)
            r = err_set(e, -EOPNOTSUPP, "%s: %s", f.items[i].name, f.items[i].text);
    }
    cg_host_close(&host);
    return r;
}
