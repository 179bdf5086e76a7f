/* SPDX-License-Identifier: Apache-2.0 */
#include "base/title.h"

#include <string.h>
#include <unistd.h>

/* The arguments, and they with the environment. */
static struct {
    char *begin, *arg_end, *end;
} area;

/* @end, or the end of the text that begins there. */
static char *extended(char *end, char *text)
{
    return text == end ? text + strlen(text) + 1 : end;
}

void title_find(int argc, char **argv, char **envp)
{
    if (argc < 1)
        return;
    area.begin = area.end = argv[0];
    for (int i = 0; i < argc; i++)
        area.end = extended(area.end, argv[i]);
    area.arg_end = area.end;
    for (size_t i = 0; envp[i]; i++)
        area.end = extended(area.end, envp[i]);
}

void title_set(const char *text)
{
    static char *nothing[] = {NULL};
    size_t size = (size_t)(area.end - area.begin), len = strlen(text);

    if (size < 2)
        return;
    environ = nothing;
    if (len > size - 1)
        len = size - 1;
    memset(area.begin, 0, size);
    memcpy(area.begin, text, len);
    if (area.begin + len + 1 < area.arg_end)
        area.arg_end[-1] = '.';
}
