/* SPDX-License-Identifier: Apache-2.0 */

/* Which files of engines are for us, and which of them nobody will act on. */

#include "hook/tool/registrations.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SHARE   "/usr/share/containers/oci/hooks.d"
#define ETC     "/etc/containers/oci/hooks.d"
#define LOCAL   "/usr/local/share/containers/oci/hooks.d"
#define PROGRAM "/usr/libexec/oci-sandbox-cgroup"
#define HOOK(p) "{\"version\":\"1.0.0\",\"hook\":{\"path\":\"" p "\"}}"
#define CDI(p)                                                                                     \
    "{\"kind\":\"oci-sandbox-cgroup.io/hook\",\"devices\":[{\"name\":\"a\",\"containerEdits\":"    \
    "{\"hooks\":[{\"path\":\"" p "\"}]}}]}"
#define CDI2(p, q)                                                                                 \
    "{\"kind\":\"oci-sandbox-cgroup.io/hook\",\"devices\":[{\"name\":\"a\",\"containerEdits\":"    \
    "{\"hooks\":[{\"path\":\"" p "\"}]}},{\"name\":\"b\",\"containerEdits\":{\"hooks\":["          \
    "{\"path\":\"" p "\"},{\"path\":\"" q "\"}]}}]}"
#define CDI_NONE                                                                                   \
    "{\"kind\":\"oci-sandbox-cgroup.io/hook\",\"devices\":[{\"name\":\"a\"},{\"name\":\"b\","      \
    "\"containerEdits\":{\"hooks\":[{}]}}]}"
#define NOT(file)  file " is not in force: "
#define MISSING(p) p ", which it names, cannot be run: No such file or directory"
#define UNTOLD                                                                                     \
    "podman and CRI-O read this directory only if their hooks_dir names it, and no configuration " \
    "of theirs does"
#define ONLY_ETC "[engine]\nhooks_dir = [\"" ETC "\"]\n"
#define TOLD     "[engine]\nhooks_dir = [\"" SHARE "\", \"" ETC "\"]\n"

static const struct {
    const char *path, *text, *conf, *conf_text;
    bool in_force;
    const char *want; /* NULL: it is not for us */
} rows[] = {
    {SHARE "/90-x.json", HOOK(PROGRAM), NULL, NULL, true, SHARE "/90-x.json"},
    {SHARE "/90-x.json", HOOK("/gone/oci-sandbox-cgroup"), NULL, NULL, false,
     NOT(SHARE "/90-x.json") MISSING("/gone/oci-sandbox-cgroup")},
    {SHARE "/90-x.json", HOOK("/usr/bin/other"), NULL, NULL, false, NULL},
    {SHARE "/90-x.jsn", HOOK(PROGRAM), NULL, NULL, false, NULL},
    {SHARE "/90-x.json", "{}", NULL, NULL, false, NULL},
    {SHARE "/90-x.json", "{", NULL, NULL, false, NULL},
    {SHARE "/90-oci-sandbox-cgroup.json", "{", NULL, NULL, false,
     NOT(SHARE "/90-oci-sandbox-cgroup.json") "it"},
    /* one that is for us by its own name, whatever the program is called */
    {SHARE "/90-oci-sandbox-cgroup.json", HOOK("/usr/libexec/oci-sandbox-cgrup"), NULL, NULL, false,
     NOT(SHARE "/90-oci-sandbox-cgroup.json") MISSING("/usr/libexec/oci-sandbox-cgrup")},
    {SHARE "/90-oci-sandbox-cgroup.json", "{\"version\":\"1.0.0\"}", NULL, NULL, false,
     NOT(SHARE "/90-oci-sandbox-cgroup.json") "it names no program"},
    {SHARE "/90-oci-sandbox-cgroup.json", "", NULL, NULL, false,
     NOT(SHARE "/90-oci-sandbox-cgroup.json") "it names no program"},
    {SHARE "/90-x.json", "{\"hook\":{}}", NULL, NULL, false, NULL},
    {SHARE "/90-x.json", HOOK("oci-sandbox-cgroup"), NULL, NULL, false,
     NOT(SHARE "/90-x.json") "oci-sandbox-cgroup, which it names, is no absolute path"},
    {ETC "/90-x.json", HOOK(PROGRAM), NULL, NULL, false, NOT(ETC "/90-x.json") UNTOLD},
    {ETC "/90-x.json", HOOK(PROGRAM), "/etc/containers/containers.conf", TOLD, true,
     ETC "/90-x.json"},
    {ETC "/90-x.json", HOOK(PROGRAM), "/etc/containers/containers.conf.d/a.conf", TOLD, true,
     ETC "/90-x.json"},
    {ETC "/90-x.json", HOOK(PROGRAM), "/etc/crio/crio.conf.d/a.conf", TOLD, true, ETC "/90-x.json"},
    {ETC "/90-x.json", HOOK(PROGRAM), "/etc/containers/containers.conf",
     "# hooks_dir = [\"" ETC "\"]\n", false, NOT(ETC "/90-x.json") UNTOLD},
    /* hooks_dir replaces the default */
    {SHARE "/90-x.json", HOOK(PROGRAM), "/etc/containers/containers.conf", ONLY_ETC, true,
     SHARE "/90-x.json"},
    {ETC "/90-x.json", HOOK(PROGRAM), "/etc/containers/containers.conf", ONLY_ETC, true,
     ETC "/90-x.json"},
    /* the default prefix */
    {LOCAL "/90-x.json", HOOK(PROGRAM), NULL, NULL, false, NOT(LOCAL "/90-x.json") UNTOLD},
    {LOCAL "/90-x.json", HOOK(PROGRAM), "/etc/crio/crio.conf", "hooks_dir=['" LOCAL "']", true,
     LOCAL "/90-x.json"},
    {"/usr/local/etc/cdi/x.json", CDI(PROGRAM), NULL, NULL, false,
     NOT("/usr/local/etc/cdi/x.json") "engines look for CDI files in /etc/cdi"},
    {"/usr/local/etc/cdi/x.json", CDI(PROGRAM), "/etc/docker/daemon.json",
     "{\"cdi-spec-dirs\":[\"/usr/local/etc/cdi\"]}", true, "/usr/local/etc/cdi/x.json"},
    {"/etc/cdi/x.json", CDI(PROGRAM), NULL, NULL, true, "/etc/cdi/x.json"},
    {"/run/cdi/x.json", CDI("/gone/x"), NULL, NULL, false,
     NOT("/run/cdi/x.json") MISSING("/gone/x")},
    {"/etc/cdi/x.json", CDI2(PROGRAM, PROGRAM), NULL, NULL, true, "/etc/cdi/x.json"},
    {"/etc/cdi/x.json", CDI2(PROGRAM, "/gone/x"), NULL, NULL, false,
     NOT("/etc/cdi/x.json") MISSING("/gone/x")},
    {"/etc/cdi/x.json", CDI2("/gone/x", PROGRAM), NULL, NULL, false,
     NOT("/etc/cdi/x.json") MISSING("/gone/x")},
    {"/etc/cdi/x.json", CDI_NONE, NULL, NULL, false, NULL},
    {"/etc/cdi/x.json", "{\"kind\":\"vendor.com/gpu\",\"devices\":[]}", NULL, NULL, false, NULL},
};

