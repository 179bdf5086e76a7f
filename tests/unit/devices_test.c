/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/devices.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/device_kit.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

/* --- lists and tables as text --- */

/* "c 1:3 rwm, c *:* -": a class without any bit has "-". */
static char *entries_text(struct arena *a, const struct cg_dev_entry *items, size_t count)
{
    char *text = arena_strdup(a, "");

    for (size_t i = 0; i < count; i++) {
        const struct cg_dev_rule rule = {.type = items[i].type,
                                         .major = items[i].major,
                                         .minor = items[i].minor,
                                         .access = items[i].access};
        char one[48];

        text = arena_printf(a, "%s%s%s%s", text, i ? ", " : "", cg_dev_rule_text(&rule, one),
                            items[i].access ? "" : "-");
    }
    return text;
}

static struct cg_dev_table compile(struct arena *a, const struct cg_dev_rules *rules)
{
    struct cg_dev_table table = {0};
    struct err e = ERR_INIT;
    int r = cg_dev_compile(rules, a, &table, &e);

    cr_assert_eq(r, 0, "compiling %s: %s", dev_rules_text(a, rules), e.text);
    return table;
}

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
        struct cg_dev_table table = compile(&a, &rules);
        uint8_t access;
        bool model, got;

        cr_assert_eq(cg_dev_access_parse(c->access, &access), 0);
        model = cg_dev_rules_allow(&rules, c->type, c->major, c->minor, access);
        got = cg_dev_table_allow(&table, c->type, c->major, c->minor, access);
        cr_expect(model == c->want && got == c->want,
                  "\"%s\", request %c %u:%u %s: expected %d, got %d by rules, %d by table",
                  c->rules, c->type, c->major, c->minor, c->access, c->want, model, got);
    }
}

Test(devices, other_types_are_denied)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules rules = dev_make_rules(&a, "+a *:* rwm");
    struct cg_dev_table table = compile(&a, &rules);

    cr_expect_not(cg_dev_rules_allow(&rules, 'a', 1, 3, CG_DEV_R));
    cr_expect_not(cg_dev_rules_allow(&rules, 'p', 1, 3, CG_DEV_R));
    cr_expect_not(cg_dev_table_allow(&table, 'a', 1, 3, CG_DEV_R));
    cr_expect_not(cg_dev_table_allow(&table, 'p', 1, 3, CG_DEV_R));
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
        struct cg_dev_table table = compile(&a, &rules);
        const char *got = entries_text(&a, table.items, table.count);

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
            cr_expect(cg_dev_table_allow(&table, cases[i].type, 0, 0, CG_DEV_R | CG_DEV_W),
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
    table = compile(&a, &rules);
    cr_assert_eq(table.count, 60000, "expected 60000 entries, got %zu", table.count);
    for (uint32_t n = 0; n < 60000; n++) {
        char type = n % 2 ? 'b' : 'c';

        cr_assert(cg_dev_table_allow(&table, type, n, n % 5, CG_DEV_RWM), "%c %u:%u", type, n,
                  n % 5);
        cr_assert_not(cg_dev_table_allow(&table, type, n, n % 5 + 1, CG_DEV_R), "%c %u:%u", type, n,
                      n % 5 + 1);
        cr_assert_not(cg_dev_table_allow(&table, type == 'b' ? 'c' : 'b', n, n % 5, CG_DEV_R));
    }
}

/* --- random lists --- */

#define NUMBERS 5 /* 0 to 3 are in rules, 4 stands for all others */

static int64_t random_number(void)
{
    return (int64_t)dev_random_below(NUMBERS) - 1;
}

static struct cg_dev_rules random_rules(struct arena *a, uint32_t most, bool only_allow)
{
    struct cg_dev_rules rules = {0};

    for (uint32_t n = dev_random_below(most + 1); n > 0; n--) {
        struct cg_dev_rule *rule = arena_push(a, &rules.items, &rules.count, sizeof *rule);

        *rule = (struct cg_dev_rule){
            .allow = only_allow || dev_random_below(3) > 0,
            .type = "abc"[dev_random_below(3)],
            .major = random_number(),
            .minor = random_number(),
            .access = (uint8_t)(1 + dev_random_below(7)),
        };
    }
    return rules;
}

