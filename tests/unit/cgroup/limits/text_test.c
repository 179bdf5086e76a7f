/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/text.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>

static const struct {
    const char *text;
    int number, bytes; /* what comes back */
    uint64_t value;    /* in bytes */
} numbers[] = {
    {"0", 0, 0, 0},
    {"10", 0, 0, 10},
    {"18446744073709551615", 0, 0, UINT64_MAX},
    {"18446744073709551616", -ERANGE, -ERANGE, 0},
    {"", -EINVAL, -EINVAL, 0},
    {"-1", -EINVAL, -EINVAL, 0},
    {"max", -EINVAL, -EINVAL, 0},
    /* octal and hexadecimal ones to the kernel */
    {"00", -EINVAL, -EINVAL, 0},
    {"010", -EINVAL, -EINVAL, 0},
    {"0x10", -EINVAL, -EINVAL, 0},
    {"010K", -EINVAL, -EINVAL, 0},
    {"1K", -EINVAL, 0, 1024},
    {"1k", -EINVAL, 0, 1024},
    {"2M", -EINVAL, 0, 2097152},
    {"1G", -EINVAL, 0, 1073741824},
    {"1T", -EINVAL, 0, 1099511627776},
    {"1P", -EINVAL, 0, 1125899906842624},
    {"15E", -EINVAL, 0, UINT64_C(15) << 60},
    {"16E", -EINVAL, -ERANGE, 0},
    {"K", -EINVAL, -EINVAL, 0},
    {"1KK", -EINVAL, -EINVAL, 0},
    {"1X", -EINVAL, -EINVAL, 0},
};

Test(limit_text, numbers)
{
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        const struct cg_text t = {.s = numbers[i].text, .len = strlen(numbers[i].text)};
        uint64_t n = 7, bytes = 7;

        cr_expect_eq(cg_text_number(t, &n), numbers[i].number, "%s: %" PRIu64, t.s, n);
        cr_expect(numbers[i].number < 0 || n == numbers[i].value, "%s: %" PRIu64, t.s, n);
        cr_expect_eq(cg_text_bytes(t, &bytes), numbers[i].bytes, "%s: %" PRIu64, t.s, bytes);
        cr_expect(numbers[i].bytes < 0 || bytes == numbers[i].value, "%s: %" PRIu64, t.s, bytes);
    }
}

/* Only as much of a text as it says. */
Test(limit_text, parts)
{
    struct cg_text rest = cg_text_trim(" \t max  100000\n");
    struct cg_text first = cg_text_field(&rest), second = cg_text_field(&rest);
    uint64_t n = 0;

    cr_expect(cg_text_is_unlimited(first, true) && cg_text_is_unlimited(first, false));
    cr_expect(cg_text_number(second, &n) == 0 && n == 100000, "%" PRIu64, n);
    cr_expect_eq(cg_text_field(&rest).len, 0);
    cr_expect_not(cg_text_is_unlimited((struct cg_text){"-1", 2}, true));
    cr_expect(cg_text_is_unlimited((struct cg_text){"-1", 2}, false));
    cr_expect_not(cg_text_is_unlimited((struct cg_text){"maxi", 4}, true));
    cr_expect(cg_text_is_unlimited((struct cg_text){"maxi", 3}, true));
    cr_expect_not(cg_text_is_unlimited((struct cg_text){"max", 2}, true));
}
