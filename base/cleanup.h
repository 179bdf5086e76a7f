/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

/*
 * Scope-bound release of resources, and the explicit hand-over that goes with it.
 *
 * An fd variable that owns nothing holds FD_NONE. close() is not retried on EINTR (Linux has closed
 * the descriptor by then).
 *
 * Every release here keeps errno, and so do arena_free() and sbuf_free(): free(3) does. They may
 * come between a failed call and the look at its errno, also when an inner scope ends.
 */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FD_NONE (-EBADF)

#define CLEANUP(f) __attribute__((cleanup(f)))

static inline void fd_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;

        close(*fd);
        errno = saved;
    }
    *fd = FD_NONE;
}

static inline int fd_take(int *fd)
{
    int taken = *fd;

    *fd = FD_NONE;
    return taken;
}

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_dir(DIR **d)
{
    int saved = errno;

    if (*d)
        closedir(*d);
    errno = saved;
}

#define autofd   CLEANUP(fd_close) int
#define autofree CLEANUP(cleanup_free)
#define autodir  CLEANUP(cleanup_dir) DIR *

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
