/* SPDX-License-Identifier: Apache-2.0 */

/* Lists of CPUs, paths of cgroups, names of units: texts that become names of files. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"
#include "cgroup/path.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

/* --- lists of CPUs --- */

/* Kept apart from the stack of each run: a kilobyte each. */
static struct cg_cpulist set, again, rest, both;

static void expect_laws(const char *text)
{
    unsigned count = cg_cpulist_count(&set), seen = 0;

    for (size_t i = 0; i < ARRAY_SIZE(set.bits); i++)
        seen += (unsigned)__builtin_popcountll(set.bits[i]);
    FUZZ_CHECK(seen == count, "%u numbers, counted as %u: %s", seen, count, text);
    rest = both = set;
    cg_cpulist_parse("0-7,64", &again);
    cg_cpulist_remove(&rest, &again);
    cg_cpulist_intersect(&both, &again);
    FUZZ_CHECK(cg_cpulist_count(&rest) + cg_cpulist_count(&both) == count, "%s", text);
    cg_cpulist_add(&rest, &both);
    FUZZ_CHECK(memcmp(&rest, &set, sizeof set) == 0, "%s", text);
}

bool fuzz_cpulist(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    const char *text = fuzz_text(&a, data, len);
    autosbuf out = SBUF_INIT, second = SBUF_INIT;
    int r;

    set = again = (struct cg_cpulist){0};
    r = cg_cpulist_parse(text, &set);
    FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ERANGE, "%d", r);
    if (r < 0)
        return false;
    FUZZ_CHECK(text[strspn(text, "0123456789,- ")] == '\0', "this was taken: %s", text);
    cg_cpulist_format(&set, &out);
    FUZZ_CHECK(cg_cpulist_parse(sbuf_text(&out), &again) == 0, "%s became %s", text,
               sbuf_text(&out));
    FUZZ_CHECK(memcmp(&set, &again, sizeof set) == 0, "%s became %s", text, sbuf_text(&out));
    cg_cpulist_format(&again, &second);
    FUZZ_CHECK(str_eq(sbuf_text(&out), sbuf_text(&second)), "%s, then %s", sbuf_text(&out),
               sbuf_text(&second));
    expect_laws(text);
    return true;
}

/* --- cgroupsPath --- */

static void expect_clean(const char *path, struct arena *a)
{
    struct err e = ERR_INIT;
    char *clean;

    FUZZ_CHECK(cg_path_clean(path, "path", a, &clean, &e) == 0, "%s: %s", path, e.text);
    FUZZ_CHECK(str_eq(path, clean), "%s is not clean: %s", path, clean);
    if (str_eq(path, "/"))
        return;
    FUZZ_CHECK(str_eq(path, cg_path_join(a, cg_path_parent(a, path), cg_path_base(path))) &&
                   cg_path_is_below(path, cg_path_parent(a, path)) &&
                   !cg_path_is_below(path, path) && cg_path_relative(path)[0] != '/',
               "%s", path);
}

static void expect_place(const struct cg_cgroups_path *path, struct arena *a)
{
    struct cg_cgroups_path other;
    struct err e = ERR_INIT;
    char *slice;

    expect_clean(path->parent, a);
    FUZZ_CHECK(cg_name_check(path->name, "name", &e) == 0, "%s", e.text);
    if (path->systemd) {
        FUZZ_CHECK(cg_slice_expand(path->slice, a, &slice, &e) == 0, "%s", e.text);
        FUZZ_CHECK(str_eq(slice, path->parent), "%s in %s", path->slice, path->parent);
        FUZZ_CHECK(!*path->prefix || cg_name_check(path->prefix, "prefix", &e) == 0, "%s", e.text);
        return;
    }
    FUZZ_CHECK(cg_cgroups_path_parse(cg_path_join(a, path->parent, path->name), "c1", NULL, a,
                                     &other, &e) == 0,
               "%s/%s: %s", path->parent, path->name, e.text);
    FUZZ_CHECK(str_eq(other.parent, path->parent) && str_eq(other.name, path->name), "%s and %s",
               path->parent, path->name);
}

/* Lines: cgroupsPath, the container's id, where its process is. */
bool fuzz_cgroups_path(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    char *cursor = fuzz_text(&a, data, len), *process_path = NULL;
    const char *text = str_next(&cursor, '\n'), *id = str_next(&cursor, '\n');
    struct cg_cgroups_path path;
    struct err e = ERR_INIT;
    int r;

    if (!id || cg_name_check(id, "state.id", NULL) < 0)
        id = "c1";
    if (cursor && cg_path_clean(cursor, "process", &a, &process_path, NULL) < 0)
        process_path = NULL;
    r = cg_cgroups_path_parse(text, id, process_path, &a, &path, &e);
    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == 0 || r == -EINVAL, "%d", r);
    if (r == 0)
        expect_place(&path, &a);
    return r == 0;
}

/* --- names of units --- */

static bool try_slice(const char *text, struct arena *a)
{
    struct err e = ERR_INIT;
    char *path, *above;
    int r = cg_slice_expand(text, a, &path, &e);

    fuzz_check_result(r, &e);
    if (r < 0)
        return false;
    expect_clean(path, a);
    if (str_eq(path, "/"))
        return true;
    FUZZ_CHECK(str_eq(cg_path_base(path), text), "%s became %s", text, path);
    above = cg_path_parent(a, path);
    if (str_eq(above, "/"))
        return true;
    FUZZ_CHECK(cg_slice_expand(cg_path_base(above), a, &path, &e) == 0 && str_eq(path, above),
               "%s is in %s", text, above);
    return true;
}

static bool try_path(const char *text, struct arena *a)
{
    struct err e = ERR_INIT;
    char *path;
    int r = cg_path_clean(text, "path", a, &path, &e);

    fuzz_check_result(r, &e);
    if (r == 0)
        expect_clean(path, a);
    return r == 0;
}

bool fuzz_unit_names(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    const char *text = fuzz_text(&a, data, len);
    const char *escaped = cg_unit_escape(&a, text);
    struct err e = ERR_INIT;
    int r = cg_name_check(text, "name", &e);

    fuzz_check_result(r, &e);
    FUZZ_CHECK(escaped[0] != '.' && strlen(escaped) <= 4 * strlen(text), "%s", escaped);
    FUZZ_CHECK(str_eq(escaped, cg_unit_escape(&a, escaped)), "%s", escaped);
    for (const char *p = escaped; *p; p++)
        FUZZ_CHECK(*p > ' ' && *p <= '~' && *p != '/', "%s", escaped);
    if (try_path(text, &a))
        r = 0;
    return try_slice(text, &a) || r == 0;
}
