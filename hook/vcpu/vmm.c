/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/vcpu/vmm.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define VCPU_LINK "anon_inode:kvm-vcpu"

enum vmm_fd vmm_fd_classify(const char *link, int *ret_id)
{
    const char *digits = link + strlen(VCPU_LINK ":");
    uint64_t id;

    if (str_eq(link, "anon_inode:kvm-vm"))
        return VMM_FD_VM;
    if (str_eq(link, VCPU_LINK))
        return VMM_FD_VCPU_WITHOUT;
    /* Newer kernels have "kvm-vcpu-stats:<id>" besides. */
    if (!str_starts(link, VCPU_LINK ":") || str_to_u64(digits, strlen(digits), &id) < 0 ||
        id > INT_MAX)
        return VMM_FD_OTHER;
    *ret_id = (int)id;
    return VMM_FD_VCPU;
}

static void add_link(const char *link, struct arena *a, struct vmm_fds *ret)
{
    int id;

    switch (vmm_fd_classify(link, &id)) {
    case VMM_FD_OTHER:
        break;
    case VMM_FD_VM:
        ret->has_vm = true;
        break;
    case VMM_FD_VCPU:
        ARENA_APPEND(a, ret->ids, ret->id_count) = id;
        break;
    case VMM_FD_VCPU_WITHOUT:
        ret->count++;
        break;
    }
}

static int by_id(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

/* A descriptor may have been duplicated. */
static void make_set(struct vmm_fds *fds)
{
    size_t kept = 0;

    if (fds->id_count > 0)
        qsort(fds->ids, fds->id_count, sizeof *fds->ids, by_id);
    for (size_t i = 0; i < fds->id_count; i++) {
        if (i == 0 || fds->ids[i] != fds->ids[kept - 1])
            fds->ids[kept++] = fds->ids[i];
    }
    fds->id_count = kept;
    fds->count += kept;
}

int vmm_fds_read(pid_t pid, struct arena *a, struct vmm_fds *ret)
{
    struct dirent *entry;
    size_t seen = 0;
    char path[32];
    autodir dir = NULL;

    *ret = (struct vmm_fds){0};
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = io_opendir_at(AT_FDCWD, path);
    if (!dir)
        return errno == ENOENT || errno == ESRCH ? 0 : -errno;
    while ((entry = io_next_entry(dir))) {
        char link[64]; /* longer ones are none of KVM's */
        ssize_t len;

        if (++seen > VMM_FDS_MAX) {
            ret->has_more = true;
            break;
        }
        len = readlinkat(dirfd(dir), entry->d_name, link, sizeof link);
        if (len < 0 || (size_t)len == sizeof link)
            continue;
        link[len] = '\0';
        add_link(link, a, ret);
    }
    make_set(ret);
    return 0;
}