struct request {
    char type;
    uint32_t major, minor;
    uint8_t access;
};

/* All requests of the small world. Returns false behind the last. */
static bool next_request(unsigned *cursor, struct request *ret)
{
    unsigned n = (*cursor)++;

    *ret = (struct request){.type = n % 2 ? 'b' : 'c',
                            .major = n / 2 % NUMBERS,
                            .minor = n / 2 / NUMBERS % NUMBERS,
                            .access = (uint8_t)(1 + n / 2 / NUMBERS / NUMBERS)};
    return ret->access <= CG_DEV_RWM;
}

static void check_table_is_minimal(struct arena *a, const struct cg_dev_rules *rules,
                                   const struct cg_dev_table *t)
{
    for (size_t skip = 0; skip < t->count; skip++) {
        struct cg_dev_table without = {.count = t->count - 1};
        struct request q;
        unsigned cursor = 0;
        bool differs = false;

        without.items = arena_alloc(a, t->count * sizeof *t->items);
        for (size_t i = 0, k = 0; i < t->count; i++) {
            if (i != skip)
                without.items[k++] = t->items[i];
        }
        while (!differs && next_request(&cursor, &q))
            differs = cg_dev_table_allow(t, q.type, q.major, q.minor, q.access) !=
                      cg_dev_table_allow(&without, q.type, q.major, q.minor, q.access);
        cr_assert(differs, "\"%s\": entry %zu of \"%s\" says nothing", dev_rules_text(a, rules),
                  skip, entries_text(a, t->items, t->count));
    }
}

Test(devices, property_table)
{
    dev_random_state = 2463534242u;
    for (int round = 0; round < 5000; round++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = random_rules(&a, 8, false);
        struct cg_dev_table table = compile(&a, &rules);
        struct request q;
        unsigned cursor = 0;

        while (next_request(&cursor, &q)) {
            bool want = cg_dev_rules_allow(&rules, q.type, q.major, q.minor, q.access);
            bool got = cg_dev_table_allow(&table, q.type, q.major, q.minor, q.access);

            cr_assert_eq(got, want, "\"%s\", request %c %u:%u %u: expected %d, got %d from \"%s\"",
                         dev_rules_text(&a, &rules), q.type, q.major, q.minor, q.access, want, got,
                         entries_text(&a, table.items, table.count));
        }
        check_table_is_minimal(&a, &rules, &table);
    }
}

/* --- the v1 form --- */

