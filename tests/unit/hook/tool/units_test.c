/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/units.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/controller.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>

Test(units, bytes)
{
    static const struct {
        uint64_t n;
        const char *want;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {1536, "1.50 KiB"},
        {10240, "10.0 KiB"},
        {102400, "100 KiB"},
        {1048575, "1024 KiB"},
        {1048576, "1.00 MiB"},
        {3ull << 40, "3.00 TiB"},
        {CG_UNKNOWN - 1, "16.0 EiB"},
        {CG_UNKNOWN, "-"},
    };
    char buf[UNITS_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        cr_expect_str_eq(units_bytes(rows[i].n, buf), rows[i].want);
}

Test(units, seconds_counts_shares)
{
    char buf[UNITS_SIZE];

    cr_expect_str_eq(units_seconds(0, buf), "0.00 s");
    cr_expect_str_eq(units_seconds(1234567, buf), "1.23 s");
    cr_expect_str_eq(units_seconds(12345678, buf), "12.3 s");
    cr_expect_str_eq(units_seconds(123456789, buf), "123 s");
    cr_expect_str_eq(units_seconds(CG_UNKNOWN, buf), "-");
    cr_expect_str_eq(units_count(7, buf), "7");
    cr_expect_str_eq(units_count(CG_UNKNOWN, buf), "-");
    cr_expect_eq(units_share(1, 3), 3333);
    cr_expect_eq(units_share(2, 3), 6667);
    cr_expect_eq(units_share(5, 2), 25000);
    cr_expect_eq(units_share(0, 1), 0);
    cr_expect_eq(units_share(1, 0), CG_UNKNOWN);
    cr_expect_eq(units_share(CG_UNKNOWN, 1), CG_UNKNOWN);
    cr_expect_eq(units_share(1, CG_UNKNOWN), CG_UNKNOWN);
    cr_expect_str_eq(units_percent(1234, buf), "12.3 %");
    cr_expect_str_eq(units_percent(CG_UNKNOWN, buf), "-");
}

Test(units, parse_bytes)
{
    static const struct {
        const char *text;
        int want;
        uint64_t bytes;
    } rows[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"3Ki", 0, 3072},
        {"3KiB", 0, 3072},
        {"512Mi", 0, 512ull << 20},
        {"2GiB", 0, 2ull << 30},
        {"1023Ti", 0, 1023ull << 40},
        {"", -EINVAL, 0},
        {"Mi", -EINVAL, 0},
        {"1B", -EINVAL, 0},
        {"2G", -EINVAL, 0},
        {"2GB", -EINVAL, 0},
        {"2mi", -EINVAL, 0},
        {"2MiBs", -EINVAL, 0},
        {"2MiK", -EINVAL, 0},
        {"1.5Gi", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1024Ti", -ERANGE, 0},
        {"1125899906842624", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t bytes = 0;
        int r = units_parse_bytes(rows[i].text, &bytes);

        cr_expect(r == rows[i].want && (r < 0 || bytes == rows[i].bytes),
                  "\"%s\": expected %d %" PRIu64 ", got %d %" PRIu64, rows[i].text, rows[i].want,
                  rows[i].bytes, r, bytes);
    }
}

Test(units, parse_time)
{
    static const struct {
        const char *text;
        int want;
        uint64_t ms;
    } rows[] = {
        {"1", 0, 1000},
        {"1s", 0, 1000},
        {"500ms", 0, 500},
        {"1.5", 0, 1500},
        {"0.25s", 0, 250},
        {"1.9999s", 0, 1999},
        {"5m", 0, 300000},
        {"24h", 0, 86400000},
        {"0.001", 0, 1},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {".5", -EINVAL, 0},
        {"5.", -EINVAL, 0},
        {"1.2.3", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1d", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"1sx", -EINVAL, 0},
        {"0", -ERANGE, 0},
        {"0.0001", -ERANGE, 0},
        {"25h", -ERANGE, 0},
        {"86400001ms", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t ms = 0;
        int r = units_parse_time(rows[i].text, &ms);

        cr_expect(r == rows[i].want && (r < 0 || ms == rows[i].ms),
                  "\"%s\": expected %d %" PRIu64 ", got %d %" PRIu64, rows[i].text, rows[i].want,
                  rows[i].ms, r, ms);
    }
}
