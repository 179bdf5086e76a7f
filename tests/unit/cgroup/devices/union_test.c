/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Device lists of the containers of one pod as one: against a model that asks every list for every
 * bit, in each of the forms that the list is put into force in.
 */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"
#include "cgroup/devices/devices.h"
#include "tests/unit/kit/bpf_interp.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>
#include <errno.h>

#define MAX_LISTS 4
#define NUMBERS   5 /* the last one stands for all that no rule names */

static const uint32_t small_numbers[] = {0, 1, 2, 3, 4};
static const uint32_t edge_numbers[] = {0, 1, 2147483647, 2147483648, 4294967294};

struct pod {
    struct arena *a;
    uint32_t seed;
    const uint32_t *numbers;
    size_t count;
    struct cg_dev_rules lists[MAX_LISTS];
    struct cg_dev_table table; /* the union */
};

struct request {
    char type;
    uint32_t major, minor;
    uint8_t access;
};

/* All requests of the small world. Returns false behind the last. */
static bool next_request(const struct pod *p, unsigned *cursor, struct request *ret)
{
    unsigned n = (*cursor)++;

    *ret = (struct request){.type = n % 2 ? 'b' : 'c',
                            .major = p->numbers[n / 2 % NUMBERS],
                            .minor = p->numbers[n / 2 / NUMBERS % NUMBERS],
                            .access = (uint8_t)(1 + n / 2 / NUMBERS / NUMBERS)};
    return ret->access <= CG_DEV_RWM;
}

/* The model: each bit that is asked for, by any list. */
static bool any_allows(const struct pod *p, const struct request *q)
{
    for (uint8_t bit = CG_DEV_R; bit <= CG_DEV_M; bit = (uint8_t)(bit << 1)) {
        bool allowed = !(q->access & bit);

        for (size_t i = 0; i < p->count; i++)
            allowed = allowed || cg_dev_rules_allow(&p->lists[i], q->type, q->major, q->minor, bit);
        if (!allowed)
            return false;
    }
    return true;
}

static const char *show(const struct pod *p)
{
    const char *text = arena_printf(p->a, "seed %u", p->seed);

    for (size_t i = 0; i < p->count; i++)
        text =
            arena_printf(p->a, "%s\n  list %zu: %s", text, i, dev_rules_text(p->a, &p->lists[i]));
    return text;
}

static int64_t random_number(const uint32_t *numbers)
{
    uint32_t n = dev_random_below(NUMBERS);

    return n ? (int64_t)numbers[n - 1] : CG_DEV_ANY;
}

/* Most lists begin as runtimes' do, with "deny all". */
static struct cg_dev_rules random_list(struct pod *p)
{
    struct cg_dev_rules rules = {0};
    bool allow_only = dev_random_below(2) == 0;

    if (dev_random_below(4) > 0)
        cg_dev_rules_add(p->a, &rules,
                         (struct cg_dev_rule){false, 'a', CG_DEV_ANY, CG_DEV_ANY, CG_DEV_RWM});
    for (uint32_t n = dev_random_below(7); n > 0; n--)
        cg_dev_rules_add(p->a, &rules,
                         (struct cg_dev_rule){.allow = allow_only || dev_random_below(3) > 0,
                                              .type = "abc"[dev_random_below(3)],
                                              .major = random_number(p->numbers),
                                              .minor = random_number(p->numbers),
                                              .access = (uint8_t)(1 + dev_random_below(7))});
    return rules;
}

static struct pod random_pod(struct arena *a, uint32_t seed)
{
    struct pod p = {.a = a, .seed = seed, .numbers = seed % 3 ? small_numbers : edge_numbers};
    struct cg_dev_table tables[MAX_LISTS];
    struct err e = ERR_INIT;

    /* Neighbouring seeds give xorshift neighbouring numbers to begin with. */
    dev_random_state = seed * 2654435761u + 1;
    for (int i = 0; i < 8; i++)
        (void)dev_random_below(2);
    p.count = 1 + dev_random_below(MAX_LISTS);
    for (size_t i = 0; i < p.count; i++) {
        p.lists[i] = random_list(&p);
        cr_assert_eq(cg_dev_compile(&p.lists[i], a, &tables[i], &e), 0, "%s: %s", show(&p), e.text);
    }
    cr_assert_eq(cg_dev_union(tables, p.count, a, &p.table, &e), 0, "%s: %s", show(&p), e.text);
    return p;
}

