/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_RUNTIME_H
#define HOOK_PLAN_RUNTIME_H

/*
 * Who runs the container: the runtime that calls the hook, and the engine above it. Facts for the
 * choice of a layout; hook/sandbox/runtime.h gathers them.
 */

#include <stdbool.h>
#include <stddef.h>

struct arena;

/* containerd has a shim above each of its runtimes, and Docker is containerd there. */
enum runtime_engine { ENGINE_UNKNOWN, ENGINE_CONTAINERD, ENGINE_OTHER };

struct runtime {
    enum runtime_engine engine;
    const char *why_unknown; /* of the engine: what could not be looked at; NULL: nobody looked */
    const char *path;        /* the runtime's program, fit for a terminal; NULL: not known */
    const char *version;     /* of runc, nobody else is asked; NULL: not known */
};

struct runtime_version {
    unsigned numbers[3];
    bool pre;      /* a pre-release: before these numbers */
    char text[64]; /* as it was said */
};

/*
 * A version of runc: "1.1.5+ds1". What stands behind '+' does not count; what stands behind '-' or
 * '~' makes it a pre-release, also if it is only a distribution's suffix: that matters for 1.2.0
 * alone. 0; -EINVAL it is none.
 */
int runtime_version_parse(const char *text, size_t len, struct runtime_version *ret);

/* In what `runc --version` prints, whose first line is "runc version 1.1.5+ds1". Errors as above. */
int runtime_version_find(const char *output, struct runtime_version *ret);

/* Whether it is known to list the processes of a cgroup with a threaded child: runc from 1.2 on. */
bool runtime_reads_threaded(const struct runtime *r);

/* Programs that a person may mean by a runtime, by the last component of the path. */
extern const char *const runtime_names[];
extern const size_t runtime_name_count;

/* Who has started a verb need not be a runtime: only one of these names, or who is below a shim, is
 * taken for one, and the program of anybody else is forgotten. */
void runtime_doubt(struct runtime *r);

/* "runc 1.1.5 (/usr/sbin/runc)", "/usr/bin/crun", "a program that is not known". */
const char *runtime_text(const struct runtime *r, struct arena *a);

#endif
