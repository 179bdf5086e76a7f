/* SPDX-License-Identifier: Apache-2.0 */

/* Which engines there are below a root, and what their configuration makes them read. */

#include "hook/tool/engines.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>

#define DEFAULT "/usr/share/containers/oci/hooks.d"
#define CONF    "/etc/containers/containers.conf"
#define READS   "/usr/bin/podman reads hooks in "

static const struct {
    enum engine_id id;
    const char *program, *conf[2], *text[2]; /* files of configuration, and what they say */
    const char *want;                        /* NULL: it is not there */
    const char *dir;                         /* that is read then */
    const char *unread;                      /* and one that is not */
} rows[] = {
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {0},
     {0},
     READS DEFAULT ", as it does by default",
     DEFAULT,
     "/a"},
    {ENGINE_PODMAN, "/usr/bin/docker", {0}, {0}, NULL, DEFAULT, "/a"},
    {ENGINE_PODMAN, "/opt/podman", {0}, {0}, NULL, DEFAULT, "/a"},
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {CONF},
     {"[engine]\nhooks_dir = [\"/a\",\n '/b', # \"/c\"\n]\n"},
     READS "/a, /b, as hooks_dir of " CONF " says",
     "/b",
     DEFAULT},
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {CONF},
     {"#hooks_dir = [\"/a\"]\n"},
     READS DEFAULT ", as",
     DEFAULT,
     "/a"},
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {CONF, CONF ".d/1.conf"},
     {"hooks_dir=['/a']", "hooks_dir=['/b']"},
     READS "/b, as hooks_dir of " CONF ".d/1.conf",
     "/b",
     "/a"},
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {CONF ".d/2.conf", CONF ".d/1.conf"},
     {"hooks_dir=['/a']", "hooks_dir=['/b']"},
     READS "/a, as hooks_dir of " CONF ".d/2.conf",
     "/a",
     "/b"},
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {CONF},
     {"hooks_dir=[]"},
     "/usr/bin/podman reads no hooks directory: hooks_dir of " CONF " is empty",
     NULL,
     DEFAULT},
    {ENGINE_PODMAN,
     "/usr/bin/podman",
     {"/etc/crio/crio.conf"},
     {"hooks_dir=['/a']"},
     READS DEFAULT ", as",
     DEFAULT,
     "/a"},
    {ENGINE_CRIO,
     "/usr/local/bin/crio",
     {"/etc/crio/crio.conf"},
     {"hooks_dir=['/a']"},
     "/usr/local/bin/crio reads hooks in /a, as hooks_dir of /etc/crio/crio.conf says",
     "/a",
     DEFAULT},
    {ENGINE_CONTAINERD_DAEMON,
     "/usr/bin/containerd",
     {0},
     {0},
     "/usr/bin/containerd reads no hooks directory: it needs",
     DEFAULT,
     "/a"},
    {ENGINE_DOCKER,
     "/usr/sbin/dockerd",
     {0},
     {0},
     "/usr/sbin/dockerd reads no hooks directory: it needs",
     DEFAULT,
     "/a"},
};

Test(engines, find)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char root[] = "/tmp/osc-unit-XXXXXX";
        autoarena a = ARENA_INIT;
        struct engine engines[ENGINES];
        const struct engine *engine = &engines[rows[i].id];
        const char *text;

        kit_make_dir(root);
        kit_put_below(root, rows[i].program, "");
        for (size_t k = 0; k < 2 && rows[i].conf[k]; k++)
            kit_put_below(root, rows[i].conf[k], rows[i].text[k]);
        engines_find(root, &a, engines);
        text = engine->program ? engine_text(engine, &a) : NULL;
        cr_expect(rows[i].want ? text && str_starts(text, rows[i].want) : !text,
                  "row %zu\nexpected: %s\ngot:      %s", i, rows[i].want, text);
        cr_expect(!rows[i].dir || engines_read(engines, rows[i].dir), "row %zu: %s", i,
                  rows[i].dir);
        cr_expect_not(engines_read(engines, rows[i].unread), "row %zu: %s", i, rows[i].unread);
        kit_remove_tree(root);
    }
}

/* A word in a comment is none. */
Test(engines, file_names)
{
    char root[] = "/tmp/osc-unit-XXXXXX";
    autoarena a = ARENA_INIT;

    kit_make_dir(root);
    kit_put_below(root, "/c", "one # two\nthree");
    cr_expect(engines_file_names(root, "/c", "one", &a));
    cr_expect(engines_file_names(root, "/c", "three", &a));
    cr_expect_not(engines_file_names(root, "/c", "two", &a));
    cr_expect_not(engines_file_names(root, "/none", "one", &a));
}
