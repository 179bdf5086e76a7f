/* SPDX-License-Identifier: Apache-2.0 */

/* A sandbox's record: what is read from it is written so that it reads back the same. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "hook/sandbox/record.h"
#include "hook/sandbox/state_dir.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static char *written(const struct record *record, struct arena *a)
{
    struct json_writer *w = json_writer_new(false);
    char *text;

    record_write_json(w, NULL, record);
    text = arena_strdup(a, json_writer_text(w, NULL));
    json_writer_free(w);
    return text;
}

static void expect_questions(const struct record *record, struct arena *a)
{
    const char *names[RECORD_NAMES_MAX];
    size_t count = record_names(record, a, names);

    FUZZ_CHECK(count <= RECORD_NAMES_MAX && (!record_is_nested(record) || count == 0), "%zu",
               count);
    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(names[i], "name %zu", i);
    for (size_t i = 0; i < record->containers.count; i++) {
        const struct record_container *c = &JSON_AT(record->containers, struct record_container, i);

        FUZZ_CHECK(record_find(record, c->id), "%s is not found", c->id);
        FUZZ_CHECK(record_process_id(c->init).pid >= 0, "%s has the process %d", c->id,
                   (int)record_process_id(c->init).pid);
    }
}

bool fuzz_record(const uint8_t *data, size_t len)
{
    const struct state_lock lock = {.dirfd = fuzz_dir(), .lock_fd = FD_NONE};
    autoarena a = ARENA_INIT;
    enum record_state state = RECORD_NONE;
    struct record record, again;
    struct err e = ERR_INIT;
    const char *text;
    int r;

    fuzz_dir_write(RECORD_FILE, data, len);
    r = record_read(&lock, &a, &record, &state, &e);
    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == 0 || r == -EPROTO, "%d: %s", r, e.text);
    FUZZ_CHECK(r < 0 || state != RECORD_NONE, "there is a file, and no record");
    if (r < 0)
        return false;
    expect_questions(&record, &a);
    r = record_write(&lock, &a, &record, &e);
    FUZZ_CHECK(r == 0, "what was read cannot be written: %s", e.text);
    text = written(&record, &a);
    r = record_read(&lock, &a, &again, &state, &e);
    FUZZ_CHECK(r == 0 && state == RECORD_VALID, "what was written cannot be read: %s: %s", e.text,
               text);
    FUZZ_CHECK(str_eq(text, written(&again, &a)), "%s, read again: %s", text, written(&again, &a));
    return true;
}
