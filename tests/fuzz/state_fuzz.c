/* SPDX-License-Identifier: Apache-2.0 */

/* What a hook gets on stdin. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "hook/plan/stage.h"
#include "oci/state.h"
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

/* The texts that two documents are written as are equal. */
static void expect_same(const struct oci_input *one, const struct oci_input *other)
{
    struct json_writer *x = json_writer_new(false), *y = json_writer_new(false);

    json_write_table(x, NULL, &oci_state_table, &one->state);
    json_write_table(y, NULL, &oci_state_table, &other->state);
    FUZZ_CHECK(str_eq(json_writer_text(x, NULL), json_writer_text(y, NULL)), "%s, read again: %s",
               json_writer_text(x, NULL), json_writer_text(y, NULL));
    json_writer_free(x);
    json_writer_free(y);
}

/* As one object with the members "state" and "config", which is the other form of the same. */
static void read_again(const struct oci_input *in)
{
    autoarena a = ARENA_INIT;
    struct json_writer *w = json_writer_new(true);
    struct oci_input again = {0};
    struct err e = ERR_INIT;
    const char *text;
    size_t len;
    int r;

    json_open_object(w, NULL);
    json_write_table(w, "state", &oci_state_table, &in->state);
    if (in->has_config)
        json_write_table(w, "config", &oci_config_table, &in->config);
    json_close_object(w);
    text = json_writer_text(w, &len);
    r = oci_input_read(fuzz_file(text, len), NULL, &a, &again, &e);
    FUZZ_CHECK(r == 0, "what was read cannot be read again: %s: %s", e.text, text);
    FUZZ_CHECK(again.has_config == in->has_config, "config.json comes or goes: %s", text);
    json_writer_free(w);
    expect_same(in, &again);
}

bool fuzz_state(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    struct oci_input in = {0};
    struct err e = ERR_INIT, stage_error = ERR_INIT;
    int fd = fuzz_file(data, len), r = oci_input_read(fd, NULL, &a, &in, &e);
    enum stage stage = STAGE_NONE;

    fuzz_check_result(r, &e);
    FUZZ_CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)len, "not all was read; result %d", r);
    if (r < 0)
        return false;
    FUZZ_CHECK(!str_empty(in.state.id), "a state without an id was taken");
    read_again(&in);
    r = stage_from_state(&in.state, &stage, &stage_error);
    fuzz_check_result(r, &stage_error);
    FUZZ_CHECK(r < 0 || stage != STAGE_NONE, "no stage");
    return true;
}
