/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The journal and syslog, by one datagram for each message that never waits: a daemon that does not
 * read must not hold up a stage with its lock, or the watcher. So not by libsystemd and libc, which
 * wait. The journal's protocol: systemd's "Native Journal Protocol"; syslog's: RFC 3164.
 */

#include "base/cleanup.h"
#include "base/str.h"
#include "hook/log/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define SYSLOG_SOCKET  "/dev/log"
#define NAME           "oci-sandbox-cgroup"

static int priority_of(enum log_level level)
{
    static const int priorities[] = {
        [LEVEL_ERROR] = LOG_ERR,
        [LEVEL_WARNING] = LOG_WARNING,
        [LEVEL_INFO] = LOG_INFO,
        [LEVEL_DEBUG] = LOG_DEBUG,
    };

    return priorities[level];
}

/* False: nobody is there. A full queue is somebody, and drops the message. */
static bool send_to(int fd, const char *path, const char *text, size_t len)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    return fd >= 0 && (sendto(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL,
                              (const struct sockaddr *)&to, sizeof to) >= 0 ||
                       errno == EAGAIN);
}

/* A newline would begin another field. */
static size_t add_field(char *buf, size_t size, size_t used, const char *name, const char *value)
{
    size_t len;

    if (!value)
        return used;
    len = (size_t)snprintf(buf + used, size - used, "%s=", name);
    if (len + 2 >= size - used)
        return used;
    str_escape(value, buf + used + len, size - used - len - 1);
    used += strlen(buf + used);
    buf[used++] = '\n';
    return used;
}

void journal_send(enum log_level level, const char *message_id, const char *text)
{
    const char priority[] = {(char)('0' + priority_of(level)), '\0'};
    /* One for both: each datagram says where it goes. */
    autofd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char buf[8192];
    size_t used = 0;

    used = add_field(buf, sizeof buf, used, "MESSAGE", text);
    used = add_field(buf, sizeof buf, used, "PRIORITY", priority);
    used = add_field(buf, sizeof buf, used, "MESSAGE_ID", message_id);
    used = add_field(buf, sizeof buf, used, "SYSLOG_IDENTIFIER", NAME);
    used = add_field(buf, sizeof buf, used, "STAGE", log_about.stage);
    used = add_field(buf, sizeof buf, used, "SANDBOX_ID", log_about.sandbox_id);
    used = add_field(buf, sizeof buf, used, "CONTAINER_ID", log_about.container_id);
    used = add_field(buf, sizeof buf, used, "CGROUP", log_about.cgroup);
    if (send_to(fd, JOURNAL_SOCKET, buf, used))
        return;
    snprintf(buf, sizeof buf, "<%d>" NAME "[%d]: %s", LOG_USER | priority_of(level), (int)getpid(),
             text);
    (void)send_to(fd, SYSLOG_SOCKET, buf, strlen(buf));
}
