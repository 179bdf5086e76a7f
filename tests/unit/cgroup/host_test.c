/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/host.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/controller.h"
#include "tests/unit/kit/cgroup_kit.h"
#include "tests/unit/kit/files_kit.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena arena;

static void drop_arena(void)
{
    arena_free(&arena);
}

TestSuite(host, .fini = drop_arena);

/* --- host: mountinfo --- */

/* "0:29 v1 cpu,cpuacct bits / /sys/..." for each mount, joined by " ; " */
static const char *mounts_text(const struct cg_mount *mounts, size_t count)
{
    char *text = arena_strdup(&arena, "");

    for (size_t i = 0; i < count; i++) {
        const struct cg_mount *m = &mounts[i];

        text = arena_printf(&arena, "%s%s%u:%u %s %s %#x %s %s", text, i ? " ; " : "", m->dev_major,
                            m->dev_minor, m->v2 ? "v2" : "v1", m->name, m->controllers, m->root,
                            m->mount_point);
    }
    return text;
}

Test(host, mountinfo)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", ""},
        {"\n\n", ""},
        {"36 35 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu",
         "0:29 v1 cpu 0x1 / /sys/fs/cgroup/cpu"},
        {"36 35 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
         "0:29 v1 cpu 0x1 / /sys/fs/cgroup/cpu"},
        /* co-mounted: the name is what /proc/PID/cgroup writes */
        {"36 35 0:29 / /c rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
         "0:29 v1 cpu,cpuacct 0x3 / /c"},
        {"36 35 0:29 / /c rw - cgroup cgroup rw,net_cls,net_prio",
         "0:29 v1 net_cls,net_prio 0xc00 / /c"},
        /* options of the hierarchy are no controllers */
        {"36 35 0:29 / /c rw - cgroup cgroup rw,xattr,memory,clone_children",
         "0:29 v1 memory 0x8 / /c"},
        {"36 35 0:29 / /c rw - cgroup cgroup rw,cpuset,noprefix,release_agent=/cpu",
         "0:29 v1 cpuset 0x4 / /c"},
        /* named */
        {"36 35 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
         "0:30 v1 name=systemd 0 / /sys/fs/cgroup/systemd"},
        {"36 35 0:30 / /s rw - cgroup systemd rw,name=systemd", "0:30 v1 name=systemd 0 / /s"},
        /* a name is not split further, nor taken for a controller */
        {"36 35 0:30 / /s rw - cgroup cgroup rw,name=cpu", "0:30 v1 name=cpu 0 / /s"},
        /* v2; its options are no controllers */
        {"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot",
         "0:38 v2 unified 0 / /sys/fs/cgroup"},
        {"41 31 0:38 /../../x /sys/fs/cgroup rw - cgroup2 none rw",
         "0:38 v2 unified 0 /../../x /sys/fs/cgroup"},
        {"41 31 259:4095 /kubepods/pod1 /cg rw - cgroup2 none rw",
         "259:4095 v2 unified 0 /kubepods/pod1 /cg"},
        /* optional fields: none, one, several */
        {"1 2 0:3 / /c rw shared:1 master:2 propagate_from:7 unbindable - cgroup c rw,pids",
         "0:3 v1 pids 0x80 / /c"},
        /* octal escapes in root and mount point */
        {"1 2 0:3 /a\\040b /sys/fs/c\\011g\\012x\\134y rw - cgroup c rw,pids",
         "0:3 v1 pids 0x80 /a b /sys/fs/c\tg\nx\\y"},
        {"1 2 0:3 / /m\\040-\\040cgroup rw - cgroup c rw,pids", "0:3 v1 pids 0x80 / /m - cgroup"},
        {"1 2 0:3 / /x\\04 rw - cgroup c rw,pids", "0:3 v1 pids 0x80 / /x\\04"},
        {"1 2 0:3 / /x\\ rw - cgroup c rw,pids", "0:3 v1 pids 0x80 / /x\\"},
        {"1 2 0:3 / /x\\400\\080\\008 rw - cgroup c rw,pids",
         "0:3 v1 pids 0x80 / /x\\400\\080\\008"},
        {"1 2 0:3 / /x\\134040 rw - cgroup c rw,pids", "0:3 v1 pids 0x80 / /x\\040"},
        {"1 2 0:3 / /x\\177\\077\\100\\001 rw - cgroup c rw,pids",
         "0:3 v1 pids 0x80 / /x\x7f?@\x01"},
        {"1 2 0:3 / /x\\303\\244 rw - cgroup c rw,pids", "0:3 v1 pids 0x80 / /x\xc3\xa4"},
        /* other file systems */
        {"1 2 0:3 / / rw - ext4 /dev/vda rw,cpu", ""},
        {"1 2 0:3 / /sys/fs/cgroup rw - tmpfs cgroup rw,mode=755", ""},
        {"1 2 0:3 / /c rw - cgroup3 cgroup rw,cpu", ""},
        {"1 2 0:3 / /c rw - fuse.cgroup cgroup rw,cpu", ""},
        /* malformed */
        {"36 35 0:29 / c rw - cgroup cgroup rw,cpu", ""},
        {"36 35 0:29 r /c rw - cgroup cgroup rw,cpu", ""},
        {"1 2 0:3 / /c rw cgroup cgroup rw,cpu", ""},
        {"1 2 0:3 / - cgroup cgroup rw,cpu", ""},
        {"1 2 0:3 / /c rw - cgroup", ""},
        {"1 2 0:3 / /c rw - cgroup cgroup", ""},
        {"1 2 0:3 / /c rw - ", ""},
        {" - cgroup cgroup rw,cpu", ""},
        {"1 2 03 / /c rw - cgroup cgroup rw,cpu", ""},
        {"1 2 0: / /c rw - cgroup cgroup rw,cpu", ""},
        {"1 2 :3 / /c rw - cgroup cgroup rw,cpu", ""},
        {"1 2 a:3 / /c rw - cgroup cgroup rw,cpu", ""},
        {"1 2 0:3x / /c rw - cgroup cgroup rw,cpu", ""},
        /* several lines, in order; a bad one in between is skipped */
        {"1 2 0:3 / /a rw - cgroup c rw,cpu\nrubbish\n1 2 0:4 / /b rw - cgroup c rw,cpuset\n"
         "1 2 0:5 / /x rw - tmpfs c rw\n1 2 0:6 / /c rw - cgroup2 c rw\n",
         "0:3 v1 cpu 0x1 / /a ; 0:4 v1 cpuset 0x4 / /b ; 0:6 v2 unified 0 / /c"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_mount mounts[8];
        char *text = arena_strdup(&arena, cases[i].text);
        size_t count = cg_mountinfo_parse(text, &arena, mounts, ARRAY_SIZE(mounts));
        const char *got = mounts_text(mounts, count);

        cr_expect(str_eq(got, cases[i].want), "\"%s\":\nexpected \"%s\"\ngot      \"%s\"",
                  cases[i].text, cases[i].want, got);
    }
}

