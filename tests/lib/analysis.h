/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIB_ANALYSIS_H
#define TESTS_LIB_ANALYSIS_H

/*
 * What base/err.h promises, where analysers see it: they look at one file at a time, and would think
 * that a function which ends with `return err_set(...)` may return 0. tests/analyse includes this
 * before every file but base/err.c.
 */

#include "base/err.h"

#include <errno.h>

#define RETURNS_CODE(function, e, code, ...)                                                       \
    ({                                                                                             \
        int code_ = (code);                                                                        \
        function(e, code_, __VA_ARGS__);                                                           \
        if (code_ >= 0)                                                                            \
            __builtin_unreachable();                                                               \
        code_;                                                                                     \
    })
#define err_set(e, code, ...) RETURNS_CODE(err_set, e, code, __VA_ARGS__)
#define err_sys(e, code, ...) RETURNS_CODE(err_sys, e, code, __VA_ARGS__)
#define err_input(e, ...)     (err_input(e, __VA_ARGS__), -EINVAL)

#endif
