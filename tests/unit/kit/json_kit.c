/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/json_kit.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>

static const struct json_field strict_fields[] = {
    JSON_F_STRING("text", struct kit_sample, text),
    JSON_F_BOOL("flag", struct kit_sample, flag),
    JSON_F_I64("num", struct kit_sample, num, -5, 10),
};
static const struct json_table kit_strict_table = {.fields = strict_fields,
                                                   .count = ARRAY_SIZE(strict_fields),
                                                   .size = sizeof(struct kit_sample),
                                                   .strict = true};

static const struct json_field sample_fields[] = {
    JSON_F_STRING("text", struct kit_sample, text),
    JSON_F_BOOL("flag", struct kit_sample, flag),
    JSON_F_I64("num", struct kit_sample, num, -5, 10),
    JSON_F_I64("any", struct kit_sample, any, INT64_MIN, UINT64_MAX),
    JSON_F_U64("size", struct kit_sample, size, 100),
    JSON_F_U64("huge", struct kit_sample, huge, UINT64_MAX),
    JSON_F_OBJECT("o", struct kit_sample, one, &kit_sample_table),
    JSON_F_OBJECT_LIST("m", struct kit_sample, many, &kit_sample_table),
    JSON_F_STRING_LIST("names", struct kit_sample, names),
    JSON_F_I64_LIST("nums", struct kit_sample, nums, -5, 10),
    JSON_F_STRING_MAP("map", struct kit_sample, map),
    JSON_F_OBJECT("strict", struct kit_sample, tight, &kit_strict_table),
};
const struct json_table kit_sample_table = {
    .fields = sample_fields, .count = ARRAY_SIZE(sample_fields), .size = sizeof(struct kit_sample)};

const char *kit_shown(const char *input, size_t len)
{
    static char part[512], buf[2048];

    if (len >= sizeof part)
        len = sizeof part - 1;
    memcpy(part, input, len);
    part[len] = '\0';
    return str_escape(part, buf, sizeof buf);
}

int kit_parse(const char *input, size_t len, size_t chunk, struct kit_sample *ret, struct arena *a,
              struct err *e)
{
    struct json_doc doc = {.table = &kit_sample_table, .dest = ret, .name = "doc"};

    return json_read_text(input, len, &doc, 1, chunk, "in", a, e);
}

void kit_expect_refused(const char *input, size_t len, const char *want)
{
    for (size_t chunk = 0; chunk <= KIT_MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct kit_sample s = {0};
        struct err e = ERR_INIT;
        int r = kit_parse(input, len, chunk, &s, &a, &e);

        cr_expect(r == -EINVAL && e.code == -EINVAL && e.bad_input && str_eq(e.text, want),
                  "chunk %zu\ninput:    %s\nexpected: %s\ngot:      %d, %s", chunk,
                  kit_shown(input, len), want, r, e.text);
    }
}

void kit_expect_reads(const char *input, size_t len, const char *want)
{
    for (size_t chunk = 0; chunk <= KIT_MAX_CHUNK; chunk++) {
        autoarena a = ARENA_INIT;
        struct json_writer *w = json_writer_new(false);
        struct kit_sample s = {0};
        struct err e = ERR_INIT;
        int r = kit_parse(input, len, chunk, &s, &a, &e);
        size_t written;
        const char *got;

        json_write_table(w, NULL, &kit_sample_table, &s);
        got = json_writer_text(w, &written);
        cr_expect(r == 1 && written == strlen(want) && str_eq(got, want),
                  "chunk %zu\ninput:    %s\nexpected: 1, %s\ngot:      %d, %s %s", chunk,
                  kit_shown(input, len), want, r, got, e.text);
        json_writer_free(w);
    }
}

void kit_expect_all_refused(const struct kit_text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kit_expect_refused(cases[i].input, cases[i].len, cases[i].want);
}

void kit_expect_all_read(const struct kit_text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kit_expect_reads(cases[i].input, cases[i].len,
                         cases[i].want ? cases[i].want : cases[i].input);
}
