/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/stage.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "oci/state.h"

#include <criterion/criterion.h>
#include <errno.h>

static const struct {
    enum stage stage;
    const char *name;
    enum action action;
} stages[] = {
    {STAGE_PRESTART, "prestart", ACTION_SETUP},
    {STAGE_CREATE_RUNTIME, "createRuntime", ACTION_SETUP},
    {STAGE_POSTSTART, "poststart", ACTION_UPDATE},
    {STAGE_POSTSTOP, "poststop", ACTION_TEARDOWN},
};

Test(stage, stages)
{
    for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
        enum stage stage = STAGE_NONE;
        int r = stage_parse(stages[i].name, &stage);

        cr_expect(r == 0 && stage == stages[i].stage,
                  "input:    %s\nexpected: %d\ngot:      %d, %d", stages[i].name,
                  (int)stages[i].stage, r, (int)stage);
        cr_expect_str_eq(stage_name(stages[i].stage), stages[i].name);
        cr_expect(stage_action(stages[i].stage) == stages[i].action,
                  "input:    %s\nexpected: action %d\ngot:      action %d", stages[i].name,
                  (int)stages[i].action, (int)stage_action(stages[i].stage));
    }
    cr_expect_str_eq(stage_name(STAGE_NONE), "none");
}

Test(stage, refused)
{
    static const char *const words[] = {"",          "none",      "Prestart",      "prestar",
                                        "prestart ", "setup",     "createruntime", "startContainer",
                                        "running",   "poststop\n"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        enum stage stage = STAGE_POSTSTART;
        int r = stage_parse(words[i], &stage);

        cr_expect(r == -EINVAL && stage == STAGE_POSTSTART,
                  "input:    \"%s\"\nexpected: refused\ngot:      %d, %s", words[i], r,
                  stage_name(stage));
    }
}

static const struct {
    const char *status; /* NULL: absent */
    struct json_i64 pid;
    const char *want;
} states[] = {
    {"creating", {true, 7}, "prestart"},
    {"created", {true, 7}, "prestart"},
    {"running", {true, 7}, "poststart"},
    {"stopped", {true, 7}, "poststop"},
    /* a status says more than a pid */
    {"creating", {true, 0}, "prestart"},
    {"created", {false, 0}, "prestart"},
    {"running", {true, 0}, "poststart"},
    {"stopped", {false, 0}, "poststop"},
    {"", {true, 7}, "prestart"},
    {"", {true, 1}, "prestart"},
    {"", {true, 0}, "poststop"},
    {"", {false, 0}, "poststop"},
    {NULL, {true, 7}, "prestart"},
    {NULL, {true, 0}, "poststop"},
    {NULL, {false, 0}, "poststop"},
};

Test(stage, from_state)
{
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        autoarena a = ARENA_INIT;
        struct oci_state state = {.status =
                                      states[i].status ? arena_strdup(&a, states[i].status) : NULL,
                                  .pid = states[i].pid};
        enum stage stage = STAGE_NONE;
        struct err e = ERR_INIT;
        int r = stage_from_state(&state, &stage, &e);

        cr_expect(r == 0 && str_eq(stage_name(stage), states[i].want) && e.code == 0,
                  "input:    status %s, pid %lld\nexpected: %s\ngot:      %d, %s, %s",
                  states[i].status ? states[i].status : "absent", (long long)states[i].pid.value,
                  states[i].want, r, stage_name(stage), e.text);
    }
}

Test(stage, from_state_refused)
{
    static const struct {
        const char *status, *shown;
    } rows[] = {
        {"paused", "\"paused\""},     {"Running", "\"Running\""}, {"stop", "\"stop\""},
        {"stopped ", "\"stopped \""}, {"a\nb", "\"a\\x0ab\""},    {"prestart", "\"prestart\""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        struct oci_state state = {.status = arena_strdup(&a, rows[i].status), .pid = {true, 7}};
        enum stage stage = STAGE_NONE;
        struct err e = ERR_INIT;
        int r = stage_from_state(&state, &stage, &e);

        cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, "state.status") &&
                      strstr(e.text, rows[i].shown) && stage == STAGE_NONE,
                  "input:    \"%s\"\nexpected: refused with state.status and %s\ngot:      %d, %s",
                  rows[i].status, rows[i].shown, r, e.text);
    }
}
