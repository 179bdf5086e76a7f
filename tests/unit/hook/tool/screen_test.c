/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/screen.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <fcntl.h>

Test(screen, parse)
{
    static const struct {
        const char *bytes;
        int key;
        size_t used;
    } rows[] = {
        {"", SCREEN_NONE, 0},
        {"q", 'q', 1},
        {"cq", 'c', 1},
        {" ", ' ', 1},
        {"\r", SCREEN_ENTER, 1},
        {"\n", SCREEN_ENTER, 1},
        {"\x7f", SCREEN_LEFT, 1},
        {"\b", SCREEN_LEFT, 1},
        {"\x01", SCREEN_OTHER, 1},
        {"\xc3\xa4", SCREEN_OTHER, 1},
        {"\033", SCREEN_LEFT, 1},
        {"\033q", SCREEN_LEFT, 1},
        {"\033[A", SCREEN_UP, 3},
        {"\033[Bq", SCREEN_DOWN, 3},
        {"\033[C", SCREEN_RIGHT, 3},
        {"\033[D", SCREEN_LEFT, 3},
        {"\033OA", SCREEN_UP, 3},
        {"\033[1;5A", SCREEN_UP, 6},
        {"\033[", SCREEN_NONE, 0},
        {"\033[1;", SCREEN_NONE, 0},
        {"\033[5~q", SCREEN_OTHER, 4},
        {"\033[Zx", SCREEN_OTHER, 3},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t used = 99;
        int key = screen_parse(rows[i].bytes, strlen(rows[i].bytes), &used);

        cr_expect(key == rows[i].key && used == rows[i].used, "row %zu: %d, %zu", i, key, used);
    }
}

/* Where no terminal is it says so, and changes nothing. */
Test(screen, no_terminal)
{
    autofd null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct screen s;
    size_t width, height;

    cr_expect_eq(screen_enter(&s, null, null), -ENOTTY);
    screen_size(&s, &width, &height);
    cr_expect(width == 80 && height == 24, "%zu by %zu", width, height);
}

Test(screen, show)
{
    struct screen s = {.in = -1};
    autosbuf lines = SBUF_INIT;
    char got[64] = "";
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    s.out = fds[1];
    sbuf_addf(&lines, "one\ntwo\n");
    cr_expect_eq(screen_show(&s, &lines), 0);
    cr_expect_gt(read(fds[0], got, sizeof got - 1), 0);
    cr_expect_str_eq(got, "\033[Hone\033[K\r\ntwo\033[K\033[J");
}

/* Keys that came together, one after the other; a sequence in two parts; the time; the end. */
Test(screen, keys, .timeout = 60)
{
    struct screen s = {.signals = FD_NONE};
    unsigned long long late = io_now_us() + 50ull * 1000 * 1000;
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    s.in = fds[0];
    cr_assert_eq(write(fds[1], "cv\033[", 4), 4);
    cr_expect_eq(screen_key(&s, late), 'c');
    cr_expect_eq(screen_key(&s, late), 'v');
    cr_expect_eq(screen_key(&s, io_now_us() + 1000), SCREEN_NONE);
    cr_assert_eq(write(fds[1], "A", 1), 1);
    cr_expect_eq(screen_key(&s, late), SCREEN_UP);
    cr_expect_eq(screen_key(&s, 0), SCREEN_NONE);
    close(fds[1]);
    cr_expect_eq(screen_key(&s, late), SCREEN_QUIT);
}
