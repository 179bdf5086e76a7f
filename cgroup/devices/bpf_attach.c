/* SPDX-License-Identifier: Apache-2.0 */

/* Loading device programs into the kernel, and attaching them to cgroups. */

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The kernel allows 64 on one cgroup. */
#define PROGRAMS_MAX 256

/* A device program that is attached, or loaded to be. */
struct program {
    int fd;
    uint8_t tag[BPF_TAG_SIZE];
};

static void program_close(struct program *p)
{
    fd_close(&p->fd);
}

/* What is attached to a cgroup itself. Only programs of ours are held open. */
struct attached {
    unsigned ours;
    struct program programs[PROGRAMS_MAX];
};

static void attached_close(struct attached *at)
{
    for (unsigned i = 0; i < at->ours; i++)
        program_close(&at->programs[i]);
    at->ours = 0;
}

static int sys_bpf(int command, union bpf_attr *attr)
{
    long r = syscall(SYS_bpf, command, attr, sizeof *attr);

    return r < 0 ? -errno : (int)r;
}

static int load_once(const struct bpf_insn *insns, size_t count)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.insns = (uintptr_t)insns;
    attr.insn_cnt = (uint32_t)count;
    attr.license = (uintptr_t) "Apache-2.0";
    memcpy(attr.prog_name, CG_BPF_DEVICE_NAME, sizeof CG_BPF_DEVICE_NAME);
    return sys_bpf(BPF_PROG_LOAD, &attr);
}

/* Before Linux 5.11, programs count against RLIMIT_MEMLOCK, 64 KiB by default. */
static bool memory_is_locked(void)
{
    struct utsname name;
    char *end;
    unsigned long major, minor;

    if (uname(&name) < 0)
        return false;
    major = strtoul(name.release, &end, 10);
    minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
    return major < 5 || (major == 5 && minor < 11);
}

static int load_insns(const struct bpf_insn *insns, size_t count)
{
    int fd = load_once(insns, count);
    struct rlimit old, high;

    if ((fd != -EPERM && fd != -ENOMEM) || !memory_is_locked() ||
        getrlimit(RLIMIT_MEMLOCK, &old) < 0)
        return fd;
    high = (struct rlimit){.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &high) < 0) {
        high = (struct rlimit){.rlim_cur = old.rlim_max, .rlim_max = old.rlim_max};
        if (setrlimit(RLIMIT_MEMLOCK, &high) < 0)
            return fd;
    }
    fd = load_once(insns, count);
    /* What starts from here keeps the limit that was given to us. */
    (void)setrlimit(RLIMIT_MEMLOCK, &old);
    return fd;
}

