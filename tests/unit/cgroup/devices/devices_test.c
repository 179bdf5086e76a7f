/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/devices.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>

/* --- text forms --- */

Test(devices, access_parse)
{
    static const struct {
        const char *text;
        int result;
        uint8_t access;
    } cases[] = {
        {"r", 0, CG_DEV_R},
        {"w", 0, CG_DEV_W},
        {"m", 0, CG_DEV_M},
        {"rw", 0, CG_DEV_R | CG_DEV_W},
        {"mr", 0, CG_DEV_M | CG_DEV_R},
        {"rwm", 0, CG_DEV_RWM},
        {"mwr", 0, CG_DEV_RWM},
        {"", -EINVAL, 0},
        {"rr", -EINVAL, 0},
        {"rwmr", -EINVAL, 0},
        {"x", -EINVAL, 0},
        {"rwx", -EINVAL, 0},
        {"R", -EINVAL, 0},
        {"r ", -EINVAL, 0},
        {"-", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t access = 0;
        int r = cg_dev_access_parse(cases[i].text, &access);

        cr_expect(r == cases[i].result && access == cases[i].access,
                  "\"%s\": expected %d, bits %u; got %d, bits %u", cases[i].text, cases[i].result,
                  cases[i].access, r, access);
    }
}

Test(devices, rule_text)
{
    static const struct {
        struct cg_dev_rule rule;
        const char *want;
    } cases[] = {
        {{true, 'c', 1, 3, CG_DEV_RWM}, "c 1:3 rwm"},
        {{true, 'b', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_M}, "b *:* m"},
        {{false, 'a', 7, CG_DEV_ANY, CG_DEV_R | CG_DEV_M}, "a 7:* rm"},
        {{false, 'c', CG_DEV_ANY, 9, CG_DEV_W}, "c *:9 w"},
        {{true, 'c', UINT32_MAX, UINT32_MAX, CG_DEV_RWM}, "c 4294967295:4294967295 rwm"},
        {{true, 'c', INT64_MIN, INT64_MIN, CG_DEV_RWM},
         "c -9223372036854775808:-9223372036854775808 rwm"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[48];
        const char *got = cg_dev_rule_text(&cases[i].rule, buf);

        cr_expect(str_eq(got, cases[i].want), "expected \"%s\", got \"%s\"", cases[i].want, got);
    }
}

Test(devices, access_text_all)
{
    static const char *const want[] = {"", "r", "w", "rw", "m", "rm", "wm", "rwm"};

    for (uint8_t i = 0; i < ARRAY_SIZE(want); i++) {
        char buf[4];

        cr_expect(str_eq(cg_dev_access_text(i, buf), want[i]), "%u: expected \"%s\", got \"%s\"", i,
                  want[i], buf);
    }
}

/* --- the list --- */

Test(devices, rules_add)
{
    static const struct {
        const char *input, *want;
    } cases[] = {
        {"+c 1:3 rwm,+c 1:3 rwm", "+c 1:3 rwm"},
        {"+c 1:3 rwm,+c 1:5 rwm,+c 1:3 rwm", "+c 1:3 rwm, +c 1:5 rwm"},
        {"+c 1:3 rwm,+b 1:3 rwm,+a 1:3 rwm", "+c 1:3 rwm, +b 1:3 rwm, +a 1:3 rwm"},
        {"+c 1:3 rwm,+c 1:3 rw", "+c 1:3 rwm, +c 1:3 rw"},
        {"+c 1:3 r,+c 1:* r,+c *:3 r,+c *:* r", "+c 1:3 r, +c 1:* r, +c *:3 r, +c *:* r"},
        {"+c 1:3 r,-c 1:3 r,+c 1:3 r", "+c 1:3 r, -c 1:3 r, +c 1:3 r"},
        {"-c 1:3 r,+c 1:3 r,-c 1:3 r", "-c 1:3 r, +c 1:3 r, -c 1:3 r"},
        {"-c 1:3 r,-c 1:4 r,-c 1:3 r", "-c 1:3 r, -c 1:4 r"},
        {"+c 1:3 r,-a *:* r,+c 1:3 r,+c 1:4 r,+c 1:3 r", "+c 1:3 r, -a *:* r, +c 1:3 r, +c 1:4 r"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules input = dev_make_rules(&a, cases[i].input), rules = {0};
        const char *got;

        for (size_t k = 0; k < input.count; k++)
            cg_dev_rules_add(&a, &rules, input.items[k]);
        got = dev_rules_text(&a, &rules);
        cr_expect(str_eq(got, cases[i].want), "adding %s: expected \"%s\", got \"%s\"",
                  cases[i].input, cases[i].want, got);
    }
}

/* A list that was filled by other means, before and after its first addition. */
Test(devices, rules_add_to_foreign_list)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = dev_make_rules(&a, "+c 1:3 rwm, +c 1:5 rwm");
    const struct cg_dev_rule null = {true, 'c', 1, 3, CG_DEV_RWM};
    const struct cg_dev_rule deny = {false, 'a', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_RWM};
    struct cg_dev_rule *pushed;

    cg_dev_rules_add(&a, &rules, null);
    cr_expect_eq(rules.count, 2, "expected 2 rules, got %s", dev_rules_text(&a, &rules));
    pushed = arena_push(&a, &rules.items, &rules.count, sizeof *pushed);
    *pushed = deny;
    cg_dev_rules_add(&a, &rules, null);
    cr_expect_eq(rules.count, 4, "expected 4 rules, got %s", dev_rules_text(&a, &rules));
}

Test(devices, rules_add_many)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = {0};

    for (int round = 0; round < 2; round++) {
        for (int64_t i = 0; i < 20000; i++)
            cg_dev_rules_add(&a, &rules, (struct cg_dev_rule){true, 'c', i / 100, i % 100, 7});
    }
    cr_assert_eq(rules.count, 20000, "expected 20000 rules, got %zu", rules.count);
    for (int64_t i = 0; i < 20000; i++)
        cr_assert(rules.items[i].major == i / 100 && rules.items[i].minor == i % 100,
                  "rule %lld is %lld:%lld", (long long)i, (long long)rules.items[i].major,
                  (long long)rules.items[i].minor);
}

struct verdict_case {
    const char *rules;
    char type;
    uint32_t major, minor;
    const char *access;
    bool want;
};

static const struct verdict_case verdicts[] = {
    {"", 'c', 1, 3, "r", false},
    {"+c 1:3 rw", 'c', 1, 3, "r", true},
    {"+c 1:3 rw", 'c', 1, 3, "rw", true},
    {"+c 1:3 rw", 'c', 1, 3, "m", false},
    {"+c 1:3 rw", 'c', 1, 3, "rwm", false},
    {"+c 1:3 rw", 'b', 1, 3, "r", false},
    {"+c 1:3 rw", 'c', 1, 4, "r", false},
    {"+c 1:3 rw", 'c', 2, 3, "r", false},
    /* 'a' is both types, as long as its numbers fit. */
    {"+a *:* rwm", 'b', 9, 9, "rwm", true},
    {"+a *:* rwm", 'c', 9, 9, "rwm", true},
    {"+a 1:3 rwm", 'c', 1, 3, "rwm", true},
    {"+a 1:3 rwm", 'c', 1, 4, "r", false},
    /* What runtimes put first. */
    {"-a *:* rwm, +c 1:3 rwm", 'c', 1, 3, "rwm", true},
    {"-a *:* rwm, +c 1:3 rwm", 'c', 1, 5, "r", false},
    {"+c 1:3 rwm, -a *:* rwm", 'c', 1, 3, "r", false},
    /* The last rule that names the bit wins, also a wider one. */
    {"+a *:* rwm, -c 1:3 w", 'c', 1, 3, "r", true},
    {"+a *:* rwm, -c 1:3 w", 'c', 1, 3, "w", false},
    {"+a *:* rwm, -c 1:3 w", 'c', 1, 3, "rw", false},
    {"-c 1:3 rwm, +c 1:* r", 'c', 1, 3, "r", true},
    {"-c 1:3 rwm, +c 1:* r", 'c', 1, 3, "w", false},
    {"+c 1:* r, +c *:3 w", 'c', 1, 3, "rw", true},
    {"+c 1:* rw, -c *:3 w", 'c', 1, 3, "w", false},
    {"-c *:3 w, +c 1:* rw", 'c', 1, 3, "w", true},
    /* Numbers of 32 bits, and those beyond. */
    {"+c 4294967295:4294967295 r", 'c', UINT32_MAX, UINT32_MAX, "r", true},
    {"+c 4294967295:* r", 'c', 0, 0, "r", false},
    {"+c 4294967297:3 r", 'c', 1, 3, "r", false},
    {"+c -2:3 r", 'c', UINT32_MAX - 1, 3, "r", false},
};

Test(devices, verdicts)
{
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
        const struct verdict_case *c = &verdicts[i];
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_make_rules(&a, c->rules);
        struct cg_dev_table table = dev_compile(&a, &rules);
        uint8_t access;
        bool model, got;

        cr_assert_eq(cg_dev_access_parse(c->access, &access), 0);
        model = cg_dev_rules_allow(&rules, c->type, c->major, c->minor, access);
        got = dev_table_allows(&table, c->type, c->major, c->minor, access);
        cr_expect(model == c->want && got == c->want,
                  "\"%s\", request %c %u:%u %s: expected %d, got %d by rules, %d by table",
                  c->rules, c->type, c->major, c->minor, c->access, c->want, model, got);
    }
}

