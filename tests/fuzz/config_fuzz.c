/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From config.json to the plan: of any bytes, where the parser is what is met first, and of
 * documents that are drawn, which it takes all of.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/fuzz/document.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/plan_check.h"

#include <errno.h>

static const enum cg_mode modes[] = {CG_MODE_V2, CG_MODE_V1, CG_MODE_HYBRID};

static struct settings usual_settings(void)
{
    return (struct settings){.prefix = "kata_",
                             .overhead_parent = "/kata_overhead",
                             .virtualization_devices = true,
                             .vcpu_timeout_ms = 1,
                             .hotplug_interval_ms = 1};
}

static int read_config(const char *text, size_t len, size_t chunk, struct arena *a,
                       struct oci_config *ret, struct err *e)
{
    const struct json_doc doc = {.table = &oci_config_table, .dest = ret};

    *ret = (struct oci_config){0};
    return json_read_text(text, len, &doc, 1, chunk, "config.json", a, e);
}

/* Whatever the pieces in which it came, and once more when it is written. */
static void read_again(const char *text, size_t len, const struct oci_config *config,
                       struct arena *a)
{
    const char *once = config_written(config, a);
    struct err e = ERR_INIT;
    struct oci_config again;
    int r = read_config(text, len, 1 + len % 7, a, &again, &e);

    FUZZ_CHECK(r == 1, "in pieces: %d %s", r, e.text);
    FUZZ_CHECK(str_eq(once, config_written(&again, a)), "%s, in pieces %s", once,
               config_written(&again, a));
    r = read_config(once, strlen(once), 0, a, &again, &e);
    FUZZ_CHECK(r == 1, "%s is read as %d: %s", once, r, e.text);
    FUZZ_CHECK(str_eq(once, config_written(&again, a)), "%s, then %s", once,
               config_written(&again, a));
}

bool fuzz_config(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    struct settings settings = usual_settings();
    struct facts facts = plan_facts(modes[len % ARRAY_SIZE(modes)], (unsigned)len, &a);
    struct oci_state state = {.id = arena_strdup(&a, "c1")};
    struct oci_config config;
    struct err e = ERR_INIT;
    struct plan_input in = {.stage = STAGE_PRESTART,
                            .state = &state,
                            .config = &config,
                            .settings = &settings,
                            .facts = &facts};
    int r = read_config((const char *)data, len, 0, &a, &config, &e);

    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == -EINVAL || r == 0 || r == 1, "%d", r);
    if (r < 1)
        return false;
    read_again((const char *)data, len, &config, &a);
    return plan_check(&in, &a);
}

/* --- drawn --- */

static void draw_settings(struct draw *d, struct arena *a, struct settings *ret)
{
    static char kvm[] = "/dev/kvm", loops[] = "b 7:* rwm";
    static char pinning[] = "oci-sandbox-cgroup.io/overhead-cpu-quota";

    *ret = usual_settings();
    ret->sandbox_cgroup_only = (struct json_bool){true, draw_below(d, 2) == 1};
    ret->resources = draw_one_in(d, 8) ? RESOURCES_KATA : RESOURCES_AGGREGATE;
    ret->layout = draw_one_in(d, 4) ? LAYOUT_SAY_NESTED : LAYOUT_SAY_SIBLING;
    ret->virtualization_devices = !draw_one_in(d, 8);
    ret->memory_overhead_bytes = draw_one_in(d, 4) ? draw_i64(d, 0, INT64_MAX / 2) : 0;
    if (draw_one_in(d, 4))
        JSON_APPEND(a, ret->extra_devices, char *) = kvm;
    if (draw_one_in(d, 4))
        JSON_APPEND(a, ret->extra_devices, char *) = loops;
    if (draw_one_in(d, 2))
        JSON_APPEND(a, ret->allowed_annotations, char *) = pinning;
}

/* One document, which the parser has to take. */
static void draw_read(struct draw *d, const struct json_table *table, bool unified, void *ret,
                      struct arena *a)
{
    const struct json_doc doc = {.table = table, .dest = ret};
    const char *text = document_draw(d, table, unified, a);
    struct err e = ERR_INIT;
    int r = json_read_text(text, strlen(text), &doc, 1, draw_below(d, 16), "drawn", a, &e);

    FUZZ_CHECK(r == 1, "%d: %s: %s", r, e.text, text);
}

bool fuzz_plan(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    struct draw draw = {data, len}, *d = &draw;
    enum cg_mode mode = modes[draw_below(d, ARRAY_SIZE(modes))];
    struct facts facts = plan_facts(mode, (unsigned)draw_below(d, 65536), &a);
    struct aggregate_member others[2] = {0};
    struct oci_state state = {.id = arena_strdup(&a, DRAW_ONE_OF(d, "c1", "s1", "a-b_c.d"))};
    struct oci_config config = {0};
    struct settings settings;
    struct plan_input in = {.stage = (enum stage)(STAGE_PRESTART + draw_below(d, 3)),
                            .state = &state,
                            .config = &config,
                            .settings = &settings,
                            .facts = &facts,
                            .others = others};

    draw_settings(d, &a, &settings);
    state.oci_version = arena_strdup(&a, DRAW_ONE_OF(d, "1.0.2", "1.3.0"));
    in.process_path = DRAW_ONE_OF(d, NULL, "/a/c1", "/system.slice/crun-c1.scope/container");
    in.other_count = draw_one_in(d, 4) ? draw_below(d, 3) : 0;
    for (size_t i = 0; i < in.other_count; i++) {
        struct oci_resources *r = arena_alloc(&a, sizeof *r);

        draw_read(d, &oci_resources_table, false, r, &a);
        others[i] = (struct aggregate_member){NULL, r, i == 0};
    }
    draw_read(d, &oci_config_table, mode == CG_MODE_V2, &config, &a);
    return plan_check(&in, &a);
}
