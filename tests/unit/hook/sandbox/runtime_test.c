/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/runtime.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HELPER "../integration/fake_runtime" /* from where this program is */

static struct arena arena;
static char top[] = "/tmp/osc-unit-runtime-XXXXXX";
static const char *state;

static void begin(void)
{
    kit_make_dir(top);
    state = arena_printf(&arena, "%s/state", top);
}

static void end(void)
{
    kit_end_children();
    kit_remove_tree(top);
    arena_free(&arena);
}

TestSuite(runtime_look, .init = begin, .fini = end, .timeout = 120);

static const char *in_top(const char *name)
{
    return arena_printf(&arena, "%s/%s", top, name);
}

/* A program of that name, which says so when it is asked for its version. */
static const char *make_program(const char *name, const char *says)
{
    const char *path = in_top(name);
    autofree char *self = realpath("/proc/self/exe", NULL);
    autofree char *text = NULL;
    autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    ssize_t len;

    cr_assert(self && fd >= 0);
    *strrchr(self, '/') = '\0';
    len =
        io_read_all_at(AT_FDCWD, arena_printf(&arena, "%s/" HELPER, self), (size_t)64 << 20, &text);
    cr_assert(len > 0 && write(fd, text, (size_t)len) == len, "%s/" HELPER ": %zd", self, len);
    kit_write_file(arena_printf(&arena, "%s.version", path), says);
    return path;
}

/* A process that executes it. */
static pid_t start(const char *path)
{
    pid_t pid = kit_fork();
    char comm[32] = "";

    if (pid == 0) {
        execl(path, path, "--wait", (char *)NULL);
        _exit(1);
    }
    while (!str_eq(comm, "waits")) {
        cr_assert_geq(io_read_at(AT_FDCWD, arena_printf(&arena, "/proc/%d/comm", (int)pid), comm,
                                 sizeof comm),
                      0);
        io_sleep_ms(1);
    }
    return pid;
}

static const char *asked(const char *path)
{
    char text[1024];

    return io_read_at(AT_FDCWD, arena_printf(&arena, "%s.asked", path), text, sizeof text) < 0
               ? "never"
               : arena_strdup(&arena, text);
}

#define ONCE "0 /dev/null /dev/null"

static struct runtime look(pid_t pid)
{
    struct runtime r;

    runtime_look(pid, state, true, &arena, &r);
    return r;
}

/* The names of all that is remembered. */
static size_t count_answers(void)
{
    autodir dir = io_opendir_at(AT_FDCWD, arena_printf(&arena, "%s/runtimes", state));
    size_t count = 0;

    while (io_next_entry(dir))
        count++;
    return count;
}

static const char *answer_file(const char *program)
{
    struct stat st;

    cr_assert_eq(stat(program, &st), 0);
    return arena_printf(&arena, "%s/runtimes/%llx-%llx", state, (unsigned long long)st.st_dev,
                        (unsigned long long)st.st_ino);
}

static const char *or_none(const char *version)
{
    return version ? version : "none";
}

Test(runtime_look, version_is_asked_once)
{
    const char *runc = make_program("runc", "runc version 1.3.6\ncommit: x\n");
    pid_t pid = start(runc);

    for (int i = 0; i < 3; i++) {
        struct runtime r = look(pid);

        cr_expect_str_eq(r.path, runc);
        cr_expect_str_eq(or_none(r.version), "1.3.6");
        cr_expect_str_eq(asked(runc), ONCE);
    }
    cr_expect_eq(kit_mode_of(AT_FDCWD, answer_file(runc)), 0600u);
}

/* The same file with another content is another program. */
Test(runtime_look, version_of_a_changed_program)
{
    static const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    const char *runc = make_program("runc", "runc version 1.1.5\n");
    pid_t pid = start(runc);

    cr_expect_str_eq(or_none(look(pid).version), "1.1.5");
    kit_write_file(arena_printf(&arena, "%s.version", runc), "runc version 1.3.6\n");
    cr_expect_str_eq(or_none(look(pid).version), "1.1.5");
    cr_assert_eq(utimensat(AT_FDCWD, runc, times, 0), 0);
    cr_expect_str_eq(or_none(look(pid).version), "1.3.6");
    cr_expect_eq(count_answers(), 1);
}

