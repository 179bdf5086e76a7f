/* SPDX-License-Identifier: Apache-2.0 */

/* libFuzzer's program: `fuzz --target=NAME`, and libFuzzer's own options. */

#include "base/str.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate.h"

#include <stdio.h>
#include <stdlib.h>

#define OPTION "--target="

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

static const struct fuzz_target *chosen;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    for (int i = 1; i < *argc; i++) {
        if (str_starts((*argv)[i], OPTION))
            chosen = fuzz_find((*argv)[i] + strlen(OPTION));
    }
    if (!chosen) {
        fputs(OPTION "NAME is missing or unknown; the names are:\n", stderr);
        for (size_t i = 0; i < fuzz_target_count; i++)
            fprintf(stderr, "%s\n", fuzz_targets[i].name);
        exit(2);
    }
    atexit(fuzz_print_counts);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_one(chosen, data, len);
    return 0;
}

/* One in four of the texts is changed as bytes, so that parsers meet what is no JSON, too. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    size_t changed = chosen->is_json && seed % 4 != 0 ? mutate_json(data, size, max, seed / 4) : 0;

    return changed > 0 ? changed : LLVMFuzzerMutate(data, size, max);
}
