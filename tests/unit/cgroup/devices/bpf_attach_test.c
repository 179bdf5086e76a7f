/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/devices/bpf.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "tests/unit/kit/device_kit.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

/* --- a kernel of our own: errors that the real one does not give, and older ones --- */

struct fake_program {
    int fd;      /* held by the fake, another descriptor of the same file */
    ino_t inode; /* what its descriptors have in common */
    char name[16];
    uint8_t tag[BPF_TAG_SIZE];
};

static struct {
    bool active;
    bool no_replace;      /* before 5.6 */
    bool gone_at_replace; /* another detaches the program that is to be replaced */
    int load_error;       /* of every load */
    const char *release;  /* what uname says */
    bool refuse_limit;    /* RLIMIT_MEMLOCK cannot be raised above its maximum */
    int limit_cures;      /* load_error ends with a raised limit */
    int fail_command, fail_error;
    struct fake_program programs[16];
    size_t count;          /* ids are index + 1 */
    uint32_t attached[16]; /* ids */
    size_t attached_count;
    char log[512];
} fake;

static void fake_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void fake_log(const char *fmt, ...)
{
    size_t len = strlen(fake.log);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(fake.log + len, sizeof fake.log - len, fmt, ap);
    va_end(ap);
}

static uint32_t fake_id(uint32_t fd)
{
    struct stat st;

    if (fstat((int)fd, &st) == 0) {
        for (uint32_t i = 0; i < fake.count; i++) {
            if (fake.programs[i].inode == st.st_ino)
                return i + 1;
        }
    }
    return 0;
}

/* A new program; its tag is a sum of its instructions. Returns the id. */
static uint32_t fake_add(const char *name, const struct bpf_insn *insns, size_t count)
{
    struct fake_program *p = &fake.programs[fake.count];
    const uint8_t *bytes = (const uint8_t *)insns;
    struct stat st;

    cr_assert_lt(fake.count, ARRAY_SIZE(fake.programs));
    p->fd = memfd_create(name, MFD_CLOEXEC);
    cr_assert_eq(fstat(p->fd, &st), 0);
    p->inode = st.st_ino;
    snprintf(p->name, sizeof p->name, "%s", name);
    for (size_t i = 0; i < count * sizeof *insns; i++)
        p->tag[i % BPF_TAG_SIZE] = (uint8_t)(p->tag[i % BPF_TAG_SIZE] * 31 + bytes[i]);
    return (uint32_t)++fake.count;
}

static int fake_load(const union bpf_attr *attr)
{
    const struct bpf_insn *insns = (const struct bpf_insn *)(uintptr_t)attr->insns;

    fake_log("load ");
    if (fake.load_error)
        return -fake.load_error;
    return fcntl(fake.programs[fake_add(attr->prog_name, insns, attr->insn_cnt) - 1].fd,
                 F_DUPFD_CLOEXEC, 0);
}

static int fake_detach(uint32_t id)
{
    for (size_t i = 0; i < fake.attached_count; i++) {
        if (fake.attached[i] == id) {
            memmove(&fake.attached[i], &fake.attached[i + 1],
                    (fake.attached_count - i - 1) * sizeof fake.attached[0]);
            fake.attached_count--;
            return 0;
        }
    }
    return -ENOENT;
}

static int fake_attach(const union bpf_attr *attr)
{
    uint32_t id = fake_id(attr->attach_bpf_fd);

    if (!(attr->attach_flags & BPF_F_REPLACE)) {
        fake_log("attach%u ", id);
        fake.attached[fake.attached_count++] = id;
        return 0;
    }
    fake_log("replace%u:%u ", fake_id(attr->replace_bpf_fd), id);
    if (fake.no_replace)
        return -EINVAL;
    if (fake.gone_at_replace)
        fake_detach(fake_id(attr->replace_bpf_fd));
    for (size_t i = 0; i < fake.attached_count; i++) {
        if (fake.attached[i] == fake_id(attr->replace_bpf_fd)) {
            fake.attached[i] = id;
            return 0;
        }
    }
    return -ENOENT;
}

