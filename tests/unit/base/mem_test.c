/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include "base/io.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int status_of(void (*run)(void))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        run();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void is_short(void)
{
    mem_is_short();
}

static void is_short_and_waited_for(void)
{
    mem_wait();
    mem_is_short();
}

Test(mem, short_of_it)
{
    cr_expect_eq(status_of(is_short), 1, "a stage ends");
    cr_expect_eq(status_of(is_short_and_waited_for), 0);
}

static void ask_for_too_much(void)
{
    volatile size_t size = SIZE_MAX / 2;

    mem_wait();
    free(mem_alloc(size));
}

static void ask_for_too_many(void)
{
    volatile size_t count = SIZE_MAX / 8;

    mem_wait();
    free(mem_zalloc(count, 16));
}

Test(mem, never_enough)
{
    cr_expect_eq(status_of(ask_for_too_much), 1, "nobody waits for that");
    cr_expect_eq(status_of(ask_for_too_many), 1, "nobody waits for that");
}

Test(mem, of_no_size)
{
    char *p = mem_alloc(0), *q = mem_zalloc(0, 8);

    cr_expect(p && q);
    p = mem_realloc(p, 0);
    cr_expect_not_null(p);
    free(p);
    free(q);
}

#ifndef __SANITIZE_ADDRESS__ /* which has an allocator of its own that ends the program */

/* More than malloc() has left, and less than what is let go again. */
#define MUCH ((size_t)64 << 20)

static struct rlimit usual;

static void take_away(void)
{
    struct rlimit none;

    getrlimit(RLIMIT_AS, &usual);
    none = (struct rlimit){.rlim_cur = MUCH / 2, .rlim_max = usual.rlim_max};
    setrlimit(RLIMIT_AS, &none);
}

static void give_back(int signo)
{
    (void)signo;
    setrlimit(RLIMIT_AS, &usual);
}

/* What each of them gives, and to whom it is not given first. */
static void *(*ask)(void);

static void *by_alloc(void)
{
    return mem_alloc(MUCH);
}

static void *by_zalloc(void)
{
    return mem_zalloc(MUCH / 8, 8);
}

static void *by_realloc(void)
{
    return mem_realloc(mem_alloc(8), MUCH);
}

static void ask_once(void)
{
    take_away();
    _exit(ask() ? 2 : 3);
}

static void ask_until_given(void)
{
    const struct itimerval soon = {.it_value.tv_usec = 250000};
    unsigned long long began = io_now_us();
    char *p;

    mem_wait();
    signal(SIGALRM, give_back);
    take_away();
    setitimer(ITIMER_REAL, &soon, NULL);
    p = ask();
    memset(p, 1, MUCH);
    _exit(io_now_us() - began >= 250000 ? 0 : 4);
}

Test(mem, waited_for)
{
    static void *(*const all[])(void) = {by_alloc, by_zalloc, by_realloc};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        ask = all[i];
        cr_expect_eq(status_of(ask_once), 1, "%zu: expected an end, got %d", i,
                     status_of(ask_once));
        cr_expect_eq(status_of(ask_until_given), 0, "%zu: expected to wait, got %d", i,
                     status_of(ask_until_given));
    }
}

#endif
