/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/host.h"
#include "cgroup/limits/cpulist.h"
#include "cgroup/path.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
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

TestSuite(cgroup, .fini = drop_arena);

/* --- host: names --- */

Test(cgroup, mode_names)
{
    static const enum cg_mode modes[] = {CG_MODE_V1, CG_MODE_HYBRID, CG_MODE_V2};
    static const char *const names[] = {"v1", "hybrid", "v2"};
    static const char *const bad[] = {"", "v3", "V1", "v1 ", "unified"};
    enum cg_mode mode;

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        cr_expect_str_eq(cg_mode_name(modes[i]), names[i]);
        mode = modes[(i + 1) % ARRAY_SIZE(modes)];
        cr_expect(cg_mode_parse(names[i], &mode) == 0 && mode == modes[i], "\"%s\": got %d",
                  names[i], mode);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        mode = CG_MODE_HYBRID;
        cr_expect(cg_mode_parse(bad[i], &mode) == -EINVAL && mode == CG_MODE_HYBRID,
                  "\"%s\" is no mode", bad[i]);
    }
}

#define BIT(x) CG_CTL_BIT(CG_CTL_##x)

Test(cgroup, ctl_names_and_files)
{
    for (int v2 = 0; v2 < 2; v2++) {
        for (unsigned i = 0; i < CG_CTL_COUNT; i++) {
            const char *name = cg_ctl_name((enum cg_ctl)i, v2);
            char *file = arena_printf(&arena, "%s.max", name);

            cr_expect_eq(cg_ctl_parse_list(name, ',', v2), CG_CTL_BIT(i), "%s, v%d", name, v2 + 1);
            cr_expect_eq(cg_ctl_of_file(file, v2), (enum cg_ctl)i, "%s, v%d", file, v2 + 1);
            for (unsigned k = 0; k < i; k++)
                cr_expect_str_neq(cg_ctl_name((enum cg_ctl)k, v2), name);
        }
    }
    cr_expect_str_eq(cg_ctl_name(CG_CTL_BLKIO, false), "blkio");
    cr_expect_str_eq(cg_ctl_name(CG_CTL_BLKIO, true), "io");
}

Test(cgroup, ctl_of_file)
{
    static const struct {
        const char *file;
        bool v2;
        enum cg_ctl want;
    } cases[] = {
        {"memory.max", true, CG_CTL_MEMORY},
        {"memory.memsw.limit_in_bytes", false, CG_CTL_MEMORY},
        {"hugetlb.2MB.rsvd.max", true, CG_CTL_HUGETLB},
        {"cpu.weight", true, CG_CTL_CPU},
        {"cpuset.cpus", true, CG_CTL_CPUSET},
        {"cpuacct.usage", false, CG_CTL_CPUACCT},
        {"io.max", true, CG_CTL_BLKIO},
        {"io.max", false, CG_CTL_COUNT},
        {"blkio.weight", false, CG_CTL_BLKIO},
        {"blkio.weight", true, CG_CTL_COUNT},
        {"cgroup.procs", true, CG_CTL_COUNT},
        {"tasks", false, CG_CTL_COUNT},
        {"memoryx.max", true, CG_CTL_COUNT},
        {"memor.max", true, CG_CTL_COUNT},
        {".max", true, CG_CTL_COUNT},
        {"", true, CG_CTL_COUNT},
        {"Memory.max", true, CG_CTL_COUNT},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        enum cg_ctl got = cg_ctl_of_file(cases[i].file, cases[i].v2);

        cr_expect_eq(got, cases[i].want, "\"%s\" on v%d: expected %d, got %d", cases[i].file,
                     cases[i].v2 + 1, cases[i].want, got);
    }
}