static int fake_bpf(int command, union bpf_attr *attr)
{
    struct bpf_prog_info *info;
    uint32_t id;

    if (fake.fail_error && command == fake.fail_command)
        return -fake.fail_error;
    switch (command) {
    case BPF_PROG_LOAD:
        return fake_load(attr);
    case BPF_PROG_ATTACH:
        return fake_attach(attr);
    case BPF_PROG_DETACH:
        fake_log("detach%u ", fake_id(attr->attach_bpf_fd));
        return fake_detach(fake_id(attr->attach_bpf_fd));
    case BPF_PROG_QUERY:
        memcpy((void *)(uintptr_t)attr->query.prog_ids, fake.attached,
               fake.attached_count * sizeof fake.attached[0]);
        attr->query.prog_cnt = (uint32_t)fake.attached_count;
        return 0;
    case BPF_PROG_GET_FD_BY_ID:
        return fcntl(fake.programs[attr->prog_id - 1].fd, F_DUPFD_CLOEXEC, 0);
    case BPF_OBJ_GET_INFO_BY_FD:
        id = fake_id(attr->info.bpf_fd);
        info = (struct bpf_prog_info *)(uintptr_t)attr->info.info;
        memcpy(info->name, fake.programs[id - 1].name, sizeof info->name);
        memcpy(info->tag, fake.programs[id - 1].tag, sizeof info->tag);
        return 0;
    default:
        return -EINVAL;
    }
}

/*
 * These come before the C library's own for the whole program. With no fake active they are what
 * they would be without us.
 */
