/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The journal, through libsystemd. The library is opened here, when there is a message for it, and
 * not linked: linking it costs every start of the program 1.3 ms and most of its memory, and the
 * success path says nothing.
 */

#include "base/cleanup.h"
#include "base/str.h"
#include "hook/log/log.h"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

typedef __typeof__(&sd_journal_sendv) sendv_fn;

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

static sendv_fn load_sendv(void)
{
    void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);

    /* Never closed: the watcher would only open it again. */
    return library ? (sendv_fn)dlsym(library, "sd_journal_sendv") : NULL;
}

static size_t add_field(struct iovec *iov, size_t n, char *buf, size_t size, const char *name,
                        const char *value)
{
    size_t len;

    if (!value)
        return n;
    len = (size_t)snprintf(buf, size, "%s=", name);
    str_escape(value, buf + len, size - len);
    iov[n].iov_base = buf;
    iov[n].iov_len = strlen(buf);
    return n + 1;
}

void journal_send(enum log_level level, const char *text)
{
    static sendv_fn sendv;
    char priority[2] = {(char)('0' + priority_of(level)), '\0'};
    char message[2048], fields[6][512];
    struct iovec iov[7];
    size_t n = 0;

    if (!sendv && access(JOURNAL_SOCKET, W_OK) == 0)
        sendv = load_sendv();
    if (!sendv) {
        syslog(priority_of(level), "%s", text);
        return;
    }
    n = add_field(iov, n, message, sizeof message, "MESSAGE", text);
    n = add_field(iov, n, fields[0], sizeof fields[0], "PRIORITY", priority);
    n = add_field(iov, n, fields[1], sizeof fields[1], "SYSLOG_IDENTIFIER", "oci-sandbox-cgroup");
    n = add_field(iov, n, fields[2], sizeof fields[2], "STAGE", log_about.stage);
    n = add_field(iov, n, fields[3], sizeof fields[3], "SANDBOX_ID", log_about.sandbox_id);
    n = add_field(iov, n, fields[4], sizeof fields[4], "CONTAINER_ID", log_about.container_id);
    n = add_field(iov, n, fields[5], sizeof fields[5], "CGROUP", log_about.cgroup);
    sendv(iov, (int)n);
}
