// SPDX-License-Identifier: Apache-2.0
/*
 * A VMM in the eyes of whoever looks at thread names: starts one thread for each NAME and sleeps.
 *
 *   fake_vmm [--wait FILE] [--burn] [--helper NAME FILE] [--leader-exits] [NAME...]
 *
 *   --wait FILE         first wait until FILE exists: threads appear late, when the test wants them
 *   --burn              the threads use CPU instead of sleeping
 *   --helper NAME FILE  once FILE exists, the first thread starts a further one of this name, which
 * is born in the cgroup of the first
 *
 * Ends on any signal that ends a process.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool burn, leader_exits;
static const char *helper, *helper_file;

struct thread {
    const char *name;
    bool starts_helper;
};

static void start(struct thread *thread);

static void wait_for_file(const char *path)
{
    while (access(path, F_OK) != 0)
        usleep(20000);
}

static void *run(void *argument)
{
    const struct thread *thread = argument;

    prctl(PR_SET_NAME, thread->name);
    if (thread->starts_helper) {
        static struct thread child;

        wait_for_file(helper_file);
        child.name = helper;
        start(&child);
    }
    for (;;) {
        if (!burn)
            pause();
    }
    return NULL;
}

static void start(struct thread *thread)
{
    pthread_t id;
    int error = pthread_create(&id, NULL, run, thread);

    if (error) {
        fprintf(stderr, "fake_vmm: cannot start thread %s: %s\n", thread->name, strerror(error));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *file = NULL;
    int first = 1;
    struct thread *all;

    while (first < argc && strncmp(argv[first], "--", 2) == 0) {
        if (strcmp(argv[first], "--burn") == 0) {
            burn = true;
        } else if (strcmp(argv[first], "--leader-exits") == 0) {
            leader_exits = true;
        } else if (strcmp(argv[first], "--wait") == 0 && first + 1 < argc) {
            file = argv[++first];
        } else if (strcmp(argv[first], "--helper") == 0 && first + 2 < argc) {
            helper = argv[++first];
            helper_file = argv[++first];
        } else {
            fprintf(stderr,
                    "usage: fake_vmm [--wait FILE] [--burn] [--helper NAME FILE] [--leader-exits] "
                    "[NAME...]\n");
            return 2;
        }
        first++;
    }
    if (file)
        wait_for_file(file);
    all = calloc((size_t)(argc - first) + 1, sizeof *all);
    if (!all)
        return 1;
    for (int i = first; i < argc; i++) {
        all[i - first] = (struct thread){.name = argv[i], .starts_helper = helper && i == first};
        start(&all[i - first]);
    }
    if (leader_exits)
        pthread_exit(NULL);
    for (;;)
        pause();
}
