/* SPDX-License-Identifier: Apache-2.0 */

/* `check`: what this host offers, and what will not work and why. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "cgroup/devices/bpf.h"
#include "cgroup/systemd.h"
#include "hook/plan/facts.h"
#include "hook/plan/plan.h"
#include "hook/tool/verbs.h"
#include "hook/vcpu/vcpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

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

static void check_hierarchies(const struct cg_host *host, struct findings *f)
{
    static const enum cg_ctl wanted[] = {CG_CTL_CPU, CG_CTL_CPUSET, CG_CTL_MEMORY, CG_CTL_PIDS};

    add(f, "cgroup mode", FINE, cg_mode_name(host->mode));
    for (size_t i = 0; i < host->count; i++) {
        const struct cg_hierarchy *h = &host->hierarchies[i];

        add(f, "hierarchy", FINE, arena_printf(f->a, "%s at %s", h->name, h->mount_point));
    }
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
        const struct cg_hierarchy *h = cg_host_find(host, wanted[i]);
        const char *name = cg_ctl_name(wanted[i], false);

        if (!h)
            add(f, "controller", LIMITED,
                arena_printf(f->a,
                             "%s is not available: a container that has such a limit is refused",
                             name));
        else if (h->v2 && host->mode != CG_MODE_V2)
            add(f, "controller", LIMITED,
                arena_printf(f->a,
                             "%s is only in the cgroup2 mount beside v1 hierarchies, where "
                             "limits are not set",
                             name));
    }
}

static void check_devices(const struct cg_host *host, struct findings *f)
{
    int r;

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

        add(f, "device rules", BROKEN,
            arena_printf(f->a, "a BPF device program cannot be loaded: %s%s", err_name(r, name),
                         geteuid() == 0 ? "" : "; run as root to know for sure"));
    }
}

static void check_nodes(const struct settings *settings, enum cg_mode mode, struct findings *f)
{
    struct facts facts;
    bool hypervisor = false;

    facts_gather(mode, settings, f->a, &facts);
    for (size_t i = 0; i < facts_hypervisor_device_count; i++) {
        if (facts_device(&facts, facts_hypervisor_devices[i])) {
            add(f, "hypervisor", FINE, facts_hypervisor_devices[i]);
            hypervisor = true;
        }
    }
    if (!hypervisor)
        add(f, "hypervisor", LIMITED,
            "neither /dev/kvm nor /dev/mshv: guests run without hardware virtualisation");
    for (size_t i = 0; i < facts_virtualization_device_count; i++) {
        if (facts_device(&facts, facts_virtualization_devices[i]))
            add(f, "device", FINE, facts_virtualization_devices[i]);
    }
}

static void check_discovery(struct findings *f)
{
    autofd kvm = vcpu_kvm_open();

    if (kvm >= 0)
        add(f, "vCPU discovery", FINE, "KVM debugfs, thread names, guest time");
    else
        add(f, "vCPU discovery", LIMITED,
            "thread names and guest time; mount debugfs (as root) for KVM's own list");
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
    struct cg_host host;
    int r = cg_host_open(a, &host, e);

    if (r < 0)
        return r;
    check_hierarchies(&host, &f);
    if (cg_host_is_foreign(&host))
        add(&f, "user namespace", LIMITED, PLAN_FOREIGN);
    /* Threaded mode came with Linux 4.14 and cannot be turned off. */
    add(&f, "vCPU split", FINE,
        host.mode == CG_MODE_V2 ? "threaded cgroups" : "threads are placed per v1 hierarchy");
    check_devices(&host, &f);
    check_nodes(settings, host.mode, &f);
    check_discovery(&f);
    check_manager(&f);
    if (o->json)
        print_json(&host, &f);
    for (size_t i = 0; i < f.count; i++) {
        if (!o->json)
            printf("%-8s %-15s %s\n", marks[f.items[i].verdict], f.items[i].name, f.items[i].text);
        if (f.items[i].verdict == BROKEN && r == 0)
            r = err_set(e, -EOPNOTSUPP, "%s: %s", f.items[i].name, f.items[i].text);
    }
    cg_host_close(&host);
    return r;
}
