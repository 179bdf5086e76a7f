/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/plan.h"

#include "base/arena.h"
#include "base/str.h"
#include "hook/plan/explain.h"
#include "oci/json.h"

#include <stdio.h>

/* Version of the JSON below. Programs read it: members are added, never changed or removed. */
#define PLAN_JSON_VERSION 1

const char *plan_manager_name(const struct plan *plan)
{
    return plan->systemd ? "systemd" : "cgroupfs";
}

static void number_or_null(struct json_writer *w, const char *key, int64_t value)
{
    if (value == CG_DEV_ANY)
        json_null(w, key);
    else
        json_i64(w, key, value);
}

static void print_devices(struct json_writer *w, const struct cg_dev_rules *rules)
{
    json_open_list(w, "devices");
    for (size_t i = 0; i < rules->count; i++) {
        const struct cg_dev_rule *rule = &rules->items[i];
        char type[2] = {rule->type, '\0'}, access[4];

        json_open_object(w, NULL);
        json_bool(w, "allow", rule->allow);
        json_string(w, "type", type);
        number_or_null(w, "major", rule->major);
        number_or_null(w, "minor", rule->minor);
        json_string(w, "access", cg_dev_access_text(rule->access, access));
        json_close_object(w);
    }
    json_close_list(w);
}

static void print_files(struct json_writer *w, const char *key, const struct cg_files *files)
{
    json_open_object(w, key);
    for (size_t i = 0; i < files->count; i++)
        json_string(w, files->items[i].file, files->items[i].text);
    json_close_object(w);
}

/* Names may repeat: an empty DeviceAllow is sent before the list. The last one counts. */
static bool is_last(const struct cg_properties *properties, size_t i)
{
    for (size_t k = i + 1; k < properties->count; k++) {
        if (str_eq(properties->items[k].name, properties->items[i].name))
            return false;
    }
    return true;
}

static void print_properties(struct json_writer *w, const char *key,
                             const struct cg_properties *properties)
{
    autoarena a = ARENA_INIT;

    json_open_object(w, key);
    for (size_t i = 0; i < properties->count; i++) {
        if (is_last(properties, i))
            json_string(w, properties->items[i].name, cg_property_text(&properties->items[i], &a));
    }
    json_close_object(w);
}

static void print_explain(struct json_writer *w, const struct explain *why)
{
    json_open_list(w, "explain");
    for (size_t i = 0; i < why->count; i++) {
        const struct explain_row *row = &why->rows[i];

        json_open_object(w, NULL);
        json_string(w, "decision", row->decision);
        json_string(w, "value", row->value);
        json_string(w, "reason", row->reason);
        json_string(w, "source", row->source);
        json_close_object(w);
    }
    json_close_list(w);
}

static void print_json(const struct plan *p, const struct explain *why)
{
    struct json_writer *w = json_writer_new(true);

    json_open_object(w, NULL);
    json_i64(w, "version", PLAN_JSON_VERSION);
    json_string(w, "stage", stage_name(p->stage));
    json_string(w, "sandbox_id", p->sandbox_id);
    json_string(w, "container_id", p->container_id);
    json_string(w, "role", role_name(p->role));
    json_bool(w, "sandbox_cgroup_only", p->sandbox_cgroup_only);
    json_string(w, "policy_source", policy_source_name(p->policy_source));
    json_string(w, "cgroup_mode", cg_mode_name(p->mode));
    json_string(w, "manager", plan_manager_name(p));
    json_string(w, "layout", layout_name(p->layout));
    json_string(w, "layout_reason", p->layout_reason);
    json_string(w, "runtime", p->runtime ? p->runtime->path : NULL);
    json_string(w, "runtime_version", p->runtime ? p->runtime->version : NULL);
    json_string(w, "sandbox_path", p->sandbox_path);
    json_string(w, "vcpu_path", p->vcpu_path);
    json_string(w, "overhead_path", p->overhead_path);
    json_string(w, "sandbox_unit", p->sandbox_unit);
    json_string(w, "overhead_unit", p->overhead_unit);
    json_open_list(w, "lifted_paths");
    for (size_t i = 0; i < p->lifted_count; i++)
        json_string(w, NULL, p->lifted_paths[i]);
    json_close_list(w);
    print_devices(w, &p->devices);
    print_files(w, "sandbox_files", &p->limits.sandbox.files);
    print_files(w, "overhead_files", &p->overhead.files);
    print_files(w, "sandbox_resets", &p->limits.sandbox.resets);
    print_properties(w, "sandbox_properties", &p->limits.sandbox.properties);
    print_properties(w, "overhead_properties", &p->overhead.properties);
    json_bool(w, "enable_vcpus_pinning", p->pinning);
    json_open_list(w, "warnings");
    for (size_t i = 0; i < p->warnings.count; i++)
        json_string(w, NULL, p->warnings.items[i]);
    json_close_list(w);
    if (why)
        print_explain(w, why);
    json_close_object(w);
    fputs(json_writer_text(w, NULL), stdout);
    json_writer_free(w);
}