Test(cgroup, ctl_lists)
{
    static const struct {
        const char *list;
        char separator;
        bool v2;
        unsigned want;
    } cases[] = {
        {"", ',', false, 0},
        {"cpu,cpuacct", ',', false, BIT(CPU) | BIT(CPUACCT)},
        {"cpuset io memory", ' ', true, BIT(CPUSET) | BIT(BLKIO) | BIT(MEMORY)},
        {"cpuset blkio memory", ' ', true, BIT(CPUSET) | BIT(MEMORY)},
        {"io", ',', false, 0},
        {"rw,blkio,xattr", ',', false, BIT(BLKIO)},
        {"name=systemd", ',', false, 0},
        {"cpu", ' ', true, BIT(CPU)},
        {"cpu ", ' ', true, BIT(CPU)},
        {" cpu  pids", ' ', true, BIT(CPU) | BIT(PIDS)},
        {"cpu cpuset", ',', true, 0}, /* the other separator separates nothing */
        {"dmem misc", ' ', true, BIT(MISC)},
        {"net_cls,net_prio,perf_event,rdma,hugetlb,freezer,devices,pids", ',', false,
         BIT(NET_CLS) | BIT(NET_PRIO) | BIT(PERF_EVENT) | BIT(RDMA) | BIT(HUGETLB) | BIT(FREEZER) |
             BIT(DEVICES) | BIT(PIDS)},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned got = cg_ctl_parse_list(cases[i].list, cases[i].separator, cases[i].v2);

        cr_expect_eq(got, cases[i].want, "\"%s\": expected %#x, got %#x", cases[i].list,
                     cases[i].want, got);
    }
}

/* cgroup-v2.rst "Threads": exactly these. */
Test(cgroup, ctl_threaded)
{
    cr_expect_eq(CG_CTL_THREADED, BIT(CPU) | BIT(CPUSET) | BIT(PIDS) | BIT(PERF_EVENT));
}

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

Test(cgroup, mountinfo)
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
Test(cgroup, mountinfo_v1_names)
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

Test(cgroup, mountinfo_max)
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

/* 0: not foreign, 1: foreign, 2: there are no user namespaces for us. */
static int foreign_in_child(bool in_namespace)
{
    int status;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct arena a = ARENA_INIT;
        struct cg_host host;

        if (in_namespace && unshare(CLONE_NEWUSER) < 0)
            _exit(2);
        _exit(cg_host_open(&a, &host, NULL) == 0 && cg_host_is_foreign(&host));
    }
    cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Root of a user namespace of its own is nobody to the host. */
Test(cgroup, host_is_foreign)
{
    int got;

    if (geteuid() != 0)
        cr_skip_test("whether cgroups can be made depends on who runs this");
    cr_expect_eq(foreign_in_child(false), 0);
    got = foreign_in_child(true);
    if (got == 2)
        cr_skip_test("no user namespaces here");
    cr_expect_eq(got, 1);
}

Test(cgroup, host_open_agrees_with_mountinfo)
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
    cr_expect_eq(cg_host_controllers(&host), all);
    for (unsigned ctl = 0; ctl < CG_CTL_COUNT; ctl++)
        cr_expect_eq(cg_host_find(&host, (enum cg_ctl)ctl) != NULL, !!(all & CG_CTL_BIT(ctl)),
                     "find %s", cg_ctl_name((enum cg_ctl)ctl, false));

    int fd = host.hierarchies[0].fd;

    cg_host_close(&host);
    cr_expect(host.count == 0 && fcntl(fd, F_GETFD) < 0, "closed");
    cg_host_close(&host);
}

/* --- path --- */

Test(cgroup, name_check)
{
    static const struct {
        const char *name;
        const char *want; /* part of the message; NULL: fine */
    } cases[] = {
        {"a", NULL},
        {"...", NULL},
        {".a", NULL},
        {"kata_x:y=z@1", NULL},
        {"with space", NULL},
        {"\xc3\xa4", NULL},
        {"", "what is empty"},
        {".", "\".\" is not allowed"},
        {"..", "\"..\" is not allowed"},
        {"a/b", "slash"},
        {"/", "slash"},
        {"a\nb", "a\\x0ab"},
        {"a\tb", "control"},
        {"\x1f", "control"},
        {"a\x7f", "control"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        int r = cg_name_check(cases[i].name, "what", &e);

        if (!cases[i].want)
            cr_expect_eq(r, 0, "\"%s\": %s", cases[i].name, e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, cases[i].want) &&
                          str_starts(e.text, "what"),
                      "\"%s\": expected -EINVAL \"%s\"; got %d \"%s\"", cases[i].name,
                      cases[i].want, r, e.text);
    }
    cr_expect_eq(cg_name_check(NULL, "what", NULL), -EINVAL);

    char name[257];
    struct err e = ERR_INIT;

    memset(name, 'n', sizeof name);
    name[255] = '\0';
    cr_expect_eq(cg_name_check(name, "what", &e), 0, "255 bytes: %s", e.text);
    name[255] = 'n';
    name[256] = '\0';
    cr_expect(cg_name_check(name, "what", &e) == -EINVAL && strstr(e.text, "256 bytes"),
              "256 bytes: \"%s\"", e.text);
}

