/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/child.h"

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/title.h"
#include "hook/log/log.h"
#include "hook/sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_TIMEOUT_MS 5000
/* For one that was let go, or whose stage has died, to notice: it only has to be scheduled. */
#define SETTLE_TIMEOUT_MS 1000
/* How the names of all our children begin: so one can be told from a fork that is not ready. */
#define NAME_PREFIX "osc-"

/* It lives under somebody's memory limit and must outlive the VMM. Needs CAP_SYS_RESOURCE; without
 * it the child is an ordinary victim, and prune is what is left. */
static void survive_oom(void)
{
    (void)io_write_at(AT_FDCWD, "/proc/self/oom_score_adj", "-999");
}

/* Nothing of the hook's environment stays open but the pipe, which becomes descriptor 3: a runtime
 * would wait for who holds the hook's output. If that cannot be the child ends, and the setup fails
 * when it is to let it go. */
static void detach(int null_fd, int go_fd)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null_fd, fd) < 0)
            _exit(1);
    }
    if (dup2(go_fd, 3) < 0)
        _exit(1);
    if (syscall(SYS_close_range, 4, ~0u, 0) < 0) { /* before Linux 5.9 */
        for (int fd = 4; fd < 1024; fd++)
            close(fd);
    }
    setsid();
    if (chdir("/") < 0)
        return;
}

/*
 * A runtime may have started the hook with the signal ignored or blocked. And it may signal all that its
 * cgroup holds, so a placeholder is deaf to all else from its beginning, see fork_deaf(): what the payload would
 * have handled must not end it, as that is taken for an order to kill.
 */
static void listen_to_sigterm(bool deaf)
{
    const struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t blocked;

    sigemptyset(&blocked);
    if (deaf)
        sigfillset(&blocked);
    sigdelset(&blocked, SIGTERM);
    sigaction(SIGTERM, &action, NULL);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

/* What it is to ps, which shows what its stage was started with otherwise. */
static void introduce(const char *name)
{
    char text[2 * NAME_MAX];

    prctl(PR_SET_NAME, name);
    snprintf(text, sizeof text, "%s %s", name, log_about.sandbox_id ? log_about.sandbox_id : "");
    title_set(text);
}

static _Noreturn void child(const char *name, void (*prepare)(const void *arg),
                            void (*run)(const void *arg), const void *arg, int null_fd, int go_fd)
{
    const bool watches = str_eq(name, CHILD_WATCHER);
    char byte;

    detach(null_fd, go_fd);
    log_about.to_journal = true; /* nobody reads what it prints, also where a verb has started it */
    listen_to_sigterm(!watches);
    prctl(PR_SET_NAME, CHILD_WAITING);
    if (read(3, &byte, 1) != 1)
        _exit(0);
    introduce(name);
    close(3);
    mem_wait();
    survive_oom();
    if (prepare)
        prepare(arg);
    confine(watches ? confine_watcher_caps() : 0);
    run(arg);
    _exit(0);
}

/* The child begins with every signal blocked. */
static pid_t fork_deaf(void)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

int child_fork_prepared(const char *name, void (*prepare)(const void *arg),
                        void (*run)(const void *arg), const void *arg, struct child *ret,
                        struct err *e)
{
    autofd null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int pipe_fds[2];
    pid_t pid;
    int r;

    *ret = (struct child)CHILD_INIT;
    if (null_fd < 0)
        return err_sys(e, -errno, "cannot open /dev/null for %s", name);
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_sys(e, -errno, "cannot make a pipe for %s", name);
    pid = fork_deaf();
    if (pid == 0)
        child(name, prepare, run, arg, null_fd, pipe_fds[0]);
    r = pid < 0 ? -errno : 0;
    close(pipe_fds[0]);
    ret->go_fd = pipe_fds[1];
    if (r == 0) {
        ret->id.pid = pid;
        r = proc_identify(pid, &ret->id);
    }
    if (r < 0) {
        child_abort(ret);
        return err_sys(e, r, "cannot start %s", name);
    }
    return 0;
}

int child_fork(const char *name, void (*run)(const void *arg), const void *arg, struct child *ret,
               struct err *e)
{
    return child_fork_prepared(name, NULL, run, arg, ret, e);
}

int child_go(struct child *c, struct err *e)
{
    int r = c->go_fd >= 0 && write(c->go_fd, "g", 1) < 0 ? -errno : 0;

    if (r < 0)
        return err_sys(e, r, "cannot let process %d of ours go", (int)c->id.pid);
    fd_close(&c->go_fd);
    return 0;
}

/* Before it has a name of ours it is called as the stage is. False also where it cannot be seen. */
static bool is_let_go(pid_t pid)
{
    struct proc_stat st;

    return proc_stat_read(pid, &st) == 0 && !st.exiting && str_starts(st.comm, NAME_PREFIX) &&
           !str_eq(st.comm, CHILD_WAITING);
}

int child_works(const struct proc_id *id)
{
    int alive;

    for (unsigned tries = 0; (alive = proc_alive(id)) > 0; tries++) {
        if (is_let_go(id->pid) || tries == SETTLE_TIMEOUT_MS)
            break;
        io_sleep_ms(1);
    }
    return alive;
}

void child_abort(struct child *c)
{
    bool waits = c->go_fd >= 0;

    fd_close(&c->go_fd);
    if (c->id.pid > 0) {
        if (!waits)
            (void)proc_signal(&c->id, SIGTERM);
        while (waitpid(c->id.pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    c->id = (struct proc_id){0};
}

int child_stop(const struct proc_id *id, struct err *e)
{
    int r;

    /* The watcher itself tears down a sandbox that died without poststop. */
    if (id->pid <= 0 || id->pid == getpid())
        return 0;
    r = proc_end(id, SIGTERM, STOP_TIMEOUT_MS);
    if (r == -ETIMEDOUT)
        r = proc_end(id, SIGKILL, STOP_TIMEOUT_MS);
    return r < 0 ? err_sys(e, r, "cannot end process %d of ours", (int)id->pid) : 0;
}
