/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/runtime.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdint.h>

#define FIRST_WORDS "runc version "
#define DIGITS      "0123456789"
#define LETTERS     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

const char *const runtime_names[] = {"runc", "crun", "youki"};
const size_t runtime_name_count = ARRAY_SIZE(runtime_names);

/* Number @i of the text at *@p, which is moved behind it. */
static int take_number(const char **p, int i, struct runtime_version *ret)
{
    size_t width;
    uint64_t value;

    if (i > 0 && *(*p)++ != '.')
        return -EINVAL;
    width = strspn(*p, DIGITS);
    if (str_to_u64(*p, width, &value) < 0 || value > UINT16_MAX)
        return -EINVAL;
    ret->numbers[i] = (unsigned)value;
    *p += width;
    return 0;
}

int runtime_version_parse(const char *text, size_t len, struct runtime_version *ret)
{
    struct runtime_version v = {0};
    const char *p = v.text;

    if (len >= sizeof v.text)
        return -EINVAL;
    memcpy(v.text, text, len);
    for (int i = 0; i < 3; i++) {
        if (take_number(&p, i, &v) < 0)
            return -EINVAL;
    }
    /* It is printed and stored: nothing but what versions are made of. */
    if ((*p && !strchr("+~-", *p)) || p[strspn(p, LETTERS DIGITS ".+~-")])
        return -EINVAL;
    v.pre = *p == '-' || *p == '~';
    *ret = v;
    return 0;
}

int runtime_version_find(const char *output, struct runtime_version *ret)
{
    const char *version = output + strlen(FIRST_WORDS);

    return str_starts(output, FIRST_WORDS)
               ? runtime_version_parse(version, strcspn(version, "\n"), ret)
               : -EINVAL;
}

bool runtime_reads_threaded(const struct runtime *r)
{
    struct runtime_version v;
    const unsigned *n = v.numbers;

    if (!r->version || runtime_version_parse(r->version, strlen(r->version), &v) < 0)
        return false;
    if (n[0] != 1 || n[1] != 2)
        return n[0] > 1 || (n[0] == 1 && n[1] > 2);
    return n[2] > 0 || !v.pre;
}

void runtime_doubt(struct runtime *r)
{
    const char *slash = r->path ? strrchr(r->path, '/') : NULL;

    if (r->engine == ENGINE_CONTAINERD)
        return;
    for (size_t i = 0; slash && i < runtime_name_count; i++) {
        if (str_eq(slash + 1, runtime_names[i]))
            return;
    }
    r->path = r->version = NULL;
}

const char *runtime_text(const struct runtime *r, struct arena *a)
{
    if (!r->path)
        return "a program that is not known";
    return r->version ? arena_printf(a, "runc %s (%s)", r->version, r->path) : r->path;
}