long syscall(long nr, ...)
{
    static long (*real)(long, ...);
    long args[6];
    va_list ap;

    /* As the C library does it: six words, however many there are. */
    va_start(ap, nr);
    for (size_t i = 0; i < ARRAY_SIZE(args); i++)
        args[i] = va_arg(ap, long);
    va_end(ap);
    if (nr == SYS_bpf && fake.active) {
        int r = fake_bpf((int)args[0], (union bpf_attr *)(uintptr_t)args[1]);

        if (r >= 0)
            return r;
        errno = -r;
        return -1;
    }
    if (!real) {
        void *symbol = dlsym(RTLD_NEXT, "syscall");

        memcpy(&real, &symbol, sizeof real);
    }
    return real(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

int uname(struct utsname *name)
{
    if (syscall(SYS_uname, name) < 0)
        return -1;
    if (fake.active && fake.release)
        snprintf(name->release, sizeof name->release, "%s", fake.release);
    return 0;
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    if (!fake.active)
        return prlimit(0, resource, limit, NULL);
    fake_log("limit:%s ", limit->rlim_max == RLIM_INFINITY ? "inf" : "max");
    if (fake.refuse_limit && limit->rlim_max == RLIM_INFINITY) {
        errno = EPERM;
        return -1;
    }
    if (fake.limit_cures)
        fake.load_error = 0;
    return 0;
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    if (!fake.active)
        return prlimit(0, resource, NULL, limit);
    *limit = (struct rlimit){.rlim_cur = 65536, .rlim_max = 1 << 20};
    return 0;
}

/* Attach on the fake kernel and compare what was asked of it. */
static void check_attach(const char *what, const char *list, int result, const char *log,
                         const char *error)
{
    autoarena a = ARENA_INIT;
    struct cg_bpf_program program = dev_program_of(&a, list);
    autofd dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = ERR_INIT;
    int r;

    fake.active = true;
    fake.log[0] = '\0';
    r = cg_bpf_device_attach(dir, &program, &e);
    fake.active = false;
    cr_expect(r == result && e.code == r && str_eq(fake.log, log) && strstr(e.text, error),
              "%s: expected %d \"%s\" \"%s\", got %d \"%s\" \"%s\"", what, result, log, error, r,
              fake.log, e.text);
}

Test(bpf_attach, attach_sequence)
{
    /* One after the other on the same cgroup. */
    check_attach("first", "+c 1:3 r", 0, "load attach1 ", "");
    check_attach("another list", "+c 1:5 r", 0, "load replace1:2 ", "");
    check_attach("the same list", "+c 1:5 r", 0, "load ", "");
    fake.no_replace = true;
    check_attach("before Linux 5.6", "+c 1:3 r", 0, "load replace2:4 attach4 detach2 ", "");
    fake.no_replace = false;
    fake.gone_at_replace = true;
    check_attach("gone meanwhile", "+c 1:8 r", 0, "load replace4:5 attach5 detach4 ", "");
    fake.gone_at_replace = false;
    cr_expect(fake.attached_count == 1 && fake.attached[0] == 5, "%zu attached, first %u",
              fake.attached_count, fake.attached[0]);
}

/* More than one of ours (a kill between attach and detach on an old kernel), and another's. */
Test(bpf_attach, attach_among_others)
{
    const struct bpf_insn other[] = {MOV(0, 1), EXIT};

    fake.attached[fake.attached_count++] = fake_add("sd_devices", other, 2);
    check_attach("first", "+c 1:3 r", 0, "load attach2 ", "");
    fake.attached[fake.attached_count++] = fake_add(CG_BPF_DEVICE_NAME, other, 1);
    fake.attached[fake.attached_count++] = fake_add("osc_device2", other, 1);
    check_attach("keeps the equal one", "+c 1:3 r", 0, "load detach3 ", "");
    fake.attached[fake.attached_count++] = fake_add(CG_BPF_DEVICE_NAME, other, 1);
    check_attach("replaces one, detaches the rest", "+c 1:5 r", 0, "load replace2:7 detach6 ", "");
    cr_expect(fake.attached_count == 3 && fake.attached[0] == 1 && fake.attached[1] == 7 &&
                  fake.attached[2] == 4,
              "programs of others are not ours to detach");
}

Test(bpf_attach, attach_errors)
{
    static const struct {
        int command, error;
        int result;
        const char *log, *text;
    } cases[] = {
        {BPF_PROG_LOAD, ENOSYS, -EOPNOTSUPP, "", "CONFIG_CGROUP_BPF"},
        {BPF_PROG_LOAD, EINVAL, -EOPNOTSUPP, "", "CONFIG_CGROUP_BPF"},
        {BPF_PROG_LOAD, EPERM, -EPERM, "", "CAP_BPF"},
        {BPF_PROG_LOAD, E2BIG, -E2BIG, "", "4096"},
        {BPF_PROG_LOAD, EACCES, -EACCES, "", "bpf(BPF_PROG_LOAD) of a device program of "},
        {BPF_OBJ_GET_INFO_BY_FD, EBADF, -EBADF, "load ", "BPF_OBJ_GET_INFO_BY_FD"},
        {BPF_PROG_QUERY, EBADF, -EBADF, "load ", "BPF_PROG_QUERY"},
        {BPF_PROG_GET_FD_BY_ID, EPERM, -EPERM, "load ", "opening the attached device program 1"},
        {BPF_PROG_GET_FD_BY_ID, ENOENT, 0, "load attach2 ", ""},
        {BPF_PROG_ATTACH, EPERM, -EPERM, "load ", "BPF_F_ALLOW_MULTI"},
        {BPF_PROG_ATTACH, ENOMEM, -ENOMEM, "load ", "bpf(BPF_PROG_ATTACH)"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct bpf_insn other[] = {MOV(0, 1), EXIT};

        memset(&fake, 0, sizeof fake);
        fake.release = "6.1.0";
        fake.attached[fake.attached_count++] = fake_add(CG_BPF_DEVICE_NAME, other, 2);
        fake.fail_command = cases[i].command;
        fake.fail_error = cases[i].error;
        check_attach(err_name(cases[i].error, (char[96]){0}), "+c 1:3 r", cases[i].result,
                     cases[i].log, cases[i].text);
    }
}

/* A failing detach of what is not needed any more is reported. */
Test(bpf_attach, detach_errors)
{
    const struct bpf_insn other[] = {MOV(0, 1), EXIT};

    for (int i = 0; i < 2; i++)
        fake.attached[fake.attached_count++] = fake_add(CG_BPF_DEVICE_NAME, other, 2);
    fake.fail_command = BPF_PROG_DETACH;
    fake.fail_error = EPERM;
    check_attach("refused", "+c 1:3 r", -EPERM, "load replace1:3 ", "BPF_PROG_DETACH");
    /* Somebody else was faster: nothing to complain about. */
    fake.fail_error = ENOENT;
    check_attach("gone meanwhile", "+c 1:3 r", 0, "load ", "");
}

Test(bpf_attach, no_descriptor)
{
    autoarena a = ARENA_INIT;
    struct cg_bpf_program program = dev_program_of(&a, "+c 1:3 r");
    struct err e = ERR_INIT;

    cr_expect_eq(cg_bpf_device_attach(-1, &program, &e), -EBADF);
    cr_expect(strstr(e.text, "cgroup directory"), "got \"%s\"", e.text);
}

/* Before Linux 5.11 programs count against RLIMIT_MEMLOCK. */
Test(bpf_attach, memlock)
{
    static const struct {
        const char *release;
        int error;
        bool refuse, cures;
        int result;
        const char *log;
    } cases[] = {
        {"4.19.0-26-amd64", EPERM, false, true, 0, "load limit:inf load limit:max attach1 "},
        {"5.10.0", ENOMEM, false, true, 0, "load limit:inf load limit:max attach1 "},
        {"5.10.0", EPERM, true, true, 0, "load limit:inf limit:max load limit:max attach1 "},
        {"5.10.0", EPERM, false, false, -EPERM, "load limit:inf load limit:max "},
        {"5.10.0", EACCES, false, true, -EACCES, "load "},
        {"5.11.0", EPERM, false, true, -EPERM, "load "},
        {"5.11-rc1", EPERM, false, true, -EPERM, "load "},
        {"6.0.0", ENOMEM, false, true, -ENOMEM, "load "},
        {"6.18.44", EPERM, false, true, -EPERM, "load "},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        memset(&fake, 0, sizeof fake);
        fake.release = cases[i].release;
        fake.load_error = cases[i].error;
        fake.refuse_limit = cases[i].refuse;
        fake.limit_cures = cases[i].cures;
        check_attach(cases[i].release, "+c 1:3 r", cases[i].result, cases[i].log, "");
    }
}

Test(bpf_attach, probe)
{
    static const struct {
        int error, want;
    } cases[] = {
        {0, 0}, {EINVAL, -EOPNOTSUPP}, {ENOSYS, -EOPNOTSUPP}, {EPERM, -EPERM}, {ENOMEM, -ENOMEM}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int got;

        memset(&fake, 0, sizeof fake);
        fake.release = "6.1.0";
        fake.load_error = cases[i].error;
        fake.active = true;
        got = cg_bpf_device_probe();
        fake.active = false;
        cr_expect_eq(got, cases[i].want, "load error %d: expected %d, got %d", cases[i].error,
                     cases[i].want, got);
    }
}

/* --- the real kernel --- */

static void expect_programs(int cgroup, size_t all, size_t ours, const char *when)
{
    uint32_t ids[DEV_ATTACHED_MAX];
    size_t got_ours, got_all = dev_attached(cgroup, ids, &got_ours);

    cr_expect(got_all == all && got_ours == ours,
              "%s: expected %zu programs, %zu ours; got %zu, %zu", when, all, ours, got_all,
              got_ours);
}

static void attach_text(int cgroup, const char *text)
{
    autoarena a = ARENA_INIT;
    struct cg_bpf_program program = dev_program_of(&a, text);
    struct err e = ERR_INIT;
    int r = cg_bpf_device_attach(cgroup, &program, &e);

    cr_assert_eq(r, 0, "\"%s\": %s", text, e.text);
}

Test(bpf_attach, kernel_verdicts, .fini = dev_remove_made)
{
    /* Also such as cgroup v1 cannot express. */
    static const char *const lists[] = {
        "",
        "+c 1:3 rwm",
        "+c 1:3 r, +c 1:5 w, +c 1:8 m, +b 240:0 rw",
        "-a *:* rwm, +c *:* m, +b *:* m, +c 1:3 rwm, +c 240:* rw",
        "+c *:1 r, +c 240:* w",
        "+a *:* rwm",
        "+a 241:1 rw, +c 240:0 rwm, -c 240:0 w",
        "+a *:* rwm, -c 240:1 w, -b *:1 rm",
        "+c *:* rw, -c 1:5 w, +c 240:1 m, -c 240:2 rw",
        "+c *:1 rw, -c 240:* w, +c 240:0 w, +b 240:* rwm, -b *:1 r",
        "+c 1:8 r, +c 4294967295:4294967295 rwm, +c 2147483648:3 w",
    };
    autofd cgroup = dev_make_cgroup(true);

    dev_make_nodes();
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        attach_text(cgroup, lists[i]);
        expect_programs(cgroup, 1, 1, lists[i]);
        dev_check_kernel_verdicts(cgroup, lists[i]);
    }
}

static uint32_t first_program_id(int cgroup)
{
    uint32_t ids[DEV_ATTACHED_MAX] = {0};
    size_t ours;

    dev_attached(cgroup, ids, &ours);
    return ids[0];
}

/* The kernel's tag tells an equal program: it is kept, not replaced by another of its kind. */
Test(bpf_attach, kernel_keeps_equal, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(true);
    uint32_t first, second;

    attach_text(cgroup, "+c 1:3 r");
    first = first_program_id(cgroup);
    attach_text(cgroup, "+c 1:3 r");
    second = first_program_id(cgroup);
    cr_expect_eq(first, second, "expected program %u to stay, got %u", first, second);
    attach_text(cgroup, "+c 1:3 w");
    second = first_program_id(cgroup);
    cr_expect_neq(first, second, "expected another program than %u", first);
}

/* A program of somebody else, which denies c 1:5. */
static void attach_foreign(int cgroup)
{
    autoarena a = ARENA_INIT;
    struct cg_bpf_program program = dev_program_of(&a, "+a *:* rwm, -c 1:5 rwm");
    autofd dir = openat(cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = FD_NONE;
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uintptr_t)program.insns;
    attr.insn_cnt = (uint32_t)program.count;
    attr.license = (uintptr_t) "GPL";
    memcpy(attr.prog_name, "somebody_else", 14);
    fd = (int)dev_bpf(BPF_PROG_LOAD, &attr);
    cr_assert_geq(fd, 0, "%m");
    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)dir;
    attr.attach_bpf_fd = (uint32_t)fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    cr_assert_eq(dev_bpf(BPF_PROG_ATTACH, &attr), 0, "%m");
}

Test(bpf_attach, kernel_others_stay, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(true);

    dev_make_nodes();
    attach_foreign(cgroup);
    expect_programs(cgroup, 1, 0, "another's");
    attach_text(cgroup, "+c 1:* rwm");
    expect_programs(cgroup, 2, 1, "both");
    /* Both have to allow. */
    dev_check_kernel_verdicts(cgroup, "+c 1:* rwm, -c 1:5 rwm");
    attach_text(cgroup, "+c 1:3 rwm, +c 1:5 rwm");
    expect_programs(cgroup, 2, 1, "replaced");
    dev_check_kernel_verdicts(cgroup, "+c 1:3 rwm");
}

/* While lists change, a device that all of them allow is never denied, and one that none does
 * always. */
Test(bpf_attach, kernel_replaces_atomically, .fini = dev_remove_made)
{
    static const char *const lists[] = {"+c 1:3 rwm, +c 240:1 rwm", "+c *:3 rw, +b 240:1 rwm",
                                        "+c 1:* rw, -c 1:5 rw"};
    struct {
        volatile bool ready, stop;
        volatile unsigned long opened, denied, leaked;
    } *shared = dev_share(sizeof *shared);
    autofd cgroup = dev_make_cgroup(true);
    pid_t child;

    dev_make_nodes();
    attach_text(cgroup, lists[0]);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        dev_enter(cgroup);
        shared->ready = true;
        while (!shared->stop) {
            shared->denied += dev_probe_one(0, CG_DEV_R | CG_DEV_W) == EPERM;
            shared->leaked += dev_probe_one(1, CG_DEV_R) != EPERM;
            shared->opened++;
        }
        _exit(0);
    }
    while (!shared->ready && waitpid(child, NULL, WNOHANG) == 0)
        io_sleep_ms(1);
    for (int round = 1; round < 300; round++) {
        autoarena a = ARENA_INIT;
        struct cg_bpf_program program = dev_program_of(&a, lists[round % 3]);
        struct err e = ERR_INIT;

        if (cg_bpf_device_attach(cgroup, &program, &e) < 0)
            cr_expect_fail("round %d: %s", round, e.text);
    }
    shared->stop = true;
    waitpid(child, NULL, 0);
    expect_programs(cgroup, 1, 1, "after 300 replacements");
    cr_expect(shared->opened > 0 && shared->denied == 0 && shared->leaked == 0,
              "%lu rounds, denied %lu times, leaked %lu times", shared->opened, shared->denied,
              shared->leaked);
}