static void expect(const struct pod *p, const struct request *q, bool got, const char *form)
{
    bool want = any_allows(p, q);

    cr_assert_eq(got, want, "%s\n%s, request %c %u:%u %u: expected %d, got %d", show(p), form,
                 q->type, q->major, q->minor, q->access, want, got);
}

#define ROUNDS 4000

Test(union, table)
{
    for (uint32_t seed = 1; seed <= ROUNDS; seed++) {
        autoarena a = ARENA_INIT;
        const struct pod p = random_pod(&a, seed);
        struct request q;
        unsigned cursor = 0;

        while (next_request(&p, &cursor, &q))
            expect(&p, &q, dev_table_allows(&p.table, q.type, q.major, q.minor, q.access), "table");
    }
}

/* What one container may do alone it may do in the pod, also with several bits at once. */
Test(union, no_container_loses)
{
    for (uint32_t seed = 1; seed <= ROUNDS; seed++) {
        autoarena a = ARENA_INIT;
        const struct pod p = random_pod(&a, seed);
        struct request q;
        unsigned cursor = 0;

        while (next_request(&p, &cursor, &q)) {
            for (size_t i = 0; i < p.count; i++)
                cr_assert(!cg_dev_rules_allow(&p.lists[i], q.type, q.major, q.minor, q.access) ||
                              dev_table_allows(&p.table, q.type, q.major, q.minor, q.access),
                          "%s\nrequest %c %u:%u %u: list %zu allows it, the union does not",
                          show(&p), q.type, q.major, q.minor, q.access, i);
        }
    }
}

Test(union, v1_form)
{
    unsigned expressed = 0, refused = 0;

    for (uint32_t seed = 1; seed <= ROUNDS; seed++) {
        autoarena a = ARENA_INIT;
        const struct pod p = random_pod(&a, seed);
        struct err e = ERR_INIT;
        struct cg_dev_exceptions form;
        struct request q;
        unsigned cursor = 0;
        int r = cg_dev_exceptions_make(&p.table, &a, &form, &e);

        if (r == -ENOTSUP) {
            refused++;
            continue;
        }
        cr_assert_eq(r, 0, "%s: %s", show(&p), e.text);
        expressed++;
        while (next_request(&p, &cursor, &q))
            expect(&p, &q, dev_v1_allows(&form, q.type, q.major, q.minor, q.access), "v1 form");
    }
    cr_expect(expressed > ROUNDS / 3 && refused > 0, "%u expressed, %u refused", expressed,
              refused);
}

Test(union, program)
{
    for (uint32_t seed = 1; seed <= ROUNDS; seed++) {
        autoarena a = ARENA_INIT;
        const struct pod p = random_pod(&a, seed);
        struct cg_bpf_program program = {0};
        struct err e = ERR_INIT;
        struct request q;
        unsigned cursor = 0;
        char error[128];

        cr_assert_eq(cg_bpf_device_program(&p.table, &a, &program, &e), 0, "%s: %s", show(&p),
                     e.text);
        cr_assert_eq(bpf_interp_check(program.insns, program.count, error, sizeof error), 0,
                     "%s: %s", show(&p), error);
        while (next_request(&p, &cursor, &q))
            expect(&p, &q, dev_program_allows(&program, q.type, q.major, q.minor, q.access, NULL),
                   "program");
    }
}

/* Which container came first makes no difference. */
Test(union, order)
{
    for (uint32_t seed = 1; seed <= ROUNDS; seed++) {
        autoarena a = ARENA_INIT;
        const struct pod p = random_pod(&a, seed);
        struct cg_dev_table tables[MAX_LISTS], turned = {0};
        struct err e = ERR_INIT;

        for (size_t i = 0; i < p.count; i++)
            cr_assert_eq(cg_dev_compile(&p.lists[p.count - 1 - i], &a, &tables[i], &e), 0);
        cr_assert_eq(cg_dev_union(tables, p.count, &a, &turned, &e), 0);
        if (p.count == 1)
            continue;
        cr_assert(turned.count == p.table.count &&
                      memcmp(turned.items, p.table.items, turned.count * sizeof *turned.items) == 0,
                  "%s", show(&p));
    }
}

