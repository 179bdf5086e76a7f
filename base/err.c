/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *err_name(int code, char buf[static 96])
{
    int number = abs(code);
    const char *name = strerrorname_np(number);
    const char *desc = strerrordesc_np(number);

    if (name && desc)
        snprintf(buf, 96, "%s (%s)", name, desc);
    else
        snprintf(buf, 96, "errno %d", number);
    return buf;
}

__attribute__((format(printf, 3, 0))) static void set_text(struct err *e, int code, const char *fmt,
                                                           va_list ap)
{
    e->code = code;
    e->bad_input = false;
    vsnprintf(e->text, sizeof e->text, fmt, ap);
}

static void append(struct err *e, const char *text)
{
    size_t len = strlen(e->text);

    snprintf(e->text + len, sizeof e->text - len, "%s", text);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (e && e->code == 0) {
        va_list ap;

        va_start(ap, fmt);
        set_text(e, code, fmt, ap);
        va_end(ap);
    }
    return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
    if (e && e->code == 0) {
        char name[96];
        va_list ap;

        va_start(ap, fmt);
        set_text(e, code, fmt, ap);
        va_end(ap);
        append(e, ": ");
        append(e, err_name(code, name));
    }
    return code;
}

int err_input(struct err *e, const char *fmt, ...)
{
    if (e && e->code == 0) {
        va_list ap;

        va_start(ap, fmt);
        set_text(e, -EINVAL, fmt, ap);
        va_end(ap);
        e->bad_input = true;
    }
    return -EINVAL;
}

void err_wrap(struct err *e, const char *fmt, ...)
{
    char old[ERR_TEXT_SIZE];
    va_list ap;

    if (!e || e->code == 0)
        return;
    memcpy(old, e->text, sizeof old);
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    append(e, ": ");
    append(e, old);
}

void err_hint(struct err *e, const char *fmt, ...)
{
    char hint[ERR_TEXT_SIZE];
    va_list ap;

    if (!e || e->code == 0)
        return;
    va_start(ap, fmt);
    vsnprintf(hint, sizeof hint, fmt, ap);
    va_end(ap);
    append(e, hint);
}

void err_reset(struct err *e)
{
    if (e)
        *e = (struct err)ERR_INIT;
}

void err_out_of_memory(void)
{
    static const char text[] = "oci-sandbox-cgroup: out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);

    (void)ignored;
    _exit(1);
}
