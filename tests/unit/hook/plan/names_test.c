/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/names.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/plan_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define LONGEST                                                                                    \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"     \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"     \
    "01234567890123456789012345678901234567890123456789012345678901234567890123456"

Test(names, is_one)
{
    static const struct {
        const char *text;
        bool is_one;
    } rows[] = {
        {"a", true},        {"web-0", true},  {"a b/c\"\\", true},
        {"\xc3\xa4", true}, {LONGEST, true},  {LONGEST "0", false},
        {"", false},        {NULL, false},    {"a\nb", false},
        {"\033[2J", false}, {"\x7f", false},  {"\xc2\x9b", false},
        {"\xff", false},    {"a\xc3", false}, {"\xe2\x80\xae", false},
    };

    cr_assert_eq(strlen(LONGEST), NAMES_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(names_is_one(rows[i].text), rows[i].is_one, "row %zu", i);
}

#define NAMED(list) "'annotations':{" list "}"
#define CRI_NAMES                                                                                  \
    "'io.kubernetes.cri.container-name':'c','io.kubernetes.cri.sandbox-name':'p',"                 \
    "'io.kubernetes.cri.sandbox-namespace':'n'"
#define LABELS                                                                                     \
    "'io.kubernetes.container.name':'C','io.kubernetes.pod.name':'P',"                             \
    "'io.kubernetes.pod.namespace':'N'"
#define CRIO "'io.kubernetes.cri-o.KubeName':'op','io.kubernetes.cri-o.Namespace':'on'"
#define IN_POD(kind)                                                                               \
    "'io.kubernetes.cri-o.ContainerType':'" kind "','io.kubernetes.cri-o.SandboxID':'s1',"

Test(names, of_annotations)
{
    static const struct {
        const char *state, *want;
    } rows[] = {
        {NULL, ""},
        {NAMED(CRI_NAMES), "n/p/c"},
        {NAMED(LABELS), "N/P/C"},
        {NAMED(CRIO), "on/op"},
        {NAMED("'nerdctl/name':'vm'"), "vm"},
        {NAMED(CRI_NAMES "," LABELS "," CRIO ",'nerdctl/name':'vm'"), "n/p/c"},
        {NAMED(LABELS "," CRIO ",'nerdctl/name':'vm'"), "N/P/C"},
        {NAMED("'io.kubernetes.cri.container-name':''," LABELS), "N/P/C"},
        {NAMED("'io.kubernetes.cri.sandbox-name':'a\\nb'"), ""},
        {NAMED(IN_POD("sandbox") LABELS), "N/P"},
        {NAMED(IN_POD("container") LABELS), "N/P/C"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kit_given g = {.mode = CG_MODE_V2, .state = rows[i].state};
        MADE m;

        kit_make(&m, &g);
        cr_assert_eq(m.r, 0, "%s", kit_show(&m, &g));
        cr_expect_str_eq(names_text(&m.plan.names, &m.arena), rows[i].want, "%s", kit_show(&m, &g));
    }
}

/* The state and config.json may say different ones: it is no reason to refuse anything. */
Test(names, may_differ)
{
    struct kit_given g = {
        .mode = CG_MODE_V2,
        .state = NAMED("'nerdctl/name':'of the state','io.kubernetes.pod.name':'p'"),
        .config = "{" NAMED("'nerdctl/name':'of config.json'") "}",
    };
    MADE m;

    kit_make(&m, &g);
    cr_assert_eq(m.r, 0, "%s", m.e.text);
    cr_expect_str_eq(names_text(&m.plan.names, &m.arena), "p/of config.json");
}
