/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/fence.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "cgroup/dir.h"
#include "hook/sandbox/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>

#define CPU_MAX "cpu.max"
#define BURST   "cpu.max.burst"

static const char *full_path(const struct fence_file *file, const char *name,
                             char buf[static PATH_MAX])
{
    return cg_full_path(&file->cgroup.host->hierarchies[0], file->path, NULL, name, buf, PATH_MAX);
}

/* v2 has one hierarchy. */
static int dir_of(const struct fence_file *file)
{
    return file->cgroup.fds[0];
}

/* ---- opening ---- */

static int open_cgroup(struct fence_file *file, struct err *e)
{
    int r;

    if (file->is_gone)
        return -ENODEV;
    if (dir_of(file) >= 0)
        return 0;
    r = cg_load(&file->cgroup, NULL);
    file->is_gone = r == -ENOENT;
    return r == 0 || file->is_gone ? r : err_sys(e, r, "cannot open cgroup %s", file->path);
}

static void watch(const struct fence *f, struct fence_file *file)
{
    if (f->events >= 0 && file->watch < 0 && dir_of(file) >= 0)
        file->watch = io_watch_at(f->events, dir_of(file), CPU_MAX);
}

/* A word that we would have written says nothing of the runtime. */
static void take_recorded(struct fence_file *file, const char *cpu_max)
{
    struct quota q;

    if (cpu_max && quota_parse(cpu_max, &q) && !quota_is_lifted(&q))
        quota_format(&q, file->cpu_max);
}

int fence_open(struct fence *f, const struct cg_host *host, const struct json_list *files,
               int events, struct err *e)
{
    int first = 0;

    *f = (struct fence){.events = events};
    if (host->mode != CG_MODE_V2)
        return err_set(e, -EOPNOTSUPP, "quotas are lifted on cgroup v2 only");
    f->items = mem_zalloc(files->count + 1, sizeof *f->items);
    for (; f->count < files->count; f->count++) {
        const struct record_fence *from = &JSON_AT(*files, struct record_fence, f->count);
        struct fence_file *file = &f->items[f->count];
        int r;

        *file = (struct fence_file){.watch = -1};
        file->path = heap_copy(from->path, strlen(from->path) + 1);
        take_recorded(file, from->cpu_max);
        cg_init(&file->cgroup, host, NULL, file->path, NULL);
        r = open_cgroup(file, e);
        watch(f, file);
        if (first == 0 && !file->is_gone)
            first = r;
    }
    return first;
}

bool fence_is_watched(const struct fence *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->items[i].watch < 0 && !f->items[i].is_gone)
            return false;
    }
    return true;
}

void fence_close(struct fence *f)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->items[i].watch >= 0)
            inotify_rm_watch(f->events, f->items[i].watch);
        cg_close(&f->items[i].cgroup);
        free(f->items[i].path);
    }
    free(f->items);
    *f = (struct fence){.events = FD_NONE};
}

/* ---- reading and writing one file ---- */

