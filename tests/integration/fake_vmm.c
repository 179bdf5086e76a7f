// SPDX-License-Identifier: Apache-2.0
/*
 * A VMM in the eyes of whoever looks at thread names: starts one thread for each NAME and sleeps.
 *
 *   fake_vmm [OPTION...] [NAME...]
 *
 *   --wait FILE             first wait until FILE exists: threads appear late, when the test wants
 *                           them
 *   --generations N         be the N-th descendant: so many processes in between only wait
 *   --vmms N                be N processes that do all the rest; their parent only waits
 *   --outlive               live on when the parent has ended
 *   --burn                  the threads use CPU instead of sleeping
 *   --helper NAME FILE      once FILE exists, the first thread starts a further one of this name,
 *                           which is born in the cgroup of the first
 *   --late NAME FILE        one more thread, which starts once FILE exists
 *   --rename NAME NEW FILE  one more thread, which is called NEW once FILE exists
 *   --exit NAME FILE        one more thread, which ends once FILE exists
 *   --exec FILE             once FILE exists, execute itself anew, with all options but those
 * before and this one
 *   --leader-exits          the main thread ends, the others go on
 *
 * Ends on any signal that ends a process.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool burn, leader_exits, outlive;
static const char *helper, *helper_file;

enum action { SLEEP, HELPER, LATE, RENAME, EXIT };

struct thread {
    const char *name, *new_name;
    const char *file; /* that the action waits for */
    enum action action;
    bool started;
};

static void start(struct thread *thread);

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void wait_for_file(const char *path)
{
    while (!exists(path))
        usleep(5000);
}

static void *run(void *argument)
{
    const struct thread *thread = argument;

    prctl(PR_SET_NAME, thread->name);
    if (thread->action == HELPER) {
        static struct thread child;

        wait_for_file(thread->file);
        child.name = helper;
        start(&child);
    } else if (thread->action == RENAME) {
        wait_for_file(thread->file);
        prctl(PR_SET_NAME, thread->new_name);
    } else if (thread->action == EXIT) {
        wait_for_file(thread->file);
        return NULL;
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
    thread->started = true;
}

/* Go on in so many children, of which each ends with this process, which only waits. */
static void descend(int count)
{
    pid_t parent = getpid();

    signal(SIGCHLD, SIG_IGN); /* no zombies */
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();

        if (pid < 0) {
            perror("fake_vmm: fork");
            exit(1);
        }
        if (pid > 0)
            continue;
        if (!outlive)
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        return;
    }
    for (;;)
        pause();
}

static int usage(void)
{
    fprintf(stderr, "usage: fake_vmm [OPTION...] [NAME...]; see the source\n");
    return 2;
}

/* What the main thread does with those that start later, and with its own end. */
static void attend(struct thread *all, size_t count, const char *exec_file, char **exec_argv)
{
    size_t late = 0;

    for (size_t i = 0; i < count; i++)
        late += !all[i].started;
    while (late > 0 || exec_file) {
        for (size_t i = 0; i < count; i++) {
            if (!all[i].started && exists(all[i].file)) {
                start(&all[i]);
                late--;
            }
        }
        if (exec_file && exists(exec_file)) {
            execv("/proc/self/exe", exec_argv);
            perror("fake_vmm: execv");
            exit(1);
        }
        usleep(5000);
    }
    if (leader_exits)
        pthread_exit(NULL);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const char *wait_file = NULL, *exec_file = NULL;
    char **exec_argv = NULL;
    int generations = 0, vmms = 0;
    struct thread *all = calloc((size_t)argc + 1, sizeof *all);
    size_t count = 0;
    int i;

    if (!all)
        return 1;
    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *option = argv[i];
        int left = argc - i - 1;

        if (strcmp(option, "--burn") == 0) {
            burn = true;
        } else if (strcmp(option, "--outlive") == 0) {
            outlive = true;
        } else if (strcmp(option, "--leader-exits") == 0) {
            leader_exits = true;
        } else if (strcmp(option, "--wait") == 0 && left >= 1) {
            wait_file = argv[++i];
        } else if (strcmp(option, "--generations") == 0 && left >= 1) {
            generations = atoi(argv[++i]);
        } else if (strcmp(option, "--vmms") == 0 && left >= 1) {
            vmms = atoi(argv[++i]);
        } else if (strcmp(option, "--exec") == 0 && left >= 1) {
            exec_file = argv[++i];
            exec_argv = &argv[i];
        } else if (strcmp(option, "--helper") == 0 && left >= 2) {
            helper = argv[++i];
            helper_file = argv[++i];
        } else if (strcmp(option, "--late") == 0 && left >= 2) {
            all[count++] =
                (struct thread){.action = LATE, .name = argv[i + 1], .file = argv[i + 2]};
            i += 2;
        } else if (strcmp(option, "--exit") == 0 && left >= 2) {
            all[count++] =
                (struct thread){.action = EXIT, .name = argv[i + 1], .file = argv[i + 2]};
            i += 2;
        } else if (strcmp(option, "--rename") == 0 && left >= 3) {
            all[count++] = (struct thread){.action = RENAME,
                                           .name = argv[i + 1],
                                           .new_name = argv[i + 2],
                                           .file = argv[i + 3]};
            i += 3;
        } else {
            return usage();
        }
    }
    for (int first = i; i < argc; i++) {
        bool starts_helper = helper && i == first;

        all[count++] = (struct thread){.action = starts_helper ? HELPER : SLEEP,
                                       .name = argv[i],
                                       .file = starts_helper ? helper_file : NULL};
    }
    if (wait_file)
        wait_for_file(wait_file);
    while (generations-- > 0)
        descend(1);
    if (vmms > 0)
        descend(vmms);
    for (size_t n = 0; n < count; n++) {
        if (all[n].action != LATE)
            start(&all[n]);
    }
    if (exec_argv)
        exec_argv[0] = argv[0];
    attend(all, count, exec_file, exec_argv);
}
