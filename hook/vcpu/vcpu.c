/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/vcpu/vcpu.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#define COMM_MAX 15 /* TASK_COMM_LEN without its NUL */

/* What VMMs call their vCPU threads. */
static const char *const patterns_known[] = {
    "CPU %u/KVM",    /* QEMU, with -name debug-threads=on */
    "CPU %u/TCG",    /* QEMU without KVM */
    "CPU %u/HVF",    /* QEMU's other accelerators, */
    "CPU %u/MSHV",   /* for completeness of its naming */
    "vcpu%u",        /* Cloud Hypervisor */
    "fc_vcpu %u",    /* Firecracker, libkrun, Dragonball */
    "crosvm_vcpu%u", /* crosvm */
    "kvm-vcpu-%u",   /* kvmtool */
    "db_vcpu%u",     /* Dragonball */
};

const char *vcpu_source_name(enum vcpu_source source)
{
    static const char *const names[] = {
        [VCPU_NONE] = "none", [VCPU_DEBUGFS] = "debugfs",       [VCPU_NAME] = "name",
        [VCPU_QMP] = "qmp",   [VCPU_GUEST_TIME] = "guest_time",
    };

    return names[source];
}

bool vcpu_pattern_valid(const char *pattern)
{
    const char *percent = strchr(pattern, '%');
    size_t len = strlen(pattern);

    if (len == 0 || len > COMM_MAX)
        return false;
    return !percent || (percent[1] == 'u' && !strchr(percent + 1, '%'));
}

bool vcpu_pattern_match(const char *pattern, const char *comm, int *ret_index)
{
    const char *percent = strchr(pattern, '%');
    size_t prefix = percent ? (size_t)(percent - pattern) : strlen(pattern);
    size_t digits;
    uint64_t index;

    if (strncmp(pattern, comm, prefix) != 0)
        return false;
    if (!percent) {
        *ret_index = VCPU_NO_INDEX;
        return comm[prefix] == '\0';
    }
    digits = strspn(comm + prefix, "0123456789");
    if (str_to_u64(comm + prefix, digits, &index) < 0 || index > INT_MAX)
        return false;
    /* The kernel cuts a name at 15 bytes: "CPU 12345678/KV" is still the thread of CPU 12345678. */
    if (strlen(comm) == COMM_MAX ? !str_starts(percent + 2, comm + prefix + digits)
                                 : !str_eq(percent + 2, comm + prefix + digits))
        return false;
    *ret_index = (int)index;
    return true;
}

static bool match_name(const char *comm, const struct json_list *patterns, int *ret_index)
{
    for (size_t i = 0; i < ARRAY_SIZE(patterns_known); i++) {
        if (vcpu_pattern_match(patterns_known[i], comm, ret_index))
            return true;
    }
    for (size_t i = 0; i < patterns->count; i++) {
        if (vcpu_pattern_match(JSON_AT(*patterns, char *, i), comm, ret_index))
            return true;
    }
    return false;
}

enum vcpu_source vcpu_classify(pid_t tid, const struct proc_stat *st, const struct vcpu_kvm *kvm,
                               const struct json_list *patterns, int *ret_index)
{
    for (size_t i = 0; i < kvm->count; i++) {
        if (kvm->items[i].tid != tid)
            continue;
        /* KVM's number is the APIC id on x86, which has gaps; a name has the VMM's own. */
        if (!match_name(st->comm, patterns, ret_index) || *ret_index == VCPU_NO_INDEX)
            *ret_index = kvm->items[i].index;
        return VCPU_DEBUGFS;
    }
    if (match_name(st->comm, patterns, ret_index))
        return VCPU_NAME;
    *ret_index = VCPU_NO_INDEX;
    return st->guest_time > 0 ? VCPU_GUEST_TIME : VCPU_NONE;
}

void vcpu_kvm_end(struct vcpu_kvm_search *s)
{
    if (s->begun)
        fd_close(&s->mounts_fd);
    free(s->path);
    *s = (struct vcpu_kvm_search){0};
}

/* "path of the mount point"/kvm of a line of mountinfo. False: it is no debugfs. */
static bool kvm_path(char *line, char path[static PATH_MAX])
{
    const bool is_debugfs = strstr(line, " - debugfs ");

    for (int i = 0; i < 4 && line; i++)
        str_next(&line, ' ');
    return is_debugfs && line &&
           snprintf(path, PATH_MAX, "%s/kvm", str_next(&line, ' ')) < PATH_MAX;
}

