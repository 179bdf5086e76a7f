// SPDX-License-Identifier: Apache-2.0
/*
 * What a container may do, measured from inside: init of the container tries it.
 *
 *   ability_probe --go FILE --out FILE --disk FILE [--vcpus N] [PROGRAM [ARGUMENT...]]
 *
 *   --go FILE    begin once it exists: the hook has split the container by then, if it does
 *   --out FILE   where to write the results, at once and as the last thing
 *   --disk FILE  a file to make and to write to, past the page cache
 *   --vcpus N    so many threads, called vcpu0 and so on; default 2
 *
 * PROGRAM is run at the end, and what it prints is among the results. Each is a line:
 *
 *   cpu N          CPU time of those threads while all of them want it, in percent of one CPU
 *   write N        written meanwhile, in KiB/s
 *   memory N       what a child gets, in MiB, before it is refused or killed; at most 128
 *   hugepages N    pages of 2 MiB a child gets; at most 4
 *   forks N        children that the main thread gets; at most 96
 *   vcpu-forks N   the same of a thread called vcpu0
 *   fifo yes|no, vcpu-fifo yes|no   whether the thread may become a real-time thread
 *   affinity N...  CPUs that the main thread may bind itself to
 *
 * Then it sleeps until it is killed. Exit status: 1 something failed, 2 usage.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MS       800
#define BLOCK         (64 << 10)
#define MEMORY_MAX    128
#define HUGEPAGES_MAX 4
#define HUGEPAGE      (2 << 20)
#define FORKS_MAX     96
#define VCPUS_MAX     16
#define CPUS_MAX      64

static struct vcpu {
    pthread_t thread;
    double cpu; /* seconds */
    sem_t begin, done;
} vcpus[VCPUS_MAX];
static unsigned vcpu_count = 2, vcpu_forks;
static bool vcpu_fifo;
static struct timespec busy_until;

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "ability_probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Children that sleep, until one is refused; they end with the thread that asked for them. */
static unsigned count_forks(void)
{
    pid_t pids[FORKS_MAX];
    unsigned count = 0;

    while (count < FORKS_MAX) {
        pid_t pid = fork();

        if (pid < 0)
            break;
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        pids[count++] = pid;
    }
    for (unsigned i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    return count;
}

static bool may_be_fifo(void)
{
    struct sched_param fifo = {.sched_priority = 1}, other = {.sched_priority = 0};

    /* 0 is the thread that asks. */
    if (sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
        return false;
    sched_setscheduler(0, SCHED_OTHER, &other);
    return true;
}

static void *run_vcpu(void *argument)
{
    struct vcpu *v = argument;
    double end, began;
    char name[16];

    snprintf(name, sizeof name, "vcpu%u", (unsigned)(v - vcpus));
    prctl(PR_SET_NAME, name);
    sem_wait(&v->begin);
    end = (double)busy_until.tv_sec + (double)busy_until.tv_nsec / 1e9;
    began = seconds(CLOCK_THREAD_CPUTIME_ID);
    while (seconds(CLOCK_MONOTONIC) < end)
        continue;
    v->cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - began;
    sem_post(&v->done);
    sem_wait(&v->begin);
    if (v == vcpus) {
        vcpu_forks = count_forks();
        vcpu_fifo = may_be_fifo();
    }
    sem_post(&v->done);
    for (;;)
        pause();
    return NULL;
}

static void start_vcpus(void)
{
    for (unsigned i = 0; i < vcpu_count; i++) {
        sem_init(&vcpus[i].begin, 0, 0);
        sem_init(&vcpus[i].done, 0, 0);
        errno = pthread_create(&vcpus[i].thread, NULL, run_vcpu, &vcpus[i]);
        if (errno)
            die("starting a thread");
    }
}

/* KiB written to @path in the time in which the threads burn, or 0 where that cannot be. */
static unsigned write_meanwhile(const char *path)
{
    double end = (double)busy_until.tv_sec + (double)busy_until.tv_nsec / 1e9;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
    unsigned written = 0;
    void *block = NULL;

    if (posix_memalign(&block, 4096, BLOCK) != 0)
        die("memory");
    memset(block, 'x', BLOCK);
    while (fd >= 0 && seconds(CLOCK_MONOTONIC) < end && written < (256 << 10)) {
        if (write(fd, block, BLOCK) != BLOCK)
            break;
        written += BLOCK >> 10;
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    free(block);
    return written;
}

static void burn(FILE *out, const char *disk)
{
    double began = seconds(CLOCK_MONOTONIC), cpu = 0, written_for;
    unsigned written;

    clock_gettime(CLOCK_MONOTONIC, &busy_until);
    busy_until.tv_nsec += BUSY_MS * 1000000L;
    busy_until.tv_sec += busy_until.tv_nsec / 1000000000L;
    busy_until.tv_nsec %= 1000000000L;
    for (unsigned i = 0; i < vcpu_count; i++)
        sem_post(&vcpus[i].begin);
    written = write_meanwhile(disk);
    written_for = seconds(CLOCK_MONOTONIC) - began;
    for (unsigned i = 0; i < vcpu_count; i++) {
        sem_wait(&vcpus[i].done);
        cpu += vcpus[i].cpu;
    }
    fprintf(out, "cpu %.0f\n", 100 * cpu / (seconds(CLOCK_MONOTONIC) - began));
    fprintf(out, "write %.0f\n", written / written_for);
}

/* How many @size a child gets, counted where this one sees it, as it may be killed for the next. */
static unsigned allocate(size_t size, int flags, unsigned most)
{
    _Atomic unsigned *count =
        mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned got;
    pid_t pid;

    if (count == MAP_FAILED)
        die("memory");
    pid = fork();
    if (pid < 0)
        die("starting a child");
    if (pid == 0) {
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        /* If somebody has to be killed, this one. */
        if (fd < 0 || write(fd, "1000", 4) != 4)
            _exit(1);
        while (*count < most) {
            char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
                            -1, 0);

            if (at == MAP_FAILED)
                break;
            for (size_t i = 0; i < size; i += 4096)
                at[i] = 1;
            (*count)++;
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    got = *count;
    munmap(count, sizeof *count);
    return got;
}

static void bind_itself(FILE *out)
{
    cpu_set_t before, one;
    int cpus = get_nprocs_conf();

    CPU_ZERO(&before);
    sched_getaffinity(0, sizeof before, &before);
    fputs("affinity", out);
    for (int i = 0; i < cpus && i < CPUS_MAX; i++) {
        CPU_ZERO(&one);
        CPU_SET((size_t)i, &one);
        if (sched_setaffinity(0, sizeof one, &one) == 0)
            fprintf(out, " %d", i);
    }
    fputc('\n', out);
    sched_setaffinity(0, sizeof before, &before);
}

static void run_program(FILE *out, char **argv)
{
    pid_t pid;
    int status;

    if (fflush(out) != 0 || (pid = fork()) < 0)
        die("starting a program");
    if (pid == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        execv(argv[0], argv);
        die(argv[0]);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        fprintf(out, "program failed\n");
}

static void measure(FILE *out, const char *disk, char **program)
{
    burn(out, disk);
    fprintf(out, "memory %u\n", allocate(1 << 20, 0, MEMORY_MAX));
    fprintf(out, "hugepages %u\n", allocate(HUGEPAGE, MAP_HUGETLB, HUGEPAGES_MAX));
    fprintf(out, "forks %u\n", count_forks());
    for (unsigned i = 0; i < vcpu_count; i++)
        sem_post(&vcpus[i].begin);
    for (unsigned i = 0; i < vcpu_count; i++)
        sem_wait(&vcpus[i].done);
    fprintf(out, "vcpu-forks %u\nvcpu-fifo %s\n", vcpu_forks, vcpu_fifo ? "yes" : "no");
    fprintf(out, "fifo %s\n", may_be_fifo() ? "yes" : "no");
    bind_itself(out);
    if (*program)
        run_program(out, program);
}

int main(int argc, char **argv)
{
    const char *go = NULL, *result = NULL, *disk = NULL;
    char temporary[256];
    FILE *out;
    int i = 1;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--go") == 0)
            go = argv[i + 1];
        else if (strcmp(argv[i], "--out") == 0)
            result = argv[i + 1];
        else if (strcmp(argv[i], "--disk") == 0)
            disk = argv[i + 1];
        else if (strcmp(argv[i], "--vcpus") == 0)
            vcpu_count = (unsigned)strtoul(argv[i + 1], NULL, 10);
    }
    if (!go || !result || !disk || vcpu_count < 1 || vcpu_count > VCPUS_MAX) {
        fputs("usage: ability_probe --go FILE --out FILE --disk FILE [--vcpus N] [PROGRAM...]\n",
              stderr);
        return 2;
    }
    start_vcpus();
    while (access(go, F_OK) != 0)
        usleep(20000);
    snprintf(temporary, sizeof temporary, "%s.new", result);
    out = fopen(temporary, "we");
    if (!out)
        die(temporary);
    measure(out, disk, argv + i);
    if (fclose(out) != 0 || rename(temporary, result) < 0)
        die(result);
    for (;;)
        pause();
}
