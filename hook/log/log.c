/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/log/log.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const level_names[] = {
    [LEVEL_ERROR] = "error",
    [LEVEL_WARNING] = "warning",
    [LEVEL_INFO] = "info",
    [LEVEL_DEBUG] = "debug",
};

static enum log_level threshold = LEVEL_WARNING;
struct log_context log_about;

int log_level_parse(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (str_eq(name, level_names[i])) {
            *ret = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_set_level(enum log_level level)
{
    threshold = level;
}

__attribute__((format(printf, 3, 0))) static void say(enum log_level level, const char *message_id,
                                                      const char *fmt, va_list ap)
{
    char text[ERR_TEXT_SIZE + 256];

    vsnprintf(text, sizeof text, fmt, ap);
    /* The last line of defence: names from outside are escaped where the message is made. */
    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    }
    if (level <= threshold)
        fprintf(stderr, "oci-sandbox-cgroup: %s%s%s\n",
                level == LEVEL_ERROR ? "" : level_names[level], level == LEVEL_ERROR ? "" : ": ",
                text);
    if (log_about.to_journal)
        journal_send(level, message_id, text);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
    va_list ap;

    if (level > threshold)
        return;
    va_start(ap, fmt);
    say(level, NULL, fmt, ap);
    va_end(ap);
}

void log_event(enum log_event event, const char *fmt, ...)
{
    static const struct {
        enum log_level level;
        const char *id;
    } events[] = {
        [EVENT_SET_UP] = {LEVEL_INFO, "23dce8263ce9472d9442b1e1d7f98f4a"},
        [EVENT_PLACED] = {LEVEL_INFO, "15e08aa0b1f44c65ab2b04983f8f8e61"},
        [EVENT_REMOVED] = {LEVEL_INFO, "68d6ca4efbd8446fa53fb0792dd11d38"},
        [EVENT_OOM_KILL] = {LEVEL_WARNING, "4b04a55aeec945f6ad1bea3f757d3727"},
    };
    va_list ap;

    if (threshold < LEVEL_WARNING)
        return;
    va_start(ap, fmt);
    say(events[event].level, events[event].id, fmt, ap);
    va_end(ap);
}

void log_once(int *last, int code, const struct err *e)
{
    if (code < 0 && code != *last)
        log_msg(LEVEL_WARNING, "sandbox %s: %s", log_about.sandbox_id, e->text);
    *last = code;
}
