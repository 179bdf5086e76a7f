/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cgroup's device rules allow, measured from inside.
 *
 *   device_probe [--dir DIR] [--cgroup-procs FILE]... [TYPE MAJOR MINOR]...
 *
 *   --dir DIR            where to make nodes, on a file system without nodev; default /tmp
 *   --cgroup-procs FILE  write the own pid there once the nodes are made; may be repeated
 *
 * TYPE is b or c. Without devices as arguments they are read from stdin, "TYPE MAJOR MINOR" or
 * "TYPE MAJOR:MINOR" a line. For each it prints
 *
 *   c 1:3 r=allow w=allow rw=allow m=deny
 *
 * r, w and rw are open(2) of a node that was made before, m is mknod(2). Where it cannot be made any more
 * it is DIR/TYPE-MAJOR-MINOR, such as DIR/c-240-77, which somebody else has made there. Denied is EPERM; allowed
 * is success, or that there is no driver (ENXIO and the like). "unsafe" stands for an open that was
 * not tried: opening a device can do harm (a watchdog starts and reboots the machine), so only such
 * are opened as are known to be harmless or have no driver. "ENAME" is an error that says neither.
 *
 * Exit status: 0 all was measured, 1 something failed, 2 usage.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICES_MAX 256
#define PROCS_MAX   32

struct device {
    char type;
    unsigned major, minor;
};

static struct device devices[DEVICES_MAX];
static size_t device_count;
static const char *procs[PROCS_MAX];
static size_t procs_count;
static char work[256]; /* our directory of nodes, "" before it is made */

/* Devices with a driver that does nothing on open. */
static const struct {
    char type;
    unsigned major;
    int minor; /* -1: any */
} harmless[] = {
    {'c', 1, 3},    /* null */
    {'c', 1, 5},    /* zero */
    {'c', 1, 7},    /* full */
    {'c', 1, 8},    /* random */
    {'c', 1, 9},    /* urandom */
    {'c', 5, 2},    /* ptmx: a terminal that is gone with the close */
    {'c', 10, 196}, /* vfio */
    {'c', 10, 200}, /* net/tun */
    {'c', 10, 232}, /* kvm */
    {'c', 10, 238}, /* vhost-net */
    {'c', 10, 241}, /* vhost-vsock */
    {'b', 7, -1},   /* loop */
};

