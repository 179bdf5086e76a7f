/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

/*
 * base/ is what all rooms share and none is about: errors, memory, files, processes, text.
 * This is one error, carried on the caller's stack.
 *
 * Fallible functions return 0 (or a documented non-negative value) on success and a negative errno
 * on failure, and take an optional `struct err *` as their last parameter that receives the text.
 * The text is complete: what failed, on which file, with which errno, and, where we know it, what
 * to do. Storage is inline, so reporting an error cannot itself fail or leak.
 *
 * The first error wins: setting an error that is already set keeps the first and returns the new
 * code, which is what a clean-up path that goes on after a failure wants. err_reset() drops it.
 * NULL is allowed wherever a `struct err *` is taken.
 *
 * Any call may change errno, a successful one too, but the releases of cleanup.h: save -errno
 * before the next call. The arguments of one call are evaluated in any order, so -errno goes into
 * that of err_sys() only where no other argument is a call.
 */

#include <stdbool.h>

#define ERR_TEXT_SIZE 768

struct err {
    int code;       /* 0: no error, otherwise a negative errno */
    bool bad_input; /* the caller's input is at fault: exit status 2 instead of 1 */
    char text[ERR_TEXT_SIZE];
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

/* Record a failure that no system call reported. @code is a negative errno. Returns @code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Record a failed system call: the text gets ": ENAME (description)" appended. Returns @code. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Record input that we refuse; returns -EINVAL. The text says what, where, why and what to do. */
int err_input(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "CONTEXT: " before the text of an error that is already set. No-op when none is set. */
void err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put text behind the text of an error that is already set (a hint). No-op when none is set. */
void err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Say "out of memory" on stderr and end the program with exit status 1: where it is not waited for, see base/mem.h.
 */
__attribute__((noreturn)) void err_out_of_memory(void);

/* Forget the error. Used where a failure is ignored on purpose. */
void err_reset(struct err *e);

/* "ENOENT (No such file or directory)" for a negative or positive errno, in @buf. Returns @buf. */
const char *err_name(int code, char buf[static 96]);

#endif
