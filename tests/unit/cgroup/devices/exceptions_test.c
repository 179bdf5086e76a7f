/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/exceptions.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/devices/devices.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(v1_form, rows)
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
        struct cg_dev_table table = dev_compile(&a, &rules);
        struct cg_dev_exceptions v1 = {0};
        struct err e = ERR_INIT;
        int r = cg_dev_exceptions_make(&table, &a, &v1, &e);
        const char *got = e.text;
        bool same;

        if (r == 0)
            got = arena_printf(&a, "%s: %s", v1.allow_all ? "allow" : "deny",
                               dev_entries_text(&a, v1.exceptions, v1.count));
        same = r == 0 ? str_eq(got, cases[i].want) : strstr(got, cases[i].want) != NULL;
        cr_expect(r == cases[i].result && same, "\"%s\": expected %d \"%s\", got %d \"%s\"",
                  cases[i].rules, cases[i].result, cases[i].want, r, got);
    }
}

/* @count devices of major numbers from 1 on, and @rest. */
static int make_many(struct arena *a, unsigned count, const char *rest,
                     struct cg_dev_exceptions *ret, struct err *e)
{
    autosbuf text = SBUF_INIT;
    struct cg_dev_rules rules;
    struct cg_dev_table table;

    for (unsigned i = 0; i < count; i++)
        sbuf_addf(&text, "+c %u:%u rw, ", 1 + i / 256, i % 256);
    sbuf_addf(&text, "%s", rest);
    rules = dev_make_rules(a, sbuf_text(&text));
    table = dev_compile(a, &rules);
    return cg_dev_exceptions_make(&table, a, ret, e);
}

/* Those that a wider one covers do not count. */
Test(v1_form, too_many)
{
    autoarena a = ARENA_INIT;
    struct cg_dev_exceptions v1;
    struct err e = ERR_INIT;

    cr_expect_eq(make_many(&a, CG_DEV_EXCEPTIONS_MAX - 1, "+b 8:0 r", &v1, &e), 0, "%s", e.text);
    cr_expect_eq(v1.count, CG_DEV_EXCEPTIONS_MAX);
    cr_expect_eq(make_many(&a, CG_DEV_EXCEPTIONS_MAX, "+b 8:0 r", &v1, &e), -E2BIG);
    cr_expect(strstr(e.text, "needs 4097 rules"), "%s", e.text);
    cr_expect_eq(make_many(&a, 2 * CG_DEV_EXCEPTIONS_MAX, "+c *:* rw", &v1, NULL), 0);
    cr_expect_eq(v1.count, 1);
    cr_expect_eq(make_many(&a, CG_DEV_EXCEPTIONS_MAX, "+a *:* rwm, -c 300:1 r", &v1, NULL), 0);
    cr_expect_eq(v1.count, 1);
}

/* Whether an exception with these bits for all devices that match the pattern would be right. */
static bool exception_fits(const struct cg_dev_rules *rules, char type, int64_t major,
                           int64_t minor, uint8_t bits, uint8_t flip)
{
    for (uint32_t n = 0; n < DEV_NUMBERS * DEV_NUMBERS; n++) {
        uint32_t ma = n / DEV_NUMBERS, mi = n % DEV_NUMBERS;

        if ((major == CG_DEV_ANY || major == ma) && (minor == CG_DEV_ANY || minor == mi) &&
            bits & ~(dev_bits_of(rules, type, ma, mi) ^ flip))
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

    for (uint32_t n = 0; n < 2 * DEV_NUMBERS * DEV_NUMBERS; n++) {
        char type = n % 2 ? 'b' : 'c';
        uint32_t major = n / 2 / DEV_NUMBERS, minor = n / 2 % DEV_NUMBERS;
        uint8_t bits = dev_bits_of(rules, type, major, minor) ^ flip;
        bool served = bits == 0;

        for (unsigned wild = 0; wild < 4 && !served; wild++) {
            if ((!(wild & 1) && major == DEV_NUMBERS - 1) ||
                (!(wild & 2) && minor == DEV_NUMBERS - 1))
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
        struct dev_request q;
        unsigned cursor = 0;
        bool differs = false;

        without.exceptions = arena_alloc(a, v1->count * sizeof *v1->exceptions);
        for (size_t i = 0, k = 0; i < v1->count; i++) {
            if (i != skip)
                without.exceptions[k++] = v1->exceptions[i];
        }
        while (!differs && dev_next_request(&cursor, &q))
            differs = dev_v1_allows(v1, q.type, q.major, q.minor, q.access) !=
                      dev_v1_allows(&without, q.type, q.major, q.minor, q.access);
        /* A denial may be the sum of two wider ones. */
        cr_assert(differs || v1->allow_all, "exception %zu of \"%s\" does nothing", skip,
                  dev_entries_text(a, v1->exceptions, v1->count));
    }
}

/* Lists with something to take away from, so that each form is the answer often enough. */
static struct cg_dev_rules random_v1_rules(struct arena *a, int round)
{
    struct cg_dev_rules rules = dev_random_rules(a, round % 2 ? 4 : 8, round % 4 == 0);

    if (round % 4 != 0 && rules.count > 0)
        rules.items[0] = (struct cg_dev_rule){true, "abc"[round % 3], CG_DEV_ANY, CG_DEV_ANY,
                                              (uint8_t)(round % 5 ? CG_DEV_RWM : CG_DEV_M)};
    for (size_t i = 1; round % 4 == 1 && i < rules.count; i++)
        rules.items[i].allow = false;
    return rules;
}

Test(v1_form, property_v1)
{
    unsigned denying = 0, allowing = 0, none = 0;

    dev_random_state = 88675123u;
    for (int round = 0; round < 8000; round++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = random_v1_rules(&a, round);
        struct cg_dev_table table = dev_compile(&a, &rules);
        bool deny_form = form_exists(&rules, false), allow_form = form_exists(&rules, true);
        struct cg_dev_exceptions v1 = {0};
        struct dev_request q;
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
        while (dev_next_request(&cursor, &q)) {
            bool want = cg_dev_rules_allow(&rules, q.type, q.major, q.minor, q.access);

            cr_assert_eq(dev_v1_allows(&v1, q.type, q.major, q.minor, q.access), want,
                         "\"%s\", request %c %u:%u %u: expected %d, got %d from %s \"%s\"",
                         dev_rules_text(&a, &rules), q.type, q.major, q.minor, q.access, want,
                         !want, v1.allow_all ? "allow" : "deny",
                         dev_entries_text(&a, v1.exceptions, v1.count));
        }
        check_v1_is_minimal(&a, &v1);
    }
    cr_assert(denying > 1000 && allowing > 500 && none > 500,
              "too few of one kind: deny %u, allow %u, none %u", denying, allowing, none);
}