Test(cgroup, path_clean)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: refused */
        const char *error;
    } cases[] = {
        {"/", "/", NULL},
        {"//", "/", NULL},
        {"/./.", "/", NULL},
        {"/a", "/a", NULL},
        {"/a/", "/a", NULL},
        {"//a/./b/", "/a/b", NULL},
        {"/a///b//./c", "/a/b/c", NULL},
        {"/.../..a/b..", "/.../..a/b..", NULL},
        {"/a b/\xc3\xa4", "/a b/\xc3\xa4", NULL},
        {"", NULL, "not an absolute path"},
        {"a/b", NULL, "not an absolute path"},
        {"./a", NULL, "not an absolute path"},
        {"../a", NULL, "not an absolute path"},
        {"/..", NULL, "\"..\""},
        {"/a/..", NULL, "\"..\""},
        {"/a/../b", NULL, "\"..\""},
        {"/a/\n/b", NULL, "\\x0a"},
        {"/a/x\x7f", NULL, "control"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        char *got = NULL;
        int r = cg_path_clean(cases[i].text, "the path", &arena, &got, &e);

        if (cases[i].want)
            cr_expect(r == 0 && got && str_eq(got, cases[i].want),
                      "\"%s\": expected \"%s\"; got %d \"%s\" %s", cases[i].text, cases[i].want, r,
                      got ? got : "", e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, cases[i].error) &&
                          strstr(e.text, "the path"),
                      "\"%s\": expected -EINVAL \"%s\"; got %d \"%s\"", cases[i].text,
                      cases[i].error, r, e.text);
    }
}

/* A path of @len bytes, of components of at most 200. */
static char *long_path(size_t len)
{
    char *path = arena_alloc(&arena, len + 1);

    for (size_t i = 0; i < len; i++)
        path[i] = i % 200 == 0 ? '/' : 'p';
    if (len % 200 == 1) /* no slash at the end */
        path[len - 1] = 'p';
    return path;
}

Test(cgroup, path_length)
{
    static const struct {
        size_t len;
        int result;
    } cases[] = {{3071, 0}, {3072, 0}, {3073, -EINVAL}, {9000, -EINVAL}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        char *got, *path = long_path(cases[i].len);
        int r = cg_path_clean(path, "p", &arena, &got, &e);

        cr_expect_eq(r, cases[i].result, "%zu bytes: expected %d, got %d %s", cases[i].len,
                     cases[i].result, r, e.text);
        /* what counts is the clean path */
        r = cg_path_clean(arena_printf(&arena, "///.%s///", path), "p", &arena, &got, &e);
        cr_expect_eq(r, cases[i].result, "%zu bytes, not clean: expected %d, got %d", cases[i].len,
                     cases[i].result, r);
    }
}

