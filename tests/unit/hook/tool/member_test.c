/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/member.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>

static struct record_container containers[] = {{.runtime_path = (char[]){"/p/c1"}},
                                               {.runtime_path = NULL}};
static const struct record sibling = {.sandbox_path = (char[]){"/p/kata_c1"},
                                      .vcpu_path = (char[]){"/p/kata_c1/kata_vcpu"},
                                      .overhead_path = (char[]){"/kata_overhead/c1"},
                                      .containers = {containers, 2}};

Test(member, place)
{
    static const struct {
        const char *path;
        enum member_place want;
    } rows[] = {
        {"/p/kata_c1", MEMBER_INSIDE},
        {"/p/kata_c1/kata_vcpu", MEMBER_INSIDE},
        {"/kata_overhead/c1", MEMBER_INSIDE},
        {"/p/kata_c1/x", MEMBER_BELOW},
        {"/p/kata_c1/kata_vcpu/x", MEMBER_BELOW},
        {"/kata_overhead/c1/x", MEMBER_BELOW},
        {"/p", MEMBER_ABOVE},
        {"/", MEMBER_ABOVE},
        {"/p/c1", MEMBER_RUNTIME},
        {"/p/c1/x", MEMBER_ELSEWHERE},
        {"/p/kata_c10", MEMBER_ELSEWHERE},
        {"/p/kata", MEMBER_ELSEWHERE},
        {"/kata_overhead", MEMBER_ELSEWHERE},
        {"/system.slice", MEMBER_ELSEWHERE},
        {NULL, MEMBER_ELSEWHERE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(member_place(&sibling, "/p/kata_c1", rows[i].path), rows[i].want, "%s: %d",
                     rows[i].path ? rows[i].path : "nowhere",
                     member_place(&sibling, "/p/kata_c1", rows[i].path));
}

Test(member, without_overhead)
{
    const struct record only = {.sandbox_path = (char[]){"/p/c1"}};

    cr_expect_eq(member_place(&only, "/p/c1", "/p/c1"), MEMBER_INSIDE);
    cr_expect_eq(member_place(&only, "/p/c1", "/p/c1/x"), MEMBER_BELOW);
    cr_expect_eq(member_place(&only, "/p/c1", "/p/c2"), MEMBER_ELSEWHERE);
}

#define IN      MEMBER_INSIDE
#define BELOW   MEMBER_BELOW
#define ABOVE   MEMBER_ABOVE
#define RUNTIME MEMBER_RUNTIME
#define ELSE    MEMBER_ELSEWHERE

Test(member, judge)
{
    static const struct {
        struct member_at at[3];
        enum member_verdict want;
        size_t which;
    } rows[] = {
        {{{IN, true}, {IN, true}, {IN, false}}, MEMBER_IS_IN, 9},
        {{{IN, true}, {BELOW, true}, {IN, false}}, MEMBER_IS_IN, 9},
        {{{IN, true}, {IN, true}, {ELSE, false}}, MEMBER_MAY_JOIN, 9},
        {{{IN, true}, {ABOVE, true}, {IN, false}}, MEMBER_MAY_JOIN, 9},
        {{{ABOVE, true}, {RUNTIME, true}, {ELSE, false}}, MEMBER_MAY_JOIN, 9},
        {{{ABOVE, true}, {ELSE, true}, {ABOVE, false}}, MEMBER_WOULD_LEAVE, 1},
        {{{ELSE, true}, {ELSE, true}, {ELSE, false}}, MEMBER_WOULD_LEAVE, 0},
        {{{ABOVE, true}, {BELOW, true}, {ABOVE, false}}, MEMBER_WOULD_LEAVE, 1},
        {{{ABOVE, true}, {ABOVE, true}, {BELOW, false}}, MEMBER_MAY_JOIN, 9},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t which = 9;

        cr_expect_eq(member_judge(rows[i].at, 3, &which), rows[i].want, "row %zu", i);
        cr_expect_eq(which, rows[i].which, "row %zu: %zu", i, which);
    }
}

Test(member, of_another)
{
    cr_expect(member_is_of(&sibling, "/p/kata_c1"));
    cr_expect(member_is_of(&sibling, "/p/kata_c1/x"));
    cr_expect(member_is_of(&sibling, "/kata_overhead/c1"));
    cr_expect_not(member_is_of(&sibling, "/p"));
    cr_expect_not(member_is_of(&sibling, "/p/c1"));
    cr_expect_not(member_is_of(&sibling, "/"));
    cr_expect_not(member_is_of(&sibling, "/p/kata_c10"));
}
