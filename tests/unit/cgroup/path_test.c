/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/path.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <linux/magic.h>
#include <sys/vfs.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(path, .fini = drop_arena);

Test(path, name_check)
{
    static const struct {
        const char *name;
        const char *want; /* part of the message; NULL: fine */
    } cases[] = {
        {"a", NULL},
        {"...", NULL},
        {".a", NULL},
        {"kata_x:y=z@1", NULL},
        {"with space", NULL},
        {"\xc3\xa4", NULL},
        {"", "what is empty"},
        {".", "\".\" is not allowed"},
        {"..", "\"..\" is not allowed"},
        {"a/b", "slash"},
        {"/", "slash"},
        {"a\nb", "a\\x0ab"},
        {"a\tb", "control"},
        {"\x1f", "control"},
        {"a\x7f", "control"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        int r = cg_name_check(cases[i].name, "what", &e);

        if (!cases[i].want)
            cr_expect_eq(r, 0, "\"%s\": %s", cases[i].name, e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, cases[i].want) &&
                          str_starts(e.text, "what"),
                      "\"%s\": expected -EINVAL \"%s\"; got %d \"%s\"", cases[i].name,
                      cases[i].want, r, e.text);
    }
    cr_expect_eq(cg_name_check(NULL, "what", NULL), -EINVAL);

    char name[257];
    struct err e = ERR_INIT;

    memset(name, 'n', sizeof name);
    name[255] = '\0';
    cr_expect_eq(cg_name_check(name, "what", &e), 0, "255 bytes: %s", e.text);
    name[255] = 'n';
    name[256] = '\0';
    cr_expect(cg_name_check(name, "what", &e) == -EINVAL && strstr(e.text, "256 bytes"),
              "256 bytes: \"%s\"", e.text);
}

Test(path, clean)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: refused */
        const char *error;
    } cases[] = {
        {"/", "/", NULL},
        {"//", "/", NULL},
        {"/./.", "/", NULL},
        {"/a", "/a", NULL},
        {"/a/", "/a", NULL},
        {"//a/./b/", "/a/b", NULL},
        {"/a///b//./c", "/a/b/c", NULL},
        {"/.../..a/b..", "/.../..a/b..", NULL},
        {"/a b/\xc3\xa4", "/a b/\xc3\xa4", NULL},
        {"", NULL, "not an absolute path"},
        {"a/b", NULL, "not an absolute path"},
        {"./a", NULL, "not an absolute path"},
        {"../a", NULL, "not an absolute path"},
        {"/..", NULL, "\"..\""},
        {"/a/..", NULL, "\"..\""},
        {"/a/../b", NULL, "\"..\""},
        {"/a/\n/b", NULL, "\\x0a"},
        {"/a/x\x7f", NULL, "control"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        char *got = NULL;
        int r = cg_path_clean(cases[i].text, "the path", &arena, &got, &e);

        if (cases[i].want)
            cr_expect(r == 0 && got && str_eq(got, cases[i].want),
                      "\"%s\": expected \"%s\"; got %d \"%s\" %s", cases[i].text, cases[i].want, r,
                      got ? got : "", e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, cases[i].error) &&
                          strstr(e.text, "the path"),
                      "\"%s\": expected -EINVAL \"%s\"; got %d \"%s\"", cases[i].text,
                      cases[i].error, r, e.text);
    }
}

/* A path of @len bytes, of components of at most 200. */
static char *long_path(size_t len)
{
    char *path = arena_alloc(&arena, len + 1);

    for (size_t i = 0; i < len; i++)
        path[i] = i % 200 == 0 ? '/' : 'p';
    if (len % 200 == 1) /* no slash at the end */
        path[len - 1] = 'p';
    return path;
}

Test(path, length)
{
    static const struct {
        size_t len;
        int result;
    } cases[] = {{3071, 0}, {3072, 0}, {3073, -EINVAL}, {9000, -EINVAL}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        char *got, *path = long_path(cases[i].len);
        int r = cg_path_clean(path, "p", &arena, &got, &e);

        cr_expect_eq(r, cases[i].result, "%zu bytes: expected %d, got %d %s", cases[i].len,
                     cases[i].result, r, e.text);
        /* what counts is the clean path */
        r = cg_path_clean(arena_printf(&arena, "///.%s///", path), "p", &arena, &got, &e);
        cr_expect_eq(r, cases[i].result, "%zu bytes, not clean: expected %d, got %d", cases[i].len,
                     cases[i].result, r);
    }
}