Test(devices, v1_form)
{
    static const struct {
        const char *rules;
        int result;
        const char *want; /* the form, or a part of the error */
    } cases[] = {
        {"", 0, "deny: "},
        {"+c 1:3 rwm, +b 8:0 r", 0, "deny: b 8:0 r, c 1:3 rwm"},
        {"+a *:* rwm", 0, "deny: b *:* rwm, c *:* rwm"},
        /* A request has to fit into one exception. */
        {"+c *:* m, +b *:* m, +c 1:3 rw", 0, "deny: b *:* m, c 1:3 rwm, c *:* m"},
        {"+c 1:* r, +c *:3 w", 0, "deny: c 1:3 rw, c 1:* r, c *:3 w"},
        /* (1, 3) is what (any, 3) says anyway. */
        {"+c *:3 rw, +c 1:* r", 0, "deny: c 1:* r, c *:3 rw"},
        /* Denials are expressible where the rest is allowed, for both types alike. */
        {"+a *:* rwm, -c 1:3 w", 0, "allow: c 1:3 w"},
        {"+a *:* rwm, -c 1:* rwm, -b 8:0 r", 0, "allow: b 8:0 r, c 1:* rwm"},
        {"+c *:* m, -c 1:3 m", 0, "allow: b *:* rwm, c 1:3 rwm, c *:* rw"},
        {"+a *:* rwm, -c 1:* w, -c *:3 r", 0, "allow: c 1:3 rw, c 1:* w, c *:3 r"},
        /* Neither: more than the wider rule here, less there. */
        {"+c *:* r, +c 1:3 w, -c 1:5 r", -ENOTSUP, "c 1:5 is allowed nothing"},
        {"+c 1:* rw, -c 1:3 w", -ENOTSUP, "c 1:3 is allowed r, but the wider rule \"c 1:* rw\""},
        {"+c 1:* rw, -c *:3 w, +b *:3 w, -b 7:3 rwm", -ENOTSUP, "b 7:3 is allowed nothing"},
        {"+c *:3 rw, -c 1:* w, +c 1:* r, -c 1:3 w", -ENOTSUP,
         "c 1:3 is allowed r, but the wider rule \"c *:3 rw\""},
        /* The kernel takes this number for a wildcard, and no device has it. */
        {"+c 4294967295:3 rw, +c 1:4294967295 rw, +c 1:3 rw", 0, "deny: c 1:3 rw"},
        {"+c *:* r, -c 4294967295:3 r", 0, "deny: c *:* r"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_make_rules(&a, cases[i].rules);
        struct cg_dev_table table = compile(&a, &rules);
        struct cg_dev_exceptions v1 = {0};
        struct err e = ERR_INIT;
        int r = cg_dev_exceptions_make(&table, &a, &v1, &e);
        const char *got = e.text;
        bool same;

        if (r == 0)
            got = arena_printf(&a, "%s: %s", v1.allow_all ? "allow" : "deny",
                               entries_text(&a, v1.exceptions, v1.count));
        same = r == 0 ? str_eq(got, cases[i].want) : strstr(got, cases[i].want) != NULL;
        cr_expect(r == cases[i].result && same, "\"%s\": expected %d \"%s\", got %d \"%s\"",
                  cases[i].rules, cases[i].result, cases[i].want, r, got);
    }
}

static uint8_t bits_of(const struct cg_dev_rules *rules, char type, uint32_t major, uint32_t minor)
{
    uint8_t bits = 0;

    for (uint8_t bit = CG_DEV_R; bit <= CG_DEV_M; bit = (uint8_t)(bit << 1))
        bits |= cg_dev_rules_allow(rules, type, major, minor, bit) ? bit : 0;
    return bits;
}

/* Whether an exception with these bits for all devices that match the pattern would be right. */
static bool exception_fits(const struct cg_dev_rules *rules, char type, int64_t major,
                           int64_t minor, uint8_t bits, uint8_t flip)
{
    for (uint32_t n = 0; n < NUMBERS * NUMBERS; n++) {
        uint32_t ma = n / NUMBERS, mi = n % NUMBERS;

        if ((major == CG_DEV_ANY || major == ma) && (minor == CG_DEV_ANY || minor == mi) &&
            bits & ~(bits_of(rules, type, ma, mi) ^ flip))
            return false;
    }
    return true;
}

/*
 * By trying all there are, whether a v1 form exists. A device is served by an exception for itself
 * or for a wildcard that it matches; the outsider number, being many, only by a wildcard.
 */
static bool form_exists(const struct cg_dev_rules *rules, bool allow_all)
{
    uint8_t flip = allow_all ? CG_DEV_RWM : 0;

    for (uint32_t n = 0; n < 2 * NUMBERS * NUMBERS; n++) {
        char type = n % 2 ? 'b' : 'c';
        uint32_t major = n / 2 / NUMBERS, minor = n / 2 % NUMBERS;
        uint8_t bits = bits_of(rules, type, major, minor) ^ flip;
        bool served = bits == 0;

        for (unsigned wild = 0; wild < 4 && !served; wild++) {
            if ((!(wild & 1) && major == NUMBERS - 1) || (!(wild & 2) && minor == NUMBERS - 1))
                continue;
            served = exception_fits(rules, type, wild & 1 ? CG_DEV_ANY : (int64_t)major,
                                    wild & 2 ? CG_DEV_ANY : (int64_t)minor, bits, flip);
        }
        if (!served)
            return false;
    }
    return true;
}

static void check_v1_is_minimal(struct arena *a, const struct cg_dev_exceptions *v1)
{
    for (size_t skip = 0; skip < v1->count; skip++) {
        struct cg_dev_exceptions without = {.allow_all = v1->allow_all, .count = v1->count - 1};
        struct request q;
        unsigned cursor = 0;
        bool differs = false;

        without.exceptions = arena_alloc(a, v1->count * sizeof *v1->exceptions);
        for (size_t i = 0, k = 0; i < v1->count; i++) {
            if (i != skip)
                without.exceptions[k++] = v1->exceptions[i];
        }
        while (!differs && next_request(&cursor, &q))
            differs = dev_v1_allows(v1, q.type, q.major, q.minor, q.access) !=
                      dev_v1_allows(&without, q.type, q.major, q.minor, q.access);
        /* A denial may be the sum of two wider ones. */
        cr_assert(differs || v1->allow_all, "exception %zu of \"%s\" does nothing", skip,
                  entries_text(a, v1->exceptions, v1->count));
    }
}

/* Lists with something to take away from, so that each form is the answer often enough. */
static struct cg_dev_rules random_v1_rules(struct arena *a, int round)
{
    struct cg_dev_rules rules = random_rules(a, round % 2 ? 4 : 8, round % 4 == 0);

    if (round % 4 != 0 && rules.count > 0)
        rules.items[0] = (struct cg_dev_rule){true, "abc"[round % 3], CG_DEV_ANY, CG_DEV_ANY,
                                              (uint8_t)(round % 5 ? CG_DEV_RWM : CG_DEV_M)};
    for (size_t i = 1; round % 4 == 1 && i < rules.count; i++)
        rules.items[i].allow = false;
    return rules;
}

Test(devices, property_v1)
{
    unsigned denying = 0, allowing = 0, none = 0;

    dev_random_state = 88675123u;
    for (int round = 0; round < 8000; round++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = random_v1_rules(&a, round);
        struct cg_dev_table table = compile(&a, &rules);
        bool deny_form = form_exists(&rules, false), allow_form = form_exists(&rules, true);
        struct cg_dev_exceptions v1 = {0};
        struct request q;
        unsigned cursor = 0;
        int r = cg_dev_exceptions_make(&table, &a, &v1, NULL);

        cr_assert_eq(r, deny_form || allow_form ? 0 : -ENOTSUP,
                     "\"%s\": deny form %d, allow form %d, got %d", dev_rules_text(&a, &rules),
                     deny_form, allow_form, r);
        if (r < 0) {
            none++;
            continue;
        }
        cr_assert_eq(v1.allow_all, !deny_form, "\"%s\": deny form %d, got %d",
                     dev_rules_text(&a, &rules), deny_form, !v1.allow_all);
        denying += !v1.allow_all;
        allowing += v1.allow_all;
        while (next_request(&cursor, &q)) {
            bool want = cg_dev_rules_allow(&rules, q.type, q.major, q.minor, q.access);

            cr_assert_eq(dev_v1_allows(&v1, q.type, q.major, q.minor, q.access), want,
                         "\"%s\", request %c %u:%u %u: expected %d, got %d from %s \"%s\"",
                         dev_rules_text(&a, &rules), q.type, q.major, q.minor, q.access, want,
                         !want, v1.allow_all ? "allow" : "deny",
                         entries_text(&a, v1.exceptions, v1.count));
        }
        check_v1_is_minimal(&a, &v1);
    }
    cr_assert(denying > 1000 && allowing > 500 && none > 500,
              "too few of one kind: deny %u, allow %u, none %u", denying, allowing, none);
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

            tables[k] = compile(&a, &rules);
        }
        cr_assert_eq(cg_dev_union(tables, cases[i].count, &a, &united, NULL), 0);
        got = entries_text(&a, united.items, united.count);
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
        struct request q;
        unsigned cursor = 0;

        for (size_t i = 0; i < count; i++) {
            lists[i] = random_rules(&a, 6, false);
            tables[i] = compile(&a, &lists[i]);
        }
        cr_assert_eq(cg_dev_union(tables, count, &a, &united, NULL), 0);
        while (next_request(&cursor, &q)) {
            uint8_t bits = 0;
            bool want, got;

            for (size_t i = 0; i < count; i++)
                bits |= bits_of(&lists[i], q.type, q.major, q.minor);
            want = (q.access & ~bits) == 0;
            got = cg_dev_table_allow(&united, q.type, q.major, q.minor, q.access);
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
        tables[i] = compile(&a, &rules);
    }
    cr_assert_eq(cg_dev_union(tables, ARRAY_SIZE(tables), &a, &united, NULL), 0);
    cr_assert_eq(united.count, 32000, "expected 32000 entries, got %zu", united.count);
    for (uint32_t n = 0; n < 32000; n++)
        cr_assert(cg_dev_table_allow(&united, 'c', n / 500, n % 500, CG_DEV_RWM));
}

