/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/vcpu/vcpu.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/files_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* --- patterns --- */

static const struct {
    const char *pattern;
    bool want;
} validity[] = {
    {"", false},
    {"a", true},
    {"%u", true},
    {"vcpu", true},
    {"vcpu%u", true},
    {"%u vcpu", true},
    {"CPU %u/KVM", true},
    {"123456789012345", true},
    {"1234567890123%u", true},
    {"1234567890123456", false},
    {"12345678901234%u", false},
    {"%", false},
    {"vcpu%", false},
    {"vcpu%d", false},
    {"vcpu%U", false},
    {"%%", false},
    {"%%u", false},
    {"%u%u", false},
    {"%u%", false},
    {"a%ub%c", false},
};

Test(vcpu, pattern_valid)
{
    for (size_t i = 0; i < ARRAY_SIZE(validity); i++)
        cr_expect(vcpu_pattern_valid(validity[i].pattern) == validity[i].want,
                  "input:    \"%s\"\nexpected: %d\ngot:      %d", validity[i].pattern,
                  validity[i].want, !validity[i].want);
}

#define NO_MATCH (-2)

static const struct {
    const char *pattern, *comm;
    int want; /* the index, VCPU_NO_INDEX or NO_MATCH */
} matches[] = {
    {"CPU %u/KVM", "CPU 0/KVM", 0},
    {"CPU %u/KVM", "CPU 17/KVM", 17},
    {"CPU %u/KVM", "CPU 007/KVM", 7},
    {"CPU %u/KVM", "CPU /KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU x/KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU -1/KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU +1/KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU  1/KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU 1 /KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU 1/KVMx", NO_MATCH},
    {"CPU %u/KVM", "CPU 1/KV", NO_MATCH},
    {"CPU %u/KVM", "CPU 1/", NO_MATCH},
    {"CPU %u/KVM", "CPU 1", NO_MATCH},
    {"CPU %u/KVM", "CPU 1/kvm", NO_MATCH},
    {"CPU %u/KVM", "cpu 1/KVM", NO_MATCH},
    {"CPU %u/KVM", " CPU 1/KVM", NO_MATCH},
    {"CPU %u/KVM", "xCPU 1/KVM", NO_MATCH},
    {"CPU %u/KVM", "CPU", NO_MATCH},
    {"CPU %u/KVM", "", NO_MATCH},
    /* numbers that do not fit are no vCPU's */
    {"vcpu%u", "vcpu2147483647", 2147483647},
    {"vcpu%u", "vcpu2147483648", NO_MATCH},
    {"vcpu%u", "vcpu99999999999", NO_MATCH},
    /* the kernel cuts at 15 characters, not before */
    {"CPU %u/KVM", "CPU 1234567/KVM", 1234567},
    {"CPU %u/KVM", "CPU 12345678/KV", 12345678},
    {"CPU %u/KVM", "CPU 123456789/K", 123456789},
    {"CPU %u/KVM", "CPU 1234567890/", 1234567890},
    {"CPU %u/KVM", "CPU 12345678/KX", NO_MATCH},
    {"CPU %u/KVM", "CPU 12345678/VM", NO_MATCH},
    {"CPU %u/KVM", "CPU 123456/KVMx", NO_MATCH},
    {"CPU %u/KVM", "CPU 123456/KVM", 123456},
    {"CPU %u/KVM", "CPU 1234567/KV", NO_MATCH},
    /* no number, at the front, at the end */
    {"vcpu", "vcpu", VCPU_NO_INDEX},
    {"vcpu", "vcpu0", NO_MATCH},
    {"vcpu", "vcp", NO_MATCH},
    {"vcpu", "", NO_MATCH},
    {"123456789012345", "123456789012345", VCPU_NO_INDEX},
    {"%u", "12", 12},
    {"%u", "", NO_MATCH},
    {"%u", "a", NO_MATCH},
    {"%u", "1a", NO_MATCH},
    {"%uv", "3v", 3},
    {"%uv", "v", NO_MATCH},
    {"fc_vcpu %u", "fc_vcpu 0", 0},
    {"fc_vcpu %u", "fc_vcpu", NO_MATCH},
    {"fc_vcpu %u", "fc_vcpu ", NO_MATCH},
    {"fc_vcpu %u", "fc_vcpu0", NO_MATCH},
};

