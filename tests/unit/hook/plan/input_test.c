/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/input.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/osc-unit-input-XXXXXX";

static void begin(void)
{
    kit_make_dir(top);
    cr_assert_eq(chdir(top), 0);
    cr_assert_eq(mkdir("vm1", 0700), 0);
}

static void end(void)
{
    cr_assert_eq(chdir("/"), 0);
    kit_remove_tree(top);
}

TestSuite(input, .init = begin, .fini = end);

static void put(const char *path, const char *text)
{
    autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

#define CONFIG "{\"ociVersion\":\"1.0.2\",\"linux\":{\"cgroupsPath\":\"/a/b\"}}"

static void expect_made(const char *path, enum stage stage, const char *id, const char *bundle,
                        enum stage want)
{
    autoarena a = ARENA_INIT;
    struct oci_input input = {0};
    struct err e = ERR_INIT;

    cr_assert_eq(input_make(path, &stage, &a, &input, &e), 0, "%s: %s", path, e.text);
    cr_expect_str_eq(input.state.id, id, "%s", path);
    cr_expect_str_eq(input.state.bundle, bundle, "%s", path);
    cr_expect_eq(input.state.pid.value, 0);
    cr_expect(input.has_config && str_eq(input.config.linux_->cgroups_path, "/a/b"), "%s", path);
    cr_expect_eq(stage, want, "%s: %s", path, stage_name(stage));
}

Test(input, made)
{
    char bundle[64];

    snprintf(bundle, sizeof bundle, "%s/vm1", top);
    put("vm1/config.json", CONFIG);
    put("vm1/other.json", CONFIG);
    expect_made("vm1", STAGE_NONE, "vm1", bundle, STAGE_PRESTART);
    expect_made("vm1/", STAGE_NONE, "vm1", bundle, STAGE_PRESTART);
    expect_made(bundle, STAGE_NONE, "vm1", bundle, STAGE_PRESTART);
    expect_made("vm1/config.json", STAGE_NONE, "vm1", bundle, STAGE_PRESTART);
    expect_made("vm1/other.json", STAGE_POSTSTOP, "vm1", bundle, STAGE_POSTSTOP);
    cr_assert_eq(chdir("vm1"), 0);
    expect_made(".", STAGE_NONE, "vm1", bundle, STAGE_PRESTART);
    expect_made("config.json", STAGE_PRESTART, "vm1", bundle, STAGE_PRESTART);
}

/* A teardown reads no config.json before it asks for it, and then takes what can be read. */
Test(input, read)
{
    static const struct {
        enum stage stage;
        const char *status;
        bool at_once;
    } rows[] = {
        {STAGE_CREATE_RUNTIME, "creating", true}, {STAGE_NONE, "creating", true},
        {STAGE_POSTSTART, "running", true},       {STAGE_POSTSTOP, "stopped", false},
        {STAGE_NONE, "stopped", false},
    };

    put("vm1/config.json", CONFIG);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (int there = 0; there < 2; there++) {
            autoarena a = ARENA_INIT;
            struct oci_input input = {0};
            struct err e = ERR_INIT;
            enum stage stage = rows[i].stage;
            autofd fd = FD_NONE;
            char text[256];
            int r;

            snprintf(text, sizeof text,
                     "{\"ociVersion\":\"1.0.2\",\"id\":\"c1\",\"status\":\"%s\",\"pid\":2,"
                     "\"bundle\":\"%s/%s\"}",
                     rows[i].status, top, there ? "vm1" : "none");
            put("state", text);
            fd = open("state", O_RDONLY | O_CLOEXEC);
            r = input_read(fd, &stage, NULL, &a, &input, &e);
            cr_expect_eq(r, there || !rows[i].at_once ? 0 : -ENOENT, "row %zu: %d, %s", i, r,
                         e.text);
            cr_expect_eq(input.has_config, there && rows[i].at_once, "row %zu", i);
            input_complete(&a, &input);
            cr_expect_eq(input.has_config, there, "row %zu", i);
            cr_expect(!there || str_eq(input.config.linux_->cgroups_path, "/a/b"), "row %zu", i);
            cr_expect_str_eq(input.state.id, "c1");
        }
    }
}

Test(input, not_made)
{
    static const struct {
        const char *path;
        int code;
        const char *want;
    } rows[] = {
        {"vm2", -ENOENT, "vm2: cannot find"},
        {"vm1", -ENOENT, "vm1/config.json: cannot open"},
        {"state.json", -EINVAL, "state.json: no member \"linux\""},
        {"bad\n.json", -EINVAL, "bad\\x0a.json: "},
    };

    put("state.json", "{\"ociVersion\":\"1.0.2\",\"id\":\"c1\",\"status\":\"created\"}");
    put("bad\n.json", "{");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        enum stage stage = STAGE_NONE;
        struct err e = ERR_INIT;
        int r = input_make(rows[i].path, &stage, &a, &input, &e);

        cr_expect(r == rows[i].code && e.bad_input == (r == -EINVAL) &&
                      strstr(e.text, rows[i].want),
                  "%s: got %d, %s", rows[i].path, r, e.text);
        cr_expect_not(input.has_config, "%s", rows[i].path);
    }
}