Test(devices, union_limit)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules majors = {0}, minors = {0};
    struct cg_dev_table tables[2], united;
    struct err e = ERR_INIT;

    add_lines(&a, &majors, 'c', 300, 0);
    add_lines(&a, &minors, 'c', 0, 300);
    tables[0] = compile(&a, &majors);
    tables[1] = compile(&a, &minors);
    cr_expect_eq(cg_dev_union(tables, 2, &a, &united, &e), -E2BIG);
    cr_expect(strstr(e.text, "300 device rules on a major number"), "got \"%s\"", e.text);
}

/* --- applying the v1 form to files --- */

static struct cg_dev_exceptions make_v1(struct arena *a, const char *text)
{
    struct cg_dev_rules rules = dev_make_rules(a, text);
    struct cg_dev_table table = compile(a, &rules);
    struct cg_dev_exceptions v1 = {0};
    struct err e = ERR_INIT;

    cr_assert_eq(cg_dev_exceptions_make(&table, a, &v1, &e), 0, "%s", e.text);
    return v1;
}

/* A directory of our own with the three files, which take down what is written. */
static int fake_cgroup(const char *list)
{
    static const char *const names[] = {"devices.list", "devices.allow", "devices.deny"};
    char path[] = "/tmp/osc-devtest-XXXXXX";
    int dir;

    cr_assert(mkdtemp(path), "%m");
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir, 0, "%m");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        int fd = openat(dir, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        cr_assert_geq(fd, 0, "%m");
        if (i == 0)
            cr_assert_eq(write(fd, list, strlen(list)), (ssize_t)strlen(list));
        close(fd);
    }
    return dir;
}