static bool read_mounts(struct vcpu_kvm_search *s, const char *mountinfo, char **ret)
{
    vcpu_kvm_end(s);
    s->begun = true;
    s->mounts_fd = open(mountinfo, O_RDONLY | O_CLOEXEC);
    if (s->mounts_fd >= 0 && io_read_all(s->mounts_fd, (size_t)8 << 20, ret) >= 0)
        return true;
    fd_close(&s->mounts_fd); /* the next one tries again */
    return false;
}

static int look_everywhere(struct vcpu_kvm_search *s, const char *mountinfo)
{
    autofree char *text = NULL;
    char *cursor, *line, path[PATH_MAX];

    if (!read_mounts(s, mountinfo, &text))
        return FD_NONE;
    cursor = text;
    while ((line = str_next(&cursor, '\n'))) {
        int fd;

        if (!kvm_path(line, path))
            continue;
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (!s->path)
            s->path = strdup(path);
    }
    return FD_NONE;
}

/* Also when that cannot be told. */
static bool has_changed(const struct vcpu_kvm_search *s)
{
    struct pollfd pfd = {.fd = s->mounts_fd, .events = POLLPRI};

    return !s->begun || s->mounts_fd < 0 || poll(&pfd, 1, 0) != 0;
}

int vcpu_kvm_find_in(struct vcpu_kvm_search *s, const char *mountinfo)
{
    int fd = FD_NONE;

    if (has_changed(s))
        fd = look_everywhere(s, mountinfo);
    else if (s->path)
        fd = open(s->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -ENOENT;
    vcpu_kvm_end(s);
    return fd;
}

int vcpu_kvm_find(struct vcpu_kvm_search *s)
{
    return vcpu_kvm_find_in(s, "/proc/self/mountinfo");
}

int vcpu_kvm_open(void)
{
    struct vcpu_kvm_search s = {0};
    int fd = vcpu_kvm_find(&s);

    vcpu_kvm_end(&s);
    return fd;
}

/* <pid>-<fd>/vcpu<N>/pid */
static void read_vm(int vm_dirfd, struct arena *a, struct vcpu_kvm *ret)
{
    autodir vm = io_opendir_at(vm_dirfd, ".");
    struct dirent *entry;

    while ((entry = io_next_entry(vm))) {
        char name[NAME_MAX + 8], text[32];
        uint64_t index, tid;
        ssize_t len;

        if (!str_starts(entry->d_name, "vcpu") ||
            str_to_u64(entry->d_name + 4, strlen(entry->d_name + 4), &index) < 0)
            continue;
        snprintf(name, sizeof name, "%s/pid", entry->d_name);
        len = io_read_at(vm_dirfd, name, text, sizeof text);
        /* 0: the vCPU exists but no thread has run it yet. */
        if (len <= 0 || str_to_u64(text, (size_t)len, &tid) < 0 || tid == 0 || tid > INT_MAX ||
            index > INT_MAX)
            continue;
        ARENA_APPEND(a, ret->items, ret->count) = (struct vcpu_kvm_thread){(pid_t)tid, (int)index};
    }
}

void vcpu_kvm_read(int kvm_dirfd, vcpu_kvm_wanted *wanted, const void *arg, struct arena *a,
                   struct vcpu_kvm *ret)
{
    autodir kvm = kvm_dirfd >= 0 ? io_opendir_at(kvm_dirfd, ".") : NULL;
    struct dirent *entry;

    *ret = (struct vcpu_kvm){0};
    while (kvm && (entry = io_next_entry(kvm))) {
        size_t digits = strspn(entry->d_name, "0123456789");
        autofd vm = FD_NONE;
        uint64_t creator;

        /* "<pid>-<fd>": the pid is that of whoever made the VM, which need not be the VMM's now. */
        if (entry->d_name[digits] != '-' || str_to_u64(entry->d_name, digits, &creator) < 0 ||
            creator > INT_MAX || (wanted && !wanted((pid_t)creator, arg)))
            continue;
        vm = openat(dirfd(kvm), entry->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (vm >= 0)
            read_vm(vm, a, ret);
    }
}
