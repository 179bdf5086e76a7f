/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The targets without libFuzzer, for `make check` with any compiler: each input of the corpus, and
 * some random ones, the same in every run.
 *
 * replay                    all targets, with $srcdir/tests/fuzz/corpus
 * replay TARGET FILE...     one target with these inputs
 * replay TARGET --random=N  ... with so many random ones: for those that draw what they try
 */

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX    ((size_t)1 << 20)
#define RANDOM_COUNT 500
#define RANDOM_MOST  512
#define RANDOM       "--random="

static bool play(const struct fuzz_target *target, int dirfd, const char *name)
{
    autofree char *text = NULL;
    ssize_t len = io_read_all_at(dirfd, name, INPUT_MAX, &text);

    if (len < 0) {
        fprintf(stderr, "%s: cannot read %s\n", target->name, name);
        return false;
    }
    fuzz_one(target, (const uint8_t *)text, (size_t)len);
    return true;
}

static unsigned play_corpus(const struct fuzz_target *target)
{
    const char *srcdir = getenv("srcdir");
    char path[PATH_MAX];
    struct dirent *entry;
    unsigned count = 0;
    autodir dir = NULL;

    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", srcdir ? srcdir : ".", target->name);
    dir = io_opendir_at(AT_FDCWD, path);
    while (dir && (entry = io_next_entry(dir)))
        count += play(target, dirfd(dir), entry->d_name);
    return count;
}

static void play_random(const struct fuzz_target *target, size_t count)
{
    uint8_t bytes[RANDOM_MOST];
    uint32_t x = 2463534242;

    for (size_t n = 0; n < count; n++) {
        size_t len = n % sizeof bytes >> n % 5;

        for (size_t i = 0; i < len; i++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            bytes[i] = (uint8_t)(x >> 8);
        }
        fuzz_one(target, bytes, len);
    }
}

/* What fails ends the program: then the last line says which target it was. */
static int play_all(void)
{
    unsigned passed = 0, failed = 0;

    for (size_t i = 0; i < fuzz_target_count; i++) {
        unsigned count;

        fprintf(stderr, "target: %s\n", fuzz_targets[i].name);
        count = play_corpus(&fuzz_targets[i]);
        play_random(&fuzz_targets[i], RANDOM_COUNT);
        if (count == 0)
            fprintf(stderr, "%s: there is no corpus\n", fuzz_targets[i].name);
        passed += count > 0;
        failed += count == 0;
    }
    fuzz_print_counts();
    printf("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const struct fuzz_target *target = argc > 1 ? fuzz_find(argv[1]) : NULL;
    int status = EXIT_SUCCESS;

    if (argc > 1 && (!target || argc == 2)) {
        fprintf(stderr, "Usage: %s [TARGET FILE...|--random=N]\n", argv[0]);
        return 2;
    }
    if (argc == 1)
        return play_all();
    for (int i = 2; i < argc; i++) {
        if (str_starts(argv[i], RANDOM))
            play_random(target, strtoul(argv[i] + strlen(RANDOM), NULL, 10));
        else if (!play(target, AT_FDCWD, argv[i]))
            status = EXIT_FAILURE;
    }
    fuzz_print_counts();
    return status;
}
