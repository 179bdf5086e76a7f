/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/cpulist.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(cpulist, .fini = drop_arena);

static const char *format(const struct cg_cpulist *set)
{
    autosbuf out = SBUF_INIT;

    cg_cpulist_format(set, &out);
    return arena_strdup(&arena, sbuf_text(&out));
}

Test(cpulist, round_trip)
{
    static const struct {
        const char *text, *want;
        unsigned count;
    } cases[] = {
        {"", "", 0},
        {"0", "0", 1},
        {"8", "8", 1},
        {"63", "63", 1},
        {"64", "64", 1},
        {"1023", "1023", 1},
        {"8191", "8191", 1},
        {"0-8191", "0-8191", 8192},
        {"8190-8191", "8190-8191", 2},
        {"63-64", "63-64", 2},
        {"0,8,63,64,1023,8191", "0,8,63-64,1023,8191", 6},
        {"0-3,8", "0-3,8", 5},
        {"8,0-3", "0-3,8", 5},
        {"1,2", "1-2", 2},
        {"1,3", "1,3", 2},
        {"5-5", "5", 1},
        {"0-3,2-5", "0-5", 6},
        {"1,1,1", "1", 1},
        {"007", "7", 1},
        {"0-62,64-127", "0-62,64-127", 127},
        /* the kernel takes blanks behind a comma, and so do runtimes */
        {"1, 3", "1,3", 2},
        {"0-1,   5-6, 8", "0-1,5-6,8", 5},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_cpulist set = {0}, again = {0};
        int r = cg_cpulist_parse(cases[i].text, &set);
        const char *got = format(&set);

        cr_expect(r == 0 && str_eq(got, cases[i].want) && cg_cpulist_count(&set) == cases[i].count,
                  "\"%s\": expected \"%s\", %u; got %d \"%s\", %u", cases[i].text, cases[i].want,
                  cases[i].count, r, got, cg_cpulist_count(&set));
        cr_expect(cg_cpulist_parse(got, &again) == 0 && memcmp(&set, &again, sizeof set) == 0,
                  "\"%s\" reads back as the same set", got);
    }
}

Test(cpulist, every_number)
{
    for (unsigned n = 0; n < CG_CPULIST_MAX; n++) {
        struct cg_cpulist set = {0};
        char text[16];

        snprintf(text, sizeof text, "%u", n);
        cr_assert_eq(cg_cpulist_parse(text, &set), 0, "%s", text);
        cr_assert_eq(set.bits[n / 64], UINT64_C(1) << n % 64, "%u: the kernel's bit", n);
        cr_assert_eq(cg_cpulist_count(&set), 1, "%u: only that one", n);
        cr_assert(cg_cpulist_has(&set, n) && !cg_cpulist_has(&set, n + 1) &&
                      (n == 0 || !cg_cpulist_has(&set, n - 1)),
                  "%u", n);
    }
}

Test(cpulist, has_beyond)
{
    struct cg_cpulist set = {0};

    cr_assert_eq(cg_cpulist_parse("0-8191", &set), 0);
    cr_expect(cg_cpulist_has(&set, 8191) && !cg_cpulist_has(&set, 8192) &&
              !cg_cpulist_has(&set, UINT_MAX));
}

Test(cpulist, errors)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"8192", -ERANGE},       {"0-8192", -ERANGE}, {"99999999999999999999999", -ERANGE},
        {"4294967296", -ERANGE}, {"3-1", -ERANGE},    {"1-0", -ERANGE},
        {",", -EINVAL},          {"1,", -EINVAL},     {",1", -EINVAL},
        {"1,,2", -EINVAL},       {"-", -EINVAL},      {"1-", -EINVAL},
        {"-1", -EINVAL},         {"1-2-3", -EINVAL},  {"1--2", -EINVAL},
        {"1 ", -EINVAL},         {" 1", -EINVAL},     {"1 ,2", -EINVAL},
        {"1, ", -EINVAL},        {"1, ,2", -EINVAL},  {"1,\t2", -EINVAL},
        {"1 2", -EINVAL},        {"1\n", -EINVAL},    {"a", -EINVAL},
        {"0x1", -EINVAL},        {"+1", -EINVAL},     {"0-3:1/2", -EINVAL},
        {"all", -EINVAL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_cpulist set = {0};
        int r = cg_cpulist_parse(cases[i].text, &set);

        cr_expect_eq(r, cases[i].result, "\"%s\": expected %d, got %d", cases[i].text,
                     cases[i].result, r);
        cr_expect_not(cg_cpulist_is_list(cases[i].text), "%s", cases[i].text);
    }
}

