/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/plan_check.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/devices/exceptions.h"
#include "cgroup/limits/table.h"
#include "hook/plan/explain.h"
#include "hook/sandbox/change.h"
#include "hook/sandbox/state_dir.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/kit/device_model.h"

#include <errno.h>

/* Of a list so many rules are asked about. */
#define RULES_MOST 16

static void add_nodes(struct facts *facts, const char *const *paths, size_t count, unsigned bits,
                      struct arena *a)
{
    for (size_t i = 0; i < count; i++)
        ARENA_APPEND(a, facts->nodes, facts->node_count) =
            (struct device_node){paths[i], bits >> (facts->node_count % 16) & 1, 'c',
                                 1 + (unsigned)facts->node_count % 10, (unsigned)i};
}

struct facts plan_facts(enum cg_mode mode, unsigned devices, struct arena *a)
{
    struct facts facts = {.mode = mode};

    add_nodes(&facts, facts_default_devices, facts_default_device_count, devices, a);
    add_nodes(&facts, facts_hypervisor_devices, facts_hypervisor_device_count, devices, a);
    add_nodes(&facts, facts_virtualization_devices, facts_virtualization_device_count, devices, a);
    return facts;
}

static void expect_clean(const char *path, const char *what, struct arena *a)
{
    struct err e = ERR_INIT;
    char *clean = NULL;

    if (!path)
        return;
    FUZZ_CHECK(cg_path_clean(path, what, a, &clean, &e) == 0, "%s", e.text);
    FUZZ_CHECK(str_eq(path, clean), "%s: %s is not clean", what, path);
}

static void expect_place(const struct plan *p, struct arena *a)
{
    expect_clean(p->parent_path, "parent", a);
    expect_clean(p->runtime_path, "runtime", a);
    expect_clean(p->sandbox_path, "sandbox", a);
    expect_clean(p->vcpu_path, "vcpu", a);
    expect_clean(p->overhead_path, "overhead", a);
    for (size_t i = 0; i < p->lifted_count; i++)
        expect_clean(p->lifted_paths[i], "lifted", a);
    FUZZ_CHECK(p->sandbox_path && p->vcpu_path && p->parent_path, "a path is missing");
    FUZZ_CHECK(!str_eq(p->sandbox_path, "/") && !str_eq(p->vcpu_path, "/"), "the root cgroup");
    FUZZ_CHECK(p->sandbox_cgroup_only == !p->overhead_path, "%s", p->sandbox_path);
    FUZZ_CHECK(p->systemd == (p->sandbox_unit != NULL), "%s", p->sandbox_path);
}

