/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/layout.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/plan_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

#define UNSAID  LAYOUT_UNSAID
#define SIBLING LAYOUT_SAY_SIBLING
#define NEST    LAYOUT_SAY_NESTED
#define AUTO    LAYOUT_SAY_AUTO

static const struct runtime podman = {.engine = ENGINE_OTHER, .path = "/usr/bin/crun"};
static const struct runtime shim_crun = {.engine = ENGINE_CONTAINERD, .path = "/usr/bin/crun"};
static const struct runtime shim_nobody = {.engine = ENGINE_CONTAINERD};
static const struct runtime shim_old = {ENGINE_CONTAINERD, NULL, "/s/runc", "1.1.5+ds1"};
static const struct runtime shim_new = {ENGINE_CONTAINERD, NULL, "/s/runc", "1.2.0"};
static const struct runtime podman_old = {ENGINE_OTHER, NULL, "/s/runc", "1.1.5+ds1"};
static const struct runtime hidden = {
    .why_unknown = "cannot read /proc/7/stat", .path = "/s/runc", .version = "1.3.6"};

/* "LAYOUT: REASON". What nobody has looked for stays NULL. */
static const struct {
    enum layout_word settings, argument, recorded;
    enum cg_mode mode;
    const struct runtime *runtime;
    const char *want;
} rows[] = {
    /* who is asked, on each kind of host */
    {UNSAID, UNSAID, UNSAID, CG_MODE_V1, NULL,
     "sibling: nobody names a layout, and this is the default"},
    {UNSAID, UNSAID, UNSAID, CG_MODE_V2, &shim_new,
     "sibling: nobody names a layout, and this is the default"},
    {SIBLING, UNSAID, UNSAID, CG_MODE_V2, NULL, "sibling: the configuration names it"},
    {NEST, UNSAID, UNSAID, CG_MODE_V2, &podman, "nested: the configuration names it"},
    {NEST, UNSAID, UNSAID, CG_MODE_HYBRID, NULL, "nested: the configuration names it"},
    {UNSAID, SIBLING, UNSAID, CG_MODE_V2, NULL, "sibling: --layout names it"},
    {UNSAID, NEST, UNSAID, CG_MODE_V2, &podman, "nested: --layout names it"},
    {SIBLING, NEST, UNSAID, CG_MODE_V1, NULL, "nested: --layout names it"},
    {NEST, SIBLING, UNSAID, CG_MODE_V1, NULL, "sibling: --layout names it"},
    {AUTO, SIBLING, UNSAID, CG_MODE_V1, NULL, "sibling: --layout names it"},
    {AUTO, NEST, UNSAID, CG_MODE_V2, &shim_crun, "nested: --layout names it"},
    {SIBLING, AUTO, UNSAID, CG_MODE_V1, NULL, "sibling: the configuration names it"},
    {NEST, AUTO, UNSAID, CG_MODE_V2, &shim_crun, "nested: the configuration names it"},
    /* auto without a look */
    {AUTO, UNSAID, UNSAID, CG_MODE_V1, NULL,
     "nested: auto: cgroups are v1, where every runtime can work with it"},
    {UNSAID, AUTO, UNSAID, CG_MODE_HYBRID, NULL,
     "nested: auto: cgroups are hybrid, where every runtime can work with it"},
    {AUTO, AUTO, UNSAID, CG_MODE_V1, &shim_crun,
     "nested: auto: cgroups are v1, where every runtime can work with it"},
    {UNSAID, AUTO, UNSAID, CG_MODE_V2, NULL,
     "sibling: auto: it is not known whether containerd or Docker is the engine: nobody has "
     "looked"},
    /* auto on v2 */
    {UNSAID, AUTO, UNSAID, CG_MODE_V2, &hidden,
     "sibling: auto: it is not known whether containerd or Docker is the engine: cannot read "
     "/proc/7/stat"},
    {UNSAID, AUTO, UNSAID, CG_MODE_V2, &podman,
     "nested: auto: neither containerd nor Docker is the engine"},
    {AUTO, UNSAID, UNSAID, CG_MODE_V2, &podman_old,
     "nested: auto: neither containerd nor Docker is the engine"},
    {UNSAID, AUTO, UNSAID, CG_MODE_V2, &shim_new,
     "nested: auto: under containerd or Docker, with runc 1.2.0 (/s/runc)"},
    {AUTO, UNSAID, UNSAID, CG_MODE_V2, &shim_old,
     "sibling: auto: under containerd or Docker, with runc 1.1.5+ds1 (/s/runc), which is not known "
     "to be runc 1.2 or later"},
    {UNSAID, AUTO, UNSAID, CG_MODE_V2, &shim_crun,
     "sibling: auto: under containerd or Docker, with /usr/bin/crun, which is not known to be runc "
     "1.2 or later"},
    {UNSAID, AUTO, UNSAID, CG_MODE_V2, &shim_nobody,
     "sibling: auto: under containerd or Docker, with a program that is not known, which is not "
     "known to be runc 1.2 or later"},
    /* a record binds auto, and nobody else */
    {UNSAID, AUTO, SIBLING, CG_MODE_V2, &shim_new, "sibling: auto: the sandbox was made with it"},
    {UNSAID, AUTO, SIBLING, CG_MODE_V1, NULL, "sibling: auto: the sandbox was made with it"},
    {AUTO, UNSAID, NEST, CG_MODE_V2, &shim_crun, "nested: auto: the sandbox was made with it"},
    {AUTO, SIBLING, NEST, CG_MODE_V2, NULL, "sibling: --layout names it"},
    {NEST, AUTO, SIBLING, CG_MODE_V2, &podman, "nested: the configuration names it"},
    {UNSAID, UNSAID, NEST, CG_MODE_V2, NULL,
     "sibling: nobody names a layout, and this is the default"},
};