static void print_line(const char *name, const char *value)
{
    char shown[4096 * 2];

    if (value)
        printf("%-22s%s\n", name, str_escape(value, shown, sizeof shown));
}

static void print_text_files(const char *title, const struct cg_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        char shown[4096], file[1024];

        printf("%-22s%s = %s\n", i ? "" : title,
               str_escape(files->items[i].file, file, sizeof file),
               str_escape(files->items[i].text, shown, sizeof shown));
    }
}

static void print_text_properties(const char *title, const struct cg_properties *properties)
{
    autoarena a = ARENA_INIT;
    bool first = true;

    for (size_t i = 0; i < properties->count; i++) {
        char shown[4096];

        if (!is_last(properties, i))
            continue;
        printf("%-22s%s=%s\n", first ? title : "", properties->items[i].name,
               str_escape(cg_property_text(&properties->items[i], &a), shown, sizeof shown));
        first = false;
    }
}

static void print_text_explain(const struct explain *why)
{
    for (size_t i = 0; i < why->count; i++) {
        const struct explain_row *row = &why->rows[i];
        char decision[256], value[8192], reason[8192], source[8192];

        printf("%s%s = %s\n    %s\n    from: %s\n", i ? "" : "\n",
               str_escape(row->decision, decision, sizeof decision),
               str_escape(row->value, value, sizeof value),
               str_escape(row->reason, reason, sizeof reason),
               str_escape(row->source, source, sizeof source));
    }
}

static void print_text(const struct plan *p, const struct explain *why)
{
    print_line("stage", stage_name(p->stage));
    print_line("sandbox", p->sandbox_id);
    print_line("container", p->container_id);
    print_line("role", role_name(p->role));
    printf("%-22s%s (%s)\n", "sandbox_cgroup_only", p->sandbox_cgroup_only ? "true" : "false",
           policy_source_name(p->policy_source));
    printf("%-22s%s, %s, %s\n", "cgroups", cg_mode_name(p->mode), plan_manager_name(p),
           layout_name(p->layout));
    print_line("layout reason", p->layout_reason);
    if (p->runtime) {
        print_line("runtime", p->runtime->path ? p->runtime->path : "not known here");
        print_line("runtime version", p->runtime->version);
    }
    print_line("sandbox path", p->sandbox_path);
    print_line("vCPU path", p->vcpu_path);
    print_line("overhead path", p->overhead_path);
    for (size_t i = 0; i < p->lifted_count; i++)
        print_line(i ? "" : "lifted quota of", p->lifted_paths[i]);
    print_line("sandbox unit", p->sandbox_unit);
    print_line("overhead unit", p->overhead_unit);
    for (size_t i = 0; i < p->devices.count; i++) {
        char rule[48];

        printf("%-22s%s %s\n", i ? "" : "devices", p->devices.items[i].allow ? "allow" : "deny ",
               cg_dev_rule_text(&p->devices.items[i], rule));
    }
    print_text_files("sandbox files", &p->limits.sandbox.files);
    print_text_files("overhead files", &p->overhead.files);
    print_text_files("sandbox resets", &p->limits.sandbox.resets);
    print_text_properties("sandbox properties", &p->limits.sandbox.properties);
    print_text_properties("overhead properties", &p->overhead.properties);
    for (size_t i = 0; i < p->warnings.count; i++)
        print_line("warning", p->warnings.items[i]);
    if (why)
        print_text_explain(why);
}

void plan_print(const struct plan *plan, const struct explain *why, bool json)
{
    if (json)
        print_json(plan, why);
    else
        print_text(plan, why);
}
