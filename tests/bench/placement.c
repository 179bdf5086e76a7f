// SPDX-License-Identifier: Apache-2.0
/*
 * The two ends of the placement benchmark (tests/bench/run).
 *
 *   placement vmm FIFO SLOTS VCPUS OTHERS STARTUP_MS PACE_US
 *
 * A VMM in the eyes of whoever looks at thread names. Waits until FIFO is opened for writing, then,
 * like the process that a runtime makes, executes itself, takes STARTUP_MS to start up, and starts
 * OTHERS other threads and then VCPUS vCPU threads as QEMU does: one after the other, each time
 * waiting until the new one has its name, PACE_US apart. When a thread got its name is written to
 * SLOTS.
 *
 *   placement wait SLOTS VCPUS PATH_SUFFIX POLL_US TIMEOUT_MS
 *
 * Waits until all of them are in the cgroup whose path ends in PATH_SUFFIX, in every hierarchy
 * where a thread can be on its own. Prints for each how long that took, in microseconds, "-" if it
 * did not happen in time. That is as exact as POLL_US says, and costs CPU time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE 65536

struct slot {
    pid_t tid;
    _Atomic uint64_t named_us; /* 0: not yet */
};

static struct slot *slots;

static void die(const char *what)
{
    fprintf(stderr, "placement: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void sleep_us(uint64_t us)
{
    const struct timespec ts = {.tv_sec = (time_t)(us / 1000000),
                                .tv_nsec = (long)(us % 1000000) * 1000};

    clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end != '\0') {
        fprintf(stderr, "placement: not a number: %s\n", text);
        exit(2);
    }
    return value;
}

static void map_slots(const char *path, size_t count)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || ftruncate(fd, (off_t)((count + 1) * sizeof *slots)) < 0)
        die(path);
    slots = mmap(NULL, (count + 1) * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slots == MAP_FAILED)
        die(path);
    close(fd);
}

/* ---- the VMM ---- */

static void *run(void *argument)
{
    struct slot *slot = argument;
    char name[16];

    if (slot) {
        snprintf(name, sizeof name, "CPU %u/KVM", (unsigned)(slot - slots) % 10000000);
        slot->tid = (pid_t)syscall(SYS_gettid);
        prctl(PR_SET_NAME, name);
        slot->named_us = now_us();
    } else {
        prctl(PR_SET_NAME, "worker");
    }
    for (;;)
        pause();
    return NULL;
}

static void start(struct slot *slot)
{
    pthread_attr_t attributes;
    pthread_t id;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    errno = pthread_create(&id, &attributes, run, slot);
    if (errno)
        die("cannot start a thread");
    pthread_attr_destroy(&attributes);
}

static _Noreturn void vmm(char **argv)
{
    size_t vcpus = number(argv[4]), others = number(argv[5]);
    uint64_t startup_us = number(argv[6]) * 1000, pace_us = number(argv[7]);
    char at_once[] = "-", name[16];
    int fifo;

    if (strcmp(argv[2], at_once) != 0) {
        fifo = open(argv[2], O_RDONLY | O_CLOEXEC);
        if (fifo < 0)
            die(argv[2]);
        argv[2] = at_once;
        execv("/proc/self/exe", argv);
        die("execv");
    }
    /* So that whoever reads the trace can tell our threads from those of others. */
    snprintf(name, sizeof name, "vmm-%d", (int)getpid());
    prctl(PR_SET_NAME, name);
    map_slots(argv[3], vcpus);
    sleep_us(startup_us);
    while (others-- > 0)
        start(NULL);
    for (size_t i = 0; i < vcpus; i++) {
        start(&slots[i]);
        while (slots[i].named_us == 0)
            sleep_us(20);
        if (pace_us > 0)
            sleep_us(pace_us);
    }
    for (;;)
        pause();
}

/* ---- the one who waits ---- */

static bool ends_in(const char *line, size_t len, const char *suffix)
{
    size_t suffix_len = strlen(suffix);

    return len >= suffix_len && memcmp(line + len - suffix_len, suffix, suffix_len) == 0;
}

/* On a hybrid host a plain v2 cgroup holds whole processes only. */
static bool is_placed(pid_t tid, const char *suffix)
{
    char path[48], text[4096];
    ssize_t n;
    int fd;
    bool has_v1 = false, all_v1 = true, v2 = false;

    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        bool is = ends_in(line, (size_t)(end - line), suffix);

        if (strncmp(line, "0::", 3) == 0) {
            v2 = is;
        } else {
            has_v1 = true;
            all_v1 = all_v1 && is;
        }
    }
    return has_v1 ? all_v1 : v2;
}

static int wait_all(char **argv)
{
    size_t vcpus = number(argv[3]), left = vcpus;
    const char *suffix = argv[4];
    uint64_t poll_us = number(argv[5]), end_us = now_us() + number(argv[6]) * 1000;
    uint64_t *placed_us = calloc(vcpus + 1, sizeof *placed_us);

    if (!placed_us)
        die("calloc");
    map_slots(argv[2], vcpus);
    while (left > 0 && now_us() < end_us) {
        for (size_t i = 0; i < vcpus && slots[i].named_us != 0; i++) {
            if (placed_us[i] == 0 && is_placed(slots[i].tid, suffix)) {
                placed_us[i] = now_us();
                left--;
            }
        }
        sleep_us(poll_us);
    }
    for (size_t i = 0; i < vcpus; i++) {
        if (placed_us[i] != 0)
            printf("%llu\n", (unsigned long long)(placed_us[i] - slots[i].named_us));
        else
            printf("-\n");
    }
    free(placed_us);
    return left > 0;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "vmm") == 0)
        vmm(argv);
    if (argc == 7 && strcmp(argv[1], "wait") == 0)
        return wait_all(argv);
    fprintf(stderr, "usage: placement vmm FIFO SLOTS VCPUS OTHERS STARTUP_MS PACE_US\n"
                    "       placement wait SLOTS VCPUS PATH_SUFFIX POLL_US TIMEOUT_MS\n");
    return 2;
}