Test(path, parts)
{
    static const struct {
        const char *path, *parent, *base, *relative;
    } cases[] = {
        {"/", "/", "", "."},
        {"/a", "/", "a", "a"},
        {"/a/b", "/a", "b", "a/b"},
        {"/a/b/c d", "/a/b", "c d", "a/b/c d"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *path = cases[i].path;

        cr_expect_str_eq(cg_path_parent(&arena, path), cases[i].parent);
        cr_expect_str_eq(cg_path_base(path), cases[i].base);
        cr_expect_str_eq(cg_path_relative(path), cases[i].relative);
        if (*cases[i].base)
            cr_expect_str_eq(cg_path_join(&arena, cases[i].parent, cases[i].base), path);
    }
    cr_expect_str_eq(cg_path_join(&arena, "/", "b"), "/b");
    cr_expect_str_eq(cg_path_join(&arena, "/a", "b/c"), "/a/b/c");
}

Test(path, is_below)
{
    static const struct {
        const char *path, *dir;
        bool want;
    } cases[] = {
        {"/a/b", "/a", true},    {"/a/b/c", "/a", true}, {"/a", "/", true},
        {"/a/b", "/", true},     {"/", "/", false},      {"/a", "/a", false},
        {"/a", "/a/b", false},   {"/ab", "/a", false},   {"/ab/c", "/a", false},
        {"/b/a/c", "/a", false}, {"/", "/a", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        cr_expect_eq(cg_path_is_below(cases[i].path, cases[i].dir), cases[i].want, "%s in %s",
                     cases[i].path, cases[i].dir);
}

Test(path, scope)
{
    static const struct {
        const char *path, *want;
    } cases[] = {
        {"/a.slice/b.scope", "/a.slice/b.scope"},
        {"/a.slice/b.scope/container", "/a.slice/b.scope"},
        {"/a.scope/b.scope/c/d", "/a.scope/b.scope"},
        {"/a.slice/b.scopes/c", NULL},
        {"/a", NULL},
        {"/", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = cg_path_scope(&arena, cases[i].path);

        cr_expect(cases[i].want ? got && str_eq(got, cases[i].want) : !got, "%s: got %s",
                  cases[i].path, got ? got : "none");
    }
}

/* Where the runtime decides, it is beside where the runtime has put the process. */
Test(path, beside_the_process)
{
    static const struct {
        const char *text, *process, *want;
    } rows[] = {
        /* a cgroup of its own, in one of a service or not */
        {NULL, "/id1", "/|id1"},
        {"", "/system.slice/engine.service/id1", "/system.slice/engine.service|id1"},
        {"", "/s/run-id1-x/inner", "/s|run-id1-x"},
        {"", "/id1/p/id1", "/id1/p|id1"},
        {"x/y", "/s/x/y", "/s/x|y"},
        {"x/id1", "/s/x/id1", "/s/x|id1"},
        /* none: inside of the one that it is in */
        {"", "/s/engine.service", "/s/engine.service|id1"},
        {"", "/", "/|id1"},
        {"x", "/s/xx", "/s/xx|id1"},
        /* a scope of the system's systemd */
        {NULL, "/system.slice/crun-id1.scope", "systemd|/system.slice|id1|system.slice|crun"},
        {"", "/a.slice/a-b.slice/crun-id1.scope/container",
         "systemd|/a.slice/a-b.slice|id1|a-b.slice|crun"},
        {"", "/crun-id1.scope", "systemd|/|id1|-.slice|crun"},
        {"", "/system.slice/id1.scope", "systemd|/system.slice|id1|system.slice|"},
        {"", "/system.slice/xid1.scope", "systemd|/system.slice|xid1|system.slice|"},
        {"", "/system.slice/-id1.scope", "systemd|/system.slice|-id1|system.slice|"},
        /* of a user's, which is not asked; of somebody else */
        {"", "/user.slice/user@1.service/app.slice/crun-id1.scope",
         "/user.slice/user@1.service/app.slice|crun-id1.scope"},
        {"", "/user.slice/session-1.scope", "/user.slice/session-1.scope|id1"},
        /* a directory that only looks like a scope */
        {"", "/system.slice/.scope/id1", "/system.slice/.scope|id1"},
        {"", "/system.slice/..scope/id1", "/system.slice/..scope|id1"},
        {"", "/system.slice/.-id1.scope/x", "/system.slice|.-id1.scope"},
        /* config.json has the last word */
        {"/a/b", "/s/id1", "/a|b"},
        {"a.slice:p:n", "/s/id1", "systemd|/a.slice|n|a.slice|p"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct cg_cgroups_path p;
        struct err e = ERR_INIT;
        int r = cg_cgroups_path_parse(rows[i].text, "id1", rows[i].process, &arena, &p, &e);
        const char *got = "";

        if (r == 0 && p.systemd)
            got = arena_printf(&arena, "systemd|%s|%s|%s|%s", p.parent, p.name, p.slice, p.prefix);
        else if (r == 0)
            got = arena_printf(&arena, "%s|%s", p.parent, p.name);
        cr_expect(
            r == 0 && str_eq(got, rows[i].want), "\"%s\" in %s: expected \"%s\"; got %d \"%s\" %s",
            rows[i].text ? rows[i].text : "(null)", rows[i].process, rows[i].want, r, got, e.text);
    }
}

static char long_name[300];

static const struct {
    const char *text;
    /* "parent name" or "systemd parent name slice prefix"; NULL: refused */
    const char *want;
    const char *error;
} cgroups_paths[] = {
    {NULL, "/vc|id1", NULL},
    {"", "/vc|id1", NULL},
    {"/a", "/|a", NULL},
    {"/a/b", "/a|b", NULL},
    {"/kubepods/pod1/c1", "/kubepods/pod1|c1", NULL},
    {"//a/./b/", "/a|b", NULL},
    {"x", "/vc|x", NULL},
    {"x/y", "/vc/x|y", NULL},
    {"./x", "/vc|x", NULL},
    {"/vc/x", "/vc|x", NULL},
    {"/", NULL, "names no cgroup"},
    {"//", NULL, "names no cgroup"},
    {"/vc", NULL, "names no cgroup"},
    {".", NULL, "names no cgroup"},
    {"..", NULL, "\"..\""},
    {"../x", NULL, "\"..\""},
    {"/a/../b", NULL, "\"..\""},
    {"/a/\n", NULL, "\\x0a"},
    {long_name, NULL, "bytes"},
    /* systemd's form */
    {"system.slice:crio:c1", "systemd|/system.slice|c1|system.slice|crio", NULL},
    {":crio:c1", "systemd|/system.slice|c1|system.slice|crio", NULL},
    {"::c1", "systemd|/system.slice|c1|system.slice|", NULL},
    {"a.slice::c1", "systemd|/a.slice|c1|a.slice|", NULL},
    {"a-b-c.slice:p:c1", "systemd|/a.slice/a-b.slice/a-b-c.slice|c1|a-b-c.slice|p", NULL},
    {"-.slice:p:c1", "systemd|/|c1|-.slice|p", NULL},
    {"kubepods-pod1_2.slice:cri-containerd:c1",
     "systemd|/kubepods.slice/kubepods-pod1_2.slice|c1|kubepods-pod1_2.slice|cri-containerd", NULL},
    {"a.slice:p:", NULL, "name is empty"},
    {"::", NULL, "name is empty"},
    {"a--b.slice:p:n", NULL, "empty part"},
    {"-a.slice:p:n", NULL, "empty part"},
    {"a-.slice:p:n", NULL, "empty part"},
    {"--.slice:p:n", NULL, "empty part"},
    {"a.slice:p\n:n", NULL, "prefix"},
    {"a.slice:..:n", NULL, "prefix"},
    {"a.slice:p:..", NULL, "name"},
    {"a\n.slice:p:n", NULL, "slice"},
    /* no slice in front, another number of colons, a slash: an ordinary path */
    {"a:b:c", "/vc|a:b:c", NULL},
    {"a.slice:b", "/vc|a.slice:b", NULL},
    {"a.slice:b:c:d", "/vc|a.slice:b:c:d", NULL},
    {":a", "/vc|:a", NULL},
    {"a.slice:b/c:d", "/vc/a.slice:b|c:d", NULL},
    {"/a.slice:b:c", "/|a.slice:b:c", NULL},
    {"a.slicex:b:c", "/vc|a.slicex:b:c", NULL},
};

Test(path, cgroups_path)
{
    memset(long_name, 'n', sizeof long_name - 1);
    for (size_t i = 0; i < ARRAY_SIZE(cgroups_paths); i++) {
        const char *text = cgroups_paths[i].text, *want = cgroups_paths[i].want, *got = "";
        struct cg_cgroups_path p;
        struct err e = ERR_INIT;
        int r = cg_cgroups_path_parse(text, "id1", NULL, &arena, &p, &e);

        if (r == 0 && p.systemd)
            got = arena_printf(&arena, "systemd|%s|%s|%s|%s", p.parent, p.name, p.slice, p.prefix);
        else if (r == 0)
            got = arena_printf(&arena, "%s|%s", p.parent, p.name);
        if (want)
            cr_expect(r == 0 && str_eq(got, want), "\"%s\": expected \"%s\"; got %d \"%s\" %s",
                      text ? text : "(null)", want, r, got, e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, cgroups_paths[i].error) &&
                          str_starts(e.text, "linux.cgroupsPath"),
                      "\"%s\": expected -EINVAL \"%s\"; got %d \"%s\" \"%s\"", text,
                      cgroups_paths[i].error, r, got, e.text);
    }
}

/* The id stands for the path when there is none: it must not be able to leave. */
Test(path, cgroups_path_odd_id)
{
    static const char *const ids[] = {"..", "../x", "a/../../b", "", "."};

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        struct cg_cgroups_path p;
        struct err e = ERR_INIT;
        int r = cg_cgroups_path_parse("", ids[i], NULL, &arena, &p, &e);

        cr_expect_eq(r, -EINVAL, "id \"%s\": expected -EINVAL, got %d", ids[i], r);
    }
}

Test(path, slice_expand)
{
    static const struct {
        const char *slice, *want;
    } cases[] = {
        {"-.slice", "/"},
        {"a.slice", "/a.slice"},
        {"a-b.slice", "/a.slice/a-b.slice"},
        {"a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"},
        {"user-1000.slice", "/user.slice/user-1000.slice"},
        {"a.b-c.slice", "/a.b.slice/a.b-c.slice"},
        {"a\\x2db.slice", "/a\\x2db.slice"},
        {"x.slice.slice", "/x.slice.slice"},
        {"", NULL},
        {".slice", NULL},
        {"slice", NULL},
        {"a", NULL},
        {"a.scope", NULL},
        {"a.slice ", NULL},
        {"-a.slice", NULL},
        {"a-.slice", NULL},
        {"a--b.slice", NULL},
        {"--.slice", NULL},
        {"a/b.slice", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        char *got = NULL;
        int r = cg_slice_expand(cases[i].slice, &arena, &got, &e);

        if (cases[i].want)
            cr_expect(r == 0 && got && str_eq(got, cases[i].want),
                      "\"%s\": expected \"%s\"; got %d \"%s\" %s", cases[i].slice, cases[i].want, r,
                      got ? got : "", e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input, "\"%s\": expected -EINVAL; got %d \"%s\"",
                      cases[i].slice, r, got ? got : "");
    }
}

Test(path, unit_escape)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"azAZ09:_.", "azAZ09:_."},
        {"a-b\\x", "a-b\\x"}, /* names of units already */
        {".hidden", "\\x2ehidden"},
        {"a.b", "a.b"},
        {"a/b", "a-b"},
        {"/", "-"},
        {"a b", "a\\x20b"},
        {"a@b", "a\\x40b"},
        {"\xc3\xa4", "\\xc3\\xa4"},
        {"`{[^", "\\x60\\x7b\\x5b\\x5e"},
        {"@/;", "\\x40-\\x3b"},
        {"\n", "\\x0a"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = cg_unit_escape(&arena, cases[i].text);

        cr_expect(str_eq(got, cases[i].want), "\"%s\": expected \"%s\", got \"%s\"", cases[i].text,
                  cases[i].want, got);
    }
}
