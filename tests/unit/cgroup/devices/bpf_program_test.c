/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/bpf.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/bpf_interp.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <linux/limits.h>

/* --- the interpreter itself --- */

Test(bpf_program, interpreter_is_strict)
{
    static const struct {
        const char *want; /* part of the error */
        size_t count;
        struct bpf_insn insns[4];
        bool only_run; /* not seen before it is run */
    } cases[] = {
        {"unknown opcode", 2, {{.code = BPF_JMP | BPF_CALL, .imm = 1}, EXIT}, false},
        {"unknown opcode", 2, {{.code = BPF_ALU64 | BPF_MOV | BPF_K}, EXIT}, false},
        {"backwards", 3, {MOV(0, 1), JUMP(-2), EXIT}, false},
        {"jumps to 3 of 3", 3, {MOV(0, 1), JUMP(1), EXIT}, false},
        {"jumps to 2 of 2", 2, {MOV(0, 1), JUMP(0)}, false},
        {"nothing leads here", 4, {MOV(0, 1), EXIT, MOV(0, 0), EXIT}, false},
        {"no exit", 1, {MOV(0, 1)}, false},
        {"unused field", 2, {MOV(0, 1), {.code = BPF_JMP | BPF_EXIT, .imm = 1}}, false},
        {"unused field", 2, {{.code = BPF_ALU | BPF_MOV | BPF_K, .off = 1}, EXIT}, false},
        {"no such register", 2, {MOV(11, 1), EXIT}, false},
        {"frame pointer", 2, {MOV(10, 1), EXIT}, false},
        {"shift by 32",
         3,
         {MOV(0, 1), {.code = BPF_ALU | BPF_RSH | BPF_K, .dst_reg = 0, .imm = 32}, EXIT},
         false},
        {"exit without a verdict", 1, {EXIT}, true},
        {"never written", 2, {{.code = BPF_ALU | BPF_AND | BPF_K, .imm = 1}, EXIT}, true},
        {"never written",
         2,
         {{.code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = 0, .src_reg = 5}, EXIT},
         true},
        {"loads from outside",
         2,
         {{.code = BPF_LDX | BPF_MEM | BPF_W, .src_reg = 1, .off = 12}, EXIT},
         true},
        {"loads from outside",
         2,
         {{.code = BPF_LDX | BPF_MEM | BPF_W, .src_reg = 1, .off = 2}, EXIT},
         true},
        {"with a pointer",
         2,
         {{.code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = 0, .src_reg = 1}, EXIT},
         true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct bpf_cgroup_dev_ctx ctx = {0};
        char error[128] = "";
        struct bpf_verdict v;
        int checked = bpf_interp_check(cases[i].insns, cases[i].count, error, sizeof error);
        int run = bpf_interp_run(cases[i].insns, cases[i].count, &ctx, &v);

        if (cases[i].only_run) {
            cr_expect(checked == 0 && run < 0 && strstr(v.error, cases[i].want),
                      "case %zu: expected \"%s\" when run, got %d \"%s\", %d \"%s\"", i,
                      cases[i].want, checked, error, run, v.error);
        } else {
            cr_expect(checked < 0 && strstr(error, cases[i].want),
                      "case %zu: expected \"%s\", got %d \"%s\"", i, cases[i].want, checked, error);
        }
    }
}

/* --- verdicts --- */

static const struct {
    const char *rules;
    char type;
    uint32_t major, minor;
    const char *access;
    bool want;
} verdict_cases[] = {
    {"", 'c', 1, 3, "r", false},
    {"", 'b', 1, 3, "m", false},
    {"+c 1:3 rwm", 'c', 1, 3, "rwm", true},
    {"+c 1:3 rwm", 'c', 1, 2, "r", false},
    {"+c 1:3 rwm", 'c', 1, 4, "r", false},
    {"+c 1:3 rwm", 'c', 0, 3, "r", false},
    {"+c 1:3 rwm", 'c', 2, 3, "r", false},
    {"+c 1:3 rwm", 'b', 1, 3, "r", false},
    {"+b 1:3 rwm", 'b', 1, 3, "m", true},
    {"+b 1:3 rwm", 'c', 1, 3, "m", false},
    {"+c 1:3 r", 'c', 1, 3, "r", true},
    {"+c 1:3 r", 'c', 1, 3, "w", false},
    {"+c 1:3 r", 'c', 1, 3, "m", false},
    {"+c 1:3 w", 'c', 1, 3, "w", true},
    {"+c 1:3 w", 'c', 1, 3, "rw", false},
    {"+c 1:3 m", 'c', 1, 3, "m", true},
    {"+c 1:3 m", 'c', 1, 3, "r", false},
    {"+c 1:3 rw", 'c', 1, 3, "rw", true},
    {"+c 1:3 rw", 'c', 1, 3, "rwm", false},
    {"+c 1:* r", 'c', 1, UINT32_MAX, "r", true},
    {"+c *:3 r", 'c', UINT32_MAX, 3, "r", true},
    {"+c *:3 r", 'c', 3, 1, "r", false},
    {"+c *:3 r, +c 7:1 w", 'c', 7, 3, "r", true},
    {"+c *:3 r, +c 7:1 w", 'c', 7, 1, "r", false},
    {"+c *:3 r, +c 7:* w", 'c', 7, 3, "rw", true},
    {"+c *:3 r, +c 7:* w", 'c', 7, 4, "r", false},
    {"+a *:* rwm, -c 1:3 w", 'c', 1, 3, "w", false},
    {"+a *:* rwm, -c 1:3 w", 'c', 1, 3, "rm", true},
    /* Immediates are signed, device numbers are not. */
    {"+c 2147483647:2147483647 r", 'c', 2147483647, 2147483647, "r", true},
    {"+c 2147483648:2147483648 r", 'c', 2147483648, 2147483648, "r", true},
    {"+c 2147483648:2147483648 r", 'c', 2147483648, 2147483647, "r", false},
    {"+c 2147483648:2147483648 r", 'c', 2147483648, 2147483649, "r", false},
    {"+c 4294967295:4294967295 r", 'c', UINT32_MAX, UINT32_MAX, "r", true},
    {"+c 4294967295:4294967295 r", 'c', UINT32_MAX - 1, UINT32_MAX, "r", false},
    {"+c 4294967295:4294967295 r", 'c', UINT32_MAX, UINT32_MAX - 1, "r", false},
    {"+c 1:4294967294 r, +c 1:4294967295 r", 'c', 1, UINT32_MAX, "r", true},
    {"+c 1:4294967294 r, +c 1:4294967295 r", 'c', 1, UINT32_MAX - 2, "r", false},
    {"+c 1:0 r, +c 1:1 r", 'c', 1, 0, "r", true},
    {"+c 1:0 r, +c 1:1 r", 'c', 1, 2, "r", false},
};

Test(bpf_program, verdicts)
{
    for (size_t i = 0; i < ARRAY_SIZE(verdict_cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_make_rules(&a, verdict_cases[i].rules);
        struct cg_bpf_program program = dev_program(&a, &rules);
        uint8_t access = 0;
        bool got;

        cr_assert_eq(cg_dev_access_parse(verdict_cases[i].access, &access), 0);
        got = dev_program_allows(&program, verdict_cases[i].type, verdict_cases[i].major,
                                 verdict_cases[i].minor, access, NULL);
        cr_expect_eq(got, verdict_cases[i].want, "\"%s\", request %c %u:%u %s: expected %d, got %d",
                     verdict_cases[i].rules, verdict_cases[i].type, verdict_cases[i].major,
                     verdict_cases[i].minor, verdict_cases[i].access, verdict_cases[i].want, got);
    }
}

/* A type that the kernel has none for. */
Test(bpf_program, other_types_are_denied)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = dev_make_rules(&a, "+a *:* rwm");
    struct cg_bpf_program program = dev_program(&a, &rules);

    for (uint32_t type = 0; type < 8; type++) {
        const struct bpf_cgroup_dev_ctx ctx = {.access_type = 2u << 16 | type, .major = 1};
        struct bpf_verdict v;
        bool known = type == BPF_DEVCG_DEV_BLOCK || type == BPF_DEVCG_DEV_CHAR;

        cr_assert_eq(bpf_interp_run(program.insns, program.count, &ctx, &v), 0, "%s", v.error);
        cr_expect_eq(v.value, known, "type %u: expected %d, got %u", type, known, v.value);
    }
}

/* Few numbers, so that rules meet; some of them at the ends of what a register holds. */
static const uint32_t small_numbers[] = {0, 1, 2, 3, 4};
static const uint32_t edge_numbers[] = {0, 1, 2147483647, 2147483648, UINT32_MAX};

static void check_random_list(struct arena *a, const uint32_t *numbers)
{
    struct cg_dev_rules rules = {0};
    struct cg_bpf_program program;

    for (uint32_t n = dev_random_below(9); n > 0; n--) {
        const uint32_t major = dev_random_below(5), minor = dev_random_below(5);

        /* The last number of the small ones is in no rule. */
        cg_dev_rules_add(
            a, &rules,
            (struct cg_dev_rule){.allow = dev_random_below(3) > 0,
                                 .type = "abc"[dev_random_below(3)],
                                 .major = major ? (int64_t)numbers[major - 1] : CG_DEV_ANY,
                                 .minor = minor ? (int64_t)numbers[minor - 1] : CG_DEV_ANY,
                                 .access = (uint8_t)(1 + dev_random_below(7))});
    }
    program = dev_program(a, &rules);
    for (unsigned n = 0; n < 2 * 5 * 5 * 7; n++) {
        const char type = n % 2 ? 'b' : 'c';
        const uint32_t major = numbers[n / 2 % 5], minor = numbers[n / 10 % 5];
        const uint8_t access = (uint8_t)(1 + n / 50);
        bool want = cg_dev_rules_allow(&rules, type, major, minor, access);
        bool got = dev_program_allows(&program, type, major, minor, access, NULL);

        cr_assert_eq(got, want, "\"%s\", request %c %u:%u %u: expected %d, got %d",
                     dev_rules_text(a, &rules), type, major, minor, access, want, got);
    }
}

Test(bpf_program, property)
{
    dev_random_state = 362436069u;
    for (int round = 0; round < 5000; round++) {
        autoarena a = ARENA_INIT;

        check_random_list(&a, round % 3 ? small_numbers : edge_numbers);
    }
}

/* --- size and cost --- */

/* No comparison whose outcome is known: 6 to load, 1 or 2 for a verdict, 4 for bits in between. */
Test(bpf_program, no_needless_instructions)
{
    static const struct {
        const char *rules;
        size_t want;
    } cases[] = {
        {"", 6 + 1 + 2 + 1 + 2 + 2},
        {"+a *:* rwm", 6 + 1 + 2 + 1 + 2 + 2},
        /* Three comparisons: type, major, minor. */
        {"+c 1:3 rwm", 6 + 3 + 2 + 1 + 2 + 2},
        {"+c 1:3 r", 6 + 3 + 4 + 1 + 2 + 2},
        /* 1 and 2 are told apart, and then from what is below and above. */
        {"+c 1:* rwm, +c 2:* r", 6 + 1 + 3 + 2 + 4 + 1 + 2 + 2},
        /* Nothing is below 0 or above the largest. */
        {"+c 0:* rwm, +c 1:* rwm", 6 + 1 + 1 + 2 + 1 + 2 + 2},
        {"+c 4294967294:* rwm, +c 4294967295:* rwm", 6 + 1 + 2 + 2 + 1 + 2 + 2},
        /* The one in the middle needs no comparison of its own. */
        {"+c 1:* rwm, +c 2:* r, +c 3:* rwm", 6 + 1 + 4 + 2 + 4 + 2 + 1 + 2 + 2},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_make_rules(&a, cases[i].rules);
        struct cg_bpf_program program = dev_program(&a, &rules);

        cr_expect_eq(program.count, cases[i].want, "\"%s\": expected %zu instructions, got %zu",
                     cases[i].rules, cases[i].want, program.count);
    }
}

Test(bpf_program, neighbours_are_one_range)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = {0}, one = dev_make_rules(&a, "+c 136:0 rwm");
    struct cg_bpf_program program, single = dev_program(&a, &one);

    for (int64_t i = 10; i < 1010; i++) {
        cg_dev_rules_add(&a, &rules, (struct cg_dev_rule){true, 'c', 136, i, CG_DEV_RWM});
        cg_dev_rules_add(&a, &rules, (struct cg_dev_rule){true, 'b', i, CG_DEV_ANY, CG_DEV_R});
    }
    program = dev_program(&a, &rules);
    cr_expect_leq(program.count, single.count + 10, "2000 rules in two ranges: %zu instructions",
                  program.count);
    for (uint32_t i = 9; i < 1011; i++) {
        bool inside = i >= 10 && i < 1010;

        cr_expect_eq(dev_program_allows(&program, 'c', 136, i, CG_DEV_RWM, NULL), inside,
                     "c 136:%u", i);
        cr_expect_eq(dev_program_allows(&program, 'b', i, i, CG_DEV_R, NULL), inside, "b %u:%u", i,
                     i);
    }
}

