/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

/*
 * Fuzz targets: each takes any bytes and asserts what holds of whatever the product makes of them.
 * Two programs call them: `fuzz` is libFuzzer's, and `replay` needs no more than a compiler.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct err;

/* Returns whether the product took the input; a share of these near none tests refusals alone. */
typedef bool fuzz_fn(const uint8_t *data, size_t len);

fuzz_fn fuzz_state, fuzz_config, fuzz_plan, fuzz_settings, fuzz_record, fuzz_mountinfo,
    fuzz_proc_cgroup, fuzz_proc_stat, fuzz_cpulist, fuzz_cgroups_path, fuzz_unit_names,
    fuzz_devices, fuzz_devices_list, fuzz_qmp, fuzz_qmp_options, fuzz_register;

struct fuzz_target {
    const char *name;
    fuzz_fn *run;
    bool is_json; /* its inputs are JSON texts, at their best */
};

extern const struct fuzz_target fuzz_targets[];
extern const size_t fuzz_target_count;

/* NULL if there is none. */
const struct fuzz_target *fuzz_find(const char *name);

/* One input, counted; and what was counted, for the program's end. */
void fuzz_one(const struct fuzz_target *target, const uint8_t *data, size_t len);
void fuzz_print_counts(void);

/* Ends the program, as libFuzzer expects of a failure, with the text and where it comes from. */
#define FUZZ_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                \
    } while (0)

__attribute__((noreturn, format(printf, 4, 5))) void
fuzz_fail(const char *file, int line, const char *condition, const char *fmt, ...);

/* The input as a text: up to its first NUL, or all of it with a NUL behind it. */
char *fuzz_text(struct arena *a, const uint8_t *data, size_t len);

/*
 * What every function promises of its result: 0 or more and no error, or a negative errno with its
 * text, which is printable ASCII, as whatever came from outside was escaped. Of bad input it says so.
 */
void fuzz_check_result(int r, const struct err *e);

/* A file without a name that holds this, to be read from its beginning; one for the whole program. */
int fuzz_file(const void *data, size_t len);

/* A directory of the program's own, below $TMPDIR, removed at its end; and a file in it. */
int fuzz_dir(void);
const char *fuzz_dir_path(void);
void fuzz_dir_write(const char *name, const void *data, size_t len);

#endif