Test(vcpu, pattern_match)
{
    for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
        int index = -7;
        bool matched = vcpu_pattern_match(matches[i].pattern, matches[i].comm, &index);
        int got = matched ? index : NO_MATCH;

        cr_expect_eq(got, matches[i].want,
                     "input:    \"%s\" with \"%s\"\nexpected: %d\ngot:      %d", matches[i].comm,
                     matches[i].pattern, matches[i].want, got);
    }
}

/* --- classification --- */

static const struct vcpu_kvm no_kvm;
static const struct json_list no_patterns;

static struct proc_stat make_stat(const char *comm, uint64_t guest_time)
{
    struct proc_stat st = {.state = 'S', .guest_time = guest_time};

    snprintf(st.comm, sizeof st.comm, "%s", comm);
    return st;
}

static const char *classify(struct arena *a, pid_t tid, const char *comm, uint64_t guest_time,
                            const struct vcpu_kvm *kvm, const struct json_list *patterns)
{
    struct proc_stat st = make_stat(comm, guest_time);
    int index = -7;
    enum vcpu_source source = vcpu_classify(tid, &st, kvm, patterns, &index);

    return arena_printf(a, "%s %d", vcpu_source_name(source), index);
}

/* Names of VMMs' threads, and of threads that are none, without any other source. */
static const struct {
    const char *comm, *want;
} names[] = {
    {"CPU 0/KVM", "name 0"},        {"CPU 255/KVM", "name 255"},
    {"CPU 1/TCG", "name 1"},        {"CPU 1/HVF", "name 1"},
    {"CPU 1/MSHV", "name 1"},       {"vcpu0", "name 0"},
    {"vcpu12", "name 12"},          {"fc_vcpu 3", "name 3"},
    {"crosvm_vcpu4", "name 4"},     {"crosvm_vcpu1234", "name 1234"},
    {"kvm-vcpu-5", "name 5"},       {"db_vcpu6", "name 6"},

    {"CPU x/KVM", "none -1"},       {"CPU 1/KVMx", "none -1"},
    {"CPU 1/XEN", "none -1"},       {"vcpu", "none -1"},
    {"vcpu0x", "none -1"},          {"vcpu_0", "none -1"},
    {"fc_vcpu", "none -1"},         {"fc_vcpu0", "none -1"},
    {"fc_vmm", "none -1"},          {"crosvm_vcpu", "none -1"},
    {"kvm-vcpu-", "none -1"},       {"kvm-vcpu", "none -1"},
    {"kvm-pit/1234", "none -1"},    {"vhost-1234", "none -1"},
    {"qemu-system-x86", "none -1"}, {"cloud-hyperviso", "none -1"},
    {"firecracker", "none -1"},     {"IO mon_iothread", "none -1"},
    {"vnc_worker", "none -1"},      {"worker", "none -1"},
    {"_disk0_q0", "none -1"},       {"", "none -1"},
};

Test(vcpu, known_names)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        autoarena a = ARENA_INIT;
        const char *got = classify(&a, 100, names[i].comm, 0, &no_kvm, &no_patterns);

        cr_expect_str_eq(got, names[i].want, "input:    \"%s\"\nexpected: %s\ngot:      %s",
                         names[i].comm, names[i].want, got);
    }
}

