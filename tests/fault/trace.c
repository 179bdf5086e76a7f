/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/trace.h"

#include "tests/fault/faults.h"
#include "tests/fault/kit.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nothing takes that long: the longest that a stage waits for another one is 10 s. */
#define TIMEOUT_S 40

static volatile sig_atomic_t traced, timed_out;

struct trace {
    pid_t pid;
    const struct call *at;
    int what;
    struct calls *seen;
    struct outcome *out;
    bool in_main;            /* the dynamic linker is done, or the work has begun */
    const struct work *work; /* NULL: it begins as main() does */
    int sleeps;
    unsigned count[1024];
};

static void on_alarm(int sig)
{
    (void)sig;
    timed_out = 1;
    if (traced > 0)
        kill(traced, SIGKILL);
}

static void watch_clock(pid_t pid)
{
    const struct sigaction action = {.sa_handler = on_alarm};
    const struct itimerval in = {.it_value.tv_sec = pid ? TIMEOUT_S : 0};

    sigaction(SIGALRM, &action, NULL);
    timed_out = 0;
    traced = pid;
    setitimer(ITIMER_REAL, &in, NULL);
}

#ifdef __x86_64__

static void get_regs(pid_t pid, struct user_regs_struct *regs)
{
    if (ptrace(PTRACE_GETREGS, pid, NULL, regs) < 0 && errno != ESRCH)
        die("ptrace");
}

static void set_reg(pid_t pid, size_t offset, long value)
{
    if (ptrace(PTRACE_POKEUSER, pid, offset, value) < 0 && errno != ESRCH)
        die("ptrace");
}

#define SET_REG(pid, reg, value) set_reg(pid, offsetof(struct user, regs.reg), value)

/* main() begins by asking whether stdin, stdout and stderr are open; what is before that is the linker's. */
static bool is_first_of_main(const struct user_regs_struct *regs)
{
    return regs->orig_rax == SYS_poll && regs->rsi == 3 && regs->rdx == 0;
}

/* The kernel reads in pieces what it makes up itself, but takes a write to a cgroup as a whole. */
static bool can_be_short(pid_t pid, const struct user_regs_struct *regs)
{
    char link[64], path[256];
    ssize_t len;

    if (regs->rdx < 2)
        return false;
    if (regs->orig_rax == SYS_read || regs->orig_rax == SYS_pread64)
        return true;
    if (regs->orig_rax != SYS_write)
        return false;
    snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)pid, (int)regs->rdi);
    len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return false;
    path[len] = '\0';
    return strncmp(path, "/sys/", 5) != 0 && strncmp(path, "/proc/", 6) != 0;
}

/* Returns true when the process is to be let go: there is nothing more to do. */
static bool inject(struct trace *t, const struct user_regs_struct *regs)
{
    int status;

    t->out->injected = true;
    t->out->at_output =
        regs->orig_rax == SYS_write && (regs->rdi == STDERR_FILENO || regs->rdi == STDOUT_FILENO);
    if (t->what == FAULT_KILL) {
        kill(t->pid, SIGKILL);
        return true;
    }
    if (t->what == FAULT_SHORT) {
        SET_REG(t->pid, rdx, regs->orig_rax == SYS_write ? (long)regs->rdx / 2 : 1);
        return true;
    }
    SET_REG(t->pid, orig_rax, -1);
    ptrace(PTRACE_SYSCALL, t->pid, NULL, 0);
    if (waitpid(t->pid, &status, __WALL) == t->pid && WIFSTOPPED(status))
        SET_REG(t->pid, rax, -t->what);
    return true;
}

static bool begins(const struct trace *t, const struct user_regs_struct *regs)
{
    const struct work *work = t->work;

    return work ? regs->orig_rax == (unsigned long)work->from && t->sleeps >= work->sleeps
                : is_first_of_main(regs);
}

/* At the entry of a call. As inject(). */
static bool at_call(struct trace *t)
{
    struct user_regs_struct regs = {0};
    struct call call;

    get_regs(t->pid, &regs);
    t->sleeps += regs.orig_rax == SYS_ppoll;
    t->in_main = t->in_main || begins(t, &regs);
    if (!t->in_main || regs.orig_rax >= sizeof t->count / sizeof *t->count)
        return false;
    call = (struct call){.nr = (long)regs.orig_rax, .nth = ++t->count[regs.orig_rax]};
    if (t->at)
        return t->at->nr == call.nr && t->at->nth == call.nth && inject(t, &regs);
    if (call.nth == 1 && !is_listed(call.nr))
        append(t->out->unlisted, sizeof t->out->unlisted, " %ld", call.nr);
    if (!t->seen || !call_name(call.nr))
        return false;
    call.can_be_short = can_be_short(t->pid, &regs);
    t->seen->items = reallocarray(t->seen->items, t->seen->count + 1, sizeof *t->seen->items);
    if (!t->seen->items)
        die("calls");
    t->seen->items[t->seen->count++] = call;
    return false;
}

bool trace_works(void)
{
    return true;
}

#else

static bool at_call(struct trace *t)
{
    (void)t;
    return false;
}

bool trace_works(void)
{
    return false;
}

#endif