/* The name must be the one of /proc/PID/cgroup, or tasks are never found in that hierarchy. */
Test(host, mountinfo_v1_names)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        /* a name and controllers: /proc/PID/cgroup has "cpu,name=x" (kernel/cgroup/cgroup.c,
         * proc_cgroup_show) */
        {"36 35 0:30 / /s rw - cgroup cgroup rw,cpu,name=x", "0:30 v1 cpu,name=x 0x1 / /s"},
        /* a v1 controller that we do not know is there all the same, under its own name */
        {"36 35 0:30 / /s rw - cgroup cgroup rw,dmem", "0:30 v1 dmem 0 / /s"},
        {"36 35 0:30 / /s rw - cgroup cgroup rw,cpu,debug", "0:30 v1 cpu,debug 0x1 / /s"},
        /* options that every file system can have: fs/proc_namespace.c, show_sb_opts */
        {"36 35 0:30 / /s rw - cgroup cgroup rw,sync,dirsync,mand,lazytime,cpu",
         "0:30 v1 cpu 0x1 / /s"},
        {"36 35 0:30 / /s rw - cgroup cgroup ro,cpu", "0:30 v1 cpu 0x1 / /s"},
        /* those of SELinux and Smack stand before the controllers */
        {"36 35 0:30 / /s rw - cgroup cgroup rw,seclabel,cpu,cpuacct",
         "0:30 v1 cpu,cpuacct 0x3 / /s"},
        {"36 35 0:30 / /s rw - cgroup cgroup rw,seclabel,xattr,name=systemd",
         "0:30 v1 name=systemd 0 / /s"},
        {"36 35 0:30 / /s rw - cgroup cgroup rw,context=system_u:object_r:cgroup_t:s0,pids",
         "0:30 v1 pids 0x80 / /s"},
        {"36 35 0:30 / /s rw - cgroup cgroup rw,context=\"u:r:t:s0:c1,c2,c3\",pids",
         "0:30 v1 pids 0x80 / /s"},
        {"36 35 0:30 / /s rw - cgroup cgroup rw,smackfsdef=*,pids", "0:30 v1 pids 0x80 / /s"},
        /* those of the hierarchy behind them: kernel/cgroup/cgroup-v1.c, cgroup1_show_options */
        {"36 35 0:30 / /s rw - cgroup cgroup "
         "rw,cpuset,noprefix,xattr,cpuset_v2_mode,favordynmods,release_agent=/"
         "a,clone_children,name=x",
         "0:30 v1 cpuset,name=x 0x4 / /s"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_mount mounts[2];
        char *text = arena_strdup(&arena, cases[i].text);
        size_t count = cg_mountinfo_parse(text, &arena, mounts, ARRAY_SIZE(mounts));
        const char *got = mounts_text(mounts, count);

        cr_expect(str_eq(got, cases[i].want), "\"%s\":\nexpected \"%s\"\ngot      \"%s\"",
                  cases[i].text, cases[i].want, got);
    }
}

