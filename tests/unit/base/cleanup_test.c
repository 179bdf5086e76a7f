/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <fcntl.h>

Test(cleanup, fd)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy;

    cr_assert_geq(fd, 0);
    copy = fd;
    cr_expect_eq(fd_take(&fd), copy);
    cr_expect_eq(fd, FD_NONE);
    fd = copy;
    errno = EXDEV;
    fd_close(&fd);
    cr_expect(fd == FD_NONE && errno == EXDEV, "fd_close() keeps errno");
    cr_expect(fcntl(copy, F_GETFD) < 0 && errno == EBADF, "closed");
    errno = EXDEV;
    fd_close(&fd);
    cr_expect_eq(errno, EXDEV, "closing FD_NONE does nothing");
}