/* After a failure: a missing file alone may be a missing controller. */
static void note_gone(struct fence_file *file)
{
    if (faccessat(dir_of(file), "cgroup.procs", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        (errno == ENOENT || errno == ENODEV))
        file->is_gone = true;
}

/* 0; -errno, with is_gone without a text. */
static int read_text(struct fence_file *file, const char *name, char *buf, size_t size,
                     struct err *e)
{
    char where[PATH_MAX];
    int r = open_cgroup(file, e);
    ssize_t len;

    if (r < 0)
        return r;
    len = io_read_at(dir_of(file), name, buf, size);
    if (len >= 0)
        return 0;
    r = (int)len;
    note_gone(file);
    full_path(file, name, where);
    return file->is_gone ? r : err_sys(e, r, "cannot read %s", where);
}

static int read_quota(struct fence_file *file, char text[static QUOTA_TEXT_SIZE], struct quota *ret,
                      struct err *e)
{
    char where[PATH_MAX], what[160];
    int r = read_text(file, CPU_MAX, text, QUOTA_TEXT_SIZE, e);

    if (r == 0 && !quota_parse(text, ret))
        r = err_set(e, -EPROTO, "%s says \"%s\"", full_path(file, CPU_MAX, where),
                    str_escape(text, what, sizeof what));
    return r;
}

/* 0, also when the cgroup is gone. */
static int write_text(struct fence_file *file, const char *name, const char *text, struct err *e)
{
    struct cg_file item = {.ctl = CG_CTL_CPU, .file = name, .text = text};
    const struct cg_change want = {.files = {&item, 1}};
    struct err own = ERR_INIT;
    int r = cg_revert(&file->cgroup, &want, &own);

    if (r == 0)
        return 0;
    note_gone(file);
    return file->is_gone ? 0 : err_set(e, r, "%s", own.text);
}

/* ---- words ---- */

static int look(const struct fence *f, struct fence_file *file, struct fence_look *ret,
                struct err *e)
{
    char text[QUOTA_TEXT_SIZE];
    struct quota q;
    int r;

    watch(f, file);
    r = read_quota(file, text, &q, e);
    if (r == 0 && !quota_is_lifted(&q)) {
        ret->is_bound = true;
        if (!str_eq(text, file->cpu_max)) {
            memcpy(file->cpu_max, text, sizeof file->cpu_max);
            file->is_new = true;
        }
    }
    ret->is_new = ret->is_new || (file->is_new && !file->is_gone);
    ret->is_gone = ret->is_gone || file->is_gone;
    return file->is_gone ? 0 : r;
}

int fence_read(struct fence *f, struct fence_look *ret, struct err *e)
{
    int first = 0;

    *ret = (struct fence_look){0};
    if (f->events >= 0)
        io_drain(f->events);
    for (size_t i = 0; i < f->count; i++) {
        int r = look(f, &f->items[i], ret, e);

        first = first < 0 ? first : r;
    }
    return first;
}

bool fence_least(const struct fence *f, struct quota *ret)
{
    struct quota pair[2] = {quota_least(NULL, 0)};
    bool is_known = false;

    for (size_t i = 0; i < f->count; i++) {
        if (quota_parse(f->items[i].cpu_max, &pair[1])) {
            pair[0] = quota_least(pair, 2);
            is_known = true;
        } else if (!f->items[i].is_gone) {
            return false;
        }
    }
    if (is_known)
        *ret = pair[0];
    return is_known;
}

static int need_least(const struct fence *f, struct quota *ret, struct err *e)
{
    if (fence_least(f, ret))
        return 0;
    return err_set(e, -ENODATA, "the CPU quota of %s is not known",
                   f->count > 0 ? f->items[0].path : "nothing");
}

/* The text of a burst, no larger than a quota. */
static const char *burst_within(const struct quota *q, const char *text, struct arena *a)
{
    uint64_t burst;

    if (q->us >= 0 && str_to_u64(text, strlen(text), &burst) == 0 && burst > (uint64_t)q->us)
        return arena_printf(a, "%" PRId64, q->us);
    return arena_strdup(a, text);
}

int fence_companions(struct fence *f, struct arena *a, struct cg_files *ret, struct err *e)
{
    static const char *const names[] = {BURST, "cpu.uclamp.min", "cpu.uclamp.max"};
    struct quota least;
    int r = need_least(f, &least, e);

    *ret = (struct cg_files){0};
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
        struct err own = ERR_INIT;
        char text[64];

        r = read_text(&f->items[0], names[i], text, sizeof text, &own);
        if (r == 0)
            cg_files_add(a, ret, names[i],
                         str_eq(names[i], BURST) ? burst_within(&least, text, a)
                                                 : arena_strdup(a, text),
                         true);
        else if (f->items[0].is_gone)
            return err_set(e, -ENODEV, "cgroup %s does not exist any more", f->items[0].path);
        else if (r == -ENOENT)
            r = 0;
        else
            return err_set(e, r, "%s", own.text);
    }
    return r;
}

/* ---- lifting and giving back ---- */

static int lift(struct fence_file *file, const char *wanted, struct err *e)
{
    char text[QUOTA_TEXT_SIZE];
    struct quota q;
    int r = read_quota(file, text, &q, e);

    if (r < 0)
        return file->is_gone ? 0 : r;
    if (!quota_is_lifted(&q) && !str_eq(text, file->cpu_max))
        return -EAGAIN;
    if (!str_eq(text, wanted))
        r = write_text(file, CPU_MAX, wanted, e);
    if (r == 0)
        file->is_new = false;
    return r;
}

int fence_lift(struct fence *f, const struct quota *overhead, struct err *e)
{
    char wanted[QUOTA_TEXT_SIZE];
    struct quota least, sum;
    bool again = false;
    int first = need_least(f, &least, e);

    if (first < 0)
        return first;
    sum = quota_sum_lifted(&least, overhead);
    quota_format(&sum, wanted);
    for (size_t i = 0; i < f->count; i++) {
        int r = lift(&f->items[i], wanted, e);

        again = again || r == -EAGAIN;
        if (first == 0 && r != -EAGAIN)
            first = r;
    }
    return first < 0 ? first : again ? -EAGAIN : 0;
}

/* If that fails, the quota's write tells. */
static void reduce_burst(struct fence_file *file)
{
    char text[24];
    struct quota q;
    uint64_t burst;

    if (!quota_parse(file->cpu_max, &q) || q.us < 0 ||
        cg_read_number(dir_of(file), BURST, &burst) < 0 || burst <= (uint64_t)q.us)
        return;
    snprintf(text, sizeof text, "%" PRId64, q.us);
    (void)write_text(file, BURST, text, NULL);
}

static int restore(struct fence_file *file, struct err *e)
{
    char text[QUOTA_TEXT_SIZE];
    struct quota q;
    int r = read_quota(file, text, &q, e);

    if (r < 0)
        return file->is_gone ? 0 : r;
    if (!quota_is_lifted(&q) || !*file->cpu_max)
        return 0;
    reduce_burst(file);
    return write_text(file, CPU_MAX, file->cpu_max, e);
}

int fence_restore(struct fence *f, struct err *e)
{
    int first = 0;

    for (size_t i = 0; i < f->count; i++) {
        int r = restore(&f->items[i], e);

        first = first < 0 ? first : r;
    }
    return first;
}

struct json_list fence_record(const struct fence *f, struct arena *a)
{
    struct json_list list = {0};

    for (size_t i = 0; i < f->count; i++) {
        const struct fence_file *file = &f->items[i];

        JSON_APPEND(a, list, struct record_fence) = (struct record_fence){
            .path = arena_strdup(a, file->path),
            .cpu_max = *file->cpu_max ? arena_strdup(a, file->cpu_max) : NULL,
        };
    }
    return list;
}
