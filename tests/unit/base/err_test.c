/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>

Test(err, first_wins)
{
    struct err e = ERR_INIT;

    cr_expect_eq(err_set(&e, -ENOENT, "first %d", 1), -ENOENT);
    cr_expect_eq(err_set(&e, -EPERM, "second"), -EPERM, "the new code is returned");
    cr_expect_eq(err_sys(&e, -EACCES, "third"), -EACCES, "the new code is returned");
    cr_expect_eq(err_input(&e, "fourth"), -EINVAL, "the new code is returned");
    cr_expect(e.code == -ENOENT && !e.bad_input && str_eq(e.text, "first 1"),
              "expected -ENOENT \"first 1\"; got %d, input %d, \"%s\"", e.code, e.bad_input,
              e.text);
    err_reset(&e);
    cr_expect(e.code == 0 && !e.bad_input && str_eq(e.text, ""), "reset; got %d \"%s\"", e.code,
              e.text);
    cr_expect_eq(err_input(&e, "bad %s", "thing"), -EINVAL);
    cr_expect(e.code == -EINVAL && e.bad_input && str_eq(e.text, "bad thing"),
              "expected input error \"bad thing\"; got %d, input %d, \"%s\"", e.code, e.bad_input,
              e.text);
    err_reset(&e);
    cr_expect_not(e.bad_input, "reset clears the input flag");
    /* a later error of another kind must not inherit the flag */
    e.bad_input = true;
    err_set(&e, -EIO, "x");
    cr_expect_not(e.bad_input, "err_set is no input error");
}

Test(err, null)
{
    cr_expect_eq(err_set(NULL, -ENOENT, "x"), -ENOENT);
    cr_expect_eq(err_sys(NULL, -EPERM, "x"), -EPERM);
    cr_expect_eq(err_input(NULL, "x"), -EINVAL);
    err_wrap(NULL, "x");
    err_hint(NULL, "x");
    err_reset(NULL);
}

Test(err, sys_text)
{
    static const struct {
        int code;
        const char *want;
    } cases[] = {
        {-ENOENT, "open /x: ENOENT (No such file or directory)"},
        {-EBUSY, "open /x: EBUSY (Device or resource busy)"},
        {-EOPNOTSUPP, "open /x: EOPNOTSUPP (Operation not supported)"},
        {-4000, "open /x: errno 4000"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        int r = err_sys(&e, cases[i].code, "open /%c", 'x');
        bool text_ok = str_eq(e.text, cases[i].want);

        /* ENOTSUP and EOPNOTSUPP are one number on Linux: either name is right */
        if (cases[i].code == -EOPNOTSUPP)
            text_ok = text_ok || str_eq(e.text, "open /x: ENOTSUP (Operation not supported)");
        cr_expect(r == cases[i].code && e.code == cases[i].code && !e.bad_input && text_ok,
                  "%d: expected \"%s\"; got %d, \"%s\"", cases[i].code, cases[i].want, r, e.text);
    }
}

Test(err, name)
{
    char buf[96];

    cr_expect_str_eq(err_name(ENOENT, buf), "ENOENT (No such file or directory)");
    cr_expect_str_eq(err_name(-ENOENT, buf), "ENOENT (No such file or directory)");
    cr_expect_str_eq(err_name(-99999, buf), "errno 99999");
}

Test(err, wrap_and_hint)
{
    struct err e = ERR_INIT;

    err_wrap(&e, "ctx");
    err_hint(&e, "hint");
    cr_expect(e.code == 0 && str_eq(e.text, ""), "no error, no text; got \"%s\"", e.text);
    err_set(&e, -EIO, "inner");
    err_wrap(&e, "step %d", 2);
    err_hint(&e, "; try %s", "again");
    err_wrap(&e, "outer");
    cr_expect(e.code == -EIO && str_eq(e.text, "outer: step 2: inner; try again"), "got %d \"%s\"",
              e.code, e.text);
}

/* Every way to put text in must cut at the buffer and keep the NUL. */
Test(err, truncation)
{
    char longer[2 * ERR_TEXT_SIZE];

    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    for (int way = 0; way < 5; way++) {
        struct err e = ERR_INIT;

        switch (way) {
        case 0:
            err_set(&e, -EIO, "%s", longer);
            break;
        case 1:
            err_sys(&e, -EIO, "%s", longer);
            break;
        case 2:
            err_input(&e, "%s", longer);
            break;
        case 3:
            err_set(&e, -EIO, "aa");
            err_wrap(&e, "%s", longer);
            break;
        default:
            err_set(&e, -EIO, "aa");
            err_hint(&e, "%s", longer);
        }
        cr_expect_eq(strlen(e.text), ERR_TEXT_SIZE - 1, "way %d: expected %d bytes, got %zu", way,
                     ERR_TEXT_SIZE - 1, strlen(e.text));
        cr_expect_eq(strspn(e.text, "a"), strlen(e.text), "way %d: got \"%s\"", way, e.text);
    }
}
