/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/units.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/controller.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MOST_MS    (24ull * 60 * 60 * 1000)
#define MOST_BYTES (1ull << 50)

/* Three digits are shown at least, so that small differences are seen. */
static const char *print_scaled(double value, const char *unit, char *buf)
{
    snprintf(buf, UNITS_SIZE,
             value < 10    ? "%.2f %s"
             : value < 100 ? "%.1f %s"
                           : "%.0f %s",
             value, unit);
    return buf;
}

const char *units_bytes(uint64_t bytes, char buf[static UNITS_SIZE])
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t i = 0;

    if (bytes == CG_UNKNOWN)
        return strcpy(buf, "-");
    if (bytes < 1024) {
        snprintf(buf, UNITS_SIZE, "%" PRIu64 " B", bytes);
        return buf;
    }
    for (; value >= 1024 && i + 1 < ARRAY_SIZE(names); i++)
        value /= 1024;
    return print_scaled(value, names[i], buf);
}

const char *units_seconds(uint64_t us, char buf[static UNITS_SIZE])
{
    return us == CG_UNKNOWN ? strcpy(buf, "-") : print_scaled((double)us / 1e6, "s", buf);
}

const char *units_count(uint64_t n, char buf[static UNITS_SIZE])
{
    if (n == CG_UNKNOWN)
        return strcpy(buf, "-");
    snprintf(buf, UNITS_SIZE, "%" PRIu64, n);
    return buf;
}

uint64_t units_share(uint64_t part, uint64_t whole)
{
    if (part == CG_UNKNOWN || whole == CG_UNKNOWN || whole == 0)
        return CG_UNKNOWN;
    return (uint64_t)((double)part * 10000 / (double)whole + 0.5);
}

const char *units_percent(uint64_t hundredths, char buf[static UNITS_SIZE])
{
    if (hundredths == CG_UNKNOWN)
        return strcpy(buf, "-");
    snprintf(buf, UNITS_SIZE, "%.1f %%", (double)hundredths / 100);
    return buf;
}

/* Digits, with one point between them or none: in thousandths, of which more digits are dropped. */
static int parse_thousandths(const char *text, size_t len, uint64_t *ret)
{
    size_t whole = strcspn(text, ".");
    uint64_t thousandths = 0;
    int r;

    if (whole >= len) {
        r = str_to_u64(text, len, ret);
        whole = len;
    } else {
        r = str_to_u64(text, whole, ret);
        if (r == 0 && whole + 1 == len)
            r = -EINVAL;
    }
    for (size_t i = whole + 1, unit = 100; r == 0 && i < len; i++, unit /= 10) {
        if (!isdigit((unsigned char)text[i]))
            return -EINVAL;
        thousandths += (uint64_t)(text[i] - '0') * unit;
    }
    if (r < 0 || *ret > MOST_MS)
        return r < 0 ? r : -ERANGE;
    *ret = *ret * 1000 + thousandths;
    return 0;
}

int units_parse_time(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *suffix;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60ull * 1000}, {"h", 60ull * 60 * 1000}};
    size_t len = strspn(text, "0123456789."), i = 0;
    uint64_t thousandths, ms = 1000;
    int r;

    if (text[len]) {
        while (i < ARRAY_SIZE(units) && !str_eq(text + len, units[i].suffix))
            i++;
        if (i == ARRAY_SIZE(units))
            return -EINVAL;
        ms = units[i].ms;
    }
    r = parse_thousandths(text, len, &thousandths);
    if (r < 0)
        return r;
    *ret_ms = thousandths * ms / 1000;
    return *ret_ms == 0 || *ret_ms > MOST_MS ? -ERANGE : 0;
}

int units_parse_bytes(const char *text, uint64_t *ret)
{
    static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti"};
    size_t len = strspn(text, "0123456789"), i = 0;
    const char *unit = text + len;
    uint64_t number;
    int r = str_to_u64(text, len, &number);

    while (i < ARRAY_SIZE(names) &&
           !(str_starts(unit, names[i]) &&
             (!unit[strlen(names[i])] || (i > 0 && str_eq(unit + 2, "B")))))
        i++;
    if (i == ARRAY_SIZE(names) || r == -EINVAL)
        return -EINVAL;
    if (r < 0 || number >= MOST_BYTES >> (10 * i))
        return -ERANGE;
    *ret = number << (10 * i);
    return 0;
}
