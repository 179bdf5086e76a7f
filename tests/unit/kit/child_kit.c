/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/child_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static struct proc_id forked[8];
static size_t forked_count;

void kit_end_forked(void)
{
    for (size_t i = 0; i < forked_count; i++) {
        proc_signal(&forked[i], SIGKILL);
        waitpid(forked[i].pid, NULL, 0);
    }
}

void kit_track(const struct proc_id *id)
{
    cr_assert_lt(forked_count, ARRAY_SIZE(forked));
    forked[forked_count++] = *id;
}

const char *kit_name_of(pid_t pid)
{
    static struct proc_stat st;

    return proc_stat_read(pid, &st) == 0 ? st.comm : "(gone)";
}

void kit_wait_for_name(pid_t pid, const char *name)
{
    unsigned long long deadline = io_now_us() + KIT_PATIENCE_MS * 1000ull;

    while (!str_eq(kit_name_of(pid), name)) {
        cr_assert_lt(io_now_us(), deadline, "%d is called %s, not %s", (int)pid, kit_name_of(pid),
                     name);
        io_sleep_ms(1);
    }
}

int kit_wait_status(pid_t pid)
{
    int status = -1;

    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

bool kit_is_running(pid_t pid)
{
    int status;

    return waitpid(pid, &status, WNOHANG) == 0;
}

bool kit_has_exited(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool kit_was_killed(int status, int signo)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signo;
}

const char *kit_list_fds(pid_t pid, char *buf, size_t size)
{
    char path[64];
    bool open[4096] = {false};
    autodir dir = NULL;
    struct dirent *entry;
    size_t len = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    cr_assert(dir, "%s: %s", path, strerror(errno));
    while ((entry = readdir(dir))) {
        int fd = entry->d_name[0] == '.' ? -1 : atoi(entry->d_name);

        if (fd >= 0 && fd < (int)ARRAY_SIZE(open))
            open[fd] = true;
    }
    buf[0] = '\0';
    for (size_t fd = 0; fd < ARRAY_SIZE(open) && len < size; fd++) {
        if (open[fd])
            len += (size_t)snprintf(buf + len, size - len, "%s%zu", len ? " " : "", fd);
    }
    return buf;
}