int cg_bpf_device_probe(void)
{
    const struct bpf_insn allow[] = {
        {.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    int fd = load_insns(allow, ARRAY_SIZE(allow));

    if (fd < 0)
        return fd == -EINVAL || fd == -ENOSYS ? -EOPNOTSUPP : fd;
    close(fd);
    return 0;
}

static int program_info(int fd, struct bpf_prog_info *info)
{
    union bpf_attr attr;

    memset(info, 0, sizeof *info);
    memset(&attr, 0, sizeof attr);
    attr.info.bpf_fd = (uint32_t)fd;
    attr.info.info_len = sizeof *info;
    attr.info.info = (uintptr_t)info;
    return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

static int load_program(const struct cg_bpf_program *p, struct program *ret, struct err *e)
{
    struct bpf_prog_info info;
    int r = load_insns(p->insns, p->count);

    /* A kernel without the program type says EINVAL to any program. */
    if (r == -ENOSYS || (r == -EINVAL && cg_bpf_device_probe() == -EOPNOTSUPP))
        return err_set(
            e, -EOPNOTSUPP,
            "this kernel has no device programs for cgroups; it needs CONFIG_CGROUP_BPF");
    if (r < 0) {
        err_sys(e, r, "bpf(BPF_PROG_LOAD) of a device program of %zu instructions", p->count);
        if (r == -EPERM)
            err_hint(e, "; it needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN");
        else if (r == -E2BIG)
            err_hint(e, "; before Linux 5.2 the kernel takes 4096");
        return r;
    }
    ret->fd = r;
    r = program_info(ret->fd, &info);
    if (r < 0)
        return err_sys(e, r, "bpf(BPF_OBJ_GET_INFO_BY_FD) of the new device program");
    memcpy(ret->tag, info.tag, sizeof ret->tag);
    return 0;
}

/* One attached program by id: 1 ours, in @ret; 0 another's or gone by now; -errno. */
static int open_ours(uint32_t id, struct program *ret)
{
    struct bpf_prog_info info;
    union bpf_attr attr;
    autofd fd = FD_NONE;
    int r;

    memset(&attr, 0, sizeof attr);
    attr.prog_id = id;
    fd = sys_bpf(BPF_PROG_GET_FD_BY_ID, &attr);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    r = program_info(fd, &info);
    if (r < 0)
        return r;
    if (!str_eq(info.name, CG_BPF_DEVICE_NAME))
        return 0;
    memcpy(ret->tag, info.tag, sizeof ret->tag);
    ret->fd = fd_take(&fd);
    return 1;
}

/* @ret is to be closed after a failure too. */
static int query(int cgroup, struct attached *ret, struct err *e)
{
    uint32_t ids[PROGRAMS_MAX];
    union bpf_attr attr;
    int r;

    memset(&attr, 0, sizeof attr);
    attr.query.target_fd = (uint32_t)cgroup;
    attr.query.attach_type = BPF_CGROUP_DEVICE;
    attr.query.prog_ids = (uintptr_t)ids;
    attr.query.prog_cnt = PROGRAMS_MAX;
    r = sys_bpf(BPF_PROG_QUERY, &attr);
    if (r < 0)
        return err_sys(e, r, "bpf(BPF_PROG_QUERY) of the cgroup's device programs");
    for (unsigned i = 0; i < attr.query.prog_cnt; i++) {
        r = open_ours(ids[i], &ret->programs[ret->ours]);
        if (r < 0)
            return err_sys(e, r, "opening the attached device program %u", ids[i]);
        ret->ours += r > 0;
    }
    return 0;
}

static int attach(int cgroup, int program, int replaced)
{
    union bpf_attr attr;

    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)program;
    attr.attach_type = BPF_CGROUP_DEVICE;
    attr.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced >= 0) {
        attr.attach_flags |= BPF_F_REPLACE;
        attr.replace_bpf_fd = (uint32_t)replaced;
    }
    return sys_bpf(BPF_PROG_ATTACH, &attr);
}

static int detach(int cgroup, const struct program *p, struct err *e)
{
    union bpf_attr attr;
    int r;

    memset(&attr, 0, sizeof attr);
    attr.target_fd = (uint32_t)cgroup;
    attr.attach_bpf_fd = (uint32_t)p->fd;
    attr.attach_type = BPF_CGROUP_DEVICE;
    r = sys_bpf(BPF_PROG_DETACH, &attr);
    /* ENOENT: somebody else was faster. */
    return r < 0 && r != -ENOENT ? err_sys(e, r, "bpf(BPF_PROG_DETACH) of an old device program")
                                 : 0;
}

/* bpf(2) takes no O_PATH descriptor. Returns one to use, in @opened if it is a new one. */
static int usable(int dirfd, int *opened, struct err *e)
{
    int flags = fcntl(dirfd, F_GETFL);

    if (flags < 0)
        return err_sys(e, -errno, "cgroup directory");
    if (!(flags & O_PATH))
        return dirfd;
    *opened = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *opened < 0 ? err_sys(e, -errno, "opening the cgroup directory") : *opened;
}

/* Put @p in the place of one attached program of ours, of all of them, or of none. */
static int put_into_force(int cgroup, const struct program *p, struct attached *at, struct err *e)
{
    unsigned keep = 0;
    int r;

    while (keep < at->ours && memcmp(at->programs[keep].tag, p->tag, sizeof p->tag) != 0)
        keep++;
    if (keep == at->ours) {
        r = -EINVAL;
        keep = 0;
        if (at->ours > 0)
            r = attach(cgroup, p->fd, at->programs[0].fd);
        if (r == -EINVAL || r == -ENOENT) {
            /*
             * None to replace, or not any more (ENOENT), or a kernel without BPF_F_REPLACE (before
             * 5.6): the old ones go below.
             */
            r = attach(cgroup, p->fd, FD_NONE);
            keep = at->ours;
        }
        if (r < 0) {
            err_sys(e, r, "bpf(BPF_PROG_ATTACH) of the device program");
            if (r == -EPERM)
                err_hint(e, "; a program attached here or above without BPF_F_ALLOW_MULTI "
                            "forbids others");
            return r;
        }
    }
    for (unsigned i = 0; i < at->ours; i++) {
        r = i == keep ? 0 : detach(cgroup, &at->programs[i], e);
        if (r < 0)
            return r;
    }
    return 0;
}

int cg_bpf_device_attach(int dirfd, const struct cg_bpf_program *p, struct err *e)
{
    CLEANUP(attached_close) struct attached at = {0};
    CLEANUP(program_close) struct program program = {.fd = FD_NONE};
    autofd opened = FD_NONE;
    int cgroup = usable(dirfd, &opened, e), r;

    if (cgroup < 0)
        return cgroup;
    /* First, as it is what fails on a kernel without device programs. */
    r = load_program(p, &program, e);
    if (r == 0)
        r = query(cgroup, &at, e);
    if (r == 0)
        r = put_into_force(cgroup, &program, &at, e);
    return r;
}
