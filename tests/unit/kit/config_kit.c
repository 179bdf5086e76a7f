/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/config_kit.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>

int kit_read_config(const char *text, size_t len, size_t chunk, struct oci_config *ret,
                    struct arena *a, struct err *e)
{
    struct json_doc doc = {.table = &oci_config_table, .dest = ret};

    return json_read_text(text, len, &doc, 1, chunk, "config.json", a, e);
}

/* The text that a config document is written as. The writer is the caller's. */
const char *kit_written(struct json_writer *w, const struct oci_config *config)
{
    json_write_table(w, NULL, &oci_config_table, config);
    return json_writer_text(w, NULL);
}

void kit_expect_config(const char *input, const char *want)
{
    autoarena a = ARENA_INIT;
    struct json_writer *w = json_writer_new(false);
    struct oci_config config = {0};
    struct err e = ERR_INIT;
    int r = kit_read_config(input, strlen(input), 0, &config, &a, &e);
    const char *got = kit_written(w, &config);

    cr_expect(r == 1 && str_eq(got, want), "input:    %s\nexpected: %s\ngot:      %d, %s %s", input,
              want, r, got, e.text);
    json_writer_free(w);
}

void kit_expect_config_refused(const char *input, const char *want)
{
    autoarena a = ARENA_INIT;
    struct oci_config config = {0};
    struct err e = ERR_INIT;
    int r = kit_read_config(input, strlen(input), 0, &config, &a, &e);

    cr_expect(r == -EINVAL && e.bad_input && str_eq(e.text, want),
              "input:    %s\nexpected: %s\ngot:      %d, %s", input, want, r, e.text);
}
