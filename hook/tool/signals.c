/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/signals.h"

#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>

/* What stands behind a name that is a signal of real time: "+3", "-1", or nothing. */
static int parse_offset(const char *text, int sign, int base, int *ret)
{
    uint64_t offset = 0;

    if (*text &&
        (text[0] != (sign > 0 ? '+' : '-') || str_to_u64(text + 1, strlen(text + 1), &offset) < 0))
        return -EINVAL;
    if (offset > (uint64_t)(SIGRTMAX - SIGRTMIN))
        return -EINVAL;
    *ret = base + sign * (int)offset;
    return 0;
}

int signals_parse(const char *text, int *ret)
{
    uint64_t number;

    if (str_to_u64(text, strlen(text), &number) == 0) {
        *ret = (int)number;
        return number >= 1 && number <= (uint64_t)SIGRTMAX ? 0 : -EINVAL;
    }
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    if (strncasecmp(text, "RTMIN", 5) == 0)
        return parse_offset(text + 5, 1, SIGRTMIN, ret);
    if (strncasecmp(text, "RTMAX", 5) == 0)
        return parse_offset(text + 5, -1, SIGRTMAX, ret);
    for (int i = 1; i < SIGRTMIN; i++) {
        const char *name = sigabbrev_np(i);

        if (name && strcasecmp(text, name) == 0) {
            *ret = i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *signals_name(int signo, char buf[static SIGNALS_NAME_SIZE])
{
    const char *name = sigabbrev_np(signo);

    if (name)
        snprintf(buf, SIGNALS_NAME_SIZE, "%s", name);
    else if (signo > SIGRTMIN && signo <= SIGRTMAX)
        snprintf(buf, SIGNALS_NAME_SIZE, "RTMIN+%d", signo - SIGRTMIN);
    else if (signo == SIGRTMIN)
        snprintf(buf, SIGNALS_NAME_SIZE, "RTMIN");
    else
        snprintf(buf, SIGNALS_NAME_SIZE, "%d", signo);
    return buf;
}
