/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

/* --- err --- */

Test(base, err_first_wins)
{
    struct err e = ERR_INIT;

    cr_expect_eq(err_set(&e, -ENOENT, "first %d", 1), -ENOENT);
    cr_expect_eq(err_set(&e, -EPERM, "second"), -EPERM, "the new code is returned");
    cr_expect_eq(err_sys(&e, -EACCES, "third"), -EACCES, "the new code is returned");
    cr_expect_eq(err_input(&e, "fourth"), -EINVAL, "the new code is returned");
    cr_expect(e.code == -ENOENT && !e.bad_input && str_eq(e.text, "first 1"),
              "expected -ENOENT \"first 1\"; got %d, input %d, \"%s\"", e.code, e.bad_input,
              e.text);
    err_reset(&e);
    cr_expect(e.code == 0 && !e.bad_input && str_eq(e.text, ""), "reset; got %d \"%s\"", e.code,
              e.text);
    cr_expect_eq(err_input(&e, "bad %s", "thing"), -EINVAL);
    cr_expect(e.code == -EINVAL && e.bad_input && str_eq(e.text, "bad thing"),
              "expected input error \"bad thing\"; got %d, input %d, \"%s\"", e.code, e.bad_input,
              e.text);
    err_reset(&e);
    cr_expect_not(e.bad_input, "reset clears the input flag");
    /* a later error of another kind must not inherit the flag */
    e.bad_input = true;
    err_set(&e, -EIO, "x");
    cr_expect_not(e.bad_input, "err_set is no input error");
}

Test(base, err_null)
{
    cr_expect_eq(err_set(NULL, -ENOENT, "x"), -ENOENT);
    cr_expect_eq(err_sys(NULL, -EPERM, "x"), -EPERM);
    cr_expect_eq(err_input(NULL, "x"), -EINVAL);
    err_wrap(NULL, "x");
    err_hint(NULL, "x");
    err_reset(NULL);
}

Test(base, err_sys_text)
{
    static const struct {
        int code;
        const char *want;
    } cases[] = {
        {-ENOENT, "open /x: ENOENT (No such file or directory)"},
        {-EBUSY, "open /x: EBUSY (Device or resource busy)"},
        {-EOPNOTSUPP, "open /x: EOPNOTSUPP (Operation not supported)"},
        {-4000, "open /x: errno 4000"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        int r = err_sys(&e, cases[i].code, "open /%c", 'x');
        bool text_ok = str_eq(e.text, cases[i].want);

        /* ENOTSUP and EOPNOTSUPP are one number on Linux: either name is right */
        if (cases[i].code == -EOPNOTSUPP)
            text_ok = text_ok || str_eq(e.text, "open /x: ENOTSUP (Operation not supported)");
        cr_expect(r == cases[i].code && e.code == cases[i].code && !e.bad_input && text_ok,
                  "%d: expected \"%s\"; got %d, \"%s\"", cases[i].code, cases[i].want, r, e.text);
    }
}

Test(base, err_name)
{
    char buf[96];

    cr_expect_str_eq(err_name(ENOENT, buf), "ENOENT (No such file or directory)");
    cr_expect_str_eq(err_name(-ENOENT, buf), "ENOENT (No such file or directory)");
    cr_expect_str_eq(err_name(-99999, buf), "errno 99999");
}

Test(base, err_wrap_and_hint)
{
    struct err e = ERR_INIT;

    err_wrap(&e, "ctx");
    err_hint(&e, "hint");
    cr_expect(e.code == 0 && str_eq(e.text, ""), "no error, no text; got \"%s\"", e.text);
    err_set(&e, -EIO, "inner");
    err_wrap(&e, "step %d", 2);
    err_hint(&e, "; try %s", "again");
    err_wrap(&e, "outer");
    cr_expect(e.code == -EIO && str_eq(e.text, "outer: step 2: inner; try again"), "got %d \"%s\"",
              e.code, e.text);
}

/* Every way to put text in must cut at the buffer and keep the NUL. */
Test(base, err_truncation)
{
    char longer[2 * ERR_TEXT_SIZE];

    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    for (int way = 0; way < 5; way++) {
        struct err e = ERR_INIT;

        switch (way) {
        case 0:
            err_set(&e, -EIO, "%s", longer);
            break;
        case 1:
            err_sys(&e, -EIO, "%s", longer);
            break;
        case 2:
            err_input(&e, "%s", longer);
            break;
        case 3:
            err_set(&e, -EIO, "aa");
            err_wrap(&e, "%s", longer);
            break;
        default:
            err_set(&e, -EIO, "aa");
            err_hint(&e, "%s", longer);
        }
        cr_expect_eq(strlen(e.text), ERR_TEXT_SIZE - 1, "way %d: expected %d bytes, got %zu", way,
                     ERR_TEXT_SIZE - 1, strlen(e.text));
        cr_expect_eq(strspn(e.text, "a"), strlen(e.text), "way %d: got \"%s\"", way, e.text);
    }
}

/* --- str --- */

Test(base, to_u64)
{
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"7", 0, 7},
        {"007", 0, 7},
        {"9223372036854775808", 0, UINT64_C(9223372036854775808)},
        {"18446744073709551609", 0, UINT64_MAX - 6},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"18446744073709551620", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"184467440737095516150", -ERANGE, 0},
        {"00000000000000000000000000000000012", 0, 12},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1\n", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"/", -EINVAL, 0},
        {":", -EINVAL, 0},
        {"\xb1", -EINVAL, 0},
        /* garbage behind a number that does not fit is still garbage */
        {"99999999999999999999x", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t value = 4711, want = cases[i].result == 0 ? cases[i].value : 4711;
        int r = str_to_u64(cases[i].text, strlen(cases[i].text), &value);

        cr_expect(r == cases[i].result && value == want,
                  "\"%s\": expected %d, %" PRIu64 "; got %d, %" PRIu64, cases[i].text,
                  cases[i].result, want, r, value);
    }
    uint64_t value = 0;

    cr_expect(str_to_u64("12345", 3, &value) == 0 && value == 123,
              "the length counts, not the NUL: expected 123, got %" PRIu64, value);
    cr_expect_eq(str_to_u64("1\0002", 3, &value), -EINVAL, "a NUL inside is no digit");
}