static void remove_fake(int dir)
{
    static const char *const names[] = {"devices.list", "devices.allow", "devices.deny"};
    char link[64], path[PATH_MAX];
    ssize_t n;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        unlinkat(dir, names[i], 0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    n = readlink(link, path, sizeof path - 1);
    cr_assert_gt(n, 0);
    path[n] = '\0';
    rmdir(path);
    close(dir);
}

Test(devices, v1_apply_writes)
{
    static const struct {
        const char *list, *rules, *allow, *deny;
    } cases[] = {
        /* From allow-all: empty, then add. */
        {"a *:* rwm\n", "+c 1:3 rwm, +b 8:0 r", "b 8:0 r\nc 1:3 rwm\n", "a\n"},
        {"a *:* rwm\n", "", "", "a\n"},
        /* In force already. */
        {"c 1:3 rwm\nb 8:0 r\n", "+c 1:3 rwm, +b 8:0 r", "", ""},
        {"", "", "", ""},
        {"b *:* rwm\nc *:* rwm\n", "+a *:* rwm", "", ""},
        /* Only the differences. */
        {"", "+c 1:3 rwm", "c 1:3 rwm\n", ""},
        {"c 1:3 rwm\n", "", "", "c 1:3 rwm\n"},
        {"c 1:3 r\n", "+c 1:3 rw", "c 1:3 rw\n", ""},
        {"c 1:3 rwm\n", "+c 1:3 r", "", "c 1:3 wm\n"},
        {"c 1:3 rm\n", "+c 1:3 rw", "c 1:3 rw\n", "c 1:3 m\n"},
        {"c 1:5 rwm\nc 1:3 rwm\nc *:* m\n", "+c 1:3 rwm, +c 1:* r", "c 1:* r\n",
         "c 1:5 rwm\nc *:* m\n"},
        {"c 1:3 rwm\n", "+b 1:3 rwm", "b 1:3 rwm\n", "c 1:3 rwm\n"},
        {"c 10:3 rwm\nc 9:3 rwm\n", "+c 9:3 rwm, +c 10:3 rwm, +c *:3 m", "c *:3 m\n", ""},
        /* Allow-all hides its exceptions: always reset. */
        {"a *:* rwm\n", "+a *:* rwm, -c 1:3 w", "a\n", "c 1:3 w\n"},
        {"c 1:3 rwm\n", "+a *:* rwm, -c 1:3 w", "a\n", "c 1:3 w\n"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, cases[i].rules);
        int dir = fake_cgroup(cases[i].list);
        struct err e = ERR_INIT;
        int r = cg_dev_v1_apply(dir, &v1, &e);
        char *allow = NULL, *deny = NULL;

        cr_expect_eq(r, 0, "\"%s\" on \"%s\": %s", cases[i].rules, cases[i].list, e.text);
        cr_assert_geq(io_read_all_at(dir, "devices.allow", 4096, &allow), 0);
        cr_assert_geq(io_read_all_at(dir, "devices.deny", 4096, &deny), 0);
        cr_expect(str_eq(allow, cases[i].allow) && str_eq(deny, cases[i].deny),
                  "\"%s\" on \"%s\": expected allow \"%s\", deny \"%s\"; got \"%s\", \"%s\"",
                  cases[i].rules, cases[i].list, cases[i].allow, cases[i].deny, allow, deny);
        free(allow);
        free(deny);
        remove_fake(dir);
    }
}

Test(devices, v1_apply_bad_list)
{
    static const char *const lists[] = {
        "c 1:3\n",     "c 1:3 \n",   "c 1 rwm\n",    "c :3 rwm\n", "c 1: rwm\n",
        "x 1:3 rwm\n", "1:3 rwm\n",  "c 1:3 rwx\n",  "c\n",        "c 1:3 rwm extra\n",
        " c 1:3 r\n",  "c -1:3 r\n", "cc 1:3 rwm\n", "a\n",        "c 4294967296:3 r\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, "+c 1:3 rwm");
        int dir = fake_cgroup(lists[i]);
        struct err e = ERR_INIT;
        int r = cg_dev_v1_apply(dir, &v1, &e);
        struct stat allow, deny;

        cr_expect(r == -EPROTO && strstr(e.text, "devices.list"),
                  "\"%s\": expected -EPROTO naming devices.list, got %d \"%s\"", lists[i], r,
                  e.text);
        cr_assert(fstatat(dir, "devices.allow", &allow, 0) == 0 &&
                  fstatat(dir, "devices.deny", &deny, 0) == 0);
        cr_expect(allow.st_size == 0 && deny.st_size == 0, "\"%s\": was written to", lists[i]);
        remove_fake(dir);
    }
}

Test(devices, v1_apply_missing_files)
{
    static const struct {
        const char *missing, *list, *want;
    } cases[] = {
        {"devices.list", "", "reading devices.list: ENOENT"},
        {"devices.allow", "", "opening devices.allow: ENOENT"},
        {"devices.deny", "a *:* rwm\n", "opening devices.deny: ENOENT"},
        {"devices.deny", "c 1:3 rwm\nc 1:5 r\n", "opening devices.deny: ENOENT"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, "+c 1:3 rwm");
        int dir = fake_cgroup(cases[i].list);
        struct err e = ERR_INIT;
        int r;

        unlinkat(dir, cases[i].missing, 0);
        r = cg_dev_v1_apply(dir, &v1, &e);
        cr_expect(r == -ENOENT && strstr(e.text, cases[i].want),
                  "without %s: expected \"%s\", got %d \"%s\"", cases[i].missing, cases[i].want, r,
                  e.text);
        remove_fake(dir);
    }
}

/* --- the kernel's v1 controller --- */

/* Lists that v1 can express; the last ones are "allow all but". */
static const char *const kernel_lists[] = {
    "",
    "+c 1:3 rwm",
    "+c 1:3 r, +c 1:5 w, +c 1:8 m, +b 240:0 rw",
    "-a *:* rwm, +c *:* m, +b *:* m, +c 1:3 rwm, +c 240:* rw",
    "+c *:1 r, +c 240:* w",
    "+a *:* rwm",
    "+a 241:1 rw, +c 240:0 rwm, -c 240:0 w",
    "+c 240:0 r, +c 240:* r, +b *:5 rwm, +c *:* w",
    "+a *:* rwm, -c 240:1 w",
    "+a *:* rwm, -c 240:* rw, -b *:1 m, -c 1:5 w",
    "+c *:* m, -c 240:0 m",
};

/* What devices.list must show. */
static char *expected_list(struct arena *a, const struct cg_dev_exceptions *v1)
{
    return v1->allow_all ? arena_strdup(a, "a *:* rwm")
                         : entries_text(a, v1->exceptions, v1->count);
}

/* devices.list, one line after the other, in the order of @v1's exceptions. */
static char *shown_list(struct arena *a, int cgroup, const struct cg_dev_exceptions *v1)
{
    char *text = NULL, *got = arena_strdup(a, ""), *rest;
    size_t lines = 0;

    cr_assert_geq(io_read_all_at(cgroup, "devices.list", 1 << 20, &text), 0);
    rest = arena_printf(a, "\n%s", text);
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    for (size_t i = 0; !v1->allow_all && i < v1->count; i++) {
        const char *one = entries_text(a, &v1->exceptions[i], 1);

        if (strstr(rest, arena_printf(a, "\n%s\n", one)))
            got = arena_printf(a, "%s%s%s", got, *got ? ", " : "", one);
    }
    /* Anything else in it shows as it is. */
    if (v1->allow_all || lines != v1->count)
        got = arena_strndup(a, text, strcspn(text, "\n"));
    free(text);
    return got;
}

Test(devices, kernel_v1_verdicts, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);

    dev_make_nodes();
    for (size_t i = 0; i < ARRAY_SIZE(kernel_lists); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, kernel_lists[i]);
        struct err e = ERR_INIT;

        cr_assert_eq(cg_dev_v1_apply(cgroup, &v1, &e), 0, "\"%s\": %s", kernel_lists[i], e.text);
        dev_check_kernel_verdicts(cgroup, kernel_lists[i]);
    }
}