Test(registrations, find)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char root[] = "/tmp/osc-unit-XXXXXX";
        autoarena a = ARENA_INIT;
        struct registration *found;
        size_t count;

        cr_assert_not_null(mkdtemp(root));
        kit_put_below(root, PROGRAM, "");
        kit_put_below(root, rows[i].path, rows[i].text);
        if (rows[i].conf)
            kit_put_below(root, rows[i].conf, rows[i].conf_text);
        registrations_find(root, &a, &found, &count);
        cr_expect_eq(count, rows[i].want != NULL, "row %zu", i);
        if (count == 1 && rows[i].want)
            cr_expect(found[0].in_force == rows[i].in_force &&
                          str_starts(found[0].text, rows[i].want),
                      "row %zu\nexpected: %s\ngot:      %s", i, rows[i].want, found[0].text);
        kit_remove_tree(root);
    }
}

/* What is there, but is no program: a file without the right to run it, and a directory. */
Test(registrations, unfit_program)
{
    char root[] = "/tmp/osc-unit-XXXXXX";
    autoarena a = ARENA_INIT;
    struct registration *found;
    size_t count;

    kit_make_dir(root);
    kit_put_below(root, "/a/oci-sandbox-cgroup", "");
    cr_assert_eq(chmod(arena_printf(&a, "%s/a/oci-sandbox-cgroup", root), 0644), 0);
    kit_put_below(root, SHARE "/90-x.json", HOOK("/a/oci-sandbox-cgroup"));
    registrations_find(root, &a, &found, &count);
    cr_assert_eq(count, 1);
    cr_expect(!found[0].in_force && strstr(found[0].text, "cannot be run: Permission denied"), "%s",
              found[0].text);
    kit_put_below(root, "/b/oci-sandbox-cgroup/file", "");
    kit_put_below(root, SHARE "/90-x.json", HOOK("/b/oci-sandbox-cgroup"));
    registrations_find(root, &a, &found, &count);
    cr_assert_eq(count, 1);
    cr_expect(!found[0].in_force &&
                  strstr(found[0].text, "oci-sandbox-cgroup, which it names, is no program"),
              "%s", found[0].text);
    kit_remove_tree(root);
}

/* Where podman alone is there, CRI-O's defaults make no difference. */
Test(registrations, unread_default)
{
    char root[] = "/tmp/osc-unit-XXXXXX";
    autoarena a = ARENA_INIT;
    struct registration *found;
    size_t count;

    kit_make_dir(root);
    kit_put_below(root, PROGRAM, "");
    kit_put_below(root, "/usr/bin/podman", "");
    kit_put_below(root, SHARE "/90-x.json", HOOK(PROGRAM));
    kit_put_below(root, "/etc/containers/containers.conf", ONLY_ETC);
    registrations_find(root, &a, &found, &count);
    cr_assert_eq(count, 1);
    cr_expect(!found[0].in_force && strstr(found[0].text, "names other directories"), "%s",
              found[0].text);
}

Test(registrations, none)
{
    autoarena a = ARENA_INIT;
    struct registration *found;
    size_t count;

    registrations_find("/nonexistent", &a, &found, &count);
    cr_expect_eq(count, 0);
}