/*
 * Every rule's device and its neighbours, one bit at a time and all at once. The table gives the
 * expected answers here; the model is too slow, and the table was compared with it elsewhere.
 */
static unsigned long check_large(struct arena *a, const struct cg_dev_rules *rules,
                                 const char *name)
{
    struct cg_bpf_program program = dev_program(a, rules);
    struct cg_dev_table table = {0};
    unsigned long most = 0;

    cr_assert_eq(cg_dev_compile(rules, a, &table, NULL), 0);
    for (size_t i = 0; i < rules->count; i++) {
        const struct cg_dev_rule *rule = &rules->items[i];

        for (unsigned k = 0; k < 5; k++) {
            uint32_t major = (uint32_t)rule->major + (k == 1) - (k == 2);
            uint32_t minor = (uint32_t)rule->minor + (k == 3) - (k == 4);
            char type = rule->type;

            for (uint8_t access = 1; access <= 7; access = (uint8_t)(access * 2 + (access == 4))) {
                bool want = dev_table_allows(&table, type, major, minor, access);

                cr_assert_eq(dev_program_allows(&program, type, major, minor, access, &most), want,
                             "%s, %zu rules, %c %u:%u access %u: expected %d", name, rules->count,
                             type, major, minor, access, want);
                if (access == 7)
                    break;
            }
        }
    }
    return most;
}