/* From every list to every other, and once more to the same. */
Test(devices, kernel_v1_transitions, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);

    for (size_t n = 0; n < ARRAY_SIZE(kernel_lists) * ARRAY_SIZE(kernel_lists); n++) {
        const char *texts[] = {kernel_lists[n / ARRAY_SIZE(kernel_lists)],
                               kernel_lists[n % ARRAY_SIZE(kernel_lists)]};
        autoarena a = ARENA_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
            struct cg_dev_exceptions v1 = make_v1(&a, texts[i]);
            const char *want = expected_list(&a, &v1), *got;
            struct err e = ERR_INIT;

            cr_assert_eq(cg_dev_v1_apply(cgroup, &v1, &e), 0, "\"%s\": %s", texts[i], e.text);
            got = shown_list(&a, cgroup, &v1);
            cr_expect(str_eq(got, want), "\"%s\": expected \"%s\", got \"%s\"", texts[i], want,
                      got);
        }
    }
}

/* Stale denials of "allow all but" must not survive, though devices.list does not show them. */
Test(devices, kernel_v1_hidden_denials, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);
    static const char *const lists[] = {"+a *:* rwm, -c 240:1 w, -c 1:5 r",
                                        "+a *:* rwm, -c 240:0 rwm", "+a *:* rwm, -b 240:0 m"};

    dev_make_nodes();
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_exceptions v1 = make_v1(&a, lists[i]);

        cr_assert(v1.allow_all, "\"%s\"", lists[i]);
        for (int twice = 0; twice < 2; twice++) {
            cr_assert_eq(cg_dev_v1_apply(cgroup, &v1, NULL), 0);
            dev_check_kernel_verdicts(cgroup, lists[i]);
        }
    }
}

