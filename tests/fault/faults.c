/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/faults.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

/* What the manual pages name for a bad argument is left out: our arguments are the same in each run. ESRCH of a
 * signal to who lives would be a lie, and so would be ENODATA of an attribute. */
static const struct row {
    const char *name;
    long nr;
    int errors[FAULTS_MAX - 2];
} rows[] = {
#define ROW(call, ...)                                                                             \
    {                                                                                              \
#call, SYS_##call,                                                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
    ROW(openat, ENOMEM, EMFILE, EACCES, EIO, EINTR),
    ROW(openat2, ENOMEM, EMFILE, EACCES, EIO, EAGAIN),
    ROW(read, EIO, ENOMEM, EINTR, EACCES),
    ROW(pread64, EIO, ENOMEM, EINTR),
    ROW(write, EIO, ENOSPC, EINTR, EBUSY, EACCES, ESRCH),
    ROW(pwrite64, EIO, ENOSPC, EINTR),
    ROW(close, EIO, EINTR),
    ROW(close_range, ENOSYS),
    ROW(fstat, ENOMEM, EIO),
    ROW(newfstatat, ENOMEM, EIO, EACCES),
    ROW(statx, ENOMEM, EIO, EACCES),
    ROW(fstatfs, EIO, ENOMEM, EINTR),
    ROW(statfs, EIO, ENOMEM, EACCES),
    ROW(getdents64, EIO, ENOMEM),
    ROW(readlink, EIO, ENOMEM, EACCES),
    ROW(readlinkat, EIO, ENOMEM, EACCES),
    ROW(faccessat, EIO, ENOMEM, EACCES),
    ROW(faccessat2, EIO, ENOMEM, EACCES),
    ROW(access, EIO, ENOMEM, EACCES),
    ROW(mkdirat, ENOMEM, ENOSPC, EACCES, EIO),
    ROW(mkdir, ENOMEM, ENOSPC, EACCES, EIO),
    ROW(unlinkat, EBUSY, ENOMEM, EACCES, EIO),
    ROW(unlink, EBUSY, ENOMEM, EACCES, EIO),
    ROW(rmdir, EBUSY, ENOMEM, EACCES, EIO),
    ROW(symlinkat, ENOMEM, ENOSPC, EACCES, EIO),
    ROW(linkat, ENOMEM, ENOSPC, EPERM, EIO),
    ROW(renameat, ENOMEM, ENOSPC, EACCES, EIO),
    ROW(renameat2, ENOMEM, ENOSPC, EACCES, EIO),
    ROW(rename, ENOMEM, ENOSPC, EACCES, EIO),
    ROW(fsync, EIO, ENOSPC, EINTR),
    ROW(ftruncate, EIO, EINTR, EPERM),
    ROW(fchmod, EIO, EPERM),
    ROW(fchown, EIO, EPERM),
    ROW(fchmodat, EIO, EPERM),
    ROW(fchownat, EIO, EPERM),
    ROW(flock, EINTR, ENOLCK),
    ROW(fcntl, EMFILE, EINTR),
    ROW(dup, EMFILE),
    ROW(dup2, EMFILE, EBUSY, EINTR),
    ROW(dup3, EMFILE, EBUSY, EINTR),
    ROW(lseek, EIO),
    ROW(pipe2, EMFILE, ENFILE),
    ROW(memfd_create, EMFILE, ENFILE, ENOMEM),
    ROW(chdir, EACCES, EIO, ENOMEM),
    ROW(fgetxattr, ENOTSUP, EIO, ENOMEM),
    ROW(fsetxattr, ENOTSUP, ENOSPC, EPERM, EIO),
    ROW(fremovexattr, ENOTSUP, EPERM, EIO),
    ROW(clone, EAGAIN, ENOMEM),
    ROW(execve, ENOMEM, EACCES, EIO, EAGAIN, EMFILE, ENOENT),
    ROW(setsid, EPERM),
    ROW(wait4, EINTR),
    ROW(poll, EINTR, ENOMEM),
    ROW(ppoll, EINTR, ENOMEM),
    ROW(kill, EPERM),
    ROW(pidfd_open, EMFILE, ENOMEM),
    ROW(pidfd_send_signal, EPERM),
    ROW(prctl, EPERM),
    ROW(prlimit64, EPERM),
    ROW(capget, EPERM),
    ROW(capset, EPERM),
    ROW(seccomp, EACCES, ENOMEM, EINVAL),
    ROW(inotify_init1, EMFILE, ENOMEM),
    ROW(inotify_add_watch, ENOMEM, ENOSPC, EACCES),
    ROW(sched_setaffinity, EPERM, ESRCH, EINVAL),
    ROW(sched_getaffinity, EPERM, ESRCH),
    ROW(socket, EMFILE, ENOMEM, EACCES),
    ROW(connect, EACCES, ECONNREFUSED, EINTR, EAGAIN),
    ROW(sendto, ENOMEM, ECONNRESET, EINTR),
    ROW(sendmsg, ENOMEM, ECONNRESET, EINTR),
    ROW(recvfrom, EAGAIN, EINTR, ENOBUFS, ENOMEM, ECONNREFUSED),
    ROW(recvmsg, EAGAIN, EINTR, ENOBUFS, ENOMEM, ECONNREFUSED),
    ROW(bind, EACCES, EADDRINUSE, ENOMEM),
    ROW(setsockopt, ENOPROTOOPT, ENOMEM),
    ROW(getsockopt, ENOPROTOOPT, ENOBUFS),
    ROW(getsockname, ENOBUFS),
    ROW(getpeername, ENOBUFS),
    ROW(mmap, ENOMEM),
    ROW(mremap, ENOMEM),
    ROW(mprotect, ENOMEM, EACCES),
    ROW(munmap, ENOMEM),
    ROW(madvise, EAGAIN, ENOMEM),
    ROW(bpf, EPERM, ENOMEM, EINTR),
    ROW(getrandom, EAGAIN, EINTR),
    ROW(rt_sigtimedwait, EAGAIN, EINTR),
    ROW(clock_nanosleep, EINTR),
#undef ROW
};

/* Calls of which nothing is tried, and why. One that is neither here nor above makes its run fail, so that
 * somebody decides. */
static const struct {
    long nr;
    const char *why;
} left_out[] = {
    {SYS_getpid, "it only reads who we are, and does not fail"},
    {SYS_getppid, "the same"},
    {SYS_gettid, "the same"},
    {SYS_getuid, "the same"},
    {SYS_geteuid, "the same"},
    {SYS_getgid, "the same"},
    {SYS_getegid, "the same"},
    {SYS_umask, "it always succeeds"},
    {SYS_uname, "it fails for a bad argument alone"},
    {SYS_sysinfo, "the same"},
    {SYS_clock_gettime, "the same; most machines do it without a call"},
    {SYS_gettimeofday, "the same"},
    {SYS_rt_sigaction, "the same"},
    {SYS_rt_sigprocmask, "the same"},
    {SYS_rt_sigreturn, "a handler's end, not a call of ours"},
    {SYS_restart_syscall, "the call before goes on, which was interrupted by the tracer"},
    {SYS_brk, "it returns what there is when it fails, so nobody believes an errno of it"},
    {SYS_futex, "the C library's, of locks that nobody else holds"},
    {SYS_set_robust_list, "the C library's, when a process begins"},
    {SYS_set_tid_address, "the same"},
    {SYS_arch_prctl, "the same"},
    {SYS_rseq, "the same"},
    {SYS_exit_group, "it does not return; a kill there is one after the call before"},
};

static const struct {
    const char *name;
    int what;
} names[] = {
#define NAME(word)                                                                                 \
    {                                                                                              \
#word, word                                                                                \
    }
    NAME(EACCES),
    NAME(EADDRINUSE),
    NAME(EAGAIN),
    NAME(EBUSY),
    NAME(EINTR),
    NAME(EINVAL),
    NAME(EIO),
    NAME(EMFILE),
    NAME(ENFILE),
    NAME(ENOBUFS),
    NAME(ENOENT),
    NAME(ENOLCK),
    NAME(ENOMEM),
    NAME(ENOPROTOOPT),
    NAME(ENOSPC),
    NAME(ENOSYS),
    NAME(ENOTSUP),
    NAME(EPERM),
    NAME(ESRCH),
    NAME(ECONNRESET),
    NAME(ECONNREFUSED),
#undef NAME
    {"SIGKILL", FAULT_KILL},
    {"short", FAULT_SHORT},
};

static const struct row *row_of(long nr)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].nr == nr)
            return &rows[i];
    }
    return NULL;
}

size_t faults_of(const struct call *call, int ret[FAULTS_MAX])
{
    const struct row *row = row_of(call->nr);
    size_t count = 0;

    if (!row)
        return 0;
    while (count < FAULTS_MAX - 2 && row->errors[count]) {
        ret[count] = row->errors[count];
        count++;
    }
    ret[count++] = FAULT_KILL;
    if (call->can_be_short)
        ret[count++] = FAULT_SHORT;
    return count;
}

bool is_listed(long nr)
{
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++) {
        if (left_out[i].nr == nr)
            return true;
    }
    return row_of(nr);
}

const char *call_name(long nr)
{
    const struct row *row = row_of(nr);

    return row ? row->name : NULL;
}

long call_number(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].nr;
    }
    return -1;
}

const char *fault_name(int what)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].what == what)
            return names[i].name;
    }
    return "?";
}

int fault_number(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) == 0)
            return names[i].what;
    }
    return FAULT_NONE;
}
