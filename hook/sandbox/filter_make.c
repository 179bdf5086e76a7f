/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run when the program is built: prints the filter of system calls that confine.c loads, as an array
 * of C. So libseccomp is needed there alone, and costs no watcher any memory.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Grouped by what the watcher does with them. Of each call all forms that libc may choose, and on all
 * architectures: what an architecture does not have is left out. */
static const char *const allowed[] = {
    /* cgroups, /proc, the state directory, debugfs */
    "access", "close", "close_range", "faccessat", "faccessat2", "fchmod", "fcntl", "fcntl64",
    "fdatasync", "flock", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync",
    "getdents", "getdents64", "_llseek", "lseek", "lstat", "lstat64", "mkdir", "mkdirat",
    "newfstatat", "open", "openat", "openat2", "pread64", "read", "readlink", "readlinkat", "readv",
    "rename", "renameat", "renameat2", "rmdir", "stat", "stat64", "statfs", "statfs64", "statx",
    "symlinkat", "unlink", "unlinkat", "write", "writev",
    /* affinity of vCPUs and others */
    "sched_getaffinity", "sched_setaffinity", "sched_yield",
    /* a child asks VMMs, which may not answer; no program can be started */
    "clone", "clone3", "fork", "pipe2",
    /* processes are followed, and ended */
    "getpgid", "getpgrp", "getpid", "getppid", "getsid", "gettid", "kill", "pidfd_open",
    "pidfd_send_signal", "tgkill", "tkill", "wait4", "waitid", "waitpid",
    /* waiting */
    "clock_nanosleep", "clock_nanosleep_time64", "futex", "futex_time64", "inotify_add_watch",
    "inotify_init1", "inotify_rm_watch", "nanosleep", "poll", "ppoll", "ppoll_time64",
    "restart_syscall",
    /* QMP, D-Bus (whose client gives its end a name since systemd 254), the journal, syslog */
    "bind", "connect", "getpeername", "getsockname", "getsockopt", "recv", "recvfrom", "recvmsg",
    "send", "sendmsg", "sendto", "setsockopt", "shutdown", "socket", "socketcall",
    /* libc, and the loader, which opens libsystemd for a scope */
    "arch_prctl", "brk", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
    "exit", "exit_group", "getcpu", "getegid", "getegid32", "geteuid", "geteuid32", "getgid",
    "getgid32", "getrandom", "getresgid", "getresuid", "getrlimit", "gettimeofday", "getuid",
    "getuid32", "madvise", "membarrier", "memfd_create", "mmap", "mmap2", "mprotect", "mremap",
    "munmap", "prctl", "prlimit64", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "set_robust_list", "set_tid_address", "sigaction",
    "sigaltstack", "sigprocmask", "sigreturn", "sysinfo", "time", "ugetrlimit", "uname"};

static void fail(const char *what, int error)
{
    fprintf(stderr, "filter_make: %s: %s\n", what, strerror(error));
    exit(1);
}

static void allow(scmp_filter_ctx filter, const char *name)
{
    int call = seccomp_syscall_resolve_name(name), r;

    if (call == __NR_SCMP_ERROR)
        fail(name, ENOSYS);
    /* Below 0 is one that another architecture has. */
    r = call < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    if (r < 0)
        fail(name, -r);
}

static void print(FILE *program)
{
    struct sock_filter s;

    rewind(program);
    puts("/* Made by filter_make. */\n#include <linux/filter.h>\n");
    puts("static const struct sock_filter filter_table[] = {");
    while (fread(&s, sizeof s, 1, program) == 1)
        printf("    {0x%x, %u, %u, 0x%x},\n", s.code, s.jt, s.jf, s.k);
    puts("};");
}

int main(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    FILE *program = tmpfile();
    int r;

    if (!filter || !program)
        fail("a filter", ENOMEM);
    /* The other calling conventions of the same processor have numbers of their own. */
    r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    /* A tree instead of a list. */
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r < 0)
        fail("its attributes", -r);
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        allow(filter, allowed[i]);
    r = seccomp_export_bpf(filter, fileno(program));
    if (r < 0)
        fail("exporting", -r);
    print(program);
    seccomp_release(filter);
    return fclose(program) == 0 && fflush(stdout) == 0 ? 0 : 1;
}