/* A process that uses a device which both lists allow, by different rules, never sees EPERM. */
Test(devices, kernel_v1_additions_first, .fini = dev_remove_made)
{
    struct {
        volatile bool ready, stop;
        volatile unsigned long opened, denied;
    } *shared = dev_share(sizeof *shared);
    autofd cgroup = dev_make_cgroup(false);
    autoarena a = ARENA_INIT;
    struct cg_dev_exceptions lists[] = {make_v1(&a, "+c 1:3 rwm, +c 240:1 rwm"),
                                        make_v1(&a, "+c *:3 rw, +b 240:1 rwm"),
                                        make_v1(&a, "+c 1:* rw, +c 1:9 m")};
    pid_t child;

    dev_make_nodes();
    cr_assert_eq(cg_dev_v1_apply(cgroup, &lists[0], NULL), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dev_enter(cgroup);
        shared->ready = true;
        while (!shared->stop) {
            shared->denied += dev_probe_one(0, CG_DEV_R | CG_DEV_W) == EPERM;
            shared->opened++;
        }
        _exit(0);
    }
    while (!shared->ready && waitpid(child, NULL, WNOHANG) == 0)
        io_sleep_ms(1);
    for (int round = 0; round < 2000; round++) {
        struct err e = ERR_INIT;

        if (cg_dev_v1_apply(cgroup, &lists[round % 3], &e) < 0)
            cr_expect_fail("round %d: %s", round, e.text);
    }
    shared->stop = true;
    waitpid(child, NULL, 0);
    cr_expect(shared->opened > 0 && shared->denied == 0, "opened %lu times, denied %lu times",
              shared->opened, shared->denied);
}