Test(vcpu, configured_patterns)
{
    static char first[] = "my vcpu %u", second[] = "guest";
    static char *items[] = {first, second};
    const struct json_list patterns = {items, ARRAY_SIZE(items)};
    static const struct {
        const char *comm, *want;
    } rows[] = {
        {"my vcpu 9", "name 9"}, {"guest", "name -1"},    {"guest0", "none -1"},
        {"my vcpu", "none -1"},  {"CPU 2/KVM", "name 2"}, {"vcpu3", "name 3"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const char *got = classify(&a, 100, rows[i].comm, 0, &no_kvm, &patterns);

        cr_expect_str_eq(got, rows[i].want, "input:    \"%s\"\nexpected: %s\ngot:      %s",
                         rows[i].comm, rows[i].want, got);
    }
}

/* debugfs before name before guest time; but the number is the name's where it has one. */
Test(vcpu, precedence)
{
    static struct vcpu_kvm_thread threads[] = {{101, 4}, {102, 5}};
    const struct vcpu_kvm kvm = {threads, ARRAY_SIZE(threads)};
    static const struct {
        pid_t tid;
        const char *comm;
        uint64_t guest_time;
        const char *want;
    } rows[] = {
        {100, "worker", 0, "none -1"},          {100, "worker", 1, "guest_time -1"},
        {100, "CPU 7/KVM", 0, "name 7"},        {100, "CPU 7/KVM", 1, "name 7"},
        {101, "worker", 0, "debugfs 4"},        {101, "worker", 1, "debugfs 4"},
        {101, "CPU 7/KVM", 0, "debugfs 7"},     {102, "CPU 7/KVM", 1, "debugfs 7"},
        {103, "CPU x/KVM", 1, "guest_time -1"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        autoarena a = ARENA_INIT;
        const char *got =
            classify(&a, rows[i].tid, rows[i].comm, rows[i].guest_time, &kvm, &no_patterns);

        cr_expect_str_eq(got, rows[i].want,
                         "input:    thread %d \"%s\", guest time %d\nexpected: %s\ngot:      %s",
                         (int)rows[i].tid, rows[i].comm, (int)rows[i].guest_time, rows[i].want,
                         got);
    }
}

Test(vcpu, source_names)
{
    cr_expect_str_eq(vcpu_source_name(VCPU_NONE), "none");
    cr_expect_str_eq(vcpu_source_name(VCPU_DEBUGFS), "debugfs");
    cr_expect_str_eq(vcpu_source_name(VCPU_NAME), "name");
    cr_expect_str_eq(vcpu_source_name(VCPU_QMP), "qmp");
    cr_expect_str_eq(vcpu_source_name(VCPU_GUEST_TIME), "guest_time");
}

/* --- KVM's directory in debugfs --- */

/* A file with its directories; "@" before the text makes a link to it, NULL a directory. */
static void put(int top, const char *path, const char *text)
{
    char dir[256];
    const char *slash = strrchr(path, '/');
    int fd;

    snprintf(dir, sizeof dir, "%.*s", text && slash ? (int)(slash - path) : 255,
             text ? (slash ? path : "") : path);
    if (*dir) {
        fd = io_mkdirs(top, dir, 0700);
        cr_assert(fd >= 0, "%s: %d", dir, fd);
        close(fd);
    }
    if (!text)
        return;
    if (*text == '@') {
        cr_assert_eq(symlinkat(text + 1, top, path), 0, "%s: %d", path, errno);
        return;
    }
    fd = openat(top, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %d", path,
              errno);
    close(fd);
}

static int by_tid(const void *a, const void *b)
{
    const struct vcpu_kvm_thread *x = a, *y = b;

    return (x->tid > y->tid) - (x->tid < y->tid);
}

static const struct {
    const char *path, *text;
} kvm_tree[] = {
    {"1234-11/vcpu0/pid", "5001\n"},
    {"1234-11/vcpu1/pid", "5002"},
    {"1234-11/vcpu254/pid", "5003\n"},
    {"1234-11/vcpu2147483647/pid", "5004\n"},
    {"1234-11/vcpu7/pid", "2147483647\n"},
    {"77-9/vcpu0/pid", "6001\n"},
    {"77-9/vcpu0/guest_mode", "1\n"},
    {"9-0/vcpu3/pid", "6002\n"},
    {"8-1-2/vcpu4/pid", "6003\n"},
    /* a vCPU that no thread has run yet, and texts that are no thread id */
    {"1234-11/vcpu2/pid", "0\n"},
    {"1234-11/vcpu3/pid", ""},
    {"1234-11/vcpu4/pid", "-5\n"},
    {"1234-11/vcpu5/pid", "7001x\n"},
    {"1234-11/vcpu6/pid", "2147483648\n"},
    {"1234-11/vcpu8/pid", "99999999999999999999999\n"},
    {"1234-11/vcpu9/pid", "000000000000000000000000000000000007002\n"},
    {"1234-11/vcpu10/pid", " 7003\n"},
    {"1234-11/vcpu11/pid", "7004\n7005\n"},
    {"1234-11/vcpu12/pid", "@../vcpu0/pid"},
    {"1234-11/vcpu13", NULL},
    {"1234-11/vcpu14", "7006\n"},
    {"1234-11/vcpu15/pid", NULL},
    /* names that are no vCPU's */
    {"1234-11/vcpu/pid", "7101\n"},
    {"1234-11/vcpux/pid", "7102\n"},
    {"1234-11/vcpu1x/pid", "7103\n"},
    {"1234-11/vcpu-1/pid", "7104\n"},
    {"1234-11/vcpu2147483648/pid", "7105\n"},
    {"1234-11/vcpu99999999999999999999/pid", "7106\n"},
    {"1234-11/cpu0/pid", "7107\n"},
    {"1234-11/xvcpu0/pid", "7108\n"},
    {"1234-11/pid", "7109\n"},
    {"1234-11/remote_tlb_flush", "0\n"},
    /* names that are no VM's */
    {"1234/vcpu0/pid", "7201\n"},
    {"abc-1/vcpu0/pid", "7202\n"},
    {"-1-1/vcpu0/pid", "7203\n"},
    {"vcpu0/pid", "7204\n"},
    {"55-1", "@77-9"},
    {"12-3", "7205\n"},
    {"exits", "7206\n"},
    {"3-empty", NULL},
};

static const struct vcpu_kvm_thread kvm_threads[] = {
    {5001, 0}, {5002, 1}, {5003, 254}, {5004, 2147483647},
    {6001, 0}, {6002, 3}, {6003, 4},   {2147483647, 7},
};

Test(vcpu, kvm_read)
{
    autoarena a = ARENA_INIT, shown = ARENA_INIT;
    char top[] = "/tmp/osc-unit-kvm-XXXXXX";
    const char *want = "", *got = "";
    struct vcpu_kvm kvm;
    int fd;

    kit_make_dir(top);
    fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_SIZE(kvm_tree); i++)
        put(fd, kvm_tree[i].path, kvm_tree[i].text);
    memset(&kvm, 0x5a, sizeof kvm);
    vcpu_kvm_read(fd, NULL, NULL, &a, &kvm);
    close(fd);
    kit_remove_tree(top);
    qsort(kvm.items, kvm.count, sizeof *kvm.items, by_tid);
    for (size_t i = 0; i < ARRAY_SIZE(kvm_threads); i++)
        want =
            arena_printf(&shown, "%s %d:%d", want, (int)kvm_threads[i].tid, kvm_threads[i].index);
    for (size_t i = 0; i < kvm.count; i++)
        got = arena_printf(&shown, "%s %d:%d", got, (int)kvm.items[i].tid, kvm.items[i].index);
    cr_expect_str_eq(got, want, "expected threads: %s\ngot:              %s", want, got);
}

Test(vcpu, kvm_read_nothing)
{
    autoarena a = ARENA_INIT;
    char top[] = "/tmp/osc-unit-kvm-XXXXXX";
    struct vcpu_kvm kvm;
    int fd;

    memset(&kvm, 0x5a, sizeof kvm);
    vcpu_kvm_read(FD_NONE, NULL, NULL, &a, &kvm);
    cr_expect(kvm.count == 0 && kvm.items == NULL, "no directory: %zu threads", kvm.count);
    kit_make_dir(top);
    fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    kit_remove_tree(top);
    memset(&kvm, 0x5a, sizeof kvm);
    vcpu_kvm_read(fd, NULL, NULL, &a, &kvm);
    cr_expect(kvm.count == 0 && kvm.items == NULL, "a removed directory: %zu threads", kvm.count);
    close(fd);
}

/* A mount namespace of our own without any debugfs. */
static bool enter_without_debugfs(void)
{
    autofree char *text = NULL;
    char *cursor, *line;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    if (io_read_all_at(AT_FDCWD, "/proc/self/mountinfo", (size_t)8 << 20, &text) < 0)
        return false;
    cursor = text;
    while ((line = str_next(&cursor, '\n'))) {
        char *field = line;

        if (!strstr(line, " - debugfs "))
            continue;
        for (int i = 0; i < 4; i++)
            str_next(&field, ' ');
        if (umount2(str_next(&field, ' '), MNT_DETACH) < 0)
            return false;
    }
    return true;
}

Test(vcpu, kvm_open_without_debugfs)
{
    int fd;

    if (!enter_without_debugfs())
        cr_skip_test("no mount namespace of our own: %s", strerrorname_np(errno));
    fd = vcpu_kvm_open();
    cr_expect_eq(fd, -ENOENT, "expected: -ENOENT\ngot:      %d", fd);
}

/* A debugfs that another file system hides, with a directory of ours in the place of KVM's. */
Test(vcpu, kvm_find)
{
    char top[] = "/tmp/osc-unit-debugfs-XXXXXX", path[64];
    struct vcpu_kvm_search search = {0};
    int fd, no_news[2];

    if (!enter_without_debugfs())
        cr_skip_test("no mount namespace of our own: %s", strerrorname_np(errno));
    kit_make_dir(top);
    snprintf(path, sizeof path, "%s/kvm", top);
    cr_expect_eq(vcpu_kvm_find(&search), -ENOENT, "no debugfs");
    if (mount("debugfs", top, "debugfs", 0, NULL) < 0) {
        vcpu_kvm_end(&search);
        rmdir(top);
        cr_skip_test("no debugfs can be mounted: %s", strerrorname_np(errno));
    }
    cr_assert_eq(mount("tmpfs", top, "tmpfs", 0, NULL), 0);
    cr_expect_eq(vcpu_kvm_find(&search), -ENOENT, "no KVM");
    cr_expect_str_eq(search.path, path, "the change was noticed");
    cr_assert_eq(mkdir(path, 0700), 0);
    fd = vcpu_kvm_find(&search);
    cr_expect_geq(fd, 0, "KVM has come, and no mount");
    close(fd);
    cr_expect(!search.begun && !search.path, "the search is over");
    cr_assert_eq(rmdir(path), 0);
    cr_expect_eq(vcpu_kvm_find(&search), -ENOENT);
    /* Nobody tells of a change: then mountinfo is not read. */
    cr_assert_eq(pipe(no_news), 0);
    cr_assert_geq(dup2(no_news[0], search.mounts_fd), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    free(search.path);
    search.path = NULL;
    cr_expect_eq(vcpu_kvm_find(&search), -ENOENT);
    /* It cannot be told: then it is. */
    fd_close(&search.mounts_fd);
    fd = vcpu_kvm_find(&search);
    cr_expect_geq(fd, 0);
    close(fd);
    vcpu_kvm_end(&search);
    umount2(top, MNT_DETACH);
    umount2(top, MNT_DETACH);
    rmdir(top);
}

/* --- what mountinfo says, to any user --- */

static char mounts_top[] = "/tmp/osc-unit-mounts-XXXXXX";

static void begin_mounts(void)
{
    kit_make_dir(mounts_top);
}

static void end_mounts(void)
{
    kit_remove_tree(mounts_top);
}

TestSuite(vcpu_mounts, .init = begin_mounts, .fini = end_mounts);

/* @kvm: directories, each with a blank behind it, in which there is one of KVM's. */
static const struct {
    const char *name, *lines, *kvm, *want; /* TOP/want/kvm; NULL: it is not found */
    const char *tried;                     /* TOP/tried/kvm is looked for from then on */
} mounts[] = {
    {"no line", "", "", NULL, NULL},
    {"no debugfs", "24 1 0:22 / %s/a rw - tmpfs debugfs rw\n", "a ", NULL, NULL},
    {"a root of that name", "24 1 0:22 / %s/a rw - proc - debugfs-x\n", "a ", NULL, NULL},
    {"one", "24 1 0:22 / %s/a rw,nosuid shared:1 - debugfs debugfs rw\n", "a ", "a", NULL},
    {"one of several", "20 1 0:2 / %s/b rw - proc proc rw\n24 1 0:22 / %s/a rw - debugfs none rw\n",
     "a b ", "a", NULL},
    {"without KVM", "24 1 0:22 / %s/a rw - debugfs debugfs rw\n", "", NULL, "a"},
    {"one that is hidden",
     "24 1 0:22 / %s/a rw - debugfs debugfs rw\n25 1 0:22 / %s/b rw - debugfs debugfs rw\n", "b ",
     "b", NULL},
    {"two without KVM",
     "24 1 0:22 / %s/a rw - debugfs debugfs rw\n25 1 0:22 / %s/b rw - debugfs debugfs rw\n", "",
     NULL, "a"},
    {"a line that ends early", "1 - debugfs x\n", "", NULL, NULL},
};

/* A file with these lines, and KVM's directories. */
static const char *lay_out(const char *lines, const char *kvm, struct arena *a)
{
    const char *path = arena_printf(a, "%s/mountinfo", mounts_top), *text = "";
    int fd;

    for (const char *rest; (rest = strstr(lines, "%s")); lines = rest + 2)
        text = arena_printf(a, "%s%.*s%s", text, (int)(rest - lines), lines, mounts_top);
    kit_write_file(path, arena_printf(a, "%s%s", text, lines));
    for (; *kvm; kvm = strchr(kvm, ' ') + 1) {
        fd = io_mkdirs(AT_FDCWD,
                       arena_printf(a, "%s/%.*s/kvm", mounts_top, (int)strcspn(kvm, " "), kvm),
                       0700);
        cr_assert_geq(fd, 0, "%d", fd);
        close(fd);
    }
    return path;
}

/* "a" for the descriptor of TOP/a/kvm. */
static bool is_of(int fd, const char *name, struct arena *a)
{
    struct stat got, want;

    return fstat(fd, &got) == 0 &&
           stat(arena_printf(a, "%s/%s/kvm", mounts_top, name), &want) == 0 &&
           got.st_dev == want.st_dev && got.st_ino == want.st_ino;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

Test(vcpu_mounts, find)
{
    for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
        autoarena a = ARENA_INIT;
        struct vcpu_kvm_search search = {0};
        const char *name = mounts[i].name, *tried = mounts[i].tried;
        int fd = vcpu_kvm_find_in(&search, lay_out(mounts[i].lines, mounts[i].kvm, &a));
        int kept = search.mounts_fd;

        if (mounts[i].want)
            cr_expect(is_of(fd, mounts[i].want, &a) && !search.begun, "%s: %d", name, fd);
        else
            cr_expect(fd == -ENOENT && search.begun && is_open(kept), "%s: %d", name, fd);
        cr_expect(str_eq_null(search.path,
                              tried ? arena_printf(&a, "%s/%s/kvm", mounts_top, tried) : NULL),
                  "%s: %s", name, search.path);
        if (fd >= 0)
            close(fd);
        vcpu_kvm_end(&search);
        cr_expect(mounts[i].want || !is_open(kept), "%s: it is left open", name);
        kit_remove_tree(arena_printf(&a, "%s/a", mounts_top));
        kit_remove_tree(arena_printf(&a, "%s/b", mounts_top));
    }
}

/* The path is tried again. A descriptor 0 is one as others are. */
Test(vcpu_mounts, find_later)
{
    autoarena a = ARENA_INIT;
    struct vcpu_kvm_search search = {0};
    const char *lines = mounts[3].lines, *file = lay_out(lines, "", &a);
    int fd;

    cr_expect_eq(vcpu_kvm_find_in(&search, file), -ENOENT);
    cr_assert(search.mounts_fd > 0, "%d", search.mounts_fd);
    lay_out(lines, "a ", &a);
    close(STDIN_FILENO);
    fd = vcpu_kvm_find_in(&search, file);
    cr_expect(fd == 0 && is_of(fd, "a", &a), "%d", fd);
    cr_expect(!search.begun && !search.path, "the search is over");
}

/* As long as nobody tells of a change the file is not read again, whatever number its descriptor has. */
Test(vcpu_mounts, find_without_news)
{
    autoarena a = ARENA_INIT;
    struct vcpu_kvm_search search = {0};
    const char *file;

    close(STDIN_FILENO);
    file = lay_out("24 1 0:22 / %s/a rw - debugfs debugfs rw\n", "", &a);
    cr_expect_eq(vcpu_kvm_find_in(&search, file), -ENOENT);
    cr_assert_eq(search.mounts_fd, STDIN_FILENO);
    lay_out("24 1 0:22 / %s/b rw - debugfs debugfs rw\n", "b ", &a);
    cr_expect_eq(vcpu_kvm_find_in(&search, file), -ENOENT);
    cr_expect_eq(search.mounts_fd, STDIN_FILENO);
    vcpu_kvm_end(&search);
    cr_expect_not(is_open(STDIN_FILENO));
}

/* One that has not begun has no descriptor, and 0 is somebody else's. */
Test(vcpu_mounts, end_before_it_begins)
{
    struct vcpu_kvm_search search = {0};
    autofd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    cr_assert_eq(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    vcpu_kvm_end(&search);
    cr_expect(is_open(STDIN_FILENO));
}

/* What is too long for a path is no path. */
Test(vcpu_mounts, find_at_a_long_path)
{
    for (int len = PATH_MAX - 5; len <= PATH_MAX - 4; len++) {
        autoarena a = ARENA_INIT;
        struct vcpu_kvm_search search = {0};
        const char *line = arena_printf(&a, "24 1 0:22 / /%0*d rw - debugfs d rw\n", len - 1, 0);

        cr_expect_eq(vcpu_kvm_find_in(&search, lay_out(line, "", &a)), -ENOENT);
        cr_expect(len < PATH_MAX - 4 ? search.path && strlen(search.path) == PATH_MAX - 1
                                     : search.path == NULL,
                  "%d: %s", len, search.path ? "a path" : "none");
        vcpu_kvm_end(&search);
    }
}

/* What cannot be read is tried again, too. */
Test(vcpu_mounts, find_without_the_file)
{
    autoarena a = ARENA_INIT;
    struct vcpu_kvm_search search = {0};
    const char *file = arena_printf(&a, "%s/mountinfo", mounts_top);
    int fd;

    cr_expect_eq(vcpu_kvm_find_in(&search, file), -ENOENT);
    cr_expect(search.begun && search.mounts_fd < 0, "%d", search.mounts_fd);
    fd = vcpu_kvm_find_in(&search, lay_out(mounts[3].lines, mounts[3].kvm, &a));
    cr_expect(is_of(fd, "a", &a), "%d", fd);
    close(fd);
}

/* The directory is found wherever debugfs is mounted. */
Test(vcpu, kvm_open)
{
    char top[] = "/tmp/osc-unit-debugfs-XXXXXX", path[64];
    struct stat want, got = {0};
    bool mounted, present;
    int fd = FD_NONE;

    if (!enter_without_debugfs())
        cr_skip_test("no mount namespace of our own: %s", strerrorname_np(errno));
    kit_make_dir(top);
    mounted = mount("debugfs", top, "debugfs", 0, NULL) == 0;
    snprintf(path, sizeof path, "%s/kvm", top);
    present = mounted && stat(path, &want) == 0;
    if (present) {
        fd = vcpu_kvm_open();
        if (fd >= 0)
            fstat(fd, &got);
    }
    fd_close(&fd);
    if (mounted)
        umount2(top, MNT_DETACH);
    rmdir(top);
    if (!present)
        cr_skip_test("this host has no %s", mounted ? "KVM directory in debugfs" : "debugfs");
    cr_expect(got.st_dev == want.st_dev && got.st_ino == want.st_ino,
              "the kvm directory of debugfs "
              "at %s was not found",
              top);
}
