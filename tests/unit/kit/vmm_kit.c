/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/vmm_kit.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "tests/unit/kit/process_kit.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define MAX_THREADS 12

enum order { ORDER_NONE, ORDER_RENAME, ORDER_SPAWN, ORDER_EXIT, ORDER_CHURN };

struct slot {
    _Atomic int order;
    _Atomic pid_t tid;
    int spawn; /* ORDER_SPAWN: the slot of the new thread */
    char name[16];
};

/* Shared memory. Slot 0 is the main thread. */
struct kit_vmm {
    struct slot slots[MAX_THREADS];
};

static struct kit_vmm *shared;

static void *live(void *data);

static void spawn(struct slot *slot)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, live, slot) != 0)
        _exit(1);
    pthread_detach(thread);
}

static void *come_and_go(void *data)
{
    prctl(PR_SET_NAME, data);
    return NULL;
}

/* Threads, vCPUs and others, that end while they are looked at. */
static void churn(const struct slot *slot)
{
    char vcpu[] = "CPU 99/TCG", other[] = "fleeting";

    while (slot->order == ORDER_CHURN) {
        pthread_t threads[4];

        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
            if (pthread_create(&threads[i], NULL, come_and_go, i % 2 ? vcpu : other) != 0)
                _exit(1);
        }
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
            pthread_join(threads[i], NULL);
    }
}

static void *live(void *data)
{
    struct slot *slot = data;

    prctl(PR_SET_NAME, slot->name);
    slot->tid = gettid();
    for (;;) {
        switch ((int)slot->order) {
        case ORDER_RENAME:
            prctl(PR_SET_NAME, slot->name);
            break;
        case ORDER_SPAWN:
            spawn(&shared->slots[slot->spawn]);
            break;
        case ORDER_CHURN:
            churn(slot);
            continue;
        case ORDER_EXIT:
            slot->order = ORDER_NONE;
            return NULL;
        default:
            io_sleep_ms(1);
            continue;
        }
        slot->order = ORDER_NONE;
    }
}

static void give(int index, enum order order)
{
    shared->slots[index].order = order;
    while (shared->slots[index].order != ORDER_NONE)
        io_sleep_ms(1);
}

void kit_start_churn(int index)
{
    shared->slots[index].order = ORDER_CHURN;
}

void kit_end_churn(int index)
{
    shared->slots[index].order = ORDER_NONE;
}

void kit_rename_thread(int index, const char *name)
{
    snprintf(shared->slots[index].name, sizeof shared->slots[index].name, "%s", name);
    give(index, ORDER_RENAME);
}

void kit_add_thread(int from, int index, const char *name)
{
    struct slot *slot = &shared->slots[index];

    snprintf(slot->name, sizeof slot->name, "%s", name);
    slot->tid = 0;
    shared->slots[from].spawn = index;
    give(from, ORDER_SPAWN);
    while (slot->tid == 0)
        io_sleep_ms(1);
}

static bool has_ended(pid_t tid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d", (int)tid);
    return access(path, F_OK) < 0;
}

void kit_end_thread(int index)
{
    pid_t tid = shared->slots[index].tid;

    give(index, ORDER_EXIT);
    while (!has_ended(tid))
        io_sleep_ms(1);
}

pid_t kit_tid_of(int index)
{
    return shared->slots[index].tid;
}

pid_t kit_start_vmm(const char *name)
{
    pid_t pid;

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(shared, MAP_FAILED);
    snprintf(shared->slots[0].name, sizeof shared->slots[0].name, "%s", name);
    pid = kit_fork();
    if (pid == 0) {
        live(&shared->slots[0]);
        _exit(0);
    }
    while (shared->slots[0].tid == 0)
        io_sleep_ms(1);
    return pid;
}

const char *kit_thread_name(int index)
{
    return shared->slots[index].name;
}

struct kit_vmm *kit_this_vmm(void)
{
    return shared;
}

void kit_use_vmm(struct kit_vmm *vmm)
{
    shared = vmm;
}