/* The parent decides what a child may have; children keep their parent from changing sides. */
Test(devices, kernel_v1_parent, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(false);
    autofd child = FD_NONE;
    autoarena a = ARENA_INIT;
    struct cg_dev_exceptions some = make_v1(&a, "+c 1:3 r, +c 1:5 rwm");
    struct cg_dev_exceptions less = make_v1(&a, "+c 1:5 r"), more = make_v1(&a, "+c 1:3 rw");
    struct cg_dev_exceptions all = make_v1(&a, "+a *:* rwm, -c 1:3 r");
    struct err e = ERR_INIT;

    cr_assert_eq(cg_dev_v1_apply(cgroup, &some, NULL), 0);
    cr_assert_eq(mkdirat(cgroup, "child", 0755), 0, "%m");
    child = openat(cgroup, "child", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_expect(str_eq(shown_list(&a, child, &some), "c 1:3 r, c 1:5 rwm"),
              "a new cgroup has its parent's list, got \"%s\"", shown_list(&a, child, &some));

    cr_expect_eq(cg_dev_v1_apply(child, &less, &e), 0, "%s", e.text);
    cr_expect(str_eq(shown_list(&a, child, &less), "c 1:5 r"), "got \"%s\"",
              shown_list(&a, child, &less));

    cr_expect_eq(cg_dev_v1_apply(child, &more, &e), -EPERM);
    cr_expect(strstr(e.text, "writing \"c 1:3 rw\" to devices.allow: EPERM") &&
                  strstr(e.text, "parent"),
              "got \"%s\"", e.text);
    err_reset(&e);
    cr_expect_eq(cg_dev_v1_apply(child, &all, &e), -EPERM);
    cr_expect(strstr(e.text, "writing \"a\" to devices.allow: EPERM"), "got \"%s\"", e.text);
    err_reset(&e);
    cr_expect_eq(cg_dev_v1_apply(cgroup, &all, &e), -EINVAL);
    cr_expect(strstr(e.text, "remove the child cgroups first"), "got \"%s\"", e.text);
    /* The list itself can still change, and narrows the child. */
    cr_expect_eq(cg_dev_v1_apply(cgroup, &more, NULL), 0);
    cr_expect(str_eq(shown_list(&a, child, &more), ""), "got \"%s\"", shown_list(&a, child, &more));
    cr_expect_eq(unlinkat(cgroup, "child", AT_REMOVEDIR), 0, "%m");
}
