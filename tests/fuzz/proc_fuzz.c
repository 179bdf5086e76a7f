/* SPDX-License-Identifier: Apache-2.0 */

/* What the kernel says of processes and mounts, and what processes call themselves. */

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

/* --- /proc/PID/stat --- */

/* With the fields that are used and no others; a name with a closing parenthesis, too. */
static void read_stat_again(const struct proc_stat *st)
{
    struct proc_stat again = {0};
    char text[512];

    snprintf(text, sizeof text,
             "1 (%s) %c %u 0 0 0 0 %d 0 0 0 0 0 0 0 0 0 0 %llu 0 %llu "
             "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %llu",
             st->comm, st->state, (unsigned)st->parent, st->exiting ? 4 : 0,
             (unsigned long long)st->threads, (unsigned long long)st->start_time,
             (unsigned long long)st->guest_time);
    FUZZ_CHECK(proc_stat_parse(text, &again) == 0, "%s", text);
    FUZZ_CHECK(str_eq(st->comm, again.comm) && st->state == again.state &&
                   st->parent == again.parent && st->exiting == again.exiting &&
                   st->threads == again.threads && st->start_time == again.start_time &&
                   st->guest_time == again.guest_time,
               "%s", text);
}

bool fuzz_proc_stat(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    const char *text = fuzz_text(&a, data, len);
    struct proc_stat st = {.parent = -2};
    int r = proc_stat_parse(text, &st);

    FUZZ_CHECK(r == 0 || r == -EINVAL, "%d", r);
    if (r < 0)
        return false;
    FUZZ_CHECK(strlen(st.comm) < sizeof st.comm && strstr(text, st.comm), "%s", text);
    FUZZ_CHECK(st.parent >= 0, "the parent %d in %s", (int)st.parent, text);
    read_stat_again(&st);
    return true;
}

/* --- mountinfo --- */

#define MOUNTS_MAX 8

/* A field as the kernel writes it. */
static void add_field(struct sbuf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr(" \t\n\\", *text))
            sbuf_addf(out, "\\%03o", (unsigned char)*text);
        else
            sbuf_add(out, text, 1);
    }
}

static void add_mount(struct sbuf *out, const struct cg_mount *m)
{
    sbuf_addf(out, "1 1 %u:%u ", m->dev_major, m->dev_minor);
    add_field(out, m->root);
    sbuf_addf(out, " ");
    add_field(out, m->mount_point);
    sbuf_addf(out, " rw - %s none rw%s%s\n", m->v2 ? "cgroup2" : "cgroup", m->v2 ? "" : ",",
              m->v2 ? "" : m->name);
}

static void expect_same_mount(const struct cg_mount *x, const struct cg_mount *y, const char *text)
{
    FUZZ_CHECK(x->dev_major == y->dev_major && x->dev_minor == y->dev_minor && x->v2 == y->v2 &&
                   x->controllers == y->controllers && str_eq(x->name, y->name) &&
                   str_eq(x->mount_point, y->mount_point) && str_eq(x->root, y->root),
               "%s", text);
}

/* Nothing is plain any more where another root lies over all that there is, which is in none of those mounts. */
static void expect_covered(const char *text, size_t count)
{
    static const char root[] = "\n18446744073709551615 1 0:1 / / rw - tmpfs none rw\n";
    autosbuf covered = SBUF_INIT;

    sbuf_addf(&covered, "%s%s", text, root + (str_empty(text) || str_ends(text, "\n")));
    if (count > 0 && cg_mountinfo_is_plain(text) && !strstr(text, "18446744073709551615"))
        FUZZ_CHECK(!cg_mountinfo_is_plain(sbuf_text(&covered)), "%s", sbuf_text(&covered));
}

bool fuzz_mountinfo(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    struct cg_mount mounts[MOUNTS_MAX + 1], again[MOUNTS_MAX + 1];
    const char *text = fuzz_text(&a, data, len);
    autosbuf written = SBUF_INIT;
    size_t count;

    mounts[MOUNTS_MAX].name = "beyond";
    count = cg_mountinfo_parse(arena_strdup(&a, text), &a, mounts, MOUNTS_MAX);
    expect_covered(text, count);
    FUZZ_CHECK(count <= MOUNTS_MAX && str_eq(mounts[MOUNTS_MAX].name, "beyond"), "%zu", count);
    for (size_t i = 0; i < count; i++)
        add_mount(&written, &mounts[i]);
    FUZZ_CHECK(cg_mountinfo_parse(arena_strdup(&a, sbuf_text(&written)), &a, again, MOUNTS_MAX) ==
                   count,
               "%s", sbuf_text(&written));
    for (size_t i = 0; i < count; i++)
        expect_same_mount(&mounts[i], &again[i], sbuf_text(&written));
    return count > 0;
}

/* --- /proc/PID/cgroup --- */

/* The process whose file is the input; pids begin at 1. */
#define PLAYED_PID 0x7fffffff

static int played = FD_NONE;

int __real_openat(int dirfd, const char *name, int flags, ...);
int __wrap_openat(int dirfd, const char *name, int flags, ...);

int __wrap_openat(int dirfd, const char *name, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if (flags & O_CREAT)
        mode = va_arg(args, mode_t);
    va_end(args);
    if (played >= 0 && str_eq(name, "/proc/2147483647/cgroup"))
        return fcntl(played, F_DUPFD_CLOEXEC, 0);
    return __real_openat(dirfd, name, flags, mode);
}

static const struct cg_host host = {
    .mode = CG_MODE_HYBRID,
    .count = 4,
    .hierarchies = {{.fd = FD_NONE, .name = "cpu,cpuacct", .root = "/"},
                    {.fd = FD_NONE, .name = "memory", .root = "/docker/x"},
                    {.fd = FD_NONE, .name = "name=systemd", .root = "/"},
                    {.fd = FD_NONE, .v2 = true, .name = "unified", .root = "/a"}},
};

/* The path is a line's, of a hierarchy that the line names, below the hierarchy's root. */
static void expect_line(const struct cg_hierarchy *h, const char *path, const char *text,
                        struct arena *a)
{
    const char *root = str_eq(h->root, "/") ? "" : h->root;
    const char *full = arena_printf(a, "%s:%s%s", h->v2 ? "0:" : h->name, root, path);
    const char *bare = arena_printf(a, "%s:%s", h->v2 ? "0:" : h->name, root);

    FUZZ_CHECK(strstr(text, full) || (str_eq(path, "/") && strstr(text, bare)), "%s in %s", path,
               text);
    FUZZ_CHECK(!strchr(path, '\n'), "%s", path);
}

bool fuzz_proc_cgroup(const uint8_t *data, size_t len)
{
    autoarena a = ARENA_INIT;
    const char *text = fuzz_text(&a, data, len);
    struct cg_origin origin = {0}, again = {0};
    struct err e = ERR_INIT;
    bool found = false;
    int r;

    played = fuzz_file(data, len);
    r = cg_origin_read(&host, PLAYED_PID, &a, &origin, &e);
    fuzz_check_result(r, &e);
    FUZZ_CHECK(r == 0, "%d", r);
    fuzz_file(data, len);
    FUZZ_CHECK(cg_origin_read(&host, PLAYED_PID, &a, &again, &e) == 0, "%s", e.text);
    played = FD_NONE;
    for (size_t i = 0; i < host.count; i++) {
        FUZZ_CHECK(str_eq_null(origin.paths[i], again.paths[i]), "%s", text);
        found = found || origin.paths[i];
        if (origin.paths[i])
            expect_line(&host.hierarchies[i], origin.paths[i], text, &a);
    }
    return found;
}
