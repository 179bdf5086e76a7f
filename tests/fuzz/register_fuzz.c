/* SPDX-License-Identifier: Apache-2.0 */

/* Entries of ours in a config.json: put in and taken out again, nothing has changed. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/tool/register.h"
#include "oci/config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static int edit(const char *text, size_t len, bool put_in, struct arena *a,
                struct register_result *ret, struct err *e)
{
    struct register_request request = {.program = put_in ? "/usr/libexec/" REGISTER_PROGRAM : NULL};

    if (put_in && len % 2)
        JSON_APPEND(a, request.options, const char *) = "--layout=nested";
    return register_edit(text, len, "config.json", &request, a, ret, e);
}

/* The same edit again changes nothing, and says so. */
static void expect_settled(const struct register_result *result, bool put_in, size_t seed,
                           struct arena *a)
{
    struct register_request request = {.program = put_in ? "/usr/libexec/" REGISTER_PROGRAM : NULL};
    struct register_result again;
    struct err e = ERR_INIT;

    if (put_in && seed % 2)
        JSON_APPEND(a, request.options, const char *) = "--layout=nested";
    FUZZ_CHECK(register_edit(result->text, result->len, "config.json", &request, a, &again, &e) ==
                   0,
               "%s: %s", e.text, result->text);
    FUZZ_CHECK(!again.changed && again.len == result->len &&
                   memcmp(again.text, result->text, again.len) == 0,
               "a second edit: %s, after %s", again.text, result->text);
}

static bool is_absent(const struct register_result *result)
{
    for (size_t i = 0; i < REGISTER_STAGES; i++) {
        if (!str_eq(result->actions[i], "absent"))
            return false;
    }
    return true;
}

/* null is the same as absent, and does not come back. Only what is in `hooks` is touched, whose name may be escaped. */
static bool may_lose_null(const char *text)
{
    const char *hooks = strchr(text, '\\') ? text : strstr(text, "hooks");

    return hooks && strstr(hooks, "null");
}

static void expect_both(const char *text, size_t len, const struct register_result *in,
                        struct arena *a)
{
    struct register_result bare, out;
    struct err e = ERR_INIT;

    FUZZ_CHECK(edit(text, len, false, a, &bare, &e) == 0, "cannot be taken out: %s", e.text);
    expect_settled(&bare, false, len, a);
    FUZZ_CHECK(edit(in->text, in->len, false, a, &out, &e) == 0, "cannot be taken out: %s", e.text);
    expect_settled(&out, false, len, a);
    FUZZ_CHECK(!strstr(out.text, "\"/usr/libexec/" REGISTER_PROGRAM "\"") || strstr(text, "usr"),
               "an entry is left: %s", out.text);
    if (is_absent(&bare) && !may_lose_null(text))
        FUZZ_CHECK(out.len == len && memcmp(out.text, text, len) == 0,
                   "put in and taken out: %s, before: %s", out.text, text);
}

bool fuzz_register(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    const char *text = fuzz_text(&a, data, len);
    struct register_result in = {0};
    struct err e = ERR_INIT;
    int r = edit(text, len, true, &a, &in, &e);

    fuzz_check_result(r, &e);
    if (r < 0)
        return false;
    FUZZ_CHECK(in.len == strlen(in.text), "%zu bytes are said to be %zu", strlen(in.text), in.len);
    expect_settled(&in, true, len, &a);
    expect_both(text, len, &in, &a);
    return true;
}
