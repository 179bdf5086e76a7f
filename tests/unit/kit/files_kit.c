/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/files_kit.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static char *made[64];
static size_t made_count;
static pid_t maker;

static void forget(const char *path)
{
    for (size_t i = 0; i < made_count; i++) {
        if (str_eq(made[i], path)) {
            free(made[i]);
            made[i] = made[--made_count];
        }
    }
}

void kit_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    forget(path);
}

/* A child of the test that ends by exit() leaves them to the test. */
static void remove_made(void)
{
    while (made_count > 0 && getpid() == maker)
        kit_remove_tree(made[made_count - 1]);
}

void kit_make_dir(char *path)
{
    cr_assert_lt(made_count, ARRAY_SIZE(made));
    cr_assert_not_null(mkdtemp(path), "%s: %s", path, strerror(errno));
    if (!maker) {
        maker = getpid();
        atexit(remove_made);
    }
    made[made_count++] = strdup(path);
}

void kit_write_file(const char *path, const char *text)
{
    autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path,
              strerror(errno));
}

unsigned kit_mode_of(int dirfd, const char *path)
{
    struct stat st;

    return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & 07777 : 0;
}

bool kit_exists_at(int dirfd, const char *path)
{
    return faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int kit_file_with(const char *text, size_t len)
{
    int fd = memfd_create("input", MFD_CLOEXEC);

    cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

void kit_put_below(const char *root, const char *path, const char *text)
{
    char full[512];

    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        mkdir(full, 0755);
    }
    kit_write_file(full, text);
    cr_assert_eq(chmod(full, 0755), 0);
}
