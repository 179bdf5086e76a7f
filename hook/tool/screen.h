/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_SCREEN_H
#define HOOK_TOOL_SCREEN_H

/*
 * A terminal that a program has for itself, by sequences that every terminal since the VT100 knows
 * (ECMA-48): a library for it would be loaded by each hook, too.
 */

#include "base/str.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

struct screen {
    int in, out;         /* of the caller */
    int signals;         /* a signalfd: of the size, the end, a pause */
    struct termios kept; /* as it was */
    sigset_t mask;       /* likewise */
    char bytes[64];      /* that came, and are no key yet */
    size_t len;
};

/* Other than letters. */
enum screen_key {
    SCREEN_NONE = 0,   /* the time is up */
    SCREEN_QUIT = 256, /* a signal that ends, or nobody is there any more */
    SCREEN_RESIZED,
    SCREEN_UP,
    SCREEN_DOWN,
    SCREEN_LEFT,
    SCREEN_RIGHT,
    SCREEN_ENTER,
    SCREEN_OTHER, /* a sequence that means nothing here */
};

/* 0; -errno: it is no terminal. */
int screen_enter(struct screen *s, int in, int out);

/* As it was before. */
void screen_leave(struct screen *s);

/* In columns and lines; 80 by 24 where nobody knows. */
void screen_size(const struct screen *s, size_t *ret_width, size_t *ret_height);

/* Lines, each with a line feed, in place of what was shown. 0; -errno. */
int screen_show(struct screen *s, const struct sbuf *lines);

/* The next key, a letter or one of screen_key; waits until io_now_us() is @until_us. */
int screen_key(struct screen *s, unsigned long long until_us);

/* Pure: the first key of @len bytes, and how many of them it is; 0 with *@ret_used 0: more have to come. */
int screen_parse(const char *bytes, size_t len, size_t *ret_used);

#endif
