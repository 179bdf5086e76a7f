/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/quota.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <inttypes.h>

#define NONE(period)                                                                               \
    {                                                                                              \
        -1, period                                                                                 \
    }

static const struct {
    const char *text;
    struct quota want;
} texts[] = {
    {"max 100000", NONE(100000)},
    {"max 99999", NONE(99999)},
    {"50000 100000", {50000, 100000}},
    {"50000 100000\n", {50000, 100000}},
    {"max 1\n", NONE(1)},
    {"1 1", {1, 1}},
    {"9223372036854775807 18446744073709551615", {INT64_MAX, UINT64_MAX}},
};

Test(quota, read)
{
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct quota got = {0};

        cr_expect(quota_parse(texts[i].text, &got), "input: \"%s\": refused", texts[i].text);
        cr_expect(got.us == texts[i].want.us && got.period_us == texts[i].want.period_us,
                  "input:    \"%s\"\ngot:      %" PRId64 " in %" PRIu64, texts[i].text, got.us,
                  got.period_us);
    }
}

/* Each reads back as it was, and the longest has room. */
Test(quota, written)
{
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        char buf[QUOTA_TEXT_SIZE];
        size_t len = strcspn(texts[i].text, "\n");

        cr_expect_eq(quota_format(&texts[i].want, buf), buf);
        cr_expect(strlen(buf) == len && strncmp(buf, texts[i].text, len) == 0,
                  "expected: %.*s\ngot:      %s", (int)len, texts[i].text, buf);
    }
}

Test(quota, garbage)
{
    static const char *const garbage[] = {
        "",
        "\n",
        " ",
        "max",
        "max\n",
        "max ",
        "max \n",
        "max max",
        "max 0",
        "max -1",
        "max 100000 ",
        "max 100000\n\n",
        "max  100000",
        " max 100000",
        "maximum 100000",
        "mas 100000",
        "ma 100000",
        "50000",
        "50000\n",
        "0 100000",
        "-1 100000",
        "50000 0",
        "50000 -1",
        "50000 100000 1",
        "50000,100000",
        "50000\n100000",
        "9223372036854775808 100000",
        "50000 18446744073709551616",
    };

    for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
        struct quota got = {7, 8};

        cr_expect_not(quota_parse(garbage[i], &got), "input: \"%s\": taken", garbage[i]);
        cr_expect(got.us == 7 && got.period_us == 8, "input: \"%s\": written", garbage[i]);
    }
}