Test(cgroup, path_parts)
{
    static const struct {
        const char *path, *parent, *base, *relative;
    } cases[] = {
        {"/", "/", "", "."},
        {"/a", "/", "a", "a"},
        {"/a/b", "/a", "b", "a/b"},
        {"/a/b/c d", "/a/b", "c d", "a/b/c d"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *path = cases[i].path;

        cr_expect_str_eq(cg_path_parent(&arena, path), cases[i].parent);
        cr_expect_str_eq(cg_path_base(path), cases[i].base);
        cr_expect_str_eq(cg_path_relative(path), cases[i].relative);
        if (*cases[i].base)
            cr_expect_str_eq(cg_path_join(&arena, cases[i].parent, cases[i].base), path);
    }
    cr_expect_str_eq(cg_path_join(&arena, "/", "b"), "/b");
    cr_expect_str_eq(cg_path_join(&arena, "/a", "b/c"), "/a/b/c");
}

static char long_name[300];

static const struct {
    const char *text;
    /* "parent name" or "systemd parent name slice prefix"; NULL: refused */
    const char *want;
    const char *error;
} cgroups_paths[] = {
    {NULL, "/vc|id1", NULL},
    {"", "/vc|id1", NULL},
    {"/a", "/|a", NULL},
    {"/a/b", "/a|b", NULL},
    {"/kubepods/pod1/c1", "/kubepods/pod1|c1", NULL},
    {"//a/./b/", "/a|b", NULL},
    {"x", "/vc|x", NULL},
    {"x/y", "/vc/x|y", NULL},
    {"./x", "/vc|x", NULL},
    {"/vc/x", "/vc|x", NULL},
    {"/", NULL, "names no cgroup"},
    {"//", NULL, "names no cgroup"},
    {"/vc", NULL, "names no cgroup"},
    {".", NULL, "names no cgroup"},
    {"..", NULL, "\"..\""},
    {"../x", NULL, "\"..\""},
    {"/a/../b", NULL, "\"..\""},
    {"/a/\n", NULL, "\\x0a"},
    {long_name, NULL, "bytes"},
    /* systemd's form */
    {"system.slice:crio:c1", "systemd|/system.slice|c1|system.slice|crio", NULL},
    {":crio:c1", "systemd|/system.slice|c1|system.slice|crio", NULL},
    {"::c1", "systemd|/system.slice|c1|system.slice|", NULL},
    {"a.slice::c1", "systemd|/a.slice|c1|a.slice|", NULL},
    {"a-b-c.slice:p:c1", "systemd|/a.slice/a-b.slice/a-b-c.slice|c1|a-b-c.slice|p", NULL},
    {"-.slice:p:c1", "systemd|/|c1|-.slice|p", NULL},
    {"kubepods-pod1_2.slice:cri-containerd:c1",
     "systemd|/kubepods.slice/kubepods-pod1_2.slice|c1|kubepods-pod1_2.slice|cri-containerd", NULL},
    {"a.slice:p:", NULL, "name is empty"},
    {"::", NULL, "name is empty"},
    {"a--b.slice:p:n", NULL, "empty part"},
    {"-a.slice:p:n", NULL, "empty part"},
    {"a-.slice:p:n", NULL, "empty part"},
    {"--.slice:p:n", NULL, "empty part"},
    {"a.slice:p\n:n", NULL, "prefix"},
    {"a.slice:..:n", NULL, "prefix"},
    {"a.slice:p:..", NULL, "name"},
    {"a\n.slice:p:n", NULL, "slice"},
    /* no slice in front, another number of colons, a slash: an ordinary path */
    {"a:b:c", "/vc|a:b:c", NULL},
    {"a.slice:b", "/vc|a.slice:b", NULL},
    {"a.slice:b:c:d", "/vc|a.slice:b:c:d", NULL},
    {":a", "/vc|:a", NULL},
    {"a.slice:b/c:d", "/vc/a.slice:b|c:d", NULL},
    {"/a.slice:b:c", "/|a.slice:b:c", NULL},
    {"a.slicex:b:c", "/vc|a.slicex:b:c", NULL},
};

Test(cgroup, cgroups_path)
{
    memset(long_name, 'n', sizeof long_name - 1);
    for (size_t i = 0; i < ARRAY_SIZE(cgroups_paths); i++) {
        const char *text = cgroups_paths[i].text, *want = cgroups_paths[i].want, *got = "";
        struct cg_cgroups_path p;
        struct err e = ERR_INIT;
        int r = cg_cgroups_path_parse(text, "id1", &arena, &p, &e);

        if (r == 0 && p.systemd)
            got = arena_printf(&arena, "systemd|%s|%s|%s|%s", p.parent, p.name, p.slice, p.prefix);
        else if (r == 0)
            got = arena_printf(&arena, "%s|%s", p.parent, p.name);
        if (want)
            cr_expect(r == 0 && str_eq(got, want), "\"%s\": expected \"%s\"; got %d \"%s\" %s",
                      text ? text : "(null)", want, r, got, e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input && strstr(e.text, cgroups_paths[i].error) &&
                          str_starts(e.text, "linux.cgroupsPath"),
                      "\"%s\": expected -EINVAL \"%s\"; got %d \"%s\" \"%s\"", text,
                      cgroups_paths[i].error, r, got, e.text);
    }
}

/* The id stands for the path when there is none: it must not be able to leave. */
Test(cgroup, cgroups_path_odd_id)
{
    static const char *const ids[] = {"..", "../x", "a/../../b", "", "."};

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        struct cg_cgroups_path p;
        struct err e = ERR_INIT;
        int r = cg_cgroups_path_parse("", ids[i], &arena, &p, &e);

        cr_expect_eq(r, -EINVAL, "id \"%s\": expected -EINVAL, got %d", ids[i], r);
    }
}