Test(base, to_i64)
{
    static const struct {
        const char *text;
        int result;
        int64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"-1", 0, -1},
        {"9223372036854775807", 0, INT64_MAX},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775807", 0, -INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"-9223372036854775809", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"- 1", -EINVAL, 0},
        {"1-", -EINVAL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t value = 4711, want = cases[i].result == 0 ? cases[i].value : 4711;
        int r = str_to_i64(cases[i].text, strlen(cases[i].text), &value);

        cr_expect(r == cases[i].result && value == want,
                  "\"%s\": expected %d, %" PRId64 "; got %d, %" PRId64, cases[i].text,
                  cases[i].result, want, r, value);
    }
}

Test(base, str_next)
{
    static const struct {
        const char *text;
        const char *want; /* fields in brackets */
    } cases[] = {
        {"", "[]"},
        {"a", "[a]"},
        {"a,b", "[a][b]"},
        {",", "[][]"},
        {"a,,b,", "[a][][b][]"},
        {",a", "[][a]"},
        {"a b,c", "[a b][c]"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autosbuf got = SBUF_INIT;
        char text[32], *cursor = text, *field;

        strcpy(text, cases[i].text);
        while ((field = str_next(&cursor, ',')))
            sbuf_addf(&got, "[%s]", field);
        cr_expect(str_eq(sbuf_text(&got), cases[i].want), "\"%s\": expected %s, got %s",
                  cases[i].text, cases[i].want, sbuf_text(&got));
        cr_expect(!cursor && !str_next(&cursor, ','), "\"%s\": still NULL at the end",
                  cases[i].text);
    }
}

Test(base, str_predicates)
{
    static const struct {
        const char *s, *part;
        bool starts, ends;
    } cases[] = {
        {"a.slice", ".slice", false, true},
        {".slice", ".slice", true, true},
        {"slice", ".slice", false, false},
        {"a.slice2", ".slice", false, false},
        {"abc", "ab", true, false},
        {"", "", true, true},
        {"x", "", true, true},
        {"", "x", false, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        bool starts = str_starts(cases[i].s, cases[i].part);
        bool ends = str_ends(cases[i].s, cases[i].part);

        cr_expect(starts == cases[i].starts && ends == cases[i].ends,
                  "\"%s\", \"%s\": expected starts %d, ends %d; got %d, %d", cases[i].s,
                  cases[i].part, cases[i].starts, cases[i].ends, starts, ends);
    }
    cr_expect(str_eq_null(NULL, NULL) && str_eq_null("a", "a"));
    cr_expect(!str_eq_null(NULL, "") && !str_eq_null("", NULL) && !str_eq_null("a", "b"));
    cr_expect(str_empty(NULL) && str_empty("") && !str_empty(" "));
}

Test(base, escape)
{
    static const struct {
        const char *text;
        size_t size;
        const char *want;
    } cases[] = {
        {"plain text ~", 64, "plain text ~"},
        {"", 64, ""},
        {"", 1, ""},
        {"a\nb\tc", 64, "a\\x0ab\\x09c"},
        {"back\\slash", 64, "back\\x5cslash"},
        {"\x1b[31m", 64, "\\x1b[31m"},
        {"\x1f \x7e\x7f\x80\xff", 64, "\\x1f ~\\x7f\\x80\\xff"},
        {"\xc3\xa4", 64, "\\xc3\\xa4"},
        {"abcdefghij", 8, "abcd..."},
        {"ab\ncdefgh", 10, "ab\\x0a..."}, /* an escape is kept or dropped as a whole */
        {"ab\ncdefgh", 9, "ab..."},
        {"abc", 4, "abc"}, /* it fits: no reason to cut */
        {"abcdefg", 8, "abcdefg"},
        {"\n", 5, "\\x0a"},
        {"abcdefg", 4, "..."},
        {"abcdefg", 3, ".."},
        {"abcdefg", 2, "."},
        {"abcdefg", 1, ""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[80];
        const char *got;

        memset(buf, '#', sizeof buf);
        got = str_escape(cases[i].text, buf, cases[i].size);
        cr_expect(got == buf && memchr(buf, '\0', cases[i].size) && buf[cases[i].size] == '#',
                  "row %zu: NUL within %zu bytes, nothing behind them", i, cases[i].size);
        buf[sizeof buf - 1] = '\0';
        cr_expect(str_eq(got, cases[i].want), "row %zu, size %zu: expected \"%s\", got \"%s\"", i,
                  cases[i].size, cases[i].want, got);
    }
    char untouched = '#';

    str_escape("abc", &untouched, 0);
    cr_expect_eq(untouched, '#', "size 0: nothing is written");
}

Test(base, sbuf)
{
    autosbuf b = SBUF_INIT;
    char want[3000] = "";
    size_t len = 0;

    cr_expect_str_eq(sbuf_text(&b), "");
    sbuf_addf(&b, "%s", "");
    cr_expect(b.len == 0 && str_eq(sbuf_text(&b), ""));
    sbuf_add(&b, "", 0);
    cr_expect(b.len == 0 && str_eq(sbuf_text(&b), ""));
    /* over the growth at 256, 512, ... with both ways to add */
    for (int i = 0; i < 300; i++) {
        len += (size_t)snprintf(want + len, sizeof want - len, "%d;ab", i);
        sbuf_addf(&b, "%d;", i);
        sbuf_add(&b, "abc", 2);
        cr_assert(b.len == len && strlen(sbuf_text(&b)) == len, "after %d: expected %zu, got %zu",
                  i, len, b.len);
    }
    cr_expect_str_eq(sbuf_text(&b), want);
    sbuf_free(&b);
    cr_expect(b.len == 0 && b.capacity == 0 && str_eq(sbuf_text(&b), ""));
    for (size_t size = 250; size < 260; size++) {
        autosbuf edge = SBUF_INIT;
        char text[300];

        memset(text, 'x', sizeof text);
        sbuf_add(&edge, text, size);
        cr_expect(edge.len == size && strlen(sbuf_text(&edge)) == size, "%zu bytes; got %zu", size,
                  edge.len);
    }
}

/* --- arena --- */

Test(base, arena_push_keeps)
{
    autoarena a = ARENA_INIT;
    struct item {
        uint64_t id;
        char pad[24];
    } *items = NULL;
    size_t count = 0;

    for (uint64_t i = 0; i < 5000; i++) {
        struct item *item = arena_push(&a, &items, &count, sizeof *item);
        static const char zero[24];

        cr_assert_eq(count, i + 1);
        cr_assert_eq(item, &items[i], "element %" PRIu64 " is the last of the array", i);
        cr_assert(item->id == 0 && memcmp(item->pad, zero, sizeof zero) == 0,
                  "element %" PRIu64 " is zeroed", i);
        item->id = i + 1;
        memset(item->pad, 0xaa, sizeof item->pad);
    }
    for (uint64_t i = 0; i < 5000; i++)
        cr_expect_eq(items[i].id, i + 1, "element %" PRIu64 ": got %" PRIu64, i, items[i].id);
}

Test(base, arena_alloc)
{
    static const size_t sizes[] = {0,     1,      3, 15,   16,   17,   100,  16319, 16320, 16321,
                                   16384, 100000, 1, 5000, 5000, 5000, 5000, 16320, 7,     65536};
    autoarena a = ARENA_INIT;
    unsigned char *blocks[ARRAY_SIZE(sizes)];

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        blocks[i] = arena_alloc(&a, sizes[i]);
        cr_expect_eq((uintptr_t)blocks[i] % alignof(max_align_t), 0, "%zu bytes: aligned",
                     sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(blocks[i][k], 0, "%zu bytes: zeroed", sizes[i]);
        memset(blocks[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            cr_assert_eq(blocks[i][k], i + 1, "allocation %zu (%zu bytes) kept its bytes", i,
                         sizes[i]);
    }
    arena_free(&a);
    cr_expect_null(a.head);
    cr_expect_str_eq(arena_strdup(&a, "again"), "again", "usable again after arena_free()");
}

/* A large request must not end the block that small ones still fit in. */
Test(base, arena_large_goes_behind)
{
    autoarena a = ARENA_INIT;
    char *first = arena_alloc(&a, 16), *second;

    arena_alloc(&a, 1 << 20);
    second = arena_alloc(&a, 16);
    cr_expect_eq(second - first, 16, "expected the next 16 bytes of the same block, got %td",
                 second - first);
}

Test(base, arena_text)
{
    autoarena a = ARENA_INIT;
    char big[40000];

    memset(big, 'b', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    cr_expect_str_eq(arena_strdup(&a, ""), "");
    cr_expect_str_eq(arena_strndup(&a, "abcdef", 3), "abc");
    cr_expect_str_eq(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    cr_expect_str_eq(arena_printf(&a, "%s", ""), "");
    cr_expect_str_eq(arena_printf(&a, "%s", big), big);
}

Test(base, out_of_memory_ends_with_1)
{
    int fds[2], status = 0;
    char text[128] = "";
    pid_t pid;

    cr_assert_eq(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        struct arena a = ARENA_INIT;
        volatile size_t size = SIZE_MAX / 2;

        dup2(fds[1], STDERR_FILENO);
        arena_alloc(&a, size);
        _exit(0);
    }
    close(fds[1]);
    cr_expect_gt(io_read_full(fds[0], text, sizeof text - 1), 0);
    close(fds[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "expected exit 1, got status %#x",
              (unsigned)status);
    cr_expect_str_eq(text, "oci-sandbox-cgroup: out of memory\n");
}

/* --- cleanup --- */

Test(base, cleanup_fd)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy;

    cr_assert_geq(fd, 0);
    copy = fd;
    cr_expect_eq(fd_take(&fd), copy);
    cr_expect_eq(fd, FD_NONE);
    fd = copy;
    errno = EXDEV;
    fd_close(&fd);
    cr_expect(fd == FD_NONE && errno == EXDEV, "fd_close() keeps errno");
    cr_expect(fcntl(copy, F_GETFD) < 0 && errno == EBADF, "closed");
    errno = EXDEV;
    fd_close(&fd);
    cr_expect_eq(errno, EXDEV, "closing FD_NONE does nothing");
}

Test(base, cleanup_keeps_errno)
{
    {
        autofd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        autodir dir = opendir("/");
        autofree char *text = malloc(1);

        cr_assert(fd >= 0 && dir && text);
        /* what its release will fail with */
        close(dirfd(dir));
        close(fd);
        errno = EXDEV;
    }
    cr_expect_eq(errno, EXDEV, "got %d", errno);
}

/* --- io, in a directory of its own --- */

static char top[PATH_MAX];
static int topfd = FD_NONE;

static void make_top(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(top, sizeof top, "%s/osc-base-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(top));
    topfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(topfd, 0);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_top(void)
{
    fd_close(&topfd);
    nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void put(const char *name, const char *data, size_t len)
{
    autofd fd = openat(topfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
}

static char *get(const char *name, char *buf, size_t size)
{
    autofd fd = openat(topfd, name, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, buf, size - 1);

    buf[len > 0 ? len : 0] = '\0';
    return buf;
}

static bool there(const char *name)
{
    return faccessat(topfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Test(base, read_at, .init = make_top, .fini = remove_top)
{
    static const struct {
        const char *content;
        size_t size;
        ssize_t result;
        const char *want;
    } cases[] = {
        {"", 8, 0, ""},
        {"\n", 8, 0, ""},
        {"abc", 8, 3, "abc"},
        {"abc\n", 8, 3, "abc"},
        {"abc\n\n", 8, 4, "abc\n"}, /* one newline goes */
        {"\nabc", 8, 4, "\nabc"},
        {"1234567", 8, 7, "1234567"}, /* the largest that fits */
        {"123456\n", 8, 6, "123456"},
        {"12345678", 8, -EFBIG, NULL},
        {"123456789", 8, -EFBIG, NULL},
        {"", 1, 0, ""},
        {"x", 1, -EFBIG, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char buf[16];
        ssize_t r;

        memset(buf, '#', sizeof buf);
        put("f", cases[i].content, strlen(cases[i].content));
        r = io_read_at(topfd, "f", buf, cases[i].size);
        buf[sizeof buf - 1] = '\0';
        cr_expect_eq(r, cases[i].result, "\"%s\" in %zu: expected %zd, got %zd", cases[i].content,
                     cases[i].size, cases[i].result, r);
        if (r >= 0)
            cr_expect_str_eq(buf, cases[i].want);
        cr_expect_eq(buf[cases[i].size], '#', "\"%s\" in %zu: wrote behind the buffer",
                     cases[i].content, cases[i].size);
    }
    char buf[8];

    cr_expect_eq(io_read_at(topfd, "none", buf, sizeof buf), -ENOENT);
    cr_assert_eq(symlinkat("f", topfd, "link"), 0);
    cr_expect_eq(io_read_at(topfd, "link", buf, sizeof buf), -ELOOP);
    cr_expect_eq(io_read_at(topfd, ".", buf, sizeof buf), -EISDIR);
}

Test(base, read_all, .init = make_top, .fini = remove_top)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 65536, 100000};
    static char data[100001];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        size_t n = sizes[i];
        size_t limits[] = {n, n + 1, n ? n - 1 : SIZE_MAX, SIZE_MAX, 0};

        put("f", data, n);
        for (size_t k = 0; k < ARRAY_SIZE(limits); k++) {
            autofree char *text = NULL;
            ssize_t want = n <= limits[k] ? (ssize_t)n : -EFBIG;
            ssize_t r = io_read_all_at(topfd, "f", limits[k], &text);

            cr_expect_eq(r, want, "%zu bytes, max %zu: expected %zd, got %zd", n, limits[k], want,
                         r);
            if (r >= 0)
                cr_expect(text && memcmp(text, data, n) == 0 && text[n] == '\0',
                          "%zu bytes, max %zu: same bytes and a NUL", n, limits[k]);
            else
                cr_expect_null(text, "%zu bytes, max %zu: nothing handed out", n, limits[k]);
        }
    }
    autofree char *text = NULL;

    put("f", "a\n", 2);
    cr_expect(io_read_all_at(topfd, "f", 10, &text) == 2 && str_eq(text, "a\n"),
              "as it is, newline included");
    cr_expect_eq(io_read_all_at(topfd, "none", 10, &text), -ENOENT);
    cr_assert_eq(symlinkat("f", topfd, "link"), 0);
    cr_expect_eq(io_read_all_at(topfd, "link", 10, &text), -ELOOP);
    cr_expect_eq(io_read_all(topfd, 10, &text), -EISDIR);
}

/* Writes @count bytes, one or @chunk at a time, and exits with 0. */
static pid_t start_writer(int fds[2], size_t count, size_t chunk)
{
    pid_t pid;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char data[4096];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_DFL);
        close(fds[0]);
        memset(data, 'x', sizeof data);
        for (size_t done = 0; done < count; done += chunk) {
            if (write(fds[1], data, chunk) != (ssize_t)chunk)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    return pid;
}

static bool ended_well(pid_t pid)
{
    int status = -1;

    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(base, read_full_and_drain)
{
    static char buf[5001];
    int fds[2];
    pid_t pid = start_writer(fds, 5000, 1);
    ssize_t n = io_read_full(fds[0], buf, sizeof buf);

    cr_expect_eq(n, 5000, "expected 5000 bytes from single-byte writes, got %zd", n);
    cr_expect(ended_well(pid));
    close(fds[0]);

    pid = start_writer(fds, 3000, 1000);
    n = io_read_full(fds[0], buf, 100);
    cr_expect_eq(n, 100, "a full buffer ends it: got %zd", n);
    io_drain(fds[0]);
    close(fds[0]);
    cr_expect(ended_well(pid));

    /* more than a pipe holds: without draining, the writer gets SIGPIPE */
    pid = start_writer(fds, 4096 * 64, 4096);
    io_drain(fds[0]);
    close(fds[0]);
    cr_expect(ended_well(pid), "the writer wrote everything");
    cr_expect_eq(io_read_full(-1, buf, 1), -EBADF);
}

Test(base, write_at, .init = make_top, .fini = remove_top)
{
    char buf[64];
    struct rlimit small = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY}, old;

    cr_expect_eq(io_write_at(topfd, "none", "x"), -ENOENT);
    cr_expect_not(there("none"), "a control file is never created");
    put("f", "hello", 5);
    cr_expect_eq(io_write_at(topfd, "f", "ab"), 0);
    cr_expect_str_eq(get("f", buf, sizeof buf), "abllo", "no truncation");
    cr_assert_eq(symlinkat("f", topfd, "link"), 0);
    cr_expect_eq(io_write_at(topfd, "link", "zz"), -ELOOP);
    cr_expect_str_eq(get("f", buf, sizeof buf), "abllo");

    /* short write: the file may grow to four bytes only */
    put("short", "", 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = io_write_at(topfd, "short", "123456");

    setrlimit(RLIMIT_FSIZE, &old);
    cr_expect_eq(r, -EIO, "short write: expected -EIO, got %d", r);
}

Test(base, write_id_at, .init = make_top, .fini = remove_top)
{
    static const pid_t ids[] = {0, 1, 9, 10, 42, 4194304, INT_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char want[16], buf[32];

        put("f", "", 0);
        snprintf(want, sizeof want, "%d", ids[i]);
        cr_expect_eq(io_write_id_at(topfd, "f", ids[i]), 0);
        cr_expect_str_eq(get("f", buf, sizeof buf), want);
    }
    cr_expect_eq(io_write_id_at(topfd, "none", 1), -ENOENT);
    cr_expect_not(there("none"));
}

/* Both ways to open beneath must answer each row alike. */
static const struct beneath_row {
    const char *path;
    int flags;
    int result; /* 0 or -errno */
    const char *same_as;
} beneath_rows[] = {
    {"", O_RDONLY | O_DIRECTORY, 0, "."},
    {".", O_PATH, 0, "."},
    {"a", O_RDONLY | O_DIRECTORY, 0, "a"},
    {"a/", O_PATH | O_DIRECTORY, 0, "a"},
    {"a/b/file", O_RDONLY, 0, "a/b/file"},
    {"a//b/./file", O_WRONLY, 0, "a/b/file"},
    {"a/b/file", O_PATH, 0, "a/b/file"},
    {"./a/b", O_PATH | O_DIRECTORY, 0, "a/b"},
    {"...", O_RDONLY, 0, "..."}, /* an ordinary name */
    {"a/..x", O_RDONLY, 0, "a/..x"},
    {"a/b/file", O_RDONLY | O_DIRECTORY, -ENOTDIR, NULL},
    {"a/b/file/x", O_RDONLY, -ENOTDIR, NULL},
    {"a/b/file/", O_RDONLY, -ENOTDIR, NULL},
    {"none", O_RDONLY, -ENOENT, NULL},
    {"none/x", O_RDONLY, -ENOENT, NULL},
    {"a/none", O_PATH | O_DIRECTORY, -ENOENT, NULL},
    {"a", O_WRONLY, -EISDIR, NULL},
    /* links: in the middle, last, to a directory, to nowhere, out of the tree */
    {"dlink/b/file", O_RDONLY, -ELOOP, NULL},
    {"a/b/../../dlink", O_RDONLY, -EXDEV, NULL},
    {"a/dlink2/file", O_RDONLY, -ELOOP, NULL},
    {"dlink", O_RDONLY, -ELOOP, NULL},
    {"dlink", O_RDONLY | O_DIRECTORY, -ELOOP, NULL},
    {"dlink", O_PATH | O_DIRECTORY, -ELOOP, NULL},
    {"dlink", O_PATH, -ELOOP, NULL},
    {"dlink/", O_PATH | O_DIRECTORY, -ELOOP, NULL},
    {"flink", O_RDONLY, -ELOOP, NULL},
    {"flink", O_PATH, -ELOOP, NULL},
    {"dangling", O_RDONLY, -ELOOP, NULL},
    {"dangling", O_PATH, -ELOOP, NULL},
    {"out/etc", O_PATH, -ELOOP, NULL},
    {"loop", O_RDONLY, -ELOOP, NULL},
    /* ".." anywhere, even where it would stay beneath */
    {"..", O_PATH, -EXDEV, NULL},
    {"../x", O_PATH, -EXDEV, NULL},
    {"a/..", O_PATH, -EXDEV, NULL},
    {"a/../a/b/file", O_RDONLY, -EXDEV, NULL},
    {"a/../..", O_PATH, -EXDEV, NULL},
    {"a/b/..", O_PATH | O_DIRECTORY, -EXDEV, NULL},
    /* absolute */
    {"/", O_PATH, -EXDEV, NULL},
    {"/etc", O_PATH, -EXDEV, NULL},
    {"//a", O_PATH, -EXDEV, NULL},
};

static void make_tree(void)
{
    static const char *const dirs[] = {"a", "a/b"};
    static const struct {
        const char *target, *name;
    } links[] = {
        {"a", "dlink"},       {"b", "a/dlink2"}, {"a/b/file", "flink"},
        {"none", "dangling"}, {"/", "out"},      {"loop", "loop"},
    };

    make_top();
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        cr_assert_eq(mkdirat(topfd, dirs[i], 0755), 0);
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        cr_assert_eq(symlinkat(links[i].target, topfd, links[i].name), 0);
    put("a/b/file", "x", 1);
    put("...", "x", 1);
    put("a/..x", "x", 1);
}

static void check_beneath(const char *which, int (*open_beneath)(int, const char *, int))
{
    for (size_t i = 0; i < ARRAY_SIZE(beneath_rows); i++) {
        const struct beneath_row *row = &beneath_rows[i];
        autofd fd = open_beneath(topfd, row->path, row->flags);
        int got = fd < 0 ? fd : 0;
        struct stat st, want;

        cr_expect_eq(got, row->result, "%s(\"%s\", %#o): expected %d, got %d", which, row->path,
                     (unsigned)row->flags, row->result, got);
        if (got < 0 || row->result < 0)
            continue;
        cr_expect(fstat(fd, &st) == 0 && fstatat(topfd, row->same_as, &want, 0) == 0 &&
                      st.st_ino == want.st_ino && st.st_dev == want.st_dev,
                  "%s(\"%s\") opened %s", which, row->path, row->same_as);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s(\"%s\"): close-on-exec", which, row->path);
    }
}

static void check_beneath_create(const char *which, int (*open_beneath)(int, const char *, int))
{
    autofd fd = open_beneath(topfd, "a/new", O_WRONLY | O_CREAT | O_EXCL);
    struct stat st;

    cr_assert_geq(fd, 0, "%s with O_CREAT: got %d", which, fd);
    cr_expect(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600, "%s: mode 0600, got %o", which,
              (unsigned)st.st_mode);
    cr_expect_eq(open_beneath(topfd, "a/new", O_WRONLY | O_CREAT | O_EXCL), -EEXIST);
    cr_expect_eq(open_beneath(topfd, "dangling", O_WRONLY | O_CREAT), -ELOOP);
    cr_expect_not(there("none"), "%s: nothing is made through a link", which);
}

static void check_beneath_mounts(const char *which, int (*open_beneath)(int, const char *, int))
{
    autofd root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    cr_expect_eq(open_beneath(root, "proc", O_PATH), -EXDEV, "%s: last component", which);
    cr_expect_eq(open_beneath(root, "proc/1/stat", O_RDONLY), -EXDEV, "%s: in the middle", which);
    cr_expect_eq(open_beneath(-1, "x", O_PATH), -EBADF, "%s: no directory", which);
}

Test(base, open_beneath, .init = make_tree, .fini = remove_top)
{
    check_beneath("io_open_beneath", io_open_beneath);
    check_beneath_create("io_open_beneath", io_open_beneath);
    check_beneath_mounts("io_open_beneath", io_open_beneath);
}

Test(base, open_beneath_walk, .init = make_tree, .fini = remove_top)
{
    check_beneath("io_open_beneath_walk", io_open_beneath_walk);
    check_beneath_create("io_open_beneath_walk", io_open_beneath_walk);
    check_beneath_mounts("io_open_beneath_walk", io_open_beneath_walk);
}

/* From here on openat2(2) fails in this process. */
static void forbid_openat2(unsigned code)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        cr_skip_test("no seccomp filters here: %s", strerror(errno));
    cr_assert(syscall(SYS_openat2, topfd, ".", NULL, 0) < 0 && (unsigned)errno == code);
}

/* An old kernel, and a container engine's filter that does not know the call. */
Test(base, open_beneath_on_an_old_kernel, .init = make_tree, .fini = remove_top)
{
    forbid_openat2(ENOSYS);
    check_beneath("io_open_beneath", io_open_beneath);
}

Test(base, open_beneath_under_a_filter, .init = make_tree, .fini = remove_top)
{
    forbid_openat2(EPERM);
    check_beneath("io_open_beneath", io_open_beneath);
}

/* A mount of the same file system: the device number does not tell. */
static void check_bind_mount(const char *which, int (*open_beneath)(int, const char *, int))
{
    char from[PATH_MAX + 8], to[PATH_MAX + 8];
    autofd fd = FD_NONE;

    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
        cr_skip_test("needs a mount namespace of its own: %s", strerror(errno));
    snprintf(from, sizeof from, "%s/a/b", top);
    snprintf(to, sizeof to, "%s/bound", top);
    cr_assert_eq(mkdirat(topfd, "bound", 0755), 0);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(from, to, NULL, MS_BIND, NULL) < 0)
        cr_skip_test("cannot bind mount: %s", strerror(errno));
    /* the old descriptor still looks at the old namespace's mounts */
    fd_close(&topfd);
    topfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fd = open_beneath(topfd, "bound/file", O_RDONLY);
    umount2(to, MNT_DETACH);
    cr_expect_eq(fd, -EXDEV, "%s crosses a bind mount: expected %d, got %d", which, -EXDEV, fd);
}

Test(base, open_beneath_bind_mount, .init = make_tree, .fini = remove_top)
{
    check_bind_mount("io_open_beneath", io_open_beneath);
}

Test(base, open_beneath_walk_bind_mount, .init = make_tree, .fini = remove_top)
{
    check_bind_mount("io_open_beneath_walk", io_open_beneath_walk);
}

static unsigned mode_of(const char *name)
{
    struct stat st;

    return fstatat(topfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & 07777 : 0;
}

Test(base, replace_at, .init = make_top, .fini = remove_top)
{
    autofd old = FD_NONE;
    char buf[64];

    umask(0);
    cr_expect_eq(io_replace_at(topfd, "rec", "one", 3), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "one");
    cr_expect_eq(mode_of("rec"), 0600, "expected 0600, got %o", mode_of("rec"));
    cr_expect_not(there("rec.tmp"));
    old = openat(topfd, "rec", O_RDONLY | O_CLOEXEC);
    cr_expect_eq(io_replace_at(topfd, "rec", "second, longer", 14), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "second, longer");
    cr_expect(read(old, buf, sizeof buf) == 3 && memcmp(buf, "one", 3) == 0,
              "who has the old file open keeps it whole");
    cr_expect_eq(io_replace_at(topfd, "rec", "", 0), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "");
    cr_expect_eq(io_replace_at(topfd, "rec", "a\0b", 3), 0);
    struct stat st;

    cr_expect(fstatat(topfd, "rec", &st, 0) == 0 && st.st_size == 3, "bytes, not text");
}

Test(base, replace_at_leftover_temp, .init = make_top, .fini = remove_top)
{
    char buf[64];

    /* a kill left a longer temporary file, with a mode of its own */
    put("rec.tmp", "leftover of a killed run", 24);
    cr_assert_eq(fchmodat(topfd, "rec.tmp", 0644, 0), 0);
    cr_expect_eq(io_replace_at(topfd, "rec", "new", 3), 0);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "new");
    cr_expect_eq(mode_of("rec"), 0600, "expected 0600, got %o", mode_of("rec"));
    cr_expect_not(there("rec.tmp"));
    /* a link there must not be written through */
    put("victim", "v", 1);
    cr_assert_eq(symlinkat("victim", topfd, "rec.tmp"), 0);
    cr_expect_eq(io_replace_at(topfd, "rec", "newer", 5), 0);
    cr_expect_str_eq(get("victim", buf, sizeof buf), "v");
    cr_expect_str_eq(get("rec", buf, sizeof buf), "newer");
    cr_expect_not(there("rec.tmp"));
}

Test(base, replace_at_failure_keeps_old, .init = make_top, .fini = remove_top)
{
    struct rlimit small = {.rlim_cur = 4}, old;
    char name[300], buf[64];
    int r;

    cr_assert_eq(io_replace_at(topfd, "rec", "old", 3), 0);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    r = io_replace_at(topfd, "rec", "too long", 8);
    setrlimit(RLIMIT_FSIZE, &old);
    cr_expect_eq(r, -EFBIG, "expected %d, got %d", -EFBIG, r);
    cr_expect_str_eq(get("rec", buf, sizeof buf), "old");
    cr_expect_not(there("rec.tmp"), "the temporary file is gone");

    cr_assert_eq(mkdirat(topfd, "dir", 0755), 0);
    r = io_replace_at(topfd, "dir", "x", 1);
    cr_expect_eq(r, -EISDIR, "expected %d, got %d", -EISDIR, r);
    cr_expect_not(there("dir.tmp"));

    memset(name, 'n', sizeof name);
    name[251] = '\0'; /* with ".tmp" as long as a name may be */
    cr_expect_eq(io_replace_at(topfd, name, "x", 1), 0);
    name[251] = 'n';
    name[252] = '\0';
    cr_expect_eq(io_replace_at(topfd, name, "x", 1), -ENAMETOOLONG);
    cr_expect_eq(io_replace_at(-1, "x", "x", 1), -EBADF);
}

Test(base, mkdirs, .init = make_top, .fini = remove_top)
{
    static const struct {
        const char *path;
        int result;
    } cases[] = {
        {"x", 0},           {"x/y/z", 0},
        {"x/y/z", 0}, /* all there */
        {"x/y2/", 0},       {"x//y3", 0},
        {"link/new", 0}, /* an administrator's link in the middle is fine */
        {"file", -ENOTDIR}, {"file/sub", -ENOTDIR},
        {"link", -ENOTDIR},
    };

    umask(0);
    put("file", "", 0);
    cr_assert_eq(mkdirat(topfd, "real", 0755), 0);
    cr_assert_eq(symlinkat("real", topfd, "link"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        autofd fd = io_mkdirs(topfd, cases[i].path, 0710);
        int got = fd < 0 ? fd : 0;
        struct stat st, want;

        cr_expect_eq(got, cases[i].result, "\"%s\": expected %d, got %d", cases[i].path,
                     cases[i].result, got);
        if (fd < 0)
            continue;
        cr_expect(fstat(fd, &st) == 0 && fstatat(topfd, cases[i].path, &want, 0) == 0 &&
                      st.st_ino == want.st_ino && S_ISDIR(st.st_mode),
                  "\"%s\": the last one is opened", cases[i].path);
        cr_expect_eq(st.st_mode & 07777, 0710, "\"%s\": mode %o", cases[i].path, st.st_mode);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    cr_expect(there("real/new"));
    cr_expect_eq(mode_of("x/y"), 0710, "middle ones, too: %o", mode_of("x/y"));
    char longer[PATH_MAX + 1];

    memset(longer, 'p', sizeof longer - 1);
    longer[PATH_MAX] = '\0';
    cr_expect_eq(io_mkdirs(topfd, longer, 0700), -ENAMETOOLONG);
}

static void on_alarm(int signo)
{
    (void)signo;
}

/* Lower bounds only: the machine may be slow, not fast. */
Test(base, sleep_resumes)
{
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval every = {.it_interval.tv_usec = 2000, .it_value.tv_usec = 2000}, off = {0};
    unsigned long long start, now;

    sigaction(SIGALRM, &act, NULL);
    start = io_now_us();
    setitimer(ITIMER_REAL, &every, NULL);
    io_sleep_ms(30);
    setitimer(ITIMER_REAL, &off, NULL);
    now = io_now_us();
    cr_expect_geq(now - start, 30000, "slept %llu us", now - start);
    start = io_now_us();
    io_sleep_ms(1001); /* seconds and the rest */
    now = io_now_us();
    cr_expect_geq(now - start, 1001000, "slept %llu us", now - start);
}

/* --- proc --- */

/* /proc/PID/stat with the number 1000 + N as field N, up to @fields. */
static void stat_text(char *buf, size_t size, const char *comm, char state, int fields)
{
    int len = snprintf(buf, size, "4242 (%s) %c", comm, state);

    for (int i = 4; i <= fields; i++)
        len += snprintf(buf + len, size - (size_t)len, " %d", 1000 + i);
    snprintf(buf + len, size - (size_t)len, "\n");
}

Test(base, stat_comm)
{
    static const char *const comms[] = {
        "bash",
        "a) b (c",
        "",
        ")",
        "(",
        "))",
        "((",
        ") Z 1 2 3 ",
        "CPU 0/KVM",
        "vcpu0) S 1 (x",
        "a\nb",
        "a\tb  c",
        "\xff\xfe",
        /* 79 bytes: the longest that fits (kernel threads' names may exceed 15) */
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678",
    };

    for (size_t i = 0; i < ARRAY_SIZE(comms); i++) {
        struct proc_stat st = {0};
        char text[2048];
        int r;

        stat_text(text, sizeof text, comms[i], 'S', 52);
        r = proc_stat_parse(text, &st);
        cr_expect(r == 0 && str_eq(st.comm, comms[i]) && st.state == 'S' && st.start_time == 1022 &&
                      st.guest_time == 1043,
                  "comm \"%s\": expected 0, S, 1022, 1043; got %d, \"%s\", %c, %" PRIu64
                  ", %" PRIu64,
                  comms[i], r, st.comm, st.state, st.start_time, st.guest_time);
    }
}

Test(base, stat_malformed)
{
    char longer[81], good[2048];
    struct proc_stat st;

    stat_text(good, sizeof good, "x", 'R', 43);
    cr_expect_eq(proc_stat_parse(good, &st), 0, "43 fields are enough");
    for (int fields = 3; fields < 43; fields++) {
        stat_text(good, sizeof good, "x", 'R', fields);
        cr_expect_eq(proc_stat_parse(good, &st), -EINVAL, "%d fields are too few", fields);
    }
    memset(longer, 'n', 80);
    longer[80] = '\0';
    stat_text(good, sizeof good, longer, 'R', 52);
    cr_expect_eq(proc_stat_parse(good, &st), -EINVAL, "a name that does not fit");

    static const char *const bad[] = {
        "",
        "\n",
        "1",
        "1 (x",
        "1 x)",
        "1 )x( R 1",
        "1 (x)",
        "1 (x) ",
        "1 (x)R 1 2 3",
        /* field 22, field 43 no numbers */
        "1 (x) R 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 a22 23 24 25 26 27 28 29 30 31 32 "
        "33 34 35 36 37 38 39 40 41 42 43 44",
        "1 (x) R 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 "
        "33 34 35 36 37 38 39 40 41 42 -43 44",
        /* an empty field */
        "1 (x) R 4 5 6 7 8 9 10  12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 "
        "33 34 35 36 37 38 39 40 41 42 43 44",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int r = proc_stat_parse(bad[i], &st);

        cr_expect_eq(r, -EINVAL, "\"%s\": expected %d, got %d", bad[i], -EINVAL, r);
    }
    /* negative and large numbers elsewhere do not matter */
    cr_expect_eq(
        proc_stat_parse("1 (x) S -4 5 6 7 -8 9 10 11 12 13 14 15 16 17 18 -19 20 21 "
                        "18446744073709551615 23 24 18446744073709551615 26 27 28 29 30 31 32 33 "
                        "34 35 36 37 38 39 40 41 42 77\n",
                        &st),
        0);
    cr_expect(st.start_time == UINT64_MAX && st.guest_time == 77 && st.threads == 20 &&
              !st.exiting);
    /* flags: PF_EXITING among others */
    cr_expect_eq(
        proc_stat_parse("1 (x) R 4 5 6 7 8 4194316 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 "
                        "26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43\n",
                        &st),
        0);
    cr_expect(st.exiting);
}

/* A process that does nothing until it is killed, and never outlives the test. */
static pid_t start_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    cr_assert_gt(pid, 0);
    return pid;
}

static void wait_zombie(pid_t pid)
{
    siginfo_t info;

    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

Test(base, proc_life)
{
    pid_t pid = start_child();
    struct proc_id id = {0}, wrong, none = {0};
    struct proc_stat st;
    int status;

    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect(id.pid == pid && id.start_time > 0);
    cr_expect(proc_alive(&id));
    wrong = (struct proc_id){.pid = pid, .start_time = id.start_time + 1};
    cr_expect_not(proc_alive(&wrong), "another start time is another process");
    cr_expect_eq(proc_open(&wrong), -ESRCH);
    cr_expect_eq(proc_signal(&wrong, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&wrong, 60000), 0, "a successor is not waited for");
    cr_expect(proc_alive(&id), "the successor was not hit");
    {
        autofd fd = proc_open(&id);

        cr_expect_geq(fd, 0);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    cr_expect_eq(proc_signal(&id, 0), 0);
    cr_expect(proc_alive(&id));
    cr_expect_eq(proc_wait_gone(&id, 0), -ETIMEDOUT);
    cr_expect_eq(proc_wait_gone(&id, 20), -ETIMEDOUT);
    cr_expect_eq(proc_signal(&id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);
    wait_zombie(pid);

    /* a zombie: it can be read, it does not live */
    cr_expect(proc_stat_read(pid, &st) == 0 && st.state == 'Z' && st.exiting &&
              st.start_time == id.start_time);
    cr_expect_eq(proc_identify(pid, &wrong), -ESRCH);
    cr_expect_not(proc_alive(&id));
    cr_expect_eq(proc_open(&id), -ESRCH);
    cr_expect_eq(proc_signal(&id, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_expect_eq(proc_stat_read(pid, &st), -ESRCH);
    cr_expect_eq(proc_identify(pid, &wrong), -ESRCH);
    cr_expect_not(proc_alive(&id));
    cr_expect_eq(proc_open(&id), -ESRCH);
    cr_expect_eq(proc_signal(&id, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&id, 0), 0);

    /* nobody */
    cr_expect_not(proc_alive(&none));
    cr_expect_eq(proc_open(&none), -ESRCH);
    cr_expect_eq(proc_signal(&none, SIGKILL), -ESRCH);
    cr_expect_eq(proc_wait_gone(&none, 0), 0);
    cr_expect_eq(proc_stat_read(0, &st), -ESRCH);
    cr_expect_eq(proc_stat_read(-1, &st), -ESRCH);
}

static void *wait_for_end(void *arg)
{
    for (;;)
        pause();
    return arg;
}

/* Its main thread has ended, another runs on: Go programs and VMMs do that. */
Test(base, proc_without_main_thread)
{
    pid_t pid = fork();
    struct proc_stat st = {0};
    struct proc_id id;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        pthread_t thread;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (pthread_create(&thread, NULL, wait_for_end, NULL) != 0)
            _exit(1);
        pthread_exit(NULL);
    }
    for (int i = 0; i < 5000 && st.state != 'Z'; i++) {
        io_sleep_ms(1);
        cr_assert_eq(proc_stat_read(pid, &st), 0);
    }
    cr_assert_eq(st.state, 'Z');
    cr_expect_eq(st.threads, 2);
    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect(proc_alive(&id));
    cr_expect_eq(proc_wait_gone(&id, 0), -ETIMEDOUT);
    cr_expect_eq(proc_signal(&id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);
    wait_zombie(pid);
    cr_expect_not(proc_alive(&id));
    cr_expect_eq(waitpid(pid, NULL, 0), pid);
}

Test(base, proc_signal_arrives)
{
    pid_t pid = start_child();
    struct proc_id id;
    int status;

    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect_eq(proc_signal(&id, SIGUSR1), 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1, "expected SIGUSR1, got %#x",
              (unsigned)status);
}

/* It need not be our child. */
Test(base, proc_grandchild)
{
    struct proc_id id;
    pid_t pid = 0, between;
    int fds[2], status;

    cr_assert_eq(pipe(fds), 0);
    between = fork();
    if (between == 0) {
        pid = fork();
        if (pid == 0) {
            close(fds[0]);
            close(fds[1]);
            alarm(60);
            for (;;)
                pause();
        }
        _exit(write(fds[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    cr_assert_eq(read(fds[0], &pid, sizeof pid), sizeof pid);
    close(fds[0]);
    close(fds[1]);
    cr_assert_eq(waitpid(between, &status, 0), between);
    cr_assert_eq(proc_identify(pid, &id), 0);
    cr_expect(proc_alive(&id));
    cr_expect_eq(proc_wait_gone(&id, 10), -ETIMEDOUT);
    cr_expect_eq(proc_signal(&id, SIGKILL), 0);
    cr_expect_eq(proc_wait_gone(&id, 60000), 0);
    cr_expect_not(proc_alive(&id));
}

static void *named_thread(void *arg)
{
    struct proc_stat *ret = arg;

    prctl(PR_SET_NAME, "CPU 1) S (KVM");
    if (proc_stat_read(gettid(), ret) < 0)
        ret->state = '?';
    return NULL;
}

Test(base, proc_thread)
{
    struct proc_stat own = {0}, thread = {0};
    pthread_t handle;

    cr_assert_eq(proc_stat_read(getpid(), &own), 0);
    cr_assert_eq(pthread_create(&handle, NULL, named_thread, &thread), 0);
    pthread_join(handle, NULL);
    cr_expect(thread.state == 'R' && str_eq(thread.comm, "CPU 1) S (KVM"),
              "a TID works: expected R \"CPU 1) S (KVM\", got %c \"%s\"", thread.state,
              thread.comm);
    cr_expect_geq(thread.start_time, own.start_time);
}
