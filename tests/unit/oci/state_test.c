/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/state.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/json_kit.h"

#include <criterion/criterion.h>
#include <sys/wait.h>

Test(state, members)
{
    static const char text[] = "{\"ociVersion\":\"1.0.2\",\"id\":\"c1\",\"status\":\"creating\","
                               "\"pid\":4194304,\"bundle\":\"/b\",\"root\":\"/r\",\"annotations\":"
                               "{\"io.kubernetes.cri.sandbox-id\":\"s1\",\"x\":[]}}\n";
    autoarena a = ARENA_INIT;
    struct oci_input input;
    struct err e = ERR_INIT;
    autofd fd = kit_file_with(text, sizeof text - 1);

    memset(&input, 0xff, sizeof input);
    cr_assert_eq(oci_input_read(fd, NULL, &a, &input, &e), 0, "%s", e.text);
    cr_expect_str_eq(input.state.oci_version, "1.0.2");
    cr_expect_str_eq(input.state.id, "c1");
    cr_expect_str_eq(input.state.status, "creating");
    KIT_EXPECT_NUMBER(input.state.pid, 4194304);
    cr_expect_str_eq(input.state.bundle, "/b");
    cr_expect_str_eq(input.state.annotations->cri_sandbox_id, "s1");
    cr_expect_null(input.state.annotations->cri_type);
    cr_expect_not(input.has_config);
    cr_expect(!input.config.linux_ && !input.config.annotations && !input.config.oci_version);
}

Test(state, round_trip)
{
    static const char text[] = "{\"ociVersion\":\"1.0.2\",\"id\":\"c1\",\"status\":\"\",\"pid\":0,"
                               "\"bundle\":\"/b\",\"annotations\":{}}";
    autoarena a = ARENA_INIT;
    struct json_writer *w = json_writer_new(false);
    struct oci_state state = {0};
    struct json_doc doc = {.table = &oci_state_table, .dest = &state};
    struct err e = ERR_INIT;

    cr_assert_eq(json_read_text(text, sizeof text - 1, &doc, 1, 0, "in", &a, &e), 1, "%s", e.text);
    json_write_table(w, NULL, &oci_state_table, &state);
    cr_expect_str_eq(json_writer_text(w, NULL), text);
    json_writer_free(w);
}