Test(host, mountinfo_max)
{
    for (size_t max = 0; max <= 4; max++) {
        struct cg_mount mounts[4] = {0};
        char *text = arena_strdup(&arena, "1 2 0:3 / /a rw - cgroup c rw,cpu\n"
                                          "1 2 0:4 / /b rw - cgroup c rw,cpuset\n"
                                          "1 2 0:5 / /c rw - cgroup c rw,pids\n");
        size_t got = cg_mountinfo_parse(text, &arena, mounts, max);
        size_t want = max < 3 ? max : 3;

        cr_expect_eq(got, want, "max %zu: expected %zu, got %zu", max, want, got);
        cr_expect(max > 3 || !mounts[max].mount_point, "max %zu: nothing behind the end", max);
    }
}

/* --- host: this machine --- */

struct seen {
    unsigned major, minor;
    bool v2;
    char mount_point[PATH_MAX];
    char options[512];
};

/* Our own, simple reading of mountinfo: the cgroup mounts whose mount point shows them. */
static size_t read_seen(struct seen *seen, size_t max)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[8192];
    size_t count = 0;

    cr_assert_not_null(f);
    while (count < max && fgets(line, sizeof line, f)) {
        struct seen *s = &seen[count];
        char type[64];
        const char *tail = strstr(line, " - ");
        struct stat st;

        if (!tail || sscanf(tail, " - %63s %*s %511s", type, s->options) != 2 ||
            !str_starts(type, "cgroup"))
            continue;
        if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &s->major, &s->minor, s->mount_point) != 3)
            continue;
        s->v2 = str_eq(type, "cgroup2");
        if (stat(s->mount_point, &st) == 0 && major(st.st_dev) == s->major &&
            minor(st.st_dev) == s->minor)
            count++;
    }
    fclose(f);
    return count;
}

/* A hierarchy that could not be looked at is not one that is not mounted: with too few
 * descriptors for all of them there is no host. */