/* What a program says is no version: that is an answer, too. What it does not say is none. */
Test(runtime_look, no_version)
{
    static const struct {
        const char *says, *asked_twice;
    } rows[] = {
        {"crun version 1.8\n", ONCE}, {"", ONCE}, {"quit", ONCE}, {"flood", ONCE},
        {"hang", ONCE "\n" ONCE},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *runc = make_program("runc", rows[i].says);
        pid_t pid = start(runc);
        unsigned long long begun = io_now_us();
        struct runtime first = look(pid), second = look(pid);

        cr_expect_lt(io_now_us() - begun, 60000000ull, "\"%s\": it waits", rows[i].says);
        cr_expect_str_eq(or_none(first.version), "none", "\"%s\"", rows[i].says);
        cr_expect_str_eq(or_none(second.version), "none", "\"%s\"", rows[i].says);
        cr_expect_str_eq(asked(runc), rows[i].asked_twice, "\"%s\"", rows[i].says);
        kit_end_child(pid);
        cr_assert(unlink(runc) == 0 && unlink(in_top("runc.asked")) == 0);
    }
}

/* Nobody but runc is run, whatever it could say. */
Test(runtime_look, others_are_not_asked)
{
    static const char *const names[] = {"crun", "runc-1.3", "xrunc", "runc.sh", "kata-runtime"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *program = make_program(names[i], "runc version 1.3.6\n");
        struct runtime r = look(start(program));

        cr_expect_str_eq(r.path, program);
        cr_expect_null(r.version, "%s", names[i]);
        cr_expect_str_eq(asked(program), "never");
    }
    cr_expect_eq(count_answers(), 0);
}

/* A program that was replaced is still the one that runs, but its name is not runc any more. */
Test(runtime_look, deleted_program)
{
    const char *runc = make_program("runc", "runc version 1.3.6\n");
    pid_t pid = start(runc);
    struct runtime r;

    cr_assert_eq(unlink(runc), 0);
    r = look(pid);
    cr_expect_str_eq(r.path, arena_printf(&arena, "%s (deleted)", runc));
    cr_expect_null(r.version);
    cr_expect_str_eq(asked(runc), "never");
}

/* A damaged memory is asked anew, and mended. */
Test(runtime_look, damaged_answers)
{
    const char *runc = make_program("runc", "runc version 1.3.6\n"), *file = answer_file(runc);
    pid_t pid = start(runc);
    char good[256];

    cr_expect_str_eq(or_none(look(pid).version), "1.3.6");
    cr_assert_geq(io_read_at(AT_FDCWD, file, good, sizeof good), 0);
    const char *const damaged[] = {
        "",
        "\n",
        "1.2.3",
        arena_printf(&arena, "%.*s1.1.5\n.\n", (int)(strchr(good, '\n') - good), good),
        arena_printf(&arena, "0%.*s1.1.5\n.\n", (int)(strchr(good, '\n') + 1 - good), good),
        arena_printf(&arena, "%.*s1.1.5\n", (int)(strchr(good, '\n') + 1 - good), good),
        arena_printf(&arena, "%.*s1.1.5\n.\nx\n", (int)(strchr(good, '\n') + 1 - good), good),
        arena_printf(&arena, "%.*s1.1.5\nx\n", (int)(strchr(good, '\n') + 1 - good), good),
        arena_printf(&arena, "%.*s1.1\n.\n", (int)(strchr(good, '\n') + 1 - good), good),
        arena_printf(&arena, "%.*s\n.\n", (int)(strchr(good, '\n') + 1 - good), good),
        arena_printf(&arena, "%s\n%0600d\n", good, 0),
    };

    for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
        char now[256];

        kit_write_file(file, damaged[i]);
        cr_expect_str_eq(or_none(look(pid).version), "1.3.6", "%s", damaged[i]);
        cr_assert_geq(io_read_at(AT_FDCWD, file, now, sizeof now), 0);
        cr_expect_str_eq(now, good, "%s", damaged[i]);
    }
    /* and this is what an undamaged one is good for */
    kit_write_file(
        file, arena_printf(&arena, "%.*s1.1.5\n.\n", (int)(strchr(good, '\n') + 1 - good), good));
    cr_expect_str_eq(or_none(look(pid).version), "1.1.5");
    kit_write_file(file,
                   arena_printf(&arena, "%.*s-\n.\n", (int)(strchr(good, '\n') + 1 - good), good));
    cr_expect_str_eq(or_none(look(pid).version), "none");
}