Test(layout, decides)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct layout_input in = {rows[i].settings, rows[i].argument, rows[i].recorded,
                                        rows[i].mode, rows[i].runtime};
        autoarena a = ARENA_INIT;
        struct layout_choice got = layout_decide(&in, &a);
        const char *text = arena_printf(&a, "%s: %s", layout_name(got.layout), got.reason);

        cr_expect_str_eq(text, rows[i].want, "row %zu: expected %s, got %s", i, rows[i].want, text);
    }
}

/* Only an explicit nested, on v2, where containerd is known to be the engine. */
Test(layout, warns)
{
    static const struct {
        enum layout_word settings, argument;
        enum cg_mode mode;
        const struct runtime *runtime;
        const char *want;
    } cases[] = {
        {NEST, UNSAID, CG_MODE_V2, &shim_old, "runc 1.1.5+ds1 (/s/runc)"},
        {UNSAID, NEST, CG_MODE_V2, &shim_crun, "/usr/bin/crun"},
        {NEST, AUTO, CG_MODE_V2, &shim_nobody, "a program that is not known"},
        {NEST, UNSAID, CG_MODE_V2, &shim_new, NULL},
        {NEST, UNSAID, CG_MODE_V2, &podman_old, NULL},
        {NEST, UNSAID, CG_MODE_V2, &hidden, NULL},
        {NEST, UNSAID, CG_MODE_V2, NULL, NULL},
        {NEST, UNSAID, CG_MODE_V1, &shim_old, NULL},
        {UNSAID, NEST, CG_MODE_HYBRID, &shim_old, NULL},
        {SIBLING, UNSAID, CG_MODE_V2, &shim_old, NULL},
        {UNSAID, AUTO, CG_MODE_V2, &shim_old, NULL},
        {UNSAID, UNSAID, CG_MODE_V2, &shim_old, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct layout_input in = {cases[i].settings, cases[i].argument, UNSAID, cases[i].mode,
                                        cases[i].runtime};
        autoarena a = ARENA_INIT;
        const char *got = layout_decide(&in, &a).warning;
        const char *want =
            !cases[i].want
                ? NULL
                : arena_printf(&a,
                               "a restart of containerd loses this container, as layout nested "
                               "needs a runtime that is known to be runc 1.2 or later, and this "
                               "one is %s",
                               cases[i].want);

        cr_expect(str_eq_null(got, want), "row %zu: expected %s, got %s", i, want ? want : "none",
                  got ? got : "none");
    }
}

Test(layout, asks_only_when_it_matters)
{
    static const struct {
        enum layout_word settings, argument, recorded;
        enum cg_mode mode;
        bool want;
    } cases[] = {
        {UNSAID, AUTO, UNSAID, CG_MODE_V2, true},      {AUTO, UNSAID, UNSAID, CG_MODE_V2, true},
        {NEST, UNSAID, UNSAID, CG_MODE_V2, true},      {UNSAID, NEST, NEST, CG_MODE_V2, true},
        {NEST, AUTO, UNSAID, CG_MODE_V2, true},        {SIBLING, AUTO, UNSAID, CG_MODE_V2, false},
        {UNSAID, UNSAID, UNSAID, CG_MODE_V2, false},   {SIBLING, UNSAID, UNSAID, CG_MODE_V2, false},
        {NEST, SIBLING, UNSAID, CG_MODE_V2, false},    {UNSAID, AUTO, SIBLING, CG_MODE_V2, false},
        {UNSAID, AUTO, NEST, CG_MODE_V2, false},       {UNSAID, AUTO, UNSAID, CG_MODE_V1, false},
        {UNSAID, AUTO, UNSAID, CG_MODE_HYBRID, false}, {NEST, UNSAID, UNSAID, CG_MODE_V1, false},
        {UNSAID, NEST, UNSAID, CG_MODE_HYBRID, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct layout_input in = {cases[i].settings, cases[i].argument, cases[i].recorded,
                                        cases[i].mode, NULL};

        cr_expect_eq(layout_asks(&in), cases[i].want, "row %zu", i);
    }
}

Test(layout, words)
{
    static const char *const none[] = {"", "Auto", "auto ", "child", "siblings"};
    enum layout_word got;

    cr_expect_null(layout_word(LAYOUT_UNSAID));
    for (int i = LAYOUT_SAY_SIBLING; i <= LAYOUT_SAY_AUTO; i++) {
        const char *word = layout_word((enum layout_word)i);

        cr_expect(layout_word_parse(word, &got) == 0 && (int)got == i, "%s: %d", word, (int)got);
    }
    cr_expect_str_eq(layout_word(LAYOUT_SAY_SIBLING), layout_name(LAYOUT_SIBLING));
    cr_expect_str_eq(layout_word(LAYOUT_SAY_NESTED), layout_name(LAYOUT_NESTED));
    cr_expect_str_eq(layout_word(LAYOUT_SAY_AUTO), "auto");
    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        got = LAYOUT_SAY_NESTED;
        cr_expect_eq(layout_word_parse(none[i], &got), -EINVAL, "%s", none[i]);
        cr_expect_eq(got, LAYOUT_SAY_NESTED, "%s: written", none[i]);
    }
}

/* The plan is made from all of it, and has the warning in its list. */
Test(layout, in_a_plan)
{
    static const struct kit_given g = {
        .mode = CG_MODE_V2, .argument = ONLY, .settings = "{'virtualization_devices':false}"};
    MADE m;

    kit_prepare(&m, &g);
    m.in.layout_argument = AUTO;
    m.in.runtime = &shim_new;
    cr_assert_eq(kit_plan(&m, &m.plan), 0, "%s", m.e.text);
    cr_expect_eq(m.plan.layout, LAYOUT_NESTED);
    cr_expect_eq(m.plan.runtime, &shim_new);
    cr_expect_null(m.plan.layout_warning);
    cr_expect_eq(m.plan.warnings.count, 0);
    m.in.recorded_layout = SIBLING;
    cr_assert_eq(kit_plan(&m, &m.plan), 0, "%s", m.e.text);
    cr_expect_eq(m.plan.layout, LAYOUT_SIBLING);
    cr_expect_str_eq(m.plan.layout_reason, "auto: the sandbox was made with it");
    m.settings.layout = NEST;
    m.in.runtime = &shim_old;
    cr_assert_eq(kit_plan(&m, &m.plan), 0, "%s", m.e.text);
    cr_expect_eq(m.plan.layout, LAYOUT_NESTED);
    cr_assert(m.plan.layout_warning && m.plan.warnings.count == 1);
    cr_expect_eq(m.plan.warnings.items[0], m.plan.layout_warning);
}
