/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include "base/err.h"
#include "base/io.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAIT_MS 100
/* What the calls have of the stack that give it back. */
#define STACK_SPARED 1024
#define STACK_SIZE   ((size_t)64 * 1024)

static bool waits;

void mem_wait(void)
{
    waits = true;
}

void mem_is_short(void)
{
    if (!waits)
        err_out_of_memory();
    io_sleep_ms(WAIT_MS);
}

/* What nobody will ever have is not waited for. */
static size_t checked(size_t size)
{
    if (size > SIZE_MAX / 4)
        err_out_of_memory();
    return size ? size : 1;
}

void *mem_alloc(size_t size)
{
    void *p;

    size = checked(size);
    while (!(p = malloc(size)))
        mem_is_short();
    return p;
}

void *mem_zalloc(size_t count, size_t size)
{
    void *p;

    if (size > 0 && count > SIZE_MAX / 4 / size)
        err_out_of_memory();
    while (!(p = calloc(count ? count : 1, size ? size : 1)))
        mem_is_short();
    return p;
}

void *mem_realloc(void *old, size_t size)
{
    void *p;

    size = checked(size);
    while (!(p = realloc(old, size)))
        mem_is_short();
    return p;
}

void mem_give_back(void)
{
    char *frame = __builtin_frame_address(0);
    size_t above_page = (uintptr_t)frame % (size_t)sysconf(_SC_PAGESIZE);
    char *end = frame - above_page;

    if (above_page < STACK_SPARED)
        end -= sysconf(_SC_PAGESIZE);
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
    /* What is not there is no error of interest. */
    (void)madvise(end - STACK_SIZE, STACK_SIZE, MADV_DONTNEED);
}