/* Who may not write, or was not told to, finds out all the same. */
Test(runtime_look, without_remembering)
{
    const char *runc = make_program("runc", "runc version 1.3.6\n");
    pid_t pid = start(runc);
    struct runtime r;

    runtime_look(pid, state, false, &arena, &r);
    cr_expect_str_eq(or_none(r.version), "1.3.6");
    cr_expect_not(kit_exists_at(AT_FDCWD, state));
    kit_write_file(state, "in the way");
    cr_expect_str_eq(or_none(look(pid).version), "1.3.6");
    cr_assert_eq(unlink(state), 0);
    look(pid);
    /* what is remembered is used */
    kit_write_file(arena_printf(&arena, "%s.version", runc), "");
    runtime_look(pid, state, false, &arena, &r);
    cr_expect_str_eq(or_none(r.version), "1.3.6");
}

Test(runtime_look, program_by_path)
{
    const char *runc = make_program("runc", "runc version 1.3.6\n");
    const char *crun = make_program("crun", "runc version 1.3.6\n");
    struct runtime r;

    runtime_look_at(runc, state, &arena, &r);
    cr_expect_str_eq(r.path, runc);
    cr_expect_str_eq(or_none(r.version), "1.3.6");
    cr_expect_eq(r.engine, ENGINE_UNKNOWN);
    cr_expect_not(kit_exists_at(AT_FDCWD, state));
    runtime_look_at(crun, state, &arena, &r);
    cr_expect_null(r.version);
    /* /proc says the file, not the link */
    cr_assert_eq(symlink(crun, in_top("link")), 0);
    runtime_look_at(in_top("link"), state, &arena, &r);
    cr_expect_str_eq(r.path, crun);
    cr_assert(rename(runc, in_top("runc-1.3")) == 0 &&
              symlink(in_top("runc-1.3"), in_top("runc")) == 0);
    runtime_look_at(in_top("runc"), state, &arena, &r);
    cr_expect_null(r.version);
    runtime_look_at(in_top("missing"), state, &arena, &r);
    cr_expect_null(r.version);
    /* a script is a wrapper: its process has another program */
    cr_assert_eq(unlink(in_top("runc")), 0);
    kit_write_file(in_top("runc"), "#!/bin/sh\necho runc version 1.3.6\n");
    cr_assert_eq(chmod(in_top("runc"), 0755), 0);
    runtime_look_at(in_top("runc"), state, &arena, &r);
    cr_expect_null(r.version);
}

/* The last of a chain of processes, of which the first is called so. */
static pid_t start_below(const char *name, int between)
{
    int fds[2];
    pid_t last;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    if (kit_fork() == 0) {
        prctl(PR_SET_NAME, name);
        for (; between >= 0; between--) {
            if (kit_fork() != 0)
                for (;;)
                    pause();
        }
        last = getpid();
        if (write(fds[1], &last, sizeof last) != (ssize_t)sizeof last)
            _exit(1);
        for (;;)
            pause();
    }
    cr_assert_eq(read(fds[0], &last, sizeof last), (ssize_t)sizeof last);
    close(fds[0]);
    close(fds[1]);
    return last;
}

