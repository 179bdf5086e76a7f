/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct fuzz_target fuzz_targets[] = {
    {"state", fuzz_state, true},
    {"config", fuzz_config, true},
    {"plan", fuzz_plan, false},
    {"settings", fuzz_settings, true},
    {"record", fuzz_record, true},
    {"mountinfo", fuzz_mountinfo, false},
    {"proc-cgroup", fuzz_proc_cgroup, false},
    {"proc-stat", fuzz_proc_stat, false},
    {"cpulist", fuzz_cpulist, false},
    {"cgroups-path", fuzz_cgroups_path, false},
    {"unit-names", fuzz_unit_names, false},
    {"devices", fuzz_devices, false},
    {"devices-list", fuzz_devices_list, false},
    {"qmp", fuzz_qmp, true},
    {"qmp-options", fuzz_qmp_options, false},
    {"register", fuzz_register, true},
};
const size_t fuzz_target_count = ARRAY_SIZE(fuzz_targets);

static struct {
    unsigned long long inputs, accepted;
} counts[ARRAY_SIZE(fuzz_targets)];

const struct fuzz_target *fuzz_find(const char *name)
{
    for (size_t i = 0; i < fuzz_target_count; i++) {
        if (str_eq(fuzz_targets[i].name, name))
            return &fuzz_targets[i];
    }
    return NULL;
}

void fuzz_one(const struct fuzz_target *target, const uint8_t *data, size_t len)
{
    size_t i = (size_t)(target - fuzz_targets);

    counts[i].inputs++;
    counts[i].accepted += target->run(data, len);
}

void fuzz_print_counts(void)
{
    for (size_t i = 0; i < fuzz_target_count; i++) {
        if (counts[i].inputs > 0)
            fprintf(stderr, "accepted: %s %llu of %llu (%llu %%)\n", fuzz_targets[i].name,
                    counts[i].accepted, counts[i].inputs,
                    counts[i].accepted * 100 / counts[i].inputs);
    }
}

void fuzz_fail(const char *file, int line, const char *condition, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: %s does not hold: ", file, line, condition);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

char *fuzz_text(struct arena *a, const uint8_t *data, size_t len)
{
    return arena_strndup(a, len > 0 ? (const char *)data : "", len);
}

void fuzz_check_result(int r, const struct err *e)
{
    FUZZ_CHECK(r >= -4095, "%d is no errno", r);
    FUZZ_CHECK(r < 0 || e->code == 0, "%d with the error %d: %s", r, e->code, e->text);
    if (r >= 0)
        return;
    FUZZ_CHECK(e->code == r, "%d is returned, and the error is %d: %s", r, e->code, e->text);
    FUZZ_CHECK(r != -EINVAL || e->bad_input, "-EINVAL is not the input's fault: %s", e->text);
    FUZZ_CHECK(*e->text, "%d without a text", r);
    for (const char *p = e->text; *p; p++)
        FUZZ_CHECK(*p >= ' ' && *p <= '~', "byte %#x in the error text: %s", (unsigned char)*p,
                   e->text);
}

int fuzz_file(const void *data, size_t len)
{
    static int fd = FD_NONE;

    if (fd < 0)
        fd = memfd_create("input", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, len, 0) == (ssize_t)len &&
                   lseek(fd, 0, SEEK_SET) == 0,
               "a file of %zu bytes: %m", len);
    return fd;
}

static char dir_path[PATH_MAX];

static void remove_dir(void)
{
    autodir dir = opendir(dir_path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    rmdir(dir_path);
}

int fuzz_dir(void)
{
    static int fd = FD_NONE;
    const char *top = getenv("TMPDIR");

    if (fd >= 0)
        return fd;
    snprintf(dir_path, sizeof dir_path, "%s/osc-fuzz-XXXXXX", top ? top : "/tmp");
    FUZZ_CHECK(mkdtemp(dir_path), "%s: %m", dir_path);
    atexit(remove_dir);
    fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0, "%s: %m", dir_path);
    return fd;
}

const char *fuzz_dir_path(void)
{
    fuzz_dir();
    return dir_path;
}

void fuzz_dir_write(const char *name, const void *data, size_t len)
{
    autofd fd = openat(fuzz_dir(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    FUZZ_CHECK(fd >= 0 && write(fd, data, len) == (ssize_t)len, "%s: %m", name);
}