Test(quota, is_lifted)
{
    static const struct {
        struct quota q;
        bool want;
    } rows[] = {
        {NONE(99999), true},      {{60000, 99999}, true},   {NONE(100000), false},
        {NONE(99998), false},     {{99999, 100000}, false}, {{-1, QUOTA_LIFTED_PERIOD_US}, true},
        {{50000, 100000}, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(quota_is_lifted(&rows[i].q), rows[i].want, "row %zu", i);
}

Test(quota, compared_by_ratio)
{
    static const struct {
        struct quota a, b;
        int want;
    } rows[] = {
        {{50000, 100000}, {50000, 100000}, 0},
        {{50000, 100000}, {25000, 50000}, 0},
        {{50000, 100000}, {50001, 100000}, -1},
        {{50000, 100000}, {50000, 100001}, 1},
        {{60000, 100000}, {10000, 10000}, -1},
        {{60000, 100000}, {10000, 20000}, 1},
        {{50000, 100000}, NONE(100000), -1},
        {{INT64_MAX, 1}, NONE(100000), -1},
        {NONE(100000), NONE(1), 0},
        /* which 64 bits cannot hold */
        {{INT64_MAX, UINT64_MAX}, {INT64_MAX, UINT64_MAX - 1}, -1},
        {{INT64_MAX - 1, UINT64_MAX}, {INT64_MAX, UINT64_MAX}, -1},
        {{INT64_C(1) << 44, 1000000}, {(INT64_C(1) << 44) + 1, 1000000}, -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int there = quota_compare(&rows[i].a, &rows[i].b);
        int back = quota_compare(&rows[i].b, &rows[i].a);

        cr_expect((there > 0) - (there < 0) == rows[i].want, "row %zu: %d", i, there);
        cr_expect((back > 0) - (back < 0) == -rows[i].want, "row %zu, exchanged: %d", i, back);
    }
}

Test(quota, least)
{
    static const struct {
        struct quota items[3];
        size_t count;
        const char *want;
    } rows[] = {
        {{{50000, 100000}}, 1, "50000 100000"},
        {{{53000, 100000}, {30000, 100000}}, 2, "30000 100000"},
        {{{30000, 100000}, {53000, 100000}}, 2, "30000 100000"},
        {{NONE(100000), {53000, 100000}, NONE(100000)}, 3, "53000 100000"},
        {{{53000, 100000}, NONE(100000)}, 2, "53000 100000"},
        {{{50000, 100000}, {25000, 50000}}, 2, "50000 100000"},
        {{{60000, 100000}, {30000, 100000}, {10000, 50000}}, 3, "10000 50000"},
        /* only those that are counted */
        {{{60000, 100000}, {30000, 100000}, {10000, 50000}}, 2, "30000 100000"},
        {{NONE(250000), NONE(99999)}, 2, "max 100000"},
        {{{0}}, 0, "max 100000"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct quota got = quota_least(rows[i].items, rows[i].count);
        char buf[QUOTA_TEXT_SIZE];

        cr_expect_str_eq(quota_format(&got, buf), rows[i].want, "row %zu: %s", i, buf);
    }
}

Test(quota, lifted_with_an_overhead)
{
    static const struct {
        struct quota least, overhead;
        const char *want;
    } rows[] = {
        {{50000, 100000}, NONE(100000), "max 99999"},
        {NONE(100000), {25000, 100000}, "max 99999"},
        {NONE(100000), NONE(100000), "max 99999"},
        {{99999, 99999}, {1000, 99999}, "100999 99999"},
        /* 49999.5 and 24999.75 */
        {{50000, 100000}, {25000, 100000}, "75000 99999"},
        {{100000, 100000}, {50000, 50000}, "199998 99999"},
        /* 0.2 of each: more than nothing, but the kernel wants 1000 */
        {{1000, 1000000}, {1000, 1000000}, "1000 99999"},
        {{1, UINT64_MAX}, {1, UINT64_MAX}, "1000 99999"},
        {{500, 99999}, {500, 99999}, "1000 99999"},
        {{500, 99999}, {501, 99999}, "1001 99999"},
        {{QUOTA_MAX_US - 1000, 99999}, {1000, 99999}, "17592186044415 99999"},
        {{QUOTA_MAX_US - 1001, 99999}, {1000, 99999}, "17592186044414 99999"},
        {{QUOTA_MAX_US - 999, 99999}, {1000, 99999}, "17592186044415 99999"},
        {{INT64_MAX, 1}, {INT64_MAX, 1}, "17592186044415 99999"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct quota got = quota_sum_lifted(&rows[i].least, &rows[i].overhead);
        char buf[QUOTA_TEXT_SIZE];

        cr_expect_str_eq(quota_format(&got, buf), rows[i].want, "row %zu: %s", i, buf);
        cr_expect(quota_is_lifted(&got), "row %zu", i);
    }
}

Test(quota, lifted_without_an_overhead)
{
    static const struct quota least[] = {{50000, 100000}, NONE(100000)};

    for (size_t i = 0; i < ARRAY_SIZE(least); i++) {
        struct quota got = quota_sum_lifted(&least[i], NULL);

        cr_expect(got.us == -1 && got.period_us == 99999, "row %zu", i);
    }
}

Test(quota, weight)
{
    static const struct {
        size_t vcpus;
        unsigned want;
    } rows[] = {{0, 100},     {1, 100},     {2, 200},      {3, 300},         {99, 9900},
                {100, 10000}, {101, 10000}, {1024, 10000}, {SIZE_MAX, 10000}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_eq(quota_vcpu_weight(rows[i].vcpus), rows[i].want, "%zu vCPUs: %u", rows[i].vcpus,
                     quota_vcpu_weight(rows[i].vcpus));
}