/* The verifier takes large programs, and what it made of them gives the right verdicts. */
Test(bpf_attach, kernel_many_rules, .fini = dev_remove_made)
{
    autofd cgroup = dev_make_cgroup(true);

    dev_make_nodes();
    for (enum dev_shape shape = DEV_MAJORS; shape < DEV_SHAPES; shape++) {
        autoarena a = ARENA_INIT;
        struct cg_dev_rules rules = dev_large_list(&a, shape, 10000);
        struct cg_bpf_program program = dev_program(&a, &rules);
        struct err e = ERR_INIT;
        int r = cg_bpf_device_attach(cgroup, &program, &e);

        cr_expect_eq(r, 0, "%s, %zu instructions: %s", dev_shape_names[shape], program.count,
                     e.text);
    }
    /* What is in force now is the last one. */
    dev_check_kernel_verdicts(cgroup, "+c *:* m, +c 240:0 w");
}

Test(bpf_attach, kernel_not_a_cgroup)
{
    autoarena a = ARENA_INIT;
    struct cg_bpf_program program = dev_program_of(&a, "+c 1:3 r");
    autofd dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = ERR_INIT;
    int r;

    if (geteuid() != 0 || cg_bpf_device_probe() < 0)
        cr_skip_test("needs root and a kernel with device programs");
    r = cg_bpf_device_attach(dir, &program, &e);
    cr_expect(r == -EBADF && strstr(e.text, "BPF_PROG_QUERY"), "got %d \"%s\"", r, e.text);
}
