/* SPDX-License-Identifier: Apache-2.0 */
#include "base/title.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As the kernel lays them out: arguments, environment, all in one piece. */
static char area[] = "hook\0stage\0A=1\0BC=2\0behind";
static char *argv[] = {area, area + 5, NULL};
static char *envp[] = {area + 11, area + 15, NULL};

/* What /proc/PID/cmdline would have. */
static const char *seen(void)
{
    static char text[sizeof area];

    if (area[10] == '\0')
        return strlen(area) == 10 ? area : "the arguments, with what NULs are in them";
    snprintf(text, sizeof text, "%.20s", area);
    return text;
}

static void begin(void)
{
    title_find(2, argv, envp);
}

TestSuite(title, .init = begin);

Test(title, shorter)
{
    title_set("osc");
    cr_expect_str_eq(seen(), "osc");
    cr_expect_null(environ[0]);
}

/* One that ends with them leaves no NUL at their end, so what was behind must not follow. */
Test(title, as_long)
{
    title_set("0123456789a");
    cr_expect_str_eq(seen(), "0123456789a");
}

Test(title, over_the_environment)
{
    title_set("0123456789abc");
    cr_expect_str_eq(seen(), "0123456789abc");
}

Test(title, cut)
{
    title_set("0123456789abcdefghijklmno");
    cr_expect_str_eq(seen(), "0123456789abcdefghi");
    cr_expect_str_eq(area + 20, "behind");
}

/* Who has started us may have put them anywhere. */
Test(title, in_pieces)
{
    static char elsewhere[] = "A=1";
    char *other[] = {elsewhere, NULL};

    title_find(2, argv, other);
    title_set("0123456789abcdef");
    cr_expect_str_eq(seen(), "0123456789");
    cr_expect_str_eq(area + 11, "A=1");
    cr_expect_str_eq(elsewhere, "A=1");
}

Test(title, none)
{
    static char one[] = "";
    char *first[] = {one, NULL}, *no_env[] = {NULL};

    title_find(1, first, no_env);
    title_set("osc");
    cr_expect_str_eq(one, "");
    title_find(0, first + 1, no_env);
    title_set("osc");
    cr_expect_str_eq(one, "");
}