Test(devices, other_types_are_denied)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = dev_make_rules(&a, "+a *:* rwm");
    struct cg_dev_table table = dev_compile(&a, &rules);

    cr_expect_not(cg_dev_rules_allow(&rules, 'a', 1, 3, CG_DEV_R));
    cr_expect_not(cg_dev_rules_allow(&rules, 'p', 1, 3, CG_DEV_R));
    cr_expect_not(dev_table_allows(&table, 'a', 1, 3, CG_DEV_R));
    cr_expect_not(dev_table_allows(&table, 'p', 1, 3, CG_DEV_R));
}

/* --- the table --- */

Test(devices, compile)
{
    static const struct {
        const char *rules, *want;
    } cases[] = {
        {"", ""},
        {"-a *:* rwm", ""},
        {"+c 1:3 rwm", "c 1:3 rwm"},
        {"+c 1:5 r, +c 1:3 rwm, +b 8:0 r", "b 8:0 r, c 1:3 rwm, c 1:5 r"},
        {"+c 10:1 r, +c 9:1 r", "c 9:1 r, c 10:1 r"},
        {"+a *:* rwm", "b *:* rwm, c *:* rwm"},
        {"+a 1:3 r", "b 1:3 r, c 1:3 r"},
        {"+c 1:3 r, +c 1:3 w", "c 1:3 rw"},
        {"+c 1:3 rw, -c 1:3 w", "c 1:3 r"},
        {"+c 1:3 r, -c 1:3 r", ""},
        /* Equal to what it falls back to. */
        {"+c 1:* rw, +c 1:3 r", "c 1:* rw"},
        {"+c *:* rw, +c 1:* rw, +c *:3 r", "c *:* rw"},
        {"+c *:* m, +c 1:3 rw", "c 1:3 rwm, c *:* m"},
        {"+c *:* m, -c 1:3 m", "c 1:3 -, c *:* m"},
        {"-c 1:3 m, +c *:* m", "c *:* m"},
        /* Lines that cross: the table asks the major first. */
        {"+c 1:* r, +c *:3 w", "c 1:3 rw, c 1:* r, c *:3 w"},
        {"+c *:3 w, +c 1:* r", "c 1:3 rw, c 1:* r, c *:3 w"},
        {"+c 1:* r, -c *:3 r", "c 1:3 -, c 1:* r"},
        {"+c *:* r, -c *:3 r, +c 1:* r", "c 1:3 r, c *:3 -, c *:* r"},
        {"+c *:* r, +c 1:* r, -c *:3 r", "c *:3 -, c *:* r"},
        /* Numbers that no device can have. */
        {"+c 4294967296:0 r, +c 0:4294967296 r, +c -2:0 r, +c 0:-7 r", ""},
        {"+c 4294967295:4294967295 r", "c 4294967295:4294967295 r"},
        {"+x 1:3 r", ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_make_rules(&a, cases[i].rules);
        struct cg_dev_table table = dev_compile(&a, &rules);
        const char *got = dev_entries_text(&a, table.items, table.count);

        cr_expect(str_eq(got, cases[i].want), "\"%s\": expected \"%s\", got \"%s\"", cases[i].rules,
                  cases[i].want, got);
    }
}

static void add_lines(struct arena *a, struct cg_dev_rules *rules, char type, int64_t majors,
                      int64_t minors)
{
    for (int64_t i = 0; i < majors; i++)
        cg_dev_rules_add(a, rules, (struct cg_dev_rule){true, type, i, CG_DEV_ANY, CG_DEV_R});
    for (int64_t i = 0; i < minors; i++)
        cg_dev_rules_add(a, rules, (struct cg_dev_rule){true, type, CG_DEV_ANY, i, CG_DEV_W});
}

Test(devices, compile_limit)
{
    static const struct {
        int64_t majors, minors;
        char type;
        int result;
    } cases[] = {
        {256, 256, 'c', 0},      {257, 256, 'c', -E2BIG}, {256, 257, 'b', -E2BIG},
        {256, 257, 'a', -E2BIG}, {65536, 1, 'c', 0},      {1, 65536, 'b', 0},
        {65537, 1, 'c', -E2BIG}, {70000, 0, 'c', 0},      {0, 70000, 'c', 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = {0};
        struct cg_dev_table table = {0};
        struct err e = ERR_INIT;
        int r;

        add_lines(&a, &rules, cases[i].type, cases[i].majors, cases[i].minors);
        r = cg_dev_compile(&rules, &a, &table, &e);
        cr_expect(r == cases[i].result && e.code == r,
                  "%lld majors, %lld minors, type %c: expected %d, got %d \"%s\"",
                  (long long)cases[i].majors, (long long)cases[i].minors, cases[i].type,
                  cases[i].result, r, e.text);
        if (r == 0 && cases[i].majors && cases[i].minors)
            cr_expect(dev_table_allows(&table, cases[i].type, 0, 0, CG_DEV_R | CG_DEV_W),
                      "%lld majors, %lld minors: where they cross both bits are expected",
                      (long long)cases[i].majors, (long long)cases[i].minors);
    }
}

Test(devices, compile_many)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;

    /* In an order that is not sorted. */
    for (int64_t i = 0; i < 60000; i++) {
        int64_t n = i * 7919 % 60000;

        cg_dev_rules_add(&a, &rules,
                         (struct cg_dev_rule){true, n % 2 ? 'b' : 'c', n, n % 5, CG_DEV_RWM});
    }
    table = dev_compile(&a, &rules);
    cr_assert_eq(table.count, 60000, "expected 60000 entries, got %zu", table.count);
    for (uint32_t n = 0; n < 60000; n++) {
        char type = n % 2 ? 'b' : 'c';

        cr_assert(dev_table_allows(&table, type, n, n % 5, CG_DEV_RWM), "%c %u:%u", type, n, n % 5);
        cr_assert_not(dev_table_allows(&table, type, n, n % 5 + 1, CG_DEV_R), "%c %u:%u", type, n,
                      n % 5 + 1);
        cr_assert_not(dev_table_allows(&table, type == 'b' ? 'c' : 'b', n, n % 5, CG_DEV_R));
    }
}

static void check_table_is_minimal(struct arena *a, const struct cg_dev_rules *rules,
                                   const struct cg_dev_table *t)
{
    for (size_t skip = 0; skip < t->count; skip++) {
        struct cg_dev_table without = {.count = t->count - 1};
        struct dev_request q;
        unsigned cursor = 0;
        bool differs = false;

        without.items = arena_alloc(a, t->count * sizeof *t->items);
        for (size_t i = 0, k = 0; i < t->count; i++) {
            if (i != skip)
                without.items[k++] = t->items[i];
        }
        while (!differs && dev_next_request(&cursor, &q))
            differs = dev_table_allows(t, q.type, q.major, q.minor, q.access) !=
                      dev_table_allows(&without, q.type, q.major, q.minor, q.access);
        cr_assert(differs, "\"%s\": entry %zu of \"%s\" says nothing", dev_rules_text(a, rules),
                  skip, dev_entries_text(a, t->items, t->count));
    }
}

Test(devices, property_table)
{
    dev_random_state = 2463534242u;
    for (int round = 0; round < 5000; round++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_random_rules(&a, 8, false);
        struct cg_dev_table table = dev_compile(&a, &rules);
        struct dev_request q;
        unsigned cursor = 0;

        while (dev_next_request(&cursor, &q)) {
            bool want = cg_dev_rules_allow(&rules, q.type, q.major, q.minor, q.access);
            bool got = dev_table_allows(&table, q.type, q.major, q.minor, q.access);

            cr_assert_eq(got, want, "\"%s\", request %c %u:%u %u: expected %d, got %d from \"%s\"",
                         dev_rules_text(&a, &rules), q.type, q.major, q.minor, q.access, want, got,
                         dev_entries_text(&a, table.items, table.count));
        }
        check_table_is_minimal(&a, &rules, &table);
    }
}

/* --- unions --- */

Test(devices, unions)
{
    static const struct {
        const char *lists[4];
        size_t count;
        const char *want;
    } cases[] = {
        {{NULL}, 0, ""},
        {{"+c 1:3 r"}, 1, "c 1:3 r"},
        {{"+c 1:3 r", ""}, 2, "c 1:3 r"},
        {{"", "+c 1:3 r"}, 2, "c 1:3 r"},
        {{"+c 1:3 r", "+c 1:3 w"}, 2, "c 1:3 rw"},
        {{"+c 1:3 r", "+c 1:5 w, +b 8:0 r"}, 2, "b 8:0 r, c 1:3 r, c 1:5 w"},
        {{"+a *:* rwm", "+c 1:3 r"}, 2, "b *:* rwm, c *:* rwm"},
        {{"+a *:* rwm, -c 1:3 w", "+c 1:3 r"}, 2, "b *:* rwm, c 1:3 rm, c *:* rwm"},
        {{"+a *:* rwm, -c 1:3 w", "+c 1:3 w"}, 2, "b *:* rwm, c *:* rwm"},
        {{"+c 1:* r", "+c *:3 w"}, 2, "c 1:3 rw, c 1:* r, c *:3 w"},
        {{"+c 1:3 r", "+c 1:4 r", "+c 1:5 r", "+c 1:3 m"}, 4, "c 1:3 rm, c 1:4 r, c 1:5 r"},
        {{"+c 1:3 r", "+c 1:4 r", "+c 1:5 r"}, 3, "c 1:3 r, c 1:4 r, c 1:5 r"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_table tables[4], united;
        const char *got;

        for (size_t k = 0; k < cases[i].count; k++) {
            struct cg_dev_rules rules = dev_make_rules(&a, cases[i].lists[k]);

            tables[k] = dev_compile(&a, &rules);
        }
        cr_assert_eq(cg_dev_union(tables, cases[i].count, &a, &united, NULL), 0);
        got = dev_entries_text(&a, united.items, united.count);
        cr_expect(str_eq(got, cases[i].want), "case %zu: expected \"%s\", got \"%s\"", i,
                  cases[i].want, got);
    }
}

Test(devices, property_union)
{
    dev_random_state = 521288629u;
    for (int round = 0; round < 3000; round++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules lists[5];
        struct cg_dev_table tables[5], united = {0};
        size_t count = dev_random_below(6);
        struct dev_request q;
        unsigned cursor = 0;

        for (size_t i = 0; i < count; i++) {
            lists[i] = dev_random_rules(&a, 6, false);
            tables[i] = dev_compile(&a, &lists[i]);
        }
        cr_assert_eq(cg_dev_union(tables, count, &a, &united, NULL), 0);
        while (dev_next_request(&cursor, &q)) {
            uint8_t bits = 0;
            bool want, got;

            for (size_t i = 0; i < count; i++)
                bits |= dev_bits_of(&lists[i], q.type, q.major, q.minor);
            want = (q.access & ~bits) == 0;
            got = dev_table_allows(&united, q.type, q.major, q.minor, q.access);
            cr_assert_eq(got, want, "%zu lists, request %c %u:%u %u: expected %d, got %d", count,
                         q.type, q.major, q.minor, q.access, want, got);
        }
        if (count > 0)
            check_table_is_minimal(&a, &lists[0], &united);
    }
}

Test(devices, union_many)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_table tables[64], united;

    for (uint32_t i = 0; i < ARRAY_SIZE(tables); i++) {
        struct cg_dev_rules rules = {0};

        for (uint32_t n = 0; n < 500; n++)
            cg_dev_rules_add(&a, &rules, (struct cg_dev_rule){true, 'c', i, n, CG_DEV_RWM});
        tables[i] = dev_compile(&a, &rules);
    }
    cr_assert_eq(cg_dev_union(tables, ARRAY_SIZE(tables), &a, &united, NULL), 0);
    cr_assert_eq(united.count, 32000, "expected 32000 entries, got %zu", united.count);
    for (uint32_t n = 0; n < 32000; n++)
        cr_assert(dev_table_allows(&united, 'c', n / 500, n % 500, CG_DEV_RWM));
}

Test(devices, union_limit)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules majors = {0}, minors = {0};
    struct cg_dev_table tables[2], united;
    struct err e = ERR_INIT;

    add_lines(&a, &majors, 'c', 300, 0);
    add_lines(&a, &minors, 'c', 0, 300);
    tables[0] = dev_compile(&a, &majors);
    tables[1] = dev_compile(&a, &minors);
    cr_expect_eq(cg_dev_union(tables, 2, &a, &united, &e), -E2BIG);
    cr_expect(strstr(e.text, "300 device rules on a major number"), "got \"%s\"", e.text);
}

/* A table as a list is compiled to the same table. */
Test(devices, rules_of)
{
    dev_random_state = 815;
    for (int round = 0; round < 3000; round++) {
        autoarena a = ARENA_INIT;
        const struct cg_dev_rules rules = dev_random_rules(&a, 8, false);
        const struct cg_dev_table t = dev_compile(&a, &rules);
        struct cg_dev_rules again;
        struct cg_dev_table got;

        cg_dev_rules_of(&t, &a, &again);
        got = dev_compile(&a, &again);
        cr_assert_str_eq(dev_entries_text(&a, got.items, got.count),
                         dev_entries_text(&a, t.items, t.count), "%s", dev_rules_text(&a, &rules));
    }
}