static bool equal(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

__attribute__((noreturn)) static void usage(void)
{
    fputs("usage: device_probe [--dir DIR] [--cgroup-procs FILE]... [TYPE MAJOR MINOR]...\n",
          stderr);
    exit(2);
}

static void remove_work(void)
{
    char path[300];

    if (!*work)
        return;
    for (size_t i = 0; i < device_count; i++) {
        snprintf(path, sizeof path, "%s/%zu", work, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/new", work);
    unlink(path);
    rmdir(work);
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
    int error = errno;
    va_list ap;

    fputs("device_probe: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, ": %s\n", strerror(error));
    remove_work();
    exit(1);
}

static bool parse_number(const char *text, unsigned *ret)
{
    unsigned long n;
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    n = strtoul(text, &end, 10);
    if (errno || *end || n > 0xfffff)
        return false;
    *ret = (unsigned)n;
    return true;
}

static void add_device(const char *type, const char *major, const char *minor)
{
    struct device *d = &devices[device_count];

    if (device_count == DEVICES_MAX || (!equal(type, "b") && !equal(type, "c")))
        usage();
    d->type = type[0];
    /* A dev_t has 12 bits for the major number. */
    if (!parse_number(major, &d->major) || !parse_number(minor, &d->minor) || d->major > 0xfff)
        usage();
    device_count++;
}

static void read_devices(void)
{
    char line[128], type[4], major[24], minor[24];

    while (fgets(line, sizeof line, stdin)) {
        for (char *p = line; *p; p++)
            *p = *p == ':' ? ' ' : *p;
        switch (sscanf(line, "%3s %23s %23s", type, major, minor)) {
        case EOF:
            break;
        case 3:
            add_device(type, major, minor);
            break;
        default:
            usage();
        }
    }
}

/* Whether a driver of that type has the major number. True when it cannot be known. */
static bool has_driver(const struct device *d)
{
    FILE *f = fopen("/proc/devices", "re");
    bool block = false, found = false;
    char line[256];

    if (!f)
        return true;
    while (fgets(line, sizeof line, f)) {
        char *end;
        unsigned long n = strtoul(line, &end, 10);

        if (strncmp(line, "Block", 5) == 0)
            block = true;
        if (end != line && block == (d->type == 'b') && n == d->major)
            found = true;
    }
    fclose(f);
    return found;
}

static bool may_open(const struct device *d)
{
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        if (harmless[i].type == d->type && harmless[i].major == d->major &&
            (harmless[i].minor < 0 || (unsigned)harmless[i].minor == d->minor))
            return true;
    }
    return !has_driver(d);
}

static int make_node(const char *name, const struct device *d)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", work, name);
    return mknod(path, (d->type == 'b' ? S_IFBLK : S_IFCHR) | 0600, makedev(d->major, d->minor));
}

static int make_or_link(const char *dir, const char *name, const struct device *d)
{
    char made[300], path[300];

    if (make_node(name, d) == 0)
        return 0;
    if (errno != EPERM)
        return -1;
    snprintf(made, sizeof made, "%s/%c-%u-%u", dir, d->type, d->major, d->minor);
    snprintf(path, sizeof path, "%s/%s", work, name);
    if (link(made, path) == 0)
        return 0;
    errno = errno == ENOENT ? EPERM : errno;
    return -1;
}

/* Nodes for the opens, while that is still allowed; and whether they can be opened at all. */
static void make_nodes(const char *dir)
{
    const struct device null = {'c', 1, 3};
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/device_probe-XXXXXX", dir);
    if (strlen(path) >= sizeof work || !mkdtemp(path))
        die("making a directory in %s", dir);
    memcpy(work, path, strlen(path) + 1);
    if (make_or_link(dir, "new", &null) < 0)
        die("making a node in %s", work);
    snprintf(path, sizeof path, "%s/new", work);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("opening a node in %s, which must not be mounted nodev", work);
    close(fd);
    unlink(path);
    for (size_t i = 0; i < device_count; i++) {
        char name[24];

        snprintf(name, sizeof name, "%zu", i);
        if (make_or_link(dir, name, &devices[i]) < 0)
            die("making the node of %c %u:%u", devices[i].type, devices[i].major, devices[i].minor);
    }
}

static void enter_cgroups(void)
{
    for (size_t i = 0; i < procs_count; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%d", (int)getpid());
        int fd = open(procs[i], O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, (size_t)len) != len)
            die("writing %s to %s", text, procs[i]);
        close(fd);
    }
}

/* The verdict of an errno; @clear becomes false when it says nothing about device rules. */
static const char *verdict(int error, bool *clear)
{
    switch (error) {
    case EPERM:
        return "deny";
    case EACCES:
    case ENOENT:
    case EEXIST:
    case ENOTDIR:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case ELOOP:
        *clear = false;
        return strerrorname_np(error);
    default:
        return "allow";
    }
}

static bool probe(size_t i)
{
    static const struct {
        const char *name;
        int flags;
    } modes[] = {{"r", O_RDONLY}, {"w", O_WRONLY}, {"rw", O_RDWR}};
    const struct device *d = &devices[i];
    const bool safe = may_open(d);
    bool clear = true;
    char path[300];

    printf("%c %u:%u", d->type, d->major, d->minor);
    snprintf(path, sizeof path, "%s/%zu", work, i);
    for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++) {
        const char *result = "unsafe";

        if (safe) {
            int fd = open(path, modes[k].flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

            result = verdict(fd < 0 ? errno : 0, &clear);
            if (fd >= 0)
                close(fd);
        }
        printf(" %s=%s", modes[k].name, result);
    }
    printf(" m=%s\n", verdict(make_node("new", d) < 0 ? errno : 0, &clear));
    snprintf(path, sizeof path, "%s/new", work);
    unlink(path);
    return clear;
}

int main(int argc, char **argv)
{
    const char *dir = "/tmp";
    bool clear = true;
    int i = 1;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (equal(argv[i], "--dir"))
            dir = argv[i + 1];
        else if (equal(argv[i], "--cgroup-procs") && procs_count < PROCS_MAX)
            procs[procs_count++] = argv[i + 1];
        else
            usage();
    }
    if (i == argc)
        read_devices();
    for (; i < argc; i += 3) {
        if (argc - i < 3)
            usage();
        add_device(argv[i], argv[i + 1], argv[i + 2]);
    }
    make_nodes(dir);
    enter_cgroups();
    for (size_t k = 0; k < device_count; k++)
        clear &= probe(k);
    remove_work();
    if (fflush(stdout) != 0)
        return 1;
    return clear ? 0 : 1;
}