Test(state, stdin_forms)
{
    static const struct {
        const char *input, *status;
        bool has_config;
        const char *cgroups_path;
    } cases[] = {
        {"{\"id\":\"c1\"}", NULL, false, NULL},
        {" \n{\"id\":\"c1\",\"status\":\"running\"}\n ", "running", false, NULL},
        {"{\"id\":\"c1\",\"status\":\"no such status\"}", "no such status", false, NULL},
        {"{\"id\":\"c1\",\"status\":\"\",\"ociVersion\":\"\",\"pid\":null}", "", false, NULL},
        {"{\"id\":\"c1\"}{}", NULL, true, NULL},
        {"{\"id\":\"c1\",\"status\":\"a\"}\n{\"linux\":{\"cgroupsPath\":\"/p\"}}\n", "a", true,
         "/p"},
        {"{\"state\":{\"id\":\"c1\",\"status\":\"b\"}}", "b", false, NULL},
        {"{\"state\":{\"id\":\"c1\"},\"config\":{}}", NULL, true, NULL},
        {"{\"config\":{\"linux\":{\"cgroupsPath\":\"/q\"}},\"state\":{\"id\":\"c1\","
         "\"status\":\"c\"}}",
         "c", true, "/q"},
        {"{\"state\":{\"id\":\"c1\"},\"config\":null}", NULL, false, NULL},
        {"{\"id\":\"c1\",\"config\":null,\"state\":null}", NULL, false, NULL},
        /* an id in the second document is not the state's */
        {"{\"id\":\"c1\"}{\"id\":\"c2\",\"linux\":{}}", NULL, true, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        struct err e = ERR_INIT;
        autofd fd = kit_file_with(cases[i].input, strlen(cases[i].input));
        int r = oci_input_read(fd, NULL, &a, &input, &e);
        const char *path = input.config.linux_ ? input.config.linux_->cgroups_path : NULL;

        cr_expect(r == 0 && str_eq_null(input.state.id, "c1") &&
                      str_eq_null(input.state.status, cases[i].status) &&
                      input.has_config == cases[i].has_config &&
                      str_eq_null(path, cases[i].cgroups_path),
                  "input: %s\ngot: %d, %s; config %d, path %s", cases[i].input, r, e.text,
                  input.has_config, path ? path : "none");
    }
}

#define ALONE "; of a config.json alone: oci-sandbox-cgroup plan CONFIG.json"

Test(state, stdin_refused)
{
    static const struct {
        const char *input, *want;
    } cases[] = {
        {"", "empty, expected the OCI state document"},
        {" \r\n\t", "empty, expected the OCI state document"},
        {"{}", "state.id: missing, expected the container's id" ALONE},
        {"{\"id\":null}", "state.id: missing, expected the container's id" ALONE},
        {"{\"id\":\"\"}", "state.id: empty, expected the container's id"},
        {"{\"state\":{}}", "state.id: missing, expected the container's id" ALONE},
        {"{\"state\":{\"id\":\"\"},\"config\":{}}", "state.id: empty, expected the container's id"},
        {"{\"state\":{\"id\":\"a\"},\"id\":\"a\"}",
         "the members \"state\" and \"id\" in one object, expected one"},
        {"{\"id\":\"b\",\"state\":{\"id\":\"a\"}}",
         "the members \"state\" and \"id\" in one object, expected one"},
        {"{\"config\":{}}", "the member \"config\" without \"state\", expected both"},
        {"{\"id\":\"a\",\"config\":{}}", "the member \"config\" without \"state\", expected both"},
        {"{\"state\":{\"id\":\"a\"},\"config\":{}} {}",
         "a document follows the one that holds the state, expected one document only"},
        {"{\"state\":{\"id\":\"a\"}}{\"linux\":{}}",
         "a document follows the one that holds the state, expected one document only"},
        {"{\"id\":\"a\"}{}{}",
         "an object follows the last document, expected the end of the input"},
        {"[]", "state: expected an object, found a list"},
        {"{\"id\":\"a\"} []", "config: expected an object, found a list"},
        {"{\"id\":1}", "state.id: expected a string, found a number"},
        {"{\"id\":\"a\",\"id\":\"a\"}", "state.id: given twice, expected once"},
        {"{\"id\":\"a\\u0000b\"}", "state.id: a NUL character in a string, expected text without"},
        {"{\"id\":\"a\",\"pid\":-1}", "state.pid: -1 is out of range 0..4194304"},
        {"{\"id\":\"a\",\"pid\":4194305}", "state.pid: 4194305 is out of range 0..4194304"},
        {"{\"id\":\"a\",\"pid\":\"1\"}", "state.pid: expected an integer, found a string"},
        {"{\"id\":\"a\",\"status\":1}", "state.status: expected a string, found a number"},
        {"{\"id\":\"a\",\"bundle\":[]}", "state.bundle: expected a string, found a list"},
        {"{\"id\":\"a\",\"ociVersion\":1}", "state.ociVersion: expected a string, found a number"},
        {"{\"id\":\"a\",\"annotations\":{\"io.kubernetes.sandbox.id\":1}}",
         "state.annotations.io.kubernetes.sandbox.id: expected a string, found a number"},
        {"{\"state\":{\"annotations\":{\"io.kubernetes.sandbox.id\":1}}}",
         "state.annotations.io.kubernetes.sandbox.id: expected a string, found a number"},
        {"{\"id\":\"a\"}{\"linux\":{\"cgroupsPath\":1}}",
         "config.linux.cgroupsPath: expected a string, found a number"},
        {"{\"config\":{\"linux\":{\"cgroupsPath\":1}}}",
         "config.linux.cgroupsPath: expected a string, found a number"},
        {"{\"state\":1}", "state: expected an object, found a number"},
        {"{\"config\":\"\"}", "config: expected an object, found a string"},
        {"{\"state\":{\"id\":\"a\"},\"state\":{\"id\":\"a\"}}",
         "state: given twice, expected once"},
        {"{\"id\":\"a\"",
         "state: the input ends early, at byte 9, expected the rest of the document"},
        {"{\"id\":\"a\"} {\"linux\"",
         "config.linux: the input ends early, at byte 19, expected the rest of the document"},
        {"hello", "state: no valid JSON after byte 0 (lexical error: invalid char in json text)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0}, zero = {0};
        struct err e = ERR_INIT;
        autofd fd = kit_file_with(cases[i].input, strlen(cases[i].input));
        int r = oci_input_read(fd, NULL, &a, &input, &e);
        char want[256];

        snprintf(want, sizeof want, "standard input: %s", cases[i].want);
        cr_expect(r == -EINVAL && e.bad_input && str_eq(e.text, want),
                  "input:    %s\nexpected: %s\ngot:      %d, %s", cases[i].input, want, r, e.text);
        cr_expect(memcmp(&input, &zero, sizeof zero) == 0, "input: %s\nthe result was written",
                  cases[i].input);
    }
}

/* A fault at the beginning of more than a pipe or a chunk holds: the writer must be rid of it. */
Test(state, stdin_is_read_to_its_end, .timeout = 60)
{
    static const char *const starts[] = {
        "{\"id\":\"c1\"}",     "{\"id\":\"c1\"}{\"linux\":{}}",
        "{\"id\":1}",          "nonsense",
        "{\"id\":\"c1\"}{}{}", "{\"state\":{\"id\":\"c1\"},\"id\":\"c1\"}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        int pipe_fds[2], status;
        char byte;
        pid_t writer;
        int r;

        cr_assert_eq(pipe(pipe_fds), 0);
        writer = fork();
        if (writer == 0) {
            static const char blank[] = "                                                        ";
            ssize_t n = write(pipe_fds[1], starts[i], strlen(starts[i]));

            close(pipe_fds[0]);
            for (int k = 0; k < 5000 && n > 0; k++)
                n = write(pipe_fds[1], blank, sizeof blank - 1);
            _exit(n > 0 ? 0 : 1);
        }
        close(pipe_fds[1]);
        r = oci_input_read(pipe_fds[0], NULL, &a, &input, NULL);
        cr_expect_eq(r, i < 2 ? 0 : -EINVAL, "input: %s, got %d", starts[i], r);
        cr_expect_eq(read(pipe_fds[0], &byte, 1), 0, "input: %s, not at its end", starts[i]);
        close(pipe_fds[0]);
        cr_expect(waitpid(writer, &status, 0) == writer && status == 0,
                  "input: %s, the writer ended with %d", starts[i], status);
    }
}

Test(state, stdin_byte_limit, .timeout = 60)
{
    static const char state[] = "{\"id\":\"c1\"}";

    for (size_t over = 0; over < 2; over++) {
        size_t size = OCI_MAX_BYTES + over;
        autofree char *text = malloc(size);
        autofd fd = FD_NONE;
        autoarena a = ARENA_INIT;
        struct oci_input input = {0};
        struct err e = ERR_INIT;
        int r;

        cr_assert_not_null(text);
        memset(text, ' ', size);
        memcpy(text, state, sizeof state - 1);
        fd = kit_file_with(text, size);
        r = oci_input_read(fd, NULL, &a, &input, &e);
        cr_expect_eq(r, over ? -EINVAL : 0, "%zu bytes: %d, %s", size, r, e.text);
        cr_expect_str_eq(e.text,
                         over ? "standard input: too long, expected at most 16777216 bytes" : "");
        cr_expect_eq(lseek(fd, 0, SEEK_CUR), (off_t)size);
    }
}

Test(state, stdin_that_cannot_be_read)
{
    autoarena a = ARENA_INIT;
    struct oci_input input = {0};
    struct err e = ERR_INIT;
    int r = oci_input_read(-1, NULL, &a, &input, &e);

    cr_expect(r == -EBADF && !e.bad_input &&
                  str_eq(e.text, "standard input: cannot read: EBADF (Bad file descriptor)"),
              "got %d, %s", r, e.text);
}
