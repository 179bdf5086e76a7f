/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/plan_kit.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "tests/unit/kit/text_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/mman.h>

void kit_read_hook(struct arena *a, const char *text, struct settings *ret)
{
    autofd fd = memfd_create("config.json", MFD_CLOEXEC);
    char *json = kit_json(a, text), path[64];
    struct err e = ERR_INIT;

    cr_assert(fd >= 0 && write(fd, json, strlen(json)) == (ssize_t)strlen(json));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cr_assert_eq(settings_read(path, true, a, ret, &e), 0, "%s: %s", text, e.text);
}

/* A host with everything but /dev/mshv and /dev/iommu. */
static struct device_node usual_nodes[] = {
    {"/dev/null", true, 'c', 1, 3},
    {"/dev/random", true, 'c', 1, 8},
    {"/dev/full", true, 'c', 1, 7},
    {"/dev/tty", true, 'c', 5, 0},
    {"/dev/zero", true, 'c', 1, 5},
    {"/dev/urandom", true, 'c', 1, 9},
    {"/dev/console", true, 'c', 5, 1},
    {"/dev/loop-control", true, 'c', 10, 237},
    {"/dev/kvm", true, 'c', 10, 232},
    {"/dev/mshv", false, 0, 0, 0},
    {"/dev/vhost-net", true, 'c', 10, 238},
    {"/dev/vfio/vfio", true, 'c', 10, 196},
    {"/dev/vhost-vsock", true, 'c', 10, 241},
    {"/dev/sda", true, 'b', 8, 0},
    {"/dev/gone", false, 0, 0, 0},
};

/* One without virtualisation, and without most of the rest. */
static struct device_node few_nodes[] = {
    {"/dev/null", true, 'c', 1, 3},
    {"/dev/tty", false, 'c', 5, 0},
    {"/dev/kvm", false, 'c', 10, 232},
};

static struct device_node mshv_nodes[] = {
    {"/dev/kvm", false, 'c', 10, 232},
    {"/dev/mshv", true, 'c', 10, 120},
    {"/dev/iommu", true, 'c', 10, 121},
};

static struct device_node kvm_node[] = {{"/dev/kvm", true, 'c', 10, 232}};

void kit_made_free(struct kit_made *m)
{
    arena_free(&m->arena);
}

struct facts kit_facts_of(enum cg_mode mode, enum nodes nodes)
{
    static const struct {
        struct device_node *items;
        size_t count;
    } lists[] = {
        [USUAL] = {usual_nodes, ARRAY_SIZE(usual_nodes)},
        [FEW] = {few_nodes, ARRAY_SIZE(few_nodes)},
        [MSHV] = {mshv_nodes, ARRAY_SIZE(mshv_nodes)},
        [KVM_ALONE] = {kvm_node, ARRAY_SIZE(kvm_node)},
        [NO_NODES] = {NULL, 0},
    };

    return (struct facts){
        .mode = mode, .nodes = lists[nodes].items, .node_count = lists[nodes].count};
}

void kit_prepare(struct kit_made *m, const struct kit_given *g)
{
    struct arena *a = &m->arena;

    *m = (struct kit_made){.facts = kit_facts_of(g->mode, g->nodes)};
    kit_read_row(a, arena_printf(a, "{%s}", g->state ? g->state : ""), &oci_state_table, &m->state);
    m->state.id = arena_strdup(a, g->id ? g->id : "c1");
    kit_read_row(a, g->config ? g->config : "{}", &oci_config_table, &m->config);
    kit_read_hook(a, g->settings ? g->settings : "{}", &m->settings);
    m->in = (struct plan_input){
        .stage = g->stage == STAGE_NONE ? STAGE_PRESTART : g->stage,
        .state = &m->state,
        .config = g->no_config ? NULL : &m->config,
        .settings = &m->settings,
        .only_argument = g->argument,
        .facts = &m->facts,
        .others = m->others,
    };
    for (; m->in.other_count < 2 && g->others[m->in.other_count]; m->in.other_count++) {
        struct oci_resources *r = arena_alloc(a, sizeof *r);

        kit_read_row(a, g->others[m->in.other_count], &oci_resources_table, r);
        m->others[m->in.other_count].resources = r;
    }
    memset(&m->plan, 0x5a, sizeof m->plan);
}

int kit_plan(struct kit_made *m, struct plan *ret)
{
    int r = plan_place(&m->in, &m->arena, ret, &m->e);

    return r < 0 ? r : plan_fill(&m->in, &m->arena, ret, &m->e);
}

void kit_make(struct kit_made *m, const struct kit_given *g)
{
    kit_prepare(m, g);
    m->r = kit_plan(m, &m->plan);
}

const char *kit_show(struct kit_made *m, const struct kit_given *g)
{
    return arena_printf(&m->arena, "%s %s, state {%s}, config %s, hook %s, argument %s",
                        cg_mode_name(g->mode), stage_name(m->in.stage), g->state ? g->state : "",
                        g->config ? g->config : "{}", g->settings ? g->settings : "{}",
                        !g->argument.set    ? "none"
                        : g->argument.value ? "true"
                                            : "false");
}

const char *kit_plan_files(struct arena *a, const struct cg_files *files)
{
    const char *all = "";

    for (size_t i = 0; i < files->count; i++)
        all = arena_printf(a, "%s%s=%s; ", all, files->items[i].file, files->items[i].text);
    return all;
}