Test(cgroup, slice_expand)
{
    static const struct {
        const char *slice, *want;
    } cases[] = {
        {"-.slice", "/"},
        {"a.slice", "/a.slice"},
        {"a-b.slice", "/a.slice/a-b.slice"},
        {"a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"},
        {"user-1000.slice", "/user.slice/user-1000.slice"},
        {"a.b-c.slice", "/a.b.slice/a.b-c.slice"},
        {"a\\x2db.slice", "/a\\x2db.slice"},
        {"x.slice.slice", "/x.slice.slice"},
        {"", NULL},
        {".slice", NULL},
        {"slice", NULL},
        {"a", NULL},
        {"a.scope", NULL},
        {"a.slice ", NULL},
        {"-a.slice", NULL},
        {"a-.slice", NULL},
        {"a--b.slice", NULL},
        {"--.slice", NULL},
        {"a/b.slice", NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err e = ERR_INIT;
        char *got = NULL;
        int r = cg_slice_expand(cases[i].slice, &arena, &got, &e);

        if (cases[i].want)
            cr_expect(r == 0 && got && str_eq(got, cases[i].want),
                      "\"%s\": expected \"%s\"; got %d \"%s\" %s", cases[i].slice, cases[i].want, r,
                      got ? got : "", e.text);
        else
            cr_expect(r == -EINVAL && e.bad_input, "\"%s\": expected -EINVAL; got %d \"%s\"",
                      cases[i].slice, r, got ? got : "");
    }
}

Test(cgroup, unit_escape)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"azAZ09:_.", "azAZ09:_."},
        {"a-b\\x", "a-b\\x"}, /* names of units already */
        {".hidden", "\\x2ehidden"},
        {"a.b", "a.b"},
        {"a/b", "a-b"},
        {"/", "-"},
        {"a b", "a\\x20b"},
        {"a@b", "a\\x40b"},
        {"\xc3\xa4", "\\xc3\\xa4"},
        {"`{[^", "\\x60\\x7b\\x5b\\x5e"},
        {"@/;", "\\x40-\\x3b"},
        {"\n", "\\x0a"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got = cg_unit_escape(&arena, cases[i].text);

        cr_expect(str_eq(got, cases[i].want), "\"%s\": expected \"%s\", got \"%s\"", cases[i].text,
                  cases[i].want, got);
    }
}

/* --- cpulist --- */

static const char *format(const struct cg_cpulist *set)
{
    autosbuf out = SBUF_INIT;

    cg_cpulist_format(set, &out);
    return arena_strdup(&arena, sbuf_text(&out));
}

Test(cgroup, cpulist_round_trip)
{
    static const struct {
        const char *text, *want;
        unsigned count;
    } cases[] = {
        {"", "", 0},
        {"0", "0", 1},
        {"8", "8", 1},
        {"63", "63", 1},
        {"64", "64", 1},
        {"1023", "1023", 1},
        {"8191", "8191", 1},
        {"0-8191", "0-8191", 8192},
        {"8190-8191", "8190-8191", 2},
        {"63-64", "63-64", 2},
        {"0,8,63,64,1023,8191", "0,8,63-64,1023,8191", 6},
        {"0-3,8", "0-3,8", 5},
        {"8,0-3", "0-3,8", 5},
        {"1,2", "1-2", 2},
        {"1,3", "1,3", 2},
        {"5-5", "5", 1},
        {"0-3,2-5", "0-5", 6},
        {"1,1,1", "1", 1},
        {"007", "7", 1},
        {"0-62,64-127", "0-62,64-127", 127},
        /* the kernel takes blanks behind a comma, and so do runtimes */
        {"1, 3", "1,3", 2},
        {"0-1,   5-6, 8", "0-1,5-6,8", 5},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_cpulist set = {0}, again = {0};
        int r = cg_cpulist_parse(cases[i].text, &set);
        const char *got = format(&set);

        cr_expect(r == 0 && str_eq(got, cases[i].want) && cg_cpulist_count(&set) == cases[i].count,
                  "\"%s\": expected \"%s\", %u; got %d \"%s\", %u", cases[i].text, cases[i].want,
                  cases[i].count, r, got, cg_cpulist_count(&set));
        cr_expect(cg_cpulist_parse(got, &again) == 0 && memcmp(&set, &again, sizeof set) == 0,
                  "\"%s\" reads back as the same set", got);
    }
}