Test(host, unseen)
{
    struct rlimit usual, few;
    struct cg_host host;
    size_t count, refused = 0;
    int first;

    if (cg_host_open(&arena, &host, NULL) < 0)
        cr_skip_test("there are no cgroups here");
    count = host.count;
    cg_host_close(&host);
    first = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(first, 0);
    close(first);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    for (size_t spare = 0; spare <= count + 1; spare++) {
        struct err e = ERR_INIT;
        int r;

        few = (struct rlimit){.rlim_cur = (rlim_t)first + spare, .rlim_max = usual.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        r = cg_host_open(&arena, &host, &e);
        setrlimit(RLIMIT_NOFILE, &usual);
        cr_expect(r == 0 ? host.count == count : r == -EMFILE && host.count == 0,
                  "%zu descriptors: got %d, %zu of %zu hierarchies: %s", spare, r, host.count,
                  count, e.text);
        refused += r < 0;
        cg_host_close(&host);
    }
    cr_expect_gt(refused, count, "none is left out");
}

/* 0: not foreign, 1: foreign, 2: there are no user namespaces for us. */
static int foreign_in_child(bool in_namespace,
                            int (*find)(struct arena *a, struct cg_host *ret, struct err *e))
{
    int status;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct arena a = ARENA_INIT;
        struct cg_host host;

        if (in_namespace && unshare(CLONE_NEWUSER) < 0)
            _exit(2);
        _exit(find(&a, &host, NULL) == 0 && cg_host_is_foreign(&host, NULL) == 1);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Root of a user namespace of its own is nobody to the host. */
Test(host, is_foreign)
{
    int got;

    if (geteuid() != 0)
        cr_skip_test("whether cgroups can be made depends on who runs this");
    cr_expect_eq(foreign_in_child(false, cg_host_open), 0);
    cr_expect_eq(foreign_in_child(false, cg_host_look), 0);
    got = foreign_in_child(true, cg_host_open);
    if (got == 2)
        cr_skip_test("no user namespaces here");
    cr_expect_eq(got, 1);
    cr_expect_eq(foreign_in_child(true, cg_host_look), 1);
}

Test(host, open_agrees_with_mountinfo)
{
    static struct seen seen[64];
    size_t count = read_seen(seen, ARRAY_SIZE(seen)), distinct = 0;
    bool v1 = false, v2 = false;
    struct cg_host host;
    struct err e = ERR_INIT;
    unsigned all = 0;

    if (count == 0)
        cr_skip_test("no cgroup file system is mounted here");
    for (size_t i = 0; i < count; i++) {
        bool again = false;

        for (size_t k = 0; k < i; k++)
            again = again || (seen[k].major == seen[i].major && seen[k].minor == seen[i].minor);
        distinct += !again;
        v2 = v2 || seen[i].v2;
        v1 = v1 || (!seen[i].v2 && !strstr(seen[i].options, "name="));
    }
    cr_assert_eq(cg_host_open(&arena, &host, &e), 0, "%s", e.text);

    enum cg_mode want = v1 && v2 ? CG_MODE_HYBRID : v1 ? CG_MODE_V1 : CG_MODE_V2;

    cr_expect_eq(host.mode, want, "expected %s, got %s", cg_mode_name(want),
                 cg_mode_name(host.mode));
    cr_expect_eq(host.count, want == CG_MODE_V2 ? 1 : distinct, "expected %zu, got %zu", distinct,
                 host.count);
    for (size_t i = 0; i < host.count; i++) {
        const struct cg_hierarchy *h = &host.hierarchies[i];
        const struct seen *s = seen;
        struct statfs fs;
        struct stat st;

        while (s < seen + count && !str_eq(s->mount_point, h->mount_point))
            s++;
        cr_assert(s < seen + count, "%s is no cgroup mount", h->mount_point);
        cr_expect(fstatfs(h->fd, &fs) == 0 && fstat(h->fd, &st) == 0, "%s is open", h->mount_point);
        cr_expect(major(st.st_dev) == s->major && minor(st.st_dev) == s->minor,
                  "%s: the file system of mountinfo", h->mount_point);
        cr_expect(h->v2 == s->v2 &&
                      (unsigned)fs.f_type == (h->v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC),
                  "%s: version", h->mount_point);
        cr_expect(fcntl(h->fd, F_GETFD) & FD_CLOEXEC, "%s: close-on-exec", h->mount_point);
        cr_expect(h->v2 ? str_eq(h->name, "unified") : strstr(s->options, h->name) != NULL,
                  "%s: name %s, options %s", h->mount_point, h->name, s->options);
        for (unsigned ctl = 0; !h->v2 && ctl < CG_CTL_COUNT; ctl++) {
            char *padded = arena_printf(&arena, ",%s,", s->options);
            char *word = arena_printf(&arena, ",%s,", cg_ctl_name((enum cg_ctl)ctl, false));
            bool mounted = strstr(padded, word) != NULL;

            cr_expect_eq(mounted, !!(h->controllers & CG_CTL_BIT(ctl)), "%s: %s", h->mount_point,
                         word);
            if (mounted)
                cr_expect_eq(cg_host_find(&host, (enum cg_ctl)ctl), h, "find %s", word);
        }
        all |= h->controllers;
    }
    for (unsigned ctl = 0; ctl < CG_CTL_COUNT; ctl++)
        cr_expect_eq(cg_host_find(&host, (enum cg_ctl)ctl) != NULL, !!(all & CG_CTL_BIT(ctl)),
                     "find %s", cg_ctl_name((enum cg_ctl)ctl, false));

    int fd = host.hierarchies[0].fd;

    cg_host_close(&host);
    cr_expect(host.count == 0 && fcntl(fd, F_GETFD) < 0, "closed");
    cg_host_close(&host);
}

/* Whether two hosts are one; of that of cg_host_look() the cgroup2 mount may seem to have no controllers. */
static void expect_same(const struct cg_host *look, const struct cg_host *all)
{
    cr_assert_eq(look->count, all->count, "expected %zu, got %zu", all->count, look->count);
    cr_expect_eq(look->mode, all->mode);
    for (size_t i = 0; i < all->count; i++) {
        const struct cg_hierarchy *h = &look->hierarchies[i], *want = &all->hierarchies[i];

        cr_expect(str_eq(h->name, want->name) && str_eq(h->root, want->root) && h->v2 == want->v2 &&
                      str_eq(h->mount_point, want->mount_point),
                  "expected %s, got %s", want->mount_point, h->mount_point);
        cr_expect(h->controllers == want->controllers ||
                      (h->v2 && all->mode == CG_MODE_HYBRID && h->controllers == 0),
                  "%s: %#x", h->mount_point, h->controllers);
    }
}

/* Whether the descriptors are those of the same directory. */
static bool is_same_dir(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* What is looked at is opened when it is needed, once, for all copies of it. */
Test(host, look)
{
    struct cg_host host, all;
    struct cg_hierarchy copy;
    int fds[CG_MAX_HIERARCHIES], spare;
    bool asked = false;

    if (cg_host_open(&arena, &all, NULL) < 0)
        cr_skip_test("there are no cgroups here");
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(spare);
    cr_assert_eq(cg_host_look(&arena, &host, NULL), 0);
    if (!host.hierarchies[0].late)
        cr_skip_test("mountinfo does not say what is on top here");
    expect_same(&host, &all);
    fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < host.count; i++)
        asked = asked || (host.hierarchies[i].v2 && host.hierarchies[i].controllers);
    cr_expect(asked || fds[0] == spare, "it holds descriptor %d", spare);
    close(fds[0]);
    for (size_t i = 0; i < host.count; i++) {
        copy = host.hierarchies[i];
        fds[i] = cg_hierarchy_fd(&copy);
        cr_expect(is_same_dir(fds[i], all.hierarchies[i].fd), "%s", copy.mount_point);
        cr_expect_eq(cg_hierarchy_fd(&host.hierarchies[i]), fds[i], "%s: again", copy.mount_point);
        cr_expect(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, "%s: close-on-exec", copy.mount_point);
        cr_expect_eq(cg_hierarchy_fd(&all.hierarchies[i]), all.hierarchies[i].fd);
    }
    cg_host_close(&host);
    for (size_t i = 0; i < all.count; i++)
        cr_expect_lt(fcntl(fds[i], F_GETFD), 0, "%s is open", all.hierarchies[i].mount_point);
    cr_expect_eq(host.count, 0);
    cg_host_close(&all);
}

/* One that cannot be opened when it is needed is no cgroup that is not there, and can be when it is asked
 * for again. */
Test(host, look_without_descriptors)
{
    struct rlimit usual, few;
    struct cg_host host;
    int first, r;

    if (cg_host_look(&arena, &host, NULL) < 0 || !host.hierarchies[host.count - 1].late)
        cr_skip_test("nothing is opened late here");
    first = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(first);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    few = (struct rlimit){.rlim_cur = (rlim_t)first, .rlim_max = usual.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    r = cg_hierarchy_open(&host.hierarchies[host.count - 1], "/");
    setrlimit(RLIMIT_NOFILE, &usual);
    cr_expect_eq(r, -EMFILE, "got %d", r);
    r = cg_hierarchy_open(&host.hierarchies[host.count - 1], "/");
    cr_expect_geq(r, 0, "got %d", r);
    close(r);
    r = cg_hierarchy_open(&host.hierarchies[host.count - 1], "/osc-unit-nothing");
    cr_expect_eq(r, -ENOENT, "got %d", r);
    cg_host_close(&host);
}

/* --- discovery, in a mount namespace of our own --- */

TestSuite(host_live, .init = kit_start, .fini = kit_finish, .timeout = 120);

static char mount_dir[] = "/tmp/osc-mounts-XXXXXX";

static const char *mount_name(const char *name)
{
    const char *path = arena_printf(&kit_arena, "%s/%s", mount_dir, name);

    mkdir(path, 0755);
    return path;
}

static void own_mounts(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        cr_skip_test("needs a mount namespace of its own: %s", strerror(errno));
    kit_make_dir(mount_dir);
    if (mount("tmpfs", mount_dir, "tmpfs", 0, NULL) < 0)
        cr_skip_test("cannot mount: %s", strerror(errno));
}

static const struct cg_hierarchy *discover(struct cg_host *host, const char *name)
{
    struct err e = ERR_INIT;

    struct cg_host look;

    kit_expect_ok(cg_host_open(&kit_arena, host, &e), &e, "discover");
    kit_expect_ok(cg_host_look(&kit_arena, &look, &e), &e, "look");
    expect_same(&look, host);
    cg_host_close(&look);
    for (size_t i = 0; i < host->count; i++) {
        if (str_eq(host->hierarchies[i].name, name))
            return &host->hierarchies[i];
    }
    return NULL;
}

Test(host_live, repeated_and_hidden_mounts)
{
    const struct cg_hierarchy *h = kit_need_v1_ctl(CG_CTL_PIDS), *seen;
    const char *part, *keep, *last;
    struct cg_controller c;
    struct cg_host host;
    struct err e = ERR_INIT;
    pid_t pid;

    if (!str_eq(h->root, "/"))
        cr_skip_test("%s shows a part only", h->mount_point);
    own_mounts();
    kit_make_cgroup(h, kit_base);
    keep = mount_name("keep");
    part = mount_name("part");
    last = mount_name("last");
    /* in the order of mountinfo: a part of the hierarchy, then all of it */
    cr_assert_eq(mount(h->mount_point, keep, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(mount(arena_printf(&kit_arena, "%s%s", h->mount_point, kit_base), part, NULL,
                       MS_BIND, NULL),
                 0);
    cr_assert_eq(umount2(h->mount_point, MNT_DETACH), 0, "%s", strerror(errno));
    cr_assert_eq(mount(keep, last, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(umount2(keep, MNT_DETACH), 0);
    seen = discover(&host, h->name);
    cr_assert_not_null(seen);
    cr_expect(str_eq(seen->mount_point, last) && str_eq(seen->root, "/"),
              "expected %s with /, got %s with %s", last, seen->mount_point, seen->root);
    cr_expect_eq(host.count, kit_host.count, "each hierarchy once");
    cg_host_close(&host);

    /* hidden below another file system: the part is all that there is */
    cr_assert_eq(mount("tmpfs", last, "tmpfs", 0, NULL), 0);
    seen = discover(&host, h->name);
    cr_assert_not_null(seen);
    cr_expect(str_eq(seen->mount_point, part) && str_eq(seen->root, kit_base),
              "expected %s with %s, got %s with %s", part, kit_base, seen->mount_point, seen->root);

    /* and paths are relative to it */
    c = kit_create(&host, NULL, kit_sub("a"), NULL, &kit_no_limits);
    cr_expect(kit_exists(seen, c.path));
    pid = kit_start_child();
    kit_expect_ok(cg_add_process(&c, kit_who(pid), &e), &e, "add");
    cr_expect_str_eq(kit_where(h, pid), arena_printf(&kit_arena, "%s%s", kit_base, c.path));
    cr_expect_eq(cg_holds(&c, pid), 1);
    struct cg_origin origin;

    kit_expect_ok(cg_origin_read(&host, pid, &kit_arena, &origin, &e), &e, "origin");
    cr_expect_str_eq(origin.paths[seen - host.hierarchies], c.path);
    kit_expect_ok(cg_origin_read(&host, getpid(), &kit_arena, &origin, &e), &e, "origin");
    cr_expect_null(origin.paths[seen - host.hierarchies], "outside of the mount");
    /* the mounted cgroup itself is the root */
    cr_assert_eq(kit_write_pid(seen, "/", "cgroup.procs", pid), 0);
    kit_expect_ok(cg_origin_read(&host, pid, &kit_arena, &origin, &e), &e, "origin");
    cr_expect_str_eq(origin.paths[seen - host.hierarchies], "/");
    kit_end_child(pid);
    kit_delete_ok(&c);
    cg_host_close(&host);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

/* What was there when the host was looked at, and is not when it is needed. */
Test(host_live, hidden_since)
{
    const struct cg_hierarchy *last;
    struct cg_host host;
    struct err e = ERR_INIT;
    const char *place;
    int fd;

    kit_need_host();
    kit_expect_ok(cg_host_look(&kit_arena, &host, &e), &e, "look");
    last = &host.hierarchies[host.count - 1];
    if (!last->late || cg_host_find(&host, CG_CTL_CPU) == last)
        cr_skip_test("nothing is opened late here");
    own_mounts();
    place = last->mount_point;
    cr_assert_eq(mount("tmpfs", place, "tmpfs", 0, NULL), 0, "%s", strerror(errno));
    fd = cg_hierarchy_fd(last);
    cr_expect_eq(fd, -ESTALE, "got %d", fd);
    cr_expect_eq(cg_hierarchy_open(last, "/"), -ESTALE);
    cr_expect_eq(cg_hierarchy_open(last, "/none"), -ESTALE, "it is not known");
    cr_expect_eq(cg_host_open_rest(&host, &e), -ESTALE);
    cr_expect(strstr(e.text, place), "\"%s\"", e.text);
    err_reset(&e);
    cr_assert_eq(umount2(place, MNT_DETACH), 0);
    kit_expect_ok(cg_host_open_rest(&host, &e), &e, "open the rest");
    cr_expect_geq(cg_hierarchy_fd(last), 0);
    cg_host_close(&host);

    /* and before: it is left out, as by cg_host_open() */
    cr_assert_eq(mount("tmpfs", place, "tmpfs", 0, NULL), 0, "%s", strerror(errno));
    discover(&host, "");
    cr_expect_eq(host.count, kit_host.count - 1);
    cg_host_close(&host);
    umount2(place, MNT_DETACH);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

static const struct cg_hierarchy *cgroup2_of(const struct cg_host *host)
{
    for (size_t i = 0; i < host->count; i++) {
        if (host->hierarchies[i].v2)
            return &host->hierarchies[i];
    }
    return NULL;
}

/* On a hybrid host the cgroup2 mount is asked for its controllers where v1 lacks one that stages look for. */
Test(host_live, controllers_of_both)
{
    static const enum cg_ctl looked_for[] = {CG_CTL_CPU,     CG_CTL_CPUSET, CG_CTL_MEMORY,
                                             CG_CTL_FREEZER, CG_CTL_BLKIO,  CG_CTL_PIDS,
                                             CG_CTL_DEVICES, CG_CTL_CPUACCT};
    const struct cg_hierarchy *unified, *h;
    struct cg_host look;
    bool all = true;

    kit_need_host();
    if (kit_host.mode != CG_MODE_HYBRID)
        cr_skip_test("not a hybrid host");
    unified = cgroup2_of(&kit_host);
    for (size_t i = 0; i < ARRAY_SIZE(looked_for); i++) {
        h = cg_host_find(&kit_host, looked_for[i]);
        all = all && h && !h->v2;
    }
    if (!all || !unified->controllers)
        cr_skip_test("the cgroup2 mount has none, or one of those that are asked for");
    own_mounts();
    for (size_t i = 0; i < ARRAY_SIZE(looked_for); i++) {
        const char *place = cg_host_find(&kit_host, looked_for[i])->mount_point;

        cr_assert_eq(cg_host_look(&kit_arena, &look, NULL), 0);
        h = cgroup2_of(&look);
        cr_assert_not_null(h);
        cr_expect_eq(h->controllers, h->late ? 0 : unified->controllers);
        cg_host_close(&look);
        cr_assert_eq(umount2(place, MNT_DETACH), 0);
        cr_assert_eq(cg_host_look(&kit_arena, &look, NULL), 0);
        h = cgroup2_of(&look);
        cr_expect(h && h->controllers == unified->controllers, "without %s", place);
        cg_host_close(&look);
        cr_assert_eq(
            mount("none", place, "cgroup", 0, cg_host_find(&kit_host, looked_for[i])->name), 0,
            "%s: %s", place, strerror(errno));
    }
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

/* A hierarchy whose mount is not among those that are read first. */
Test(host_live, behind_many_mounts)
{
    const struct cg_hierarchy *h = &kit_host.hierarchies[kit_host.count - 1], *seen;
    const char *keep, *last;
    struct cg_host host;

    own_mounts();
    keep = mount_name("keep");
    last = mount_name("last");
    cr_assert_eq(mount(h->mount_point, keep, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(umount2(h->mount_point, MNT_DETACH), 0, "%s", strerror(errno));
    for (int i = 0; i < 200; i++)
        cr_assert_eq(mount("tmpfs", mount_name("other"), "tmpfs", 0, NULL), 0);
    cr_assert_eq(mount(keep, last, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(umount2(keep, MNT_DETACH), 0);
    seen = discover(&host, h->name);
    cr_assert_not_null(seen);
    cr_expect_str_eq(seen->mount_point, last);
    cr_expect_eq(host.count, kit_host.count, "each hierarchy once");
    cg_host_close(&host);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

/* Where the first mounts show all hierarchies no others are read: here those would be too long for it. */
Test(host_live, before_many_mounts)
{
    char path[PATH_MAX];
    struct cg_host host;

    for (size_t i = 0; i < kit_host.count; i++) {
        if (!str_eq(kit_host.hierarchies[i].root, "/"))
            cr_skip_test("%s shows a part only", kit_host.hierarchies[i].mount_point);
    }
    own_mounts();
    snprintf(path, sizeof path, "%s", mount_dir);
    for (int i = 0; i < 14; i++) {
        size_t len = strlen(path);

        path[len] = '/';
        memset(path + len + 1, '\n', NAME_MAX); /* four bytes each, there */
        path[len + 1 + NAME_MAX] = '\0';
        cr_assert_eq(mkdir(path, 0700), 0);
    }
    for (int i = 0; i < 400; i++)
        cr_assert_eq(mount(path, path, NULL, MS_BIND, NULL), 0);
    discover(&host, "");
    cr_expect_eq(host.count, kit_host.count);
    cg_host_close(&host);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}

Test(host_live, discovery_modes)
{
    struct cg_host host;
    struct err e = ERR_INIT;
    bool had_v2 = false;
    int r;

    kit_need_v1();
    own_mounts();
    /* without the cgroup2 mount: v1 */
    for (size_t i = 0; i < kit_host.count; i++) {
        if (kit_host.hierarchies[i].v2) {
            had_v2 = true;
            cr_assert_eq(umount2(kit_host.hierarchies[i].mount_point, MNT_DETACH), 0);
        }
    }
    discover(&host, "");
    cr_expect(host.mode == CG_MODE_V1 && host.count == kit_host.count - had_v2, "got %s, %zu",
              cg_mode_name(host.mode), host.count);
    cg_host_close(&host);

    /* no controller: a named hierarchy alone limits nothing */
    for (size_t i = 0; i < kit_host.count; i++) {
        if (!kit_host.hierarchies[i].v2 && kit_host.hierarchies[i].controllers)
            cr_assert_eq(umount2(kit_host.hierarchies[i].mount_point, MNT_DETACH), 0);
    }
    if (had_v2) {
        cr_assert_eq(mount("cgroup2", mount_name("v2"), "cgroup2", 0, NULL), 0);
        discover(&host, "");
        cr_expect(host.mode == CG_MODE_V2 && host.count == 1 && host.hierarchies[0].v2,
                  "got %s, %zu", cg_mode_name(host.mode), host.count);
        cg_host_close(&host);
        umount2(mount_name("v2"), MNT_DETACH);
    }

    /* nothing at all */
    for (size_t i = 0; i < kit_host.count; i++) {
        if (!kit_host.hierarchies[i].v2 && !kit_host.hierarchies[i].controllers)
            cr_assert_eq(umount2(kit_host.hierarchies[i].mount_point, MNT_DETACH), 0);
    }
    r = cg_host_open(&kit_arena, &host, &e);
    cr_expect_eq(r, -ENOENT, "expected %d, got %d", -ENOENT, r);
    cr_expect(strstr(e.text, "mountinfo") && host.count == 0, "\"%s\"", e.text);
    cg_host_close(&host);
    umount2(mount_dir, MNT_DETACH);
    rmdir(mount_dir);
}