Test(bpf_program, many_rules)
{
    static const uint32_t counts[] = {1, 10000, 60000};

    for (enum dev_shape shape = DEV_MAJORS; shape < DEV_SHAPES; shape++) {
        unsigned long most[ARRAY_SIZE(counts)];

        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
            autoarena a = ARENA_INIT;
            struct cg_dev_rules rules = dev_large_list(&a, shape, counts[i]);

            most[i] = check_large(&a, &rules, dev_shape_names[shape]);
        }
        cr_expect_leq(most[1], most[0] + 40, "%s: 10,000 rules take %lu instructions, 1 takes %lu",
                      dev_shape_names[shape], most[1], most[0]);
        cr_expect_leq(most[2], most[0] + 50, "%s: 60,000 rules take %lu instructions, 1 takes %lu",
                      dev_shape_names[shape], most[2], most[0]);
    }
}

Test(bpf_program, too_many_rules)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_table table = {.count = 400000};
    struct cg_bpf_program program;
    struct err e = ERR_INIT;
    int r;

    table.items = arena_alloc(&a, table.count * sizeof *table.items);
    for (size_t i = 0; i < table.count; i++)
        table.items[i] =
            (struct cg_dev_entry){.type = 'c', .major = 2 * (int64_t)i, .minor = 1, .access = 7};
    r = cg_bpf_device_program(&table, &a, &program, &e);
    cr_expect_eq(r, -E2BIG, "expected -E2BIG, got %d", r);
    cr_expect(strstr(e.text, "400000 device rules"), "got \"%s\"", e.text);
    /* Far jumps still reach when the program is nearly as large as can be. */
    table.count = 190000;
    r = cg_bpf_device_program(&table, &a, &program, NULL);
    cr_assert_eq(r, 0, "190000 rules: expected 0, got %d", r);
    for (uint32_t i = 0; i < 2 * table.count + 2; i += 37)
        cr_assert_eq(dev_program_allows(&program, 'c', i, 1, CG_DEV_RWM, NULL),
                     i % 2 == 0 && i / 2 < table.count, "c %u:1", i);
}
