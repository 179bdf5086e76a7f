/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/placeholder.h"

#include "base/io.h"
#include "base/proc.h"

#include <poll.h>
#include <unistd.h>

/* So often it is asked again whether init lives, when that could not be told. */
#define LOOK_AGAIN_MS 100

/* Its end is taken for an order to kill, so it ends of nothing but init's. */
static void follow(const void *arg)
{
    struct pollfd pfd = {.fd = -1, .events = POLLIN};

    for (;;) {
        if (pfd.fd < 0)
            pfd.fd = proc_open(arg);
        if (pfd.fd >= 0 ? poll(&pfd, 1, -1) > 0 : proc_alive(arg) == 0)
            return;
        io_sleep_ms(LOOK_AGAIN_MS);
    }
}

/* Not by pause(2), which no child of ours may call, see filter_make.c. */
static void wait_for_sigterm(const void *arg)
{
    (void)arg;
    for (;;)
        poll(NULL, 0, -1);
}

int placeholder_fork(const struct proc_id *init, struct child *ret, struct err *e)
{
    return child_fork(PLACEHOLDER_NAME, init ? follow : wait_for_sigterm, init, ret, e);
}
