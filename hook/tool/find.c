/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/find.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/tool/called.h"

#include <errno.h>

#define SHOWN_MAX    5  /* candidates */
#define DISTANCE_MAX 64 /* of longer words nobody looks for the nearest */

/* ---- pure ---- */

static bool is_among(const struct find_word *found, size_t count, const char *sandbox_id)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(found[i].sandbox_id, sandbox_id))
            return true;
    }
    return false;
}

static size_t match(const struct find_words *words, const char *wanted, bool names, struct arena *a,
                    struct find_word **ret)
{
    struct find_word *found = NULL;
    size_t count = 0;

    for (size_t i = 0; i < words->count; i++) {
        const struct find_word *w = &words->items[i];

        if (w->is_name != names ||
            !(names ? str_eq(w->text, wanted) : str_starts(w->text, wanted)) ||
            is_among(found, count, w->sandbox_id))
            continue;
        ARENA_APPEND(a, found, count) = *w;
    }
    *ret = found;
    return count;
}

size_t find_match(const struct find_words *words, const char *wanted, struct arena *a,
                  struct find_word **ret)
{
    size_t count = match(words, wanted, true, a, ret);

    return count > 0 ? count : match(words, wanted, false, a, ret);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters have to be put in, taken out or changed. */
static unsigned distance(const char *a, const char *b)
{
    size_t length = strlen(b);
    unsigned row[DISTANCE_MAX + 1];

    for (unsigned k = 0; k <= length; k++)
        row[k] = k;
    for (unsigned i = 0; a[i]; i++) {
        unsigned corner = row[0];

        row[0] = i + 1;
        for (size_t k = 0; k < length; k++) {
            unsigned change = corner + (a[i] != b[k]);

            corner = row[k + 1];
            row[k + 1] = least(change, least(corner, row[k]) + 1);
        }
    }
    return row[length];
}

const char *find_nearest(const struct find_words *words, const char *wanted)
{
    size_t length = strlen(wanted);
    unsigned best = (unsigned)(length / 3) + 1;
    const char *ret = NULL;

    for (size_t i = 0; i < words->count && length <= DISTANCE_MAX; i++) {
        const char *text = words->items[i].text;
        unsigned far = strlen(text) <= DISTANCE_MAX ? distance(wanted, text) : best;

        if (far < best) {
            best = far;
            ret = text;
        }
    }
    return ret;
}

/* ---- of the state directory ---- */

static void add_word(struct find_words *words, struct arena *a, const char *text,
                     const char *sandbox_id, const char *names, bool is_name)
{
    if (text)
        ARENA_APPEND(a, words->items, words->count) =
            (struct find_word){arena_strdup(a, text), sandbox_id, names, is_name};
}

static int add_record(struct find_words *words, struct arena *a, const char *id,
                      const struct record *r, struct err *e)
{
    struct names names;
    const char *text;
    int ret = called_sandbox(r, a, &names, e);

    text = names_text(&names, a);
    add_word(words, a, id, id, text, false);
    for (size_t i = 0; ret == 0 && i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        ret = called_container(c, a, &names, e);
        add_word(words, a, c->id, id, text, false);
        add_word(words, a, names.container, id, text, true);
        add_word(words, a, names.pod, id, text, true);
    }
    return ret;
}

/* One that cannot be read may have any name. */
static int add_sandbox(const struct state_dir *s, const char *id, struct arena *a,
                       struct find_words *words, struct err *e)
{
    struct state_lock look = STATE_LOCK_INIT;
    struct err own = ERR_INIT;
    enum record_state found;
    struct record record;
    autoarena mine = ARENA_INIT;
    char shown[300];
    int r = state_look(s, id, &look, &own);

    if (r == 0)
        r = record_read(&look, &mine, &record, &found, &own);
    if (r == 0 && found != RECORD_VALID)
        record.containers = (struct json_list){0};
    if (r == 0)
        r = add_record(words, a, id, &record, &own);
    state_unlock(&look);
    if (r < 0 && r != -ENOENT)
        return err_set(e, r,
                       "sandbox %s: %s; give a whole id, as it is not known what this one is "
                       "called",
                       str_escape(id, shown, sizeof shown), own.text);
    return 0;
}

static int say_several(const struct find_word *found, size_t count, const char *wanted,
                       struct err *e)
{
    autosbuf text = SBUF_INIT;
    char id[100], names[100], shown[100];

    for (size_t i = 0; i < count && i < SHOWN_MAX; i++) {
        sbuf_addf(&text, "%s%s", i > 0 ? ", " : "", str_escape(found[i].sandbox_id, id, sizeof id));
        if (*found[i].names)
            sbuf_addf(&text, " (%s)", str_escape(found[i].names, names, sizeof names));
    }
    if (count > SHOWN_MAX)
        sbuf_addf(&text, " and %zu more", count - SHOWN_MAX);
    return err_set(e, -ENOTUNIQ, "\"%s\" may be each of %s",
                   str_escape(wanted, shown, sizeof shown), sbuf_text(&text));
}

static int say_none(const struct find_words *words, const char *wanted, const char *state_dir,
                    struct err *e)
{
    const char *nearest = find_nearest(words, wanted);
    char shown[300], near[100];

    str_escape(wanted, shown, sizeof shown);
    if (!nearest)
        return err_set(e, -ENOENT,
                       "there is no sandbox \"%s\" under %s; `list` shows those there are", shown,
                       state_dir);
    return err_set(e, -ENOENT,
                   "there is no sandbox \"%s\" under %s; is \"%s\" meant? `list` shows those there "
                   "are",
                   shown, state_dir, str_escape(nearest, near, sizeof near));
}

int find_sandbox(const struct state_dir *s, const char *wanted, const char *state_dir,
                 struct arena *a, const char **ret_id, struct err *e)
{
    struct find_words words = {0};
    struct find_word *found;
    const char **ids = NULL;
    size_t count = 0;
    int r = state_list(s, a, &ids, &count, e);

    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_sandbox(s, ids[i], a, &words, e);
    if (r < 0)
        return r;
    count = find_match(&words, wanted, a, &found);
    if (count == 0)
        return say_none(&words, wanted, state_dir, e);
    if (count > 1)
        return say_several(found, count, wanted, e);
    *ret_id = found[0].sandbox_id;
    return 0;
}