Test(cgroup, cpulist_every_number)
{
    for (unsigned n = 0; n < CG_CPULIST_MAX; n++) {
        struct cg_cpulist set = {0};
        char text[16];

        snprintf(text, sizeof text, "%u", n);
        cr_assert_eq(cg_cpulist_parse(text, &set), 0, "%s", text);
        cr_assert_eq(set.bits[n / 64], UINT64_C(1) << n % 64, "%u: the kernel's bit", n);
        cr_assert_eq(cg_cpulist_count(&set), 1, "%u: only that one", n);
        cr_assert(cg_cpulist_has(&set, n) && !cg_cpulist_has(&set, n + 1) &&
                      (n == 0 || !cg_cpulist_has(&set, n - 1)),
                  "%u", n);
    }
}

Test(cgroup, cpulist_has_beyond)
{
    struct cg_cpulist set = {0};

    cr_assert_eq(cg_cpulist_parse("0-8191", &set), 0);
    cr_expect(cg_cpulist_has(&set, 8191) && !cg_cpulist_has(&set, 8192) &&
              !cg_cpulist_has(&set, UINT_MAX));
}

Test(cgroup, cpulist_errors)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"8192", -ERANGE},       {"0-8192", -ERANGE}, {"99999999999999999999999", -ERANGE},
        {"4294967296", -ERANGE}, {"3-1", -ERANGE},    {"1-0", -ERANGE},
        {",", -EINVAL},          {"1,", -EINVAL},     {",1", -EINVAL},
        {"1,,2", -EINVAL},       {"-", -EINVAL},      {"1-", -EINVAL},
        {"-1", -EINVAL},         {"1-2-3", -EINVAL},  {"1--2", -EINVAL},
        {"1 ", -EINVAL},         {" 1", -EINVAL},     {"1 ,2", -EINVAL},
        {"1, ", -EINVAL},        {"1, ,2", -EINVAL},  {"1,\t2", -EINVAL},
        {"1 2", -EINVAL},        {"1\n", -EINVAL},    {"a", -EINVAL},
        {"0x1", -EINVAL},        {"+1", -EINVAL},     {"0-3:1/2", -EINVAL},
        {"all", -EINVAL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_cpulist set = {0};
        int r = cg_cpulist_parse(cases[i].text, &set);

        cr_expect_eq(r, cases[i].result, "\"%s\": expected %d, got %d", cases[i].text,
                     cases[i].result, r);
    }
}

Test(cgroup, cpulist_union)
{
    static const struct {
        const char *a, *b, *want;
    } cases[] = {
        {"", "", ""},
        {"0", "", "0"},
        {"", "0", "0"},
        {"0-3", "2-5", "0-5"},
        {"0,2", "1,3", "0-3"},
        {"63", "64", "63-64"},
        {"8191", "0", "0,8191"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cg_cpulist a = {0}, b = {0}, both = {0};

        cr_assert_eq(cg_cpulist_parse(cases[i].a, &a), 0);
        cr_assert_eq(cg_cpulist_parse(cases[i].b, &b), 0);
        cg_cpulist_add(&a, &b);
        cr_expect(str_eq(format(&a), cases[i].want), "%s + %s: expected \"%s\", got \"%s\"",
                  cases[i].a, cases[i].b, cases[i].want, format(&a));
        cr_expect_str_eq(format(&b), cases[i].b, "the other one is left alone");
        /* parsing adds to what is there */
        cr_assert_eq(cg_cpulist_parse(cases[i].a, &both), 0);
        cr_assert_eq(cg_cpulist_parse(cases[i].b, &both), 0);
        cr_expect_str_eq(format(&both), cases[i].want);
    }
}

Test(cgroup, cpulist_format_appends)
{
    autosbuf out = SBUF_INIT;
    struct cg_cpulist set = {0};

    cr_assert_eq(cg_cpulist_parse("1,5-6", &set), 0);
    sbuf_addf(&out, "cpus ");
    cg_cpulist_format(&set, &out);
    cr_expect_str_eq(sbuf_text(&out), "cpus 1,5-6");
}