static void ended(struct trace *t, int status)
{
    t->out->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    t->out->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static bool is_entry(pid_t pid)
{
    struct __ptrace_syscall_info info = {0};

    return ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0 &&
           info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

/* It has stopped. From the fault on it is not traced. */
static void go_on(struct trace *t, int status)
{
    int signal = WSTOPSIG(status);
    bool let_go = signal == (SIGTRAP | 0x80) && is_entry(t->pid) && at_call(t);

    if (signal == SIGTRAP &&
        !t->work) /* of execve(): it becomes the other program, which has a linker, too */
        t->in_main = false;
    if (signal == (SIGTRAP | 0x80) || signal == SIGTRAP) /* the latter of execve(), or asked for */
        signal = 0;
    ptrace(let_go ? PTRACE_DETACH : PTRACE_SYSCALL, t->pid, NULL, signal);
}

/* Until it ends. */
static void follow(struct trace *t)
{
    int status;

    for (;;) {
        if (waitpid(t->pid, &status, __WALL) < 0) {
            if (errno == EINTR)
                continue;
            die("waitpid");
        }
        if (!WIFSTOPPED(status))
            break;
        go_on(t, status);
    }
    ended(t, status);
}

/* Wherever it is. */
static void let_go(struct trace *t)
{
    int status;

    if (t->out->injected || ptrace(PTRACE_INTERRUPT, t->pid, NULL, NULL) < 0)
        return;
    if (waitpid(t->pid, &status, __WALL) != t->pid)
        return;
    if (WIFSTOPPED(status)) /* what it is at goes on as if nothing had been */
        ptrace(PTRACE_DETACH, t->pid, NULL, 0);
    else
        ended(t, status);
}

static struct trace attached;

int trace_sleeps(void)
{
    return attached.out->injected ? -1 : attached.sleeps;
}

/* Until a child stops or ends; false: not in this time. */
static bool await_child(unsigned ms)
{
    const struct timespec most = {.tv_nsec = (long)ms * 1000000};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return sigtimedwait(&set, NULL, &most) == SIGCHLD;
}

static void block_sigchld(bool block)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* "State:	D (disk sleep), 74 0x5 ..., jbd2_log_wait_commit" */
static void note_where(pid_t pid, char *ret, size_t size)
{
    static const char *const files[] = {"status", "syscall", "wchan"};
    size_t len = 0;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[64], text[4096] = "";
        const char *at;

        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i]);
        (void)read_text(path, text, sizeof text);
        at = i == 0 ? strstr(text, "State:") : text;
        len += (size_t)snprintf(ret + len, size - len, "%s%.*s", i ? ", " : "",
                                at ? (int)strcspn(at, "\n") : 0, at ? at : "");
        len = len < size ? len : size - 1;
    }
}

/* Until it has done its work, or has ended. False: it does not come to an end. */
static bool follow_work(struct trace *t, const struct work *work)
{
    const unsigned pause_ms = work->done ? 1 : 50;
    int status;

    for (unsigned waited = 0; waited < TIMEOUT_S * 1000;) {
        pid_t r = waitpid(t->pid, &status, __WALL | WNOHANG);

        if (r == t->pid && WIFSTOPPED(status)) {
            go_on(t, status);
        } else if (r == t->pid) {
            ended(t, status);
            return true;
        } else if (work->done && work->done()) {
            let_go(t);
            return true;
        } else if (!await_child(pause_ms)) {
            waited += pause_ms;
        }
    }
    note_where(t->pid, t->out->hung_at, sizeof t->out->hung_at);
    let_go(t);
    return false;
}

void trace_attach(pid_t pid, const struct work *work, const struct call *at, int what,
                  struct calls *seen, struct outcome *ret)
{
    memset(ret, 0, sizeof *ret);
    attached = (struct trace){.pid = pid,
                              .at = at,
                              .what = what,
                              .seen = seen,
                              .out = ret,
                              .in_main = !work->from,
                              .work = work};
    if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0 ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
        die("ptrace");
    if (work->act)
        work->act();
    block_sigchld(true);
    ret->hung = !follow_work(&attached, work);
    block_sigchld(false);
}

static int file_with(const char *text)
{
    int fd = memfd_create("fault", MFD_CLOEXEC);
    size_t len = strlen(text);

    if (fd < 0 || write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)
        die("memfd");
    return fd;
}

static void take_text(int fd, char *text, size_t size)
{
    ssize_t len = pread(fd, text, size - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    close(fd);
}

static _Noreturn void start(const char *const argv[], int in, int out, int err)
{
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    execv(argv[0], (char *const *)(uintptr_t)argv); /* it changes none of them */
    _exit(127);
}

void trace_run(const char *const argv[], const char *input, const struct call *at, int what,
               struct calls *seen, struct outcome *ret)
{
    static struct trace t;
    int in = file_with(input), out = file_with(""), err = file_with(""), status;

    memset(ret, 0, offsetof(struct outcome, out));
    t = (struct trace){.at = at, .what = what, .seen = seen, .out = ret};
    t.pid = fork();
    if (t.pid < 0)
        die("fork");
    if (t.pid == 0)
        start(argv, in, out, err);
    watch_clock(t.pid);
    if (waitpid(t.pid, &status, __WALL) < 0)
        die("waitpid");
    ptrace(PTRACE_SETOPTIONS, t.pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    /* Without a fault, and nobody to tell of its calls, there is nothing to trace. */
    ptrace(at || seen ? PTRACE_SYSCALL : PTRACE_DETACH, t.pid, NULL, 0);
    follow(&t);
    watch_clock(0);
    ret->hung = timed_out;
    close(in);
    take_text(out, ret->out, sizeof ret->out);
    take_text(err, ret->err, sizeof ret->err);
}
