/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stddef.h>
#include <sys/wait.h>

Test(arena, push_keeps)
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

Test(arena, alloc)
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
Test(arena, large_goes_behind)
{
    autoarena a = ARENA_INIT;
    char *first = arena_alloc(&a, 16), *second;

    arena_alloc(&a, 1 << 20);
    second = arena_alloc(&a, 16);
    cr_expect_eq(second - first, 16, "expected the next 16 bytes of the same block, got %td",
                 second - first);
}

Test(arena, text)
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

Test(arena, out_of_memory_ends_with_1)
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
