/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/placeholder.h"

#include <errno.h>
#include <poll.h>

static void follow(const void *arg)
{
    struct pollfd pfd = {.fd = proc_open(arg), .events = POLLIN};

    while (pfd.fd >= 0 && poll(&pfd, 1, -1) < 0 && errno == EINTR)
        ;
}

static void wait_for_sigterm(const void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

int placeholder_fork(const struct proc_id *init, struct child *ret, struct err *e)
{
    return child_fork(PLACEHOLDER_NAME, init ? follow : wait_for_sigterm, init, ret, e);
}
