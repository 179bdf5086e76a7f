/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/signals.h"

#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

Test(signals, parse)
{
    const struct {
        const char *text;
        int want; /* 0: refused */
    } rows[] = {
        {"KILL", SIGKILL},
        {"SIGKILL", SIGKILL},
        {"sigterm", SIGTERM},
        {"Usr1", SIGUSR1},
        {"9", 9},
        {"1", 1},
        {"64", 64},
        {"RTMIN", SIGRTMIN},
        {"SIGRTMIN+3", SIGRTMIN + 3},
        {"RTMAX", SIGRTMAX},
        {"RTMAX-2", SIGRTMAX - 2},
        {"", 0},
        {"SIG", 0},
        {"0", 0},
        {"65", 0},
        {"-9", 0},
        {"4294967305", 0}, /* 9 in 32 bits */
        {"KILLED", 0},
        {"KIL", 0},
        {"RTMIN-1", 0},
        {"RTMIN+", 0},
        {"RTMIN+31", 0},
        {"RTMAX+1", 0},
        {"RTMINx", 0},
        {" KILL", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int got = 0, r = signals_parse(rows[i].text, &got);

        cr_expect_eq(r, rows[i].want ? 0 : -EINVAL, "\"%s\": got %d", rows[i].text, r);
        cr_expect(r < 0 || got == rows[i].want, "\"%s\": got %d", rows[i].text, got);
    }
}

Test(signals, name)
{
    char buf[SIGNALS_NAME_SIZE];

    cr_expect_str_eq(signals_name(SIGKILL, buf), "KILL");
    cr_expect_str_eq(signals_name(SIGRTMIN, buf), "RTMIN");
    cr_expect_str_eq(signals_name(SIGRTMAX, buf), "RTMIN+30");
    cr_expect_str_eq(signals_name(SIGRTMIN - 1, buf), "33");
}

/* What is printed is understood. */
Test(signals, there_and_back)
{
    char buf[SIGNALS_NAME_SIZE];

    for (int i = 1; i <= SIGRTMAX; i++) {
        int got = 0;

        cr_expect(signals_parse(signals_name(i, buf), &got) == 0 && got == i, "%d: %s, %d", i, buf,
                  got);
    }
}