Test(cpulist, lists)
{
    cr_expect(cg_cpulist_is_list("0"));
    cr_expect(cg_cpulist_is_list("0-3, 8"));
    cr_expect_not(cg_cpulist_is_list(""));
}

Test(cpulist, union)
{
    static const struct {
        const char *a, *b, *want;
    } cases[] = {
        {"", "", ""},
        {"0", "", "0"},
        {"", "0", "0"},
        {"0-3", "2-5", "0-5"},
        {"0,2", "1,3", "0-3"},
        {"63", "64", "63-64"},
        {"8191", "0", "0,8191"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_cpulist a = {0}, b = {0}, both = {0};

        cr_assert_eq(cg_cpulist_parse(cases[i].a, &a), 0);
        cr_assert_eq(cg_cpulist_parse(cases[i].b, &b), 0);
        cg_cpulist_add(&a, &b);
        cr_expect(str_eq(format(&a), cases[i].want), "%s + %s: expected \"%s\", got \"%s\"",
                  cases[i].a, cases[i].b, cases[i].want, format(&a));
        cr_expect_str_eq(format(&b), cases[i].b, "the other one is left alone");
        /* parsing adds to what is there */
        cr_assert_eq(cg_cpulist_parse(cases[i].a, &both), 0);
        cr_assert_eq(cg_cpulist_parse(cases[i].b, &both), 0);
        cr_expect_str_eq(format(&both), cases[i].want);
    }
}

Test(cpulist, format_appends)
{
    autosbuf out = SBUF_INIT;
    struct cg_cpulist set = {0};

    cr_assert_eq(cg_cpulist_parse("1,5-6", &set), 0);
    sbuf_addf(&out, "cpus ");
    cg_cpulist_format(&set, &out);
    cr_expect_str_eq(sbuf_text(&out), "cpus 1,5-6");
}

Test(cpulist, remove_and_intersect)
{
    static const struct {
        const char *set, *other, *rest, *both;
    } rows[] = {
        {"0-3", "1-2", "0,3", "1-2"}, {"0-3", "4", "0-3", ""},
        {"1", "0-3", "", "1"},        {"", "0-3", "", ""},
        {"0-3", "", "0-3", ""},       {"0-1,8190-8191", "1,8191", "0,8190", "1,8191"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cg_cpulist rest = {0}, both = {0}, other = {0};
        autosbuf rest_text = SBUF_INIT, both_text = SBUF_INIT;

        cr_assert_eq(cg_cpulist_parse(rows[i].set, &rest), 0);
        cr_assert_eq(cg_cpulist_parse(rows[i].set, &both), 0);
        cr_assert_eq(cg_cpulist_parse(rows[i].other, &other), 0);
        cg_cpulist_remove(&rest, &other);
        cg_cpulist_format(&rest, &rest_text);
        cr_expect_str_eq(sbuf_text(&rest_text), rows[i].rest);
        cg_cpulist_intersect(&both, &other);
        cg_cpulist_format(&both, &both_text);
        cr_expect_str_eq(sbuf_text(&both_text), rows[i].both);
    }
}

/* Each range against the numbers in it, around the edges of words. */
Test(cpulist, ranges)
{
    static const unsigned edges[] = {0,   1,   62,  63,  64,   65,   127,
                                     128, 129, 191, 192, 8127, 8128, 8191};

    for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
        for (size_t j = i; j < ARRAY_SIZE(edges); j++) {
            struct cg_cpulist set = {0};
            const char *text = arena_printf(&arena, "%u-%u", edges[i], edges[j]);

            cr_assert_eq(cg_cpulist_parse(text, &set), 0);
            for (unsigned n = 0; n < CG_CPULIST_MAX; n++)
                cr_assert_eq(cg_cpulist_has(&set, n), n >= edges[i] && n <= edges[j], "%s: %u",
                             text, n);
        }
    }
}