const char *config_written(const struct oci_config *config, struct arena *a)
{
    struct json_writer *w = json_writer_new(false);
    const char *text;

    json_write_table(w, NULL, &oci_config_table, config);
    text = arena_strdup(a, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

/* No file reaches the cgroup's structure or another directory, and each is there once. */
static void expect_files(const struct cg_files *files, const struct plan_input *in, bool v2,
                         struct arena *a)
{
    for (size_t i = 0; i < files->count; i++) {
        const struct cg_file *f = &files->items[i];

        FUZZ_CHECK(!strchr(f->file, '/') && !str_starts(f->file, "cgroup."), "%s", f->file);
        FUZZ_CHECK(f->text, "%s has no text", f->file);
        FUZZ_CHECK(f->flags & CG_FILE_LINES || !strchr(f->text, '\n'), "%s: %s", f->file, f->text);
        FUZZ_CHECK(v2 || cg_limit_row_of(f->file, false), "%s is in no row", f->file);
        /* A text that was not there, unless a name in config.json is just that. */
        FUZZ_CHECK(!strstr(f->text, "(null)") || strstr(config_written(in->config, a), "(null)"),
                   "%s: %s", f->file, f->text);
        FUZZ_CHECK(cg_files_get(files, f->file) == f->text, "%s is there twice", f->file);
    }
}

static void expect_same_files(const struct cg_files *x, const struct cg_files *y)
{
    FUZZ_CHECK(x->count == y->count, "%zu files, then %zu", x->count, y->count);
    for (size_t i = 0; i < x->count; i++)
        FUZZ_CHECK(str_eq(x->items[i].file, y->items[i].file) &&
                       str_eq(x->items[i].text, y->items[i].text),
                   "%s: %s, then %s: %s", x->items[i].file, x->items[i].text, y->items[i].file,
                   y->items[i].text);
}

/* A number that the rule is about. */
static uint32_t number_of(int64_t n)
{
    return n == CG_DEV_ANY || n > UINT32_MAX ? 77 : (uint32_t)n;
}

/* The table that is put into force says what the list does. */
static void expect_devices(const struct plan *p)
{
    const struct cg_dev_table *t = &p->limits.sandbox.devices;

    for (size_t i = 0; i < p->devices.count && i < RULES_MOST; i++) {
        const struct cg_dev_rule *rule = &p->devices.items[i];
        uint32_t major = number_of(rule->major), minor = number_of(rule->minor);

        for (const char *type = "bc"; *type; type++)
            FUZZ_CHECK(dev_table_allows(t, *type, major, minor, rule->access) ==
                           cg_dev_rules_allow(&p->devices, *type, major, minor, rule->access),
                       "%c %u:%u %u", *type, major, minor, rule->access);
    }
}

/* The same once more, when it is recorded: nothing has to be taken away. */
static void plan_again(struct plan_input *in, const struct plan *first, struct arena *a)
{
    struct plan_input again = *in;
    struct err e = ERR_INIT;
    struct plan p;
    int r;

    again.recorded = first->limits.sandbox.files;
    r = plan_place(&again, a, &p, &e);
    if (r == 0)
        r = plan_fill(&again, a, &p, &e);
    FUZZ_CHECK(r == 0, "planned again: %s", e.text);
    FUZZ_CHECK(p.limits.sandbox.resets.count == 0, "what is planned is taken away: %s",
               p.limits.sandbox.resets.items[0].file);
    FUZZ_CHECK(str_eq(p.sandbox_path, first->sandbox_path) &&
                   str_eq(p.vcpu_path, first->vcpu_path) &&
                   str_eq_null(p.overhead_path, first->overhead_path),
               "%s, then %s", first->sandbox_path, p.sandbox_path);
    expect_same_files(&first->limits.sandbox.files, &p.limits.sandbox.files);
    expect_same_files(&first->overhead.files, &p.overhead.files);
}

/* What a setup records before it makes anything, without what is not the plan's. */
static struct record make_record(const struct plan_input *in, const struct plan *p, struct arena *a)
{
    const struct plan_basis basis =
        change_basis(in->settings, in->facts, p->systemd, p->sandbox_cgroup_only, NULL, a);
    const struct proc_id init = {1, 1};
    struct record record = {
        .sandbox_id = arena_strdup(a, p->sandbox_id),
        .sandbox_cgroup_only = {true, p->sandbox_cgroup_only},
        .manager = arena_strdup(a, plan_manager_name(p)),
        .mode = arena_strdup(a, cg_mode_name(p->mode)),
        .layout = arena_strdup(a, layout_name(p->layout)),
        .parent_path = arena_strdup(a, p->parent_path),
        .sandbox_path = arena_strdup(a, p->sandbox_path),
        .vcpu_path = arena_strdup(a, p->vcpu_path),
        .overhead_path = p->overhead_path ? arena_strdup(a, p->overhead_path) : NULL,
        .slice = p->slice ? arena_strdup(a, p->slice) : NULL,
        .sandbox_unit = p->sandbox_unit ? arena_strdup(a, p->sandbox_unit) : NULL,
    };

    JSON_APPEND(a, record.containers, struct record_container) =
        (struct record_container){.id = arena_strdup(a, p->container_id),
                                  .init = record_process_new(a, &init),
                                  .resources = p->resources};
    change_note(&basis, &p->limits, a, &record);
    return record;
}

/* A plan that is carried out is recorded, and who comes to take it away can read what it was. */
static void keep(const struct plan_input *in, const struct plan *p, struct arena *a)
{
    const struct state_lock lock = {.dirfd = fuzz_dir(), .lock_fd = FD_NONE};
    struct record record = make_record(in, p, a), again;
    enum record_state state = RECORD_NONE;
    struct err e = ERR_INIT;

    FUZZ_CHECK(record_write(&lock, a, &record, &e) == 0, "%s", e.text);
    FUZZ_CHECK(record_read(&lock, a, &again, &state, &e) == 0, "%s", e.text);
    FUZZ_CHECK(state == RECORD_VALID && again.sandbox_files.count == record.sandbox_files.count,
               "%zu files, then %zu", record.sandbox_files.count, again.sandbox_files.count);
    for (size_t i = 0; i < again.sandbox_files.count; i++)
        FUZZ_CHECK(str_eq(JSON_AT(again.sandbox_files, struct json_pair, i).value,
                          JSON_AT(record.sandbox_files, struct json_pair, i).value),
                   "file %zu", i);
}

/* Whatever was decided can be explained: no word is missing, and no limit or device. */
static void expect_explained(const struct plan_input *in, const struct plan *p, struct arena *a)
{
    const size_t decided = p->limits.sandbox.files.count + p->limits.sandbox.resets.count +
                           p->overhead.files.count + p->devices.count;
    struct explain why;

    explain_plan(in, p, a, &why);
    FUZZ_CHECK(why.count > decided, "%zu rows of %zu", why.count, decided);
    for (size_t i = 0; i < why.count; i++) {
        const struct explain_row *row = &why.rows[i];

        FUZZ_CHECK(row->decision && row->value && row->reason && row->source, "row %zu", i);
        FUZZ_CHECK(*row->reason && *row->source, "row %zu: %s", i, row->decision);
    }
}

bool plan_check(struct plan_input *in, struct arena *a)
{
    struct err e = ERR_INIT;
    struct plan p;
    int r = plan_place(in, a, &p, &e);

    if (r == 0)
        r = plan_fill(in, a, &p, &e);
    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENOTSUP || r == -E2BIG, "%d: %s", r, e.text);
    FUZZ_CHECK(r == 0 || e.bad_input, "not the input's fault: %s", e.text);
    if (r < 0)
        return false;
    expect_place(&p, a);
    expect_files(&p.limits.sandbox.files, in, p.mode == CG_MODE_V2, a);
    expect_files(&p.overhead.files, in, p.mode == CG_MODE_V2, a);
    if (p.limits.sandbox.has_devices && in->other_count == 0 && p.layout == LAYOUT_SIBLING)
        expect_devices(&p);
    for (size_t i = 0; i < p.warnings.count; i++)
        FUZZ_CHECK(p.warnings.items[i] && *p.warnings.items[i], "warning %zu", i);
    expect_explained(in, &p, a);
    plan_again(in, &p, a);
    keep(in, &p, a);
    return true;
}