/* Rules on this many majors, or minors, alone. */
static struct cg_dev_table many_lines(struct arena *a, char type, bool majors)
{
    struct cg_dev_rules rules = {0};
    struct cg_dev_table table;
    struct err e = ERR_INIT;

    for (uint32_t n = 0; n < 300; n++)
        cg_dev_rules_add(a, &rules,
                         (struct cg_dev_rule){.allow = true,
                                              .type = type,
                                              .major = majors ? (int64_t)n : CG_DEV_ANY,
                                              .minor = majors ? CG_DEV_ANY : (int64_t)n,
                                              .access = CG_DEV_R | CG_DEV_W});
    cr_assert_eq(cg_dev_compile(&rules, a, &table, &e), 0, "%s", e.text);
    return table;
}

/* @text  with 't' for the type; it does not allow @holes devices that no other list names */
static struct cg_dev_table compile_for(struct arena *a, const char *text, char type, uint32_t holes)
{
    char *own = arena_strdup(a, text);
    struct cg_dev_rules rules;
    struct cg_dev_table table;
    struct err e = ERR_INIT;

    for (char *p = own; *p; p++)
        *p = *p == 't' ? type : *p;
    rules = dev_make_rules(a, own);
    for (uint32_t n = 0; n < holes; n++)
        cg_dev_rules_add(a, &rules, (struct cg_dev_rule){false, type, 1000 + n, 1000, CG_DEV_RWM});
    cr_assert_eq(cg_dev_compile(&rules, a, &table, &e), 0, "%s", e.text);
    return table;
}

/* Lists that cannot be said together are fine beside a wider one, wherever it is. */
static void check_wide(const char *wide, size_t at, char type, uint32_t holes, int want)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_table tables[4], united;
    struct err e = ERR_INIT;
    int r;

    for (size_t n = 0; n < ARRAY_SIZE(tables); n++)
        tables[n] = n == at ? compile_for(&a, wide, type, holes) : many_lines(&a, type, n % 2);
    r = cg_dev_union(tables, ARRAY_SIZE(tables), &a, &united, &e);
    cr_assert(r == want && e.code == want, "%s at %zu, %c: expected %d, got %d, %d %s", wide, at,
              type, want, r, e.code, e.text);
    if (r == 0)
        cr_expect(dev_table_allows(&united, type, 400, 400, CG_DEV_R | CG_DEV_W), "%s at %zu, %c",
                  wide, at, type);
}

Test(union, too_many_classes_but_for_a_wider_list)
{
    static const struct {
        const char *wide;
        uint32_t holes;
        int want;
    } cases[] = {
        {"+a *:* rwm", 0, 0},
        {"-a *:* rwm, +t *:* rwm", 0, 0},
        {"-a *:* rwm, +t *:* rw", 0, 0},
        /* the widest may be the longest */
        {"-a *:* rwm, +t *:* rwm", 400, 0},
        /* of these it leaves too much */
        {"-a *:* rwm, +t *:* r", 0, -E2BIG},
        {"-a *:* rwm, +t 1:3 rwm", 0, -E2BIG},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (size_t at = 0; at < 4; at++) {
            check_wide(cases[i].wide, at, 'c', cases[i].holes, cases[i].want);
            check_wide(cases[i].wide, at, 'b', cases[i].holes, cases[i].want);
        }
    }
}

/*
 * A list that v1 cannot express is fine beside one whose wildcard covers it: when that container
 * leaves, there is no form for what is left.
 */
Test(union, inexpressible_when_one_leaves)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_rules wide = dev_make_rules(&a, "-a *:* rwm, +c *:* rwm");
    struct cg_dev_rules hole = dev_make_rules(&a, "-a *:* rwm, +c 1:* rw, -c 1:3 w");
    struct cg_dev_table tables[2], both;
    struct err e = ERR_INIT;
    struct cg_dev_exceptions form;

    cr_assert_eq(cg_dev_compile(&hole, &a, &tables[0], &e), 0);
    cr_assert_eq(cg_dev_compile(&wide, &a, &tables[1], &e), 0);
    cr_assert_eq(cg_dev_union(tables, 2, &a, &both, &e), 0);
    cr_expect_eq(cg_dev_exceptions_make(&both, &a, &form, &e), 0, "%s", e.text);
    cr_expect_eq(cg_dev_exceptions_make(&tables[0], &a, &form, &e), -ENOTSUP);
}
