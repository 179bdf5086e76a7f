/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_TOOL_TOP_H
#define HOOK_TOOL_TOP_H

/* The tables of `top`: what is in a row, in which order, and how it looks in so many columns. Pure. */

#include "base/str.h"
#include "hook/tool/sample.h"

/* A number is CG_UNKNOWN where it is not known; shares are in hundredths of a per cent. */
struct top_row {
    const char *id;
    const char *name;        /* escaped: what it is called, else its id */
    uint64_t vcpu, overhead; /* of one CPU */
    uint64_t ratio;          /* the overhead's of the vCPUs' */
    uint64_t throttled;      /* periods, of the quota that throttles the guest */
    uint64_t memory, tasks;
    const char *placement; /* or that there is no watcher */
};

struct top_rows {
    struct top_row *items;
    size_t count;
};

/* What was used between the two. A sandbox that is in the second alone has no shares yet. */
void top_rows_make(const struct samples *before, const struct samples *after, struct arena *a,
                   struct top_rows *ret);

/* By the letter of a key; -EINVAL there is none. The most comes first, what is not known last; names from A. */
int top_sort(struct top_rows *rows, char key);

struct top_thread {
    pid_t tid;
    const char *name;  /* escaped */
    const char *place; /* "vCPU" for one, else the cgroup that it is in */
    uint64_t us;       /* CPU time so far */
    uint64_t share;    /* of one CPU since the reading before */
};

struct top_threads {
    struct top_thread *items;
    size_t count;
    unsigned long long now_us;
};

/* Their shares since @before; the most first. */
void top_threads_compare(const struct top_threads *before, struct top_threads *ret);

/* How it is to look. */
struct top_look {
    size_t width,
        height;        /* no line is longer; a height of 0: all rows, and nothing but the table */
    char key;          /* that it is sorted by */
    size_t selected;   /* a row that is marked and in sight; with a height alone */
    bool plain;        /* no bold letters */
    const char *title; /* with a height alone */
    const char *help;
};

/* Lines, each with a line feed behind it. */
void top_draw(const struct top_rows *rows, const struct top_look *look, struct sbuf *out);
void top_draw_threads(const struct top_threads *threads, const struct top_look *look,
                      struct sbuf *out);

/* A list of objects. */
void top_write_json(const struct top_rows *rows, struct json_writer *w);

#endif
