/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The wrappers by which the product gets to the kernel that is played (ld's --wrap: a call of X goes to
 * __wrap_X, and __real_X is what it would have been).
 */

#include "tests/unit/kit/tree_kernel.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"
#include "hook/plan/facts.h"
#include "tests/unit/kit/device_kit.h"
#include "tests/unit/kit/plan_kit.h"
#include "tests/unit/kit/reuse_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int __real_mkdirat(int dirfd, const char *name, mode_t mode);
int __real_openat(int dirfd, const char *name, int flags, ...);
int __real_cg_host_open(struct arena *a, struct cg_host *ret, struct err *e);
int __real_cg_host_look(struct arena *a, struct cg_host *ret, struct err *e);
int __real_cg_bpf_device_attach(int dirfd, const struct cg_bpf_program *p, struct err *e);
void __real_facts_gather(enum cg_mode mode, const struct settings *settings, bool own,
                         struct arena *a, struct facts *ret);

int __wrap_mkdirat(int dirfd, const char *name, mode_t mode);
int __wrap_unlinkat(int dirfd, const char *name, int flags);
int __wrap_openat(int dirfd, const char *name, int flags, ...);
static bool is_held(const struct tree_place *p, const char *text)
{
    const bool thread = str_eq(p->file, "tasks") || str_eq(p->file, "cgroup.threads");
    char name[PATH_MAX];

    return (thread || str_eq(p->file, "cgroup.procs")) && atoi(text) > 0 &&
           access(tree_proc(thread ? "held" : "stuck", atoi(text), name), F_OK) == 0;
}

ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_cg_host_open(struct arena *a, struct cg_host *ret, struct err *e);
int __wrap_cg_host_look(struct arena *a, struct cg_host *ret, struct err *e);
int __wrap_cg_bpf_device_attach(int dirfd, const struct cg_bpf_program *p, struct err *e);
void __wrap_facts_gather(enum cg_mode mode, const struct settings *settings, bool own,
                         struct arena *a, struct facts *ret);