Test(runtime_look, engine)
{
    static const struct {
        const char *name;
        int between;
        enum runtime_engine want;
    } rows[] = {
        /* the kernel cuts names */
        {"containerd-shim", 0, ENGINE_CONTAINERD}, {"containerd-shim", 1, ENGINE_CONTAINERD},
        {"containerd-shim", 5, ENGINE_CONTAINERD}, {"containerd-shi", 1, ENGINE_OTHER},
        {"xcontainerd-shi", 1, ENGINE_OTHER},      {"conmon", 1, ENGINE_OTHER},
        {"containerd", 1, ENGINE_OTHER},
    };

    kit_need_sight();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct runtime r = look(start_below(rows[i].name, rows[i].between));

        cr_expect_eq(r.engine, rows[i].want, "%s, %d between", rows[i].name, rows[i].between);
        cr_expect_null(r.why_unknown);
    }
}

/* A shim that goes by another name has its program's. */
Test(runtime_look, engine_by_program)
{
    kit_need_sight();
    cr_expect_eq(look(start(make_program("containerd-shim-runc-v2", ""))).engine,
                 ENGINE_CONTAINERD);
    cr_expect_eq(look(start(make_program("conmon", ""))).engine, ENGINE_OTHER);
}

/* What cannot be seen is not known. */
Test(runtime_look, engine_not_known)
{
    pid_t gone = kit_start_child();
    struct runtime r;

    kit_end_child(gone);
    r = look(gone);
    cr_expect_eq(r.engine, ENGINE_UNKNOWN);
    cr_expect(r.why_unknown && strstr(r.why_unknown, "ESRCH"), "%s", r.why_unknown);
    cr_expect_null(r.path);
    r = look(0);
    cr_expect_eq(r.engine, ENGINE_UNKNOWN);
    cr_expect_str_eq(r.why_unknown, "the runtime is in another pid namespace");
    cr_expect_null(r.path);
    cr_expect_eq(look(1).engine, ENGINE_OTHER);
}

/* One whose stat says everybody its parent, but whose program is root's to see. */
Test(runtime_look, engine_of_another_user)
{
    pid_t pid = start_below("conmon", 0);

    if (geteuid() != 0)
        cr_skip_test("root only");
    cr_assert_eq(seteuid(65534), 0);
    struct runtime r;

    runtime_look(pid, state, false, &arena, &r);
    cr_assert_eq(seteuid(0), 0);
    cr_expect_eq(r.engine, ENGINE_UNKNOWN);
    cr_expect(r.why_unknown && strstr(r.why_unknown, "EACCES"), "%s", r.why_unknown);
}

Test(runtime_look, forgets_when_they_are_many)
{
    const char *dir = arena_printf(&arena, "%s/runtimes", state);

    runtime_forget(state); /* there is no such directory */
    autofd fd = io_mkdirs(AT_FDCWD, dir, 0700);

    cr_assert_geq(fd, 0);
    for (int i = 0; i < RUNTIME_ANSWERS_MAX; i++)
        kit_write_file(arena_printf(&arena, "%s/%d", dir, i), "");
    runtime_forget(state);
    cr_expect_eq(count_answers(), (size_t)RUNTIME_ANSWERS_MAX);
    kit_write_file(arena_printf(&arena, "%s/more", dir), "");
    runtime_forget(state);
    cr_expect_eq(count_answers(), 0u);
}

/* Many containers that start at once ask once. */
Test(runtime_look, asked_once_by_many)
{
    const char *runc = make_program("runc", "runc version 1.3.6\n");
    pid_t pid = start(runc), lookers[8];

    for (size_t i = 0; i < ARRAY_SIZE(lookers); i++) {
        lookers[i] = kit_fork();
        if (lookers[i] == 0) {
            const char *version = look(pid).version;

            _exit(version && str_eq(version, "1.3.6") ? 0 : 1);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(lookers); i++) {
        int status = -1;

        cr_assert_eq(waitpid(lookers[i], &status, 0), lookers[i]);
        cr_expect_eq(status, 0);
    }
    cr_expect_str_eq(asked(runc), ONCE);
}
