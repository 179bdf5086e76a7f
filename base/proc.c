/* SPDX-License-Identifier: Apache-2.0 */
#include "base/proc.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* include/linux/sched.h; no header of user space has it. */
#define PF_EXITING 4
#define PF_KTHREAD 0x200000

int proc_stat_parse(const char *text, struct proc_stat *ret)
{
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    uint64_t parent = 0, flags = 0;
    const char *p;
    size_t len;
    int field = 3;

    if (!open || !close || close < open || close[1] != ' ' || close[2] == '\0')
        return -EINVAL;
    len = (size_t)(close - open - 1);
    if (len >= sizeof ret->comm)
        return -EINVAL;
    *ret = (struct proc_stat){.state = close[2]};
    memcpy(ret->comm, open + 1, len);
    for (p = close + 2; field <= 43; field++) {
        size_t width = strcspn(p, " \n");
        uint64_t *value = field == 4    ? &parent
                          : field == 9  ? &flags
                          : field == 20 ? &ret->threads
                          : field == 22 ? &ret->start_time
                          : field == 43 ? &ret->guest_time
                                        : NULL;

        if (width == 0 || (value && str_to_u64(p, width, value) < 0))
            return -EINVAL;
        p += width;
        if (*p == ' ')
            p++;
    }
    if (parent > INT_MAX)
        return -EINVAL;
    ret->parent = (pid_t)parent;
    ret->exiting = flags & PF_EXITING;
    ret->is_kernel = flags & PF_KTHREAD;
    return 0;
}

int proc_stat_read(pid_t pid, struct proc_stat *ret)
{
    char path[48], text[1024];
    ssize_t n;

    if (pid <= 0)
        return -ESRCH;
    /* Not /proc/PID/stat: its times are those of the whole process, whichever thread is named. */
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)pid);
    n = io_read_line_at(AT_FDCWD, path, text, sizeof text);
    if (n == -ENOENT)
        return -ESRCH;
    if (n < 0)
        return (int)n;
    return proc_stat_parse(text, ret);
}

int proc_cpu_us(pid_t tid, uint64_t *ret)
{
    char path[48], text[128];
    uint64_t ns;
    ssize_t n;
    int r;

    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)tid);
    n = io_read_at(AT_FDCWD, path, text, sizeof text);
    if (n == -ENOENT) {
        snprintf(path, sizeof path, "/proc/%d", (int)tid);
        return tid > 0 && access(path, F_OK) == 0 ? -ENOENT : -ESRCH;
    }
    r = n < 0 ? (int)n : str_to_u64(text, strcspn(text, " "), &ns);
    if (r == 0)
        *ret = ns / 1000;
    return r;
}

uint64_t proc_age_us(uint64_t start_time)
{
    struct timespec now;
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK), now_us, began_us;

    clock_gettime(CLOCK_BOOTTIME, &now);
    now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    began_us = start_time / ticks * 1000000 + start_time % ticks * 1000000 / ticks;
    return now_us > began_us ? now_us - began_us : 0;
}

pid_t proc_process_of(pid_t tid)
{
    char path[32], text[4096], *cursor = text, *line;
    autofd fd = FD_NONE;
    ssize_t len;
    uint64_t id;

    snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
    fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    len = fd < 0 ? 0 : io_read_full(fd, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    while ((line = str_next(&cursor, '\n'))) {
        if (str_starts(line, "Tgid:\t") && str_to_u64(line + 6, strlen(line + 6), &id) == 0)
            return (pid_t)id;
    }
    return 0;
}

int proc_identify(pid_t pid, struct proc_id *ret)
{
    struct proc_stat st;
    int r = proc_stat_read(pid, &st);

    if (r < 0)
        return r;
    /* A main thread that has ended is a zombie as long as others of its process run. */
    if (st.state == 'X' || (st.state == 'Z' && st.threads <= 1))
        return -ESRCH;
    *ret = (struct proc_id){.pid = pid, .start_time = st.start_time};
    return 0;
}

int proc_alive(const struct proc_id *id)
{
    struct proc_id now;
    int r = proc_identify(id->pid, &now);

    return r == -ESRCH ? 0 : r < 0 ? r : now.start_time == id->start_time;
}

int proc_open(const struct proc_id *id)
{
    autofd fd = FD_NONE;
    int r;

    if (id->pid <= 0)
        return -ESRCH;
    fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
    if (fd < 0) {
        /* Another process's thread may have the number: then it is EINVAL, since Linux 6.15 ENOENT. */
        r = -errno;
        return (r == -EINVAL || r == -ENOENT) && proc_alive(id) == 0 ? -ESRCH : r;
    }
    r = proc_alive(id);
    return r > 0 ? fd_take(&fd) : r < 0 ? r : -ESRCH;
}

int proc_signal(const struct proc_id *id, int signo)
{
    autofd fd = proc_open(id);

    if (fd < 0)
        return fd;
    if (syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0) < 0)
        return -errno;
    return 0;
}

/* For who has a pidfd. 0; -ETIMEDOUT; other -errno. */
static int wait_for_end(int fd, int timeout_ms)
{
    unsigned long long end = io_now_us() + (unsigned long long)timeout_ms * 1000;

    for (;;) {
        unsigned long long now = io_now_us();
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        int n = poll(&pfd, 1, now >= end ? 0 : (int)((end - now + 999) / 1000));

        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0 && io_now_us() >= end)
            return -ETIMEDOUT;
    }
}

int proc_wait_gone(const struct proc_id *id, int timeout_ms)
{
    autofd fd = proc_open(id);

    if (fd < 0)
        return fd == -ESRCH ? 0 : fd;
    return wait_for_end(fd, timeout_ms);
}

int proc_end(const struct proc_id *id, int signo, int timeout_ms)
{
    autofd fd = proc_open(id);

    if (fd < 0)
        return fd == -ESRCH ? 0 : fd;
    (void)syscall(SYS_pidfd_send_signal, fd, signo, NULL, 0);
    return wait_for_end(fd, timeout_ms);
}