/* What of the tree this is; false: nothing, or of a process that knows no tree. */
static bool locate(int dirfd, const char *name, struct tree_place *ret)
{
    char link[64], path[PATH_MAX + NAME_MAX + 2] = "", *rest, *slash;
    size_t len;

    if (!tree.tasks || name[0] == '/' || dirfd < 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    if (readlink(link, path, PATH_MAX - 1) < 0)
        return false;
    len = strlen(path);
    snprintf(path + len, sizeof path - len, "/%s", str_eq(name, ".") ? "" : name);
    len = strlen(tree.top);
    if (strncmp(path, tree.top, len) != 0 || path[len] != '/')
        return false;
    rest = path + len + 1;
    for (ret->h = 0; ret->h < tree.count; ret->h++) {
        len = strlen(tree.names[ret->h]);
        if (strncmp(rest, tree.names[ret->h], len) == 0 && rest[len] == '/')
            break;
    }
    if (ret->h == tree.count)
        return false;
    rest += len;
    for (len = strlen(rest); len > 1 && rest[len - 1] == '/'; len--)
        rest[len - 1] = '\0';
    slash = strrchr(rest, '/');
    snprintf(ret->file, sizeof ret->file, "%s", slash + 1);
    snprintf(ret->path, sizeof ret->path, "%.*s", slash == rest ? 1 : (int)(slash - rest), rest);
    return true;
}

/* The place of a file as the directory of this name. */
static void as_directory(struct tree_place *p)
{
    size_t len = strlen(p->path);

    snprintf(p->path + len, sizeof p->path - len, "%s%s", len == 1 ? "" : "/", p->file);
    p->file[0] = '\0';
}

/* Of the test's own process, one after the other; 0, or the -errno that it is to fail with. */
static int step(const struct tree_place *p, const char *text)
{
    if (getpid() != tree.owner)
        return 0;
    if (tree.watch)
        tree.watch(p->path, p->file, text, tree.watch_arg);
    return ++tree.steps == tree.fail_at ? -tree.error : 0;
}

static int as_errno(int r)
{
    if (r == 0)
        return 0;
    errno = -r;
    return -1;
}

int __wrap_mkdirat(int dirfd, const char *name, mode_t mode)
{
    struct tree_place p;
    int r;

    if (!locate(dirfd, name, &p))
        return __real_mkdirat(dirfd, name, mode);
    as_directory(&p);
    r = step(&p, "");
    if (r == 0) {
        LOCKED;

        r = tree_make(p.h, p.path);
    }
    return as_errno(r);
}

int __wrap_unlinkat(int dirfd, const char *name, int flags)
{
    struct tree_place p;

    if (!(flags & AT_REMOVEDIR) || !locate(dirfd, name, &p))
        return __real_unlinkat(dirfd, name, flags);
    as_directory(&p);

    LOCKED;

    return as_errno(tree_remove(&p));
}

/* /proc/PID/cgroup of a process, as this tree has it. */
static int open_places(pid_t pid)
{
    int fd = memfd_create("cgroup", MFD_CLOEXEC);
    autosbuf text = SBUF_INIT;
    const struct tree_task *t;

    LOCKED;

    tree_reap();
    t = tree_find(pid);
    for (size_t h = 0; h < tree.count; h++) {
        bool v2 = tree_is_v2(h);

        sbuf_addf(&text, "%zu:%s:%s\n", v2 ? 0 : h + 1, v2 ? "" : tree.names[h],
                  t ? t->path[h] : "/");
    }
    if (fd >= 0 && __real_write(fd, sbuf_text(&text), text.len) == (ssize_t)text.len)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* /proc/PID/task/PID/stat of a thread that has run a guest, if the test says so; FD_NONE. */
static int open_stat(pid_t tid)
{
    char name[PATH_MAX], text[1024] = "", *field = text;
    autosbuf now = SBUF_INIT;
    autofd from = FD_NONE;
    int fd;

    if (access(tree_proc("guest", tid, name), F_OK) < 0)
        return FD_NONE;
    snprintf(name, sizeof name, "/proc/%d/task/%d/stat", (int)tid, (int)tid);
    from = open(name, O_RDONLY | O_CLOEXEC);
    if (from < 0 || read(from, text, sizeof text - 1) <= 0)
        return FD_NONE;
    /* The 43rd field; the second one may have blanks. */
    field = strrchr(text, ')');
    for (int i = 2; field && i < 43; i++)
        field = strchr(field + 1, ' ');
    if (!field)
        return FD_NONE;
    sbuf_addf(&now, "%.*s 7%s", (int)(field - text), text, strchr(field + 1, ' '));
    fd = memfd_create("stat", MFD_CLOEXEC);
    if (fd >= 0 && __real_write(fd, sbuf_text(&now), now.len) == (ssize_t)now.len)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* What a test says that /proc has of one of its processes; FD_NONE: nothing. */
static int open_told(const char *name, int flags)
{
    char path[PATH_MAX], end;
    int pid, tid;

    if (sscanf(name, "/proc/%d/task/%d/sta%c", &pid, &tid, &end) == 3 && end == 't')
        return open_stat(tid);
    if (sscanf(name, "/proc/%d/f%c", &pid, &end) == 2 && end == 'd') {
        int fd = open(tree_proc("fd", tree_process_of(pid), path), flags);

        /* A file in its place: what cannot be read. */
        return fd < 0 && errno == ENOTDIR ? -ENOTDIR : fd;
    }
    if (sscanf(name, "/proc/%d/cgrou%c", &pid, &end) == 2 && end == 'p' && !tree_is_gone(pid))
        return open_places(pid);
    return FD_NONE;
}

int __wrap_openat(int dirfd, const char *name, int flags, ...)
{
    struct tree_place p;
    mode_t mode = 0;
    int r = 0, told;

    if (kit_at_call)
        kit_at_call();
    if (flags & O_CREAT) {
        va_list ap;

        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    if (tree.tasks && tree.hidden && getpid() == tree.owner && str_ends(name, tree.hidden))
        return as_errno(-tree.hidden_error);
    told = tree.tasks ? open_told(name, flags) : FD_NONE;
    if (told >= 0)
        return told;
    if (told == -ENOTDIR)
        return as_errno(told);
    if (tree.tasks && locate(dirfd, name, &p))
        r = tree_open(&p, flags);
    return r < 0 ? as_errno(r) : __real_openat(dirfd, name, flags, mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    struct tree_place p;
    char text[4096];
    int r;

    if (!locate(fd, ".", &p))
        return __real_write(fd, data, len);
    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)data);
    r = is_held(&p, text) ? -EINVAL : step(&p, text);
    if (r == 0) {
        LOCKED;

        r = tree_has(p.h, p.path) ? tree_write(&p, text) : -ENODEV;
    }
    return as_errno(r) < 0 ? -1 : (ssize_t)len;
}

/* See kit_tree_unmount(). */
static bool is_hidden(void)
{
    char name[PATH_MAX];

    return access(tree_proc("hidden", 0, name), F_OK) == 0;
}

static void show_tree(struct arena *a, struct cg_host *ret)
{
    tree.looks++;
    *ret = (struct cg_host){.mode = tree.mode};
    for (size_t h = getpid() != tree.owner && is_hidden(); h < tree.count; h++) {
        char name[PATH_MAX];
        bool v2 = tree_is_v2(h);
        autofree char *offered = v2 ? tree_get(h, "/", "cgroup.controllers") : NULL;

        ret->hierarchies[ret->count++] = (struct cg_hierarchy){
            .fd = open(tree_full(h, "/", "", name), O_PATH | O_DIRECTORY | O_CLOEXEC),
            .v2 = v2,
            .controllers = v2 ? cg_ctl_parse_list(offered, ' ', true)
                              : cg_ctl_parse_list(tree.names[h], ',', false),
            .name = tree.names[h],
            .mount_point = arena_strdup(a, name),
            .root = "/",
        };
    }
}

int __wrap_cg_host_open(struct arena *a, struct cg_host *ret, struct err *e)
{
    if (!tree.tasks)
        return __real_cg_host_open(a, ret, e);
    show_tree(a, ret);
    return 0;
}

int __wrap_cg_host_look(struct arena *a, struct cg_host *ret, struct err *e)
{
    if (!tree.tasks)
        return __real_cg_host_look(a, ret, e);
    show_tree(a, ret);
    return 0;
}

/* Every host of a tree has the same devices, whatever this one has. */
void __wrap_facts_gather(enum cg_mode mode, const struct settings *settings, bool own,
                         struct arena *a, struct facts *ret)
{
    if (!tree.tasks)
        __real_facts_gather(mode, settings, own, a, ret);
    else
        *ret = kit_facts_of(mode, KVM_ALONE);
}

/* No program can be attached to a directory: what it allows of a few devices is written down. */
int __wrap_cg_bpf_device_attach(int dirfd, const struct cg_bpf_program *program, struct err *e)
{
    static const struct {
        char type;
        unsigned major, minor;
    } asked[] = {{'c', 1, 3}, {'c', 10, 232}, {'c', 10, 200}, {'b', 8, 0}};
    autosbuf text = SBUF_INIT;
    struct tree_place p;
    int r;

    if (!locate(dirfd, "devices.bpf", &p))
        return __real_cg_bpf_device_attach(dirfd, program, e);
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        sbuf_addf(&text, "%s%c %u:%u ", text.len ? ", " : "", asked[i].type, asked[i].major,
                  asked[i].minor);
        for (unsigned k = 0; k < 3; k++) {
            static const uint8_t bits[] = {CG_DEV_R, CG_DEV_W, CG_DEV_M};
            bool is = dev_program_allows(program, asked[i].type, asked[i].major, asked[i].minor,
                                         bits[k], NULL);

            sbuf_addf(&text, "%c", is ? "rwm"[k] : '-');
        }
    }
    r = step(&p, sbuf_text(&text));
    if (r < 0)
        return err_sys(e, r, "cannot attach a device program");

    LOCKED;

    tree_set(p.h, p.path, p.file, sbuf_text(&text));
    return 0;
}
